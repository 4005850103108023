//! Removal of all rows of a folder, and of the folder.

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::FOLDER;
use super::{folder, index, turns};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, Job, Task};
use crate::kb::index_log;
use crate::records::plan::{Effect, Plan};

/// Returns a plan that removes a folder with its rows: they are found and answered no more, and a job clears them away.
///
/// # Errors
/// `scope_missing`, `record_not_found`; `folder_not_empty` for one that holds others.
pub async fn remove_folder(app: &App, caller: &Caller, folder_id: &str) -> Result<Plan> {
    caller.need_unconfined(Area::Data.write())?;
    let folder = folder(app, caller.tenant(), folder_id).await?;
    let mut plan = Plan::default();
    plan.before.push(Box::new(Clear {
        tenant_id: caller.tenant().to_owned(),
        folder_id: folder_id.to_owned(),
    }));
    plan.delete(&FOLDER, folder);
    Ok(plan)
}

/// Takes the rows of a folder out of search, and begins to clear them away.
#[derive(Debug)]
pub(super) struct Clear {
    tenant_id: String,
    folder_id: String,
}

#[async_trait]
impl Effect for Clear {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (tenant_id, folder_id) = (&self.tenant_id, &self.folder_id);
        let inside: Option<(String,)> = tx
            .optional(
                "SELECT id FROM records WHERE tenant_id = $1 AND parent_id = $2 AND kind = 'folder' LIMIT 1",
                args![tenant_id, folder_id],
            )
            .await?;
        if inside.is_some() {
            return Err(Error::conflict(
                "folder_not_empty",
                "the folder contains other folders; remove those first",
            ));
        }
        index::hide_all(tx, tenant_id, folder_id).await?;
        tx.execute(
            "DELETE FROM row_uploads WHERE folder_id = $1 AND tenant_id = $2",
            args![folder_id, tenant_id],
        )
        .await?;
        let task = Task::ClearRows {
            folder_id: folder_id.clone(),
        };
        jobs::enqueue(tx, &app.clock, tenant_id, &task, turns(app, folder_id)).await?;
        Ok(None)
    }
}

/// Clears away the rows of a folder that is gone; the job of [`Task::ClearRows`].
///
/// # Errors
/// As the database says.
pub(crate) async fn clear(
    app: &App,
    job: &Job,
    folder_id: &str,
    cancel: &CancellationToken,
) -> Result<()> {
    let tenant_id = job.tenant_id.as_str();
    while !cancel.is_cancelled() {
        let mut tx = app.db.begin().await?;
        index_log::lock_dataset(&mut tx, tenant_id, &Area::Data.dataset_id(tenant_id)).await?;
        let blocks: Vec<(i64, String)> = tx
            .all(
                "SELECT first_seq, body FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 ORDER BY first_seq DESC LIMIT 2",
                args![folder_id, tenant_id],
            )
            .await?;
        if blocks.is_empty() {
            return Ok(());
        }
        for (first, body) in blocks {
            index::forget(app, &mut tx, tenant_id, folder_id, first, &body).await?;
            tx.execute(
                "DELETE FROM row_blocks WHERE folder_id = $1 AND first_seq = $2 AND tenant_id = $3",
                args![folder_id, first, tenant_id],
            )
            .await?;
        }
        jobs::progressed(&mut tx, tenant_id, &job.id).await?;
        app.commit(tx).await?;
    }
    Err(Error::unavailable("cancelled", "the job was cancelled"))
}
