//! The queue of queries to be written to the history.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::clock::Time;

/// Capacity of the queue; queries beyond it are dropped.
const WAITING: usize = 4096;

/// A stored query.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Asked {
    pub id: String,
    pub dataset_id: String,
    /// Id of the key; empty for the command line, [`SANDBOX`] for the sandbox.
    pub key_id: String,
    /// The query text.
    pub text: String,
    /// JSON of [`Remembered`].
    pub settings: String,
    /// JSON array of [`Shown`].
    pub results: String,
    /// Hits of this dataset.
    pub hits: i64,
    /// Whether the answer was confident.
    pub confident: bool,
    /// Latency of the search.
    pub milliseconds: f64,
    pub created_on: Time,
}

/// A bounded queue of queries to be written, so that searches do not wait for the database.
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
    /// Adds a query of a tenant; returns `false` when the queue is full.
    pub fn push(&self, tenant_id: &str, asked: Asked) -> bool {
        self.sender.try_send((tenant_id.to_owned(), asked)).is_ok()
    }

    /// Takes the receiver; `None` after the first call.
    pub fn reader(&self) -> Option<mpsc::Receiver<(String, Asked)>> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.take()
    }
}
