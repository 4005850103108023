//! The person behind a caller: profile, and the tenant in which the person acts.

use std::collections::HashMap;

use super::board_access;
use super::caller::{Caller, Principal};
use super::role::{Role, Status};
use super::{Scope, scopes, users};
use crate::clock::Clock;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

/// A person with its profile.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Person {
    pub id: String,
    /// Issuer and subject at the identity provider, as `issuer|subject`.
    pub subject: Option<String>,
    pub email: Option<String>,
    pub name: Option<String>,
    pub preferred_name: Option<String>,
    pub pronouns: Option<String>,
    pub timezone: Option<String>,
    pub notes: Option<String>,
    pub context: Option<String>,
    /// Tenant in which the credentials of the person act.
    pub active_tenant_id: Option<String>,
}

impl Person {
    /// Returns how others see the person: preferred name, name, or `User`.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        let names = [self.preferred_name.as_deref(), self.name.as_deref()];
        let name = names.into_iter().flatten().map(str::trim);
        name.into_iter().find(|n| !n.is_empty()).unwrap_or("User")
    }
}

/// Fields of a profile that its person changes, with their columns.
pub const PROFILE: [&str; 6] = [
    "name",
    "preferred_name",
    "pronouns",
    "timezone",
    "notes",
    "context",
];

/// Returns the id of the person behind a caller. A key that nobody's membership limits and that manages keys acts for the owner of its tenant.
async fn id_of(db: &Db, clock: &Clock, caller: &Caller) -> Result<Option<String>> {
    if let Some(id) = caller.user_id() {
        return Ok(Some(id.to_owned()));
    }
    let is_owners = match caller.principal() {
        Principal::Local | Principal::Owner => true,
        Principal::Key { .. } => caller.may(Scope::KeysManage) && caller.datasets().is_none(),
        Principal::User { .. } | Principal::Agent { .. } => false,
    };
    if !is_owners {
        return Ok(None);
    }
    let people = users::list(db, clock, &Caller::local(caller.tenant())).await?;
    let owner = people
        .into_iter()
        .find(|u| u.role == Role::Owner && u.is_active());
    Ok(owner.map(|u| u.id))
}

/// Returns the person behind a caller.
///
/// # Errors
/// `person_required` for agents, and for keys of programs that act for nobody.
pub async fn of_caller(db: &Db, clock: &Clock, caller: &Caller) -> Result<Person> {
    let id = id_of(db, clock, caller).await?.ok_or_else(|| {
        Error::unauthorized(
            "person_required",
            "this is for people: use a key of a member, an admin key, or a token of the identity provider",
        )
    })?;
    if let Some(person) = by_id(db, &id).await? {
        return Ok(person);
    }
    // The profile begins with what the membership says.
    db.execute(
        "INSERT INTO user_profiles (user_id, email, name) SELECT user_id, email, name FROM memberships WHERE user_id = $1 AND tenant_id = $2
         ON CONFLICT (user_id) DO NOTHING",
        args![&id, caller.tenant()],
    )
    .await?;
    by_id(db, &id)
        .await?
        .ok_or_else(|| Error::internal("a member without a profile"))
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT user_id AS id, subject, email, name, preferred_name, pronouns, timezone, notes, context, active_tenant_id FROM user_profiles ",
            $rest
        )
    };
}

async fn by_id(db: &Db, id: &str) -> Result<Option<Person>> {
    db.optional(select!("WHERE user_id = $1"), args![id]).await
}

/// Returns the person with a subject of an identity provider.
///
/// # Errors
/// Those of the database.
pub async fn by_subject(db: &Db, subject: &str) -> Result<Option<Person>> {
    db.optional(select!("WHERE subject = $1"), args![subject])
        .await
}

/// Stores the profile of a person.
///
/// # Errors
/// Those of the database.
pub async fn save(db: &Db, person: &Person) -> Result<()> {
    db.execute(
        "UPDATE user_profiles SET email = $1, name = $2, preferred_name = $3, pronouns = $4, timezone = $5, notes = $6, context = $7 WHERE user_id = $8",
        args![
            &person.email,
            &person.name,
            &person.preferred_name,
            &person.pronouns,
            &person.timezone,
            &person.notes,
            &person.context,
            &person.id
        ],
    )
    .await?;
    Ok(())
}

/// Sets the tenant in which the credentials of a person act.
pub(super) async fn activate(tx: &mut Tx, user_id: &str, tenant_id: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO user_profiles (user_id, active_tenant_id) VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET active_tenant_id = excluded.active_tenant_id",
        args![user_id, tenant_id],
    )
    .await?;
    Ok(())
}

/// Returns a caller in the tenant in which its person acts: the one of its credential, or another one of which the person is a member. The rights are those of the
/// membership, and never more than those of the credential. Sessions stay in their tenant, as do agents and keys of programs.
///
/// # Errors
/// Those of the database.
pub async fn in_active_tenant(db: &Db, caller: Caller) -> Result<Caller> {
    if caller.is_browser() || matches!(caller.principal(), Principal::Agent { .. }) {
        return Ok(caller);
    }
    let found: Option<(String, Option<String>)> = match caller.user_id() {
        Some(id) => {
            db.optional(
                "SELECT user_id, active_tenant_id FROM user_profiles WHERE user_id = $1",
                args![id],
            )
            .await?
        }
        // Only who manages the tenants of the installation may act for their owner in another one.
        None if caller.may(Scope::TenantsManage) && caller.datasets().is_none() => {
            db.optional(
                "SELECT m.user_id, p.active_tenant_id FROM memberships m JOIN user_profiles p ON p.user_id = m.user_id
                 WHERE m.tenant_id = $1 AND m.role = $2 AND m.status = $3 ORDER BY m.user_id LIMIT 1",
                args![caller.tenant(), Role::Owner, Status::Active],
            )
            .await?
        }
        None => None,
    };
    let Some((user_id, Some(tenant_id))) = found else {
        return Ok(caller);
    };
    if tenant_id == caller.tenant() {
        return Ok(caller);
    }
    let Some(member) = users::caller(db, &tenant_id, &user_id).await? else {
        // The membership has ended meanwhile.
        return Ok(caller);
    };
    let member = Caller {
        scopes: scopes::common(&member.scopes, &caller.scopes),
        credential_id: caller.credential_id,
        home_tenant_id: caller.home_tenant_id,
        dataset_ids: match &member.dataset_access {
            Some(access) => Some(access.confine(caller.credential_datasets.clone())),
            None => caller.credential_datasets.clone(),
        },
        credential_datasets: caller.credential_datasets,
        until: caller.until,
        ..member
    };
    board_access::with_groups(db, member).await
}

/// Returns the names of members, keys and agents of a tenant by their ids.
///
/// # Errors
/// Those of the database.
pub async fn names(db: &Db, tenant_id: &str, ids: &[String]) -> Result<HashMap<String, String>> {
    let mut names: HashMap<String, String> = HashMap::new();
    let keys: Vec<(String, String)> = db
        .all_in(
            "SELECT id, name FROM credentials WHERE tenant_id = $1 AND kind = 'key' AND id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await?;
    let agents: Vec<(String, String)> = db
        .all_in(
            "SELECT id, name FROM agents WHERE tenant_id = $1 AND id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await?;
    let members: Vec<(String, String)> = db
        .all_in(
            "SELECT m.user_id, COALESCE(p.name, m.name) FROM memberships m LEFT JOIN user_profiles p ON p.user_id = m.user_id WHERE m.tenant_id = $1 AND m.user_id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await?;
    for (id, name) in keys.into_iter().chain(agents).chain(members) {
        names.insert(id, name);
    }
    Ok(names)
}
