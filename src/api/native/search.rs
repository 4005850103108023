//! Search with the options that the contracts lack: fusion, metadata filters, highlights, explanation.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::chunks::{LineRecord, TableRecord};
use crate::api::Service;
use crate::api::leadmetrics::SearchMetadata;
use crate::api::native::wire::{Auth, Body, Fault, Problem};
use crate::error::{Error, Result};
use crate::evaluation::history;
use crate::search::answer::{Confidence, Facet, Interpretation, Reranking, Timings, Totals};
use crate::search::highlight::Range;
use crate::search::settings;
use crate::search::why_not::{Expected, WhyNot};
use crate::search::{self, Explanation, Hit, Passage, Request, Settings};

/// A search request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KbSearchRequest)]
pub(super) struct SearchRequest {
    query: String,
    dataset_ids: Vec<String>,
    #[serde(flatten)]
    settings: Settings,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    /// Whether every hit includes an explanation of its score.
    explain: Option<bool>,
    /// Whether a cached answer may be returned, marked `cached`; `false` always queries the indexes.
    cache: Option<bool>,
    /// Collects unknown members, which are rejected: a misspelt name would otherwise be ignored.
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, serde_json::Value>,
}

/// Search results.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KbSearchResponse)]
pub(super) struct SearchResponse {
    results: Vec<SearchResult>,
    /// Distinct candidates that were scored, before `minScore` and `topK`.
    candidates: usize,
    /// Numbers of candidates, matching chunks and documents.
    totals: Totals,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    facets: Vec<Facet>,
    /// Whether the best hit is likely to be an answer.
    confidence: Confidence,
    /// Suggested query, with unknown words replaced by known ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<String>,
    /// Details of reranking, when it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    reranking: Option<Reranking>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Tokens of all hits, with a budget, and the number of hits that it left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trimmed: Option<usize>,
    /// Whether the answer came from the cache; cached answers are never outdated.
    cached: bool,
    /// Whether the query's exclusions (`-word`) left no results, so that it was searched as plain keywords. Absent when not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_as_plain: bool,
    /// Parts of the search that were unavailable: `vectors`, or an incomplete index, as in `keyword index 40 % built`. Such an answer is neither complete nor
    /// confident. Absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    search_ms: f64,
    /// Interpretation of the query in each dataset; with `explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    interpretations: Option<Vec<Interpretation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
}

/// Neighbouring chunks as one text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PassageRecord {
    text: String,
    /// Range in the document's normalised text, in Unicode characters.
    start: i64,
    end: i64,
    chunk_ids: Vec<String>,
}

impl From<Passage> for PassageRecord {
    fn from(passage: Passage) -> Self {
        Self {
            text: passage.text,
            start: passage.start,
            end: passage.end,
            chunk_ids: passage.chunk_ids,
        }
    }
}

/// A search hit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KbSearchResult)]
pub(super) struct SearchResult {
    chunk_id: String,
    file_id: String,
    file_name: String,
    title: Option<String>,
    dataset_id: String,
    content: String,
    score: f32,
    rank_source: String,
    /// Number of near-duplicate candidates that were merged into it.
    folded: usize,
    /// Range of the content in the document's normalised text, in Unicode characters.
    start: i64,
    end: i64,
    /// Citation of the hit; `/kb/v1/citations` resolves it and `/kb/v1/verify-quote` checks sentences against it.
    citation: String,
    heading_path: Vec<String>,
    /// Rows of a table, from 1, and its header if that precedes the hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<TableRecord>,
    /// Lines of source code, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<LineRecord>,
    /// `parsed`, or `edited` or `added` by hand: then the content differs from the text of the range.
    origin: String,
    metadata: SearchMetadata,
    /// Metadata given at upload.
    #[schema(value_type = Object)]
    document_metadata: Value,
    /// Query terms in the content, as character ranges.
    highlights: Vec<Range>,
    /// The chunk with its neighbours; with `expand`.
    #[serde(skip_serializing_if = "Option::is_none")]
    expanded: Option<PassageRecord>,
    /// The section that contains the chunk; with `section`.
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<PassageRecord>,
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
            citation: hit.citation().to_string(),
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
            expanded: hit.expanded.map(Into::into),
            section: hit.section.map(Into::into),
            explain: explain.then_some(hit.explanation),
        })
    }
}

/// Searches one or more datasets.
#[utoipa::path(post, path = "/kb/v1/search", tag = "search", operation_id = "search", security(("key" = [])), request_body = SearchRequest,
    responses((status = 200, body = SearchResponse), (status = "4XX", body = Fault)))]
pub(super) async fn search(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, Problem> {
    settings::no_others(&body.others)?;
    let request = Request {
        cursor: body.cursor,
        cache: body.cache.unwrap_or(true),
        ..body.settings.request(body.query, body.dataset_ids)?
    };
    let explain = body.explain.unwrap_or(false);
    let answer = search::search(&service.app, &caller, &request).await?;
    history::record(&service.app, &caller, &request, &answer);
    let budgeted = answer.tokens.is_some();
    let results = answer
        .hits
        .into_iter()
        .map(|hit| SearchResult::new(hit, explain))
        .collect::<Result<_>>()?;
    Ok(Json(SearchResponse {
        results,
        candidates: answer.totals.candidates,
        totals: answer.totals,
        facets: answer.facets,
        confidence: answer.confidence,
        did_you_mean: answer.did_you_mean,
        reranking: answer.reranking,
        next_cursor: answer.next,
        tokens: answer.tokens,
        trimmed: budgeted.then_some(answer.trimmed),
        cached: answer.cached,
        read_as_plain: answer.read_as_plain,
        degraded: answer.degraded,
        search_ms: answer.timings.total_ms,
        interpretations: explain.then_some(answer.interpretations),
        timings: explain.then_some(answer.timings),
    }))
}

/// A search whose candidates are requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidatesRequest {
    query: String,
    dataset_ids: Vec<String>,
    #[serde(flatten)]
    settings: Settings,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, serde_json::Value>,
}

/// The candidates of a search. With `blend`, the score is `alpha · vector + (1 - alpha) · sqrt(bm25 / bm25Bound)`, where `vector` is
/// `(cosine - cosineLow) / (cosineHigh - cosineLow)`, limited to 0 to 1; without a cosine only the keyword part counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidatesResponse {
    datasets: Vec<CandidatesDataset>,
    /// Candidates, at most 4,000.
    candidates: Vec<CandidateRecord>,
    /// Whether there were more candidates.
    truncated: bool,
}

/// Values shared by the candidates of a dataset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidatesDataset {
    dataset_id: String,
    /// The largest possible BM25 score of the query in this dataset.
    bm25_bound: f32,
    /// Cosines with the vector scores 0 and 1: the calibration of the dataset's model.
    cosine_low: f32,
    cosine_high: f32,
    /// Vector weight of the search, and the reason for it.
    alpha: f32,
    alpha_reason: String,
    /// The weight and the threshold of a search that specifies none.
    usual_alpha: f32,
    usual_min_score: f32,
    /// Whether the keyword list is used even with alpha 1: the query has conditions, or consists of conditions only. Otherwise a search with alpha 1 uses the
    /// vector list only, and one with alpha 0 the keyword list only.
    always_words: bool,
}

/// A candidate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateRecord {
    chunk_id: String,
    file_id: String,
    file_name: String,
    title: Option<String>,
    dataset_id: String,
    heading_path: Vec<String>,
    page: Option<i64>,
    /// Range of the content in the document's normalised text, in Unicode characters.
    start: i64,
    end: i64,
    /// The first 300 characters of the content.
    preview: String,
    /// Raw cosine similarity; absent while the chunk has no embedding.
    cosine: Option<f32>,
    /// Raw BM25 score.
    bm25: Option<f32>,
    /// Rank in the vector list, from 1; absent if it is not in the list.
    vector_rank: Option<usize>,
    /// Rank in the keyword list, from 1; absent if it is not in the list.
    keyword_rank: Option<usize>,
}

/// Lists all candidates of a search with their raw scores, best first: weights, fusion and threshold can be tried without searching again.
/// Reranking, diversity and thresholds are not applied.
#[utoipa::path(post, path = "/kb/v1/candidates", tag = "search", operation_id = "listCandidates", security(("key" = [])), request_body = CandidatesRequest,
    responses((status = 200, body = CandidatesResponse), (status = "4XX", body = Fault)))]
pub(super) async fn candidates(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<CandidatesRequest>,
) -> Result<Json<CandidatesResponse>, Problem> {
    settings::no_others(&body.others)?;
    let request = body.settings.request(body.query, body.dataset_ids)?;
    let found = search::candidates(&service.app, &caller, &request).await?;
    let datasets = found.datasets.iter().map(|d| CandidatesDataset {
        dataset_id: d.id.clone(),
        bm25_bound: d.scale.bound,
        cosine_low: d.scale.calibration.low,
        cosine_high: d.scale.calibration.high,
        alpha: d.weight.alpha,
        alpha_reason: d.weight.reason.clone(),
        usual_alpha: d.usual_alpha,
        usual_min_score: d.usual_min_score,
        always_words: d.always_words,
    });
    let candidates = found.items.into_iter().map(|item| CandidateRecord {
        heading_path: item.chunk.headings(),
        preview: item.chunk.content.chars().take(300).collect(),
        file_id: item.chunk.document_id,
        file_name: item.file_name,
        title: item.title,
        dataset_id: item.chunk.dataset_id,
        page: item.chunk.page,
        start: item.chunk.start_char,
        end: item.chunk.end_char,
        chunk_id: item.chunk.id,
        cosine: item.raw.cosine,
        bm25: item.raw.bm25,
        vector_rank: item.raw.vector_rank,
        keyword_rank: item.raw.keyword_rank,
    });
    Ok(Json(CandidatesResponse {
        datasets: datasets.collect(),
        candidates: candidates.collect(),
        truncated: found.truncated,
    }))
}

/// A search and an expected result.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhyNotRequest {
    query: String,
    dataset_ids: Vec<String>,
    #[serde(flatten)]
    settings: Settings,
    /// Id of the expected document.
    document_id: Option<String>,
    /// Id of the expected chunk, instead of a document.
    chunk_id: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: BTreeMap<String, serde_json::Value>,
}

/// Explains why a document or a chunk is not among the hits of a search, and which change would include it.
#[utoipa::path(post, path = "/kb/v1/why-not", tag = "search", operation_id = "explainMissingHit", security(("key" = [])), request_body = WhyNotRequest,
    responses((status = 200, body = WhyNot), (status = "4XX", body = Fault)))]
pub(super) async fn why_not(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<WhyNotRequest>,
) -> Result<Json<WhyNot>, Problem> {
    settings::no_others(&body.others)?;
    let request = body.settings.request(body.query, body.dataset_ids)?;
    let expected = match (body.document_id, body.chunk_id) {
        (Some(id), None) => Expected::Document(id),
        (None, Some(id)) => Expected::Chunk(id),
        _ => {
            return Err(
                Error::invalid("expected_missing", "send either documentId or chunkId").into(),
            );
        }
    };
    Ok(Json(
        search::why_not(&service.app, &caller, &request, &expected).await?,
    ))
}
