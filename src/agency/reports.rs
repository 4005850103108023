//! Performance reports: what activities of the report writer have written, and lists of them.

use serde_json::json;

use super::deliverables::{day_of, read_day};
use super::{REPORT, activities, figures};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::Result;
use crate::page::{Listing, Page};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Record, columns, store};

/// Longest period of the figures of a report, in days.
const LONGEST: u32 = 366;

/// Types of reports.
pub const TYPES: [&str; 5] = [
    "monthly_performance",
    "quarterly_review",
    "ad_audit",
    "seo_audit",
    "custom",
];

/// Adds the report of an activity to the plan that completes it, with the stored figures of its period.
///
/// # Errors
/// Those of the database, and `period_too_long`.
pub async fn publish(
    app: &App,
    caller: &Caller,
    activity: &Record,
    body: &Body,
    plan: &mut Plan,
) -> Result<()> {
    let Ok((content, ..)) = activities::output(body) else {
        return Ok(());
    };
    let today = day_of(app.clock.now());
    let start = match text(body, "period_start") {
        Some(day) => read_day("periodStart", day)?,
        None => today - chrono::Days::new(u64::from(figures::DAYS)),
    };
    let days = u32::try_from((today - start).num_days()).unwrap_or(1);
    let found = figures::of_days(app, &activity.tenant_id, days.clamp(1, LONGEST)).await?;
    let report = json!({
        "title": activity.title,
        "type": "monthly_performance",
        "status": "ready",
        "period_start": start.to_string(),
        "period_end": today.to_string(),
        "campaign_id": activity.parent_id,
        "activity_id": activity.id,
        "content": content,
        "figures": found,
    });
    let mut report: Body = serde_json::from_value(report)?;
    report.retain(|_, value| !value.is_null());
    let record = write::draft(app, caller, &REPORT, New::from(&report))?;
    plan.create(&REPORT, record);
    Ok(())
}

/// Which reports a list has.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub status: Option<String>,
    pub report_type: Option<String>,
    pub campaign_id: Option<String>,
    /// First day of the period on or after this day, `YYYY-MM-DD`.
    pub start: Option<String>,
    /// Last day of the period on or before this day.
    pub end: Option<String>,
}

/// Reports that are read at once while a page is filled.
const BATCH: i64 = 500;

/// Returns a page of reports, newest first.
///
/// # Errors
/// Those of the database.
pub async fn list_page(
    app: &App,
    tenant_id: &str,
    filter: &Filter,
    page: &Page,
) -> Result<Listing<Record>> {
    let fits = |record: &Record| -> Result<bool> {
        let body = record.body()?;
        let equals = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        let from = filter.start.as_deref();
        let until = filter.end.as_deref();
        Ok(equals(&filter.status, record.status.as_deref())
            && equals(&filter.report_type, text(&body, "type"))
            && equals(&filter.campaign_id, text(&body, "campaign_id"))
            && from.is_none_or(|day| text(&body, "period_start").is_some_and(|own| own >= day))
            && until.is_none_or(|day| text(&body, "period_end").is_some_and(|own| own <= day)))
    };
    let mut before = if page.after.is_empty() {
        store::LAST.to_owned()
    } else {
        page.after.clone()
    };
    let mut found: Vec<Record> = Vec::new();
    let wanted = usize::try_from(page.fetch()).unwrap_or(usize::MAX);
    loop {
        let batch: Vec<Record> = app
            .db
            .all(
                concat!("SELECT ", columns!(), " FROM records WHERE kind = $1 AND tenant_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4"),
                args![REPORT.name, tenant_id, &before, BATCH],
            )
            .await?;
        let Some(last) = batch.last() else { break };
        before.clone_from(&last.id);
        for record in batch {
            if fits(&record)? {
                found.push(record);
            }
        }
        if found.len() >= wanted {
            found.truncate(wanted);
            break;
        }
    }
    Ok(page.listing(found, |record| record.id.clone()))
}
