//! Deliveries of webhooks as rows and jobs, written in the transaction that causes them.

use serde_json::{Value, json};

use crate::app::App;
use crate::auth::Area;
use crate::clock::Time;
use crate::db::{Tx, args, words};
use crate::error::Result;
use crate::jobs::{self, Task};

/// Writes a delivery of an event for every endpoint that subscribes to it and is active or paused.
pub(crate) async fn emit(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    (area, event): (Area, &str),
    data: &Value,
) -> Result<()> {
    // `*` subscribes to the events of the modules of a workspace.
    let wildcard = if area.module().is_some() { "*" } else { event };
    emit_as(app, tx, tenant_id, event, wildcard, data).await
}

/// Same as [`emit`], for endpoints that subscribe to the event or to `wildcard`.
pub(crate) async fn emit_as(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    event: &str,
    wildcard: &str,
    data: &Value,
) -> Result<()> {
    let endpoints: Vec<(String,)> = tx
        .all(
            "SELECT r.id FROM records r JOIN record_facets f ON f.record_id = r.id AND f.tenant_id = r.tenant_id
             WHERE f.kind = 'webhook' AND f.name = 'event_types' AND f.value IN ($1, $3) AND f.tenant_id = $2 AND r.status IN ('active', 'paused') GROUP BY r.id",
            args![event, tenant_id, wildcard],
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
pub(crate) async fn deliver_later(app: &App, tx: &mut Tx, delivery: &Delivery) -> Result<()> {
    let d = delivery;
    tx.execute(
        "INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, payload, status, attempt_count, next_attempt_on, created_on, updated_on)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $7, $7)",
        args![&d.id, &d.tenant_id, &d.endpoint_id, &d.event_id, &d.event_type, &d.payload, d.created_on],
    )
    .await?;
    attempt_at(
        app,
        tx,
        &d.tenant_id,
        &d.endpoint_id,
        (&d.id, 0),
        (None, None),
    )
    .await
}

/// Queues an attempt, the one after so many. With the same `resumed` a second call queues the same job; a resumed delivery gets a job of its own, since the
/// job that found the endpoint paused may still be ending.
pub(crate) async fn attempt_at(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    endpoint_id: &str,
    (delivery_id, attempt): (&str, i64),
    (run_at, resumed): (Option<Time>, Option<Time>),
) -> Result<()> {
    let task = Task::Deliver {
        delivery_id: delivery_id.to_owned(),
        attempt,
    };
    let mut key = format!("deliver/{delivery_id}/{attempt}");
    if let Some(resumed) = resumed {
        key.push_str(&format!("/{}", resumed.0));
    }
    let queued = jobs::EnqueueOptions {
        group: endpoint_id,
        dedupe_key: Some(&key),
        max_attempts: app.config.job_attempts,
        run_at,
        small: false,
    };
    jobs::enqueue(tx, &app.clock, tenant_id, &task, queued).await?;
    Ok(())
}

words! {
    /// The state of a delivery.
    pub enum DeliveryStatus {
        /// Not attempted yet.
        Pending = "pending",
        /// Failed, and due again.
        Retrying = "retrying",
        Succeeded = "succeeded",
        /// Given up.
        Failed = "failed",
    }
}

/// A delivery.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    pub(crate) endpoint_id: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) payload: String,
    pub(crate) status: DeliveryStatus,
    pub(crate) attempt_count: i64,
    pub(crate) next_attempt_on: Option<Time>,
    pub(crate) response_status: Option<i64>,
    pub(crate) last_error: Option<String>,
    pub(crate) created_on: Time,
    pub(crate) updated_on: Time,
}

impl Delivery {
    pub(crate) fn new(
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
            status: DeliveryStatus::Pending,
            attempt_count: 0,
            next_attempt_on: Some(now),
            response_status: None,
            last_error: None,
            created_on: now,
            updated_on: now,
        }
    }
}
