//! Confidence scores of leads: a sum of factors, each shown with its contribution. The factors, their points and the labels are in the README of this area.

use std::time::Duration;

use serde_json::{Value, json};

use super::{contacts, events, stages};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::Result;
use crate::records::body::{Body, text};
use crate::records::{Record, columns, store};

/// Leads that one call scores.
pub const MOST: i64 = 500;

/// The part of a score that comes from one fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    pub name: &'static str,
    /// Points; negative for staleness.
    pub points: f64,
    /// Largest contribution in absolute value.
    pub most: f64,
    /// The fact.
    pub detail: String,
}

/// A score with its factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// 0 to 100.
    pub score: f64,
    pub label: &'static str,
    pub factors: Vec<Factor>,
    pub suggested_action: &'static str,
    /// Why this action.
    pub because: String,
}

/// Returns a duration in days.
#[must_use]
pub fn days(duration: Duration) -> f64 {
    duration.as_secs_f64() / 86_400.0
}

/// Returns the label of a score.
#[must_use]
pub fn label(score: f64) -> &'static str {
    match score {
        s if s >= 70.0 => "hot",
        s if s >= 45.0 => "warm",
        s if s >= 20.0 => "cool",
        _ => "cold",
    }
}

fn tier_points(tier: &str) -> f64 {
    match tier.trim().to_lowercase().as_str() {
        "high" | "1" | "a" | "enterprise" => 15.0,
        "medium" | "mid" | "2" | "b" => 8.0,
        "low" | "3" | "c" => 2.0,
        _ => 0.0,
    }
}

/// Returns a number with its noun.
fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn times(count: i64) -> f64 {
    count as f64
}

/// Days without contact that cost nothing.
const GRACE: f64 = 7.0;

/// Computes the score of a lead from its fields, and the days since anybody contacted it.
#[must_use]
pub fn score(lead: &Body, days: f64) -> Scored {
    let count = |event: &str| events::count(lead, event);
    let value = |event: &str| events::value(lead, event);
    let mut factors = Vec::new();
    let mut add = |name, points: f64, most: f64, detail: String| {
        factors.push(Factor {
            name,
            points: (points * 10.0).round() / 10.0,
            most,
            detail,
        });
    };
    let quiz = value("quiz_completed");
    let quizzed = count("quiz_completed") > 0;
    add(
        "quiz_score",
        match quiz {
            Some(score) => score * 0.2,
            // A quiz without a score says that there is interest.
            None if quizzed => 5.0,
            None => 0.0,
        },
        20.0,
        match quiz {
            Some(score) => format!("quiz score {score:.0} of 100"),
            None if quizzed => "quiz completed without a score".to_owned(),
            None => "no quiz".to_owned(),
        },
    );
    let tier = text(lead, "tier");
    add(
        "tier",
        tier.map_or(0.0, tier_points),
        15.0,
        tier.map_or_else(|| "no tier".to_owned(), |t| format!("tier {t}")),
    );
    let views = count("proposal_viewed");
    add(
        "proposal_views",
        (times(views) * 5.0).min(15.0),
        15.0,
        counted(views, "proposal view"),
    );
    let video = value("video_watched").unwrap_or(0.0);
    add(
        "video_watched",
        video * 0.1,
        10.0,
        format!("{video:.0} % of the video watched"),
    );
    let clicks = count("cta_clicked");
    add(
        "cta_click",
        match clicks {
            0 => 0.0,
            1 | 2 => 10.0,
            _ => 15.0,
        },
        15.0,
        counted(clicks, "click"),
    );
    let meetings = count("meeting_booked");
    add(
        "meeting_booked",
        if meetings > 0 { 20.0 } else { 0.0 },
        20.0,
        counted(meetings, "booked meeting"),
    );
    let is_enriched = lead
        .get("sales_enrichment")
        .is_some_and(|e| e["status"] == "complete");
    add(
        "enrichment",
        if is_enriched { 5.0 } else { 0.0 },
        5.0,
        if is_enriched {
            "enriched".to_owned()
        } else {
            "not enriched".to_owned()
        },
    );
    let stale = (days - GRACE).clamp(0.0, 20.0);
    add(
        "staleness",
        0.0 - stale,
        20.0,
        format!("{days:.1} days since the last contact"),
    );
    let sum: f64 = factors.iter().map(|f| f.points).sum();
    let score = (sum.clamp(0.0, 100.0) * 10.0).round() / 10.0;
    let label = label(score);
    let (suggested_action, because) = action(label, meetings, views, is_enriched, days);
    Scored {
        score,
        label,
        factors,
        suggested_action,
        because,
    }
}

fn action(
    label: &str,
    meetings: i64,
    views: i64,
    is_enriched: bool,
    days: f64,
) -> (&'static str, String) {
    if meetings > 0 {
        return ("prepare_meeting", "a meeting is booked".to_owned());
    }
    if days > 14.0 && label != "cold" {
        return (
            "send_follow_up_email",
            format!("{days:.0} days without contact"),
        );
    }
    match label {
        "hot" => ("book_meeting", "hot and no meeting yet".to_owned()),
        "warm" if views > 0 => (
            "check_in_call",
            format!("warm, and the proposal was viewed {views} times"),
        ),
        "warm" => (
            "send_proposal",
            "warm, and no proposal was viewed".to_owned(),
        ),
        _ if !is_enriched => ("enrich", "little is known of this lead".to_owned()),
        "cool" => ("send_follow_up_email", "cool".to_owned()),
        _ => ("nurture", "cold".to_owned()),
    }
}

impl Scored {
    /// Returns the score as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let factors: Vec<Value> = self
            .factors
            .iter()
            .map(|f| json!({"factor": f.name, "points": f.points, "max": f.most, "detail": f.detail}))
            .collect();
        json!({
            "score": self.score,
            "label": self.label,
            "factors": factors,
            "suggestedAction": self.suggested_action,
            "reason": self.because
        })
    }
}

/// Returns the score of a lead.
///
/// # Errors
/// Those of the database.
pub async fn of(app: &App, caller: &Caller, lead: &Record) -> Result<Scored> {
    let last = contacts::last_of(app, caller.tenant(), &lead.id).await?;
    let since = last.unwrap_or(lead.created_on);
    Ok(score(&lead.body()?, days(app.clock.now().since(since))))
}

/// Returns up to [`MOST`] leads of the tenant with their scores, the highest first, and the number of all leads.
///
/// # Errors
/// Those of the database.
pub async fn all(app: &App, caller: &Caller) -> Result<(Vec<(Record, Scored)>, i64)> {
    let tenant_id = caller.tenant();
    let leads: Vec<Record> = app
        .db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM records WHERE kind = $1 AND tenant_id = $2 ORDER BY updated_on DESC, id DESC LIMIT $3"
            ),
            args![LEAD.name, tenant_id, MOST],
        )
        .await?;
    let total = store::count(&app.db, tenant_id, &LEAD).await?;
    let touched = contacts::last_of_all(app, tenant_id).await?;
    let now = app.clock.now();
    let mut scored = Vec::with_capacity(leads.len());
    for lead in leads {
        let since = touched.get(&lead.id).copied().unwrap_or(lead.created_on);
        let found = score(&lead.body()?, days(now.since(since)));
        scored.push((lead, found));
    }
    scored.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    Ok((scored, total))
}

/// Returns the name of the stage that a lead is in.
#[must_use]
pub fn stage_name(lead: &Body, stages: &[stages::Stage]) -> Option<String> {
    let id = text(lead, "stage_id")?;
    stages.iter().find(|s| s.id == id).map(|s| s.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(fields: Value) -> Body {
        fields.as_object().expect("an object").clone()
    }

    #[test]
    fn every_factor_counts_and_the_largest_sum_is_one_hundred() {
        let best = lead(json!({
            "tier": "high", "sales_enrichment": {"status": "complete"},
            "sales_signals": {
                "quiz_completed": {"count": 1, "value": 100.0}, "proposal_viewed": {"count": 9}, "video_watched": {"count": 1, "value": 100.0},
                "cta_clicked": {"count": 4}, "meeting_booked": {"count": 2}
            }
        }));
        let scored = score(&best, 0.0);
        assert_eq!((scored.score, scored.label), (100.0, "hot"));
        let sum: f64 = scored
            .factors
            .iter()
            .filter(|f| f.points > 0.0)
            .map(|f| f.most)
            .sum();
        assert_eq!(sum, 100.0);
    }

    #[test]
    fn silence_costs_a_point_a_day_after_a_week() {
        let at = |days| score(&lead(json!({"tier": "high"})), days).score;
        assert_eq!((at(7.0), at(10.0), at(40.0)), (15.0, 12.0, 0.0));
    }

    #[test]
    fn labels_follow_the_contract() {
        let labels = [70.0, 69.9, 45.0, 44.9, 20.0, 19.9].map(label);
        assert_eq!(labels, ["hot", "warm", "warm", "cool", "cool", "cold"]);
    }
}
