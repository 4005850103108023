//! Boards and groups at a glance.

use serde_json::{Map, Value, json};

use super::store::Part;
use super::{
    AGENT, APPROVAL, BOARD, GROUP, MEMORY, STATUSES, TASK, agents, approvals, json_of, memory,
    store, tasks,
};
use crate::app::App;
use crate::auth::{Caller, Principal};
use crate::db::args;
use crate::error::Result;
use crate::records::body::{Body, text};
use crate::records::{Record, columns};

/// Approvals and messages of a snapshot.
const LAST: Part = Part {
    limit: 200,
    offset: 0,
};

/// Returns a board with its tasks and agents, its last approvals, and its last messages (the oldest first).
///
/// # Errors
/// Those of the database.
pub async fn board(app: &App, board: &Record) -> Result<Value> {
    let tenant_id = board.tenant_id.as_str();
    let found = store::all(&app.db, tenant_id, &TASK, Some(&board.id)).await?;
    let cards = tasks::cards(app, board, &found).await?;
    let all = store::all(&app.db, tenant_id, &AGENT, Some(&board.id)).await?;
    let agents = agents::shown(app, &all).await?;
    let (last, _) = approvals::list(app, board, None, LAST).await?;
    let pending = approvals::count(app, board, Some("pending")).await?;
    let (mut chat, _) = memory::list(app, &MEMORY, board, (Some(true), None), LAST).await?;
    chat.reverse();
    let chat = chat
        .iter()
        .map(|m| json_of(&MEMORY, m))
        .collect::<Result<Vec<_>>>()?;
    let approvals = approvals::shown(app, &last).await?;
    Ok(json!({
        "board": json_of(&BOARD, board)?,
        "tasks": cards,
        "agents": agents,
        "approvals": approvals,
        "chat_messages": chat,
        "pending_approvals_count": pending,
    }))
}

/// Parameters of a snapshot of a group.
#[derive(Debug, Clone)]
pub struct Of<'a> {
    /// A board that is left out.
    pub without: Option<&'a str>,
    pub include_done: bool,
    /// Tasks of each board.
    pub limit: i64,
}

/// Returns a group with the boards that a caller may read, and the tasks of each that matter most.
///
/// # Errors
/// Those of the database.
pub async fn group(
    app: &App,
    caller: &Caller,
    group: Option<&Record>,
    of: Of<'_>,
) -> Result<Value> {
    let Some(group) = group else {
        return Ok(json!({"group": null, "boards": []}));
    };
    let mut boards = store::all(&app.db, caller.tenant(), &BOARD, Some(&group.id)).await?;
    // The agents of a group see what its other boards do.
    let is_agent = matches!(caller.principal(), Principal::Agent { .. });
    boards.retain(|b| Some(b.id.as_str()) != of.without);
    boards.retain(|b| is_agent || caller.boards().reads(&b.id));
    boards.sort_by_key(|b| (b.title.to_lowercase(), b.id.clone()));
    let mut shown = Vec::with_capacity(boards.len());
    for board in &boards {
        shown.push(one(app, board, &of).await?);
    }
    Ok(json!({"group": json_of(&GROUP, group)?, "boards": shown}))
}

async fn one(app: &App, board: &Record, of: &Of<'_>) -> Result<Value> {
    let counts: Vec<(Option<String>, i64)> = app
        .db
        .all(
            "SELECT status, COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 GROUP BY status",
            args![&board.id, TASK.name, &board.tenant_id],
        )
        .await?;
    let counts: Map<String, Value> = counts
        .into_iter()
        .filter_map(|(s, n)| Some((s?, json!(n))))
        .collect();
    // Statuses come in this order, and within each the priorities; so no more than the limit of each status matters.
    let mut tasks: Vec<Record> = Vec::new();
    for status in ["in_progress", "review", "inbox", "done"] {
        if of.limit <= i64::try_from(tasks.len()).unwrap_or(0)
            || (status == "done" && !of.include_done)
        {
            continue;
        }
        debug_assert!(STATUSES.contains(&status), "a status of tasks");
        let mut of_status: Vec<(i64, Record)> = Vec::new();
        let found: Vec<Record> = app
            .db
            .all(
                concat!("SELECT ", columns!(), " FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND status = $4"),
                args![&board.id, TASK.name, &board.tenant_id, status],
            )
            .await?;
        for task in found {
            let rank = match text(&task.body()?, "priority") {
                Some("high") => 0,
                Some("medium") => 1,
                Some("low") => 2,
                _ => 3,
            };
            of_status.push((rank, task));
        }
        of_status.sort_by_key(|(rank, task)| (*rank, std::cmp::Reverse(task.updated_on)));
        tasks.extend(of_status.into_iter().map(|(_, task)| task));
    }
    tasks.truncate(usize::try_from(of.limit).unwrap_or(0));
    let mut cards: Vec<Body> = tasks::cards(app, board, &tasks).await?;
    for card in &mut cards {
        card.insert("board_name".to_owned(), json!(board.title));
    }
    Ok(json!({"board": json_of(&BOARD, board)?, "task_counts": counts, "tasks": cards}))
}

/// Returns the counts of a task's approvals after a change of one, as the stream of approvals tells them.
///
/// # Errors
/// Those of the database.
pub async fn approval_change(app: &App, approval: &Record) -> Result<Value> {
    let shown = approvals::shown(app, std::slice::from_ref(approval)).await?;
    let board_id = approval.parent_id.clone().unwrap_or_default();
    let (pending,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND status = 'pending'",
            args![&board_id, APPROVAL.name, &approval.tenant_id],
        )
        .await?;
    let ids = super::list(&approval.body()?, "task_ids");
    let counts = approvals::counts(app, &approval.tenant_id, &ids).await?;
    let mut change =
        json!({"approval": shown.into_iter().next(), "pending_approvals_count": pending});
    match counts.as_slice() {
        [] => {}
        [one] => change["task_counts"] = one.clone(),
        many => change["task_counts"] = json!(many),
    }
    Ok(change)
}
