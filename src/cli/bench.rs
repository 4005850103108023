//! `cairn bench`: measures ingestion and search on this machine, as ratios against a baseline in the same run where there is one.
//!
//! The texts are sentences of Cairn's own documentation in a fixed random order, so that every run measures the same.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_models::Priority;
use clap::Args;
use fastrand::Rng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

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
use crate::kb::embeddings;
use crate::kb::filter::Filter;
use crate::kb::index_log::{self, Op};
use crate::search::{self, Request};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn bench
  cairn bench --documents 400 --chunks 100000 --json")]
pub(super) struct BenchArgs {
    /// Documents to ingest, about eight chunks each
    #[arg(long, default_value_t = 60, value_name = "N")]
    documents: usize,
    /// Chunks to search; those not ingested use perturbed copies of real embeddings
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    chunks: usize,
    /// Number of timed searches
    #[arg(long, default_value_t = 300, value_name = "N")]
    searches: usize,
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
    let directory = config.data_dir.clone();
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
    std::fs::remove_dir_all(&directory)?;
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
    let began = Instant::now();
    let mut added = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        added.extend(
            documents::add(
                app,
                caller,
                &dataset.id,
                vec![upload(app, caller, &format!("bench-{n}.txt"), text).await?],
                UploadPolicy::default(),
            )
            .await?
            .into_iter()
            .map(|added| added.document.id),
        );
    }
    ingest::wait(app, caller, &dataset.id, &added, global.json).await?;
    let ingested = began.elapsed();
    let rows: Vec<(String, String, String)> = app.db.all("SELECT text_hash, context, content FROM kb_chunks WHERE dataset_id = $1 ORDER BY text_hash", args![&dataset.id]).await?;
    let distinct: Vec<String> = {
        let mut rows = rows.clone();
        rows.dedup_by(|a, b| a.0 == b.0);
        rows.into_iter()
            .map(|(_, context, content)| format!("{context}\n\n{content}"))
            .collect()
    };
    let began = Instant::now();
    for batch in distinct.chunks(32) {
        app.embed(batch.to_vec(), Priority::Bulk).await?;
    }
    let raw = began.elapsed();
    let (ingest_rate, raw_rate) = (
        rows.len() as f64 / ingested.as_secs_f64(),
        distinct.len() as f64 / raw.as_secs_f64(),
    );
    let ingest_memory = memory();

    // Search in a large index.
    let planted = Instant::now();
    plant(
        app,
        caller,
        &dataset.id,
        &mut random,
        &sentences,
        args.chunks.saturating_sub(rows.len()),
    )
    .await?;
    let planted = planted.elapsed();
    let optimised = Instant::now();
    app.engine().await?.improve().await?;
    let optimised = optimised.elapsed();
    let (mut whole, mut without) = (Vec::new(), Vec::new());
    for n in 0..args.searches {
        let query = format!(
            "{} {n}",
            sentences[random.usize(..sentences.len())]
                .split_whitespace()
                .take(8)
                .collect::<Vec<_>>()
                .join(" ")
        );
        let answer = search::search(
            app,
            caller,
            &Request {
                top_k: 10,
                cache: false,
                ..Request::new(query, vec![dataset.id.clone()])
            },
        )
        .await?;
        whole.push(answer.timings.total_ms);
        without.push(answer.timings.total_ms - answer.timings.embed_ms);
    }
    whole.sort_by(f64::total_cmp);
    without.sort_by(f64::total_cmp);
    let features = features(app, caller, &dataset.id, &sentences, args.searches).await?;
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
                "ingest": {"chunks": rows.len(), "chunksPerSecond": ingest_rate, "modelAlonePerSecond": raw_rate, "share": ingest_rate / raw_rate},
                "search": {"chunks": counted, "searches": args.searches, "p50Ms": a50, "p95Ms": a95, "p99Ms": a99,
                    "withoutEmbedding": {"p50Ms": b50, "p95Ms": b95, "p99Ms": b99}},
                "features": features.iter().map(|f| json!({"feature": f.0, "p50Ms": f.1, "ratio": f.2})).collect::<Vec<_>>(),
                "plantSeconds": planted.as_secs_f64(), "optimiseSeconds": optimised.as_secs_f64(),
                "memoryMb": {"idle": idle_memory, "ingesting": ingest_memory, "searching": memory()},
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
    println!(
        "ingestion                   {ingest_rate:>10.1} chunks/s ({} chunks), {:.0}% of the model alone ({raw_rate:.1}/s)",
        rows.len(),
        100.0 * ingest_rate / raw_rate
    );
    println!(
        "search among {counted:>9} chunks: {a50:.1} / {a95:.1} / {a99:.1} ms (p50/p95/p99), excluding query embedding {b50:.1} / {b95:.1} / {b99:.1} ms"
    );
    let added: Vec<String> = features
        .iter()
        .map(|(name, _, ratio)| format!("{name} {ratio:.2}"))
        .collect();
    println!("relative search time        {}", added.join(", "));
    println!(
        "building the index          {:>10.1} s, optimising it {:.1} s",
        planted.as_secs_f64(),
        optimised.as_secs_f64()
    );
    println!(
        "memory                      {idle_memory:>10} MB idle, {ingest_memory} MB ingesting, {} MB searching",
        memory()
    );
    let parts: Vec<String> = disk
        .iter()
        .map(|(name, bytes)| format!("{name} {} MB", bytes >> 20))
        .collect();
    println!("disk                        {}", parts.join(", "));
    Ok(Done::All)
}

/// Measures the cost of each feature: its name, the median latency of its searches in milliseconds, and the ratio to the plain search of the same queries. The
/// features alternate on each query, so that disturbances affect all equally; embedding the query is excluded.
async fn features(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    sentences: &[&str],
    searches: usize,
) -> Result<Vec<(&'static str, f64, f64)>> {
    type Change = fn(&mut Request);
    let features: [(&str, Change); 12] = [
        ("plain", |_| {}),
        ("explain", |_| {}),
        ("facets", |r| {
            r.facets = vec!["$source".to_owned(), "$page".to_owned()];
        }),
        ("filter", |r| {
            r.filter = Some(Filter::typed("$source", "upload"))
        }),
        ("phrase", |r| {
            let mut words = r.query.split_whitespace();
            if let (Some(a), Some(b)) = (words.next(), words.next()) {
                r.query = format!("\"{a} {b}\" {}", r.query);
            }
        }),
        ("fold", |r| r.fold = true),
        ("mmr", |r| r.mmr = Some(0.7)),
        ("perDocument", |r| r.per_document = Some(3)),
        ("expand", |r| r.expand = 1),
        ("maxTokens", |r| r.max_tokens = Some(1500)),
        ("feedback", |r| r.feedback = Some(true)),
        ("remembered", |r| r.cache = true),
    ];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); features.len()];
    for n in 0..searches.min(150) {
        let query: Vec<&str> = sentences[n * 7 % sentences.len()]
            .split_whitespace()
            .take(8)
            .collect();
        let plain = Request {
            top_k: 10,
            plain: true,
            cache: false,
            ..Request::new(query.join(" "), vec![dataset_id.to_owned()])
        };
        // The query vectors are cached from here on.
        let mut warm = plain.clone();
        warm.plain = false;
        for request in [&plain, &warm] {
            search::search(app, caller, request).await?;
        }
        for (index, (name, change)) in features.iter().enumerate() {
            let mut request = plain.clone();
            change(&mut request);
            if *name == "phrase" {
                request.plain = false;
                search::search(app, caller, &request).await?;
            }
            if *name == "remembered" {
                search::search(app, caller, &request).await?;
            }
            let began = Instant::now();
            let answer = search::search(app, caller, &request).await?;
            if *name == "explain" {
                for hit in &answer.hits {
                    std::hint::black_box(serde_json::to_string(&hit.explanation)?);
                }
            }
            times[index].push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|t| {
            t.sort_by(f64::total_cmp);
            percentile(t, 0.5)
        })
        .collect();
    Ok(features
        .iter()
        .zip(&medians)
        .map(|((name, _), median)| (*name, *median, median / medians[0].max(f64::MIN_POSITIVE)))
        .collect())
}

/// Returns a document of about eight chunks.
fn document(random: &mut Rng, sentences: &[&str], n: usize) -> String {
    let mut text = format!("Report number {n} of the bench.\n\n");
    while text.split_whitespace().count() < 1100 {
        text.push_str(sentences[random.usize(..sentences.len())]);
        text.push_str(if random.u8(..6) == 0 { ".\n\n" } else { ". " });
    }
    text
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

/// Adds chunks without the model: texts of the same sentences, and vectors near real ones.
async fn plant(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    random: &mut Rng,
    sentences: &[&str],
    count: usize,
) -> Result<()> {
    let real: Vec<(Vec<u8>,)> = app
        .db
        .all(
            "SELECT vector FROM kb_embeddings WHERE tenant_id = $1 LIMIT 5000",
            args![caller.tenant()],
        )
        .await?;
    let (document_id, model): (String, String) = app
        .db
        .one("SELECT d.id, s.embedding_model FROM kb_documents d JOIN kb_datasets s ON s.id = d.dataset_id WHERE d.dataset_id = $1 LIMIT 1", args![dataset_id])
        .await?;
    for start in (0..count).step_by(1000) {
        let mut tx = app.db.begin_repeatable().await?;
        let mut ops = Vec::new();
        for n in start..(start + 1000).min(count) {
            let content: String = (0..8)
                .map(|_| format!("{}. ", sentences[random.usize(..sentences.len())]))
                .collect();
            let mut vector = embeddings::vector_of(&real[random.usize(..real.len())].0);
            vector
                .iter_mut()
                .for_each(|v| *v += 0.03 * (2.0 * random.f32() - 1.0));
            let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|v| *v /= norm);
            let (id, hash) = (
                uuid::Uuid::from_u128(n as u128 + 1).to_string(),
                format!("planted-{n}"),
            );
            let length = i64::try_from(content.len()).unwrap_or(0);
            tx.execute(
                "INSERT INTO kb_chunks (id, tenant_id, dataset_id, document_id, ordinal, start_byte, end_byte, start_char, end_char, content, context,
                 heading_path, tokens, truncated, text_hash, set_id) VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $6, $7, '', '[]', 200, FALSE, $8, $3)",
                args![&id, caller.tenant(), dataset_id, &document_id, i64::try_from(n).unwrap_or(0) + 1000, length, content, &hash],
            )
            .await?;
            embeddings::store(
                &mut tx,
                caller.tenant(),
                &model,
                &hash,
                &vector,
                app.clock.now(),
            )
            .await?;
            ops.extend([(Op::Text, id.clone()), (Op::Vector, id)]);
        }
        index_log::append(&mut tx, dataset_id, &ops).await?;
        app.commit(tx).await?;
    }
    let (last,): (i64,) = app
        .db
        .one(
            "SELECT log_seq FROM kb_generations WHERE set_id = $1",
            args![dataset_id],
        )
        .await?;
    loop {
        let (keyword, vector) = app.indexes.positions(dataset_id);
        if keyword.min(vector) >= last {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the resident memory of this process in MB; 0 where the system does not report it.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
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
