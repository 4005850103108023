//! Evaluation: search defaults and their history, query history, feedback, query sets, runs, comparison, calibration and tuning.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Path, Problem, Query};
use crate::error::{Error, Result};
use crate::evaluation::defaults;
use crate::evaluation::history::{self, By, Moved, Remembered, Shown, Which};
use crate::evaluation::queue::Asked;
use crate::evaluation::runs::{self, Calibration, Compared, Measured, Run, Summary};
use crate::evaluation::sets::{self, Items, Labels, NewQuery, QuerySet};
use crate::evaluation::tune::{self, Apply, Tuning};
use crate::page::Page;
use crate::search::settings::{self, Strict};
use crate::search::{Defaults, Settings};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(get_defaults, set_defaults))
        .routes(routes!(undo_defaults))
        .routes(routes!(list_history, set_history, forget_history))
        .routes(routes!(replay))
        .routes(routes!(feedback))
        .routes(routes!(list_sets, create_set))
        .routes(routes!(get_set, remove_set))
        .routes(routes!(add_queries))
        .routes(routes!(remove_query))
        .routes(routes!(synthetic))
        .routes(routes!(import))
        .routes(routes!(list_runs, create_run))
        .routes(routes!(tune_set))
        .routes(routes!(get_run, remove_run))
        .routes(routes!(compare_runs))
        .routes(routes!(calibrate_run))
}

/// An earlier version of the search defaults.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefaultsVersion {
    defaults: Defaults,
    /// Reason of the change.
    reason: String,
    created_on: String,
}

/// Default search settings of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DefaultsRecord {
    defaults: Defaults,
    /// All versions, latest first.
    history: Vec<DefaultsVersion>,
}

async fn defaults_record(
    service: &Service,
    caller: &crate::auth::Caller,
    dataset: &str,
) -> Result<Json<DefaultsRecord>> {
    let versions = defaults::versions(&service.app, caller, dataset).await?;
    let history = versions
        .into_iter()
        .map(|v| {
            Ok(DefaultsVersion {
                defaults: serde_json::from_str(&v.defaults)?,
                reason: v.reason,
                created_on: v.created_on.rfc3339(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Json(DefaultsRecord {
        defaults: defaults::get(&service.app, caller, dataset).await?,
        history,
    }))
}

/// Returns the default search settings of a dataset.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/search-defaults", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn get_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<DefaultsRecord>, Problem> {
    Ok(defaults_record(&service, &caller, &dataset).await?)
}

/// Sets the search defaults; the previous version can be restored.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/search-defaults", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = Defaults, responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn set_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Body(body): Body<serde_json::Value>,
) -> Result<Json<DefaultsRecord>, Problem> {
    defaults::get(&service.app, &caller, &dataset).await?;
    // A misspelt name would otherwise be ignored.
    let new: Defaults = serde_json::from_value(body)
        .map_err(|e| Error::invalid("defaults_invalid", e.to_string()))?;
    defaults::set(&service.app, &caller, &dataset, &new, "set by hand").await?;
    Ok(defaults_record(&service, &caller, &dataset).await?)
}

/// Restores the previous version of the search defaults.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/search-defaults/undo", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = DefaultsRecord), (status = "4XX", body = Fault)))]
pub(super) async fn undo_defaults(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<DefaultsRecord>, Problem> {
    defaults::undo(&service.app, &caller, &dataset).await?;
    Ok(defaults_record(&service, &caller, &dataset).await?)
}

/// A query in the history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AskedRecord {
    id: String,
    query: String,
    settings: Remembered,
    /// Its hits, at most 20.
    results: Vec<Shown>,
    hits: i64,
    confident: bool,
    milliseconds: f64,
    /// Id of the key; absent for the command line, `sandbox` for queries from the sandbox.
    key_id: Option<String>,
    created_on: String,
}

impl TryFrom<Asked> for AskedRecord {
    type Error = Error;

    fn try_from(asked: Asked) -> Result<Self> {
        Ok(Self {
            settings: serde_json::from_str(&asked.settings)?,
            results: serde_json::from_str(&asked.results)?,
            id: asked.id,
            query: asked.text,
            hits: asked.hits,
            confident: asked.confident,
            milliseconds: asked.milliseconds,
            key_id: (!asked.key_id.is_empty()).then_some(asked.key_id),
            created_on: asked.created_on.rfc3339(),
        })
    }
}

/// A page of the query history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    data: Vec<AskedRecord>,
    pagination: Pagination,
}

/// Selects queries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// `all`, `withoutHits` or `notConfident`; `all` when absent.
    which: Option<String>,
    /// `all`, `sandbox` for queries from the sandbox, or `programs`; `all` when absent.
    by: Option<String>,
    /// Maximum number of items, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// Lists the query history of a dataset, latest first.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/queries", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path), HistoryQuery),
    responses((status = 200, body = History), (status = "4XX", body = Fault)))]
pub(super) async fn list_history(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    let which = match query.which.as_deref() {
        None | Some("all") => Which::All,
        Some("withoutHits") => Which::WithoutHits,
        Some("notConfident") => Which::NotConfident,
        Some(_) => {
            return Err(Error::invalid(
                "which_unknown",
                "which must be all, withoutHits or notConfident",
            )
            .into());
        }
    };
    let by = match query.by.as_deref() {
        None | Some("all") => By::All,
        Some("sandbox") => By::Sandbox,
        Some("programs") => By::Programs,
        Some(_) => {
            return Err(Error::invalid("by_unknown", "by must be all, sandbox or programs").into());
        }
    };
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let listing = history::list(&service.app, &caller, &dataset, (which, by), &page).await?;
    Ok(Json(History {
        pagination: listing.next.into(),
        data: listing
            .items
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_>>()?,
    }))
}

/// Whether queries are recorded.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct HistoryRequest {
    /// Whether queries are recorded from now on; recorded ones stay until they are deleted.
    remember: Option<bool>,
}

/// Enables or disables the query history of a dataset.
#[utoipa::path(patch, path = "/kb/v1/datasets/{datasetId}/queries", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = HistoryRequest, responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn set_history(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Body(body): Body<HistoryRequest>,
) -> Result<StatusCode, Problem> {
    defaults::get(&service.app, &caller, &dataset).await?;
    let remember = body.remember.ok_or_else(|| {
        Error::invalid("remember_missing", "say whether to remember: true or false")
    })?;
    history::remember(&service.app, &caller, &dataset, remember).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The result of deleting the history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Forgotten {
    forgotten: u64,
}

/// Deletes the query history of a dataset.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/queries", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = Forgotten), (status = "4XX", body = Fault)))]
pub(super) async fn forget_history(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<Forgotten>, Problem> {
    let forgotten = history::forget(&service.app, &caller, &dataset).await?;
    Ok(Json(Forgotten { forgotten }))
}

/// The result of replaying a query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    query: AskedRecord,
    /// Current hits in order, followed by those that are gone.
    results: Vec<Moved>,
}

/// Runs a recorded query again with its settings, and shows how the ranks changed.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/queries/{queryId}/replay", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("queryId" = String, Path)), responses((status = 200, body = Replayed), (status = "4XX", body = Fault)))]
pub(super) async fn replay(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Json<Replayed>, Problem> {
    let (asked, results) = history::replay(&service.app, &caller, &dataset, &id).await?;
    Ok(Json(Replayed {
        query: asked.try_into()?,
        results,
    }))
}

/// Feedback on a hit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeedbackRequest {
    query: String,
    dataset_id: String,
    /// Id of the hit's chunk, or use `documentId`.
    chunk_id: Option<String>,
    document_id: Option<String>,
    /// Grade: 0 not relevant, 1 useful, 2 an answer.
    grade: i64,
}

/// Records feedback on a hit as a label in the dataset's query set named `feedback`.
#[utoipa::path(post, path = "/kb/v1/feedback", tag = "evaluation", security(("key" = [])), request_body = FeedbackRequest,
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn feedback(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<FeedbackRequest>,
) -> Result<StatusCode, Problem> {
    let ((Some(target), None) | (None, Some(target))) = (body.chunk_id, body.document_id) else {
        return Err(Error::invalid("target_missing", "give either chunkId or documentId").into());
    };
    let query = NewQuery {
        text: body.query,
        labels: Labels::from([(target, body.grade)]),
        generated: false,
    };
    sets::feedback(&service.app, &caller, &body.dataset_id, query).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A query set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetRecord {
    id: String,
    dataset_id: String,
    name: String,
    /// Number of queries.
    queries: i64,
    created_on: String,
    updated_on: String,
}

impl From<QuerySet> for SetRecord {
    fn from(set: QuerySet) -> Self {
        Self {
            id: set.id,
            dataset_id: set.dataset_id,
            name: set.name,
            queries: set.queries,
            created_on: set.created_on.rfc3339(),
            updated_on: set.updated_on.rfc3339(),
        }
    }
}

/// The query sets of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sets {
    data: Vec<SetRecord>,
}

/// Lists the query sets of a dataset.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/query-sets", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    responses((status = 200, body = Sets), (status = "4XX", body = Fault)))]
pub(super) async fn list_sets(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
) -> Result<Json<Sets>, Problem> {
    let sets = sets::list(&service.app, &caller, &dataset).await?;
    Ok(Json(Sets {
        data: sets.into_iter().map(Into::into).collect(),
    }))
}

/// A new query set.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetRequest {
    #[serde(default)]
    name: String,
}

/// Creates a query set.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets", tag = "evaluation", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = SetRequest, responses((status = 201, body = SetRecord), (status = "4XX", body = Fault)))]
pub(super) async fn create_set(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Body(body): Body<SetRequest>,
) -> Result<(StatusCode, Json<SetRecord>), Problem> {
    let set = sets::create(&service.app, &caller, &dataset, &body.name).await?;
    Ok((StatusCode::CREATED, Json(set.into())))
}

/// A query with its labels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryRecord {
    id: String,
    text: String,
    /// From document id, or passage (`document@start-end`, in characters), to grade: 0 not relevant, 1 useful, 2 an answer.
    labels: Labels,
    /// Whether it was generated from a title or heading.
    generated: bool,
    created_on: String,
}

/// A query set with its queries.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SetDetail {
    #[serde(flatten)]
    set: SetRecord,
    data: Vec<QueryRecord>,
}

/// Returns a query set, by id or name, with its queries.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), responses((status = 200, body = SetDetail), (status = "4XX", body = Fault)))]
pub(super) async fn get_set(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
) -> Result<Json<SetDetail>, Problem> {
    let app = &service.app;
    let record = sets::get(app, &caller, &dataset, &set).await?;
    let queries = sets::queries(app, &caller, &dataset, &record.id).await?;
    let data = queries
        .into_iter()
        .map(|q| {
            Ok(QueryRecord {
                labels: q.labels()?,
                id: q.id,
                text: q.text,
                generated: q.generated,
                created_on: q.created_on.rfc3339(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Json(SetDetail {
        set: record.into(),
        data,
    }))
}

/// Removes a query set with its queries and runs.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove_set(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    sets::remove(&service.app, &caller, &dataset, &set).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A query to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryRequest {
    text: String,
    /// From document or chunk id, passage (`document@start-end`), external id or file name to grade. Empty: the query is unanswerable.
    #[serde(default)]
    labels: Labels,
}

/// Queries to add.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct QueriesRequest {
    #[serde(default)]
    queries: Vec<QueryRequest>,
}

/// The result of adding queries.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Added {
    /// Number of new queries.
    added: usize,
    /// Label names that match no document or chunk of the dataset; they were ignored.
    unknown: Vec<String>,
}

async fn add(
    service: &Service,
    caller: &crate::auth::Caller,
    dataset: &str,
    set: &str,
    queries: Vec<NewQuery>,
) -> Result<Json<Added>> {
    let (added, unknown) = sets::add(&service.app, caller, dataset, set, queries).await?;
    Ok(Json(Added { added, unknown }))
}

/// Adds queries with labels; for a query with the same text, the labels are added to the existing ones.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/queries", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), request_body = QueriesRequest,
    responses((status = 200, body = Added), (status = "4XX", body = Fault)))]
pub(super) async fn add_queries(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
    Body(body): Body<QueriesRequest>,
) -> Result<Json<Added>, Problem> {
    let queries = body
        .queries
        .into_iter()
        .map(|q| NewQuery {
            text: q.text,
            labels: q.labels,
            generated: false,
        })
        .collect();
    Ok(add(&service, &caller, &dataset, &set, queries).await?)
}

/// Removes a query from a set.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/queries/{queryId}", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path), ("queryId" = String, Path)),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn remove_query(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set, query)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    sets::remove_query(&service.app, &caller, &dataset, &set, &query).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Source of generated queries.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SyntheticRequest {
    /// `titles` or `headings`.
    #[serde(default)]
    from: String,
    /// Maximum number of queries; 200 when absent.
    limit: Option<usize>,
}

/// Adds known-item queries: titles or headings that only one document has, with that document as the answer.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/synthetic", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), request_body = SyntheticRequest,
    responses((status = 200, body = Added), (status = "4XX", body = Fault)))]
pub(super) async fn synthetic(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
    Body(body): Body<SyntheticRequest>,
) -> Result<Json<Added>, Problem> {
    sets::get(&service.app, &caller, &dataset, &set).await?;
    let items = match body.from.as_str() {
        "titles" => Items::Titles,
        "headings" => Items::Headings,
        _ => {
            return Err(Error::invalid("from_unknown", "from must be titles or headings").into());
        }
    };
    let limit = body.limit.unwrap_or(200).clamp(1, sets::MAX_QUERIES);
    let queries = sets::synthetic(&service.app, &caller, &dataset, items, limit).await?;
    Ok(add(&service, &caller, &dataset, &set, queries).await?)
}

/// Queries and labels as file contents; either `csv`, or `topics` and `qrels`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ImportRequest {
    /// CSV with the columns query, document (id, external id or file name; empty: unanswerable) and grade.
    csv: Option<String>,
    /// Lines of id, tab and text, or of JSON with `_id` and `text`.
    topics: Option<String>,
    /// Lines of query, 0, document and grade; the 0 is optional.
    qrels: Option<String>,
}

/// Imports queries from CSV, TREC or BEIR files.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/import", tag = "evaluation", security(("key" = [])),
    params(("datasetId" = String, Path), ("querySetId" = String, Path)), request_body = ImportRequest,
    responses((status = 200, body = Added), (status = "4XX", body = Fault)))]
pub(super) async fn import(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, set)): Path<(String, String)>,
    Body(body): Body<ImportRequest>,
) -> Result<Json<Added>, Problem> {
    sets::get(&service.app, &caller, &dataset, &set).await?;
    let queries = match (&body.csv, &body.topics, &body.qrels) {
        (Some(csv), None, None) => sets::from_csv(csv.as_bytes())?,
        (None, Some(topics), Some(qrels)) => sets::from_trec(topics, qrels)?,
        _ => {
            return Err(
                Error::invalid("import_invalid", "give either csv, or topics and qrels").into(),
            );
        }
    };
    Ok(add(&service, &caller, &dataset, &set, queries).await?)
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
            status: run.status,
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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/runs", tag = "evaluation", security(("key" = [])),
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
    let status = if run.status == "queued" {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(run.try_into()?)))
}

/// Evaluates a configuration over a query set and stores the measures of every query. Runs as a job: `GET …/runs/{runId}` returns its state.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/runs", tag = "evaluation", security(("key" = [])),
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
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/tune", tag = "evaluation", security(("key" = [])),
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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/runs/{runId}", tag = "evaluation", security(("key" = [])),
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
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/runs/{runId}", tag = "evaluation", security(("key" = [])),
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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/runs/{runId}/compare", tag = "evaluation", security(("key" = [])),
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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/runs/{runId}/calibration", tag = "evaluation", security(("key" = [])),
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
