//! Leads, which all dialects share, with their timeline and their import.

use axum::Json;
use axum::body::Body as RequestBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::shapes::LEAD_STATUSES;
use super::wire::{Auth, DashboardFault, Problem, page, set, word};
use crate::agency::people::Names;
use crate::agency::{list, store};
use crate::api::Service;
use crate::api::operation::{Call, Data};
use crate::api::upload;
use crate::app::App;
use crate::auth::{Caller, Scope, people};
use crate::crm::leads::origin;
use crate::crm::{LEAD, LEAD_NOTE};
use crate::error::{Error, Result};
use crate::outreach::leads::{self, Wanted};
use crate::outreach::{imports, score, touchpoints};
use crate::page::Page;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::{Record, audit};

/// Entries of each kind that a timeline shows.
const TIMELINE: i64 = 100;
/// Longest texts, in characters, and most tags.
const LINE: usize = 200;
const TAGS: usize = 50;
/// Origins that a list filters by.
const ORIGINS: [&str; 5] = ["form", "google_ads", "meta_ads", "manual", "import"];

/// Returns the status of a lead in the words of the contract.
fn status_word(lead: &Record) -> &str {
    match lead.status.as_deref() {
        Some("working") => "contacted",
        Some("disqualified") => "unqualified",
        Some(same) => same,
        None => "new",
    }
}

/// Returns the shared status of a word of the contract.
fn shared_status(word: &str) -> &str {
    match word {
        "contacted" => "working",
        "unqualified" => "disqualified",
        same => same,
    }
}

/// Returns first and last name; of a lead that has only a whole name the last word is the last name.
fn names_of(body: &Body, title: &str) -> (String, String) {
    let part = |name: &str| text(body, name).unwrap_or_default().trim().to_owned();
    let (first, last) = (part("first_name"), part("last_name"));
    if !first.is_empty() || !last.is_empty() {
        return (first, last);
    }
    let whole = text(body, "name").unwrap_or(title).trim();
    match whole.rsplit_once(' ') {
        Some((first, last)) => (first.trim().to_owned(), last.to_owned()),
        None => (whole.to_owned(), String::new()),
    }
}

async fn shown(app: &App, caller: &Caller, found: &[Record]) -> Result<Vec<Value>> {
    let bodies: Vec<Body> = found.iter().map(Record::body).collect::<Result<_>>()?;
    let owners = bodies.iter().map(|b| text(b, "owner_id"));
    let names = Names::of(app, caller.tenant(), owners).await?;
    let mut shown = Vec::with_capacity(found.len());
    for (lead, body) in found.iter().zip(&bodies) {
        let (first, last) = names_of(body, &lead.title);
        let mut one = json!({
            "id": lead.id,
            "firstName": first,
            "lastName": last,
            "status": status_word(lead),
            "source": origin(body),
            "tags": list(body, "tags"),
            "createdOn": lead.created_on.rfc3339(),
        });
        set(&mut one, "email", text(body, "email"));
        set(&mut one, "phone", text(body, "phone"));
        set(&mut one, "company", text(body, "company_name"));
        set(&mut one, "sourceRef", text(body, "source_ref"));
        one["score"] = match body.get("score").and_then(Value::as_f64) {
            Some(own) => json!(whole(own)),
            None => json!(whole(score::of(app, caller, lead).await?.score)),
        };
        if let Some(owner) = text(body, "owner_id") {
            one["assignedTo"] = names.person(Some(owner));
        }
        shown.push(one);
    }
    Ok(shown)
}

fn whole(score: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "scores are between 0 and 100"
    )]
    let whole = score.round() as i64;
    whole.clamp(0, 100)
}

pub(super) async fn list_leads(call: Call<'_>) -> Result<Data> {
    let mut filters = Vec::new();
    if let Some(status) = word(call, "filter.status", &LEAD_STATUSES)? {
        filters.push(("status".to_owned(), shared_status(&status).to_owned()));
    }
    if let Some(source) = word(call, "filter.source", &ORIGINS)? {
        filters.push(("origin".to_owned(), source));
    }
    let words = call.query("search").map(str::to_owned);
    let page = page(call, 50)?;
    let tenant_id = call.caller.tenant();
    let found = store::page(call.app, tenant_id, &LEAD, filters, words, &page).await?;
    Ok(Data::Many(
        shown(call.app, call.caller, &found.items).await?,
        found.next,
    ))
}

/// Returns the fields of a lead under their canonical names.
async fn fields(app: &App, caller: &Caller, given: &Body) -> Result<Body> {
    let mut body = Body::new();
    for (name, field) in [
        ("firstName", "first_name"),
        ("lastName", "last_name"),
        ("email", "email"),
        ("phone", "phone"),
        ("company", "company_name"),
        ("notes", "notes"),
    ] {
        if let Some(value) = given.get(name) {
            let is_long = value.as_str().is_some_and(|v| v.chars().count() > LINE);
            if is_long && name != "notes" {
                return Err(Error::invalid(
                    "text_too_long",
                    format!("{name} may have at most {LINE} characters"),
                ));
            }
            let is_blank = value.as_str().is_some_and(|v| v.trim().is_empty());
            let value = if is_blank { &Value::Null } else { value };
            body.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(score) = given.get("score") {
        let score = score.as_f64().map(whole);
        body.insert("score".to_owned(), json!(score));
    }
    if given.contains_key("tags") {
        let tags: Vec<String> = list(given, "tags");
        if tags.len() > TAGS || tags.iter().any(|t| t.chars().count() > LINE) {
            return Err(Error::invalid(
                "tags_invalid",
                format!("a lead has at most {TAGS} tags of {LINE} characters"),
            ));
        }
        body.insert("tags".to_owned(), json!(tags));
    }
    if let Some(owner) = given.get("assignedTo") {
        if let Some(id) = owner.as_str() {
            let known = people::names(&app.db, caller.tenant(), &[id.to_owned()]).await?;
            if !known.contains_key(id) {
                return Err(Error::unprocessable(
                    "user_unknown",
                    "assignedTo is nobody of the team",
                ));
            }
        }
        body.insert("owner_id".to_owned(), owner.clone());
    }
    Ok(body)
}

pub(super) async fn create_lead(call: Call<'_>) -> Result<Plan> {
    let mut body = fields(call.app, call.caller, call.body).await?;
    let source = text(call.body, "source").unwrap_or("manual");
    if source.is_empty() || source.chars().count() > 60 {
        return Err(Error::invalid(
            "source_invalid",
            "source must have 1 to 60 characters",
        ));
    }
    let shared = match source {
        "form" => "website",
        "google_ads" | "meta_ads" => "campaign",
        "manual" | "import" => source,
        _ => "other",
    };
    body.insert("source".to_owned(), json!(shared));
    body.insert("origin".to_owned(), json!(source));
    body.retain(|_, value| !value.is_null());
    let wanted = Wanted {
        fields: body,
        ..Wanted::default()
    };
    leads::create(call.app, call.caller, wanted).await
}

/// Adds the other part of a name to a change of one part of it, when the lead has only a whole name.
fn complete_name(changes: &mut Body, lead: &Record) -> Result<()> {
    let old = lead.body()?;
    let (first, last) = names_of(&old, &lead.title);
    for (part, other, known) in [
        ("first_name", "last_name", last),
        ("last_name", "first_name", first),
    ] {
        let is_alone = changes.contains_key(part) && !changes.contains_key(other);
        if is_alone && text(&old, other).is_none() && !known.is_empty() {
            changes.insert(other.to_owned(), json!(known));
            break;
        }
    }
    Ok(())
}

pub(super) async fn update_lead(call: Call<'_>) -> Result<Plan> {
    let lead = leads::load(call.app, call.caller.tenant(), call.id()).await?;
    let mut body = fields(call.app, call.caller, call.body).await?;
    body.shift_remove("notes");
    complete_name(&mut body, &lead)?;
    if let Some(status) = text(call.body, "status") {
        body.insert("status".to_owned(), json!(shared_status(status)));
    }
    let wanted = Wanted {
        fields: body,
        ..Wanted::default()
    };
    leads::update(call.app, call.caller, lead, wanted).await
}

/// Returns a written lead as lists show it.
pub(super) async fn lead_written(call: Call<'_>, written: &Value) -> Result<Option<Value>> {
    let id = written["id"].as_str().unwrap_or_default();
    let lead = leads::load(call.app, call.caller.tenant(), id).await?;
    let mut shown = shown(call.app, call.caller, &[lead]).await?;
    Ok(shown.pop())
}

pub(super) async fn get_lead(call: Call<'_>) -> Result<Data> {
    let lead = leads::load(call.app, call.caller.tenant(), call.id()).await?;
    let body = lead.body()?;
    let mut all = shown(call.app, call.caller, std::slice::from_ref(&lead)).await?;
    let mut one = all.pop().unwrap_or_default();
    set(&mut one, "notes", text(&body, "notes"));
    one["timeline"] = json!(timeline(call, &lead).await?);
    one["updatedOn"] = json!(lead.updated_on.rfc3339());
    Ok(Data::One(one))
}

/// Returns the type, the text and the details of a change of a lead.
fn change(entry: &audit::Entry) -> Result<(&'static str, String, Value)> {
    let changes: Map<String, Value> = serde_json::from_str(&entry.changes)?;
    if entry.action == "create" {
        return Ok(("created", "Lead created".to_owned(), json!({})));
    }
    if let Some(pair) = changes.get("status") {
        let details = json!({"fromStatus": pair[0], "toStatus": pair[1]});
        let to = pair[1].as_str().unwrap_or_default();
        return Ok(("status_change", format!("Status: {to}"), details));
    }
    if changes.contains_key("sales_enrichment") {
        let fields: Vec<&String> = changes
            .keys()
            .filter(|k| *k != "sales_enrichment")
            .collect();
        return Ok((
            "enrichment",
            "Enriched".to_owned(),
            json!({"fields": fields}),
        ));
    }
    if let Some(pair) = changes.get("score") {
        let details = json!({"previousScore": pair[0], "newScore": pair[1]});
        return Ok(("score_updated", "Score changed".to_owned(), details));
    }
    let fields: Vec<&String> = changes.keys().collect();
    Ok((
        "update",
        "Lead changed".to_owned(),
        json!({"fields": fields}),
    ))
}

/// Returns what happened with a lead: changes, notes and contacts, the newest first.
async fn timeline(call: Call<'_>, lead: &Record) -> Result<Vec<Value>> {
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let page = Page {
        limit: TIMELINE,
        after: String::new(),
    };
    let changes = audit::list(app, tenant_id, &lead.id, &page).await?;
    let filters = vec![("lead_id".to_owned(), LEAD.public_id(&lead.id))];
    let notes = store::page(app, tenant_id, &LEAD_NOTE, filters, None, &page).await?;
    let (contacts, _) = touchpoints::list(app, tenant_id, lead, TIMELINE, 0).await?;
    let records = notes.items.iter().chain(&contacts);
    let actors = records.map(|r| r.author.as_deref());
    let actors = actors.chain(changes.items.iter().map(|e| e.actor.as_deref()));
    let names = Names::of(app, tenant_id, actors).await?;
    let mut entries = Vec::new();
    for entry in &changes.items {
        let (kind, said, details) = change(entry)?;
        entries.push((entry.created_on, json!({"id": entry.id, "type": kind, "actor": names.actor(entry.actor.as_deref()), "text": said, "details": details, "createdOn": entry.created_on.rfc3339()})));
    }
    for record in notes.items.iter().chain(&contacts) {
        let body = record.body()?;
        let is_note = record.kind == LEAD_NOTE.name;
        let kind = match text(&body, "type") {
            _ if is_note => "note",
            Some("email") => "email_sent",
            Some(kind) => kind,
            None => "note",
        };
        let said = if is_note {
            text(&body, "content")
        } else {
            text(&body, "summary")
        };
        let entry = json!({"id": record.id, "type": kind, "actor": names.actor(record.author.as_deref()), "text": said.unwrap_or_default(), "details": {}, "createdOn": record.created_on.rfc3339()});
        entries.push((record.created_on, entry));
    }
    entries.sort_by_key(|(on, _)| std::cmp::Reverse(*on));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// The form of an import.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
pub(super) struct ImportForm {
    /// A CSV file of at most 10 MB, with the names of columns in its first line.
    #[schema(content_media_type = "text/csv")]
    file: String,
    /// Label of all leads of the file; `import` when absent.
    source: Option<String>,
    /// A JSON object that maps columns to `firstName`, `lastName`, `name`, `email`, `phone`, `company`, `jobTitle` or `notes`, where their names say too little.
    mapping: Option<String>,
}

/// An import that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportStarted {
    import_id: String,
    total: i64,
    /// `processing`.
    status: String,
}

/// Imports leads from a CSV file in the background.
#[utoipa::path(post, path = "/dashboard/v1/leads/import", tag = "leadmetrics dashboard", operation_id = "importLeads", security(("key" = [])),
    request_body(content = ImportForm, content_type = "multipart/form-data"),
    responses((status = 202, body = ImportStarted), (status = "4XX", body = DashboardFault)))]
pub(super) async fn import(
    State(service): State<Service>,
    Auth(caller): Auth,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<(StatusCode, Json<ImportStarted>), Problem> {
    caller.need_unconfined(Scope::CrmWrite)?;
    let mut form = upload::small_form(&headers, body, imports::LARGEST).await?;
    let content = form.text()?;
    let mapping = match form.fields.get("mapping").filter(|m| !m.trim().is_empty()) {
        Some(mapping) => serde_json::from_str(mapping).map_err(|_| {
            Error::invalid("mapping_invalid", "mapping must be a JSON object of texts")
        })?,
        None => Body::new(),
    };
    let origin = form.fields.get("source").map_or("import", String::as_str);
    let import = imports::start(&service.app, &caller, &content, &mapping, origin).await?;
    let started = ImportStarted {
        import_id: import.id,
        total: import.total,
        status: import.status,
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

pub(super) async fn get_import(call: Call<'_>) -> Result<Data> {
    let import = imports::get(call.app, call.caller.tenant(), call.id()).await?;
    Ok(Data::One(json!({
        "importId": import.id,
        "status": import.status,
        "total": import.total,
        "imported": import.imported,
        "skipped": import.skipped,
        "errors": serde_json::from_str::<Value>(&import.errors)?,
    })))
}
