//! Projects, work packages, tasks, teams.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::wire::{
    AgentFault, Auth, Body, Fields, ListQuery, Many, One, Path, Problem, Query, View, created,
    many, one,
};
use crate::api::Service;
use crate::error::{Error, Result};
use crate::records::projects::{self, TaskPatch};
use crate::records::{self, Filter, Kind};

/// Lists projects.
#[utoipa::path(get, path = "/protected/projects", tag = "agents", operation_id = "listProjects", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = records::list(
        &service.app,
        &caller,
        &[Kind::Project],
        &Filter::default(),
        &page,
    )
    .await?;
    Ok(many(&found, &page)?)
}

/// Creates a project: `title`, `description`, `tags`, `status`, `start_date`, `end_date`, and what else is wanted.
#[utoipa::path(post, path = "/protected/projects", tag = "agents", operation_id = "createProject", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let mut new = Fields(body).record(Kind::Project)?;
    new.status = new.status.or_else(|| Some("active".to_owned()));
    Ok(created(View::of(
        &records::create(&service.app, &caller, new).await?,
    )?))
}

/// A project with its work packages and their tasks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectDetail {
    #[serde(flatten)]
    project: View,
    work_packages: Vec<PackageDetail>,
    /// Whether there are more packages or tasks than are shown; their lists have all.
    truncated: bool,
}

/// A work package with its tasks.
#[derive(Debug, Serialize, ToSchema)]
struct PackageDetail {
    #[serde(flatten)]
    package: View,
    tasks: Vec<View>,
}

/// Shows a project with all that it holds.
#[utoipa::path(get, path = "/protected/projects/{id}/detail", tag = "agents", operation_id = "getProjectDetail", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<ProjectDetail>), (status = "4XX", body = AgentFault)))]
pub(super) async fn detail(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<ProjectDetail>>, Problem> {
    let detail = projects::detail(&service.app, &caller, &id).await?;
    let mut work_packages = Vec::new();
    for (package, tasks) in &detail.packages {
        work_packages.push(PackageDetail {
            package: View::of(package)?.without("tasks"),
            tasks: tasks.iter().map(View::of).collect::<Result<_>>()?,
        });
    }
    Ok(one(ProjectDetail {
        project: View::of(&detail.project)?.without("workPackages"),
        work_packages,
        truncated: detail.truncated,
    }))
}

/// Lists completed projects, the last changed first.
#[utoipa::path(get, path = "/protected/projects/completed/list", tag = "agents", operation_id = "listCompletedProjects", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn completed(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = projects::completed(&service.app, &caller, &page).await?;
    Ok(many(&found, &page)?)
}

/// Lists the work packages of a project.
#[utoipa::path(get, path = "/protected/projects/{projectId}/work-packages", tag = "agents", operation_id = "listWorkPackages", security(("key" = [])), params(("projectId" = String, Path), ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn packages(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(project_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = projects::work_packages(&service.app, &caller, &project_id, &page).await?;
    Ok(many(&found, &page)?)
}

/// Adds a work package to a project.
#[utoipa::path(post, path = "/protected/projects/{projectId}/work-packages", tag = "agents", operation_id = "createWorkPackage", security(("key" = [])), params(("projectId" = String, Path)), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn add_package(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(project_id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let new = Fields(body).record(Kind::WorkPackage)?;
    let made = projects::add_work_package(&service.app, &caller, &project_id, new).await?;
    Ok(created(View::of(&made)?))
}

/// Lists the tasks of a work package.
#[utoipa::path(get, path = "/protected/projects/{projectId}/work-packages/{wpId}/tasks", tag = "agents", operation_id = "listWorkPackageTasks", security(("key" = [])), params(("projectId" = String, Path), ("wpId" = String, Path), ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn tasks(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((project_id, package_id)): Path<(String, String)>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = projects::tasks(&service.app, &caller, &project_id, &package_id, &page).await?;
    Ok(many(&found, &page)?)
}

/// Adds a task to a work package.
#[utoipa::path(post, path = "/protected/projects/{projectId}/work-packages/{wpId}/tasks", tag = "agents", operation_id = "addWorkPackageTask", security(("key" = [])), params(("projectId" = String, Path), ("wpId" = String, Path)), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn add_task(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((project_id, package_id)): Path<(String, String)>,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let mut new = Fields(body).record(Kind::Task)?;
    new.status = new.status.or_else(|| Some("open".to_owned()));
    let made = projects::add_task(&service.app, &caller, &project_id, &package_id, new).await?;
    Ok(created(View::of(&made)?))
}

/// Changes a task: its status, its title, any field; null removes one.
#[utoipa::path(patch, path = "/protected/projects/{projectId}/work-packages/{wpId}/tasks/{taskId}", tag = "agents", operation_id = "updateWorkPackageTask", security(("key" = [])), params(("projectId" = String, Path), ("wpId" = String, Path), ("taskId" = String, Path)), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn update_task(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((project_id, package_id, id)): Path<(String, String, String)>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    let patch = task_patch(body)?;
    let task =
        projects::update_task(&service.app, &caller, &project_id, &package_id, &id, patch).await?;
    Ok(one(View::of(&task)?))
}

/// Changes a task of a project, whatever work package it stands in: its status, its title, `assigned_to`, any field; null removes one.
#[utoipa::path(patch, path = "/protected/projects/{projectId}/tasks/{taskId}", tag = "agents", operation_id = "updateProjectTask", security(("key" = [])), params(("projectId" = String, Path), ("taskId" = String, Path)), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn update_task_of(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((project_id, id)): Path<(String, String)>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    let patch = task_patch(body)?;
    let task = projects::update_task_of(&service.app, &caller, &project_id, &id, patch).await?;
    Ok(one(View::of(&task)?))
}

fn task_patch(body: Map<String, Value>) -> Result<TaskPatch> {
    let mut fields = Fields(body);
    Ok(TaskPatch {
        title: fields.first(&["title", "name"])?,
        status: fields.text("status")?,
        body: fields.0,
    })
}

/// Adds one person to a project: `userId`, perhaps with a `role`; answers with the project and its whole team.
#[utoipa::path(post, path = "/protected/projects/{projectId}/team", tag = "agents", operation_id = "addProjectTeamMember", security(("key" = [])), params(("projectId" = String, Path)), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn add_member(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(project_id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    if !body.get("userId").is_some_and(Value::is_string) {
        return Err(Error::invalid("team_member_missing", "send userId").into());
    }
    let members = vec![Value::Object(body)];
    let project = projects::add_team(&service.app, &caller, &project_id, members).await?;
    Ok(one(View::of(&project)?))
}

/// Adds people to a project: `teamMember`, or `teamMembers`; answers with the project and its whole team.
#[utoipa::path(post, path = "/protected/projects/{projectId}/team-members", tag = "agents", operation_id = "addProjectTeamMembers", security(("key" = [])), params(("projectId" = String, Path)), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn add_team(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(project_id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    let mut fields = Fields(body);
    let mut members = fields.list("teamMembers")?.unwrap_or_default();
    members.extend(fields.0.remove("teamMember"));
    let project = projects::add_team(&service.app, &caller, &project_id, members).await?;
    Ok(one(View::of(&project)?))
}
