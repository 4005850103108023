//! Why something is not among the hits: a planted case for every cause.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Engine, Service, cross_encoder, text};

/// What `why-not` says: the cause and all of it.
async fn cause(service: &Service, mut body: Value, expected: &Value) -> (String, Value) {
    let fields = body.as_object_mut().expect("an object");
    fields.extend(expected.as_object().expect("an object").clone());
    let answer = service.post("/kb/v1/why-not", body).await;
    (text(&answer["cause"]), answer)
}

async fn chunk_of(service: &Service, dataset: &str, document: &str) -> String {
    let path = format!("/kb/v1/datasets/{dataset}/documents/{document}/chunks");
    text(&service.get(&path).await["data"][0]["id"])
}

async fn uploaded(service: &Service, dataset: &str, name: &str, bytes: &[u8]) -> String {
    let (_, body) = service.upload(dataset, &[(name, bytes)], &[]).await;
    text(&body["uploadedFiles"][0]["id"])
}

#[tokio::test]
async fn every_cause_is_named() {
    let models = tempfile::tempdir().expect("temporary directory");
    let reranker = cross_encoder(models.path());
    let mut service = Service::start_with(Engine::Sqlite, |config| {
        config.reranker = reranker.display().to_string();
        config.rerank_candidates = 1;
    })
    .await;
    let dataset = service.dataset("main").await;
    let other = service.dataset("other").await;
    let copy = |n: usize| {
        format!(
            "The ferry to the northern islands leaves every morning from the stone pier behind the market, number {n}, and returns in the evening when the tide allows it, with mail, sheep and visitors on board, as it has done for more than a hundred years."
        )
    };
    let best = service.add(&dataset, "best.txt", &copy(1)).await;
    let twin = service.add(&dataset, "twin.txt", &copy(2)).await;
    let long: String = (0..3)
        .map(|n| {
            format!(
                "# Ferry {n}\n\nThe ferry of route {n} leaves from the pier. {}\n\n",
                "It crosses the bay. ".repeat(60)
            )
        })
        .collect();
    let parts = service.add(&dataset, "parts.md", &long).await;
    let tea = service
        .add_with(
            &dataset,
            "tea.txt",
            b"Steep green tea for two minutes.",
            &[("metadata", r#"{"kind":"drink"}"#)],
        )
        .await;
    let hidden = service
        .add(&dataset, "hidden.txt", "The ferry sails at night.")
        .await;
    let half = service
        .add(&dataset, "half.txt", "The ferry sails at dawn.")
        .await;
    let elsewhere = service
        .add(&other, "elsewhere.txt", "The ferry sails at noon.")
        .await;
    let broken = uploaded(
        &service,
        &dataset,
        "broken.pdf",
        b"%PDF-1.4\nnothing of a document",
    )
    .await;
    service.settled(&dataset, &broken).await;
    let document = |id: &str| format!("/kb/v1/datasets/{dataset}/documents/{id}");
    service
        .call(
            Method::PATCH,
            &document(&hidden),
            Some(json!({"enabled": false})),
        )
        .await;
    let half_chunk = chunk_of(&service, &dataset, &half).await;
    let chunk = |id: &str| format!("/kb/v1/datasets/{dataset}/chunks/{id}");
    service
        .call(
            Method::PATCH,
            &chunk(&half_chunk),
            Some(json!({"enabled": false})),
        )
        .await;
    let last_part = {
        let path = format!("/kb/v1/datasets/{dataset}/documents/{parts}/chunks");
        let all = service.get(&path).await;
        text(&all["data"].as_array().expect("chunks").last().expect("one")["id"])
    };

    let ask = |more: Value| {
        let mut body = json!({"query": "ferry to the northern islands", "datasetIds": [dataset], "topK": 1, "hybridAlpha": 0.5});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        body
    };
    let of = |id: &str| json!({"documentId": id});
    let cases: Vec<(&str, Value, Value)> = vec![
        ("found", ask(json!({})), of(&best)),
        ("unknown", ask(json!({})), of("nothing")),
        (
            "unknown",
            ask(json!({})),
            json!({"chunkId": "00000000-0000-0000-0000-000000000000"}),
        ),
        ("otherDataset", ask(json!({})), of(&elsewhere)),
        ("ingestionFailed", ask(json!({})), of(&broken)),
        ("documentDisabled", ask(json!({})), of(&hidden)),
        (
            "chunkDisabled",
            ask(json!({})),
            json!({"chunkId": half_chunk}),
        ),
        (
            "filtered",
            ask(json!({"filter": {"field": "kind", "op": "eq", "value": "food"}})),
            of(&tea),
        ),
        (
            "filtered",
            ask(json!({"filter": {"field": "$page", "op": "gte", "value": 2}})),
            of(&tea),
        ),
        (
            "filtered",
            ask(json!({"query": "ferry kind:food file:twin"})),
            of(&tea),
        ),
        (
            "lacksRequired",
            ask(json!({"query": "\"northern islands\" ferry"})),
            of(&tea),
        ),
        (
            "lacksRequired",
            ask(json!({"query": "+islands ferry"})),
            of(&parts),
        ),
        (
            "hasExcluded",
            ask(json!({"query": "ferry -sheep"})),
            of(&twin),
        ),
        ("notACandidate", ask(json!({"candidates": 1})), of(&tea)),
        (
            "belowMinScore",
            ask(json!({"topK": 50, "minScore": 0.9})),
            of(&tea),
        ),
        (
            "foldedAsDuplicate",
            ask(json!({"query": copy(1), "topK": 5, "foldDuplicates": true})),
            of(&twin),
        ),
        (
            "perDocument",
            ask(json!({"query": "route 2 ferry pier", "topK": 50, "perDocument": 1})),
            json!({"chunkId": Value::Null}),
        ),
        (
            "diversity",
            ask(json!({"query": copy(1), "topK": 2, "mmr": 0.1})),
            of(&twin),
        ),
        ("reranked", ask(json!({"rerank": true})), of(&tea)),
        ("belowTopK", ask(json!({})), of(&tea)),
        (
            "tokenBudget",
            ask(json!({"topK": 50, "maxTokens": 5})),
            of(&tea),
        ),
    ];
    for (wanted, body, mut expected) in cases {
        if wanted == "perDocument" {
            // The best part is shown, so another one of them is cut.
            let hits = service.search(body.clone()).await;
            let shown = hits
                .iter()
                .find(|h| h["fileId"] == json!(parts))
                .expect("a part is shown");
            let path = format!("/kb/v1/datasets/{dataset}/documents/{parts}/chunks");
            let all = service.get(&path).await;
            let cut = all["data"]
                .as_array()
                .expect("chunks")
                .iter()
                .find(|c| c["id"] != shown["chunkId"])
                .expect("another part")
                .clone();
            expected = json!({"chunkId": cut["id"]});
        }
        let (named, answer) = cause(&service, body, &expected).await;
        assert_eq!(named, wanted, "{expected}: {answer}");
        assert!(
            answer["sentence"]
                .as_str()
                .is_some_and(|s| s.ends_with('.')),
            "{answer}"
        );
        assert!(
            wanted == "found" || answer["remedy"].is_string(),
            "{answer}"
        );
    }
    let (_, below) = cause(
        &service,
        ask(json!({"topK": 50, "minScore": 0.9})),
        &of(&tea),
    )
    .await;
    let by = below["belowMinScoreBy"].as_f64().expect("a distance");
    assert!(
        (0.9 - below["score"].as_f64().expect("a score") - by).abs() < 1e-6,
        "{below}"
    );
    assert_eq!(
        below["missingTerms"],
        json!(["ferri", "northern", "island"])
    );

    // The remedy that is named brings it in.
    let (_, cut) = cause(&service, ask(json!({})), &of(&tea)).await;
    let rank = cut["rank"].as_u64().expect("a rank");
    assert_eq!(cut["remedy"], format!("Raise topK from 1 to {rank}."));
    assert_eq!(
        cause(&service, ask(json!({"topK": rank})), &of(&tea))
            .await
            .0,
        "found"
    );

    let config = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/config");
    service
        .call(
            Method::PATCH,
            &config,
            Some(json!({"allowedAgentRoles": ["support"]})),
        )
        .await;
    assert_eq!(
        cause(&service, ask(json!({"agentRole": "sales"})), &of(&tea))
            .await
            .0,
        "roleNotAllowed"
    );

    // With workers and indexes at rest, nothing new becomes searchable.
    service.stop().await;
    let new = uploaded(&service, &dataset, "new.txt", b"The ferry is new.").await;
    assert_eq!(
        cause(&service, ask(json!({})), &of(&new)).await.0,
        "notIngested"
    );
    let path = format!("/kb/v1/datasets/{dataset}/documents/{tea}/chunks");
    let added = service
        .post(&path, json!({"content": "A ferry serves tea."}))
        .await;
    assert_eq!(
        cause(&service, ask(json!({})), &json!({"chunkId": added["id"]}))
            .await
            .0,
        "notIndexed"
    );
    let generations = format!("/kb/v1/datasets/{dataset}/generations");
    service.post(&generations, json!({"chunkSize": 128})).await;
    assert_eq!(
        cause(&service, ask(json!({"generation": 2})), &of(&tea))
            .await
            .0,
        "noChunks"
    );
    assert_eq!(
        cause(
            &service,
            ask(json!({"generation": 2})),
            &json!({"chunkId": last_part})
        )
        .await
        .0,
        "otherGeneration"
    );
}
