//! Previews of the chunks of a file under other settings, without storing anything.

use std::path::Path;

use cairn_ingest::ParseError;

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::ingestion::{self, Prepared};
use crate::kb::parser::Parsed;
use crate::kb::{Dataset, Document, documents};

/// Returns the chunks of an existing document, and the names of the files inside it.
///
/// # Errors
/// `document_not_found`; those of [`ChunkSettings::check`]; those of the parser.
pub async fn of_document(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
    chunk_settings: &ChunkSettings,
) -> Result<(Prepared, Vec<String>)> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let document = documents::get(app, caller, dataset_id, document_id).await?;
    let document = tried(document, &dataset, chunk_settings)?;
    let parsed = ingestion::parse(app, &document, &dataset).await?;
    cut(app, &dataset, &document, parsed).await
}

/// Returns the chunks of a file that belongs to no document.
///
/// # Errors
/// Those of [`of_document`].
pub async fn of_file(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    file_name: &str,
    mime_type: &str,
    path: &Path,
    chunk_settings: &ChunkSettings,
) -> Result<(Prepared, Vec<String>)> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let document = Document::unsaved(&app.clock, &dataset, file_name, mime_type);
    let document = tried(document, &dataset, chunk_settings)?;
    let bytes = tokio::fs::read(path).await?.into();
    let parsed = ingestion::parse_bytes(app, &document, &dataset, bytes).await?;
    cut(app, &dataset, &document, parsed).await
}

/// Returns a document with the settings to try.
fn tried(
    mut document: Document,
    dataset: &Dataset,
    chunk_settings: &ChunkSettings,
) -> Result<Document> {
    chunk_settings.check(
        document.chunk_size.unwrap_or(dataset.indexing.chunk_size),
        document
            .chunk_overlap
            .unwrap_or(dataset.indexing.chunk_overlap),
    )?;
    document.chunk_size = chunk_settings.chunk_size.or(document.chunk_size);
    document.chunk_overlap = chunk_settings.chunk_overlap.or(document.chunk_overlap);
    document.parse_type = chunk_settings.parse_type.clone().or(document.parse_type);
    document.parser_engine = chunk_settings
        .parser_engine
        .clone()
        .or(document.parser_engine);
    Ok(document)
}

async fn cut(
    app: &App,
    dataset: &Dataset,
    document: &Document,
    parsed: std::result::Result<Parsed, ParseError>,
) -> Result<(Prepared, Vec<String>)> {
    let parsed = parsed.map_err(|e| {
        Error::unprocessable("file_unreadable", format!("{} ({})", e.message, e.code))
    })?;
    let parts = parsed
        .document
        .children
        .iter()
        .map(|c| c.file_name.clone())
        .collect();
    // The chunks of the file alone, without the edits of a document.
    let prepared = ingestion::unedited(app, dataset, document, parsed).await?;
    Ok((prepared, parts))
}
