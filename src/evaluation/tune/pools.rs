//! Candidate pools of the queries, ranked again under other settings without new searches.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::super::runs::{self, Measured, judgements, ranking};
use super::super::sets::{Labels, Query};
use super::{AT_ONCE, CANDIDATES, DEPTH, GAIN, STEPS, Tried};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::search::alpha::KNOWN;
use crate::search::blend;
use crate::search::measure::{self, Judgements, Measures};
use crate::search::pool::{self, Pool};
use crate::search::{Defaults, Settings};

/// Returns the weights to try: `None` (chosen per query), then 0 to 1 in steps of a twentieth.
pub fn weights() -> impl Iterator<Item = Option<f32>> {
    let steps = (0..=STEPS).map(|s| Some(f32::from(s) / f32::from(STEPS)));
    std::iter::once(None).chain(steps)
}

/// Returns the best settings; among nearly equal ones, those with the fewest deviations from the defaults, then the weight nearest to the default.
pub(super) fn better(tried: &[Tried]) -> Tried {
    let most = tried.iter().map(|t| t.ndcg_at_10).fold(0.0, f64::max);
    let away = |t: &Tried| {
        let defaults = &t.defaults;
        let weight = defaults
            .hybrid_alpha
            .map_or(0.0, |a| 1.0 + (a - KNOWN).abs());
        f32::from(u8::from(defaults.feedback == Some(true))) * 10.0 + weight
    };
    let mut best = &tried[0];
    for other in tried.iter().filter(|t| t.ndcg_at_10 >= most - GAIN) {
        if best.ndcg_at_10 < most - GAIN || away(other) < away(best) {
            best = other;
        }
    }
    best.clone()
}

pub(super) async fn searches(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    defaults: Defaults,
    queries: &[&Query],
) -> Result<Vec<Measured>> {
    // A score limit would hide low-ranked candidates.
    let defaults = Defaults {
        min_score: None,
        ..defaults
    };
    let queries: Vec<Query> = queries.iter().map(|q| (*q).clone()).collect();
    let settings = Settings::default();
    runs::measure_all(
        app,
        caller,
        dataset_id,
        &settings,
        Some(defaults),
        &queries,
        None,
    )
    .await
}

/// The candidates of each query.
pub(super) struct Pools(Vec<(Labels, Judgements, Pool)>);

impl Pools {
    pub(super) async fn take(
        app: &Arc<App>,
        caller: &Caller,
        dataset_id: &str,
        queries: &[&Query],
        feedback: bool,
    ) -> Result<Self> {
        let settings = &Settings {
            top_k: Some(DEPTH),
            candidates: CANDIDATES.last().copied(),
            feedback: Some(feedback),
            ..Settings::default()
        };
        let owned: Vec<Query> = queries.iter().map(|q| (*q).clone()).collect();
        let pools = futures::stream::iter(owned)
            .map(|query| async move {
                let request = settings.request(query.text.clone(), vec![dataset_id.to_owned()])?;
                let labels = query.labels()?;
                let judged = judgements(&labels).0;
                let pool = pool::pool(app, caller, &request).await?;
                Ok::<_, Error>((labels, judged, pool))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self(pools))
    }

    /// Returns the mean nDCG@10 with a weight (`None`: chosen per query) and a number of candidates per list.
    pub(super) fn ndcg(&self, alpha: Option<f32>, candidates: usize) -> f64 {
        let each = self.0.iter().map(|(labels, judged, pool)| {
            let ranked = ordered(pool, alpha.unwrap_or(pool.automatic_alpha), candidates);
            measure::measure(&ranking(ranked.into_iter(), labels), judged)
        });
        measure::mean(&each.collect::<Vec<Measures>>()).ndcg_at_10
    }
}

/// Returns the passages of a pool, best first.
#[must_use]
pub fn ordered(pool: &Pool, alpha: f32, candidates: usize) -> Vec<(&str, i64, i64)> {
    let near = |rank: Option<usize>| rank.is_some_and(|r| r <= candidates);
    let mut scored: Vec<(f32, &pool::PoolItem)> = pool
        .items
        .iter()
        .filter(|item| near(item.raw.vector_rank) || near(item.raw.keyword_rank))
        .map(|item| (blend::absolute(&item.raw, pool.scale, alpha).score, item))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.chunk.cmp(&b.1.chunk)));
    scored
        .into_iter()
        .take(DEPTH)
        .map(|(_, item)| (&*item.document, item.span.0, item.span.1))
        .collect()
}
