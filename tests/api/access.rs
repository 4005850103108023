//! Who may do what: missing and wrong keys, other tenants, scopes, confinement, expiry, rates.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Engine, Service, text};

/// Operations that need no key. The list only shrinks.
const OPEN: [&str; 5] = [
    "/healthz",
    "/health",
    "/readyz",
    "/api/openclaw/signup",
    "/dashboard/v1/channels/callback",
];

/// A path whose parameters are ids of nothing.
fn with_uuids(path: &str) -> String {
    let mut filled = String::new();
    for segment in path.split_inclusive('/') {
        let end = if segment.ends_with('/') { "/" } else { "" };
        if segment.starts_with('{') {
            filled.push_str(&format!("00000000-0000-0000-0000-000000000001{end}"));
        } else {
            filled.push_str(segment);
        }
    }
    filled
}

/// Every operation of the OpenAPI document, with a value for each parameter of its path.
async fn operations(service: &Service, dataset: &str) -> Vec<(Method, String, String)> {
    let document = service.get("/openapi.json").await;
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item
            .as_object()
            .expect("operations")
            .keys()
            .filter(|k| ["get", "post", "patch", "put", "delete"].contains(&k.as_str()))
        {
            let filled = path
                .replace("{datasetId}", dataset)
                .replace("{fileId}", "x")
                .replace("{documentId}", "x")
                .replace("{chunkId}", "x")
                .replace("{editId}", "x")
                .replace("{number}", "1")
                .replace("{keyId}", "x")
                .replace("{jobId}", "x")
                .replace("{queryId}", "x")
                .replace("{querySetId}", "x")
                .replace("{runId}", "x")
                .replace("{id}", "x")
                .replace("{rowId}", "x")
                .replace("{userId}", "x")
                .replace("{inviteId}", "x")
                .replace("{agentId}", "x")
                .replace("{lead_id}", "x")
                .replace("{deal_id}", "x")
                .replace("{ticket_id}", "x")
                .replace("{task_id}", "x")
                .replace("{entry_id}", "x")
                .replace("{asset_id}", "x")
                .replace("{webhook_id}", "x")
                .replace("{delivery_id}", "x")
                .replace("{collection}", "reports")
                .replace("{kind}", "email")
                .replace("{projectId}", "x")
                .replace("{wpId}", "x")
                .replace("{taskId}", "x")
                .replace("{conversationId}", "x")
                .replace("{module}", "crm")
                .replace("{siteId}", "x")
                .replace("{crawlId}", "x")
                .replace("{sourceId}", "x")
                .replace("{syncId}", "x")
                .replace("{crawlJobId}", "x")
                .replace("{leadId}", "x")
                .replace("{campaignId}", "x")
                .replace("{deliverableId}", "x")
                .replace("{activityId}", "x")
                .replace("{approvalId}", "x")
                .replace("{platform}", "linkedin")
                .replace("{channelId}", "x")
                .replace("{importId}", "x")
                .replace("{agentRole}", "copywriter")
                .replace("{skillId}", "x")
                .replace("{termId}", "x")
                .replace("{reportId}", "x")
                .replace("{integrationId}", "x")
                .replace("{model}", "x")
                .replace("{file_id}", "x")
                .replace("{vector_store_id}", dataset)
                .replace("{dataset}", dataset)
                .replace("{tenantId}", "x")
                .replace("{batch_id}", "x");
            // Boards name their parameters as the contract does.
            let filled = if path.starts_with("/api/v1/") {
                with_uuids(&filled)
            } else {
                filled
            };
            assert!(
                !filled.contains('{'),
                "{path} has a parameter this test does not know"
            );
            all.push((
                Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method"),
                path.clone(),
                filled,
            ));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_refuses_strangers() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("mine").await;
    let stranger = service.stranger().await;
    let http = reqwest::Client::new();
    let all = operations(&service, &dataset).await;
    assert!(all.len() >= 25, "{} operations", all.len());
    for (method, path, filled) in all
        .iter()
        .filter(|(_, path, _)| !OPEN.contains(&path.as_str()))
        // Services that post to a board have no key; the webhook decides.
        .filter(|(method, path, _)| {
            *method != Method::POST || !path.ends_with("/webhooks/{webhook_id}")
        })
        // Signing in is for those who are not signed in.
        .filter(|(method, path, _)| (method, path.as_str()) != (&Method::POST, "/kb/v1/session"))
    {
        let url = format!("{}{filled}", service.url);
        for header in [
            None,
            Some("Bearer nonsense"),
            Some("Bearer"),
            Some("Basic eDp5"),
        ] {
            let mut request = http.request(method.clone(), &url);
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let response = request.send().await.expect("an answer");
            // Dify understands no other status.
            let refused = if path.starts_with("/dify/") {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::UNAUTHORIZED
            };
            assert_eq!(
                response.status(),
                refused,
                "{method} {path} with {header:?}"
            );
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let body: Value = response.json().await.expect("JSON");
            if path.starts_with("/api/v1/") {
                assert!(
                    body["detail"].is_string() && body["request_id"].is_string(),
                    "{method} {path}: {body}"
                );
                continue;
            }
            if path.starts_with("/openai/") {
                assert_eq!(
                    body["error"]["type"], "authentication_error",
                    "{method} {path}"
                );
                continue;
            }
            // The workspace has its own vocabulary of errors, in lower case.
            let expected = if path.starts_with("/v1/") {
                "unauthorized"
            } else {
                "UNAUTHORIZED"
            };
            assert_eq!(body["error"]["code"], expected, "{method} {path}");
        }
        if path.contains("{vector_store_id}") {
            let body = json!({"query": "x", "file_id": "file-x", "file_ids": ["file-x"], "attributes": {}});
            let (status, answer) = service
                .call_as(&stranger, method.clone(), filled, Some(body))
                .await;
            let kind = &answer["error"]["type"];
            assert_eq!(
                (status, kind),
                (StatusCode::NOT_FOUND, &json!("not_found_error")),
                "{method} {path} by another tenant: {answer}"
            );
        }
        if path.contains("{datasetId}") {
            let body = match path.rsplit('/').next() {
                Some("sites" | "crawl" | "scope") => json!({"startUrl": "https://example.com"}),
                Some("schedule") => json!({"schedule": "weekly"}),
                Some("vectors") => json!({"model": "x", "vectors": []}),
                Some("sources") => {
                    json!({"name": "x", "settings": {"kind": "feed", "url": "https://example.com"}})
                }
                Some("crawls") => json!({}),
                _ => json!({"name": "x", "query": "x", "enabled": false, "datasetIds": [dataset]}),
            };
            let (status, answer) = service
                .call_as(&stranger, method.clone(), filled, Some(body))
                .await;
            // Uploads are forms, which this body is not; the dataset is looked at first all the same.
            assert_eq!(
                (status, &answer["error"]["code"]),
                (StatusCode::NOT_FOUND, &json!("NOT_FOUND")),
                "{method} {path} by another tenant"
            );
        }
    }
    let (_, list) = service
        .call_as(&stranger, Method::GET, "/kb/v1/datasets", None)
        .await;
    assert_eq!(list["data"], json!([]));
    let (status, _) = service
        .call_as(
            &stranger,
            Method::POST,
            "/kb/v1/search",
            Some(json!({"query": "x", "datasetIds": [dataset]})),
        )
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

on_both! {
    async fn keys_do_what_their_scopes_say_and_end_when_revoked(service: Service) {
        let dataset = service.dataset("d").await;
        let file = service.add(&dataset, "a.txt", "Gannets nest on the cliff.").await;
        let reader = service.key_with(&["kb:read"], None).await;
        let searcher = service.key_with(&["kb:search"], None).await;
        let search = json!({"query": "gannets", "datasetIds": [dataset]});
        for key in [&reader, &searcher] {
            assert_eq!(service.call_as(key, Method::POST, "/kb/v1/search", Some(search.clone())).await.0, StatusCode::OK);
            let (status, body) = service.call_as(key, Method::DELETE, &format!("/dashboard/v1/knowledge-base/datasets/{dataset}/files/{file}"), None).await;
            assert_eq!((status, &body["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")));
            assert_eq!(service.call_as(key, Method::GET, "/kb/v1/keys", None).await.0, StatusCode::FORBIDDEN);
        }
        assert_eq!(service.call_as(&searcher, Method::GET, "/kb/v1/datasets", None).await.0, StatusCode::FORBIDDEN);
        let manager = service.key_with(&["keys:manage"], None).await;
        let (status, body) = service.call_as(&manager, Method::POST, "/kb/v1/keys", Some(json!({"name": "more", "scopes": ["kb:write"]}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")), "no key makes a mightier one");

        let listed = service.get("/kb/v1/keys").await;
        let records = listed["data"].as_array().expect("keys");
        assert!(records.iter().all(|k| k.get("key").is_none() && k.get("hash").is_none()), "secrets are never listed");
        let id = text(&records.iter().find(|k| k["scopes"] == json!(["kb:read"])).expect("the reader")["id"]);
        assert!(records.iter().any(|k| k["lastUsedOn"].is_string()));
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/keys/{id}"), None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(service.call_as(&reader, Method::POST, "/kb/v1/search", Some(search)).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(service.call(Method::DELETE, &format!("/kb/v1/keys/{id}"), None).await.0, StatusCode::NOT_FOUND);
    }

    async fn a_confined_key_sees_its_dataset_only(service: Service) {
        let mine = service.dataset("mine").await;
        let other = service.dataset("other").await;
        let key = service.key_with(&["kb:*"], Some(vec![mine.clone()])).await;
        let (_, list) = service.call_as(&key, Method::GET, "/kb/v1/datasets", None).await;
        assert_eq!(list["data"].as_array().expect("datasets").iter().map(|d| text(&d["id"])).collect::<Vec<_>>(), std::slice::from_ref(&mine));
        assert_eq!(service.call_as(&key, Method::GET, &format!("/dashboard/v1/knowledge-base/datasets/{other}"), None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(service.call_as(&key, Method::POST, "/kb/v1/search", Some(json!({"query": "x", "datasetIds": [mine, other]}))).await.0, StatusCode::NOT_FOUND);
        let (status, body) = service.call_as(&key, Method::POST, "/kb/v1/datasets", Some(json!({"name": "new"}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("key_confined")));
    }

    async fn expiry_and_rate_are_kept(service: Service) {
        let (status, body) = service.call(Method::POST, "/kb/v1/keys", Some(json!({"name": "old", "scopes": ["kb:read"], "expiresOn": "2020-01-01T00:00:00Z"}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("expiry_past")));
        let slow = text(&service.post("/kb/v1/keys", json!({"name": "slow", "scopes": ["kb:read"], "ratePerMinute": 3})).await["key"]);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(service.call_as(&slow, Method::GET, "/kb/v1/datasets", None).await.0.as_u16());
        }
        assert_eq!(statuses, [200, 200, 200, 429]);
        let soon = service.app.clock.now().plus(std::time::Duration::from_millis(300));
        let brief = text(&service.post("/kb/v1/keys", json!({"name": "brief", "scopes": ["kb:read"], "expiresOn": soon.rfc3339()})).await["key"]);
        crate::eventually!("it has expired", service.app.clock.now() > soon);
        assert_eq!(service.call_as(&brief, Method::GET, "/kb/v1/datasets", None).await.0, StatusCode::UNAUTHORIZED);
    }
}
