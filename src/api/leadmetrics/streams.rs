//! Event streams: the work of an agent on one activity, and what the whole team wants to know.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::stream::BoxStream;
use futures::{StreamExt, stream as futures_stream};
use serde_json::{Value, json};

use super::wire::{Auth, DashboardFault, Path, Problem};
use crate::agency::{ACTIVITY, access, activities, runs, store};
use crate::api::Service;
use crate::api::stream::{self, Tail};
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::events::{Event, Stored};
use crate::llm::Message;
use crate::records::Record;
use crate::records::body::text;

/// A stream of events.
type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<SseEvent, Infallible>>>>;

fn sse(events: BoxStream<'static, Result<SseEvent, Infallible>>) -> Events {
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

/// Returns the name and the data of a stored event of a team.
fn read(stored: &Stored) -> Option<(String, Value)> {
    match serde_json::from_str(&stored.payload) {
        Ok(Event::TeamNotice { event, data, .. } | Event::AgentOutput { event, data, .. }) => {
            Some((event, data))
        }
        Ok(_) => None,
        Err(error) => {
            tracing::error!(%error, "an event cannot be read");
            None
        }
    }
}

/// Streams what the team wants to know: activities that start and end, approvals, budgets. `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/dashboard/v1/events/stream", tag = "leadmetrics dashboard", operation_id = "streamEvents", security(("key" = [])),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = DashboardFault)))]
pub(super) async fn team(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    access::read(&caller)?;
    let after = stream::resumes(&headers, None)?;
    let wanted = |_: &Caller, event: &Stored| event.topic == "team_notice";
    let tail = Tail::open(&service.app, caller, after, Box::new(wanted)).await?;
    let events = futures_stream::unfold(tail, |mut tail| async move {
        loop {
            let stored = tail.next().await?;
            if let Some((event, data)) = read(&stored) {
                let sent = SseEvent::default().id(stored.seq.to_string());
                return Some((Ok(sent.event(event).data(data.to_string())), tail));
            }
        }
    });
    Ok(sse(events.boxed()))
}

/// Streams the work of an agent on an activity: text, calls of tools and their results. The stream of an activity in progress begins with its run and goes on
/// live; `Last-Event-ID` resumes it. It ends with `completed` or `error`. The run of an activity that is over is replayed.
#[utoipa::path(get, path = "/dashboard/v1/activities/{activityId}/stream", tag = "leadmetrics dashboard", operation_id = "streamActivity", security(("key" = [])),
    params(("activityId" = String, Path)), responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = DashboardFault)))]
pub(super) async fn activity(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    access::read(&caller)?;
    let app = &service.app;
    let activity = store::get(app, caller.tenant(), &ACTIVITY, &id).await?;
    let resumes = stream::resumes(&headers, None)?;
    let all = runs::of_activity(&app.db, caller.tenant(), &activity.id).await?;
    let status = activity.status.as_deref().unwrap_or_default();
    let is_over = !matches!(
        status,
        "created" | "assigned" | "in_progress" | "blocked" | "awaiting_subtask"
    );
    if is_over {
        let replayed = replay(app, &activity, all.last()).await?;
        let events = replayed.into_iter().map(|(event, mut data)| {
            data["activityId"] = json!(activity.id);
            Ok(SseEvent::default().event(event).data(data.to_string()))
        });
        let events: Vec<Result<SseEvent, Infallible>> = events.collect();
        return Ok(sse(futures_stream::iter(events).boxed()));
    }
    let after = resumes.or_else(|| all.last().and_then(|run| run.first_event));
    let wanted = {
        let id = activity.id.clone();
        move |_: &Caller, event: &Stored| {
            event.topic == "agent_output" && event.payload.contains(&id)
        }
    };
    let tail = Tail::open(app, caller, after, Box::new(wanted)).await?;
    let about = activity.id;
    let events = futures_stream::unfold(Some((tail, about)), |state| async move {
        let (mut tail, about) = state?;
        loop {
            let stored = tail.next().await?;
            let Some((event, data)) = read(&stored) else {
                continue;
            };
            if data["activityId"] != about.as_str() {
                continue;
            }
            let is_last = matches!(event.as_str(), "completed" | "error");
            let sent = SseEvent::default().id(stored.seq.to_string());
            let sent = sent.event(event).data(data.to_string());
            return Some((Ok(sent), (!is_last).then_some((tail, about))));
        }
    });
    Ok(sse(events.boxed()))
}

/// Returns the events of a run that is over, from its stored steps.
async fn replay(
    app: &App,
    activity: &Record,
    run: Option<&runs::Run>,
) -> Result<Vec<(&'static str, Value)>> {
    let body = activity.body()?;
    let mut events = Vec::new();
    if let Some(run) = run {
        for step in runs::steps(&app.db, &activity.tenant_id, &run.id).await? {
            match step.message()? {
                Some(Message::Assistant { text, calls }) => {
                    if !text.is_empty() {
                        events.push(("text_delta", json!({"delta": text})));
                    }
                    for call in calls {
                        let input = call.parsed().unwrap_or_default();
                        events.push(("tool_call", json!({"name": call.name, "input": input})));
                    }
                }
                Some(Message::ToolResult { name, content, .. }) => {
                    let output: Value = serde_json::from_str(&content).unwrap_or(json!(content));
                    events.push(("tool_result", json!({"name": name, "output": output})));
                }
                Some(Message::User { .. }) | None => {}
            }
        }
    }
    if events.is_empty()
        && let Ok((output, ..)) = activities::output(&body)
    {
        events.push(("text_delta", json!({"delta": output})));
    }
    let status = activity.status.as_deref().unwrap_or_default();
    events.push(if status == "failed" {
        let error = text(&body, "error").unwrap_or("failed");
        ("error", json!({"error": error}))
    } else {
        ("completed", json!({"status": status}))
    });
    Ok(events)
}
