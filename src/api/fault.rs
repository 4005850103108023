//! The dialect-independent part of error responses: status, message and headers. The envelope belongs to the dialect.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::request_id;
use crate::error::{Detail, Error, Kind};

/// An error as returned to callers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultBody {
    /// Error class, such as `NOT_FOUND`.
    code: &'static str,
    /// Stable `snake_case` code of the error.
    reason: String,
    /// Error message for people.
    message: String,
    /// Id of the request, as in the log.
    request_id: String,
}

impl From<&Error> for FaultBody {
    fn from(error: &Error) -> Self {
        Self {
            code: status(error.kind()).1,
            reason: error.code().to_owned(),
            message: error.public_message().to_owned(),
            request_id: request_id(),
        }
    }
}

/// Default of `Retry-After` in seconds.
const RETRY_AFTER: u64 = 5;

/// Returns the seconds after which a request may be retried; `None` when a retry does not help.
pub(crate) fn retry_after(error: &Error) -> Option<u64> {
    let known = match error.detail() {
        Some(Detail::RetryAfter(wait)) => Some(wait.as_millis().div_ceil(1000).max(1)),
        _ => None,
    };
    matches!(error.kind(), Kind::RateLimited | Kind::Unavailable).then(|| {
        known
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(RETRY_AFTER)
    })
}

/// Returns the HTTP status and the class of an error.
pub(crate) fn status(kind: Kind) -> (StatusCode, &'static str) {
    match kind {
        Kind::Invalid => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"),
        Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        Kind::Forbidden => (StatusCode::FORBIDDEN, "FORBIDDEN"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Kind::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        Kind::Conflict => (StatusCode::CONFLICT, "CONFLICT"),
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
        Kind::TooSlow => (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT"),
        Kind::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "UNPROCESSABLE"),
        Kind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        Kind::Upstream => (StatusCode::BAD_GATEWAY, "BAD_GATEWAY"),
        Kind::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "INSUFFICIENT_STORAGE"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
    }
}

/// Returns the response for an error, in a dialect's envelope; internal errors are logged.
pub(crate) fn response(error: &Error, body: impl Serialize) -> Response {
    let (status, _) = status(error.kind());
    if matches!(
        error.kind(),
        Kind::Internal | Kind::Unavailable | Kind::NoSpace
    ) {
        tracing::error!(error = %error, "the request failed because of an internal error");
    }
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(seconds) = retry_after(error) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.kind() == Kind::Unauthorized {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
