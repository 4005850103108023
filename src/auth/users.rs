//! The people of a tenant: users and their memberships. The first one, the owner, exists from the beginning.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::access_log::{self, Action, Change};
use super::board_access::{self, BoardAccess};
use super::caller::{Caller, Principal};
use super::dataset_access::{DatasetAccess, DatasetRight};
use super::role::{Role, Status};
use super::{OWNER, Scope, credentials, modules};
use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

/// A person, as a member of a tenant.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
    pub status: Status,
    pub created_on: Time,
}

impl User {
    /// Returns whether the member may act.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == Status::Active
    }
}

/// A person to add or to invite.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
}

/// Maximum length of a name and a mail address, in characters.
const LONGEST: usize = 200;
/// Maximum number of people in a tenant.
const MOST: usize = 1000;
/// Maximum number of datasets in the access of a member.
const MOST_DATASETS: usize = 1000;

impl NewUser {
    /// Trims and checks name and address.
    ///
    /// # Errors
    /// `user_invalid`.
    pub(super) fn checked(&self) -> Result<Self> {
        let name = self.name.trim();
        let email = self.email.as_deref().map(str::trim);
        let email = email.filter(|e| !e.is_empty());
        let fits = |text: &str| {
            (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        let is_address = |e: &str| {
            fits(e)
                && e.split_once('@').is_some_and(|(local, domain)| {
                    !local.is_empty() && !domain.is_empty() && !domain.contains('@')
                })
        };
        if !fits(name) || !email.is_none_or(is_address) {
            return Err(Error::invalid(
                "user_invalid",
                format!(
                    "name must have 1 to {LONGEST} characters, and email must be an email address"
                ),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            email: email.map(str::to_owned),
            role: self.role,
        })
    }
}

/// Lists the people of the caller's tenant, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(db: &Db, clock: &Clock, caller: &Caller) -> Result<Vec<User>> {
    caller.need_unconfined(Scope::UsersRead)?;
    let all = async || {
        db.all::<User>(
            "SELECT user_id AS id, name, email, role, status, created_on FROM memberships WHERE tenant_id = $1 ORDER BY user_id",
            args![caller.tenant()],
        )
        .await
    };
    let users = all().await?;
    if !users.is_empty() {
        return Ok(users);
    }
    let owner = NewUser {
        name: "Owner".to_owned(),
        email: None,
        role: Role::Owner,
    };
    let mut tx = db.begin().await?;
    match join(&mut tx, clock, caller.tenant(), &owner, None, None).await {
        Ok(_) => tx.commit().await?,
        // Another request has just added it.
        Err(error) if error.code() == "user_exists" => drop(tx),
        Err(error) => return Err(error),
    }
    all().await
}

/// Adds a person as a member, who signs in with a link. Requires the right to manage keys, and all rights of the role.
///
/// # Errors
/// `scope_missing`, `user_invalid`, `user_exists`, `too_many_users`.
pub async fn add(db: &Db, clock: &Clock, caller: &Caller, new: &NewUser) -> Result<User> {
    may_grant(caller, new.role)?;
    let new = new.checked()?;
    refuse_beyond_limit(db, clock, caller).await?;
    let mut tx = db.begin().await?;
    let actor = caller.actor_id().unwrap_or(OWNER);
    let user = join(&mut tx, clock, caller.tenant(), &new, None, Some(actor)).await?;
    tx.commit().await?;
    Ok(user)
}

/// Demands the right to make somebody a member with a role.
pub(super) fn may_grant(caller: &Caller, role: Role) -> Result<()> {
    caller.need_unconfined(Scope::KeysManage)?;
    caller.need_all(&role.scopes())
}

/// Error code for a change that leaves no active owner.
pub(super) const IS_OWNER: &str = "user_is_owner";

/// Refuses another person in a full tenant whose people are locked.
pub(super) async fn refuse_beyond(tx: &mut Tx, tenant_id: &str) -> Result<()> {
    let count: Option<(i64,)> = tx
        .optional(
            "SELECT COUNT(*) FROM memberships WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    let count = count.map_or(0, |(count,)| count);
    if usize::try_from(count).unwrap_or(usize::MAX) >= MOST {
        return Err(too_many());
    }
    Ok(())
}

fn too_many() -> Error {
    Error::conflict(
        "too_many_users",
        format!("the limit of {MOST} people is reached"),
    )
}

/// Refuses another person in a full tenant. The owner counts; listing creates its row when missing.
pub(super) async fn refuse_beyond_limit(db: &Db, clock: &Clock, caller: &Caller) -> Result<()> {
    let people = list(db, clock, &Caller::local(caller.tenant())).await?;
    if people.len() >= MOST {
        return Err(too_many());
    }
    Ok(())
}

/// Makes a person a member: a new one, or the one with an id. `actor` adds it; without one, the person comes by itself.
///
/// # Errors
/// `user_exists` when the tenant has a member with the name, or the person is a member already.
pub(super) async fn join(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    new: &NewUser,
    person: Option<String>,
    actor: Option<&str>,
) -> Result<User> {
    let now = clock.now();
    let id = match person {
        Some(id) => id,
        None => {
            let id = clock.id();
            tx.execute(
                "INSERT INTO users (id, created_on) VALUES ($1, $2)",
                args![&id, now],
            )
            .await?;
            id
        }
    };
    let user = User {
        id,
        name: new.name.clone(),
        email: new.email.clone(),
        role: new.role,
        status: Status::Active,
        created_on: now,
    };
    let added = tx
        .execute(
            "INSERT INTO memberships (tenant_id, user_id, name, email, role, status, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            args![tenant_id, &user.id, &user.name, &user.email, user.role, user.status, now],
        )
        .await?;
    if added == 0 {
        return Err(exists());
    }
    let change = Change {
        tenant_id,
        actor: Some(actor.unwrap_or(&user.id)),
        action: Action::MemberAdded,
        subject: &user.id,
        name: &user.name,
        detail: json!({"role": user.role, "email": user.email}),
    };
    access_log::record(tx, clock, change).await?;
    Ok(user)
}

fn exists() -> Error {
    Error::conflict("user_exists", "a person with this name already exists")
}

/// Returns a member whose rights the caller has, too.
///
/// # Errors
/// `scope_missing`, `user_not_found`.
pub(super) async fn manageable(db: &Db, caller: &Caller, id: &str) -> Result<User> {
    caller.need_unconfined(Scope::KeysManage)?;
    let user: Option<User> = db
        .optional(
            "SELECT user_id AS id, name, email, role, status, created_on FROM memberships WHERE user_id = $1 AND tenant_id = $2",
            args![id, caller.tenant()],
        )
        .await?;
    let user = user.ok_or_else(|| Error::not_found("user_not_found", "person not found"))?;
    caller.need_all(&user.role.scopes())?;
    Ok(user)
}

/// Changes of a member.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    pub role: Option<Role>,
    pub status: Option<Status>,
}

/// Changes the role or the status of a member, effective from the next request on. Requires all rights of the old and the new role.
///
/// # Errors
/// `scope_missing`, `user_not_found`, `user_is_owner` for the last active owner.
pub async fn update(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    id: &str,
    change: UserChange,
) -> Result<User> {
    let mut user = manageable(db, caller, id).await?;
    let before = user.clone();
    user.role = change.role.unwrap_or(user.role);
    user.status = change.status.unwrap_or(user.status);
    may_grant(caller, user.role)?;
    let mut tx = db.begin().await?;
    lock(&mut tx, caller.tenant()).await?;
    tx.execute(
        "UPDATE memberships SET role = $1, status = $2 WHERE user_id = $3 AND tenant_id = $4",
        args![user.role, user.status, id, caller.tenant()],
    )
    .await?;
    if change.status.is_some() {
        // Whoever is activated or deactivated by hand stays so, whatever the groups of the identity provider say.
        tx.execute(
            "UPDATE memberships SET by_provider = NULL WHERE user_id = $1 AND tenant_id = $2",
            args![id, caller.tenant()],
        )
        .await?;
    }
    need_owner(&mut tx, caller.tenant()).await?;
    let mut detail = serde_json::Map::new();
    if user.role != before.role {
        detail.insert("role".to_owned(), json!([before.role, user.role]));
    }
    if user.status != before.status {
        detail.insert("status".to_owned(), json!([before.status, user.status]));
    }
    if !detail.is_empty() {
        let change = Change::by(
            caller,
            Action::MemberChanged,
            &user.id,
            &user.name,
            Value::Object(detail),
        );
        access_log::record(&mut tx, clock, change).await?;
    }
    tx.commit().await?;
    Ok(user)
}

/// Removes a member; its sessions end, and its keys are revoked. Requires the right to manage keys, and all rights of the member.
///
/// # Errors
/// `scope_missing`, `user_not_found`, `user_is_owner` for the last active owner.
pub async fn remove(db: &Db, clock: &Clock, caller: &Caller, id: &str) -> Result<()> {
    // Creates the owner when it is missing.
    list(db, clock, &Caller::local(caller.tenant())).await?;
    let user = manageable(db, caller, id).await?;
    let mut tx = db.begin().await?;
    lock(&mut tx, caller.tenant()).await?;
    tx.execute(
        "DELETE FROM memberships WHERE user_id = $1 AND tenant_id = $2",
        args![&user.id, caller.tenant()],
    )
    .await?;
    need_owner(&mut tx, caller.tenant()).await?;
    credentials::end_for_user(&mut tx, caller.tenant(), &user.id, clock.now()).await?;
    let change = Change::by(
        caller,
        Action::MemberRemoved,
        &user.id,
        &user.name,
        json!({"role": user.role}),
    );
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await
}

/// Locks the people of a tenant, so that of two concurrent changes the second sees the first.
pub(super) async fn lock(tx: &mut Tx, tenant_id: &str) -> Result<()> {
    tx.execute(
        "UPDATE tenants SET modules_off = modules_off WHERE id = $1",
        args![tenant_id],
    )
    .await?;
    Ok(())
}

/// Refuses a change that leaves no active owner.
pub(super) async fn need_owner(tx: &mut Tx, tenant_id: &str) -> Result<()> {
    let owner: Option<(String,)> = tx
        .optional(
            "SELECT user_id FROM memberships WHERE tenant_id = $1 AND role = 'owner' AND status = 'active' LIMIT 1",
            args![tenant_id],
        )
        .await?;
    match owner {
        Some(_) => Ok(()),
        None => Err(Error::conflict(
            IS_OWNER,
            "this is the last active owner; make somebody else an owner first",
        )),
    }
}

/// Returns the datasets that a member uses, with its roles; `None` for all of the tenant.
///
/// # Errors
/// `scope_missing`, `user_not_found`.
pub async fn datasets(
    db: &Db,
    caller: &Caller,
    user_id: &str,
) -> Result<Option<Vec<DatasetRight>>> {
    caller.need_unconfined(Scope::UsersRead)?;
    let (role, _, stored) = access_of(db, caller, user_id).await?;
    let Some(access) = DatasetAccess::stored(Some(role), stored.as_deref())? else {
        return Ok(None);
    };
    let mut rights = access.into_rights();
    let ids: Vec<String> = rights.iter().map(|r| r.dataset_id.clone()).collect();
    let known = existing(db, caller, &ids).await?;
    // Datasets that were deleted meanwhile are left out.
    rights.retain(|r| known.contains(&r.dataset_id));
    Ok(Some(rights))
}

/// Returns those of some datasets that exist.
async fn existing(db: &Db, caller: &Caller, ids: &[String]) -> Result<HashSet<String>> {
    let known: Vec<(String,)> = db
        .all_in(
            "SELECT id FROM kb_datasets WHERE tenant_id = $1 AND id IN ($LIST)",
            args![caller.tenant()],
            ids,
        )
        .await?;
    Ok(known.into_iter().map(|(id,)| id).collect())
}

/// Role, name and stored access of a member.
type DatasetsOf = (Role, String, Option<String>);

async fn access_of(db: &Db, caller: &Caller, user_id: &str) -> Result<DatasetsOf> {
    let found: Option<DatasetsOf> = db
        .optional(
            "SELECT role, name, dataset_access FROM memberships WHERE user_id = $1 AND tenant_id = $2",
            args![user_id, caller.tenant()],
        )
        .await?;
    found.ok_or_else(|| Error::not_found("user_not_found", "person not found"))
}

/// Replaces the datasets that a member uses, with its roles; `None` for all of the tenant. Effective from the next request on, also for the keys of the member.
/// Requires the right to manage keys, and all rights of the member.
///
/// # Errors
/// `scope_missing`, `user_not_found`, `dataset_not_found`, `dataset_access_invalid` for owners and administrators, and for a dataset that is named twice.
pub async fn set_datasets(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    user_id: &str,
    rights: Option<&[DatasetRight]>,
) -> Result<()> {
    caller.need_unconfined(Scope::KeysManage)?;
    let (role, name, _) = access_of(db, caller, user_id).await?;
    caller.need_all(&role.scopes())?;
    let invalid = |reason: &str| Error::invalid("dataset_access_invalid", reason);
    if rights.is_some() && matches!(role, Role::Owner | Role::Admin) {
        return Err(invalid(
            "owners and administrators use all datasets; make the person a member or a reviewer first",
        ));
    }
    let rights_of = rights.unwrap_or_default();
    if rights_of.len() > MOST_DATASETS {
        return Err(invalid("a person can be given at most 1000 datasets"));
    }
    let mut ids: Vec<String> = rights_of.iter().map(|r| r.dataset_id.clone()).collect();
    ids.sort();
    if ids.windows(2).any(|pair| pair.first() == pair.get(1)) {
        return Err(invalid("a dataset is named twice"));
    }
    let known = existing(db, caller, &ids).await?;
    if let Some(missing) = ids.iter().find(|id| !known.contains(*id)) {
        let message = format!("dataset {missing:?} not found");
        return Err(Error::not_found("dataset_not_found", message));
    }
    let stored = rights.map(serde_json::to_string).transpose()?;
    let mut tx = db.begin().await?;
    tx.execute(
        "UPDATE memberships SET dataset_access = $1, updated_on = $2 WHERE user_id = $3 AND tenant_id = $4",
        args![stored, clock.now(), user_id, caller.tenant()],
    )
    .await?;
    let change = Change::by(
        caller,
        Action::MemberChanged,
        user_id,
        &name,
        json!({"datasets": rights}),
    );
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await
}

/// Role, disabled modules, board access and dataset access of a member.
type Rights = (Role, String, bool, bool, String, Option<String>);

/// Returns the caller for work on behalf of an active member that continues without its requests.
pub(super) async fn caller(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Caller>> {
    let found: Option<Rights> = db
        .optional(
            "SELECT m.role, t.modules_off, m.all_boards_read, m.all_boards_write, m.board_access, m.dataset_access FROM memberships m JOIN tenants t ON t.id = m.tenant_id
             WHERE m.user_id = $1 AND m.tenant_id = $2 AND m.status = 'active'",
            args![id, tenant_id],
        )
        .await?;
    let Some((role, modules_off, reads_all, writes_all, rights, datasets)) = found else {
        return Ok(None);
    };
    let datasets = DatasetAccess::stored(Some(role), datasets.as_deref())?;
    let caller = Caller {
        tenant_id: tenant_id.to_owned(),
        principal: Principal::User {
            id: id.to_owned(),
            role,
        },
        credential_id: None,
        home_tenant_id: tenant_id.to_owned(),
        user_id: Some(id.to_owned()),
        boards: BoardAccess::stored(reads_all, writes_all, &rights)?,
        until: None,
        scopes: role.scopes(),
        dataset_ids: datasets.as_ref().map(|access| access.confine(None)),
        credential_datasets: None,
        dataset_access: datasets,
        modules_off: modules::areas(&modules_off),
        session: None,
    };
    board_access::with_groups(db, caller).await.map(Some)
}
