//! What comes in from outside: sources with signatures, and bookings of Calendly.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode as Status;
use axum::response::IntoResponse;
use cairn::outreach::inbound::verify;
use hmac::{Hmac, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{call, get, lead, post, refused, stages};
use crate::on_both;
use crate::support::{Engine, Service, text};

/// Seconds since 1970.
fn seconds(service: &Service) -> i64 {
    service.app.clock.now().0 / 1000
}

/// Sends a message to a source with a signature of an id and a time.
async fn send(
    service: &Service,
    source: &Value,
    mime: &str,
    body: Vec<u8>,
    id: &str,
    at: i64,
) -> (StatusCode, Value) {
    let signature =
        verify::sign(&text(&source["secret"]), id, &at.to_string(), &body).expect("signed");
    let request = service
        .http
        .post(format!(
            "{}{}",
            service.url,
            text(&source["source"]["path"])
        ))
        .header("content-type", mime)
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body);
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

/// Sends a message that is signed now, with an id of its own.
pub async fn signed(
    service: &Service,
    source: &Value,
    mime: &str,
    body: Vec<u8>,
) -> (StatusCode, Value) {
    let id = format!("msg_{}", service.app.clock.id());
    send(service, source, mime, body, &id, seconds(service)).await
}

on_both! {
    async fn a_source_reports_leads_once(service: Service) {
        stages(&service).await;
        let source = post(&service, "/stages/sync-sources", json!({"type": "generic_webhook", "name": "Site", "targetStage": "Contacted", "mapping": {"email": "contact.mail"}})).await;
        let body = json!({"contact": {"mail": "Ada@Berg.test"}, "first_name": "Ada", "company": "Berg", "event": "quiz_completed", "score": 70}).to_string().into_bytes();
        let now = seconds(&service);
        let (status, done) = send(&service, &source, "application/json", body.clone(), "m1", now).await;
        assert_eq!(status, StatusCode::OK, "{done}");
        let seen = get(&service, &format!("/leads/{}", text(&done["leadId"]))).await["lead"].clone();
        assert_eq!((&seen["email"], &seen["organizationName"], &seen["stage"], &seen["signals"]["quiz_completed"]["value"]), (&json!("ada@berg.test"), &json!("Berg"), &json!("Contacted"), &json!(70.0)), "{seen}");
        assert_eq!(send(&service, &source, "application/json", body.clone(), "m1", now).await.1["duplicate"], true);
        assert_eq!(send(&service, &source, "application/json", body.clone(), "m2", now - 400).await.0, StatusCode::UNAUTHORIZED, "an old message");
        let (again, _) = send(&service, &source, "application/json", body, "m3", now).await;
        assert_eq!((again, &get(&service, "/leads").await["total"]), (StatusCode::OK, &json!(1)), "the same lead");
        let signals = get(&service, &format!("/leads/{}", text(&done["leadId"]))).await["lead"]["signals"].clone();
        assert_eq!(signals["quiz_completed"]["count"], 2);
    }

    async fn a_message_that_comes_several_times_at_once_is_done_once(service: Service) {
        let source = post(&service, "/stages/sync-sources", json!({"type": "generic_webhook", "name": "Site"})).await;
        let body = json!({"email": "ada@berg.test", "first_name": "Ada", "event": "cta_clicked"}).to_string().into_bytes();
        let now = seconds(&service);
        futures::future::join_all((0..8).map(|_| send(&service, &source, "application/json", body.clone(), "m1", now))).await;
        // What was still at work when the others came is finished by a repetition.
        send(&service, &source, "application/json", body, "m1", now).await;
        let leads = get(&service, "/leads").await;
        let seen = get(&service, &format!("/leads/{}", text(&leads["leads"][0]["id"]))).await["lead"].clone();
        assert_eq!((&leads["total"], &seen["signals"]["cta_clicked"]["count"]), (&json!(1), &json!(1)), "{seen}");
    }

    async fn a_message_without_the_right_signature_is_refused(service: Service) {
        let mut source = post(&service, "/stages/sync-sources", json!({"type": "api_sdr", "name": "SDR"})).await;
        let body = br#"{"email": "ada@berg.test"}"#.to_vec();
        let url = format!("{}{}", service.url, text(&source["source"]["path"]));
        assert_eq!(service.http.post(&url).body(body.clone()).send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
        let with_secret = format!("{url}/{}", text(&source["secret"]));
        assert_eq!(service.http.post(with_secret).body(body.clone()).send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED, "only forms send the secret");
        let id = text(&source["id"]);
        let rotated = call(&service, Method::PUT, "/stages/sync-sources", json!({"id": id, "rotateSecret": true})).await;
        assert_eq!(signed(&service, &source, "application/json", body.clone()).await.0, StatusCode::UNAUTHORIZED, "the old secret");
        source["secret"] = rotated["secret"].clone();
        assert_eq!(signed(&service, &source, "application/json", body.clone()).await.0, StatusCode::OK);
        call(&service, Method::PUT, "/stages/sync-sources", json!({"id": id, "enabled": false})).await;
        assert_eq!(signed(&service, &source, "application/json", body).await.0, StatusCode::CONFLICT);
        let listed = get(&service, "/stages/sync-sources").await.to_string();
        assert!(!listed.contains("whsec_"), "secrets are shown once");
    }

    async fn a_form_posts_with_the_secret_in_its_address(service: Service) {
        let source = post(&service, "/stages/sync-sources", json!({"type": "form_webhook", "name": "Contact form"})).await;
        let secret: String = url::form_urlencoded::byte_serialize(text(&source["secret"]).as_bytes()).collect();
        let url = format!("{}{}/{secret}", service.url, text(&source["source"]["path"]));
        let form = [("name", "Bo Dal"), ("email", "bo@dal.test"), ("message", "How much is a crown?")];
        for _ in 0..2 {
            let answer = service.http.post(&url).form(&form).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let seen = get(&service, "/leads").await["leads"][0].clone();
        let history = get(&service, &format!("/touchpoints?leadId={}", text(&seen["id"]))).await;
        assert_eq!((&seen["firstName"], &seen["lastName"], &history["total"], &history["touchpoints"][0]["notes"]), (&json!("Bo"), &json!("Dal"), &json!(1), &json!("How much is a crown?")));
    }

    async fn a_mailbox_is_read_once(service: Service) {
        let source = post(&service, "/stages/sync-sources", json!({"type": "gmail", "name": "Mailbox"})).await;
        let mbox = "From a Thu Jan  1 00:00:00 2026\nFrom: Ada Holm <ada@berg.test>\nMessage-ID: <1@berg.test>\nSubject: Implants\n\nWhat do they cost?\n\nFrom b Thu Jan  1 00:00:00 2026\nFrom: Bo <bo@dal.test>\nMessage-ID: <2@dal.test>\nSubject: Hello\n\nHello\n";
        let (status, first) = signed(&service, &source, "application/mbox", mbox.as_bytes().to_vec()).await;
        assert_eq!((status, &first["leads"]), (StatusCode::OK, &json!(2)), "{first}");
        let (_, second) = signed(&service, &source, "application/mbox", mbox.as_bytes().to_vec()).await;
        assert_eq!((&second["leads"], &second["duplicates"], &get(&service, "/leads").await["total"]), (&json!(0), &json!(2), &json!(2)));
    }
}

/// What the peer of Calendly was told.
#[derive(Default)]
struct Told {
    subscription: Option<Value>,
    deleted: Vec<String>,
}

/// A peer that speaks as Calendly's API does; gives its address and what it is told.
async fn calendly() -> (String, Arc<Mutex<Told>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let told = Arc::new(Mutex::new(Told::default()));
    let base = url.clone();
    let router = axum::Router::new()
        .fallback(move |State(told): State<Arc<Mutex<Told>>>, request: Request| {
            let base = base.clone();
            async move {
                let key = request.headers().get("authorization").cloned();
                if key.is_none_or(|k| k != "Bearer eyJgood") {
                    return Status::UNAUTHORIZED.into_response();
                }
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
                match (parts.method.as_str(), parts.uri.path()) {
                    ("GET", "/users/me") => axum::Json(json!({"resource": {"uri": format!("{base}/users/1"), "name": "Ada", "current_organization": format!("{base}/organizations/1")}})).into_response(),
                    ("POST", "/webhook_subscriptions") => {
                        told.lock().expect("no panic").subscription = Some(serde_json::from_slice(&body).expect("JSON"));
                        let made = json!({"resource": {"uri": format!("{base}/webhook_subscriptions/7")}});
                        (Status::CREATED, axum::Json(made)).into_response()
                    }
                    ("DELETE", path) => {
                        told.lock().expect("no panic").deleted.push(path.to_owned());
                        Status::NO_CONTENT.into_response()
                    }
                    _ => Status::NOT_FOUND.into_response(),
                }
            }
        })
        .with_state(Arc::clone(&told));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    (url, told)
}

async fn booked(engine: Engine) {
    let (url, told) = calendly().await;
    let service = Service::start_with(engine, |config| {
        config.calendly_url = url;
        config.public_url = "https://cairn.test".to_owned();
    })
    .await;
    stages(&service).await;
    let path = "/integrations/calendly";
    assert_eq!(
        refused(
            &service,
            Method::POST,
            path,
            json!({"personal_access_token": "eyJbad"})
        )
        .await,
        (400, "calendly_token_refused".to_owned())
    );
    let connected = post(&service, path, json!({"personal_access_token": "eyJgood"})).await;
    assert_eq!(
        (&connected["connected"], &connected["account"]),
        (&json!(true), &json!("Ada")),
        "{connected}"
    );
    assert!(!connected.to_string().contains("eyJgood"));
    let subscription = told
        .lock()
        .expect("no panic")
        .subscription
        .clone()
        .expect("a subscription");
    let callback = text(&subscription["url"]);
    assert!(
        callback.starts_with("https://cairn.test/hooks/calendly/conn_"),
        "{callback}"
    );
    post(
        &service,
        "/automation/rules",
        json!({"name": "Booked", "triggerEvent": "meeting_booked", "targetStage": "Contacted"}),
    )
    .await;
    let event = |kind: &str, email: &str| {
        json!({"event": kind, "payload": {
        "uri": format!("https://api.calendly.com/invitees/{email}"), "email": email, "name": "Bo Dal", "timezone": "Europe/Copenhagen",
        "questions_and_answers": [{"question": "What about?", "answer": "Crowns"}],
        "scheduled_event": {"uri": "https://api.calendly.com/e/1", "name": "Demo", "start_time": "2027-01-04T09:00:00Z", "end_time": "2027-01-04T09:30:00Z", "location": {"join_url": "https://meet.test/1"}}
    }}).to_string()
    };
    let deliver = async |body: String, key: &str, at: i64| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
        mac.update(format!("{at}.{body}").as_bytes());
        let header = format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()));
        let to = callback.replace("https://cairn.test", &service.url);
        let response = service
            .http
            .post(to)
            .header("calendly-webhook-signature", header)
            .body(body)
            .send()
            .await
            .expect("an answer");
        (
            response.status().as_u16(),
            response.json::<Value>().await.expect("JSON"),
        )
    };
    let (key, now) = (text(&subscription["signing_key"]), seconds(&service));
    assert_eq!(
        deliver(event("invitee.created", "bo@dal.test"), "wrong", now)
            .await
            .0,
        401
    );
    assert_eq!(
        deliver(event("invitee.created", "bo@dal.test"), &key, now - 400)
            .await
            .0,
        401
    );
    let known = lead(&service, "ada@berg.test").await;
    for email in ["bo@dal.test", "ada@berg.test"] {
        assert_eq!(
            deliver(event("invitee.created", email), &key, now).await.0,
            200
        );
        assert_eq!(
            deliver(event("invitee.created", email), &key, now).await.1["duplicate"],
            true
        );
    }
    let leads = get(&service, "/leads").await["leads"].clone();
    assert_eq!(
        leads.as_array().map(Vec::len),
        Some(2),
        "a booking finds the lead that there is: {leads}"
    );
    let bo = leads
        .as_array()
        .expect("leads")
        .iter()
        .find(|l| l["email"] == "bo@dal.test")
        .expect("Bo")
        .clone();
    assert_eq!(
        (&bo["firstName"], &bo["stage"], &bo["timeZone"]),
        (
            &json!("Bo"),
            &json!("Contacted"),
            &json!("Europe/Copenhagen")
        )
    );
    let history =
        get(&service, &format!("/touchpoints?leadId={known}")).await["touchpoints"][0].clone();
    assert!(
        history["type"] == "meeting_booked"
            && text(&history["metadata"]["ics"]).contains("DTSTART:20270104T090000Z"),
        "{history}"
    );
    let tasks = service.get("/v1/tasks").await["data"].clone();
    assert_eq!(
        (tasks.as_array().map(Vec::len), &tasks[0]["due_on"]),
        (Some(2), &json!("2027-01-04T09:00:00Z"))
    );
    assert_eq!(get(&service, path).await["eventsReceived"], 2);
    let ended = call(&service, Method::DELETE, path, Value::Null).await;
    assert_eq!(
        (
            &ended["wasConnected"],
            told.lock().expect("no panic").deleted.clone()
        ),
        (&json!(true), vec!["/webhook_subscriptions/7".to_owned()])
    );
    assert_eq!(
        deliver(event("invitee.created", "eve@x.test"), &key, now)
            .await
            .0,
        404
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_makes_or_finds_the_lead_on_sqlite() {
    booked(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_makes_or_finds_the_lead_on_postgres() {
    booked(Engine::Postgres).await;
}
