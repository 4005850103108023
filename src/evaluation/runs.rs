//! Runs: one configuration evaluated over a query set, with the measures of every query; and the comparison of two runs.

mod comparison;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::sets::{self, Labels, Query};
use super::statistics::{self};
use super::tune::{self, Apply};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{args, words};
use crate::error::{Error, Result};
use crate::events;
use crate::jobs::{self, EnqueueOptions, Task};
use crate::kb::{datasets, generations};
use crate::search::measure::{self, Judgements, Measures};
use crate::search::{self, Answer, Defaults, Request, Settings};
pub(super) use comparison::calibration;
pub use comparison::{Calibration, Compared, Difference, calibrate, compare};

/// Hits per query over which measures are computed.
const DEPTH: usize = 100;

/// Concurrent queries.
const AT_ONCE: usize = 4;

/// Interval at which a run is polled while a caller waits for it.
const POLL: Duration = Duration::from_millis(50);

words! {
    /// The status of a run.
    pub enum RunStatus {
        Queued = "queued",
        Done = "done",
        Failed = "failed",
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Run {
    pub id: String,
    pub dataset_id: String,
    pub query_set_id: String,
    pub name: String,
    /// JSON of [`Settings`].
    pub configuration: String,
    /// JSON of [`Summary`], or of [`super::tune::Tuning`]; null until the run is done.
    pub measures: String,
    /// JSON array of [`Measured`].
    pub queries: String,
    pub created_on: Time,
    /// `run` or `tuning`.
    pub kind: String,
    pub status: RunStatus,
    /// Reason of the failure.
    pub error: Option<String>,
    /// Queries that were measured, of `queries_total`.
    pub queries_done: i64,
    pub queries_total: i64,
    /// When the first query was asked; `None` before.
    pub started_on: Option<Time>,
}

/// Interval at which the progress of a run is stored.
const TICK: Duration = Duration::from_secs(1);

/// The stored progress of a run.
pub(super) struct Progress<'a> {
    app: &'a App,
    tenant_id: &'a str,
    run_id: &'a str,
    total: usize,
    started_on: Time,
}

impl Progress<'_> {
    /// Stores how many queries were measured.
    async fn store(&self, done: usize) -> Result<()> {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.app
            .db
            .execute(
                "UPDATE kb_eval_runs SET queries_done = $1, queries_total = $2, started_on = $3 WHERE tenant_id = $4 AND id = $5",
                args![count(done), count(self.total), self.started_on, self.tenant_id, self.run_id],
            )
            .await?;
        Ok(())
    }
}

/// The mean measures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Number of answerable queries, over which the measures are computed.
    pub answerable: usize,
    /// Number of unanswerable queries.
    pub unanswerable: usize,
    /// Means over the answerable queries.
    pub measures: Measures,
    /// Share of the unanswerable queries without a confident answer.
    pub no_answer_accuracy: Option<f64>,
    /// Share of the answerable queries with a confident answer.
    pub answer_accuracy: Option<f64>,
    /// Mean share of the top ten hits that are judged; measures with many unjudged hits are too low. Absent in runs made before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_at_10: Option<f64>,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile of the latency in milliseconds.
    pub p95_ms: f64,
}

/// The measures of one query of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Id of the query.
    pub query_id: String,
    /// Text of the query.
    pub text: String,
    /// Whether the query has a relevant document or passage.
    pub answerable: bool,
    /// Measures of the ranking.
    pub measures: Measures,
    /// Score of the top hit; 0 without hits.
    pub best_score: f64,
    /// Whether the top hit is relevant.
    pub best_is_answer: bool,
    /// Whether the answer was confident.
    pub confident: bool,
    /// Share of the top ten hits that are judged, whatever the grade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_at_10: Option<f64>,
    /// Latency in milliseconds.
    pub milliseconds: f64,
}

/// Returns the judgements of a query, and whether it is answerable.
pub(super) fn judgements(labels: &Labels) -> (Judgements, bool) {
    let judged: Judgements = labels
        .iter()
        .map(|(id, grade)| (id.clone(), *grade))
        .collect();
    let answerable = judged.values().any(|g| *g > 0);
    (judged, answerable)
}

/// A document and a range of characters in it.
pub(super) type Passage<'a> = (&'a str, i64, i64);

/// Returns a ranking of judged items: passages where one of hit and passage covers half of the other, otherwise documents; each once.
pub(super) fn ranking<'a>(hits: impl Iterator<Item = Passage<'a>>, labels: &Labels) -> Vec<String> {
    let mut judged: HashMap<&str, Vec<(i64, i64, &str)>> = HashMap::new();
    for key in labels.keys() {
        if let Some((document, start, end)) = sets::parse_passage(key) {
            let passages = judged.entry(document).or_default();
            passages.push((start, end, key.as_str()));
        }
    }
    let meet = |a: (i64, i64), b: (i64, i64)| {
        let shared = a.1.min(b.1) - a.0.max(b.0);
        let shorter = (a.1 - a.0).min(b.1 - b.0);
        // A chunk added by hand has an empty range.
        a == b || (shorter > 0 && 2 * shared >= shorter)
    };
    let mut seen = HashSet::new();
    hits.map(|(document, start, end)| {
        let passages = judged.get(document).into_iter().flatten();
        let met = passages
            .filter(|(from, to, _)| meet((start, end), (*from, *to)))
            .map(|(.., key)| *key)
            // Of several overlapping passages, the one with the highest grade counts.
            .max_by_key(|key| labels.get(*key));
        met.unwrap_or(document).to_owned()
    })
    .filter(|id| seen.insert(id.clone()))
    .collect()
}

/// Returns the share of the top ten of a ranking that are judged; `None` without hits.
fn judged_share(ranked: &[String], judged: &Judgements) -> Option<f64> {
    let head = &ranked[..ranked.len().min(10)];
    let known = head.iter().filter(|id| judged.contains_key(*id)).count();
    (!head.is_empty()).then(|| known as f64 / head.len() as f64)
}

fn measured(query: &Query, answer: &Answer) -> Result<Measured> {
    let labels = query.labels()?;
    let (judged, answerable) = judgements(&labels);
    let hits = answer.hits.iter();
    let ranked = ranking(
        hits.map(|h| {
            (
                h.chunk.document_id.as_str(),
                h.chunk.start_char,
                h.chunk.end_char,
            )
        }),
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
        judged_at_10: judged_share(&ranked, &judged),
        milliseconds: answer.timings.total_ms,
    })
}

/// Runs queries with one configuration and measures each; stores the progress of a run.
///
/// # Errors
/// Those of search.
pub(super) async fn measure_all(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    settings: &Settings,
    defaults: Option<Defaults>,
    queries: &[Query],
    progress: Option<&Progress<'_>>,
) -> Result<Vec<Measured>> {
    let settings = &Settings {
        top_k: Some(DEPTH),
        ..settings.clone()
    };
    // The cross-encoder serves one search at a time.
    let reranks = settings.rerank.or(defaults.and_then(|d| d.rerank));
    let at_once = if reranks == Some(true) { 1 } else { AT_ONCE };
    let mut asked = futures::stream::iter(queries.to_vec())
        .map(|query| async move {
            let request = Request {
                cache: false,
                patient: true,
                defaults,
                ..settings.request(query.text.clone(), vec![dataset_id.to_owned()])?
            };
            let answer = search::search(app, caller, &request).await?;
            if let Some(trouble) = answer.degraded.first() {
                return Err(Error::unavailable(
                    "search_degraded",
                    format!("cannot evaluate while searches are incomplete: {trouble}"),
                ));
            }
            measured(&query, &answer)
        })
        .buffered(at_once);
    let (mut all, mut stored) = (Vec::with_capacity(queries.len()), None::<Instant>);
    while let Some(measured) = asked.try_next().await? {
        all.push(measured);
        if let Some(progress) = progress
            && stored.is_none_or(|at| at.elapsed() >= TICK)
        {
            progress.store(all.len()).await?;
            stored = Some(Instant::now());
        }
    }
    Ok(all)
}

/// Returns the mean measures.
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
    let judged: Vec<f64> = answerable.iter().filter_map(|m| m.judged_at_10).collect();
    Summary {
        judged_at_10: (!judged.is_empty())
            .then(|| judged.iter().sum::<f64>() / judged.len() as f64),
        answerable: answerable.len(),
        unanswerable: unanswerable.len(),
        measures: measure::mean(&measures),
        no_answer_accuracy: share(&unanswerable, |m| !m.confident),
        answer_accuracy: share(&answerable, |m| m.confident),
        p50_ms: statistics::percentile(&times, 0.5),
        p95_ms: statistics::percentile(&times, 0.95),
    }
}

/// Queues the evaluation of a configuration over a query set.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`, `query_set_empty`, `generation_not_found`.
pub async fn start(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
    name: &str,
    settings: &Settings,
) -> Result<Run> {
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    // The effective settings are stored with the run, including those from the dataset's defaults at this time.
    let defaults: Defaults = serde_json::from_str(&dataset.search_defaults)?;
    let settings = Settings {
        generation: settings.generation.or(Some(dataset.generation)),
        ..settings.clone().or(&defaults)
    };
    settings
        .request("x".to_owned(), vec![dataset_id.to_owned()])?
        .check()?;
    if let Some(number) = settings.generation {
        generations::at(app, caller, &dataset, number).await?;
    }
    if settings.rerank == Some(true) && app.config.reranker.is_empty() {
        return Err(Error::unprocessable(
            "reranker_not_configured",
            "no reranker is configured (setting `reranker`); run without rerank",
        ));
    }
    let configuration = serde_json::to_string(&settings)?;
    queue(app, caller, dataset_id, set, name, "run", configuration).await
}

/// Queues a run or a tuning.
pub(super) async fn queue(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
    name: &str,
    kind: &'static str,
    configuration: String,
) -> Result<Run> {
    caller.need_edit(dataset_id)?;
    let set = sets::get(app, caller, dataset_id, set).await?;
    if set.queries == 0 {
        return Err(empty());
    }
    let id = app.clock.id();
    let mut tx = app.db.begin().await?;
    tx.execute(
        "INSERT INTO kb_eval_runs (id, tenant_id, dataset_id, query_set_id, name, configuration, measures, queries, created_on, kind, status)
         VALUES ($1, $2, $3, $4, $5, $6, 'null', '[]', $7, $8, 'queued')",
        args![
            &id,
            caller.tenant(),
            dataset_id,
            &set.id,
            name.trim(),
            &configuration,
            app.clock.now(),
            kind
        ],
    )
    .await?;
    jobs::enqueue(
        &mut tx,
        &app.clock,
        caller.tenant(),
        &Task::Evaluate { run_id: id.clone() },
        EnqueueOptions {
            group: dataset_id,
            dedupe_key: None,
            max_attempts: app.config.job_attempts,
            run_at: None,
            small: false,
        },
    )
    .await?;
    app.commit(tx).await?;
    queued(app, caller, &id).await
}

/// Returns a run that the caller has started, even without the right to read other runs.
async fn queued(app: &App, caller: &Caller, id: &str) -> Result<Run> {
    by_id(app, caller.tenant(), id).await?.ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("run_not_found", "run not found")
}

/// Waits up to `limit` for a run and returns its current state.
///
/// # Errors
/// `run_not_found`.
pub async fn wait(app: &Arc<App>, caller: &Caller, run: Run, limit: Duration) -> Result<Run> {
    let until = Instant::now() + limit;
    let mut run = run;
    while run.status == RunStatus::Queued && Instant::now() < until {
        tokio::time::sleep(POLL).await;
        run = queued(app, caller, &run.id).await?;
    }
    Ok(run)
}

/// Executes the job of a run.
pub(crate) async fn execute(app: &Arc<App>, tenant_id: &str, run_id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let Some(run) = by_id(app, tenant_id, run_id).await? else {
        return Ok(());
    };
    if run.status != RunStatus::Queued {
        return Ok(());
    }
    let queries = sets::queries(app, &caller, &run.dataset_id, &run.query_set_id).await?;
    let mut regressed = None;
    let (measures, queries) = if run.kind == "tuning" {
        let apply: Apply = serde_json::from_str(&run.configuration)?;
        let tuning = tune::tune(app, &caller, &run.dataset_id, &queries, apply).await?;
        (serde_json::to_string(&tuning)?, "[]".to_owned())
    } else {
        let settings: Settings = serde_json::from_str(&run.configuration)?;
        // The stored settings already include them.
        let defaults = Some(Defaults::default());
        let progress = Progress {
            app,
            tenant_id,
            run_id,
            total: queries.len(),
            started_on: app.clock.now(),
        };
        let (dataset, progress) = (&run.dataset_id, Some(&progress));
        let all = measure_all(
            app, &caller, dataset, &settings, defaults, &queries, progress,
        )
        .await?;
        regressed = comparison::regression(app, tenant_id, &run, &all).await?;
        (
            serde_json::to_string(&summary(&all))?,
            serde_json::to_string(&all)?,
        )
    };
    let mut tx = app.db.begin().await?;
    tx.execute(
        "UPDATE kb_eval_runs SET status = 'done', measures = $1, queries = $2 WHERE tenant_id = $3 AND id = $4",
        args![measures, queries, tenant_id, run_id],
    )
    .await?;
    if let Some(event) = regressed {
        events::append(&mut tx, &app.clock, tenant_id, &event).await?;
    }
    app.commit(tx).await
}

/// Stores why a run failed for good.
pub(crate) async fn failed(app: &App, tenant_id: &str, run_id: &str, message: &str) -> Result<()> {
    app.db
        .execute(
            "UPDATE kb_eval_runs SET status = 'failed', error = $1 WHERE tenant_id = $2 AND id = $3",
            args![message, tenant_id, run_id],
        )
        .await?;
    Ok(())
}

pub(super) fn empty() -> Error {
    Error::invalid("query_set_empty", "the query set has no queries yet")
}

/// Returns the runs over a query set, latest first.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`.
pub async fn list(app: &App, caller: &Caller, dataset_id: &str, set: &str) -> Result<Vec<Run>> {
    let set = sets::get(app, caller, dataset_id, set).await?;
    app.db
        .all(
            "SELECT id, dataset_id, query_set_id, name, configuration, measures, '[]' AS queries, created_on, kind, status, error, queries_done, queries_total, started_on FROM kb_eval_runs
             WHERE tenant_id = $1 AND query_set_id = $2 ORDER BY id DESC",
            args![caller.tenant(), &set.id],
        )
        .await
}

async fn by_id(app: &App, tenant_id: &str, id: &str) -> Result<Option<Run>> {
    app.db
        .optional(
            "SELECT id, dataset_id, query_set_id, name, configuration, measures, queries, created_on, kind, status, error, queries_done, queries_total, started_on FROM kb_eval_runs
             WHERE tenant_id = $1 AND id = $2",
            args![tenant_id, id],
        )
        .await
}

/// Removes a run.
///
/// # Errors
/// `dataset_not_found`, `run_not_found`.
pub async fn remove(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<()> {
    caller.need_edit(dataset_id)?;
    get(app, caller, dataset_id, id).await?;
    app.db
        .execute(
            "DELETE FROM kb_eval_runs WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), id],
        )
        .await?;
    Ok(())
}

/// Returns a run with its queries.
///
/// # Errors
/// `dataset_not_found`, `run_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Run> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    by_id(app, caller.tenant(), id)
        .await?
        .filter(|run| run.dataset_id == dataset_id)
        .ok_or_else(missing)
}
