//! Models and embeddings.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_models::Priority;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Auth, Body, OpenAiFault, Path, Problem};
use crate::api::Service;
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::kb::datasets;

/// Most texts of a request, as at OpenAI.
const TEXTS: usize = 2048;

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiModel)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

impl Model {
    fn new(id: String) -> Self {
        Self {
            id,
            object: "model",
            created: 0,
            owned_by: "cairn",
        }
    }
}

/// The models that can be used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiModels)]
pub(super) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

/// Lists the embedding models: the configured one, and those of the datasets.
#[utoipa::path(get, path = "/openai/v1/models", tag = "compatible", operation_id = "openaiListModels", security(("key" = [])),
    responses((status = 200, body = Models), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn list_models(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<Models>, Problem> {
    let names = datasets::embedding_models(&service.app, &caller).await?;
    Ok(Json(Models {
        object: "list",
        data: names.into_iter().map(Model::new).collect(),
    }))
}

/// Shows an embedding model.
#[utoipa::path(get, path = "/openai/v1/models/{model}", tag = "compatible", operation_id = "openaiGetModel", security(("key" = [])),
    params(("model" = String, Path)), responses((status = 200, body = Model), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn model(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(name): Path<String>,
) -> Result<Json<Model>, Problem> {
    let names = datasets::embedding_models(&service.app, &caller).await?;
    if names.contains(&name) {
        Ok(Json(Model::new(name)))
    } else {
        Err(unknown(&name, &names).into())
    }
}

fn unknown(name: &str, names: &BTreeSet<String>) -> Error {
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    Error::not_found(
        "model_not_found",
        format!(
            "there is no embedding model {name:?}; there are {}",
            known.join(", ")
        ),
    )
}

/// Texts to embed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiEmbeddingRequest)]
pub(super) struct Request {
    /// A text, or up to 2048 texts.
    input: Value,
    /// Name of a model, as listed.
    model: String,
    /// `float`, or `base64` for little-endian 32-bit numbers.
    #[serde(default)]
    encoding_format: Option<String>,
    /// Must be that of the model, if it is named.
    #[serde(default)]
    dimensions: Option<usize>,
    /// `passage`, or `query` for questions: some models have a prefix for each.
    #[serde(default)]
    input_type: Option<String>,
}

/// Returns the texts of a request.
fn texts(input: Value) -> Result<Vec<String>> {
    let invalid = || {
        Error::invalid(
            "input_invalid",
            format!(
                "input must be a text or 1 to {TEXTS} texts, none of them empty; tokens are those of other models"
            ),
        )
    };
    let texts = if let Value::String(text) = input {
        vec![text]
    } else {
        serde_json::from_value::<Vec<String>>(input).map_err(|_| invalid())?
    };
    let is_empty = |text: &String| text.trim().is_empty();
    if texts.is_empty() || texts.len() > TEXTS || texts.iter().any(is_empty) {
        return Err(invalid());
    }
    Ok(texts)
}

/// Vectors of texts, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddings)]
pub(super) struct Embeddings {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Usage,
}

/// The vector of a text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbedding)]
struct Embedding {
    object: &'static str,
    index: usize,
    /// A list of numbers, or text in Base64.
    #[schema(value_type = Value)]
    embedding: Vector,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Tokens that were embedded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddingUsage)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds texts.
#[utoipa::path(post, path = "/openai/v1/embeddings", tag = "compatible", operation_id = "openaiCreateEmbeddings", security(("key" = [])), request_body = Request,
    responses((status = 200, body = Embeddings), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn embed(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(request): Body<Request>,
) -> Result<Json<Embeddings>, Problem> {
    caller.need(Scope::KbSearch)?;
    let app = &service.app;
    let texts = texts(request.input)?;
    let as_base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            let message = "encoding_format must be float or base64";
            return Err(Error::invalid("encoding_format_unknown", message).into());
        }
    };
    let is_query = match request.input_type.as_deref() {
        None | Some("passage") => false,
        Some("query") => true,
        Some(_) => {
            let message = "input_type must be passage or query";
            return Err(Error::invalid("input_type_unknown", message).into());
        }
    };
    let names = datasets::embedding_models(app, &caller).await?;
    if !names.contains(&request.model) {
        return Err(unknown(&request.model, &names).into());
    }
    let embedder = app.embedder_of(&request.model).await?;
    let dimensions = embedder.spec().dimensions;
    if request.dimensions.is_some_and(|d| d != dimensions) {
        let message = format!("{} has {dimensions} dimensions", request.model);
        return Err(Error::invalid("dimensions_invalid", message).into());
    }
    let longest = embedder.spec().max_tokens;
    let counting = std::sync::Arc::clone(&embedder);
    let (texts, tokens) = tokio::task::spawn_blocking(move || {
        let tokens = counting.tokens();
        let counts = texts.iter().map(|t| tokens.count(t));
        let total = counts
            .map(|c| c.map(|c| c.min(longest)))
            .sum::<Result<usize, _>>();
        total.map(|total| (texts, total))
    })
    .await
    .map_err(Error::from)?
    .map_err(Error::from)?;
    let priority = if is_query {
        Priority::Query
    } else {
        Priority::Bulk
    };
    let vectors = app.embed_in_pieces(&embedder, &texts, priority).await?;
    let shown = |vector: Vec<f32>| {
        if !as_base64 {
            return Vector::Numbers(vector);
        }
        let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
        Vector::Base64(STANDARD.encode(bytes))
    };
    let data = vectors
        .into_iter()
        .enumerate()
        .map(|(index, vector)| Embedding {
            object: "embedding",
            index,
            embedding: shown(vector),
        })
        .collect();
    Ok(Json(Embeddings {
        object: "list",
        data,
        model: request.model,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    }))
}
