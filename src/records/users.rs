//! The people of a tenant. The first one, its owner, is there from the beginning.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::args;
use crate::error::Result;

/// A person.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: Option<String>,
    /// `owner` or `member`.
    pub role: String,
    /// Time of creation.
    pub created_on: Time,
}

/// The people of the caller's tenant, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<User>> {
    caller.need_unconfined(Scope::UsersRead)?;
    let all = async || {
        app.db
            .all::<User>("SELECT id, name, email, role, created_on FROM users WHERE tenant_id = $1 ORDER BY id", args![caller.tenant()])
            .await
    };
    let users = all().await?;
    if !users.is_empty() {
        return Ok(users);
    }
    app.db
        .execute(
            "INSERT INTO users (id, tenant_id, name, email, role, created_on) VALUES ($1, $2, 'Owner', NULL, 'owner', $3) ON CONFLICT (name, tenant_id) DO NOTHING",
            args![app.clock.id(), caller.tenant(), app.clock.now()],
        )
        .await?;
    all().await
}
