//! Waiting for documents and the documents inside them to be ingested.

use std::time::{Duration, Instant};

use super::document::{Document, by_ids, columns};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::Result;

/// Waits until documents, and the documents inside them, are searchable or have failed; `false` when that takes longer than `patience`.
///
/// # Errors
/// Those of the database.
pub async fn settled(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    ids: &[String],
    patience: Duration,
) -> Result<bool> {
    let deadline = Instant::now() + patience;
    let mut commits_seen = app.commits.subscribe();
    loop {
        commits_seen.mark_unchanged();
        let current = with_parts(app, caller, dataset_id, ids).await?;
        if current.iter().all(|d| d.status.is_final()) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // At most ten checks a second, however many commits there are.
        tokio::time::sleep(Duration::from_millis(100).min(left)).await;
        let pause = left.min(Duration::from_secs(1));
        // Another process may do the work, which sends no commit signal here.
        let _ = tokio::time::timeout(pause, commits_seen.changed()).await;
    }
}

/// Returns documents of a dataset by id with all documents inside them, in no particular order.
///
/// # Errors
/// Those of the database.
pub async fn with_parts(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    ids: &[String],
) -> Result<Vec<Document>> {
    let mut found = by_ids(app, caller, dataset_id, ids).await?;
    let mut parents: Vec<String> = ids.to_vec();
    while !parents.is_empty() {
        let inside: Vec<Document> = app
            .db
            .all_in(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND parent_id IN ($LIST)"
                ),
                args![caller.tenant(), dataset_id],
                &parents,
            )
            .await?;
        parents = inside.iter().map(|d| d.id.clone()).collect();
        found.extend(inside);
    }
    Ok(found)
}
