//! What a parser is given, and how it fails.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file to parse.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// Name with extension, as the user gave it.
    pub file_name: &'a str,
    /// Media type, where somebody stated one.
    pub mime_type: Option<&'a str>,
    /// The content.
    pub bytes: &'a [u8],
    /// An empty folder for the files inside archives and mail; without it such files are an error.
    pub children: Option<&'a Path>,
    /// Languages for text recognition, joined by plus signs, as tesseract has them; absent: no recognition.
    pub ocr: Option<&'a str>,
}

/// Why a file could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ParseError {
    /// Stable code.
    pub code: String,
    /// One sentence for the user.
    pub message: String,
}

impl ParseError {
    /// A failure with its stable code.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}
