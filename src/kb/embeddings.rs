//! Embeddings as rows of their own, found by the hash of the text that they are of: what is embedded once is never embedded again.

use cairn_models::Embedder;
use sha2::{Digest, Sha256};

use super::Chunk;
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};

/// Counts and hashes a chunk whose words are not those of the file.
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

/// SHA-256 over context and content, kept apart by a byte that no text holds.
#[must_use]
pub fn text_hash(context: &str, content: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(context.as_bytes());
    hasher.update([0]);
    hasher.update(content.as_bytes());
    hex::encode(hasher.finalize())
}

/// Stores an embedding; one that is there already stays.
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

/// A vector from the bytes that [`store`] stores.
pub(crate) fn vector_of(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks::<4>();
    floats.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
