//! Follows the index log: applies every change to the keyword and the vector index, in order and idempotently, and marks documents as indexed once both
//! have them. One follower per process that searches. An index whose position the log no longer contains is rebuilt from SQL.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::keyword::{Change, blocking};
use super::states::Index;
use super::vector::cluster::COLLECTION_MISSING;
use super::vector::{Changes, Point, Scope, VectorIndex};
use super::{drift, preload};
use crate::app::App;
use crate::db::args;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kb::embeddings;
use crate::kb::index_log::{self, Entry, Head, chunk_id};
use crate::kb::{Chunk, chunks, documents};

/// Log entries applied with one commit.
const BATCH: i64 = 4000;
/// Chunks read at a time when an index is rebuilt.
const REBUILD: i64 = 2000;
/// Interval of flushes of the vector index while it changes.
const FLUSH: Duration = Duration::from_secs(3);
/// Time without commits after which none is expected; longer than the time between two batches of a running ingestion.
const QUIET: Duration = Duration::from_millis(400);
/// Time without changes after which both indexes are improved.
const IDLE: Duration = Duration::from_secs(20);

/// Follows the log until `stop` fires, then flushes.
pub async fn run(app: &Arc<App>, stop: CancellationToken) {
    let mut improving: Option<JoinHandle<()>> = None;
    // Consecutive rounds that had something to apply.
    let mut busy = 0_u32;
    let mut commits_seen = app.commits.subscribe();
    let (mut flushed, mut changed, mut failures) = (Instant::now(), Instant::now(), 0_u32);
    let mut preloaded = false;
    // Time of the change after which the indexes were last improved; a start counts as one.
    let mut improved = changed
        .checked_sub(Duration::from_secs(1))
        .unwrap_or(changed);
    while !stop.is_cancelled() {
        let began = Instant::now();
        let outcome = match app.engine().await {
            Ok(engine) => catch_up(app, engine).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(applied) => {
                failures = 0;
                busy = if applied { busy + 1 } else { 0 };
                if !preloaded {
                    preloaded = true;
                    preload_tables(app).await;
                }
                if applied {
                    changed = Instant::now();
                }
            }
            Err(error) => {
                failures += 1;
                metrics::counter!("cairn_index_errors_total").increment(1);
                tracing::error!(error = %error, "the indexes could not be updated; trying again");
            }
        }
        if flushed.elapsed() > FLUSH {
            flushed = Instant::now();
            flush(app).await;
            // Improving takes long, so it runs beside following.
            let resting = changed.elapsed() > IDLE && changed != improved;
            if resting && improving.as_ref().is_none_or(JoinHandle::is_finished) {
                improved = changed;
                improving = Some(tokio::spawn(improve(Arc::clone(app))));
            }
        }
        // Commits have a fixed cost. A few changes are applied at once; while they keep coming, as in a large ingestion, the model needs the processor
        // more, and following takes at most a tenth of the time.
        let factor = if busy > 4 { 10 } else { 2 };
        let pause = (began.elapsed() * factor)
            .clamp(Duration::from_millis(15), Duration::from_secs(2))
            * 2_u32.saturating_pow(failures.min(5));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // No more changes are coming, so the last one need not wait.
            () = quiet(commits_seen.clone()), if failures == 0 => {}
            () = stop.cancelled() => break,
        }
        tokio::select! {
            _ = commits_seen.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => break,
        }
    }
    flush(app).await;
}

/// Returns after [`QUIET`] without a commit signal. Uses its own receiver: a notification consumed here must still wake the follower.
async fn quiet(mut commits_seen: tokio::sync::watch::Receiver<u64>) {
    while let Ok(Ok(())) = tokio::time::timeout(QUIET, commits_seen.changed()).await {}
}

/// Reads what the first searches would have to wait for.
async fn preload_tables(app: &App) {
    let outcome = async { preload::tables(app, &index_log::heads(&app.db).await?).await };
    if let Err(error) = outcome.await {
        tracing::warn!(error = %error, "the tables of the sets could not be read in advance; the first search of each reads its own");
    }
}

async fn flush(app: &App) {
    let outcome = async { app.engine().await?.flush().await };
    if let Err(error) = outcome.await {
        tracing::error!(error = %error, "the vector index could not be flushed; a restart now would repeat some work");
    }
}

async fn improve(app: Arc<App>) {
    let outcome = async {
        let engine = app.engine().await?;
        engine.improve().await?;
        drift::export(&app, engine).await
    };
    if let Err(error) = outcome.await {
        tracing::error!(error = %error, "the indexes could not be optimised; searches continue with the current ones");
    }
}

/// Applies everything in the log; `true` when there was something. An index that fails is recorded in the states and does not delay others.
///
/// # Errors
/// When the heads of the log cannot be read from the database.
pub async fn catch_up(app: &App, engine: &Engine) -> Result<bool> {
    let heads = index_log::heads(&app.db).await?;
    let ids: Vec<&str> = heads.iter().map(|h| h.id.as_str()).collect();
    app.indexes.keep_only(&ids);
    app.live.keep_only(&ids);
    if let Err(error) = engine.keyword.keep_only(&ids) {
        tracing::error!(error = %error, "keyword indexes of deleted datasets could not be removed");
    }
    let vectors = vector_positions(app, engine, &heads).await;
    let mut any = false;
    for head in &heads {
        for index in Index::BOTH {
            if !app.indexes.is_due(&head.id, index) {
                continue;
            }
            let outcome = match index {
                Index::Keyword => keyword(app, engine, head).await,
                Index::Vector => match vectors.get(&head.id) {
                    Some(position) => vector(app, head, *position).await,
                    // Its store cannot be read, which was recorded.
                    None => continue,
                },
            };
            match outcome {
                Ok(position) => {
                    any |= app.indexes.reached(&head.id, index, position, head.log_seq);
                }
                Err(error) => fails(app, &head.id, index, &error),
            }
        }
        let (keyword, vector) = app.indexes.positions(&head.id);
        if head.live {
            documents::mark_indexed(app, &head.dataset_id, keyword.min(vector)).await?;
        }
    }
    if let Err(error) = preload::matrices(app, &heads).await {
        tracing::warn!(error = %error, "quantised vectors could not be loaded; the engine applies filters in the meantime");
    }
    let lag: i64 = heads
        .iter()
        .map(|h| {
            let (keyword, vector) = app.indexes.positions(&h.id);
            h.log_seq - keyword.min(vector)
        })
        .sum();
    let summary = app.indexes.summary(ids.into_iter());
    metrics::gauge!("cairn_index_lag_entries").set(lag as f64);
    metrics::gauge!("cairn_indexes_failing").set(summary.failing as f64);
    metrics::gauge!("cairn_indexes_building").set(summary.building as f64);
    Ok(any)
}

fn fails(app: &App, set: &str, index: Index, error: &Error) {
    metrics::counter!("cairn_index_errors_total", "index" => index.name()).increment(1);
    tracing::error!(set, %index, error = %error, "an index could not be updated; trying again");
    if error.is_damage() || error.code() == COLLECTION_MISSING {
        app.indexes.damaged(set, index);
    } else {
        app.indexes.failed(set, index, error);
    }
}

/// Returns the positions of the vector indexes, by set; those whose store cannot be read are recorded as failing and left out.
async fn vector_positions(app: &App, engine: &Engine, heads: &[Head]) -> HashMap<String, i64> {
    let mut positions: HashMap<String, i64> = HashMap::new();
    let models: BTreeMap<&str, i64> = heads
        .iter()
        .map(|h| (h.embedding_model.as_str(), h.vector_size))
        .collect();
    for (model, size) in models {
        let own = || heads.iter().filter(|h| h.embedding_model == model);
        let outcome = async {
            let store = app.vectors_of(model, size).await?;
            store
                .keep_only(&app.db, own().map(|h| h.id.clone()).collect())
                .await?;
            store.applied(&app.db).await
        };
        match outcome.await {
            Ok(applied) => {
                positions.extend(own().map(|h| {
                    let position = applied.get(&h.id).copied().unwrap_or(0);
                    (h.id.clone(), position)
                }));
            }
            Err(error) => {
                for head in own().filter(|h| app.indexes.is_due(&h.id, Index::Vector)) {
                    fails(app, &head.id, Index::Vector, &error);
                }
            }
        }
    }
    // Stores of models that no dataset uses any more.
    for (model, store) in engine.open_vectors().await {
        if heads.iter().all(|h| h.embedding_model != model)
            && let Err(error) = store.keep_only(&app.db, Vec::new()).await
        {
            tracing::error!(model, error = %error, "vectors of deleted datasets could not be removed");
        }
    }
    positions
}

/// Returns whether the log continues from a position. It does not when entries were pruned, or when the position is from another history.
fn reaches(head: &Head, position: i64) -> bool {
    position <= head.log_seq
        && (position == head.log_seq || (head.first_seq > 0 && position >= head.first_seq - 1))
}

async fn keyword(app: &App, engine: &Engine, head: &Head) -> Result<i64> {
    if app.indexes.is_damaged(&head.id, Index::Keyword) {
        let (store, head) = (engine.keyword.clone(), head.clone());
        tokio::task::spawn_blocking(move || store.discard(&head.id, head.generation)).await??;
    }
    let (known, _) = app.indexes.positions(&head.id);
    if known == head.log_seq && known > 0 {
        return Ok(known);
    }
    let index = {
        let (store, head) = (engine.keyword.clone(), head.clone());
        blocking(move || store.index(&head.id, head.generation, &head.language)).await?
    };
    let mut position = index.applied()?;
    if !reaches(head, position) {
        return rebuild_keyword(app, engine, head).await;
    }
    while let Some(batch) = next_batch(app, head, position, "text").await? {
        let mut rows: HashMap<String, Chunk> = chunks::by_ids(app, &head.tenant_id, &batch.written)
            .await?
            .into_iter()
            .map(|c| (c.id.clone(), c))
            .collect();
        let changes = batch.touched.iter().map(|id| change(id, rows.remove(id)));
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let index = Arc::clone(&index);
        blocking(move || index.apply(changes, batch.last, false)).await?;
        position = batch.last;
    }
    Ok(position)
}

async fn vector(app: &App, head: &Head, mut position: i64) -> Result<i64> {
    if app.indexes.is_damaged(&head.id, Index::Vector) || !reaches(head, position) {
        return rebuild_vector(app, head).await;
    }
    let store = app
        .vectors_of(&head.embedding_model, head.vector_size)
        .await?;
    while let Some(batch) = next_batch(app, head, position, "vector").await? {
        let put = points(app, head, &batch.written).await?;
        let present: HashSet<Uuid> = put.iter().map(|p| p.id).collect();
        let touched = batch.touched.iter().map(|id| chunk_id(id));
        let mut delete = touched.collect::<Result<Vec<_>>>()?;
        delete.retain(|id| !present.contains(id));
        let changes = Changes {
            put,
            delete,
            clear: false,
        };
        apply_vectors(app, &store, head, changes, batch.last).await?;
        position = batch.last;
    }
    Ok(position)
}

/// Consecutive changes of the log that concern one index, reduced to the last change of every chunk.
struct Batch {
    /// Chunks whose last change wrote them.
    written: Vec<String>,
    /// These, and the chunks whose last change deleted them.
    touched: Vec<String>,
    /// Position of the last change.
    last: i64,
}

/// Returns the changes after a position that are deletions or of a given kind; `None` at the head of the log.
async fn next_batch(app: &App, head: &Head, position: i64, written: &str) -> Result<Option<Batch>> {
    if position >= head.log_seq {
        return Ok(None);
    }
    let entries = index_log::after(&app.db, &head.id, position, BATCH).await?;
    let Some(last) = entries.last().map(|e| e.seq) else {
        return Ok(None);
    };
    let latest = latest(&entries, &[written, "delete"]);
    let own = latest.iter().filter(|(_, op)| **op == written);
    Ok(Some(Batch {
        written: own.map(|(id, _)| (*id).to_owned()).collect(),
        touched: latest.into_keys().map(str::to_owned).collect(),
        last,
    }))
}

/// Applies changes to a vector index, and to the quantised vectors of the set if they are in memory.
async fn apply_vectors(
    app: &App,
    store: &VectorIndex,
    head: &Head,
    changes: Changes,
    seq: i64,
) -> Result<()> {
    let live = app.live.loaded(&head.id);
    let live = live.filter(|live| live.matrix().is_some());
    let copy = live.map(|live| (live, changes.clone()));
    store.apply(&app.db, &Scope::of(head), changes, seq).await?;
    if let Some((live, changes)) = copy {
        let work = move || {
            let ordinals: Vec<u32> = {
                let mut table = live.table_mut();
                let ids = changes
                    .delete
                    .iter()
                    .chain(changes.put.iter().map(|p| &p.id));
                ids.map(|id| table.intern(*id)).collect()
            };
            let mut matrix = live.matrix_mut();
            let Some(matrix) = matrix.as_mut() else {
                return;
            };
            if changes.clear {
                matrix.clear();
            }
            let (gone, put) = ordinals.split_at(changes.delete.len());
            gone.iter().for_each(|ordinal| matrix.remove(*ordinal));
            for (ordinal, point) in put.iter().zip(&changes.put) {
                matrix.set(*ordinal, &point.vector);
            }
        };
        tokio::task::spawn_blocking(work).await?;
    }
    Ok(())
}

/// Returns the last operation on each chunk, of those that concern an index.
fn latest<'a>(entries: &'a [Entry], ops: &[&str]) -> HashMap<&'a str, &'a str> {
    entries
        .iter()
        .filter(|e| ops.contains(&e.op.as_str()))
        .map(|e| (e.chunk_id.as_str(), e.op.as_str()))
        .collect()
}

fn change(id: &str, row: Option<Chunk>) -> Result<Change> {
    let id = chunk_id(id)?;
    Ok(match row {
        Some(chunk) => Change::Put {
            id,
            text: chunk.indexed_text(),
        },
        // Deleted, or deleted since by a later entry.
        None => Change::Delete { id },
    })
}

#[derive(sqlx::FromRow)]
struct VectorRow {
    id: String,
    document_id: String,
    vector: Vec<u8>,
}

/// Returns the vectors of chunks, without those of documents whose first ingestion is not complete: vector search finds them as a whole, or not yet.
/// Switching such a document off and on logs its chunks all the same.
async fn points(app: &App, head: &Head, ids: &[String]) -> Result<Vec<Point>> {
    let rows: Vec<VectorRow> = app
        .db
        .all_in(
            concat!(
                "SELECT c.id, c.document_id, e.vector FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id JOIN kb_embeddings e
             ON e.tenant_id = c.tenant_id AND e.model = $2 AND e.text_hash = c.text_hash WHERE c.tenant_id = $1 AND ",
                document_is_complete!(),
                " AND c.id IN ($LIST)"
            ),
            args![&head.tenant_id, &head.embedding_model, head.live],
            ids,
        )
        .await?;
    let size = usize::try_from(head.vector_size).unwrap_or(0);
    rows.into_iter()
        .map(|row| {
            let vector = embeddings::vector_of(&row.vector);
            // The store would reject all of them, or never find this one.
            if vector.len() != size || !vector.iter().all(|v| v.is_finite()) {
                return Err(Error::unprocessable(
                    "embedding_damaged",
                    format!(
                        "the embedding of chunk {} has {} dimensions instead of {size}, or a value that is not finite; `cairn doctor --repair` removes it",
                        row.id,
                        vector.len()
                    ),
                ));
            }
            Ok(Point {
                id: chunk_id(&row.id)?,
                document_id: row.document_id,
                vector,
            })
        })
        .collect()
}

/// Returns the ids of the chunks that should be in the indexes, page by page.
async fn visible(app: &App, head: &Head, after: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = app
        .db
        .all(
            "SELECT c.id FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id
             WHERE c.tenant_id = $1 AND c.set_id = $2 AND d.enabled = TRUE AND c.enabled = TRUE AND c.id > $3 ORDER BY c.id LIMIT $4",
            args![&head.tenant_id, &head.id, after, REBUILD],
        )
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Counts the chunks that should be in the indexes.
async fn visible_chunks(app: &App, head: &Head) -> Result<u64> {
    let (count,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id
             WHERE c.tenant_id = $1 AND c.set_id = $2 AND d.enabled = TRUE AND c.enabled = TRUE",
            args![&head.tenant_id, &head.id],
        )
        .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Rebuilds the keyword index of a dataset from SQL. Concurrent changes are in the log after the start position.
///
/// # Errors
/// Those of the index and the database.
pub async fn rebuild_keyword(app: &App, engine: &Engine, head: &Head) -> Result<i64> {
    tracing::info!(dataset.id = %head.id, "rebuilding the keyword index");
    let store = engine.keyword.clone();
    let (id, generation, language) = (head.id.clone(), head.generation, head.language.clone());
    let index = blocking(move || store.index(&id, generation, &language)).await?;
    let mut pages = Pages::of(app, head, Index::Keyword).await?;
    while let Some(page) = pages.next().await? {
        let rows = chunks::by_ids(app, &head.tenant_id, &page.ids).await?;
        let changes = rows.into_iter().map(|c| change(&c.id.clone(), Some(c)));
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let index = Arc::clone(&index);
        blocking(move || index.apply(changes, page.seq, page.clear)).await?;
    }
    Ok(head.log_seq)
}

/// Rebuilds the vectors of a dataset from the embeddings in SQL.
///
/// # Errors
/// Those of the store and the database.
pub async fn rebuild_vector(app: &App, head: &Head) -> Result<i64> {
    let store = app
        .vectors_of(&head.embedding_model, head.vector_size)
        .await?;
    tracing::info!(dataset.id = %head.id, "rebuilding the vector index");
    let mut pages = Pages::of(app, head, Index::Vector).await?;
    while let Some(page) = pages.next().await? {
        let changes = Changes {
            put: points(app, head, &page.ids).await?,
            delete: Vec::new(),
            clear: page.clear,
        };
        apply_vectors(app, &store, head, changes, page.seq).await?;
    }
    Ok(head.log_seq)
}

/// Part of the chunks of a set.
struct Page {
    ids: Vec<String>,
    /// Position that the index has with them.
    seq: i64,
    /// Whether they are the first ones.
    clear: bool,
}

/// All visible chunks of a set, page by page, from which an index is rebuilt. The last page is empty and has the position of the log; before it the position
/// is 0, so a crash starts over.
struct Pages<'a> {
    app: &'a App,
    head: &'a Head,
    index: Index,
    after: Option<String>,
    first: bool,
    /// Chunks returned and in total.
    done: u64,
    total: u64,
}

impl<'a> Pages<'a> {
    async fn of(app: &'a App, head: &'a Head, index: Index) -> Result<Self> {
        Ok(Self {
            app,
            head,
            index,
            after: Some(String::new()),
            first: true,
            done: 0,
            total: visible_chunks(app, head).await?,
        })
    }

    async fn next(&mut self) -> Result<Option<Page>> {
        let Some(after) = &self.after else {
            return Ok(None);
        };
        let (states, set) = (&self.app.indexes, &self.head.id);
        states.building(set, self.index, self.done, self.total);
        let ids = visible(self.app, self.head, after).await?;
        self.done += ids.len() as u64;
        self.after = ids.last().cloned();
        let is_last = self.after.is_none();
        Ok(Some(Page {
            ids,
            seq: if is_last { self.head.log_seq } else { 0 },
            clear: std::mem::take(&mut self.first),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(log_seq: i64, first_seq: i64) -> Head {
        Head {
            id: String::new(),
            dataset_id: String::new(),
            live: true,
            tenant_id: String::new(),
            language: String::new(),
            embedding_model: String::new(),
            vector_size: 2,
            generation: 1,
            log_seq,
            first_seq,
            version: 0,
        }
    }

    #[test]
    fn a_position_is_reached_only_by_an_unbroken_log() {
        assert!(
            reaches(&head(0, 0), 0)
                && reaches(&head(10, 1), 0)
                && reaches(&head(10, 5), 4)
                && reaches(&head(10, 5), 10)
        );
        assert!(!reaches(&head(10, 5), 3), "entries were pruned");
        assert!(
            !reaches(&head(10, 1), 11),
            "the position is from another history"
        );
        assert!(!reaches(&head(10, 0), 0), "the whole log was pruned");
    }

    #[test]
    fn only_the_last_operation_on_a_chunk_counts() {
        let entry = |seq, op: &str, id: &str| Entry {
            seq,
            op: op.to_owned(),
            chunk_id: id.to_owned(),
        };
        let entries = [
            entry(1, "text", "a"),
            entry(2, "vector", "a"),
            entry(3, "delete", "a"),
            entry(4, "text", "b"),
        ];
        assert_eq!(
            latest(&entries, &["text", "delete"]),
            HashMap::from([("a", "delete"), ("b", "text")])
        );
        assert_eq!(
            latest(&entries, &["vector", "delete"]),
            HashMap::from([("a", "delete")])
        );
    }

    #[tokio::test]
    async fn waiting_for_quiet_consumes_no_notification() {
        let commits = crate::events::CommitSignal::default();
        let commits_seen = commits.subscribe();
        commits.notify();
        quiet(commits_seen.clone()).await;
        assert!(commits_seen.has_changed().expect("the sender is there"));
    }
}
