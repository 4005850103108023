//! Leads: their rules, their number, and their conversion to a contact, a company and perhaps a deal.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{COMPANY, CONTACT, CURRENCY, DEAL, LEAD, custom_fields};
use crate::app::App;
use crate::auth::{Caller, plans};
use crate::db::Tx;
use crate::error::{Detail, Error, Result};
use crate::records::body::{Body, forbidden, invalid, text};
use crate::records::plan::{Change, Effect, Plan};
use crate::records::store::{self, ListQuery};
use crate::records::write::{self, New};
use crate::records::{Record, check, limit};

/// Returns the status of a lead in the words of sales: the word that was given, which may be any, or that of its status.
#[must_use]
pub fn sales_status(record: &Record, body: &Body) -> String {
    if let Some(word) = text(body, "sales_status") {
        return word.to_owned();
    }
    match record.status.as_deref() {
        Some("working") => "contacted",
        Some("disqualified") => "unqualified",
        Some("converted") => "won",
        Some(same) => same,
        None => "new",
    }
    .to_owned()
}

/// Returns the status that a word of sales stands for; `None` for words that stand for none.
#[must_use]
pub fn status_of(word: &str) -> Option<&'static str> {
    match word.to_lowercase().as_str() {
        "new" => Some("new"),
        "contacted" | "working" | "engaged" => Some("working"),
        "qualified" | "won" | "negotiated" => Some("qualified"),
        "unqualified" | "disqualified" | "lost" => Some("disqualified"),
        _ => None,
    }
}

/// Returns where a lead came from in the words of marketing: `form`, `google_ads`, `meta_ads`, `manual`, `import`, or the source of other dialects.
#[must_use]
pub fn origin(body: &Body) -> &str {
    match (text(body, "origin"), text(body, "source")) {
        (Some(own), _) => own,
        (None, Some("website")) => "form",
        (None, Some(source)) => source,
        (None, None) => "manual",
    }
}

pub(super) fn derived(record: &Record, body: &Body) -> Vec<(&'static str, String)> {
    let mut found = vec![
        ("sales_status", sales_status(record, body)),
        ("origin", origin(body).to_owned()),
    ];
    // Mail domains lead from one lead of a company to the others.
    if let Some((_, domain)) = text(body, "email").and_then(|e| e.split_once('@')) {
        found.push(("mail_domain", domain.to_owned()));
    }
    found
}

/// Field of values that are not of the type of their field, and are shown as they were sent.
pub const AS_SENT: &str = "as_sent";

/// The number of leads after a plan's writes must be within the plan of the tenant.
#[derive(Debug)]
pub struct LeadLimit {
    tenant_id: String,
}

impl LeadLimit {
    /// Returns the check for a tenant.
    #[must_use]
    pub fn of(tenant_id: &str) -> Box<dyn Effect> {
        Box::new(Self {
            tenant_id: tenant_id.to_owned(),
        })
    }
}

#[async_trait]
impl Effect for LeadLimit {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let Some(plan) = plans::lock(tx, &self.tenant_id).await? else {
            return Ok(None);
        };
        if limit::exceeds(tx, &LEAD, &self.tenant_id, plan.leads()).await? {
            return Err(Error::forbidden(
                LEAD_LIMIT,
                format!(
                    "the {plan} plan allows {} leads, and the workspace has as many",
                    plan.leads()
                ),
            )
            .with_detail(Detail::PlanLimit {
                upgrade_url: app.config.upgrade_url.clone(),
            }));
        }
        Ok(None)
    }
}

/// Moves between stages that a lead keeps; the audit has all.
const MOVES: usize = 100;

/// Adds the move between two stages to those of the lead. A rule that moves a lead says why in the field `moved_by`, which is part of the entry.
fn note_move(change: &mut Change<'_>) {
    let reason = change.body.shift_remove("moved_by");
    let moves = change.body.get("stage_moves").and_then(Value::as_array);
    let mut moves = moves.cloned().unwrap_or_default();
    moves.push(json!({
        "from": change.old.get("stage_id"),
        "to": change.body.get("stage_id"),
        "at": change.now.rfc3339(),
        "by": change.caller.actor_id(),
        "reason": reason
    }));
    let skipped = moves.len().saturating_sub(MOVES);
    change.set("stage_moves", json!(&moves[skipped..]));
}

/// Error code of a lead beyond the plan.
pub const LEAD_LIMIT: &str = "lead_limit_reached";
/// Bytes of JSON of a lead's `crm_data`.
const CRM_DATA: usize = 64 << 10;

pub(super) async fn complete(change: &mut Change<'_>) -> Result<()> {
    if change.changes("custom_fields") {
        custom_fields::check(change).await?;
    }
    if change
        .body
        .get("crm_data")
        .is_some_and(|data| data.to_string().len() > CRM_DATA)
    {
        return Err(invalid(format!(
            "crm_data may have at most {CRM_DATA} bytes of JSON"
        )));
    }
    // A status that was set in another dialect replaces the word that no longer fits it.
    if change.status() != change.old_status()
        && change.old.get("sales_status") == change.body.get("sales_status")
    {
        change.remove("sales_status");
    }
    if !change.is_new() && change.changes("stage_id") {
        note_move(change);
    }
    if change.is_new() {
        change
            .plan
            .after
            .push(LeadLimit::of(change.caller.tenant()));
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
    body.shift_remove("sales_status");
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
