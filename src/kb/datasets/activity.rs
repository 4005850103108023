//! Activity of a dataset: documents in progress and failed ones.

use std::collections::HashMap;

use super::Dataset;
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::Result;

/// Activity in a dataset.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Activity {
    pub dataset_id: String,
    /// Total size of its files in bytes.
    pub size_bytes: i64,
    /// Number of files that could not be ingested.
    pub files_failed: i64,
    /// Time of the last change of one of its files.
    pub changed_on: Time,
}

/// Returns the activity in datasets by id, without those that have no files. Scans every file.
///
/// # Errors
/// Those of the database.
pub async fn activity(
    app: &App,
    caller: &Caller,
    datasets: &[Dataset],
) -> Result<HashMap<String, Activity>> {
    let ids: Vec<String> = datasets.iter().map(|d| d.id.clone()).collect();
    let rows: Vec<Activity> = app
        .db
        .all_in(
            "SELECT dataset_id, CAST(SUM(size_bytes) AS BIGINT) AS size_bytes, CAST(SUM(CASE WHEN status = 'error' THEN 1 ELSE 0 END) AS BIGINT) AS files_failed,
             MAX(updated_on) AS changed_on FROM kb_documents WHERE tenant_id = $1 AND dataset_id IN ($LIST) GROUP BY dataset_id",
            args![caller.tenant()],
            &ids,
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|a| (a.dataset_id.clone(), a))
        .collect())
}
