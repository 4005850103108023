//! What a workspace holds: contacts, deals and invoices, tickets, tasks, content, assets, webhooks, definitions, reports. Each thing is a record whose kind is a table of
//! fields ([`spec`]); an operation is a plan ([`rules`] and the files beside it) that is carried out in one transaction with all its traces ([`commit`]).

pub mod assets;
pub mod audit;
pub mod bi;
mod body;
mod check;
pub mod commit;
pub mod content;
mod deliveries;
pub mod export;
mod linked;
mod money;
mod parquet;
pub mod rules;
pub mod spec;
pub mod store;
pub mod webhooks;

use serde_json::{Map, Value};

/// Checks the fields of a new record, without looking at what it points to.
///
/// # Errors
/// `body_invalid`.
pub fn checked(kind: &spec::Kind, body: &Map<String, Value>) -> crate::error::Result<()> {
    check::body(kind, body, true)
}
