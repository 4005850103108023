//! A service per test: its own data directory and database, served on a free port, and words to talk to it.

pub mod browser;
pub mod gateway;
pub mod git;
pub mod imap;
pub mod model;
mod postgres;
pub mod process;
pub mod provider;
pub mod qdrant;
pub mod site;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn::api::{self, Metrics};
use cairn::app::App;
use cairn::auth::keys::{self, NewKey};
use cairn::auth::tenants;
use cairn::clock::Clock;
use cairn::config::Config;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::RuntimeFlavor;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Runs one body on both databases, as two tests; `with` changes the configuration.
#[macro_export]
macro_rules! on_both {
    (with $change:expr; $(async fn $name:ident($service:ident: Service) $body:block)*) => {$(
        mod $name {
            use super::*;
            async fn body($service: $crate::support::Service) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() { body($crate::support::Service::start_with($crate::support::Engine::Sqlite, $change).await).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() { body($crate::support::Service::start_with($crate::support::Engine::Postgres, $change).await).await }
        }
    )*};
    ($(async fn $name:ident($service:ident: Service) $body:block)*) => {
        $crate::on_both! { with |_| {}; $(async fn $name($service: Service) $body)* }
    };
}

/// Waits for a condition that comes by itself: looks every 50 milliseconds, for 20 seconds or as many as `within` says.
///
/// `eventually!("what", condition)` waits; `eventually!(value in expression, "what", condition)` gives the value that fulfilled the condition, and
/// tells the last one that did not. `"what"` is a format string.
#[macro_export]
macro_rules! eventually {
    (within $seconds:expr, $what:literal, $check:expr) => {{
        let mut looks = 0;
        loop {
            if $check {
                break;
            }
            looks += 1;
            assert!(looks < 20 * $seconds, $what);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }};
    (within $seconds:expr, $value:ident in $read:expr, $what:literal, $check:expr) => {{
        let mut looks = 0;
        loop {
            let $value = $read;
            if $check {
                break $value;
            }
            looks += 1;
            assert!(looks < 20 * $seconds, "{}: {:?}", format_args!($what), $value);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }};
    ($what:literal, $check:expr) => {
        $crate::eventually!(within 20, $what, $check)
    };
    ($value:ident in $read:expr, $what:literal, $check:expr) => {
        $crate::eventually!(within 20, $value in $read, $what, $check)
    };
}

/// Longest wait for a task to end with its test.
const STOP_WAIT: Duration = Duration::from_millis(500);

/// A running service with an admin key.
pub struct Service {
    pub app: Arc<App>,
    pub url: String,
    pub key: String,
    pub data: TempDir,
    pub http: Client,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// Ends accepting connections.
    closed: CancellationToken,
    server: JoinHandle<()>,
    _database: Option<postgres::Database>,
}

/// Version of the Model Context Protocol that the tests speak.
pub const MCP_VERSION: &str = "2025-06-18";

/// The `cairn` program, which is also the parser's child.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_cairn"))
}

impl Service {
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| {}).await
    }

    pub async fn start_with(engine: Engine, change: impl FnOnce(&mut Config)) -> Self {
        // What a test that fails has to say; another test of the process may have begun it.
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .try_init();
        let data = tempfile::tempdir().expect("temporary directory");
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::Database::create().await),
        };
        let mut config = Config {
            data_dir: data.path().to_owned(),
            database_url: database.as_ref().map(|d| d.url.clone()).unwrap_or_default(),
            database_connections: 4,
            workers: 2,
            // One copy of the model: it is loaded for each test.
            embed_threads: 1,
            // Tests authenticate wrongly as often as they want.
            failed_authentications: 0,
            // The agents of tests are not woken again while a test takes long.
            agent_checkin_seconds: 600,
            ..Config::default()
        };
        change(&mut config);
        let app = App::open_with_parser(config, Clock::system(), program())
            .await
            .expect("opens");
        let key = app
            .first_start()
            .await
            .expect("starts")
            .expect("an empty database gives an admin key");
        Self::serve(app, key, data, database).await
    }

    /// Serves a data directory that is there, as `cairn serve` does after an upgrade; `key` is one of its keys.
    pub async fn upgraded(data: TempDir, key: String) -> Self {
        let config = Config {
            data_dir: data.path().to_owned(),
            workers: 2,
            ..Config::default()
        };
        let app = App::open_with_parser(config, Clock::system(), program())
            .await
            .expect("opens");
        cairn::crm::migration::run(&app).await.expect("migrates");
        Self::serve(app, key, data, None).await
    }

    async fn serve(
        app: Arc<App>,
        key: String,
        data: TempDir,
        database: Option<postgres::Database>,
    ) -> Self {
        app.engine().await.expect("model and indexes open");
        let stop = CancellationToken::new();
        let tasks = cairn::background::start(&app, true, &stop);
        let router = api::router(Arc::clone(&app), Metrics::none()).expect("a router");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let closed = CancellationToken::new();
        let (served, until) = (app.config.clone(), closed.clone());
        let server = tokio::spawn(async move {
            api::server::serve(listener, router, &served, until)
                .await
                .expect("serves");
        });
        Self {
            app,
            url,
            key,
            data,
            http: Client::new(),
            stop,
            tasks,
            closed,
            server,
            _database: database,
        }
    }

    /// Stops workers and follower, as a shutdown does.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.expect("a background task ends");
        }
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.call_as(&self.key, method, path, body).await
    }

    pub async fn call_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (
            status,
            if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            },
        )
    }

    /// Sends a JSON-RPC message to the MCP endpoint at `path`. Returns the status, and the message that answers: the body, or the last event of the stream.
    pub async fn mcp(&self, path: &str, key: &str, message: &Value) -> (StatusCode, Value) {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", MCP_VERSION)
            .bearer_auth(key)
            .json(message);
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let body = response.text().await.expect("a body");
        let last = body.lines().rev().find_map(|l| l.strip_prefix("data:"));
        let answer = serde_json::from_str(last.unwrap_or(&body).trim());
        (status, answer.unwrap_or(Value::Null))
    }

    /// Calls a method of the MCP endpoint at `path`. Returns the whole answer, which came with status 200.
    pub async fn mcp_call(&self, path: &str, key: &str, method: &str, params: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (status, answer) = self.mcp(path, key, &message).await;
        assert_eq!(status, StatusCode::OK, "{method}: {answer}");
        answer
    }

    /// Calls a tool of the MCP endpoint at `path`. Returns its result, and whether that is an error.
    pub async fn mcp_tool(
        &self,
        path: &str,
        key: &str,
        name: &str,
        arguments: Value,
    ) -> (Value, bool) {
        let params = json!({"name": name, "arguments": arguments});
        let answer = self.mcp_call(path, key, "tools/call", params).await;
        let result = &answer["result"];
        assert!(result.is_object(), "{name}: {answer}");
        (
            result["structuredContent"].clone(),
            result["isError"] == true,
        )
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.call(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// A dataset with the default settings; gives its id.
    pub async fn dataset(&self, name: &str) -> String {
        text(&self.post("/kb/v1/datasets", json!({"name": name})).await["id"])
    }

    pub async fn upload(
        &self,
        dataset: &str,
        files: &[(&str, &[u8])],
        fields: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let mut form = Form::new();
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        for (name, bytes) in files {
            form = form.part(
                "files",
                Part::bytes(bytes.to_vec()).file_name((*name).to_owned()),
            );
        }
        let url = format!(
            "{}/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload",
            self.url
        );
        let response = self
            .http
            .post(url)
            .bearer_auth(&self.key)
            .multipart(form)
            .send()
            .await
            .expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    }

    /// Uploads one file and waits until it is searchable; gives its id.
    pub async fn add(&self, dataset: &str, name: &str, content: &str) -> String {
        self.add_with(dataset, name, content.as_bytes(), &[]).await
    }

    pub async fn add_with(
        &self,
        dataset: &str,
        name: &str,
        content: &[u8],
        fields: &[(&str, &str)],
    ) -> String {
        let (status, body) = self.upload(dataset, &[(name, content)], fields).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        let id = text(&body["uploadedFiles"][0]["id"]);
        let reached = self.settled(dataset, &id).await;
        assert_eq!(reached["status"], "indexed", "{reached}");
        id
    }

    /// The status of a file once it is final.
    pub async fn settled(&self, dataset: &str, id: &str) -> Value {
        let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{id}/status");
        let last = ["indexed", "error", "disabled"];
        eventually!(within 60, status in self.get(&path).await, "file {id} settles", last.iter().any(|s| status["status"] == *s))
    }

    pub async fn search(&self, body: Value) -> Vec<Value> {
        let answer = self.post("/kb/v1/search", body).await;
        answer["results"].as_array().expect("results").clone()
    }

    /// A key of the same tenant with other rights.
    pub async fn key_with(&self, scopes: &[&str], datasets: Option<Vec<String>>) -> String {
        let body = json!({"name": "other", "scopes": scopes, "datasetIds": datasets});
        text(&self.post("/kb/v1/keys", body).await["key"])
    }

    /// Signs a browser in with a member's link or an invitation, by their address; gives its cookie.
    pub async fn cookie(&self, link: &Value) -> String {
        let address = text(link);
        let secret = address.split_once("#enter=").expect("a secret").1;
        let request = self.http.post(format!("{}/kb/v1/session", self.url));
        let request = request.json(&json!({"link": secret}));
        let answer = request.send().await.expect("an answer");
        let set = answer.headers()["set-cookie"].to_str().expect("text");
        set.split(';').next().expect("a cookie").to_owned()
    }

    /// An admin key of another tenant.
    pub async fn stranger(&self) -> String {
        let tenant = tenants::create(&self.app.db, &self.app.clock, "stranger")
            .await
            .expect("created");
        let new = NewKey {
            name: "admin".to_owned(),
            scopes: vec!["admin".to_owned()],
            ..NewKey::default()
        };
        keys::create(&self.app.db, &self.app.clock, &tenant.id, new)
            .await
            .expect("created")
            .1
    }
}

/// Waits until nothing uses the data directory any longer, then removes it: an index whose directory is gone spends a second on its error.
impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
        self.closed.cancel();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return;
        }
        let tasks = self.tasks.iter_mut().chain([&mut self.server]);
        let ends = async {
            for task in tasks {
                // A stream that is open or a job that is running may hold a task: it ends with the runtime.
                if tokio::time::timeout(STOP_WAIT, &mut *task).await.is_err() {
                    task.abort();
                }
            }
        };
        tokio::task::block_in_place(|| runtime.block_on(ends));
    }
}

/// A JSON string.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no string"))
        .to_owned()
}

/// A JSON number.
pub fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// A one-page PDF per text, written by hand: enough of the format for text extraction.
pub fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len())
        .map(|i| format!("{} 0 R", 4 + 2 * i))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.join(" "),
            pages.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    for (i, page) in pages.iter().enumerate() {
        let content = if page.is_empty() {
            String::new()
        } else {
            format!("BT /F1 12 Tf 72 700 Td ({page}) Tj ET")
        };
        objects.push(format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {} 0 R >>", 5 + 2 * i));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ));
    }
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend(format!("{} 0 obj\n{object}\nendobj\n", i + 1).bytes());
    }
    let start = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        out.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    out.extend(
        format!(
            "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
            objects.len() + 1
        )
        .bytes(),
    );
    out
}

/// Builds a small cross-encoder below a directory: a BERT of one layer with a classifying head, its weights made up, its tokenizer that of the
/// default model. What it gives is arbitrary, and always the same.
pub fn cross_encoder(below: &std::path::Path) -> PathBuf {
    const HIDDEN: usize = 16;
    let directory = below.join("small-cross-encoder");
    std::fs::create_dir_all(&directory).expect("a directory");
    let config = json!({
        "hidden_size": HIDDEN, "num_attention_heads": 2, "num_hidden_layers": 1, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "max_position_embeddings": 128, "pad_token_id": 0
    });
    std::fs::write(directory.join("config.json"), config.to_string()).expect("writes");
    let cache = Config::default().models_directory();
    let model = cairn_models::Cache::new(cache, true)
        .directory(&cairn_models::resolve("all-MiniLM-L6-v2").expect("the default model"));
    for name in [
        "tokenizer.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ] {
        std::fs::copy(model.join(name), directory.join(name)).expect("the tokenizer is there");
    }
    let layer = "bert.encoder.layer.0";
    let mut shapes = vec![
        (
            "bert.embeddings.word_embeddings.weight".to_owned(),
            vec![30_522, HIDDEN],
        ),
        (
            "bert.embeddings.token_type_embeddings.weight".to_owned(),
            vec![2, HIDDEN],
        ),
        (
            "bert.embeddings.position_embeddings.weight".to_owned(),
            vec![128, HIDDEN],
        ),
        (
            format!("{layer}.intermediate.dense.weight"),
            vec![2 * HIDDEN, HIDDEN],
        ),
        (format!("{layer}.intermediate.dense.bias"), vec![2 * HIDDEN]),
        (
            format!("{layer}.output.dense.weight"),
            vec![HIDDEN, 2 * HIDDEN],
        ),
        (format!("{layer}.output.dense.bias"), vec![HIDDEN]),
        ("classifier.weight".to_owned(), vec![1, HIDDEN]),
        ("classifier.bias".to_owned(), vec![1]),
    ];
    for square in [
        &format!("{layer}.attention.self.query"),
        &format!("{layer}.attention.self.key"),
        &format!("{layer}.attention.self.value"),
        &format!("{layer}.attention.output.dense"),
        "bert.pooler.dense",
    ] {
        shapes.push((format!("{square}.weight"), vec![HIDDEN, HIDDEN]));
        shapes.push((format!("{square}.bias"), vec![HIDDEN]));
    }
    for norm in [
        "bert.embeddings.LayerNorm",
        &format!("{layer}.attention.output.LayerNorm"),
        &format!("{layer}.output.LayerNorm"),
    ] {
        shapes.push((format!("{norm}.weight"), vec![HIDDEN]));
        shapes.push((format!("{norm}.bias"), vec![HIDDEN]));
    }
    let mut state = 1_u64;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let bytes = (0..shape.iter().product())
                .flat_map(|_| {
                    // Numbers that look random: a linear congruential generator (Knuth).
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let share = (state >> 40) as f32 / (1 << 24) as f32;
                    (2.0 * share - 1.0).to_le_bytes()
                })
                .collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.expect("the shape fits"))
    });
    let weights = safetensors::serialize(views, None).expect("serialises");
    std::fs::write(directory.join("model.safetensors"), weights).expect("writes");
    directory
}
