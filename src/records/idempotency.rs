//! Answers of writes under idempotency keys: the same request with the same key has one effect and one answer, also at the same moment and after a crash.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::request::{Answer, Once, Request};
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::{Detail, Error, Result};
use crate::seal;

/// How long answers are kept, in milliseconds: a day.
pub(crate) const KEPT: i64 = 24 * 60 * 60 * 1000;

/// Returns the hash of a request, by which a repetition is told from another request.
#[must_use]
pub fn hash(method: &str, path: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(method);
    hash.update([0]);
    hash.update(path);
    hash.update([0]);
    hash.update(body);
    hex::encode(hash.finalize())
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    request_hash: String,
    status: i64,
    answer: String,
    key_id: Option<String>,
}

/// Returns the answer of an earlier request with the same key, if there is one.
///
/// # Errors
/// `idempotency_key_reused` when that was another request, or one of another API key.
pub(super) async fn earlier(
    app: &App,
    request: &Request<'_>,
    once: &Once,
) -> Result<Option<Answer>> {
    let row: Option<Row> = app
        .db
        .optional(
            "SELECT request_hash, status, answer, key_id FROM idempotency_keys WHERE operation = $1 AND key = $2 AND tenant_id = $3 AND created_on >= $4",
            args![request.operation, &once.key, request.caller.tenant(), app.clock.now().0 - KEPT],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    // An answer to one API key, such as a secret that is shown once, is not for another.
    let is_same =
        row.request_hash == once.request_hash && row.key_id.as_deref() == request.caller.actor_id();
    if !is_same {
        return Err(Error::conflict(
            "idempotency_key_reused",
            "this idempotency key was used for another request; use a new one for each write",
        )
        .with_detail(Detail::IdempotencyKey(once.key.clone())));
    }
    let stored = if seal::is_sealed(&row.answer) {
        app.sealer().await?.open_sealed(&once.key, &row.answer)?
    } else {
        row.answer
    };
    let (data, request_id): (Value, String) = serde_json::from_str(&stored)?;
    Ok(Some(Answer {
        status: u16::try_from(row.status).unwrap_or(200),
        data,
        replayed: Some(request_id),
    }))
}

/// Claims a key for this transaction; `false` when another request has it.
pub(super) async fn claim(
    app: &App,
    tx: &mut Tx,
    request: &Request<'_>,
    once: &Once,
) -> Result<bool> {
    let (tenant_id, now) = (request.caller.tenant(), app.clock.now());
    tx.execute(
        "DELETE FROM idempotency_keys WHERE operation = $1 AND key = $2 AND tenant_id = $3 AND created_on < $4",
        args![request.operation, &once.key, tenant_id, now.0 - KEPT],
    )
    .await?;
    let ours = tx
        .execute(
            "INSERT INTO idempotency_keys (operation, key, tenant_id, request_hash, status, answer, created_on, key_id) VALUES ($1, $2, $3, $4, 0, '', $5, $6)
             ON CONFLICT (operation, key, tenant_id) DO NOTHING",
            args![request.operation, &once.key, tenant_id, &once.request_hash, now, request.caller.actor_id()],
        )
        .await?;
    Ok(ours > 0)
}

/// Stores the answer under the key that this transaction has claimed; encrypted when it holds secrets.
pub(super) async fn store(
    app: &App,
    tx: &mut Tx,
    request: &Request<'_>,
    once: &Once,
    (status, data): (u16, &Value),
    is_secret: bool,
) -> Result<()> {
    let mut answer = serde_json::to_string(&(data, request.request_id.as_str()))?;
    if is_secret {
        answer = app.sealer().await?.seal(&once.key, &answer)?;
    }
    tx.execute(
        "UPDATE idempotency_keys SET status = $1, answer = $2 WHERE operation = $3 AND key = $4 AND tenant_id = $5",
        args![i64::from(status), answer, request.operation, &once.key, request.caller.tenant()],
    )
    .await?;
    Ok(())
}

/// Forgets all answers.
///
/// # Errors
/// Those of the database.
pub async fn forget_all(app: &App) -> Result<()> {
    app.db
        .execute("DELETE FROM idempotency_keys", args![])
        .await?;
    Ok(())
}
