//! Webhooks. What happens is written as a delivery for each endpoint that wants it, in the transaction that causes it, and sent by jobs: signed as Standard Webhooks
//! (`webhook-id`, `webhook-timestamp`, `webhook-signature`) and, beside that, as Slab5 signs (`x-slab5-signature`), tried again for about a day or up to the
//! endpoint's `max_attempts`, logged. `webhook-id` is that of the event: the same at every attempt, so that a receiver can tell what it has seen.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::body::{Body, invalid, text};
use super::commit::{self, Plan, Request};
use super::deliveries::{Delivery, attempt_at, purpose, resume, sealed};
use super::spec;
use super::store;
use crate::app::App;
use crate::auth::{Area, Caller, MODULE_DISABLED, keys};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::Record;
use crate::seal;

/// Event types that every workspace has: key, category, description.
pub const BUILT_IN: &[(&str, &str, &str)] = &[
    ("contact.created", "crm", "A contact was added."),
    ("company.created", "crm", "A company was added."),
    ("lead.created", "crm", "A lead was added."),
    ("lead.updated", "crm", "A lead changed."),
    (
        "lead.converted",
        "crm",
        "A lead became a contact, and perhaps a deal.",
    ),
    ("deal_stage.created", "crm", "A deal stage was added."),
    ("deal.created", "crm", "A deal was added."),
    ("deal.updated", "crm", "A deal changed."),
    ("invoice.created", "crm", "An invoice was added."),
    (
        "invoice.updated",
        "crm",
        "An invoice changed, by a payment for instance.",
    ),
    ("invoice.paid", "crm", "An invoice is paid in full."),
    ("payment.created", "crm", "A payment was recorded."),
    ("account.created", "crm", "A ledger account was added."),
    ("journal_entry.created", "crm", "A journal entry was added."),
    ("support_queue.created", "support", "A queue was added."),
    ("ticket.created", "support", "A ticket was opened."),
    ("ticket.updated", "support", "A ticket changed."),
    (
        "ticket_message.created",
        "support",
        "A message was added to a ticket.",
    ),
    (
        "ticket_comment.created",
        "support",
        "A comment was added to a ticket.",
    ),
    ("task.created", "tasks", "A task was added."),
    ("task.updated", "tasks", "A task changed."),
    ("activity.created", "activity", "An activity was logged."),
    ("cms_collection.created", "cms", "A collection was added."),
    ("cms_site.created", "cms", "A site was added."),
    ("cms_entry.created", "cms", "An entry was added."),
    (
        "cms_entry.updated",
        "cms",
        "An entry changed, by being published for instance.",
    ),
    ("marketing_campaign.created", "cms", "A campaign was added."),
    ("marketing_post.created", "cms", "A post was added."),
    ("asset.created", "assets", "An upload was announced."),
    (
        "asset.updated",
        "assets",
        "An asset was uploaded or archived.",
    ),
    (
        "analytics_event.created",
        "analytics",
        "An analytics event was defined.",
    ),
    (
        "bi_export.updated",
        "usage",
        "An export was written, or failed.",
    ),
];

/// States of a delivery.
pub const STATES: [&str; 4] = ["pending", "retrying", "succeeded", "failed"];
/// What the sending of a test is called.
const TEST: &str = "webhook.test";
/// Waiting times between attempts, in seconds: about a day in all. Further attempts wait as long as the last of these.
const WAITS: [u64; 10] = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 32_400];
/// Attempts for a delivery when the endpoint does not say.
const ATTEMPTS: i64 = 11;
/// An endpoint that has failed for this long is disabled, in milliseconds.
const GIVEN_UP: i64 = 20 * 60 * 60 * 1000;

/// Checks an endpoint: its address must be one that may be reached.
pub(super) fn endpoint(app: &App, body: &Body) -> Result<()> {
    let address = text(body, "url").and_then(|u| reqwest::Url::parse(u).ok());
    let address = address.ok_or_else(|| invalid("url is an http or https address"))?;
    if !address.username().is_empty() || address.password().is_some() {
        return Err(invalid("url holds no name and no password"));
    }
    app.outgoing.check(&address)
}

/// The area of the records that an event tells of; `None` for the test and for types that a workspace defines, which tell of no record.
fn area_of(event: &str) -> Option<Area> {
    let (noun, _) = event.split_once('.')?;
    let kind = spec::ALL
        .iter()
        .find(|kind| kind.name.strip_prefix("crm_").unwrap_or(kind.name) == noun);
    kind.map(|kind| kind.area)
}

/// Demands the right to read what an event tells of.
fn need_event(caller: &Caller, event: &str) -> Result<()> {
    area_of(event).map_or(Ok(()), |area| caller.need_unconfined(area.read()))
}

/// Refuses an endpoint that would be told of what its maker may not read.
pub(super) fn may_hear(caller: &Caller, body: &Body) -> Result<()> {
    let wanted = body.get("event_types").and_then(Value::as_array);
    for event in wanted.into_iter().flatten().filter_map(Value::as_str) {
        if event == "*" {
            for kind in spec::ALL {
                caller.need_unconfined(kind.area.read())?;
            }
        }
        need_event(caller, event)?;
    }
    Ok(())
}

/// Why an endpoint is told nothing.
enum Muted {
    /// It never will be again.
    ForGood(&'static str),
    /// A module is off, and may be on again.
    Module,
}

/// Whether, and why, an endpoint is told nothing: it acts for the key that set it up, and with no other rights.
async fn muted(
    app: &App,
    tenant_id: &str,
    set_by: Option<&str>,
    event: &str,
) -> Result<Option<Muted>> {
    let Some(id) = set_by else {
        return Ok(None);
    };
    let caller = keys::caller_of(&app.db, &app.clock, tenant_id, id).await?;
    Ok(match caller.map(|caller| need_event(&caller, event)) {
        None => Some(Muted::ForGood("the key that set the endpoint up has ended")),
        Some(Err(error)) if error.code() == MODULE_DISABLED => Some(Muted::Module),
        Some(Err(_)) => Some(Muted::ForGood(
            "the key that set the endpoint up may not read this",
        )),
        Some(Ok(())) => None,
    })
}

/// The secret of an endpoint as lists show it.
fn preview(secret: &str) -> String {
    let (head, tail) = (secret.get(..10), secret.get(secret.len() - 4..));
    format!(
        "{}...{}",
        head.unwrap_or_default(),
        tail.unwrap_or_default()
    )
}

/// Attempts for a delivery to an endpoint.
fn max_attempts(endpoint: &Record) -> Result<i64> {
    let given = endpoint.body()?.get("max_attempts").and_then(Value::as_i64);
    // Older endpoints may hold anything.
    Ok(given.filter(|n| *n >= 1).unwrap_or(ATTEMPTS))
}

/// A plan that makes an endpoint. Its secret is answered this once.
pub(super) fn create(app: &App, caller: &Caller, mut body: Body) -> Result<Plan> {
    let secret = format!("whsec_{}", STANDARD.encode(app.clock.secret().as_bytes()));
    body.insert("signing_secret_preview".to_owned(), json!(preview(&secret)));
    let record = commit::draft(app, caller, spec::WEBHOOK, body, None);
    let mut plan = Plan::default();
    plan.secrets.push((record.id.clone(), secret.clone()));
    let mut shown = plan.add(spec::WEBHOOK, record)?;
    shown["signing_secret"] = json!(secret);
    Ok(plan.made(shown))
}

/// Encrypts secrets from before they were.
///
/// # Errors
/// As the database or the key says.
pub async fn seal_all(app: &App) -> Result<()> {
    let stored: Vec<(String, String, String)> = app
        .db
        .all(
            "SELECT tenant_id, endpoint_id, secret FROM webhook_endpoints",
            args![],
        )
        .await?;
    for (tenant_id, id, secret) in stored {
        if !seal::is_sealed(&secret) {
            app.db
                .execute(
                    "UPDATE webhook_endpoints SET secret = $1 WHERE tenant_id = $2 AND endpoint_id = $3 AND secret = $4",
                    args![sealed(app, &id, &secret).await?, tenant_id, &id, &secret],
                )
                .await?;
        }
    }
    Ok(())
}

/// Gives the secrets of all endpoints up, whose key is lost: the endpoints are disabled, and their receivers need new ones. Returns how many there were.
///
/// # Errors
/// As the database says.
pub async fn give_up_secrets(app: &App) -> Result<usize> {
    let endpoints: Vec<(String, String)> = app
        .db
        .all(
            "SELECT r.tenant_id, r.id FROM records r JOIN webhook_endpoints e ON e.endpoint_id = r.id AND e.tenant_id = r.tenant_id WHERE r.status <> 'disabled'",
            args![],
        )
        .await?;
    for (tenant_id, id) in &endpoints {
        let shown = spec::WEBHOOK.shown(id);
        disable(app, tenant_id, &shown, "the key of its secret is lost").await?;
    }
    app.db
        .execute("DELETE FROM webhook_endpoints", args![])
        .await?;
    Ok(endpoints.len())
}

macro_rules! columns {
    () => {
        "id, tenant_id, endpoint_id, event_id, event_type, payload, status, attempt_count, next_attempt_on, response_status, last_error, created_on, updated_on"
    };
}

impl Delivery {
    /// The delivery as a caller sees it: what it tells is for those who may read that.
    fn view(&self, caller: &Caller, max_attempts: i64) -> Result<Value> {
        let payload: Value = match need_event(caller, &self.event_type) {
            Ok(()) => serde_json::from_str(&self.payload)?,
            Err(_) => Value::Null,
        };
        Ok(json!({
            "id": format!("whd_{}", self.id),
            "webhook_id": spec::WEBHOOK.shown(&self.endpoint_id),
            "event_id": self.event_id,
            "event_type": self.event_type,
            "status": self.status,
            "attempt_count": self.attempt_count,
            "max_attempts": max_attempts,
            "signature_header": SIGNATURE,
            "next_attempt_at": self.next_attempt_on.map(Time::rfc3339),
            "response_status": self.response_status,
            "last_status_code": self.response_status,
            "last_error": self.last_error,
            "payload": payload,
            "created_at": self.created_on.rfc3339(),
            "updated_at": self.updated_on.rfc3339(),
        }))
    }
}

async fn load(app: &App, tenant_id: &str, id: &str) -> Result<Option<Delivery>> {
    app.db
        .optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM webhook_deliveries WHERE tenant_id = $1 AND id = $2"
            ),
            args![tenant_id, id],
        )
        .await
}

/// Deliveries of an endpoint, the newest first.
///
/// # Errors
/// `record_not_found`.
pub async fn deliveries(
    app: &App,
    caller: &Caller,
    webhook_id: &str,
    event_type: Option<&str>,
    status: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<(Vec<Value>, Option<String>)> {
    let endpoint = store::load(app, caller.tenant(), spec::WEBHOOK, webhook_id).await?;
    let mut rows: Vec<Delivery> = app
        .db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM webhook_deliveries WHERE endpoint_id = $1 AND tenant_id = $2 AND id < $3 AND (CAST($4 AS TEXT) IS NULL OR event_type = $4)
                 AND (CAST($5 AS TEXT) IS NULL OR status = $5) ORDER BY id DESC LIMIT $6"
            ),
            args![&endpoint.id, caller.tenant(), before.unwrap_or(store::LAST), event_type, status, limit + 1],
        )
        .await?;
    let most = max_attempts(&endpoint)?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let next = rows.last().filter(|_| more).map(|d| d.id.clone());
    Ok((
        rows.iter()
            .map(|d| d.view(caller, most))
            .collect::<Result<_>>()?,
        next,
    ))
}

/// A plan that queues a test for an endpoint, whatever it subscribes to.
///
/// # Errors
/// `record_not_found`, `webhook_not_active`.
pub async fn test(app: &App, caller: &Caller, webhook_id: &str) -> Result<Plan> {
    let endpoint = store::load(app, caller.tenant(), spec::WEBHOOK, webhook_id).await?;
    if endpoint.status.as_deref() != Some("active") {
        return Err(Error::unprocessable(
            "webhook_not_active",
            "only active endpoints are tested; make it active first",
        ));
    }
    let now = app.clock.now();
    let data = json!({"webhook_id": webhook_id, "message": "This is a test."});
    let delivery = Delivery::new(app, caller.tenant(), &endpoint.id, None, TEST, &data);
    let mut plan = Plan::default();
    plan.answer = delivery.view(caller, max_attempts(&endpoint)?)?;
    plan.status = 202;
    plan.answer["created_at"] = json!(now.rfc3339());
    plan.deliveries.push(delivery);
    Ok(plan)
}

/// Sends a delivery again, with the id of its event.
///
/// # Errors
/// `record_not_found`, `delivery_not_ended`.
pub async fn replay(
    app: &App,
    caller: &Caller,
    webhook_id: &str,
    delivery_id: &str,
) -> Result<Value> {
    let endpoint = store::load(app, caller.tenant(), spec::WEBHOOK, webhook_id).await?;
    let id = delivery_id.strip_prefix("whd_").unwrap_or_default();
    let mut tx = app.db.begin().await?;
    let ours = tx
        .execute(
            "UPDATE webhook_deliveries SET status = 'pending', attempt_count = 0, next_attempt_on = $1, updated_on = $1
             WHERE tenant_id = $2 AND endpoint_id = $3 AND id = $4 AND status IN ('succeeded', 'failed')",
            args![app.clock.now(), caller.tenant(), &endpoint.id, id],
        )
        .await?;
    if ours == 0 {
        drop(tx);
        return Err(match load(app, caller.tenant(), id).await? {
            Some(d) if d.endpoint_id == endpoint.id => {
                Error::conflict("delivery_not_ended", "it is being delivered already")
            }
            _ => Error::not_found("record_not_found", "there is no such delivery"),
        });
    }
    attempt_at(app, &mut tx, caller.tenant(), &endpoint.id, (id, 0), None).await?;
    app.commit(tx).await?;
    load(app, caller.tenant(), id)
        .await?
        .ok_or_else(|| Error::internal("a delivery is gone"))?
        .view(caller, max_attempts(&endpoint)?)
}

/// The signature of Standard Webhooks: HMAC-SHA256 over id, time and body, with the bytes behind `whsec_`.
#[must_use]
pub fn signature(secret: &str, id: &str, timestamp: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

/// The header of Slab5's signature.
const SIGNATURE: &str = "x-slab5-signature";

/// The signature of Slab5: `t=` seconds since 1970, `v1=` HMAC-SHA256 in hexadecimal over time, `.` and body, with the whole secret as the key.
#[must_use]
pub fn slab5_signature(secret: &str, timestamp: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{timestamp}.{body}").as_bytes());
    let digest = hex::encode(mac.finalize().into_bytes());
    Some(format!("t={timestamp},v1={digest}"))
}

/// Returns how long after so many attempts of at most `most` the next one comes, `None` after the last; spread by a fifth, the same for the same delivery.
fn wait(delivery_id: &str, attempts: i64, most: i64) -> Option<Duration> {
    if attempts >= most {
        return None;
    }
    let at = usize::try_from(attempts - 1).ok()?;
    let seconds = WAITS.get(at).or(WAITS.last())?;
    let dice = Sha256::digest(format!("{delivery_id}/{attempts}"));
    let spread = u64::from(dice[0]) * 400 / 255;
    Some(Duration::from_millis(seconds * (800 + spread)))
}

/// Ends a delivery whose job was cancelled or failed for good.
///
/// # Errors
/// As the database says.
pub(crate) async fn given_up(app: &App, tenant_id: &str, id: &str, reason: &str) -> Result<()> {
    app.db
        .execute(
            "UPDATE webhook_deliveries SET status = 'failed', next_attempt_on = NULL, last_error = $1, updated_on = $2
             WHERE tenant_id = $3 AND id = $4 AND status IN ('pending', 'retrying')",
            args![reason, app.clock.now(), tenant_id, id],
        )
        .await?;
    Ok(())
}

/// Makes one attempt; the job of [`Task::Deliver`].
///
/// # Errors
/// As the database says; a receiver that fails is no error of the job.
pub(crate) async fn deliver(app: &App, tenant_id: &str, id: &str, attempt: i64) -> Result<()> {
    let Some(delivery) = load(app, tenant_id, id).await? else {
        return Ok(());
    };
    // An attempt that was made already, by a job that died before it could say so.
    if matches!(delivery.status.as_str(), "succeeded" | "failed")
        || delivery.attempt_count != attempt
    {
        return Ok(());
    }
    let shown = spec::WEBHOOK.shown(&delivery.endpoint_id);
    let endpoint = store::load(app, tenant_id, spec::WEBHOOK, &shown).await?;
    match endpoint.status.as_deref() {
        Some("active") => {}
        Some("paused") => {
            // Waits without a time until the endpoint is active again.
            app.db
                .execute(
                    "UPDATE webhook_deliveries SET next_attempt_on = NULL WHERE tenant_id = $1 AND id = $2",
                    args![tenant_id, id],
                )
                .await?;
            // It may have become active at this very moment, before there was anything to resume.
            let now = store::load(app, tenant_id, spec::WEBHOOK, &shown).await?;
            if now.status.as_deref() == Some("active") {
                let mut tx = app.db.begin().await?;
                resume(app, &mut tx, tenant_id, &endpoint.id).await?;
                app.commit(tx).await?;
            }
            return Ok(());
        }
        _ => {
            return ended(
                app,
                &delivery,
                "failed",
                None,
                Some("the endpoint is disabled"),
            )
            .await;
        }
    }
    let kept: Option<(String, Option<String>)> = app
        .db
        .optional(
            "SELECT secret, set_by FROM webhook_endpoints WHERE tenant_id = $1 AND endpoint_id = $2",
            args![tenant_id, &endpoint.id],
        )
        .await?;
    let Some((secret, set_by)) = kept else {
        let reason = "its secret was given up; make another endpoint";
        return give_up(app, &delivery, &shown, (None, Some(reason)), reason).await;
    };
    let secret = app
        .sealer()
        .await?
        .open_sealed(&purpose(&endpoint.id), &secret)?;
    match muted(app, tenant_id, set_by.as_deref(), &delivery.event_type).await? {
        None => {}
        Some(Muted::ForGood(reason)) => {
            return give_up(app, &delivery, &shown, (None, Some(reason)), reason).await;
        }
        // The endpoint goes on with what belongs to other modules.
        Some(Muted::Module) => {
            let reason = "the module that this belongs to is not enabled";
            return ended(app, &delivery, "failed", None, Some(reason)).await;
        }
    }
    let (status, error) = send(app, &endpoint, &delivery, &secret).await?;
    let now = app.clock.now();
    if error.is_none() {
        ended(app, &delivery, "succeeded", status, None).await?;
        app.db
            .execute(
                "UPDATE webhook_endpoints SET failing_since = NULL WHERE tenant_id = $1 AND endpoint_id = $2",
                args![tenant_id, &endpoint.id],
            )
            .await?;
        return Ok(());
    }
    app.db
        .execute(
            "UPDATE webhook_endpoints SET failing_since = COALESCE(failing_since, $1) WHERE tenant_id = $2 AND endpoint_id = $3",
            args![now, tenant_id, &endpoint.id],
        )
        .await?;
    let attempts = delivery.attempt_count + 1;
    let most = max_attempts(&endpoint)?;
    // A receiver that says it is gone is not asked again.
    match wait(id, attempts, most).filter(|_| status != Some(410)) {
        Some(wait) => {
            let at = now.plus(wait);
            let mut tx = app.db.begin().await?;
            tx.execute(
                "UPDATE webhook_deliveries SET status = 'retrying', attempt_count = $1, next_attempt_on = $2, response_status = $3, last_error = $4, updated_on = $5
                 WHERE tenant_id = $6 AND id = $7",
                args![attempts, at, status, &error, now, tenant_id, id],
            )
            .await?;
            attempt_at(
                app,
                &mut tx,
                tenant_id,
                &endpoint.id,
                (id, attempts),
                Some(at),
            )
            .await?;
            app.commit(tx).await?;
        }
        None => {
            let since: Option<(Option<Time>,)> = app
                .db
                .optional(
                    "SELECT failing_since FROM webhook_endpoints WHERE tenant_id = $1 AND endpoint_id = $2",
                    args![tenant_id, &endpoint.id],
                )
                .await?;
            let long = since
                .and_then(|(at,)| at)
                .is_some_and(|at| now.0 - at.0 >= GIVEN_UP);
            let outcome = (status, error.as_deref());
            if long || status == Some(410) {
                give_up(app, &delivery, &shown, outcome, "it kept failing").await?;
            } else {
                ended(app, &delivery, "failed", outcome.0, outcome.1).await?;
            }
        }
    }
    Ok(())
}

async fn ended(
    app: &App,
    delivery: &Delivery,
    status: &str,
    response: Option<i64>,
    error: Option<&str>,
) -> Result<()> {
    app.db
        .execute(
            "UPDATE webhook_deliveries SET status = $1, attempt_count = attempt_count + 1, next_attempt_on = NULL, response_status = $2, last_error = $3, updated_on = $4
             WHERE tenant_id = $5 AND id = $6",
            args![status, response, error, app.clock.now(), &delivery.tenant_id, &delivery.id],
        )
        .await?;
    Ok(())
}

/// Switches off an endpoint, and ends the delivery that showed why. In this order: a process that dies in between leaves a delivery that is looked at again.
async fn give_up(
    app: &App,
    delivery: &Delivery,
    shown: &str,
    (response, error): (Option<i64>, Option<&str>),
    reason: &str,
) -> Result<()> {
    disable(app, &delivery.tenant_id, shown, reason).await?;
    ended(app, delivery, "failed", response, error).await
}

/// Switches off an endpoint.
async fn disable(app: &App, tenant_id: &str, shown: &str, reason: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let request = Request {
        caller: &caller,
        operation: "disableWebhookEndpoint",
        request_id: String::new(),
        once: None,
    };
    let body = Body::from_iter([("status".to_owned(), json!("disabled"))]);
    commit::carry_out(app, &request, || {
        super::rules::update(app, &caller, spec::WEBHOOK, shown, &body)
    })
    .await?;
    tracing::warn!(endpoint = shown, reason, "a webhook endpoint was disabled");
    Ok(())
}

/// Sends once: the status of the answer, and what went wrong.
async fn send(
    app: &App,
    endpoint: &Record,
    delivery: &Delivery,
    secret: &str,
) -> Result<(Option<i64>, Option<String>)> {
    let body = endpoint.body()?;
    let address = text(&body, "url").and_then(|u| reqwest::Url::parse(u).ok());
    let Some(address) = address else {
        return Ok((None, Some("the endpoint has no address".to_owned())));
    };
    let request = match app.outgoing.request(Method::POST, address) {
        Ok(request) => request,
        Err(error) => return Ok((None, Some(error.public_message().to_owned()))),
    };
    let timestamp = app.clock.now().0 / 1000;
    let damaged = || Error::internal("a webhook secret is damaged");
    let signed =
        signature(secret, &delivery.event_id, timestamp, &delivery.payload).ok_or_else(damaged)?;
    let slab5 = slab5_signature(secret, timestamp, &delivery.payload).ok_or_else(damaged)?;
    let request = request
        .timeout(Duration::from_secs(app.config.webhook_seconds))
        .header("content-type", "application/json")
        .header("webhook-id", &delivery.event_id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signed)
        .header("user-agent", "Slab5-Webhooks/1.0")
        .header(SIGNATURE, slab5)
        .header("x-slab5-delivery-id", format!("whd_{}", delivery.id))
        .header("x-slab5-event-id", &delivery.event_id)
        .header("x-slab5-event-type", &delivery.event_type)
        .body(delivery.payload.clone());
    Ok(match request.send().await {
        Ok(response) => {
            let status = response.status();
            let error = if status.is_success() {
                None
            } else if status.is_redirection() {
                Some(format!(
                    "the receiver redirects ({status}); redirects are not followed"
                ))
            } else {
                Some(format!("the receiver answers {status}"))
            };
            (Some(i64::from(status.as_u16())), error)
        }
        Err(error) => (None, Some(outgoing::cause(&error).1)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::deliveries::event_of;

    #[test]
    fn signatures_are_those_of_the_standard() {
        // The example of the Standard Webhooks specification's reference libraries.
        assert_eq!(
            signature(
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                "{\"test\": 2432232314}"
            )
            .as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
        assert_eq!(signature("plain", "a", 0, ""), None);
    }

    #[test]
    fn attempts_spread_over_a_day() {
        let wait = |id, attempts| super::wait(id, attempts, ATTEMPTS);
        let waits: Vec<Duration> = (1..=10).filter_map(|n| wait("d", n)).collect();
        let all: u64 = waits.iter().map(Duration::as_secs).sum();
        assert!(
            waits.len() == 10 && (64_000..100_000).contains(&all),
            "{all}"
        );
        assert!(wait("d", 11).is_none() && wait("d", 1) != wait("e", 1));
    }

    #[test]
    fn an_endpoint_says_how_many_attempts_there_are() {
        let waits = |most| {
            (1..most + 5)
                .filter(|n| wait("d", *n, most).is_some())
                .count()
        };
        assert_eq!((waits(1), waits(3), waits(20)), (0, 2, 19));
    }

    #[test]
    fn slab5_signs_time_and_body_with_the_whole_secret() {
        // Computed by `printf '1614265330.{"test": 2432232314}' | openssl dgst -sha256 -hmac whsec_abc`.
        assert_eq!(
            slab5_signature("whsec_abc", 1_614_265_330, "{\"test\": 2432232314}").as_deref(),
            Some(
                "t=1614265330,v1=3075f08702f794f559658202f591dbeb734f6e037e13281e23556c79588c3a64"
            )
        );
    }

    #[test]
    fn every_event_of_a_record_has_its_area() {
        for kind in spec::ALL {
            assert_eq!(area_of(&event_of(kind, "create")), Some(kind.area));
        }
        for (event, ..) in BUILT_IN {
            assert!(area_of(event).is_some(), "{event}");
        }
        assert_eq!(area_of("order.shipped"), None, "one of a workspace's own");
    }

    #[test]
    fn every_change_has_its_event() {
        assert_eq!(event_of(spec::LEAD, "create"), "lead.created");
        assert_eq!(event_of(spec::TASK, "update"), "task.updated");
    }
}
