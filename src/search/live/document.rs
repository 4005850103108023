//! Documents as searches show and filter them.

use serde_json::{Value, json};

use crate::clock::Time;
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
pub(crate) use document_columns;

impl DocumentRow {
    /// Returns metadata and built-in fields as one object.
    ///
    /// # Errors
    /// When the metadata is not JSON.
    pub fn object(&self) -> Result<Value> {
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
