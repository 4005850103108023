//! Files: upload, status, change, deletion.

use std::time::Duration;

use axum::Json;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use cairn_ingest::Input;
use cairn_ingest::parse::detect;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::datasets::FileRecord;
use super::wire::{Auth, Body, Fault, Path, Problem, Query};
use crate::api::Service;
use crate::auth::{Caller, Scope};
use crate::blobs::Stored;
use crate::error::{Error, Result};
use crate::kb::datasets::{self, Cutting};
use crate::kb::documents::{self, Added, DocumentPatch, Meeting, NewDocument};

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
    /// A JSON array with the caller's own id of each file in order, or the id of a single file. A document with that id is replaced.
    external_ids: Option<String>,
    /// Where the bytes of a file are in the dataset under another name: `skip` it, `link` the name to the document that has them, `replace` that
    /// document, or `keep` both (default).
    on_duplicate: Option<String>,
    /// Whether a file of the same name is a new version of the document that has it (default), or a second document.
    versions: Option<bool>,
}

/// How an upload answers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct Waiting {
    /// `indexed`: answers with 200 once every file, and what is inside it, can be found or has failed; with 202 when that takes too long.
    wait: Option<String>,
    /// Longest wait in seconds, 1 to 300 (default 60).
    timeout_seconds: Option<u64>,
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
    /// `created`, `replaced` (a new version of a document that was there), `unchanged` (the same bytes under the same name), `skipped` or
    /// `linked` (the same bytes under another name).
    outcome: String,
    version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

/// Longest field of a form that is no file, in bytes.
const TEXT_FIELD: usize = 1 << 20;

pub(crate) struct Received {
    pub(crate) file_name: String,
    pub(crate) mime_type: String,
    pub(crate) stored: Stored,
}

/// Uploads files; ingestion goes on in the background. All files of a request are accepted, or none.
#[utoipa::path(post, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/upload", tag = "dashboard", operation_id = "uploadFiles",
    security(("key" = [])), params(("datasetId" = String, Path), Waiting), request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 202, body = Uploaded), (status = 200, description = "Every file is indexed or has failed.", body = Uploaded), (status = "4XX", body = Fault), (status = 507, description = "The disk is full.", body = Fault)))]
async fn upload(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Query(waiting): Query<Waiting>,
    headers: HeaderMap,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    caller.need(Scope::KbWrite)?;
    let app = &service.app;
    datasets::settings(app, &caller, &dataset_id).await?;
    let patience = waiting.patience()?;
    app.room()?;
    let limit = app.config.upload_batch_mb << 20;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    // The form itself adds some hundred bytes per file.
    if announced.is_some_and(|n| n > limit + (1 << 20)) {
        return Err(batch_too_large(&service).into());
    }
    let form = form.map_err(|e| Error::invalid("form_invalid", e.body_text()))?;
    let form = receive(&service, &caller, form).await?;
    if form.files.is_empty() {
        return Err(
            Error::invalid("files_missing", "send at least one file in the field files").into(),
        );
    }
    let metadata = per_file(form.metadata, form.files.len())?;
    let external_ids = external_ids(form.external_ids, form.files.len())?;
    let new = form
        .files
        .into_iter()
        .zip(metadata)
        .zip(external_ids)
        .map(|((file, metadata), external_id)| NewDocument {
            file_name: file.file_name,
            mime_type: file.mime_type,
            stored: file.stored,
            title: None,
            url: None,
            source: "upload",
            metadata,
            cutting: form.cutting.clone(),
            external_id,
        })
        .collect();
    let mut added = documents::add(app, &caller, &dataset_id, new, form.meeting).await?;
    let mut status = StatusCode::ACCEPTED;
    if let Some(patience) = patience {
        let ids: Vec<String> = added.iter().map(|a| a.document.id.clone()).collect();
        if documents::settled(app, &caller, &dataset_id, &ids, patience).await? {
            status = StatusCode::OK;
        }
        let now = documents::by_ids(app, &caller, &dataset_id, &ids).await?;
        for a in &mut added {
            if let Some(document) = now.iter().find(|d| d.id == a.document.id) {
                a.document = document.clone();
            }
        }
    }
    let uploaded_files = added
        .into_iter()
        .map(|Added { document, outcome }| UploadedFile {
            status: document.shown_status().to_owned(),
            id: document.id,
            file_name: document.file_name,
            job_id: document.job_id,
            outcome: outcome.to_owned(),
            version: document.version,
            error_message: document.error_message,
        })
        .collect();
    Ok((status, Json(Uploaded { uploaded_files })))
}

impl Waiting {
    fn patience(&self) -> Result<Option<Duration>> {
        match self.wait.as_deref() {
            None | Some("accepted") => Ok(None),
            Some("indexed") => {
                let seconds = self.timeout_seconds.unwrap_or(60).clamp(1, 300);
                Ok(Some(Duration::from_secs(seconds)))
            }
            Some(_) => Err(Error::invalid(
                "wait_unknown",
                "wait must be indexed, or absent",
            )),
        }
    }
}

/// What an upload holds.
#[derive(Default)]
pub(crate) struct Form {
    pub(crate) files: Vec<Received>,
    pub(crate) cutting: Cutting,
    metadata: Option<Value>,
    external_ids: Option<String>,
    meeting: Meeting,
}

/// One id per file, from a JSON array or, for a single file, the id itself.
fn external_ids(text: Option<String>, files: usize) -> Result<Vec<Option<String>>> {
    let Some(text) = text else {
        return Ok(vec![None; files]);
    };
    let ids: Vec<Option<String>> = match serde_json::from_str::<Vec<Option<String>>>(&text) {
        Ok(ids) => ids,
        Err(_) => vec![Some(text)],
    };
    if ids.len() == files {
        Ok(ids)
    } else {
        Err(Error::invalid(
            "external_ids_invalid",
            "externalIds must be a JSON array with one id (or null) per file",
        ))
    }
}

pub(crate) async fn receive(
    service: &Service,
    caller: &Caller,
    mut form: Multipart,
) -> Result<Form> {
    let app = &service.app;
    let (mut read, mut total) = (Form::default(), 0_u64);
    while let Some(field) = form.next_field().await.map_err(|e| broken(&e))? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.trim_end_matches("[]") {
            "files" | "file" => {
                if read.files.len() >= app.config.upload_files {
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
                read.files.push(file);
            }
            "chunkSize" => read.cutting.chunk_size = Some(number(&name, field).await?),
            "chunkOverlap" => read.cutting.chunk_overlap = Some(number(&name, field).await?),
            "parseType" => read.cutting.parse_type = Some(text(field).await?),
            "parserEngine" => read.cutting.parser_engine = Some(text(field).await?),
            "metadata" => {
                let value = serde_json::from_str(&text(field).await?);
                read.metadata = Some(value.map_err(|e| {
                    Error::invalid("metadata_invalid", format!("metadata is not JSON: {e}"))
                })?);
            }
            "externalIds" | "externalId" => read.external_ids = Some(text(field).await?),
            "onDuplicate" => read.meeting.on_duplicate = text(field).await?.parse()?,
            "versions" => {
                read.meeting.versions = text(field).await?.parse().map_err(|_| {
                    Error::invalid("versions_invalid", "versions must be true or false")
                })?;
            }
            other => {
                return Err(Error::invalid(
                    "field_unknown",
                    format!("the form has no field {other:?}"),
                ));
            }
        }
    }
    Ok(read)
}

/// A file's name as its sender has it, with its folders (`guide/README.md`): files of one name in different folders are different files. Roots, `.` and `..` are left out, and of
/// a path on a Windows drive, which old browsers send, everything but the last part.
fn named(sent: &str) -> String {
    let mut parts = sent
        .split(['/', '\\'])
        .filter(|part| !matches!(*part, "" | "." | ".."));
    let is_drive = sent.as_bytes().get(1) == Some(&b':');
    if is_drive || sent.starts_with("\\\\") {
        parts.next_back().unwrap_or_default().to_owned()
    } else {
        parts.collect::<Vec<_>>().join("/")
    }
}

async fn store(
    service: &Service,
    caller: &Caller,
    field: Field<'_>,
    room: u64,
) -> Result<Received> {
    let app = &service.app;
    let limit = app.config.upload_file_mb << 20;
    let file_name = named(field.file_name().unwrap_or_default());
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
        ocr: app.parser.ocr.as_deref(),
        ..Input::default()
    };
    let format = detect(&input)
        .map_err(|e| Error::invalid("unsupported_format", format!("{file_name}: {e}")))?;
    Ok(Received {
        mime_type: format.mime_type(&file_name).to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_folders_and_lead_nowhere() {
        for (sent, kept) in [
            ("tides.pdf", "tides.pdf"),
            ("guide/README.md", "guide/README.md"),
            ("guide\\README.md", "guide/README.md"),
            ("../../etc/passwd", "etc/passwd"),
            ("/var/./x.txt", "var/x.txt"),
            ("C:\\fakepath\\x.txt", "x.txt"),
            ("\\\\server\\share\\x.txt", "x.txt"),
            ("..", ""),
            ("/", ""),
        ] {
            assert_eq!(named(sent), kept, "{sent}");
        }
    }
}
