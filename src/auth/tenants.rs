//! Tenants: the owners of everything.

use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Error, Result};

/// An owner.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Tenant {
    /// Id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// Time of creation.
    pub created_on: Time,
}

/// Name of the tenant that the first start creates.
pub const DEFAULT: &str = "default";

/// Creates a tenant.
///
/// # Errors
/// `tenant_exists`.
pub async fn create(db: &Db, clock: &Clock, name: &str) -> Result<Tenant> {
    let tenant = Tenant {
        id: clock.id(),
        name: name.to_owned(),
        created_on: clock.now(),
    };
    let created = db
        .execute(
            "INSERT INTO tenants (id, name, created_on) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
            args![&tenant.id, &tenant.name, tenant.created_on],
        )
        .await?;
    if created == 0 {
        Err(Error::conflict(
            "tenant_exists",
            format!("there is a tenant {name:?} already"),
        ))
    } else {
        Ok(tenant)
    }
}

/// The tenant of a name.
///
/// # Errors
/// `tenant_not_found`.
pub async fn by_name(db: &Db, name: &str) -> Result<Tenant> {
    db.optional(
        "SELECT id, name, created_on FROM tenants WHERE name = $1",
        args![name],
    )
    .await?
    .ok_or_else(|| Error::not_found("tenant_not_found", format!("there is no tenant {name:?}")))
}

/// The tenant of an id.
///
/// # Errors
/// `tenant_not_found`.
pub async fn by_id(db: &Db, id: &str) -> Result<Tenant> {
    db.optional(
        "SELECT id, name, created_on FROM tenants WHERE id = $1",
        args![id],
    )
    .await?
    .ok_or_else(|| Error::not_found("tenant_not_found", "there is no such tenant"))
}

/// Creates the first tenant of an empty database; `None` when there is one already.
///
/// # Errors
/// As the database says.
pub async fn create_first(db: &Db, clock: &Clock) -> Result<Option<Tenant>> {
    let (count,): (i64,) = db.one("SELECT COUNT(*) FROM tenants", args![]).await?;
    if count > 0 {
        Ok(None)
    } else {
        create(db, clock, DEFAULT).await.map(Some)
    }
}
