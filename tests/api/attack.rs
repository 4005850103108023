//! What clients do that mean harm, or are merely broken: connections, slow requests, bodies without end, addresses inside the network. Everything here is
//! bounded in number and time.

use std::time::{Duration, Instant};

use cairn::api::{self, Metrics};
use futures::FutureExt;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::eventually;
use crate::support::process::Process;
use crate::support::site::{Site, answer, page};
use crate::support::{Engine, Service, text};

/// Opens a connection and sends something.
async fn connection(address: &str, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(sent.as_bytes()).await.expect("sent");
    stream
}

/// Reads until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A server that closes while there is more to send may reset the connection.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

const HALF_SIGN_IN: &str = "POST /kb/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"key\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_bodies_keep_nobody_waiting() {
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.concurrency = 4;
        config.anonymous_bodies = 1000;
    })
    .await;
    let address = service.url.trim_start_matches("http://");
    let half = join_all((0..100).map(|_| connection(address, HALF_SIGN_IN))).await;
    let began = Instant::now();
    assert_eq!(service.get("/healthz").await["status"], "ok");
    service.dataset("made meanwhile").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{began:?}");
    // Whoever sends nothing more is told so, once the time for coming up to the pace is over.
    let told = rest(half.into_iter().next().expect("a connection")).await;
    assert!(
        told.starts_with("HTTP/1.1 408") && told.contains("body_too_slow"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_sends_few_bodies_without_a_key_at_the_same_time() {
    let service = Service::start_with(Engine::Sqlite, |config| config.anonymous_bodies = 8).await;
    let address = service.url.trim_start_matches("http://");
    let _half = join_all((0..2).map(|_| connection(address, HALF_SIGN_IN))).await;
    let told = loop {
        // The first two may not have been looked at yet.
        let probe = connection(address, HALF_SIGN_IN).await;
        let told = tokio::time::timeout(Duration::from_millis(200), rest(probe)).await;
        if let Ok(told) = told {
            break told;
        }
    };
    assert!(told.starts_with("HTTP/1.1 429"), "{told}");
    let with_key = service
        .call(Method::POST, "/kb/v1/datasets", Some(json!({"name": "d"})))
        .await;
    assert_eq!(with_key.0, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_idle_connections_are_closed() {
    let service = Service::start_with(Engine::Sqlite, |config| config.head_seconds = 1).await;
    let address = service.url.trim_start_matches("http://");
    for sent in ["", "GET /healthz HTTP/1.1\r\nHost:"] {
        let closed = rest(connection(address, sent).await);
        let told = tokio::time::timeout(Duration::from_secs(10), closed).await;
        assert!(!told.expect("closed").contains("200 OK"), "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_gets_through_when_all_connections_are_taken() {
    let service = Service::start_with(Engine::Sqlite, |config| config.connections = 20).await;
    let address = service.url.trim_start_matches("http://");
    let taken = join_all((0..60).map(|_| connection(address, ""))).await;
    let probe = connection(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let told = rest(probe).await;
    assert!(
        told.starts_with("HTTP/1.1 200") && told.contains("connection: close"),
        "{told}"
    );
    drop(taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_costs_little() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Process::start(data.path());
    // What the first ones make the allocator reserve is no cost of a connection.
    let first = join_all((0..50).map(|_| connection(server.address(), ""))).await;
    let before = server.memory();
    let more = join_all((0..900).map(|_| connection(server.address(), ""))).await;
    let last = connection(
        server.address(),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(rest(last.await).await.starts_with("HTTP/1.1 200"));
    let each = server.memory().saturating_sub(before) / 900;
    assert!(each <= 50, "{each} KiB");
    drop((first, more));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_of_the_router_shares_what_it_holds() {
    let service = Service::start(Engine::Sqlite).await;
    let router =
        api::router(std::sync::Arc::clone(&service.app), Metrics::none()).expect("a router");
    let resident = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("readable");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("there");
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a number")
    };
    let before = resident();
    let clones: Vec<axum::Router> = (0..1000).map(|_| router.clone()).collect();
    let each = resident().saturating_sub(before) / 1000;
    assert!(each <= 4, "{each} KiB");
    drop(clones);
    // With its state applied, as other servers clone it, every route is copied, but not what the routes hold: the OpenAPI document alone is 7 MB.
    let before = resident();
    let applied: Vec<axum::Router> = (0..100).map(|_| router.clone().with_state(())).collect();
    let each = resident().saturating_sub(before) / 100;
    assert!(each <= 1500, "{each} KiB");
    drop(applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_of_a_field_without_end_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Process::start(data.path());
    let key = server.admin_key.clone().expect("an admin key");
    let made = server
        .call(
            &key,
            Method::POST,
            "/kb/v1/datasets",
            Some(json!({"name": "d"})),
        )
        .await;
    let dataset = text(&made.expect("created")["id"]);
    for path in [
        format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload"),
        format!("/kb/v1/datasets/{dataset}/preview/upload"),
    ] {
        let before = server.memory();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut stream = connection(server.address(), &head).await;
        let (mut sent, piece) = (0, "x".repeat(1 << 20));
        let first = "1d\r\n--b\r\nContent-Disposition: a=\r\n".to_owned();
        let mut next = first;
        while sent < 100 && stream.write_all(next.as_bytes()).await.is_ok() {
            next = format!("{:x}\r\n{piece}\r\n", piece.len());
            sent += 1;
        }
        assert!(sent < 50, "{sent} MiB were taken");
        assert!(server.memory().saturating_sub(before) < 20_000, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_cannot_lead_the_crawler_into_the_network() {
    let site = Site::start(vec![("/", page("the start", &[]))]).await;
    // Where 0.0.0.0 leads, and where the other forms do.
    let inner = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = inner.local_addr().expect("an address").port();
    let other = TcpListener::bind(("127.0.0.2", port))
        .await
        .expect("a port");
    let service = Service::start_with(Engine::Sqlite, |config| {
        // The site itself is on this machine.
        config.outgoing_allow = site
            .url
            .trim_start_matches("http://")
            .split(':')
            .next()
            .expect("a host")
            .to_owned();
    })
    .await;
    let dataset = service.dataset("d").await;
    let forms = [
        "[::ffff:0.0.0.0]",
        "[::ffff:0:1]",
        "[::ffff:127.0.0.2]",
        "[64:ff9b::127.0.0.2]",
        "0.0.0.0",
        "[2002:7f00:2::1]",
        "[::127.0.0.2]",
        "127.0.0.2",
        "2130706434",
    ];
    for form in forms {
        let target = format!("http://{form}:{port}/robots.txt");
        site.set("/robots.txt", answer(302, &[("location", &target)]));
        let settings = json!({"startUrl": site.url, "requestsPerSecond": 25});
        let (status, made) = service
            .call(
                Method::PUT,
                &format!("/kb/v1/datasets/{dataset}/sites"),
                Some(settings),
            )
            .await;
        assert!(status.is_success(), "{made}");
        let crawls = format!(
            "/kb/v1/datasets/{dataset}/sites/{}/crawls",
            text(&made["id"])
        );
        let crawl = text(&service.post(&crawls, json!({})).await["id"]);
        let path = format!("/kb/v1/datasets/{dataset}/crawls/{crawl}");
        eventually!(within 90, state in service.get(&path).await, "the crawl ends", !["queued", "running"].contains(&text(&state["status"]).as_str()));
        // The same as the address of a webhook and as the start of a crawl.
        let hook = json!({"name": "x", "url": format!("http://{form}:{port}/"), "event_types": ["contact.created"]});
        let (status, _) = service.call(Method::POST, "/v1/webhooks", Some(hook)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
    }
    assert!(inner.accept().now_or_never().is_none() && other.accept().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_events_are_counted_and_end_with_their_key() {
    let service = Service::start_with(Engine::Sqlite, |config| config.event_streams = 4).await;
    let made = service
        .post("/kb/v1/keys", json!({"name": "k", "scopes": ["kb:read"]}))
        .await;
    let (key, id) = (text(&made["key"]), text(&made["id"]));
    let open = async || {
        let url = format!("{}/kb/v1/events", service.url);
        reqwest::Client::new()
            .get(url)
            .bearer_auth(&key)
            .send()
            .await
            .expect("an answer")
    };
    let (first, second) = (open().await, open().await);
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    assert_eq!(open().await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(second);
    eventually!(
        "another stream may be opened",
        open().await.status() == StatusCode::OK
    );
    let (status, _) = service
        .call(Method::DELETE, &format!("/kb/v1/keys/{id}"), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let ended = tokio::time::timeout(Duration::from_secs(20), first.bytes());
    assert!(ended.await.expect("the stream ends").is_ok());
}
