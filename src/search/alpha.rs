//! Default weight of the vectors: higher the better the model knows the language.
//!
//! A model embeds words that its vocabulary lacks from letters, and then its cosines carry little information; BM25 is unaffected. How well the
//! vocabulary covers a text is measured without labels ([`cairn_models::Tokens::vocabulary_fit`]): letters per piece of the query and of a sample of
//! the dataset. The weight depends on nothing else, so the score of a chunk does not depend on other candidates.

use std::sync::Arc;

use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::Dataset;

/// Weight of the vectors where the model knows the language. On the English collections measured, nDCG@10 is flat between 0.5 and 0.7.
pub const KNOWN: f32 = 0.6;
/// Weight of the vectors where the model does not know the language.
pub const UNKNOWN: f32 = 0.1;
/// Letters per piece up to which a text counts as unknown, and from which as known. Measured with an English model on `XQuAD` (median of queries, of
/// paragraphs): English 4.4 and 4.5; German, Spanish and Romanian, whose vectors help, 2.6 to 2.8; Turkish and Vietnamese, whose vectors harm, 2.1 to
/// 2.2; Greek, Russian, Arabic, Hindi 1.0 to 1.1.
const VOCABULARY_FIT: (f32, f32) = (2.1, 2.6);
/// Number of chunks sampled to judge the language of a dataset.
const SAMPLE: i64 = 48;

/// A weight and its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Weight of the vectors, 0 to 1.
    pub alpha: f32,
    /// Reason in one sentence.
    pub reason: String,
}

impl Weight {
    /// Returns the weight of a request, or the general one when the request has none.
    #[must_use]
    pub fn named(alpha: Option<f32>) -> Self {
        let alpha = alpha.unwrap_or(KNOWN);
        Self {
            alpha,
            reason: format!("{alpha}: set by the request"),
        }
    }
}

/// Returns the weight for a query, where neither the request nor the dataset has one.
///
/// # Errors
/// Those of the model's tokenizer and the database.
pub async fn automatic_alpha(app: &Arc<App>, dataset: &Dataset, query: &str) -> Result<Weight> {
    let tokenizer = app.embedder_of(&dataset.indexing.embedding_model).await?;
    // Vectors are of little use for a query without letters (a number, a date).
    let asked = tokenizer
        .tokens()
        .vocabulary_fit(query)
        .map_err(Error::from)?;
    let asked = asked.unwrap_or(0.0);
    let held = of_dataset(app, dataset).await?;
    let share = |vocabulary_fit: f32| {
        ((vocabulary_fit - VOCABULARY_FIT.0) / (VOCABULARY_FIT.1 - VOCABULARY_FIT.0))
            .clamp(0.0, 1.0)
    };
    let known = share(asked).min(share(held));
    let alpha = UNKNOWN + (KNOWN - UNKNOWN) * known;
    // Two decimals: queries with insignificant differences have the same weight.
    let alpha = (alpha * 100.0).round() / 100.0;
    let reason = if known >= 1.0 {
        format!("{alpha}: the model's vocabulary covers the query and the dataset")
    } else {
        let (what, vocabulary_fit) = if share(asked) <= share(held) {
            ("query", asked)
        } else {
            ("dataset", held)
        };
        format!(
            "{alpha} instead of {KNOWN}: the model's vocabulary fits the {what} to only {:.0} % ({vocabulary_fit:.1} letters per token)",
            known * 100.0
        )
    };
    Ok(Weight { alpha, reason })
}

/// Returns the letters per piece of a sample of chunks; a dataset without letters counts as known.
async fn of_dataset(app: &Arc<App>, dataset: &Dataset) -> Result<f32> {
    if let Some(known) = app.vocabulary_fits.get(&dataset.live_set) {
        return Ok(known);
    }
    let tokenizer = app.embedder_of(&dataset.indexing.embedding_model).await?;
    // Ids are hashes, so the first ones are a sample.
    let rows: Vec<(String,)> = app
        .db
        .all(
            "SELECT content FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 ORDER BY id LIMIT $3",
            args![&dataset.tenant_id, &dataset.live_set, SAMPLE],
        )
        .await?;
    let vocabulary_fit = tokio::task::spawn_blocking(move || {
        let mut all: Vec<f32> = Vec::new();
        for (content,) in &rows {
            all.extend(
                tokenizer
                    .tokens()
                    .vocabulary_fit(content)
                    .map_err(Error::from)?,
            );
        }
        all.sort_by(f32::total_cmp);
        // The median: a table or a list of links in the sample is not representative of the language.
        Ok::<_, Error>(all.get(all.len() / 2).copied().unwrap_or(VOCABULARY_FIT.1))
    })
    .await??;
    app.vocabulary_fits
        .insert(dataset.live_set.clone(), vocabulary_fit);
    Ok(vocabulary_fit)
}
