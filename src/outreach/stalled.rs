//! Leads that are overdue for a contact. The thresholds are in the README of this area.

use serde_json::{Value, json};

use super::stages::{self, Stage};
use super::{contacts, score};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::crm::leads::sales_status;
use crate::db::args;
use crate::error::Result;
use crate::records::body::{Body, text};
use crate::records::{Record, columns};

/// A lead that is overdue.
#[derive(Debug)]
pub struct Stalled {
    pub lead: Record,
    pub days: f64,
    pub reason: &'static str,
    pub action: &'static str,
    pub priority: &'static str,
    /// Days after which a lead of this tier is overdue.
    pub threshold: f64,
}

/// Returns the days after which a lead of a tier is overdue.
fn threshold(tier: Option<&str>) -> f64 {
    match tier.unwrap_or_default().trim().to_lowercase().as_str() {
        "high" | "1" | "a" | "enterprise" => 3.0,
        "medium" | "mid" | "2" | "b" => 5.0,
        _ => 7.0,
    }
}

/// Returns whether a lead is won or lost, and nobody is expected to contact it.
fn is_closed(lead: &Record, body: &Body, stages: &[Stage]) -> bool {
    let closes = |word: &str| {
        let word = word.to_lowercase();
        ["won", "lost", "closed"].iter().any(|c| word.contains(c))
    };
    let status = sales_status(lead, body).to_lowercase();
    matches!(
        status.as_str(),
        "unqualified" | "disqualified" | "converted"
    ) || closes(&status)
        || score::stage_name(body, stages).is_some_and(|name| closes(&name))
}

/// Days without contact after which a last mail is suggested.
const BREAK_UP: f64 = 21.0;
/// Leads that are examined, those first that were changed the longest ago.
const EXAMINED: i64 = 5000;

/// Returns the overdue leads, the most urgent first, and their number.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    caller: &Caller,
    limit: usize,
    offset: usize,
) -> Result<(Vec<Stalled>, usize)> {
    let tenant_id = caller.tenant();
    let leads: Vec<Record> = app
        .db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM records WHERE kind = $1 AND tenant_id = $2 ORDER BY updated_on, id LIMIT $3"
            ),
            args![LEAD.name, tenant_id, EXAMINED],
        )
        .await?;
    let touched = contacts::last_of_all(app, tenant_id).await?;
    let stages = stages::all(app, tenant_id).await?;
    let now = app.clock.now();
    let mut found = Vec::new();
    for lead in leads {
        let body = lead.body()?;
        let last = touched.get(&lead.id).copied();
        let days = score::days(now.since(last.unwrap_or(lead.created_on)));
        let threshold = threshold(text(&body, "tier"));
        if days < threshold || is_closed(&lead, &body, &stages) {
            continue;
        }
        let scored = score::score(&body, days);
        let is_warm = matches!(scored.label, "hot" | "warm");
        let action = if days >= BREAK_UP && !is_warm {
            "send_breakup_email"
        } else if is_warm || days >= 2.0 * threshold {
            "check_in_call"
        } else {
            "send_follow_up_email"
        };
        let priority = match (is_warm, days >= 2.0 * threshold) {
            (true, _) => "high",
            (false, true) => "medium",
            (false, false) => "low",
        };
        found.push(Stalled {
            reason: if last.is_some() {
                "no_contact_since_last_touchpoint"
            } else {
                "never_contacted"
            },
            lead,
            days,
            action,
            priority,
            threshold,
        });
    }
    let urgency = |s: &Stalled| match s.priority {
        "high" => 0,
        "medium" => 1,
        _ => 2,
    };
    found.sort_by(|a, b| urgency(a).cmp(&urgency(b)).then(b.days.total_cmp(&a.days)));
    let total = found.len();
    Ok((found.into_iter().skip(offset).take(limit).collect(), total))
}

impl Stalled {
    /// Returns what the API shows beside the lead.
    #[must_use]
    pub fn members(&self) -> Vec<(&'static str, Value)> {
        let days = (self.days * 10.0).round() / 10.0;
        vec![
            ("daysSinceTouch", json!(days)),
            ("stalledReason", json!(self.reason)),
            ("suggestedAction", json!(self.action)),
            ("priority", json!(self.priority)),
            ("overdueAfterDays", json!(self.threshold)),
        ]
    }
}
