//! Entries of collections: a collection says which fields its entries have, and of which types.

use serde_json::{Map, Value};

use super::COLLECTION;
use crate::error::Result;
use crate::records::ValueType;
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Change;
use crate::records::store;

/// Types of the fields of entries.
const TYPES: [ValueType; 14] = [
    ValueType::String,
    ValueType::Text,
    ValueType::Markdown,
    ValueType::Html,
    ValueType::Number,
    ValueType::Integer,
    ValueType::Boolean,
    ValueType::Date,
    ValueType::Datetime,
    ValueType::Url,
    ValueType::Email,
    ValueType::Reference,
    ValueType::Json,
    ValueType::List,
];

/// A field of a collection.
struct Column<'a> {
    key: &'a str,
    kind: ValueType,
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
            .ok_or_else(|| invalid("schema.fields must be a list of at most 200 fields"))?,
    };
    let mut columns: Vec<Column<'_>> = Vec::with_capacity(fields.len());
    for field in fields {
        let word = |name: &str| field.get(name).and_then(Value::as_str);
        let key = word("key").filter(|k| !k.is_empty() && k.len() <= 100);
        let key = key.ok_or_else(|| invalid("every field of a schema requires a key"))?;
        let kind = word("type").unwrap_or("string");
        let kind = TYPES.into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or_else(|| {
            let known = ValueType::list(&TYPES);
            invalid(format!("the type of {key} must be one of {known}"))
        })?;
        if columns.iter().any(|c| c.key == key) {
            return Err(invalid(format!("the field {key} occurs twice")));
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

/// Checks the fields of an entry against its collection: an entry that is reviewed or published is whole, a draft may lack required fields.
pub(super) async fn check(change: &Change<'_>) -> Result<()> {
    let body = &change.body;
    let is_whole = matches!(change.status(), Some("review" | "published"));
    let id = text(body, "collection_id").unwrap_or_default();
    let collection = store::load(change.app, change.caller.tenant(), &COLLECTION, id).await?;
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
            Some(value) if column.kind.matches(value) => {}
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
                "fields.slug must have 1 to 200 letters, digits, dashes, dots and slashes",
            ));
        }
    }
    Ok(())
}
