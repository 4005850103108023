//! Datasets: list, detail, configuration, re-index.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wire::{Auth, Body, DashboardFault, Path, Problem};
use crate::api::Service;
use crate::auth::{Caller, Scope};
use crate::error::Result;
use crate::kb::datasets::{self, ChunkSettings, DatasetPatch};
use crate::kb::{Dataset, Document, documents};
use crate::page::{MAX_LIMIT, Page};
use crate::search::vector;

/// A dataset in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatasetSummary {
    id: String,
    name: String,
    description: Option<String>,
    /// `active`, `building` or `error`.
    status: String,
    total_files: i64,
    total_chunks: i64,
    embedding_model: String,
    allowed_agent_roles: Vec<String>,
    created_on: String,
}

impl From<&Dataset> for DatasetSummary {
    fn from(d: &Dataset) -> Self {
        Self {
            id: d.id.clone(),
            name: d.name.clone(),
            description: d.description.clone(),
            status: d.status().to_owned(),
            total_files: d.total_files,
            total_chunks: d.total_chunks,
            embedding_model: d.indexing.embedding_model.clone(),
            allowed_agent_roles: d.roles(),
            created_on: d.created_on.rfc3339(),
        }
    }
}

/// A dataset with its settings and files.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatasetDetail {
    #[serde(flatten)]
    summary: DatasetSummary,
    embedding_provider: String,
    vector_size: i64,
    chunk_size: i64,
    chunk_overlap: i64,
    /// `NAIVE`, `MARKDOWN` or `MANUAL`.
    parse_type: String,
    /// `NODE_NATIVE` or `DOCLING`.
    parser_engine: String,
    /// Language of the keyword analysis: two-letter code or `none`.
    language: String,
    /// Delimiter of `MANUAL` chunking.
    delimiter: String,
    qdrant_collection: String,
    files: Vec<FileRecord>,
    /// Cursor at which `/kb/v1/datasets/{id}/documents` continues `files`.
    files_next_cursor: Option<String>,
}

/// A file of a dataset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileRecord {
    id: String,
    file_name: String,
    mime_type: String,
    file_size_bytes: i64,
    /// `pending`, `parsing`, `embedding`, `indexed`, `error` or `disabled`.
    status: String,
    chunks_count: i64,
    /// `upload`, `website_crawl`, `published_content` or `competitor_research`.
    source: String,
    enabled: bool,
    error_message: Option<String>,
    created_on: String,
}

impl From<&Document> for FileRecord {
    fn from(d: &Document) -> Self {
        Self {
            id: d.id.clone(),
            file_name: d.file_name.clone(),
            mime_type: d.mime_type.clone(),
            file_size_bytes: d.size_bytes,
            status: d.shown_status().to_owned(),
            chunks_count: d.chunks_count,
            source: d.source.to_string(),
            enabled: d.enabled,
            error_message: d.error_message.clone(),
            created_on: d.created_on.rfc3339(),
        }
    }
}

/// The datasets of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DatasetList {
    data: Vec<DatasetSummary>,
}

/// Lists the datasets of the tenant.
#[utoipa::path(get, path = "/dashboard/v1/knowledge-base/datasets", tag = "leadmetrics dashboard", operation_id = "listDatasets", security(("key" = [])),
    responses((status = 200, body = DatasetList), (status = "4XX", body = DashboardFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<DatasetList>, Problem> {
    let page = Page {
        limit: MAX_LIMIT,
        after: String::new(),
    };
    let found = datasets::list(&service.app, &caller, &page).await?;
    Ok(Json(DatasetList {
        data: found.items.iter().map(Into::into).collect(),
    }))
}

/// Returns a dataset with its settings and files.
#[utoipa::path(get, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}", tag = "leadmetrics dashboard", operation_id = "getDataset", security(("key" = [])),
    params(("datasetId" = String, Path)), responses((status = 200, body = DatasetDetail), (status = "4XX", body = DashboardFault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<DatasetDetail>, Problem> {
    caller.need(Scope::KbRead)?;
    detail(&service, &caller, &id).await
}

async fn detail(
    service: &Service,
    caller: &Caller,
    id: &str,
) -> Result<Json<DatasetDetail>, Problem> {
    let dataset = datasets::get(&service.app, caller, id).await?;
    let files = documents::list(
        &service.app,
        caller,
        id,
        &Page {
            limit: MAX_LIMIT,
            after: String::new(),
        },
    )
    .await?;
    Ok(Json(DatasetDetail {
        summary: (&dataset).into(),
        qdrant_collection: vector::collection(&dataset.indexing.embedding_model),
        embedding_provider: dataset.indexing.embedding_provider,
        vector_size: dataset.indexing.vector_size,
        chunk_size: dataset.indexing.chunk_size,
        chunk_overlap: dataset.indexing.chunk_overlap,
        parse_type: dataset.indexing.parse_type,
        parser_engine: dataset.indexing.parser_engine,
        language: dataset.language,
        delimiter: dataset.indexing.delimiter,
        files: files.items.iter().map(Into::into).collect(),
        files_next_cursor: files.next,
    }))
}

/// A change of settings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigPatch {
    name: Option<String>,
    description: Option<String>,
    /// 128 to 2048 tokens.
    chunk_size: Option<i64>,
    /// 0 to 512 tokens and less than `chunkSize`.
    chunk_overlap: Option<i64>,
    parse_type: Option<String>,
    parser_engine: Option<String>,
    allowed_agent_roles: Option<Vec<String>>,
    delimiter: Option<String>,
}

/// Changes settings; existing files are not ingested again.
#[utoipa::path(patch, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/config", tag = "leadmetrics dashboard", operation_id = "updateDatasetConfig",
    security(("key" = [])), params(("datasetId" = String, Path)), request_body = ConfigPatch,
    responses((status = 200, body = DatasetDetail), (status = "4XX", body = DashboardFault)))]
pub(super) async fn update_config(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(patch): Body<ConfigPatch>,
) -> Result<Json<DatasetDetail>, Problem> {
    let chunk_settings = ChunkSettings {
        chunk_size: patch.chunk_size,
        chunk_overlap: patch.chunk_overlap,
        parse_type: patch.parse_type,
        parser_engine: patch.parser_engine,
    };
    let patch = DatasetPatch {
        name: patch.name,
        description: patch.description,
        chunk_settings,
        delimiter: patch.delimiter,
        allowed_agent_roles: patch.allowed_agent_roles,
    };
    // The response includes the files: callers without the right to read them are refused before the change.
    caller.need(Scope::KbRead)?;
    datasets::update(&service.app, &caller, &id, patch).await?;
    detail(&service, &caller, &id).await
}

/// The result of queueing a re-index.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReindexQueued {
    jobs_queued: i64,
    estimated_minutes: i64,
}

/// Queues every file for ingestion with the current settings.
#[utoipa::path(post, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/re-index", tag = "leadmetrics dashboard", operation_id = "reindexDataset",
    security(("key" = [])), params(("datasetId" = String, Path)), responses((status = 202, body = ReindexQueued), (status = "4XX", body = DashboardFault)))]
pub(super) async fn reindex(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<ReindexQueued>), Problem> {
    let queued = documents::reindex(&service.app, &caller, &id).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(ReindexQueued {
            jobs_queued: queued.jobs_queued,
            estimated_minutes: queued.estimated_minutes,
        }),
    ))
}
