//! The ingestion job: parse → chunk → hash → embed new texts → store with the index log.
//!
//! Keyword search finds a new document as soon as it is split, vector search once its embeddings are stored. A document that is ingested again stays
//! searchable in its old version until the new one is complete; then one transaction exchanges the differences. Embeddings are separate rows, stored
//! batch by batch, so a job that starts over finds those that it had already computed. Small files of a dataset are ingested together (`together`).

mod prepare;
mod store;
mod together;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_ingest::ParseError;
use cairn_models::{Loaded, Priority};
use futures::StreamExt;
use prepare::prepare;
use sha2::{Digest, Sha256};
use store::{Exchange, Stage};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::kb::documents::DocumentStatus;
use crate::kb::documents::{self, Progress};
use crate::kb::edits::Edit;
use crate::kb::parser::{Given, Parsed};
use crate::kb::{Chunk, Dataset, Document, docling, edits, embeddings, row_blocks};
pub use prepare::Prepared;
pub(crate) use store::exchange_aside;
pub(crate) use together::ingest_together;

/// Time slice of embedding a document, before the job yields to others.
const TURN: Duration = Duration::from_secs(10);
/// Texts embedded per stored batch: small enough that little is repeated after a crash and cancelling is quick.
const BATCH: usize = 32;

/// Records why the ingestion of a document failed for good, unless the document is gone or another job owns it now.
pub(crate) async fn failed(
    app: &App,
    job: &Job,
    document_id: &str,
    error: (String, String),
) -> Result<()> {
    let current = documents::load(&app.db, &job.tenant_id, document_id).await?;
    match current.filter(|d| d.job_id == job.id) {
        Some(document) => fail(app, &document, error).await,
        None => Ok(()),
    }
}

async fn fail(app: &App, document: &Document, error: (String, String)) -> Result<()> {
    let failed = Progress {
        status: DocumentStatus::Error,
        error: Some(error),
        ..Progress::default()
    };
    // A deleted document needs no error.
    record(app, document, &failed).await.map(|_| ())
}

/// Records an error of the file, not of this service: no retry would help.
async fn refuse(app: &App, document: &Document, error: ParseError) -> Result<()> {
    metrics::counter!("cairn_documents_failed_total", "code" => error.code.clone()).increment(1);
    fail(app, document, (error.code, error.message)).await
}

/// Ingests a document; the job of [`Task::Ingest`](crate::jobs::Task::Ingest).
///
/// # Errors
/// Errors that another attempt may not have; errors of the file become the state of the document.
pub(crate) async fn ingest(
    app: &Arc<App>,
    job: &Job,
    document_id: &str,
    text_indexed: bool,
    cancel: &CancellationToken,
) -> Result<()> {
    let tenant_id = job.tenant_id.as_str();
    let Some(document) = documents::load(&app.db, tenant_id, document_id).await? else {
        return Ok(());
    };
    if document.job_id != job.id {
        // A later job handles it, with the current settings.
        return Ok(());
    }
    let dataset = crate::kb::datasets::settings(
        app,
        &crate::auth::Caller::local(tenant_id),
        &document.dataset_id,
    )
    .await?;
    // A model that cannot be loaded is reported before any work is done.
    app.embedder_of(&dataset.indexing.embedding_model).await?;
    let began = Instant::now();
    let parsing = Progress {
        status: DocumentStatus::Parsing,
        ..Progress::default()
    };
    step(app, &document, &parsing).await?;
    let parsed = tokio::select! {
        parsed = parse(app, &document, &dataset) => parsed?,
        () = cancel.cancelled() => return Err(cancelled()),
    };
    let mut parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse(app, &document, error).await,
    };
    unpack(app, &document, &parsed).await?;
    let text = Bytes::from(std::mem::take(&mut parsed.document.text));
    let text_hash = store_text(app, &document, &text).await?;
    let parsed = Arc::new(Read { parsed, text });
    let fresh = document.text_hash.is_none();
    if fresh && !text_indexed {
        let words = Step::Searched(&text_hash, Stage::Words);
        store_edited(app, &dataset, &document, &parsed, words, cancel).await?;
        if document.mime_type == row_blocks::MIME {
            // Row blocks come by the thousand: all of them are indexed for keywords before the first embedding.
            return documents::embed_later(app, &document).await;
        }
    }
    let stage = if fresh {
        Stage::Vectors
    } else {
        Stage::Everything
    };
    let complete = Step::Searched(&text_hash, stage);
    store_edited(app, &dataset, &document, &parsed, complete, cancel).await?;
    ingested(began.elapsed().as_secs_f64());
    Ok(())
}

/// Counts a document that was ingested in the given time.
fn ingested(seconds: f64) {
    metrics::histogram!("cairn_ingest_document_seconds").record(seconds);
    metrics::counter!("cairn_documents_ingested_total").increment(1);
}

/// Stores the normalised text of a document and returns its hash. A plain text is often equal to its file, which is stored already.
async fn store_text(app: &App, document: &Document, text: &Bytes) -> Result<String> {
    let hash = hex::encode(Sha256::digest(text));
    if hash != document.blob_hash {
        let (db, tenant_id) = (&app.db, &document.tenant_id);
        app.blobs
            .put_hashed(db, tenant_id, &hash, text.clone())
            .await?;
    }
    Ok(hash)
}

/// A parsed and split document; its text is kept separately.
#[derive(Debug)]
pub(crate) struct Read {
    parsed: Parsed,
    text: Bytes,
}

/// How a prepared document is stored.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// In the live set, with the hash of its text.
    Searched(&'a str, Stage),
    /// In a set that is not searched.
    Aside,
}

/// Maximum number of preparations of a document that is edited concurrently.
const EDITED: usize = 20;

/// Prepares a document with its manual edits, embeds and stores it, and starts over as long as new edits arrive. Edits are read before the long steps,
/// so the storing transaction compares them with the current ones.
async fn store_edited(
    app: &Arc<App>,
    dataset: &Dataset,
    document: &Document,
    read: &Arc<Read>,
    step: Step<'_>,
    cancel: &CancellationToken,
) -> Result<()> {
    for _ in 0..EDITED {
        let edits = edits::of_document(app, &document.tenant_id, &document.id).await?;
        let prepared = prepared(app, dataset, document, Arc::clone(read), edits).await?;
        let outcome = match step {
            Step::Searched(text, stage) => {
                if stage != Stage::Words {
                    embed(app, dataset, document, &prepared, cancel, true).await?;
                }
                store::exchange(app, dataset, document, &prepared, text, stage).await?
            }
            Step::Aside => {
                embed(app, dataset, document, &prepared, cancel, false).await?;
                store::exchange_aside(app, dataset, document, Ok(&prepared)).await?
            }
        };
        if outcome == Exchange::Done {
            return Ok(());
        }
    }
    Err(Error::unavailable(
        "edited_meanwhile",
        "the document is being edited faster than it can be ingested",
    ))
}

/// Returns the chunk rows of a parsed and split document, with manual edits applied.
async fn prepared(
    app: &App,
    dataset: &Dataset,
    document: &Document,
    read: Arc<Read>,
    edits: Vec<Edit>,
) -> Result<Prepared> {
    let embedder = app.embedder_of(&dataset.indexing.embedding_model).await?;
    let (document, dataset) = (document.clone(), dataset.clone());
    tokio::task::spawn_blocking(move || {
        let text = std::str::from_utf8(&read.text)
            .map_err(|e| Error::internal("a text is damaged").with_source(e))?;
        let pieces = read.parsed.pieces.as_ref();
        let pieces =
            pieces.ok_or_else(|| Error::internal("a document was not split into chunks"))?;
        let parsed = &read.parsed.document;
        prepare(
            embedder.as_ref(),
            &dataset,
            &document,
            parsed,
            text,
            pieces,
            edits,
        )
    })
    .await?
}

/// Returns the chunk rows of a parsed and split document, without manual edits.
///
/// # Errors
/// Those of the model.
pub(crate) async fn unedited(
    app: &App,
    dataset: &Dataset,
    document: &Document,
    mut parsed: Parsed,
) -> Result<Prepared> {
    let text = std::mem::take(&mut parsed.document.text).into();
    let read = Arc::new(Read { parsed, text });
    prepared(app, dataset, document, read, Vec::new()).await
}

/// Builds a document for a generation that is not live; `dataset` has the settings and the set of that generation.
pub(crate) async fn build(
    app: &Arc<App>,
    dataset: &Dataset,
    document: &Document,
    cancel: &CancellationToken,
) -> Result<()> {
    let parsed = tokio::select! {
        parsed = parse(app, document, dataset) => parsed?,
        () = cancel.cancelled() => return Err(cancelled()),
    };
    let mut parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            store::exchange_aside(app, dataset, document, Err(&error)).await?;
            return Ok(());
        }
    };
    let text = std::mem::take(&mut parsed.document.text).into();
    let read = Arc::new(Read { parsed, text });
    store_edited(app, dataset, document, &read, Step::Aside, cancel).await
}

/// Parses a document's file with the engine of the document or its dataset.
pub(crate) async fn parse(
    app: &App,
    document: &Document,
    dataset: &Dataset,
) -> Result<std::result::Result<Parsed, ParseError>> {
    let bytes = app
        .blobs
        .get(&document.tenant_id, &document.blob_hash)
        .await?;
    parse_bytes(app, document, dataset, bytes).await
}

/// Parses bytes as those of a document.
pub(crate) async fn parse_bytes(
    app: &App,
    document: &Document,
    dataset: &Dataset,
    bytes: Bytes,
) -> Result<std::result::Result<Parsed, ParseError>> {
    let engine = document
        .parser_engine
        .as_ref()
        .unwrap_or(&dataset.indexing.parser_engine);
    let embedder = app.embedder_of(&dataset.indexing.embedding_model).await?;
    let cut = prepare::cut(
        embedder.as_ref(),
        dataset,
        document,
        app.config.document_chunks,
    );
    let (file_name, mime_type) = (&document.file_name, &document.mime_type);
    let given = if mime_type == row_blocks::MIME {
        // A format of Cairn's own, with the page of every row.
        let read = tokio::task::spawn_blocking(move || row_blocks::parsed(&bytes)).await?;
        match read {
            Ok(document) => Given::Document(Box::new(document)),
            Err(error) => {
                let message = format!("this is not a block of rows: {error}");
                return Ok(Err(ParseError::new("file_damaged", message)));
            }
        }
    } else if engine == "DOCLING" {
        match docling::convert(&app.config, file_name, mime_type, bytes).await? {
            Ok(document) => Given::Document(Box::new(document)),
            Err(error) => return Ok(Err(error)),
        }
    } else if let Some(read) = app.read_pages.remove(&document.blob_hash) {
        Given::Document(Box::new(Arc::unwrap_or_clone(read)))
    } else {
        Given::File {
            file_name,
            mime_type,
            bytes,
        }
    };
    let mut read = app.parser.read(given, Some(cut)).await?;
    if let Ok(parsed) = &mut read {
        warn_of_depth(document, &mut parsed.document);
    }
    Ok(read)
}

/// Warns of files that are skipped because they are nested too deep.
fn warn_of_depth(document: &Document, read: &mut cairn_ingest::Document) {
    let names: Vec<&str> = read.children.iter().map(|c| c.file_name.as_str()).collect();
    if document.depth < MAX_DEPTH || names.is_empty() {
        return;
    }
    let shown = names[..names.len().min(10)].join(", ");
    let rest = match names.len() {
        0..=10 => String::new(),
        many => format!(" and {} more", many - 10),
    };
    read.warnings.push(format!(
        "skipped files: {shown}{rest}; nested files are read at most {MAX_DEPTH} levels deep"
    ));
}

/// Maximum nesting depth at which archives and messages are opened.
const MAX_DEPTH: i64 = 3;

/// Stores the files inside a file as documents of their own.
async fn unpack(app: &App, document: &Document, parsed: &Parsed) -> Result<()> {
    let mut new = Vec::with_capacity(parsed.document.children.len());
    if document.depth < MAX_DEPTH {
        for child in &parsed.document.children {
            let file = tokio::fs::File::open(&child.path).await?;
            let content =
                ReaderStream::with_capacity(file, 1 << 18).map(|piece| piece.map_err(Error::from));
            let stored = app
                .blobs
                .put(&app.db, &document.tenant_id, content, child.size)
                .await?;
            let input = cairn_ingest::Input {
                file_name: &child.file_name,
                bytes: &stored.head,
                ocr: app.parser.ocr.as_deref(),
                ..cairn_ingest::Input::default()
            };
            let mime_type = cairn_ingest::parse::detect(&input)
                .map_or("application/octet-stream", |f| {
                    f.mime_type(&child.file_name)
                });
            new.push(documents::NewDocument {
                source: document.source,
                metadata: document.metadata()?,
                chunk_settings: document.chunk_settings(),
                ..documents::NewDocument::new(child.file_name.clone(), mime_type, stored)
            });
        }
    }
    documents::set_children(app, document, new).await
}

/// Embeds the texts that have no embedding yet, batch by batch. With `told`, the caller is the document's own job and reports its progress.
async fn embed(
    app: &Arc<App>,
    dataset: &Dataset,
    document: &Document,
    prepared: &Prepared,
    cancel: &CancellationToken,
    told: bool,
) -> Result<()> {
    let (known, missing) = missing(app, dataset, &prepared.chunks).await?;
    let total = i64::try_from(known + missing.len()).unwrap_or(i64::MAX);
    let mut done = i64::try_from(known).unwrap_or(i64::MAX);
    if missing.is_empty() {
        return Ok(());
    }
    if told {
        let embedding = Progress {
            status: DocumentStatus::Embedding,
            chunks_total: Some(total),
            chunks_embedded: Some(done),
            ..Progress::default()
        };
        step(app, document, &embedding).await?;
    }
    let embedder = app.embedder_of(&dataset.indexing.embedding_model).await?;
    let mut turn = Instant::now();
    for batch in missing.chunks(BATCH) {
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
        if told && turn.elapsed() > TURN {
            turn = Instant::now();
            // Embedded texts are stored, so little is repeated.
            if jobs::should_give_way(&app.db, &app.clock, &document.tenant_id, &document.job_id)
                .await?
            {
                return Err(jobs::gives_way());
            }
        }
        let vectors = embed_chunks(app, &embedder, batch).await?;
        done += i64::try_from(vectors.len()).unwrap_or(0);
        let mut tx = app.db.begin_repeatable().await?;
        for ((hash, _), vector) in batch.iter().zip(&vectors) {
            embeddings::store(
                &mut tx,
                &document.tenant_id,
                &dataset.indexing.embedding_model,
                hash,
                vector,
                app.clock.now(),
            )
            .await?;
        }
        if told {
            jobs::progressed(&mut tx, &document.tenant_id, &document.job_id).await?;
        }
        let last = done >= total;
        if !last && told {
            let progress = Progress {
                status: DocumentStatus::Embedding,
                chunks_embedded: Some(done),
                ..Progress::default()
            };
            documents::progress(app, &mut tx, document, &progress).await?;
        }
        app.commit(tx).await?;
    }
    Ok(())
}

/// Embeds the texts of a batch of chunks.
async fn embed_chunks(
    app: &App,
    embedder: &Loaded,
    batch: &[(&str, &Chunk)],
) -> Result<Vec<Vec<f32>>> {
    let texts = batch.iter().map(|(_, c)| c.indexed_text()).collect();
    app.embed_with(Arc::clone(embedder), texts, Priority::Bulk)
        .await
}

/// Returns the number of texts that have an embedding, and for each other text its hash and a chunk with it, ordered by length.
async fn missing<'a>(
    app: &App,
    dataset: &Dataset,
    chunks: impl IntoIterator<Item = &'a Chunk>,
) -> Result<(usize, Vec<(&'a str, &'a Chunk)>)> {
    // One chunk for each text; the text is assembled only for the batch that needs it.
    let texts: HashMap<&str, &Chunk> = chunks
        .into_iter()
        .map(|c| (c.text_hash.as_str(), c))
        .collect();
    let hashes: Vec<String> = texts.keys().map(|h| (*h).to_owned()).collect();
    let known: HashSet<String> = app
        .db
        .all_in::<(String,)>(
            "SELECT text_hash FROM kb_embeddings WHERE tenant_id = $1 AND model = $2 AND text_hash IN ($LIST)",
            args![&dataset.tenant_id, &dataset.indexing.embedding_model],
            &hashes,
        )
        .await?
        .into_iter()
        .map(|(hash,)| hash)
        .collect();
    let mut missing: Vec<(&str, &Chunk)> = texts
        .iter()
        .filter(|(hash, _)| !known.contains(**hash))
        .map(|(hash, chunk)| (*hash, *chunk))
        .collect();
    // Texts of similar length need little padding in a batch.
    missing.sort_by_key(|(hash, chunk)| (chunk.context.len() + chunk.content.len(), *hash));
    metrics::counter!("cairn_embeddings_reused_total").increment(known.len() as u64);
    Ok((known.len(), missing))
}

/// Records progress that the job depends on: when the document is gone, or another job owns it, there is nothing left to do.
async fn step(app: &App, document: &Document, progress: &Progress) -> Result<()> {
    if record(app, document, progress).await? {
        Ok(())
    } else {
        Err(cancelled())
    }
}

/// Records progress and publishes it; `false` when the document is gone, or another job owns it.
async fn record(app: &App, document: &Document, progress: &Progress) -> Result<bool> {
    let mut tx = app.db.begin_repeatable().await?;
    let there = documents::progress(app, &mut tx, document, progress).await?;
    app.commit(tx).await?;
    Ok(there)
}

/// Returns the error of a job that was cancelled, or whose document is gone.
fn cancelled() -> Error {
    Error::unavailable("cancelled", "ingestion was cancelled")
}
