//! Conversations with the assistant: answers from the knowledge base and from the records that the caller may read, with citations. Conversations belong to the person
//! or key that began them.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use super::{ACTIVITY, CAMPAIGN, RATE_LIMIT, access, beginning, store, usd};
use crate::answers::{self, AnswerEvent, Made, Mode, Question, Role, Turn, meter};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::llm::{self, Usage};
use crate::page::Page;
use crate::records::body::text;
use crate::search::Request;

/// Longest message in characters.
const MESSAGE: usize = 8000;
/// Turns and characters of the history that an answer considers.
const TURNS: usize = 12;
const SAID: usize = 20_000;
/// Characters of titles and previews.
const TITLE: usize = 60;
const PREVIEW: usize = 140;
/// Conversations that a list shows.
const LISTED: i64 = 100;
/// Datasets that an answer searches.
const DATASETS: i64 = 50;
/// Passages of an answer.
const PASSAGES: usize = 8;
/// Time to rewrite a question.
const REWRITE: Duration = Duration::from_secs(30);
const REWRITER: &str = "Rewrite the last question of the conversation so that it can be understood without the conversation. Answer with the question only, in its language.";
/// Answer when nothing was found.
const NOTHING: &str = "Nothing that you may read answers this.";

/// A conversation.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Conversation {
    pub id: String,
    pub title: String,
    pub last_message: String,
    pub created_on: Time,
    pub updated_on: Time,
}

/// A message of a conversation.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ChatMessage {
    pub id: String,
    /// `user` or `assistant`.
    pub role: String,
    pub content: String,
    /// JSON array.
    pub citations: String,
    pub created_on: Time,
}

/// Returns to whom the conversations of a caller belong.
fn owner(caller: &Caller) -> &str {
    caller
        .user_id()
        .or(caller.actor_id())
        .unwrap_or(crate::auth::OWNER)
}

fn row_id(public_id: &str) -> &str {
    public_id.strip_prefix("conv_").unwrap_or(public_id)
}

/// Returns the conversations of a caller, the latest first.
///
/// # Errors
/// `scope_missing`.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Conversation>> {
    access::read(caller)?;
    app.db
        .all(
            "SELECT id, title, last_message, created_on, updated_on FROM chat_conversations WHERE owner = $1 AND tenant_id = $2 ORDER BY updated_on DESC, id DESC LIMIT $3",
            args![owner(caller), caller.tenant(), LISTED],
        )
        .await
}

/// Returns a conversation of a caller with its messages, oldest first.
///
/// # Errors
/// `conversation_not_found`, for those of others, too.
pub async fn get(
    app: &App,
    caller: &Caller,
    public_id: &str,
) -> Result<(Conversation, Vec<ChatMessage>)> {
    access::read(caller)?;
    if public_id.contains('\0') {
        return Err(missing());
    }
    let conversation: Option<Conversation> = app
        .db
        .optional(
            "SELECT id, title, last_message, created_on, updated_on FROM chat_conversations WHERE id = $1 AND owner = $2 AND tenant_id = $3",
            args![row_id(public_id), owner(caller), caller.tenant()],
        )
        .await?;
    let conversation = conversation.ok_or_else(missing)?;
    let messages = app
        .db
        .all(
            "SELECT id, role, content, citations, created_on FROM chat_messages WHERE conversation_id = $1 AND tenant_id = $2 ORDER BY id",
            args![&conversation.id, caller.tenant()],
        )
        .await?;
    Ok((conversation, messages))
}

/// Deletes a conversation of a caller with its messages.
///
/// # Errors
/// `conversation_not_found`.
pub async fn delete(app: &App, caller: &Caller, public_id: &str) -> Result<()> {
    let (conversation, _) = get(app, caller, public_id).await?;
    let mut tx = app.db.begin().await?;
    tx.execute(
        "DELETE FROM chat_messages WHERE conversation_id = $1 AND tenant_id = $2",
        args![&conversation.id, caller.tenant()],
    )
    .await?;
    tx.execute(
        "DELETE FROM chat_conversations WHERE id = $1 AND tenant_id = $2",
        args![&conversation.id, caller.tenant()],
    )
    .await?;
    tx.commit().await
}

fn missing() -> Error {
    Error::not_found("conversation_not_found", "conversation not found")
}

/// A message to the assistant.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub message: String,
    pub conversation_id: Option<String>,
    /// Campaign and activity that the question is about.
    pub campaign_id: Option<String>,
    pub activity_id: Option<String>,
}

/// A part of the answer of the assistant.
#[derive(Debug)]
pub enum Reply {
    Text(String),
    /// The last one.
    Completed {
        conversation_id: String,
        message_id: String,
        usage: Usage,
        citations: Vec<Value>,
    },
    /// The last one: a stable code.
    Failed(String),
}

/// Returns what is known of the campaign and the activity that a question is about.
async fn subject(app: &App, caller: &Caller, said: &Said) -> Result<String> {
    let tenant_id = caller.tenant();
    let mut facts = String::new();
    if let Some(id) = &said.campaign_id {
        let campaign = store::get(app, tenant_id, &CAMPAIGN, id).await?;
        let body = campaign.body()?;
        let spent =
            super::spend::of_campaigns(&app.db, tenant_id, std::slice::from_ref(id)).await?;
        let counts = super::campaigns::counts(app, &campaign).await?;
        facts.push_str(&format!(
            "Campaign {}: status {}, {} of {} activities done, {} approvals pending, {} USD spent. Brief: {}\n",
            campaign.title,
            campaign.status.as_deref().unwrap_or_default(),
            counts.done,
            counts.activities,
            counts.pending_approvals,
            usd(spent.get(id).copied().unwrap_or_default()),
            beginning(text(&body, "brief").unwrap_or_default(), 4000)
        ));
    }
    if let Some(id) = &said.activity_id {
        let activity = store::get(app, tenant_id, &ACTIVITY, id).await?;
        let body = activity.body()?;
        facts.push_str(&format!(
            "Activity {}: status {}. Output: {}\n",
            activity.title,
            activity.status.as_deref().unwrap_or_default(),
            beginning(text(&body, "output").unwrap_or("none yet"), 8000)
        ));
    }
    Ok(facts)
}

/// Returns the last turns of a conversation, within the limits of an answer.
fn history(messages: &[ChatMessage]) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut said = 0;
    for message in messages.iter().rev().take(TURNS) {
        said += message.content.chars().count();
        if said > SAID {
            break;
        }
        turns.push(Turn {
            role: if message.role == "user" {
                Role::User
            } else {
                Role::Assistant
            },
            content: message.content.clone(),
        });
    }
    turns.reverse();
    turns
}

/// Returns the question as it is searched for: a follow-up is rewritten with the conversation by the model, or searched with the question before it.
async fn searched(app: &App, tenant_id: &str, turns: &[Turn], question: &str) -> Result<String> {
    let Some(before) = turns.iter().rfind(|t| t.role == Role::User) else {
        return Ok(question.to_owned());
    };
    let Some(endpoint) = &app.answers else {
        return Ok(format!("{question}\n{}", beginning(&before.content, 500)));
    };
    let lines = turns.iter().map(|turn| {
        let who = if turn.role == Role::User {
            "Person"
        } else {
            "Assistant"
        };
        format!("{who}: {}", beginning(&turn.content, 1000))
    });
    let conversation = lines.collect::<Vec<_>>().join("\n");
    let request = format!("{conversation}\nPerson: {question}");
    let rewritten = meter::write(app, tenant_id, endpoint, (REWRITER, request), REWRITE).await?;
    Ok(beginning(rewritten.trim(), 1000))
}

/// Answers a message; the stream stores both messages before its last part.
///
/// # Errors
/// `message_invalid`, `conversation_not_found`, `record_not_found` for the subject.
pub async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    said: Said,
) -> Result<impl Stream<Item = Reply> + Send + use<>> {
    access::read(caller)?;
    let message = said.message.trim().to_owned();
    let length = message.chars().count();
    if length == 0 || length > MESSAGE || message.contains('\0') {
        return Err(Error::invalid(
            "message_invalid",
            format!("message must have 1 to {MESSAGE} characters"),
        ));
    }
    let facts = subject(app, caller, &said).await?;
    let (known, messages) = match &said.conversation_id {
        Some(id) => {
            let (conversation, messages) = get(app, caller, id).await?;
            (Some(conversation.id), messages)
        }
        None => (None, Vec::new()),
    };
    let turns = history(&messages);
    let (app, caller) = (Arc::clone(app), caller.clone());
    Ok(async_stream::stream! {
        let mut reply = String::new();
        let asked = ask(&app, &caller, &turns, &message, &facts).await;
        let completed = match asked {
            Err(error) => {
                yield failed(&error);
                return;
            }
            Ok(None) => None,
            Ok(Some(events)) => {
                let mut events = std::pin::pin!(events);
                let mut completed = None;
                while let Some(event) = events.next().await {
                    match event {
                        AnswerEvent::TextDelta { text } => {
                            reply.push_str(&text);
                            yield Reply::Text(text);
                        }
                        AnswerEvent::Completed(done) => completed = Some(done),
                        AnswerEvent::Error { reason, .. } => {
                            yield Reply::Failed(spoken(reason));
                            return;
                        }
                        AnswerEvent::Passages { .. } | AnswerEvent::Citation(_) => {}
                    }
                }
                completed.filter(|done| done.kind != Made::None)
            }
        };
        if reply.trim().is_empty() {
            reply = NOTHING.to_owned();
            yield Reply::Text(reply.clone());
        }
        let citations: Vec<Value> = completed.iter().flat_map(|done| &done.citations).map(|c| {
            let passage = completed.as_ref().and_then(|done| done.passages.iter().find(|p| p.number == c.number));
            json!({"number": c.number, "citation": c.citation, "quote": c.quote, "verdict": c.verdict, "title": passage.map(|p| &p.title), "url": passage.and_then(|p| p.url.as_ref())})
        }).collect();
        let usage = completed.as_ref().and_then(|done| done.usage).unwrap_or_default();
        let exchange = Exchange { conversation_id: known, message: &message, reply: &reply, citations: &citations };
        match store_exchange(&app, &caller, exchange).await {
            Ok((conversation_id, message_id)) => yield Reply::Completed { conversation_id, message_id, usage, citations },
            Err(error) => yield failed(&error),
        }
    })
}

fn failed(error: &Error) -> Reply {
    tracing::warn!(error = %error, "an answer of the assistant failed");
    Reply::Failed(spoken(error.code()))
}

/// Returns an error code as the contract of the dashboard spells it.
fn spoken(code: &str) -> String {
    let code = match code {
        llm::LIMITED => RATE_LIMIT,
        other => other,
    };
    code.to_owned()
}

/// Searches and begins to answer; `None` when the caller may search nothing.
async fn ask(
    app: &Arc<App>,
    caller: &Caller,
    turns: &[Turn],
    message: &str,
    facts: &str,
) -> Result<Option<impl Stream<Item = AnswerEvent> + Send + use<>>> {
    let page = Page::read(Some(DATASETS), None, DATASETS)?;
    let listing = datasets::visible(app, caller, &page).await?;
    let ids: Vec<String> = listing.items.into_iter().map(|d| d.id).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let query = searched(app, caller.tenant(), turns, message).await?;
    let search = Request {
        top_k: PASSAGES,
        plain: true,
        max_tokens: Some(app.config.answer_context_tokens),
        ..Request::new(query, ids)
    };
    // Only a model can use the facts; sentences of passages are chosen by the question alone.
    let question = if facts.is_empty() || app.answers.is_none() {
        message.to_owned()
    } else {
        format!("{facts}\n{message}")
    };
    let question = Question {
        text: question,
        search,
        mode: Mode::Auto,
        history: turns.to_vec(),
    };
    let (_, events) = answers::answer(app, caller, question).await?;
    Ok(Some(events))
}

/// A message and its answer.
struct Exchange<'a> {
    conversation_id: Option<String>,
    message: &'a str,
    reply: &'a str,
    citations: &'a [Value],
}

/// Stores a message and its answer, in a new conversation where there is none. Returns the public ids of conversation and answer.
async fn store_exchange(
    app: &App,
    caller: &Caller,
    exchange: Exchange<'_>,
) -> Result<(String, String)> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let preview = beginning(exchange.reply, PREVIEW);
    let id = match exchange.conversation_id {
        Some(id) => {
            let changed = tx
                .execute(
                    "UPDATE chat_conversations SET last_message = $1, updated_on = $2 WHERE id = $3 AND tenant_id = $4",
                    args![&preview, now, &id, caller.tenant()],
                )
                .await?;
            if changed == 0 {
                return Err(missing());
            }
            id
        }
        None => {
            let id = app.clock.id();
            let line = exchange.message.lines().next().unwrap_or_default();
            tx.execute(
                "INSERT INTO chat_conversations (id, tenant_id, owner, title, last_message, created_on, updated_on) VALUES ($1, $2, $3, $4, $5, $6, $6)",
                args![&id, caller.tenant(), owner(caller), beginning(line, TITLE), &preview, now],
            )
            .await?;
            id
        }
    };
    let citations = Value::Array(exchange.citations.to_vec()).to_string();
    let mut answer_id = String::new();
    for (role, content, citations) in [
        ("user", exchange.message, "[]"),
        ("assistant", exchange.reply, citations.as_str()),
    ] {
        answer_id = app.clock.id();
        tx.execute(
            "INSERT INTO chat_messages (id, conversation_id, tenant_id, role, content, citations, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![&answer_id, &id, caller.tenant(), role, content, citations, now],
        )
        .await?;
    }
    tx.commit().await?;
    Ok((format!("conv_{id}"), format!("msg_{answer_id}")))
}
