//! Sending: each delivery is signed as Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`) and as Slab5 signs (`x-slab5-signature`), and
//! tried again for about a day or up to the endpoint's `max_attempts`. `webhook-id` is that of the event: the same at every attempt.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use reqwest::Method;
use sha2::{Digest, Sha256};

use super::endpoints::{disable, max_attempts, purpose, resume};
use super::events::need_event;
use super::{WEBHOOK, load};
use crate::app::App;
use crate::auth::{MODULE_DISABLED, sessions};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::body::text;
use crate::records::deliveries::{Delivery, DeliveryStatus, attempt_at};
use crate::records::{Record, store};

/// Waiting times between attempts, in seconds: about a day in all. Further attempts wait as long as the last of these.
const WAITS: [u64; 10] = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 32_400];
/// An endpoint that has failed for this long is disabled, in milliseconds.
const GIVEN_UP: i64 = 20 * 60 * 60 * 1000;

/// Why an endpoint gets no deliveries.
enum Muted {
    /// It never will be again.
    ForGood(&'static str),
    /// A module is off, and may be on again.
    Module,
}

/// Returns why an endpoint gets no delivery of an event, if so: it acts with the rights of the key that set it up.
async fn muted(
    app: &App,
    tenant_id: &str,
    set_by: Option<&str>,
    event: &str,
) -> Result<Option<Muted>> {
    let Some(id) = set_by else {
        return Ok(None);
    };
    let caller = sessions::caller_of(&app.db, &app.clock, tenant_id, id).await?;
    Ok(match caller.map(|caller| need_event(&caller, event)) {
        None => Some(Muted::ForGood(
            "the key that created the endpoint has expired or was revoked",
        )),
        Some(Err(error)) if error.code() == MODULE_DISABLED => Some(Muted::Module),
        Some(Err(_)) => Some(Muted::ForGood(
            "the key that created the endpoint may not read this",
        )),
        Some(Ok(())) => None,
    })
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
pub(super) const SIGNATURE: &str = "x-slab5-signature";

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
    let digest = Sha256::digest(format!("{delivery_id}/{attempts}"));
    let spread = u64::from(digest[0]) * 400 / 255;
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
    if matches!(
        delivery.status,
        DeliveryStatus::Succeeded | DeliveryStatus::Failed
    ) || delivery.attempt_count != attempt
    {
        return Ok(());
    }
    let endpoint = store::get(app, tenant_id, &WEBHOOK, &delivery.endpoint_id).await?;
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
            let now = store::get(app, tenant_id, &WEBHOOK, &endpoint.id).await?;
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
                DeliveryStatus::Failed,
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
        let reason = "its secret was discarded; create a new endpoint";
        return give_up(app, &delivery, (None, Some(reason)), reason).await;
    };
    let secret = app
        .sealer()
        .await?
        .open_sealed(&purpose(&endpoint.id), &secret)?;
    match muted(app, tenant_id, set_by.as_deref(), &delivery.event_type).await? {
        None => {}
        Some(Muted::ForGood(reason)) => {
            return give_up(app, &delivery, (None, Some(reason)), reason).await;
        }
        // The endpoint goes on with what belongs to other modules.
        Some(Muted::Module) => {
            let reason = "the module of this event is not enabled";
            return ended(app, &delivery, DeliveryStatus::Failed, None, Some(reason)).await;
        }
    }
    let (status, error) = send(app, &endpoint, &delivery, &secret).await?;
    let now = app.clock.now();
    if error.is_none() {
        ended(app, &delivery, DeliveryStatus::Succeeded, status, None).await?;
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
                (Some(at), None),
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
                give_up(app, &delivery, outcome, "it kept failing").await?;
            } else {
                ended(app, &delivery, DeliveryStatus::Failed, outcome.0, outcome.1).await?;
            }
        }
    }
    Ok(())
}

async fn ended(
    app: &App,
    delivery: &Delivery,
    status: DeliveryStatus,
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
    (response, error): (Option<i64>, Option<&str>),
    reason: &str,
) -> Result<()> {
    disable(app, &delivery.tenant_id, &delivery.endpoint_id, reason).await?;
    ended(app, delivery, DeliveryStatus::Failed, response, error).await
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
        return Ok((None, Some("the endpoint has no URL".to_owned())));
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
                    "the receiver returned a redirect ({status}); redirects are not followed"
                ))
            } else {
                Some(format!("the receiver returned {status}"))
            };
            (Some(i64::from(status.as_u16())), error)
        }
        Err(error) => (None, Some(outgoing::cause(&error).1)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::endpoints::ATTEMPTS;

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
}
