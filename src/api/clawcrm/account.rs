//! The workspace: setup, plan, health, feedback, Calendly.

use serde_json::{Value, json};

use super::pipeline::stage_list;
use super::timeline::named;
use super::wire::{Said, entity, list, part, take_text};
use crate::api::operation::{Call, Data};
use crate::auth::plans::{self, Plan as Tariff};
use crate::auth::{Caller, tenants};
use crate::error::{Error, Result};
use crate::outreach::inbound::calendly;
use crate::outreach::{FEEDBACK, feedback, organisation, stages};
use crate::records::body::{Body, invalid};
use crate::records::plan::Plan;
use crate::records::store::{self, Offset};

/// Members of `org` in a setup.
const ORG: [&str; 6] = [
    "name",
    "website",
    "industry",
    "bookingLink",
    "primaryColor",
    "description",
];
/// Longest text of a profile, in characters.
const TEXT: usize = 2000;

pub(super) async fn setup(call: Call<'_>) -> Result<Plan> {
    let mut profile = Body::new();
    if let Some(slug) = named(call.body, "projectSlug") {
        profile.insert("projectSlug".to_owned(), json!(slug));
    }
    match call.body.get("org") {
        None | Some(Value::Null) => {}
        Some(Value::Object(org)) => {
            for (name, value) in org {
                if !ORG.contains(&name.as_str()) {
                    return Err(invalid(format!("unknown field org.{name}"))
                        .with_hint(format!("org has the fields {}", ORG.join(", "))));
                }
                let is_short = value.as_str().is_some_and(|t| t.chars().count() <= TEXT);
                if !value.is_null() && !is_short {
                    return Err(invalid(format!(
                        "org.{name} must be text of at most {TEXT} characters"
                    )));
                }
                profile.insert(name.clone(), value.clone());
            }
        }
        Some(_) => return Err(invalid("org must be an object")),
    }
    for name in ["website", "bookingLink"] {
        if let Some(link) = named(&profile, name)
            && !url::Url::parse(link).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
        {
            return Err(invalid(format!(
                "org.{name} must be an http or https address"
            )));
        }
    }
    let wanted = stage_list(call.body.get("stages"))?;
    if profile.is_empty() && wanted.is_empty() {
        return Err(invalid("nothing to set up")
            .with_hint("GET /api/openclaw/setup shows the schema with an example"));
    }
    let plan = organisation::set_up(call.app, call.caller, profile.clone(), wanted).await?;
    let mut said = Said::default();
    said.next_steps.push("POST /api/openclaw/leads".to_owned());
    let mut data = Body::from_iter([
        ("success".to_owned(), json!(true)),
        ("id".to_owned(), json!(org_id(call.caller))),
        ("orgId".to_owned(), json!(org_id(call.caller))),
    ]);
    data.insert("org".to_owned(), Value::Object(profile));
    said.put(&mut data);
    Ok(plan.data(200, Value::Object(data)))
}

fn org_id(caller: &Caller) -> String {
    format!("org_{}", caller.tenant())
}

pub(super) async fn setup_schema(call: Call<'_>) -> Result<Data> {
    let known = stages::all(call.app, call.caller.tenant()).await?;
    let stages: Vec<Value> = known
        .iter()
        .map(|s| json!({"id": s.id, "name": s.name, "order": s.position, "color": s.color, "isDefault": s.is_default}))
        .collect();
    let profile = plans::profile(&call.app.db, call.caller.tenant()).await?;
    Ok(Data::One(json!({
        "success": true,
        "schema": {
            "projectSlug": "text",
            "org": {"name": "text", "website": "http or https address", "industry": "text", "bookingLink": "http or https address", "primaryColor": "text", "description": "text"},
            "stages": [{"name": "text, required", "order": "whole number from 0", "color": "text", "isDefault": "true for one of them"}]
        },
        "example": {
            "projectSlug": "acme", "org": {"name": "Acme Dental", "industry": "dental", "bookingLink": "https://calendly.com/acme/demo"},
            "stages": [
                {"name": "Prospects", "order": 0, "isDefault": true}, {"name": "Leads", "order": 1}, {"name": "Engaged", "order": 2}, {"name": "Contacted", "order": 3},
                {"name": "Negotiated", "order": 4}, {"name": "Re-engage later", "order": 5}, {"name": "Closed Won", "order": 6}, {"name": "Closed Lost", "order": 7}
            ]
        },
        "current": {"org": profile, "stages": stages},
        "notes": ["repeating it is safe: stages with a known name are changed, others are added, none is deleted"]
    })))
}

pub(super) async fn tier(call: Call<'_>) -> Result<Data> {
    let usage = organisation::usage(call.app, call.caller).await?;
    let mut said = Said::default();
    if let Some(most) = usage.plan.map(Tariff::leads)
        && usage.leads >= most
    {
        said.warnings
            .push(format!("all {most} leads of the plan are used"));
        said.next_steps.push(
            "ask a person to change the plan, or delete leads with permanent=true".to_owned(),
        );
    }
    let upgrade = Some(&call.app.config.upgrade_url).filter(|url| !url.is_empty());
    let mut answer = Body::from_iter([
        ("orgId".to_owned(), json!(org_id(call.caller))),
        (
            "tier".to_owned(),
            json!(usage.plan.map_or("unlimited", Tariff::as_str)),
        ),
        ("limits".to_owned(), usage.limits()),
        (
            "usage".to_owned(),
            json!({"leads": usage.leads, "campaigns": usage.campaigns}),
        ),
        ("upgrade_url".to_owned(), json!(upgrade)),
    ]);
    said.put(&mut answer);
    Ok(Data::One(Value::Object(answer)))
}

pub(super) async fn health(call: Call<'_>) -> Result<Data> {
    let unread = feedback::unread(call.app, call.caller.tenant()).await?;
    let shown: Vec<Value> = unread.iter().map(feedback::answer).collect::<Result<_>>()?;
    let next: Vec<String> = unread
        .iter()
        .map(|f| {
            let id = FEEDBACK.public_id(&f.id);
            format!("read the response to {id}, act on it, then PATCH /api/openclaw/feedback/{id} {{\"acknowledged\": true}}")
        })
        .collect();
    Ok(Data::One(json!({
        "status": "ok", "action_required": !shown.is_empty(), "unread_responses": shown, "next_steps": next
    })))
}

pub(super) async fn submit_feedback(call: Call<'_>) -> Result<Plan> {
    let mut plan = feedback::submit(call.app, call.caller, call.body.clone()).await?;
    let id = plan
        .record()
        .map(|r| FEEDBACK.public_id(&r.id))
        .unwrap_or_default();
    let mut said = Said::default();
    said.next_steps.push(format!(
        "poll GET /api/openclaw/feedback?id={id} at the start of a session; GET /api/openclaw/health shows the answer, too"
    ));
    said.put(&mut plan.shown);
    Ok(plan)
}

pub(super) async fn list_feedback(call: Call<'_>) -> Result<Data> {
    let part = part(call)?;
    let found;
    let total;
    if let Some(id) = call.query("id") {
        let row = FEEDBACK.row_id(id).unwrap_or(id);
        let one = store::optional(&call.app.db, call.caller.tenant(), &FEEDBACK, row).await?;
        found = Vec::from_iter(one);
        total = i64::try_from(found.len()).unwrap_or(0);
    } else {
        let mut filters = Vec::new();
        for name in ["status", "type", "agent"] {
            filters.extend(call.query(name).map(|v| (name.to_owned(), v.to_owned())));
        }
        let query = Offset {
            filters,
            limit: part.limit,
            offset: part.offset,
            ..Offset::default()
        };
        (found, total) =
            store::at_offset(call.app, call.caller.tenant(), &FEEDBACK, &query).await?;
    }
    let mut shown = Vec::with_capacity(found.len());
    for record in &found {
        let (_, mut json) = entity(&FEEDBACK, record)?;
        json["feedbackId"] = json["id"].clone();
        shown.push(json);
    }
    Ok(Data::One(list("feedback", shown, total, part)))
}

pub(super) async fn update_feedback(call: Call<'_>) -> Result<Plan> {
    let owner = feedback::owner(call.app, call.caller, call.id()).await?;
    if owner != call.caller.tenant() {
        return Err(Error::not_found("record_not_found", "feedback not found").with_hint(
            "feedback of another workspace is answered with PATCH /kb/v1/feedback/{id} or `cairn feedback answer`",
        ));
    }
    feedback::change(call.app, call.caller, call.caller, call.id(), call.body).await
}

pub(super) async fn connect_calendly(call: Call<'_>) -> Result<Data> {
    let mut body = call.body.clone();
    let token = take_text(
        &mut body,
        &["personal_access_token", "personalAccessToken", "token"],
    )?;
    let token = token.ok_or_else(|| {
        invalid("personal_access_token is missing")
            .with_hint("a person creates it at https://calendly.com/integrations/api_webhooks")
    })?;
    if token.len() > 4000 || token.contains(char::is_whitespace) {
        return Err(invalid("personal_access_token is not a token"));
    }
    let base = call.app.config.public_base();
    let mut answer = calendly::connect(call.app, call.caller, &token, &base).await?;
    answer["success"] = json!(true);
    if call.app.config.public_url.is_empty() {
        answer["warnings"] = json!([format!(
            "Calendly was told to send bookings to {base}, which it reaches only if public_url is set to an address on the internet"
        )]);
    }
    Ok(Data::One(answer))
}

pub(super) async fn calendly_status(call: Call<'_>) -> Result<Data> {
    let mut answer = calendly::status(call.app, call.caller).await?;
    answer["success"] = json!(true);
    if answer["connected"] == json!(false) {
        answer["next_steps"] =
            json!(["POST /api/openclaw/integrations/calendly with personal_access_token"]);
    }
    Ok(Data::One(answer))
}

pub(super) async fn disconnect_calendly(call: Call<'_>) -> Result<Data> {
    let (was_connected, left) = calendly::disconnect(call.app, call.caller).await?;
    let mut said = Said::default();
    if let Some(left) = left {
        said.warnings.push(format!(
            "the webhook at Calendly could not be removed ({left}); remove it there"
        ));
    }
    let mut answer = Body::from_iter([
        ("success".to_owned(), json!(true)),
        ("connected".to_owned(), json!(false)),
        ("wasConnected".to_owned(), json!(was_connected)),
    ]);
    said.put(&mut answer);
    Ok(Data::One(Value::Object(answer)))
}

/// Changes the plan of a workspace, for the operator of the installation.
pub(super) async fn set_plan(call: Call<'_>) -> Result<Data> {
    let plan = named(call.body, "tier").or(named(call.body, "plan"));
    let plan = plans::read(plan.ok_or_else(|| {
        invalid("tier is missing").with_hint("send tier: free, pro, ultra or none")
    })?)?;
    let name = named(call.body, "workspace").or(named(call.body, "tenant"));
    let name = name.ok_or_else(|| {
        invalid("workspace is missing").with_hint("send workspace, the name of the tenant")
    })?;
    tenants::need_operator(&call.app.db, call.caller).await?;
    let tenant = plans::set(&call.app.db, &call.app.clock, call.caller, name, plan).await?;
    Ok(Data::One(json!({
        "success": true, "orgId": format!("org_{}", tenant.id), "workspace": tenant.name, "tier": tenant.plan.map_or("unlimited", Tariff::as_str)
    })))
}
