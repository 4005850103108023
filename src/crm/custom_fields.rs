//! Custom fields of leads: definitions with types, against which the values of leads are checked. Fields without a definition take any text, number or flag.

use serde_json::Value;

use super::CUSTOM_FIELD;
use crate::app::App;
use crate::error::{Detail, Result};
use crate::records::body::{Body, invalid, text, texts};
use crate::records::check::is_date;
use crate::records::limit::Limit;
use crate::records::plan::Change;
use crate::records::store::{self, ListQuery};

/// Types of custom fields.
pub const TYPES: [&str; 6] = ["text", "number", "date", "select", "multiselect", "boolean"];
/// Definitions of a tenant.
const DEFINITIONS: i64 = 100;

/// A definition.
#[derive(Debug)]
struct Definition {
    key: String,
    field_type: String,
    options: Vec<String>,
    is_required: bool,
}

fn options(body: &Body) -> Vec<String> {
    let words = body.get("options").map(texts).unwrap_or_default();
    words.into_iter().map(str::to_owned).collect()
}

/// Checks a definition: selections have options, others have none; the type and the key of a definition never change, because values follow them.
pub(super) fn complete(change: &mut Change<'_>) -> Result<()> {
    let field_type = text(&change.body, "field_type").unwrap_or_default();
    let is_selection = matches!(field_type, "select" | "multiselect");
    if is_selection == options(&change.body).is_empty() {
        return Err(invalid(if is_selection {
            "options is missing: a selection needs the list of words to choose from"
        } else {
            "options belongs to the types select and multiselect"
        }));
    }
    if !change.is_new() && (change.changes("field_type") || change.changes("key")) {
        return Err(invalid(
            "key and fieldType of a field cannot be changed; define another field",
        ));
    }
    change.default("required", false);
    if change.is_new() {
        let limit = Limit::of(&CUSTOM_FIELD, change.caller.tenant(), DEFINITIONS);
        change.plan.after.push(limit);
    }
    Ok(())
}

async fn definitions(app: &App, tenant_id: &str) -> Result<Vec<Definition>> {
    let query = ListQuery {
        limit: DEFINITIONS,
        ..ListQuery::default()
    };
    let (found, _) = store::list(app, tenant_id, &CUSTOM_FIELD, &query).await?;
    let mut definitions = Vec::with_capacity(found.len());
    for record in found {
        let body = record.body()?;
        let word = |name: &str| text(&body, name).unwrap_or_default().to_owned();
        definitions.push(Definition {
            key: word("key"),
            field_type: word("field_type"),
            options: options(&body),
            is_required: body.get("required") == Some(&Value::Bool(true)),
        });
    }
    Ok(definitions)
}

impl Definition {
    /// Returns what is wrong with a value.
    fn fault(&self, value: &Value) -> Option<String> {
        let key = &self.key;
        let known = |word: &str| self.options.iter().any(|o| o == word);
        let of = || format!("one of {}", self.options.join(", "));
        let expected = match self.field_type.as_str() {
            "text" if value.is_string() => return None,
            "text" => "text".to_owned(),
            "number" if value.is_number() => return None,
            "number" => "a number".to_owned(),
            "boolean" if value.is_boolean() => return None,
            "boolean" => "true or false".to_owned(),
            "date" if value.as_str().is_some_and(is_date) => return None,
            "date" => "a day (2026-04-01) or a time (2026-04-01T09:00:00Z)".to_owned(),
            "select" if value.as_str().is_some_and(known) => return None,
            "select" => of(),
            _ => {
                let list = value.as_array();
                if list.is_some_and(|l| l.iter().all(|v| v.as_str().is_some_and(known))) {
                    return None;
                }
                format!("a list of {}", of())
            }
        };
        Some(format!("customFields.{key} must be {expected}"))
    }
}

/// Checks the custom fields of a lead against the definitions of its tenant.
pub(super) async fn check(change: &Change<'_>) -> Result<()> {
    let empty = Body::new();
    let given = change.body.get("custom_fields").and_then(Value::as_object);
    let given = given.unwrap_or(&empty);
    let before = change.old.get("custom_fields").and_then(Value::as_object);
    let mut faults: Vec<(String, String)> = Vec::new();
    for definition in definitions(change.app, change.caller.tenant()).await? {
        let value = given.get(&definition.key).filter(|v| !v.is_null());
        // A value from before the definition stays until it is changed.
        if value.is_some() && value == before.and_then(|b| b.get(&definition.key)) {
            continue;
        }
        let fault = match value {
            Some(value) => definition.fault(value),
            None if definition.is_required && !given.is_empty() => {
                Some(format!("customFields.{} is missing", definition.key))
            }
            None => None,
        };
        faults.extend(fault.map(|fault| (format!("custom_fields.{}", definition.key), fault)));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let messages: Vec<&str> = faults.iter().map(|(_, m)| m.as_str()).collect();
    Err(invalid(messages.join("; ")).with_detail(Detail::Fields(faults)))
}
