//! Query sets: their queries and labels, generated and imported ones.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
use crate::error::{Error, Result};
use crate::evaluation::sets::{self, Items, Labels, NewQuery, QuerySet};

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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/query-sets", tag = "evaluation", operation_id = "listQuerySets", security(("key" = [])), params(("datasetId" = String, Path)),
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
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets", tag = "evaluation", operation_id = "createQuerySet", security(("key" = [])), params(("datasetId" = String, Path)),
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
    #[schema(value_type = HashMap<String, i64>)]
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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}", tag = "evaluation", operation_id = "getQuerySet", security(("key" = [])),
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
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}", tag = "evaluation", operation_id = "deleteQuerySet", security(("key" = [])),
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
    #[schema(value_type = HashMap<String, i64>)]
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
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/queries", tag = "evaluation", operation_id = "addQueries", security(("key" = [])),
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
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/queries/{queryId}", tag = "evaluation", operation_id = "deleteQuery", security(("key" = [])),
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
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/synthetic", tag = "evaluation", operation_id = "generateQueries", security(("key" = [])),
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
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/query-sets/{querySetId}/import", tag = "evaluation", operation_id = "importQuerySet", security(("key" = [])),
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
                Error::invalid("import_invalid", "send either csv, or topics and qrels").into(),
            );
        }
    };
    Ok(add(&service, &caller, &dataset, &set, queries).await?)
}
