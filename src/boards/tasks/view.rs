//! Tasks as clients see them: with what they wait for, tags, custom fields, the assignee's name and counts of approvals.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::super::{AGENT, TASK, custom_fields, json_of, list, store, tags};
use super::dependencies::unfinished;
use crate::app::App;
use crate::db::args;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::{Body, text};

/// Returns tasks of a board as clients see them, in the same order.
///
/// # Errors
/// Those of the database.
pub async fn shown(app: &App, board: &Record, tasks: &[Record]) -> Result<Vec<Body>> {
    shown_with(app, board, tasks, &[]).await
}

/// Returns tasks as clients see them; `more` are dependencies that the tasks will have.
pub(super) async fn shown_with(
    app: &App,
    board: &Record,
    tasks: &[Record],
    more: &[String],
) -> Result<Vec<Body>> {
    let tenant_id = board.tenant_id.as_str();
    let mut bodies = Vec::with_capacity(tasks.len());
    let (mut waited, mut tagged): (BTreeSet<String>, BTreeSet<String>) =
        (more.iter().cloned().collect(), BTreeSet::new());
    for task in tasks {
        let body = json_of(&TASK, task)?;
        waited.extend(list(&body, "depends_on_task_ids"));
        tagged.extend(list(&body, "tag_ids"));
        bodies.push(body);
    }
    let waited: Vec<String> = waited.into_iter().collect();
    let open: BTreeSet<String> = unfinished(app, tenant_id, &waited)
        .await?
        .into_iter()
        .collect();
    let tagged: Vec<String> = tagged.into_iter().collect();
    let references = tags::references(app, tenant_id, &tagged).await?;
    let fields = custom_fields::of_board(app, tenant_id, &board.id).await?;
    for body in &mut bodies {
        let waits_for: Vec<String> = if text(body, "status") == Some("done") {
            Vec::new()
        } else {
            let mut ids = list(body, "depends_on_task_ids");
            ids.retain(|id| open.contains(id));
            ids
        };
        let tag_ids = list(body, "tag_ids");
        let of_task: Vec<&Value> = tag_ids.iter().filter_map(|id| references.get(id)).collect();
        let values = custom_fields::with_defaults(&fields, body.get("custom_field_values"));
        for (name, value) in [
            ("is_blocked", json!(!waits_for.is_empty())),
            ("blocked_by_task_ids", json!(waits_for)),
            ("tags", json!(of_task)),
            ("custom_field_values", values),
        ] {
            body.insert(name.to_owned(), value);
        }
    }
    Ok(bodies)
}

/// Returns the tasks of a board as the cards of its page show them.
///
/// # Errors
/// Those of the database.
pub async fn cards(app: &App, board: &Record, tasks: &[Record]) -> Result<Vec<Body>> {
    let mut bodies = shown(app, board, tasks).await?;
    let agents = store::all(&app.db, &board.tenant_id, &AGENT, Some(&board.id)).await?;
    let names: HashMap<&str, &str> = agents
        .iter()
        .map(|a| (a.id.as_str(), a.title.as_str()))
        .collect();
    let counts: Vec<(String, i64, i64)> = app
        .db
        .all(
            "SELECT task_id, COUNT(*), CAST(COALESCE(SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END), 0) AS BIGINT) FROM approval_tasks
             WHERE board_id = $1 AND tenant_id = $2 GROUP BY task_id",
            args![&board.id, &board.tenant_id],
        )
        .await?;
    let counts: HashMap<String, (i64, i64)> = counts
        .into_iter()
        .map(|(id, all, pending)| (id, (all, pending)))
        .collect();
    for body in &mut bodies {
        let (all, pending) = text(body, "id")
            .and_then(|id| counts.get(id))
            .copied()
            .unwrap_or_default();
        let assignee = text(body, "assigned_agent_id").and_then(|id| names.get(id));
        let assignee = json!(assignee);
        body.insert("assignee".to_owned(), assignee);
        body.insert("approvals_count".to_owned(), json!(all));
        body.insert("approvals_pending_count".to_owned(), json!(pending));
        // The page reads the values of one task at a time.
        body.insert("custom_field_values".to_owned(), Value::Null);
    }
    Ok(bodies)
}
