//! A dataset that is exported and imported answers as before; a backup taken from a running server is a data directory.

use std::process::Command;

use cairn::auth::tenants;
use cairn::kb::portable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Engine, Service, program, text};

/// What a search says, without the ids of its dataset.
async fn answers(service: &Service, dataset: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for query in ["how do otters sleep", "river bridges", "toads"] {
        let body = json!({"query": query, "datasetIds": [dataset], "topK": 10, "explain": true});
        for mut hit in service.search(body).await {
            let fields = hit.as_object_mut().expect("a hit");
            fields.remove("datasetId");
            // It names the dataset, too.
            let citation = crate::support::text(&fields.remove("citation").expect("a citation"));
            let place = citation.rsplit('/').next().map(str::to_owned);
            fields.insert("place".to_owned(), json!(place));
            fields.remove("explain");
            all.push(hit);
        }
    }
    all
}

async fn fill(service: &Service, dataset: &str) -> String {
    let long: String = (0..12)
        .map(|n| {
            format!(
                "# Part {n}\n\nRivers have bridges, number {n}. {}\n\n",
                "Water flows on. ".repeat(30)
            )
        })
        .collect();
    let first = service.add(dataset, "rivers.md", &long).await;
    service
        .add(
            dataset,
            "otters.txt",
            "Otters sleep afloat, wrapped in kelp.",
        )
        .await;
    let path = format!("/kb/v1/datasets/{dataset}/documents/{first}/chunks");
    service
        .post(&path, json!({"content": "Toads cross in March."}))
        .await;
    service.settled(dataset, &first).await;
    first
}

on_both! {
    async fn an_imported_dataset_answers_identically(service: Service) {
        let dataset = service.dataset("d").await;
        let rivers = fill(&service, &dataset).await;
        let before = answers(&service, &dataset).await;
        assert!(before.len() > 10);
        let file = service.data.path().join("d.cairn");
        let caller = service.app.local_caller(tenants::DEFAULT).await.expect("a caller");
        let manifest = portable::export(&service.app, &caller, &dataset, &file).await.expect("exports");
        assert_eq!((manifest.documents, manifest.embeddings > 5), (2, true));

        // elsewhere, with the same ids
        let other = Service::start(Engine::Sqlite).await;
        let there = other.app.local_caller(tenants::DEFAULT).await.expect("a caller");
        let imported = portable::import(&other.app, &there, &file, None).await.expect("imports");
        let document = text(&before[0]["fileId"]);
        other.settled(&imported.id, &document).await;
        assert_eq!(answers(&other, &imported.id).await, before);
        assert_eq!(portable::import(&other.app, &there, &file, None).await.expect_err("the name is taken").code(), "dataset_exists");

        // beside itself, with other ids, and what was hidden meanwhile stays hidden
        let path = format!("/kb/v1/datasets/{dataset}/documents/{rivers}/chunks");
        let hidden = service.get(&path).await["data"][1].clone();
        service.call(Method::PATCH, &format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&hidden["id"])), Some(json!({"enabled": false}))).await;
        portable::export(&service.app, &caller, &dataset, &file).await.expect("exports");
        let copy = portable::import(&service.app, &caller, &file, Some("copy")).await.expect("imports");
        let documents = service.get(&format!("/kb/v1/datasets/{}/documents", copy.id)).await;
        let twin = text(&documents["data"][0]["id"]);
        service.settled(&copy.id, &twin).await;
        let (here, there) = (answers(&service, &dataset).await, answers(&service, &copy.id).await);
        assert!(there.iter().all(|h| h["content"] != hidden["content"]));
        let mut contents = [here, there].map(|hits| hits.iter().map(|h| text(&h["content"])).collect::<Vec<_>>());
        contents.iter_mut().for_each(|c| c.sort());
        assert_eq!(contents[0], contents[1]);
        let edits = service.get(&format!("/kb/v1/datasets/{}/documents/{twin}/edits", copy.id)).await;
        assert_eq!(edits["data"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_server_is_a_data_directory() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    fill(&service, &dataset).await;
    let copy = tempfile::tempdir().expect("a directory");
    let directory = copy.path().join("backup");
    let run = |arguments: &[&str]| {
        let output = Command::new(program())
            .args(arguments)
            .output()
            .expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (data, target) = (
        service.data.path().display().to_string(),
        directory.display().to_string(),
    );
    let (code, said) = run(&["backup", &target, "--data-dir", &data, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["doctor", "--data-dir", &target, "--json"]);
    let found: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &found["drift"]), (Some(0), &json!(0)), "{said}");
    let (code, said) = run(&["search", "toads", "--data-dir", &target, "--json"]);
    assert!(code == Some(0) && said.contains("Toads cross"), "{said}");
    let (code, _) = run(&["backup", &target, "--data-dir", &data]);
    assert_eq!(
        code,
        Some(2),
        "a directory with something in it is not overwritten"
    );
}
