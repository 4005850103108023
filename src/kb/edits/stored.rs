//! Stored edits of chunks.

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::kb::documents;
use crate::kb::embeddings;

/// A manual edit of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, Serialize, Deserialize)]
pub struct Edit {
    pub id: String,
    /// SHA-256 of the parsed content that was changed; `None` for an added chunk.
    pub anchor_hash: Option<String>,
    /// Index among several chunks with that content, from 0.
    pub occurrence: i64,
    /// Parsed content that was changed.
    pub anchor_text: Option<String>,
    /// Content in its place; `None` keeps the parsed one.
    pub content: Option<String>,
    /// Whether searches return the chunk.
    pub enabled: bool,
    /// For an added chunk: the ordinal after which it is inserted.
    pub after_ordinal: Option<i64>,
    /// Whether the changed text is gone from the document.
    pub orphaned: bool,
    pub updated_on: Time,
}

pub(super) const OF_DOCUMENT: &str = "SELECT id, anchor_hash, occurrence, anchor_text, content, enabled, after_ordinal, orphaned, updated_on FROM kb_chunk_edits
     WHERE tenant_id = $1 AND document_id = $2 ORDER BY updated_on, id";

/// Returns the key by which parsed content is found again.
#[must_use]
pub fn anchor(content: &str) -> String {
    embeddings::text_hash("", content)
}

/// Returns the edits of a document, oldest first.
///
/// # Errors
/// Those of the database.
pub(crate) async fn of_document(
    app: &App,
    tenant_id: &str,
    document_id: &str,
) -> Result<Vec<Edit>> {
    app.db.all(OF_DOCUMENT, args![tenant_id, document_id]).await
}

/// Same as [`of_document`], inside a transaction.
pub(crate) async fn of_document_in(
    tx: &mut Tx,
    tenant_id: &str,
    document_id: &str,
) -> Result<Vec<Edit>> {
    tx.all(OF_DOCUMENT, args![tenant_id, document_id]).await
}

/// Inserts a row unchanged.
pub(crate) async fn insert_row(
    tx: &mut Tx,
    tenant_id: &str,
    document_id: &str,
    edit: &Edit,
) -> Result<()> {
    tx.execute(
        "INSERT INTO kb_chunk_edits (id, tenant_id, document_id, anchor_hash, occurrence, anchor_text, content, enabled, after_ordinal, orphaned, updated_on)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        args![
            &edit.id,
            tenant_id,
            document_id,
            &edit.anchor_hash,
            edit.occurrence,
            &edit.anchor_text,
            &edit.content,
            edit.enabled,
            edit.after_ordinal,
            edit.orphaned,
            edit.updated_on
        ],
    )
    .await?;
    Ok(())
}

/// Lists the edits of a document that the caller may see, oldest first.
///
/// # Errors
/// `document_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
) -> Result<Vec<Edit>> {
    caller.need(Scope::KbRead)?;
    documents::get(app, caller, dataset_id, document_id).await?;
    of_document(app, caller.tenant(), document_id).await
}
