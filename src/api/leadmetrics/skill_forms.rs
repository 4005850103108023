//! Skills as forms: a Markdown file with its name, description and roles. Changes may come as JSON, too.

use axum::Json;
use axum::body::Body as RequestBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use utoipa::ToSchema;

use super::wire::{Auth, DashboardFault, Path, Problem};
use super::work::{skill_fields, skill_of};
use crate::agency::skills::{self, Fields, LARGEST};
use crate::api::{Service, request_id, upload};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::records::{Request, execute};

/// The form of a skill.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
pub(super) struct SkillForm {
    /// Markdown of at most 500 KB.
    #[schema(content_media_type = "text/markdown")]
    file: String,
    name: String,
    description: Option<String>,
    /// Roles, comma-separated.
    agent_roles: Option<String>,
}

async fn form(headers: &HeaderMap, body: RequestBody) -> Result<Fields> {
    let mut form = upload::small_form(headers, body, LARGEST).await?;
    let content = match form.file {
        Some(_) => Some(form.text()?),
        None => None,
    };
    let own = |name: &str| form.fields.get(name).cloned();
    Ok(Fields {
        name: own("name"),
        description: own("description"),
        agent_roles: own("agentRoles")
            .map(|roles| roles.split(',').map(|r| r.trim().to_owned()).collect()),
        content,
    })
}

/// Writes a skill and returns it as lists show it.
async fn write<F>(
    app: &App,
    caller: &Caller,
    operation: &'static str,
    plan: impl Fn() -> F + Send,
) -> Result<Value>
where
    F: Future<Output = Result<Plan>> + Send,
{
    let request = Request {
        caller,
        operation,
        request_id: request_id(),
        once: None,
    };
    let answer = execute(app, &request, plan).await?;
    let id = answer.data["id"].as_str().unwrap_or_default();
    skill_of(app, caller.tenant(), id).await
}

/// Uploads a skill.
#[utoipa::path(post, path = "/dashboard/v1/skills", tag = "leadmetrics dashboard", operation_id = "createTeamSkill", security(("key" = [])),
    request_body(content = SkillForm, content_type = "multipart/form-data"),
    responses((status = 201, body = Value), (status = "4XX", body = DashboardFault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<(StatusCode, Json<Value>), Problem> {
    crate::agency::access::write(&caller)?;
    let fields = form(&headers, body).await?;
    let app = &service.app;
    let made = write(app, &caller, "createTeamSkill", || async {
        skills::create(app, &caller, &fields)
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

/// Fields of a skill to change; absent ones stay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub(super) struct SkillPatch {
    name: Option<String>,
    description: Option<String>,
    /// Markdown of at most 500 KB.
    content: Option<String>,
    agent_roles: Option<Vec<String>>,
}

/// Changes a skill. The form of `createTeamSkill`, with the fields that change, is accepted, too.
#[utoipa::path(patch, path = "/dashboard/v1/skills/{skillId}", tag = "leadmetrics dashboard", operation_id = "updateTeamSkill", security(("key" = [])),
    params(("skillId" = String, Path)), request_body = SkillPatch,
    responses((status = 200, body = Value), (status = "4XX", body = DashboardFault)))]
pub(super) async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Json<Value>, Problem> {
    crate::agency::access::write(&caller)?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let fields = if kind.trim_start().starts_with("multipart/") {
        form(&headers, body).await?
    } else {
        // Escapes make the JSON of a text up to six times as long as the text.
        let bytes = axum::body::to_bytes(body, 6 * LARGEST).await.map_err(|_| {
            Error::invalid(
                "file_too_large",
                format!("a skill may have at most {} KB", LARGEST >> 10),
            )
        })?;
        let body = serde_json::from_slice(&bytes).map_err(|e| {
            Error::invalid(
                "body_invalid",
                format!("the body must be a JSON object: {e}"),
            )
        })?;
        skill_fields(&body)?
    };
    let app = &service.app;
    let (id, fields) = (id.as_str(), &fields);
    let caller = &caller;
    let changed = write(app, caller, "updateTeamSkill", || {
        skills::update(app, caller, id, fields)
    });
    Ok(Json(changed.await?))
}
