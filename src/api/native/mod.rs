//! `/kb/v1`: Cairn's own API, which extends the contracts.

mod access;
mod access_log;
mod agents;
mod answer;
mod audit;
mod channel;
pub(crate) mod chunks;
mod citations;
pub(crate) mod crawls;
mod datasets;
mod evaluation;
mod events;
mod feedback;
mod generations;
mod invites;
mod jobs;
mod original;
mod roles;
mod search;
mod session;
mod sources;
mod tenants;
mod users;
mod vectors;
pub mod wire;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
pub(crate) use access::{CreatedKey, KeyRecord, time};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(datasets::list, datasets::create))
        .routes(routes!(datasets::remove))
        .routes(routes!(datasets::documents, datasets::upload))
        .routes(routes!(
            datasets::document,
            datasets::update_document,
            datasets::remove_document
        ))
        .merge(chunks::routes())
        .merge(generations::routes())
        .merge(evaluation::routes())
        .merge(crawls::routes())
        .merge(sources::routes())
        .routes(routes!(datasets::why))
        .routes(routes!(datasets::text))
        .routes(routes!(original::file))
        .routes(routes!(vectors::store))
        .routes(routes!(search::search))
        .routes(routes!(search::candidates))
        .routes(routes!(answer::answer))
        .routes(routes!(search::why_not))
        .routes(routes!(audit::list))
        .routes(routes!(access_log::list))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::update, users::remove))
        .routes(routes!(users::link))
        .routes(routes!(users::datasets, users::set_datasets))
        .routes(routes!(invites::list, invites::create))
        .routes(routes!(invites::remove))
        .routes(routes!(agents::list, agents::create))
        .routes(routes!(agents::update, agents::remove))
        .routes(routes!(agents::rotate))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get))
        .routes(routes!(tenants::set_quotas))
        .routes(routes!(tenants::own_usage))
        .routes(routes!(feedback::list))
        .routes(routes!(feedback::answer))
        .routes(routes!(access::list_keys, access::create_key))
        .routes(routes!(access::revoke_key))
        .routes(routes!(access::settings))
        .routes(routes!(access::list_modules))
        .routes(routes!(access::set_module))
        .routes(routes!(session::show, session::begin, session::end))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(citations::resolve))
        .routes(routes!(citations::verify))
        .routes(routes!(channel::conversations))
        .routes(routes!(channel::messages))
        .routes(routes!(channel::tasks))
        .routes(routes!(events::listen))
}
