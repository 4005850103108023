//! Leadmetrics Dashboard API, `/dashboard/v1`: the knowledge base, and the work of a marketing team of people and agents.
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
//! - lists answer `{"data", "pagination": {"nextCursor", "hasMore"}}`; `limit` is 1 to 500; filters come as `filter.x` or `filter[x]`, and unknown ones are 400
//! - administrators are keys and people that may manage keys; a `reviewer` reads; the audit log has the changes of records that the caller may read
//! - a campaign is a draft until its plan is accepted, then active, and completed when its end has passed and nothing is left to do; a status other than pausing and
//!   resuming is 409; periods are months from the start
//! - the deliverables of a campaign may have 100 pieces per period together; agents are told the `attachments`; `templateId` is kept, and the planner decides
//! - retrying an activity of a completed campaign makes the campaign active until nothing is left to do
//! - an activity that cannot go on is `blocked` with `blockedReason`: `campaign_paused`, `budget_cap_reached`, no model; it goes on when the cause ends
//! - activities without a campaign (recurring tasks) have `campaignId: null`; runs may also be `queued` and `running`
//! - an activity waits for the approval of its content; `completed` of its stream then has the status `awaiting_approval`; a revision and a rejection both run it again
//! - approvals expire after seven days, which fails their activities; `revision_requested` makes the status `rejected`; `approval_expiring` comes once, a day before
//! - `output` of an activity without one is 422; the output of an activity awaiting approval can be read
//! - a lead of another dialect has the status that its own stands for; the last word of a whole name is the last name; `score` is computed unless it was set
//! - of requests for content those of administrators are approved; one whose approval expires is rejected; a piece that is asked for at a later time is not published
//!   by itself, and `publications` says so; `blogPostId` is the id of the activity that writes it
//! - recurring tasks are templates of the program, off until somebody switches them on; `trigger` is a cron expression in UTC
//! - a channel is connected at `/dashboard/v1/channels/callback`, which needs no key: the state is a secret, valid once and for ten minutes; `redirectUrl` is below
//!   `public_url` or one of `channel_redirects`, else 422; a platform without a client id and secret is 422
//! - the health of a channel is the mean of completeness (connected, account known, access lasts, all scopes granted) and of its pieces of the last 30 days against the
//!   targets of its deliverables
//! - goals are the deliverables of active campaigns in their current period, compared with the period before
//! - advertising figures come from CSV exports at `POST /dashboard/v1/paid-ads/import`, and from the platforms themselves at `POST /dashboard/v1/paid-ads/fetch`; the rules of the classes are in `agency::ads`
//! - a report is a web page, too, with the stored figures as charts: `GET /dashboard/v1/reports/{reportId}/page`; `/pdf` instead of `/page` prints it, with the Chromium or Chrome of the machine
//! - chat answers from every dataset that the caller may read, without a model by the best sentences; `completed` has the citations, too; a conversation belongs to the
//!   person or the key that began it
//! - spending groups by agent when absent; a change of a skill of the platform is 403; a removed person is `inactive`
//! - `files` of a dataset holds the first 500; `filesNextCursor` continues at `/kb/v1/datasets/{id}/documents`

mod activities;
mod campaigns;
mod chat;
mod connections;
mod crawl;
mod datasets;
mod figures;
pub(crate) mod files;
mod leads;
mod operations;
mod search;
mod shapes;
mod skill_forms;
mod streams;
mod team;
pub mod wire;
mod work;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::{DashboardFault, Pagination, Problem};

use super::Service;
use super::dialect::{self, Dialect};
use super::document::{Describe, plain};
use super::operation::{Data, Performed};
use crate::error::{Error, Result};
use crate::records::kind::Kind;
pub(super) use datasets::{DatasetSummary, FileRecord};
pub(super) use search::SearchMetadata;

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/dashboard/v1/";

static DIALECT: Dialect = Dialect {
    tag: "leadmetrics dashboard",
    prefix: "/dashboard/v1",
    operations: &[operations::ALL],
    secrets: wire::SECRETS,
    enter: None,
    limits_failures: false,
    admit: |_, _| Ok(HeaderMap::new()),
    query: wire::query,
    needs_json: false,
    key_member: None,
    view: Kind::to_json,
    envelope,
    fault,
    describe: Describe {
        fault: "DashboardFault",
        schemas,
        answer: |_| plain(Type::Object).build().into(),
        parameter: |_, _| Some(plain(Type::String).build().into()),
    },
};

fn fault(error: Error) -> Response {
    Problem(error).into_response()
}

/// Returns a single object as it is, and a list with its pagination.
fn envelope(done: Performed, _: &str) -> Result<Value> {
    match done.data {
        Data::One(data) => Ok(data),
        Data::Many(items, next) => {
            let pagination: Pagination = next.into();
            Ok(json!({"data": items, "pagination": pagination}))
        }
        Data::Page(..) | Data::Counted(..) => {
            Err(Error::internal("lists of this dialect have cursors"))
        }
    }
}

fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        ("DashboardFault".to_owned(), DashboardFault::schema()),
        ("Pagination".to_owned(), Pagination::schema()),
    ];
    <DashboardFault as ToSchema>::schemas(&mut schemas);
    schemas
}

pub(super) fn routes() -> OpenApiRouter<Service> {
    dialect::routes(&DIALECT)
        .routes(routes!(leads::import))
        .routes(routes!(skill_forms::create))
        .routes(routes!(skill_forms::update))
        .routes(routes!(chat::send))
        .routes(routes!(connections::callback))
        .routes(routes!(figures::import))
        .routes(routes!(figures::fetch))
        .routes(routes!(work::report_page))
        .routes(routes!(work::report_pdf))
        .routes(routes!(streams::activity))
        .routes(routes!(streams::team))
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::get))
        .routes(routes!(datasets::update_config))
        .routes(routes!(datasets::reindex))
        .routes(routes!(crawl::config, crawl::start))
        .routes(routes!(crawl::progress))
        .merge(files::routes())
        .routes(routes!(search::search))
}
