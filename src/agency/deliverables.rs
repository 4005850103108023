//! Deliverables, their periods and progress. A period is a month from the start of the campaign.

use chrono::{DateTime, Days, Months, NaiveDate};

use super::{ACTIVITY, store, whole};
use crate::app::App;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};

/// Returns the day of a time in UTC.
#[must_use]
pub fn day_of(time: Time) -> NaiveDate {
    DateTime::from_timestamp_millis(time.0)
        .unwrap_or_default()
        .date_naive()
}

/// Reads a day, `YYYY-MM-DD`, or the day of a time of ISO 8601.
///
/// # Errors
/// `date_invalid` names the field.
pub fn read_day(name: &str, value: &str) -> Result<NaiveDate> {
    let day = value.get(..10).unwrap_or(value);
    let rest = value.get(10..).unwrap_or_default();
    let is_time = rest.is_empty() || DateTime::parse_from_rfc3339(value).is_ok();
    let parsed = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok();
    let in_range = |d: &NaiveDate| (1970..=9999).contains(&chrono::Datelike::year(d));
    parsed.filter(in_range).filter(|_| is_time).ok_or_else(|| {
        Error::invalid(
            "date_invalid",
            format!("{name} must be a date, as in 2026-04-01"),
        )
    })
}

fn month(start: NaiveDate, number: u32) -> NaiveDate {
    start
        .checked_add_months(Months::new(number))
        .unwrap_or(NaiveDate::MAX)
}

/// Returns first and last day of the period that contains a day, with its number from 0; the first period for days before it.
#[must_use]
pub fn period_of(start: NaiveDate, day: NaiveDate) -> (NaiveDate, NaiveDate, u32) {
    let mut number = 0;
    while month(start, number + 1) <= day {
        number += 1;
    }
    let end = month(start, number + 1)
        .checked_sub_days(Days::new(1))
        .unwrap_or(NaiveDate::MAX);
    (month(start, number), end, number)
}

/// Progress of a deliverable in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    pub id: String,
    pub start: NaiveDate,
    /// The last day, included.
    pub end: NaiveDate,
    pub target: i64,
    pub completed: i64,
    pub in_progress: i64,
    pub status: &'static str,
}

/// Returns how a period stands: `missed` when it is over without its target; `at_risk` when less is done or in progress than the share of the period that has
/// passed; else `on_track`.
fn status(
    target: i64,
    completed: i64,
    in_progress: i64,
    (start, end, today): (NaiveDate, NaiveDate, NaiveDate),
) -> &'static str {
    if completed >= target {
        return "on_track";
    }
    if today > end {
        return "missed";
    }
    let days = (end - start).num_days() + 1;
    let passed = (today - start).num_days().max(0);
    if (completed + in_progress) * days >= target * passed {
        "on_track"
    } else {
        "at_risk"
    }
}

/// The days of a campaign.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: NaiveDate,
    pub end: Option<NaiveDate>,
}

impl Span {
    /// Returns the days of a campaign.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn of(campaign: &Record) -> Result<Self> {
        let body = campaign.body()?;
        let day = |name: &str| text(&body, name).map(|day| read_day(name, day)).transpose();
        Ok(Self {
            start: day("start_date")?.unwrap_or_else(|| day_of(campaign.created_on)),
            end: day("end_date")?,
        })
    }
}

/// Returns the periods of a deliverable that have begun, the newest first; the first one in any case.
///
/// # Errors
/// Those of the database.
pub async fn periods(app: &App, span: Span, deliverable: &Record) -> Result<Vec<Period>> {
    let today = day_of(app.clock.now());
    let body = deliverable.body()?;
    let filters = vec![("deliverable_id".to_owned(), deliverable.id.clone())];
    let activities = store::matching(app, &deliverable.tenant_id, &ACTIVITY, filters).await?;
    let mut pieces: Vec<(String, String)> = Vec::with_capacity(activities.len());
    for activity in activities {
        let made = activity.body()?;
        if let Some(start) = text(&made, "period_start").filter(|_| is_piece(&made)) {
            let status = activity.status.clone().unwrap_or_default();
            pieces.push((start.to_owned(), status));
        }
    }
    let until = span.end.map_or(today, |end| end.min(today));
    let (.., last) = period_of(span.start, until);
    let target = whole(&body, "quantity");
    let periods = (0..=last).rev().map(|number| {
        let (start, mut end, _) = period_of(span.start, month(span.start, number));
        if let Some(last_day) = span.end {
            end = end.min(last_day);
        }
        let of_period = start.to_string();
        let count = |wanted: &dyn Fn(&str) -> bool| {
            let found = pieces
                .iter()
                .filter(|(period, status)| *period == of_period && wanted(status));
            i64::try_from(found.count()).unwrap_or(i64::MAX)
        };
        let completed = count(&|status| status == "done");
        let in_progress = count(&|status| {
            matches!(
                status,
                "in_progress" | "awaiting_approval" | "awaiting_subtask" | "awaiting_review"
            )
        });
        Period {
            id: format!("{}:{of_period}", deliverable.id),
            status: status(target, completed, in_progress, (start, end, today)),
            start,
            end,
            target,
            completed,
            in_progress,
        }
    });
    Ok(periods.collect())
}

/// Returns whether an activity makes a piece of its deliverable, and does not only prepare one.
#[must_use]
pub fn is_piece(activity: &Body) -> bool {
    activity
        .get("makes_piece")
        .and_then(serde_json::Value::as_bool)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        read_day("day", text).expect("a day")
    }

    #[test]
    fn periods_are_months_from_the_start() {
        let start = day("2026-01-31");
        let (first, last, number) = period_of(start, day("2026-03-15"));
        assert_eq!(
            (first, last, number),
            (day("2026-02-28"), day("2026-03-30"), 1)
        );
        assert_eq!(period_of(start, day("2025-12-01")).2, 0);
    }

    #[test]
    fn days_may_come_as_times() {
        assert_eq!(day("2026-04-01T09:00:00Z"), day("2026-04-01"));
        for wrong in ["2026-04-31", "01.04.2026", "2026-04-01x", "", "20260401"] {
            assert!(read_day("day", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_status_follows_the_calendar() {
        let period = |today: &str| (day("2026-04-01"), day("2026-04-30"), day(today));
        assert_eq!(status(4, 0, 0, period("2026-04-01")), "on_track");
        assert_eq!(status(4, 0, 1, period("2026-04-20")), "at_risk");
        assert_eq!(status(4, 2, 1, period("2026-04-20")), "on_track");
        assert_eq!(status(4, 3, 1, period("2026-05-01")), "missed");
        assert_eq!(status(4, 4, 0, period("2026-05-01")), "on_track");
    }
}
