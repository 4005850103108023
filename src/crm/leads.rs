//! Leads: their conversion to a contact, a company and perhaps a deal.

use serde_json::{Value, json};

use super::{COMPANY, CONTACT, CURRENCY, DEAL, LEAD};
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::records::body::{Body, forbidden, invalid, text};
use crate::records::plan::{Change, Plan};
use crate::records::store::{self, ListQuery};
use crate::records::write::{self, New};
use crate::records::{Record, check};

pub(super) fn complete(change: &mut Change<'_>) -> Result<()> {
    if change.is_new() {
        if change.status() == Some("converted") {
            return Err(invalid(
                "a new lead cannot have the status converted; use the convert operation",
            ));
        }
        change.body.entry("source").or_insert(json!("api"));
    }
    Ok(())
}

/// Returns a plan that makes a contact, a company and perhaps a deal of a lead, once: a converted lead stays as it is.
///
/// # Errors
/// `record_not_found`, `body_invalid`; `lead_not_convertible` for one that is disqualified.
pub async fn convert(app: &App, caller: &Caller, public_id: &str, given: &Body) -> Result<Plan> {
    let before = store::load(app, caller.tenant(), &LEAD, public_id).await?;
    let with_deal = match given.get("create_deal") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return Err(invalid("create_deal must be true or false")),
    };
    let mut plan = Plan::default();
    match before.status.as_deref() {
        Some("converted") => return Ok(plan.unchanged(&LEAD, before)),
        Some("disqualified") => {
            return Err(forbidden(
                "lead_not_convertible",
                "a disqualified lead cannot be converted",
            ));
        }
        _ => {}
    }
    let mut body = before.body()?;
    let mut contact: Body = ["name", "email", "phone", "company_name", "notes"]
        .iter()
        .filter_map(|n| Some(((*n).to_owned(), body.get(*n)?.clone())))
        .collect();
    contact.entry("name").or_insert_with(|| json!(before.title));
    let mut links: Vec<(&str, String)> = Vec::new();
    let company_name = text(&body, "company_name").map(str::trim);
    if let Some(name) = company_name.filter(|n| !n.is_empty()) {
        let company_id = match company(app, caller, name).await? {
            Some(found) => found.id,
            None => {
                let new = Body::from_iter([("name".to_owned(), json!(name))]);
                create(app, caller, &COMPANY, new, &mut plan)?
            }
        };
        let company_id = COMPANY.public_id(&company_id);
        contact.insert("company_id".to_owned(), json!(company_id));
        links.push(("company_id", company_id));
    }
    let contact_id = create(app, caller, &CONTACT, contact, &mut plan)?;
    links.push(("contact_id", CONTACT.public_id(&contact_id)));
    if with_deal {
        let name = text(given, "deal_name").unwrap_or(&before.title).to_owned();
        let mut deal = Body::from_iter([
            ("name".to_owned(), json!(name)),
            ("stage".to_owned(), json!("new")),
            ("lead_id".to_owned(), json!(LEAD.public_id(&before.id))),
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
        check::body(&DEAL, &deal, true)?;
        let deal_id = create(app, caller, &DEAL, deal, &mut plan)?;
        links.push(("deal_id", DEAL.public_id(&deal_id)));
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
    let converted = plan.update(&LEAD, before, after, now);
    plan.events.push(("lead.converted", converted));
    Ok(plan)
}

/// Adds a record whose links are to records of the same plan. Returns the id of its row.
fn create(
    app: &App,
    caller: &Caller,
    kind: &'static crate::records::Kind,
    body: Body,
    plan: &mut Plan,
) -> Result<String> {
    let record = write::draft(app, caller, kind, New::from(&body))?;
    let id = record.id.clone();
    plan.create(kind, record);
    Ok(id)
}

/// Returns the company with a name, whatever its case.
async fn company(app: &App, caller: &Caller, name: &str) -> Result<Option<Record>> {
    let query = ListQuery {
        filters: vec![("name".to_owned(), name.to_owned())],
        limit: 1,
        ..ListQuery::default()
    };
    let (found, _) = store::list(app, caller.tenant(), &COMPANY, &query).await?;
    Ok(found.into_iter().next())
}
