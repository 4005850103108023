//! Sources: their addresses and secrets, and the messages that they send. A message names a lead by its mail address; the lead is added or completed, moves to the
//! stage of the source, and gets a touchpoint. A message that comes again changes nothing.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::MessageParser;
use mail_parser::mailbox::mbox::MessageIterator;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::leads::{self, Wanted};
use super::super::once::{Once, REPEATED};
use super::super::sequences::enrol::lock_address;
use super::super::sequences::receivers;
use super::super::sequences::replies::{self, Received};
use super::super::stages;
use super::super::touchpoints::{self, Touch};
use super::super::{SYNC_SOURCE, events};
use super::{SOURCES, verify};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::db::{Tx, args};
use crate::error::{Error, Kind, Result};
use crate::records::body::{Body, invalid, text};
use crate::records::plan::{Change, Effect, Plan, STALE};
use crate::records::secrets::{self, Keep};
use crate::records::store;
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute};

/// Name of the secret of a source.
const SECRET: &str = "signing";
/// Mails in one mailbox that is handed in.
const MAILS: usize = 2000;

/// Fields that a mapping may set: names in the API and those of the lead.
const FIELDS: [(&str, &str); 12] = [
    ("email", "email"),
    ("name", "name"),
    ("firstName", "first_name"),
    ("lastName", "last_name"),
    ("phone", "phone"),
    ("organizationName", "company_name"),
    ("businessType", "business_type"),
    ("tier", "tier"),
    ("title", "job_title"),
    ("notes", "notes"),
    ("timeZone", "time_zone"),
    ("message", "message"),
];

/// Names under which messages usually have a field.
fn usual(field: &str) -> &'static [&'static str] {
    match field {
        "email" => &["email", "email_address", "emailAddress", "mail", "e-mail"],
        "name" => &["name", "full_name", "fullName"],
        "firstName" => &["firstName", "first_name", "firstname", "given_name"],
        "lastName" => &["lastName", "last_name", "lastname", "family_name"],
        "phone" => &["phone", "phone_number", "phoneNumber", "tel"],
        "organizationName" => &[
            "organizationName",
            "clinicName",
            "company",
            "company_name",
            "organization",
        ],
        "businessType" => &["businessType", "practiceType", "industry"],
        "tier" => &["tier"],
        "title" => &["title", "job_title", "jobTitle"],
        "timeZone" => &["timeZone", "timezone", "time_zone"],
        "message" => &["message", "comment", "comments", "question", "text"],
        _ => &[],
    }
}

/// Checks a source: its mapping names fields of leads.
pub(in crate::outreach) fn complete(change: &mut Change<'_>) -> Result<()> {
    change.default("enabled", true);
    let mapping = change.body.get("mapping").and_then(Value::as_object);
    for (field, path) in mapping.into_iter().flatten() {
        let is_known =
            FIELDS.iter().any(|(name, _)| name == field) || field.starts_with("customFields.");
        if !is_known {
            let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            return Err(invalid(format!(
                "mapping: unknown field {field:?}; fields are {}, and customFields.KEY",
                names.join(", ")
            )));
        }
        if !path.is_string() {
            return Err(invalid(format!(
                "mapping.{field} must be the path of a member of the message, such as answers.email"
            )));
        }
    }
    if !change.is_new() && change.changes("type") {
        return Err(invalid(
            "the type of a source cannot be changed; create another source",
        ));
    }
    Ok(())
}

fn new_secret(app: &App) -> String {
    // The digits themselves are the key: their base64 has neither `/` nor `+`, so that it can be part of an address.
    format!("whsec_{}", STANDARD.encode(app.clock.secret()))
}

/// Returns a plan that adds a source with a secret, which the answer shows once.
///
/// # Errors
/// Those of [`write::create`].
pub async fn create(app: &App, caller: &Caller, body: Body) -> Result<Plan> {
    let mut plan = write::create(app, caller, &SYNC_SOURCE, New::from(&body)).await?;
    let id = plan.record().map(|r| r.id.clone()).unwrap_or_default();
    with_secret(app, caller, &mut plan, &id).await?;
    Ok(plan)
}

async fn with_secret(app: &App, caller: &Caller, plan: &mut Plan, id: &str) -> Result<()> {
    let secret = new_secret(app);
    let keep = Keep::of(app, caller.tenant(), id, &[(SECRET, &secret)]).await?;
    plan.after.push(keep);
    plan.shown.insert("secret".to_owned(), json!(secret));
    plan.is_secret = true;
    Ok(())
}

/// Adds a new secret to a plan that changes a source; the old one is refused from then on.
///
/// # Errors
/// Those of the key.
pub async fn rotate(app: &App, caller: &Caller, plan: &mut Plan, id: &str) -> Result<()> {
    with_secret(app, caller, plan, id).await
}

/// Returns the secret of a source.
///
/// # Errors
/// Those of the database and the key.
pub async fn secret_of(app: &App, tenant_id: &str, id: &str) -> Result<Option<String>> {
    secrets::get(app, tenant_id, id, SECRET).await
}

/// A message that came to the address of a source.
#[derive(Debug)]
pub struct Message<'a> {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    pub signed: Option<(&'a str, &'a str, &'a str)>,
    /// The secret itself, as the last part of the address: only forms may send it, which cannot sign.
    pub secret: Option<&'a str>,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Returns the source with a public id, whoever it belongs to: its address is public, and the signature decides.
async fn by_address(app: &App, public_id: &str) -> Result<Record> {
    let missing = || Error::not_found("source_unknown", "there is no source at this address");
    let id = SYNC_SOURCE.row_id(public_id).ok_or_else(missing)?;
    let tenant: Option<(String,)> = app
        .db
        .optional(
            "SELECT tenant_id FROM records WHERE kind = $1 AND id = $2",
            args![SYNC_SOURCE.name, id],
        )
        .await?;
    let (tenant_id,) = tenant.ok_or_else(missing)?;
    store::optional(&app.db, &tenant_id, &SYNC_SOURCE, id)
        .await?
        .ok_or_else(missing)
}

/// Verifies a message and returns its id.
async fn verified(
    app: &App,
    source: &Record,
    body: &Body,
    message: &Message<'_>,
) -> Result<String> {
    use subtle::ConstantTimeEq;
    let secret = secret_of(app, &source.tenant_id, &source.id).await?;
    let secret = secret
        .ok_or_else(|| Error::unauthorized("signature_invalid", "the source has no secret"))?;
    if let Some(signed) = message.signed {
        verify::standard(&secret, signed, message.body, app.clock.now())?;
        return Ok(signed.0.chars().take(200).collect());
    }
    let is_form = text(body, "type") == Some("form_webhook");
    match message.secret {
        Some(given) if is_form && bool::from(given.as_bytes().ct_eq(secret.as_bytes())) => {
            // A form that is submitted twice with the same content is one message.
            Ok(format!(
                "form/{}",
                hex::encode(Sha256::digest(message.body))
            ))
        }
        _ => Err(Error::unauthorized(
            "signature_invalid",
            "send webhook-id, webhook-timestamp and webhook-signature (Standard Webhooks); forms may append the secret to the address",
        )),
    }
}

/// Reads the body of a message: JSON, or a form.
fn read(message: &Message<'_>) -> Result<Value> {
    if message
        .content_type
        .starts_with("application/x-www-form-urlencoded")
    {
        let members = url::form_urlencoded::parse(message.body);
        let members = members.map(|(name, value)| (name.into_owned(), json!(value)));
        return Ok(Value::Object(members.collect()));
    }
    serde_json::from_slice(message.body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| {
            invalid(
                "the body must be a JSON object, a form, or for mailboxes a mail or an mbox file",
            )
        })
}

/// Accepts a message for a source. Returns what was done.
///
/// # Errors
/// `source_unknown`, `source_disabled`, `signature_invalid`, `body_invalid`, `lead_limit_reached`.
pub async fn receive(app: &App, public_id: &str, message: Message<'_>) -> Result<Value> {
    let source = by_address(app, public_id).await?;
    let settings = source.body()?;
    let message_id = verified(app, &source, &settings, &message).await?;
    if settings.get("enabled") == Some(&json!(false)) {
        return Err(Error::conflict(
            "source_disabled",
            "this source is disabled",
        ));
    }
    let once = Once::new(&source.tenant_id, &source.id, &message_id);
    let is_mail = message.content_type.starts_with("message/rfc822")
        || message.content_type.starts_with("application/mbox");
    let outcome = match once.state(app).await? {
        Some(true) => return Ok(repeated()),
        state if is_mail => mailbox(app, &source, &settings, &message, &once, state).await,
        state => report(app, &source, &settings, &read(&message)?, &once, state).await,
    };
    match outcome {
        Err(error) if error.code() == REPEATED => Ok(repeated()),
        other => other,
    }
}

/// Returns the answer to a message that was accepted before.
pub(super) fn repeated() -> Value {
    json!({"success": true, "duplicate": true})
}

/// Returns the value at a path of names separated by dots.
fn at_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| {
        if let Value::Array(list) = value {
            list.get(name.parse::<usize>().ok()?)
        } else {
            value.get(name)
        }
    })
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|t| !t.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads the fields of a lead from a message.
fn mapped(settings: &Body, given: &Value) -> Body {
    let mapping = settings.get("mapping").and_then(Value::as_object);
    let mut fields = Body::new();
    for (name, field) in FIELDS {
        let path = mapping.and_then(|m| m.get(name)).and_then(Value::as_str);
        let value = match path {
            Some(path) => at_path(given, path).and_then(as_text),
            None => usual(name)
                .iter()
                .find_map(|n| given.get(*n).and_then(as_text)),
        };
        if let Some(value) = value {
            fields.insert(field.to_owned(), json!(value));
        }
    }
    let mut custom = Body::new();
    for (name, path) in mapping.into_iter().flatten() {
        let key = name.strip_prefix("customFields.");
        let value = path.as_str().and_then(|path| at_path(given, path));
        if let (Some(key), Some(value)) = (key, value) {
            custom.insert(key.to_owned(), value.clone());
        }
    }
    if !custom.is_empty() {
        fields.insert("custom_fields".to_owned(), Value::Object(custom));
    }
    fields
}

/// Demands that there is no lead with an address yet, and keeps others from adding one meanwhile.
#[derive(Debug)]
struct NoLead {
    tenant_id: String,
    email: String,
}

#[async_trait]
impl Effect for NoLead {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        lock_address(tx, &self.tenant_id, &self.email).await?;
        let found: Option<(String,)> = tx
            .optional(
                "SELECT record_id FROM record_facets WHERE kind = $1 AND name = 'email' AND value = $2 AND tenant_id = $3 LIMIT 1",
                args![LEAD.name, &self.email, &self.tenant_id],
            )
            .await?;
        if found.is_some() {
            return Err(Error::conflict(
                STALE,
                "a lead with this address was added meanwhile",
            ));
        }
        Ok(None)
    }
}

/// Returns the custom fields of a message without those that the lead has.
fn missing_members(known: Option<&Value>, given: &Value) -> Option<Value> {
    let known = known.and_then(Value::as_object);
    let mut given = given.as_object()?.clone();
    given.retain(|name, _| known.is_none_or(|k| k.get(name).is_none_or(Value::is_null)));
    (!given.is_empty()).then_some(Value::Object(given))
}

/// Returns a plan that adds the lead with these fields, or fills in what an existing one lacks and moves it to a stage. A stage that was deleted is left out.
pub(super) async fn upsert(
    app: &App,
    caller: &Caller,
    fields: &Body,
    stage: Option<&str>,
) -> Result<Plan> {
    let mut fields = fields.clone();
    let email = text(&fields, "email").unwrap_or_default().to_lowercase();
    fields.insert("email".to_owned(), json!(email));
    let stages = stages::all(app, caller.tenant()).await?;
    let stage = stage
        .and_then(|word| stages::find(&stages, word))
        .map(|s| s.id.clone());
    let Some(lead) = leads::by_email(app, caller.tenant(), &email).await? else {
        if !fields.contains_key("first_name") {
            let name = text(&fields, "name").map(str::to_owned);
            let name =
                name.unwrap_or_else(|| email.split('@').next().unwrap_or_default().to_owned());
            let (first, last) = name.split_once(' ').unwrap_or((name.as_str(), ""));
            fields.insert("first_name".to_owned(), json!(first));
            if !last.is_empty() {
                fields.insert("last_name".to_owned(), json!(last.trim()));
            }
        }
        let wanted = Wanted {
            fields,
            status: None,
            stage,
        };
        let mut plan = leads::create(app, caller, wanted).await?;
        plan.before.push(Box::new(NoLead {
            tenant_id: caller.tenant().to_owned(),
            email,
        }));
        return Ok(plan);
    };
    // People know their leads better than a form does.
    let known = lead.body()?;
    let custom = fields
        .shift_remove("custom_fields")
        .and_then(|given| missing_members(known.get("custom_fields"), &given));
    fields.retain(|name, _| known.get(name).is_none_or(Value::is_null));
    fields.extend(custom.map(|custom| ("custom_fields".to_owned(), custom)));
    if fields.is_empty() && stage.is_none() {
        return Ok(Plan::default().unchanged(&LEAD, lead));
    }
    let wanted = Wanted {
        fields,
        status: None,
        stage,
    };
    leads::update(app, caller, lead, wanted).await
}

/// Applies a report about a lead: first the lead, then its touchpoint. `state` is that of an earlier delivery which did not finish.
async fn report(
    app: &App,
    source: &Record,
    settings: &Body,
    given: &Value,
    once: &Once,
    state: Option<bool>,
) -> Result<Value> {
    let caller = Caller::local(&source.tenant_id);
    let mut fields = mapped(settings, given);
    let email = text(&fields, "email").map(str::to_lowercase);
    let email = email.filter(|e| !e.contains('\0')).ok_or_else(|| {
        invalid("the message names no email; set mapping.email of the source to the path of the address")
    })?;
    let said = given
        .get("event")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if matches!(
        said,
        "bounce" | "bounced" | "unsubscribe" | "unsubscribed" | "complaint"
    ) {
        let reason = if said.starts_with("bounce") {
            "bounced"
        } else {
            "unsubscribed"
        };
        receivers::block(app, &source.tenant_id, &email, reason, Some(said)).await?;
        once.remember(app).await?;
        return Ok(json!({"success": true, "blocked": email, "reason": reason}));
    }
    let message = fields.shift_remove("message");
    let message = message.as_ref().and_then(Value::as_str).map(str::to_owned);
    if state.is_none() {
        let stage = text(settings, "stage_id");
        add(app, &caller, &fields, stage, once).await?;
    }
    let event = events::named(said).map(str::to_owned);
    let event = event.or_else(|| text(settings, "event").map(str::to_owned));
    let value = ["score", "percent", "value"]
        .iter()
        .find_map(|n| given.get(*n)?.as_f64());
    let touch = Touch {
        touchpoint_type: event.unwrap_or_else(|| match text(settings, "type") {
            Some("form_webhook") => "form_submitted".to_owned(),
            _ => "source_message".to_owned(),
        }),
        summary: format!("from {}", source.title),
        text: message,
        value,
        metadata: Body::from_iter([
            (
                "source".to_owned(),
                json!(SYNC_SOURCE.public_id(&source.id)),
            ),
            ("payload".to_owned(), given.clone()),
        ]),
        ..Touch::default()
    };
    let id = touched(app, &caller, &email, touch, once).await?;
    Ok(json!({"success": true, "leadId": id}))
}

/// Adds or completes the lead of a message, as the first of its two transactions.
pub(super) async fn add(
    app: &App,
    caller: &Caller,
    fields: &Body,
    stage: Option<&str>,
    once: &Once,
) -> Result<()> {
    let request = Request::internal(caller, "receiveFromSource");
    execute(app, &request, || async {
        let mut plan = upsert(app, caller, fields, stage).await?;
        plan.before.push(Box::new(once.begin()));
        Ok(plan)
    })
    .await
    .map(|_| ())
}

/// Logs a touchpoint of the lead with an address, as the second transaction of a message. Returns the public id of the lead.
async fn touched(
    app: &App,
    caller: &Caller,
    email: &str,
    touch: Touch,
    once: &Once,
) -> Result<String> {
    let touch = touch.clipped();
    let request = Request::internal(caller, "logTouchpoint");
    let answer = execute(app, &request, || async {
        let lead = leads::by_email(app, caller.tenant(), email).await?;
        let lead = lead.ok_or_else(|| Error::conflict(STALE, "the lead was deleted"))?;
        let id = format!("rp_{}", lead.id);
        let mut plan = touchpoints::log(app, caller, lead, touch.clone()).await?;
        plan.before.push(Box::new(once.finish()));
        Ok(plan.data(200, json!(id)))
    })
    .await?;
    Ok(answer.data.as_str().unwrap_or_default().to_owned())
}

/// Result of reading a mailbox.
#[derive(Debug, Default)]
struct Read {
    bounced: usize,
    touchpoints: usize,
    leads: usize,
    skipped: usize,
    duplicates: usize,
}

/// Reads a mail, or the mails of an mbox file. Mails of leads become touchpoints; other senders become leads. One mail that cannot be kept hinders no other.
async fn mailbox(
    app: &App,
    source: &Record,
    settings: &Body,
    message: &Message<'_>,
    once: &Once,
    state: Option<bool>,
) -> Result<Value> {
    let mails: Vec<Vec<u8>> = if message.content_type.starts_with("application/mbox") {
        MessageIterator::new(message.body)
            .take(MAILS)
            .filter_map(std::result::Result::ok)
            .map(|mail| mail.contents().to_vec())
            .collect()
    } else {
        vec![message.body.to_vec()]
    };
    let mut read = Read::default();
    for raw in &mails {
        let outcome = mail(app, source, settings, raw, &mut read).await;
        match outcome {
            Ok(()) => {}
            Err(error) if error.code() == REPEATED => read.duplicates += 1,
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Invalid | Kind::Unprocessable | Kind::Forbidden
                ) && mails.len() > 1 =>
            {
                tracing::info!(source = source.id, error = %error, "a mail was skipped");
                read.skipped += 1;
            }
            Err(error) => return Err(error),
        }
    }
    if state.is_none() {
        once.remember(app).await?;
    }
    Ok(json!({
        "success": true, "mails": mails.len(), "bounced": read.bounced, "touchpoints": read.touchpoints, "leads": read.leads, "skipped": read.skipped,
        "duplicates": read.duplicates
    }))
}

/// Reads one mail of a mailbox.
async fn mail(
    app: &App,
    source: &Record,
    settings: &Body,
    raw: &[u8],
    read: &mut Read,
) -> Result<()> {
    let id = MessageParser::default().parse(raw);
    let id = id.and_then(|m| m.message_id().map(str::to_owned));
    let id = id.filter(|id| !id.contains('\0'));
    let id = id.unwrap_or_else(|| hex::encode(Sha256::digest(raw)));
    let key = format!("mail/{}", id.chars().take(180).collect::<String>());
    let once = Once::new(&source.tenant_id, &source.id, &key);
    let state = once.state(app).await?;
    if state == Some(true) {
        read.duplicates += 1;
        return Ok(());
    }
    let caller = Caller::local(&source.tenant_id);
    match replies::receive(app, &source.tenant_id, raw).await? {
        Received::Bounced(_) => {
            read.bounced += 1;
            once.remember(app).await
        }
        Received::Report => {
            read.skipped += 1;
            once.remember(app).await
        }
        Received::FromLead { lead_id, touch } => {
            receivers::touch_lead(app, &source.tenant_id, &lead_id, *touch, Some(once)).await?;
            read.touchpoints += 1;
            Ok(())
        }
        Received::Unknown {
            address,
            name,
            subject,
            text,
        } => {
            let mut fields = Body::from_iter([("email".to_owned(), json!(address))]);
            let name = name.map(|n| n.split_whitespace().collect::<Vec<_>>().join(" "));
            if let Some(name) = name.filter(|n| !n.is_empty()) {
                fields.insert(
                    "name".to_owned(),
                    json!(name.chars().take(200).collect::<String>()),
                );
            }
            if state.is_none() {
                add(
                    app,
                    &caller,
                    &fields,
                    crate::records::body::text(settings, "stage_id"),
                    &once,
                )
                .await?;
            }
            let touch = Touch {
                touchpoint_type: "email_received".to_owned(),
                summary: subject,
                text: Some(text),
                ..Touch::default()
            };
            touched(app, &caller, &address, touch, &once).await?;
            read.leads += 1;
            Ok(())
        }
    }
}

/// Returns the address of a source.
#[must_use]
pub fn path(source: &Record) -> String {
    format!("{SOURCES}/{}", SYNC_SOURCE.public_id(&source.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_from_their_paths_or_usual_names() {
        let settings =
            json!({"mapping": {"email": "answers.0.value", "customFields.chairs": "chairs"}});
        let given = json!({"answers": [{"value": "ada@berg.test"}], "first_name": "Ada", "company": " Berg ", "chairs": 4});
        let fields = mapped(settings.as_object().expect("an object"), &given);
        assert_eq!(
            Value::Object(fields),
            json!({"email": "ada@berg.test", "first_name": "Ada", "company_name": "Berg", "custom_fields": {"chairs": 4}})
        );
    }
}
