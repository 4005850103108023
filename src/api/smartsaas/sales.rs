//! Campaigns, leads, the funnel, forecasts, analytics.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::wire::{
    AgentFault, Auth, Body, Fields, ListQuery, Many, One, Problem, Query, View, created, many,
    numbered, one,
};
use crate::api::Service;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::sales::{self, Funnel, PlacedLead, Question};
use crate::records::{self, Filter, Kind, NewRecord};

/// Lists campaigns.
#[utoipa::path(get, path = "/protected/sales/campaigns", tag = "agents", operation_id = "listSalesCampaigns", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn campaigns(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = records::list(
        &service.app,
        &caller,
        &[Kind::Campaign],
        &Filter::default(),
        &page,
    )
    .await?;
    Ok(many(&found, &page)?)
}

/// Creates a campaign, with its `stages` in order and its first `leads`.
#[utoipa::path(post, path = "/protected/sales/campaigns", tag = "agents", operation_id = "createSalesCampaign", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create_campaign(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let new = Fields(body).record(Kind::Campaign)?;
    add_campaign(&service, &caller, new).await
}

async fn add_campaign(
    service: &Service,
    caller: &Caller,
    new: NewRecord,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let (campaign, leads) = sales::create_campaign(&service.app, caller, new).await?;
    let mut view = View::of(&campaign)?;
    view.more
        .insert("stages".to_owned(), json!(sales::stages(&campaign)?));
    view.more.insert("leadsCount".to_owned(), json!(leads));
    Ok(created(view))
}

/// Creates a campaign, which stands in `campaign`, or changes the one of `id`.
#[utoipa::path(post, path = "/protected/sales/create-campaign", tag = "agents", operation_id = "createOrUpdateSalesCampaign", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn put_campaign(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(mut body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    let fields = match body.remove("campaign") {
        Some(Value::Object(campaign)) => campaign,
        Some(_) => {
            return Err(Error::invalid("field_invalid", "campaign must be an object").into());
        }
        None => {
            body.remove("id");
            body
        }
    };
    let new = Fields(fields).record(Kind::Campaign)?;
    let Some(id) = id.filter(|id| !id.trim().is_empty()) else {
        return add_campaign(&service, &caller, new).await;
    };
    let mut changes = records::Changes {
        title: new.title,
        body: new.body,
    };
    // Leads come with a campaign only when it is made.
    if changes.body.remove("leads").is_some() {
        let message = "leads of a campaign that is there are added one by one";
        return Err(Error::invalid("leads_invalid", message).into());
    }
    let campaign = sales::update_campaign(&service.app, &caller, &id, new.status, changes).await?;
    Ok((StatusCode::OK, one(View::of(&campaign)?)))
}

/// A lead with the stage that it is in.
fn placed(placed: &PlacedLead) -> Result<View> {
    let mut view = View::of(&placed.lead)?;
    let mut note = |name: &str, value: Value| view.more.insert(name.to_owned(), value);
    if let Some((at, name)) = placed.stage()? {
        note("campaignId", json!(placed.lead.parent_id));
        note("stageIndex", json!(at));
        note("stage", json!(name));
    }
    Ok(view)
}

/// Takes out where a lead is to be.
fn place(fields: &mut Fields) -> Option<Value> {
    ["stageId", "stageIndex", "stage"]
        .iter()
        .find_map(|name| fields.0.remove(*name))
        .filter(|stage| !stage.is_null())
}

/// Adds a lead (`name`, `email`, `phone`, `company`, and what else is wanted) to a campaign (`campaignId`), in its first stage or in `stageId`.
#[utoipa::path(post, path = "/api/sales/create-lead", tag = "agents", operation_id = "createSalesLead", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create_lead(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let mut fields = Fields(body);
    let campaign_id = fields.text("campaignId")?;
    let stage = place(&mut fields);
    let name = fields.0.get("name").cloned();
    let mut new = fields.record(Kind::Lead)?;
    new.body.extend(name.map(|name| ("name".to_owned(), name)));
    // The status of a lead is its stage.
    new.status = None;
    let title = ["email", "company"]
        .iter()
        .find_map(|n| new.body.get(*n)?.as_str());
    new.title = new.title.or_else(|| title.map(str::to_owned));
    let lead = sales::create_lead(
        &service.app,
        &caller,
        campaign_id.as_deref(),
        stage.as_ref(),
        new,
    )
    .await?;
    Ok(created(placed(&lead)?))
}

/// Puts a lead (`leadId`) into a campaign (`campaignId`), in its first stage or in `stageId`; it leaves the campaign that it was in.
#[utoipa::path(post, path = "/api/sales/funnel/add-lead", tag = "agents", operation_id = "addLeadToCampaign", security(("key" = [])), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn add_lead(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    let mut fields = Fields(body);
    let lead_id = fields.required("leadId")?;
    let campaign_id = fields.required("campaignId")?;
    let stage = place(&mut fields);
    let lead = sales::place_lead(
        &service.app,
        &caller,
        &lead_id,
        &campaign_id,
        stage.as_ref(),
    )
    .await?;
    Ok(one(placed(&lead)?))
}

/// Moves a lead (`leadId`) to another stage of its campaign (`toStageId`: name, id or position); with `fromStageId` only if it is in that one.
#[utoipa::path(post, path = "/api/sales/funnel/move-lead", tag = "agents", operation_id = "moveLead", security(("key" = [])), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn move_lead(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    let mut fields = Fields(body);
    let lead_id = fields.required("leadId")?;
    let mut stage = |name: &str| fields.0.remove(name).filter(|v| !v.is_null());
    let from = stage("fromStageId");
    let to = stage("toStageId").ok_or_else(|| Error::invalid("field_missing", "send toStageId"))?;
    let lead = sales::move_lead(&service.app, &caller, &lead_id, from.as_ref(), &to).await?;
    Ok(one(placed(&lead)?))
}

/// A stage of a funnel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Stage {
    /// Its position, from 0.
    stage_index: usize,
    name: String,
    leads: i64,
}

/// How many leads of a campaign are in each stage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunnelRecord {
    campaign_id: String,
    title: String,
    leads: i64,
    stages: Vec<Stage>,
}

impl From<Funnel> for FunnelRecord {
    fn from(funnel: Funnel) -> Self {
        Self {
            campaign_id: funnel.campaign.id,
            title: funnel.campaign.title,
            leads: funnel.stages.iter().map(|(_, n)| n).sum(),
            stages: funnel
                .stages
                .into_iter()
                .enumerate()
                .map(|(stage_index, (name, leads))| Stage {
                    stage_index,
                    name,
                    leads,
                })
                .collect(),
        }
    }
}

/// Shows the campaigns with the number of their leads per stage.
#[utoipa::path(get, path = "/protected/sales/crm", tag = "agents", operation_id = "getSalesCrm", security(("key" = [])),
    responses((status = 200, body = One<Vec<FunnelRecord>>), (status = "4XX", body = AgentFault)))]
pub(super) async fn crm(
    State(service): State<Service>,
    Auth(caller): Auth,
) -> Result<Json<One<Vec<FunnelRecord>>>, Problem> {
    let funnels = sales::funnels(&service.app, &caller, None).await?;
    Ok(one(funnels.into_iter().map(Into::into).collect()))
}

/// Pages through the leads of a campaign (`campaignId`), of one stage (`stageIndex`) or all.
#[utoipa::path(post, path = "/protected/sales/crm", tag = "agents", operation_id = "querySalesCrm", security(("key" = [])), request_body = Object,
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn query_crm(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<Many>, Problem> {
    let mut fields = Fields(body);
    let campaign_id = fields
        .text("campaignId")?
        .ok_or_else(|| Error::invalid("campaign_missing", "say which campaign: campaignId"))?;
    // The contract's sample counts from 0.
    let page = fields.number("page")?.unwrap_or(1).max(1);
    let limit = fields.number("limit")?.filter(|n| *n != 0).unwrap_or(10);
    let page = numbered(page, limit, None, None)?;
    let stage = fields.number("stageIndex")?;
    let (_, found) = sales::leads(&service.app, &caller, &campaign_id, stage, &page).await?;
    Ok(many(&found, &page)?)
}

/// Which campaign.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct FunnelQuery {
    /// One campaign; all when absent.
    campaign_id: Option<String>,
}

/// Shows how many leads are in each stage.
#[utoipa::path(get, path = "/protected/sales/funnel", tag = "agents", operation_id = "getSalesFunnel", security(("key" = [])), params(FunnelQuery),
    responses((status = 200, body = One<Vec<FunnelRecord>>), (status = "4XX", body = AgentFault)))]
pub(super) async fn funnel(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<FunnelQuery>,
) -> Result<Json<One<Vec<FunnelRecord>>>, Problem> {
    let funnels = sales::funnels(&service.app, &caller, query.campaign_id.as_deref()).await?;
    Ok(one(funnels.into_iter().map(Into::into).collect()))
}

/// The same, with `campaignId` in the body.
#[utoipa::path(post, path = "/protected/sales/funnel", tag = "agents", operation_id = "querySalesFunnel", security(("key" = [])), request_body = Object,
    responses((status = 200, body = One<Vec<FunnelRecord>>), (status = "4XX", body = AgentFault)))]
pub(super) async fn query_funnel(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<Vec<FunnelRecord>>>, Problem> {
    let campaign_id = Fields(body).text("campaignId")?;
    let funnels = sales::funnels(&service.app, &caller, campaign_id.as_deref()).await?;
    Ok(one(funnels.into_iter().map(Into::into).collect()))
}

/// Lists forecasts.
#[utoipa::path(get, path = "/protected/sales/forecasts", tag = "agents", operation_id = "listSalesForecasts", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn forecasts(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = records::list(
        &service.app,
        &caller,
        &[Kind::Forecast],
        &Filter::default(),
        &page,
    )
    .await?;
    Ok(many(&found, &page)?)
}

/// Creates a forecast: any JSON object.
#[utoipa::path(post, path = "/protected/sales/forecasts", tag = "agents", operation_id = "createSalesForecast", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create_forecast(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let new = Fields(body).record(Kind::Forecast)?;
    Ok(created(View::of(
        &records::create(&service.app, &caller, new).await?,
    )?))
}

/// What to count.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct AnalyticsQuery {
    /// First day, as 2026-04-01 or RFC 3339.
    start_date: Option<String>,
    /// Last day.
    end_date: Option<String>,
    /// `day` (when absent), `week` or `month`.
    filter_type: Option<String>,
    /// A forecast to show beside it.
    forecast_id: Option<String>,
    /// Rows of folders to show beside it, separated by commas, at most 100.
    data_item_ids: Option<String>,
}

/// Counts of a day, week or month.
#[derive(Debug, Serialize, ToSchema)]
struct BucketRecord {
    /// Its first day.
    date: String,
    campaigns: i64,
    leads: i64,
    /// Leads in the last stage of their campaign.
    won: i64,
}

/// What happened when.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnalyticsRecord {
    filter_type: String,
    buckets: Vec<BucketRecord>,
    forecast: Option<View>,
    #[schema(value_type = Vec<Object>)]
    data_items: Vec<Value>,
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

/// Counts campaigns and leads by the time of their creation.
#[utoipa::path(get, path = "/protected/sales/analytics", tag = "agents", operation_id = "getSalesAnalytics", security(("key" = [])), params(AnalyticsQuery),
    responses((status = 200, body = One<AnalyticsRecord>), (status = "4XX", body = AgentFault)))]
pub(super) async fn analytics(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<AnalyticsQuery>,
) -> Result<Json<One<AnalyticsRecord>>, Problem> {
    let ids = query.data_item_ids.unwrap_or_default();
    let question = Question {
        from: day("startDate", query.start_date.as_deref())?,
        to: day("endDate", query.end_date.as_deref())?,
        bucket: query.filter_type.unwrap_or_else(|| "day".to_owned()),
        forecast_id: query.forecast_id,
        row_ids: ids
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .take(100)
            .map(str::to_owned)
            .collect(),
    };
    let found = sales::analytics(&service.app, &caller, &question).await?;
    Ok(one(AnalyticsRecord {
        filter_type: question.bucket,
        buckets: found
            .buckets
            .into_iter()
            .map(|(date, b)| BucketRecord {
                date: date.to_string(),
                campaigns: b.campaigns,
                leads: b.leads,
                won: b.won,
            })
            .collect(),
        forecast: found.forecast.as_ref().map(View::of).transpose()?,
        data_items: found.rows,
    }))
}
