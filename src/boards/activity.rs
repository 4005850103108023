//! Activity of boards: one table for the feed, the comments and the stream of tasks, and an event for the streams with each entry.

use std::borrow::Cow;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::store::Part;
use super::uuid_of;
use crate::app::App;
use crate::auth::Area;
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::Result;
use crate::events::{self, Event};
use crate::records::Record;
use crate::records::body::Body;
use crate::records::plan::Effect;

/// Type of an entry that is a comment.
pub const COMMENT: &str = "task.comment";

/// An entry.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    pub id: String,
    pub event_type: String,
    pub message: Option<String>,
    pub agent_id: Option<String>,
    pub task_id: Option<String>,
    pub board_id: Option<String>,
    pub created_on: Time,
}

impl Entry {
    /// Returns the entry as canonical JSON, with the page of the web interface where it leads.
    #[must_use]
    pub fn json(&self) -> Body {
        let (route, parameters) = self.route();
        let mut body = Body::new();
        for (name, value) in [
            ("id", json!(self.id)),
            ("event_type", json!(self.event_type)),
            ("message", json!(self.message)),
            ("agent_id", json!(self.agent_id)),
            ("task_id", json!(self.task_id)),
            ("board_id", json!(self.board_id)),
            ("route_name", json!(route)),
            ("route_params", parameters),
            ("created_at", json!(self.created_on.rfc3339())),
        ] {
            body.insert(name.to_owned(), value);
        }
        body
    }

    fn route(&self) -> (&'static str, Value) {
        let Some(board_id) = &self.board_id else {
            let mut parameters = json!({"eventId": uuid_of(&self.id), "eventType": self.event_type, "createdAt": self.created_on.rfc3339()});
            if let Some(task_id) = &self.task_id {
                parameters["taskId"] = json!(uuid_of(task_id));
            }
            return ("activity", parameters);
        };
        if self.event_type.starts_with("approval.") {
            return ("board.approvals", json!({"boardId": uuid_of(board_id)}));
        }
        if self.event_type.starts_with("board.") {
            return (
                "board",
                json!({"boardId": uuid_of(board_id), "panel": "chat"}),
            );
        }
        let mut parameters = json!({"boardId": uuid_of(board_id)});
        if let Some(task_id) = &self.task_id {
            parameters["taskId"] = json!(uuid_of(task_id));
            if self.event_type == COMMENT {
                parameters["commentId"] = json!(uuid_of(&self.id));
            }
        }
        ("board", parameters)
    }
}

/// An entry to write, and what the streams are told with it.
#[derive(Debug, Clone, Default)]
pub struct Happened {
    /// Id of the entry; a new one when empty.
    pub id: String,
    pub event_type: Cow<'static, str>,
    pub message: String,
    pub agent_id: Option<String>,
    pub task_id: Option<String>,
    pub board_id: Option<String>,
    /// Status that the task came into.
    pub status: Option<String>,
}

impl Happened {
    /// Returns an entry about a task.
    #[must_use]
    pub fn task(event_type: impl Into<Cow<'static, str>>, task: &Record, message: String) -> Self {
        Self {
            event_type: event_type.into(),
            message,
            task_id: Some(task.id.clone()),
            board_id: task.parent_id.clone(),
            ..Self::default()
        }
    }

    /// Returns the entry with the agent that did it or that it is about.
    #[must_use]
    pub fn by(mut self, agent_id: Option<&str>) -> Self {
        self.agent_id = agent_id.map(str::to_owned);
        self
    }

    /// Writes the entry.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write(&self, app: &App, tx: &mut Tx, tenant_id: &str) -> Result<()> {
        let id = if self.id.is_empty() {
            app.clock.id()
        } else {
            self.id.clone()
        };
        tx.execute(
            "INSERT INTO board_activity (id, tenant_id, event_type, message, agent_id, task_id, board_id, status, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            args![
                &id,
                tenant_id,
                &*self.event_type,
                &self.message,
                &self.agent_id,
                &self.task_id,
                &self.board_id,
                &self.status,
                app.clock.now()
            ],
        )
        .await?;
        // Notifications are no changes of a task.
        let is_change = matches!(
            &*self.event_type,
            "task.created" | "task.updated" | "task.status_changed" | COMMENT
        );
        if let (true, Some(board_id), Some(task_id)) = (is_change, &self.board_id, &self.task_id) {
            tell(app, tx, tenant_id, board_id, "task", task_id, Some(&id)).await?;
        }
        Ok(())
    }
}

/// Tells the streams that something on a board, or shared by a group, has changed.
///
/// # Errors
/// Those of the database.
pub async fn tell(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    part: &str,
    subject: &str,
    id: &str,
    entry: Option<&str>,
) -> Result<()> {
    let event = Event::BoardChanged {
        dataset_id: Area::Boards.part_dataset_id(tenant_id, part),
        part_id: part.to_owned(),
        subject: subject.to_owned(),
        id: id.to_owned(),
        entry_id: entry.map(str::to_owned),
    };
    events::append(tx, &app.clock, tenant_id, &event).await
}

/// Entries to write in the transaction of a plan.
#[derive(Debug)]
pub struct Tell {
    pub tenant_id: String,
    pub entries: Vec<Happened>,
    /// Other changes that the streams are told: part, subject, id.
    pub changes: Vec<(String, &'static str, String)>,
}

#[async_trait]
impl Effect for Tell {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        for entry in &self.entries {
            entry.write(app, tx, &self.tenant_id).await?;
        }
        for (part, subject, id) in &self.changes {
            tell(app, tx, &self.tenant_id, part, subject, id, None).await?;
        }
        Ok(None)
    }
}

/// Returns the effect that writes entries.
#[must_use]
pub fn record(tenant_id: &str, entries: Vec<Happened>) -> Box<dyn Effect> {
    Box::new(Tell {
        tenant_id: tenant_id.to_owned(),
        entries,
        changes: Vec::new(),
    })
}

/// Returns the effect that tells the streams about a change.
#[must_use]
pub fn changed(tenant_id: &str, part: &str, subject: &'static str, id: &str) -> Box<dyn Effect> {
    Box::new(Tell {
        tenant_id: tenant_id.to_owned(),
        entries: Vec::new(),
        changes: vec![(part.to_owned(), subject, id.to_owned())],
    })
}

/// Writes an entry by itself.
///
/// # Errors
/// Those of the database.
pub async fn write(app: &App, tenant_id: &str, entry: &Happened) -> Result<()> {
    let mut tx = app.db.begin().await?;
    entry.write(app, &mut tx, tenant_id).await?;
    app.commit(tx).await
}

macro_rules! columns {
    () => {
        "id, event_type, message, agent_id, task_id, board_id, created_on"
    };
}

/// Which entries a list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of one board, or of some; `None` for all of the tenant.
    pub boards: Option<Vec<String>>,
    pub agent_id: Option<String>,
    pub task_id: Option<String>,
    /// Comments only.
    pub comments: bool,
    /// Not before this time.
    pub since: Option<Time>,
}

/// Returns a part of the entries, newest first, and the number of all.
///
/// # Errors
/// Those of the database.
pub async fn list(
    db: &Db,
    tenant_id: &str,
    filter: &Filter,
    part: Part,
) -> Result<(Vec<Entry>, i64)> {
    let event_type = filter.comments.then_some(COMMENT);
    let since = filter.since.map_or(i64::MIN, |t| t.0);
    macro_rules! statements {
        ($condition:literal, $limit:literal, $offset:literal) => {
            (
                concat!(
                    "SELECT ", columns!(), " FROM board_activity WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR event_type = $2) AND created_on >= $3",
                    $condition, " ORDER BY id DESC LIMIT ", $limit, " OFFSET ", $offset
                ),
                concat!(
                    "SELECT COUNT(*) FROM board_activity WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR event_type = $2) AND created_on >= $3",
                    $condition
                ),
            )
        };
    }
    let mut values = args![tenant_id, event_type, since];
    let (rows, count) = match (&filter.task_id, &filter.agent_id, filter.boards.as_deref()) {
        (Some(task_id), _, _) => {
            values.0.push(task_id.as_str().into());
            statements!(" AND task_id = $4", "$5", "$6")
        }
        (None, Some(agent_id), _) => {
            values.0.push(agent_id.as_str().into());
            statements!(" AND agent_id = $4", "$5", "$6")
        }
        (None, None, Some([board_id])) => {
            values.0.push(board_id.as_str().into());
            statements!(" AND board_id = $4", "$5", "$6")
        }
        // Few members have access to some boards only, and to few of them.
        (None, None, Some(_)) => return of_boards(db, tenant_id, filter, part).await,
        (None, None, None) => statements!("", "$4", "$5"),
    };
    let counted = values.clone();
    values.0.extend([part.limit.into(), part.offset.into()]);
    let entries = db.all(rows, values).await?;
    let (total,): (i64,) = db.one(count, counted).await?;
    Ok((entries, total))
}

/// Returns a part of the entries of several boards: the newest of each, merged.
async fn of_boards(
    db: &Db,
    tenant_id: &str,
    filter: &Filter,
    part: Part,
) -> Result<(Vec<Entry>, i64)> {
    let (mut entries, mut total) = (Vec::new(), 0);
    for board_id in filter.boards.iter().flatten() {
        let one = Filter {
            boards: Some(vec![board_id.clone()]),
            ..filter.clone()
        };
        let first = Part {
            limit: part.limit + part.offset,
            offset: 0,
        };
        let (found, count) = Box::pin(list(db, tenant_id, &one, first)).await?;
        entries.extend(found);
        total += count;
    }
    entries.sort_by(|a: &Entry, b: &Entry| b.id.cmp(&a.id));
    let skip = usize::try_from(part.offset).unwrap_or(usize::MAX);
    let take = usize::try_from(part.limit).unwrap_or(0);
    Ok((entries.into_iter().skip(skip).take(take).collect(), total))
}

/// Returns an entry.
///
/// # Errors
/// Those of the database.
pub async fn get(db: &Db, tenant_id: &str, id: &str) -> Result<Option<Entry>> {
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM board_activity WHERE id = $1 AND tenant_id = $2"
        ),
        args![id, tenant_id],
    )
    .await
}

/// Removes the entries of a task or a board.
#[derive(Debug)]
pub struct Forget {
    pub tenant_id: String,
    pub task_id: Option<String>,
    pub board_id: Option<String>,
}

#[async_trait]
impl Effect for Forget {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        tx.execute(
            "DELETE FROM board_activity WHERE (task_id = $1 OR board_id = $2) AND tenant_id = $3",
            args![&self.task_id, &self.board_id, &self.tenant_id],
        )
        .await?;
        Ok(None)
    }
}

/// Returns comments as items of the feed of all boards: with names of agent, task and board.
///
/// # Errors
/// Those of the database.
pub async fn feed_items(app: &App, tenant_id: &str, entries: Vec<Entry>) -> Result<Vec<Body>> {
    let mut ids: Vec<String> = Vec::new();
    for entry in &entries {
        let named = [&entry.agent_id, &entry.task_id, &entry.board_id];
        ids.extend(named.into_iter().flatten().cloned());
    }
    ids.sort();
    ids.dedup();
    let known = crate::records::store::all(&app.db, tenant_id, &ids).await?;
    let find = |id: &Option<String>| {
        id.as_ref()
            .and_then(|id| known.iter().find(|r| r.id == *id))
    };
    let mut items = Vec::with_capacity(entries.len());
    for entry in entries {
        let (Some(task), Some(board)) = (find(&entry.task_id), find(&entry.board_id)) else {
            continue;
        };
        let agent = find(&entry.agent_id);
        let role = match agent {
            Some(agent) => {
                let body = agent.body()?;
                let profile = body.get("identity_profile");
                profile.and_then(|p| p.get("role")).cloned()
            }
            None => None,
        };
        let mut item = entry.json();
        for (name, value) in [
            ("agent_name", json!(agent.map(|a| &a.title))),
            ("agent_role", json!(role)),
            ("task_title", json!(task.title)),
            ("board_name", json!(board.title)),
        ] {
            item.insert(name.to_owned(), value);
        }
        items.push(item);
    }
    Ok(items)
}
