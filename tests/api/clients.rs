//! Clients of others against Cairn: generated from the OpenAPI document, and the libraries of the tools whose APIs Cairn speaks.

use std::path::{Path, PathBuf};

use cairn::db::Args;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::on_both;
use crate::support::{Engine, Service, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `tests/run` installs clients.
fn installed() -> PathBuf {
    root().join("target/clients")
}

fn script(name: &str) -> PathBuf {
    root().join("tests/clients").join(name)
}

/// Runs a command, which has to succeed; gives what it printed.
async fn succeeds(command: &mut Command) -> String {
    let output = command.kill_on_drop(true).output().await;
    let output = output.expect("python3 and node are installed (tests/run installs them)");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Python with the installed packages.
fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", installed().join("python"));
    command
}

fn node(tool: &str) -> Command {
    Command::new(installed().join("node/node_modules/.bin").join(tool))
}

/// Writes the document into a folder.
fn document(folder: &Path) -> PathBuf {
    let path = folder.join("openapi.json");
    let text = serde_json::to_vec(&cairn::api::openapi()).expect("JSON");
    std::fs::write(&path, text).expect("written");
    path
}

/// The pages of the sandbox have their types in comments.
#[tokio::test]
async fn the_pages_pass_the_type_checker() {
    let options = [
        "--noEmit",
        "--allowJs",
        "--checkJs",
        "--strict",
        "--target",
        "es2023",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
        "--lib",
        "es2023,dom,dom.iterable",
    ];
    let app = root().join("src/api/sandbox/web/app.js");
    succeeds(node("tsc").args(options).arg(app)).await;
}

/// To format them: `target/clients/node/node_modules/.bin/prettier --print-width 140 --single-quote --write 'src/api/**/*.{js,css}'`.
#[tokio::test]
async fn the_pages_are_formatted() {
    let options = ["--print-width", "140", "--single-quote", "--check"];
    let files = root().join("src/api/**/*.{js,css}");
    succeeds(node("prettier").args(options).arg(files)).await;
}

#[test]
fn the_lines_of_pages_have_at_most_140_characters() {
    let pages = ignore::WalkBuilder::new(root().join("src/api")).build();
    let mut files = 0;
    for entry in pages {
        let entry = entry.expect("readable");
        let is_page = |e: &std::ffi::OsStr| ["js", "css", "html"].iter().any(|kind| e == *kind);
        if !entry.path().extension().is_some_and(is_page) {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(entry.path()).expect("text");
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", entry.path().display(), number + 1);
            assert!(line.chars().count() <= 140, "{place}");
        }
    }
    assert!(files > 50, "{files} files were read");
}

#[tokio::test]
async fn the_document_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = document(folder.path());
    succeeds(
        python()
            .args(["-m", "openapi_spec_validator"])
            .arg(document),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_python_client_uploads_searches_and_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = document(folder.path());
    let config = folder.path().join("config.yaml");
    std::fs::write(
        &config,
        "project_name_override: client\npackage_name_override: cairn_client\npost_hooks: []\n",
    )
    .expect("written");
    let client = folder.path().join("client");
    let said = succeeds(
        python()
            .args(["-m", "openapi_python_client", "generate", "--meta", "none"])
            .arg("--path")
            .arg(document)
            .arg("--config")
            .arg(config)
            .arg("--output-path")
            .arg(client.join("cairn_client")),
    )
    .await;
    // Bodies that are neither JSON nor forms cannot be generated: rows as CSV and JSON lines, PDF files.
    let warnings = said.matches("WARNING").count();
    let types = said.matches("Unsupported content type").count()
        + said.matches("Unsupported content_type").count();
    assert_eq!(warnings, types, "{said}");
    let service = Service::start(Engine::Sqlite).await;
    let arguments = [client.to_str().expect("UTF-8"), &service.url, &service.key];
    let said = succeeds(python().arg(script("generated.py")).args(arguments)).await;
    assert_eq!(said.trim(), "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_typescript_client_uploads_and_searches() {
    // Modules are looked for beside and above the importing file.
    let folder =
        tempfile::tempdir_in(installed().join("node")).expect("tests/run has installed clients");
    let document = document(folder.path());
    let schema = folder.path().join("schema.d.ts");
    succeeds(
        node("openapi-typescript")
            .arg(document)
            .arg("--output")
            .arg(&schema),
    )
    .await;
    let source = folder.path().join("generated.ts");
    std::fs::copy(script("generated.ts"), &source).expect("copied");
    succeeds(
        node("tsc")
            .current_dir(folder.path())
            .args([
                "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node",
                "--outDir",
            ])
            .arg(folder.path())
            .arg(source),
    )
    .await;
    let service = Service::start(Engine::Sqlite).await;
    let program = folder.path().join("generated.js");
    let said = succeeds(
        Command::new("node")
            .arg(program)
            .args([&service.url, &service.key]),
    )
    .await;
    assert_eq!(said.trim(), "done");
}

on_both! {
    async fn the_client_of_openai_embeds_uploads_and_searches(service: Service) {
        let arguments = [&service.url, &service.key];
        let said = succeeds(python().arg(script("openai_client.py")).args(arguments)).await;
        assert_eq!(said.trim(), "done");
    }

    async fn the_clients_of_ragflow_and_langserve_retrieve(service: Service) {
        let dataset = service.dataset("tides").await;
        service.add(&dataset, "tide.md", "# Tides\n\nThe tide lags behind the moon because of the friction at the sea floor.").await;
        let arguments = [&service.url, &service.key, &dataset];
        let said = succeeds(python().arg(script("retrieval_clients.py")).args(arguments)).await;
        assert_eq!(said.trim(), "done");
    }

    async fn the_client_of_cohere_ranks_texts(service: Service) {
        let models = service.get("/openai/v1/models").await;
        let model = text(&models["data"][0]["id"]);
        let arguments = [&service.url, &service.key, &model];
        let said = succeeds(python().arg(script("cohere_client.py")).args(arguments)).await;
        assert_eq!(said.trim(), "done");
    }

    async fn a_key_for_one_dataset_sees_its_own_files_only(service: Service) {
        let made = service.post("/openai/v1/vector_stores", json!({"name": "sea"})).await;
        let key = service.key_with(&["kb:*"], Some(vec![text(&made["id"])])).await;
        let of_others = uploaded(&service, &service.key).await;
        let own = uploaded(&service, &key).await;
        let (_, listed) = service.call_as(&key, Method::GET, "/openai/v1/files", None).await;
        assert_eq!((listed["data"].as_array().map(Vec::len), &listed["first_id"]), (Some(1), &json!(own)));
        let path = format!("/openai/v1/vector_stores/{}/files", text(&made["id"]));
        let (status, refused) = service.call_as(&key, Method::POST, &path, Some(json!({"file_id": of_others}))).await;
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (404, &json!("file_not_found")), "{refused}");
        let (status, added) = service.call_as(&key, Method::POST, &path, Some(json!({"file_id": own}))).await;
        assert_eq!(status.as_u16(), 200, "{added}");
    }

    async fn an_uploaded_file_is_kept_until_it_is_deleted(service: Service) {
        let id = uploaded(&service, &service.key).await;
        let an_hour = "UPDATE kb_blobs SET touched_on = 0";
        service.app.db.execute(an_hour, Args::default()).await.expect("aged");
        assert_eq!(service.app.blobs.garbage(&service.app.db).await.expect("garbage"), []);
        service.call(Method::DELETE, &format!("/openai/v1/files/{id}"), None).await;
        assert_eq!(service.app.blobs.garbage(&service.app.db).await.expect("garbage").len(), 1);
    }
}

/// Uploads a file with a key; gives its id.
async fn uploaded(service: &Service, key: &str) -> String {
    let file = Part::text("# Tides").file_name("tides.md");
    let form = Form::new().text("purpose", "assistants").part("file", file);
    let address = format!("{}/openai/v1/files", service.url);
    let sent = service.http.post(address).bearer_auth(key).multipart(form);
    let answer: Value = sent
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    text(&answer["id"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_retrievers_work_with_their_packages() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("tides").await;
    let file = Part::text(
        "# Tides\n\nThe tide lags behind the moon because of the friction at the sea floor.",
    );
    let form = Form::new().part("files", file.file_name("tides.md"));
    let address = format!(
        "{}/kb/v1/datasets/{dataset}/documents?wait=indexed",
        service.url
    );
    let sent = service
        .http
        .post(address)
        .bearer_auth(&service.key)
        .multipart(form);
    assert_eq!(sent.send().await.expect("an answer").status().as_u16(), 200);
    let page = root().join("src/api/RETRIEVERS.md");
    let arguments = [
        page.to_str().expect("UTF-8"),
        &service.url,
        &service.key,
        &dataset,
    ];
    let said = succeeds(python().arg(script("retrievers.py")).args(arguments)).await;
    assert_eq!(said.trim(), "done");
}
