//! Resumable event streams (SSE): stored events after a given position, followed by live events. A stream ends with its key or session, and the number of
//! streams is limited.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as SseEvent, KeepAlive};
use futures::Stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior};

use crate::app::App;
use crate::auth::{Caller, sessions};
use crate::error::{Error, Result};
use crate::events::{self, Stored};
use crate::limits::{Counted, Full};

/// Interval at which the key or session of a stream is checked.
const RECHECK: Duration = Duration::from_secs(5);

/// Filter of a stream's events, within the tenant.
pub(super) type Wanted = Box<dyn Fn(&Caller, &Stored) -> bool + Send + Sync>;

/// Reads the position to resume after: `Last-Event-ID`, or the parameter for clients that cannot set headers.
///
/// # Errors
/// `last_event_id_invalid`.
pub(super) fn resumes(headers: &HeaderMap, parameter: Option<i64>) -> Result<Option<i64>> {
    let Some(header) = headers.get("last-event-id") else {
        return Ok(parameter);
    };
    // Browsers send an empty header when they have not received an id yet.
    if header.as_bytes().trim_ascii().is_empty() {
        return Ok(parameter);
    }
    let position = header.to_str().ok().and_then(|text| text.parse().ok());
    position.map(Some).ok_or_else(|| {
        Error::invalid(
            "last_event_id_invalid",
            "Last-Event-ID must be an event id from this stream",
        )
    })
}

/// Streams the wanted events of a caller's tenant after a position, or live events only.
///
/// # Errors
/// `too_many_streams`; those of the database.
pub(super) async fn of_events(
    app: &Arc<App>,
    caller: Caller,
    after: Option<i64>,
    wanted: Wanted,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>> + use<>>> {
    let tail = Tail::open(app, caller, after, wanted).await?;
    let stream = futures::stream::unfold(tail, |mut tail| async move {
        let event = tail.next().await?;
        let sent = SseEvent::default()
            .id(event.seq.to_string())
            .event(&event.topic)
            .data(&event.payload);
        Some((Ok(sent), tail))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// The wanted events of a tenant after a position.
pub(super) struct Tail {
    app: Arc<App>,
    caller: Caller,
    wanted: Wanted,
    /// Position of the last processed event.
    after: i64,
    /// Whether the database may have events after that position.
    stored: bool,
    ready: VecDeque<Arc<Stored>>,
    live: Receiver<Arc<Stored>>,
    checked: Instant,
    _counted: Counted<String>,
}

impl Tail {
    /// Subscribes to the wanted events of a caller's tenant after a position, or to live events only.
    ///
    /// # Errors
    /// `too_many_streams`; those of the database.
    pub(super) async fn open(
        app: &Arc<App>,
        caller: Caller,
        after: Option<i64>,
        wanted: Wanted,
    ) -> Result<Self> {
        let most = app.config.event_streams;
        let tenant = caller.tenant().to_owned();
        let counted = app.streams.open(&tenant, most, most.div_ceil(2));
        let counted = counted.map_err(|full| match full {
            Full::Key => Error::rate_limited("this tenant has too many open event streams"),
            Full::All => Error::unavailable("too_many_streams", "too many event streams are open"),
        })?;
        // Subscribes before reading stored events, so that no event is missed.
        let (live, now) = app.feed.subscribe(&app.db).await?;
        Ok(Self {
            app: Arc::clone(app),
            caller,
            wanted,
            after: after.unwrap_or(now),
            stored: true,
            ready: VecDeque::new(),
            live,
            checked: Instant::now(),
            _counted: counted,
        })
    }

    /// Returns the position of the last event, after which a stream resumes.
    pub(super) fn position(&self) -> i64 {
        self.after
    }

    /// Returns the caller whose events they are.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the next event; `None` when the caller's access has ended.
    pub(super) async fn next(&mut self) -> Option<Arc<Stored>> {
        let mut recheck = tokio::time::interval_at(self.checked + RECHECK, RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.checked.elapsed() >= RECHECK {
                if !self.may_go_on().await {
                    return None;
                }
                self.checked = Instant::now();
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.stored {
                self.read().await;
                continue;
            }
            tokio::select! {
                event = self.live.recv() => match event {
                    Ok(event) => self.take(event),
                    // The stream was too slow for the channel; the missed events are read from the database.
                    Err(RecvError::Lagged(_)) => self.stored = true,
                    Err(RecvError::Closed) => return None,
                },
                _ = recheck.tick() => {}
            }
        }
    }

    fn take(&mut self, event: Arc<Stored>) {
        if event.seq <= self.after {
            return;
        }
        self.after = event.seq;
        if event.tenant_id == self.caller.tenant() && (self.wanted)(&self.caller, &event) {
            self.ready.push_back(event);
        }
    }

    /// Reads the next page of stored events; an empty page switches to live events.
    async fn read(&mut self) {
        match events::after(&self.app.db, self.caller.tenant(), self.after).await {
            Ok(stored) => {
                self.stored = !stored.is_empty();
                for event in stored {
                    self.take(Arc::new(event));
                }
            }
            Err(error) => {
                tracing::error!(error = %error, "events cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }

    async fn may_go_on(&self) -> bool {
        match sessions::is_valid(self.app.sessions(), &self.caller).await {
            Ok(valid) => valid,
            Err(error) => {
                // On an error the stream stays open until the next check.
                tracing::error!(error = %error, "the key of a stream cannot be checked");
                true
            }
        }
    }
}
