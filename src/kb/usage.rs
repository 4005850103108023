//! How much of its quotas a tenant uses.

use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::quotas;
use crate::db::{Tx, args};
use crate::error::Result;

/// How much a tenant has, and has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TenantUsage)]
pub struct Usage {
    /// Documents, those of records and those inside archives and mails among them.
    pub documents: i64,
    /// Bytes of the files of documents.
    pub bytes: i64,
    /// Chunks that are searched.
    pub chunks: i64,
    /// Tokens of language models in this calendar month in UTC.
    pub tokens: i64,
}

const STORED: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT), CAST(COALESCE(SUM(chunks_count), 0) AS BIGINT) FROM kb_documents WHERE tenant_id = $1";

/// Returns the usage of a tenant.
///
/// # Errors
/// Those of the database.
pub async fn of(app: &App, tenant_id: &str) -> Result<Usage> {
    let (documents, bytes, chunks) = app.db.one(STORED, args![tenant_id]).await?;
    Ok(Usage {
        documents,
        bytes,
        chunks,
        tokens: quotas::tokens_used(&app.db, tenant_id, app.clock.now()).await?,
    })
}

/// Demands that what a transaction has written is within the quotas of its tenant. Called after the writes: the transaction is given up beyond a quota.
/// Costs one look-up by id for tenants without a quota, and a count in an index for others. Exact for transactions that have appended an event, since one
/// after the other does; others at the same time may together go beyond a quota by what they add.
///
/// # Errors
/// `quota_exceeded`.
pub(crate) async fn check(tx: &mut Tx, tenant_id: &str) -> Result<()> {
    let quotas = quotas::of_in(tx, tenant_id).await?;
    if !quotas.limit_storage() {
        return Ok(());
    }
    let found: Option<(i64, i64, i64)> = tx.optional(STORED, args![tenant_id]).await?;
    let (documents, bytes, chunks) = found.unwrap_or_default();
    for (what, used, most) in [
        ("documents", documents, quotas.documents),
        ("bytes of documents", bytes, quotas.bytes),
        ("chunks", chunks, quotas.chunks),
    ] {
        if let Some(most) = most.filter(|most| used > *most) {
            return Err(quotas::exceeded(what, most));
        }
    }
    Ok(())
}
