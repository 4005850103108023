//! Limits on the number of things that are open at the same time, in total and by owner.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of open things, in total and by key.
pub struct Counts<K>(Arc<Mutex<State<K>>>);

struct State<K> {
    all: usize,
    by_key: HashMap<K, usize>,
}

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The total limit.
    All,
    /// The limit of the key.
    Key,
}

/// Counts as one until it is dropped.
pub struct Counted<K: Eq + Hash> {
    counts: Counts<K>,
    key: K,
}

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            all: 0,
            by_key: HashMap::new(),
        })))
    }
}

impl<K> Counts<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of open things in total.
    #[must_use]
    pub fn all(&self) -> usize {
        self.state().all
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    /// Opens one more, unless `most` are open in total or `most_by_key` with this key.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn open(&self, key: &K, most: usize, most_by_key: usize) -> Result<Counted<K>, Full> {
        let mut state = self.state();
        let own = state.by_key.get(key).copied().unwrap_or_default();
        if own >= most_by_key {
            return Err(Full::Key);
        }
        if state.all >= most {
            return Err(Full::All);
        }
        state.all += 1;
        state.by_key.insert(key.clone(), own + 1);
        Ok(Counted {
            counts: self.clone(),
            key: key.clone(),
        })
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut state = self.counts.state();
        state.all -= 1;
        if let Some(count) = state.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.by_key.remove(&self.key);
            }
        }
    }
}

impl<K> fmt::Debug for Counts<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counts").field(&self.all()).finish()
    }
}

impl<K: Eq + Hash> fmt::Debug for Counted<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_number_and_gets_it_back() {
        let counts = Counts::default();
        let first = counts.open(&"a", 3, 2);
        let second = counts.open(&"a", 3, 2);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(counts.open(&"a", 3, 2).expect_err("full"), Full::Key);
        let other = counts.open(&"b", 3, 2);
        assert_eq!(counts.open(&"c", 3, 2).expect_err("full"), Full::All);
        drop(first);
        assert!(counts.open(&"a", 3, 2).is_ok());
        drop((second, other));
        assert!(counts.all() == 0 && counts.state().by_key.is_empty());
    }
}
