//! The knowledge base: datasets, documents and chunks with their rules and SQL, their ingestion, and the log that the indexes follow.

pub(crate) mod builds;
pub mod chunks;
pub mod citation;
pub mod citations;
pub mod datasets;
pub mod docling;
pub mod documents;
pub mod edits;
pub mod embeddings;
pub mod files;
pub mod filter;
pub mod generations;
pub mod index_log;
pub mod ingestion;
pub mod parser;
pub mod portable;
pub mod preview;
pub mod row_blocks;
pub mod usage;
pub mod visible;
pub mod why;

pub use chunks::Chunk;
pub use datasets::Dataset;
pub use documents::Document;
