//! Messages from outside that take effect once: each is remembered in the transaction of its effect.

use async_trait::async_trait;
use serde_json::Value;

use crate::app::App;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::records::plan::Effect;

/// Error code of a message that was accepted before.
pub(super) const REPEATED: &str = "message_repeated";

/// Progress of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was accepted, and something is left to do.
    Begin,
    /// The rest of the work is done.
    Finish,
    /// It was accepted and everything is done.
    All,
}

/// Remembers a message of a source; one that was remembered before ends the transaction with [`REPEATED`].
#[derive(Debug, Clone)]
pub(super) struct Once {
    tenant_id: String,
    source_id: String,
    message_id: String,
    step: Step,
}

impl Once {
    /// Returns the effect for a message whose effect is one transaction.
    pub fn new(tenant_id: &str, source_id: &str, message_id: &str) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            source_id: source_id.to_owned(),
            message_id: message_id.to_owned(),
            step: Step::All,
        }
    }

    /// Returns the effect for the first of two transactions.
    pub fn begin(&self) -> Self {
        Self {
            step: Step::Begin,
            ..self.clone()
        }
    }

    /// Returns the effect for the second of two transactions.
    pub fn finish(&self) -> Self {
        Self {
            step: Step::Finish,
            ..self.clone()
        }
    }

    /// Returns whether the message was accepted, and whether everything is done; `None` for a new one.
    pub async fn state(&self, app: &App) -> Result<Option<bool>> {
        let found: Option<(bool,)> = app
            .db
            .optional(
                "SELECT done FROM inbound_messages WHERE source_id = $1 AND message_id = $2 AND tenant_id = $3",
                args![&self.source_id, &self.message_id, &self.tenant_id],
            )
            .await?;
        Ok(found.map(|(done,)| done))
    }

    /// Remembers a message whose effects can be repeated without harm.
    pub async fn remember(&self, app: &App) -> Result<()> {
        let mut tx = app.db.begin().await?;
        match self.apply(app, &mut tx).await {
            Err(error) if error.code() == REPEATED => Ok(()),
            Err(error) => Err(error),
            Ok(_) => tx.commit().await,
        }
    }
}

#[async_trait]
impl Effect for Once {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (source, message, tenant) = (&self.source_id, &self.message_id, &self.tenant_id);
        let ours = match self.step {
            Step::Finish => {
                tx.execute(
                    "UPDATE inbound_messages SET done = TRUE WHERE source_id = $1 AND message_id = $2 AND tenant_id = $3 AND done = FALSE",
                    args![source, message, tenant],
                )
                .await?
            }
            Step::Begin | Step::All => {
                tx.execute(
                    "INSERT INTO inbound_messages (source_id, message_id, tenant_id, received_on, done) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source_id, message_id) DO NOTHING",
                    args![source, message, tenant, app.clock.now(), self.step == Step::All],
                )
                .await?
            }
        };
        if ours == 0 {
            return Err(Error::conflict(
                REPEATED,
                "this message was accepted before",
            ));
        }
        Ok(None)
    }
}
