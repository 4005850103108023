//! Bodies of records, and what every rule says of them.

use serde_json::{Map, Value};

use crate::error::Error;

/// A body.
pub(super) type Body = Map<String, Value>;

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("body_invalid", message.into())
}

/// Something that a rule forbids.
pub(super) fn forbidden(code: &'static str, message: impl Into<String>) -> Error {
    Error::unprocessable(code, message.into())
}

pub(super) fn text<'a>(body: &'a Body, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// Currency of money that names none.
pub(super) const CURRENCY: &str = "USD";
