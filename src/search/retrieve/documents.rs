//! Documents of the candidates, as searches show and filter them.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::super::candidate::ChunkLocation;
use crate::app::App;
use crate::clock::Time;
use crate::db::args;
use crate::error::Result;

/// Fields of a document that a condition can refer to.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DocumentRow {
    pub id: String,
    pub file_name: String,
    pub title: Option<String>,
    pub url: Option<String>,
    pub published_at: Option<String>,
    /// Metadata as JSON.
    pub metadata: String,
    pub source: String,
    pub mime_type: String,
    pub version: i64,
    pub created_on: Time,
    pub updated_on: Time,
}

/// The columns of [`DocumentRow`].
macro_rules! document_columns {
    () => {
        "id, file_name, title, url, published_at, metadata, source, mime_type, version, created_on, updated_on"
    };
}
pub(super) use document_columns;

/// Returns the searchable ones among the given documents, by id.
///
/// # Errors
/// Those of the database.
pub(crate) async fn documents(
    app: &App,
    tenant_id: &str,
    ids: HashSet<String>,
) -> Result<HashMap<String, DocumentRow>> {
    let ids: Vec<String> = ids.into_iter().collect();
    let rows: Vec<DocumentRow> = app
        .db
        .all_in(
            concat!(
                "SELECT ",
                document_columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND enabled = TRUE AND id IN ($LIST)"
            ),
            args![tenant_id],
            &ids,
        )
        .await?;
    Ok(rows.into_iter().map(|d| (d.id.clone(), d)).collect())
}

impl DocumentRow {
    /// Returns metadata and built-in fields as one object.
    pub(crate) fn object(&self) -> Result<Value> {
        let mut object: Value = serde_json::from_str(&self.metadata)?;
        let own = json!({
            "$documentId": self.id, "$fileName": self.file_name, "$title": self.title, "$url": self.url, "$publishedAt": self.published_at,
            "$source": self.source, "$mimeType": self.mime_type, "$createdOn": self.created_on.rfc3339(), "$updatedOn": self.updated_on.rfc3339(),
        });
        if let (Value::Object(object), Value::Object(own)) = (&mut object, own) {
            object.extend(own);
        }
        Ok(object)
    }
}

/// Returns the value of a field that belongs to the chunk.
pub(crate) fn of_location(field: &str, place: &ChunkLocation) -> Option<Value> {
    match field {
        "$heading" => {
            let headings: Vec<String> =
                serde_json::from_str(&place.heading_path).unwrap_or_default();
            Some(Value::from(headings.join(" > ")))
        }
        "$page" => Some(Value::from(place.page)),
        _ => None,
    }
}

/// Returns the object of a document with the fields of a chunk added.
pub(crate) fn with_location(document: &Value, place: &ChunkLocation) -> Value {
    let mut object = document.clone();
    if let Value::Object(object) = &mut object {
        for field in ["$heading", "$page"] {
            object.extend(of_location(field, place).map(|value| (field.to_owned(), value)));
        }
    }
    object
}
