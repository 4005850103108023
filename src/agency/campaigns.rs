//! Campaigns: created with deliverables and a planner activity, paused, resumed and archived with their activities.

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::activities::{self, NewActivity};
use super::deliverables::day_of;
use super::{ACTIVITY, CAMPAIGN, CHANNEL, DELIVERABLE, access, list, roles, runs, spend, store};
use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::page::{Listing, Page};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Record, columns};

/// Most deliverables of a campaign, and most pieces of all of them per period.
const DELIVERABLES: usize = 50;
const PIECES: i64 = 100;
/// A deliverable to create.
#[derive(Debug, Clone)]
pub struct NewDeliverable {
    pub deliverable_type: String,
    /// Pieces per period, at least 1.
    pub quantity: i64,
    pub platform_ids: Vec<String>,
    pub template_id: Option<String>,
}

/// A campaign to create.
#[derive(Debug, Clone)]
pub struct NewCampaign {
    pub name: String,
    pub brief: String,
    pub deliverables: Vec<NewDeliverable>,
    pub cap_micros: Option<i64>,
    pub start_date: Option<NaiveDate>,
    pub end_date: Option<NaiveDate>,
    pub attachments: Vec<String>,
}

/// Returns a plan that creates a campaign as a draft, and the activity that plans it.
///
/// # Errors
/// `admin_required`, `deliverables_missing`, `dates_invalid`, `channel_unknown`.
pub async fn create(app: &App, caller: &Caller, new: NewCampaign) -> Result<Plan> {
    access::admin(caller)?;
    let pieces: i64 = new.deliverables.iter().map(|d| d.quantity).sum();
    if pieces > PIECES {
        return Err(Error::invalid(
            "quantity_too_large",
            format!(
                "the deliverables of a campaign may have at most {PIECES} pieces per period together, not {pieces}"
            ),
        ));
    }
    if new.deliverables.is_empty() || new.deliverables.len() > DELIVERABLES {
        return Err(Error::invalid(
            "deliverables_missing",
            format!("a campaign has 1 to {DELIVERABLES} deliverables"),
        ));
    }
    let today = day_of(app.clock.now());
    let start = new.start_date.unwrap_or(today);
    if new.end_date.is_some_and(|end| end < start) {
        return Err(Error::invalid(
            "dates_invalid",
            "endDate is before startDate",
        ));
    }
    let platforms: Vec<String> = new
        .deliverables
        .iter()
        .flat_map(|d| d.platform_ids.clone())
        .collect();
    let known = store::some(&app.db, caller.tenant(), &CHANNEL, &platforms).await?;
    if let Some(unknown) = platforms
        .iter()
        .find(|id| !known.iter().any(|c| c.id == **id))
    {
        return Err(Error::unprocessable(
            "channel_unknown",
            format!("platformIds: there is no channel {unknown:?}"),
        ));
    }
    let body = json!({
        "name": new.name,
        "brief": new.brief,
        "cap_micros": new.cap_micros,
        "start_date": start.to_string(),
        "end_date": new.end_date.map(|d| d.to_string()),
        "attachments": new.attachments,
    });
    let campaign = draft(app, caller, &CAMPAIGN, body, None)?;
    let mut plan = Plan::default();
    for deliverable in &new.deliverables {
        let body = json!({
            "type": deliverable.deliverable_type,
            "quantity": deliverable.quantity,
            "platform_ids": deliverable.platform_ids,
            "template_id": deliverable.template_id,
        });
        let record = draft(app, caller, &DELIVERABLE, body, Some(&campaign.id))?;
        plan.create_silently(&DELIVERABLE, record);
    }
    let period = start.max(today).min(new.end_date.unwrap_or(NaiveDate::MAX));
    plan_period(app, caller, &campaign, start, period, &mut plan)?;
    plan.after.push(Box::new(spend::SetCap {
        tenant_id: caller.tenant().to_owned(),
        campaign_id: campaign.id.clone(),
        cap: new.cap_micros,
    }));
    let shown = json!({"id": campaign.id, "name": campaign.title, "status": "draft"});
    plan.create(&CAMPAIGN, campaign);
    Ok(plan.data(201, shown))
}

/// Adds the activity that plans the period of a campaign that contains a day.
///
/// # Errors
/// When the row is damaged.
pub fn plan_period(
    app: &App,
    caller: &Caller,
    campaign: &Record,
    start: NaiveDate,
    day: NaiveDate,
    plan: &mut Plan,
) -> Result<String> {
    let period_start = super::deliverables::period_of(start, day).0.to_string();
    let new = NewActivity {
        title: format!("Plan {} from {period_start}", campaign.title),
        activity_type: "planning".to_owned(),
        prompt: "Plan the activities of this period, so that they produce the deliverables of the campaign."
            .to_owned(),
        campaign: Some(campaign),
        period_start: Some(period_start),
        wake_reason: "campaign_planning".to_owned(),
        ..NewActivity::by(roles::named(roles::PLANNER)?)
    };
    activities::add(app, caller, new, plan)
}

fn draft(
    app: &App,
    caller: &Caller,
    kind: &'static crate::records::Kind,
    body: Value,
    parent_id: Option<&str>,
) -> Result<Record> {
    let body: Body = serde_json::from_value(body)?;
    let new = New {
        parent_id: parent_id.map(str::to_owned),
        ..New::from(&body)
    };
    write::draft(app, caller, kind, new)
}

/// A change of a campaign; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub name: Option<String>,
    pub brief: Option<String>,
    /// `Some(None)` removes the cap.
    pub cap_micros: Option<Option<i64>>,
    /// `paused` or `active`.
    pub status: Option<String>,
}

/// Reason of activities that wait for their campaign.
pub const PAUSED: &str = "campaign_paused";
/// Reason of activities whose campaign has spent its budget.
pub const BUDGET: &str = "budget_cap_reached";

/// Returns a plan that changes a campaign. Pausing stops activities in progress, resuming and raising the cap continue them.
///
/// # Errors
/// `admin_required`, `record_not_found`, `campaign_status_conflict`.
pub async fn update(app: &App, caller: &Caller, id: &str, patch: &Patch) -> Result<Plan> {
    access::admin(caller)?;
    let before = store::get(app, caller.tenant(), &CAMPAIGN, id).await?;
    let mut body = before.body()?;
    let mut plan = Plan::default();
    for (name, value) in [("name", &patch.name), ("brief", &patch.brief)] {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    let mut continues: Vec<&str> = Vec::new();
    if let Some(cap) = patch.cap_micros {
        body.insert("cap_micros".to_owned(), json!(cap));
        plan.after.push(Box::new(spend::SetCap {
            tenant_id: caller.tenant().to_owned(),
            campaign_id: before.id.clone(),
            cap,
        }));
        continues.push(BUDGET);
    }
    let mut after = super::with_body(&before, body.clone());
    after.title = write::title(&CAMPAIGN, &body);
    let status = before.status.as_deref().unwrap_or_default();
    match patch.status.as_deref() {
        Some(wanted) if wanted == status => {}
        Some("paused") if status == "active" => {
            after.status = Some("paused".to_owned());
            stop_activities(app, &before, PAUSED, &mut plan).await?;
        }
        Some("active") if status == "paused" => {
            after.status = Some("active".to_owned());
            // The cap may have been raised during the pause.
            continues.extend([PAUSED, BUDGET]);
        }
        Some(wanted) => {
            return Err(Error::conflict(
                "campaign_status_conflict",
                format!("the campaign is {status} and cannot become {wanted}"),
            ));
        }
        None => {}
    }
    let runs_now = matches!(after.status.as_deref(), Some("active" | "draft"));
    if runs_now && !continues.is_empty() {
        continue_activities(app, &before, &continues, &mut plan).await?;
    }
    plan.update(&CAMPAIGN, before, after, app.clock.now());
    Ok(plan)
}

/// Returns a plan that archives a campaign: its activities stop, and no new ones begin.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn archive(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    access::admin(caller)?;
    let before = store::get(app, caller.tenant(), &CAMPAIGN, id).await?;
    let mut plan = Plan::default();
    if before.status.as_deref() != Some("archived") {
        stop_activities(app, &before, "campaign_archived", &mut plan).await?;
        let after = Record {
            status: Some("archived".to_owned()),
            ..before.clone()
        };
        plan.update(&CAMPAIGN, before, after, app.clock.now());
    }
    Ok(plan.data(204, Value::Null))
}

async fn stop_activities(
    app: &App,
    campaign: &Record,
    reason: &str,
    plan: &mut Plan,
) -> Result<()> {
    for status in ["in_progress", "assigned"] {
        let filters = vec![
            store::child_of(&campaign.id),
            ("status".to_owned(), status.to_owned()),
        ];
        for activity in store::matching(app, &campaign.tenant_id, &ACTIVITY, filters).await? {
            if status == "in_progress" {
                activities::block(app, activity, reason, plan)?;
            } else {
                // It may begin at this moment.
                plan.relies_on.push(activity);
            }
        }
    }
    Ok(())
}

/// Assigns the activities again that were blocked for one of some reasons, and wakes what is queued.
///
/// # Errors
/// Those of the database.
pub async fn continue_activities(
    app: &App,
    campaign: &Record,
    reasons: &[&str],
    plan: &mut Plan,
) -> Result<()> {
    let filters = vec![
        store::child_of(&campaign.id),
        ("status".to_owned(), "blocked".to_owned()),
    ];
    for activity in store::matching(app, &campaign.tenant_id, &ACTIVITY, filters).await? {
        let body = activity.body()?;
        if text(&body, "blocked_reason").is_some_and(|reason| reasons.contains(&reason)) {
            activities::unblock(app, activity, plan)?;
        }
    }
    plan.after.push(Box::new(runs::Wake::Campaign(
        campaign.tenant_id.clone(),
        campaign.id.clone(),
    )));
    Ok(())
}

/// Which campaigns a list has.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those; without it all but archived ones.
    pub status: Option<String>,
    pub is_ascending: bool,
}

/// Returns a page of campaigns by age.
///
/// # Errors
/// Those of the database.
pub async fn list_page(
    app: &App,
    tenant_id: &str,
    filter: &Filter,
    page: &Page,
) -> Result<Listing<Record>> {
    let rows: Vec<Record> = if filter.is_ascending {
        app.db
            .all(
                concat!("SELECT ", columns!(), " FROM records WHERE kind = $1 AND tenant_id = $2 AND id > $3
                 AND ((CAST($4 AS TEXT) IS NULL AND status <> 'archived') OR status = $4) ORDER BY id LIMIT $5"),
                args![CAMPAIGN.name, tenant_id, &page.after, &filter.status, page.fetch()],
            )
            .await?
    } else {
        let before = if page.after.is_empty() {
            crate::records::store::LAST
        } else {
            &page.after
        };
        app.db
            .all(
                concat!("SELECT ", columns!(), " FROM records WHERE kind = $1 AND tenant_id = $2 AND id < $3
                 AND ((CAST($4 AS TEXT) IS NULL AND status <> 'archived') OR status = $4) ORDER BY id DESC LIMIT $5"),
                args![CAMPAIGN.name, tenant_id, before, &filter.status, page.fetch()],
            )
            .await?
    };
    Ok(page.listing(rows, |row| row.id.clone()))
}

/// Numbers that lists show of a campaign.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub deliverables: i64,
    pub activities: i64,
    pub in_progress: i64,
    /// Created, assigned, or waiting for something.
    pub pending: i64,
    pub done: i64,
    pub pending_approvals: i64,
}

/// Returns the numbers of a campaign.
///
/// # Errors
/// Those of the database.
pub async fn counts(app: &App, campaign: &Record) -> Result<Counts> {
    let mut counts = Counts::default();
    let by_status: Vec<(Option<String>, i64)> = app
        .db
        .all(
            "SELECT status, COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 GROUP BY status",
            args![&campaign.id, ACTIVITY.name, &campaign.tenant_id],
        )
        .await?;
    for (status, count) in by_status {
        counts.activities += count;
        match status.as_deref() {
            Some("in_progress") => counts.in_progress += count,
            Some("done") => counts.done += count,
            Some("failed" | "reassigned") => {}
            _ => counts.pending += count,
        }
    }
    (counts.deliverables,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3",
            args![&campaign.id, DELIVERABLE.name, &campaign.tenant_id],
        )
        .await?;
    let filters = vec![
        ("campaign".to_owned(), campaign.id.clone()),
        ("status".to_owned(), "pending".to_owned()),
    ];
    let pending = store::matching(app, &campaign.tenant_id, &super::APPROVAL, filters).await?;
    counts.pending_approvals = i64::try_from(pending.len()).unwrap_or(i64::MAX);
    Ok(counts)
}

/// Returns the channels that a deliverable targets.
///
/// # Errors
/// Those of the database.
pub async fn platforms(app: &App, tenant_id: &str, deliverable: &Body) -> Result<Vec<Record>> {
    let ids = list(deliverable, "platform_ids");
    let mut found = store::some(&app.db, tenant_id, &CHANNEL, &ids).await?;
    found.sort_by_key(|channel| ids.iter().position(|id| *id == channel.id));
    Ok(found)
}
