//! Leads as sales agents change them: with a status in their own words, a stage of the pipeline, bags of fields that are merged, deletion and restoration.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::sequences::enrol;
use super::stages;
use crate::app::App;
use crate::auth::Caller;
use crate::crm::leads::{LeadLimit, status_of};
use crate::crm::{DELETED_LEAD, LEAD, LEAD_NOTE};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::records::body::{Body, invalid, text};
use crate::records::plan::{Effect, Plan};
use crate::records::store::{self, Offset};
use crate::records::write::{self, New, Patch};
use crate::records::{Kind, Record};
use crate::work::ACTIVITY;

/// Fields of a lead to set.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Fields under their canonical names; null removes one. `crm_data` and `custom_fields` are merged.
    pub fields: Body,
    /// Any word for the status.
    pub status: Option<String>,
    /// Id, key or name of a stage.
    pub stage: Option<String>,
}

/// Longest word for a status, in characters.
const STATUS: usize = 60;

/// Sets the status: the word as it came, and the shared status that it stands for.
fn set_status(fields: &mut Body, word: &str, is_new: bool, now: Option<&str>) -> Result<()> {
    let word = word.trim();
    if word.is_empty() || word.chars().count() > STATUS {
        return Err(invalid(format!(
            "status must have 1 to {STATUS} characters"
        )));
    }
    fields.insert("sales_status".to_owned(), json!(word));
    // A converted lead stays converted, whatever it is called.
    if let Some(status) = status_of(word).filter(|_| is_new || now != Some("converted")) {
        fields.insert("status".to_owned(), json!(status));
    }
    Ok(())
}

/// Computes the full name when a part of it changes. The name of a lead that has no parts yet, from another dialect, stays when only one part comes: it says more.
fn set_name(fields: &mut Body, old: &Body) {
    let has = |body: &Body, name: &str| text(body, name).is_some_and(|v| !v.trim().is_empty());
    let parts = ["first_name", "last_name"];
    let is_whole = !has(old, "name") || parts.iter().any(|part| has(old, part));
    let given = parts.iter().filter(|p| fields.contains_key(**p)).count();
    if given == 0 || (given == 1 && !is_whole) {
        return;
    }
    let part = |name: &str| {
        let value = fields.get(name).or(old.get(name));
        value
            .and_then(Value::as_str)
            .map(str::trim)
            .unwrap_or_default()
    };
    let name = format!("{} {}", part("first_name"), part("last_name"));
    let name = name.trim().to_owned();
    if !name.is_empty() {
        fields.insert("name".to_owned(), json!(name));
    }
}

/// Returns an object with the members of another one set; null removes a member.
fn merged(old: Option<&Value>, given: &Body) -> Value {
    let mut bag = old.and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in given {
        if value.is_null() {
            bag.shift_remove(name);
        } else {
            bag.insert(name.clone(), value.clone());
        }
    }
    Value::Object(bag)
}

/// Returns a plan that adds a lead, in the default stage unless another one is named.
///
/// # Errors
/// `body_invalid`, `stage_unknown`, `lead_limit_reached`.
pub async fn create(app: &App, caller: &Caller, wanted: Wanted) -> Result<Plan> {
    let mut fields = wanted.fields;
    set_name(&mut fields, &Body::new());
    if let Some(word) = &wanted.status {
        set_status(&mut fields, word, true, None)?;
    }
    let stages = stages::all(app, caller.tenant()).await?;
    let stage = match &wanted.stage {
        Some(word) => Some(stages::named(&stages, word)?),
        None => stages::default(&stages),
    };
    if let Some(stage) = stage {
        fields.insert("stage_id".to_owned(), json!(stage.id));
    }
    let mut plan = write::create(app, caller, &LEAD, New::from(&fields)).await?;
    if let Some(stage) = stage {
        plan.shown.insert("stage".to_owned(), json!(stage.name));
    }
    Ok(plan)
}

/// Returns a plan that changes a lead.
///
/// # Errors
/// `body_invalid`, `stage_unknown`.
pub async fn update(app: &App, caller: &Caller, lead: Record, wanted: Wanted) -> Result<Plan> {
    let old = lead.body()?;
    let mut fields = wanted.fields;
    set_name(&mut fields, &old);
    for bag in ["crm_data", "custom_fields"] {
        if let Some(Value::Object(given)) = fields.get(bag).cloned() {
            fields.insert(bag.to_owned(), merged(old.get(bag), &given));
        }
    }
    if let Some(word) = &wanted.status {
        set_status(&mut fields, word, false, lead.status.as_deref())?;
    }
    let stages = stages::all(app, caller.tenant()).await?;
    let mut moves = false;
    let mut stage = None;
    if let Some(word) = &wanted.stage {
        let named = stages::named(&stages, word)?;
        moves = old.get("stage_id") != Some(&json!(named.id));
        fields.insert("stage_id".to_owned(), json!(named.id));
        stage = Some(named);
    }
    let is_silent = fields.keys().all(|name| name == "stage_id");
    let patch = Patch {
        body: fields,
        is_silent,
        ..Patch::default()
    };
    let mut plan = write::update(app, caller, &LEAD, lead.clone(), patch).await?;
    if let Some(stage) = stage {
        plan.shown.insert("stage".to_owned(), json!(stage.name));
    }
    if moves {
        enrol::trigger(app, caller, &mut plan, &lead, &["stage_changed"]).await?;
    }
    Ok(plan)
}

/// Returns the lead with a public id of any dialect: `rp_…`, `lead_…`, or the id alone.
///
/// # Errors
/// `record_not_found`, with a hint that tells a deleted lead from an unknown one.
pub async fn load(app: &App, tenant_id: &str, public_id: &str) -> Result<Record> {
    let id = row_id(public_id);
    if let Some(lead) = store::optional(&app.db, tenant_id, &LEAD, id).await? {
        return Ok(lead);
    }
    let deleted = store::optional(&app.db, tenant_id, &DELETED_LEAD, id).await?;
    let error = Error::not_found(
        "record_not_found",
        format!("there is no lead {public_id:?}"),
    );
    Err(error.with_hint(if deleted.is_some() {
        "this lead was deleted; PATCH it with {\"restore\": true}"
    } else {
        "ids of leads begin with rp_; GET /api/openclaw/leads lists them, with deletedOnly=true those that were deleted"
    }))
}

/// Returns the lead with a mail address.
///
/// # Errors
/// Those of the database.
pub async fn by_email(app: &App, tenant_id: &str, email: &str) -> Result<Option<Record>> {
    let query = Offset {
        filters: vec![("email".to_owned(), email.to_owned())],
        limit: 1,
        ..Offset::default()
    };
    let (found, _) = store::at_offset(app, tenant_id, &LEAD, &query).await?;
    Ok(found.into_iter().next())
}

/// Returns the id of a lead's row for a public id of any dialect.
#[must_use]
pub fn row_id(public_id: &str) -> &str {
    let id = public_id.trim();
    id.strip_prefix("rp_")
        .or_else(|| id.strip_prefix("lead_"))
        .unwrap_or(id)
}

/// Ends the mails of a lead that is deleted.
#[derive(Debug)]
enum MailEffect {
    /// Its enrolments end.
    Stop { tenant_id: String, lead_id: String },
    /// Its enrolments and mails are removed.
    Remove { tenant_id: String, lead_id: String },
}

#[async_trait]
impl Effect for MailEffect {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        match self {
            Self::Stop { tenant_id, lead_id } => {
                enrol::stop_lead(app, tx, tenant_id, lead_id, "lead_deleted").await?;
            }
            Self::Remove { tenant_id, lead_id } => {
                for sql in [
                    "DELETE FROM mails WHERE lead_id = $1 AND tenant_id = $2",
                    "DELETE FROM enrolments WHERE lead_id = $1 AND tenant_id = $2",
                ] {
                    tx.execute(sql, args![lead_id, tenant_id]).await?;
                }
            }
        }
        Ok(None)
    }
}

fn without_document(record: &Record, kind: &'static Kind) -> Record {
    Record {
        kind: kind.name.to_owned(),
        document_id: None,
        ..record.clone()
    }
}

/// Returns a plan that deletes a lead so that it can be restored: no list and no search finds it, and its sequences end.
#[must_use]
pub fn delete(app: &App, caller: &Caller, lead: Record) -> Plan {
    let mut plan = Plan::default();
    let mut deleted = without_document(&lead, &DELETED_LEAD);
    deleted.updated_on = app.clock.now();
    plan.after.push(Box::new(MailEffect::Stop {
        tenant_id: caller.tenant().to_owned(),
        lead_id: lead.id.clone(),
    }));
    plan.delete(&LEAD, lead);
    plan.create_silently(&DELETED_LEAD, deleted);
    plan
}

/// Returns a plan that restores a deleted lead; one that is not deleted stays as it is.
///
/// # Errors
/// `record_not_found`, `lead_limit_reached`.
pub async fn restore(app: &App, caller: &Caller, public_id: &str) -> Result<Plan> {
    let id = row_id(public_id);
    let deleted = store::optional(&app.db, caller.tenant(), &DELETED_LEAD, id).await?;
    let Some(deleted) = deleted else {
        let lead = load(app, caller.tenant(), public_id).await?;
        return Ok(Plan::default().unchanged(&LEAD, lead));
    };
    let mut lead = without_document(&deleted, &LEAD);
    lead.updated_on = app.clock.now();
    let mut plan = Plan::default();
    plan.delete(&DELETED_LEAD, deleted);
    plan.create(&LEAD, lead);
    plan.after.push(LeadLimit::of(caller.tenant()));
    Ok(plan.status(200))
}

/// Notes and touchpoints that are removed together with a lead.
const REMOVED: i64 = 5000;

/// Returns a plan that removes a lead, deleted or not, for good, with its notes, touchpoints and mails.
///
/// # Errors
/// `record_not_found`, `lead_too_large` for one with more than 5,000 notes or touchpoints.
pub async fn remove(app: &App, caller: &Caller, public_id: &str) -> Result<Plan> {
    let tenant_id = caller.tenant();
    let id = row_id(public_id);
    let deleted = store::optional(&app.db, tenant_id, &DELETED_LEAD, id).await?;
    let (kind, lead): (&'static Kind, Record) = match deleted {
        Some(deleted) => (&DELETED_LEAD, deleted),
        None => (&LEAD, load(app, tenant_id, public_id).await?),
    };
    let mut plan = Plan::default();
    for (part, field) in [(&LEAD_NOTE, "lead_id"), (&ACTIVITY, "related_resource_id")] {
        let query = Offset {
            filters: vec![(field.to_owned(), LEAD.public_id(&lead.id))],
            limit: REMOVED,
            ..Offset::default()
        };
        let (found, total) = store::at_offset(app, tenant_id, part, &query).await?;
        if total > REMOVED {
            return Err(Error::conflict(
                "lead_too_large",
                format!("the lead has {total} records of the kind {}, and at most {REMOVED} are removed at once", part.name),
            )
            .with_hint("delete notes first, with DELETE /api/openclaw/notes?id=…; without permanent, the lead is deleted so that it can be restored"));
        }
        for record in found {
            plan.delete(part, record);
        }
    }
    plan.after.push(Box::new(MailEffect::Remove {
        tenant_id: tenant_id.to_owned(),
        lead_id: lead.id.clone(),
    }));
    plan.delete(kind, lead);
    plan.shown.insert("permanent".to_owned(), json!(true));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Body {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn names_are_joined_from_their_parts() {
        let mut fields = body(json!({"last_name": "Berg"}));
        set_name(
            &mut fields,
            &body(json!({"first_name": "Ada", "last_name": "Holm"})),
        );
        assert_eq!(fields["name"], "Ada Berg");
    }

    #[test]
    fn one_part_does_not_replace_a_whole_name() {
        let mut fields = body(json!({"first_name": "Ada"}));
        set_name(&mut fields, &body(json!({"name": "Ada M. Holm"})));
        assert!(!fields.contains_key("name"));
    }

    #[test]
    fn bags_are_merged_and_null_removes() {
        let old = json!({"a": 1, "b": 2});
        let given = body(json!({"b": null, "c": 3}));
        assert_eq!(merged(Some(&old), &given), json!({"a": 1, "c": 3}));
    }

    #[test]
    fn a_status_keeps_its_word_and_gets_the_shared_one() {
        let mut fields = Body::new();
        set_status(&mut fields, "Contacted", true, None).expect("valid");
        assert_eq!(
            (&fields["sales_status"], &fields["status"]),
            (&json!("Contacted"), &json!("working"))
        );
        let mut fields = Body::new();
        set_status(&mut fields, "Mulling it over", true, None).expect("valid");
        assert!(!fields.contains_key("status"));
    }
}
