//! `cairn doctor`: whether SQL, both indexes, blobs and model agree. `--repair` builds anew what does not.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::{Done, Global, output};
use crate::app::{App, Engine};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::index_log::{self, Head};
use crate::search::follower;
use crate::search::vector::Scope;

#[derive(Debug, Args)]
#[command(
    after_help = "The data directory must not be in use by a server. Exit code 0: everything agrees (or was repaired), 1: it does not."
)]
pub(super) struct DoctorArgs {
    /// Build indexes that disagree with SQL anew
    #[arg(long)]
    repair: bool,
}

/// What was found about a dataset.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    dataset_id: String,
    /// Chunks that should be found.
    chunks: usize,
    /// Of those, with an embedding.
    embedded: usize,
    keyword_missing: usize,
    keyword_surplus: usize,
    vector_missing: usize,
    vector_surplus: usize,
    /// Chunks whose stored text does not give their hash.
    damaged: usize,
    /// Documents that are neither finished nor queued.
    stuck: usize,
    /// Chunk texts stored twice within one document and place.
    doubled: usize,
    /// Documents whose source or text is not in the blob store.
    blobs_missing: usize,
    repaired: bool,
}

impl Finding {
    fn index_drift(&self) -> usize {
        self.keyword_missing + self.keyword_surplus + self.vector_missing + self.vector_surplus
    }

    fn drift(&self) -> usize {
        self.index_drift() + self.damaged + self.stuck + self.doubled + self.blobs_missing
    }
}

pub(super) async fn run(global: &Global, args: DoctorArgs) -> Result<Done> {
    let app = global.app().await?;
    let engine = app.engine().await?;
    follower::catch_up(&app, engine).await?;
    let mut findings = Vec::new();
    for head in index_log::heads(&app.db).await? {
        let mut finding = examine(&app, engine, &head).await?;
        if args.repair && finding.index_drift() > 0 {
            follower::rebuild_keyword(&app, engine, &head).await?;
            follower::rebuild_vector(&app, &head).await?;
            finding = examine(&app, engine, &head).await?;
            finding.repaired = true;
        }
        findings.push(finding);
    }
    engine.flush().await?;
    let drift: usize = findings.iter().map(Finding::drift).sum();
    if global.json {
        println!(
            "{}",
            serde_json::json!({"model": engine.embedder.spec(), "drift": drift, "datasets": findings})
        );
    } else {
        println!(
            "model {} loads and gives {} dimensions; the database answers",
            engine.embedder.spec().model,
            engine.embedder.spec().dimensions
        );
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|f| {
                let pair = |missing: usize, surplus: usize| format!("-{missing} +{surplus}");
                vec![
                    f.dataset_id.clone(),
                    f.chunks.to_string(),
                    f.embedded.to_string(),
                    pair(f.keyword_missing, f.keyword_surplus),
                    pair(f.vector_missing, f.vector_surplus),
                    f.damaged.to_string(),
                    f.doubled.to_string(),
                    f.stuck.to_string(),
                    f.blobs_missing.to_string(),
                    if f.repaired { "repaired" } else { "" }.to_owned(),
                ]
            })
            .collect();
        println!(
            "{}",
            output::table(
                &[
                    "dataset", "chunks", "embedded", "keyword", "vector", "damaged", "doubled",
                    "stuck", "no blob", ""
                ],
                &rows
            )
        );
        println!("drift {drift}");
    }
    app.db.close().await;
    if drift == 0 {
        Ok(Done::All)
    } else {
        Err(Error::unprocessable(
            "drift_found",
            "the data directory does not agree with itself; see above, and try --repair",
        ))
    }
}

#[derive(sqlx::FromRow)]
struct ChunkRow {
    id: String,
    context: String,
    content: String,
    text_hash: String,
    embedded: bool,
}

async fn examine(app: &App, engine: &Engine, head: &Head) -> Result<Finding> {
    let rows: Vec<ChunkRow> = app
        .db
        .all(
            "SELECT c.id, c.context, c.content, c.text_hash,
             EXISTS (SELECT 1 FROM kb_embeddings e WHERE e.tenant_id = c.tenant_id AND e.model = $2 AND e.text_hash = c.text_hash) AS embedded
             FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id WHERE c.set_id = $1 AND d.enabled = TRUE AND c.enabled = TRUE ORDER BY c.id",
            args![&head.id, &head.embedding_model],
        )
        .await?;
    let parse = |id: &String| {
        id.parse::<Uuid>()
            .map_err(|e| Error::internal("a chunk id is damaged").with_source(e))
    };
    let expected: BTreeSet<Uuid> = rows.iter().map(|r| parse(&r.id)).collect::<Result<_>>()?;
    let with_vector: BTreeSet<Uuid> = rows
        .iter()
        .filter(|r| r.embedded)
        .map(|r| parse(&r.id))
        .collect::<Result<_>>()?;
    let index = engine
        .keyword
        .index(&head.id, head.generation, &head.language)?;
    let words: Vec<Uuid> = tokio::task::spawn_blocking(move || index.ids()).await??;
    let scope = Scope {
        tenant_id: head.tenant_id.clone(),
        dataset_id: head.id.clone(),
        generation: head.generation,
    };
    let store = app
        .vectors_of(&head.embedding_model, head.vector_size)
        .await?;
    let points: Vec<Uuid> = store.ids(&scope).await?;
    let compare = |expected: &BTreeSet<Uuid>, found: &[Uuid]| {
        let set: BTreeSet<Uuid> = found.iter().copied().collect();
        // A chunk that is in an index twice is surplus, too.
        (
            expected.difference(&set).count(),
            set.difference(expected).count() + found.len() - set.len(),
        )
    };
    let (keyword_missing, keyword_surplus) = compare(&expected, &words);
    let (vector_missing, vector_surplus) = compare(&with_vector, &points);
    let damaged = rows
        .iter()
        .filter(|r| crate::kb::ingestion::text_hash(&r.context, &r.content) != r.text_hash)
        .count();
    let (stuck,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM kb_documents d WHERE d.dataset_id = $1 AND d.status IN ('pending', 'parsing', 'embedding') AND NOT EXISTS
             (SELECT 1 FROM jobs j WHERE j.tenant_id = d.tenant_id AND j.id = d.job_id AND j.status IN ('queued', 'running'))",
            args![&head.dataset_id],
        )
        .await?;
    let (doubled,): (i64,) = app
        .db
        .one("SELECT COUNT(*) FROM (SELECT 1 AS one FROM kb_chunks WHERE set_id = $1 GROUP BY document_id, ordinal HAVING COUNT(*) > 1) twice", args![&head.id])
        .await?;
    Ok(Finding {
        dataset_id: head.id.clone(),
        chunks: expected.len(),
        embedded: with_vector.len(),
        keyword_missing,
        keyword_surplus,
        vector_missing,
        vector_surplus,
        damaged,
        stuck: usize::try_from(stuck).unwrap_or(0),
        doubled: usize::try_from(doubled).unwrap_or(0),
        blobs_missing: blobs_missing(app, head).await?,
        repaired: false,
    })
}

async fn blobs_missing(app: &App, head: &Head) -> Result<usize> {
    let hashes: Vec<(String, Option<String>)> = app
        .db
        .all(
            "SELECT blob_hash, text_hash FROM kb_documents WHERE dataset_id = $1",
            args![&head.dataset_id],
        )
        .await?;
    let mut missing = 0;
    for hash in hashes
        .into_iter()
        .flat_map(|(blob, text)| [Some(blob), text])
        .flatten()
    {
        missing += usize::from(!app.blobs.has(&head.tenant_id, &hash).await?);
    }
    Ok(missing)
}
