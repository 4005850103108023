//! Protocol of a parser process: frames on its standard input and output, each a JSON head and the bytes of a text or file.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use cairn_ingest::{Document, ParseError};
use serde::{Deserialize, Serialize};

use super::cut::{Cut, Pieces};

/// Limits that a process sets on itself; its only argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Address space in MiB, beyond that of the program.
    pub memory_mb: u64,
    /// Processor time in seconds.
    pub seconds: u64,
}

/// A task, followed by the bytes of its input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub source: Source,
    /// Chunking parameters; `None` only parses.
    pub cut: Option<Cut>,
    /// Maximum size of the normalised text in bytes.
    pub text_limit: usize,
}

/// Kind of the input bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Source {
    /// A file.
    File {
        file_name: String,
        mime_type: String,
        /// Folder for the files inside archives and mail; `None` for formats without.
        children: Option<PathBuf>,
        /// Languages of text recognition; `None` disables it.
        ocr: Option<String>,
    },
    /// The text of a document that was parsed elsewhere.
    Document(Box<Document>),
}

/// Result of a task, followed by the bytes of the document's text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub document: Document,
    pub pieces: Option<Pieces>,
}

/// Reply to a task, or the error of the file.
pub(super) type Answer = Result<Reply, ParseError>;

/// Longest head of a frame in bytes: the locations of a hundred thousand chunks need some 20 MiB.
pub(super) const LONGEST_HEAD: u64 = 256 << 20;

/// Writes a frame: the lengths of head and body, then both.
pub(super) fn write(out: &mut impl Write, head: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    out.write_all(&lengths(head.len(), body.len()))?;
    out.write_all(&head)?;
    out.write_all(body)?;
    out.flush()
}

/// Returns the length prefix of a frame.
pub(super) fn lengths(head: usize, body: usize) -> [u8; 16] {
    let mut lengths = [0; 16];
    lengths[..8].copy_from_slice(&(head as u64).to_le_bytes());
    lengths[8..].copy_from_slice(&(body as u64).to_le_bytes());
    lengths
}

/// Decodes the length prefix of a frame into the lengths of head and body.
pub(super) fn read_lengths(bytes: [u8; 16]) -> (u64, u64) {
    let (head, body) = bytes.split_at(8);
    let number = |half: &[u8]| u64::from_le_bytes(half.try_into().unwrap_or_default());
    (number(head), number(body))
}

/// Reads a frame; `None` at the end of the input.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    input: &mut impl Read,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0; 16];
    match input.read_exact(&mut lengths) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let (head, body) = read_lengths(lengths);
    let head = part(input, head)?;
    let body = part(input, body)?;
    Ok(Some((serde_json::from_slice(&head)?, body)))
}

fn part(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
