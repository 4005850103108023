//! Query history, replays and feedback.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Path, Problem, Query};
use crate::error::{Error, Result};
use crate::evaluation::defaults;
use crate::evaluation::history::{self, By, Moved, Remembered, Shown, Which};
use crate::evaluation::queue::Asked;
use crate::evaluation::sets::{self, Labels, NewQuery};
use crate::page::Page;

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
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/queries", tag = "evaluation", operation_id = "listQueryHistory", security(("key" = [])), params(("datasetId" = String, Path), HistoryQuery),
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
#[utoipa::path(patch, path = "/kb/v1/datasets/{datasetId}/queries", tag = "evaluation", operation_id = "setQueryHistory", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = HistoryRequest, responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn set_history(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    Body(body): Body<HistoryRequest>,
) -> Result<StatusCode, Problem> {
    defaults::get(&service.app, &caller, &dataset).await?;
    let remember = body
        .remember
        .ok_or_else(|| Error::invalid("remember_missing", "set remember to true or false"))?;
    history::remember(&service.app, &caller, &dataset, remember).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The result of deleting the history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Forgotten {
    forgotten: u64,
}

/// Deletes the query history of a dataset.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/queries", tag = "evaluation", operation_id = "deleteQueryHistory", security(("key" = [])), params(("datasetId" = String, Path)),
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
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/queries/{queryId}/replay", tag = "evaluation", operation_id = "replayQuery", security(("key" = [])),
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
#[utoipa::path(post, path = "/kb/v1/feedback", tag = "evaluation", operation_id = "sendFeedback", security(("key" = [])), request_body = FeedbackRequest,
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn feedback(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<FeedbackRequest>,
) -> Result<StatusCode, Problem> {
    let ((Some(target), None) | (None, Some(target))) = (body.chunk_id, body.document_id) else {
        return Err(Error::invalid("target_missing", "send either chunkId or documentId").into());
    };
    let query = NewQuery {
        text: body.query,
        labels: Labels::from([(target, body.grade)]),
        generated: false,
    };
    sets::feedback(&service.app, &caller, &body.dataset_id, query).await?;
    Ok(StatusCode::NO_CONTENT)
}
