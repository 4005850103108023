//! Documents of other systems, read from their exports: what they are called, what is said about them, and their passages with vectors where the export has them.
//!
//! Systems whose exports are records (JSON, JSON Lines, saved pages of an API) are described by a table of fields, see [`records`] and [`systems`]; archives of pages
//! have a reader each. This module reads files only; `cairn import --from` adds the documents to a dataset.

mod archive;
mod confluence;
mod notion;
mod records;
mod report;
mod systems;

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

pub use report::Report;

/// A system whose exports can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// JSON Lines with one passage or document each
    Jsonl,
    /// Chunks of Trieve, as its API lists them
    Trieve,
    /// Chunks and documents of R2R, as its API lists them
    R2r,
    /// Segments and documents of Dify, as its API lists them
    Dify,
    /// Chunks and documents of RAGFlow, as its API lists them
    Ragflow,
    /// Knowledge export of Open WebUI: the archive, or the files as its API lists them
    OpenWebui,
    /// Archive of a Notion export as Markdown and CSV
    Notion,
    /// Archive of a Confluence space export as HTML
    Confluence,
}

/// A passage that stays a chunk if it is not longer than one.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub text: String,
    /// Vector in the export.
    pub vector: Option<Vec<f32>>,
}

/// The content of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Passages in order.
    Passages(Vec<Passage>),
    /// A file that is parsed and split.
    File(Vec<u8>),
}

/// A document of another system.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Id in that system: the same document of a later export replaces this one.
    pub id: String,
    /// File name with extension.
    pub name: String,
    /// Title; absent where the content has one, or the file name is all there is.
    pub title: Option<String>,
    /// Address with `http` or `https`.
    pub url: Option<String>,
    pub metadata: Map<String, Value>,
    pub content: Content,
    /// Whether searches find it there.
    pub enabled: bool,
}

/// Reads exports and passes every document to a function, in the order of the export. Memory is bounded by one document; records of scattered documents are collected in a
/// temporary file.
///
/// # Errors
/// `import_unreadable` with the place, `file_count_wrong`, and those of the function.
pub fn read(
    system: System,
    files: &[PathBuf],
    each: &mut dyn FnMut(Imported) -> Result<()>,
) -> Result<Report> {
    let one = || match files {
        [file] => Ok(file),
        _ => Err(Error::invalid(
            "file_count_wrong",
            "this system's export is one file",
        )),
    };
    let is_archive = |file: &PathBuf| {
        file.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("zip"))
    };
    match system {
        System::Notion => notion::read(one()?, each),
        System::Confluence => confluence::read(one()?, each),
        System::OpenWebui if files.iter().all(is_archive) => archive::read(one()?, each),
        System::Jsonl => records::read(&systems::JSONL, files, each),
        System::Trieve => records::read(&systems::TRIEVE, files, each),
        System::R2r => records::read(&systems::R2R, files, each),
        System::Dify => records::read(&systems::DIFY, files, each),
        System::Ragflow => records::read(&systems::RAGFLOW, files, each),
        System::OpenWebui => records::read(&systems::OPEN_WEBUI, files, each),
    }
}

/// Returns the error for an export that cannot be read.
fn unreadable(place: &str, error: &dyn std::fmt::Display) -> Error {
    Error::invalid("import_unreadable", format!("{place}: {error}"))
}

/// Returns a name without the characters that file systems and paths give a meaning, at most 200 characters long.
fn file_name(text: &str, extension: &str) -> String {
    let clean: String = text
        .trim()
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '/' | '\\') {
                '-'
            } else {
                c
            }
        })
        .take(200)
        .collect();
    let clean = clean.trim_matches(['.', ' ']);
    format!(
        "{}{extension}",
        if clean.is_empty() { "untitled" } else { clean }
    )
}
