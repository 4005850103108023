//! Execution of plans: one transaction for the records and all side effects, facets, unique keys, the audit, deliveries of webhooks, the text that search finds,
//! and the answer under an idempotency key. When another transaction changed one of the records meanwhile, the plan is made anew.

use std::collections::BTreeSet;
use std::future::Future;

use super::body::Body;
use super::facets::{self, Facets};
use super::plan::{Plan, STALE, Write, dataset_id, later};
use super::record::Record;
use super::request::{Answer, Request};
use super::search_text::{Ready, SearchText};
use super::{audit, deliveries, idempotency, store};
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, schedules};
use crate::kb::{documents, index_log};

/// Times that a plan is made anew because another transaction was faster.
const TRIES: usize = 20;

/// Makes a plan and executes it.
///
/// # Errors
/// `idempotency_key_reused`, `key_taken`, `record_busy`, and those of the plan.
pub async fn execute<F>(
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
            Err(error) if matches!(error.code(), "database_busy" | STALE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::conflict(
        "record_busy",
        "this record was changed concurrently; try again",
    ))
}

/// Makes a plan and tries to execute it; `None` when another transaction was faster.
async fn attempt<F>(
    app: &App,
    request: &Request<'_>,
    plan: &(impl Fn() -> F + Send),
) -> Result<Option<Answer>>
where
    F: Future<Output = Result<Plan>> + Send,
{
    let tenant_id = request.caller.tenant();
    if let Some(once) = &request.once
        && let Some(answer) = idempotency::earlier(app, request, once).await?
    {
        return Ok(Some(answer));
    }
    let plan = plan().await?;
    // Texts are stored before the transaction, which must not wait for the disk.
    let mut texts = Vec::with_capacity(plan.writes.len());
    for write in &plan.writes {
        let published = write.after.as_ref().filter(|_| write.publishes);
        texts.push(match published {
            Some(record) => Some(
                SearchText::of(write.kind, record)?
                    .store(app, tenant_id)
                    .await?,
            ),
            None => None,
        });
    }
    let mut tx = app.db.begin().await?;
    if let Some(once) = &request.once
        && !idempotency::claim(app, &mut tx, request, once).await?
    {
        // Done at the same moment by another request.
        return Ok(None);
    }
    // All records and keys are locked before the first text is published, so that two plans never wait for each other.
    let mut is_stale = false;
    for record in &plan.relies_on {
        is_stale = is_stale || !store::lock_record(&mut tx, record, record.updated_on).await?;
    }
    for write in &plan.writes {
        is_stale = is_stale || !lock(&mut tx, write).await?;
    }
    if is_stale {
        return Ok(None);
    }
    // Embedding locks its job and then the counter of events; the first text published here locks that counter. So jobs that are replaced come before.
    for write in &plan.writes {
        let document = write.before.as_ref().and_then(|b| b.document_id.as_ref());
        if let Some(document_id) = document.filter(|_| write.publishes || write.after.is_none()) {
            if let Some(record) = write.record() {
                let dataset_id = dataset_id(write.kind, record);
                index_log::lock_dataset(&mut tx, tenant_id, &dataset_id).await?;
            }
            tx.execute(
                "UPDATE jobs SET cancel_requested = cancel_requested WHERE tenant_id = $1 AND id IN (SELECT job_id FROM kb_documents WHERE tenant_id = $1 AND id = $2)",
                args![tenant_id, document_id],
            )
            .await?;
        }
    }
    let mut known = None;
    for effect in &plan.before {
        known = effect.apply(app, &mut tx).await?.or(known);
    }
    let mut written = Vec::with_capacity(plan.writes.len());
    for (write, text) in plan.writes.iter().zip(&texts) {
        written.push(apply(app, &mut tx, request, write, text.as_ref()).await?);
    }
    for (dataset_id, document) in &plan.documents {
        documents::add_in(app, &mut tx, tenant_id, dataset_id, document).await?;
    }
    for effect in &plan.after {
        known = effect.apply(app, &mut tx).await?.or(known);
    }
    for task in &plan.jobs {
        let options = jobs::EnqueueOptions {
            group: "",
            dedupe_key: None,
            max_attempts: app.config.job_attempts,
            run_at: None,
            small: false,
        };
        jobs::enqueue(&mut tx, &app.clock, tenant_id, task, options).await?;
    }
    for (task, cron) in &plan.schedules {
        match cron {
            Some(cron) => schedules::set(&mut tx, &app.clock, tenant_id, task, cron).await?,
            None => schedules::clear(&mut tx, tenant_id, task).await?,
        }
    }
    for (event, at) in &plan.events {
        if let (Some(write), Some(record)) = (plan.writes.get(*at), written.get(*at)) {
            let data = write.kind.to_json(record)?;
            deliveries::emit(app, &mut tx, tenant_id, (write.kind.area, event), &data).await?;
        }
    }
    for (kind, id, action, changes) in &plan.notes {
        audit::write(app, &mut tx, request, (kind, id), action, changes.clone()).await?;
    }
    let data = match known {
        Some(data) => data,
        None => plan.answer(&written)?,
    };
    if let Some(once) = &request.once {
        let answer = (plan.status, &data);
        idempotency::store(app, &mut tx, request, once, answer, plan.is_secret).await?;
    }
    app.commit(tx).await?;
    Ok(Some(Answer {
        status: plan.status,
        data,
        replayed: None,
    }))
}

/// Locks a record and the keys that only it may have; `false` when another transaction was faster.
async fn lock(tx: &mut Tx, write: &Write) -> Result<bool> {
    let mut old_keys = BTreeSet::new();
    if let Some(before) = &write.before {
        let locked = write.after.clone().unwrap_or_else(|| Record {
            updated_on: later(before.updated_on, before),
            ..before.clone()
        });
        if !store::lock_record(tx, &locked, before.updated_on).await? {
            return Ok(false);
        }
        old_keys = facets::keys(write.kind, &before.body()?);
    }
    let new_keys = match &write.after {
        Some(after) => facets::keys(write.kind, &after.body()?),
        None => BTreeSet::new(),
    };
    if let Some(record) = write.record() {
        facets::claim(tx, write.kind, record, &old_keys, &new_keys).await?;
    }
    Ok(true)
}

/// Writes one record with its side effects. Returns the record as it is now, or as it was before its deletion.
async fn apply(
    app: &App,
    tx: &mut Tx,
    request: &Request<'_>,
    write: &Write,
    text: Option<&Ready>,
) -> Result<Record> {
    let kind = write.kind;
    let (mut old_facets, mut old_body) = (Facets::new(), Body::new());
    if let Some(before) = &write.before {
        old_body = before.body()?;
        old_facets = facets::of(kind, before, &old_body);
    }
    let (mut facets_now, mut body) = (Facets::new(), Body::new());
    let record = match (&write.before, &write.after) {
        (before, Some(after)) => {
            let mut record = after.clone();
            if let Some(text) = text {
                let document = text.publish(app, tx, &record.tenant_id).await?;
                record.document_id = Some(document.id);
            }
            if before.is_some() {
                store::update(tx, &record).await?;
            } else if !store::insert(tx, &record).await? {
                return Err(Error::conflict(
                    STALE,
                    "another request created the record with this id",
                ));
            }
            body = record.body()?;
            facets_now = facets::of(kind, &record, &body);
            record
        }
        (Some(before), None) => {
            if let Some(document_id) = &before.document_id {
                documents::remove_in(app, tx, &before.tenant_id, document_id).await?;
            }
            store::delete(tx, before).await?;
            before.clone()
        }
        (None, None) => return Err(Error::internal("a write without a record")),
    };
    facets::update(tx, kind, &record, &old_facets, &facets_now).await?;
    let changes = audit::changes(
        write.before.as_ref(),
        &old_body,
        write.after.as_ref(),
        &body,
    );
    let entity = (kind, record.id.as_str());
    audit::write(app, tx, request, entity, write.action(), changes).await?;
    let event = format!("{}.{}d", kind.noun, write.action());
    let data = kind.to_json(&record)?;
    deliveries::emit(app, tx, &record.tenant_id, (kind.area, &event), &data).await?;
    Ok(record)
}
