//! The report of a crawl: the outcome for every URL.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Pagination, Path, Problem, Query};
use crate::auth::Scope;
use crate::crawl::{Seen, crawls};
use crate::error::{Error, Result};
use crate::page::Page;

/// The outcome of an address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageVerdict {
    url: String,
    /// `new`, `changed`, `unchanged`, `skipped` or `failed`; null while it is pending.
    verdict: Option<String>,
    /// `pending`, `ingesting` (fetched and being ingested) or `done`.
    state: String,
    /// Stable code of the reason: `robots`, `noindex`, `out_of_scope`, `too_deep`, `limit`, `duplicate`, `moved`, `type`, `trap`, `gone`, `timeout`, …
    code: Option<String>,
    /// The reason in one sentence.
    reason: Option<String>,
    /// The address that it is a copy of or redirects to.
    other_url: Option<String>,
    /// Number of links from the start.
    depth: i64,
    /// The page or sitemap that links here.
    found_on: Option<String>,
    http_status: Option<i64>,
    content_type: Option<String>,
    /// Decompressed bytes of the body.
    bytes: i64,
    millis: i64,
    document_id: Option<String>,
}

impl From<Seen> for PageVerdict {
    fn from(seen: Seen) -> Self {
        Self {
            url: seen.url,
            verdict: seen.verdict.map(|v| v.to_string()),
            state: seen.state.to_string(),
            code: seen.code,
            reason: seen.reason,
            other_url: seen.other_url,
            depth: seen.depth,
            found_on: seen.found_on,
            http_status: seen.http_status,
            content_type: seen.content_type,
            bytes: seen.bytes,
            millis: seen.millis,
            document_id: seen.document_id,
        }
    }
}

/// A page of the crawl report.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CrawlReport {
    data: Vec<PageVerdict>,
    pagination: Pagination,
}

/// Selects addresses.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportQuery {
    /// `new`, `changed`, `unchanged`, `skipped`, `failed` or `pending`.
    verdict: Option<String>,
    /// Maximum number of items, 1 to 500.
    limit: Option<i64>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// Lists the outcome of every address of a crawl in the order of discovery. At most 20 × `maxPages` + 1,000 addresses are recorded.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/crawls/{crawlId}/pages", tag = "websites", operation_id = "listCrawledPages", security(("key" = [])),
    params(("datasetId" = String, Path), ("crawlId" = String, Path), ReportQuery), responses((status = 200, body = CrawlReport), (status = "4XX", body = Fault)))]
pub(super) async fn pages(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset_id, id)): Path<(String, String)>,
    Query(query): Query<ReportQuery>,
) -> Result<Json<CrawlReport>, Problem> {
    caller.need(Scope::KbRead)?;
    let verdict = query.verdict.as_deref();
    if verdict.is_some_and(|v| {
        ![
            "new",
            "changed",
            "unchanged",
            "skipped",
            "failed",
            "pending",
        ]
        .contains(&v)
    }) {
        return Err(Error::invalid(
            "verdict_unknown",
            "verdict must be new, changed, unchanged, skipped, failed or pending",
        )
        .into());
    }
    let crawl = crawls::get(&service.app, &caller, &dataset_id, &id).await?;
    let page = Page::read(query.limit, query.cursor.as_deref(), 100)?;
    let found = crawls::pages(&service.app, &caller, &crawl, verdict, &page).await?;
    Ok(Json(CrawlReport {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}
