//! Figures of boards over a range of time, in buckets.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, TimeDelta, Timelike, Utc};
use serde_json::{Value, json};

use super::store::Part;
use super::{APPROVAL, BOARD, TASK, access, agents, approvals, store};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::text;

/// A range of time: name, days, bucket.
const RANGES: [(&str, i64, &str); 8] = [
    ("24h", 1, "hour"),
    ("3d", 3, "day"),
    ("7d", 7, "day"),
    ("14d", 14, "day"),
    ("1m", 30, "day"),
    ("3m", 90, "week"),
    ("6m", 180, "week"),
    ("1y", 365, "month"),
];

/// Names of the ranges.
pub const RANGE_KEYS: [&str; 8] = ["24h", "3d", "7d", "14d", "1m", "3m", "6m", "1y"];

/// Returns the start of the bucket of a time, in UTC.
fn bucket_of(time: DateTime<Utc>, bucket: &str) -> DateTime<Utc> {
    if bucket == "hour" {
        let start = time.with_minute(0).and_then(|t| t.with_second(0));
        return start.and_then(|t| t.with_nanosecond(0)).unwrap_or(time);
    }
    let day = time.date_naive();
    let day = match bucket {
        "week" => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
        "month" => day.with_day(1).unwrap_or(day),
        _ => day,
    };
    day.and_time(NaiveTime::MIN).and_utc()
}

fn after(start: DateTime<Utc>, bucket: &str) -> DateTime<Utc> {
    match bucket {
        "hour" => start + TimeDelta::hours(1),
        "week" => start + TimeDelta::days(7),
        "month" => start + Months::new(1),
        _ => start + TimeDelta::days(1),
    }
}

/// A range with its buckets.
struct Range {
    key: &'static str,
    bucket: &'static str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Range {
    /// Returns whether a time is in the range.
    fn has(&self, time: DateTime<Utc>) -> bool {
        (self.start..=self.end).contains(&time)
    }

    /// Returns the starts of the buckets, from that of the start through that of the end.
    fn buckets(&self) -> Vec<DateTime<Utc>> {
        let mut buckets = Vec::new();
        let mut at = bucket_of(self.start, self.bucket);
        while at <= self.end {
            buckets.push(at);
            at = after(at, self.bucket);
        }
        buckets
    }

    /// Returns a series of values by the buckets of some times; buckets without any have 0.
    fn series(
        &self,
        values: impl IntoIterator<Item = (DateTime<Utc>, f64)>,
        fold: fn(&[f64]) -> f64,
    ) -> Value {
        let mut by_bucket: BTreeMap<DateTime<Utc>, Vec<f64>> = BTreeMap::new();
        for (time, value) in values {
            if self.has(time) {
                by_bucket
                    .entry(bucket_of(time, self.bucket))
                    .or_default()
                    .push(value);
            }
        }
        let points: Vec<Value> = self
            .buckets()
            .into_iter()
            .map(|at| {
                let values = by_bucket.get(&at).map_or(&[][..], Vec::as_slice);
                json!({"period": at.to_rfc3339(), "value": fold(values)})
            })
            .collect();
        json!({"range": self.key, "bucket": self.bucket, "points": points})
    }
}

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

#[expect(clippy::cast_precision_loss, reason = "few values")]
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        sum(values) / values.len() as f64
    }
}

fn percent(values: &[f64]) -> f64 {
    mean(values) * 100.0
}

fn moment(time: Time) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.0).unwrap_or_default()
}

/// Fields of a task that the metrics read.
struct Task {
    status: String,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    /// Hours from the start of the work, of tasks in review.
    hours: Option<f64>,
}

fn read(record: &Record) -> Result<Task> {
    let body = record.body()?;
    let status = record.status.clone().unwrap_or_default();
    let updated = moment(record.updated_on);
    let start = text(&body, "in_progress_at").or(text(&body, "previous_in_progress_at"));
    let start = start.and_then(|t| DateTime::parse_from_rfc3339(t).ok());
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a task")]
    let hours = start
        .filter(|_| status == "review")
        .map(|start| (updated - start.to_utc()).num_milliseconds() as f64 / 3_600_000.0);
    Ok(Task {
        status,
        created: moment(record.created_on),
        updated,
        hours,
    })
}

/// Returns the figures of the boards that a caller may read, or of one of them, or of those of a group.
///
/// # Errors
/// `range_invalid`, `board_access_denied`.
pub async fn dashboard(
    app: &App,
    caller: &Caller,
    range_key: &str,
    board_id: Option<&str>,
    group_id: Option<&str>,
) -> Result<Value> {
    let (key, days, bucket) = RANGES
        .into_iter()
        .find(|(key, _, _)| *key == range_key)
        .ok_or_else(|| {
            Error::invalid(
                "range_invalid",
                format!("range_key must be one of {}", RANGE_KEYS.join(", ")),
            )
        })?;
    let now = moment(app.clock.now());
    let length = TimeDelta::days(days);
    let primary = Range {
        key,
        bucket,
        start: now - length,
        end: now,
    };
    let before = Range {
        key,
        bucket,
        start: primary.start - length,
        end: primary.start,
    };

    let mut boards = match board_id {
        Some(id) => vec![access::read(app, caller, id).await?],
        None => store::all(&app.db, caller.tenant(), &BOARD, None).await?,
    };
    boards.retain(|b| caller.boards().reads(&b.id));
    if let Some(group_id) = group_id {
        boards.retain(|b| b.parent_id.as_deref() == Some(group_id));
    }
    let (mut tasks, mut errors, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pending_total, mut active) = (0, 0);
    let seen_since = Time(primary.start.timestamp_millis());
    for board in &boards {
        for record in store::all(&app.db, caller.tenant(), &TASK, Some(&board.id)).await? {
            tasks.push(read(&record)?);
        }
        let entries: Vec<(String, Time)> = app
            .db
            .all(
                "SELECT event_type, created_on FROM board_activity WHERE board_id = $1 AND tenant_id = $2 AND task_id IS NOT NULL AND created_on >= $3",
                args![&board.id, caller.tenant(), before.start.timestamp_millis()],
            )
            .await?;
        errors.extend(
            entries
                .into_iter()
                .map(|(event, at)| (moment(at), f64::from(u8::from(event.ends_with("failed"))))),
        );
        let ten = Part {
            limit: 10,
            offset: 0,
        };
        let (last, total) = approvals::list(app, board, Some("pending"), ten).await?;
        pending_total += total;
        pending.extend(
            approvals::shown(app, &last)
                .await?
                .into_iter()
                .map(|a| (board, a)),
        );
        active += agents::seen(app, caller.tenant(), &board.id, seen_since).await?;
    }
    pending.sort_by_key(|(_, a)| std::cmp::Reverse(text(a, "id").unwrap_or_default().to_owned()));
    let items: Vec<Value> = pending
        .into_iter()
        .take(10)
        .map(|(board, a)| {
            let title = a.get("task_titles").and_then(|t| t.get(0));
            json!({
                "approval_id": a.get("id"), "board_id": board.id, "board_name": board.title,
                "action_type": a.get("action_type"), "confidence": a.get("confidence"),
                "created_at": a.get("created_at"), "task_title": title,
            })
        })
        .collect();
    debug_assert!(APPROVAL.statuses().is_some(), "approvals have a status");

    let done = || {
        tasks
            .iter()
            .filter(|t| t.status == "done")
            .map(|t| (t.updated, 1.0))
    };
    let cycles = || tasks.iter().filter_map(|t| Some((t.updated, t.hours?)));
    let both =
        |of: &dyn Fn(&Range) -> Value| json!({"primary": of(&primary), "comparison": of(&before)});
    let count = |status: &str| tasks.iter().filter(|t| t.status == status).count();
    let mut durations: Vec<f64> = cycles()
        .filter(|(at, _)| primary.has(*at))
        .map(|(_, h)| h)
        .collect();
    durations.sort_by(f64::total_cmp);
    let failed: Vec<f64> = errors
        .iter()
        .filter(|(at, _)| primary.has(*at))
        .map(|(_, e)| *e)
        .collect();
    Ok(json!({
        "range": key,
        "generated_at": now.to_rfc3339(),
        "kpis": {
            "active_agents": active,
            "tasks_in_progress": count("in_progress"),
            "inbox_tasks": count("inbox"),
            "in_progress_tasks": count("in_progress"),
            "review_tasks": count("review"),
            "done_tasks": count("done"),
            "error_rate_pct": percent(&failed),
            "median_cycle_time_hours_7d": median(&durations),
        },
        "throughput": both(&|range| range.series(done(), sum)),
        "cycle_time": both(&|range| range.series(cycles(), mean)),
        "error_rate": both(&|range| range.series(errors.iter().copied(), percent)),
        "wip": both(&|range| wip(range, &tasks)),
        "pending_approvals": {"total": pending_total, "items": items},
    }))
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (
        sorted.get((sorted.len().checked_sub(1)?) / 2)?,
        sorted.get(sorted.len() / 2)?,
    );
    Some(f64::midpoint(*low, *high))
}

/// Returns the numbers of tasks by status and bucket: those of the inbox by creation, others by their last change.
fn wip(range: &Range, tasks: &[Task]) -> Value {
    let mut points: BTreeMap<DateTime<Utc>, BTreeMap<&str, u64>> = BTreeMap::new();
    for at in range.buckets() {
        points.insert(at, BTreeMap::new());
    }
    for task in tasks {
        let time = if task.status == "inbox" {
            task.created
        } else {
            task.updated
        };
        if range.has(time)
            && let Some(point) = points.get_mut(&bucket_of(time, range.bucket))
        {
            *point.entry(task.status.as_str()).or_default() += 1;
        }
    }
    let points: Vec<Value> = points
        .into_iter()
        .map(|(at, counts)| {
            let of = |status: &str| counts.get(status).copied().unwrap_or_default();
            json!({"period": at.to_rfc3339(), "inbox": of("inbox"), "in_progress": of("in_progress"), "review": of("review"), "done": of("done")})
        })
        .collect();
    json!({"range": range.key, "bucket": range.bucket, "points": points})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
    }

    #[test]
    fn buckets_run_from_that_of_the_start_through_the_end() {
        let range = |bucket, start, end| {
            Range {
                key: "x",
                bucket,
                start: at(start),
                end: at(end),
            }
            .buckets()
        };
        assert_eq!(
            range("hour", "2026-03-01T10:30:00Z", "2026-03-01T12:00:00Z").len(),
            3
        );
        let weeks = range("week", "2026-03-04T10:00:00Z", "2026-03-17T00:00:00Z");
        assert_eq!(
            weeks,
            [
                at("2026-03-02T00:00:00Z"),
                at("2026-03-09T00:00:00Z"),
                at("2026-03-16T00:00:00Z")
            ]
        );
        assert_eq!(
            range("month", "2025-12-31T00:00:00Z", "2026-02-01T00:00:00Z").len(),
            3
        );
    }

    #[test]
    fn empty_buckets_have_zero_and_the_median_is_in_the_middle() {
        let range = Range {
            key: "x",
            bucket: "day",
            start: at("2026-03-01T00:00:00Z"),
            end: at("2026-03-03T12:00:00Z"),
        };
        let series = range.series(
            [
                (at("2026-03-02T05:00:00Z"), 3.0),
                (at("2026-03-02T06:00:00Z"), 1.0),
                (at("2026-01-02T06:00:00Z"), 9.0),
            ],
            mean,
        );
        let values: Vec<f64> = series["points"]
            .as_array()
            .expect("points")
            .iter()
            .map(|p| p["value"].as_f64().expect("a number"))
            .collect();
        assert_eq!(values, [0.0, 2.0, 0.0]);
        assert_eq!(
            (median(&[1.0, 2.0, 4.0]), median(&[1.0, 2.0]), median(&[])),
            (Some(2.0), Some(1.5), None)
        );
    }
}
