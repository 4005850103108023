//! The OpenAPI document and the pages that need no key.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Engine, Service};

/// Operations of the contract that are served, by method and path.
const CONTRACT: [(&str, &str); 9] = [
    ("get", "/dashboard/v1/knowledge-base/datasets"),
    ("get", "/dashboard/v1/knowledge-base/datasets/{datasetId}"),
    (
        "post",
        "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/upload",
    ),
    (
        "delete",
        "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}",
    ),
    (
        "patch",
        "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}",
    ),
    (
        "get",
        "/dashboard/v1/knowledge-base/datasets/{datasetId}/files/{fileId}/status",
    ),
    (
        "patch",
        "/dashboard/v1/knowledge-base/datasets/{datasetId}/config",
    ),
    (
        "post",
        "/dashboard/v1/knowledge-base/datasets/{datasetId}/re-index",
    ),
    ("post", "/dashboard/v1/knowledge-base/search"),
];

/// Two types of one name would silently become one schema.
#[test]
fn no_two_schemas_share_a_name() {
    let mut owners: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in ignore::Walk::new(root) {
        let path = entry.expect("readable").into_path();
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("readable");
        for part in source.split("#[derive(").skip(1) {
            let Some((derives, rest)) = part.split_once(")]") else {
                continue;
            };
            if !derives.contains("ToSchema") {
                continue;
            }
            let head = rest.split('{').next().unwrap_or_default();
            let renamed = head
                .split_once("schema(as = ")
                .and_then(|(_, name)| name.split(')').next());
            let words: Vec<&str> = head.split_whitespace().collect();
            let at = words.iter().position(|w| ["struct", "enum"].contains(w));
            let declared = at.and_then(|at| words.get(at + 1).copied());
            let name = renamed.or(declared).expect("a name").to_owned();
            if let Some(other) = owners.insert(name.clone(), path.display().to_string()) {
                panic!("{name} is a schema of {other} and of {}", path.display());
            }
        }
    }
    assert!(owners.len() > 60, "{}", owners.len());
}

/// What a schema says of names is what is sent.
#[test]
fn events_are_documented_as_they_are_sent() {
    let document = serde_json::to_value(cairn::api::openapi()).expect("JSON");
    let sent = serde_json::to_value(cairn::events::Event::DatasetDeleted {
        dataset_id: "x".to_owned(),
    })
    .expect("JSON");
    let variants = document["components"]["schemas"]["Event"]["oneOf"]
        .as_array()
        .expect("variants");
    let named = |variant: &Value| {
        let name = variant["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        document["components"]["schemas"][name.expect("a named variant")].clone()
    };
    let variants: Vec<Value> = variants.iter().map(named).collect();
    let told = variants
        .iter()
        .find(|v| v["properties"]["topic"]["enum"][0] == sent["topic"])
        .expect("its variant");
    let names =
        |v: &Value| -> Vec<String> { v.as_object().expect("fields").keys().cloned().collect() };
    assert_eq!(names(&told["properties"]).len(), names(&sent).len());
    assert!(told["properties"]["datasetId"].is_object(), "{told}");
    assert!(
        !variants
            .iter()
            .any(|v| names(&v["properties"]).iter().any(|n| n.contains('_'))),
        "{variants:?}"
    );
}

#[test]
fn operations_have_unique_ids_and_responses_are_described() {
    let document = serde_json::to_value(cairn::api::openapi()).expect("JSON");
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let described = response["description"].as_str();
                assert!(
                    described.is_some_and(|d| !d.trim().is_empty()),
                    "{method} {path} {status}"
                );
            }
        }
    }
}

#[test]
fn every_body_of_the_own_api_has_an_example_with_known_fields() {
    let document = serde_json::to_value(cairn::api::openapi()).expect("JSON");
    let resolved = |schema: &Value| -> Value {
        let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        name.map_or(schema.clone(), |name| {
            document["components"]["schemas"][name].clone()
        })
    };
    let fields = |schema: &Value| -> Vec<String> {
        let schema = resolved(schema);
        let parts = schema["allOf"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![schema.clone()]);
        let of = |part: &Value| {
            resolved(part)["properties"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        };
        parts.iter().flat_map(of).map(|(name, _)| name).collect()
    };
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let content = &operation["requestBody"]["content"]["application/json"];
            if !path.starts_with("/kb/v1") || content.is_null() {
                continue;
            }
            let known = fields(&content["schema"]);
            let example = content["example"].as_object();
            let example = example.unwrap_or_else(|| panic!("{method} {path} has no example"));
            for name in example.keys() {
                assert!(
                    known.contains(name),
                    "{method} {path}: {name} is none of {known:?}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn every_tag_is_described() {
    let document = serde_json::to_value(cairn::api::openapi()).expect("JSON");
    let described: Vec<&str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("operations").values() {
            for tag in operation["tags"].as_array().expect("tags") {
                assert!(
                    described.contains(&tag.as_str().expect("a name")),
                    "{path}: {tag}"
                );
            }
        }
    }
}

#[test]
fn every_handler_is_documented() {
    let document = serde_json::to_value(cairn::api::openapi()).expect("JSON");
    for (method, path) in CONTRACT {
        assert!(
            document["paths"][path][method].is_object(),
            "{method} {path}"
        );
    }
    // Handlers are the functions behind `routes!`; each of them has to have become an operation.
    let mut handlers = 0;
    for file in [
        "src/api/leadmetrics/mod.rs",
        "src/api/leadmetrics/files.rs",
        "src/api/smartsaas/mod.rs",
        "src/api/native/mod.rs",
        "src/api/clawcrm/mod.rs",
        "src/api/dify.rs",
        "src/api/langserve.rs",
        "src/api/ragflow.rs",
        "src/api/openai/mod.rs",
        "src/api/rerank.rs",
        "src/api/native/chunks.rs",
        "src/api/native/crawls.rs",
        "src/api/native/sources.rs",
        "src/api/native/evaluation/mod.rs",
        "src/api/native/generations.rs",
        "src/api/mission_control/mod.rs",
        "src/api/system.rs",
    ] {
        let source = std::fs::read_to_string(file).expect("tests run in the checkout");
        handlers += source
            .split("routes!(")
            .skip(1)
            .map(|rest| {
                rest.split(')')
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .count()
            })
            .sum::<usize>();
        assert!(
            !source.contains(".route("),
            "{file} adds a route past the document"
        );
    }
    // Dialects with a table of operations are documented from the table that their routes are made of: its rows are the expressions of its static slices.
    let row = regex::Regex::new(r"(?m)^    (?:Operation::)?[a-z_]+\(").expect("a pattern");
    for dialect in [
        "leadmetrics",
        "slab5",
        "smartsaas",
        "clawcrm",
        "mission_control",
    ] {
        let source = std::fs::read_to_string(format!("src/api/{dialect}/operations.rs"))
            .expect("tests run in the checkout");
        let tables = source.split("static ").skip(1);
        handlers += tables
            .filter(|t| t.contains("&[Operation] = &["))
            .map(|table| row.find_iter(table).count())
            .sum::<usize>();
    }
    let operations: usize = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .map(|item| item.as_object().map_or(0, serde_json::Map::len))
        .sum();
    assert_eq!(operations, handlers);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{method} {path} has no description"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_documentation_need_no_key_and_no_network() {
    let service = Service::start(Engine::Sqlite).await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs/"] {
        let response = reqwest::get(format!("{}{path}", service.url))
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(
            response.headers()["x-request-id"]
                .to_str()
                .expect("text")
                .starts_with("req_")
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let body = response.text().await.expect("a body");
        assert!(
            !body.contains("src=\"http") && !body.contains("href=\"http"),
            "{path} loads from elsewhere"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_in_the_envelope() {
    let service = Service::start(Engine::Sqlite).await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", service.url);
    let json = |request: reqwest::RequestBuilder| {
        request
            .header("content-type", "application/json")
            .bearer_auth(&service.key)
    };
    for (request, status, reason) in [
        (http.get(url("/nothing/here")), 404, "route_unknown"),
        (http.put(url("/kb/v1/search")), 405, "method_not_allowed"),
        (
            json(http.post(url("/kb/v1/search"))).body("{not json"),
            400,
            "body_invalid",
        ),
        (
            http.post(url("/kb/v1/search"))
                .bearer_auth(&service.key)
                .body("{}"),
            400,
            "content_type_wrong",
        ),
        (
            json(http.get(url("/kb/v1/datasets?limit=0"))),
            400,
            "limit_out_of_range",
        ),
        (
            json(http.get(url("/kb/v1/datasets?limit=many"))),
            400,
            "parameter_invalid",
        ),
        (
            json(http.get(url("/kb/v1/datasets?cursor=%25"))),
            400,
            "cursor_invalid",
        ),
    ] {
        let response = request
            .header("x-request-id", "my-request-1")
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{reason}");
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(
            (&body["error"]["reason"], &body["error"]["requestId"]),
            (&Value::from(reason), &Value::from("my-request-1"))
        );
        assert!(body["error"]["code"].is_string() && body["error"]["message"].is_string());
    }
}
