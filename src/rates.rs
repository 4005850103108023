//! Rate limits: requests per minute of each workspace.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;

use crate::error::{Detail, Error, Result};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// Rate limiter of workspaces.
#[derive(Debug)]
pub(crate) struct Rates {
    limiters: Cache<String, Arc<Limiter>>,
    rate: Option<NonZeroU32>,
}

/// Remaining requests of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Requests per minute.
    pub limit: u32,
    /// Requests that may be made at once.
    pub remaining: u32,
    /// Seconds until all of them are available again.
    pub reset: u64,
}

impl Rates {
    /// Creates a limiter of requests per minute for each workspace; 0 means no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            limiters: Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(Duration::from_secs(600))
                .build(),
            rate: NonZeroU32::new(per_minute),
        }
    }

    /// Counts one event of a subject with a limit per minute of its own; 0 means no limit.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn count(&self, subject: &str, per_minute: u32) -> Result<()> {
        let Some(rate) = NonZeroU32::new(per_minute) else {
            return Ok(());
        };
        let limiter = self.limiters.get_with(subject.to_owned(), || limiter(rate));
        limiter.check().map(|_| ()).map_err(|refused| {
            Error::rate_limited(format!("more than {rate} per minute; slow down")).with_detail(
                Detail::RetryAfter(refused.wait_time_from(DefaultClock::default().now())),
            )
        })
    }

    /// Counts one request and returns the remaining ones; `None` without a limit.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn take(&self, tenant_id: &str) -> Result<Option<Left>> {
        let Some(rate) = self.rate else {
            return Ok(None);
        };
        let limiter = self
            .limiters
            .get_with(tenant_id.to_owned(), || limiter(rate));
        let remaining = limiter
            .check()
            .map(|state| state.remaining_burst_capacity())
            .map_err(|refused| {
                Error::rate_limited(format!(
                    "this workspace exceeded its limit of {rate} requests per minute; send fewer requests"
                ))
                .with_detail(Detail::RetryAfter(
                    refused.wait_time_from(DefaultClock::default().now()),
                ))
            })?;
        // One request is restored every 60 s / rate, which determines the time until all are available again.
        let used = u64::from(rate.get() - remaining.min(rate.get()));
        Ok(Some(Left {
            limit: rate.get(),
            remaining,
            reset: (used * 60).div_ceil(u64::from(rate.get())),
        }))
    }
}

fn limiter(rate: NonZeroU32) -> Arc<Limiter> {
    Arc::new(
        RateLimiter::direct(Quota::per_minute(rate))
            .with_middleware::<StateInformationMiddleware>(),
    )
}
