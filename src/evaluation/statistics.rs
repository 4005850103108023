//! Statistics of evaluation: the paired bootstrap (Efron 1979; Sakai 2006 for retrieval), and the calibration of scores.

use serde::{Deserialize, Serialize};

use fastrand::Rng;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 5000;

/// A mean with the interval that covers 95 % of its bootstrap resamples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Interval {
    /// Mean of the differences.
    pub mean: f64,
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Returns the bootstrap interval of the mean of paired differences; deterministic for the same input.
#[must_use]
pub fn interval(differences: &[f64]) -> Interval {
    let n = differences.len();
    if n == 0 {
        return Interval {
            mean: 0.0,
            low: 0.0,
            high: 0.0,
        };
    }
    let mean = differences.iter().sum::<f64>() / n as f64;
    let mut random = Rng::with_seed(0x9E37_79B9_7F4A_7C15);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| differences[random.usize(..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
    Interval {
        mean,
        low: at(0.025),
        high: at(0.975),
    }
}

/// Returns the quantile of sorted values at a share; 0 for an empty slice.
#[must_use]
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// The score of a query's top hit, and whether that is relevant.
pub type Outcome = (f64, bool);

/// A row of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reliability {
    /// Lower bound of the scores.
    pub from: f64,
    /// Upper bound of the scores.
    pub to: f64,
    /// Number of queries whose top hit has such a score.
    pub queries: usize,
    /// Share of these queries whose top hit is relevant.
    pub answered: f64,
}

/// Returns the share of relevant top hits by score, in bins of a tenth; empty bins are left out.
#[must_use]
pub fn reliability(outcomes: &[Outcome]) -> Vec<Reliability> {
    (0..10)
        .filter_map(|tenth| {
            let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
            let within: Vec<bool> = outcomes
                .iter()
                .filter(|(score, _)| {
                    *score >= from && (*score < to || (tenth == 9 && *score <= to))
                })
                .map(|(_, answered)| *answered)
                .collect();
            let answered = within.iter().filter(|a| **a).count();
            (!within.is_empty()).then(|| Reliability {
                from,
                to,
                queries: within.len(),
                answered: answered as f64 / within.len() as f64,
            })
        })
        .collect()
}

/// Returns the score threshold with the largest Youden's index (sensitivity + specificity − 1) between relevant and other top hits. `None` unless both kinds
/// exist.
#[must_use]
pub fn threshold(outcomes: &[Outcome]) -> Option<f64> {
    let answers = outcomes.iter().filter(|(_, answered)| *answered).count();
    let others = outcomes.len() - answers;
    if answers == 0 || others == 0 {
        return None;
    }
    let mut sorted = outcomes.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut best, mut at) = (f64::MIN, sorted[0].0);
    let (mut lost, mut rejected) = (0, 0);
    for (index, (score, answered)) in sorted.iter().enumerate() {
        let index_of_youden = rejected as f64 / others as f64 - lost as f64 / answers as f64;
        // No threshold can separate equal scores.
        let divides = index == 0 || sorted[index - 1].0 < *score;
        if divides && index_of_youden > best {
            let below = index.checked_sub(1).map_or(*score, |i| sorted[i].0);
            (best, at) = (index_of_youden, f64::midpoint(below, *score));
        }
        if *answered {
            lost += 1;
        } else {
            rejected += 1;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_its_mean_and_tells_noise_from_gain() {
        let gain: Vec<f64> = (0..200).map(|i| 0.1 + f64::from(i % 7) * 0.01).collect();
        let found = interval(&gain);
        assert!(found.low > 0.0 && found.low < found.mean && found.mean < found.high);
        let noise: Vec<f64> = (0..200)
            .map(|i| if i % 2 == 0 { 0.3 } else { -0.3 })
            .collect();
        let found = interval(&noise);
        assert!(found.low < 0.0 && found.high > 0.0);
        assert_eq!(interval(&noise), found, "the same for the same numbers");
    }

    #[test]
    fn a_threshold_divides_answers_from_the_rest() {
        let outcomes = [
            (0.2, false),
            (0.3, false),
            (0.5, true),
            (0.45, false),
            (0.7, true),
            (0.9, true),
        ];
        let found = threshold(&outcomes).expect("both kinds");
        assert!(found > 0.45 && found <= 0.5, "{found}");
        assert_eq!(threshold(&[(0.5, true)]), None);
    }

    #[test]
    fn reliability_counts_by_tenths() {
        let rows = reliability(&[(0.41, true), (0.49, false), (1.0, true)]);
        assert_eq!(rows.len(), 2);
        assert!((rows[0].answered - 0.5).abs() < 1e-9 && rows[0].queries == 2);
        assert!((rows[1].from - 0.9).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (
                percentile(&values, 0.5),
                percentile(&values, 0.95),
                percentile(&values, 1.0)
            ),
            (50.0, 95.0, 100.0)
        );
    }
}
