//! The current session: lets programs query the rights of their key, and signs browsers in and out.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::extract::session_secret;
use crate::api::native::wire::{Auth, Body, Fault, Problem};
use crate::api::session_cookie::session_cookie;
use crate::auth::sessions;
use crate::auth::{Caller, tenants};
use crate::error::{Error, Result};

/// The caller of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PrincipalRecord {
    /// `owner`, `key`, `user` or `agent`.
    kind: &'static str,
    /// Role of a member or an agent.
    role: Option<String>,
    /// Names of the tenants of which the user is an active member, and in which it can begin a session.
    tenants: Vec<String>,
}

/// The caller and its rights.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionRecord {
    /// Name of the tenant.
    tenant: String,
    /// Id under which the caller's work is recorded: of the key, the member or the agent; `owner` in a browser that the owner's link signed in.
    key_id: Option<String>,
    principal: PrincipalRecord,
    scopes: Vec<String>,
    /// Datasets that the key is restricted to.
    dataset_ids: Option<Vec<String>>,
    /// Version of the program.
    version: &'static str,
}

async fn record(service: &Service, caller: &Caller) -> Result<SessionRecord> {
    let principal = caller.principal();
    let memberships = match principal.user_id() {
        Some(id) => tenants::of_user(&service.app.db, id).await?,
        None => Vec::new(),
    };
    Ok(SessionRecord {
        principal: PrincipalRecord {
            kind: principal.kind(),
            role: principal.role().map(str::to_owned),
            tenants: memberships.into_iter().map(|t| t.name).collect(),
        },
        tenant: tenants::by_id(&service.app.db, caller.tenant()).await?.name,
        key_id: caller.actor_id().map(str::to_owned),
        scopes: caller.scopes().to_vec(),
        dataset_ids: caller.dataset_ids().map(<[String]>::to_vec),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Returns the caller and its rights.
#[utoipa::path(get, path = "/kb/v1/session", tag = "administration", operation_id = "getSession", security(("key" = [])),
    responses((status = 200, body = SessionRecord), (status = "4XX", body = Fault)))]
pub(super) async fn show(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<SessionRecord>, Problem> {
    Ok(Json(record(&service, &caller).await?))
}

/// Credentials of a sign-in: one of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignIn {
    /// An API key.
    key: Option<String>,
    /// The secret of a link that `cairn serve` or `cairn sandbox` printed, of a member's link, or of an invitation.
    link: Option<String>,
    /// Name of another tenant of which the signed-in member is a member, too.
    tenant: Option<String>,
}

/// Signs a browser in: sets an `HttpOnly` session cookie.
#[utoipa::path(post, path = "/kb/v1/session", tag = "administration", operation_id = "beginSession", request_body = SignIn,
    responses((status = 200, body = SessionRecord), (status = "4XX", body = Fault)))]
pub(super) async fn begin(
    State(service): State<Service>,
    headers: HeaderMap,
    Body(body): Body<SignIn>,
) -> Result<Response, Problem> {
    let app = &service.app;
    let current = match session_secret(&headers) {
        Some(secret) => sessions::caller(app.sessions(), &secret).await.ok(),
        None => None,
    };
    let begun = match (body.key, body.link, body.tenant) {
        (Some(key), None, None) => sessions::begin_by_key(app.sessions(), &key).await?,
        (None, Some(link), None) => {
            sessions::begin_by_link(app.sessions(), &link, current.as_ref()).await?
        }
        (None, None, Some(tenant)) => {
            let current = current.ok_or_else(sessions::expired)?;
            sessions::begin_in_tenant(app.sessions(), &current, &tenant).await?
        }
        _ => return Err(Error::invalid("body_invalid", "send one of key, link and tenant").into()),
    };
    let answer = Json(record(&service, &begun.caller).await?);
    let set = session_cookie(&headers, begun.secret, begun.lasts)?;
    Ok(([(header::SET_COOKIE, set)], answer).into_response())
}

/// Signs a browser out.
#[utoipa::path(delete, path = "/kb/v1/session", tag = "administration", operation_id = "endSession", security(("key" = [])),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn end(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    sessions::end(service.app.sessions(), &caller).await?;
    let gone = session_cookie(&headers, String::new(), Duration::ZERO)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}
