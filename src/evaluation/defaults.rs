//! Default search settings of a dataset, with every earlier version, which can be restored.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::search::Defaults;

/// A version of the defaults.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Version {
    pub id: String,
    /// JSON of [`Defaults`].
    pub defaults: String,
    /// Reason of the change.
    pub reason: String,
    /// Id of who set it; `None` for the command line.
    pub changed_by: Option<String>,
    pub created_on: Time,
}

/// Returns the defaults in force.
///
/// # Errors
/// `dataset_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str) -> Result<Defaults> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    Ok(serde_json::from_str(&dataset.search_defaults)?)
}

/// Returns every version of the defaults, latest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn versions(app: &App, caller: &Caller, dataset_id: &str) -> Result<Vec<Version>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .all(
            "SELECT id, defaults, reason, changed_by, created_on FROM kb_search_defaults WHERE tenant_id = $1 AND dataset_id = $2 ORDER BY id DESC",
            args![caller.tenant(), dataset_id],
        )
        .await
}

/// Sets the defaults.
///
/// # Errors
/// `dataset_not_found`; those of the value ranges.
pub async fn set(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    defaults: &Defaults,
    reason: &str,
) -> Result<()> {
    caller.need_manage(dataset_id)?;
    defaults.check()?;
    if defaults.rerank == Some(true) && app.config.reranker.is_empty() {
        return Err(Error::unprocessable(
            "reranker_not_configured",
            "no reranker is configured (setting `reranker`), so it cannot be the default",
        ));
    }
    datasets::settings(app, caller, dataset_id).await?;
    let text = serde_json::to_string(defaults)?;
    let mut tx = app.db.begin().await?;
    tx.execute(
        "INSERT INTO kb_search_defaults (id, tenant_id, dataset_id, defaults, reason, changed_by, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![app.clock.id(), caller.tenant(), dataset_id, &text, reason, caller.actor_id(), app.clock.now()],
    )
    .await?;
    put(&mut tx, caller, dataset_id, &text).await?;
    tx.commit().await
}

/// Restores the version before the one in force, and returns it.
///
/// # Errors
/// `dataset_not_found`, `nothing_to_undo`.
pub async fn undo(app: &App, caller: &Caller, dataset_id: &str) -> Result<Defaults> {
    caller.need_manage(dataset_id)?;
    let versions = versions(app, caller, dataset_id).await?;
    let Some(last) = versions.first() else {
        return Err(Error::conflict(
            "nothing_to_undo",
            "the defaults of this dataset have never been changed",
        ));
    };
    let before = versions
        .get(1)
        .map_or_else(|| "{}".to_owned(), |v| v.defaults.clone());
    let mut tx = app.db.begin().await?;
    let undone = tx
        .execute(
            "DELETE FROM kb_search_defaults WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), &last.id],
        )
        .await?;
    if undone == 0 {
        return Err(Error::conflict(
            "defaults_changed",
            "the defaults were changed concurrently; reload them and try again",
        ));
    }
    put(&mut tx, caller, dataset_id, &before).await?;
    tx.commit().await?;
    Ok(serde_json::from_str(&before)?)
}

async fn put(tx: &mut Tx, caller: &Caller, dataset_id: &str, defaults: &str) -> Result<()> {
    tx.execute(
        "UPDATE kb_datasets SET search_defaults = $1, version = version + 1 WHERE tenant_id = $2 AND id = $3",
        args![defaults, caller.tenant(), dataset_id],
    )
    .await?;
    Ok(())
}
