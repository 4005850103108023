//! Fields of documents and chunks that filters and facets refer to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::super::live::{DocumentRow, LiveSet, Passing, document_columns};
use super::super::request::Request;
use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::Dataset;
use crate::kb::filter::Filter;

/// Returns the visible chunks that may satisfy a filter, judging by their documents alone; cached until something changes.
pub(super) async fn passing(
    app: &App,
    live: &Arc<LiveSet>,
    filter: &Filter,
) -> Result<Arc<Passing>> {
    let key = format!("{}\n{}", live.state_key(), serde_json::to_string(filter)?);
    if let Some(known) = app.search_memory.passing.get(&key) {
        return Ok(known);
    }
    let passing = Arc::new(live.passing(&app.db, filter).await?);
    app.search_memory.passing.insert(key, Arc::clone(&passing));
    Ok(passing)
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
    ids: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, Value>> {
    let ids: HashSet<&str> = ids.collect();
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
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
