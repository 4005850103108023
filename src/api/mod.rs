//! HTTP: the router of all dialects, the middleware of every request, and the OpenAPI document generated from the handlers.

mod admission;
pub(crate) mod clawcrm;
mod dialect;
mod dify;
mod document;
mod extract;
pub(crate) mod fault;
pub mod leadmetrics;
pub(crate) mod mcp;
pub mod mission_control;
pub(crate) mod native;
mod operation;
mod paging;
mod passage;
mod sandbox;
mod secret;
pub mod server;
mod shape;
pub(crate) mod slab5;
pub mod smartsaas;
mod stream;
mod system;
mod tools;
pub(crate) mod upload;

use std::collections::HashMap;
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
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{PathItem, RefOr};
use utoipa::{Modify, OpenApi};
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

#[derive(OpenApi)]
#[openapi(
    info(title = "Cairn", description = "Knowledge base and hybrid retrieval. Every operation except the system ones requires `Authorization: Bearer <key>`."),
    modifiers(&Bearer),
    components(schemas(crate::kb::filter::Comparison)),
    tags(
        (name = "dashboard", description = "Leadmetrics Dashboard API: knowledge base"),
        (name = "kb", description = "Cairn extensions to it"),
        (name = "agents", description = "SmartSaaS Agents API: research, knowledge, folders, projects, sales, templates, the agent channel"),
        (name = "workspace", description = "Slab5 workspace API: CRM, support, tasks, content, assets, integrations, analytics definitions, business intelligence"),
        (name = "clawcrm", description = "ClawCRM agent API: leads, pipeline, enrichment, campaigns of mails, notes, touchpoints, rules, feedback"),
        (name = "mission-control", description = "OpenClaw Mission Control API: organizations, boards, tasks, approvals, memory, agents, gateways"),
        (name = "compatible", description = "APIs that other tools speak: external knowledge of Dify"),
        (name = "crawl", description = "Websites that feed a dataset: settings, schedules, crawls, the outcome for every address"),
        (name = "evaluation", description = "Retrieval measured on your own data: query sets, runs, tuning, history"),
        (name = "system", description = "Health, metrics, documentation")
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let description = "An API key or an agent token. `/kb/v1` accepts it as X-API-Key and X-Agent-Token, too.";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = SecurityScheme::Http(bearer.description(Some(description)).build());
        api.components
            .get_or_insert_default()
            .add_security_scheme("key", scheme);
    }
}

fn routes() -> OpenApiRouter<Service> {
    let mut router = OpenApiRouter::with_openapi(Document::openapi())
        .merge(leadmetrics::routes())
        .merge(native::routes())
        .merge(smartsaas::routes())
        .merge(smartsaas::app_routes())
        .merge(slab5::routes())
        .merge(clawcrm::routes())
        .merge(mission_control::routes())
        .merge(dify::routes())
        .merge(system::routes());
    describe_responses(router.get_openapi_mut());
    name_operations(router.get_openapi_mut());
    router
}

/// Adds descriptions to responses without one, by their status: OpenAPI requires a description, and generators reject documents without.
fn describe_responses(api: &mut utoipa::openapi::OpenApi) {
    for (_, operation) in api.paths.paths.values_mut().flat_map(operations) {
        for (status, response) in &mut operation.responses.responses {
            let RefOr::T(response) = response else {
                continue;
            };
            if response.description.is_empty() {
                response.description = match status.as_str() {
                    "200" => "Success",
                    "201" => "Created",
                    "202" => "Accepted; the work continues in the background",
                    "204" => "Success, without a body",
                    "507" => "The disk is full",
                    other if other.starts_with('5') => "Internal server error",
                    other if other.starts_with('4') => {
                        "The request cannot be fulfilled; the body gives the reason"
                    }
                    _ => "Response",
                }
                .to_owned();
            }
        }
    }
}

/// Returns the operations of a path with their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Makes operation ids unique: duplicates are replaced by method and path, as in `getKbV1DatasetsDatasetIdDocuments`. Generators derive function names from
/// them.
fn name_operations(api: &mut utoipa::openapi::OpenApi) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for item in api.paths.paths.values_mut() {
        for (_, operation) in operations(item) {
            let id = operation.operation_id.clone().unwrap_or_default();
            *counts.entry(id).or_default() += 1;
        }
    }
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            let id = operation.operation_id.clone().unwrap_or_default();
            if counts.get(&id).is_some_and(|count| *count > 1) {
                let words = path.split(|c: char| !c.is_alphanumeric());
                let mut named = method.to_owned();
                for word in words {
                    let mut letters = word.chars();
                    named.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                    named.push_str(letters.as_str());
                }
                operation.operation_id = Some(named);
            }
        }
    }
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
    let docs = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from(DOCUMENT));
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
