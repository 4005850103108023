//! Near-duplicates by simhash (Charikar 2002): texts that share most of their runs of three words have nearly the same 64 bits.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Words per shingle.
const SHINGLE: usize = 3;
/// Maximum number of bits in which near-duplicates differ: about one shingle in sixteen is different. Unrelated texts differ in 32 on average.
const NEAR: u32 = 7;

/// Returns the simhash of a text, from its words without case and punctuation. Comparable within one process only.
#[must_use]
pub fn simhash(text: &str) -> u64 {
    let words = words(text);
    let mut sums = [0_i32; 64];
    let width = SHINGLE.min(words.len().max(1));
    for shingle in words.windows(width) {
        let mut hasher = DefaultHasher::new();
        shingle.hash(&mut hasher);
        let hash = hasher.finish();
        for (bit, sum) in sums.iter_mut().enumerate() {
            *sum += if hash >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    sums.iter()
        .enumerate()
        .filter(|(_, sum)| **sum > 0)
        .fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// Returns whether two simhashes are those of near-duplicates.
#[must_use]
pub fn are_near(a: u64, b: u64) -> bool {
    (a ^ b).count_ones() <= NEAR
}

/// Returns the similarity of two texts, 0 to 1: the share of their runs of three words that both contain (resemblance, Broder 1997).
#[must_use]
pub fn resemblance(a: &str, b: &str) -> f64 {
    let (a, b) = (shingles(a), shingles(b));
    let shared = a.intersection(&b).count();
    let all = a.len() + b.len() - shared;
    if all == 0 {
        0.0
    } else {
        shared as f64 / all as f64
    }
}

fn shingles(text: &str) -> HashSet<u64> {
    let words = words(text);
    words
        .windows(SHINGLE.min(words.len().max(1)))
        .map(|shingle| {
            let mut hasher = DefaultHasher::new();
            shingle.hash(&mut hasher);
            hasher.finish()
        })
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: usize, seed: usize) -> String {
        (0..words)
            .map(|i| format!("word{} ", (i * 7919 + seed * 104_729) % 5003))
            .collect()
    }

    #[test]
    fn resemblance_is_the_share_of_what_both_say() {
        let original = text(60, 1);
        assert!((resemblance(&original, &original.to_uppercase()) - 1.0).abs() < 1e-9);
        let changed = original.replacen(' ', " Other, ", 1);
        assert!(resemblance(&original, &changed) > 0.9);
        assert!(resemblance(&original, &text(60, 1000)) < 0.1);
        assert!(resemblance("", "").abs() < f64::EPSILON);
    }

    #[test]
    fn a_changed_word_is_near_and_another_text_is_not() {
        for seed in 0..40 {
            let original = text(120, seed);
            let changed = original.replacen(' ', " Other, ", 1);
            assert!(
                are_near(simhash(&original), simhash(&changed)),
                "seed {seed}"
            );
            assert!(
                !are_near(simhash(&original), simhash(&text(120, seed + 1000))),
                "seed {seed}"
            );
        }
        assert!(are_near(
            simhash("One, two three!"),
            simhash("one two THREE")
        ));
        assert_eq!(simhash(""), 0);
    }
}
