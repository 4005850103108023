//! Tools of integrations, against services of our own; and reports as PDF files.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode as Code;
use axum::response::{IntoResponse, Response};
use cairn::db::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{piece, planned};
use super::{BASE, campaign, get, post, reaches, refused};
use crate::support::model::{Model, Say};
use crate::support::{Engine, Service, text};

/// Requests that the services have received: path with query, and the key.
type Received = Arc<Mutex<Vec<(String, String)>>>;

fn header(request: &Request, name: &str) -> String {
    let value = request.headers().get(name).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn answer(State(received): State<Received>, request: Request) -> Response {
    let url = request.uri().to_string();
    let path = request.uri().path().to_owned();
    let key = header(&request, "authorization");
    let token = header(&request, "developer-token");
    let all = format!("{key} {token}");
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
    let body = String::from_utf8_lossy(&body.expect("a body")).into_owned();
    received.lock().expect("received").push((url.clone(), all));
    if key.contains("used-up-soon") && !url.contains("limits-and-usage") {
        return Code::PAYMENT_REQUIRED.into_response();
    }
    match path.as_str() {
        "/v24/customers/1234567890/googleAds:search" => {
            let metrics = json!({"costMicros": "12500000", "impressions": "100", "clicks": "7", "conversions": 2.0});
            let campaign = json!({"name": "Spring", "status": "ENABLED"});
            let mut row = json!({"campaign": campaign, "metrics": metrics});
            if body.contains("search_term_view") {
                row["searchTermView"] = json!({"searchTerm": "tide tables"});
            }
            Json(json!({"results": [row]})).into_response()
        }
        "/v24.0/act_77/insights" => Json(json!({"data": [
            {"campaign_name": "Summer", "spend": "3.20", "impressions": "40", "clicks": "2"}
        ]}))
        .into_response(),
        "/v3/site-explorer/refdomains" => Json(json!({"refdomains": [
            {"domain": "harbours.example", "domain_rating": 61.0, "links_to_target": 3, "internal": true}
        ]}))
        .into_response(),
        _ => Json(json!({})).into_response(),
    }
}

async fn services() -> (String, Received) {
    let received = Received::default();
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

/// A service whose backlink researcher asks Ahrefs once, and then writes what it was told.
async fn with_researcher() -> (Service, Model) {
    let model = planned(|asked| match asked.results {
        0 => Say::call(
            "ahrefs_referring_domains",
            json!({"domain": "https://towns.example/about"}),
        ),
        _ => Say::text(if asked.body.to_string().contains("harbours.example") {
            "Ask harbours.example."
        } else {
            "Nothing was found."
        }),
    })
    .await;
    (with(&model).await, model)
}

/// A service with a scripted model, which may reach services on this machine.
async fn with(model: &Model) -> Service {
    let url = model.url.clone();
    Service::start_with(Engine::Sqlite, move |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
        config.agent_models = "openai/scripted=1/10".to_owned();
        config.agent_openai_url = format!("{url}/v1");
    })
    .await
}

fn last_request(model: &Model) -> Value {
    let asked = model.asked.lock().expect("asked");
    asked.last().expect("a request to the model").body.clone()
}

async fn integrated(service: &Service, kind: &str, key: &str, address: &str) -> Value {
    let body = json!({"integrationType": kind, "name": kind, "apiKey": key, "apiSecret": "word-of-developer", "extraConfig": {"baseUrl": address}});
    let made = post(service, "/integrations", body).await;
    assert_eq!(made["status"], "connected", "{made}");
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_asks_a_connected_service_and_is_told_the_figures() {
    let (address, received) = services().await;
    let (service, model) = with_researcher().await;
    integrated(&service, "ahrefs", "key-of-ahrefs-1", &address).await;
    let made = piece(&service, &campaign(&service, "backlink", None).await).await;
    let done = reaches(&service, &made, "done").await;
    assert!(
        text(&done["outputPreview"]).contains("harbours.example"),
        "{done}"
    );
    let received = received.lock().expect("received").clone();
    let (asked, key) = received.last().expect("a request");
    assert!(
        asked.contains("target=towns.example&") && asked.contains("select=domain"),
        "{asked}"
    );
    assert!(key.starts_with("Bearer key-of-ahrefs-1"), "{key}");
    let last = last_request(&model).to_string();
    assert!(
        !last.contains("internal\\\":true") && last.contains("rating"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_only_given_the_tools_of_connected_services() {
    let (address, _) = services().await;
    let (service, model) = with_researcher().await;
    integrated(&service, "ahrefs", "key-of-ahrefs-1", &address).await;
    let made = piece(&service, &campaign(&service, "backlink", None).await).await;
    reaches(&service, &made, "done").await;
    let offered = last_request(&model)["tools"].to_string();
    assert!(offered.contains("ahrefs_referring_domains"), "{offered}");
    assert!(!offered.contains("dataforseo_search_results"), "{offered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_is_told_to_the_agent_and_shown_to_people() {
    let (address, _) = services().await;
    let (service, _model) = with_researcher().await;
    let made = integrated(&service, "ahrefs", "key-used-up-soon", &address).await;
    let piece = piece(&service, &campaign(&service, "backlink", None).await).await;
    let done = reaches(&service, &piece, "done").await;
    assert!(
        text(&done["outputPreview"]).contains("Nothing was found"),
        "{done}"
    );
    let all = get(&service, "/integrations").await;
    assert_eq!(
        (&all["data"][0]["id"], &all["data"][0]["status"]),
        (&made["id"], &json!("quota_exceeded"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_key_is_not_sent_to_another_address() {
    let (address, received) = services().await;
    let (service, _model) = with_researcher().await;
    let made = integrated(&service, "ahrefs", "key-of-ahrefs-1", &address).await;
    let path = format!("/integrations/{}", text(&made["id"]));
    let before = received.lock().expect("received").len();
    let moved = json!({"extraConfig": {"baseUrl": "http://127.0.0.1:1"}});
    let refused = refused(&service, Method::PATCH, &path, Some(moved)).await;
    assert_eq!((refused.0, refused.2.as_str()), (422, "credential_missing"));
    assert_eq!(received.lock().expect("received").len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_answers_without_a_task_is_told_to_the_agent() {
    let (address, _) = services().await;
    let model = planned(|asked| match asked.results {
        0 => Say::call(
            "dataforseo_search_results",
            json!({"keyword": "tide tables"}),
        ),
        _ => Say::text(if asked.contains("the task was not done") {
            "No results."
        } else {
            "Results."
        }),
    })
    .await;
    let service = with(&model).await;
    integrated(&service, "dataforseo", "login-1", &address).await;
    let made = piece(&service, &campaign(&service, "backlink", None).await).await;
    let done = reaches(&service, &made, "done").await;
    assert!(
        text(&done["outputPreview"]).contains("No results"),
        "{done}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_developer_token_of_google_ads_is_a_header() {
    let (address, received) = services().await;
    let (service, _model) = with_researcher().await;
    integrated(&service, "google_ads_api", "key-of-google-1", &address).await;
    let received = received.lock().expect("received").clone();
    assert_eq!(received[0].1, "Bearer key-of-google-1 word-of-developer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_fetched_from_advertising_platforms_and_replace_themselves() {
    let (address, _) = services().await;
    let (service, _model) = with_researcher().await;
    let add = async |kind: &str, config: Value| {
        let mut config = config;
        config["baseUrl"] = json!(address);
        let body = json!({"integrationType": kind, "name": kind, "apiKey": "key-of-ads-1", "apiSecret": "word", "extraConfig": config});
        post(&service, "/integrations", body).await;
    };
    let missing = json!({"platform": "google_ads"});
    let (code, ..) = refused(&service, Method::POST, "/paid-ads/fetch", Some(missing)).await;
    assert_eq!(code, 422);
    add("google_ads_api", json!({"customerId": "123-456-7890"})).await;
    add("meta_ads_api", json!({"adAccountId": "act_77"})).await;
    for _ in 0..2 {
        let made = post(
            &service,
            "/paid-ads/fetch",
            json!({"platform": "google_ads", "days": 7}),
        )
        .await;
        assert_eq!(
            (&made["campaigns"], &made["searchTerms"]),
            (&json!(1), &json!(1)),
            "{made}"
        );
    }
    let made = post(&service, "/paid-ads/fetch", json!({"platform": "meta_ads"})).await;
    assert_eq!(
        (&made["campaigns"], &made["searchTerms"]),
        (&json!(1), &json!(0)),
        "{made}"
    );
    let (rows,): (i64,) = service
        .app
        .db
        .one("SELECT COUNT(*) FROM records WHERE kind IN ('agency_ad_campaign', 'agency_search_term')", Args::default())
        .await
        .expect("rows");
    assert_eq!(rows, 3);
    let far = json!({"platform": "meta_ads", "days": 400});
    assert_eq!(
        refused(&service, Method::POST, "/paid-ads/fetch", Some(far))
            .await
            .2,
        "days_out_of_range"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_can_be_given_tools_of_integrations() {
    let (service, _model) = with_researcher().await;
    let path = format!("{BASE}/agents/email-writer");
    let tools = json!({"toolNames": ["save_output", "semrush_keyword_research"]});
    let (status, changed) = service.call(Method::PATCH, &path, Some(tools)).await;
    assert_eq!(
        (status.as_u16(), &changed["toolNames"][1]),
        (200, &json!("semrush_keyword_research")),
        "{changed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_printed_as_pdf() {
    let service = Service::start(Engine::Sqlite).await;
    let run = post(
        &service,
        "/recurring-tasks/monthly-performance-report/run",
        json!({}),
    )
    .await;
    reaches(&service, &text(&run["activityId"]), "done").await;
    let reports = get(&service, "/reports").await;
    let path = format!(
        "{}{BASE}/reports/{}/pdf",
        service.url,
        text(&reports["data"][0]["id"])
    );
    let response = service
        .http
        .get(path)
        .bearer_auth(&service.key)
        .send()
        .await
        .expect("a response");
    assert_eq!(response.headers()["content-type"], "application/pdf");
    let file = response.bytes().await.expect("a file");
    let input = cairn_ingest::Input {
        file_name: "report.pdf",
        bytes: &file,
        ..Default::default()
    };
    let read = cairn_ingest::parse::parse(&input).expect("a document").text;
    assert!(
        read.contains("Performance report") && read.contains("Figures"),
        "{read}"
    );
}
