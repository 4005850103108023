//! Exports a dataset to a file, on a separate thread.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{FORMAT, Manifest};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::datasets::{self, Dataset};
use crate::kb::edits::Edit;
use crate::kb::{Chunk, chunks, documents, edits, index_log};

/// Rows read at a time.
const PAGE: i64 = 1000;

/// Sends entries to the thread that writes the file.
struct Sink {
    parts: mpsc::Sender<Part>,
    writer: JoinHandle<Result<()>>,
}

enum Part {
    Entry(String, CompressionMethod),
    Bytes(Bytes),
}

impl Sink {
    fn create(path: PathBuf) -> Self {
        let (parts, mut incoming) = mpsc::channel(64);
        let writer = tokio::task::spawn_blocking(move || {
            let failed = |e: zip::result::ZipError| Error::from(std::io::Error::other(e));
            let partial = path.with_extension("partial");
            let mut archive = ZipWriter::new(std::io::BufWriter::new(File::create(&partial)?));
            while let Some(part) = incoming.blocking_recv() {
                match part {
                    Part::Entry(name, method) => {
                        let options = SimpleFileOptions::default()
                            .compression_method(method)
                            .large_file(true);
                        archive.start_file(name, options).map_err(failed)?;
                    }
                    Part::Bytes(bytes) => archive.write_all(&bytes)?,
                }
            }
            let mut file = archive.finish().map_err(failed)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            std::fs::rename(&partial, &path)?;
            Ok(())
        });
        Self { parts, writer }
    }

    async fn send(&self, part: Part) -> Result<()> {
        self.parts
            .send(part)
            .await
            .map_err(|_| Error::internal("the export could not be written"))
    }

    async fn entry(&self, name: &str, method: CompressionMethod) -> Result<()> {
        self.send(Part::Entry(name.to_owned(), method)).await
    }

    async fn lines<T: Serialize>(&self, rows: &[T]) -> Result<()> {
        let mut text = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut text, row)?;
            text.push(b'\n');
        }
        self.send(Part::Bytes(text.into())).await
    }

    async fn finish(self) -> Result<()> {
        drop(self.parts);
        self.writer.await?
    }
}

/// Exports a dataset to a file. The export is a consistent snapshot: changes of the dataset wait until its rows are read.
///
/// # Errors
/// `dataset_not_found`; those of the database, the blob store and the file system.
pub async fn export(app: &App, caller: &Caller, dataset_id: &str, path: &Path) -> Result<Manifest> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let sink = Sink::create(path.to_owned());
    let outcome = write(app, &dataset, &sink).await;
    match outcome {
        Ok(manifest) => sink.finish().await.map(|()| manifest),
        // The error of the writer is the cause when it failed first.
        Err(error) => Err(match sink.finish().await {
            Err(cause) => cause,
            Ok(()) => {
                tokio::fs::remove_file(path).await?;
                error
            }
        }),
    }
}

async fn write(app: &App, dataset: &Dataset, sink: &Sink) -> Result<Manifest> {
    let deflate = CompressionMethod::Deflated;
    let tenant_id = dataset.tenant_id.as_str();
    let mut tx = app.db.begin().await?;
    index_log::lock_dataset(&mut tx, tenant_id, &dataset.id).await?;
    let mut manifest = Manifest {
        format: FORMAT,
        cairn: env!("CARGO_PKG_VERSION").to_owned(),
        dataset_id: dataset.id.clone(),
        name: dataset.name.clone(),
        description: dataset.description.clone(),
        language: dataset.language.clone(),
        embedding_model: dataset.indexing.embedding_model.clone(),
        vector_size: dataset.indexing.vector_size,
        chunk_size: dataset.indexing.chunk_size,
        chunk_overlap: dataset.indexing.chunk_overlap,
        parse_type: dataset.indexing.parse_type.clone(),
        parser_engine: dataset.indexing.parser_engine.clone(),
        delimiter: dataset.indexing.delimiter.clone(),
        calibration: dataset.indexing.calibration(),
        allowed_agent_roles: dataset.roles(),
        documents: 0,
        chunks: 0,
        embeddings: 0,
    };
    let mut blobs: BTreeSet<String> = BTreeSet::new();
    let mut edited: Vec<(String, Vec<Edit>)> = Vec::new();
    sink.entry("documents.jsonl", deflate).await?;
    let mut after = String::new();
    loop {
        let rows = documents::page_in(&mut tx, tenant_id, &dataset.id, &after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.id);
        for row in &rows {
            blobs.insert(row.blob_hash.clone());
            blobs.extend(row.text_hash.clone());
            let edits = edits::of_document_in(&mut tx, tenant_id, &row.id).await?;
            if !edits.is_empty() {
                edited.push((row.id.clone(), edits));
            }
        }
        manifest.documents += rows.len();
        sink.lines(&rows).await?;
    }
    sink.entry("edits.jsonl", deflate).await?;
    for (document_id, edits) in &edited {
        let rows: Vec<_> = edits.iter().map(|edit| (document_id, edit)).collect();
        sink.lines(&rows).await?;
    }
    sink.entry("chunks.jsonl", deflate).await?;
    let mut hashes: BTreeSet<String> = BTreeSet::new();
    after.clear();
    loop {
        let rows: Vec<Chunk> = tx
            .all(
                concat!(
                    "SELECT ",
                    chunks::columns!(""),
                    " FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND id > $3 ORDER BY id LIMIT $4"
                ),
                args![tenant_id, &dataset.live_set, &after, PAGE],
            )
            .await?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.id);
        hashes.extend(rows.iter().map(|c| c.text_hash.clone()));
        manifest.chunks += rows.len();
        sink.lines(&rows).await?;
    }
    sink.entry("embeddings.bin", CompressionMethod::Stored)
        .await?;
    for hash in &hashes {
        let row: Option<(Vec<u8>,)> = tx
            .optional(
                "SELECT vector FROM kb_embeddings WHERE text_hash = $1 AND model = $2 AND tenant_id = $3",
                args![hash, &dataset.indexing.embedding_model, tenant_id],
            )
            .await?;
        if let Some((vector,)) = row {
            let mut record = hex::decode(hash)
                .map_err(|e| Error::internal("a stored hash is damaged").with_source(e))?;
            record.extend(vector);
            sink.send(Part::Bytes(record.into())).await?;
            manifest.embeddings += 1;
        }
    }
    tx.commit().await?;
    for hash in &blobs {
        sink.entry(&format!("blobs/{hash}"), deflate).await?;
        let bytes = app.blobs.get(tenant_id, hash).await?;
        sink.send(Part::Bytes(bytes)).await?;
    }
    sink.entry("manifest.json", deflate).await?;
    sink.lines(&[&manifest]).await?;
    Ok(manifest)
}
