//! Documents: upload and its handling of existing documents, versions, nested documents, state, visibility, deletion.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::blobs::Stored;
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::jobs::{self, Task};
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::index_log::{self, Op};
use crate::kb::row_blocks;
use crate::page::{Listing, Page};

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, Serialize, Deserialize)]
pub struct Document {
    pub id: String,
    pub tenant_id: String,
    pub dataset_id: String,
    /// Name as uploaded.
    pub file_name: String,
    /// Title found in the file.
    pub title: Option<String>,
    pub mime_type: String,
    /// Size of the source in bytes.
    pub size_bytes: i64,
    /// SHA-256 of the source.
    pub blob_hash: String,
    /// SHA-256 of the normalised text.
    pub text_hash: Option<String>,
    /// Address that it was fetched from or that it states itself.
    pub url: Option<String>,
    /// Publication time as the document states it.
    pub published_at: Option<String>,
    /// `upload`, `website_crawl`, `published_content` or `competitor_research`.
    pub source: String,
    /// `pending`, `parsing`, `embedding`, `stored`, `indexed` or `error`.
    pub status: String,
    /// Whether searches return it.
    pub enabled: bool,
    /// Stable code of the failure.
    pub error_code: Option<String>,
    /// One sentence about the failure.
    pub error_message: Option<String>,
    /// User-defined JSON object.
    pub metadata: String,
    /// Override of the dataset's setting.
    pub chunk_size: Option<i64>,
    /// Override of the dataset's setting.
    pub chunk_overlap: Option<i64>,
    /// Override of the dataset's setting.
    pub parse_type: Option<String>,
    /// Override of the dataset's setting.
    pub parser_engine: Option<String>,
    /// Engine that parsed it.
    pub engine: Option<String>,
    /// JSON array of sentences.
    pub warnings: String,
    /// Number of chunks that can be searched.
    pub chunks_count: i64,
    /// Number of chunks of the running ingestion.
    pub chunks_total: i64,
    /// Number of those that are embedded.
    pub chunks_embedded: i64,
    /// Log position from which on it is in both indexes.
    pub ready_seq: i64,
    /// Id of its last ingestion job.
    pub job_id: String,
    /// The caller's own id for it, unique in the dataset.
    pub external_id: Option<String>,
    /// Archive or message that contains it.
    pub parent_id: Option<String>,
    /// Nesting depth; 0 for a file that was uploaded itself.
    pub depth: i64,
    /// 1, incremented each time its bytes are replaced.
    pub version: i64,
    /// JSON array of other names under which the same bytes were uploaded.
    pub aliases: String,
    /// Time at which the running ingestion began to embed.
    pub embedding_since: Option<Time>,
    /// The last page with text, where the format has pages and the file was parsed.
    #[serde(default)]
    pub pages: Option<i64>,
    /// Time of upload.
    pub created_on: Time,
    pub updated_on: Time,
}

impl Document {
    /// Returns the state as callers see it: `disabled` when switched off, and `embedding` until both indexes have caught up.
    #[must_use]
    pub fn shown_status(&self) -> &str {
        match self.status.as_str() {
            "indexed" if !self.enabled => "disabled",
            "stored" => "embedding",
            status => status,
        }
    }

    /// Returns the progress in percent: 10 once parsing began, then 15 to 95 by chunks embedded, 100 when searchable or failed for good.
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

    /// Returns the seconds until its chunks are embedded, from the rate so far; `None` when it is not embedding or there is no rate yet.
    #[must_use]
    pub fn eta_seconds(&self, now: Time) -> Option<f64> {
        let since = self
            .embedding_since
            .filter(|_| self.status == "embedding")?;
        let spent = now.since(since).as_secs_f64();
        (self.chunks_embedded > 0 && spent > 0.0).then(|| {
            spent * (self.chunks_total - self.chunks_embedded).max(0) as f64
                / self.chunks_embedded as f64
        })
    }

    /// Returns the user-defined metadata.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn metadata(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.metadata)?)
    }

    /// Creates a document without a row, to preview the ingestion of its file.
    pub(crate) fn unsaved(
        clock: &Clock,
        dataset: &datasets::Dataset,
        file_name: &str,
        mime_type: &str,
    ) -> Self {
        Self {
            id: clock.id(),
            tenant_id: dataset.tenant_id.clone(),
            dataset_id: dataset.id.clone(),
            file_name: file_name.to_owned(),
            title: None,
            mime_type: mime_type.to_owned(),
            size_bytes: 0,
            blob_hash: String::new(),
            text_hash: None,
            url: None,
            published_at: None,
            source: "upload".to_owned(),
            status: "pending".to_owned(),
            enabled: true,
            error_code: None,
            error_message: None,
            metadata: "{}".to_owned(),
            chunk_size: None,
            chunk_overlap: None,
            parse_type: None,
            parser_engine: None,
            engine: None,
            warnings: "[]".to_owned(),
            chunks_count: 0,
            chunks_total: 0,
            chunks_embedded: 0,
            ready_seq: 0,
            job_id: String::new(),
            external_id: None,
            parent_id: None,
            depth: 0,
            version: 1,
            aliases: "[]".to_owned(),
            embedding_since: None,
            pages: None,
            created_on: clock.now(),
            updated_on: clock.now(),
        }
    }

    /// Returns its own chunking settings.
    #[must_use]
    pub fn chunk_settings(&self) -> ChunkSettings {
        ChunkSettings {
            chunk_size: self.chunk_size,
            chunk_overlap: self.chunk_overlap,
            parse_type: self.parse_type.clone(),
            parser_engine: self.parser_engine.clone(),
        }
    }

    /// Returns the event that reports its state.
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
         chunks_total, chunks_embedded, ready_seq, job_id, external_id, parent_id, depth, version, aliases, embedding_since, pages, created_on, updated_on"
    };
}

/// A document to add, whose bytes are already stored.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// Name with extension.
    pub file_name: String,
    /// Media type, as detected.
    pub mime_type: String,
    /// The stored bytes.
    pub stored: Stored,
    /// Title that overrides the one in the file.
    pub title: Option<String>,
    /// Address that it was fetched from.
    pub url: Option<String>,
    /// `upload`, `website_crawl`, `published_content` or `competitor_research`.
    pub source: &'static str,
    /// JSON object, filterable in search.
    pub metadata: serde_json::Value,
    /// Overrides of the dataset's settings.
    pub chunk_settings: ChunkSettings,
    /// The caller's own id for it: a document with this id is replaced.
    pub external_id: Option<String>,
}

/// Returns a stored source as a `'static` constant.
pub(crate) fn known_source(source: &str) -> &'static str {
    ["website_crawl", "published_content", "competitor_research"]
        .into_iter()
        .find(|known| *known == source)
        .unwrap_or("upload")
}

/// Handling of an upload whose bytes are in the dataset already, under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDuplicate {
    /// Keeps the existing document unchanged and adds nothing.
    Skip,
    /// Same as `Skip`, and records the new name as an alias.
    Link,
    /// Updates the existing document with the new name, metadata and settings.
    Replace,
    /// Adds a second document.
    #[default]
    Keep,
}

impl std::str::FromStr for OnDuplicate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "skip" => Ok(Self::Skip),
            "link" => Ok(Self::Link),
            "replace" => Ok(Self::Replace),
            "keep" => Ok(Self::Keep),
            _ => Err(Error::invalid(
                "on_duplicate_unknown",
                "onDuplicate must be skip, link, replace or keep",
            )),
        }
    }
}

/// Treatment of existing documents by an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadPolicy {
    /// For identical bytes under another name.
    pub on_duplicate: OnDuplicate,
    /// Whether a file with the name of an existing document is a new version of it.
    pub versions: bool,
}

impl Default for UploadPolicy {
    fn default() -> Self {
        Self {
            on_duplicate: OnDuplicate::Keep,
            versions: true,
        }
    }
}

/// A document after an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Document that has the bytes now.
    pub document: Document,
    /// `created`, `replaced` (a new version of a document that was there), `unchanged` (the same bytes under the same name), `skipped` or
    /// `linked` (the same bytes under another name).
    pub outcome: &'static str,
}

/// Adds documents and enqueues their ingestion, all or none; once this returns, nothing of it can be lost.
///
/// # Errors
/// `dataset_not_found`, `metadata_invalid`, `file_name_invalid`, `external_id_invalid`, and those of [`ChunkSettings::check`].
pub async fn add(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    mut new: Vec<NewDocument>,
    meeting: UploadPolicy,
) -> Result<Vec<Added>> {
    caller.need_write(dataset_id)?;
    // File systems write an accented letter as one character or as two; both are the same name.
    for document in &mut new {
        if !is_nfc(&document.file_name) {
            document.file_name = document.file_name.nfc().collect();
        }
    }
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    for document in &new {
        document
            .chunk_settings
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
        let external = document.external_id.as_deref();
        if external.is_some_and(|id| id.is_empty() || id.chars().count() > 500) {
            return Err(Error::invalid(
                "external_id_invalid",
                "an external id has 1 to 500 characters",
            ));
        }
    }
    let mut tx = app.db.begin().await?;
    // Prevents two uploads from both finding that a name is free.
    index_log::lock_dataset(&mut tx, caller.tenant(), dataset_id).await?;
    let mut added = Vec::with_capacity(new.len());
    for document in new {
        added.push(
            meet(
                app,
                &mut tx,
                caller.tenant(),
                dataset_id,
                &document,
                None,
                meeting,
            )
            .await?,
        );
    }
    app.commit(tx).await?;
    Ok(added)
}

/// Adds a document, or replaces the one with its external id, in the transaction that causes it.
///
/// # Errors
/// Those of the database.
pub(crate) async fn add_in(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    new: &NewDocument,
) -> Result<Document> {
    index_log::lock_dataset(tx, tenant_id, dataset_id).await?;
    let meeting = UploadPolicy::default();
    Ok(meet(app, tx, tenant_id, dataset_id, new, None, meeting)
        .await?
        .document)
}

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

/// Returns the document with an external id in a dataset.
pub(crate) async fn by_external_in(
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    external_id: &str,
) -> Result<Option<Document>> {
    tx.optional(
        concat!("SELECT ", columns!(), " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND external_id = $3 LIMIT 1"),
        args![tenant_id, dataset_id, external_id],
    )
    .await
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
    tx.execute(
        "UPDATE jobs SET cancel_requested = TRUE WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
        args![&document.tenant_id, &document.job_id],
    )
    .await?;
    tx.execute(
        "UPDATE kb_documents SET job_id = '' WHERE tenant_id = $1 AND id = $2",
        args![&document.tenant_id, &document.id],
    )
    .await?;
    Ok(())
}

/// Hides a document from searches, or shows it again, in the transaction that causes it.
///
/// # Errors
/// Those of the database.
pub(crate) async fn switch_in(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    id: &str,
    enabled: bool,
) -> Result<()> {
    match load_in(tx, tenant_id, id).await? {
        Some(document) if document.enabled != enabled => switch(app, tx, &document, enabled).await,
        _ => Ok(()),
    }
}

async fn meet(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    new: &NewDocument,
    parent: Option<&Document>,
    meeting: UploadPolicy,
) -> Result<Added> {
    let parent_id = parent.map(|p| p.id.as_str());
    let same_name: Option<Document> = match &new.external_id {
        Some(external_id) => {
            by_external_in(tx, tenant_id, dataset_id, external_id).await?
        }
        None if meeting.versions => {
            tx.optional(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND file_name = $3 AND COALESCE(parent_id, '') = $4 ORDER BY id DESC LIMIT 1"
                ),
                args![tenant_id, dataset_id, new.file_name.trim(), parent_id.unwrap_or_default()],
            )
            .await?
        }
        None => None,
    };
    if let Some(there) = same_name {
        let as_it_is = there.blob_hash == new.stored.hash
            && there.status != "error"
            && there.file_name == new.file_name.trim()
            && (new.chunk_settings == ChunkSettings::default()
                || new.chunk_settings == there.chunk_settings())
            && (new
                .metadata
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
                || there.metadata()? == new.metadata);
        return if as_it_is {
            Ok(Added {
                document: there,
                outcome: "unchanged",
            })
        } else {
            replace(app, tx, &there, new).await
        };
    }
    if meeting.on_duplicate != OnDuplicate::Keep && parent.is_none() {
        let same_bytes: Option<Document> = tx
            .optional(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND blob_hash = $3 AND status <> 'error' AND parent_id IS NULL ORDER BY id LIMIT 1"
                ),
                args![tenant_id, dataset_id, &new.stored.hash],
            )
            .await?;
        match (same_bytes, meeting.on_duplicate) {
            (None, _) | (_, OnDuplicate::Keep) => {}
            (Some(there), OnDuplicate::Replace) => return replace(app, tx, &there, new).await,
            (Some(document), OnDuplicate::Skip) => {
                return Ok(Added {
                    document,
                    outcome: "skipped",
                });
            }
            (Some(there), OnDuplicate::Link) => {
                let mut names: Vec<String> = serde_json::from_str(&there.aliases)?;
                let name = new.file_name.trim().to_owned();
                if name != there.file_name && !names.contains(&name) {
                    names.push(name);
                }
                let row: Option<Document> = tx
                    .optional(
                        concat!("UPDATE kb_documents SET aliases = $1, updated_on = $2 WHERE tenant_id = $3 AND id = $4 RETURNING ", columns!()),
                        args![serde_json::to_string(&names)?, app.clock.now(), tenant_id, &there.id],
                    )
                    .await?;
                return Ok(Added {
                    document: row.unwrap_or(there),
                    outcome: "linked",
                });
            }
        }
    }
    let (id, now) = (app.clock.id(), app.clock.now());
    let job_id = enqueue(app, tx, tenant_id, group(dataset_id, new), &id).await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "INSERT INTO kb_documents (id, tenant_id, dataset_id, file_name, title, mime_type, size_bytes, blob_hash, url, source, status, enabled,
                 metadata, chunk_size, chunk_overlap, parse_type, parser_engine, warnings, chunks_count, chunks_total, chunks_embedded, ready_seq,
                 job_id, external_id, parent_id, depth, created_on, updated_on)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', $21, $11, $12, $13, $14, $15, '[]', 0, 0, 0, 0, $16, $18, $19, $20, $17, $17) RETURNING ",
                columns!()
            ),
            args![
                &id,
                tenant_id,
                dataset_id,
                new.file_name.trim(),
                &new.title,
                &new.mime_type,
                i64::try_from(new.stored.size).unwrap_or(i64::MAX),
                &new.stored.hash,
                &new.url,
                new.source,
                new.metadata.to_string(),
                new.chunk_settings.chunk_size,
                new.chunk_settings.chunk_overlap,
                &new.chunk_settings.parse_type,
                &new.chunk_settings.parser_engine,
                &job_id,
                now,
                &new.external_id,
                parent_id,
                parent.map_or(0, |p| p.depth + 1),
                parent.is_none_or(|p| p.enabled)
            ],
        )
        .await?;
    let document = row.ok_or_else(|| Error::internal("an insert gave no row"))?;
    events::append(tx, &app.clock, tenant_id, &document.changed()).await?;
    Ok(Added {
        document,
        outcome: "created",
    })
}

/// Replaces the bytes of a document, with the name and settings of the upload. The old version stays searchable until the new one is complete.
async fn replace(app: &App, tx: &mut Tx, there: &Document, new: &NewDocument) -> Result<Added> {
    let turns = group(&there.dataset_id, new);
    let job_id = enqueue(app, tx, &there.tenant_id, turns, &there.id).await?;
    let metadata = if new
        .metadata
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
    {
        there.metadata.clone()
    } else {
        new.metadata.to_string()
    };
    // The job of the previous version would only repeat the work.
    tx.execute(
        "UPDATE jobs SET cancel_requested = TRUE WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
        args![&there.tenant_id, &there.job_id],
    )
    .await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET file_name = $1, title = $2, mime_type = $3, size_bytes = $4, blob_hash = $5, url = $6, metadata = $7,
                 chunk_size = COALESCE($8, chunk_size), chunk_overlap = COALESCE($9, chunk_overlap), parse_type = COALESCE($10, parse_type),
                 parser_engine = COALESCE($11, parser_engine), status = 'pending', error_code = NULL, error_message = NULL, job_id = $12,
                 chunks_total = 0, chunks_embedded = 0, version = CASE WHEN blob_hash = $5 THEN version ELSE version + 1 END, updated_on = $13
                 WHERE tenant_id = $14 AND id = $15 RETURNING ",
                columns!()
            ),
            args![
                new.file_name.trim(),
                &new.title,
                &new.mime_type,
                i64::try_from(new.stored.size).unwrap_or(i64::MAX),
                &new.stored.hash,
                &new.url,
                metadata,
                new.chunk_settings.chunk_size,
                new.chunk_settings.chunk_overlap,
                &new.chunk_settings.parse_type,
                &new.chunk_settings.parser_engine,
                &job_id,
                app.clock.now(),
                &there.tenant_id,
                &there.id
            ],
        )
        .await?;
    let document = row.ok_or_else(|| {
        Error::not_found(
            "document_not_found",
            "there is no such file in this dataset",
        )
    })?;
    events::append(tx, &app.clock, &there.tenant_id, &document.changed()).await?;
    Ok(Added {
        document,
        outcome: "replaced",
    })
}

/// Returns the group with which a document's job takes turns: its dataset, or for rows their folder, so that a million rows do not delay other records.
fn group<'a>(dataset_id: &'a str, new: &'a NewDocument) -> &'a str {
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

async fn enqueue(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    group: &str,
    document_id: &str,
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
        },
    )
    .await
}

/// Stores the files inside an archive or a message as documents of their own: adds new ones, replaces changed ones, removes missing ones.
///
/// # Errors
/// Those of the database.
pub(crate) async fn set_children(
    app: &App,
    parent: &Document,
    new: Vec<NewDocument>,
) -> Result<()> {
    if new.is_empty() {
        // Most files contain no others, and never did.
        let (before,): (i64,) = app
            .db
            .one(
                "SELECT COUNT(*) FROM kb_documents WHERE tenant_id = $1 AND parent_id = $2",
                args![&parent.tenant_id, &parent.id],
            )
            .await?;
        if before == 0 {
            return Ok(());
        }
    }
    let mut tx = app.db.begin().await?;
    index_log::lock_dataset(&mut tx, &parent.tenant_id, &parent.dataset_id).await?;
    // The parent was read before a long step: by now it may be deleted, replaced, hidden or have other metadata.
    let now = load_in(&mut tx, &parent.tenant_id, &parent.id).await?;
    let Some(parent) = now.filter(|now| now.job_id == parent.job_id) else {
        return Ok(());
    };
    let mut kept: HashSet<String> = HashSet::new();
    for mut document in new {
        document.metadata = parent.metadata()?;
        let met = meet(
            app,
            &mut tx,
            &parent.tenant_id,
            &parent.dataset_id,
            &document,
            Some(&parent),
            UploadPolicy::default(),
        )
        .await?;
        kept.insert(met.document.id);
    }
    for child in children(&mut tx, &parent).await? {
        if !kept.contains(&child.id) {
            remove(app, &mut tx, &child).await?;
        }
    }
    app.commit(tx).await?;
    Ok(())
}

async fn children(tx: &mut Tx, parent: &Document) -> Result<Vec<Document>> {
    tx.all(
        concat!(
            "SELECT ",
            columns!(),
            " FROM kb_documents WHERE tenant_id = $1 AND parent_id = $2 ORDER BY id"
        ),
        args![&parent.tenant_id, &parent.id],
    )
    .await
}

/// Returns a document with all documents inside it, itself first.
async fn descendants(tx: &mut Tx, document: &Document) -> Result<Vec<Document>> {
    let mut found = vec![document.clone()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        found.extend(children(tx, &parent).await?);
        next += 1;
    }
    Ok(found)
}

/// Returns a document that the caller may see.
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
        .ok_or_else(missing)
}

/// Returns the error for a document that does not exist or that the caller may not know of.
pub(crate) fn missing() -> Error {
    Error::not_found(
        "document_not_found",
        "there is no such file in this dataset",
    )
}

/// Returns a document by id alone, for jobs.
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

/// Same as [`load`], inside a transaction.
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

/// Returns documents of a dataset ordered by id, inside a transaction.
pub(crate) async fn page_in(
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Document>> {
    tx.all(
        concat!("SELECT ", columns!(), " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id > $3 ORDER BY id LIMIT $4"),
        args![tenant_id, dataset_id, after, limit],
    )
    .await
}

/// Inserts a row unchanged.
pub(crate) async fn insert_row(tx: &mut Tx, d: &Document) -> Result<()> {
    tx.execute(
        concat!(
            "INSERT INTO kb_documents (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28,
             $29, $30, $31, $32, $33, $34, $35, $36, $37)"
        ),
        args![
            &d.id, &d.tenant_id, &d.dataset_id, &d.file_name, &d.title, &d.mime_type, d.size_bytes, &d.blob_hash, &d.text_hash, &d.url,
            &d.published_at, &d.source, &d.status, d.enabled, &d.error_code, &d.error_message, &d.metadata, d.chunk_size, d.chunk_overlap,
            &d.parse_type, &d.parser_engine, &d.engine, &d.warnings, d.chunks_count, d.chunks_total, d.chunks_embedded, d.ready_seq, &d.job_id,
            &d.external_id, &d.parent_id, d.depth, d.version, &d.aliases, d.embedding_since, d.pages, d.created_on, d.updated_on
        ],
    )
    .await?;
    Ok(())
}

/// Lists the documents of a dataset, oldest first.
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

/// Returns id, name and text hash of visible documents with a text, ordered by id.
///
/// # Errors
/// Those of the database.
pub(crate) async fn texts_after(
    app: &App,
    tenant_id: &str,
    dataset_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String, String)>> {
    app.db
        .all(
            "SELECT id, file_name, text_hash FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id > $3 AND enabled = TRUE AND text_hash IS NOT NULL ORDER BY id LIMIT $4",
            args![tenant_id, dataset_id, after, limit],
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
    let waiting: Option<(String,)> = tx
        .optional(
            "SELECT j.id FROM jobs j JOIN kb_documents d ON d.job_id = j.id WHERE d.tenant_id = $1 AND d.id = $2 AND j.status = 'queued' AND d.status = 'pending'",
            args![tenant_id, id],
        )
        .await?;
    if waiting.is_some() {
        return Ok(());
    }
    let job_id = enqueue(app, tx, tenant_id, dataset_id, id).await?;
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

/// A partial change of a document.
#[derive(Debug, Clone, Default)]
pub struct DocumentPatch {
    /// Whether searches return it.
    pub enabled: Option<bool>,
    /// Whether to parse and embed it again with the dataset's current settings.
    pub re_ingest: bool,
    pub metadata: Option<serde_json::Value>,
}

/// Switches a document on or off, changes its metadata, or ingests it again. The old version stays searchable until the new one is complete.
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
    caller.need_write(dataset_id)?;
    let document = get(app, caller, dataset_id, id).await?;
    if patch.metadata.as_ref().is_some_and(|m| !m.is_object()) {
        return Err(Error::invalid(
            "metadata_invalid",
            "metadata must be a JSON object",
        ));
    }
    let mut tx = app.db.begin().await?;
    if let Some(metadata) = &patch.metadata {
        index_log::lock_dataset(&mut tx, caller.tenant(), dataset_id).await?;
        tx.execute(
            "UPDATE kb_documents SET metadata = $1, updated_on = $2 WHERE tenant_id = $3 AND id = $4",
            args![metadata.to_string(), app.clock.now(), caller.tenant(), id],
        )
        .await?;
    }
    if let Some(enabled) = patch.enabled.filter(|enabled| *enabled != document.enabled) {
        for member in descendants(&mut tx, &document).await? {
            switch(app, &mut tx, &member, enabled).await?;
        }
    }
    if patch.re_ingest {
        queue(app, &mut tx, caller.tenant(), dataset_id, id).await?;
    }
    app.commit(tx).await?;
    get(app, caller, dataset_id, id).await
}

/// Logs changes of a document's chunks, each in the log of its set, and returns the position in the live set.
async fn log(tx: &mut Tx, document: &Document, ops: Vec<(String, Op, String)>) -> Result<i64> {
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

/// Shows or hides a document. Hidden chunks leave both indexes and are restored from their rows; the flag itself is effective at the next query.
async fn switch(app: &App, tx: &mut Tx, document: &Document, enabled: bool) -> Result<()> {
    index_log::lock_dataset(tx, &document.tenant_id, &document.dataset_id).await?;
    let chunks: Vec<(String, String)> = tx
        .all(
            "SELECT id, set_id FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND enabled = TRUE",
            args![&document.tenant_id, &document.id],
        )
        .await?;
    let ops = chunks
        .into_iter()
        .flat_map(|(id, set_id)| {
            let ops = if enabled {
                vec![Op::Text, Op::Vector]
            } else {
                vec![Op::Delete]
            };
            ops.into_iter()
                .map(move |op| (set_id.clone(), op, id.clone()))
        })
        .collect();
    let seq = log(tx, document, ops).await?;
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

/// Removes a document, the documents inside it, and their chunks for good, and returns the number of chunks. Effective at the next query.
///
/// # Errors
/// `document_not_found`.
pub async fn delete(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<i64> {
    caller.need_write(dataset_id)?;
    let document = get(app, caller, dataset_id, id).await?;
    let mut tx = app.db.begin().await?;
    let removed = remove(app, &mut tx, &document).await?;
    app.commit(tx).await?;
    Ok(removed)
}

async fn remove(app: &App, tx: &mut Tx, document: &Document) -> Result<i64> {
    let mut removed = 0;
    index_log::lock_dataset(tx, &document.tenant_id, &document.dataset_id).await?;
    let family = descendants(tx, document).await?;
    // Jobs before documents and the event counter, in the lock order of embedding.
    for member in &family {
        tx.execute(
            "UPDATE jobs SET cancel_requested = TRUE WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
            args![&member.tenant_id, &member.job_id],
        )
        .await?;
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
            return Err(Error::not_found(
                "document_not_found",
                "there is no such file in this dataset",
            ));
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
    pub status: &'static str,
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
                "UPDATE kb_documents SET status = 'indexed', updated_on = $1 WHERE dataset_id = $2 AND status = 'stored' AND ready_seq <= $3 RETURNING ",
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
    caller.need(Scope::KbWrite)?;
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
        status: "pending",
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

/// Waits until documents, and the documents inside them, are searchable or have failed; `false` when that takes longer than `patience`.
///
/// # Errors
/// Those of the database.
pub async fn settled(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    ids: &[String],
    patience: Duration,
) -> Result<bool> {
    let deadline = Instant::now() + patience;
    let mut commits_seen = app.commits.subscribe();
    loop {
        commits_seen.mark_unchanged();
        let current = with_parts(app, caller, dataset_id, ids).await?;
        if current
            .iter()
            .all(|d| matches!(d.status.as_str(), "indexed" | "error"))
        {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // At most ten checks a second, however many commits there are.
        tokio::time::sleep(Duration::from_millis(100).min(left)).await;
        let pause = left.min(Duration::from_secs(1));
        // Another process may do the work, which sends no commit signal here.
        let _ = tokio::time::timeout(pause, commits_seen.changed()).await;
    }
}

/// Returns documents of a dataset by id with all documents inside them, in no particular order.
///
/// # Errors
/// Those of the database.
pub async fn with_parts(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    ids: &[String],
) -> Result<Vec<Document>> {
    let mut found = by_ids(app, caller, dataset_id, ids).await?;
    let mut parents: Vec<String> = ids.to_vec();
    while !parents.is_empty() {
        let inside: Vec<Document> = app
            .db
            .all_in(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND parent_id IN ($LIST)"
                ),
                args![caller.tenant(), dataset_id],
                &parents,
            )
            .await?;
        parents = inside.iter().map(|d| d.id.clone()).collect();
        found.extend(inside);
    }
    Ok(found)
}

/// Returns documents of a dataset by id, in no particular order; missing ids are left out.
///
/// # Errors
/// Those of the database.
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
