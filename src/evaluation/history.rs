//! The query history: query, settings, results, latency and key, kept for a limited time unless the dataset opts out. It is used to find gaps in the content,
//! to label queries, and to replay them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::queue::Asked;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Kind, Result};
use crate::kb::datasets;
use crate::page::{Listing, Page};
use crate::search::{self, Answer, Request, Settings};

/// Queries written per transaction.
const BATCH: usize = 256;
/// Hits stored per query.
const RESULTS: usize = 20;

/// Key id of queries from the sandbox.
pub const SANDBOX: &str = "sandbox";

impl Asked {
    /// Removes the datasets that the caller may not see.
    fn confine(&mut self, caller: &Caller) -> Result<()> {
        let mut remembered: Remembered = serde_json::from_str(&self.settings)?;
        remembered.dataset_ids.retain(|id| caller.sees(id));
        self.settings = serde_json::to_string(&remembered)?;
        Ok(())
    }
}

/// The request of a stored query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// All datasets searched.
    pub dataset_ids: Vec<String>,
    /// Search settings.
    #[serde(flatten)]
    pub settings: Settings,
}

/// A stored hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Id of the chunk.
    pub chunk_id: String,
    /// Id of its document.
    pub document_id: String,
    /// Score of the hit.
    pub score: f32,
}

/// Stores a query in the background, once for each dataset with hits; a query without hits for all of them. Further pages are the same query.
pub fn record(app: &App, caller: &Caller, request: &Request, answer: &Answer) {
    if app.config.query_history_days == 0 || request.cursor.is_some() {
        return;
    }
    let settings = Remembered {
        dataset_ids: request.dataset_ids.clone(),
        settings: Settings::of(request),
    };
    let text = request.query.replace('\0', " ");
    for interpretation in &answer.interpretations {
        let results: Vec<Shown> = answer
            .hits
            .iter()
            .filter(|h| h.chunk.dataset_id == interpretation.dataset_id)
            .take(RESULTS)
            .map(|h| Shown {
                chunk_id: h.chunk.id.clone(),
                document_id: h.chunk.document_id.clone(),
                score: h.score,
            })
            .collect();
        if results.is_empty() && !answer.hits.is_empty() {
            continue;
        }
        let (Ok(settings), Ok(shown)) = (
            serde_json::to_string(&settings),
            serde_json::to_string(&results),
        ) else {
            tracing::error!("a query cannot be serialised as JSON and is not recorded");
            return;
        };
        let asked = Asked {
            id: app.clock.id(),
            dataset_id: interpretation.dataset_id.clone(),
            key_id: if caller.is_browser() {
                SANDBOX.to_owned()
            } else {
                caller.actor_id().unwrap_or_default().to_owned()
            },
            text: text.clone(),
            settings,
            results: shown,
            hits: i64::try_from(results.len()).unwrap_or(i64::MAX),
            confident: !answer.confidence.no_confident_answer,
            milliseconds: answer.timings.total_ms,
            created_on: app.clock.now(),
        };
        if !app.history.push(caller.tenant(), asked) {
            metrics::counter!("cairn_queries_not_remembered_total").increment(1);
        }
    }
}

/// Writes queued queries until `stop` fires and the queue is empty.
pub async fn run(app: &Arc<App>, stop: CancellationToken) {
    let Some(mut receiver) = app.history.reader() else {
        tracing::error!("another task already writes the query history");
        return;
    };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = receiver.recv_many(&mut batch, BATCH) => if count == 0 { break },
            () = stop.cancelled() => break,
        }
        if let Err(error) = write(app, &batch).await {
            tracing::error!(error = %error, queries = batch.len(), "queries could not be recorded");
        }
        batch.clear();
    }
}

async fn write(app: &App, batch: &[(String, Asked)]) -> Result<()> {
    let mut tx = app.db.begin_repeatable().await?;
    for (tenant_id, asked) in batch {
        // A dataset that has opted out or no longer exists is skipped.
        tx.execute(
            "INSERT INTO kb_query_history (id, tenant_id, dataset_id, key_id, text, settings, results, hits, confident, milliseconds, created_on)
             SELECT $1, d.tenant_id, d.id, $2, $3, $4, $5, $6, $7, $8, $9 FROM kb_datasets d WHERE d.tenant_id = $10 AND d.id = $11 AND d.query_history = TRUE",
            args![
                &asked.id,
                &asked.key_id,
                &asked.text,
                &asked.settings,
                &asked.results,
                asked.hits,
                asked.confident,
                asked.milliseconds,
                asked.created_on,
                tenant_id,
                &asked.dataset_id
            ],
        )
        .await?;
    }
    tx.commit().await
}

/// Filter of stored queries by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All queries.
    All,
    /// Queries without hits.
    WithoutHits,
    /// Queries without a confident answer.
    NotConfident,
}

/// Filter of stored queries by origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// All queries.
    All,
    /// Queries from the sandbox.
    Sandbox,
    /// All other queries.
    Programs,
}

/// Returns stored queries of a dataset, latest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    (which, by): (Which, By),
    page: &Page,
) -> Result<Listing<Asked>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let before = if page.after.is_empty() {
        "~".to_owned()
    } else {
        page.after.clone()
    };
    let (hits, confident) = match which {
        Which::All => (i64::MAX, 1_i64),
        Which::WithoutHits => (0, 1),
        Which::NotConfident => (i64::MAX, 0),
    };
    let by = match by {
        By::All => 0_i64,
        By::Sandbox => 1,
        By::Programs => 2,
    };
    let rows: Vec<Asked> = app
        .db
        .all(
            "SELECT id, dataset_id, key_id, text, settings, results, hits, confident, milliseconds, created_on FROM kb_query_history
             WHERE tenant_id = $1 AND dataset_id = $2 AND id < $3 AND hits <= $4 AND (confident = FALSE OR $5 = 1) AND ($7 = 0 OR ($7 = 1 AND key_id = $8) OR ($7 = 2 AND key_id <> $8)) ORDER BY id DESC LIMIT $6",
            args![caller.tenant(), dataset_id, before, hits, confident, page.fetch(), by, SANDBOX],
        )
        .await?;
    let mut listing = page.listing(rows, |a| a.id.clone());
    for asked in &mut listing.items {
        asked.confine(caller)?;
    }
    Ok(listing)
}

/// Enables or disables the query history of a dataset.
///
/// # Errors
/// `dataset_not_found`.
pub async fn remember(app: &App, caller: &Caller, dataset_id: &str, yes: bool) -> Result<()> {
    caller.need_manage(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .execute(
            "UPDATE kb_datasets SET query_history = $1 WHERE tenant_id = $2 AND id = $3",
            args![yes, caller.tenant(), dataset_id],
        )
        .await?;
    Ok(())
}

/// Deletes the query history of a dataset and returns the number of queries.
///
/// # Errors
/// `dataset_not_found`.
pub async fn forget(app: &App, caller: &Caller, dataset_id: &str) -> Result<u64> {
    caller.need_manage(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .execute(
            "DELETE FROM kb_query_history WHERE tenant_id = $1 AND dataset_id = $2",
            args![caller.tenant(), dataset_id],
        )
        .await
}

/// Deletes queries older than a time and returns their number.
pub async fn prune(app: &App, before: Time) -> Result<u64> {
    app.db
        .execute(
            "DELETE FROM kb_query_history WHERE created_on < $1",
            args![before],
        )
        .await
}

/// A hit before and after a replay.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Id of the chunk.
    pub chunk_id: String,
    /// Id of its document.
    pub document_id: String,
    /// Rank in the stored results, from 1; absent for a new hit.
    pub rank_before: Option<usize>,
    /// Rank in the new results, from 1; absent when it is gone.
    pub rank_after: Option<usize>,
    /// Score in the stored results.
    pub score_before: Option<f32>,
    /// Score in the new results.
    pub score_after: Option<f32>,
}

/// Runs a stored query again with its settings and compares the hits.
///
/// # Errors
/// `query_not_found`, and those of search.
pub async fn replay(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
) -> Result<(Asked, Vec<Moved>)> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let asked: Option<Asked> = app
        .db
        .optional(
            "SELECT id, dataset_id, key_id, text, settings, results, hits, confident, milliseconds, created_on FROM kb_query_history
             WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3",
            args![caller.tenant(), dataset_id, id],
        )
        .await?;
    let mut asked = asked
        .ok_or_else(|| Error::not_found("query_not_found", "query not found in the history"))?;
    asked.confine(caller)?;
    let remembered: Remembered = serde_json::from_str(&asked.settings)?;
    // Datasets deleted since are left out.
    let mut dataset_ids = Vec::new();
    for id in remembered.dataset_ids {
        match datasets::settings(app, caller, &id).await {
            Ok(_) => dataset_ids.push(id),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let request = Request {
        cache: false,
        ..remembered
            .settings
            .request(asked.text.clone(), dataset_ids)?
    };
    let answer = search::search(app, caller, &request).await?;
    let before: Vec<Shown> = serde_json::from_str(&asked.results)?;
    let hits = answer
        .hits
        .iter()
        .filter(|h| h.chunk.dataset_id == dataset_id);
    let mut moved: Vec<Moved> = (1..)
        .zip(hits)
        .map(|(rank, hit)| Moved {
            chunk_id: hit.chunk.id.clone(),
            document_id: hit.chunk.document_id.clone(),
            rank_before: None,
            rank_after: Some(rank),
            score_before: None,
            score_after: Some(hit.score),
        })
        .collect();
    let places: HashMap<String, usize> = moved
        .iter()
        .enumerate()
        .map(|(i, m)| (m.chunk_id.clone(), i))
        .collect();
    for (rank, shown) in (1..).zip(before) {
        match places.get(&shown.chunk_id) {
            Some(place) => {
                moved[*place].rank_before = Some(rank);
                moved[*place].score_before = Some(shown.score);
            }
            None => moved.push(Moved {
                chunk_id: shown.chunk_id,
                document_id: shown.document_id,
                rank_before: Some(rank),
                rank_after: None,
                score_before: Some(shown.score),
                score_after: None,
            }),
        }
    }
    // Only the first hits are stored, so a lower-ranked hit cannot be reported as new.
    moved.retain(|m| m.rank_before.is_some() || m.rank_after.is_some_and(|r| r <= RESULTS));
    Ok((asked, moved))
}
