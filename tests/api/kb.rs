//! What `/kb/v1` adds: datasets, documents, events, settings; and ingestion that computes nothing twice.

use std::time::Duration;

use cairn::db::Args;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

on_both! {
    async fn datasets_are_created_listed_in_pages_and_deleted_with_everything(service: Service) {
        let names = ["a", "b", "c"];
        let mut ids = Vec::new();
        for name in names {
            ids.push(service.dataset(name).await);
        }
        let (status, body) = service.call(Method::POST, "/kb/v1/datasets", Some(json!({"name": "a"}))).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("CONFLICT")));
        for (bad, reason) in [(json!({"name": ""}), "name_missing"), (json!({"name": "x", "language": "xx"}), "language_unknown"), (json!({"name": "x", "chunkSize": 1}), "chunk_size_out_of_range")] {
            let (status, body) = service.call(Method::POST, "/kb/v1/datasets", Some(bad)).await;
            assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!(reason)));
        }
        let first = service.get("/kb/v1/datasets?limit=2").await;
        let cursor = text(&first["pagination"]["nextCursor"]);
        let second = service.get(&format!("/kb/v1/datasets?limit=2&cursor={cursor}")).await;
        let listed: Vec<String> = first["data"].as_array().expect("a page").iter().chain(second["data"].as_array().expect("a page")).map(|d| text(&d["name"])).collect();
        assert_eq!(listed, names);
        assert_eq!(second["pagination"], json!({"nextCursor": null, "hasMore": false}));

        service.add(&ids[0], "x.txt", "An otter floats on its back.").await;
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/datasets/{}", ids[0]), None).await.0, StatusCode::NO_CONTENT);
        let (status, _) = service.call(Method::POST, "/kb/v1/search", Some(json!({"query": "otter", "datasetIds": [ids[0]]}))).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let directory = service.data.path().join("keyword").join(&ids[0]);
        eventually!("the index goes with its dataset", !directory.exists());
        assert_eq!(service.dataset("a").await.len(), 26, "the name is free again");
    }

    async fn ingesting_again_embeds_only_what_is_new_and_keeps_chunk_ids(service: Service) {
        let dataset = service.dataset("d").await;
        let text_of = |n: usize, changed: bool| -> String {
            (0..n).map(|i| format!("# Section {i}\n\n{}\n\n", if changed && i == 1 { "A changed paragraph about harbours.".to_owned() } else { format!("Paragraph {i} speaks of rivers and {}.", "bridges ".repeat(60)) })).collect()
        };
        let file = service.add(&dataset, "a.md", &text_of(4, false)).await;
        let chunks = async |file: &str| -> Vec<(String, String)> {
            let page = service.get(&format!("/kb/v1/datasets/{dataset}/documents/{file}/chunks?limit=100")).await;
            page["data"].as_array().expect("chunks").iter().map(|c| (text(&c["id"]), text(&c["content"]))).collect()
        };
        let embeddings = async || -> i64 { service.app.db.one::<(i64,)>("SELECT COUNT(*) FROM kb_embeddings", cairn::db::Args::default()).await.expect("counts").0 };
        let (before, embedded) = (chunks(&file).await, embeddings().await);
        service.call(Method::PATCH, &format!("/kb/v1/datasets/{dataset}/documents/{file}"), Some(json!({"reIngest": true}))).await;
        service.settled(&dataset, &file).await;
        assert_eq!(chunks(&file).await, before);
        assert_eq!(embeddings().await, embedded);
        // the same text in another document is known as well
        service.add(&dataset, "a.md", &text_of(4, false)).await;
        assert_eq!(embeddings().await, embedded);
        service.add(&dataset, "a.md", &text_of(4, true)).await;
        assert_eq!(embeddings().await, embedded + 1, "one changed section is one new embedding");
    }

    async fn a_command_before_the_first_start_costs_nobody_the_admin_key(service: Service) {
        assert_eq!(service.app.first_start().await.expect("fine"), None);
        service.app.db.execute("DELETE FROM credentials", Args::default()).await.expect("no keys");
        let key = service.app.first_start().await.expect("fine").expect("a key");
        let (status, _) = service.call_as(&key, Method::GET, "/kb/v1/keys", None).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn the_original_file_is_sent_whole_in_parts_and_once(service: Service) {
        let dataset = service.dataset("a").await;
        let words = "# Tides\n\nThe tide lags.";
        let document = service.add(&dataset, "tides.md", words).await;
        let url = format!("{}/kb/v1/datasets/{dataset}/documents/{document}/file", service.url);
        let ask = async |name: &'static str, value: &str| {
            let request = service.http.get(&url).bearer_auth(&service.key).header(name, value);
            request.send().await.expect("an answer")
        };
        let whole = ask("accept", "*/*").await;
        let header = |name: &str| text(&json!(whole.headers()[name].to_str().expect("a text")));
        assert_eq!((header("content-type").as_str(), header("content-disposition").as_str()), ("text/plain; charset=utf-8", "inline; filename*=UTF-8''tides.md"));
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        let etag = header("etag");
        assert_eq!(whole.text().await.expect("text"), words);
        let part = ask("range", "bytes=2-6").await;
        assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().expect("a text")), (206, "bytes 2-6/23"));
        assert_eq!(part.text().await.expect("text"), "Tides");
        let outside = ask("range", "bytes=100-").await;
        assert_eq!((outside.status().as_u16(), outside.headers()["content-range"].to_str().expect("a text")), (416, "bytes */23"));
        assert_eq!(ask("if-none-match", &etag).await.status().as_u16(), 304);
    }

    async fn a_page_that_somebody_uploaded_is_shown_inert(service: Service) {
        let dataset = service.dataset("a").await;
        let document = service.add(&dataset, "page.html", "<p>The tide lags.</p><script>alert(1)</script>").await;
        let url = format!("{}/kb/v1/datasets/{dataset}/documents/{document}/file", service.url);
        let page = service.http.get(&url).bearer_auth(&service.key).send().await.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK);
        assert!(page.headers()["content-security-policy"].to_str().expect("a text").starts_with("sandbox; default-src 'none'"));
        let saved = service.http.get(format!("{url}?download=true")).bearer_auth(&service.key).send().await.expect("an answer");
        assert!(saved.headers()["content-disposition"].to_str().expect("a text").starts_with("attachment"));
    }

    async fn metadata_and_details_of_a_document(service: Service) {
        let dataset = service.dataset("d").await;
        let page = format!("<html lang=en><head><title>Harbour news</title></head><body><article><h1>Harbour news</h1><p>{}</p></article><nav>menu</nav></body></html>", "The new crane lifts forty tonnes. ".repeat(20));
        let (_, body) = service.upload(&dataset, &[("news.html", page.as_bytes()), ("b.txt", b"Second file.")], &[("metadata", "[{\"year\": 2026}, {\"year\": 1999}]")]).await;
        let ids: Vec<String> = body["uploadedFiles"].as_array().expect("files").iter().map(|f| text(&f["id"])).collect();
        for id in &ids {
            service.settled(&dataset, id).await;
        }
        let path = format!("/kb/v1/datasets/{dataset}/documents/{}", ids[0]);
        let detail = service.get(&path).await;
        assert_eq!((&detail["title"], &detail["metadata"]["year"], &detail["engine"], &detail["errorCode"]), (&json!("Harbour news"), &json!(2026), &json!("dom_smoothie"), &Value::Null));
        let (status, patched) = service.call(Method::PATCH, &path, Some(json!({"metadata": {"year": 2027}}))).await;
        assert_eq!((status, &patched["metadata"]), (StatusCode::OK, &json!({"year": 2027})));
        let (status, body) = service.call(Method::PATCH, &path, Some(json!({"metadata": 5}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("metadata_invalid")));
        let listed = service.get(&format!("/kb/v1/datasets/{dataset}/documents?limit=1")).await;
        assert_eq!((&listed["data"][0]["id"], &listed["pagination"]["hasMore"]), (&json!(ids[0]), &json!(true)));
        let (_, text) = service.call(Method::GET, &format!("{path}/text"), None).await;
        assert!(text.as_str().expect("text").contains("forty tonnes") && !text.as_str().expect("text").contains("menu"));
        let settings = service.get("/kb/v1/settings").await;
        assert_eq!((&settings["embeddingModel"], &settings["vectorSize"]), (&json!("all-MiniLM-L6-v2"), &json!(384)));
    }

    async fn events_tell_every_step_and_resume_after_the_last_one_seen(service: Service) {
        let dataset = service.dataset("d").await;
        let file = service.add(&dataset, "a.txt", "Herons stand still.").await;
        let open = async |query: &str, last: Option<&str>| -> reqwest::Response {
            let mut request = reqwest::Client::new().get(format!("{}/kb/v1/events?{query}", service.url)).bearer_auth(&service.key);
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            request.send().await.expect("an answer")
        };
        let read = async |answer: reqwest::Response, until: &str| -> Vec<(String, Value)> {
            let mut stream = answer.bytes_stream();
            let mut buffer = String::new();
            let collect = async {
                while !buffer.contains(until) {
                    buffer.push_str(&String::from_utf8_lossy(&stream.next().await.expect("more").expect("bytes")));
                }
            };
            tokio::time::timeout(Duration::from_secs(20), collect).await.unwrap_or_else(|_| panic!("{until} did not come"));
            buffer.split("\n\n").filter_map(|block| {
                let line = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
                Some((line("id:")?.to_owned(), serde_json::from_str(line("data:")?).expect("JSON")))
            }).collect()
        };
        let all = read(open(&format!("datasetId={dataset}&topics=document_changed"), Some("0")).await, "\"indexed\"").await;
        let steps: Vec<String> = all.iter().map(|(_, e)| text(&e["status"])).collect();
        assert_eq!(steps.first().map(String::as_str), Some("pending"));
        assert_eq!(steps.last().map(String::as_str), Some("indexed"));
        assert!(steps.contains(&"parsing".to_owned()) && steps.contains(&"embedding".to_owned()));
        assert!(all.iter().all(|(_, e)| e["documentId"] == json!(file)) && all.is_sorted_by_key(|(id, _)| id.parse::<i64>().expect("a number")));
        let rest = read(open("topics=document_changed", Some(&all[1].0)).await, "\"indexed\"").await;
        assert_eq!(rest, all[2..].to_vec());
        // Once a stream is answered, it hears what happens.
        let live = open("", None).await;
        service.call(Method::DELETE, &format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{file}"), None).await;
        let live = read(live, "document_deleted").await;
        assert_eq!((live.len(), &live[0].1["documentId"]), (1, &json!(file)));
        let (status, _) = service.call(Method::GET, "/kb/v1/events?lastEventId=x", None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    async fn a_search_sees_every_change_even_when_the_log_was_pruned(service: Service) {
        let dataset = service.dataset("d").await;
        let first = service.add(&dataset, "a.txt", "Storks return in spring.").await;
        let found = async || {
            let hits = service.search(json!({"query": "storks in spring", "datasetIds": [dataset]})).await;
            let mut names: Vec<String> = hits.iter().filter_map(|h| Some(h["fileName"].as_str()?.to_owned())).collect();
            names.sort();
            names
        };
        assert_eq!(found().await, ["a.txt"]);
        service.add(&dataset, "b.txt", "Storks leave in autumn.").await;
        let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{first}");
        service.call(Method::DELETE, &path, None).await;
        // What the search knows of the set in memory is older than the log reaches.
        service.app.db.execute("DELETE FROM kb_index_log", cairn::db::Args::default()).await.expect("pruned");
        assert_eq!(found().await, ["b.txt"]);
    }

    async fn lost_indexes_are_built_anew_from_sql(service: Service) {
        let mut service = service;
        let dataset = service.dataset("d").await;
        service.add(&dataset, "a.txt", "Storks return in spring.").await;
        service.add(&dataset, "b.txt", "The tax office closes at noon.").await;
        service.stop().await;
        let app = &service.app;
        let engine = app.engine().await.expect("open");
        let head = cairn::kb::index_log::heads(&app.db).await.expect("reads").into_iter().find(|h| h.id == dataset).expect("there");
        // the log is gone, too, as after pruning: only rows are left
        app.db.execute("DELETE FROM kb_index_log", cairn::db::Args::default()).await.expect("pruned");
        let index = engine.keyword.index(&dataset, head.generation, &head.language).expect("opens");
        index.apply(Vec::new(), 0, true).expect("empties");
        let store = app.vectors_of(&head.embedding_model, head.vector_size).await.expect("a store");
        let scope = cairn::search::vector::Scope { tenant_id: head.tenant_id.clone(), dataset_id: dataset.clone(), generation: 1 };
        let clear = cairn::search::vector::Changes { clear: true, ..Default::default() };
        store.apply(&app.db, &scope, clear, 0).await.expect("empties");
        assert!(store.ids(&scope).await.expect("reads").is_empty());
        // a process that starts knows no positions
        cairn::search::follower::rebuild_keyword(app, engine, &head).await.expect("builds");
        cairn::search::follower::rebuild_vector(app, &head).await.expect("builds");
        let hits = service.search(json!({"query": "storks in spring", "datasetIds": [dataset], "explain": true})).await;
        assert_eq!((hits.len(), &hits[0]["rankSource"]), (2, &json!("hybrid")));
        assert!(hits.iter().all(|h| h["explain"]["cosine"].is_number()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docling_without_a_server_is_a_clear_error() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let (_, body) = service
        .upload(
            &dataset,
            &[("a.txt", b"text")],
            &[("parserEngine", "DOCLING")],
        )
        .await;
    let settled = service
        .settled(&dataset, &text(&body["uploadedFiles"][0]["id"]))
        .await;
    assert_eq!(settled["status"], "error");
    assert!(text(&settled["errorMessage"]).contains("Docling"));
}
