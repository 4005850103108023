//! Fusion of raw scores into one score in [0, 1]: the absolute blend of `DESIGN`, and rank fusion and min–max on request.

use cairn_models::Calibration;
use serde::{Deserialize, Serialize};

/// Fusion of two lists into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fusion {
    /// Absolute: a score means the same on every query.
    #[default]
    Blend,
    /// Reciprocal rank fusion (Cormack et al. 2009, k = 60), divided by its largest value.
    Rrf,
    /// Convex combination after min–max normalisation of each list.
    Minmax,
}

/// Raw scores of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Raw {
    /// Cosine; `None` while the chunk has no embedding, or when vectors were not requested.
    pub cosine: Option<f32>,
    /// BM25; `None` when keywords were not requested. Zero for a chunk without a term of the query.
    pub bm25: Option<f32>,
    /// Rank in the vector list, from 1.
    pub vector_rank: Option<usize>,
    /// Rank in the keyword list, from 1.
    pub keyword_rank: Option<usize>,
}

/// A score and its components: `score = vector_weight · vector + keyword_weight · keyword`, where an absent part has no weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// In [0, 1].
    pub score: f32,
    /// Normalised vector part.
    pub vector: Option<f32>,
    /// Normalised keyword part.
    pub keyword: Option<f32>,
    /// Weight of the vector part.
    pub vector_weight: f32,
    /// Weight of the keyword part.
    pub keyword_weight: f32,
}

const RRF_K: f32 = 60.0;

/// Returns `sqrt(bm25 / bound)`; 0 when the query has no terms.
#[must_use]
pub fn keyword_part(bm25: f32, bound: f32) -> f32 {
    if bound > 0.0 {
        (bm25 / bound).clamp(0.0, 1.0).sqrt()
    } else {
        0.0
    }
}

/// Scale of the raw scores of a query in a dataset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Map of the model's cosines.
    pub calibration: Calibration,
    /// Upper bound of BM25 for the query.
    pub bound: f32,
}

/// Returns the absolute blend. A candidate whose embedding is not there yet is scored by keywords alone.
#[must_use]
pub fn absolute(raw: &Raw, scale: Scale, alpha: f32) -> Score {
    let vector = raw.cosine.map(|cosine| scale.calibration.score(cosine));
    let keyword = raw.bm25.map(|bm25| keyword_part(bm25, scale.bound));
    let (vector_weight, keyword_weight) = match (vector, keyword) {
        (Some(_), Some(_)) => (alpha, 1.0 - alpha),
        (Some(_), None) => (1.0, 0.0),
        (None, Some(_)) => (0.0, 1.0),
        (None, None) => (0.0, 0.0),
    };
    combine(vector, keyword, vector_weight, keyword_weight)
}

/// Returns the rank fusion: each list contributes `1 / (60 + rank)`, scaled so that first in both lists is 1.
#[must_use]
pub fn ranks(raw: &Raw) -> Score {
    let part = |rank: Option<usize>| rank.map(|rank| (RRF_K + 1.0) / (RRF_K + rank as f32));
    combine(part(raw.vector_rank), part(raw.keyword_rank), 0.5, 0.5)
}

/// The smallest and largest raw scores of both lists, for [`relative`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    cosine: Option<(f32, f32)>,
    bm25: Option<(f32, f32)>,
}

impl Spread {
    /// Returns the spread over the members of each list.
    #[must_use]
    pub fn of<'a>(all: impl Iterator<Item = &'a Raw> + Clone) -> Self {
        let range = |values: &mut dyn Iterator<Item = f32>| {
            values.fold(None, |range: Option<(f32, f32)>, v| {
                Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
            })
        };
        Self {
            cosine: range(
                &mut all
                    .clone()
                    .filter(|r| r.vector_rank.is_some())
                    .filter_map(|r| r.cosine),
            ),
            bm25: range(
                &mut all
                    .filter(|r| r.keyword_rank.is_some())
                    .filter_map(|r| r.bm25),
            ),
        }
    }
}

/// Returns the min–max blend: a list's best is 1, its worst 0, and a candidate that a list does not contain has 0 there.
#[must_use]
pub fn relative(raw: &Raw, spread: &Spread, alpha: f32) -> Score {
    let scaled = |value: Option<f32>, rank: Option<usize>, range: Option<(f32, f32)>| match (
        value, rank, range,
    ) {
        (Some(value), Some(_), Some((low, high))) if high > low => (value - low) / (high - low),
        (Some(_), Some(_), Some(_)) => 1.0,
        _ => 0.0,
    };
    let vector = scaled(raw.cosine, raw.vector_rank, spread.cosine);
    let keyword = scaled(raw.bm25, raw.keyword_rank, spread.bm25);
    combine(Some(vector), Some(keyword), alpha, 1.0 - alpha)
}

fn combine(
    vector: Option<f32>,
    keyword: Option<f32>,
    vector_weight: f32,
    keyword_weight: f32,
) -> Score {
    let score = vector_weight * vector.unwrap_or(0.0) + keyword_weight * keyword.unwrap_or(0.0);
    Score {
        score,
        vector,
        keyword,
        vector_weight,
        keyword_weight,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn scale(bound: f32) -> Scale {
        Scale {
            calibration: Calibration::REFERENCE,
            bound,
        }
    }

    #[test]
    fn a_calibrated_cosine_is_linear_between_its_limits() {
        let raw = |cosine| Raw {
            cosine: Some(cosine),
            ..Raw::default()
        };
        let calibration = Calibration {
            low: 0.7,
            high: 0.9,
        };
        let score = |cosine| {
            let scale = Scale {
                calibration,
                bound: 1.0,
            };
            absolute(&raw(cosine), scale, 0.6).score
        };
        assert!((score(0.8) - 0.5).abs() < 1e-6);
        assert_eq!((score(0.6), score(0.95)), (0.0, 1.0));
    }

    #[test]
    fn the_blend_is_the_documented_sum() {
        let raw = Raw {
            cosine: Some(0.5),
            bm25: Some(4.0),
            ..Raw::default()
        };
        // 0.7 · (1 + 0.5)/2 + 0.3 · sqrt(4/16) = 0.525 + 0.15
        assert!((absolute(&raw, scale(16.0), 0.7).score - 0.675).abs() < 1e-6);
        let waiting = Raw {
            cosine: None,
            bm25: Some(4.0),
            ..Raw::default()
        };
        assert!((absolute(&waiting, scale(16.0), 0.7).score - 0.5).abs() < 1e-6);
    }

    #[test]
    fn rank_fusion_and_min_max_have_known_values() {
        let first = Raw {
            cosine: Some(0.9),
            bm25: Some(3.0),
            vector_rank: Some(1),
            keyword_rank: Some(1),
        };
        let last = Raw {
            cosine: Some(0.1),
            bm25: Some(0.0),
            vector_rank: Some(2),
            keyword_rank: None,
        };
        assert!((ranks(&first).score - 1.0).abs() < 1e-6);
        assert!((ranks(&last).score - 0.5 * 61.0 / 62.0).abs() < 1e-6);
        let spread = Spread::of([first, last].iter());
        assert!(
            (relative(&first, &spread, 0.7).score - 1.0).abs() < 1e-6
                && relative(&last, &spread, 0.7).score.abs() < 1e-6
        );
    }

    proptest! {
        #[test]
        fn scores_stay_in_range_and_grow_with_each_part(cosine in -1.0_f32..1.0, bm25 in 0.0_f32..20.0, alpha in 0.0_f32..1.0) {
            let score = |cosine, bm25| absolute(&Raw { cosine: Some(cosine), bm25: Some(bm25), ..Raw::default() }, scale(20.0), alpha).score;
            prop_assert!((0.0..=1.0).contains(&score(cosine, bm25)));
            prop_assert!(score((cosine + 0.1).min(1.0), bm25) >= score(cosine, bm25) && score(cosine, (bm25 + 1.0).min(20.0)) >= score(cosine, bm25));
        }
    }
}
