//! How many requests a workspace may make, and the headers that tell it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;

use super::wire::number;
use crate::error::{Detail, Error, Result};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The rates of workspaces.
#[derive(Debug)]
pub(crate) struct Rates {
    limiters: Cache<String, Arc<Limiter>>,
    rate: Option<NonZeroU32>,
}

impl Rates {
    /// So many requests per minute for each workspace; 0 is no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            limiters: Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(Duration::from_secs(600))
                .build(),
            rate: NonZeroU32::new(per_minute),
        }
    }

    /// Takes one request; gives the headers that tell what is left.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn take(&self, tenant_id: &str) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let Some(rate) = self.rate else {
            return Ok(headers);
        };
        let limiter = self.limiters.get_with(tenant_id.to_owned(), || {
            Arc::new(
                RateLimiter::direct(Quota::per_minute(rate))
                    .with_middleware::<StateInformationMiddleware>(),
            )
        });
        let left = limiter
            .check()
            .map(|state| state.remaining_burst_capacity())
            .map_err(|refused| {
                Error::rate_limited(format!(
                    "this workspace may make {rate} requests per minute; slow down"
                ))
                .with_detail(Detail::RetryAfter(
                    refused.wait_time_from(DefaultClock::default().now()),
                ))
            })?;
        // A request comes back every 60 s / rate: so long until all of them are there again.
        let used = u64::from(rate.get() - left.min(rate.get()));
        let reset = (used * 60).div_ceil(u64::from(rate.get()));
        for (name, value) in [
            ("x-ratelimit-limit", u64::from(rate.get())),
            ("x-ratelimit-remaining", u64::from(left)),
            ("x-ratelimit-reset", reset),
        ] {
            headers.insert(HeaderName::from_static(name), number(value));
        }
        Ok(headers)
    }
}
