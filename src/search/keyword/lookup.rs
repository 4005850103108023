//! Keyword look-up: the best chunks, the exact scores of single ones, and which of them satisfy the clauses of a query.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use tantivy::query::{
    BooleanQuery, BoostQuery, DisjunctionMaxQuery, EnableScoring, Occur, PhraseQuery, Query,
    TermQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, DocId, Searcher, TERMINATED, Term};
use uuid::Uuid;

use super::addresses::Addresses;
use super::terms::{Analysed, QueryTerm, Sequence, idf};
use super::{Ids, KeywordIndex, failed};
use crate::error::Result;
use crate::search::live::{LiveSet, Passing};
use crate::search::top::Top;

/// Chunks per term occurrence below which a restricted search scores every passing chunk instead of going through the postings: a seek costs about eight
/// times as much as a step.
const SEEK_COST: usize = 8;

/// Chunks to score: document and index of the result, by segment.
type Wanted = Vec<Vec<(DocId, usize)>>;

impl KeywordIndex {
    /// Returns the exact BM25 of single chunks, 0 for those without a term of the query: their sum is empty, which is a true zero.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn scores(
        &self,
        query: &Analysed,
        live: &LiveSet,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, f32>> {
        let searcher = self.reader.searcher();
        let addresses = self.addresses(&searcher, live)?;
        let mut wanted: Wanted = vec![Vec::new(); searcher.segment_readers().len()];
        {
            let table = live.table();
            for (index, id) in ids.iter().enumerate() {
                let address = table.ordinal(id).and_then(|ordinal| addresses.of(ordinal));
                if let Some((segment, doc)) = address {
                    wanted[segment as usize].push((doc, index));
                }
            }
        }
        let scores = self.score(&searcher, query, wanted, ids.len())?;
        Ok(ids.iter().copied().zip(scores).collect())
    }

    /// Returns BM25 by index: the sum over the words of the best of their forms.
    fn score(
        &self,
        searcher: &Searcher,
        query: &Analysed,
        mut wanted: Wanted,
        count: usize,
    ) -> Result<Vec<f32>> {
        let mut sums = vec![0.0; count];
        wanted.iter_mut().for_each(|docs| docs.sort_unstable());
        let mut best = vec![0.0_f32; count];
        for word in query.terms.iter().filter(|word| word.df > 0) {
            let forms = self.forms(word);
            let is_single = forms.len() == 1;
            for form in forms {
                let weight = form
                    .weight(EnableScoring::enabled_from_searcher(searcher))
                    .map_err(failed)?;
                for (docs, segment) in wanted.iter().zip(searcher.segment_readers()) {
                    if docs.is_empty() {
                        continue;
                    }
                    let mut scorer = weight.scorer(segment, 1.0).map_err(failed)?;
                    for (doc, index) in docs {
                        if scorer.doc() < *doc {
                            scorer.seek(*doc);
                        }
                        if scorer.doc() == *doc {
                            let score = scorer.score();
                            if is_single {
                                sums[*index] += score;
                            } else {
                                best[*index] = best[*index].max(score);
                            }
                        }
                    }
                }
            }
            if !is_single {
                for (sum, best) in sums.iter_mut().zip(&mut best) {
                    *sum += std::mem::take(best);
                }
            }
        }
        Ok(sums)
    }

    /// Returns whether a chunk is in the index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn has(&self, live: &LiveSet, id: &Uuid) -> Result<bool> {
        let addresses = self.addresses(&self.reader.searcher(), live)?;
        let ordinal = live.table().ordinal(id);
        Ok(ordinal.is_some_and(|ordinal| addresses.of(ordinal).is_some()))
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

    /// Returns the query for one word, scored by its best form.
    fn word(&self, word: &QueryTerm) -> Box<dyn Query> {
        let mut forms = self.forms(word);
        if forms.len() == 1 {
            forms.remove(0)
        } else {
            Box::new(DisjunctionMaxQuery::new(forms))
        }
    }

    /// Returns the queries for the forms of a word. A rare form weighs as much as the word itself, so that its rarity does not rank it above the word.
    fn forms(&self, word: &QueryTerm) -> Vec<Box<dyn Query>> {
        let most = word.df;
        let chunks = self.chunks();
        let forms = word.forms.iter().filter(|f| f.df > 0);
        forms
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
            .collect()
    }

    pub(super) fn chunks(&self) -> u64 {
        let searcher = self.reader.searcher();
        let segments = searcher.segment_readers().iter();
        segments.map(|s| u64::from(s.max_doc())).sum()
    }

    /// Returns a query for a required or excluded clause.
    fn clause(&self, ways: &[Sequence]) -> Box<dyn Query> {
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
        Box::new(BooleanQuery::new(ways.collect()))
    }

    /// Returns the chunks that match a query, by ordinal.
    fn matching(
        &self,
        searcher: &Searcher,
        addresses: &Addresses,
        query: &dyn Query,
    ) -> Result<FixedBitSet> {
        let mut found = FixedBitSet::with_capacity(addresses.len());
        let weight = query
            .weight(EnableScoring::disabled_from_searcher(searcher))
            .map_err(failed)?;
        for (segment, reader) in addresses.segments.iter().zip(searcher.segment_readers()) {
            let alive = reader.alive_bitset();
            let mut scorer = weight.scorer(reader, 1.0).map_err(failed)?;
            while scorer.doc() != TERMINATED {
                let doc = scorer.doc();
                if alive.is_none_or(|alive| alive.is_alive(doc)) {
                    found.insert(segment.ordinals[doc as usize] as usize);
                }
                scorer.advance();
            }
        }
        Ok(found)
    }

    /// Returns the visible chunks that satisfy the required and excluded clauses of a query, among some or all.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn satisfying(
        &self,
        query: &Analysed,
        live: &LiveSet,
        among: Option<&Passing>,
    ) -> Result<Passing> {
        let searcher = self.reader.searcher();
        let addresses = self.addresses(&searcher, live)?;
        let mut chunks = match among {
            Some(among) => among.chunks.clone(),
            None => live.table().visible().clone(),
        };
        if query.must.is_empty() {
            // Chunks that are not in the index yet are not known to satisfy anything.
            for ordinal in 0..chunks.len() {
                let is_indexed = u32::try_from(ordinal).is_ok_and(|n| addresses.of(n).is_some());
                chunks.set(ordinal, is_indexed && chunks.contains(ordinal));
            }
        } else {
            let clauses = query.must.iter();
            let clauses = clauses
                .map(|ways| (Occur::Must, self.clause(ways)))
                .collect();
            let found = self.matching(&searcher, &addresses, &BooleanQuery::new(clauses))?;
            chunks.intersect_with(&found);
        }
        for ways in &query.without {
            let excluded = self.matching(&searcher, &addresses, self.clause(ways).as_ref())?;
            chunks.difference_with(&excluded);
        }
        Ok(Passing::new(chunks))
    }

    /// Returns the chunks with the highest BM25, best first, among some or all.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn search(
        &self,
        query: &Analysed,
        live: &LiveSet,
        among: Option<&Passing>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        if limit == 0 || among.is_some_and(|among| among.count == 0) {
            return Ok(Vec::new());
        }
        let searcher = self.reader.searcher();
        let addresses = self.addresses(&searcher, live)?;
        let mut top: Top<DocAddress> = Top::new(limit);
        match (self.words(query), among) {
            (Some(_), Some(among)) if is_cheaper_by_seeking(query, among) => {
                self.score_all(&searcher, query, &addresses, among, &mut top)?;
            }
            (Some(words), among) => {
                best(&searcher, &words, &addresses, among, &mut top)?;
            }
            // Words that are too frequent to count, as in a phrase of stop words, still match; words that no chunk contains match nothing.
            (None, Some(among)) if query.has_conditions() || query.terms.is_empty() => {
                for ordinal in among.chunks.ones() {
                    let address = u32::try_from(ordinal).ok().and_then(|n| addresses.of(n));
                    if let Some((segment, doc)) = address {
                        top.push(0.0, DocAddress::new(segment, doc));
                    }
                }
            }
            (None, _) => return Ok(Vec::new()),
        }
        let ids = Ids::new(&searcher)?;
        let found = top.into_sorted().into_iter();
        found
            .map(|(score, address)| Ok((ids.get(address)?, score)))
            .collect()
    }

    /// Scores every passing chunk.
    fn score_all(
        &self,
        searcher: &Searcher,
        query: &Analysed,
        addresses: &Addresses,
        among: &Passing,
        top: &mut Top<DocAddress>,
    ) -> Result<()> {
        let mut wanted: Wanted = vec![Vec::new(); searcher.segment_readers().len()];
        let mut places = Vec::with_capacity(among.count);
        for ordinal in among.chunks.ones() {
            let address = u32::try_from(ordinal).ok().and_then(|n| addresses.of(n));
            if let Some((segment, doc)) = address {
                wanted[segment as usize].push((doc, places.len()));
                places.push(DocAddress::new(segment, doc));
            }
        }
        let scores = self.score(searcher, query, wanted, places.len())?;
        for (score, place) in scores.into_iter().zip(places) {
            if score > 0.0 {
                top.push(score, place);
            }
        }
        Ok(())
    }
}

/// Returns whether scoring every passing chunk costs less than reading the postings of all words.
fn is_cheaper_by_seeking(query: &Analysed, among: &Passing) -> bool {
    let forms = query.forms().filter(|form| form.df > 0);
    let (words, postings) = forms.fold((0, 0_u64), |(words, postings), form| {
        (words + 1, postings + form.df)
    });
    let seeks = among.count.saturating_mul(words);
    seeks.saturating_mul(SEEK_COST) < usize::try_from(postings).unwrap_or(usize::MAX)
}

/// Collects the best matches of a query among some chunks or all. Postings that cannot exceed the threshold are skipped (block-max WAND) whatever passes: only
/// passing chunks raise the threshold.
fn best(
    searcher: &Searcher,
    query: &dyn Query,
    addresses: &Addresses,
    among: Option<&Passing>,
    top: &mut Top<DocAddress>,
) -> Result<()> {
    let weight = query
        .weight(EnableScoring::enabled_from_searcher(searcher))
        .map_err(failed)?;
    let readers = searcher.segment_readers().iter();
    for (number, (segment, reader)) in (0_u32..).zip(addresses.segments.iter().zip(readers)) {
        let alive = reader.alive_bitset();
        let start = top.threshold();
        let mut threshold = start;
        let mut collect = |doc: DocId, score: f32| {
            let passes = alive.is_none_or(|alive| alive.is_alive(doc))
                && among.is_none_or(|among| {
                    let ordinal = segment.ordinals[doc as usize];
                    among.chunks.contains(ordinal as usize)
                });
            if passes {
                threshold = top.push(score, DocAddress::new(number, doc));
            }
            threshold
        };
        weight
            .for_each_pruning(start, reader, &mut collect)
            .map_err(failed)?;
    }
    Ok(())
}
