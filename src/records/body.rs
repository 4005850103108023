//! Bodies of records, and the errors of rules about them.

use serde_json::{Map, Value};

use crate::error::Error;

/// The fields of a record by their names.
pub type Body = Map<String, Value>;

/// The error of a body that breaks a rule for its fields.
#[must_use]
pub fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("body_invalid", message.into())
}

/// The error of a change that a rule forbids in the present state.
#[must_use]
pub fn forbidden(code: &'static str, message: impl Into<String>) -> Error {
    Error::unprocessable(code, message.into())
}

/// Returns a field that is text.
#[must_use]
pub fn text<'a>(body: &'a Body, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// Returns the texts of a value that is a text or a list of texts.
#[must_use]
pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map_or_else(
        || value.as_str().into_iter().collect(),
        |list| list.iter().filter_map(Value::as_str).collect(),
    )
}

/// Currency of money that names none.
pub const CURRENCY: &str = "USD";
