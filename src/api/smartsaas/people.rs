//! People, and what agents push to their user's app.

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::view;
use crate::api::operation::{Call, Data};
use crate::auth::users;
use crate::channel::{self, Push};
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::work::AGENT_TASK;

/// People of a page when only `page` is given.
const PAGE_SIZE: usize = 20;

pub(super) async fn list(call: Call<'_>) -> Result<Data> {
    let (db, clock) = (&call.app.db, &call.app.clock);
    let found = users::list(db, clock, call.caller).await?;
    let number = |name: &str| {
        let number = call.query(name).map(|text| text.trim().parse::<usize>());
        number.transpose().map_err(|_| {
            Error::invalid(
                "parameter_invalid",
                format!("{name} must be a whole number"),
            )
        })
    };
    let (skip, take) = match (number("page")?, number("pageSize")?) {
        (None, None) => (0, found.len()),
        (page, size) => {
            let (page, size) = (page.unwrap_or(1), size.unwrap_or(PAGE_SIZE));
            if page == 0 || !(1..=1000).contains(&size) {
                return Err(Error::invalid(
                    "parameter_invalid",
                    "page must be at least 1, and pageSize between 1 and 1000",
                ));
            }
            ((page - 1).saturating_mul(size), size)
        }
    };
    let shown = found.into_iter().skip(skip).take(take).map(|user| {
        json!({
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "role": user.role,
            "createdAt": user.created_on.rfc3339()
        })
    });
    Ok(Data::One(Value::Array(shown.collect())))
}

/// The conversation of events that are no message.
const EVENTS: &str = "events";

/// A message, a piece of one, the progress of a task, or both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PushRequest {
    message: Option<String>,
    chunk: Option<String>,
    message_id: Option<String>,
    conversation_id: Option<String>,
    done: Option<bool>,
    task_id: Option<String>,
    status: Option<String>,
    summary: Option<String>,
    /// Another event, such as `ping` or `cron`; it becomes a message of the conversation `events`.
    event: Option<String>,
    source: Option<String>,
    payload: Option<Value>,
}

impl PushRequest {
    /// Returns the message that an event becomes.
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

pub(super) async fn push(call: Call<'_>) -> Result<Plan> {
    let body: PushRequest = serde_json::from_value(Value::Object(call.body.clone()))
        .map_err(|e| Error::invalid("body_invalid", e.to_string()))?;
    let speaks = body.message.is_some() || body.chunk.is_some() || body.task_id.is_some();
    let event = body.event_message().filter(|_| !speaks);
    let conversation = event.as_ref().map(|_| EVENTS.to_owned());
    let push = Push {
        conversation_id: body.conversation_id.or(conversation),
        message: body.message.or(event),
        chunk: body.chunk,
        message_id: body.message_id,
        done: body.done.unwrap_or(false),
        task_id: body.task_id,
        status: body.status,
        summary: body.summary,
    };
    channel::push(call.app, call.caller, push, |task| view(&AGENT_TASK, task)).await
}
