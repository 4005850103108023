//! Envelope, faults and limits of the workspace dialect.

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::fault::FaultBody;
use crate::api::request_id;

/// An error as callers of the workspace see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkspaceFault {
    error: FaultBody,
    /// The same as in the error, where every answer has it.
    request_id: String,
}

crate::api::extract::problem!(|error| WorkspaceFault {
    error,
    request_id: request_id(),
});

/// The secret of `Authorization: Bearer <key>`.
fn secret(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

crate::api::extract::extractors!(Problem, secret);

/// An answer with one thing.
#[derive(Debug, Serialize)]
pub(super) struct One {
    pub data: Value,
    pub request_id: String,
}

/// An answer with a page of things.
#[derive(Debug, Serialize)]
pub(super) struct Many {
    pub data: Vec<Value>,
    pub request_id: String,
    pub next_cursor: Option<String>,
}

/// An answer that says how much may still be asked in this minute.
pub(super) fn respond(status: u16, body: impl Serialize, more: HeaderMap) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().extend(more);
    response
}

/// A whole number as a header.
pub(super) fn number(n: u64) -> HeaderValue {
    HeaderValue::from(n)
}
