//! Reranking for tools that speak Cohere's or Jina's API: `/cohere/v1/rerank`, `/cohere/v2/rerank` and `/jina/v1/rerank`.
//!
//! Where they differ from the originals, this holds:
//! - `model` may be the name of an embedding model, which scores by calibrated cosines; every other name means the configured cross-encoder
//! - documents are texts, or objects with a `text`; other fields are not scored
//! - texts are returned with the results where `return_documents` says so; by default at Jina, not at Cohere

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{auth, body, problem};
use super::fault::FaultBody;
use super::secret::SecretHeader;
use super::{Service, request_id};
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::search::relevance;

/// Prefixes of the paths of this dialect.
const PREFIXES: [&str; 2] = ["/cohere/", "/jina/"];

/// Returns whether a path belongs to this dialect.
pub(super) fn owns(path: &str) -> bool {
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// An error as returned to these tools.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RerankFault {
    /// As Cohere says it.
    message: String,
    /// As Jina says it.
    detail: String,
    error: FaultBody,
}

impl From<&Error> for RerankFault {
    fn from(error: &Error) -> Self {
        Self {
            message: error.public_message().to_owned(),
            detail: error.public_message().to_owned(),
            error: error.into(),
        }
    }
}

problem!(|error| RerankFault::from(error));
auth!(Problem, &[SecretHeader::Bearer]);
body!(Problem);

/// Returns the routes.
pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(rerank_cohere))
        .routes(routes!(rerank_cohere_first))
        .routes(routes!(rerank_jina))
}

/// The API that a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Original {
    Cohere1,
    Cohere2,
    Jina,
}

/// Texts to rank.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RerankRequest)]
pub(super) struct Request {
    #[serde(default)]
    model: Option<String>,
    query: String,
    /// Texts, or objects with a `text`; at most 1000.
    documents: Vec<Document>,
    /// Most results; all unless it is named.
    #[serde(default)]
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: Option<bool>,
}

/// A text, or an object that has one.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RerankDocument)]
enum Document {
    Text(String),
    Object { text: String },
}

impl Document {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { text } => text,
        }
    }
}

/// The texts, the most relevant first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankResponse)]
pub(super) struct Ranked {
    id: String,
    object: &'static str,
    model: String,
    results: Vec<Found>,
    #[schema(value_type = Object)]
    meta: Value,
    #[schema(value_type = Object)]
    usage: Value,
}

/// A text with its score.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankResult)]
struct Found {
    /// Place in `documents`, from 0.
    index: usize,
    /// 0 to 1.
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    document: Option<Value>,
}

/// Ranks texts by their relevance to a query, as Cohere's second API does.
#[utoipa::path(post, path = "/cohere/v2/rerank", tag = "compatible", operation_id = "rerankForCohere", security(("key" = [])), request_body = Request,
    responses((status = 200, body = Ranked), (status = "4XX", body = RerankFault)))]
async fn rerank_cohere(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(request): Body<Request>,
) -> Result<Json<Ranked>, Problem> {
    Ok(ranked(&service, &caller, request, Original::Cohere2).await?)
}

/// Ranks texts by their relevance to a query, as Cohere's first API does.
#[utoipa::path(post, path = "/cohere/v1/rerank", tag = "compatible", operation_id = "rerankForCohereV1", security(("key" = [])), request_body = Request,
    responses((status = 200, body = Ranked), (status = "4XX", body = RerankFault)))]
async fn rerank_cohere_first(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(request): Body<Request>,
) -> Result<Json<Ranked>, Problem> {
    Ok(ranked(&service, &caller, request, Original::Cohere1).await?)
}

/// Ranks texts by their relevance to a query, as Jina's API does.
#[utoipa::path(post, path = "/jina/v1/rerank", tag = "compatible", operation_id = "rerankForJina", security(("key" = [])), request_body = Request,
    responses((status = 200, body = Ranked), (status = "4XX", body = RerankFault)))]
async fn rerank_jina(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(request): Body<Request>,
) -> Result<Json<Ranked>, Problem> {
    Ok(ranked(&service, &caller, request, Original::Jina).await?)
}

async fn ranked(
    service: &Service,
    caller: &Caller,
    request: Request,
    original: Original,
) -> Result<Json<Ranked>> {
    let shows = request
        .return_documents
        .unwrap_or(original == Original::Jina);
    let texts: Vec<String> = request
        .documents
        .into_iter()
        .map(Document::into_text)
        .collect();
    let shown = if shows { texts.clone() } else { Vec::new() };
    let words: usize = texts.iter().map(|t| t.split_whitespace().count()).sum();
    let model = request.model.as_deref();
    let relevance = relevance::of(&service.app, caller, model, request.query, texts).await?;
    let mut results: Vec<Found> = relevance
        .scores
        .into_iter()
        .enumerate()
        .map(|(index, relevance_score)| Found {
            index,
            relevance_score,
            document: shown
                .get(index)
                .map(|text| serde_json::json!({"text": text})),
        })
        .collect();
    results.sort_by(|a, b| {
        let by_score = b.relevance_score.total_cmp(&a.relevance_score);
        by_score.then(a.index.cmp(&b.index))
    });
    let version = match original {
        Original::Cohere2 => "2",
        Original::Cohere1 | Original::Jina => "1",
    };
    results.truncate(request.top_n.unwrap_or(usize::MAX));
    Ok(Json(Ranked {
        id: request_id(),
        object: "list",
        model: relevance.model,
        results,
        meta: serde_json::json!({"api_version": {"version": version}, "billed_units": {"search_units": 1}}),
        usage: serde_json::json!({"total_tokens": words}),
    }))
}
