//! Invitations of people to the tenant.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::roles::RoleName;
use super::users::{NewMember, sign_in_url};
use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::auth::invites::{self, Invite};
use crate::clock::Time;

/// An invitation without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InviteRecord {
    id: String,
    name: String,
    email: Option<String>,
    role: RoleName,
    created_on: String,
    /// Id of the key or the person that invited; absent when the owner of the data directory did.
    created_by: Option<String>,
    expires_on: String,
    /// Absent while the invitation is pending.
    accepted_on: Option<String>,
    /// The member that the invitation made.
    user_id: Option<String>,
}

impl From<Invite> for InviteRecord {
    fn from(invite: Invite) -> Self {
        Self {
            id: invite.id,
            name: invite.name,
            email: invite.email,
            role: invite.role.into(),
            created_on: invite.created_on.rfc3339(),
            created_by: invite.created_by,
            expires_on: invite.expires_on.rfc3339(),
            accepted_on: invite.accepted_on.map(Time::rfc3339),
            user_id: invite.user_id,
        }
    }
}

/// A page of invitations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Invites {
    data: Vec<InviteRecord>,
    pagination: Pagination,
}

/// Lists the invitations of the tenant, accepted ones included, the oldest first.
#[utoipa::path(get, path = "/kb/v1/invites", tag = "administration", operation_id = "listInvites", security(("key" = [])), params(Paging),
    responses((status = 200, body = Invites), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
) -> Result<Json<Invites>, Problem> {
    let found = invites::list(&service.app.db, &caller, &paging.page(50)?).await?;
    Ok(Json(Invites {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// A new invitation with its link, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedInvite {
    #[serde(flatten)]
    record: InviteRecord,
    /// Address of the sandbox that makes its reader a member once.
    url: String,
}

/// Invites a person: the link makes its reader a member once within 7 days. Needs all rights of the role.
#[utoipa::path(post, path = "/kb/v1/invites", tag = "administration", operation_id = "createInvite", security(("key" = [])), request_body = NewMember,
    responses((status = 201, body = CreatedInvite), (status = "4XX", body = Fault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
    Body(body): Body<NewMember>,
) -> Result<(StatusCode, Json<CreatedInvite>), Problem> {
    let (db, clock) = (&service.app.db, &service.app.clock);
    let (invite, secret) = invites::create(db, clock, &caller, &body.into()).await?;
    let created = CreatedInvite {
        record: invite.into(),
        url: sign_in_url(&headers, &secret),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Removes an invitation, which cannot be accepted any more. The member of an accepted one stays.
#[utoipa::path(delete, path = "/kb/v1/invites/{inviteId}", tag = "administration", operation_id = "deleteInvite", security(("key" = [])),
    params(("inviteId" = String, Path)), responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    invites::remove(&service.app.db, &service.app.clock, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
