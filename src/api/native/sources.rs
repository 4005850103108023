//! Sources of a dataset: folders, buckets, feeds, repositories and mailboxes, their schedules and syncs; and everything that any dataset is kept in step with.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Service;
use crate::api::native::crawls::ScheduleRequest;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::clock::Time;
use crate::crawl::Schedule;
use crate::error::Result;
use crate::page::Page;
use crate::sources::overview::{self, Entry};
use crate::sources::{self, Item, NewSource, Settings, Source, Sync, syncs};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, save))
        .routes(routes!(get, remove))
        .routes(routes!(set_schedule, clear_schedule))
        .routes(routes!(list_syncs, start))
        .routes(routes!(get_sync))
        .routes(routes!(cancel))
        .routes(routes!(items))
        .routes(routes!(list_all))
}

/// A source that feeds a dataset.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceRecord {
    id: String,
    dataset_id: String,
    name: String,
    settings: Settings,
    /// Whether a secret is stored; it is never returned.
    has_secret: bool,
    /// `manual`, `weekly`, `monthly` or `cron`.
    schedule: String,
    /// The schedule as a cron expression of five fields in UTC.
    cron: Option<String>,
    created_on: String,
    updated_on: String,
}

impl SourceRecord {
    fn of(source: Source) -> Result<Self> {
        Ok(Self {
            settings: source.settings()?,
            id: source.id,
            dataset_id: source.dataset_id,
            name: source.name,
            has_secret: source.secret.is_some(),
            schedule: source.schedule,
            cron: source.cron,
            created_on: source.created_on.rfc3339(),
            updated_on: source.updated_on.rfc3339(),
        })
    }
}

/// A page of sources.
#[derive(Debug, Serialize, ToSchema)]
struct Sources {
    data: Vec<SourceRecord>,
    pagination: Pagination,
}

/// Lists the sources of a dataset, oldest first.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/sources", tag = "sources", operation_id = "listSources", security(("key" = [])), params(("datasetId" = String, Path), Paging),
    responses((status = 200, body = Sources), (status = "4XX", body = Fault)))]
async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Sources>, Problem> {
    let found = sources::list(&service.app, &caller, &dataset_id, &paging.page(50)?).await?;
    let data = found.items.into_iter().map(SourceRecord::of);
    Ok(Json(Sources {
        data: data.collect::<Result<_>>()?,
        pagination: found.next.into(),
    }))
}

/// A source to save.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SaveSource {
    /// Name, unique in the dataset.
    name: String,
    settings: Settings,
    /// Secret of the access key of a bucket. Absent to keep the one that is stored, as long as the settings stay the same.
    secret: Option<String>,
}

/// Adds a source, or replaces the settings of the one with the same name. Does not start a sync.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/sources", tag = "sources", operation_id = "saveSource", security(("key" = [])), params(("datasetId" = String, Path)),
    request_body = SaveSource, responses((status = 200, body = SourceRecord), (status = "4XX", body = Fault)))]
async fn save(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset_id): Path<String>,
    Body(body): Body<SaveSource>,
) -> Result<Json<SourceRecord>, Problem> {
    let new = NewSource {
        name: body.name,
        settings: body.settings,
        secret: body.secret,
    };
    let source = sources::put(&service.app, &caller, &dataset_id, new).await?;
    Ok(Json(SourceRecord::of(source)?))
}

/// Returns a source.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}", tag = "sources", operation_id = "getSource", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path)), responses((status = 200, body = SourceRecord), (status = "4XX", body = Fault)))]
async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<SourceRecord>, Problem> {
    let source = sources::get(&service.app, &caller, &dataset_id, &id).await?;
    Ok(Json(SourceRecord::of(source)?))
}

/// Options for removing a source.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RemoveSource {
    /// `true`: also deletes the documents that came from it.
    documents: Option<bool>,
}

/// The result of removing a source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceRemoved {
    deleted: bool,
    documents_removed: usize,
}

/// Removes a source with its schedule and syncs; a running sync is cancelled.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}", tag = "sources", operation_id = "deleteSource", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path), RemoveSource), responses((status = 200, body = SourceRemoved), (status = "4XX", body = Fault)))]
async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Query(query): Query<RemoveSource>,
) -> Result<Json<SourceRemoved>, Problem> {
    let documents = query.documents.unwrap_or(false);
    let documents_removed =
        sources::delete(&service.app, &caller, &dataset_id, &id, documents).await?;
    Ok(Json(SourceRemoved {
        deleted: true,
        documents_removed,
    }))
}

/// Sets the schedule of a source.
#[utoipa::path(put, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/schedule", tag = "sources", operation_id = "scheduleSource", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path)), request_body = ScheduleRequest,
    responses((status = 200, body = SourceRecord), (status = "4XX", body = Fault)))]
async fn set_schedule(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Body(request): Body<ScheduleRequest>,
) -> Result<Json<SourceRecord>, Problem> {
    let schedule = request.read()?;
    let source = sources::schedule(&service.app, &caller, &dataset_id, &id, &schedule).await?;
    Ok(Json(SourceRecord::of(source)?))
}

/// Removes the schedule of a source.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/schedule", tag = "sources", operation_id = "unscheduleSource", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path)), responses((status = 200, body = SourceRecord), (status = "4XX", body = Fault)))]
async fn clear_schedule(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<Json<SourceRecord>, Problem> {
    let manual = Schedule::Manual;
    let source = sources::schedule(&service.app, &caller, &dataset_id, &id, &manual).await?;
    Ok(Json(SourceRecord::of(source)?))
}

/// A pass over a source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SyncRecord {
    id: String,
    source_id: String,
    job_id: String,
    /// `queued`, `running`, `completed`, `failed` or `cancelled`.
    status: String,
    items_new: i64,
    items_changed: i64,
    items_unchanged: i64,
    /// Items of a kind that cannot be ingested.
    items_skipped: i64,
    items_failed: i64,
    /// Documents removed because their items are gone.
    items_removed: i64,
    bytes_received: i64,
    /// Why the sync failed, in one sentence.
    error_message: Option<String>,
    created_on: String,
    started_on: Option<String>,
    completed_on: Option<String>,
}

impl From<Sync> for SyncRecord {
    fn from(sync: Sync) -> Self {
        Self {
            id: sync.id,
            source_id: sync.source_id,
            job_id: sync.job_id,
            status: sync.status.to_string(),
            items_new: sync.items_new,
            items_changed: sync.items_changed,
            items_unchanged: sync.items_unchanged,
            items_skipped: sync.items_skipped,
            items_failed: sync.items_failed,
            items_removed: sync.items_removed,
            bytes_received: sync.bytes_received,
            error_message: sync.error_message,
            created_on: sync.created_on.rfc3339(),
            started_on: sync.started_on.map(Time::rfc3339),
            completed_on: sync.completed_on.map(Time::rfc3339),
        }
    }
}

/// A page of syncs.
#[derive(Debug, Serialize, ToSchema)]
struct Syncs {
    data: Vec<SyncRecord>,
    pagination: Pagination,
}

/// Lists the last hundred syncs of a source, oldest first.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/syncs", tag = "sources", operation_id = "listSyncs", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path), Paging), responses((status = 200, body = Syncs), (status = "4XX", body = Fault)))]
async fn list_syncs(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Syncs>, Problem> {
    let found = syncs::list(&service.app, &caller, &dataset_id, &id, &paging.page(50)?).await?;
    Ok(Json(Syncs {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// Starts a sync of a source; 409 while another one is not over.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/syncs", tag = "sources", operation_id = "startSync", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path)), responses((status = 202, body = SyncRecord), (status = "4XX", body = Fault)))]
async fn start(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<SyncRecord>), Problem> {
    let sync = syncs::start(&service.app, &caller, &dataset_id, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(sync.into())))
}

/// Returns a sync.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/syncs/{syncId}", tag = "sources", operation_id = "getSync", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path), ("syncId" = String, Path)), responses((status = 200, body = SyncRecord), (status = "4XX", body = Fault)))]
async fn get_sync(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, source_id, id)): Path<(String, String, String)>,
) -> Result<Json<SyncRecord>, Problem> {
    let sync = syncs::get(&service.app, &caller, &dataset_id, &source_id, &id).await?;
    Ok(Json(sync.into()))
}

/// Cancels a sync; a running one stops within two seconds. What was ingested stays.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/syncs/{syncId}/cancel", tag = "sources", operation_id = "cancelSync", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path), ("syncId" = String, Path)), responses((status = 200, body = SyncRecord), (status = "4XX", body = Fault)))]
async fn cancel(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, source_id, id)): Path<(String, String, String)>,
) -> Result<Json<SyncRecord>, Problem> {
    let sync = syncs::cancel(&service.app, &caller, &dataset_id, &source_id, &id).await?;
    Ok(Json(sync.into()))
}

/// Selects items of a source.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ItemQuery {
    /// Only items with this verdict: `new`, `changed`, `unchanged`, `skipped` or `failed`.
    verdict: Option<String>,
    /// Maximum number of items, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// An item of a source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceItem {
    /// Path, key or id in the source.
    key: String,
    /// Document that was made of it.
    document_id: Option<String>,
    /// Outcome of the last sync that saw it: `new`, `changed`, `unchanged`, `skipped` or `failed`.
    verdict: String,
    /// Why it was skipped or failed.
    reason: Option<String>,
    sync_id: String,
    /// When it was read last.
    changed_on: String,
}

impl From<Item> for SourceItem {
    fn from(item: Item) -> Self {
        Self {
            key: item.item_key,
            document_id: item.document_id,
            verdict: item.verdict.to_string(),
            reason: item.reason,
            sync_id: item.sync_id,
            changed_on: item.changed_on.rfc3339(),
        }
    }
}

/// A page of items.
#[derive(Debug, Serialize, ToSchema)]
struct SourceItems {
    data: Vec<SourceItem>,
    pagination: Pagination,
}

/// Lists the items of a source by key, with what became of them.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/sources/{sourceId}/items", tag = "sources", operation_id = "listSourceItems", security(("key" = [])),
    params(("datasetId" = String, Path), ("sourceId" = String, Path), ItemQuery), responses((status = 200, body = SourceItems), (status = "4XX", body = Fault)))]
async fn items(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Query(query): Query<ItemQuery>,
) -> Result<Json<SourceItems>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let verdict = query.verdict.as_deref();
    let found = syncs::items(&service.app, &caller, &dataset_id, &id, verdict, &page).await?;
    Ok(Json(SourceItems {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// Selects from all sources.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EveryQuery {
    /// Only those whose last run has this state: `never`, `queued`, `running`, `completed`, `failed` or `cancelled`.
    state: Option<String>,
    /// Maximum number of sources, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// A source of any dataset, or a website.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceState {
    id: String,
    /// `website`, `folder`, `s3`, `feed`, `git` or `imap`.
    kind: &'static str,
    dataset_id: String,
    dataset_name: String,
    /// Name of a source, start of a website.
    name: String,
    /// `manual`, `weekly`, `monthly` or `cron`.
    schedule: String,
    /// The schedule as a cron expression of five fields in UTC.
    cron: Option<String>,
    /// Whether a change in its folder starts a sync.
    is_watched: bool,
    /// When the schedule starts the next run.
    next_run_on: Option<String>,
    /// `never`, `queued`, `running`, `completed`, `failed` or `cancelled`.
    state: String,
    /// The last sync, or crawl of a website.
    last_run: Option<LastRun>,
}

/// The last sync of a source, or crawl of a website.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastRun {
    id: String,
    /// Items or pages by what became of them.
    items_new: i64,
    items_changed: i64,
    items_unchanged: i64,
    items_skipped: i64,
    items_failed: i64,
    /// Documents removed because their items or pages are gone.
    items_removed: i64,
    /// Why it failed, in one sentence.
    error_message: Option<String>,
    started_on: Option<String>,
    completed_on: Option<String>,
}

impl SourceState {
    fn of(entry: Entry, now: Time) -> Result<Self> {
        let (kind, is_watched) = entry.kind()?;
        let next_run_on = entry.next_run(now)?.map(Time::rfc3339);
        let run = entry.last;
        let last_run = run.run_id.map(|id| LastRun {
            id,
            items_new: run.items_new,
            items_changed: run.items_changed,
            items_unchanged: run.items_unchanged,
            items_skipped: run.items_skipped,
            items_failed: run.items_failed,
            items_removed: run.items_removed,
            error_message: run.error_message,
            started_on: run.started_on.map(Time::rfc3339),
            completed_on: run.completed_on.map(Time::rfc3339),
        });
        Ok(Self {
            kind,
            is_watched,
            next_run_on,
            last_run,
            id: entry.id,
            dataset_id: entry.dataset_id,
            dataset_name: entry.dataset_name,
            name: entry.name,
            schedule: entry.schedule,
            cron: entry.cron,
            state: entry.state.to_string(),
        })
    }
}

/// A page of sources of any dataset.
#[derive(Debug, Serialize, ToSchema)]
struct SourceStates {
    data: Vec<SourceState>,
    pagination: Pagination,
}

/// Lists everything that the visible datasets are kept in step with, websites included, oldest first, each with its last run and its next one.
#[utoipa::path(get, path = "/kb/v1/sources", tag = "sources", operation_id = "listAllSources", security(("key" = [])), params(EveryQuery),
    responses((status = 200, body = SourceStates), (status = "4XX", body = Fault)))]
async fn list_all(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<EveryQuery>,
) -> Result<Json<SourceStates>, Problem> {
    let page = Page::read(query.limit, query.cursor.as_deref(), 50)?;
    let found = overview::list(&service.app, &caller, query.state.as_deref(), &page).await?;
    let now = service.app.clock.now();
    let data = found
        .items
        .into_iter()
        .map(|entry| SourceState::of(entry, now));
    Ok(Json(SourceStates {
        data: data.collect::<Result<_>>()?,
        pagination: found.next.into(),
    }))
}
