//! State of each set that searches read without a database query: which chunks may be returned, their documents, the fields that filters refer to, and
//! quantised vectors. A set is read from SQL once and then follows the index log and the versions of its dataset, so a deletion, a hidden document or a new
//! field is effective at the very next query.

mod column;
mod document;
mod load;
mod matrix;
mod table;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Mutex;
use uuid::Uuid;

pub use document::DocumentRow;
pub(crate) use document::document_columns;
pub use load::State;
pub use matrix::Matrix;
pub use table::{Passing, Table};

/// Time after which an unused set is dropped from memory.
const IDLE: Duration = Duration::from_secs(3600);

/// The sets of this process.
#[derive(Debug, Clone)]
pub struct LiveSets(Cache<String, Arc<LiveSet>>);

/// One set: the chunks of one generation of a dataset.
#[derive(Debug)]
pub struct LiveSet {
    tenant_id: String,
    dataset_id: String,
    set_id: String,
    /// Unique in this process: ordinals of different epochs cannot be compared.
    epoch: u64,
    table: RwLock<Table>,
    /// Quantised vectors; `None` until the follower has loaded them.
    matrix: RwLock<Option<Matrix>>,
    /// Held while the table is brought up to date.
    refreshing: Mutex<()>,
}

impl Default for LiveSets {
    fn default() -> Self {
        Self(Cache::builder().time_to_idle(IDLE).build())
    }
}

impl LiveSets {
    /// Returns a set that is in memory. This does not count as a use.
    #[must_use]
    pub fn loaded(&self, set_id: &str) -> Option<Arc<LiveSet>> {
        self.all().find(|set| set.set_id == set_id)
    }

    /// Returns all sets in memory. This does not count as a use.
    pub fn all(&self) -> impl Iterator<Item = Arc<LiveSet>> {
        self.0.iter().map(|(_, set)| set)
    }

    /// Forgets sets that are not in a list.
    pub fn keep_only(&self, set_ids: &[&str]) {
        let kept: HashSet<&str> = set_ids.iter().copied().collect();
        for (id, _) in &self.0 {
            if !kept.contains(id.as_str()) {
                self.0.invalidate(id.as_str());
            }
        }
    }

    fn get_or_create(&self, state: State<'_>) -> Arc<LiveSet> {
        static EPOCHS: AtomicU64 = AtomicU64::new(0);
        self.0.get_with_by_ref(state.set_id, || {
            Arc::new(LiveSet {
                tenant_id: state.tenant_id.to_owned(),
                dataset_id: state.dataset_id.to_owned(),
                set_id: state.set_id.to_owned(),
                epoch: EPOCHS.fetch_add(1, Ordering::Relaxed),
                table: RwLock::default(),
                matrix: RwLock::default(),
                refreshing: Mutex::default(),
            })
        })
    }
}

impl LiveSet {
    /// Creates a set of visible chunks with their documents, without a database.
    #[must_use]
    pub fn of_chunks<'a>(chunks: impl IntoIterator<Item = (Uuid, &'a str)>) -> Arc<Self> {
        let state = State {
            tenant_id: "",
            dataset_id: "",
            set_id: "",
            log_seq: 0,
            version: 0,
        };
        let set = LiveSets::default().get_or_create(state);
        {
            let mut table = set.table_mut();
            for (id, document_id) in chunks {
                table.set_documents(&[(document_id.to_owned(), true, serde_json::Value::Null)]);
                table.put(id, document_id);
            }
        }
        set
    }

    /// Returns the id of the set.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.set_id
    }

    /// Returns the epoch of its ordinals.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns a text that changes with every change of its chunks or documents.
    #[must_use]
    pub fn state_key(&self) -> String {
        let table = self.table();
        format!("{} {} {}", self.epoch, table.position, table.version)
    }

    /// Returns the table for reading.
    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the table for changes.
    pub fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the quantised vectors for reading.
    pub fn matrix(&self) -> RwLockReadGuard<'_, Option<Matrix>> {
        self.matrix.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the quantised vectors for changes.
    pub fn matrix_mut(&self) -> RwLockWriteGuard<'_, Option<Matrix>> {
        self.matrix.write().unwrap_or_else(PoisonError::into_inner)
    }
}
