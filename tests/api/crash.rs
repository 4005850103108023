//! `kill -9` at random moments during ingestion: after a restart everything acknowledged is finished, nothing is doubled, both indexes agree with SQL.
//!
//! `CAIRN_TEST_KILLS` sets the number of kills (3 when absent).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{program, text};

struct Server {
    child: Child,
    url: String,
    key: Option<String>,
}

impl Drop for Server {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path) -> Server {
    let mut child = Command::new(program())
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .env("CAIRN_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("it says where it listens");
    let said: Value = serde_json::from_str(&line).expect("JSON");
    Server {
        child,
        url: text(&said["url"]),
        key: said["adminKey"].as_str().map(str::to_owned),
    }
}

async fn call(
    server: &Server,
    key: &str,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> Option<Value> {
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", server.url))
        .bearer_auth(key);
    if let Some(body) = body {
        request = request.json(&body);
    }
    request
        .send()
        .await
        .ok()?
        .error_for_status()
        .ok()?
        .json()
        .await
        .ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_server_loses_and_doubles_nothing() {
    let kills: usize = std::env::var("CAIRN_TEST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    let data = tempfile::tempdir().expect("temporary directory");
    let mut server = serve(data.path());
    let key = server.key.clone().expect("the first start gives a key");
    let created = call(
        &server,
        &key,
        reqwest::Method::POST,
        "/kb/v1/datasets",
        Some(serde_json::json!({"name": "d"})),
    )
    .await
    .expect("created");
    let dataset = text(&created["id"]);
    let upload = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload");
    let mut acknowledged = Vec::new();
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
            tokio::time::sleep(moment).await;
            Command::new("kill")
                .args(["-9", &pid.to_string()])
                .status()
                .expect("kill runs");
        });
        for n in 0..6 {
            let content: String = (0..40)
                .map(|i| {
                    format!(
                        "Round {round}, file {n}, paragraph {i}: {}\n\n",
                        "the quiet river turns south ".repeat(8)
                    )
                })
                .collect();
            let part = reqwest::multipart::Part::bytes(content.into_bytes())
                .file_name(format!("r{round}-{n}.md"));
            let form = reqwest::multipart::Form::new().part("files", part);
            let answer = reqwest::Client::new()
                .post(format!("{}{upload}", server.url))
                .bearer_auth(&key)
                .multipart(form)
                .send()
                .await;
            if let Ok(response) = answer
                && let Ok(body) = response.json::<Value>().await
                && let Some(id) = body["uploadedFiles"][0]["id"].as_str()
            {
                acknowledged.push(id.to_owned());
            }
        }
        killer.await.expect("killed");
        server.child.wait().expect("it ended");
        server = serve(data.path());
    }
    assert!(!acknowledged.is_empty());
    for id in &acknowledged {
        let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{id}/status");
        let mut last = Value::Null;
        for _ in 0..600 {
            last = call(&server, &key, reqwest::Method::GET, &path, None)
                .await
                .expect("what was acknowledged is there");
            if last["status"] == "indexed" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(last["status"], "indexed", "{last}");
    }
    Command::new("kill")
        .args(["-TERM", &server.child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(
        server.child.wait().expect("it ends").success(),
        "a termination is a clean end"
    );
    let doctor = Command::new(program())
        .args(["doctor", "--json", "--data-dir"])
        .arg(data.path())
        .output()
        .expect("doctor runs");
    let report: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    assert!(doctor.status.success(), "{report}");
    let found = &report["datasets"][0];
    assert_eq!(
        (&report["drift"], &found["chunks"]),
        (&Value::from(0), &found["embedded"]),
        "{report}"
    );
}
