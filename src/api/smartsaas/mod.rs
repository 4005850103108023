//! SmartSaaS Agents API, `/protected`: what agents post and look up for their user.
//!
//! Where the contract is silent (it prints no answers at all), this holds:
//! - a key comes as `Authorization: Bearer <key>` or alone; success is `{"success": true, "data": …}`, 201 when something was made; lists have `pagination`
//!   with `page`, `limit`, `total`, `pages`; errors are `{"success": false, "error": {"code", "reason", "message", "requestId"}}`
//! - every list takes `page` (from 1), `limit` (1 to 100, 10 when absent), `sortBy` (`updatedAt`, `createdAt`, `title`), `sortOrder`
//! - a record is what was sent, with `id` (and `_id`), `kind`, `title`, `status`, `createdBy` (the key), `createdAt`, `updatedAt`, and `documentId`, under which search
//!   knows it; a title may come as `title` or `name`, and is otherwise taken from the text
//! - every record's text is searchable by those who may read its area, in a dataset with the id `<area>~<tenant>`; hits carry `documentMetadata.recordId`
//! - `findings`, `content` and `summary` are kept under their names, and all are searched; one of them, or a title, must be there
//! - research answers with `duplicates`: earlier knowledge that says nearly the same; `supersedes` names a record whose place a new one takes
//! - `dataTags`, `tags` and `sources` may be lists of lists, which are flattened; `dataSchema` lists columns as names, `[name, type]` or `{name, type, required}`; rows
//!   are checked against it, and fields without a column are kept; `company` is ignored, because the key knows it
//! - a folder is named in paths by its id or by its exact title; `/content` answers with the folder, the folders in it and its rows
//! - folders can be changed and removed, and their rows uploaded, queried, exported, changed and removed one by one, under `/data/folders/{id}`
//! - `DELETE /protected/business-plans` takes the id as query parameter `id` or in the body
//! - a project whose status is `completed` or `done` is completed; statuses are otherwise free words
//! - a campaign has `stages` (new, contacted, qualified, proposal, won when it names none), and may bring `leads`, each with `stageIndex` or `stage`; `POST /sales/crm` and
//!   `/sales/funnel` read, and need `sales:read`; pages count from 1, and 0 is the first, too
//! - a stage is named by its name, its position, or the id that it was given with the campaign; a lead is in one campaign at a time
//! - a key hears at `/kb/v1/events` what it pushed itself, also without `kb:read`
//! - not served: the app's own calendar, mail, timeline, competitors, agents' rules and the long-polling bridge
//! - `POST /templates/media` takes a JSON record with a `url`, or text; it is no upload
//! - `company:*` stands for users, data, knowledge, business plans, sales and templates, `organiser:*` for projects, `integrations:*` for data and knowledge, `admin:*` for all
//! - of `message` and `chunk` in one push the chunk follows the message; a push with neither, and without a task, is an error; a task may go back in its status

mod channel;
mod data;
mod knowledge;
mod plans;
mod projects;
mod sales;
mod schemas;
mod templates;
pub mod wire;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;

/// What the paths of this dialect begin with, and before that, for clients whose base address is that of the host.
const PREFIX: &str = "/protected";
/// See [`PREFIX`].
pub(super) const BEFORE: &str = "/api";

/// Whether a path belongs to this dialect.
pub(super) fn owns(path: &str) -> bool {
    canonical(path).starts_with(PREFIX) || path.starts_with("/api/sales/")
}

/// A route of this dialect as the OpenAPI document has it; other routes stay as they are.
pub(super) fn canonical(route: &str) -> &str {
    match route.strip_prefix(BEFORE) {
        Some(rest) if rest.starts_with(PREFIX) => rest,
        _ => route,
    }
}

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(channel::users))
        .routes(routes!(channel::push))
        .routes(routes!(data::list, data::create))
        .routes(routes!(data::folder, data::update, data::remove))
        .routes(routes!(data::content))
        .routes(routes!(data::schema))
        .routes(routes!(data::append))
        .routes(routes!(data::upload))
        .routes(routes!(data::query))
        .routes(routes!(data::export))
        .routes(routes!(data::row, data::update_row, data::remove_row))
        .routes(routes!(knowledge::list, knowledge::add))
        .routes(routes!(knowledge::knowledge))
        .routes(routes!(knowledge::research))
        .routes(routes!(plans::list, plans::create, plans::remove))
        .routes(routes!(plans::plan, plans::remove_named))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::detail))
        .routes(routes!(projects::completed))
        .routes(routes!(projects::packages, projects::add_package))
        .routes(routes!(projects::tasks, projects::add_task))
        .routes(routes!(projects::update_task))
        .routes(routes!(projects::update_task_of))
        .routes(routes!(projects::add_team))
        .routes(routes!(projects::add_member))
        .routes(routes!(sales::campaigns, sales::create_campaign))
        .routes(routes!(sales::put_campaign))
        .routes(routes!(sales::crm, sales::query_crm))
        .routes(routes!(sales::funnel, sales::query_funnel))
        .routes(routes!(sales::forecasts, sales::create_forecast))
        .routes(routes!(sales::analytics))
        .routes(routes!(templates::list, templates::create))
        .routes(routes!(templates::update_email))
        .routes(routes!(templates::update_webpage))
        .routes(routes!(schemas::folder))
        .routes(routes!(schemas::project))
        .routes(routes!(schemas::package))
        .routes(routes!(schemas::task))
        .routes(routes!(schemas::knowledge))
        .routes(routes!(schemas::plan))
        .routes(routes!(schemas::campaign))
        .routes(routes!(schemas::forecast))
        .routes(routes!(schemas::template))
}

/// The operations of the app itself that scripts of agents call; they have one address.
pub(super) fn app_routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(sales::create_lead))
        .routes(routes!(sales::add_lead))
        .routes(routes!(sales::move_lead))
}
