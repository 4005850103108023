//! Whole responses of each dialect, as their clients see them. Ids and times are replaced by words.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service};

/// Compares a response with its snapshot.
fn compare(name: &str, response: &Value) {
    insta::with_settings!({
        prepend_module_to_snapshot => false,
        filters => [
            (r"[0-9A-HJKMNP-TV-Z]{26}", "ULID"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            (r#"(?m)^(\s*"\w*(?:[mM]s|illiseconds|_ms)": )[\d.]+"#, "${1}0"),
        ],
    }, {
        insta::assert_json_snapshot!(name, response);
    });
}

/// Sends a request and returns the answer, which must have a status.
async fn answer(
    service: &Service,
    method: Method,
    path: &str,
    body: Option<Value>,
    expected: StatusCode,
) -> Value {
    let (status, answer) = service.call(method, path, body).await;
    assert_eq!(status, expected, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_and_an_error_in_slab5() {
    let service = Service::start(Engine::Sqlite).await;
    let body =
        json!({"name": "Ada Lovelace", "email": "ada@example.test", "custom_fields": {"tier": 1}});
    let made = answer(
        &service,
        Method::POST,
        "/v1/contacts",
        Some(body),
        StatusCode::CREATED,
    )
    .await;
    compare("slab5_contact", &made);
    let refused = answer(
        &service,
        Method::POST,
        "/v1/contacts",
        Some(json!({"email": 1})),
        StatusCode::BAD_REQUEST,
    )
    .await;
    compare("slab5_error", &refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_article_and_an_error_in_smartsaas() {
    let service = Service::start(Engine::Sqlite).await;
    let body = json!({"title": "Tides", "content": "The tide turns at noon."});
    let made = answer(
        &service,
        Method::POST,
        "/protected/business-plans",
        Some(body),
        StatusCode::CREATED,
    )
    .await;
    compare("smartsaas_plan", &made);
    let refused = answer(
        &service,
        Method::GET,
        "/protected/business-plans/01ARZ3NDEKTSV4RRFFQ69G5FAV",
        None,
        StatusCode::NOT_FOUND,
    )
    .await;
    compare("smartsaas_error", &refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_and_an_error_in_the_dashboard() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("harbour").await;
    let file = service
        .add(&dataset, "tides.md", "The tide turns at noon.")
        .await;
    let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{file}/status");
    compare("dashboard_file_status", &service.get(&path).await);
    let refused = answer(
        &service,
        Method::GET,
        "/dashboard/v1/knowledge-base/datasets/01ARZ3NDEKTSV4RRFFQ69G5FAV/files/01ARZ3NDEKTSV4RRFFQ69G5FAV/status",
        None,
        StatusCode::NOT_FOUND,
    )
    .await;
    compare("dashboard_error", &refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_and_an_error_in_the_native_api() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("harbour").await;
    service
        .add(&dataset, "tides.md", "# Tides\n\nThe tide turns at noon.\n")
        .await;
    let body = json!({"query": "tide", "datasetIds": [dataset], "hybridAlpha": 0.0});
    compare("search", &service.post("/kb/v1/search", body).await);
    let refused = answer(
        &service,
        Method::POST,
        "/kb/v1/search",
        Some(json!({"query": "tide", "datasetIds": ["none"]})),
        StatusCode::NOT_FOUND,
    )
    .await;
    compare("search_error", &refused);
}
