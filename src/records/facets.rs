//! Facets: a row for each value of a record that lists filter by, and for each of its words; and the keys that only one record of a kind may have.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::check;
use super::kind::{FieldType, Kind};
use super::record::Record;
use crate::db::{Tx, args};
use crate::error::{Error, Result};

/// Names and values by which lists find a record.
pub(crate) type Facets = BTreeSet<(String, String)>;

/// The longest value that can be filtered by, in bytes.
const VALUE: usize = 300;

/// A value as filters compare it.
fn comparable(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty() && text.len() <= VALUE).then_some(text)
}

/// Returns the names and values by which lists find a record.
pub(crate) fn of(kind: &Kind, record: &Record, body: &Map<String, Value>) -> Facets {
    let mut found = Facets::new();
    if let Some(status) = &record.status {
        found.insert(("status".to_owned(), status.clone()));
    }
    if let Some(parent) = &record.parent_id {
        found.insert(("parent".to_owned(), parent.clone()));
    }
    for field in kind.fields.iter().filter(|f| f.filter) {
        let values: Vec<&Value> = match body.get(field.name) {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(value) => vec![value],
            None => Vec::new(),
        };
        for value in values.into_iter().filter_map(comparable) {
            found.insert((field.name.to_owned(), value));
        }
    }
    for name in kind.present {
        let is_there = |value: &Value| value.as_str().is_none_or(|text| !text.trim().is_empty());
        if body.get(*name).is_some_and(is_there) {
            found.insert(("present".to_owned(), (*name).to_owned()));
        }
    }
    for (name, value) in kind.derived.map_or_else(Vec::new, |f| f(record, body)) {
        if let Some(value) = comparable(&Value::String(value)) {
            found.insert((name.to_owned(), value));
        }
    }
    if kind.open {
        // Bodies of any shape and size are found by search.
        return found;
    }
    if let Some(Value::Object(custom)) = body.get("custom_fields") {
        for (name, value) in custom {
            let values = match value {
                Value::Array(list) => list.iter().collect(),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => vec![value],
            };
            for value in values.into_iter().filter_map(comparable) {
                found.insert((format!("custom:{name}"), value));
            }
        }
    }
    for word in check::words_of(kind, body) {
        found.insert(("word".to_owned(), word));
    }
    found
}

/// Returns the values of a record that no other of its kind may have.
pub(super) fn keys(kind: &Kind, body: &Map<String, Value>) -> BTreeSet<String> {
    kind.fields
        .iter()
        .filter(|f| matches!(f.field_type, FieldType::Key))
        .filter_map(|f| Some(format!("{}:{}", f.name, body.get(f.name)?.as_str()?)))
        .chain(kind.keys.and_then(|key| key(body)))
        .collect()
}

/// Replaces the facets that a record had by those that it has now.
pub(crate) async fn update(
    tx: &mut Tx,
    kind: &Kind,
    record: &Record,
    before: &Facets,
    now: &Facets,
) -> Result<()> {
    for (name, value) in before.difference(now) {
        tx.execute(
            "DELETE FROM record_facets WHERE kind = $1 AND name = $2 AND value = $3 AND tenant_id = $4 AND record_id = $5",
            args![kind.name, name, value, &record.tenant_id, &record.id],
        )
        .await?;
    }
    for (name, value) in now.difference(before) {
        tx.execute(
            "INSERT INTO record_facets (kind, name, value, tenant_id, record_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, name, value, tenant_id, record_id) DO NOTHING",
            args![kind.name, name, value, &record.tenant_id, &record.id],
        )
        .await?;
        if name == "word" {
            tx.execute(
                "INSERT INTO record_words (kind, tenant_id, word) VALUES ($1, $2, $3) ON CONFLICT (kind, tenant_id, word) DO NOTHING",
                args![kind.name, &record.tenant_id, hex::encode(value)],
            )
            .await?;
        }
    }
    Ok(())
}

/// Claims the keys that only this record may have, and releases those that it had.
///
/// # Errors
/// `key_taken`.
pub(super) async fn claim(
    tx: &mut Tx,
    kind: &Kind,
    record: &Record,
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
) -> Result<()> {
    for key in before.difference(now) {
        tx.execute(
            "DELETE FROM record_keys WHERE kind = $1 AND key = $2 AND tenant_id = $3 AND record_id = $4",
            args![kind.name, key, &record.tenant_id, &record.id],
        )
        .await?;
    }
    for key in now.difference(before) {
        let ours = tx
            .execute(
                "INSERT INTO record_keys (kind, key, tenant_id, record_id) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, key, tenant_id) DO NOTHING",
                args![kind.name, key, &record.tenant_id, &record.id],
            )
            .await?;
        if ours == 0 {
            let (name, value) = key.split_once(':').unwrap_or(("key", key));
            let value = value.rsplit(':').next().unwrap_or(value);
            return Err(Error::conflict(
                "key_taken",
                format!("a record with the {name} {value:?} already exists"),
            ));
        }
    }
    Ok(())
}
