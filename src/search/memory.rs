//! Search caches: responses, chunks that satisfy a filter, names of metadata fields. Every key contains the version of its dataset, so a change
//! creates new keys; old entries are evicted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::answer::Answer;
use super::live::Passing;

/// Approximate bytes of cached responses.
const ANSWERS: u64 = 64 << 20;
/// Approximate bytes of cached results of filters.
const PASSING: u64 = 64 << 20;
/// Lifetime of cached responses: times in them age.
const AGE: Duration = Duration::from_secs(600);

/// Search caches of one process.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Responses by everything that they depend on.
    pub answers: Cache<String, Arc<Answer>>,
    /// Chunks that may satisfy a filter.
    pub passing: Cache<String, Arc<Passing>>,
    /// Names of metadata fields.
    pub fields: Cache<String, Arc<HashSet<String>>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            answers: Cache::builder()
                .max_capacity(ANSWERS)
                .weigher(|_, answer: &Arc<Answer>| weight(answer.bytes()))
                .time_to_live(AGE)
                .build(),
            passing: Cache::builder()
                .max_capacity(PASSING)
                .weigher(|key: &String, passing: &Arc<Passing>| weight(key.len() + passing.bytes()))
                .time_to_live(AGE)
                .build(),
            fields: Cache::builder()
                .max_capacity(1000)
                .time_to_live(AGE)
                .build(),
        }
    }
}

/// Cached vocabulary fits of datasets, with a limited lifetime, by the live set of chunks.
pub type VocabularyFits = Cache<String, f32>;

/// Creates an empty cache of vocabulary fits.
#[must_use]
pub fn vocabulary_fits() -> VocabularyFits {
    Cache::builder()
        .max_capacity(10_000)
        .time_to_live(AGE)
        .build()
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).max(1)
}
