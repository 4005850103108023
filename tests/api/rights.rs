//! Rights that are handed on, that end, and that a request has only in part: keys that make keys, what a key is answered that may write and not read, what a
//! key that is confined to a dataset learns of others.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn::db::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

/// Makes a key as `maker`; gives its id and its secret.
async fn mint(service: &Service, maker: &str, body: Value) -> (String, String) {
    let (status, made) = service
        .call_as(maker, Method::POST, "/kb/v1/keys", Some(body))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    (text(&made["id"]), text(&made["key"]))
}

async fn status_of(service: &Service, key: &str) -> u16 {
    let (status, _) = service
        .call_as(key, Method::GET, "/kb/v1/datasets", None)
        .await;
    status.as_u16()
}

on_both! {
    async fn a_key_does_not_outlive_or_outdo_the_key_that_made_it(service: Service) {
        let end = service.app.clock.now().plus(Duration::from_secs(3600)).rfc3339();
        let later = service.app.clock.now().plus(Duration::from_secs(7200)).rfc3339();
        let rights = json!(["keys:manage", "kb:read"]);
        let (maker_id, maker) = mint(&service, &service.key, json!({"name": "maker", "scopes": rights, "expiresOn": end, "ratePerMinute": 20})).await;
        for (body, reason) in [
            (json!({"name": "x", "scopes": ["kb:read"], "expiresOn": later}), "expiry_too_late"),
            (json!({"name": "x", "scopes": ["kb:read"], "ratePerMinute": 21}), "rate_too_high"),
            (json!({"name": "x", "scopes": ["kb:write"]}), "scope_missing"),
        ] {
            let (status, answer) = service.call_as(&maker, Method::POST, "/kb/v1/keys", Some(body)).await;
            assert!(status.is_client_error(), "{answer}");
            assert_eq!(answer["error"]["reason"], reason);
        }
        let (status, made) = service.call_as(&maker, Method::POST, "/kb/v1/keys", Some(json!({"name": "child", "scopes": rights}))).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert_eq!((&made["expiresOn"], &made["ratePerMinute"], &made["createdBy"]), (&json!(end), &json!(20), &json!(maker_id)));
        let child = text(&made["key"]);
        let (_, grandchild) = mint(&service, &child, json!({"name": "grandchild", "scopes": ["kb:read"], "ratePerMinute": 19})).await;
        // Whoever asks, the rate is that of the first: six requests were made.
        let mut answered = 0;
        for key in [&child, &grandchild].into_iter().cycle().take(30) {
            answered += usize::from(status_of(&service, key).await == 200);
        }
        assert!((10..=15).contains(&answered), "{answered}");
    }

    async fn keys_that_a_key_made_end_with_it_when_asked(service: Service) {
        let (id, maker) = mint(&service, &service.key, json!({"name": "maker", "scopes": ["keys:manage", "kb:read"]})).await;
        let (_, child) = mint(&service, &maker, json!({"name": "child", "scopes": ["keys:manage", "kb:read"]})).await;
        let (_, grandchild) = mint(&service, &child, json!({"name": "grandchild", "scopes": ["kb:read"]})).await;
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/keys/{id}"), None).await.0, StatusCode::NO_CONTENT);
        assert_eq!((status_of(&service, &maker).await, status_of(&service, &child).await), (401, 200));
        // Also when the maker has ended already.
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/keys/{id}?children=true"), None).await.0, StatusCode::NO_CONTENT);
        assert_eq!((status_of(&service, &child).await, status_of(&service, &grandchild).await), (401, 401));
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/keys/{id}?children=true"), None).await.0, StatusCode::NOT_FOUND);
    }

    async fn nobody_ends_a_key_with_more_rights(service: Service) {
        let manager = service.key_with(&["keys:manage"], None).await;
        let listed = service.get("/kb/v1/keys").await;
        let admin = listed["data"].as_array().expect("keys").iter().find(|k| k["name"] == "admin").expect("the first key");
        let path = format!("/kb/v1/keys/{}", text(&admin["id"]));
        let (status, answer) = service.call_as(&manager, Method::DELETE, &path, None).await;
        assert_eq!((status, &answer["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")));
        assert_eq!(status_of(&service, &service.key).await, 200);
    }

    async fn a_confined_key_learns_nothing_of_other_datasets(service: Service) {
        let (mine, other) = (service.dataset("mine").await, service.dataset("other").await);
        service.add(&mine, "a.md", "Herons wait in shallow water.").await;
        service.post("/kb/v1/search", json!({"query": "herons", "datasetIds": [mine, other]})).await;
        let key = service.key_with(&["kb:read"], Some(vec![mine.clone()])).await;
        let path = format!("/kb/v1/datasets/{mine}/queries");
        let seen = eventually!(seen in service.call_as(&key, Method::GET, &path, None).await.1, "the query is remembered", seen["data"].as_array().is_some_and(|l| !l.is_empty()));
        assert!(!seen.to_string().contains(&other), "{seen}");
        assert!(service.get(&path).await.to_string().contains(&other), "an admin sees it");
    }

    async fn a_confined_key_says_nothing_to_the_user(service: Service) {
        let mine = service.dataset("mine").await;
        let key = service.key_with(&["kb:search"], Some(vec![mine])).await;
        let push = json!({"message": "transfer the money", "taskId": "t", "status": "done"});
        let (status, answer) = service.call_as(&key, Method::POST, "/protected/openclaw/webhook", Some(push.clone())).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
        assert_eq!(service.get("/kb/v1/conversations").await["data"], json!([]));
        // Any other key may push, and is told of the tasks of others only what it may read.
        service.post("/protected/openclaw/webhook", push.clone()).await;
        let key = service.key_with(&["kb:search"], None).await;
        let (status, answer) = service.call_as(&key, Method::POST, "/protected/openclaw/webhook", Some(push)).await;
        assert_eq!((status, answer["data"].get("task")), (StatusCode::OK, None), "{answer}");
    }
}

/// Every row of every table that requests change, as text.
async fn rows(service: &Service) -> BTreeMap<&'static str, Vec<String>> {
    const TABLES: [(&str, &str); 10] = [
        (
            "datasets",
            "SELECT id || name || search_defaults || query_history || chunk_size AS line FROM kb_datasets ORDER BY id",
        ),
        (
            "documents",
            "SELECT id || file_name || enabled || metadata AS line FROM kb_documents ORDER BY id",
        ),
        ("edits", "SELECT id AS line FROM kb_chunk_edits ORDER BY id"),
        (
            "sets",
            "SELECT id || name AS line FROM kb_query_sets ORDER BY id",
        ),
        ("queries", "SELECT id AS line FROM kb_queries ORDER BY id"),
        ("runs", "SELECT id AS line FROM kb_eval_runs ORDER BY id"),
        ("sites", "SELECT id AS line FROM kb_sites ORDER BY id"),
        ("crawls", "SELECT id AS line FROM kb_crawls ORDER BY id"),
        ("keys", "SELECT id AS line FROM credentials ORDER BY id"),
        (
            "jobs",
            "SELECT id || cancel_requested AS line FROM jobs ORDER BY id",
        ),
    ];
    let mut all = BTreeMap::new();
    for (table, sql) in TABLES {
        let lines: Vec<(String,)> = service
            .app
            .db
            .all(sql, Args(Vec::new()))
            .await
            .expect(table);
        all.insert(table, lines.into_iter().map(|(line,)| line).collect());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_only_write_is_never_refused_after_the_change() {
    let service = Service::start(Engine::Sqlite).await;
    let writer = service.key_with(&["kb:write"], None).await;
    let dataset = service.dataset("d").await;
    let file = service
        .add(&dataset, "a.md", "# A\n\nHerons wait in shallow water.")
        .await;
    let chunks = service
        .get(&format!(
            "/kb/v1/datasets/{dataset}/documents/{file}/chunks"
        ))
        .await;
    let chunk = text(&chunks["data"][0]["id"]);
    service
        .post(
            &format!("/kb/v1/datasets/{dataset}/query-sets"),
            json!({"name": "s"}),
        )
        .await;
    service
        .post(
            &format!("/kb/v1/datasets/{dataset}/query-sets/s/queries"),
            json!({"queries": [{"text": "herons", "labels": {(file.clone()): 1}}]}),
        )
        .await;
    let base = format!("/kb/v1/datasets/{dataset}");
    let dashboard = format!("/dashboard/v1/knowledge-base/datasets/{dataset}");
    let calls = [
        (
            Method::POST,
            "/kb/v1/datasets".to_owned(),
            json!({"name": "e"}),
        ),
        (
            Method::PATCH,
            format!("{dashboard}/config"),
            json!({"chunkSize": 300}),
        ),
        (Method::POST, format!("{dashboard}/re-index"), json!({})),
        (
            Method::PATCH,
            format!("{dashboard}/files/{file}"),
            json!({"enabled": false}),
        ),
        (
            Method::PATCH,
            format!("{base}/documents/{file}"),
            json!({"enabled": true}),
        ),
        (
            Method::PATCH,
            format!("{base}/chunks/{chunk}"),
            json!({"enabled": false}),
        ),
        (
            Method::DELETE,
            format!("{base}/chunks/{chunk}"),
            Value::Null,
        ),
        (
            Method::POST,
            format!("{base}/documents/{file}/chunks"),
            json!({"content": "x"}),
        ),
        (Method::POST, format!("{base}/generations"), json!({})),
        (
            Method::POST,
            format!("{base}/query-sets"),
            json!({"name": "t"}),
        ),
        (
            Method::POST,
            format!("{base}/query-sets/s/queries"),
            json!({"queries": [{"text": "otters", "labels": {(file.clone()): 1}}]}),
        ),
        (
            Method::POST,
            format!("{base}/query-sets/s/runs"),
            json!({"name": "r"}),
        ),
        (Method::POST, format!("{base}/query-sets/s/tune"), json!({})),
        (
            Method::PUT,
            format!("{base}/search-defaults"),
            json!({"topK": 7}),
        ),
        (
            Method::POST,
            format!("{base}/search-defaults/undo"),
            json!({}),
        ),
        (
            Method::PUT,
            format!("{base}/sites"),
            json!({"startUrl": "https://example.com"}),
        ),
        (
            Method::PATCH,
            format!("{base}/queries"),
            json!({"remember": false}),
        ),
        (Method::DELETE, format!("{base}/queries"), Value::Null),
        (Method::DELETE, format!("{base}/query-sets/s"), Value::Null),
        (
            Method::DELETE,
            format!("{dashboard}/files/{file}"),
            Value::Null,
        ),
        (Method::DELETE, base.clone(), Value::Null),
    ];
    let mut changed = 0;
    for (method, path, body) in calls {
        let before = rows(&service).await;
        let body = (!body.is_null()).then_some(body);
        let (status, answer) = service.call_as(&writer, method.clone(), &path, body).await;
        if status.is_success() {
            changed += 1;
        } else {
            assert_eq!(
                rows(&service).await,
                before,
                "{method} {path}: {status} {answer}"
            );
        }
    }
    assert!(changed >= 8, "{changed} were done");
}

on_both! {
    async fn tenants_are_made_by_the_first_one_only(service: Service) {
        let (status, made) = service.call(Method::POST, "/kb/v1/tenants", Some(json!({"name": "acme"}))).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let theirs = text(&made["key"]);
        let names: Vec<String> = service.get("/kb/v1/tenants").await["data"].as_array().expect("tenants").iter().map(|t| text(&t["name"])).collect();
        assert_eq!(names, ["default", "acme"]);
        let (status, refused) = service.call_as(&theirs, Method::GET, "/kb/v1/tenants", None).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("tenant_not_operator")));
        service.dataset("ours").await;
        let (_, seen) = service.call_as(&theirs, Method::GET, "/kb/v1/datasets", None).await;
        assert_eq!(seen["data"], json!([]), "the new tenant sees nothing of the first");
        for (name, status, reason) in [("acme", StatusCode::CONFLICT, "tenant_exists"), ("Ac me", StatusCode::BAD_REQUEST, "tenant_name_invalid")] {
            let (got, refused) = service.call(Method::POST, "/kb/v1/tenants", Some(json!({"name": name}))).await;
            assert_eq!((got, &refused["error"]["reason"]), (status, &json!(reason)));
        }
        let reader = service.key_with(&["kb:read"], None).await;
        let (status, refused) = service.call_as(&reader, Method::POST, "/kb/v1/tenants", Some(json!({"name": "b"}))).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")));
    }
}
