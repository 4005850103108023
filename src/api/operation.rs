//! Operations of dialects as rows of tables: what an operation is called, whom it needs, what it takes, and the function that it is. Routes, documentation, MCP
//! tools and the checks before a call are made from the rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use super::request_id;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::records::kind::Kind;
use crate::records::plan::{Plan, View};
use crate::records::store::Numbered;
use crate::records::{Once, idempotency};
use crate::records::{Request, execute};

/// What a call of an operation brings.
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
    /// Returns a parameter of the path; empty for one that the path has not.
    pub(super) fn path(&self, name: &str) -> &'a str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// Returns the first parameter of the path.
    pub(super) fn id(&self) -> &'a str {
        let first = self.operation.path_parameters().next();
        first.map_or("", |name| self.path(name))
    }

    /// Returns a parameter of the query string.
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

/// What an operation answers with.
#[derive(Debug)]
pub(super) enum Data {
    /// One thing.
    One(Value),
    /// A part of a list, with the cursor of the next one.
    Many(Vec<Value>, Option<String>),
    /// A numbered page of a list, and how many there are in all.
    Page(Vec<Value>, Numbered, i64),
}

/// A function that reads.
pub(super) type ReadFn = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Data>>;
/// A function that plans a write.
pub(super) type WriteFn = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Plan>>;

/// What an operation does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Run {
    /// It reads.
    Read(ReadFn),
    /// It writes, and may be repeated with an idempotency key.
    Write(WriteFn),
}

/// The body that an operation takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// None.
    Nothing,
    /// The fields of a kind; all that are required, or some of them.
    Fields(&'static Kind, Whole),
    /// Named members.
    Members(&'static [(&'static str, Member)]),
    /// Any JSON object.
    Object,
}

/// Type of a named member of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Text,
    Integer,
    Flag,
    Object,
}

/// Whether a body needs the required fields of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// It does.
    Yes,
    /// It changes a record.
    No,
}

/// The parameters of the query string.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parameters {
    /// Those with these names.
    Named(&'static [&'static str]),
    /// Those of a list of the kind: its part, words, and each field that lists filter by.
    List,
}

/// The shape of an answer, for the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// One object.
    One,
    /// A list.
    Many,
}

/// An operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub method: &'static str,
    /// Below the prefix of the dialect.
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    /// One of these is needed; any key will do when there are none.
    pub scopes: &'static [Scope],
    /// The kind of records that it is about.
    pub kind: Option<&'static Kind>,
    pub takes: Takes,
    /// Whether the body may be absent.
    pub is_body_optional: bool,
    pub parameters: Parameters,
    pub answers: Answers,
    /// Status of a success, for the documentation.
    pub success: u16,
    pub run: Run,
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
        }
    }

    /// Returns an operation that answers a GET.
    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("GET", path, id, summary, scopes, Run::Read(run))
    }

    /// Returns an operation that answers a POST and creates something.
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

    /// Returns an operation that answers a POST and reads.
    pub(super) const fn ask(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: ReadFn,
        summary: &'static str,
    ) -> Self {
        Self::new("POST", path, id, summary, scopes, Run::Read(run)).takes(Takes::Object)
    }

    /// Returns an operation that answers a PATCH.
    pub(super) const fn patch(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: WriteFn,
        summary: &'static str,
    ) -> Self {
        Self::new("PATCH", path, id, summary, scopes, Run::Write(run)).takes(Takes::Object)
    }

    /// Returns an operation that answers a DELETE.
    pub(super) const fn delete(
        path: &'static str,
        id: &'static str,
        scopes: &'static [Scope],
        run: WriteFn,
        summary: &'static str,
    ) -> Self {
        Self::new("DELETE", path, id, summary, scopes, Run::Write(run))
    }

    /// Returns the operation as one about a kind of records.
    pub(super) const fn of(mut self, kind: &'static Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Returns the operation with another body.
    pub(super) const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// Returns the operation with a body that may be absent.
    pub(super) const fn optional_body(mut self) -> Self {
        self.is_body_optional = true;
        self
    }

    /// Returns the operation with parameters of the query string.
    pub(super) const fn named(mut self, names: &'static [&'static str]) -> Self {
        self.parameters = Parameters::Named(names);
        self
    }

    /// Returns the operation as a list of its kind, with all its filters.
    pub(super) const fn filtered(mut self) -> Self {
        self.parameters = Parameters::List;
        self.answers = Answers::Many;
        self
    }

    /// Returns the operation as one that answers with a list.
    pub(super) const fn many(mut self) -> Self {
        self.answers = Answers::Many;
        self
    }

    /// Returns the operation with another status of success.
    pub(super) const fn success(mut self, status: u16) -> Self {
        self.success = status;
        self
    }

    /// Whether it writes.
    pub(super) fn writes(&self) -> bool {
        matches!(self.run, Run::Write(_))
    }

    /// Whether it takes a body.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.takes, Takes::Nothing)
    }

    /// Returns the names of the parameters of the path.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    /// Refuses callers who have none of its scopes.
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

/// What came of a call, before the dialect puts it into its envelope.
#[derive(Debug)]
pub(super) struct Performed {
    pub status: u16,
    pub data: Data,
    /// The request that did it: an earlier one when this one repeats it.
    pub request_id: String,
    pub is_replayed: bool,
}

/// Performs a call that is allowed, in the same way for HTTP and for MCP. `view` shows records in the way of the dialect.
///
/// # Errors
/// Those of the operation, and of [`execute`].
pub(super) async fn perform(call: Call<'_>, key: Option<String>, view: View) -> Result<Performed> {
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
            Ok(Performed {
                status: answer.status,
                data: Data::One(answer.data),
                is_replayed: answer.replayed.is_some(),
                request_id: answer.replayed.unwrap_or(request.request_id),
            })
        }
    }
}
