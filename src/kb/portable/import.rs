//! Imports a dataset from a validated file.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Manifest;
use super::check::{Checked, HASH, Source, check, unreadable};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::{Tx, args};
use crate::error::{Error, Kind, Result};
use crate::kb::datasets::{self, ChunkSettings, Dataset, NewDataset};
use crate::kb::documents::DocumentStatus;
use crate::kb::edits::Edit;
use crate::kb::embeddings;
use crate::kb::index_log::{self, Op};
use crate::kb::usage;
use crate::kb::{Chunk, Document, chunks, documents, edits};

/// Rows read at a time.
const BATCH: usize = 1000;

/// Imports a dataset from a file, under the name in the file or another one. Ids are kept where they are free. The import is all or nothing, except for
/// blobs and embeddings without references, which housekeeping removes.
///
/// # Errors
/// `import_unreadable` with the defect, `import_format_unknown`, `model_mismatch`, `dataset_exists`, and those of a dataset's settings.
pub async fn import(
    app: &App,
    caller: &Caller,
    path: &Path,
    name: Option<&str>,
) -> Result<Dataset> {
    caller.need_unconfined(Scope::KbWrite)?;
    let (owned, spec) = (path.to_owned(), app.embedder().await?.spec().clone());
    let checked = tokio::task::spawn_blocking(move || check(&owned, &spec)).await??;
    let new = new_dataset(&checked.manifest, name);
    match datasets::by_name(app, caller, &new.name).await {
        Ok(_) => return Err(datasets::exists(&new.name)),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error),
    }
    let names = Names::choose(app, &checked).await?;
    // Blobs and vectors first, so that no row refers to missing data.
    let checked = store_blobs(app, caller, checked).await?;
    let checked = store_vectors(app, caller, checked).await?;
    let id = app.clock.id();
    let mut tx = app.db.begin().await?;
    let dataset = datasets::create_in(app, &mut tx, caller, &id, &new).await?;
    index_log::lock_dataset(&mut tx, caller.tenant(), &dataset.id).await?;
    store_rows(app, &mut tx, &dataset, &names, checked).await?;
    app.commit(tx).await?;
    datasets::get(app, caller, &dataset.id).await
}

fn new_dataset(manifest: &Manifest, name: Option<&str>) -> NewDataset {
    NewDataset {
        name: name.unwrap_or(&manifest.name).to_owned(),
        description: manifest.description.clone(),
        language: Some(manifest.language.clone()),
        chunk_settings: ChunkSettings {
            chunk_size: Some(manifest.chunk_size),
            chunk_overlap: Some(manifest.chunk_overlap),
            parse_type: Some(manifest.parse_type.clone()),
            parser_engine: Some(manifest.parser_engine.clone()),
        },
        delimiter: Some(manifest.delimiter.clone()),
        allowed_agent_roles: manifest.allowed_agent_roles.clone(),
        calibration: manifest.calibration,
    }
}

/// Mapping from ids in the file to ids in this installation.
struct Names(Option<HashMap<String, String>>);

impl Names {
    /// Keeps the ids of the file when none of them is in use; generates new ones otherwise.
    async fn choose(app: &App, checked: &Checked) -> Result<Self> {
        let ids: Vec<String> = checked.documents.iter().map(|d| d.id.clone()).collect();
        let edits: Vec<String> = checked.edits.iter().map(|(_, e)| e.id.clone()).collect();
        let mut is_taken = false;
        // Over all tenants, because ids are keys of the whole table.
        for (statement, ids) in [
            ("SELECT id FROM kb_documents WHERE id IN ($LIST)", &ids),
            (
                "SELECT id FROM kb_chunks WHERE id IN ($LIST)",
                &checked.chunk_ids,
            ),
            ("SELECT id FROM kb_chunk_edits WHERE id IN ($LIST)", &edits),
        ] {
            let taken: Vec<(String,)> = app.db.all_in(statement, args![], ids).await?;
            is_taken |= !taken.is_empty();
        }
        Ok(Self(is_taken.then(|| {
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
    /// Returns the id of a chunk or an edit of that document.
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

async fn store_blobs(app: &App, caller: &Caller, mut checked: Checked) -> Result<Checked> {
    let documents = checked.documents.iter();
    let hashes: BTreeSet<String> = documents
        .flat_map(|d| [Some(d.blob_hash.clone()), d.text_hash.clone()])
        .flatten()
        .collect();
    for hash in hashes {
        let bytes;
        (checked, bytes) = tokio::task::spawn_blocking(move || {
            let bytes = checked.source.blob(&hash)?;
            Ok::<_, Error>((checked, bytes))
        })
        .await??;
        app.blobs.put_bytes(&app.db, caller.tenant(), bytes).await?;
    }
    Ok(checked)
}

/// Passes batches that a thread reads from the file to the caller, and returns the file.
fn reading<T: Send + 'static>(
    mut checked: Checked,
    read: impl FnOnce(&mut Source, &Manifest, &mut dyn FnMut(T) -> Result<()>) -> Result<()>
    + Send
    + 'static,
) -> (mpsc::Receiver<T>, JoinHandle<Result<Checked>>) {
    let (batches, incoming) = mpsc::channel(4);
    let reader = tokio::task::spawn_blocking(move || {
        let mut send = |batch| {
            let sent = batches.blocking_send(batch);
            sent.map_err(|_| Error::internal("the import has ended"))
        };
        read(&mut checked.source, &checked.manifest, &mut send)?;
        Ok(checked)
    });
    (incoming, reader)
}

async fn store_vectors(app: &App, caller: &Caller, checked: Checked) -> Result<Checked> {
    let model = checked.manifest.embedding_model.clone();
    let record = HASH + 4 * usize::try_from(checked.manifest.vector_size).unwrap_or(0);
    let (mut incoming, reader) = reading(checked, move |source, manifest, send| {
        let mut entry = source.entry("embeddings.bin")?;
        let mut left = manifest.embeddings;
        while left > 0 {
            let count = left.min(BATCH);
            let mut batch = vec![0; count * record];
            entry.read_exact(&mut batch).map_err(|e| unreadable(&e))?;
            left -= count;
            send(batch)?;
        }
        Ok(())
    });
    while let Some(batch) = incoming.recv().await {
        let mut tx = app.db.begin_repeatable().await?;
        for record in batch.chunks_exact(record) {
            let (hash, vector) = record.split_at(HASH);
            let (hash, vector) = (hex::encode(hash), embeddings::vector_of(vector));
            let now = app.clock.now();
            embeddings::store(&mut tx, caller.tenant(), &model, &hash, &vector, now).await?;
        }
        tx.commit().await?;
    }
    reader.await?
}

/// Reads the rows of an entry in batches.
fn batches<T: DeserializeOwned>(
    source: &mut Source,
    name: &str,
    send: &mut dyn FnMut(Vec<T>) -> Result<()>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    source.rows(name, |row| {
        batch.push(row);
        if batch.len() == BATCH {
            send(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    send(batch)
}

async fn store_rows(
    app: &App,
    tx: &mut Tx,
    dataset: &Dataset,
    names: &Names,
    checked: Checked,
) -> Result<()> {
    let tenant_id = dataset.tenant_id.as_str();
    let mut hidden: BTreeSet<String> = BTreeSet::new();
    let mut unfinished = Vec::new();
    for document in &checked.documents {
        if !document.enabled {
            hidden.insert(document.id.clone());
        }
        let id = names.document(&document.id);
        let finished = document.status.is_final() || document.status == DocumentStatus::Stored;
        if !finished {
            unfinished.push(id.clone());
        }
        let row = Document {
            parent_id: document.parent_id.as_deref().map(|p| names.document(p)),
            status: if document.status == DocumentStatus::Indexed {
                DocumentStatus::Stored
            } else {
                document.status
            },
            id,
            tenant_id: tenant_id.to_owned(),
            dataset_id: dataset.id.clone(),
            job_id: String::new(),
            ready_seq: 0,
            ..document.clone()
        };
        documents::insert_row(tx, &row).await?;
    }
    let mut ops: Vec<(Op, String)> = Vec::new();
    let (mut incoming, reader) = reading(checked, |source, _, send| {
        batches::<Chunk>(source, "chunks.jsonl", send)
    });
    while let Some(batch) = incoming.recv().await {
        for chunk in batch {
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
            chunks::insert(tx, tenant_id, &row).await?;
            if row.enabled && !hidden.contains(&chunk.document_id) {
                ops.extend([(Op::Text, row.id.clone()), (Op::Vector, row.id)]);
            }
        }
    }
    let checked = reader.await??;
    for (document_id, edit) in &checked.edits {
        let id = names.inside(document_id, &edit.id);
        edits::insert_row(
            tx,
            tenant_id,
            &names.document(document_id),
            &Edit { id, ..edit.clone() },
        )
        .await?;
    }
    let seq = index_log::append(tx, &dataset.live_set, &ops).await?;
    tx.execute(
        "UPDATE kb_documents SET ready_seq = $1 WHERE tenant_id = $2 AND dataset_id = $3",
        args![seq, tenant_id, &dataset.id],
    )
    .await?;
    for id in &unfinished {
        documents::queue(app, tx, tenant_id, &dataset.id, id).await?;
    }
    usage::check(tx, tenant_id).await
}
