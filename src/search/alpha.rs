//! Default weight of the vectors: higher the better the model knows the language.
//!
//! A model embeds words that its vocabulary lacks from letters, and then its cosines carry little information; BM25 is unaffected. How well the
//! vocabulary covers a text is measured without labels ([`cairn_models::Tokens::vocabulary_fit`]): letters per piece of the query and of a sample of
//! the dataset. The weight depends on nothing else, so the score of a chunk does not depend on other candidates.

use std::sync::Arc;

use cairn_models::Loaded;

use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::Dataset;

/// Weight of the vectors where the model knows the language. On the English collections measured, nDCG@10 is flat between 0.5 and 0.7.
pub const KNOWN: f32 = 0.6;
/// Weight of the vectors where the model does not know the language.
pub const UNKNOWN: f32 = 0.1;
/// Letters per piece of a query up to which it counts as unknown, and from which as known: part numbers and codes are below.
const QUERY_FIT: (f32, f32) = (2.1, 2.6);
/// The same for the median of a dataset's chunks, with a model of one language. Measured with all-MiniLM-L6-v2 on `XQuAD`, and on the translations of a
/// technical handbook in 16 languages, where sentences were to find their paragraphs: English has 3.6 to 4.9 and its best weight is 0.6 to 0.8; German,
/// French, Spanish, Italian and other languages in Latin script 2.4 to 3.0 and 0.3 to 0.5; Polish, Turkish and Vietnamese 2.1 to 2.3 and 0.2 to 0.4;
/// Japanese 1.7, Greek, Russian, Arabic and Chinese 0.4 to 1.1, and 0.1 or less.
const DATASET_FIT: (f32, f32) = (1.8, 3.3);
/// The same with a model of many languages, whose vocabulary has shorter parts of the words of each: those it knows have 2.8 to 4.8.
const MULTILINGUAL_FIT: (f32, f32) = (2.1, 2.6);
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
    let indexing = &dataset.indexing;
    if indexing.embedding_provider != "local" {
        return Ok(Weight {
            alpha: KNOWN,
            reason: format!(
                "{KNOWN}: an endpoint does not publish its vocabulary, so the model counts as knowing the language"
            ),
        });
    }
    let embedder = app.embedder_of(&indexing.embedding_model).await?;
    // Vectors are of little use for a query without letters (a number, a date).
    let asked = embedder
        .tokens()
        .vocabulary_fit(query)
        .map_err(Error::from)?;
    let asked = asked.unwrap_or(0.0);
    let held = of_dataset(app, dataset, embedder).await?;
    let share =
        |fit: f32, (least, enough): (f32, f32)| ((fit - least) / (enough - least)).clamp(0.0, 1.0);
    let multilingual = cairn_models::is_multilingual(&indexing.embedding_model);
    let limits = if multilingual {
        MULTILINGUAL_FIT
    } else {
        DATASET_FIT
    };
    let (of_query, of_dataset) = (share(asked, QUERY_FIT), share(held, limits));
    let known = of_query.min(of_dataset);
    let alpha = UNKNOWN + (KNOWN - UNKNOWN) * known;
    // Two decimals: queries with insignificant differences have the same weight.
    let alpha = (alpha * 100.0).round() / 100.0;
    let reason = if known >= 1.0 {
        format!("{alpha}: the model's vocabulary covers the query and the dataset")
    } else {
        let (what, vocabulary_fit) = if of_query <= of_dataset {
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

/// A model that suits the language of a dataset better than its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// Name in `cairn models list`.
    pub model: &'static str,
    /// Reason in one sentence.
    pub reason: String,
}

/// Returns the multilingual model for a dataset in a language that its model knows only in part; `None` when its model suits it, or is not loaded.
///
/// # Errors
/// Those of the model's tokenizer and the database.
pub async fn suggestion(app: &Arc<App>, dataset: &Dataset) -> Result<Option<Suggestion>> {
    let model = &dataset.indexing.embedding_model;
    if dataset.indexing.embedding_provider != "local" || cairn_models::is_multilingual(model) {
        return Ok(None);
    }
    let Some(embedder) = app.loaded(model) else {
        return Ok(None);
    };
    let held = of_dataset(app, dataset, embedder).await?;
    let suggested = cairn_models::MULTILINGUAL;
    Ok((held < DATASET_FIT.1).then(|| Suggestion {
        model: suggested,
        reason: format!(
            "{model} knows the language of this text only in part ({held:.1} letters per token, English has about 4.5); {suggested} knows about 100 languages"
        ),
    }))
}

/// Returns the letters per piece of a sample of chunks; a dataset without letters counts as known.
async fn of_dataset(app: &App, dataset: &Dataset, embedder: Loaded) -> Result<f32> {
    if let Some(known) = app.vocabulary_fits.get(&dataset.live_set) {
        return Ok(known);
    }
    // Ids are hashes, so the first ones are a sample.
    let rows: Vec<(String,)> = app
        .db
        .all(
            "SELECT content FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 ORDER BY id LIMIT $3",
            args![&dataset.tenant_id, &dataset.live_set, SAMPLE],
        )
        .await?;
    if rows.is_empty() {
        return Ok(DATASET_FIT.1);
    }
    let vocabulary_fit = tokio::task::spawn_blocking(move || {
        let mut all: Vec<f32> = Vec::new();
        for (content,) in &rows {
            all.extend(
                embedder
                    .tokens()
                    .vocabulary_fit(content)
                    .map_err(Error::from)?,
            );
        }
        all.sort_by(f32::total_cmp);
        // The median: a table or a list of links in the sample is not representative of the language.
        Ok::<_, Error>(all.get(all.len() / 2).copied().unwrap_or(DATASET_FIT.1))
    })
    .await??;
    app.vocabulary_fits
        .insert(dataset.live_set.clone(), vocabulary_fit);
    Ok(vocabulary_fit)
}
