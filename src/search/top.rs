//! The best items of a stream, by score.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The `limit` best of the items pushed so far; of equal scores, smaller items are better.
#[derive(Debug)]
pub struct Top<T> {
    limit: usize,
    /// The worst one is on top.
    heap: BinaryHeap<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    score: f32,
    item: T,
}

impl<T: Ord> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then_with(|| self.item.cmp(&other.item))
    }
}

impl<T: Ord> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Ord> Eq for Entry<T> {}

impl<T: Ord> Top<T> {
    /// Creates an empty one that keeps `limit` items.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            heap: BinaryHeap::with_capacity(limit.min(20_000) + 1),
        }
    }

    /// Returns the score below which no item is kept any more.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.limit => worst.score,
            _ => f32::MIN,
        }
    }

    /// Offers an item, and returns the new threshold.
    pub fn push(&mut self, score: f32, item: T) -> f32 {
        self.heap.push(Entry { score, item });
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
        self.threshold()
    }

    /// Returns the items kept, best first.
    #[must_use]
    pub fn into_sorted(self) -> Vec<(f32, T)> {
        let entries = self.heap.into_sorted_vec().into_iter();
        entries.map(|entry| (entry.score, entry.item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order_and_ties_by_item() {
        let mut top = Top::new(3);
        for (score, item) in [(0.1, 1), (0.5, 2), (0.5, 9), (0.9, 4), (0.5, 3)] {
            top.push(score, item);
        }
        assert_eq!(top.threshold(), 0.5);
        assert_eq!(top.into_sorted(), [(0.9, 4), (0.5, 2), (0.5, 3)]);
    }

    #[test]
    fn nothing_is_refused_before_the_limit() {
        let mut top = Top::new(2);
        assert_eq!(top.push(-5.0, 1), f32::MIN);
        assert_eq!(top.push(-7.0, 2), -7.0);
    }
}
