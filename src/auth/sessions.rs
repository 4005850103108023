//! Browser sessions: a person signs in with a key, a link, an invitation or at the identity provider, and gets a session, whose secret the browser keeps in a cookie.
//!
//! A session has the rights of its key, or of its member, and ends with them. One that began with the owner's link has all rights, as that link is only
//! shown to the owner of the data directory.

use std::time::Duration;

use serde_json::{Value, json};

use super::access_log::{self, Action, Change};
use super::board_access;
use super::caller::{Caller, Principal};
use super::credentials::{self, Credential, Kind};
use super::gate::Gate;
use super::oidc::Entered;
use super::{OWNER, invites, tenants, users};
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

/// Creates the secret of the owner's link, which signs in once within [`LINK_HOLDS`]; the previous link is invalidated.
///
/// # Errors
/// Those of the database.
pub async fn link(sessions: Sessions<'_>, tenant_id: &str) -> Result<String> {
    create_link(sessions, tenant_id, None).await
}

/// Creates the secret of a link that signs a member in once within [`LINK_HOLDS`]; the previous one is invalidated. Requires all rights of the member.
///
/// # Errors
/// `scope_missing`, `user_not_found`, `user_inactive`.
pub async fn link_for(sessions: Sessions<'_>, caller: &Caller, user_id: &str) -> Result<String> {
    let user = users::manageable(sessions.db, caller, user_id).await?;
    if !user.is_active() {
        return Err(Error::conflict(
            "user_inactive",
            "this member is inactive; activate it first",
        ));
    }
    create_link(sessions, caller.tenant(), Some(user.id)).await
}

async fn create_link(
    sessions: Sessions<'_>,
    tenant_id: &str,
    user_id: Option<String>,
) -> Result<String> {
    let secret = sessions.clock.secret();
    let now = sessions.clock.now();
    let link = Credential {
        expires_on: Some(now.plus(LINK_HOLDS)),
        user_id,
        ..Credential::new(Kind::Link, tenant_id, sessions.clock.id(), &secret, now)
    };
    let mut tx = sessions.db.begin().await?;
    // Only the link that was shown last is valid.
    tx.execute(
        "DELETE FROM credentials WHERE tenant_id = $1 AND kind = 'link' AND COALESCE(user_id, '') = $2",
        args![tenant_id, link.user_id.clone().unwrap_or_default()],
    )
    .await?;
    link.insert(&mut tx, sessions.clock).await?;
    tx.commit().await?;
    Ok(secret)
}

/// Begins a session with the secret of a link or an invitation. A person who is signed in already, as `current`, accepts an invitation to another tenant as
/// the same person.
///
/// # Errors
/// `link_consumed` when it was used already, has expired, or never existed; `user_exists` when the tenant has a member with the name of the invitation.
pub async fn begin_by_link(
    sessions: Sessions<'_>,
    secret: &str,
    current: Option<&Caller>,
) -> Result<Begun> {
    let used = || {
        Error::unauthorized(
            "link_consumed",
            "this link was already used or has expired; `cairn sandbox` prints a new one",
        )
    };
    let link = credentials::by_secret(sessions.db, secret)
        .await?
        .filter(|c| matches!(c.kind, Kind::Link | Kind::Invite))
        .ok_or_else(used)?;
    let is_valid = link.is_valid(sessions.clock.now());
    let mut tx = sessions.db.begin().await?;
    if !credentials::consume(&mut tx, &link.tenant_id, &link.id).await? || !is_valid {
        tx.commit().await?;
        return Err(used());
    }
    let user_id = if link.kind == Kind::Invite {
        let person = current.and_then(|caller| caller.principal().user_id());
        let person = person.map(str::to_owned);
        Some(invites::accept(&mut tx, sessions.clock, &link, person).await?)
    } else {
        link.user_id
    };
    tx.commit().await?;
    let begins = user_id.map_or(Begins::Owner, Begins::Member);
    begin(sessions, &link.tenant_id, begins).await
}

/// Begins a session with an API key, whose rights it has and with which it ends.
///
/// # Errors
/// `key_invalid`, also for tokens of the identity provider and for the secret of the data directory's owner, which end before a session would; `rate_limited`.
pub async fn begin_by_key(sessions: Sessions<'_>, key: &str) -> Result<Begun> {
    let caller = sessions
        .gate
        .authenticate(sessions.db, sessions.clock, key.trim())
        .await?;
    let key_id = caller.credential_id.clone();
    let key_id = key_id.ok_or_else(credentials::refused)?;
    begin(sessions, caller.tenant(), Begins::Key(key_id)).await
}

/// Begins a session in another tenant of which the caller is a member.
///
/// # Errors
/// `tenant_not_found` when there is no such tenant, or the caller is not one of its active members.
pub async fn begin_in_tenant(
    sessions: Sessions<'_>,
    current: &Caller,
    tenant: &str,
) -> Result<Begun> {
    let missing = || {
        Error::not_found(
            "tenant_not_found",
            format!("you are not a member of a tenant {tenant:?}"),
        )
    };
    let id = current.principal().user_id().ok_or_else(missing)?;
    let found = tenants::of_user(sessions.db, id).await?;
    let tenant = found.into_iter().find(|t| t.name == tenant);
    let tenant = tenant.ok_or_else(missing)?;
    begin(sessions, &tenant.id, Begins::Member(id.to_owned())).await
}

/// Begins a session of a person whom the identity provider has authenticated.
///
/// # Errors
/// `session_expired` when the membership has ended meanwhile.
pub async fn begin_by_provider(sessions: Sessions<'_>, entered: &Entered) -> Result<Begun> {
    let member = Begins::Member(entered.user_id.clone());
    begin(sessions, &entered.tenant_id, member).await
}

/// Whose rights a session has.
enum Begins {
    /// All rights: the link was shown to the owner of the data directory.
    Owner,
    Key(String),
    Member(String),
}

async fn begin(sessions: Sessions<'_>, tenant_id: &str, begins: Begins) -> Result<Begun> {
    let (key_id, user_id) = match begins {
        Begins::Owner => (None, None),
        Begins::Key(id) => (Some(id), None),
        Begins::Member(id) => (None, Some(id)),
    };
    let secret = sessions.clock.secret();
    let lasts = sessions.lasts;
    let now = sessions.clock.now();
    let session = Credential {
        key_id,
        user_id,
        expires_on: Some(now.plus(lasts)),
        ..Credential::new(Kind::Session, tenant_id, sessions.clock.id(), &secret, now)
    };
    let mut tx = sessions.db.begin().await?;
    session.insert(&mut tx, sessions.clock).await?;
    tx.commit().await?;
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
    let now = sessions.clock.now();
    let session = credentials::by_secret(sessions.db, secret)
        .await?
        .filter(|c| c.kind == Kind::Session && c.is_valid(now))
        .ok_or_else(expired)?;
    let Some(key_id) = &session.key_id else {
        sessions.gate.count(&session.id, None)?;
        sessions
            .gate
            .count_of_tenant(&session.tenant_id, session.quota_requests)?;
        return board_access::with_groups(sessions.db, session.into_caller()?).await;
    };
    let key = credentials::by_id(sessions.db, &session.tenant_id, key_id).await?;
    let key = key.ok_or_else(credentials::refused)?;
    let caller = sessions
        .gate
        .admit(sessions.db, sessions.clock, key)
        .await?;
    Ok(Caller {
        session: Some(session.id),
        ..caller
    })
}

/// Returns the error for a session that has ended.
pub(crate) fn expired() -> Error {
    Error::unauthorized("session_expired", "the session has expired; sign in again")
}

/// Returns whether an admitted caller still would be admitted, to the same datasets: its session has not ended, and its key was not revoked and has not expired.
///
/// # Errors
/// Those of the database.
pub async fn is_valid(sessions: Sessions<'_>, caller: &Caller) -> Result<bool> {
    for id in [&caller.session, &caller.credential_id]
        .into_iter()
        .flatten()
    {
        let credential = credentials::by_id(sessions.db, &caller.home_tenant_id, id).await?;
        let valid = credential.filter(|c| c.is_valid(sessions.clock.now()));
        let Some(credential) = valid else {
            return Ok(false);
        };
        let is_home = caller.tenant() == caller.home_tenant_id;
        if is_home && credential.access()? != caller.dataset_access {
            return Ok(false);
        }
    }
    if caller.until.is_some_and(|end| end <= sessions.clock.now()) {
        return Ok(false);
    }
    // A membership may end before the credential of its person.
    match caller.principal() {
        Principal::User { id, .. } => {
            let member = users::caller(sessions.db, caller.tenant(), id).await?;
            Ok(member.is_some_and(|member| member.dataset_access == caller.dataset_access))
        }
        Principal::Local | Principal::Owner | Principal::Key { .. } | Principal::Agent { .. } => {
            Ok(true)
        }
    }
}

/// Returns the current rights of an actor, for work that continues without its requests; `None` when it has ended.
///
/// # Errors
/// Those of the database.
pub async fn caller_of(
    db: &Db,
    clock: &Clock,
    tenant_id: &str,
    actor_id: &str,
) -> Result<Option<Caller>> {
    if actor_id == super::OWNER {
        return Ok(Some(Caller::local(tenant_id)));
    }
    if let Some(caller) = users::caller(db, tenant_id, actor_id).await? {
        return Ok(Some(caller));
    }
    let credential = match credentials::by_id(db, tenant_id, actor_id).await? {
        Some(key) => Some(key),
        None => credentials::of_agent(db, tenant_id, actor_id).await?,
    };
    let valid = credential
        .filter(|c| matches!(c.kind, Kind::Key | Kind::AgentToken) && c.is_valid(clock.now()));
    match valid {
        Some(credential) => board_access::with_groups(db, credential.into_caller()?)
            .await
            .map(Some),
        None => Ok(None),
    }
}

/// Ends a session.
///
/// # Errors
/// Those of the database.
pub async fn end(sessions: Sessions<'_>, caller: &Caller) -> Result<()> {
    if let Some(id) = &caller.session {
        let mut tx = sessions.db.begin().await?;
        credentials::consume(&mut tx, caller.tenant(), id).await?;
        let who = caller.actor_id().unwrap_or(OWNER);
        let change = Change {
            tenant_id: caller.tenant(),
            actor: Some(who),
            action: Action::SignedOut,
            subject: who,
            name: "",
            detail: Value::Null,
        };
        access_log::record(&mut tx, sessions.clock, change).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Ends all sessions of a tenant, and its links, and returns the number of sessions.
///
/// # Errors
/// Those of the database.
pub async fn end_all(sessions: Sessions<'_>, tenant_id: &str) -> Result<u64> {
    let mut tx = sessions.db.begin().await?;
    tx.execute(
        "DELETE FROM credentials WHERE tenant_id = $1 AND kind = 'link'",
        args![tenant_id],
    )
    .await?;
    let ended = tx
        .execute(
            "DELETE FROM credentials WHERE tenant_id = $1 AND kind = 'session'",
            args![tenant_id],
        )
        .await?;
    let change = Change {
        tenant_id,
        actor: None,
        action: Action::AllSignedOut,
        subject: tenant_id,
        name: "",
        detail: json!({"sessions": ended}),
    };
    access_log::record(&mut tx, sessions.clock, change).await?;
    tx.commit().await?;
    Ok(ended)
}

/// Removes expired sessions, links and invitations that nobody accepted, and returns their number.
///
/// # Errors
/// Those of the database.
pub(crate) async fn prune(sessions: Sessions<'_>) -> Result<u64> {
    let now: Time = sessions.clock.now();
    sessions
        .db
        .execute(
            "DELETE FROM invites WHERE expires_on <= $1 AND accepted_on IS NULL",
            args![now],
        )
        .await?;
    sessions
        .db
        .execute(
            "DELETE FROM credentials WHERE expires_on <= $1 AND kind IN ('session', 'link', 'invite')",
            args![now],
        )
        .await
}
