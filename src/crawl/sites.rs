//! Sites: the websites that feed a dataset, with their settings and schedules.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::crawl::{Schedule, Settings};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, Task, schedules};
use crate::kb::{datasets, documents};
use crate::page::{Listing, Page};

/// A site of a dataset.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Site {
    pub id: String,
    pub tenant_id: String,
    /// The dataset that receives the pages.
    pub dataset_id: String,
    /// Start of its crawls; unique in the dataset.
    pub start_url: String,
    /// JSON of the [`Settings`].
    pub settings: String,
    /// `manual`, `weekly`, `monthly` or `cron`.
    pub schedule: String,
    /// Cron expression of the schedule; `None` for manual.
    pub cron: Option<String>,
    pub created_on: Time,
    pub updated_on: Time,
}

macro_rules! columns {
    () => {
        "id, tenant_id, dataset_id, start_url, settings, schedule, cron, created_on, updated_on"
    };
}

impl Site {
    /// Returns the settings of the site's crawls.
    ///
    /// # Errors
    /// When the row was written by a newer version.
    pub fn settings(&self) -> Result<Settings> {
        Ok(serde_json::from_str(&self.settings)?)
    }

    fn task(&self) -> Task {
        Task::Recrawl {
            site_id: self.id.clone(),
        }
    }
}

/// Adds a site to a dataset, or replaces the settings of the site with the same start.
///
/// # Errors
/// `dataset_not_found`; those of [`Settings::checked`]; `address_refused`.
pub async fn put(app: &App, caller: &Caller, dataset_id: &str, settings: Settings) -> Result<Site> {
    let mut tx = app.db.begin().await?;
    let site = put_in(app, &mut tx, caller, dataset_id, settings).await?;
    tx.commit().await?;
    Ok(site)
}

pub(super) async fn put_in(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    dataset_id: &str,
    settings: Settings,
) -> Result<Site> {
    caller.need_write(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    let now = app.clock.now();
    let settings = settings.checked(now)?;
    // Reports a refused address immediately instead of through an empty crawl.
    app.outgoing.check(&settings.start()?)?;
    if settings.render && app.config.render_url.is_empty() {
        return Err(Error::unprocessable(
            "render_not_configured",
            "no rendering endpoint is configured (render_url); crawl without render",
        ));
    }
    let row: Option<Site> = tx
        .optional(
            concat!(
                "INSERT INTO kb_sites (id, tenant_id, dataset_id, start_url, settings, schedule, cron, created_on, updated_on)
                 VALUES ($1, $2, $3, $4, $5, 'manual', NULL, $6, $6)
                 ON CONFLICT (dataset_id, start_url) DO UPDATE SET settings = excluded.settings, updated_on = excluded.updated_on RETURNING ",
                columns!()
            ),
            args![app.clock.id(), caller.tenant(), dataset_id, &settings.start_url, serde_json::to_string(&settings)?, now],
        )
        .await?;
    row.ok_or_else(|| Error::internal("an insert returned no row"))
}

/// Returns a site of a dataset that is visible to the caller.
///
/// # Errors
/// `dataset_not_found`, `site_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Site> {
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sites WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3"
            ),
            args![caller.tenant(), dataset_id, id],
        )
        .await?
        .ok_or_else(|| Error::not_found("site_not_found", "site not found in this dataset"))
}

/// Returns a site by id alone, for jobs.
pub(crate) async fn load(app: &App, tenant_id: &str, id: &str) -> Result<Option<Site>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sites WHERE tenant_id = $1 AND id = $2"
            ),
            args![tenant_id, id],
        )
        .await
}

/// Returns the sites of a dataset, oldest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    page: &Page,
) -> Result<Listing<Site>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let rows: Vec<Site> = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM kb_sites WHERE tenant_id = $1 AND dataset_id = $2 AND id > $3 ORDER BY id LIMIT $4"),
            args![caller.tenant(), dataset_id, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |s| s.id.clone()))
}

/// Returns the site of a dataset that was created, changed or crawled last; `None` when there is none.
///
/// # Errors
/// `dataset_not_found`.
pub async fn latest(app: &App, caller: &Caller, dataset_id: &str) -> Result<Option<Site>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .optional(
            concat!("SELECT ", columns!(), " FROM kb_sites WHERE tenant_id = $1 AND dataset_id = $2 ORDER BY updated_on DESC, id DESC LIMIT 1"),
            args![caller.tenant(), dataset_id],
        )
        .await
}

/// Returns the site of a dataset with a start address, compared in normalized form.
///
/// # Errors
/// `dataset_not_found`.
pub async fn with_start(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    start_url: &str,
) -> Result<Option<Site>> {
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sites WHERE tenant_id = $1 AND dataset_id = $2 AND start_url = $3"
            ),
            args![caller.tenant(), dataset_id, start_url],
        )
        .await
}

/// Sets or clears the schedule of a site.
///
/// # Errors
/// `dataset_not_found`, `site_not_found`, `cron_invalid`.
pub async fn schedule(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    schedule: &Schedule,
) -> Result<Site> {
    caller.need_edit(dataset_id)?;
    let site = get(app, caller, dataset_id, id).await?;
    let cron = schedule.cron(app.clock.now());
    let mut tx = app.db.begin().await?;
    match &cron {
        Some(cron) => {
            schedules::set(&mut tx, &app.clock, caller.tenant(), &site.task(), cron).await?
        }
        None => schedules::clear(&mut tx, caller.tenant(), &site.task()).await?,
    }
    tx.execute(
        "UPDATE kb_sites SET schedule = $1, cron = $2, updated_on = $3 WHERE tenant_id = $4 AND id = $5",
        args![schedule.name(), cron, app.clock.now(), caller.tenant(), id],
    )
    .await?;
    tx.commit().await?;
    get(app, caller, dataset_id, id).await
}

/// Removes a site with its schedule and crawls and, with `documents`, the pages that came from it and from no other site. Returns the number of documents
/// removed.
///
/// # Errors
/// `dataset_not_found`, `site_not_found`.
pub async fn delete(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    documents: bool,
) -> Result<usize> {
    caller.need_edit(dataset_id)?;
    let site = get(app, caller, dataset_id, id).await?;
    let pages: Vec<(String,)> = if documents {
        app.db
            .all(
                "SELECT DISTINCT p.document_id FROM kb_site_pages p WHERE p.tenant_id = $1 AND p.site_id = $2 AND p.document_id IS NOT NULL AND NOT EXISTS
                 (SELECT 1 FROM kb_site_pages o WHERE o.document_id = p.document_id AND o.site_id <> p.site_id AND o.tenant_id = $1 AND o.gone_since IS NULL)",
                args![caller.tenant(), id],
            )
            .await?
    } else {
        Vec::new()
    };
    let mut tx = app.db.begin().await?;
    forget(&mut tx, &site).await?;
    app.commit(tx).await?;
    let mut removed = 0;
    for (document_id,) in pages {
        match documents::delete(app, caller, dataset_id, &document_id).await {
            Ok(_) => removed += 1,
            // Deleted concurrently.
            Err(error) if error.code() == "document_not_found" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

async fn forget(tx: &mut Tx, site: &Site) -> Result<()> {
    let tenant_id = site.tenant_id.as_str();
    schedules::clear(tx, tenant_id, &site.task()).await?;
    let crawls: Vec<(String,)> = tx
        .all(
            "SELECT job_id FROM kb_crawls WHERE tenant_id = $1 AND site_id = $2",
            args![tenant_id, &site.id],
        )
        .await?;
    for (job_id,) in crawls {
        jobs::request_cancel(tx, tenant_id, &job_id).await?;
    }
    for statement in [
        "DELETE FROM kb_crawl_urls WHERE tenant_id = $1 AND crawl_id IN (SELECT id FROM kb_crawls WHERE tenant_id = $1 AND site_id = $2)",
        "DELETE FROM kb_crawls WHERE tenant_id = $1 AND site_id = $2",
        "DELETE FROM kb_site_pages WHERE tenant_id = $1 AND site_id = $2",
        "DELETE FROM kb_sites WHERE tenant_id = $1 AND id = $2",
    ] {
        tx.execute(statement, args![tenant_id, &site.id]).await?;
    }
    Ok(())
}

/// Removes every site of a dataset that is about to be deleted.
///
/// # Errors
/// Those of the database.
pub async fn forget_all(tx: &mut Tx, tenant_id: &str, dataset_id: &str) -> Result<()> {
    let sites: Vec<Site> = tx
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sites WHERE tenant_id = $1 AND dataset_id = $2"
            ),
            args![tenant_id, dataset_id],
        )
        .await?;
    for site in sites {
        forget(tx, &site).await?;
    }
    Ok(())
}
