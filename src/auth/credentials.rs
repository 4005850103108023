//! Credentials: all secrets that authenticate a caller, stored as SHA-256 in one table, and the rights that come with them.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::access_log::{self, Action, Change};
use super::board_access::BoardAccess;
use super::caller::{Caller, Principal};
use super::dataset_access::DatasetAccess;
use super::role::{Role, Status};
use super::{OWNER, modules, scopes};
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args, words};
use crate::error::{Error, Result};

words! {
    /// Purpose of a secret.
    pub(super) enum Kind {
        /// An API key of a program.
        Key = "key",
        /// The token of an agent.
        AgentToken = "agent_token",
        /// The cookie of a browser that is signed in.
        Session = "session",
        /// A link that signs a browser in once.
        Link = "link",
        /// A link that makes its user a member once.
        Invite = "invite",
    }
}

/// A stored credential, with the state of the member or agent on whose behalf it acts.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Credential {
    pub id: String,
    pub tenant_id: String,
    pub kind: Kind,
    pub hash: String,
    pub name: String,
    pub hint: String,
    /// JSON array.
    pub scopes: String,
    /// JSON array.
    pub dataset_ids: Option<String>,
    pub user_id: Option<String>,
    pub agent_id: Option<String>,
    pub key_id: Option<String>,
    pub expires_on: Option<Time>,
    pub rate_per_minute: Option<i64>,
    pub last_used_on: Option<Time>,
    pub revoked_on: Option<Time>,
    pub created_on: Time,
    pub created_by: Option<String>,
    pub rate_of: Option<String>,
    /// Rate of the key in `rate_of`.
    pub rate_of_maker: Option<i64>,
    /// Requests per minute of the whole workspace; `None` for no limit.
    pub quota_requests: Option<i64>,
    /// Modules that are disabled in the workspace.
    pub modules_off: String,
    pub user_role: Option<Role>,
    pub user_status: Option<Status>,
    pub agent_role: Option<String>,
    pub agent_status: Option<Status>,
    pub all_boards_read: Option<bool>,
    pub all_boards_write: Option<bool>,
    /// JSON array of rights to single boards.
    pub board_access: Option<String>,
    /// JSON array of the datasets of the member.
    pub dataset_access: Option<String>,
    /// The only board of the agent, and the group of that board.
    pub agent_board_id: Option<String>,
    pub agent_group_id: Option<String>,
}

/// Selects [`Credential`]s, with the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.tenant_id, c.kind, c.hash, c.name, c.hint, c.scopes, c.dataset_ids, c.user_id, c.agent_id, c.key_id, c.expires_on, c.rate_per_minute,
             c.last_used_on, c.revoked_on, c.created_on, c.created_by, c.rate_of, m.rate_per_minute AS rate_of_maker, t.quota_requests, t.modules_off,
             u.role AS user_role, u.status AS user_status, a.role AS agent_role, a.status AS agent_status,
             u.all_boards_read, u.all_boards_write, u.board_access, u.dataset_access, a.board_id AS agent_board_id, b.parent_id AS agent_group_id
             FROM credentials c JOIN tenants t ON t.id = c.tenant_id
             LEFT JOIN credentials m ON m.tenant_id = c.tenant_id AND m.id = c.rate_of
             LEFT JOIN memberships u ON u.tenant_id = c.tenant_id AND u.user_id = c.user_id
             LEFT JOIN agents a ON a.tenant_id = c.tenant_id AND a.id = c.agent_id
             LEFT JOIN records b ON b.tenant_id = c.tenant_id AND b.id = a.board_id AND b.kind = 'board' ",
            $rest
        )
    };
}
pub(super) use select;

impl Credential {
    /// Creates a credential without rights of its own.
    pub fn new(kind: Kind, tenant_id: &str, id: String, secret: &str, now: Time) -> Self {
        Self {
            id,
            tenant_id: tenant_id.to_owned(),
            kind,
            hash: hash(secret),
            name: String::new(),
            hint: String::new(),
            scopes: "[]".to_owned(),
            dataset_ids: None,
            user_id: None,
            agent_id: None,
            key_id: None,
            expires_on: None,
            rate_per_minute: None,
            last_used_on: None,
            revoked_on: None,
            created_on: now,
            created_by: None,
            rate_of: None,
            rate_of_maker: None,
            quota_requests: None,
            modules_off: String::new(),
            user_role: None,
            user_status: None,
            agent_role: None,
            agent_status: None,
            all_boards_read: None,
            all_boards_write: None,
            board_access: None,
            dataset_access: None,
            agent_board_id: None,
            agent_group_id: None,
        }
    }

    /// Stores a new credential, and logs it.
    pub async fn insert(&self, tx: &mut Tx, clock: &Clock) -> Result<()> {
        tx.execute(
            "INSERT INTO credentials (id, tenant_id, kind, hash, name, hint, scopes, dataset_ids, user_id, agent_id, key_id, expires_on, rate_per_minute, created_on, created_by, rate_of)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            args![
                &self.id,
                &self.tenant_id,
                self.kind,
                &self.hash,
                &self.name,
                &self.hint,
                &self.scopes,
                &self.dataset_ids,
                &self.user_id,
                &self.agent_id,
                &self.key_id,
                self.expires_on,
                self.rate_per_minute,
                self.created_on,
                &self.created_by,
                &self.rate_of
            ],
        )
        .await?;
        self.log(tx, clock).await
    }

    async fn log(&self, tx: &mut Tx, clock: &Clock) -> Result<()> {
        let scopes = self.scopes()?;
        let person = self.user_id.as_deref().or(self.key_id.as_deref());
        let person = person.unwrap_or(OWNER);
        let maker = self.created_by.as_deref();
        let (actor, action, subject, detail) = match self.kind {
            Kind::Key => {
                let expires_on = self.expires_on.map(Time::rfc3339);
                let detail = json!({"scopes": scopes, "datasetIds": self.dataset_ids()?, "expiresOn": expires_on});
                (maker, Action::KeyCreated, self.id.as_str(), detail)
            }
            Kind::AgentToken => {
                let agent = self.agent_id.as_deref().unwrap_or(&self.id);
                (
                    maker,
                    Action::AgentCreated,
                    agent,
                    json!({"scopes": scopes}),
                )
            }
            Kind::Invite => (maker, Action::InviteCreated, self.id.as_str(), Value::Null),
            Kind::Link => (maker, Action::LinkCreated, person, Value::Null),
            Kind::Session => (Some(person), Action::SignedIn, person, Value::Null),
        };
        let change = Change {
            tenant_id: &self.tenant_id,
            actor,
            action,
            subject,
            name: &self.name,
            detail,
        };
        access_log::record(tx, clock, change).await
    }

    /// Returns whether it is neither revoked nor expired, and its member or agent is active.
    pub fn is_valid(&self, now: Time) -> bool {
        let acts = |id: &Option<String>, status: Option<Status>| {
            id.is_none() || status == Some(Status::Active)
        };
        self.revoked_on.is_none()
            && self.expires_on.is_none_or(|at| at > now)
            && acts(&self.user_id, self.user_status)
            && acts(&self.agent_id, self.agent_status)
    }

    /// Returns its own scopes.
    pub fn scopes(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_str(&self.scopes)?)
    }

    /// Returns the datasets that it is restricted to.
    pub fn dataset_ids(&self) -> Result<Option<Vec<String>>> {
        let ids = self.dataset_ids.as_deref();
        Ok(ids.map(serde_json::from_str).transpose()?)
    }

    /// Returns the datasets that its member uses.
    pub fn access(&self) -> Result<Option<DatasetAccess>> {
        DatasetAccess::stored(self.user_role, self.dataset_access.as_deref())
    }

    /// Returns the caller who presented it. The rights of a key that acts for a member are limited by the role of the member.
    pub fn into_caller(self) -> Result<Caller> {
        let mut scopes = self.scopes()?;
        let credential_datasets = self.dataset_ids()?;
        let mut dataset_ids = credential_datasets.clone();
        let dataset_access = self.access()?;
        if let Some(access) = &dataset_access {
            dataset_ids = Some(access.confine(dataset_ids));
        }
        let is_session = self.kind == Kind::Session;
        let boards = match (self.agent_board_id, &self.board_access) {
            (Some(board_id), _) => BoardAccess::only(board_id, self.agent_group_id),
            (None, Some(rights)) => BoardAccess::stored(
                self.all_boards_read.unwrap_or_default(),
                self.all_boards_write.unwrap_or_default(),
                rights,
            )?,
            (None, None) => BoardAccess::all(),
        };
        let user_id = self.user_id.clone();
        let principal = match (self.kind, self.user_id, self.user_role, self.agent_id) {
            (Kind::AgentToken, _, _, Some(id)) => Principal::Agent {
                id,
                role: self.agent_role.unwrap_or_default(),
            },
            (Kind::Session, Some(id), Some(role), _) => {
                scopes = role.scopes();
                Principal::User { id, role }
            }
            (Kind::Session, None, _, _) if self.key_id.is_none() => {
                scopes = vec!["*".to_owned()];
                Principal::Owner
            }
            (Kind::Key, _, role, _) => {
                if let Some(role) = role {
                    scopes = scopes::common(&scopes, &role.scopes());
                }
                Principal::Key {
                    id: self.id.clone(),
                }
            }
            _ => return Err(Error::internal("this credential does not authenticate")),
        };
        Ok(Caller {
            home_tenant_id: self.tenant_id.clone(),
            tenant_id: self.tenant_id,
            user_id,
            boards,
            until: None,
            principal,
            scopes,
            dataset_ids,
            credential_datasets,
            dataset_access,
            modules_off: modules::areas(&self.modules_off),
            session: is_session.then(|| self.id.clone()),
            credential_id: (!is_session).then_some(self.id),
        })
    }
}

/// Returns the credential with a secret.
pub(super) async fn by_secret(db: &Db, secret: &str) -> Result<Option<Credential>> {
    db.optional(select!("WHERE c.hash = $1"), args![hash(secret)])
        .await
}

/// Returns a credential of a tenant.
pub(super) async fn by_id(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Credential>> {
    db.optional(
        select!("WHERE c.tenant_id = $1 AND c.id = $2"),
        args![tenant_id, id],
    )
    .await
}

/// Returns the token of an agent.
pub(super) async fn of_agent(
    db: &Db,
    tenant_id: &str,
    agent_id: &str,
) -> Result<Option<Credential>> {
    db.optional(
        select!("WHERE c.tenant_id = $1 AND c.agent_id = $2 AND c.kind = 'agent_token'"),
        args![tenant_id, agent_id],
    )
    .await
}

/// Removes the session, link or invite with an id, and returns whether it was there: of two concurrent requests, one removes it.
pub(super) async fn consume(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<bool> {
    let removed = tx
        .execute(
            "DELETE FROM credentials WHERE tenant_id = $1 AND id = $2 AND kind IN ('session', 'link', 'invite')",
            args![tenant_id, id],
        )
        .await?;
    Ok(removed > 0)
}

/// Removes the sessions and links of a member, and revokes its keys. Deactivation needs none of this, as [`Credential::is_valid`] asks for the status.
pub(super) async fn end_for_user(
    tx: &mut Tx,
    tenant_id: &str,
    user_id: &str,
    now: Time,
) -> Result<()> {
    tx.execute(
        "DELETE FROM credentials WHERE tenant_id = $1 AND user_id = $2 AND kind IN ('session', 'link')",
        args![tenant_id, user_id],
    )
    .await?;
    tx.execute(
        "UPDATE credentials SET revoked_on = $1 WHERE tenant_id = $2 AND user_id = $3 AND revoked_on IS NULL",
        args![now, tenant_id, user_id],
    )
    .await?;
    Ok(())
}

/// Returns the stored hash of a secret.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Returns the answer to a secret that is not valid, whatever the reason.
pub(super) fn refused() -> Error {
    Error::unauthorized("key_invalid", "the API key is not valid")
}
