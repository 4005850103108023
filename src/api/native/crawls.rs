//! Websites of a dataset: settings, schedules, crawls, and crawl reports.

mod report;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::time;
use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::clock::Time;
use crate::crawl::{Crawl, Schedule, Settings, Site, crawls, sites};
use crate::error::Result;
use crate::page::Page;
pub(crate) use report::PageVerdict;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list_sites, put_site))
        .routes(routes!(preview_site))
        .routes(routes!(remove_site))
        .routes(routes!(set_schedule, clear_schedule))
        .routes(routes!(start))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(report::pages))
        .routes(routes!(cancel))
}

/// A website that feeds a dataset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SiteRecord {
    id: String,
    dataset_id: String,
    settings: Settings,
    /// `manual`, `weekly`, `monthly` or `cron`.
    schedule: String,
    /// The schedule as a cron expression of five fields in UTC.
    cron: Option<String>,
    created_on: String,
    updated_on: String,
}

impl SiteRecord {
    fn of(site: Site) -> Result<Self> {
        Ok(Self {
            settings: site.settings()?,
            id: site.id,
            dataset_id: site.dataset_id,
            schedule: site.schedule,
            cron: site.cron,
            created_on: site.created_on.rfc3339(),
            updated_on: site.updated_on.rfc3339(),
        })
    }
}

/// A page of sites.
#[derive(Debug, Serialize, ToSchema)]
struct Sites {
    data: Vec<SiteRecord>,
    pagination: Pagination,
}

/// Lists the websites of a dataset, oldest first.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/sites", tag = "websites", operation_id = "listSites", security(("key" = [])), params(("datasetId" = String, Path), Paging),
    responses((status = 200, body = Sites), (status = "4XX", body = Fault)))]
async fn list_sites(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Sites>, Problem> {
    let found = sites::list(&service.app, &caller, &dataset_id, &paging.page(50)?).await?;
    Ok(Json(Sites {
        data: found
            .items
            .into_iter()
            .map(SiteRecord::of)
            .collect::<Result<_>>()?,
        pagination: found.next.into(),
    }))
}

/// Adds a website, or replaces the settings of the one with the same start. Does not start a crawl.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/sites", tag = "websites", operation_id = "saveSite", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = Settings, responses((status = 200, body = SiteRecord), (status = "4XX", body = Fault)))]
async fn put_site(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Body(settings): Body<Settings>,
) -> Result<Json<SiteRecord>, Problem> {
    let site = sites::put(&service.app, &caller, &dataset_id, settings).await?;
    Ok(Json(SiteRecord::of(site)?))
}

/// Options for removing a website.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RemoveSite {
    /// `true`: also deletes the documents that came from it.
    documents: Option<bool>,
}

/// The result of removing a website.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SiteRemoved {
    deleted: bool,
    documents_removed: usize,
}

/// Removes a website with its schedule and crawl history; a running crawl is cancelled.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/sites/{siteId}", tag = "websites", operation_id = "deleteSite", security(("key" = [])),
    params(("datasetId" = String, Path), ("siteId" = String, Path), RemoveSite), responses((status = 200, body = SiteRemoved), (status = "4XX", body = Fault)))]
async fn remove_site(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Query(query): Query<RemoveSite>,
) -> Result<Json<SiteRemoved>, Problem> {
    let documents = query.documents.unwrap_or(false);
    let documents_removed =
        sites::delete(&service.app, &caller, &dataset_id, &id, documents).await?;
    Ok(Json(SiteRemoved {
        deleted: true,
        documents_removed,
    }))
}

/// The result of a look at a website before it is crawled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SitePreview {
    /// The start, after redirects.
    start_url: String,
    /// Whether a sitemap was read; without one only the links of the start are counted, and the site may have many more.
    has_sitemap: bool,
    /// Addresses that the settings let through.
    inside: usize,
    /// Folders of the same host that the path prefix or the include patterns leave out, the largest first.
    outside: Vec<FolderCount>,
    /// Addresses of the same host that an exclude pattern leaves out.
    excluded: usize,
    /// Whether there may be more addresses: a limit was reached, or the time was over.
    is_partial: bool,
}

/// A folder of a website.
#[derive(Debug, Serialize, ToSchema)]
struct FolderCount {
    /// Path of the folder, such as `/docs/`.
    folder: String,
    addresses: usize,
}

/// Looks at a website before it is crawled: fetches its start and sitemaps, for at most 20 seconds, and counts what the settings let through. Stores nothing.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/sites/scope", tag = "websites", operation_id = "previewSite", security(("key" = [])),
    params(("datasetId" = String, Path)), request_body = Settings, responses((status = 200, body = SitePreview), (status = "4XX", body = Fault)))]
async fn preview_site(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Body(settings): Body<Settings>,
) -> Result<Json<SitePreview>, Problem> {
    let found = crate::crawl::preview(&service.app, &caller, &dataset_id, settings).await?;
    let folders = found.outside.into_iter();
    let outside = folders.map(|(folder, addresses)| FolderCount { folder, addresses });
    Ok(Json(SitePreview {
        start_url: found.start.into(),
        has_sitemap: found.has_sitemap,
        inside: found.inside,
        outside: outside.collect(),
        excluded: found.excluded,
        is_partial: found.is_partial,
    }))
}

/// Schedule of a website's crawls, or of a source's syncs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleRequest {
    /// `manual`, `weekly`, `monthly` (at the time at which it is set) or `cron`.
    schedule: String,
    /// With `cron`: expression of five fields in UTC, such as `30 4 * * 1`.
    cron: Option<String>,
}

impl ScheduleRequest {
    /// Returns the schedule.
    pub(super) fn read(&self) -> Result<Schedule> {
        Schedule::read(&self.schedule, self.cron.as_deref())
    }
}

/// Sets the schedule of a website.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/sites/{siteId}/schedule", tag = "websites", operation_id = "scheduleSite", security(("key" = [])),
    params(("datasetId" = String, Path), ("siteId" = String, Path)), request_body = ScheduleRequest,
    responses((status = 200, body = SiteRecord), (status = "4XX", body = Fault)))]
async fn set_schedule(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Body(request): Body<ScheduleRequest>,
) -> Result<Json<SiteRecord>, Problem> {
    let schedule = request.read()?;
    let site = sites::schedule(&service.app, &caller, &dataset_id, &id, &schedule).await?;
    Ok(Json(SiteRecord::of(site)?))
}

/// Removes the schedule of a website.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/sites/{siteId}/schedule", tag = "websites", operation_id = "unscheduleSite", security(("key" = [])),
    params(("datasetId" = String, Path), ("siteId" = String, Path)), responses((status = 200, body = SiteRecord), (status = "4XX", body = Fault)))]
async fn clear_schedule(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<SiteRecord>, Problem> {
    let site = sites::schedule(&service.app, &caller, &dataset_id, &id, &Schedule::Manual).await?;
    Ok(Json(SiteRecord::of(site)?))
}

/// A crawl of a website.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CrawlRecord {
    id: String,
    dataset_id: String,
    site_id: String,
    job_id: String,
    start_url: String,
    /// `queued`, `running`, `completed`, `failed` or `cancelled`.
    status: String,
    scheduled_for: Option<String>,
    /// Pages that were fetched successfully, or that the sitemap reports as unchanged.
    pages_crawled: i64,
    /// Pages that are searchable after the crawl.
    pages_indexed: i64,
    pages_new: i64,
    pages_changed: i64,
    pages_unchanged: i64,
    pages_skipped: i64,
    pages_failed: i64,
    /// Documents removed because their pages are gone.
    pages_removed: i64,
    requests: i64,
    /// Decompressed bytes of all response bodies.
    bytes_received: i64,
    /// Why nothing was indexed, in one sentence.
    error_message: Option<String>,
    created_on: String,
    started_on: Option<String>,
    completed_on: Option<String>,
}

impl CrawlRecord {
    pub(crate) fn of(crawl: Crawl) -> Result<Self> {
        Ok(Self {
            start_url: crawl.settings()?.start_url,
            id: crawl.id,
            dataset_id: crawl.dataset_id,
            site_id: crawl.site_id,
            job_id: crawl.job_id,
            status: crawl.status.to_string(),
            scheduled_for: crawl.scheduled_for.map(Time::rfc3339),
            pages_crawled: crawl.pages_crawled,
            pages_indexed: crawl.pages_indexed,
            pages_new: crawl.pages_new,
            pages_changed: crawl.pages_changed,
            pages_unchanged: crawl.pages_unchanged,
            pages_skipped: crawl.pages_skipped,
            pages_failed: crawl.pages_failed,
            pages_removed: crawl.pages_removed,
            requests: crawl.requests,
            bytes_received: crawl.bytes_received,
            error_message: crawl.error_message,
            created_on: crawl.created_on.rfc3339(),
            started_on: crawl.started_on.map(Time::rfc3339),
            completed_on: crawl.completed_on.map(Time::rfc3339),
        })
    }
}

/// Start time of a crawl.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartCrawl {
    /// Start time, RFC 3339; immediately when absent.
    schedule_for: Option<String>,
}

/// Starts a crawl of a website; 409 while another one is not over.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/sites/{siteId}/crawls", tag = "websites", operation_id = "crawlSite", security(("key" = [])),
    params(("datasetId" = String, Path), ("siteId" = String, Path)), request_body = StartCrawl,
    responses((status = 202, body = CrawlRecord), (status = "4XX", body = Fault)))]
async fn start(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Body(request): Body<StartCrawl>,
) -> Result<(StatusCode, Json<CrawlRecord>), Problem> {
    let at = request.schedule_for.as_deref().map(time).transpose()?;
    let crawl = crawls::start(&service.app, &caller, &dataset_id, &id, at).await?;
    Ok((StatusCode::ACCEPTED, Json(CrawlRecord::of(crawl)?)))
}

/// Selects crawls.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
struct CrawlQuery {
    /// Only crawls of this site.
    site_id: Option<String>,
    /// Maximum number of items, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// A page of crawls.
#[derive(Debug, Serialize, ToSchema)]
struct Crawls {
    data: Vec<CrawlRecord>,
    pagination: Pagination,
}

/// Lists the crawls of a dataset, oldest first.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/crawls", tag = "websites", operation_id = "listCrawls", security(("key" = [])), params(("datasetId" = String, Path), CrawlQuery),
    responses((status = 200, body = Crawls), (status = "4XX", body = Fault)))]
async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Query(query): Query<CrawlQuery>,
) -> Result<Json<Crawls>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let found = crawls::list(
        &service.app,
        &caller,
        &dataset_id,
        query.site_id.as_deref(),
        &page,
    )
    .await?;
    Ok(Json(Crawls {
        data: found
            .items
            .into_iter()
            .map(CrawlRecord::of)
            .collect::<Result<_>>()?,
        pagination: found.next.into(),
    }))
}

/// Returns a crawl; its progress is streamed by `/kb/v1/events?topics=crawl_changed`.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/crawls/{crawlId}", tag = "websites", operation_id = "getCrawl", security(("key" = [])),
    params(("datasetId" = String, Path), ("crawlId" = String, Path)), responses((status = 200, body = CrawlRecord), (status = "4XX", body = Fault)))]
async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<CrawlRecord>, Problem> {
    let crawl = crawls::get(&service.app, &caller, &dataset_id, &id).await?;
    Ok(Json(CrawlRecord::of(crawl)?))
}

/// Cancels a crawl; a running one stops within two seconds. Pages indexed so far stay.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/crawls/{crawlId}/cancel", tag = "websites", operation_id = "cancelCrawl", security(("key" = [])),
    params(("datasetId" = String, Path), ("crawlId" = String, Path)), responses((status = 200, body = CrawlRecord), (status = "4XX", body = Fault)))]
async fn cancel(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<CrawlRecord>, Problem> {
    let crawl = crawls::cancel(&service.app, &caller, &dataset_id, &id).await?;
    Ok(Json(CrawlRecord::of(crawl)?))
}
