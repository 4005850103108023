//! The seven event streams: what clients missed since a time, then changes as they are committed. A change is read and written once for all streams that carry it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::DIALECT;
use super::shapes::{
    ACTIVITY_EVENT_READ, ACTIVITY_TASK_COMMENT_FEED_ITEM_READ, AGENT_READ, APPROVAL_READ,
    BOARD_GROUP_MEMORY_READ, BOARD_MEMORY_READ, TASK_COMMENT_READ, TASK_READ,
};
use super::wire::{MissionFault, Path, Problem, Query, since};
use crate::api::Service;
use crate::api::dialect;
use crate::api::shape::{Shape, with_uuids};
use crate::api::stream::{self, Tail};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::boards::activity::{self, Entry, Filter};
use crate::boards::store::Part;
use crate::boards::{
    AGENT, APPROVAL, BOARD, GROUP_MEMORY, MEMORY, TASK, access, agents as board_agents, groups,
    json_of, memory as memories, snapshots, store, tasks as board_tasks,
};
use crate::clock::{Clock, Time};
use crate::error::{Error, Result};
use crate::events::{Event, Stored};
use crate::records::body::Body;
use crate::records::{Kind, Record};

/// Where a stream begins, and what it is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// ISO time; what happened from then on comes first. Unreadable times count as absent.
    since: Option<String>,
    /// Only chat messages, or only entries that are none.
    is_chat: Option<bool>,
    /// Only one board.
    board_id: Option<String>,
}

/// A request for a stream, by an authenticated caller in the organisation in which it acts.
#[derive(Debug)]
pub(super) struct StreamRequest {
    service: Service,
    caller: Caller,
    query: StreamQuery,
    headers: HeaderMap,
}

impl FromRequestParts<Service> for StreamRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let caller = dialect::authenticate(&DIALECT, parts, service).await?;
        caller.need_unconfined(Scope::BoardsRead)?;
        let Query(query) = Query::from_request_parts(parts, service).await?;
        Ok(Self {
            service: service.clone(),
            caller,
            query,
            headers: parts.headers.clone(),
        })
    }
}

/// Subject of a stream.
#[derive(Debug, Clone)]
enum About {
    /// Tasks and comments of a board.
    Tasks,
    Approvals,
    /// Memory of a board or a group, perhaps only messages or only others.
    Memory(&'static Kind, Option<bool>),
    Agents,
    /// Comments as items of the feed.
    Comments,
}

impl About {
    /// Returns the name of its events.
    fn name(&self) -> &'static str {
        match self {
            Self::Tasks => "task",
            Self::Approvals => "approval",
            Self::Memory(..) => "memory",
            Self::Agents => "agent",
            Self::Comments => "comment",
        }
    }

    /// Returns the subject of the changes that it carries.
    fn subject(&self) -> &'static str {
        match self {
            Self::Tasks | Self::Comments => "task",
            Self::Approvals => "approval",
            Self::Memory(kind, _) if kind.is(&GROUP_MEMORY) => "group_memory",
            Self::Memory(..) => "memory",
            Self::Agents => "agent",
        }
    }

    /// Returns which of the two views of a change it carries.
    fn view(&self) -> usize {
        usize::from(matches!(self, Self::Comments))
    }
}

/// Returns the change of an event.
fn change(stored: &Stored) -> Option<(String, String, String, Option<String>)> {
    let event = serde_json::from_str(&stored.payload).ok()?;
    let Event::BoardChanged {
        part_id,
        subject,
        id,
        entry_id,
        ..
    } = event
    else {
        return None;
    };
    Some((part_id, subject, id, entry_id))
}

fn written(shape: &Shape, body: Option<&Body>) -> Result<Value> {
    match body {
        Some(body) => shape.write(body),
        None => Err(Error::internal("a change of nothing")),
    }
}

/// Returns the data of an entry of a board's activity in the stream of tasks.
async fn task_event(app: &App, tenant_id: &str, entry: &Entry) -> Result<Option<Value>> {
    let activity = ACTIVITY_EVENT_READ.write(&entry.json())?;
    if entry.event_type == activity::COMMENT {
        let comment = TASK_COMMENT_READ.write(&entry.json())?;
        return Ok(Some(
            json!({"type": entry.event_type, "activity": activity, "comment": comment}),
        ));
    }
    let (Some(task_id), Some(board_id)) = (&entry.task_id, &entry.board_id) else {
        return Ok(None);
    };
    let task = store::one(app, tenant_id, &TASK, task_id).await?;
    let board = store::one(app, tenant_id, &BOARD, board_id).await?;
    // A task that was deleted meanwhile sends nothing.
    let (Some(task), Some(board)) = (task, board) else {
        return Ok(None);
    };
    let shown = board_tasks::shown(app, &board, std::slice::from_ref(&task)).await?;
    let task = written(&TASK_READ, shown.first())?;
    Ok(Some(
        json!({"type": entry.event_type, "activity": activity, "task": task}),
    ))
}

async fn approval_event(app: &App, approval: &Record) -> Result<Value> {
    let mut change = snapshots::approval_change(app, approval).await?;
    let shown = change["approval"].take();
    let mut change = with_uuids(change);
    change["approval"] = written(&APPROVAL_READ, shown.as_object())?;
    Ok(change)
}

fn memory_event(kind: &'static Kind, entry: &Record) -> Result<Value> {
    let shape = if kind.is(&GROUP_MEMORY) {
        &BOARD_GROUP_MEMORY_READ
    } else {
        &BOARD_MEMORY_READ
    };
    Ok(json!({"memory": shape.write(&json_of(kind, entry)?)?}))
}

async fn agent_event(app: &App, agent: &Record) -> Result<Value> {
    let shown = board_agents::shown(app, std::slice::from_ref(agent)).await?;
    Ok(json!({"agent": written(&AGENT_READ, shown.first())?}))
}

async fn comment_event(app: &App, tenant_id: &str, entry: Entry) -> Result<Option<Value>> {
    let items = activity::feed_items(app, tenant_id, vec![entry]).await?;
    let item = items
        .first()
        .map(|i| ACTIVITY_TASK_COMMENT_FEED_ITEM_READ.write(i));
    Ok(item.transpose()?.map(|comment| json!({"comment": comment})))
}

/// Returns the data of a change, or `None` when there is nothing to send.
async fn data(app: &App, about: &About, stored: &Stored) -> Result<Option<Value>> {
    let tenant_id = stored.tenant_id.as_str();
    let Some((_, _, id, entry_id)) = change(stored) else {
        return Ok(None);
    };
    let entry = match &entry_id {
        Some(id) => activity::get(&app.db, tenant_id, id).await?,
        None => None,
    };
    let of = |kind: &'static Kind| store::one(app, tenant_id, kind, &id);
    match about {
        About::Tasks => match entry {
            Some(entry) => task_event(app, tenant_id, &entry).await,
            None => Ok(None),
        },
        About::Comments => match entry.filter(|e| e.event_type == activity::COMMENT) {
            Some(entry) => comment_event(app, tenant_id, entry).await,
            None => Ok(None),
        },
        About::Approvals => match of(&APPROVAL).await? {
            Some(approval) => approval_event(app, &approval).await.map(Some),
            None => Ok(None),
        },
        About::Memory(kind, _) => match of(kind).await? {
            Some(entry) => memory_event(kind, &entry).map(Some),
            None => Ok(None),
        },
        About::Agents => match of(&AGENT).await? {
            Some(agent) => agent_event(app, &agent).await.map(Some),
            None => Ok(None),
        },
    }
}

/// Returns whether a stream of memory wants an entry.
fn is_wanted(about: &About, data: &str) -> bool {
    match about {
        About::Memory(_, Some(chat)) => {
            let read: Value = serde_json::from_str(data).unwrap_or_default();
            read["memory"]["is_chat"] == *chat
        }
        About::Memory(_, None)
        | About::Tasks
        | About::Approvals
        | About::Agents
        | About::Comments => true,
    }
}

/// Items of a stream before the live ones, at most.
const MISSED: Part = Part {
    limit: 1000,
    offset: 0,
};

/// Returns what happened since a time, oldest first.
async fn missed(
    app: &App,
    caller: &Caller,
    about: &About,
    parent: Option<&Record>,
    since: Time,
) -> Result<Vec<Value>> {
    let tenant_id = caller.tenant();
    let mut items = Vec::new();
    match (about, parent) {
        (About::Tasks | About::Comments, _) => {
            let filter = Filter {
                boards: match parent {
                    Some(board) => Some(vec![board.id.clone()]),
                    None => caller.boards().readable(),
                },
                comments: matches!(about, About::Comments),
                since: Some(since),
                ..Filter::default()
            };
            let (entries, _) = activity::list(&app.db, tenant_id, &filter, MISSED).await?;
            for entry in entries.into_iter().rev() {
                let is_change = matches!(
                    entry.event_type.as_str(),
                    "task.created" | "task.updated" | "task.status_changed" | activity::COMMENT
                );
                let item = if matches!(about, About::Comments) {
                    comment_event(app, tenant_id, entry).await?
                } else if is_change {
                    task_event(app, tenant_id, &entry).await?
                } else {
                    None
                };
                items.extend(item);
            }
        }
        (About::Approvals, Some(board)) => {
            let (found, _) = crate::boards::approvals::list(app, board, None, MISSED).await?;
            for approval in found.iter().rev().filter(|a| a.updated_on >= since) {
                items.push(approval_event(app, approval).await?);
            }
        }
        (About::Memory(kind, is_chat), Some(parent)) => {
            let wanted = (*is_chat, Some(since));
            let (found, _) = memories::list(app, kind, parent, wanted, MISSED).await?;
            for entry in found.iter().rev() {
                items.push(memory_event(kind, entry)?);
            }
        }
        (About::Agents, _) => {
            let filter = board_agents::Filter {
                board_id: parent.map(|b| b.id.clone()),
                gateway_id: None,
            };
            for agent in board_agents::visible(app, caller, &filter)
                .await?
                .iter()
                .rev()
            {
                let event = agent_event(app, agent).await?;
                let changed = text_time(&event["agent"]["updated_at"]);
                if changed.is_some_and(|at| at >= since) {
                    items.push(event);
                }
            }
        }
        (About::Approvals | About::Memory(..), None) => {}
    }
    Ok(items)
}

fn text_time(value: &Value) -> Option<Time> {
    crate::api::shape::time(value.as_str()?)
}

/// A stream in progress.
struct Open {
    tail: Tail,
    about: About,
    missed: VecDeque<Value>,
    app: Arc<App>,
}

impl Open {
    async fn next(&mut self) -> Option<SseEvent> {
        if let Some(item) = self.missed.pop_front() {
            let event = SseEvent::default().event(self.about.name());
            return Some(
                event
                    .id(self.tail.position().to_string())
                    .data(item.to_string()),
            );
        }
        loop {
            let stored = self.tail.next().await?;
            let view = &stored.views[self.about.view()];
            let made = view.get_or_try_init(|| async {
                let data = data(&self.app, &self.about, &stored).await?;
                Ok::<_, Error>(data.map(|d| Arc::from(d.to_string())))
            });
            let data = match made.await {
                Ok(data) => data.clone(),
                Err(error) => {
                    tracing::error!(error = %error, "a change of a board cannot be read");
                    continue;
                }
            };
            if let Some(data) = data.filter(|d| is_wanted(&self.about, d)) {
                let event = SseEvent::default().event(self.about.name());
                return Some(event.id(stored.seq.to_string()).data(&*data));
            }
        }
    }
}

type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<SseEvent, Infallible>>>>;

impl StreamRequest {
    /// Returns a board that the caller may read.
    async fn board(&self, board_id: &str) -> Result<Record> {
        access::read(&self.service.app, &self.caller, &id(board_id)?).await
    }

    /// Returns the board in the query, if there is one.
    async fn queried_board(&self) -> Result<Option<Record>> {
        match self.query.board_id.as_deref().filter(|id| !id.is_empty()) {
            Some(board_id) => self.board(board_id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens a stream of the changes of one part, or of all boards that the caller may read.
    async fn open(self, about: About, parent: Option<Record>) -> Result<Events, Problem> {
        let after = stream::resumes(&self.headers, None)?;
        let (subject, part_id) = (about.subject(), parent.as_ref().map(|p| p.id.clone()));
        let wanted = move |caller: &Caller, stored: &Stored| {
            if stored.topic != "board_changed" {
                return false;
            }
            let Some((part, of, ..)) = change(stored) else {
                return false;
            };
            let is_there = match &part_id {
                Some(wanted) => *wanted == part,
                None if part.is_empty() => caller.boards().reads_every(),
                None => caller.boards().reads(&part),
            };
            is_there && of == subject
        };
        let tail = Tail::open(&self.service.app, self.caller, after, Box::new(wanted)).await?;
        let missed = match since(self.query.since.as_deref()).filter(|_| after.is_none()) {
            Some(since) => {
                missed(
                    &self.service.app,
                    tail.caller(),
                    &about,
                    parent.as_ref(),
                    since,
                )
                .await?
            }
            None => Vec::new(),
        };
        let open = Open {
            tail,
            about,
            missed: missed.into(),
            app: Arc::clone(&self.service.app),
        };
        let events = futures::stream::unfold(open, |mut open| async move {
            let event = open.next().await?;
            Some((Ok(event), open))
        });
        let events: BoxStream<'static, Result<SseEvent, Infallible>> = Box::pin(events);
        let ping = KeepAlive::new()
            .interval(Duration::from_secs(15))
            .text("ping");
        Ok(Sse::new(events).keep_alive(ping))
    }
}

fn id(text: &str) -> Result<String> {
    Clock::read_id(text).ok_or_else(|| Error::not_found("record_not_found", "Not Found"))
}

/// Streams changes of tasks and new comments of a board: events `task`.
#[utoipa::path(get, path = "/api/v1/boards/{board_id}/tasks/stream", operation_id = "streamBoardTasks", tag = "tasks", security(("key" = [])),
    params(("board_id" = String, Path), StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn tasks(
    request: StreamRequest,
    Path(board_id): Path<String>,
) -> Result<Events, Problem> {
    let board = request.board(&board_id).await?;
    request.open(About::Tasks, Some(board)).await
}

/// Streams new and decided approvals of a board: events `approval`.
#[utoipa::path(get, path = "/api/v1/boards/{board_id}/approvals/stream", operation_id = "streamApprovals", tag = "approvals", security(("key" = [])),
    params(("board_id" = String, Path), StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn approvals(
    request: StreamRequest,
    Path(board_id): Path<String>,
) -> Result<Events, Problem> {
    let board = request.board(&board_id).await?;
    request.open(About::Approvals, Some(board)).await
}

/// Streams new entries of the memory or the chat of a board: events `memory`.
#[utoipa::path(get, path = "/api/v1/boards/{board_id}/memory/stream", operation_id = "streamBoardMemory", tag = "board-memory", security(("key" = [])),
    params(("board_id" = String, Path), StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn memory(
    request: StreamRequest,
    Path(board_id): Path<String>,
) -> Result<Events, Problem> {
    let board = request.board(&board_id).await?;
    let about = About::Memory(&MEMORY, request.query.is_chat);
    request.open(about, Some(board)).await
}

/// Streams new entries of the memory of a board's group: events `memory`. A board without a group has none.
#[utoipa::path(get, path = "/api/v1/boards/{board_id}/group-memory/stream", operation_id = "streamBoardGroupMemory", tag = "board-group-memory", security(("key" = [])),
    params(("board_id" = String, Path), StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn board_group_memory(
    request: StreamRequest,
    Path(board_id): Path<String>,
) -> Result<Events, Problem> {
    let board = request.board(&board_id).await?;
    let group = memories::group_of(&request.service.app, &board).await?;
    let about = About::Memory(&GROUP_MEMORY, request.query.is_chat);
    // Nothing is ever shared by a board alone.
    request.open(about, Some(group.unwrap_or(board))).await
}

/// Streams new entries of the memory of a group: events `memory`.
#[utoipa::path(get, path = "/api/v1/board-groups/{group_id}/memory/stream", operation_id = "streamGroupMemory", tag = "board-group-memory", security(("key" = [])),
    params(("group_id" = String, Path), StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn group_memory(
    request: StreamRequest,
    Path(group_id): Path<String>,
) -> Result<Events, Problem> {
    access::need_person(&request.caller)?;
    let app = &request.service.app;
    let group = groups::get(app, &request.caller, &id(&group_id)?, false).await?;
    let about = About::Memory(&GROUP_MEMORY, request.query.is_chat);
    request.open(about, Some(group)).await
}

/// Streams changes and signs of life of agents: events `agent`.
#[utoipa::path(get, path = "/api/v1/agents/stream", operation_id = "streamAgents", tag = "agents", security(("key" = [])),
    params(StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn agents(request: StreamRequest) -> Result<Events, Problem> {
    access::need_admin(&request.caller)?;
    let board = request.queried_board().await?;
    request.open(About::Agents, board).await
}

/// Streams comments on tasks of all boards of the caller: events `comment`.
#[utoipa::path(get, path = "/api/v1/activity/task-comments/stream", operation_id = "streamCommentFeed", tag = "activity", security(("key" = [])),
    params(StreamQuery), responses((status = 200, body = String, content_type = "text/event-stream"), (status = "4XX", body = MissionFault)))]
pub(super) async fn comments(request: StreamRequest) -> Result<Events, Problem> {
    access::need_person(&request.caller)?;
    let board = request.queried_board().await?;
    request.open(About::Comments, board).await
}
