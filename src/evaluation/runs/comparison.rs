//! Comparison of two runs, query by query, and calibration: the threshold that separates right hits from wrong ones.

use std::collections::HashMap;

use serde::Serialize;

use super::super::statistics::{self, Interval, Outcome, Reliability};
use super::{Measured, Run, get};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::events::Event;

/// Comparison of two runs over the same queries.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Number of queries in both runs.
    pub queries: usize,
    /// Mean difference of nDCG@10, other run minus this one, with its 95 % bootstrap interval: a gain is significant when the interval is above 0.
    pub difference: Interval,
    /// Queries with a higher nDCG@10 in the other run, largest difference first.
    pub wins: Vec<Difference>,
    /// Queries with a lower nDCG@10 in the other run, largest loss first.
    pub losses: Vec<Difference>,
    /// Number of queries with the same nDCG@10.
    pub ties: usize,
}

/// A query whose nDCG@10 differs between two runs.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Id of the query.
    pub query_id: String,
    /// Text of the query.
    pub text: String,
    /// nDCG@10 in this run.
    pub before: f64,
    /// nDCG@10 in the other run.
    pub after: f64,
}

fn gain(difference: &Difference) -> f64 {
    difference.after - difference.before
}

fn mean_gain(pairs: &[Difference]) -> Interval {
    statistics::interval(&pairs.iter().map(gain).collect::<Vec<_>>())
}

/// Returns the answerable queries that both runs have.
fn pairs(before: &[Measured], after: &[Measured]) -> Vec<Difference> {
    let after: HashMap<&str, &Measured> = after.iter().map(|m| (m.query_id.as_str(), m)).collect();
    let pair = |m: &Measured| {
        let other = after.get(m.query_id.as_str())?;
        Some(Difference {
            query_id: m.query_id.clone(),
            text: m.text.clone(),
            before: m.measures.ndcg_at_10,
            after: other.measures.ndcg_at_10,
        })
    };
    let answerable = before.iter().filter(|m| m.answerable);
    answerable.filter_map(pair).collect()
}

/// Fewest queries from which a loss is concluded: the interval of fewer says little.
const FEWEST: usize = 10;

/// Returns the loss of a run against the one before it over the same set with the same settings, if it is significant over at least [`FEWEST`] queries: content, labels,
/// model or program have changed then.
///
/// # Errors
/// Those of the database.
pub(super) async fn regression(
    app: &App,
    tenant_id: &str,
    run: &Run,
    after: &[Measured],
) -> Result<Option<Event>> {
    let before: Option<(String, String)> = app
        .db
        .optional(
            "SELECT id, queries FROM kb_eval_runs WHERE tenant_id = $1 AND query_set_id = $2 AND kind = 'run' AND status = 'done'
             AND configuration = $3 AND id < $4 ORDER BY id DESC LIMIT 1",
            args![tenant_id, &run.query_set_id, &run.configuration, &run.id],
        )
        .await?;
    let Some((before_id, before)) = before else {
        return Ok(None);
    };
    let before: Vec<Measured> = serde_json::from_str(&before)?;
    let pairs = pairs(&before, after);
    let Interval { mean, low, high } = mean_gain(&pairs);
    if pairs.len() < FEWEST || high >= 0.0 {
        return Ok(None);
    }
    Ok(Some(Event::EvaluationRegressed {
        dataset_id: run.dataset_id.clone(),
        query_set_id: run.query_set_id.clone(),
        run_id: run.id.clone(),
        before_id,
        difference: mean,
        low,
        high,
    }))
}

/// Compares two runs query by query.
///
/// # Errors
/// `run_not_found`; `runs_differ` when they have no query in common.
pub async fn compare(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    one: &str,
    other: &str,
) -> Result<Compared> {
    let one = get(app, caller, dataset_id, one).await?;
    let other = get(app, caller, dataset_id, other).await?;
    let before: Vec<Measured> = serde_json::from_str(&one.queries)?;
    let after: Vec<Measured> = serde_json::from_str(&other.queries)?;
    let mut pairs = pairs(&before, &after);
    if pairs.is_empty() {
        return Err(Error::invalid(
            "runs_differ",
            "the runs have no answerable query in common",
        ));
    }
    let difference = mean_gain(&pairs);
    let queries = pairs.len();
    pairs.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
    let wins: Vec<Difference> = pairs.iter().filter(|d| gain(d) > 0.0).cloned().collect();
    let losses: Vec<Difference> = pairs
        .iter()
        .rev()
        .filter(|d| gain(d) < 0.0)
        .cloned()
        .collect();
    Ok(Compared {
        queries,
        difference,
        ties: queries - wins.len() - losses.len(),
        wins,
        losses,
    })
}

/// Calibration of scores against relevance.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    /// Share of relevant top hits by score.
    pub reliability: Vec<Reliability>,
    /// Score of the top hit from which an answer should count as confident; absent when all queries are answered, or none.
    pub confident_from: Option<f64>,
    /// Accuracy of this threshold: share of queries that it classifies correctly.
    pub accuracy: Option<f64>,
    /// A `minScore` that 99 of 100 relevant top hits reach.
    pub min_score: Option<f64>,
}

/// Calibrates the scores of a run.
///
/// # Errors
/// `run_not_found`.
pub async fn calibrate(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
) -> Result<Calibration> {
    let run = get(app, caller, dataset_id, id).await?;
    let all: Vec<Measured> = serde_json::from_str(&run.queries)?;
    Ok(calibration(&all))
}

pub(crate) fn calibration(all: &[Measured]) -> Calibration {
    let outcomes: Vec<Outcome> = all
        .iter()
        .map(|m| (m.best_score, m.best_is_answer))
        .collect();
    let confident_from = statistics::threshold(&outcomes);
    let mut answers: Vec<f64> = outcomes
        .iter()
        .filter(|(_, answered)| *answered)
        .map(|(score, _)| *score)
        .collect();
    answers.sort_by(f64::total_cmp);
    Calibration {
        reliability: statistics::reliability(&outcomes),
        confident_from,
        accuracy: confident_from.map(|threshold| {
            let right = outcomes
                .iter()
                .filter(|(score, answered)| (*score >= threshold) == *answered)
                .count();
            right as f64 / outcomes.len() as f64
        }),
        min_score: answers.get(answers.len() / 100).copied(),
    }
}
