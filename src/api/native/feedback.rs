//! Feedback of agents, for the operator of the installation.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::wire::{Auth, Body, Fault, Path, Problem, Query};
use crate::api::{Service, request_id};
use crate::auth::{Caller, tenants};
use crate::outreach::{FEEDBACK, feedback};
use crate::records::{Record, Request, execute};

/// Feedback of an agent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeedbackRecord {
    id: String,
    tenant_id: String,
    /// `submitted`, `in_progress`, `resolved` or `declined`.
    status: Option<String>,
    title: String,
    created_on: String,
    updated_on: String,
    /// The report of the agent, and the response.
    #[schema(value_type = Object)]
    fields: Value,
}

impl FeedbackRecord {
    fn of(record: &Record) -> crate::error::Result<Self> {
        Ok(Self {
            id: FEEDBACK.public_id(&record.id),
            tenant_id: record.tenant_id.clone(),
            status: record.status.clone(),
            title: record.title.clone(),
            created_on: record.created_on.rfc3339(),
            updated_on: record.updated_on.rfc3339(),
            fields: Value::Object(record.body()?),
        })
    }
}

/// Feedback of all tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllFeedback {
    data: Vec<FeedbackRecord>,
}

/// Which feedback.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedbackQuery {
    /// `submitted`, `in_progress`, `resolved` or `declined`.
    status: Option<String>,
}

/// Feedback that is shown.
const SHOWN: i64 = 500;

/// Lists the feedback of all tenants, the newest 500. Needs a key of the first tenant with `tenants:manage`.
#[utoipa::path(get, path = "/kb/v1/feedback", tag = "administration", operation_id = "listAllFeedback", security(("key" = [])), params(FeedbackQuery),
    responses((status = 200, body = AllFeedback), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<FeedbackQuery>,
) -> Result<Json<AllFeedback>, Problem> {
    let status = query.status.as_deref();
    let found = feedback::of_installation(&service.app, &caller, status, SHOWN).await?;
    let data = found.iter().map(FeedbackRecord::of);
    Ok(Json(AllFeedback {
        data: data.collect::<crate::error::Result<_>>()?,
    }))
}

/// An answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedbackAnswer {
    /// Information or advice for the agent.
    response: String,
    /// `in_progress`, `resolved` (when absent) or `declined`.
    status: Option<String>,
}

/// Answers feedback of any tenant. Needs a key of the first tenant with `tenants:manage`.
#[utoipa::path(patch, path = "/kb/v1/feedback/{id}", tag = "administration", operation_id = "answerFeedback", security(("key" = [])), request_body = FeedbackAnswer,
    params(("id" = String, Path)), responses((status = 200, body = FeedbackRecord), (status = "4XX", body = Fault)))]
pub(super) async fn answer(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<FeedbackAnswer>,
) -> Result<Json<FeedbackRecord>, Problem> {
    let app = &service.app;
    tenants::need_operator(&app.db, &caller).await?;
    let owner = Caller::local(&feedback::owner(app, &caller, &id).await?);
    let status = body.status.unwrap_or_else(|| "resolved".to_owned());
    let given = serde_json::Map::from_iter([
        ("response".to_owned(), json!(body.response)),
        ("status".to_owned(), json!(status)),
    ]);
    let request = Request {
        request_id: request_id(),
        ..Request::internal(&owner, "answerFeedback")
    };
    execute(app, &request, || {
        feedback::change(app, &caller, &owner, &id, &given)
    })
    .await?;
    let row = FEEDBACK.row_id(&id).unwrap_or(&id);
    let record = crate::records::store::get(app, owner.tenant(), &FEEDBACK, row).await?;
    Ok(Json(FeedbackRecord::of(&record)?))
}
