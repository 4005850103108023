//! `cairn bench`: measures ingestion and search on this machine, as ratios against a baseline in the same run where there is one.
//!
//! The texts are sentences of Cairn's own documentation in a fixed random order, so that every run measures the same.

mod plant;
mod searches;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_models::Priority;
use clap::Args;
use fastrand::Rng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::searches::SHARES;
use super::{Done, Global, ingest, output};
use crate::app::App;
use crate::auth::{Caller, tenants};
use crate::background;
use crate::clock::Clock;
use crate::db::args;
use crate::error::{Error, Result};
use crate::evaluation::statistics::percentile;
use crate::kb::datasets::{self, NewDataset};
use crate::kb::documents::{self, NewDocument, UploadPolicy};
use crate::search::{self, Request};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn bench
  cairn bench --documents 400 --chunks 100000 --json")]
pub(super) struct BenchArgs {
    /// Documents of about ten chunks to ingest, and eight times as many of one chunk
    #[arg(long, default_value_t = 60, value_name = "N")]
    documents: usize,
    /// Chunks to search; those not ingested use perturbed copies of real embeddings
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    chunks: usize,
    /// Number of timed searches
    #[arg(long, default_value_t = 300, value_name = "N")]
    searches: usize,
    /// Keep the data directory, `bench` in the configured one, to start a server on it
    #[arg(long)]
    keep: bool,
}

const SOURCES: [&str; 5] = [
    include_str!("../../README.md"),
    include_str!("../../ingest/README.md"),
    include_str!("../../models/README.md"),
    include_str!("../search/README.md"),
    include_str!("../api/README.md"),
];

pub(super) async fn run(global: &Global, args: BenchArgs) -> Result<Done> {
    let mut config = global.quiet_settings()?;
    config.data_dir = config.data_dir.join("bench");
    config.database_url = String::new();
    if config.data_dir.exists() {
        std::fs::remove_dir_all(&config.data_dir)?;
    }
    let (directory, keep) = (config.data_dir.clone(), args.keep);
    let app = App::open(config, Clock::system()).await?;
    app.ensure_tenant().await?;
    app.embedder_with(output::downloads(global.json)).await?;
    let opened = Instant::now();
    app.engine().await?;
    let opened = opened.elapsed();
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let stop = CancellationToken::new();
    let tasks = background::start(&app, true, &stop);
    let outcome = measure(&app, &caller, global, &args, &directory, opened).await;
    stop.cancel();
    for task in tasks {
        task.await?;
    }
    app.db.close().await;
    drop(app);
    if !keep {
        std::fs::remove_dir_all(&directory)?;
    }
    outcome
}

async fn measure(
    app: &Arc<App>,
    caller: &Caller,
    global: &Global,
    args: &BenchArgs,
    directory: &Path,
    opened: Duration,
) -> Result<Done> {
    let sentences: Vec<&str> = SOURCES
        .iter()
        .flat_map(|s| s.split(['\n', '.', '|']))
        .map(str::trim)
        .filter(|s| s.split_whitespace().count() > 5)
        .collect();
    let mut random = Rng::with_seed(7);
    let idle_memory = memory();
    let dataset = datasets::create(
        app,
        caller,
        NewDataset {
            name: "bench".to_owned(),
            ..NewDataset::default()
        },
    )
    .await?;

    // One document in an idle system: time until it is searchable.
    let (first_keyword, first_vector) = first_hits(app, caller, &dataset.id).await?;

    // Ingestion against the bare model, on the same texts.
    let texts: Vec<String> = (0..args.documents)
        .map(|n| document(&mut random, &sentences, n))
        .collect();
    let large = ingestion(app, caller, &dataset.id, &texts, global.json).await?;
    let ingest_memory = memory();

    // Search in a large index.
    let planted = Instant::now();
    let count = args.chunks.saturating_sub(large.chunks);
    let vectors = plant::plant(app, caller, &dataset.id, &mut random, &sentences, count).await?;
    let planted = planted.elapsed();
    let optimised = Instant::now();
    app.engine().await?.improve().await?;
    let optimised = optimised.elapsed();
    let bench = searches::Searches {
        app,
        caller,
        dataset_id: &dataset.id,
        sentences: &sentences,
        count: args.searches,
    };
    let (whole, without) = bench.plain(&mut random).await?;
    let (table, stages) = bench.table().await?;
    let clients = bench.clients().await?;
    // Without the copies of the planted vectors.
    let copies = vectors.iter().map(|p| p.vector.len() * size_of::<f32>());
    let search_memory = memory().saturating_sub((copies.sum::<usize>() >> 20) as u64);
    let recall = bench.recall(&vectors).await?;
    drop(vectors);
    let few: Vec<String> = (0..8 * args.documents)
        .map(|n| note(&mut random, &sentences, n))
        .collect();
    let new = NewDataset {
        name: "bench-notes".to_owned(),
        ..NewDataset::default()
    };
    let notes = datasets::create(app, caller, new).await?;
    let small = ingestion(app, caller, &notes.id, &few, global.json).await?;
    let counted = datasets::get(app, caller, &dataset.id).await?.total_chunks;
    let quantiles = |values: &[f64]| [0.5, 0.95, 0.99].map(|share| percentile(values, share));
    let ([a50, a95, a99], [b50, b95, b99]) = (quantiles(&whole), quantiles(&without));
    let disk: Vec<(&str, u64)> = ["cairn.db", "keyword", "vectors", "blobs"]
        .map(|part| (part, size(&directory.join(part))))
        .to_vec();
    if global.json {
        println!(
            "{}",
            json!({
                "engineOpenMs": opened.as_secs_f64() * 1000.0,
                "firstKeywordHitMs": first_keyword.as_secs_f64() * 1000.0, "firstVectorHitMs": first_vector.as_secs_f64() * 1000.0,
                "ingest": large.json(), "ingestSmall": small.json(),
                "search": {"chunks": counted, "searches": args.searches, "p50Ms": a50, "p95Ms": a95, "p99Ms": a99,
                    "withoutEmbedding": {"p50Ms": b50, "p95Ms": b95, "p99Ms": b99}},
                "kinds": table.iter().map(|l| json!({"kind": l.name, "p50Ms": l.p50, "p95Ms": l.p95, "ratio": l.ratio})).collect::<Vec<_>>(),
                "stagesMs": {"prepare": stages.prepare, "retrieve": stages.retrieve, "assemble": stages.assemble},
                "clients": {"searchesPerSecond": clients.per_second, "cpuMs": clients.cpu_ms},
                "recallAt10": SHARES.iter().zip(recall).map(|(share, recall)| json!({"passing": share, "recall": recall})).collect::<Vec<_>>(),
                "plantSeconds": planted.as_secs_f64(), "optimiseSeconds": optimised.as_secs_f64(),
                "memoryMb": {"idle": idle_memory, "ingesting": ingest_memory, "searching": search_memory},
                "diskBytes": disk.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect::<serde_json::Map<_, _>>(),
            })
        );
        return Ok(Done::All);
    }
    println!(
        "opening the indexes         {:>10.0} ms",
        opened.as_secs_f64() * 1000.0
    );
    println!(
        "upload to first hit         {:>10.0} ms keyword, {:.0} ms semantic",
        first_keyword.as_secs_f64() * 1000.0,
        first_vector.as_secs_f64() * 1000.0
    );
    for (name, ingested) in [("ten chunks each", &large), ("one chunk each", &small)] {
        println!(
            "ingestion, {name:<16} {:>10.1} chunks/s ({} chunks), {:.0}% of the model alone ({:.1}/s)",
            ingested.rate,
            ingested.chunks,
            100.0 * ingested.rate / ingested.alone,
            ingested.alone
        );
    }
    println!(
        "search among {counted:>9} chunks: {a50:.1} / {a95:.1} / {a99:.1} ms (p50/p95/p99), excluding query embedding {b50:.1} / {b95:.1} / {b99:.1} ms"
    );
    println!("kind of search (embedded)        p50 ms    p95 ms  ratio to plain");
    for line in &table {
        println!(
            "  {:<26} {:>10.2} {:>9.2} {:>8.2}",
            line.name, line.p50, line.p95, line.ratio
        );
    }
    println!(
        "stages of the plain search  {:>10.2} ms prepare, {:.2} ms retrieve, {:.2} ms assemble",
        stages.prepare, stages.retrieve, stages.assemble
    );
    println!(
        "8 clients                   {:>10.0} searches/s, {:.1} ms of processor time each",
        clients.per_second, clients.cpu_ms
    );
    let recalls = SHARES.iter().zip(recall);
    let recalls: Vec<String> = recalls
        .map(|(share, recall)| format!("{recall:.3} at {share} %"))
        .collect();
    println!("semantic recall@10 under filters  {}", recalls.join(", "));
    println!(
        "building the index          {:>10.1} s, optimising it {:.1} s",
        planted.as_secs_f64(),
        optimised.as_secs_f64()
    );
    println!(
        "anonymous memory            {idle_memory:>10} MB idle, {ingest_memory} MB ingesting, {search_memory} MB searching"
    );
    let parts: Vec<String> = disk
        .iter()
        .map(|(name, bytes)| format!("{name} {} MB", bytes >> 20))
        .collect();
    println!("disk                        {}", parts.join(", "));
    Ok(Done::All)
}

/// Returns a document of about ten chunks.
fn document(random: &mut Rng, sentences: &[&str], n: usize) -> String {
    let mut text = format!("Report number {n} of the bench.\n\n");
    while text.split_whitespace().count() < 1100 {
        text.push_str(sentences[random.usize(..sentences.len())]);
        text.push_str(if random.u8(..6) == 0 { ".\n\n" } else { ". " });
    }
    text
}

/// Returns a document of one chunk.
fn note(random: &mut Rng, sentences: &[&str], n: usize) -> String {
    let mut text = format!("Note number {n} of the bench.");
    while text.split_whitespace().count() < 90 {
        text.push(' ');
        text.push_str(sentences[random.usize(..sentences.len())]);
        text.push('.');
    }
    text
}

/// Speed of an ingestion.
struct Ingested {
    chunks: usize,
    /// Chunks per second, from the first upload until all are searchable.
    rate: f64,
    /// Texts per second of the model alone, on the same texts.
    alone: f64,
}

impl Ingested {
    fn json(&self) -> serde_json::Value {
        json!({"chunks": self.chunks, "chunksPerSecond": self.rate, "modelAlonePerSecond": self.alone, "share": self.rate / self.alone})
    }
}

/// Ingests texts into an empty dataset, and embeds the same texts with the model alone.
async fn ingestion(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    texts: &[String],
    json: bool,
) -> Result<Ingested> {
    let began = Instant::now();
    let mut ids = Vec::with_capacity(texts.len());
    for (number, batch) in texts.chunks(ingest::ADDED).enumerate() {
        let files = batch.iter().enumerate().map(async |(n, text)| {
            upload(app, caller, &format!("bench-{number}-{n}.txt"), text).await
        });
        let new = futures::future::try_join_all(files).await?;
        let added = documents::add(app, caller, dataset_id, new, UploadPolicy::default()).await?;
        ids.extend(added.into_iter().map(|added| added.document.id));
    }
    ingest::wait(app, caller, dataset_id, &ids, json).await?;
    let ingested = began.elapsed();
    let rows: Vec<(String, String, String)> = app
        .db
        .all(
            "SELECT text_hash, context, content FROM kb_chunks WHERE dataset_id = $1 ORDER BY text_hash",
            args![dataset_id],
        )
        .await?;
    let chunks = rows.len();
    let mut distinct = rows;
    distinct.dedup_by(|a, b| a.0 == b.0);
    // The same order as in an ingestion: texts of similar length in a batch.
    let mut distinct: Vec<String> = distinct
        .into_iter()
        .map(|(_, context, content)| format!("{context}\n\n{content}"))
        .collect();
    distinct.sort_by_key(String::len);
    let began = Instant::now();
    for batch in distinct.chunks(32) {
        app.embed(batch.to_vec(), Priority::Bulk).await?;
    }
    Ok(Ingested {
        chunks,
        rate: chunks as f64 / ingested.as_secs_f64(),
        alone: distinct.len() as f64 / began.elapsed().as_secs_f64(),
    })
}

async fn upload(app: &App, caller: &Caller, name: &str, text: &str) -> Result<NewDocument> {
    let stored = app
        .blobs
        .put_bytes(&app.db, caller.tenant(), text.as_bytes().to_vec())
        .await?;
    Ok(NewDocument::new(name.to_owned(), "text/plain", stored))
}

async fn first_hits(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
) -> Result<(Duration, Duration)> {
    // The query is embedded beforehand, so that only ingestion is timed.
    let request = |alpha| Request {
        cache: false,
        alpha: Some(alpha),
        ..Request::new("where do heliotropes grow", vec![dataset_id.to_owned()])
    };
    search::search(app, caller, &request(1.0)).await?;
    let began = Instant::now();
    let new = upload(
        app,
        caller,
        "first.txt",
        "Heliotropes grow on the southern slope behind the observatory.",
    )
    .await?;
    documents::add(app, caller, dataset_id, vec![new], UploadPolicy::default()).await?;
    let mut times = [Duration::ZERO; 2];
    for (time, alpha) in times.iter_mut().zip([0.0, 1.0]) {
        while search::search(app, caller, &request(alpha))
            .await?
            .hits
            .is_empty()
        {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(Error::unavailable(
                    "bench_failed",
                    "the document was not searchable within a minute",
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        *time = began.elapsed();
    }
    Ok((times[0], times[1]))
}

/// Returns the anonymous memory of this process in MB; 0 where the system does not report it.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0, |kb| kb >> 10)
}

fn size(path: &Path) -> u64 {
    if path.is_file() {
        return path.metadata().map_or(0, |m| m.len());
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}
