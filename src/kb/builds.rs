//! Builds of documents for sets of chunks that are not searched: the jobs that make them.

use super::Document;
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::jobs::{self, EnqueueOptions, Task};

/// Queues the build of a document for a set that is not searched.
///
/// # Errors
/// As the database says.
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
    // Builds wait behind uploads of the same dataset: somebody may wait for those.
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
        },
    )
    .await?;
    Ok(())
}

/// Lets every set that is not searched take a document up as it is now. Called in the transaction of the change.
pub(crate) async fn follow(app: &App, tx: &mut Tx, document: &Document) -> Result<()> {
    let others: Vec<(String,)> = tx
        .all(
            "SELECT set_id FROM kb_generations WHERE tenant_id = $1 AND dataset_id = $2 AND status <> 'live'",
            args![&document.tenant_id, &document.dataset_id],
        )
        .await?;
    for (set_id,) in others {
        enqueue(
            app,
            tx,
            &document.tenant_id,
            &document.dataset_id,
            &document.id,
            &set_id,
        )
        .await?;
    }
    Ok(())
}
