//! Queries on their way to the history.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::clock::Time;

/// Queries that wait to be written; more than that are not remembered.
const WAITING: usize = 4096;

/// A remembered query.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Asked {
    /// Id.
    pub id: String,
    /// The dataset.
    pub dataset_id: String,
    /// Id of the key; empty for the command line, [`SANDBOX`] for people who try something there.
    pub key_id: String,
    /// The query.
    pub text: String,
    /// JSON of [`Remembered`].
    pub settings: String,
    /// JSON array of [`Shown`].
    pub results: String,
    /// Hits of this dataset.
    pub hits: i64,
    /// Whether the answer was confident.
    pub confident: bool,
    /// Latency.
    pub milliseconds: f64,
    /// When.
    pub created_on: Time,
}

/// Queries on their way to the database, so that no search waits for a write.
#[derive(Debug)]
pub struct Queue {
    sender: mpsc::Sender<(String, Asked)>,
    receiver: Mutex<Option<mpsc::Receiver<(String, Asked)>>>,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl Queue {
    /// Adds a query of a tenant; `false` when too many are waiting.
    pub fn push(&self, tenant_id: &str, asked: Asked) -> bool {
        self.sender.try_send((tenant_id.to_owned(), asked)).is_ok()
    }

    /// Takes the end from which queries are read; there is one.
    pub fn reader(&self) -> Option<mpsc::Receiver<(String, Asked)>> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.take()
    }
}
