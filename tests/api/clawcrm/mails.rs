//! Sequences of mails: guardrails, delivery, bounces, replies, unsubscription.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cairn::db::Args;
use futures::future::join_all;
use hmac::{Hmac, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{call, get, lead, post, refused, stages};
use crate::on_both;
use crate::support::{Engine, Service, text};

/// Adds a campaign of one mail that is due at once.
async fn campaign(service: &Service, name: &str, trigger: &str) -> String {
    let steps = json!([{"subject": "Hello {{ firstName }}", "body": "From {{ organizationName }}: {{ link('https://acme.test/offer') }}"}]);
    let body = json!({"name": name, "trigger": trigger, "steps": steps});
    text(&post(service, "/campaigns", body).await["id"])
}

/// States of the mails of a lead, oldest first.
async fn states(service: &Service) -> Vec<String> {
    let rows: Vec<(String,)> = service
        .app
        .db
        .all("SELECT status FROM mails ORDER BY id", Args::default())
        .await
        .expect("rows");
    rows.into_iter().map(|(status,)| status).collect()
}

/// Files of the spool.
fn spool(service: &Service) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(service.data.path().join("mail")) else {
        return Vec::new();
    };
    folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "eml"))
        .collect()
}

/// The path and query of the first address in a mail that begins with `/m/` and ends as `what` says.
fn link(mail: &str, what: impl Fn(&str) -> bool) -> String {
    // Long lines of quoted-printable text are continued.
    let mail = mail.replace("=\r\n", "").replace("=3D", "=");
    let links = mail
        .split([' ', '<', '>', '\r', '\n'])
        .filter_map(|word| word.find("/m/").and_then(|at| word.get(at..)));
    links.map(str::to_owned).find(|l| what(l)).expect("a link")
}

on_both! {
    async fn twenty_enrolments_send_one_mail_an_hour(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let campaigns = join_all((0..20).map(|n| async move { format!("c{n}") })).await;
        let mut ids = Vec::new();
        for name in campaigns {
            ids.push(campaign(&service, &name, "manual").await);
        }
        let enrol = async |campaign: &str| service.call(Method::POST, &format!("/api/openclaw/campaigns/{campaign}/enroll"), Some(json!({"leadId": id}))).await.0;
        let mut twice = ids.clone();
        twice.extend(ids.clone());
        let answers = join_all(twice.iter().map(|c| enrol(c))).await;
        let count = |status: StatusCode| answers.iter().filter(|s| **s == status).count();
        assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (20, 20), "{answers:?}");
        crate::eventually!(found in states(&service).await, "one is sent", found.iter().filter(|s| *s == "sent").count() == 1 && spool(&service).len() == 1);
        let waits = "SELECT COUNT(*) FROM mails WHERE status = 'waiting' AND last_error LIKE 'waits for the limits%'";
        crate::eventually!("the others wait and say so", service.app.db.one::<(i64,)>(waits, Args::default()).await.expect("counts").0 == 19);
        assert_eq!(spool(&service).len(), 1);
    }

    async fn a_day_has_three_mails(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let row = id.trim_start_matches("rp_").to_owned();
        let campaign = campaign(&service, "c", "manual").await;
        // Three mails of today that were sent more than an hour ago, or just now when the day is younger: by the hour or by the day, the fourth waits.
        let now = service.app.clock.now();
        let day = now.0 - now.0.rem_euclid(86_400_000);
        let at = cairn::clock::Time((now.0 - 3_700_000).max(day));
        for n in 0..3_i64 {
            let sql = "INSERT INTO mails (id, tenant_id, enrolment_id, sequence_id, lead_id, step, address, status, citations, warnings, due_on, transmitted_on, attempts, created_on, updated_on)
                       SELECT $1, tenant_id, $1, 's', $2, 0, 'ada@berg.test', 'sent', '[]', '[]', $3, $3, 1, $3, $3 FROM records WHERE id = $2";
            service.app.db.execute(sql, Args(vec![format!("m{n}").into(), row.clone().into(), at.into()])).await.expect("a mail");
        }
        post(&service, &format!("/campaigns/{campaign}/enroll"), json!({"leadId": id})).await;
        let path = format!("/campaigns/{campaign}/emails");
        let mail = crate::eventually!(found in get(&service, &path).await["emails"][0].clone(), "it waits", found["detail"].as_str().is_some_and(|d| d.starts_with("waits for the limits")));
        let due = chrono::DateTime::parse_from_rfc3339(&text(&mail["dueAt"])).expect("a time").timestamp_millis();
        assert_eq!(due, day + 86_400_000 + 9 * 3_600_000, "the next morning");
    }

    async fn a_second_campaign_waits_for_the_cooldown(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let (one, two) = (campaign(&service, "one", "manual").await, campaign(&service, "two", "manual").await);
        post(&service, &format!("/campaigns/{one}/enroll"), json!({"leadId": id})).await;
        crate::eventually!(found in states(&service).await, "it is sent", found == ["sent"]);
        assert_eq!(refused(&service, Method::POST, &format!("/campaigns/{two}/enroll"), json!({"leadId": id})).await, (409, "cooldown_active".to_owned()));
        let past = service.app.clock.now().0 - 49 * 3_600_000;
        service.app.db.execute("UPDATE mails SET transmitted_on = $1", Args(vec![past.into()])).await.expect("aged");
        post(&service, &format!("/campaigns/{two}/enroll"), json!({"leadId": id})).await;
    }

    async fn events_begin_campaigns(service: Service) {
        stages(&service).await;
        campaign(&service, "moved", "stage_changed").await;
        campaign(&service, "booked", "meeting_booked").await;
        let rule = json!({"name": "Win", "triggerEvent": "meeting_booked", "targetStage": "Closed Won"});
        post(&service, "/automation/rules", rule).await;
        let id = lead(&service, "ada@berg.test").await;
        post(&service, "/touchpoints", json!({"leadId": id, "type": "meeting_booked"})).await;
        let listed = get(&service, "/campaigns").await["campaigns"].clone();
        let active = |c: &Value| c["counts"]["enrollments"].as_object().expect("counts").values().filter_map(Value::as_i64).sum::<i64>();
        assert_eq!(listed.as_array().expect("campaigns").iter().map(active).collect::<Vec<_>>(), [1, 1], "{listed}");
    }

    async fn a_mail_is_written_sent_clicked_and_unsubscribed(service: Service) {
        let id = text(&post(&service, "/leads", json!({"firstName": "Ada", "email": "ada@berg.test", "organizationName": "Berg"})).await["id"]);
        let first = campaign(&service, "first", "manual").await;
        post(&service, &format!("/campaigns/{first}/enroll"), json!({"leadId": id})).await;
        crate::eventually!("it is in the spool", spool(&service).len() == 1);
        let mail = std::fs::read_to_string(&spool(&service)[0]).expect("a mail");
        for part in ["Subject: Hello Ada", "To: ada@berg.test", "From Berg:", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"] {
            assert!(mail.contains(part), "{part}: {mail}");
        }
        crate::eventually!(found in get(&service, &format!("/touchpoints?leadId={id}")).await, "it is a touchpoint", found["touchpoints"][0]["type"] == "email_sent");
        let sent = get(&service, &format!("/campaigns/{first}/emails")).await["emails"][0].clone();
        assert_eq!((&sent["status"], &sent["subject"], sent["sentAt"].is_string()), (&json!("sent"), &json!("Hello Ada"), true));
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let click = link(&mail, |l| l.contains("?to="));
        browser.head(format!("{}{click}", service.url)).send().await.expect("an answer");
        assert!(get(&service, &format!("/leads/{id}")).await["lead"]["signals"].is_null(), "a program that checks links does not count");
        let led = browser.get(format!("{}{click}", service.url)).send().await.expect("an answer");
        browser.get(format!("{}{click}", service.url)).send().await.expect("an answer");
        assert_eq!(led.headers()["location"], "https://acme.test/offer");
        assert_eq!(get(&service, &format!("/leads/{id}")).await["lead"]["signals"]["cta_clicked"]["count"], 1);
        let forged = click.replace("acme.test", "evil.test");
        assert_eq!(browser.get(format!("{}{forged}", service.url)).send().await.expect("an answer").status(), StatusCode::NOT_FOUND, "no open redirect");
        let token = click.split('/').nth(2).expect("a token");
        let own = click.split("&sig=").next().expect("an address").replace("acme.test", "evil.test");
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any length");
        mac.update(format!("{}\nhttps://evil.test/offer", text(&sent["id"])).as_bytes());
        let guessed = format!("{}{own}&sig={}", service.url, hex::encode(&mac.finalize().into_bytes()[..16]));
        assert_eq!(browser.get(guessed).send().await.expect("an answer").status(), StatusCode::NOT_FOUND, "a receiver cannot sign");
        let leave = format!("{}{}", service.url, link(&mail, |l| l.ends_with("/unsubscribe")));
        let page = browser.get(&leave).send().await.expect("an answer").text().await.expect("a page");
        assert!(page.contains("Unsubscribe"), "{page}");
        let second = campaign(&service, "second", "manual").await;
        service.app.db.execute("UPDATE mails SET transmitted_on = 1", Args::default()).await.expect("aged");
        let one_click = browser.post(&leave).header("content-type", "application/x-www-form-urlencoded").body("List-Unsubscribe=One-Click");
        assert!(one_click.send().await.expect("an answer").status().is_success());
        assert_eq!(refused(&service, Method::POST, &format!("/campaigns/{second}/enroll"), json!({"leadId": id})).await, (409, "address_blocked".to_owned()));
    }

    async fn templates_have_variables_and_links_only(service: Service) {
        let accepted = ["{{ firstName }}", "{{ customFields.chairs or \"some\" }}", "{{ link('https://acme.test') }}", "{{ link(bookingLink) }}", "{{- name -}}"];
        let refused_ones = ["{{ firstName * 1000000 }}", "{% for a in 'b' %}{{ a }}{% endfor %}", "{{ firstName", "{{ name ~ name }}", "{{ 'x' }}", "{# a #}"];
        for (body, status) in accepted.iter().map(|b| (b, 201)).chain(refused_ones.iter().map(|b| (b, 400))) {
            let campaign = json!({"name": body, "steps": [{"subject": "a", "body": body}]});
            let (answered, answer) = service.call(Method::POST, "/api/openclaw/campaigns", Some(campaign)).await;
            assert_eq!(answered.as_u16(), status, "{body}: {answer}");
        }
    }

    async fn an_unblocked_address_gets_mails_again(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let campaign = campaign(&service, "c", "manual").await;
        let source = post(&service, "/stages/sync-sources", json!({"type": "api_sdr", "name": "Mailer"})).await;
        let complaint = json!({"email": "Ada@berg.test", "event": "bounce"}).to_string().into_bytes();
        crate::clawcrm::inbound::signed(&service, &source, "application/json", complaint).await;
        let enrol = format!("/campaigns/{campaign}/enroll");
        assert_eq!(refused(&service, Method::POST, &enrol, json!({"leadId": id})).await, (409, "address_blocked".to_owned()));
        call(&service, Method::DELETE, "/email/blocked?address=ada@berg.test", Value::Null).await;
        assert_eq!(refused(&service, Method::DELETE, "/email/blocked?address=ada@berg.test", Value::Null).await, (404, "address_not_blocked".to_owned()));
        post(&service, &enrol, json!({"leadId": id})).await;
        crate::eventually!(found in states(&service).await, "it is sent", found == ["sent"]);
    }

    async fn a_bounce_blocks_and_a_reply_ends_the_sequence(service: Service) {
        let (ada, bo) = (lead(&service, "ada@berg.test").await, lead(&service, "bo@dal.test").await);
        let steps = json!([{"subject": "One", "body": "1"}, {"delayDays": 2, "subject": "Two", "body": "2"}]);
        let campaign = text(&post(&service, "/campaigns", json!({"name": "Two", "steps": steps})).await["id"]);
        for id in [&ada, &bo] {
            post(&service, &format!("/campaigns/{campaign}/enroll"), json!({"leadId": id})).await;
        }
        crate::eventually!(found in states(&service).await, "both have the first", found.iter().filter(|s| *s == "sent").count() == 2 && found.len() == 4);
        let source = post(&service, "/stages/sync-sources", json!({"type": "gmail", "name": "Mailbox"})).await;
        let deliver = async |raw: String| crate::clawcrm::inbound::signed(&service, &source, "message/rfc822", raw.into_bytes()).await;
        let report = "From: mailer-daemon@mx.test\r\nTo: cairn@localhost\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nIt failed.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\nFinal-Recipient: rfc822; ada@berg.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n";
        assert_eq!(deliver(report.to_owned()).await.1["bounced"], 1);
        let sent: Vec<(String,)> = service.app.db.all("SELECT id FROM mails WHERE address = 'bo@dal.test' AND status = 'sent'", Args::default()).await.expect("rows");
        let reply = format!("From: Bo <b.dal@home.test>\r\nTo: cairn@localhost\r\nSubject: Re: One\r\nIn-Reply-To: <{}.cairn@localhost>\r\nMessage-ID: <r1@home.test>\r\n\r\nCall me on Friday.\r\n", sent[0].0.to_lowercase());
        assert_eq!(deliver(reply).await.1["touchpoints"], 1);
        let mut found = states(&service).await;
        found.sort();
        assert_eq!(found, ["bounced", "cancelled", "cancelled", "sent"]);
        let history = get(&service, &format!("/touchpoints?leadId={bo}")).await["touchpoints"][0].clone();
        assert_eq!((&history["type"], text(&history["notes"]).trim()), (&json!("email_reply"), "Call me on Friday."));
    }

    async fn a_paused_campaign_keeps_its_mails(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let steps = json!([{"delayMinutes": 1, "subject": "One", "body": "1"}]);
        let campaign = text(&post(&service, "/campaigns", json!({"name": "One", "steps": steps})).await["id"]);
        post(&service, &format!("/campaigns/{campaign}/enroll"), json!({"leadId": id})).await;
        call(&service, Method::PATCH, &format!("/campaigns/{campaign}"), json!({"status": "paused"})).await;
        assert_eq!(states(&service).await, ["waiting"]);
        call(&service, Method::DELETE, &format!("/leads/{id}"), Value::Null).await;
        assert_eq!(states(&service).await, ["cancelled"], "a deleted lead gets no mail");
    }

    async fn without_a_language_model_the_template_is_used_and_says_so(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let body = json!({"name": "AI", "ai_enabled": true, "ai_config": {"tone": "dry"}, "steps": [{"subject": "Hi", "body": "Hello"}]});
        let made = post(&service, "/campaigns", body).await;
        assert!(made["warnings"].to_string().contains("no language model"), "{made}");
        let campaign = text(&made["id"]);
        post(&service, &format!("/campaigns/{campaign}/enroll"), json!({"leadId": id})).await;
        crate::eventually!(found in get(&service, &format!("/campaigns/{campaign}/emails")).await, "it is sent with a warning", found["emails"][0]["status"] == "sent" && text(&found["emails"][0]["warnings"][0]).contains("template was used"));
    }
}

/// A mail server of our own: accepts mails, and refuses some receivers.
pub struct Smtp {
    pub url: String,
    /// Texts that were accepted.
    pub received: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    pub async fn start() -> Self {
        Self::start_with(std::time::Duration::ZERO).await
    }

    /// A server that takes this long for each mail.
    pub async fn start_with(pause: std::time::Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&kept), pause));
            }
        });
        Self { url, received }
    }
}

async fn converse(
    stream: TcpStream,
    received: Arc<Mutex<Vec<String>>>,
    pause: std::time::Duration,
) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut say = async |text: &str| {
        write
            .write_all(format!("{text}\r\n").as_bytes())
            .await
            .is_ok()
    };
    if !say("220 mx.test").await {
        return;
    }
    while let Ok(Some(line)) = lines.next_line().await {
        let command = line.to_uppercase();
        let answer = if command.starts_with("EHLO") {
            "250-mx.test\r\n250 8BITMIME"
        } else if command.starts_with("RCPT") && command.contains("NOBODY@") {
            "550 5.1.1 no such user"
        } else if command.starts_with("RCPT") && command.contains("POLICY@") {
            "550 5.7.1 sender is listed"
        } else if command == "DATA" {
            say("354 go on").await;
            let mut text = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "." {
                    // Its work, such as looking for viruses.
                    tokio::time::sleep(pause).await;
                    received.lock().expect("no panic").push(text);
                    break;
                }
                text.push_str(&line);
                text.push('\n');
            }
            "250 kept"
        } else if command == "QUIT" {
            "221 bye"
        } else {
            "250 ok"
        };
        if !say(answer).await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_receiver_is_blocked_and_others_get_their_mail() {
    let server = Smtp::start().await;
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.mail_url.clone_from(&server.url)
    })
    .await;
    let campaign = campaign(&service, "c", "manual").await;
    for address in ["nobody@berg.test", "ada@berg.test"] {
        let id = lead(&service, address).await;
        post(
            &service,
            &format!("/campaigns/{campaign}/enroll"),
            json!({"leadId": id}),
        )
        .await;
    }
    crate::eventually!(found in { let rows: Vec<(String, Option<String>)> = service.app.db.all("SELECT status, last_error FROM mails ORDER BY id", Args::default()).await.expect("rows"); rows }, "one bounces", { let found: Vec<String> = found.iter().map(|(s, _)| s.clone()).collect(); let mut f = found.clone(); f.sort(); f == ["bounced", "sent"] });
    let received = server.received.lock().expect("no panic").clone();
    assert!(
        received.len() == 1 && received[0].contains("To: ada@berg.test"),
        "{received:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_sender_blocks_no_receiver() {
    let server = Smtp::start().await;
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.mail_url.clone_from(&server.url)
    })
    .await;
    let id = lead(&service, "policy@berg.test").await;
    let campaign = campaign(&service, "c", "manual").await;
    let enrol = format!("/campaigns/{campaign}/enroll");
    post(&service, &enrol, json!({"leadId": id})).await;
    let path = format!("/campaigns/{campaign}/emails");
    let mail = crate::eventually!(found in get(&service, &path).await["emails"][0].clone(), "it waits and says why", found["attempts"] == 1);
    assert_eq!(
        (&mail["status"], text(&mail["detail"]).contains("5.7.1")),
        (&json!("waiting"), true),
        "{mail}"
    );
    assert_eq!(get(&service, "/email/blocked").await["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_waits_for_a_server_that_is_down() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("an address");
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.mail_url = format!("smtp://{free}")
    })
    .await;
    let id = lead(&service, "ada@berg.test").await;
    let campaign = campaign(&service, "c", "manual").await;
    post(
        &service,
        &format!("/campaigns/{campaign}/enroll"),
        json!({"leadId": id}),
    )
    .await;
    let path = format!("/campaigns/{campaign}/emails");
    let mail = crate::eventually!(found in get(&service, &path).await["emails"][0].clone(), "it waits and says why", found["attempts"] == 1);
    assert_eq!(
        (
            &mail["status"],
            text(&mail["detail"]).to_lowercase().contains("refused")
        ),
        (&json!("waiting"), true),
        "{mail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_was_on_its_way_is_not_sent_again() {
    let server = Smtp::start().await;
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.mail_url.clone_from(&server.url)
    })
    .await;
    let id = lead(&service, "ada@berg.test").await;
    let steps = json!([{"delayMinutes": 60, "subject": "One", "body": "1"}, {"delayMinutes": 60, "subject": "Two", "body": "2"}]);
    let campaign =
        text(&post(&service, "/campaigns", json!({"name": "c", "steps": steps})).await["id"]);
    post(
        &service,
        &format!("/campaigns/{campaign}/enroll"),
        json!({"leadId": id}),
    )
    .await;
    // The state that a process leaves which is killed between the beginning of the transmission and its record.
    let begun = service.app.clock.now().0 - 60_000;
    service
        .app
        .db
        .execute(
            "UPDATE mails SET status = 'transmitting', transmitted_on = $1, due_on = $1, attempts = 1",
            Args(vec![begun.into()]),
        )
        .await
        .expect("begun");
    service
        .app
        .db
        .execute(
            "UPDATE jobs SET run_at = 0 WHERE kind = 'send_mail'",
            Args::default(),
        )
        .await
        .expect("due");
    crate::eventually!(found in states(&service).await, "the sequence goes on without it", found == ["unconfirmed", "waiting"]);
    assert!(server.received.lock().expect("no panic").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_writes_from_the_record_and_the_knowledge_base() {
    // A model that answers everything with one mail, and remembers what it was asked.
    let asked = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&asked);
    let router = axum::Router::new().fallback(move |body: String| {
        *kept.lock().expect("no panic") = body;
        let said = json!({"choices": [{"delta": {"content": "Subject: Crowns for Berg\n\nDear Ada, a crown takes two visits [1]. Shall we talk?"}}]});
        std::future::ready(format!("data: {said}\n\ndata: [DONE]\n\n"))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.answer_url = url;
        config.answer_model = "stub".to_owned();
    })
    .await;
    let dataset = service.dataset("offers").await;
    service
        .add(
            &dataset,
            "crowns.md",
            "A crown takes two visits and lasts fifteen years.",
        )
        .await;
    let id = text(
        &post(
            &service,
            "/leads",
            json!({"firstName": "Ada", "email": "ada@berg.test", "notes": "Asked about a crown."}),
        )
        .await["id"],
    );
    let body = json!({"name": "AI", "ai_enabled": true, "ai_config": {"tone": "dry"}, "datasetIds": [dataset], "steps": [{"subject": "Crown visits", "body": "Hello {{ firstName }}"}]});
    let campaign = text(&post(&service, "/campaigns", body).await["id"]);
    post(
        &service,
        &format!("/campaigns/{campaign}/enroll"),
        json!({"leadId": id}),
    )
    .await;
    let path = format!("/campaigns/{campaign}/emails");
    let mail = crate::eventually!(found in get(&service, &path).await["emails"][0].clone(), "it is sent", found["status"] == "sent");
    assert_eq!(
        (&mail["subject"], &mail["body"], &mail["warnings"]),
        (
            &json!("Crowns for Berg"),
            &json!("Dear Ada, a crown takes two visits. Shall we talk?"),
            &json!([])
        ),
        "{mail}"
    );
    assert!(
        text(&mail["citations"][0]["citation"]).starts_with("kb://"),
        "{mail}"
    );
    let asked = asked.lock().expect("no panic").clone();
    for part in [
        "lasts fifteen years",
        "Asked about a crown",
        "Tone: dry",
        "Hello Ada",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}
