//! `cairn doctor`: whether SQL, both indexes, blobs and model agree. `--repair` builds anew what does not.

use clap::Args;
use serde::Serialize;

use super::{Done, Global, output};
use crate::app::{App, Engine};
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::index_log::{self, Head};
use crate::search::drift::{self, Drift};
use crate::search::follower;

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
    #[serde(flatten)]
    indexes: Drift,
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
    fn drift(&self) -> usize {
        self.indexes.total() + self.damaged + self.stuck + self.doubled + self.blobs_missing
    }
}

pub(super) async fn run(global: &Global, args: DoctorArgs) -> Result<Done> {
    let app = global.app().await?;
    let engine = app.engine().await?;
    follower::catch_up(&app, engine).await?;
    let mut findings = Vec::new();
    for head in index_log::heads(&app.db).await? {
        let mut finding = examine(&app, engine, &head).await?;
        if args.repair && finding.indexes.total() > 0 {
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
                    f.indexes.chunks.to_string(),
                    f.indexes.embedded.to_string(),
                    pair(f.indexes.keyword_missing, f.indexes.keyword_surplus),
                    pair(f.indexes.vector_missing, f.indexes.vector_surplus),
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
    context: String,
    content: String,
    text_hash: String,
}

async fn examine(app: &App, engine: &Engine, head: &Head) -> Result<Finding> {
    let rows: Vec<ChunkRow> = app
        .db
        .all(
            "SELECT c.context, c.content, c.text_hash
             FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id WHERE c.set_id = $1 AND d.enabled = TRUE AND c.enabled = TRUE",
            args![&head.id],
        )
        .await?;
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
        indexes: drift::of(app, engine, head).await?,
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
