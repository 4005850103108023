//! Documents: upload, state, visibility, deletion.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::blobs::Stored;
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::jobs::{self, Task};
use crate::kb::datasets::{self, Cutting};
use crate::kb::index_log::{self, Op};
use crate::page::{Listing, Page};

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Document {
    /// Id.
    pub id: String,
    /// Owner.
    pub tenant_id: String,
    /// The dataset it is in.
    pub dataset_id: String,
    /// Name as uploaded.
    pub file_name: String,
    /// Title found in the file.
    pub title: Option<String>,
    /// Media type.
    pub mime_type: String,
    /// Length of the source.
    pub size_bytes: i64,
    /// SHA-256 of the source.
    pub blob_hash: String,
    /// SHA-256 of the normalised text.
    pub text_hash: Option<String>,
    /// Address it came from or names itself.
    pub url: Option<String>,
    /// Publication time as the document states it.
    pub published_at: Option<String>,
    /// `upload`, `website_crawl`, `published_content` or `competitor_research`.
    pub source: String,
    /// `pending`, `parsing`, `embedding`, `stored`, `indexed` or `error`.
    pub status: String,
    /// Whether searches see it.
    pub enabled: bool,
    /// Stable code of the failure.
    pub error_code: Option<String>,
    /// One sentence about the failure.
    pub error_message: Option<String>,
    /// JSON object of the user.
    pub metadata: String,
    /// Override of the dataset's setting.
    pub chunk_size: Option<i64>,
    /// Override of the dataset's setting.
    pub chunk_overlap: Option<i64>,
    /// Override of the dataset's setting.
    pub parse_type: Option<String>,
    /// Override of the dataset's setting.
    pub parser_engine: Option<String>,
    /// Engine that read it.
    pub engine: Option<String>,
    /// JSON array of sentences.
    pub warnings: String,
    /// Chunks that can be searched.
    pub chunks_count: i64,
    /// Chunks of the running ingestion.
    pub chunks_total: i64,
    /// Of those, embedded so far.
    pub chunks_embedded: i64,
    /// Log position from which on it is in both indexes.
    pub ready_seq: i64,
    /// Its last ingestion job.
    pub job_id: String,
    /// Time of upload.
    pub created_on: Time,
    /// Time of the last change.
    pub updated_on: Time,
}

impl Document {
    /// The state as callers see it: `disabled` when switched off, and `embedding` until both indexes have caught up.
    #[must_use]
    pub fn shown_status(&self) -> &str {
        match self.status.as_str() {
            "indexed" if !self.enabled => "disabled",
            "stored" => "embedding",
            status => status,
        }
    }

    /// Percentage from facts: 10 once parsing began, then 15 to 95 by chunks embedded, 100 when searchable or failed for good.
    #[must_use]
    pub fn progress(&self) -> i64 {
        match self.status.as_str() {
            "pending" => 0,
            "parsing" => 10,
            "embedding" => 15 + 80 * self.chunks_embedded / self.chunks_total.max(1),
            "stored" => 97,
            _ => 100,
        }
    }

    /// The user's metadata.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn metadata(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.metadata)?)
    }

    /// The event that tells its state.
    #[must_use]
    pub fn changed(&self) -> Event {
        Event::DocumentChanged {
            dataset_id: self.dataset_id.clone(),
            document_id: self.id.clone(),
            file_name: self.file_name.clone(),
            status: self.shown_status().to_owned(),
            progress: self.progress(),
            chunks_count: self.chunks_count,
            error_message: self.error_message.clone(),
        }
    }
}

macro_rules! columns {
    () => {
        "id, tenant_id, dataset_id, file_name, title, mime_type, size_bytes, blob_hash, text_hash, url, published_at, source, status, enabled,
         error_code, error_message, metadata, chunk_size, chunk_overlap, parse_type, parser_engine, engine, warnings, chunks_count,
         chunks_total, chunks_embedded, ready_seq, job_id, created_on, updated_on"
    };
}

/// A document to add; its bytes are stored already.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// Name with extension.
    pub file_name: String,
    /// Media type, as detected.
    pub mime_type: String,
    /// The stored bytes.
    pub stored: Stored,
    /// Title, where the caller knows it better than the file.
    pub title: Option<String>,
    /// Address it came from.
    pub url: Option<String>,
    /// `upload`, `website_crawl`, `published_content` or `competitor_research`.
    pub source: &'static str,
    /// JSON object, filterable in search.
    pub metadata: serde_json::Value,
    /// Overrides of the dataset's settings.
    pub cutting: Cutting,
}

/// Adds documents and queues their ingestion, all or none; once this returns, nothing of it can be lost.
///
/// # Errors
/// `dataset_not_found`, `metadata_invalid`, `file_name_invalid`, and those of [`Cutting::check`].
pub async fn add(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    new: Vec<NewDocument>,
) -> Result<Vec<Document>> {
    caller.need(Scope::KbWrite)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let mut tx = app.db.begin().await?;
    let mut added = Vec::with_capacity(new.len());
    for document in new {
        document
            .cutting
            .check(dataset.chunk_size, dataset.chunk_overlap)?;
        if !document.metadata.is_object() {
            return Err(Error::invalid(
                "metadata_invalid",
                "metadata must be a JSON object",
            ));
        }
        if document.file_name.trim().is_empty() || document.file_name.chars().count() > 500 {
            return Err(Error::invalid(
                "file_name_invalid",
                "a file needs a name of at most 500 characters",
            ));
        }
        let (id, now) = (app.clock.id(), app.clock.now());
        let task = Task::Ingest {
            document_id: id.clone(),
        };
        let job_id = jobs::enqueue(
            &mut tx,
            &app.clock,
            caller.tenant(),
            &task,
            None,
            app.config.job_attempts,
        )
        .await?;
        let row: Option<Document> = tx
            .optional(
                concat!(
                    "INSERT INTO kb_documents (id, tenant_id, dataset_id, file_name, title, mime_type, size_bytes, blob_hash, url, source, status, enabled,
                     metadata, chunk_size, chunk_overlap, parse_type, parser_engine, warnings, chunks_count, chunks_total, chunks_embedded, ready_seq,
                     job_id, created_on, updated_on)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', TRUE, $11, $12, $13, $14, $15, '[]', 0, 0, 0, 0, $16, $17, $17) RETURNING ",
                    columns!()
                ),
                args![
                    &id,
                    caller.tenant(),
                    dataset_id,
                    document.file_name.trim(),
                    &document.title,
                    &document.mime_type,
                    i64::try_from(document.stored.size).unwrap_or(i64::MAX),
                    &document.stored.hash,
                    &document.url,
                    document.source,
                    document.metadata.to_string(),
                    document.cutting.chunk_size,
                    document.cutting.chunk_overlap,
                    &document.cutting.parse_type,
                    &document.cutting.parser_engine,
                    &job_id,
                    now
                ],
            )
            .await?;
        let row = row.ok_or_else(|| Error::internal("an insert gave no row"))?;
        events::append(&mut tx, &app.clock, caller.tenant(), &row.changed()).await?;
        added.push(row);
    }
    tx.commit().await?;
    app.bell.ring();
    Ok(added)
}

/// A document that the caller may see.
///
/// # Errors
/// `dataset_not_found`, `document_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Document> {
    if !caller.sees(dataset_id) {
        return Err(Error::not_found(
            "dataset_not_found",
            "there is no such dataset",
        ));
    }
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3"
            ),
            args![caller.tenant(), dataset_id, id],
        )
        .await?
        .ok_or_else(|| {
            Error::not_found(
                "document_not_found",
                "there is no such file in this dataset",
            )
        })
}

/// A document by id alone, for jobs.
pub(crate) async fn load(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Document>> {
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM kb_documents WHERE tenant_id = $1 AND id = $2"
        ),
        args![tenant_id, id],
    )
    .await
}

/// The same inside a transaction.
pub(crate) async fn load_in(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<Option<Document>> {
    tx.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM kb_documents WHERE tenant_id = $1 AND id = $2"
        ),
        args![tenant_id, id],
    )
    .await
}

/// Documents of a dataset, oldest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    page: &Page,
) -> Result<Listing<Document>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let rows: Vec<Document> = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id > $3 ORDER BY id LIMIT $4"),
            args![caller.tenant(), dataset_id, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |d| d.id.clone()))
}

/// Queues the ingestion of a document again, unless a queued job is about to do it.
pub(crate) async fn queue(app: &App, tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    let waiting: Option<(String,)> = tx
        .optional(
            "SELECT j.id FROM jobs j JOIN kb_documents d ON d.job_id = j.id WHERE d.tenant_id = $1 AND d.id = $2 AND j.status = 'queued' AND d.status = 'pending'",
            args![tenant_id, id],
        )
        .await?;
    if waiting.is_some() {
        return Ok(());
    }
    let task = Task::Ingest {
        document_id: id.to_owned(),
    };
    let job_id = jobs::enqueue(
        tx,
        &app.clock,
        tenant_id,
        &task,
        None,
        app.config.job_attempts,
    )
    .await?;
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

/// What to change about a document.
#[derive(Debug, Clone, Default)]
pub struct DocumentPatch {
    /// Whether searches see it.
    pub enabled: Option<bool>,
    /// Parse and embed it again with the dataset's current settings.
    pub re_ingest: bool,
    /// New metadata.
    pub metadata: Option<serde_json::Value>,
}

/// Switches a document on or off, changes its metadata, or ingests it again. What was searchable stays so until the new version is complete.
///
/// # Errors
/// `document_not_found`, `metadata_invalid`.
pub async fn update(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    patch: DocumentPatch,
) -> Result<Document> {
    caller.need(Scope::KbWrite)?;
    let document = get(app, caller, dataset_id, id).await?;
    if patch.metadata.as_ref().is_some_and(|m| !m.is_object()) {
        return Err(Error::invalid(
            "metadata_invalid",
            "metadata must be a JSON object",
        ));
    }
    let mut tx = app.db.begin().await?;
    if let Some(metadata) = &patch.metadata {
        tx.execute(
            "UPDATE kb_documents SET metadata = $1, updated_on = $2 WHERE tenant_id = $3 AND id = $4",
            args![metadata.to_string(), app.clock.now(), caller.tenant(), id],
        )
        .await?;
    }
    if let Some(enabled) = patch.enabled.filter(|enabled| *enabled != document.enabled) {
        switch(app, &mut tx, &document, enabled).await?;
    }
    if patch.re_ingest {
        queue(app, &mut tx, caller.tenant(), id).await?;
    }
    tx.commit().await?;
    app.bell.ring();
    get(app, caller, dataset_id, id).await
}

/// Hidden chunks leave both indexes and come back from their rows; the flag itself is effective at the next query.
async fn switch(app: &App, tx: &mut Tx, document: &Document, enabled: bool) -> Result<()> {
    let chunks: Vec<(String,)> = tx
        .all(
            "SELECT id FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2",
            args![&document.tenant_id, &document.id],
        )
        .await?;
    let ops: Vec<(Op, String)> = chunks
        .into_iter()
        .flat_map(|(id,)| {
            if enabled {
                vec![(Op::Text, id.clone()), (Op::Vector, id)]
            } else {
                vec![(Op::Delete, id)]
            }
        })
        .collect();
    let seq = index_log::append(tx, &document.dataset_id, &ops).await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET enabled = $1, ready_seq = $2, status = CASE WHEN status = 'indexed' AND $1 = TRUE THEN 'stored' ELSE status END,
                 updated_on = $3 WHERE tenant_id = $4 AND id = $5 RETURNING ",
                columns!()
            ),
            args![enabled, seq, app.clock.now(), &document.tenant_id, &document.id],
        )
        .await?;
    if let Some(row) = row {
        events::append(tx, &app.clock, &document.tenant_id, &row.changed()).await?;
    }
    Ok(())
}

/// Removes a document and its chunks for good; gives the number of chunks. Effective at the next query.
///
/// # Errors
/// `document_not_found`.
pub async fn delete(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<i64> {
    caller.need(Scope::KbWrite)?;
    let document = get(app, caller, dataset_id, id).await?;
    let mut tx = app.db.begin().await?;
    let chunks: Vec<(String,)> = tx
        .all(
            "DELETE FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 RETURNING id",
            args![caller.tenant(), id],
        )
        .await?;
    let removed = i64::try_from(chunks.len()).unwrap_or(i64::MAX);
    let ops: Vec<(Op, String)> = chunks.into_iter().map(|(id,)| (Op::Delete, id)).collect();
    index_log::append(&mut tx, dataset_id, &ops).await?;
    let gone = tx
        .execute(
            "DELETE FROM kb_documents WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), id],
        )
        .await?;
    if gone == 0 {
        return Err(Error::not_found(
            "document_not_found",
            "there is no such file in this dataset",
        ));
    }
    tx.execute(
        "UPDATE jobs SET cancel_requested = TRUE WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
        args![caller.tenant(), &document.job_id],
    )
    .await?;
    let event = Event::DocumentDeleted {
        dataset_id: dataset_id.to_owned(),
        document_id: id.to_owned(),
        chunks_removed: removed,
    };
    events::append(&mut tx, &app.clock, caller.tenant(), &event).await?;
    tx.commit().await?;
    app.bell.ring();
    Ok(removed)
}

/// A change of state during ingestion; absent values stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub status: &'static str,
    pub error: Option<(String, String)>,
    pub chunks_total: Option<i64>,
    pub chunks_embedded: Option<i64>,
}

/// Records progress and tells it; `false` when the document is gone.
pub(crate) async fn progress(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    id: &str,
    progress: &Progress,
) -> Result<bool> {
    let (code, message) = progress.error.clone().unzip();
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET status = $1, error_code = $2, error_message = $3, chunks_total = COALESCE($4, chunks_total),
                 chunks_embedded = COALESCE($5, chunks_embedded), updated_on = $6 WHERE tenant_id = $7 AND id = $8 RETURNING ",
                columns!()
            ),
            args![progress.status, code, message, progress.chunks_total, progress.chunks_embedded, app.clock.now(), tenant_id, id],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    events::append(tx, &app.clock, tenant_id, &row.changed()).await?;
    Ok(true)
}

/// Marks documents as indexed whose log entries both indexes have applied, and tells it; gives their number.
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
                "UPDATE kb_documents SET status = 'indexed', updated_on = $1 WHERE dataset_id = $2 AND status = 'stored' AND ready_seq <= $3 RETURNING ",
                columns!()
            ),
            args![app.clock.now(), dataset_id, applied],
        )
        .await?;
    for row in &rows {
        events::append(&mut tx, &app.clock, &row.tenant_id, &row.changed()).await?;
    }
    tx.commit().await?;
    app.bell.ring();
    Ok(rows.len())
}

/// Runs a dead or cancelled job again; the document it was about waits for it.
///
/// # Errors
/// `job_not_found`, `job_not_dead`.
pub async fn retry(app: &App, caller: &Caller, job_id: &str) -> Result<jobs::Job> {
    caller.need(Scope::KbWrite)?;
    let job = jobs::get(&app.db, caller.tenant(), job_id).await?;
    let mut tx = app.db.begin().await?;
    jobs::retry(&mut tx, &app.clock, caller.tenant(), job_id).await?;
    if let Task::Ingest { document_id } = job.task()? {
        let waiting = Progress {
            status: "pending",
            chunks_total: Some(0),
            chunks_embedded: Some(0),
            ..Progress::default()
        };
        progress(app, &mut tx, caller.tenant(), &document_id, &waiting).await?;
    }
    tx.commit().await?;
    app.bell.ring();
    jobs::get(&app.db, caller.tenant(), job_id).await
}

/// Documents of a dataset by id, in no particular order; ids that are gone are left out.
///
/// # Errors
/// As the database says.
pub async fn by_ids(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    ids: &[String],
) -> Result<Vec<Document>> {
    app.db
        .all_in(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id IN ($LIST)"
            ),
            args![caller.tenant(), dataset_id],
            ids,
        )
        .await
}
