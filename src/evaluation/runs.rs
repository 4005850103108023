//! Runs: one configuration over a query set, with the measures of every query; and two runs side by side.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::sets::{self, Labels, Query};
use super::statistics::{self, Interval, Outcome, Reliability};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::search::measure::{self, Judgements, Measures};
use crate::search::{self, Answer, Request, Settings};

/// Hits per query for the measures.
const DEPTH: usize = 100;
/// Queries at a time.
const AT_ONCE: usize = 4;

/// A run.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Run {
    /// Id.
    pub id: String,
    /// The dataset.
    pub dataset_id: String,
    /// The query set.
    pub query_set_id: String,
    /// Name.
    pub name: String,
    /// JSON of [`Settings`].
    pub configuration: String,
    /// JSON of [`Summary`].
    pub measures: String,
    /// JSON array of [`Measured`].
    pub queries: String,
    /// When.
    pub created_on: Time,
}

/// The means of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Queries with an answer, over which the measures are.
    pub answerable: usize,
    /// Queries without one.
    pub unanswerable: usize,
    /// Means over the answerable ones.
    pub measures: Measures,
    /// Share of the unanswerable ones that got no confident answer.
    pub no_answer_accuracy: Option<f64>,
    /// Share of the answerable ones that got a confident answer.
    pub answer_accuracy: Option<f64>,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
}

/// A query of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The query.
    pub query_id: String,
    /// Its text.
    pub text: String,
    /// Whether anything answers it.
    pub answerable: bool,
    /// Its measures.
    pub measures: Measures,
    /// Score of the best hit; 0 without hits.
    pub best_score: f64,
    /// Whether the best hit is an answer.
    pub best_is_answer: bool,
    /// Whether the answer was confident.
    pub confident: bool,
    /// Latency in milliseconds.
    pub milliseconds: f64,
}

/// The judgements of a query, and whether anything answers it.
pub(super) fn judgements(labels: &Labels) -> (Judgements, bool) {
    let judged: Judgements = labels
        .iter()
        .map(|(id, grade)| (id.clone(), *grade))
        .collect();
    let answerable = judged.values().any(|g| *g > 0);
    (judged, answerable)
}

/// A ranking of what is judged: chunks where they have labels of their own, else their documents; each once.
pub(super) fn ranking<'a>(
    hits: impl Iterator<Item = (&'a str, &'a str)>,
    labels: &Labels,
) -> Vec<String> {
    let mut seen = HashSet::new();
    hits.map(|(chunk, document)| {
        if labels.contains_key(chunk) {
            chunk
        } else {
            document
        }
    })
    .filter(|id| seen.insert((*id).to_owned()))
    .map(str::to_owned)
    .collect()
}

fn measured(query: &Query, answer: &Answer) -> Result<Measured> {
    let labels = query.labels()?;
    let (judged, answerable) = judgements(&labels);
    let hits = answer.hits.iter();
    let ranked = ranking(
        hits.map(|h| (h.chunk.id.as_str(), h.chunk.document_id.as_str())),
        &labels,
    );
    let best = ranked.first().and_then(|id| judged.get(id));
    Ok(Measured {
        query_id: query.id.clone(),
        text: query.text.clone(),
        answerable,
        measures: measure::measure(&ranked, &judged),
        best_score: answer.hits.first().map_or(0.0, |h| f64::from(h.score)),
        best_is_answer: best.is_some_and(|g| *g > 0),
        confident: !answer.confidence.no_confident_answer,
        milliseconds: answer.timings.total_ms,
    })
}

/// Searches every query of some with one configuration.
///
/// # Errors
/// Those of search.
pub(super) async fn measure_all(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    settings: &Settings,
    queries: &[Query],
) -> Result<Vec<Measured>> {
    let settings = &Settings {
        top_k: Some(DEPTH),
        ..settings.clone()
    };
    futures::stream::iter(queries.to_vec())
        .map(|query| async move {
            let request = Request {
                cache: false,
                ..settings.request(query.text.clone(), vec![dataset_id.to_owned()])?
            };
            let answer = search::search(app, caller, &request).await?;
            measured(&query, &answer)
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// The means.
#[must_use]
pub fn summary(all: &[Measured]) -> Summary {
    let share = |of: &[&Measured], test: fn(&Measured) -> bool| {
        let met = of.iter().filter(|m| test(m)).count();
        (!of.is_empty()).then(|| met as f64 / of.len() as f64)
    };
    let (answerable, unanswerable): (Vec<&Measured>, Vec<&Measured>) =
        all.iter().partition(|m| m.answerable);
    let measures: Vec<Measures> = answerable.iter().map(|m| m.measures).collect();
    let mut times: Vec<f64> = all.iter().map(|m| m.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).max(1) - 1;
        times.get(index).copied().unwrap_or(0.0)
    };
    Summary {
        answerable: answerable.len(),
        unanswerable: unanswerable.len(),
        measures: measure::mean(&measures),
        no_answer_accuracy: share(&unanswerable, |m| !m.confident),
        answer_accuracy: share(&answerable, |m| m.confident),
        p50_ms: at(0.5),
        p95_ms: at(0.95),
    }
}

/// Runs a configuration over a query set and keeps the result.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`, `query_set_empty`, and those of search.
pub async fn run(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
    name: &str,
    settings: &Settings,
) -> Result<Run> {
    caller.need(Scope::KbWrite)?;
    let set = sets::get(app, caller, dataset_id, set).await?;
    let queries = sets::queries(app, caller, dataset_id, &set.id).await?;
    if queries.is_empty() {
        return Err(empty());
    }
    let all = measure_all(app, caller, dataset_id, settings, &queries).await?;
    let run = Run {
        id: app.clock.id(),
        dataset_id: dataset_id.to_owned(),
        query_set_id: set.id,
        name: name.trim().to_owned(),
        configuration: serde_json::to_string(settings)?,
        measures: serde_json::to_string(&summary(&all))?,
        queries: serde_json::to_string(&all)?,
        created_on: app.clock.now(),
    };
    app.db
        .execute(
            "INSERT INTO kb_eval_runs (id, tenant_id, dataset_id, query_set_id, name, configuration, measures, queries, created_on)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            args![
                &run.id,
                caller.tenant(),
                dataset_id,
                &run.query_set_id,
                &run.name,
                &run.configuration,
                &run.measures,
                &run.queries,
                run.created_on
            ],
        )
        .await?;
    Ok(run)
}

pub(super) fn empty() -> Error {
    Error::invalid("query_set_empty", "the query set has no queries yet")
}

/// Runs over a query set, latest first.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`.
pub async fn list(app: &App, caller: &Caller, dataset_id: &str, set: &str) -> Result<Vec<Run>> {
    let set = sets::get(app, caller, dataset_id, set).await?;
    app.db
        .all(
            "SELECT id, dataset_id, query_set_id, name, configuration, measures, '[]' AS queries, created_on FROM kb_eval_runs
             WHERE tenant_id = $1 AND query_set_id = $2 ORDER BY id DESC",
            args![caller.tenant(), &set.id],
        )
        .await
}

/// A run with its queries.
///
/// # Errors
/// `dataset_not_found`, `run_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Run> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .optional(
            "SELECT id, dataset_id, query_set_id, name, configuration, measures, queries, created_on FROM kb_eval_runs
             WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3",
            args![caller.tenant(), dataset_id, id],
        )
        .await?
        .ok_or_else(|| Error::not_found("run_not_found", "there is no such run"))
}

/// Two runs over the same queries.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Queries that both have.
    pub queries: usize,
    /// Mean difference of nDCG@10, other run minus this one, with its 95 % bootstrap interval: a gain is one whose interval is above 0.
    pub difference: Interval,
    /// Queries that the other run answers better, by how much, best first.
    pub wins: Vec<Difference>,
    /// Queries that it answers worse, worst first.
    pub losses: Vec<Difference>,
    /// Queries that it answers alike.
    pub ties: usize,
}

/// A query that two runs answer differently.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The query.
    pub query_id: String,
    /// Its text.
    pub text: String,
    /// nDCG@10 of this run.
    pub before: f64,
    /// nDCG@10 of the other.
    pub after: f64,
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
    let after: HashMap<&str, &Measured> = after.iter().map(|m| (m.query_id.as_str(), m)).collect();
    let mut pairs: Vec<Difference> = before
        .iter()
        .filter(|m| m.answerable)
        .filter_map(|m| {
            let other = after.get(m.query_id.as_str())?;
            Some(Difference {
                query_id: m.query_id.clone(),
                text: m.text.clone(),
                before: m.measures.ndcg_at_10,
                after: other.measures.ndcg_at_10,
            })
        })
        .collect();
    if pairs.is_empty() {
        return Err(Error::invalid(
            "runs_differ",
            "the runs have no answerable query in common",
        ));
    }
    let gain = |d: &Difference| d.after - d.before;
    let difference = statistics::interval(&pairs.iter().map(gain).collect::<Vec<_>>());
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

/// How scores relate to answers.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    /// How often the best hit is an answer, by its score.
    pub reliability: Vec<Reliability>,
    /// Best score from which an answer should count as confident; absent when all queries are answered, or none.
    pub confident_from: Option<f64>,
    /// Share of queries that this threshold judges rightly.
    pub accuracy: Option<f64>,
    /// A `minScore` that 99 of 100 answers reach, when they are the best hit.
    pub min_score: Option<f64>,
}

/// Calibrates scores on a run.
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

pub(super) fn calibration(all: &[Measured]) -> Calibration {
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
