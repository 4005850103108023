//! `cairn search`: searches a data directory or a server, and prints hits as text or JSON.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::{Done, Global, Remote};
use crate::app::App;
use crate::auth::{Caller, tenants};
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::page::{MAX_LIMIT, Page};
use crate::search::settings::Syntax;
use crate::search::{self, Answer, Explanation, Fusion, Hit, Settings, follower};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn search \"how do I rotate keys\"
  cairn search \"HTTP_PROXY\" --dataset docs --alpha 0 --explain
  cairn search \"refund policy\" --top-k 3 --min-score 0.5 --json
  cairn search '\"refund policy\" -draft team:billing' --per-document 1 --expand 1
  cairn search \"refund policy\" --url http://127.0.0.1:7700 --key cairn_…")]
pub(super) struct SearchArgs {
    /// Search query
    query: String,
    /// Dataset name or ID; repeatable [default: all datasets]
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Maximum number of hits, 1 to 100
    #[arg(long, default_value_t = 5, value_name = "N")]
    top_k: usize,
    /// Semantic weight: 0 keyword only, 1 semantic only [default: chosen by model and query]
    #[arg(long, value_name = "0..1")]
    alpha: Option<f32>,
    /// Minimum score of a hit
    #[arg(long, value_name = "0..1")]
    min_score: Option<f32>,
    /// Fusion of keyword and semantic results
    #[arg(long, default_value = "blend", value_parser = ["blend", "rrf", "minmax"])]
    fusion: String,
    /// Metadata filter as JSON: {"field":"year","op":"gte","value":2024}
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Maximum number of hits per document
    #[arg(long, value_name = "N")]
    per_document: Option<usize>,
    /// Diversity (MMR): 1 ranks by score only, 0 by difference only
    #[arg(long, value_name = "0..1")]
    mmr: Option<f32>,
    /// Include N neighbouring chunks on each side of a hit
    #[arg(long, value_name = "N")]
    expand: Option<usize>,
    /// Count the values of a field among matching candidates; repeatable
    #[arg(long, value_name = "FIELD")]
    facet: Vec<String>,
    /// Token budget: drop the lowest-ranked hits beyond N tokens in total
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Rerank the top candidates with the configured cross-encoder
    #[arg(long)]
    rerank: bool,
    /// Expand the query with terms from its best chunks (pseudo-relevance feedback)
    #[arg(long)]
    feedback: bool,
    /// Treat the query as plain text, without operators
    #[arg(long)]
    plain: bool,
    /// Show how each score is calculated
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(global: &Global, args: SearchArgs) -> Result<Done> {
    let settings = settings(&args)?;
    if let Some(client) = Client::new(&args.remote)? {
        return remote(global, &args, &settings, &client).await;
    }
    let app = global.app().await?;
    let caller = app.local_caller(tenants::DEFAULT).await?;
    let ids = dataset_ids(&app, &caller, &args.dataset).await?;
    follower::catch_up(&app, app.engine().await?).await?;
    let request = settings.request(args.query.clone(), ids)?;
    let answer = search::search(&app, &caller, &request).await?;
    if global.json {
        println!(
            "{}",
            serde_json::to_string(&as_json(&answer, args.explain)?)?
        );
    } else {
        print(&answer, args.explain);
    }
    Ok(Done::All)
}

fn settings(args: &SearchArgs) -> Result<Settings> {
    let filter = args
        .filter
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|e| {
            Error::invalid("filter_invalid", format!("--filter is not valid JSON: {e}"))
        })?;
    let yes = |flag: bool| flag.then_some(true);
    Ok(Settings {
        top_k: Some(args.top_k),
        hybrid_alpha: args.alpha,
        min_score: args.min_score,
        fusion: Some(match args.fusion.as_str() {
            "rrf" => Fusion::Rrf,
            "minmax" => Fusion::Minmax,
            _ => Fusion::Blend,
        }),
        filter,
        per_document: args.per_document,
        mmr: args.mmr,
        expand: args.expand,
        facets: args.facet.clone(),
        max_tokens: args.max_tokens,
        rerank: yes(args.rerank),
        feedback: yes(args.feedback),
        syntax: args.plain.then_some(Syntax::Plain),
        ..Settings::default()
    })
}

/// Returns the ids of the named datasets, or of all.
async fn dataset_ids(app: &Arc<App>, caller: &Caller, names: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(datasets::by_name(app, caller, name).await?.id);
    }
    if names.is_empty() {
        let all = datasets::list(
            app,
            caller,
            &Page {
                limit: MAX_LIMIT,
                after: String::new(),
            },
        )
        .await?;
        ids = all.items.into_iter().map(|d| d.id).collect();
    }
    if ids.is_empty() {
        Err(Error::not_found(
            "dataset_not_found",
            "there is no dataset yet; `cairn ingest PATH --dataset NAME` creates one",
        ))
    } else {
        Ok(ids)
    }
}

async fn remote(
    global: &Global,
    args: &SearchArgs,
    settings: &Settings,
    client: &Client,
) -> Result<Done> {
    let known = client.datasets().await?;
    let mut ids = Vec::new();
    for name in &args.dataset {
        let found = known.iter().find(|(n, id)| n == name || id == name);
        ids.push(
            found
                .ok_or_else(|| {
                    let names = known.iter().map(|(name, _)| name.as_str());
                    datasets::unknown(name, names)
                })?
                .1
                .clone(),
        );
    }
    if args.dataset.is_empty() {
        ids = known.into_iter().map(|(_, id)| id).collect();
    }
    let mut body = serde_json::to_value(settings)?;
    body["query"] = json!(args.query);
    body["datasetIds"] = json!(ids);
    body["explain"] = json!(args.explain);
    let answer = Client::send(client.post("/kb/v1/search").json(&body)).await?;
    if global.json {
        println!("{answer}");
        return Ok(Done::All);
    }
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    for (rank, hit) in (1..).zip(&results) {
        let page = hit["metadata"]["pageNumber"].as_i64();
        let headings: Vec<String> = serde_json::from_value(hit["headingPath"].clone())?;
        let score = hit["score"].as_f64().unwrap_or(0.0) as f32;
        headline(
            rank,
            score,
            hit["rankSource"].as_str().unwrap_or_default(),
            hit["fileName"].as_str().unwrap_or_default(),
            page,
            &headings,
        );
        if args.explain {
            let e = &hit["explain"];
            println!("     {}", e["sentence"].as_str().unwrap_or_default());
            println!(
                "     {:.3} = {} × {} semantic + {} × {} keyword",
                score, e["vectorWeight"], e["vectorScore"], e["keywordWeight"], e["keywordScore"]
            );
        }
        let shown = hit["expanded"]["text"].as_str().or(hit["content"].as_str());
        excerpt(shown.unwrap_or_default());
    }
    beside(
        &answer["facets"],
        answer["didYouMean"].as_str(),
        &answer["confidence"],
        &answer["degraded"],
    );
    println!(
        "{} hits in {:.1} ms",
        results.len(),
        answer["searchMs"].as_f64().unwrap_or(0.0)
    );
    Ok(Done::All)
}

fn as_json(answer: &Answer, explain: bool) -> Result<Value> {
    let hit = |hit: &Hit| -> Result<Value> {
        Ok(json!({
            "chunkId": hit.chunk.id, "fileId": hit.chunk.document_id, "fileName": hit.file_name, "title": hit.title, "datasetId": hit.chunk.dataset_id,
            "content": hit.chunk.content, "score": hit.score, "rankSource": hit.rank_source, "start": hit.chunk.start_char, "end": hit.chunk.end_char,
            "headingPath": hit.chunk.headings(), "pageNumber": hit.chunk.page, "url": hit.url,
            "documentMetadata": serde_json::from_str::<Value>(&hit.metadata)?, "highlights": hit.highlights, "expanded": hit.expanded.as_ref().map(|p| &p.text),
            "explain": explain.then_some(&hit.explanation),
        }))
    };
    let results = answer.hits.iter().map(hit).collect::<Result<Vec<_>>>()?;
    Ok(
        json!({"results": results, "candidates": answer.totals.candidates, "totals": answer.totals, "facets": answer.facets, "confidence": answer.confidence, "didYouMean": answer.did_you_mean, "degraded": answer.degraded, "searchMs": answer.timings.total_ms, "timings": answer.timings}),
    )
}

/// Prints hits as text.
pub(super) fn print(answer: &Answer, explain: bool) {
    for (rank, hit) in (1..).zip(&answer.hits) {
        headline(
            rank,
            hit.score,
            hit.rank_source,
            &hit.file_name,
            hit.chunk.page,
            &hit.chunk.headings(),
        );
        if explain {
            for line in sentences(hit.score, &hit.explanation) {
                println!("     {line}");
            }
        }
        let expanded = hit.expanded.as_ref().map(|p| p.text.as_str());
        excerpt(expanded.unwrap_or(&hit.chunk.content));
    }
    beside(
        &json!(answer.facets),
        answer.did_you_mean.as_deref(),
        &json!(answer.confidence),
        &json!(answer.degraded),
    );
    let t = answer.timings;
    println!(
        "{} hits from {} candidates in {:.1} ms (embed {:.1}, retrieve {:.1}, assemble {:.1})",
        answer.hits.len(),
        answer.totals.candidates,
        t.total_ms,
        t.embed_ms,
        t.retrieve_ms,
        t.assemble_ms
    );
}

/// Prints facets, suggestion, confidence and degradation of an answer.
fn beside(facets: &Value, meant: Option<&str>, confidence: &Value, degraded: &Value) {
    for trouble in degraded.as_array().into_iter().flatten() {
        println!(
            "incomplete results: {}",
            trouble.as_str().unwrap_or_default()
        );
    }
    for facet in facets.as_array().into_iter().flatten() {
        let values: Vec<String> = facet["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| format!("{} ({})", v["value"], v["chunks"]))
            .collect();
        let field = facet["field"].as_str().unwrap_or_default();
        println!("{field}: {}", values.join(", "));
    }
    if let Some(meant) = meant {
        println!("did you mean: {meant}");
    }
    if confidence["noConfidentAnswer"] == true {
        println!(
            "no confident answer: the best score is {:.3}, below {:.2}",
            confidence["score"].as_f64().unwrap_or(0.0),
            confidence["threshold"].as_f64().unwrap_or(0.0)
        );
    }
}

fn headline(
    rank: usize,
    score: f32,
    source: &str,
    file: &str,
    page: Option<i64>,
    headings: &[String],
) {
    let page = page.map(|p| format!(", page {p}")).unwrap_or_default();
    let headings = if headings.is_empty() {
        String::new()
    } else {
        format!(" — {}", headings.join(" > "))
    };
    println!("{rank:>2}. {score:.3} {source:<7} {file}{page}{headings}");
}

fn excerpt(content: &str) {
    let flat = content.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = flat.chars().take(280).collect();
    println!(
        "     {short}{}\n",
        if short.len() < flat.len() { " …" } else { "" }
    );
}

/// Returns the explanation of a score as sentences.
fn sentences(score: f32, e: &Explanation) -> Vec<String> {
    let rank = |rank: Option<usize>| {
        rank.map_or_else(|| "not retrieved".to_owned(), |r| format!("rank {r}"))
    };
    let mut lines = vec![e.sentence.clone()];
    let vector = match (e.vector_score, e.cosine) {
        (Some(part), Some(cosine)) => format!(
            "{:.1} × {part:.3} semantic (cosine {cosine:.3}, {})",
            e.vector_weight,
            rank(e.vector_rank)
        ),
        _ if e.vector_pending => "semantic: embedding in progress".to_owned(),
        _ => "semantic: not searched".to_owned(),
    };
    let keyword = match (e.keyword_score, e.bm25) {
        (Some(part), Some(bm25)) => format!(
            "{:.1} × {part:.3} keyword (BM25 {bm25:.2} of max {:.2}, {})",
            e.keyword_weight,
            e.bm25_bound,
            rank(e.keyword_rank)
        ),
        _ => "keyword: not searched".to_owned(),
    };
    lines.push(format!("{score:.3} = {vector} + {keyword}"));
    if !e.matched_terms.is_empty() {
        let terms: Vec<String> = e
            .terms
            .iter()
            .filter(|t| e.matched_terms.contains(&t.term))
            .map(|t| format!("{} (df {}, idf {:.2})", t.term, t.df, t.idf))
            .collect();
        lines.push(format!("matched terms: {}", terms.join(", ")));
    }
    if e.truncated {
        lines.push(
            "the end of this chunk exceeds the model's input limit and is not embedded".to_owned(),
        );
    }
    lines
}
