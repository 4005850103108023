//! What agents push to their user: messages, whole or in pieces, and how far their tasks are. All of it is kept and can be read afterwards; while it happens,
//! the user's app listens to the topics `openclaw:message` and `agent-task-update`.

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::kb::{datasets, index_log};
use crate::page::{Listing, Page};
use crate::records::searchable::Ready;
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
/// `key_confined`, `push_empty`, `message_id_missing`, `id_too_long`, `task_status_unknown`, `message_too_long`, `record_busy`.
pub async fn push(app: &App, caller: &Caller, mut push: Push) -> Result<Pushed> {
    // Any key may push, but the channel belongs to the tenant and not to a dataset.
    caller.refuse_confined()?;
    // PostgreSQL has no NUL in texts, and logs of terminals do.
    for text in [
        &mut push.message,
        &mut push.chunk,
        &mut push.message_id,
        &mut push.conversation_id,
        &mut push.task_id,
        &mut push.summary,
    ]
    .into_iter()
    .flatten()
    {
        text.retain(|c| c != '\0');
    }
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
    let dataset = datasets::area_dataset(app, caller.tenant(), Kind::AgentTask.area())
        .await?
        .id;
    // Both parts of a push, or none: who tries again does not say the same twice.
    for _ in 0..TRIES {
        let task = match &push.task_id {
            Some(id) => Some(draft_task(app, caller, id, &push).await?),
            None => None,
        };
        let mut tx = app.db.begin().await?;
        let task = match task {
            Some(draft) => {
                // Changes of the shelf come one after the other, and with them those of its tasks.
                index_log::lock_dataset(&mut tx, caller.tenant(), &dataset).await?;
                match write_task(app, &mut tx, caller, draft, &push).await? {
                    Some(record) => Some(record),
                    None => continue,
                }
            }
            None => None,
        };
        let message = if speaks {
            Some(say(app, &mut tx, caller, &push).await?)
        } else {
            None
        };
        app.commit(tx).await?;
        return Ok(Pushed { message, task });
    }
    Err(Error::conflict(
        "record_busy",
        "others tell of this task at the same time; try again",
    ))
}

/// Times that a push is tried again because somebody else told of the same task.
const TRIES: usize = 8;

async fn say(app: &App, tx: &mut Tx, caller: &Caller, push: &Push) -> Result<(String, String)> {
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
    tx.execute(
        "INSERT INTO messages (id, tenant_id, conversation_id, message_id, role, content, done, author, created_on, updated_on)
         VALUES ($1, $2, $3, $4, 'agent', $5, $6, $7, $8, $8)
         ON CONFLICT (conversation_id, message_id, tenant_id) DO UPDATE SET
         content = CASE WHEN $9 = TRUE THEN excluded.content ELSE messages.content || excluded.content END, done = excluded.done, updated_on = excluded.updated_on",
        args![
            app.clock.id(),
            caller.tenant(),
            &conversation,
            &message_id,
            content,
            done,
            caller.key_id(),
            now,
            whole
        ],
    )
    .await?;
    let (length,): (i64,) = tx
        .optional(
            "SELECT CAST(LENGTH(content) AS BIGINT) FROM messages WHERE conversation_id = $1 AND message_id = $2 AND tenant_id = $3",
            args![&conversation, &message_id, caller.tenant()],
        )
        .await?
        .unwrap_or((0,));
    if length > MESSAGE {
        return Err(Error::too_large(
            "message_too_long",
            format!("a message has at most {MESSAGE} characters"),
        ));
    }
    let event = Event::OpenclawMessage {
        conversation_id: conversation.clone(),
        message_id: message_id.clone(),
        message: push.message.clone(),
        chunk: push.chunk.clone(),
        done,
    };
    let author = caller.key_id();
    events::append_by(tx, &app.clock, caller.tenant(), &event, author).await?;
    Ok((conversation, message_id))
}

/// Longest message, in characters.
const MESSAGE: i64 = 1_000_000;

/// A task as it will be, with its text ready, and when it was last changed.
struct Draft {
    record: Record,
    ready: Option<Ready>,
    seen: Option<Time>,
}

async fn draft_task(app: &App, caller: &Caller, task_id: &str, push: &Push) -> Result<Draft> {
    let now = app.clock.now();
    let there = records::by_external(&app.db, caller.tenant(), Kind::AgentTask, task_id).await?;
    let seen = there.as_ref().map(|t| t.updated_on);
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
    record.updated_on = Time(now.0.max(seen.map_or(0, |t| t.0 + 1)));
    if let Some(status) = &push.status {
        record.status = Some(status.clone());
    }
    let summary = push.summary.as_deref().map(str::trim);
    if let Some(summary) = summary.filter(|s| !s.is_empty()) {
        record.title = summary.chars().take(120).collect();
        let mut body: Map<String, Value> = record.body()?;
        body.insert("summary".to_owned(), json!(summary));
        record.body = Value::Object(body).to_string();
    }
    let text = Searchable::of(Kind::AgentTask, &record)?;
    let ready = text.prepare(app, caller.tenant()).await?;
    Ok(Draft {
        record,
        ready,
        seen,
    })
}

/// Writes a task down, unless somebody else has changed it since it was read.
async fn write_task(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    draft: Draft,
    push: &Push,
) -> Result<Option<Record>> {
    let task_id = draft.record.external_id.clone().unwrap_or_default();
    let now: Option<(Time,)> = tx
        .optional(
            "SELECT updated_on FROM records WHERE tenant_id = $1 AND kind = 'agent_task' AND external_id = $2",
            args![caller.tenant(), &task_id],
        )
        .await?;
    if now.map(|(at,)| at) != draft.seen {
        return Ok(None);
    }
    let record = match draft.seen {
        None => records::insert(app, tx, draft.record, draft.ready.as_ref()).await?,
        Some(_) => records::update_in(app, tx, draft.record, draft.ready.as_ref()).await?,
    };
    let event = Event::AgentTaskUpdate {
        task_id,
        status: record.status.clone().unwrap_or_default(),
        summary: push.summary.clone(),
    };
    let author = caller.key_id();
    events::append_by(tx, &app.clock, caller.tenant(), &event, author).await?;
    Ok(Some(record))
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
