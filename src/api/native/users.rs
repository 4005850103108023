//! People of the tenant: members with roles.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::roles::{RoleName, StatusName};
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
use crate::api::{Service, dialect};
use crate::auth::sessions;
use crate::auth::users::{self, NewUser, User, UserChange};
use crate::auth::{DatasetRight, DatasetRole};

/// A member of the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserRecord {
    id: String,
    name: String,
    email: Option<String>,
    role: RoleName,
    /// An inactive member cannot sign in, and its keys are refused.
    status: StatusName,
    created_on: String,
}

impl From<User> for UserRecord {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role.into(),
            status: user.status.into(),
            created_on: user.created_on.rfc3339(),
        }
    }
}

/// A person to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    /// Unique name, 1 to 200 characters.
    name: String,
    /// Email address.
    email: Option<String>,
    /// [default: `member`]
    role: Option<RoleName>,
}

impl From<NewMember> for NewUser {
    fn from(new: NewMember) -> Self {
        Self {
            name: new.name,
            email: new.email,
            role: new.role.unwrap_or(RoleName::Member).into(),
        }
    }
}

/// The people of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    data: Vec<UserRecord>,
}

/// Lists the people of the tenant, the oldest first.
#[utoipa::path(get, path = "/kb/v1/users", tag = "administration", operation_id = "kbListUsers", security(("key" = [])),
    responses((status = 200, body = Users), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<Users>, Problem> {
    let users = users::list(&service.app.db, &service.app.clock, &caller).await?;
    Ok(Json(Users {
        data: users.into_iter().map(Into::into).collect(),
    }))
}

/// Adds a person as a member, who signs in with a link. Needs all rights of the role.
#[utoipa::path(post, path = "/kb/v1/users", tag = "administration", operation_id = "kbCreateUser", security(("key" = [])), request_body = NewMember,
    responses((status = 201, body = UserRecord), (status = "4XX", body = Fault)))]
pub(super) async fn add(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<NewMember>,
) -> Result<(StatusCode, Json<UserRecord>), Problem> {
    let (db, clock) = (&service.app.db, &service.app.clock);
    let user = users::add(db, clock, &caller, &body.into()).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// Changes of a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeMember {
    role: Option<RoleName>,
    status: Option<StatusName>,
}

/// Changes the role or the status of a member, effective at once. The tenant keeps at least one active owner.
#[utoipa::path(patch, path = "/kb/v1/users/{userId}", tag = "administration", operation_id = "kbUpdateUser", security(("key" = [])), params(("userId" = String, Path)),
    request_body = ChangeMember, responses((status = 200, body = UserRecord), (status = "4XX", body = Fault)))]
pub(super) async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<ChangeMember>,
) -> Result<Json<UserRecord>, Problem> {
    let change = UserChange {
        role: body.role.map(Into::into),
        status: body.status.map(Into::into),
    };
    let user = users::update(&service.app.db, &service.app.clock, &caller, &id, change).await?;
    Ok(Json(user.into()))
}

/// Removes a member: its sessions end, and its keys are revoked. The last active owner cannot be removed.
#[utoipa::path(delete, path = "/kb/v1/users/{userId}", tag = "administration", operation_id = "kbDeleteUser", security(("key" = [])), params(("userId" = String, Path)),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    users::remove(&service.app.db, &service.app.clock, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A link that signs a browser in once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignInLink {
    /// Address of the sandbox, with the secret in the fragment, which browsers do not send.
    url: String,
    /// When the link expires.
    expires_on: String,
}

/// Creates a link that signs a member in once; the previous link of the member is invalidated. Needs all rights of the member.
#[utoipa::path(post, path = "/kb/v1/users/{userId}/link", tag = "administration", operation_id = "createSignInLink", security(("key" = [])), params(("userId" = String, Path)),
    responses((status = 201, body = SignInLink), (status = "4XX", body = Fault)))]
pub(super) async fn link(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<SignInLink>), Problem> {
    let app = &service.app;
    let secret = sessions::link_for(app.sessions(), &caller, &id).await?;
    let expires_on = app.clock.now().plus(sessions::LINK_HOLDS);
    let link = SignInLink {
        url: sign_in_url(&headers, &secret),
        expires_on: expires_on.rfc3339(),
    };
    Ok((StatusCode::CREATED, Json(link)))
}

/// Returns the address that signs a browser in with a secret, below the address of the request.
pub(super) fn sign_in_url(headers: &HeaderMap, secret: &str) -> String {
    format!("{}/sandbox#enter={secret}", dialect::base(headers))
}

/// Role in a dataset.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum DatasetRoleName {
    /// Searches and reads.
    Reader,
    /// Changes documents, chunks, sources, crawls and labelled queries, too.
    Editor,
    /// Changes settings, defaults and generations, and deletes the dataset, too.
    Owner,
}

/// A dataset that a member uses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DatasetGrant {
    dataset_id: String,
    role: DatasetRoleName,
}

/// The datasets that a member uses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetGrants {
    /// With the role in each; null for all datasets of the tenant.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    datasets: Option<Vec<DatasetGrant>>,
}

impl From<DatasetGrant> for DatasetRight {
    fn from(grant: DatasetGrant) -> Self {
        Self {
            dataset_id: grant.dataset_id,
            role: match grant.role {
                DatasetRoleName::Reader => DatasetRole::Reader,
                DatasetRoleName::Editor => DatasetRole::Editor,
                DatasetRoleName::Owner => DatasetRole::Owner,
            },
        }
    }
}

impl From<DatasetRight> for DatasetGrant {
    fn from(right: DatasetRight) -> Self {
        Self {
            dataset_id: right.dataset_id,
            role: match right.role {
                DatasetRole::Reader => DatasetRoleName::Reader,
                DatasetRole::Editor => DatasetRoleName::Editor,
                DatasetRole::Owner => DatasetRoleName::Owner,
            },
        }
    }
}

/// Returns the datasets that a member uses, with its role in each.
#[utoipa::path(get, path = "/kb/v1/users/{userId}/datasets", tag = "administration", operation_id = "getUserDatasets", security(("key" = [])), params(("userId" = String, Path)),
    responses((status = 200, body = DatasetGrants), (status = "4XX", body = Fault)))]
pub(super) async fn datasets(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<DatasetGrants>, Problem> {
    let rights = users::datasets(&service.app.db, &caller, &id).await?;
    Ok(Json(DatasetGrants {
        datasets: rights.map(|rights| rights.into_iter().map(Into::into).collect()),
    }))
}

/// Replaces the datasets that a member uses, with its role in each; a role never gives more than the one in the tenant. Effective at once, for the keys of the member, too.
#[utoipa::path(put, path = "/kb/v1/users/{userId}/datasets", tag = "administration", operation_id = "setUserDatasets", security(("key" = [])), params(("userId" = String, Path)),
    request_body = DatasetGrants, responses((status = 200, body = DatasetGrants), (status = "4XX", body = Fault)))]
pub(super) async fn set_datasets(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<DatasetGrants>,
) -> Result<Json<DatasetGrants>, Problem> {
    let (db, clock) = (&service.app.db, &service.app.clock);
    let rights: Option<Vec<DatasetRight>> = body
        .datasets
        .map(|grants| grants.into_iter().map(Into::into).collect());
    users::set_datasets(db, clock, &caller, &id, rights.as_deref()).await?;
    Ok(Json(DatasetGrants {
        datasets: rights.map(|rights| rights.into_iter().map(Into::into).collect()),
    }))
}
