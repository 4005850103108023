//! Files, before and beside their vector stores.

use axum::Json;
use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    Auth, Deleted, OpenAiFault, Paging, Path, Problem, Query, nothing_expires, page, seconds,
};
use crate::api::Service;
use crate::api::upload::{Target, check_length, one_file};
use crate::auth::Scope;
use crate::error::Error;
use crate::kb::files::{self, File};

/// A file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiFile)]
pub(super) struct Shown {
    id: String,
    object: &'static str,
    bytes: i64,
    created_at: i64,
    filename: String,
    purpose: String,
    /// Always `processed`: files are processed when they are added to a vector store.
    status: &'static str,
    expires_at: Option<i64>,
    status_details: Option<String>,
}

impl From<File> for Shown {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            object: "file",
            bytes: file.size_bytes,
            created_at: seconds(file.created_on),
            filename: file.file_name,
            purpose: file.purpose,
            status: "processed",
            expires_at: None,
            status_details: None,
        }
    }
}

/// The form of a file.
#[derive(ToSchema)]
#[schema(as = OpenAiFileForm)]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
struct FileForm {
    #[schema(content_media_type = "application/octet-stream")]
    file: String,
    /// `assistants`, or another word, which is kept.
    purpose: String,
}

/// Uploads a file, which can then be added to vector stores.
#[utoipa::path(post, path = "/openai/v1/files", tag = "compatible", operation_id = "openaiUploadFile", security(("key" = [])),
    request_body(content = FileForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Shown), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn upload(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
    body: AxumBody,
) -> Result<Json<Shown>, Problem> {
    caller.need(Scope::KbWrite)?;
    let app = &service.app;
    app.disk.ensure_free_space()?;
    check_length(app, &headers)?;
    let (file, fields) = one_file(app, &headers, body, Target::Blobs(caller.tenant())).await?;
    let file = file.ok_or_else(|| {
        Error::invalid(
            "files_missing",
            "send the content of the file in the field file",
        )
    })?;
    let expires = fields
        .iter()
        .find(|(name, _)| name.starts_with("expires_after"))
        .map(|(_, value)| Value::String(value.clone()));
    nothing_expires(expires.as_ref())?;
    let purpose = fields.get("purpose").map_or("", String::as_str);
    let names = (file.file_name.as_str(), file.mime_type.as_str());
    let added = files::add(app, &caller, names, &file.stored, purpose).await?;
    Ok(Json(added.into()))
}

/// Filter of a list of files.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only files of this purpose.
    purpose: Option<String>,
}

/// Files of a page.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiFiles)]
pub(super) struct Files {
    object: &'static str,
    data: Vec<Shown>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// Lists uploaded files.
#[utoipa::path(get, path = "/openai/v1/files", tag = "compatible", operation_id = "openaiListFiles", security(("key" = [])), params(Paging, Wanted),
    responses((status = 200, body = Files), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Files>, Problem> {
    let part = paging.part_of(10_000, 10_000)?;
    let found = files::list(&service.app, &caller, &part, wanted.purpose.as_deref()).await?;
    let (found, has_more) = page(&part, found);
    Ok(Json(Files {
        object: "list",
        first_id: found.first().map(|f| f.id.clone()),
        last_id: found.last().map(|f| f.id.clone()),
        data: found.into_iter().map(Into::into).collect(),
        has_more,
    }))
}

/// Shows an uploaded file.
#[utoipa::path(get, path = "/openai/v1/files/{file_id}", tag = "compatible", operation_id = "openaiGetFile", security(("key" = [])),
    params(("file_id" = String, Path)), responses((status = 200, body = Shown), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(files::get(&service.app, &caller, &id).await?.into()))
}

/// Deletes a file, also from its vector stores.
#[utoipa::path(delete, path = "/openai/v1/files/{file_id}", tag = "compatible", operation_id = "openaiDeleteFile", security(("key" = [])),
    params(("file_id" = String, Path)), responses((status = 200, body = Deleted), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Problem> {
    files::delete(&service.app, &caller, &id).await?;
    Ok(Json(Deleted {
        id,
        object: "file",
        deleted: true,
    }))
}

/// Downloads a file as it was uploaded.
#[utoipa::path(get, path = "/openai/v1/files/{file_id}/content", tag = "compatible", operation_id = "openaiDownloadFile", security(("key" = [])),
    params(("file_id" = String, Path)), responses((status = 200, content_type = "application/octet-stream", body = String), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn content(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let app = &service.app;
    let file = files::get(app, &caller, &id).await?;
    let bytes = app.blobs.stream(caller.tenant(), &file.blob_hash).await?;
    let mut response = AxumBody::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    // What others have uploaded is never shown as a page of this service.
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size_bytes));
    Ok(response)
}
