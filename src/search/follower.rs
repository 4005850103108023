//! Follows the index log: applies every change to the keyword and the vector index, in order and repeatably, and marks documents as indexed
//! once both have them. One follower per process that searches. An index whose position the log no longer reaches is built anew from SQL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::drift;
use super::keyword::Change;
use super::vector::{Changes, Point, Scope};
use crate::app::{App, Engine};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::index_log::{self, Entry, Head};
use crate::kb::ingestion::stored_vector;
use crate::kb::{Chunk, chunks, documents};

/// Log entries applied with one commit.
const BATCH: i64 = 4000;
/// Chunks read at a time when an index is built anew.
const REBUILD: i64 = 2000;
/// The vector index is flushed this often while it changes.
const FLUSH: Duration = Duration::from_secs(3);
/// Longer than the time between two batches of a running ingestion.
const QUIET: Duration = Duration::from_millis(400);
/// Both are improved after this long without changes.
const IDLE: Duration = Duration::from_secs(20);

/// Positions up to which this process's indexes have each dataset.
#[derive(Debug, Default)]
pub struct Positions(Mutex<HashMap<String, (i64, i64)>>);

impl Positions {
    /// Keyword and vector position of a dataset.
    #[must_use]
    pub fn get(&self, dataset_id: &str) -> (i64, i64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(dataset_id)
            .copied()
            .unwrap_or_default()
    }

    fn set(&self, dataset_id: &str, positions: (i64, i64)) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(dataset_id.to_owned(), positions);
    }
}

/// Follows until `stop` fires, then flushes.
pub async fn run(app: &Arc<App>, stop: CancellationToken) {
    let mut improving: Option<JoinHandle<()>> = None;
    // Rounds in a row that had something to apply.
    let mut busy = 0_u32;
    let mut rings = app.bell.listen();
    let (mut flushed, mut changed, mut failures) = (Instant::now(), Instant::now(), 0_u32);
    // The change after which the indexes were last improved; a start counts as one.
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
                if applied {
                    changed = Instant::now();
                }
            }
            Err(error) => {
                failures += 1;
                metrics::counter!("cairn_index_errors_total").increment(1);
                tracing::error!(error = %error, "the indexes could not follow; trying again");
            }
        }
        if flushed.elapsed() > FLUSH {
            flushed = Instant::now();
            flush(app).await;
            // Improving takes long and goes on beside the following.
            let resting = changed.elapsed() > IDLE && changed != improved;
            if resting && improving.as_ref().is_none_or(JoinHandle::is_finished) {
                improved = changed;
                improving = Some(tokio::spawn(improve(Arc::clone(app))));
            }
        }
        // Commits cost a fixed time. A few changes are followed at once; while they keep coming, as in a large ingestion, the model needs the
        // processor more, and following takes at most a tenth of the time.
        let factor = if busy > 4 { 10 } else { 2 };
        let pause = (began.elapsed() * factor)
            .clamp(Duration::from_millis(15), Duration::from_secs(2))
            * 2_u32.saturating_pow(failures.min(5));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Nothing more is coming: what came last need not wait.
            () = quiet(rings.clone()), if failures == 0 => {}
            () = stop.cancelled() => break,
        }
        tokio::select! {
            _ = rings.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => break,
        }
    }
    flush(app).await;
}

/// Returns after [`QUIET`] without a ring. Listens with ears of its own: a ring that is heard here must still wake the follower.
async fn quiet(mut rings: tokio::sync::watch::Receiver<u64>) {
    while let Ok(Ok(())) = tokio::time::timeout(QUIET, rings.changed()).await {}
}

async fn flush(app: &App) {
    let outcome = async { app.engine().await?.flush().await };
    if let Err(error) = outcome.await {
        tracing::error!(error = %error, "the vector index could not be flushed; a start now would repeat some work");
    }
}

async fn improve(app: Arc<App>) {
    let outcome = async {
        let engine = app.engine().await?;
        engine.improve().await?;
        drift::export(&app, engine).await
    };
    if let Err(error) = outcome.await {
        tracing::error!(error = %error, "the indexes could not be improved; searches go on with them as they are");
    }
}

/// Applies everything the log has; `true` when there was something.
///
/// # Errors
/// As an index or the database says; what was applied stays applied.
pub async fn catch_up(app: &App, engine: &Engine) -> Result<bool> {
    let heads = index_log::heads(&app.db).await?;
    let ids: Vec<&str> = heads.iter().map(|h| h.id.as_str()).collect();
    engine.keyword.keep_only(&ids)?;
    for head in &heads {
        app.vectors_of(&head.embedding_model, head.vector_size)
            .await?;
    }
    let mut vector_positions: HashMap<String, i64> = HashMap::new();
    for (model, store) in engine.open_vectors().await {
        let own = heads.iter().filter(|h| h.embedding_model == model);
        store
            .keep_only(&app.db, own.map(|h| h.id.clone()).collect())
            .await?;
        vector_positions.extend(store.applied(&app.db).await?);
    }
    let mut any = false;
    for head in &heads {
        let keyword = keyword(app, engine, head).await?;
        let vector = vector(
            app,
            head,
            vector_positions.get(&head.id).copied().unwrap_or(0),
        )
        .await?;
        let before = app.positions.get(&head.id);
        if before != (keyword, vector) {
            any = true;
            app.positions.set(&head.id, (keyword, vector));
        }
        if head.live {
            documents::mark_indexed(app, &head.dataset_id, keyword.min(vector)).await?;
        }
    }
    let lag: i64 = heads
        .iter()
        .map(|h| h.log_seq - app.positions.get(&h.id).0.min(app.positions.get(&h.id).1))
        .sum();
    metrics::gauge!("cairn_index_lag_entries").set(lag as f64);
    Ok(any)
}

/// Whether the log leads from a position to its end. It does not when entries were pruned, or when the position is from another history.
fn reaches(head: &Head, position: i64) -> bool {
    position <= head.log_seq
        && (position == head.log_seq || (head.first_seq > 0 && position >= head.first_seq - 1))
}

async fn keyword(app: &App, engine: &Engine, head: &Head) -> Result<i64> {
    let (known, _) = app.positions.get(&head.id);
    if known == head.log_seq && known > 0 {
        return Ok(known);
    }
    let index = {
        let (store, head) = (engine.keyword.clone(), head.clone());
        tokio::task::spawn_blocking(move || store.index(&head.id, head.generation, &head.language))
            .await??
    };
    let mut position = index.applied()?;
    if !reaches(head, position) {
        return rebuild_keyword(app, engine, head).await;
    }
    while position < head.log_seq {
        let entries = index_log::after(&app.db, &head.id, position, BATCH).await?;
        let Some(last) = entries.last().map(|e| e.seq) else {
            break;
        };
        let latest = latest(&entries, &["text", "delete"]);
        let wanted: Vec<String> = latest
            .iter()
            .filter(|(_, op)| **op == "text")
            .map(|(id, _)| (*id).to_owned())
            .collect();
        let mut rows: HashMap<String, Chunk> = chunks::by_ids(app, &head.tenant_id, &wanted)
            .await?
            .into_iter()
            .map(|c| (c.id.clone(), c))
            .collect();
        let changes = latest
            .into_keys()
            .map(|id| change(id, rows.remove(id)))
            .collect::<Result<Vec<_>>>()?;
        let index = Arc::clone(&index);
        tokio::task::spawn_blocking(move || index.apply(changes, last, false)).await??;
        position = last;
    }
    Ok(position)
}

async fn vector(app: &App, head: &Head, mut position: i64) -> Result<i64> {
    if !reaches(head, position) {
        return rebuild_vector(app, head).await;
    }
    let store = app
        .vectors_of(&head.embedding_model, head.vector_size)
        .await?;
    while position < head.log_seq {
        let entries = index_log::after(&app.db, &head.id, position, BATCH).await?;
        let Some(last) = entries.last().map(|e| e.seq) else {
            break;
        };
        let latest = latest(&entries, &["vector", "delete"]);
        let wanted: Vec<String> = latest
            .iter()
            .filter(|(_, op)| **op == "vector")
            .map(|(id, _)| (*id).to_owned())
            .collect();
        let put = points(app, head, &wanted).await?;
        let present: std::collections::HashSet<Uuid> = put.iter().map(|p| p.id).collect();
        let delete = latest
            .into_keys()
            .map(parse)
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .filter(|id| !present.contains(id))
            .collect();
        store
            .apply(
                &app.db,
                &scope(head),
                Changes {
                    put,
                    delete,
                    clear: false,
                },
                last,
            )
            .await?;
        position = last;
    }
    Ok(position)
}

/// The last operation on each chunk, of those that concern an index.
fn latest<'a>(entries: &'a [Entry], ops: &[&str]) -> HashMap<&'a str, &'a str> {
    entries
        .iter()
        .filter(|e| ops.contains(&e.op.as_str()))
        .map(|e| (e.chunk_id.as_str(), e.op.as_str()))
        .collect()
}

fn change(id: &str, row: Option<Chunk>) -> Result<Change> {
    let id = parse(id)?;
    Ok(match row {
        Some(chunk) => Change::Put {
            id,
            text: chunk.indexed_text(),
            document_id: chunk.document_id,
        },
        // Deleted, or deleted since by an entry further on.
        None => Change::Delete { id },
    })
}

fn parse(id: &str) -> Result<Uuid> {
    id.parse()
        .map_err(|e| Error::internal("a chunk id is damaged").with_source(e))
}

fn scope(head: &Head) -> Scope {
    Scope {
        tenant_id: head.tenant_id.clone(),
        dataset_id: head.id.clone(),
        generation: head.generation,
    }
}

#[derive(sqlx::FromRow)]
struct VectorRow {
    id: String,
    document_id: String,
    vector: Vec<u8>,
}

async fn points(app: &App, head: &Head, ids: &[String]) -> Result<Vec<Point>> {
    let rows: Vec<VectorRow> = app
        .db
        .all_in(
            "SELECT c.id, c.document_id, e.vector FROM kb_chunks c JOIN kb_embeddings e
             ON e.tenant_id = c.tenant_id AND e.model = $2 AND e.text_hash = c.text_hash WHERE c.tenant_id = $1 AND c.id IN ($LIST)",
            args![&head.tenant_id, &head.embedding_model],
            ids,
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Point {
                id: parse(&row.id)?,
                document_id: row.document_id,
                vector: stored_vector(&row.vector),
            })
        })
        .collect()
}

/// Ids of the chunks that should be in the indexes, page by page.
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

/// Builds the keyword index of a dataset anew from SQL. Changes made meanwhile are in the log after the position it starts from.
///
/// # Errors
/// As the index or the database says.
pub async fn rebuild_keyword(app: &App, engine: &Engine, head: &Head) -> Result<i64> {
    tracing::info!(dataset.id = %head.id, "building the keyword index anew");
    let store = engine.keyword.clone();
    let (id, generation, language) = (head.id.clone(), head.generation, head.language.clone());
    let index =
        tokio::task::spawn_blocking(move || store.index(&id, generation, &language)).await??;
    let (mut after, mut clear) = (String::new(), true);
    loop {
        let ids = visible(app, head, &after).await?;
        let last = ids.last().cloned();
        let rows = chunks::by_ids(app, &head.tenant_id, &ids).await?;
        let changes = rows
            .into_iter()
            .map(|c| change(&c.id.clone(), Some(c)))
            .collect::<Result<Vec<_>>>()?;
        // Until the last page the position stays 0, so a crash starts over.
        let (index, seq) = (
            Arc::clone(&index),
            if last.is_some() { 0 } else { head.log_seq },
        );
        tokio::task::spawn_blocking(move || index.apply(changes, seq, clear)).await??;
        clear = false;
        match last {
            Some(last) => after = last,
            None => return Ok(head.log_seq),
        }
    }
}

/// Builds the vectors of a dataset anew from the embeddings in SQL.
///
/// # Errors
/// As the store or the database says.
pub async fn rebuild_vector(app: &App, head: &Head) -> Result<i64> {
    let store = app
        .vectors_of(&head.embedding_model, head.vector_size)
        .await?;
    tracing::info!(dataset.id = %head.id, "building the vector index anew");
    let (mut after, mut clear) = (String::new(), true);
    loop {
        let ids = visible(app, head, &after).await?;
        let last = ids.last().cloned();
        let put = points(app, head, &ids).await?;
        let seq = if last.is_some() { 0 } else { head.log_seq };
        store
            .apply(
                &app.db,
                &scope(head),
                Changes {
                    put,
                    delete: Vec::new(),
                    clear,
                },
                seq,
            )
            .await?;
        clear = false;
        match last {
            Some(last) => after = last,
            None => return Ok(head.log_seq),
        }
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
    async fn waiting_for_quiet_loses_no_ring() {
        let bell = crate::events::Bell::default();
        let rings = bell.listen();
        bell.ring();
        quiet(rings.clone()).await;
        assert!(rings.has_changed().expect("the bell is there"));
    }
}
