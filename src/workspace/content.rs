//! Content: collections say which fields their entries have, and of which types. Analytics definitions work the same way, with events for entries.

use serde_json::{Map, Value, json};

use super::body::{Body, invalid, text};
use super::{spec, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};

/// Types of the fields of entries.
const TYPES: [&str; 14] = [
    "string",
    "text",
    "markdown",
    "html",
    "number",
    "integer",
    "boolean",
    "date",
    "datetime",
    "url",
    "email",
    "reference",
    "json",
    "list",
];

/// A field of a collection.
struct Column<'a> {
    key: &'a str,
    kind: &'a str,
    required: bool,
}

fn columns(body: &Body) -> Result<Vec<Column<'_>>> {
    let Some(schema) = body.get("schema") else {
        return Ok(Vec::new());
    };
    let fields = match schema.get("fields") {
        None => return Ok(Vec::new()),
        Some(fields) => fields
            .as_array()
            .filter(|f| f.len() <= 200)
            .ok_or_else(|| invalid("schema.fields is a list of at most 200 fields"))?,
    };
    let mut columns: Vec<Column<'_>> = Vec::with_capacity(fields.len());
    for field in fields {
        let word = |name: &str| field.get(name).and_then(Value::as_str);
        let key = word("key").filter(|k| !k.is_empty() && k.len() <= 100);
        let key = key.ok_or_else(|| invalid("every field of a schema has a key"))?;
        let kind = word("type").unwrap_or("string");
        if !TYPES.contains(&kind) {
            return Err(invalid(format!(
                "the type of {key} is one of {}",
                TYPES.join(", ")
            )));
        }
        if columns.iter().any(|c| c.key == key) {
            return Err(invalid(format!("the field {key} is there twice")));
        }
        let required = field.get("required").and_then(Value::as_bool);
        columns.push(Column {
            key,
            kind,
            required: required.unwrap_or(false),
        });
    }
    Ok(columns)
}

/// Checks the schema of a collection.
pub(super) fn collection(body: &Body) -> Result<()> {
    columns(body).map(|_| ())
}

fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "number" => value.is_number(),
        "integer" => value.as_i64().is_some(),
        "boolean" => value.is_boolean(),
        "date" | "datetime" => value.as_str().is_some_and(crate::records::folders::is_date),
        "url" => value.as_str().is_some_and(|u| {
            url::Url::parse(u).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
        }),
        "email" => value.as_str().is_some_and(|e| e.contains('@')),
        "json" | "object" => true,
        "list" | "array" => value.is_array(),
        _ => value.is_string(),
    }
}

/// Checks the fields of an entry against its collection: an entry that is reviewed or published is whole, a draft may lack required fields.
pub(super) async fn entry(
    app: &App,
    caller: &Caller,
    body: &Body,
    status: Option<&str>,
) -> Result<()> {
    let is_whole = matches!(status, Some("review" | "published"));
    let id = text(body, "collection_id").unwrap_or_default();
    let collection = store::load(app, caller.tenant(), spec::COLLECTION, id).await?;
    let collection = collection.body()?;
    let none = Map::new();
    let fields = body
        .get("fields")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    for column in columns(&collection)? {
        // A title beside the fields is the title among them.
        let beside = (column.key == "title").then(|| body.get("title")).flatten();
        match fields.get(column.key).or(beside) {
            None | Some(Value::Null) if column.required && is_whole => {
                return Err(invalid(format!("fields.{} is missing", column.key)));
            }
            None | Some(Value::Null) => {}
            Some(value) if fits(column.kind, value) => {}
            Some(_) => {
                return Err(invalid(format!(
                    "fields.{} must be {}",
                    column.key, column.kind
                )));
            }
        }
    }
    if let Some(slug) = fields.get("slug") {
        let slug = slug.as_str().unwrap_or_default();
        let plain = |c: char| c.is_alphanumeric() || "-_/.".contains(c);
        if slug.is_empty() || slug.len() > 200 || !slug.chars().all(plain) {
            return Err(invalid(
                "fields.slug has 1 to 200 letters, digits, dashes, dots and slashes",
            ));
        }
    }
    Ok(())
}

/// Checks an event against its definition, and its properties against theirs.
///
/// # Errors
/// `body_invalid`, `record_not_found` for an event that is not defined.
pub async fn validate(app: &App, caller: &Caller, body: &Body) -> Result<Value> {
    let name = text(body, "name").ok_or_else(|| invalid("name is missing"))?;
    let none = Map::new();
    let given = match body.get("properties") {
        None | Some(Value::Null) => &none,
        Some(properties) => properties
            .as_object()
            .ok_or_else(|| invalid("properties is an object"))?,
    };
    let event = by_key(app, caller, spec::ANALYTICS_EVENT, "name", name)
        .await?
        .ok_or_else(|| {
            Error::not_found(
                "record_not_found",
                format!("there is no definition of the event {name:?}"),
            )
        })?;
    let allowed: Vec<String> = event
        .get("properties")
        .and_then(|p| serde_json::from_value(p.clone()).ok())
        .unwrap_or_default();
    let mut errors = Vec::new();
    let mut tell = |property: &str, code: &str, message: String| {
        errors.push(json!({"property": property, "code": code, "message": message}));
    };
    for property in given.keys() {
        if !allowed.contains(property) {
            tell(
                property,
                "unknown",
                format!("the event has no property {property}"),
            );
        }
    }
    for property in &allowed {
        let definition = by_key(app, caller, spec::ANALYTICS_PROPERTY, "key", property).await?;
        let required = definition
            .as_ref()
            .and_then(|d| d.get("required"))
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let kind = definition.as_ref().and_then(|d| text(d, "type"));
        match (given.get(property), kind) {
            (None | Some(Value::Null), _) if required => {
                tell(property, "missing", format!("{property} is missing"));
            }
            (Some(value), Some(kind)) if !value.is_null() && !fits_property(kind, value) => {
                tell(property, "type", format!("{property} must be {kind}"));
            }
            _ => {}
        }
    }
    Ok(json!({"valid": errors.is_empty(), "errors": errors}))
}

fn fits_property(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        other => fits(other, value),
    }
}

/// The body of the record of a kind with a key.
async fn by_key(
    app: &App,
    caller: &Caller,
    kind: &spec::Kind,
    field: &str,
    key: &str,
) -> Result<Option<Body>> {
    let found: Option<(String,)> = app
        .db
        .optional(
            "SELECT r.body FROM record_keys k JOIN records r ON r.id = k.record_id AND r.tenant_id = k.tenant_id WHERE k.kind = $1 AND k.key = $2 AND k.tenant_id = $3",
            crate::db::args![kind.name, format!("{field}:{key}"), caller.tenant()],
        )
        .await?;
    found
        .map(|(body,)| Ok(serde_json::from_str(&body)?))
        .transpose()
}
