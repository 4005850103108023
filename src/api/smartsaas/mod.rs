//! SmartSaaS Agents API, `/protected`: what agents post and look up for their user.
//!
//! Where the contract is silent (it prints no answers at all), this holds:
//! - a key comes as `Authorization: Bearer <key>` or alone; success is `{"success": true, "data": …}`, 201 when something was made; lists have `pagination`
//!   with `page`, `limit`, `total`, `pages`; errors are `{"success": false, "error": {"code", "reason", "message", "requestId"}}`
//! - every list takes `page` (from 1), `limit` (1 to 100, 10 when absent), `sortBy` (`updatedAt`, `createdAt`, `title`), `sortOrder`
//! - a record is what was sent, with `id` (and `_id`), `kind`, `title`, `status`, `createdBy` (the key), `createdAt`, `updatedAt`, and `documentId`, under which search
//!   knows it; a title may come as `title` or `name`, and is otherwise taken from the text
//! - every record's text is searchable by those who may read its area, in a dataset with the id `<area>~<tenant>`; hits carry `documentMetadata.recordId`
//! - `findings`, `content` and `summary` are kept under their names, and all are searched; one of them, or a title, must be there
//! - research answers with `duplicates`: earlier knowledge that says nearly the same; `supersedes` names a record whose place a new one takes
//! - `dataTags`, `tags` and `sources` may be lists of lists, which are flattened; `dataSchema` lists columns as names, `[name, type]` or `{name, type, required}`; rows
//!   are checked against it, and fields without a column are kept; `company` is ignored, because the key knows it
//! - a folder is named in paths by its id or by its exact title; `/content` answers with the folder, the folders in it and its rows
//! - folders can be changed and removed, and their rows uploaded, queried, exported, changed and removed one by one, under `/data/folders/{id}`
//! - `DELETE /protected/business-plans` takes the id as query parameter `id` or in the body
//! - a project whose status is `completed` or `done` is completed; statuses are otherwise free words
//! - a campaign has `stages` (new, contacted, qualified, proposal, won when it names none), and may bring `leads`, each with `stageIndex` or `stage`; `POST /sales/crm` and
//!   `/sales/funnel` read, and need `sales:read`; pages count from 1, and 0 is the first, too
//! - a stage is named by its name, its position, or the id that it was given with the campaign; a lead is in one campaign at a time
//! - a key hears at `/kb/v1/events` what it pushed itself, also without `kb:read`
//! - not served: the app's own calendar, mail, timeline, competitors, agents' rules and the long-polling bridge
//! - `POST /templates/media` takes a JSON record with a `url`, or text; it is no upload
//! - `company:*` stands for users, data, knowledge, business plans, sales and templates, `organiser:*` for projects, `integrations:*` for data and knowledge, `admin:*` for all
//! - of `message` and `chunk` in one push the chunk follows the message; a push with neither, and without a task, is an error; a task may go back in its status

mod data;
mod knowledge;
mod names;
mod operations;
mod people;
mod projects;
mod records;
mod sales;
mod schemas;
mod streams;
mod templates;
pub mod wire;

use std::collections::{BTreeMap, HashMap};

use axum::http::HeaderMap;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::AgentFault;

use super::Service;
use super::dialect::{self, Dialect};
use super::document::{self, Describe, one_of, plain};
use super::operation::{Answers, Operation};
use crate::error::Result;

/// Prefix of the paths of this dialect.
const PREFIX: &str = "/protected";
/// Precedes [`PREFIX`] for clients whose base address is that of the host.
pub(super) const BEFORE: &str = "/api";

/// Whether a path belongs to this dialect.
pub(super) fn owns(path: &str) -> bool {
    canonical(path).starts_with(PREFIX) || path.starts_with("/api/sales/")
}

/// A route of this dialect as the OpenAPI document has it; other routes stay as they are.
pub(super) fn canonical(route: &str) -> &str {
    match route.strip_prefix(BEFORE) {
        Some(rest) if rest.starts_with(PREFIX) => rest,
        _ => route,
    }
}

const fn dialect(prefix: &'static str, operations: &'static [&'static [Operation]]) -> Dialect {
    Dialect {
        tag: "smartsaas agents",
        prefix,
        operations,
        secrets: wire::SECRETS,
        enter: None,
        limits_failures: false,
        admit: |_, _| Ok(HeaderMap::new()),
        query,
        needs_json: true,
        key_member: None,
        view: wire::view,
        envelope: wire::envelope,
        fault: wire::fault,
        describe: Describe {
            fault: "AgentFault",
            schemas,
            answer,
            parameter,
        },
    }
}

static AGENTS: Dialect = dialect(PREFIX, &[operations::AGENTS]);
static APP: Dialect = dialect(BEFORE, &[operations::APP]);

pub(super) fn routes() -> OpenApiRouter<Service> {
    dialect::routes(&AGENTS)
        .routes(routes!(streams::upload))
        .routes(routes!(streams::export))
}

/// The operations of the app itself that scripts of agents call; they have one address.
pub(super) fn app_routes() -> OpenApiRouter<Service> {
    dialect::routes(&APP)
}

/// Reads the query string: unknown parameters are ignored.
fn query(
    _: &Operation,
    _: &BTreeMap<String, String>,
    given: Vec<(String, String)>,
) -> Result<HashMap<String, String>> {
    Ok(given.into_iter().collect())
}

fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![("AgentFault".to_owned(), AgentFault::schema())];
    <AgentFault as ToSchema>::schemas(&mut schemas);
    schemas
}

fn answer(operation: &Operation) -> Schema {
    let mut object = plain(Type::Object)
        .property("success", plain(Type::Boolean).build())
        .property("data", document::data(operation))
        .required("success")
        .required("data");
    if operation.success == 201 {
        object = object
            .property("message", plain(Type::String).build())
            .property("_id", plain(Type::String).build());
    }
    if matches!(operation.answers, Answers::Many) {
        let mut pages = plain(Type::Object);
        for name in ["page", "limit", "total", "pages"] {
            pages = pages.property(name, plain(Type::Integer).build());
        }
        object = object.property("pagination", pages.build());
    }
    object.build().into()
}

fn parameter(_: &Operation, name: &str) -> Option<Schema> {
    match name {
        "page" | "limit" | "pageSize" => Some(plain(Type::Integer).minimum(Some(1)).build().into()),
        "sortBy" => Some(one_of(&["updatedAt", "createdAt", "title"])),
        "sortOrder" => Some(one_of(&["asc", "desc"])),
        "filterType" => Some(one_of(&["day", "week", "month"])),
        _ => None,
    }
}
