//! Rows of sources, with their secrets and schedules.

use super::settings::Settings;
use super::syncs;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::crawl::{Schedule, sites};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{Task, schedules};
use crate::kb::{datasets, documents};
use crate::page::{Listing, Page};

/// A source of a dataset.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Source {
    pub id: String,
    pub tenant_id: String,
    /// The dataset that receives its items.
    pub dataset_id: String,
    /// Unique in the dataset.
    pub name: String,
    /// JSON of the [`Settings`].
    pub settings: String,
    /// The sealed secret, such as that of an access key.
    pub secret: Option<String>,
    /// `manual`, `weekly`, `monthly` or `cron`.
    pub schedule: String,
    /// Cron expression of the schedule; `None` for manual.
    pub cron: Option<String>,
    pub created_on: Time,
    pub updated_on: Time,
}

macro_rules! columns {
    () => {
        "id, tenant_id, dataset_id, name, settings, secret, schedule, cron, created_on, updated_on"
    };
}

impl Source {
    /// Returns what the source is.
    ///
    /// # Errors
    /// When the row was written by a newer version.
    pub fn settings(&self) -> Result<Settings> {
        Ok(serde_json::from_str(&self.settings)?)
    }

    pub(super) fn task(&self) -> Task {
        Task::Resync {
            source_id: self.id.clone(),
        }
    }

    /// Returns the secret in the clear.
    pub(super) async fn open_secret(&self, app: &App) -> Result<Option<String>> {
        match &self.secret {
            Some(sealed) => {
                let opened = app
                    .sealer()
                    .await?
                    .open_sealed(&purpose(&self.id), sealed)?;
                Ok(Some(opened))
            }
            None => Ok(None),
        }
    }
}

/// Returns the purpose under which the secret of a source is sealed.
fn purpose(id: &str) -> String {
    format!("source:{id}")
}

/// A source to save.
#[derive(Debug)]
pub struct NewSource {
    pub name: String,
    pub settings: Settings,
    /// Secret of the access key; `None` keeps the one that is stored.
    pub secret: Option<String>,
}

/// Maximum characters of a name.
const NAME: usize = 200;

/// Adds a source to a dataset, or replaces the settings of the one with the same name.
///
/// # Errors
/// `dataset_not_found`, `name_invalid`, those of [`Settings::check`]; `secret_missing` when other settings are given without the secret, which must not be sent elsewhere.
pub async fn put(app: &App, caller: &Caller, dataset_id: &str, new: NewSource) -> Result<Source> {
    caller.need_write(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > NAME {
        return Err(Error::invalid(
            "name_invalid",
            format!("a source must have a name of at most {NAME} characters"),
        ));
    }
    new.settings.check(app)?;
    let there = by_name(app, caller.tenant(), dataset_id, name).await?;
    let id = there
        .as_ref()
        .map_or_else(|| app.clock.id(), |source| source.id.clone());
    let secret = match (&new.secret, there.as_ref()) {
        (Some(secret), _) => Some(app.sealer().await?.seal(&purpose(&id), secret)?),
        (None, Some(there)) if there.secret.is_some() && there.settings()? != new.settings => {
            return Err(Error::invalid(
                "secret_missing",
                "send the secret again with new settings: it may not be used elsewhere than where it was meant for",
            ));
        }
        (None, there) => there.and_then(|source| source.secret.clone()),
    };
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let row: Option<Source> = tx
        .optional(
            concat!(
                "INSERT INTO kb_sources (id, tenant_id, dataset_id, name, settings, secret, schedule, cron, created_on, updated_on)
                 VALUES ($1, $2, $3, $4, $5, $6, 'manual', NULL, $7, $7)
                 ON CONFLICT (dataset_id, name) DO UPDATE SET settings = excluded.settings, secret = excluded.secret, updated_on = excluded.updated_on RETURNING ",
                columns!()
            ),
            args![&id, caller.tenant(), dataset_id, name, serde_json::to_string(&new.settings)?, secret, now],
        )
        .await?;
    tx.commit().await?;
    row.ok_or_else(|| Error::internal("an insert returned no row"))
}

async fn by_name(
    app: &App,
    tenant_id: &str,
    dataset_id: &str,
    name: &str,
) -> Result<Option<Source>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sources WHERE tenant_id = $1 AND dataset_id = $2 AND name = $3"
            ),
            args![tenant_id, dataset_id, name],
        )
        .await
}

/// Returns a source of a dataset that is visible to the caller.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Source> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sources WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3"
            ),
            args![caller.tenant(), dataset_id, id],
        )
        .await?
        .ok_or_else(|| Error::not_found("source_not_found", "source not found in this dataset"))
}

/// Returns a source by id alone, for jobs.
pub(super) async fn load(app: &App, tenant_id: &str, id: &str) -> Result<Option<Source>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sources WHERE tenant_id = $1 AND id = $2"
            ),
            args![tenant_id, id],
        )
        .await
}

/// Returns the sources of a dataset, oldest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    page: &Page,
) -> Result<Listing<Source>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let rows: Vec<Source> = app
        .db
        .all(
            concat!("SELECT ", columns!(), " FROM kb_sources WHERE tenant_id = $1 AND dataset_id = $2 AND id > $3 ORDER BY id LIMIT $4"),
            args![caller.tenant(), dataset_id, &page.after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |source| source.id.clone()))
}

/// Returns the sources of all tenants, for the process that watches their folders.
pub(super) async fn all(app: &App) -> Result<Vec<Source>> {
    app.db
        .all(
            concat!("SELECT ", columns!(), " FROM kb_sources ORDER BY id"),
            args![],
        )
        .await
}

/// Sets or clears the schedule of a source.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`, `cron_invalid`.
pub async fn schedule(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    schedule: &Schedule,
) -> Result<Source> {
    caller.need_write(dataset_id)?;
    let source = get(app, caller, dataset_id, id).await?;
    let cron = schedule.cron(app.clock.now());
    let mut tx = app.db.begin().await?;
    match &cron {
        Some(cron) => {
            schedules::set(&mut tx, &app.clock, caller.tenant(), &source.task(), cron).await?;
        }
        None => schedules::clear(&mut tx, caller.tenant(), &source.task()).await?,
    }
    tx.execute(
        "UPDATE kb_sources SET schedule = $1, cron = $2, updated_on = $3 WHERE tenant_id = $4 AND id = $5",
        args![schedule.name(), cron, app.clock.now(), caller.tenant(), id],
    )
    .await?;
    tx.commit().await?;
    get(app, caller, dataset_id, id).await
}

/// Removes a source with its schedule and syncs and, with `with_documents`, what came from it. Returns the number of documents removed.
///
/// # Errors
/// `dataset_not_found`, `source_not_found`.
pub async fn delete(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    with_documents: bool,
) -> Result<usize> {
    caller.need_write(dataset_id)?;
    let source = get(app, caller, dataset_id, id).await?;
    let mut tx = app.db.begin().await?;
    syncs::stop(&mut tx, caller.tenant(), id).await?;
    tx.commit().await?;
    let removed = if with_documents {
        delete_documents(app, caller, &source).await?
    } else {
        0
    };
    let mut tx = app.db.begin().await?;
    forget(&mut tx, &source).await?;
    app.commit(tx).await?;
    Ok(removed)
}

/// Deletes the documents of a source; returns their number. They go before what is known of them, so that a removal that breaks off can be repeated.
async fn delete_documents(app: &App, caller: &Caller, source: &Source) -> Result<usize> {
    let mut removed = 0;
    loop {
        let items: Vec<(String, Option<String>)> = app
            .db
            .all(
                "SELECT item_key, document_id FROM kb_source_items WHERE tenant_id = $1 AND source_id = $2 ORDER BY item_key LIMIT 500",
                args![caller.tenant(), &source.id],
            )
            .await?;
        if items.is_empty() {
            return Ok(removed);
        }
        for (key, document_id) in items {
            let is_removed = remove_item(app, caller, source, &key, document_id.as_deref()).await?;
            removed += usize::from(is_removed);
        }
    }
}

/// Removes an item of a source after its document; returns whether the document was still there.
pub(super) async fn remove_item(
    app: &App,
    caller: &Caller,
    source: &Source,
    key: &str,
    document_id: Option<&str>,
) -> Result<bool> {
    let mut is_removed = false;
    if let Some(id) = document_id {
        match documents::delete(app, caller, &source.dataset_id, id).await {
            Ok(_) => is_removed = true,
            // Somebody has deleted it.
            Err(error) if error.code() == "document_not_found" => {}
            Err(error) => return Err(error),
        }
    }
    app.db
        .execute(
            "DELETE FROM kb_source_items WHERE tenant_id = $1 AND source_id = $2 AND item_key = $3",
            args![caller.tenant(), &source.id, key],
        )
        .await?;
    Ok(is_removed)
}

async fn forget(tx: &mut Tx, source: &Source) -> Result<()> {
    let tenant_id = source.tenant_id.as_str();
    schedules::clear(tx, tenant_id, &source.task()).await?;
    syncs::forget(tx, tenant_id, &source.id).await?;
    tx.execute(
        "DELETE FROM kb_sources WHERE tenant_id = $1 AND id = $2",
        args![tenant_id, &source.id],
    )
    .await?;
    Ok(())
}

/// Deletes a dataset with its documents, chunks, websites and sources. Searches exclude it immediately; the indexes drop it asynchronously.
///
/// # Errors
/// `dataset_not_found`, `dataset_role_missing`.
pub async fn delete_dataset(app: &App, caller: &Caller, id: &str) -> Result<()> {
    caller.need_write(id)?;
    caller.need_manage(id)?;
    let dataset = datasets::settings(app, caller, id).await?;
    let mut tx = app.db.begin().await?;
    forget_all(&mut tx, caller.tenant(), id).await?;
    datasets::delete_in(app, &mut tx, caller, &dataset).await?;
    app.commit(tx).await?;
    Ok(())
}

/// Removes every website and source of a dataset that is about to be deleted.
///
/// # Errors
/// Those of the database.
pub async fn forget_all(tx: &mut Tx, tenant_id: &str, dataset_id: &str) -> Result<()> {
    sites::forget_all(tx, tenant_id, dataset_id).await?;
    let sources: Vec<Source> = tx
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM kb_sources WHERE tenant_id = $1 AND dataset_id = $2"
            ),
            args![tenant_id, dataset_id],
        )
        .await?;
    for source in sources {
        forget(tx, &source).await?;
    }
    Ok(())
}
