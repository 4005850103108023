//! A dataset as one file: settings, sources, texts, chunks, edits and vectors, in a zip container that any program can open.
//!
//! | entry | what it holds |
//! |---|---|
//! | `manifest.json` | [`Manifest`]: format, settings of the dataset, counts |
//! | `documents.jsonl`, `chunks.jsonl`, `edits.jsonl` | rows, one JSON object per line |
//! | `embeddings.bin` | per text: SHA-256 (32 bytes), then the vector as little-endian f32 |
//! | `blobs/<sha256>` | source bytes and normalised texts |

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::datasets::{self, Cutting, Dataset, NewDataset};
use crate::kb::edits::Edit;
use crate::kb::index_log::{self, Op};
use crate::kb::ingestion::{store_embedding, stored_vector};
use crate::kb::{Chunk, Document, chunks, documents, edits};

/// Version of the layout.
pub const FORMAT: u32 = 1;
/// Rows read at a time.
const PAGE: i64 = 1000;
/// Rows written with one commit.
const BATCH: usize = 1000;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that wrote it.
    pub cairn: String,
    /// Id that the dataset had.
    pub dataset_id: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Its keyword analysis.
    pub language: String,
    /// Model of its vectors.
    pub embedding_model: String,
    /// Length of its vectors.
    pub vector_size: i64,
    /// Most tokens of a chunk.
    pub chunk_size: i64,
    /// Tokens repeated between chunks.
    pub chunk_overlap: i64,
    /// How documents are cut.
    pub parse_type: String,
    /// Who reads files.
    pub parser_engine: String,
    /// Where `MANUAL` cuts.
    pub delimiter: String,
    /// Roles of agents.
    pub allowed_agent_roles: Vec<String>,
    /// Number of documents.
    pub documents: usize,
    /// Number of chunks.
    pub chunks: usize,
    /// Number of vectors.
    pub embeddings: usize,
}

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

/// Writes a dataset to a file. The dataset is read as it is at one moment: changes of it wait until its rows are read.
///
/// # Errors
/// `dataset_not_found`; as the database, the blob store or the file system says.
pub async fn export(app: &App, caller: &Caller, dataset_id: &str, path: &Path) -> Result<Manifest> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let sink = Sink::create(path.to_owned());
    let outcome = write(app, &dataset, &sink).await;
    match outcome {
        Ok(manifest) => sink.finish().await.map(|()| manifest),
        // What the writer says is the cause, when it failed first.
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
    index_log::hold(&mut tx, tenant_id, &dataset.id).await?;
    let mut manifest = Manifest {
        format: FORMAT,
        cairn: env!("CARGO_PKG_VERSION").to_owned(),
        dataset_id: dataset.id.clone(),
        name: dataset.name.clone(),
        description: dataset.description.clone(),
        language: dataset.language.clone(),
        embedding_model: dataset.embedding_model.clone(),
        vector_size: dataset.vector_size,
        chunk_size: dataset.chunk_size,
        chunk_overlap: dataset.chunk_overlap,
        parse_type: dataset.parse_type.clone(),
        parser_engine: dataset.parser_engine.clone(),
        delimiter: dataset.delimiter.clone(),
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
                args![hash, &dataset.embedding_model, tenant_id],
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

/// A file that is open for reading; used off the async threads.
struct Source(ZipArchive<BufReader<File>>);

fn unreadable(cause: &dyn std::fmt::Display) -> Error {
    Error::invalid(
        "import_unreadable",
        format!("the file is no export of a dataset: {cause}"),
    )
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|e| Error::invalid("path_unreadable", format!("{}: {e}", path.display())))?;
        ZipArchive::new(BufReader::new(file))
            .map(Self)
            .map_err(|e| unreadable(&e))
    }

    fn entry(&mut self, name: &str) -> Result<impl Read + '_> {
        self.0
            .by_name(name)
            .map_err(|e| unreadable(&format!("{name}: {e}")))
    }

    fn rows<T: DeserializeOwned>(&mut self, name: &str) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        for line in BufReader::new(self.entry(name)?).lines() {
            let line = line.map_err(|e| unreadable(&e))?;
            rows.push(
                serde_json::from_str(&line).map_err(|e| unreadable(&format!("{name}: {e}")))?,
            );
        }
        Ok(rows)
    }
}

/// Reads a dataset from a file, into a new dataset of the name in the file or of another one. Ids stay as they were where they are free.
///
/// # Errors
/// `import_unreadable`, `import_format_unknown`, `model_mismatch`, `dataset_exists`.
pub async fn import(
    app: &App,
    caller: &Caller,
    path: &Path,
    name: Option<&str>,
) -> Result<Dataset> {
    caller.need_unconfined(Scope::KbWrite)?;
    let owned = path.to_owned();
    let (mut source, manifest) = tokio::task::spawn_blocking(move || {
        let mut source = Source::open(&owned)?;
        let manifest: Manifest = source
            .rows("manifest.json")?
            .pop()
            .ok_or_else(|| unreadable(&"it has no manifest"))?;
        Ok::<_, Error>((source, manifest))
    })
    .await??;
    if manifest.format != FORMAT {
        return Err(Error::invalid(
            "import_format_unknown",
            format!(
                "the file has format {}, this version reads {FORMAT}",
                manifest.format
            ),
        ));
    }
    let spec = app.embedder().await?.spec().clone();
    if spec.model != manifest.embedding_model {
        return Err(Error::unprocessable(
            "model_mismatch",
            format!(
                "the file has vectors of the model {}, but this installation runs {}",
                manifest.embedding_model, spec.model
            ),
        ));
    }
    let (documents, chunks, edits, mut source) = tokio::task::spawn_blocking(move || {
        let documents: Vec<Document> = source.rows("documents.jsonl")?;
        let chunks: Vec<Chunk> = source.rows("chunks.jsonl")?;
        let edits: Vec<(String, Edit)> = source.rows("edits.jsonl")?;
        Ok::<_, Error>((documents, chunks, edits, source))
    })
    .await??;
    let dataset = datasets::create(
        app,
        caller,
        NewDataset {
            name: name.unwrap_or(&manifest.name).to_owned(),
            description: manifest.description.clone(),
            language: Some(manifest.language.clone()),
            cutting: Cutting {
                chunk_size: Some(manifest.chunk_size),
                chunk_overlap: Some(manifest.chunk_overlap),
                parse_type: Some(manifest.parse_type.clone()),
                parser_engine: Some(manifest.parser_engine.clone()),
            },
            delimiter: Some(manifest.delimiter.clone()),
            allowed_agent_roles: manifest.allowed_agent_roles.clone(),
        },
    )
    .await?;
    let names = Names::choose(app, &documents).await?;
    // Blobs first: a document whose bytes are missing would be a lie.
    let mut hashes: BTreeSet<String> = documents.iter().map(|d| d.blob_hash.clone()).collect();
    hashes.extend(documents.iter().filter_map(|d| d.text_hash.clone()));
    for hash in hashes {
        let (bytes, back) = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            source
                .entry(&format!("blobs/{hash}"))?
                .read_to_end(&mut bytes)
                .map_err(|e| unreadable(&e))?;
            Ok::<_, Error>(((hash, bytes), source))
        })
        .await??;
        source = back;
        let stored = app
            .blobs
            .put_bytes(&app.db, caller.tenant(), bytes.1)
            .await?;
        if stored.hash != bytes.0 {
            return Err(unreadable(&format!("the bytes of {} are damaged", bytes.0)));
        }
    }
    vectors(app, caller, &manifest, source).await?;
    rows(app, &dataset, &names, &documents, &chunks, &edits).await?;
    app.bell.ring();
    datasets::get(app, caller, &dataset.id).await
}

/// Ids of the file in this installation.
struct Names(Option<HashMap<String, String>>);

impl Names {
    /// The same ids, when none of the documents is here yet; new ones otherwise.
    async fn choose(app: &App, documents: &[Document]) -> Result<Self> {
        let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
        // Over all tenants: ids are keys of the whole table.
        let taken: Vec<(String,)> = app
            .db
            .all_in(
                "SELECT id FROM kb_documents WHERE id IN ($LIST)",
                args![],
                &ids,
            )
            .await?;
        Ok(Self((!taken.is_empty()).then(|| {
            ids.into_iter().map(|id| (id, app.clock.id())).collect()
        })))
    }

    fn document(&self, id: &str) -> String {
        self.0
            .as_ref()
            .and_then(|names| names.get(id).cloned())
            .unwrap_or_else(|| id.to_owned())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "ids of chunks are UUIDs; this one stands for another one"
    )]
    /// Of a chunk or an edit of that document.
    fn inside(&self, document_id: &str, id: &str) -> String {
        match &self.0 {
            None => id.to_owned(),
            Some(_) => Uuid::new_v5(
                &Uuid::NAMESPACE_OID,
                format!("{}/imported/{id}", self.document(document_id)).as_bytes(),
            )
            .to_string(),
        }
    }
}

async fn vectors(
    app: &App,
    caller: &Caller,
    manifest: &Manifest,
    mut source: Source,
) -> Result<()> {
    let size = usize::try_from(manifest.vector_size).map_err(|e| unreadable(&e))? * 4;
    let mut left = manifest.embeddings;
    let (batches, mut incoming) = mpsc::channel::<Vec<u8>>(4);
    let reader = tokio::task::spawn_blocking(move || {
        let mut entry = source.entry("embeddings.bin")?;
        while left > 0 {
            let count = left.min(BATCH);
            let mut batch = vec![0; count * (32 + size)];
            entry.read_exact(&mut batch).map_err(|e| unreadable(&e))?;
            left -= count;
            if batches.blocking_send(batch).is_err() {
                break;
            }
        }
        Ok::<_, Error>(())
    });
    while let Some(batch) = incoming.recv().await {
        let mut tx = app.db.begin_repeatable().await?;
        for record in batch.chunks_exact(32 + size) {
            let (hash, vector) = record.split_at(32);
            let floats = stored_vector(vector);
            store_embedding(
                &mut tx,
                caller.tenant(),
                &manifest.embedding_model,
                &hex::encode(hash),
                &floats,
                app.clock.now(),
            )
            .await?;
        }
        tx.commit().await?;
    }
    reader.await?
}

async fn rows(
    app: &App,
    dataset: &Dataset,
    names: &Names,
    all: &[Document],
    chunks: &[Chunk],
    edits: &[(String, Edit)],
) -> Result<()> {
    let tenant_id = dataset.tenant_id.as_str();
    let mut tx = app.db.begin().await?;
    index_log::hold(&mut tx, tenant_id, &dataset.id).await?;
    let mut hidden: BTreeSet<&str> = BTreeSet::new();
    let mut unfinished = Vec::new();
    for document in all {
        if !document.enabled {
            hidden.insert(&document.id);
        }
        let id = names.document(&document.id);
        let finished = matches!(document.status.as_str(), "indexed" | "stored" | "error");
        if !finished {
            unfinished.push(id.clone());
        }
        let row = Document {
            parent_id: document.parent_id.as_deref().map(|p| names.document(p)),
            status: if document.status == "indexed" {
                "stored".to_owned()
            } else {
                document.status.clone()
            },
            id,
            tenant_id: tenant_id.to_owned(),
            dataset_id: dataset.id.clone(),
            job_id: String::new(),
            ready_seq: 0,
            ..document.clone()
        };
        documents::insert_row(&mut tx, &row).await?;
    }
    let mut ops: Vec<(Op, String)> = Vec::new();
    for chunk in chunks {
        let row = Chunk {
            id: names.inside(&chunk.document_id, &chunk.id),
            document_id: names.document(&chunk.document_id),
            dataset_id: dataset.id.clone(),
            set_id: dataset.live_set.clone(),
            edit_id: chunk
                .edit_id
                .as_deref()
                .map(|id| names.inside(&chunk.document_id, id)),
            ..chunk.clone()
        };
        chunks::insert(&mut tx, tenant_id, &row).await?;
        if row.enabled && !hidden.contains(chunk.document_id.as_str()) {
            ops.extend([(Op::Text, row.id.clone()), (Op::Vector, row.id)]);
        }
    }
    for (document_id, edit) in edits {
        let id = names.inside(document_id, &edit.id);
        edits::insert_row(
            &mut tx,
            tenant_id,
            &names.document(document_id),
            &Edit { id, ..edit.clone() },
        )
        .await?;
    }
    let seq = index_log::append(&mut tx, &dataset.live_set, &ops).await?;
    tx.execute(
        "UPDATE kb_documents SET ready_seq = $1 WHERE tenant_id = $2 AND dataset_id = $3",
        args![seq, tenant_id, &dataset.id],
    )
    .await?;
    for id in &unfinished {
        documents::queue(app, &mut tx, tenant_id, &dataset.id, id).await?;
    }
    tx.commit().await
}
