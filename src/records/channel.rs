//! What agents push to their user: messages, whole or in pieces, and how far their tasks are. All of it is kept and can be read afterwards; while it happens,
//! the user's app listens to the topics `openclaw:message` and `agent-task-update`.

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::page::{Listing, Page};
use crate::records::{self, Kind, Record, Searchable};

/// A push.
#[derive(Debug, Clone, Default)]
pub struct Push {
    /// A whole message.
    pub message: Option<String>,
    /// A piece of one.
    pub chunk: Option<String>,
    /// Joins the pieces of a message.
    pub message_id: Option<String>,
    /// The conversation; `openclaw` when absent.
    pub conversation_id: Option<String>,
    /// Whether the message is complete.
    pub done: bool,
    /// A task.
    pub task_id: Option<String>,
    /// `started`, `in_progress` or `done`.
    pub status: Option<String>,
    /// What the task is about, or how far it is.
    pub summary: Option<String>,
}

/// What a push became.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Conversation and message.
    pub message: Option<(String, String)>,
    /// The task.
    pub task: Option<Record>,
}

/// The conversation of messages that name none.
pub const CONVERSATION: &str = "openclaw";
/// Longest id of a conversation, message or task.
const ID: usize = 200;

/// Takes a push: keeps it, and tells it to those who listen.
///
/// # Errors
/// `push_empty`, `message_id_missing`, `id_too_long`, `task_status_unknown`.
pub async fn push(app: &App, caller: &Caller, push: Push) -> Result<Pushed> {
    for id in [&push.message_id, &push.conversation_id, &push.task_id]
        .into_iter()
        .flatten()
    {
        if id.is_empty() || id.chars().count() > ID {
            return Err(Error::invalid(
                "id_too_long",
                format!("an id has 1 to {ID} characters"),
            ));
        }
    }
    let speaks =
        push.message.is_some() || push.chunk.is_some() || (push.done && push.message_id.is_some());
    if !speaks && push.task_id.is_none() {
        return Err(Error::invalid(
            "push_empty",
            "send message or chunk, or taskId with status",
        ));
    }
    if push.message.is_none() && speaks && push.message_id.is_none() {
        return Err(Error::invalid(
            "message_id_missing",
            "a chunk needs the messageId that joins it to the others",
        ));
    }
    if let Some(status) = &push.status
        && !["started", "in_progress", "done"].contains(&status.as_str())
    {
        return Err(Error::invalid(
            "task_status_unknown",
            "status must be started, in_progress or done",
        ));
    }
    let message = if speaks {
        Some(say(app, caller, &push).await?)
    } else {
        None
    };
    let task = match &push.task_id {
        Some(id) => Some(tell_task(app, caller, id, &push).await?),
        None => None,
    };
    app.bell.ring();
    Ok(Pushed { message, task })
}

async fn say(app: &App, caller: &Caller, push: &Push) -> Result<(String, String)> {
    let conversation = push
        .conversation_id
        .clone()
        .unwrap_or_else(|| CONVERSATION.to_owned());
    let message_id = push.message_id.clone().unwrap_or_else(|| app.clock.id());
    let now = app.clock.now();
    let whole = push.message.is_some();
    // A whole message is complete unless pieces of it are announced to follow.
    let done = push.done || (whole && push.chunk.is_none());
    let content = format!(
        "{}{}",
        push.message.as_deref().unwrap_or_default(),
        push.chunk.as_deref().unwrap_or_default()
    );
    let mut tx = app.db.begin().await?;
    tx.execute(
        "INSERT INTO messages (id, tenant_id, conversation_id, message_id, role, content, done, author, created_on, updated_on)
         VALUES ($1, $2, $3, $4, 'agent', $5, $6, $7, $8, $8)
         ON CONFLICT (conversation_id, message_id, tenant_id) DO UPDATE SET
         content = CASE WHEN $9 = TRUE THEN excluded.content ELSE messages.content || excluded.content END, done = excluded.done, updated_on = excluded.updated_on",
        args![app.clock.id(), caller.tenant(), &conversation, &message_id, content, done, caller.key_id(), now, whole],
    )
    .await?;
    let event = Event::OpenclawMessage {
        conversation_id: conversation.clone(),
        message_id: message_id.clone(),
        message: push.message.clone(),
        chunk: push.chunk.clone(),
        done,
    };
    events::append(&mut tx, &app.clock, caller.tenant(), &event).await?;
    tx.commit().await?;
    Ok((conversation, message_id))
}

async fn tell_task(app: &App, caller: &Caller, task_id: &str, push: &Push) -> Result<Record> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let there = records::by_external(&mut tx, caller.tenant(), Kind::AgentTask, task_id).await?;
    drop(tx);
    let is_new = there.is_none();
    let mut record = there.unwrap_or_else(|| Record {
        id: app.clock.id(),
        tenant_id: caller.tenant().to_owned(),
        kind: Kind::AgentTask.name().to_owned(),
        parent_id: None,
        external_id: Some(task_id.to_owned()),
        title: task_id.to_owned(),
        status: Some("started".to_owned()),
        body: "{}".to_owned(),
        document_id: None,
        author: caller.key_id().map(str::to_owned),
        created_on: now,
        updated_on: now,
    });
    record.updated_on = now;
    if let Some(status) = &push.status {
        record.status = Some(status.clone());
    }
    if let Some(summary) = push
        .summary
        .as_deref()
        .map(str::trim)
        .filter(|s| !s.is_empty())
    {
        record.title = summary.chars().take(120).collect();
        let mut body: Map<String, Value> = record.body()?;
        body.insert("summary".to_owned(), json!(summary));
        record.body = Value::Object(body).to_string();
    }
    let ready = Searchable::of(Kind::AgentTask, &record)?
        .prepare(app, caller.tenant())
        .await?;
    let mut tx = app.db.begin().await?;
    let record = if is_new {
        // Somebody may have told of the same task at the same moment: the later one wins.
        match records::by_external(&mut tx, caller.tenant(), Kind::AgentTask, task_id).await? {
            Some(other) => {
                let same = Record {
                    id: other.id,
                    document_id: other.document_id,
                    ..record
                };
                records::update_in(app, &mut tx, same, None).await?
            }
            None => records::insert(app, &mut tx, record, ready.as_ref()).await?,
        }
    } else {
        records::update_in(app, &mut tx, record, ready.as_ref()).await?
    };
    let event = Event::AgentTaskUpdate {
        task_id: task_id.to_owned(),
        status: record.status.clone().unwrap_or_default(),
        summary: push.summary.clone(),
    };
    events::append(&mut tx, &app.clock, caller.tenant(), &event).await?;
    tx.commit().await?;
    Ok(record)
}

/// A message that was pushed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Message {
    /// Id.
    pub id: String,
    /// The conversation.
    pub conversation_id: String,
    /// The sender's id for it.
    pub message_id: String,
    /// `agent` or `user`.
    pub role: String,
    /// What was said so far.
    pub content: String,
    /// Whether it is complete.
    pub done: bool,
    /// Time of its first piece.
    pub created_on: Time,
    /// Time of its last piece.
    pub updated_on: Time,
}

/// Messages of a conversation, oldest first.
///
/// # Errors
/// `scope_missing`.
pub async fn messages(
    app: &App,
    caller: &Caller,
    conversation_id: &str,
    page: &Page,
) -> Result<Listing<Message>> {
    caller.need_unconfined(Scope::KbRead)?;
    let rows: Vec<Message> = app
        .db
        .all(
            "SELECT id, conversation_id, message_id, role, content, done, created_on, updated_on FROM messages
             WHERE conversation_id = $1 AND tenant_id = $2 AND id > $3 ORDER BY id LIMIT $4",
            args![conversation_id, caller.tenant(), &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |m| m.id.clone()))
}

/// A conversation.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Conversation {
    /// Its id.
    pub conversation_id: String,
    /// Messages.
    pub messages: i64,
    /// Time of the last piece.
    pub updated_on: Time,
}

/// Conversations by id.
///
/// # Errors
/// `scope_missing`.
pub async fn conversations(
    app: &App,
    caller: &Caller,
    page: &Page,
) -> Result<Listing<Conversation>> {
    caller.need_unconfined(Scope::KbRead)?;
    let rows: Vec<Conversation> = app
        .db
        .all(
            "SELECT conversation_id, COUNT(*) AS messages, MAX(updated_on) AS updated_on FROM messages
             WHERE tenant_id = $1 AND conversation_id > $2 GROUP BY conversation_id ORDER BY conversation_id LIMIT $3",
            args![caller.tenant(), &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |c| c.conversation_id.clone()))
}
