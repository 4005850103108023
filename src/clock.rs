//! Time, ids and secrets: the only source of each, so that tests are repeatable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 in UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Time(pub i64);

impl Time {
    /// Returns the time in RFC 3339 with milliseconds, as `2026-04-01T09:00:00.000Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .map(|t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            .unwrap_or_default()
    }

    /// Returns the time later by a duration.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the time elapsed since another time; zero when that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the time earlier by a duration.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

/// Source of times, ids and secrets.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

enum Source {
    System(Mutex<ulid::Generator>),
    /// Starts at a time and advances a millisecond per call; ids count up.
    Fixed(AtomicU64, AtomicU64),
}

impl Clock {
    /// Creates the system clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Source::System(Mutex::new(ulid::Generator::new()))))
    }

    /// Creates a repeatable clock.
    #[must_use]
    pub fn fixed(start: Time) -> Self {
        Self(Arc::new(Source::Fixed(
            AtomicU64::new(u64::try_from(start.0).unwrap_or(0)),
            AtomicU64::new(1),
        )))
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Time {
        let millis = match &*self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that asks the system"
            )]
            Source::System(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis(),
            Source::Fixed(time, _) => u128::from(time.fetch_add(1, Ordering::Relaxed)),
        };
        Time(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// Returns whether a text may be an id from [`Clock::id`]: 26 letters and digits.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        text.len() == 26 && text.bytes().all(|b| b.is_ascii_alphanumeric())
    }

    /// Returns the id with the 128 bits of a UUID, or the id itself, in its usual form; `None` for other texts.
    #[must_use]
    pub fn read_id(text: &str) -> Option<String> {
        let text = text.trim();
        let id = if Self::is_id(text) {
            ulid::Ulid::from_string(text).ok()?
        } else {
            ulid::Ulid(uuid::Uuid::try_parse(text).ok()?.as_u128())
        };
        Some(id.to_string())
    }

    /// Returns the 128 bits of an id as a UUID; `None` for other texts.
    #[must_use]
    pub fn uuid(id: &str) -> Option<String> {
        let id = ulid::Ulid::from_string(&Self::read_id(id)?).ok()?;
        Some(uuid::Uuid::from_u128(id.0).to_string())
    }

    /// Returns a new id: a ULID, unique and ascending within a process.
    #[must_use]
    pub fn id(&self) -> String {
        match &*self.0 {
            Source::System(generator) => {
                let mut generator = generator.lock().unwrap_or_else(PoisonError::into_inner);
                // The generator only fails after 2^80 ids in one millisecond.
                #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
                generator
                    .generate()
                    .unwrap_or_else(|_| ulid::Ulid::new())
                    .to_string()
            }
            Source::Fixed(_, next) => {
                ulid::Ulid::from_parts(0, u128::from(next.fetch_add(1, Ordering::Relaxed)))
                    .to_string()
            }
        }
    }

    /// Returns 32 random bytes in hex, from the operating system. Never repeatable, not even in tests.
    #[must_use]
    pub fn secret(&self) -> String {
        let mut bytes = [0; 32];
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that makes secrets"
        )]
        rand::rng().fill_bytes(&mut bytes);
        hex::encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend() {
        let clock = Clock::system();
        let ids: Vec<String> = (0..1000).map(|_| clock.id()).collect();
        assert!(ids.is_sorted() && ids[0].len() == 26);
    }

    #[test]
    fn ids_and_uuids_are_the_same_bits() {
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        let id = Clock::read_id(uuid).expect("a UUID");
        assert_eq!(id, "01H455VB4PEX5VSKNK084SN02Q");
        assert_eq!(Clock::uuid(&id).as_deref(), Some(uuid));
        assert_eq!(Clock::read_id(&id).as_deref(), Some(id.as_str()));
        assert_eq!(Clock::read_id("default"), None);
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(
            Time(1_775_034_000_000).rfc3339(),
            "2026-04-01T09:00:00.000Z"
        );
    }
}
