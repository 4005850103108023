//! How much the vectors weigh when the request does not say: as much as the model knows of the language.
//!
//! A model embeds words that its vocabulary lacks from letters, and then its cosines say little; BM25 does not mind. How well the vocabulary
//! knows a text is measured without labels ([`cairn_models::Tokens::vocabulary_fit`]): letters per piece of the query and of a sample of the dataset. The
//! weight depends on nothing else, so the score of a chunk does not depend on other candidates.

use std::sync::Arc;

use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::Dataset;

/// Weight of the vectors where the model knows the language. On the English collections measured, nDCG@10 is flat between 0.5 and 0.7.
pub const KNOWN: f32 = 0.6;
/// Weight of the vectors where it knows nothing of it.
pub const UNKNOWN: f32 = 0.1;
/// Letters per piece up to which a text counts as unknown, and from which as known. Measured with an English model on `XQuAD` (median of queries, of paragraphs): English 4.4
/// and 4.5; German, Spanish and Romanian, whose vectors help, 2.6 to 2.8; Turkish and Vietnamese, whose vectors harm, 2.1 to 2.2; Greek, Russian, Arabic, Hindi
/// 1.0 to 1.1.
const VOCABULARY_FIT: (f32, f32) = (2.1, 2.6);
/// Chunks of a dataset by which its language is judged.
const SAMPLE: i64 = 48;

/// A weight, and why it is that.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Of the vectors, 0 to 1.
    pub alpha: f32,
    /// In one sentence.
    pub reason: String,
}

impl Weight {
    /// What a request says; the general one when it says nothing.
    #[must_use]
    pub fn named(alpha: Option<f32>) -> Self {
        let alpha = alpha.unwrap_or(KNOWN);
        Self {
            alpha,
            reason: format!("{alpha}: the request says so"),
        }
    }
}

/// The weight for a query, where neither the request nor the dataset has one.
///
/// # Errors
/// As the model's tokenizer or the database says.
pub async fn automatic_alpha(app: &Arc<App>, dataset: &Dataset, query: &str) -> Result<Weight> {
    let tokenizer = app.embedder_of(&dataset.embedding_model).await?;
    // A query without letters (a number, a date) is nothing that vectors are good at.
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
    // Two decimals: the same weight for queries that differ in nothing that matters.
    let alpha = (alpha * 100.0).round() / 100.0;
    let reason = if known >= 1.0 {
        format!("{alpha}: the model knows the words of the query and of the dataset")
    } else {
        let (what, vocabulary_fit) = if share(asked) <= share(held) {
            ("query", asked)
        } else {
            ("dataset", held)
        };
        format!(
            "{alpha} instead of {KNOWN}: the model's vocabulary knows {:.0} % of the language of the {what} ({vocabulary_fit:.1} letters per piece)",
            known * 100.0
        )
    };
    Ok(Weight { alpha, reason })
}

/// Letters per piece of a sample of chunks; a dataset without letters counts as known.
async fn of_dataset(app: &Arc<App>, dataset: &Dataset) -> Result<f32> {
    if let Some(known) = app.vocabulary_fits.get(&dataset.live_set) {
        return Ok(known);
    }
    let tokenizer = app.embedder_of(&dataset.embedding_model).await?;
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
        // The median: a table or a list of links among the sample says nothing about the language.
        Ok::<_, Error>(all.get(all.len() / 2).copied().unwrap_or(VOCABULARY_FIT.1))
    })
    .await??;
    app.vocabulary_fits
        .insert(dataset.live_set.clone(), vocabulary_fit);
    Ok(vocabulary_fit)
}
