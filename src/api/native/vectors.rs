//! Vectors that were computed elsewhere, for texts that are uploaded next.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
use crate::kb::embeddings::{self, Given};

/// A text with its vector.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenVector {
    /// Text of the chunk.
    text: String,
    /// Title of the document, which is embedded with the text; absent for a document whose title is empty.
    #[serde(default)]
    title: String,
    /// The vector, of any length but zero.
    vector: Vec<f32>,
}

/// Vectors of texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenVectors {
    /// Model that computed the vectors: the `embeddingModel` of the dataset.
    model: String,
    /// At most 500 vectors.
    vectors: Vec<GivenVector>,
}

/// The number of stored vectors.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoredVectors {
    stored: usize,
}

/// Stores vectors that were computed elsewhere with the dataset's model. A text that is uploaded next and becomes one chunk with such a title and text is not embedded; unused vectors are removed after `embedding_cache_days`.
/// Refused for keys that are restricted to datasets, because the vectors of a tenant are shared by its datasets.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/vectors", tag = "documents", operation_id = "storeVectors", security(("key" = [])),
    params(("datasetId" = String, Path)), request_body = GivenVectors, responses((status = 200, body = StoredVectors), (status = "4XX", body = Fault)))]
pub(super) async fn store(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<GivenVectors>,
) -> Result<Json<StoredVectors>, Problem> {
    let given = body
        .vectors
        .into_iter()
        .map(|given| Given {
            title: given.title,
            text: given.text,
            vector: given.vector,
        })
        .collect();
    let stored = embeddings::give(&service.app, &caller, &id, &body.model, given).await?;
    Ok(Json(StoredVectors { stored }))
}
