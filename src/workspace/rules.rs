//! The rules of each kind: what a new record needs beside its fields, and what a change of one does.

use std::time::Duration;

use serde_json::{Value, json};

use super::body::{Body, CURRENCY, forbidden, invalid, text};
use super::commit::{self, Plan};
use super::spec::{self, Kind, Type};
use super::{check, linked, money, store};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::records::Record;

/// Stages that every workspace has beside its own.
pub(super) const STAGES: [&str; 7] = [
    "new",
    "discovery",
    "qualified",
    "proposal",
    "negotiation",
    "won",
    "lost",
];
/// Moves of a deal that it remembers; the audit has all.
const MOVES: usize = 100;

/// What a related resource is called by callers, and its kind.
fn kind_of(related: &str) -> &str {
    match related {
        "lead" => "crm_lead",
        "task" => "crm_task",
        other => other,
    }
}

/// Loads everything that a body points to.
///
/// # Errors
/// `record_not_found` names the field that leads nowhere; `body_invalid`.
async fn links(app: &App, caller: &Caller, kind: &Kind, body: &Body) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    for field in kind.fields {
        let Type::Link(kinds) = field.holds else {
            continue;
        };
        let Some(id) = text(body, field.name) else {
            continue;
        };
        let target = Kind::of_id(id).filter(|k| kinds.contains(&k.name));
        let Some(target) = target else {
            return Err(Error::not_found(
                "record_not_found",
                format!("{} leads to nothing here", field.name),
            ));
        };
        if field.name == "related_resource_id"
            && text(body, "related_resource_type").is_some_and(|t| kind_of(t) != target.name)
        {
            return Err(invalid(
                "related_resource_id is no id of related_resource_type",
            ));
        }
        let record = store::load(app, caller.tenant(), target, id)
            .await
            .map_err(|e| match e.code() {
                "record_not_found" => Error::not_found(
                    "record_not_found",
                    format!("{} leads to nothing here", field.name),
                ),
                _ => e,
            })?;
        found.push(record);
    }
    if kind.field("related_resource_id").is_some()
        && text(body, "related_resource_type").is_some()
            != text(body, "related_resource_id").is_some()
    {
        return Err(invalid(
            "related_resource_type and related_resource_id come together",
        ));
    }
    Ok(found)
}

/// A plan that makes a record.
///
/// # Errors
/// `body_invalid`, `record_not_found`, and those of the kind's rules.
pub async fn create(app: &App, caller: &Caller, kind: &'static Kind, given: &Body) -> Result<Plan> {
    let mut body = given.clone();
    check::own(given)?;
    check::body(kind, &body, true)?;
    let found = links(app, caller, kind, &body).await?;
    let mut plan = Plan::default();
    plan.relied_on
        .extend(linked::fill(kind, &mut body, given, None, found)?);
    match kind.name {
        "crm_lead" => {
            if text(&body, "status").is_some_and(|s| s == "converted") {
                return Err(invalid("a lead is converted by its own operation"));
            }
            body.entry("source").or_insert(json!("api"));
        }
        "deal" => {
            body.entry("stage").or_insert(json!("new"));
            stage(app, caller, &body).await?;
            if body.get("amount_cents").is_some_and(|a| !a.is_null()) {
                body.entry("currency").or_insert(json!(CURRENCY));
            }
        }
        "invoice" => money::invoice(&mut body)?,
        "payment" => return money::payment(app, caller, body).await,
        "journal_entry" => money::journal(app, caller, &mut body).await?,
        "support_queue" | "deal_stage" | "cms_site" | "marketing_campaign" => {}
        "ticket" => {
            body.entry("priority").or_insert(json!("normal"));
            body.entry("source").or_insert(json!("api"));
            due(app, caller, &mut body, app.clock.now()).await?;
        }
        "crm_task" => completed(&mut body, text(given, "status"), app.clock.now()),
        "activity" => {
            body.entry("occurred_on")
                .or_insert(json!(app.clock.now().rfc3339()));
        }
        "cms_collection" => super::content::collection(&body)?,
        "cms_entry" => {
            body.entry("fields").or_insert(json!({}));
            super::content::entry(app, caller, &body, text(&body, "status")).await?;
            if text(&body, "status") == Some("published") {
                body.insert("published_at".to_owned(), json!(app.clock.now().rfc3339()));
            }
        }
        "analytics_event" | "analytics_property" | "event_type" => {}
        "webhook" => {
            super::webhooks::endpoint(app, &body)?;
            super::webhooks::may_hear(caller, &body)?;
            return super::webhooks::create(app, caller, body);
        }
        "asset" => return super::assets::intent(app, caller, body),
        "bi_dataset" | "bi_report" | "bi_metric" | "bi_export" | "bi_artifact" | "bi_dashboard" => {
            return super::bi::create(app, caller, kind, body).await;
        }
        _ => {}
    }
    let record = commit::draft(app, caller, kind, body, None);
    let shown = plan.add(kind, record)?;
    Ok(plan.made(shown))
}

/// A plan that changes a record: null removes a field.
///
/// # Errors
/// `record_not_found`, `body_invalid`, `status_move_invalid`, and those of the kind's rules.
pub async fn update(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    id: &str,
    given: &Body,
) -> Result<Plan> {
    let before = store::load(app, caller.tenant(), kind, id).await?;
    check::own(given)?;
    check::body(kind, given, false)?;
    let mut after = before.clone();
    let old = before.body()?;
    let mut body = old.clone();
    for (name, value) in given {
        if name == "status" {
            after.status = moved(kind, &before, value)?;
        } else if value.is_null() {
            body.shift_remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    check::body(kind, &body, true)?;
    let changed: Body = body
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let found = links(app, caller, kind, &body).await?;
    let company = linked::fill(kind, &mut body, given, Some(&old), found)?;
    let now = app.clock.now();
    let mut is_set_up = false;
    match kind.name {
        "deal" => {
            if changed.contains_key("stage") {
                stage(app, caller, &body).await?;
                let mut moves = body
                    .get("stage_moves")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                moves.push(json!({"from": old.get("stage"), "to": body.get("stage"), "at": now.rfc3339(), "by": caller.key_id()}));
                let keep = moves.len().saturating_sub(MOVES);
                body.insert("stage_moves".to_owned(), json!(&moves[keep..]));
            }
            if body.contains_key("amount_cents") {
                body.entry("currency").or_insert(json!(CURRENCY));
            }
        }
        "ticket" => {
            if changed.contains_key("queue_id") && !body.contains_key("first_responded_at") {
                due(app, caller, &mut body, before.created_on).await?;
            }
            let ended = |status: &Option<String>| {
                status
                    .as_deref()
                    .is_some_and(|s| matches!(s, "resolved" | "closed"))
            };
            if ended(&after.status) && !ended(&before.status) {
                body.insert("resolved_at".to_owned(), json!(now.rfc3339()));
            } else if !ended(&after.status) {
                body.shift_remove("resolved_at");
            }
        }
        "crm_task" => completed(&mut body, after.status.as_deref(), now),
        "cms_entry" => {
            super::content::entry(app, caller, &body, after.status.as_deref()).await?;
            if after.status != before.status && after.status.as_deref() == Some("published") {
                body.insert("published_at".to_owned(), json!(now.rfc3339()));
            }
        }
        "webhook" => {
            // Who only pauses an endpoint hears nothing new; who sets it up again takes it over.
            let is_active = after.status.as_deref() == Some("active");
            is_set_up = (is_active && after.status != before.status)
                || ["url", "event_types"]
                    .iter()
                    .any(|f| old.get(*f) != body.get(*f));
            if is_set_up {
                super::webhooks::endpoint(app, &body)?;
                super::webhooks::may_hear(caller, &body)?;
            }
        }
        name if name.starts_with("bi_") => super::bi::check(app, caller, kind, &body).await?,
        _ => {}
    }
    after.title = commit::title(kind, &body);
    after.body = Value::Object(body).to_string();
    let mut plan = Plan::default();
    plan.relied_on.extend(company);
    if is_set_up {
        plan.set_up.push(after.id.clone());
    }
    if kind.name == spec::WEBHOOK.name && after.status.as_deref() == Some("active") {
        plan.resumed.push(after.id.clone());
    }
    let shown = plan.change(kind, before, after, now)?;
    Ok(plan.answering(shown))
}

/// A plan that archives a record.
///
/// # Errors
/// `record_not_found`.
pub async fn archive(app: &App, caller: &Caller, kind: &'static Kind, id: &str) -> Result<Plan> {
    let before = store::load(app, caller.tenant(), kind, id).await?;
    let mut plan = Plan::default();
    if before.status.as_deref() == Some("archived") {
        let shown = commit::view(kind, &before)?;
        return Ok(plan.answering(shown));
    }
    let after = Record {
        status: Some("archived".to_owned()),
        ..before.clone()
    };
    let shown = plan.change(kind, before, after, app.clock.now())?;
    Ok(plan.answering(shown))
}

/// The status that a record moves to.
fn moved(kind: &Kind, before: &Record, value: &Value) -> Result<Option<String>> {
    let (Some(life), Some(to)) = (kind.life, value.as_str()) else {
        return Err(invalid("status cannot be removed"));
    };
    let from = before.status.as_deref().unwrap_or_default();
    let allowed = life
        .moves
        .iter()
        .find(|(state, _)| *state == from)
        .is_none_or(|(_, to_states)| to_states.contains(&to));
    if from != to && !allowed {
        return Err(forbidden(
            "status_move_invalid",
            format!("it is {from}, and cannot become {to}"),
        ));
    }
    Ok(Some(to.to_owned()))
}

/// Checks the stage of a deal: the key or the id of a stage, or one that every workspace has.
async fn stage(app: &App, caller: &Caller, body: &Body) -> Result<()> {
    let Some(stage) = text(body, "stage") else {
        return Ok(());
    };
    if STAGES.contains(&stage)
        || spec::STAGE.id(stage).is_some()
            && store::load(app, caller.tenant(), spec::STAGE, stage)
                .await
                .is_ok()
    {
        return Ok(());
    }
    let wanted = store::Wanted {
        filters: vec![("key".to_owned(), stage.to_owned())],
        limit: 1,
        ..store::Wanted::default()
    };
    let (found, _) = store::list(app, caller.tenant(), spec::STAGE, &wanted).await?;
    if found.is_empty() {
        return Err(Error::not_found(
            "record_not_found",
            format!(
                "there is no deal stage {stage:?}; make one, or take one of {}",
                STAGES.join(", ")
            ),
        ));
    }
    Ok(())
}

/// When somebody should have answered a ticket, by the target of its queue.
async fn due(app: &App, caller: &Caller, body: &mut Body, since: Time) -> Result<()> {
    let Some(id) = text(body, "queue_id") else {
        body.shift_remove("first_response_due_at");
        return Ok(());
    };
    let queue = store::load(app, caller.tenant(), spec::QUEUE, id).await?;
    let target = queue
        .body()?
        .get("first_response_target_minutes")
        .and_then(Value::as_u64);
    match target {
        Some(minutes) => {
            let at = since.plus(Duration::from_secs(minutes * 60));
            body.insert("first_response_due_at".to_owned(), json!(at.rfc3339()));
        }
        None => {
            body.shift_remove("first_response_due_at");
        }
    }
    Ok(())
}

/// A task that is completed tells since when.
fn completed(body: &mut Body, status: Option<&str>, now: Time) {
    if status == Some("completed") {
        body.entry("completed_at").or_insert(json!(now.rfc3339()));
    } else {
        body.shift_remove("completed_at");
    }
}

/// A plan that makes a contact, a company and perhaps a deal of a lead, once.
///
/// # Errors
/// `record_not_found`, `body_invalid`; `lead_not_convertible` for one that is disqualified.
pub async fn convert(app: &App, caller: &Caller, id: &str, given: &Body) -> Result<Plan> {
    let kind = spec::LEAD;
    let before = store::load(app, caller.tenant(), kind, id).await?;
    let flag = match given.get("create_deal") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return Err(invalid("create_deal is true or false")),
    };
    let mut plan = Plan::default();
    match before.status.as_deref() {
        Some("converted") => {
            // Done already: the same is answered, and nothing is made twice.
            let shown = commit::view(kind, &before)?;
            return Ok(plan.answering(shown));
        }
        Some("disqualified") => {
            return Err(forbidden(
                "lead_not_convertible",
                "a disqualified lead is not converted",
            ));
        }
        _ => {}
    }
    let mut body = before.body()?;
    let pick = |names: &[&str]| -> Body {
        names
            .iter()
            .filter_map(|n| Some(((*n).to_owned(), body.get(*n)?.clone())))
            .collect()
    };
    let mut contact = pick(&["name", "email", "phone", "company_name", "notes"]);
    let mut links: Vec<(&str, String)> = Vec::new();
    if let Some(name) = text(&body, "company_name")
        .map(str::trim)
        .filter(|n| !n.is_empty())
    {
        let company = company(app, caller, name).await?;
        let company_id = match company {
            Some(found) => spec::COMPANY.shown(&found.id),
            None => {
                let new = Body::from_iter([("name".to_owned(), json!(name))]);
                let record = commit::draft(app, caller, spec::COMPANY, new, None);
                let shown = spec::COMPANY.shown(&record.id);
                plan.add(spec::COMPANY, record)?;
                shown
            }
        };
        contact.insert("company_id".to_owned(), json!(company_id));
        links.push(("company_id", company_id));
    }
    let record = commit::draft(app, caller, spec::CONTACT, contact, None);
    links.push(("contact_id", spec::CONTACT.shown(&record.id)));
    plan.add(spec::CONTACT, record)?;
    if flag {
        let name = text(given, "deal_name").unwrap_or(&before.title).to_owned();
        let mut deal = Body::from_iter([
            ("name".to_owned(), json!(name)),
            ("stage".to_owned(), json!("new")),
            ("lead_id".to_owned(), json!(kind.shown(&before.id))),
        ]);
        for name in ["amount_cents", "currency"] {
            if let Some(value) = given.get(name) {
                deal.insert(name.to_owned(), value.clone());
            }
        }
        for (name, id) in &links {
            deal.insert((*name).to_owned(), json!(id));
        }
        if let Some(name) = body.get("company_name") {
            deal.insert("company_name".to_owned(), name.clone());
        }
        if deal.contains_key("amount_cents") {
            deal.entry("currency").or_insert(json!(CURRENCY));
        }
        check::body(spec::DEAL, &deal, true)?;
        let record = commit::draft(app, caller, spec::DEAL, deal, None);
        links.push(("deal_id", spec::DEAL.shown(&record.id)));
        plan.add(spec::DEAL, record)?;
    }
    for (name, id) in links {
        body.insert(name.to_owned(), json!(id));
    }
    let now = app.clock.now();
    body.insert("converted_at".to_owned(), json!(now.rfc3339()));
    let after = Record {
        status: Some("converted".to_owned()),
        body: Value::Object(body).to_string(),
        ..before.clone()
    };
    let shown = plan.change(kind, before, after, now)?;
    plan.events
        .push(("lead.converted".to_owned(), shown.clone()));
    Ok(plan.answering(shown))
}

/// The company with a name, whatever its case.
async fn company(app: &App, caller: &Caller, name: &str) -> Result<Option<Record>> {
    let wanted = store::Wanted {
        filters: vec![("name".to_owned(), name.to_owned())],
        limit: 1,
        ..store::Wanted::default()
    };
    let (found, _) = store::list(app, caller.tenant(), spec::COMPANY, &wanted).await?;
    Ok(found.into_iter().next())
}

/// A plan that adds a message to a ticket. The first answer counts for the target of its queue; a customer's word opens a ticket that waited for it.
///
/// # Errors
/// `record_not_found`, `body_invalid`.
pub async fn message(app: &App, caller: &Caller, ticket_id: &str, given: &Body) -> Result<Plan> {
    let before = store::load(app, caller.tenant(), spec::TICKET, ticket_id).await?;
    let mut body = given.clone();
    body.entry("direction").or_insert(json!("outbound"));
    body.entry("channel").or_insert(json!("api"));
    check::body(spec::MESSAGE, &body, true)?;
    body.insert("ticket_id".to_owned(), json!(ticket_id));
    let now = app.clock.now();
    let mut plan = Plan::default();
    let mut ticket = before.body()?;
    let mut after = before.clone();
    let status = before.status.as_deref().unwrap_or_default();
    if text(&body, "direction") == Some("outbound") {
        if !ticket.contains_key("first_responded_at") {
            ticket.insert("first_responded_at".to_owned(), json!(now.rfc3339()));
            let late = text(&ticket, "first_response_due_at")
                .is_some_and(|due| now.rfc3339().as_str() > due);
            ticket.insert("first_response_late".to_owned(), json!(late));
        }
        if status == "new" {
            after.status = Some("open".to_owned());
        }
    } else if matches!(status, "waiting_on_customer" | "resolved" | "closed") {
        after.status = Some("open".to_owned());
        ticket.shift_remove("resolved_at");
    }
    ticket.insert("last_message_at".to_owned(), json!(now.rfc3339()));
    after.body = Value::Object(ticket).to_string();
    plan.change(spec::TICKET, before.clone(), after, now)?;
    let record = commit::draft(app, caller, spec::MESSAGE, body, Some(before.id));
    let shown = plan.add(spec::MESSAGE, record)?;
    Ok(plan.made(shown))
}

/// A plan that adds an internal comment to a ticket.
///
/// # Errors
/// `record_not_found`, `body_invalid`.
pub async fn comment(app: &App, caller: &Caller, ticket_id: &str, given: &Body) -> Result<Plan> {
    let ticket = store::load(app, caller.tenant(), spec::TICKET, ticket_id).await?;
    let mut body = given.clone();
    body.entry("pinned").or_insert(json!(false));
    check::body(spec::COMMENT, &body, true)?;
    body.insert("ticket_id".to_owned(), json!(ticket_id));
    let mut plan = Plan::default();
    let record = commit::draft(app, caller, spec::COMMENT, body, Some(ticket.id));
    let shown = plan.add(spec::COMMENT, record)?;
    Ok(plan.made(shown))
}
