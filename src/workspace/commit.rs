//! How a workspace changes. An operation is a plan: what to add, what to change, what to tell, made from the present state. The plan is carried out in one
//! transaction together with its traces (facets, unique keys, the audit, deliveries of webhooks, the text that search finds) and, when the caller gave an
//! idempotency key, with its answer. When somebody else was faster with one of its records, the plan is made anew.

use std::collections::BTreeSet;
use std::future::Future;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::deliveries;
use super::spec::Kind;
use super::store::{self, Facets};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Detail, Error, Result};
use crate::jobs::{self, Task, schedules};
use crate::kb::documents::{self, NewDocument};
use crate::kb::index_log;
use crate::records::{self, Record, Searchable};
use crate::seal;

/// Who asks for a change, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// Name of the operation.
    pub operation: &'static str,
    /// The request, for the audit.
    pub request_id: String,
    /// The idempotency key, with the hash of path and body.
    pub once: Option<(String, String)>,
}

/// What a caller is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The data.
    pub data: Value,
    /// Whether the change was done earlier, under the same idempotency key, and by which request.
    pub replayed: Option<String>,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    writes: Vec<Write>,
    /// Secrets of new endpoints by their ids: they stand in no body.
    pub(super) secrets: Vec<(String, String)>,
    /// Endpoints that hear something else, or elsewhere, for the caller.
    pub(super) set_up: Vec<String>,
    /// A document to search, and the dataset for it.
    pub(super) document: Option<(String, NewDocument)>,
    /// Endpoints that are active again.
    pub(super) resumed: Vec<String>,
    /// Deliveries beside those of events.
    pub(super) deliveries: Vec<deliveries::Delivery>,
    /// Jobs that begin with it.
    pub(super) jobs: Vec<Task>,
    /// Schedules: a task and its cron expression; without one the schedule ends.
    pub(super) schedules: Vec<(Task, Option<String>)>,
    /// Events to tell, beside those of the records.
    pub events: Vec<(String, Value)>,
    /// Records that the plan has read and that must be as they were when it is carried out.
    pub(super) relied_on: Vec<Record>,
    /// What to answer.
    pub answer: Value,
    /// HTTP status of the answer; 200 when 0.
    pub status: u16,
}

/// A record before and after; before is absent for a new one.
#[derive(Debug)]
struct Write {
    kind: &'static Kind,
    before: Option<Record>,
    after: Record,
}

impl Plan {
    /// Adds a new record; gives it as callers see it.
    ///
    /// # Errors
    /// When it cannot be shown.
    pub fn add(&mut self, kind: &'static Kind, record: Record) -> Result<Value> {
        let shown = view(kind, &record)?;
        self.writes.push(Write {
            kind,
            before: None,
            after: record,
        });
        Ok(shown)
    }

    /// Changes a record.
    ///
    /// # Errors
    /// When it cannot be shown.
    pub fn change(
        &mut self,
        kind: &'static Kind,
        before: Record,
        mut after: Record,
        now: Time,
    ) -> Result<Value> {
        // Later than before in any case: two changes in one millisecond are two.
        after.updated_on = Time(now.0.max(before.updated_on.0 + 1));
        let shown = view(kind, &after)?;
        self.writes.push(Write {
            kind,
            before: Some(before),
            after,
        });
        Ok(shown)
    }

    /// Answers with something that was made.
    #[must_use]
    pub fn made(mut self, data: Value) -> Self {
        (self.status, self.answer) = (201, data);
        self
    }

    /// Answers with something else.
    #[must_use]
    pub fn answering(mut self, data: Value) -> Self {
        (self.status, self.answer) = (200, data);
        self
    }
}

/// A record as callers see it.
///
/// # Errors
/// When the row is damaged.
pub fn view(kind: &Kind, record: &Record) -> Result<Value> {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(kind.shown(&record.id)));
    shown.extend(record.body()?);
    if let Some(status) = &record.status {
        shown.insert("status".to_owned(), json!(status));
    }
    shown.insert("created_at".to_owned(), json!(record.created_on.rfc3339()));
    shown.insert("updated_at".to_owned(), json!(record.updated_on.rfc3339()));
    Ok(Value::Object(shown))
}

/// A new record of a kind, from a body that was checked.
pub fn draft(
    app: &App,
    caller: &Caller,
    kind: &Kind,
    mut body: Map<String, Value>,
    parent_id: Option<String>,
) -> Record {
    body.retain(|_, value| !value.is_null());
    let given = body
        .shift_remove("status")
        .and_then(|s| s.as_str().map(str::to_owned));
    let status = kind
        .life
        .map(|life| given.unwrap_or_else(|| life.all.first().copied().unwrap_or("").to_owned()));
    let now = app.clock.now();
    Record {
        id: app.clock.id(),
        tenant_id: caller.tenant().to_owned(),
        kind: kind.name.to_owned(),
        parent_id,
        external_id: None,
        title: title(kind, &body),
        status,
        body: Value::Object(body).to_string(),
        document_id: None,
        author: caller.key_id().map(str::to_owned),
        created_on: now,
        updated_on: now,
    }
}

/// What a record is called.
pub(super) fn title(kind: &Kind, body: &Map<String, Value>) -> String {
    let text = body.get(kind.title).and_then(Value::as_str).unwrap_or("");
    let line = text.lines().map(str::trim).find(|l| !l.is_empty());
    line.unwrap_or(kind.name).chars().take(200).collect()
}

/// Times that a plan is made anew because somebody else was faster.
const TRIES: usize = 20;
/// How long answers are kept for those who ask again, in milliseconds: a day.
pub(crate) const KEPT: i64 = 24 * 60 * 60 * 1000;

/// Path and body of a request, as they are compared when its idempotency key comes again.
#[must_use]
pub fn hash(method: &str, path: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(method);
    hash.update([0]);
    hash.update(path);
    hash.update([0]);
    hash.update(body);
    hex::encode(hash.finalize())
}

/// What was answered under an idempotency key.
#[derive(Debug, sqlx::FromRow)]
struct Done {
    request_hash: String,
    status: i64,
    answer: String,
    key_id: Option<String>,
}

impl Done {
    fn answer(self, caller: &Caller, key: &str, hash: &str) -> Result<Answer> {
        // What one key was answered, such as a secret that is shown once, is not for another.
        let is_same = self.request_hash == hash && self.key_id.as_deref() == caller.key_id();
        if !is_same {
            return Err(Error::conflict(
                "idempotency_key_reused",
                "this idempotency key was used for another request; take a new one for each write",
            )
            .with_detail(Detail::IdempotencyKey(key.to_owned())));
        }
        let (data, request_id): (Value, String) = serde_json::from_str(&self.answer)?;
        Ok(Answer {
            status: u16::try_from(self.status).unwrap_or(200),
            data,
            replayed: Some(request_id),
        })
    }
}

/// Forgets what was answered under idempotency keys.
///
/// # Errors
/// As the database says.
pub async fn forget_answers(app: &App) -> Result<()> {
    app.db
        .execute("DELETE FROM idempotency_keys", args![])
        .await?;
    Ok(())
}

const DONE: &str = "SELECT request_hash, status, answer, key_id FROM idempotency_keys WHERE operation = $1 AND key = $2 AND tenant_id = $3 AND created_on >= $4";

/// Makes a plan and carries it out.
///
/// # Errors
/// `idempotency_key_reused`, `key_taken`, `record_busy`, and those of the plan.
pub async fn carry_out<F>(
    app: &App,
    request: &Request<'_>,
    plan: impl Fn() -> F + Send,
) -> Result<Answer>
where
    F: Future<Output = Result<Plan>> + Send,
{
    for _ in 0..TRIES {
        match attempt(app, request, &plan).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            // Of two transactions that wait for each other one is ended; it begins anew.
            Err(error) if error.code() == "database_busy" => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::conflict(
        "record_busy",
        "others change this record at the same time; try again",
    ))
}

/// Makes a plan and tries to carry it out; `None` when somebody else was faster.
async fn attempt<F>(
    app: &App,
    request: &Request<'_>,
    plan: &(impl Fn() -> F + Send),
) -> Result<Option<Answer>>
where
    F: Future<Output = Result<Plan>> + Send,
{
    let tenant_id = request.caller.tenant();
    let since = app.clock.now().0 - KEPT;
    if let Some((key, hash)) = &request.once {
        let done: Option<Done> = app
            .db
            .optional(DONE, args![request.operation, key, tenant_id, since])
            .await?;
        if let Some(mut done) = done {
            if seal::is_sealed(&done.answer) {
                done.answer = app.sealer().await?.open_sealed(key, &done.answer)?;
            }
            return done.answer(request.caller, key, hash).map(Some);
        }
    }
    let plan = plan().await?;
    // Texts are stored before the transaction, which must not wait for the disk.
    let mut ready = Vec::with_capacity(plan.writes.len());
    for write in &plan.writes {
        let text = Searchable::named(write.kind.name, write.kind.area, &write.after)?;
        ready.push(text.prepare(app, tenant_id).await?);
    }
    let mut secrets = Vec::with_capacity(plan.secrets.len());
    for (id, secret) in &plan.secrets {
        secrets.push((id, deliveries::sealed(app, id, secret).await?));
    }
    let mut answer = serde_json::to_string(&(&plan.answer, request.request_id.as_str()))?;
    if let Some((key, _)) = request.once.as_ref().filter(|_| !secrets.is_empty()) {
        answer = app.sealer().await?.seal(key, &answer)?;
    }
    let mut tx = app.db.begin().await?;
    if let Some((key, hash)) = &request.once {
        tx.execute(
            "DELETE FROM idempotency_keys WHERE operation = $1 AND key = $2 AND tenant_id = $3 AND created_on < $4",
            args![request.operation, key, tenant_id, since],
        )
        .await?;
        let ours = tx
            .execute(
                "INSERT INTO idempotency_keys (operation, key, tenant_id, request_hash, status, answer, created_on, key_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (operation, key, tenant_id) DO NOTHING",
                args![request.operation, key, tenant_id, hash, i64::from(plan.status.max(200)), &answer, app.clock.now(), request.caller.key_id()],
            )
            .await?;
        if ours == 0 {
            // Done at the same moment by another request.
            return Ok(None);
        }
    }
    // All records and keys are held before the first text is published, so that two plans never wait for each other.
    let mut is_stale = false;
    for record in &plan.relied_on {
        is_stale = is_stale || !records::lock_record(&mut tx, record, record.updated_on).await?;
    }
    for write in &plan.writes {
        is_stale = is_stale || !hold(&mut tx, write).await?;
    }
    if is_stale {
        return Ok(None);
    }
    // Embedding holds its job and then the counter of events; the first text published here holds that counter. So jobs that are replaced come before.
    for write in &plan.writes {
        let document = write.before.as_ref().and_then(|b| b.document_id.as_ref());
        if let Some(document_id) = document {
            index_log::lock_dataset(&mut tx, tenant_id, &write.kind.area.dataset_id(tenant_id))
                .await?;
            tx.execute(
                "UPDATE jobs SET cancel_requested = cancel_requested WHERE tenant_id = $1 AND id IN (SELECT job_id FROM kb_documents WHERE tenant_id = $1 AND id = $2)",
                args![tenant_id, document_id],
            )
            .await?;
        }
    }
    let key_id = request.caller.key_id();
    for (id, secret) in &secrets {
        deliveries::keep_secret(&mut tx, tenant_id, id, secret, key_id).await?;
    }
    for id in &plan.set_up {
        deliveries::set_by(&mut tx, tenant_id, id, key_id).await?;
    }
    for (write, ready) in plan.writes.iter().zip(&ready) {
        apply(app, &mut tx, request, write, ready.as_ref()).await?;
    }
    if let Some((dataset_id, document)) = &plan.document {
        documents::add_in(app, &mut tx, tenant_id, dataset_id, document).await?;
    }
    for endpoint_id in &plan.resumed {
        deliveries::resume(app, &mut tx, tenant_id, endpoint_id).await?;
    }
    for delivery in &plan.deliveries {
        deliveries::deliver_later(app, &mut tx, delivery).await?;
    }
    for task in &plan.jobs {
        let queued = jobs::EnqueueOptions {
            group: "",
            dedupe_key: None,
            max_attempts: app.config.job_attempts,
            run_at: None,
        };
        jobs::enqueue(&mut tx, &app.clock, tenant_id, task, queued).await?;
    }
    for (task, cron) in &plan.schedules {
        match cron {
            Some(cron) => schedules::set(&mut tx, &app.clock, tenant_id, task, cron).await?,
            None => schedules::clear(&mut tx, tenant_id, task).await?,
        }
    }
    for (event, data) in &plan.events {
        deliveries::tell(app, &mut tx, tenant_id, event, data).await?;
    }
    app.commit(tx).await?;
    Ok(Some(Answer {
        status: plan.status.max(200),
        data: plan.answer,
        replayed: None,
    }))
}

/// Holds a record and the keys that only it may have; `false` when somebody else was faster.
async fn hold(tx: &mut Tx, write: &Write) -> Result<bool> {
    let (kind, after) = (write.kind, &write.after);
    let mut old_keys = BTreeSet::new();
    if let Some(before) = &write.before {
        if !records::lock_record(tx, after, before.updated_on).await? {
            return Ok(false);
        }
        old_keys = store::keys(kind, &before.body()?);
    }
    let keys = store::keys(kind, &after.body()?);
    store::claim(tx, kind, after, &old_keys, &keys).await?;
    Ok(true)
}

/// Writes one record with its traces.
async fn apply(
    app: &App,
    tx: &mut Tx,
    request: &Request<'_>,
    write: &Write,
    ready: Option<&records::Ready>,
) -> Result<()> {
    let (kind, after) = (write.kind, &write.after);
    let now = after.body()?;
    let (mut old_facets, mut old_body) = (Facets::new(), Map::new());
    if let Some(before) = &write.before {
        old_body = before.body()?;
        old_facets = store::facets(kind, before, &old_body);
    }
    let record = if write.before.is_some() {
        records::update_in(app, tx, after.clone(), ready).await?
    } else {
        records::insert(app, tx, after.clone(), ready).await?
    };
    store::find_by(
        tx,
        kind,
        &record,
        &old_facets,
        &store::facets(kind, &record, &now),
    )
    .await?;
    let mut changes = Map::new();
    let names: BTreeSet<&String> = old_body.keys().chain(now.keys()).collect();
    for name in names {
        let (old, new) = (old_body.get(name), now.get(name));
        if old != new {
            changes.insert(name.clone(), json!([old, new]));
        }
    }
    let old_status = write.before.as_ref().and_then(|b| b.status.as_ref());
    if old_status != record.status.as_ref() {
        changes.insert("status".to_owned(), json!([old_status, record.status]));
    }
    let action = if write.before.is_some() {
        "update"
    } else {
        "create"
    };
    tx.execute(
        "INSERT INTO audit_events (id, tenant_id, entity_kind, entity_id, action, actor, operation, request_id, changes, created_on)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        args![
            app.clock.id(),
            &record.tenant_id,
            kind.name,
            &record.id,
            action,
            request.caller.key_id().map(str::to_owned),
            request.operation,
            &request.request_id,
            Value::Object(changes).to_string(),
            app.clock.now()
        ],
    )
    .await?;
    let event = deliveries::event_of(kind, action);
    deliveries::tell(app, tx, &record.tenant_id, &event, &view(kind, &record)?).await
}
