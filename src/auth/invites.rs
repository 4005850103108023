//! Invitations: secrets that make their holder a member once.

use std::time::Duration;

use serde_json::Value;

use super::access_log::{self, Action, Change};
use super::caller::Caller;
use super::credentials::{Credential, Kind};
use super::role::Role;
use super::users::{self, NewUser};
use super::{Scope, credentials};
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::page::{Listing, Page};

/// An invitation without its secret.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Invite {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
    pub created_on: Time,
    /// Id of the key or the person that invited; `None` for the owner of the data directory.
    pub created_by: Option<String>,
    pub expires_on: Time,
    pub accepted_on: Option<Time>,
    /// The member that the invitation made.
    pub user_id: Option<String>,
}

/// Validity of an invitation.
const LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Invites a person. Returns the invitation and its secret, which is never shown again. Requires the right to manage keys, and all rights of the role.
///
/// # Errors
/// `scope_missing`, `user_invalid`, `too_many_users`.
pub async fn create(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    new: &NewUser,
) -> Result<(Invite, String)> {
    users::may_grant(caller, new.role)?;
    let new = new.checked()?;
    users::refuse_beyond_limit(db, clock, caller).await?;
    let (secret, now) = (clock.secret(), clock.now());
    let invite = Invite {
        id: clock.id(),
        name: new.name,
        email: new.email,
        role: new.role,
        created_on: now,
        created_by: caller.actor_id().map(str::to_owned),
        expires_on: now.plus(LASTS),
        accepted_on: None,
        user_id: None,
    };
    let credential = Credential {
        expires_on: Some(invite.expires_on),
        created_by: invite.created_by.clone(),
        name: invite.name.clone(),
        ..Credential::new(
            Kind::Invite,
            caller.tenant(),
            invite.id.clone(),
            &secret,
            now,
        )
    };
    let mut tx = db.begin().await?;
    credential.insert(&mut tx, clock).await?;
    tx.execute(
        "INSERT INTO invites (id, tenant_id, name, email, role, created_on, created_by, expires_on) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            &invite.id,
            caller.tenant(),
            &invite.name,
            &invite.email,
            invite.role,
            now,
            &invite.created_by,
            invite.expires_on
        ],
    )
    .await?;
    tx.commit().await?;
    Ok((invite, secret))
}

/// Returns a page of the invitations of the caller's tenant, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(db: &Db, caller: &Caller, page: &Page) -> Result<Listing<Invite>> {
    caller.need_unconfined(Scope::KeysManage)?;
    let invites: Vec<Invite> = db
        .all(
            "SELECT id, name, email, role, created_on, created_by, expires_on, accepted_on, user_id FROM invites WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            args![caller.tenant(), &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(invites, |invite| invite.id.clone()))
}

/// Removes an invitation, which cannot be accepted any more. The member of an accepted one stays.
///
/// # Errors
/// `scope_missing`, `invite_not_found`.
pub async fn remove(db: &Db, clock: &Clock, caller: &Caller, id: &str) -> Result<()> {
    caller.need_unconfined(Scope::KeysManage)?;
    let mut tx = db.begin().await?;
    let removed: Option<(String,)> = tx
        .optional(
            "DELETE FROM invites WHERE id = $1 AND tenant_id = $2 RETURNING name",
            args![id, caller.tenant()],
        )
        .await?;
    let (name,) = removed.ok_or_else(missing)?;
    credentials::consume(&mut tx, caller.tenant(), id).await?;
    let change = Change::by(caller, Action::InviteRemoved, id, &name, Value::Null);
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await
}

/// Makes the holder of an invitation a member, and returns the id of the user. `person` is the user that is signed in already.
///
/// # Errors
/// `invite_not_found`; `user_exists` when the tenant has a member with the name, or the person is a member already.
pub(super) async fn accept(
    tx: &mut Tx,
    clock: &Clock,
    credential: &Credential,
    person: Option<String>,
) -> Result<String> {
    let found: Option<(String, Option<String>, Role)> = tx
        .optional(
            "SELECT name, email, role FROM invites WHERE id = $1 AND tenant_id = $2",
            args![&credential.id, &credential.tenant_id],
        )
        .await?;
    let (name, email, role) = found.ok_or_else(missing)?;
    let new = NewUser { name, email, role };
    let user = users::join(tx, clock, &credential.tenant_id, &new, person, None).await?;
    tx.execute(
        "UPDATE invites SET accepted_on = $1, user_id = $2 WHERE id = $3 AND tenant_id = $4",
        args![clock.now(), &user.id, &credential.id, &credential.tenant_id],
    )
    .await?;
    Ok(user.id)
}

fn missing() -> Error {
    Error::not_found("invite_not_found", "invitation not found")
}
