//! Keyword index: one tantivy index per dataset and generation, so that one tenant's statistics never affect another's scores, and deletion removes a
//! directory. Each commit contains the log position that the index has applied.

mod addresses;
mod lookup;
mod terms;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tantivy::directory::MmapDirectory;
use tantivy::directory::error::OpenReadError;
use tantivy::indexer::LogMergePolicy;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::PreTokenizedString;
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument,
    TantivyError, Term,
};
use uuid::Uuid;

use super::analysis;
use super::states::{Index as State, IndexStates};
use crate::error::{Error, Result};
pub use terms::{Analysed, Form, FormKind, QueryTerm};

/// tantivy's BM25 parameter; its `b` is 0.75.
const K1: f32 = 1.2;
/// Memory budget of a writer before it flushes a segment, in bytes.
const WRITER_MEMORY: usize = 32 << 20;
/// Share of deleted chunks above which a segment is rewritten.
const DELETED_SHARE: f32 = 0.3;
/// Maximum number of open indexes.
const OPEN: u64 = 256;

/// All keyword indexes of this machine.
#[derive(Debug)]
pub struct KeywordStore {
    root: PathBuf,
    states: Arc<IndexStates>,
    open: Cache<(String, i64), Arc<KeywordIndex>>,
}

/// The index of one dataset and generation.
pub struct KeywordIndex {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    language: String,
    writer: Mutex<Option<IndexWriter<TantivyDocument>>>,
    /// Addresses of the chunks, as of the last search.
    addresses: Mutex<Option<Arc<addresses::Addresses>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for KeywordIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeywordIndex").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Fields {
    /// Chunk id, for deletion and look-ups of single chunks.
    id: Field,
    /// The id in two halves, as fast fields.
    id_high: Field,
    id_low: Field,
    /// Language in which the body was analysed.
    language: Field,
    body: Field,
    /// Stop words of the body, at its positions and without a length.
    stops: Field,
}

/// Payload of each commit.
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
        id: Uuid,
        /// Searchable text.
        text: String,
    },
    /// Remove a chunk.
    Delete { id: Uuid },
}

impl KeywordStore {
    /// Creates a store of indexes below a directory.
    #[must_use]
    pub fn new(root: PathBuf, states: Arc<IndexStates>) -> Self {
        Self {
            root,
            states,
            open: Cache::builder()
                .max_capacity(OPEN)
                .time_to_idle(Duration::from_secs(3600))
                .build(),
        }
    }

    /// Returns the index of a dataset, created when missing and emptied when it is damaged or was written by another version.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn index(
        &self,
        dataset_id: &str,
        generation: i64,
        language: &str,
    ) -> Result<Arc<KeywordIndex>> {
        let path = self.path(dataset_id, generation);
        self.open
            .try_get_with((dataset_id.to_owned(), generation), || {
                let opened = match KeywordIndex::open(&path, language) {
                    Err(error) if error.is_damage() => {
                        tracing::error!(set = dataset_id, error = %error, "a keyword index is damaged and is being rebuilt");
                        std::fs::remove_dir_all(&path)?;
                        self.states.emptied(dataset_id, State::Keyword);
                        KeywordIndex::open(&path, language)
                    }
                    other => other,
                };
                opened.map(Arc::new)
            })
            .map_err(|e: Arc<Error>| {
                Error::internal("a keyword index cannot be opened").with_source(e.to_string())
            })
    }

    fn path(&self, dataset_id: &str, generation: i64) -> PathBuf {
        self.root.join(dataset_id).join(generation.to_string())
    }

    /// Removes an index that was found damaged; the next call of [`index`](Self::index) creates an empty one.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub fn discard(&self, dataset_id: &str, generation: i64) -> Result<()> {
        self.open.invalidate(&(dataset_id.to_owned(), generation));
        match std::fs::remove_dir_all(self.path(dataset_id, generation)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => {
                self.states.emptied(dataset_id, State::Keyword);
                Ok(())
            }
        }
    }

    /// Rewrites segments with deleted chunks, in every open index.
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
        crate::disk::private_directory(path)?;
        let opened = catch_unwind(AssertUnwindSafe(|| Self::with_schema(path, language)));
        match opened {
            Ok(opened) => opened.map_err(failed),
            // Lengths in a truncated file are arbitrary.
            Err(_) => Err(Error::damaged("the keyword index could not be opened")),
        }
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
            language: schema.add_text_field("language", STRING),
            body: schema.add_text_field(
                "body",
                TextOptions::default().set_indexing_options(indexing.clone()),
            ),
            stops: schema.add_text_field(
                "stops",
                TextOptions::default().set_indexing_options(indexing.set_fieldnorms(false)),
            ),
        };
        let directory = MmapDirectory::open(path)?;
        let index = Index::open_or_create(directory, schema.build())?;
        // Bodies are analysed beforehand; the field only needs the name.
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
            writer: Mutex::default(),
            addresses: Mutex::default(),
        })
    }

    /// Returns the last log position in the index; 0 for an empty index or one of another analysis.
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

    /// Applies changes in order and commits them together with the position. Searches see them when this returns.
    ///
    /// # Errors
    /// When the index cannot be written; nothing was applied then.
    pub fn apply(&self, changes: Vec<Change>, seq: i64, clear: bool) -> Result<()> {
        let mut slot = lock(&self.writer);
        let writer = self.writing(&mut slot)?;
        let outcome = self.write(writer, changes, seq, clear);
        if outcome.is_err() {
            // A failed writer stays failed; the next attempt opens a new one.
            *slot = None;
        }
        outcome?;
        self.reader.reload().map_err(failed)
    }

    /// Returns the writer, opened on demand.
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
                Change::Put { id, text } => {
                    writer.delete_term(Term::from_field_text(fields.id, &id.simple().to_string()));
                    let (high, low) = id.as_u64_pair();
                    let mut row = TantivyDocument::default();
                    row.add_text(fields.id, id.simple().to_string());
                    row.add_u64(fields.id_high, high);
                    row.add_u64(fields.id_low, low);
                    let language = analysis::language_of(&self.language, &text);
                    row.add_text(fields.language, language);
                    let (tokens, mut stops) = analysis::indexed_apart(language, &text);
                    for token in &mut stops {
                        token.text = analysis::shown(&token.text).to_owned();
                    }
                    let stops = PreTokenizedString {
                        text: String::new(),
                        tokens: stops,
                    };
                    row.add_pre_tokenized_text(fields.stops, stops);
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

    /// Returns a term of a query as stored in the index: stop words are in a separate field.
    fn term(&self, text: &str) -> Term {
        match analysis::as_stop_word(text) {
            Some(word) => Term::from_field_text(self.fields.stops, word),
            None => Term::from_field_text(self.fields.body, text),
        }
    }

    /// Rewrites the segments with deleted chunks, which until then count in document frequencies, and returns their number.
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
        let mut slot = lock(&self.writer);
        let writer = self.writing(&mut slot)?;
        for segment in &stale {
            writer.merge(&[*segment]).wait().map_err(failed)?;
        }
        self.reader.reload().map_err(failed)?;
        Ok(stale.len())
    }

    /// Closes the writer and its threads; the next change opens it again.
    pub fn rest(&self) {
        *lock(&self.writer) = None;
    }

    /// Returns whether the bytes of all files are those that were written.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn is_sound(&self) -> Result<bool> {
        Ok(self.index.validate_checksum().map_err(failed)?.is_empty())
    }

    /// Returns the ids of all chunks in the index.
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

/// Runs a closure on an index off the async threads. A panic there means damaged content.
///
/// # Errors
/// Those of the closure; [`Error::damaged`] when it panics.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| {
        Err(Error::damaged("the keyword index could not be read").with_source(e))
    })
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

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]
fn failed(error: TantivyError) -> Error {
    let io = match &error {
        TantivyError::IoError(io) => Some(io.kind()),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => {
            Some(io_error.kind())
        }
        _ => None,
    };
    let is_damage = match io {
        Some(io::ErrorKind::StorageFull) => {
            return io::Error::from(io::ErrorKind::StorageFull).into();
        }
        Some(kind) => matches!(
            kind,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        // A different schema was written by another version.
        None => matches!(
            error,
            TantivyError::DataCorruption(_)
                | TantivyError::SchemaError(_)
                | TantivyError::IncompatibleIndex(_)
                | TantivyError::DeserializeError(_)
                | TantivyError::OpenReadError(
                    OpenReadError::FileDoesNotExist(_) | OpenReadError::IncompatibleIndex(_)
                )
        ),
    };
    let told = "the keyword index failed";
    if is_damage {
        Error::damaged(told).with_source(error)
    } else {
        Error::internal(told).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use fixedbitset::FixedBitSet;

    use super::*;
    use crate::search::live::{LiveSet, Passing};
    use crate::search::syntax::Parsed;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn put(n: u128, text: &str) -> Change {
        Change::Put {
            id: id(n),
            text: text.to_owned(),
        }
    }

    /// A stop word of one language is an ordinary word in chunks of another.
    #[test]
    fn a_phrase_of_stop_words_is_found_among_chunks_of_several_languages() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = KeywordStore::new(directory.path().to_owned(), Arc::default());
        let index = store.index("d", 1, "auto").expect("opens");
        let english = "To be or not to be, that is the question of the prince.";
        let german = "Die beiden Orte heißen To und Be, sagt die Frau des Fischers an dem Hafen.";
        index
            .apply(vec![put(1, english), put(2, german)], 2, false)
            .expect("applies");
        let parsed = crate::search::syntax::parse("\"to be\"", &|_| false);
        let query = index.analyse(&parsed).expect("analyses");
        let live = LiveSet::of_chunks([(id(1), "a"), (id(2), "b")]);
        let found = index.satisfying(&query, &live, None).expect("searches");
        assert_eq!(found.chunks.count_ones(..), 1);
    }

    #[test]
    fn scores_are_bm25_and_stay_below_the_bound() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = KeywordStore::new(directory.path().to_owned(), Arc::default());
        let index = store.index("d", 1, "en").expect("opens");
        index
            .apply(
                vec![
                    put(1, "red fox"),
                    put(2, "red red dog"),
                    put(3, "blue whale"),
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
        let chunks = [(id(1), "a"), (id(2), "b"), (id(3), "c")];
        let live = LiveSet::of_chunks(chunks);
        let hits = index.search(&query, &live, None, 10).expect("searches");
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
        // Looking up single chunks returns the same numbers.
        let single = index
            .scores(&query, &live, &[id(2), id(3), id(9)])
            .expect("scores");
        assert_eq!(single.get(&id(3)), Some(&hits[0].1));
        assert_eq!(
            single.get(&id(9)),
            Some(&0.0),
            "unknown chunks have no term"
        );
        let mut second = FixedBitSet::with_capacity(3);
        second.insert(1);
        let second = Passing::new(second);
        let hits = index.search(&query, &live, Some(&second), 10);
        let ids: Vec<Uuid> = hits.expect("searches").iter().map(|h| h.0).collect();
        assert_eq!(ids, [id(2)]);
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
                        put(1, "one"),
                        put(1, "one"),
                        put(2, "two"),
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
