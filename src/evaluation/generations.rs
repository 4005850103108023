//! Comparison of generations of a dataset on labelled queries.

use std::collections::HashSet;
use std::sync::Arc;

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::kb::{datasets, generations};
use crate::search::measure::{self, Measures};
use crate::search::{self, Request};

/// A query with its relevant documents.
#[derive(Debug, Clone)]
pub struct Labelled {
    pub query: String,
    /// Ids of the relevant documents.
    pub documents: HashSet<String>,
}

/// Measures a generation on labelled queries with the default search settings, by documents.
///
/// # Errors
/// `generation_not_found`, `queries_missing`, and those of search.
pub async fn measure(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    number: i64,
    queries: &[Labelled],
) -> Result<Measures> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    generations::at(app, caller, &dataset, number).await?;
    if queries.is_empty() {
        return Err(Error::invalid(
            "queries_missing",
            "send at least one query with the documents that answer it",
        ));
    }
    let mut all = Vec::with_capacity(queries.len());
    for labelled in queries {
        let request = Request {
            top_k: 50,
            generation: Some(number),
            ..Request::new(labelled.query.clone(), vec![dataset_id.to_owned()])
        };
        let answer = search::search(app, caller, &request).await?;
        let mut ranked: Vec<String> = Vec::new();
        for hit in answer.hits {
            if !ranked.contains(&hit.chunk.document_id) {
                ranked.push(hit.chunk.document_id);
            }
        }
        let judged = labelled
            .documents
            .iter()
            .map(|id| (id.clone(), 1))
            .collect();
        all.push(measure::measure(&ranked, &judged));
    }
    Ok(measure::mean(&all))
}
