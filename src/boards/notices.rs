//! Notices to agents through their gateway, as durable jobs. A failure never fails the request that causes the notice: it becomes an entry of the activity.

use serde_json::Value;

use super::access::Actor;
use super::{BOARD, store};
use crate::app::App;
use crate::error::Result;
use crate::jobs::Task;
use crate::records::Record;
use crate::records::body::{Body, text};

/// A message to an agent.
#[derive(Debug, Clone)]
pub struct Notice {
    pub agent_id: String,
    pub text: String,
    /// Whether the agent's answer leaves the gateway through a channel to people.
    pub deliver: bool,
    /// Beginning of the types of the entries about success and failure; empty for none.
    pub event: &'static str,
    pub task_id: Option<String>,
    pub board_id: Option<String>,
}

impl Notice {
    /// Returns a notice about a task. `event` is the beginning of the types of its entries, without the underscore.
    #[must_use]
    pub fn about(task: &Record, agent: &Actor, text: String, event: &'static str) -> Self {
        Self {
            event,
            task_id: Some(task.id.clone()),
            board_id: task.parent_id.clone(),
            ..Self::quiet(agent, text)
        }
    }

    /// Returns a notice whose success is not recorded.
    #[must_use]
    pub fn quiet(agent: &Actor, text: String) -> Self {
        Self {
            agent_id: agent.id.clone(),
            text,
            deliver: false,
            event: "",
            task_id: None,
            board_id: agent.board_id.clone(),
        }
    }

    /// Returns the notice as a job.
    #[must_use]
    pub fn job(self) -> Task {
        Task::TellAgent {
            agent_id: self.agent_id,
            text: self.text,
            deliver: self.deliver,
            event: self.event.to_owned(),
            task_id: self.task_id,
            board_id: self.board_id,
        }
    }
}

/// Returns the beginning of a text.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{beginning}...")
}

/// Returns a notice about a task: a header, board, title, id, status, the beginning of the description, and further lines.
///
/// # Errors
/// When the row is damaged.
pub fn of_task(header: &str, board: &Record, task: &Record, more: &[String]) -> Result<String> {
    let body = task.body()?;
    let mut lines = vec![
        header.to_owned(),
        format!("Board: {} ({})", board.title, board.id),
        format!("Task: {}", text(&body, "title").unwrap_or(&task.title)),
        format!("Task ID: {}", crate::boards::uuid_of(&task.id)),
        format!("Status: {}", task.status.as_deref().unwrap_or("inbox")),
    ];
    if let Some(description) = super::filled(&body, "description") {
        lines.push(format!("Description: {}", cut(description, 500)));
    }
    lines.extend(more.iter().cloned());
    lines.push(match header {
        "NEW TASK ADDED" => "Take action: triage, assign or plan this task.".to_owned(),
        "TASK READY FOR LEAD REVIEW" => {
            "Take action: review the result, then move the task to done or back to inbox.".to_owned()
        }
        "TASK BACK IN INBOX" => "Take action: assign it to an agent when it can go on.".to_owned(),
        "CHANGES REQUESTED" => {
            "Take action: read the feedback, then move the task to in_progress.".to_owned()
        }
        "TASK MENTION" | "NEW TASK COMMENT" => {
            "If you are mentioned but not assigned, answer in the thread and do not change the task."
                .to_owned()
        }
        _ => "Take action: open the task and begin; post updates as comments.".to_owned(),
    });
    Ok(lines.join("\n"))
}

/// Returns a board's name for a notice.
///
/// # Errors
/// Those of the database.
pub async fn board_name(app: &App, tenant_id: &str, board_id: &str) -> Result<String> {
    let board = store::one(app, tenant_id, &BOARD, board_id).await?;
    Ok(board.map_or_else(|| board_id.to_owned(), |b| b.title))
}

/// Returns changed fields as lines `field: old -> new`.
#[must_use]
pub fn differences(old: &Body, new: &Body, names: &[&str]) -> Vec<String> {
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => cut(text, 120),
        Some(value) => cut(&value.to_string(), 120),
    };
    let changed = names
        .iter()
        .filter(|name| old.get(**name) != new.get(**name));
    changed
        .map(|name| {
            format!(
                "- {name}: {} -> {}",
                shown(old.get(*name)),
                shown(new.get(*name))
            )
        })
        .collect()
}
