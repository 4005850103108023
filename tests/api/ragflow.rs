//! Retrieval as clients of RAGFlow ask for it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

async fn retrieve(service: &Service, body: Value) -> (StatusCode, Value) {
    service
        .call(Method::POST, "/ragflow/api/v1/retrieval", Some(body))
        .await
}

/// A dataset with two documents, and the ids of all three.
async fn birds(service: &Service) -> (String, String, String) {
    let dataset = service.dataset("birds").await;
    let metadata = [("metadata", r#"{"sea": true}"#)];
    let gannet = b"# Gannets\n\nGannets dive into the sea & eat fish.";
    let gannet = service
        .add_with(&dataset, "gannet.md", gannet, &metadata)
        .await;
    let heron = "# Herons\n\nHerons stand still in shallow water and eat fish.";
    let heron = service.add(&dataset, "heron.md", heron).await;
    (dataset, gannet, heron)
}

on_both! {
    async fn hits_come_in_pages_with_their_documents(service: Service) {
        let (dataset, ..) = birds(&service).await;
        let ask = |page: usize| json!({"question": "who eats fish", "dataset_ids": [dataset], "page": page, "page_size": 1, "similarity_threshold": 0});
        let (status, first) = retrieve(&service, ask(1)).await;
        assert_eq!((status, &first["code"]), (StatusCode::OK, &json!(0)), "{first}");
        let (_, second) = retrieve(&service, ask(2)).await;
        let hit = &first["data"]["chunks"][0];
        assert_ne!(hit["id"], second["data"]["chunks"][0]["id"], "{second}");
        assert_eq!(first["data"]["doc_aggs"][0]["doc_id"], hit["document_id"]);
        assert_eq!(hit["dataset_id"], json!(dataset));
        for part in ["similarity", "vector_similarity", "term_similarity"] {
            assert!(hit[part].as_f64().is_some_and(|s| (0.0..=1.0).contains(&s)), "{hit}");
        }
    }

    async fn documents_and_conditions_choose_hits(service: Service) {
        let (dataset, gannet, heron) = birds(&service).await;
        let mut ask = json!({"question": "who eats fish", "dataset_ids": [dataset], "document_ids": [heron]});
        let (_, found) = retrieve(&service, ask.clone()).await;
        assert_eq!(found["data"]["chunks"][0]["document_id"], json!(heron), "{found}");
        assert_eq!(found["data"]["total"], 1);
        ask["document_ids"] = json!([]);
        ask["metadata_condition"] = json!({"logic": "and", "conditions": [{"name": "sea", "comparison_operator": "is", "value": "true"}]});
        let (_, found) = retrieve(&service, ask).await;
        assert_eq!(found["data"]["chunks"][0]["document_id"], json!(gannet), "{found}");
        assert_eq!(found["data"]["total"], 1);
    }

    async fn highlights_are_escaped(service: Service) {
        let (dataset, ..) = birds(&service).await;
        let (_, found) = retrieve(&service, json!({"question": "gannets", "dataset_ids": [dataset], "highlight": true})).await;
        let highlight = text(&found["data"]["chunks"][0]["highlight"]);
        assert!(highlight.contains("<em>Gannets</em> dive") && highlight.contains("sea &amp; eat"), "{highlight}");
    }

    async fn errors_have_the_codes_of_ragflow(service: Service) {
        let (dataset, ..) = birds(&service).await;
        for (body, status, code) in [
            (json!({"question": "a", "dataset_ids": ["gone"]}), StatusCode::NOT_FOUND, 102),
            (json!({"question": "a", "dataset_ids": [dataset], "keyword": true}), StatusCode::BAD_REQUEST, 101),
            (json!({"question": "a", "dataset_ids": [dataset], "page": 0}), StatusCode::BAD_REQUEST, 101),
            (json!({"dataset_ids": [dataset]}), StatusCode::BAD_REQUEST, 101),
        ] {
            let (got, answer) = retrieve(&service, body.clone()).await;
            assert_eq!((got, &answer["code"]), (status, &json!(code)), "{body}: {answer}");
        }
        let (status, answer) = service.call_as("cairn_wrong", Method::POST, "/ragflow/api/v1/retrieval", Some(json!({}))).await;
        assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!(109)));
    }
}
