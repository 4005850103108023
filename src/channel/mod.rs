//! The channel by which agents push to their user: messages, whole or in pieces, and the progress of their tasks. Everything is kept and can be read
//! afterwards; the user's app subscribes to the topics `openclaw:message` and `agent-task-update`.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::page::{Listing, Page};
use crate::records::body::Body;
use crate::records::plan::{Effect, Plan};
use crate::records::write::{self, New, Patch};
use crate::records::{Record, store};
use crate::work::AGENT_TASK;

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
    /// Subject or progress of the task.
    pub summary: Option<String>,
}

/// The conversation of messages that name none.
pub const CONVERSATION: &str = "openclaw";
/// Longest id of a conversation, message or task.
const ID: usize = 200;

/// Shows a task to the caller.
pub type View = fn(&Record) -> Result<Value>;

/// Returns a plan that keeps a push, publishes it to subscribers, and answers with the conversation and message and with the task, for callers who may see that.
/// Both parts of a push are written, or none.
///
/// # Errors
/// `key_confined`, `push_empty`, `message_id_missing`, `id_too_long`, `task_status_unknown`, `message_too_long`.
pub async fn push(app: &App, caller: &Caller, mut push: Push, view: View) -> Result<Plan> {
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
                format!("an id must have 1 to {ID} characters"),
            ));
        }
    }
    let speaks =
        push.message.is_some() || push.chunk.is_some() || (push.done && push.message_id.is_some());
    if !speaks && push.task_id.is_none() {
        return Err(Error::invalid(
            "push_empty",
            "send message, chunk, or taskId with status",
        ));
    }
    if push.message.is_none() && speaks && push.message_id.is_none() {
        return Err(Error::invalid(
            "message_id_missing",
            "a chunk requires messageId, which links it to the other chunks",
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
    let mut plan = Plan::default();
    let mut answer = Body::new();
    if speaks {
        let message = NewMessage::of(app, caller, &push);
        answer.insert("conversationId".to_owned(), json!(message.conversation_id));
        answer.insert("messageId".to_owned(), json!(message.message_id));
        plan.after.push(Box::new(message));
    }
    if let Some(task_id) = &push.task_id {
        plan = task(app, caller, task_id, &push, plan).await?;
        let task = plan.record();
        let may_see = caller.may(AGENT_TASK.area.read());
        if let Some(task) = task.filter(|t| may_see || t.author.as_deref() == caller.actor_id()) {
            answer.insert("task".to_owned(), view(task)?);
        }
    }
    Ok(plan.data(200, Value::Object(answer)))
}

/// Adds the task of a push to its plan.
async fn task(
    app: &App,
    caller: &Caller,
    task_id: &str,
    push: &Push,
    mut plan: Plan,
) -> Result<Plan> {
    let tenant_id = caller.tenant();
    let there = store::by_external_id(&app.db, tenant_id, &AGENT_TASK, task_id).await?;
    let summary = push.summary.as_deref().map(str::trim);
    let summary = summary.filter(|s| !s.is_empty());
    let title = summary.map(|s| s.chars().take(120).collect::<String>());
    let body: Body = summary
        .map(|summary| ("summary".to_owned(), json!(summary)))
        .into_iter()
        .collect();
    match there {
        Some(record) => {
            let patch = Patch {
                title,
                body,
                status: push.status.clone(),
                ..Patch::default()
            };
            let update = write::update(app, caller, &AGENT_TASK, record, patch).await?;
            plan = plan.with(update);
        }
        None => {
            let new = New {
                title: Some(title.unwrap_or_else(|| task_id.to_owned())),
                body,
                status: push.status.clone(),
                external_id: Some(task_id.to_owned()),
                ..New::default()
            };
            write::add(app, caller, &AGENT_TASK, new, &mut plan).await?;
        }
    }
    let status = plan.record().and_then(|record| record.status.clone());
    plan.after.push(Box::new(Progress {
        tenant_id: tenant_id.to_owned(),
        author: caller.actor_id().map(str::to_owned),
        event: Event::AgentTaskUpdate {
            task_id: task_id.to_owned(),
            status: status.unwrap_or_default(),
            summary: push.summary.clone(),
        },
    }));
    Ok(plan)
}

/// Publishes the progress of a task.
#[derive(Debug)]
struct Progress {
    tenant_id: String,
    author: Option<String>,
    event: Event,
}

#[async_trait]
impl Effect for Progress {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let author = self.author.as_deref();
        events::append_by(tx, &app.clock, &self.tenant_id, &self.event, author).await?;
        Ok(None)
    }
}

/// A message, or a piece of one, to keep and to publish.
#[derive(Debug)]
struct NewMessage {
    tenant_id: String,
    author: Option<String>,
    conversation_id: String,
    message_id: String,
    message: Option<String>,
    chunk: Option<String>,
    done: bool,
}

impl NewMessage {
    fn of(app: &App, caller: &Caller, push: &Push) -> Self {
        let conversation = push.conversation_id.clone();
        Self {
            tenant_id: caller.tenant().to_owned(),
            author: caller.actor_id().map(str::to_owned),
            conversation_id: conversation.unwrap_or_else(|| CONVERSATION.to_owned()),
            message_id: push.message_id.clone().unwrap_or_else(|| app.clock.id()),
            message: push.message.clone(),
            chunk: push.chunk.clone(),
            // A whole message is complete unless pieces of it are announced to follow.
            done: push.done || (push.message.is_some() && push.chunk.is_none()),
        }
    }
}

#[async_trait]
impl Effect for NewMessage {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let content = format!(
            "{}{}",
            self.message.as_deref().unwrap_or_default(),
            self.chunk.as_deref().unwrap_or_default()
        );
        let (tenant_id, author) = (&self.tenant_id, self.author.as_deref());
        let (conversation, message_id) = (&self.conversation_id, &self.message_id);
        tx.execute(
            "INSERT INTO messages (id, tenant_id, conversation_id, message_id, role, content, done, author, created_on, updated_on)
             VALUES ($1, $2, $3, $4, 'agent', $5, $6, $7, $8, $8)
             ON CONFLICT (conversation_id, message_id, tenant_id) DO UPDATE SET
             content = CASE WHEN $9 = TRUE THEN excluded.content ELSE messages.content || excluded.content END, done = excluded.done, updated_on = excluded.updated_on",
            args![
                app.clock.id(),
                tenant_id,
                conversation,
                message_id,
                content,
                self.done,
                author,
                app.clock.now(),
                self.message.is_some()
            ],
        )
        .await?;
        let (length,): (i64,) = tx
            .optional(
                "SELECT CAST(LENGTH(content) AS BIGINT) FROM messages WHERE conversation_id = $1 AND message_id = $2 AND tenant_id = $3",
                args![conversation, message_id, tenant_id],
            )
            .await?
            .unwrap_or((0,));
        if length > MESSAGE {
            return Err(Error::too_large(
                "message_too_long",
                format!("a message may have at most {MESSAGE} characters"),
            ));
        }
        let event = Event::OpenclawMessage {
            conversation_id: conversation.clone(),
            message_id: message_id.clone(),
            message: self.message.clone(),
            chunk: self.chunk.clone(),
            done: self.done,
        };
        events::append_by(tx, &app.clock, tenant_id, &event, author).await?;
        Ok(None)
    }
}

/// Longest message, in characters.
const MESSAGE: i64 = 1_000_000;

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
    /// The text so far.
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
