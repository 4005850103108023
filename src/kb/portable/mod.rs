//! A dataset as one file: settings, sources, texts, chunks, edits and vectors, in a zip container that any program can open.
//!
//! | entry | what it holds |
//! |---|---|
//! | `manifest.json` | [`Manifest`]: format, settings of the dataset, counts |
//! | `documents.jsonl`, `chunks.jsonl`, `edits.jsonl` | rows, one JSON object per line |
//! | `embeddings.bin` | per text: SHA-256 (32 bytes), then the vector as little-endian f32 |
//! | `blobs/<sha256>` | source bytes and normalised texts |

//!
//! A file is checked as a whole before anything of it is written, and its rows are written in one transaction.

mod check;
mod export;
mod import;

use serde::{Deserialize, Serialize};

pub use export::export;
pub use import::import;

/// Version of the layout.
pub const FORMAT: u32 = 1;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that wrote it.
    pub cairn: String,
    /// Id that the dataset had.
    pub dataset_id: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Its keyword analysis.
    pub language: String,
    /// Model of its vectors.
    pub embedding_model: String,
    /// Length of its vectors.
    pub vector_size: i64,
    /// Most tokens of a chunk.
    pub chunk_size: i64,
    /// Tokens repeated between chunks.
    pub chunk_overlap: i64,
    /// How documents are cut.
    pub parse_type: String,
    /// Who reads files.
    pub parser_engine: String,
    /// Where `MANUAL` cuts.
    pub delimiter: String,
    /// Roles of agents.
    pub allowed_agent_roles: Vec<String>,
    /// Number of documents.
    pub documents: usize,
    /// Number of chunks.
    pub chunks: usize,
    /// Number of vectors.
    pub embeddings: usize,
}
