//! Evaluation: search defaults and their history, query history, feedback, query sets, runs, comparison, calibration and tuning.

mod defaults;
mod history;
mod runs;
mod sets;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Service;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(defaults::get_defaults, defaults::set_defaults))
        .routes(routes!(defaults::undo_defaults))
        .routes(routes!(
            history::list_history,
            history::set_history,
            history::forget_history
        ))
        .routes(routes!(history::replay))
        .routes(routes!(history::feedback))
        .routes(routes!(sets::list_sets, sets::create_set))
        .routes(routes!(sets::get_set, sets::remove_set))
        .routes(routes!(sets::add_queries))
        .routes(routes!(sets::remove_query))
        .routes(routes!(sets::synthetic))
        .routes(routes!(sets::import))
        .routes(routes!(runs::list_runs, runs::create_run))
        .routes(routes!(runs::tune_set))
        .routes(routes!(runs::get_run, runs::remove_run))
        .routes(routes!(runs::compare_runs))
        .routes(routes!(runs::calibrate_run))
}
