//! Memory that the server takes for what clients send: every operation of the OpenAPI document is sent the largest bodies that it permits, of the kinds that grow
//! most when they are read, and every upload as many bytes as it takes. `CAIRN_TEST_BODIES=all` sends all kinds to every field; else each operation gets two.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::process::Process;
use crate::support::text;

/// Largest body of the server under test in KiB, an eighth of the default.
const BODY_KB: usize = 128;
/// Bytes of the largest value in a body, less than [`BODY_KB`] by what stands around.
const BODY: usize = BODY_KB * 1024 - 1024;
/// MiB by which the server may grow beyond what it holds at rest: the memory of bodies, their values, and what a request makes of them.
const GROWTH: u64 = 320;
/// MiB of an upload in this test.
const UPLOAD: usize = 2;

/// What a body is made for.
struct Known {
    dataset: String,
    document: String,
    chunk: String,
    folder: String,
}

impl Known {
    fn path(&self, path: &str) -> String {
        let filled = path
            .replace("{datasetId}", &self.dataset)
            .replace("{documentId}", &self.document)
            .replace("{fileId}", &self.document)
            .replace("{chunkId}", &self.chunk)
            .replace("{collection}", "reports")
            .replace("{kind}", "email")
            .replace("{number}", "1");
        let filled = match filled.contains("/folders/{id}") {
            true => filled.replace("{id}", &self.folder),
            false => filled,
        };
        // What does not exist is looked for after the body was read.
        filled
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect::<Vec<_>>()
            .join("/")
    }

    /// A small value that a field may have.
    fn value(&self, name: &str, schema: &Value) -> Value {
        match name {
            "datasetIds" => return json!([self.dataset]),
            "datasetId" => return json!(self.dataset),
            "documentId" => return json!(self.document),
            "chunkId" => return json!(self.chunk),
            _ => {}
        }
        if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
            return first.clone();
        }
        match kind(schema) {
            "integer" | "number" => json!(1),
            "boolean" => json!(true),
            "array" => json!([]),
            "object" => json!({}),
            _ => json!("a@example.org"),
        }
    }
}

fn kind(schema: &Value) -> &str {
    let kind = &schema["type"];
    kind.as_str()
        .or_else(|| kind.as_array().and_then(|all| all.first()?.as_str()))
        .unwrap_or("object")
}

/// Follows a reference.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let named = schema["$ref"].as_str().or_else(|| {
        let any = schema["oneOf"].as_array().or(schema["anyOf"].as_array())?;
        any.iter().find_map(|one| one["$ref"].as_str())
    });
    match named.and_then(|name| document.pointer(name.trim_start_matches('#'))) {
        Some(found) => resolved(document, found),
        None => schema,
    }
}

/// Values as long as a body may be, and how they are called.
fn greedy() -> Vec<(&'static str, Value)> {
    // Of each kind the one that was found to grow most.
    let many = |bytes: usize, item: Value| Value::Array(vec![item; BODY / bytes]);
    let fields: Map<String, Value> = (0..BODY / 11)
        .map(|n| (format!("{n:x}"), json!(0)))
        .collect();
    vec![
        ("numbers", many(2, json!(0))),
        // Long, but few words: what is stored is embedded meanwhile, and that is not looked at here.
        (
            "words",
            json!(format!("ab{}", " ".repeat(498)).repeat(BODY / 500)),
        ),
        ("objects", many(8, json!({"a": 0}))),
        ("fields", Value::Object(fields)),
    ]
}

/// A body for an operation: one field is as long as may be.
struct Greedy<'a> {
    small: &'a Map<String, Value>,
    field: &'a str,
    how: &'static str,
    value: &'a Value,
}

impl Greedy<'_> {
    fn name(&self) -> String {
        format!("{}: {}", self.field, self.how)
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.small.clone();
        body.insert(self.field.to_owned(), self.value.clone());
        serde_json::to_vec(&body).expect("JSON")
    }
}

/// What every body for an operation has: values for the fields that are required.
fn small(document: &Value, known: &Known, schema: &Value) -> Map<String, Value> {
    let schema = resolved(document, schema);
    let required = schema["required"].as_array().into_iter().flatten();
    let required = required.filter_map(Value::as_str).map(|name| {
        let of = resolved(document, &schema["properties"][name]);
        (name.to_owned(), known.value(name, of))
    });
    required.collect()
}

/// The bodies for an operation: first one with a field that is not known, then one for each of its own fields and each kind of value that it takes.
fn bodies<'a>(
    document: &'a Value,
    schema: &'a Value,
    small: &'a Map<String, Value>,
    greedy: &'a [(&'static str, Value)],
) -> Vec<Greedy<'a>> {
    let mut all = Vec::new();
    let properties = resolved(document, schema)["properties"].as_object();
    for (how, value) in greedy {
        let body = |field: &'a str| Greedy {
            small,
            field,
            how,
            value,
        };
        if *how == "numbers" {
            all.push(body("unknown"));
        }
        for (name, of) in properties.into_iter().flatten() {
            let fits = match kind(resolved(document, of)) {
                "string" => value.is_string(),
                "array" => value.is_array(),
                "object" => value.is_object() || *how == "objects",
                _ => false,
            };
            if fits {
                all.push(body(name));
            }
        }
    }
    all
}

/// KiB that the process holds at most since the last time it was asked, and begins anew.
fn peak(server: &Process) -> u64 {
    let of = format!("/proc/{}", server.child.id());
    let status = std::fs::read_to_string(format!("{of}/status")).expect("the process runs");
    std::fs::write(format!("{of}/clear_refs"), "5").expect("the peak can be forgotten");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|n| n.parse().ok())
        .expect("a number of KiB")
}

/// Sends a body; gives the answer's status.
async fn send(
    http: &reqwest::Client,
    server: &Process,
    key: &str,
    (method, path): (&Method, &str),
    (kind, body): (&str, Vec<u8>),
) -> u16 {
    let answer = http
        .request(method.clone(), format!("{}{path}", server.url))
        .bearer_auth(key)
        .header("Content-Type", kind)
        .body(body)
        .send()
        .await;
    // A server that does not want more of a body may close before it took it.
    answer.map_or(0, |a| a.status().as_u16())
}

/// A form with one file.
fn form(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(content.len() + 1000);
    body.extend_from_slice(
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n"
        )
        .as_bytes(),
    );
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--b--\r\n");
    body
}

async fn known(server: &Process, key: &str) -> Known {
    let post = async |path: &str, body: Value| {
        let made = server.call(key, Method::POST, path, Some(body)).await;
        made.expect("made")
    };
    let dataset = text(
        &post(
            "/kb/v1/datasets",
            json!({"name": "d", "parseType": "MANUAL", "delimiter": "\n"}),
        )
        .await["id"],
    );
    let folder = post("/protected/data/folders", json!({"title": "f"})).await;
    let upload =
        format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload?wait=indexed");
    let answer = reqwest::Client::new()
        .post(format!("{}{upload}", server.url))
        .bearer_auth(key)
        .header("Content-Type", "multipart/form-data; boundary=b")
        // As many chunks as a batch of the model takes: what it needs for one is no growth.
        .body(form(
            "files",
            "a.md",
            "Puffins nest on cliffs. ".repeat(4000).as_bytes(),
        ))
        .send()
        .await;
    let answer: Value = answer.expect("an answer").json().await.expect("JSON");
    let document = text(&answer["uploadedFiles"][0]["id"]);
    let path = format!("/kb/v1/datasets/{dataset}/documents/{document}/chunks");
    let chunks = server.call(key, Method::GET, &path, None).await;
    Known {
        chunk: text(&chunks.expect("chunks")["data"][0]["id"]),
        folder: text(&folder["data"]["id"]),
        dataset,
        document,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_bodies_of_all_operations_take_bounded_memory() {
    let data = tempfile::tempdir().expect("a directory");
    let batch = format!("upload_batch_mb={}", UPLOAD + 1);
    let body = format!("body_kb={BODY_KB}");
    let settings = [
        body.as_str(),
        "database_connections=2",
        "workers=1",
        "embed_threads=1",
        batch.as_str(),
        "rate_per_minute=0",
        "workspace_rate_per_minute=0",
    ];
    let server = Process::start_with(data.path(), &settings);
    let key = server.admin_key.clone().expect("the first start");
    let known = known(&server, &key).await;
    let http = reqwest::Client::new();
    let document: Value = {
        let answer = http
            .get(format!("{}/openapi.json", server.url))
            .send()
            .await;
        answer.expect("an answer").json().await.expect("JSON")
    };
    peak(&server);
    let rest = server.memory();
    let began = std::time::Instant::now();
    let mut seen = Vec::new();
    let greedy = greedy();
    let all = std::env::var("CAIRN_TEST_BODIES").is_ok_and(|kinds| kinds == "all");
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let content = &operation["requestBody"]["content"];
            let Some(schema) = content.get("application/json").map(|c| &c["schema"]) else {
                continue;
            };
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let small = small(&document, &known, schema);
            let mut bodies = bodies(&document, schema, &small, &greedy);
            if !all && bodies.len() > 2 {
                // Another field at each operation.
                let chosen = 1 + asked % (bodies.len() - 1);
                bodies.swap(1, chosen);
                bodies.truncate(2);
            }
            for greedy in bodies {
                let (how, body) = (greedy.name(), greedy.body());
                let target = known.path(path);
                assert!(body.len() <= BODY_KB << 10, "{how}: {}", body.len());
                let status = send(
                    &http,
                    &server,
                    &key,
                    (&method, &target),
                    ("application/json", body),
                )
                .await;
                let grown = peak(&server).saturating_sub(rest) >> 10;
                asked += 1;
                assert!(
                    (200..500).contains(&status),
                    "{method} {path} with {how}: {status}"
                );
                seen.push((grown, format!("{method} {path} with {how}: {status}")));
            }
        }
    }
    let megabytes = UPLOAD << 20;
    let files = |name: &str, unit: &str| (name.to_owned(), unit.repeat(megabytes / unit.len()));
    let contents = [
        files("a.json", "[0,{\"a\":[]},0"),
        files("a.txt", "a\n"),
        files("a.csv", "1,2\n"),
        files("b.txt", "x"),
        files("noname", "{\"a\":[0,0,0,0,0,0]}\n"),
    ];
    for (path, field) in [
        (
            format!(
                "/dashboard/v1/knowledge-base/datasets/{}/files/upload",
                known.dataset
            ),
            Some("files"),
        ),
        (
            format!("/kb/v1/datasets/{}/preview/upload", known.dataset),
            Some("file"),
        ),
        (
            format!("/protected/data/folders/{}/items/upload", known.folder),
            None,
        ),
    ] {
        for (name, content) in &contents {
            let (kind, body) = match field {
                Some(field) => (
                    "multipart/form-data; boundary=b",
                    form(field, name, content.as_bytes()),
                ),
                None => ("text/csv", content.as_bytes().to_vec()),
            };
            let status = send(&http, &server, &key, (&Method::POST, &path), (kind, body)).await;
            let grown = peak(&server).saturating_sub(rest) >> 10;
            asked += 1;
            let refused = field.is_none() || path.ends_with("preview/upload");
            assert!(
                (200..300).contains(&status) || refused && (400..500).contains(&status),
                "{path} with {name}: {status}"
            );
            seen.push((grown, format!("{path} with {name}: {status}")));
        }
    }
    seen.sort_unstable();
    let worst = &seen[seen.len().saturating_sub(12)..];
    println!(
        "{asked} requests in {:?}; the largest growths: {worst:#?}",
        began.elapsed()
    );
    assert!(asked > 150, "{asked} requests");
    assert!(
        worst.iter().all(|(grown, _)| *grown <= GROWTH),
        "MiB: {worst:#?}"
    );
}
