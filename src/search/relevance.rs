//! The relevance of given texts to a query, without an index: for services that rerank what they found elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_models::{Calibration, Priority};

use super::rerank::calibrated;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::kb::datasets;

/// Most texts of a request.
pub const TEXTS: usize = 1000;
/// Texts that the cross-encoder scores at once.
const PIECE: usize = 16;

/// Scores of texts.
#[derive(Debug, Clone)]
pub struct Relevance {
    /// Model that gave them.
    pub model: String,
    /// One score for each text, 0 to 1, in their order.
    pub scores: Vec<f32>,
}

/// Returns the relevance of texts: calibrated cosines for the name of an embedding model, else by the configured cross-encoder.
///
/// # Errors
/// `scope_missing`, `query_missing`, `documents_invalid`; `model_not_found` without a cross-encoder; `rerank_out_of_time`.
pub async fn of(
    app: &Arc<App>,
    caller: &Caller,
    model: Option<&str>,
    query: String,
    texts: Vec<String>,
) -> Result<Relevance> {
    caller.need(Scope::KbSearch)?;
    if query.trim().is_empty() {
        return Err(Error::invalid("query_missing", "query must not be empty"));
    }
    if texts.is_empty() || texts.len() > TEXTS {
        return Err(Error::invalid(
            "documents_invalid",
            format!("documents must be 1 to {TEXTS} texts"),
        ));
    }
    let known = datasets::embedding_models(app, caller).await?;
    match model.filter(|model| known.contains(*model)) {
        Some(model) => by_cosine(app, model, query, texts).await,
        None if app.config.reranker.is_empty() => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Err(Error::not_found(
                "model_not_found",
                format!(
                    "no cross-encoder is configured (setting `reranker`); embedding models that can score are {}",
                    known.join(", ")
                ),
            ))
        }
        None => by_cross_encoder(app, query, texts).await,
    }
}

async fn by_cosine(app: &App, model: &str, query: String, texts: Vec<String>) -> Result<Relevance> {
    let embedder = app.embedder_of(model).await?;
    let calibration = app.calibration(model).await?;
    let calibration = calibration.unwrap_or(Calibration::REFERENCE);
    let query = app
        .embed_with(Arc::clone(&embedder), vec![query], Priority::Query)
        .await?;
    let query = query.into_iter().next().unwrap_or_default();
    let vectors = app
        .embed_in_pieces(&embedder, &texts, Priority::Bulk)
        .await?;
    let score = |vector: &Vec<f32>| calibration.score(cairn_models::cosine(&query, vector));
    Ok(Relevance {
        model: model.to_owned(),
        scores: vectors.iter().map(score).collect(),
    })
}

async fn by_cross_encoder(app: &App, query: String, texts: Vec<String>) -> Result<Relevance> {
    let reranker = app.reranker().await?;
    let model = reranker.name().to_owned();
    let seconds = app.config.answer_seconds();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut scores = Vec::with_capacity(texts.len());
    // In pieces, so that a request that is given up stops.
    for piece in texts.chunks(PIECE) {
        let (reranker, query, piece) = (Arc::clone(&reranker), query.clone(), piece.to_vec());
        let logits = tokio::task::spawn_blocking(move || reranker.logits(&query, &piece, until));
        let logits = logits.await?.map_err(Error::from)?.ok_or_else(|| {
            let message = format!("the texts were not scored within {seconds} s; send fewer");
            Error::unavailable("rerank_out_of_time", message)
        })?;
        scores.extend(logits.into_iter().map(calibrated));
    }
    Ok(Relevance { model, scores })
}
