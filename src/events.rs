//! Typed events, stored in the transaction that causes them and replayable until they expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Time};
use crate::db::{Db, Tx, args};
use crate::error::Result;

/// An event about a resource of a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
// Each variant has its own `rename_all`: the schema does not support `rename_all_fields`.
#[serde(tag = "topic", rename_all = "snake_case")]
pub enum Event {
    /// The state of a document changed: uploaded, parsing, embedding, indexed, failed, switched on or off.
    #[serde(rename_all = "camelCase")]
    DocumentChanged {
        /// Id of the dataset.
        dataset_id: String,
        /// Id of the document.
        document_id: String,
        /// Name of the document's file.
        file_name: String,
        /// `pending`, `parsing`, `embedding`, `indexed`, `error` or `disabled`.
        status: String,
        /// Progress in percent, 0 to 100.
        progress: i64,
        /// Number of chunks known so far.
        chunks_count: i64,
        /// Sentence about the failure when the status is `error`.
        error_message: Option<String>,
    },
    /// A document and its chunks were deleted.
    #[serde(rename_all = "camelCase")]
    DocumentDeleted {
        /// Id of the dataset.
        dataset_id: String,
        /// Id of the document.
        document_id: String,
        /// Number of chunks deleted with it.
        chunks_removed: i64,
    },
    /// A crawl started, progressed or ended.
    #[serde(rename_all = "camelCase")]
    CrawlChanged {
        /// Id of the dataset.
        dataset_id: String,
        /// Id of the crawl.
        crawl_id: String,
        /// `queued`, `running`, `completed`, `failed` or `cancelled`.
        status: String,
        /// Number of pages that responded.
        pages_crawled: i64,
        /// Number of pages that were indexed.
        pages_indexed: i64,
        /// Number of addresses that were skipped.
        pages_skipped: i64,
        /// Number of addresses that failed.
        pages_failed: i64,
        /// Reason why nothing was indexed.
        error_message: Option<String>,
    },
    /// An agent sent a message to its user.
    #[serde(rename = "openclaw:message", rename_all = "camelCase")]
    OpenclawMessage {
        /// Id of the conversation.
        conversation_id: String,
        /// Id that joins the pieces of a message.
        message_id: String,
        /// A whole message.
        message: Option<String>,
        /// A piece of a message.
        chunk: Option<String>,
        /// Whether the message is complete.
        done: bool,
    },
    /// An agent reported the progress of a task.
    #[serde(rename = "agent-task-update", rename_all = "camelCase")]
    AgentTaskUpdate {
        /// The agent's id for the task.
        task_id: String,
        /// `started`, `in_progress` or `done`.
        status: String,
        /// Subject or progress of the task.
        summary: Option<String>,
    },
    /// A dataset was created or its settings changed.
    #[serde(rename_all = "camelCase")]
    DatasetChanged {
        /// Id of the dataset.
        dataset_id: String,
        /// Name of the dataset.
        name: String,
    },
    /// Something on a board, or in the memory that a group of boards shares, changed.
    #[serde(rename_all = "camelCase")]
    BoardChanged {
        /// Id of the dataset of the board or the group.
        dataset_id: String,
        /// Id of the board or the group.
        part_id: String,
        /// `task`, `approval`, `memory`, `group_memory` or `agent`.
        subject: String,
        /// Id of the record.
        id: String,
        /// Id of the entry in the activity of the board.
        entry_id: Option<String>,
    },
    /// Something that a marketing team wants to know: an activity started or ended, an approval is needed or expires, a budget is used up.
    #[serde(rename_all = "camelCase")]
    TeamNotice {
        /// Id of the dataset of the area.
        dataset_id: String,
        /// `activity_started`, `activity_completed`, `activity_failed`, `approval_created`, `approval_expiring` or `budget_alert`.
        event: String,
        /// Details, as the dashboard's stream sends them.
        data: serde_json::Value,
    },
    /// An agent wrote, called a tool, or ended its work on an activity.
    #[serde(rename_all = "camelCase")]
    AgentOutput {
        /// Id of the dataset of the area.
        dataset_id: String,
        /// Id of the activity.
        activity_id: String,
        /// `text_delta`, `tool_call`, `tool_result`, `completed` or `error`.
        event: String,
        /// Details, as the activity's stream sends them.
        data: serde_json::Value,
    },
    /// Another generation of a dataset is searched from now on.
    #[serde(rename_all = "camelCase")]
    GenerationSwitched {
        /// Id of the dataset.
        dataset_id: String,
        /// Number of the generation.
        generation: i64,
        /// Model of its vectors.
        embedding_model: String,
    },
    /// A run over a query set was significantly worse than the one before it.
    #[serde(rename_all = "camelCase")]
    EvaluationRegressed {
        /// Id of the dataset.
        dataset_id: String,
        /// Id of the query set.
        query_set_id: String,
        /// Id of the run.
        run_id: String,
        /// Id of the run before.
        before_id: String,
        /// Mean difference of nDCG@10 over the queries of both.
        difference: f64,
        /// Lower limit of its 95 % interval.
        low: f64,
        /// Upper limit of its 95 % interval, below 0.
        high: f64,
    },
    /// A dataset and all its documents were deleted.
    #[serde(rename_all = "camelCase")]
    DatasetDeleted {
        /// Id of the dataset.
        dataset_id: String,
    },
}

impl Event {
    /// Returns the name under which streams carry it.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::DocumentChanged { .. } => "document_changed",
            Self::DocumentDeleted { .. } => "document_deleted",
            Self::CrawlChanged { .. } => "crawl_changed",
            Self::OpenclawMessage { .. } => "openclaw:message",
            Self::AgentTaskUpdate { .. } => "agent-task-update",
            Self::DatasetChanged { .. } => "dataset_changed",
            Self::GenerationSwitched { .. } => "generation_switched",
            Self::EvaluationRegressed { .. } => "evaluation_regressed",
            Self::DatasetDeleted { .. } => "dataset_deleted",
            Self::BoardChanged { .. } => "board_changed",
            Self::TeamNotice { .. } => "team_notice",
            Self::AgentOutput { .. } => "agent_output",
        }
    }

    /// Returns the dataset of the event; events of the channel have none.
    #[must_use]
    pub fn dataset_id(&self) -> Option<&str> {
        match self {
            Self::DocumentChanged { dataset_id, .. }
            | Self::DocumentDeleted { dataset_id, .. }
            | Self::CrawlChanged { dataset_id, .. }
            | Self::DatasetChanged { dataset_id, .. }
            | Self::BoardChanged { dataset_id, .. }
            | Self::TeamNotice { dataset_id, .. }
            | Self::AgentOutput { dataset_id, .. }
            | Self::GenerationSwitched { dataset_id, .. }
            | Self::EvaluationRegressed { dataset_id, .. }
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
    pub tenant_id: String,
    /// Name of the event.
    pub topic: String,
    pub dataset_id: Option<String>,
    /// JSON of the [`Event`].
    pub payload: String,
    /// Key that caused it, where recorded.
    pub author: Option<String>,
    /// Texts that streams send instead of the payload, in two forms, each made once for all streams; `None` for nothing.
    #[sqlx(skip)]
    pub views: [OnceCell<Option<Arc<str>>>; 2],
}

/// Appends an event to the transaction that causes it.
///
/// # Errors
/// Those of the database.
pub async fn append(tx: &mut Tx, clock: &Clock, tenant_id: &str, event: &Event) -> Result<()> {
    append_by(tx, clock, tenant_id, event, None).await
}

/// Appends an event that a key caused, which may therefore read it.
///
/// # Errors
/// Those of the database.
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

/// Returns the events of a tenant after a position, at most 500.
///
/// # Errors
/// Those of the database.
pub async fn after(db: &Db, tenant_id: &str, seq: i64) -> Result<Vec<Stored>> {
    db.all("SELECT seq, tenant_id, topic, dataset_id, payload, author FROM events WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT 500", args![tenant_id, seq]).await
}

/// Returns the last position of all events.
///
/// # Errors
/// Those of the database.
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
/// Those of the database.
pub async fn prune(db: &Db, now: Time, keep: Duration) -> Result<u64> {
    db.execute(
        "DELETE FROM events WHERE created_on < $1",
        args![now.minus(keep)],
    )
    .await
}

/// Publishes every event to the streams of this process, read from the database once for all of them.
#[derive(Debug)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Stored>>,
    /// Position after which the first stream wants events, while nothing is published.
    from: Mutex<Option<i64>>,
}

/// Number of events that a stream may be behind before it has to read them from the database.
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
    /// Those of the database.
    pub async fn subscribe(&self, db: &Db) -> Result<(broadcast::Receiver<Arc<Stored>>, i64)> {
        let receiver = self.sender.subscribe();
        let position = last(db).await?;
        self.from().get_or_insert(position);
        Ok((receiver, position))
    }

    /// Publishes events to subscribers until `stop` fires.
    pub async fn run(&self, db: &Db, commits: &CommitSignal, stop: CancellationToken) {
        let mut commits_seen = commits.subscribe();
        let mut position = None;
        while !stop.is_cancelled() {
            commits_seen.mark_unchanged();
            if self.sender.receiver_count() == 0 {
                // There are no subscribers, so the next one sets the position.
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
                            // Without receivers, nothing is missed.
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
                // Other processes do not send a commit signal.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

/// Returns the events of all tenants after a position, at most 500.
async fn everybodys(db: &Db, seq: i64) -> Result<Vec<Stored>> {
    db.all(
        "SELECT seq, tenant_id, topic, dataset_id, payload, author FROM events WHERE seq > $1 ORDER BY seq LIMIT 500",
        args![seq],
    )
    .await
}

/// Wakes the waiters for a commit in this process; the stored rows stay authoritative.
#[derive(Debug, Clone)]
pub struct CommitSignal {
    all: watch::Sender<u64>,
    topics: Arc<Mutex<HashMap<&'static str, watch::Sender<u64>>>>,
}

impl Default for CommitSignal {
    fn default() -> Self {
        Self {
            all: watch::channel(0).0,
            topics: Arc::default(),
        }
    }
}

impl CommitSignal {
    /// Notifies the subscribers of every commit.
    pub fn notify(&self) {
        self.all.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Notifies the subscribers of every commit, and those of the topics that a transaction announced.
    pub fn notify_of(&self, topics: &[&'static str]) {
        self.notify();
        if topics.is_empty() {
            return;
        }
        let known = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in topics.iter().filter_map(|topic| known.get(topic)) {
            sender.send_modify(|n| *n = n.wrapping_add(1));
        }
    }

    /// Returns a receiver of every notification from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.all.subscribe()
    }

    /// Returns a receiver of the notifications of one topic from now on.
    #[must_use]
    pub fn subscribe_to(&self, topic: &'static str) -> watch::Receiver<u64> {
        let mut known = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = known.entry(topic).or_insert_with(|| watch::channel(0).0);
        sender.subscribe()
    }
}
