//! Sales campaigns: ordered stages with leads in them, the funnel these make, and what was created when.

mod analytics;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{CAMPAIGN, LEAD};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::plan::{Change, Plan};
use crate::records::store::{self, Filter, Listed, Numbered};
use crate::records::write::{self, New, Patch};
pub use analytics::{Analytics, Bucket, Question, analytics};

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

/// A lead to add to a campaign.
#[derive(Debug, Clone, Default)]
pub struct NewLead {
    /// The lead.
    pub new: New,
    /// Its stage, by name, by the id that the campaign gives it, or by position; the first when absent.
    pub stage: Option<Value>,
}

/// Returns a plan that creates a campaign with its first leads.
///
/// # Errors
/// `scope_missing`, `leads_invalid`, `stage_invalid`, and those of [`write::create`].
pub async fn create(app: &App, caller: &Caller, new: New, leads: Vec<NewLead>) -> Result<Plan> {
    caller.need_unconfined(Area::Sales.write())?;
    if leads.len() > MOST {
        return Err(Error::invalid(
            "leads_invalid",
            format!("leads must be a list of at most {MOST} objects"),
        ));
    }
    let mut plan = write::create(app, caller, &CAMPAIGN, new).await?;
    let campaign = plan.record().cloned();
    let campaign = campaign.ok_or_else(|| Error::internal("a plan without its campaign"))?;
    let (stages, count) = (stages(&campaign)?, leads.len());
    for lead in leads {
        let at = lead
            .stage
            .as_ref()
            .map_or(Ok(0), |stage| position(&campaign, stage))?;
        let placed = New {
            parent_id: Some(campaign.id.clone()),
            stage: Some(at.to_string()),
            ..lead.new
        };
        write::add(app, caller, &LEAD, placed, &mut plan).await?;
    }
    plan.shown.insert("stages".to_owned(), json!(stages));
    plan.shown.insert("leadsCount".to_owned(), json!(count));
    Ok(plan.answering(0))
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
                "a stage of this campaign must be one of {}, or its position from 0",
                stages.join(", ")
            ),
        )
    })
}

/// Returns the position of a lead's stage in its campaign, and the name of the stage.
///
/// # Errors
/// When a row is damaged.
pub fn stage_of(lead: &Record, campaign: &Record) -> Result<Option<(usize, String)>> {
    let at = lead.stage.as_deref().and_then(|s| s.parse().ok());
    let at: usize = at.unwrap_or(0);
    Ok(stages(campaign)?.into_iter().nth(at).map(|name| (at, name)))
}

async fn load(app: &App, caller: &Caller, id: &str) -> Result<Record> {
    store::get(app, caller.tenant(), &CAMPAIGN, id).await
}

/// Adds the stage that a lead comes into to the answer of a plan.
fn with_stage(mut plan: Plan, campaign: Option<&Record>) -> Result<Plan> {
    let lead = plan.record().cloned();
    if let (Some(lead), Some(campaign)) = (lead, campaign)
        && let Some((at, name)) = stage_of(&lead, campaign)?
    {
        plan.shown
            .insert("campaignId".to_owned(), json!(campaign.id));
        plan.shown.insert("stageIndex".to_owned(), json!(at));
        plan.shown.insert("stage".to_owned(), json!(name));
    }
    Ok(plan)
}

/// Returns a plan that adds a lead, to a stage of a campaign (the first when none is named) or to none.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`, `campaign_missing` for a stage without a campaign, and those of [`write::create`].
pub async fn add_lead(
    app: &App,
    caller: &Caller,
    campaign_id: Option<&str>,
    lead: NewLead,
) -> Result<Plan> {
    caller.need_unconfined(Area::Sales.write())?;
    let mut new = lead.new;
    let campaign = match campaign_id {
        Some(id) => Some(load(app, caller, id).await?),
        None => None,
    };
    if let Some(campaign) = &campaign {
        let at = lead
            .stage
            .as_ref()
            .map_or(Ok(0), |stage| position(campaign, stage))?;
        new.parent_id = Some(campaign.id.clone());
        new.stage = Some(at.to_string());
    } else if lead.stage.is_some() {
        return Err(Error::invalid(
            "campaign_missing",
            "a stage requires campaignId",
        ));
    }
    let plan = write::create(app, caller, &LEAD, new).await?;
    with_stage(plan, campaign.as_ref())
}

/// Returns a plan that puts a lead into a stage of a campaign, the first when none is named; it leaves the campaign that it was in.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`.
pub async fn place_lead(
    app: &App,
    caller: &Caller,
    lead_id: &str,
    campaign_id: &str,
    stage: Option<&Value>,
) -> Result<Plan> {
    caller.need_unconfined(Area::Sales.write())?;
    let campaign = load(app, caller, campaign_id).await?;
    let at = stage.map_or(Ok(0), |stage| position(&campaign, stage))?;
    let lead = store::get(app, caller.tenant(), &LEAD, lead_id).await?;
    let patch = Patch {
        parent_id: Some(Some(campaign.id.clone())),
        stage: Some(at.to_string()),
        ..Patch::default()
    };
    let plan = write::update(app, caller, &LEAD, lead, patch).await?;
    with_stage(plan, Some(&campaign))
}

/// Returns a plan that moves a lead to another stage of its campaign. With `from`, it must be in that stage.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid`; `campaign_missing` for a lead without a campaign, `stage_changed` when it is in another stage.
pub async fn move_lead(
    app: &App,
    caller: &Caller,
    lead_id: &str,
    from: Option<&Value>,
    to: &Value,
) -> Result<Plan> {
    caller.need_unconfined(Area::Sales.write())?;
    let lead = store::get(app, caller.tenant(), &LEAD, lead_id).await?;
    let Some(campaign_id) = lead.parent_id.clone() else {
        return Err(Error::conflict(
            "campaign_missing",
            "this lead is not in a campaign; add it to one first",
        ));
    };
    let campaign = load(app, caller, &campaign_id).await?;
    let to = position(&campaign, to)?;
    let from = from.map(|from| position(&campaign, from)).transpose()?;
    let is_in = stage_of(&lead, &campaign)?.map(|(at, _)| at);
    if from.is_some() && from != is_in {
        return Err(Error::conflict(
            "stage_changed",
            "the lead is no longer in the stage fromStageId",
        ));
    }
    let patch = Patch {
        stage: Some(to.to_string()),
        ..Patch::default()
    };
    let plan = write::update(app, caller, &LEAD, lead, patch).await?;
    with_stage(plan, Some(&campaign))
}

/// Returns a plan that changes a campaign.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `stage_invalid` for stages that have leads and would go, and those of [`write::update`].
pub async fn update(app: &App, caller: &Caller, id: &str, patch: Patch) -> Result<Plan> {
    caller.need_unconfined(Area::Sales.write())?;
    let campaign = load(app, caller, id).await?;
    write::update(app, caller, &CAMPAIGN, campaign, patch).await
}

/// Refuses a change of a campaign that removes stages which have leads.
pub(super) async fn complete(change: &mut Change<'_>) -> Result<()> {
    let Some(campaign) = &change.before else {
        return Ok(());
    };
    let taken: Vec<(Option<String>,)> = change
        .app
        .db
        .all(
            "SELECT DISTINCT stage FROM records WHERE tenant_id = $1 AND kind = 'crm_lead' AND parent_id = $2",
            args![change.caller.tenant(), &campaign.id],
        )
        .await?;
    let last = taken
        .iter()
        .filter_map(|(stage,)| stage.as_deref()?.parse::<usize>().ok())
        .max();
    let count = stages_in(&change.body).len();
    if last.is_some_and(|last| last >= count) {
        return Err(Error::invalid(
            "stage_invalid",
            "a stage that has leads cannot be removed; move them first",
        ));
    }
    Ok(())
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
    caller.need_unconfined(Area::Sales.read())?;
    let campaign = load(app, caller, campaign_id).await?;
    let count = i64::try_from(stages(&campaign)?.len()).unwrap_or(i64::MAX);
    if stage.is_some_and(|s| !(0..count).contains(&s)) {
        return Err(Error::invalid(
            "stage_invalid",
            format!("stageIndex must be between 0 and {}", count - 1),
        ));
    }
    let filter = Filter {
        parent_id: Some(campaign_id.to_owned()),
        stage: stage.map(|s| s.to_string()),
    };
    let found = store::numbered(app, caller.tenant(), &[&LEAD], &filter, page).await?;
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
    caller.need_unconfined(Area::Sales.read())?;
    let campaigns = match campaign_id {
        Some(id) => vec![load(app, caller, id).await?],
        None => {
            let page = Numbered {
                limit: 100,
                ..Numbered::default()
            };
            store::numbered(
                app,
                caller.tenant(),
                &[&CAMPAIGN],
                &Filter::default(),
                &page,
            )
            .await?
            .items
        }
    };
    let mut funnels = Vec::new();
    for campaign in campaigns {
        let rows: Vec<(String, i64)> = app
            .db
            .all(
                "SELECT COALESCE(stage, '0'), COUNT(*) FROM records WHERE tenant_id = $1 AND kind = 'crm_lead' AND parent_id = $2 GROUP BY 1",
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
