//! API keys: `cairn_` and 64 hex digits, shown once, stored as SHA-256.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Area, Caller, MODULE_DISABLED, OWNER, Scope, tenants};
use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Detail, Error, Result};
use crate::page::{Listing, Page};

/// A key without its secret.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub name: String,
    /// First characters of the secret.
    pub hint: String,
    pub scopes: Vec<String>,
    /// Datasets that it is restricted to.
    pub dataset_ids: Option<Vec<String>>,
    pub expires_on: Option<Time>,
    /// Requests per minute; `None` for the configured default.
    pub rate_per_minute: Option<i64>,
    /// Time of the last use, to the minute.
    pub last_used_on: Option<Time>,
    pub revoked_on: Option<Time>,
    pub created_on: Time,
    /// Key that created it; `None` for the owner of the data directory.
    pub created_by: Option<String>,
}

/// A key to create.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    pub name: String,
    /// Scopes, checked by [`super::scopes::read`].
    pub scopes: Vec<String>,
    /// Datasets that it is restricted to.
    pub dataset_ids: Option<Vec<String>>,
    pub expires_on: Option<Time>,
    pub rate_per_minute: Option<i64>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: String,
    name: String,
    hash: String,
    hint: String,
    scopes: String,
    dataset_ids: Option<String>,
    expires_on: Option<Time>,
    rate_per_minute: Option<i64>,
    last_used_on: Option<Time>,
    revoked_on: Option<Time>,
    created_on: Time,
    created_by: Option<String>,
    rate_of: Option<String>,
    /// Rate of the key in `rate_of`.
    rate_of_maker: Option<i64>,
    /// Modules that are disabled in the workspace.
    modules_off: String,
}

impl Row {
    fn is_valid(&self, now: Time) -> bool {
        self.revoked_on.is_none() && self.expires_on.is_none_or(|at| at > now)
    }

    fn into_caller(self) -> Result<Caller> {
        let key = self.key()?;
        Ok(Caller {
            tenant_id: self.tenant_id,
            key_id: Some(self.id),
            scopes: key.scopes,
            dataset_ids: key.dataset_ids,
            modules_off: tenants::areas(&self.modules_off),
            session: None,
        })
    }

    fn key(&self) -> Result<Key> {
        Ok(Key {
            id: self.id.clone(),
            name: self.name.clone(),
            hint: self.hint.clone(),
            scopes: serde_json::from_str(&self.scopes)?,
            dataset_ids: self
                .dataset_ids
                .as_deref()
                .map(serde_json::from_str)
                .transpose()?,
            expires_on: self.expires_on,
            rate_per_minute: self.rate_per_minute,
            last_used_on: self.last_used_on,
            revoked_on: self.revoked_on,
            created_on: self.created_on,
            created_by: self.created_by.clone(),
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.tenant_id, k.name, k.hash, k.hint, k.scopes, k.dataset_ids, k.expires_on, k.rate_per_minute, k.last_used_on, k.revoked_on, k.created_on,
             k.created_by, k.rate_of, m.rate_per_minute AS rate_of_maker, t.modules_off
             FROM api_keys k JOIN tenants t ON t.id = k.tenant_id LEFT JOIN api_keys m ON m.tenant_id = k.tenant_id AND m.id = k.rate_of ",
            $rest
        )
    };
}

const PREFIX: &str = "cairn_";

/// Creates a key for the owner of the data directory. Returns the key and its secret, which is never shown again.
///
/// # Errors
/// `name_missing`, `scope_unknown`, `rate_out_of_range`, `expiry_past`.
pub async fn create(db: &Db, clock: &Clock, tenant_id: &str, new: NewKey) -> Result<(Key, String)> {
    insert(db, clock, tenant_id, new, None).await
}

/// Creates the admin key of a new tenant. Returns its secret, which is never shown again.
///
/// # Errors
/// Those of the database.
pub async fn create_admin(db: &Db, clock: &Clock, tenant_id: &str) -> Result<String> {
    let admin = NewKey {
        name: "admin".to_owned(),
        scopes: vec!["admin".to_owned()],
        ..NewKey::default()
    };
    let (_, secret) = create(db, clock, tenant_id, admin).await?;
    Ok(secret)
}

/// Creates a key for a caller. It has no scopes beyond the caller's, ends no later than the caller's key, and its requests count against the caller's
/// rate, too. Returns the key and its secret.
///
/// # Errors
/// `scope_missing`, `expiry_too_late`, `rate_too_high`, and those of [`create`].
pub async fn mint(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    mut new: NewKey,
) -> Result<(Key, String)> {
    caller.need_unconfined(Scope::KeysManage)?;
    caller.need_all(&super::scopes::read(&new.scopes)?)?;
    let Some(maker) = made_by(db, caller).await? else {
        return insert(db, clock, caller.tenant(), new, None).await;
    };
    if let Some(end) = maker.expires_on {
        if new.expires_on.is_some_and(|wanted| wanted > end) {
            return Err(Error::invalid(
                "expiry_too_late",
                format!(
                    "a key ends no later than the key that makes it, which is at {}",
                    end.rfc3339()
                ),
            ));
        }
        new.expires_on = new.expires_on.or(Some(end));
    }
    if let Some(rate) = maker.rate_per_minute {
        if new.rate_per_minute.is_some_and(|wanted| wanted > rate) {
            return Err(Error::invalid(
                "rate_too_high",
                format!(
                    "a key makes no more requests than the key that makes it: {rate} per minute"
                ),
            ));
        }
        new.rate_per_minute = new.rate_per_minute.or(Some(rate));
    }
    insert(db, clock, caller.tenant(), new, Some(&maker)).await
}

/// Returns the key of a caller, unless the caller is the owner.
async fn made_by(db: &Db, caller: &Caller) -> Result<Option<Row>> {
    let Some(id) = caller.key_id().filter(|id| *id != OWNER) else {
        return Ok(None);
    };
    row(db, caller.tenant(), id)
        .await?
        .ok_or_else(refused)
        .map(Some)
}

async fn row(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Row>> {
    db.optional(
        select!("WHERE k.tenant_id = $1 AND k.id = $2"),
        args![tenant_id, id],
    )
    .await
}

async fn insert(
    db: &Db,
    clock: &Clock,
    tenant_id: &str,
    new: NewKey,
    maker: Option<&Row>,
) -> Result<(Key, String)> {
    let name = new.name.trim();
    if name.is_empty() || name.len() > 200 {
        return Err(Error::invalid(
            "name_missing",
            "a key needs a name of at most 200 characters",
        ));
    }
    if new
        .rate_per_minute
        .is_some_and(|rate| !(1..=1_000_000).contains(&rate))
    {
        return Err(Error::invalid(
            "rate_out_of_range",
            "ratePerMinute must be between 1 and 1000000",
        ));
    }
    let scopes = super::scopes::read(&new.scopes)?;
    let modules_off = tenants::modules_off(db, tenant_id).await?;
    for area in tenants::areas(&modules_off) {
        // A wildcard covers enabled modules; naming a disabled one is a mistake.
        if scopes
            .iter()
            .any(|s| s == area.read().name() || s == area.write().name())
        {
            let module = Area::module(area).unwrap_or_default();
            return Err(Error::invalid(
                MODULE_DISABLED,
                format!("the module {module} is not enabled in this workspace; enable it first"),
            ));
        }
    }
    let now = clock.now();
    if new.expires_on.is_some_and(|at| at <= now) {
        return Err(Error::invalid("expiry_past", "the expiry is in the past"));
    }
    let secret = format!("{PREFIX}{}", clock.secret());
    // The nearest maker with a rate of its own.
    let counted = maker.filter(|m| m.rate_per_minute.is_some());
    let row = Row {
        id: clock.id(),
        tenant_id: tenant_id.to_owned(),
        name: name.to_owned(),
        hash: hash(&secret),
        hint: secret.chars().take(PREFIX.len() + 6).collect(),
        scopes: serde_json::to_string(&scopes)?,
        dataset_ids: new
            .dataset_ids
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?,
        expires_on: new.expires_on,
        rate_per_minute: new.rate_per_minute,
        last_used_on: None,
        revoked_on: None,
        created_on: now,
        created_by: maker.map(|m| m.id.clone()),
        rate_of: counted.map(|m| m.rate_of.clone().unwrap_or_else(|| m.id.clone())),
        rate_of_maker: None,
        modules_off,
    };
    db.execute(
        "INSERT INTO api_keys (id, tenant_id, name, hash, hint, scopes, dataset_ids, expires_on, rate_per_minute, created_on, created_by, rate_of)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        args![
            &row.id,
            &row.tenant_id,
            &row.name,
            &row.hash,
            &row.hint,
            &row.scopes,
            &row.dataset_ids,
            row.expires_on,
            row.rate_per_minute,
            row.created_on,
            &row.created_by,
            &row.rate_of
        ],
    )
    .await?;
    Ok((row.key()?, secret))
}

/// Lists the keys of a tenant, newest last, including revoked ones.
///
/// # Errors
/// Those of the database.
pub async fn list(db: &Db, tenant_id: &str, page: &Page) -> Result<Listing<Key>> {
    let rows: Vec<Row> = db
        .all(
            select!("WHERE k.tenant_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3"),
            args![tenant_id, &page.after, page.fetch()],
        )
        .await?;
    let keys = rows.iter().map(Row::key).collect::<Result<Vec<_>>>()?;
    Ok(page.listing(keys, |key| key.id.clone()))
}

/// Treatment of the keys that a revoked key created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// They stay valid.
    GoOn,
    /// They are revoked, and so are the keys that they created.
    EndToo,
}

/// Revokes a key, which is refused from the next request on, and returns the keys still active that it created, directly or indirectly.
///
/// # Errors
/// `key_not_found`; `scope_missing` when the key has rights that the caller lacks.
pub async fn revoke(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    id: &str,
    made: Made,
) -> Result<Vec<Key>> {
    caller.need_unconfined(Scope::KeysManage)?;
    let missing = || Error::not_found("key_not_found", "there is no such active key");
    let key = row(db, caller.tenant(), id).await?.ok_or_else(missing)?;
    // Otherwise the right to manage keys would be the right to lock everyone out.
    caller.need_all(&key.key()?.scopes)?;
    let mut children: Vec<Key> = Vec::new();
    let mut makers = vec![key.id.clone()];
    while let Some(maker) = makers.pop() {
        let rows: Vec<Row> = db
            .all(
                select!("WHERE k.tenant_id = $1 AND k.created_by = $2 ORDER BY k.id"),
                args![caller.tenant(), &maker],
            )
            .await?;
        for row in rows {
            makers.push(row.id.clone());
            if row.is_valid(clock.now()) {
                children.push(row.key()?);
            }
        }
    }
    let left = match made {
        Made::GoOn => std::mem::take(&mut children),
        Made::EndToo => Vec::new(),
    };
    // A key that has ended may still have created others, which end now.
    if key.revoked_on.is_some() && children.is_empty() {
        return Err(missing());
    }
    let mut tx = db.begin().await?;
    for id in children.iter().map(|k| &k.id).chain([&key.id]) {
        tx.execute(
            "UPDATE api_keys SET revoked_on = $1 WHERE tenant_id = $2 AND id = $3 AND revoked_on IS NULL",
            args![clock.now(), caller.tenant(), id],
        )
        .await?;
    }
    tx.commit().await?;
    Ok(left)
}

/// Returns the current rights of a key, for work that continues without its requests; `None` when it has ended.
///
/// # Errors
/// Those of the database.
pub async fn caller_of(
    db: &Db,
    clock: &Clock,
    tenant_id: &str,
    id: &str,
) -> Result<Option<Caller>> {
    if id == OWNER {
        return Ok(Some(Caller::local(tenant_id)));
    }
    let row = row(db, tenant_id, id).await?;
    let row = row.filter(|row| row.is_valid(clock.now()));
    row.map(Row::into_caller).transpose()
}

/// Returns whether a key may still be used.
///
/// # Errors
/// Those of the database.
pub(super) async fn is_valid(db: &Db, clock: &Clock, tenant_id: &str, id: &str) -> Result<bool> {
    let row = row(db, tenant_id, id).await?;
    Ok(row.is_some_and(|row| row.is_valid(clock.now())))
}

/// Authenticates presented keys, with a rate limiter per key. The row is read on every request, so a revocation is effective at once.
#[derive(Debug, Clone)]
pub struct Gate {
    limiters: Cache<(String, u32), Arc<DefaultDirectRateLimiter>>,
    default_rate: i64,
}

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
        }
    }

    /// Returns the caller of a secret.
    ///
    /// # Errors
    /// `key_invalid` for unknown, expired and revoked keys alike; `rate_limited`.
    pub async fn authenticate(&self, db: &Db, clock: &Clock, secret: &str) -> Result<Caller> {
        let presented = hash(secret);
        let row: Row = db
            .optional(select!("WHERE k.hash = $1"), args![&presented])
            .await?
            .ok_or_else(refused)?;
        // The look-up compares hashes, of which a caller cannot choose a prefix; this comparison is in constant time.
        if !bool::from(row.hash.as_bytes().ct_eq(presented.as_bytes())) {
            return Err(refused());
        }
        self.open(db, clock, row).await
    }

    /// Returns the caller of a key that has been authenticated before.
    pub(super) async fn admit(
        &self,
        db: &Db,
        clock: &Clock,
        tenant_id: &str,
        id: &str,
    ) -> Result<Caller> {
        let row = row(db, tenant_id, id).await?.ok_or_else(refused)?;
        self.open(db, clock, row).await
    }

    async fn open(&self, db: &Db, clock: &Clock, row: Row) -> Result<Caller> {
        let now = clock.now();
        if !row.is_valid(now) {
            return Err(refused());
        }
        self.count(&row.id, row.rate_per_minute)?;
        if let Some(maker) = &row.rate_of {
            self.count(maker, row.rate_of_maker)?;
        }
        if row
            .last_used_on
            .is_none_or(|at| at < now.minus(Duration::from_secs(60)))
        {
            db.execute(
                "UPDATE api_keys SET last_used_on = $1 WHERE tenant_id = $2 AND id = $3",
                args![now, &row.tenant_id, &row.id],
            )
            .await?;
        }
        row.into_caller()
    }

    /// Counts a request of a key, or of a session without one.
    pub(super) fn count(&self, id: &str, rate_per_minute: Option<i64>) -> Result<()> {
        let rate = rate_per_minute.unwrap_or(self.default_rate);
        let Some(rate) = u32::try_from(rate).ok().and_then(NonZeroU32::new) else {
            return Ok(());
        };
        let limiter = self.limiters.get_with((id.to_owned(), rate.get()), || {
            Arc::new(RateLimiter::direct(Quota::per_minute(rate)))
        });
        limiter.check().map_err(|refused| {
            Error::rate_limited(format!(
                "this key may make {rate} requests per minute; slow down"
            ))
            .with_detail(Detail::RetryAfter(
                refused.wait_time_from(DefaultClock::default().now()),
            ))
        })
    }
}

fn refused() -> Error {
    Error::unauthorized("key_invalid", "the API key is not valid")
}

/// Returns the stored hash of a secret.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}
