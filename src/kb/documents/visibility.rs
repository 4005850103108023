//! Whether searches see a document: enabling and disabling it, with the documents inside it.

use super::document::{Document, changed_now, columns, descendants, get, load_in};
use super::lifecycle::{log, queue};
use crate::app::App;
use crate::auth::Caller;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events::{self};
use crate::kb::index_log::{self, Op};

/// Hides a document from searches, or shows it again, in the transaction that causes it.
///
/// # Errors
/// Those of the database.
pub(crate) async fn switch_in(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    id: &str,
    enabled: bool,
) -> Result<()> {
    match load_in(tx, tenant_id, id).await? {
        Some(document) if document.enabled != enabled => switch(app, tx, &document, enabled).await,
        _ => Ok(()),
    }
}

/// A partial change of a document.
#[derive(Debug, Clone, Default)]
pub struct DocumentPatch {
    /// Whether searches return it.
    pub enabled: Option<bool>,
    /// Whether to parse and embed it again with the dataset's current settings.
    pub re_ingest: bool,
    pub metadata: Option<serde_json::Value>,
}

/// Switches a document on or off, changes its metadata, or ingests it again. The old version stays searchable until the new one is complete.
///
/// # Errors
/// `document_not_found`, `metadata_invalid`.
pub async fn update(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    patch: DocumentPatch,
) -> Result<Document> {
    caller.need_write(dataset_id)?;
    let document = get(app, caller, dataset_id, id).await?;
    if patch.metadata.as_ref().is_some_and(|m| !m.is_object()) {
        return Err(Error::invalid(
            "metadata_invalid",
            "metadata must be a JSON object",
        ));
    }
    let mut tx = app.db.begin().await?;
    if let Some(metadata) = &patch.metadata {
        index_log::lock_dataset(&mut tx, caller.tenant(), dataset_id).await?;
        tx.execute(
            concat!(
                "UPDATE kb_documents SET metadata = $1, updated_on = $2, ",
                changed_now!(),
                " WHERE tenant_id = $3 AND id = $4"
            ),
            args![metadata.to_string(), app.clock.now(), caller.tenant(), id],
        )
        .await?;
    }
    if let Some(enabled) = patch.enabled.filter(|enabled| *enabled != document.enabled) {
        for member in descendants(&mut tx, &document).await? {
            switch(app, &mut tx, &member, enabled).await?;
        }
    }
    if patch.re_ingest {
        queue(app, &mut tx, caller.tenant(), dataset_id, id).await?;
    }
    app.commit(tx).await?;
    get(app, caller, dataset_id, id).await
}

/// Shows or hides a document. Hidden chunks leave both indexes and are restored from their rows; the flag itself is effective at the next query.
pub(super) async fn switch(
    app: &App,
    tx: &mut Tx,
    document: &Document,
    enabled: bool,
) -> Result<()> {
    index_log::lock_dataset(tx, &document.tenant_id, &document.dataset_id).await?;
    let chunks: Vec<(String, String)> = tx
        .all(
            "SELECT id, set_id FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND enabled = TRUE",
            args![&document.tenant_id, &document.id],
        )
        .await?;
    let ops = chunks
        .into_iter()
        .flat_map(|(id, set_id)| {
            let ops = if enabled {
                vec![Op::Text, Op::Vector]
            } else {
                vec![Op::Delete]
            };
            ops.into_iter()
                .map(move |op| (set_id.clone(), op, id.clone()))
        })
        .collect();
    let seq = log(tx, document, ops).await?;
    let row: Option<Document> = tx
        .optional(
            concat!(
                "UPDATE kb_documents SET enabled = $1, ready_seq = $2, status = CASE WHEN status = 'indexed' AND $1 = TRUE THEN 'stored' ELSE status END,
                 updated_on = $3, ",
                changed_now!(),
                " WHERE tenant_id = $4 AND id = $5 RETURNING ",
                columns!()
            ),
            args![enabled, seq, app.clock.now(), &document.tenant_id, &document.id],
        )
        .await?;
    if let Some(row) = row {
        events::append(tx, &app.clock, &document.tenant_id, &row.changed()).await?;
    }
    Ok(())
}
