//! Messages and tasks that agents have pushed to their user; `/kb/v1/events` streams them live.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Pagination, Paging, Path, Problem, Query};
use crate::channel::{self, Conversation, Message};
use crate::error::Result;
use crate::records::Record;
use crate::records::store::{self, Filter, Numbered};
use crate::work::AGENT_TASK;

/// A conversation of agents with their user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentConversation)]
struct ConversationRecord {
    conversation_id: String,
    messages: i64,
    updated_on: String,
}

impl From<Conversation> for ConversationRecord {
    fn from(c: Conversation) -> Self {
        Self {
            conversation_id: c.conversation_id,
            messages: c.messages,
            updated_on: c.updated_on.rfc3339(),
        }
    }
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentConversations)]
pub(super) struct Conversations {
    data: Vec<ConversationRecord>,
    pagination: Pagination,
}

/// Lists the conversations of agents with their user, by id.
#[utoipa::path(get, path = "/kb/v1/conversations", tag = "administration", operation_id = "listAgentConversations", security(("key" = [])), params(Paging),
    responses((status = 200, body = Conversations), (status = "4XX", body = Fault)))]
pub(super) async fn conversations(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
) -> Result<Json<Conversations>, Problem> {
    let found = channel::conversations(&service.app, &caller, &paging.page(50)?).await?;
    Ok(Json(Conversations {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// A message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentMessage)]
struct MessageRecord {
    message_id: String,
    /// `agent` or `user`.
    role: String,
    content: String,
    /// Whether the message is complete.
    done: bool,
    created_on: String,
    updated_on: String,
}

impl From<Message> for MessageRecord {
    fn from(m: Message) -> Self {
        Self {
            message_id: m.message_id,
            role: m.role,
            content: m.content,
            done: m.done,
            created_on: m.created_on.rfc3339(),
            updated_on: m.updated_on.rfc3339(),
        }
    }
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentMessages)]
pub(super) struct Messages {
    data: Vec<MessageRecord>,
    pagination: Pagination,
}

/// Lists the messages of a conversation, oldest first.
#[utoipa::path(get, path = "/kb/v1/conversations/{conversationId}/messages", tag = "administration", operation_id = "listAgentMessages", security(("key" = [])),
    params(("conversationId" = String, Path), Paging), responses((status = 200, body = Messages), (status = "4XX", body = Fault)))]
pub(super) async fn messages(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(conversation_id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Messages>, Problem> {
    let page = paging.page(100)?;
    let found = channel::messages(&service.app, &caller, &conversation_id, &page).await?;
    Ok(Json(Messages {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// A task of an agent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AgentTask {
    id: String,
    /// The agent's own id of the task.
    task_id: Option<String>,
    summary: String,
    /// `started`, `in_progress` or `done`.
    status: Option<String>,
    created_on: String,
    updated_on: String,
}

impl From<Record> for AgentTask {
    fn from(record: Record) -> Self {
        let body = record.body().unwrap_or_default();
        let summary = body.get("summary").and_then(serde_json::Value::as_str);
        Self {
            summary: summary.map_or_else(|| record.title.clone(), str::to_owned),
            id: record.id,
            task_id: record.external_id,
            status: record.status,
            created_on: record.created_on.rfc3339(),
            updated_on: record.updated_on.rfc3339(),
        }
    }
}

/// Tasks of agents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentTasks {
    data: Vec<AgentTask>,
}

/// Lists the last hundred tasks of agents, most recently changed first.
#[utoipa::path(get, path = "/kb/v1/agent-tasks", tag = "administration", operation_id = "listAgentTasks", security(("key" = [])),
    responses((status = 200, body = AgentTasks), (status = "4XX", body = Fault)))]
pub(super) async fn tasks(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<AgentTasks>, Problem> {
    let page = Numbered {
        limit: 100,
        ..Numbered::default()
    };
    caller.need_unconfined(AGENT_TASK.area.read())?;
    let (tenant_id, filter) = (caller.tenant(), Filter::default());
    let found = store::numbered(&service.app, tenant_id, &[&AGENT_TASK], &filter, &page).await?;
    Ok(Json(AgentTasks {
        data: found.items.into_iter().map(Into::into).collect(),
    }))
}
