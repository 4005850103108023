//! The knowledge base section of the dashboard contract.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Engine, Service, pdf, text};

const BASE: &str = "/dashboard/v1/knowledge-base";

on_both! {
    async fn a_file_goes_from_upload_to_search_to_deletion(service: Service) {
        let dataset = service.dataset("papers").await;
        let guide = "# Guide\n\n## Proxies\n\nSet HTTP_PROXY before version 2.4.1 starts.\n\n## Logs\n\nLogs rotate daily.\n";
        let (status, body) = service.upload(&dataset, &[("guide.md", guide.as_bytes())], &[]).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let uploaded = &body["uploadedFiles"][0];
        assert_eq!((&uploaded["fileName"], &uploaded["status"]), (&json!("guide.md"), &json!("pending")));
        let file = text(&uploaded["id"]);
        let settled = service.settled(&dataset, &file).await;
        assert_eq!((&settled["status"], &settled["progress"], &settled["errorMessage"]), (&json!("indexed"), &json!(100), &Value::Null));
        assert!(settled["chunksCount"].as_i64().expect("a number") >= 1);

        let found = service.post(&format!("{BASE}/search"), json!({"query": "HTTP_PROXY", "datasetIds": [dataset]})).await;
        let hit = &found["results"][0];
        assert_eq!((&hit["fileId"], &hit["fileName"], &hit["datasetId"], &hit["rankSource"]), (&json!(file), &json!("guide.md"), &json!(dataset), &json!("hybrid")));
        let score = hit["score"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&score) && found["searchMs"].is_number());
        assert!(text(&hit["content"]).contains("HTTP_PROXY"));
        assert!(text(&hit["metadata"]["heading"]).starts_with("Guide"));

        let detail = service.get(&format!("{BASE}/datasets/{dataset}")).await;
        assert_eq!((&detail["status"], &detail["totalFiles"], &detail["vectorSize"]), (&json!("active"), &json!(1), &json!(384)));
        assert_eq!((&detail["chunkSize"], &detail["chunkOverlap"], &detail["parserEngine"]), (&json!(256), &json!(32), &json!("NODE_NATIVE")));
        let record = &detail["files"][0];
        assert_eq!((&record["mimeType"], &record["source"], &record["enabled"], &record["fileSizeBytes"]), (&json!("text/markdown"), &json!("upload"), &json!(true), &json!(guide.len())));

        let path = format!("{BASE}/datasets/{dataset}/files/{file}");
        let (status, deleted) = service.call(Method::DELETE, &path, None).await;
        assert_eq!((status, &deleted["deleted"], &deleted["chunksRemoved"]), (StatusCode::OK, &json!(true), &settled["chunksCount"]));
        let found = service.post(&format!("{BASE}/search"), json!({"query": "HTTP_PROXY", "datasetIds": [dataset]})).await;
        assert_eq!(found["results"], json!([]), "deleted is gone at the very next query");
        assert_eq!(service.call(Method::GET, &format!("{path}/status"), None).await.0, StatusCode::NOT_FOUND);
    }

    async fn a_disabled_file_is_hidden_at_once_and_comes_back(service: Service) {
        let dataset = service.dataset("d").await;
        let file = service.add(&dataset, "a.txt", "The lighthouse keeper repaired the lamp.").await;
        let path = format!("{BASE}/datasets/{dataset}/files/{file}");
        let (status, record) = service.call(Method::PATCH, &path, Some(json!({"enabled": false}))).await;
        assert_eq!((status, &record["enabled"], &record["status"]), (StatusCode::OK, &json!(false), &json!("disabled")));
        let request = json!({"query": "lighthouse", "datasetIds": [dataset]});
        assert!(service.search(request.clone()).await.is_empty());
        // ingesting it again leaves it disabled
        service.call(Method::PATCH, &path, Some(json!({"reIngest": true}))).await;
        assert_eq!(service.settled(&dataset, &file).await["status"], "disabled");
        assert!(service.search(request.clone()).await.is_empty());
        service.call(Method::PATCH, &path, Some(json!({"enabled": true}))).await;
        assert_eq!(service.settled(&dataset, &file).await["status"], "indexed");
        let hit = &service.search(request).await[0];
        assert_eq!((&hit["fileId"], &hit["rankSource"]), (&json!(file), &json!("hybrid")));
    }

    async fn settings_are_checked_and_hold_for_what_comes(service: Service) {
        let dataset = service.dataset("d").await;
        let config = format!("{BASE}/datasets/{dataset}/config");
        for (bad, reason) in [
            (json!({"chunkSize": 127}), "chunk_size_out_of_range"),
            (json!({"chunkSize": 2049}), "chunk_size_out_of_range"),
            (json!({"chunkOverlap": 513, "chunkSize": 2048}), "chunk_overlap_out_of_range"),
            (json!({"chunkOverlap": 256}), "chunk_overlap_out_of_range"),
            (json!({"parseType": "SMART"}), "parse_type_unknown"),
            (json!({"parserEngine": "OTHER"}), "parser_engine_unknown"),
            (json!({"name": " "}), "name_missing"),
        ] {
            let (status, body) = service.call(Method::PATCH, &config, Some(bad.clone())).await;
            assert_eq!((status, &body["error"]["code"], &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("VALIDATION_ERROR"), &json!(reason)), "{bad}");
        }
        let words: String = (0..600).map(|n| format!("word{n} ")).collect();
        let before = service.add(&dataset, "before.txt", &words).await;
        let patch = json!({"name": "renamed", "description": "x", "chunkSize": 128, "chunkOverlap": 0, "parseType": "NAIVE", "allowedAgentRoles": ["writer"]});
        let (status, detail) = service.call(Method::PATCH, &config, Some(patch)).await;
        assert_eq!((status, &detail["name"], &detail["chunkSize"], &detail["allowedAgentRoles"]), (StatusCode::OK, &json!("renamed"), &json!(128), &json!(["writer"])));
        let count = async |file: &str| service.settled(&dataset, file).await["chunksCount"].as_i64().expect("a number");
        let old = count(&before).await;
        let after = service.add(&dataset, "after.txt", &words).await;
        assert!(count(&after).await > old, "new files take the new size");
        assert_eq!(count(&before).await, old, "old files stay as they are");
        let (status, queued) = service.call(Method::POST, &format!("{BASE}/datasets/{dataset}/re-index"), None).await;
        assert_eq!((status, &queued["jobsQueued"]), (StatusCode::ACCEPTED, &json!(2)));
        assert!(queued["estimatedMinutes"].as_i64().expect("a number") >= 1);
        service.settled(&dataset, &before).await;
        assert_eq!(count(&before).await, count(&after).await, "re-indexing applies them to all");
    }

    async fn pages_of_a_pdf_are_named_and_a_broken_one_says_why(service: Service) {
        let dataset = service.dataset("d").await;
        let good = pdf(&["The first page speaks of glaciers.", "", "The third page speaks of volcanoes."]);
        let file = service.add_with(&dataset, "two.pdf", &good, &[]).await;
        let hits = service.search(json!({"query": "volcanoes", "datasetIds": [dataset]})).await;
        assert_eq!((&hits[0]["fileId"], &hits[0]["metadata"]["pageNumber"]), (&json!(file), &json!(3)));
        assert_eq!(service.get(&format!("/kb/v1/datasets/{dataset}/documents/{file}")).await["pages"], 3);
        for (name, bytes, part) in [
            ("damaged.pdf", b"%PDF-1.7 and nothing more".to_vec(), "damaged"),
            ("scanned.pdf", pdf(&[""]), "no text layer"),
        ] {
            let (_, body) = service.upload(&dataset, &[(name, &bytes)], &[]).await;
            let settled = service.settled(&dataset, &text(&body["uploadedFiles"][0]["id"])).await;
            assert_eq!(settled["status"], "error");
            assert!(text(&settled["errorMessage"]).contains(part), "{settled}");
        }
        assert_eq!(service.get(&format!("{BASE}/datasets")).await["data"][0]["status"], "active", "one good file keeps the dataset active");
    }

    async fn upload_limits_are_those_of_the_contract(service: Service) {
        let dataset = service.dataset("d").await;
        let tiny: Vec<(&str, &[u8])> = vec![("a.txt", b"x".as_slice()); 21];
        let refused = async |files: &[(&str, &[u8])], fields: &[(&str, &str)]| {
            let (status, body) = service.upload(&dataset, files, fields).await;
            (status.as_u16(), text(&body["error"]["code"]), text(&body["error"]["reason"]))
        };
        let validation = |reason: &str| (400, "VALIDATION_ERROR".to_owned(), reason.to_owned());
        assert_eq!(refused(&tiny, &[]).await, validation("too_many_files"));
        assert_eq!(refused(&[], &[("parseType", "NAIVE")]).await, validation("files_missing"));
        assert_eq!(refused(&[("a.txt", b"")], &[]).await, validation("empty_file"));
        assert_eq!(refused(&[("a.png", b"\x89PNG\r\n\x1a\n00000000")], &[]).await, validation("unsupported_format"));
        assert_eq!(refused(&[("a.txt", b"x")], &[("chunkSize", "many")]).await, validation("number_invalid"));
        assert_eq!(refused(&[("a.txt", b"x")], &[("chunkSize", "64")]).await, validation("chunk_size_out_of_range"));
        assert_eq!(refused(&[("a.txt", b"x")], &[("metadata", "[]")]).await, validation("metadata_invalid"));
        assert_eq!(refused(&[("a.txt", b"x")], &[("metadata", "1")]).await, validation("metadata_invalid"));
        assert_eq!(service.get(&format!("{BASE}/datasets/{dataset}")).await["totalFiles"], 0, "a refused upload leaves nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_over_the_limits_are_refused_while_streaming() {
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.upload_file_mb = 1;
        config.upload_batch_mb = 2;
    })
    .await;
    let dataset = service.dataset("d").await;
    let (large, most) = (vec![b'x'; (1 << 20) + 1], vec![b'y'; 900 << 10]);
    let (status, body) = service
        .upload(&dataset, &[("large.txt", &large)], &[])
        .await;
    assert_eq!(
        (status.as_u16(), &body["error"]["reason"]),
        (400, &json!("file_too_large"))
    );
    let (status, body) = service
        .upload(
            &dataset,
            &[("a.txt", &most), ("b.txt", &most), ("c.txt", &most)],
            &[],
        )
        .await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (413, &json!("PAYLOAD_TOO_LARGE"))
    );
    let (status, body) = service
        .upload(
            &dataset,
            &[("a.txt", b"x")],
            &[("metadata", &"x".repeat((1 << 20) + 1))],
        )
        .await;
    assert_eq!(
        (status.as_u16(), &body["error"]["reason"]),
        (413, &json!("field_too_large"))
    );
    let (status, body) = service
        .call(
            Method::POST,
            &format!("{BASE}/search"),
            Some(json!({"query": "x".repeat(2 << 20), "datasetIds": [dataset]})),
        )
        .await;
    assert_eq!(
        (status.as_u16(), &body["error"]["reason"]),
        (413, &json!("body_too_large"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reranking_without_a_reranker_is_told() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    service
        .add(&dataset, "a.txt", "Puffins nest on cliffs.")
        .await;
    let body = json!({"query": "puffins", "datasetIds": [dataset], "rerank": true});
    let answer = service.post(&format!("{BASE}/search"), body).await;
    assert_eq!(answer["rerank"], "notConfigured", "{answer}");
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_begin_with_a_byte_order_mark() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let body = format!("\u{feff}{}", json!({"query": "x", "datasetIds": [dataset]}));
    let answer = reqwest::Client::new()
        .post(format!("{}{BASE}/search", service.url))
        .bearer_auth(&service.key)
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_streams_pass_proxies_and_begin_anew_without_an_id() {
    let service = Service::start(Engine::Sqlite).await;
    let answer = reqwest::Client::new()
        .get(format!("{}/kb/v1/events", service.url))
        .bearer_auth(&service.key)
        .header("Last-Event-ID", "")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_are_checked() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let path = format!("{BASE}/search");
    for (bad, status, reason) in [
        (
            json!({"query": "", "datasetIds": [dataset]}),
            400,
            "query_invalid",
        ),
        (
            json!({"query": "x", "datasetIds": []}),
            400,
            "datasets_invalid",
        ),
        (
            json!({"query": "x", "datasetIds": [dataset], "topK": 21}),
            400,
            "top_k_out_of_range",
        ),
        (
            json!({"query": "x", "datasetIds": [dataset], "topK": 0}),
            400,
            "top_k_out_of_range",
        ),
        (
            json!({"query": "x", "datasetIds": [dataset], "hybridAlpha": 1.1}),
            400,
            "alpha_out_of_range",
        ),
        (
            json!({"query": "x", "datasetIds": [dataset], "minScore": -0.1}),
            400,
            "min_score_out_of_range",
        ),
        (
            json!({"query": "x", "datasetIds": ["01ARZ3NDEKTSV4RRFFQ69G5FAV"]}),
            404,
            "dataset_not_found",
        ),
        (json!({"query": "x"}), 400, "body_invalid"),
        (
            json!({"query": 5, "datasetIds": [dataset]}),
            400,
            "body_invalid",
        ),
    ] {
        let (found, body) = service.call(Method::POST, &path, Some(bad.clone())).await;
        assert_eq!(
            (found.as_u16(), &body["error"]["reason"]),
            (status, &json!(reason)),
            "{bad}"
        );
    }
    for odd in [
        "\"",
        "(",
        "a AND",
        "*",
        "field:",
        "-",
        "\u{0}",
        "🦀",
        "to be or not to be",
        "../../etc/passwd",
        "'; DROP TABLE kb_chunks; --",
    ] {
        let (status, body) = service
            .call(
                Method::POST,
                &path,
                Some(json!({"query": odd, "datasetIds": [dataset]})),
            )
            .await;
        assert_eq!(status, StatusCode::OK, "{odd:?}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_one_name_however_its_accents_are_written() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let first = service
        .add(&dataset, "caf\u{e9}.md", "The menu of spring.")
        .await;
    let second = service
        .add(&dataset, "cafe\u{301}.md", "The menu of autumn.")
        .await;
    assert_eq!(first, second, "a new version");
}
