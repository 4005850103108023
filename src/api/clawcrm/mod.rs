//! ClawCRM agent API, `/api/openclaw`: leads, pipeline, enrichment, campaigns of mails, notes and touchpoints, rules, feedback.
//!
//! Where the contract is silent (it prints few answers and no errors), this holds:
//! - the key comes as `Authorization: Bearer <key>` or `x-api-key: <key>`; keys of sign-ups begin with `rcm_live_`, and any key of Cairn with the scopes works
//! - a write answers `{"success", "id", <entity>, "warnings", "next_steps"}`, 201 when something was made; a list answers its entities under their plural, with `total`,
//!   `limit` (1 to 500, 50 when absent) and `offset`; `warnings` and `next_steps` are on every answer, empty when there is nothing to do
//! - errors are `{"success": false, "error": {"code", "reason", "message", "hint", "field_errors", "upgrade_url", "requestId"}, "warnings", "next_steps"}`
//! - ids of leads are `rp_…`; `lead_…` of the other dialects works, too; leads are those of every dialect
//! - a status is any word; `new`, `contacted`, `qualified`, `unqualified`, `won`, `lost` also set the status that the other dialects see; a tier is any word
//! - a stage is named by its id, its name or its key, as `stage` or `stageId`; a new lead is in the default stage; of a deleted stage leads move to the default
//! - `PUT /leads` needs `id`, `firstName` and `email`, and clears what a caller could have set and did not send; status, stage and enrichment stay when they are absent
//! - `PATCH` merges `crmData` and `customFields`; null removes a member or a field; of two aliases in one body both must be equal
//! - a deleted lead is found by `deletedOnly=true` and by `restore`; `permanent=true` removes it with notes, touchpoints and mails, in both forms of the operation
//! - types of touchpoints are free words; `meeting_booked`, `proposal_viewed`, `cta_clicked`, `quiz_completed`, `video_watched` are counted (`value` 0 to 100: quiz score
//!   or watched percent) and fire rules and campaigns; sources report the same events from outside
//! - rules apply by ascending priority, the first that holds; a move by a rule begins campaigns of `stage_changed`, and never another rule
//! - the limits of mails hold per address; a campaign is left after a reply, a bounce, an unsubscription; the cooldown counts from the last mail of an ended campaign
//! - an address that bounced or unsubscribed is blocked; `/email/blocked` lists blocked addresses and unblocks one
//! - `PATCH /feedback/{id}` takes `acknowledged` from everybody of the workspace, `response` and `status` from the operator of the installation
//! - `POST /email/send-sequence` of older clients is served by campaigns; `GET /api/tracking/proposal` is not served
//! - plans hold for every dialect of a tenant that has one; tenants that the operator has made have none

mod account;
mod campaigns;
mod hooks;
mod leads;
mod operations;
mod pipeline;
pub(super) mod signup;
mod timeline;
pub mod wire;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{ClawFault, Problem};

use super::Service;
use super::dialect::{self, Dialect};
use super::document::{Describe, one_of, plain};
use super::operation::{Data, Operation, Performed};
use super::tools::ToolSet;
use crate::error::{Error, Result};

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/api/openclaw";

/// The tools of sales agents: what they do daily.
pub(super) static TOOLS: ToolSet = ToolSet {
    path: "/mcp/clawcrm",
    server: "cairn-crm",
    instructions: "A CRM for sales agents. Find a lead or create one, log every contact as a touchpoint, and ask next_best_action what to do. Events such as proposal_viewed or meeting_booked as type of a touchpoint fire rules and campaigns. Read warnings and next_steps of every result.",
    dialect: &DIALECT,
    chosen: &[
        ("find_leads", "listCrmLeads"),
        ("get_lead", "getLead"),
        ("create_lead", "createCrmLead"),
        ("update_lead", "patchLead"),
        ("log_touchpoint", "logTouchpoint"),
        ("add_note", "createNote"),
        ("enrich_lead", "enrichLead"),
        ("next_best_action", "recommendPlaybook"),
        ("stalled_leads", "listStalledLeads"),
        ("enroll_in_campaign", "enrollLead"),
    ],
    aliases: &[],
    fault: |error| Ok(serde_json::to_value(ClawFault::from(error))?),
};

/// Returns whether a path belongs to this dialect.
pub(super) fn owns(path: &str) -> bool {
    path.starts_with(PREFIX) || path.starts_with("/hooks/") || path.starts_with("/m/")
}

static DIALECT: Dialect = Dialect {
    tag: "clawcrm",
    prefix: PREFIX,
    operations: &[operations::ALL],
    secrets: wire::SECRETS,
    enter: None,
    limits_failures: false,
    admit: |_, _| Ok(HeaderMap::new()),
    query: dialect::lenient_query,
    needs_json: false,
    key_member: None,
    view: wire::view,
    envelope,
    fault,
    describe: Describe {
        fault: "ClawFault",
        schemas,
        answer,
        parameter,
    },
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    dialect::routes(&DIALECT)
        .routes(routes!(signup::sign_up, signup::instructions))
        .merge(OpenApiRouter::from(hooks::routes()))
}

fn fault(error: Error) -> Response {
    Problem(error).into_response()
}

/// Adds what every answer has.
fn envelope(done: Performed, _: &str) -> Result<Value> {
    let Data::One(mut data) = done.data else {
        return Err(Error::internal("lists of this dialect are objects"));
    };
    for name in ["warnings", "next_steps"] {
        if data.get(name).is_none() {
            data[name] = json!([]);
        }
    }
    Ok(data)
}

fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![("ClawFault".to_owned(), ClawFault::schema())];
    <ClawFault as ToSchema>::schemas(&mut schemas);
    schemas
}

fn answer(_: &Operation) -> Schema {
    let texts = || {
        ArrayBuilder::new()
            .items(plain(Type::String).build())
            .build()
    };
    plain(Type::Object)
        .property("success", plain(Type::Boolean).build())
        .property("id", plain(Type::String).build())
        .property("warnings", texts())
        .property("next_steps", texts())
        .required("warnings")
        .required("next_steps")
        .build()
        .into()
}

fn parameter(operation: &Operation, name: &str) -> Option<Schema> {
    match (operation.id, name) {
        (_, "limit") => Some(
            plain(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(500))
                .build()
                .into(),
        ),
        (_, "offset") => Some(plain(Type::Integer).minimum(Some(0)).build().into()),
        (_, "days") => Some(
            plain(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(3650))
                .build()
                .into(),
        ),
        (_, "deletedOnly" | "permanent" | "pinned") => Some(plain(Type::Boolean).build().into()),
        ("listNotes", "type") => Some(one_of(&wire::NOTE_TYPES)),
        // Fields of records have other names here.
        _ => Some(plain(Type::String).build().into()),
    }
}
