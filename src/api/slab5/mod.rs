//! Slab5 workspace API, `/v1`: CRM, support, content, assets, integrations, analytics definitions, business intelligence.
//!
//! The table in `operations` is the dialect: routes, documentation and MCP tools come from it; fields and rules are those of the areas. Where the contract is silent
//! (methods, statuses, errors, most schemas), this holds:
//! - the contract's prefix is lost: it is `/v1`; lists are GET, new things POST (201), changes PATCH, archiving DELETE, a queued test 202; BI archives by DELETE
//! - errors are `{"error": {"code", "message", "request_id", "docs_url", "reason", …}, "request_id"}` with the codes of Slab5's public documentation, and where they
//!   apply `required_scope`, `field_errors`, `retry_after_seconds`, `idempotency_key`; an unknown query parameter is an error, an unknown field of a body is kept
//! - lists go from the newest to the oldest, 25 at a time when `limit` is absent; `query` asks for words of a record, all of them, the last one perhaps begun;
//!   values of filters have no case; `custom_fields` of a body is what `custom_field_key` and `custom_field_value` ask for
//! - ids in the query string that repeat the path must be the same
//! - `Idempotency-Key`, or `idempotency_key` in the body, works for every write, per operation (the header wins); the answer is kept for 24 hours and comes again as
//!   it was, with `Idempotent-Replayed: true`
//! - a module that is not enabled refuses its operations; its records stay
//! - what is linked to a company shows its name as `company_name` unless it has one of its own, and `query` finds it by that name
//! - `getWorkspace` needs any one of its scopes
//! - leads begin as `new`, deals in the stage `new`, invoices as `sent` (no operation could send them), journal entries as `posted`
//! - an amount without a currency is in USD; payments are in the currency of their invoice, and never more than is left to pay
//! - an asset's bytes go by PUT to `upload_url`, which holds an hour, as the address of a download does; both begin with the address that the request came to
//! - `X-RateLimit-Limit`, `-Remaining` and `-Reset` tell how many requests per minute the workspace has; the rate of a key (`ratePerMinute`) holds beside it

mod entries;
mod files;
mod functions;
mod operations;
mod rate;
pub mod wire;

use std::collections::{BTreeMap, HashMap};

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use operations::ALL;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use wire::{Many, One, Problem, WorkspaceFault};

use super::Service;
use super::dialect::{self, Dialect};
use super::document::{self, Describe, one_of, plain};
use super::operation::{Data, Operation, Performed};
use super::tools::ToolSet;
use crate::api::secret::SecretHeader;
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::page;
use crate::records::Kind;
use crate::records::deliveries::DeliveryStatus;
pub(crate) use functions::LEAD_FIELDS;

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/v1/";

static DIALECT: Dialect = Dialect {
    tag: "slab5 workspace",
    prefix: "/v1",
    operations: &[ALL],
    secrets: &[SecretHeader::Bearer],
    enter: None,
    limits_failures: false,
    admit,
    query,
    needs_json: false,
    key_member: Some("idempotency_key"),
    view: Kind::to_json,
    envelope,
    fault,
    describe: Describe {
        fault: "WorkspaceFault",
        schemas,
        answer,
        parameter,
    },
};

/// The workspace for MCP clients: every operation is a tool.
pub(super) static TOOLS: ToolSet = ToolSet {
    path: "/mcp/slab5",
    server: "cairn-workspace",
    instructions: "A workspace with CRM, support, tasks, content, assets, webhooks, analytics definitions and reports. Start with get_workspace, which lists the enabled modules. Writes accept idempotency_key: use a new one for each logical write, and retry with the same key when the outcome is unknown. Page through lists with next_cursor.",
    dialect: &DIALECT,
    chosen: &[],
    // Shorter names under which clients of the contract know some tools.
    aliases: &[
        ("update_entry", "updateCmsEntry"),
        ("create_entry", "createCmsEntry"),
        ("get_workspace_summary", "getWorkspace"),
    ],
    fault: |error| Ok(serde_json::to_value(WorkspaceFault::from(error))?),
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    dialect::routes(&DIALECT).merge(OpenApiRouter::from(files::routes()))
}

fn fault(error: Error) -> Response {
    Problem(error).into_response()
}

fn admit(app: &App, caller: &Caller) -> Result<HeaderMap> {
    Ok(rate::headers(app.rates.take(caller.tenant())?))
}

/// Reads the query string: unknown parameters are errors, and ids that repeat the path must be the same.
fn query(
    operation: &Operation,
    path: &BTreeMap<String, String>,
    given: Vec<(String, String)>,
) -> Result<HashMap<String, String>> {
    let known = document::parameters(operation);
    let mut read: HashMap<String, String> = HashMap::new();
    for (name, value) in given {
        if let Some(of_path) = path.get(&name) {
            if *of_path != value {
                return Err(Error::invalid(
                    "parameter_invalid",
                    format!("{name} must be the same as in the path"),
                ));
            }
            continue;
        }
        let is_ignored = operation.id == "getAsset" && name == "cursor";
        if !is_ignored && !known.contains(&name.as_str()) {
            return Err(Error::invalid(
                "parameter_unknown",
                format!("unknown parameter {name:?}"),
            ));
        }
        if value.contains('\0') || value.len() > 2000 {
            return Err(Error::invalid(
                "parameter_invalid",
                format!("{name} is too long or contains a null character"),
            ));
        }
        if !value.is_empty() {
            read.insert(name, value);
        }
    }
    Ok(read)
}

/// Puts what came of an operation into the envelope, with whole addresses.
fn envelope(done: Performed, base: &str) -> Result<Value> {
    let request_id = done.request_id;
    Ok(match done.data {
        Data::One(data) => serde_json::to_value(One {
            data: addressed(data, base),
            request_id,
        })?,
        Data::Many(list, next) => serde_json::to_value(Many {
            data: list.into_iter().map(|data| addressed(data, base)).collect(),
            request_id,
            next_cursor: next.map(|id| page::encode(&id)),
        })?,
        Data::Page(..) | Data::Counted(..) => {
            return Err(Error::internal("lists of this dialect have cursors"));
        }
    })
}

/// Makes addresses of this service whole.
fn addressed(mut data: Value, base: &str) -> Value {
    for name in ["upload_url", "download_url"] {
        if let Some(path) = data.get(name).and_then(Value::as_str)
            && path.starts_with('/')
        {
            data[name] = json!(format!("{base}{path}"));
        }
    }
    data
}

fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![("WorkspaceFault".to_owned(), WorkspaceFault::schema())];
    <WorkspaceFault as ToSchema>::schemas(&mut schemas);
    schemas
}

fn answer(operation: &Operation) -> Schema {
    plain(Type::Object)
        .property("data", document::data(operation))
        .property("request_id", plain(Type::String).build())
        .required("data")
        .required("request_id")
        .build()
        .into()
}

fn parameter(operation: &Operation, name: &str) -> Option<Schema> {
    match name {
        "limit" => Some(
            plain(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(100))
                .build()
                .into(),
        ),
        "status" if operation.id == "listWebhookDeliveries" => {
            let words: Vec<&str> = DeliveryStatus::ALL.iter().map(|s| s.as_str()).collect();
            Some(one_of(&words))
        }
        _ => None,
    }
}
