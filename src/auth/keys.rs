//! API keys: `cairn_` and 64 hex digits, shown once, stored as SHA-256.

use serde_json::Value;

use super::access_log::{self, Action, Change};
use super::caller::Caller;
use super::credentials::{self, Credential, Kind, refused, select};
use super::{Area, MODULE_DISABLED, Scope, modules};
use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Error, Result};
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
    /// Prefix of the secret; `None` for that of its kind.
    pub prefix: Option<&'static str>,
}

impl Credential {
    fn key(&self) -> Result<Key> {
        Ok(Key {
            id: self.id.clone(),
            name: self.name.clone(),
            hint: self.hint.clone(),
            scopes: self.scopes()?,
            dataset_ids: self.dataset_ids()?,
            expires_on: self.expires_on,
            rate_per_minute: self.rate_per_minute,
            last_used_on: self.last_used_on,
            revoked_on: self.revoked_on,
            created_on: self.created_on,
            created_by: self.created_by.clone(),
        })
    }
}

/// Creates a key for the owner of the data directory. Returns the key and its secret, which is never shown again.
///
/// # Errors
/// `name_missing`, `scope_unknown`, `rate_out_of_range`, `expiry_past`.
pub async fn create(db: &Db, clock: &Clock, tenant_id: &str, new: NewKey) -> Result<(Key, String)> {
    let (key, secret) = checked(db, clock, tenant_id, Kind::Key, new, Maker::default()).await?;
    store(db, clock, key, secret).await
}

/// Returns whether there is a key of any tenant, revoked ones included.
///
/// # Errors
/// Those of the database.
pub async fn is_any(db: &Db) -> Result<bool> {
    let found: Option<(String,)> = db
        .optional(
            "SELECT id FROM credentials WHERE kind = 'key' LIMIT 1",
            args![],
        )
        .await?;
    Ok(found.is_some())
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
pub async fn mint(db: &Db, clock: &Clock, caller: &Caller, new: NewKey) -> Result<(Key, String)> {
    let (key, secret) = prepare(db, clock, caller, Kind::Key, new).await?;
    store(db, clock, key, secret).await
}

/// Checks a new key or agent token of a caller, and returns it with its secret.
///
/// # Errors
/// Those of [`mint`].
pub(super) async fn prepare(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    kind: Kind,
    mut new: NewKey,
) -> Result<(Credential, String)> {
    caller.need_unconfined(Scope::KeysManage)?;
    caller.need_all(&super::scopes::read(&new.scopes)?)?;
    let Some(maker) = presented(db, caller).await? else {
        return checked(db, clock, caller.tenant(), kind, new, Maker::of(caller)).await;
    };
    if let Some(end) = maker.expires_on {
        if new.expires_on.is_some_and(|wanted| wanted > end) {
            return Err(Error::invalid(
                "expiry_too_late",
                format!(
                    "a key must expire no later than the key that creates it, at {}",
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
                    "a key's rate must not exceed that of the key that creates it: {rate} requests per minute"
                ),
            ));
        }
        new.rate_per_minute = new.rate_per_minute.or(Some(rate));
    }
    checked(
        db,
        clock,
        caller.tenant(),
        kind,
        new,
        Maker::credential(&maker),
    )
    .await
}

/// Who creates a key, and for whom it acts.
#[derive(Debug, Default)]
struct Maker {
    /// Id of the key or the person; `None` for the owner of the data directory.
    id: Option<String>,
    user_id: Option<String>,
    agent_id: Option<String>,
    /// The nearest key with a rate of its own.
    rate_of: Option<String>,
}

impl Maker {
    /// Returns the maker for a caller that presented no key.
    fn of(caller: &Caller) -> Self {
        let user_id = caller.principal().user_id().map(str::to_owned);
        Self {
            id: user_id.clone(),
            user_id,
            ..Self::default()
        }
    }

    /// Returns the maker for a caller that presented a key or an agent token.
    fn credential(key: &Credential) -> Self {
        let rate_of = || key.rate_of.clone().unwrap_or_else(|| key.id.clone());
        Self {
            id: Some(key.id.clone()),
            user_id: key.user_id.clone(),
            agent_id: key.agent_id.clone(),
            rate_of: key.rate_per_minute.map(|_| rate_of()),
        }
    }
}

/// Returns the key or agent token that a caller presented; `None` for people and the command line.
async fn presented(db: &Db, caller: &Caller) -> Result<Option<Credential>> {
    let Some(id) = caller.credential_id.as_deref() else {
        return Ok(None);
    };
    let credential = credentials::by_id(db, caller.tenant(), id).await?;
    credential.ok_or_else(refused).map(Some)
}

/// Returns a key of a tenant that does not exist yet, with its secret.
///
/// # Errors
/// `scope_unknown`.
pub(super) fn for_new_tenant(
    clock: &Clock,
    tenant_id: &str,
    kind: Kind,
    new: NewKey,
) -> Result<(Credential, String)> {
    let scopes = super::scopes::read(&new.scopes)?;
    build(clock, tenant_id, kind, new, scopes, Maker::default())
}

async fn store(db: &Db, clock: &Clock, key: Credential, secret: String) -> Result<(Key, String)> {
    let mut tx = db.begin().await?;
    key.insert(&mut tx, clock).await?;
    tx.commit().await?;
    Ok((key.key()?, secret))
}

async fn checked(
    db: &Db,
    clock: &Clock,
    tenant_id: &str,
    kind: Kind,
    new: NewKey,
    maker: Maker,
) -> Result<(Credential, String)> {
    let name = new.name.trim();
    if name.is_empty() || name.len() > 200 {
        return Err(Error::invalid(
            "name_missing",
            "a key must have a name of at most 200 characters",
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
    let modules_off = modules::disabled(db, tenant_id).await?;
    for area in modules::areas(&modules_off) {
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
        return Err(Error::invalid(
            "expiry_past",
            "the expiry must be in the future",
        ));
    }
    build(clock, tenant_id, kind, new, scopes, maker)
}

fn build(
    clock: &Clock,
    tenant_id: &str,
    kind: Kind,
    new: NewKey,
    scopes: Vec<String>,
    maker: Maker,
) -> Result<(Credential, String)> {
    let (secret, hint) = new_secret(clock, kind, new.prefix);
    let now = clock.now();
    let key = Credential {
        name: new.name.trim().to_owned(),
        hint,
        scopes: serde_json::to_string(&scopes)?,
        dataset_ids: new
            .dataset_ids
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?,
        user_id: maker.user_id,
        agent_id: maker.agent_id,
        expires_on: new.expires_on,
        rate_per_minute: new.rate_per_minute,
        created_by: maker.id,
        rate_of: maker.rate_of,
        ..Credential::new(kind, tenant_id, clock.id(), &secret, now)
    };
    Ok((key, secret))
}

/// Returns a new secret of a key or an agent token, and the part that may be shown again.
pub(super) fn new_secret(
    clock: &Clock,
    kind: Kind,
    prefix: Option<&'static str>,
) -> (String, String) {
    let prefix = prefix.unwrap_or(if kind == Kind::AgentToken {
        "cairn_agent_"
    } else {
        "cairn_"
    });
    let secret = format!("{prefix}{}", clock.secret());
    let hint = secret.chars().take(prefix.len() + 6).collect();
    (secret, hint)
}

/// Lists the keys of a tenant, newest last, including revoked ones.
///
/// # Errors
/// Those of the database.
pub async fn list(db: &Db, tenant_id: &str, page: &Page) -> Result<Listing<Key>> {
    let rows: Vec<Credential> = db
        .all(
            select!(
                "WHERE c.tenant_id = $1 AND c.kind = 'key' AND c.id > $2 ORDER BY c.id LIMIT $3"
            ),
            args![tenant_id, &page.after, page.fetch()],
        )
        .await?;
    let keys = rows
        .iter()
        .map(Credential::key)
        .collect::<Result<Vec<_>>>()?;
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
    let missing = || Error::not_found("key_not_found", "there is no active key with this id");
    let key = credentials::by_id(db, caller.tenant(), id)
        .await?
        .filter(|c| c.kind == Kind::Key)
        .ok_or_else(missing)?;
    // Otherwise the right to manage keys would be the right to lock everyone out.
    caller.need_all(&key.key()?.scopes)?;
    let mut children: Vec<Key> = Vec::new();
    let mut makers = vec![key.id.clone()];
    while let Some(maker) = makers.pop() {
        let rows: Vec<Credential> = db
            .all(
                select!(
                    "WHERE c.tenant_id = $1 AND c.kind = 'key' AND c.created_by = $2 ORDER BY c.id"
                ),
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
    let ended = children.iter().map(|k| (&k.id, &k.name));
    for (id, name) in ended.chain([(&key.id, &key.name)]) {
        let revoked = tx
            .execute(
                "UPDATE credentials SET revoked_on = $1 WHERE tenant_id = $2 AND id = $3 AND revoked_on IS NULL",
                args![clock.now(), caller.tenant(), id],
            )
            .await?;
        if revoked == 0 {
            continue;
        }
        let change = Change::by(caller, Action::KeyRevoked, id, name, Value::Null);
        access_log::record(&mut tx, clock, change).await?;
    }
    tx.commit().await?;
    Ok(left)
}
