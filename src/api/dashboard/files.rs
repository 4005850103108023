//! Files: upload, status, change, deletion.

use axum::Json;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use cairn_ingest::Input;
use cairn_ingest::parse::detect;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::datasets::FileRecord;
use super::wire::{Auth, Body, Fault, Path, Problem};
use crate::api::Service;
use crate::auth::{Caller, Scope};
use crate::blobs::Stored;
use crate::error::{Error, Result};
use crate::kb::datasets::{self, Cutting};
use crate::kb::documents::{self, DocumentPatch, NewDocument};

pub(super) fn routes() -> OpenApiRouter<Service> {
    // Uploads count their own bytes while they stream.
    let upload = OpenApiRouter::new()
        .routes(routes!(upload))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(remove, update))
        .routes(routes!(status))
        .merge(upload)
}

/// An upload.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
struct UploadForm {
    /// Up to 20 files of 50 MB each, 200 MB in all.
    #[schema(content_media_type = "application/octet-stream")]
    files: Vec<String>,
    /// Overrides the dataset's setting for these files.
    chunk_size: Option<i64>,
    chunk_overlap: Option<i64>,
    parse_type: Option<String>,
    parser_engine: Option<String>,
    /// A JSON object for every file, or a JSON array with one object per file in order. Filterable in search.
    metadata: Option<String>,
}

/// What was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Uploaded {
    uploaded_files: Vec<UploadedFile>,
}

/// An accepted file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UploadedFile {
    id: String,
    file_name: String,
    status: String,
    job_id: String,
}

/// Longest field of a form that is no file, in bytes.
const TEXT_FIELD: usize = 1 << 20;

struct Received {
    file_name: String,
    mime_type: String,
    stored: Stored,
}

/// Uploads files; ingestion goes on in the background. All files of a request are accepted, or none.
#[utoipa::path(post, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/upload", tag = "dashboard", operation_id = "uploadFiles",
    security(("key" = [])), params(("datasetId" = String, Path)), request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 202, body = Uploaded), (status = "4XX", body = Fault)))]
async fn upload(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    headers: HeaderMap,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    caller.need(Scope::KbWrite)?;
    datasets::settings(&service.app, &caller, &dataset_id).await?;
    let limit = service.app.config.upload_batch_mb << 20;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    // The form itself adds some hundred bytes per file.
    if announced.is_some_and(|n| n > limit + (1 << 20)) {
        return Err(batch_too_large(&service).into());
    }
    let form = form.map_err(|e| Error::invalid("form_invalid", e.body_text()))?;
    let (files, cutting, metadata) = receive(&service, &caller, form).await?;
    if files.is_empty() {
        return Err(
            Error::invalid("files_missing", "send at least one file in the field files").into(),
        );
    }
    let metadata = per_file(metadata, files.len())?;
    let new = files
        .into_iter()
        .zip(metadata)
        .map(|(file, metadata)| NewDocument {
            file_name: file.file_name,
            mime_type: file.mime_type,
            stored: file.stored,
            title: None,
            url: None,
            source: "upload",
            metadata,
            cutting: cutting.clone(),
        })
        .collect();
    let added = documents::add(&service.app, &caller, &dataset_id, new).await?;
    let uploaded_files = added
        .into_iter()
        .map(|d| UploadedFile {
            status: d.shown_status().to_owned(),
            id: d.id,
            file_name: d.file_name,
            job_id: d.job_id,
        })
        .collect();
    Ok((StatusCode::ACCEPTED, Json(Uploaded { uploaded_files })))
}

async fn receive(
    service: &Service,
    caller: &Caller,
    mut form: Multipart,
) -> Result<(Vec<Received>, Cutting, Option<Value>)> {
    let app = &service.app;
    let (mut files, mut cutting, mut metadata, mut total) =
        (Vec::new(), Cutting::default(), None, 0_u64);
    while let Some(field) = form.next_field().await.map_err(|e| broken(&e))? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.trim_end_matches("[]") {
            "files" | "file" => {
                if files.len() >= app.config.upload_files {
                    return Err(Error::invalid(
                        "too_many_files",
                        format!(
                            "an upload may have at most {} files",
                            app.config.upload_files
                        ),
                    ));
                }
                let room = (app.config.upload_batch_mb << 20).saturating_sub(total);
                let file = store(service, caller, field, room).await?;
                total += file.stored.size;
                files.push(file);
            }
            "chunkSize" => cutting.chunk_size = Some(number(&name, field).await?),
            "chunkOverlap" => cutting.chunk_overlap = Some(number(&name, field).await?),
            "parseType" => cutting.parse_type = Some(text(field).await?),
            "parserEngine" => cutting.parser_engine = Some(text(field).await?),
            "metadata" => {
                let value = serde_json::from_str(&text(field).await?);
                metadata = Some(value.map_err(|e| {
                    Error::invalid("metadata_invalid", format!("metadata is not JSON: {e}"))
                })?);
            }
            other => {
                return Err(Error::invalid(
                    "field_unknown",
                    format!("the form has no field {other:?}"),
                ));
            }
        }
    }
    Ok((files, cutting, metadata))
}

async fn store(
    service: &Service,
    caller: &Caller,
    field: Field<'_>,
    room: u64,
) -> Result<Received> {
    let app = &service.app;
    let limit = app.config.upload_file_mb << 20;
    let file_name = field
        .file_name()
        .unwrap_or_default()
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_owned();
    if file_name.is_empty() {
        return Err(Error::invalid(
            "file_name_invalid",
            "every file needs a name",
        ));
    }
    let stated = field.content_type().map(ToOwned::to_owned);
    let content = field.map(|piece| piece.map_err(|e| broken(&e)));
    let stored = app
        .blobs
        .put(&app.db, caller.tenant(), content, limit.min(room))
        .await
        .map_err(|error| match error.code() {
            "file_too_large" if room < limit => batch_too_large(service),
            "file_too_large" => Error::invalid(
                "file_too_large",
                format!(
                    "{file_name} is larger than {} MB",
                    app.config.upload_file_mb
                ),
            ),
            _ => error,
        })?;
    if stored.size == 0 {
        return Err(Error::invalid(
            "empty_file",
            format!("{file_name} is empty"),
        ));
    }
    let input = Input {
        file_name: &file_name,
        mime_type: stated.as_deref(),
        bytes: &stored.head,
    };
    let format = detect(&input)
        .map_err(|e| Error::invalid("unsupported_format", format!("{file_name}: {e}")))?;
    Ok(Received {
        mime_type: format.mime_type().to_owned(),
        file_name,
        stored,
    })
}

fn batch_too_large(service: &Service) -> Error {
    Error::too_large(
        "batch_too_large",
        format!(
            "an upload may have at most {} MB in all",
            service.app.config.upload_batch_mb
        ),
    )
}

fn broken(error: &MultipartError) -> Error {
    Error::invalid(
        "form_invalid",
        format!("the form broke off or is malformed: {}", error.body_text()),
    )
}

/// A field that is no file, held in memory and therefore bounded.
async fn text(mut field: Field<'_>) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|e| broken(&e))? {
        if bytes.len() + piece.len() > TEXT_FIELD {
            return Err(Error::too_large(
                "field_too_large",
                "a field that is no file may have at most 1 MB",
            ));
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::invalid("form_invalid", "a field of the form is not UTF-8"))
}

async fn number(name: &str, field: Field<'_>) -> Result<i64> {
    text(field)
        .await?
        .trim()
        .parse()
        .map_err(|_| Error::invalid("number_invalid", format!("{name} must be a whole number")))
}

fn per_file(metadata: Option<Value>, files: usize) -> Result<Vec<Value>> {
    match metadata {
        None => Ok(vec![Value::Object(serde_json::Map::new()); files]),
        Some(Value::Array(list)) if list.len() == files => Ok(list),
        Some(Value::Array(_)) => Err(Error::invalid(
            "metadata_invalid",
            "a metadata array needs one object per file",
        )),
        Some(one) => Ok(vec![one; files]),
    }
}

/// What a deletion removed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    deleted: bool,
    chunks_removed: i64,
}

/// Deletes a file with its chunks and vectors, for good.
#[utoipa::path(delete, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}", tag = "dashboard", operation_id = "deleteFile",
    security(("key" = [])), params(("datasetId" = String, Path), ("fileId" = String, Path)),
    responses((status = 200, body = Deleted), (status = "4XX", body = Fault)))]
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
    /// Whether searches see it.
    enabled: Option<bool>,
    /// Parse and embed it again.
    re_ingest: Option<bool>,
}

/// Switches a file on or off, or ingests it again.
#[utoipa::path(patch, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}", tag = "dashboard", operation_id = "updateFile",
    security(("key" = [])), params(("datasetId" = String, Path), ("fileId" = String, Path)), request_body = FilePatch,
    responses((status = 200, body = FileRecord), (status = "4XX", body = Fault)))]
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

/// How far ingestion is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FileStatus {
    file_id: String,
    status: String,
    /// 0 to 100.
    progress: i64,
    chunks_count: i64,
    error_message: Option<String>,
}

/// Shows how far the ingestion of a file is.
#[utoipa::path(get, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}/status", tag = "dashboard", operation_id = "getFileStatus",
    security(("key" = [])), params(("datasetId" = String, Path), ("fileId" = String, Path)),
    responses((status = 200, body = FileStatus), (status = "4XX", body = Fault)))]
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
