//! Chunks as they are stored, and the normalised text over which they are spans.

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::documents;
use crate::page::{Listing, Page};

/// A chunk.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Chunk {
    /// UUID; an unchanged chunk keeps it when its document is ingested again.
    pub id: String,
    /// The dataset.
    pub dataset_id: String,
    /// The document.
    pub document_id: String,
    /// Position in the document, from 0.
    pub ordinal: i64,
    /// Byte offset in the normalised text.
    pub start_byte: i64,
    /// Byte offset after the chunk.
    pub end_byte: i64,
    /// The same in Unicode characters.
    pub start_char: i64,
    /// The same in Unicode characters.
    pub end_char: i64,
    /// `text[start..end]`.
    pub content: String,
    /// Title and headings, embedded and indexed before the content.
    pub context: String,
    /// JSON array, outermost first.
    pub heading_path: String,
    /// Page on which it starts.
    pub page: Option<i64>,
    /// Tokens of context and content together, as the model counts.
    pub tokens: i64,
    /// Whether the model's limit cuts the end off its vector.
    pub truncated: bool,
    /// SHA-256 of context and content.
    pub text_hash: String,
}

impl Chunk {
    /// What is embedded and indexed for keywords.
    #[must_use]
    pub fn indexed_text(&self) -> String {
        if self.context.is_empty() {
            self.content.clone()
        } else {
            format!("{}\n\n{}", self.context, self.content)
        }
    }

    /// Enclosing headings, outermost first.
    #[must_use]
    pub fn headings(&self) -> Vec<String> {
        serde_json::from_str(&self.heading_path).unwrap_or_default()
    }
}

/// Chunks of a document in order.
///
/// # Errors
/// `document_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
    page: &Page,
) -> Result<Listing<Chunk>> {
    caller.need(Scope::KbRead)?;
    documents::get(app, caller, dataset_id, document_id).await?;
    let after: i64 = if page.after.is_empty() {
        -1
    } else {
        page.after.parse().map_err(|_| {
            Error::invalid(
                "cursor_invalid",
                "the cursor is not one that this list gave",
            )
        })?
    };
    let rows: Vec<Chunk> = app
        .db
        .all(
            "SELECT id, dataset_id, document_id, ordinal, start_byte, end_byte, start_char, end_char, content, context, heading_path, page, tokens, truncated, text_hash
             FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND ordinal > $3 ORDER BY ordinal LIMIT $4",
            args![caller.tenant(), document_id, after, page.fetch()],
        )
        .await?;
    Ok(page.listing(rows, |c| c.ordinal.to_string()))
}

/// Chunks by id, in no particular order; ids that are gone are left out.
///
/// # Errors
/// As the database says.
pub async fn by_ids(app: &App, tenant_id: &str, ids: &[String]) -> Result<Vec<Chunk>> {
    app.db
        .all_in(
            "SELECT id, dataset_id, document_id, ordinal, start_byte, end_byte, start_char, end_char, content, context, heading_path, page, tokens, truncated, text_hash
             FROM kb_chunks WHERE tenant_id = $1 AND id IN ($LIST)",
            args![tenant_id],
            ids,
        )
        .await
}

/// The normalised text of a document.
///
/// # Errors
/// `document_not_found`, `text_not_ready` before the first successful parse.
pub async fn text(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
) -> Result<String> {
    caller.need(Scope::KbRead)?;
    let document = documents::get(app, caller, dataset_id, document_id).await?;
    let hash = document
        .text_hash
        .ok_or_else(|| Error::conflict("text_not_ready", "the file has not been parsed yet"))?;
    let bytes = app.blobs.get(caller.tenant(), &hash).await?;
    String::from_utf8(bytes.to_vec())
        .map_err(|e| Error::internal("stored text is damaged").with_source(e))
}
