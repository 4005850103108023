//! Embeddings as separate rows, keyed by the hash of their text: a text is embedded only once.

use cairn_ingest::chunk::context;
use cairn_ingest::document::normalise;
use cairn_models::Embedder;
use sha2::{Digest, Sha256};

use super::{Chunk, datasets};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};

/// Counts the tokens of a chunk whose content differs from the file, and hashes it.
///
/// # Errors
/// When the tokenizer refuses the text.
pub(crate) fn measure(embedder: &dyn Embedder, chunk: &mut Chunk) -> Result<()> {
    let count = embedder
        .tokens()
        .count(&chunk.indexed_text())
        .map_err(Error::from)?;
    chunk.tokens = i64::try_from(count).unwrap_or(i64::MAX);
    chunk.truncated = count > embedder.spec().max_tokens;
    chunk.text_hash = text_hash(&chunk.context, &chunk.content);
    Ok(())
}

/// Returns the SHA-256 of context and content, separated by a byte that no text contains.
#[must_use]
pub fn text_hash(context: &str, content: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(context.as_bytes());
    hasher.update([0]);
    hasher.update(content.as_bytes());
    hex::encode(hasher.finalize())
}

/// Stores an embedding, unless it is stored already.
pub(crate) async fn store(
    tx: &mut Tx,
    tenant_id: &str,
    model: &str,
    text_hash: &str,
    vector: &[f32],
    now: Time,
) -> Result<()> {
    let bytes: Vec<u8> = vector.iter().flat_map(|v| v.to_le_bytes()).collect();
    tx.execute(
        "INSERT INTO kb_embeddings (tenant_id, model, text_hash, vector, created_on) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (text_hash, model, tenant_id) DO NOTHING",
        args![tenant_id, model, text_hash, bytes, now],
    )
    .await?;
    Ok(())
}

/// Maximum number of vectors that are taken at a time.
pub const GIVEN: usize = 500;

/// A vector of a text, computed elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Title of the document, which is embedded with the text; empty for none.
    pub title: String,
    pub text: String,
    pub vector: Vec<f32>,
}

/// Stores vectors that were computed elsewhere with the model of a dataset, scaled to unit length. A chunk with such a title and text is not embedded any more, in any dataset of
/// the tenant with that model. Returns the number of texts whose vector is stored, including earlier ones.
///
/// # Errors
/// `model_mismatch` when the dataset has another model, or vectors of another length; `vectors_invalid` for too many vectors, and values that are not finite or all zero.
pub async fn give(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    model: &str,
    given: Vec<Given>,
) -> Result<usize> {
    // Vectors are shared by the datasets of a tenant.
    caller.need_unconfined(Scope::KbWrite)?;
    caller.need_write(dataset_id)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let (own, length) = (
        &dataset.indexing.embedding_model,
        dataset.indexing.vector_size,
    );
    if own != model {
        return Err(Error::unprocessable(
            "model_mismatch",
            format!("the dataset uses the model {own}, not {model}"),
        ));
    }
    if given.len() > GIVEN {
        return Err(Error::invalid(
            "vectors_invalid",
            format!("at most {GIVEN} vectors are taken at a time"),
        ));
    }
    let mut ready = Vec::with_capacity(given.len());
    for Given {
        title,
        text,
        vector,
    } in given
    {
        if i64::try_from(vector.len()).ok() != Some(length) {
            return Err(Error::unprocessable(
                "model_mismatch",
                format!(
                    "vectors of {own} have {length} dimensions, not {}",
                    vector.len()
                ),
            ));
        }
        let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        if !norm.is_finite() || norm == 0.0 {
            return Err(Error::invalid(
                "vectors_invalid",
                "a vector must have finite values, and not only zeros",
            ));
        }
        let hash = text_hash(&context(&title, &[]), normalise(&text).trim());
        let unit: Vec<f32> = vector.into_iter().map(|v| v / norm).collect();
        ready.push((hash, unit));
    }
    let mut tx = app.db.begin().await?;
    for (hash, vector) in &ready {
        store(&mut tx, caller.tenant(), own, hash, vector, app.clock.now()).await?;
    }
    app.commit(tx).await?;
    Ok(ready.len())
}

/// Decodes a vector from the bytes written by [`store`].
pub(crate) fn vector_of(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks::<4>();
    floats.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
