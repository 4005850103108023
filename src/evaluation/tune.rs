//! Auto-tuning: chooses the best settings on one half of the labelled queries and reports them on the other half. Candidates are fetched once per query, so
//! that trying weights costs no searches.

mod pools;

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::defaults;
use super::runs::{self, Measured, Run, judgements};
use super::sets::{self, Query};
use super::statistics::{self, Interval};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::search::Defaults;
use crate::search::measure::Measures;
use pools::{Pools, better, searches};
pub use pools::{ordered, weights};

/// Number of steps between the weights 0 and 1.
const STEPS: u8 = 20;

/// Numbers of candidates that are tried, smallest first.
const CANDIDATES: [usize; 4] = [50, 100, 200, 400];

/// Default number of candidates of a search.
const USUAL: usize = 200;

/// Values of lambda for maximal marginal relevance that are tried.
const MMR: [f32; 2] = [0.9, 0.7];

/// Smallest gain on the tuning half that counts.
const GAIN: f64 = 0.001;

/// Minimum number of labelled queries.
const FEWEST: usize = 10;

const AT_ONCE: usize = 4;

const DEPTH: usize = 100;

/// The result of tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tuning {
    /// Number of queries on which settings were chosen.
    pub tuned_on: usize,
    /// Number of other queries, on which the measures are reported.
    pub tested_on: usize,
    /// The best settings.
    pub defaults: Defaults,
    /// Means of the settings in force, on the test queries.
    pub before: Measures,
    /// Means of the best settings, on the test queries.
    pub after: Measures,
    /// Gain in nDCG@10 on the test queries, with its 95 % bootstrap interval.
    pub gain: Interval,
    /// nDCG@10 by vector weight, on the tuning queries.
    pub alpha_curve: Vec<AlphaPoint>,
    /// All settings that were tried, with their nDCG@10 on the tuning queries, best first.
    pub tried: Vec<Tried>,
    /// Whether the best settings were made the dataset's defaults.
    pub applied: bool,
}

/// Condition under which the tuned settings become the dataset's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// Never: the result is only reported.
    Never,
    /// When the gain on the test half is significant: its interval lies above 0.
    CertainGain,
    /// Unless they are worse there on average.
    UnlessWorse,
}

/// A point of the curve of nDCG@10 over the vector weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlphaPoint {
    /// Vector weight.
    pub alpha: f32,
    /// nDCG@10.
    pub ndcg_at_10: f64,
}

/// Settings that were tried, with their result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Search settings.
    pub defaults: Defaults,
    /// nDCG@10.
    pub ndcg_at_10: f64,
}

/// Queues the tuning of a query set.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`, `labels_missing`; `dataset_role_missing` for an editor who lets it apply the settings.
pub async fn start(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
    apply: Apply,
) -> Result<Run> {
    if apply != Apply::Never {
        caller.need_manage(dataset_id)?;
    }
    let queries = sets::queries(app, caller, dataset_id, set).await?;
    answerable(&queries)?;
    let configuration = serde_json::to_string(&apply)?;
    runs::queue(
        app,
        caller,
        dataset_id,
        set,
        "tuning",
        "tuning",
        configuration,
    )
    .await
}

/// Returns the answerable queries if there are enough.
fn answerable(queries: &[Query]) -> Result<Vec<&Query>> {
    let mut found = Vec::new();
    for query in queries {
        if judgements(&query.labels()?).1 {
            found.push(query);
        }
    }
    if found.len() < FEWEST {
        return Err(Error::unprocessable(
            "labels_missing",
            format!(
                "tuning requires at least {FEWEST} queries with an answer; the set has {}",
                found.len()
            ),
        ));
    }
    Ok(found)
}

/// Runs the tuning.
pub(super) async fn tune(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    all: &[Query],
    apply: Apply,
) -> Result<Tuning> {
    let (tuning, testing) = halves(&answerable(all)?);
    let pools = Pools::take(app, caller, dataset_id, &tuning, false).await?;
    let widened = Pools::take(app, caller, dataset_id, &tuning, true).await?;
    let (mut tried, curve, mut best) =
        tokio::task::spawn_blocking(move || weigh(&pools, &widened)).await?;
    // Settings that need vectors or the cross-encoder are evaluated by searches.
    let mut searched: Vec<Defaults> = MMR
        .iter()
        .map(|mmr| Defaults {
            mmr: Some(*mmr),
            ..best.defaults
        })
        .collect();
    if !app.config.reranker.is_empty() {
        searched.push(Defaults {
            rerank: Some(true),
            ..best.defaults
        });
    }
    for defaults in searched {
        let found = searches(app, caller, dataset_id, defaults, &tuning).await?;
        let ndcg_at_10 = runs::summary(&found).measures.ndcg_at_10;
        let trial = Tried {
            defaults,
            ndcg_at_10,
        };
        if ndcg_at_10 > best.ndcg_at_10 + GAIN {
            best = trial.clone();
        }
        tried.push(trial);
    }
    let in_force = defaults::get(app, caller, dataset_id).await?;
    let before = searches(app, caller, dataset_id, in_force, &testing).await?;
    let everything: Vec<&Query> = all.iter().collect();
    let everything = searches(app, caller, dataset_id, best.defaults, &everything).await?;
    // The test queries are among them, in the same order.
    let after: Vec<Measured> = everything
        .iter()
        .filter(|m| testing.iter().any(|q| q.id == m.query_id))
        .cloned()
        .collect();
    let differences: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(b, a)| a.measures.ndcg_at_10 - b.measures.ndcg_at_10)
        .collect();
    let gain = tokio::task::spawn_blocking(move || statistics::interval(&differences)).await?;
    // The confidence threshold is calibrated with the new settings, over all queries asked by people; generated queries from titles and headings score higher
    // than questions.
    let by_people: HashSet<&str> = all
        .iter()
        .filter(|q| !q.generated)
        .map(|q| q.id.as_str())
        .collect();
    let asked: Vec<Measured> = everything
        .into_iter()
        .filter(|m| by_people.contains(m.query_id.as_str()))
        .collect();
    let calibrated = runs::calibration(&asked).confident_from.map(|t| t as f32);
    let chosen = Defaults {
        confident_from: calibrated.or(in_force.confident_from),
        ..best.defaults
    };
    // If only the threshold differs, no ranking changes, so no significant gain is required.
    let ranks_alike = Defaults {
        confident_from: chosen.confident_from,
        ..in_force
    } == chosen;
    let applied = match apply {
        Apply::Never => false,
        Apply::CertainGain => gain.low > 0.0 || ranks_alike,
        Apply::UnlessWorse => gain.mean >= 0.0,
    };
    if applied {
        let reason = format!(
            "tuned on {} queries; nDCG@10 on {} others {:+.4} ({:+.4} to {:+.4})",
            tuning.len(),
            testing.len(),
            gain.mean,
            gain.low,
            gain.high
        );
        defaults::set(app, caller, dataset_id, &chosen, &reason).await?;
    }
    tried.sort_by(|a, b| b.ndcg_at_10.total_cmp(&a.ndcg_at_10));
    Ok(Tuning {
        tuned_on: tuning.len(),
        tested_on: testing.len(),
        defaults: chosen,
        before: runs::summary(&before).measures,
        after: runs::summary(&after).measures,
        gain,
        alpha_curve: curve,
        tried,
        applied,
    })
}

/// Evaluates weights, feedback and numbers of candidates on the fetched pools, without searches.
fn weigh(pools: &Pools, widened: &Pools) -> (Vec<Tried>, Vec<AlphaPoint>, Tried) {
    let mut tried: Vec<Tried> = Vec::new();
    let mut curve = Vec::new();
    for (feedback, pools) in [(None, pools), (Some(true), widened)] {
        for alpha in weights() {
            let ndcg_at_10 = pools.ndcg(alpha, USUAL);
            if let (None, Some(alpha)) = (feedback, alpha) {
                curve.push(AlphaPoint { alpha, ndcg_at_10 });
            }
            let defaults = Defaults {
                hybrid_alpha: alpha,
                feedback,
                ..Defaults::default()
            };
            tried.push(Tried {
                defaults,
                ndcg_at_10,
            });
        }
    }
    let mut best = better(&tried);
    // More candidates only for a gain, and then the smallest number that achieves it.
    let pools = if best.defaults.feedback == Some(true) {
        widened
    } else {
        pools
    };
    let mut numbers = Vec::new();
    for candidates in CANDIDATES {
        let ndcg_at_10 = pools.ndcg(best.defaults.hybrid_alpha, candidates);
        let defaults = Defaults {
            candidates: Some(candidates),
            ..best.defaults
        };
        numbers.push(Tried {
            defaults,
            ndcg_at_10,
        });
    }
    let most = numbers.iter().map(|t| t.ndcg_at_10).fold(0.0, f64::max);
    if most > best.ndcg_at_10 + GAIN
        && let Some(fewest) = numbers.iter().find(|t| t.ndcg_at_10 >= most - GAIN)
    {
        best = fewest.clone();
    }
    tried.extend(numbers);
    (tried, curve, best)
}

/// Splits queries into two halves, independently of their order and stable when queries are added.
fn halves<'a>(queries: &[&'a Query]) -> (Vec<&'a Query>, Vec<&'a Query>) {
    queries.iter().partition(|q| is_for_tuning(&q.text))
}

/// Returns whether a query belongs to the tuning half.
#[must_use]
pub fn is_for_tuning(text: &str) -> bool {
    Sha256::digest(text.as_bytes())[0].is_multiple_of(2)
}
