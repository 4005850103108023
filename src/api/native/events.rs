//! Live events (SSE). A stream resumes after `Last-Event-ID`; without it, it starts with the next event.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, Sse};
use futures::Stream;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::native::wire::{Auth, Fault, Problem, Query};
use crate::api::{Service, stream};
use crate::auth::{Caller, Scope};
use crate::events::{Event, Stored};

/// Selects events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
#[into_params(rename_all = "camelCase")]
pub(super) struct EventQuery {
    /// Only events of this dataset.
    dataset_id: Option<String>,
    /// Only these topics, comma-separated.
    topics: Option<String>,
    /// Same as the header `Last-Event-ID`, for clients that cannot set headers.
    last_event_id: Option<i64>,
}

/// Streams events. Keys with `kb:read` receive all events of the tenant; other keys without a dataset restriction receive the events that they caused. `id` is
/// the position to resume after, `event` the topic, `data` the event as JSON.
#[utoipa::path(get, path = "/kb/v1/events", tag = "administration", operation_id = "listenToEvents", security(("key" = [])), params(EventQuery),
    responses((status = 200, body = Event, content_type = "text/event-stream"), (status = "4XX", body = Fault)))]
pub(super) async fn listen(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, Problem> {
    let reads = caller.may(Scope::KbRead);
    if !reads {
        // Without `kb:read`, a key receives only its own events.
        caller.refuse_confined()?;
    }
    let after = stream::resumes(&headers, query.last_event_id)?;
    let topics: Option<Vec<String>> = query
        .topics
        .map(|t| t.split(',').map(|t| t.trim().to_owned()).collect());
    let only = query.dataset_id;
    let wanted = move |caller: &Caller, event: &Stored| {
        let dataset = event.dataset_id.as_deref();
        let is_own = caller.actor_id().is_some() && event.author.as_deref() == caller.actor_id();
        if !topics.as_ref().is_none_or(|t| t.contains(&event.topic))
            || only.as_deref().is_some_and(|id| dataset != Some(id))
        {
            return false;
        }
        if is_own && dataset.is_none() {
            return true;
        }
        caller.may(Scope::KbRead)
            && (event.topic != "agent-task-update" || caller.may(Scope::ProjectsRead))
            // Events without a dataset are only for keys without a dataset restriction.
            && dataset.map_or(caller.datasets().is_none(), |id| caller.sees(id))
    };
    Ok(stream::of_events(&service.app, caller, after, Box::new(wanted)).await?)
}
