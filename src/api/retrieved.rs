//! A hit in the words that the retrieval APIs of other tools share: its text, its title, and what is known of it.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::search::Hit;

/// Returns the title of a hit's document, or the name of its file.
pub(super) fn title(hit: &Hit) -> String {
    let title = hit.title.as_deref().filter(|t| !t.trim().is_empty());
    title.unwrap_or(&hit.file_name).to_owned()
}

/// Returns the metadata of a hit's document, with `citation`, `chunk_id`, `document_id`, `dataset_id`, `file_name`, `url`, `heading` and `page` of the hit.
pub(super) fn metadata(hit: &Hit) -> Result<Map<String, Value>> {
    let mut metadata: Map<String, Value> = serde_json::from_str(&hit.metadata)?;
    let headings = hit.chunk.headings();
    let heading = (!headings.is_empty()).then(|| headings.join(" > "));
    let known = [
        ("citation", json!(hit.citation().to_string())),
        ("chunk_id", json!(hit.chunk.id)),
        ("document_id", json!(hit.chunk.document_id)),
        ("dataset_id", json!(hit.chunk.dataset_id)),
        ("file_name", json!(hit.file_name)),
        ("url", json!(hit.url)),
        ("heading", json!(heading)),
        ("page", json!(hit.chunk.page)),
    ];
    for (name, value) in known {
        if !value.is_null() {
            metadata.insert(name.to_owned(), value);
        }
    }
    Ok(metadata)
}
