//! Events that say how far a lead is, such as a booked meeting, and how often they happened to a lead.

use serde_json::{Value, json};

use crate::records::body::Body;

/// Events that are counted on leads. The first four are triggers of rules and sequences.
pub const EVENTS: [&str; 5] = [
    "meeting_booked",
    "proposal_viewed",
    "cta_clicked",
    "quiz_completed",
    "video_watched",
];

/// Returns the event that a touchpoint's type stands for.
#[must_use]
pub fn named(touchpoint_type: &str) -> Option<&'static str> {
    EVENTS.into_iter().find(|event| *event == touchpoint_type)
}

/// Returns how often an event has happened to a lead.
#[must_use]
pub fn count(lead: &Body, event: &str) -> i64 {
    let signal = lead.get("sales_signals").and_then(|s| s.get(event));
    signal.and_then(|s| s["count"].as_i64()).unwrap_or_default()
}

/// Returns the highest value that came with an event of a lead, from 0 to 100: the score of a quiz, the watched part of a video.
#[must_use]
pub fn value(lead: &Body, event: &str) -> Option<f64> {
    let signal = lead.get("sales_signals").and_then(|s| s.get(event))?;
    signal["value"].as_f64()
}

/// Returns the signals of a lead with one more.
pub(super) fn counted(lead: &Body, event: &str, value: Option<f64>, now: &str) -> Value {
    let mut signals = lead
        .get("sales_signals")
        .filter(|signals| signals.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}));
    let count = count(lead, event) + 1;
    let before = self::value(lead, event);
    let highest = match (value, before) {
        (Some(value), Some(before)) => Some(value.max(before)),
        (value, before) => value.or(before),
    };
    signals[event] = json!({"count": count, "value": highest, "last_at": now});
    signals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_counted_and_keep_their_highest_value() {
        let mut lead = Body::new();
        for value in [Some(40.0), Some(90.0), None] {
            let signals = counted(&lead, "quiz_completed", value, "2026-04-01T00:00:00Z");
            lead.insert("sales_signals".to_owned(), signals);
        }
        assert_eq!(
            (
                count(&lead, "quiz_completed"),
                self::value(&lead, "quiz_completed")
            ),
            (3, Some(90.0))
        );
        assert_eq!(count(&lead, "cta_clicked"), 0);
    }
}
