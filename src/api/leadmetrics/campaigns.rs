//! Campaigns and deliverables.

use serde_json::{Value, json};

use super::activities::summaries;
use super::wire::{page, word};
use crate::agency::campaigns::{self, Counts, Filter, NewCampaign, NewDeliverable, Patch};
use crate::agency::deliverables::{self, Period, Span, day_of, period_of, read_day};
use crate::agency::people::Names;
use crate::agency::store::{self, child_of};
use crate::agency::{
    ACTIVITY, ACTIVITY_STATUSES, CAMPAIGN, CAMPAIGN_STATUSES, DELIVERABLE, access, list, micros,
    spend, usd, whole,
};
use crate::api::operation::{Call, Data};
use crate::app::App;
use crate::error::{Error, Result};
use crate::page::Page;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

/// Activities that the detail of a campaign shows.
const RECENT: i64 = 10;

fn day(body: &Body, name: &str, field: &str) -> Result<Option<chrono::NaiveDate>> {
    let given = text(body, name).filter(|d| !d.trim().is_empty());
    given.map(|day| read_day(field, day)).transpose()
}

fn cap(body: &Body) -> Option<i64> {
    let usd = body.get("budgetCapUsd").and_then(Value::as_f64);
    usd.map(micros)
}

fn summary(campaign: &Record, counts: Counts, spent: i64, names: &Names) -> Result<Value> {
    let body = campaign.body()?;
    Ok(json!({
        "id": campaign.id,
        "name": campaign.title,
        "status": campaign.status,
        "budgetCapUsd": body.get("cap_micros").and_then(Value::as_i64).map(usd),
        "spentUsd": usd(spent),
        "deliverableCount": counts.deliverables,
        "activityCount": {"total": counts.activities, "inProgress": counts.in_progress, "pending": counts.pending, "done": counts.done},
        "pendingApprovals": counts.pending_approvals,
        "createdBy": names.name(campaign.author.as_deref()),
        "createdOn": campaign.created_on.rfc3339(),
        "startDate": text(&body, "start_date"),
        "endDate": text(&body, "end_date"),
    }))
}

async fn shown(app: &App, tenant_id: &str, campaigns: &[Record]) -> Result<Vec<Value>> {
    let ids: Vec<String> = campaigns.iter().map(|c| c.id.clone()).collect();
    let spent = spend::of_campaigns(&app.db, tenant_id, &ids).await?;
    let names = Names::of_authors(app, tenant_id, campaigns).await?;
    let mut shown = Vec::with_capacity(campaigns.len());
    for campaign in campaigns {
        let counts = campaigns::counts(app, campaign).await?;
        let spent = spent.get(&campaign.id).copied().unwrap_or_default();
        shown.push(summary(campaign, counts, spent, &names)?);
    }
    Ok(shown)
}

pub(super) async fn list_campaigns(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let filter = Filter {
        status: word(call, "filter.status", &CAMPAIGN_STATUSES)?,
        is_ascending: word(call, "order", &["asc", "desc"])?.as_deref() == Some("asc"),
    };
    let page = page(call, 25)?;
    let found = campaigns::list_page(call.app, call.caller.tenant(), &filter, &page).await?;
    let shown = shown(call.app, call.caller.tenant(), &found.items).await?;
    Ok(Data::Many(shown, found.next))
}

pub(super) async fn create_campaign(call: Call<'_>) -> Result<Plan> {
    let body = call.body;
    let given = body.get("deliverables").and_then(Value::as_array);
    let given = given.into_iter().flatten().filter_map(Value::as_object);
    let deliverables: Vec<NewDeliverable> = given
        .map(|d| NewDeliverable {
            deliverable_type: text(d, "type").unwrap_or_default().to_owned(),
            quantity: whole(d, "quantity"),
            platform_ids: list(d, "platformIds"),
            template_id: text(d, "templateId").map(str::to_owned),
        })
        .collect();
    if let Some(many) = deliverables.iter().find(|d| d.quantity > MOST) {
        return Err(Error::invalid(
            "quantity_too_large",
            format!("quantity may be at most {MOST}, not {}", many.quantity),
        ));
    }
    let new = NewCampaign {
        name: text(body, "name").unwrap_or_default().to_owned(),
        brief: text(body, "brief").unwrap_or_default().to_owned(),
        deliverables,
        cap_micros: cap(body),
        start_date: day(body, "startDate", "startDate")?,
        end_date: day(body, "endDate", "endDate")?,
        attachments: list(body, "attachments"),
    };
    campaigns::create(call.app, call.caller, new).await
}

/// Most pieces of a deliverable per period.
const MOST: i64 = 100;

fn current(period: &Period) -> Value {
    json!({
        "periodStart": period.start.to_string(),
        "periodEnd": period.end.to_string(),
        "target": period.target,
        "completed": period.completed,
        "inProgress": period.in_progress,
        "status": period.status,
    })
}

pub(super) async fn get_campaign(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let campaign = store::get(app, tenant_id, &CAMPAIGN, call.id()).await?;
    let body = campaign.body()?;
    let span = Span::of(&campaign)?;
    let today = day_of(app.clock.now());
    let is_current = today >= span.start && span.end.is_none_or(|end| today <= end);
    let mut deliverables = Vec::new();
    for deliverable in store::children(&app.db, tenant_id, &DELIVERABLE, &campaign.id).await? {
        let own = deliverable.body()?;
        let platforms = campaigns::platforms(app, tenant_id, &own).await?;
        let platforms: Vec<Value> = platforms
            .iter()
            .map(|channel| {
                let kind = channel.body()?;
                Ok(json!({"id": channel.id, "name": channel.title, "type": text(&kind, "type")}))
            })
            .collect::<Result<_>>()?;
        let mut shown = json!({"id": deliverable.id, "type": text(&own, "type"), "quantity": whole(&own, "quantity"), "platforms": platforms});
        if is_current {
            let (start, ..) = period_of(span.start, today);
            let periods = deliverables::periods(app, span, &deliverable).await?;
            if let Some(period) = periods.iter().find(|p| p.start == start) {
                shown["currentPeriod"] = current(period);
            }
        }
        deliverables.push(shown);
    }
    let recent = Page {
        limit: RECENT,
        after: String::new(),
    };
    let recent = store::page(
        app,
        tenant_id,
        &ACTIVITY,
        vec![child_of(&campaign.id)],
        None,
        &recent,
    )
    .await?;
    let counts = campaigns::counts(app, &campaign).await?;
    let ids = [campaign.id.clone()];
    let spent = spend::of_campaigns(&app.db, tenant_id, &ids).await?;
    let names = Names::of(app, tenant_id, [campaign.author.as_deref()]).await?;
    let costs: Vec<Value> = spend::by_agent(&app.db, tenant_id, &campaign.id)
        .await?
        .into_iter()
        .map(|(role, cost)| json!({"agentRole": role, "costUsd": usd(cost)}))
        .collect();
    Ok(Data::One(json!({
        "id": campaign.id,
        "name": campaign.title,
        "status": campaign.status,
        "brief": text(&body, "brief"),
        "budgetCapUsd": body.get("cap_micros").and_then(Value::as_i64).map(usd),
        "spentUsd": usd(spent.get(&campaign.id).copied().unwrap_or_default()),
        "startDate": text(&body, "start_date"),
        "endDate": text(&body, "end_date"),
        "createdBy": names.person(campaign.author.as_deref()),
        "createdOn": campaign.created_on.rfc3339(),
        "deliverables": deliverables,
        "recentActivities": summaries(app, tenant_id, &recent.items).await?,
        "pendingApprovals": counts.pending_approvals,
        "costByAgent": costs,
        "attachments": list(&body, "attachments"),
    })))
}

pub(super) async fn update_campaign(call: Call<'_>) -> Result<Plan> {
    let body = call.body;
    let patch = Patch {
        name: text(body, "name").map(str::to_owned),
        brief: text(body, "brief").map(str::to_owned),
        cap_micros: body.contains_key("budgetCapUsd").then(|| cap(body)),
        status: text(body, "status").map(str::to_owned),
    };
    campaigns::update(call.app, call.caller, call.id(), &patch).await
}

/// Returns a changed campaign as lists show it.
pub(super) async fn updated_campaign(call: Call<'_>) -> Result<Option<Value>> {
    let tenant_id = call.caller.tenant();
    let campaign = store::get(call.app, tenant_id, &CAMPAIGN, call.id()).await?;
    let mut shown = shown(call.app, tenant_id, &[campaign]).await?;
    Ok(shown.pop())
}

pub(super) async fn archive_campaign(call: Call<'_>) -> Result<Plan> {
    campaigns::archive(call.app, call.caller, call.id()).await
}

pub(super) async fn list_deliverables(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let campaign = store::get(app, tenant_id, &CAMPAIGN, call.id()).await?;
    let span = Span::of(&campaign)?;
    let mut data = Vec::new();
    for deliverable in store::children(&app.db, tenant_id, &DELIVERABLE, &campaign.id).await? {
        let own = deliverable.body()?;
        let periods = deliverables::periods(app, span, &deliverable).await?;
        let periods = periods.iter().map(|period| {
            let mut shown = current(period);
            shown["id"] = json!(period.id);
            shown
        });
        data.push(json!({"id": deliverable.id, "type": text(&own, "type"), "quantity": whole(&own, "quantity"), "periods": periods.collect::<Vec<_>>()}));
    }
    Ok(Data::One(json!({"data": data})))
}

pub(super) async fn list_deliverable_activities(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let deliverable = store::get(app, tenant_id, &DELIVERABLE, call.id()).await?;
    let mut filters = vec![("deliverable_id".to_owned(), deliverable.id)];
    if let Some(status) = word(call, "filter.status", &ACTIVITY_STATUSES)? {
        filters.push(("status".to_owned(), status));
    }
    let page = page(call, 50)?;
    let found = store::page(app, tenant_id, &ACTIVITY, filters, None, &page).await?;
    let shown = summaries(app, tenant_id, &found.items).await?;
    Ok(Data::Many(shown, found.next))
}
