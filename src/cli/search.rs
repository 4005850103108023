//! `cairn search`: searches a data directory or a server, and prints hits as text or as the JSON of the API.

use clap::Args;
use console::style;
use serde_json::{Value, json};

use super::client::{Client, Connection, Needs};
use super::excerpt::excerpt;
use super::output::word;
use super::{Done, Global, Remote};
use crate::error::{Error, Result};
use crate::search::settings::Syntax;
use crate::search::{Fusion, Settings};

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
    #[arg(short, long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Maximum number of hits, 1 to 100
    #[arg(short = 'k', long, default_value_t = 5, value_name = "N")]
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
    #[arg(short, long)]
    explain: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(global: &Global, args: SearchArgs) -> Result<Done> {
    let mut body = serde_json::to_value(settings(&args)?)?;
    Connection::with(global, &args.remote, Needs::Search, async |client| {
        body["query"] = json!(args.query);
        body["datasetIds"] = json!(client.datasets_or_all(&args.dataset).await?);
        body["explain"] = json!(args.explain);
        let answer = Client::send(client.post("/kb/v1/search").json(&body)).await?;
        if global.json {
            println!("{answer}");
        } else {
            print(&answer);
        }
        Ok(Done::All)
    })
    .await
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

/// Prints an answer of the API as text.
pub(super) fn print(answer: &Value) {
    let hits = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
    for (rank, hit) in (1..).zip(hits) {
        headline(rank, hit);
        for line in sentences(hit) {
            println!("     {line}");
        }
        // Highlights are ranges of the chunk, not of its surroundings.
        let (shown, highlights) = match hit["expanded"]["text"].as_str() {
            Some(expanded) => (expanded, Vec::new()),
            None => (word(hit, "content"), ranges(&hit["highlights"])),
        };
        let is_code = hit["lines"].is_object();
        println!("     {}\n", excerpt(shown, &highlights, is_code));
    }
    print_summary(answer);
    let timings = &answer["timings"];
    let stages = if timings.is_object() {
        format!(
            " (embed {:.1}, retrieve {:.1}, assemble {:.1})",
            number(timings, "embedMs"),
            number(timings, "retrieveMs"),
            number(timings, "assembleMs")
        )
    } else {
        String::new()
    };
    println!(
        "{} hits from {} candidates in {:.1} ms{stages}",
        hits.len(),
        answer["candidates"],
        number(answer, "searchMs")
    );
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(0.0)
}

fn ranges(highlights: &Value) -> Vec<(usize, usize)> {
    let at = |range: &Value, name: &str| usize::try_from(range[name].as_u64()?).ok();
    let all = highlights.as_array().into_iter().flatten();
    all.filter_map(|range| Some((at(range, "start")?, at(range, "end")?)))
        .collect()
}

/// Prints facets, suggestion, confidence and degradation of an answer.
fn print_summary(answer: &Value) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for trouble in list(&answer["degraded"]) {
        println!(
            "incomplete results: {}",
            trouble.as_str().unwrap_or_default()
        );
    }
    for facet in list(&answer["facets"]) {
        let values: Vec<String> = list(&facet["values"])
            .iter()
            .map(|v| format!("{} ({})", v["value"], v["chunks"]))
            .collect();
        println!("{}: {}", word(&facet, "field"), values.join(", "));
    }
    if let Some(meant) = answer["didYouMean"].as_str() {
        println!("did you mean: {meant}");
    }
    let confidence = &answer["confidence"];
    if confidence["noConfidentAnswer"] == true {
        println!(
            "no confident answer: the best score is {:.3}, below {:.2}",
            number(confidence, "score"),
            number(confidence, "threshold")
        );
    }
}

fn headline(rank: usize, hit: &Value) {
    let page = hit["metadata"]["pageNumber"].as_i64();
    let page = page.map(|p| format!(", page {p}")).unwrap_or_default();
    let headings = hit["headingPath"].as_array().into_iter().flatten();
    let headings: Vec<&str> = headings.filter_map(Value::as_str).collect();
    let headings = if headings.is_empty() {
        String::new()
    } else {
        format!(" — {}", headings.join(" > "))
    };
    // A title that says no more than the first heading or the file is left out.
    let file = word(hit, "fileName");
    let title = hit["title"]
        .as_str()
        .filter(|title| !headings.contains(title) && *title != file);
    let name = match title {
        Some(title) => format!("{} ({file})", style(title).bold()),
        None => style(file).bold().to_string(),
    };
    println!(
        "{rank:>2}. {:.3} {:<7} {name}{page}{headings}",
        number(hit, "score"),
        word(hit, "rankSource")
    );
}

/// Returns the explanation of a score as lines; none without an explanation.
fn sentences(hit: &Value) -> Vec<String> {
    let e = &hit["explain"];
    if !e.is_object() {
        return Vec::new();
    }
    let rank = |name: &str| {
        e[name]
            .as_u64()
            .map_or_else(|| "not retrieved".to_owned(), |r| format!("rank {r}"))
    };
    let mut lines = vec![word(e, "sentence").to_owned()];
    let vector = if e["vectorScore"].is_number() && e["cosine"].is_number() {
        format!(
            "{:.2} × {:.3} semantic (cosine {:.3}, {})",
            number(e, "vectorWeight"),
            number(e, "vectorScore"),
            number(e, "cosine"),
            rank("vectorRank")
        )
    } else if e["vectorPending"] == true {
        "semantic: embedding in progress".to_owned()
    } else {
        "semantic: not searched".to_owned()
    };
    let keyword = if e["keywordScore"].is_number() && e["bm25"].is_number() {
        format!(
            "{:.2} × {:.3} keyword (BM25 {:.2} of max {:.2}, {})",
            number(e, "keywordWeight"),
            number(e, "keywordScore"),
            number(e, "bm25"),
            number(e, "bm25Bound"),
            rank("keywordRank")
        )
    } else {
        "keyword: not searched".to_owned()
    };
    lines.push(format!(
        "{:.3} = {vector} + {keyword}",
        number(hit, "score")
    ));
    let matched = e["matchedTerms"].as_array().map_or(&[][..], Vec::as_slice);
    if !matched.is_empty() {
        let terms = e["terms"].as_array().into_iter().flatten();
        let terms: Vec<String> = terms
            .filter(|t| matched.contains(&t["term"]))
            .map(|t| {
                format!(
                    "{} (df {}, idf {:.2})",
                    word(t, "term"),
                    t["df"],
                    number(t, "idf")
                )
            })
            .collect();
        lines.push(format!("matched terms: {}", terms.join(", ")));
    }
    if e["truncated"] == true {
        lines.push(
            "the end of this chunk exceeds the model's input limit and is not embedded".to_owned(),
        );
    }
    lines
}
