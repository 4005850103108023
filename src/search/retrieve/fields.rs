//! Fields of documents and chunks that filters and facets refer to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::super::request::Request;
use super::super::vector::Among;
use super::documents::{DocumentRow, document_columns};
use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::Dataset;
use crate::kb::filter::Filter;

/// A document with its number of chunks.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Counted {
    #[sqlx(flatten)]
    row: DocumentRow,
    chunks_count: i64,
}

/// Returns the documents of the dataset that may satisfy a filter, judging by the document alone; cached until something changes.
pub(super) async fn matching(app: &App, dataset: &Dataset, filter: &Filter) -> Result<Arc<Among>> {
    let key = format!(
        "{}\n{}\n{}",
        dataset.id,
        dataset.version,
        serde_json::to_string(filter)?
    );
    if let Some(known) = app.search_memory.documents.get(&key) {
        return Ok(known);
    }
    let rows: Vec<Counted> = app
        .db
        .all(
            concat!(
                "SELECT chunks_count, ",
                document_columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND enabled = TRUE"
            ),
            args![&dataset.tenant_id, &dataset.id],
        )
        .await?;
    let filter = filter.clone();
    let ids = tokio::task::spawn_blocking(move || {
        let mut among = Among::default();
        for Counted { row, chunks_count } in rows {
            if filter.may_hold(&row.object()?).0 {
                among.documents.push(row.id);
                among.chunks += usize::try_from(chunks_count).unwrap_or(0);
            }
        }
        Ok::<_, Error>(Arc::new(among))
    })
    .await??;
    app.search_memory.documents.insert(key, Arc::clone(&ids));
    Ok(ids)
}

/// Returns the metadata field names of all datasets, loaded only when the query may refer to one: a field of one dataset is a condition for all.
pub(crate) async fn fields_of(
    app: &App,
    datasets: &[Dataset],
    request: &Request,
) -> Result<HashSet<String>> {
    let mut all = HashSet::new();
    if request.plain {
        return Ok(all);
    }
    for dataset in datasets {
        all.extend(
            metadata_fields(app, dataset, &request.query)
                .await?
                .iter()
                .cloned(),
        );
    }
    Ok(all)
}

pub(super) async fn metadata_fields(
    app: &App,
    dataset: &Dataset,
    query: &str,
) -> Result<Arc<HashSet<String>>> {
    if !query.contains(':') {
        return Ok(Arc::default());
    }
    let key = format!("{}\n{}", dataset.id, dataset.version);
    if let Some(known) = app.search_memory.fields.get(&key) {
        return Ok(known);
    }
    let rows: Vec<(String,)> = app
        .db
        .all(
            "SELECT DISTINCT metadata FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND metadata <> '{}'",
            args![&dataset.tenant_id, &dataset.id],
        )
        .await?;
    let fields = tokio::task::spawn_blocking(move || {
        let mut fields = HashSet::new();
        for (metadata,) in rows {
            if let Value::Object(object) = serde_json::from_str(&metadata)? {
                fields.extend(object.into_iter().map(|(name, _)| name));
            }
        }
        Ok::<_, Error>(Arc::new(fields))
    })
    .await??;
    app.search_memory.fields.insert(key, Arc::clone(&fields));
    Ok(fields)
}

/// Returns documents by id, as objects for filters and facets.
pub(crate) async fn objects<'a>(
    app: &App,
    dataset: &Dataset,
    ids: impl Iterator<Item = &'a String>,
) -> Result<HashMap<String, Value>> {
    let ids: HashSet<&String> = ids.collect();
    let ids: Vec<String> = ids.into_iter().cloned().collect();
    let rows: Vec<DocumentRow> = app
        .db
        .all_in(
            concat!(
                "SELECT ",
                document_columns!(),
                " FROM kb_documents WHERE tenant_id = $1 AND id IN ($LIST)"
            ),
            args![&dataset.tenant_id],
            &ids,
        )
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id.clone(), row.object()?)))
        .collect()
}
