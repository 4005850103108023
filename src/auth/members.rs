//! Members with their access to boards, and invitations that grant it.

use std::time::Duration;

use serde_json::json;

use super::access_log::{self, Action, Change};
use super::board_access::{BoardAccess, BoardRight};
use super::caller::Caller;
use super::credentials::{self, Credential, Kind};
use super::people::{self, Person};
use super::role::Role;
use super::users::{self, NewUser};
use super::{Scope, invites};
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

/// A member of a tenant with its access to boards.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Member {
    pub user_id: String,
    pub role: Role,
    pub all_boards_read: bool,
    pub all_boards_write: bool,
    /// JSON array of [`BoardRight`].
    pub board_access: String,
    pub created_on: Time,
    pub updated_on: Option<Time>,
    pub email: Option<String>,
    pub name: Option<String>,
    pub preferred_name: Option<String>,
}

impl Member {
    /// Returns the rights to single boards.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn rights(&self) -> Result<Vec<BoardRight>> {
        Ok(serde_json::from_str(&self.board_access)?)
    }
}

/// Access to boards, as it is granted.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    pub all_boards_read: bool,
    pub all_boards_write: bool,
    /// Board, and whether it may be read and written.
    pub boards: Vec<(String, bool, bool)>,
}

impl Grant {
    /// Returns the rights to single boards as JSON. A right to all boards makes them superfluous.
    fn stored(&self, clock: &Clock) -> Result<String> {
        let now = clock.now();
        let mut rights: Vec<BoardRight> = Vec::new();
        for (board_id, can_read, can_write) in &self.boards {
            if self.all_boards_read || self.all_boards_write {
                break;
            }
            rights.retain(|r| r.board_id != *board_id);
            rights.push(BoardRight {
                id: clock.id(),
                board_id: board_id.clone(),
                can_read: *can_read || *can_write,
                can_write: *can_write,
                created_on: now,
                updated_on: now,
            });
        }
        Ok(serde_json::to_string(&rights)?)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.user_id, m.role, m.all_boards_read, m.all_boards_write, m.board_access, m.created_on, m.updated_on,
             COALESCE(p.email, m.email) AS email, COALESCE(p.name, m.name) AS name, p.preferred_name
             FROM memberships m LEFT JOIN user_profiles p ON p.user_id = m.user_id WHERE m.tenant_id = $1 AND m.status = 'active' ",
            $rest
        )
    };
}

/// Returns a page of the members of a tenant by mail address and name, and the number of all.
///
/// # Errors
/// Those of the database.
pub async fn list(db: &Db, tenant_id: &str, limit: i64, offset: i64) -> Result<(Vec<Member>, i64)> {
    let members = db
        .all(
            select!("ORDER BY COALESCE(p.email, m.email, ''), COALESCE(p.name, m.name) LIMIT $2 OFFSET $3"),
            args![tenant_id, limit, offset],
        )
        .await?;
    let (total,): (i64,) = db
        .one(
            "SELECT COUNT(*) FROM memberships WHERE tenant_id = $1 AND status = 'active'",
            args![tenant_id],
        )
        .await?;
    Ok((members, total))
}

/// Returns a member of a tenant.
///
/// # Errors
/// `user_not_found`.
pub async fn get(db: &Db, tenant_id: &str, user_id: &str) -> Result<Member> {
    db.optional(select!("AND m.user_id = $2"), args![tenant_id, user_id])
        .await?
        .ok_or_else(|| Error::not_found("user_not_found", "Not Found"))
}

/// Replaces the access of a member to boards. Requires the right to manage keys.
///
/// # Errors
/// `scope_missing`, `user_not_found`.
pub async fn set_access(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    user_id: &str,
    grant: &Grant,
) -> Result<Member> {
    caller.need_unconfined(Scope::KeysManage)?;
    let before = get(db, caller.tenant(), user_id).await?;
    let mut tx = db.begin().await?;
    tx.execute(
        "UPDATE memberships SET all_boards_read = $1, all_boards_write = $2, board_access = $3, updated_on = $4 WHERE user_id = $5 AND tenant_id = $6",
        args![
            grant.all_boards_read,
            grant.all_boards_write,
            grant.stored(clock)?,
            clock.now(),
            user_id,
            caller.tenant()
        ],
    )
    .await?;
    let change = Change::by(
        caller,
        Action::MemberChanged,
        user_id,
        before.name.as_deref().unwrap_or_default(),
        json!({"readsAllBoards": grant.all_boards_read, "writesAllBoards": grant.all_boards_write, "boards": grant.boards.len()}),
    );
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await?;
    get(db, caller.tenant(), user_id).await
}

/// An invitation with access to boards.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct BoardInvite {
    pub id: String,
    pub email: Option<String>,
    pub role: Role,
    pub all_boards_read: bool,
    pub all_boards_write: bool,
    pub board_access: String,
    /// The secret, encrypted; absent for invitations whose secret was shown only once.
    pub sealed_token: Option<String>,
    pub created_by: Option<String>,
    pub accepted_by: Option<String>,
    pub accepted_on: Option<Time>,
    pub created_on: Time,
}

macro_rules! invite {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, role, all_boards_read, all_boards_write, board_access, sealed_token, created_by, user_id AS accepted_by, accepted_on, created_on
             FROM invites WHERE tenant_id = $1 AND email IS NOT NULL ",
            $rest
        )
    };
}

/// How long an invitation to boards is valid: the contract lets it never expire.
const LASTS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Invites a mail address. `token` is the secret of the invitation, and `sealed` the same encrypted. Requires the right to manage keys, and all rights of the role.
///
/// # Errors
/// `scope_missing`, `user_invalid`, `member_exists`, `too_many_users`.
pub async fn invite(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    (email, role): (&str, Role),
    grant: &Grant,
    (id, token, sealed): (&str, &str, &str),
) -> Result<BoardInvite> {
    users::may_grant(caller, role)?;
    let new = NewUser {
        name: email.to_owned(),
        email: Some(email.to_owned()),
        role,
    };
    let new = new.checked()?;
    users::refuse_beyond_limit(db, clock, caller).await?;
    let member: Option<(String,)> = db
        .optional(
            "SELECT m.user_id FROM memberships m LEFT JOIN user_profiles p ON p.user_id = m.user_id
             WHERE m.tenant_id = $1 AND LOWER(COALESCE(p.email, m.email)) = $2 LIMIT 1",
            args![caller.tenant(), email],
        )
        .await?;
    if member.is_some() {
        return Err(Error::conflict(
            "member_exists",
            "a member with this mail address exists",
        ));
    }
    let now = clock.now();
    let created_by = match people::of_caller(db, clock, caller).await {
        Ok(person) => Some(person.id),
        Err(error) if error.code() == "person_required" => None,
        Err(error) => return Err(error),
    };
    let credential = Credential {
        expires_on: Some(now.plus(LASTS)),
        created_by: created_by.clone(),
        name: email.to_owned(),
        ..Credential::new(Kind::Invite, caller.tenant(), id.to_owned(), token, now)
    };
    let mut tx = db.begin().await?;
    credential.insert(&mut tx, clock).await?;
    tx.execute(
        "INSERT INTO invites (id, tenant_id, name, email, role, created_on, created_by, expires_on, all_boards_read, all_boards_write, board_access, sealed_token)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        args![
            id,
            caller.tenant(),
            &new.name,
            &new.email,
            role,
            now,
            &created_by,
            now.plus(LASTS),
            grant.all_boards_read,
            grant.all_boards_write,
            grant.stored(clock)?,
            sealed
        ],
    )
    .await?;
    tx.commit().await?;
    get_invite(db, caller.tenant(), id).await
}

/// Returns an invitation.
///
/// # Errors
/// `invite_not_found`.
pub async fn get_invite(db: &Db, tenant_id: &str, id: &str) -> Result<BoardInvite> {
    db.optional(invite!("AND id = $2"), args![tenant_id, id])
        .await?
        .ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::not_found("invite_not_found", "Not Found")
}

/// Returns a page of the invitations that nobody has accepted, newest first, and the number of all. Requires the right to manage keys.
///
/// # Errors
/// `scope_missing`.
pub async fn pending(
    db: &Db,
    caller: &Caller,
    limit: i64,
    offset: i64,
) -> Result<(Vec<BoardInvite>, i64)> {
    caller.need_unconfined(Scope::KeysManage)?;
    let invites = db
        .all(
            invite!("AND accepted_on IS NULL ORDER BY id DESC LIMIT $2 OFFSET $3"),
            args![caller.tenant(), limit, offset],
        )
        .await?;
    let (total,): (i64,) = db
        .one(
            "SELECT COUNT(*) FROM invites WHERE tenant_id = $1 AND email IS NOT NULL AND accepted_on IS NULL",
            args![caller.tenant()],
        )
        .await?;
    Ok((invites, total))
}

/// Removes an invitation and returns it as it was.
///
/// # Errors
/// `scope_missing`, `invite_not_found`.
pub async fn revoke(db: &Db, clock: &Clock, caller: &Caller, id: &str) -> Result<BoardInvite> {
    let invite = get_invite(db, caller.tenant(), id).await?;
    invites::remove(db, clock, caller, id).await?;
    Ok(invite)
}

/// Makes a person a member by the secret of an invitation to its mail address. Of an existing member, the role is only raised and access only added. The person
/// acts in that tenant from now on. Returns the tenant.
///
/// # Errors
/// `invite_not_found`; `invite_other_address` when the invitation is for another mail address.
pub async fn accept(db: &Db, clock: &Clock, person: &Person, token: &str) -> Result<String> {
    let credential = credentials::by_secret(db, token)
        .await?
        .filter(|c| c.kind == Kind::Invite && c.is_valid(clock.now()))
        .ok_or_else(not_found)?;
    let tenant_id = credential.tenant_id.clone();
    let invite = get_invite(db, &tenant_id, &credential.id).await?;
    let same = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (Some(a), Some(b)) => a.trim().to_lowercase() == b.trim().to_lowercase(),
        _ => false,
    };
    if !same(&invite.email, &person.email) {
        return Err(Error::forbidden(
            "invite_other_address",
            "this invitation is for another mail address",
        ));
    }
    let mut tx = db.begin().await?;
    if !credentials::consume(&mut tx, &tenant_id, &credential.id).await? {
        return Err(not_found());
    }
    admit(&mut tx, clock, &tenant_id, person, &invite).await?;
    settle(&mut tx, clock, &tenant_id, person, &invite.id).await?;
    tx.commit().await?;
    Ok(tenant_id)
}

/// Accepts the newest invitation to the mail address of a person, if there is one, and returns its tenant.
pub(super) async fn accept_pending(
    tx: &mut Tx,
    clock: &Clock,
    person: &Person,
) -> Result<Option<String>> {
    let Some(email) = &person.email else {
        return Ok(None);
    };
    let found: Option<(String, String)> = tx
        .optional(
            "SELECT id, tenant_id FROM invites WHERE LOWER(email) = $1 AND accepted_on IS NULL AND expires_on > $2 ORDER BY id DESC LIMIT 1",
            args![email.to_lowercase(), clock.now()],
        )
        .await?;
    let Some((id, tenant_id)) = found else {
        return Ok(None);
    };
    let invite: Option<BoardInvite> = tx
        .optional(invite!("AND id = $2"), args![&tenant_id, &id])
        .await?;
    let invite = invite.ok_or_else(not_found)?;
    credentials::consume(tx, &tenant_id, &id).await?;
    admit(tx, clock, &tenant_id, person, &invite).await?;
    settle(tx, clock, &tenant_id, person, &id).await?;
    Ok(Some(tenant_id))
}

/// Marks an invitation as accepted; its person acts in that tenant from now on.
async fn settle(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    person: &Person,
    id: &str,
) -> Result<()> {
    people::activate(tx, &person.id, tenant_id).await?;
    tx.execute(
        "UPDATE invites SET accepted_on = $1, user_id = $2, sealed_token = NULL WHERE id = $3 AND tenant_id = $4",
        args![clock.now(), &person.id, id, tenant_id],
    )
    .await?;
    Ok(())
}

/// Adds a person, or what an invitation grants to a member.
async fn admit(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    person: &Person,
    invite: &BoardInvite,
) -> Result<()> {
    let present: Option<(Role, bool, bool, String)> = tx
        .optional(
            "SELECT role, all_boards_read, all_boards_write, board_access FROM memberships WHERE user_id = $1 AND tenant_id = $2",
            args![&person.id, tenant_id],
        )
        .await?;
    let granted = BoardAccess::stored(
        invite.all_boards_read,
        invite.all_boards_write,
        &invite.board_access,
    )?;
    let (mut role, mut access) = (invite.role, granted.clone());
    let old_role = present.as_ref().map(|(role, ..)| *role);
    match present {
        Some((old, reads, writes, rights)) => {
            if old.rank() > role.rank() {
                role = old;
            }
            access = BoardAccess::stored(
                reads || granted.reads_all,
                writes || granted.writes_all,
                &rights,
            )?;
            for right in granted.rights {
                match access
                    .rights
                    .iter_mut()
                    .find(|r| r.board_id == right.board_id)
                {
                    Some(known) => {
                        known.can_read |= right.can_read;
                        known.can_write |= right.can_write;
                    }
                    None => access.rights.push(right),
                }
            }
        }
        None => join(tx, clock, tenant_id, person, role).await?,
    }
    tx.execute(
        "UPDATE memberships SET role = $1, all_boards_read = $2, all_boards_write = $3, board_access = $4, status = 'active', updated_on = $5 WHERE user_id = $6 AND tenant_id = $7",
        args![
            role,
            access.reads_all,
            access.writes_all,
            serde_json::to_string(&access.rights)?,
            clock.now(),
            &person.id,
            tenant_id
        ],
    )
    .await?;
    match old_role {
        Some(old) => {
            let change = Change {
                tenant_id,
                actor: Some(&person.id),
                action: Action::MemberChanged,
                subject: &person.id,
                name: person.shown_name(),
                detail: json!({"role": [old, role], "invite": invite.id}),
            };
            access_log::record(tx, clock, change).await
        }
        None => Ok(()),
    }
}

/// Adds a person as a member, under a name that is free in the tenant.
pub(super) async fn join(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    person: &Person,
    role: Role,
) -> Result<()> {
    let name = person.name.clone().unwrap_or_default();
    let email = person.email.clone().unwrap_or_default();
    let names = [
        name.clone(),
        email.clone(),
        format!("{name} ({email})"),
        person.id.clone(),
    ];
    for name in names.into_iter().filter(|n| !n.trim().is_empty()) {
        let new = NewUser {
            name,
            email: person.email.clone(),
            role,
        };
        match users::join(tx, clock, tenant_id, &new, Some(person.id.clone()), None).await {
            Err(error) if error.code() == "user_exists" => {}
            joined => return joined.map(|_| ()),
        }
    }
    Err(Error::internal("a person has no name that is free"))
}
