//! Adds chunks without the model: texts of the same sentences, and vectors near real ones.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use crate::app::App;
use crate::auth::Caller;
use crate::db::args;
use crate::error::{Error, Result};
use crate::kb::documents::{self, Document};
use crate::kb::embeddings;
use crate::kb::index_log::{self, Op};

/// Chunks of a planted document.
const PER_DOCUMENT: usize = 10;
/// Chunks per transaction.
const BATCH: usize = 1000;

/// A vector that was planted, with the share that the metadata of its document has.
pub(super) struct Planted {
    pub id: String,
    /// From 0 to 99, the same for all chunks of a document.
    pub share: usize,
    pub vector: Vec<f32>,
}

/// Adds chunks, and waits until both indexes have them.
pub(super) async fn plant(
    app: &Arc<App>,
    caller: &Caller,
    dataset_id: &str,
    random: &mut Rng,
    sentences: &[&str],
    count: usize,
) -> Result<Vec<Planted>> {
    let real: Vec<(Vec<u8>,)> = app
        .db
        .all(
            "SELECT vector FROM kb_embeddings WHERE tenant_id = $1 LIMIT 5000",
            args![caller.tenant()],
        )
        .await?;
    let (document_id, model): (String, String) = app
        .db
        .one("SELECT d.id, s.embedding_model FROM kb_documents d JOIN kb_datasets s ON s.id = d.dataset_id WHERE d.dataset_id = $1 LIMIT 1", args![dataset_id])
        .await?;
    let template = documents::load(&app.db, caller.tenant(), &document_id)
        .await?
        .ok_or_else(|| Error::internal("the bench has no document"))?;
    let mut planted = Vec::with_capacity(count);
    for start in (0..count).step_by(BATCH) {
        let mut tx = app.db.begin_repeatable().await?;
        index_log::lock_dataset(&mut tx, caller.tenant(), dataset_id).await?;
        let mut ops = Vec::new();
        let mut document = template.clone();
        for n in start..(start + BATCH).min(count) {
            let share = n / PER_DOCUMENT * 37 % 100;
            if n % PER_DOCUMENT == 0 {
                document = Document {
                    id: app.clock.id(),
                    file_name: format!("planted-{n}.txt"),
                    external_id: None,
                    metadata: json!({"share": share, "number": n}).to_string(),
                    chunks_count: i64::try_from(PER_DOCUMENT).unwrap_or(0),
                    ..template.clone()
                };
                documents::insert_row(&mut tx, &document).await?;
            }
            let content: String = (0..8)
                .map(|_| format!("{}. ", sentences[random.usize(..sentences.len())]))
                .collect();
            let mut vector = between(random, &real);
            let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|v| *v /= norm);
            let (id, hash) = (
                uuid::Uuid::from_u128(n as u128 + 1).to_string(),
                format!("planted-{n}"),
            );
            let length = i64::try_from(content.len()).unwrap_or(0);
            tx.execute(
                "INSERT INTO kb_chunks (id, tenant_id, dataset_id, document_id, ordinal, start_byte, end_byte, start_char, end_char, content, context,
                 heading_path, tokens, truncated, text_hash, set_id) VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $6, $7, '', '[]', 200, FALSE, $8, $3)",
                args![&id, caller.tenant(), dataset_id, &document.id, i64::try_from(n).unwrap_or(0) + 1000, length, content, &hash],
            )
            .await?;
            embeddings::store(
                &mut tx,
                caller.tenant(),
                &model,
                &hash,
                &vector,
                app.clock.now(),
            )
            .await?;
            ops.extend([(Op::Text, id.clone()), (Op::Vector, id.clone())]);
            planted.push(Planted { id, share, vector });
        }
        index_log::append(&mut tx, dataset_id, &ops).await?;
        app.commit(tx).await?;
    }
    let (last,): (i64,) = app
        .db
        .one(
            "SELECT log_seq FROM kb_generations WHERE set_id = $1",
            args![dataset_id],
        )
        .await?;
    loop {
        let (keyword, vector) = app.indexes.positions(dataset_id);
        if keyword.min(vector) >= last {
            return Ok(planted);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns a vector between two real ones, with a little noise: copies of one would be harder to tell apart than real texts are.
fn between(random: &mut Rng, real: &[(Vec<u8>,)]) -> Vec<f32> {
    let mut one = || embeddings::vector_of(&real[random.usize(..real.len())].0);
    let (a, b) = (one(), one());
    let share = 0.2 + 0.6 * random.f32();
    let mixed = a.iter().zip(&b).map(|(a, b)| share * a + (1.0 - share) * b);
    mixed.map(|v| v + 0.02 * (random.f32() - 0.5)).collect()
}
