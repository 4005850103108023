//! Approvals: decisions that agents ask people for, linked to tasks.

use super::roster;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::activity;
use super::notices::Notice;
use super::store::Part;
use super::{APPROVAL, TASK, access, filled, json_of, list as texts, store, unfit, with_data};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Clock;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan, STALE};
use crate::records::write::{self, New};
use crate::records::{Record, columns};

/// Members of a payload that may hold the ids of tasks.
const TASK_MEMBERS: [&str; 6] = [
    "task_id", "taskId", "taskID", "task_ids", "taskIds", "taskIDs",
];

/// Returns the ids of the tasks of an approval, from its own fields and from its payload, without duplicates.
fn task_ids(body: &Body) -> Vec<String> {
    let mut ids: Vec<String> = texts(body, "task_ids");
    ids.extend(text(body, "task_id").map(str::to_owned));
    if let Some(Value::Object(payload)) = body.get("payload") {
        for name in TASK_MEMBERS {
            match payload.get(name) {
                Some(Value::String(id)) => ids.extend(Clock::read_id(id)),
                Some(Value::Array(list)) => {
                    ids.extend(
                        list.iter()
                            .filter_map(Value::as_str)
                            .filter_map(Clock::read_id),
                    );
                }
                _ => {}
            }
        }
    }
    let mut unique: Vec<String> = Vec::new();
    for id in ids {
        if !unique.contains(&id) {
            unique.push(id);
        }
    }
    unique
}

/// Checks that an approval has a reason; `lead_reasoning` becomes the reason of the payload.
fn need_reason(body: &mut Body) -> Result<()> {
    let payload = body.get("payload").and_then(Value::as_object);
    let has = |reason: Option<&Value>| {
        reason
            .and_then(Value::as_str)
            .is_some_and(|r| !r.trim().is_empty())
    };
    let in_payload = payload.is_some_and(|p| {
        has(p.get("reason")) || has(p.get("decision").and_then(|d| d.get("reason")))
    });
    if in_payload {
        return Ok(());
    }
    let Some(reason) = filled(body, "lead_reasoning").map(str::to_owned) else {
        return Err(unfit("reason_missing", "lead reasoning is required"));
    };
    let mut payload = payload.cloned().unwrap_or_default();
    payload.insert("reason".to_owned(), json!(reason));
    body.insert("payload".to_owned(), Value::Object(payload));
    Ok(())
}

/// Returns a plan that creates an approval, by a person or an agent of the board.
///
/// # Errors
/// `board_access_denied`, `reason_missing`, `record_not_found` for tasks and agents of other boards, `approval_pending` when a task has a pending one.
pub async fn create(app: &App, caller: &Caller, board_id: &str, body: &Body) -> Result<Plan> {
    let board = access::write(app, caller, board_id).await?;
    let actor = access::agent(app, caller).await?;
    let mut body = body.clone();
    need_reason(&mut body)?;
    let ids = task_ids(&body);
    let tasks = store::some(&app.db, caller.tenant(), &TASK, &ids).await?;
    let mut titles = Vec::with_capacity(ids.len());
    for id in &ids {
        let of_board = |t: &&Record| t.id == *id && t.parent_id.as_deref() == Some(board_id);
        let task = tasks.iter().find(of_board).ok_or_else(|| {
            Error::not_found(
                "task_not_found",
                "One or more tasks were not found on this board.",
            )
        })?;
        titles.push(task.title.clone());
    }
    let agent_id = match (&actor, text(&body, "agent_id")) {
        (Some(agent), None) => Some(agent.id.clone()),
        (_, Some(id)) => Some(
            store::get(app, caller.tenant(), &super::AGENT, id)
                .await?
                .id,
        ),
        (None, None) => None,
    };
    let status = text(&body, "status").unwrap_or("pending").to_owned();
    if status == "pending" {
        need_free(app, caller.tenant(), &ids, None).await?;
    } else {
        body.insert("resolved_at".to_owned(), json!(app.clock.now().rfc3339()));
    }
    body.insert("status".to_owned(), json!(status));
    for name in ["task_id", "lead_reasoning"] {
        body.shift_remove(name);
    }
    body.insert("agent_id".to_owned(), json!(agent_id));
    body.insert("task_ids".to_owned(), json!(ids));
    body.insert("task_titles".to_owned(), json!(titles));
    let new = New {
        parent_id: Some(board.id.clone()),
        ..New::from(&body)
    };
    let approval = write::draft(app, caller, &APPROVAL, new)?;
    let shown = shown(app, std::slice::from_ref(&approval)).await?;
    let mut plan = Plan::default();
    plan.relies_on.push(board.clone());
    plan.after.push(links(&approval, &ids));
    plan.after.push(activity::changed(
        caller.tenant(),
        &board.id,
        "approval",
        &approval.id,
    ));
    plan.create(&APPROVAL, approval);
    Ok(plan.data(200, first(shown)?))
}

fn first(shown: Vec<Body>) -> Result<Value> {
    let first = shown.into_iter().next();
    first
        .map(Value::Object)
        .ok_or_else(|| Error::internal("an approval that is not shown"))
}

/// Refuses a pending approval for tasks that have another one.
async fn need_free(app: &App, tenant_id: &str, ids: &[String], own_id: Option<&str>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let taken: Vec<(String, String)> = app
        .db
        .all_in(
            "SELECT task_id, approval_id FROM approval_tasks WHERE tenant_id = $1 AND status = 'pending' AND task_id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await?;
    let conflicts: Vec<Value> = taken
        .into_iter()
        .filter(|(_, approval)| Some(approval.as_str()) != own_id)
        .map(|(task_id, approval_id)| json!({"task_id": task_id, "approval_id": approval_id}))
        .collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    let error = Error::conflict(
        "approval_pending",
        "Each task can have only one pending approval.",
    );
    Err(with_data(error, json!({"conflicts": conflicts})))
}

/// Returns a plan that decides an approval, by a person.
///
/// # Errors
/// `person_required`, `board_access_denied`, `record_not_found`, `approval_pending`.
pub async fn update(
    app: &App,
    caller: &Caller,
    board_id: &str,
    id: &str,
    patch: &Body,
) -> Result<Plan> {
    access::need_person(caller)?;
    let board = access::write(app, caller, board_id).await?;
    let before = access::part(app, &APPROVAL, &board, id).await?;
    let Some(status) = text(patch, "status").map(str::to_owned) else {
        let shown = shown(app, std::slice::from_ref(&before)).await?;
        return Ok(Plan::default().data(200, first(shown)?));
    };
    let mut body = before.body()?;
    let ids = texts(&body, "task_ids");
    if status == "pending" {
        need_free(app, caller.tenant(), &ids, Some(&before.id)).await?;
    } else {
        body.insert("resolved_at".to_owned(), json!(app.clock.now().rfc3339()));
    }
    let is_decided = status != "pending" && before.status.as_deref() != Some(status.as_str());
    let mut after = before.clone();
    after.status = Some(status.clone());
    after.body = Value::Object(body.clone()).to_string();
    let mut plan = Plan::default();
    plan.after.push(links(&after, &ids));
    plan.after.push(activity::changed(
        caller.tenant(),
        &board.id,
        "approval",
        &before.id,
    ));
    if is_decided && let Some(lead) = roster::lead_of(app, caller.tenant(), &board.id).await? {
        let shown_ids: Vec<String> = ids.iter().map(|id| super::uuid_of(id)).collect();
        let lines = [
            "APPROVAL RESOLVED".to_owned(),
            format!("Board: {}", board.title),
            format!("Approval ID: {}", super::uuid_of(&before.id)),
            format!("Action: {}", before.title),
            format!("Decision: {status}"),
            format!(
                "Confidence: {}",
                body.get("confidence").cloned().unwrap_or_default()
            ),
            format!("Task IDs: {}", shown_ids.join(", ")),
            "Take action: continue with the work that waited for this decision.".to_owned(),
        ];
        let notice = Notice {
            event: "approval.lead",
            task_id: ids.first().cloned(),
            ..Notice::quiet(&lead, lines.join("\n"))
        };
        plan.jobs.push(notice.job());
    }
    let shown = shown(app, std::slice::from_ref(&after)).await?;
    plan.update(&APPROVAL, before, after, app.clock.now());
    Ok(plan.data(200, first(shown)?))
}

/// Links of an approval to its tasks, with its status.
#[derive(Debug)]
struct Links {
    approval: Record,
    ids: Vec<String>,
}

#[async_trait]
impl Effect for Links {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let approval = &self.approval;
        tx.execute(
            "DELETE FROM approval_tasks WHERE approval_id = $1 AND tenant_id = $2",
            args![&approval.id, &approval.tenant_id],
        )
        .await?;
        for (place, id) in (0_i64..).zip(&self.ids) {
            let added = tx
                .execute(
                    "INSERT INTO approval_tasks (approval_id, task_id, tenant_id, board_id, status, place) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                    args![
                        &approval.id,
                        id,
                        &approval.tenant_id,
                        &approval.parent_id,
                        &approval.status,
                        place
                    ],
                )
                .await?;
            if added == 0 {
                // Another approval of the task became pending at the same time.
                return Err(Error::conflict(STALE, "the task has a pending approval"));
            }
        }
        Ok(None)
    }
}

fn links(approval: &Record, ids: &[String]) -> Box<dyn Effect> {
    Box::new(Links {
        approval: approval.clone(),
        ids: ids.to_vec(),
    })
}

/// Returns approvals as clients see them, in the same order, with the present titles of their tasks.
///
/// # Errors
/// Those of the database.
pub async fn shown(app: &App, approvals: &[Record]) -> Result<Vec<Body>> {
    let mut bodies = Vec::with_capacity(approvals.len());
    let mut ids: Vec<String> = Vec::new();
    for approval in approvals {
        let body = json_of(&APPROVAL, approval)?;
        ids.extend(texts(&body, "task_ids"));
        bodies.push(body);
    }
    let Some(tenant_id) = approvals.first().map(|a| a.tenant_id.as_str()) else {
        return Ok(bodies);
    };
    ids.sort();
    ids.dedup();
    let tasks = store::some(&app.db, tenant_id, &TASK, &ids).await?;
    for body in &mut bodies {
        let ids = texts(body, "task_ids");
        let titles: Vec<&str> = ids
            .iter()
            .filter_map(|id| tasks.iter().find(|t| t.id == *id))
            .map(|t| t.title.as_str())
            .collect();
        let titles = json!(titles);
        body.insert("task_id".to_owned(), json!(ids.first()));
        body.insert("task_titles".to_owned(), titles);
    }
    Ok(bodies)
}

/// Returns a part of the approvals of a board, newest first, and the number of all.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    board: &Record,
    status: Option<&str>,
    part: Part,
) -> Result<(Vec<Record>, i64)> {
    let found = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND (CAST($4 AS TEXT) IS NULL OR status = $4) ORDER BY id DESC LIMIT $5 OFFSET $6"),
            args![&board.id, APPROVAL.name, &board.tenant_id, status, part.limit, part.offset],
        )
        .await?;
    Ok((found, count(app, board, status).await?))
}

/// Returns the number of the approvals of a board with a status.
///
/// # Errors
/// Those of the database.
pub async fn count(app: &App, board: &Record, status: Option<&str>) -> Result<i64> {
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND (CAST($4 AS TEXT) IS NULL OR status = $4)",
            args![&board.id, APPROVAL.name, &board.tenant_id, status],
        )
        .await?;
    Ok(total)
}

/// Returns the counts of a task's approvals: all, and pending ones.
///
/// # Errors
/// Those of the database.
pub async fn counts(app: &App, tenant_id: &str, task_ids: &[String]) -> Result<Vec<Value>> {
    let mut counts = Vec::with_capacity(task_ids.len());
    for id in task_ids {
        let (all, pending): (i64, i64) = app
            .db
            .one(
                "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END), 0) AS BIGINT) FROM approval_tasks WHERE task_id = $1 AND tenant_id = $2",
                args![id, tenant_id],
            )
            .await?;
        counts.push(
            json!({"task_id": id, "approvals_count": all, "approvals_pending_count": pending}),
        );
    }
    Ok(counts)
}
