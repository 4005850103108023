//! Reads a set from SQL, and what changed in it since.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::document::{DocumentRow, document_columns};
use super::table::{Passing, Table};
use super::{LiveSet, LiveSets};
use crate::db::{Db, args};
use crate::error::Result;
use crate::kb::filter::Filter;
use crate::kb::index_log::{self, chunk_id};

/// Log entries read at a time.
const BATCH: i64 = 4000;

/// A document with its visibility.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    document: DocumentRow,
    enabled: bool,
}

/// A state of a set in the database, which a search has to see at least.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    pub tenant_id: &'a str,
    pub dataset_id: &'a str,
    pub set_id: &'a str,
    /// Last position of the index log of the set.
    pub log_seq: i64,
    /// Version of the dataset.
    pub version: i64,
}

impl LiveSets {
    /// Returns a set in a given state or a later one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn at_least(&self, db: &Db, state: State<'_>) -> Result<Arc<LiveSet>> {
        let mut set = self.get_or_create(state);
        if set.has(state) {
            return Ok(set);
        }
        if set.table().is_wasteful() {
            self.0.invalidate(state.set_id);
            set = self.get_or_create(state);
        }
        set.refresh(db, state).await?;
        Ok(set)
    }
}

impl LiveSet {
    fn has(&self, state: State<'_>) -> bool {
        let table = self.table();
        table.is_loaded && table.position >= state.log_seq && table.version >= state.version
    }

    async fn refresh(&self, db: &Db, state: State<'_>) -> Result<()> {
        let _refreshing = self.refreshing.lock().await;
        if self.has(state) {
            return Ok(());
        }
        let (is_loaded, position, version) = {
            let table = self.table();
            (table.is_loaded, table.position, table.version)
        };
        if !is_loaded || version < state.version {
            let since = if is_loaded { version } else { -1 };
            self.read_documents(db, since, state.version).await?;
        }
        if is_loaded && self.follow(db, position, state.log_seq).await? {
            return Ok(());
        }
        self.read_chunks(db, state.log_seq).await
    }

    /// Reads the documents that changed in a version of the dataset or after it: a document that becomes indexed changes without a new version. Without
    /// columns, all that is needed of them is their visibility.
    async fn read_documents(&self, db: &Db, since: i64, version: i64) -> Result<()> {
        let documents = if self.table().has_columns() {
            self.documents_since(db, since).await?
        } else {
            let rows: Vec<(String, bool)> = db
                .all(
                    "SELECT id, enabled FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND changed_version >= $3",
                    args![&self.tenant_id, &self.dataset_id, since],
                )
                .await?;
            let rows = rows.into_iter();
            rows.map(|(id, enabled)| (id, enabled, Value::Null))
                .collect()
        };
        let mut table = self.table_mut();
        table.set_documents(&documents);
        table.version = version;
        Ok(())
    }

    /// Returns the documents that changed in a version of the dataset or after it: id, visibility, fields.
    async fn documents_since(&self, db: &Db, since: i64) -> Result<Vec<(String, bool, Value)>> {
        let rows: Vec<Row> = db
            .all(
                concat!(
                    "SELECT enabled, ",
                    document_columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND changed_version >= $3"
                ),
                args![&self.tenant_id, &self.dataset_id, since],
            )
            .await?;
        objects(rows).await
    }

    /// Reads all live chunks.
    async fn read_chunks(&self, db: &Db, position: i64) -> Result<()> {
        let rows: Vec<(String, String)> = db
            .all(
                "SELECT id, document_id FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND enabled = TRUE",
                args![&self.tenant_id, &self.set_id],
            )
            .await?;
        self.put(db, &rows, Table::clear).await?;
        let mut table = self.table_mut();
        table.position = position;
        table.is_loaded = true;
        Ok(())
    }

    /// Records live chunks with their documents, after a change of the table, and reads the documents that are not known: they were added since the documents
    /// were read.
    async fn put(
        &self,
        db: &Db,
        chunks: &[(String, String)],
        prepare: impl FnOnce(&mut Table),
    ) -> Result<()> {
        let mut unknown: HashSet<&String> = HashSet::new();
        {
            let mut table = self.table_mut();
            prepare(&mut table);
            for (id, document_id) in chunks {
                if !table.put(chunk_id(id)?, document_id) {
                    unknown.insert(document_id);
                }
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = unknown.into_iter().cloned().collect();
        let rows: Vec<Row> = db
            .all_in(
                concat!(
                    "SELECT enabled, ",
                    document_columns!(),
                    " FROM kb_documents WHERE tenant_id = $1 AND id IN ($LIST)"
                ),
                args![&self.tenant_id],
                &ids,
            )
            .await?;
        let documents = objects(rows).await?;
        self.table_mut().set_documents(&documents);
        Ok(())
    }

    /// Applies the log after a position; `false` when entries are missing, because the log was pruned.
    async fn follow(&self, db: &Db, mut position: i64, head: i64) -> Result<bool> {
        while position < head {
            let entries = index_log::after(db, &self.set_id, position, BATCH).await?;
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                return Ok(false);
            };
            if first.seq != position + 1 {
                return Ok(false);
            }
            position = last.seq;
            let touched: HashSet<String> = entries.into_iter().map(|e| e.chunk_id).collect();
            let touched: Vec<String> = touched.into_iter().collect();
            let live: Vec<(String, String)> = db
                .all_in(
                    "SELECT id, document_id FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND enabled = TRUE AND id IN ($LIST)",
                    args![&self.tenant_id, &self.set_id],
                    &touched,
                )
                .await?;
            let mut gone: HashSet<Uuid> = touched
                .iter()
                .map(|id| chunk_id(id))
                .collect::<Result<_>>()?;
            for (id, _) in &live {
                gone.remove(&chunk_id(id)?);
            }
            let remove = |table: &mut Table| gone.iter().for_each(|id| table.remove(id));
            self.put(db, &live, remove).await?;
            self.table_mut().position = position;
        }
        Ok(true)
    }

    /// Calls a function with the table once it has columns for some fields; those that no filter and no facet has used yet are read.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn with_columns<T: Send + 'static>(
        self: &Arc<Self>,
        db: &Db,
        fields: Vec<String>,
        work: impl Fn(&Table) -> T + Send + Sync + 'static,
    ) -> Result<T> {
        let (fields, work) = (Arc::new(fields), Arc::new(work));
        loop {
            let (set, fields, work) = (Arc::clone(self), Arc::clone(&fields), Arc::clone(&work));
            let done = tokio::task::spawn_blocking(move || {
                // Columns are dropped when there are too many, so they are checked under the lock under which they are used.
                let table = set.table();
                let missing = table.missing_columns(&fields);
                if missing.is_empty() {
                    Ok(work(&table))
                } else {
                    Err(missing)
                }
            });
            let missing = match done.await? {
                Ok(done) => return Ok(done),
                Err(missing) => missing,
            };
            let _refreshing = self.refreshing.lock().await;
            let missing = self.table().missing_columns(&missing);
            if !missing.is_empty() {
                let documents = self.documents_since(db, -1).await?;
                self.table_mut().add_columns(&missing, &documents);
            }
        }
    }

    /// Returns the visible chunks whose document may satisfy a filter, judging by the document alone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn passing(self: &Arc<Self>, db: &Db, filter: &Filter) -> Result<Passing> {
        let mut fields = Vec::new();
        filter.document_fields(&mut fields);
        let filter = filter.clone();
        self.with_columns(db, fields, move |table| table.passing(&filter))
            .await
    }
}

/// Returns id, visibility and fields of documents.
async fn objects(rows: Vec<Row>) -> Result<Vec<(String, bool, Value)>> {
    tokio::task::spawn_blocking(move || {
        rows.into_iter()
            .map(|row| Ok((row.document.id.clone(), row.enabled, row.document.object()?)))
            .collect()
    })
    .await?
}
