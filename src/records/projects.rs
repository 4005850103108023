//! Projects, their work packages, and the tasks of these.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::{self, Filter, Kind, Listed, NewRecord, Numbered, Record, SortBy};

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
            format!("a status has 1 to {STATUS} characters"),
        )),
    }
}

fn held_by(what: &str) -> Error {
    Error::not_found("parent_not_found", format!("there is no such {what}"))
}

/// Adds a part to a project.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, and those of [`records::create`].
pub async fn add_work_package(
    app: &App,
    caller: &Caller,
    project_id: &str,
    new: NewRecord,
) -> Result<Record> {
    caller.need_unconfined(Area::Projects.write())?;
    project(app, caller, project_id).await?;
    let parent_id = Some(project_id.to_owned());
    records::create(app, caller, NewRecord { parent_id, ..new }).await
}

/// Adds a task to a work package of a project.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, and those of [`records::create`].
pub async fn add_task(
    app: &App,
    caller: &Caller,
    project_id: &str,
    package_id: &str,
    new: NewRecord,
) -> Result<Record> {
    caller.need_unconfined(Area::Projects.write())?;
    package(app, caller, project_id, package_id).await?;
    let parent_id = Some(package_id.to_owned());
    records::create(app, caller, NewRecord { parent_id, ..new }).await
}

async fn project(app: &App, caller: &Caller, id: &str) -> Result<Record> {
    let found = records::load(&app.db, caller.tenant(), Kind::Project, id).await?;
    found.ok_or_else(|| held_by("project"))
}

async fn package(app: &App, caller: &Caller, project_id: &str, id: &str) -> Result<Record> {
    project(app, caller, project_id).await?;
    let found = records::load(&app.db, caller.tenant(), Kind::WorkPackage, id).await?;
    found
        .filter(|p| p.parent_id.as_deref() == Some(project_id))
        .ok_or_else(|| held_by("work package in this project"))
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
    parts(app, caller, Kind::WorkPackage, project_id, page).await
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
    parts(app, caller, Kind::Task, package_id, page).await
}

async fn parts(
    app: &App,
    caller: &Caller,
    kind: Kind,
    parent_id: &str,
    page: &Numbered,
) -> Result<Listed> {
    let filter = Filter {
        parent_id: Some(parent_id.to_owned()),
        status: None,
    };
    records::list(app, caller, &[kind], &filter, page).await
}

/// What to change about a task; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct TaskPatch {
    /// Title.
    pub title: Option<String>,
    /// Status.
    pub status: Option<String>,
    /// Fields to set; null removes one.
    pub body: Map<String, Value>,
}

impl TaskPatch {
    fn is_empty(&self) -> bool {
        self.title.is_none() && self.status.is_none() && self.body.is_empty()
    }
}

/// Changes a task.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, `record_not_found`, `status_invalid`, `title_too_long`, `change_missing`.
pub async fn update_task(
    app: &App,
    caller: &Caller,
    project_id: &str,
    package_id: &str,
    id: &str,
    patch: TaskPatch,
) -> Result<Record> {
    caller.need_unconfined(Area::Projects.write())?;
    package(app, caller, project_id, package_id).await?;
    let found = records::load(&app.db, caller.tenant(), Kind::Task, id).await?;
    found
        .filter(|t| t.parent_id.as_deref() == Some(package_id))
        .ok_or_else(|| {
            Error::not_found(
                "record_not_found",
                "there is no such task in this work package",
            )
        })?;
    if patch.is_empty() {
        return Err(Error::invalid(
            "change_missing",
            "send at least one field to change, such as status",
        ));
    }
    change_task(app, caller, id, patch).await
}

/// Changes a task whose place was checked.
async fn change_task(app: &App, caller: &Caller, id: &str, patch: TaskPatch) -> Result<Record> {
    let word = status(patch.status.as_deref())?;
    let changes = records::Changes {
        title: patch.title,
        body: patch.body,
    };
    records::change(app, caller.tenant(), Kind::Task, id, |task| {
        task.status = word.clone().or_else(|| task.status.take());
        changes.apply(task)
    })
    .await
}

/// Changes a task of a project, whatever work package it stands in; without anything to change, the task is returned as it is.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, `record_not_found`, `status_invalid`, `title_too_long`.
pub async fn update_task_of(
    app: &App,
    caller: &Caller,
    project_id: &str,
    id: &str,
    patch: TaskPatch,
) -> Result<Record> {
    caller.need_unconfined(Area::Projects.write())?;
    project(app, caller, project_id).await?;
    let missing = || Error::not_found("record_not_found", "there is no such task in this project");
    let task = records::load(&app.db, caller.tenant(), Kind::Task, id)
        .await?
        .ok_or_else(missing)?;
    let package_id = task.parent_id.clone().unwrap_or_default();
    let package = records::load(&app.db, caller.tenant(), Kind::WorkPackage, &package_id).await?;
    package
        .filter(|package| package.parent_id.as_deref() == Some(project_id))
        .ok_or_else(missing)?;
    if patch.is_empty() {
        return Ok(task);
    }
    change_task(app, caller, id, patch).await
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
    let project = records::get(app, caller, Kind::Project, id).await?;
    let whole = Numbered {
        limit: DETAIL,
        sort_by: SortBy::Created,
        ascending: true,
        ..Numbered::default()
    };
    let found = parts(app, caller, Kind::WorkPackage, id, &whole).await?;
    let tasks: Vec<Record> = app
        .db
        .all(
            "SELECT t.id, t.tenant_id, t.kind, t.parent_id, t.external_id, t.title, t.status, t.body, t.document_id, t.author, t.created_on, t.updated_on
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
            concat!("SELECT ", super::columns!(), " FROM records
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

/// Adds people to a project: ids, or objects that name them. Who is there already is not added again; gives the whole team.
///
/// # Errors
/// `scope_missing`, `parent_not_found`, `team_member_missing`, `team_member_invalid`, `record_busy`.
pub async fn add_team(
    app: &App,
    caller: &Caller,
    project_id: &str,
    members: Vec<Value>,
) -> Result<Record> {
    caller.need_unconfined(Area::Projects.write())?;
    project(app, caller, project_id).await?;
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
            "a team member is an id, or an object that names a person",
        ));
    }
    records::change(app, caller.tenant(), Kind::Project, project_id, |record| {
        let mut body = record.body()?;
        let mut team = match body.remove("teamMembers") {
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
        body.insert("teamMembers".to_owned(), Value::Array(team));
        record.body = Value::Object(body).to_string();
        Ok(())
    })
    .await
}
