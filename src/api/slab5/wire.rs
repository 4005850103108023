//! Envelope, faults and limits of the workspace dialect.

use axum::http::HeaderValue;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::fault;
use crate::api::request_id;
use crate::auth::MODULE_DISABLED;
use crate::error::{Detail, Error, Kind};

/// An error as callers of the workspace see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkspaceFault {
    error: WorkspaceError,
    /// The same as in the error, where every answer has it.
    request_id: String,
}

/// The error itself.
#[derive(Debug, Serialize, ToSchema)]
struct WorkspaceError {
    /// A word of the contract's vocabulary.
    code: &'static str,
    /// Cairn's own code, which says more.
    reason: &'static str,
    /// Sentence for people.
    message: String,
    /// Id to look for in the log.
    request_id: String,
    /// The public description of the code.
    docs_url: String,
    /// The scope that the key lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    required_scope: Option<&'static str>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    field_errors: Vec<FieldError>,
    /// How long to wait before the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    /// The key that was used for another request.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

/// A wrong field.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct FieldError {
    field: String,
    message: String,
}

/// The contract's word for an error.
fn code(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Invalid | Kind::Unprocessable => "validation_failed",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden => match error.detail() {
            Some(Detail::Scope(_)) => "missing_required_scope",
            _ if error.code() == MODULE_DISABLED => "module_not_enabled",
            _ => "forbidden",
        },
        Kind::NotFound => "resource_not_found",
        Kind::WrongMethod => "method_not_allowed",
        Kind::Conflict => match error.detail() {
            Some(Detail::IdempotencyKey(_)) => "idempotency_conflict",
            _ => "conflict",
        },
        Kind::TooLarge => "payload_too_large",
        Kind::TooSlow => "request_timeout",
        Kind::RateLimited => "rate_limited",
        // The one code besides `rate_limited` that clients of the contract try again after.
        Kind::Unavailable | Kind::Upstream | Kind::NoSpace | Kind::Internal => "internal_error",
    }
}

impl From<&Error> for WorkspaceError {
    fn from(error: &Error) -> Self {
        let code = code(error);
        let (mut required_scope, mut field_errors, mut idempotency_key) = (None, Vec::new(), None);
        match error.detail() {
            Some(Detail::Scope(scope)) => required_scope = Some(*scope),
            Some(Detail::Fields(fields)) => {
                field_errors = fields
                    .iter()
                    .cloned()
                    .map(|(field, message)| FieldError { field, message })
                    .collect();
            }
            Some(Detail::IdempotencyKey(key)) => idempotency_key = Some(key.clone()),
            Some(
                Detail::RetryAfter(_)
                | Detail::Hint(_)
                | Detail::Data(_)
                | Detail::PlanLimit { .. },
            )
            | None => {}
        }
        Self {
            code,
            reason: error.code(),
            message: error.public_message().to_owned(),
            request_id: request_id(),
            docs_url: format!("https://docs.slab5.com/api/errors#{code}"),
            required_scope,
            field_errors,
            retry_after_seconds: fault::retry_after(error),
            idempotency_key,
        }
    }
}

impl From<&Error> for WorkspaceFault {
    fn from(error: &Error) -> Self {
        Self {
            error: error.into(),
            request_id: request_id(),
        }
    }
}

crate::api::extract::problem!(|error| WorkspaceFault::from(error));

crate::api::extract::parameters!(Problem);

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

/// A whole number as a header.
pub(super) fn number(n: u64) -> HeaderValue {
    HeaderValue::from(n)
}
