//! What goes wrong on a machine: damaged indexes and rows, a start without indexes, crafted files. What fails is told, keeps nothing else waiting, and is
//! built anew from the rows.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use cairn::auth::tenants;
use cairn::db::Args;
use cairn::kb::portable;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::support::process::{Process, filled};
use crate::support::{Engine, Service, program, text};
use crate::{eventually, on_both};

on_both! {
    async fn a_dataset_that_cannot_be_indexed_keeps_no_other_waiting(service: Service) {
        let (broken, healthy) = (service.dataset("broken").await, service.dataset("healthy").await);
        let file = service.add(&broken, "a.md", "Herons wait in shallow water.").await;
        // The row of the vector is damaged, and then the document has to be indexed again.
        service.app.db.execute("UPDATE kb_embeddings SET vector = $1", Args(vec![vec![0_u8; 8].into()])).await.expect("damaged");
        let path = format!("/kb/v1/datasets/{broken}/documents/{file}");
        for enabled in [false, true] {
            service.call(Method::PATCH, &path, Some(json!({"enabled": enabled}))).await;
        }
        eventually!("the reason is told", service.get(&format!("{path}/why")).await["code"] == "index_failing");
        let (status, ready) = service.call(Method::GET, "/readyz", None).await;
        assert_eq!((status, &ready["degraded"]), (StatusCode::OK, &json!(["1 index failing"])));
        service.add(&healthy, "b.md", "Otters sleep afloat.").await;
        assert_eq!(service.search(json!({"query": "otters", "datasetIds": [healthy]})).await.len(), 1);
        // Its words are found all the same, and the answer says what it lacks.
        let answer = service.post("/kb/v1/search", json!({"query": "herons", "datasetIds": [broken]})).await;
        assert_eq!(answer["results"].as_array().map(Vec::len), Some(1), "{answer}");
        assert!(text(&answer["degraded"][0]).starts_with("vector index failing"), "{answer}");
        assert_eq!((&answer["totals"]["complete"], &answer["confidence"]["noConfidentAnswer"]), (&json!(false), &json!(true)));
    }
}

/// The first file below a directory whose name ends so.
fn file(below: &Path, ending: &str) -> PathBuf {
    let mut directories = vec![below.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                return path;
            }
        }
    }
    panic!("no file ends with {ending}");
}

fn doctor(data: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let output = std::process::Command::new(program())
        .args(["doctor", "--json", "--data-dir"])
        .arg(data)
        .args(more)
        .env("CAIRN_LOG", "off")
        .output()
        .expect("doctor runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // The report, and then the error where there is one.
    let report = said.lines().next().unwrap_or_default();
    (
        output.status.code(),
        serde_json::from_str(report).expect("JSON"),
    )
}

async fn hits(server: &Process, key: &str, dataset: &str) -> Value {
    let body = json!({"query": "puffin nests", "datasetIds": [dataset], "topK": 10});
    let answer = server
        .call(key, Method::POST, "/kb/v1/search", Some(body))
        .await;
    answer.expect("searches go on")
}

/// What becomes of a data directory, and its name.
type Damage<'a> = (&'static str, Box<dyn Fn() + 'a>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_indexes_are_built_anew_at_the_next_start() {
    let data = tempfile::tempdir().expect("a directory");
    let (key, dataset) = filled(data.path(), 3, &[]).await;
    let (keyword, vectors) = (data.path().join("keyword"), data.path().join("vectors"));
    let flip = |path: PathBuf| {
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes.iter_mut().for_each(|b| *b = !*b);
        std::fs::write(path, bytes).expect("written");
    };
    let damages: [Damage<'_>; 5] = [
        (
            "meta.json flipped",
            Box::new(|| flip(file(&keyword, "meta.json"))),
        ),
        (
            "meta.json empty",
            Box::new(|| std::fs::write(file(&keyword, "meta.json"), "").expect("written")),
        ),
        (
            "a dictionary cut short",
            Box::new(|| std::fs::write(file(&keyword, ".term"), "short").expect("written")),
        ),
        (
            "watermarks flipped",
            Box::new(|| flip(file(&vectors, "watermarks.json"))),
        ),
        (
            "segments gone",
            Box::new(|| {
                let models = std::fs::read_dir(&vectors).expect("a directory");
                let model = models
                    .flatten()
                    .find(|m| !m.path().to_string_lossy().ends_with("damaged"));
                std::fs::remove_dir_all(model.expect("a model").path().join("segments"))
                    .expect("removed");
            }),
        ),
    ];
    for (what, damage) in damages {
        damage();
        let mut server = Process::start(data.path());
        let last = eventually!(
            last in hits(&server, &key, &dataset).await,
            "{what}: the indexes are whole again",
            {
                let whole = last["totals"]["complete"] == true;
                assert!(whole || last["degraded"].is_array(), "{what}: {last}");
                whole
            }
        );
        assert_eq!(
            last["results"].as_array().map(Vec::len),
            Some(3),
            "{what}: {last}"
        );
        server.signal("-TERM");
        server.child.wait().expect("it ends");
        let (code, report) = doctor(data.path(), &[]);
        assert_eq!(
            (code, &report["drift"]),
            (Some(0), &json!(0)),
            "{what}: {report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_sees_altered_bytes_and_repairs_what_can_be() {
    let data = tempfile::tempdir().expect("a directory");
    filled(data.path(), 3, &[]).await;
    // A byte in the middle of a postings file, which no footer checks when it is opened.
    let path = file(&data.path().join("keyword"), ".pos");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[0] ^= 0xff;
    std::fs::write(&path, bytes).expect("written");
    let (code, report) = doctor(data.path(), &[]);
    assert_eq!(
        (code, &report["datasets"][0]["keywordAltered"]),
        (Some(1), &json!(true)),
        "{report}"
    );
    let (code, report) = doctor(data.path(), &["--repair"]);
    assert_eq!(
        (code, &report["datasets"][0]["repaired"]),
        (Some(0), &json!(true)),
        "{report}"
    );

    let blob = file(&data.path().join("blobs"), "");
    std::fs::write(blob, "other bytes").expect("written");
    assert_eq!(
        doctor(data.path(), &[]).0,
        Some(0),
        "reading every blob is asked for"
    );
    let (code, report) = doctor(data.path(), &["--verify-blobs"]);
    let altered = report["datasets"][0]["blobsAltered"].as_array();
    assert_eq!(
        (code, altered.map(Vec::len)),
        (Some(1), Some(1)),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_its_indexes_says_so_and_readiness_waits() {
    let data = tempfile::tempdir().expect("a directory");
    let (key, dataset) = filled(data.path(), 30, &[]).await;
    for directory in ["keyword", "vectors"] {
        std::fs::remove_dir_all(data.path().join(directory)).expect("removed, as in a backup");
    }
    let server = Process::start(data.path());
    let mut ready = false;
    for _ in 0..400 {
        let status = reqwest::get(format!("{}/readyz", server.url))
            .await
            .expect("an answer")
            .status();
        let answer = hits(&server, &key, &dataset).await;
        let found = answer["results"].as_array().map_or(0, Vec::len);
        if answer["degraded"].is_array() {
            assert_eq!(
                (
                    &answer["totals"]["complete"],
                    &answer["confidence"]["noConfidentAnswer"]
                ),
                (&json!(false), &json!(true)),
                "{answer}"
            );
        } else {
            assert_eq!(found, 10, "what says nothing has everything: {answer}");
        }
        if status == StatusCode::OK {
            assert_eq!(found, 10, "{answer}");
            ready = true;
            break;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(ready);
}

/// An export with other contents.
fn crafted(good: &Path, to: &Path, change: impl Fn(&mut BTreeMap<String, Vec<u8>>)) {
    let mut archive =
        zip::ZipArchive::new(std::fs::File::open(good).expect("opens")).expect("an archive");
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        let name = entry.name().expect("a name").into_owned();
        entries.insert(name, bytes);
    }
    change(&mut entries);
    let mut archive = zip::ZipWriter::new(std::fs::File::create(to).expect("creates"));
    for (name, bytes) in entries {
        archive
            .start_file(name, SimpleFileOptions::default())
            .expect("an entry");
        archive.write_all(&bytes).expect("written");
    }
    archive.finish().expect("finished");
}

fn replace(entries: &mut BTreeMap<String, Vec<u8>>, entry: &str, from: &str, to: &str) {
    let bytes = entries.get_mut(entry).expect("the entry");
    let before = String::from_utf8(bytes.clone()).expect("text");
    assert!(before.contains(from), "{entry} has no {from}: {before}");
    *bytes = before.replacen(from, to, 1).into_bytes();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crafted_file_is_refused_and_leaves_nothing_behind() {
    type Change = fn(&mut BTreeMap<String, Vec<u8>>);
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    service
        .add(
            &dataset,
            "a.md",
            "# Herons\n\nHerons wait in shallow water.",
        )
        .await;
    let caller = service
        .app
        .local_caller(tenants::DEFAULT)
        .await
        .expect("a caller");
    let good = service.data.path().join("good.cairn");
    portable::export(&service.app, &caller, &dataset, &good)
        .await
        .expect("exports");
    let changes: [(&str, Change); 11] = [
        ("a blob that is damaged", |e| {
            let blob = e
                .iter_mut()
                .find(|(name, _)| name.starts_with("blobs/"))
                .expect("a blob");
            blob.1.push(b'x');
        }),
        ("a blob that is missing", |e| {
            let name = e
                .keys()
                .find(|name| name.starts_with("blobs/"))
                .expect("a blob")
                .clone();
            e.remove(&name);
        }),
        ("a path as a hash", |e| {
            replace(
                e,
                "documents.jsonl",
                "\"blob_hash\":\"",
                "\"blob_hash\":\"../../../../etc/passwd",
            )
        }),
        ("an unknown status", |e| {
            replace(
                e,
                "documents.jsonl",
                "\"status\":\"indexed\"",
                "\"status\":\"wonderful\"",
            )
        }),
        ("a span that is none", |e| {
            replace(e, "chunks.jsonl", "\"start_byte\":0", "\"start_byte\":3")
        }),
        ("a text with another hash", |e| {
            replace(e, "chunks.jsonl", "Herons wait", "Egrets wait")
        }),
        ("a chunk there twice", |e| {
            let chunks = e.get_mut("chunks.jsonl").expect("the entry");
            chunks.extend(chunks.clone());
        }),
        ("vectors of another length", |e| {
            replace(e, "manifest.json", "\"vectorSize\":384", "\"vectorSize\":4");
            let vectors = e.get_mut("embeddings.bin").expect("the entry");
            vectors.truncate(32 + 16);
        }),
        ("a huge vector", |e| {
            replace(
                e,
                "manifest.json",
                "\"vectorSize\":384",
                "\"vectorSize\":1099511627776",
            )
        }),
        ("a vector of nonsense", |e| {
            let vectors = e.get_mut("embeddings.bin").expect("the entry");
            vectors[32..36].copy_from_slice(&f32::NAN.to_le_bytes());
        }),
        ("fewer vectors than told", |e| {
            let vectors = e.get_mut("embeddings.bin").expect("the entry");
            vectors.truncate(100);
        }),
    ];
    let file = service.data.path().join("crafted.cairn");
    for (what, change) in changes {
        crafted(&good, &file, change);
        let error = portable::import(&service.app, &caller, &file, Some("copy"))
            .await
            .expect_err(what);
        assert_eq!(error.code(), "import_unreadable", "{what}: {error}");
    }
    // The good file under the same name, beside the dataset that it came from.
    let copy = portable::import(&service.app, &caller, &good, Some("copy"))
        .await
        .expect("imports");
    assert_eq!(copy.total_chunks, 1);
    let listed = service.get("/kb/v1/datasets").await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2), "{listed}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_their_owner_reads_the_files_of_a_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().expect("a directory");
    let data = parent.path().join("data");
    filled(&data, 1, &[]).await;
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("there");
        metadata.permissions().mode() & 0o777
    };
    // Directories keep everybody else out, and what is in the first one is closed by itself, too.
    for name in ["", "blobs", "keyword", "vectors", "scratch"] {
        assert_eq!(mode(&data.join(name)), 0o700, "{name}");
    }
    for name in ["cairn.db", "secret.key", "lock"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_their_database_are_no_new_installation() {
    let data = tempfile::tempdir().expect("a directory");
    filled(data.path(), 1, &[]).await;
    std::fs::rename(data.path().join("cairn.db"), data.path().join("kept")).expect("renamed");
    let output = std::process::Command::new(program())
        .args(["keys", "list", "--data-dir"])
        .arg(data.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("cairn.db is missing"),
        "{said}"
    );
    assert!(!data.path().join("cairn.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_changes_nothing_of_the_first() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Process::start(data.path());
    let second = std::process::Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("another process uses"),
        "{said}"
    );
    let link = server.sandbox.clone();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let answer = client.get(&link).send().await.expect("an answer");
    let page = answer.text().await.expect("a body");
    assert!(!page.contains("link_consumed"), "{link}: {page}");
}

/// Sets the time of the last change of a file or directory to long ago.
fn age(path: &Path) {
    let file = std::fs::File::open(path).expect("there");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .expect("changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_killed_processes_left_is_swept_at_the_next_start() {
    let data = tempfile::tempdir().expect("a directory");
    filled(data.path(), 1, &[]).await;
    let (incoming, scratch) = (
        data.path().join("blobs/incoming"),
        data.path().join("scratch"),
    );
    std::fs::create_dir_all(&incoming).expect("made");
    let (upload, parse) = (
        incoming.join("01M8HFZP9YBKG50QHVG4CPGXZE#1"),
        scratch.join(".tmpx"),
    );
    std::fs::write(&upload, "half").expect("written");
    std::fs::create_dir(&parse).expect("made");
    std::fs::write(parse.join("41"), "half").expect("written");
    for path in [&upload, &parse] {
        age(path);
    }
    let fresh = incoming.join("01M8HFZP9YBKG50QHVG4CPGXZF#1");
    std::fs::write(&fresh, "coming in").expect("written");
    let _server = Process::start(data.path());
    assert!(!upload.exists() && !parse.exists() && fresh.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn housekeeping_removes_every_blob_that_nothing_refers_to() {
    let service = Service::start(Engine::Sqlite).await;
    let tenant = service.app.local_caller("default").await.expect("a tenant");
    for n in 0..1500 {
        let args = vec![
            tenant.tenant().to_owned().into(),
            format!("{n:064x}").into(),
        ];
        let sql =
            "INSERT INTO kb_blobs (tenant_id, hash, size_bytes, touched_on) VALUES ($1, $2, 1, 0)";
        service
            .app
            .db
            .execute(sql, Args(args))
            .await
            .expect("inserted");
    }
    cairn::housekeeping::run(&service.app).await.expect("runs");
    let (left,): (i64,) = service
        .app
        .db
        .one(
            "SELECT COUNT(*) FROM kb_blobs WHERE touched_on = 0",
            Args(Vec::new()),
        )
        .await
        .expect("a number");
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_on_a_full_disk_and_searches_words() {
    let data = tempfile::tempdir().expect("a directory");
    let (key, dataset) = filled(data.path(), 3, &[]).await;
    // More than any disk of a test machine has.
    let server = Process::start_with(data.path(), &["min_free_mb=8796093022207"]);
    let answer = hits(&server, &key, &dataset).await;
    assert_eq!(
        answer["results"].as_array().map(Vec::len),
        Some(3),
        "{answer}"
    );
    assert!(
        !answer["degraded"].as_array().expect("a list").is_empty(),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_secret_key_is_told_and_can_be_given_up() {
    let data = tempfile::tempdir().expect("a directory");
    let (key, _) = filled(data.path(), 0, &[]).await;
    let mut server = Process::start(data.path());
    let hook =
        json!({"name": "x", "url": "http://127.0.0.1:9/", "event_types": ["contact.created"]});
    let made = server
        .call(&key, Method::POST, "/v1/webhooks", Some(hook))
        .await;
    assert!(made.is_some());
    server.signal("-TERM");
    server.child.wait().expect("it ends");
    std::fs::remove_file(data.path().join("secret.key")).expect("removed");
    let output = std::process::Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("secret.key") && said.contains("--new-secret-key"),
        "{said}"
    );
    let (code, report) = doctor(data.path(), &["--new-secret-key"]);
    assert_eq!(code, Some(0), "{report}");
    let server = Process::start(data.path());
    let listed = server.call(&key, Method::GET, "/v1/webhooks", None).await;
    assert_eq!(listed.expect("a list")["data"][0]["status"], "disabled");
}
