//! Blocks of rows as documents: data folders write their rows to files with one line per row and up to 500 rows, which are ingested like other files.

use cairn_ingest::document::{Page, normalise};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Chunk;
use crate::auth::Area;
use crate::error::Result;

/// Media type of a block's file: a line of JSON for each row.
pub(crate) const MIME: &str = "application/vnd.cairn.rows+jsonl";

/// A line of a block's file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Position of the row.
    pub position: i64,
    pub id: String,
    /// Searchable text of the row.
    pub text: String,
}

/// Returns the folder in the external id of a block.
pub(crate) fn folder_of(external_id: &str) -> &str {
    external_id
        .split_once('~')
        .map_or(external_id, |(id, _)| id)
}

/// Parses the file of a block.
///
/// # Errors
/// When the file is damaged.
pub(crate) fn parsed(bytes: &[u8]) -> Result<cairn_ingest::Document> {
    let mut document = cairn_ingest::Document {
        engine: "rows".to_owned(),
        ..cairn_ingest::Document::default()
    };
    let mut failed: Vec<i64> = Vec::new();
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        #[derive(Deserialize)]
        struct Told {
            #[serde(flatten)]
            line: Line,
            failed: Option<String>,
        }
        let told: Told = serde_json::from_slice(line)?;
        let start = document.text.len();
        document.text.push_str(normalise(&told.line.text).trim());
        document.text.push_str("\n\n");
        document.pages.push(Page {
            start,
            end: document.text.len(),
            number: u32::try_from(told.line.position).unwrap_or(u32::MAX),
            label: Some(told.line.id),
        });
        if told.failed.is_some() {
            failed.push(told.line.position);
        }
    }
    if let Some(first) = failed.first() {
        document.warnings.push(format!(
            "the folder's searchText could not be rendered for {} rows, the first being row {first}; all their fields are searched instead",
            failed.len()
        ));
    }
    Ok(document)
}

/// Returns the metadata of a hit: that of its document, and for a row also the row's id.
///
/// # Errors
/// When the metadata is damaged.
pub(crate) fn attach_record_id(metadata: &str, chunk: &Chunk) -> Result<String> {
    match &chunk.page_label {
        Some(row) if Area::of_dataset(&chunk.dataset_id) == Some(Area::Data) => {
            let mut metadata: Map<String, Value> = serde_json::from_str(metadata)?;
            metadata.insert("recordId".to_owned(), json!(row));
            Ok(Value::Object(metadata).to_string())
        }
        _ => Ok(metadata.to_owned()),
    }
}
