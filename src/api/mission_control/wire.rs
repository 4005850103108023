//! Errors and parameters as the contract has them.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::operation::{Call, Data};
use crate::api::secret::SecretHeader;
use crate::api::{request_id, shape};
use crate::boards::store::Part;
use crate::clock::{Clock, Time};
use crate::error::{Detail, Error, Kind, Result};
use crate::records::body::Body;

/// The token of an agent in `X-Agent-Token`, and every secret as bearer.
pub(super) const SECRETS: &[SecretHeader] = &[SecretHeader::AgentToken, SecretHeader::Bearer];

/// An error as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LLMErrorResponse)]
pub struct MissionFault {
    /// A sentence, an object with `message` and more, or the list of what is wrong in the body.
    detail: Value,
    /// Id of the request, as in the log.
    request_id: String,
    /// Stable `snake_case` code of the error.
    code: &'static str,
    /// Whether a later attempt may succeed.
    retryable: bool,
}

impl From<&Error> for MissionFault {
    fn from(error: &Error) -> Self {
        let detail = match error.detail() {
            Some(Detail::Data(data)) => shape::with_uuids(data.clone()),
            Some(Detail::Fields(fields)) => fields
                .iter()
                .map(|(field, message)| {
                    json!({"type": "value_error", "loc": ["body", field], "msg": message})
                })
                .collect(),
            _ if error.kind() == Kind::Internal => json!("Internal Server Error"),
            _ => json!(error.public_message()),
        };
        Self {
            detail,
            request_id: request_id(),
            code: error.code(),
            retryable: error.is_retryable(),
        }
    }
}

crate::api::extract::problem!(|error| MissionFault::from(error), |error| match (
    error.code(),
    error.kind()
) {
    ("webhook_disabled", _) => Some(StatusCode::GONE),
    ("pack_url_invalid", _) => Some(StatusCode::BAD_REQUEST),
    ("user_is_owner", _) | (_, Kind::Invalid) => Some(StatusCode::UNPROCESSABLE_ENTITY),
    _ => None,
});
crate::api::extract::parameters!(Problem);

/// Returns the row id in a path parameter.
///
/// # Errors
/// `record_not_found` when it is no id.
pub(super) fn id(call: Call<'_>, name: &str) -> Result<String> {
    Clock::read_id(call.path(name)).ok_or_else(|| Error::not_found("record_not_found", "Not Found"))
}

/// Returns the row id in a query parameter.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn optional_id(call: Call<'_>, name: &str) -> Result<Option<String>> {
    let Some(text) = call.query(name) else {
        return Ok(None);
    };
    match Clock::read_id(text) {
        Some(id) => Ok(Some(id)),
        None => {
            let message = "Input should be a valid UUID";
            Err(shape::wrong(
                &["query", name],
                "uuid_parsing",
                message,
                &json!(text),
            ))
        }
    }
}

/// Returns the row id in a query parameter that must be given.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn required_id(call: Call<'_>, name: &str) -> Result<String> {
    let missing = || shape::wrong(&["query", name], "missing", "Field required", &Value::Null);
    optional_id(call, name)?.ok_or_else(missing)
}

/// Returns a whole number in a query parameter.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn number(call: Call<'_>, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
    let Some(text) = call.query(name) else {
        return Ok(None);
    };
    let number = text.trim().parse::<i64>().ok();
    match number.filter(|n| (least..=most).contains(n)) {
        Some(number) => Ok(Some(number)),
        None => {
            let message = format!("Input should be a whole number from {least} to {most}");
            Err(shape::wrong(
                &["query", name],
                "int_parsing",
                &message,
                &json!(text),
            ))
        }
    }
}

/// Returns a flag in a query parameter.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn flag(call: Call<'_>, name: &str) -> Result<Option<bool>> {
    match call.query(name).map(str::to_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "1" | "yes" | "on") => Ok(Some(true)),
        Some("false" | "0" | "no" | "off") => Ok(Some(false)),
        Some(other) => {
            let message = "Input should be a valid boolean";
            Err(shape::wrong(
                &["query", name],
                "bool_parsing",
                message,
                &json!(other),
            ))
        }
    }
}

/// Most items that a list skips.
pub(super) const FAR: i64 = 10_000_000;

/// Returns the part of a list that is asked for.
///
/// # Errors
/// `parameter_invalid`.
pub(super) fn part(call: Call<'_>) -> Result<Part> {
    Ok(Part {
        limit: number(call, "limit", 1, 200)?.unwrap_or(200),
        offset: number(call, "offset", 0, FAR)?.unwrap_or(0),
    })
}

/// Returns a part of a list as data.
pub(super) fn page(items: Vec<Body>, total: i64, part: Part) -> Data {
    let items: Vec<Value> = items.into_iter().map(Value::Object).collect();
    Data::One(json!({"items": items, "total": total, "limit": part.limit, "offset": part.offset}))
}

/// Returns a part of a whole list as data.
pub(super) fn cut(items: Vec<Body>, part: Part) -> Data {
    let total = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let skip = usize::try_from(part.offset).unwrap_or(usize::MAX);
    let take = usize::try_from(part.limit).unwrap_or(0);
    page(
        items.into_iter().skip(skip).take(take).collect(),
        total,
        part,
    )
}

/// Returns a time of a query string: unreadable ones count as absent.
pub(super) fn since(text: Option<&str>) -> Option<Time> {
    text.and_then(shape::time)
}

/// Returns the answer of operations without data.
pub(super) fn ok() -> Value {
    json!({"ok": true})
}
