//! Ingestion as users see it: formats and their evidence, edits by hand, uploads that meet what is there, reasons, fairness, a full disk.

use std::io::Write;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::HeaderMap;
use cairn::clock::Clock;
use cairn::jobs::{self, EnqueueOptions, Task};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

/// A zip file of the given entries.
fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .expect("an entry");
        writer.write_all(bytes).expect("written");
    }
    writer.finish().expect("a zip").into_inner()
}

/// The least that is a Word file.
fn word(paragraphs: &str) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"><w:body>{paragraphs}</w:body></w:document>"
    );
    zipped(&[
        ("[Content_Types].xml", b"<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/><Override PartName=\"/word/document.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml\"/></Types>"),
        ("_rels/.rels", b"<?xml version=\"1.0\"?><Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"word/document.xml\"/></Relationships>"),
        ("word/document.xml", document.as_bytes()),
    ])
}

async fn detail(service: &Service, dataset: &str, id: &str) -> Value {
    service
        .get(&format!("/kb/v1/datasets/{dataset}/documents/{id}"))
        .await
}

async fn chunks(service: &Service, dataset: &str, id: &str) -> Vec<Value> {
    let page = service
        .get(&format!(
            "/kb/v1/datasets/{dataset}/documents/{id}/chunks?limit=100"
        ))
        .await;
    page["data"].as_array().expect("chunks").clone()
}

async fn search(service: &Service, dataset: &str, query: &str) -> Vec<Value> {
    let found = service
        .post(
            "/kb/v1/search",
            json!({"query": query, "datasetIds": [dataset], "topK": 10, "hybridAlpha": 0.0}),
        )
        .await;
    found["results"].as_array().expect("hits").clone()
}

/// Uploads a file that may fail; gives its id once its state is final.
async fn put(service: &Service, dataset: &str, name: &str, content: &str) -> String {
    let (_, body) = service
        .upload(dataset, &[(name, content.as_bytes())], &[])
        .await;
    let id = text(&body["uploadedFiles"][0]["id"]);
    service.settled(dataset, &id).await;
    id
}

// One worker, because another one could claim a part of the files.
on_both! {
    with |config| config.workers = 1;
    async fn small_files_are_ingested_together_and_each_for_itself(service: Service) {
        let dataset = service.dataset("d").await;
        let names: Vec<String> = (0..10).map(|n| format!("note-{n}.txt")).collect();
        let texts: Vec<String> = (0..10).map(|n| format!("Note {n} is about the lighthouse keeper's {n}th seal.")).collect();
        let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_bytes)).collect();
        let archive = zipped(&[("inner.txt", b"The inner file counts gannets.")]);
        files.push(("same.txt", texts[0].as_bytes()));
        files.push(("broken.json", b"{\"bird\": "));
        files.push(("packed.zip", &archive));
        let (_, body) = service.upload(&dataset, &files, &[]).await;
        let ids: Vec<String> = body["uploadedFiles"].as_array().expect("files").iter().map(|f| text(&f["id"])).collect();
        assert_eq!(ids.len(), 13, "{body}");
        let mut states = Vec::new();
        for id in &ids {
            states.push(text(&service.settled(&dataset, id).await["status"]));
        }
        let expected: Vec<&str> = (0..13).map(|n| if n == 11 { "error" } else { "indexed" }).collect();
        assert_eq!(states, expected);
        for (n, id) in ids[..10].iter().enumerate() {
            let hits = search(&service, &dataset, &format!("\"{n}th seal\"")).await;
            assert!(hits.iter().any(|hit| hit["fileId"] == *id), "{n}: {hits:?}");
            assert_eq!(chunks(&service, &dataset, id).await[0]["content"], texts[n]);
        }
        eventually!(hits in search(&service, &dataset, "gannets").await, "the file in the archive is found", hits.len() == 1);
        // One transaction gave all of them the same position in the log.
        let positions: Vec<(i64,)> = service.app.db.all("SELECT DISTINCT ready_seq FROM kb_documents WHERE file_name LIKE 'note-%'", cairn::db::Args::default()).await.expect("positions");
        assert_eq!(positions.len(), 1, "{positions:?}");
        let vectors = json!({"query": "who counts seals", "datasetIds": [dataset], "topK": 20, "hybridAlpha": 1.0});
        let found = service.post("/kb/v1/search", vectors).await;
        assert_eq!(found["results"].as_array().expect("hits").len(), 13, "{found}");
    }
}

on_both! {
    async fn tables_carry_rows_and_header_and_code_its_symbols_and_lines(service: Service) {
        let dataset = service.dataset("d").await;
        let rows: String = (1..=200).map(|n| format!("gadget {n},{n}00 pieces,shelf {n}\n")).collect();
        let table = service.add(&dataset, "stock.csv", &format!("name,amount,place\n{rows}")).await;
        let cut = chunks(&service, &dataset, &table).await;
        assert!(cut.len() > 5);
        let text_of = text(&service.get(&format!("/kb/v1/datasets/{dataset}/documents/{table}/text")).await);
        let mut next = 1;
        for chunk in &cut {
            assert_eq!(chunk["table"]["firstRow"], next, "{chunk}");
            next = chunk["table"]["lastRow"].as_i64().expect("a row") + 1;
            let range = chunk["startByte"].as_u64().expect("a start") as usize..chunk["endByte"].as_u64().expect("an end") as usize;
            assert_eq!(chunk["content"], text_of[range]);
        }
        assert_eq!((next, &cut[0]["table"]["header"]), (201, &Value::Null));
        assert_eq!(cut[1]["table"]["header"], "| name | amount | place |\n| --- | --- | --- |");
        // the words of the header find every part of the table
        let body = json!({"query": "gadget 150 amount", "datasetIds": [dataset], "hybridAlpha": 0.0});
        let found = service.post("/dashboard/v1/knowledge-base/search", body).await;
        let first = text(&found["results"][0]["content"]);
        assert!(first.starts_with("| name | amount |") && first.contains("gadget 150"), "{first}");

        let source = "/// Opens the gate.\nfn open_gate() {\n    let hinge = 1;\n}\n\nstruct Fence;\n\nimpl Fence {\n    fn paint(&self) {}\n}\n";
        let code = service.add(&dataset, "gate.rs", source).await;
        assert_eq!(detail(&service, &dataset, &code).await["engine"], "tree-sitter");
        let hit = search(&service, &dataset, "open_gate hinge").await.remove(0);
        assert_eq!((&hit["fileId"], &hit["lines"]["first"], &hit["headingPath"][0]), (&json!(code), &json!(1), &json!("open_gate")));
    }

    async fn office_files_and_what_is_packed_in_others_become_documents(service: Service) {
        let dataset = service.dataset("d").await;
        let report = word("<w:p><w:r><w:t>The lighthouse keeper counts seals.</w:t></w:r></w:p><w:p><w:del><w:r><w:delText>secret draft</w:delText></w:r></w:del><w:r><w:t>Nothing else.</w:t></w:r></w:p>");
        let mail = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: Buoys\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nThe red buoy drifted.\r\n--x\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=inner.txt\r\n\r\nAnchors need chains.\r\n--x--\r\n";
        let archive = zipped(&[("docs/report.docx", &report), ("docs/mail.eml", mail), ("__MACOSX/._x", b"x"), ("photo.png", b"\x89PNG\r\n\x1a\n0000")]);
        let url = format!("{}/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload?wait=indexed", service.url);
        let form = reqwest::multipart::Form::new().part("files", reqwest::multipart::Part::bytes(archive).file_name("all.zip")).text("metadata", "{\"project\": \"coast\"}");
        let answer = reqwest::Client::builder().build().expect("a client").post(url).bearer_auth(&service.key).multipart(form).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "everything is indexed");
        let body: Value = answer.json().await.expect("JSON");
        let parent = text(&body["uploadedFiles"][0]["id"]);
        let listed = service.get(&format!("/kb/v1/datasets/{dataset}/documents")).await;
        let mut names: Vec<(String, String)> = listed["data"].as_array().expect("documents").iter().map(|d| (text(&d["fileName"]), text(&d["status"]))).collect();
        names.sort();
        let names: Vec<(&str, &str)> = names.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
        assert_eq!(names, [("all.zip", "indexed"), ("docs/mail.eml", "indexed"), ("docs/report.docx", "indexed"), ("inner.txt", "indexed")]);
        assert!(text(&detail(&service, &dataset, &parent).await["warnings"][0]).contains("photo.png"));
        for (query, name) in [("lighthouse seals", "docs/report.docx"), ("red buoy", "docs/mail.eml"), ("anchors chains", "inner.txt")] {
            let hit = search(&service, &dataset, query).await.remove(0);
            assert_eq!((&hit["fileName"], &hit["documentMetadata"]["project"]), (&json!(name), &json!("coast")), "{query}");
        }
        let near = search(&service, &dataset, "secret draft").await;
        assert!(near.iter().all(|h| !text(&h["content"]).contains("secret")), "deleted text is not text");
        service.call(Method::DELETE, &format!("/kb/v1/datasets/{dataset}/documents/{parent}"), None).await;
        assert!(search(&service, &dataset, "anchors chains").await.is_empty(), "what is inside goes with it");
        assert_eq!(service.get(&format!("/kb/v1/datasets/{dataset}/documents")).await["data"], json!([]));
    }

    async fn edits_by_hand_are_found_at_once_and_survive_ingestion(service: Service) {
        let dataset = service.dataset("d").await;
        let section = |name: &str, words: &str| format!("# {name}\n\n{words} {}\n\n", "and so on ".repeat(70));
        let source = [section("Heron", "Herons wait in shallow water."), section("Otter", "Otters sleep afloat."), section("Newt", "Newts regrow their tails.")].concat();
        let file = service.add(&dataset, "animals.md", &source).await;
        let cut = chunks(&service, &dataset, &file).await;
        let at = |n: usize| format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&cut[n]["id"]));
        let (status, edited) = service.call(Method::PATCH, &at(0), Some(json!({"content": "Egrets stand in shallow water."}))).await;
        assert_eq!((status, &edited["origin"]), (StatusCode::OK, &json!("edited")), "{edited}");
        service.call(Method::PATCH, &at(1), Some(json!({"enabled": false}))).await;
        let path = format!("/kb/v1/datasets/{dataset}/documents/{file}");
        let added = service.post(&format!("{path}/chunks"), json!({"content": "Toads were seen in March.", "after": 0})).await;
        assert_eq!((&added["origin"], &added["ordinal"]), (&json!("added"), &json!(1)));
        let check = async |when: &str| {
            eventually!("the words of an edit are found", search(&service, &dataset, "egrets").await.len() == 1);
            eventually!("an added chunk is found", search(&service, &dataset, "toads march").await.len() == 1);
            assert!(search(&service, &dataset, "otters afloat").await.is_empty(), "{when}: hidden");
            assert!(search(&service, &dataset, "herons").await.iter().all(|h| h["content"] != cut[0]["content"]), "{when}: replaced");
            let now = chunks(&service, &dataset, &file).await;
            let origins: Vec<_> = now.iter().map(|c| (text(&c["origin"]), c["enabled"].as_bool().expect("a flag"), c["ordinal"].as_i64().expect("a number"))).collect();
            assert_eq!(origins, [("edited".to_owned(), true, 0), ("added".to_owned(), true, 1), ("parsed".to_owned(), false, 2), ("parsed".to_owned(), true, 3)], "{when}");
        };
        check("at once").await;
        service.call(Method::PATCH, &path, Some(json!({"reIngest": true}))).await;
        service.settled(&dataset, &file).await;
        check("after ingestion").await;

        // the context shows neighbours and the source
        let around = service.get(&format!("{}/context?neighbours=1&characters=30", at(2))).await;
        assert_eq!((around["before"].as_array().map(Vec::len), &around["source"]["text"]), (Some(1), &cut[2]["content"]));

        // a new version without the edited text: the edit is listed as orphaned, not lost
        service.add(&dataset, "animals.md", &[section("Otter", "Otters sleep afloat."), section("Newt", "Newts regrow their tails.")].concat()).await;
        let edits = service.get(&format!("{path}/edits")).await;
        let state: Vec<_> = edits["data"].as_array().expect("edits").iter().map(|e| (text(&e["kind"]), e["orphaned"].as_bool().expect("a flag"))).collect();
        assert_eq!(state, [("changed".to_owned(), true), ("changed".to_owned(), false), ("added".to_owned(), false)]);
        let orphan = text(&edits["data"][0]["id"]);
        assert_eq!(service.call(Method::DELETE, &format!("{path}/edits/{orphan}"), None).await.0, StatusCode::NO_CONTENT);

        // taken back, everything is as parsed
        let now = chunks(&service, &dataset, &file).await;
        let of = |origin: &str, enabled: bool| {
            let chunk = now.iter().find(|c| c["origin"] == origin && c["enabled"] == enabled).expect("such a chunk");
            format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&chunk["id"]))
        };
        assert_eq!(service.call(Method::DELETE, &of("parsed", false), None).await.0, StatusCode::OK);
        assert_eq!(service.call(Method::DELETE, &of("added", true), None).await.0, StatusCode::NO_CONTENT);
        eventually!("the hidden chunk is back", search(&service, &dataset, "otters afloat").await.len() == 1);
        assert!(search(&service, &dataset, "toads march").await.is_empty());
        assert_eq!(service.call(Method::DELETE, &of("parsed", true), None).await.1["error"]["reason"], "chunk_not_edited");
        assert_eq!(service.get(&format!("{path}/edits")).await["data"], json!([]));
    }

    async fn edits_made_during_an_ingestion_survive_it(service: Service) {
        let dataset = service.dataset("d").await;
        let section = |name: &str, words: &str| format!("# {name}\n\n{words} {}\n\n", "and so on ".repeat(70));
        let kept = [section("Heron", "Herons wait in shallow water."), section("Otter", "Otters sleep afloat.")].concat();
        let file = service.add(&dataset, "animals.md", &kept).await;
        let cut = chunks(&service, &dataset, &file).await;
        let at = |n: usize| format!("/kb/v1/datasets/{dataset}/chunks/{}", text(&cut[n]["id"]));
        // A new version keeps both sections and has many more, so it is embedded for a while.
        let more: String = (0..60).map(|n| section(&format!("Animal {n}"), &format!("Number {n} of them was seen."))).collect();
        let (status, body) = service.upload(&dataset, &[("animals.md", (kept + &more).as_bytes())], &[]).await;
        assert_eq!((status, &body["uploadedFiles"][0]["outcome"]), (StatusCode::ACCEPTED, &json!("replaced")));
        eventually!("it is being embedded", detail(&service, &dataset, &file).await["status"] == "embedding");
        let (status, _) = service.call(Method::PATCH, &at(0), Some(json!({"enabled": false}))).await;
        assert_eq!(status, StatusCode::OK);
        let (status, _) = service.call(Method::PATCH, &at(1), Some(json!({"content": "Egrets stand in shallow water."}))).await;
        assert_eq!(status, StatusCode::OK);
        let added = service.post(&format!("/kb/v1/datasets/{dataset}/documents/{file}/chunks"), json!({"content": "Toads were seen in March."})).await;
        assert_eq!(detail(&service, &dataset, &file).await["status"], "embedding", "the edits were made in time");
        service.settled(&dataset, &file).await;
        assert!(search(&service, &dataset, "herons shallow").await.iter().all(|h| h["content"] != cut[0]["content"]), "hidden");
        assert_eq!(search(&service, &dataset, "egrets").await.len(), 1, "edited");
        assert!(search(&service, &dataset, "otters afloat").await.iter().all(|h| h["content"] != cut[1]["content"]), "replaced");
        assert_eq!(search(&service, &dataset, "toads march").await[0]["content"], added["content"]);
        let edits = service.get(&format!("/kb/v1/datasets/{dataset}/documents/{file}/edits")).await;
        let applied: Vec<bool> = edits["data"].as_array().expect("edits").iter().map(|e| e["orphaned"] == false).collect();
        assert_eq!(applied, [true; 3], "{edits}");
    }

    async fn words_without_end_are_cut_into_pieces_that_the_model_reads(service: Service) {
        let dataset = service.dataset("d").await;
        let word: String = ('a'..='z').cycle().take(100_000).collect();
        let file = service.add(&dataset, "word.txt", &word).await;
        let cut = chunks(&service, &dataset, &file).await;
        assert!(cut.len() > 50, "{}", cut.len());
        for chunk in &cut {
            let tokens = chunk["tokens"].as_i64().expect("a number");
            assert!((2..=256).contains(&tokens) && chunk["truncated"] == false, "{chunk}");
        }
        let sum: i64 = cut.iter().filter_map(|c| c["tokens"].as_i64()).sum();
        assert!(sum > 10_000, "{sum}");
    }

    async fn a_document_of_too_many_chunks_says_so(service: Service) {
        let dataset = service.dataset("d").await;
        let fields = [("parseType", "MANUAL")];
        let (status, _) = service.call(Method::PATCH, &format!("/dashboard/v1/knowledge-base/datasets/{dataset}/config"), Some(json!({"delimiter": "\n"}))).await;
        assert_eq!(status, StatusCode::OK);
        let (_, body) = service.upload(&dataset, &[("lines.txt", "x\n".repeat(200_000).as_bytes())], &fields).await;
        let file = text(&body["uploadedFiles"][0]["id"]);
        assert_eq!(service.settled(&dataset, &file).await["status"], "error");
        assert_eq!(detail(&service, &dataset, &file).await["errorCode"], "too_many_chunks");
    }

    async fn files_of_one_name_in_different_folders_are_different_files(service: Service) {
        let dataset = service.dataset("d").await;
        for round in 0..2 {
            let (status, answer) = service.upload(&dataset, &[("a/README.md", b"The harbour of A."), ("b/README.md", b"The harbour of B."), ("../b/LICENSE.txt", b"Free.")], &[]).await;
            assert!(status.is_success(), "{round}: {answer}");
        }
        let found = service.get(&format!("/kb/v1/datasets/{dataset}/documents")).await;
        let mut names: Vec<String> = found["data"].as_array().expect("files").iter().map(|d| text(&d["fileName"])).collect();
        names.sort();
        assert_eq!(names, ["a/README.md", "b/LICENSE.txt", "b/README.md"]);
    }

    async fn an_upload_meets_what_is_there(service: Service) {
        let dataset = service.dataset("d").await;
        let send = async |name: &str, content: &str, fields: &[(&str, &str)]| -> Value {
            let (status, body) = service.upload(&dataset, &[(name, content.as_bytes())], fields).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{body}");
            let file = body["uploadedFiles"][0].clone();
            service.settled(&dataset, &text(&file["id"])).await;
            file
        };
        let first = send("a.txt", "Lapwings call at dusk.", &[]).await;
        let said = |file: &Value| (text(&file["outcome"]), file["id"] == first["id"], file["version"].as_i64().expect("a version"));
        assert_eq!(said(&first), ("created".to_owned(), true, 1));
        assert_eq!(said(&send("a.txt", "Lapwings call at dusk.", &[]).await), ("unchanged".to_owned(), true, 1));
        assert_eq!(said(&send("copy.txt", "Lapwings call at dusk.", &[("onDuplicate", "skip")]).await), ("skipped".to_owned(), true, 1));
        assert_eq!(said(&send("copy.txt", "Lapwings call at dusk.", &[("onDuplicate", "link")]).await), ("linked".to_owned(), true, 1));
        assert_eq!(detail(&service, &dataset, &text(&first["id"])).await["aliases"], json!(["copy.txt"]));
        assert_eq!(said(&send("copy.txt", "Lapwings call at dusk.", &[("onDuplicate", "keep")]).await), ("created".to_owned(), false, 1));
        assert_eq!(said(&send("b.txt", "Lapwings call at dusk.", &[("onDuplicate", "replace")]).await), ("replaced".to_owned(), true, 1));
        assert_eq!(said(&send("b.txt", "Curlews call at dawn.", &[]).await), ("replaced".to_owned(), true, 2));
        assert_eq!(search(&service, &dataset, "curlews dawn").await[0]["fileId"], first["id"]);
        let second = send("b.txt", "Curlews call at dawn again.", &[("versions", "false")]).await;
        assert_eq!(said(&second), ("created".to_owned(), false, 1));
        // an external id is what counts, whatever the name
        let known = send("c.txt", "Snipes drum.", &[("externalIds", "[\"crm-7\"]")]).await;
        let renamed = send("d.txt", "Snipes drum in spring.", &[("externalId", "crm-7")]).await;
        assert_eq!((&renamed["id"], &renamed["outcome"], &renamed["fileName"]), (&known["id"], &json!("replaced"), &json!("d.txt")));
        let (_, body) = service.upload(&dataset, &[("x.txt", b"x")], &[("onDuplicate", "burn")]).await;
        assert_eq!(body["error"]["reason"], "on_duplicate_unknown");
    }

    async fn a_dry_run_stores_nothing(service: Service) {
        let dataset = service.dataset("d").await;
        let long: String = (0..60).map(|n| format!("# Part {n}\n\nSentence {n} about rope. {}\n\n", "More of it. ".repeat(12))).collect();
        let file = service.add(&dataset, "rope.md", &long).await;
        let now = chunks(&service, &dataset, &file).await.len();
        let path = format!("/kb/v1/datasets/{dataset}/documents/{file}");
        let (status, small) = service.call(Method::POST, &format!("{path}/preview"), Some(json!({"chunkSize": 128, "chunkOverlap": 0}))).await;
        assert_eq!(status, StatusCode::OK, "{small}");
        assert!(small["totalChunks"].as_u64().expect("a number") as usize > now);
        let (_, bad) = service.call(Method::POST, &format!("{path}/preview"), Some(json!({"chunkSize": 1}))).await;
        assert_eq!(bad["error"]["reason"], "chunk_size_out_of_range");
        assert_eq!(chunks(&service, &dataset, &file).await.len(), now);
        let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(b"a,b\n1,2\n".to_vec()).file_name("t.csv"));
        let client = reqwest::Client::builder().build().expect("a client");
        let tried: Value = client.post(format!("{}/kb/v1/datasets/{dataset}/preview/upload", service.url)).bearer_auth(&service.key).multipart(form).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!((&tried["engine"], &tried["chunks"][0]["content"]), (&json!("csv"), &json!("| a | b |\n| --- | --- |\n| 1 | 2 |")));
        assert_eq!(service.get(&format!("/kb/v1/datasets/{dataset}/documents")).await["data"].as_array().map(Vec::len), Some(1));
    }

    async fn why_says_why(service: Service) {
        let dataset = service.dataset("d").await;
        let why = async |id: &str| service.get(&format!("/kb/v1/datasets/{dataset}/documents/{id}/why")).await;
        let file = service.add(&dataset, "a.txt", "Terns dive for fish.").await;
        let said = why(&file).await;
        assert_eq!((&said["code"], &said["byWords"], &said["byMeaning"]), (&json!("searchable"), &json!(true), &json!(true)));
        service.call(Method::PATCH, &format!("/kb/v1/datasets/{dataset}/documents/{file}"), Some(json!({"enabled": false}))).await;
        let said = why(&file).await;
        assert_eq!((&said["code"], &said["byWords"]), (&json!("disabled"), &json!(false)));
        let bad = put(&service, &dataset, "b.pdf", "%PDF-1.4 rubbish").await;
        let said = why(&bad).await;
        assert_eq!(said["code"], "damaged_file");
        assert!(text(&said["reason"]).starts_with("Its ingestion failed: the PDF is damaged"), "{said}");
        // a version that cannot be read leaves the one before
        let file = service.add(&dataset, "c.json", "{\"bird\": \"avocet\"}").await;
        let broken = put(&service, &dataset, "c.json", "{\"bird\": ").await;
        let said = why(&broken).await;
        assert_eq!((file, &said["code"], &said["byWords"]), (broken, &json!("damaged_file"), &json!(true)), "{said}");
        assert_eq!(search(&service, &dataset, "avocet").await.len(), 1);
    }

    async fn small_files_that_become_new_versions_replace_the_old_ones(service: Service) {
        let dataset = service.dataset("d").await;
        let names = ["a.txt", "b.txt", "c.txt"];
        let upload = async |word: &str| {
            let texts: Vec<String> = names.iter().map(|name| format!("{name} speaks of {word}.")).collect();
            let files: Vec<(&str, &[u8])> = names.iter().copied().zip(texts.iter().map(String::as_bytes)).collect();
            let (_, body) = service.upload(&dataset, &files, &[]).await;
            for file in body["uploadedFiles"].as_array().expect("files") {
                service.settled(&dataset, &text(&file["id"])).await;
            }
        };
        upload("herons").await;
        assert_eq!(search(&service, &dataset, "herons").await.len(), 3);
        upload("egrets").await;
        assert_eq!(search(&service, &dataset, "egrets").await.len(), 3);
        assert_eq!(search(&service, &dataset, "herons").await, Vec::<Value>::new());
    }

    async fn tenants_and_datasets_take_turns(service: Service) {
        let mut service = service;
        service.stop().await;
        let (db, clock) = (&service.app.db, Clock::system());
        let other = cairn::auth::tenants::create(db, &clock, "other").await.expect("a tenant").id;
        let own = service.app.local_caller("default").await.expect("the first tenant").tenant().to_owned();
        let mut tx = db.begin().await.expect("a transaction");
        for (tenant, group, count) in [(&own, "big", 5), (&own, "small", 1), (&other, "third", 1)] {
            for n in 0..count {
                let task = Task::Ingest { document_id: format!("{group}-{n}"), text_indexed: false };
                jobs::enqueue(&mut tx, &clock, tenant, &task, EnqueueOptions { group, dedupe_key: None, max_attempts: 3, run_at: None, small: false }).await.expect("queued");
            }
        }
        tx.commit().await.expect("committed");
        let mut order = Vec::new();
        while let Some(job) = jobs::claim(db, &clock, jobs::Queue::Work, "w", Duration::from_secs(60)).await.expect("claims") {
            if let Task::Ingest { document_id, .. } = job.task().expect("a task") {
                order.push(document_id);
            }
        }
        assert_eq!(order, ["big-0", "third-0", "small-0", "big-1", "big-2", "big-3", "big-4"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_intake_and_work_until_there_is_room() {
    let service = Service::start_with(Engine::Sqlite, |config| {
        // More than any disk of a test machine has.
        config.min_free_mb = u64::MAX >> 21;
    })
    .await;
    let dataset = service.dataset("d").await;
    let (status, body) = service.upload(&dataset, &[("a.txt", b"x")], &[]).await;
    assert_eq!(
        (status, &body["error"]["reason"]),
        (StatusCode::INSUFFICIENT_STORAGE, &json!("disk_full"))
    );
    let search = json!({"query": "x", "datasetIds": [dataset]});
    let (status, _) = service
        .call(Method::POST, "/kb/v1/search", Some(search))
        .await;
    assert_eq!(status, StatusCode::OK, "searches go on");
}

/// A Docling server that reads every file as two pages.
async fn docling() -> String {
    async fn convert(headers: HeaderMap, body: Body) -> Json<Value> {
        let kind = headers["content-type"].to_str().expect("a content type");
        let boundary = multer::parse_boundary(kind).expect("a form");
        let mut form = multer::Multipart::new(body.into_data_stream(), boundary);
        let (mut size, mut page_break) = (0, String::new());
        while let Some(field) = form.next_field().await.expect("a form") {
            match field.name().unwrap_or_default() {
                "files" => size = field.bytes().await.expect("a file").len(),
                "md_page_break_placeholder" => page_break = field.text().await.expect("a text"),
                _ => {}
            }
        }
        Json(
            json!({"status": "success", "document": {"md_content": format!("# Converted\n\n{size} bytes of puffins\n\n{page_break}\n\nSecond page of guillemots")}}),
        )
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "somebody else's server has no OpenAPI document of ours"
    )]
    let router = axum::Router::new().route("/v1/convert/file", axum::routing::post(convert));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docling_reads_files_where_it_is_wanted() {
    let url = docling().await;
    let service = Service::start_with(Engine::Sqlite, |config| config.docling_url = url).await;
    let dataset = service.dataset("d").await;
    let (_, body) = service
        .upload(
            &dataset,
            &[("scan.pdf", b"%PDF-1.4 anything")],
            &[("parserEngine", "DOCLING")],
        )
        .await;
    let id = text(&body["uploadedFiles"][0]["id"]);
    service.settled(&dataset, &id).await;
    assert_eq!(detail(&service, &dataset, &id).await["engine"], "docling");
    let hit = search(&service, &dataset, "guillemots").await.remove(0);
    assert_eq!(hit["metadata"]["pageNumber"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_files_end_with_a_sentence_and_the_rest_goes_on() {
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.parse_memory_mb = 700;
        config.parse_seconds = 8;
    })
    .await;
    let dataset = service.dataset("d").await;
    // Half a gigabyte packed into half a megabyte, declared entities, deep nesting, and a file that is fine.
    let bomb = zipped(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", &vec![b' '; 520 << 20]),
    ]);
    let entities = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><a><p>text &b;</p></a>";
    let deep = format!("{}x", "[".repeat(200_000));
    let nested = "<div>".repeat(8_000);
    let files: [(&str, &[u8]); 5] = [
        ("bomb.odt", &bomb),
        ("bomb.xml", entities.as_bytes()),
        ("deep.json", deep.as_bytes()),
        ("deep.html", nested.as_bytes()),
        ("fine.txt", b"Oystercatchers open mussels."),
    ];
    let (_, body) = service.upload(&dataset, &files, &[]).await;
    let mut ended = Vec::new();
    for file in body["uploadedFiles"].as_array().expect("files") {
        let id = text(&file["id"]);
        service.settled(&dataset, &id).await;
        let found = detail(&service, &dataset, &id).await;
        ended.push((text(&found["fileName"]), text(&found["status"])));
        if found["status"] == "error" {
            assert!(text(&found["errorMessage"]).len() > 20, "{found}");
        }
    }
    let ended: Vec<(&str, &str)> = ended
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_str()))
        .collect();
    assert_eq!(
        ended,
        [
            ("bomb.odt", "error"),
            ("bomb.xml", "indexed"),
            ("deep.json", "error"),
            ("deep.html", "error"),
            ("fine.txt", "indexed")
        ]
    );
    assert_eq!(search(&service, &dataset, "oystercatchers").await.len(), 1);
}

/// Black words on white, a picture of ours.
const PICTURE: &[u8] = include_bytes!("../fixtures/words.jpg");

/// A PDF whose only page is that picture.
fn scanned() -> Vec<u8> {
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    let content = b"760 0 0 90 0 0 cm /I Do".as_slice();
    let stream = |head: String, body: &[u8]| {
        [
            format!("<< {head} /Length {} >>\nstream\n", body.len()).as_bytes(),
            body,
            b"\nendstream",
        ]
        .concat()
    };
    let objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 760 90] /Contents 4 0 R /Resources << /XObject << /I 5 0 R >> >> >>".to_vec(),
        stream(String::new(), content),
        stream("/Type /XObject /Subtype /Image /Width 760 /Height 90 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /DCTDecode".to_owned(), PICTURE),
    ];
    for (n, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend(format!("{} 0 obj\n", n + 1).as_bytes());
        out.extend(object);
        out.extend(b"\nendobj\n");
    }
    let table = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1).as_bytes());
    for offset in &offsets {
        out.extend(format!("{offset:010} 00000 n \n").as_bytes());
    }
    out.extend(
        format!(
            "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
            offsets.len() + 1
        )
        .as_bytes(),
    );
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_are_read_where_text_recognition_is_on_and_say_so_where_it_is_not() {
    let off = Service::start(Engine::Sqlite).await;
    let dataset = off.dataset("d").await;
    let (_, refused) = off.upload(&dataset, &[("words.jpg", PICTURE)], &[]).await;
    assert!(
        text(&refused["error"]["message"]).contains("CAIRN_OCR"),
        "{refused}"
    );
    let (_, body) = off.upload(&dataset, &[("scan.pdf", &scanned())], &[]).await;
    let id = text(&body["uploadedFiles"][0]["id"]);
    let said = off.settled(&dataset, &id).await;
    assert!(
        text(&said["errorMessage"]).contains("no text layer"),
        "{said}"
    );

    let on = Service::start_with(Engine::Sqlite, |config| config.ocr = true).await;
    let dataset = on.dataset("d").await;
    let archive = zipped(&[("pictures/words.jpg", PICTURE), ("scan.pdf", &scanned())]);
    let id = on.add_with(&dataset, "all.zip", &archive, &[]).await;
    assert_eq!(detail(&on, &dataset, &id).await["warnings"], json!([]));
    eventually!(
        "both are found",
        search(&on, &dataset, "kittiwakes cliffs").await.len() == 2
    );
    for hit in search(&on, &dataset, "kittiwakes cliffs").await {
        assert_eq!(
            (
                &hit["metadata"]["pageNumber"],
                hit["content"].as_str().map(str::trim)
            ),
            (&json!(1), Some("Kittiwakes nest on high cliffs."))
        );
    }
}
