//! Calibration of an embedding model on the text of a dataset, without labels.
//!
//! Related pairs come from the inverse cloze task (Lee et al. 2019): a sentence is the query, the rest of its chunk the related text. The same sentences with
//! the texts of other documents are the unrelated pairs. Their median cosines determine the map from cosines to scores ([`Calibration::from_anchors`]).

use std::collections::HashMap;

use cairn_models::{Anchors, Calibration, Measured, Priority, cosine};
use unicode_segmentation::UnicodeSegmentation;

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::args;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::kb::Dataset;

/// Chunks read; ids are hashes, so the first ones are a sample.
const CHUNKS: i64 = 4000;
/// Pairs measured. With 400 the medians of repeated samples differed by less than 0.005.
const PAIRS: usize = 400;
/// Fewest pairs for a calibration.
const FEWEST_PAIRS: usize = 30;
/// Fewest documents for a calibration.
const FEWEST_DOCUMENTS: usize = 5;
/// Words of a sentence that can be a query.
const QUERY_WORDS: std::ops::RangeInclusive<usize> = 5..=60;
/// Fewest words of the text that remains without the sentence.
const REST_WORDS: usize = 10;
/// Texts embedded at once.
const BATCH: usize = 32;

/// A calibration measured on a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Model of the dataset.
    pub model: String,
    /// Median cosines of the pairs.
    pub anchors: Anchors,
    pub calibration: Calibration,
    /// Number of sentences.
    pub pairs: usize,
    /// Number of documents they come from.
    pub documents: usize,
}

/// A sentence and the rest of its chunk.
#[derive(Debug, PartialEq)]
struct Pair {
    document: usize,
    sentence: String,
    rest: String,
}

/// Measures the calibration of a dataset's model on its chunks. `progress` is called with the number of texts embedded and their total.
///
/// # Errors
/// `too_little_text` below 30 sentences or five documents; `not_calibratable` when the model does not distinguish related from unrelated texts; those of
/// the model.
pub async fn estimate(
    app: &App,
    caller: &Caller,
    dataset: &Dataset,
    progress: impl Fn(usize, usize),
) -> Result<Estimate> {
    caller.need(Scope::KbRead)?;
    let model = dataset.indexing.embedding_model.clone();
    let chunks: Vec<(String, String)> = app
        .db
        .all(
            "SELECT document_id, content FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 ORDER BY id LIMIT $3",
            args![caller.tenant(), &dataset.live_set, CHUNKS],
        )
        .await?;
    let (pairs, documents) = tokio::task::spawn_blocking(move || pairs(&chunks)).await?;
    if pairs.len() < FEWEST_PAIRS || documents < FEWEST_DOCUMENTS {
        return Err(Error::unprocessable(
            "too_little_text",
            format!(
                "a calibration needs {FEWEST_PAIRS} chunks of several sentences from {FEWEST_DOCUMENTS} documents; dataset {:?} has {} from {documents}",
                dataset.name,
                pairs.len()
            ),
        ));
    }
    let embedder = app.embedder_of(&model).await?;
    let total = 2 * pairs.len();
    let embed = async |texts: Vec<&String>, before: usize, priority| {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let batch = batch.iter().map(|text| (*text).clone()).collect();
            let embedded = app.embed_with(embedder.clone(), batch, priority);
            vectors.extend(embedded.await?);
            progress(before + vectors.len(), total);
        }
        Ok::<_, Error>(vectors)
    };
    let sentences = pairs.iter().map(|p| &p.sentence).collect();
    let queries = embed(sentences, 0, Priority::Query).await?;
    let rests = pairs.iter().map(|p| &p.rest).collect();
    let passages = embed(rests, pairs.len(), Priority::Bulk).await?;
    let origins: Vec<usize> = pairs.iter().map(|p| p.document).collect();
    let anchors =
        tokio::task::spawn_blocking(move || anchors(&queries, &passages, &origins)).await?;
    let calibration = Calibration::from_anchors(anchors)
        .map_err(|e| Error::unprocessable("not_calibratable", format!("{model}: {e}")))?;
    Ok(Estimate {
        model,
        anchors,
        calibration,
        pairs: pairs.len(),
        documents,
    })
}

/// Records a calibration on this machine, for datasets that are created or rebuilt from now on.
///
/// # Errors
/// Those of the cache of models.
pub async fn record(app: &App, estimate: &Estimate, source: String) -> Result<()> {
    let (cache, model) = (app.model_cache(), estimate.model.clone());
    let measured = Measured {
        calibration: estimate.calibration,
        source,
    };
    tokio::task::spawn_blocking(move || cache.record_calibration(&model, measured)).await??;
    Ok(())
}

/// Applies a calibration to a dataset and to its generations with the same model: the scores of its searches change at once.
///
/// # Errors
/// `dataset_not_found`.
pub async fn apply(
    app: &App,
    caller: &Caller,
    dataset: &Dataset,
    estimate: &Estimate,
) -> Result<()> {
    caller.need_manage(&dataset.id)?;
    let (low, high) = (
        f64::from(estimate.calibration.low),
        f64::from(estimate.calibration.high),
    );
    let mut tx = app.db.begin().await?;
    tx.execute(
        "UPDATE kb_generations SET calibration_low = $1, calibration_high = $2 WHERE tenant_id = $3 AND dataset_id = $4 AND embedding_model = $5",
        args![low, high, caller.tenant(), &dataset.id, &estimate.model],
    )
    .await?;
    let changed = tx
        .execute(
            "UPDATE kb_datasets SET calibration_low = $1, calibration_high = $2, version = version + 1, updated_on = $3
             WHERE tenant_id = $4 AND id = $5 AND embedding_model = $6",
            args![low, high, app.clock.now(), caller.tenant(), &dataset.id, &estimate.model],
        )
        .await?;
    if changed == 0 {
        return Err(Error::conflict(
            "dataset_changed",
            "the dataset was removed, or has another model by now",
        ));
    }
    let event = Event::DatasetChanged {
        dataset_id: dataset.id.clone(),
        name: dataset.name.clone(),
    };
    events::append(&mut tx, &app.clock, caller.tenant(), &event).await?;
    app.commit(tx).await
}

/// Returns sentences with the rests of their chunks, spread over the documents, and the number of these.
fn pairs(chunks: &[(String, String)]) -> (Vec<Pair>, usize) {
    let mut documents: HashMap<&str, usize> = HashMap::new();
    let mut found: Vec<Vec<Pair>> = Vec::new();
    for (document, content) in chunks {
        let next = documents.len();
        let document = *documents.entry(document).or_insert(next);
        if document == found.len() {
            found.push(Vec::new());
        }
        found[document].extend(pair(document, content));
    }
    let with_pairs = found.iter().filter(|own| !own.is_empty()).count();
    // One of each document, then a second one, until there are enough.
    let mut chosen = Vec::new();
    let mut rounds: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
    while chosen.len() < PAIRS {
        let before = chosen.len();
        chosen.extend(rounds.iter_mut().filter_map(Iterator::next));
        if chosen.len() == before {
            break;
        }
    }
    chosen.truncate(PAIRS);
    (chosen, with_pairs)
}

/// Takes the middle one of a chunk's sentences that can be a query.
fn pair(document: usize, content: &str) -> Option<Pair> {
    let suits = |sentence: &&(usize, &str)| {
        let words = sentence.1.unicode_words().take(QUERY_WORDS.end() + 1);
        QUERY_WORDS.contains(&words.count())
    };
    let all: Vec<(usize, &str)> = content.split_sentence_bound_indices().collect();
    let suited: Vec<&(usize, &str)> = all.iter().filter(suits).collect();
    let (start, sentence) = suited.get(suited.len() / 2)?;
    let rest = format!(
        "{} {}",
        content[..*start].trim(),
        content[start + sentence.len()..].trim()
    );
    // An overlap or a heading may contain the sentence a second time.
    let sentence = sentence.trim();
    (rest.unicode_words().take(REST_WORDS).count() == REST_WORDS && !rest.contains(sentence)).then(
        || Pair {
            document,
            sentence: sentence.to_owned(),
            rest: rest.trim().to_owned(),
        },
    )
}

/// Returns the median cosines of each query with the passage of the same index, and with the passages of other documents.
fn anchors(queries: &[Vec<f32>], passages: &[Vec<f32>], origins: &[usize]) -> Anchors {
    let (mut related, mut unrelated) = (Vec::new(), Vec::new());
    for (i, query) in queries.iter().enumerate() {
        for (j, passage) in passages.iter().enumerate() {
            if i == j {
                related.push(cosine(query, passage));
            } else if origins[i] != origins[j] {
                unrelated.push(cosine(query, passage));
            }
        }
    }
    Anchors {
        related: median(related),
        unrelated: median(unrelated),
    }
}

/// Returns the median; not a number when there are no values.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return f32::NAN;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "The mill stands at the river since long ago. It grinds the wheat of the whole valley in autumn. Nobody remembers who built it.";

    #[test]
    fn the_middle_sentence_is_taken_out_of_its_text() {
        let found = pair(3, TEXT).expect("three sentences");
        assert_eq!(
            found.sentence,
            "It grinds the wheat of the whole valley in autumn."
        );
        assert_eq!(
            found.rest,
            "The mill stands at the river since long ago. Nobody remembers who built it."
        );
    }

    #[test]
    fn a_sentence_that_stays_in_the_rest_is_no_query() {
        let sentence = "It grinds the wheat of the whole valley in autumn.";
        let twice = format!("{sentence} {sentence} {sentence}");
        assert_eq!(pair(0, &twice), None);
        assert_eq!(
            pair(0, "One sentence of some words alone is not enough."),
            None
        );
    }

    #[test]
    fn every_document_gives_a_pair_before_any_gives_a_second() {
        let chunk = |document: &str| (document.to_owned(), TEXT.to_owned());
        let mut chunks: Vec<_> = (0..PAIRS).map(|_| chunk("large")).collect();
        chunks.extend((0..9).map(|n| chunk(&format!("small {n}"))));
        let (found, documents) = pairs(&chunks);
        assert_eq!((found.len(), documents), (PAIRS, 10));
        let first: Vec<usize> = found[..10].iter().map(|p| p.document).collect();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn unrelated_pairs_are_of_different_documents() {
        let (a, b) = (vec![1.0, 0.0], vec![0.6, 0.8]);
        let queries = [a.clone(), a.clone(), b.clone()];
        let passages = [a.clone(), a, b];
        let found = anchors(&queries, &passages, &[0, 0, 1]);
        assert_eq!((found.related, found.unrelated), (1.0, 0.6));
    }
}
