//! The gate: authenticates presented secrets, and limits the request rate of each.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use subtle::ConstantTimeEq;

use super::Caller;
use super::board_access;
use super::credentials::{self, Credential, Kind, hash, refused};
use super::oidc::Provider;
use super::quotas;
use crate::clock::Clock;
use crate::db::{Db, args};
use crate::error::{Detail, Error, Result};

/// Authenticates keys and agent tokens, with a rate limiter per credential. The row is read on every request, so a revocation is effective at once.
#[derive(Debug, Clone)]
pub struct Gate {
    limiters: Cache<(String, u32), Arc<DefaultDirectRateLimiter>>,
    default_rate: i64,
    /// The identity provider whose tokens are accepted, too.
    provider: Option<Arc<Provider>>,
    owner: Arc<OnceLock<OwnerSecret>>,
}

/// The secret with which commands of the owner of the data directory reach this process, and the tenant in which they act.
#[derive(Debug)]
struct OwnerSecret {
    hash: String,
    tenant_id: String,
}

/// Start of an owner's secret.
pub const OWNER_PREFIX: &str = "cairn_local_";

impl Gate {
    /// Creates a gate with the configured default rate; 0 means no limit.
    #[must_use]
    pub fn new(default_rate: i64) -> Self {
        let limiters = Cache::builder()
            .max_capacity(100_000)
            .time_to_idle(Duration::from_secs(600))
            .build();
        Self {
            limiters,
            default_rate,
            provider: None,
            owner: Arc::default(),
        }
    }

    /// Returns the gate with an identity provider.
    #[must_use]
    pub fn with_provider(mut self, provider: Option<Provider>) -> Self {
        self.provider = provider.map(Arc::new);
        self
    }

    /// Returns the identity provider, if there is one.
    #[must_use]
    pub fn provider(&self) -> Option<&Provider> {
        self.provider.as_deref()
    }

    /// Creates the secret that authenticates the owner of the data directory until this process ends. It is nowhere but in memory and where the
    /// caller of this function puts it.
    ///
    /// # Errors
    /// An internal error when there is one already.
    pub fn create_owner_secret(&self, clock: &Clock, tenant_id: &str) -> Result<String> {
        let secret = format!("{OWNER_PREFIX}{}", clock.secret());
        let owner = OwnerSecret {
            hash: hash(&secret),
            tenant_id: tenant_id.to_owned(),
        };
        self.owner
            .set(owner)
            .map_err(|_| Error::internal("the owner's secret exists already"))?;
        Ok(secret)
    }

    /// Returns the caller of a secret that begins like the owner's.
    fn owner(&self, secret: &str) -> Result<Caller> {
        let owner = self.owner.get().ok_or_else(refused)?;
        if bool::from(owner.hash.as_bytes().ct_eq(hash(secret).as_bytes())) {
            Ok(Caller::owner(&owner.tenant_id))
        } else {
            Err(refused())
        }
    }

    /// Returns the caller of a key, an agent token, a token of the identity provider, or the secret of the data directory's owner.
    ///
    /// # Errors
    /// `key_invalid` for unknown, expired and revoked secrets alike; `rate_limited`.
    pub async fn authenticate(&self, db: &Db, clock: &Clock, secret: &str) -> Result<Caller> {
        if let Some(provider) = self
            .provider
            .as_ref()
            .filter(|_| Provider::is_token(secret))
        {
            let caller = provider.authenticate(db, clock, secret).await?;
            self.count(caller.actor_id().unwrap_or_default(), None)?;
            let quota = quotas::of(db, caller.tenant()).await?.requests;
            self.count_of_tenant(caller.tenant(), quota)?;
            return Ok(caller);
        }
        if secret.starts_with(OWNER_PREFIX) {
            return self.owner(secret);
        }
        let credential = credentials::by_secret(db, secret)
            .await?
            .filter(|c| matches!(c.kind, Kind::Key | Kind::AgentToken))
            .ok_or_else(refused)?;
        // The look-up compares hashes, of which a caller cannot choose a prefix; this comparison is in constant time.
        if !bool::from(credential.hash.as_bytes().ct_eq(hash(secret).as_bytes())) {
            return Err(refused());
        }
        self.admit(db, clock, credential).await
    }

    /// Returns the caller of a credential that has been authenticated.
    pub(super) async fn admit(
        &self,
        db: &Db,
        clock: &Clock,
        credential: Credential,
    ) -> Result<Caller> {
        let now = clock.now();
        if !credential.is_valid(now) {
            return Err(refused());
        }
        self.count(&credential.id, credential.rate_per_minute)?;
        if let Some(maker) = &credential.rate_of {
            self.count(maker, credential.rate_of_maker)?;
        }
        self.count_of_tenant(&credential.tenant_id, credential.quota_requests)?;
        let minute_ago = now.minus(Duration::from_secs(60));
        if credential.last_used_on.is_none_or(|at| at < minute_ago) {
            db.execute(
                "UPDATE credentials SET last_used_on = $1 WHERE tenant_id = $2 AND id = $3",
                args![now, &credential.tenant_id, &credential.id],
            )
            .await?;
        }
        board_access::with_groups(db, credential.into_caller()?).await
    }

    /// Counts a request of a credential.
    pub(super) fn count(&self, id: &str, rate_per_minute: Option<i64>) -> Result<()> {
        let rate = rate_per_minute.unwrap_or(self.default_rate);
        self.take(id, rate, |rate| {
            format!("this key may make {rate} requests per minute; slow down")
        })
    }

    /// Counts a request of a workspace that has a quota of them.
    pub(super) fn count_of_tenant(&self, tenant_id: &str, quota: Option<i64>) -> Result<()> {
        self.take(tenant_id, quota.unwrap_or(0), |rate| {
            format!("this workspace may make {rate} requests per minute; slow down")
        })
    }

    /// Takes one of the requests per minute of a subject; 0 means no limit.
    fn take(&self, id: &str, rate: i64, message: impl Fn(NonZeroU32) -> String) -> Result<()> {
        let Some(rate) = u32::try_from(rate).ok().and_then(NonZeroU32::new) else {
            return Ok(());
        };
        let limiter = self.limiters.get_with((id.to_owned(), rate.get()), || {
            Arc::new(RateLimiter::direct(Quota::per_minute(rate)))
        });
        limiter.check().map_err(|refused| {
            Error::rate_limited(message(rate)).with_detail(Detail::RetryAfter(
                refused.wait_time_from(DefaultClock::default().now()),
            ))
        })
    }
}
