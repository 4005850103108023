//! Health, readiness and metrics endpoints.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::native::wire::{Auth, Fault, Problem};
use crate::auth::Scope;
use crate::db::args;
use crate::error::{Error, Result};
use crate::jobs;

/// Handle of the metrics rendered at `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics(Option<PrometheusHandle>);

impl Metrics {
    /// Installs the metrics recorder of the process. Only one can be installed, so tests use [`Metrics::none`].
    ///
    /// # Errors
    /// When a recorder is already installed.
    pub fn install() -> Result<Self> {
        let failed = |e: metrics_exporter_prometheus::BuildError| {
            Error::internal("metrics cannot be recorded").with_source(e)
        };
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_seconds".to_owned()),
                &[
                    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
                ],
            )
            .map_err(failed)?
            .install_recorder()
            .map_err(failed)?;
        describe();
        Ok(Self(Some(handle)))
    }

    /// Returns a handle that renders nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }
}

fn describe() {
    metrics::describe_counter!(
        "cairn_http_requests_total",
        "Completed requests, by method, route and status."
    );
    metrics::describe_histogram!(
        "cairn_http_request_duration_seconds",
        "Time until the response started."
    );
    metrics::describe_histogram!("cairn_search_seconds", "Search duration.");
    metrics::describe_histogram!(
        "cairn_ingest_document_seconds",
        "Time from claiming a document until its rows are complete."
    );
    metrics::describe_counter!("cairn_documents_ingested_total", "Documents ingested.");
    metrics::describe_counter!(
        "cairn_documents_failed_total",
        "Documents that could not be parsed, by code."
    );
    metrics::describe_counter!("cairn_texts_embedded_total", "Texts embedded.");
    metrics::describe_counter!(
        "cairn_embeddings_reused_total",
        "Texts whose embedding was reused."
    );
    metrics::describe_counter!("cairn_jobs_finished_total", "Jobs by kind and outcome.");
    metrics::describe_counter!(
        "cairn_index_errors_total",
        "Failed attempts to apply the index log, by index."
    );
    metrics::describe_gauge!(
        "cairn_index_lag_entries",
        "Index log entries that an index has not applied yet."
    );
    metrics::describe_gauge!(
        "cairn_indexes_failing",
        "Indexes whose last attempt to apply the index log failed; must be 0."
    );
    metrics::describe_gauge!(
        "cairn_indexes_building",
        "Indexes that are being rebuilt from the rows or are not open yet."
    );
    metrics::describe_counter!(
        "cairn_search_degraded_total",
        "Searches without vectors or without a complete index."
    );
    metrics::describe_gauge!("cairn_connections", "Open connections.");
    metrics::describe_counter!(
        "cairn_connections_refused_total",
        "Connections refused, by the limit that was exceeded."
    );
    metrics::describe_gauge!("cairn_jobs", "Jobs by status.");
    metrics_process::Collector::default().describe();
}

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(health))
        .routes(routes!(readyz))
        .routes(routes!(render))
}

/// State of the process.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Whether the process can serve; clients of Mission Control look at this.
    ok: bool,
    /// `ok`; `starting` while model and indexes are being opened, `building` while an index is incomplete since the start.
    status: &'static str,
    /// Degraded components; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    /// Version of the program.
    version: &'static str,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Reports that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, body = Health)))]
async fn healthz() -> Json<Health> {
    Json(Health::of("ok", Vec::new()))
}

/// Reports that the process is alive, at the address of Mission Control.
#[utoipa::path(get, path = "/health", tag = "system", responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    healthz().await
}

impl Health {
    fn of(status: &'static str, degraded: Vec<String>) -> Self {
        Self {
            ok: status == "ok",
            status,
            degraded,
            version: VERSION,
        }
    }
}

/// Reports whether the process can serve: the database responds, model and indexes are open and, unless configured otherwise, no index is being built.
#[utoipa::path(get, path = "/readyz", tag = "system", responses((status = 200, body = Health), (status = 503, body = Fault)))]
async fn readyz(State(service): State<Service>) -> std::result::Result<Response, Problem> {
    let app = &service.app;
    let live: Vec<(String,)> = app
        .db
        .all("SELECT live_set FROM kb_datasets", args![])
        .await?;
    let summary = app.indexes.summary(live.iter().map(|(set,)| set.as_str()));
    let status = if !app.is_ready() {
        "starting"
    } else if summary.building > 0 {
        "building"
    } else {
        "ok"
    };
    let is_ready = status == "ok" || (status == "building" && app.config.ready_while_building);
    let code = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok((code, Json(Health::of(status, summary.summaries()))).into_response())
}

/// Returns metrics in Prometheus' text format; requires a key with `system:read`.
#[utoipa::path(get, path = "/metrics", tag = "system", security(("key" = [])), responses((status = 200, body = String), (status = "4XX", body = Fault)))]
async fn render(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> std::result::Result<Response, Problem> {
    caller.need(Scope::SystemRead)?;
    for (status, count) in jobs::counts(&service.app.db).await? {
        metrics::gauge!("cairn_jobs", "status" => status.as_str()).set(count as f64);
    }
    metrics_process::Collector::default().collect();
    let text = service
        .metrics
        .0
        .as_ref()
        .map(PrometheusHandle::render)
        .unwrap_or_default();
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response())
}
