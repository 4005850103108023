//! Leads and their enrichment.

use serde_json::{Value, json};

use super::wire::{
    LEAD_FIELDS, Said, entity, flag, lead_of, list, named_id, part, rename, take, take_text,
};
use crate::api::operation::{Call, Data};
use crate::auth::{Scope, plans};
use crate::crm::{DELETED_LEAD, LEAD};
use crate::error::{Error, Result};
use crate::outreach::leads::{self, Wanted};
use crate::outreach::{enrichment, score, stages, stalled};
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Plan;
use crate::records::store::{self, Offset};

/// Reads a lead.
fn read(body: &Body) -> Result<Wanted> {
    let mut fields = body.clone();
    for name in ["id", "leadId", "restore", "success"] {
        fields.shift_remove(name);
    }
    // Answers are sent back by clients that change a lead they have read.
    for name in [
        "createdAt",
        "updatedAt",
        "deletedAt",
        "proposalId",
        "proposalUrl",
        "enrichmentStatus",
        "enrichment",
        "score",
        "stageHistory",
        "signals",
    ] {
        fields.shift_remove(name);
    }
    let status = take_text(&mut fields, &["status"])?;
    let by_id = take_text(&mut fields, &["stageId", "stage_id"])?;
    let by_name = match take(&mut fields, &["stage"])? {
        Some(Value::Object(stage)) => {
            let id = stage.get("id").or(stage.get("name"));
            id.and_then(Value::as_str).map(str::to_owned)
        }
        Some(Value::String(name)) => Some(name),
        Some(Value::Null) | None => None,
        Some(_) => return Err(invalid("stage must be the id or the name of a stage")),
    };
    rename(&mut fields, &LEAD_FIELDS)?;
    if let Some(email) = text(&fields, "email").map(|e| e.trim().to_owned()) {
        fields.insert("email".to_owned(), json!(email));
    }
    Ok(Wanted {
        fields,
        status,
        stage: by_id.or(by_name),
    })
}

fn require(fields: &Body) -> Result<()> {
    let missing = |name: &str| text(fields, name).is_none_or(|v| v.trim().is_empty());
    let missing: Vec<&str> = [("first_name", "firstName"), ("email", "email")]
        .into_iter()
        .filter(|(field, _)| missing(field))
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let verb = if missing.len() == 1 { "is" } else { "are" };
    Err(invalid(format!("{} {verb} missing", missing.join(" and ")))
        .with_hint("a lead needs firstName and email"))
}

/// Tenths of a plan from which its use is a warning.
const NEARLY: i64 = 9;

pub(super) async fn create(call: Call<'_>) -> Result<Plan> {
    let wanted = read(call.body)?;
    require(&wanted.fields)?;
    let mut said = Said::default();
    said.warnings.push(
        "enrichment does not start by itself; the lead stays as it is until POST /api/openclaw/enrich"
            .to_owned(),
    );
    if let Some(plan) = plans::of(&call.app.db, call.caller.tenant()).await? {
        let most = plan.leads();
        let used = store::count(&call.app.db, call.caller.tenant(), &LEAD).await? + 1;
        if used * 10 >= most * NEARLY {
            said.warnings
                .push(format!("{used} of {most} leads of the plan are used"));
        }
    }
    if let Some(email) = text(&wanted.fields, "email")
        && let Some(other) = leads::by_email(call.app, call.caller.tenant(), email).await?
    {
        said.warnings
            .push(format!("the lead rp_{} has the same email", other.id));
    }
    let mut plan = leads::create(call.app, call.caller, wanted).await?;
    let id = plan
        .record()
        .map(|r| format!("rp_{}", r.id))
        .unwrap_or_default();
    said.next_steps.push(format!(
        "POST /api/openclaw/enrich {{\"leadId\": \"{id}\"}}"
    ));
    if !plan.shown.contains_key("stage") {
        said.next_steps
            .push("POST /api/openclaw/setup to give the pipeline its stages".to_owned());
    }
    plan.shown
        .insert("enrichmentQueued".to_owned(), json!(false));
    said.put(&mut plan.shown);
    Ok(plan)
}

pub(super) async fn list_leads(call: Call<'_>) -> Result<Data> {
    let part = part(call)?;
    let is_deleted = flag(call, "deletedOnly")?.unwrap_or(false);
    let stages = stages::all(call.app, call.caller.tenant()).await?;
    let mut filters: Vec<(String, String)> = Vec::new();
    for (name, facet) in [
        ("status", "sales_status"),
        ("tier", "tier"),
        ("email", "email"),
    ] {
        filters.extend(
            call.query(name)
                .map(|value| (facet.to_owned(), value.to_owned())),
        );
    }
    if let Some(word) = call.query("stage").or(call.query("stageId")) {
        filters.push((
            "stage_id".to_owned(),
            stages::named(&stages, word)?.id.clone(),
        ));
    }
    for (name, value) in call.query {
        // `customFields.size=4`, and `customFields[size]=4`.
        let key = name.strip_prefix("customFields.").or_else(|| {
            name.strip_prefix("customFields[")
                .and_then(|rest| rest.strip_suffix(']'))
        });
        filters.extend(key.map(|key| (format!("custom:{key}"), value.clone())));
    }
    let kind = if is_deleted { &DELETED_LEAD } else { &LEAD };
    let query = Offset {
        filters,
        query: call.query("q").or(call.query("search")).map(str::to_owned),
        limit: part.limit,
        offset: part.offset,
    };
    let (found, total) = store::at_offset(call.app, call.caller.tenant(), kind, &query).await?;
    let mut shown = Vec::with_capacity(found.len());
    for record in &found {
        let (_, mut lead) = entity(kind, record)?;
        lead["stage"] = json!(score::stage_name(&record.body()?, &stages));
        shown.push(lead);
    }
    Ok(Data::One(list("leads", shown, total, part)))
}

pub(super) async fn get(call: Call<'_>) -> Result<Data> {
    let (app, caller) = (call.app, call.caller);
    let record = leads::load(app, caller.tenant(), call.id()).await?;
    let stages = stages::all(app, caller.tenant()).await?;
    let body = record.body()?;
    let (_, mut lead) = entity(&LEAD, &record)?;
    let scored = score::of(app, caller, &record).await?;
    let stage = |id: &Value| {
        let found = stages.iter().find(|s| id.as_str() == Some(&s.id));
        found.map_or_else(|| id.clone(), |s| json!({"id": s.id, "name": s.name}))
    };
    let moves = body.get("stage_moves").and_then(Value::as_array);
    let history: Vec<Value> = moves
        .into_iter()
        .flatten()
        .map(|m| json!({"from": stage(&m["from"]), "to": stage(&m["to"]), "at": m["at"], "by": m["by"], "reason": m["reason"]}))
        .collect();
    lead["stage"] = json!(score::stage_name(&body, &stages));
    lead["stageHistory"] = json!(history);
    lead["score"] = scored.to_json();
    lead["signals"] = json!(body.get("sales_signals"));
    lead["enrichment"] = json!(body.get("sales_enrichment"));
    let mut said = Said::default();
    if body.get("sales_enrichment").is_none() {
        said.next_steps.push(format!(
            "POST /api/openclaw/enrich {{\"leadId\": \"rp_{}\"}}",
            record.id
        ));
    }
    let mut answer = Body::from_iter([
        ("success".to_owned(), json!(true)),
        ("id".to_owned(), lead["id"].clone()),
        ("lead".to_owned(), lead),
    ]);
    said.put(&mut answer);
    Ok(Data::One(Value::Object(answer)))
}

async fn change(call: Call<'_>, id: &str) -> Result<Plan> {
    let (app, caller) = (call.app, call.caller);
    match call.body.get("restore") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::Bool(true)) => {
            let others = call
                .body
                .keys()
                .filter(|n| !matches!(n.as_str(), "restore" | "id" | "leadId"));
            if others.count() > 0 {
                return Err(invalid(
                    "restore stands alone; change the lead after it is restored",
                ));
            }
            return leads::restore(app, caller, id).await;
        }
        Some(_) => return Err(invalid("restore must be true or false")),
    }
    let wanted = read(call.body)?;
    if wanted.fields.is_empty() && wanted.status.is_none() && wanted.stage.is_none() {
        return Err(invalid("nothing to change")
            .with_hint("send the fields to change, such as status, stage or crmData"));
    }
    for name in ["email", "first_name"] {
        if wanted
            .fields
            .get(name)
            .is_some_and(|v| v.as_str().is_none_or(|t| t.trim().is_empty()))
        {
            return Err(invalid(format!("{name} cannot be removed")));
        }
    }
    let lead = leads::load(app, caller.tenant(), id).await?;
    leads::update(app, caller, lead, wanted).await
}

pub(super) async fn patch(call: Call<'_>) -> Result<Plan> {
    change(call, call.id()).await
}

pub(super) async fn patch_named(call: Call<'_>) -> Result<Plan> {
    change(call, named_id(call, "leadId")?).await
}

/// Fields that a full update leaves when they are absent: they come from enrichment.
const STAYS: [&str; 6] = [
    "job_title",
    "seniority",
    "enriched_company_name",
    "linkedin_url",
    "company_size",
    "company_revenue",
];

pub(super) async fn replace(call: Call<'_>) -> Result<Plan> {
    let id = named_id(call, "leadId")?;
    let mut wanted = read(call.body)?;
    require(&wanted.fields)?;
    let lead = leads::load(call.app, call.caller.tenant(), id).await?;
    let old = lead.body()?;
    for (_, field) in LEAD_FIELDS {
        let is_kept = STAYS.contains(&field) || matches!(field, "name" | "source" | "converted_at");
        if !is_kept {
            wanted.fields.entry(field).or_insert(Value::Null);
        }
    }
    // Bags are replaced: what is not sent goes.
    for bag in ["crm_data", "custom_fields"] {
        if let (Some(Value::Object(given)), Some(Value::Object(before))) =
            (wanted.fields.get_mut(bag), old.get(bag))
        {
            for name in before.keys() {
                given.entry(name).or_insert(Value::Null);
            }
        }
    }
    leads::update(call.app, call.caller, lead, wanted).await
}

async fn remove(call: Call<'_>, id: &str) -> Result<Plan> {
    let (app, caller) = (call.app, call.caller);
    if flag(call, "permanent")?.unwrap_or(false) {
        // Touchpoints are activities, and go with the lead.
        caller.need(Scope::ActivityWrite)?;
        let mut plan = leads::remove(app, caller, id).await?;
        plan.shown.insert("success".to_owned(), json!(true));
        plan.shown
            .insert("id".to_owned(), json!(format!("rp_{}", leads::row_id(id))));
        return Ok(plan);
    }
    let lead = leads::load(app, caller.tenant(), id).await?;
    let id = format!("rp_{}", lead.id);
    let mut said = Said::default();
    said.next_steps.push(format!(
        "PATCH /api/openclaw/leads/{id} {{\"restore\": true}} brings the lead back"
    ));
    let mut plan = leads::delete(app, caller, lead);
    said.put(&mut plan.shown);
    let mut data = json!({"success": true, "id": id, "deleted": true, "permanent": false});
    data["restorable"] = json!(true);
    Ok(plan.data(200, data))
}

pub(super) async fn delete(call: Call<'_>) -> Result<Plan> {
    remove(call, call.id()).await
}

pub(super) async fn delete_named(call: Call<'_>) -> Result<Plan> {
    remove(call, named_id(call, "leadId")?).await
}

fn force(call: Call<'_>, name: &str) -> Result<bool> {
    match call.body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(force)) => Ok(*force),
        Some(_) => Err(invalid(format!("{name} must be true or false"))),
    }
}

fn advise(answer: &mut Value) {
    let mut said = Said::default();
    let id = answer["leadId"].as_str().unwrap_or_default().to_owned();
    if answer["status"] == "failed" {
        let reason = answer["reason"].as_str().unwrap_or("nothing was found");
        said.warnings.push(reason.to_owned());
        said.next_steps.push(format!(
            "PATCH /api/openclaw/leads/{id} with crmData.website or organizationName, then enrich with force: true"
        ));
    } else if answer["unchanged"] == json!(true) {
        said.warnings
            .push("the lead is enriched already; force: true asks the providers again".to_owned());
    } else {
        said.next_steps.push(format!(
            "POST /api/openclaw/leads/score {{\"leadId\": \"{id}\"}}"
        ));
    }
    answer["warnings"] = json!(said.warnings);
    answer["next_steps"] = json!(said.next_steps);
}

pub(super) async fn enrich(call: Call<'_>) -> Result<Data> {
    let id = lead_of(call.body)?;
    let force = force(call, "force")? || force(call, "forceRefresh")?;
    let mut answer = enrichment::enrich(call.app, call.caller, id, force, enrichment::TIME).await?;
    advise(&mut answer);
    Ok(Data::One(answer))
}

pub(super) async fn enrichment_status(call: Call<'_>) -> Result<Data> {
    let id = call.query("leadId").ok_or_else(|| {
        Error::invalid("id_missing", "leadId is missing")
            .with_hint("send leadId in the query string")
    })?;
    let lead = leads::load(call.app, call.caller.tenant(), id).await?;
    Ok(Data::One(enrichment::shown(&lead, &lead.body()?)))
}

fn ids(call: Call<'_>, most: usize) -> Result<Vec<String>> {
    let given = call.body.get("leadIds").and_then(Value::as_array);
    let ids = given.map(|list| {
        list.iter()
            .map(|id| id.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    });
    let ids = ids.flatten().filter(|ids| !ids.is_empty());
    let mut ids = ids.ok_or_else(|| {
        invalid("leadIds is missing")
            .with_hint(format!("send leadIds, a list of 1 to {most} ids of leads"))
    })?;
    ids.dedup();
    if ids.len() > most {
        return Err(Error::invalid(
            "too_many_leads",
            format!("{} leads; at most {most} in one call", ids.len()),
        )
        .with_hint(format!(
            "send {most} ids, wait for the answer, then the next {most}"
        )));
    }
    Ok(ids)
}

pub(super) async fn enrich_bulk(call: Call<'_>) -> Result<Data> {
    let ids = ids(call, enrichment::BULK)?;
    let force = force(call, "forceRefresh")? || force(call, "force")?;
    let began = tokio::time::Instant::now();
    let (mut results, mut failed) = (Vec::new(), 0);
    for (at, id) in ids.iter().enumerate() {
        let rest = enrichment::BULK_TIME.saturating_sub(began.elapsed());
        let others = u32::try_from(ids.len() - at).unwrap_or(1);
        let outcome = enrichment::enrich(call.app, call.caller, id, force, rest / others).await;
        let mut result = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                json!({"leadId": id, "status": "failed", "error": error.public_message(), "code": error.code()})
            }
        };
        if result["status"] == "failed" {
            failed += 1;
            if result["error"].is_null() {
                result["error"] = result["reason"].clone();
            }
        }
        results.push(result);
    }
    let mut said = Said::default();
    if failed > 0 {
        said.warnings.push(format!(
            "{failed} of {} leads could not be enriched; results[].error says why",
            ids.len()
        ));
    }
    let mut answer = Body::from_iter([
        ("success".to_owned(), json!(true)),
        ("total".to_owned(), json!(ids.len())),
        ("completed".to_owned(), json!(ids.len() - failed)),
        ("failed".to_owned(), json!(failed)),
        ("results".to_owned(), json!(results)),
    ]);
    said.put(&mut answer);
    Ok(Data::One(Value::Object(answer)))
}

pub(super) async fn spider_web(call: Call<'_>) -> Result<Data> {
    let lead = leads::load(call.app, call.caller.tenant(), lead_of(call.body)?).await?;
    let found = enrichment::connections(call.app, call.caller, &lead).await?;
    Ok(Data::One(json!({
        "success": true, "leadId": format!("rp_{}", lead.id), "totalConnections": found.len(), "connections": found
    })))
}

pub(super) async fn score(call: Call<'_>) -> Result<Data> {
    let (app, caller) = (call.app, call.caller);
    if call.body.get("all") == Some(&json!(true)) {
        let (scored, total) = score::all(app, caller).await?;
        let mut labels =
            std::collections::BTreeMap::from(["hot", "warm", "cool", "cold"].map(|l| (l, 0)));
        let mut results = Vec::with_capacity(scored.len());
        for (lead, scored) in &scored {
            *labels.entry(scored.label).or_default() += 1;
            let mut result = scored.to_json();
            result["leadId"] = json!(format!("rp_{}", lead.id));
            result["name"] = json!(lead.title);
            results.push(result);
        }
        let mut said = Said::default();
        if total > score::MOST {
            said.warnings.push(format!(
                "{total} leads; the {} that changed last were scored",
                score::MOST
            ));
        }
        let mut answer = Body::from_iter([
            ("success".to_owned(), json!(true)),
            ("total".to_owned(), json!(total)),
            ("scored".to_owned(), json!(results.len())),
            ("labels".to_owned(), json!(labels)),
            ("results".to_owned(), json!(results)),
        ]);
        said.put(&mut answer);
        return Ok(Data::One(Value::Object(answer)));
    }
    let id = lead_of(call.body).map_err(|_| {
        invalid("leadId is missing")
            .with_hint("send leadId for one lead, or all: true for the workspace")
    })?;
    let lead = leads::load(app, caller.tenant(), id).await?;
    let mut answer = score::of(app, caller, &lead).await?.to_json();
    answer["success"] = json!(true);
    answer["leadId"] = json!(format!("rp_{}", lead.id));
    Ok(Data::One(answer))
}

pub(super) async fn stalled(call: Call<'_>) -> Result<Data> {
    let part = part(call)?;
    let size = |n: i64| usize::try_from(n).unwrap_or(0);
    let (found, total) =
        stalled::list(call.app, call.caller, size(part.limit), size(part.offset)).await?;
    let mut shown = Vec::with_capacity(found.len());
    for overdue in &found {
        let (_, mut lead) = entity(&LEAD, &overdue.lead)?;
        lead["leadId"] = lead["id"].clone();
        for (name, value) in overdue.members() {
            lead[name] = value;
        }
        shown.push(lead);
    }
    let mut answer = list(
        "leads",
        shown,
        i64::try_from(total).unwrap_or(i64::MAX),
        part,
    );
    if let Some(first) = found.first() {
        answer["next_steps"] = json!([format!(
            "start with rp_{}: {}, then POST /api/openclaw/touchpoints",
            first.lead.id, first.action
        )]);
    }
    Ok(Data::One(answer))
}

/// Events that agents can report as types of touchpoints.
pub(super) fn events() -> Vec<&'static str> {
    crate::outreach::events::EVENTS.to_vec()
}
