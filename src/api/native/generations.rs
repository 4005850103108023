//! Generations of an index: built with another chunking or model beside the live one, compared, switched to and back.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
use crate::error::{Error, Result};
use crate::evaluation::generations::{self as compared, Labelled};
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::generations::GenerationStatus;
use crate::kb::generations::{self, Generation, NewGeneration};
use crate::search::alpha;
use crate::search::measure::Measures;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, build))
        .routes(routes!(remove))
        .routes(routes!(switch))
        .routes(routes!(compare))
}

/// A generation of a dataset's index.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerationRecord {
    number: i64,
    /// `building`, `live` (searched) or `previous`.
    status: String,
    embedding_model: String,
    chunk_size: i64,
    chunk_overlap: i64,
    parse_type: String,
    parser_engine: String,
    /// Number of documents that it has in their current version, and the total.
    documents_ready: i64,
    documents_total: i64,
    /// Number of documents that could not be parsed with its settings.
    documents_failed: i64,
    chunks: i64,
    /// Estimated seconds until it has every document, from the embedding rate measured in this process.
    eta_seconds: Option<f64>,
    created_on: String,
    /// Last time at which it became live or was replaced.
    switched_on: Option<String>,
}

fn record(service: &Service, generation: Generation, live_chunks: i64) -> GenerationRecord {
    GenerationRecord {
        eta_seconds: generations::eta_seconds(&service.app, &generation, live_chunks),
        number: generation.number,
        status: generation.status.to_string(),
        embedding_model: generation.indexing.embedding_model,
        chunk_size: generation.indexing.chunk_size,
        chunk_overlap: generation.indexing.chunk_overlap,
        parse_type: generation.indexing.parse_type,
        parser_engine: generation.indexing.parser_engine,
        documents_ready: generation.documents_ready,
        documents_total: generation.documents_total,
        documents_failed: generation.documents_failed,
        chunks: generation.chunks,
        created_on: generation.created_on.rfc3339(),
        switched_on: generation.switched_on.map(crate::clock::Time::rfc3339),
    }
}

/// The generations of a dataset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Generations {
    data: Vec<GenerationRecord>,
    /// A model that suits the language of the dataset better than its own; absent when its model suits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested_model: Option<SuggestedModel>,
}

/// A model that suits the language of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SuggestedModel {
    /// Value of `embeddingModel` for a new generation.
    model: String,
    reason: String,
}

/// Lists the generations of a dataset with their progress.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/generations", tag = "datasets", operation_id = "listGenerations", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = Generations), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<Generations>, Problem> {
    let found = generations::list(&service.app, &caller, &dataset).await?;
    let live = found
        .iter()
        .find(|g| g.status == GenerationStatus::Live)
        .map_or(0, |g| g.chunks);
    let dataset = datasets::settings(&service.app, &caller, &dataset).await?;
    let suggested = alpha::suggestion(&service.app, &dataset).await?;
    Ok(Json(Generations {
        suggested_model: suggested.map(|s| SuggestedModel {
            model: s.model.to_owned(),
            reason: s.reason,
        }),
        data: found
            .into_iter()
            .map(|g| record(&service, g, live))
            .collect(),
    }))
}

/// Settings that differ from the dataset's; absent fields are unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildRequest {
    chunk_size: Option<i64>,
    chunk_overlap: Option<i64>,
    parse_type: Option<String>,
    parser_engine: Option<String>,
    delimiter: Option<String>,
    /// A model from `cairn models list`; the configured model when absent.
    embedding_model: Option<String>,
}

/// Starts building a generation with other settings or another model. The live generation is searched meanwhile.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/generations", tag = "datasets", operation_id = "buildGeneration", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = BuildRequest, responses((status = 202, body = GenerationRecord), (status = "4XX", body = Fault)))]
pub(super) async fn build(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Body(body): Body<BuildRequest>,
) -> Result<(StatusCode, Json<GenerationRecord>), Problem> {
    let new = NewGeneration {
        chunk_settings: ChunkSettings {
            chunk_size: body.chunk_size,
            chunk_overlap: body.chunk_overlap,
            parse_type: body.parse_type,
            parser_engine: body.parser_engine,
        },
        delimiter: body.delimiter,
        embedding_model: body.embedding_model,
    };
    let generation = generations::build(&service.app, &caller, &dataset, new).await?;
    let live = datasets::get(&service.app, &caller, &dataset)
        .await?
        .total_chunks;
    Ok((
        StatusCode::ACCEPTED,
        Json(record(&service, generation, live)),
    ))
}

/// Makes a generation the live one, in one transaction; also switches back to an earlier one.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/generations/{number}/switch", tag = "datasets", operation_id = "switchGeneration", security(("key" = [])),
    params(("datasetId" = String, Path), ("number" = i64, Path)), responses((status = 200, body = GenerationRecord), (status = "4XX", body = Fault)))]
pub(super) async fn switch(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, number)): Path<(String, String)>,
) -> Result<Json<GenerationRecord>, Problem> {
    let generation = generations::switch(&service.app, &caller, &dataset, parsed(&number)?).await?;
    let live = generation.chunks;
    Ok(Json(record(&service, generation, live)))
}

/// Removes a generation that is not live.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/generations/{number}", tag = "datasets", operation_id = "deleteGeneration", security(("key" = [])),
    params(("datasetId" = String, Path), ("number" = i64, Path)), responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, number)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    generations::remove(&service.app, &caller, &dataset, parsed(&number)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Labelled queries.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CompareRequest {
    /// Queries with their relevant documents, at most 500.
    #[serde(default)]
    queries: Vec<LabelledQuery>,
}

/// A query with its relevant documents.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LabelledQuery {
    query: String,
    document_ids: HashSet<String>,
}

/// Measures of a generation and of the live one, by documents.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GenerationComparison)]
pub(super) struct Comparison {
    #[schema(value_type = Object)]
    live: Measures,
    #[schema(value_type = Object)]
    generation: Measures,
}

/// Compares a generation with the live one on labelled queries.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/generations/{number}/compare", tag = "datasets", operation_id = "compareGeneration", security(("key" = [])),
    params(("datasetId" = String, Path), ("number" = i64, Path)), request_body = CompareRequest,
    responses((status = 200, body = Comparison), (status = "4XX", body = Fault)))]
pub(super) async fn compare(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, number)): Path<(String, String)>,
    Body(body): Body<CompareRequest>,
) -> Result<Json<Comparison>, Problem> {
    let app = &service.app;
    let live = datasets::settings(app, &caller, &dataset).await?.generation;
    if body.queries.len() > 500 {
        return Err(Error::invalid("too_many_queries", "send at most 500 queries").into());
    }
    let queries: Vec<Labelled> = body
        .queries
        .into_iter()
        .map(|q| Labelled {
            query: q.query,
            documents: q.document_ids,
        })
        .collect();
    let number = parsed(&number)?;
    Ok(Json(Comparison {
        generation: compared::measure(app, &caller, &dataset, number, &queries).await?,
        live: compared::measure(app, &caller, &dataset, live, &queries).await?,
    }))
}

fn parsed(number: &str) -> Result<i64> {
    number.parse().map_err(|_| {
        Error::not_found(
            "generation_not_found",
            "generation not found in this dataset",
        )
    })
}
