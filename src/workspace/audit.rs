//! Who changed what: every change of a workspace leaves an entry, in its own transaction.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::spec::Kind;
use super::store;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::page::{Listing, Page};

/// A change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// Id.
    pub id: String,
    /// What was changed.
    pub entity_kind: String,
    /// Its id.
    pub entity_id: String,
    /// `create` or `update`.
    pub action: String,
    /// The key that asked for it; absent for the service itself.
    pub actor: Option<String>,
    /// The operation that did it.
    pub operation: String,
    /// The request, as in the log.
    pub request_id: String,
    /// Field to [before, after].
    #[schema(value_type = Object)]
    pub changes: Value,
    /// When.
    pub created_on: String,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: String,
    entity_kind: String,
    entity_id: String,
    action: String,
    actor: Option<String>,
    operation: String,
    request_id: String,
    changes: String,
    created_on: Time,
}

/// Changes of a thing, the newest first. Needs the right to manage keys, and to read such things.
///
/// # Errors
/// `scope_missing`, `entity_invalid`.
pub async fn list(
    app: &App,
    caller: &Caller,
    entity_id: &str,
    page: &Page,
) -> Result<Listing<AuditEvent>> {
    caller.need_unconfined(Scope::KeysManage)?;
    let kind = Kind::of_id(entity_id);
    if let Some(kind) = kind {
        caller.need(kind.area.read())?;
    }
    let id = kind.and_then(|kind| kind.id(entity_id)).ok_or_else(|| {
        Error::invalid(
            "entity_invalid",
            "entityId is an id of the workspace, such as con_…",
        )
    })?;
    let before = if page.after.is_empty() {
        store::LAST
    } else {
        &page.after
    };
    let rows: Vec<Row> = app
        .db
        .all(
            "SELECT id, entity_kind, entity_id, action, actor, operation, request_id, changes, created_on FROM audit_events
             WHERE entity_id = $1 AND tenant_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
            args![id, caller.tenant(), before, page.fetch()],
        )
        .await?;
    let listing = page.listing(rows, |row| row.id.clone());
    let items = listing
        .items
        .into_iter()
        .map(|row| {
            let shown = Kind::named(&row.entity_kind)
                .map_or(row.entity_id.clone(), |k| k.shown(&row.entity_id));
            Ok(AuditEvent {
                id: row.id,
                entity_kind: row.entity_kind,
                entity_id: shown,
                action: row.action,
                actor: row.actor,
                operation: row.operation,
                request_id: row.request_id,
                changes: serde_json::from_str(&row.changes)?,
                created_on: row.created_on.rfc3339(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Listing {
        items,
        next: listing.next,
    })
}
