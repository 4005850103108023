//! Notes, touchpoints, playbooks and figures.

use serde_json::{Value, json};

use super::leads::events;
use super::pipeline::records;
use super::wire::{
    NOTE_TYPES, Said, deleted, entity, flag, lead_of, list, named_id, part, take, take_text,
};
use crate::api::operation::{Call, Data};
use crate::auth::Scope;
use crate::crm::{LEAD, LEAD_NOTE};
use crate::error::{Error, Result};
use crate::outreach::touchpoints::{self, Touch};
use crate::outreach::{PLAYBOOK, analytics, leads, playbooks};
use crate::records::Record;
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Plan;
use crate::records::store;
use crate::records::write::{self, New, Patch};
use crate::work::ACTIVITY;

/// Returns the lead that the query string names.
async fn lead_in_query(call: Call<'_>) -> Result<Record> {
    let id = call
        .query("leadId")
        .or(call.query("lead_id"))
        .ok_or_else(|| {
            Error::invalid("id_missing", "leadId is missing")
                .with_hint("send leadId in the query string")
        })?;
    leads::load(call.app, call.caller.tenant(), id).await
}

pub(super) async fn list_notes(call: Call<'_>) -> Result<Data> {
    let lead = lead_in_query(call).await?;
    let mut filters = vec![("lead_id".to_owned(), LEAD.public_id(&lead.id))];
    if let Some(word) = call.query("type") {
        if !NOTE_TYPES.contains(&word) {
            return Err(Error::invalid(
                "parameter_invalid",
                format!("type must be one of {}", NOTE_TYPES.join(", ")),
            ));
        }
        filters.push(("type".to_owned(), word.to_owned()));
    }
    if let Some(pinned) = flag(call, "pinned")? {
        filters.push(("pinned".to_owned(), pinned.to_string()));
    }
    records(call, &LEAD_NOTE, "notes", filters).await
}

pub(super) async fn create_note(call: Call<'_>) -> Result<Plan> {
    let mut body = call.body.clone();
    let lead = leads::load(call.app, call.caller.tenant(), lead_of(&body)?).await?;
    take(&mut body, &["leadId", "lead_id"])?;
    if let Some(content) = take(&mut body, &["content", "text", "body"])? {
        body.insert("content".to_owned(), content);
    }
    body.insert("lead_id".to_owned(), json!(LEAD.public_id(&lead.id)));
    write::create(call.app, call.caller, &LEAD_NOTE, New::from(&body)).await
}

async fn note(call: Call<'_>) -> Result<Record> {
    let id = named_id(call, "noteId")?;
    let row = LEAD_NOTE.row_id(id).unwrap_or(id);
    let found = store::optional(&call.app.db, call.caller.tenant(), &LEAD_NOTE, row).await?;
    found.ok_or_else(|| {
        store::not_found(&LEAD_NOTE)
            .with_hint("GET /api/openclaw/notes?leadId=… lists the notes of a lead")
    })
}

pub(super) async fn update_note(call: Call<'_>) -> Result<Plan> {
    let note = note(call).await?;
    let mut body = call.body.clone();
    take(&mut body, &["id"])?;
    take(&mut body, &["noteId"])?;
    if let Some(other) = body
        .keys()
        .find(|name| !matches!(name.as_str(), "content" | "pinned"))
    {
        return Err(invalid(format!("{other} of a note cannot be changed"))
            .with_hint("send content, pinned or both"));
    }
    if body.is_empty() {
        return Err(invalid("nothing to change").with_hint("send content, pinned or both"));
    }
    write::update(call.app, call.caller, &LEAD_NOTE, note, Patch::from(&body)).await
}

pub(super) async fn delete_note(call: Call<'_>) -> Result<Plan> {
    let note = note(call).await?;
    let data = deleted(&LEAD_NOTE, &note);
    let mut plan = Plan::default();
    plan.delete(&LEAD_NOTE, note);
    Ok(plan.data(200, data))
}

pub(super) async fn list_touchpoints(call: Call<'_>) -> Result<Data> {
    call.caller.need(Scope::CrmRead)?;
    let (lead, part) = (lead_in_query(call).await?, part(call)?);
    let (found, total) = touchpoints::list(
        call.app,
        call.caller.tenant(),
        &lead,
        part.limit,
        part.offset,
    )
    .await?;
    let shown = found.iter().map(|touch| Ok(entity(&ACTIVITY, touch)?.1));
    Ok(Data::One(list(
        "touchpoints",
        shown.collect::<Result<_>>()?,
        total,
        part,
    )))
}

/// Reads a touchpoint.
fn touch(given: &Body) -> Result<Touch> {
    let mut body = given.clone();
    take(&mut body, &["leadId", "lead_id"])?;
    let touchpoint_type = take_text(&mut body, &["type", "touchpointType", "event"])?;
    let touchpoint_type = touchpoint_type.ok_or_else(|| {
        invalid("type is missing").with_hint(format!(
            "send type: any word such as call or email, or an event that is counted: {}",
            events().join(", ")
        ))
    })?;
    let summary = take_text(&mut body, &["summary", "subject", "title"])?;
    let text = take_text(
        &mut body,
        &["notes", "body", "content", "description", "text"],
    )?;
    let occurred_at = take_text(
        &mut body,
        &["occurredAt", "occurred_at", "timestamp", "date"],
    )?;
    let value = match take(&mut body, &["value", "score", "percent"])? {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => number.as_f64(),
        Some(_) => return Err(invalid("value must be a number from 0 to 100")),
    };
    let mut metadata = match body.shift_remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        None | Some(Value::Null) => Body::new(),
        Some(_) => return Err(invalid("metadata must be an object")),
    };
    metadata.extend(body);
    Ok(Touch {
        touchpoint_type,
        summary: summary.unwrap_or_default(),
        text,
        occurred_at,
        value,
        metadata,
    })
}

pub(super) async fn log_touchpoint(call: Call<'_>) -> Result<Plan> {
    // It is an activity, and may change the lead.
    call.caller.need(Scope::CrmWrite)?;
    let lead = leads::load(call.app, call.caller.tenant(), lead_of(call.body)?).await?;
    let id = format!("rp_{}", lead.id);
    let mut plan = touchpoints::log(call.app, call.caller, lead, touch(call.body)?).await?;
    let mut said = Said::default();
    let moved = plan
        .shown
        .get("automation")
        .map(|a| a["movedTo"]["name"].clone());
    if let Some(Value::String(stage)) = moved {
        said.next_steps.push(format!(
            "a rule moved the lead to {stage}: POST /api/openclaw/playbooks {{\"leadId\": \"{id}\"}}"
        ));
    }
    plan.shown.insert("leadId".to_owned(), json!(id));
    plan.shown.insert("stalledCleared".to_owned(), json!(true));
    said.put(&mut plan.shown);
    Ok(plan)
}

pub(super) async fn list_playbooks(call: Call<'_>) -> Result<Data> {
    let found = playbooks::list(
        call.app,
        call.caller,
        call.query("tier"),
        call.query("stage"),
    )
    .await?;
    let total = found.len();
    Ok(Data::One(
        json!({"success": true, "playbooks": found, "total": total}),
    ))
}

pub(super) async fn recommend_playbook(call: Call<'_>) -> Result<Data> {
    let lead = leads::load(call.app, call.caller.tenant(), lead_of(call.body)?).await?;
    let mut answer = playbooks::recommend(call.app, call.caller, &lead).await?;
    answer["success"] = json!(true);
    answer["leadId"] = json!(format!("rp_{}", lead.id));
    let first = answer["playbook"]["steps"][0]["action"]
        .as_str()
        .map(str::to_owned);
    if let Some(first) = first {
        answer["next_steps"] = json!([first]);
    }
    Ok(Data::One(answer))
}

/// Adds a playbook of the workspace, or changes the one that `id` names.
pub(super) async fn put_playbook(call: Call<'_>) -> Result<Plan> {
    let mut body = call.body.clone();
    let id = take_text(&mut body, &["id"])?;
    for (one, many) in [("tier", "tiers"), ("stage", "stages")] {
        if let Some(word) = take_text(&mut body, &[one])? {
            body.insert(many.to_owned(), json!([word]));
        }
    }
    body.shift_remove("builtIn");
    match id {
        None => write::create(call.app, call.caller, &PLAYBOOK, New::from(&body)).await,
        Some(id) => {
            let record = store::load(call.app, call.caller.tenant(), &PLAYBOOK, &id).await?;
            write::update(call.app, call.caller, &PLAYBOOK, record, Patch::from(&body)).await
        }
    }
}

pub(super) async fn delete_playbook(call: Call<'_>) -> Result<Plan> {
    let id = named_id(call, "playbookId")?;
    let record = store::load(call.app, call.caller.tenant(), &PLAYBOOK, id)
        .await
        .map_err(|error| {
            error
                .with_hint("only playbooks of the workspace can be deleted; the built-in ones stay")
        })?;
    let data = deleted(&PLAYBOOK, &record);
    let mut plan = Plan::default();
    plan.delete(&PLAYBOOK, record);
    Ok(plan.data(200, data))
}

pub(super) async fn analytics(call: Call<'_>) -> Result<Data> {
    let days = match call.query("days") {
        None => 30,
        Some(text) => {
            let days = text.trim().parse().ok().filter(|n| (1..=3650).contains(n));
            days.ok_or_else(|| {
                Error::invalid(
                    "parameter_invalid",
                    "days must be a whole number from 1 to 3650",
                )
            })?
        }
    };
    let mut answer = analytics::pipeline(call.app, call.caller, days).await?;
    answer["success"] = json!(true);
    Ok(Data::One(answer))
}

/// Reads the name of a body's member.
pub(super) fn named<'a>(body: &'a Body, name: &str) -> Option<&'a str> {
    text(body, name).filter(|t| !t.trim().is_empty())
}
