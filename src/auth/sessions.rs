//! Browsers: a person signs in with a key or with a link that works once, and gets a session, of which the browser keeps a secret in a cookie.
//!
//! A session has the rights of its key, and ends with it. One that a link began has all rights, as the link is only shown to the owner of the data directory.

use std::time::Duration;

use super::Caller;
use super::keys::hash;
use crate::app::App;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};

/// How long a link may be used, once.
pub const LINK_HOLDS: Duration = Duration::from_secs(12 * 3600);
/// Who acts in a session that a link began, where keys have their id.
pub const OWNER: &str = "owner";

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
pub async fn link(app: &App, tenant_id: &str) -> Result<String> {
    let secret = app.clock.secret();
    // The link that was shown last is the only one that works.
    app.db
        .execute(
            "DELETE FROM sign_in_links WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    app.db
        .execute(
            "INSERT INTO sign_in_links (hash, tenant_id, expires_on) VALUES ($1, $2, $3)",
            args![hash(&secret), tenant_id, app.clock.now().plus(LINK_HOLDS)],
        )
        .await?;
    Ok(secret)
}

/// Begins a session with the secret of a link.
///
/// # Errors
/// `link_used` when it was used already, is too old, or never was.
pub async fn begin_by_link(app: &App, secret: &str) -> Result<Begun> {
    let used = || {
        Error::unauthorized(
            "link_used",
            "this link was used already or is too old; `cairn sandbox` prints another one",
        )
    };
    let hash = hash(secret);
    let (tenant_id, expires_on): (String, Time) = app
        .db
        .optional(
            "SELECT tenant_id, expires_on FROM sign_in_links WHERE hash = $1",
            args![&hash],
        )
        .await?
        .ok_or_else(used)?;
    // Of two who come at the same time, one removes it.
    let ours = app
        .db
        .execute(
            "DELETE FROM sign_in_links WHERE tenant_id = $1 AND hash = $2",
            args![&tenant_id, &hash],
        )
        .await?;
    if ours == 0 || expires_on <= app.clock.now() {
        return Err(used());
    }
    begin(app, &tenant_id, None).await
}

/// Begins a session with an API key.
///
/// # Errors
/// `key_invalid`, `rate_limited`.
pub async fn begin_by_key(app: &App, key: &str) -> Result<Begun> {
    let caller = app
        .gate
        .authenticate(&app.db, &app.clock, key.trim())
        .await?;
    begin(app, caller.tenant(), caller.key_id()).await
}

async fn begin(app: &App, tenant_id: &str, key_id: Option<&str>) -> Result<Begun> {
    let secret = app.clock.secret();
    let lasts = Duration::from_secs(3600 * app.config.session_hours);
    let now = app.clock.now();
    app.db
        .execute(
            "INSERT INTO sessions (hash, tenant_id, key_id, created_on, expires_on) VALUES ($1, $2, $3, $4, $5)",
            args![hash(&secret), tenant_id, key_id, now, now.plus(lasts)],
        )
        .await?;
    Ok(Begun {
        caller: self::caller(app, &secret).await?,
        secret,
        lasts,
    })
}

/// The caller behind the secret of a cookie.
///
/// # Errors
/// `session_over`; `key_invalid` when the key that signed in has ended; `rate_limited`.
pub async fn caller(app: &App, secret: &str) -> Result<Caller> {
    let over = || Error::unauthorized("session_over", "the session is over; sign in again");
    let hash = hash(secret);
    let (tenant_id, key_id, expires_on): (String, Option<String>, Time) = app
        .db
        .optional(
            "SELECT tenant_id, key_id, expires_on FROM sessions WHERE hash = $1",
            args![&hash],
        )
        .await?
        .ok_or_else(over)?;
    if expires_on <= app.clock.now() {
        return Err(over());
    }
    match key_id {
        Some(id) => {
            let caller = app.gate.admit(&app.db, &app.clock, &tenant_id, &id).await?;
            Ok(Caller {
                session: Some(hash),
                ..caller
            })
        }
        None => {
            app.gate.count(&hash, None)?;
            Ok(owner(tenant_id, hash))
        }
    }
}

/// Whether a caller who was admitted before still would be: its session has not ended, and its key was not revoked and has not expired.
///
/// # Errors
/// As the database says.
pub async fn is_valid(app: &App, caller: &Caller) -> Result<bool> {
    if let Some(hash) = &caller.session {
        let session: Option<(Time,)> = app
            .db
            .optional(
                "SELECT expires_on FROM sessions WHERE tenant_id = $1 AND hash = $2",
                args![caller.tenant(), hash],
            )
            .await?;
        if session.is_none_or(|(expires_on,)| expires_on <= app.clock.now()) {
            return Ok(false);
        }
    }
    match caller.key_id().filter(|id| *id != OWNER) {
        Some(id) => super::keys::is_valid(&app.db, &app.clock, caller.tenant(), id).await,
        None => Ok(true),
    }
}

/// Ends a session.
///
/// # Errors
/// As the database says.
pub async fn end(app: &App, caller: &Caller, secret: &str) -> Result<()> {
    app.db
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
pub async fn end_all(app: &App, tenant_id: &str) -> Result<u64> {
    app.db
        .execute(
            "DELETE FROM sign_in_links WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    app.db
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
pub(crate) async fn prune(app: &App) -> Result<u64> {
    let now = app.clock.now();
    let sessions = app
        .db
        .execute("DELETE FROM sessions WHERE expires_on <= $1", args![now])
        .await?;
    let links = app
        .db
        .execute(
            "DELETE FROM sign_in_links WHERE expires_on <= $1",
            args![now],
        )
        .await?;
    Ok(sessions + links)
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
