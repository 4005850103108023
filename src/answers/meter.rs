//! Counts the tokens of an answer for the quota of its tenant.

use std::sync::Arc;
use std::time::Duration;

use super::{Passage, Question};
use crate::app::App;
use crate::auth::quotas;
use crate::error::Result;
use crate::llm::{Endpoint, Usage, estimated};

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
    let mut tx = app.db.begin().await?;
    quotas::add_tokens(&mut tx, &app.clock, tenant_id, written.usage.total()).await?;
    tx.commit().await?;
    Ok(written.text)
}

/// Adds the tokens of an answer to those of the tenant when it is dropped: clients that leave in the middle have used them, too.
pub(super) struct Meter {
    app: Arc<App>,
    tenant_id: String,
    reported: Usage,
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
            reported: Usage::default(),
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
    pub(super) fn reported(&mut self, usage: Usage) {
        self.reported.merge(usage);
    }

    /// Notes that the endpoint has answered with an error.
    pub(super) fn refused(&mut self) {
        self.is_refused = true;
    }

    /// Returns the tokens: as reported, or estimated.
    fn tokens(&self) -> u64 {
        if self.is_refused && self.reported == Usage::default() && self.received == 0 {
            return 0;
        }
        let or_estimated = |reported: u64, characters| {
            if reported > 0 {
                reported
            } else {
                estimated(characters)
            }
        };
        or_estimated(self.reported.input_tokens, self.sent)
            + or_estimated(self.reported.output_tokens, self.received)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let (app, tenant_id) = (Arc::clone(&self.app), std::mem::take(&mut self.tenant_id));
        let tokens = self.tokens();
        if tokens == 0 {
            return;
        }
        tokio::spawn(async move {
            let added = async {
                let mut tx = app.db.begin().await?;
                quotas::add_tokens(&mut tx, &app.clock, &tenant_id, tokens).await?;
                tx.commit().await
            };
            if let Err(error) = added.await {
                tracing::error!(%error, tenant_id, tokens, "used tokens could not be recorded");
            }
        });
    }
}
