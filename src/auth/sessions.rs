//! Browser sessions: a person signs in with a key or with a link that works once, and gets a session, whose secret the browser keeps in a cookie.
//!
//! A session has the rights of its key, and ends with it. One that began with a link has all rights, as the link is only shown to the owner of the data
//! directory.

use std::time::Duration;

use super::keys::Gate;
use super::keys::hash;
use super::{Caller, OWNER};
use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Error, Result};

/// Validity of a link, which can be used once.
pub const LINK_HOLDS: Duration = Duration::from_secs(12 * 3600);

/// Dependencies of the session functions.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a> {
    pub db: &'a Db,
    /// Source of times and secrets.
    pub clock: &'a Clock,
    /// Authenticates the keys of sessions.
    pub gate: &'a Gate,
    /// Lifetime of a session.
    pub lasts: Duration,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Content of the cookie.
    pub secret: String,
    /// Lifetime of the cookie.
    pub lasts: Duration,
    /// Caller of the session.
    pub caller: Caller,
}

/// Creates the secret of a link, which signs in once within [`LINK_HOLDS`]; the previous link is invalidated.
///
/// # Errors
/// Those of the database.
pub async fn link(sessions: Sessions<'_>, tenant_id: &str) -> Result<String> {
    let secret = sessions.clock.secret();
    // Only the link that was shown last is valid.
    sessions
        .db
        .execute(
            "DELETE FROM sign_in_links WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    sessions
        .db
        .execute(
            "INSERT INTO sign_in_links (hash, tenant_id, expires_on) VALUES ($1, $2, $3)",
            args![
                hash(&secret),
                tenant_id,
                sessions.clock.now().plus(LINK_HOLDS)
            ],
        )
        .await?;
    Ok(secret)
}

/// Begins a session with the secret of a link.
///
/// # Errors
/// `link_consumed` when it was used already, has expired, or never existed.
pub async fn begin_by_link(sessions: Sessions<'_>, secret: &str) -> Result<Begun> {
    let used = || {
        Error::unauthorized(
            "link_consumed",
            "this link was used already or is too old; `cairn sandbox` prints another one",
        )
    };
    let hash = hash(secret);
    let (tenant_id, expires_on): (String, Time) = sessions
        .db
        .optional(
            "SELECT tenant_id, expires_on FROM sign_in_links WHERE hash = $1",
            args![&hash],
        )
        .await?
        .ok_or_else(used)?;
    // Of two concurrent requests, one removes it.
    let ours = sessions
        .db
        .execute(
            "DELETE FROM sign_in_links WHERE tenant_id = $1 AND hash = $2",
            args![&tenant_id, &hash],
        )
        .await?;
    if ours == 0 || expires_on <= sessions.clock.now() {
        return Err(used());
    }
    begin(sessions, &tenant_id, None).await
}

/// Begins a session with an API key.
///
/// # Errors
/// `key_invalid`, `rate_limited`.
pub async fn begin_by_key(sessions: Sessions<'_>, key: &str) -> Result<Begun> {
    let caller = sessions
        .gate
        .authenticate(sessions.db, sessions.clock, key.trim())
        .await?;
    begin(sessions, caller.tenant(), caller.key_id()).await
}

async fn begin(sessions: Sessions<'_>, tenant_id: &str, key_id: Option<&str>) -> Result<Begun> {
    let secret = sessions.clock.secret();
    let lasts = sessions.lasts;
    let now = sessions.clock.now();
    sessions.db
        .execute(
            "INSERT INTO sessions (hash, tenant_id, key_id, created_on, expires_on) VALUES ($1, $2, $3, $4, $5)",
            args![hash(&secret), tenant_id, key_id, now, now.plus(lasts)],
        )
        .await?;
    Ok(Begun {
        caller: self::caller(sessions, &secret).await?,
        secret,
        lasts,
    })
}

/// Returns the caller of the secret in a cookie.
///
/// # Errors
/// `session_expired`; `key_invalid` when the key that signed in has ended; `rate_limited`.
pub async fn caller(sessions: Sessions<'_>, secret: &str) -> Result<Caller> {
    let over = || Error::unauthorized("session_expired", "the session is over; sign in again");
    let hash = hash(secret);
    let (tenant_id, key_id, expires_on): (String, Option<String>, Time) = sessions
        .db
        .optional(
            "SELECT tenant_id, key_id, expires_on FROM sessions WHERE hash = $1",
            args![&hash],
        )
        .await?
        .ok_or_else(over)?;
    if expires_on <= sessions.clock.now() {
        return Err(over());
    }
    match key_id {
        Some(id) => {
            let caller = sessions
                .gate
                .admit(sessions.db, sessions.clock, &tenant_id, &id)
                .await?;
            Ok(Caller {
                session: Some(hash),
                ..caller
            })
        }
        None => {
            sessions.gate.count(&hash, None)?;
            Ok(owner(tenant_id, hash))
        }
    }
}

/// Returns whether an admitted caller still would be admitted: its session has not ended, and its key was not revoked and has not expired.
///
/// # Errors
/// Those of the database.
pub async fn is_valid(sessions: Sessions<'_>, caller: &Caller) -> Result<bool> {
    if let Some(hash) = &caller.session {
        let session: Option<(Time,)> = sessions
            .db
            .optional(
                "SELECT expires_on FROM sessions WHERE tenant_id = $1 AND hash = $2",
                args![caller.tenant(), hash],
            )
            .await?;
        if session.is_none_or(|(expires_on,)| expires_on <= sessions.clock.now()) {
            return Ok(false);
        }
    }
    match caller.key_id().filter(|id| *id != OWNER) {
        Some(id) => super::keys::is_valid(sessions.db, sessions.clock, caller.tenant(), id).await,
        None => Ok(true),
    }
}

/// Ends a session.
///
/// # Errors
/// Those of the database.
pub async fn end(sessions: Sessions<'_>, caller: &Caller, secret: &str) -> Result<()> {
    sessions
        .db
        .execute(
            "DELETE FROM sessions WHERE tenant_id = $1 AND hash = $2",
            args![caller.tenant(), hash(secret)],
        )
        .await?;
    Ok(())
}

/// Ends all sessions of a tenant, and its link, and returns the number of sessions.
///
/// # Errors
/// Those of the database.
pub async fn end_all(sessions: Sessions<'_>, tenant_id: &str) -> Result<u64> {
    sessions
        .db
        .execute(
            "DELETE FROM sign_in_links WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    sessions
        .db
        .execute(
            "DELETE FROM sessions WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await
}

/// Removes expired sessions and links, and returns their number.
///
/// # Errors
/// Those of the database.
pub(crate) async fn prune(sessions: Sessions<'_>) -> Result<u64> {
    let now = sessions.clock.now();
    let ended = sessions
        .db
        .execute("DELETE FROM sessions WHERE expires_on <= $1", args![now])
        .await?;
    let links = sessions
        .db
        .execute(
            "DELETE FROM sign_in_links WHERE expires_on <= $1",
            args![now],
        )
        .await?;
    Ok(ended + links)
}

fn owner(tenant_id: String, session: String) -> Caller {
    Caller {
        modules_off: Vec::new(),
        tenant_id,
        key_id: Some(OWNER.to_owned()),
        scopes: vec!["*".to_owned()],
        dataset_ids: None,
        session: Some(session),
    }
}
