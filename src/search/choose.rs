//! Selects hits from the ordered candidates: near-duplicates folded, hits per document capped, diverse ones first on request, page by page.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_models::cosine;
use uuid::Uuid;

use super::candidate::{Candidate, Cursor};
use super::near;
use super::request::Request;
use super::retrieve::{self, Source};
use crate::app::App;
use crate::error::Result;
use crate::kb::chunks;

/// Candidates among which maximal marginal relevance chooses.
const MMR_DEPTH: usize = 100;
/// Candidates whose texts are loaded together for folding.
const FOLD_PAGE: usize = 100;

/// Selected candidates.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub shown: Vec<Candidate>,
    /// Number of candidates folded into each of them.
    pub folded: HashMap<Uuid, usize>,
    /// Start of the next page; `None` at the end.
    pub next: Option<Cursor>,
}

/// Selects from candidates, best first.
pub(super) async fn choose(
    app: &App,
    request: &Request,
    sources: &[Source],
    mut candidates: Vec<Candidate>,
    cursor: Option<&Cursor>,
) -> Result<Chosen> {
    // Previous pages are selected again, so that folding and counting continue from there.
    let enough = request.top_k + cursor.map_or(0, |c| c.seen) + 1;
    let mmr = request.mmr.or_else(|| {
        sources
            .first()
            .and_then(|s| s.defaults.mmr)
            .filter(|_| cursor.is_none())
    });
    let mut folded = HashMap::new();
    if request.fold {
        let depth = if mmr.is_some() {
            MMR_DEPTH.max(enough)
        } else {
            enough
        };
        folded = fold(app, sources, &mut candidates, depth, request.per_document).await?;
    }
    if let Some(most) = request.per_document {
        let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
        candidates.retain(|c| {
            let count = counts.entry(Arc::clone(&c.document_id)).or_default();
            *count += 1;
            *count <= most
        });
    }
    if let Some(lambda) = mmr {
        candidates = diverse(app, sources, candidates, lambda, request.top_k).await?;
    }
    if let Some(cursor) = cursor {
        candidates.retain(|c| !cursor.is_behind(c));
    }
    let more = candidates.len() > request.top_k;
    candidates.truncate(request.top_k);
    let seen = cursor.map_or(0, |c| c.seen) + candidates.len();
    let next = candidates
        .last()
        .filter(|_| more && mmr.is_none())
        .map(|last| Cursor {
            score: last.value(),
            id: last.id,
            seen,
            depth: cursor.map_or(request.top_k, |c| c.depth),
        });
    Ok(Chosen {
        shown: candidates,
        folded,
        next,
    })
}

/// Keeps the best of near-duplicate candidates, until there are enough, and returns the number folded into each of them. Candidates behind the last one
/// kept are not compared.
async fn fold(
    app: &App,
    sources: &[Source],
    candidates: &mut Vec<Candidate>,
    enough: usize,
    per_document: Option<usize>,
) -> Result<HashMap<Uuid, usize>> {
    let mut kept: Vec<(Uuid, u64)> = Vec::new();
    let mut folded: HashMap<Uuid, usize> = HashMap::new();
    let mut documents: HashMap<Arc<str>, usize> = HashMap::new();
    let Some(tenant_id) = sources.first().map(|s| s.dataset.tenant_id.clone()) else {
        return Ok(folded);
    };
    for page in candidates.chunks(FOLD_PAGE) {
        let ids: Vec<String> = page.iter().map(|c| c.id.to_string()).collect();
        let rows: HashMap<String, u64> = chunks::by_ids(app, &tenant_id, &ids)
            .await?
            .into_iter()
            .map(|c| (c.id, near::simhash(&c.content)))
            .collect();
        for candidate in page {
            let Some(hash) = rows.get(&candidate.id.to_string()).copied() else {
                continue;
            };
            match kept.iter().find(|(_, other)| near::are_near(hash, *other)) {
                Some((better, _)) => *folded.entry(*better).or_default() += 1,
                // Near-duplicates of a hit on the rest of the page still count for it.
                None if kept.len() < enough => {
                    let count = documents
                        .entry(Arc::clone(&candidate.document_id))
                        .or_default();
                    *count += 1;
                    // Candidates above the cap of their document do not count.
                    if per_document.is_none_or(|most| *count <= most) {
                        kept.push((candidate.id, hash));
                    }
                }
                None => {}
            }
        }
        if kept.len() >= enough {
            break;
        }
    }
    candidates.retain(|c| kept.iter().any(|(id, _)| *id == c.id));
    Ok(folded)
}

/// Selects by maximal marginal relevance (Carbonell and Goldstein 1998): next is the candidate with the largest `lambda · score − (1 − lambda) · max
/// similarity to those chosen`, where the similarity is the cosine, mapped to the range of the reference model. Candidates without a vector count as
/// different from all.
async fn diverse(
    app: &App,
    sources: &[Source],
    mut candidates: Vec<Candidate>,
    lambda: f32,
    wanted: usize,
) -> Result<Vec<Candidate>> {
    candidates.truncate(MMR_DEPTH.max(wanted));
    let mut vectors: HashMap<String, Vec<f32>> = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        let ids: Vec<String> = candidates
            .iter()
            .filter(|c| c.source == index)
            .map(|c| c.id.to_string())
            .collect();
        vectors.extend(retrieve::vectors(app, &source.dataset, &ids).await?);
    }
    let mut left: Vec<(Candidate, f32)> = candidates.into_iter().map(|c| (c, 0.0)).collect();
    let mut chosen: Vec<Candidate> = Vec::with_capacity(wanted);
    while chosen.len() < wanted + 1 && !left.is_empty() {
        let value = |(candidate, nearest): &(Candidate, f32)| {
            lambda * candidate.value() - (1.0 - lambda) * nearest
        };
        let mut best = 0;
        for (index, entry) in left.iter().enumerate() {
            if value(entry) > value(&left[best]) {
                best = index;
            }
        }
        let (next, _) = left.remove(best);
        if let Some(taken) = vectors.get(&next.id.to_string()) {
            let calibration = sources[next.source].scale().calibration;
            for (candidate, nearest) in &mut left {
                // Vectors of different models cannot be compared.
                if let Some(vector) = vectors
                    .get(&candidate.id.to_string())
                    .filter(|v| v.len() == taken.len())
                {
                    let score = calibration.score(cosine(vector, taken));
                    *nearest = nearest.max(2.0 * score - 1.0);
                }
            }
        }
        chosen.push(next);
    }
    Ok(chosen)
}
