//! Counts the tokens of an answer for the quota of its tenant.

use std::sync::Arc;
use std::time::Duration;

use super::{Passage, Question};
use crate::app::App;
use crate::auth::quotas;
use crate::error::Result;
use crate::llm::{Endpoint, Usage};

/// Lets a model write a text by instructions, within the quota of a tenant.
///
/// # Errors
/// `quota_exceeded`, and those of [`Endpoint::write`].
pub async fn write(
    app: &App,
    tenant_id: &str,
    endpoint: &Endpoint,
    (instructions, request): (&str, String),
    limit: Duration,
) -> Result<String> {
    quotas::need_tokens(&app.db, &app.clock, tenant_id).await?;
    let written = endpoint.write(instructions, request, limit).await?;
    record(app, tenant_id, written.usage).await?;
    Ok(written.text)
}

/// Adds used tokens to those of a tenant.
async fn record(app: &App, tenant_id: &str, usage: Usage) -> Result<()> {
    let mut tx = app.db.begin().await?;
    quotas::add_tokens(&mut tx, &app.clock, tenant_id, usage.total()).await?;
    tx.commit().await
}

/// Adds the tokens of an answer to those of the tenant when it is dropped: clients that leave in the middle have used them, too.
pub(super) struct Meter {
    app: Arc<App>,
    tenant_id: String,
    reported: Option<Usage>,
    /// Characters sent and received, for what the endpoint does not report.
    sent: usize,
    received: usize,
    /// Whether the endpoint has refused the request, which costs nothing before the first piece.
    is_refused: bool,
}

impl Meter {
    pub(super) fn new(
        app: &Arc<App>,
        tenant_id: &str,
        question: &Question,
        passages: &[Passage],
    ) -> Self {
        let turns: usize = question.history.iter().map(|t| t.content.len()).sum();
        let passages: usize = passages.iter().map(|p| p.text.len()).sum();
        Self {
            app: Arc::clone(app),
            tenant_id: tenant_id.to_owned(),
            reported: None,
            sent: question.text.len() + turns + passages,
            received: 0,
            is_refused: false,
        }
    }

    /// Counts a piece of the response.
    pub(super) fn written(&mut self, piece: &str) {
        self.received += piece.len();
    }

    /// Takes a report of the endpoint.
    pub(super) fn report(&mut self, usage: Usage) {
        self.reported.get_or_insert_default().merge(usage);
    }

    /// Returns what the endpoint has reported.
    pub(super) fn reported(&self) -> Option<Usage> {
        self.reported
    }

    /// Notes that the endpoint has answered with an error.
    pub(super) fn refused(&mut self) {
        self.is_refused = true;
    }

    /// Returns the tokens, as reported or estimated.
    fn usage(&self) -> Usage {
        match self.reported {
            None if self.is_refused && self.received == 0 => Usage::default(),
            reported => reported
                .unwrap_or_default()
                .or_estimated(self.sent, self.received),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let (app, tenant_id) = (Arc::clone(&self.app), std::mem::take(&mut self.tenant_id));
        let usage = self.usage();
        if usage == Usage::default() {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = record(&app, &tenant_id, usage).await {
                tracing::error!(%error, tenant_id, ?usage, "used tokens could not be recorded");
            }
        });
    }
}
