//! Plans of campaigns: what the planner submits, its checks, and the activities that it becomes.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Assignment;
use super::arguments::read;
use super::tools::Answer;
use crate::agency::activities::{self, NewActivity};
use crate::agency::deliverables::{Span, day_of};
use crate::agency::{CAMPAIGN, DELIVERABLE, beginning, completion, list, roles, store, whole};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Most activities of a plan.
const ACTIVITIES: usize = 200;

/// Returns the schema of the arguments of `submit_plan`.
pub(super) fn schema() -> Value {
    let roles: Vec<&str> = roles::ROLES
        .iter()
        .map(|r| r.name)
        .filter(|name| *name != roles::PLANNER)
        .collect();
    json!({
        "type": "object",
        "properties": {"activities": {
            "type": "array", "minItems": 1, "maxItems": ACTIVITIES,
            "items": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "agent_role": {"type": "string", "enum": roles},
                    "deliverable_id": {"type": "string", "description": "Id of the deliverable that it makes a piece of, or prepares."},
                    "prompt": {"type": "string", "description": "What the agent has to do, complete in itself."},
                    "depends_on": {"type": "array", "items": {"type": "integer", "minimum": 0}, "description": "Positions of activities of this plan, from 0, that must be done before."},
                },
                "required": ["title", "agent_role", "prompt"],
                "additionalProperties": false,
            },
        }},
        "required": ["activities"],
        "additionalProperties": false,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submitted {
    activities: Vec<Planned>,
}

/// An activity of a plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Planned {
    pub(super) title: String,
    pub(super) agent_role: String,
    pub(super) deliverable_id: Option<String>,
    pub(super) prompt: String,
    #[serde(default)]
    pub(super) depends_on: Vec<usize>,
}

/// A deliverable as plans are checked against it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) made: String,
    pub(super) quantity: usize,
    pub(super) platforms: Vec<String>,
}

/// Returns the deliverables of a campaign.
pub(super) async fn wanted(assignment: &Assignment<'_>, campaign: &Record) -> Result<Vec<Wanted>> {
    let app = assignment.app;
    let found = store::children(&app.db, assignment.tenant(), &DELIVERABLE, &campaign.id).await?;
    found
        .into_iter()
        .map(|deliverable| {
            let body = deliverable.body()?;
            Ok(Wanted {
                id: deliverable.id,
                made: text(&body, "type").unwrap_or_default().to_owned(),
                quantity: usize::try_from(whole(&body, "quantity")).unwrap_or_default(),
                platforms: list(&body, "platform_ids"),
            })
        })
        .collect()
}

/// Returns what is wrong with a plan; nothing when it can be carried out.
fn problems(planned: &[Planned], wanted: &[Wanted]) -> Vec<String> {
    let mut found = Vec::new();
    if planned.is_empty() || planned.len() > ACTIVITIES {
        found.push(format!("a plan has 1 to {ACTIVITIES} activities"));
    }
    let mut pieces: HashMap<&str, usize> = HashMap::new();
    for (at, activity) in planned.iter().enumerate() {
        if activity.title.trim().is_empty() || activity.prompt.trim().is_empty() {
            found.push(format!("activity {at}: title and prompt must not be empty"));
        }
        let role = roles::named(&activity.agent_role);
        match &role {
            Ok(role) if role.name == roles::PLANNER => {
                found.push(format!("activity {at}: the planner has no activities"));
            }
            Ok(_) => {}
            Err(_) => found.push(format!(
                "activity {at}: there is no role {:?}",
                activity.agent_role
            )),
        }
        if let Some(id) = &activity.deliverable_id {
            match wanted.iter().find(|w| w.id == *id) {
                Some(deliverable) => {
                    if role.is_ok_and(|r| r.makes.contains(&deliverable.made.as_str())) {
                        *pieces.entry(deliverable.id.as_str()).or_default() += 1;
                    }
                }
                None => found.push(format!("activity {at}: there is no deliverable {id:?}")),
            }
        }
        if let Some(later) = activity.depends_on.iter().find(|d| **d >= at) {
            found.push(format!(
                "activity {at}: depends_on may only name earlier activities, not {later}"
            ));
        }
    }
    for deliverable in wanted {
        let planned = pieces
            .get(deliverable.id.as_str())
            .copied()
            .unwrap_or_default();
        if planned != deliverable.quantity {
            let maker = roles::maker_of(&deliverable.made).map_or("", |r| r.name);
            found.push(format!(
                "deliverable {} ({}) needs {} activities of {maker}, and the plan has {planned}",
                deliverable.id, deliverable.made, deliverable.quantity
            ));
        }
    }
    found
}

/// Checks a plan and carries it out: adds its activities, activates the campaign, and completes the planner's activity.
///
/// # Errors
/// `plan_invalid` with every problem; `arguments_invalid`.
pub(super) async fn submit(
    answer: &Answer<'_>,
    assignment: &Assignment<'_>,
    arguments: Map<String, Value>,
) -> Result<Value> {
    let Submitted {
        activities: planned,
    } = read(arguments)?;
    let output = json!({"accepted": true, "activities": planned.len()});
    let (planned, output_ref) = (&planned, &output);
    assignment
        .write(|activity: Record| async move {
            let mut plan = adopt(assignment, activity, planned).await?;
            plan.after.extend(answer.effects(output_ref));
            Ok(plan)
        })
        .await?;
    Ok(output)
}

/// Returns the plan that adopts a campaign's plan and ends the run of its planner.
pub(super) async fn adopt(
    assignment: &Assignment<'_>,
    activity: Record,
    planned: &[Planned],
) -> Result<Plan> {
    let (app, tenant_id) = (assignment.app, assignment.tenant());
    let campaign = match &activity.parent_id {
        Some(id) => store::get(app, tenant_id, &CAMPAIGN, id).await?,
        None => {
            return Err(Error::unprocessable(
                "plan_invalid",
                "this activity belongs to no campaign, so there is nothing to plan",
            ));
        }
    };
    let wanted = wanted(assignment, &campaign).await?;
    let problems = problems(planned, &wanted);
    if !problems.is_empty() {
        return Err(Error::unprocessable("plan_invalid", problems.join("; ")));
    }
    let body = activity.body()?;
    let period = match text(&body, "period_start") {
        Some(day) => day.to_owned(),
        None => day_of(app.clock.now())
            .max(Span::of(&campaign)?.start)
            .to_string(),
    };
    let mut plan = Plan::default();
    let mut ids: Vec<String> = Vec::with_capacity(planned.len());
    for activity in planned {
        let role = roles::named(&activity.agent_role)?;
        let deliverable = activity
            .deliverable_id
            .as_ref()
            .and_then(|id| wanted.iter().find(|w| w.id == *id));
        let makes_piece = deliverable.is_some_and(|d| role.makes.contains(&d.made.as_str()));
        let depends_on = activity.depends_on.iter().filter_map(|at| ids.get(*at));
        let new = NewActivity {
            title: beginning(activity.title.trim(), 200),
            prompt: activity.prompt.clone(),
            campaign: Some(&campaign),
            deliverable: deliverable.map(|d| (d.id.clone(), d.made.clone())),
            makes_piece,
            depends_on: depends_on.cloned().collect(),
            period_start: Some(period.clone()),
            platforms: deliverable.map(|d| d.platforms.clone()).unwrap_or_default(),
            wake_reason: "planned".to_owned(),
            ..NewActivity::by(role)
        };
        ids.push(activities::add(app, &assignment.caller, new, &mut plan)?);
    }
    let mut own = campaign.body()?;
    let mut periods = list(&own, "planned_periods");
    periods.push(period);
    own.insert("planned_periods".to_owned(), json!(periods));
    let mut after = crate::agency::with_body(&campaign, own);
    if campaign.status.as_deref() == Some("draft") {
        after.status = Some("active".to_owned());
    }
    plan.update_silently(&CAMPAIGN, campaign, after, app.clock.now());
    let mut body: Body = body;
    let now = app.clock.now().rfc3339();
    activities::set_output(&mut body, &shown(planned), "markdown", &[], &now);
    plan.after.push(assignment.ended());
    completion::complete(app, &assignment.caller, activity, body, &mut plan).await?;
    Ok(plan)
}

/// Returns a plan as Markdown.
fn shown(planned: &[Planned]) -> String {
    let mut text = "# Plan\n\n".to_owned();
    for (at, activity) in planned.iter().enumerate() {
        text.push_str(&format!(
            "{}. **{}** ({})",
            at + 1,
            activity.title.trim(),
            roles::title(&activity.agent_role)
        ));
        if !activity.depends_on.is_empty() {
            let before = activity.depends_on.iter().map(|d| (d + 1).to_string());
            let before: Vec<String> = before.collect();
            text.push_str(&format!(", after {}", before.join(", ")));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(role: &str, deliverable: Option<&str>, depends_on: &[usize]) -> Planned {
        Planned {
            title: "Title".to_owned(),
            agent_role: role.to_owned(),
            deliverable_id: deliverable.map(str::to_owned),
            prompt: "Do it".to_owned(),
            depends_on: depends_on.to_vec(),
        }
    }

    fn two_posts() -> Vec<Wanted> {
        vec![Wanted {
            id: "d1".to_owned(),
            made: "blog_post".to_owned(),
            quantity: 2,
            platforms: Vec::new(),
        }]
    }

    #[test]
    fn a_plan_makes_every_piece_once() {
        let brief = planned("content-brief-writer", Some("d1"), &[]);
        let post = |d: &[usize]| planned("blog-writer", Some("d1"), d);
        let plan = [brief.clone(), post(&[0]), post(&[0])];
        assert!(problems(&plan, &two_posts()).is_empty());
        let short = [brief, post(&[0])];
        assert_eq!(problems(&short, &two_posts()).len(), 1);
    }

    #[test]
    fn a_plan_with_unknown_or_circular_parts_is_refused() {
        let post = |d: &[usize]| planned("blog-writer", Some("d1"), d);
        let plan = [
            post(&[1]),
            post(&[]),
            planned("pilot", None, &[]),
            planned("copywriter", Some("d2"), &[]),
            planned(roles::PLANNER, None, &[]),
        ];
        assert_eq!(problems(&plan, &two_posts()).len(), 4);
        assert!(!problems(&[], &two_posts()).is_empty());
    }
}
