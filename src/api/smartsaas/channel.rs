//! People, and what agents push to their user's app.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::wire::{AgentFault, Auth, Body, One, Problem, Query, View, one};
use crate::api::Service;
use crate::error::{Error, Result};
use crate::records::Kind;
use crate::records::channel::{self, Push};
use crate::records::users;

/// A person of the company.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentUser)]
pub(super) struct UserRecord {
    id: String,
    name: String,
    email: Option<String>,
    /// `owner` or `member`.
    role: String,
    created_at: String,
}

/// Which part of the list of people.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct PeopleQuery {
    /// From 1; all people when neither is given.
    page: Option<usize>,
    /// People of a page, 1 to 1000; 20 when only `page` is given.
    page_size: Option<usize>,
}

/// Lists the people of the key's company, the oldest first.
#[utoipa::path(get, path = "/protected/users", tag = "agents", operation_id = "listUsers", security(("key" = [])), params(PeopleQuery),
    responses((status = 200, body = One<Vec<UserRecord>>), (status = "4XX", body = AgentFault)))]
pub(super) async fn users(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<PeopleQuery>,
) -> Result<Json<One<Vec<UserRecord>>>, Problem> {
    let found = users::list(&service.app, &caller).await?;
    let (skip, take) = match (query.page, query.page_size) {
        (None, None) => (0, found.len()),
        (page, size) => {
            let (page, size) = (page.unwrap_or(1), size.unwrap_or(20));
            if page == 0 || !(1..=1000).contains(&size) {
                let message = "page counts from 1, and pageSize is between 1 and 1000";
                return Err(Error::invalid("parameter_invalid", message).into());
            }
            ((page - 1).saturating_mul(size), size)
        }
    };
    let records = found
        .into_iter()
        .skip(skip)
        .take(take)
        .map(|user| UserRecord {
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role,
            created_at: user.created_on.rfc3339(),
        });
    Ok(one(records.collect()))
}

/// The conversation of events that are no message.
const EVENTS: &str = "events";

/// A message, a piece of one, how far a task is, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentPush)]
pub(super) struct PushRequest {
    message: Option<String>,
    chunk: Option<String>,
    message_id: Option<String>,
    /// `openclaw` when absent.
    conversation_id: Option<String>,
    done: Option<bool>,
    task_id: Option<String>,
    /// `started`, `in_progress` or `done`.
    status: Option<String>,
    summary: Option<String>,
    /// Something else that happened, as `ping` or `cron`; it becomes a message of the conversation `events`.
    event: Option<String>,
    /// Who says so.
    source: Option<String>,
    /// What goes with it.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
}

impl PushRequest {
    /// The message that an event becomes.
    fn event_message(&self) -> Option<String> {
        let event = self
            .event
            .as_deref()
            .map(str::trim)
            .filter(|e| !e.is_empty())?;
        let mut message = event.to_owned();
        if let Some(source) = &self.source {
            message.push_str(&format!(" from {source}"));
        }
        if let Some(payload) = &self.payload {
            message.push_str(&format!(": {payload}"));
        }
        Some(message)
    }
}

/// What a push became.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentPushed)]
pub(super) struct PushedRecord {
    /// Where the message went, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// The task as it is now, when there was one and the key began it or may read tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<View>,
}

/// Pushes a message or a task's progress to the user's app; any key may that is not confined to datasets. The app hears it as `openclaw:message` and `agent-task-update` at `/kb/v1/events`.
#[utoipa::path(post, path = "/protected/openclaw/webhook", tag = "agents", operation_id = "pushMessageOrTaskProgress", security(("key" = [])), request_body = PushRequest,
    responses((status = 200, body = One<PushedRecord>), (status = "4XX", body = AgentFault)))]
pub(super) async fn push(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<PushRequest>,
) -> Result<Json<One<PushedRecord>>, Problem> {
    let speaks = body.message.is_some() || body.chunk.is_some() || body.task_id.is_some();
    let event = body.event_message().filter(|_| !speaks);
    let push = Push {
        conversation_id: body
            .conversation_id
            .or_else(|| event.as_ref().map(|_| EVENTS.to_owned())),
        message: body.message.or(event),
        chunk: body.chunk,
        message_id: body.message_id,
        done: body.done.unwrap_or(false),
        task_id: body.task_id,
        status: body.status,
        summary: body.summary,
    };
    let pushed = channel::push(&service.app, &caller, push).await?;
    let (conversation_id, message_id) = pushed.message.unzip();
    let may_read = caller.may(Kind::AgentTask.area().read());
    Ok(one(PushedRecord {
        conversation_id,
        message_id,
        task: pushed
            .task
            .as_ref()
            .filter(|task| may_read || task.author.as_deref() == caller.key_id())
            .map(View::of)
            .transpose()?,
    }))
}
