//! `cairn doctor`: checks that SQL, both indexes, blobs and model agree. `--repair` rebuilds what does not.

mod data;

use clap::Args;
use serde::Serialize;

use super::{Done, Global, output};
use crate::app::App;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kb::index_log::{self};
use crate::outreach::inbound;
use crate::records::idempotency;
use crate::seal;
use crate::search::drift::Drift;
use crate::search::follower;
use crate::search::states::Index;
use crate::search::vector::cluster::NodeReport;
use crate::search::vector::{CollectionReport, VectorIndex};
use crate::webhooks;
use data::{examine, forget_damaged};

#[derive(Debug, Args)]
#[command(
    after_help = "The data directory must not be in use by a server. Exit code 0: consistent (or repaired); 1: inconsistent."
)]
pub(super) struct DoctorArgs {
    /// Rebuild indexes that differ from SQL, and re-ingest documents with damaged embeddings
    #[arg(long)]
    repair: bool,
    /// Verify the checksum of every stored file and text
    #[arg(long)]
    verify_blobs: bool,
    /// Discard secrets whose key is lost: webhook endpoints are disabled and need new secrets
    #[arg(long)]
    new_secret_key: bool,
}

/// Findings about a dataset.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    dataset_id: String,
    #[serde(flatten)]
    indexes: Drift,
    /// Chunks whose stored text does not match their hash.
    damaged: usize,
    /// Documents that are neither finished nor queued.
    stuck: usize,
    /// Chunk texts stored twice within one document and position.
    doubled: usize,
    /// Documents whose source or text is not in the blob store.
    blobs_missing: usize,
    /// Embeddings of other dimensions than the model's, or with values that are not finite.
    embeddings_damaged: usize,
    /// Whether the files of the keyword index have been altered.
    keyword_altered: bool,
    /// Documents whose stored source or text does not match its hash; with `--verify-blobs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blobs_altered: Vec<String>,
    /// Errors of indexes that could not follow the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing: Vec<String>,
    repaired: bool,
}

impl Finding {
    fn drift(&self) -> usize {
        self.indexes.total()
            + self.damaged
            + self.stuck
            + self.doubled
            + self.blobs_missing
            + self.embeddings_damaged
            + usize::from(self.keyword_altered)
            + self.blobs_altered.len()
            + self.failing.len()
    }

    /// Returns whether rebuilding indexes or embedding again helps.
    fn can_be_repaired(&self) -> bool {
        self.indexes.total() > 0
            || self.keyword_altered
            || self.embeddings_damaged > 0
            || !self.failing.is_empty()
    }
}

pub(super) async fn run(global: &Global, args: DoctorArgs) -> Result<Done> {
    let app = global.local_app().await?;
    app.lock().await?;
    if args.new_secret_key {
        let endpoints = webhooks::give_up_secrets(&app).await?;
        let connections = inbound::give_up_secrets(&app).await?;
        idempotency::forget_all(&app).await?;
        seal::forget_key(&app.db).await?;
        app.sealer().await?;
        if !global.json {
            println!(
                "created a new secret key; {endpoints} webhook endpoints disabled; {connections} secrets of sources and connections discarded"
            );
        }
    }
    let engine = app.engine().await?;
    follower::catch_up(&app, engine).await?;
    let mut findings = Vec::new();
    for head in index_log::heads(&app.db).await? {
        let mut finding = examine(&app, engine, &head, args.verify_blobs).await?;
        if args.repair && finding.can_be_repaired() {
            if finding.embeddings_damaged > 0 {
                forget_damaged(&app, &head).await?;
            }
            if finding.keyword_altered {
                engine.keyword.discard(&head.id, head.generation)?;
            }
            let now = index_log::heads(&app.db).await?;
            let head = now.into_iter().find(|h| h.id == head.id).unwrap_or(head);
            for index in Index::BOTH {
                let position = match index {
                    Index::Keyword => follower::rebuild_keyword(&app, engine, &head).await?,
                    Index::Vector => follower::rebuild_vector(&app, &head).await?,
                };
                app.indexes.reached(&head.id, index, position, head.log_seq);
            }
            finding = examine(&app, engine, &head, args.verify_blobs).await?;
            finding.repaired = true;
        }
        findings.push(finding);
    }
    engine.flush().await?;
    let drift: usize = findings.iter().map(Finding::drift).sum();
    let servers = servers(&app, engine).await?;
    if global.json {
        let mut report = serde_json::json!({"model": engine.embedder.spec(), "drift": drift, "datasets": findings});
        if let Some(servers) = &servers {
            report["vectorServers"] = serde_json::json!(servers);
        }
        println!("{report}");
    } else {
        if let Some(servers) = &servers {
            servers.print();
        }
        println!(
            "model {}: OK, {} dimensions; database: OK",
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
                    f.embeddings_damaged.to_string(),
                    f.blobs_altered.len().to_string(),
                    if f.repaired { "repaired" } else { "" }.to_owned(),
                ]
            })
            .collect();
        println!(
            "{}",
            output::table(
                &[
                    "dataset",
                    "chunks",
                    "embedded",
                    "keyword",
                    "vector",
                    "damaged",
                    "duplicates",
                    "stuck",
                    "missing blobs",
                    "embeddings",
                    "altered blobs",
                    ""
                ],
                &rows
            )
        );
        for finding in &findings {
            for cause in &finding.failing {
                println!("{}: {cause}", finding.dataset_id);
            }
            for document in &finding.blobs_altered {
                println!(
                    "{}: the stored content of document {document} is corrupted; upload it again",
                    finding.dataset_id
                );
            }
        }
        println!("drift {drift}");
    }
    app.db.close().await;
    if drift == 0 {
        Ok(Done::All)
    } else {
        Err(Error::unprocessable(
            "drift_found",
            "the data directory is inconsistent; see the report above, then try --repair",
        ))
    }
}

/// Status of the Qdrant servers and their collections.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Servers {
    nodes: Vec<NodeReport>,
    collections: Vec<CollectionReport>,
}

impl Servers {
    fn print(&self) {
        for node in &self.nodes {
            let version = node.version.as_deref().unwrap_or("unreachable");
            let problem = node.problem.as_deref().unwrap_or("OK");
            println!("Qdrant server {}: {version}, {problem}", node.url);
        }
        for c in &self.collections {
            println!(
                "collection {}: {}, {} points, {} shards with {} replicas each, {} replicas active",
                c.collection, c.status, c.points, c.shards, c.replication, c.replicas_active
            );
            for note in &c.notes {
                println!("collection {}: {note}", c.collection);
            }
        }
    }
}

async fn servers(app: &App, engine: &Engine) -> Result<Option<Servers>> {
    let Some(cluster) = &app.cluster else {
        return Ok(None);
    };
    let mut collections = Vec::new();
    for (_, store) in engine.open_vectors().await {
        if let VectorIndex::Server(server) = &*store {
            collections.push(server.report().await?);
        }
    }
    Ok(Some(Servers {
        nodes: cluster.report().await,
        collections,
    }))
}
