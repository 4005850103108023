//! Stages, sources that report leads, custom fields, automation rules.

use serde_json::{Value, json};

use super::wire::{Said, deleted, entity, list, named_id, part, rename, take_text};
use crate::api::operation::{Call, Data};
use crate::auth::Scope;
use crate::crm::{CUSTOM_FIELD, STAGE};
use crate::error::{Error, Result};
use crate::outreach::{RULE, SYNC_SOURCE, inbound, rules, stages};
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Plan;
use crate::records::store::{self, Offset};
use crate::records::write::{self, New, Patch};
use crate::records::{Kind, Record};

const STAGE_FIELDS: [(&[&str], &str); 2] = [
    (&["order", "position"], "position"),
    (&["isDefault", "is_default"], "is_default"),
];

fn without_id(body: &Body) -> Body {
    let mut body = body.clone();
    for name in ["id", "createdAt", "updatedAt"] {
        body.shift_remove(name);
    }
    body
}

/// Reads the fields of a stage.
pub(super) fn stage_fields(given: &Body) -> Result<Body> {
    let mut body = without_id(given);
    rename(&mut body, &STAGE_FIELDS)?;
    body.shift_remove("key");
    Ok(body)
}

/// Loads a record by its public id or that of its row.
async fn load(call: Call<'_>, kind: &'static Kind, id: &str) -> Result<Record> {
    let row = kind.row_id(id).unwrap_or(id);
    let found = store::optional(&call.app.db, call.caller.tenant(), kind, row).await?;
    found.ok_or_else(|| store::not_found(kind))
}

/// Lists records of a kind that pass the filters.
pub(super) async fn records(
    call: Call<'_>,
    kind: &'static Kind,
    noun: &str,
    filters: Vec<(String, String)>,
) -> Result<Data> {
    let part = part(call)?;
    let query = Offset {
        filters,
        limit: part.limit,
        offset: part.offset,
        ..Offset::default()
    };
    let (found, total) = store::at_offset(call.app, call.caller.tenant(), kind, &query).await?;
    let shown = found.iter().map(|record| Ok(entity(kind, record)?.1));
    Ok(Data::One(list(
        noun,
        shown.collect::<Result<_>>()?,
        total,
        part,
    )))
}

async fn remove(call: Call<'_>, kind: &'static Kind) -> Result<Plan> {
    let record = load(call, kind, named_id(call, "id")?).await?;
    let data = deleted(kind, &record);
    let mut plan = Plan::default();
    plan.delete(kind, record);
    Ok(plan.data(200, data))
}

pub(super) async fn list_stages(call: Call<'_>) -> Result<Data> {
    let stages = stages::all(call.app, call.caller.tenant()).await?;
    let counts = rules::leads_by_stage(call.app, call.caller.tenant()).await?;
    let mut shown = Vec::with_capacity(stages.len());
    for stage in &stages {
        let (_, mut json) = entity(&STAGE, &stage.record)?;
        json["leads"] = json!(counts.get(&stage.id.to_lowercase()).copied().unwrap_or(0));
        shown.push(json);
    }
    let total = shown.len();
    let mut answer = json!({"success": true, "stages": shown, "total": total});
    if stages.is_empty() {
        answer["next_steps"] = json!(["POST /api/openclaw/setup to give the pipeline its stages"]);
    }
    Ok(Data::One(answer))
}

pub(super) async fn create_stage(call: Call<'_>) -> Result<Plan> {
    stages::create(call.app, call.caller, stage_fields(call.body)?).await
}

pub(super) async fn update_stage(call: Call<'_>) -> Result<Plan> {
    let id = named_id(call, "stageId")?;
    stages::update(call.app, call.caller, id, &stage_fields(call.body)?).await
}

pub(super) async fn delete_stage(call: Call<'_>) -> Result<Plan> {
    let id = named_id(call, "stageId")?.to_owned();
    let move_to = call.query("moveTo").or(text(call.body, "moveTo"));
    let plan = stages::delete(call.app, call.caller, &id, move_to).await?;
    let mut plan = plan;
    plan.shown.insert("success".to_owned(), json!(true));
    Ok(plan)
}

pub(super) async fn list_sources(call: Call<'_>) -> Result<Data> {
    let mut answer = records(call, &SYNC_SOURCE, "sources", Vec::new()).await?;
    if let Data::One(answer) = &mut answer {
        answer["types"] = json!(inbound::SOURCE_TYPES);
    }
    Ok(answer)
}

/// Reads the fields of a source.
async fn source_fields(call: Call<'_>) -> Result<Body> {
    let mut body = without_id(call.body);
    rename(
        &mut body,
        &[
            (&["type", "sourceType", "source_type"], "type"),
            (&["mapping", "fieldMapping"], "mapping"),
        ],
    )?;
    for name in ["path", "secret", "rotateSecret"] {
        body.shift_remove(name);
    }
    let stage = take_text(&mut body, &["targetStage", "stageId", "stage", "stage_id"])?;
    if let Some(word) = stage {
        let stages = stages::all(call.app, call.caller.tenant()).await?;
        body.insert(
            "stage_id".to_owned(),
            json!(stages::named(&stages, &word)?.id),
        );
    }
    if let Some(kind) = text(&body, "type").map(str::to_owned) {
        body.entry("name").or_insert_with(|| json!(kind));
    }
    Ok(body)
}

pub(super) async fn create_source(call: Call<'_>) -> Result<Plan> {
    call.caller.need(Scope::CrmWrite)?;
    let body = source_fields(call).await?;
    let mut plan = inbound::create(call.app, call.caller, body).await?;
    let path = plan.record().map(inbound::path).unwrap_or_default();
    let mut said = Said::default();
    said.warnings
        .push("the secret is shown only now".to_owned());
    said.next_steps.push(format!(
        "let the source POST to {path}, signed as Standard Webhooks with the secret; a form may POST to {path}/SECRET"
    ));
    said.put(&mut plan.shown);
    Ok(plan)
}

pub(super) async fn update_source(call: Call<'_>) -> Result<Plan> {
    call.caller.need(Scope::CrmWrite)?;
    let record = load(call, &SYNC_SOURCE, named_id(call, "sourceId")?).await?;
    let mut body = source_fields(call).await?;
    if call.body.get("name").is_none() {
        body.shift_remove("name");
    }
    let id = record.id.clone();
    let mut plan = write::update(
        call.app,
        call.caller,
        &SYNC_SOURCE,
        record,
        Patch::from(&body),
    )
    .await?;
    if call.body.get("rotateSecret") == Some(&json!(true)) {
        inbound::rotate(call.app, call.caller, &mut plan, &id).await?;
    }
    Ok(plan)
}

pub(super) async fn delete_source(call: Call<'_>) -> Result<Plan> {
    let mut plan = remove(call, &SYNC_SOURCE).await?;
    let id = named_id(call, "sourceId")?;
    let row = SYNC_SOURCE.row_id(id).unwrap_or(id);
    plan.after
        .push(inbound::Keep::nothing(call.caller.tenant(), row));
    Ok(plan)
}

const FIELD_NAMES: [(&[&str], &str); 3] = [
    (&["fieldType", "field_type", "type"], "field_type"),
    (&["key", "fieldKey", "slug"], "key"),
    (&["name", "label", "fieldName"], "name"),
];

/// Reads the fields of a definition. Without a key it gets one from its name.
fn field_fields(call: Call<'_>, is_new: bool) -> Result<Body> {
    let mut body = without_id(call.body);
    rename(&mut body, &FIELD_NAMES)?;
    if is_new {
        let name = text(&body, "name")
            .or(text(&body, "key"))
            .map(str::to_owned);
        if let Some(name) = name {
            let key: String = name
                .trim()
                .chars()
                .map(|c| {
                    if c.is_alphanumeric() || c == '_' || c == '-' {
                        c
                    } else {
                        '_'
                    }
                })
                .collect();
            body.entry("key").or_insert(json!(key));
            body.entry("name").or_insert(json!(name));
        }
    }
    Ok(body)
}

pub(super) async fn list_fields(call: Call<'_>) -> Result<Data> {
    records(call, &CUSTOM_FIELD, "fields", Vec::new()).await
}

pub(super) async fn create_field(call: Call<'_>) -> Result<Plan> {
    let body = field_fields(call, true)?;
    write::create(call.app, call.caller, &CUSTOM_FIELD, New::from(&body)).await
}

pub(super) async fn update_field(call: Call<'_>) -> Result<Plan> {
    let record = load(call, &CUSTOM_FIELD, named_id(call, "fieldId")?).await?;
    let body = field_fields(call, false)?;
    write::update(
        call.app,
        call.caller,
        &CUSTOM_FIELD,
        record,
        Patch::from(&body),
    )
    .await
}

pub(super) async fn delete_field(call: Call<'_>) -> Result<Plan> {
    let mut plan = remove(call, &CUSTOM_FIELD).await?;
    let mut said = Said::default();
    said.warnings
        .push("values that leads have in this field stay, and are no longer checked".to_owned());
    said.put(&mut plan.shown);
    Ok(plan)
}

pub(super) async fn list_rules(call: Call<'_>) -> Result<Data> {
    let mut answer = records(call, &RULE, "rules", Vec::new()).await?;
    if let Data::One(answer) = &mut answer {
        answer["triggers"] = json!(rules::TRIGGERS);
    }
    Ok(answer)
}

/// Reads the fields of a rule.
async fn rule_fields(call: Call<'_>, allowed: Option<&[&str]>) -> Result<Body> {
    let mut body = without_id(call.body);
    rename(
        &mut body,
        &[(
            &["triggerEvent", "trigger_event", "trigger"],
            "trigger_event",
        )],
    )?;
    let target = take_text(&mut body, &["targetStage", "target_stage", "stageId"])?;
    if let Some(word) = target {
        let stages = stages::all(call.app, call.caller.tenant()).await?;
        body.insert(
            "stage_id".to_owned(),
            json!(stages::named(&stages, &word)?.id),
        );
    }
    if let Some(allowed) = allowed
        && let Some(other) = body.keys().find(|name| !allowed.contains(&name.as_str()))
    {
        return Err(invalid(format!("{other} cannot be changed")).with_hint(
            "enabled, targetStage, priority, name and conditions of a rule can be changed; for another trigger create another rule",
        ));
    }
    Ok(body)
}

pub(super) async fn create_rule(call: Call<'_>) -> Result<Plan> {
    let body = rule_fields(call, None).await?;
    if !body.contains_key("stage_id") {
        return Err(invalid("targetStage is missing")
            .with_hint("send targetStage, the id or the name of a stage"));
    }
    write::create(call.app, call.caller, &RULE, New::from(&body)).await
}

pub(super) async fn update_rule(call: Call<'_>) -> Result<Plan> {
    let record = load(call, &RULE, named_id(call, "ruleId")?).await?;
    let allowed = ["enabled", "stage_id", "priority", "name", "conditions"];
    let body = rule_fields(call, Some(&allowed)).await?;
    write::update(call.app, call.caller, &RULE, record, Patch::from(&body)).await
}

pub(super) async fn delete_rule(call: Call<'_>) -> Result<Plan> {
    remove(call, &RULE).await
}

/// Reads the stages of a setup.
pub(super) fn stage_list(given: Option<&Value>) -> Result<Vec<Body>> {
    let wrong = || {
        Error::invalid(
            "body_invalid",
            "stages must be a list of objects with name and order",
        )
        .with_hint("GET /api/openclaw/setup shows the schema with an example")
    };
    let list = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong()),
    };
    let mut stages = Vec::with_capacity(list.len());
    for stage in list {
        let stage = stage.as_object().ok_or_else(wrong)?;
        let fields = stage_fields(stage)?;
        if text(&fields, "name").is_none_or(|n| n.trim().is_empty()) {
            return Err(wrong());
        }
        stages.push(fields);
    }
    Ok(stages)
}
