//! Activities, their output and comments, and approvals.

use serde_json::{Value, json};

use super::wire::{page, set, word};
use crate::agency::approvals::{self, Resolution};
use crate::agency::people::{AGENT, Names};
use crate::agency::runs::{self, Run};
use crate::agency::{
    ACTIVITY, ACTIVITY_STATUSES, APPROVAL, APPROVAL_STATUSES, APPROVAL_TYPES, RISK_LEVELS, access,
    activities, beginning, comments, list, roles, store, usd, whole,
};
use crate::api::operation::{Call, Data};
use crate::app::App;
use crate::clock::Time;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Characters of an output that details show.
const PREVIEW: usize = 500;

/// Returns activities as lists show them.
pub(super) async fn summaries(app: &App, tenant_id: &str, found: &[Record]) -> Result<Vec<Value>> {
    let ids: Vec<String> = found.iter().map(|a| a.id.clone()).collect();
    let totals = runs::totals(&app.db, tenant_id, &ids).await?;
    let campaigns = activities::campaign_names(app, tenant_id, found).await?;
    let mut shown = Vec::with_capacity(found.len());
    for activity in found {
        let body = activity.body()?;
        let role = text(&body, "agent_role");
        let (cost, started, ended) = totals.get(&activity.id).copied().unwrap_or_default();
        let campaign_name = activity.parent_id.as_ref().and_then(|id| campaigns.get(id));
        let is_done = activity.status.as_deref() == Some("done");
        let mut summary = json!({
            "id": activity.id,
            "title": activity.title,
            "type": text(&body, "type"),
            "status": activity.status,
            "agentRole": role,
            "assigneeName": roles::title(role.unwrap_or_default()),
            "campaignId": activity.parent_id,
            "campaignName": campaign_name,
            "costUsd": usd(cost),
            "createdOn": activity.created_on.rfc3339(),
        });
        set(&mut summary, "deliverableId", text(&body, "deliverable_id"));
        set(&mut summary, "approvalId", text(&body, "approval_id"));
        set(&mut summary, "wakeReason", text(&body, "wake_reason"));
        set(&mut summary, "blockedReason", text(&body, "blocked_reason"));
        set(
            &mut summary,
            "startedAt",
            started.map(Time::rfc3339).as_deref(),
        );
        let ended = ended.filter(|_| is_done).map(Time::rfc3339);
        let ended = text(&body, "done_at").map(str::to_owned).or(ended);
        set(&mut summary, "completedAt", ended.as_deref());
        shown.push(summary);
    }
    Ok(shown)
}

pub(super) async fn list_activities(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let mut filters = Vec::new();
    if let Some(status) = word(call, "filter.status", &ACTIVITY_STATUSES)? {
        filters.push(("status".to_owned(), status));
    }
    for (parameter, facet) in [
        ("filter.agentRole", "agent_role"),
        ("filter.campaignId", "parent"),
        ("filter.deliverableId", "deliverable_id"),
        ("filter.wakeReason", "wake_reason"),
    ] {
        if let Some(value) = call.query(parameter) {
            filters.push((facet.to_owned(), value.to_owned()));
        }
    }
    let tenant_id = call.caller.tenant();
    let page = page(call, 50)?;
    let found = store::page(call.app, tenant_id, &ACTIVITY, filters, None, &page).await?;
    let shown = summaries(call.app, tenant_id, &found.items).await?;
    Ok(Data::Many(shown, found.next))
}

fn run_shown(run: &Run) -> Value {
    let duration = run.started_on.map_or(0, |start| {
        let end = run.completed_on.unwrap_or(start);
        i64::try_from(end.since(start).as_millis()).unwrap_or(i64::MAX)
    });
    let mut shown = json!({
        "id": run.id,
        "status": run.status,
        "model": run.model,
        "inputTokens": run.input_tokens,
        "outputTokens": run.output_tokens,
        "costUsd": usd(run.cost_micros),
        "durationMs": duration,
        "startedAt": run.started_on.map(Time::rfc3339),
    });
    let completed = run.completed_on.map(Time::rfc3339);
    set(&mut shown, "completedAt", completed.as_deref());
    set(&mut shown, "error", run.error.as_deref());
    shown
}

pub(super) async fn get_activity(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let activity = store::get(app, tenant_id, &ACTIVITY, call.id()).await?;
    let body = activity.body()?;
    let role = text(&body, "agent_role").unwrap_or_default();
    let campaigns =
        activities::campaign_names(app, tenant_id, std::slice::from_ref(&activity)).await?;
    let campaign = activity.parent_id.as_ref().map(|id| {
        let name = campaigns.get(id).map_or("", String::as_str);
        json!({"id": id, "name": name})
    });
    let all = comments::list(app, tenant_id, &activity.id).await?;
    let names = Names::of_authors(app, tenant_id, &all).await?;
    let all: Vec<Value> = all
        .iter()
        .map(|comment| comments::shown(comment, &names))
        .collect::<Result<_>>()?;
    let runs = runs::of_activity(&app.db, tenant_id, &activity.id).await?;
    let subtasks = activities::subtasks(app, tenant_id, &activity.id).await?;
    let agent = format!("{AGENT}{role}");
    let mut shown = json!({
        "id": activity.id,
        "title": activity.title,
        "type": text(&body, "type"),
        "status": activity.status,
        "agentRole": role,
        "assignee": names.actor(Some(&agent)),
        "campaign": campaign,
        "inputPrompt": text(&body, "prompt").unwrap_or_default(),
        "sources": list(&body, "sources"),
        "revisions": body.get("revisions").cloned().unwrap_or_else(|| json!([])),
        "publications": body.get("publications").cloned().unwrap_or_else(|| json!([])),
        "comments": all,
        "runs": runs.iter().map(run_shown).collect::<Vec<_>>(),
        "subtasks": summaries(app, tenant_id, &subtasks).await?,
        "createdOn": activity.created_on.rfc3339(),
        "updatedOn": activity.updated_on.rfc3339(),
    });
    if let Some(deliverable) = activities::deliverable_of(app, &activity, &body).await? {
        let own = deliverable.body()?;
        shown["deliverable"] = json!({"id": deliverable.id, "type": text(&own, "type")});
    }
    if let Some(id) = text(&body, "approval_id")
        && let Some(approval) = store::optional(app, tenant_id, &APPROVAL, id).await?
    {
        let own = approval.body()?;
        shown["approval"] =
            json!({"id": approval.id, "type": text(&own, "type"), "status": approval.status});
    }
    set_output(&mut shown, &activity.id, &body);
    set(&mut shown, "blockedReason", text(&body, "blocked_reason"));
    let is_failed = activity.status.as_deref() == Some("failed");
    set(
        &mut shown,
        "error",
        text(&body, "error").filter(|_| is_failed),
    );
    Ok(Data::One(shown))
}

fn set_output(shown: &mut Value, id: &str, body: &Body) {
    if let Some(output) = text(body, "output") {
        shown["outputRef"] = json!(id);
        shown["outputPreview"] = json!(beginning(output, PREVIEW));
    }
}

pub(super) async fn get_output(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let activity = store::get(call.app, call.caller.tenant(), &ACTIVITY, call.id()).await?;
    let body = activity.body()?;
    let (output, format, at) = activities::output(&body)?;
    Ok(Data::One(json!({
        "activityId": activity.id,
        "text": output,
        "format": format,
        "createdOn": at,
    })))
}

pub(super) async fn retry_activity(call: Call<'_>) -> Result<Plan> {
    activities::retry(call.app, call.caller, call.id()).await
}

pub(super) async fn add_comment(call: Call<'_>) -> Result<Plan> {
    let message = text(call.body, "text").unwrap_or_default();
    let comment_type = text(call.body, "type").unwrap_or("comment");
    comments::add(call.app, call.caller, call.id(), message, comment_type).await
}

pub(super) async fn list_comments(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let activity = store::get(app, tenant_id, &ACTIVITY, call.id()).await?;
    let all = comments::list(app, tenant_id, &activity.id).await?;
    let names = Names::of_authors(app, tenant_id, &all).await?;
    let shown: Vec<Value> = all
        .iter()
        .map(|comment| comments::shown(comment, &names))
        .collect::<Result<_>>()?;
    Ok(Data::One(json!({"data": shown})))
}

/// Returns approvals as lists and details show them.
async fn approvals_shown(
    app: &App,
    tenant_id: &str,
    found: &[Record],
    with_output: bool,
) -> Result<Vec<Value>> {
    let bodies: Vec<Body> = found.iter().map(Record::body).collect::<Result<_>>()?;
    let mut ids: Vec<String> = bodies
        .iter()
        .flat_map(|b| list(b, "activity_ids"))
        .collect();
    ids.sort();
    ids.dedup();
    let linked = store::some(&app.db, tenant_id, &ACTIVITY, &ids).await?;
    let authors = found.iter().map(|a| a.author.as_deref());
    let resolvers = bodies.iter().map(|b| text(b, "resolved_by"));
    let names = Names::of(app, tenant_id, authors.chain(resolvers)).await?;
    let mut shown = Vec::with_capacity(found.len());
    for (approval, body) in found.iter().zip(&bodies) {
        let mut activities = Vec::new();
        for id in list(body, "activity_ids") {
            let Some(activity) = linked.iter().find(|a| a.id == id) else {
                continue;
            };
            let mut one =
                json!({"id": activity.id, "title": activity.title, "status": activity.status});
            if with_output {
                set_output(&mut one, &activity.id, &activity.body()?);
            }
            activities.push(one);
        }
        let mut one = json!({
            "id": approval.id,
            "title": approval.title,
            "type": text(body, "type"),
            "riskLevel": text(body, "risk_level"),
            "status": approval.status,
            "linkedActivities": activities,
            "createdBy": names.actor(approval.author.as_deref()),
            "createdOn": approval.created_on.rfc3339(),
            "expiresAt": approvals::expires_on(body).rfc3339(),
        });
        set(&mut one, "description", text(body, "description"));
        let options = list(body, "options");
        if !options.is_empty() {
            one["options"] = json!(options);
        }
        if body.contains_key("resolved_on") {
            one["resolvedAt"] = json!(Time(whole(body, "resolved_on")).rfc3339());
            one["resolvedBy"] = names.person(text(body, "resolved_by"));
        }
        set(&mut one, "resolution", text(body, "resolution"));
        set(&mut one, "resolutionNote", text(body, "resolution_note"));
        set(&mut one, "selectedOption", text(body, "selected_option"));
        shown.push(one);
    }
    Ok(shown)
}

pub(super) async fn list_approvals(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let status = word(call, "filter.status", &APPROVAL_STATUSES)?;
    let mut filters = vec![(
        "status".to_owned(),
        status.unwrap_or_else(|| "pending".to_owned()),
    )];
    for (parameter, facet, words) in [
        ("filter.type", "type", &APPROVAL_TYPES[..]),
        ("filter.riskLevel", "risk_level", &RISK_LEVELS[..]),
    ] {
        if let Some(value) = word(call, parameter, words)? {
            filters.push((facet.to_owned(), value));
        }
    }
    let tenant_id = call.caller.tenant();
    let page = page(call, 50)?;
    let found = store::page(call.app, tenant_id, &APPROVAL, filters, None, &page).await?;
    let shown = approvals_shown(call.app, tenant_id, &found.items, false).await?;
    Ok(Data::Many(shown, found.next))
}

pub(super) async fn get_approval(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let tenant_id = call.caller.tenant();
    let approval = store::get(call.app, tenant_id, &APPROVAL, call.id()).await?;
    let mut shown = approvals_shown(call.app, tenant_id, &[approval], true).await?;
    Ok(Data::One(shown.pop().unwrap_or_default()))
}

pub(super) async fn resolve_approval(call: Call<'_>) -> Result<Plan> {
    let own = |name: &str| text(call.body, name).map(str::to_owned);
    let resolution = Resolution {
        word: own("resolution").unwrap_or_default(),
        selected_option: own("selectedOption"),
        note: own("note"),
    };
    approvals::resolve(call.app, call.caller, call.id(), &resolution).await
}

pub(super) async fn approval_stats(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let stats = approvals::stats(call.app, call.caller.tenant()).await?;
    Ok(Data::One(json!({
        "pending": stats.pending,
        "highRisk": stats.high_risk,
        "expiringIn24h": stats.expiring,
        "resolvedThisWeek": stats.resolved_this_week,
    })))
}
