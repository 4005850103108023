//! Imports of other systems' exports, and vectors that were computed elsewhere.

use std::path::Path;
use std::process::{Command, Output};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, program, text};

fn import(data: &Path, arguments: &[&str]) -> Output {
    Command::new(program())
        .arg("--data-dir")
        .arg(data)
        .args(arguments)
        .arg("--json")
        .env("CAIRN_LOG", "error")
        .env_remove("CAIRN_URL")
        .env_remove("CAIRN_KEY")
        .output()
        .expect("the program runs")
}

fn read(output: &Output) -> Value {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"))
}

/// A dump of passages: one document of two and one of its own, with vectors that say nothing about their texts.
fn dump(directory: &Path) -> String {
    let vector = |at: usize| {
        let mut vector = vec![0.0; 384];
        vector[at] = 2.0;
        vector
    };
    let lines = [
        json!({"id": "a1", "document": "a", "position": 1, "title": "Tides", "text": "Spring tides follow the full moon.", "vector": vector(0), "metadata": {"year": 2024}}),
        json!({"id": "a2", "document": "a", "position": 2, "text": "Neap tides are weak.", "vector": vector(1)}),
        json!({"id": "b", "text": "Cormorants dry their wings.", "url": "https://birds.example/", "tags": "birds, sea", "vector": vector(2)}),
    ];
    let path = directory.join("dump.jsonl");
    let text = lines.map(|line| line.to_string()).join("\n");
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

#[test]
fn an_export_becomes_documents_with_their_passages() {
    let data = tempfile::tempdir().expect("temporary directory");
    let dump = dump(data.path());
    let arguments = ["import", &dump, "--from", "jsonl", "--dataset", "sea"];
    let report = read(&import(data.path(), &arguments));
    assert_eq!(
        (&report["imported"], &report["chunks"]),
        (&json!(2), &json!(3)),
        "{report}"
    );
    let documents = read(&import(
        data.path(),
        &["documents", "list", "--dataset", "sea"],
    ));
    let birds = documents
        .as_array()
        .expect("documents")
        .iter()
        .find(|d| d["externalId"] == "b");
    let birds = birds.expect("imported");
    assert_eq!(birds["url"], "https://birds.example/");
    assert_eq!(birds["metadata"]["tags"], json!(["birds", "sea"]));
    let found = read(&import(
        data.path(),
        &["search", "weak tides", "--dataset", "sea"],
    ));
    assert_eq!(found["results"][0]["content"], "Neap tides are weak.");
    assert_eq!(found["results"][0]["title"], "Tides");
}

#[test]
fn the_same_export_again_changes_nothing() {
    let data = tempfile::tempdir().expect("temporary directory");
    let dump = dump(data.path());
    let arguments = ["import", &dump, "--from", "jsonl", "--dataset", "sea"];
    read(&import(data.path(), &arguments));
    let again = read(&import(data.path(), &arguments));
    assert_eq!(
        (&again["imported"], &again["unchanged"]),
        (&json!(0), &json!(2)),
        "{again}"
    );
}

#[test]
fn a_dry_run_says_what_would_become_of_the_fields() {
    let data = tempfile::tempdir().expect("temporary directory");
    let dump = dump(data.path());
    let arguments = [
        "import",
        &dump,
        "--from",
        "jsonl",
        "--dataset",
        "sea",
        "--dry-run",
    ];
    let report = read(&import(data.path(), &arguments));
    assert_eq!(
        report["report"]["mapped"]["document"],
        json!(["document", 2])
    );
    assert_eq!(report["report"]["vectors"]["384"], 3);
    assert!(!data.path().join("cairn.db").exists());
}

#[test]
fn vectors_of_the_model_are_taken_over() {
    let data = tempfile::tempdir().expect("temporary directory");
    let dump = dump(data.path());
    let model = "all-MiniLM-L6-v2";
    let arguments = [
        "import",
        &dump,
        "--from",
        "jsonl",
        "--dataset",
        "sea",
        "--vector-model",
        model,
    ];
    let report = read(&import(data.path(), &arguments));
    assert_eq!(
        (&report["vectors"], &report["chunks"]),
        (&json!(3), &json!(3)),
        "{report}"
    );
    // Vectors that say nothing about their text: the text itself is not close to its own passage.
    let searched = [
        "search",
        "Neap tides are weak.",
        "--dataset",
        "sea",
        "--alpha",
        "1",
        "--explain",
    ];
    let found = read(&import(data.path(), &searched));
    for hit in found["results"].as_array().expect("hits") {
        let cosine = hit["explain"]["cosine"].as_f64().expect("a cosine");
        assert!(cosine.abs() < 0.3, "{hit}");
    }
}

#[test]
fn vectors_of_another_model_are_refused_before_anything_is_imported() {
    let data = tempfile::tempdir().expect("temporary directory");
    let dump = dump(data.path());
    let arguments = [
        "import",
        &dump,
        "--from",
        "jsonl",
        "--dataset",
        "sea",
        "--vector-model",
        "other",
    ];
    let refused = read(&import(data.path(), &arguments));
    assert_eq!(refused["error"]["code"], "model_mismatch");
    let documents = read(&import(
        data.path(),
        &["documents", "list", "--dataset", "sea"],
    ));
    assert_eq!(documents, json!([]));
}

#[test]
fn a_damaged_export_is_told() {
    let data = tempfile::tempdir().expect("temporary directory");
    let path = data.path().join("broken.jsonl");
    std::fs::write(&path, "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": ").expect("writable");
    let path = path.display().to_string();
    let outcome = import(
        data.path(),
        &["import", &path, "--from", "jsonl", "--dataset", "sea"],
    );
    assert_eq!(outcome.status.code(), Some(2));
    assert!(text(&read(&outcome)["error"]["message"]).contains("line 2"));
}

/// Stores a vector of a text and returns the answer.
async fn store(service: &Service, dataset: &str, key: &str, body: &Value) -> (StatusCode, Value) {
    let path = format!("/kb/v1/datasets/{dataset}/vectors");
    service
        .call_as(key, Method::PUT, &path, Some(body.clone()))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_that_do_not_fit_are_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let vectors = |vector: Value| json!([{"text": "a", "vector": vector}]);
    for (model, vector, code) in [
        ("other", json!([1.0]), "model_mismatch"),
        ("all-MiniLM-L6-v2", json!([1.0]), "model_mismatch"),
        ("all-MiniLM-L6-v2", json!(vec![0.0; 384]), "vectors_invalid"),
    ] {
        let body = json!({"model": model, "vectors": vectors(vector)});
        let (_, answer) = store(&service, &dataset, &service.key, &body).await;
        assert_eq!(answer["error"]["reason"], code, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_one_dataset_gives_no_vectors_to_all() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let key = service
        .key_with(&["kb:write"], Some(vec![dataset.clone()]))
        .await;
    let body = json!({"model": "all-MiniLM-L6-v2", "vectors": []});
    let (status, answer) = store(&service, &dataset, &key, &body).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (StatusCode::FORBIDDEN, &json!("key_confined"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_name_titles_and_addresses() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let fields = [
        ("titles", r#"["Tides", null]"#),
        ("urls", r#"[null, "https://birds.example/"]"#),
    ];
    let files: [(&str, &[u8]); 2] = [("a.txt", b"Tides lag."), ("b.txt", b"Cormorants dry.")];
    service.upload(&dataset, &files, &fields).await;
    let listed = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    let of = |name: &str| {
        let mut all = listed["data"].as_array().expect("documents").iter();
        all.find(|d| d["fileName"] == name)
            .expect("uploaded")
            .clone()
    };
    assert_eq!(of("a.txt")["title"], "Tides");
    assert_eq!(of("b.txt")["url"], "https://birds.example/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_a_page_would_execute_is_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let fields = [("urls", "javascript:alert(1)")];
    let (status, answer) = service
        .upload(&dataset, &[("a.txt", b"Tides lag.")], &fields)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let listed = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    assert_eq!(listed["data"], json!([]));
}
