//! The audit log of records.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Problem, Query};
use crate::auth::Scope;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::kinds;
use crate::page::Page;
use crate::records::audit::{self, Entry};

/// Selects the changes of a record.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
#[into_params(rename_all = "camelCase")]
pub(super) struct AuditQuery {
    /// Id of the record, as `con_…`, `deal_…`, or as returned by the SmartSaaS API.
    entity_id: String,
    /// Maximum number of items, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// A change of a record.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvent {
    id: String,
    /// Kind of the record.
    entity_kind: String,
    entity_id: String,
    /// `create`, `update`, `delete`; for rows in folders `append_rows`, `update_row`, `delete_row`.
    action: String,
    /// Id of the key that made the change; absent for the service itself.
    actor: Option<String>,
    /// Id of the operation that made the change.
    operation: String,
    /// Id of the request, as in the log.
    request_id: String,
    /// Changed fields, each with [before, after].
    #[schema(value_type = Object)]
    changes: Value,
    created_on: String,
}

impl AuditEvent {
    fn of(entry: Entry) -> Result<Self> {
        let kind = kinds::named(&entry.entity_kind);
        Ok(Self {
            id: entry.id,
            entity_id: kind.map_or(entry.entity_id.clone(), |k| k.public_id(&entry.entity_id)),
            entity_kind: entry.entity_kind,
            action: entry.action,
            actor: entry.actor,
            operation: entry.operation,
            request_id: entry.request_id,
            changes: serde_json::from_str(&entry.changes)?,
            created_on: entry.created_on.rfc3339(),
        })
    }
}

/// A page of changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvents {
    data: Vec<AuditEvent>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Lists the changes of a record, newest first: actor, operation, request, and the changed fields with old and new values.
#[utoipa::path(get, path = "/kb/v1/audit", tag = "administration", operation_id = "kbListAuditEvents", security(("key" = [])), params(AuditQuery),
    responses((status = 200, body = AuditEvents), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditEvents>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    caller.need_unconfined(Scope::KeysManage)?;
    let kind = kinds::of_id(&query.entity_id);
    if let Some(kind) = kind {
        caller.need(kind.area.read())?;
    }
    let id = match kind {
        Some(kind) => kind.row_id(&query.entity_id),
        None => Some(query.entity_id.as_str()).filter(|id| Clock::is_id(id)),
    };
    let id = id.ok_or_else(|| {
        Error::invalid(
            "entity_invalid",
            "entityId must be the id of a record, such as con_…",
        )
    })?;
    let listing = audit::list(&service.app, caller.tenant(), id, &page).await?;
    for entry in &listing.items {
        if let Some(kind) = kinds::named(&entry.entity_kind) {
            caller.need(kind.area.read())?;
        }
    }
    Ok(Json(AuditEvents {
        data: listing
            .items
            .into_iter()
            .map(AuditEvent::of)
            .collect::<Result<_>>()?,
        next_cursor: listing.next,
    }))
}
