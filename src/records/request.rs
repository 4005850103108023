//! Who asks for a write, and what is answered.

use serde_json::Value;

use crate::auth::Caller;

/// An idempotency key, and the hash of the request that it came with.
#[derive(Debug, Clone)]
pub struct Once {
    /// The key, unique per operation and tenant.
    pub key: String,
    /// See [`super::idempotency::hash`].
    pub request_hash: String,
}

/// Who asks for a write, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// Name of the operation.
    pub operation: &'static str,
    /// Id of the request, for the audit; empty for what the service does by itself.
    pub request_id: String,
    /// The idempotency key.
    pub once: Option<Once>,
}

impl<'a> Request<'a> {
    /// Returns a request without an idempotency key that the service makes by itself or a program in the same process makes.
    #[must_use]
    pub fn internal(caller: &'a Caller, operation: &'static str) -> Self {
        Self {
            caller,
            operation,
            request_id: String::new(),
            once: None,
        }
    }
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The data.
    pub data: Value,
    /// The earlier request that did the write, when this one repeats it under its idempotency key.
    pub replayed: Option<String>,
}
