//! What searches remember until something changes: answers, documents that satisfy a filter, names of metadata fields. Every key has the version
//! of its dataset, so a change makes new keys; what is old falls out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::answer::Answer;
use super::vector::Among;

/// Bytes of answers kept, nearly.
const ANSWERS: u64 = 64 << 20;
/// Bytes of document ids kept, over all filters, nearly.
const DOCUMENTS: u64 = 64 << 20;
/// Answers are kept this long: times in them age.
const AGE: Duration = Duration::from_secs(600);

/// The memory of one process.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Answers by everything that they depend on.
    pub answers: Cache<String, Arc<Answer>>,
    /// Documents that may satisfy a filter.
    pub documents: Cache<String, Arc<Among>>,
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
            documents: Cache::builder()
                .max_capacity(DOCUMENTS)
                .weigher(|key: &String, among: &Arc<Among>| {
                    weight(key.len() + 50 * among.documents.len())
                })
                .time_to_live(AGE)
                .build(),
            fields: Cache::builder()
                .max_capacity(1000)
                .time_to_live(AGE)
                .build(),
        }
    }
}

/// What was measured of datasets' languages, for a while, by the set of chunks that is searched.
pub type VocabularyFits = Cache<String, f32>;

/// An empty memory of what was measured.
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
