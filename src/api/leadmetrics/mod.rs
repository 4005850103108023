//! Leadmetrics Dashboard API, `/dashboard/v1`: the knowledge base section.
//!
//! Where the contract is unspecified:
//! - errors are `{"error": {"code", "reason", "message", "requestId"}}`; `code` is one of the contract's names (or `UNAUTHORIZED`, `FORBIDDEN`,
//!   `NOT_FOUND`, `METHOD_NOT_ALLOWED`, `RATE_LIMITED`, `UNAVAILABLE`, `INSUFFICIENT_STORAGE`, `INTERNAL_ERROR`), `reason` is a stable detail
//! - a file over the size limit is 400, a batch over its limit 413, more files than allowed 400
//! - a dataset that is not visible to the key is 404, in searches too
//! - `rerank: true` is 422 when no reranker is configured
//! - `enabled: false` shows as status `disabled` once the file is indexed; `reIngest` leaves a disabled file disabled
//! - the crawl configuration is that of the site that was set up or crawled last; a dataset without one returns the defaults and nulls; a schedule by cron
//!   expression, which the contract cannot express, is null; a cancelled crawl is `failed` with `errorMessage`
//! - `startCrawl` is 409 while a crawl of the same site is not over; `pagesIndexed` counts the pages that are searchable afterwards, unchanged ones included;
//!   a crawl without any is `failed`, and `errorMessage` has the reason
//! - `files` of a dataset holds the first 500; `filesNextCursor` continues at `/kb/v1/datasets/{id}/documents`

mod crawl;
mod datasets;
pub(crate) mod files;
mod search;
pub mod wire;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
pub(super) use datasets::{DatasetSummary, FileRecord};
pub(super) use search::SearchMetadata;

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/dashboard/v1/";

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::get))
        .routes(routes!(datasets::update_config))
        .routes(routes!(datasets::reindex))
        .routes(routes!(crawl::config, crawl::start))
        .routes(routes!(crawl::progress))
        .merge(files::routes())
        .routes(routes!(search::search))
}
