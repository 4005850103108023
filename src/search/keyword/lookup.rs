//! Keyword look-up: the best chunks, the exact scores of single ones, and which of them satisfy the clauses of a query.

use std::collections::{HashMap, HashSet};

use tantivy::collector::TopDocs;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, EnableScoring, Occur,
    PhraseQuery, Query, Scorer, TermQuery, TermSetQuery, Weight,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, DocId, DocSet, Searcher, SegmentReader, TERMINATED, Term};
use uuid::Uuid;

use super::terms::{Analysed, QueryTerm, Sequence, idf};
use super::{Ids, KeywordIndex, failed};
use crate::error::Result;

impl KeywordIndex {
    /// Returns the exact BM25 of single chunks, 0 for those without a term of the query: their sum is empty, which is a true zero.
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
        self.meet(&searcher, weight.as_ref(), ids, |id, scorer| {
            scores.insert(id, scorer.score());
        })?;
        Ok(scores)
    }

    /// Calls a function for each of the given chunks that a query matches.
    fn meet(
        &self,
        searcher: &Searcher,
        weight: &dyn Weight,
        ids: &[Uuid],
        mut met: impl FnMut(Uuid, &mut dyn Scorer),
    ) -> Result<()> {
        for segment in searcher.segment_readers() {
            let mut places = self.places(segment, ids)?;
            places.sort_unstable();
            let mut scorer = weight.scorer(segment, 1.0).map_err(failed)?;
            for (doc, id) in places {
                if scorer.doc() < doc {
                    scorer.seek(doc);
                }
                if scorer.doc() == doc {
                    met(id, scorer.as_mut());
                }
            }
        }
        Ok(())
    }

    /// Returns whether a chunk is in the index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn has(&self, id: &Uuid) -> Result<bool> {
        for segment in self.reader.searcher().segment_readers() {
            if !self.places(segment, std::slice::from_ref(id))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the document ids of chunks in a segment.
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

    /// Returns a query for the words that the index contains, any of which may match; `None` when it contains none.
    fn words(&self, query: &Analysed) -> Option<BooleanQuery> {
        let words: Vec<(Occur, Box<dyn Query>)> = query
            .terms
            .iter()
            .filter(|t| t.df > 0)
            .map(|t| (Occur::Should, self.word(t)))
            .collect();
        (!words.is_empty()).then(|| BooleanQuery::new(words))
    }

    /// Returns the query for one word, scored by its best form. A rare form weighs as much as the word itself, so that its rarity does not rank it
    /// above the word.
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
                    self.term(&form.term),
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

    pub(super) fn chunks(&self) -> u64 {
        let searcher = self.reader.searcher();
        let segments = searcher.segment_readers().iter();
        segments.map(|s| u64::from(s.max_doc())).sum()
    }

    /// Returns the required and excluded clauses, without a score.
    fn conditions(&self, query: &Analysed) -> Vec<(Occur, Box<dyn Query>)> {
        let clause = |ways: &Vec<Sequence>| -> Box<dyn Query> {
            let ways = ways.iter().map(|way| {
                let terms: Vec<(usize, Term)> = way
                    .iter()
                    .map(|(at, text)| (*at, self.term(text)))
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

    /// Returns which of the given chunks satisfy the required and excluded clauses.
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
        self.meet(&searcher, weight.as_ref(), ids, |id, _| {
            allowed.insert(id);
        })?;
        Ok(allowed)
    }

    /// Returns the chunks with the highest BM25, best first, restricted to `documents` if given.
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
            // Words that are too frequent to count, as in a phrase of stop words, still match; words that no chunk contains match nothing.
            None if query.has_conditions() || (documents.is_some() && query.terms.is_empty()) => {
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
            // A filter does not contribute to the score.
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
}
