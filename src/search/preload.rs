//! Reads into memory what searches need of each set, in the background: the tables of live sets when a server starts, and the quantised vectors of every set
//! that searches use.

use std::sync::Arc;

use super::live::{LiveSet, Matrix, State};
use super::vector::Scope;
use crate::app::App;
use crate::error::Result;
use crate::kb::index_log::Head;

/// Reads the tables of all live sets.
///
/// # Errors
/// Those of the database.
pub(super) async fn tables(app: &App, heads: &[Head]) -> Result<()> {
    for head in heads.iter().filter(|head| head.live) {
        let state = State {
            tenant_id: &head.tenant_id,
            dataset_id: &head.dataset_id,
            set_id: &head.id,
            log_seq: head.log_seq,
            version: head.version,
        };
        app.live.at_least(&app.db, state).await?;
    }
    Ok(())
}

/// Loads the quantised vectors of the sets in memory that have none yet, as far as the memory for them suffices. Qdrant servers hold their own.
///
/// # Errors
/// Those of the store.
pub(super) async fn matrices(app: &App, heads: &[Head]) -> Result<()> {
    if app.cluster.is_some() {
        return Ok(());
    }
    for live in app.live.all().filter(|live| live.matrix().is_none()) {
        let Some(head) = heads.iter().find(|head| head.id == live.id()) else {
            continue;
        };
        let (_, position) = app.indexes.positions(&head.id);
        if position == 0 || position < head.log_seq {
            continue;
        }
        let dimensions = usize::try_from(head.vector_size).unwrap_or(0);
        let used: usize = app.live.all().map(|set| bytes(&set)).sum();
        let needed = Matrix::bytes_for(live.table().len(), dimensions);
        if used + needed > app.config.vector_memory_mb << 20 {
            continue;
        }
        let store = app
            .vectors_of(&head.embedding_model, head.vector_size)
            .await?;
        let fill = Arc::clone(&live);
        let matrix = Matrix::new(dimensions);
        let fills = move |matrix: &mut Matrix, id, vector: &[f32]| {
            let ordinal = fill.table_mut().intern(id);
            matrix.set(ordinal, vector);
        };
        let scope = Scope::of(head);
        if let Some(matrix) = store.quantised(&scope, matrix, fills).await? {
            *live.matrix_mut() = Some(matrix);
        }
    }
    Ok(())
}

fn bytes(set: &LiveSet) -> usize {
    set.matrix().as_ref().map_or(0, Matrix::bytes)
}
