//! Checks of the stored data: chunks, embeddings and blobs.

use super::Finding;
use crate::app::App;
use crate::db::args;
use crate::engine::Engine;
use crate::error::Result;
use crate::kb::documents;
use crate::kb::embeddings;
use crate::kb::index_log::Head;
use crate::search::drift::{self};
use crate::search::states::Index;

#[derive(sqlx::FromRow)]
pub(super) struct ChunkRow {
    context: String,
    content: String,
    text_hash: String,
}

pub(super) async fn examine(
    app: &App,
    engine: &Engine,
    head: &Head,
    verify_blobs: bool,
) -> Result<Finding> {
    let rows: Vec<ChunkRow> = app
        .db
        .all(
            "SELECT c.context, c.content, c.text_hash
             FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id WHERE c.set_id = $1 AND d.enabled = TRUE AND c.enabled = TRUE",
            args![&head.id],
        )
        .await?;
    let damaged = rows
        .iter()
        .filter(|r| embeddings::text_hash(&r.context, &r.content) != r.text_hash)
        .count();
    let (stuck,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM kb_documents d WHERE d.dataset_id = $1 AND d.status IN ('pending', 'parsing', 'embedding') AND NOT EXISTS
             (SELECT 1 FROM jobs j WHERE j.tenant_id = d.tenant_id AND j.id = d.job_id AND j.status IN ('queued', 'running'))",
            args![&head.dataset_id],
        )
        .await?;
    let (doubled,): (i64,) = app
        .db
        .one("SELECT COUNT(*) FROM (SELECT 1 AS one FROM kb_chunks WHERE set_id = $1 GROUP BY document_id, ordinal HAVING COUNT(*) > 1) twice", args![&head.id])
        .await?;
    let index = engine
        .keyword
        .index(&head.id, head.generation, &head.language)?;
    let keyword_altered = !tokio::task::spawn_blocking(move || index.is_sound()).await??;
    let failing = Index::BOTH
        .into_iter()
        .filter_map(|index| app.indexes.failure(&head.id, index))
        .map(|(cause, _)| cause);
    let blobs_altered = if verify_blobs {
        blobs_altered(app, head).await?
    } else {
        Vec::new()
    };
    Ok(Finding {
        dataset_id: head.id.clone(),
        indexes: drift::of(app, engine, head).await?,
        embeddings_damaged: damaged_embeddings(app, head).await?.len(),
        keyword_altered,
        blobs_altered,
        failing: failing.collect(),
        damaged,
        stuck: usize::try_from(stuck).unwrap_or(0),
        doubled: usize::try_from(doubled).unwrap_or(0),
        blobs_missing: blobs_missing(app, head).await?,
        repaired: false,
    })
}

/// Returns the hashes of texts whose embedding is damaged.
pub(super) async fn damaged_embeddings(app: &App, head: &Head) -> Result<Vec<String>> {
    let length = usize::try_from(head.vector_size).unwrap_or(0);
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let rows: Vec<(String, Vec<u8>)> = app
            .db
            .all(
                "SELECT e.text_hash, e.vector FROM kb_embeddings e WHERE e.tenant_id = $1 AND e.model = $2 AND e.text_hash > $3
                 AND EXISTS (SELECT 1 FROM kb_chunks c WHERE c.set_id = $4 AND c.text_hash = e.text_hash) ORDER BY e.text_hash LIMIT 1000",
                args![&head.tenant_id, &head.embedding_model, &after, &head.id],
            )
            .await?;
        let Some((last, _)) = rows.last() else {
            return Ok(found);
        };
        after.clone_from(last);
        found.extend(rows.into_iter().filter_map(|(hash, bytes)| {
            let vector = embeddings::vector_of(&bytes);
            let sound = bytes.len() == 4 * length && vector.iter().all(|v| v.is_finite());
            (!sound).then_some(hash)
        }));
    }
}

/// Removes damaged embeddings, and queues their documents for embedding.
pub(super) async fn forget_damaged(app: &App, head: &Head) -> Result<()> {
    let hashes = damaged_embeddings(app, head).await?;
    let documents: Vec<(String,)> = app
        .db
        .all_in(
            "SELECT DISTINCT document_id FROM kb_chunks WHERE tenant_id = $1 AND set_id = $2 AND text_hash IN ($LIST)",
            args![&head.tenant_id, &head.id],
            &hashes,
        )
        .await?;
    let mut tx = app.db.begin().await?;
    for hash in &hashes {
        tx.execute(
            "DELETE FROM kb_embeddings WHERE tenant_id = $1 AND model = $2 AND text_hash = $3",
            args![&head.tenant_id, &head.embedding_model, hash],
        )
        .await?;
    }
    for (id,) in documents {
        documents::queue(app, &mut tx, &head.tenant_id, &head.dataset_id, &id).await?;
    }
    tx.commit().await
}

/// Returns documents whose stored source or text does not match its hash.
pub(super) async fn blobs_altered(app: &App, head: &Head) -> Result<Vec<String>> {
    let rows: Vec<(String, String, Option<String>)> = app
        .db
        .all(
            "SELECT id, blob_hash, text_hash FROM kb_documents WHERE dataset_id = $1 ORDER BY id",
            args![&head.dataset_id],
        )
        .await?;
    let mut altered = Vec::new();
    for (id, source, text) in rows {
        for hash in [Some(source), text].into_iter().flatten() {
            match app.blobs.is_sound(&head.tenant_id, &hash).await {
                // Missing blobs are counted already.
                Ok(true) => {}
                Err(error) if error.code() == "blob_not_found" => {}
                Ok(false) => {
                    altered.push(id.clone());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(altered)
}

pub(super) async fn blobs_missing(app: &App, head: &Head) -> Result<usize> {
    let hashes: Vec<(String, Option<String>)> = app
        .db
        .all(
            "SELECT blob_hash, text_hash FROM kb_documents WHERE dataset_id = $1",
            args![&head.dataset_id],
        )
        .await?;
    let mut missing = 0;
    for hash in hashes
        .into_iter()
        .flat_map(|(blob, text)| [Some(blob), text])
        .flatten()
    {
        missing += usize::from(!app.blobs.has(&head.tenant_id, &hash).await?);
    }
    Ok(missing)
}
