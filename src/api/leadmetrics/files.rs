//! Files: upload, status, change, deletion.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::datasets::FileRecord;
use super::wire::{Auth, Body, DashboardFault, Path, Problem, Query};
use crate::api::Service;
use crate::api::documents_form::{self, UploadForm, Uploaded, Waiting};
use crate::auth::Scope;
use crate::kb::documents::{self, DocumentPatch};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(remove, update))
        .routes(routes!(status))
        .routes(routes!(upload))
}

/// Uploads files; ingestion continues in the background. Either all files of a request are accepted, or none.
#[utoipa::path(post, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/upload", tag = "leadmetrics dashboard", operation_id = "uploadFiles",
    security(("key" = [])), params(("datasetId" = String, Path), Waiting), request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 202, body = Uploaded), (status = 200, description = "Every file is indexed or has failed.", body = Uploaded), (status = "4XX", body = DashboardFault), (status = 507, description = "The disk is full.", body = DashboardFault)))]
async fn upload(
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

/// The result of a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    deleted: bool,
    chunks_removed: i64,
}

/// Permanently deletes a file with its chunks and vectors.
#[utoipa::path(delete, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}", tag = "leadmetrics dashboard", operation_id = "deleteFile",
    security(("key" = [])), params(("datasetId" = String, Path), ("fileId" = String, Path)),
    responses((status = 200, body = Deleted), (status = "4XX", body = DashboardFault)))]
async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<Deleted>, Problem> {
    let chunks_removed = documents::delete(&service.app, &caller, &dataset_id, &id).await?;
    Ok(Json(Deleted {
        deleted: true,
        chunks_removed,
    }))
}

/// A change of a file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FilePatch {
    /// Whether the file is included in searches.
    enabled: Option<bool>,
    /// Parses and embeds the file again.
    re_ingest: Option<bool>,
}

/// Enables or disables a file, or ingests it again.
#[utoipa::path(patch, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}", tag = "leadmetrics dashboard", operation_id = "updateFile",
    security(("key" = [])), params(("datasetId" = String, Path), ("fileId" = String, Path)), request_body = FilePatch,
    responses((status = 200, body = FileRecord), (status = "4XX", body = DashboardFault)))]
async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Body(patch): Body<FilePatch>,
) -> Result<Json<FileRecord>, Problem> {
    let patch = DocumentPatch {
        enabled: patch.enabled,
        re_ingest: patch.re_ingest.unwrap_or(false),
        metadata: None,
    };
    let document = documents::update(&service.app, &caller, &dataset_id, &id, patch).await?;
    Ok(Json((&document).into()))
}

/// Progress of ingestion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FileStatus {
    file_id: String,
    status: String,
    /// Progress in percent, 0 to 100.
    progress: i64,
    chunks_count: i64,
    error_message: Option<String>,
}

/// Returns the ingestion progress of a file.
#[utoipa::path(get, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}/status", tag = "leadmetrics dashboard", operation_id = "getFileStatus",
    security(("key" = [])), params(("datasetId" = String, Path), ("fileId" = String, Path)),
    responses((status = 200, body = FileStatus), (status = "4XX", body = DashboardFault)))]
async fn status(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<FileStatus>, Problem> {
    caller.need(Scope::KbRead)?;
    let document = documents::get(&service.app, &caller, &dataset_id, &id).await?;
    Ok(Json(FileStatus {
        status: document.shown_status().to_owned(),
        progress: document.progress(),
        chunks_count: document.chunks_count,
        error_message: document.error_message.clone(),
        file_id: document.id,
    }))
}
