//! Embeddings as separate rows, keyed by the hash of their text: a text is embedded only once.

use cairn_models::Embedder;
use sha2::{Digest, Sha256};

use super::Chunk;
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

/// Decodes a vector from the bytes written by [`store`].
pub(crate) fn vector_of(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks::<4>();
    floats.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
