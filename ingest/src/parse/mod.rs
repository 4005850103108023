//! Parsers, one file per format. Adding a format: a variant of [`Format`], a line in [`FORMATS`], a file with `parse`.

mod html;
mod markdown;
mod pdf;
mod text;

use serde::{Deserialize, Serialize};

use crate::document::Document;

/// A file to parse.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Name with extension, as the user gave it.
    pub file_name: &'a str,
    /// Media type, where somebody stated one.
    pub mime_type: Option<&'a str>,
    /// The content.
    pub bytes: &'a [u8],
}

/// A format that can be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Plain text in any encoding.
    Text,
    /// Markdown (`CommonMark` with tables).
    Markdown,
    /// A web page; its main content becomes Markdown.
    Html,
    /// A PDF with a text layer.
    Pdf,
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

struct Entry {
    format: Format,
    mime_type: &'static str,
    extensions: &'static [&'static str],
    parse: fn(&Input<'_>) -> Result<Document, ParseError>,
}

const FORMATS: [Entry; 4] = [
    Entry {
        format: Format::Pdf,
        mime_type: "application/pdf",
        extensions: &["pdf"],
        parse: pdf::parse,
    },
    Entry {
        format: Format::Html,
        mime_type: "text/html",
        extensions: &["html", "htm", "xhtml"],
        parse: html::parse,
    },
    Entry {
        format: Format::Markdown,
        mime_type: "text/markdown",
        extensions: &["md", "markdown", "mdown", "mkd"],
        parse: markdown::parse,
    },
    Entry {
        format: Format::Text,
        mime_type: "text/plain",
        extensions: &["txt", "text", "log"],
        parse: text::parse,
    },
];

impl Format {
    /// Media type under which documents of this format are stored.
    #[must_use]
    pub fn mime_type(self) -> &'static str {
        FORMATS
            .iter()
            .find(|e| e.format == self)
            .map_or("application/octet-stream", |e| e.mime_type)
    }

    /// Every file name extension that is recognised.
    #[must_use]
    pub fn extensions() -> Vec<&'static str> {
        FORMATS.iter().flat_map(|e| e.extensions).copied().collect()
    }
}

/// Finds the format: by content where it shows, then by the name, then by the media type, then any readable text.
/// Needs only the first few kilobytes of a file.
///
/// # Errors
/// `unsupported_format` names what the file seems to be.
pub fn detect(input: &Input<'_>) -> Result<Format, ParseError> {
    let head = &input.bytes[..input.bytes.len().min(8192)];
    let extension = input
        .file_name
        .rsplit_once('.')
        .map(|(_, e)| e.to_lowercase())
        .unwrap_or_default();
    // Text may begin with the few letters by which some binary formats are told, or speak of PDF headers.
    let readable = text::is_utf8(head) && !text::looks_binary(head);
    let header = head[..head.len().min(1024)]
        .windows(5)
        .position(|w| w == b"%PDF-");
    if header == Some(0) || (header.is_some() && (!readable || extension == "pdf")) {
        return Ok(Format::Pdf);
    }
    if let Some(kind) = infer::get(head).filter(|_| !readable)
        && !matches!(kind.matcher_type(), infer::MatcherType::Text)
    {
        return Err(unsupported(&extension, kind.mime_type()));
    }
    let by_name = FORMATS
        .iter()
        .find(|e| e.extensions.contains(&extension.as_str()));
    if let Some(entry) = by_name.filter(|e| e.format != Format::Pdf) {
        return Ok(entry.format);
    }
    if by_name.is_some() {
        return Err(ParseError::new(
            "damaged_file",
            "the file is named PDF but has no PDF header; is it complete?",
        ));
    }
    let mime = input
        .mime_type
        .map(|m| m.split(';').next().unwrap_or(m).trim().to_lowercase());
    if let Some(entry) = FORMATS
        .iter()
        .find(|e| e.format != Format::Pdf && Some(e.mime_type) == mime.as_deref())
    {
        return Ok(entry.format);
    }
    let start = String::from_utf8_lossy(head).trim_start().to_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return Ok(Format::Html);
    }
    if text::looks_binary(head) {
        return Err(unsupported(&extension, "binary data"));
    }
    Ok(Format::Text)
}

fn unsupported(extension: &str, kind: &str) -> ParseError {
    let known = Format::extensions().join(", ");
    let name = if extension.is_empty() {
        String::new()
    } else {
        format!(" .{extension}")
    };
    ParseError::new(
        "unsupported_format",
        format!(
            "files{name} ({kind}) are not supported; supported are {known} and other plain text"
        ),
    )
}

/// Parses a file into normalised text.
///
/// # Errors
/// `empty_file`, `unsupported_format`, `damaged_file`, `password_required`, `no_text`: each with a sentence for the user.
pub fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    if input.bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ParseError::new("empty_file", "the file is empty"));
    }
    let format = detect(input)?;
    let entry = FORMATS
        .iter()
        .find(|e| e.format == format)
        .ok_or_else(|| unsupported("", format.mime_type()))?;
    let document = (entry.parse)(input)?;
    if document.text.trim().is_empty() {
        return Err(ParseError::new(
            "no_text",
            "the file has no text that could be searched",
        ));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input<'a>(file_name: &'a str, bytes: &'a [u8]) -> Input<'a> {
        Input {
            file_name,
            mime_type: None,
            bytes,
        }
    }

    #[test]
    fn content_wins_over_the_name() {
        assert_eq!(
            detect(&input("notes.txt", b"%PDF-1.7 ...")),
            Ok(Format::Pdf)
        );
        assert_eq!(
            detect(&input("page", b"<!DOCTYPE html><p>x")),
            Ok(Format::Html)
        );
        let error =
            detect(&input("photo.txt", b"\x89PNG\r\n\x1a\n00000000")).expect_err("an image");
        assert_eq!(error.code, "unsupported_format");
    }

    #[test]
    fn text_that_begins_like_a_picture_is_text() {
        assert_eq!(
            detect(&input("1", b"BMI is a ratio of mass and height.")),
            Ok(Format::Text)
        );
        assert_eq!(
            detect(&input("notes.md", b"Files begin with %PDF-1.7 and end.")),
            Ok(Format::Markdown)
        );
    }

    #[test]
    fn unknown_text_is_text_and_unknown_bytes_are_refused() {
        assert_eq!(detect(&input("main.rs", b"fn main() {}")), Ok(Format::Text));
        assert_eq!(
            detect(&input("blob.bin", b"\x00\x01\x02\x00\x03"))
                .expect_err("binary")
                .code,
            "unsupported_format"
        );
    }

    #[test]
    fn an_empty_file_says_so() {
        assert_eq!(
            parse(&input("a.md", b" \n")).expect_err("empty").code,
            "empty_file"
        );
    }
}
