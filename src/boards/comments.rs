//! Comments on tasks, and whom they mention.

use super::roster;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::json;

use super::access::{self, Actor};
use super::activity::{self, Entry, Happened};
use super::notices::{self, Notice};
use super::store::Part;
use super::{COMMENT, TASK};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// An agent by its name: a letter, and up to 31 letters, digits, underscores and dashes.
static MENTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\w@])@([A-Za-z][\w-]{0,31})").ok());

/// Returns the names that a text mentions, in lower case.
#[must_use]
pub fn mentioned(text: &str) -> Vec<String> {
    let found = MENTION.iter().flat_map(|regex| regex.captures_iter(text));
    found
        .filter_map(|c| Some(c.get(1)?.as_str().to_lowercase()))
        .collect()
}

/// Returns whether some names mean an agent: its whole name, its first word, or `lead` for the lead.
#[must_use]
pub fn means(names: &[String], agent: &Actor) -> bool {
    let name = agent.name.to_lowercase();
    let first = name.split_whitespace().next().unwrap_or_default();
    names
        .iter()
        .any(|n| *n == name || n == first || (agent.is_lead && n == "lead"))
}

/// Returns a plan that adds a comment, by a person or an agent of the board.
///
/// # Errors
/// `board_access_denied`, `record_not_found`, `lead_comment_forbidden`.
pub async fn create(
    app: &App,
    caller: &Caller,
    board_id: &str,
    task_id: &str,
    message: &str,
) -> Result<Plan> {
    let board = access::write(app, caller, board_id).await?;
    let task = access::part(app, &TASK, &board, task_id).await?;
    let actor = access::agent(app, caller).await?;
    if let Some(lead) = actor.as_ref().filter(|a| a.is_lead) {
        let created_it = text(&task.body()?, "created_by_agent_id") == Some(lead.id.as_str());
        let is_free = task.status.as_deref() == Some("review") || created_it;
        if !is_free && !was_mentioned(app, &task, lead).await? {
            return Err(Error::forbidden(
                "lead_comment_forbidden",
                "Board leads can only comment during review, when mentioned, or on tasks they created.",
            ));
        }
    }
    let mut plan = Plan::default();
    plan.relies_on.push(board.clone());
    let shown = add(
        app,
        caller,
        &board,
        &task,
        actor.as_ref(),
        message,
        &mut plan,
    )
    .await?;
    Ok(plan.data(200, serde_json::Value::Object(shown)))
}

/// Returns whether any comment on a task mentions an agent.
async fn was_mentioned(app: &App, task: &Record, agent: &Actor) -> Result<bool> {
    let part = Part {
        limit: 10_000,
        offset: 0,
    };
    let (all, _) = list(app, task, part).await?;
    let mut texts = all.iter().filter_map(|e| e.message.as_deref());
    Ok(texts.any(|text| means(&mentioned(text), agent)))
}

/// Adds a comment to a plan: the text that search finds, the entry of the feed, and who is told. Returns the comment as clients see it.
///
/// # Errors
/// Those of the database.
pub(super) async fn add(
    app: &App,
    caller: &Caller,
    board: &Record,
    task: &Record,
    actor: Option<&Actor>,
    message: &str,
    plan: &mut Plan,
) -> Result<Body> {
    let mut body = Body::new();
    body.insert("message".to_owned(), json!(message));
    body.insert("task_title".to_owned(), json!(task.title));
    body.insert("task_id".to_owned(), json!(task.id));
    if let Some(agent) = actor {
        body.insert("agent_id".to_owned(), json!(agent.id));
    }
    let new = New {
        parent_id: Some(board.id.clone()),
        ..New::from(&body)
    };
    let comment = write::draft(app, caller, &COMMENT, new)?;
    let entry = Happened {
        id: comment.id.clone(),
        ..Happened::task(activity::COMMENT, task, message.to_owned())
    };
    let author = actor.map(|a| a.id.as_str());
    plan.after
        .push(activity::record(&board.tenant_id, vec![entry.by(author)]));
    let names = mentioned(message);
    let all = roster::of_board(app, &board.tenant_id, &board.id).await?;
    let assignee = text(&task.body()?, "assigned_agent_id").map(str::to_owned);
    let meant: Vec<&Actor> = all.iter().filter(|a| means(&names, a)).collect();
    let (header, told): (_, Vec<&Actor>) = if meant.is_empty() {
        let is_assignee = |a: &&Actor| Some(&a.id) == assignee.as_ref();
        ("NEW TASK COMMENT", all.iter().filter(is_assignee).collect())
    } else {
        ("TASK MENTION", meant)
    };
    let from = actor.map_or("User", |a| a.name.as_str());
    let lines = [
        format!("Author: {from}"),
        format!("Comment:\n{}", notices::cut(message, 800)),
    ];
    for agent in told.into_iter().filter(|a| Some(a.id.as_str()) != author) {
        let text = notices::of_task(header, board, task, &lines)?;
        plan.jobs.push(Notice::quiet(agent, text).job());
    }
    body.insert("id".to_owned(), json!(comment.id));
    let created = comment.created_on.rfc3339();
    body.insert("created_at".to_owned(), json!(created));
    plan.create(&COMMENT, comment);
    Ok(body)
}

/// Returns a part of the comments on a task, oldest first, and the number of all.
///
/// # Errors
/// Those of the database.
pub async fn list(app: &App, task: &Record, part: Part) -> Result<(Vec<Entry>, i64)> {
    let entries = app
        .db
        .all(
            "SELECT id, event_type, message, agent_id, task_id, board_id, created_on FROM board_activity
             WHERE task_id = $1 AND event_type = 'task.comment' AND tenant_id = $2 ORDER BY id LIMIT $3 OFFSET $4",
            args![&task.id, &task.tenant_id, part.limit, part.offset],
        )
        .await?;
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM board_activity WHERE task_id = $1 AND event_type = 'task.comment' AND tenant_id = $2",
            args![&task.id, &task.tenant_id],
        )
        .await?;
    Ok((entries, total))
}

/// Returns the last comment of an agent on a task.
///
/// # Errors
/// Those of the database.
pub(super) async fn last_of(
    app: &App,
    task: &Record,
    agent_id: Option<&str>,
) -> Result<Option<String>> {
    let found: Option<(Option<String>,)> = app
        .db
        .optional(
            "SELECT message FROM board_activity WHERE task_id = $1 AND event_type = 'task.comment' AND agent_id = $2 AND tenant_id = $3 ORDER BY id DESC LIMIT 1",
            args![&task.id, agent_id, &task.tenant_id],
        )
        .await?;
    Ok(found.and_then(|(message,)| message))
}

#[cfg(test)]
mod tests {
    use super::mentioned;

    #[test]
    fn mentions_begin_with_a_letter_and_are_no_mail_addresses() {
        assert_eq!(
            mentioned("@Ada, and (@bo-1)! a@b.test @2x"),
            ["ada", "bo-1"]
        );
    }
}
