//! Stores the result of ingestion: the rows of a document's chunks are exchanged in one transaction together with the index log.

use std::collections::HashMap;

use super::Prepared;
use crate::app::App;
use crate::auth::quotas;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::events;
use crate::jobs;
use crate::kb::documents::{DocumentStatus, changed_now};
use crate::kb::index_log::{self, Op};
use crate::kb::{Chunk, Dataset, Document, builds, chunks, documents, edits, embeddings, usage};

/// Completeness of a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The chunks of a new document, before their embeddings: found by keyword search.
    Words,
    /// The embeddings of chunks stored by `Words`.
    Vectors,
    /// A complete new version of a document that was searchable before.
    Everything,
}

/// Outcome of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The rows are stored, or no longer needed.
    Done,
    /// The document was edited since it was prepared; nothing was changed.
    Edited,
}

/// Replaces the stored chunks with those of `prepared`, and logs the changes for the indexes. Chunks with unchanged text keep their row and stay in the
/// indexes.
pub(super) async fn exchange(
    app: &App,
    dataset: &Dataset,
    document: &Document,
    prepared: &Prepared,
    text_hash: &str,
    stage: Stage,
) -> Result<Exchange> {
    let tenant_id = document.tenant_id.as_str();
    let mut tx = app.db.begin_repeatable().await?;
    let live = index_log::lock_dataset(&mut tx, tenant_id, &dataset.id).await?;
    // Visibility may have changed since the job began. The row also shows whether the document still exists and no later job owns it.
    let current: Option<(bool,)> = tx
        .optional(
            "SELECT enabled FROM kb_documents WHERE tenant_id = $1 AND id = $2 AND job_id = $3",
            args![tenant_id, &document.id, &document.job_id],
        )
        .await?;
    let Some((enabled,)) = current else {
        return Ok(Exchange::Done);
    };
    if edits::of_document_in(&mut tx, tenant_id, &document.id).await? != prepared.made {
        return Ok(Exchange::Edited);
    }
    if live.as_ref() != Some(&dataset.live_set) {
        return Err(switched());
    }
    let old = stored(&mut tx, dataset, std::slice::from_ref(&document.id)).await?;
    let ops = replace(&mut tx, document, enabled, &old, prepared, stage).await?;
    edits::note(&mut tx, tenant_id, &prepared.edits).await?;
    let seq = index_log::append(&mut tx, &dataset.live_set, &ops).await?;
    record_stored(app, &mut tx, document, prepared, text_hash, stage, seq).await?;
    // A version that is no larger is stored, whatever the quota has become.
    if prepared.chunks.len() > old.len() {
        usage::check(&mut tx, tenant_id).await?;
    }
    jobs::progressed(&mut tx, tenant_id, &document.job_id).await?;
    if stage != Stage::Words {
        builds::follow(app, &mut tx, &[document]).await?;
    }
    if stage == Stage::Words
        && let Some(row) = documents::load_in(&mut tx, tenant_id, &document.id).await?
    {
        events::append(&mut tx, &app.clock, tenant_id, &row.changed()).await?;
    }
    app.commit(tx).await?;
    Ok(Exchange::Done)
}

/// A document that is ingested together with others.
pub(super) struct Item {
    pub document: Document,
    /// Its chunks, without manual edits.
    pub prepared: Prepared,
    /// Hash of its text.
    pub text_hash: String,
}

/// Stores complete new versions of several documents of a dataset and the embeddings of their texts in one transaction. Returns for each item whether it was
/// stored or is no longer needed; one with manual edits is left unchanged.
pub(super) async fn exchange_all(
    app: &App,
    dataset: &Dataset,
    items: &[&Item],
    vectors: &[(&str, Vec<f32>)],
) -> Result<Vec<bool>> {
    let tenant_id = dataset.tenant_id.as_str();
    let ids: Vec<String> = items.iter().map(|i| i.document.id.clone()).collect();
    let mut tx = app.db.begin_repeatable().await?;
    let live = index_log::lock_dataset(&mut tx, tenant_id, &dataset.id).await?;
    if live.as_ref() != Some(&dataset.live_set) {
        return Err(switched());
    }
    let current: Vec<(String, String, bool)> = tx
        .all_in(
            "SELECT id, job_id, enabled FROM kb_documents WHERE tenant_id = $1 AND id IN ($LIST)",
            args![tenant_id],
            &ids,
        )
        .await?;
    let current: HashMap<&str, (&str, bool)> = current
        .iter()
        .map(|(id, job_id, enabled)| (id.as_str(), (job_id.as_str(), *enabled)))
        .collect();
    let edited: Vec<(String,)> = tx
        .all_in(
            "SELECT document_id FROM kb_chunk_edits WHERE tenant_id = $1 AND document_id IN ($LIST)",
            args![tenant_id],
            &ids,
        )
        .await?;
    let now = app.clock.now();
    for (hash, vector) in vectors {
        let model = &dataset.indexing.embedding_model;
        embeddings::store(&mut tx, tenant_id, model, hash, vector, now).await?;
    }
    let mut old: HashMap<String, Vec<Row>> = HashMap::new();
    for row in stored(&mut tx, dataset, &ids).await? {
        old.entry(row.document_id.clone()).or_default().push(row);
    }
    let (mut done, mut replaced, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        let id = item.document.id.as_str();
        let enabled = match current.get(id) {
            Some((job_id, enabled)) if *job_id == item.document.job_id => *enabled,
            _ => {
                done.push(true);
                continue;
            }
        };
        if edited.iter().any(|(edited,)| edited == id) {
            done.push(false);
            continue;
        }
        let stage = match item.document.text_hash {
            None => Stage::Vectors,
            Some(_) => Stage::Everything,
        };
        let old = old.remove(id).unwrap_or_default();
        let (document, prepared) = (&item.document, &item.prepared);
        ops.extend(replace(&mut tx, document, enabled, &old, prepared, stage).await?);
        replaced.push((*item, stage));
        done.push(true);
    }
    let seq = index_log::append(&mut tx, &dataset.live_set, &ops).await?;
    for (item, stage) in &replaced {
        let (document, prepared, hash) = (&item.document, &item.prepared, &item.text_hash);
        record_stored(app, &mut tx, document, prepared, hash, *stage, seq).await?;
    }
    match usage::check(&mut tx, tenant_id).await {
        // Alone, those for which there is room are stored.
        Err(error) if error.code() == quotas::EXCEEDED => return Ok(vec![false; items.len()]),
        within => within?,
    }
    let replaced: Vec<&Document> = replaced.iter().map(|(item, _)| &item.document).collect();
    builds::follow(app, &mut tx, &replaced).await?;
    app.commit(tx).await?;
    Ok(done)
}

/// Returns the error for a generation that became live meanwhile and needs other chunks: the job runs again.
fn switched() -> Error {
    Error::unavailable("generation_switched", "another generation is live now")
}

/// Updates the row of a document whose chunks were replaced; `seq` is the log position of the last change.
async fn record_stored(
    app: &App,
    tx: &mut Tx,
    document: &Document,
    prepared: &Prepared,
    text_hash: &str,
    stage: Stage,
    seq: i64,
) -> Result<()> {
    let count = i64::try_from(prepared.chunks.len()).unwrap_or(i64::MAX);
    let status = if stage == Stage::Words {
        DocumentStatus::Embedding
    } else {
        DocumentStatus::Stored
    };
    tx.execute(
        concat!(
            "UPDATE kb_documents SET status = $1, title = $2, url = $3, published_at = $4, engine = $5, warnings = $6, text_hash = $7, chunks_count = $8,
             chunks_total = $8, chunks_embedded = CASE WHEN $1 = 'stored' THEN $8 ELSE chunks_embedded END, ready_seq = $9, error_code = NULL,
             error_message = NULL, pages = $10, updated_on = $11, ",
            changed_now!(),
            " WHERE tenant_id = $12 AND id = $13"
        ),
        args![
            status,
            &prepared.title,
            &prepared.url,
            &prepared.published_at,
            &prepared.engine,
            serde_json::to_string(&prepared.warnings)?,
            // Set at the end of the first ingestion, so that an interrupted one starts over as a first one.
            (stage != Stage::Words).then_some(text_hash),
            count,
            seq,
            prepared.pages,
            app.clock.now(),
            &document.tenant_id,
            &document.id
        ],
    )
    .await?;
    Ok(())
}

/// Columns of a chunk that can change while its text stays the same.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: String,
    document_id: String,
    text_hash: String,
    enabled: bool,
    ordinal: i64,
    start_byte: i64,
    start_char: i64,
    end_byte: i64,
    heading_path: String,
    page: Option<i64>,
    page_label: Option<String>,
    table_number: Option<i64>,
    first_row: Option<i64>,
    last_row: Option<i64>,
    first_line: Option<i64>,
    last_line: Option<i64>,
    origin: String,
    edit_id: Option<String>,
}

impl Row {
    fn is_that_of(&self, chunk: &Chunk) -> bool {
        self.text_hash == chunk.text_hash
            && self.enabled == chunk.enabled
            && self.ordinal == chunk.ordinal
            && self.start_byte == chunk.start_byte
            && self.start_char == chunk.start_char
            && self.end_byte == chunk.end_byte
            && self.heading_path == chunk.heading_path
            && self.page == chunk.page
            && self.page_label == chunk.page_label
            && self.table_number == chunk.table_number
            && (self.first_row, self.last_row) == (chunk.first_row, chunk.last_row)
            && (self.first_line, self.last_line) == (chunk.first_line, chunk.last_line)
            && self.origin == chunk.origin
            && self.edit_id == chunk.edit_id
    }
}

/// Returns the stored chunks of documents in the set of `dataset`.
async fn stored(tx: &mut Tx, dataset: &Dataset, documents: &[String]) -> Result<Vec<Row>> {
    tx.all_in(
        "SELECT id, document_id, text_hash, enabled, ordinal, start_byte, start_char, end_byte, heading_path, page, page_label, table_number, first_row,
         last_row, first_line, last_line, origin, edit_id FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND document_id IN ($LIST)",
        args![&dataset.tenant_id, &dataset.live_set],
        documents,
    )
    .await
}

/// Replaces a document's stored chunks `old` with those of `prepared`, and returns the changes for the indexes, which do not contain a disabled document.
async fn replace(
    tx: &mut Tx,
    document: &Document,
    enabled: bool,
    old: &[Row],
    prepared: &Prepared,
    stage: Stage,
) -> Result<Vec<(Op, String)>> {
    let tenant_id = document.tenant_id.as_str();
    let new: HashMap<&str, &Chunk> = prepared.chunks.iter().map(|c| (c.id.as_str(), c)).collect();
    let mut ops: Vec<(Op, String)> = Vec::new();
    for id in old
        .iter()
        .map(|row| &row.id)
        .filter(|id| !new.contains_key(id.as_str()))
    {
        tx.execute(
            "DELETE FROM kb_chunks WHERE tenant_id = $1 AND id = $2",
            args![tenant_id, id],
        )
        .await?;
        ops.push((Op::Delete, id.clone()));
    }
    let old: HashMap<&str, &Row> = old.iter().map(|row| (row.id.as_str(), row)).collect();
    for chunk in &prepared.chunks {
        let before = old.get(chunk.id.as_str());
        match before {
            Some(row) if row.is_that_of(chunk) => {}
            Some(_) => chunks::rewrite(tx, tenant_id, chunk).await?,
            None => chunks::insert(tx, tenant_id, chunk).await?,
        }
        if !chunk.enabled {
            if before.is_some_and(|row| row.enabled) {
                ops.push((Op::Delete, chunk.id.clone()));
            }
            continue;
        }
        // Unchanged text that was visible before keeps its entries in both indexes.
        let is_new = !before.is_some_and(|row| row.enabled && row.text_hash == chunk.text_hash);
        if is_new {
            ops.push((Op::Text, chunk.id.clone()));
        }
        let vector_is_new = match stage {
            Stage::Words => false,
            Stage::Vectors => true,
            Stage::Everything => is_new,
        };
        if vector_is_new {
            ops.push((Op::Vector, chunk.id.clone()));
        }
    }
    if !enabled {
        ops.retain(|(op, _)| *op == Op::Delete);
    }
    Ok(ops)
}

/// Same as [`exchange`], for a set that is not searched; or records why the file could not be built for it.
pub(crate) async fn exchange_aside(
    app: &App,
    dataset: &Dataset,
    document: &Document,
    prepared: std::result::Result<&Prepared, &cairn_ingest::ParseError>,
) -> Result<Exchange> {
    let (tenant_id, set_id) = (document.tenant_id.as_str(), dataset.live_set.as_str());
    let mut tx = app.db.begin_repeatable().await?;
    index_log::lock_dataset(&mut tx, tenant_id, &dataset.id).await?;
    // Without this row, the set is gone or live by now.
    let aside: Option<(i64,)> = tx
        .optional(
            "SELECT log_seq FROM kb_generations WHERE tenant_id = $1 AND set_id = $2 AND status <> 'live'",
            args![tenant_id, set_id],
        )
        .await?;
    let current: Option<(bool,)> = tx
        .optional(
            "SELECT enabled FROM kb_documents WHERE tenant_id = $1 AND id = $2 AND blob_hash = $3",
            args![tenant_id, &document.id, &document.blob_hash],
        )
        .await?;
    let (Some(_), Some((enabled,))) = (aside, current) else {
        return Ok(Exchange::Done);
    };
    if let Ok(prepared) = prepared
        && edits::of_document_in(&mut tx, tenant_id, &document.id).await? != prepared.made
    {
        return Ok(Exchange::Edited);
    }
    let (count, error) = match prepared {
        Ok(prepared) => {
            // Rows left by a first ingestion when the live set was switched may have no vectors yet.
            let complete: Option<(i64,)> = tx
                .optional(
                    "SELECT chunks FROM kb_generation_documents WHERE tenant_id = $1 AND document_id = $2 AND set_id = $3",
                    args![tenant_id, &document.id, set_id],
                )
                .await?;
            let stage = if complete.is_some() {
                Stage::Everything
            } else {
                Stage::Vectors
            };
            let old = stored(&mut tx, dataset, std::slice::from_ref(&document.id)).await?;
            let ops = replace(&mut tx, document, enabled, &old, prepared, stage).await?;
            index_log::append(&mut tx, set_id, &ops).await?;
            (prepared.chunks.len(), None)
        }
        Err(error) => (0, Some(error)),
    };
    tx.execute(
        "INSERT INTO kb_generation_documents (document_id, set_id, tenant_id, blob_hash, chunks, error_code, error_message) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (document_id, set_id) DO UPDATE SET blob_hash = excluded.blob_hash, chunks = excluded.chunks, error_code = excluded.error_code,
         error_message = excluded.error_message",
        args![
            &document.id,
            set_id,
            tenant_id,
            &document.blob_hash,
            i64::try_from(count).unwrap_or(i64::MAX),
            error.map(|e| e.code.clone()),
            error.map(|e| e.message.clone())
        ],
    )
    .await?;
    app.commit(tx).await?;
    Ok(Exchange::Done)
}
