//! Chat with the assistant.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::wire::{Auth, Body, DashboardFault, Problem};
use crate::agency::chat::{self, Reply, Said};
use crate::api::Service;
use crate::api::operation::{Call, Data};
use crate::error::Result;

/// What a question is about.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatContext {
    campaign_id: Option<String>,
    activity_id: Option<String>,
}

/// A message to the assistant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatRequest {
    message: String,
    /// The conversation that it continues; a new one when absent.
    conversation_id: Option<String>,
    context: Option<ChatContext>,
}

/// Answers a message from what the caller may read. Event stream: `text_delta`, then `completed` or `error`.
#[utoipa::path(post, path = "/dashboard/v1/chat/message", tag = "leadmetrics dashboard", operation_id = "sendChatMessage", security(("key" = [])), request_body = ChatRequest,
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = DashboardFault)))]
pub(super) async fn send(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<ChatRequest>,
) -> Result<impl IntoResponse, Problem> {
    let context = body.context.unwrap_or_default();
    let said = Said {
        message: body.message,
        conversation_id: body.conversation_id.filter(|id| !id.is_empty()),
        campaign_id: context.campaign_id,
        activity_id: context.activity_id,
    };
    let replies = chat::answer(&service.app, &caller, said).await?;
    let events = replies.map(|reply| {
        let (name, data) = match reply {
            Reply::Text(delta) => ("text_delta", json!({"delta": delta})),
            Reply::Completed {
                conversation_id,
                message_id,
                usage,
                citations,
            } => (
                "completed",
                json!({"conversationId": conversation_id, "messageId": message_id, "inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens, "citations": citations}),
            ),
            Reply::Failed(error) => ("error", json!({"error": error})),
        };
        Ok::<_, Infallible>(SseEvent::default().event(name).data(data.to_string()))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

pub(super) async fn list_conversations(call: Call<'_>) -> Result<Data> {
    let all = chat::list(call.app, call.caller).await?;
    let data: Vec<Value> = all
        .iter()
        .map(|c| json!({"id": format!("conv_{}", c.id), "title": c.title, "lastMessage": c.last_message, "createdOn": c.created_on.rfc3339(), "updatedOn": c.updated_on.rfc3339()}))
        .collect();
    Ok(Data::One(json!({"data": data})))
}

pub(super) async fn get_conversation(call: Call<'_>) -> Result<Data> {
    let (conversation, messages) = chat::get(call.app, call.caller, call.id()).await?;
    let messages = messages.iter().map(|m| {
        let citations: Value = serde_json::from_str(&m.citations)?;
        Ok(json!({"id": format!("msg_{}", m.id), "role": m.role, "content": m.content, "citations": citations, "createdOn": m.created_on.rfc3339()}))
    });
    let messages: Vec<Value> = messages.collect::<Result<_>>()?;
    Ok(Data::One(json!({
        "id": format!("conv_{}", conversation.id),
        "title": conversation.title,
        "messages": messages,
    })))
}

pub(super) async fn delete_conversation(call: Call<'_>) -> Result<Data> {
    chat::delete(call.app, call.caller, call.id()).await?;
    Ok(Data::One(json!({"deleted": true})))
}
