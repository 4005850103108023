//! From bytes to chunks: `crawl` knows the rules of walking websites, `parse` turns a file into normalised text with spans, `chunk` cuts that text.
//!
//! Knows nothing of HTTP, SQL, indexes or models; fetching and token positions are handed in by the caller.

pub mod chunk;
pub mod crawl;
pub mod document;
mod input;
pub mod parse;

pub use chunk::{Chunk, ChunkOptions, Strategy};
pub use document::{Child, Document, Heading, Page, Symbol, Table};
pub use input::{Input, ParseError};
pub use parse::{Format, parse};
