//! Admission control. Bounded are the number of requests in progress, the duration of each, the transfer rate of bodies, the memory of all bodies together, and
//! the number of bodies sent without a key.
//!
//! A request counts as in progress only once its body has arrived, so slow clients do not block others. The permit is acquired at the end of the body,
//! whichever
//! reader consumes it (an extractor, the library of the Model Context Protocol). Probes are never delayed.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

use super::extract::session_secret;
use super::secret;
use super::server::ClientAddress;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::{Counted, Counts, Full};

/// Longest time a request waits for a permit.
const QUEUE: Duration = Duration::from_secs(10);
/// Grace period before the minimum transfer rate of a body applies.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes of a body that cost one additional permit.
const WEIGHT: u64 = 32 << 10;

/// Probe routes, which bypass all limits.
pub(super) const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// Routes with endless responses.
pub(super) const STREAMS: [&str; 11] = [
    "/dashboard/v1/chat/message",
    "/dashboard/v1/activities/{activityId}/stream",
    "/dashboard/v1/events/stream",
    "/kb/v1/events",
    "/api/v1/activity/task-comments/stream",
    "/api/v1/agents/stream",
    "/api/v1/board-groups/{group_id}/memory/stream",
    "/api/v1/boards/{board_id}/approvals/stream",
    "/api/v1/boards/{board_id}/group-memory/stream",
    "/api/v1/boards/{board_id}/memory/stream",
    "/api/v1/boards/{board_id}/tasks/stream",
];
/// Routes whose bodies are streamed to disk.
pub(super) const UPLOADS: [&str; 10] = [
    "/dashboard/v1/skills",
    "/dashboard/v1/skills/{skillId}",
    "/dashboard/v1/paid-ads/import",
    "/dashboard/v1/leads/import",
    "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/upload",
    "/kb/v1/datasets/{datasetId}/documents",
    "/openai/v1/files",
    "/kb/v1/datasets/{datasetId}/preview/upload",
    "/protected/data/folders/{id}/items/upload",
    "/v1/files/{tenant}/{id}",
];

/// Limits that apply to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// No limits.
    Probe,
    /// The number of streams, which the handler checks.
    Stream,
    /// The number of uploads and their transfer rate.
    Upload,
    /// All limits.
    Ordinary,
}

impl Class {
    fn of(method: &Method, route: &str) -> Self {
        let route = super::smartsaas::canonical(route);
        if PROBES.contains(&route) {
            Self::Probe
        } else if STREAMS.contains(&route) {
            Self::Stream
        } else if UPLOADS.contains(&route) && !matches!(*method, Method::GET | Method::DELETE) {
            Self::Upload
        } else {
            Self::Ordinary
        }
    }
}

/// Limits and their semaphores.
#[derive(Debug)]
pub(super) struct Admission {
    requests: Arc<Semaphore>,
    concurrency: usize,
    uploads: Arc<Semaphore>,
    /// Memory of buffered bodies, in KiB.
    memory: Arc<Semaphore>,
    anonymous: Counts<IpAddr>,
    anonymous_bodies: usize,
    body_rate: u64,
    request_time: Duration,
    upload_time: Duration,
}

impl Admission {
    pub(super) fn new(config: &Config) -> Self {
        let concurrency = config.concurrency.min(Semaphore::MAX_PERMITS);
        Self {
            requests: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            uploads: Arc::new(Semaphore::new(config.uploads.min(Semaphore::MAX_PERMITS))),
            memory: Arc::new(Semaphore::new(
                (config.body_memory_mb << 10).min(Semaphore::MAX_PERMITS),
            )),
            anonymous: Counts::default(),
            anonymous_bodies: config.anonymous_bodies,
            body_rate: config.body_rate,
            request_time: Duration::from_secs(config.request_seconds),
            upload_time: Duration::from_secs(config.upload_seconds),
        }
    }

    /// Acquires the permits of a request with a body of this size.
    async fn turn(&self, body: u64) -> Result<OwnedSemaphorePermit> {
        let weight = 1 + usize::try_from(body / WEIGHT).unwrap_or(usize::MAX);
        let weight = u32::try_from(weight.min(self.concurrency)).unwrap_or(u32::MAX);
        wait(Arc::clone(&self.requests).acquire_many_owned(weight)).await
    }

    /// Counts a body that is sent without a key.
    fn anonymous(&self, request: &Request) -> Result<Counted<IpAddr>> {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let address = request.extensions().get::<ClientAddress>();
        let address = address.map_or(nowhere, |client| client.0);
        let own = self.anonymous_bodies.div_ceil(4);
        let counted = self.anonymous.open(&address, self.anonymous_bodies, own);
        counted.map_err(|full| match full {
            Full::Key => {
                Error::rate_limited("too many simultaneous uploads without a key from this address")
            }
            Full::All => busy(),
        })
    }
}

async fn wait(
    permit: impl Future<Output = std::result::Result<OwnedSemaphorePermit, tokio::sync::AcquireError>>,
) -> Result<OwnedSemaphorePermit> {
    match tokio::time::timeout(QUEUE, permit).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(closed)) => Err(Error::internal("a limit is unavailable").with_source(closed)),
        Err(_) => Err(busy()),
    }
}

fn busy() -> Error {
    Error::unavailable("too_busy", "the server is overloaded; try again")
}

/// State of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not yet read.
    Unread,
    /// Being read.
    Arriving,
    /// Completely read, at this time.
    Arrived(Instant),
}

/// State shared by the request's body and the middleware.
#[derive(Debug)]
struct Ticket {
    phase: watch::Sender<Phase>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    turn: Option<OwnedSemaphorePermit>,
    memory: Option<OwnedSemaphorePermit>,
    failure: Option<Error>,
}

impl Ticket {
    fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Unread),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the request has taken longer than `time`, measured from its start or, if it has a body, from the end of that.
    async fn overdue(&self, time: Duration) {
        let began = Instant::now();
        let mut phases = self.phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let until = match phase {
                Phase::Unread => Some(began + time),
                Phase::Arriving => None,
                Phase::Arrived(at) => Some(at + time),
            };
            let passed = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                // `self` owns the sender, so `changed` cannot fail.
                _ = phases.changed() => {}
            }
        }
    }
}

/// A body with a minimum transfer rate. Unless it is streamed to disk, it counts towards the memory of bodies and acquires the request's permits at its end.
struct Arriving {
    body: Body,
    ticket: Arc<Ticket>,
    admission: Arc<Admission>,
    /// Whether it counts towards the memory and acquires permits.
    buffered: bool,
    received: u64,
    began: Option<Instant>,
    late: Pin<Box<Sleep>>,
    turn: Option<BoxFuture<'static, Result<OwnedSemaphorePermit>>>,
    ended: bool,
    _anonymous: Option<Counted<IpAddr>>,
}

impl Arriving {
    fn fail(
        &mut self,
        error: Error,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        self.ended = true;
        let told = axum::Error::new(error.to_string());
        self.ticket.held().failure = Some(error);
        Poll::Ready(Some(Err(told)))
    }

    /// Counts received bytes towards the memory of bodies.
    fn hold(&mut self, bytes: usize) -> Result<()> {
        let before = self.received.div_ceil(1024);
        self.received += bytes as u64;
        if !self.buffered {
            return Ok(());
        }
        let more = u32::try_from(self.received.div_ceil(1024) - before).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.admission.memory)
            .try_acquire_many_owned(more)
            .map_err(|_| busy())?;
        let mut held = self.ticket.held();
        match &mut held.memory {
            Some(memory) => memory.merge(more),
            None => held.memory = Some(more),
        }
        Ok(())
    }

    /// Returns the time at which the body is too slow if nothing more arrives.
    fn deadline(&self, began: Instant) -> Option<Instant> {
        let rate = self.admission.body_rate;
        (rate > 0).then(|| began + GRACE + Duration::from_secs(self.received / rate))
    }
}

/// Bytes and time for which an unread body is drained: a client that is still sending when its connection is closed may lose the response.
const UNWANTED: u64 = 4 << 20;
const LINGER: Duration = Duration::from_secs(2);

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.ended || self.began.is_none() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut rest = std::mem::take(&mut self.body).into_data_stream();
        runtime.spawn(async move {
            let read = async {
                let mut left = UNWANTED;
                while let Some(Ok(piece)) = rest.next().await {
                    left = left.saturating_sub(piece.len() as u64);
                    if left == 0 {
                        break;
                    }
                }
            };
            // A body that takes longer ends with the connection.
            let _ = tokio::time::timeout(LINGER, read).await;
        });
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let began = *this.began.get_or_insert_with(|| {
            this.ticket.phase.send_replace(Phase::Arriving);
            Instant::now()
        });
        if this.turn.is_none() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    return match this.hold(bytes) {
                        Ok(()) => Poll::Ready(Some(Ok(frame))),
                        Err(error) => this.fail(error),
                    };
                }
                Poll::Ready(Some(Err(error))) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    this.ticket
                        .phase
                        .send_replace(Phase::Arrived(Instant::now()));
                    if !this.buffered {
                        this.ended = true;
                        return Poll::Ready(None);
                    }
                    let (admission, bytes) = (Arc::clone(&this.admission), this.received);
                    this.turn = Some(async move { admission.turn(bytes).await }.boxed());
                }
                Poll::Pending => {
                    let Some(deadline) = this.deadline(began) else {
                        return Poll::Pending;
                    };
                    if this.late.deadline() != deadline {
                        this.late.as_mut().reset(deadline);
                    }
                    if this.late.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    let rate = this.admission.body_rate;
                    let message = format!("the body arrived at less than {rate} bytes per second");
                    return this.fail(Error::too_slow("body_too_slow", message));
                }
            }
        }
        let Some(turn) = &mut this.turn else {
            return Poll::Ready(None);
        };
        match turn.poll_unpin(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(permit)) => {
                this.ended = true;
                this.ticket.held().turn = Some(permit);
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => this.fail(error),
        }
    }

    fn is_end_stream(&self) -> bool {
        // Readers must poll for the end: the permits are acquired there.
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|l| l != "0")
}

fn is_anonymous(headers: &HeaderMap) -> bool {
    !secret::is_present(headers) && session_secret(headers).is_none()
}

/// Admits a request once its permits are available, and ends it when it takes too long.
pub(super) async fn admit(
    State(admission): State<Arc<Admission>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str)
        .to_owned();
    match Class::of(request.method(), &route) {
        Class::Probe | Class::Stream => next.run(request).await,
        Class::Upload => {
            let uploads = Arc::clone(&admission.uploads);
            let _turn = match wait(uploads.acquire_owned()).await {
                Ok(turn) => turn,
                Err(error) => return super::refuse(&route, error),
            };
            let time = admission.upload_time;
            answer(admission, &route, time, request, next, false, None).await
        }
        Class::Ordinary => {
            let counted = if has_body(request.headers()) && is_anonymous(request.headers()) {
                match admission.anonymous(&request) {
                    Ok(counted) => Some(counted),
                    Err(error) => return super::refuse(&route, error),
                }
            } else {
                None
            };
            let time = admission.request_time;
            answer(admission, &route, time, request, next, true, counted).await
        }
    }
}

async fn answer(
    admission: Arc<Admission>,
    route: &str,
    time: Duration,
    request: Request,
    next: Next,
    buffered: bool,
    anonymous: Option<Counted<IpAddr>>,
) -> Response {
    let ticket = Arc::new(Ticket::new());
    let has_body = has_body(request.headers());
    let work = async {
        if !has_body {
            if buffered {
                match admission.turn(0).await {
                    Ok(permit) => ticket.held().turn = Some(permit),
                    Err(error) => return super::refuse(route, error),
                }
            }
            return next.run(request).await;
        }
        let (parts, body) = request.into_parts();
        let body = Arriving {
            body,
            ticket: Arc::clone(&ticket),
            admission: Arc::clone(&admission),
            buffered,
            received: 0,
            began: None,
            late: Box::pin(tokio::time::sleep(GRACE)),
            turn: None,
            ended: false,
            _anonymous: anonymous,
        };
        next.run(Request::from_parts(parts, Body::new(body))).await
    };
    // The time of an upload includes its body; that of other requests starts after the body.
    let overdue = async {
        if buffered {
            ticket.overdue(time).await;
        } else {
            tokio::time::sleep(time).await;
        }
    };
    let response = tokio::select! {
        response = work => response,
        () = overdue => {
            let seconds = time.as_secs();
            let message = format!("the request took longer than {seconds} seconds");
            super::refuse(route, Error::unavailable("request_timeout", message))
        }
    };
    // An error of the body replaces the response that its reader made of it.
    let Some(error) = ticket.held().failure.take() else {
        return response;
    };
    let mut response = super::refuse(route, error);
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Returns the paths of the OpenAPI document with at least one matching operation.
    fn paths(has: impl Fn(&Value) -> bool) -> BTreeSet<String> {
        let document = serde_json::to_value(crate::api::openapi()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let found = paths.iter().filter(|(_, item)| {
            let mut operations = item.as_object().into_iter().flat_map(|o| o.values());
            operations.any(&has)
        });
        found.map(|(path, _)| path.clone()).collect()
    }

    fn has_type(content: &Value, kind: &str) -> bool {
        content
            .get("content")
            .is_some_and(|c| c.get(kind).is_some())
    }

    fn set(routes: &[&str]) -> BTreeSet<String> {
        routes.iter().map(|&route| route.to_owned()).collect()
    }

    #[test]
    fn streams_are_those_of_the_openapi_document() {
        let endless = paths(|operation| {
            let answer = &operation["responses"]["200"];
            has_type(answer, "text/event-stream") && !has_type(answer, "application/json")
        });
        assert_eq!(endless, set(&STREAMS));
    }

    #[test]
    fn uploads_are_those_of_the_openapi_document() {
        let mut uploads = paths(|operation| {
            let body = &operation["requestBody"];
            ["multipart/form-data", "application/x-ndjson"]
                .iter()
                .any(|kind| has_type(body, kind))
        });
        // The document has one type for the body of a change, JSON: generators of clients fail at two.
        uploads.insert("/dashboard/v1/skills/{skillId}".to_owned());
        // Signed URLs are not operations of the document.
        uploads.insert("/v1/files/{tenant}/{id}".to_owned());
        assert_eq!(uploads, set(&UPLOADS));
    }

    #[test]
    fn probes_are_operations() {
        let all = paths(|_| true);
        assert!(set(&PROBES).is_subset(&all), "{all:?}");
    }
}
