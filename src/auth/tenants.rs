//! Tenants: the owners of all data.

use serde_json::json;

use super::access_log::{self, Action, Change};
use super::keys;
use super::plans::Plan;
use super::quotas::{self, Quotas};
use super::{Caller, Scope};
use crate::clock::{Clock, Time};
use crate::db::{Db, args};
use crate::error::{Error, Result};
use crate::page::{Listing, Page};

/// A tenant.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Tenant {
    pub id: String,
    /// Unique name.
    pub name: String,
    pub created_on: Time,
    /// `None` for no limits.
    pub plan: Option<Plan>,
    #[sqlx(flatten)]
    pub quotas: Quotas,
}

/// Columns of [`Tenant`], of a table with an alias or `""`.
macro_rules! columns {
    ($of:literal) => {
        concat!(
            $of,
            "id, ",
            $of,
            "name, ",
            $of,
            "created_on, ",
            $of,
            "plan, ",
            quotas::columns!()
        )
    };
}

/// Name of the tenant that the first start creates.
pub const DEFAULT: &str = "default";

/// Maximum length of a name, in characters.
const NAME: usize = 64;

/// Demands the right to manage the tenants of the installation. It belongs to the owner of the data directory, and to keys of the first tenant with the scope.
///
/// # Errors
/// `scope_missing`, `tenant_not_operator`.
pub async fn need_operator(db: &Db, caller: &Caller) -> Result<()> {
    caller.need_unconfined(Scope::TenantsManage)?;
    let (first,): (String,) = db
        .one("SELECT id FROM tenants ORDER BY id LIMIT 1", args![])
        .await?;
    if first == caller.tenant() {
        Ok(())
    } else {
        Err(Error::forbidden(
            "tenant_not_operator",
            "managing tenants requires a key of the first tenant",
        ))
    }
}

/// Returns a page of the tenants, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn list(db: &Db, page: &Page) -> Result<Listing<Tenant>> {
    let tenants: Vec<Tenant> = db
        .all(
            concat!(
                "SELECT ",
                columns!(""),
                " FROM tenants WHERE id > $1 ORDER BY id LIMIT $2"
            ),
            args![&page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(tenants, |tenant| tenant.id.clone()))
}

/// Creates a tenant and its admin key, whose secret is returned once.
///
/// # Errors
/// `tenant_name_invalid`, `tenant_exists`.
pub async fn create_with_key(db: &Db, clock: &Clock, name: &str) -> Result<(Tenant, String)> {
    let tenant = create(db, clock, name).await?;
    let secret = keys::create_admin(db, clock, &tenant.id).await?;
    Ok((tenant, secret))
}

/// Creates a tenant.
///
/// # Errors
/// `tenant_name_invalid`, `tenant_exists`.
pub async fn create(db: &Db, clock: &Clock, name: &str) -> Result<Tenant> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > NAME || !name.chars().all(is_plain) {
        return Err(Error::invalid(
            "tenant_name_invalid",
            format!("a tenant name must have 1 to {NAME} lower-case letters, digits and dashes"),
        ));
    }
    let tenant = Tenant {
        id: clock.id(),
        name: name.to_owned(),
        created_on: clock.now(),
        plan: None,
        quotas: Quotas::default(),
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
            format!("a tenant {name:?} already exists"),
        ))
    } else {
        Ok(tenant)
    }
}

/// Sets the quotas of a tenant, for the operator of the installation, and returns it. What a tenant has beyond a smaller quota stays.
///
/// # Errors
/// `scope_missing`, `tenant_not_operator`, `tenant_not_found`, `quota_invalid`.
pub async fn set_quotas(
    db: &Db,
    clock: &Clock,
    caller: &Caller,
    id: &str,
    new: Quotas,
) -> Result<Tenant> {
    need_operator(db, caller).await?;
    let tenant = by_id(db, id).await?;
    new.check()?;
    let mut tx = db.begin().await?;
    tx.execute(
        "UPDATE tenants SET quota_documents = $1, quota_bytes = $2, quota_chunks = $3, quota_requests = $4, quota_tokens = $5 WHERE id = $6",
        args![
            new.documents,
            new.bytes,
            new.chunks,
            new.requests,
            new.tokens,
            &tenant.id
        ],
    )
    .await?;
    // The operator is of another tenant, and has no name in this one.
    let change = Change {
        tenant_id: &tenant.id,
        actor: None,
        action: Action::QuotasChanged,
        subject: &tenant.id,
        name: &tenant.name,
        detail: json!({"quotas": [tenant.quotas, new]}),
    };
    access_log::record(&mut tx, clock, change).await?;
    tx.commit().await?;
    Ok(Tenant {
        quotas: new,
        ..tenant
    })
}

/// Returns the tenant that an installation begins with.
///
/// # Errors
/// `tenant_not_found`.
pub async fn first(db: &Db) -> Result<Tenant> {
    db.optional(
        concat!("SELECT ", columns!(""), " FROM tenants ORDER BY id LIMIT 1"),
        args![],
    )
    .await?
    .ok_or_else(|| Error::not_found("tenant_not_found", "there is no tenant yet"))
}

/// Returns the tenant with a name.
///
/// # Errors
/// `tenant_not_found`.
pub async fn by_name(db: &Db, name: &str) -> Result<Tenant> {
    db.optional(
        concat!("SELECT ", columns!(""), " FROM tenants WHERE name = $1"),
        args![name],
    )
    .await?
    .ok_or_else(|| Error::not_found("tenant_not_found", format!("tenant {name:?} not found")))
}

/// Returns the tenant with an id.
///
/// # Errors
/// `tenant_not_found`.
pub async fn by_id(db: &Db, id: &str) -> Result<Tenant> {
    db.optional(
        concat!("SELECT ", columns!(""), " FROM tenants WHERE id = $1"),
        args![id],
    )
    .await?
    .ok_or_else(|| Error::not_found("tenant_not_found", "tenant not found"))
}

/// Returns the tenants of which a user is an active member, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn of_user(db: &Db, user_id: &str) -> Result<Vec<Tenant>> {
    db.all(
        concat!("SELECT ", columns!("t."), " FROM tenants t JOIN memberships m ON m.tenant_id = t.id WHERE m.user_id = $1 AND m.status = 'active' ORDER BY t.id"),
        args![user_id],
    )
    .await
}

/// Creates the first tenant of an empty database; `None` when there is one already.
///
/// # Errors
/// Those of the database.
pub async fn create_first(db: &Db, clock: &Clock) -> Result<Option<Tenant>> {
    let (count,): (i64,) = db.one("SELECT COUNT(*) FROM tenants", args![]).await?;
    if count > 0 {
        Ok(None)
    } else {
        create(db, clock, DEFAULT).await.map(Some)
    }
}
