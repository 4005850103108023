//! Endpoints: their addresses and secrets, and what a change of one does beside its record.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::WEBHOOK;
use crate::app::App;
use crate::auth::Caller;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::records::Request;
use crate::records::body::{Body, invalid, text};
use crate::records::deliveries::{Delivery, attempt_at, deliver_later};
use crate::records::plan::Effect;
use crate::records::{self, Record, store, write};
use crate::seal;

/// Attempts for a delivery when the endpoint does not say.
pub(super) const ATTEMPTS: i64 = 11;

/// Checks an endpoint: its address must be one that may be reached.
pub(super) fn check_address(app: &App, body: &Body) -> Result<()> {
    let address = text(body, "url").and_then(|u| reqwest::Url::parse(u).ok());
    let address = address.ok_or_else(|| invalid("url must be an http or https address"))?;
    if !address.username().is_empty() || address.password().is_some() {
        return Err(invalid("url must not contain a user name or password"));
    }
    app.outgoing.check(&address)
}

/// The secret of an endpoint as lists show it.
pub(super) fn preview(secret: &str) -> String {
    let (head, tail) = (secret.get(..10), secret.get(secret.len() - 4..));
    format!(
        "{}...{}",
        head.unwrap_or_default(),
        tail.unwrap_or_default()
    )
}

/// Attempts for a delivery to an endpoint.
pub(super) fn max_attempts(endpoint: &Record) -> Result<i64> {
    let given = endpoint.body()?.get("max_attempts").and_then(Value::as_i64);
    // Older endpoints may hold anything.
    Ok(given.filter(|n| *n >= 1).unwrap_or(ATTEMPTS))
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
                    args![seal_secret(app, &id, &secret).await?, tenant_id, &id, &secret],
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
        disable(
            app,
            tenant_id,
            id,
            "the key that encrypts its secret is lost",
        )
        .await?;
    }
    app.db
        .execute("DELETE FROM webhook_endpoints", args![])
        .await?;
    Ok(endpoints.len())
}

/// Returns what the secret of an endpoint is sealed for.
pub(super) fn purpose(endpoint_id: &str) -> String {
    format!("webhook/{endpoint_id}")
}

/// Encrypts the secret of an endpoint.
async fn seal_secret(app: &App, endpoint_id: &str, secret: &str) -> Result<String> {
    app.sealer().await?.seal(&purpose(endpoint_id), secret)
}

/// Effect of a change of an endpoint beside its record.
#[derive(Debug)]
pub(super) enum EndpointEffect {
    /// Stores the encrypted secret of a new endpoint, and the key that it acts for.
    KeepSecret { endpoint: Endpoint, sealed: String },
    /// Lets it act for the key that has set its address or its events.
    ActFor(Endpoint),
    /// Resumes the deliveries that waited while it was paused.
    Resume(Endpoint),
    /// Writes a delivery for it alone.
    Deliver(Box<Delivery>),
}

/// An endpoint, and the key that changes it.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) tenant_id: String,
    pub(super) id: String,
    pub(super) key_id: Option<String>,
}

impl EndpointEffect {
    /// Returns the effect that stores a new secret.
    pub(super) async fn keep_secret(app: &App, endpoint: Endpoint, secret: &str) -> Result<Self> {
        let sealed = seal_secret(app, &endpoint.id, secret).await?;
        Ok(Self::KeepSecret { endpoint, sealed })
    }
}

#[async_trait]
impl Effect for EndpointEffect {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        match self {
            Self::KeepSecret { endpoint, sealed } => {
                tx.execute(
                    "INSERT INTO webhook_endpoints (endpoint_id, tenant_id, secret, set_by) VALUES ($1, $2, $3, $4)",
                    args![&endpoint.id, &endpoint.tenant_id, sealed, endpoint.key_id.clone()],
                )
                .await?;
            }
            Self::ActFor(endpoint) => {
                tx.execute(
                    "UPDATE webhook_endpoints SET set_by = $1 WHERE tenant_id = $2 AND endpoint_id = $3",
                    args![endpoint.key_id.clone(), &endpoint.tenant_id, &endpoint.id],
                )
                .await?;
            }
            Self::Resume(endpoint) => {
                resume(app, tx, &endpoint.tenant_id, &endpoint.id).await?;
            }
            Self::Deliver(delivery) => deliver_later(app, tx, delivery).await?,
        }
        Ok(None)
    }
}

/// Resumes what waited while an endpoint was paused.
pub(super) async fn resume(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    endpoint_id: &str,
) -> Result<()> {
    let now = app.clock.now();
    let waiting: Vec<(String, i64)> = tx
        .all(
            "UPDATE webhook_deliveries SET next_attempt_on = $1
             WHERE endpoint_id = $2 AND tenant_id = $3 AND status IN ('pending', 'retrying') AND next_attempt_on IS NULL RETURNING id, attempt_count",
            args![now, endpoint_id, tenant_id],
        )
        .await?;
    for (id, attempt) in waiting {
        attempt_at(
            app,
            tx,
            tenant_id,
            endpoint_id,
            (&id, attempt),
            (None, Some(now)),
        )
        .await?;
    }
    Ok(())
}

/// Switches off an endpoint.
pub(super) async fn disable(app: &App, tenant_id: &str, id: &str, reason: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let request = Request::internal(&caller, "disableWebhookEndpoint");
    records::execute(app, &request, || async {
        let endpoint = store::get(app, tenant_id, &WEBHOOK, id).await?;
        let body = Body::from_iter([("status".to_owned(), json!("disabled"))]);
        write::update(app, &caller, &WEBHOOK, endpoint, (&body).into()).await
    })
    .await?;
    tracing::warn!(endpoint.id = id, reason, "a webhook endpoint was disabled");
    Ok(())
}
