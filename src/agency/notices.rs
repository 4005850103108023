//! Events for the streams of a team: for everybody, and about the output of one activity.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::Area;
use crate::db::Tx;
use crate::error::Result;
use crate::events::{self, Event};
use crate::records::plan::Effect;

/// An event of a team's stream.
#[derive(Debug, Clone)]
pub struct Notice {
    tenant_id: String,
    event: &'static str,
    data: Value,
}

impl Notice {
    /// An agent began an activity.
    #[must_use]
    pub fn started(tenant_id: &str, activity_id: &str, title: &str, role: &str) -> Self {
        Self::new(
            tenant_id,
            "activity_started",
            json!({"activityId": activity_id, "title": title, "agentRole": role}),
        )
    }

    /// An activity is done.
    #[must_use]
    pub fn completed(tenant_id: &str, activity_id: &str, campaign_id: Option<&str>) -> Self {
        Self::new(
            tenant_id,
            "activity_completed",
            json!({"activityId": activity_id, "status": "done", "campaignId": campaign_id}),
        )
    }

    /// An activity failed.
    #[must_use]
    pub fn failed(tenant_id: &str, activity_id: &str, error: &str, retries: i64) -> Self {
        Self::new(
            tenant_id,
            "activity_failed",
            json!({"activityId": activity_id, "error": error, "retryCount": retries}),
        )
    }

    /// A pending approval.
    #[must_use]
    pub fn approval_created(
        tenant_id: &str,
        approval_id: &str,
        (kind, risk_level): (&str, &str),
        title: &str,
    ) -> Self {
        Self::new(
            tenant_id,
            "approval_created",
            json!({"approvalId": approval_id, "type": kind, "riskLevel": risk_level, "title": title}),
        )
    }

    /// An approval expires soon.
    #[must_use]
    pub fn approval_expiring(
        tenant_id: &str,
        approval_id: &str,
        expires_at: &str,
        hours_left: i64,
    ) -> Self {
        Self::new(
            tenant_id,
            "approval_expiring",
            json!({"approvalId": approval_id, "expiresAt": expires_at, "hoursLeft": hours_left}),
        )
    }

    /// A campaign has spent a share of its cap, or all of it; amounts in US dollars.
    #[must_use]
    pub fn budget(
        tenant_id: &str,
        alert: &str,
        campaign_id: &str,
        spent_usd: f64,
        cap_usd: f64,
    ) -> Self {
        Self::new(
            tenant_id,
            "budget_alert",
            json!({"type": alert, "campaignId": campaign_id, "spentUsd": spent_usd, "capUsd": cap_usd}),
        )
    }

    fn new(tenant_id: &str, event: &'static str, data: Value) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            event,
            data,
        }
    }

    /// Appends the event.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn send(&self, app: &App, tx: &mut Tx) -> Result<()> {
        let event = Event::TeamNotice {
            dataset_id: Area::Marketing.dataset_id(&self.tenant_id),
            event: self.event.to_owned(),
            data: self.data.clone(),
        };
        events::append(tx, &app.clock, &self.tenant_id, &event).await
    }
}

#[async_trait]
impl Effect for Notice {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        self.send(app, tx).await?;
        Ok(None)
    }
}

/// An event of the stream of one activity: `text_delta`, `tool_call`, `tool_result`, `completed` or `error`.
#[derive(Debug, Clone)]
pub struct Output {
    pub tenant_id: String,
    pub activity_id: String,
    pub event: &'static str,
    pub data: Value,
}

impl Output {
    /// Appends the event.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn send(&self, app: &App, tx: &mut Tx) -> Result<()> {
        let mut data = self.data.clone();
        data["activityId"] = json!(self.activity_id);
        let event = Event::AgentOutput {
            dataset_id: Area::Marketing.dataset_id(&self.tenant_id),
            activity_id: self.activity_id.clone(),
            event: self.event.to_owned(),
            data,
        };
        events::append(tx, &app.clock, &self.tenant_id, &event).await
    }
}

#[async_trait]
impl Effect for Output {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        self.send(app, tx).await?;
        Ok(None)
    }
}
