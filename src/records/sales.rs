//! Sales: campaigns with ordered stages and their leads, the funnel these make, forecasts, and what happened when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::{self, Filter, Kind, Listed, NewRecord, Numbered, Record, Searchable, rows};

/// Stages of a campaign that names none.
const STAGES: [&str; 5] = ["new", "contacted", "qualified", "proposal", "won"];
/// Stages and leads of a campaign at its creation.
const MOST: usize = 200;

/// The stages of a campaign, by name.
///
/// # Errors
/// When the row is damaged.
pub fn stages(campaign: &Record) -> Result<Vec<String>> {
    Ok(stages_in(&campaign.body()?))
}

/// The stages that the body of a campaign names, or the usual ones.
fn stages_in(body: &Map<String, Value>) -> Vec<String> {
    let named = |stage: &Value| match stage {
        Value::String(name) => Some(name.clone()),
        Value::Object(map) => ["name", "title"]
            .iter()
            .find_map(|n| map.get(*n)?.as_str().map(str::to_owned)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    let given: Vec<String> = body
        .get("stages")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(named).collect())
        .unwrap_or_default();
    if given.is_empty() {
        STAGES.map(str::to_owned).to_vec()
    } else {
        given
    }
}

/// Creates a campaign, with the leads in its `leads` field, each an object with an optional `stageIndex`.
///
/// # Errors
/// `scope_missing`, `leads_invalid`, `stage_invalid`, and those of [`records::create`].
pub async fn create_campaign(
    app: &App,
    caller: &Caller,
    mut new: NewRecord,
) -> Result<(Record, usize)> {
    let leads = match new.body.remove("leads") {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= MOST && list.iter().all(Value::is_object) => list,
        Some(_) => {
            return Err(Error::invalid(
                "leads_invalid",
                format!("leads must be a list of at most {MOST} objects"),
            ));
        }
    };
    // What is wrong with a lead is said before anything is written.
    let stages = stages_in(&new.body);
    let mut ready = Vec::new();
    for lead in leads {
        let Value::Object(body) = lead else { continue };
        ready.push((stage_of(&body, &stages)?, body));
    }
    caller.need_unconfined(Area::Sales.write())?;
    let campaign = records::draft(app, caller, new)?;
    let mut drafts = Vec::new();
    for (stage, body) in ready {
        let word = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let title = ["title", "name", "email", "company"]
            .into_iter()
            .find_map(word);
        let lead = NewRecord {
            kind: Kind::Lead,
            parent_id: Some(campaign.id.clone()),
            title,
            status: Some(stage.to_string()),
            body,
        };
        drafts.push(records::draft(app, caller, lead)?);
    }
    let text = Searchable::of(Kind::Campaign, &campaign)?
        .prepare(app, caller.tenant())
        .await?;
    let mut texts = Vec::new();
    for lead in &drafts {
        texts.push(
            Searchable::of(Kind::Lead, lead)?
                .prepare(app, caller.tenant())
                .await?,
        );
    }
    let count = drafts.len();
    let mut tx = app.db.begin().await?;
    let campaign = records::insert(app, &mut tx, campaign, text.as_ref()).await?;
    for (lead, text) in drafts.into_iter().zip(&texts) {
        records::insert(app, &mut tx, lead, text.as_ref()).await?;
    }
    app.commit(tx).await?;
    Ok((campaign, count))
}

/// The position of a lead's stage; the first when it names none.
fn stage_of(body: &Map<String, Value>, stages: &[String]) -> Result<usize> {
    let invalid = || {
        Error::invalid(
            "stage_invalid",
            format!(
                "stageIndex must be between 0 and {}, or stage one of {}",
                stages.len() - 1,
                stages.join(", ")
            ),
        )
    };
    if let Some(index) = body.get("stageIndex") {
        let index = index.as_u64().and_then(|i| usize::try_from(i).ok());
        return index.filter(|i| *i < stages.len()).ok_or_else(invalid);
    }
    match body.get("stage").and_then(Value::as_str) {
        None => Ok(0),
        Some(name) => stages
            .iter()
            .position(|s| s.eq_ignore_ascii_case(name))
            .ok_or_else(invalid),
    }
}

/// The position of a stage that is named by its name, by the id that it was given at the campaign's creation, or by its position.
fn position(campaign: &Record, named: &Value) -> Result<usize> {
    let body = campaign.body()?;
    let stages = stages_in(&body);
    let word = match named {
        Value::String(word) => word.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let by_name = stages.iter().position(|s| s.eq_ignore_ascii_case(&word));
    let given = body.get("stages").and_then(Value::as_array);
    let by_id = || {
        given?.iter().position(|stage| {
            let id = ["_id", "id", "stageId"]
                .iter()
                .find_map(|name| stage.get(*name)?.as_str());
            id == Some(word.as_str())
        })
    };
    let by_number = || word.parse().ok().filter(|i| *i < stages.len());
    by_name.or_else(by_id).or_else(by_number).ok_or_else(|| {
        Error::invalid(
            "stage_invalid",
            format!(
                "a stage of this campaign is one of {}, or its position from 0",
                stages.join(", ")
            ),
        )
    })
}

/// A lead with its campaign, if it has one.
#[derive(Debug)]
pub struct PlacedLead {
    /// The lead.
    pub lead: Record,
    /// Its campaign.
    pub campaign: Option<Record>,
}

impl PlacedLead {
    /// Position and name of its stage.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn stage(&self) -> Result<Option<(usize, String)>> {
        let Some(campaign) = &self.campaign else {
            return Ok(None);
        };
        let at = stage_at(&self.lead);
        Ok(stages(campaign)?.into_iter().nth(at).map(|name| (at, name)))
    }
}

/// The position of a lead's stage, which is its status.
fn stage_at(lead: &Record) -> usize {
    let status = lead.status.as_deref();
    status.and_then(|s| s.parse().ok()).unwrap_or(0)
}

async fn campaign(app: &App, caller: &Caller, id: &str) -> Result<Record> {
    records::load(&app.db, caller.tenant(), Kind::Campaign, id)
        .await?
        .ok_or_else(|| Error::not_found("record_not_found", "there is no such campaign"))
}

/// Adds a lead, to a stage of a campaign (the first when none is named) or to none.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`, and those of [`records::create`].
pub async fn create_lead(
    app: &App,
    caller: &Caller,
    campaign_id: Option<&str>,
    stage: Option<&Value>,
    mut new: NewRecord,
) -> Result<PlacedLead> {
    caller.need_unconfined(Area::Sales.write())?;
    let campaign = match campaign_id {
        Some(id) => Some(campaign(app, caller, id).await?),
        None => None,
    };
    if let Some(campaign) = &campaign {
        let at = stage.map_or(Ok(0), |stage| position(campaign, stage))?;
        new.parent_id = Some(campaign.id.clone());
        new.status = Some(at.to_string());
    } else if stage.is_some() {
        return Err(Error::invalid(
            "campaign_missing",
            "a stage belongs to a campaign: send campaignId with it",
        ));
    }
    let lead = records::create(app, caller, new).await?;
    Ok(PlacedLead { lead, campaign })
}

/// Puts a lead into a stage of a campaign, the first when none is named; it leaves the campaign that it was in.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`, `record_busy`.
pub async fn place_lead(
    app: &App,
    caller: &Caller,
    lead_id: &str,
    campaign_id: &str,
    stage: Option<&Value>,
) -> Result<PlacedLead> {
    caller.need_unconfined(Area::Sales.write())?;
    let campaign = campaign(app, caller, campaign_id).await?;
    let at = stage.map_or(Ok(0), |stage| position(&campaign, stage))?;
    let lead = records::change(app, caller.tenant(), Kind::Lead, lead_id, |lead| {
        lead.parent_id = Some(campaign.id.clone());
        lead.status = Some(at.to_string());
        Ok(())
    })
    .await?;
    Ok(PlacedLead {
        lead,
        campaign: Some(campaign),
    })
}

/// Moves a lead to another stage of its campaign. With `from`, it must be in that stage.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`, `record_busy`; `campaign_missing` for a lead without a campaign, `stage_changed` when it is elsewhere.
pub async fn move_lead(
    app: &App,
    caller: &Caller,
    lead_id: &str,
    from: Option<&Value>,
    to: &Value,
) -> Result<PlacedLead> {
    caller.need_unconfined(Area::Sales.write())?;
    let lead = records::load(&app.db, caller.tenant(), Kind::Lead, lead_id)
        .await?
        .ok_or_else(|| Error::not_found("record_not_found", "there is no such lead"))?;
    let Some(campaign_id) = lead.parent_id else {
        return Err(Error::conflict(
            "campaign_missing",
            "this lead is in no campaign; add it to one first",
        ));
    };
    let campaign = campaign(app, caller, &campaign_id).await?;
    let to = position(&campaign, to)?;
    let from = from.map(|from| position(&campaign, from)).transpose()?;
    let lead = records::change(app, caller.tenant(), Kind::Lead, lead_id, |lead| {
        let is_elsewhere = from.is_some_and(|from| stage_at(lead) != from);
        if is_elsewhere || lead.parent_id.as_ref() != Some(&campaign_id) {
            return Err(Error::conflict(
                "stage_changed",
                "this lead is in another stage by now",
            ));
        }
        lead.status = Some(to.to_string());
        Ok(())
    })
    .await?;
    Ok(PlacedLead {
        lead,
        campaign: Some(campaign),
    })
}

/// Changes a campaign: what is sent replaces what is there, and null removes it. Stages that have leads cannot be removed.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`, `title_too_long`, `record_busy`.
pub async fn update_campaign(
    app: &App,
    caller: &Caller,
    id: &str,
    status: Option<String>,
    changes: records::Changes,
) -> Result<Record> {
    caller.need_unconfined(Area::Sales.write())?;
    let taken: Vec<(Option<String>,)> = app
        .db
        .all(
            "SELECT DISTINCT status FROM records WHERE tenant_id = $1 AND kind = 'lead' AND parent_id = $2",
            args![caller.tenant(), id],
        )
        .await?;
    let last = taken
        .iter()
        .filter_map(|(status,)| status.as_deref()?.parse::<usize>().ok())
        .max();
    records::change(app, caller.tenant(), Kind::Campaign, id, |campaign| {
        changes.apply(campaign)?;
        if let Some(status) = &status {
            campaign.status = Some(status.clone());
        }
        let count = stages(campaign)?.len();
        if last.is_some_and(|last| last >= count) {
            return Err(Error::invalid(
                "stage_invalid",
                "a stage that has leads cannot be removed; move them first",
            ));
        }
        Ok(())
    })
    .await
}

/// Leads of a campaign, of one stage or all.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`.
pub async fn leads(
    app: &App,
    caller: &Caller,
    campaign_id: &str,
    stage: Option<i64>,
    page: &Numbered,
) -> Result<(Record, Listed)> {
    let campaign = records::get(app, caller, Kind::Campaign, campaign_id).await?;
    let count = i64::try_from(stages(&campaign)?.len()).unwrap_or(i64::MAX);
    if stage.is_some_and(|s| !(0..count).contains(&s)) {
        return Err(Error::invalid(
            "stage_invalid",
            format!("stageIndex must be between 0 and {}", count - 1),
        ));
    }
    let filter = Filter {
        parent_id: Some(campaign_id.to_owned()),
        status: stage.map(|s| s.to_string()),
    };
    let found = records::list(app, caller, &[Kind::Lead], &filter, page).await?;
    Ok((campaign, found))
}

/// How many leads a campaign has in each stage.
#[derive(Debug)]
pub struct Funnel {
    /// The campaign.
    pub campaign: Record,
    /// Name of each stage, and its leads.
    pub stages: Vec<(String, i64)>,
}

/// The funnel of one campaign, or of all (at most 100, the last changed first).
///
/// # Errors
/// `scope_missing`, `record_not_found`.
pub async fn funnels(app: &App, caller: &Caller, campaign_id: Option<&str>) -> Result<Vec<Funnel>> {
    let campaigns = match campaign_id {
        Some(id) => vec![records::get(app, caller, Kind::Campaign, id).await?],
        None => {
            let page = Numbered {
                limit: 100,
                ..Numbered::default()
            };
            records::list(app, caller, &[Kind::Campaign], &Filter::default(), &page)
                .await?
                .items
        }
    };
    let mut funnels = Vec::new();
    for campaign in campaigns {
        let rows: Vec<(String, i64)> = app
            .db
            .all(
                "SELECT COALESCE(status, '0'), COUNT(*) FROM records WHERE tenant_id = $1 AND kind = 'lead' AND parent_id = $2 GROUP BY 1",
                args![caller.tenant(), &campaign.id],
            )
            .await?;
        let counts: BTreeMap<String, i64> = rows.into_iter().collect();
        let stages = stages(&campaign)?
            .into_iter()
            .enumerate()
            .map(|(i, name)| (name, counts.get(&i.to_string()).copied().unwrap_or(0)))
            .collect();
        funnels.push(Funnel { campaign, stages });
    }
    Ok(funnels)
}

/// What is asked of the analytics.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// First day.
    pub from: Option<NaiveDate>,
    /// Last day.
    pub to: Option<NaiveDate>,
    /// `day`, `week` or `month`.
    pub bucket: String,
    /// A forecast to compare with.
    pub forecast_id: Option<String>,
    /// Rows of folders to show beside it.
    pub row_ids: Vec<String>,
}

/// Counts per bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Campaigns created.
    pub campaigns: i64,
    /// Leads created.
    pub leads: i64,
    /// Leads that are in the last stage of their campaign.
    pub won: i64,
}

/// What happened when.
#[derive(Debug)]
pub struct Analytics {
    /// By the first day of each bucket.
    pub buckets: BTreeMap<NaiveDate, Bucket>,
    /// The forecast asked for.
    pub forecast: Option<Record>,
    /// The rows asked for, as far as they are there.
    pub rows: Vec<Value>,
}

/// What was created on a day.
#[derive(Debug, sqlx::FromRow)]
struct Created {
    kind: String,
    /// Days since 1970.
    day: i64,
    parent_id: Option<String>,
    status: Option<String>,
    count: i64,
}

fn day_of(time: Time) -> NaiveDate {
    chrono::DateTime::from_timestamp_millis(time.0)
        .unwrap_or_default()
        .date_naive()
}

fn bucket_of(day: NaiveDate, bucket: &str) -> NaiveDate {
    match bucket {
        "week" => day - chrono::Days::new(u64::from(day.weekday().num_days_from_monday())),
        "month" => day.with_day(1).unwrap_or(day),
        _ => day,
    }
}

/// Counts what was created, by day, week (from Monday) or month, in UTC.
///
/// # Errors
/// `scope_missing`, `filter_type_invalid`, `range_invalid`, `record_not_found` for the forecast.
pub async fn analytics(app: &App, caller: &Caller, question: &Question) -> Result<Analytics> {
    caller.need_unconfined(Area::Sales.read())?;
    if !["day", "week", "month"].contains(&question.bucket.as_str()) {
        return Err(Error::invalid(
            "filter_type_invalid",
            "filterType must be day, week or month",
        ));
    }
    if let (Some(from), Some(to)) = (question.from, question.to)
        && from > to
    {
        return Err(Error::invalid(
            "range_invalid",
            "startDate is after endDate",
        ));
    }
    let millis = |day: NaiveDate| {
        day.and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_millis()
    };
    let from = question.from.map_or(0, millis);
    let to = question
        .to
        .and_then(|d| d.succ_opt())
        .map_or(i64::MAX, millis);
    // By day, campaign and stage: as many rows as there are of these, however many leads there are.
    let rows: Vec<Created> = app
        .db
        .all(
            "SELECT kind, created_on / 86400000 AS day, parent_id, status, COUNT(*) AS count FROM records
             WHERE kind IN ('campaign', 'lead') AND tenant_id = $1 AND created_on >= $2 AND created_on < $3 GROUP BY 1, 2, 3, 4",
            args![caller.tenant(), from, to],
        )
        .await?;
    let campaigns: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row.parent_id.clone())
        .collect();
    let campaigns: Vec<String> = campaigns.into_iter().collect();
    let mut last_stage: BTreeMap<String, String> = BTreeMap::new();
    for campaign in records::by_ids(&app.db, caller.tenant(), &campaigns).await? {
        let last = stages(&campaign)?.len().max(1) - 1;
        last_stage.insert(campaign.id, last.to_string());
    }
    let mut buckets: BTreeMap<NaiveDate, Bucket> = BTreeMap::new();
    for row in rows {
        let day = day_of(Time(row.day * 86_400_000));
        let bucket = buckets.entry(bucket_of(day, &question.bucket)).or_default();
        if row.kind == "campaign" {
            bucket.campaigns += row.count;
        } else {
            bucket.leads += row.count;
            let last = row.parent_id.and_then(|p| last_stage.get(&p).cloned());
            if last.is_some() && last == row.status {
                bucket.won += row.count;
            }
        }
    }
    let forecast = match &question.forecast_id {
        Some(id) => Some(records::get(app, caller, Kind::Forecast, id).await?),
        None => None,
    };
    // Rows belong to another area.
    let rows = if caller.may(Area::Data.read()) {
        rows::by_ids(app, caller, &question.row_ids)
            .await?
            .into_iter()
            .map(|row| json!({"id": row.id, "data": row.data}))
            .collect()
    } else {
        Vec::new()
    };
    Ok(Analytics {
        buckets,
        forecast,
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_on_mondays_and_firsts() {
        let day = NaiveDate::from_ymd_opt(2026, 4, 1).expect("a date"); // a Wednesday
        assert_eq!(bucket_of(day, "week").to_string(), "2026-03-30");
        assert_eq!(bucket_of(day, "month").to_string(), "2026-04-01");
        assert_eq!(bucket_of(day, "day"), day);
    }
}
