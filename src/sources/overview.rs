//! Everything that datasets are kept in step with, websites included, with the state of each: one list across the datasets of a tenant.

use super::Settings;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{args, words};
use crate::error::{Error, Result};
use crate::jobs::schedules;
use crate::page::{Listing, Page};

words! {
    /// State of a source by its last run.
    pub enum State {
        /// It has never run.
        Never = "never",
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

/// A source or a website.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    pub id: String,
    pub dataset_id: String,
    pub dataset_name: String,
    /// Name of a source, start of a website.
    pub name: String,
    /// JSON of the settings; `None` for a website.
    settings: Option<String>,
    /// `manual`, `weekly`, `monthly` or `cron`.
    pub schedule: String,
    /// Cron expression of the schedule; `None` for manual.
    pub cron: Option<String>,
    pub state: State,
    #[sqlx(flatten)]
    pub last: Run,
}

/// The last sync or crawl of an entry.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Run {
    /// `None` when there was none.
    pub run_id: Option<String>,
    /// Items or pages by what became of them.
    pub items_new: i64,
    pub items_changed: i64,
    pub items_unchanged: i64,
    pub items_skipped: i64,
    pub items_failed: i64,
    /// Documents removed because their items or pages are gone.
    pub items_removed: i64,
    /// Why it failed, in one sentence.
    pub error_message: Option<String>,
    pub started_on: Option<Time>,
    pub completed_on: Option<Time>,
}

impl Entry {
    /// Returns `website` or the kind of the source, and whether changes in its folder start a sync.
    ///
    /// # Errors
    /// When the row was written by a newer version.
    pub fn kind(&self) -> Result<(&'static str, bool)> {
        let Some(settings) = &self.settings else {
            return Ok(("website", false));
        };
        let settings: Settings = serde_json::from_str(settings)?;
        let is_watched = matches!(&settings, Settings::Folder(folder) if folder.watch);
        Ok((settings.kind(), is_watched))
    }

    /// Returns when its schedule starts the next run; `None` without a schedule.
    ///
    /// # Errors
    /// `cron_invalid`.
    pub fn next_run(&self, now: Time) -> Result<Option<Time>> {
        let next = self.cron.as_deref().map(|cron| schedules::next(cron, now));
        next.transpose()
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT * FROM (
                SELECT s.id, s.tenant_id, s.dataset_id, d.name AS dataset_name, s.name, s.settings, s.schedule, s.cron, COALESCE(r.status, 'never') AS state,
                    r.id AS run_id, COALESCE(r.items_new, 0) AS items_new, COALESCE(r.items_changed, 0) AS items_changed,
                    COALESCE(r.items_unchanged, 0) AS items_unchanged, COALESCE(r.items_skipped, 0) AS items_skipped,
                    COALESCE(r.items_failed, 0) AS items_failed, COALESCE(r.items_removed, 0) AS items_removed,
                    r.error_message, r.started_on, r.completed_on
                FROM kb_sources s JOIN kb_datasets d ON d.tenant_id = s.tenant_id AND d.id = s.dataset_id
                LEFT JOIN kb_syncs r ON r.tenant_id = s.tenant_id AND r.id = (SELECT MAX(id) FROM kb_syncs WHERE source_id = s.id)
                UNION ALL
                SELECT s.id, s.tenant_id, s.dataset_id, d.name, s.start_url, NULL, s.schedule, s.cron, COALESCE(r.status, 'never'),
                    r.id, COALESCE(r.pages_new, 0), COALESCE(r.pages_changed, 0), COALESCE(r.pages_unchanged, 0), COALESCE(r.pages_skipped, 0),
                    COALESCE(r.pages_failed, 0), COALESCE(r.pages_removed, 0), r.error_message, r.started_on, r.completed_on
                FROM kb_sites s JOIN kb_datasets d ON d.tenant_id = s.tenant_id AND d.id = s.dataset_id
                LEFT JOIN kb_crawls r ON r.tenant_id = s.tenant_id AND r.id =
                    (SELECT MAX(id) FROM kb_crawls WHERE site_id = s.id AND (status <> 'queued' OR scheduled_for IS NULL OR scheduled_for <= $4))
            ) AS entries WHERE tenant_id = $1 AND id > $2 AND (CAST($3 AS TEXT) IS NULL OR state = $3) ",
            $rest
        )
    };
}

/// Returns the sources and websites of the datasets that the caller may read, oldest first, optionally those of one state only.
///
/// # Errors
/// `scope_missing`, `state_unknown`.
pub async fn list(
    app: &App,
    caller: &Caller,
    state: Option<&str>,
    page: &Page,
) -> Result<Listing<Entry>> {
    caller.need(Scope::KbRead)?;
    let state = state.map(str::parse::<State>).transpose();
    let state = state.map_err(|_| {
        let known: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        Error::invalid(
            "state_unknown",
            format!("the state of a source is one of {}", known.join(", ")),
        )
    })?;
    let state = state.map(State::as_str);
    // A crawl that is to start later is no run yet.
    let now = app.clock.now();
    let rows: Vec<Entry> = match caller.datasets() {
        None => {
            app.db
                .all(
                    select!("ORDER BY id LIMIT $5"),
                    args![caller.tenant(), &page.after, state, now, page.fetch()],
                )
                .await?
        }
        Some(ids) => {
            let args = args![caller.tenant(), &page.after, state, now];
            let mut rows: Vec<Entry> = app
                .db
                .all_in(select!("AND dataset_id IN ($LIST)"), args, ids)
                .await?;
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            rows
        }
    };
    let mut listing = page.listing(rows, |entry| entry.id.clone());
    // A page may be shorter than requested, but nothing is left out.
    listing.items.retain(|entry| caller.sees(&entry.dataset_id));
    Ok(listing)
}
