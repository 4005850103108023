//! HTTP: the router of all dialects, the middleware of every request, and the OpenAPI document generated from the handlers.

mod admission;
pub(crate) mod clawcrm;
mod dialect;
mod dify;
mod document;
mod documents_form;
mod examples;
mod extract;
pub(crate) mod fault;
pub(crate) mod guide;
mod langserve;
pub mod leadmetrics;
mod login;
pub(crate) mod mcp;
pub mod mission_control;
pub(crate) mod native;
mod openai;
mod openapi;
mod operation;
mod paging;
mod passage;
mod ragflow;
mod rerank;
mod retrieved;
mod sandbox;
mod secret;
pub mod server;
mod session_cookie;
mod shape;
pub(crate) mod slab5;
pub mod smartsaas;
mod stream;
mod system;
mod tools;
pub(crate) mod upload;

use std::sync::Arc;

use admission::Admission;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::error::{Error, Result};
pub use passage::request_id;
pub use system::Metrics;

/// Path of the OpenAPI document.
const DOCUMENT: &str = "/openapi.json";

/// State shared by all handlers.
#[derive(Debug, Clone)]
pub struct Service {
    pub app: Arc<App>,
    /// Metrics rendered at `/metrics`.
    pub metrics: Metrics,
    /// Sign-ups by client address.
    signups: Arc<clawcrm::signup::Signups>,
}

fn routes() -> OpenApiRouter<Service> {
    let mut router = OpenApiRouter::with_openapi(openapi::document())
        .merge(leadmetrics::routes())
        .merge(native::routes())
        .merge(smartsaas::routes())
        .merge(smartsaas::app_routes())
        .merge(slab5::routes())
        .merge(clawcrm::routes())
        .merge(mission_control::routes())
        .merge(dify::routes())
        .merge(ragflow::routes())
        .merge(langserve::routes())
        .merge(openai::routes())
        .merge(rerank::routes())
        .merge(system::routes());
    openapi::finish(router.get_openapi_mut());
    router
}

/// Returns the OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

/// Returns the router of the whole service.
///
/// # Errors
/// `config_invalid` for malformed origins.
pub fn router(app: Arc<App>, metrics: Metrics) -> Result<Router> {
    let (router, api) = routes().split_for_parts();
    let cors = cors(&app.config.cors_origins)?;
    let admission = Arc::new(Admission::new(&app.config));
    // Serialized once: a clone of the route must share the bytes.
    let json = Bytes::from(serde_json::to_vec(&api)?);
    let json = move || {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        std::future::ready((headers, json.clone()))
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the document itself is not an operation of the document"
    )]
    let router = router.route(DOCUMENT, axum::routing::get(json));
    let docs = SwaggerUi::new("/docs").config(
        utoipa_swagger_ui::Config::from(DOCUMENT)
            .doc_expansion("none")
            .filter(true)
            .display_request_duration(true)
            .persist_authorization(true)
            .try_it_out_enabled(true),
    );
    let compress = CompressionLayer::new()
        .compress_when(DefaultPredicate::new().and(NotForContentType::new("text/event-stream")));
    let (agents, _) = smartsaas::routes().split_for_parts();
    Ok(router
        .nest(smartsaas::BEFORE, agents)
        .merge(mcp::router(
            &app,
            &[&slab5::TOOLS, &clawcrm::TOOLS, &mission_control::TOOLS],
        ))
        .merge(docs)
        .merge(sandbox::router())
        .merge(guide::router())
        .merge(login::router())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(app.config.body_kb << 10))
        .layer(CatchPanicLayer::custom(passage::panicked))
        .layer(from_fn(passage::shape_panics))
        .layer(from_fn_with_state(admission, admission::admit))
        .layer(compress)
        .layer(cors)
        .layer(from_fn_with_state(Arc::clone(&app), passage::observe))
        .layer(from_fn(passage::harden))
        .with_state(Service {
            signups: clawcrm::signup::Signups::new(&app.config),
            app,
            metrics,
        }))
}

/// Returns an error response in the envelope of the dialect that a path belongs to.
pub(crate) fn refuse(path: &str, error: Error) -> Response {
    if smartsaas::owns(path) {
        smartsaas::wire::Problem(error).into_response()
    } else if clawcrm::owns(path) {
        clawcrm::wire::Problem(error).into_response()
    } else if mission_control::owns(path) {
        mission_control::wire::Problem(error).into_response()
    } else if path.starts_with(dify::PREFIX) {
        dify::Problem(error).into_response()
    } else if path.starts_with(ragflow::PREFIX) {
        ragflow::Problem(error).into_response()
    } else if path.starts_with(langserve::PREFIX) {
        langserve::Problem(error).into_response()
    } else if rerank::owns(path) {
        rerank::Problem(error).into_response()
    } else if path.starts_with(openai::PREFIX) {
        openai::Problem(error).into_response()
    } else if path.starts_with(slab5::PREFIX) {
        slab5::wire::Problem(error).into_response()
    } else if path.starts_with(leadmetrics::PREFIX) {
        leadmetrics::wire::Problem(error).into_response()
    } else {
        native::wire::Problem(error).into_response()
    }
}

async fn unknown_route(uri: Uri) -> Response {
    let error = Error::not_found("route_unknown", "route not found; see /docs for all routes");
    refuse(uri.path(), error)
}

async fn wrong_method(uri: Uri) -> Response {
    let message = "this route does not support this method; see /docs for the supported ones";
    refuse(
        uri.path(),
        Error::wrong_method("method_not_allowed", message),
    )
}

fn cors(origins: &str) -> Result<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PATCH,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers([
            HeaderName::from_static("authorization"),
            secret::API_KEY,
            secret::AGENT_TOKEN,
            HeaderName::from_static("content-type"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("retry-after"),
            dialect::TOTAL_COUNT,
            dialect::LIMIT,
            dialect::OFFSET,
        ]);
    let list: Vec<&str> = origins
        .split(',')
        .map(str::trim)
        .filter(|o| !o.is_empty())
        .collect();
    if list == ["*"] {
        return Ok(layer.allow_origin(AllowOrigin::any()));
    }
    let parsed = list
        .iter()
        .map(|o| o.parse())
        .collect::<std::result::Result<Vec<_>, _>>();
    let origins = parsed.map_err(|_| {
        Error::invalid(
            "config_invalid",
            "cors_origins must be origins separated by commas, or *",
        )
    })?;
    Ok(layer.allow_origin(AllowOrigin::list(origins)))
}
