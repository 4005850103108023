//! The number of records of a kind that a tenant may have.

use async_trait::async_trait;
use serde_json::Value;

use super::kind::Kind;
use super::plan::Effect;
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::{Error, Result};

/// Checks after the writes of a plan that the tenant has at most a number of records of a kind.
#[derive(Debug)]
pub struct Limit {
    kind: &'static Kind,
    tenant_id: String,
    most: i64,
}

impl Limit {
    /// Returns the check.
    #[must_use]
    pub fn of(kind: &'static Kind, tenant_id: &str, most: i64) -> Box<dyn Effect> {
        Box::new(Self {
            kind,
            tenant_id: tenant_id.to_owned(),
            most,
        })
    }
}

/// Returns whether a tenant has more records of a kind than `most`, as this transaction sees them.
///
/// # Errors
/// Those of the database.
pub async fn exceeds(tx: &mut Tx, kind: &Kind, tenant_id: &str, most: i64) -> Result<bool> {
    let count: Option<(i64,)> = tx
        .optional(
            "SELECT COUNT(*) FROM records WHERE kind = $1 AND tenant_id = $2",
            args![kind.name, tenant_id],
        )
        .await?;
    Ok(count.is_some_and(|(count,)| count > most))
}

#[async_trait]
impl Effect for Limit {
    async fn apply(&self, _: &App, tx: &mut Tx) -> Result<Option<Value>> {
        // Of concurrent writes at the limit, each sees the writes before it.
        tx.execute(
            "UPDATE tenants SET name = name WHERE id = $1",
            args![&self.tenant_id],
        )
        .await?;
        if exceeds(tx, self.kind, &self.tenant_id, self.most).await? {
            return Err(Error::unprocessable(
                "too_many_records",
                format!(
                    "a workspace may have at most {} records of the kind {}",
                    self.most,
                    self.kind.name.replace('_', " ")
                ),
            )
            .with_hint("delete one that is no longer needed first"));
        }
        Ok(None)
    }
}
