//! The program as a person or a script uses it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::site::{Site, page};
use crate::support::{Engine, Service, pdf, program, text};

fn cairn(data: &Path, arguments: &[&str]) -> Output {
    Command::new(program())
        .arg("--data-dir")
        .arg(data)
        .args(arguments)
        .env("CAIRN_LOG", "error")
        .output()
        .expect("the program runs")
}

fn read(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{e}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn files_of_one_name_do_not_replace_each_other() {
    let data = tempfile::tempdir().expect("temporary directory");
    let files = tempfile::tempdir().expect("temporary directory");
    let mut arguments = vec!["ingest".to_owned()];
    for folder in ["one", "two"] {
        std::fs::create_dir(files.path().join(folder)).expect("a folder");
        let path = files.path().join(folder).join("README.md");
        std::fs::write(&path, format!("# {folder}\n\nAbout {folder}.")).expect("writable");
        arguments.push(path.display().to_string());
    }
    // Given twice, a file is taken once.
    arguments.push(arguments[1].clone());
    arguments.extend(["--dataset", "d", "--json"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = read(&cairn(data.path(), &arguments));
    let names: Vec<String> = report["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|f| text(&f["fileName"]))
        .collect();
    assert_eq!(names.len(), 2, "{report}");
    assert!(names[0].ends_with("one/README.md") && names[1].ends_with("two/README.md"));
}

#[test]
fn files_are_ingested_searched_checked_and_left_alone_when_unchanged() {
    let data = tempfile::tempdir().expect("temporary directory");
    let files = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(files.path().join("sub")).expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(files.path().join(name), bytes).expect("writable")
    };
    write("a.md", b"# Tides\n\nSpring tides follow the full moon.\n");
    write("sub/b.pdf", &pdf(&["Neap tides are weak."]));
    write("broken.pdf", b"%PDF-1.7 nothing");
    write("image.png", b"\x89PNG\r\n\x1a\n00000000");
    let folder = files.path().display().to_string();
    let ingest = cairn(
        data.path(),
        &["ingest", &folder, "--dataset", "sea", "--json"],
    );
    let report = read(&ingest);
    assert_eq!(ingest.status.code(), Some(3), "done in part: {report}");
    let mut outcomes: Vec<(String, String)> = report["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|f| (text(&f["fileName"]), text(&f["status"])))
        .collect();
    outcomes.sort();
    let expected = [
        ("a.md", "indexed"),
        ("broken.pdf", "error"),
        ("sub/b.pdf", "indexed"),
    ]
    .map(|(n, s)| (n.to_owned(), s.to_owned()));
    assert_eq!(outcomes, expected);
    assert!(text(&report["skipped"][0]).starts_with("image.png"));

    let found = read(&cairn(
        data.path(),
        &[
            "search",
            "spring tides",
            "--dataset",
            "sea",
            "--json",
            "--explain",
        ],
    ));
    assert_eq!(
        (
            &found["results"][0]["fileName"],
            &found["results"][0]["rankSource"]
        ),
        (&Value::from("a.md"), &Value::from("hybrid"))
    );
    let people =
        String::from_utf8(cairn(data.path(), &["search", "spring tides", "--explain"]).stdout)
            .expect("text");
    assert!(
        people.contains("a.md — Tides") && people.contains("cosine") && people.contains("BM25"),
        "{people}"
    );

    std::fs::remove_file(files.path().join("broken.pdf")).expect("removed");
    write(
        "a.md",
        b"# Tides\n\nSpring tides follow the new moon, too.\n",
    );
    let again = cairn(
        data.path(),
        &["ingest", &folder, "--dataset", "sea", "--json"],
    );
    let statuses: Vec<Value> = read(&again)["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|f| f["status"].clone())
        .collect();
    assert_eq!((again.status.code(), statuses.len()), (Some(0), 2));
    assert!(
        statuses.contains(&Value::from("unchanged")) && statuses.contains(&Value::from("indexed"))
    );
    let found = read(&cairn(
        data.path(),
        &["search", "full moon", "--alpha", "0", "--json"],
    ));
    assert!(
        !found.to_string().contains("full moon"),
        "the old version went"
    );

    let doctor = cairn(data.path(), &["doctor"]);
    assert!(doctor.status.success() && String::from_utf8_lossy(&doctor.stdout).contains("drift 0"));
}

#[test]
fn a_folder_of_more_files_than_are_stored_at_once_is_ingested() {
    let data = tempfile::tempdir().expect("temporary directory");
    let files = tempfile::tempdir().expect("temporary directory");
    for n in 0..60 {
        let text = format!("Buoy number {n} is painted every spring.");
        std::fs::write(files.path().join(format!("{n}.txt")), text).expect("written");
    }
    let folder = files.path().display().to_string();
    let output = cairn(
        data.path(),
        &["ingest", &folder, "--dataset", "sea", "--json"],
    );
    let report = read(&output);
    let outcomes = report["files"].as_array().expect("files").iter();
    let indexed = outcomes.filter(|f| f["status"] == "indexed").count();
    assert_eq!(indexed, 60, "{report}");
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let data = tempfile::tempdir().expect("temporary directory");
    let created = read(&cairn(
        data.path(),
        &[
            "keys",
            "create",
            "--name",
            "ci",
            "--scope",
            "kb:read,kb:search",
            "--scope",
            "kb:write",
            "--json",
        ],
    ));
    assert!(text(&created["key"]).starts_with("cairn_"));
    assert_eq!(
        created["scopes"],
        serde_json::json!(["kb:read", "kb:search", "kb:write"])
    );
    let listed = read(&cairn(data.path(), &["keys", "list", "--json"]));
    assert_eq!(
        (&listed[0]["name"], listed[0].get("key")),
        (&Value::from("ci"), None)
    );
    let id = text(&created["id"]);
    assert!(
        cairn(data.path(), &["keys", "revoke", &id])
            .status
            .success()
    );
    let again = cairn(data.path(), &["keys", "revoke", &id]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("no active key with this id"));
    let unknown = cairn(data.path(), &["keys", "create", "--scope", "kb:fly"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("kb:write"));
}

#[test]
fn help_teaches_and_settings_are_shown_with_their_origin() {
    let data = tempfile::tempdir().expect("temporary directory");
    for command in [
        "serve", "work", "demo", "ingest", "crawl", "search", "eval", "keys", "mcp", "models",
        "doctor", "bench",
    ] {
        let help = cairn(data.path(), &[command, "--help"]);
        assert!(
            help.status.success() && help.stdout.len() > 200,
            "{command}"
        );
    }
    let shown = Command::new(program())
        .args(["serve", "--print-config", "--set", "workers=3"])
        .env("CAIRN_LISTEN", "127.0.0.1:9")
        .output()
        .expect("runs");
    let text = String::from_utf8(shown.stdout).expect("text");
    assert!(
        text.contains("listen = \"127.0.0.1:9\"  # from: CAIRN_LISTEN")
            && text.contains("workers = 3  # from: command line"),
        "{text}"
    );
    let wrong = cairn(data.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("allow_remote"));
    let none = cairn(data.path(), &["search", "x"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no dataset yet"));
    let small = cairn(
        data.path(),
        &["models", "calibrate", "--dataset", "none", "--json"],
    );
    assert_eq!(small.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&small.stdout).contains("dataset_not_found"));
    let missing = Command::new(program())
        .args([
            "models",
            "verify",
            "--json",
            "--set",
            "offline=true",
            "--set",
            "models_dir=/nonexistent",
        ])
        .output()
        .expect("runs");
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stdout).contains("cairn models pull"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_and_search_work_against_a_server() {
    let service = Service::start(Engine::Sqlite).await;
    let files = tempfile::tempdir().expect("temporary directory");
    std::fs::write(
        files.path().join("a.txt"),
        "Cormorants dry their wings on the pier.",
    )
    .expect("writable");
    let run = |arguments: Vec<String>| {
        tokio::task::spawn_blocking(move || {
            Command::new(program())
                .args(arguments)
                .env("CAIRN_LOG", "error")
                .output()
                .expect("runs")
        })
    };
    let words = |list: &[&str]| {
        list.iter()
            .map(|s| (*s).to_owned())
            .chain([
                "--url".to_owned(),
                service.url.clone(),
                "--key".to_owned(),
                service.key.clone(),
                "--json".to_owned(),
            ])
            .collect::<Vec<_>>()
    };
    let folder = files.path().display().to_string();
    for expected in ["indexed", "unchanged"] {
        let output = run(words(&["ingest", &folder, "--dataset", "birds"]))
            .await
            .expect("joined");
        assert_eq!(read(&output)["files"][0]["status"], expected);
    }
    let found = read(
        &run(words(&["search", "cormorants", "--dataset", "birds"]))
            .await
            .expect("joined"),
    );
    assert_eq!(found["results"][0]["fileName"], "a.txt");
    let in_use = cairn(service.data.path(), &["search", "x", "--dataset", "birds"]);
    assert!(
        String::from_utf8_lossy(&in_use.stderr).contains("--url"),
        "an open data directory says how to reach it"
    );
}

#[test]
fn a_collection_is_measured() {
    let data = tempfile::tempdir().expect("temporary directory");
    let collection = tempfile::tempdir().expect("temporary directory");
    let write = |name: &str, lines: &[&str]| {
        std::fs::write(collection.path().join(name), lines.join("\n")).expect("writable")
    };
    write(
        "corpus.jsonl",
        &[
            r#"{"_id": "d1", "title": "Otters", "text": "Otters hold hands while they sleep."}"#,
            r#"{"_id": "d2", "title": "", "text": "Concrete hardens by hydration."}"#,
            r#"{"_id": "d3", "title": "Title only", "text": ""}"#,
        ],
    );
    write(
        "queries.jsonl",
        &[
            r#"{"_id": "q1", "text": "why does concrete harden"}"#,
            r#"{"_id": "q2", "text": "otters asleep"}"#,
            r#"{"_id": "q3", "text": "not judged"}"#,
        ],
    );
    std::fs::create_dir(collection.path().join("qrels")).expect("a folder");
    write(
        "qrels/test.tsv",
        &["query-id\tcorpus-id\tscore", "q1\td2\t1", "q2\td1\t1"],
    );
    let report = read(&cairn(
        data.path(),
        &["eval", &collection.path().display().to_string(), "--json"],
    ));
    assert_eq!(
        (&report["documents"], &report["queries"]),
        (&Value::from(3), &Value::from(2))
    );
    for row in report["results"].as_array().expect("rows") {
        assert_eq!(row["ndcg_at_10"], 1.0, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_their_own_ingest_on_a_shared_database() {
    let mut service = Service::start(Engine::Postgres).await;
    service.stop().await;
    let alone = cairn(service.data.path(), &["work"]);
    assert_eq!(alone.status.code(), Some(2), "SQLite is not shared");
    let mut worker = Command::new(program())
        .args(["work", "--data-dir"])
        .arg(service.data.path())
        .env("CAIRN_DATABASE_URL", &service.app.config.database_url)
        .env("CAIRN_LOG", "error")
        .spawn()
        .expect("the worker starts");
    let dataset = service.dataset("d").await;
    let (_, body) = service
        .upload(
            &dataset,
            &[("a.txt", b"Oystercatchers probe the mud.")],
            &[],
        )
        .await;
    let id = text(&body["uploadedFiles"][0]["id"]);
    let app = &service.app;
    let engine = app.engine().await.expect("open");
    let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{id}/status");
    crate::eventually!(
        within 60,
        last in {
            // this process serves: it only follows the log
            cairn::search::follower::catch_up(app, engine)
                .await
                .expect("follows");
            service.get(&path).await
        },
        "the worker indexes the file",
        last["status"] == "indexed"
    );
    let hits = service
        .search(serde_json::json!({"query": "birds on the shore", "datasetIds": [dataset]}))
        .await;
    assert_eq!(hits[0]["fileName"], "a.txt");
    Command::new("kill")
        .args(["-TERM", &worker.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(worker.wait().expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crawl_takes_a_site_and_says_what_became_of_it() {
    let site = Site::start(vec![
        ("/", page("the quay", &["/boats", "/gone"])),
        ("/boats", page("rowing boats", &["/"])),
    ])
    .await;
    let data = tempfile::tempdir().expect("temporary directory");
    let run = async |more: &[&str]| {
        let mut arguments = vec!["crawl", &site.url, "--dataset", "quay", "--rate", "200"];
        arguments.extend(more);
        let (path, arguments): (_, Vec<String>) = (
            data.path().to_owned(),
            arguments.iter().map(|a| (*a).to_owned()).collect(),
        );
        tokio::task::spawn_blocking(move || {
            cairn(
                &path,
                &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        })
        .await
        .expect("runs")
    };
    let refused = run(&[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("outgoing_allow"),
        "{refused:?}"
    );
    let allow = ["--set", "outgoing_allow=127.0.0.1"];
    let first = run(&[&allow[..], &["--report"]].concat()).await;
    let said = String::from_utf8_lossy(&first.stdout).into_owned();
    assert_eq!(first.status.code(), Some(3), "{first:?}");
    assert!(
        said.contains(&format!("new       {}/boats", site.url))
            && said.contains("the server returned 404")
            && said.contains("2 pages indexed: 2 new"),
        "{said}"
    );
    site.remove("/gone");
    site.set("/gone", page("what is back", &[]));
    let again = run(&[&allow[..], &["--json"]].concat()).await;
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let said = read(&again);
    assert_eq!(
        (&said["crawl"]["pagesUnchanged"], &said["crawl"]["pagesNew"]),
        (&json!(2), &json!(1)),
        "{said}"
    );
    let elsewhere = cairn(
        data.path(),
        &["crawl", "ftp://example.com", "--dataset", "quay"],
    );
    assert_eq!(elsewhere.status.code(), Some(2), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_are_imported_from_csv() {
    let data = tempfile::tempdir().expect("a directory");
    let (file, bad) = (data.path().join("people.csv"), data.path().join("bad.csv"));
    std::fs::write(
        &file,
        "Name,E-Mail,Tier\nJane,jane@a.com,Gold\nJoe,nowhere,\nAnn,ann@b.com,\n",
    )
    .expect("written");
    let (path, errors) = (file.display().to_string(), bad.display().to_string());
    let import = |more: &[&str]| {
        let mut arguments = vec![
            "import",
            path.as_str(),
            "--as",
            "contacts",
            "--map",
            "E-Mail=email",
            "--json",
        ];
        arguments.extend(more);
        let output = cairn(data.path(), &arguments);
        (output.status.code(), read(&output))
    };
    let (code, dry) = import(&["--dry-run"]);
    assert_eq!(
        (code, &dry["imported"], &dry["refused"]),
        (Some(3), &json!(2), &json!(1))
    );
    for _ in 0..2 {
        // The second time adds nothing.
        let (code, done) = import(&["--errors", &errors]);
        assert_eq!((code, &done["imported"]), (Some(3), &json!(2)), "{done}");
    }
    let refused = std::fs::read_to_string(&bad).expect("written");
    assert_eq!(
        refused,
        "Name,E-Mail,Tier,error\nJoe,nowhere,,email must be an email address\n"
    );
    let wrong = cairn(data.path(), &["import", &path, "--as", "dreams"]);
    assert_eq!(
        wrong.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&wrong.stderr)
    );
}
