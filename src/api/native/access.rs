//! Keys, effective settings and modules.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::auth::keys::{self, Key, Made, NewKey};
use crate::auth::{Caller, Scope, modules};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::search::{alpha, request};

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyRecord {
    id: String,
    name: String,
    /// The first characters of the key.
    hint: String,
    scopes: Vec<String>,
    dataset_ids: Option<Vec<String>>,
    expires_on: Option<String>,
    rate_per_minute: Option<i64>,
    last_used_on: Option<String>,
    revoked_on: Option<String>,
    created_on: String,
    /// Id of the key that created it; absent when the owner of the data directory did.
    created_by: Option<String>,
}

impl From<Key> for KeyRecord {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            scopes: key.scopes,
            dataset_ids: key.dataset_ids,
            expires_on: key.expires_on.map(Time::rfc3339),
            rate_per_minute: key.rate_per_minute,
            last_used_on: key.last_used_on.map(Time::rfc3339),
            revoked_on: key.revoked_on.map(Time::rfc3339),
            created_on: key.created_on.rfc3339(),
            created_by: key.created_by,
        }
    }
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    data: Vec<KeyRecord>,
    pagination: Pagination,
}

/// Lists the keys of the tenant, revoked ones included.
#[utoipa::path(get, path = "/kb/v1/keys", tag = "administration", operation_id = "listKeys", security(("key" = [])), params(Paging),
    responses((status = 200, body = Keys), (status = "4XX", body = Fault)))]
pub(super) async fn list_keys(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
) -> Result<Json<Keys>, Problem> {
    caller.need_unconfined(Scope::KeysManage)?;
    let found = keys::list(&service.app.db, caller.tenant(), &paging.page(50)?).await?;
    Ok(Json(Keys {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// A key to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateKey {
    name: String,
    /// Scopes: `kb:read`, `kb:write`, `kb:search`, `keys:manage`, `system:read`, wildcards like `kb:*`, or `admin`.
    scopes: Vec<String>,
    /// Restricts the key to these datasets.
    dataset_ids: Option<Vec<String>>,
    /// Expiry, RFC 3339.
    expires_on: Option<String>,
    rate_per_minute: Option<i64>,
}

/// A new key with its secret, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedKey {
    #[serde(flatten)]
    record: KeyRecord,
    key: String,
}

impl CreatedKey {
    /// Returns a key with its secret, which is shown only once.
    #[must_use]
    pub fn new(key: Key, secret: String) -> Self {
        Self {
            record: key.into(),
            key: secret,
        }
    }
}

/// Creates a key. Its scopes are a subset of the caller's, it expires no later than the caller's key, and it also counts against that key's rate limit.
#[utoipa::path(post, path = "/kb/v1/keys", tag = "administration", operation_id = "createKey", security(("key" = [])), request_body = CreateKey,
    responses((status = 201, body = CreatedKey), (status = "4XX", body = Fault)))]
pub(super) async fn create_key(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    caller.need_unconfined(Scope::KeysManage)?;
    for id in body.dataset_ids.iter().flatten() {
        datasets::settings(&service.app, &caller, id).await?;
    }
    let expires_on = body.expires_on.as_deref().map(time).transpose()?;
    let new = NewKey {
        name: body.name,
        scopes: body.scopes,
        dataset_ids: body.dataset_ids,
        expires_on,
        rate_per_minute: body.rate_per_minute,
        prefix: None,
    };
    let (key, secret) = keys::mint(&service.app.db, &service.app.clock, &caller, new).await?;
    Ok((StatusCode::CREATED, Json(CreatedKey::new(key, secret))))
}

/// Parses an RFC 3339 time.
///
/// # Errors
/// `time_invalid`.
pub(crate) fn time(text: &str) -> Result<Time> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text);
    parsed.map(|t| Time(t.timestamp_millis())).map_err(|_| {
        Error::invalid(
            "time_invalid",
            format!("{text:?} is not an RFC 3339 time such as 2026-04-01T09:00:00Z"),
        )
    })
}

/// Options of a revocation.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Revocation {
    /// Also revokes the keys that this key created, recursively.
    #[serde(default)]
    children: bool,
}

/// Revokes a key immediately; `createdBy` in the list shows which keys it created. Keys with scopes that the caller does not have cannot be revoked.
#[utoipa::path(delete, path = "/kb/v1/keys/{keyId}", tag = "administration", operation_id = "revokeKey", security(("key" = [])), params(("keyId" = String, Path), Revocation),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn revoke_key(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(revocation): Query<Revocation>,
) -> Result<StatusCode, Problem> {
    let made = if revocation.children {
        Made::EndToo
    } else {
        Made::GoOn
    };
    keys::revoke(&service.app.db, &service.app.clock, &caller, &id, made).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Effective settings of this installation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    version: &'static str,
    embedding_provider: String,
    embedding_model: String,
    vector_size: usize,
    max_tokens: usize,
    /// Vector store: `embedded` or `server`.
    vector_store: &'static str,
    /// Database: `sqlite` or `postgres`.
    database: &'static str,
    file_types: Vec<&'static str>,
    upload_files: usize,
    upload_file_bytes: u64,
    upload_batch_bytes: u64,
    search_candidates: usize,
    hybrid_alpha: f32,
    max_top_k: usize,
    max_query_characters: usize,
}

/// Returns the effective settings that are relevant to callers.
#[utoipa::path(get, path = "/kb/v1/settings", tag = "administration", operation_id = "getSettings", security(("key" = [])), responses((status = 200, body = Settings), (status = "4XX", body = Fault)))]
pub(super) async fn settings(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<Settings>, Problem> {
    caller.need(Scope::KbRead)?;
    let app = &service.app;
    let spec = app.embedder().await?.spec().clone();
    Ok(Json(Settings {
        version: env!("CARGO_PKG_VERSION"),
        embedding_provider: spec.provider,
        embedding_model: spec.model,
        vector_size: spec.dimensions,
        max_tokens: spec.max_tokens,
        vector_store: if app.cluster.is_none() {
            "embedded"
        } else {
            "server"
        },
        database: if app.db.is_shared() {
            "postgres"
        } else {
            "sqlite"
        },
        file_types: cairn_ingest::Format::extensions(),
        upload_files: app.config.upload_files,
        upload_file_bytes: app.config.upload_file_mb << 20,
        upload_batch_bytes: app.config.upload_batch_mb << 20,
        search_candidates: app.config.search_candidates,
        hybrid_alpha: alpha::KNOWN,
        max_top_k: request::MAX_TOP_K,
        max_query_characters: request::MAX_QUERY,
    }))
}

/// A module of the workspace API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Module {
    name: &'static str,
    enabled: bool,
}

/// Modules of the workspace API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Modules {
    data: Vec<Module>,
}

/// The state to set.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetModule {
    enabled: bool,
}

async fn modules(service: &Service, caller: &Caller) -> Result<Json<Modules>, Problem> {
    let modules = modules::list(&service.app.db, caller).await?;
    let data = modules.into_iter();
    Ok(Json(Modules {
        data: data
            .map(|(name, enabled)| Module { name, enabled })
            .collect(),
    }))
}

/// Lists the modules of the workspace API (`/v1`) and whether each is enabled.
#[utoipa::path(get, path = "/kb/v1/modules", tag = "administration", operation_id = "listModules", security(("key" = [])),
    responses((status = 200, body = Modules), (status = "4XX", body = Fault)))]
pub(super) async fn list_modules(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<Modules>, Problem> {
    modules(&service, &caller).await
}

/// Enables or disables a module. The operations of a disabled module are refused and its records are not searched; the records stay.
#[utoipa::path(put, path = "/kb/v1/modules/{module}", tag = "administration", operation_id = "setModule", security(("key" = [])), params(("module" = String, Path, description = "Module name")), request_body = SetModule,
    responses((status = 200, body = Modules), (status = "4XX", body = Fault)))]
pub(super) async fn set_module(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(module): Path<String>,
    Body(given): Body<SetModule>,
) -> Result<Json<Modules>, Problem> {
    modules::set(
        &service.app.db,
        &service.app.clock,
        &caller,
        &module,
        given.enabled,
    )
    .await?;
    modules(&service, &caller).await
}
