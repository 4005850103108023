//! What clients of the workspace rely on that its seed does not say: keys of idempotency in bodies, the errors' vocabulary, modules, names of linked companies, MCP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

/// The data of a request that succeeds.
async fn done(service: &Service, method: Method, path: &str, body: Value) -> Value {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = service
        .call_as(&service.key, method, &format!("/v1{path}"), body)
        .await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer["data"].clone()
}

/// The error of a request that is refused.
async fn fault(
    service: &Service,
    key: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = service
        .call_as(key, method, &format!("/v1{path}"), body)
        .await;
    assert!(!status.is_success(), "{path}: {answer}");
    (status.as_u16(), answer["error"].clone())
}

async fn tool(service: &Service, key: &str, name: &str, arguments: Value) -> (Value, bool) {
    service.mcp_tool("/mcp/slab5", key, name, arguments).await
}

on_both! {
    async fn a_key_in_the_body_makes_a_write_safe_to_repeat(service: Service) {
        let body = json!({"name": "Jane", "idempotency_key": "one"});
        let first = done(&service, Method::POST, "/contacts", body.clone()).await;
        let second = done(&service, Method::POST, "/contacts", body).await;
        assert_eq!((&second["id"], first.get("idempotency_key")), (&first["id"], None));
        let (status, error) = fault(&service, &service.key, Method::POST, "/contacts", json!({"name": "Joe", "idempotency_key": "one"})).await;
        assert_eq!((status, &error["code"], &error["idempotency_key"]), (409, &json!("idempotency_conflict"), &json!("one")));
    }

    async fn a_key_in_the_header_wins_over_one_in_the_body(service: Service) {
        let send = async |header: &str, member: &str| -> Value {
            let request = service.http.post(format!("{}/v1/companies", service.url)).bearer_auth(&service.key).header("Idempotency-Key", header);
            let response = request.json(&json!({"name": "Acme", "idempotency_key": member})).send().await.expect("an answer");
            response.json::<Value>().await.expect("JSON")["data"]["id"].clone()
        };
        assert_eq!(send("one", "a").await, send("one", "b").await);
        assert_ne!(send("one", "a").await, send("two", "a").await);
    }

    async fn errors_speak_the_vocabulary_of_the_contract(service: Service) {
        let reader = service.key_with(&["crm:read"], None).await;
        let (status, error) = fault(&service, &reader, Method::POST, "/contacts", json!({"name": "x"})).await;
        assert_eq!((status, &error["code"], &error["required_scope"]), (403, &json!("missing_required_scope"), &json!("crm:write")));
        assert!(error["request_id"].as_str().is_some_and(|id| id.starts_with("req_")));
        assert_eq!(error["docs_url"], "https://docs.slab5.com/api/errors#missing_required_scope");
        let (status, error) = fault(&service, &service.key, Method::POST, "/contacts", json!({"email": "no", "custom_fields": 7})).await;
        let fields: Vec<&str> = error["field_errors"].as_array().expect("fields").iter().filter_map(|f| f["field"].as_str()).collect();
        assert_eq!((status, &error["code"], fields), (400, &json!("validation_failed"), vec!["name", "email", "custom_fields"]));
        let (status, error) = fault(&service, &service.key, Method::PATCH, "/deals/deal_nowhere", json!({"name": "x"})).await;
        assert_eq!((status, &error["code"]), (404, &json!("resource_not_found")));
        let (status, error) = fault(&service, "cairn_wrong", Method::GET, "/contacts", Value::Null).await;
        assert_eq!((status, &error["code"]), (401, &json!("unauthorized")));
    }

    async fn a_module_that_is_off_refuses_and_keeps_its_records(service: Service) {
        let ticket = done(&service, Method::POST, "/support/tickets", json!({"subject": "The lantern flickers"})).await;
        let set = async |on: bool| service.call(Method::PUT, "/kb/v1/modules/support", Some(json!({"enabled": on}))).await;
        let (status, modules) = set(false).await;
        assert_eq!(status, StatusCode::OK, "{modules}");
        let (status, error) = fault(&service, &service.key, Method::GET, "/support/tickets", Value::Null).await;
        assert_eq!((status, &error["code"]), (403, &json!("module_not_enabled")));
        let workspace = done(&service, Method::GET, "/workspace", Value::Null).await;
        let enabled = workspace["enabled_modules"].as_array().expect("modules");
        assert!(!enabled.contains(&json!("support")) && enabled.contains(&json!("crm")), "{workspace}");
        let (status, answer) = service.call(Method::POST, "/kb/v1/keys", Some(json!({"name": "x", "scopes": ["support:read"]}))).await;
        assert_eq!((status, &answer["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("module_disabled")));
        assert_eq!(set(true).await.0, StatusCode::OK);
        assert_eq!(done(&service, Method::GET, "/support/tickets", Value::Null).await[0]["id"], ticket["id"]);
    }

    async fn a_contact_is_found_by_the_name_of_its_company(service: Service) {
        let company = done(&service, Method::POST, "/companies", json!({"name": "Northstar Studio"})).await;
        let contact = done(&service, Method::POST, "/contacts", json!({"name": "Jane", "company_id": company["id"]})).await;
        assert_eq!(done(&service, Method::GET, "/contacts?query=jane%20northst", Value::Null).await[0]["id"], contact["id"]);
        let other = done(&service, Method::POST, "/companies", json!({"name": "Polaris"})).await;
        assert_eq!(contact["company_name"], "Northstar Studio");
        let ticket = done(&service, Method::POST, "/support/tickets", json!({"subject": "Invoice", "company_id": company["id"]})).await;
        let moved = done(&service, Method::PATCH, &format!("/support/tickets/{}", text(&ticket["id"])), json!({"company_id": other["id"]})).await;
        assert_eq!(moved["company_name"], "Polaris");
        assert_eq!(done(&service, Method::GET, "/support/tickets?query=northstar", Value::Null).await, json!([]));
        assert_eq!(done(&service, Method::GET, "/support/tickets?query=polaris", Value::Null).await[0]["id"], ticket["id"]);
    }

    async fn a_tool_answers_with_addresses_that_can_be_called(service: Service) {
        let arguments = json!({"asset_type": "document", "file_name": "sky.md", "mime_type": "text/markdown"});
        let (asset, wrong) = tool(&service, &service.key, "create_asset_upload_intent", arguments).await;
        assert!(!wrong, "{asset}");
        let sent = service.http.put(text(&asset["data"]["upload_url"])).body("# Sky").send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::OK);
    }

    async fn every_operation_is_a_tool(service: Service) {
        let listed = service.mcp_call("/mcp/slab5", &service.key, "tools/list", json!({})).await;
        let tools = listed["result"]["tools"].as_array().expect("tools").clone();
        let document = service.get("/openapi.json").await;
        let operations: usize = document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.starts_with("/v1/"))
            .map(|(_, item)| item.as_object().map_or(0, serde_json::Map::len)).sum();
        // Bytes of uploads and downloads go by their own addresses.
        assert!(tools.len() >= 75 && tools.len() <= operations, "{} {operations}", tools.len());
    }

    async fn a_tool_called_twice_with_a_key_writes_once(service: Service) {
        let arguments = json!({"name": "Jane", "idempotency_key": "one"});
        let (made, wrong) = tool(&service, &service.key, "create_contact", arguments.clone()).await;
        assert!(!wrong, "{made}");
        let (again, _) = tool(&service, &service.key, "create_contact", arguments).await;
        assert_eq!(again, made);
        let contacts = done(&service, Method::GET, "/contacts", Value::Null).await;
        assert_eq!((contacts.as_array().map(Vec::len), &contacts[0]["id"]), (Some(1), &made["data"]["id"]));
    }

    async fn a_tool_finds_what_another_made(service: Service) {
        let (made, wrong) = tool(&service, &service.key, "create_contact", json!({"name": "Jane"})).await;
        assert!(!wrong, "{made}");
        let (found, _) = tool(&service, &service.key, "list_contacts", json!({"query": "jan", "limit": 5})).await;
        assert_eq!(found["data"][0]["id"], made["data"]["id"]);
    }

    async fn a_tool_changes_what_its_arguments_name(service: Service) {
        let (task, _) = tool(&service, &service.key, "create_task", json!({"title": "Call Jane"})).await;
        let (over, wrong) = tool(&service, &service.key, "update_task", json!({"task_id": task["data"]["id"], "status": "completed", "completed_note": "done"})).await;
        assert_eq!((wrong, &over["data"]["status"]), (false, &json!("completed")));
    }

    async fn a_tool_refuses_what_the_key_may_not(service: Service) {
        let reader = service.key_with(&["crm:read"], None).await;
        let (error, wrong) = tool(&service, &reader, "create_contact", json!({"name": "x"})).await;
        assert_eq!((wrong, &error["error"]["code"]), (true, &json!("missing_required_scope")));
    }
}
