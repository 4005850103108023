//! Ingests small files together: each is parsed for itself, then the texts of all are embedded in common batches, and everything is stored in one
//! transaction. A file of a few chunks would otherwise cost more in transactions and waiting threads than in inference.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cairn_models::Priority;
use tokio_util::sync::CancellationToken;

use super::store::{Item, exchange_all};
use super::{BATCH, Prepared, Read, fail, ingest, missing, parse, prepared, store_text, unpack};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::{Job, Task};
use crate::kb::{Document, documents, row_blocks};

/// Size of the texts of one transaction in bytes; the rest of the files are ingested one by one.
const TEXTS: usize = 1 << 20;

/// Ingests the documents of small jobs of one group, and returns their results in the same order. A document that cannot be ingested with the others (an archive,
/// one with manual edits), and all of them after an error, are ingested one by one.
pub(crate) async fn ingest_together(
    app: &Arc<App>,
    jobs: &[Job],
    cancel: &[CancellationToken],
) -> Vec<Result<()>> {
    let done = together(app, jobs, cancel).await.unwrap_or_else(|error| {
        tracing::info!(error = %error, jobs = jobs.len(), "small files are ingested one by one");
        vec![false; jobs.len()]
    });
    let mut results = Vec::with_capacity(jobs.len());
    for ((job, cancel), done) in jobs.iter().zip(cancel).zip(done) {
        results.push(if done {
            Ok(())
        } else {
            alone(app, job, cancel).await
        });
    }
    results
}

async fn alone(app: &Arc<App>, job: &Job, cancel: &CancellationToken) -> Result<()> {
    let Task::Ingest {
        document_id,
        text_indexed,
    } = job.task()?
    else {
        return Err(Error::internal("not the ingestion of a file"));
    };
    ingest(app, job, &document_id, text_indexed, cancel).await
}

/// A parsed and prepared document.
struct Ready {
    /// Index of its job.
    job: usize,
    document: Document,
    prepared: Prepared,
    text_hash: String,
}

/// Ingests what can be ingested together. Returns for each job whether it is done.
async fn together(app: &Arc<App>, jobs: &[Job], cancel: &[CancellationToken]) -> Result<Vec<bool>> {
    let began = Instant::now();
    let mut done = vec![false; jobs.len()];
    let mut documents = documents_of(app, jobs).await?;
    let Some((_, first)) = documents.first() else {
        return Ok(done);
    };
    let caller = crate::auth::Caller::local(&first.tenant_id);
    let dataset = crate::kb::datasets::settings(app, &caller, &first.dataset_id).await?;
    documents.retain(|(_, document)| {
        let engine = document.parser_engine.as_ref();
        document.dataset_id == dataset.id
            && document.mime_type != row_blocks::MIME
            && engine.unwrap_or(&dataset.indexing.parser_engine) != "DOCLING"
    });
    let embedder = app.embedder_of(&dataset.indexing.embedding_model).await?;
    let (mut ready, mut size) = (Vec::with_capacity(documents.len()), 0);
    for (job, document) in documents {
        if cancel[job].is_cancelled() || size > TEXTS {
            continue;
        }
        let mut parsed = match parse(app, &document, &dataset).await? {
            Ok(parsed) if !parsed.document.children.is_empty() => continue,
            Ok(parsed) => parsed,
            Err(error) => {
                metrics::counter!("cairn_documents_failed_total", "code" => error.code.clone())
                    .increment(1);
                fail(app, &document, (error.code, error.message)).await?;
                done[job] = true;
                continue;
            }
        };
        if document.text_hash.is_some() {
            // An earlier version may have contained files.
            unpack(app, &document, &parsed).await?;
        }
        let text = Bytes::from(std::mem::take(&mut parsed.document.text));
        size += text.len();
        let text_hash = store_text(app, &document, &text).await?;
        let read = Arc::new(Read { parsed, text });
        let prepared = prepared(app, &dataset, &document, read, Vec::new()).await?;
        ready.push(Ready {
            job,
            document,
            prepared,
            text_hash,
        });
    }
    let chunks = ready.iter().flat_map(|r| &r.prepared.chunks);
    let (_, missing) = missing(app, &dataset, chunks).await?;
    let mut vectors = Vec::with_capacity(missing.len());
    for batch in missing.chunks(BATCH) {
        let input = batch.iter().map(|(_, c)| c.indexed_text()).collect();
        let found = app
            .embed_with(Arc::clone(&embedder), input, Priority::Bulk)
            .await?;
        vectors.extend(batch.iter().map(|(hash, _)| *hash).zip(found));
    }
    // A cancelled job is left to `ingest`, which ends it.
    let ready: Vec<&Ready> = ready
        .iter()
        .filter(|r| !cancel[r.job].is_cancelled())
        .collect();
    if ready.is_empty() {
        return Ok(done);
    }
    let items: Vec<Item<'_>> = ready
        .iter()
        .map(|ready| Item {
            document: &ready.document,
            prepared: &ready.prepared,
            text_hash: &ready.text_hash,
        })
        .collect();
    let stored = exchange_all(app, &dataset, &items, &vectors).await?;
    let seconds = began.elapsed().as_secs_f64() / items.len() as f64;
    for (ready, stored) in ready.iter().zip(stored) {
        done[ready.job] = stored;
        if stored {
            metrics::histogram!("cairn_ingest_document_seconds").record(seconds);
            metrics::counter!("cairn_documents_ingested_total").increment(1);
        }
    }
    Ok(done)
}

/// Returns the documents that the jobs are to ingest as a whole, each with the index of its job.
async fn documents_of(app: &App, jobs: &[Job]) -> Result<Vec<(usize, Document)>> {
    let Some(first) = jobs.first() else {
        return Ok(Vec::new());
    };
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (number, job) in jobs.iter().enumerate() {
        if let Task::Ingest {
            document_id,
            text_indexed: false,
        } = job.task()?
        {
            numbers.insert(document_id, number);
        }
    }
    let ids: Vec<String> = numbers.keys().cloned().collect();
    let rows = documents::load_all(&app.db, &first.tenant_id, &ids).await?;
    let mut found: Vec<(usize, Document)> = rows
        .into_iter()
        .filter_map(|document| Some((*numbers.get(&document.id)?, document)))
        .filter(|(number, document)| document.job_id == jobs[*number].id)
        .collect();
    found.sort_by_key(|(number, _)| *number);
    Ok(found)
}
