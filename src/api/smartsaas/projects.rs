//! Projects, work packages, tasks, teams.

use serde_json::{Value, json};

use super::names;
use super::wire::{Fields, page, paging, view};
use crate::api::operation::{Call, Data};
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::records::write::{New, Patch};
use crate::work::projects;
use crate::work::{PACKAGE_TASK, PROJECT, WORK_PACKAGE};

pub(super) async fn detail(call: Call<'_>) -> Result<Data> {
    let detail = projects::detail(call.app, call.caller, call.id()).await?;
    let mut packages = Vec::new();
    for (package, tasks) in &detail.packages {
        let mut json = view(&WORK_PACKAGE, package)?;
        let tasks = tasks.iter().map(|task| view(&PACKAGE_TASK, task));
        json["tasks"] = Value::Array(tasks.collect::<Result<_>>()?);
        packages.push(json);
    }
    let mut json = view(&PROJECT, &detail.project)?;
    json["workPackages"] = json!(packages);
    json["truncated"] = json!(detail.truncated);
    Ok(Data::One(json))
}

pub(super) async fn completed(call: Call<'_>) -> Result<Data> {
    let paging = paging(call)?;
    let listed = projects::completed(call.app, call.caller, &paging).await?;
    page(&PROJECT, &listed, paging)
}

pub(super) async fn packages(call: Call<'_>) -> Result<Data> {
    let paging = paging(call)?;
    let listed = projects::work_packages(call.app, call.caller, call.id(), &paging).await?;
    page(&WORK_PACKAGE, &listed, paging)
}

pub(super) async fn add_package(call: Call<'_>) -> Result<Plan> {
    let new = Fields(call.body.clone()).record()?;
    projects::add_work_package(call.app, call.caller, call.id(), new).await
}

pub(super) async fn tasks(call: Call<'_>) -> Result<Data> {
    let paging = paging(call)?;
    let package = call.path("wpId");
    let listed = projects::tasks(call.app, call.caller, call.id(), package, &paging).await?;
    page(&PACKAGE_TASK, &listed, paging)
}

pub(super) async fn add_task(call: Call<'_>) -> Result<Plan> {
    let new = Fields(call.body.clone()).record()?;
    let new = New {
        body: canonical(new.body),
        ..new
    };
    projects::add_task(call.app, call.caller, call.id(), call.path("wpId"), new).await
}

fn canonical(mut body: serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    names::to_canonical(&PACKAGE_TASK, &mut body);
    body
}

fn patch(call: Call<'_>) -> Result<Patch> {
    let patch = Fields(call.body.clone()).patch()?;
    Ok(Patch {
        body: canonical(patch.body),
        ..patch
    })
}

pub(super) async fn update_task(call: Call<'_>) -> Result<Plan> {
    let (package, task) = (call.path("wpId"), call.path("taskId"));
    projects::update_task(
        call.app,
        call.caller,
        call.id(),
        package,
        task,
        patch(call)?,
    )
    .await
}

pub(super) async fn update_task_of(call: Call<'_>) -> Result<Plan> {
    let task = call.path("taskId");
    projects::update_task_of(call.app, call.caller, call.id(), task, patch(call)?).await
}

pub(super) async fn add_member(call: Call<'_>) -> Result<Plan> {
    if !call.body.get("userId").is_some_and(Value::is_string) {
        return Err(Error::invalid("team_member_missing", "send userId"));
    }
    let members = vec![Value::Object(call.body.clone())];
    projects::add_team(call.app, call.caller, call.id(), members).await
}

pub(super) async fn add_members(call: Call<'_>) -> Result<Plan> {
    let mut fields = Fields(call.body.clone());
    let mut members = fields.list("teamMembers")?.unwrap_or_default();
    members.extend(fields.0.remove("teamMember"));
    projects::add_team(call.app, call.caller, call.id(), members).await
}
