//! Channels against an OAuth peer, and integrations against a service, of our own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Request, State};
use axum::http::{HeaderMap, StatusCode as Code};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post as on_post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn::db::Args;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{BASE, activities, get, post, reaches, refused, tend};
use crate::eventually;
use crate::support::model::{Model, Say};
use crate::support::{Engine, Service, text};

/// What the platform knows.
#[derive(Default)]
struct Known {
    /// Challenge of the sign-in.
    challenge: String,
    /// Forms that came to the token endpoint, and to the revocation.
    asked: Vec<HashMap<String, String>>,
    revoked: Vec<String>,
    /// Whether refresh tokens are refused.
    refuses: bool,
    /// Posts, and the status with which they are answered.
    posts: Vec<Value>,
    post_status: u16,
}

type Peer = Arc<Mutex<Known>>;

async fn token(State(peer): State<Peer>, Form(form): Form<HashMap<String, String>>) -> Response {
    let mut known = peer.lock().expect("known");
    known.asked.push(form.clone());
    let own = |name: &str| form.get(name).map(String::as_str);
    let client = own("client_id") == Some("app") && own("client_secret") == Some("word");
    let grant = match own("grant_type") {
        Some("authorization_code") => {
            let verifier = own("code_verifier").unwrap_or_default();
            own("code") == Some("code-1")
                && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == known.challenge
        }
        Some("refresh_token") => own("refresh_token") == Some("refresh-1") && !known.refuses,
        _ => false,
    };
    if !client || !grant {
        let error =
            json!({"error": "invalid_grant", "error_description": "the grant is not valid"});
        return (Code::BAD_REQUEST, Json(error)).into_response();
    }
    let number = known.asked.len();
    // Tokens expire within the time in which they are refreshed early.
    Json(json!({"access_token": format!("access-{number}"), "refresh_token": "refresh-1", "expires_in": 60, "scope": "openid profile email w_member_social"})).into_response()
}

async fn revoke(State(peer): State<Peer>, Form(form): Form<HashMap<String, String>>) -> Code {
    peer.lock()
        .expect("known")
        .revoked
        .push(form["token"].clone());
    Code::OK
}

async fn account(headers: HeaderMap) -> Response {
    let is_known = headers
        .get("authorization")
        .is_some_and(|v| v.to_str().is_ok_and(|v| v.starts_with("Bearer access-")));
    if is_known {
        Json(json!({"name": "Ada Holm", "sub": "ada-1"})).into_response()
    } else {
        Code::UNAUTHORIZED.into_response()
    }
}

async fn publish(State(peer): State<Peer>, Json(post): Json<Value>) -> Response {
    let mut known = peer.lock().expect("known");
    known.posts.push(post);
    match known.post_status {
        0 => (Code::CREATED, [("x-restli-id", "urn:li:share:7")], "").into_response(),
        status => (
            Code::from_u16(status).expect("a status"),
            Json(json!({"message": "too many posts"})),
        )
            .into_response(),
    }
}

/// Any service: accepts one key, in each way.
async fn service(request: Request) -> Response {
    let url = request.uri().to_string();
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let all = format!("{url} {} {}", header("authorization"), header("x-key"));
    if all.contains("used-up") {
        Code::TOO_MANY_REQUESTS.into_response()
    } else if all.contains("key-1234567890")
        || all.contains(&base64::engine::general_purpose::STANDARD.encode("key-1234567890:word"))
    {
        "fine".into_response()
    } else {
        Code::UNAUTHORIZED.into_response()
    }
}

async fn started() -> (Service, Peer, String) {
    started_with("").await
}

/// The same with agents whose model is at an address.
async fn started_with(model: &str) -> (Service, Peer, String) {
    let model = model.to_owned();
    let peer = Peer::default();
    let router = Router::new()
        .route("/oauth/v2/accessToken", on_post(token))
        .route("/oauth/v2/revoke", on_post(revoke))
        .route("/v2/userinfo", on_get(account))
        .route("/v2/ugcPosts", on_post(publish))
        .fallback(service)
        .with_state(Arc::clone(&peer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let base = address.clone();
    let service = Service::start_with(Engine::Sqlite, move |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
        config.channel_clients = "linkedin=app:word".to_owned();
        config.channel_urls = format!("linkedin={base}");
        config.channel_redirects = "https://app.example.com/settings".to_owned();
        if !model.is_empty() {
            config.agent_models = "openai/scripted=1/10".to_owned();
            config.agent_openai_url = format!("{model}/v1");
        }
    })
    .await;
    (service, peer, address)
}

/// Comes back from the platform; gives the address to which the person is sent.
async fn come_back(service: &Service, query: &[(&str, &str)]) -> (u16, String) {
    let http = Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let response = http
        .get(format!("{}{BASE}/channels/callback", service.url))
        .query(query)
        .send()
        .await
        .expect("an answer");
    let target = response
        .headers()
        .get("location")
        .and_then(|v| v.to_str().ok());
    (
        response.status().as_u16(),
        target.unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_connected_refreshed_expires_and_is_revoked() {
    let (service, peer, _) = started().await;
    let target = json!({"redirectUrl": "https://app.example.com/settings/channels?tab=1"});
    let begun = post(&service, "/channels/linkedin/connect", target.clone()).await;
    let state = text(&begun["state"]);
    let url = url::Url::parse(&text(&begun["authUrl"])).expect("an address");
    let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(
        (
            asked["client_id"].as_str(),
            asked["state"].as_str(),
            asked["code_challenge_method"].as_str()
        ),
        ("app", state.as_str(), "S256")
    );
    assert!(
        asked["redirect_uri"].ends_with("/dashboard/v1/channels/callback")
            && url.path() == "/oauth/v2/authorization",
        "{url}"
    );
    peer.lock()
        .expect("known")
        .challenge
        .clone_from(&asked["code_challenge"]);
    let (status, sent) = come_back(&service, &[("state", &state), ("code", "code-1")]).await;
    assert!(
        status == 303
            && sent.starts_with("https://app.example.com/settings/channels?tab=1&channelId="),
        "{sent}"
    );
    assert_eq!(
        come_back(&service, &[("state", &state), ("code", "code-1")])
            .await
            .0,
        400,
        "a state is used once"
    );
    let channel = get(&service, "/channels").await["data"][0].clone();
    assert_eq!(
        (
            &channel["status"],
            &channel["accountName"],
            &channel["type"]
        ),
        (&json!("connected"), &json!("Ada Holm"), &json!("linkedin"))
    );
    let id = text(&channel["id"]);
    let health = get(&service, &format!("/channels/{id}/health")).await;
    assert_eq!(
        (&health["breakdown"]["completeness"], &health["healthScore"]),
        (&json!(100), &json!(50)),
        "{health}"
    );

    // No token is anywhere in the clear.
    let rows: Vec<(String,)> = service.app.db.all("SELECT body FROM records UNION ALL SELECT secret FROM connection_secrets UNION ALL SELECT changes FROM audit_events", Args::default()).await.expect("rows");
    assert!(
        !rows
            .iter()
            .any(|(row,)| row.contains("access-1") || row.contains("refresh-1"))
    );

    // A token that expires soon is refreshed; a grant that is refused makes the channel expired.
    tend(&service).await;
    assert_eq!(
        peer.lock().expect("known").asked.last().expect("asked")["grant_type"],
        "refresh_token"
    );
    assert_eq!(
        get(&service, "/channels").await["data"][0]["status"],
        "connected"
    );
    peer.lock().expect("known").refuses = true;
    tend(&service).await;
    let expired = get(&service, "/channels").await["data"][0].clone();
    assert_eq!(
        (&expired["status"], &expired["healthScore"]),
        (&json!("expired"), &json!(0)),
        "{expired}"
    );

    // Connected again, it is the same channel; disconnected, its tokens are revoked and gone.
    let begun = post(&service, "/channels/linkedin/connect", target).await;
    let url = url::Url::parse(&text(&begun["authUrl"])).expect("an address");
    let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
    peer.lock()
        .expect("known")
        .challenge
        .clone_from(&asked["code_challenge"]);
    let (_, sent) = come_back(
        &service,
        &[("state", &text(&begun["state"])), ("code", "code-1")],
    )
    .await;
    assert!(sent.ends_with(&format!("channelId={id}")), "{sent}");
    let (status, _) = service
        .call(Method::DELETE, &format!("{BASE}/channels/{id}"), None)
        .await;
    assert_eq!(status, 204);
    assert_eq!(
        get(&service, "/channels").await["data"][0]["status"],
        "disconnected"
    );
    assert_eq!(peer.lock().expect("known").revoked.len(), 2);
    let (secrets,): (i64,) = service
        .app
        .db
        .one("SELECT COUNT(*) FROM connection_secrets", Args::default())
        .await
        .expect("a number");
    assert_eq!(secrets, 0);
}

/// Connects the platform; gives the id of the channel.
async fn connected(service: &Service, peer: &Peer) -> String {
    let begun = post(
        service,
        "/channels/linkedin/connect",
        json!({"redirectUrl": "https://app.example.com/settings"}),
    )
    .await;
    let url = url::Url::parse(&text(&begun["authUrl"])).expect("an address");
    let challenge = url
        .query_pairs()
        .find(|(name, _)| name == "code_challenge")
        .expect("a challenge")
        .1
        .into_owned();
    peer.lock().expect("known").challenge = challenge;
    come_back(
        service,
        &[("state", &text(&begun["state"])), ("code", "code-1")],
    )
    .await;
    text(&get(service, "/channels").await["data"][0]["id"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_piece_is_published_and_the_outcome_recorded() {
    let model = Model::start(|asked| {
        if asked.system.contains("Activity Planner") {
            let told = asked.body.to_string();
            let id = told.split("- id ").nth(1).and_then(|part| part.split(':').next());
            assert!(told.contains("for Ada Holm"), "the planner knows the channel");
            let piece = |n: usize| json!({"title": format!("Post {n}"), "agent_role": "social-post-writer", "deliverable_id": id, "prompt": "Write it."});
            return Say::call("submit_plan", json!({"activities": [piece(1), piece(2)]}));
        }
        Say::text("# Light\n\nIt was lit in **1858** [kb://a/b@1#c:0-9].")
    })
    .await;
    let (service, peer, _) = started_with(&model.url).await;
    let channel = connected(&service, &peer).await;
    let brief = json!({"name": "Spring", "brief": "Posts.", "deliverables": [{"type": "social_post", "quantity": 2, "platformIds": [channel]}]});
    post(&service, "/campaigns", brief).await;
    let pieces = eventually!(within 60, all in activities(&service, "filter.status=awaiting_approval").await, "two pieces wait", all.len() == 2);
    let approve = async |piece: &Value| {
        let id = text(&piece["id"]);
        post(
            &service,
            &format!("/approvals/{}/resolve", text(&piece["approvalId"])),
            json!({"resolution": "approved"}),
        )
        .await;
        reaches(&service, &id, "done").await["publications"][0].clone()
    };
    let published = approve(&pieces[0]).await;
    assert_eq!(
        (&published["status"], &published["url"]),
        (
            &json!("published"),
            &json!("https://www.linkedin.com/feed/update/urn:li:share:7")
        ),
        "{published}"
    );
    peer.lock().expect("known").post_status = 429;
    let failed = approve(&pieces[1]).await;
    assert!(
        failed["status"] == "failed" && text(&failed["reason"]).contains("too many posts"),
        "{failed}"
    );
    let sent = peer.lock().expect("known").posts.clone();
    assert_eq!(
        (sent.len(), &sent[0]["author"]),
        (2, &json!("urn:li:person:ada-1"))
    );
    assert_eq!(
        sent[0]["specificContent"]["com.linkedin.ugc.ShareContent"]["shareCommentary"]["text"],
        "Light\n\nIt was lit in 1858."
    );
    assert!(
        get(&service, &format!("/channels/{channel}/health")).await["lastPublishedAt"].is_string()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_leads_only_where_it_may_and_failures_are_told() {
    let (service, _, _) = started().await;
    for wrong in [
        "https://evil.example.com/",
        "https://app.example.com/other",
        "https://app.example.com.evil.test/settings",
        "https://a@app.example.com/settings",
    ] {
        let answer = refused(
            &service,
            Method::POST,
            "/channels/linkedin/connect",
            Some(json!({"redirectUrl": wrong})),
        )
        .await;
        assert_eq!(
            answer,
            (
                422,
                "UNPROCESSABLE".to_owned(),
                "redirect_not_allowed".to_owned()
            ),
            "{wrong}"
        );
    }
    let begin = async || {
        text(
            &post(
                &service,
                "/channels/linkedin/connect",
                json!({"redirectUrl": "https://app.example.com/settings"}),
            )
            .await["state"],
        )
    };
    let denied = begin().await;
    let (_, sent) = come_back(&service, &[("state", &denied), ("error", "access_denied")]).await;
    assert!(sent.contains("error=access_denied"), "{sent}");
    let wrong = begin().await;
    let (_, sent) = come_back(&service, &[("state", &wrong), ("code", "code-2")]).await;
    assert!(sent.contains("error=grant_refused"), "{sent}");
    let late = begin().await;
    service
        .app
        .db
        .execute("UPDATE oauth_states SET expires_on = 1", Args::default())
        .await
        .expect("expired");
    assert_eq!(
        come_back(&service, &[("state", &late), ("code", "code-1")])
            .await
            .0,
        400
    );
    assert!(
        get(&service, "/channels").await["data"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_an_integration_is_verified_in_the_way_of_its_service() {
    let (service, _, address) = started().await;
    for kind in [
        "semrush",
        "dataforseo",
        "ahrefs",
        "google_ads_api",
        "meta_ads_api",
        "sendgrid",
    ] {
        let body = json!({"integrationType": kind, "name": kind, "apiKey": "key-1234567890", "apiSecret": "word", "extraConfig": {"baseUrl": address}});
        let made: Value = post(&service, "/integrations", body).await;
        assert_eq!(
            (&made["status"], &made["errorMessage"]),
            (&json!("connected"), &Value::Null),
            "{made}"
        );
        assert!(text(&made["apiKey"]).ends_with("7890") && made["lastVerifiedAt"].is_string());
        let path = format!("/integrations/{}", text(&made["id"]));
        let (_, changed) = service
            .call(
                Method::PATCH,
                &format!("{BASE}{path}"),
                Some(json!({"apiKey": "key-of-nobody"})),
            )
            .await;
        assert_eq!(changed["status"], "error", "{changed}");
    }
    let custom = json!({"integrationType": "custom", "name": "ours", "apiKey": "used-up", "extraConfig": {"testUrl": format!("{address}/me"), "header": "x-key"}});
    assert_eq!(
        post(&service, "/integrations", custom).await["status"],
        "quota_exceeded"
    );
    let rows: Vec<(String,)> = service
        .app
        .db
        .all(
            "SELECT body FROM records UNION ALL SELECT changes FROM audit_events",
            Args::default(),
        )
        .await
        .expect("rows");
    assert!(!rows.iter().any(|(row,)| row.contains("key-1234567890")));
    eventually!(
        "the list is complete",
        get(&service, "/integrations").await["data"]
            .as_array()
            .map(Vec::len)
            == Some(7)
    );
}
