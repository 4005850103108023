//! What works without a language model: audits, reports and keyword gaps, whose output is a report of the facts, and plans of campaigns that need nothing else.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::json;

use super::plans::{self, Planned};
use super::{Assignment, Ended, facts};
use crate::agency::{figures, roles};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};

/// Types of deliverables that need no model.
const PLAIN: [&str; 2] = ["website_audit", "performance_report"];

static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"https?://[^\s<>"')\]]+"#).ok());

/// Does an activity that needs no model; `None` when it needs one.
pub(super) async fn work(assignment: &Assignment<'_>, activity: &Record) -> Result<Option<Ended>> {
    let output = match assignment.settings.role.name {
        roles::PLANNER => return plan_plainly(assignment, activity).await,
        "site-auditor" => {
            let body = activity.body()?;
            let campaign = match &assignment.campaign {
                Some(campaign) => campaign.body()?,
                None => Body::new(),
            };
            let named = [text(&body, "prompt"), text(&campaign, "brief")];
            let found = named.into_iter().flatten().find_map(|text| {
                let address = ADDRESS.as_ref()?.find(text)?;
                Some(
                    address
                        .as_str()
                        .trim_end_matches(['.', ',', ';'])
                        .to_owned(),
                )
            });
            let Some(address) = found else {
                let error = "neither the task nor the brief names the address of a website";
                return Ok(Some(Ended::Failed("failed", error.to_owned())));
            };
            match facts::audit(assignment.app, &address).await {
                Ok(found) => facts::audited(&found),
                Err(error) if !error.is_retryable() => {
                    let error = error.public_message().to_owned();
                    return Ok(Some(Ended::Failed("failed", error)));
                }
                Err(error) => return Err(error),
            }
        }
        "report-writer" => {
            let found =
                figures::of_days(assignment.app, assignment.tenant(), figures::DAYS).await?;
            facts::reported(&found)
        }
        "keyword-researcher" => facts::gaps_shown(&facts::keyword_gaps(assignment).await?),
        _ => return Ok(None),
    };
    assignment
        .tell("text_delta", json!({"delta": output}))
        .await?;
    Ok(Some(Ended::Output(Some(output))))
}

/// Plans a campaign whose deliverables all need no model; `None` for others.
async fn plan_plainly(assignment: &Assignment<'_>, _: &Record) -> Result<Option<Ended>> {
    let Some(campaign) = &assignment.campaign else {
        return Ok(None);
    };
    let wanted = plans::wanted(assignment, campaign).await?;
    if wanted.iter().any(|w| !PLAIN.contains(&w.made.as_str())) {
        return Ok(None);
    }
    let mut planned = Vec::new();
    for deliverable in &wanted {
        let role = roles::maker_of(&deliverable.made)
            .ok_or_else(|| Error::internal("no role makes this deliverable"))?;
        for number in 1..=deliverable.quantity {
            let number = if deliverable.quantity > 1 {
                format!(" {number}")
            } else {
                String::new()
            };
            planned.push(Planned {
                title: format!("{}{number}", deliverable.made.replace('_', " ")),
                agent_role: role.name.to_owned(),
                deliverable_id: Some(deliverable.id.clone()),
                prompt: role.prompt.to_owned(),
                depends_on: Vec::new(),
            });
        }
    }
    let planned = &planned;
    assignment
        .write(|activity: Record| async move { plans::adopt(assignment, activity, planned).await })
        .await?;
    Ok(Some(Ended::Stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agency::DELIVERABLE_TYPES;

    #[test]
    fn plain_deliverables_are_deliverables() {
        assert!(PLAIN.iter().all(|made| DELIVERABLE_TYPES.contains(made)));
    }
}
