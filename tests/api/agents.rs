//! SmartSaaS Agents API: every operation of the contract, the story of an agent, what whose key finds.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

/// The operations of the contract, each with a body where it takes one. `{project}` and its like are ids of what was made before.
const OPERATIONS: [(&str, &str, &str, u16); 40] = [
    ("GET", "/protected/users", "", 200),
    (
        "POST",
        "/protected/openclaw/webhook",
        r#"{"message": "hello", "messageId": "m1", "taskId": "t1", "status": "started", "summary": "looking"}"#,
        200,
    ),
    (
        "POST",
        "/protected/data/folders",
        r#"{"dataTitle": "Prices", "dataTags": [["spring"]], "dataSchema": [["item", "text"], ["price", "number"]], "company": "x"}"#,
        201,
    ),
    (
        "GET",
        "/protected/data/folders?page=1&limit=10&sortBy=updatedAt&sortOrder=desc",
        "",
        200,
    ),
    (
        "POST",
        "/protected/data/folders/{folder}/items",
        r#"{"item": "anchor chain", "price": 12.5}"#,
        201,
    ),
    (
        "POST",
        "/protected/knowledge",
        r#"{"title": "Moorings", "content": "Moorings are checked in April."}"#,
        201,
    ),
    ("GET", "/protected/knowledge", "", 200),
    (
        "POST",
        "/protected/research",
        r#"{"title": "Tides", "findings": "Spring tides follow the full moon.", "sources": [["https://a.test"]]}"#,
        201,
    ),
    (
        "POST",
        "/protected/business-plans",
        r#"{"title": "Harbour cafe", "market": "sailors"}"#,
        201,
    ),
    ("GET", "/protected/business-plans", "", 200),
    ("DELETE", "/protected/business-plans?id={plan}", "", 200),
    (
        "POST",
        "/protected/projects",
        r#"{"title": "New pier", "description": "A pier for the ferry", "tags": [["wood"]], "status": "completed", "start_date": "2026-04-01"}"#,
        201,
    ),
    ("GET", "/protected/projects", "", 200),
    ("GET", "/protected/projects/{project}/detail", "", 200),
    ("GET", "/protected/projects/completed/list", "", 200),
    (
        "POST",
        "/protected/projects/{project}/work-packages",
        r#"{"title": "Foundations"}"#,
        201,
    ),
    (
        "GET",
        "/protected/projects/{project}/work-packages",
        "",
        200,
    ),
    (
        "POST",
        "/protected/projects/{project}/work-packages/{package}/tasks",
        r#"{"title": "Drive piles"}"#,
        201,
    ),
    (
        "GET",
        "/protected/projects/{project}/work-packages/{package}/tasks",
        "",
        200,
    ),
    (
        "PATCH",
        "/protected/projects/{project}/work-packages/{package}/tasks/{task}",
        r#"{"status": "done"}"#,
        200,
    ),
    (
        "POST",
        "/protected/projects/{project}/team-members",
        r#"{"teamMembers": ["u1", {"name": "Ada"}]}"#,
        200,
    ),
    (
        "POST",
        "/protected/sales/campaigns",
        r#"{"title": "Berths", "stages": ["new", "won"], "leads": [{"name": "Ida", "stageIndex": 1}, {"name": "Ole"}]}"#,
        201,
    ),
    ("GET", "/protected/sales/campaigns", "", 200),
    ("GET", "/protected/sales/crm", "", 200),
    (
        "POST",
        "/protected/sales/crm",
        r#"{"campaignId": "{campaign}", "page": "1", "limit": 5, "stageIndex": 1}"#,
        200,
    ),
    ("GET", "/protected/sales/funnel", "", 200),
    (
        "POST",
        "/protected/sales/funnel",
        r#"{"campaignId": "{campaign}"}"#,
        200,
    ),
    (
        "POST",
        "/protected/sales/forecasts",
        r#"{"title": "Summer", "amount": 1000}"#,
        201,
    ),
    ("GET", "/protected/sales/forecasts", "", 200),
    (
        "GET",
        "/protected/sales/analytics?filterType=month&forecastId={forecast}",
        "",
        200,
    ),
    (
        "POST",
        "/protected/templates/email",
        r#"{"title": "Welcome", "body": "Welcome aboard"}"#,
        201,
    ),
    ("GET", "/protected/templates/email", "", 200),
    (
        "POST",
        "/protected/templates/document",
        r#"{"title": "Contract"}"#,
        201,
    ),
    ("GET", "/protected/templates/document", "", 200),
    (
        "POST",
        "/protected/templates/webpage",
        r#"{"title": "Landing"}"#,
        201,
    ),
    ("GET", "/protected/templates/webpage", "", 200),
    (
        "POST",
        "/protected/templates/invoice",
        r#"{"title": "Invoice"}"#,
        201,
    ),
    ("GET", "/protected/templates/invoice", "", 200),
    (
        "POST",
        "/protected/templates/media",
        r#"{"title": "Logo", "url": "https://a.test/logo.png"}"#,
        201,
    ),
    ("GET", "/protected/templates/media", "", 200),
];

async fn call(
    service: &Service,
    key: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (StatusCode, Value) {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let body = (!body.is_empty()).then(|| serde_json::from_str(body).expect("JSON"));
    service.call_as(key, method, path, body).await
}

on_both! {
    async fn every_operation_of_the_contract_answers(service: Service) {
        let mut ids: Vec<(&str, String)> = Vec::new();
        for (method, path, body, expected) in OPERATIONS {
            let fill = |text: &str| ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id));
            let (status, answer) = call(&service, &service.key, method, &fill(path), &fill(body)).await;
            assert_eq!(status.as_u16(), expected, "{method} {path}: {answer}");
            assert_eq!(answer["success"], true, "{method} {path}: {answer}");
            assert!(!answer["data"].is_null(), "{method} {path}: {answer}");
            if expected == 201 {
                let id = text(&answer["data"]["id"]);
                assert_eq!(answer["data"]["_id"], json!(id));
                let name = match path.rsplit('/').next() {
                    Some("folders") => "folder",
                    Some("business-plans") => "plan",
                    Some("projects") => "project",
                    Some("work-packages") => "package",
                    Some("tasks") => "task",
                    Some("campaigns") => "campaign",
                    Some("forecasts") => "forecast",
                    _ => "other",
                };
                ids.push((name, id));
            }
        }
        let data = async |path: &str| service.get(path).await["data"].clone();
        assert_eq!(data("/protected/users").await[0]["role"], "owner");
        let folders = data("/protected/data/folders").await;
        assert_eq!((&folders[0]["title"], &folders[0]["itemsCount"], &folders[0]["dataTags"]), (&json!("Prices"), &json!(1), &json!(["spring"])));
        let knowledge = service.get("/protected/knowledge?limit=1").await;
        assert_eq!(knowledge["pagination"], json!({"page": 1, "limit": 1, "total": 2, "pages": 2}));
        assert_eq!((&knowledge["data"][0]["kind"], &knowledge["data"][0]["sources"]), (&json!("finding"), &json!(["https://a.test"])));
        let project = &ids.iter().find(|(name, _)| *name == "project").expect("made").1;
        let detail = data(&format!("/protected/projects/{project}/detail")).await;
        assert_eq!(detail["workPackages"][0]["tasks"][0]["status"], "done", "{detail}");
        assert_eq!(detail["teamMembers"], json!(["u1", {"name": "Ada"}]));
        assert_eq!(data("/protected/projects/completed/list").await[0]["id"], json!(project));
        assert_eq!(data("/protected/business-plans").await, json!([]));
        let funnel = data("/protected/sales/funnel").await;
        assert_eq!(funnel[0]["stages"], json!([{"stageIndex": 0, "name": "new", "leads": 1}, {"stageIndex": 1, "name": "won", "leads": 1}]));
        let analytics = data("/protected/sales/analytics").await;
        assert_eq!((&analytics["buckets"][0]["leads"], &analytics["buckets"][0]["won"]), (&json!(2), &json!(1)));
    }

    async fn mistakes_are_told_in_the_shape_of_the_dialect(service: Service) {
        let folder = service.post("/protected/data/folders", json!({"title": "Strict", "dataSchema": [{"name": "n", "type": "number", "required": true}]})).await;
        let items = format!("/protected/data/folders/{}/items", text(&folder["data"]["id"]));
        let campaign = service.post("/protected/sales/campaigns", json!({"title": "c"})).await;
        let campaign = text(&campaign["data"]["id"]);
        for (method, path, body, status, reason) in [
            ("GET", "/protected/nothing", json!(null), 404, "route_unknown"),
            ("PUT", "/protected/users", json!({}), 405, "method_not_allowed"),
            ("POST", "/protected/knowledge", json!([]), 400, "body_invalid"),
            ("POST", "/protected/knowledge", json!({"content": " "}), 400, "text_missing"),
            ("POST", "/protected/research", json!({"title": 3, "findings": {"a": 1}}), 400, "field_invalid"),
            ("POST", "/protected/research", json!({"findings": "x", "supersedes": "nobody"}), 404, "record_not_found"),
            ("POST", &items, json!({"n": "one"}), 400, "row_invalid"),
            ("POST", &items, json!({}), 400, "row_invalid"),
            ("POST", "/protected/data/folders/nowhere/items", json!({"n": 1}), 404, "record_not_found"),
            ("POST", "/protected/data/folders", json!({"dataSchema": [["a", "colour"]]}), 400, "schema_invalid"),
            ("POST", "/protected/data/folders", json!({"title": "x", "parentId": "nowhere"}), 404, "parent_not_found"),
            ("GET", "/protected/projects?page=0", json!(null), 400, "parameter_invalid"),
            ("GET", "/protected/projects?limit=101", json!(null), 400, "parameter_invalid"),
            ("GET", "/protected/projects?sortBy=colour", json!(null), 400, "parameter_invalid"),
            ("GET", "/protected/projects/nowhere/detail", json!(null), 404, "record_not_found"),
            ("POST", "/protected/projects/nowhere/work-packages", json!({"title": "x"}), 404, "parent_not_found"),
            ("POST", "/protected/sales/crm", json!({}), 400, "campaign_missing"),
            ("POST", "/protected/sales/crm", json!({"campaignId": campaign, "stageIndex": 99}), 400, "stage_invalid"),
            ("POST", "/protected/sales/campaigns", json!({"title": "x", "leads": [{"stage": "nonsense"}]}), 400, "stage_invalid"),
            ("GET", "/protected/sales/analytics?filterType=year", json!(null), 400, "filter_type_invalid"),
            ("DELETE", "/protected/business-plans", json!(null), 400, "id_missing"),
            ("DELETE", "/protected/business-plans?id=nowhere", json!(null), 404, "record_not_found"),
            ("GET", "/protected/templates/nonsense", json!(null), 404, "route_unknown"),
            ("POST", "/protected/openclaw/webhook", json!({}), 400, "push_empty"),
            ("POST", "/protected/openclaw/webhook", json!({"chunk": "a"}), 400, "message_id_missing"),
            ("POST", "/protected/openclaw/webhook", json!({"taskId": "t", "status": "lost"}), 400, "task_status_unknown"),
        ] {
            let body = (!body.is_null()).then_some(body);
            let (got, answer) = service.call(Method::from_bytes(method.as_bytes()).expect("a method"), path, body).await;
            assert_eq!((got.as_u16(), &answer["error"]["reason"], &answer["success"]), (status, &json!(reason), &json!(false)), "{method} {path}: {answer}");
            assert!(answer["error"]["message"].is_string() && answer["error"]["requestId"].is_string());
        }
    }
}

const FINDING: &str = "The lighthouse at Skagen was lit for the first time in 1858. It stands forty six metres tall, and its light is seen from twenty sea miles away. \
    Keepers lived beside it until the lamp was made to turn by itself. Today painters and people who watch birds come to the tower in spring, when the birds of prey pass.";

/// The dataset that findings and articles are searched in.
async fn shelf(service: &Service) -> String {
    let datasets = service.get("/kb/v1/datasets").await;
    let all = datasets["data"].as_array().expect("datasets");
    let shelf = all.iter().find(|d| d["name"] == "Knowledge");
    text(&shelf.expect("a shelf")["id"])
}

/// Posts a finding; gives its record.
async fn found_out(service: &Service, key: &str, finding: Value) -> Value {
    let (status, answer) = service
        .call_as(key, Method::POST, "/protected/research", Some(finding))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["data"].clone()
}

/// Searches a dataset for words.
async fn find(service: &Service, key: &str, shelf: &str, query: &str) -> (StatusCode, Value) {
    let request = json!({"query": query, "datasetIds": [shelf], "hybridAlpha": 0.0});
    service
        .call_as(key, Method::POST, "/kb/v1/search", Some(request))
        .await
}

/// Waits until words find something; gives the hits.
async fn hits(service: &Service, key: &str, shelf: &str, query: &str) -> Vec<Value> {
    let (_, answer) = eventually!(
        found in find(service, key, shelf, query).await,
        "{query} is found",
        {
            let (status, answer) = &found;
            assert_eq!(*status, StatusCode::OK, "{answer}");
            answer["results"].as_array().is_some_and(|r| !r.is_empty())
        }
    );
    answer["results"].as_array().expect("hits").clone()
}

/// A finding about a lighthouse, as an agent posts it.
fn skagen() -> Value {
    json!({"title": "Skagen lighthouse", "findings": FINDING, "source": "visit", "url": "https://skagen.test/", "sources": ["https://a.test"]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_posts_others_find_at_once() {
    let service = Service::start(Engine::Sqlite).await;
    let writer = service.key_with(&["knowledge:write"], None).await;
    let reader = service.key_with(&["knowledge:read"], None).await;
    let first = found_out(&service, &writer, skagen()).await;
    assert_eq!(first["duplicates"], json!([]), "{first}");
    let began = Instant::now();
    let id = text(&first["id"]);
    // Another key finds it by its words within a second.
    let shelf = shelf(&service).await;
    let found = hits(&service, &reader, &shelf, "lighthouse keepers").await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it was found late"
    );
    assert_eq!(
        (
            &found[0]["documentMetadata"]["recordId"],
            &found[0]["metadata"]["url"]
        ),
        (&json!(id), &json!("https://skagen.test/"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read_an_area_does_not_learn_that_there_is_something() {
    let service = Service::start(Engine::Sqlite).await;
    let writer = service.key_with(&["knowledge:write"], None).await;
    let planner = service.key_with(&["projects:*"], None).await;
    found_out(&service, &writer, skagen()).await;
    let (status, refused) = service
        .call_as(&writer, Method::GET, "/protected/users", None)
        .await;
    assert_eq!(
        (status, &refused["error"]["reason"], &refused["success"]),
        (
            StatusCode::FORBIDDEN,
            &json!("scope_missing"),
            &json!(false)
        )
    );
    let shelf = shelf(&service).await;
    assert_eq!(
        find(&service, &planner, &shelf, "lighthouse").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        service
            .call_as(&planner, Method::GET, "/protected/knowledge", None)
            .await
            .0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nearly_the_same_is_told_and_something_else_is_not() {
    let service = Service::start(Engine::Sqlite).await;
    let writer = service.key_with(&["knowledge:write"], None).await;
    let first = found_out(&service, &writer, skagen()).await;
    let id = text(&first["id"]);
    let shelf = shelf(&service).await;
    hits(&service, &service.key, &shelf, "lighthouse keepers").await;
    let again = json!({"content": FINDING.replace("painters", "artists")});
    let duplicate = found_out(&service, &writer, again).await;
    assert_eq!(duplicate["duplicates"][0]["id"], json!(id), "{duplicate}");
    assert!(duplicate["duplicates"][0]["similarity"].as_f64() > Some(0.7));
    assert_eq!(
        duplicate["title"],
        json!(
            "The lighthouse at Skagen was lit for the first time in 1858. It stands forty six metres tall, and its light is seen from"
        )
    );
    let other = json!({"findings": "Cormorants dry their wings in the wind because their feathers let the water in, which helps them to dive."});
    let other = found_out(&service, &writer, other).await;
    assert_eq!(other["duplicates"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_finding_takes_the_place_of_the_first_and_both_know_of_each_other() {
    let service = Service::start(Engine::Sqlite).await;
    let writer = service.key_with(&["knowledge:write"], None).await;
    let reader = service.key_with(&["knowledge:read"], None).await;
    let id = text(&found_out(&service, &writer, skagen()).await["id"]);
    let shelf = shelf(&service).await;
    hits(&service, &reader, &shelf, "lighthouse keepers").await;
    let newer = json!({"title": "Skagen lighthouse, corrected", "findings": FINDING.replace("1858", "1859"), "supersedes": id});
    let newer = found_out(&service, &writer, newer).await;
    assert_eq!(newer["supersedes"], json!(id), "{newer}");
    let newest = text(&newer["id"]);
    hits(&service, &reader, &shelf, "1859").await;
    let (_, answer) = find(&service, &reader, &shelf, "lighthouse keepers").await;
    let found: Vec<&Value> = answer["results"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|h| &h["documentMetadata"]["recordId"])
        .collect();
    assert!(
        found.contains(&&json!(newest)) && !found.contains(&&json!(id)),
        "{found:?}"
    );
    let (_, list) = service
        .call_as(&reader, Method::GET, "/protected/knowledge?limit=100", None)
        .await;
    let old = list["data"]
        .as_array()
        .expect("records")
        .iter()
        .find(|r| r["id"] == json!(id))
        .expect("kept")
        .clone();
    assert_eq!(old["supersededBy"], json!(newest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_a_scheme_in_front_is_a_key() {
    let service = Service::start(Engine::Sqlite).await;
    let reader = service.key_with(&["knowledge:read"], None).await;
    let raw = reqwest::Client::new()
        .get(format!("{}/protected/knowledge", service.url))
        .header("authorization", &reader)
        .send()
        .await
        .expect("an answer");
    assert_eq!(raw.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_tasks_are_heard_and_kept() {
    let service = Service::start(Engine::Sqlite).await;
    let agent = service.key_with(&["knowledge:write"], None).await;
    let push = async |body: Value| {
        service
            .call_as(
                &agent,
                Method::POST,
                "/protected/openclaw/webhook",
                Some(body),
            )
            .await
    };
    for chunk in ["One ", "two ", "three"] {
        let (status, answer) =
            push(json!({"chunk": chunk, "messageId": "m", "done": chunk == "three"})).await;
        assert_eq!(
            (status, &answer["data"]["conversationId"]),
            (StatusCode::OK, &json!("openclaw")),
            "{answer}"
        );
    }
    push(json!({"message": "whole", "conversationId": "other"})).await;
    push(json!({"taskId": "t1", "status": "started", "summary": "Counting cormorants"})).await;
    let (_, done) = push(json!({"taskId": "t1", "status": "done"})).await;
    assert_eq!(
        (
            &done["data"]["task"]["status"],
            &done["data"]["task"]["title"]
        ),
        (&json!("done"), &json!("Counting cormorants")),
        "{done}"
    );
    // Everybody tells of a new task at the same moment, and a log of a terminal has its NUL.
    let all = futures::future::join_all((0..6).map(|n| {
        push(json!({"taskId": "crowd", "summary": format!("told by {n}"), "chunk": "a\u{0}", "messageId": "crowd", "conversationId": "crowd"}))
    }))
    .await;
    assert!(
        all.iter().all(|(status, _)| *status == StatusCode::OK),
        "{all:?}"
    );
    let crowd = service.get("/kb/v1/conversations/crowd/messages").await;
    assert_eq!(crowd["data"][0]["content"], "aaaaaa", "{crowd}");
    let messages = service.get("/kb/v1/conversations/openclaw/messages").await;
    assert_eq!(
        (
            &messages["data"][0]["content"],
            &messages["data"][0]["done"]
        ),
        (&json!("One two three"), &json!(true)),
        "{messages}"
    );
    let conversations = service.get("/kb/v1/conversations").await;
    assert_eq!(conversations["data"].as_array().map(Vec::len), Some(3));
    let tasks = service.get("/kb/v1/agent-tasks").await;
    assert_eq!(
        (&tasks["data"][1]["taskId"], &tasks["data"][1]["status"]),
        (&json!("t1"), &json!("done")),
        "{tasks}"
    );
    let caller = service.app.local_caller("default").await.expect("a tenant");
    let events = cairn::events::after(&service.app.db, caller.tenant(), 0)
        .await
        .expect("events");
    let topics: Vec<&str> = events.iter().map(|e| e.topic.as_str()).collect();
    assert_eq!(
        topics.iter().filter(|t| **t == "openclaw:message").count(),
        10
    );
    assert_eq!(
        topics.iter().filter(|t| **t == "agent-task-update").count(),
        8
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_every_kind_are_found_and_forgotten() {
    let service = Service::start(Engine::Sqlite).await;
    let made = service.post("/protected/business-plans", json!({"title": "Eel smokery", "market": {"customers": ["restaurants along the coast"]}})).await;
    let id = text(&made["data"]["id"]);
    let tenant = service
        .app
        .local_caller("default")
        .await
        .expect("a tenant")
        .tenant()
        .to_owned();
    let shelf = format!("business_plans~{tenant}");
    let find = async || {
        service
            .search(json!({"query": "restaurants", "datasetIds": [shelf], "hybridAlpha": 0.0}))
            .await
    };
    let hits = eventually!(hits in find().await, "the record is found", !hits.is_empty());
    assert_eq!(
        (
            &hits[0]["documentMetadata"]["kind"],
            &hits[0]["documentMetadata"]["recordId"]
        ),
        (&json!("business_plan"), &json!(id))
    );
    let (status, _) = service
        .call(
            Method::DELETE,
            "/protected/business-plans",
            Some(json!({"id": id})),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(find().await.is_empty(), "what is deleted is gone at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_others_does_not_exist() {
    let service = Service::start(Engine::Sqlite).await;
    let project = service
        .post("/protected/projects", json!({"title": "Mine"}))
        .await;
    let id = text(&project["data"]["id"]);
    let stranger = service.stranger().await;
    for path in [
        "/protected/projects",
        "/protected/knowledge",
        "/protected/data/folders",
        "/protected/sales/campaigns",
    ] {
        let (status, list) = service.call_as(&stranger, Method::GET, path, None).await;
        assert_eq!(
            (status, &list["data"]),
            (StatusCode::OK, &json!([])),
            "{path}"
        );
    }
    for (method, path, body) in [
        (
            Method::GET,
            format!("/protected/projects/{id}/detail"),
            None,
        ),
        (
            Method::POST,
            format!("/protected/projects/{id}/work-packages"),
            Some(json!({"title": "x"})),
        ),
        (
            Method::POST,
            format!("/protected/projects/{id}/team-members"),
            Some(json!({"teamMember": "x"})),
        ),
        (
            Method::DELETE,
            format!("/protected/business-plans?id={id}"),
            None,
        ),
    ] {
        let (status, answer) = service.call_as(&stranger, method, &path, body).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::NOT_FOUND, &json!("NOT_FOUND")),
            "{path}: {answer}"
        );
    }
    let tenant = service
        .app
        .local_caller("default")
        .await
        .expect("a tenant")
        .tenant()
        .to_owned();
    let search = json!({"query": "mine", "datasetIds": [format!("projects~{tenant}")]});
    assert_eq!(
        service
            .call_as(&stranger, Method::POST, "/kb/v1/search", Some(search))
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    // A right that only follows from another cannot be handed on.
    let reader = service
        .key_with(&["projects:read", "keys:manage"], None)
        .await;
    let (status, _) = service
        .call_as(
            &reader,
            Method::POST,
            "/kb/v1/keys",
            Some(json!({"name": "x", "scopes": ["kb:search"]})),
        )
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

on_both! {
    async fn citations_resolve_and_quotes_are_checked(service: Service) {
        let dataset = service.dataset("harbour").await;
        let document = service.add(&dataset, "skagen.md", FINDING).await;
        let hits = service.search(json!({"query": "lighthouse", "datasetIds": [dataset], "hybridAlpha": 0.0})).await;
        let uri = text(&hits[0]["citation"]);
        let resolve = async |uri: &str| service.get(&format!("/kb/v1/citations?uri={}", uri.replace('#', "%23"))).await;
        let place = resolve(&uri).await;
        assert_eq!((&place["text"], &place["stale"], &place["uri"]), (&hits[0]["content"], &json!(false), &json!(uri)), "{place}");
        let verify = async |body: Value| service.post("/kb/v1/verify-quote", body).await;
        let exact = verify(json!({"quote": "the lighthouse at Skagen was lit for the first time in 1858", "uri": uri})).await;
        assert_eq!((&exact["verdict"], &exact["withinCitation"]), (&json!("exact"), &json!(true)), "{exact}");
        assert_eq!(resolve(&text(&exact["uri"])).await["text"], exact["text"]);
        let near = verify(json!({"quote": "The lighthouse at Skagen was lit for the first time in 1859.", "datasetId": dataset, "documentId": document})).await;
        assert_eq!((&near["verdict"], &near["text"]), (&json!("near"), &json!("The lighthouse at Skagen was lit for the first time in 1858")), "{near}");
        let absent = verify(json!({"quote": "Cormorants are larger than herons and sing better", "uri": uri})).await;
        assert_eq!((&absent["verdict"], &absent["uri"]), (&json!("absent"), &Value::Null), "{absent}");
        // A new version makes the citation stale; what it says is found where it is now, or not at all.
        let (status, _) = service.upload(&dataset, &[("skagen.md", format!("# New\n\n{FINDING}").as_bytes())], &[]).await;
        assert!(status.is_success());
        service.settled(&dataset, &document).await;
        assert_eq!(resolve(&uri).await["stale"], true);
        let moved = verify(json!({"quote": "Keepers lived beside it until the lamp was made to turn by itself", "uri": uri})).await;
        assert_eq!(moved["verdict"], "exact", "{moved}");
        for (body, status, reason) in [
            (json!({"quote": "x"}), 400, "source_missing"),
            (json!({"quote": "x", "uri": "nonsense"}), 400, "citation_invalid"),
            (json!({"quote": " ", "uri": uri}), 400, "quote_invalid"),
            (json!({"quote": "x", "uri": "kb://nowhere/x@1#0-1"}), 404, "document_not_found"),
        ] {
            let (got, answer) = service.call(Method::POST, "/kb/v1/verify-quote", Some(body)).await;
            assert_eq!((got.as_u16(), &answer["error"]["reason"]), (status, &json!(reason)), "{answer}");
        }
        let stranger = service.stranger().await;
        let (status, _) = service.call_as(&stranger, Method::GET, &format!("/kb/v1/citations?uri={}", uri.replace('#', "%23")), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shelves_are_kept() {
    let service = Service::start(Engine::Sqlite).await;
    let writer = service.key_with(&["kb:*", "projects:read"], None).await;
    let made = service
        .post(
            "/protected/projects",
            json!({"title": "Pier", "description": "A pier for the ferry to the island"}),
        )
        .await;
    let document = text(&made["data"]["documentId"]);
    let tenant = service
        .app
        .local_caller("default")
        .await
        .expect("a tenant")
        .tenant()
        .to_owned();
    let shelf = format!("projects~{tenant}");
    for (method, path, body) in [
        (Method::DELETE, format!("/kb/v1/datasets/{shelf}"), None),
        (
            Method::DELETE,
            format!("/kb/v1/datasets/{shelf}/documents/{document}"),
            None,
        ),
        (
            Method::PATCH,
            format!("/kb/v1/datasets/{shelf}/documents/{document}"),
            Some(json!({"enabled": false})),
        ),
        (
            Method::PUT,
            format!("/kb/v1/datasets/{shelf}/sites"),
            Some(json!({"startUrl": "https://example.com"})),
        ),
    ] {
        let (status, answer) = service.call_as(&writer, method, &path, body).await;
        assert_eq!(
            (status, &answer["error"]["reason"]),
            (StatusCode::CONFLICT, &json!("dataset_managed")),
            "{path}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_only_search_sees_the_passages_that_searches_show() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("harbour").await;
    let id = service.add(&dataset, "skagen.md", FINDING).await;
    let searcher = service.key_with(&["kb:search"], None).await;
    let (_, found) = service
        .call_as(
            &searcher,
            Method::POST,
            "/kb/v1/search",
            Some(json!({"query": "lighthouse", "datasetIds": [dataset]})),
        )
        .await;
    let citation = text(&found["results"][0]["citation"]);
    let follow = async |uri: &str| {
        service
            .call_as(
                &searcher,
                Method::GET,
                &format!("/kb/v1/citations?uri={}", uri.replace('#', "%23")),
                None,
            )
            .await
    };
    let (status, place) = follow(&citation).await;
    assert_eq!(
        (status, &place["text"]),
        (StatusCode::OK, &found["results"][0]["content"]),
        "{place}"
    );
    let (status, refused) = follow(&format!("kb://{dataset}/{id}@1#0-100")).await;
    assert_eq!(
        (status, &refused["error"]["reason"]),
        (StatusCode::FORBIDDEN, &json!("scope_missing")),
        "{refused}"
    );
    let quote = json!({"quote": "Keepers lived beside it", "uri": citation});
    let (status, verdict) = service
        .call_as(&searcher, Method::POST, "/kb/v1/verify-quote", Some(quote))
        .await;
    assert_eq!(
        (status, &verdict["verdict"]),
        (StatusCode::OK, &json!("exact")),
        "{verdict}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_time_are_all_kept() {
    let service = std::sync::Arc::new(Service::start(Engine::Sqlite).await);
    let made = service
        .post(
            "/protected/projects",
            json!({"title": "Crowded", "name": "kept"}),
        )
        .await;
    assert_eq!(
        made["data"]["name"], "kept",
        "what was sent is kept: {made}"
    );
    let path = format!(
        "/protected/projects/{}/team-members",
        text(&made["data"]["id"])
    );
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..5 {
        let (service, path) = (std::sync::Arc::clone(&service), path.clone());
        calls.spawn(async move {
            service
                .call(
                    Method::POST,
                    &path,
                    Some(json!({"teamMember": format!("u{n}")})),
                )
                .await
                .0
        });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.expect("no panic"), StatusCode::OK);
    }
    let detail = service
        .get(&format!(
            "/protected/projects/{}/detail",
            text(&made["data"]["id"])
        ))
        .await;
    assert_eq!(
        detail["data"]["teamMembers"].as_array().map(Vec::len),
        Some(5),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_name_above_many_values_does_not_multiply() {
    let service = Service::start(Engine::Sqlite).await;
    let name = "x".repeat(200_000);
    let values: Vec<i32> = vec![1; 200_000];
    let (status, _) = service
        .call(
            Method::POST,
            "/protected/business-plans",
            Some(json!({"title": "Wide", (name): values})),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_added_and_removed_but_not_the_owner() {
    let service = Service::start(Engine::Sqlite).await;
    service
        .post(
            "/kb/v1/users",
            json!({"name": "Ada", "email": "ada@example.test"}),
        )
        .await;
    for (body, reason) in [
        (json!({"name": "Ada"}), "user_exists"),
        (json!({"name": "Bo", "email": "nowhere"}), "user_invalid"),
    ] {
        let (_, answer) = service.call(Method::POST, "/kb/v1/users", Some(body)).await;
        assert_eq!(answer["error"]["reason"], reason);
    }
    let people = service.get("/protected/users").await["data"].clone();
    assert_eq!(
        (people[0]["role"].as_str(), people[1]["name"].as_str()),
        (Some("owner"), Some("Ada")),
        "{people}"
    );
    for (id, status) in [
        (&people[0]["id"], 409),
        (&people[1]["id"], 204),
        (&people[1]["id"], 404),
    ] {
        let path = format!("/kb/v1/users/{}", text(id));
        assert_eq!(
            service.call(Method::DELETE, &path, None).await.0.as_u16(),
            status
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_rows_are_found() {
    let service = Service::start(Engine::Sqlite).await;
    let folder = service
        .post("/protected/data/folders", json!({"title": "Firms"}))
        .await;
    let folder = text(&folder["data"]["id"]);
    service
        .post(
            &format!("/protected/data/folders/{folder}/items"),
            json!({"name": "Vesterhav Rederi", "url": "https://vesterhav.test"}),
        )
        .await;
    let tenant = service
        .app
        .local_caller("default")
        .await
        .expect("a tenant")
        .tenant()
        .to_owned();
    let question =
        json!({"query": "rederi", "datasetIds": [format!("data~{tenant}")], "hybridAlpha": 0.0});
    let hits = eventually!(hits in service.search(question.clone()).await, "the row is found", !hits.is_empty());
    assert_eq!(hits[0]["documentMetadata"]["kind"], "row", "{hits:?}");
}

/// The requests of the public scripts for this system, as they send them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scripts_of_its_clients_work() {
    let service = Service::start(Engine::Sqlite).await;
    let schema = json!({"fields": [
        {"name": "city", "title": "City", "type": "dropDown", "validation": {"required": true}},
        {"name": "price", "type": "price"},
        {"name": "labels", "type": "tags"}
    ], "meta": {"designedBy": "ai"}});
    let body = json!({"dataTitle": "harbour_fees", "dataSchema": schema});
    let made = service.post("/api/protected/data/folders", body).await;
    let folder = text(&made["_id"]);
    assert_eq!(made["data"]["_id"], made["_id"], "{made}");
    assert_eq!(made["data"]["dataSchema"], schema, "as it was sent");
    let listed = service.get("/api/protected/data/folders?limit=100").await;
    assert_eq!(listed["data"][0]["dataTitle"], "harbour_fees", "{listed}");
    let items = format!("/api/protected/data/folders/{folder}/items");
    let row = json!({"city": "Skagen", "price": 12.5, "labels": ["a"]});
    for sent in [row.clone(), json!({"data": row})] {
        let made = service.post(&items, sent).await;
        assert_eq!(made["data"]["data"], row, "{made}");
    }
    let (status, _) = service
        .call(Method::POST, &items, Some(json!({"price": "not a number"})))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let webhook = "/api/protected/openclaw/webhook";
    let ping = json!({"event": "ping", "source": "openclaw", "timestamp": "2026-01-01T00:00:00Z", "payload": {"n": 1}});
    let pushed = service.post(webhook, ping).await;
    assert_eq!(pushed["data"]["conversationId"], "events", "{pushed}");
    for (kind, body) in [
        ("business-plans", json!({"title": "Pier"})),
        (
            "knowledge",
            json!({"title": "Tides", "content": "They lag."}),
        ),
    ] {
        let made = service.post(&format!("/api/protected/{kind}"), body).await;
        let path = format!("/api/protected/{kind}/{}", text(&made["_id"]));
        let found = service.get(&path).await;
        assert_eq!(found["data"]["_id"], made["_id"], "{found}");
    }
    let (status, answer) = service
        .call(Method::GET, "/api/protected/nothing", None)
        .await;
    assert_eq!(
        (status, &answer["success"]),
        (StatusCode::NOT_FOUND, &json!(false))
    );
}
