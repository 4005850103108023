//! Retrieval as `RemoteRunnable` of LangChain asks for it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

async fn ask(service: &Service, path: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/langserve/{path}");
    service.call(Method::POST, &path, Some(body)).await
}

async fn birds(service: &Service) {
    let dataset = service.dataset("birds").await;
    for (name, content) in [
        ("gannet.md", "Gannets dive into the sea and eat fish."),
        ("heron.md", "Herons stand still and eat fish."),
    ] {
        service.add(&dataset, name, content).await;
    }
}

on_both! {
    async fn an_input_is_a_text_or_an_object_with_one(service: Service) {
        birds(&service).await;
        for input in [json!("who dives"), json!({"query": "who dives"}), json!({"question": "who dives"}), json!({"input": "who dives"})] {
            let (status, found) = ask(&service, "birds/invoke", json!({"input": input, "kwargs": {}})).await;
            assert_eq!(status, StatusCode::OK, "{found}");
            let first = &found["output"][0];
            assert!(text(&first["page_content"]).contains("dive"), "{found}");
            assert_eq!((&first["type"], &first["metadata"]["file_name"]), (&json!("Document"), &json!("gannet.md")));
        }
    }

    async fn a_batch_has_the_documents_of_each_input(service: Service) {
        birds(&service).await;
        let (_, found) = ask(&service, "birds/batch", json!({"inputs": ["who dives", "who stands"], "config": {"configurable": {"k": 1}}})).await;
        let names: Vec<String> = found["output"].as_array().expect("lists").iter().map(|l| text(&l[0]["metadata"]["file_name"])).collect();
        assert_eq!(names, ["gannet.md", "heron.md"], "{found}");
        let (status, answer) = ask(&service, "birds/batch", json!({"inputs": vec!["a"; 21]})).await;
        assert_eq!((status, &answer["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("batch_too_large")));
    }

    async fn errors_have_a_detail(service: Service) {
        let (status, answer) = ask(&service, "gone/invoke", json!({"input": "a"})).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(text(&answer["detail"]).contains("not found"), "{answer}");
    }
}
