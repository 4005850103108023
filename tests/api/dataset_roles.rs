//! Roles of members in datasets: what each may do, that they hold for every way in, and that they never give more than the role in the tenant.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Engine, Service, text};

/// A member with a session.
struct Member {
    id: String,
    cookie: String,
}

impl Member {
    async fn new(service: &Service, name: &str, role: &str) -> Self {
        let new = json!({"name": name, "role": role});
        let id = text(&service.post("/kb/v1/users", new).await["id"]);
        let link = service
            .post(&format!("/kb/v1/users/{id}/link"), json!({}))
            .await;
        let cookie = service.cookie(&link["url"]).await;
        Self { id, cookie }
    }

    async fn call(
        &self,
        service: &Service,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = service
            .http
            .request(method, format!("{}{path}", service.url));
        let request = request
            .header("cookie", &self.cookie)
            .header("x-cairn-sandbox", "1");
        let answer = request.json(&body).send().await.expect("an answer");
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    async fn give(&self, service: &Service, grants: &[(&str, &str)]) {
        let grants: Vec<Value> = grants
            .iter()
            .map(|(id, role)| json!({"datasetId": id, "role": role}))
            .collect();
        let path = format!("/kb/v1/users/{}/datasets", self.id);
        let (status, answer) = service
            .call(Method::PUT, &path, Some(json!({"datasets": grants})))
            .await;
        assert_eq!(
            (status, &answer["datasets"]),
            (StatusCode::OK, &json!(grants))
        );
    }

    /// Whether the member may add a chunk, and whether it may rename the dataset.
    async fn may(&self, service: &Service, dataset: &str, document: &str) -> (bool, bool) {
        let chunks = format!("/kb/v1/datasets/{dataset}/documents/{document}/chunks");
        let (adds, said) = self
            .call(
                service,
                Method::POST,
                &chunks,
                json!({"content": "Terns dive."}),
            )
            .await;
        let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/config");
        let (renames, also) = self
            .call(service, Method::PATCH, &path, json!({"chunkSize": 200}))
            .await;
        for (status, answer) in [(adds, said), (renames, also)] {
            let refused = json!(answer["error"]["reason"]);
            assert!(
                status.is_success() || refused == "dataset_role_missing",
                "{status}: {answer}"
            );
        }
        (adds.is_success(), renames.is_success())
    }
}

on_both! {
    async fn each_role_may_what_it_says(service: Service) {
        let birds = service.dataset("birds").await;
        let ships = service.dataset("ships").await;
        let heron = service.add(&birds, "heron.md", "Herons wait in shallow water.").await;
        service.add(&ships, "ferry.md", "The ferry leaves at noon.").await;
        let ada = Member::new(&service, "Ada", "member").await;
        assert_eq!(ada.may(&service, &birds, &heron).await, (true, true), "a member without restriction");
        for (role, expected) in [("reader", (false, false)), ("editor", (true, false)), ("owner", (true, true))] {
            ada.give(&service, &[(&birds, role)]).await;
            assert_eq!(ada.may(&service, &birds, &heron).await, expected, "{role}");
            let search = async |dataset: &str| {
                let query = json!({"query": "ferry heron", "datasetIds": [dataset]});
                ada.call(&service, Method::POST, "/kb/v1/search", query).await
            };
            let (_, found) = search(&birds).await;
            assert!(!found["results"].as_array().expect("results").is_empty(), "{role}: {found}");
            assert_eq!(search(&ships).await.0, StatusCode::NOT_FOUND, "{role}");
            let path = format!("/kb/v1/datasets/{ships}/documents");
            assert_eq!(ada.call(&service, Method::GET, &path, Value::Null).await.0, StatusCode::NOT_FOUND, "{role}");
        }
        let path = format!("/kb/v1/users/{}/datasets", ada.id);
        let given = service.get(&path).await;
        assert_eq!(given["datasets"], json!([{"datasetId": birds, "role": "owner"}]));
        service.call(Method::PUT, &path, Some(json!({"datasets": null}))).await;
        assert_eq!(service.get(&path).await["datasets"], Value::Null);
        let (status, _) = ada.call(&service, Method::GET, &format!("/kb/v1/datasets/{ships}/documents"), Value::Null).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn keys_of_a_member_follow_its_roles(service: Service) {
        let birds = service.dataset("birds").await;
        let ships = service.dataset("ships").await;
        let admin = Member::new(&service, "Ada", "admin").await;
        let (_, made) = admin.call(&service, Method::POST, "/kb/v1/keys", json!({"name": "k", "scopes": ["kb:read", "kb:write"], "datasetIds": [birds, ships]})).await;
        let key = text(&made["key"]);
        let path = format!("/kb/v1/users/{}", admin.id);
        service.call(Method::PATCH, &path, Some(json!({"role": "member"}))).await;
        admin.give(&service, &[(&birds, "reader")]).await;
        let change = async |dataset: &str| {
            let path = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/config");
            let (status, answer) = service.call_as(&key, Method::PATCH, &path, Some(json!({"chunkSize": 200}))).await;
            (status.as_u16(), answer["error"]["reason"].clone())
        };
        assert_eq!(change(&birds).await, (403, json!("dataset_role_missing")));
        assert_eq!(change(&ships).await, (404, json!("dataset_not_found")));
        admin.give(&service, &[(&ships, "owner")]).await;
        assert_eq!(change(&ships).await, (200, Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_in_a_dataset_gives_no_more_than_the_tenant() {
    let service = Service::start(Engine::Sqlite).await;
    let birds = service.dataset("birds").await;
    let cy = Member::new(&service, "Cy", "reviewer").await;
    cy.give(&service, &[(&birds, "owner")]).await;
    let path = format!("/dashboard/v1/knowledge-base/datasets/{birds}/config");
    let (status, answer) = cy
        .call(&service, Method::PATCH, &path, json!({"chunkSize": 200}))
        .await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (StatusCode::FORBIDDEN, &json!("scope_missing"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_access_is_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let birds = service.dataset("birds").await;
    let ada = Member::new(&service, "Ada", "member").await;
    let bo = Member::new(&service, "Bo", "admin").await;
    let grant = |id: &str| json!({"datasetId": id, "role": "reader"});
    let cases = [
        (&ada.id, json!([grant("nowhere")]), 404),
        (&ada.id, json!([grant(&birds), grant(&birds)]), 400),
        (&bo.id, json!([grant(&birds)]), 400),
        (&"nobody".to_owned(), json!([grant(&birds)]), 404),
    ];
    for (id, grants, expected) in cases {
        let path = format!("/kb/v1/users/{id}/datasets");
        let (status, answer) = service
            .call(Method::PUT, &path, Some(json!({"datasets": grants})))
            .await;
        assert_eq!(status, expected, "{grants}: {answer}");
    }
    let path = format!("/kb/v1/users/{}/datasets", ada.id);
    let (status, _) = service.call(Method::PUT, &path, Some(json!({}))).await;
    assert_eq!(
        status,
        StatusCode::BAD_REQUEST,
        "a forgotten field must not open everything"
    );
    let mine = json!({"datasets": null});
    let (status, _) = ada.call(&service, Method::PUT, &path, mine).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editor_measures_and_does_not_apply() {
    let service = Service::start(Engine::Sqlite).await;
    let birds = service.dataset("birds").await;
    let ada = Member::new(&service, "Ada", "member").await;
    ada.give(&service, &[(&birds, "editor")]).await;
    let sets = format!("/kb/v1/datasets/{birds}/query-sets");
    let (made, answer) = ada
        .call(&service, Method::POST, &sets, json!({"name": "s"}))
        .await;
    assert_eq!(made, StatusCode::CREATED, "{answer}");
    let tune = format!("{sets}/s/tune");
    let reason = async |body: Value| {
        let (_, answer) = ada.call(&service, Method::POST, &tune, body).await;
        text(&answer["error"]["reason"])
    };
    assert_eq!(reason(json!({"apply": false})).await, "labels_missing");
    assert_eq!(reason(json!({"apply": true})).await, "dataset_role_missing");
}

/// Every operation that changes something in a dataset or in the knowledge base as a whole refuses a reader, whatever it is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_changes_nothing_anywhere() {
    /// Operations that search, measure or preview, or whose feedback any reader may give.
    const READS: [&str; 16] = [
        "search",
        "answer",
        "candidates",
        "why-not",
        "chunking",
        "preview",
        "verify",
        "resolve",
        "query",
        "rerank",
        "embeddings",
        "retrieval",
        "session",
        "citations",
        "feedback",
        "why",
    ];
    let service = Service::start(Engine::Sqlite).await;
    let birds = service.dataset("birds").await;
    let heron = service
        .add(&birds, "heron.md", "Herons wait in shallow water.")
        .await;
    let ada = Member::new(&service, "Ada", "member").await;
    ada.give(&service, &[(&birds, "reader")]).await;
    let document = service.get("/openapi.json").await;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let of_dataset = path.contains("{datasetId}") || path.contains("{vector_store_id}");
        if !of_dataset || path.split('/').any(|part| READS.contains(&part)) {
            continue;
        }
        let filled = path
            .replace("{datasetId}", &birds)
            .replace("{vector_store_id}", &birds)
            .replace("{documentId}", &heron)
            .replace("{fileId}", &heron)
            .replace("{file_id}", &heron);
        let filled: Vec<&str> = filled
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part })
            .collect();
        let filled = filled.join("/");
        for method in item.as_object().expect("operations").keys() {
            if !["post", "patch", "put", "delete"].contains(&method.as_str()) {
                continue;
            }
            tried += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let body = json!({"name": "x", "enabled": false, "content": "x"});
            let (status, answer) = ada.call(&service, method.clone(), &filled, body).await;
            assert!(
                status.is_client_error(),
                "{method} {path}: {status} {answer}"
            );
        }
    }
    assert!(tried > 40, "{tried} operations");
    let text = service
        .get(&format!("/kb/v1/datasets/{birds}/documents/{heron}"))
        .await;
    assert_eq!(
        (&text["fileName"], &text["status"]),
        (&json!("heron.md"), &json!("indexed")),
        "{text}"
    );
    let chunks = service
        .get(&format!("/kb/v1/datasets/{birds}/documents/{heron}/chunks"))
        .await;
    assert_eq!(chunks["data"].as_array().map(Vec::len), Some(1), "{chunks}");
}
