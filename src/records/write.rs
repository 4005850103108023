//! Plans for the ordinary writes of every kind: create, update, archive, delete.

use serde_json::Value;

use super::body::{Body, forbidden, invalid, text};
use super::kind::{FieldType, Kind, Status};
use super::plan::{Change, Plan};
use super::record::{Record, titled};
use super::{check, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};

/// A new record.
#[derive(Debug, Clone, Default)]
pub struct New {
    /// Its fields; `status` may be among them.
    pub body: Body,
    /// Its title, for kinds whose title is no field; otherwise taken from the first line of a text, or the name of the kind.
    pub title: Option<String>,
    /// Its status, for kinds with words of the callers' own.
    pub status: Option<String>,
    /// The record that contains it.
    pub parent_id: Option<String>,
    /// Its position in the stages of its parent.
    pub stage: Option<String>,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// The area in whose dataset its text is searched, when it is not that of the kind.
    pub area: Option<String>,
}

impl From<&Body> for New {
    fn from(body: &Body) -> Self {
        Self {
            body: body.clone(),
            ..Self::default()
        }
    }
}

/// Returns a plan that creates a record.
///
/// # Errors
/// `body_invalid`, `title_too_long`, `record_not_found` for a link that leads nowhere, and those of the kind's hook.
pub async fn create(app: &App, caller: &Caller, kind: &'static Kind, new: New) -> Result<Plan> {
    let mut plan = Plan::default();
    add(app, caller, kind, new, &mut plan).await?;
    Ok(plan)
}

/// Adds a new record to a plan. Returns its position among the writes.
///
/// # Errors
/// Those of [`create`].
pub async fn add(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    new: New,
    plan: &mut Plan,
) -> Result<usize> {
    if !kind.open {
        check::computed(&new.body)?;
    }
    check::body(kind, &new.body, true)?;
    let linked = links(app, caller, kind, &new.body, &Body::new()).await?;
    let given = new.body.clone();
    let title = new.title.clone();
    let after = draft(app, caller, kind, new)?;
    let mut change = Change {
        app,
        caller,
        kind,
        before: None,
        old: Body::new(),
        given: &given,
        body: after.body()?,
        now: after.created_on,
        after,
        linked,
        plan: std::mem::take(plan),
    };
    if let Some(hook) = kind.hook {
        hook(&mut change).await?;
    }
    let Change {
        body,
        mut after,
        plan: planned,
        ..
    } = change;
    *plan = planned;
    if title.is_none() && !kind.open {
        after.title = self::title(kind, &body);
    }
    after.body = Value::Object(body).to_string();
    Ok(plan.create(kind, after))
}

/// Returns a new record of a kind from fields that were checked, without the work of its hook.
///
/// # Errors
/// `title_too_long`.
pub fn draft(app: &App, caller: &Caller, kind: &'static Kind, new: New) -> Result<Record> {
    let mut body = new.body;
    if !kind.open {
        body.retain(|_, value| !value.is_null());
    }
    let status = match &kind.status {
        Status::None => None,
        Status::Word(first) => new.status.or_else(|| first.map(str::to_owned)),
        Status::Lifecycle(lifecycle) => {
            let word = body.shift_remove("status");
            let word = word.as_ref().and_then(Value::as_str);
            word.or(lifecycle.statuses.first().copied())
                .map(str::to_owned)
        }
    };
    let title = match &new.title {
        None if !kind.open => title(kind, &body),
        given => titled(given.as_deref(), "", kind.name)?,
    };
    let now = app.clock.now();
    Ok(Record {
        id: app.clock.id(),
        tenant_id: caller.tenant().to_owned(),
        kind: kind.name.to_owned(),
        parent_id: new.parent_id,
        external_id: new.external_id,
        title,
        status,
        stage: new.stage,
        area: new.area,
        body: Value::Object(body).to_string(),
        document_id: None,
        author: caller.actor_id().map(str::to_owned),
        created_on: now,
        updated_on: now,
    })
}

/// A change of a record.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Fields to set, among them perhaps `status`; null removes a field.
    pub body: Body,
    /// The title, for kinds whose title is no field; blank leaves it.
    pub title: Option<String>,
    /// The status, for kinds with words of the callers' own.
    pub status: Option<String>,
    /// The record that contains it; `Some(None)` takes it out.
    pub parent_id: Option<Option<String>>,
    /// Its position in the stages of its parent.
    pub stage: Option<String>,
    /// Fields to set that rules set and callers cannot; null removes a field.
    pub computed: Body,
    /// Whether the text that search finds stays as it is.
    pub is_silent: bool,
}

impl Patch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.title.is_none()
            && self.status.is_none()
            && self.parent_id.is_none()
            && self.stage.is_none()
            && self.body.is_empty()
            && self.computed.is_empty()
    }
}

impl From<&Body> for Patch {
    fn from(body: &Body) -> Self {
        Self {
            body: body.clone(),
            ..Self::default()
        }
    }
}

/// Returns a plan that changes a record.
///
/// # Errors
/// `body_invalid`, `title_too_long`, `status_move_invalid`, `record_not_found` for a link that leads nowhere, and those of the kind's hook.
pub async fn update(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    before: Record,
    patch: Patch,
) -> Result<Plan> {
    if !kind.open {
        check::computed(&patch.body)?;
    }
    check::body(kind, &patch.body, false)?;
    let mut after = before.clone();
    let old = before.body()?;
    let mut body = old.clone();
    for (name, value) in &patch.body {
        if name == "status" && kind.statuses().is_some() {
            after.status = Some(moved(kind, &before, value)?);
        } else if value.is_null() {
            body.shift_remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in patch.computed {
        if value.is_null() {
            body.shift_remove(&name);
        } else {
            body.insert(name, value);
        }
    }
    if let Some(status) = patch.status {
        after.status = Some(status);
    }
    if let Some(parent_id) = patch.parent_id {
        after.parent_id = parent_id;
    }
    if let Some(stage) = patch.stage {
        after.stage = Some(stage);
    }
    check::body(kind, &body, true)?;
    let linked = links(app, caller, kind, &body, &old).await?;
    let mut change = Change {
        app,
        caller,
        kind,
        before: Some(before),
        old,
        given: &patch.body,
        body,
        after,
        linked,
        plan: Plan::default(),
        now: app.clock.now(),
    };
    if let Some(hook) = kind.hook {
        hook(&mut change).await?;
    }
    let Change {
        body,
        mut after,
        mut plan,
        before,
        now,
        ..
    } = change;
    after.title = match &patch.title {
        None if !kind.open && kind.field(kind.title).is_some() => title(kind, &body),
        None => after.title,
        given => titled(given.as_deref(), "", &after.title)?,
    };
    after.body = Value::Object(body).to_string();
    let before = before.ok_or_else(|| Error::internal("an update without a record"))?;
    if patch.is_silent {
        plan.update_silently(kind, before, after, now);
    } else {
        plan.update(kind, before, after, now);
    }
    Ok(plan)
}

/// Returns a plan that archives a record; an archived one stays as it is.
#[must_use]
pub fn archive(app: &App, kind: &'static Kind, before: Record) -> Plan {
    if before.status.as_deref() == Some("archived") {
        return Plan::default().unchanged(kind, before);
    }
    let after = Record {
        status: Some("archived".to_owned()),
        ..before.clone()
    };
    let mut plan = Plan::default();
    plan.update(kind, before, after, app.clock.now());
    plan
}

/// Returns the title of a record whose title is a field: the first line of that field, or else the name of the kind.
#[must_use]
pub fn title(kind: &Kind, body: &Body) -> String {
    let text = text(body, kind.title).unwrap_or("");
    let line = text.lines().map(str::trim).find(|l| !l.is_empty());
    line.unwrap_or(kind.name).chars().take(200).collect()
}

/// Returns the status that a record moves to.
fn moved(kind: &Kind, before: &Record, value: &Value) -> Result<String> {
    let (Some(lifecycle), Some(to)) = (kind.statuses(), value.as_str()) else {
        return Err(invalid("status cannot be removed"));
    };
    let from = before.status.as_deref().unwrap_or_default();
    let is_allowed = lifecycle
        .transitions
        .iter()
        .find(|(status, _)| *status == from)
        .is_none_or(|(_, following)| following.contains(&to));
    if from != to && !is_allowed {
        return Err(forbidden(
            "status_move_invalid",
            format!("it is {from} and cannot become {to}"),
        ));
    }
    Ok(to.to_owned())
}

/// Loads the records that a body links to. A link that is as it was in `old` may lead to a record that has been deleted since.
///
/// # Errors
/// `record_not_found` names the field that leads nowhere; `body_invalid`.
async fn links(
    app: &App,
    caller: &Caller,
    kind: &Kind,
    body: &Body,
    old: &Body,
) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    for field in kind.fields {
        let FieldType::Link(kinds) = field.field_type else {
            continue;
        };
        let Some(id) = text(body, field.name) else {
            continue;
        };
        let nowhere = || {
            Error::not_found(
                "record_not_found",
                format!("{} refers to a missing record", field.name),
            )
        };
        let target = kinds.iter().find(|kind| kind.row_id(id).is_some());
        let target = target.ok_or_else(nowhere)?;
        if field.name == "related_resource_id"
            && text(body, "related_resource_type").is_some_and(|noun| noun != target.noun)
        {
            return Err(invalid(
                "related_resource_id is not an id of related_resource_type",
            ));
        }
        match store::load(app, caller.tenant(), target, id).await {
            Ok(record) => found.push(record),
            Err(error) if error.code() != "record_not_found" => return Err(error),
            Err(_) if old.get(field.name) == body.get(field.name) => {}
            Err(_) => return Err(nowhere()),
        }
    }
    if kind.field("related_resource_id").is_some()
        && text(body, "related_resource_type").is_some()
            != text(body, "related_resource_id").is_some()
    {
        return Err(invalid(
            "related_resource_type and related_resource_id must be sent together",
        ));
    }
    Ok(found)
}
