//! Datasets and their documents: creation, deletion, status, text.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::documents_form::{self, UploadForm, Uploaded, Waiting};
use crate::api::leadmetrics::{DatasetSummary, FileRecord};
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::auth::Scope;
use crate::error::Result;
use crate::kb::chunks;
use crate::kb::datasets::{self, ChunkSettings, NewDataset};
use crate::kb::documents::{self, DocumentPatch};
use crate::kb::{Dataset, Document, why};
use crate::page::Page;
use crate::sources;

/// A dataset in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedDataset {
    #[serde(flatten)]
    summary: DatasetSummary,
    /// Total size of its files in bytes; with `activity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
    /// Number of files whose ingestion failed; with `activity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_failed: Option<i64>,
    /// Time of the latest change of a file; with `activity`, absent for an empty dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_on: Option<String>,
}

/// A page of datasets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Datasets {
    data: Vec<ListedDataset>,
    pagination: Pagination,
}

/// Paging, and whether activity is included.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DatasetsQuery {
    /// Maximum number of items, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Adds `sizeBytes`, `filesFailed` and `changedOn`, which requires reading every file's row.
    activity: Option<bool>,
}

/// Lists the datasets that are visible to the key.
#[utoipa::path(get, path = "/kb/v1/datasets", tag = "datasets", operation_id = "kbListDatasets", security(("key" = [])), params(DatasetsQuery),
    responses((status = 200, body = Datasets), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<DatasetsQuery>,
) -> Result<Json<Datasets>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let found = datasets::list(&service.app, &caller, &page).await?;
    let tells = query.activity == Some(true);
    let mut activity = HashMap::new();
    if tells {
        activity = datasets::activity(&service.app, &caller, &found.items).await?;
    }
    let listed = |dataset: &Dataset| {
        let own = activity.get(&dataset.id);
        ListedDataset {
            summary: dataset.into(),
            size_bytes: tells.then(|| own.map_or(0, |a| a.size_bytes)),
            files_failed: tells.then(|| own.map_or(0, |a| a.files_failed)),
            changed_on: own.map(|a| a.changed_on.rfc3339()),
        }
    };
    Ok(Json(Datasets {
        data: found.items.iter().map(listed).collect(),
        pagination: found.next.into(),
    }))
}

/// A dataset to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateDataset {
    name: String,
    description: Option<String>,
    /// Keyword analysis: two-letter code or `none`; `en` when absent.
    language: Option<String>,
    /// 128 to 2048 tokens; 256 when absent.
    chunk_size: Option<i64>,
    /// 0 to 512 tokens and less than `chunkSize`; 32 when absent.
    chunk_overlap: Option<i64>,
    /// `NAIVE`, `MARKDOWN` or `MANUAL`; `MARKDOWN` when absent.
    parse_type: Option<String>,
    /// `NODE_NATIVE` or `DOCLING`; `NODE_NATIVE` when absent.
    parser_engine: Option<String>,
    /// Delimiter of `MANUAL` chunking; a line of three dashes when absent.
    delimiter: Option<String>,
    #[serde(default)]
    allowed_agent_roles: Vec<String>,
}

/// Creates a dataset for the configured embedding model.
#[utoipa::path(post, path = "/kb/v1/datasets", tag = "datasets", operation_id = "createDataset", security(("key" = [])), request_body = CreateDataset,
    responses((status = 201, body = DatasetSummary), (status = "4XX", body = Fault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<CreateDataset>,
) -> Result<(StatusCode, Json<DatasetSummary>), Problem> {
    let chunk_settings = ChunkSettings {
        chunk_size: body.chunk_size,
        chunk_overlap: body.chunk_overlap,
        parse_type: body.parse_type,
        parser_engine: body.parser_engine,
    };
    let new = NewDataset {
        name: body.name,
        description: body.description,
        language: body.language,
        chunk_settings,
        delimiter: body.delimiter,
        allowed_agent_roles: body.allowed_agent_roles,
        calibration: None,
    };
    let dataset = datasets::create(&service.app, &caller, new).await?;
    Ok((StatusCode::CREATED, Json((&dataset).into())))
}

/// Permanently deletes a dataset with all its documents.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}", tag = "datasets", operation_id = "deleteDataset", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    sources::delete_dataset(&service.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A document with all its properties.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DocumentDetail {
    #[serde(flatten)]
    file: FileRecord,
    title: Option<String>,
    url: Option<String>,
    published_at: Option<String>,
    /// SHA-256 of the source file.
    sha256: String,
    progress: i64,
    error_code: Option<String>,
    /// Parser engine that read it.
    engine: Option<String>,
    /// Content that was left out or guessed while parsing.
    warnings: Vec<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    job_id: String,
    /// The caller's own id of the document.
    external_id: Option<String>,
    /// Id of the archive or message that contains it.
    parent_id: Option<String>,
    /// Version: 1, increased each time the content is replaced.
    version: i64,
    /// Other file names under which the same bytes were uploaded and linked.
    aliases: Vec<String>,
    /// Number of the last page with text, if the format has pages and the file was parsed.
    pages: Option<i64>,
    /// Number of chunks in the current ingestion, and how many of them are embedded.
    chunks_total: i64,
    chunks_embedded: i64,
    /// Estimated seconds until all chunks are embedded, from the rate so far.
    eta_seconds: Option<f64>,
    updated_on: String,
}

impl TryFrom<&Document> for DocumentDetail {
    type Error = crate::error::Error;

    fn try_from(d: &Document) -> Result<Self> {
        Ok(Self {
            file: d.into(),
            title: d.title.clone(),
            url: d.url.clone(),
            published_at: d.published_at.clone(),
            sha256: d.blob_hash.clone(),
            progress: d.progress(),
            error_code: d.error_code.clone(),
            engine: d.engine.clone(),
            warnings: serde_json::from_str(&d.warnings)?,
            metadata: d.metadata()?,
            job_id: d.job_id.clone(),
            external_id: d.external_id.clone(),
            parent_id: d.parent_id.clone(),
            version: d.version,
            aliases: serde_json::from_str(&d.aliases)?,
            pages: d.pages,
            chunks_total: d.chunks_total,
            chunks_embedded: d.chunks_embedded,
            // Measured up to the row's last update.
            eta_seconds: d.eta_seconds(d.updated_on),
            updated_on: d.updated_on.rfc3339(),
        })
    }
}

/// A page of documents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Documents {
    data: Vec<DocumentDetail>,
    pagination: Pagination,
}

/// Uploads documents; ingestion continues in the background. Either all files of a request are accepted, or none. The same file again changes nothing, and a file
/// of the same name is a new version.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/documents", tag = "documents", operation_id = "uploadDocuments", security(("key" = [])),
    params(("datasetId" = String, Path), Waiting), request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 202, body = Uploaded), (status = 200, description = "Every file is indexed or has failed.", body = Uploaded), (status = "4XX", body = Fault), (status = 507, description = "The disk is full.", body = Fault)))]
pub(super) async fn upload(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Query(waiting): Query<Waiting>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let into = (dataset_id.as_str(), &waiting);
    Ok(documents_form::accept(&service.app, &caller, into, &headers, body).await?)
}

/// Lists the documents of a dataset.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents", tag = "documents", operation_id = "listDocuments", security(("key" = [])), params(("datasetId" = String, Path), Paging),
    responses((status = 200, body = Documents), (status = "4XX", body = Fault)))]
pub(super) async fn documents(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Documents>, Problem> {
    let found = documents::list(&service.app, &caller, &id, &paging.page(50)?).await?;
    let data = found
        .items
        .iter()
        .map(DocumentDetail::try_from)
        .collect::<Result<_>>()?;
    Ok(Json(Documents {
        data,
        pagination: found.next.into(),
    }))
}

/// Returns a document.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}", tag = "documents", operation_id = "getDocument", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), responses((status = 200, body = DocumentDetail), (status = "4XX", body = Fault)))]
pub(super) async fn document(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Json<DocumentDetail>, Problem> {
    caller.need(Scope::KbRead)?;
    let document = documents::get(&service.app, &caller, &dataset, &id).await?;
    Ok(Json((&document).try_into()?))
}

/// A change of a document.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PatchDocument {
    /// Replaces the metadata.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    enabled: Option<bool>,
    re_ingest: Option<bool>,
}

/// Changes metadata or visibility, or ingests a document again.
#[utoipa::path(patch, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}", tag = "documents", operation_id = "updateDocument", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), request_body = PatchDocument,
    responses((status = 200, body = DocumentDetail), (status = "4XX", body = Fault)))]
pub(super) async fn update_document(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Body(body): Body<PatchDocument>,
) -> Result<Json<DocumentDetail>, Problem> {
    let patch = DocumentPatch {
        enabled: body.enabled,
        re_ingest: body.re_ingest.unwrap_or(false),
        metadata: body.metadata,
    };
    let document = documents::update(&service.app, &caller, &dataset, &id, patch).await?;
    Ok(Json((&document).try_into()?))
}

/// Permanently removes a document, the documents inside it, and their chunks.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}", tag = "documents", operation_id = "deleteDocument", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove_document(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    documents::delete(&service.app, &caller, &dataset, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The search status of a document.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhyRecord {
    /// Whether keyword search can find it.
    by_words: bool,
    /// Whether vector search can find it.
    by_meaning: bool,
    /// Stable code: `searchable`, `disabled`, `chunks_disabled`, `queued`, `waiting_for_retry`, `parsing`, `embedding`, `indexing`, `no_text`, or
    /// the code of the failure.
    code: String,
    /// The reason in one sentence.
    reason: String,
}

/// Explains in one sentence why a document is, or is not, searchable.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/why", tag = "documents", operation_id = "explainDocument", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), responses((status = 200, body = WhyRecord), (status = "4XX", body = Fault)))]
pub(super) async fn why(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Json<WhyRecord>, Problem> {
    let why = why::explain(&service.app, &caller, &dataset, &id).await?;
    Ok(Json(WhyRecord {
        by_words: why.by_words,
        by_meaning: why.by_meaning,
        code: why.code,
        reason: why.reason,
    }))
}

/// Returns the normalised text of a document, to which the ranges of chunks refer.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/text", tag = "documents", operation_id = "getDocumentText", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Fault)))]
pub(super) async fn text(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let text = chunks::text(&service.app, &caller, &dataset, &id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
