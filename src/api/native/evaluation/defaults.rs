//! Search defaults of a dataset: read, replace, undo.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
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
    let history = versions
        .into_iter()
        .map(|v| {
            Ok(DefaultsVersion {
                defaults: serde_json::from_str(&v.defaults)?,
                reason: v.reason,
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

/// Sets the search defaults; the previous version can be restored.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/search-defaults", tag = "evaluation", operation_id = "setSearchDefaults", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = Defaults, responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn set_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Body(body): Body<serde_json::Value>,
) -> Result<Json<DefaultsRecord>, Problem> {
    defaults::get(&service.app, &caller, &dataset).await?;
    // A misspelt name would otherwise be ignored.
    let new: Defaults = serde_json::from_value(body)
        .map_err(|e| Error::invalid("defaults_invalid", e.to_string()))?;
    defaults::set(&service.app, &caller, &dataset, &new, "set by hand").await?;
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
