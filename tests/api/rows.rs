//! Rows of folders: uploads, questions, exports, changes, and what search finds of them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

async fn folder(service: &Service, body: Value) -> String {
    let folder = service.post("/protected/data/folders", body).await;
    format!("/protected/data/folders/{}", text(&folder["data"]["id"]))
}

/// Sends a body as it is.
async fn send(service: &Service, path: &str, mime: &str, body: String) -> (StatusCode, Value) {
    let answer = service
        .http
        .post(format!("{}{path}", service.url))
        .bearer_auth(&service.key)
        .header("content-type", mime)
        .body(body)
        .send()
        .await
        .expect("an answer");
    let status = answer.status();
    (status, answer.json().await.expect("JSON"))
}

async fn ask(service: &Service, folder: &str, question: Value) -> Value {
    service.post(&format!("{folder}/query"), question).await["data"].clone()
}

/// One field of every row of an answer.
fn column(answer: &Value, name: &str) -> Vec<Value> {
    answer["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["data"][name].clone())
        .collect()
}

/// Hits among rows, as soon as there are as many as wanted.
async fn found(service: &Service, query: &str, wanted: usize) -> Vec<Value> {
    let caller = service.app.local_caller("default").await.expect("a tenant");
    let shelf = format!("data~{}", caller.tenant());
    let question = json!({"query": query, "datasetIds": [shelf], "hybridAlpha": 0.0, "topK": 50, "filter": {"field": "kind", "op": "eq", "value": "row"}});
    eventually!(hits in service.search(question.clone()).await, "{query} finds {wanted} rows", hits.len() == wanted)
}

const SHIPS: &str = "name;crew;built;fast;code;notes\nVesterhav;12;1998-05-01;true;007;carries \"\"timber\n;3;;false;12;\nSkagerrak;40;2011-02-03;true;9;\"line one\nline two\"\nKattegat;7.5;2003-01-01;false;x1;ferry\n";

on_both! {
    async fn rows_are_uploaded_asked_about_and_exported(service: Service) {
        let ships = folder(&service, json!({"title": "Ships"})).await;
        let path = format!("{ships}/items/upload");
        let (status, dry) = send(&service, &format!("{path}?dryRun=true"), "text/csv", SHIPS.to_owned()).await;
        assert_eq!((status, &dry["data"]["appended"]), (StatusCode::OK, &json!(4)), "{dry}");
        assert_eq!(service.get(&ships).await["data"]["itemsCount"], 0, "a dry run leaves nothing");
        let (status, done) = send(&service, &format!("{path}?batch=first"), "text/csv; charset=utf-8", SHIPS.to_owned()).await;
        assert_eq!(status, StatusCode::CREATED, "{done}");
        let types: Vec<&str> = done["data"]["columns"].as_array().expect("columns").iter().filter_map(|c| c["type"].as_str()).collect();
        assert_eq!(types, ["text", "number", "date", "boolean", "text", "text"]);
        assert_eq!((&done["data"]["firstPosition"], &done["data"]["lastPosition"]), (&json!(1), &json!(4)));
        let (status, again) = send(&service, &format!("{path}?batch=first"), "text/csv", SHIPS.to_owned()).await;
        assert_eq!((status, &again["data"]["repeated"], &again["data"]["appended"]), (StatusCode::OK, &json!(true), &json!(4)));
        let (status, more) = send(&service, &path, "application/x-ndjson", "{\"name\":\"Oresund\",\"crew\":9,\"tags\":{\"flag\":\"DK\"}}\n".to_owned()).await;
        assert_eq!((status, &more["data"]["firstPosition"]), (StatusCode::CREATED, &json!(5)), "{more}");

        // All or none, or the good ones.
        let mixed = json!([{"name": "Limfjord", "crew": 1}, {"name": "x", "crew": "many"}, 7]).to_string();
        let (status, refused) = send(&service, &path, "application/json", mixed.clone()).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("rows_invalid")));
        assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains("2 of 3 rows") && m.contains("row 2: the column crew")), "{refused}");
        let (_, some) = send(&service, &format!("{path}?onError=skip"), "application/json", mixed).await;
        assert_eq!((&some["data"]["appended"], &some["data"]["failed"], &some["data"]["errors"][1]["row"]), (&json!(1), &json!(2), &json!(3)), "{some}");

        // Questions.
        let sorted = ask(&service, &ships, json!({"sort": [{"field": "crew", "order": "desc"}], "select": ["name", "crew"], "limit": 2, "count": true})).await;
        assert_eq!((column(&sorted, "name"), &sorted["total"]), (vec![json!("Skagerrak"), json!("Vesterhav")], &json!(6)));
        let rest = ask(&service, &ships, json!({"sort": [{"field": "crew", "order": "desc"}], "limit": 9, "cursor": sorted["nextCursor"]})).await;
        assert_eq!(column(&rest, "crew"), [json!(9), json!(7.5), json!(3), json!(1)]);
        assert_eq!(rest["nextCursor"], Value::Null);
        let young = ask(&service, &ships, json!({"filter": {"and": [{"field": "built", "op": "gt", "value": "1999-01-01T00:00:00+02:00"}, {"field": "fast", "op": "eq", "value": true}]}})).await;
        assert_eq!(column(&young, "notes"), [json!("line one\nline two")]);
        let nested = ask(&service, &ships, json!({"filter": {"field": "tags.flag", "op": "eq", "value": "DK"}})).await;
        assert_eq!(column(&nested, "name"), [json!("Oresund")]);
        let groups = ask(&service, &ships, json!({"groupBy": ["fast"], "aggregates": [{"op": "count"}, {"op": "sum", "field": "crew", "as": "crew"}, {"op": "max", "field": "built"}], "sort": [{"field": "crew", "order": "desc"}]})).await;
        assert_eq!(groups["groups"], json!([
            {"fast": true, "count": 2, "crew": 52, "max_built": "2011-02-03"},
            {"fast": false, "count": 2, "crew": 10.5, "max_built": "2003-01-01"},
            {"fast": null, "count": 2, "crew": 10, "max_built": null},
        ]));

        // Exports come back as they were.
        let url = format!("{}{ships}/export?format=csv", service.url);
        let csv = service.http.get(url).bearer_auth(&service.key).send().await.expect("an answer").text().await.expect("text");
        assert!(csv.starts_with("name,crew,built,fast,code,notes,tags\nVesterhav,12,1998-05-01,true,007,"), "{csv}");
        let copy = folder(&service, json!({"title": "Copy"})).await;
        let (status, _) = send(&service, &format!("{copy}/items/upload"), "text/csv", csv).await;
        assert_eq!(status, StatusCode::CREATED);
        let all = |folder: String| { let service = &service; async move { column(&ask(service, &folder, json!({})).await, "notes") } };
        assert_eq!(all(ships.clone()).await, all(copy).await);
        let url = format!("{}{ships}/export?ids=true", service.url);
        let lines = service.http.get(url).bearer_auth(&service.key).send().await.expect("an answer").text().await.expect("text");
        let last: Value = serde_json::from_str(lines.lines().last().expect("lines")).expect("JSON");
        assert_eq!((&last["position"], &last["data"]["name"]), (&json!(6), &json!("Limfjord")));
    }

    async fn single_rows_change_and_search_follows(service: Service) {
        let birds = folder(&service, json!({"title": "Birds", "dataSchema": [["name", "text"], ["count", "number"]]})).await;
        let mut ids = Vec::new();
        for name in ["gannet", "puffin", "razorbill"] {
            let row = service.post(&format!("{birds}/items"), json!({"name": name, "count": 3, "secret": format!("hidden{name}")})).await;
            ids.push(text(&row["data"]["id"]));
        }
        let hits = found(&service, "puffin", 1).await;
        assert_eq!((&hits[0]["documentMetadata"]["recordId"], hits.len()), (&json!(ids[1]), 1), "{hits:?}");
        let row = format!("{birds}/items/{}", ids[1]);
        let (status, bad) = service.call(Method::PATCH, &row, Some(json!({"count": "many"}))).await;
        assert_eq!((status, &bad["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("row_invalid")));
        let (status, changed) = service.call(Method::PATCH, &row, Some(json!({"name": "guillemot", "count": null}))).await;
        assert_eq!((status, &changed["data"]["data"]), (StatusCode::OK, &json!({"name": "guillemot", "secret": "hiddenpuffin"})), "{changed}");
        assert_eq!(service.get(&row).await["data"]["position"], 2);
        assert_eq!(found(&service, "guillemot", 1).await.len(), 1);
        assert_eq!(found(&service, "puffin", 0).await.len(), 0);
        assert_eq!(found(&service, "hiddengannet", 1).await.len(), 1);

        // The folder says something else of its rows.
        let (status, wrong) = service.call(Method::PATCH, &birds, Some(json!({"searchText": "{{ name"}))).await;
        assert_eq!((status, &wrong["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("search_text_invalid")));
        service.call(Method::PATCH, &birds, Some(json!({"searchText": "A bird called {{ name }}"}))).await;
        assert_eq!(found(&service, "called", 3).await.len(), 3);
        assert_eq!(found(&service, "hiddengannet", 0).await, Vec::<Value>::new());

        // A row that is removed is found no more at once.
        let (status, _) = service.call(Method::DELETE, &format!("{birds}/items/{}", ids[0]), None).await;
        assert_eq!(status, StatusCode::OK);
        let caller = service.app.local_caller("default").await.expect("a tenant");
        let shelf = format!("data~{}", caller.tenant());
        let at_once = service.search(json!({"query": "gannet", "datasetIds": [shelf], "hybridAlpha": 0.0})).await;
        assert!(at_once.iter().all(|h| h["documentMetadata"]["recordId"] != json!(ids[0])), "{at_once:?}");
        assert_eq!(service.call(Method::GET, &format!("{birds}/items/{}", ids[0]), None).await.0, StatusCode::NOT_FOUND);
        let next = service.post(&format!("{birds}/items"), json!({"name": "fulmar"})).await;
        assert_eq!(next["data"]["position"], 4, "positions are not used twice");
        assert_eq!(found(&service, "fulmar", 1).await.len(), 1);
        service.call(Method::PATCH, &birds, Some(json!({"searchText": false}))).await;
        assert_eq!(found(&service, "called", 0).await.len(), 0);

        let inside = service.post("/protected/data/folders", json!({"title": "Inside", "parentId": birds.rsplit('/').next()})).await;
        let (status, held) = service.call(Method::DELETE, &birds, None).await;
        assert_eq!((status, &held["error"]["reason"]), (StatusCode::CONFLICT, &json!("folder_not_empty")));
        let (status, loops) = service.call(Method::PATCH, &birds, Some(json!({"parentId": inside["data"]["id"]}))).await;
        assert_eq!((status, &loops["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("parent_invalid")));
        service.call(Method::DELETE, &format!("/protected/data/folders/{}", text(&inside["data"]["id"])), None).await;
        service.call(Method::PATCH, &birds, Some(json!({"searchText": true}))).await;
        assert_eq!(found(&service, "fulmar", 1).await.len(), 1);
        assert_eq!(service.call(Method::DELETE, &birds, None).await.0, StatusCode::OK);
        assert_eq!(service.search(json!({"query": "fulmar", "datasetIds": [shelf], "hybridAlpha": 0.0})).await, Vec::<Value>::new(), "gone at once");
        let documents = format!("/kb/v1/datasets/{shelf}/documents");
        eventually!(left in service.get(&documents).await["data"].clone(), "a job clears the rows away", left == json!([]));
        assert_eq!(service.call(Method::GET, &row, None).await.0, StatusCode::NOT_FOUND);
    }

    async fn many_rows_stay_in_order(service: Service) {
        let many = folder(&service, json!({"title": "Many", "searchText": ["word"]})).await;
        let lines: String = (1..=1203).map(|n| format!("{{\"n\":{n},\"m\":{},\"word\":\"w{}\"}}\n", n % 7, n % 401)).collect();
        let (status, done) = send(&service, &format!("{many}/items/upload?format=jsonl"), "application/octet-stream", lines).await;
        assert_eq!((status, &done["data"]["lastPosition"]), (StatusCode::CREATED, &json!(1203)), "{done}");
        // Rows of every block are found, and each leads to its row.
        let hits = found(&service, "w400", 3).await;
        let mut rows: Vec<i64> = hits.iter().filter_map(|h| h["documentMetadata"]["recordId"].as_str()?.rsplit('-').next()?.parse().ok()).collect();
        rows.sort_unstable();
        assert_eq!(rows, [400, 801, 1202]);
        let question = |cursor: &Value| json!({"sort": [{"field": "m"}, {"field": "n", "order": "desc"}], "limit": 250, "cursor": cursor, "filter": {"field": "m", "op": "ne", "value": 3}});
        let (mut seen, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let page = ask(&service, &many, question(&cursor)).await;
            seen.extend(column(&page, "n").into_iter().filter_map(|n| n.as_i64()));
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let mut expected: Vec<i64> = (1..=1203).filter(|n| n % 7 != 3).collect();
        expected.sort_by_key(|n| (n % 7, -n));
        assert_eq!(seen, expected);
        let other = ask(&service, &many, json!({"limit": 3})).await;
        let (status, wrong) = service.call(Method::POST, &format!("{many}/query"), Some(json!({"sort": [{"field": "n"}], "cursor": other["nextCursor"]}))).await;
        assert_eq!((status, &wrong["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("cursor_invalid")));
        let sum = ask(&service, &many, json!({"aggregates": [{"op": "sum", "field": "n"}]})).await;
        assert_eq!(sum["groups"][0]["sum_n"], 1203 * 1204 / 2);
        let (_, all) = service.call(Method::POST, &format!("{many}/query"), Some(json!({"groupBy": ["n"], "limit": 1000, "count": true}))).await;
        assert_eq!((all["data"]["groups"].as_array().map(Vec::len), &all["data"]["total"]), (Some(1000), &json!(1203)));
        let rest = ask(&service, &many, json!({"groupBy": ["n"], "limit": 1000, "cursor": all["data"]["nextCursor"]})).await;
        assert_eq!(rest["groups"].as_array().map(Vec::len), Some(203));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_rows_are_told() {
    let service = Service::start_with(Engine::Sqlite, |config| config.upload_rows_mb = 1).await;
    let any = folder(&service, json!({"title": "Any"})).await;
    let upload = format!("{any}/items/upload");
    let big = "{\"a\":\"x\"}\n".repeat(120_000);
    for (path, mime, body, status, reason) in [
        (
            upload.clone(),
            "application/x-ndjson",
            big,
            413,
            "rows_too_large",
        ),
        (
            upload.clone(),
            "image/png",
            "x".to_owned(),
            400,
            "format_invalid",
        ),
        (
            upload.clone(),
            "text/csv",
            "a,a\n1,2\n".to_owned(),
            400,
            "rows_invalid",
        ),
        (
            upload.clone(),
            "text/csv",
            "a,b\n".to_owned(),
            400,
            "rows_invalid",
        ),
        (
            upload.clone(),
            "application/json",
            "[{\"a\":1},{".to_owned(),
            400,
            "rows_invalid",
        ),
        (
            format!("{upload}?delimiter=ab"),
            "text/csv",
            "a\n1\n".to_owned(),
            400,
            "delimiter_invalid",
        ),
        (
            format!("{upload}?batch="),
            "text/csv",
            "a\n1\n".to_owned(),
            400,
            "batch_invalid",
        ),
        (
            format!("{any}/query"),
            "application/json",
            "{\"limit\":1001}".to_owned(),
            400,
            "limit_out_of_range",
        ),
        (
            format!("{any}/query"),
            "application/json",
            "{\"aggregates\":[{\"op\":\"sum\"}]}".to_owned(),
            400,
            "query_invalid",
        ),
        (
            format!("{any}/query"),
            "application/json",
            "{\"filter\":{\"field\":\"$title\",\"op\":\"exists\"}}".to_owned(),
            400,
            "field_unknown",
        ),
        (
            format!("{any}/query"),
            "application/json",
            "{\"cursor\":\"x\"}".to_owned(),
            400,
            "cursor_invalid",
        ),
    ] {
        let (got, answer) = send(&service, &path, mime, body).await;
        assert_eq!(
            (got.as_u16(), &answer["error"]["reason"]),
            (status, &json!(reason)),
            "{path}: {answer}"
        );
    }
    assert_eq!(service.get(&any).await["data"]["itemsCount"], 0);
    let reader = service.key_with(&["data:read"], None).await;
    let question = format!("{any}/query");
    assert_eq!(
        service
            .call_as(&reader, Method::POST, &question, Some(json!({})))
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(
        service.call_as(&reader, Method::DELETE, &any, None).await.0,
        StatusCode::FORBIDDEN
    );
    let stranger = service.stranger().await;
    for path in [format!("{any}/query"), format!("{any}/items")] {
        assert_eq!(
            service
                .call_as(&stranger, Method::POST, &path, Some(json!({"a": 1})))
                .await
                .0
                .as_u16()
                / 100,
            4,
            "{path}"
        );
    }
    assert_eq!(
        service.call_as(&stranger, Method::GET, &any, None).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_cannot_do_harm() {
    let service = Service::start(Engine::Sqlite).await;
    let any = folder(&service, json!({"title": "Any"})).await;
    let upload = format!("{any}/items/upload");
    // A row that could be written, but not be read again.
    let deep = format!("{{\"a\":{}{}}}\n", "[".repeat(100), "]".repeat(100));
    let wide = (0..501)
        .map(|n| format!("c{n}"))
        .collect::<Vec<_>>()
        .join(",");
    let many = format!("{wide}\n{}\n", vec!["1"; 501].join(","));
    let long = format!("{}\n{}", "n".repeat(300), "1\n".repeat(100));
    for (mime, body, status) in [
        ("application/x-ndjson", deep, 400),
        ("text/csv", long, 400),
        ("text/csv", many, 201),
    ] {
        let (got, answer) = send(&service, &upload, mime, body).await;
        assert_eq!(got.as_u16(), status, "{answer}");
    }
    assert_eq!(service.get(&any).await["data"]["itemsCount"], 1);
    // A block that changes make too large becomes several.
    let big = folder(&service, json!({"title": "Big", "searchText": false})).await;
    let lines: String = (0..8).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    send(
        &service,
        &format!("{big}/items/upload"),
        "application/x-ndjson",
        lines,
    )
    .await;
    let id = big.rsplit('/').next().expect("an id");
    for n in 1..=8 {
        let text = "x".repeat(900_000);
        let path = format!("{big}/items/{id}-{n}");
        let (status, answer) = service
            .call(Method::PATCH, &path, Some(json!({"text": text})))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let all = ask(&service, &big, json!({"select": ["n"]})).await;
    assert_eq!(
        column(&all, "n"),
        (0..8).map(|n| json!(n)).collect::<Vec<_>>()
    );
    assert_eq!(
        service.get(&format!("{big}/items/{id}-8")).await["data"]["data"]["n"],
        7
    );
    let next = service.post(&format!("{big}/items"), json!({"n": 8})).await;
    assert_eq!(next["data"]["position"], 9);
    // A folder that is moved stays where it was put.
    let (_, moved) = service
        .call(
            Method::PATCH,
            &big,
            Some(json!({"parentId": any.rsplit('/').next()})),
        )
        .await;
    assert_eq!(
        moved["data"]["parentId"],
        service.get(&big).await["data"]["parentId"]
    );
    assert_eq!(
        service.call(Method::DELETE, &any, None).await.0,
        StatusCode::CONFLICT
    );
    // Numbers come back as they went.
    let precise = json!({"n": 0.123_456_789_012_345_68, "m": 1e-7});
    let row = service.post(&format!("{big}/items"), precise.clone()).await;
    assert_eq!(row["data"]["data"], precise);
}
