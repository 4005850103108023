//! What happens by the clock: periods begin, campaigns end, approvals expire, recurring tasks run.

use std::sync::Arc;

use serde_json::Value;

use super::{NO_MODEL, NO_PRICE};
use crate::agency::deliverables::{Span, day_of, period_of};
use crate::agency::{
    ACTIVITY, CAMPAIGN, REQUEST, activities, approvals, campaigns, channels, list, requests, roles,
    routines, runs, store,
};
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::records::body::text;
use crate::records::plan::Plan;
use crate::records::{Record, Request, execute};

/// Looks after the campaigns and approvals of a tenant; runs as a job.
///
/// # Errors
/// Those of the database.
pub async fn tend(app: &Arc<App>, tenant_id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    approvals::tend(app, &caller).await?;
    channels::tend(app, tenant_id).await?;
    continue_configured(app, &caller).await?;
    runs::start_waiting(app, tenant_id).await?;
    let with_status = |status: &str| vec![("status".to_owned(), status.to_owned())];
    let drafts = store::matching(app, tenant_id, &CAMPAIGN, with_status("draft")).await?;
    let active = store::matching(app, tenant_id, &CAMPAIGN, with_status("active")).await?;
    for campaign in drafts.iter().chain(&active) {
        continue_within_budget(app, &caller, &campaign.id).await?;
    }
    for campaign in &active {
        let id = campaign.id.as_str();
        let request = Request::internal(&caller, "tendCampaigns");
        let caller = &caller;
        execute(app, &request, || async move {
            let campaign = store::get(app, tenant_id, &CAMPAIGN, id).await?;
            tend_campaign(app, caller, campaign).await
        })
        .await?;
    }
    let mut waiting = store::matching(app, tenant_id, &REQUEST, with_status("approved")).await?;
    waiting.reverse();
    for wish in waiting {
        let id = wish.id.as_str();
        let request = Request::internal(&caller, "produceRequests");
        let caller = &caller;
        execute(app, &request, || async move {
            let before = store::get(app, tenant_id, &REQUEST, id).await?;
            let mut plan = Plan::default();
            if before.status.as_deref() == Some("approved") {
                let after = requests::produce(app, caller, before.clone(), &mut plan).await?;
                if after.status != before.status {
                    plan.update_silently(&REQUEST, before, after, app.clock.now());
                }
            }
            Ok(plan)
        })
        .await?;
    }
    Ok(())
}

/// Returns the plan for an active campaign: plans a period that has begun, or completes the campaign when it is over and nothing is left to do.
async fn tend_campaign(app: &App, caller: &Caller, campaign: Record) -> Result<Plan> {
    let mut plan = Plan::default();
    if campaign.status.as_deref() != Some("active") {
        return Ok(plan);
    }
    let span = Span::of(&campaign)?;
    let today = day_of(app.clock.now());
    if span.end.is_some_and(|end| end < today) {
        let all = store::children(&app.db, caller.tenant(), &ACTIVITY, &campaign.id).await?;
        if all.iter().all(activities::is_over) {
            let after = Record {
                status: Some("completed".to_owned()),
                ..campaign.clone()
            };
            plan.update_silently(&CAMPAIGN, campaign, after, app.clock.now());
        }
        return Ok(plan);
    }
    let planned = list(&campaign.body()?, "planned_periods");
    let period = period_of(span.start, today).0.to_string();
    if today < span.start || planned.contains(&period) {
        return Ok(plan);
    }
    // The activity that plans the period may be there already, and blocked or failed.
    let all = store::children(&app.db, caller.tenant(), &ACTIVITY, &campaign.id).await?;
    for activity in all {
        let body = activity.body()?;
        if text(&body, "type") == Some("planning") && text(&body, "period_start") == Some(&period) {
            return Ok(plan);
        }
    }
    campaigns::plan_period(app, caller, &campaign, span.start, today, &mut plan)?;
    plan.relies_on.push(campaign);
    Ok(plan)
}

/// Assigns activities again that were blocked for want of a model, or of its price, and whose role has one by now.
async fn continue_configured(app: &App, caller: &Caller) -> Result<()> {
    let blocked = vec![("status".to_owned(), "blocked".to_owned())];
    for activity in store::matching(app, caller.tenant(), &ACTIVITY, blocked).await? {
        let body = activity.body()?;
        let reason = text(&body, "blocked_reason").unwrap_or_default();
        if ![NO_MODEL, NO_PRICE].contains(&reason) {
            continue;
        }
        let role = roles::named(text(&body, "agent_role").unwrap_or_default())?;
        let settings = roles::settings(app, caller.tenant(), role).await?;
        let listed = settings.model(app);
        if listed.is_none_or(|l| reason == NO_PRICE && l.price.is_none()) {
            continue;
        }
        let request = Request::internal(caller, "runActivity");
        let id = activity.id.as_str();
        execute(app, &request, || async move {
            let before = store::get(app, caller.tenant(), &ACTIVITY, id).await?;
            let mut plan = Plan::default();
            if before.status.as_deref() == Some("blocked") {
                let ids = vec![before.id.clone()];
                let wake = runs::Wake::Activities(caller.tenant().to_owned(), ids);
                plan.after.push(Box::new(wake));
                activities::unblock(app, before, &mut plan)?;
            }
            Ok(plan)
        })
        .await?;
    }
    Ok(())
}

/// Runs a recurring task that is due; runs as a job.
///
/// # Errors
/// Those of the database.
pub async fn routine(app: &Arc<App>, tenant_id: &str, template: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let request = Request::internal(&caller, "runRecurringTask");
    let caller = &caller;
    execute(app, &request, || {
        routines::run(app, caller, template, "schedule")
    })
    .await?;
    Ok(())
}

/// Assigns activities again that were blocked by a budget which has room by now.
pub(super) async fn continue_within_budget(
    app: &App,
    caller: &Caller,
    campaign_id: &str,
) -> Result<()> {
    let request = Request::internal(caller, "runActivity");
    execute(app, &request, || async move {
        let mut plan = Plan::default();
        if crate::agency::spend::has_room(&app.db, caller.tenant(), campaign_id).await? {
            let campaign = store::get(app, caller.tenant(), &CAMPAIGN, campaign_id).await?;
            campaigns::continue_activities(app, &campaign, &[campaigns::BUDGET], &mut plan).await?;
        }
        Ok(plan.data(200, Value::Null))
    })
    .await?;
    Ok(())
}
