//! Secrets of records, encrypted in a table of their own, so that no record, audit or search contains them.

use async_trait::async_trait;
use serde_json::Value;

use super::plan::Effect;
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::Result;

fn purpose(owner_id: &str, name: &str) -> String {
    format!("connection/{owner_id}/{name}")
}

/// Returns a secret of a record.
pub(crate) async fn get(
    app: &App,
    tenant_id: &str,
    owner_id: &str,
    name: &str,
) -> Result<Option<String>> {
    let sealed: Option<(String,)> = app
        .db
        .optional(
            "SELECT secret FROM connection_secrets WHERE owner_id = $1 AND name = $2 AND tenant_id = $3",
            args![owner_id, name, tenant_id],
        )
        .await?;
    match sealed {
        Some((sealed,)) => {
            let sealer = app.sealer().await?;
            sealer
                .open_sealed(&purpose(owner_id, name), &sealed)
                .map(Some)
        }
        None => Ok(None),
    }
}

/// Gives the secrets of all records up, whose key is lost: sources, connections, gateways and webhooks of boards need new ones. Returns how many there were.
///
/// # Errors
/// Those of the database.
pub async fn give_up_secrets(app: &App) -> Result<u64> {
    app.db
        .execute("DELETE FROM connection_secrets", args![])
        .await
}

/// Keeps secrets of a record, or forgets all of them.
#[derive(Debug)]
pub struct Keep {
    tenant_id: String,
    owner_id: String,
    /// Name and encrypted secret.
    sealed: Vec<(&'static str, String)>,
    forget: bool,
}

impl Keep {
    /// Returns the effect that keeps secrets.
    ///
    /// # Errors
    /// Those of the key.
    pub async fn of(
        app: &App,
        tenant_id: &str,
        owner_id: &str,
        secrets: &[(&'static str, &str)],
    ) -> Result<Box<dyn Effect>> {
        let sealer = app.sealer().await?;
        let mut sealed = Vec::with_capacity(secrets.len());
        for (name, secret) in secrets {
            sealed.push((*name, sealer.seal(&purpose(owner_id, name), secret)?));
        }
        Ok(Box::new(Self {
            tenant_id: tenant_id.to_owned(),
            owner_id: owner_id.to_owned(),
            sealed,
            forget: false,
        }))
    }

    /// Returns the effect that forgets all secrets of a record.
    #[must_use]
    pub fn nothing(tenant_id: &str, owner_id: &str) -> Box<dyn Effect> {
        Box::new(Self {
            tenant_id: tenant_id.to_owned(),
            owner_id: owner_id.to_owned(),
            sealed: Vec::new(),
            forget: true,
        })
    }
}

#[async_trait]
impl Effect for Keep {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        if self.forget {
            tx.execute(
                "DELETE FROM connection_secrets WHERE owner_id = $1 AND tenant_id = $2",
                args![&self.owner_id, &self.tenant_id],
            )
            .await?;
        }
        for (name, sealed) in &self.sealed {
            tx.execute(
                "INSERT INTO connection_secrets (owner_id, name, tenant_id, secret) VALUES ($1, $2, $3, $4) ON CONFLICT (owner_id, name) DO UPDATE SET secret = excluded.secret",
                args![&self.owner_id, *name, &self.tenant_id, sealed],
            )
            .await?;
        }
        Ok(None)
    }
}
