//! Sources: what a dataset has after each sync of a folder, a bucket and a feed; repositories and mailboxes are in files of their own.

mod git;
mod mail;

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually;
use crate::support::site::{Site, page, raw};
use crate::support::{Engine, Service, text};

/// A service whose sources may read a folder and reach this machine, and the folder.
async fn with_folder(engine: Engine) -> (Service, TempDir) {
    let folder = tempfile::tempdir().expect("temporary directory");
    let permitted = folder.path().display().to_string();
    let service = Service::start_with(engine, |config| {
        config.source_folders = permitted;
        config.outgoing_allow = "127.0.0.0/8".to_owned();
    })
    .await;
    (service, folder)
}

async fn save(service: &Service, dataset: &str, settings: Value) -> (StatusCode, Value) {
    let path = format!("/kb/v1/datasets/{dataset}/sources");
    let body = json!({"name": "s", "settings": settings});
    service.call(Method::PUT, &path, Some(body)).await
}

/// Saves a source and returns the path of its operations.
async fn saved(service: &Service, dataset: &str, settings: Value) -> String {
    let (status, source) = save(service, dataset, settings).await;
    assert_eq!(status, StatusCode::OK, "{source}");
    format!("/kb/v1/datasets/{dataset}/sources/{}", text(&source["id"]))
}

async fn start(service: &Service, source: &str) -> String {
    let (status, started) = service
        .call(Method::POST, &format!("{source}/syncs"), None)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    format!("{source}/syncs/{}", text(&started["id"]))
}

async fn over(service: &Service, sync: &str) -> Value {
    eventually!(
        within 60,
        last in service.get(sync).await,
        "the sync ends",
        !matches!(last["status"].as_str(), Some("queued" | "running"))
    )
}

/// Syncs a source and returns the sync when it is over.
async fn sync(service: &Service, source: &str) -> Value {
    over(service, &start(service, source).await).await
}

/// Returns the numbers of new, changed, unchanged and removed items.
fn counts(sync: &Value) -> [i64; 4] {
    ["itemsNew", "itemsChanged", "itemsUnchanged", "itemsRemoved"]
        .map(|name| sync[name].as_i64().expect("a number"))
}

async fn documents(service: &Service, dataset: &str) -> Vec<Value> {
    let listed = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    listed["data"].as_array().expect("documents").clone()
}

async fn names(service: &Service, dataset: &str) -> Vec<String> {
    let documents = documents(service, dataset).await;
    let mut names: Vec<String> = documents.iter().map(|d| text(&d["fileName"])).collect();
    names.sort();
    names
}

fn write(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, content).expect("writable");
}

fn folder_settings(path: &Path) -> Value {
    json!({"kind": "folder", "path": path})
}

async fn a_folder_and_its_dataset_stay_in_step(engine: Engine) {
    let (service, folder) = with_folder(engine).await;
    let dataset = service.dataset("d").await;
    write(&folder, "tides.md", "# Tides\n\nTides lag.");
    write(&folder, "birds/cormorant.md", "Cormorants dry.");
    let source = saved(&service, &dataset, folder_settings(folder.path())).await;
    assert_eq!(counts(&sync(&service, &source).await), [2, 0, 0, 0]);
    let both = ["birds/cormorant.md", "tides.md"];
    assert_eq!(names(&service, &dataset).await, both);
    assert_eq!(counts(&sync(&service, &source).await), [0, 0, 2, 0]);
    write(&folder, "tides.md", "# Tides\n\nTides lag behind the moon.");
    std::fs::remove_file(folder.path().join("birds/cormorant.md")).expect("removed");
    assert_eq!(counts(&sync(&service, &source).await), [0, 1, 0, 1]);
    assert_eq!(names(&service, &dataset).await, ["tides.md"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_and_its_dataset_stay_in_step_on_sqlite() {
    a_folder_and_its_dataset_stay_in_step(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_and_its_dataset_stay_in_step_on_postgres() {
    a_folder_and_its_dataset_stay_in_step(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_permitted_is_refused_whether_it_exists_or_not() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let above = folder.path().parent().expect("a folder");
    let outside = [
        above.to_owned(),
        folder.path().join("../.."),
        "/nowhere".into(),
    ];
    for path in outside {
        let (status, answer) = save(&service, &dataset, folder_settings(&path)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path:?}: {answer}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_out_of_a_folder_are_not_followed() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let secret = tempfile::tempdir().expect("temporary directory");
    write(&secret, "secret.md", "Nobody may read this.");
    write(&folder, "tides.md", "Tides lag.");
    std::os::unix::fs::symlink(secret.path(), folder.path().join("inside")).expect("a link");
    let file = secret.path().join("secret.md");
    std::os::unix::fs::symlink(file, folder.path().join("link.md")).expect("a link");
    let source = saved(&service, &dataset, folder_settings(folder.path())).await;
    sync(&service, &source).await;
    assert_eq!(names(&service, &dataset).await, ["tides.md"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_select_files_and_others_are_told() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    write(&folder, "tides.md", "Tides lag.");
    write(&folder, "draft/tides.md", "Draft.");
    write(&folder, "model.bin", "\u{0}\u{1}\u{2}\u{0}");
    let mut settings = folder_settings(folder.path());
    settings["exclude"] = json!(["draft/**"]);
    let source = saved(&service, &dataset, settings).await;
    let done = sync(&service, &source).await;
    assert_eq!(
        (&done["itemsNew"], &done["itemsSkipped"]),
        (&json!(1), &json!(1))
    );
    let skipped = service
        .get(&format!("{source}/items?verdict=skipped"))
        .await;
    assert_eq!(skipped["data"][0]["key"], "model.bin");
    assert!(!text(&skipped["data"][0]["reason"]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_lets_no_hidden_or_ignored_file_in() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    write(&folder, "docs/tides.md", "Tides lag.");
    write(&folder, "docs/.secret.md", "Hidden.");
    write(&folder, "docs/draft.md", "Ignored.");
    write(&folder, "other.md", "Not included.");
    write(&folder, ".ignore", "draft.md");
    let mut settings = folder_settings(folder.path());
    settings["include"] = json!(["docs/**"]);
    let source = saved(&service, &dataset, settings).await;
    sync(&service, &source).await;
    assert_eq!(names(&service, &dataset).await, ["docs/tides.md"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_hold_for_a_folder_that_is_named_by_a_link() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    write(&folder, "real/drafts/a.md", "Draft.");
    write(&folder, "real/tides.md", "Tides lag.");
    let link = folder.path().join("current");
    std::os::unix::fs::symlink(folder.path().join("real"), &link).expect("a link");
    let mut settings = folder_settings(&link);
    settings["exclude"] = json!(["drafts/**"]);
    let source = saved(&service, &dataset, settings).await;
    sync(&service, &source).await;
    assert_eq!(names(&service, &dataset).await, ["tides.md"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_became_empty_loses_nothing() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    write(&folder, "tides.md", "Tides lag.");
    let source = saved(&service, &dataset, folder_settings(folder.path())).await;
    sync(&service, &source).await;
    std::fs::remove_file(folder.path().join("tides.md")).expect("removed");
    let running = start(&service, &source).await;
    let done = over(&service, &running).await;
    assert_eq!(done["status"], "failed");
    assert!(
        text(&done["errorMessage"]).contains("nothing was removed"),
        "{done}"
    );
    assert_eq!(names(&service, &dataset).await, ["tides.md"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_leads_nowhere_else() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let settings = json!({"kind": "s3", "bucket": "docs", "region": "@127.0.0.1:8443/"});
    let (status, answer) = save(&service, &dataset, settings).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_folder_is_synced_when_a_file_changes() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let mut settings = folder_settings(folder.path());
    settings["watch"] = json!(true);
    let source = saved(&service, &dataset, settings).await;
    // Watched folders are synced once from the start, because they may have changed before.
    eventually!(
        within 60,
        syncs in service.get(&format!("{source}/syncs")).await,
        "the folder is watched",
        syncs["data"][0]["status"] == "completed"
    );
    write(&folder, "tides.md", "Tides lag.");
    eventually!(
        within 60,
        found in names(&service, &dataset).await,
        "the file is ingested",
        found == ["tides.md"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_document_comes_back_with_the_next_sync() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    write(&folder, "tides.md", "Tides lag.");
    let source = saved(&service, &dataset, folder_settings(folder.path())).await;
    sync(&service, &source).await;
    let id = text(&documents(&service, &dataset).await[0]["id"]);
    let path = format!("/kb/v1/datasets/{dataset}/documents/{id}");
    service.call(Method::DELETE, &path, None).await;
    sync(&service, &source).await;
    assert_eq!(names(&service, &dataset).await, ["tides.md"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_source_leaves_its_documents_unless_asked() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    write(&folder, "tides.md", "Tides lag.");
    for (documents, left) in [(false, 1), (true, 0)] {
        let source = saved(&service, &dataset, folder_settings(folder.path())).await;
        sync(&service, &source).await;
        let path = format!("{source}?documents={documents}");
        let (status, removed) = service.call(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{removed}");
        let expected = usize::from(documents);
        assert_eq!(removed["documentsRemoved"], json!(expected));
        assert!(names(&service, &dataset).await.len() >= left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_is_deleted_with_its_sources() {
    let (service, folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let source = saved(&service, &dataset, folder_settings(folder.path())).await;
    let path = format!("{source}/schedule");
    let body = json!({"schedule": "cron", "cron": "* * * * *"});
    let (status, _) = service.call(Method::PUT, &path, Some(body)).await;
    assert_eq!(status, StatusCode::OK);
    let path = format!("/kb/v1/datasets/{dataset}");
    let (status, answer) = service.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    let (status, _) = service.call(Method::GET, &source, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// Where the objects of the bucket `docs` are listed, below `policies/` and all of them.
const LIST: &str = "/docs?list-type=2&prefix=policies%2F";
const LIST_ALL: &str = "/docs?list-type=2";

fn listing(objects: &[(&str, &str)]) -> String {
    let objects: String = objects
        .iter()
        .map(|(key, tag)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-01T10:00:00.000Z</LastModified><ETag>\"{tag}\"</ETag><Size>10</Size></Contents>"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>docs</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
    )
}

fn object(content: &str, tag: &str) -> crate::support::site::Page {
    let tag = format!("\"{tag}\"");
    let headers = [
        ("etag", tag.as_str()),
        ("last-modified", "Sun, 01 Nov 2026 10:00:00 GMT"),
    ];
    raw(200, &headers, content.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_read_with_signed_requests() {
    let bucket = Site::start(vec![
        (
            LIST,
            raw(
                200,
                &[],
                listing(&[("policies/a.md", "1"), ("policies/b.md", "1")]),
            ),
        ),
        ("/docs/policies/a.md", object("Refunds take a week.", "1")),
        ("/docs/policies/b.md", object("Holidays are long.", "1")),
    ])
    .await;
    let (service, _folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let path = format!("/kb/v1/datasets/{dataset}/sources");
    let settings = json!({"kind": "s3", "bucket": "docs", "prefix": "policies", "endpoint": bucket.url, "accessKeyId": "AKIAEXAMPLE"});
    let body = json!({"name": "s", "settings": settings, "secret": "s3cr3t-of-the-bucket"});
    let (status, source) = service.call(Method::PUT, &path, Some(body)).await;
    assert_eq!(
        (status, &source["hasSecret"]),
        (StatusCode::OK, &json!(true)),
        "{source}"
    );
    assert!(!source.to_string().contains("s3cr3t"), "{source}");
    let source = format!("{path}/{}", text(&source["id"]));
    let done = sync(&service, &source).await;
    assert_eq!(counts(&done), [2, 0, 0, 0], "{done}");
    assert_eq!(names(&service, &dataset).await, ["a.md", "b.md"]);
    let signed = |(_, headers): &(String, reqwest::header::HeaderMap)| {
        let signature = headers.get("authorization").and_then(|v| v.to_str().ok());
        signature.is_some_and(|s| s.starts_with("AWS4-HMAC-SHA256") && s.contains("AKIAEXAMPLE"))
    };
    assert!(bucket.requests().iter().all(signed));
    bucket.set(LIST, raw(200, &[], listing(&[("policies/a.md", "2")])));
    bucket.set("/docs/policies/a.md", object("Refunds take a day.", "2"));
    assert_eq!(counts(&sync(&service, &source).await), [0, 1, 0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_answer_loses_nothing() {
    let bucket = Site::start(vec![
        (LIST_ALL, raw(200, &[], listing(&[("a.md", "1")]))),
        ("/docs/a.md", object("Refunds take a week.", "1")),
    ])
    .await;
    let (service, _folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let settings = json!({"kind": "s3", "bucket": "docs", "endpoint": bucket.url});
    let source = saved(&service, &dataset, settings).await;
    sync(&service, &source).await;
    bucket.asked();
    bucket.set(
        LIST_ALL,
        raw(403, &[], "<Error><Code>AccessDenied</Code></Error>"),
    );
    let running = start(&service, &source).await;
    eventually!(
        within 60,
        asked in bucket.asked(),
        "the bucket is asked",
        !asked.is_empty()
    );
    // It is tried again for a while; what matters is what is there in the meantime.
    let (status, _) = service
        .call(Method::POST, &format!("{running}/cancel"), None)
        .await;
    assert!(
        status == StatusCode::OK || status == StatusCode::CONFLICT,
        "{status}"
    );
    over(&service, &running).await;
    assert_eq!(names(&service, &dataset).await, ["a.md"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_not_used_elsewhere_than_it_was_meant_for() {
    let (service, _folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let path = format!("/kb/v1/datasets/{dataset}/sources");
    let settings = |endpoint: &str| json!({"kind": "s3", "bucket": "docs", "endpoint": endpoint, "accessKeyId": "AKIAEXAMPLE"});
    let with_secret =
        json!({"name": "s", "settings": settings("https://a.example"), "secret": "x"});
    let (status, _) = service.call(Method::PUT, &path, Some(with_secret)).await;
    assert_eq!(status, StatusCode::OK);
    let elsewhere = json!({"name": "s", "settings": settings("https://b.example")});
    let (_, answer) = service.call(Method::PUT, &path, Some(elsewhere)).await;
    assert_eq!(answer["error"]["reason"], "secret_missing", "{answer}");
    let same = json!({"name": "s", "settings": settings("https://a.example")});
    let (status, kept) = service.call(Method::PUT, &path, Some(same)).await;
    assert_eq!((status, &kept["hasSecret"]), (StatusCode::OK, &json!(true)));
}

fn feed(url: &str, entries: &[&str]) -> String {
    let items: String = entries
        .iter()
        .map(|name| {
            format!("<item><guid>{name}</guid><title>About {name}</title><link>{url}/{name}</link></item>")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>News</title><link>{url}</link><description>d</description>{items}</channel></rss>"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn articles_of_a_feed_stay_when_the_feed_forgets_them() {
    let site = Site::start(vec![
        ("/tides", page("tides", &[])),
        ("/birds", page("birds", &[])),
    ])
    .await;
    site.set("/feed", raw(200, &[], feed(&site.url, &["tides"])));
    let (service, _folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let settings = json!({"kind": "feed", "url": format!("{}/feed", site.url)});
    let source = saved(&service, &dataset, settings).await;
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 0, 0]);
    site.set("/feed", raw(200, &[], feed(&site.url, &["birds"])));
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 0, 0]);
    let found = documents(&service, &dataset).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["url"], format!("{}/tides", site.url));
    assert_eq!(found[0]["metadata"]["source"], "s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_article_that_fails_is_told_and_read_again() {
    let site = Site::start(vec![("/tides", raw(500, &[], ""))]).await;
    site.set("/feed", raw(200, &[], feed(&site.url, &["tides"])));
    let (service, _folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let settings = json!({"kind": "feed", "url": format!("{}/feed", site.url)});
    let source = saved(&service, &dataset, settings).await;
    let done = sync(&service, &source).await;
    assert_eq!(
        (&done["status"], &done["itemsFailed"]),
        (&json!("completed"), &json!(1))
    );
    let failed = service.get(&format!("{source}/items?verdict=failed")).await;
    assert!(
        text(&failed["data"][0]["reason"]).contains("500"),
        "{failed}"
    );
    site.set("/tides", page("tides", &[]));
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_inside_the_network_is_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let settings = json!({"kind": "feed", "url": "http://127.0.0.1:9/feed"});
    let (_, answer) = save(&service, &dataset, settings).await;
    assert_eq!(answer["error"]["reason"], "address_refused", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sync_of_a_source_runs_at_a_time() {
    let site = Site::start(vec![]).await;
    let slow = crate::support::site::Page::Slow(
        std::time::Duration::from_secs(5),
        Box::new(raw(200, &[], feed(&site.url, &[]))),
    );
    site.set("/feed", slow);
    let (service, _folder) = with_folder(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let settings = json!({"kind": "feed", "url": format!("{}/feed", site.url)});
    let source = saved(&service, &dataset, settings).await;
    let running = start(&service, &source).await;
    let (status, answer) = service
        .call(Method::POST, &format!("{source}/syncs"), None)
        .await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (StatusCode::CONFLICT, &json!("sync_running"))
    );
    let (status, _) = service
        .call(Method::POST, &format!("{running}/cancel"), None)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(over(&service, &running).await["status"], "cancelled");
}

/// Returns dataset, name, kind and state of each.
fn told(listed: &Value) -> Vec<[String; 4]> {
    let all = listed["data"].as_array().expect("a list");
    all.iter()
        .map(|of| ["datasetName", "name", "kind", "state"].map(|field| text(&of[field])))
        .collect()
}

async fn everything_that_datasets_are_kept_in_step_with_is_one_list(engine: Engine) {
    let (service, folder) = with_folder(engine).await;
    let (sea, web) = (service.dataset("sea").await, service.dataset("web").await);
    write(&folder, "tides.md", "Tides lag.");
    let source = saved(&service, &sea, folder_settings(folder.path())).await;
    sync(&service, &source).await;
    let start = "http://127.0.0.1/";
    let (status, site) = service
        .call(
            Method::PUT,
            &format!("/kb/v1/datasets/{web}/sites"),
            Some(json!({"startUrl": start})),
        )
        .await;
    assert!(status.is_success(), "{site}");
    let folder_entry = ["sea", "s", "folder", "completed"].map(str::to_owned);
    let site_entry = ["web", start, "website", "never"].map(str::to_owned);
    let listed = service.get("/kb/v1/sources").await;
    assert_eq!(told(&listed), [folder_entry.clone(), site_entry.clone()]);
    assert_eq!(listed["data"][0]["lastRun"]["itemsNew"], 1);
    assert_eq!(listed["data"][1]["lastRun"], Value::Null);
    let never = service.get("/kb/v1/sources?state=never").await;
    assert_eq!(told(&never), [site_entry]);
    let first = service.get("/kb/v1/sources?limit=1").await;
    assert_eq!(told(&first), [folder_entry]);
    let confined = service.key_with(&["kb:read"], Some(vec![web])).await;
    let (_, seen) = service
        .call_as(&confined, Method::GET, "/kb/v1/sources", None)
        .await;
    assert_eq!(seen["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(seen["data"][0]["datasetName"], "web");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_datasets_are_kept_in_step_with_is_one_list_on_sqlite() {
    everything_that_datasets_are_kept_in_step_with_is_one_list(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_datasets_are_kept_in_step_with_is_one_list_on_postgres() {
    everything_that_datasets_are_kept_in_step_with_is_one_list(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_by_an_unknown_state_is_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let (status, answer) = service
        .call(Method::GET, "/kb/v1/sources?state=broken", None)
        .await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (StatusCode::BAD_REQUEST, &json!("state_unknown"))
    );
}
