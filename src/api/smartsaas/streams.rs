//! Rows of any number, in and out: their bodies are streams.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::wire::{AgentFault, Auth, One, Path, Problem, Query, one};
use crate::api::{Service, request_id};
use crate::data::folders;
use crate::data::rows::{self, Format, RowsUploaded, Source, Upload};
use crate::error::{Error, Result};
use crate::records::Request;

/// How to take an upload of rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// `json` (an array), `jsonl` or `csv`; by the content type when absent.
    #[param(value_type = Option<String>)]
    format: Option<String>,
    /// Delimiter of CSV: one character, or `tab`; detected in the first line when absent.
    delimiter: Option<String>,
    /// Name of this upload: sent again, it changes nothing and answers as before.
    batch: Option<String>,
    /// `fail` (one faulty row refuses all) or `skip` (faulty rows are left out and told).
    #[param(inline)]
    on_error: Option<OnError>,
    /// Whether to check only.
    #[serde(default)]
    dry_run: bool,
    /// Whether columns of CSV get types by their values when the folder has no columns; otherwise all are text.
    infer_types: Option<bool>,
}

/// Treatment of a faulty row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// It refuses all.
    Fail,
    /// It is left out.
    Skip,
}

/// Declared format of the body.
fn source(query: &UploadQuery, headers: &HeaderMap) -> Result<Source> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let mime = content_type.split(';').next().unwrap_or_default().trim();
    let stated = query.format.as_deref().unwrap_or(match mime {
        "application/json" => "json",
        "application/x-ndjson"
        | "application/jsonl"
        | "application/json-lines"
        | "application/jsonlines"
        | "application/x-jsonlines" => "jsonl",
        "text/csv" | "application/csv" | "text/tab-separated-values" => "csv",
        other => other,
    });
    let delimiter = match query.delimiter.as_deref() {
        None if mime == "text/tab-separated-values" => Some(b'\t'),
        None => None,
        Some("tab" | "\t") => Some(b'\t'),
        Some(one) => match one.as_bytes() {
            [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Some(*byte),
            _ => {
                return Err(Error::invalid(
                    "delimiter_invalid",
                    "delimiter must be one character such as ; or the word tab",
                ));
            }
        },
    };
    match stated {
        "json" => Ok(Source::Json),
        "jsonl" => Ok(Source::Jsonl),
        "csv" => Ok(Source::Csv { delimiter }),
        _ => Err(Error::invalid(
            "format_invalid",
            "the format of the body is unknown; set format to json, jsonl or csv, or send a content type such as text/csv",
        )),
    }
}

/// Appends any number of rows from the body: a JSON array, JSON lines, or CSV with a line of names. All of them, or none (see `onError`).
#[utoipa::path(post, path = "/protected/data/folders/{id}/items/upload", tag = "smartsaas agents", operation_id = "uploadDataItems", security(("key" = [])),
    params(("id" = String, Path), UploadQuery), request_body(content((Vec<Object> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 201, body = One<RowsUploaded>), (status = 200, description = "A dry run, or an upload that was already processed.", body = One<RowsUploaded>),
        (status = "4XX", body = AgentFault), (status = 507, body = AgentFault)))]
pub(super) async fn upload(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<(StatusCode, Json<One<RowsUploaded>>), Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let upload = Upload {
        source: source(&query, &headers)?,
        batch: query.batch,
        skip: query.on_error == Some(OnError::Skip),
        dry_run: query.dry_run,
        infer: query.infer_types.unwrap_or(true),
    };
    let pieces = body.into_data_stream().map(|piece| {
        piece
            .map_err(|e| Error::invalid("body_invalid", format!("the body could not be read: {e}")))
    });
    let request = Request {
        request_id: request_id(),
        ..Request::internal(&caller, "uploadDataItems")
    };
    let done = rows::upload(&service.app, &request, &id, upload, pieces).await?;
    let status = if done.repeated || query.dry_run {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(one(done))))
}

/// Format of an export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// `csv` or `jsonl`; `jsonl` when absent.
    format: Option<String>,
    /// Whether each row comes with its id, position and time.
    #[serde(default)]
    ids: bool,
}

/// All rows of a folder in their order, as a download.
#[utoipa::path(get, path = "/protected/data/folders/{id}/export", tag = "smartsaas agents", operation_id = "exportDataItems", security(("key" = [])), params(("id" = String, Path), ExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), (status = "4XX", body = AgentFault)))]
pub(super) async fn export(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let format: Format = query.format.as_deref().unwrap_or("jsonl").parse()?;
    let (mime, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
    };
    let rows = rows::export(&service.app, &caller, &id, format, query.ids).await?;
    let mut response = axum::body::Body::from_stream(rows).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    let name = format!("attachment; filename=\"{id}.{ending}\"");
    let name = HeaderValue::from_str(&name).map_err(|e| Error::internal(e.to_string()))?;
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
