//! Boards: tasks that people and agents work on, with comments, approvals and memory; the agents that do the work; the gateways in which they live. Every text is
//! searched in the dataset of its board, or of the group of boards that shares it, by those who may read the board.

pub mod access;
pub mod activity;
pub mod agents;
pub mod approvals;
pub mod board;
pub mod calls;
pub mod comments;
pub mod custom_fields;
pub mod delivery;
pub mod gateways;
pub mod groups;
pub mod memory;
pub mod metrics;
pub mod notices;
pub mod onboarding;
pub mod roster;
pub mod skills;
pub mod snapshots;
pub mod souls;
pub mod store;
pub mod tags;
pub mod tasks;
pub mod webhooks;

use serde_json::{Value, json};

use crate::auth::Area;
use crate::clock::Clock;
use crate::error::{Detail, Error, Result};
use crate::records::body::{Body, text};
use crate::records::kind::{Field, FieldType, Lifecycle};
use crate::records::{Kind, Record};

/// Statuses of tasks.
pub const STATUSES: [&str; 4] = ["inbox", "in_progress", "review", "done"];
/// Statuses of approvals.
pub const APPROVAL_STATUSES: [&str; 3] = ["pending", "approved", "rejected"];

/// A text whose length the operations check.
const fn line(name: &'static str) -> Field {
    Field::new(name, FieldType::Text(usize::MAX))
}

const fn kind(name: &'static str, title: &'static str, fields: &'static [Field]) -> Kind {
    Kind::new(name, "", Area::Boards, fields).titled(title)
}

/// Values by which tasks are found: assignee, tags, keys of custom fields.
fn task_values(_: &Record, body: &Body) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    if let Some(agent_id) = text(body, "assigned_agent_id") {
        values.push(("assignee", agent_id.to_owned()));
    }
    values.extend(list(body, "tag_ids").into_iter().map(|id| ("tag", id)));
    if let Some(Value::Object(fields)) = body.get("custom_field_values") {
        values.extend(fields.keys().map(|key| ("field", key.clone())));
    }
    values
}

/// The name of an agent, which is unique at its gateway without regard to case.
fn agent_name(body: &Body) -> Option<String> {
    let (name, gateway_id) = (text(body, "name")?, text(body, "gateway_id")?);
    Some(format!("name:{gateway_id}:{}", name.trim().to_lowercase()))
}

fn own_id(record: &Record) -> Option<&str> {
    Some(&record.id)
}

fn parent_id(record: &Record) -> Option<&str> {
    record.parent_id.as_deref()
}

/// A board; its parent is its group.
pub static BOARD: Kind = kind(
    "board",
    "name",
    &[
        line("name"),
        Field::new("gateway_id", FieldType::Actor).filter(),
    ],
)
.texts(&["name", "description", "objective", "success_metrics"])
.part(own_id);
/// A group of boards.
pub static GROUP: Kind = kind("board_group", "name", &[line("name")])
    .texts(&["name", "description"])
    .part(own_id);
/// A task of a board.
pub static TASK: Kind = kind("board_task", "title", &[line("title")])
    .lifecycle(Lifecycle::free(&STATUSES))
    .texts(&["title", "description", "custom_field_values"])
    .derived(task_values)
    .part(parent_id);
/// A comment on a task; its parent is the board.
pub static COMMENT: Kind = kind("task_comment", "message", &[line("message")])
    .texts(&["message", "task_title"])
    .part(parent_id);
/// An entry of a board's memory or chat.
pub static MEMORY: Kind = kind("board_memory", "content", &[line("content")])
    .texts(&["content", "tags", "source"])
    .part(parent_id);
/// An entry of a group's memory or chat.
pub static GROUP_MEMORY: Kind = kind("board_group_memory", "content", &[line("content")])
    .texts(&["content", "tags", "source"])
    .part(parent_id);
/// A decision that an agent asks a person for.
pub static APPROVAL: Kind = kind("board_approval", "action_type", &[line("action_type")])
    .lifecycle(Lifecycle::free(&APPROVAL_STATUSES))
    .texts(&["action_type", "payload", "task_titles"])
    .part(parent_id);
/// A gateway in which agents live.
pub static GATEWAY: Kind = kind("gateway", "name", &[line("name")]);
/// An agent; its parent is its board, and the main agent of a gateway has none.
pub static AGENT: Kind = kind(
    "board_agent",
    "name",
    &[
        line("name"),
        Field::new("gateway_id", FieldType::Actor).filter(),
    ],
)
.unique(agent_name);
/// The conversation in which an agent asks what a board is for.
pub static ONBOARDING: Kind = kind("board_onboarding", "session_key", &[line("session_key")]);
/// An address at which other services post to a board.
pub static WEBHOOK: Kind = kind("board_webhook", "description", &[line("description")]);
/// A tag of tasks.
pub static TAG: Kind = kind("task_tag", "name", &[line("name")])
    .unique(|body| Some(format!("slug:{}", text(body, "slug")?)));
/// A field that an organisation gives its tasks.
pub static CUSTOM_FIELD: Kind = kind("task_field", "label", &[line("label")])
    .unique(|body| Some(format!("field_key:{}", text(body, "field_key")?)));
/// A repository of skills.
pub static SKILL_PACK: Kind = kind("skill_pack", "name", &[line("name")]);
/// A skill that agents can install.
pub static SKILL: Kind = kind("skill", "name", &[line("name")]);

/// Returns a record as canonical JSON: its fields, id, tenant, parent, status and times.
///
/// # Errors
/// When the row is damaged.
pub fn json_of(kind: &Kind, record: &Record) -> Result<Body> {
    let mut body = record.body()?;
    body.insert("id".to_owned(), json!(record.id));
    body.insert("organization_id".to_owned(), json!(record.tenant_id));
    let parent = match kind.name {
        "board" => "board_group_id",
        "board_group_memory" => "board_group_id",
        _ => "board_id",
    };
    body.insert(parent.to_owned(), json!(record.parent_id));
    if let Some(status) = &record.status {
        body.insert("status".to_owned(), json!(status));
    }
    body.insert("created_at".to_owned(), json!(record.created_on.rfc3339()));
    body.insert("updated_at".to_owned(), json!(record.updated_on.rfc3339()));
    Ok(body)
}

/// Returns a field that is a flag.
pub(crate) fn flag(body: &Body, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// Returns a field that is text and not blank.
pub(crate) fn filled<'a>(body: &'a Body, name: &str) -> Option<&'a str> {
    text(body, name).filter(|t| !t.trim().is_empty())
}

/// Returns the texts of a list.
pub(crate) fn list(body: &Body, name: &str) -> Vec<String> {
    let values = body.get(name).and_then(Value::as_array);
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The error of a request that is valid by itself but not here, with a sentence.
pub fn unfit(code: &'static str, message: impl Into<String>) -> Error {
    Error::unprocessable(code, message)
}

/// Returns an error with its message and more members for programs.
pub fn with_data(error: Error, mut data: Value) -> Error {
    data["message"] = json!(error.public_message());
    error.with_detail(Detail::Data(data))
}

/// Returns an id as agents and the clients of boards know it: as a UUID.
#[must_use]
pub fn uuid_of(id: &str) -> String {
    Clock::uuid(id).unwrap_or_else(|| id.to_owned())
}
