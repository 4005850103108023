//! The dashboard contract beside its knowledge base: every operation once, whole stories with scripted models, and each rule by itself.

mod connections;
mod contract;
mod killed;
mod rules;
mod services;
mod story;

use cairn::db::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::eventually;
use crate::support::model::Model;
use crate::support::{Engine, Service, text};

/// Prefix of the dialect.
pub const BASE: &str = "/dashboard/v1";

pub async fn get(service: &Service, path: &str) -> Value {
    service.get(&format!("{BASE}{path}")).await
}

pub async fn post(service: &Service, path: &str, body: Value) -> Value {
    service.post(&format!("{BASE}{path}"), body).await
}

pub async fn patch(service: &Service, path: &str, body: Value) -> Value {
    let (status, answer) = service
        .call(Method::PATCH, &format!("{BASE}{path}"), Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

/// Status, code and reason of a request that is refused.
pub async fn refused(
    service: &Service,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, String, String) {
    let (status, answer) = service.call(method, &format!("{BASE}{path}"), body).await;
    assert!(status.is_client_error(), "{path}: {status} {answer}");
    let error = &answer["error"];
    (
        status.as_u16(),
        text(&error["code"]),
        text(&error["reason"]),
    )
}

/// A service whose agents use a model by an adapter, at 1 and 10 dollars per million tokens.
pub async fn with_model(engine: Engine, model: &Model, adapter: &str) -> Service {
    let (url, adapter) = (model.url.clone(), adapter.to_owned());
    Service::start_with(engine, move |config| {
        config.agent_models = format!("{adapter}/scripted=1/10");
        config.agent_openai_url = format!("{url}/v1");
        config.agent_claude_url = format!("{url}/v1");
        config.agent_ollama_url = url;
        config.agent_openai_key = "key".to_owned();
        config.agent_claude_key = "key".to_owned();
    })
    .await
}

/// Waits until an activity has a status.
pub async fn reaches(service: &Service, id: &str, status: &str) -> Value {
    let path = format!("/activities/{id}");
    eventually!(within 60, activity in get(service, &path).await, "activity reaches {status}", activity["status"] == status)
}

/// The activities of a campaign that satisfy a condition.
pub async fn activities(service: &Service, query: &str) -> Vec<Value> {
    let all = get(service, &format!("/activities?limit=200&{query}")).await;
    all["data"].as_array().expect("a list").clone()
}

/// A campaign with a deliverable; gives its id.
pub async fn campaign(service: &Service, deliverable: &str, cap: Option<f64>) -> String {
    let body = json!({"name": "Spring", "brief": "Sell lighthouses to towns.", "deliverables": [{"type": deliverable, "quantity": 1}], "budgetCapUsd": cap});
    text(&post(service, "/campaigns", body).await["id"])
}

/// Looks after the team, as happens every five minutes.
pub async fn tend(service: &Service) {
    let (tenant,): (String,) = service
        .app
        .db
        .one("SELECT id FROM tenants", Args::default())
        .await
        .expect("a tenant");
    cairn::agents::tend(&service.app, &tenant)
        .await
        .expect("tends");
}

/// The whole body of an answer that is no JSON.
pub async fn shown(service: &Service, path: &str) -> String {
    let response = service
        .http
        .get(format!("{}{BASE}{path}", service.url))
        .bearer_auth(&service.key)
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.expect("a text")
}

/// The events of a stream, until it ends.
pub async fn stream(service: &Service, path: &str) -> Vec<(String, Value)> {
    let body = shown(service, path).await;
    body.split("\n\n")
        .filter(|event| event.contains("data:"))
        .map(|event| {
            let of = |name: &str| {
                let line = event.lines().find_map(|l| l.strip_prefix(name));
                line.unwrap_or_else(|| panic!("{event}")).trim().to_owned()
            };
            (
                of("event:"),
                serde_json::from_str(&of("data:")).expect("JSON"),
            )
        })
        .collect()
}
