//! The document and its rows.

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::blobs::Stored;
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args, words};
use crate::error::{Error, Result};
use crate::events::Event;
use crate::kb::datasets::{self, ChunkSettings};
use crate::page::{Listing, Page};

words! {
    /// Where a document comes from.
    pub enum DocumentSource {
        Upload = "upload",
        WebsiteCrawl = "website_crawl",
        PublishedContent = "published_content",
        CompetitorResearch = "competitor_research",
    }
}

words! {
    /// The state of a document.
    #[derive(Default)]
    pub enum DocumentStatus {
        #[default]
        Pending = "pending",
        Parsing = "parsing",
        Embedding = "embedding",
        /// Its chunks and vectors are stored, and the indexes are catching up.
        Stored = "stored",
        Indexed = "indexed",
        Error = "error",
    }
}

impl DocumentStatus {
    /// Returns whether ingestion has ended, with or without success.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Indexed | Self::Error)
    }
}

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
    pub source: DocumentSource,
    pub status: DocumentStatus,
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
    pub fn shown_status(&self) -> &'static str {
        match self.status {
            DocumentStatus::Indexed if !self.enabled => "disabled",
            DocumentStatus::Stored => DocumentStatus::Embedding.as_str(),
            DocumentStatus::Pending
            | DocumentStatus::Parsing
            | DocumentStatus::Embedding
            | DocumentStatus::Indexed
            | DocumentStatus::Error => self.status.as_str(),
        }
    }

    /// Returns the progress in percent: 10 once parsing began, then 15 to 95 by chunks embedded, 100 when searchable or failed for good.
    #[must_use]
    pub fn progress(&self) -> i64 {
        match self.status {
            DocumentStatus::Pending => 0,
            DocumentStatus::Parsing => 10,
            DocumentStatus::Embedding => 15 + 80 * self.chunks_embedded / self.chunks_total.max(1),
            DocumentStatus::Stored => 97,
            DocumentStatus::Indexed | DocumentStatus::Error => 100,
        }
    }

    /// Returns the seconds until its chunks are embedded, from the rate so far; `None` when it is not embedding or there is no rate yet.
    #[must_use]
    pub fn eta_seconds(&self, now: Time) -> Option<f64> {
        let since = self
            .embedding_since
            .filter(|_| self.status == DocumentStatus::Embedding)?;
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
            source: DocumentSource::Upload,
            status: DocumentStatus::Pending,
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
pub(super) use columns;

/// The assignment that records a change of a document's visibility, or of a field that filters refer to, in a transaction that has locked the dataset with
/// [`crate::kb::index_log::lock_dataset`].
macro_rules! changed_now {
    () => {
        "changed_version = (SELECT s.version FROM kb_datasets s WHERE s.id = kb_documents.dataset_id)"
    };
}
pub(crate) use changed_now;

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
    pub source: DocumentSource,
    /// JSON object, filterable in search.
    pub metadata: serde_json::Value,
    /// Overrides of the dataset's settings.
    pub chunk_settings: ChunkSettings,
    /// The caller's own id for it: a document with this id is replaced.
    pub external_id: Option<String>,
}

impl NewDocument {
    /// Creates an upload without a title, metadata and settings of its own.
    #[must_use]
    pub fn new(file_name: String, mime_type: impl Into<String>, stored: Stored) -> Self {
        Self {
            file_name,
            mime_type: mime_type.into(),
            stored,
            title: None,
            url: None,
            source: DocumentSource::Upload,
            metadata: serde_json::json!({}),
            chunk_settings: ChunkSettings::default(),
            external_id: None,
        }
    }
}

/// Returns a document that the caller may see.
///
/// # Errors
/// `dataset_not_found`, `document_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Document> {
    if !caller.sees(dataset_id) {
        return Err(datasets::missing());
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
    Error::not_found("document_not_found", "file not found in this dataset")
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

/// Returns documents by id, for jobs, in no particular order; missing ids are left out.
pub(crate) async fn load_all(db: &Db, tenant_id: &str, ids: &[String]) -> Result<Vec<Document>> {
    db.all_in(
        concat!(
            "SELECT ",
            columns!(),
            " FROM kb_documents WHERE tenant_id = $1 AND id IN ($LIST)"
        ),
        args![tenant_id],
        ids,
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
            ", changed_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
             $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, (SELECT version FROM kb_datasets WHERE id = $3))"
        ),
        args![
            &d.id, &d.tenant_id, &d.dataset_id, &d.file_name, &d.title, &d.mime_type, d.size_bytes, &d.blob_hash, &d.text_hash, &d.url,
            &d.published_at, d.source, &d.status, d.enabled, &d.error_code, &d.error_message, &d.metadata, d.chunk_size, d.chunk_overlap,
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

/// Returns id, name, text hash and version of visible documents with a text, ordered by id.
///
/// # Errors
/// Those of the database.
pub(crate) async fn texts_after(
    app: &App,
    tenant_id: &str,
    dataset_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String, String, i64)>> {
    app.db
        .all(
            "SELECT id, file_name, text_hash, version FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id > $3 AND enabled = TRUE AND text_hash IS NOT NULL ORDER BY id LIMIT $4",
            args![tenant_id, dataset_id, after, limit],
        )
        .await
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

/// Returns the document of a dataset that has an external id.
///
/// # Errors
/// Those of the database.
pub(crate) async fn external(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    external_id: &str,
) -> Result<Option<Document>> {
    let ids = [external_id.to_owned()];
    let found = with_external(app, caller, dataset_id, &ids).await?;
    Ok(found.into_iter().next())
}

/// Returns documents of a dataset by external id, in no particular order; missing ids are left out.
///
/// # Errors
/// Those of the database.
pub(crate) async fn with_external(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    external_ids: &[String],
) -> Result<Vec<Document>> {
    app.db
        .all_in(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND external_id IN ($LIST)"
            ),
            args![caller.tenant(), dataset_id],
            external_ids,
        )
        .await
}

/// Lists the documents of a dataset that are in no other one, above and below some ids: those of their files where they have one. Returns at most `limit`.
///
/// # Errors
/// `scope_missing`, `dataset_not_found`.
pub(crate) async fn part(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    (above, below): (Option<&str>, Option<&str>),
    (descending, limit): (bool, i64),
    status: Option<DocumentStatus>,
) -> Result<Vec<Document>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    // As `files::id_of`, with `files::PREFIX`.
    macro_rules! id {
        () => {
            "CASE WHEN external_id LIKE 'file-%' THEN external_id ELSE id END"
        };
    }
    macro_rules! select {
        ($order:literal) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND parent_id IS NULL
                 AND (CAST($3 AS TEXT) IS NULL OR ",
                id!(),
                " > $3) AND (CAST($4 AS TEXT) IS NULL OR ",
                id!(),
                " < $4) AND (CAST($5 AS TEXT) IS NULL OR status = $5
                 OR ($5 = 'pending' AND status IN ('parsing', 'embedding', 'stored')))
                 ORDER BY ",
                id!(),
                " ",
                $order,
                " LIMIT $6"
            )
        };
    }
    let status = status.map(DocumentStatus::as_str);
    let wanted = args![caller.tenant(), dataset_id, above, below, status, limit];
    if descending {
        app.db.all(select!("DESC"), wanted).await
    } else {
        app.db.all(select!("ASC"), wanted).await
    }
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

pub(super) async fn children(tx: &mut Tx, parent: &Document) -> Result<Vec<Document>> {
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
pub(super) async fn descendants(tx: &mut Tx, document: &Document) -> Result<Vec<Document>> {
    let mut found = vec![document.clone()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        found.extend(children(tx, &parent).await?);
        next += 1;
    }
    Ok(found)
}
