//! Stored chunks, and the normalised text of which they are spans.

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::kb::{datasets, documents};
use crate::page::{Listing, Page};

/// A chunk of a document.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, Serialize, Deserialize)]
pub struct Chunk {
    /// UUID; an unchanged chunk keeps it when its document is ingested again.
    pub id: String,
    pub dataset_id: String,
    pub document_id: String,
    /// Position in the document, from 0.
    pub ordinal: i64,
    /// Byte offset in the normalised text.
    pub start_byte: i64,
    /// Byte offset of the end, exclusive.
    pub end_byte: i64,
    /// `start_byte` in Unicode characters.
    pub start_char: i64,
    /// `end_byte` in Unicode characters.
    pub end_char: i64,
    /// `text[start..end]`, unless the chunk was edited or added.
    pub content: String,
    /// Title and headings, embedded and indexed before the content.
    pub context: String,
    /// JSON array of headings, outermost first.
    pub heading_path: String,
    /// Page on which it starts, from 1.
    pub page: Option<i64>,
    /// Printed label of that page, where it differs from its position.
    pub page_label: Option<String>,
    /// Position in the document, from 1, of the table whose rows it contains.
    pub table_number: Option<i64>,
    /// First of these rows, from 1.
    pub first_row: Option<i64>,
    /// Last of these rows.
    pub last_row: Option<i64>,
    /// Header of the table, when it precedes the chunk; embedded and indexed as part of the context.
    pub table_header: Option<String>,
    /// First line, in source code, from 1.
    pub first_line: Option<i64>,
    /// Last line, in source code.
    pub last_line: Option<i64>,
    /// Tokens of context and content together, as counted by the model.
    pub tokens: i64,
    /// Whether the chunk exceeds the model's limit, so that its vector lacks the end.
    pub truncated: bool,
    /// SHA-256 of context and content.
    pub text_hash: String,
    /// Whether searches return it.
    pub enabled: bool,
    /// `parsed`, `edited` or `added`.
    pub origin: String,
    /// Set that it belongs to: the chunks of one generation of the dataset.
    #[serde(default)]
    pub set_id: String,
    /// For an added chunk: id of the edit that added it, the same in every generation.
    #[serde(default)]
    pub edit_id: Option<String>,
}

macro_rules! columns {
    ($table:literal) => {
        concat!(
            $table,
            "id, ",
            $table,
            "dataset_id, ",
            $table,
            "document_id, ",
            $table,
            "ordinal, ",
            $table,
            "start_byte, ",
            $table,
            "end_byte, ",
            $table,
            "start_char, ",
            $table,
            "end_char, ",
            $table,
            "content, ",
            $table,
            "context, ",
            $table,
            "heading_path, ",
            $table,
            "page, ",
            $table,
            "page_label, ",
            $table,
            "table_number, ",
            $table,
            "first_row, ",
            $table,
            "last_row, ",
            $table,
            "table_header, ",
            $table,
            "first_line, ",
            $table,
            "last_line, ",
            $table,
            "tokens, ",
            $table,
            "truncated, ",
            $table,
            "text_hash, ",
            $table,
            "enabled, ",
            $table,
            "origin, ",
            $table,
            "set_id, ",
            $table,
            "edit_id"
        )
    };
}
pub(crate) use columns;

impl Chunk {
    /// Returns the text that is embedded and indexed for keywords.
    #[must_use]
    pub fn indexed_text(&self) -> String {
        if self.context.is_empty() {
            self.content.clone()
        } else {
            format!("{}\n\n{}", self.context, self.content)
        }
    }

    /// Returns the content for readers, rows of a table with their header: without it they are hard to interpret on their own.
    #[must_use]
    pub fn with_header(self) -> String {
        match self.table_header {
            Some(header) => format!("{header}\n{}", self.content),
            None => self.content,
        }
    }

    /// Returns the enclosing headings, outermost first.
    #[must_use]
    pub fn headings(&self) -> Vec<String> {
        serde_json::from_str(&self.heading_path).unwrap_or_default()
    }
}

/// Lists the chunks of a document in order.
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
    let set_id = datasets::settings(app, caller, dataset_id).await?.live_set;
    let after: i64 = if page.after.is_empty() {
        -1
    } else {
        page.after.parse().map_err(|_| {
            Error::invalid("cursor_invalid", "the cursor was not returned by this list")
        })?
    };
    let rows: Vec<Chunk> = app
        .db
        .all(
            concat!("SELECT ", columns!(""), " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND ordinal > $3 AND set_id = $5 ORDER BY ordinal LIMIT $4"),
            args![caller.tenant(), document_id, after, page.fetch(), set_id],
        )
        .await?;
    Ok(page.listing(rows, |c| c.ordinal.to_string()))
}

/// Returns the headings above each chunk of a document, with the position at which the chunk starts.
///
/// # Errors
/// Those of the database.
pub async fn outline(
    app: &App,
    caller: &Caller,
    dataset: &crate::kb::Dataset,
    document_id: &str,
) -> Result<Vec<(Vec<String>, i64)>> {
    let rows: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT heading_path, start_char FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3 AND enabled = TRUE ORDER BY ordinal",
            args![caller.tenant(), document_id, &dataset.live_set],
        )
        .await?;
    rows.into_iter()
        .map(|(path, start)| Ok((serde_json::from_str(&path)?, start)))
        .collect()
}

/// Returns chunks by id, in no particular order; missing ids are left out.
///
/// # Errors
/// Those of the database.
pub async fn by_ids(app: &App, tenant_id: &str, ids: &[String]) -> Result<Vec<Chunk>> {
    app.db
        .all_in(
            concat!(
                "SELECT ",
                columns!(""),
                " FROM kb_chunks WHERE tenant_id = $1 AND id IN ($LIST)"
            ),
            args![tenant_id],
            ids,
        )
        .await
}

/// Returns a chunk that the caller may see.
///
/// # Errors
/// `chunk_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Chunk> {
    caller.need(Scope::KbRead)?;
    if !caller.sees(dataset_id) {
        return Err(datasets::missing());
    }
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(""),
                " FROM kb_chunks WHERE tenant_id = $1 AND id = $2 AND dataset_id = $3"
            ),
            args![caller.tenant(), id, dataset_id],
        )
        .await?
        .ok_or_else(missing)
}

/// Returns the error for a chunk that does not exist.
#[must_use]
pub fn missing() -> Error {
    Error::not_found("chunk_not_found", "chunk not found")
}

/// A chunk with its surroundings.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub chunk: Chunk,
    /// Chunks before it, in order.
    pub before: Vec<Chunk>,
    /// Chunks after it, in order.
    pub after: Vec<Chunk>,
    /// Source text before, in and after the chunk.
    pub source: (String, String, String),
}

/// Maximum number of neighbours on each side.
pub const MAX_NEIGHBOURS: i64 = 20;
/// Maximum number of characters of source text on each side.
pub const MAX_AROUND: usize = 20_000;

/// Returns a chunk with its neighbours and the source text around it.
///
/// # Errors
/// `chunk_not_found`, `text_not_ready`.
pub async fn around(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    neighbours: i64,
    characters: usize,
) -> Result<Surroundings> {
    let chunk = get(app, caller, dataset_id, id).await?;
    let reach = neighbours.clamp(0, MAX_NEIGHBOURS);
    let near: Vec<Chunk> = app
        .db
        .all(
            concat!("SELECT ", columns!(""), " FROM kb_chunks WHERE tenant_id = $1 AND document_id = $2 AND ordinal >= $3 AND ordinal <= $4 AND set_id = $5 ORDER BY ordinal"),
            args![caller.tenant(), &chunk.document_id, chunk.ordinal - reach, chunk.ordinal + reach, &chunk.set_id],
        )
        .await?;
    let (before, rest): (Vec<Chunk>, Vec<Chunk>) =
        near.into_iter().partition(|c| c.ordinal < chunk.ordinal);
    let text = text(app, caller, dataset_id, &chunk.document_id).await?;
    let (start, end) = (
        usize::try_from(chunk.start_byte).unwrap_or(0),
        usize::try_from(chunk.end_byte).unwrap_or(0),
    );
    let (Some(head), Some(own), Some(tail)) =
        (text.get(..start), text.get(start..end), text.get(end..))
    else {
        return Err(Error::internal("a chunk is not a span of its document"));
    };
    let characters = characters.min(MAX_AROUND);
    let skip = head.chars().count().saturating_sub(characters);
    Ok(Surroundings {
        source: (
            head.chars().skip(skip).collect(),
            own.to_owned(),
            tail.chars().take(characters).collect(),
        ),
        after: rest.into_iter().filter(|c| c.id != chunk.id).collect(),
        before,
        chunk,
    })
}

/// Inserts a row.
pub(crate) async fn insert(tx: &mut Tx, tenant_id: &str, chunk: &Chunk) -> Result<()> {
    tx.execute(
        "INSERT INTO kb_chunks (id, tenant_id, dataset_id, document_id, ordinal, start_byte, end_byte, start_char, end_char, content, context,
         heading_path, page, tokens, truncated, text_hash, page_label, table_number, first_row, last_row, table_header, first_line, last_line, enabled, origin, set_id, edit_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)",
        args![
            &chunk.id,
            tenant_id,
            &chunk.dataset_id,
            &chunk.document_id,
            chunk.ordinal,
            chunk.start_byte,
            chunk.end_byte,
            chunk.start_char,
            chunk.end_char,
            &chunk.content,
            &chunk.context,
            &chunk.heading_path,
            chunk.page,
            chunk.tokens,
            chunk.truncated,
            &chunk.text_hash,
            &chunk.page_label,
            chunk.table_number,
            chunk.first_row,
            chunk.last_row,
            &chunk.table_header,
            chunk.first_line,
            chunk.last_line,
            chunk.enabled,
            &chunk.origin,
            &chunk.set_id,
            &chunk.edit_id
        ],
    )
    .await?;
    Ok(())
}

/// Overwrites all columns of an existing row.
pub(crate) async fn rewrite(tx: &mut Tx, tenant_id: &str, chunk: &Chunk) -> Result<()> {
    tx.execute(
        "UPDATE kb_chunks SET ordinal = $1, start_byte = $2, end_byte = $3, start_char = $4, end_char = $5, heading_path = $6, page = $7, page_label = $8,
         table_number = $9, first_row = $10, last_row = $11, table_header = $12, first_line = $13, last_line = $14, content = $15, context = $16,
         tokens = $17, truncated = $18, text_hash = $19, enabled = $20, origin = $21, edit_id = $22 WHERE tenant_id = $23 AND id = $24",
        args![
            chunk.ordinal,
            chunk.start_byte,
            chunk.end_byte,
            chunk.start_char,
            chunk.end_char,
            &chunk.heading_path,
            chunk.page,
            &chunk.page_label,
            chunk.table_number,
            chunk.first_row,
            chunk.last_row,
            &chunk.table_header,
            chunk.first_line,
            chunk.last_line,
            &chunk.content,
            &chunk.context,
            chunk.tokens,
            chunk.truncated,
            &chunk.text_hash,
            chunk.enabled,
            &chunk.origin,
            &chunk.edit_id,
            tenant_id,
            &chunk.id
        ],
    )
    .await?;
    Ok(())
}

/// Returns the normalised text of a document.
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
