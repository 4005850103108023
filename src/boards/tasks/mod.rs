//! Tasks: creation, changes by people, leads and workers, deletion. Every rule about who may do what is in [`rules`].

mod dependencies;
mod list;
mod rules;
mod view;

use super::roster;
use serde_json::{Value, json};

use super::access::{self, Actor};
use super::activity::{self, Happened};
use super::notices::{self, Notice};
use super::{AGENT, APPROVAL, COMMENT, TASK, comments, custom_fields, store, tags, with_data};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
pub use list::{Filter, list};
pub use view::{cards, shown};

/// Codes by which clients recognise why a task did not change.
const BLOCKED: &str = "task_blocked_cannot_transition";

/// Returns the error for a task that waits for others.
fn blocked(ids: &[String], coded: bool) -> Error {
    let error = Error::conflict(
        BLOCKED,
        "Task is blocked by incomplete dependencies. Complete its dependencies first.",
    );
    let mut data = json!({"blocked_by_task_ids": ids});
    if coded {
        data["code"] = json!(BLOCKED);
    }
    with_data(error, data)
}

/// Returns the agent that a task is to be assigned to.
async fn assignee(app: &App, board: &Record, id: &str, by_lead: bool) -> Result<Actor> {
    let found = store::one(app, &board.tenant_id, &AGENT, id).await?;
    let agent = found.ok_or_else(|| Error::not_found("agent_not_found", "Agent not found"))?;
    let agent = Actor::of(agent)?;
    if by_lead && agent.is_lead {
        return Err(Error::forbidden(
            "lead_assignment",
            "Board leads cannot assign tasks to a lead.",
        ));
    }
    if agent.board_id.as_deref() == Some(board.id.as_str()) {
        Ok(agent)
    } else {
        Err(Error::conflict(
            "agent_of_other_board",
            "the agent is of another board",
        ))
    }
}

/// Returns a plan that creates a task, by a person or by the lead of the board.
///
/// # Errors
/// `board_access_denied`, `lead_required`, `agent_not_found`, `agent_of_other_board`, `lead_assignment`, `dependency_not_found`,
/// `task_blocked_cannot_transition`, `tag_not_found`, and those of custom fields.
pub async fn create(app: &App, caller: &Caller, board_id: &str, body: &Body) -> Result<Plan> {
    let board = access::write(app, caller, board_id).await?;
    let lead = match access::agent(app, caller).await? {
        Some(_) => Some(access::need_lead(app, caller).await?),
        None => None,
    };
    let tenant_id = caller.tenant();
    let status = text(body, "status").unwrap_or("inbox").to_owned();
    let mut fields = body.clone();
    fields.shift_remove("status");
    let wanted = super::list(body, "depends_on_task_ids");
    let depends_on = dependencies::checked(app, &board, None, &wanted).await?;
    let waits_for = dependencies::unfinished(app, tenant_id, &depends_on).await?;
    let assigned = text(body, "assigned_agent_id");
    if !waits_for.is_empty() && (assigned.is_some() || status != "inbox") {
        return Err(blocked(&waits_for, lead.is_none()));
    }
    let assigned = match assigned {
        Some(id) => Some(assignee(app, &board, id, lead.is_some()).await?),
        None => None,
    };
    let tag_ids = tags::checked(app, tenant_id, &super::list(body, "tag_ids")).await?;
    let given = match body.get("custom_field_values") {
        Some(Value::Object(values)) => values.clone(),
        _ => Body::new(),
    };
    let definitions = custom_fields::of_board(app, tenant_id, &board.id).await?;
    let values = custom_fields::apply(&definitions, &Body::new(), &given)?;
    fields.insert("depends_on_task_ids".to_owned(), json!(depends_on));
    fields.insert("tag_ids".to_owned(), json!(tag_ids));
    fields.insert("custom_field_values".to_owned(), Value::Object(values));
    fields.shift_remove("created_by_user_id");
    if let Some(lead) = &lead {
        fields.insert("auto_created".to_owned(), json!(true));
        fields.insert(
            "auto_reason".to_owned(),
            json!(format!("lead_agent:{}", lead.id)),
        );
        fields.insert("created_by_agent_id".to_owned(), json!(lead.id));
    } else if let Some(person) = access::person(app, caller).await? {
        fields.insert("created_by_user_id".to_owned(), json!(person.id));
    }
    if status == "in_progress" {
        fields.insert(
            "in_progress_at".to_owned(),
            json!(app.clock.now().rfc3339()),
        );
    }
    fields.insert("status".to_owned(), json!(status));
    let new = New {
        parent_id: Some(board.id.clone()),
        ..New::from(&fields)
    };
    let task = write::draft(app, caller, &TASK, new)?;

    let mut plan = Plan::default();
    plan.relies_on.push(board.clone());
    plan.after.push(dependencies::store(&task, &depends_on));
    let created = Happened {
        status: Some(status),
        ..Happened::task(
            "task.created",
            &task,
            format!("Task created: {}.", task.title),
        )
    };
    let created = created.by(lead.as_ref().map(|l| l.id.as_str()));
    plan.after.push(activity::record(tenant_id, vec![created]));
    let board_lead = roster::lead_of(app, tenant_id, &board.id).await?;
    if let (None, Some(lead)) = (&lead, &board_lead) {
        let text = notices::of_task("NEW TASK ADDED", &board, &task, &[])?;
        plan.jobs
            .push(Notice::about(&task, lead, text, "task.lead").job());
    }
    let told_already = board_lead.filter(|_| lead.is_none()).map(|l| l.id);
    if let Some(agent) = &assigned
        && Some(&agent.id) != told_already.as_ref()
        && Some(agent.id.as_str()) != lead.as_ref().map(|l| l.id.as_str())
    {
        let text = notices::of_task("TASK ASSIGNED", &board, &task, &[])?;
        plan.jobs
            .push(Notice::about(&task, agent, text, "task.assignee").job());
    }
    let shown = shown(app, &board, std::slice::from_ref(&task)).await?;
    plan.create(&TASK, task);
    // The new task is not in the database yet, but nothing depends on it.
    Ok(plan.data(200, first(shown)?))
}

fn first(shown: Vec<Body>) -> Result<Value> {
    let first = shown.into_iter().next();
    first
        .map(Value::Object)
        .ok_or_else(|| Error::internal("a task that is not shown"))
}

/// Returns a plan that changes a task.
///
/// # Errors
/// Those of [`rules::change`], of [`create`], and `record_not_found`.
pub async fn update(
    app: &App,
    caller: &Caller,
    board_id: &str,
    task_id: &str,
    patch: &Body,
) -> Result<Plan> {
    let actor = access::agent(app, caller).await?;
    // An agent of another board learns that in its own words.
    if let Some(agent) = &actor
        && agent.board_id.as_deref().is_some_and(|own| own != board_id)
    {
        return Err(rules::mismatch(
            "task_board_mismatch",
            "Agent can only update tasks of its board.",
        ));
    }
    let board = access::write(app, caller, board_id).await?;
    let task = access::part(app, &TASK, &board, task_id).await?;
    change(app, caller, &board, task, actor.as_ref(), patch).await
}

/// The last worker that moved a task to review: an agent of the board that is not its lead.
async fn last_worker(app: &App, board: &Record, task: &Record) -> Result<Option<Actor>> {
    let moved: Option<(String,)> = app
        .db
        .optional(
            "SELECT agent_id FROM board_activity WHERE task_id = $1 AND event_type = 'task.status_changed' AND status = 'review' AND agent_id IS NOT NULL
             AND tenant_id = $2 ORDER BY id DESC LIMIT 1",
            args![&task.id, &board.tenant_id],
        )
        .await?;
    let Some((id,)) = moved else {
        return Ok(None);
    };
    let agent = store::one(app, &board.tenant_id, &AGENT, &id).await?;
    let agent = agent.map(Actor::of).transpose()?;
    Ok(agent.filter(|a| !a.is_lead && a.board_id.as_deref() == Some(board.id.as_str())))
}

/// Returns whether the assignee commented on a task since its work began.
async fn has_comment(
    app: &App,
    task: &Record,
    agent_id: &str,
    since: Option<Time>,
) -> Result<bool> {
    let found: Option<(String,)> = app
        .db
        .optional(
            "SELECT id FROM board_activity WHERE task_id = $1 AND event_type = 'task.comment' AND agent_id = $2 AND created_on >= $3 AND tenant_id = $4 LIMIT 1",
            args![&task.id, agent_id, since.map_or(0, |t| t.0), &task.tenant_id],
        )
        .await?;
    Ok(found.is_some())
}

/// Returns the ids of the approvals of a task with a status.
async fn approvals_of(app: &App, task: &Record, status: &str) -> Result<Vec<String>> {
    let found: Vec<(String,)> = app
        .db
        .all(
            "SELECT approval_id FROM approval_tasks WHERE task_id = $1 AND status = $2 AND tenant_id = $3",
            args![&task.id, status, &task.tenant_id],
        )
        .await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

async fn change(
    app: &App,
    caller: &Caller,
    board: &Record,
    task: Record,
    actor: Option<&Actor>,
    patch: &Body,
) -> Result<Plan> {
    let (tenant_id, now) = (caller.tenant(), app.clock.now());
    let old = task.body()?;
    let rank = rules::Rank::of(actor);
    rules::allow_fields(rank, actor, &old, patch)?;
    let before_status = task.status.clone().unwrap_or_else(|| "inbox".to_owned());
    if patch.get("status").is_some_and(Value::is_null) {
        return Err(super::unfit("status_missing", "status must not be null"));
    }
    let wanted = text(patch, "status").unwrap_or(&before_status).to_owned();
    let mut fields = old.clone();

    // Dependencies, as they will be.
    let old_dependencies = super::list(&old, "depends_on_task_ids");
    let depends_on = match patch.get("depends_on_task_ids") {
        None => old_dependencies.clone(),
        Some(_) => {
            let given = super::list(patch, "depends_on_task_ids");
            dependencies::checked(app, board, Some(&task.id), &given).await?
        }
    };
    if before_status == "done" && depends_on != old_dependencies {
        return Err(Error::conflict(
            "task_done",
            "Cannot change task dependencies after a task is done.",
        ));
    }
    fields.insert("depends_on_task_ids".to_owned(), json!(depends_on));
    let stays_done = before_status == "done" && wanted == "done";
    let waits_for = if stays_done {
        Vec::new()
    } else {
        dependencies::unfinished(app, tenant_id, &depends_on).await?
    };
    rules::allow_blocked(rank, patch, &wanted, &waits_for)?;
    let board_fields = board.body()?;
    rules::allow_status(rank, actor, &board_fields, (&before_status, &wanted), patch)?;

    // Plain fields.
    for name in ["title", "description", "priority", "due_at"] {
        match patch.get(name) {
            Some(Value::Null) if matches!(name, "title" | "priority") => {}
            Some(Value::Null) => {
                fields.shift_remove(name);
            }
            Some(value) => {
                fields.insert(name.to_owned(), value.clone());
            }
            None => {}
        }
    }
    if patch.contains_key("tag_ids") {
        let ids = tags::checked(app, tenant_id, &super::list(patch, "tag_ids")).await?;
        fields.insert("tag_ids".to_owned(), json!(ids));
    }
    if let Some(Value::Object(given)) = patch.get("custom_field_values") {
        let definitions = custom_fields::of_board(app, tenant_id, &board.id).await?;
        let values = match old.get("custom_field_values") {
            Some(Value::Object(values)) => values.clone(),
            _ => Body::new(),
        };
        let values = custom_fields::apply(&definitions, &values, given)?;
        fields.insert("custom_field_values".to_owned(), Value::Object(values));
    }
    let new_assignee = match patch.get("assigned_agent_id") {
        Some(Value::String(id)) => Some(Some(
            assignee(app, board, id, rank == rules::Rank::Lead).await?,
        )),
        Some(_) => Some(None),
        None => None,
    };

    // Status and its effects.
    let lead = roster::lead_of(app, tenant_id, &board.id).await?;
    let mut status = wanted.clone();
    let mut rework = None;
    let start = text(&old, "in_progress_at").and_then(parse);
    let old_assignee = text(&old, "assigned_agent_id").map(str::to_owned);
    if rank == rules::Rank::Person && !waits_for.is_empty() {
        status = "inbox".to_owned();
        fields.shift_remove("assigned_agent_id");
        fields.shift_remove("in_progress_at");
    } else {
        if status != before_status {
            match status.as_str() {
                "inbox" | "review" => {
                    if let Some(start) = old.get("in_progress_at") {
                        fields.insert("previous_in_progress_at".to_owned(), start.clone());
                    }
                    if let Some(worker) = &old_assignee {
                        fields.insert("previous_assigned_agent_id".to_owned(), json!(worker));
                    }
                    fields.shift_remove("in_progress_at");
                    fields.shift_remove("assigned_agent_id");
                }
                "in_progress" => {
                    fields.insert("in_progress_at".to_owned(), json!(now.rfc3339()));
                }
                _ => {}
            }
        }
        if let Some(agent) = &new_assignee {
            match agent {
                Some(agent) => fields.insert("assigned_agent_id".to_owned(), json!(agent.id)),
                None => fields.shift_remove("assigned_agent_id"),
            };
        }
        if let (rules::Rank::Worker, Some(worker)) = (rank, actor)
            && matches!(status.as_str(), "in_progress" | "done")
            && status != before_status
        {
            fields.insert("assigned_agent_id".to_owned(), json!(worker.id));
        }
        if status == "review" && before_status != "review" {
            match &lead {
                Some(lead) => fields.insert("assigned_agent_id".to_owned(), json!(lead.id)),
                None => fields.shift_remove("assigned_agent_id"),
            };
        }
        if rank == rules::Rank::Lead && before_status == "review" && status == "inbox" {
            rework = last_worker(app, board, &task).await?;
            if let Some(worker) = &rework {
                fields.insert("assigned_agent_id".to_owned(), json!(worker.id));
            }
        }
    }

    // Gates that hold for everybody.
    if status != before_status {
        let commented = match patch.get("comment") {
            Some(Value::String(_)) => true,
            _ if status != "review" => true,
            _ => {
                let previous = text(&old, "previous_assigned_agent_id").map(str::to_owned);
                match old_assignee.clone().or(previous) {
                    Some(agent_id) => has_comment(app, &task, &agent_id, start).await?,
                    None => false,
                }
            }
        };
        let gates = rules::Gates {
            pending: !approvals_of(app, &task, "pending").await?.is_empty(),
            approved: !approvals_of(app, &task, "approved").await?.is_empty(),
            commented,
        };
        gates.pass(&board_fields, &before_status, &status)?;
    }

    let mut plan = Plan::default();
    plan.relies_on.push(board.clone());
    let mut after = task.clone();
    after.status = Some(status.clone());
    after.title = write::title(&TASK, &fields);
    after.body = Value::Object(fields.clone()).to_string();
    if depends_on != old_dependencies {
        plan.after.push(dependencies::store(&task, &depends_on));
    }
    let actor_id = actor.map(|a| a.id.as_str());
    let mut entries = Vec::new();
    let moved = status != before_status;
    let entry = if moved {
        Happened {
            status: Some(status.clone()),
            ..Happened::task(
                "task.status_changed",
                &task,
                format!("Task moved to {status}: {}.", after.title),
            )
        }
    } else {
        Happened::task(
            "task.updated",
            &task,
            format!("Task updated: {}.", after.title),
        )
    };
    entries.push(entry.by(actor_id));
    if moved && (status == "done" || before_status == "done") {
        let reopened = before_status == "done";
        for dependent in dependencies::dependents(app, &task).await? {
            entries.push(follow(&mut plan, dependent, reopened, now)?);
        }
    }
    let mut told: Vec<String> = Vec::new();
    let assigned = text(&fields, "assigned_agent_id").map(str::to_owned);
    if let Some(id) = assigned.clone().filter(|_| assigned != old_assignee)
        && Some(id.as_str()) != actor_id
        && rework.is_none()
    {
        let found = store::one(app, tenant_id, &AGENT, &id).await?;
        if let Some(agent) = found.map(Actor::of).transpose()? {
            let header = if status == "review" && agent.is_lead {
                "TASK READY FOR LEAD REVIEW"
            } else {
                "TASK ASSIGNED"
            };
            let text = notices::of_task(header, board, &after, &[])?;
            plan.jobs
                .push(Notice::about(&task, &agent, text, "task.assignee").job());
            told.push(agent.id);
        }
    }
    if let Some(worker) = &rework {
        let said = comments::last_of(app, &task, actor_id).await?;
        let lines: Vec<String> = said
            .into_iter()
            .map(|text| format!("Feedback: {text}"))
            .collect();
        let text = notices::of_task("CHANGES REQUESTED", board, &after, &lines)?;
        plan.jobs
            .push(Notice::about(&task, worker, text, "task.rework").job());
        told.push(worker.id.clone());
    }
    if moved
        && status == "in_progress"
        && let Some(id) = &assigned
    {
        entries.push(
            Happened::task(
                "task.assignee_woken",
                &task,
                format!("Agent started: {}.", after.title),
            )
            .by(Some(id)),
        );
    }
    if moved
        && status == "inbox"
        && assigned.is_none()
        && let Some(lead) = lead
            .as_ref()
            .filter(|l| Some(l.id.as_str()) != actor_id && !told.contains(&l.id))
    {
        let text = notices::of_task("TASK BACK IN INBOX", board, &after, &[])?;
        plan.jobs
            .push(Notice::about(&task, lead, text, "task.lead_unassigned").job());
    }
    let shown = view::shown_with(app, board, std::slice::from_ref(&after), &depends_on).await?;
    if let Some(message) = text(patch, "comment") {
        comments::add(app, caller, board, &after, actor, message, &mut plan).await?;
    }
    plan.update(&TASK, task, after, now);
    plan.after.push(activity::record(tenant_id, entries));
    let updated = plan.record().map(|r| r.updated_on.rfc3339());
    let mut shown = first(shown)?;
    shown["updated_at"] = json!(updated);
    Ok(plan.data(200, shown))
}

/// Reads a stored time.
fn parse(text: &str) -> Option<Time> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Time(time.timestamp_millis()))
}

/// Adds to a plan what happens to a task when one that it waits for is done, or done no more.
fn follow(plan: &mut Plan, dependent: Record, reopened: bool, now: Time) -> Result<Happened> {
    let title = dependent.title.clone();
    if !reopened {
        return Ok(Happened::task(
            "task.updated",
            &dependent,
            format!("Task dependency completion changed: {title}."),
        ));
    }
    let mut body = dependent.body()?;
    body.shift_remove("assigned_agent_id");
    body.shift_remove("in_progress_at");
    let mut after = dependent.clone();
    after.status = Some("inbox".to_owned());
    after.body = Value::Object(body).to_string();
    let entry = Happened {
        status: Some("inbox".to_owned()),
        ..Happened::task(
            "task.status_changed",
            &dependent,
            format!("Task returned to inbox, since a dependency was reopened: {title}."),
        )
    };
    plan.update_silently(&TASK, dependent, after, now);
    Ok(entry)
}

/// Returns a plan that deletes a task with its comments, links and entries. Approvals of it move to their next task, or go.
///
/// # Errors
/// `board_access_denied`, `lead_required`, `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, board_id: &str, task_id: &str) -> Result<Plan> {
    if access::agent(app, caller).await?.is_some() {
        access::need_lead(app, caller).await?;
    }
    let board = access::write(app, caller, board_id).await?;
    let task = access::part(app, &TASK, &board, task_id).await?;
    let mut plan = Plan::default();
    remove(app, &task, &mut plan).await?;
    Ok(plan.data(200, json!({"ok": true})))
}

/// Adds the deletion of a task to a plan.
async fn remove(app: &App, task: &Record, plan: &mut Plan) -> Result<()> {
    let (tenant_id, now) = (task.tenant_id.as_str(), app.clock.now());
    let said: Vec<(String,)> = app
        .db
        .all(
            "SELECT id FROM board_activity WHERE task_id = $1 AND event_type = 'task.comment' AND tenant_id = $2",
            args![&task.id, tenant_id],
        )
        .await?;
    let ids: Vec<String> = said.into_iter().map(|(id,)| id).collect();
    for comment in store::some(&app.db, tenant_id, &COMMENT, &ids).await? {
        plan.delete(&COMMENT, comment);
    }
    for dependent in dependencies::dependents_of_any_status(app, task).await? {
        let mut body = dependent.body()?;
        let mut ids = super::list(&body, "depends_on_task_ids");
        ids.retain(|id| *id != task.id);
        body.insert("depends_on_task_ids".to_owned(), json!(ids));
        let mut after = dependent.clone();
        after.body = Value::Object(body).to_string();
        plan.update_silently(&TASK, dependent, after, now);
    }
    let linked: Vec<(String,)> = app
        .db
        .all(
            "SELECT approval_id FROM approval_tasks WHERE task_id = $1 AND tenant_id = $2",
            args![&task.id, tenant_id],
        )
        .await?;
    let ids: Vec<String> = linked.into_iter().map(|(id,)| id).collect();
    for approval in store::some(&app.db, tenant_id, &APPROVAL, &ids).await? {
        let mut body = approval.body()?;
        let mut tasks = super::list(&body, "task_ids");
        tasks.retain(|id| *id != task.id);
        if tasks.is_empty() {
            plan.delete(&APPROVAL, approval);
            continue;
        }
        body.insert("task_ids".to_owned(), json!(tasks));
        let mut after = approval.clone();
        after.body = Value::Object(body).to_string();
        plan.update_silently(&APPROVAL, approval, after, now);
    }
    plan.after.push(Box::new(activity::Forget {
        tenant_id: tenant_id.to_owned(),
        task_id: Some(task.id.clone()),
        board_id: None,
    }));
    plan.after.push(dependencies::forget(task));
    plan.delete(&TASK, task.clone());
    Ok(())
}

/// Returns a plan that takes an agent from its tasks: those in progress return to the inbox.
///
/// # Errors
/// Those of the database.
pub(super) async fn release(app: &App, agent: &Actor, plan: &mut Plan) -> Result<()> {
    let tenant_id = agent.record.tenant_id.as_str();
    let found: Vec<(String,)> = app
        .db
        .all(
            "SELECT record_id FROM record_facets WHERE kind = $1 AND name = 'assignee' AND value = $2 AND tenant_id = $3",
            args![TASK.name, agent.id.to_lowercase(), tenant_id],
        )
        .await?;
    let ids: Vec<String> = found.into_iter().map(|(id,)| id).collect();
    let mut entries = Vec::new();
    for task in store::some(&app.db, tenant_id, &TASK, &ids).await? {
        let mut body = task.body()?;
        body.shift_remove("assigned_agent_id");
        let mut after = task.clone();
        if task.status.as_deref() == Some("in_progress") {
            after.status = Some("inbox".to_owned());
            body.shift_remove("in_progress_at");
            entries.push(Happened {
                status: Some("inbox".to_owned()),
                ..Happened::task(
                    "task.status_changed",
                    &task,
                    format!("Task moved to inbox: {}.", task.title),
                )
            });
        } else {
            entries.push(Happened::task(
                "task.updated",
                &task,
                format!("Task updated: {}.", task.title),
            ));
        }
        after.body = Value::Object(body).to_string();
        plan.update_silently(&TASK, task, after, app.clock.now());
    }
    plan.after.push(activity::record(tenant_id, entries));
    Ok(())
}
