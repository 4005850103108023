//! The program in a process of its own: for tests that kill it, or that look at what it costs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::Value;

use super::{program, text};

/// A running `cairn serve`.
pub struct Process {
    pub child: Child,
    pub url: String,
    /// Key of the first start.
    pub admin_key: Option<String>,
    /// Link that signs in once.
    pub sandbox: String,
}

impl Drop for Process {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts a server on a free port.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// The same with settings, as `name=value`.
    pub fn start_with(data: &Path, settings: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(["serve", "--json", "--listen", "127.0.0.1:0"]);
        for setting in ["outgoing_allow=127.0.0.0/8"].iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let mut child = command
            .arg("--data-dir")
            .arg(data)
            .env("CAIRN_LOG", "error")
            .env("CAIRN_EMBED_THREADS", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).expect("JSON");
        Self {
            child,
            url: text(&said["url"]),
            admin_key: said["adminKey"].as_str().map(str::to_owned),
            sandbox: text(&said["sandbox"]),
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// KiB of memory that the process holds now.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|n| n.parse().ok())
            .expect("a number of KiB")
    }

    /// Calls an operation; `None` when it fails, or the server does not answer.
    pub async fn call(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Option<Value> {
        let mut request = reqwest::Client::new()
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        answer.json().await.ok()
    }

    /// Sends a signal, as `kill` names it.
    pub fn signal(&self, name: &str) {
        Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
    }
}

/// Starts a server, gives it files, and ends it again; gives the admin key and the dataset.
pub async fn filled(data: &Path, files: usize, settings: &[&str]) -> (String, String) {
    let mut server = Process::start_with(data, settings);
    let key = server.admin_key.clone().expect("the first start");
    let made = server
        .call(
            &key,
            Method::POST,
            "/kb/v1/datasets",
            Some(serde_json::json!({"name": "d"})),
        )
        .await;
    let dataset = text(&made.expect("created")["id"]);
    for n in 0..files {
        let part = reqwest::multipart::Part::bytes(
            format!("The puffin number {n} nests on a cliff.").into_bytes(),
        );
        let form = reqwest::multipart::Form::new().part("files", part.file_name(format!("{n}.md")));
        let url = format!(
            "{}/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload?wait=indexed",
            server.url
        );
        let answer = reqwest::Client::new()
            .post(url)
            .bearer_auth(&key)
            .multipart(form)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), reqwest::StatusCode::OK);
    }
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
    (key, dataset)
}
