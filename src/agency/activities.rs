//! Activities: pieces of work of one agent, from assignment to completion, with what each transition causes.

use serde_json::{Value, json};

use super::notices::{Notice, Output};
use super::roles::Role;
use super::{ACTIVITY, CAMPAIGN, DELIVERABLE, access, logs, runs, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::jobs::Task;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// An activity to add.
#[derive(Debug, Clone)]
pub struct NewActivity<'a> {
    pub title: String,
    /// Type of a deliverable, `planning`, or another word.
    pub activity_type: String,
    pub role: &'static Role,
    /// Instructions of the activity for the agent.
    pub prompt: String,
    pub campaign: Option<&'a Record>,
    /// The deliverable that it belongs to: id and type.
    pub deliverable: Option<(String, String)>,
    /// Whether its output is a piece of the deliverable.
    pub makes_piece: bool,
    pub wake_reason: String,
    pub parent_activity_id: Option<String>,
    /// Activities that must be done before.
    pub depends_on: Vec<String>,
    /// First day of the period of the campaign.
    pub period_start: Option<String>,
    /// Request for content that it fulfils.
    pub request_id: Option<String>,
    /// Ids of channels or names of platforms that the output is for.
    pub platforms: Vec<String>,
    pub priority: i64,
}

impl NewActivity<'_> {
    /// Returns an activity of a role.
    #[must_use]
    pub fn by(role: &'static Role) -> Self {
        Self {
            title: role.title.to_owned(),
            activity_type: role.makes.first().copied().unwrap_or("task").to_owned(),
            role,
            prompt: String::new(),
            campaign: None,
            deliverable: None,
            makes_piece: false,
            wake_reason: "assigned".to_owned(),
            parent_activity_id: None,
            depends_on: Vec::new(),
            period_start: None,
            request_id: None,
            platforms: Vec::new(),
            priority: 0,
        }
    }
}

/// Adds an activity to a plan, and its first run unless it waits for others. Returns its id.
///
/// # Errors
/// `title_too_long`.
pub fn add(app: &App, caller: &Caller, new: NewActivity<'_>, plan: &mut Plan) -> Result<String> {
    let deliverable = new.deliverable.as_ref();
    let body = json!({
        "title": new.title,
        "type": new.activity_type,
        "agent_role": new.role.name,
        "prompt": new.prompt,
        "campaign_name": new.campaign.map(|c| c.title.as_str()),
        "deliverable_id": deliverable.map(|(id, _)| id),
        "deliverable_type": deliverable.map(|(_, made)| made),
        "makes_piece": new.makes_piece,
        "wake_reason": new.wake_reason,
        "parent_activity_id": new.parent_activity_id,
        "depends_on": new.depends_on,
        "period_start": new.period_start,
        "request_id": new.request_id,
        "platforms": new.platforms,
        "priority": new.priority,
    });
    let mut body: Body = serde_json::from_value(body)?;
    body.retain(|_, value| !value.is_null());
    let waits = !new.depends_on.is_empty();
    body.insert(
        "status".to_owned(),
        json!(if waits { "created" } else { "assigned" }),
    );
    let new = New {
        parent_id: new.campaign.map(|c| c.id.clone()),
        ..New::from(&body)
    };
    let record = write::draft(app, caller, &ACTIVITY, new)?;
    let id = record.id.clone();
    if !waits {
        plan.after.push(Box::new(queue(app, &record, &body)));
    }
    tend(plan);
    plan.create(&ACTIVITY, record);
    Ok(id)
}

/// How often the work of a team is looked after: periods that begin, approvals that expire, campaigns that end, tokens that expire.
const TEND: &str = "*/5 * * * *";

/// Lets the work of the team be looked after from now on.
pub(super) fn tend(plan: &mut Plan) {
    plan.schedules.push((Task::TendTeam, Some(TEND.to_owned())));
}

/// Returns a new run of an activity.
fn queue(app: &App, activity: &Record, body: &Body) -> runs::Queue {
    runs::Queue {
        id: app.clock.id(),
        tenant_id: activity.tenant_id.clone(),
        activity_id: activity.id.clone(),
        campaign_id: activity.parent_id.clone(),
        deliverable_type: text(body, "deliverable_type").map(str::to_owned),
        role: text(body, "agent_role").unwrap_or_default().to_owned(),
        priority: super::whole(body, "priority"),
    }
}

/// Assigns an activity again, with a new run. Returns the id of the run.
///
/// # Errors
/// When the row is damaged.
pub fn assign_again(
    app: &App,
    activity: Record,
    wake_reason: &str,
    change: impl FnOnce(&mut Body),
    plan: &mut Plan,
) -> Result<String> {
    let mut body = activity.body()?;
    for gone in ["blocked_reason", "error", "approval_expired"] {
        body.shift_remove(gone);
    }
    body.insert("wake_reason".to_owned(), json!(wake_reason));
    change(&mut body);
    let after = Record {
        status: Some("assigned".to_owned()),
        ..super::with_body(&activity, body.clone())
    };
    let run = queue(app, &after, &body);
    let run_id = run.id.clone();
    plan.after.push(Box::new(run));
    plan.update_silently(&ACTIVITY, activity, after, app.clock.now());
    Ok(run_id)
}

/// Blocks an activity in a plan, with the reason.
///
/// # Errors
/// When the row is damaged.
pub fn block(app: &App, activity: Record, reason: &str, plan: &mut Plan) -> Result<()> {
    let mut body = activity.body()?;
    body.insert("blocked_reason".to_owned(), json!(reason));
    let entry = logs::NewEntry {
        tenant_id: activity.tenant_id.clone(),
        level: "warn",
        category: if reason == super::campaigns::BUDGET {
            "billing"
        } else {
            "agent"
        },
        message: format!("{} is blocked: {reason}", activity.title),
        context: json!({"reason": reason}),
        activity_id: Some(activity.id.clone()),
        agent_role: text(&body, "agent_role").map(str::to_owned),
    };
    plan.after.push(Box::new(entry));
    let after = Record {
        status: Some("blocked".to_owned()),
        ..super::with_body(&activity, body)
    };
    plan.update_silently(&ACTIVITY, activity, after, app.clock.now());
    Ok(())
}

/// Assigns a blocked activity again in a plan; its run goes on.
///
/// # Errors
/// When the row is damaged.
pub fn unblock(app: &App, activity: Record, plan: &mut Plan) -> Result<()> {
    let mut body = activity.body()?;
    body.shift_remove("blocked_reason");
    let after = Record {
        status: Some("assigned".to_owned()),
        ..super::with_body(&activity, body)
    };
    plan.update_silently(&ACTIVITY, activity, after, app.clock.now());
    Ok(())
}

/// Returns the subtasks of an activity, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn subtasks(app: &App, tenant_id: &str, id: &str) -> Result<Vec<Record>> {
    let filters = vec![("parent_activity_id".to_owned(), id.to_owned())];
    let mut found = store::matching(app, tenant_id, &ACTIVITY, filters).await?;
    found.reverse();
    Ok(found)
}

/// Returns whether an activity is over.
#[must_use]
pub fn is_over(activity: &Record) -> bool {
    matches!(
        activity.status.as_deref(),
        Some("done" | "failed" | "reassigned")
    )
}

/// Continues an activity that waits for subtasks when the last of them ends.
pub(super) async fn continue_parent(
    app: &App,
    tenant_id: &str,
    parent_id: &str,
    ended: &str,
    plan: &mut Plan,
) -> Result<()> {
    let Some(parent) = store::optional(app, tenant_id, &ACTIVITY, parent_id).await? else {
        return Ok(());
    };
    match parent.status.as_deref() {
        Some("awaiting_subtask") => {}
        // It may begin to wait at this moment.
        Some("in_progress") => {
            plan.relies_on.push(parent);
            return Ok(());
        }
        _ => return Ok(()),
    }
    let all = subtasks(app, tenant_id, parent_id).await?;
    let open: Vec<Record> = all
        .into_iter()
        .filter(|a| a.id != ended && !is_over(a))
        .collect();
    if open.is_empty() {
        assign_again(app, parent, "subtasks_done", |_| {}, plan)?;
    } else {
        // Of two subtasks that end at the same time, the second one has to see the first.
        plan.relies_on.extend(open);
    }
    Ok(())
}

/// Fails an activity in a plan, and tells the team.
///
/// # Errors
/// Those of the database.
pub async fn fail(
    app: &App,
    activity: Record,
    error: &str,
    retries: i64,
    plan: &mut Plan,
) -> Result<()> {
    let mut body = activity.body()?;
    body.insert("error".to_owned(), json!(error));
    let tenant_id = activity.tenant_id.clone();
    let role = text(&body, "agent_role").map(str::to_owned);
    plan.after.push(Box::new(logs::NewEntry {
        tenant_id: tenant_id.clone(),
        level: "error",
        category: "agent",
        message: format!("{} failed: {error}", activity.title),
        context: json!({"error": error}),
        activity_id: Some(activity.id.clone()),
        agent_role: role,
    }));
    plan.after.push(Box::new(Notice::failed(
        &tenant_id,
        &activity.id,
        error,
        retries,
    )));
    plan.after.push(Box::new(Output {
        tenant_id: tenant_id.clone(),
        activity_id: activity.id.clone(),
        event: "error",
        data: json!({"error": error}),
    }));
    if let Some(parent_id) = text(&body, "parent_activity_id") {
        continue_parent(app, &tenant_id, parent_id, &activity.id, plan).await?;
    }
    let after = Record {
        status: Some("failed".to_owned()),
        ..super::with_body(&activity, body)
    };
    plan.update_silently(&ACTIVITY, activity, after, app.clock.now());
    Ok(())
}

/// Returns a plan that runs a failed activity again. A campaign that was completed is active until nothing is left to do.
///
/// # Errors
/// `admin_required`, `record_not_found`, `activity_not_failed`, `campaign_not_running`.
pub async fn retry(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    access::admin(caller)?;
    let activity = store::get(app, caller.tenant(), &ACTIVITY, id).await?;
    if activity.status.as_deref() != Some("failed") {
        let status = activity.status.as_deref().unwrap_or_default();
        return Err(Error::unprocessable(
            "activity_not_failed",
            format!("only failed activities can be retried; this one is {status}"),
        ));
    }
    let mut plan = Plan::default();
    if let Some(campaign_id) = &activity.parent_id {
        let campaign = store::get(app, caller.tenant(), &CAMPAIGN, campaign_id).await?;
        if let Some(status @ ("paused" | "archived")) = campaign.status.as_deref() {
            return Err(Error::unprocessable(
                "campaign_not_running",
                format!("the campaign of this activity is {status}"),
            ));
        }
        if campaign.status.as_deref() == Some("completed") {
            let after = Record {
                status: Some("active".to_owned()),
                ..campaign.clone()
            };
            plan.update_silently(&CAMPAIGN, campaign, after, app.clock.now());
        }
    }
    let activity_id = activity.id.clone();
    let run_id = assign_again(app, activity, "retry", |_| {}, &mut plan)?;
    Ok(plan.data(202, json!({"activityId": activity_id, "runId": run_id})))
}

/// Returns the deliverable of an activity.
///
/// # Errors
/// Those of the database.
pub async fn deliverable_of(app: &App, activity: &Record, body: &Body) -> Result<Option<Record>> {
    match text(body, "deliverable_id") {
        Some(id) => store::optional(app, &activity.tenant_id, &DELIVERABLE, id).await,
        None => Ok(None),
    }
}

/// Returns the campaign of an activity as it is now.
///
/// # Errors
/// Those of the database.
pub async fn campaign_of(app: &App, activity: &Record) -> Result<Option<Record>> {
    match &activity.parent_id {
        Some(id) => store::optional(app, &activity.tenant_id, &CAMPAIGN, id).await,
        None => Ok(None),
    }
}

/// Returns the names of the campaigns of activities by id.
///
/// # Errors
/// Those of the database.
pub async fn campaign_names(
    app: &App,
    tenant_id: &str,
    activities: &[Record],
) -> Result<std::collections::HashMap<String, String>> {
    let mut ids: Vec<String> = activities
        .iter()
        .filter_map(|a| a.parent_id.clone())
        .collect();
    ids.sort();
    ids.dedup();
    let campaigns = store::some(&app.db, tenant_id, &CAMPAIGN, &ids).await?;
    Ok(campaigns.into_iter().map(|c| (c.id, c.title)).collect())
}

/// Returns the output of an activity: text, format and the time when it was saved.
///
/// # Errors
/// `output_missing` when it has none yet.
pub fn output(body: &Body) -> Result<(&str, &str, &str)> {
    let part = |name: &str| text(body, name);
    match (part("output"), part("output_format"), part("output_at")) {
        (Some(output), Some(format), Some(at)) => Ok((output, format, at)),
        _ => Err(Error::unprocessable(
            "output_missing",
            "the activity has no output yet",
        )),
    }
}

/// Earlier versions of an output that are kept.
const REVISIONS: usize = 20;
/// Longest output in characters.
pub const LONGEST: usize = 400_000;

/// Sets the output of an activity; the one before becomes a revision.
pub fn set_output(body: &mut Body, output: &str, format: &str, sources: &[String], now: &str) {
    if let (Some(before), Some(at)) = (text(body, "output"), text(body, "output_at"))
        && before != output
    {
        let revision = json!({"output": before, "savedAt": at});
        let mut revisions = body
            .get("revisions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        revisions.push(revision);
        let skipped = revisions.len().saturating_sub(REVISIONS);
        body.insert("revisions".to_owned(), json!(&revisions[skipped..]));
    }
    body.insert("output".to_owned(), json!(output));
    body.insert("output_format".to_owned(), json!(format));
    body.insert("output_at".to_owned(), json!(now));
    body.insert("sources".to_owned(), json!(sources));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_keeps_the_ones_before_it() {
        let mut body = Body::new();
        assert_eq!(output(&body).expect_err("none").code(), "output_missing");
        for text in ["one", "one", "two"] {
            set_output(&mut body, text, "markdown", &[], "2026-04-01T09:00:00Z");
        }
        assert_eq!(output(&body).expect("an output").0, "two");
        let revisions = body["revisions"].as_array().expect("a list");
        assert_eq!(revisions.len(), 1);
        assert_eq!(revisions[0]["output"], "one");
    }
}
