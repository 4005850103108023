//! Generations: built beside the one that is searched, following every change meanwhile, switched to and back without a failed search.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

fn article(name: &str, parts: usize) -> String {
    (0..parts)
        .map(|n| {
            format!(
                "# {name}, part {n}\n\nThe {name} of part {n} is described here. {}\n\n",
                "It goes on for a while. ".repeat(25)
            )
        })
        .collect()
}

async fn generation(service: &Service, dataset: &str, number: i64) -> Value {
    let listed = service
        .get(&format!("/kb/v1/datasets/{dataset}/generations"))
        .await;
    let all = listed["data"].as_array().expect("a list");
    all.iter()
        .find(|g| g["number"] == number)
        .unwrap_or_else(|| panic!("no generation {number} in {listed}"))
        .clone()
}

/// Switches as soon as the generation is ready.
pub(crate) async fn switch(service: &Service, dataset: &str, number: i64) {
    let path = format!("/kb/v1/datasets/{dataset}/generations/{number}/switch");
    let (_, body) = eventually!(
        within 30,
        answer in service.call(Method::POST, &path, None).await,
        "generation {number} is ready",
        {
            let (status, body) = &answer;
            let switched = *status == StatusCode::OK;
            assert!(switched || body["error"]["reason"] == "generation_not_ready", "{body}");
            switched
        }
    );
    assert_eq!(body["status"], "live");
}

async fn found(
    service: &Service,
    dataset: &str,
    query: &str,
    generation: Option<i64>,
) -> Vec<(String, String)> {
    let body = json!({"query": query, "datasetIds": [dataset], "topK": 10, "hybridAlpha": 0.0, "generation": generation});
    let hits = service.search(body).await;
    hits.iter()
        .map(|h| (text(&h["fileName"]), text(&h["content"])))
        .collect()
}

async fn chunks(service: &Service, dataset: &str, id: &str) -> usize {
    let page = service
        .get(&format!(
            "/kb/v1/datasets/{dataset}/documents/{id}/chunks?limit=500"
        ))
        .await;
    page["data"].as_array().expect("chunks").len()
}

on_both! {
    async fn a_generation_follows_changes_and_can_be_switched_to_and_back(service: Service) {
        let dataset = service.dataset("d").await;
        let harbour = service.add(&dataset, "harbour.md", &article("harbour", 6)).await;
        let quarry = service.add(&dataset, "quarry.md", &article("quarry", 6)).await;
        let first = chunks(&service, &dataset, &harbour).await;
        let path = format!("/kb/v1/datasets/{dataset}/generations");
        let (status, begun) = service.call(Method::POST, &path, Some(json!({"chunkSize": 128, "chunkOverlap": 0}))).await;
        assert_eq!((status, &begun["number"], &begun["status"]), (StatusCode::ACCEPTED, &json!(2), &json!("building")), "{begun}");
        let (_, twice) = service.call(Method::POST, &path, Some(json!({}))).await;
        assert_eq!(twice["error"]["reason"], "generation_exists");

        // Changes while it is built: a new file, a new version, a deletion, an edit.
        service.add(&dataset, "orchard.md", &article("orchard", 3)).await;
        service.add(&dataset, "harbour.md", &article("marina", 6)).await;
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/datasets/{dataset}/documents/{quarry}"), None).await.0, StatusCode::NO_CONTENT);
        let by_hand = format!("/kb/v1/datasets/{dataset}/documents/{harbour}/chunks");
        for content in ["A lighthouse stands there.", "A windmill stands behind it."] {
            service.post(&by_hand, json!({"content": content})).await;
        }
        assert_eq!(chunks(&service, &dataset, &harbour).await, first + 2, "the one that is searched is as it was");
        eventually!(
            within 30,
            state in generation(&service, &dataset, 2).await,
            "the generation has all that changed",
            state["documentsReady"] == state["documentsTotal"] && !found(&service, &dataset, "lighthouse", Some(2)).await.is_empty()
        );
        let labelled = json!({"queries": [{"query": "marina part 3", "documentIds": [harbour]}]});
        let compared = service.post(&format!("{path}/2/compare"), labelled).await;
        assert_eq!((&compared["live"]["mrr_at_10"], &compared["generation"]["mrr_at_10"]), (&json!(1.0), &json!(1.0)), "{compared}");
        switch(&service, &dataset, 2).await;
        assert!(chunks(&service, &dataset, &harbour).await > first + 3, "smaller chunks");
        let detail = service.get(&format!("/kb/v1/datasets/{dataset}/documents/{harbour}")).await;
        assert_eq!((detail["chunksCount"].as_u64().map(|n| n as usize), &detail["status"]), (Some(chunks(&service, &dataset, &harbour).await), &json!("indexed")));
        for (query, there) in [("marina", true), ("harbour", false), ("quarry", false), ("orchard", true), ("lighthouse", true)] {
            assert_eq!(!found(&service, &dataset, query, None).await.is_empty(), there, "{query} in generation 2");
        }

        // An added chunk is changed and taken back in this generation, a third one added, and the document built again.
        let listed = service.get(&format!("{by_hand}?limit=500")).await;
        let added = |word: &str| {
            let all = listed["data"].as_array().expect("chunks");
            let chunk = all.iter().find(|c| c["content"].as_str().is_some_and(|c| c.contains(word)));
            text(&chunk.unwrap_or_else(|| panic!("no {word} in {listed}"))["id"])
        };
        let one = format!("/kb/v1/datasets/{dataset}/chunks/{}", added("windmill"));
        let (status, body) = service.call(Method::PATCH, &one, Some(json!({"content": "A watermill stands behind it."}))).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        service.post(&by_hand, json!({"content": "A tollgate bars the road."})).await;
        let lighthouse = format!("/kb/v1/datasets/{dataset}/chunks/{}", added("lighthouse"));
        let (status, body) = service.call(Method::DELETE, &lighthouse, None).await;
        assert!(status.is_success(), "{status} {body}");
        service.add(&dataset, "harbour.md", &article("marina", 7)).await;
        for (query, there) in [("watermill", true), ("tollgate", true), ("windmill", false), ("lighthouse", false)] {
            assert_eq!(!found(&service, &dataset, query, None).await.is_empty(), there, "{query} in generation 2, built again");
        }

        // What changes now is in the one that was left, too.
        service.add(&dataset, "ferry.md", &article("ferry", 2)).await;
        let detail = service.get(&format!("/dashboard/v1/knowledge-base/datasets/{dataset}")).await;
        assert_eq!(detail["config"]["chunkSize"].as_i64().or(detail["chunkSize"].as_i64()), Some(128), "{detail}");
        switch(&service, &dataset, 1).await;
        for (query, there) in [("marina", true), ("quarry", false), ("ferry", true), ("watermill", true), ("tollgate", true), ("windmill", false), ("lighthouse", false)] {
            assert_eq!(!found(&service, &dataset, query, None).await.is_empty(), there, "{query} in generation 1 again");
        }
        assert_eq!(service.call(Method::DELETE, &format!("{path}/1"), None).await.1["error"]["reason"], "generation_live");
        assert_eq!(service.call(Method::DELETE, &format!("{path}/2"), None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(service.get(&path).await["data"].as_array().map(Vec::len), Some(1));
        let directory = service.data.path().join("keyword").join(format!("{dataset}~2"));
        eventually!("the index goes with its generation", !directory.exists());
        assert!(!found(&service, &dataset, "ferry", None).await.is_empty());
    }

    async fn searches_never_fail_while_generations_are_switched(service: Service) {
        let dataset = service.dataset("d").await;
        for name in ["heath", "marsh", "dune"] {
            service.add(&dataset, &format!("{name}.md"), &article(name, 5)).await;
        }
        service.post(&format!("/kb/v1/datasets/{dataset}/generations"), json!({"chunkSize": 128})).await;
        switch(&service, &dataset, 2).await;
        let service = Arc::new(service);
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let searching = tokio::spawn({
            let (service, dataset, stop, count) = (Arc::clone(&service), dataset.clone(), Arc::clone(&stop), Arc::clone(&count));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"query": "what is in the marsh", "datasetIds": [dataset], "topK": 3});
                    let (status, answer) = service.call(Method::POST, "/kb/v1/search", Some(body)).await;
                    let hits = answer["results"].as_array().map_or(0, Vec::len);
                    assert!(status == StatusCode::OK && hits == 3, "{status} {answer}");
                    assert_eq!(answer["results"][0]["fileName"], "marsh.md");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for round in 0..10 {
            switch(&service, &dataset, 1 + round % 2).await;
            let before = count.load(Ordering::Relaxed);
            eventually!("searches go on", searching.is_finished() || count.load(Ordering::Relaxed) > before + 2);
        }
        stop.store(true, Ordering::Relaxed);
        searching.await.expect("no search fails");
        assert!(count.load(Ordering::Relaxed) > 20, "{count:?} searches");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_model_is_built_beside_and_both_can_be_searched() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let other = service.dataset("other").await;
    for name in ["heath", "marsh", "dune"] {
        service
            .add(&dataset, &format!("{name}.md"), &article(name, 2))
            .await;
    }
    service.add(&other, "marsh.md", &article("marsh", 1)).await;
    let path = format!("/kb/v1/datasets/{dataset}/generations");
    let (status, unknown) = service
        .call(
            Method::POST,
            &path,
            Some(json!({"embeddingModel": "no-such-model"})),
        )
        .await;
    assert_eq!(
        (status, &unknown["error"]["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("model_mismatch")),
        "{unknown}"
    );
    let begun = service
        .post(&path, json!({"embeddingModel": "all-MiniLM-L6-v2-fp32"}))
        .await;
    assert_eq!(begun["embeddingModel"], "all-MiniLM-L6-v2-fp32");
    let by_meaning = async |datasets: &[&str]| -> Vec<(String, f64)> {
        let body = json!({"query": "wet land with reeds", "datasetIds": datasets, "topK": 8, "hybridAlpha": 1.0});
        let hits = service.search(body).await;
        hits.iter()
            .map(|h| (text(&h["fileName"]), h["score"].as_f64().expect("a score")))
            .collect()
    };
    let before = by_meaning(&[&dataset]).await;
    assert_eq!(before.len(), 6);
    switch(&service, &dataset, 2).await;
    let after = by_meaning(&[&dataset]).await;
    // The same model in another precision: nearly the same scores, and not the same.
    let distance: f64 = before
        .iter()
        .zip(&after)
        .map(|(a, b)| (a.1 - b.1).abs())
        .sum();
    assert!(distance > 0.0 && distance < 0.05, "{before:?} {after:?}");
    // Datasets of two models in one search, and new files for the model of their dataset.
    assert_eq!(by_meaning(&[&dataset, &other]).await.len(), 7);
    service.add(&dataset, "fen.md", &article("fen", 1)).await;
    assert_eq!(by_meaning(&[&dataset]).await.len(), 7);
    switch(&service, &dataset, 1).await;
    assert_eq!(by_meaning(&[&dataset]).await.len(), 7);
}

/// A document is found by meaning as a whole or not yet, also when it is switched off and on before its first ingestion is complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_not_complete_has_no_vectors_in_the_index() {
    use cairn::kb::index_log;
    use cairn::search::drift;

    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let document = service
        .add(&dataset, "a.md", "Puffins nest on cliffs.")
        .await;
    // As it is while its chunks are embedded.
    let set = "UPDATE kb_documents SET text_hash = NULL WHERE id = $1";
    let args = cairn::db::Args(vec![document.as_str().into()]);
    service.app.db.execute(set, args).await.expect("set");
    let path = format!("/kb/v1/datasets/{dataset}/documents/{document}");
    for enabled in [false, true] {
        let (status, body) = service
            .call(Method::PATCH, &path, Some(json!({"enabled": enabled})))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    eventually!("both indexes have followed", {
        let heads = index_log::heads(&service.app.db).await.expect("heads");
        heads.iter().all(|head| {
            let (keyword, vector) = service.app.indexes.positions(&head.id);
            keyword.min(vector) == head.log_seq
        })
    });
    let engine = service.app.engine().await.expect("open");
    for head in index_log::heads(&service.app.db).await.expect("heads") {
        let found = drift::of(&service.app, engine, &head).await.expect("drift");
        assert_eq!(found.total(), 0, "{found:?}");
    }
}
