//! Arguments of tools.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Reads the arguments of a tool.
///
/// # Errors
/// `arguments_invalid`.
pub(super) fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|e| Error::invalid("arguments_invalid", format!("invalid arguments: {e}")))
}
