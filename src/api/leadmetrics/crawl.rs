//! Website crawl: configuration, start, progress.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wire::{Auth, Body, DashboardFault, Path, Problem};
use crate::api::Service;
use crate::api::native::time;
use crate::crawl::{Crawl, Settings, crawls, sites};
use crate::error::Result;

/// Website crawl configuration of a dataset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CrawlConfig {
    dataset_id: String,
    start_url: Option<String>,
    max_pages: u32,
    max_depth: u32,
    url_path_filter: Option<String>,
    /// `manual`, `weekly` or `monthly`; null without a site, and for schedules that the contract cannot express.
    schedule: Option<String>,
    last_crawl: Option<LastCrawl>,
}

/// The latest crawl of a site.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastCrawl {
    id: String,
    /// `queued`, `running`, `completed` or `failed`.
    status: String,
    pages_crawled: i64,
    pages_indexed: i64,
    completed_at: Option<String>,
}

/// Returns the status in the contract's terms; a cancelled crawl is reported as failed.
fn status(crawl: &Crawl) -> String {
    let status = match crawl.status {
        crawls::CrawlStatus::Cancelled => crawls::CrawlStatus::Failed,
        status @ (crawls::CrawlStatus::Queued
        | crawls::CrawlStatus::Running
        | crawls::CrawlStatus::Completed
        | crawls::CrawlStatus::Failed) => status,
    };
    status.to_string()
}

/// Returns the crawl settings of a dataset: those of the site that was set up or crawled last.
#[utoipa::path(get, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/crawl", tag = "leadmetrics dashboard", operation_id = "getCrawlConfig",
    security(("key" = [])), params(("datasetId" = String, Path)), responses((status = 200, body = CrawlConfig), (status = "4XX", body = DashboardFault)))]
pub(super) async fn config(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
) -> Result<Json<CrawlConfig>, Problem> {
    let app = &service.app;
    let Some(site) = sites::latest(app, &caller, &dataset_id).await? else {
        let defaults = Settings::new("");
        return Ok(Json(CrawlConfig {
            dataset_id,
            start_url: None,
            max_pages: defaults.max_pages,
            max_depth: defaults.max_depth,
            url_path_filter: None,
            schedule: None,
            last_crawl: None,
        }));
    };
    let last = crawls::last(app, &site).await?;
    let settings = site.settings()?;
    Ok(Json(CrawlConfig {
        dataset_id,
        start_url: Some(settings.start_url),
        max_pages: settings.max_pages,
        max_depth: settings.max_depth,
        url_path_filter: settings.url_path_filter,
        schedule: Some(site.schedule).filter(|s| s != "cron"),
        last_crawl: last.map(|crawl| LastCrawl {
            status: status(&crawl),
            id: crawl.id,
            pages_crawled: crawl.pages_crawled,
            pages_indexed: crawl.pages_indexed,
            completed_at: crawl.completed_on.map(crate::clock::Time::rfc3339),
        }),
    }))
}

/// A crawl to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CrawlRequest {
    start_url: String,
    /// Maximum number of pages, 1 to 100,000; 200 when absent.
    max_pages: Option<u32>,
    /// Maximum number of links from the start, 0 to 100; 3 when absent.
    max_depth: Option<u32>,
    /// Prefix of paths, such as `/blog`.
    url_path_filter: Option<String>,
    /// Start time, RFC 3339; immediately when absent or null.
    schedule_for: Option<String>,
}

/// A queued crawl.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CrawlQueued {
    crawl_job_id: String,
    /// `queued`.
    status: String,
}

/// Starts a crawl. Settings that only `/kb/v1` exposes are kept when the dataset already has a site with this start.
#[utoipa::path(post, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/crawl", tag = "leadmetrics dashboard", operation_id = "startCrawl",
    security(("key" = [])), params(("datasetId" = String, Path)), request_body = CrawlRequest,
    responses((status = 202, body = CrawlQueued), (status = "4XX", body = DashboardFault)))]
pub(super) async fn start(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Body(request): Body<CrawlRequest>,
) -> Result<(StatusCode, Json<CrawlQueued>), Problem> {
    caller.need_edit(&dataset_id)?;
    let app = &service.app;
    let at = request.schedule_for.as_deref().map(time).transpose()?;
    let wanted = Settings::new(&request.start_url);
    let known = sites::with_start(app, &caller, &dataset_id, wanted.start()?.as_str()).await?;
    let settings = match known {
        Some(site) => site.settings()?,
        None => wanted.clone(),
    };
    let settings = Settings {
        max_pages: request.max_pages.unwrap_or(wanted.max_pages),
        max_depth: request.max_depth.unwrap_or(wanted.max_depth),
        url_path_filter: request.url_path_filter,
        ..settings
    };
    let crawl = crawls::start_with(app, &caller, &dataset_id, settings, at).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(CrawlQueued {
            status: crawl.status.to_string(),
            crawl_job_id: crawl.id,
        }),
    ))
}

/// Progress of a crawl.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CrawlStatus {
    crawl_job_id: String,
    /// `queued`, `running`, `completed` or `failed`.
    status: String,
    /// Number of pages that were fetched.
    pages_crawled: i64,
    /// Number of searchable pages.
    pages_indexed: i64,
    pages_failed: i64,
    /// Why nothing was indexed, or that the crawl was cancelled.
    error_message: Option<String>,
    completed_at: Option<String>,
}

/// Returns the progress of a crawl.
#[utoipa::path(get, path = "/dashboard/v1/knowledge-base/datasets/{datasetId}/crawl/{crawlJobId}/status", tag = "leadmetrics dashboard", operation_id = "getCrawlStatus",
    security(("key" = [])), params(("datasetId" = String, Path), ("crawlJobId" = String, Path)),
    responses((status = 200, body = CrawlStatus), (status = "4XX", body = DashboardFault)))]
pub(super) async fn progress(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<CrawlStatus>, Problem> {
    let crawl = crawls::get(&service.app, &caller, &dataset_id, &id).await?;
    Ok(Json(CrawlStatus {
        status: status(&crawl),
        crawl_job_id: crawl.id,
        pages_crawled: crawl.pages_crawled,
        pages_indexed: crawl.pages_indexed,
        pages_failed: crawl.pages_failed,
        error_message: crawl.error_message,
        completed_at: crawl.completed_on.map(crate::clock::Time::rfc3339),
    }))
}
