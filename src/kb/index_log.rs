//! The log that both indexes follow: every change of searchable content, in order, written in the transaction of the change.

use uuid::Uuid;

use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

/// Kind of a change of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Its text is available to keyword search.
    Text,
    /// Its embedding is stored.
    Vector,
    /// It is deleted or hidden.
    Delete,
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Vector => "vector",
            Self::Delete => "delete",
        }
    }
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// Position in the dataset's log, from 1, without gaps.
    pub seq: i64,
    /// `text`, `vector` or `delete`.
    pub op: String,
    pub chunk_id: String,
}

/// Parses the id of a chunk, as the log and the rows contain it.
///
/// # Errors
/// When it is damaged.
pub fn chunk_id(text: &str) -> Result<Uuid> {
    text.parse()
        .map_err(|e| Error::internal("a chunk id is damaged").with_source(e))
}

/// Locks a dataset for a change of its chunks, until the commit, and returns the live set; `None` when the dataset is gone. Every transaction that
/// changes chunks, or document fields that searches read, begins with this: changes of one dataset, and switches of its generation, are serialised, and
/// each increments the version of the dataset.
///
/// # Errors
/// Those of the database.
pub async fn lock_dataset(
    tx: &mut Tx,
    tenant_id: &str,
    dataset_id: &str,
) -> Result<Option<String>> {
    let live: Option<(String,)> = tx
        .optional(
            "UPDATE kb_datasets SET version = version + 1 WHERE tenant_id = $1 AND id = $2 RETURNING live_set",
            args![tenant_id, dataset_id],
        )
        .await?;
    Ok(live.map(|(set,)| set))
}

/// Appends entries to the log of a set and returns the position of the last one (the set's current position when there are none). The caller has locked
/// the dataset, so positions appear in commit order.
///
/// # Errors
/// Those of the database.
pub async fn append(tx: &mut Tx, set_id: &str, entries: &[(Op, String)]) -> Result<i64> {
    let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let row: Option<(i64,)> = tx
        .optional(
            "UPDATE kb_generations SET log_seq = log_seq + $1 WHERE set_id = $2 RETURNING log_seq",
            args![count, set_id],
        )
        .await?;
    let last = row.map_or(0, |(seq,)| seq);
    for (seq, (op, chunk_id)) in (last - count + 1..).zip(entries) {
        tx.execute(
            "INSERT INTO kb_index_log (dataset_id, seq, op, chunk_id) VALUES ($1, $2, $3, $4)",
            args![set_id, seq, op.name(), chunk_id],
        )
        .await?;
    }
    Ok(last)
}

/// Returns the entries after a position, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn after(db: &Db, set_id: &str, seq: i64, limit: i64) -> Result<Vec<Entry>> {
    db.all("SELECT seq, op, chunk_id FROM kb_index_log WHERE dataset_id = $1 AND seq > $2 ORDER BY seq LIMIT $3", args![set_id, seq, limit]).await
}

/// A set as seen by the indexers: the chunks of one generation of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Head {
    /// Id of the set.
    pub id: String,
    pub dataset_id: String,
    /// Whether it is the live set.
    pub live: bool,
    pub tenant_id: String,
    /// Language of its keyword analysis.
    pub language: String,
    pub embedding_model: String,
    /// Dimensions of its vectors.
    pub vector_size: i64,
    pub generation: i64,
    /// Last position of its log.
    pub log_seq: i64,
    /// First position still kept; 0 when the log is empty.
    pub first_seq: i64,
    /// Version of the dataset.
    pub version: i64,
}

/// Returns every set of the installation with the extent of its log.
///
/// # Errors
/// Those of the database.
pub async fn heads(db: &Db) -> Result<Vec<Head>> {
    db.all(
        "SELECT g.set_id AS id, g.dataset_id, g.set_id = d.live_set AS live, g.tenant_id, d.language, g.embedding_model, g.vector_size, g.number AS generation, g.log_seq, d.version,
         CAST(COALESCE((SELECT MIN(l.seq) FROM kb_index_log l WHERE l.dataset_id = g.set_id), 0) AS BIGINT) AS first_seq
         FROM kb_generations g JOIN kb_datasets d ON d.id = g.dataset_id ORDER BY g.set_id",
        args![],
    )
    .await
}

/// Removes entries that every index has long applied: all but the last `keep` of each dataset. An index that is further behind is rebuilt.
///
/// # Errors
/// Those of the database.
pub async fn prune(db: &Db, keep: i64) -> Result<u64> {
    db.execute("DELETE FROM kb_index_log WHERE seq <= (SELECT g.log_seq FROM kb_generations g WHERE g.set_id = kb_index_log.dataset_id) - $1", args![keep]).await
}
