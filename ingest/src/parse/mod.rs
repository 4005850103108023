//! Parsers, one file per format. Adding a format: a variant of [`Format`], a line in [`FORMATS`], a file with `parse`.

mod causes;
mod code;
mod container;
mod data;
mod epub;
mod format;
mod html;
mod mail;
mod markdown;
mod markup;
mod numerals;
mod ocr;
mod office;
mod old_office;
mod ooxml;
mod opendocument;
mod pdf;
mod rtf;
mod sheet;
mod slides;
mod subtitles;
mod text;
mod tree;
mod word;
mod writer;
mod xml;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::document::Document;
use crate::input::{Input, ParseError};
pub(crate) use code::language;
pub use format::Format;
pub(crate) use format::decode_html;
use format::{FORMATS, OLE, ZIP, extension};

/// Detects the format: by content if it is distinctive, then by the name, then by the media type, then any readable text. The first few kilobytes of a file
/// suffice, except for the content of containers; the name decides then.
///
/// # Errors
/// `unsupported_format` names the apparent format; `damaged_file` when name and content contradict each other.
pub fn detect(input: &Input<'_>) -> Result<Format, ParseError> {
    let head = &input.bytes[..input.bytes.len().min(8192)];
    let extension = extension(input.file_name);
    let by_name = FORMATS
        .iter()
        .find(|e| e.extensions.contains(&extension.as_str()));
    // Text may start with the magic letters of some binary formats, or mention PDF headers.
    let readable = text::is_utf8(head) && !text::looks_binary(head);
    let header = head[..head.len().min(1024)]
        .windows(5)
        .position(|w| w == b"%PDF-");
    if header == Some(0) || (header.is_some() && (!readable || extension == "pdf")) {
        return Ok(Format::Pdf);
    }
    if head.starts_with(b"{\\rtf") {
        return Ok(Format::Rtf);
    }
    if head.starts_with(ZIP) {
        let named = by_name.filter(|e| e.magic == Some(ZIP)).map(|e| e.format);
        return Ok(container::format(input.bytes)
            .or(named)
            .unwrap_or(Format::Zip));
    }
    if head.starts_with(&OLE) {
        let named =
            by_name.filter(|e| matches!(e.magic, Some(magic) if magic == OLE || magic == ZIP));
        return ole(input.bytes)
            .or(named.map(|e| e.format))
            .ok_or_else(|| unsupported(&extension, "an OLE container"));
    }
    // Some magic numbers are two letters, with which texts in old encodings may start, too.
    let legacy = !readable && text::is_legacy(head);
    if let Some(kind) = infer::get(head).filter(|_| !readable && !legacy)
        && !matches!(kind.matcher_type(), infer::MatcherType::Text)
    {
        if kind.matcher_type() == infer::MatcherType::Image && input.ocr.is_some() {
            return Ok(Format::Picture);
        }
        return Err(unsupported(&extension, kind.mime_type()));
    }
    if let Some(entry) = by_name {
        if entry.magic.is_none() {
            return Ok(entry.format);
        }
        // Some programs give texts and web pages the extensions of office files.
        if !readable || entry.format == Format::Pdf {
            return Err(ParseError::new(
                "damaged_file",
                format!(
                    "the file is named .{extension} but its content is not of that type; is it complete?"
                ),
            ));
        }
    }
    let mime = input
        .mime_type
        .map(|m| m.split(';').next().unwrap_or(m).trim().to_lowercase());
    if let Some(entry) = FORMATS.iter().find(|e| {
        e.magic.is_none()
            && Some(e.mime_type) == mime.as_deref()
            && !matches!(e.mime_type, "text/plain" | "application/octet-stream")
    }) {
        return Ok(entry.format);
    }
    if text::looks_binary(head) {
        return Err(unsupported(&extension, "binary data"));
    }
    Ok(sniff(input.bytes, head))
}

/// Returns the format of a text without an indicative name.
fn sniff(bytes: &[u8], head: &[u8]) -> Format {
    const HEADERS: [&str; 9] = [
        "from",
        "to",
        "subject",
        "date",
        "received",
        "message-id",
        "mime-version",
        "return-path",
        "delivered-to",
    ];
    let decoded = String::from_utf8_lossy(head);
    let start = decoded.trim_start_matches('\u{feff}').trim_start();
    let lower = start.to_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return Format::Html;
    }
    if lower.starts_with("<?xml") {
        return if lower.contains("<html") {
            Format::Html
        } else {
            Format::Xml
        };
    }
    if start.starts_with("WEBVTT") {
        return Format::Subtitles;
    }
    if start.starts_with("From ") && start.contains("\nFrom:") {
        return Format::Mailbox;
    }
    let headers = start
        .lines()
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_once(':'))
        .filter(|(name, _)| HEADERS.contains(&name.to_lowercase().as_str()))
        .count();
    let first = start.lines().next().unwrap_or_default();
    if headers >= 3
        && first
            .split_once(':')
            .is_some_and(|(name, _)| !name.contains(' '))
    {
        return Format::Mail;
    }
    if start.starts_with(['{', '['])
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    {
        return Format::Json;
    }
    Format::Text
}

/// Returns the format of an OLE container, by the names of its streams.
fn ole(bytes: &[u8]) -> Option<Format> {
    let has = |name| has_stream(bytes, name);
    if has("WordDocument") {
        Some(Format::Word)
    } else if has("PowerPoint Document") {
        Some(Format::PowerPoint)
    } else if has("__substg1.0_") {
        Some(Format::OutlookMail)
    } else if has("Workbook") {
        Some(Format::Spreadsheet)
    } else {
        None
    }
}

/// Returns whether an OLE container has a stream of this name.
fn has_stream(bytes: &[u8], name: &str) -> bool {
    let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.windows(wide.len()).any(|w| w == wide)
}

fn unsupported(extension: &str, kind: &str) -> ParseError {
    let known = Format::extensions().join(", ");
    if kind.starts_with("image/") {
        return ParseError::new(
            "unsupported_format",
            "images require OCR (CAIRN_OCR=true, needs tesseract)",
        );
    }
    let name = if extension.is_empty() {
        String::new()
    } else {
        format!(" .{extension}")
    };
    ParseError::new(
        "unsupported_format",
        format!(
            "files{name} ({kind}) are not supported; supported types are {known} and other plain text"
        ),
    )
}

/// Returns the error for a file that is damaged.
fn damaged(cause: &str) -> ParseError {
    ParseError::new("damaged_file", format!("the file is damaged: {cause}"))
}

fn locked() -> ParseError {
    ParseError::new(
        "password_required",
        "the file is protected by a password; remove the protection and upload it again",
    )
}

/// Runs a third-party parser; a panic is reported as damage of the file.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, ParseError> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| damaged("its content is inconsistent in a way the parser cannot handle"))
}

/// Returns a value unless it is blank.
fn given(value: Option<String>) -> Option<String> {
    value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

/// Parses a file into normalised text.
///
/// # Errors
/// `empty_file`, `unsupported_format`, `damaged_file`, `password_required`, `archive_too_large`, `no_text`: each with a message for the user.
pub fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    if input.bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ParseError::new("empty_file", "the file is empty"));
    }
    let format = detect(input)?;
    let entry = FORMATS
        .iter()
        .find(|e| e.format == format)
        .ok_or_else(|| unsupported("", format.mime_type(input.file_name)))?;
    let document = (entry.parse)(input)?;
    if document.text.trim().is_empty() && document.children.is_empty() {
        return Err(ParseError::new(
            "no_text",
            "the file contains no searchable text",
        ));
    }
    Ok(document)
}

/// Returns the document of Markdown produced by another program, with a marker between pages.
#[must_use]
pub fn from_markdown_pages(markdown: &str, page_break: &str, engine: &str) -> Document {
    let mut writer = writer::Writer::default();
    let pages = markdown.contains(page_break);
    for (number, page) in (1..).zip(markdown.split(page_break)) {
        if pages {
            writer.page(number, None);
        }
        writer.block(page);
    }
    writer.finish(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input<'a>(file_name: &'a str, bytes: &'a [u8]) -> Input<'a> {
        Input {
            file_name,
            bytes,
            ..Input::default()
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
        assert_eq!(detect(&input("main.rs", b"fn main() {}")), Ok(Format::Code));
        assert_eq!(
            detect(&input("Makefile", b"all:\n\tcc x.c")),
            Ok(Format::Text)
        );
        assert_eq!(
            detect(&input("blob.bin", b"\x00\x01\x02\x00\x03"))
                .expect_err("binary")
                .code,
            "unsupported_format"
        );
    }

    #[test]
    fn texts_without_a_telling_name_are_looked_at() {
        assert_eq!(detect(&input("a", b"WEBVTT\n\n")), Ok(Format::Subtitles));
        assert_eq!(detect(&input("a", b"[{\"a\": 1}]")), Ok(Format::Json));
        assert_eq!(
            detect(&input("a", b"<?xml version='1.0'?><a/>")),
            Ok(Format::Xml)
        );
        let mail = b"Return-Path: <a@b>\r\nFrom: a@b\r\nSubject: x\r\nDate: y\r\n\r\ntext";
        assert_eq!(detect(&input("a.txt", mail)), Ok(Format::Text));
        assert_eq!(detect(&input("a", mail)), Ok(Format::Mail));
        assert_eq!(detect(&input("a.doc", b"{\\rtf1 x}")), Ok(Format::Rtf));
        assert_eq!(detect(&input("a.xls", b"<html><table>")), Ok(Format::Html));
        assert_eq!(
            detect(&input("a.docx", b"\x00\x01\x02"))
                .expect_err("no zip")
                .code,
            "damaged_file"
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
