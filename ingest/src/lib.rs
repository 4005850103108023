//! From bytes to chunks: `crawl` has the rules of website crawling, `parse` converts a file into normalised text with ranges, `chunk` splits that text.
//!
//! Independent of HTTP, SQL, indexes and models; fetched bytes and token positions are passed in by the caller.

pub mod chunk;
pub mod crawl;
pub mod document;
mod input;
pub mod parse;

pub use chunk::{Chunk, ChunkOptions, Strategy};
pub use document::{Child, Document, Heading, Page, Symbol, Table};
pub use input::{Input, ParseError};
pub use parse::{Format, parse};
