//! Campaigns: sequences of mails, enrolments, and the queue.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::timeline::named;
use super::wire::{Said, entity, lead_of, list, part, rename};
use crate::api::operation::{Call, Data};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::outreach::sequences::mails::Counts;
use crate::outreach::sequences::{TRIGGERS, enrol, mails, receivers};
use crate::outreach::{SEQUENCE, leads};
use crate::records::Record;
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Plan;
use crate::records::store::{self, Offset};
use crate::records::write::{self, New, Patch};

/// Mails of a campaign or a lead that are shown.
const MAILS: i64 = 500;

const NAMES: [(&[&str], &str); 5] = [
    (&["trigger", "triggerEvent", "trigger_event"], "trigger"),
    (&["steps", "sequence"], "steps"),
    (&["ai_enabled", "aiEnabled"], "ai_enabled"),
    (&["ai_config", "aiConfig"], "ai_config"),
    (&["datasetIds", "dataset_ids"], "dataset_ids"),
];

fn fields(given: &Body) -> Result<Body> {
    let mut body = given.clone();
    body.shift_remove("id");
    rename(&mut body, &NAMES)?;
    Ok(body)
}

/// Returns the counts of one campaign.
fn of(counts: &HashMap<String, Counts>, campaign: &Record) -> Value {
    counts
        .get(&campaign.id)
        .map_or_else(|| Counts::default().to_json(), Counts::to_json)
}

pub(super) async fn list_campaigns(call: Call<'_>) -> Result<Data> {
    let part = part(call)?;
    let mut filters = Vec::new();
    for name in ["status", "trigger"] {
        filters.extend(call.query(name).map(|v| (name.to_owned(), v.to_owned())));
    }
    let query = Offset {
        filters,
        limit: part.limit,
        offset: part.offset,
        ..Offset::default()
    };
    let (found, total) =
        store::at_offset(call.app, call.caller.tenant(), &SEQUENCE, &query).await?;
    let counts = mails::counts(call.app, call.caller.tenant(), None).await?;
    let mut shown = Vec::with_capacity(found.len());
    for campaign in &found {
        let (_, mut json) = entity(&SEQUENCE, campaign)?;
        json["counts"] = of(&counts, campaign);
        shown.push(json);
    }
    let mut answer = list("campaigns", shown, total, part);
    answer["triggers"] = json!(TRIGGERS);
    Ok(Data::One(answer))
}

fn advise(call: Call<'_>, body: &Body, plan: &mut Plan) {
    let mut said = Said::default();
    if body.get("ai_enabled") == Some(&json!(true)) && call.app.answers.is_none() {
        said.warnings.push(
            "ai_enabled, but no language model is configured (answer_url): mails are written from their templates".to_owned(),
        );
    }
    if call.app.config.mail_url.is_empty() {
        said.warnings.push(
            "no mail server is configured (mail_url): mails are written as files to the folder mail of the data directory".to_owned(),
        );
    }
    let id = plan
        .record()
        .map(|r| SEQUENCE.public_id(&r.id))
        .unwrap_or_default();
    if body.get("trigger").is_none_or(|t| t == "manual") {
        said.next_steps.push(format!(
            "POST /api/openclaw/campaigns/{id}/enroll {{\"leadId\": \"rp_…\"}}"
        ));
    }
    said.put(&mut plan.shown);
}

pub(super) async fn create(call: Call<'_>) -> Result<Plan> {
    let body = fields(call.body)?;
    let mut plan = write::create(call.app, call.caller, &SEQUENCE, New::from(&body)).await?;
    advise(call, &body, &mut plan);
    Ok(plan)
}

pub(super) async fn update(call: Call<'_>) -> Result<Plan> {
    let record = enrol::load(call.app, call.caller.tenant(), call.id()).await?;
    let body = fields(call.body)?;
    if body.is_empty() {
        return Err(invalid("nothing to change").with_hint("send status, name, steps or trigger"));
    }
    let mut plan =
        write::update(call.app, call.caller, &SEQUENCE, record, Patch::from(&body)).await?;
    advise(call, &body, &mut plan);
    Ok(plan)
}

pub(super) async fn enroll(call: Call<'_>) -> Result<Plan> {
    let mut plan = enrol::enrol(call.app, call.caller, call.id(), lead_of(call.body)?).await?;
    plan.shown.insert("success".to_owned(), json!(true));
    plan.shown.insert("enrolled".to_owned(), json!(true));
    Ok(plan)
}

/// Shows the queue of a campaign: its mails with their states, and what was sent.
pub(super) async fn queue(call: Call<'_>) -> Result<Data> {
    let campaign = enrol::load(call.app, call.caller.tenant(), call.id()).await?;
    let lead = match call.query("leadId") {
        Some(id) => Some(leads::load(call.app, call.caller.tenant(), id).await?.id),
        None => None,
    };
    let found = mails::list(
        call.app,
        call.caller.tenant(),
        &campaign.id,
        lead.as_deref(),
        MAILS,
    )
    .await?;
    let shown: Vec<Value> = found
        .iter()
        .map(mails::Mail::to_json)
        .collect::<Result<_>>()?;
    let counts = mails::counts(call.app, call.caller.tenant(), Some(&campaign.id)).await?;
    let counts = of(&counts, &campaign);
    Ok(Data::One(
        json!({"success": true, "emails": shown, "counts": counts}),
    ))
}

/// Serves the operation of older clients: a campaign of its own for one lead.
pub(super) async fn send_sequence(call: Call<'_>) -> Result<Plan> {
    let lead = lead_of(call.body)?;
    let body = fields(call.body)?;
    let lead = leads::load(call.app, call.caller.tenant(), lead).await?;
    let steps = body.get("steps").cloned().ok_or_else(|| {
        invalid("sequence is missing")
            .with_hint("send sequence: [{\"delayMinutes\", \"subject\", \"body\"}]")
    })?;
    let name =
        named(&body, "name").map_or_else(|| format!("Sequence for {}", lead.title), str::to_owned);
    let new = Body::from_iter([
        ("name".to_owned(), json!(name)),
        ("trigger".to_owned(), json!("manual")),
        ("steps".to_owned(), steps),
    ]);
    let campaign = write::create(call.app, call.caller, &SEQUENCE, New::from(&new)).await?;
    let record = campaign
        .record()
        .cloned()
        .ok_or_else(|| Error::internal("a campaign without a record"))?;
    let enrolled = enrol::enrol_new(call.app, call.caller, &record, &lead)?;
    let mut plan = campaign.with(enrolled);
    plan.shown.insert("success".to_owned(), json!(true));
    Ok(plan)
}

/// Lists the addresses that get no mails.
pub(super) async fn blocked(call: Call<'_>) -> Result<Data> {
    let part = part(call)?;
    let tenant_id = call.caller.tenant();
    let (found, total) = receivers::blocked(call.app, tenant_id, part.limit, part.offset).await?;
    let shown = found.iter().map(|b| {
        json!({"address": b.address, "reason": b.blocked, "blockedAt": b.blocked_on.map(Time::rfc3339)})
    });
    Ok(Data::One(list("addresses", shown.collect(), total, part)))
}

pub(super) fn unblock(call: Call<'_>) -> Result<Plan> {
    let address = call.query("address").or(text(call.body, "address"));
    let address = address.ok_or_else(|| {
        Error::invalid("parameter_invalid", "address is missing")
            .with_hint("GET /api/openclaw/email/blocked lists the blocked addresses")
    })?;
    let plan = receivers::unblock(call.caller.tenant(), address);
    let data = json!({
        "success": true, "address": address.trim().to_lowercase(), "blocked": false,
        "warnings": ["write to somebody who has unsubscribed only with their consent"],
        "next_steps": ["POST /api/openclaw/campaigns/{campaignId}/enroll enrols its leads again"]
    });
    Ok(plan.data(200, data))
}
