//! The people of a tenant. The first one, the owner, exists from the beginning.

use super::{Caller, Scope};
use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Error, Result};

/// A person.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    /// `owner` or `member`.
    pub role: String,
    pub created_on: Time,
}

/// Lists the people of the caller's tenant, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(db: &Db, clock: &Clock, caller: &Caller) -> Result<Vec<User>> {
    caller.need_unconfined(Scope::UsersRead)?;
    let all = async || {
        db.all::<User>(
            "SELECT id, name, email, role, created_on FROM users WHERE tenant_id = $1 ORDER BY id",
            args![caller.tenant()],
        )
        .await
    };
    let users = all().await?;
    if !users.is_empty() {
        return Ok(users);
    }
    db
        .execute(
            "INSERT INTO users (id, tenant_id, name, email, role, created_on) VALUES ($1, $2, 'Owner', NULL, 'owner', $3) ON CONFLICT (name, tenant_id) DO NOTHING",
            args![clock.id(), caller.tenant(), clock.now()],
        )
        .await?;
    all().await
}

/// Maximum length of a name and a mail address, in characters.
const LONGEST: usize = 200;
/// Maximum number of people in a tenant.
const MOST: usize = 1000;

/// Adds a person as a member. Requires the right to manage keys.
///
/// # Errors
/// `scope_missing`, `user_invalid`, `user_exists`, `too_many_users`.
pub async fn add(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    name: &str,
    email: Option<&str>,
) -> Result<User> {
    caller.need_unconfined(Scope::KeysManage)?;
    let name = name.trim();
    let email = email.map(str::trim).filter(|e| !e.is_empty());
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
            format!("name has 1 to {LONGEST} characters, and email is a mail address"),
        ));
    }
    // The owner counts; listing creates its row when missing.
    if list(db, clock, &Caller::local(caller.tenant()))
        .await?
        .len()
        >= MOST
    {
        return Err(Error::conflict(
            "too_many_users",
            format!("there are {MOST} people already"),
        ));
    }
    let user = User {
        id: clock.id(),
        name: name.to_owned(),
        email: email.map(str::to_owned),
        role: "member".to_owned(),
        created_on: clock.now(),
    };
    let added = db
        .execute(
            "INSERT INTO users (id, tenant_id, name, email, role, created_on) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name, tenant_id) DO NOTHING",
            args![&user.id, caller.tenant(), &user.name, user.email.clone(), &user.role, user.created_on],
        )
        .await?;
    if added == 0 {
        return Err(Error::conflict(
            "user_exists",
            "there is somebody with this name already",
        ));
    }
    Ok(user)
}

/// Removes a person. Requires the right to manage keys.
///
/// # Errors
/// `scope_missing`, `user_not_found`, `user_is_owner`.
pub async fn remove(db: &Db, clock: &Clock, caller: &Caller, id: &str) -> Result<()> {
    caller.need_unconfined(Scope::KeysManage)?;
    let people = list(db, clock, &Caller::local(caller.tenant())).await?;
    let user = people
        .iter()
        .find(|u| u.id == id)
        .ok_or_else(|| Error::not_found("user_not_found", "there is no such person"))?;
    if user.role == "owner" {
        return Err(Error::conflict("user_is_owner", "the owner stays"));
    }
    db.execute(
        "DELETE FROM users WHERE tenant_id = $1 AND id = $2",
        args![caller.tenant(), id],
    )
    .await?;
    Ok(())
}
