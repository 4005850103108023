//! Projects, their work packages, and the tasks of these.

use std::collections::HashMap;

use serde_json::Value;

use super::{PACKAGE_TASK, PROJECT, WORK_PACKAGE};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::body::Body;
use crate::records::plan::Plan;
use crate::records::store::{self, Filter, Listed, Numbered, SortBy};
use crate::records::write::{self, New, Patch};
use crate::records::{Kind, Record, columns};

/// Statuses that count as completed.
pub const COMPLETED: [&str; 2] = ["completed", "done"];
/// Longest status, in characters.
const STATUS: usize = 60;
/// Work packages, and tasks of each, in a detail.
const DETAIL: i64 = 500;
/// Tasks that it holds in all.
const TASKS: i64 = 5000;

/// A status as given.
///
/// # Errors
/// `status_invalid`.
pub fn status(given: Option<&str>) -> Result<Option<String>> {
    match given.map(str::trim) {
        None => Ok(None),
        Some(word) if (1..=STATUS).contains(&word.chars().count()) => Ok(Some(word.to_owned())),
        Some(_) => Err(Error::invalid(
            "status_invalid",
            format!("a status must have 1 to {STATUS} characters"),
        )),
    }
}

fn held_by(what: &str) -> Error {
    Error::not_found("parent_not_found", format!("{what} not found"))
}

/// Returns a plan that adds a part to a project.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, and those of [`write::create`].
pub async fn add_work_package(
    app: &App,
    caller: &Caller,
    project_id: &str,
    new: New,
) -> Result<Plan> {
    caller.need_unconfined(Area::Projects.write())?;
    project(app, caller, project_id).await?;
    let parent_id = Some(project_id.to_owned());
    write::create(app, caller, &WORK_PACKAGE, New { parent_id, ..new }).await
}

/// Returns a plan that adds a task to a work package of a project.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, and those of [`write::create`].
pub async fn add_task(
    app: &App,
    caller: &Caller,
    project_id: &str,
    package_id: &str,
    new: New,
) -> Result<Plan> {
    caller.need_unconfined(Area::Projects.write())?;
    package(app, caller, project_id, package_id).await?;
    let parent_id = Some(package_id.to_owned());
    write::create(app, caller, &PACKAGE_TASK, New { parent_id, ..new }).await
}

async fn project(app: &App, caller: &Caller, id: &str) -> Result<Record> {
    let found = store::optional(&app.db, caller.tenant(), &PROJECT, id).await?;
    found.ok_or_else(|| held_by("project"))
}

async fn package(app: &App, caller: &Caller, project_id: &str, id: &str) -> Result<Record> {
    project(app, caller, project_id).await?;
    let found = store::optional(&app.db, caller.tenant(), &WORK_PACKAGE, id).await?;
    found
        .filter(|p| p.parent_id.as_deref() == Some(project_id))
        .ok_or_else(|| held_by("work package of this project"))
}

/// Work packages of a project.
///
/// # Errors
/// `scope_missing`, `parent_not_found`.
pub async fn work_packages(
    app: &App,
    caller: &Caller,
    project_id: &str,
    page: &Numbered,
) -> Result<Listed> {
    caller.need_unconfined(Area::Projects.read())?;
    project(app, caller, project_id).await?;
    parts(app, caller, &WORK_PACKAGE, project_id, page).await
}

/// Tasks of a work package.
///
/// # Errors
/// `scope_missing`, `parent_not_found`.
pub async fn tasks(
    app: &App,
    caller: &Caller,
    project_id: &str,
    package_id: &str,
    page: &Numbered,
) -> Result<Listed> {
    caller.need_unconfined(Area::Projects.read())?;
    package(app, caller, project_id, package_id).await?;
    parts(app, caller, &PACKAGE_TASK, package_id, page).await
}

async fn parts(
    app: &App,
    caller: &Caller,
    kind: &Kind,
    parent_id: &str,
    page: &Numbered,
) -> Result<Listed> {
    let filter = Filter {
        parent_id: Some(parent_id.to_owned()),
        ..Filter::default()
    };
    store::numbered(app, caller.tenant(), &[kind], &filter, page).await
}

/// Returns a plan that changes a task.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, `record_not_found`, `title_too_long`, `change_missing`.
pub async fn update_task(
    app: &App,
    caller: &Caller,
    project_id: &str,
    package_id: &str,
    id: &str,
    patch: Patch,
) -> Result<Plan> {
    caller.need_unconfined(Area::Projects.write())?;
    package(app, caller, project_id, package_id).await?;
    let found = store::optional(&app.db, caller.tenant(), &PACKAGE_TASK, id).await?;
    let task = found
        .filter(|t| t.parent_id.as_deref() == Some(package_id))
        .ok_or_else(|| {
            Error::not_found("record_not_found", "task not found in this work package")
        })?;
    if patch.is_empty() {
        return Err(Error::invalid(
            "change_missing",
            "send at least one field to change, such as status",
        ));
    }
    write::update(app, caller, &PACKAGE_TASK, task, patch).await
}

/// Returns a plan that changes a task of a project, whatever work package it stands in; without anything to change, the task is returned as it is.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, `record_not_found`, `title_too_long`.
pub async fn update_task_of(
    app: &App,
    caller: &Caller,
    project_id: &str,
    id: &str,
    patch: Patch,
) -> Result<Plan> {
    caller.need_unconfined(Area::Projects.write())?;
    project(app, caller, project_id).await?;
    let missing = || Error::not_found("record_not_found", "task not found in this project");
    let task = store::optional(&app.db, caller.tenant(), &PACKAGE_TASK, id)
        .await?
        .ok_or_else(missing)?;
    let package_id = task.parent_id.clone().unwrap_or_default();
    let package = store::optional(&app.db, caller.tenant(), &WORK_PACKAGE, &package_id).await?;
    package
        .filter(|package| package.parent_id.as_deref() == Some(project_id))
        .ok_or_else(missing)?;
    if patch.is_empty() {
        return Ok(Plan::default().unchanged(&PACKAGE_TASK, task));
    }
    write::update(app, caller, &PACKAGE_TASK, task, patch).await
}

/// The id of a team member: an id, or an object that names one.
fn member_id(member: &Value) -> Option<&str> {
    match member {
        Value::String(id) => Some(id),
        Value::Object(fields) => ["userId", "id", "_id"]
            .iter()
            .find_map(|name| fields.get(*name)?.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// A project with all that it holds.
#[derive(Debug)]
pub struct Detail {
    /// The project.
    pub project: Record,
    /// Its work packages, oldest first, at most 500, each with its tasks; at most 5,000 tasks in all.
    pub packages: Vec<(Record, Vec<Record>)>,
    /// Whether there are more; the lists of packages and tasks have all.
    pub truncated: bool,
}

/// A project with all that it holds.
///
/// # Errors
/// `scope_missing`, `record_not_found`.
pub async fn detail(app: &App, caller: &Caller, id: &str) -> Result<Detail> {
    caller.need_unconfined(Area::Projects.read())?;
    let project = store::get(app, caller.tenant(), &PROJECT, id).await?;
    let whole = Numbered {
        limit: DETAIL,
        sort_by: SortBy::Created,
        ascending: true,
        ..Numbered::default()
    };
    let found = parts(app, caller, &WORK_PACKAGE, id, &whole).await?;
    let tasks: Vec<Record> = app
        .db
        .all(
            "SELECT t.id, t.tenant_id, t.kind, t.parent_id, t.external_id, t.title, t.status, t.stage, t.area, t.body, t.document_id, t.author, t.created_on, t.updated_on
             FROM records t JOIN records p ON p.id = t.parent_id AND p.tenant_id = t.tenant_id
             WHERE p.parent_id = $1 AND p.kind = 'work_package' AND p.tenant_id = $2 AND t.kind = 'task' ORDER BY t.created_on, t.id LIMIT $3",
            args![id, caller.tenant(), TASKS + 1],
        )
        .await?;
    let many = i64::try_from(tasks.len()).unwrap_or(i64::MAX) > TASKS;
    let truncated = many || found.total > DETAIL;
    let mut of_package: HashMap<String, Vec<Record>> = HashMap::new();
    for task in tasks
        .into_iter()
        .take(usize::try_from(TASKS).unwrap_or(usize::MAX))
    {
        let package = task.parent_id.clone().unwrap_or_default();
        of_package.entry(package).or_default().push(task);
    }
    let packages = found
        .items
        .into_iter()
        .map(|package| {
            let tasks = of_package.remove(&package.id).unwrap_or_default();
            (package, tasks)
        })
        .collect();
    Ok(Detail {
        project,
        packages,
        truncated,
    })
}

/// Completed projects.
///
/// # Errors
/// `scope_missing`.
pub async fn completed(app: &App, caller: &Caller, page: &Numbered) -> Result<Listed> {
    caller.need_unconfined(Area::Projects.read())?;
    let (tenant_id, first, second) = (caller.tenant(), COMPLETED[0], COMPLETED[1]);
    let items = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM records
             WHERE kind = 'project' AND tenant_id = $1 AND LOWER(status) IN ($2, $3) ORDER BY updated_on DESC, id DESC LIMIT $4 OFFSET $5"),
            args![tenant_id, first, second, page.limit, (page.page - 1) * page.limit],
        )
        .await?;
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE kind = 'project' AND tenant_id = $1 AND LOWER(status) IN ($2, $3)",
            args![tenant_id, first, second],
        )
        .await?;
    Ok(Listed { items, total })
}

/// Returns a plan that adds people to a project: ids, or objects that name them. Those who are there already are not added again.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, `team_member_missing`, `team_member_invalid`.
pub async fn add_team(
    app: &App,
    caller: &Caller,
    project_id: &str,
    members: Vec<Value>,
) -> Result<Plan> {
    caller.need_unconfined(Area::Projects.write())?;
    let record = project(app, caller, project_id).await?;
    if members.is_empty() {
        return Err(Error::invalid(
            "team_member_missing",
            "send teamMember or teamMembers",
        ));
    }
    let is_name = |v: &Value| v.as_str().is_some_and(|s| !s.trim().is_empty());
    let names_somebody = |v: &Value| is_name(v) || v.as_object().is_some_and(|o| !o.is_empty());
    if !members.iter().all(names_somebody) {
        return Err(Error::invalid(
            "team_member_invalid",
            "a team member must be an id or an object that names a person",
        ));
    }
    let mut team = match record.body()?.remove("teamMembers") {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    for member in &members {
        let known = team.iter_mut().find(|other| {
            *other == member || member_id(member).is_some_and(|id| member_id(other) == Some(id))
        });
        match known {
            // An object says more than an id, such as another role.
            Some(other) if member.is_object() => *other = member.clone(),
            Some(_) => {}
            None => team.push(member.clone()),
        }
    }
    let body = Body::from_iter([("teamMembers".to_owned(), Value::Array(team))]);
    write::update(app, caller, &PROJECT, record, Patch::from(&body)).await
}
