//! States of this process's indexes: how far each is, and which are being built, failing or damaged. Each index of each set is independent: one that
//! fails is retried after a while and does not delay others.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Pause after a failure; doubled up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Delay from which an index that is behind is reported.
const LATE: Duration = Duration::from_secs(5);

/// One of the two indexes of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// Keyword index.
    Keyword,
    /// Vector index.
    Vector,
}

impl Index {
    /// Both indexes.
    pub const BOTH: [Self; 2] = [Self::Keyword, Self::Vector];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Vector => "vector",
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} index", self.name())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Not checked since this process started.
    #[default]
    Unknown,
    /// Follows the log.
    Following,
    /// Being built from the rows: chunks done and in total.
    Building { done: u64, total: u64 },
    /// Its content is invalid; the follower is about to rebuild it.
    Damaged,
}

#[derive(Debug, Clone, Default)]
struct State {
    position: i64,
    phase: Phase,
    failures: u32,
    retry_at: Option<Instant>,
    error: Option<String>,
    behind_since: Option<Instant>,
}

/// The states of all indexes of this process, by set.
#[derive(Debug, Default)]
pub struct IndexStates(Mutex<HashMap<String, [State; 2]>>);

/// Counts of indexes that are not in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of indexes not checked yet, or being built.
    pub building: usize,
    /// Number of chunks in those that are being built.
    pub done: u64,
    /// Number of chunks that those will have.
    pub total: u64,
    /// Number of indexes that failed at the last attempt.
    pub failing: usize,
}

impl Summary {
    /// Returns sentences for users; empty when all is well.
    #[must_use]
    pub fn summaries(&self) -> Vec<String> {
        let indexes = |n: usize| match n {
            1 => "1 index".to_owned(),
            n => format!("{n} indexes"),
        };
        let building = (self.building > 0).then(|| {
            format!(
                "{} being built, {} % done",
                indexes(self.building),
                percent(self.done, self.total)
            )
        });
        let failing = (self.failing > 0).then(|| format!("{} failing", indexes(self.failing)));
        building.into_iter().chain(failing).collect()
    }
}

fn percent(done: u64, total: u64) -> u64 {
    // A total of 0 does not count as done before it is checked.
    done.saturating_mul(100).checked_div(total).unwrap_or(0)
}

impl IndexStates {
    fn sets(&self) -> MutexGuard<'_, HashMap<String, [State; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, set: &str, index: Index, change: impl FnOnce(&mut State)) {
        let mut sets = self.sets();
        change(&mut sets.entry(set.to_owned()).or_default()[index as usize]);
    }

    /// Returns the log positions of the keyword and the vector index of a set.
    #[must_use]
    pub fn positions(&self, set: &str) -> (i64, i64) {
        let sets = self.sets();
        let [keyword, vector] = sets.get(set).cloned().unwrap_or_default();
        (keyword.position, vector.position)
    }

    /// Forgets sets that are gone.
    pub fn keep_only(&self, sets: &[&str]) {
        self.sets().retain(|set, _| sets.contains(&set.as_str()));
    }

    /// Returns whether an index may be worked on now: it did not fail, or long enough ago.
    #[must_use]
    pub fn is_due(&self, set: &str, index: Index) -> bool {
        let sets = self.sets();
        let state = sets.get(set).map(|states| &states[index as usize]);
        state
            .and_then(|s| s.retry_at)
            .is_none_or(|at| at <= Instant::now())
    }

    /// Returns whether an index is known to be damaged.
    #[must_use]
    pub fn is_damaged(&self, set: &str, index: Index) -> bool {
        let sets = self.sets();
        let state = sets.get(set).map(|states| &states[index as usize]);
        state.is_some_and(|s| s.phase == Phase::Damaged)
    }

    /// Records that an index has everything up to a position of a log that ends at `head`; `true` when it was not there before.
    pub fn reached(&self, set: &str, index: Index, position: i64, head: i64) -> bool {
        let mut is_new = false;
        self.change(set, index, |state| {
            is_new = state.position != position;
            let behind = position < head;
            *state = State {
                position,
                phase: Phase::Following,
                behind_since: behind.then(|| state.behind_since.unwrap_or_else(Instant::now)),
                ..State::default()
            };
        });
        is_new
    }

    /// Records the progress of building an index from the rows.
    pub fn building(&self, set: &str, index: Index, done: u64, total: u64) {
        self.change(set, index, |state| {
            state.position = 0;
            state.phase = Phase::Building { done, total };
        });
    }

    /// Records a failure of an index, which is retried after a pause.
    pub fn failed(&self, set: &str, index: Index, error: &Error) {
        self.change(set, index, |state| {
            let pause = PAUSE * 2_u32.saturating_pow(state.failures.min(10));
            state.failures += 1;
            state.retry_at = Some(Instant::now() + pause.min(LONGEST_PAUSE));
            state.error = Some(error.to_string());
            state.behind_since.get_or_insert_with(Instant::now);
        });
    }

    /// Records that an index is damaged and has to be rebuilt.
    pub fn damaged(&self, set: &str, index: Index) {
        self.change(set, index, |state| {
            *state = State {
                phase: Phase::Damaged,
                ..State::default()
            };
        });
    }

    /// Resets the state of an index that was replaced by an empty one.
    pub fn emptied(&self, set: &str, index: Index) {
        self.change(set, index, |state| *state = State::default());
    }

    /// Returns whether an index is behind a log that ends at `head`.
    #[must_use]
    pub fn is_behind(&self, set: &str, index: Index, head: i64) -> bool {
        let sets = self.sets();
        let position = sets.get(set).map_or(0, |s| s[index as usize].position);
        position < head
    }

    /// Returns the problem of an index as a phrase; `None` when it has everything of a log that ends at `head`, or is only a moment late.
    #[must_use]
    pub fn trouble(&self, set: &str, index: Index, head: i64) -> Option<String> {
        let sets = self.sets();
        let state = sets.get(set).map(|states| &states[index as usize]);
        let state = state.cloned().unwrap_or_default();
        let missing = head - state.position;
        if missing <= 0 && state.phase != Phase::Damaged {
            return None;
        }
        match state.phase {
            _ if state.failures > 0 => {
                Some(format!("{index} failing, {missing} changes not indexed"))
            }
            Phase::Unknown => Some(format!("{index} not open yet")),
            Phase::Damaged => Some(format!("{index} damaged, rebuild pending")),
            Phase::Building { done, total } => {
                Some(format!("{index} {} % built", percent(done, total)))
            }
            Phase::Following => {
                let late = state.behind_since.is_some_and(|at| at.elapsed() > LATE);
                late.then(|| format!("{index} {missing} changes behind"))
            }
        }
    }

    /// Returns the failure of an index, and the time until the next attempt.
    #[must_use]
    pub fn failure(&self, set: &str, index: Index) -> Option<(String, Duration)> {
        let sets = self.sets();
        let state = &sets.get(set)?[index as usize];
        let pause = state.retry_at?.saturating_duration_since(Instant::now());
        Some((state.error.clone()?, pause))
    }

    /// Counts the indexes of some sets that are not in order.
    #[must_use]
    pub fn summary<'a>(&self, wanted: impl Iterator<Item = &'a str>) -> Summary {
        let sets = self.sets();
        let mut summary = Summary::default();
        for state in wanted.flat_map(|set| sets.get(set).cloned().unwrap_or_default()) {
            summary.failing += usize::from(state.failures > 0);
            match state.phase {
                Phase::Following => {}
                Phase::Unknown | Phase::Damaged => {
                    summary.building += usize::from(state.failures == 0);
                }
                Phase::Building { done, total } => {
                    summary.building += usize::from(state.failures == 0);
                    summary.done += done;
                    summary.total += total;
                }
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_in_trouble_until_it_is_there_and_not_because_of_a_moment() {
        let states = IndexStates::default();
        let trouble = |head| states.trouble("a", Index::Keyword, head);
        assert_eq!(trouble(0), None, "an empty log needs no index");
        assert_eq!(trouble(3).as_deref(), Some("keyword index not open yet"));
        states.building("a", Index::Keyword, 40, 100);
        assert_eq!(trouble(3).as_deref(), Some("keyword index 40 % built"));
        assert!(states.reached("a", Index::Keyword, 3, 3));
        assert_eq!(trouble(3), None);
        assert_eq!(trouble(4), None, "new entries are taken up in a moment");
        assert!(states.is_behind("a", Index::Keyword, 4));
        states.damaged("a", Index::Keyword);
        assert!(trouble(3).is_some_and(|t| t.contains("damaged")));
        assert!(states.trouble("a", Index::Vector, 3).is_some());
    }

    #[test]
    fn a_failing_index_waits_longer_each_time_and_keeps_no_other_waiting() {
        let states = IndexStates::default();
        states.reached("a", Index::Vector, 1, 1);
        let error = Error::internal("no");
        states.failed("a", Index::Vector, &error);
        assert!(!states.is_due("a", Index::Vector));
        assert!(states.is_due("a", Index::Keyword) && states.is_due("b", Index::Vector));
        let (_, first) = states.failure("a", Index::Vector).expect("it failed");
        states.failed("a", Index::Vector, &error);
        let (cause, second) = states.failure("a", Index::Vector).expect("it failed");
        assert!(second > first && cause == "no");
        assert_eq!(states.positions("a"), (0, 1), "what it has, it has");
        assert_eq!(states.summary(["a"].into_iter()).failing, 1);
        states.reached("a", Index::Vector, 2, 2);
        assert_eq!(states.failure("a", Index::Vector), None);
    }
}
