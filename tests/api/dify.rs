//! External knowledge of Dify: requests as Dify sends them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

/// Asks as Dify does.
async fn retrieve(service: &Service, knowledge: &str, more: Value) -> (StatusCode, Value) {
    let mut body = json!({"knowledge_id": knowledge, "query": "Which bird dives from great height?", "retrieval_setting": {"top_k": 2, "score_threshold": 0.0}});
    for (name, value) in more.as_object().expect("members") {
        body[name] = value.clone();
    }
    service
        .call(Method::POST, "/dify/retrieval", Some(body))
        .await
}

/// A dataset with three documents that have metadata.
async fn birds(service: &Service) -> String {
    let dataset = service.dataset("birds").await;
    for (name, content, lang) in [
        (
            "gannet.md",
            "# Gannets\n\nGannets dive into the sea from thirty metres.",
            "en",
        ),
        (
            "heron.md",
            "# Herons\n\nHerons stand still in shallow water.",
            "en",
        ),
        (
            "toelpel.md",
            "# Tölpel\n\nTölpel tauchen aus großer Höhe.",
            "de",
        ),
    ] {
        let metadata = json!({"lang": lang}).to_string();
        let fields = [("metadata", metadata.as_str())];
        service
            .add_with(&dataset, name, content.as_bytes(), &fields)
            .await;
    }
    dataset
}

on_both! {
    async fn records_have_content_score_title_and_metadata(service: Service) {
        let dataset = birds(&service).await;
        for knowledge in [dataset.as_str(), "birds"] {
            let (status, found) = retrieve(&service, knowledge, json!({})).await;
            assert_eq!(status, StatusCode::OK, "{found}");
            let records = found["records"].as_array().expect("records");
            assert_eq!(records.len(), 2, "{found}");
            let first = &records[0];
            assert!(text(&first["content"]).contains("thirty metres"), "{first}");
            assert!(first["score"].as_f64().is_some_and(|s| s > 0.0 && s <= 1.0), "{first}");
            assert_eq!((&first["metadata"]["file_name"], &first["metadata"]["lang"]), (&json!("gannet.md"), &json!("en")));
            assert!(text(&first["metadata"]["citation"]).starts_with("kb://"), "{first}");
            assert!(!text(&first["title"]).is_empty());
        }
    }

    async fn conditions_and_thresholds_are_applied(service: Service) {
        let dataset = birds(&service).await;
        let german = json!({"metadata_condition": {"logical_operator": "and", "conditions": [{"name": ["lang"], "comparison_operator": "start with", "value": "d"}]}});
        let (_, found) = retrieve(&service, &dataset, german).await;
        let files: Vec<String> = found["records"].as_array().expect("records").iter().map(|r| text(&r["metadata"]["file_name"])).collect();
        assert_eq!(files, ["toelpel.md"]);
        let strict = json!({"retrieval_setting": {"top_k": 2, "score_threshold": 1.0}});
        assert_eq!(retrieve(&service, &dataset, strict).await.1, json!({"records": []}));
    }

    async fn errors_have_the_codes_of_dify(service: Service) {
        let dataset = birds(&service).await;
        let (status, unknown) = retrieve(&service, "fish", json!({})).await;
        assert_eq!((status, &unknown["error_code"]), (StatusCode::NOT_FOUND, &json!(2001)), "{unknown}");
        let (status, wrong) = retrieve(&service, &dataset, json!({"retrieval_setting": {"top_k": 0}})).await;
        assert_eq!((status, &wrong["error_code"], &wrong["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!(400), &json!("top_k_out_of_range")));
        let url = format!("{}/dify/retrieval", service.url);
        let http = reqwest::Client::new();
        let answer: Value = http.post(&url).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(answer["error_code"], 1001);
        let answer = http.post(&url).bearer_auth("nonsense").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["error_code"], 1002);
        // When an endpoint is registered, Dify posts without a body, and takes 403, 404 and 502 for a wrong address or key.
        let status = http.post(&url).bearer_auth(&service.key).send().await.expect("an answer").status();
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    async fn a_dataset_of_others_does_not_exist(service: Service) {
        let dataset = birds(&service).await;
        let stranger = service.stranger().await;
        let body = json!({"knowledge_id": dataset, "query": "x", "retrieval_setting": {"top_k": 2}});
        let (status, answer) = service.call_as(&stranger, Method::POST, "/dify/retrieval", Some(body)).await;
        assert_eq!((status, &answer["error_code"]), (StatusCode::NOT_FOUND, &json!(2001)));
    }
}
