//! Crawls of sites: start, status, cancellation, and the report of every address.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::crawl::{Seen, Settings, Site, ledger, sites};
use crate::db::{Tx, args, words};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::jobs::{self, EnqueueOptions, Task};
use crate::kb::datasets;
use crate::page::{Listing, Page};

words! {
    /// The status of a crawl.
    pub enum CrawlStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl CrawlStatus {
    /// Returns whether a crawl with this status has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// One crawl of a site.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Crawl {
    pub id: String,
    pub tenant_id: String,
    /// The dataset that receives the pages.
    pub dataset_id: String,
    pub site_id: String,
    /// The job that runs it.
    pub job_id: String,
    pub status: CrawlStatus,
    /// JSON of the [`Settings`] in force when the crawl was started.
    pub settings: String,
    /// When it is to start; `None` for immediately.
    pub scheduled_for: Option<Time>,
    /// Pages that were fetched successfully, or that the sitemap reports as unchanged.
    pub pages_crawled: i64,
    /// Pages that are searchable afterwards: new, changed and unchanged ones.
    pub pages_indexed: i64,
    /// Indexed pages that are new.
    pub pages_new: i64,
    /// Indexed pages whose text has changed.
    pub pages_changed: i64,
    /// Indexed pages whose text is the same.
    pub pages_unchanged: i64,
    /// Addresses that were skipped, each with its reason in the report.
    pub pages_skipped: i64,
    /// Addresses that failed, each with its reason in the report.
    pub pages_failed: i64,
    /// Documents removed because their pages are gone.
    pub pages_removed: i64,
    pub requests: i64,
    /// Decompressed bytes of all response bodies.
    pub bytes_received: i64,
    /// Why nothing was indexed, in one sentence.
    pub error_message: Option<String>,
    pub started_on: Option<Time>,
    pub completed_on: Option<Time>,
    pub created_on: Time,
}

macro_rules! columns {
    () => {
        "id, tenant_id, dataset_id, site_id, job_id, status, settings, scheduled_for, pages_crawled, pages_indexed, pages_new, pages_changed, pages_unchanged,
         pages_skipped, pages_failed, pages_removed, requests, bytes_received, error_message, started_on, completed_on, created_on"
    };
}

impl Crawl {
    /// Returns the settings of the crawl.
    ///
    /// # Errors
    /// When the row was written by a newer version.
    pub fn settings(&self) -> Result<Settings> {
        Ok(serde_json::from_str(&self.settings)?)
    }

    /// Returns whether the crawl has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status.is_over()
    }

    /// Returns the event that reports the current state.
    #[must_use]
    pub fn changed(&self) -> Event {
        Event::CrawlChanged {
            dataset_id: self.dataset_id.clone(),
            crawl_id: self.id.clone(),
            status: self.status.to_string(),
            pages_crawled: self.pages_crawled,
            pages_indexed: self.pages_indexed,
            pages_skipped: self.pages_skipped,
            pages_failed: self.pages_failed,
            error_message: self.error_message.clone(),
        }
    }
}

/// Starts a crawl of a site, immediately or at the given time.
///
/// # Errors
/// `dataset_not_found`, `site_not_found`; `crawl_running` when another crawl of the site is not over.
pub async fn start(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    site_id: &str,
    at: Option<Time>,
) -> Result<Crawl> {
    caller.need_edit(dataset_id)?;
    let site = sites::get(app, caller, dataset_id, site_id).await?;
    let mut tx = app.db.begin().await?;
    let crawl = start_in(app, &mut tx, &site, at).await?;
    app.commit(tx).await?;
    Ok(crawl)
}

/// Starts a crawl with new settings; creates the site when it does not exist.
///
/// # Errors
/// Those of [`sites::put`] and [`start`].
pub async fn start_with(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    settings: Settings,
    at: Option<Time>,
) -> Result<Crawl> {
    let mut tx = app.db.begin().await?;
    // A rejected start must not change the settings.
    let site = sites::put_in(app, &mut tx, caller, dataset_id, settings).await?;
    let crawl = start_in(app, &mut tx, &site, at).await?;
    app.commit(tx).await?;
    Ok(crawl)
}

pub(super) async fn start_in(
    app: &App,
    tx: &mut Tx,
    site: &Site,
    at: Option<Time>,
) -> Result<Crawl> {
    let (id, now) = (app.clock.id(), app.clock.now());
    // Serializes concurrent starts: both must not observe that no crawl is running.
    let there = tx
        .execute(
            "UPDATE kb_sites SET updated_on = $1 WHERE tenant_id = $2 AND id = $3",
            args![now, &site.tenant_id, &site.id],
        )
        .await?;
    if there == 0 {
        return Err(Error::not_found(
            "site_not_found",
            "site not found in this dataset",
        ));
    }
    let running: Option<(String,)> = tx
        .optional(
            "SELECT id FROM kb_crawls WHERE tenant_id = $1 AND site_id = $2 AND status IN ('queued', 'running') LIMIT 1",
            args![&site.tenant_id, &site.id],
        )
        .await?;
    if let Some((running,)) = running {
        return Err(Error::conflict(
            "crawl_running",
            format!(
                "the crawl {running} of this site is still running; cancel it or wait for it to finish"
            ),
        ));
    }
    let job_id = jobs::enqueue(
        tx,
        &app.clock,
        &site.tenant_id,
        &Task::Crawl {
            crawl_id: id.clone(),
        },
        EnqueueOptions {
            group: &site.dataset_id,
            dedupe_key: None,
            max_attempts: app.config.job_attempts,
            run_at: at,
            small: false,
        },
    )
    .await?;
    let row: Option<Crawl> = tx
        .optional(
            concat!(
                "INSERT INTO kb_crawls (id, tenant_id, dataset_id, site_id, job_id, status, settings, scheduled_for, created_on)
                 VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $8) RETURNING ",
                columns!()
            ),
            args![&id, &site.tenant_id, &site.dataset_id, &site.id, &job_id, &site.settings, at, now],
        )
        .await?;
    let crawl = row.ok_or_else(|| Error::internal("an insert returned no row"))?;
    events::append(tx, &app.clock, &site.tenant_id, &crawl.changed()).await?;
    Ok(crawl)
}

/// Returns a crawl of a dataset that is visible to the caller.
///
/// # Errors
/// `dataset_not_found`, `crawl_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Crawl> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_crawls WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3"
            ),
            args![caller.tenant(), dataset_id, id],
        )
        .await?
        .ok_or_else(|| Error::not_found("crawl_not_found", "crawl not found in this dataset"))
}

/// Returns a crawl by id alone, for jobs.
pub(super) async fn load(app: &App, tenant_id: &str, id: &str) -> Result<Option<Crawl>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_crawls WHERE tenant_id = $1 AND id = $2"
            ),
            args![tenant_id, id],
        )
        .await
}

/// Returns the latest crawl of a site.
pub async fn last(app: &App, site: &Site) -> Result<Option<Crawl>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_crawls WHERE tenant_id = $1 AND site_id = $2 ORDER BY id DESC LIMIT 1"
            ),
            args![&site.tenant_id, &site.id],
        )
        .await
}

/// Returns the crawls of a dataset, oldest first, of one site or of all.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    site_id: Option<&str>,
    page: &Page,
) -> Result<Listing<Crawl>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let rows: Vec<Crawl> = app
        .db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_crawls WHERE tenant_id = $1 AND dataset_id = $2 AND (CAST($3 AS TEXT) IS NULL OR site_id = $3) AND id > $4 ORDER BY id LIMIT $5"
            ),
            args![caller.tenant(), dataset_id, site_id, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |c| c.id.clone()))
}

/// Returns the outcome of every address of a crawl in the order of discovery, optionally of one verdict only.
///
/// # Errors
/// `dataset_not_found`, `crawl_not_found`, `cursor_invalid`.
pub async fn pages(
    app: &App,
    caller: &Caller,
    crawl: &Crawl,
    verdict: Option<&str>,
    page: &Page,
) -> Result<Listing<Seen>> {
    caller.need(Scope::KbRead)?;
    let after: i64 = if page.after.is_empty() {
        0
    } else {
        page.after.parse().map_err(|_| {
            Error::invalid("cursor_invalid", "the cursor was not returned by this list")
        })?
    };
    let rows = ledger::report(app, &crawl.id, verdict, after, page.fetch()).await?;
    Ok(page.listing(rows, |row| row.seq.to_string()))
}

/// Cancels a crawl; a running one stops within two seconds. Pages indexed so far stay.
///
/// # Errors
/// `dataset_not_found`, `crawl_not_found`, `job_finished`.
pub async fn cancel(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Crawl> {
    caller.need_edit(dataset_id)?;
    let crawl = get(app, caller, dataset_id, id).await?;
    jobs::cancel(&app.db, &app.clock, caller.tenant(), &crawl.job_id).await?;
    if crawl.status == CrawlStatus::Queued {
        // A queued job may only observe the cancellation when it is next leased.
        let message = Some("the crawl was cancelled");
        move_to(app, caller.tenant(), id, CrawlStatus::Cancelled, message).await?;
    }
    jobs::wake(&app.commits);
    get(app, caller, dataset_id, id).await
}

/// Sets the status of a crawl and appends the event. A finished crawl is left unchanged.
pub(super) async fn move_to(
    app: &App,
    tenant_id: &str,
    id: &str,
    status: CrawlStatus,
    error: Option<&str>,
) -> Result<Option<Crawl>> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let row: Option<Crawl> = tx
        .optional(
            concat!(
                "UPDATE kb_crawls SET status = $1, error_message = $2, started_on = COALESCE(started_on, $3),
                 completed_on = CASE WHEN $4 = TRUE THEN $3 ELSE NULL END WHERE tenant_id = $5 AND id = $6 AND status IN ('queued', 'running') RETURNING ",
                columns!()
            ),
            args![status, error, now, status.is_over(), tenant_id, id],
        )
        .await?;
    if let Some(crawl) = &row {
        events::append(&mut tx, &app.clock, tenant_id, &crawl.changed()).await?;
    }
    app.commit(tx).await?;
    Ok(row)
}

/// Requeues a crawl whose job is retried; it resumes from its rows.
///
/// # Errors
/// `crawl_running` when another crawl of the site has started in the meantime.
pub(crate) async fn requeue(tx: &mut Tx, tenant_id: &str, id: &str) -> Result<()> {
    let changed = tx
        .execute(
            "UPDATE kb_crawls SET status = 'queued', error_message = NULL, completed_on = NULL WHERE tenant_id = $1 AND id = $2 AND NOT EXISTS
             (SELECT 1 FROM kb_crawls o WHERE o.site_id = kb_crawls.site_id AND o.id <> kb_crawls.id AND o.status IN ('queued', 'running'))",
            args![tenant_id, id],
        )
        .await?;
    if changed > 0 {
        Ok(())
    } else {
        Err(Error::conflict(
            "crawl_running",
            "another crawl of this site is still running",
        ))
    }
}

/// Deletes the reports of crawls that ended before a time and returns the number of rows; the crawls themselves stay.
pub async fn prune(app: &App, before: Time) -> Result<u64> {
    app.db
        .execute(
            "DELETE FROM kb_crawl_urls WHERE crawl_id IN (SELECT id FROM kb_crawls WHERE completed_on < $1)",
            args![before],
        )
        .await
}
