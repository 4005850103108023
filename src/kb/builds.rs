//! Jobs that build documents for sets of chunks that are not searched.

use super::Document;
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::jobs::{self, EnqueueOptions, Task};

/// Enqueues the build of a document for a set that is not searched.
///
/// # Errors
/// Those of the database.
pub(crate) async fn enqueue(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
    document_id: &str,
    set_id: &str,
) -> Result<()> {
    let task = Task::Build {
        document_id: document_id.to_owned(),
        set_id: set_id.to_owned(),
    };
    // Builds run after uploads of the same dataset, for which a user may be waiting.
    jobs::enqueue(
        tx,
        &app.clock,
        tenant_id,
        &task,
        EnqueueOptions {
            group: &format!("{dataset_id}/build"),
            dedupe_key: None,
            max_attempts: app.config.job_attempts,
            run_at: None,
            small: false,
        },
    )
    .await?;
    Ok(())
}

/// Enqueues builds of the current state of documents of one dataset for every set of it that is not searched. Called in the transaction of the change.
pub(crate) async fn follow(app: &App, tx: &mut Tx, documents: &[&Document]) -> Result<()> {
    let Some(first) = documents.first() else {
        return Ok(());
    };
    let others: Vec<(String,)> = tx
        .all(
            "SELECT set_id FROM kb_generations WHERE tenant_id = $1 AND dataset_id = $2 AND status <> 'live'",
            args![&first.tenant_id, &first.dataset_id],
        )
        .await?;
    for (set_id,) in others {
        for document in documents {
            let (tenant_id, dataset_id) = (&document.tenant_id, &document.dataset_id);
            enqueue(app, tx, tenant_id, dataset_id, &document.id, &set_id).await?;
        }
    }
    Ok(())
}
