//! `cairn eval`: retrieval measured on a collection in BEIR layout (`corpus.jsonl[.gz]`, `queries.jsonl[.gz]`, `qrels/test.tsv`).
//!
//! Whole documents are single chunks where they fit (2,048 tokens). The index is kept under `eval` in the data directory, so that a second run embeds nothing.
//! Compared are vectors only, keywords only, reciprocal rank fusion, the default blend, and the blend with feedback; then the vector weight is tuned on one
//! half of the queries and reported on the other.

mod corpus;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Done, Global, ingest, output};
use crate::app::App;
use crate::auth::{Caller, tenants};
use crate::background;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::evaluation::statistics::{self, Interval, percentile};
use crate::evaluation::tune;
use crate::kb::Dataset;
use crate::search::measure::{Judgements, Measures, mean, measure};
use crate::search::{self, Fusion, Request, pool};
use corpus::{load, read_queries};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn eval collections/scifact
  cairn eval collections/scifact --fail-below 0.7      fail if nDCG@10 of the default blend is lower
  cairn eval collections/germanquad --language de --json")]
pub(super) struct EvalArgs {
    /// Collection directory
    dir: PathBuf,
    /// Language for keyword analysis: two-letter code, none or auto
    #[arg(long, default_value = "auto", value_name = "CODE")]
    language: String,
    /// Semantic weight in the blend [default: chosen by model and query]
    #[arg(long, value_name = "0..1")]
    alpha: Option<f32>,
    /// Chunk size in tokens, 128 to 2048
    #[arg(long, default_value_t = 2048, value_name = "N")]
    chunk_size: i64,
    /// Do not embed or index titles
    #[arg(long)]
    no_titles: bool,
    /// Fail if nDCG@10 of the default blend is below this value
    #[arg(long, value_name = "0..1")]
    fail_below: Option<f64>,
    /// Evaluate only the first N queries
    #[arg(long, value_name = "N")]
    queries: Option<usize>,
}

/// Result of one configuration.
#[derive(Debug, Serialize)]
struct Row {
    configuration: &'static str,
    #[serde(flatten)]
    measures: Measures,
    /// Median latency without embedding the query, in milliseconds.
    p50_ms: f64,
    /// 95th percentile of the same latency.
    p95_ms: f64,
}

/// Hits per query over which measures are computed.
const DEPTH: usize = 100;

/// Number of queries timed, with ten hits each, one after the other.
const TIMED: usize = 300;

pub(super) async fn run(global: &Global, args: EvalArgs) -> Result<Done> {
    let mut config = global.quiet_settings()?;
    config.data_dir = config.data_dir.join("eval");
    config.database_url = String::new();
    let queries = read_queries(&args)?;
    let app = App::open(config, Clock::system()).await?;
    app.ensure_tenant().await?;
    app.embedder_with(output::downloads(global.json)).await?;
    app.engine().await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let stop = CancellationToken::new();
    let tasks = background::start(&app, true, &stop);
    let outcome = evaluate(&app, &caller, global, &args, &queries).await;
    stop.cancel();
    for task in tasks {
        task.await?;
    }
    app.db.close().await;
    outcome
}

async fn evaluate(
    app: &Arc<App>,
    caller: &Caller,
    global: &Global,
    args: &EvalArgs,
    queries: &[(String, String, Judgements)],
) -> Result<Done> {
    let began = Instant::now();
    let dataset = load(app, caller, global, args).await?;
    let loaded = began.elapsed().as_secs_f64();
    let configurations = [
        ("vector", Some(1.0), Fusion::Blend),
        ("keyword", Some(0.0), Fusion::Blend),
        ("rrf", Some(0.5), Fusion::Rrf),
        ("blend", args.alpha, Fusion::Blend),
        ("feedback", args.alpha, Fusion::Blend),
    ];
    let bar = output::bar(
        (queries.len() * configurations.len()) as u64,
        global.json,
        "searching {pos}/{len} {wide_bar} {eta}",
    );
    let request =
        |text: &str, alpha: Option<f32>, fusion: Fusion, top_k: usize, feedback| Request {
            top_k,
            feedback: Some(feedback),
            alpha,
            fusion,
            plain: true,
            cache: false,
            ..Request::new(text, vec![dataset.id.clone()])
        };
    let (mut rows, mut embed) = (Vec::new(), Vec::new());
    for (configuration, alpha, fusion) in configurations {
        let feedback = configuration == "feedback";
        let measures: Vec<Measures> = futures::stream::iter(queries)
            .map(|(_, text, judged)| {
                let (bar, request) = (bar.clone(), request(text, alpha, fusion, DEPTH, feedback));
                async move {
                    let answer = search::search(app, caller, &request).await?;
                    bar.inc(1);
                    let mut seen = HashSet::new();
                    let ranking: Vec<String> = answer
                        .hits
                        .into_iter()
                        .filter(|h| seen.insert(h.file_name.clone()))
                        .map(|h| h.file_name)
                        .collect();
                    Ok::<_, Error>(measure(&ranking, judged))
                }
            })
            .buffered(4)
            .try_collect()
            .await?;
        app.query_vectors.invalidate_all();
        let mut times = Vec::new();
        for (_, text, _) in queries.iter().take(TIMED) {
            let answer =
                search::search(app, caller, &request(text, alpha, fusion, 10, feedback)).await?;
            times.push(answer.timings.total_ms - answer.timings.embed_ms);
            if configuration == "vector" {
                embed.push(answer.timings.embed_ms);
            }
        }
        times.sort_by(f64::total_cmp);
        rows.push(Row {
            configuration,
            measures: mean(&measures),
            p50_ms: percentile(&times, 0.5),
            p95_ms: percentile(&times, 0.95),
        });
    }
    bar.finish_and_clear();
    let tuned = tuned(app, caller, &dataset, queries).await?;
    embed.sort_by(f64::total_cmp);
    if global.json {
        println!(
            "{}",
            serde_json::json!({
                "collection": args.dir, "documents": dataset.total_files, "chunks": dataset.total_chunks, "queries": queries.len(),
                "model": dataset.indexing.embedding_model, "language": dataset.language, "alpha": args.alpha, "loadSeconds": loaded,
                "embedQueryMs": {"p50": percentile(&embed, 0.5), "p95": percentile(&embed, 0.95)}, "results": rows, "tuned": tuned
            })
        );
        return gate(args, &rows);
    }
    println!(
        "{}: {} documents, {} chunks, {} queries, model {}, loaded in {loaded:.1} s\n",
        args.dir.display(),
        dataset.total_files,
        dataset.total_chunks,
        queries.len(),
        dataset.indexing.embedding_model
    );
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            let m = r.measures;
            let mut row = vec![r.configuration.to_owned()];
            row.extend(
                [
                    m.ndcg_at_10,
                    m.recall_at_5,
                    m.recall_at_10,
                    m.recall_at_100,
                    m.mrr_at_10,
                    m.map,
                ]
                .map(|v| format!("{v:.4}")),
            );
            row.extend([r.p50_ms, r.p95_ms].map(|v| format!("{v:.1}")));
            row
        })
        .collect();
    println!(
        "{}",
        output::table(
            &[
                "", "nDCG@10", "R@5", "R@10", "R@100", "MRR@10", "MAP", "p50 ms", "p95 ms"
            ],
            &cells
        )
    );
    println!(
        "\nLatency is for ten hits and excludes query embedding: {:.1} ms (p50), {:.1} ms (p95).",
        percentile(&embed, 0.5),
        percentile(&embed, 0.95)
    );
    println!(
        "Tuned on {} queries: semantic weight {}. On the other {} queries: nDCG@10 {:.4}, before {:.4} ({:+.4}, 95% confidence interval {:+.4} to {:+.4}).",
        tuned.tuned_on,
        tuned
            .alpha
            .map_or_else(|| "automatic".to_owned(), |a| format!("{a:.2}")),
        tuned.tested_on,
        tuned.after,
        tuned.before,
        tuned.gain.mean,
        tuned.gain.low,
        tuned.gain.high
    );
    gate(args, &rows)
}

fn gate(args: &EvalArgs, rows: &[Row]) -> Result<Done> {
    let reached = rows.iter().find(|r| r.configuration == "blend");
    match (args.fail_below, reached) {
        (Some(least), Some(row)) if row.measures.ndcg_at_10 < least => Err(Error::unprocessable(
            "quality_below",
            format!(
                "nDCG@10 of the default blend is {:.4}, below {least}",
                row.measures.ndcg_at_10
            ),
        )),
        _ => Ok(Done::All),
    }
}

/// The best vector weight on one half of the queries, and its measures on the other.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tuned {
    tuned_on: usize,
    tested_on: usize,
    /// `None`: chosen per query.
    alpha: Option<f32>,
    /// nDCG@10 of the default on the test queries.
    before: f64,
    /// nDCG@10 of the best weight on the test queries.
    after: f64,
    gain: Interval,
    /// nDCG@10 by weight, over all queries.
    curve: Vec<(Option<f32>, f64)>,
}

async fn tuned(
    app: &Arc<App>,
    caller: &Caller,
    dataset: &Dataset,
    queries: &[(String, String, Judgements)],
) -> Result<Tuned> {
    let names: HashMap<String, String> = ingest::existing(app, caller, &dataset.id)
        .await?
        .into_iter()
        .map(|(name, document)| (document.id, name))
        .collect();
    // nDCG@10 of every weight, for each query.
    let mut rows: Vec<(bool, Vec<f64>)> = Vec::with_capacity(queries.len());
    for (_, text, judged) in queries {
        let request = Request {
            top_k: DEPTH,
            plain: true,
            ..Request::new(text, vec![dataset.id.clone()])
        };
        let pool = pool::pool(app, caller, &request).await?;
        let values = tune::weights().map(|alpha| {
            let ordered = tune::ordered(&pool, alpha.unwrap_or(pool.automatic_alpha), usize::MAX);
            let mut seen = HashSet::new();
            let ranking: Vec<String> = ordered
                .into_iter()
                .filter(|(document, ..)| seen.insert(*document))
                .filter_map(|(document, ..)| names.get(document).cloned())
                .collect();
            measure(&ranking, judged).ndcg_at_10
        });
        rows.push((tune::is_for_tuning(text), values.collect()));
    }
    let average = |index: usize, of: &dyn Fn(bool) -> bool| {
        let values: Vec<f64> = rows
            .iter()
            .filter(|r| of(r.0))
            .map(|r| r.1[index])
            .collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let weights: Vec<Option<f32>> = tune::weights().collect();
    let mut best = 0;
    for index in 1..weights.len() {
        if average(index, &|first| first) > average(best, &|first| first) {
            best = index;
        }
    }
    let gains: Vec<f64> = rows
        .iter()
        .filter(|r| !r.0)
        .map(|r| r.1[best] - r.1[0])
        .collect();
    Ok(Tuned {
        tuned_on: rows.len() - gains.len(),
        tested_on: gains.len(),
        alpha: weights[best],
        before: average(0, &|first| !first),
        after: average(best, &|first| !first),
        gain: statistics::interval(&gains),
        curve: weights
            .iter()
            .enumerate()
            .map(|(i, w)| (*w, average(i, &|_| true)))
            .collect(),
    })
}
