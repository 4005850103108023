//! Plans: which records to add, change and delete, with which effects beside them. A plan is made from the present state, by functions and by the hooks of kinds,
//! and executed as a whole.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;

use super::body::Body;
use super::kind::Kind;
use super::record::Record;
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::jobs::Task;
use crate::kb::documents::NewDocument;

/// A side effect in the transaction of a plan, beside its records.
#[async_trait]
pub trait Effect: Debug + Send + Sync {
    /// Applies the effect. Returns what to answer when only the effect knows it.
    ///
    /// # Errors
    /// Any error ends the transaction; a plan that is no longer valid is made anew for `record_stale`.
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>>;
}

/// The code of an effect's error for which the plan is made anew.
pub const STALE: &str = "record_stale";

/// Shows a record to the caller.
pub type View = fn(&Kind, &Record) -> Result<Value>;

/// Answer of a plan.
#[derive(Debug)]
enum Reply {
    /// The record of a write, by its position.
    Written(usize),
    /// A record that stays as it is.
    Unchanged(&'static Kind, Box<Record>),
    /// Any data.
    Data(Value),
}

/// A change of one record.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) kind: &'static Kind,
    /// `None` for a new record.
    pub(super) before: Option<Record>,
    /// `None` for a deletion.
    pub(super) after: Option<Record>,
    /// Whether its text is published.
    pub(super) publishes: bool,
}

impl Write {
    pub(super) fn record(&self) -> Option<&Record> {
        self.after.as_ref().or(self.before.as_ref())
    }

    pub(super) fn action(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "create",
            (Some(_), Some(_)) => "update",
            (Some(_), None) => "delete",
        }
    }
}

/// Writes and effects that are executed together.
#[derive(Debug)]
pub struct Plan {
    pub(super) writes: Vec<Write>,
    reply: Reply,
    view: View,
    pub(super) status: u16,
    /// Members of the answer beside those of the record.
    pub shown: Body,
    /// Whether the answer holds a secret.
    pub is_secret: bool,
    /// Records that the plan has read and that must be unchanged when it is executed.
    pub relies_on: Vec<Record>,
    /// Effects before the records are written, after they are locked.
    pub before: Vec<Box<dyn Effect>>,
    /// Effects after the records are written.
    pub after: Vec<Box<dyn Effect>>,
    /// Documents to add to search, each with its dataset.
    pub documents: Vec<(String, NewDocument)>,
    /// Jobs to begin.
    pub jobs: Vec<Task>,
    /// Schedules: a task and its cron expression; without one the schedule ends.
    pub schedules: Vec<(Task, Option<String>)>,
    /// Events beside those of the records, about a record of the plan by its position.
    pub events: Vec<(&'static str, usize)>,
    /// Entries of the audit about what is no write of a record: kind and id, action, changes.
    pub notes: Vec<(&'static Kind, String, &'static str, Body)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            writes: Vec::new(),
            reply: Reply::Data(Value::Null),
            view: Kind::to_json,
            status: 200,
            shown: Body::new(),
            is_secret: false,
            relies_on: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            documents: Vec::new(),
            jobs: Vec::new(),
            schedules: Vec::new(),
            events: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Plan {
    /// Adds a new record, and answers with it. Returns its position among the writes.
    pub fn create(&mut self, kind: &'static Kind, record: Record) -> usize {
        self.status = 201;
        self.push(kind, None, Some(record), true)
    }

    /// Adds a new record that search does not find.
    pub fn create_silently(&mut self, kind: &'static Kind, record: Record) -> usize {
        self.push(kind, None, Some(record), false)
    }

    /// Changes a record, and answers with it. Returns its position among the writes.
    pub fn update(
        &mut self,
        kind: &'static Kind,
        before: Record,
        mut after: Record,
        now: Time,
    ) -> usize {
        after.updated_on = later(now, &before);
        self.status = 200;
        self.push(kind, Some(before), Some(after), true)
    }

    /// Changes a record whose text stays as search has it.
    pub fn update_silently(
        &mut self,
        kind: &'static Kind,
        before: Record,
        mut after: Record,
        now: Time,
    ) {
        after.updated_on = later(now, &before);
        self.push(kind, Some(before), Some(after), false);
    }

    /// Deletes a record, and answers with its public id.
    pub fn delete(&mut self, kind: &'static Kind, record: Record) {
        let data = serde_json::json!({"id": kind.public_id(&record.id), "deleted": true});
        self.push(kind, Some(record), None, false);
        self.reply = Reply::Data(data);
    }

    fn push(
        &mut self,
        kind: &'static Kind,
        before: Option<Record>,
        after: Option<Record>,
        publishes: bool,
    ) -> usize {
        let at = self.writes.len();
        self.reply = Reply::Written(at);
        self.writes.push(Write {
            kind,
            before,
            after,
            publishes,
        });
        at
    }

    /// Joins another plan to this one; the answer is the other's.
    #[must_use]
    pub fn with(mut self, mut other: Self) -> Self {
        let offset = self.writes.len();
        self.reply = match other.reply {
            Reply::Written(at) => Reply::Written(at + offset),
            reply @ (Reply::Unchanged(..) | Reply::Data(_)) => reply,
        };
        self.status = other.status;
        self.writes.append(&mut other.writes);
        self.relies_on.append(&mut other.relies_on);
        self.before.append(&mut other.before);
        self.after.append(&mut other.after);
        self.documents.append(&mut other.documents);
        self.jobs.append(&mut other.jobs);
        self.schedules.append(&mut other.schedules);
        let events = other.events.into_iter();
        self.events
            .extend(events.map(|(event, at)| (event, at + offset)));
        self.notes.append(&mut other.notes);
        self.shown.extend(other.shown);
        self
    }

    /// Answers with a record that stays as it is.
    #[must_use]
    pub fn unchanged(mut self, kind: &'static Kind, record: Record) -> Self {
        (self.status, self.reply) = (200, Reply::Unchanged(kind, Box::new(record)));
        self
    }

    /// Answers with the record of a write.
    #[must_use]
    pub fn answering(mut self, write: usize) -> Self {
        self.reply = Reply::Written(write);
        self
    }

    /// Answers with any data.
    #[must_use]
    pub fn data(mut self, status: u16, data: Value) -> Self {
        (self.status, self.reply) = (status, Reply::Data(data));
        self
    }

    /// Answers with this HTTP status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Shows the record of the answer in the way of a dialect.
    #[must_use]
    pub fn viewed(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// The record that the plan answers with, before it is written.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.reply {
            Reply::Written(at) => self.writes.get(*at)?.record(),
            Reply::Unchanged(_, record) => Some(record),
            Reply::Data(_) => None,
        }
    }

    pub(super) fn answer(&self, written: &[Record]) -> Result<Value> {
        let mut data = match &self.reply {
            Reply::Data(data) => data.clone(),
            Reply::Unchanged(kind, record) => (self.view)(kind, record)?,
            Reply::Written(at) => match (self.writes.get(*at), written.get(*at)) {
                (Some(write), Some(record)) => (self.view)(write.kind, record)?,
                _ => {
                    return Err(Error::internal(
                        "a plan refers to a write that it does not contain",
                    ));
                }
            },
        };
        if let Value::Object(data) = &mut data {
            data.extend(self.shown.clone());
        }
        Ok(data)
    }
}

/// Returns the time of a change: later than that of the change before in any case, so that two in one millisecond are two.
pub(super) fn later(now: Time, before: &Record) -> Time {
    Time(now.0.max(before.updated_on.0 + 1))
}

/// A new record, or a change of one, on its way through the hook of its kind.
#[derive(Debug)]
pub struct Change<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub kind: &'static Kind,
    /// The record as it is; `None` for a new one.
    pub before: Option<Record>,
    /// Its fields as they are.
    pub old: Body,
    /// The fields that the caller sent.
    pub given: &'a Body,
    /// The fields as they will be.
    pub body: Body,
    /// The record as it will be, but for its fields and title.
    pub after: Record,
    /// The records that the fields link to.
    pub linked: Vec<Record>,
    /// The plan, which the record joins after the hook.
    pub plan: Plan,
    pub now: Time,
}

impl Change<'_> {
    /// Whether the record is new.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// Whether the record is new, or a field of it changes.
    #[must_use]
    pub fn changes(&self, field: &str) -> bool {
        self.before.is_none() || self.old.get(field) != self.body.get(field)
    }

    /// The status as it was.
    #[must_use]
    pub fn old_status(&self) -> Option<&str> {
        self.before.as_ref().and_then(|b| b.status.as_deref())
    }

    /// The status as it will be.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.after.status.as_deref()
    }

    /// Whether the record comes into a status.
    #[must_use]
    pub fn becomes(&self, status: &str) -> bool {
        self.status() == Some(status) && self.old_status() != Some(status)
    }

    /// Sets a field that is absent or null.
    pub fn default(&mut self, field: &str, value: impl Into<Value>) {
        if self.body.get(field).is_none_or(Value::is_null) {
            self.body.insert(field.to_owned(), value.into());
        }
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.body.insert(field.to_owned(), value.into());
    }

    /// Removes a field.
    pub fn remove(&mut self, field: &str) {
        self.body.shift_remove(field);
    }
}

/// Returns the area in whose dataset a record's text is.
pub(super) fn area(kind: &Kind, record: &Record) -> Area {
    let own = record.area.as_deref().and_then(Area::named);
    own.unwrap_or(kind.area)
}

/// Returns the part of the area in whose dataset a record's text is.
pub(super) fn part<'r>(kind: &Kind, record: &'r Record) -> Option<&'r str> {
    kind.part.and_then(|part| part(record))
}

/// Returns the id of the dataset in which a record's text is.
pub(super) fn dataset_id(kind: &Kind, record: &Record) -> String {
    let area = area(kind, record);
    match part(kind, record) {
        Some(part) => area.part_dataset_id(&record.tenant_id, part),
        None => area.dataset_id(&record.tenant_id),
    }
}
