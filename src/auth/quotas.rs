//! Quotas: how much a tenant may store and use. The operator of the installation sets them; without one there is no limit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

/// Error code of a write or a use beyond a quota.
pub const EXCEEDED: &str = "quota_exceeded";

/// How much a tenant may have; `None` for no limit.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow, Serialize, Deserialize, ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Documents, those of records and those inside archives and mails among them.
    pub documents: Option<i64>,
    /// Bytes of the files of documents.
    pub bytes: Option<i64>,
    /// Chunks that are searched.
    pub chunks: Option<i64>,
    /// Requests per minute, of all keys, agents and people of the tenant together.
    pub requests: Option<i64>,
    /// Tokens of language models per calendar month in UTC, those of prompts and of responses.
    pub tokens: Option<i64>,
}

/// Columns of [`Quotas`] in `tenants`.
macro_rules! columns {
    () => {
        "quota_documents AS documents, quota_bytes AS bytes, quota_chunks AS chunks, quota_requests AS requests, quota_tokens AS tokens"
    };
}
pub(super) use columns;

const OF_TENANT: &str = concat!("SELECT ", columns!(), " FROM tenants WHERE id = $1");

impl Quotas {
    /// Returns whether there is a limit of what is stored.
    #[must_use]
    pub fn limit_storage(&self) -> bool {
        self.documents.is_some() || self.bytes.is_some() || self.chunks.is_some()
    }

    /// Checks that every limit is one.
    ///
    /// # Errors
    /// `quota_invalid`.
    pub(super) fn check(&self) -> Result<()> {
        let all = [self.documents, self.bytes, self.chunks, self.tokens];
        if all.into_iter().flatten().any(|most| most < 0) {
            return Err(invalid("a quota must be 0 or more, or null for no limit"));
        }
        if self
            .requests
            .is_some_and(|most| !(1..=1_000_000).contains(&most))
        {
            return Err(invalid(
                "requests must be 1 to 1000000 per minute, or null for no limit",
            ));
        }
        Ok(())
    }
}

fn invalid(message: &str) -> Error {
    Error::invalid("quota_invalid", message)
}

/// Returns the error for a write or a use beyond a quota.
#[must_use]
pub fn exceeded(what: &str, most: i64) -> Error {
    Error::forbidden(
        EXCEEDED,
        format!(
            "the quota of this workspace is {most} {what}; delete what is not needed, or ask the operator of this installation for more"
        ),
    )
}

/// Returns the quotas of a tenant.
///
/// # Errors
/// `tenant_not_found`.
pub async fn of(db: &Db, tenant_id: &str) -> Result<Quotas> {
    let found: Option<Quotas> = db.optional(OF_TENANT, args![tenant_id]).await?;
    found.ok_or_else(|| Error::not_found("tenant_not_found", "tenant not found"))
}

/// Returns the quotas of a tenant in a transaction.
///
/// # Errors
/// Those of the database.
pub async fn of_in(tx: &mut Tx, tenant_id: &str) -> Result<Quotas> {
    let found: Option<Quotas> = tx.optional(OF_TENANT, args![tenant_id]).await?;
    Ok(found.unwrap_or_default())
}

/// Returns the month of a time in UTC, as `2026-11`.
fn month(time: Time) -> String {
    time.rfc3339().chars().take(7).collect()
}

/// Returns the tokens of language models that a tenant has used in the month of a time.
///
/// # Errors
/// Those of the database.
pub async fn tokens_used(db: &Db, tenant_id: &str, now: Time) -> Result<i64> {
    let used: Option<(i64,)> = db
        .optional(
            "SELECT tokens FROM token_usage WHERE tenant_id = $1 AND month = $2",
            args![tenant_id, month(now)],
        )
        .await?;
    Ok(used.map_or(0, |(tokens,)| tokens))
}

/// Demands that a tenant has tokens of language models left. A use that begins with the last ones is not cut off.
///
/// # Errors
/// `quota_exceeded`.
pub async fn need_tokens(db: &Db, clock: &Clock, tenant_id: &str) -> Result<()> {
    let Some(most) = of(db, tenant_id).await?.tokens else {
        return Ok(());
    };
    if tokens_used(db, tenant_id, clock.now()).await? < most {
        return Ok(());
    }
    Err(Error::forbidden(
        EXCEEDED,
        format!(
            "the quota of this workspace is {most} tokens of language models per month, and they are used; more come with the next month, or ask the operator of this installation"
        ),
    ))
}

/// Adds tokens of language models to those that a tenant has used this month.
///
/// # Errors
/// Those of the database.
pub async fn add_tokens(tx: &mut Tx, clock: &Clock, tenant_id: &str, tokens: u64) -> Result<()> {
    if tokens == 0 {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO token_usage (tenant_id, month, tokens) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, month) DO UPDATE SET tokens = token_usage.tokens + excluded.tokens",
        args![
            tenant_id,
            month(clock.now()),
            i64::try_from(tokens).unwrap_or(i64::MAX)
        ],
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_that_of_utc() {
        assert_eq!(month(Time(1_798_761_599_999)), "2026-12");
        assert_eq!(month(Time(1_798_761_600_000)), "2027-01");
    }

    #[test]
    fn quotas_are_not_negative() {
        let quotas = |documents, requests| Quotas {
            documents,
            requests,
            ..Quotas::default()
        };
        assert!(quotas(Some(0), Some(1)).check().is_ok());
        assert!(quotas(None, None).check().is_ok());
        assert!(quotas(Some(-1), None).check().is_err());
        assert!(quotas(None, Some(0)).check().is_err());
    }
}
