//! `kill -9` at random moments while files are uploaded, replaced, ingested again, switched off and deleted, their chunks
//! changed, hidden and added, and generations built, switched and removed: after a restart everything acknowledged holds, edits included,
//! nothing is stuck or doubled, both indexes agree with SQL.
//!
//! `CAIRN_TEST_KILLS` sets the number of kills (3 when absent).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::eventually;
use crate::support::process::Process;
use crate::support::site::{Site, page};
use crate::support::{program, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_server_loses_and_doubles_nothing() {
    let kills: usize = std::env::var("CAIRN_TEST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    let data = tempfile::tempdir().expect("temporary directory");
    let mut server = Process::start(data.path());
    let key = server
        .admin_key
        .clone()
        .expect("the first start gives a key");
    let created = server
        .call(
            &key,
            reqwest::Method::POST,
            "/kb/v1/datasets",
            Some(json!({"name": "d"})),
        )
        .await
        .expect("created");
    let dataset = text(&created["id"]);
    let (mut files, mut gone, mut edits) = (BTreeMap::new(), Vec::new(), Edits::new());
    // A small repeatable generator: the moments differ, and a failure can be tried again.
    let mut dice = 0x5DEE_CE66_u64;
    let mut roll = move |n: u64| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % n
    };
    for round in 0..kills {
        let moment = Duration::from_millis(50 + roll(1500));
        let pid = server.child.id();
        let killer = tokio::spawn(async move {
            // The moment is what is tried: nothing is waited for.
            tokio::time::sleep(moment).await;
            Command::new("kill")
                .args(["-9", &pid.to_string()])
                .status()
                .expect("kill runs");
        });
        for n in 0..4 {
            let name = format!("r{round}-{n}.md");
            if let Some(id) = send(&server, &key, &dataset, &name, &words(round, n)).await {
                files.insert(id, name);
            }
        }
        // Then something happens to files of earlier rounds.
        for n in 0..3 {
            let Some((id, name)) = files
                .iter()
                .nth(usize::try_from(roll(files.len().max(1) as u64)).unwrap_or(0))
                .map(|(id, name)| (id.clone(), name.clone()))
            else {
                continue;
            };
            let path = format!("/kb/v1/datasets/{dataset}/documents/{id}");
            let patch = |body: Value| server.call(&key, reqwest::Method::PATCH, &path, Some(body));
            match roll(9) {
                0 => {
                    // Whether it was done is unknown when nothing comes back.
                    let answer = reqwest::Client::new()
                        .delete(format!("{}{path}", server.url))
                        .bearer_auth(&key)
                        .send()
                        .await;
                    files.remove(&id);
                    if answer.is_ok_and(|a| a.status().is_success()) {
                        gone.push(id);
                    }
                }
                1 => drop(patch(json!({"reIngest": true})).await),
                2 => drop(send(&server, &key, &dataset, &name, &words(round, 100 + n)).await),
                3 => {
                    patch(json!({"enabled": false})).await;
                    patch(json!({"enabled": true})).await;
                }
                4 => {
                    // Another generation: begun, switched to when it is ready, or removed.
                    let path = format!("/kb/v1/datasets/{dataset}/generations");
                    let body = json!({"chunkSize": 128 + 64 * roll(3)});
                    server
                        .call(&key, reqwest::Method::POST, &path, Some(body))
                        .await;
                    let listed = server.call(&key, reqwest::Method::GET, &path, None).await;
                    let others: Vec<i64> = listed
                        .iter()
                        .flat_map(|l| l["data"].as_array().into_iter().flatten())
                        .filter(|g| g["status"] != "live")
                        .filter_map(|g| g["number"].as_i64())
                        .collect();
                    if let Some(number) = others.first() {
                        let switch = format!("{path}/{number}/switch");
                        server
                            .call(&key, reqwest::Method::POST, &switch, Some(json!({})))
                            .await;
                    }
                    if others.len() > 1 {
                        let url = format!("{}{path}/{}", server.url, others[0]);
                        drop(
                            reqwest::Client::new()
                                .delete(url)
                                .bearer_auth(&key)
                                .send()
                                .await,
                        );
                    }
                }
                5 => {
                    let body = json!({"content": format!("Added in round {round}.")});
                    server
                        .call(
                            &key,
                            reqwest::Method::POST,
                            &format!("{path}/chunks"),
                            Some(body),
                        )
                        .await;
                }
                kind => {
                    // While the document is being ingested, too.
                    if kind == 6 {
                        patch(json!({"reIngest": true})).await;
                    }
                    let change = match roll(2) {
                        0 => json!({"enabled": false}),
                        _ => json!({"content": format!("Rewritten in round {round}, {n}.")}),
                    };
                    edit(&server, &key, &dataset, &id, roll(8), change, &mut edits).await;
                }
            }
        }
        killer.await.expect("killed");
        server.child.wait().expect("it ended");
        if round % 10 == 9 {
            healthy(data.path());
        }
        server = Process::start(data.path());
    }
    assert!(!files.is_empty());
    for id in files.keys() {
        // A switch off may have been the last word before a kill.
        let path = format!("/kb/v1/datasets/{dataset}/documents/{id}");
        server
            .call(
                &key,
                reqwest::Method::PATCH,
                &path,
                Some(json!({"enabled": true})),
            )
            .await;
    }
    for id in &gone {
        let path = format!("/kb/v1/datasets/{dataset}/documents/{id}");
        let found = server.call(&key, reqwest::Method::GET, &path, None).await;
        assert_eq!(found, None, "what was deleted stays deleted");
    }
    for id in files.keys() {
        let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{id}/status");
        // What the kills left undone is done first.
        eventually!(
            within 120 + 4 * kills,
            last in server.call(&key, reqwest::Method::GET, &path, None).await.expect("what was acknowledged is there"),
            "the file is indexed",
            last["status"] == "indexed"
        );
    }
    for ((document, original), change) in &edits {
        if let (true, Some(change)) = (files.contains_key(document), change) {
            holds(&server, &key, &dataset, document, original, change).await;
        }
    }
    server.signal("-TERM");
    assert!(
        server.child.wait().expect("it ends").success(),
        "a termination is a clean end"
    );
    let report = healthy(data.path());
    for found in report["datasets"].as_array().expect("sets") {
        assert_eq!(found["chunks"], found["embedded"], "{report}");
    }
}

/// Changes of chunks by document and original text; `None` when it is unknown whether the change was made.
type Edits = BTreeMap<(String, String), Option<Value>>;

/// Lists something of a document.
async fn listed(
    server: &Process,
    key: &str,
    dataset: &str,
    document: &str,
    what: &str,
) -> Option<Vec<Value>> {
    let path = format!("/kb/v1/datasets/{dataset}/documents/{document}/{what}");
    let answer = server.call(key, reqwest::Method::GET, &path, None).await?;
    answer["data"].as_array().cloned()
}

/// Changes one of the chunks that nobody changed before.
async fn edit(
    server: &Process,
    key: &str,
    dataset: &str,
    document: &str,
    nth: u64,
    change: Value,
    edits: &mut Edits,
) {
    let chunks = listed(server, key, dataset, document, "chunks?limit=500").await;
    let chunk = chunks.into_iter().flatten().filter(|c| {
        let known = (document.to_owned(), text(&c["content"]));
        c["origin"] == "parsed" && c["enabled"] == true && !edits.contains_key(&known)
    });
    let Some(chunk) = chunk
        .take(8)
        .collect::<Vec<_>>()
        .into_iter()
        .cycle()
        .nth(nth as usize)
    else {
        return;
    };
    let path = format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&chunk["id"]));
    let done = server
        .call(key, reqwest::Method::PATCH, &path, Some(change.clone()))
        .await;
    let known = (document.to_owned(), text(&chunk["content"]));
    edits.insert(known, done.map(|_| change));
}

/// Asserts that an acknowledged change of a chunk is kept, and applied wherever its text stands.
async fn holds(
    server: &Process,
    key: &str,
    dataset: &str,
    document: &str,
    original: &str,
    change: &Value,
) {
    let kept = listed(server, key, dataset, document, "edits").await;
    let kept = kept.expect("edits");
    let kept: Vec<&Value> = kept
        .iter()
        // The text of a chunk beside a changed one begins without what both had.
        .filter(|e| {
            e["original"]
                .as_str()
                .is_some_and(|o| o.ends_with(original))
        })
        .collect();
    assert!(
        kept.iter().any(|e| match change["content"].as_str() {
            Some(content) => e["content"] == content,
            None => e["enabled"] == false,
        }),
        "{change} of {original:?} is lost: {kept:?}"
    );
    let chunks = listed(server, key, dataset, document, "chunks?limit=500").await;
    for chunk in chunks.expect("chunks") {
        assert!(
            chunk["content"] != original || chunk["enabled"] == false,
            "{change} is not applied to {chunk}"
        );
    }
}

/// What the doctor says of a data directory that nobody uses; it must find nothing.
fn healthy(data: &Path) -> Value {
    let doctor = Command::new(program())
        .args(["doctor", "--json", "--data-dir"])
        .arg(data)
        .env("CAIRN_LOG", "off")
        .output()
        .expect("doctor runs");
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{said}");
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["drift"], 0, "{report}");
    report
}

/// A file's text.
fn words(round: usize, file: usize) -> String {
    (0..40)
        .map(|i| {
            format!(
                "Round {round}, file {file}, paragraph {i}: {}\n\n",
                "the quiet river turns south ".repeat(8)
            )
        })
        .collect()
}

/// Uploads a file; gives its id when the upload was acknowledged.
async fn send(
    server: &Process,
    key: &str,
    dataset: &str,
    name: &str,
    content: &str,
) -> Option<String> {
    let part =
        reqwest::multipart::Part::bytes(content.as_bytes().to_vec()).file_name(name.to_owned());
    let form = reqwest::multipart::Form::new().part("files", part);
    let answer = reqwest::Client::new()
        .post(format!(
            "{}/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload",
            server.url
        ))
        .bearer_auth(key)
        .multipart(form)
        .send()
        .await
        .ok()?;
    let body: Value = answer.json().await.ok()?;
    body["uploadedFiles"][0]["id"].as_str().map(str::to_owned)
}

/// What a crawl of a site leaves in a dataset: file names with the number of their chunks, and what became of each path.
async fn crawled(
    kills: &[u64],
    site: &Site,
) -> (BTreeMap<String, i64>, BTreeMap<String, Value>, usize) {
    let data = tempfile::tempdir().expect("temporary directory");
    let mut server = Process::start(data.path());
    let key = server
        .admin_key
        .clone()
        .expect("the first start gives a key");
    let post = async |server: &Process, path: &str, body: Value| {
        server
            .call(&key, reqwest::Method::POST, path, Some(body))
            .await
            .expect("an answer")
    };
    let dataset = text(&post(&server, "/kb/v1/datasets", json!({"name": "d"})).await["id"]);
    let base = format!("/kb/v1/datasets/{dataset}");
    let settings = json!({"startUrl": site.url, "requestsPerSecond": 25});
    let put = server
        .call(
            &key,
            reqwest::Method::PUT,
            &format!("{base}/sites"),
            Some(settings),
        )
        .await
        .expect("an answer");
    let crawl = text(
        &post(
            &server,
            &format!("{base}/sites/{}/crawls", text(&put["id"])),
            json!({}),
        )
        .await["id"],
    );
    site.asked();
    for moment in kills {
        // The moment is what is tried: nothing is waited for.
        tokio::time::sleep(Duration::from_millis(*moment)).await;
        server.signal("-9");
        server.child.wait().expect("it ends");
        server = Process::start(data.path());
    }
    let get = async |path: String| {
        server
            .call(&key, reqwest::Method::GET, &path, None)
            .await
            .expect("an answer")
    };
    let state = eventually!(
        within 60,
        state in get(format!("{base}/crawls/{crawl}")).await,
        "the crawl ends",
        !["queued", "running"].contains(&text(&state["status"]).as_str())
    );
    assert_eq!(state["status"], "completed", "{state}");
    let documents = get(format!("{base}/documents?limit=500")).await;
    let files = documents["data"]
        .as_array()
        .expect("documents")
        .iter()
        .map(|d| {
            (
                text(&d["fileName"]),
                d["chunksCount"].as_i64().expect("a number"),
            )
        });
    let report = get(format!("{base}/crawls/{crawl}/pages?limit=500")).await;
    let verdicts = report["data"]
        .as_array()
        .expect("pages")
        .iter()
        .map(|p| (text(&p["url"]), p["verdict"].clone()));
    (files.collect(), verdicts.collect(), site.asked().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_is_killed_ends_like_an_undisturbed_one() {
    let links: Vec<String> = (0..40).map(|n| format!("/p/{n}")).collect();
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    let site = Site::start(vec![("/", page("the start", &links))]).await;
    for n in 0..40 {
        let further = format!("/q/{}", n / 2);
        site.set(
            &format!("/p/{n}"),
            page(&format!("the page number {n}"), &[&further, "/missing"]),
        );
        site.set(
            &format!("/q/{}", n / 2),
            page(&format!("the leaf number {}", n / 2), &["/"]),
        );
    }
    let (files, verdicts, requests) = crawled(&[], &site).await;
    assert_eq!(files.len(), 61, "{files:?}");
    let (killed_files, killed_verdicts, killed_requests) = crawled(&[700, 900], &site).await;
    assert_eq!(killed_files, files);
    assert_eq!(killed_verdicts, verdicts);
    // What was running at each kill is asked for again, with robots.txt and the sitemap; nothing else is.
    assert!(
        killed_requests <= requests + 2 * (4 + 4),
        "{killed_requests} instead of {requests}"
    );
}

/// Writes with an idempotency key, cut off at random moments: whoever asks again gets one effect, and the answer of the first if there was one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_cut_off_is_done_once() {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Process::start(data.path());
    let key = server.admin_key.clone().expect("an admin key");
    let send = async |url: String, name: String| -> Option<Value> {
        let request = reqwest::Client::new()
            .post(format!("{url}/v1/contacts"))
            .bearer_auth(&key)
            .header("Idempotency-Key", &name)
            .json(&json!({"name": name}));
        request.send().await.ok()?.json().await.ok()
    };
    for round in 0_u64..6 {
        let name = format!("Cut{round}");
        let (url, first) = (server.url.clone(), name.clone());
        // From before the request arrives to after it is answered: the moment is what is tried.
        let kill = async {
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            server.child.kill().expect("a kill");
        };
        let (answer, ()) = tokio::join!(send(url, first), kill);
        server.child.wait().expect("an end");
        server = Process::start(data.path());
        let again = send(server.url.clone(), name.clone())
            .await
            .expect("an answer");
        assert!(again["data"]["id"].is_string(), "{again}");
        if let Some(answer) = answer {
            assert_eq!(answer, again, "the same answer");
        }
        let path = format!("/v1/contacts?query={}", name.to_lowercase());
        let list = server
            .call(&key, reqwest::Method::GET, &path, None)
            .await
            .expect("a list");
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1), "{list}");
    }
}

/// A mail server that takes a moment for each mail.
async fn slow_mail_server() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let server = crate::clawcrm::mails::Smtp::start_with(Duration::from_millis(10)).await;
    (server.url.clone(), std::sync::Arc::clone(&server.received))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_that_are_cut_off_reach_nobody_twice() {
    const MAILS: usize = 100;
    let (url, received) = slow_mail_server().await;
    let data = tempfile::tempdir().expect("temporary directory");
    let settings = [format!("mail_url={url}"), "senders=8".to_owned()];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut server = Process::start_with(data.path(), &settings);
    let key = server.admin_key.clone().expect("the first start");
    let call = async |server: &Process, path: &str, body: Value| {
        let answer = server
            .call(&key, reqwest::Method::POST, path, Some(body))
            .await;
        answer.expect("an answer")
    };
    let steps = json!([{"delayMinutes": 0, "subject": "Hello", "body": "Hello {{ firstName }}"}]);
    let campaign = json!({"name": "c", "status": "paused", "steps": steps});
    let campaign = text(&call(&server, "/api/openclaw/campaigns", campaign).await["id"]);
    let change = async |server: &Process, status: &str| {
        let path = format!("/api/openclaw/campaigns/{campaign}");
        let body = Some(json!({"status": status}));
        server
            .call(&key, reqwest::Method::PATCH, &path, body)
            .await
            .expect("changed")
    };
    change(&server, "active").await;
    for n in 0..MAILS {
        let lead = json!({"firstName": "P", "email": format!("p{n}@berg.test")});
        let lead = text(&call(&server, "/api/openclaw/leads", lead).await["id"]);
        let path = format!("/api/openclaw/campaigns/{campaign}/enroll");
        call(&server, &path, json!({"leadId": lead})).await;
        // Mails are on their way whenever this happens.
        if n % 30 == 29 {
            server.signal("-9");
            server.child.wait().expect("it ends");
            server = Process::start_with(data.path(), &settings);
        }
    }
    let emails = format!("/api/openclaw/campaigns/{campaign}/emails");
    let mails = eventually!(within 120, mails in {
        let answer = server.call(&key, reqwest::Method::GET, &emails, None).await.expect("a list");
        answer["emails"].as_array().expect("mails").clone()
    }, "all mails have left", mails.len() == MAILS && mails.iter().all(|m| m["status"] == "sent" || m["status"] == "unconfirmed"));
    let texts = received.lock().expect("no panic").clone();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in &texts {
        let to = text
            .lines()
            .find_map(|l| l.strip_prefix("To: "))
            .expect("a receiver");
        *counts.entry(to.to_owned()).or_default() += 1;
    }
    assert!(counts.values().all(|n| *n == 1), "{counts:?}");
    // A process that dies between its record and the first byte leaves a mail that is shown as unconfirmed and never arrives.
    let missing = mails
        .iter()
        .filter(|m| !counts.contains_key(&text(&m["to"])));
    let missing: Vec<String> = missing
        .filter(|m| m["status"] != "unconfirmed")
        .map(|m| text(&m["to"]))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unconfirmed = mails
        .iter()
        .filter(|m| m["status"] == "unconfirmed")
        .count();
    println!(
        "{} mails, {} received, {unconfirmed} unconfirmed",
        mails.len(),
        counts.len()
    );
}
