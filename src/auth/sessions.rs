//! Browsers: a person signs in with a key or with a link that works once, and gets a session, of which the browser keeps a secret in a cookie.
//!
//! A session has the rights of its key, and ends with it. One that a link began has all rights, as the link is only shown to the owner of the data directory.

use std::time::Duration;

use super::keys::Gate;
use super::keys::hash;
use super::{Caller, OWNER};
use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Error, Result};

/// How long a link may be used, once.
pub const LINK_HOLDS: Duration = Duration::from_secs(12 * 3600);

/// What sessions are read and written with.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a> {
    /// Records.
    pub db: &'a Db,
    /// Times and secrets.
    pub clock: &'a Clock,
    /// Checks the keys behind sessions.
    pub gate: &'a Gate,
    /// How long a session lasts.
    pub lasts: Duration,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// What the cookie holds.
    pub secret: String,
    /// How long it holds.
    pub lasts: Duration,
    /// Whose session it is.
    pub caller: Caller,
}

/// Makes a link's secret, which signs in once within [`LINK_HOLDS`]; the one before works no longer.
///
/// # Errors
/// As the database says.
pub async fn link(sessions: Sessions<'_>, tenant_id: &str) -> Result<String> {
    let secret = sessions.clock.secret();
    // The link that was shown last is the only one that works.
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
/// `link_consumed` when it was used already, is too old, or never was.
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
    // Of two who come at the same time, one removes it.
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

/// The caller behind the secret of a cookie.
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

/// Whether a caller who was admitted before still would be: its session has not ended, and its key was not revoked and has not expired.
///
/// # Errors
/// As the database says.
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
/// As the database says.
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

/// Ends all sessions of a tenant, and its link; how many sessions there were.
///
/// # Errors
/// As the database says.
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

/// Removes what has ended; how many.
///
/// # Errors
/// As the database says.
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
