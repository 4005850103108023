//! Fields that an organisation gives its tasks: definitions, and checks of values.

use chrono::{DateTime, NaiveDate};
use regex::Regex;
use serde_json::{Value, json};

use super::access::need_admin;
use super::{BOARD, CUSTOM_FIELD, TASK, flag, json_of, list, store, unfit, with_data};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// Types of values.
pub const TYPES: [&str; 9] = [
    "text",
    "text_long",
    "integer",
    "decimal",
    "boolean",
    "date",
    "date_time",
    "url",
    "json",
];
/// When the web interface shows a field.
pub const VISIBILITIES: [&str; 3] = ["always", "if_set", "hidden"];

/// Types whose values a regular expression can check.
const MATCHED: [&str; 5] = ["text", "text_long", "date", "date_time", "url"];
/// Largest compiled regular expression, in bytes.
const REGEX: usize = 1 << 20;

fn pattern(body: &Body) -> Result<Option<Regex>> {
    let Some(regex) = text(body, "validation_regex").filter(|r| !r.is_empty()) else {
        return Ok(None);
    };
    let kind = text(body, "field_type").unwrap_or("text");
    if !MATCHED.contains(&kind) {
        return Err(unfit(
            "regex_unfit",
            format!("validation_regex is for {} only", MATCHED.join(", ")),
        ));
    }
    regex::RegexBuilder::new(&format!("^(?:{regex})$"))
        .size_limit(REGEX)
        .build()
        .map(Some)
        .map_err(|e| unfit("regex_invalid", format!("validation_regex is invalid: {e}")))
}

/// Why a value does not fit a field; `None` when it does.
fn misfit(field: &Body, value: &Value) -> Result<Option<String>> {
    let kind = text(field, "field_type").unwrap_or("text");
    let reason = match (kind, value) {
        ("text" | "text_long", Value::String(_)) | ("boolean", Value::Bool(_)) => None,
        ("json", Value::Object(_) | Value::Array(_)) => None,
        ("integer", value) if value.is_i64() => None,
        ("decimal", value) if value.is_number() => None,
        ("date", Value::String(text)) if NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() => {
            None
        }
        ("date_time", Value::String(text)) if is_time(text) => None,
        ("url", Value::String(text)) => match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => None,
            _ => Some("must be an http or https address".to_owned()),
        },
        ("json", _) => Some("must be an object or a list".to_owned()),
        (kind, _) => Some(format!("must be of the type {kind}")),
    };
    if reason.is_some() {
        return Ok(reason);
    }
    let is_matched = match (pattern(field)?, value.as_str()) {
        (Some(regex), Some(text)) => regex.is_match(text),
        _ => true,
    };
    Ok((!is_matched).then(|| "does not match validation_regex".to_owned()))
}

fn is_time(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
        || chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
        || chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").is_ok()
}

/// Checks a definition as it will be.
async fn check(app: &App, tenant_id: &str, body: &mut Body) -> Result<()> {
    if text(body, "label").is_none_or(|l| l.trim().is_empty()) {
        let key = body.get("field_key").cloned().unwrap_or_default();
        body.insert("label".to_owned(), key);
    }
    pattern(body)?;
    let default = body.get("default_value").filter(|v| !v.is_null());
    if let Some(default) = default
        && let Some(reason) = misfit(body, default)?
    {
        return Err(unfit("default_unfit", format!("default_value {reason}")));
    }
    let boards = list(body, "board_ids");
    if boards.is_empty() {
        return Err(unfit(
            "boards_missing",
            "At least one board must be selected.",
        ));
    }
    let known = store::some(&app.db, tenant_id, &BOARD, &boards).await?;
    let foreign: Vec<&String> = boards
        .iter()
        .filter(|id| !known.iter().any(|b| b.id == **id))
        .collect();
    if foreign.is_empty() {
        Ok(())
    } else {
        let error = unfit("board_foreign", "Some boards are not of this organization.");
        Err(with_data(error, json!({"invalid_board_ids": foreign})))
    }
}

/// Returns a plan that creates a definition.
///
/// # Errors
/// `admin_required`, `key_taken`, `regex_invalid`, `default_unfit`, `boards_missing`, `board_foreign`.
pub async fn create(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let mut body = body.clone();
    check(app, caller.tenant(), &mut body).await?;
    let record = write::draft(app, caller, &CUSTOM_FIELD, New::from(&body))?;
    let shown = json_of(&CUSTOM_FIELD, &record)?;
    let mut plan = Plan::default();
    plan.create_silently(&CUSTOM_FIELD, record);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that changes a definition; its key stays.
///
/// # Errors
/// Those of [`create`]; `record_not_found`, `nothing_to_change`.
pub async fn update(app: &App, caller: &Caller, id: &str, patch: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let before = store::get(app, caller.tenant(), &CUSTOM_FIELD, id).await?;
    if patch.is_empty() {
        return Err(unfit("nothing_to_change", "At least one field is required"));
    }
    let mut body = before.body()?;
    for (name, value) in patch {
        if value.is_null() {
            body.shift_remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    check(app, caller.tenant(), &mut body).await?;
    let mut after = before.clone();
    after.title = write::title(&CUSTOM_FIELD, &body);
    after.body = Value::Object(body).to_string();
    let mut plan = Plan::default();
    plan.update_silently(&CUSTOM_FIELD, before, after, app.clock.now());
    let shown = match plan.record() {
        Some(record) => json_of(&CUSTOM_FIELD, record)?,
        None => return Err(Error::internal("a plan without a record")),
    };
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that deletes a definition that no task has a value of.
///
/// # Errors
/// `admin_required`, `record_not_found`, `field_in_use`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let field = store::get(app, caller.tenant(), &CUSTOM_FIELD, id).await?;
    let key = text(&field.body()?, "field_key")
        .unwrap_or_default()
        .to_lowercase();
    let used: Option<(String,)> = app
        .db
        .optional(
            "SELECT record_id FROM record_facets WHERE kind = $1 AND name = 'field' AND value = $2 AND tenant_id = $3 LIMIT 1",
            args![TASK.name, key, caller.tenant()],
        )
        .await?;
    if used.is_some() {
        return Err(Error::conflict(
            "field_in_use",
            "Cannot delete a field while tasks have values of it.",
        ));
    }
    let mut plan = Plan::default();
    plan.delete(&CUSTOM_FIELD, field);
    Ok(plan.data(200, json!({"ok": true})))
}

/// Returns the definitions for a board.
///
/// # Errors
/// Those of the database.
pub(super) async fn of_board(app: &App, tenant_id: &str, board_id: &str) -> Result<Vec<Body>> {
    let mut found = Vec::new();
    for record in store::all(&app.db, tenant_id, &CUSTOM_FIELD, None).await? {
        let body = record.body()?;
        if list(&body, "board_ids").iter().any(|id| id == board_id) {
            found.push(body);
        }
    }
    found.reverse();
    Ok(found)
}

/// Returns all definitions of a tenant by label.
///
/// # Errors
/// Those of the database.
pub async fn all(app: &App, tenant_id: &str) -> Result<Vec<Record>> {
    let mut all = store::all(&app.db, tenant_id, &CUSTOM_FIELD, None).await?;
    all.sort_by_key(|f| (f.title.to_lowercase(), f.id.clone()));
    Ok(all)
}

/// Applies values to those that a task has; null removes one.
///
/// # Errors
/// `field_unknown`, `field_value_invalid`, `field_missing`, each with the keys.
pub(super) fn apply(fields: &[Body], values: &Body, given: &Body) -> Result<Body> {
    let key = |field: &Body| text(field, "field_key").unwrap_or_default().to_owned();
    let unknown: Vec<&String> = given
        .keys()
        .filter(|name| !fields.iter().any(|f| key(f) == **name))
        .collect();
    if !unknown.is_empty() {
        let error = unfit("field_unknown", "Unknown custom field keys.");
        return Err(with_data(error, json!({"unknown_field_keys": unknown})));
    }
    let mut now = values.clone();
    for (name, value) in given {
        if value.is_null() {
            now.shift_remove(name);
            continue;
        }
        for field in fields.iter().filter(|f| key(f) == *name) {
            if let Some(reason) = misfit(field, value)? {
                let error = unfit("field_value_invalid", "Invalid custom field value.");
                let data = json!({"field_key": name, "field_type": text(field, "field_type"), "reason": reason});
                return Err(with_data(error, data));
            }
        }
        now.insert(name.clone(), value.clone());
    }
    let missing: Vec<String> = fields
        .iter()
        .filter(|f| flag(f, "required"))
        .filter(|f| f.get("default_value").is_none_or(Value::is_null))
        .map(key)
        .filter(|name| {
            now.get(name)
                .is_none_or(|v| v.as_str().is_some_and(|t| t.trim().is_empty()))
        })
        .collect();
    if missing.is_empty() {
        Ok(now)
    } else {
        let error = unfit("field_missing", "Required custom fields must have values.");
        Err(with_data(error, json!({"missing_field_keys": missing})))
    }
}

/// Returns the values of a task with the defaults of the fields that it lacks.
pub(super) fn with_defaults(fields: &[Body], values: Option<&Value>) -> Value {
    let mut shown = Body::new();
    for field in fields {
        let key = text(field, "field_key").unwrap_or_default();
        let value = values.and_then(|v| v.get(key)).filter(|v| !v.is_null());
        let value = value.or(field.get("default_value"));
        shown.insert(key.to_owned(), value.cloned().unwrap_or_default());
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: Value) -> Body {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn values_have_the_type_of_their_field() {
        let fits = |kind: &str, value: Value| {
            misfit(&field(json!({"field_type": kind})), &value)
                .expect("checked")
                .is_none()
        };
        assert!(fits("integer", json!(3)) && !fits("integer", json!(3.5)));
        assert!(fits("date", json!("2026-01-31")) && !fits("date", json!("2026-02-31")));
        assert!(fits("date_time", json!("2026-01-31T10:00:00Z")));
        assert!(fits("url", json!("https://x.test")) && !fits("url", json!("ftp://x.test")));
        assert!(fits("json", json!([1])) && !fits("json", json!("x")));
        assert!(fits("boolean", json!(true)) && !fits("boolean", json!("true")));
    }

    #[test]
    fn an_expression_matches_the_whole_value() {
        let code = field(json!({"field_type": "text", "validation_regex": "[A-Z]{2}\\d"}));
        assert!(misfit(&code, &json!("AB1")).expect("checked").is_none());
        assert!(misfit(&code, &json!("xAB1")).expect("checked").is_some());
    }

    #[test]
    fn unknown_keys_and_missing_values_are_named() {
        let fields = [field(
            json!({"field_key": "a", "field_type": "text", "required": true}),
        )];
        let given = field(json!({"b": 1}));
        assert_eq!(
            apply(&fields, &Body::new(), &given)
                .expect_err("unknown")
                .code(),
            "field_unknown"
        );
        assert_eq!(
            apply(&fields, &Body::new(), &Body::new())
                .expect_err("missing")
                .code(),
            "field_missing"
        );
        let given = field(json!({"a": "x"}));
        assert_eq!(apply(&fields, &Body::new(), &given).expect("valid"), given);
    }
}
