//! People of the tenant, which agents see as its users.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
use crate::auth::people::{self, User};

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PersonRecord {
    id: String,
    name: String,
    email: Option<String>,
    /// `owner` or `member`.
    role: String,
    created_on: String,
}

impl From<User> for PersonRecord {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role,
            created_on: user.created_on.rfc3339(),
        }
    }
}

/// A person to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPerson {
    /// Unique name, 1 to 200 characters.
    name: String,
    /// Email address.
    email: Option<String>,
}

/// The people of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct People {
    data: Vec<PersonRecord>,
}

/// Lists the people of the tenant.
#[utoipa::path(get, path = "/kb/v1/users", tag = "kb", security(("key" = [])),
    responses((status = 200, body = People), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<People>, Problem> {
    let users = people::list(&service.app.db, &service.app.clock, &caller).await?;
    Ok(Json(People {
        data: users.into_iter().map(Into::into).collect(),
    }))
}

/// Adds a person with the role `member`.
#[utoipa::path(post, path = "/kb/v1/users", tag = "kb", security(("key" = [])), request_body = NewPerson,
    responses((status = 201, body = PersonRecord), (status = "4XX", body = Fault)))]
pub(super) async fn add(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<NewPerson>,
) -> Result<(StatusCode, Json<PersonRecord>), Problem> {
    let user = people::add(
        &service.app.db,
        &service.app.clock,
        &caller,
        &body.name,
        body.email.as_deref(),
    )
    .await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// Removes a person; the owner cannot be removed.
#[utoipa::path(delete, path = "/kb/v1/users/{userId}", tag = "kb", security(("key" = [])), params(("userId" = String, Path)),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    people::remove(&service.app.db, &service.app.clock, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
