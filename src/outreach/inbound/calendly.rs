//! Calendly: a personal access token is checked by a call, a webhook is registered and removed, and bookings become leads with a touchpoint and a task for the
//! meeting, whose invitation (iCalendar) is part of the touchpoint.

use chrono::{DateTime, Utc};
use icalendar::{Calendar, Component, Event, EventLike};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

use super::super::CONNECTION;
use super::super::leads;
use super::super::once::{Once, REPEATED};
use super::super::touchpoints::{self, Touch};
use super::sources::{add, repeated};
use super::{CALENDLY, verify};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::{Error, Result};
use crate::outgoing::{self, endpoint_client};
use crate::records::body::{Body, text};
use crate::records::plan::{Plan, STALE};
use crate::records::secrets::{self, Keep};
use crate::records::store::{self, Offset};
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute};
use crate::work::TASK;

/// Bytes of an answer of Calendly.
const ANSWER: usize = 1 << 20;
const TOKEN: &str = "token";
const SIGNING: &str = "signing";

fn failed(message: String) -> Error {
    Error::unavailable("calendly_failed", message)
}

/// Calls the API of Calendly. Returns the answer, or `None` for 404.
async fn call(
    app: &App,
    token: &str,
    method: Method,
    address: &str,
    body: Option<&Value>,
) -> Result<Option<Value>> {
    let client = endpoint_client()
        .timeout(Duration::from_secs(15))
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let base = app.config.calendly_url.trim_end_matches('/');
    let url = if address.contains("://") {
        address.to_owned()
    } else {
        format!("{base}{address}")
    };
    // The addresses of resources come from Calendly; the token goes to no other host.
    if !url.starts_with(&format!("{base}/")) {
        return Err(failed(
            "Calendly named an address outside of its API".to_owned(),
        ));
    }
    let mut request = client.request(method, url).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request
        .send()
        .await
        .map_err(|e| failed(format!("Calendly: {}", outgoing::cause(&e).1)))?;
    match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::NO_CONTENT => Ok(Some(Value::Null)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::invalid(
            "calendly_token_refused",
            "Calendly refuses this personal access token",
        )
        .with_hint("a person creates a token at https://calendly.com/integrations/api_webhooks; it needs the rights users:read and webhooks:write")),
        status if !status.is_success() => Err(failed(format!("Calendly returned status {}", status.as_u16()))),
        _ => {
            let body = outgoing::beginning(response, ANSWER)
                .await
                .map_err(|e| failed(format!("Calendly: {}", outgoing::cause(&e).1)))?;
            let answer = serde_json::from_slice(&body);
            answer
                .map(Some)
                .map_err(|e| failed(format!("Calendly answered no JSON: {e}")))
        }
    }
}

async fn existing(app: &App, tenant_id: &str) -> Result<Option<Record>> {
    let query = Offset {
        filters: vec![("provider".to_owned(), "calendly".to_owned())],
        limit: 1,
        ..Offset::default()
    };
    let (found, _) = store::at_offset(app, tenant_id, &CONNECTION, &query).await?;
    Ok(found.into_iter().next())
}

/// Connects: checks the token, registers the webhook, and stores both. An earlier connection is replaced.
///
/// # Errors
/// `calendly_token_refused`, `calendly_failed`.
pub async fn connect(app: &App, caller: &Caller, token: &str, base: &str) -> Result<Value> {
    let user = call(app, token, Method::GET, "/users/me", None).await?;
    let user =
        user.ok_or_else(|| failed("Calendly does not know the user of this token".to_owned()))?;
    let word = |name: &str| {
        user["resource"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (account, organization) = (word("uri"), word("current_organization"));
    if organization.is_empty() {
        return Err(failed(
            "Calendly names no organization of this user".to_owned(),
        ));
    }
    // The earlier connection works until the new one does.
    let earlier = match existing(app, caller.tenant()).await? {
        Some(connection) => registered(app, &connection).await?,
        None => None,
    };
    let fields = Body::from_iter([
        ("provider".to_owned(), json!("calendly")),
        ("account_name".to_owned(), json!(word("name"))),
        ("account_uri".to_owned(), json!(account)),
        ("organization_uri".to_owned(), json!(organization)),
    ]);
    let record = write::draft(app, caller, &CONNECTION, New::from(&fields))?;
    let callback = format!("{base}{CALENDLY}/{}", CONNECTION.public_id(&record.id));
    let signing = app.clock.secret();
    let subscription = json!({
        "url": callback, "events": ["invitee.created", "invitee.canceled"], "organization": organization, "user": account, "scope": "user", "signing_key": signing
    });
    let made = call(
        app,
        token,
        Method::POST,
        "/webhook_subscriptions",
        Some(&subscription),
    )
    .await?;
    let webhook = made.as_ref().and_then(|m| m["resource"]["uri"].as_str());
    let webhook = webhook
        .ok_or_else(|| failed("Calendly registered no webhook".to_owned()))?
        .to_owned();
    let request = Request::internal(caller, "connectCalendly");
    let stored = execute(app, &request, || async {
        let mut body = fields.clone();
        body.insert("webhook_uri".to_owned(), json!(webhook));
        body.insert("callback_url".to_owned(), json!(callback));
        let mut record = record.clone();
        record.body = Value::Object(body).to_string();
        let earlier = existing(app, caller.tenant()).await?;
        let keep = Keep::of(
            app,
            caller.tenant(),
            &record.id,
            &[(TOKEN, token), (SIGNING, &signing)],
        )
        .await?;
        let mut plan = Plan::default();
        if let Some(earlier) = earlier {
            plan.after.push(Keep::nothing(caller.tenant(), &earlier.id));
            plan.delete(&CONNECTION, earlier);
        }
        plan.create_silently(&CONNECTION, record);
        plan.after.push(keep);
        Ok(plan)
    })
    .await;
    if let Err(error) = stored {
        // Nothing would verify what this webhook sends.
        if let Err(left) = call(app, token, Method::DELETE, &webhook, None).await {
            tracing::warn!(error = %left, "a webhook at Calendly could not be removed");
        }
        return Err(error);
    }
    if let Some((token, webhook)) = earlier
        && let Err(left) = call(app, &token, Method::DELETE, &webhook, None).await
    {
        tracing::warn!(error = %left, "the webhook of an earlier connection at Calendly could not be removed");
    }
    status(app, caller).await
}

/// Returns the token and the webhook of a connection.
async fn registered(app: &App, connection: &Record) -> Result<Option<(String, String)>> {
    let token = secrets::get(app, &connection.tenant_id, &connection.id, TOKEN).await?;
    let body = connection.body()?;
    let webhook = text(&body, "webhook_uri").map(str::to_owned);
    Ok(token.zip(webhook))
}

/// Returns the state of the connection as the API shows it.
///
/// # Errors
/// Those of the database.
pub async fn status(app: &App, caller: &Caller) -> Result<Value> {
    let Some(connection) = existing(app, caller.tenant()).await? else {
        return Ok(json!({"connected": false}));
    };
    let body = connection.body()?;
    let (bookings, last): (i64, Option<crate::clock::Time>) = app
        .db
        .one(
            "SELECT COUNT(*), MAX(received_on) FROM inbound_messages WHERE source_id = $1 AND tenant_id = $2",
            args![&connection.id, caller.tenant()],
        )
        .await?;
    Ok(json!({
        "connected": true,
        "id": CONNECTION.public_id(&connection.id),
        "account": body.get("account_name"),
        "accountUri": body.get("account_uri"),
        "webhookUrl": body.get("callback_url"),
        "connectedAt": connection.created_on.rfc3339(),
        "eventsReceived": bookings,
        "lastEventAt": last.map(crate::clock::Time::rfc3339),
    }))
}

/// Disconnects: removes the webhook at Calendly and forgets the token. Returns whether there was a connection, and what could not be removed at Calendly.
///
/// # Errors
/// Those of the database.
pub async fn disconnect(app: &App, caller: &Caller) -> Result<(bool, Option<String>)> {
    let Some(connection) = existing(app, caller.tenant()).await? else {
        return Ok((false, None));
    };
    let mut left = None;
    if let Some((token, webhook)) = registered(app, &connection).await?
        && let Err(error) = call(app, &token, Method::DELETE, &webhook, None).await
    {
        // The connection ends all the same; a token that was revoked could otherwise never be removed.
        left = Some(error.public_message().to_owned());
    }
    let request = Request::internal(caller, "disconnectCalendly");
    execute(app, &request, || async {
        let mut plan = Plan::default();
        let record = store::get(app, caller.tenant(), &CONNECTION, &connection.id).await?;
        plan.delete(&CONNECTION, record);
        plan.after
            .push(Keep::nothing(caller.tenant(), &connection.id));
        Ok(plan)
    })
    .await?;
    Ok((true, left))
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(value.as_str()?)
        .ok()
        .map(|t| t.to_utc())
}

/// Returns the invitation of a meeting (RFC 5545).
fn invitation(name: &str, invitee: &str, event: &Value) -> Option<String> {
    let (start, end) = (time(&event["start_time"])?, time(&event["end_time"])?);
    let mut entry = Event::new();
    entry.summary(name).starts(start).ends(end);
    if let Some(uri) = event["uri"].as_str() {
        entry.uid(uri);
    }
    let place = event["location"]["join_url"]
        .as_str()
        .or(event["location"]["location"].as_str());
    if let Some(place) = place {
        entry.location(place);
    }
    entry.add_property("ATTENDEE", format!("mailto:{invitee}"));
    Some(Calendar::new().push(entry.done()).done().to_string())
}

/// Accepts an event of Calendly at the address of a connection.
///
/// # Errors
/// `source_unknown`, `signature_invalid`, `body_invalid`.
pub async fn receive(
    app: &App,
    public_id: &str,
    signature: Option<&str>,
    raw: &[u8],
) -> Result<Value> {
    let missing = || Error::not_found("source_unknown", "there is no connection at this address");
    let id = CONNECTION.row_id(public_id).ok_or_else(missing)?;
    let owner: Option<(String,)> = app
        .db
        .optional(
            "SELECT tenant_id FROM records WHERE kind = $1 AND id = $2",
            args![CONNECTION.name, id],
        )
        .await?;
    let (tenant_id,) = owner.ok_or_else(missing)?;
    let key = secrets::get(app, &tenant_id, id, SIGNING)
        .await?
        .ok_or_else(missing)?;
    let signature = signature.ok_or_else(|| {
        Error::unauthorized("signature_invalid", "Calendly-Webhook-Signature is missing")
    })?;
    verify::calendly(&key, signature, raw, app.clock.now())?;
    let message: Value = serde_json::from_slice(raw)
        .map_err(|e| Error::invalid("body_invalid", format!("the body must be JSON: {e}")))?;
    let (event, payload) = (
        message["event"].as_str().unwrap_or_default(),
        &message["payload"],
    );
    let invitee = payload["uri"].as_str().unwrap_or_default();
    // The same booking comes with the same address of its invitee, whenever it is sent again.
    let message_id = format!("{event}/{}", invitee.chars().take(180).collect::<String>());
    let caller = Caller::local(&tenant_id);
    let email = payload["email"].as_str().map(str::to_lowercase);
    let Some(email) = email.filter(|e| e.contains('@') && !e.contains('\0')) else {
        return Err(Error::invalid("body_invalid", "payload.email is missing"));
    };
    if !matches!(event, "invitee.created" | "invitee.canceled") {
        return Ok(json!({"success": true, "ignored": event}));
    }
    let mut fields = Body::from_iter([("email".to_owned(), json!(email))]);
    for (name, field) in [
        ("name", "name"),
        ("first_name", "first_name"),
        ("last_name", "last_name"),
        ("timezone", "time_zone"),
    ] {
        if let Some(value) = payload[name].as_str().filter(|v| !v.trim().is_empty()) {
            fields.insert(field.to_owned(), json!(value));
        }
    }
    let once = Once::new(&tenant_id, id, &message_id);
    let state = once.state(app).await?;
    if state == Some(true) {
        return Ok(repeated());
    }
    let is_known = leads::by_email(app, &tenant_id, &email).await?.is_some();
    if event == "invitee.canceled" && !is_known {
        once.remember(app).await?;
        return Ok(json!({"success": true, "ignored": event}));
    }
    let outcome = async {
        if state.is_none() {
            add(app, &caller, &fields, None, &once).await?;
        }
        let request = Request::internal(&caller, "receiveBooking");
        execute(app, &request, || async {
            let lead = leads::by_email(app, &tenant_id, &email).await?;
            let lead = lead.ok_or_else(|| Error::conflict(STALE, "the lead was deleted"))?;
            let mut plan = booked(app, &caller, lead, event, &email, payload).await?;
            plan.before.push(Box::new(once.finish()));
            Ok(plan)
        })
        .await
    };
    match outcome.await {
        Ok(answer) => Ok(answer.data),
        Err(error) if error.code() == REPEATED => Ok(repeated()),
        Err(error) => Err(error),
    }
}

/// Returns a plan that logs a booking or its cancellation; a booking also gets a task that is due when the meeting begins.
async fn booked(
    app: &App,
    caller: &Caller,
    lead: Record,
    event: &str,
    email: &str,
    payload: &Value,
) -> Result<Plan> {
    let scheduled = &payload["scheduled_event"];
    let name = scheduled["name"].as_str().unwrap_or("Meeting").to_owned();
    let lead_id = format!("rp_{}", lead.id);
    let link = LEAD.public_id(&lead.id);
    let is_new = event == "invitee.created";
    let mut metadata = Body::new();
    let meeting = json!({
        "name": name, "start": scheduled["start_time"], "end": scheduled["end_time"], "location": scheduled["location"], "uri": scheduled["uri"]
    });
    metadata.insert("meeting".to_owned(), meeting);
    if let Some(ics) = invitation(&name, email, scheduled).filter(|_| is_new) {
        metadata.insert("ics".to_owned(), json!(ics));
    }
    let answers = payload["questions_and_answers"].as_array();
    let answers: Vec<String> = answers
        .into_iter()
        .flatten()
        .filter_map(|qa| {
            Some(format!(
                "{}: {}",
                qa["question"].as_str()?,
                qa["answer"].as_str()?
            ))
        })
        .collect();
    let start = scheduled["start_time"]
        .as_str()
        .unwrap_or("an unknown time");
    let touch = Touch {
        touchpoint_type: if is_new {
            "meeting_booked"
        } else {
            "meeting_canceled"
        }
        .to_owned(),
        summary: format!("{name} on {start}"),
        text: (!answers.is_empty()).then(|| answers.join("\n")),
        metadata,
        ..Touch::default()
    };
    let mut plan = touchpoints::log(app, caller, lead, touch.clipped()).await?;
    if is_new {
        let mut task = Body::from_iter([
            ("title".to_owned(), json!(format!("{name} with {email}"))),
            ("related_resource_type".to_owned(), json!("lead")),
            ("related_resource_id".to_owned(), json!(link)),
        ]);
        if time(&scheduled["start_time"]).is_some() {
            task.insert("due_on".to_owned(), json!(start));
        }
        plan = plan.with(write::create(app, caller, &TASK, New::from(&task)).await?);
    }
    Ok(plan.data(200, json!({"success": true, "leadId": lead_id})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_has_time_place_and_guest() {
        let event = json!({"uri": "https://api.calendly.com/e/1", "start_time": "2026-06-01T09:00:00Z", "end_time": "2026-06-01T09:30:00Z", "location": {"join_url": "https://meet.test/1"}});
        let text = invitation("Demo", "ada@berg.test", &event).expect("an invitation");
        for line in [
            "DTSTART:20260601T090000Z",
            "DTEND:20260601T093000Z",
            "SUMMARY:Demo",
            "UID:https://api.calendly.com/e/1",
            "mailto:ada@berg.test",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
