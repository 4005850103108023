//! Stored figures of the work of a team, for reports and for agents.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::spend::{self, GroupBy};
use super::{AD_CAMPAIGN, store, usd};
use crate::app::App;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::Result;

/// Days of a report, unless asked otherwise.
pub const DAYS: u32 = 30;

/// Returns the stored figures of some days: work, spending, leads, advertising.
///
/// # Errors
/// Those of the database, and `period_too_long`.
pub async fn of_days(app: &App, tenant_id: &str, days: u32) -> Result<Value> {
    let now = app.clock.now();
    let start = now.minus(Duration::from_secs(u64::from(days) * 24 * 3600));
    let spent = spend::report(app, tenant_id, (start, now), GroupBy::Agent).await?;
    let work: Vec<(String, Option<String>, i64)> = app
        .db
        .all(
            "SELECT kind, status, COUNT(*) FROM records WHERE tenant_id = $1 AND kind IN ('agency_activity', 'agency_approval') AND updated_on >= $2 GROUP BY kind, status",
            args![tenant_id, start],
        )
        .await?;
    let mut counts: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (kind, status, count) in work {
        let name = if kind == "agency_activity" {
            "activities"
        } else {
            "approvals"
        };
        *counts
            .entry(name.to_owned())
            .or_default()
            .entry(status.unwrap_or_default())
            .or_default() += count;
    }
    let leads: Vec<(Option<String>, i64)> = app
        .db
        .all(
            "SELECT status, COUNT(*) FROM records WHERE kind = $1 AND tenant_id = $2 AND created_on >= $3 GROUP BY status",
            args![LEAD.name, tenant_id, start],
        )
        .await?;
    let leads: BTreeMap<String, i64> = leads
        .into_iter()
        .map(|(status, count)| (status.unwrap_or_default(), count))
        .collect();
    let mut ads = [0.0; 4];
    for campaign in store::all(&app.db, tenant_id, &AD_CAMPAIGN).await? {
        let body = campaign.body()?;
        for (sum, name) in ads
            .iter_mut()
            .zip(["spend", "impressions", "clicks", "conversions"])
        {
            *sum += body.get(name).and_then(Value::as_f64).unwrap_or_default();
        }
    }
    let by_agent: BTreeMap<String, f64> = spent
        .breakdown
        .into_iter()
        .map(|(role, cost)| (role, usd(cost)))
        .collect();
    let by_day: BTreeMap<String, f64> = spent
        .days
        .into_iter()
        .map(|(day, cost)| (day, usd(cost)))
        .collect();
    let [ad_spend, impressions, clicks, conversions] = ads;
    Ok(json!({
        "from": start.rfc3339(), "to": now.rfc3339(), "days": days,
        "costUsd": usd(spent.total), "costByAgentUsd": by_agent, "costByDayUsd": by_day,
        "activities": counts.get("activities"), "approvals": counts.get("approvals"), "newLeads": leads,
        "advertising": {"spendUsd": ad_spend, "impressions": impressions, "clicks": clicks, "conversions": conversions},
    }))
}
