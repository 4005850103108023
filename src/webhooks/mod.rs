//! Webhooks. An event is written as a delivery for each endpoint that subscribes to it, in the transaction that causes it ([`crate::records::deliveries`]) or, for
//! the knowledge base, within a second after it ([`forward`]), and sent by jobs ([`send`]).

mod endpoints;
mod events;
pub mod forward;
pub mod send;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use endpoints::{Endpoint, EndpointEffect, max_attempts};
use events::need_event;
use send::SIGNATURE;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::records::body::Body;
use crate::records::deliveries::{Delivery, DeliveryStatus, attempt_at};
use crate::records::kind::{DESCRIPTION, Field, FieldType, KEY, Kind, Lifecycle, NAME};
use crate::records::plan::{Change, Effect, Plan};
use crate::records::store;
pub use endpoints::{give_up_secrets, seal_all};
pub use events::{BUILT_IN, area_of, is_of_documents};

/// A type of event that a workspace defines.
pub static EVENT_TYPE: Kind = Kind::new(
    "event_type",
    "iet",
    Area::Integrations,
    &[
        KEY,
        Field::new("category", FieldType::Line(50))
            .required()
            .filter(),
        DESCRIPTION,
    ],
)
.titled("key");

/// An endpoint.
pub static WEBHOOK: Kind = Kind::new(
    "webhook",
    "wh",
    Area::Integrations,
    &[
        NAME,
        Field::new("url", FieldType::Url).required(),
        Field::new("event_types", FieldType::Words(100))
            .required()
            .filter(),
        DESCRIPTION,
        Field::new("max_attempts", FieldType::Integer(1, 20)),
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&["active", "paused", "disabled"]))
.hook(|change| Box::pin(complete(change)));

/// Checks an endpoint whose address or events change. A new one gets a secret, which is answered this once.
async fn complete(change: &mut Change<'_>) -> Result<()> {
    let becomes_active = change.becomes("active");
    // Pausing an endpoint subscribes to nothing new; setting it up again takes it over.
    let is_set_up =
        change.is_new() || becomes_active || change.changes("url") || change.changes("event_types");
    if is_set_up {
        endpoints::check_address(change.app, &change.body)?;
        events::can_subscribe(change.caller, &change.body)?;
    }
    let endpoint = Endpoint {
        tenant_id: change.caller.tenant().to_owned(),
        id: change.after.id.clone(),
        key_id: change.caller.actor_id().map(str::to_owned),
    };
    if change.is_new() {
        let random = change.app.clock.secret();
        let secret = format!("whsec_{}", STANDARD.encode(random.as_bytes()));
        change.set("signing_secret_preview", endpoints::preview(&secret));
        let effect = EndpointEffect::keep_secret(change.app, endpoint, &secret).await?;
        change.plan.before.push(Box::new(effect));
        change.plan.is_secret = true;
        let shown = &mut change.plan.shown;
        shown.insert("signing_secret".to_owned(), json!(secret));
        return Ok(());
    }
    if is_set_up {
        let effect = EndpointEffect::ActFor(endpoint.clone());
        change.plan.before.push(Box::new(effect));
    }
    if change.status() == Some("active") {
        let effect = EndpointEffect::Resume(endpoint);
        change.plan.after.push(Box::new(effect));
    }
    Ok(())
}

/// Name of the operation that sends a test.
const TEST: &str = "webhook.test";
macro_rules! columns {
    () => {
        "id, tenant_id, endpoint_id, event_id, event_type, payload, status, attempt_count, next_attempt_on, response_status, last_error, created_on, updated_on"
    };
}

impl Delivery {
    /// Returns the delivery as a caller sees it: its payload is for those who may read what the event is about.
    fn view(&self, caller: &Caller, max_attempts: i64) -> Result<Value> {
        let payload: Value = match need_event(caller, &self.event_type) {
            Ok(()) => serde_json::from_str(&self.payload)?,
            Err(_) => Value::Null,
        };
        Ok(json!({
            "id": format!("whd_{}", self.id),
            "webhook_id": WEBHOOK.public_id(&self.endpoint_id),
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
pub async fn list_deliveries(
    app: &App,
    caller: &Caller,
    webhook_id: &str,
    event_type: Option<&str>,
    status: Option<DeliveryStatus>,
    before: Option<&str>,
    limit: i64,
) -> Result<(Vec<Value>, Option<String>)> {
    let endpoint = store::load(app, caller.tenant(), &WEBHOOK, webhook_id).await?;
    let mut rows: Vec<Delivery> = app
        .db
        .all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM webhook_deliveries WHERE endpoint_id = $1 AND tenant_id = $2 AND id < $3 AND (CAST($4 AS TEXT) IS NULL OR event_type = $4)
                 AND (CAST($5 AS TEXT) IS NULL OR status = $5) ORDER BY id DESC LIMIT $6"
            ),
            args![&endpoint.id, caller.tenant(), before.unwrap_or(store::LAST), event_type, status.map(DeliveryStatus::as_str), limit + 1],
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

/// Returns a plan that queues a test for an endpoint, whatever it subscribes to.
///
/// # Errors
/// `record_not_found`, `webhook_not_active`.
pub async fn test(app: &App, caller: &Caller, webhook_id: &str) -> Result<Plan> {
    let endpoint = store::load(app, caller.tenant(), &WEBHOOK, webhook_id).await?;
    if endpoint.status.as_deref() != Some("active") {
        return Err(Error::unprocessable(
            "webhook_not_active",
            "only active endpoints can be tested; activate it first",
        ));
    }
    let now = app.clock.now();
    let data = json!({"webhook_id": webhook_id, "message": "This is a test."});
    let delivery = Delivery::new(app, caller.tenant(), &endpoint.id, None, TEST, &data);
    let mut data = delivery.view(caller, max_attempts(&endpoint)?)?;
    data["created_at"] = json!(now.rfc3339());
    let mut plan = Plan::default().data(202, data);
    plan.after
        .push(Box::new(EndpointEffect::Deliver(Box::new(delivery))));
    Ok(plan)
}

/// Returns a plan that sends a delivery which has ended again, with the id of its event.
///
/// # Errors
/// `record_not_found`, `delivery_not_ended`.
pub async fn replay(
    app: &App,
    caller: &Caller,
    webhook_id: &str,
    delivery_id: &str,
) -> Result<Plan> {
    let endpoint = store::load(app, caller.tenant(), &WEBHOOK, webhook_id).await?;
    let id = delivery_id.strip_prefix("whd_").unwrap_or_default();
    match load(app, caller.tenant(), id).await? {
        Some(d) if d.endpoint_id == endpoint.id => {}
        _ => {
            return Err(Error::not_found("record_not_found", "delivery not found"));
        }
    }
    let mut plan = Plan::default();
    let changes = Body::from_iter([("delivery".to_owned(), json!(delivery_id))]);
    plan.notes
        .push((&WEBHOOK, endpoint.id.clone(), "replay", changes));
    plan.after.push(Box::new(Replay {
        caller: caller.clone(),
        max_attempts: max_attempts(&endpoint)?,
        endpoint_id: endpoint.id,
        id: id.to_owned(),
    }));
    Ok(plan)
}

/// Queues a delivery that has ended once more.
#[derive(Debug)]
struct Replay {
    caller: Caller,
    endpoint_id: String,
    id: String,
    max_attempts: i64,
}

#[async_trait]
impl Effect for Replay {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (tenant_id, endpoint_id) = (self.caller.tenant(), &self.endpoint_id);
        let ours = tx
            .execute(
                "UPDATE webhook_deliveries SET status = 'pending', attempt_count = 0, next_attempt_on = $1, updated_on = $1
                 WHERE tenant_id = $2 AND endpoint_id = $3 AND id = $4 AND status IN ('succeeded', 'failed')",
                args![app.clock.now(), tenant_id, endpoint_id, &self.id],
            )
            .await?;
        if ours == 0 {
            return Err(Error::conflict(
                "delivery_not_ended",
                "it is already being delivered",
            ));
        }
        attempt_at(app, tx, tenant_id, endpoint_id, (&self.id, 0), (None, None)).await?;
        let delivery: Option<Delivery> = tx
            .optional(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM webhook_deliveries WHERE tenant_id = $1 AND id = $2"
                ),
                args![tenant_id, &self.id],
            )
            .await?;
        let delivery = delivery.ok_or_else(|| Error::internal("a delivery no longer exists"))?;
        delivery.view(&self.caller, self.max_attempts).map(Some)
    }
}
