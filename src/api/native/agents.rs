//! Agents of the tenant: programs with a name, a role and a token of their own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::roles::StatusName;
use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::auth::Scope;
use crate::auth::agents::{self, Agent, NewAgent};
use crate::clock::Time;
use crate::error::{Error, Result as Outcome};
use crate::kb::datasets;

/// An agent without its token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentRecord {
    id: String,
    name: String,
    /// Its kind, a free text.
    role: String,
    /// The token and the keys of an inactive agent are refused.
    status: StatusName,
    scopes: Vec<String>,
    /// The first characters of the token.
    hint: String,
    /// To the minute.
    last_used_on: Option<String>,
    created_on: String,
}

fn record(agent: Agent) -> Outcome<AgentRecord> {
    Ok(AgentRecord {
        scopes: serde_json::from_str(&agent.scopes).map_err(Error::from)?,
        id: agent.id,
        name: agent.name,
        role: agent.role,
        status: agent.status.into(),
        hint: agent.hint,
        last_used_on: agent.last_used_on.map(Time::rfc3339),
        created_on: agent.created_on.rfc3339(),
    })
}

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Agents {
    data: Vec<AgentRecord>,
    pagination: Pagination,
}

/// Lists the agents of the tenant, the oldest first.
#[utoipa::path(get, path = "/kb/v1/agents", tag = "administration", operation_id = "kbListAgents", security(("key" = [])), params(Paging),
    responses((status = 200, body = Agents), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
) -> Result<Json<Agents>, Problem> {
    let found = agents::list(&service.app.db, &caller, &paging.page(50)?).await?;
    let data: Outcome<Vec<AgentRecord>> = found.items.into_iter().map(record).collect();
    Ok(Json(Agents {
        data: data?,
        pagination: found.next.into(),
    }))
}

/// An agent to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateAgent {
    /// Unique name, 1 to 200 characters.
    name: String,
    /// Its kind, a free text such as `researcher`; 1 to 200 characters.
    role: String,
    /// Scopes of its token, a subset of the caller's.
    scopes: Vec<String>,
    /// Restricts the token to these datasets.
    dataset_ids: Option<Vec<String>>,
}

/// An agent with its token, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentWithToken {
    #[serde(flatten)]
    record: AgentRecord,
    /// To be sent as `Authorization: Bearer` or `X-Agent-Token`.
    token: String,
}

/// Creates an agent with a token, which is limited as a key of the caller would be.
#[utoipa::path(post, path = "/kb/v1/agents", tag = "administration", operation_id = "kbCreateAgent", security(("key" = [])), request_body = CreateAgent,
    responses((status = 201, body = AgentWithToken), (status = "4XX", body = Fault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<CreateAgent>,
) -> Result<(StatusCode, Json<AgentWithToken>), Problem> {
    caller.need_unconfined(Scope::KeysManage)?;
    for id in body.dataset_ids.iter().flatten() {
        datasets::settings(&service.app, &caller, id).await?;
    }
    let new = NewAgent {
        name: body.name,
        role: body.role,
        scopes: body.scopes,
        dataset_ids: body.dataset_ids,
    };
    let (db, clock) = (&service.app.db, &service.app.clock);
    let (agent, token) = agents::create(db, clock, &caller, new).await?;
    let record = record(agent)?;
    Ok((StatusCode::CREATED, Json(AgentWithToken { record, token })))
}

/// Changes of an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeAgent {
    status: StatusName,
}

/// Activates or deactivates an agent, effective at once.
#[utoipa::path(patch, path = "/kb/v1/agents/{agentId}", tag = "administration", operation_id = "kbUpdateAgent", security(("key" = [])),
    params(("agentId" = String, Path)), request_body = ChangeAgent,
    responses((status = 200, body = AgentRecord), (status = "4XX", body = Fault)))]
pub(super) async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<ChangeAgent>,
) -> Result<Json<AgentRecord>, Problem> {
    let agent = agents::set_status(
        &service.app.db,
        &service.app.clock,
        &caller,
        &id,
        body.status.into(),
    )
    .await?;
    Ok(Json(record(agent)?))
}

/// Replaces the token of an agent; the old one is refused at once.
#[utoipa::path(post, path = "/kb/v1/agents/{agentId}/token", tag = "administration", operation_id = "rotateAgentToken", security(("key" = [])),
    params(("agentId" = String, Path)), responses((status = 201, body = AgentWithToken), (status = "4XX", body = Fault)))]
pub(super) async fn rotate(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<AgentWithToken>), Problem> {
    let (db, clock) = (&service.app.db, &service.app.clock);
    let (agent, token) = agents::rotate(db, clock, &caller, &id).await?;
    let record = record(agent)?;
    Ok((StatusCode::CREATED, Json(AgentWithToken { record, token })))
}

/// Removes an agent: its token and its keys are revoked.
#[utoipa::path(delete, path = "/kb/v1/agents/{agentId}", tag = "administration", operation_id = "kbDeleteAgent", security(("key" = [])),
    params(("agentId" = String, Path)), responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    agents::remove(&service.app.db, &service.app.clock, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
