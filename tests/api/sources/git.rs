//! Sources that are git repositories.

use serde_json::{Value, json};

use super::{counts, documents, names, save, saved, sync};
use crate::eventually;
use crate::support::git::Repository;
use crate::support::{Engine, Service, text};

async fn service(engine: Engine) -> (Service, String) {
    let service = Service::start_with(engine, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
    })
    .await;
    let dataset = service.dataset("d").await;
    (service, dataset)
}

fn settings(repository: &Repository) -> Value {
    json!({"kind": "git", "url": repository.url})
}

async fn a_repository_and_its_dataset_stay_in_step(engine: Engine) {
    let repository = Repository::start().await;
    repository.commit(&[
        ("docs/tides.md", Some("# Tides\n\nTides lag.")),
        ("docs/birds/cormorant.md", Some("Cormorants dry.")),
    ]);
    let (service, dataset) = service(engine).await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    assert_eq!(counts(&sync(&service, &source).await), [2, 0, 0, 0]);
    let both = ["docs/birds/cormorant.md", "docs/tides.md"];
    assert_eq!(names(&service, &dataset).await, both);
    assert_eq!(counts(&sync(&service, &source).await), [0, 0, 2, 0]);
    repository.commit(&[
        (
            "docs/tides.md",
            Some("# Tides\n\nTides lag behind the moon."),
        ),
        ("docs/birds/cormorant.md", None),
    ]);
    assert_eq!(counts(&sync(&service, &source).await), [0, 1, 0, 1]);
    assert_eq!(names(&service, &dataset).await, ["docs/tides.md"]);
    let moon = json!({"query": "moon", "datasetIds": [dataset]});
    eventually!(
        found in service.search(moon.clone()).await,
        "the new version is found",
        found.first().is_some_and(|hit| text(&hit["content"]).contains("behind the moon"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_and_its_dataset_stay_in_step_on_sqlite() {
    a_repository_and_its_dataset_stay_in_step(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_and_its_dataset_stay_in_step_on_postgres() {
    a_repository_and_its_dataset_stay_in_step(Engine::Postgres).await;
}

/// Text that does not become smaller by compression.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    (0..20_000).map(|_| format!("{:08x} ", next())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_received_without_the_rest() {
    let repository = Repository::start().await;
    let large: Vec<(String, String)> = (0..4).map(|i| (format!("{i}.txt"), noise(i))).collect();
    let files: Vec<_> = large
        .iter()
        .map(|(n, c)| (n.as_str(), Some(c.as_str())))
        .collect();
    repository.commit(&files);
    let (service, dataset) = service(Engine::Sqlite).await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    sync(&service, &source).await;
    assert!(repository.sent() > 200_000, "the files were sent");
    repository.commit(&[("note.md", Some("A note."))]);
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 4, 0]);
    assert!(repository.sent() < 10_000, "only the change was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_was_rewritten_is_followed() {
    let repository = Repository::start().await;
    repository.commit(&[("a.md", Some("Tides lag."))]);
    let (service, dataset) = service(Engine::Sqlite).await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    sync(&service, &source).await;
    repository.rewrite("b.md", "Cormorants dry.");
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_and_a_branch_choose_the_files() {
    let repository = Repository::start().await;
    repository.commit(&[("a.md", Some("Of the main branch."))]);
    repository.branch("next");
    repository.commit(&[
        ("b.md", Some("Of the next branch.")),
        ("drafts/c.md", Some("A draft.")),
        ("d.txt", Some("No Markdown.")),
    ]);
    repository.checkout("main");
    let (service, dataset) = service(Engine::Sqlite).await;
    let mut settings = settings(&repository);
    settings["branch"] = json!("next");
    settings["include"] = json!(["*.md"]);
    settings["exclude"] = json!(["drafts/"]);
    let source = saved(&service, &dataset, settings).await;
    assert_eq!(counts(&sync(&service, &source).await), [2, 0, 0, 0]);
    assert_eq!(names(&service, &dataset).await, ["a.md", "b.md"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_left_out_and_pointers_to_large_files_are_told() {
    let repository = Repository::start().await;
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("link.md")).expect("a link");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    repository.commit(&[("large.md", Some(pointer))]);
    let (service, dataset) = service(Engine::Sqlite).await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    sync(&service, &source).await;
    let items = service.get(&format!("{source}/items")).await;
    assert_eq!(items["data"].as_array().map(Vec::len), Some(1), "{items}");
    assert_eq!(items["data"][0]["verdict"], "failed");
    assert!(text(&items["data"][0]["reason"]).contains("Git LFS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_leads_to_the_page_of_its_file() {
    let repository = Repository::start().await;
    repository.commit(&[("docs/a b.md", Some("Tides lag."))]);
    let (service, dataset) = service(Engine::Sqlite).await;
    let mut settings = settings(&repository);
    settings["pageUrl"] = json!("https://git.example/main/{path}");
    let source = saved(&service, &dataset, settings).await;
    sync(&service, &source).await;
    let document = documents(&service, &dataset).await.remove(0);
    assert_eq!(document["url"], "https://git.example/main/docs/a%20b.md");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_repository_needs_its_token() {
    let repository = Repository::start().await;
    repository.commit(&[("a.md", Some("Tides lag."))]);
    // The base64 form of "git:token".
    repository.demand("Basic Z2l0OnRva2Vu");
    let (service, dataset) = service(Engine::Sqlite).await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    let refused = sync(&service, &source).await;
    assert_eq!(refused["status"], "failed");
    assert!(
        text(&refused["errorMessage"]).contains("another secret"),
        "{refused}"
    );
    let path = format!("/kb/v1/datasets/{dataset}/sources");
    let body = json!({"name": "s", "settings": settings(&repository), "secret": "token"});
    service.call(reqwest::Method::PUT, &path, Some(body)).await;
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_has_moved_is_followed() {
    let repository = Repository::start().await;
    repository.commit(&[("a.md", Some("Tides lag."))]);
    let (service, dataset) = service(Engine::Sqlite).await;
    let url = repository.url.replace("/r", "/moved");
    let source = saved(&service, &dataset, json!({"kind": "git", "url": url})).await;
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_damaged_is_made_anew() {
    let repository = Repository::start().await;
    repository.commit(&[("a.md", Some("Tides lag."))]);
    let (service, dataset) = service(Engine::Sqlite).await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    sync(&service, &source).await;
    let copies = service.app.config.data_dir.join("repositories");
    let copy = std::fs::read_dir(copies)
        .expect("copies")
        .next()
        .expect("one")
        .expect("readable");
    let copy = copy.path().join("copy");
    std::fs::write(copy.join("shallow.lock"), "").expect("written");
    std::fs::remove_file(copy.join("HEAD")).expect("removed");
    repository.commit(&[("b.md", Some("Cormorants dry."))]);
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_is_too_large_says_so() {
    let repository = Repository::start().await;
    let (first, second) = (noise(1).repeat(4), noise(2).repeat(4));
    repository.commit(&[("a.txt", Some(&first)), ("b.txt", Some(&second))]);
    for i in 0..12 {
        let name = format!("{i}.txt");
        repository.commit(&[(&name, Some(&noise(i + 10)))]);
    }
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
        config.source_repository_mb = 1;
    })
    .await;
    let dataset = service.dataset("d").await;
    let source = saved(&service, &dataset, settings(&repository)).await;
    let refused = sync(&service, &source).await;
    assert_eq!(refused["status"], "failed");
    assert!(
        text(&refused["errorMessage"]).contains("source_repository_mb"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_is_not_there_loses_nothing() {
    let repository = Repository::start().await;
    repository.commit(&[("a.md", Some("Tides lag."))]);
    repository.branch("next");
    let (service, dataset) = service(Engine::Sqlite).await;
    let mut settings = settings(&repository);
    settings["branch"] = json!("gone");
    let source = saved(&service, &dataset, settings).await;
    let refused = sync(&service, &source).await;
    assert_eq!(refused["status"], "failed");
    assert!(text(&refused["errorMessage"]).contains("gone"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_inside_the_network_or_with_a_password_in_its_address_is_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    for (url, code) in [
        ("http://127.0.0.1:9/r", "address_refused"),
        ("https://a:b@git.example/r", "source_settings_invalid"),
        ("file:///etc", "source_settings_invalid"),
        ("git@git.example:o/r.git", "source_settings_invalid"),
        ("ssh://git@git.example/r", "source_settings_invalid"),
    ] {
        let (_, answer) = save(&service, &dataset, json!({"kind": "git", "url": url})).await;
        assert_eq!(answer["error"]["reason"], code, "{url}: {answer}");
    }
}
