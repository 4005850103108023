//! Ingests small files together: each is parsed for itself, then the texts of all are embedded in common batches, and everything is stored in one
//! transaction. A file of a few chunks would otherwise cost more in transactions and waiting threads than in inference.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::store::{Item, exchange_all};
use super::{
    BATCH, Read, embed_chunks, ingest, ingested, missing, parse, prepared, refuse, store_text,
    unpack,
};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::{Job, Task};
use crate::kb::{Document, documents, row_blocks};

/// Size of the texts of one transaction in bytes; the rest of the files are ingested one by one.
const TEXTS: usize = 1 << 20;

/// Ingests the documents of small jobs of one group, and returns their results in the same order. A document that cannot be ingested with the others (an
/// archive, one with manual edits), and all that are left after an error, are ingested one by one.
pub(crate) async fn ingest_together(
    app: &Arc<App>,
    jobs: &[Job],
    cancel: &[CancellationToken],
) -> Vec<Result<()>> {
    let mut done = vec![false; jobs.len()];
    if let Err(error) = together(app, jobs, cancel, &mut done).await {
        tracing::info!(error = %error, jobs = jobs.len(), "small files are ingested one by one");
    }
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

/// Ingests what can be ingested together, and notes which jobs are done.
async fn together(
    app: &Arc<App>,
    jobs: &[Job],
    cancel: &[CancellationToken],
    done: &mut [bool],
) -> Result<()> {
    let began = Instant::now();
    let mut documents = documents_of(app, jobs).await?;
    let Some((_, first)) = documents.first() else {
        return Ok(());
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
                refuse(app, &document, error).await?;
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
        let item = Item {
            document,
            prepared,
            text_hash,
        };
        ready.push((job, item));
    }
    let chunks = ready.iter().flat_map(|(_, item)| &item.prepared.chunks);
    let (_, missing) = missing(app, &dataset, chunks).await?;
    let mut vectors = Vec::with_capacity(missing.len());
    for batch in missing.chunks(BATCH) {
        let found = embed_chunks(app, &embedder, batch).await?;
        vectors.extend(batch.iter().map(|(hash, _)| *hash).zip(found));
    }
    // A cancelled job is left to `ingest`, which ends it.
    let wanted = ready.iter().filter(|(job, _)| !cancel[*job].is_cancelled());
    let (numbers, items): (Vec<usize>, Vec<&Item>) = wanted.map(|(job, item)| (*job, item)).unzip();
    if items.is_empty() {
        return Ok(());
    }
    let stored = exchange_all(app, &dataset, &items, &vectors).await?;
    let seconds = began.elapsed().as_secs_f64() / items.len() as f64;
    for (job, stored) in numbers.into_iter().zip(stored) {
        done[job] = stored;
        if stored {
            ingested(seconds);
        }
    }
    Ok(())
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
