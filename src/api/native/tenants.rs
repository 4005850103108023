//! Tenants of the installation, for its operator.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::auth::Scope;
use crate::auth::quotas::{self, Quotas};
use crate::auth::tenants::{self, Tenant};
use crate::kb::usage::{self, Usage};

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantRecord {
    id: String,
    name: String,
    created_on: String,
    quotas: Quotas,
}

impl From<Tenant> for TenantRecord {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id,
            name: tenant.name,
            created_on: tenant.created_on.rfc3339(),
            quotas: tenant.quotas,
        }
    }
}

/// A page of tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tenants {
    data: Vec<TenantRecord>,
    pagination: Pagination,
}

/// Lists the tenants of the installation, the oldest first. Needs a key of the first tenant with `tenants:manage`.
#[utoipa::path(get, path = "/kb/v1/tenants", tag = "administration", operation_id = "listTenants", security(("key" = [])), params(Paging),
    responses((status = 200, body = Tenants), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
) -> Result<Json<Tenants>, Problem> {
    let db = &service.app.db;
    tenants::need_operator(db, &caller).await?;
    let found = tenants::list(db, &paging.page(50)?).await?;
    Ok(Json(Tenants {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// A tenant to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    /// 1 to 64 lower-case letters, digits and dashes; unique in the installation.
    name: String,
}

/// A new tenant with its admin key, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedTenant {
    #[serde(flatten)]
    tenant: TenantRecord,
    key: String,
}

/// Creates a tenant with an admin key. Needs a key of the first tenant with `tenants:manage`.
#[utoipa::path(post, path = "/kb/v1/tenants", tag = "administration", operation_id = "createTenant", security(("key" = [])), request_body = NewTenant,
    responses((status = 201, body = CreatedTenant), (status = "4XX", body = Fault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<NewTenant>,
) -> Result<(StatusCode, Json<CreatedTenant>), Problem> {
    let app = &service.app;
    tenants::need_operator(&app.db, &caller).await?;
    let (tenant, key) = tenants::create_with_key(&app.db, &app.clock, &body.name).await?;
    let created = CreatedTenant {
        tenant: tenant.into(),
        key,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// A tenant with its usage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantWithUsage {
    #[serde(flatten)]
    tenant: TenantRecord,
    usage: Usage,
}

/// Returns a tenant of the installation with its quotas and how much of them it uses. Needs a key of the first tenant with `tenants:manage`.
#[utoipa::path(get, path = "/kb/v1/tenants/{tenantId}", tag = "administration", operation_id = "getTenant", security(("key" = [])), params(("tenantId" = String, Path)),
    responses((status = 200, body = TenantWithUsage), (status = "4XX", body = Fault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<TenantWithUsage>, Problem> {
    let app = &service.app;
    tenants::need_operator(&app.db, &caller).await?;
    let tenant = tenants::by_id(&app.db, &id).await?;
    Ok(Json(TenantWithUsage {
        usage: usage::of(app, &tenant.id).await?,
        tenant: tenant.into(),
    }))
}

/// Replaces the quotas of a tenant, effective at once; what it has beyond a smaller quota stays. Needs a key of the first tenant with `tenants:manage`.
#[utoipa::path(put, path = "/kb/v1/tenants/{tenantId}/quotas", tag = "administration", operation_id = "setTenantQuotas", security(("key" = [])),
    params(("tenantId" = String, Path)), request_body = Quotas, responses((status = 200, body = Quotas), (status = "4XX", body = Fault)))]
pub(super) async fn set_quotas(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<Quotas>,
) -> Result<Json<Quotas>, Problem> {
    let app = &service.app;
    let tenant = tenants::set_quotas(&app.db, &app.clock, &caller, &id, body).await?;
    Ok(Json(tenant.quotas))
}

/// The usage of a tenant and its quotas.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageOfQuotas {
    usage: Usage,
    quotas: Quotas,
}

/// Returns how much the tenant of the caller has and uses, and its quotas.
#[utoipa::path(get, path = "/kb/v1/usage", tag = "administration", operation_id = "getUsage", security(("key" = [])),
    responses((status = 200, body = UsageOfQuotas), (status = "4XX", body = Fault)))]
pub(super) async fn own_usage(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<UsageOfQuotas>, Problem> {
    let app = &service.app;
    // The figures are those of all datasets.
    caller.need_unconfined(Scope::KbRead)?;
    Ok(Json(UsageOfQuotas {
        usage: usage::of(app, caller.tenant()).await?,
        quotas: quotas::of(&app.db, caller.tenant()).await?,
    }))
}
