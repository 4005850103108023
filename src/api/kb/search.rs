//! Search with everything that the contract lacks: fusion, metadata filters, highlights, explanation.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::chunks::{LineRecord, TableRecord};
use crate::api::Service;
use crate::api::dashboard::wire::{Auth, Body, Fault, Problem};
use crate::api::dashboard::{SearchMetadata, no_reranker};
use crate::error::Result;
use crate::kb::filter::Filter;
use crate::search::highlight::Range;
use crate::search::query::{DEFAULT_ALPHA, Timings};
use crate::search::{self, Explanation, Fusion, Hit, Request};

/// A search.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchRequest {
    query: String,
    dataset_ids: Vec<String>,
    /// 1 to 100; 5 when absent.
    top_k: Option<usize>,
    /// 0 keywords only, 1 vectors only; 0.7 when absent.
    hybrid_alpha: Option<f32>,
    /// 0 to 1. Absolute with `blend`; relative to the query with the others.
    min_score: Option<f32>,
    /// `blend` when absent.
    fusion: Option<Fusion>,
    /// Condition on the metadata given at upload.
    #[schema(value_type = Option<Filter>)]
    filter: Option<Value>,
    /// Candidates from each index, 1 to 2000.
    candidates: Option<usize>,
    /// A generation other than the one that is searched, to look at what it would answer.
    generation: Option<i64>,
    /// Whether chunks that say nearly the same as a better hit are folded into it; false when absent.
    fold_duplicates: Option<bool>,
    /// Whether every hit explains its score.
    explain: Option<bool>,
    rerank: Option<bool>,
}

/// Hits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchResponse {
    results: Vec<SearchResult>,
    /// Distinct candidates that were scored, before `minScore` and `topK`.
    candidates: usize,
    search_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
}

/// A hit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchResult {
    chunk_id: String,
    file_id: String,
    file_name: String,
    title: Option<String>,
    dataset_id: String,
    content: String,
    score: f32,
    rank_source: String,
    /// How many candidates that say nearly the same were folded into it.
    folded: usize,
    /// Range of the content in the document's normalised text, in Unicode characters.
    start: i64,
    end: i64,
    heading_path: Vec<String>,
    /// Rows of a table, from 1, and its header where that stands before the hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<TableRecord>,
    /// Lines of source code, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<LineRecord>,
    /// `parsed`, or `edited` or `added` by hand: then the content is not the text of the range.
    origin: String,
    metadata: SearchMetadata,
    /// Metadata given at upload.
    #[schema(value_type = Object)]
    document_metadata: Value,
    /// Query terms in the content, as character ranges.
    highlights: Vec<Range>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explanation>,
}

impl SearchResult {
    fn new(hit: Hit, explain: bool) -> Result<Self> {
        Ok(Self {
            metadata: (&hit).into(),
            heading_path: hit.chunk.headings(),
            table: TableRecord::of(&hit.chunk),
            lines: LineRecord::of(&hit.chunk),
            origin: hit.chunk.origin.clone(),
            document_metadata: serde_json::from_str(&hit.metadata)?,
            start: hit.chunk.start_char,
            end: hit.chunk.end_char,
            chunk_id: hit.chunk.id,
            file_id: hit.chunk.document_id,
            dataset_id: hit.chunk.dataset_id,
            content: hit.chunk.content,
            file_name: hit.file_name,
            title: hit.title,
            score: hit.score,
            rank_source: hit.rank_source.to_owned(),
            folded: hit.folded,
            highlights: hit.highlights,
            explain: explain.then_some(hit.explanation),
        })
    }
}

/// Searches one or more datasets.
#[utoipa::path(post, path = "/kb/v1/search", tag = "kb", security(("key" = [])), request_body = SearchRequest,
    responses((status = 200, body = SearchResponse), (status = "4XX", body = Fault)))]
pub(super) async fn search(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, Problem> {
    no_reranker(body.rerank)?;
    let request = Request {
        top_k: body.top_k.unwrap_or(5),
        alpha: body.hybrid_alpha.unwrap_or(DEFAULT_ALPHA),
        min_score: body.min_score,
        fusion: body.fusion.unwrap_or_default(),
        filter: body
            .filter
            .as_ref()
            .filter(|f| !f.is_null())
            .map(Filter::read)
            .transpose()?,
        candidates: body.candidates,
        generation: body.generation,
        fold: body.fold_duplicates.unwrap_or(false),
        ..Request::new(body.query, body.dataset_ids)
    };
    let explain = body.explain.unwrap_or(false);
    let answer = search::search(&service.app, &caller, &request).await?;
    let results = answer
        .hits
        .into_iter()
        .map(|hit| SearchResult::new(hit, explain))
        .collect::<Result<_>>()?;
    Ok(Json(SearchResponse {
        results,
        candidates: answer.candidates,
        search_ms: answer.timings.total_ms,
        timings: explain.then_some(answer.timings),
    }))
}
