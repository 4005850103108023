//! Events as they happen (SSE). A stream resumes after `Last-Event-ID`; without one it starts with what happens from now on.

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

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
#[into_params(rename_all = "camelCase")]
pub(super) struct EventQuery {
    /// Only those of this dataset.
    dataset_id: Option<String>,
    /// Only these topics, separated by commas.
    topics: Option<String>,
    /// The same as the header `Last-Event-ID`, for clients that cannot set headers.
    last_event_id: Option<i64>,
}

/// Streams events: those of the tenant to keys with `kb:read`, and to others that are confined to no dataset what they caused themselves. `id` is the position to resume after, `event` the topic, `data` the event as JSON.
#[utoipa::path(get, path = "/kb/v1/events", tag = "kb", security(("key" = [])), params(EventQuery),
    responses((status = 200, body = Event, content_type = "text/event-stream"), (status = "4XX", body = Fault)))]
pub(super) async fn listen(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, Problem> {
    let reads = caller.may(Scope::KbRead);
    if !reads {
        // An agent that only pushes may hear how that went.
        caller.refuse_confined()?;
    }
    let after = stream::resumes(&headers, query.last_event_id)?;
    let topics: Option<Vec<String>> = query
        .topics
        .map(|t| t.split(',').map(|t| t.trim().to_owned()).collect());
    let only = query.dataset_id;
    let wanted = move |caller: &Caller, event: &Stored| {
        let dataset = event.dataset_id.as_deref();
        let is_own = caller.key_id().is_some() && event.author.as_deref() == caller.key_id();
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
            // What is about no dataset is for those who are confined to none.
            && dataset.map_or(caller.datasets().is_none(), |id| caller.sees(id))
    };
    Ok(stream::of_events(&service.app, caller, after, Box::new(wanted)).await?)
}
