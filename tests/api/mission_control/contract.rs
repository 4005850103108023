//! The document against the contract: our own copy of its shapes, made from the types of the program, and answers against the document.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::BASE;
use crate::support::text;

/// Every operation of the dialect, as method and path.
pub fn operations(document: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if path.starts_with(&format!("{BASE}/")) {
            let methods = item.as_object().expect("operations").keys();
            all.extend(methods.map(|m| format!("{} {path}", m.to_uppercase())));
        }
    }
    all
}

/// The schema of the answer of an operation.
pub fn answer(document: &Value, method: &str, path: &str) -> Value {
    let operation = &document["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {path} is not documented");
    operation["responses"]["200"]["content"]["application/json"]["schema"].clone()
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return resolved(document, &document["components"]["schemas"][name]);
    }
    match schema["allOf"].as_array().map(Vec::as_slice) {
        Some([one]) => resolved(document, one),
        _ => schema,
    }
}

/// Checks a value against a schema, and notes what does not fit.
pub fn check(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = resolved(document, schema);
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any.iter().any(|one| {
            let mut inner = Vec::new();
            check(document, one, value, at, &mut inner);
            inner.is_empty()
        });
        if !fits {
            faults.push(format!("{at}: {value} fits none of {schema}"));
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => true,
    };
    // An absent member that need not be there is written as null.
    if !fits {
        faults.push(format!("{at}: {value} is no {}", schema["type"]));
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        faults.push(format!("{at}: {value} is none of {words:?}"));
    }
    match (schema["format"].as_str(), value.as_str()) {
        (Some("uuid"), Some(id)) if id.len() != 36 => faults.push(format!("{at}: {id} is no UUID")),
        (Some("date-time"), Some(time)) if time.len() != 26 || time.ends_with('Z') => {
            faults.push(format!("{at}: {time} is no time without a zone"));
        }
        _ => {}
    }
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item, &format!("{at}[]"), faults);
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().expect("a name")).is_none() {
            faults.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, schema) in properties {
        if let Some(value) = value.get(name) {
            check(document, schema, value, &format!("{at}.{name}"), faults);
        }
    }
    for name in value.as_object().into_iter().flat_map(Map::keys) {
        if !properties.contains_key(name) {
            faults.push(format!("{at}: {name} is not in the contract"));
        }
    }
}

/// A type in one word, as both documents can say it.
fn word(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().expect("a name").to_owned();
    }
    for of in ["anyOf", "allOf"] {
        if let Some(list) = schema[of].as_array() {
            let mut words: Vec<String> = list.iter().map(word).collect();
            words.sort();
            // The original lists every type that JSON has.
            return if words.len() > 5 {
                "any|null".to_owned()
            } else {
                words.join("|")
            };
        }
    }
    let kind = schema["type"].as_str().unwrap_or("any");
    match kind {
        "array" => format!("[{}]", word(&schema["items"])),
        "string" => {
            let format = schema["format"].as_str().map(|f| format!(":{f}"));
            let mut words: Vec<String> = schema["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect();
            words.extend(schema["const"].as_str().map(str::to_owned));
            let words = if words.is_empty() {
                String::new()
            } else {
                format!("({})", words.join(","))
            };
            format!("string{}{words}", format.unwrap_or_default())
        }
        other => other.to_owned(),
    }
}

/// The shapes of a document: for each schema the types of its members, with a star for those that are always there; for each operation body, answer and tags.
fn shapes(document: &Value) -> Value {
    let mut schemas = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut operations = Map::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if !path.starts_with(&format!("{BASE}/")) {
            continue;
        }
        for (method, operation) in item.as_object().expect("operations") {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let responses = &operation["responses"];
            let answer = ["200", "202"]
                .iter()
                .find(|s| !responses[**s].is_null())
                .expect("an answer");
            let answer = &responses[*answer]["content"]["application/json"]["schema"];
            let query: BTreeSet<String> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|p| p["in"] == "query")
                .map(|p| text(&p["name"]))
                .collect();
            let tags: BTreeSet<String> = operation["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect();
            operations.insert(
                format!("{} {path}", method.to_uppercase()),
                json!({"answer": part(answer), "body": named(body), "query": query, "tags": tags}),
            );
            for schema in [body, answer] {
                names(document, schema, &mut wanted);
            }
        }
    }
    for name in wanted {
        if name.starts_with("LimitOffsetPage") {
            continue;
        }
        let schema = &document["components"]["schemas"][&name];
        let Some(properties) = schema["properties"].as_object() else {
            continue;
        };
        let required: BTreeSet<String> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let mut members = Map::new();
        let mut sorted: Vec<_> = properties.iter().collect();
        sorted.sort_by_key(|(name, _)| (*name).clone());
        for (member, schema) in sorted {
            let star = if required.contains(member) { "*" } else { "" };
            members.insert(member.clone(), json!(format!("{}{star}", word(schema))));
        }
        schemas.insert(name, Value::Object(members));
    }
    json!({"operations": operations, "schemas": schemas})
}

/// The name of a body, which both documents may hold by reference or in place.
fn named(schema: &Value) -> Value {
    if schema.is_null() {
        Value::Null
    } else {
        json!("object")
    }
}

/// An answer in one word; parts of lists have their items in different places.
fn part(schema: &Value) -> Value {
    if schema.is_null() {
        return Value::Null;
    }
    let word = word(schema);
    if let Some(item) = word.strip_prefix("LimitOffsetPage__T_Customized_") {
        return json!(format!("part of {}", item.trim_end_matches('_')));
    }
    let items = &schema["properties"]["items"]["items"];
    if items.is_object() && schema["properties"]["offset"].is_object() {
        return json!(format!("part of {}", self::word(items)));
    }
    json!(word)
}

/// Collects the names of the schemas that a schema refers to.
fn names(document: &Value, schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(map) = schema.as_object() {
        for (name, value) in map {
            if name == "$ref" {
                let name = value
                    .as_str()
                    .expect("a text")
                    .rsplit('/')
                    .next()
                    .expect("a name")
                    .to_owned();
                if found.insert(name.clone()) {
                    names(document, &document["components"]["schemas"][&name], found);
                }
            } else {
                names(document, value, found);
            }
        }
    }
    for value in schema.as_array().into_iter().flatten() {
        names(document, value, found);
    }
}

fn ours() -> Value {
    let document = serde_json::to_value(cairn::api::openapi()).expect("JSON");
    shapes(&document)
}

/// After a change of the types: `UPDATE_CONTRACTS=1 cargo nextest run -E 'test(shapes_are_those)'` writes the file anew.
#[test]
fn the_shapes_are_those_that_are_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts/mission_control.json");
    let ours = ours();
    if std::env::var_os("UPDATE_CONTRACTS").is_some() {
        let text = serde_json::to_string_pretty(&ours).expect("JSON");
        std::fs::write(&path, format!("{text}\n")).expect("written");
    }
    let known: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("a file")).expect("JSON");
    assert_eq!(ours, known, "the shapes of the contract changed");
}

/// Where the document of the original is at hand, every shape is compared with it.
#[test]
fn the_shapes_are_those_of_the_original() {
    let original = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/contracts/mission-control.openapi.json");
    let Ok(text) = std::fs::read_to_string(original) else {
        return;
    };
    let original = shapes(&serde_json::from_str(&text).expect("JSON"));
    let ours = ours();
    let mut differences = Vec::new();
    // The same operation serves both spellings of a soul, and our additions are not in the original.
    let doubled = "GET /api/v1/souls-directory/{handle}/{slug}.md";
    for (name, theirs) in original["operations"].as_object().expect("operations") {
        let own = &ours["operations"][name];
        if name == doubled {
            continue;
        }
        let is_stream = name.ends_with("/stream");
        for member in ["answer", "body", "query", "tags"] {
            let is_free = (is_stream && member != "body")
                || name.contains("/webhooks/{webhook_id}") && name.starts_with("POST");
            if !is_free && own[member] != theirs[member] {
                differences.push(format!(
                    "{name} {member}: {} instead of {}",
                    own[member], theirs[member]
                ));
            }
        }
    }
    for (name, theirs) in original["schemas"].as_object().expect("schemas") {
        if [
            "HTTPValidationError",
            "ValidationError",
            "LLMErrorResponse",
            "BoardWebhookIngestResponse",
            "BlockedTaskError",
            "BlockedTaskDetail",
        ]
        .contains(&name.as_str())
        {
            continue;
        }
        let own = &ours["schemas"][name];
        for (member, kind) in theirs.as_object().expect("members") {
            if own[member] != *kind {
                differences.push(format!(
                    "{name}.{member}: {} instead of {kind}",
                    own[member]
                ));
            }
        }
        for member in own.as_object().into_iter().flat_map(Map::keys) {
            if theirs[member].is_null() {
                differences.push(format!("{name}.{member} is not in the original"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
