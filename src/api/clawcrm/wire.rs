//! Answers, errors, records and parts of lists as the dialect has them.

use axum::response::{IntoResponse, Response};
use heck::ToLowerCamelCase;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::fault::FaultBody;
use crate::api::operation::Call;
use crate::api::secret::SecretHeader;
use crate::crm::leads::{LEAD_LIMIT, sales_status};
use crate::crm::{CUSTOM_FIELD, DELETED_LEAD, LEAD, LEAD_NOTE, STAGE};
use crate::error::{Detail, Error, Kind as ErrorKind, Result};
use crate::outreach::sequences::CAMPAIGN_LIMIT;
use crate::outreach::{FEEDBACK, PLAYBOOK, RULE, SEQUENCE, SYNC_SOURCE, inbound, sequences};
use crate::records::body::{Body, invalid, text};
use crate::records::{Kind, Record};
use crate::work::ACTIVITY;

/// The key as `Authorization: Bearer`, or in `x-api-key`.
pub(super) const SECRETS: &[SecretHeader] = &[SecretHeader::Bearer, SecretHeader::ApiKey];

/// Types of notes.
pub(super) const NOTE_TYPES: [&str; 4] = ["manual", "transcript_summary", "ai_insight", "system"];

/// An error as agents see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClawFault {
    /// `false`.
    success: bool,
    error: ClawError,
    warnings: Vec<String>,
    next_steps: Vec<String>,
}

/// The error itself.
#[derive(Debug, Serialize, ToSchema)]
struct ClawError {
    #[serde(flatten)]
    body: FaultBody,
    /// How to correct the request.
    hint: String,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    field_errors: Vec<ClawFieldError>,
    /// Where a person changes the plan, at a limit of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade_url: Option<String>,
}

/// A wrong field.
#[derive(Debug, Serialize, ToSchema)]
struct ClawFieldError {
    field: String,
    message: String,
}

/// Returns whether an error is a limit of the plan.
fn is_limit(error: &Error) -> bool {
    matches!(error.code(), LEAD_LIMIT | CAMPAIGN_LIMIT)
}

/// Returns where a person changes the plan, for errors at its limits.
fn upgrade_url(error: &Error) -> Option<String> {
    match error.detail() {
        Some(Detail::PlanLimit { upgrade_url }) => {
            Some(upgrade_url.clone()).filter(|u| !u.is_empty())
        }
        _ => None,
    }
}

/// Returns how to correct a request.
fn hint(error: &Error) -> String {
    if let Some(Detail::Hint(hint)) = error.detail() {
        return hint.clone();
    }
    match error.code() {
        LEAD_LIMIT => "GET /api/openclaw/org/tier shows the plan; delete leads for good with DELETE /api/openclaw/leads/{leadId}?permanent=true, or ask a person to change the plan",
        CAMPAIGN_LIMIT => "GET /api/openclaw/org/tier shows the plan; ask a person to change it",
        "key_missing" => "send the key as Authorization: Bearer rcm_live_… or as x-api-key; POST /api/openclaw/signup gives one",
        "key_invalid" => "check the key; POST /api/openclaw/signup gives one to a new workspace, and the operator of this installation gives one to an existing workspace",
        "scope_missing" => "use a key that has the scope, or ask whoever manages keys to make one",
        "module_disabled" => "ask whoever manages the workspace to enable the module",
        "body_invalid" => "correct the fields that the message names and send the request again; GET /openapi.json has all fields",
        "record_not_found" => "check the id; the list of the same resource shows the ids that there are",
        "route_unknown" => "check method and path; GET /openapi.json lists the operations under /api/openclaw",
        "rate_limited" => "wait as long as the header Retry-After says, then send the request again",
        "idempotency_key_reused" => "use a new Idempotency-Key for another request",
        _ => match error.kind() {
            ErrorKind::Invalid | ErrorKind::Unprocessable | ErrorKind::Conflict => {
                "change the request as the message says, and send it once more"
            }
            ErrorKind::Unauthorized | ErrorKind::Forbidden => "use another key",
            ErrorKind::NotFound => "check the id in the path, the query string or the body",
            ErrorKind::WrongMethod => "GET /openapi.json lists the methods of this path",
            ErrorKind::TooLarge | ErrorKind::TooSlow => "send less at once",
            ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Upstream
            | ErrorKind::NoSpace => {
                "wait a little, and send the request again"
            }
            ErrorKind::Internal => "wait two seconds and send the request once more; if it fails again, POST /api/openclaw/feedback",
        },
    }
    .to_owned()
}

impl From<&Error> for ClawFault {
    fn from(error: &Error) -> Self {
        let fields = match error.detail() {
            Some(Detail::Fields(fields)) => fields.clone(),
            _ => Vec::new(),
        };
        let mut next_steps = Vec::new();
        if is_limit(error) {
            next_steps.push("GET /api/openclaw/org/tier".to_owned());
        }
        Self {
            success: false,
            error: ClawError {
                body: error.into(),
                hint: hint(error),
                field_errors: fields
                    .into_iter()
                    .map(|(field, message)| ClawFieldError { field, message })
                    .collect(),
                upgrade_url: upgrade_url(error),
            },
            warnings: Vec::new(),
            next_steps,
        }
    }
}

crate::api::extract::problem!(|error| ClawFault::from(error));
crate::api::extract::parameters!(Problem);

/// Sentences for the caller.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub warnings: Vec<String>,
    pub next_steps: Vec<String>,
}

impl Said {
    /// Adds the sentences to the members of an answer.
    pub fn put(self, shown: &mut Body) {
        shown.insert("warnings".to_owned(), json!(self.warnings));
        shown.insert("next_steps".to_owned(), json!(self.next_steps));
    }
}

/// Part of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub limit: i64,
    pub offset: i64,
}

/// Reads `limit` and `offset`.
pub(super) fn part(call: Call<'_>) -> Result<Part> {
    let number = |name: &str, otherwise: i64, least: i64, most: i64| match call.query(name) {
        None => Ok(otherwise),
        Some(text) => {
            let n = text.trim().parse().ok();
            n.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
                Error::invalid(
                    "parameter_invalid",
                    format!("{name} must be a whole number from {least} to {most}"),
                )
            })
        }
    };
    Ok(Part {
        limit: number("limit", 50, 1, 500)?,
        offset: number("offset", 0, 0, 1_000_000)?,
    })
}

/// Reads a parameter that is `true` or `false`.
pub(super) fn flag(call: Call<'_>, name: &str) -> Result<Option<bool>> {
    match call.query(name).map(str::to_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Error::invalid(
            "parameter_invalid",
            format!("{name} must be true or false"),
        )),
    }
}

/// Returns the id in the query string, or `id` in the body.
pub(super) fn named_id<'a>(call: Call<'a>, also: &str) -> Result<&'a str> {
    let in_body = call.body.get("id").or(call.body.get(also));
    let id = call.query("id").or(in_body.and_then(Value::as_str));
    id.filter(|id| !id.trim().is_empty()).ok_or_else(|| {
        Error::invalid("id_missing", "id is missing")
            .with_hint("send the id as query parameter id, or as id in the body")
    })
}

/// Returns a list as the API answers it.
pub(super) fn list(noun: &str, items: Vec<Value>, total: i64, part: Part) -> Value {
    json!({"success": true, noun: items, "total": total, "limit": part.limit, "offset": part.offset})
}

/// Names of a lead's fields: those in the API, the first of which is shown, and the canonical one.
pub(super) const LEAD_FIELDS: [(&[&str], &str); 20] = [
    (&["firstName", "first_name"], "first_name"),
    (&["lastName", "last_name"], "last_name"),
    (&["name"], "name"),
    (&["email"], "email"),
    (&["phone"], "phone"),
    (&["organizationName", "clinicName"], "company_name"),
    (&["businessType", "practiceType"], "business_type"),
    (&["tier"], "tier"),
    (&["source"], "source"),
    (&["title", "jobTitle"], "job_title"),
    (&["seniority"], "seniority"),
    (&["companyName"], "enriched_company_name"),
    (&["linkedinUrl"], "linkedin_url"),
    (&["companySize"], "company_size"),
    (&["companyRevenue"], "company_revenue"),
    (&["timeZone", "timezone"], "time_zone"),
    (&["notes"], "notes"),
    (&["crmData"], "crm_data"),
    (&["customFields"], "custom_fields"),
    (&["converted_at", "convertedAt"], "converted_at"),
];

/// Fields of leads that are shown in another way.
const SHOWN_APART: [&str; 6] = [
    "sales_status",
    "stage_id",
    "stage_moves",
    "sales_signals",
    "sales_enrichment",
    "moved_by",
];

/// Shows a lead.
pub(super) fn lead(record: &Record) -> Result<Value> {
    let body = record.body()?;
    let mut json = Map::new();
    json.insert("id".to_owned(), json!(format!("rp_{}", record.id)));
    for (names, field) in LEAD_FIELDS {
        let value = body.get(field).cloned().unwrap_or(Value::Null);
        for name in names.iter().filter(|name| !name.contains('_')) {
            // Of aliases only those of the contract are shown.
            if !matches!(*name, "jobTitle" | "timezone" | "convertedAt") {
                json.insert((*name).to_owned(), value.clone());
            }
        }
    }
    // Leads of other dialects have one name.
    if body.get("first_name").is_none()
        && let Some(name) = text(&body, "name")
    {
        let (first, last) = name.split_once(' ').unwrap_or((name, ""));
        json.insert("firstName".to_owned(), json!(first));
        json.insert("lastName".to_owned(), json!(last.trim()));
    }
    json.insert("status".to_owned(), json!(sales_status(record, &body)));
    json.insert("stageId".to_owned(), json!(body.get("stage_id")));
    let enrichment = body
        .get("sales_enrichment")
        .map_or(json!("none"), |e| e["status"].clone());
    json.insert("enrichmentStatus".to_owned(), enrichment);
    json.insert(
        "proposalId".to_owned(),
        json!(sequences::proposal_id(record, &body)),
    );
    json.insert("createdAt".to_owned(), json!(record.created_on.rfc3339()));
    json.insert("updatedAt".to_owned(), json!(record.updated_on.rfc3339()));
    if record.kind == DELETED_LEAD.name {
        json.insert("deletedAt".to_owned(), json!(record.updated_on.rfc3339()));
    }
    for (name, value) in body {
        let is_known = LEAD_FIELDS.iter().any(|(_, field)| *field == name);
        if !is_known && !SHOWN_APART.contains(&name.as_str()) {
            json.entry(name).or_insert(value);
        }
    }
    Ok(Value::Object(json))
}

/// Returns the public id of a lead for its id in the records.
fn lead_id(canonical: Option<&Value>) -> Value {
    let id = canonical.and_then(Value::as_str);
    json!(id.map(|id| format!("rp_{}", id.strip_prefix("lead_").unwrap_or(id))))
}

/// Shows the fields of a record under names in camel case.
fn camel(kind: &Kind, record: &Record) -> Result<Map<String, Value>> {
    let mut json = Map::new();
    json.insert("id".to_owned(), json!(kind.public_id(&record.id)));
    for (name, value) in record.body()? {
        json.insert(name.to_lower_camel_case(), value);
    }
    if let Some(status) = &record.status {
        json.insert("status".to_owned(), json!(status));
    }
    json.insert("createdAt".to_owned(), json!(record.created_on.rfc3339()));
    json.insert("updatedAt".to_owned(), json!(record.updated_on.rfc3339()));
    Ok(json)
}

/// Returns what a kind of record is called, and one of its records.
pub(super) fn entity(kind: &Kind, record: &Record) -> Result<(&'static str, Value)> {
    if kind.is(&LEAD) || kind.is(&DELETED_LEAD) {
        return Ok(("lead", lead(record)?));
    }
    let mut json = camel(kind, record)?;
    let noun = if kind.is(&STAGE) {
        let position = json.shift_remove("position");
        json.insert("order".to_owned(), json!(position));
        json.entry("isDefault").or_insert(json!(false));
        "stage"
    } else if kind.is(&LEAD_NOTE) {
        json.insert("leadId".to_owned(), lead_id(json.get("leadId")));
        "note"
    } else if kind.is(&ACTIVITY) {
        let subject = json.shift_remove("relatedResourceId");
        json.shift_remove("relatedResourceType");
        json.insert("leadId".to_owned(), lead_id(subject.as_ref()));
        if let Some(word) = json.shift_remove("touchpointType") {
            json.insert("type".to_owned(), word);
        }
        if let Some(at) = json.shift_remove("occurredOn") {
            json.insert("occurredAt".to_owned(), at);
        }
        if let Some(notes) = json.shift_remove("body") {
            json.insert("notes".to_owned(), notes);
        }
        "touchpoint"
    } else if kind.is(&CUSTOM_FIELD) {
        "field"
    } else if kind.is(&SEQUENCE) {
        for name in ["aiEnabled", "aiConfig"] {
            if let Some(value) = json.shift_remove(name) {
                let snake = if name == "aiEnabled" {
                    "ai_enabled"
                } else {
                    "ai_config"
                };
                json.insert(snake.to_owned(), value);
            }
        }
        "campaign"
    } else if kind.is(&RULE) {
        let stage = json.shift_remove("stageId");
        json.insert("targetStage".to_owned(), json!(stage));
        "rule"
    } else if kind.is(&SYNC_SOURCE) {
        json.insert("path".to_owned(), json!(inbound::path(record)));
        "source"
    } else if kind.is(&FEEDBACK) {
        let unread = json.shift_remove("unread");
        let is_answered = json.get("response").is_some_and(|r| !r.is_null());
        json.insert(
            "acknowledged".to_owned(),
            json!(is_answered && unread != Some(json!(true))),
        );
        "feedback"
    } else if kind.is(&PLAYBOOK) {
        "playbook"
    } else {
        "record"
    };
    Ok((noun, Value::Object(json)))
}

/// Shows the record of a write: its id, and the record under what it is called.
pub(super) fn view(kind: &Kind, record: &Record) -> Result<Value> {
    let (noun, entity) = entity(kind, record)?;
    let id = entity["id"].clone();
    let mut json = json!({"success": true, "id": id, noun: entity});
    if kind.is(&FEEDBACK) {
        json["feedbackId"] = id;
    }
    Ok(json)
}

/// Takes a member out of a body under one of its names. Two names with different values are an error.
pub(super) fn take(body: &mut Body, names: &[&str]) -> Result<Option<Value>> {
    let mut found: Option<Value> = None;
    for name in names {
        let Some(value) = body.shift_remove(*name) else {
            continue;
        };
        match &found {
            Some(other) if *other != value => {
                return Err(invalid(format!(
                    "{} are names of one field, and have different values",
                    names.join(" and ")
                )));
            }
            _ => found = Some(value),
        }
    }
    Ok(found)
}

/// Takes a text out of a body.
pub(super) fn take_text(body: &mut Body, names: &[&str]) -> Result<Option<String>> {
    match take(body, names)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|t| !t.trim().is_empty())),
        Some(_) => Err(invalid(format!(
            "{} must be text",
            names.first().unwrap_or(&"it")
        ))),
    }
}

/// Renames fields to their canonical names.
pub(super) fn rename(body: &mut Body, names: &[(&[&str], &str)]) -> Result<()> {
    for (given, canonical) in names {
        if let Some(value) = take(body, given)? {
            body.insert((*canonical).to_owned(), value);
        }
    }
    Ok(())
}

/// Returns the lead that a body names.
pub(super) fn lead_of(body: &Body) -> Result<&str> {
    let id = ["leadId", "lead_id"]
        .iter()
        .find_map(|name| text(body, name));
    id.filter(|id| !id.trim().is_empty()).ok_or_else(|| {
        invalid("leadId is missing").with_hint("send leadId, the id of a lead (rp_…)")
    })
}

pub(super) fn deleted(kind: &Kind, record: &Record) -> Value {
    json!({"success": true, "id": kind.public_id(&record.id), "deleted": true})
}

/// An error outside of the operations, in the dialect's form.
pub(super) fn problem(error: Error) -> Response {
    Problem(error).into_response()
}
