//! Input and errors of parsers.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file to parse.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// File name with extension, as given by the user.
    pub file_name: &'a str,
    /// Declared media type.
    pub mime_type: Option<&'a str>,
    /// Content of the file.
    pub bytes: &'a [u8],
    /// An empty folder for the files inside archives and mail; without it such files are an error.
    pub children: Option<&'a Path>,
    /// Languages for text recognition, joined by plus signs as for tesseract; `None` for no recognition.
    pub ocr: Option<&'a str>,
}

/// The error of a file that could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ParseError {
    /// Stable code.
    pub code: String,
    /// The message for the user, one sentence.
    pub message: String,
}

impl ParseError {
    /// Returns an error with a stable code.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}
