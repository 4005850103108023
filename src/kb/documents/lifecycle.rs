//! The life of a document from its upload to its removal: queued, ingested, indexed, ingested again, removed.

use futures::future::BoxFuture;
use std::collections::BTreeMap;

use super::document::DocumentStatus;
use super::document::{
    Document, NewDocument, changed_now, columns, descendants, get, load_in, missing,
};
use crate::app::App;
use crate::auth::Caller;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::events::{self, Event};
use crate::jobs::{self, Task};
use crate::kb::datasets::{self};
use crate::kb::index_log::{self, Op};
use crate::kb::row_blocks;

/// Removes a document in the transaction that causes it; does nothing when it is gone already.
///
/// # Errors
/// Those of the database.
pub(crate) async fn remove_in(app: &App, tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    if let Some(document) = load_in(tx, tenant_id, id).await? {
        remove(app, tx, &document).await?;
    }
    Ok(())
}

/// Removes a page of a document from search in the transaction that causes it; the caller then replaces the document. Until then no job of the document
/// stores anything, since its input still contains the page.
///
/// # Errors
/// Those of the database.
pub(crate) async fn remove_page_in(tx: &mut Tx, document: &Document, page: i64) -> Result<()> {
    index_log::lock_dataset(tx, &document.tenant_id, &document.dataset_id).await?;
    let chunks: Vec<(String, String)> = tx
        .all(
            "DELETE FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND page = $3 RETURNING id, set_id",
            args![&document.tenant_id, &document.id, page],
        )
        .await?;
    let ops = chunks
        .into_iter()
        .map(|(id, set_id)| (set_id, Op::Delete, id))
        .collect();
    log(tx, document, ops).await?;
    jobs::request_cancel(tx, &document.tenant_id, &document.job_id).await?;
    tx.execute(
        "UPDATE kb_documents SET job_id = '' WHERE tenant_id = $1 AND id = $2",
        args![&document.tenant_id, &document.id],
    )
    .await?;
    Ok(())
}

/// Returns the group with which a document's job takes turns: its dataset, or for rows their folder, so that a million rows do not delay other records.
pub(super) fn group<'a>(dataset_id: &'a str, new: &'a NewDocument) -> &'a str {
    match &new.external_id {
        Some(id) if new.mime_type == row_blocks::MIME => row_blocks::folder_of(id),
        _ => dataset_id,
    }
}

/// Leaves the embeddings of a document that keyword search already finds to a separate job, in the group of its folder's embeddings.
///
/// # Errors
/// Those of the database.
pub(crate) async fn embed_later(app: &App, document: &Document) -> Result<()> {
    let folder = document
        .external_id
        .as_deref()
        .map_or("", row_blocks::folder_of);
    let task = Task::Ingest {
        document_id: document.id.clone(),
        text_indexed: true,
    };
    let group = format!("{folder}~vectors");
    let queued = jobs::EnqueueOptions {
        group: &group,
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: None,
        small: false,
    };
    let mut tx = app.db.begin().await?;
    let job_id = jobs::enqueue(&mut tx, &app.clock, &document.tenant_id, &task, queued).await?;
    let ours = tx
        .execute(
            "UPDATE kb_documents SET job_id = $1 WHERE tenant_id = $2 AND id = $3 AND job_id = $4",
            args![&job_id, &document.tenant_id, &document.id, &document.job_id],
        )
        .await?;
    // Otherwise a later version already has a job.
    if ours == 1 {
        app.commit(tx).await?;
    }
    Ok(())
}

/// Maximum size of a file in bytes whose ingestion is a small job: a few chunks.
const SMALL: i64 = 8192;

/// Enqueues the ingestion of a document whose file has `size` bytes.
pub(super) async fn enqueue(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    group: &str,
    document_id: &str,
    size: i64,
) -> Result<String> {
    let task = Task::Ingest {
        document_id: document_id.to_owned(),
        text_indexed: false,
    };
    jobs::enqueue(
        tx,
        &app.clock,
        tenant_id,
        &task,
        jobs::EnqueueOptions {
            group,
            dedupe_key: None,
            max_attempts: app.config.job_attempts,
            run_at: None,
            small: size <= SMALL,
        },
    )
    .await
}

/// Enqueues the ingestion of a document again, unless a queued job is about to do it.
pub(crate) async fn queue(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    id: &str,
) -> Result<()> {
    let found: Option<(i64, Option<String>)> = tx
        .optional(
            "SELECT d.size_bytes, j.id FROM kb_documents d LEFT JOIN jobs j ON j.id = d.job_id AND j.status = 'queued' AND d.status = 'pending'
             WHERE d.tenant_id = $1 AND d.id = $2",
            args![tenant_id, id],
        )
        .await?;
    let Some((size, None)) = found else {
        return Ok(());
    };
    let job_id = enqueue(app, tx, tenant_id, dataset_id, id, size).await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET status = 'pending', error_code = NULL, error_message = NULL, job_id = $1, chunks_total = 0, chunks_embedded = 0,
                 updated_on = $2 WHERE tenant_id = $3 AND id = $4 RETURNING ",
                columns!()
            ),
            args![&job_id, app.clock.now(), tenant_id, id],
        )
        .await?;
    if let Some(row) = row {
        events::append(tx, &app.clock, tenant_id, &row.changed()).await?;
    }
    Ok(())
}

/// Removes a document, the documents inside it, and their chunks for good, and returns the number of chunks. Effective at the next query.
///
/// # Errors
/// `document_not_found`.
#[must_use = "futures do nothing unless polled"]
pub fn delete<'a>(
    app: &'a App,
    caller: &'a Caller,
    dataset_id: &'a str,
    id: &'a str,
) -> BoxFuture<'a, Result<i64>> {
    // Boxed once: the compiler would otherwise prove in every caller anew that the future is `Send`.
    Box::pin(delete_one(app, caller, dataset_id, id))
}

async fn delete_one(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<i64> {
    caller.need_write(dataset_id)?;
    let document = get(app, caller, dataset_id, id).await?;
    let mut tx = app.db.begin().await?;
    let removed = remove(app, &mut tx, &document).await?;
    app.commit(tx).await?;
    Ok(removed)
}

pub(super) async fn remove(app: &App, tx: &mut Tx, document: &Document) -> Result<i64> {
    let mut removed = 0;
    index_log::lock_dataset(tx, &document.tenant_id, &document.dataset_id).await?;
    let family = descendants(tx, document).await?;
    // Jobs before documents and the event counter, in the lock order of embedding.
    for member in &family {
        jobs::request_cancel(tx, &member.tenant_id, &member.job_id).await?;
    }
    for member in family {
        let (tenant_id, id) = (member.tenant_id.as_str(), member.id.as_str());
        let chunks: Vec<(String, String)> = tx
            .all(
                "DELETE FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 RETURNING id, set_id",
                args![tenant_id, id],
            )
            .await?;
        let count = member.chunks_count;
        let ops = chunks
            .into_iter()
            .map(|(id, set_id)| (set_id, Op::Delete, id))
            .collect();
        log(tx, &member, ops).await?;
        tx.execute(
            "DELETE FROM kb_generation_documents WHERE tenant_id = $1 AND document_id = $2",
            args![tenant_id, id],
        )
        .await?;
        tx.execute(
            "DELETE FROM kb_chunk_edits WHERE tenant_id = $1 AND document_id = $2",
            args![tenant_id, id],
        )
        .await?;
        let gone = tx
            .execute(
                "DELETE FROM kb_documents WHERE tenant_id = $1 AND id = $2",
                args![tenant_id, id],
            )
            .await?;
        if gone == 0 {
            return Err(missing());
        }
        let event = Event::DocumentDeleted {
            dataset_id: member.dataset_id.clone(),
            document_id: id.to_owned(),
            chunks_removed: count,
        };
        events::append(tx, &app.clock, tenant_id, &event).await?;
        removed += count;
    }
    Ok(removed)
}

/// A change of state during ingestion; absent values stay unchanged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub status: DocumentStatus,
    pub error: Option<(String, String)>,
    pub chunks_total: Option<i64>,
    pub chunks_embedded: Option<i64>,
}

/// Records progress of a document's job and publishes it; `false` when the document is gone, or another job owns it by now.
pub(crate) async fn progress(
    app: &App,
    tx: &mut Tx,
    document: &Document,
    progress: &Progress,
) -> Result<bool> {
    let (code, message) = progress.error.clone().unzip();
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET status = $1, error_code = $2, error_message = $3, chunks_total = COALESCE($4, chunks_total),
                 chunks_embedded = COALESCE($5, chunks_embedded), embedding_since = CASE WHEN $4 IS NULL THEN embedding_since ELSE $6 END,
                 updated_on = $6 WHERE tenant_id = $7 AND id = $8 AND job_id = $9 RETURNING ",
                columns!()
            ),
            args![progress.status, code, message, progress.chunks_total, progress.chunks_embedded, app.clock.now(), &document.tenant_id, &document.id, &document.job_id],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    events::append(tx, &app.clock, &document.tenant_id, &row.changed()).await?;
    Ok(true)
}

/// Marks documents as indexed when both indexes have applied their log entries, publishes it, and returns their number.
pub(crate) async fn mark_indexed(app: &App, dataset_id: &str, applied: i64) -> Result<usize> {
    let (waiting,): (i64,) = app
        .db
        .one("SELECT COUNT(*) FROM kb_documents WHERE dataset_id = $1 AND status = 'stored' AND ready_seq <= $2", args![dataset_id, applied])
        .await?;
    if waiting == 0 {
        return Ok(0);
    }
    let mut tx = app.db.begin_repeatable().await?;
    let rows: Vec<Document> = tx
        .all(
            concat!(
                "UPDATE kb_documents SET status = 'indexed', updated_on = $1, ",
                changed_now!(),
                " WHERE dataset_id = $2 AND status = 'stored' AND ready_seq <= $3 RETURNING ",
                columns!()
            ),
            args![app.clock.now(), dataset_id, applied],
        )
        .await?;
    for row in &rows {
        events::append(&mut tx, &app.clock, &row.tenant_id, &row.changed()).await?;
    }
    app.commit(tx).await?;
    Ok(rows.len())
}

/// Result of a re-index request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reindex {
    /// Number of documents queued.
    pub jobs_queued: i64,
    /// Estimate from the number of chunks and the speed measured in this process, at least 1 when anything was queued.
    pub estimated_minutes: i64,
}

/// Enqueues every document of a dataset for ingestion with the current settings.
///
/// # Errors
/// `dataset_not_found`.
pub async fn reindex(app: &App, caller: &Caller, id: &str) -> Result<Reindex> {
    caller.need_edit(id)?;
    let dataset = datasets::get(app, caller, id).await?;
    let mut tx = app.db.begin().await?;
    let documents: Vec<(String,)> = tx
        .all(
            "SELECT id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 ORDER BY id",
            args![caller.tenant(), id],
        )
        .await?;
    for (document_id,) in &documents {
        queue(app, &mut tx, caller.tenant(), id, document_id).await?;
    }
    app.commit(tx).await?;
    let jobs_queued = i64::try_from(documents.len()).unwrap_or(i64::MAX);
    let seconds = dataset.total_chunks as f64 / app.embedding_rate().max(1.0);
    let estimated_minutes = if jobs_queued == 0 {
        0
    } else {
        ((seconds / 60.0).ceil() as i64).max(1)
    };
    Ok(Reindex {
        jobs_queued,
        estimated_minutes,
    })
}

/// Resets the document of a job that runs again to pending.
///
/// # Errors
/// Those of the database.
pub(crate) async fn waits_again(
    app: &App,
    tx: &mut Tx,
    job: &jobs::Job,
    document_id: &str,
) -> Result<()> {
    let waiting = Progress {
        status: DocumentStatus::Pending,
        chunks_total: Some(0),
        chunks_embedded: Some(0),
        ..Progress::default()
    };
    let document = load_in(tx, &job.tenant_id, document_id).await?;
    if let Some(document) = document.filter(|d| d.job_id == job.id) {
        progress(app, tx, &document, &waiting).await?;
    }
    Ok(())
}

/// Logs changes of a document's chunks, each in the log of its set, and returns the position in the live set.
pub(super) async fn log(
    tx: &mut Tx,
    document: &Document,
    ops: Vec<(String, Op, String)>,
) -> Result<i64> {
    let live = index_log::lock_dataset(tx, &document.tenant_id, &document.dataset_id)
        .await?
        .unwrap_or_default();
    let mut sets: BTreeMap<String, Vec<(Op, String)>> =
        BTreeMap::from([(live.clone(), Vec::new())]);
    for (set_id, op, id) in ops {
        sets.entry(set_id).or_default().push((op, id));
    }
    let mut seq = 0;
    for (set_id, ops) in sets {
        let at = index_log::append(tx, &set_id, &ops).await?;
        if set_id == live {
            seq = at;
        }
    }
    Ok(seq)
}
