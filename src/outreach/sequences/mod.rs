//! Sequences of mails: steps with delays and templates, that leads are enrolled in by hand or by an event. Mails are sent by durable jobs ([`send`]), each at most
//! once; the limits per address hold across sequences, jobs and processes. How is in the README of this area.

mod compose;
pub mod enrol;
pub mod mails;
pub mod receivers;
pub mod replies;
pub mod send;
mod transport;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::SEQUENCE;
use crate::app::App;
use crate::auth::{Scope, plans};
use crate::db::Tx;
use crate::error::{Detail, Error, Result};
use crate::kb::datasets;
use crate::records::body::{Body, invalid, texts};
use crate::records::limit;
use crate::records::plan::{Change, Effect};
pub use compose::proposal_id;
pub use transport::check as check_settings;

/// Events that begin a sequence.
pub const TRIGGERS: [&str; 6] = [
    "quiz_completed",
    "proposal_viewed",
    "cta_clicked",
    "meeting_booked",
    "stage_changed",
    "manual",
];
/// Steps of a sequence.
pub const STEPS: usize = 8;
/// Longest delay of a step, in minutes: a year.
const DELAY: i64 = 365 * 24 * 60;
/// Longest subject and body of a template, in characters.
const SUBJECT: usize = 300;
const BODY: usize = 20_000;
/// Error code of a sequence beyond the plan.
pub const CAMPAIGN_LIMIT: &str = "campaign_limit_reached";

/// A step of a sequence.
#[derive(Debug, Clone)]
pub struct Step {
    /// Minutes after the step before, or after the enrolment.
    pub delay_minutes: i64,
    pub subject: String,
    pub body: String,
}

/// Returns the steps of a sequence.
#[must_use]
pub fn steps(sequence: &Body) -> Vec<Step> {
    let list = sequence.get("steps").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|step| Step {
            delay_minutes: step["delayMinutes"].as_i64().unwrap_or(0),
            subject: step["subject"].as_str().unwrap_or_default().to_owned(),
            body: step["body"].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// Checks a step, and gives its delay in minutes: `delayMinutes`, `delayHours` or `delayDays`.
fn checked_step(number: usize, step: &Value) -> Result<Value> {
    let wrong = |message: &str| invalid(format!("steps[{number}]: {message}"));
    let object = step
        .as_object()
        .ok_or_else(|| wrong("a step must be an object with subject, body and a delay"))?;
    let mut delay = 0;
    for (name, minutes) in [
        ("delayMinutes", 1),
        ("delay_minutes", 1),
        ("delayHours", 60),
        ("delay_hours", 60),
        ("delayDays", 24 * 60),
        ("delay_days", 24 * 60),
    ] {
        match object.get(name) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let n = value.as_i64().filter(|n| (0..=DELAY).contains(n));
                let n = n.ok_or_else(|| wrong(&format!("{name} must be a whole number from 0")))?;
                delay += n.saturating_mul(minutes);
            }
        }
    }
    if delay > DELAY {
        return Err(wrong("the delay may be at most a year"));
    }
    let word = |name: &str, most: usize| {
        let given = object.get(name).and_then(Value::as_str).unwrap_or_default();
        if given.trim().is_empty() {
            return Err(wrong(&format!("{name} is missing")));
        }
        if given.chars().count() > most {
            return Err(wrong(&format!("{name} may have at most {most} characters")));
        }
        compose::check(given).map_err(|error| wrong(&format!("{name}: {error}")))?;
        Ok(given.to_owned())
    };
    Ok(json!({
        "delayMinutes": delay,
        "subject": word("subject", SUBJECT)?,
        "body": word("body", BODY)?,
    }))
}

/// The number of sequences after a plan's writes must be within the plan of the tenant.
#[derive(Debug)]
struct CampaignLimit {
    tenant_id: String,
}

#[async_trait]
impl Effect for CampaignLimit {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let plan = plans::lock(tx, &self.tenant_id).await?;
        let Some((plan, most)) = plan.and_then(|p| Some((p, p.campaigns()?))) else {
            return Ok(None);
        };
        if limit::exceeds(tx, &SEQUENCE, &self.tenant_id, most).await? {
            return Err(Error::forbidden(
                CAMPAIGN_LIMIT,
                format!("the {plan} plan allows {most} campaigns, and the workspace has as many"),
            )
            .with_detail(Detail::PlanLimit {
                upgrade_url: app.config.upgrade_url.clone(),
            }));
        }
        Ok(None)
    }
}

pub(super) async fn complete(change: &mut Change<'_>) -> Result<()> {
    change.default("trigger", "manual");
    change.default("ai_enabled", false);
    if change.changes("steps") {
        let list = change.body.get("steps").and_then(Value::as_array);
        let list = list.cloned().unwrap_or_default();
        if list.is_empty() || list.len() > STEPS {
            return Err(invalid(format!("steps must have 1 to {STEPS} steps")));
        }
        let checked = list.iter().enumerate().map(|(n, s)| checked_step(n, s));
        let checked = checked.collect::<Result<Vec<_>>>()?;
        change.set("steps", Value::Array(checked));
    }
    if change.changes("dataset_ids") {
        // The passages come with the mails to whoever reads these.
        let ids = change.body.get("dataset_ids").map(texts);
        for id in ids.unwrap_or_default() {
            change.caller.need(Scope::KbSearch)?;
            datasets::settings(change.app, change.caller, id).await?;
        }
    }
    if let Some(config) = change.body.get("ai_config").and_then(Value::as_object)
        && config.get("maxRetries").is_some_and(|n| !n.is_null())
        && !config["maxRetries"]
            .as_i64()
            .is_some_and(|n| (0..=5).contains(&n))
    {
        return Err(invalid(
            "ai_config.maxRetries must be a whole number from 0 to 5",
        ));
    }
    if change.is_new() {
        change.plan.after.push(Box::new(CampaignLimit {
            tenant_id: change.caller.tenant().to_owned(),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_minutes_whatever_their_unit() {
        let step = json!({"subject": "Hello", "body": "Dear {{ firstName }}", "delayDays": 2, "delayMinutes": 5});
        assert_eq!(checked_step(0, &step).expect("valid")["delayMinutes"], 2885);
    }

    #[test]
    fn a_broken_template_is_refused_with_its_place() {
        let step = json!({"subject": "Hello", "body": "Dear {{ firstName"});
        let error = checked_step(2, &step).expect_err("broken").to_string();
        assert!(error.contains("steps[2]: body"), "{error}");
    }
}
