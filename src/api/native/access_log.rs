//! The log of access: who gave, changed or took rights, and who signed in.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Problem, Query};
use crate::auth::access_log::{self, Filter};
use crate::auth::people;
use crate::error::Result;
use crate::page::Page;

/// Selects entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
#[into_params(rename_all = "camelCase")]
pub(super) struct AccessLogQuery {
    /// Id of the key, the member or the agent that made the change; `owner` for browsers that the owner's link signed in.
    actor: Option<String>,
    /// Id of the key, the member, the agent or the invitation that was changed.
    subject: Option<String>,
    /// Maximum number of items, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// A change of access, or a sign-in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessEvent {
    id: String,
    /// Such as `key.created`, `member.changed` or `session.begun`.
    action: String,
    /// Id of the key, the member or the agent that did it; absent for the command line, the identity provider and the service itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// Name of the actor today.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_name: Option<String>,
    /// Id of what was changed.
    subject: String,
    /// Its name at that time, or today where the entry has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_name: Option<String>,
    /// Particulars, such as `role` with [before, after].
    #[schema(value_type = Object)]
    detail: Value,
    created_on: String,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessEvents {
    data: Vec<AccessEvent>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Lists changes of access and sign-ins, newest first: keys, agents, members, invitations, sign-in links, modules and plans.
#[utoipa::path(get, path = "/kb/v1/access-log", tag = "administration", operation_id = "listAccessEvents", security(("key" = [])), params(AccessLogQuery),
    responses((status = 200, body = AccessEvents), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<AccessLogQuery>,
) -> Result<Json<AccessEvents>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let filter = Filter {
        actor: query.actor,
        subject: query.subject,
    };
    let db = &service.app.db;
    let listing = access_log::list(db, &caller, &filter, &page).await?;
    let subjects = listing.items.iter().map(|entry| entry.subject.clone());
    let actors = listing.items.iter().filter_map(|entry| entry.actor.clone());
    let mut ids: Vec<String> = subjects.chain(actors).collect();
    ids.sort();
    ids.dedup();
    let names = people::names(db, caller.tenant(), &ids).await?;
    let events = listing.items.into_iter().map(|entry| {
        let named = Some(entry.name).filter(|name| !name.is_empty());
        Ok(AccessEvent {
            id: entry.id,
            action: entry.action.to_string(),
            actor_name: entry.actor.as_ref().and_then(|id| names.get(id).cloned()),
            subject_name: named.or_else(|| names.get(&entry.subject).cloned()),
            actor: entry.actor,
            subject: entry.subject,
            detail: serde_json::from_str(&entry.detail)?,
            created_on: entry.created_on.rfc3339(),
        })
    });
    Ok(Json(AccessEvents {
        data: events.collect::<Result<_>>()?,
        next_cursor: listing.next,
    }))
}
