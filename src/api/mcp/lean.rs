//! Schemas of tools without what costs a model tokens and tells it nothing: a client reads the whole list before its first question.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// Returns a schema that admits what models send, in fewer words: without dialect, defaults, number formats, alternatives of null, and descriptions of definitions,
/// whose uses are described.
pub(super) fn lean(schema: &JsonObject) -> JsonObject {
    let mut kept = shortened(schema);
    if let Some(definitions) = kept.get_mut("$defs").and_then(Value::as_object_mut) {
        for definition in definitions.values_mut() {
            if let Some(object) = definition.as_object_mut() {
                object.remove("description");
            }
        }
    }
    kept
}

fn shortened(schema: &JsonObject) -> JsonObject {
    let mut kept = JsonObject::new();
    for (name, value) in schema {
        match (name.as_str(), value) {
            ("$schema" | "format" | "default", _) | ("title", Value::String(_)) => {}
            ("minimum", least) if least.as_u64() == Some(0) => {}
            ("type", Value::Array(types)) => {
                let types: Vec<&Value> = types.iter().filter(|t| **t != "null").collect();
                let own = match types.as_slice() {
                    [one] => (*one).clone(),
                    several => json!(several),
                };
                kept.insert(name.clone(), own);
            }
            ("oneOf" | "anyOf", Value::Array(choices)) => match words(choices) {
                Some(words) => {
                    kept.insert("type".to_owned(), json!("string"));
                    kept.insert("enum".to_owned(), json!(words));
                }
                None => {
                    kept.insert(name.clone(), short(value));
                }
            },
            _ => {
                kept.insert(name.clone(), short(value));
            }
        }
    }
    kept
}

fn short(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(shortened(object)),
        Value::Array(list) => list.iter().map(short).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Returns the words of a choice between constants; `None` for another choice.
fn words(choices: &[Value]) -> Option<Vec<&Value>> {
    choices.iter().map(|choice| choice.get("const")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lean_schema_says_the_same_in_fewer_words() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "title": {"type": ["string", "null"], "description": "A title."},
                "top_k": {"type": ["integer", "null"], "format": "uint", "minimum": 0, "default": null},
                "detail": {"$ref": "#/$defs/Detail"}
            },
            "$defs": {"Detail": {"description": "How much.", "oneOf": [{"const": "ids", "type": "string"}, {"const": "full", "type": "string"}]}}
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "title": {"type": "string", "description": "A title."},
                "top_k": {"type": "integer"},
                "detail": {"$ref": "#/$defs/Detail"}
            },
            "$defs": {"Detail": {"type": "string", "enum": ["ids", "full"]}}
        });
        let schema = schema.as_object().expect("an object");
        assert_eq!(Value::Object(lean(schema)), expected);
    }
}
