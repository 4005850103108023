//! Events as they happen (SSE). A stream resumes after `Last-Event-ID`; without one it starts with what happens from now on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sse, KeepAlive};
use futures::Stream;
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::IntoParams;

use crate::api::Service;
use crate::api::dashboard::wire::{Auth, Fault, Problem, Query};
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::events::{self, Event, Stored};

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

/// Streams events; `id` is the position to resume after, `event` the topic, `data` the event as JSON.
#[utoipa::path(get, path = "/kb/v1/events", tag = "kb", security(("key" = [])), params(EventQuery),
    responses((status = 200, body = Event, content_type = "text/event-stream"), (status = "4XX", body = Fault)))]
pub(super) async fn stream(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<axum::response::Sse<impl Stream<Item = Result<Sse, Infallible>>>, Problem> {
    caller.need(Scope::KbRead)?;
    let header = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .map(str::parse);
    let resume = match header {
        None => query.last_event_id,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            return Err(Error::invalid(
                "last_event_id_invalid",
                "Last-Event-ID must be an id that this stream gave",
            )
            .into());
        }
    };
    // Listening starts before the position is read, so nothing falls between.
    let rings = service.app.bell.listen();
    let after = match resume {
        Some(id) => id,
        None => events::last(&service.app.db).await?,
    };
    let topics = query
        .topics
        .map(|t| t.split(',').map(|t| t.trim().to_owned()).collect());
    let state = Tail {
        service,
        caller,
        dataset_id: query.dataset_id,
        topics,
        after,
        rings,
        ready: VecDeque::new(),
    };
    let stream = futures::stream::unfold(state, |mut tail| async move {
        let event = tail.next().await;
        Some((Ok(event), tail))
    });
    Ok(axum::response::Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

struct Tail {
    service: Service,
    caller: Caller,
    dataset_id: Option<String>,
    topics: Option<Vec<String>>,
    after: i64,
    rings: watch::Receiver<u64>,
    ready: VecDeque<Stored>,
}

impl Tail {
    async fn next(&mut self) -> Sse {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Sse::default()
                    .id(event.seq.to_string())
                    .event(event.topic)
                    .data(event.payload);
            }
            self.rings.mark_unchanged();
            match events::after(&self.service.app.db, self.caller.tenant(), self.after).await {
                Ok(stored) if stored.is_empty() => {
                    // Other processes do not ring: look once a second, too.
                    tokio::select! {
                        _ = self.rings.changed() => {}
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                }
                Ok(stored) => {
                    self.after = stored.last().map_or(self.after, |e| e.seq);
                    let wanted = |e: &Stored| self.wants(e);
                    self.ready = stored.into_iter().filter(wanted).collect();
                }
                Err(error) => {
                    tracing::error!(error = %error, "events cannot be read; trying again");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            }
        }
    }

    fn wants(&self, event: &Stored) -> bool {
        let dataset = event.dataset_id.as_deref();
        self.topics
            .as_ref()
            .is_none_or(|t| t.contains(&event.topic))
            && self
                .dataset_id
                .as_deref()
                .is_none_or(|id| dataset == Some(id))
            && (event.topic != "agent-task-update" || self.caller.may(Scope::ProjectsRead))
            // What is about no dataset is for those who are confined to none.
            && dataset.map_or(self.caller.datasets().is_none(), |id| self.caller.sees(id))
    }
}
