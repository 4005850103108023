//! Operations of dialects as rows of a table: name, scopes, input, and the function that implements them. Routes, documentation, MCP tools and permission
//! checks are derived from the rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use super::request_id;
use super::shape::Shape;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::records::kind::Kind;
use crate::records::plan::{Plan, View};
use crate::records::store::Numbered;
use crate::records::{Once, idempotency};
use crate::records::{Request, execute};

/// The input of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub app: &'a Arc<App>,
    pub caller: &'a Caller,
    pub operation: &'static Operation,
    pub path: &'a BTreeMap<String, String>,
    pub query: &'a HashMap<String, String>,
    pub body: &'a Map<String, Value>,
}

impl<'a> Call<'a> {
    /// Returns a path parameter; empty when the path does not have it.
    pub(super) fn path(&self, name: &str) -> &'a str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// Returns the first path parameter.
    pub(super) fn id(&self) -> &'a str {
        let first = self.operation.path_parameters().next();
        first.map_or("", |name| self.path(name))
    }

    /// Returns a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&'a str> {
        self.query.get(name).map(String::as_str)
    }

    /// Returns the kind of records that the operation is about.
    ///
    /// # Errors
    /// For a row without a kind.
    pub(super) fn kind(&self) -> Result<&'static Kind> {
        let id = self.operation.id;
        self.operation
            .kind
            .ok_or_else(|| Error::internal(format!("{id} is about no kind of record")))
    }
}

/// The result of an operation.
#[derive(Debug)]
pub(super) enum Data {
    /// A single object.
    One(Value),
    /// A page of a list, with the cursor of the next one.
    Many(Vec<Value>, Option<String>),
    /// A numbered page of a list, with the total number of items.
    Page(Vec<Value>, Numbered, i64),
    /// A part of a list, whose counts are sent as headers.
    Counted(Vec<Value>, Counts),
}

/// Place of a part in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Items of the whole list.
    pub total: usize,
    /// Requested number of items.
    pub limit: usize,
    /// Items before the part.
    pub offset: usize,
}

/// A read operation.
pub(super) type ReadFn = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Data>>;
/// A write operation, which returns a plan.
pub(super) type WriteFn = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Plan>>;

/// Implementation of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Run {
    /// Reads.
    Read(ReadFn),
    /// Writes, and supports idempotency keys.
    Write(WriteFn),
}

/// Request body of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// No body.
    Nothing,
    /// The fields of a kind; either all required ones or a subset.
    Fields(&'static Kind, Whole),
    /// An object with these members.
    Members(&'static [(&'static str, Member)]),
    /// An object of this shape; either with all required fields or a subset.
    Shape(&'static Shape, Whole),
    /// An object of one of two shapes: the first when it has the member.
    Either(&'static str, &'static Shape, &'static Shape),
    /// Any JSON object.
    Object,
}

/// Type of a body member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Text,
    Integer,
    Flag,
    Object,
}

/// Whether a body must contain the required fields of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Required fields must be present.
    Yes,
    /// A partial update.
    No,
}

/// Query parameters of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parameters {
    /// Parameters with these names.
    Named(&'static [&'static str]),
    /// Parameters of a list of the kind: paging, search text, and each filterable field.
    List,
}

/// The form of a response.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answers {
    One,
    Many,
    /// An object of this shape.
    Shape(&'static Shape),
    /// A list of objects of this shape.
    Shapes(&'static Shape),
    /// A page of a list of objects of this shape: `data`, and `pagination` with the cursor of the next page.
    Pages(&'static Shape),
    /// A part of a list: `items` of this shape, `total`, `limit`, `offset`.
    Part(&'static Shape),
    /// A text.
    Text,
}

/// Hints for agents in the OpenAPI document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hints {
    /// Purpose of the operation.
    pub intent: &'static str,
    /// When to use it.
    pub when: &'static str,
}

/// Waits for jobs that a write has enqueued, and may replace its answer.
pub(super) type SettleFn = for<'a> fn(Call<'a>, &'a Value) -> BoxFuture<'a, Result<Option<Value>>>;

/// An operation of a dialect.
#[derive(Debug)]
pub(super) struct Operation {
    pub method: &'static str,
    /// Path without the prefix of the dialect.
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    /// Scopes, one of which is required; any key is accepted when empty.
    pub scopes: &'static [Scope],
    /// The kind of records that the operation is about.
    pub kind: Option<&'static Kind>,
    pub takes: Takes,
    /// Whether the body may be absent.
    pub is_body_optional: bool,
    pub parameters: Parameters,
    pub answers: Answers,
    /// Status of a successful response, for the documentation.
    pub success: u16,
    pub run: Run,
    /// Tags in the OpenAPI document, in place of the dialect's.
    pub tags: &'static [&'static str],
    pub hints: Option<Hints>,
    /// Runs after a write that was not replayed.
    pub settle: Option<SettleFn>,
    /// Returns the answer to a write from its records, replayed or not; the second argument is what the plan answers.
    pub show: Option<SettleFn>,
}

impl Operation {
    const fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        scopes: &'static [Scope],
        run: Run,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            scopes,
            kind: None,
            takes: Takes::Nothing,
            is_body_optional: false,
            parameters: Parameters::Named(&[]),
            answers: Answers::One,
            success: 200,
            run,
            tags: &[],
            hints: None,
            settle: None,
            show: None,
        }
    }

    /// Returns a GET operation.
    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("GET", path, id, summary, scopes, Run::Read(run))
    }

    /// Returns a POST operation that creates something.
    pub(super) const fn post(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: WriteFn,
        summary: &'static str,
    ) -> Self {
        Self::new("POST", path, id, summary, scopes, Run::Write(run))
            .takes(Takes::Object)
            .success(201)
    }

    /// Returns a POST operation that reads.
    pub(super) const fn ask(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("POST", path, id, summary, scopes, Run::Read(run)).takes(Takes::Object)
    }

    /// Returns a PATCH operation.
    pub(super) const fn patch(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: WriteFn,
        summary: &'static str,
    ) -> Self {
        Self::new("PATCH", path, id, summary, scopes, Run::Write(run)).takes(Takes::Object)
    }

    /// Returns a PUT operation.
    pub(super) const fn put(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: WriteFn,
        summary: &'static str,
    ) -> Self {
        Self::new("PUT", path, id, summary, scopes, Run::Write(run)).takes(Takes::Object)
    }

    /// Returns a DELETE operation that writes by itself, because it talks to another service first.
    pub(super) const fn erase(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("DELETE", path, id, summary, scopes, Run::Read(run))
    }

    /// Returns a PATCH operation that writes by itself.
    pub(super) const fn amend(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("PATCH", path, id, summary, scopes, Run::Read(run)).takes(Takes::Object)
    }

    /// Returns a PUT operation that writes by itself.
    pub(super) const fn replace(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("PUT", path, id, summary, scopes, Run::Read(run)).takes(Takes::Object)
    }

    /// Returns a DELETE operation.
    pub(super) const fn delete(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: WriteFn,
        summary: &'static str,
    ) -> Self {
        Self::new("DELETE", path, id, summary, scopes, Run::Write(run))
    }

    /// Sets the kind of records that the operation is about.
    pub(super) const fn of(mut self, kind: &'static Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets the request body.
    pub(super) const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// Makes the request body optional.
    pub(super) const fn optional_body(mut self) -> Self {
        self.is_body_optional = true;
        self
    }

    /// Sets the names of the query parameters.
    pub(super) const fn named(mut self, names: &'static [&'static str]) -> Self {
        self.parameters = Parameters::Named(names);
        self
    }

    /// Makes the operation a list of its kind, with all filters.
    pub(super) const fn filtered(mut self) -> Self {
        self.parameters = Parameters::List;
        self.answers = Answers::Many;
        self
    }

    /// Sets the form of the response.
    pub(super) const fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    /// Sets the tags in the OpenAPI document.
    pub(super) const fn tags(mut self, tags: &'static [&'static str]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets what agents read about the operation.
    pub(super) const fn hints(mut self, intent: &'static str, when: &'static str) -> Self {
        self.hints = Some(Hints { intent, when });
        self
    }

    /// Sets what runs after a write.
    pub(super) const fn then(mut self, settle: SettleFn) -> Self {
        self.settle = Some(settle);
        self
    }

    /// Sets what returns the answer to a write from its records.
    pub(super) const fn shown_by(mut self, show: SettleFn) -> Self {
        self.show = Some(show);
        self
    }

    /// Makes the response a list.
    pub(super) const fn many(mut self) -> Self {
        self.answers = Answers::Many;
        self
    }

    /// Sets the status of a successful response.
    pub(super) const fn success(mut self, status: u16) -> Self {
        self.success = status;
        self
    }

    /// Returns whether the operation writes.
    pub(super) fn writes(&self) -> bool {
        matches!(self.run, Run::Write(_))
    }

    /// Returns whether the operation has a request body.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.takes, Takes::Nothing)
    }

    /// Returns the names of the path parameters.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    /// Checks that the caller has one of the operation's scopes.
    ///
    /// # Errors
    /// `scope_missing`, `module_disabled`, `key_confined`.
    pub(super) fn allow(&self, caller: &Caller) -> Result<()> {
        let any = self.scopes.iter().find(|scope| caller.may(**scope));
        match any.or(self.scopes.first()) {
            Some(scope) => caller.need_unconfined(*scope),
            None => Ok(()),
        }
    }
}

/// The result of a call, before the dialect wraps it in its envelope.
#[derive(Debug)]
pub(super) struct Performed {
    pub status: u16,
    pub data: Data,
    /// Id of the request that performed the operation: the original one for a replayed response.
    pub request_id: String,
    pub is_replayed: bool,
}

/// Performs a permitted call, for HTTP and MCP alike. `view` converts records into the dialect's form.
///
/// # Errors
/// Those of the operation, and of [`execute`].
pub(super) async fn perform(call: Call<'_>, key: Option<String>, view: View) -> Result<Performed> {
    let read = match call.operation.takes {
        Takes::Shape(shape, whole) => Some(shape.read(call.body, whole == Whole::Yes)?),
        Takes::Either(member, with, without) => {
            let shape = if call.body.contains_key(member) {
                with
            } else {
                without
            };
            Some(shape.read(call.body, true)?)
        }
        Takes::Nothing | Takes::Fields(..) | Takes::Members(_) | Takes::Object => None,
    };
    let call = Call {
        body: read.as_ref().unwrap_or(call.body),
        ..call
    };
    let done = run(call, key, view).await?;
    Ok(Performed {
        data: shaped(call.operation, done.data)?,
        ..done
    })
}

/// Returns the data of a response in the shape of the operation.
fn shaped(operation: &Operation, data: Data) -> Result<Data> {
    let object = |shape: &Shape, value: Value| shape.write(&serde_json::from_value(value)?);
    let list = |shape: &Shape, value: Value| {
        let items: Vec<Value> = serde_json::from_value(value)?;
        let written = items.into_iter().map(|item| object(shape, item));
        written.collect::<Result<Vec<Value>>>()
    };
    match (operation.answers, data) {
        (Answers::Shape(shape), Data::One(value)) => Ok(Data::One(object(shape, value)?)),
        (Answers::Shapes(shape), Data::One(value)) => {
            Ok(Data::One(Value::Array(list(shape, value)?)))
        }
        (Answers::Pages(shape), Data::Many(items, next)) => {
            Ok(Data::Many(list(shape, Value::Array(items))?, next))
        }
        (Answers::Shapes(shape), Data::Counted(items, counts)) => {
            Ok(Data::Counted(list(shape, Value::Array(items))?, counts))
        }
        (Answers::Part(shape), Data::One(mut part)) => {
            part["items"] = Value::Array(list(shape, part["items"].take())?);
            Ok(Data::One(part))
        }
        (_, data) => Ok(data),
    }
}

async fn run(call: Call<'_>, key: Option<String>, view: View) -> Result<Performed> {
    let request_id = request_id();
    match call.operation.run {
        Run::Read(read) => Ok(Performed {
            status: call.operation.success,
            data: read(call).await?,
            request_id,
            is_replayed: false,
        }),
        Run::Write(write) => {
            let once = match key {
                Some(key) => {
                    let path = format!("{:?}", call.path);
                    let body = serde_json::to_vec(call.body)?;
                    let request_hash = idempotency::hash(call.operation.method, &path, &body);
                    Some(Once { key, request_hash })
                }
                None => None,
            };
            let request = Request {
                caller: call.caller,
                operation: call.operation.id,
                request_id,
                once,
            };
            let answer = execute(call.app, &request, || async move {
                Ok(write(call).await?.viewed(view))
            })
            .await?;
            let mut data = answer.data;
            if let Some(settle) = call.operation.settle.filter(|_| answer.replayed.is_none())
                && let Some(settled) = settle(call, &data).await?
            {
                data = settled;
            }
            if let Some(show) = call.operation.show
                && let Some(shown) = show(call, &data).await?
            {
                data = shown;
            }
            Ok(Performed {
                status: answer.status,
                data: Data::One(data),
                is_replayed: answer.replayed.is_some(),
                request_id: answer.replayed.unwrap_or(request.request_id),
            })
        }
    }
}
