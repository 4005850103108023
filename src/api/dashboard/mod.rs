//! Leadmetrics Dashboard API, `/dashboard/v1`: the knowledge base section except its crawl operations.
//!
//! Where the contract is silent:
//! - errors are `{"error": {"code", "reason", "message", "requestId"}}`; `code` is one of the contract's names (or `UNAUTHORIZED`, `FORBIDDEN`,
//!   `NOT_FOUND`, `METHOD_NOT_ALLOWED`, `RATE_LIMITED`, `UNAVAILABLE`, `INSUFFICIENT_STORAGE`, `INTERNAL_ERROR`), `reason` is a stable detail
//! - a file over the size limit is 400, a batch over its limit 413, more files than allowed 400
//! - a dataset the key may not see is 404, in searches too
//! - `rerank: true` is 422 as long as no reranker is configured
//! - `enabled: false` shows as status `disabled` once the file is indexed; `reIngest` leaves a disabled file disabled
//! - `files` of a dataset holds the first 500; `filesNextCursor` continues at `/kb/v1/datasets/{id}/documents`

mod datasets;
pub(crate) mod files;
mod search;
pub mod wire;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
pub(super) use datasets::{DatasetSummary, FileRecord};
pub(super) use search::SearchMetadata;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::get))
        .routes(routes!(datasets::update_config))
        .routes(routes!(datasets::reindex))
        .merge(files::routes())
        .routes(routes!(search::search))
}
