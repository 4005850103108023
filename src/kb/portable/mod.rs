//! A dataset as one file: settings, sources, texts, chunks, edits and vectors, in a zip container that any program can open.
//!
//! | entry | content |
//! |---|---|
//! | `manifest.json` | [`Manifest`]: format, settings of the dataset, counts |
//! | `documents.jsonl`, `chunks.jsonl`, `edits.jsonl` | rows, one JSON object per line |
//! | `embeddings.bin` | per text: SHA-256 (32 bytes), then the vector as little-endian f32 |
//! | `blobs/<sha256>` | source bytes and normalised texts |

//!
//! A file is validated as a whole before anything of it is written, and its rows are written in one transaction.

mod check;
mod export;
mod import;

use cairn_models::Calibration;
use serde::{Deserialize, Serialize};

pub use export::export;
pub use import::import;

/// Version of the format.
pub const FORMAT: u32 = 1;

/// Manifest of an export file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of Cairn that wrote the file.
    pub cairn: String,
    /// Id of the exported dataset.
    pub dataset_id: String,
    pub name: String,
    pub description: Option<String>,
    /// Language of the keyword analysis.
    pub language: String,
    pub embedding_model: String,
    /// Dimensions of the vectors.
    pub vector_size: i64,
    /// Maximum number of tokens of a chunk.
    pub chunk_size: i64,
    /// Tokens repeated from the previous chunk.
    pub chunk_overlap: i64,
    /// Chunking strategy.
    pub parse_type: String,
    /// Engine that parses files.
    pub parser_engine: String,
    /// Delimiter at which `MANUAL` splits.
    pub delimiter: String,
    /// Calibration of the vectors; absent for a model that is not calibrated, and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Agent roles that may use the dataset.
    pub allowed_agent_roles: Vec<String>,
    /// Number of documents.
    pub documents: usize,
    /// Number of chunks.
    pub chunks: usize,
    /// Number of vectors.
    pub embeddings: usize,
}
