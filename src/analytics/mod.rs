//! Definitions of analytics events and their properties, and the check of events against them.

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::error::{Error, Result};
use crate::records::ValueType;
use crate::records::body::{Body, invalid, text};
use crate::records::kind::{DESCRIPTION, Field, FieldType, KEY, Kind, LINE};

/// A definition of an event.
pub static EVENT: Kind = Kind::new(
    "analytics_event",
    "evt",
    Area::Analytics,
    &[
        Field::new("name", FieldType::Key).required(),
        DESCRIPTION,
        Field::new("owner", LINE).filter(),
        Field::new("properties", FieldType::Words(200)),
    ],
)
.titled("name");

/// A definition of a property.
pub static PROPERTY: Kind = Kind::new(
    "analytics_property",
    "prop",
    Area::Analytics,
    &[
        KEY,
        Field::new(
            "type",
            FieldType::OneOf(&[
                "string", "number", "integer", "boolean", "datetime", "object", "array",
            ]),
        )
        .required(),
        DESCRIPTION,
        Field::new("required", FieldType::Flag),
    ],
)
.titled("key");

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
            .ok_or_else(|| invalid("properties must be an object"))?,
    };
    let event = by_key(app, caller, &EVENT, "name", name)
        .await?
        .ok_or_else(|| {
            Error::not_found(
                "record_not_found",
                format!("the event {name:?} is not defined"),
            )
        })?;
    let allowed: Vec<String> = event
        .get("properties")
        .and_then(|p| serde_json::from_value(p.clone()).ok())
        .unwrap_or_default();
    let mut errors = Vec::new();
    let mut report = |property: &str, code: &str, message: String| {
        errors.push(json!({"property": property, "code": code, "message": message}));
    };
    for property in given.keys() {
        if !allowed.contains(property) {
            report(
                property,
                "unknown",
                format!("the event does not define the property {property}"),
            );
        }
    }
    for property in &allowed {
        let definition = by_key(app, caller, &PROPERTY, "key", property).await?;
        let required = definition
            .as_ref()
            .and_then(|d| d.get("required"))
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let kind = definition.as_ref().and_then(|d| text(d, "type"));
        let kind = kind.and_then(|word| word.parse::<ValueType>().ok());
        match (given.get(property), kind) {
            (None | Some(Value::Null), _) if required => {
                report(property, "missing", format!("{property} is missing"));
            }
            (Some(value), Some(kind)) if !value.is_null() && !kind.matches(value) => {
                report(property, "type", format!("{property} must be {kind}"));
            }
            _ => {}
        }
    }
    Ok(json!({"valid": errors.is_empty(), "errors": errors}))
}

/// The body of the record of a kind with a key.
async fn by_key(
    app: &App,
    caller: &Caller,
    kind: &Kind,
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
