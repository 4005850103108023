//! Campaigns, leads, the funnel, forecasts, analytics.

use serde_json::{Map, Value, json};

use super::names;
use super::wire::{Fields, numbered, page, view};
use crate::api::operation::{Call, Data};
use crate::auth::Area;
use crate::crm::campaigns::{self, Funnel, NewLead, Question};
use crate::crm::{FORECAST, LEAD};
use crate::data::rows;
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::records::write::{New, Patch};

/// Takes out the stage that a lead is to be in.
fn stage(fields: &mut Fields) -> Option<Value> {
    ["stageId", "stageIndex", "stage"]
        .iter()
        .find_map(|name| fields.0.shift_remove(*name))
        .filter(|stage| !stage.is_null())
}

/// Reads a lead.
fn lead(body: Map<String, Value>) -> Result<NewLead> {
    let mut fields = Fields(body);
    let stage = stage(&mut fields);
    let title = fields.text("title")?;
    // The status of a lead is its stage.
    fields.0.shift_remove("status");
    let mut body = fields.0;
    names::to_canonical(&LEAD, &mut body);
    let word = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let title = title.or_else(|| {
        ["name", "email", "company_name"]
            .into_iter()
            .find_map(word)
            .filter(|t| !t.trim().is_empty())
    });
    Ok(NewLead {
        new: New {
            title: Some(title.unwrap_or_else(|| "lead".to_owned())),
            body,
            area: Some(Area::Sales.name().to_owned()),
            ..New::default()
        },
        stage,
    })
}

pub(super) async fn create_campaign(call: Call<'_>) -> Result<Plan> {
    campaign(call, call.body.clone()).await
}

async fn campaign(call: Call<'_>, mut body: Map<String, Value>) -> Result<Plan> {
    let invalid = || {
        Error::invalid(
            "leads_invalid",
            "leads must be a list of at most 200 objects",
        )
    };
    let leads = match body.shift_remove("leads") {
        None => Vec::new(),
        Some(Value::Array(list)) => list
            .into_iter()
            .map(|given| match given {
                Value::Object(body) => lead(body),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => Err(invalid()),
            })
            .collect::<Result<_>>()?,
        Some(_) => return Err(invalid()),
    };
    let new = Fields(body).record()?;
    campaigns::create(call.app, call.caller, new, leads).await
}

/// Creates a campaign, or changes the one that `id` names.
pub(super) async fn put_campaign(call: Call<'_>) -> Result<Plan> {
    let mut body = call.body.clone();
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    let fields = match body.shift_remove("campaign") {
        Some(Value::Object(campaign)) => campaign,
        Some(_) => {
            return Err(Error::invalid(
                "field_invalid",
                "campaign must be an object",
            ));
        }
        None => {
            body.shift_remove("id");
            body
        }
    };
    let Some(id) = id.filter(|id| !id.trim().is_empty()) else {
        return campaign(call, fields).await;
    };
    // Leads come with a campaign only when it is created.
    if fields.contains_key("leads") {
        return Err(Error::invalid(
            "leads_invalid",
            "leads can only be sent with a new campaign; add them one by one to an existing campaign",
        ));
    }
    let new = Fields(fields).record()?;
    let patch = Patch {
        title: new.title,
        status: new.status,
        body: new.body,
        ..Patch::default()
    };
    campaigns::update(call.app, call.caller, &id, patch).await
}

pub(super) async fn create_lead(call: Call<'_>) -> Result<Plan> {
    let mut fields = Fields(call.body.clone());
    let campaign_id = fields.text("campaignId")?;
    let lead = lead(fields.0)?;
    campaigns::add_lead(call.app, call.caller, campaign_id.as_deref(), lead).await
}

/// Returns the id of a lead's row: agents may know a lead by its id in another dialect.
fn lead_id(given: &str) -> &str {
    LEAD.row_id(given).unwrap_or(given)
}

pub(super) async fn add_lead(call: Call<'_>) -> Result<Plan> {
    let mut fields = Fields(call.body.clone());
    let lead = fields.required("leadId")?;
    let campaign = fields.required("campaignId")?;
    let stage = stage(&mut fields);
    let (lead, stage) = (lead_id(&lead), stage.as_ref());
    campaigns::place_lead(call.app, call.caller, lead, &campaign, stage).await
}

pub(super) async fn move_lead(call: Call<'_>) -> Result<Plan> {
    let mut fields = Fields(call.body.clone());
    let lead = fields.required("leadId")?;
    let stage = |name: &str| call.body.get(name).filter(|v| !v.is_null());
    let to = stage("toStageId").ok_or_else(|| Error::invalid("field_missing", "send toStageId"))?;
    let from = stage("fromStageId");
    campaigns::move_lead(call.app, call.caller, lead_id(&lead), from, to).await
}

fn funnel_json(funnel: Funnel) -> Value {
    let leads: i64 = funnel.stages.iter().map(|(_, n)| n).sum();
    let stages = funnel.stages.into_iter().enumerate();
    let stages =
        stages.map(|(at, (name, leads))| json!({"stageIndex": at, "name": name, "leads": leads}));
    json!({
        "campaignId": funnel.campaign.id,
        "title": funnel.campaign.title,
        "leads": leads,
        "stages": stages.collect::<Vec<_>>()
    })
}

/// Shows the funnel of one campaign, which the query string or the body names, or of all.
pub(super) async fn funnels(call: Call<'_>) -> Result<Data> {
    let in_body = Fields(call.body.clone()).text("campaignId")?;
    let id = call.query("campaignId").or(in_body.as_deref());
    let funnels = campaigns::funnels(call.app, call.caller, id).await?;
    let shown = funnels.into_iter().map(funnel_json);
    Ok(Data::One(Value::Array(shown.collect())))
}

pub(super) async fn leads(call: Call<'_>) -> Result<Data> {
    let mut fields = Fields(call.body.clone());
    let campaign_id = fields.text("campaignId")?.ok_or_else(|| {
        Error::invalid(
            "campaign_missing",
            "campaignId is missing; send the id of the campaign",
        )
    })?;
    // The contract's sample counts from 0.
    let number = fields.number("page")?.unwrap_or(1).max(1);
    let limit = fields.number("limit")?.filter(|n| *n != 0).unwrap_or(10);
    let paging = numbered(number, limit, None, None)?;
    let stage = fields.number("stageIndex")?;
    let (_, listed) = campaigns::leads(call.app, call.caller, &campaign_id, stage, &paging).await?;
    page(&LEAD, &listed, paging)
}

fn day(name: &str, given: Option<&str>) -> Result<Option<chrono::NaiveDate>> {
    let Some(text) = given.map(str::trim).filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    let plain = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d");
    plain
        .or_else(|_| chrono::DateTime::parse_from_rfc3339(text).map(|t| t.to_utc().date_naive()))
        .map(Some)
        .map_err(|_| {
            Error::invalid(
                "date_invalid",
                format!("{name} must be a date such as 2026-04-01"),
            )
        })
}

/// Rows of folders that are shown beside analytics.
const ROWS: usize = 100;

pub(super) async fn analytics(call: Call<'_>) -> Result<Data> {
    let question = Question {
        from: day("startDate", call.query("startDate"))?,
        to: day("endDate", call.query("endDate"))?,
        bucket: call.query("filterType").unwrap_or("day").to_owned(),
        forecast_id: call.query("forecastId").map(str::to_owned),
    };
    let found = campaigns::analytics(call.app, call.caller, &question).await?;
    let buckets = found.buckets.into_iter().map(|(date, b)| {
        json!({"date": date.to_string(), "campaigns": b.campaigns, "leads": b.leads, "won": b.won})
    });
    let forecast = found.forecast.as_ref().map(|f| view(&FORECAST, f));
    // Rows belong to another area.
    let mut items = Vec::new();
    if call.caller.may(Area::Data.read()) {
        let ids = call.query("dataItemIds").unwrap_or_default().split(',');
        let ids = ids.map(str::trim).filter(|id| !id.is_empty()).take(ROWS);
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        for row in rows::by_ids(call.app, call.caller, &ids).await? {
            items.push(json!({"id": row.id, "data": row.data}));
        }
    }
    Ok(Data::One(json!({
        "filterType": question.bucket,
        "buckets": buckets.collect::<Vec<_>>(),
        "forecast": forecast.transpose()?,
        "dataItems": items
    })))
}
