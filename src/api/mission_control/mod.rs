//! OpenClaw Mission Control API, `/api/v1`: organisations, boards with tasks, approvals and memory, agents and their gateways.
//!
//! Where Cairn differs from the original, or the contract is silent:
//! - an organisation is a tenant, a user is a person of Cairn with memberships; the id of a member in its organisation is that of its person
//! - people come with a key of Cairn as bearer (a key of a member, or an admin key, which acts for the owner), with a token of an identity provider, or with the session
//!   of a browser; agents with their token in `X-Agent-Token` or as bearer
//! - ids are UUIDs of the same 128 bits as the ids of Cairn's other APIs, which are accepted, too; times are in UTC without a zone
//! - what is in another organisation is not found (404), never forbidden
//! - only failed authentications are limited per address, so a team of agents behind one address is not
//! - provisioning is a durable job; a request waits for it up to 25 seconds, answers 502 when its first attempt fails, and the job goes on
//! - deleting an agent or a board takes effect at once; what is left at the gateway and in the database is removed by jobs
//! - the last owner of an organisation cannot be removed or demoted (422); the first organisation of an installation cannot be deleted (409)
//! - deleting a gateway leaves its boards without one; a lead's move to `in_progress` starts the clock, too; cycle times use the start of work before review
//! - streams carry an `id`, resume by `Last-Event-ID`, and end with their key
//! - `POST /agents/heartbeat` creates an agent only for administrators, who must name a board

mod agents;
mod boards;
mod hooks;
mod operations;
mod people;
mod shapes;
mod streams;
mod tasks;
pub mod wire;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{MissionFault, Problem};

use super::Service;
use super::dialect::{self, Dialect};
use super::document::{Describe, plain};
use super::operation::{Data, Operation, Performed};
use super::tools::ToolSet;
use crate::app::App;
use crate::auth::{Caller, Principal, people as persons};
use crate::boards::agents as board_agents;
use crate::error::{Error, Result};
use crate::records::Kind;

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/api/v1";

/// Returns whether a path belongs to this dialect.
pub(super) fn owns(path: &str) -> bool {
    path.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The tools of agents on boards, with the search over the whole knowledge base.
pub(super) static TOOLS: ToolSet = ToolSet {
    path: "/mcp/boards",
    server: "cairn-boards",
    instructions: "Boards on which agents and people work, and everything that is known. Check in with heartbeat, list boards and tasks, search before you ask, comment while you work, ask for an approval before risky steps, and write what others need into the memory of the board.",
    dialect: &DIALECT,
    chosen: &[
        ("heartbeat", "agentHeartbeat"),
        ("list_boards", "agentListBoards"),
        ("get_board", "agentGetBoard"),
        ("list_tasks", "agentListTasks"),
        ("create_task", "agentCreateTask"),
        ("update_task", "agentUpdateTask"),
        ("list_comments", "agentListComments"),
        ("comment", "agentCreateComment"),
        ("read_memory", "agentListMemory"),
        ("write_memory", "agentCreateMemory"),
        ("list_approvals", "agentListApprovals"),
        ("request_approval", "agentCreateApproval"),
        ("ask_user", "agentAskUser"),
        ("search", "agentSearch"),
        ("search_board", "searchBoard"),
    ],
    aliases: &[],
    fault: |error| Ok(serde_json::to_value(MissionFault::from(error))?),
};

static DIALECT: Dialect = Dialect {
    tag: "mission-control",
    prefix: PREFIX,
    operations: operations::ALL,
    secrets: wire::SECRETS,
    enter: Some(enter),
    limits_failures: true,
    admit: |_, _| Ok(HeaderMap::new()),
    query: dialect::lenient_query,
    needs_json: false,
    key_member: None,
    view: Kind::to_json,
    envelope,
    fault,
    describe: Describe {
        fault: "LLMErrorResponse",
        schemas,
        answer: |_| plain(Type::Object).build().into(),
        parameter,
    },
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    dialect::routes(&DIALECT)
        .routes(routes!(streams::tasks))
        .routes(routes!(streams::approvals))
        .routes(routes!(streams::memory))
        .routes(routes!(streams::board_group_memory))
        .routes(routes!(streams::group_memory))
        .routes(routes!(streams::agents))
        .routes(routes!(streams::comments))
        .routes(routes!(hooks::ingest))
}

/// Moves a person to the organisation in which it acts, and records the sign of life of an agent.
fn enter<'a>(app: &'a App, caller: Caller) -> BoxFuture<'a, Result<Caller>> {
    Box::pin(async move {
        if let Principal::Agent { id, .. } = caller.principal() {
            board_agents::touch(app, caller.tenant(), id).await?;
        }
        persons::in_active_tenant(&app.db, caller).await
    })
}

fn fault(error: Error) -> Response {
    Problem(error).into_response()
}

fn envelope(done: Performed, _: &str) -> Result<Value> {
    match done.data {
        Data::One(value) => Ok(value),
        Data::Counted(items, _) => Ok(Value::Array(items)),
        Data::Many(..) | Data::Page(..) => {
            Err(Error::internal("lists of this dialect are objects"))
        }
    }
}

fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![("LLMErrorResponse".to_owned(), MissionFault::schema())];
    <MissionFault as ToSchema>::schemas(&mut schemas);
    schemas
}

fn parameter(_: &Operation, name: &str) -> Option<Schema> {
    let number = |least, most| {
        let number = plain(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most));
        Some(number.build().into())
    };
    match name {
        "limit" => number(1, 200),
        "offset" => number(0, 10_000_000),
        "per_board_task_limit" => number(0, 100),
        "max_chars" => number(1, 1_000_000),
        "unassigned"
        | "is_chat"
        | "force"
        | "include_self"
        | "include_done"
        | "include_main"
        | "lead_only"
        | "reset_sessions"
        | "rotate_tokens"
        | "force_bootstrap"
        | "overwrite"
        | "gateway_disable_device_pairing"
        | "gateway_allow_insecure_tls" => Some(plain(Type::Boolean).build().into()),
        _ => Some(plain(Type::String).build().into()),
    }
}
