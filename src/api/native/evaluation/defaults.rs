//! Search defaults of a dataset: read, replace, undo.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem, Query};
use crate::auth::people;
use crate::error::{Error, Result};
use crate::evaluation::defaults;
use crate::search::Defaults;

/// An earlier version of the search defaults.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefaultsVersion {
    defaults: Defaults,
    /// Reason of the change.
    reason: String,
    /// Id of the key, the member or the agent that set it; absent for the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<String>,
    /// Its name today.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by_name: Option<String>,
    created_on: String,
}

/// Default search settings of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DefaultsRecord {
    defaults: Defaults,
    /// All versions, latest first.
    history: Vec<DefaultsVersion>,
}

async fn defaults_record(
    service: &Service,
    caller: &crate::auth::Caller,
    dataset: &str,
) -> Result<Json<DefaultsRecord>> {
    let versions = defaults::versions(&service.app, caller, dataset).await?;
    let mut ids: Vec<String> = versions
        .iter()
        .filter_map(|v| v.changed_by.clone())
        .collect();
    ids.sort();
    ids.dedup();
    let names = people::names(&service.app.db, caller.tenant(), &ids).await?;
    let history = versions
        .into_iter()
        .map(|v| {
            Ok(DefaultsVersion {
                defaults: serde_json::from_str(&v.defaults)?,
                reason: v.reason,
                changed_by_name: v.changed_by.as_ref().and_then(|id| names.get(id).cloned()),
                changed_by: v.changed_by,
                created_on: v.created_on.rfc3339(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Json(DefaultsRecord {
        defaults: defaults::get(&service.app, caller, dataset).await?,
        history,
    }))
}

/// Returns the default search settings of a dataset.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/search-defaults", tag = "evaluation", operation_id = "getSearchDefaults", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn get_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<DefaultsRecord>, Problem> {
    Ok(defaults_record(&service, &caller, &dataset).await?)
}

/// Most characters of a reason.
const REASON: usize = 300;

/// Says why defaults are set.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DefaultsQuery {
    /// Why they are set, for the history; at most 300 characters. `set by hand` when absent.
    reason: Option<String>,
}

/// Sets the search defaults; the previous version can be restored.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/search-defaults", tag = "evaluation", operation_id = "setSearchDefaults", security(("key" = [])),
    params(("datasetId" = String, Path), DefaultsQuery),
    request_body = Defaults, responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn set_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Query(query): Query<DefaultsQuery>,
    Body(body): Body<serde_json::Value>,
) -> Result<Json<DefaultsRecord>, Problem> {
    defaults::get(&service.app, &caller, &dataset).await?;
    // A misspelt name would otherwise be ignored.
    let new: Defaults = serde_json::from_value(body)
        .map_err(|e| Error::invalid("defaults_invalid", e.to_string()))?;
    let reason = query.reason.as_deref().unwrap_or("set by hand").trim();
    if reason.is_empty() || reason.chars().count() > REASON || reason.contains('\0') {
        return Err(Error::invalid(
            "reason_invalid",
            format!("reason must have 1 to {REASON} characters"),
        )
        .into());
    }
    defaults::set(&service.app, &caller, &dataset, &new, reason).await?;
    Ok(defaults_record(&service, &caller, &dataset).await?)
}

/// Restores the previous version of the search defaults.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/search-defaults/undo", tag = "evaluation", operation_id = "undoSearchDefaults", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn undo_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<DefaultsRecord>, Problem> {
    defaults::undo(&service.app, &caller, &dataset).await?;
    Ok(defaults_record(&service, &caller, &dataset).await?)
}
