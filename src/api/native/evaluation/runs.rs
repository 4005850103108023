//! Runs over query sets: metrics, comparison, calibration, tuning.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem, Query};
use crate::error::{Error, Result};
use crate::evaluation::runs::{self, Calibration, Compared, Measured, Run, RunStatus, Summary};
use crate::evaluation::sets;
use crate::evaluation::tune::{self, Apply, Tuning};
use crate::search::Settings;
use crate::search::settings::{self, Strict};

/// How far the evaluation of a run is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunProgress {
    queries_done: i64,
    queries_total: i64,
    started_on: String,
}

/// An evaluation run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunRecord {
    id: String,
    dataset_id: String,
    query_set_id: String,
    name: String,
    /// `queued`, `done` or `failed`.
    status: String,
    /// Reason of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How far a run is that is at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<RunProgress>,
    /// Effective search settings, including those from the dataset's defaults; absent for a tuning.
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Settings>,
    /// Mean measures, when a run is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    /// Result of a tuning, when it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    tuning: Option<Tuning>,
    /// Measures of every query; absent in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queries: Vec<Measured>,
    created_on: String,
}

impl TryFrom<Run> for RunRecord {
    type Error = Error;

    fn try_from(run: Run) -> Result<Self> {
        let is_run = run.kind == "run";
        Ok(Self {
            configuration: is_run
                .then(|| serde_json::from_str(&run.configuration))
                .transpose()?,
            summary: if is_run {
                serde_json::from_str(&run.measures)?
            } else {
                None
            },
            tuning: if is_run {
                None
            } else {
                serde_json::from_str(&run.measures)?
            },
            progress: run
                .started_on
                .filter(|_| run.status == RunStatus::Queued)
                .map(|started_on| RunProgress {
                    queries_done: run.queries_done,
                    queries_total: run.queries_total,
                    started_on: started_on.rfc3339(),
                }),
            status: run.status.to_string(),
            error: run.error,
            queries: serde_json::from_str(&run.queries)?,
            id: run.id,
            dataset_id: run.dataset_id,
            query_set_id: run.query_set_id,
            name: run.name,
            created_on: run.created_on.rfc3339(),
        })
    }
}

/// The runs over a query set.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runs {
    data: Vec<RunRecord>,
}

/// Lists the runs over a query set, latest first.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/runs", tag = "evaluation", operation_id = "listRuns", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), responses((status = 200, body = Runs), (status = "4XX", body = Fault)))]
pub(super) async fn list_runs(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
) -> Result<Json<Runs>, Problem> {
    let runs = runs::list(&service.app, &caller, &dataset, &set).await?;
    Ok(Json(Runs {
        data: runs
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_>>()?,
    }))
}

/// A configuration to evaluate.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RunRequest {
    /// Name of the run.
    #[serde(default)]
    name: String,
    /// Search settings, including the generation.
    #[serde(default)]
    #[schema(value_type = Settings)]
    configuration: Strict,
    /// Seconds to wait for the result, 0 to 25; 20 when absent.
    #[serde(rename = "waitSeconds")]
    wait_seconds: Option<u64>,
}

/// Returns the response to a new run: 201 when it completed in time, 202 while it is still running.
async fn answered(
    service: &Service,
    caller: &crate::auth::Caller,
    run: Run,
    seconds: Option<u64>,
) -> Result<(StatusCode, Json<RunRecord>)> {
    let limit = Duration::from_secs(seconds.unwrap_or(20).min(25));
    let run = runs::wait(&service.app, caller, run, limit).await?;
    let status = if run.status == RunStatus::Queued {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(run.try_into()?)))
}

/// Evaluates a configuration over a query set and stores the measures of every query. Runs as a job: `GET …/runs/{runId}` returns its state.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/runs", tag = "evaluation", operation_id = "createRun", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), request_body = RunRequest,
    responses((status = 201, body = RunRecord), (status = 202, body = RunRecord), (status = "4XX", body = Fault)))]
pub(super) async fn create_run(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
    Body(body): Body<RunRequest>,
) -> Result<(StatusCode, Json<RunRecord>), Problem> {
    sets::get(&service.app, &caller, &dataset, &set).await?;
    settings::no_others(&body.configuration.others)?;
    let run = runs::start(
        &service.app,
        &caller,
        &dataset,
        &set,
        &body.name,
        &body.configuration.settings,
    )
    .await?;
    Ok(answered(&service, &caller, run, body.wait_seconds).await?)
}

/// Whether to apply the tuned settings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TuneRequest {
    /// Makes the best settings the dataset's defaults if the gain on the test half of the queries is significant.
    #[serde(default)]
    apply: bool,
    /// With `apply`: applies them even if the gain is not significant, unless the result is worse on average.
    #[serde(default)]
    allow_uncertain_gain: bool,
    /// Seconds to wait for the result, 0 to 25; 20 when absent.
    #[serde(rename = "waitSeconds")]
    wait_seconds: Option<u64>,
}

/// Finds the best settings on one half of the labelled queries and reports them on the other half. Runs as a job: `GET …/runs/{runId}` returns its state.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/tune", tag = "evaluation", operation_id = "tuneQuerySet", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), request_body = TuneRequest,
    responses((status = 201, body = RunRecord), (status = 202, body = RunRecord), (status = "4XX", body = Fault)))]
pub(super) async fn tune_set(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
    Body(body): Body<TuneRequest>,
) -> Result<(StatusCode, Json<RunRecord>), Problem> {
    let apply = match (body.apply, body.allow_uncertain_gain) {
        (false, _) => Apply::Never,
        (true, false) => Apply::CertainGain,
        (true, true) => Apply::UnlessWorse,
    };
    let run = tune::start(&service.app, &caller, &dataset, &set, apply).await?;
    Ok(answered(&service, &caller, run, body.wait_seconds).await?)
}

/// Returns a run with the measures of every query.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/runs/{runId}", tag = "evaluation", operation_id = "getRun", security(("key" = [])),
    params(("datasetId" = String, Path), ("runId" = String, Path)), responses((status = 200, body = RunRecord), (status = "4XX", body = Fault)))]
pub(super) async fn get_run(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, run)): Path<(String, String)>,
) -> Result<Json<RunRecord>, Problem> {
    let run = runs::get(&service.app, &caller, &dataset, &run).await?;
    Ok(Json(run.try_into()?))
}

/// Removes a run.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/runs/{runId}", tag = "evaluation", operation_id = "deleteRun", security(("key" = [])),
    params(("datasetId" = String, Path), ("runId" = String, Path)), responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove_run(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, run)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    runs::remove(&service.app, &caller, &dataset, &run).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Selects the run to compare with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CompareQuery {
    /// Id of the other run.
    #[serde(default)]
    with: String,
}

/// Compares two runs query by query, with a paired bootstrap interval.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/runs/{runId}/compare", tag = "evaluation", operation_id = "compareRuns", security(("key" = [])),
    params(("datasetId" = String, Path), ("runId" = String, Path), CompareQuery), responses((status = 200, body = Compared), (status = "4XX", body = Fault)))]
pub(super) async fn compare_runs(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, run)): Path<(String, String)>,
    Query(query): Query<CompareQuery>,
) -> Result<Json<Compared>, Problem> {
    Ok(Json(
        runs::compare(&service.app, &caller, &dataset, &run, &query.with).await?,
    ))
}

/// Returns the calibration of a run: how scores relate to relevance, and the resulting thresholds.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/runs/{runId}/calibration", tag = "evaluation", operation_id = "calibrateRun", security(("key" = [])),
    params(("datasetId" = String, Path), ("runId" = String, Path)), responses((status = 200, body = Calibration), (status = "4XX", body = Fault)))]
pub(super) async fn calibrate_run(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, run)): Path<(String, String)>,
) -> Result<Json<Calibration>, Problem> {
    Ok(Json(
        runs::calibrate(&service.app, &caller, &dataset, &run).await?,
    ))
}
