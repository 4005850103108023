//! The candidates of a search with the components of their scores: weights, fusion and threshold can be varied without searching again, by a tuner or
//! by a page in a browser.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::alpha::Weight;
use super::blend::{Raw, Scale};
use super::live::DocumentRow;
use super::query::{chosen, gather, scored};
use super::request::{Defaults, Request};
use super::retrieve::{self, Source};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::{Error, Result};
use crate::kb::{Chunk, chunks};

/// The candidates of a query in one dataset with the components of their scores, so that weights can be varied without searching again.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Automatic weight of the vectors for model and query.
    pub automatic_alpha: f32,
    /// Scale of the raw scores.
    pub scale: Scale,
    pub items: Vec<PoolItem>,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct PoolItem {
    /// Id of its chunk as a number, because ids are many.
    pub chunk: Uuid,
    /// Id of its document.
    pub document: Arc<str>,
    /// Range in the document's text, in characters.
    pub span: (i64, i64),
    pub raw: Raw,
}

/// Returns the candidates of a query.
///
/// # Errors
/// Those of [`search`].
pub async fn pool(app: &Arc<App>, caller: &Caller, request: &Request) -> Result<Pool> {
    caller.need(Scope::KbSearch)?;
    // The automatic weight is between the bounds, so both lists are needed.
    let request = Request {
        alpha: None,
        defaults: Some(Defaults::default()),
        ..request.clone()
    };
    request.check()?;
    let engine = app.engine().await?;
    let dataset = chosen(app, caller, &request)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal("no dataset was searched"))?;
    let fields = retrieve::fields_of(app, std::slice::from_ref(&dataset), &request).await?;
    let mut sources = [Source::prepare(app, engine, &request, dataset, &fields).await?];
    let found = gather(app, &request, &mut sources, request.top_k).await?;
    if let Some(trouble) = sources[0].troubles(app, &request).first() {
        return Err(Error::unavailable(
            "search_degraded",
            format!("cannot tune while searches are incomplete: {trouble}"),
        ));
    }
    let ([source], Some(found)) = (sources, found.into_iter().next()) else {
        return Err(Error::internal("a source returned no candidates"));
    };
    let places = retrieve::locations(app, &source.dataset, found.found.keys()).await?;
    let item = |(id, raw): (Uuid, Raw)| {
        let place = places.get(&id)?;
        Some(PoolItem {
            chunk: id,
            document: Arc::clone(found.documents.get(&id)?),
            span: (place.start_char, place.end_char),
            raw,
        })
    };
    Ok(Pool {
        automatic_alpha: source.weight.alpha,
        scale: source.scale(),
        items: found
            .found
            .iter()
            .map(|(id, raw)| (*id, *raw))
            .filter_map(item)
            .collect(),
    })
}

/// Maximum number of candidates returned.
const MOST: usize = 4000;

/// The candidates of a search over any number of datasets, as shown to users.
#[derive(Debug, Clone)]
pub struct Pooled {
    /// Common properties of the candidates of each dataset.
    pub datasets: Vec<PooledDataset>,
    /// Candidates, best first, at most 4,000.
    pub items: Vec<PooledItem>,
    /// Whether there were more.
    pub truncated: bool,
}

/// Common properties of the candidates of a dataset.
#[derive(Debug, Clone)]
pub struct PooledDataset {
    pub id: String,
    /// Scale of the raw scores.
    pub scale: Scale,
    /// Weight of the vectors in this search.
    pub weight: Weight,
    /// Weight of the vectors if the request named none.
    pub usual_alpha: f32,
    /// Threshold if the request named none.
    pub usual_min_score: f32,
    /// Whether the keyword list counts even when the vectors have all the weight: the query has conditions, or nothing but conditions.
    pub always_words: bool,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct PooledItem {
    pub chunk: Chunk,
    pub file_name: String,
    /// Title of its document.
    pub title: Option<String>,
    /// Index of its dataset in [`Pooled::datasets`].
    pub dataset: usize,
    pub raw: Raw,
}

/// Returns the candidates of a search from both lists, whatever its weights are: before reranking, thresholds, diversity.
///
/// # Errors
/// Those of [`super::search`].
pub async fn candidates(app: &Arc<App>, caller: &Caller, request: &Request) -> Result<Pooled> {
    caller.need(Scope::KbSearch)?;
    request.check()?;
    let engine = app.engine().await?;
    let datasets = chosen(app, caller, request).await?;
    let fields = retrieve::fields_of(app, &datasets, request).await?;
    let usual = Request {
        alpha: None,
        ..request.clone()
    };
    // A search that has all the weight on one side omits the other list.
    let both = Request {
        alpha: Some(0.5),
        ..request.clone()
    };
    let (mut sources, mut weights) = (Vec::new(), Vec::new());
    for dataset in datasets {
        let prepare = |request| Source::prepare(app, engine, request, dataset.clone(), &fields);
        let mut source = prepare(&usual).await?;
        let usual_alpha = source.weight.alpha;
        let weight = match request.alpha {
            Some(_) => Weight::named(request.alpha),
            None => source.weight.clone(),
        };
        if usual_alpha <= 0.0 || usual_alpha >= 1.0 {
            source = prepare(&both).await?;
        }
        if weight.alpha > 0.0 && weight.alpha < 1.0 {
            source.weight.alpha = weight.alpha;
        }
        weights.push((weight, usual_alpha));
        sources.push(source);
    }
    let found = gather(app, request, &mut sources, request.top_k).await?;
    // Feedback may have changed the bound of a query.
    let shown = sources.iter().zip(weights);
    let shown = shown.map(|(source, (weight, usual_alpha))| PooledDataset {
        id: source.dataset.id.clone(),
        scale: source.scale(),
        weight,
        usual_alpha,
        usual_min_score: source.defaults.min_score.unwrap_or(0.0),
        always_words: source.analysed.has_conditions() || source.vector.is_none(),
    });
    let mut ordered = scored(request, &sources, &found);
    let truncated = ordered.len() > MOST;
    ordered.truncate(MOST);
    let ids: Vec<String> = ordered.iter().map(|c| c.id.to_string()).collect();
    let rows = chunks::by_ids(app, caller.tenant(), &ids).await?;
    let documents: HashSet<String> = rows.iter().map(|c| c.document_id.clone()).collect();
    let documents = retrieve::documents(app, caller.tenant(), documents).await?;
    let mut rows: HashMap<String, Chunk> = rows.into_iter().map(|c| (c.id.clone(), c)).collect();
    let items = ordered.into_iter().filter_map(|candidate| {
        let chunk = rows.remove(&candidate.id.to_string())?;
        let document: &DocumentRow = documents.get(&chunk.document_id)?;
        Some(PooledItem {
            file_name: document.file_name.clone(),
            title: document.title.clone(),
            dataset: candidate.source,
            raw: candidate.raw,
            chunk,
        })
    });
    Ok(Pooled {
        items: items.collect(),
        datasets: shown.collect(),
        truncated,
    })
}
