//! Jobs: list, cancel and retry.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Pagination, Path, Problem, Query};
use crate::auth::Scope;
use crate::background;
use crate::error::{Error, Result};
use crate::jobs::{self, Job, Task};
use crate::page::Page;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobRecord {
    id: String,
    kind: String,
    /// `queued`, `running`, `done`, `dead` or `cancelled`.
    status: String,
    document_id: Option<String>,
    crawl_id: Option<String>,
    /// Attempts started since the last progress.
    attempts: i64,
    /// Attempts that failed with an error.
    failures: i64,
    /// Maximum number of failures.
    max_attempts: i64,
    run_at: String,
    cancel_requested: bool,
    /// Error of the last failed attempt.
    last_error: Option<String>,
    created_on: String,
    updated_on: String,
}

impl From<Job> for JobRecord {
    fn from(job: Job) -> Self {
        let (document_id, crawl_id) = match job.task() {
            Ok(Task::Ingest { document_id, .. } | Task::Build { document_id, .. }) => {
                (Some(document_id), None)
            }
            Ok(Task::Crawl { crawl_id }) => (None, Some(crawl_id)),
            Ok(
                Task::ShowRows { .. }
                | Task::ClearRows { .. }
                | Task::Deliver { .. }
                | Task::Export { .. }
                | Task::Artifact { .. }
                | Task::Evaluate { .. }
                | Task::Recrawl { .. }
                | Task::Sync { .. }
                | Task::Resync { .. }
                | Task::SendMail { .. }
                | Task::NoTouch
                | Task::TellAgent { .. }
                | Task::ProvisionAgent { .. }
                | Task::CheckAgent { .. }
                | Task::RemoveAgent { .. }
                | Task::RunActivity { .. }
                | Task::RunRoutine { .. }
                | Task::ImportLeads { .. }
                | Task::TendTeam
                | Task::ClearBoard { .. }
                | Task::ClearTenant
                | Task::Housekeeping,
            )
            | Err(_) => (None, None),
        };
        Self {
            document_id,
            crawl_id,
            id: job.id,
            kind: job.kind,
            status: job.status.to_string(),
            attempts: job.attempts,
            failures: job.failures,
            max_attempts: job.max_attempts,
            run_at: job.run_at.rfc3339(),
            cancel_requested: job.cancel_requested,
            last_error: job.last_error,
            created_on: job.created_on.rfc3339(),
            updated_on: job.updated_on.rfc3339(),
        }
    }
}

/// Selects jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct JobQuery {
    /// `queued`, `running`, `done`, `dead` or `cancelled`.
    status: Option<String>,
    /// Maximum number of items, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    data: Vec<JobRecord>,
    pagination: Pagination,
}

/// Lists jobs, oldest first; `status=dead` shows the dead letters.
#[utoipa::path(get, path = "/kb/v1/jobs", tag = "administration", operation_id = "listJobs", security(("key" = [])), params(JobQuery), responses((status = 200, body = Jobs), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<JobQuery>,
) -> Result<Json<Jobs>, Problem> {
    caller.need_unconfined(Scope::KbRead)?;
    if query
        .status
        .as_deref()
        .is_some_and(|s| !["queued", "running", "done", "dead", "cancelled"].contains(&s))
    {
        return Err(Error::invalid(
            "status_unknown",
            "status must be queued, running, done, dead or cancelled",
        )
        .into());
    }
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let found = jobs::list(
        &service.app.db,
        caller.tenant(),
        query.status.as_deref(),
        &page,
    )
    .await?;
    Ok(Json(Jobs {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// Returns a job.
#[utoipa::path(get, path = "/kb/v1/jobs/{jobId}", tag = "administration", operation_id = "getJob", security(("key" = [])), params(("jobId" = String, Path)),
    responses((status = 200, body = JobRecord), (status = "4XX", body = Fault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<JobRecord>, Problem> {
    caller.need_unconfined(Scope::KbRead)?;
    Ok(Json(
        jobs::get(&service.app.db, caller.tenant(), &id)
            .await?
            .into(),
    ))
}

/// Cancels a job; a running one stops within two seconds.
#[utoipa::path(post, path = "/kb/v1/jobs/{jobId}/cancel", tag = "administration", operation_id = "cancelJob", security(("key" = [])), params(("jobId" = String, Path)),
    responses((status = 200, body = JobRecord), (status = "4XX", body = Fault)))]
pub(super) async fn cancel(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<JobRecord>, Problem> {
    caller.need_unconfined(Scope::KbWrite)?;
    let job = jobs::cancel(&service.app.db, &service.app.clock, caller.tenant(), &id).await?;
    jobs::wake(&service.app.commits);
    Ok(Json(job.into()))
}

/// Runs a dead or cancelled job again, with the full number of attempts.
#[utoipa::path(post, path = "/kb/v1/jobs/{jobId}/retry", tag = "administration", operation_id = "retryJob", security(("key" = [])), params(("jobId" = String, Path)),
    responses((status = 200, body = JobRecord), (status = "4XX", body = Fault)))]
pub(super) async fn retry(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<JobRecord>, Problem> {
    caller.need_unconfined(Scope::KbWrite)?;
    Ok(Json(
        background::retry(&service.app, &caller, &id).await?.into(),
    ))
}
