//! Files of vector stores, one by one and in batches: documents.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::stores::FileCounts;
use super::{Auth, Body, Deleted, OpenAiFault, Paging, Path, Problem, Query, page, seconds};
use crate::api::Service;
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::kb::datasets::ChunkSettings;
use crate::kb::documents::{self, DocumentStatus};
use crate::kb::files::{self, Attachment, Batch, Counts, Part};
use crate::kb::{Dataset, Document, datasets, visible};

/// How files are cut into chunks.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[schema(as = OpenAiChunkingStrategy)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Strategy {
    /// As the dataset says.
    #[default]
    Auto,
    /// By a size in tokens.
    Static {
        /// Size and overlap.
        #[serde(rename = "static")]
        sizes: Sizes,
    },
}

/// Size and overlap of chunks, in tokens.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[schema(as = OpenAiChunkSizes)]
pub(super) struct Sizes {
    /// 128 to 2048.
    max_chunk_size_tokens: i64,
    /// 0 to 512, and less than the size.
    chunk_overlap_tokens: i64,
}

impl Strategy {
    fn settings(&self) -> Result<ChunkSettings> {
        let settings = match self {
            Self::Auto => ChunkSettings::default(),
            Self::Static { sizes } => ChunkSettings {
                chunk_size: Some(sizes.max_chunk_size_tokens),
                chunk_overlap: Some(sizes.chunk_overlap_tokens),
                ..ChunkSettings::default()
            },
        };
        settings.check(datasets::CHUNK_SIZE, datasets::CHUNK_OVERLAP)?;
        Ok(settings)
    }
}

/// Returns files to add with one strategy and no attributes.
pub(super) fn attachments(ids: &[String], strategy: &Strategy) -> Result<Vec<Attachment>> {
    let chunk_settings = strategy.settings()?;
    let attachment = |id: &String| Attachment {
        file_id: id.clone(),
        attributes: Map::new(),
        chunk_settings: chunk_settings.clone(),
    };
    Ok(ids.iter().map(attachment).collect())
}

/// A file to add.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiNewVectorStoreFile)]
pub(super) struct NewFile {
    file_id: String,
    /// Metadata by which searches filter: texts, numbers and truth values.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    attributes: Option<Map<String, Value>>,
    #[serde(default)]
    chunking_strategy: Option<Strategy>,
}

impl NewFile {
    fn attachment(self) -> Result<Attachment> {
        Ok(Attachment {
            file_id: self.file_id,
            attributes: self.attributes.unwrap_or_default(),
            chunk_settings: self.chunking_strategy.unwrap_or_default().settings()?,
        })
    }
}

/// A file of a vector store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiVectorStoreFile)]
pub(super) struct Shown {
    id: String,
    object: &'static str,
    created_at: i64,
    vector_store_id: String,
    usage_bytes: i64,
    /// `in_progress`, `completed` or `failed`.
    status: &'static str,
    last_error: Option<LastError>,
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    chunking_strategy: ShownStrategy,
}

/// Why a file failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiLastError)]
struct LastError {
    /// `unsupported_file`, `invalid_file` or `server_error`.
    code: &'static str,
    message: String,
}

/// How a file is cut into chunks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiShownChunkingStrategy)]
struct ShownStrategy {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "static")]
    sizes: Sizes,
}

fn status(document: &Document) -> &'static str {
    match document.status {
        DocumentStatus::Indexed => "completed",
        DocumentStatus::Error => "failed",
        DocumentStatus::Pending
        | DocumentStatus::Parsing
        | DocumentStatus::Embedding
        | DocumentStatus::Stored => "in_progress",
    }
}

fn shown(document: Document, dataset: &Dataset) -> Result<Shown> {
    let last_error = document.error_code.as_deref().map(|code| LastError {
        code: match code {
            "unsupported_format" => "unsupported_file",
            "internal" => "server_error",
            _ => "invalid_file",
        },
        message: document.error_message.clone().unwrap_or_default(),
    });
    Ok(Shown {
        id: files::id_of(&document).to_owned(),
        object: "vector_store.file",
        created_at: seconds(document.created_on),
        vector_store_id: document.dataset_id.clone(),
        usage_bytes: document.size_bytes,
        status: status(&document),
        last_error,
        attributes: serde_json::from_str(&document.metadata)?,
        chunking_strategy: ShownStrategy {
            kind: "static",
            sizes: Sizes {
                max_chunk_size_tokens: document.chunk_size.unwrap_or(dataset.indexing.chunk_size),
                chunk_overlap_tokens: document
                    .chunk_overlap
                    .unwrap_or(dataset.indexing.chunk_overlap),
            },
        },
    })
}

/// Returns documents of a vector store as its files.
async fn all_shown(
    app: &App,
    caller: &Caller,
    store: &str,
    documents: Vec<Document>,
) -> Result<Vec<Shown>> {
    let dataset = datasets::settings(app, caller, store).await?;
    documents.into_iter().map(|d| shown(d, &dataset)).collect()
}

async fn one_shown(
    app: &App,
    caller: &Caller,
    store: &str,
    document: Document,
) -> Result<Json<Shown>> {
    let dataset = datasets::settings(app, caller, store).await?;
    Ok(Json(shown(document, &dataset)?))
}

/// Adds a file to a vector store.
#[utoipa::path(post, path = "/openai/v1/vector_stores/{vector_store_id}/files", tag = "compatible", operation_id = "openaiAddVectorStoreFile", security(("key" = [])),
    params(("vector_store_id" = String, Path)), request_body = NewFile, responses((status = 200, body = Shown), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn add(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(store): Path<String>,
    Body(new): Body<NewFile>,
) -> Result<Json<Shown>, Problem> {
    let app = &service.app;
    let attachment = new.attachment()?;
    let added = files::attach(app, &caller, &store, &[attachment]).await?;
    let document = added.into_iter().next();
    let document = document.ok_or_else(|| Error::internal("no document was made of the file"))?;
    Ok(one_shown(app, &caller, &store, document).await?)
}

/// Filter of a list of files.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only files of this state: `in_progress`, `completed`, `failed` or `cancelled`.
    filter: Option<String>,
}

impl Wanted {
    /// Whether no file can be wanted: cancelled ones have left the vector store.
    fn is_empty(&self) -> bool {
        self.filter.as_deref() == Some("cancelled")
    }

    fn status(&self) -> Result<Option<DocumentStatus>> {
        match self.filter.as_deref() {
            None | Some("") => Ok(None),
            // Stands for every state before the end.
            Some("in_progress") => Ok(Some(DocumentStatus::Pending)),
            Some("completed") => Ok(Some(DocumentStatus::Indexed)),
            Some("failed") => Ok(Some(DocumentStatus::Error)),
            Some(_) => Err(Error::invalid(
                "filter_invalid",
                "filter must be in_progress, completed, failed or cancelled",
            )),
        }
    }
}

/// Files of a page.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiVectorStoreFiles)]
pub(super) struct Files {
    object: &'static str,
    data: Vec<Shown>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl Files {
    fn new(data: Vec<Shown>, has_more: bool) -> Self {
        Self {
            object: "list",
            first_id: data.first().map(|f| f.id.clone()),
            last_id: data.last().map(|f| f.id.clone()),
            data,
            has_more,
        }
    }
}

/// Lists the files of a vector store.
#[utoipa::path(get, path = "/openai/v1/vector_stores/{vector_store_id}/files", tag = "compatible", operation_id = "openaiListVectorStoreFiles", security(("key" = [])),
    params(("vector_store_id" = String, Path), Paging, Wanted), responses((status = 200, body = Files), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(store): Path<String>,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Files>, Problem> {
    let (app, part) = (&service.app, paging.part()?);
    if wanted.is_empty() {
        datasets::settings(app, &caller, &store).await?;
        return Ok(Json(Files::new(Vec::new(), false)));
    }
    let status = wanted.status()?;
    let found = files::documents(app, &caller, &store, &part, status).await?;
    let (found, has_more) = page(&part, found);
    let data = all_shown(app, &caller, &store, found).await?;
    Ok(Json(Files::new(data, has_more)))
}

/// Shows a file of a vector store.
#[utoipa::path(get, path = "/openai/v1/vector_stores/{vector_store_id}/files/{file_id}", tag = "compatible", operation_id = "openaiGetVectorStoreFile",
    security(("key" = [])), params(("vector_store_id" = String, Path), ("file_id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
) -> Result<Json<Shown>, Problem> {
    let app = &service.app;
    let document = files::document(app, &caller, &store, &id).await?;
    Ok(one_shown(app, &caller, &store, document).await?)
}

/// New attributes of a file.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiVectorStoreFilePatch)]
pub(super) struct Patch {
    #[schema(value_type = Option<Object>)]
    attributes: Option<Map<String, Value>>,
}

/// Sets the attributes of a file of a vector store.
#[utoipa::path(post, path = "/openai/v1/vector_stores/{vector_store_id}/files/{file_id}", tag = "compatible", operation_id = "openaiUpdateVectorStoreFile",
    security(("key" = [])), params(("vector_store_id" = String, Path), ("file_id" = String, Path)), request_body = Patch,
    responses((status = 200, body = Shown), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
    Body(patch): Body<Patch>,
) -> Result<Json<Shown>, Problem> {
    let app = &service.app;
    let attributes = patch.attributes.unwrap_or_default();
    let document = files::set_attributes(app, &caller, &store, &id, attributes).await?;
    Ok(one_shown(app, &caller, &store, document).await?)
}

/// Removes a file from a vector store; an uploaded file stays.
#[utoipa::path(delete, path = "/openai/v1/vector_stores/{vector_store_id}/files/{file_id}", tag = "compatible", operation_id = "openaiRemoveVectorStoreFile",
    security(("key" = [])), params(("vector_store_id" = String, Path), ("file_id" = String, Path)),
    responses((status = 200, body = Deleted), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
) -> Result<Json<Deleted>, Problem> {
    let app = &service.app;
    let document = files::document(app, &caller, &store, &id).await?;
    documents::delete(app, &caller, &store, &document.id).await?;
    Ok(Json(Deleted {
        id,
        object: "vector_store.file.deleted",
        deleted: true,
    }))
}

/// A piece of text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiTextContent)]
pub(super) struct Text {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        Self { kind: "text", text }
    }
}

/// The text of a file, as it was read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiFileContent)]
pub(super) struct Content {
    object: &'static str,
    data: Vec<Text>,
    has_more: bool,
    next_page: Option<String>,
}

/// Shows the text of a file of a vector store, as it was read.
#[utoipa::path(get, path = "/openai/v1/vector_stores/{vector_store_id}/files/{file_id}/content", tag = "compatible",
    operation_id = "openaiGetVectorStoreFileContent", security(("key" = [])), params(("vector_store_id" = String, Path), ("file_id" = String, Path)),
    responses((status = 200, body = Content), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn content(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
) -> Result<Json<Content>, Problem> {
    let app = &service.app;
    let document = files::document(app, &caller, &store, &id).await?;
    let (_, text) = visible::text(app, &caller, &store, &document.id).await?;
    Ok(Json(Content {
        object: "vector_store.file_content.page",
        data: vec![Text::new(text.slice(0..text.length()))],
        has_more: false,
        next_page: None,
    }))
}

/// Files to add together.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiNewFileBatch)]
pub(super) struct NewBatch {
    /// Files with the same attributes and strategy.
    #[serde(default)]
    file_ids: Option<Vec<String>>,
    /// Files with their own attributes and strategies, instead of `file_ids`.
    #[serde(default)]
    files: Option<Vec<NewFile>>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    attributes: Option<Map<String, Value>>,
    #[serde(default)]
    chunking_strategy: Option<Strategy>,
}

impl NewBatch {
    fn attachments(self) -> Result<Vec<Attachment>> {
        match (self.file_ids, self.files) {
            (Some(ids), None) => {
                let strategy = self.chunking_strategy.unwrap_or_default();
                let mut all = attachments(&ids, &strategy)?;
                for attachment in &mut all {
                    attachment.attributes = self.attributes.clone().unwrap_or_default();
                }
                Ok(all)
            }
            (None, Some(files)) => files.into_iter().map(NewFile::attachment).collect(),
            _ => Err(Error::invalid(
                "files_missing",
                "a batch has either file_ids or files",
            )),
        }
    }
}

/// A batch of files.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiFileBatch)]
pub(super) struct ShownBatch {
    id: String,
    object: &'static str,
    created_at: i64,
    vector_store_id: String,
    /// `in_progress`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    file_counts: FileCounts,
}

fn shown_batch(batch: Batch, documents: &[Document]) -> Result<ShownBatch> {
    let counts = Counts::of(&batch, documents)?;
    let status = if batch.cancelled {
        "cancelled"
    } else if counts.in_progress > 0 {
        "in_progress"
    } else if counts.completed == 0 && counts.failed > 0 {
        "failed"
    } else {
        "completed"
    };
    Ok(ShownBatch {
        id: batch.id,
        object: "vector_store.files_batch",
        created_at: seconds(batch.created_on),
        vector_store_id: batch.dataset_id,
        status,
        file_counts: counts.into(),
    })
}

async fn one_batch(app: &App, caller: &Caller, store: &str, id: &str) -> Result<ShownBatch> {
    let (batch, documents) = files::batch(app, caller, store, id).await?;
    shown_batch(batch, &documents)
}

/// Adds files to a vector store as a batch, at most 500.
#[utoipa::path(post, path = "/openai/v1/vector_stores/{vector_store_id}/file_batches", tag = "compatible", operation_id = "openaiCreateFileBatch",
    security(("key" = [])), params(("vector_store_id" = String, Path)), request_body = NewBatch,
    responses((status = 200, body = ShownBatch), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn add_batch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(store): Path<String>,
    Body(new): Body<NewBatch>,
) -> Result<Json<ShownBatch>, Problem> {
    let app = &service.app;
    let batch = files::add_batch(app, &caller, &store, &new.attachments()?).await?;
    Ok(Json(one_batch(app, &caller, &store, &batch.id).await?))
}

/// Shows a batch of files.
#[utoipa::path(get, path = "/openai/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}", tag = "compatible", operation_id = "openaiGetFileBatch",
    security(("key" = [])), params(("vector_store_id" = String, Path), ("batch_id" = String, Path)),
    responses((status = 200, body = ShownBatch), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn batch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
) -> Result<Json<ShownBatch>, Problem> {
    Ok(Json(one_batch(&service.app, &caller, &store, &id).await?))
}

/// Cancels a batch: files that are not processed yet leave the vector store.
#[utoipa::path(post, path = "/openai/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel", tag = "compatible",
    operation_id = "openaiCancelFileBatch", security(("key" = [])), params(("vector_store_id" = String, Path), ("batch_id" = String, Path)),
    responses((status = 200, body = ShownBatch), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn cancel_batch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
) -> Result<Json<ShownBatch>, Problem> {
    let (batch, documents) = files::cancel_batch(&service.app, &caller, &store, &id).await?;
    Ok(Json(shown_batch(batch, &documents)?))
}

/// Lists the files of a batch.
#[utoipa::path(get, path = "/openai/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", tag = "compatible",
    operation_id = "openaiListFileBatchFiles", security(("key" = [])), params(("vector_store_id" = String, Path), ("batch_id" = String, Path), Paging, Wanted),
    responses((status = 200, body = Files), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn list_batch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((store, id)): Path<(String, String)>,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Files>, Problem> {
    let (app, part) = (&service.app, paging.part()?);
    if wanted.is_empty() {
        files::batch(app, &caller, &store, &id).await?;
        return Ok(Json(Files::new(Vec::new(), false)));
    }
    let wanted = wanted.status()?.and(wanted.filter.as_deref());
    let (_, mut found) = files::batch(app, &caller, &store, &id).await?;
    found.retain(|d| wanted.is_none_or(|wanted| status(d) == wanted));
    let (found, has_more) = page(&part, cut(found, &part));
    let data = all_shown(app, &caller, &store, found).await?;
    Ok(Json(Files::new(data, has_more)))
}

/// Returns the documents of a part, in its order.
fn cut(mut documents: Vec<Document>, part: &Part) -> Vec<Document> {
    documents.retain(|d| part.includes(files::id_of(d)));
    documents.sort_by(|a, b| files::id_of(a).cmp(files::id_of(b)));
    if part.descending {
        documents.reverse();
    }
    documents
}
