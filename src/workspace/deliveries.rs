//! Deliveries of webhooks as rows and jobs, written in the transaction that causes them; and the sealed secrets of endpoints.

use serde_json::{Value, json};

use super::spec::Kind;
use crate::app::App;
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::jobs::{self, Task};

/// The event of a change.
pub(super) fn event_of(kind: &Kind, action: &str) -> String {
    let noun = kind.name.strip_prefix("crm_").unwrap_or(kind.name);
    format!("{noun}.{action}d")
}

/// What the secret of an endpoint is sealed for.
pub(super) fn purpose(endpoint_id: &str) -> String {
    format!("webhook/{endpoint_id}")
}

/// Encrypts the secret of an endpoint.
pub(super) async fn sealed(app: &App, endpoint_id: &str, secret: &str) -> Result<String> {
    app.sealer().await?.seal(&purpose(endpoint_id), secret)
}

/// Keeps the encrypted secret of an endpoint.
pub(super) async fn keep_secret(
    tx: &mut Tx,
    tenant_id: &str,
    id: &str,
    secret: &str,
    set_by: Option<&str>,
) -> Result<()> {
    tx.execute(
        "INSERT INTO webhook_endpoints (endpoint_id, tenant_id, secret, set_by) VALUES ($1, $2, $3, $4)",
        args![id, tenant_id, secret, set_by],
    )
    .await?;
    Ok(())
}

/// Notes who said last where an endpoint is and what it hears.
pub(super) async fn set_by(
    tx: &mut Tx,
    tenant_id: &str,
    id: &str,
    key_id: Option<&str>,
) -> Result<()> {
    tx.execute(
        "UPDATE webhook_endpoints SET set_by = $1 WHERE tenant_id = $2 AND endpoint_id = $3",
        args![key_id, tenant_id, id],
    )
    .await?;
    Ok(())
}

/// Writes an event for every active endpoint that wants it.
pub(super) async fn tell(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    event: &str,
    data: &Value,
) -> Result<()> {
    let endpoints: Vec<(String,)> = tx
        .all(
            "SELECT r.id FROM records r JOIN record_facets f ON f.record_id = r.id AND f.tenant_id = r.tenant_id
             WHERE f.kind = 'webhook' AND f.name = 'event_types' AND f.value IN ($1, '*') AND f.tenant_id = $2 AND r.status IN ('active', 'paused') GROUP BY r.id",
            args![event, tenant_id],
        )
        .await?;
    if endpoints.is_empty() {
        return Ok(());
    }
    let event_id = format!("msg_{}", app.clock.id());
    for (endpoint_id,) in endpoints {
        let delivery = Delivery::new(app, tenant_id, &endpoint_id, Some(&event_id), event, data);
        deliver_later(app, tx, &delivery).await?;
    }
    Ok(())
}

/// Writes a delivery and its job.
pub(super) async fn deliver_later(app: &App, tx: &mut Tx, delivery: &Delivery) -> Result<()> {
    let d = delivery;
    tx.execute(
        "INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, payload, status, attempt_count, next_attempt_on, created_on, updated_on)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $7, $7)",
        args![&d.id, &d.tenant_id, &d.endpoint_id, &d.event_id, &d.event_type, &d.payload, d.created_on],
    )
    .await?;
    attempt_at(app, tx, &d.tenant_id, &d.endpoint_id, (&d.id, 0), None).await
}

/// Queues an attempt, the one after so many; a second time it is the same job.
pub(super) async fn attempt_at(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    endpoint_id: &str,
    (delivery_id, attempt): (&str, i64),
    run_at: Option<Time>,
) -> Result<()> {
    let task = Task::Deliver {
        delivery_id: delivery_id.to_owned(),
        attempt,
    };
    let key = format!("deliver/{delivery_id}/{attempt}");
    let queued = jobs::EnqueueOptions {
        group: endpoint_id,
        dedupe_key: Some(&key),
        max_attempts: app.config.job_attempts,
        run_at,
    };
    jobs::enqueue(tx, &app.clock, tenant_id, &task, queued).await?;
    Ok(())
}

/// A delivery.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) tenant_id: String,
    pub(super) endpoint_id: String,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) payload: String,
    pub(super) status: String,
    pub(super) attempt_count: i64,
    pub(super) next_attempt_on: Option<Time>,
    pub(super) response_status: Option<i64>,
    pub(super) last_error: Option<String>,
    pub(super) created_on: Time,
    pub(super) updated_on: Time,
}

/// Resumes what waited while an endpoint was paused.
pub(super) async fn resume(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    endpoint_id: &str,
) -> Result<()> {
    let waiting: Vec<(String, i64)> = tx
        .all(
            "UPDATE webhook_deliveries SET next_attempt_on = $1
             WHERE endpoint_id = $2 AND tenant_id = $3 AND status IN ('pending', 'retrying') AND next_attempt_on IS NULL RETURNING id, attempt_count",
            args![app.clock.now(), endpoint_id, tenant_id],
        )
        .await?;
    for (id, attempt) in waiting {
        attempt_at(app, tx, tenant_id, endpoint_id, (&id, attempt), None).await?;
    }
    Ok(())
}

impl Delivery {
    pub(super) fn new(
        app: &App,
        tenant_id: &str,
        endpoint_id: &str,
        event_id: Option<&str>,
        event: &str,
        data: &Value,
    ) -> Self {
        let now = app.clock.now();
        Self {
            id: app.clock.id(),
            tenant_id: tenant_id.to_owned(),
            endpoint_id: endpoint_id.to_owned(),
            event_id: event_id.map_or_else(|| format!("msg_{}", app.clock.id()), str::to_owned),
            event_type: event.to_owned(),
            payload: json!({"type": event, "timestamp": now.rfc3339(), "data": data}).to_string(),
            status: "pending".to_owned(),
            attempt_count: 0,
            next_attempt_on: Some(now),
            response_status: None,
            last_error: None,
            created_on: now,
            updated_on: now,
        }
    }
}
