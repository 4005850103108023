//! Agents of a tenant: programs with a name, a role and a token of their own.

use serde_json::Value;

use super::Scope;
use super::access_log::{self, Action, Change};
use super::caller::Caller;
use super::credentials::{self, Credential, Kind};
use super::keys::{self, NewKey};
use super::role::Status;
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::page::{Listing, Page};

/// An agent without its token.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Agent {
    pub id: String,
    pub name: String,
    /// Its kind, a free text such as `researcher`.
    pub role: String,
    pub status: Status,
    pub created_on: Time,
    /// First characters of the token.
    pub hint: String,
    /// JSON array of the scopes of the token.
    pub scopes: String,
    /// Time of the last use of the token, to the minute.
    pub last_used_on: Option<Time>,
}

/// An agent to create.
#[derive(Debug, Clone)]
pub struct NewAgent {
    pub name: String,
    pub role: String,
    pub scopes: Vec<String>,
    pub dataset_ids: Option<Vec<String>>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.name, a.role, a.status, a.created_on, c.hint, c.scopes, c.last_used_on FROM agents a
             JOIN credentials c ON c.tenant_id = a.tenant_id AND c.agent_id = a.id AND c.kind = 'agent_token' ",
            $rest
        )
    };
}

/// Maximum length of a name and a role, in characters.
const LONGEST: usize = 200;

/// Creates an agent. Returns it and its token, which is never shown again. The token is limited as a key of the caller would be.
///
/// # Errors
/// `agent_invalid`, `agent_exists`, and those of [`keys::mint`].
pub async fn create(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    new: NewAgent,
) -> Result<(Agent, String)> {
    caller.need_unconfined(Scope::KeysManage)?;
    let (name, role) = (new.name.trim(), new.role.trim());
    let fits = |text: &str| {
        (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if !fits(name) || !fits(role) {
        return Err(Error::invalid(
            "agent_invalid",
            format!("name and role must have 1 to {LONGEST} characters each"),
        ));
    }
    let token = NewKey {
        name: name.to_owned(),
        scopes: new.scopes,
        dataset_ids: new.dataset_ids,
        ..NewKey::default()
    };
    let (mut token, secret) = keys::prepare(db, clock, caller, Kind::AgentToken, token).await?;
    let id = clock.id();
    token.agent_id = Some(id.clone());
    let mut tx = db.begin().await?;
    let added = tx
        .execute(
            "INSERT INTO agents (id, tenant_id, name, role, status, created_on) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name, tenant_id) DO NOTHING",
            args![&id, caller.tenant(), name, role, Status::Active, clock.now()],
        )
        .await?;
    if added == 0 {
        return Err(Error::conflict(
            "agent_exists",
            format!("an agent named {name:?} exists"),
        ));
    }
    token.insert(&mut tx, clock).await?;
    tx.commit().await?;
    Ok((get(db, caller, &id).await?, secret))
}

/// Returns an agent of the caller's tenant.
async fn get(db: &Db, caller: &Caller, id: &str) -> Result<Agent> {
    db.optional(
        select!("WHERE a.id = $1 AND a.tenant_id = $2"),
        args![id, caller.tenant()],
    )
    .await?
    .ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("agent_not_found", "agent not found")
}

/// Returns a page of the agents of the caller's tenant, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(db: &Db, caller: &Caller, page: &Page) -> Result<Listing<Agent>> {
    caller.need_unconfined(Scope::UsersRead)?;
    let agents: Vec<Agent> = db
        .all(
            select!("WHERE a.tenant_id = $1 AND a.id > $2 ORDER BY a.id LIMIT $3"),
            args![caller.tenant(), &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(agents, |agent| agent.id.clone()))
}

/// Returns an agent whose rights the caller has, too.
async fn manageable(db: &Db, caller: &Caller, id: &str) -> Result<Agent> {
    caller.need_unconfined(Scope::KeysManage)?;
    let agent = get(db, caller, id).await?;
    let scopes: Vec<String> = serde_json::from_str(&agent.scopes)?;
    caller.need_all(&scopes)?;
    Ok(agent)
}

/// Activates or deactivates an agent: while it is inactive, its token and its keys are refused.
///
/// # Errors
/// `scope_missing`, `agent_not_found`.
pub async fn set_status(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    id: &str,
    status: Status,
) -> Result<Agent> {
    let agent = manageable(db, caller, id).await?;
    let mut tx = db.begin().await?;
    tx.execute(
        "UPDATE agents SET status = $1 WHERE id = $2 AND tenant_id = $3",
        args![status, id, caller.tenant()],
    )
    .await?;
    let action = match status {
        Status::Active => Action::AgentActivated,
        Status::Inactive => Action::AgentDeactivated,
    };
    let change = Change::by(caller, action, id, &agent.name, Value::Null);
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await?;
    Ok(Agent { status, ..agent })
}

/// Replaces the token of an agent and returns the new one; the old one is refused from the next request on.
///
/// # Errors
/// `scope_missing`, `agent_not_found`.
pub async fn rotate(db: &Db, clock: &Clock, caller: &Caller, id: &str) -> Result<(Agent, String)> {
    let agent = manageable(db, caller, id).await?;
    let (secret, hint) = keys::new_secret(clock, Kind::AgentToken, None);
    let mut tx = db.begin().await?;
    tx.execute(
        "UPDATE credentials SET hash = $1, hint = $2 WHERE agent_id = $3 AND tenant_id = $4 AND kind = 'agent_token'",
        args![credentials::hash(&secret), &hint, id, caller.tenant()],
    )
    .await?;
    let change = Change::by(
        caller,
        Action::AgentTokenReplaced,
        id,
        &agent.name,
        Value::Null,
    );
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await?;
    Ok((Agent { hint, ..agent }, secret))
}

/// Removes an agent: its token and its keys are revoked.
///
/// # Errors
/// `scope_missing`, `agent_not_found`.
pub async fn remove(db: &Db, clock: &Clock, caller: &Caller, id: &str) -> Result<()> {
    manageable(db, caller, id).await?;
    let mut tx = db.begin().await?;
    remove_in(&mut tx, clock, caller.tenant(), id, caller.actor_id()).await?;
    tx.commit().await
}

/// An agent of boards, whose settings are kept elsewhere.
#[derive(Debug, Clone)]
pub struct BoardAgent {
    pub id: String,
    pub name: String,
    pub role: &'static str,
    pub scopes: Vec<String>,
    /// Its only board; `None` for all of the tenant.
    pub board_id: Option<String>,
}

impl BoardAgent {
    /// Returns the name, which is unique in the tenant.
    fn unique_name(&self) -> String {
        let suffix = self.id.get(20..).unwrap_or_default();
        let name: String = self.name.chars().take(LONGEST - 10).collect();
        format!("{name} ({suffix})")
    }
}

/// Adds an agent of boards, without a token that anybody knows, or updates its name, role and board.
///
/// # Errors
/// Those of the database.
pub async fn put_in(tx: &mut Tx, clock: &Clock, tenant_id: &str, agent: &BoardAgent) -> Result<()> {
    let now = clock.now();
    let added = tx
        .execute(
            "INSERT INTO agents (id, tenant_id, name, role, status, created_on, board_id) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, board_id = excluded.board_id",
            args![
                &agent.id,
                tenant_id,
                agent.unique_name(),
                agent.role,
                Status::Active,
                now,
                &agent.board_id
            ],
        )
        .await?;
    debug_assert!(added > 0, "an agent is added or updated");
    let known: Option<(String,)> = tx
        .optional(
            "SELECT id FROM credentials WHERE agent_id = $1 AND tenant_id = $2 AND kind = 'agent_token'",
            args![&agent.id, tenant_id],
        )
        .await?;
    if known.is_some() {
        return Ok(());
    }
    let (secret, hint) = keys::new_secret(clock, Kind::AgentToken, None);
    let token = Credential {
        agent_id: Some(agent.id.clone()),
        name: agent.unique_name(),
        scopes: serde_json::to_string(&agent.scopes)?,
        hint,
        ..Credential::new(Kind::AgentToken, tenant_id, clock.id(), &secret, now)
    };
    token.insert(tx, clock).await
}

/// Replaces the token of an agent of boards and returns the new one.
///
/// # Errors
/// Those of the database.
pub async fn renew_in(tx: &mut Tx, clock: &Clock, tenant_id: &str, id: &str) -> Result<String> {
    let (secret, hint) = keys::new_secret(clock, Kind::AgentToken, None);
    tx.execute(
        "UPDATE credentials SET hash = $1, hint = $2 WHERE agent_id = $3 AND tenant_id = $4 AND kind = 'agent_token'",
        args![credentials::hash(&secret), &hint, id, tenant_id],
    )
    .await?;
    let change = Change {
        tenant_id,
        actor: None,
        action: Action::AgentTokenReplaced,
        subject: id,
        name: "",
        detail: Value::Null,
    };
    access_log::record(tx, clock, change).await?;
    Ok(secret)
}

/// Removes an agent: its token and its keys are revoked.
///
/// # Errors
/// Those of the database.
pub async fn remove_in(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    id: &str,
    actor: Option<&str>,
) -> Result<()> {
    tx.execute(
        "UPDATE credentials SET revoked_on = COALESCE(revoked_on, $1), agent_id = NULL WHERE agent_id = $2 AND tenant_id = $3",
        args![clock.now(), id, tenant_id],
    )
    .await?;
    let removed: Option<(String,)> = tx
        .optional(
            "DELETE FROM agents WHERE id = $1 AND tenant_id = $2 RETURNING name",
            args![id, tenant_id],
        )
        .await?;
    let Some((name,)) = removed else {
        return Ok(());
    };
    let change = Change {
        tenant_id,
        actor,
        action: Action::AgentRemoved,
        subject: id,
        name: &name,
        detail: Value::Null,
    };
    access_log::record(tx, clock, change).await
}
