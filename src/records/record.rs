//! The record: a row of the table `records`.

use serde_json::{Map, Value};

use crate::clock::Time;
use crate::error::{Error, Result};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Record {
    pub id: String,
    pub tenant_id: String,
    /// Name of its [`Kind`].
    pub kind: String,
    /// The record that contains it: the project of a work package, the campaign of a lead.
    pub parent_id: Option<String>,
    /// The caller's own id.
    pub external_id: Option<String>,
    pub title: String,
    pub status: Option<String>,
    /// Its position in the stages of its parent, for leads of campaigns.
    pub stage: Option<String>,
    /// The area in whose dataset its text is searched, when it is not that of its kind.
    pub area: Option<String>,
    /// JSON object of its fields.
    pub body: String,
    /// The document by which search finds it.
    pub document_id: Option<String>,
    /// The key that created it.
    pub author: Option<String>,
    pub created_on: Time,
    pub updated_on: Time,
}

macro_rules! columns {
    () => {
        "id, tenant_id, kind, parent_id, external_id, title, status, stage, area, body, document_id, author, created_on, updated_on"
    };
}
pub(crate) use columns;

impl Record {
    /// Returns its fields.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn body(&self) -> Result<Map<String, Value>> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

/// Levels of lists and objects in a body: fewer than JSON readers accept, which read bodies inside other documents.
pub(crate) const DEEPEST: usize = 64;

/// Whether a value is nested deeper than this.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(list) => levels == 0 || list.iter().any(|v| is_deeper(v, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|v| is_deeper(v, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Longest title, in characters.
const TITLE: usize = 300;

/// Returns a title as given, or the first line of a text, or else `otherwise`.
///
/// # Errors
/// `title_too_long`.
pub fn titled(given: Option<&str>, text: &str, otherwise: &str) -> Result<String> {
    let title = given.map(str::trim).filter(|t| !t.is_empty());
    if title.is_some_and(|t| t.chars().count() > TITLE) {
        return Err(Error::invalid(
            "title_too_long",
            format!("a title may have at most {TITLE} characters"),
        ));
    }
    let line = text
        .lines()
        .map(|l| l.trim_start_matches(['#', '-', '*', ' ']).trim())
        .find(|l| !l.is_empty());
    Ok(title
        .or(line)
        .unwrap_or(otherwise)
        .chars()
        .take(120.max(title.map_or(0, str::len)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::titled;

    #[test]
    fn titles_are_given_or_the_first_line() {
        assert_eq!(titled(Some(" A "), "b", "c").expect("valid"), "A");
        assert_eq!(
            titled(Some(" "), "\n## First line\nsecond", "c").expect("valid"),
            "First line"
        );
        assert_eq!(titled(None, " ", "project").expect("valid"), "project");
        assert!(titled(Some(&"x".repeat(301)), "", "c").is_err());
    }
}
