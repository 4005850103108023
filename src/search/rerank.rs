//! Reranks the top candidates with a cross-encoder, within a time limit. When the limit is exceeded, the order of the blend is kept and the response
//! reports it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Reranking;
use super::candidate::Candidate;
use super::explain::Reranked;
use super::query::sort;
use super::request::Request;
use super::retrieve::Source;
use crate::app::App;
use crate::error::{Error, Result};
use crate::kb::chunks;

/// Time limit of searches that may be slow, as in an evaluation.
const PATIENCE: Duration = Duration::from_secs(600);

/// Returns `1 / (1 + exp(-logit))`: cross-encoders are trained with it, so the score is the probability that the passage answers the query.
#[must_use]
pub fn calibrated(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the top candidates, reranked; the others are dropped, because their scores are not comparable.
pub(super) async fn apply(
    app: &Arc<App>,
    request: &Request,
    sources: &[Source],
    mut candidates: Vec<Candidate>,
) -> Result<(Vec<Candidate>, Option<Reranking>)> {
    let wanted = request
        .rerank
        .or_else(|| sources.first().and_then(|s| s.defaults.rerank));
    if wanted != Some(true) {
        return Ok((candidates, None));
    }
    if request.rerank.is_none() && app.config.reranker.is_empty() {
        // The default was set when there was a model: a search that does not request reranking itself continues, and reports it.
        let missing = Reranking {
            outcome: "notConfigured",
            model: String::new(),
            candidates: 0,
        };
        return Ok((candidates, Some(missing)));
    }
    let reranker = app.reranker().await?;
    let Some(source) = sources.first() else {
        return Ok((candidates, None));
    };
    let head = app.config.rerank_candidates;
    let mut outcome = Reranking {
        outcome: "reranked",
        model: reranker.name().to_owned(),
        candidates: candidates.len().min(head),
    };
    let ids: Vec<String> = candidates
        .iter()
        .take(head)
        .map(|c| c.id.to_string())
        .collect();
    let texts: HashMap<String, String> = chunks::by_ids(app, &source.dataset.tenant_id, &ids)
        .await?
        .into_iter()
        .map(|c| (c.id.clone(), c.indexed_text()))
        .collect();
    let passages: Vec<String> = ids
        .iter()
        .map(|id| texts.get(id).cloned().unwrap_or_default())
        .collect();
    let budget = if request.patient {
        PATIENCE
    } else {
        Duration::from_millis(app.config.rerank_budget_ms)
    };
    let until = Instant::now() + budget;
    let query = source.parsed.text.clone();
    let logits =
        tokio::task::spawn_blocking(move || reranker.logits(&query, &passages, until)).await?;
    let Some(logits) = logits.map_err(Error::from)? else {
        metrics::counter!("cairn_rerank_out_of_time_total").increment(1);
        outcome.outcome = "outOfTime";
        return Ok((candidates, Some(outcome)));
    };
    candidates.truncate(head);
    for (rank, (candidate, logit)) in (1..).zip(candidates.iter_mut().zip(logits)) {
        candidate.rerank = Some(Reranked {
            logit,
            score: calibrated(logit),
            rank_before: rank,
            rank_after: 0,
        });
    }
    sort(&mut candidates);
    for (rank, candidate) in (1..).zip(&mut candidates) {
        if let Some(rerank) = &mut candidate.rerank {
            rerank.rank_after = rank;
        }
    }
    Ok((candidates, Some(outcome)))
}
