//! What happened: typed events, stored in the transaction that caused them and replayable until they expire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::Result;

/// Something that happened to what a tenant owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
// Each variant says how its fields are named: the schema does not know `rename_all_fields`.
#[serde(tag = "topic", rename_all = "snake_case")]
pub enum Event {
    /// A document moved in its life: uploaded, parsing, embedding, indexed, failed, switched on or off.
    #[serde(rename_all = "camelCase")]
    DocumentChanged {
        /// The dataset.
        dataset_id: String,
        /// The document.
        document_id: String,
        /// Its name.
        file_name: String,
        /// `pending`, `parsing`, `embedding`, `indexed`, `error` or `disabled`.
        status: String,
        /// 0 to 100.
        progress: i64,
        /// Chunks known so far.
        chunks_count: i64,
        /// One sentence when the status is `error`.
        error_message: Option<String>,
    },
    /// A document and its chunks are gone.
    #[serde(rename_all = "camelCase")]
    DocumentDeleted {
        /// The dataset.
        dataset_id: String,
        /// The document.
        document_id: String,
        /// Chunks that went with it.
        chunks_removed: i64,
    },
    /// A crawl began, got on or ended.
    #[serde(rename_all = "camelCase")]
    CrawlChanged {
        /// The dataset.
        dataset_id: String,
        /// The crawl.
        crawl_id: String,
        /// `queued`, `running`, `completed`, `failed` or `cancelled`.
        status: String,
        /// Pages that answered.
        pages_crawled: i64,
        /// Pages that search finds.
        pages_indexed: i64,
        /// Addresses that were not taken.
        pages_skipped: i64,
        /// Addresses that failed.
        pages_failed: i64,
        /// Why it indexed nothing.
        error_message: Option<String>,
    },
    /// An agent said something to its user.
    #[serde(rename = "openclaw:message", rename_all = "camelCase")]
    OpenclawMessage {
        /// The conversation.
        conversation_id: String,
        /// Joins the pieces of a message.
        message_id: String,
        /// A whole message.
        message: Option<String>,
        /// A piece of one.
        chunk: Option<String>,
        /// Whether the message is complete.
        done: bool,
    },
    /// An agent told how far a task is.
    #[serde(rename = "agent-task-update", rename_all = "camelCase")]
    AgentTaskUpdate {
        /// The agent's id for it.
        task_id: String,
        /// `started`, `in_progress` or `done`.
        status: String,
        /// What it is about, or how far it is.
        summary: Option<String>,
    },
    /// A dataset was created or its settings changed.
    #[serde(rename_all = "camelCase")]
    DatasetChanged {
        /// The dataset.
        dataset_id: String,
        /// Its name.
        name: String,
    },
    /// A dataset and all its documents are gone.
    #[serde(rename_all = "camelCase")]
    DatasetDeleted {
        /// The dataset.
        dataset_id: String,
    },
}

impl Event {
    /// The name under which streams carry it.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::DocumentChanged { .. } => "document_changed",
            Self::DocumentDeleted { .. } => "document_deleted",
            Self::CrawlChanged { .. } => "crawl_changed",
            Self::OpenclawMessage { .. } => "openclaw:message",
            Self::AgentTaskUpdate { .. } => "agent-task-update",
            Self::DatasetChanged { .. } => "dataset_changed",
            Self::DatasetDeleted { .. } => "dataset_deleted",
        }
    }

    /// The dataset it is about; those of the channel are about none.
    #[must_use]
    pub fn dataset_id(&self) -> Option<&str> {
        match self {
            Self::DocumentChanged { dataset_id, .. }
            | Self::DocumentDeleted { dataset_id, .. }
            | Self::CrawlChanged { dataset_id, .. }
            | Self::DatasetChanged { dataset_id, .. }
            | Self::DatasetDeleted { dataset_id } => Some(dataset_id),
            Self::OpenclawMessage { .. } | Self::AgentTaskUpdate { .. } => None,
        }
    }
}

/// A stored event.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Stored {
    /// Position; a stream resumes after it.
    pub seq: i64,
    /// Whose event it is.
    pub tenant_id: String,
    /// Name of the event.
    pub topic: String,
    /// Dataset it is about.
    pub dataset_id: Option<String>,
    /// JSON of the [`Event`].
    pub payload: String,
    /// The key that caused it, where that is kept.
    pub author: Option<String>,
}

/// Appends an event to the transaction that causes it.
///
/// # Errors
/// As the database says.
pub async fn append(tx: &mut Tx, clock: &Clock, tenant_id: &str, event: &Event) -> Result<()> {
    append_by(tx, clock, tenant_id, event, None).await
}

/// Appends an event that a key caused, which may read it by that.
///
/// # Errors
/// As the database says.
pub async fn append_by(
    tx: &mut Tx,
    clock: &Clock,
    tenant_id: &str,
    event: &Event,
    author: Option<&str>,
) -> Result<()> {
    let seq = tx.count("events", 1).await?;
    let payload = serde_json::to_string(event)?;
    tx.execute(
        "INSERT INTO events (seq, tenant_id, dataset_id, topic, payload, created_on, author) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![seq, tenant_id, event.dataset_id(), event.topic(), payload, clock.now(), author],
    )
    .await?;
    Ok(())
}

/// Events of a tenant after a position, at most 500.
///
/// # Errors
/// As the database says.
pub async fn after(db: &Db, tenant_id: &str, seq: i64) -> Result<Vec<Stored>> {
    db.all("SELECT seq, tenant_id, topic, dataset_id, payload, author FROM events WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT 500", args![tenant_id, seq]).await
}

/// The last position of all events.
///
/// # Errors
/// As the database says.
pub async fn last(db: &Db) -> Result<i64> {
    Ok(db
        .one::<(i64,)>(
            "SELECT CAST(COALESCE(MAX(value), 0) AS BIGINT) FROM counters WHERE name = 'events'",
            args![],
        )
        .await?
        .0)
}

/// Removes events that are older than the replay window.
///
/// # Errors
/// As the database says.
pub async fn prune(db: &Db, now: Time, keep: Duration) -> Result<u64> {
    db.execute(
        "DELETE FROM events WHERE created_on < $1",
        args![now.minus(keep)],
    )
    .await
}

/// Hands every event to the streams of this process, read from the database once for all of them.
#[derive(Debug)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Stored>>,
    /// The position after which the first stream wants events, while nobody has been served yet.
    from: Mutex<Option<i64>>,
}

/// Events that a stream may be behind before it has to read them from the database.
const BACKLOG: usize = 1024;

impl Default for Feed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
            from: Mutex::default(),
        }
    }
}

impl Feed {
    fn from(&self) -> MutexGuard<'_, Option<i64>> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to the events after a position of the log, which is returned with the receiver.
    ///
    /// # Errors
    /// As the database says.
    pub async fn subscribe(&self, db: &Db) -> Result<(broadcast::Receiver<Arc<Stored>>, i64)> {
        let receiver = self.sender.subscribe();
        let position = last(db).await?;
        self.from().get_or_insert(position);
        Ok((receiver, position))
    }

    /// Serves subscribers until `stop` fires.
    pub async fn run(&self, db: &Db, commits: &CommitSignal, stop: CancellationToken) {
        let mut commits_seen = commits.subscribe();
        let mut position = None;
        while !stop.is_cancelled() {
            commits_seen.mark_unchanged();
            if self.sender.receiver_count() == 0 {
                // Nobody is served, so the next one says where to go on.
                position = None;
                *self.from() = None;
            } else if position.is_none() {
                position = *self.from();
            }
            let mut more = false;
            if let Some(after) = position {
                match everybodys(db, after).await {
                    Ok(stored) => {
                        more = !stored.is_empty();
                        for event in stored {
                            position = Some(event.seq);
                            // Without a receiver there is nobody to miss it.
                            let _ = self.sender.send(Arc::new(event));
                        }
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "events cannot be read; trying again");
                    }
                }
            }
            if more {
                continue;
            }
            tokio::select! {
                _ = commits_seen.changed() => {}
                // Other processes do not ring.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

/// Events of all tenants after a position, at most 500.
async fn everybodys(db: &Db, seq: i64) -> Result<Vec<Stored>> {
    db.all(
        "SELECT seq, tenant_id, topic, dataset_id, payload, author FROM events WHERE seq > $1 ORDER BY seq LIMIT 500",
        args![seq],
    )
    .await
}

/// Wakes those in this process who wait for a commit; the stored rows stay the truth.
#[derive(Debug, Clone)]
pub struct CommitSignal(watch::Sender<u64>);

impl Default for CommitSignal {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl CommitSignal {
    /// Call after a commit.
    pub fn notify(&self) {
        self.0.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// A listener that sees every ring from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
