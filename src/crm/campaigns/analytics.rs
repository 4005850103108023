//! Analytics of campaigns: leads and stages over time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate};

use super::super::FORECAST;
use super::stages;
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::store::{self};

/// Parameters of the analytics.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// First day.
    pub from: Option<NaiveDate>,
    /// Last day.
    pub to: Option<NaiveDate>,
    /// `day`, `week` or `month`.
    pub bucket: String,
    /// A forecast to compare with.
    pub forecast_id: Option<String>,
}

/// Counts per bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Campaigns created.
    pub campaigns: i64,
    /// Leads created.
    pub leads: i64,
    /// Leads that are in the last stage of their campaign.
    pub won: i64,
}

/// Figures over time.
#[derive(Debug)]
pub struct Analytics {
    /// By the first day of each bucket.
    pub buckets: BTreeMap<NaiveDate, Bucket>,
    /// The forecast asked for.
    pub forecast: Option<Record>,
}

/// Numbers of records created on a day.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Created {
    kind: String,
    /// Days since 1970.
    day: i64,
    parent_id: Option<String>,
    stage: Option<String>,
    count: i64,
}

pub(super) fn day_of(time: Time) -> NaiveDate {
    chrono::DateTime::from_timestamp_millis(time.0)
        .unwrap_or_default()
        .date_naive()
}

pub(super) fn bucket_of(day: NaiveDate, bucket: &str) -> NaiveDate {
    match bucket {
        "week" => day - chrono::Days::new(u64::from(day.weekday().num_days_from_monday())),
        "month" => day.with_day(1).unwrap_or(day),
        _ => day,
    }
}

/// Counts what was created, by day, week (from Monday) or month, in UTC.
///
/// # Errors
/// `scope_missing`, `filter_type_invalid`, `range_invalid`, `record_not_found` for the forecast.
pub async fn analytics(app: &App, caller: &Caller, question: &Question) -> Result<Analytics> {
    caller.need_unconfined(Area::Sales.read())?;
    if !["day", "week", "month"].contains(&question.bucket.as_str()) {
        return Err(Error::invalid(
            "filter_type_invalid",
            "filterType must be day, week or month",
        ));
    }
    if let (Some(from), Some(to)) = (question.from, question.to)
        && from > to
    {
        return Err(Error::invalid(
            "range_invalid",
            "startDate must not be after endDate",
        ));
    }
    let millis = |day: NaiveDate| {
        day.and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_millis()
    };
    let from = question.from.map_or(0, millis);
    let to = question
        .to
        .and_then(|d| d.succ_opt())
        .map_or(i64::MAX, millis);
    // By day, campaign and stage: as many rows as there are of these, however many leads there are.
    let rows: Vec<Created> = app
        .db
        .all(
            "SELECT kind, created_on / 86400000 AS day, parent_id, stage, COUNT(*) AS count FROM records
             WHERE kind IN ('campaign', 'crm_lead') AND tenant_id = $1 AND created_on >= $2 AND created_on < $3 GROUP BY 1, 2, 3, 4",
            args![caller.tenant(), from, to],
        )
        .await?;
    let campaigns: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row.parent_id.clone())
        .collect();
    let campaigns: Vec<String> = campaigns.into_iter().collect();
    let mut last_stage: BTreeMap<String, String> = BTreeMap::new();
    for campaign in store::all(&app.db, caller.tenant(), &campaigns).await? {
        let last = stages(&campaign)?.len().max(1) - 1;
        last_stage.insert(campaign.id, last.to_string());
    }
    let mut buckets: BTreeMap<NaiveDate, Bucket> = BTreeMap::new();
    for row in rows {
        let day = day_of(Time(row.day * 86_400_000));
        let bucket = buckets.entry(bucket_of(day, &question.bucket)).or_default();
        if row.kind == "campaign" {
            bucket.campaigns += row.count;
        } else {
            bucket.leads += row.count;
            let last = row.parent_id.and_then(|p| last_stage.get(&p).cloned());
            if last.is_some() && last == row.stage {
                bucket.won += row.count;
            }
        }
    }
    let forecast = match &question.forecast_id {
        Some(id) => Some(store::get(app, caller.tenant(), &FORECAST, id).await?),
        None => None,
    };
    Ok(Analytics { buckets, forecast })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_on_mondays_and_firsts() {
        let day = NaiveDate::from_ymd_opt(2026, 4, 1).expect("a date"); // a Wednesday
        assert_eq!(bucket_of(day, "week").to_string(), "2026-03-30");
        assert_eq!(bucket_of(day, "month").to_string(), "2026-04-01");
        assert_eq!(bucket_of(day, "day"), day);
    }
}
