//! Quotas of tenants: what is refused beyond them, in every way in which something is stored or used.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::model::{Model, Say};
use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

/// Sets quotas of the tenant of the service; those that are not named are none.
async fn limit(service: &Service, quotas: Value) {
    let tenants = service.get("/kb/v1/tenants").await;
    let path = format!("/kb/v1/tenants/{}/quotas", text(&tenants["data"][0]["id"]));
    let (status, answer) = service.call(Method::PUT, &path, Some(quotas)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// Uploads a file, and gives the status and the answer.
async fn upload(
    service: &Service,
    dataset: &str,
    name: &str,
    content: &str,
) -> (StatusCode, Value) {
    service
        .upload(dataset, &[(name, content.as_bytes())], &[])
        .await
}

fn is_refused((status, answer): &(StatusCode, Value)) -> bool {
    *status == StatusCode::FORBIDDEN && answer.to_string().contains("quota_exceeded")
}

on_both! {
    async fn documents_beyond_the_quota_are_refused_until_one_is_deleted(service: Service) {
        let dataset = service.dataset("d").await;
        let other = service.dataset("e").await;
        limit(&service, json!({"documents": 2})).await;
        let first = service.add(&dataset, "a.md", "Tides lag.").await;
        service.add(&other, "b.md", "Cormorants dry.").await;
        for set in [&dataset, &other] {
            let refused = upload(&service, set, "c.md", "Boats wait.").await;
            assert!(is_refused(&refused), "{refused:?}");
        }
        // A new version is no further document.
        service.add(&dataset, "a.md", "Tides lag behind the moon.").await;
        let path = format!("/kb/v1/datasets/{dataset}/documents/{first}");
        service.call(Method::DELETE, &path, None).await;
        service.add(&dataset, "c.md", "Boats wait.").await;
    }

    async fn several_files_beyond_the_quota_are_refused_together(service: Service) {
        let dataset = service.dataset("d").await;
        limit(&service, json!({"documents": 1})).await;
        let files: [(&str, &[u8]); 2] = [("a.md", b"Tides lag."), ("b.md", b"Cormorants dry.")];
        let refused = service.upload(&dataset, &files, &[]).await;
        assert!(is_refused(&refused), "{refused:?}");
        let usage = service.get("/kb/v1/usage").await;
        assert_eq!(usage["usage"]["documents"], 0, "{usage}");
    }

    async fn a_version_that_is_too_large_is_refused_and_the_old_one_stays(service: Service) {
        let dataset = service.dataset("d").await;
        limit(&service, json!({"bytes": 20})).await;
        service.add(&dataset, "a.md", "Tides lag.").await;
        let refused = upload(&service, &dataset, "a.md", "Tides lag behind the moon.").await;
        assert!(is_refused(&refused), "{refused:?}");
        let found = service.search(json!({"query": "tides", "datasetIds": [dataset]})).await;
        assert_eq!(found[0]["content"], "Tides lag.", "{found:?}");
    }

    async fn records_are_documents(service: Service) {
        limit(&service, json!({"documents": 0})).await;
        let finding = json!({"title": "Tides", "findings": "Tides lag behind the moon.", "sources": ["https://sea.example/"]});
        let (status, answer) = service.call(Method::POST, "/protected/research", Some(finding)).await;
        assert!(!status.is_success() && answer.to_string().contains("quota"), "{status} {answer}");
    }

    async fn a_document_with_too_many_chunks_fails_and_says_so(service: Service) {
        let dataset = service.dataset("d").await;
        limit(&service, json!({"chunks": 1})).await;
        service.add(&dataset, "a.md", "Tides lag.").await;
        let (_, uploaded) = upload(&service, &dataset, "b.md", "Cormorants dry.").await;
        let settled = service.settled(&dataset, &text(&uploaded["uploadedFiles"][0]["id"])).await;
        assert_eq!(settled["status"], "error", "{settled}");
        assert!(settled.to_string().contains("the quota of this workspace is 1 chunks"), "{settled}");
    }

    async fn of_files_that_are_ingested_together_those_with_room_are_stored(service: Service) {
        let dataset = service.dataset("d").await;
        limit(&service, json!({"chunks": 2})).await;
        let names: Vec<String> = (0..4).map(|n| format!("{n}.md")).collect();
        let texts: Vec<String> = (0..4).map(|n| format!("Tide number {n} lags.")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().zip(&texts).map(|(n, t)| (n.as_str(), t.as_bytes())).collect();
        let (_, uploaded) = service.upload(&dataset, &files, &[]).await;
        let mut indexed = 0;
        for file in uploaded["uploadedFiles"].as_array().expect("files") {
            indexed += usize::from(service.settled(&dataset, &text(&file["id"])).await["status"] == "indexed");
        }
        assert_eq!(indexed, 2);
    }

    async fn a_generation_with_more_chunks_is_not_switched_to(service: Service) {
        let dataset = service.dataset("d").await;
        let text = "Tides lag behind the moon because of the friction at the sea floor. ".repeat(30);
        service.add(&dataset, "a.md", &text).await;
        let chunks = service.get("/kb/v1/usage").await["usage"]["chunks"].clone();
        limit(&service, json!({"chunks": chunks})).await;
        let path = format!("/kb/v1/datasets/{dataset}/generations");
        let made = service.post(&path, json!({"chunkSize": 128, "chunkOverlap": 0})).await;
        let switch = format!("{path}/{}/switch", made["number"]);
        let refused = eventually!(
            within 60,
            answer in service.call(Method::POST, &switch, None).await,
            "the generation is built",
            answer.1["error"]["reason"] != "generation_not_ready"
        );
        assert!(is_refused(&refused), "{refused:?}");
    }

    async fn an_added_chunk_is_counted(service: Service) {
        let dataset = service.dataset("d").await;
        let document = service.add(&dataset, "a.md", "Tides lag.").await;
        limit(&service, json!({"chunks": 1})).await;
        let path = format!("/kb/v1/datasets/{dataset}/documents/{document}/chunks");
        let refused = service.call(Method::POST, &path, Some(json!({"content": "Boats wait."}))).await;
        assert!(is_refused(&refused), "{refused:?}");
    }

    async fn requests_of_all_keys_are_counted_together(service: Service) {
        let other = service.key_with(&["kb:read"], None).await;
        limit(&service, json!({"requests": 5})).await;
        let mut refused = None;
        for n in 0..10 {
            let key = if n % 2 == 0 { &service.key } else { &other };
            let (status, answer) = service.call_as(key, Method::GET, "/kb/v1/datasets", None).await;
            if status == StatusCode::TOO_MANY_REQUESTS {
                refused = Some((n, answer));
                break;
            }
        }
        let (n, answer) = refused.expect("a refusal");
        assert_eq!(n, 5, "{answer}");
        assert!(text(&answer["error"]["message"]).contains("this workspace may make 5"), "{answer}");
    }

    async fn quotas_are_set_by_the_operator_only(service: Service) {
        let (_, made) = service.call(Method::POST, "/kb/v1/tenants", Some(json!({"name": "acme"}))).await;
        let (id, theirs) = (text(&made["id"]), text(&made["key"]));
        for (method, path, body) in [
            (Method::PUT, format!("/kb/v1/tenants/{id}/quotas"), Some(json!({"documents": 9}))),
            (Method::GET, format!("/kb/v1/tenants/{id}"), None),
        ] {
            let (status, refused) = service.call_as(&theirs, method, &path, body).await;
            assert_eq!((status, &refused["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("tenant_not_operator")));
        }
        let path = format!("/kb/v1/tenants/{id}/quotas");
        service.call(Method::PUT, &path, Some(json!({"documents": 9, "requests": 100}))).await;
        let (_, usage) = service.call_as(&theirs, Method::GET, "/kb/v1/usage", None).await;
        assert_eq!(usage["quotas"], json!({"documents": 9, "bytes": null, "chunks": null, "requests": 100, "tokens": null}));
        let (_, log) = service.call_as(&theirs, Method::GET, "/kb/v1/access-log", None).await;
        let entry = log["data"].as_array().expect("entries").iter().find(|e| e["action"] == "quotas.changed");
        assert_eq!(entry.expect("an entry")["detail"]["quotas"][1]["documents"], 9);
    }

    async fn quotas_that_mean_nothing_are_refused(service: Service) {
        let tenants = service.get("/kb/v1/tenants").await;
        let path = format!("/kb/v1/tenants/{}/quotas", text(&tenants["data"][0]["id"]));
        for quotas in [json!({"documents": -1}), json!({"requests": 0}), json!({"documents": "many"}), json!({"files": 3})] {
            let (status, answer) = service.call(Method::PUT, &path, Some(quotas.clone())).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{quotas}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_some_datasets_does_not_see_the_usage_of_all() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let confined = service.key_with(&["kb:read"], Some(vec![dataset])).await;
    let (status, _) = service
        .call_as(&confined, Method::GET, "/kb/v1/usage", None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_end_with_the_tokens_of_the_month() {
    let model = Model::start(|_| Say::text("Tides lag behind the moon [1].")).await;
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.answer_url = format!("{}/v1", model.url);
        config.answer_model = "stub".to_owned();
    })
    .await;
    let dataset = service.dataset("d").await;
    service
        .add(&dataset, "a.md", "Tides lag behind the moon.")
        .await;
    limit(&service, json!({"tokens": 200})).await;
    let question =
        json!({"question": "What lags behind the moon?", "datasetIds": [dataset], "stream": false});
    for used in [110, 220] {
        service.post("/kb/v1/answer", question.clone()).await;
        eventually!(
            last in service.get("/kb/v1/usage").await,
            "the tokens are counted",
            last["usage"]["tokens"] == used
        );
    }
    let refused = service
        .call(Method::POST, "/kb/v1/answer", Some(question))
        .await;
    assert!(is_refused(&refused), "{refused:?}");
}
