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
    let body = campaign.body()?;
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
    Ok(if given.is_empty() {
        STAGES.map(str::to_owned).to_vec()
    } else {
        given
    })
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
    let probe = Record {
        id: String::new(),
        tenant_id: String::new(),
        kind: String::new(),
        parent_id: None,
        external_id: None,
        title: String::new(),
        status: None,
        body: Value::Object(new.body.clone()).to_string(),
        document_id: None,
        author: None,
        created_on: Time(0),
        updated_on: Time(0),
    };
    let stages = stages(&probe)?;
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
    tx.commit().await?;
    app.bell.ring();
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
