//! Facets: how often each value of a field occurs among the matching candidates.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::answer::{Facet, FacetValue};
use super::candidate::Candidate;
use super::live::Table;
use super::request::Request;
use super::retrieve::{self, Source};
use crate::app::App;
use crate::error::Result;
use crate::kb::filter;

/// Maximum number of values of a facet.
const VALUES: usize = 50;

/// A value with its number of chunks and its documents, by the JSON text of the value.
type Counts = HashMap<String, (Value, usize, HashSet<Arc<str>>)>;

/// Returns the facets of a request over the candidates.
pub(super) async fn facets(
    app: &App,
    request: &Request,
    sources: &[Source],
    candidates: &[Candidate],
) -> Result<Vec<Facet>> {
    if request.facets.is_empty() {
        return Ok(Vec::new());
    }
    let fields = request.facets.iter();
    let (of_chunks, of_documents): (Vec<String>, Vec<String>) = fields
        .cloned()
        .partition(|field| filter::is_of_chunk(field));
    let mut counts: Vec<Counts> = vec![Counts::new(); request.facets.len()];
    for (index, source) in sources.iter().enumerate() {
        let own = candidates.iter().filter(|c| c.source == index);
        let own: Vec<(Uuid, Arc<str>)> = own
            .map(|candidate| (candidate.id, Arc::clone(&candidate.document_id)))
            .collect();
        let places = if of_chunks.is_empty() {
            HashMap::new()
        } else {
            let ids = own.iter().map(|(id, _)| id);
            retrieve::locations(app, &source.dataset, ids).await?
        };
        let fields = request.facets.clone();
        let values = move |table: &Table| -> Vec<Counts> {
            let counts = fields.iter().map(|field| {
                let mut counts = Counts::new();
                for (id, document_id) in &own {
                    let place = places.get(id);
                    let of_chunk = place.and_then(|place| retrieve::of_location(field, place));
                    let of_chunk = of_chunk.as_ref().filter(|value| !value.is_null());
                    let value = of_chunk.or_else(|| table.value(field, document_id));
                    count(&mut counts, value, document_id);
                }
                counts
            });
            counts.collect()
        };
        let live = &source.live;
        let own = live.with_columns(&app.db, of_documents.clone(), values);
        for (counts, own) in counts.iter_mut().zip(own.await?) {
            for (text, (value, chunks, documents)) in own {
                let all = counts
                    .entry(text)
                    .or_insert_with(|| (value, 0, HashSet::new()));
                all.1 += chunks;
                all.2.extend(documents);
            }
        }
    }
    let facets = request.facets.iter().zip(counts);
    Ok(facets
        .map(|(field, counts)| facet(field.clone(), counts))
        .collect())
}

/// Counts the value of a field of a chunk; each item of a list counts.
fn count(counts: &mut Counts, value: Option<&Value>, document_id: &Arc<str>) {
    let values = match value {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[Value::Null],
    };
    for value in values {
        let entry = counts
            .entry(value.to_string())
            .or_insert_with(|| (value.clone(), 0, HashSet::new()));
        entry.1 += 1;
        entry.2.insert(Arc::clone(document_id));
    }
}

/// Returns a facet with the most frequent values.
fn facet(field: String, counts: Counts) -> Facet {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.1.cmp(&a.1.1).then_with(|| a.0.cmp(&b.0)));
    let others = counts.len().saturating_sub(VALUES);
    let values = counts.into_iter().take(VALUES);
    let values = values.map(|(_, (value, chunks, documents))| FacetValue {
        value,
        chunks,
        documents: documents.len(),
    });
    Facet {
        field,
        values: values.collect(),
        others,
    }
}
