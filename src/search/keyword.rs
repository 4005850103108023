//! Keyword index: one tantivy index per dataset and generation, so that one tenant's statistics never touch another's scores, and deleting is
//! removing a directory. The position of the log that an index has applied is part of its commit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tantivy::collector::TopDocs;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::LogMergePolicy;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, EnableScoring, Occur, Query, TermQuery, TermSetQuery,
};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, TokenStream};
use tantivy::{
    DocAddress, DocId, DocSet, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher,
    SegmentReader, TERMINATED, TantivyDocument, Term,
};
use uuid::Uuid;

use super::analysis;
use crate::error::{Error, Result};

/// tantivy's BM25 parameter; its `b` is 0.75.
const K1: f32 = 1.2;
/// Memory of a writer before it writes a segment.
const WRITER_MEMORY: usize = 32 << 20;
/// Share of deleted chunks above which a segment is rewritten.
const DELETED_SHARE: f32 = 0.3;
/// Indexes kept open.
const OPEN: u64 = 256;

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
    analyser: TextAnalyzer,
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

/// A term of a query.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct QueryTerm {
    /// The analysed term.
    pub term: String,
    /// How often the query has it.
    pub count: u32,
    /// Chunks of the dataset that have it.
    pub df: u64,
    /// Its weight: `ln(1 + (N − df + 0.5) / (df + 0.5))`.
    pub idf: f32,
}

/// A query analysed against one index.
#[derive(Debug, Clone)]
pub struct Analysed {
    /// Distinct terms.
    pub terms: Vec<QueryTerm>,
    /// The largest BM25 that the query could reach here: the sum of `count · idf · (k1 + 1)` over all terms, unknown ones too.
    pub bound: f32,
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
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("cairn")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let fields = Fields {
            id: schema.add_text_field("id", STRING),
            id_high: schema.add_u64_field("id_high", FAST),
            id_low: schema.add_u64_field("id_low", FAST),
            document: schema.add_text_field("document", STRING),
            body: schema.add_text_field(
                "body",
                TextOptions::default().set_indexing_options(indexing),
            ),
        };
        let directory = MmapDirectory::open(path)
            .map_err(tantivy::TantivyError::from)
            .map_err(failed)?;
        let index = Index::open_or_create(directory, schema.build()).map_err(failed)?;
        let analyser = analysis::analyser(language);
        index.tokenizers().register("cairn", analyser.clone());
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .map_err(failed)?;
        Ok(Self {
            index,
            reader,
            fields,
            analyser,
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
                    row.add_text(fields.body, text);
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
    pub fn analyse(&self, query: &str) -> Result<Analysed> {
        let searcher = self.reader.searcher();
        let chunks: u64 = searcher
            .segment_readers()
            .iter()
            .map(|s| u64::from(s.max_doc()))
            .sum();
        let mut counts: Vec<(String, u32)> = Vec::new();
        let mut analyser = self.analyser.clone();
        let mut stream = analyser.token_stream(query);
        while stream.advance() {
            let text = &stream.token().text;
            match counts.iter_mut().find(|(t, _)| t == text) {
                Some((_, n)) => *n += 1,
                None => counts.push((text.clone(), 1)),
            }
        }
        let mut terms = Vec::with_capacity(counts.len());
        for (term, count) in counts {
            let df = searcher
                .doc_freq(&Term::from_field_text(self.fields.body, &term))
                .map_err(failed)?;
            let idf = (1.0 + (chunks.saturating_sub(df) as f32 + 0.5) / (df as f32 + 0.5)).ln();
            terms.push(QueryTerm {
                term,
                count,
                df,
                idf,
            });
        }
        let bound = terms
            .iter()
            .map(|t| t.count as f32 * t.idf * (K1 + 1.0))
            .sum();
        Ok(Analysed { terms, bound })
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

    /// The terms of a query that the index knows, any of which may match; `None` when it knows none.
    fn words(&self, query: &Analysed) -> Option<BooleanQuery> {
        let words: Vec<(Occur, Box<dyn Query>)> = query
            .terms
            .iter()
            .filter(|t| t.df > 0)
            .map(|t| {
                let term: Box<dyn Query> = Box::new(TermQuery::new(
                    Term::from_field_text(self.fields.body, &t.term),
                    IndexRecordOption::WithFreqs,
                ));
                let weighted: Box<dyn Query> = if t.count > 1 {
                    Box::new(BoostQuery::new(term, t.count as f32))
                } else {
                    term
                };
                (Occur::Should, weighted)
            })
            .collect();
        (!words.is_empty()).then(|| BooleanQuery::new(words))
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
        let Some(words) = self.words(query).filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let mut query: Box<dyn Query> = Box::new(words);
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

    /// The analyser, for highlights.
    #[must_use]
    pub fn analyser(&self) -> TextAnalyzer {
        self.analyser.clone()
    }
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
        let query = index.analyse("red whale zebra").expect("analyses");
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
