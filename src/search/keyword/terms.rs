//! Query analysis: maps a query to index terms, each word in all forms that match it, with their statistics, and collects the required and excluded
//! clauses.

use std::collections::HashMap;

use serde::Serialize;
use tantivy::query::FuzzyTermQuery;
use tantivy::tokenizer::Token;
use tantivy::{Searcher, Term};

use super::super::analysis::{self, questions};
use super::super::syntax::Parsed;
use super::{K1, KeywordIndex, failed};
use crate::error::Result;

/// Maximum number of chunk languages in which a query is analysed, most frequent first.
const LANGUAGES: usize = 8;
/// Maximum number of expansions of a prefix, most frequent first.
const PREFIXED: usize = 50;
/// Maximum number of corrections of a misspelt word, most frequent first.
const GUESSES: usize = 3;
/// Maximum number of query words that count, and of unknown ones that are corrected: more cost time and add little.
const WORDS: usize = 256;
const GUESSED: usize = 8;
/// Maximum number of variants of a phrase.
const WAYS: usize = 16;
/// Letters that a stem may lack compared with a matching prefix: `securit*` finds `secur`.
const STEMMED_AWAY: usize = 3;
/// Minimum length of a word that may be misspelt, in characters; from twice that on two letters may be wrong.
const MISSPELT: usize = 4;
/// Weight of a form that differs from the query's word in diacritics.
const FOLDED_WEIGHT: f32 = 0.8;
/// Weight of a spelling correction.
const GUESS_WEIGHT: f32 = 0.7;

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct QueryTerm {
    /// Analysed word.
    pub term: String,
    /// Number of occurrences in the query. Less for function words of a question (0.25 each), and less than 1 for a word that feedback added.
    pub weight: f32,
    /// Number of chunks of the dataset that contain it, in its most frequent form.
    pub df: u64,
    /// Inverse document frequency: `ln(1 + (N − df + 0.5) / (df + 0.5))`.
    pub idf: f32,
    /// All matching forms; a chunk with several of them is scored by the best one.
    pub forms: Vec<Form>,
}

impl QueryTerm {
    /// Returns whether the word is in the query, rather than added by feedback.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.forms.iter().all(|f| f.kind != FormKind::Feedback)
    }
}

/// A term of the index that matches a word of the query.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Form {
    /// Term as indexed, without the marker of a folded form.
    #[serde(serialize_with = "unmarked")]
    pub term: String,
    /// Kind of the match.
    pub kind: FormKind,
    /// Weight relative to the exact word.
    pub weight: f32,
    /// Number of chunks that contain it.
    pub df: u64,
}

fn unmarked<S: serde::Serializer>(term: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(analysis::shown(term))
}

/// Kind of match between a term and a word of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FormKind {
    /// The word itself, as stemmed in one of the dataset's languages.
    Exact,
    /// Differs in diacritics.
    Folded,
    /// Starts with the prefix.
    Prefix,
    /// Spelling correction of a word that the index does not contain.
    Guess,
    /// Added by feedback: the best chunks have it in common.
    Feedback,
}

/// A query analysed against one index.
#[derive(Debug, Clone)]
pub struct Analysed {
    /// Distinct words.
    pub terms: Vec<QueryTerm>,
    /// Upper bound of BM25 for the query in this index: the sum of `count · idf · (k1 + 1)` over all words, unknown ones too.
    pub bound: f32,
    /// Languages of the chunks, most frequent first.
    pub languages: Vec<&'static str>,
    /// Clauses that a chunk must satisfy, each in one of several variants, and clauses that it must not satisfy.
    pub(super) must: Vec<Vec<Sequence>>,
    pub(super) without: Vec<Vec<Sequence>>,
}

/// Terms at relative positions.
pub(super) type Sequence = Vec<(usize, String)>;

impl Analysed {
    /// Returns whether the query has required or excluded clauses.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        !(self.must.is_empty() && self.without.is_empty())
    }

    /// Returns whether the query has required clauses.
    #[must_use]
    pub fn has_requirements(&self) -> bool {
        !self.must.is_empty()
    }

    /// Returns every matching term.
    pub fn forms(&self) -> impl Iterator<Item = &Form> {
        self.terms.iter().flat_map(|t| &t.forms)
    }
}

impl KeywordIndex {
    /// Analyses a query against this index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn analyse(&self, query: &Parsed) -> Result<Analysed> {
        let searcher = self.reader.searcher();
        let chunks = self.chunks();
        let languages = self.languages(&searcher)?;
        let mut terms: Vec<QueryTerm> = Vec::new();
        for (forms, weight) in words(&query.words, &languages) {
            let known = terms
                .iter_mut()
                .find(|t| t.forms.iter().map(|f| &f.term).eq(forms.iter()));
            if let Some(term) = known {
                term.weight += weight;
                continue;
            }
            if terms.len() == WORDS {
                break;
            }
            let forms = forms
                .into_iter()
                .map(|term| self.form(&searcher, term, FormKind::Exact, 1.0));
            terms.push(QueryTerm {
                term: String::new(),
                weight,
                df: 0,
                idf: 0.0,
                forms: forms.collect::<Result<_>>()?,
            });
        }
        let mut guessed = 0;
        for term in &mut terms {
            term.term = term
                .forms
                .first()
                .map(|f| f.term.clone())
                .unwrap_or_default();
            self.fold(&searcher, term)?;
            if term.forms.iter().all(|f| f.df == 0) && guessed < GUESSED {
                guessed += 1;
                self.guess(&searcher, term)?;
            }
            // The marker of a stop word is internal to the index.
            term.term = analysis::shown(&term.term).to_owned();
        }
        for prefix in &query.prefixes {
            terms.push(self.prefix(&searcher, &prefix.to_lowercase())?);
        }
        for term in &mut terms {
            term.df = term.forms.iter().map(|f| f.df).max().unwrap_or(0);
            term.idf = idf(chunks, term.df);
        }
        let bound = Self::bound(&terms);
        let clause = |text: &String| self.ways(&searcher, text, &languages);
        Ok(Analysed {
            terms,
            bound,
            must: clauses(query.phrases.iter().chain(&query.must), &clause)?,
            without: clauses(query.without.iter(), &clause)?,
            languages,
        })
    }

    /// Returns the upper bound of BM25 for the given words.
    #[must_use]
    pub fn bound(terms: &[QueryTerm]) -> f32 {
        terms.iter().map(|t| t.weight * t.idf * (K1 + 1.0)).sum()
    }

    /// Returns the most significant words of some texts, by frequency and rarity, with their statistics and without words of the query.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn expansion_terms(
        &self,
        texts: &[String],
        query: &Analysed,
        limit: usize,
    ) -> Result<Vec<(String, u64, f32)>> {
        let searcher = self.reader.searcher();
        let chunks = self.chunks();
        let mut counts: HashMap<String, (f32, u32)> = HashMap::new();
        for text in texts {
            let language = analysis::language_of(&self.language, text);
            let mut own: HashMap<String, f32> = HashMap::new();
            for token in analysis::tokens(language, text) {
                *own.entry(token.text).or_default() += 1.0;
            }
            let length: f32 = own.values().sum();
            for (term, count) in own {
                let entry = counts.entry(term).or_default();
                entry.0 += count / length;
                entry.1 += 1;
            }
        }
        let mut all = Vec::new();
        for (term, (share, texts_with)) in counts {
            let asked = query.forms().any(|f| f.term == term);
            // A word of a single text is specific to that text, not to the question.
            if asked
                || (texts_with < 2 && texts.len() > 1)
                || !term.chars().any(char::is_alphabetic)
            {
                continue;
            }
            let df = self.df(&searcher, &term)?;
            let rarity = idf(chunks, df);
            all.push((share * rarity, term, df, rarity));
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        all.truncate(limit);
        Ok(all
            .into_iter()
            .map(|(_, term, df, idf)| (term, df, idf))
            .collect())
    }

    /// Returns the languages of the chunks, most frequent first; the dataset's setting while there are none.
    fn languages(&self, searcher: &Searcher) -> Result<Vec<&'static str>> {
        if self.language != analysis::AUTO {
            return Ok(vec![analysis::language_of(&self.language, "")]);
        }
        let mut counts: HashMap<&'static str, u64> = HashMap::new();
        for segment in searcher.segment_readers() {
            let index = segment
                .inverted_index(self.fields.language)
                .map_err(failed)?;
            let mut stream = index.terms().stream()?;
            while stream.advance() {
                let code = String::from_utf8_lossy(stream.key());
                *counts.entry(analysis::language_of(&code, "")).or_default() +=
                    u64::from(stream.value().doc_freq);
            }
        }
        let mut all: Vec<(&'static str, u64)> = counts.into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(LANGUAGES);
        if all.is_empty() {
            return Ok(vec![analysis::language_of(analysis::AUTO, "")]);
        }
        Ok(all.into_iter().map(|(code, _)| code).collect())
    }

    fn df(&self, searcher: &Searcher, term: &str) -> Result<u64> {
        searcher.doc_freq(&self.term(term)).map_err(failed)
    }

    fn form(&self, searcher: &Searcher, term: String, kind: FormKind, weight: f32) -> Result<Form> {
        Ok(Form {
            df: self.df(searcher, &term)?,
            term,
            kind,
            weight,
        })
    }

    /// Adds forms with other diacritics, or without.
    fn fold(&self, searcher: &Searcher, term: &mut QueryTerm) -> Result<()> {
        let exact: Vec<String> = term.forms.iter().map(|f| f.term.clone()).collect();
        for text in &exact {
            for other in other_spellings(text) {
                let form = self.form(searcher, other, FormKind::Folded, FOLDED_WEIGHT)?;
                add(term, form);
            }
        }
        Ok(())
    }

    /// Adds spelling corrections of a word that the index does not contain.
    fn guess(&self, searcher: &Searcher, term: &mut QueryTerm) -> Result<()> {
        for (word, df) in self.guesses(searcher, &term.term)? {
            let form = Form {
                term: word,
                kind: FormKind::Guess,
                weight: GUESS_WEIGHT,
                df,
            };
            add(term, form);
        }
        Ok(())
    }

    /// Returns a prefix as a word of the query: everything that starts with it, including words shortened by a stemmer.
    fn prefix(&self, searcher: &Searcher, prefix: &str) -> Result<QueryTerm> {
        let mut term = QueryTerm {
            term: format!("{prefix}*"),
            weight: 1.0,
            df: 0,
            idf: 0.0,
            forms: Vec::new(),
        };
        let mut words = self.beginning_with(searcher, prefix)?;
        let mut shorter = prefix.to_owned();
        for _ in 0..STEMMED_AWAY {
            shorter.pop();
            if shorter.chars().count() < MISSPELT {
                break;
            }
            words.push((shorter.clone(), self.df(searcher, &shorter)?));
        }
        for (word, df) in words {
            let form = Form {
                term: word,
                kind: FormKind::Prefix,
                weight: 1.0,
                df,
            };
            add(&mut term, form);
        }
        Ok(term)
    }

    /// Returns the variants of a phrase, or of a single word: as stemmed in each language, with other diacritics or none.
    fn ways(
        &self,
        searcher: &Searcher,
        text: &str,
        languages: &[&'static str],
    ) -> Result<Vec<Sequence>> {
        let mut all: Vec<Sequence> = Vec::new();
        for language in languages {
            let mut tokens = analysis::tokens(language, text);
            if tokens.is_empty() {
                // Nothing but stop words: they are significant here.
                tokens = analysis::stop_words(language, text);
            }
            let first = tokens.first().map_or(0, |t| t.position);
            let mut ways: Vec<Sequence> = vec![Vec::new()];
            for token in tokens {
                let mut spellings = vec![token.text.clone()];
                // Stop words have a field of their own, and a phrase has one field.
                if analysis::as_stop_word(&token.text).is_none() {
                    for other in other_spellings(&token.text) {
                        if self.df(searcher, &other)? > 0 {
                            spellings.push(other);
                        }
                    }
                }
                let mut longer = Vec::new();
                for way in &ways {
                    for spelling in &spellings {
                        let mut way = way.clone();
                        way.push((token.position - first, spelling.clone()));
                        longer.push(way);
                    }
                }
                longer.truncate(WAYS);
                ways = longer;
            }
            for way in ways {
                if !way.is_empty() && !all.contains(&way) {
                    all.push(way);
                }
            }
        }
        Ok(all)
    }

    /// Returns the most frequent words that start with a prefix.
    fn beginning_with(&self, searcher: &Searcher, prefix: &str) -> Result<Vec<(String, u64)>> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for segment in searcher.segment_readers() {
            let index = segment.inverted_index(self.fields.body).map_err(failed)?;
            let mut stream = index.terms().range().ge(prefix).into_stream()?;
            while stream.advance() && stream.key().starts_with(prefix.as_bytes()) {
                let word = String::from_utf8_lossy(stream.key()).into_owned();
                *counts.entry(word).or_default() += u64::from(stream.value().doc_freq);
            }
        }
        Ok(most_frequent(counts, PREFIXED))
    }

    /// Returns the most frequent words that differ in a letter or two. Words with digits are names, not misspellings.
    fn guesses(&self, searcher: &Searcher, word: &str) -> Result<Vec<(String, u64)>> {
        let length = word.chars().count();
        if length < MISSPELT || !word.chars().all(char::is_alphabetic) {
            return Ok(Vec::new());
        }
        let mut nearest = Vec::new();
        for distance in 1..=(if length < 2 * MISSPELT { 1 } else { 2 }) {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let fuzzy = FuzzyTermQuery::new(
                Term::from_field_text(self.fields.body, word),
                distance,
                true,
            );
            for segment in searcher.segment_readers() {
                let index = segment.inverted_index(self.fields.body).map_err(failed)?;
                let automaton = fuzzy.automaton().map_err(failed)?;
                let mut stream = index.terms().search(automaton).into_stream()?;
                while stream.advance() {
                    let found = String::from_utf8_lossy(stream.key()).into_owned();
                    if analysis::is_twin(&found) {
                        continue;
                    }
                    *counts.entry(found).or_default() += u64::from(stream.value().doc_freq);
                }
            }
            nearest = most_frequent(counts, GUESSES);
            if !nearest.is_empty() {
                break;
            }
        }
        Ok(nearest)
    }
}

pub(super) fn idf(chunks: u64, df: u64) -> f32 {
    (1.0 + (chunks.saturating_sub(df) as f32 + 0.5) / (df as f32 + 0.5)).ln()
}

fn most_frequent(counts: HashMap<String, u64>, limit: usize) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}

/// Returns the words of a text, each as stemmed in all languages, with their weights. Stop words of the first language, or of the detected one, are dropped
/// unless there is nothing else.
fn words(text: &str, languages: &[&'static str]) -> Vec<(Vec<String>, f32)> {
    let recognised = analysis::recognised(text);
    let found = words_with(text, languages, recognised, &analysis::tokens);
    if found.is_empty() {
        let all = words_with(text, languages, recognised, &|language, text| {
            let mut all = analysis::tokens(language, text);
            all.extend(analysis::stop_words(language, text));
            all
        });
        return all.into_iter().map(|(_, forms)| (forms, 1.0)).collect();
    }
    let is_english = recognised.or(languages.first().copied()) == Some("en");
    let little = |(from, to): (usize, usize)| questions::is_function_word(&text[from..to]);
    let question = is_english
        && questions::is_question(text)
        && !found.iter().all(|(place, _)| little(*place));
    let weighted = found.into_iter().map(|(place, forms)| {
        let weight = if question && little(place) {
            questions::WEIGHT
        } else {
            1.0
        };
        (forms, weight)
    });
    weighted.collect()
}

/// Returns the words of a text with their places; `own` is the detected language of the text.
fn words_with(
    text: &str,
    languages: &[&'static str],
    own: Option<&'static str>,
    tokens: &dyn Fn(&str, &str) -> Vec<Token>,
) -> Vec<((usize, usize), Vec<String>)> {
    let place = |t: &Token| (t.offset_from, t.offset_to);
    let by_language: Vec<HashMap<(usize, usize), String>> = languages
        .iter()
        .map(|language| {
            let tokens = tokens(language, text);
            tokens.into_iter().map(|t| (place(&t), t.text)).collect()
        })
        .collect();
    let own = languages.iter().position(|l| Some(*l) == own);
    let deciding = [Some(0), own];
    analysis::tokens("none", text)
        .iter()
        .map(place)
        .filter(|at| {
            let deciding = deciding.iter().flatten();
            deciding.into_iter().all(|l| {
                by_language
                    .get(*l)
                    .is_none_or(|tokens| tokens.contains_key(at))
            })
        })
        .map(|at| {
            let mut forms: Vec<String> = Vec::new();
            for form in by_language.iter().filter_map(|tokens| tokens.get(&at)) {
                if !forms.contains(form) {
                    forms.push(form.clone());
                }
            }
            (at, forms)
        })
        .collect()
}

/// Returns a term without its diacritics, and the folded form that matches terms with other ones.
fn other_spellings(term: &str) -> [String; 2] {
    let twin = analysis::twin_of_plain(term);
    let plain = analysis::shown(&twin).to_owned();
    [twin, plain]
}

/// Adds a form that the index contains and the word does not have yet.
fn add(term: &mut QueryTerm, form: Form) {
    if form.df > 0 && term.forms.iter().all(|f| f.term != form.term) {
        term.forms.push(form);
    }
}

/// Returns required or excluded clauses; text without any word yields none.
fn clauses<'a>(
    texts: impl Iterator<Item = &'a String>,
    ways: &dyn Fn(&String) -> Result<Vec<Sequence>>,
) -> Result<Vec<Vec<Sequence>>> {
    let all: Vec<Vec<Sequence>> = texts.map(ways).collect::<Result<_>>()?;
    Ok(all.into_iter().filter(|c| !c.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(query: &str, languages: &[&'static str]) -> Vec<(String, f32)> {
        let found = words(query, languages).into_iter();
        found
            .map(|(forms, weight)| (forms.join("|"), weight))
            .collect()
    }

    #[test]
    fn function_words_of_an_english_question_count_for_less() {
        let words = weights("How do I rotate the keys?", &["en"]);
        let expected = [
            ("how", 0.25),
            ("do", 0.25),
            ("i", 0.25),
            ("rotat", 1.0),
            ("key", 1.0),
        ];
        assert_eq!(
            words,
            expected.map(|(word, weight)| (word.to_owned(), weight))
        );
    }

    #[test]
    fn they_count_in_full_where_a_query_is_no_question_or_has_no_other_words() {
        for query in ["can bus errors", "what is it?", "we own all keys"] {
            let words = weights(query, &["en"]);
            assert!(words.iter().all(|(_, weight)| *weight == 1.0), "{words:?}");
        }
        let german = weights("Wo liegt die meiste own-Adresse der Verwaltung?", &["de"]);
        assert!(
            german.iter().all(|(_, weight)| *weight == 1.0),
            "{german:?}"
        );
    }
}
