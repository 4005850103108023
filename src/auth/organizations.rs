//! Organisations: the tenants of a person, among which the person switches.

use serde_json::json;

use super::access_log::{self, Action, Change};
use super::caller::Caller;
use super::people::{self, Person};
use super::role::Role;
use super::{Principal, Scope, members, tenants};
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

/// A tenant as its people see it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Organization {
    pub id: String,
    /// The name as people write it.
    pub name: String,
    pub created_on: Time,
    pub updated_on: Option<Time>,
}

/// A tenant of a person, with its role there.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OrganizationRole {
    pub id: String,
    pub name: String,
    pub role: Role,
}

/// Maximum length of a name, in characters.
const LONGEST: usize = 200;

/// Returns a tenant as its people see it.
///
/// # Errors
/// `tenant_not_found`.
pub async fn get(db: &Db, tenant_id: &str) -> Result<Organization> {
    db.optional(
        "SELECT id, COALESCE(title, name) AS name, created_on, updated_on FROM tenants WHERE id = $1",
        args![tenant_id],
    )
    .await?
    .ok_or_else(|| Error::not_found("tenant_not_found", "Not Found"))
}

/// Returns the tenants of a person, by name.
///
/// # Errors
/// Those of the database.
pub async fn of_person(db: &Db, user_id: &str) -> Result<Vec<OrganizationRole>> {
    let mut all: Vec<OrganizationRole> = db
        .all(
            "SELECT t.id, COALESCE(t.title, t.name) AS name, m.role FROM tenants t JOIN memberships m ON m.tenant_id = t.id
             WHERE m.user_id = $1 AND m.status = 'active'",
            args![user_id],
        )
        .await?;
    all.sort_by_key(|o| (o.name.to_lowercase(), o.id.clone()));
    Ok(all)
}

/// Demands that a caller may act in several tenants: sessions and keys of programs are bound to one.
fn need_movable(caller: &Caller) -> Result<()> {
    if caller.is_browser() {
        return Err(Error::conflict(
            "session_bound",
            "a browser session belongs to one workspace; switch it with POST /kb/v1/session",
        ));
    }
    let is_movable = match caller.principal() {
        Principal::User { .. } => true,
        Principal::Local | Principal::Owner | Principal::Key { .. } => {
            caller.user_id().is_some() || caller.may(Scope::TenantsManage)
        }
        Principal::Agent { .. } => false,
    };
    if is_movable {
        Ok(())
    } else {
        Err(Error::forbidden(
            "key_bound",
            "this key is bound to its workspace",
        ))
    }
}

/// Creates a tenant with a person as its owner, who acts there from now on.
///
/// # Errors
/// `name_missing`, `organization_exists` for a name that another tenant has, without regard to case; `session_bound`, `key_bound`.
pub async fn create(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    person: &Person,
    name: &str,
) -> Result<Organization> {
    need_movable(caller)?;
    let mut tx = db.begin().await?;
    let id = create_in(&mut tx, clock, person, name).await?;
    tx.commit().await?;
    get(db, &id).await
}

/// Creates a tenant in a transaction. Returns its id.
///
/// # Errors
/// `name_missing`, `organization_exists`.
pub(super) async fn create_in(
    tx: &mut Tx,
    clock: &Clock,
    person: &Person,
    name: &str,
) -> Result<String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST {
        return Err(Error::invalid(
            "name_missing",
            format!("name must have 1 to {LONGEST} characters"),
        ));
    }
    let exists = || {
        Error::conflict(
            "organization_exists",
            "an organization with this name exists",
        )
    };
    let key = name.to_lowercase();
    let known: Option<(String,)> = tx
        .optional(
            "SELECT id FROM tenants WHERE name = $1 OR title_key = $1",
            args![&key],
        )
        .await?;
    if known.is_some() {
        return Err(exists());
    }
    add(tx, clock, person, name, Some(&key))
        .await?
        .ok_or_else(exists)
}

/// Creates the organisation of a person who is in none: others may have one with the same name.
pub(super) async fn create_personal(tx: &mut Tx, clock: &Clock, person: &Person) -> Result<String> {
    let made = add(tx, clock, person, "Personal", None).await?;
    made.ok_or_else(|| Error::internal("an organisation could not be created"))
}

/// Adds a tenant with a person as its owner; `None` when another one has its name.
async fn add(
    tx: &mut Tx,
    clock: &Clock,
    person: &Person,
    name: &str,
    key: Option<&str>,
) -> Result<Option<String>> {
    let (id, now) = (clock.id(), clock.now());
    // The short form is for the command line; the end of the id makes it unique.
    let words: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let suffix = id.get(18..).unwrap_or_default().to_lowercase();
    let short = format!("{}-{suffix}", words.trim_matches('-'));
    let created = tx
        .execute(
            "INSERT INTO tenants (id, name, created_on, title, title_key, updated_on) VALUES ($1, $2, $3, $4, $5, $3) ON CONFLICT DO NOTHING",
            args![&id, short.trim_matches('-'), now, name, key],
        )
        .await?;
    if created == 0 {
        return Ok(None);
    }
    members::join(tx, clock, &id, person, Role::Owner).await?;
    people::activate(tx, &person.id, &id).await?;
    Ok(Some(id))
}

/// Makes a person act in another of its tenants.
///
/// # Errors
/// `organization_forbidden` when the person is not a member; `session_bound`, `key_bound`.
pub async fn activate(
    db: &Db,
    caller: &Caller,
    person: &Person,
    tenant_id: &str,
) -> Result<Organization> {
    need_movable(caller)?;
    let mine = of_person(db, &person.id).await?;
    if !mine.iter().any(|o| o.id == tenant_id) {
        return Err(Error::forbidden("organization_forbidden", "No org access"));
    }
    let mut tx = db.begin().await?;
    people::activate(&mut tx, &person.id, tenant_id).await?;
    tx.commit().await?;
    get(db, tenant_id).await
}

/// Returns whether a tenant is the first of the installation, which stays.
///
/// # Errors
/// Those of the database.
pub async fn is_first(db: &Db, tenant_id: &str) -> Result<bool> {
    let page = crate::page::Page {
        after: String::new(),
        limit: 1,
    };
    let first = tenants::list(db, &page).await?;
    Ok(first.items.first().is_some_and(|t| t.id == tenant_id))
}

/// Removes the people and the secrets of a tenant whose data is gone, and frees its name: nobody can act in it any more.
///
/// # Errors
/// Those of the database.
pub async fn close(db: &Db, clock: &Clock, tenant_id: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    for statement in [
        "UPDATE user_profiles SET active_tenant_id = NULL WHERE active_tenant_id = $1",
        "DELETE FROM credentials WHERE tenant_id = $1 AND kind IN ('session', 'link', 'invite')",
        "DELETE FROM invites WHERE tenant_id = $1",
        "DELETE FROM memberships WHERE tenant_id = $1",
    ] {
        tx.execute(statement, args![tenant_id]).await?;
    }
    tx.execute(
        "UPDATE credentials SET revoked_on = COALESCE(revoked_on, $1) WHERE tenant_id = $2",
        args![clock.now(), tenant_id],
    )
    .await?;
    tx.execute(
        "UPDATE tenants SET name = $1, title = NULL, title_key = NULL WHERE id = $2",
        args![format!("closed-{}", tenant_id.to_lowercase()), tenant_id],
    )
    .await?;
    tx.commit().await
}

/// Removes a person from the installation: memberships, profile, sessions and keys. The last owner of a tenant with other members cannot leave.
///
/// # Errors
/// `user_is_owner`.
pub async fn remove_person(db: &Db, clock: &Clock, person: &Person) -> Result<()> {
    let stuck: Option<(String,)> = db
        .optional(
            "SELECT m.tenant_id FROM memberships m WHERE m.user_id = $1 AND m.role = 'owner' AND m.status = 'active'
             AND NOT EXISTS (SELECT 1 FROM memberships o WHERE o.tenant_id = m.tenant_id AND o.user_id <> m.user_id AND o.role = 'owner' AND o.status = 'active')
             AND EXISTS (SELECT 1 FROM memberships o WHERE o.tenant_id = m.tenant_id AND o.user_id <> m.user_id) LIMIT 1",
            args![&person.id],
        )
        .await?;
    if stuck.is_some() {
        return Err(Error::conflict(
            "user_is_owner",
            "you are the last owner of an organization; make somebody else an owner first",
        ));
    }
    let mine = of_person(db, &person.id).await?;
    let mut tx = db.begin().await?;
    for tenant in mine {
        let change = Change {
            tenant_id: &tenant.id,
            actor: Some(&person.id),
            action: Action::MemberRemoved,
            subject: &person.id,
            name: person.shown_name(),
            detail: json!({"role": tenant.role}),
        };
        access_log::record(&mut tx, clock, change).await?;
    }
    tx.execute(
        "DELETE FROM credentials WHERE user_id = $1 AND kind IN ('session', 'link', 'invite')",
        args![&person.id],
    )
    .await?;
    tx.execute(
        "UPDATE credentials SET revoked_on = COALESCE(revoked_on, $1), user_id = NULL WHERE user_id = $2",
        args![clock.now(), &person.id],
    )
    .await?;
    for statement in [
        "UPDATE invites SET user_id = NULL WHERE user_id = $1",
        "UPDATE invites SET created_by = NULL WHERE created_by = $1",
        "DELETE FROM memberships WHERE user_id = $1",
        "DELETE FROM user_profiles WHERE user_id = $1",
        "DELETE FROM users WHERE id = $1",
    ] {
        tx.execute(statement, args![&person.id]).await?;
    }
    tx.commit().await
}
