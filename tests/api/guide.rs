//! The guide: documents as pages, for everybody, without scripts.

use regex::Regex;

use crate::support::{Engine, Service};

async fn page(service: &Service, path: &str) -> (u16, String, String) {
    // Without a key.
    let http = reqwest::Client::new();
    let response = http
        .get(format!("{}{path}", service.url))
        .send()
        .await
        .expect("an answer");
    let policy = response.headers().get("content-security-policy");
    let policy = policy
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (status, policy) = (response.status().as_u16(), policy.to_owned());
    (status, policy, response.text().await.expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_the_guide_is_there() {
    let service = Service::start(Engine::Sqlite).await;
    let links = Regex::new("href=\"(/docs/guide[^\"#]*)").expect("a pattern");
    let mut waiting = vec!["/docs/guide".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let (status, _, html) = page(&service, &path).await;
        assert_eq!(status, 200, "{path}");
        waiting.extend(links.captures_iter(&html).map(|link| link[1].to_owned()));
    }
    assert!(seen.len() > 20, "{seen:?}");
    let picture = page(&service, "/docs/guide/src/api/sandbox/screenshot.png").await;
    assert_eq!(picture.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_guide_executes_nothing() {
    let service = Service::start(Engine::Sqlite).await;
    let (_, policy, html) = page(&service, "/docs/guide?q=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!html.contains("<script"), "{html}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_is_searched() {
    let service = Service::start(Engine::Sqlite).await;
    let (_, _, html) = page(&service, "/docs/guide?q=watched+folders").await;
    assert!(
        html.contains("/docs/guide/src/sources/README.md#"),
        "{html}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_page_of_the_guide_is_told() {
    let service = Service::start(Engine::Sqlite).await;
    let (status, _, body) = page(&service, "/docs/guide/src/unknown.md").await;
    assert_eq!(status, 404, "{body}");
}
