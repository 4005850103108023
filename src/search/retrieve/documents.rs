//! Documents of the candidates, as searches show and filter them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::super::candidate::ChunkLocation;
use super::super::live::{DocumentRow, document_columns};
use crate::app::App;
use crate::db::args;
use crate::error::Result;
use crate::kb::Dataset;

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

/// Returns the locations of visible chunks, by id.
///
/// # Errors
/// Those of the database.
pub(crate) async fn locations(
    app: &App,
    dataset: &Dataset,
    ids: impl Iterator<Item = &Uuid>,
) -> Result<HashMap<Uuid, ChunkLocation>> {
    let ids: Vec<String> = ids.map(Uuid::to_string).collect();
    let rows: Vec<ChunkLocation> = app
        .db
        .all_in(
            "SELECT id, document_id, heading_path, page, start_char, end_char FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND id IN ($LIST)",
            args![&dataset.tenant_id, &dataset.live_set],
            &ids,
        )
        .await?;
    let rows = rows.into_iter();
    Ok(rows
        .filter_map(|row| Some((row.id.parse().ok()?, row)))
        .collect())
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
