//! Search with the contract's fields.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wire::{Auth, Body, DashboardFault, Problem};
use crate::api::Service;
use crate::error::{Error, Result};
use crate::evaluation::history;
use crate::search::{self, Hit, Request};

/// A search request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchRequest {
    query: String,
    dataset_ids: Vec<String>,
    /// Number of hits, 1 to 20; 5 when absent.
    top_k: Option<usize>,
    /// Vector weight: 0 keywords only, 1 vectors only; the dataset's default or a weight chosen for model and query when absent.
    hybrid_alpha: Option<f32>,
    /// Minimum score, 0 to 1.
    min_score: Option<f32>,
    /// Reranks the top hits with a cross-encoder.
    rerank: Option<bool>,
}

/// Search results.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchResponse {
    results: Vec<SearchResult>,
    search_ms: f64,
    /// Parts of the search that were unavailable; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    /// `notConfigured` when reranking was requested without a configured reranker: hits are in the order of the blend.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank: Option<&'static str>,
}

/// A search hit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchResult {
    chunk_id: String,
    file_id: String,
    file_name: String,
    dataset_id: String,
    content: String,
    /// Score from 0 to 1, comparable across queries.
    score: f32,
    /// `vector`, `keyword` or `hybrid`.
    rank_source: String,
    metadata: SearchMetadata,
}

/// Position of a hit in its document.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    page_number: Option<i64>,
    /// Printed page number, where it differs from the position.
    #[serde(skip_serializing_if = "Option::is_none")]
    page_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<String>,
}

impl From<&Hit> for SearchMetadata {
    fn from(hit: &Hit) -> Self {
        let headings = hit.chunk.headings();
        Self {
            page_number: hit.chunk.page,
            page_label: hit.chunk.page_label.clone(),
            heading: (!headings.is_empty()).then(|| headings.join(" > ")),
            url: hit.url.clone(),
            published_at: hit.published_at.clone(),
        }
    }
}

impl From<Hit> for SearchResult {
    fn from(hit: Hit) -> Self {
        Self {
            metadata: (&hit).into(),
            chunk_id: hit.chunk.id.clone(),
            file_id: hit.chunk.document_id.clone(),
            file_name: hit.file_name,
            dataset_id: hit.chunk.dataset_id.clone(),
            content: hit.chunk.with_header(),
            score: hit.score,
            rank_source: hit.rank_source.to_owned(),
        }
    }
}

/// Searches one or more datasets.
#[utoipa::path(post, path = "/dashboard/v1/knowledge-base/search", tag = "leadmetrics dashboard", operation_id = "searchKnowledge", security(("key" = [])),
    request_body = SearchRequest, responses((status = 200, body = SearchResponse), (status = "4XX", body = DashboardFault)))]
pub(super) async fn search(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, Problem> {
    let top_k = body.top_k.unwrap_or(5);
    if top_k > 20 {
        return Err(Error::invalid("top_k_out_of_range", "topK must be between 1 and 20").into());
    }
    let asked = body.rerank == Some(true);
    let without = asked && service.app.config.reranker.is_empty();
    let request = Request {
        top_k,
        alpha: body.hybrid_alpha,
        rerank: body.rerank.filter(|_| !without),
        min_score: body.min_score,
        ..Request::new(body.query, body.dataset_ids)
    };
    let answer = search::search(&service.app, &caller, &request).await?;
    history::record(&service.app, &caller, &request, &answer);
    Ok(Json(SearchResponse {
        results: answer.hits.into_iter().map(Into::into).collect(),
        search_ms: answer.timings.total_ms,
        degraded: answer.degraded,
        rerank: without.then_some("notConfigured"),
    }))
}
