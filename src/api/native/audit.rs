//! The audit of the workspace.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Problem, Query};
use crate::page::Page;
use crate::workspace::audit::{self, AuditEvent};

/// Whose changes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
#[into_params(rename_all = "camelCase")]
pub(super) struct AuditQuery {
    /// The thing, as `con_…`, `deal_…`.
    entity_id: String,
    /// 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvents {
    data: Vec<AuditEvent>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Lists the changes of a thing of the workspace, the newest first: who, by which operation and request, which fields from what to what.
#[utoipa::path(get, path = "/kb/v1/audit", tag = "workspace", security(("key" = [])), params(AuditQuery),
    responses((status = 200, body = AuditEvents), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditEvents>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let listing = audit::list(&service.app, &caller, &query.entity_id, &page).await?;
    Ok(Json(AuditEvents {
        data: listing.items,
        next_cursor: listing.next,
    }))
}
