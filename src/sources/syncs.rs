//! Syncs of sources: start, status, cancellation, and the outcome of every item.

use super::store::{self, Source};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args, words};
use crate::error::{Error, Result};
use crate::jobs::{self, EnqueueOptions, Task};
use crate::page::{Listing, Page};

words! {
    /// The status of a sync.
    pub enum SyncStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

words! {
    /// What became of an item in the last sync that saw it.
    pub enum Verdict {
        New = "new",
        Changed = "changed",
        Unchanged = "unchanged",
        /// It is of a kind that cannot be ingested.
        Skipped = "skipped",
        Failed = "failed",
    }
}

impl SyncStatus {
    /// Returns whether a sync with this status has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Numbers of items by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub new: i64,
    pub changed: i64,
    pub unchanged: i64,
    pub skipped: i64,
    pub failed: i64,
    pub removed: i64,
    pub bytes: i64,
}

impl Counts {
    pub(super) fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::New => &mut self.new,
            Verdict::Changed => &mut self.changed,
            Verdict::Unchanged => &mut self.unchanged,
            Verdict::Skipped => &mut self.skipped,
            Verdict::Failed => &mut self.failed,
        } += 1;
    }
}

/// One pass over a source.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Sync {
    pub id: String,
    pub tenant_id: String,
    pub dataset_id: String,
    pub source_id: String,
    /// The job that runs it.
    pub job_id: String,
    pub status: SyncStatus,
    pub items_new: i64,
    pub items_changed: i64,
    pub items_unchanged: i64,
    /// Items of a kind that cannot be ingested.
    pub items_skipped: i64,
    pub items_failed: i64,
    /// Documents removed because their items are gone.
    pub items_removed: i64,
    pub bytes_received: i64,
    /// Why the sync failed, in one sentence.
    pub error_message: Option<String>,
    pub started_on: Option<Time>,
    pub completed_on: Option<Time>,
    pub created_on: Time,
}

macro_rules! columns {
    () => {
        "id, tenant_id, dataset_id, source_id, job_id, status, items_new, items_changed, items_unchanged, items_skipped, items_failed, items_removed,
         bytes_received, error_message, started_on, completed_on, created_on"
    };
}

/// An item of a source and what became of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Item {
    pub item_key: String,
    pub version: String,
    pub document_id: Option<String>,
    pub verdict: Verdict,
    pub reason: Option<String>,
    /// The last sync that saw it.
    pub sync_id: String,
    /// When its version changed last.
    pub changed_on: Time,
}

/// Syncs of a source that are kept.
const KEPT: i64 = 100;

/// Starts a sync of a source.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`; `sync_running` when another sync of the source is not over.
pub async fn start(app: &App, caller: &Caller, dataset_id: &str, source_id: &str) -> Result<Sync> {
    caller.need_write(dataset_id)?;
    let source = store::get(app, caller, dataset_id, source_id).await?;
    let mut tx = app.db.begin().await?;
    let sync = start_in(app, &mut tx, &source).await?;
    app.commit(tx).await?;
    Ok(sync)
}

pub(super) async fn start_in(app: &App, tx: &mut Tx, source: &Source) -> Result<Sync> {
    let (id, now) = (app.clock.id(), app.clock.now());
    let (tenant_id, source_id) = (source.tenant_id.as_str(), source.id.as_str());
    // Serializes concurrent starts: both must not observe that no sync is running.
    let there = tx
        .execute(
            "UPDATE kb_sources SET updated_on = updated_on WHERE tenant_id = $1 AND id = $2",
            args![tenant_id, source_id],
        )
        .await?;
    if there == 0 {
        return Err(Error::not_found(
            "source_not_found",
            "source not found in this dataset",
        ));
    }
    let running: Option<(String,)> = tx
        .optional(
            "SELECT id FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2 AND status IN ('queued', 'running') LIMIT 1",
            args![tenant_id, source_id],
        )
        .await?;
    if let Some((running,)) = running {
        return Err(Error::conflict(
            "sync_running",
            format!(
                "the sync {running} of this source is still running; cancel it or wait for it to finish"
            ),
        ));
    }
    tx.execute(
        "DELETE FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2 AND id NOT IN
         (SELECT id FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2 ORDER BY id DESC LIMIT $3)",
        args![tenant_id, source_id, KEPT],
    )
    .await?;
    let task = Task::Sync {
        sync_id: id.clone(),
    };
    let options = EnqueueOptions {
        group: &source.dataset_id,
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: None,
        small: false,
    };
    let job_id = jobs::enqueue(tx, &app.clock, tenant_id, &task, options).await?;
    let row: Option<Sync> = tx
        .optional(
            concat!(
                "INSERT INTO kb_syncs (id, tenant_id, dataset_id, source_id, job_id, status, created_on) VALUES ($1, $2, $3, $4, $5, 'queued', $6) RETURNING ",
                columns!()
            ),
            args![&id, tenant_id, &source.dataset_id, source_id, &job_id, now],
        )
        .await?;
    row.ok_or_else(|| Error::internal("an insert returned no row"))
}

/// Returns a sync of a source that is visible to the caller.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`, `sync_not_found`.
pub async fn get(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    source_id: &str,
    id: &str,
) -> Result<Sync> {
    store::get(app, caller, dataset_id, source_id).await?;
    let found = load(app, caller.tenant(), id).await?;
    found
        .filter(|sync| sync.source_id == source_id)
        .ok_or_else(|| Error::not_found("sync_not_found", "sync not found for this source"))
}

/// Returns a sync by id alone, for jobs.
pub(super) async fn load(app: &App, tenant_id: &str, id: &str) -> Result<Option<Sync>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_syncs WHERE tenant_id = $1 AND id = $2"
            ),
            args![tenant_id, id],
        )
        .await
}

/// Returns the latest sync of a source that is visible to the caller.
///
/// # Errors
/// Those of the database.
pub async fn last(app: &App, source: &Source) -> Result<Option<Sync>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2 ORDER BY id DESC LIMIT 1"
            ),
            args![&source.tenant_id, &source.id],
        )
        .await
}

/// Returns the syncs of a source, oldest first.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    source_id: &str,
    page: &Page,
) -> Result<Listing<Sync>> {
    store::get(app, caller, dataset_id, source_id).await?;
    let rows: Vec<Sync> = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2 AND id > $3 ORDER BY id LIMIT $4"),
            args![caller.tenant(), source_id, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |sync| sync.id.clone()))
}

/// Returns the items of a source by key, optionally of one verdict only.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`.
pub async fn items(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    source_id: &str,
    verdict: Option<&str>,
    page: &Page,
) -> Result<Listing<Item>> {
    caller.need(Scope::KbRead)?;
    store::get(app, caller, dataset_id, source_id).await?;
    let rows: Vec<Item> = app
        .db
        .all(
            "SELECT item_key, version, document_id, verdict, reason, sync_id, changed_on FROM kb_source_items
             WHERE tenant_id = $1 AND source_id = $2 AND (CAST($3 AS TEXT) IS NULL OR verdict = $3) AND item_key > $4 ORDER BY item_key LIMIT $5",
            args![caller.tenant(), source_id, verdict, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |item| item.item_key.clone()))
}

/// Cancels a sync; a running one stops within two seconds. What was ingested stays.
///
/// # Errors
/// Those of [`get`]; `job_finished`.
pub async fn cancel(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    source_id: &str,
    id: &str,
) -> Result<Sync> {
    caller.need_write(dataset_id)?;
    let sync = get(app, caller, dataset_id, source_id, id).await?;
    jobs::cancel(&app.db, &app.clock, caller.tenant(), &sync.job_id).await?;
    if sync.status == SyncStatus::Queued {
        // A queued job may only observe the cancellation when it is next leased.
        move_to(
            app,
            &sync,
            SyncStatus::Cancelled,
            Some("the sync was cancelled"),
        )
        .await?;
    }
    jobs::wake(&app.commits);
    get(app, caller, dataset_id, source_id, id).await
}

/// Sets the status of a sync; a finished one is left unchanged.
pub(super) async fn move_to(
    app: &App,
    sync: &Sync,
    status: SyncStatus,
    error: Option<&str>,
) -> Result<()> {
    let now = app.clock.now();
    app.db
        .execute(
            "UPDATE kb_syncs SET status = $1, error_message = $2, started_on = COALESCE(started_on, $3),
             completed_on = CASE WHEN $4 = TRUE THEN $3 ELSE NULL END WHERE tenant_id = $5 AND id = $6 AND status IN ('queued', 'running')",
            args![status, error, now, status.is_over(), &sync.tenant_id, &sync.id],
        )
        .await?;
    Ok(())
}

/// Requeues a sync whose job is retried; it starts over.
///
/// # Errors
/// `sync_running` when another sync of the source has started in the meantime.
pub(crate) async fn requeue(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    let changed = tx
        .execute(
            "UPDATE kb_syncs SET status = 'queued', error_message = NULL, completed_on = NULL WHERE tenant_id = $1 AND id = $2 AND NOT EXISTS
             (SELECT 1 FROM kb_syncs o WHERE o.source_id = kb_syncs.source_id AND o.id <> kb_syncs.id AND o.status IN ('queued', 'running'))",
            args![tenant_id, id],
        )
        .await?;
    if changed > 0 {
        Ok(())
    } else {
        Err(Error::conflict(
            "sync_running",
            "another sync of this source is still running",
        ))
    }
}

/// Stores the counts of a sync.
pub(super) async fn count(app: &App, sync: &Sync, counts: &Counts) -> Result<()> {
    app.db
        .execute(
            "UPDATE kb_syncs SET items_new = $1, items_changed = $2, items_unchanged = $3, items_skipped = $4, items_failed = $5, items_removed = $6,
             bytes_received = $7 WHERE tenant_id = $8 AND id = $9",
            args![counts.new, counts.changed, counts.unchanged, counts.skipped, counts.failed, counts.removed, counts.bytes, &sync.tenant_id, &sync.id],
        )
        .await?;
    Ok(())
}

/// Cancels what is running of a source.
pub(super) async fn stop(tx: &mut Tx, tenant_id: &str, source_id: &str) -> Result<()> {
    let running: Vec<(String,)> = tx
        .all(
            "SELECT job_id FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2 AND status IN ('queued', 'running')",
            args![tenant_id, source_id],
        )
        .await?;
    for (job_id,) in running {
        jobs::request_cancel(tx, tenant_id, &job_id).await?;
    }
    Ok(())
}

/// Removes the syncs and items of a source, and cancels what is running.
pub(super) async fn forget(tx: &mut Tx, tenant_id: &str, source_id: &str) -> Result<()> {
    stop(tx, tenant_id, source_id).await?;
    for statement in [
        "DELETE FROM kb_syncs WHERE tenant_id = $1 AND source_id = $2",
        "DELETE FROM kb_source_items WHERE tenant_id = $1 AND source_id = $2",
    ] {
        tx.execute(statement, args![tenant_id, source_id]).await?;
    }
    Ok(())
}
