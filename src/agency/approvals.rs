//! Approvals: decisions that agents ask people for, and what a decision causes.

use std::time::Duration;

use serde_json::{Value, json};

use super::notices::Notice;
use super::{ACTIVITY, APPROVAL, access, activities, list, logs, requests, store};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute};

/// Time in which somebody has to decide.
const LASTS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time before the end of an approval at which the team is told.
const WARNING: Duration = Duration::from_secs(24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A decision to ask for.
#[derive(Debug, Clone)]
pub struct NewApproval {
    pub title: String,
    /// One of the types of approvals.
    pub approval_type: String,
    /// `low`, `medium` or `high`.
    pub risk_level: String,
    pub description: Option<String>,
    /// Options of the decision.
    pub options: Vec<String>,
    pub activity_ids: Vec<String>,
    pub campaign_id: Option<String>,
    /// Request for content that is approved with it.
    pub request_id: Option<String>,
}

/// Adds an approval to a plan. Returns its id.
///
/// # Errors
/// `title_too_long`.
pub fn add(app: &App, caller: &Caller, new: &NewApproval, plan: &mut Plan) -> Result<String> {
    let expires = app.clock.now().plus(LASTS);
    let body = json!({
        "title": new.title,
        "type": new.approval_type,
        "risk_level": new.risk_level,
        "description": new.description,
        "options": new.options,
        "activity_ids": new.activity_ids,
        "campaign": new.campaign_id,
        "request_id": new.request_id,
        "expires_on": expires.0,
    });
    let mut body: Body = serde_json::from_value(body)?;
    body.retain(|_, value| !value.is_null());
    let record = write::draft(app, caller, &APPROVAL, New::from(&body))?;
    let id = record.id.clone();
    plan.after.push(Box::new(Notice::approval_created(
        caller.tenant(),
        &id,
        (&new.approval_type, &new.risk_level),
        &new.title,
    )));
    plan.after.push(Box::new(logs::NewEntry {
        tenant_id: caller.tenant().to_owned(),
        level: "info",
        category: "approval",
        message: format!("approval needed: {}", new.title),
        context: json!({"approvalId": id, "type": new.approval_type, "riskLevel": new.risk_level}),
        activity_id: new.activity_ids.first().cloned(),
        agent_role: None,
    }));
    plan.create(&APPROVAL, record);
    Ok(id)
}

/// Returns when an approval expires.
#[must_use]
pub fn expires_on(body: &Body) -> Time {
    Time(super::whole(body, "expires_on"))
}

/// A decision.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// `approved`, `rejected` or `revision_requested`.
    pub word: String,
    pub selected_option: Option<String>,
    pub note: Option<String>,
}

/// Returns a plan that resolves an approval, and lets its activities go on.
///
/// # Errors
/// `admin_required`, `record_not_found`, `approval_not_pending`, `note_missing`, `option_missing`, `option_unknown`.
pub async fn resolve(app: &App, caller: &Caller, id: &str, given: &Resolution) -> Result<Plan> {
    access::admin(caller)?;
    let before = store::get(app, caller.tenant(), &APPROVAL, id).await?;
    if before.status.as_deref() != Some("pending") {
        let status = before.status.as_deref().unwrap_or_default();
        return Err(Error::conflict(
            "approval_not_pending",
            format!("the approval is {status} already"),
        ));
    }
    let mut body = before.body()?;
    let approves = given.word == "approved";
    let note = given
        .note
        .as_deref()
        .map(str::trim)
        .filter(|n| !n.is_empty());
    if !approves && note.is_none() {
        return Err(Error::invalid(
            "note_missing",
            format!("note is required when resolution is {}", given.word),
        ));
    }
    let options = list(&body, "options");
    match &given.selected_option {
        None if approves && !options.is_empty() => {
            return Err(Error::unprocessable(
                "option_missing",
                format!("selectedOption is required: one of {}", options.join(", ")),
            ));
        }
        Some(chosen) if !options.contains(chosen) => {
            return Err(Error::unprocessable(
                "option_unknown",
                format!("{chosen:?} is not one of the options"),
            ));
        }
        Some(_) | None => {}
    }
    let now = app.clock.now();
    for (name, value) in [
        ("resolution", json!(given.word)),
        ("resolution_note", json!(note)),
        ("selected_option", json!(given.selected_option)),
        ("resolved_on", json!(now.0)),
        ("resolved_by", json!(caller.actor_id())),
    ] {
        if !value.is_null() {
            body.insert(name.to_owned(), value);
        }
    }
    let mut plan = Plan::default();
    let decided = super::with_body(&before, body.clone());
    let ids = list(&body, "activity_ids");
    let mut again = 0;
    for activity in store::some(&app.db, caller.tenant(), &ACTIVITY, &ids).await? {
        let waits = activity.status.as_deref() == Some("awaiting_approval");
        let campaign = activities::campaign_of(app, &activity).await?;
        let is_stopped = match &activity.parent_id {
            Some(_) => campaign.is_none_or(|c| c.status.as_deref() == Some("archived")),
            None => false,
        };
        if is_stopped {
            continue;
        }
        if !waits {
            // An agent at work may begin to wait for this decision at this moment, and finds it then.
            if activity.status.as_deref() == Some("in_progress") {
                plan.relies_on.push(activity);
            }
            continue;
        }
        if approves && has_other(app, &activity, &before.id).await? {
            let mut own = activity.body()?;
            add_decisions(app, &mut own, std::slice::from_ref(&decided))?;
            let after = super::with_body(&activity, own);
            plan.update_silently(&ACTIVITY, activity, after, now);
            continue;
        }
        continue_with(app, activity, std::slice::from_ref(&decided), &mut plan)?;
        again += 1;
    }
    if let Some(request_id) = text(&body, "request_id") {
        requests::decide(app, caller, request_id, approves, &mut plan).await?;
    }
    let status = if approves { "approved" } else { "rejected" };
    let after = Record {
        status: Some(status.to_owned()),
        ..super::with_body(&before, body)
    };
    plan.after.push(Box::new(logs::NewEntry {
        tenant_id: caller.tenant().to_owned(),
        level: "info",
        category: "approval",
        message: format!("{}: {}", before.title, given.word),
        context: json!({"approvalId": before.id, "resolution": given.word}),
        activity_id: ids.first().cloned(),
        agent_role: None,
    }));
    plan.notes.push((
        &APPROVAL,
        before.id.clone(),
        if approves { "approved" } else { "rejected" },
        Body::new(),
    ));
    let approval_id = before.id.clone();
    plan.update(&APPROVAL, before, after, now);
    Ok(plan.data(
        200,
        json!({"approvalId": approval_id, "resolution": given.word, "reEnqueuedActivities": again}),
    ))
}

/// Returns the decisions that an activity knows.
fn decisions(body: &Body) -> Vec<Value> {
    let all = body.get("feedback").and_then(Value::as_array);
    all.cloned().unwrap_or_default()
}

/// Returns the resolved approvals of an activity that it does not know yet, oldest first.
///
/// # Errors
/// When a row is damaged.
pub fn unknown_to(activity: &Record, approvals: Vec<Record>) -> Result<Vec<Record>> {
    let known = decisions(&activity.body()?);
    let mut found = Vec::new();
    for approval in approvals {
        let is_known = known
            .iter()
            .any(|d| d["approvalId"] == approval.id.as_str());
        if !is_known && text(&approval.body()?, "resolution").is_some() {
            found.push(approval);
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// Adds the decisions of resolved approvals to an activity.
fn add_decisions(app: &App, activity: &mut Body, decided: &[Record]) -> Result<()> {
    let mut all = decisions(activity);
    for approval in decided {
        let decision = approval.body()?;
        all.push(json!({
            "approvalId": approval.id,
            "type": text(&decision, "type"),
            "resolution": text(&decision, "resolution"),
            "selectedOption": text(&decision, "selected_option"),
            "note": text(&decision, "resolution_note"),
            "at": app.clock.now().rfc3339(),
        }));
    }
    activity.insert("feedback".to_owned(), json!(all));
    Ok(())
}

/// Assigns an activity again with the decisions of resolved approvals, the last of which is the one that it waited for.
///
/// # Errors
/// When a row is damaged.
pub fn continue_with(
    app: &App,
    activity: Record,
    decided: &[Record],
    plan: &mut Plan,
) -> Result<String> {
    let mut told = activity.body()?;
    add_decisions(app, &mut told, decided)?;
    let last = decided.last().map(Record::body).transpose()?;
    let last = last.unwrap_or_default();
    let is_approval = text(&last, "resolution") == Some("approved");
    // Only the approval of the content itself completes an activity; other decisions let it go on.
    let is_final = is_approval && text(&last, "type") == Some("content_review");
    let wake_reason = if is_approval {
        "review_approved"
    } else {
        "review_feedback"
    };
    let add = |body: &mut Body| {
        body.insert("feedback".to_owned(), json!(decisions(&told)));
        body.insert("is_approved".to_owned(), json!(is_final));
    };
    activities::assign_again(app, activity, wake_reason, add, plan)
}

/// Returns whether another approval of an activity is pending.
async fn has_other(app: &App, activity: &Record, resolved: &str) -> Result<bool> {
    let filters = vec![
        ("activity_ids".to_owned(), activity.id.clone()),
        ("status".to_owned(), "pending".to_owned()),
    ];
    let pending = store::matching(app, &activity.tenant_id, &APPROVAL, filters).await?;
    Ok(pending.iter().any(|a| a.id != resolved))
}

/// Counters of the queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    pub pending: i64,
    pub high_risk: i64,
    pub expiring: i64,
    pub resolved_this_week: i64,
}

/// Returns the counters of the queue; a week is seven days.
///
/// # Errors
/// Those of the database.
pub async fn stats(app: &App, tenant_id: &str) -> Result<Stats> {
    let now = app.clock.now();
    let mut stats = Stats::default();
    let pending = vec![("status".to_owned(), "pending".to_owned())];
    for approval in store::matching(app, tenant_id, &APPROVAL, pending).await? {
        let body = approval.body()?;
        stats.pending += 1;
        stats.high_risk += i64::from(text(&body, "risk_level") == Some("high"));
        stats.expiring += i64::from(expires_on(&body) <= now.plus(DAY));
    }
    let (resolved,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE kind = $1 AND tenant_id = $2 AND updated_on >= $3 AND status IN ('approved', 'rejected')",
            args![APPROVAL.name, tenant_id, now.minus(7 * DAY)],
        )
        .await?;
    stats.resolved_this_week = resolved;
    Ok(stats)
}

/// Expires approvals whose time is over, and tells the team, once, of those that expire within a day.
///
/// # Errors
/// Those of the database.
pub async fn tend(app: &App, caller: &Caller) -> Result<()> {
    let pending = vec![("status".to_owned(), "pending".to_owned())];
    for approval in store::matching(app, caller.tenant(), &APPROVAL, pending).await? {
        let now = app.clock.now();
        let body = approval.body()?;
        let expires = expires_on(&body);
        let is_over = expires <= now;
        let warns = expires <= now.plus(WARNING) && !body.contains_key("warned");
        if !is_over && !warns {
            continue;
        }
        let request = Request::internal(caller, "expireApprovals");
        let id = &approval.id;
        execute(app, &request, || async move {
            let before = store::get(app, caller.tenant(), &APPROVAL, id).await?;
            if before.status.as_deref() != Some("pending") {
                return Ok(Plan::default());
            }
            if is_over {
                expire(app, caller, before).await
            } else {
                warn(app, before, now)
            }
        })
        .await?;
    }
    Ok(())
}

async fn expire(app: &App, caller: &Caller, before: Record) -> Result<Plan> {
    let mut plan = Plan::default();
    let body = before.body()?;
    let ids = list(&body, "activity_ids");
    for activity in store::some(&app.db, &before.tenant_id, &ACTIVITY, &ids).await? {
        if activity.status.as_deref() == Some("awaiting_approval")
            && !has_other(app, &activity, &before.id).await?
        {
            activities::fail(app, activity, "approval_expired", 0, &mut plan).await?;
        }
    }
    if let Some(request_id) = text(&body, "request_id") {
        requests::decide(app, caller, request_id, false, &mut plan).await?;
    }
    let after = Record {
        status: Some("expired".to_owned()),
        ..before.clone()
    };
    plan.update_silently(&APPROVAL, before, after, app.clock.now());
    Ok(plan)
}

fn warn(app: &App, before: Record, now: Time) -> Result<Plan> {
    let mut body = before.body()?;
    let expires = expires_on(&body);
    let hours = expires.since(now).as_secs().div_ceil(3600);
    let mut plan = Plan::default();
    plan.after.push(Box::new(Notice::approval_expiring(
        &before.tenant_id,
        &before.id,
        &expires.rfc3339(),
        i64::try_from(hours).unwrap_or(i64::MAX),
    )));
    body.insert("warned".to_owned(), json!(true));
    let after = super::with_body(&before, body);
    plan.update_silently(&APPROVAL, before, after, app.clock.now());
    Ok(plan)
}
