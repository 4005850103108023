//! Figures of the pipeline: leads by status and by stage, and what happened in the last days.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{contacts, rules, stages};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::Result;

/// Statuses that count as won.
const WON: [&str; 3] = ["won", "converted", "closed won"];

/// Returns the figures of the last `days` days. `conversionRate` is the share of all leads that are won, in percent.
///
/// # Errors
/// Those of the database.
pub async fn pipeline(app: &App, caller: &Caller, days: u64) -> Result<Value> {
    let tenant_id = caller.tenant();
    let since = app.clock.now().minus(Duration::from_secs(days * 86_400));
    let statuses: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT value, COUNT(*) FROM record_facets WHERE kind = $1 AND name = 'sales_status' AND tenant_id = $2 GROUP BY value ORDER BY value",
            args![LEAD.name, tenant_id],
        )
        .await?;
    let (total, in_period): (i64, i64) = app
        .db
        .one(
            "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN created_on >= $3 THEN 1 ELSE 0 END), 0) AS BIGINT) FROM records WHERE kind = $1 AND tenant_id = $2",
            args![LEAD.name, tenant_id, since],
        )
        .await?;
    let events = contacts::count_since(app, tenant_id, since).await?;
    let happened = |event: &str| events.get(event).copied().unwrap_or(0);
    let by_stage = rules::leads_by_stage(app, tenant_id).await?;
    let stages = stages::all(app, tenant_id).await?;
    let in_stage = |id: &str| by_stage.get(&id.to_lowercase()).copied().unwrap_or(0);
    let won_stage: i64 = stages
        .iter()
        .filter(|s| s.name.to_lowercase().contains("won"))
        .map(|s| in_stage(&s.id))
        .sum();
    let won_status: i64 = statuses
        .iter()
        .filter(|(word, _)| WON.contains(&word.as_str()))
        .map(|(_, count)| count)
        .sum();
    // A lead may be won by its stage, its status or both.
    let won = won_stage.max(won_status);
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let rate = if total == 0 {
        0.0
    } else {
        (won as f64 / total as f64 * 1000.0).round() / 10.0
    };
    let pipeline: Map<String, Value> = statuses
        .into_iter()
        .map(|(word, count)| (word, json!(count)))
        .collect();
    let stages: Vec<Value> = stages
        .iter()
        .map(|s| json!({"id": s.id, "name": s.name, "order": s.position, "leads": in_stage(&s.id)}))
        .collect();
    Ok(json!({
        "days": days,
        "totalLeads": total,
        "leadsInPeriod": in_period,
        "quizCompletions": happened("quiz_completed"),
        "proposalsViewed": happened("proposal_viewed"),
        "ctaClicks": happened("cta_clicked"),
        "meetingsBooked": happened("meeting_booked"),
        "emailsSent": happened("email_sent"),
        "conversionRate": rate,
        "leadsWon": won,
        "pipeline": pipeline,
        "stages": stages,
        "touchpoints": events,
    }))
}
