//! Consistency of the indexes with SQL: missing and surplus chunks, by id.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::vector::Scope;
use crate::app::App;
use crate::db::args;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kb::index_log::{self, Head};

/// Differences between the indexes of a set and its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Number of chunks that should be indexed.
    pub chunks: usize,
    /// Number of those that vector search should find: all but those of documents whose first ingestion is not complete.
    pub embedded: usize,
    /// Number of chunks missing from the keyword index.
    pub keyword_missing: usize,
    /// Number of chunks that the keyword index should not contain, or contains twice.
    pub keyword_surplus: usize,
    /// Number of chunks missing from the vector index.
    pub vector_missing: usize,
    /// Number of chunks that the vector index should not contain, or contains twice.
    pub vector_surplus: usize,
}

impl Drift {
    /// Returns the number of differences, which must be 0.
    #[must_use]
    pub fn total(&self) -> usize {
        self.keyword_missing + self.keyword_surplus + self.vector_missing + self.vector_surplus
    }
}

/// Compares the indexes of a set with its rows.
///
/// # Errors
/// Those of the database and the indexes.
pub async fn of(app: &App, engine: &Engine, head: &Head) -> Result<Drift> {
    let rows: Vec<(String, bool)> = app
        .db
        .all(
            concat!(
                "SELECT c.id, EXISTS (SELECT 1 FROM kb_embeddings e WHERE e.tenant_id = c.tenant_id AND e.model = $2 AND e.text_hash = c.text_hash)
                 AND ",
                document_is_complete!(),
                " AS embedded
             FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id WHERE c.set_id = $1 AND d.enabled = TRUE AND c.enabled = TRUE"
            ),
            args![&head.id, &head.embedding_model, head.live],
        )
        .await?;
    let (mut expected, mut with_vector) = (BTreeSet::new(), BTreeSet::new());
    for (id, embedded) in &rows {
        let id: Uuid = id
            .parse()
            .map_err(|e| Error::internal("a chunk id is damaged").with_source(e))?;
        expected.insert(id);
        if *embedded {
            with_vector.insert(id);
        }
    }
    let index = engine
        .keyword
        .index(&head.id, head.generation, &head.language)?;
    let words = tokio::task::spawn_blocking(move || index.ids()).await??;
    let scope = Scope {
        tenant_id: head.tenant_id.clone(),
        dataset_id: head.id.clone(),
        generation: head.generation,
    };
    let store = app
        .vectors_of(&head.embedding_model, head.vector_size)
        .await?;
    let points = store.ids(&scope).await?;
    let (keyword_missing, keyword_surplus) = compare(&expected, &words);
    let (vector_missing, vector_surplus) = compare(&with_vector, &points);
    Ok(Drift {
        chunks: expected.len(),
        embedded: with_vector.len(),
        keyword_missing,
        keyword_surplus,
        vector_missing,
        vector_surplus,
    })
}

/// Returns the numbers of missing and surplus chunks; a duplicate counts as surplus.
fn compare(expected: &BTreeSet<Uuid>, found: &[Uuid]) -> (usize, usize) {
    let set: BTreeSet<Uuid> = found.iter().copied().collect();
    (
        expected.difference(&set).count(),
        set.difference(expected).count() + found.len() - set.len(),
    )
}

/// Exports the drift of every set that the indexes of this process have caught up with, as `cairn_index_drift_entries`; it must be 0. A set that
/// changes during the check is left out.
///
/// # Errors
/// Those of [`of`].
pub async fn export(app: &App, engine: &Engine) -> Result<()> {
    let mut found = Vec::new();
    for head in index_log::heads(&app.db).await? {
        let (keyword, vector) = app.indexes.positions(&head.id);
        if keyword.min(vector) == head.log_seq {
            found.push((of(app, engine, &head).await?, head));
        }
    }
    // Indexes only move forward, so an unchanged head means that the set did not change.
    let now = index_log::heads(&app.db).await?;
    found.retain(|(_, head)| now.contains(head));
    for (drift, head) in found.iter().filter(|(drift, _)| drift.total() > 0) {
        tracing::error!(set = %head.id, ?drift, "the indexes differ from the database; cairn doctor --repair rebuilds them");
    }
    let total: usize = found.iter().map(|(drift, _)| drift.total()).sum();
    metrics::gauge!("cairn_index_drift_entries").set(total as f64);
    Ok(())
}
