//! Tasks that wait for others.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::{TASK, store as records, unfit, with_data};
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::plan::Effect;

/// Checks what a task waits for: tasks of its board, without duplicates and circles, in the order given.
///
/// # Errors
/// `dependency_on_itself`, `dependency_not_found` with the missing ids, `dependency_cycle`.
pub(super) async fn checked(
    app: &App,
    board: &Record,
    task_id: Option<&str>,
    given: &[String],
) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for id in given {
        if task_id == Some(id.as_str()) {
            return Err(unfit(
                "dependency_on_itself",
                "Task cannot depend on itself.",
            ));
        }
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    if ids.is_empty() {
        return Ok(ids);
    }
    let known = records::some(&app.db, &board.tenant_id, &TASK, &ids).await?;
    let missing: Vec<&String> = ids
        .iter()
        .filter(|id| {
            !known
                .iter()
                .any(|t| t.id == **id && t.parent_id.as_deref() == Some(board.id.as_str()))
        })
        .collect();
    if !missing.is_empty() {
        let error = Error::not_found(
            "dependency_not_found",
            "One or more dependency tasks were not found on this board.",
        );
        return Err(with_data(error, json!({"missing_task_ids": missing})));
    }
    if let Some(task_id) = task_id {
        let all: Vec<(String, String)> = app
            .db
            .all(
                "SELECT task_id, depends_on_id FROM task_dependencies WHERE board_id = $1 AND tenant_id = $2",
                args![&board.id, &board.tenant_id],
            )
            .await?;
        if leads_to(&all, &ids, task_id) {
            return Err(Error::conflict(
                "dependency_cycle",
                "Dependency cycle detected. Remove the cycle before saving.",
            ));
        }
    }
    Ok(ids)
}

/// Returns whether one of some tasks waits, directly or through others, for `wanted`.
fn leads_to(all: &[(String, String)], from: &[String], wanted: &str) -> bool {
    let mut next: HashMap<&str, Vec<&str>> = HashMap::new();
    for (task, on) in all {
        next.entry(task).or_default().push(on);
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = from.iter().map(String::as_str).collect();
    while let Some(task) = open.pop() {
        if task == wanted {
            return true;
        }
        if seen.insert(task) {
            open.extend(next.get(task).into_iter().flatten());
        }
    }
    false
}

/// Returns those of some tasks that are not done, in the same order.
pub(super) async fn unfinished(app: &App, tenant_id: &str, ids: &[String]) -> Result<Vec<String>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let done: Vec<(String,)> = app
        .db
        .all_in(
            "SELECT id FROM records WHERE tenant_id = $1 AND status = 'done' AND id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await?;
    let open = ids.iter().filter(|id| !done.iter().any(|(d,)| d == *id));
    Ok(open.cloned().collect())
}

/// Returns the tasks that wait for a task directly, whatever their status.
pub(super) async fn dependents_of_any_status(app: &App, task: &Record) -> Result<Vec<Record>> {
    let found: Vec<(String,)> = app
        .db
        .all(
            "SELECT task_id FROM task_dependencies WHERE depends_on_id = $1 AND tenant_id = $2",
            args![&task.id, &task.tenant_id],
        )
        .await?;
    let ids: Vec<String> = found.into_iter().map(|(id,)| id).collect();
    records::some(&app.db, &task.tenant_id, &TASK, &ids).await
}

/// Returns the tasks that wait for a task directly and are not done.
pub(super) async fn dependents(app: &App, task: &Record) -> Result<Vec<Record>> {
    let mut found = dependents_of_any_status(app, task).await?;
    found.retain(|t| t.status.as_deref() != Some("done"));
    Ok(found)
}

#[derive(Debug)]
struct Store {
    task: Record,
    depends_on: Vec<String>,
    /// Whether the task goes, and with it what waits for it.
    gone: bool,
}

#[async_trait]
impl Effect for Store {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let task = &self.task;
        tx.execute(
            "DELETE FROM task_dependencies WHERE (task_id = $1 OR depends_on_id = $2) AND tenant_id = $3",
            args![&task.id, self.gone.then(|| task.id.clone()), &task.tenant_id],
        )
        .await?;
        if self.gone {
            tx.execute(
                "DELETE FROM approval_tasks WHERE task_id = $1 AND tenant_id = $2",
                args![&task.id, &task.tenant_id],
            )
            .await?;
        }
        for (place, id) in (0_i64..).zip(&self.depends_on) {
            tx.execute(
                "INSERT INTO task_dependencies (task_id, depends_on_id, tenant_id, board_id, place) VALUES ($1, $2, $3, $4, $5)",
                args![&task.id, id, &task.tenant_id, &task.parent_id, place],
            )
            .await?;
        }
        Ok(None)
    }
}

/// Returns the effect that stores what a task waits for.
pub(super) fn store(task: &Record, depends_on: &[String]) -> Box<dyn Effect> {
    Box::new(Store {
        task: task.clone(),
        depends_on: depends_on.to_vec(),
        gone: false,
    })
}

/// Returns the effect that removes the links of a deleted task.
pub(super) fn forget(task: &Record) -> Box<dyn Effect> {
    Box::new(Store {
        task: task.clone(),
        depends_on: Vec::new(),
        gone: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_through_any_number_of_tasks() {
        let on = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let all = [on("b", "c"), on("c", "a"), on("d", "d")];
        assert!(leads_to(&all, &["b".to_owned()], "a"));
        assert!(!leads_to(&all, &["d".to_owned()], "a"));
    }
}
