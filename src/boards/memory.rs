//! Memory and chat of boards, and of groups of boards.

use super::roster;
use serde_json::{Value, json};

use super::access::{self, Actor};
use super::comments::{means, mentioned};
use super::notices::{self, Notice};
use super::store::Part;
use super::{
    BOARD, GROUP, GROUP_MEMORY, MEMORY, activity, filled, json_of, list as texts, store, unfit,
};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Kind, Record, columns};

/// The tag of chat messages.
const CHAT: &str = "chat";
/// Position of chat messages in the column `stage`, by which lists filter.
const STAGE: &str = "chat";

/// Returns who writes, for chat messages without a source.
async fn author(app: &App, caller: &Caller, actor: Option<&Actor>) -> Result<String> {
    Ok(match actor {
        Some(agent) => agent.name.clone(),
        None => access::person(app, caller)
            .await?
            .map_or_else(|| "User".to_owned(), |p| p.shown_name().to_owned()),
    })
}

/// Returns a plan that adds an entry to the memory of a board or a group, and the entry as clients see it.
async fn entry(
    app: &App,
    caller: &Caller,
    actor: Option<&Actor>,
    (kind, parent): (&'static Kind, &Record),
    given: &Body,
) -> Result<(Plan, Body)> {
    let tags = texts(given, "tags");
    let is_chat = tags.iter().any(|t| t == CHAT);
    let mut body = Body::new();
    body.insert(
        "content".to_owned(),
        given.get("content").cloned().unwrap_or_default(),
    );
    if given.get("tags").is_some_and(Value::is_array) {
        body.insert("tags".to_owned(), json!(tags));
    }
    let source = filled(given, "source").map(str::to_owned);
    let source = match source {
        None if is_chat => Some(author(app, caller, actor).await?),
        source => source,
    };
    if let Some(source) = source {
        body.insert("source".to_owned(), json!(source));
    }
    body.insert("is_chat".to_owned(), json!(is_chat));
    let new = New {
        parent_id: Some(parent.id.clone()),
        stage: is_chat.then(|| STAGE.to_owned()),
        ..New::from(&body)
    };
    let record = write::draft(app, caller, kind, new)?;
    let shown = json_of(kind, &record)?;
    let subject = if kind.is(&GROUP_MEMORY) {
        "group_memory"
    } else {
        "memory"
    };
    let mut plan = Plan::default();
    plan.relies_on.push(parent.clone());
    plan.after.push(activity::changed(
        caller.tenant(),
        &parent.id,
        subject,
        &record.id,
    ));
    plan.create(kind, record);
    Ok((plan, shown))
}

/// Returns a plan that adds an entry to the memory of a board, and tells the agents whom a chat message concerns.
///
/// # Errors
/// `board_access_denied`.
pub async fn create(app: &App, caller: &Caller, board_id: &str, given: &Body) -> Result<Plan> {
    let board = access::write(app, caller, board_id).await?;
    let actor = access::agent(app, caller).await?;
    let parent = (&MEMORY, &board);
    let (mut plan, shown) = entry(app, caller, actor.as_ref(), parent, given).await?;
    if super::flag(&shown, "is_chat") {
        let content = text(&shown, "content").unwrap_or_default();
        let from = text(&shown, "source").unwrap_or("User").to_owned();
        chat(app, &board, actor.as_ref(), (&from, content), &mut plan).await?;
    }
    Ok(plan.data(200, Value::Object(shown)))
}

/// Adds to a plan who is told about a chat message of a board.
async fn chat(
    app: &App,
    board: &Record,
    actor: Option<&Actor>,
    (from, content): (&str, &str),
    plan: &mut Plan,
) -> Result<()> {
    let all = roster::of_board(app, &board.tenant_id, &board.id).await?;
    let author = actor.map(|a| a.id.as_str());
    if matches!(content.trim(), "/pause" | "/resume") {
        for agent in &all {
            let notice = Notice {
                deliver: true,
                ..Notice::quiet(agent, content.trim().to_owned())
            };
            plan.jobs.push(notice.job());
        }
        return Ok(());
    }
    let names = mentioned(content);
    for agent in all.iter().filter(|a| Some(a.id.as_str()) != author) {
        let is_meant = means(&names, agent);
        if !is_meant && !agent.is_lead {
            continue;
        }
        let header = if is_meant {
            "BOARD CHAT MENTION"
        } else {
            "BOARD CHAT"
        };
        let lines = [
            header.to_owned(),
            format!("Board: {}", board.title),
            format!("From: {from}"),
            String::new(),
            notices::cut(content, 800),
            String::new(),
            format!(
                "Answer in the board chat: POST /api/v1/agent/boards/{}/memory with {{\"content\": \"...\", \"tags\": [\"chat\"]}}",
                super::uuid_of(&board.id)
            ),
        ];
        plan.jobs.push(Notice::quiet(agent, lines.join("\n")).job());
    }
    Ok(())
}

/// Returns the group of a board.
///
/// # Errors
/// `record_not_found`.
pub async fn group_of(app: &App, board: &Record) -> Result<Option<Record>> {
    match &board.parent_id {
        Some(id) => store::one(app, &board.tenant_id, &GROUP, id).await,
        None => Ok(None),
    }
}

/// Returns the error for a board without a group.
#[must_use]
pub fn no_group() -> Error {
    unfit("board_without_group", "Board is not in a board group")
}

/// Returns a plan that adds an entry to the memory of a group, and tells the agents whom it concerns. The caller's right to the group was checked.
///
/// # Errors
/// Those of the database.
pub async fn create_in_group(
    app: &App,
    caller: &Caller,
    group: &Record,
    given: &Body,
) -> Result<Plan> {
    let actor = access::agent(app, caller).await?;
    let parent = (&GROUP_MEMORY, group);
    let (mut plan, shown) = entry(app, caller, actor.as_ref(), parent, given).await?;
    let content = text(&shown, "content").unwrap_or_default();
    let tags = texts(&shown, "tags");
    let is_broadcast = tags.iter().any(|t| t == "broadcast")
        || content.split_whitespace().any(|word| {
            word.trim_end_matches([',', '.', ':', '!'])
                .eq_ignore_ascii_case("@all")
        });
    if is_broadcast || super::flag(&shown, "is_chat") {
        let from = match text(&shown, "source") {
            Some(source) => source.to_owned(),
            None => author(app, caller, actor.as_ref()).await?,
        };
        let names = mentioned(content);
        let author = actor.as_ref().map(|a| a.id.as_str());
        for board in store::all(&app.db, caller.tenant(), &BOARD, Some(&group.id)).await? {
            for agent in roster::of_board(app, caller.tenant(), &board.id).await? {
                let is_meant = means(&names, &agent);
                let is_told = is_broadcast || agent.is_lead || is_meant;
                if !is_told || Some(agent.id.as_str()) == author {
                    continue;
                }
                let header = match (is_broadcast, is_meant) {
                    (true, _) => "GROUP BROADCAST",
                    (false, true) => "GROUP CHAT MENTION",
                    (false, false) => "GROUP CHAT",
                };
                let lines = [
                    header.to_owned(),
                    format!("Group: {}", group.title),
                    format!("Board: {}", board.title),
                    format!("From: {from}"),
                    String::new(),
                    notices::cut(content, 800),
                    String::new(),
                    format!(
                        "Answer in the group chat: POST /api/v1/boards/{}/group-memory with {{\"content\": \"...\", \"tags\": [\"chat\"]}}",
                        super::uuid_of(&board.id)
                    ),
                ];
                plan.jobs
                    .push(Notice::quiet(&agent, lines.join("\n")).job());
            }
        }
    }
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a part of a memory, newest first, and the number of all; with `is_chat` only messages, or only entries that are none; with `since` none before.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    kind: &Kind,
    parent: &Record,
    (is_chat, since): (Option<bool>, Option<Time>),
    part: Part,
) -> Result<(Vec<Record>, i64)> {
    let (chat, other) = match is_chat {
        Some(true) => (STAGE, STAGE),
        Some(false) => ("", ""),
        None => (STAGE, ""),
    };
    let since = since.map_or(i64::MIN, |t| t.0);
    let values = args![&parent.id, kind.name, &parent.tenant_id, chat, other, since];
    let mut of_part = values.clone();
    of_part.0.extend([part.limit.into(), part.offset.into()]);
    let found = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND COALESCE(stage, '') IN ($4, $5) AND created_on >= $6 ORDER BY id DESC LIMIT $7 OFFSET $8"),
            of_part,
        )
        .await?;
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND COALESCE(stage, '') IN ($4, $5) AND created_on >= $6",
            values,
        )
        .await?;
    Ok((found, total))
}

/// Returns whether a board is paused: the latest of `/pause` and `/resume` in its chat decides.
///
/// # Errors
/// Those of the database.
pub async fn is_paused(app: &App, board: &Record) -> Result<bool> {
    let found: Option<(String,)> = app
        .db
        .optional(
            "SELECT title FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 AND stage = $4 AND title IN ('/pause', '/resume') ORDER BY id DESC LIMIT 1",
            args![&board.id, MEMORY.name, &board.tenant_id, STAGE],
        )
        .await?;
    Ok(found.is_some_and(|(said,)| said == "/pause"))
}
