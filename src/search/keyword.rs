//! Keyword index: one tantivy index per dataset and generation, so that one tenant's statistics never touch another's scores, and deleting is
//! removing a directory. The position of the log that an index has applied is part of its commit.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tantivy::collector::TopDocs;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::LogMergePolicy;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, EnableScoring,
    FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery, TermSetQuery,
};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    DocAddress, DocId, DocSet, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher,
    SegmentReader, TERMINATED, TantivyDocument, Term,
};
use uuid::Uuid;

use super::analysis;
use super::syntax::Parsed;
use crate::error::{Error, Result};

/// tantivy's BM25 parameter; its `b` is 0.75.
const K1: f32 = 1.2;
/// Memory of a writer before it writes a segment.
const WRITER_MEMORY: usize = 32 << 20;
/// Share of deleted chunks above which a segment is rewritten.
const DELETED_SHARE: f32 = 0.3;
/// Indexes kept open.
const OPEN: u64 = 256;
/// Languages of chunks in which a query is analysed, most frequent first.
const LANGUAGES: usize = 8;
/// Most words that a prefix stands for, most frequent first.
const PREFIXED: usize = 50;
/// Most words that a misspelt one may be, most frequent first.
const GUESSES: usize = 3;
/// Shortest word that may be misspelt, in characters; from twice that on two letters may be wrong.
const MISSPELT: usize = 4;
/// Weight of a word that is the query's without its diacritics, or with others.
const FOLDED_WEIGHT: f32 = 0.8;
/// Weight of a word that the query may have misspelt.
const GUESS_WEIGHT: f32 = 0.7;

/// All keyword indexes of this machine.
#[derive(Debug)]
pub struct KeywordStore {
    root: PathBuf,
    open: Cache<(String, i64), Arc<KeywordIndex>>,
}

/// The index of one dataset and generation.
pub struct KeywordIndex {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    language: String,
    writer: Mutex<Option<IndexWriter<TantivyDocument>>>,
}

impl std::fmt::Debug for KeywordIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeywordIndex").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Fields {
    /// Chunk id, for deletion and for asking after single chunks.
    id: Field,
    /// The same in two halves, to be read fast.
    id_high: Field,
    id_low: Field,
    document: Field,
    /// In which the body was analysed.
    language: Field,
    body: Field,
}

/// Stored with each commit.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    seq: i64,
    analysis: u32,
}

/// A change to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Add a chunk, or replace it.
    Put {
        /// The chunk.
        id: Uuid,
        /// Its document.
        document_id: String,
        /// What can be found.
        text: String,
    },
    /// Remove a chunk.
    Delete {
        /// The chunk.
        id: Uuid,
    },
}

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct QueryTerm {
    /// The analysed word.
    pub term: String,
    /// How often the query has it; less than 1 for a word that feedback added.
    pub weight: f32,
    /// Chunks of the dataset that have it, in its most frequent form.
    pub df: u64,
    /// Its weight: `ln(1 + (N − df + 0.5) / (df + 0.5))`.
    pub idf: f32,
    /// All forms in which it counts; a chunk that has several counts the best one.
    pub forms: Vec<Form>,
}

/// A term of the index that counts as a word of the query.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Form {
    /// As indexed.
    pub term: String,
    /// Why it counts.
    pub kind: FormKind,
    /// How much, beside the word as asked for.
    pub weight: f32,
    /// Chunks that have it.
    pub df: u64,
}

/// Why a term counts as a word of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FormKind {
    /// It is the word, as one of the dataset's languages stems it.
    Exact,
    /// It differs in diacritics.
    Folded,
    /// It begins so.
    Prefix,
    /// The index does not know the word, and this one is nearly it.
    Guess,
    /// The best chunks have it in common.
    Feedback,
}

/// A query analysed against one index.
#[derive(Debug, Clone)]
pub struct Analysed {
    /// Distinct words.
    pub terms: Vec<QueryTerm>,
    /// The largest BM25 that the query could reach here: the sum of `count · idf · (k1 + 1)` over all words, unknown ones too.
    pub bound: f32,
    /// Languages of the chunks, most frequent first.
    pub languages: Vec<&'static str>,
    /// What a chunk must have, each in one of several ways, and must not have.
    must: Vec<Vec<Sequence>>,
    without: Vec<Vec<Sequence>>,
}

/// Terms at relative positions.
type Sequence = Vec<(usize, String)>;

impl Analysed {
    /// Whether chunks must, or must not, have something.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        !(self.must.is_empty() && self.without.is_empty())
    }

    /// Every term that counts.
    pub fn forms(&self) -> impl Iterator<Item = &Form> {
        self.terms.iter().flat_map(|t| &t.forms)
    }
}

impl KeywordStore {
    /// Indexes below a directory.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            open: Cache::builder()
                .max_capacity(OPEN)
                .time_to_idle(Duration::from_secs(3600))
                .build(),
        }
    }

    /// The index of a dataset; created when it is not there, emptied when it was written by another analysis.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn index(
        &self,
        dataset_id: &str,
        generation: i64,
        language: &str,
    ) -> Result<Arc<KeywordIndex>> {
        let path = self.root.join(dataset_id).join(generation.to_string());
        self.open
            .try_get_with((dataset_id.to_owned(), generation), || {
                KeywordIndex::open(&path, language).map(Arc::new)
            })
            .map_err(|e| {
                Error::internal("a keyword index cannot be opened").with_source(e.to_string())
            })
    }

    /// Rewrites what holds deleted chunks, in every open index.
    ///
    /// # Errors
    /// When an index cannot be written.
    pub fn tidy(&self) -> Result<usize> {
        let open: Vec<Arc<KeywordIndex>> = self.open.iter().map(|(_, index)| index).collect();
        open.iter().map(|index| index.tidy()).sum()
    }

    /// Removes the indexes of datasets that are not in the list.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn keep_only(&self, dataset_ids: &[&str]) -> Result<()> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !dataset_ids.contains(&name.as_str()) {
                let stale: Vec<_> = self
                    .open
                    .iter()
                    .map(|(key, _)| key.as_ref().clone())
                    .filter(|(id, _)| *id == name)
                    .collect();
                stale.iter().for_each(|key| self.open.invalidate(key));
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

impl KeywordIndex {
    fn open(path: &Path, language: &str) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        match Self::with_schema(path, language) {
            // Written by an earlier version: the follower builds it anew.
            Err(tantivy::TantivyError::SchemaError(_)) => {
                std::fs::remove_dir_all(path)?;
                std::fs::create_dir_all(path)?;
                Self::with_schema(path, language)
            }
            other => other,
        }
        .map_err(failed)
    }

    fn with_schema(path: &Path, language: &str) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("cairn")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let fields = Fields {
            id: schema.add_text_field("id", STRING),
            id_high: schema.add_u64_field("id_high", FAST),
            id_low: schema.add_u64_field("id_low", FAST),
            document: schema.add_text_field("document", STRING),
            language: schema.add_text_field("language", STRING),
            body: schema.add_text_field(
                "body",
                TextOptions::default().set_indexing_options(indexing),
            ),
        };
        let directory = MmapDirectory::open(path)?;
        let index = Index::open_or_create(directory, schema.build())?;
        // Bodies are analysed before they get here; the field needs the name.
        index
            .tokenizers()
            .register("cairn", analysis::Words::default());
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self {
            index,
            reader,
            fields,
            language: language.to_owned(),
            writer: Mutex::new(None),
        })
    }

    /// The last position of the log that is in the index; 0 for an empty index or one of another analysis.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn applied(&self) -> Result<i64> {
        let metas = self.index.load_metas().map_err(failed)?;
        let payload: Option<Payload> = metas
            .payload
            .as_deref()
            .and_then(|p| serde_json::from_str(p).ok());
        Ok(payload
            .filter(|p| p.analysis == analysis::VERSION)
            .map_or(0, |p| p.seq))
    }

    /// Applies changes in order and commits them together with the position; searches see them when this returns.
    ///
    /// # Errors
    /// When the index cannot be written; nothing was applied then.
    pub fn apply(&self, changes: Vec<Change>, seq: i64, clear: bool) -> Result<()> {
        let mut slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writing(&mut slot)?;
        let outcome = self.write(writer, changes, seq, clear);
        if outcome.is_err() {
            // A writer that failed stays failed; the next attempt gets a new one.
            *slot = None;
        }
        outcome?;
        self.reader.reload().map_err(failed)
    }

    /// The writer, opened when it is not.
    fn writing<'s>(
        &self,
        slot: &'s mut Option<IndexWriter<TantivyDocument>>,
    ) -> Result<&'s mut IndexWriter<TantivyDocument>> {
        if slot.is_none() {
            let writer = self
                .index
                .writer_with_num_threads(1, WRITER_MEMORY)
                .map_err(failed)?;
            let mut policy = LogMergePolicy::default();
            policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
            writer.set_merge_policy(Box::new(policy));
            *slot = Some(writer);
        }
        slot.as_mut()
            .ok_or_else(|| Error::internal("the writer is missing"))
    }

    fn write(
        &self,
        writer: &mut IndexWriter<TantivyDocument>,
        changes: Vec<Change>,
        seq: i64,
        clear: bool,
    ) -> Result<()> {
        if clear {
            writer.delete_all_documents().map_err(failed)?;
        }
        let fields = self.fields;
        for change in changes {
            match change {
                Change::Put {
                    id,
                    document_id,
                    text,
                } => {
                    writer.delete_term(Term::from_field_text(fields.id, &id.simple().to_string()));
                    let (high, low) = id.as_u64_pair();
                    let mut row = TantivyDocument::default();
                    row.add_text(fields.id, id.simple().to_string());
                    row.add_u64(fields.id_high, high);
                    row.add_u64(fields.id_low, low);
                    row.add_text(fields.document, document_id);
                    let language = analysis::language_of(&self.language, &text);
                    row.add_text(fields.language, language);
                    let tokens = analysis::indexed(language, &text);
                    row.add_pre_tokenized_text(fields.body, PreTokenizedString { text, tokens });
                    writer.add_document(row).map_err(failed)?;
                }
                Change::Delete { id } => {
                    writer.delete_term(Term::from_field_text(fields.id, &id.simple().to_string()));
                }
            }
        }
        let mut commit = writer.prepare_commit().map_err(failed)?;
        commit.set_payload(&serde_json::to_string(&Payload {
            seq,
            analysis: analysis::VERSION,
        })?);
        commit.commit().map_err(failed)?;
        Ok(())
    }

    /// Rewrites the segments that hold deleted chunks, which until then count in document frequencies; gives their number.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn tidy(&self) -> Result<usize> {
        let stale: Vec<_> = self
            .reader
            .searcher()
            .segment_readers()
            .iter()
            .filter(|s| s.has_deletes())
            .map(tantivy::SegmentReader::segment_id)
            .collect();
        if stale.is_empty() {
            return Ok(0);
        }
        let mut slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writing(&mut slot)?;
        for segment in &stale {
            writer.merge(&[*segment]).wait().map_err(failed)?;
        }
        self.reader.reload().map_err(failed)?;
        Ok(stale.len())
    }

    /// Lets go of the writer and its threads; the next change opens it again.
    pub fn rest(&self) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Analyses a query against this index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn analyse(&self, query: &Parsed) -> Result<Analysed> {
        let searcher = self.reader.searcher();
        let chunks: u64 = searcher
            .segment_readers()
            .iter()
            .map(|s| u64::from(s.max_doc()))
            .sum();
        let languages = self.languages(&searcher)?;
        let mut terms: Vec<QueryTerm> = Vec::new();
        for forms in words(&query.text, &languages) {
            let known = terms
                .iter_mut()
                .find(|t| t.forms.iter().map(|f| &f.term).eq(forms.iter()));
            if let Some(term) = known {
                term.weight += 1.0;
                continue;
            }
            let forms = forms
                .into_iter()
                .map(|term| self.form(&searcher, term, FormKind::Exact, 1.0));
            terms.push(QueryTerm {
                term: String::new(),
                weight: 1.0,
                df: 0,
                idf: 0.0,
                forms: forms.collect::<Result<_>>()?,
            });
        }
        for term in &mut terms {
            term.term = term
                .forms
                .first()
                .map(|f| f.term.clone())
                .unwrap_or_default();
            self.complete(&searcher, term, &query.prefixes)?;
            term.df = term.forms.iter().map(|f| f.df).max().unwrap_or(0);
            term.idf = idf(chunks, term.df);
        }
        let bound = Self::bound(&terms);
        let clause = |text: &String| sequences(text, &languages);
        Ok(Analysed {
            terms,
            bound,
            must: query
                .phrases
                .iter()
                .chain(&query.must)
                .map(clause)
                .filter(|c| !c.is_empty())
                .collect(),
            without: query
                .without
                .iter()
                .map(clause)
                .filter(|c| !c.is_empty())
                .collect(),
            languages,
        })
    }

    /// The largest BM25 that words can reach.
    #[must_use]
    pub fn bound(terms: &[QueryTerm]) -> f32 {
        terms.iter().map(|t| t.weight * t.idf * (K1 + 1.0)).sum()
    }

    /// The words of some texts that tell most about them, by frequency and rarity, with their statistics; without those that are asked for already.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn telling(
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
            // A word of one text only is about that text, not about the question.
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

    /// Languages of the chunks, most frequent first; the setting while there are none.
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
        searcher
            .doc_freq(&Term::from_field_text(self.fields.body, term))
            .map_err(failed)
    }

    fn form(&self, searcher: &Searcher, term: String, kind: FormKind, weight: f32) -> Result<Form> {
        Ok(Form {
            df: self.df(searcher, &term)?,
            term,
            kind,
            weight,
        })
    }

    /// Adds what else counts as the word: with other diacritics, as its beginning, or, for a word that the index does not know, what it may have meant.
    fn complete(
        &self,
        searcher: &Searcher,
        term: &mut QueryTerm,
        prefixes: &[String],
    ) -> Result<()> {
        let exact: Vec<String> = term.forms.iter().map(|f| f.term.clone()).collect();
        let add = |term: &mut QueryTerm, form: Form| {
            if form.df > 0 && term.forms.iter().all(|f| f.term != form.term) {
                term.forms.push(form);
            }
        };
        for text in &exact {
            let twin = analysis::twin_of_plain(text);
            let plain = twin.chars().skip(1).collect::<String>();
            for other in [twin, plain] {
                add(
                    term,
                    self.form(searcher, other, FormKind::Folded, FOLDED_WEIGHT)?,
                );
            }
        }
        let lower = |p: &String| p.to_lowercase();
        if let Some(prefix) = prefixes.iter().map(lower).find(|p| {
            exact
                .iter()
                .any(|e| p.starts_with(e.as_str()) || e.starts_with(p.as_str()))
        }) {
            for (word, df) in self.beginning_with(searcher, &prefix)? {
                add(
                    term,
                    Form {
                        term: word,
                        kind: FormKind::Prefix,
                        weight: 1.0,
                        df,
                    },
                );
            }
        }
        if term.forms.iter().all(|f| f.df == 0) {
            for (word, df) in self.guesses(searcher, &term.term)? {
                add(
                    term,
                    Form {
                        term: word,
                        kind: FormKind::Guess,
                        weight: GUESS_WEIGHT,
                        df,
                    },
                );
            }
        }
        Ok(())
    }

    /// The most frequent words that begin so.
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

    /// The most frequent words that differ in a letter or two. Words with digits are names, not misspellings.
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

    /// The exact BM25 of single chunks, 0 for those without a term of the query: its sum is empty, which is a true zero.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn scores(&self, query: &Analysed, ids: &[Uuid]) -> Result<HashMap<Uuid, f32>> {
        let mut scores: HashMap<Uuid, f32> = ids.iter().map(|id| (*id, 0.0)).collect();
        let Some(words) = self.words(query) else {
            return Ok(scores);
        };
        let searcher = self.reader.searcher();
        let weight = words
            .weight(EnableScoring::enabled_from_searcher(&searcher))
            .map_err(failed)?;
        for segment in searcher.segment_readers() {
            let mut places = self.places(segment, ids)?;
            places.sort_unstable();
            let mut scorer = weight.scorer(segment, 1.0).map_err(failed)?;
            for (doc, id) in places {
                if scorer.doc() < doc {
                    scorer.seek(doc);
                }
                if scorer.doc() == doc {
                    scores.insert(id, scorer.score());
                }
            }
        }
        Ok(scores)
    }

    /// Where the chunks are in a segment.
    fn places(&self, segment: &SegmentReader, ids: &[Uuid]) -> Result<Vec<(DocId, Uuid)>> {
        let index = segment.inverted_index(self.fields.id).map_err(failed)?;
        let mut places = Vec::new();
        for id in ids {
            let term = Term::from_field_text(self.fields.id, &id.simple().to_string());
            let found = index
                .read_postings(&term, IndexRecordOption::Basic)
                .map_err(|e| failed(e.into()))?;
            let Some(mut postings) = found else { continue };
            while postings.doc() != TERMINATED {
                if !segment.is_deleted(postings.doc()) {
                    places.push((postings.doc(), *id));
                }
                postings.advance();
            }
        }
        Ok(places)
    }

    /// The words of a query that the index knows, any of which may match; `None` when it knows none.
    fn words(&self, query: &Analysed) -> Option<BooleanQuery> {
        let words: Vec<(Occur, Box<dyn Query>)> = query
            .terms
            .iter()
            .filter(|t| t.df > 0)
            .map(|t| (Occur::Should, self.word(t)))
            .collect();
        (!words.is_empty()).then(|| BooleanQuery::new(words))
    }

    /// One word: the best of its forms. A rare form weighs as much as the word itself, so that its rarity does not lift it above it.
    fn word(&self, word: &QueryTerm) -> Box<dyn Query> {
        let most = word.df;
        let chunks = self.chunks();
        let mut forms: Vec<Box<dyn Query>> = word
            .forms
            .iter()
            .filter(|f| f.df > 0)
            .map(|form| {
                let rarity = idf(chunks, most) / idf(chunks, form.df).max(f32::MIN_POSITIVE);
                let factor = word.weight * form.weight * rarity;
                let term: Box<dyn Query> = Box::new(TermQuery::new(
                    Term::from_field_text(self.fields.body, &form.term),
                    IndexRecordOption::WithFreqs,
                ));
                if (factor - 1.0).abs() < f32::EPSILON {
                    term
                } else {
                    Box::new(BoostQuery::new(term, factor))
                }
            })
            .collect();
        if forms.len() == 1 {
            forms.remove(0)
        } else {
            Box::new(DisjunctionMaxQuery::new(forms))
        }
    }

    fn chunks(&self) -> u64 {
        let searcher = self.reader.searcher();
        let segments = searcher.segment_readers().iter();
        segments.map(|s| u64::from(s.max_doc())).sum()
    }

    /// What chunks must and must not have, without a score.
    fn conditions(&self, query: &Analysed) -> Vec<(Occur, Box<dyn Query>)> {
        let clause = |ways: &Vec<Sequence>| -> Box<dyn Query> {
            let ways = ways.iter().map(|way| {
                let terms: Vec<(usize, Term)> = way
                    .iter()
                    .map(|(at, text)| (*at, Term::from_field_text(self.fields.body, text)))
                    .collect();
                let query: Box<dyn Query> = match &terms[..] {
                    [(_, one)] => Box::new(TermQuery::new(one.clone(), IndexRecordOption::Basic)),
                    _ => Box::new(PhraseQuery::new_with_offset(terms)),
                };
                (Occur::Should, query)
            });
            Box::new(ConstScoreQuery::new(
                Box::new(BooleanQuery::new(ways.collect())),
                0.0,
            ))
        };
        let must = query.must.iter().map(|c| (Occur::Must, clause(c)));
        let without = query.without.iter().map(|c| (Occur::MustNot, clause(c)));
        must.chain(without).collect()
    }

    /// Which of single chunks have what they must, and nothing that they must not.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn allowed(&self, query: &Analysed, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        let mut clauses = self.conditions(query);
        if clauses.is_empty() {
            return Ok(ids.iter().copied().collect());
        }
        clauses.push((Occur::Must, Box::new(AllQuery)));
        let searcher = self.reader.searcher();
        let weight = BooleanQuery::new(clauses)
            .weight(EnableScoring::disabled_from_searcher(&searcher))
            .map_err(failed)?;
        let mut allowed = HashSet::new();
        for segment in searcher.segment_readers() {
            let mut places = self.places(segment, ids)?;
            places.sort_unstable();
            let mut scorer = weight.scorer(segment, 1.0).map_err(failed)?;
            for (doc, id) in places {
                if scorer.doc() < doc {
                    scorer.seek(doc);
                }
                if scorer.doc() == doc {
                    allowed.insert(id);
                }
            }
        }
        Ok(allowed)
    }

    /// The chunks with the highest BM25, best first; with `documents`, only theirs.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn search(
        &self,
        query: &Analysed,
        documents: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        let mut conditions = self.conditions(query);
        let mut query: Box<dyn Query> = match self.words(query) {
            _ if limit == 0 => return Ok(Vec::new()),
            Some(words) => Box::new(words),
            // Words that are too frequent to count, as in a phrase of stop words, still choose.
            None if !query.must.is_empty() => {
                Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0))
            }
            None => return Ok(Vec::new()),
        };
        if !conditions.is_empty() {
            conditions.push((Occur::Must, query));
            query = Box::new(BooleanQuery::new(conditions));
        }
        if let Some(documents) = documents {
            let terms: Vec<Term> = documents
                .iter()
                .map(|id| Term::from_field_text(self.fields.document, id))
                .collect();
            if terms.is_empty() {
                return Ok(Vec::new());
            }
            // A filter adds nothing to the score.
            let filter: Box<dyn Query> = Box::new(ConstScoreQuery::new(
                Box::new(TermSetQuery::new(terms)),
                0.0,
            ));
            query = Box::new(BooleanQuery::new(vec![
                (Occur::Must, query),
                (Occur::Must, filter),
            ]));
        }
        let searcher = self.reader.searcher();
        let found: Vec<(f32, DocAddress)> = searcher
            .search(&query, &TopDocs::with_limit(limit).order_by_score())
            .map_err(failed)?;
        let ids = Ids::new(&searcher)?;
        found
            .into_iter()
            .map(|(score, address)| Ok((ids.get(address)?, score)))
            .collect()
    }

    /// Ids of all chunks in the index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn ids(&self) -> Result<Vec<Uuid>> {
        let searcher = self.reader.searcher();
        let ids = Ids::new(&searcher)?;
        let mut all = Vec::new();
        for (ordinal, segment) in (0_u32..).zip(searcher.segment_readers()) {
            for doc in segment.doc_ids_alive() {
                all.push(ids.get(DocAddress::new(ordinal, doc))?);
            }
        }
        Ok(all)
    }
}

fn idf(chunks: u64, df: u64) -> f32 {
    (1.0 + (chunks.saturating_sub(df) as f32 + 0.5) / (df as f32 + 0.5)).ln()
}

fn most_frequent(counts: HashMap<String, u64>, limit: usize) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}

/// The words of a text, each as the languages stem it. A stop word of the first language, or of the one that the text is recognised as, is none.
fn words(text: &str, languages: &[&'static str]) -> Vec<Vec<String>> {
    let place = |t: &Token| (t.offset_from, t.offset_to);
    let by_language: Vec<HashMap<(usize, usize), String>> = languages
        .iter()
        .map(|language| {
            let tokens = analysis::tokens(language, text);
            tokens.into_iter().map(|t| (place(&t), t.text)).collect()
        })
        .collect();
    let own = analysis::recognised(text);
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
            forms
        })
        .collect()
}

/// The sequences of terms that a phrase, or a single word, is in the languages.
fn sequences(text: &str, languages: &[&'static str]) -> Vec<Sequence> {
    let mut all: Vec<Sequence> = Vec::new();
    for language in languages {
        let tokens = analysis::tokens(language, text);
        let first = tokens.first().map_or(0, |t| t.position);
        let sequence: Sequence = tokens
            .into_iter()
            .map(|t| (t.position - first, t.text))
            .collect();
        if !sequence.is_empty() && !all.contains(&sequence) {
            all.push(sequence);
        }
    }
    all
}

/// Reads chunk ids from the columns of each segment.
struct Ids(Vec<[tantivy::columnar::Column<u64>; 2]>);

impl Ids {
    fn new(searcher: &Searcher) -> Result<Self> {
        let columns = searcher.segment_readers().iter().map(|segment| {
            let fast = segment.fast_fields();
            Ok([
                fast.u64("id_high").map_err(failed)?,
                fast.u64("id_low").map_err(failed)?,
            ])
        });
        Ok(Self(columns.collect::<Result<_>>()?))
    }

    fn get(&self, address: DocAddress) -> Result<Uuid> {
        let [high, low] = &self.0[address.segment_ord as usize];
        match (high.first(address.doc_id), low.first(address.doc_id)) {
            (Some(high), Some(low)) => Ok(Uuid::from_u64_pair(high, low)),
            _ => Err(Error::internal("a chunk in the keyword index has no id")),
        }
    }
}

fn failed(error: tantivy::TantivyError) -> Error {
    if let tantivy::TantivyError::IoError(io) = &error
        && io.kind() == std::io::ErrorKind::StorageFull
    {
        return std::io::Error::from(std::io::ErrorKind::StorageFull).into();
    }
    Error::internal("the keyword index failed").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn put(n: u128, document: &str, text: &str) -> Change {
        Change::Put {
            id: id(n),
            document_id: document.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn scores_are_bm25_and_stay_below_the_bound() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = KeywordStore::new(directory.path().to_owned());
        let index = store.index("d", 1, "en").expect("opens");
        index
            .apply(
                vec![
                    put(1, "a", "red fox"),
                    put(2, "b", "red red dog"),
                    put(3, "c", "blue whale"),
                ],
                3,
                false,
            )
            .expect("applies");
        let query = index
            .analyse(&Parsed::plain("red whale zebra"))
            .expect("analyses");
        assert_eq!(
            query
                .terms
                .iter()
                .map(|t| (t.term.as_str(), t.df))
                .collect::<Vec<_>>(),
            [("red", 2), ("whale", 1), ("zebra", 0)]
        );
        let hits = index.search(&query, None, 10).expect("searches");
        assert_eq!(hits[0].0, id(3));
        // N = 3, df = 1: idf = ln(1 + 2.5/1.5); tf = 1, length 2, mean 7/3: idf · 2.2 / (1 + 1.2 · (0.25 + 0.75 · 2 / (7/3)))
        let expected =
            (1.0_f32 + 2.5 / 1.5).ln() * 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * 2.0 / (7.0 / 3.0)));
        assert!(
            (hits[0].1 - expected).abs() < 1e-4,
            "{} {expected}",
            hits[0].1
        );
        assert!(hits.iter().all(|(_, score)| *score < query.bound));
        // asking after single chunks gives the same numbers
        let single = index
            .scores(&query, &[id(2), id(3), id(9)])
            .expect("scores");
        assert_eq!(single.get(&id(3)), Some(&hits[0].1));
        assert_eq!(
            single.get(&id(9)),
            Some(&0.0),
            "unknown chunks have no term"
        );
        assert_eq!(
            index
                .search(&query, Some(&["b".to_owned()]), 10)
                .expect("searches")
                .iter()
                .map(|h| h.0)
                .collect::<Vec<_>>(),
            [id(2)]
        );
    }

    #[test]
    fn the_position_survives_with_the_commit_and_putting_twice_changes_nothing() {
        let directory = tempfile::tempdir().expect("temporary directory");
        {
            let index = KeywordIndex::open(directory.path(), "en").expect("opens");
            assert_eq!(index.applied().expect("reads"), 0);
            index
                .apply(
                    vec![
                        put(1, "a", "one"),
                        put(1, "a", "one"),
                        put(2, "a", "two"),
                        Change::Delete { id: id(2) },
                    ],
                    7,
                    false,
                )
                .expect("applies");
        }
        let index = KeywordIndex::open(directory.path(), "en").expect("opens again");
        assert_eq!(index.applied().expect("reads"), 7);
        assert_eq!(index.ids().expect("reads"), [id(1)]);
    }
}
