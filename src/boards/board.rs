//! Boards: creation, changes and their effects, deletion with everything on them.

use super::roster;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::access::{self, need_admin};
use super::notices::{self, Notice};
use super::store::Part;
use super::{
    APPROVAL, BOARD, COMMENT, GATEWAY, GROUP, MEMORY, ONBOARDING, TASK, WEBHOOK, agents, filled,
    json_of, store, unfit,
};
use crate::app::App;
use crate::auth::{Area, Caller, Scope};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::Task;
use crate::kb::datasets;
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::records::write::{self, New};
use crate::records::{Kind, Record, Request, execute};
use crate::sources;

/// Fields whose change the lead is told.
const TOLD: [&str; 13] = [
    "name",
    "description",
    "board_type",
    "objective",
    "success_metrics",
    "target_date",
    "goal_confirmed",
    "require_approval_for_done",
    "require_review_before_done",
    "comment_required_for_review",
    "block_status_changes_with_pending_approval",
    "only_lead_can_change_status",
    "max_agents",
];

/// Checks the gateway of a board: it is there and has a main agent.
async fn check_gateway(app: &App, tenant_id: &str, id: Option<&str>) -> Result<()> {
    let invalid = || unfit("gateway_invalid", "gateway_id is invalid");
    let id = id.ok_or_else(|| unfit("gateway_missing", "gateway_id is required"))?;
    store::one(app, tenant_id, &GATEWAY, id)
        .await?
        .ok_or_else(invalid)?;
    match roster::main_of(app, tenant_id, id).await? {
        Some(_) => Ok(()),
        None => Err(unfit(
            "gateway_without_main",
            "gateway must have a gateway main agent before boards can be created or updated",
        )),
    }
}

/// Returns the group that a board is to be in.
async fn group(app: &App, tenant_id: &str, id: Option<&str>) -> Result<Option<Record>> {
    let Some(id) = id else { return Ok(None) };
    let group = store::one(app, tenant_id, &GROUP, id).await?;
    group
        .map(Some)
        .ok_or_else(|| unfit("group_invalid", "board_group_id is invalid"))
}

/// Checks that a board with a goal has an objective and metrics.
fn check_goal(body: &Body) -> Result<()> {
    let has_metrics = body
        .get("success_metrics")
        .and_then(Value::as_object)
        .is_some_and(|m| !m.is_empty());
    if filled(body, "objective").is_none() || !has_metrics {
        return Err(unfit(
            "goal_incomplete",
            "Confirmed goal boards require objective and success_metrics",
        ));
    }
    Ok(())
}

fn check_words(body: &Body) -> Result<()> {
    for name in ["name", "description"] {
        if filled(body, name).is_none() {
            return Err(unfit("field_blank", format!("{name} is required")));
        }
    }
    Ok(())
}

/// Returns a plan that creates a board.
///
/// # Errors
/// `admin_required`, `field_blank`, `gateway_invalid`, `gateway_without_main`, `group_invalid`, `goal_incomplete`.
pub async fn create(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    check_words(body)?;
    check_gateway(app, caller.tenant(), text(body, "gateway_id")).await?;
    let group = group(app, caller.tenant(), text(body, "board_group_id")).await?;
    if text(body, "board_type") == Some("goal") && super::flag(body, "goal_confirmed") {
        check_goal(body)?;
    }
    let mut fields = body.clone();
    fields.shift_remove("board_group_id");
    let new = New {
        parent_id: group.as_ref().map(|g| g.id.clone()),
        ..New::from(&fields)
    };
    let board = write::draft(app, caller, &BOARD, new)?;
    let shown = json_of(&BOARD, &board)?;
    let mut plan = Plan::default();
    plan.relies_on.extend(group);
    plan.create(&BOARD, board);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that changes a board. The agents of its old and new group are told about a move, and the lead about changed fields.
///
/// # Errors
/// `board_access_denied`, and those of [`create`].
pub async fn update(app: &App, caller: &Caller, id: &str, patch: &Body) -> Result<Plan> {
    let before = access::write(app, caller, id).await?;
    change(app, caller, before, patch).await
}

/// Returns a plan that changes a board whose access was checked.
pub(super) async fn change(
    app: &App,
    caller: &Caller,
    before: Record,
    patch: &Body,
) -> Result<Plan> {
    let old = before.body()?;
    let mut body = old.clone();
    for (name, value) in patch {
        match (name.as_str(), value) {
            ("board_group_id", _) => {}
            ("gateway_id", Value::Null) => {
                return Err(unfit("gateway_missing", "gateway_id is required"));
            }
            ("objective" | "success_metrics" | "target_date" | "goal_source", Value::Null) => {
                body.shift_remove(name);
            }
            (_, Value::Null) => {}
            _ => {
                body.insert(name.clone(), value.clone());
            }
        }
    }
    check_words(&body)?;
    if patch.contains_key("gateway_id") {
        check_gateway(app, caller.tenant(), text(&body, "gateway_id")).await?;
    }
    let is_goal = text(&body, "board_type") == Some("goal");
    let becomes_goal = patch.contains_key("board_type") && text(&old, "board_type") != Some("goal");
    let confirms = patch.contains_key("goal_confirmed") && super::flag(&body, "goal_confirmed");
    if is_goal && (becomes_goal || confirms) {
        check_goal(&body)?;
    }
    let mut after = before.clone();
    let mut plan = Plan::default();
    if patch.contains_key("board_group_id") {
        let group = group(app, caller.tenant(), text(patch, "board_group_id")).await?;
        after.parent_id = group.as_ref().map(|g| g.id.clone());
        plan.relies_on.extend(group);
    }
    after.title = write::title(&BOARD, &body);
    after.body = Value::Object(body.clone()).to_string();
    let moved = after.parent_id != before.parent_id;
    if moved {
        tell_groups(app, &before, &after, &mut plan).await?;
    }
    let mut lines = notices::differences(&old, &body, &TOLD);
    if moved {
        lines.push("- board_group_id changed".to_owned());
    }
    if !lines.is_empty()
        && let Some(lead) = roster::lead_of(app, caller.tenant(), &before.id).await?
    {
        let mut text = vec![
            "BOARD UPDATED".to_owned(),
            format!("Board: {}", after.title),
        ];
        text.append(&mut lines);
        text.push("Take action: read the changed rules and adjust your plan.".to_owned());
        let notice = Notice {
            event: "board.lead",
            ..Notice::quiet(&lead, text.join("\n"))
        };
        plan.jobs.push(notice.job());
    }
    plan.update(&BOARD, before, after, app.clock.now());
    let shown = match plan.record() {
        Some(record) => json_of(&BOARD, record)?,
        None => return Err(Error::internal("a plan without a record")),
    };
    Ok(plan.data(200, Value::Object(shown)))
}

/// Adds to a plan that the agents of a board's old and new group are told about the move.
async fn tell_groups(app: &App, before: &Record, after: &Record, plan: &mut Plan) -> Result<()> {
    let tenant_id = before.tenant_id.as_str();
    let moves = [
        (&before.parent_id, "left", "board.group.leave."),
        (&after.parent_id, "joined", "board.group.join."),
    ];
    for (group_id, verb, event) in moves {
        let Some(group_id) = group_id else { continue };
        let Some(group) = store::one(app, tenant_id, &GROUP, group_id).await? else {
            continue;
        };
        let mut boards = store::all(&app.db, tenant_id, &BOARD, Some(group_id)).await?;
        if !boards.iter().any(|b| b.id == before.id) {
            boards.push(before.clone());
        }
        for board in boards {
            for agent in roster::of_board(app, tenant_id, &board.id).await? {
                let text = [
                    "BOARD GROUP UPDATED".to_owned(),
                    format!("Board {} {verb} the group {}.", after.title, group.title),
                    "Take action: look at the memory of the group for work that concerns you."
                        .to_owned(),
                ];
                let notice = Notice {
                    event,
                    board_id: Some(before.id.clone()),
                    ..Notice::quiet(&agent, text.join("\n"))
                };
                plan.jobs.push(notice.job());
            }
        }
    }
    Ok(())
}

/// Returns a plan that deletes a board: nobody sees or finds anything of it from then on. Its agents are removed from their gateways, and its records removed from
/// the database, by jobs.
///
/// # Errors
/// `board_access_denied`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    let board = access::write(app, caller, id).await?;
    let mut plan = Plan::default();
    for agent in roster::of_board(app, caller.tenant(), &board.id).await? {
        agents::retire(app, agent, &mut plan).await?;
    }
    plan.after.push(unlink(&board));
    plan.jobs.push(Task::ClearBoard {
        board_id: board.id.clone(),
    });
    plan.delete(&BOARD, board);
    Ok(plan.data(200, json!({"ok": true})))
}

/// Returns the effect that removes the texts of a board or a group from search, and the rights to it.
pub(super) fn unlink(part: &Record) -> Box<dyn Effect> {
    Box::new(Unlink { part: part.clone() })
}

#[derive(Debug)]
struct Unlink {
    part: Record,
}

#[async_trait]
impl Effect for Unlink {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (id, tenant_id) = (&self.part.id, &self.part.tenant_id);
        let caller = Caller::local(tenant_id);
        let dataset_id = Area::Boards.part_dataset_id(tenant_id, id);
        match datasets::settings(app, &caller, &dataset_id).await {
            Ok(dataset) => datasets::delete_in(app, tx, &caller, &dataset)
                .await
                .map(|_| ())?,
            Err(error) if error.code() == "dataset_not_found" => {}
            Err(error) => return Err(error),
        }
        // The documents of its records went with the dataset.
        for statement in [
            "UPDATE records SET document_id = NULL WHERE parent_id = $1 AND tenant_id = $2",
            "UPDATE records SET document_id = NULL WHERE id = $1 AND tenant_id = $2",
            "DELETE FROM board_activity WHERE board_id = $1 AND tenant_id = $2",
            "DELETE FROM task_dependencies WHERE board_id = $1 AND tenant_id = $2",
            "DELETE FROM approval_tasks WHERE board_id = $1 AND tenant_id = $2",
            "DELETE FROM board_payloads WHERE board_id = $1 AND tenant_id = $2",
        ] {
            tx.execute(statement, args![id, tenant_id]).await?;
        }
        let members: Vec<(String, String)> = tx
            .all(
                "SELECT user_id, board_access FROM memberships WHERE tenant_id = $1 AND board_access <> '[]'",
                args![tenant_id],
            )
            .await?;
        for (user_id, rights) in members {
            let mut rights: Vec<Value> = serde_json::from_str(&rights)?;
            rights.retain(|r| r["board_id"] != **id);
            tx.execute(
                "UPDATE memberships SET board_access = $1 WHERE user_id = $2 AND tenant_id = $3",
                args![Value::Array(rights).to_string(), user_id, tenant_id],
            )
            .await?;
        }
        Ok(None)
    }
}

/// Records of a board that go with it.
static PARTS: [&Kind; 6] = [&TASK, &COMMENT, &MEMORY, &APPROVAL, &ONBOARDING, &WEBHOOK];
/// Records that are removed in one transaction.
const BATCH: i64 = 200;

/// Removes the records of a deleted board; runs as a job, and goes on where it stopped.
///
/// # Errors
/// Those of the database.
pub async fn clear(app: &App, tenant_id: &str, board_id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let request = Request::internal(&caller, "clearBoard");
    for kind in PARTS {
        loop {
            let part = Part {
                limit: BATCH,
                offset: 0,
            };
            let (found, _) = store::page(&app.db, tenant_id, kind, Some(board_id), part).await?;
            if found.is_empty() {
                break;
            }
            execute(app, &request, || async {
                let mut plan = Plan::default();
                let (found, _) =
                    store::page(&app.db, tenant_id, kind, Some(board_id), part).await?;
                for record in found {
                    plan.delete(kind, record);
                }
                Ok(plan.data(200, Value::Null))
            })
            .await?;
        }
    }
    Ok(())
}

/// Returns the boards that a caller may read, by name.
///
/// # Errors
/// `scope_missing`.
pub async fn visible(
    app: &App,
    caller: &Caller,
    gateway_id: Option<&str>,
    group_id: Option<&str>,
) -> Result<Vec<Record>> {
    caller.need_unconfined(Scope::BoardsRead)?;
    let mut found = Vec::new();
    for board in store::all(&app.db, caller.tenant(), &BOARD, group_id).await? {
        let is_of_gateway = match gateway_id {
            Some(wanted) => text(&board.body()?, "gateway_id") == Some(wanted),
            None => true,
        };
        if is_of_gateway && caller.boards().reads(&board.id) {
            found.push(board);
        }
    }
    // They come newest first.
    found.sort_by_key(|b| b.title.to_lowercase());
    Ok(found)
}

/// Removes the records and the datasets of a closed organisation; runs as a job, and goes on where it stopped.
///
/// # Errors
/// Those of the database.
pub async fn clear_tenant(app: &App, tenant_id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    loop {
        let found: Vec<(String,)> = app
            .db
            .all(
                "SELECT id FROM kb_datasets WHERE tenant_id = $1 ORDER BY id LIMIT 50",
                args![tenant_id],
            )
            .await?;
        if found.is_empty() {
            break;
        }
        for (id,) in found {
            let dataset = datasets::settings(app, &caller, &id).await?;
            let mut tx = app.db.begin().await?;
            tx.execute(
                "UPDATE records SET document_id = NULL WHERE tenant_id = $1 AND document_id IN (SELECT id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2)",
                args![tenant_id, &id],
            )
            .await?;
            sources::forget_all(&mut tx, tenant_id, &id).await?;
            datasets::delete_in(app, &mut tx, &caller, &dataset).await?;
            app.commit(tx).await?;
        }
    }
    for statement in [
        "DELETE FROM record_facets WHERE tenant_id = $1",
        "DELETE FROM record_keys WHERE tenant_id = $1",
        "DELETE FROM record_words WHERE tenant_id = $1",
        "DELETE FROM records WHERE tenant_id = $1",
        "DELETE FROM agent_states WHERE tenant_id = $1",
        "DELETE FROM board_activity WHERE tenant_id = $1",
        "DELETE FROM board_payloads WHERE tenant_id = $1",
        "DELETE FROM task_dependencies WHERE tenant_id = $1",
        "DELETE FROM approval_tasks WHERE tenant_id = $1",
        "DELETE FROM connection_secrets WHERE tenant_id = $1",
        "DELETE FROM row_blocks WHERE tenant_id = $1",
        "DELETE FROM activity_runs WHERE tenant_id = $1",
        "DELETE FROM run_steps WHERE tenant_id = $1",
        "DELETE FROM campaign_spend WHERE tenant_id = $1",
        "DELETE FROM agent_roles WHERE tenant_id = $1",
        "DELETE FROM agency_log WHERE tenant_id = $1",
        "DELETE FROM chat_messages WHERE tenant_id = $1",
        "DELETE FROM chat_conversations WHERE tenant_id = $1",
        "DELETE FROM oauth_states WHERE tenant_id = $1",
        "DELETE FROM lead_imports WHERE tenant_id = $1",
        "DELETE FROM events WHERE tenant_id = $1",
    ] {
        app.db.execute(statement, args![tenant_id]).await?;
    }
    Ok(())
}
