//! What is hidden or rewritten is read through no operation and no tool: every one that the OpenAPI document and the tool list name is asked for it.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

/// Words of the passages that nobody may read; the first of each pair is what is asked for, the second what must not be answered.
const HIDDEN: (&str, &str) = ("quagga", "zinnober");
const REPLACED: (&str, &str) = ("okapi", "krapplack");
const DISABLED: (&str, &str) = ("markhor", "gamboge");

/// Operations that show a document as it is to those who manage it, with the scope `kb:read`.
const MANAGEMENT: [&str; 8] = [
    "/kb/v1/datasets/{datasetId}/documents/{documentId}",
    "/kb/v1/datasets/{datasetId}/documents/{documentId}/chunks",
    "/kb/v1/datasets/{datasetId}/documents/{documentId}/edits",
    "/kb/v1/datasets/{datasetId}/documents/{documentId}/file",
    "/kb/v1/datasets/{datasetId}/documents/{documentId}/preview",
    "/kb/v1/datasets/{datasetId}/documents/{documentId}/text",
    "/kb/v1/datasets/{datasetId}/chunks/{chunkId}",
    "/kb/v1/datasets/{datasetId}/chunks/{chunkId}/context",
];

struct Known {
    dataset: String,
    /// The document with hidden passages, and the one that is switched off.
    documents: [String; 2],
    /// The hidden and the rewritten chunk.
    chunks: Vec<String>,
    citations: Vec<String>,
}

fn section(name: &str, words: &str) -> String {
    format!("# {name}\n\n{words} {}\n\n", "and so on ".repeat(70))
}

/// A document of four passages, one of them hidden and one rewritten, beside one that is switched off as a whole.
async fn hide(service: &Service) -> Known {
    let dataset = service.dataset("paints").await;
    let source = [
        section("Ochre", "The first paint is ochre, as everybody knows."),
        section(
            "Red",
            &format!("The {} was painted with {}.", HIDDEN.0, HIDDEN.1),
        ),
        section("Blue", "The sky was painted with azurite."),
        section(
            "Pink",
            &format!("The {} was painted with {}.", REPLACED.0, REPLACED.1),
        ),
    ]
    .concat();
    let document = service.add(&dataset, "paints.md", &source).await;
    let off = section(
        "Yellow",
        &format!("The {} was painted with {}.", DISABLED.0, DISABLED.1),
    );
    let off = service.add(&dataset, "yellow.md", &off).await;
    let mut citations = Vec::new();
    for (word, _) in [HIDDEN, REPLACED, DISABLED] {
        let hits = service
            .search(json!({"query": word, "datasetIds": [dataset], "hybridAlpha": 0.0}))
            .await;
        citations.push(text(&hits[0]["citation"]));
    }
    let list = format!("/kb/v1/datasets/{dataset}/documents/{document}/chunks");
    let listed = service.get(&list).await;
    let of = |word: &str| {
        let found = listed["data"].as_array().expect("chunks").iter();
        let mut found = found.filter(|c| text(&c["content"]).contains(word));
        text(&found.next().expect("a chunk with that word")["id"])
    };
    let chunks = vec![of(HIDDEN.1), of(REPLACED.1)];
    for (path, body) in [
        (
            format!("/kb/v1/datasets/{dataset}/chunks/{}", chunks[0]),
            json!({"enabled": false}),
        ),
        (
            format!("/kb/v1/datasets/{dataset}/chunks/{}", chunks[1]),
            json!({"content": "The okapi was painted."}),
        ),
        (
            format!("/kb/v1/datasets/{dataset}/documents/{off}"),
            json!({"enabled": false}),
        ),
    ] {
        let (status, answer) = service.call(Method::PATCH, &path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    }
    Known {
        dataset,
        documents: [document, off],
        chunks,
        citations,
    }
}

/// The values that a parameter or a field of a body may have, by its name.
fn values(known: &Known, name: &str) -> Vec<Value> {
    let words = || {
        [HIDDEN, REPLACED, DISABLED]
            .map(|(word, _)| json!(word))
            .to_vec()
    };
    match name {
        "datasetId" | "dataset" => vec![json!(known.dataset)],
        "datasetIds" | "datasets" => vec![json!([known.dataset])],
        "documentId" | "document" | "fileId" => known.documents.iter().map(|d| json!(d)).collect(),
        "chunkId" | "chunk" => known.chunks.iter().map(|c| json!(c)).collect(),
        // Null is left out.
        "uri" | "citation" => known
            .citations
            .iter()
            .map(|c| json!(c))
            .chain([Value::Null])
            .collect(),
        "query" | "question" | "q" | "pattern" => words(),
        "quote" | "text" => [HIDDEN, REPLACED, DISABLED]
            .map(|(word, _)| json!(format!("The {word} was painted with something")))
            .to_vec(),
        "minScore" | "hybridAlpha" | "min_score" => vec![json!(0.0)],
        "contextExpansion" | "neighbours" | "expand" => vec![json!(2)],
        "items" => vec![json!("headings"), json!("titles")],
        _ => Vec::new(),
    }
}

/// All combinations of values.
fn combinations(fields: &[(String, Vec<Value>)]) -> Vec<BTreeMap<String, Value>> {
    fields
        .iter()
        .fold(vec![BTreeMap::new()], |all, (name, values)| {
            all.iter()
                .flat_map(|one| {
                    values.iter().map(|value| {
                        let mut one = one.clone();
                        one.insert(name.clone(), value.clone());
                        one
                    })
                })
                .collect()
        })
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(path) => document
            .pointer(path.trim_start_matches('#'))
            .expect("a schema"),
        None => schema,
    }
}

/// Names of the fields of a schema.
fn fields(document: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(document, schema);
    if let Some(parts) = schema["allOf"].as_array() {
        return parts
            .iter()
            .flat_map(|part| fields(document, part))
            .collect();
    }
    let names = schema["properties"].as_object().map(Map::keys);
    names.into_iter().flatten().cloned().collect()
}

/// Everything that a key gets from operations that only read, by path: GET with every parameter that is known, POST with a body of what is known.
async fn walk(service: &Service, key: &str, known: &Known) -> (Vec<(String, Value)>, usize) {
    let document = service.get("/openapi.json").await;
    let (mut answers, mut calls) = (Vec::new(), 0);
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let method = match method.as_str() {
                "get" => Method::GET,
                "post" => Method::POST,
                _ => continue,
            };
            let is_stream =
                operation["responses"]["200"]["content"]["text/event-stream"].is_object();
            if is_stream && method == Method::GET {
                continue;
            }
            let mut sent: Vec<(String, Vec<Value>)> = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = text(&parameter["name"]);
                let mut known = values(known, &name);
                if known.is_empty() && parameter["in"] == "path" {
                    known = vec![json!("x")];
                }
                if !known.is_empty() {
                    sent.push((format!("{}:{name}", text(&parameter["in"])), known));
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            for name in fields(&document, body) {
                let known = values(known, &name);
                if !known.is_empty() {
                    sent.push((format!("body:{name}"), known));
                }
            }
            for mut one in combinations(&sent) {
                one.retain(|_, value| !value.is_null());
                let (mut address, mut query, mut fields) = (path.clone(), Vec::new(), Map::new());
                for (name, value) in one {
                    match name.split_once(':').expect("a place and a name") {
                        ("path", name) => {
                            address = address
                                .replace(&format!("{{{name}}}"), value.as_str().expect("text"))
                        }
                        ("query", name) => query.push((
                            name.to_owned(),
                            value
                                .as_str()
                                .map_or_else(|| value.to_string(), str::to_owned),
                        )),
                        ("body", name) => drop(fields.insert(name.to_owned(), value)),
                        _ => {}
                    }
                }
                let mut request = service
                    .http
                    .request(method.clone(), format!("{}{address}", service.url))
                    .timeout(Duration::from_secs(20))
                    .query(&query)
                    .bearer_auth(key);
                if method == Method::POST {
                    request = request.json(&fields);
                }
                let response = request.send().await.expect("an answer");
                calls += 1;
                if response.status().is_success() {
                    let body = response.bytes().await.expect("a body");
                    answers.push((path.clone(), json!(String::from_utf8_lossy(&body))));
                }
            }
        }
    }
    (answers, calls)
}

/// Everything that the tools and resources of the Model Context Protocol give a key.
async fn walk_tools(service: &Service, key: &str, known: &Known) -> Vec<(String, Value)> {
    let ask = async |method: &str, params: Value| -> Value {
        service.mcp_call("/mcp", key, method, params).await
    };
    let listed = ask("tools/list", json!({})).await;
    let mut answers = Vec::new();
    for tool in listed["result"]["tools"].as_array().expect("tools") {
        let schema = &tool["inputSchema"];
        let known: Vec<(String, Vec<Value>)> = fields(schema, schema)
            .into_iter()
            .map(|name| (name.clone(), values(known, &name)))
            .filter(|(_, values)| !values.is_empty())
            .collect();
        for mut arguments in combinations(&known) {
            arguments.retain(|_, value| !value.is_null());
            let answer = ask(
                "tools/call",
                json!({"name": tool["name"], "arguments": arguments}),
            )
            .await;
            if answer["result"]["isError"] != true {
                answers.push((
                    format!("tool {}", text(&tool["name"])),
                    answer["result"].clone(),
                ));
            }
        }
    }
    for document in &known.documents {
        let uri = format!("kb://{}/{document}", known.dataset);
        let answer = ask("resources/read", json!({"uri": uri})).await;
        if answer["result"].is_object() {
            answers.push(("resource".to_owned(), answer["result"].clone()));
        }
    }
    let listed = ask("resources/list", json!({})).await;
    answers.push(("resources".to_owned(), listed));
    answers
}

fn assert_unread(answers: &[(String, Value)], allowed: &[&str]) {
    for (place, answer) in answers {
        if allowed.contains(&place.as_str()) {
            continue;
        }
        let answer = answer.to_string().to_lowercase();
        for (_, word) in [HIDDEN, REPLACED, DISABLED] {
            assert!(!answer.contains(word), "{place} shows {word}: {answer}");
        }
    }
}

fn assert_asked(answers: &[(String, Value)], places: &[&str]) {
    for place in places {
        assert!(
            answers.iter().any(|(asked, _)| asked == place),
            "{place} gave nothing that could be looked at"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_and_no_tool_shows_a_key_that_searches_what_is_hidden() {
    let service = Service::start(Engine::Sqlite).await;
    let known = hide(&service).await;
    let key = service.key_with(&["kb:search"], None).await;
    let (answers, calls) = walk(&service, &key, &known).await;
    assert_unread(&answers, &[]);
    assert_asked(
        &answers,
        &["/kb/v1/search", "/dashboard/v1/knowledge-base/search"],
    );
    assert!(calls > 200, "{calls}");
    let answers = walk_tools(&service, &key, &known).await;
    assert_unread(&answers, &[]);
    assert_asked(&answers, &["tool search", "tool outline", "tool grep"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_managing_a_document_shows_a_reader_what_is_hidden() {
    let service = Service::start(Engine::Sqlite).await;
    let known = hide(&service).await;
    let key = service.key_with(&["kb:read"], None).await;
    let (answers, _) = walk(&service, &key, &known).await;
    assert_unread(&answers, &MANAGEMENT);
    assert_asked(
        &answers,
        &["/kb/v1/search", "/kb/v1/citations", "/kb/v1/verify-quote"],
    );
    let answers = walk_tools(&service, &key, &known).await;
    assert_unread(&answers, &[]);
    assert_asked(&answers, &["tool read", "tool verify_quote", "resource"]);
}

on_both! {
    async fn what_is_hidden_is_not_repeated_by_the_next_chunk(service: Service) {
        let dataset = service.dataset("d").await;
        let sentences: Vec<String> = (0..60).map(|n| format!("Sentence number{n} tells of heron{n} and of otter{n} by the water.")).collect();
        let file = service.add(&dataset, "long.md", &sentences.join(" ")).await;
        let path = format!("/kb/v1/datasets/{dataset}/documents/{file}");
        let list = async || service.get(&format!("{path}/chunks")).await["data"].as_array().cloned().expect("chunks");
        let cut = list().await;
        let end = cut[0]["end"].as_u64().expect("a number");
        assert!(cut[1]["start"].as_u64().expect("a number") < end, "the chunks overlap: {cut:?}");
        let chunk = |n: usize| format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&cut[n]["id"]));
        let repeated = text(&cut[1]["content"]).split_whitespace().find(|w| w.starts_with("heron")).expect("a heron").to_owned();
        assert!(text(&cut[0]["content"]).contains(&repeated));
        let holders = async || {
            let hits = service.search(json!({"query": repeated, "datasetIds": [dataset], "hybridAlpha": 0.0})).await;
            hits.iter().map(|h| text(&h["content"])).filter(|c| c.contains(&repeated)).count()
        };
        assert_eq!(holders().await, 2);
        service.call(Method::PATCH, &chunk(0), Some(json!({"enabled": false}))).await;
        assert_eq!(holders().await, 0, "hidden in the chunk, and in the overlap of the next");
        let now = list().await;
        assert_eq!((&now[1]["id"], &now[1]["start"], &now[1]["origin"]), (&cut[1]["id"], &json!(end), &json!("parsed")));
        service.call(Method::PATCH, &path, Some(json!({"reIngest": true}))).await;
        service.settled(&dataset, &file).await;
        assert_eq!(list().await, now, "an ingestion makes the same chunks");
        // An edit of the chunk without its overlap is found again, with the overlap and without.
        service.call(Method::PATCH, &chunk(1), Some(json!({"content": "Egrets stand there."}))).await;
        service.call(Method::DELETE, &chunk(0), None).await;
        for hidden in [false, true] {
            service.call(Method::PATCH, &chunk(0), Some(json!({"enabled": !hidden}))).await;
            service.call(Method::PATCH, &path, Some(json!({"reIngest": true}))).await;
            service.settled(&dataset, &file).await;
            let edits = service.get(&format!("{path}/edits")).await;
            assert!(edits["data"].as_array().expect("edits").iter().all(|e| e["orphaned"] == false), "{edits}");
            assert_eq!(list().await[1]["content"], "Egrets stand there.");
        }
        // Taken back, it is as parsed, still without what is hidden.
        service.call(Method::DELETE, &chunk(1), None).await;
        eventually!("it is as parsed", list().await[1]["content"] == now[1]["content"]);
        // With nothing hidden, the next ingestion gives it its overlap back.
        service.call(Method::DELETE, &chunk(0), None).await;
        service.call(Method::PATCH, &path, Some(json!({"reIngest": true}))).await;
        service.settled(&dataset, &file).await;
        assert_eq!(list().await, cut);
    }

    async fn two_changes_of_a_chunk_at_the_same_time_are_both_made(service: Service) {
        let dataset = service.dataset("d").await;
        let file = service.add(&dataset, "a.md", "# A\n\nHerons wait in shallow water.").await;
        let listed = service.get(&format!("/kb/v1/datasets/{dataset}/documents/{file}/chunks")).await;
        let path = format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&listed["data"][0]["id"]));
        for round in 0..8 {
            let words = format!("Egrets stand there, {round}.");
            let (one, other) = tokio::join!(
                service.call(Method::PATCH, &path, Some(json!({"content": words}))),
                service.call(Method::PATCH, &path, Some(json!({"enabled": round % 2 == 1}))),
            );
            assert_eq!((one.0, other.0), (StatusCode::OK, StatusCode::OK), "{one:?} {other:?}");
            let now = service.get(&path).await;
            assert_eq!((&now["content"], &now["enabled"]), (&json!(words), &json!(round % 2 == 1)), "round {round}");
        }
    }
}
