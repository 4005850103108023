//! Generations of a dataset: combinations of model and chunking. Each is built beside the live one, compared with it, switched to in one transaction,
//! and switched back from. Each generation has its own set of chunks, with its own log and its own part of both indexes.
//!
//! A set that is not searched follows the documents: uploads, replacements and edits are built for it too, and a document that is deleted or switched
//! off leaves every set in the same transaction.

use std::sync::Arc;

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args, words};
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::kb::datasets::{self, ChunkSettings, Dataset, IndexSettings};
use crate::kb::usage;
use crate::kb::{builds, documents, index_log, ingestion};

words! {
    /// The status of a generation.
    pub enum GenerationStatus {
        /// It is built beside the live one.
        Building = "building",
        /// It is searched.
        Live = "live",
        /// It was live before, and can be switched back to.
        Previous = "previous",
    }
}

/// A generation of a dataset.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Generation {
    /// Set of its chunks.
    pub set_id: String,
    pub dataset_id: String,
    /// Number, from 1.
    pub number: i64,
    pub status: GenerationStatus,
    #[sqlx(flatten)]
    pub indexing: IndexSettings,
    /// Last position of its log.
    pub log_seq: i64,
    pub created_on: Time,
    /// Time at which it last became, or ceased to be, the live one.
    pub switched_on: Option<Time>,
    /// Number of documents that it has in their current version.
    pub documents_ready: i64,
    /// Number of documents that it should have.
    pub documents_total: i64,
    /// Number of documents that could not be built with its settings.
    pub documents_failed: i64,
    /// Number of its chunks.
    pub chunks: i64,
}

macro_rules! columns {
    () => {
        "g.set_id, g.dataset_id, g.number, g.status, g.embedding_provider, g.embedding_model, g.vector_size, g.chunk_size, g.chunk_overlap,
         g.parse_type, g.parser_engine, g.delimiter, g.calibration_low, g.calibration_high, g.log_seq, g.created_on, g.switched_on"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", (SELECT COUNT(*) FROM kb_documents d WHERE d.dataset_id = g.dataset_id AND d.text_hash IS NOT NULL AND (g.status = 'live' OR EXISTS
                 (SELECT 1 FROM kb_generation_documents b WHERE b.document_id = d.id AND b.set_id = g.set_id AND b.blob_hash = d.blob_hash AND b.error_code IS NULL))) AS documents_ready,
             (SELECT COUNT(*) FROM kb_documents d WHERE d.dataset_id = g.dataset_id AND d.text_hash IS NOT NULL) AS documents_total,
             (SELECT COUNT(*) FROM kb_generation_documents b JOIN kb_documents d ON d.id = b.document_id AND d.blob_hash = b.blob_hash
                 WHERE b.set_id = g.set_id AND b.error_code IS NOT NULL) AS documents_failed,
             (SELECT COUNT(*) FROM kb_chunks c WHERE c.set_id = g.set_id) AS chunks
             FROM kb_generations g ",
            $rest
        )
    };
}

/// Returns the settings of a dataset's generations without their counts (they are 0): for paths that must not pay for counting.
async fn settings(app: &App, tenant_id: &str, dataset_id: &str) -> Result<Vec<Generation>> {
    app.db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                ", CAST(0 AS BIGINT) AS documents_ready, CAST(0 AS BIGINT) AS documents_total, CAST(0 AS BIGINT) AS documents_failed, CAST(0 AS BIGINT) AS chunks
                 FROM kb_generations g WHERE g.tenant_id = $1 AND g.dataset_id = $2"
            ),
            args![tenant_id, dataset_id],
        )
        .await
}

/// Lists the generations of a dataset, oldest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(app: &App, caller: &Caller, dataset_id: &str) -> Result<Vec<Generation>> {
    caller.need(Scope::KbRead)?;
    all(app, caller, dataset_id).await
}

/// Same as [`list`], for callers that may change them.
async fn all(app: &App, caller: &Caller, dataset_id: &str) -> Result<Vec<Generation>> {
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .all(
            select!("WHERE g.tenant_id = $1 AND g.dataset_id = $2 ORDER BY g.number"),
            args![caller.tenant(), dataset_id],
        )
        .await
}

async fn get(app: &App, caller: &Caller, dataset_id: &str, number: i64) -> Result<Generation> {
    numbered(all(app, caller, dataset_id).await?, number)
}

fn numbered(all: Vec<Generation>, number: i64) -> Result<Generation> {
    all.into_iter().find(|g| g.number == number).ok_or_else(|| {
        Error::not_found(
            "generation_not_found",
            "generation not found in this dataset",
        )
    })
}

/// Returns a dataset with the settings and chunks of one of its generations.
///
/// # Errors
/// `generation_not_found`.
pub async fn at(app: &App, caller: &Caller, dataset: &Dataset, number: i64) -> Result<Dataset> {
    let all = settings(app, caller.tenant(), &dataset.id).await?;
    Ok(applied(dataset, &numbered(all, number)?))
}

/// Returns the seconds until a building generation has every document, from the speed of embedding measured in this process.
#[must_use]
pub fn eta_seconds(app: &App, generation: &Generation, live_chunks: i64) -> Option<f64> {
    let left =
        generation.documents_total - generation.documents_ready - generation.documents_failed;
    (generation.status == GenerationStatus::Building).then(|| {
        let share = left.max(0) as f64 / generation.documents_total.max(1) as f64;
        share * live_chunks as f64 / app.embedding_rate().max(1.0)
    })
}

/// Returns a dataset with the settings of a generation in place of its own.
pub(crate) fn applied(dataset: &Dataset, generation: &Generation) -> Dataset {
    Dataset {
        indexing: generation.indexing.clone(),
        generation: generation.number,
        live_set: generation.set_id.clone(),
        log_seq: generation.log_seq,
        ..dataset.clone()
    }
}

/// Differences from the settings of the dataset; absent fields stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct NewGeneration {
    pub chunk_settings: ChunkSettings,
    /// Delimiter at which `MANUAL` splits.
    pub delimiter: Option<String>,
    /// Embedding model; the configured one of this installation when absent.
    pub embedding_model: Option<String>,
}

/// Starts building a generation. Searches use the live one meanwhile.
///
/// # Errors
/// `dataset_not_found`, `generation_exists` while another one is being built, `model_mismatch`, those of [`ChunkSettings::check`].
pub async fn build(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    new: NewGeneration,
) -> Result<Generation> {
    caller.need_manage(dataset_id)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    new.chunk_settings
        .check(dataset.indexing.chunk_size, dataset.indexing.chunk_overlap)?;
    let embedder = match &new.embedding_model {
        Some(model) => app.embedder_of(model).await?,
        None => app.embedder().await?,
    };
    let spec = embedder.spec();
    let calibration = app.calibration(&spec.model).await?;
    let mut tx = app.db.begin().await?;
    let rows: Vec<(i64, String)> = tx
        .all(
            "SELECT number, status FROM kb_generations WHERE tenant_id = $1 AND dataset_id = $2",
            args![caller.tenant(), dataset_id],
        )
        .await?;
    if rows.iter().any(|(_, status)| status == "building") {
        return Err(Error::conflict(
            "generation_exists",
            "a generation is already being built; switch to it or remove it first",
        ));
    }
    let number = rows.iter().map(|(n, _)| *n).max().unwrap_or(0) + 1;
    let set_id = format!("{dataset_id}~{number}");
    tx.execute(
        "INSERT INTO kb_generations (set_id, tenant_id, dataset_id, number, status, embedding_provider, embedding_model, vector_size, chunk_size,
         chunk_overlap, parse_type, parser_engine, delimiter, calibration_low, calibration_high, log_seq, created_on)
         VALUES ($1, $2, $3, $4, 'building', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15)",
        args![
            &set_id,
            caller.tenant(),
            dataset_id,
            number,
            &spec.provider,
            &spec.model,
            i64::try_from(spec.dimensions).unwrap_or(0),
            new.chunk_settings.chunk_size.unwrap_or(dataset.indexing.chunk_size),
            new.chunk_settings.chunk_overlap.unwrap_or(dataset.indexing.chunk_overlap),
            new.chunk_settings.parse_type.as_ref().unwrap_or(&dataset.indexing.parse_type),
            new.chunk_settings.parser_engine.as_ref().unwrap_or(&dataset.indexing.parser_engine),
            new.delimiter.as_ref().unwrap_or(&dataset.indexing.delimiter),
            calibration.map(|c| f64::from(c.low)),
            calibration.map(|c| f64::from(c.high)),
            app.clock.now()
        ],
    )
    .await?;
    let documents: Vec<(String,)> = tx
        .all(
            "SELECT id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND text_hash IS NOT NULL ORDER BY id",
            args![caller.tenant(), dataset_id],
        )
        .await?;
    for (document_id,) in documents {
        builds::enqueue(
            app,
            &mut tx,
            caller.tenant(),
            dataset_id,
            &document_id,
            &set_id,
        )
        .await?;
    }
    app.commit(tx).await?;
    get(app, caller, dataset_id, number).await
}

/// Runs the build job of one document for one set.
pub(crate) async fn build_document(
    app: &Arc<App>,
    tenant_id: &str,
    document_id: &str,
    set_id: &str,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<()> {
    let Some(document) = documents::load(&app.db, tenant_id, document_id).await? else {
        return Ok(());
    };
    let caller = Caller::local(tenant_id);
    let dataset = datasets::settings(app, &caller, &document.dataset_id).await?;
    let generations = settings(app, tenant_id, &document.dataset_id).await?;
    let Some(generation) = generations
        .iter()
        .find(|g| g.set_id == set_id && g.status != GenerationStatus::Live)
    else {
        // Removed, or live by now: then ingestion itself maintains it.
        return Ok(());
    };
    ingestion::build(app, &applied(&dataset, generation), &document, cancel).await
}

/// Records that a document could not be built, so that the generation need not wait for it.
pub(crate) async fn failed(
    app: &App,
    tenant_id: &str,
    document_id: &str,
    set_id: &str,
    error: &cairn_ingest::ParseError,
) -> Result<()> {
    let Some(document) = documents::load(&app.db, tenant_id, document_id).await? else {
        return Ok(());
    };
    let dataset = datasets::settings(app, &Caller::local(tenant_id), &document.dataset_id).await?;
    let aside = Dataset {
        live_set: set_id.to_owned(),
        ..dataset
    };
    ingestion::exchange_aside(app, &aside, &document, Err(error)).await?;
    Ok(())
}

/// Returns why a generation cannot be switched to yet; `None` when it can.
fn obstacle(app: &App, generation: &Generation) -> Option<String> {
    let left =
        generation.documents_total - generation.documents_ready - generation.documents_failed;
    if left > 0 {
        return Some(format!("{left} documents are not built yet"));
    }
    let (keyword, vector) = app.indexes.positions(&generation.set_id);
    if keyword.min(vector) < generation.log_seq {
        return Some("the indexes have not caught up with it yet".to_owned());
    }
    None
}

/// Makes a generation the live one, in one transaction. The previous one is kept and can be switched back to.
///
/// # Errors
/// `generation_not_found`, `generation_live`, `generation_not_ready` with the reason.
pub async fn switch(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    number: i64,
) -> Result<Generation> {
    caller.need_manage(dataset_id)?;
    let generation = get(app, caller, dataset_id, number).await?;
    if generation.status == GenerationStatus::Live {
        return Err(Error::conflict(
            "generation_live",
            "this generation is already live",
        ));
    }
    if let Some(reason) = obstacle(app, &generation) {
        return Err(Error::conflict("generation_not_ready", reason));
    }
    let (tenant_id, now) = (caller.tenant(), app.clock.now());
    let set_id = generation.set_id.as_str();
    let model = generation.indexing.embedding_model.clone();
    let mut tx = app.db.begin().await?;
    index_log::lock_dataset(&mut tx, tenant_id, dataset_id).await?;
    // A change that is not built yet would be lost: build jobs do nothing for the live generation.
    let waiting: Option<(i64,)> = tx
        .optional(
            "SELECT COUNT(*) FROM jobs WHERE tenant_id = $1 AND group_id = $2 AND kind = 'build' AND status IN ('queued', 'running') AND payload LIKE $3",
            args![
                tenant_id,
                format!("{dataset_id}/build"),
                format!("%\"{set_id}\"%")
            ],
        )
        .await?;
    let waiting = waiting.map_or(0, |(count,)| count);
    if waiting > 0 {
        return Err(Error::conflict(
            "generation_not_ready",
            format!("{waiting} changes are still being processed"),
        ));
    }
    let live: Option<(String,)> = tx
        .optional(
            "UPDATE kb_generations SET status = 'previous', switched_on = $1 WHERE tenant_id = $2 AND dataset_id = $3 AND status = 'live' RETURNING set_id",
            args![now, tenant_id, dataset_id],
        )
        .await?;
    let taken: Option<(i64,)> = tx
        .optional(
            "UPDATE kb_generations SET status = 'live', switched_on = $1 WHERE tenant_id = $2 AND set_id = $3 AND status <> 'live' AND log_seq = $4 RETURNING log_seq",
            args![now, tenant_id, set_id, generation.log_seq],
        )
        .await?;
    let (Some((before,)), Some((seq,))) = (live, taken) else {
        return Err(Error::conflict(
            "generation_not_ready",
            "the data changed in the meantime; try again",
        ));
    };
    tx.execute(
        "UPDATE kb_datasets SET live_set = $1, generation = $2, embedding_provider = $3, embedding_model = $4, vector_size = $5, chunk_size = $6,
         chunk_overlap = $7, parse_type = $8, parser_engine = $9, delimiter = $10, calibration_low = $11, calibration_high = $12, updated_on = $13
         WHERE tenant_id = $14 AND id = $15",
        args![
            set_id,
            number,
            &generation.indexing.embedding_provider,
            &generation.indexing.embedding_model,
            generation.indexing.vector_size,
            generation.indexing.chunk_size,
            generation.indexing.chunk_overlap,
            &generation.indexing.parse_type,
            &generation.indexing.parser_engine,
            &generation.indexing.delimiter,
            generation.indexing.calibration_low,
            generation.indexing.calibration_high,
            now,
            tenant_id,
            dataset_id
        ],
    )
    .await?;
    // The replaced set has every document in its current version; it follows the documents from now on.
    tx.execute(
        "DELETE FROM kb_generation_documents WHERE tenant_id = $1 AND set_id IN ($2, $3)",
        args![tenant_id, set_id, &before],
    )
    .await?;
    tx.execute(
        "INSERT INTO kb_generation_documents (document_id, set_id, tenant_id, blob_hash, chunks)
         SELECT d.id, $1, d.tenant_id, d.blob_hash, d.chunks_count FROM kb_documents d WHERE d.tenant_id = $2 AND d.dataset_id = $3 AND d.text_hash IS NOT NULL",
        args![&before, tenant_id, dataset_id],
    )
    .await?;
    tx.execute(
        "UPDATE kb_documents SET ready_seq = $1, chunks_count = (SELECT COUNT(*) FROM kb_chunks c WHERE c.document_id = kb_documents.id AND c.set_id = $2)
         WHERE tenant_id = $3 AND dataset_id = $4 AND text_hash IS NOT NULL",
        args![seq, set_id, tenant_id, dataset_id],
    )
    .await?;
    let event = Event::DatasetChanged {
        dataset_id: dataset_id.to_owned(),
        name: datasets::settings(app, caller, dataset_id).await?.name,
    };
    events::append(&mut tx, &app.clock, tenant_id, &event).await?;
    usage::check(&mut tx, tenant_id).await?;
    let switched = Event::GenerationSwitched {
        dataset_id: dataset_id.to_owned(),
        generation: number,
        embedding_model: model,
    };
    events::append(&mut tx, &app.clock, tenant_id, &switched).await?;
    app.commit(tx).await?;
    get(app, caller, dataset_id, number).await
}

/// Removes a generation that is not live, with its chunks; its indexes are removed later.
///
/// # Errors
/// `generation_not_found`, `generation_live`.
pub async fn remove(app: &App, caller: &Caller, dataset_id: &str, number: i64) -> Result<()> {
    caller.need_manage(dataset_id)?;
    let generation = get(app, caller, dataset_id, number).await?;
    if generation.status == GenerationStatus::Live {
        return Err(Error::conflict(
            "generation_live",
            "this generation is live; switch to another one first",
        ));
    }
    let mut tx = app.db.begin().await?;
    drop_set(&mut tx, caller.tenant(), &generation.set_id).await?;
    app.commit(tx).await?;
    Ok(())
}

async fn drop_set(tx: &mut Tx, tenant_id: &str, set_id: &str) -> Result<()> {
    for statement in [
        "DELETE FROM kb_generations WHERE tenant_id = $1 AND set_id = $2 AND status <> 'live'",
        "DELETE FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND NOT EXISTS (SELECT 1 FROM kb_generations g WHERE g.set_id = kb_chunks.set_id)",
        "DELETE FROM kb_generation_documents WHERE tenant_id = $1 AND set_id = $2",
    ] {
        tx.execute(statement, args![tenant_id, set_id]).await?;
    }
    tx.execute(
        "DELETE FROM kb_index_log WHERE dataset_id = $1 AND NOT EXISTS (SELECT 1 FROM kb_generations g WHERE g.set_id = kb_index_log.dataset_id)",
        args![set_id],
    )
    .await?;
    Ok(())
}

/// Removes generations that were switched away from before a given time, and returns their number.
///
/// # Errors
/// Those of the database.
pub async fn prune(app: &App, before: Time) -> Result<usize> {
    let old: Vec<(String, String)> = app
        .db
        .all(
            "SELECT tenant_id, set_id FROM kb_generations WHERE status = 'previous' AND switched_on < $1",
            args![before],
        )
        .await?;
    for (tenant_id, set_id) in &old {
        let mut tx = app.db.begin().await?;
        drop_set(&mut tx, tenant_id, set_id).await?;
        tx.commit().await?;
    }
    Ok(old.len())
}
