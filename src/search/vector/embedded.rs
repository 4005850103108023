//! Qdrant's engine in this process (`qdrant-edge` 0.7.2).
//!
//! The engine does not replay its own log and flushes only on request, so each dataset's position in Cairn's log is kept in a file written after a
//! flush: a start after a crash continues from there, and repeats at most what was applied since. `flush` (also called when the shard is dropped)
//! panics when another writer holds a lock at that moment, so locks separate flushes from updates and optimisations, flushes run under `catch_unwind`,
//! and a panic is treated as "open again and continue from the last flush".

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use qdrant_edge::external::serde_json::json;
use qdrant_edge::{
    AcornSearchParams, Condition, CountRequest, CreateIndex, Distance, EdgeConfig,
    EdgeOptimizersConfig, EdgeShard, EdgeVectorParams, FieldCondition, FieldIndexOperations,
    Filter, HasIdCondition, HnswIndexConfig, JsonPath, Match, NamedQuery, PayloadFieldSchema,
    PayloadSchemaType, PointId, PointInsertOperations, PointOperations, PointStruct, QueryEnum,
    QueryRequest, Record, ScoringQuery, ScrollRequest, SearchParams, UpdateOperation,
    VectorInternal, WalOptions, WithPayloadInterface, WithVector,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Among, Changes, Effort, Scope};
use crate::disk::Disk;
use crate::error::{Error, Result};

/// Points per update.
const BATCH: usize = 256;
/// Bytes per segment of the write-ahead log.
const WAL: u64 = 8 << 20;
const WATERMARKS: &str = "watermarks.json";

/// The store of one model.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    dimensions: usize,
    index_above_kb: usize,
    disk: Disk,
    /// Empty only while the store is being dropped or reopened.
    shard: RwLock<Option<Arc<EdgeShard>>>,
    /// Held by updates and flushes.
    writes: Mutex<()>,
    /// Held by flushes and optimisations.
    maintenance: Mutex<()>,
    marks: Mutex<Marks>,
}

/// State on disk after a flush.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flushed {
    /// Log position of each dataset.
    positions: BTreeMap<String, i64>,
    /// Number of points in the shard, which must all exist when it is reopened.
    points: usize,
}

#[derive(Debug, Default, Clone)]
struct Marks {
    /// Applied to the shard and visible to searches.
    applied: BTreeMap<String, i64>,
    /// Durable on disk.
    flushed: BTreeMap<String, i64>,
    /// Whether the shard changed since the last optimisation.
    changed: bool,
}

impl Embedded {
    pub(super) fn open(
        path: PathBuf,
        dimensions: usize,
        index_above_kb: usize,
        disk: Disk,
    ) -> Result<Self> {
        disk.ensure_index_space(WAL)?;
        let (shard, flushed) = load(&path, dimensions, index_above_kb)?;
        let marks = Marks {
            applied: flushed.clone(),
            flushed,
            changed: true,
        };
        Ok(Self(Arc::new(Inner {
            path,
            dimensions,
            index_above_kb,
            disk,
            shard: RwLock::new(Some(Arc::new(shard))),
            writes: Mutex::new(()),
            maintenance: Mutex::new(()),
            marks: Mutex::new(marks),
        })))
    }

    pub(super) fn applied(&self) -> HashMap<String, i64> {
        lock(&self.0.marks).applied.clone().into_iter().collect()
    }

    fn shard(&self) -> Result<Arc<EdgeShard>> {
        let slot = self.0.shard.read().unwrap_or_else(PoisonError::into_inner);
        slot.clone().ok_or_else(|| {
            Error::unavailable(
                "vector_store_unavailable",
                "the vector store could not be reopened after a failed flush",
            )
        })
    }

    pub(super) fn apply(&self, scope: &Scope, changes: Changes, seq: i64) -> Result<()> {
        let _writing = lock(&self.0.writes);
        // A vector and its payload are stored several times: in the log, in the segment, in the payload indexes.
        let growth = changes.put.len() * (self.0.dimensions * 4 + 512) * 3;
        self.0.disk.ensure_index_space(WAL + growth as u64)?;
        let shard = self.shard()?;
        if changes.clear {
            shard
                .update(UpdateOperation::PointOperation(
                    PointOperations::DeletePointsByFilter(filter(scope, None)),
                ))
                .map_err(failed)?;
        }
        for ids in changes.delete.chunks(BATCH) {
            let ids = ids.iter().map(|id| PointId::Uuid(*id)).collect();
            shard
                .update(UpdateOperation::PointOperation(
                    PointOperations::DeletePoints { ids },
                ))
                .map_err(failed)?;
        }
        for points in changes.put.chunks(BATCH) {
            let list = points
                .iter()
                .map(|p| {
                    let payload = json!({"tenant": scope.tenant_id, "dataset": scope.dataset_id, "generation": scope.generation.to_string(), "document": p.document_id});
                    PointStruct::new(PointId::Uuid(p.id), p.vector.clone(), payload).into()
                })
                .collect();
            shard
                .update(UpdateOperation::PointOperation(
                    PointOperations::UpsertPoints(PointInsertOperations::PointsList(list)),
                ))
                .map_err(failed)?;
        }
        let mut marks = lock(&self.0.marks);
        marks.applied.insert(scope.dataset_id.clone(), seq);
        marks.changed = true;
        Ok(())
    }

    pub(super) fn search(
        &self,
        scope: &Scope,
        vector: Vec<f32>,
        among: Option<&Among>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        let effort = Effort::of(among, vector.len());
        let documents = among.map(|among| among.documents.clone());
        // A graph without a filter is searched in half the time.
        let filter = if documents.is_none() && self.holds_only(scope) {
            None
        } else {
            Some(filter(scope, documents))
        };
        self.query(vector, filter, limit, effort)
    }

    /// Returns whether the store holds no other set.
    pub(super) fn holds_only(&self, scope: &Scope) -> bool {
        let marks = lock(&self.0.marks);
        marks.applied.len() == 1 && marks.applied.contains_key(&scope.dataset_id)
    }

    /// Returns whether the engine builds a graph for so many vectors.
    pub(super) fn has_graph(&self, vectors: usize) -> bool {
        vectors * self.0.dimensions * size_of::<f32>() > self.0.index_above_kb << 10
    }

    pub(super) fn scores(&self, vector: Vec<f32>, ids: Vec<Uuid>) -> Result<HashMap<Uuid, f32>> {
        let limit = ids.len();
        let only = Filter::new_must(Condition::HasId(HasIdCondition::from(
            ids.into_iter()
                .map(PointId::Uuid)
                .collect::<ahash::AHashSet<_>>(),
        )));
        let scores = self.query(vector, Some(only), limit, Effort::EXACT)?;
        Ok(scores.into_iter().collect())
    }

    fn query(
        &self,
        vector: Vec<f32>,
        filter: Option<Filter>,
        limit: usize,
        effort: Effort,
    ) -> Result<Vec<(Uuid, f32)>> {
        let request = QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery {
                query: VectorInternal::from(vector),
                using: None,
            }))),
            filter,
            score_threshold: None,
            limit,
            offset: 0,
            params: Some(SearchParams {
                hnsw_ef: Some(effort.ef.max(limit)),
                exact: effort.exact,
                acorn: effort.through.then_some(AcornSearchParams {
                    enable: true,
                    max_selectivity: None,
                }),
                ..SearchParams::default()
            }),
            with_vector: WithVector::Bool(false),
            with_payload: WithPayloadInterface::Bool(false),
        };
        let found = self.shard()?.query(request).map_err(failed)?;
        Ok(found
            .into_iter()
            .filter_map(|point| Some((uuid(point.id)?, point.score)))
            .collect())
    }

    pub(super) fn ids(&self, scope: &Scope) -> Result<Vec<Uuid>> {
        let mut all = Vec::new();
        self.scroll(scope, false, |record| all.extend(uuid(record.id)))?;
        Ok(all)
    }

    /// Calls a function with each vector of a scope.
    pub(super) fn each(&self, scope: &Scope, mut each: impl FnMut(Uuid, &[f32])) -> Result<()> {
        self.scroll(scope, true, |record| {
            let vector = record.vector.as_ref().and_then(|vectors| vectors.get(""));
            let vector = vector.and_then(|vector| <&[f32]>::try_from(vector).ok());
            if let (Some(id), Some(vector)) = (uuid(record.id), vector) {
                each(id, vector);
            }
        })
    }

    /// Calls a function with each point of a scope, with or without its vector.
    fn scroll(&self, scope: &Scope, vectors: bool, mut each: impl FnMut(Record)) -> Result<()> {
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(10_000),
                filter: Some(filter(scope, None)),
                with_payload: Some(WithPayloadInterface::Bool(false)),
                with_vector: WithVector::Bool(vectors),
                order_by: None,
            };
            let (records, next) = self.shard()?.scroll(request).map_err(failed)?;
            records.into_iter().for_each(&mut each);
            match next {
                Some(next) => offset = Some(next),
                None => return Ok(()),
            }
        }
    }

    pub(super) fn keep_only(&self, dataset_ids: &[String]) -> Result<()> {
        let gone: Vec<String> = lock(&self.0.marks)
            .applied
            .keys()
            .filter(|id| !dataset_ids.contains(id))
            .cloned()
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        {
            let _writing = lock(&self.0.writes);
            for id in &gone {
                let only = Filter::new_must(matches("dataset", id));
                self.shard()?
                    .update(UpdateOperation::PointOperation(
                        PointOperations::DeletePointsByFilter(only),
                    ))
                    .map_err(failed)?;
            }
            let mut marks = lock(&self.0.marks);
            gone.iter().for_each(|id| {
                marks.applied.remove(id);
            });
            marks.changed = true;
        }
        self.flush()
    }

    pub(super) fn flush_pending(&self) -> Result<()> {
        let pending = {
            let marks = lock(&self.0.marks);
            marks.applied != marks.flushed
        };
        if pending { self.flush() } else { Ok(()) }
    }

    pub(super) fn improve(&self) -> Result<()> {
        if std::mem::take(&mut lock(&self.0.marks).changed) {
            // New segments are written before the old ones are removed.
            if let Err(error) = self.0.disk.ensure_index_space(size(&self.0.path)?) {
                lock(&self.0.marks).changed = true;
                return Err(error);
            }
            let _maintaining = lock(&self.0.maintenance);
            self.shard()?.optimize().map_err(failed)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        // An optimisation may take minutes; the flush then waits for the next round, and replay covers the time.
        let Ok(_maintaining) = self.0.maintenance.try_lock() else {
            return Ok(());
        };
        let _writing = lock(&self.0.writes);
        let applied = lock(&self.0.marks).applied.clone();
        let shard = self.shard()?;
        if catch_unwind(AssertUnwindSafe(|| shard.flush())).is_err() {
            drop(shard);
            return self.reopen();
        }
        let points = points(&shard)?;
        save_marks(&self.0.path, &applied, points)?;
        lock(&self.0.marks).flushed = applied;
        Ok(())
    }

    /// Reopens the shard as last flushed, after a failed flush, and follows the log from there.
    fn reopen(&self) -> Result<()> {
        tracing::error!("the vector store could not be flushed; reopening its last state");
        let mut slot = self.0.shard.write().unwrap_or_else(PoisonError::into_inner);
        // Dropping flushes once more and may panic again.
        let old = slot.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        self.0.disk.ensure_index_space(WAL)?;
        let (fresh, flushed) = load(&self.0.path, self.0.dimensions, self.0.index_above_kb)?;
        *slot = Some(Arc::new(fresh));
        *lock(&self.0.marks) = Marks {
            applied: flushed.clone(),
            flushed,
            changed: true,
        };
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let applied = lock(&self.marks).applied.clone();
        let shard = self
            .shard
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let points = shard.as_ref().map_or(Ok(0), |shard| points(shard));
        // Dropping the shard flushes it.
        if catch_unwind(AssertUnwindSafe(|| drop(shard))).is_ok()
            && let Err(error) = points.and_then(|points| save_marks(&self.path, &applied, points))
        {
            tracing::warn!(error = %error, "the position of the vector store could not be saved; the next start will repeat some work");
        }
    }
}

/// Returns the parameters of the graph. With the engine's own (m = 16, ef = 100) the graph of 100,000 vectors loses right hits that no effort at search finds.
fn graph() -> HnswIndexConfig {
    HnswIndexConfig {
        m: 32,
        ef_construct: 200,
        ..HnswIndexConfig::default()
    }
}

fn load(
    path: &Path,
    dimensions: usize,
    index_above_kb: usize,
) -> Result<(EdgeShard, BTreeMap<String, i64>)> {
    crate::disk::private_directory(path)?;
    let optimizers = EdgeOptimizersConfig {
        indexing_threshold: Some(index_above_kb),
        ..EdgeOptimizersConfig::default()
    };
    let wal = WalOptions {
        segment_capacity: WAL as usize,
        ..WalOptions::default()
    };
    let config = EdgeConfig::builder()
        .vector(
            "",
            EdgeVectorParams::builder(dimensions, Distance::Cosine)
                .hnsw_config(graph())
                .build(),
        )
        .optimizers(optimizers)
        .wal_options(wal)
        .build();
    match existing(path, &config) {
        Ok(Some(found)) => return Ok(found),
        // No flush was ever completed: everything in the directory is also in the log.
        Ok(None) => std::fs::remove_dir_all(path)?,
        Err(error) if error.is_damage() => {
            // The rows contain all of its data: the shard is rebuilt from them, and the remains are kept for diagnosis.
            let aside = path.with_extension("damaged");
            tracing::error!(error = %error, kept = %aside.display(), "the vector store is damaged and is being rebuilt");
            if aside.exists() {
                std::fs::remove_dir_all(&aside)?;
            }
            std::fs::rename(path, &aside)?;
        }
        Err(error) => return Err(error),
    }
    crate::disk::private_directory(path)?;
    let shard = EdgeShard::new(path, config).map_err(failed)?;
    for field in ["tenant", "dataset", "generation", "document"] {
        let index = CreateIndex {
            field_name: path_of(field),
            field_schema: Some(PayloadFieldSchema::FieldType(PayloadSchemaType::Keyword)),
        };
        shard
            .update(UpdateOperation::FieldIndexOperation(
                FieldIndexOperations::CreateIndex(index),
            ))
            .map_err(failed)?;
    }
    shard.flush();
    save_marks(path, &BTreeMap::new(), 0)?;
    Ok((shard, BTreeMap::new()))
}

/// Opens the store in a directory with the positions that were flushed; `None` when no flush was completed.
fn existing(
    path: &Path,
    config: &EdgeConfig,
) -> Result<Option<(EdgeShard, BTreeMap<String, i64>)>> {
    let marks = path.join(WATERMARKS);
    if !marks.is_file() {
        return Ok(None);
    }
    let damaged =
        |cause: String| Error::damaged("the vector store cannot be opened").with_source(cause);
    let bytes = std::fs::read(&marks)?;
    let flushed: Flushed = match serde_json::from_slice(&bytes) {
        Ok(flushed) => flushed,
        // Earlier versions did not count points.
        Err(_) => Flushed {
            positions: serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?,
            points: 0,
        },
    };
    // The engine panics on some unexpected input.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        EdgeShard::load(path, Some(config.clone()))
    }));
    match loaded {
        Ok(Ok(shard)) => {
            let there = points(&shard)?;
            if there < flushed.points {
                return Err(damaged(format!(
                    "only {there} of {} points are stored",
                    flushed.points
                )));
            }
            Ok(Some((shard, flushed.positions)))
        }
        Ok(Err(error)) => {
            let cause = first_line(&error);
            let elsewhere = ["No space left", "Permission denied", "Too many open files"];
            if elsewhere.iter().any(|what| cause.contains(what)) {
                Err(Error::unavailable(
                    "vector_store_unavailable",
                    "the vector store cannot be opened",
                )
                .with_source(cause))
            } else {
                Err(damaged(cause))
            }
        }
        Err(_) => Err(damaged("the engine panicked".to_owned())),
    }
}

/// Returns the size of the files below a directory, in bytes.
fn size(path: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in ignore::WalkBuilder::new(path)
        .standard_filters(false)
        .build()
    {
        // Files may appear and disappear meanwhile.
        if let Ok(metadata) = entry.and_then(|e| e.metadata()) {
            sum += metadata.len();
        }
    }
    Ok(sum)
}

fn points(shard: &EdgeShard) -> Result<usize> {
    let all = CountRequest {
        filter: None,
        exact: true,
    };
    shard.count(all).map_err(failed)
}

fn save_marks(path: &Path, positions: &BTreeMap<String, i64>, points: usize) -> Result<()> {
    let (target, scratch) = (path.join(WATERMARKS), path.join("watermarks.new"));
    let file = std::fs::File::create(&scratch)?;
    let flushed = Flushed {
        positions: positions.clone(),
        points,
    };
    serde_json::to_writer(&file, &flushed)?;
    file.sync_all()?;
    std::fs::rename(&scratch, &target)?;
    Ok(())
}

fn filter(scope: &Scope, documents: Option<Vec<String>>) -> Filter {
    let mut must = vec![
        matches("dataset", &scope.dataset_id),
        matches("generation", &scope.generation.to_string()),
    ];
    if let Some(documents) = documents {
        must.push(Condition::Field(FieldCondition::new_match(
            path_of("document"),
            Match::from(documents),
        )));
    }
    Filter {
        should: None,
        min_should: None,
        must: Some(must),
        must_not: None,
    }
}

fn matches(field: &str, value: &str) -> Condition {
    Condition::Field(FieldCondition::new_match(
        path_of(field),
        Match::from(value.to_owned()),
    ))
}

/// Field names here are plain identifiers, which every path parser accepts.
fn path_of(field: &str) -> JsonPath {
    JsonPath::try_from(field).expect("a plain word is a path")
}

fn uuid(id: PointId) -> Option<Uuid> {
    match id {
        PointId::Uuid(id) => Some(id),
        PointId::NumId(_) => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the first line of an error: the engine puts a backtrace behind it.
fn first_line(error: &dyn std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn failed(error: qdrant_edge::OperationError) -> Error {
    let text = first_line(&error);
    if text.contains("No space left") {
        return std::io::Error::from(std::io::ErrorKind::StorageFull).into();
    }
    Error::internal("the vector store failed").with_source(text)
}

#[cfg(test)]
mod tests {
    use super::super::{EXACT_NUMBERS, Point};
    use super::*;
    use crate::search::live::{LiveSet, Matrix, Passing};

    fn disk() -> Disk {
        Disk::new(std::env::temp_dir(), 0)
    }

    fn scope(dataset: &str) -> Scope {
        Scope {
            tenant_id: "t".to_owned(),
            dataset_id: dataset.to_owned(),
            generation: 1,
        }
    }

    fn point(n: u128, document: &str, vector: [f32; 2]) -> Point {
        Point {
            id: Uuid::from_u128(n),
            document_id: document.to_owned(),
            vector: vector.to_vec(),
        }
    }

    fn put(points: Vec<Point>) -> Changes {
        Changes {
            put: points,
            ..Changes::default()
        }
    }

    #[test]
    fn searches_stay_in_their_dataset_and_scores_are_cosines() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = Embedded::open(directory.path().join("v"), 2, 100_000, disk()).expect("opens");
        store
            .apply(
                &scope("a"),
                put(vec![point(1, "x", [1.0, 0.0]), point(2, "y", [0.6, 0.8])]),
                2,
            )
            .expect("applies");
        store
            .apply(&scope("b"), put(vec![point(3, "z", [1.0, 0.0])]), 1)
            .expect("applies");
        let hits = store
            .search(&scope("a"), vec![1.0, 0.0], None, 10)
            .expect("searches");
        assert_eq!(
            hits.iter().map(|h| h.0.as_u128()).collect::<Vec<_>>(),
            [1, 2]
        );
        assert!((hits[1].1 - 0.6).abs() < 1e-6);
        let only = store
            .search(
                &scope("a"),
                vec![1.0, 0.0],
                Some(&Among {
                    documents: vec!["y".to_owned()],
                    chunks: 1,
                }),
                10,
            )
            .expect("searches");
        assert_eq!(only.len(), 1);
        let single = store
            .scores(vec![0.0, 1.0], vec![Uuid::from_u128(2), Uuid::from_u128(9)])
            .expect("scores");
        assert!(single.len() == 1 && (single[&Uuid::from_u128(2)] - 0.8).abs() < 1e-6);
    }

    /// Generates vectors around a few hundred centres, like embeddings of texts about a few hundred subjects (`SplitMix64`).
    fn clustered(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
        let mut state = 7_u64;
        let mut number = move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let centres: Vec<Vec<f32>> = (0..300)
            .map(|_| (0..dimensions).map(|_| number()).collect())
            .collect();
        (0..count)
            .map(|n| {
                let centre = &centres[(n * 7919) % centres.len()];
                let vector: Vec<f32> = centre.iter().map(|x| x + 0.8 * number()).collect();
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                vector.into_iter().map(|x| x / length).collect()
            })
            .collect()
    }

    #[test]
    fn a_filter_loses_no_right_hit_whatever_passes_it() {
        const COUNT: usize = 10_000;
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = Embedded::open(directory.path().join("v"), 32, 100, disk()).expect("opens");
        let vectors = clustered(COUNT + 20, 32);
        for (part, chunk) in vectors[..COUNT].chunks(5000).enumerate() {
            let points = chunk.iter().enumerate().map(|(n, vector)| {
                let id = part * 5000 + n;
                Point {
                    id: Uuid::from_u128(id as u128),
                    document_id: format!("d{}", id / 10),
                    vector: vector.clone(),
                }
            });
            store
                .apply(&scope("a"), put(points.collect()), part as i64 + 1)
                .expect("applies");
        }
        store.flush_pending().expect("flushes");
        store.improve().expect("builds the graph");
        let order: Vec<Vec<usize>> = vectors[COUNT..]
            .iter()
            .map(|query| {
                let score = |v: &Vec<f32>| cairn_models::cosine(v, query);
                let scores: Vec<f32> = vectors[..COUNT].iter().map(score).collect();
                let mut order: Vec<usize> = (0..COUNT).collect();
                order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
                order
            })
            .collect();
        let live = live(&store, COUNT);
        // Of 100 documents.
        for share in [2, 13, 50, 90, 100] {
            let passes = |document: usize| document * 37 % 100 < share;
            let documents: Vec<String> = (0..COUNT / 10)
                .filter(|d| passes(*d))
                .map(|d| format!("d{d}"))
                .collect();
            // Once by exact comparison, and once through the graph.
            for chunks in [documents.len() * 10, EXACT_NUMBERS] {
                let among = Among {
                    documents: documents.clone(),
                    chunks,
                };
                let mut right = 0;
                for (query, order) in vectors[COUNT..].iter().zip(&order) {
                    let passing = order.iter().filter(|id| passes(**id / 10));
                    let best: Vec<u128> = passing.take(10).map(|id| *id as u128).collect();
                    let found = store
                        .search(&scope("a"), query.clone(), Some(&among), 10)
                        .expect("searches");
                    let found = found.iter().filter(|(id, _)| best.contains(&id.as_u128()));
                    right += found.count();
                }
                assert!(right >= 198, "{right} of 200 with {share} % passing");
            }
            // As Cairn searches: by a scan of the quantised vectors, and through the graph without the filter.
            let passing = Passing::new((0..COUNT).filter(|n| passes(n / 10)).collect());
            let mut right = [0; 2];
            for (query, order) in vectors[COUNT..].iter().zip(&order) {
                let best = order.iter().filter(|id| passes(**id / 10)).take(10);
                let best: Vec<u128> = best.map(|id| *id as u128).collect();
                let ways = store.each_way(&scope("a"), query, &live, &passing, 10);
                for (found, right) in ways.iter().zip(&mut right) {
                    let found = found.found.iter().map(|(id, _)| id.as_u128());
                    *right += found.filter(|id| best.contains(id)).count();
                }
            }
            let enough = right.iter().all(|right| *right >= 198);
            assert!(enough, "{right:?} of 200 with {share} % passing");
        }
    }

    /// Returns the chunks of a store, quantised, in the order of their ids.
    fn live(store: &Embedded, count: usize) -> Arc<LiveSet> {
        let documents: Vec<String> = (0..count.div_ceil(10)).map(|d| format!("d{d}")).collect();
        let id = |n: usize| Uuid::from_u128(n as u128);
        let live = LiveSet::of_chunks((0..count).map(|n| (id(n), documents[n / 10].as_str())));
        let mut matrix = Matrix::new(32);
        let fill = |id, vector: &[f32]| {
            let ordinal = live.table().ordinal(&id).expect("known");
            matrix.set(ordinal, vector);
        };
        store.each(&scope("a"), fill).expect("reads");
        *live.matrix_mut() = Some(matrix);
        live
    }

    #[test]
    fn a_damaged_store_is_put_aside_and_begins_empty() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("v");
        let filled = || {
            let store = Embedded::open(path.clone(), 2, 100_000, disk()).expect("opens");
            store
                .apply(&scope("a"), put(vec![point(1, "x", [1.0, 0.0])]), 5)
                .expect("applies");
            store.flush_pending().expect("flushes");
        };
        for damage in [
            &(|p: &Path| std::fs::write(p.join(WATERMARKS), "{\"a\":")) as &dyn Fn(&Path) -> _,
            &(|p: &Path| std::fs::remove_dir_all(p.join("segments"))),
        ] {
            filled();
            damage(&path).expect("damaged");
            let store = Embedded::open(path.clone(), 2, 100_000, disk()).expect("opens again");
            assert_eq!(store.applied().get("a"), None, "to be built anew");
            assert!(store.ids(&scope("a")).expect("reads").is_empty());
            assert!(path.with_extension("damaged").is_dir());
        }
    }

    #[test]
    fn positions_and_points_survive_a_restart_and_dropped_datasets_do_not() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("v");
        {
            let store = Embedded::open(path.clone(), 2, 100_000, disk()).expect("opens");
            store
                .apply(&scope("a"), put(vec![point(1, "x", [1.0, 0.0])]), 5)
                .expect("applies");
            store
                .apply(&scope("b"), put(vec![point(2, "x", [1.0, 0.0])]), 6)
                .expect("applies");
            store.flush_pending().expect("flushes");
            store.improve().expect("optimises");
        }
        let store = Embedded::open(path, 2, 100_000, disk()).expect("opens again");
        assert_eq!(
            store.applied(),
            HashMap::from([("a".to_owned(), 5), ("b".to_owned(), 6)])
        );
        assert_eq!(store.ids(&scope("a")).expect("reads").len(), 1);
        store.keep_only(&["b".to_owned()]).expect("drops");
        assert!(
            store.ids(&scope("a")).expect("reads").is_empty()
                && store.ids(&scope("b")).expect("reads").len() == 1
        );
        store
            .apply(
                &scope("b"),
                Changes {
                    clear: true,
                    ..Changes::default()
                },
                7,
            )
            .expect("clears");
        assert!(store.ids(&scope("b")).expect("reads").is_empty());
    }
}
