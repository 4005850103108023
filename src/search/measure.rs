//! Measures of a ranking against judgements, as defined by `trec_eval`: nDCG with gains equal to the grades, recall, reciprocal rank, average
//! precision.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Grades of the judged documents of a query; above 0 is relevant.
pub type Judgements = HashMap<String, i64>;

/// Measures of one query, or their means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Measures {
    /// nDCG (normalised discounted cumulative gain) of the first 5 results.
    pub ndcg_at_5: f64,
    /// nDCG of the first 10 results.
    pub ndcg_at_10: f64,
    /// Whether the first result is relevant.
    pub hit_at_1: f64,
    /// Whether one of the first 5 results is relevant.
    pub hit_at_5: f64,
    /// Whether one of the first 10 results is relevant.
    pub hit_at_10: f64,
    /// Share of the relevant documents in the first 5 results.
    pub recall_at_5: f64,
    /// Share of the relevant documents in the first 10 results.
    pub recall_at_10: f64,
    /// Share of the relevant documents in the first 100 results.
    pub recall_at_100: f64,
    /// Reciprocal rank of the first relevant result, 0 after the 10th.
    pub mrr_at_10: f64,
    /// Average precision over the whole ranking.
    pub map: f64,
}

/// Measures a ranking, best first. Queries without relevant documents yield zeros, as in `trec_eval`.
#[must_use]
pub fn measure(ranking: &[String], judged: &Judgements) -> Measures {
    let grade = |id: &String| judged.get(id).copied().unwrap_or(0).max(0);
    let relevant = judged.values().filter(|g| **g > 0).count();
    if relevant == 0 {
        return Measures::default();
    }
    let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let gain = |k: usize| -> f64 {
        let first = ranking.iter().take(k).enumerate();
        first.map(|(i, id)| grade(id) as f64 * discount(i)).sum()
    };
    let mut ideal: Vec<i64> = judged.values().copied().filter(|g| *g > 0).collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let best = |k: usize| -> f64 {
        let first = ideal.iter().take(k).enumerate();
        first.map(|(i, g)| *g as f64 * discount(i)).sum()
    };
    let found = |k: usize| {
        ranking.iter().take(k).filter(|id| grade(id) > 0).count() as f64 / relevant as f64
    };
    let first = ranking.iter().take(10).position(|id| grade(id) > 0);
    let mut met = 0.0;
    let precision: f64 = ranking
        .iter()
        .enumerate()
        .filter(|(_, id)| grade(id) > 0)
        .map(|(i, _)| {
            met += 1.0;
            met / (i + 1) as f64
        })
        .sum();
    Measures {
        ndcg_at_5: gain(5) / best(5),
        ndcg_at_10: gain(10) / best(10),
        hit_at_1: f64::from(first.is_some_and(|i| i < 1)),
        hit_at_5: f64::from(first.is_some_and(|i| i < 5)),
        hit_at_10: f64::from(first.is_some()),
        recall_at_5: found(5),
        recall_at_10: found(10),
        recall_at_100: found(100),
        mrr_at_10: first.map_or(0.0, |i| 1.0 / (i + 1) as f64),
        map: precision / relevant as f64,
    }
}

/// Returns the mean over queries.
#[must_use]
pub fn mean(all: &[Measures]) -> Measures {
    let n = all.len().max(1) as f64;
    let average = |get: fn(&Measures) -> f64| all.iter().map(get).sum::<f64>() / n;
    Measures {
        ndcg_at_5: average(|m| m.ndcg_at_5),
        ndcg_at_10: average(|m| m.ndcg_at_10),
        hit_at_1: average(|m| m.hit_at_1),
        hit_at_5: average(|m| m.hit_at_5),
        hit_at_10: average(|m| m.hit_at_10),
        recall_at_5: average(|m| m.recall_at_5),
        recall_at_10: average(|m| m.recall_at_10),
        recall_at_100: average(|m| m.recall_at_100),
        mrr_at_10: average(|m| m.mrr_at_10),
        map: average(|m| m.map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_a_small_ranking() {
        let judged = Judgements::from([
            ("a".to_owned(), 2),
            ("b".to_owned(), 1),
            ("c".to_owned(), 0),
        ]);
        let ranking: Vec<String> = ["c", "b", "a"].map(str::to_owned).to_vec();
        let m = measure(&ranking, &judged);
        // DCG = 1/log2(3) + 2/log2(4); ideal = 2/log2(2) + 1/log2(3)
        let expected = (1.0 / 3_f64.log2() + 1.0) / (2.0 + 1.0 / 3_f64.log2());
        assert!((m.ndcg_at_10 - expected).abs() < 1e-12);
        assert!((m.map - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!((m.mrr_at_10, m.recall_at_5), (0.5, 1.0));
        assert_eq!(measure(&ranking, &Judgements::new()), Measures::default());
    }

    /// Compares with the reference program's own test run, where `CAIRN_TEST_TREC_EVAL` names the directory that holds it.
    #[test]
    fn measures_agree_with_trec_eval() {
        let Some(directory) = std::env::var_os("CAIRN_TEST_TREC_EVAL") else {
            eprintln!("CAIRN_TEST_TREC_EVAL is not set; nothing to compare with");
            return;
        };
        let read = |name: &str| {
            let path = std::path::Path::new(&directory).join(name);
            std::fs::read_to_string(path).expect("the suite is there")
        };
        let mut judged: HashMap<String, Judgements> = HashMap::new();
        for line in read("qrels.test").lines() {
            let cells: Vec<&str> = line.split_whitespace().collect();
            judged
                .entry(cells[0].to_owned())
                .or_default()
                .insert(cells[2].to_owned(), cells[3].parse().expect("a grade"));
        }
        let mut runs: HashMap<String, Vec<(f64, String)>> = HashMap::new();
        for line in read("results.test").lines() {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let row = (cells[4].parse().expect("a score"), cells[2].to_owned());
            runs.entry(cells[0].to_owned()).or_default().push(row);
        }
        let mut measured: HashMap<String, Measures> = HashMap::new();
        for (query, mut run) in runs {
            // `trec_eval` ignores the given ranks, and orders equal scores by id, last first.
            run.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| b.1.cmp(&a.1)));
            let ranking: Vec<String> = run.into_iter().map(|(_, id)| id).collect();
            measured.insert(query.clone(), measure(&ranking, &judged[&query]));
        }
        let mut compared = 0;
        for line in read("out.test.aq").lines() {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let Some(m) = measured.get(cells[1]) else {
                continue;
            };
            let ours = match cells[0] {
                "ndcg_cut_5" => m.ndcg_at_5,
                "ndcg_cut_10" => m.ndcg_at_10,
                "recall_5" => m.recall_at_5,
                "recall_10" => m.recall_at_10,
                "recall_100" => m.recall_at_100,
                "map" => m.map,
                "success_1" => m.hit_at_1,
                "success_5" => m.hit_at_5,
                "success_10" => m.hit_at_10,
                // Cairn's measure ends at the tenth.
                "recip_rank" if m.mrr_at_10 > 0.0 => m.mrr_at_10,
                _ => continue,
            };
            let theirs: f64 = cells[2].parse().expect("a number");
            assert!((ours - theirs).abs() < 5.1e-5, "{line}: {ours}");
            compared += 1;
        }
        assert!(compared >= 25, "{compared} values");
    }
}
