//! Formats: their names, media types and parsers, in one table.

use serde::{Deserialize, Serialize};

use super::{
    code, container, data, epub, html, mail, markdown, markup, ocr, office, opendocument, pdf, rtf,
    sheet, subtitles, text, xml,
};
use crate::document::Document;
use crate::input::{Input, ParseError};

/// Decodes the text of a page; `charset` is that of its `Content-Type`.
pub(crate) fn decode_html(bytes: &[u8], charset: Option<&'static encoding_rs::Encoding>) -> String {
    html::decode(bytes, charset).0
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
    /// Word, in the XML or the old binary format.
    Word,
    /// `PowerPoint`, in the XML or the old binary format.
    PowerPoint,
    /// A spreadsheet of Excel or `OpenDocument`.
    Spreadsheet,
    /// Comma-separated values, with any delimiter.
    Csv,
    /// An `OpenDocument` text.
    OpenDocumentText,
    /// An `OpenDocument` presentation.
    OpenDocumentPresentation,
    /// An electronic book.
    Epub,
    /// Rich Text Format.
    Rtf,
    /// A MIME message.
    Mail,
    /// Several messages in one file.
    Mailbox,
    /// A message in Outlook's own format.
    OutlookMail,
    /// JSON, JSON lines, and Jupyter notebooks.
    Json,
    /// XML.
    Xml,
    /// `WebVTT` or `SubRip`.
    Subtitles,
    /// reStructuredText.
    Rst,
    /// `AsciiDoc`.
    AsciiDoc,
    /// Org.
    Org,
    /// LaTeX.
    Latex,
    /// Source code.
    Code,
    /// An archive of files that become separate documents.
    Zip,
    /// An image; only with text recognition.
    Picture,
}

pub(super) struct Entry {
    pub(super) format: Format,
    pub(super) mime_type: &'static str,
    pub(super) extensions: &'static [&'static str],
    /// Required magic bytes of such files.
    pub(super) magic: Option<&'static [u8]>,
    pub(super) parse: fn(&Input<'_>) -> Result<Document, ParseError>,
}

pub(super) const fn entry(
    format: Format,
    mime_type: &'static str,
    extensions: &'static [&'static str],
    magic: Option<&'static [u8]>,
    parse: fn(&Input<'_>) -> Result<Document, ParseError>,
) -> Entry {
    Entry {
        format,
        mime_type,
        extensions,
        magic,
        parse,
    }
}

pub(super) const FORMATS: [Entry; 35] = [
    entry(
        Format::Pdf,
        "application/pdf",
        &["pdf"],
        Some(b"%PDF-"),
        pdf::parse,
    ),
    entry(
        Format::Html,
        "text/html",
        &["html", "htm", "xhtml"],
        None,
        html::parse,
    ),
    entry(
        Format::Markdown,
        "text/markdown",
        &["md", "markdown", "mdown", "mkd"],
        None,
        markdown::parse,
    ),
    entry(
        Format::Text,
        "text/plain",
        &["txt", "text", "log"],
        None,
        text::parse,
    ),
    entry(
        Format::Word,
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        &["docx", "docm", "dotx"],
        Some(ZIP),
        office::parse,
    ),
    entry(
        Format::Word,
        "application/msword",
        &["doc", "dot"],
        Some(&OLE),
        office::parse,
    ),
    entry(
        Format::PowerPoint,
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        &["pptx", "pptm", "ppsx"],
        Some(ZIP),
        office::parse,
    ),
    entry(
        Format::PowerPoint,
        "application/vnd.ms-powerpoint",
        &["ppt", "pps"],
        Some(&OLE),
        office::parse,
    ),
    entry(
        Format::Spreadsheet,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        &["xlsx", "xlsm", "xltx", "xlsb"],
        Some(ZIP),
        sheet::parse,
    ),
    entry(
        Format::Spreadsheet,
        "application/vnd.ms-excel",
        &["xls", "xlt"],
        Some(&OLE),
        sheet::parse,
    ),
    entry(
        Format::Spreadsheet,
        "application/vnd.oasis.opendocument.spreadsheet",
        &["ods", "ots"],
        Some(ZIP),
        sheet::parse,
    ),
    entry(
        Format::OpenDocumentText,
        "application/vnd.oasis.opendocument.text",
        &["odt", "ott"],
        Some(ZIP),
        opendocument::parse,
    ),
    entry(
        Format::OpenDocumentPresentation,
        "application/vnd.oasis.opendocument.presentation",
        &["odp", "otp"],
        Some(ZIP),
        opendocument::parse,
    ),
    entry(
        Format::Epub,
        "application/epub+zip",
        &["epub"],
        Some(ZIP),
        epub::parse,
    ),
    entry(
        Format::Zip,
        "application/zip",
        &["zip"],
        Some(ZIP),
        container::parse,
    ),
    entry(
        Format::OutlookMail,
        "application/vnd.ms-outlook",
        &["msg"],
        Some(&OLE),
        mail::parse_outlook,
    ),
    entry(
        Format::Rtf,
        "application/rtf",
        &["rtf"],
        Some(b"{\\rtf"),
        rtf::parse,
    ),
    entry(Format::Csv, "text/csv", &["csv"], None, sheet::parse_csv),
    entry(
        Format::Csv,
        "text/tab-separated-values",
        &["tsv", "tab"],
        None,
        sheet::parse_csv,
    ),
    entry(
        Format::Mail,
        "message/rfc822",
        &["eml", "mht", "mhtml"],
        None,
        mail::parse,
    ),
    entry(
        Format::Mailbox,
        "application/mbox",
        &["mbox"],
        None,
        mail::parse_mailbox,
    ),
    entry(
        Format::Json,
        "application/json",
        &["json"],
        None,
        data::parse_json,
    ),
    entry(
        Format::Json,
        "application/x-ndjson",
        &["jsonl", "ndjson"],
        None,
        data::parse_json,
    ),
    entry(
        Format::Json,
        "application/x-ipynb+json",
        &["ipynb"],
        None,
        data::parse_json,
    ),
    entry(
        Format::Xml,
        "application/xml",
        &["xml", "nxml", "dbk", "docbook", "tei"],
        None,
        xml::parse,
    ),
    entry(Format::Xml, "text/xml", &[], None, xml::parse),
    entry(
        Format::Subtitles,
        "text/vtt",
        &["vtt"],
        None,
        subtitles::parse,
    ),
    entry(
        Format::Subtitles,
        "application/x-subrip",
        &["srt"],
        None,
        subtitles::parse,
    ),
    entry(
        Format::Rst,
        "text/x-rst",
        &["rst", "rest"],
        None,
        markup::parse_rst,
    ),
    entry(
        Format::AsciiDoc,
        "text/asciidoc",
        &["adoc", "asciidoc", "asc"],
        None,
        markup::parse_asciidoc,
    ),
    entry(Format::Org, "text/org", &["org"], None, markup::parse_org),
    entry(
        Format::Latex,
        "application/x-tex",
        &["tex", "latex", "ltx"],
        None,
        markup::parse_latex,
    ),
    entry(
        Format::Code,
        "text/x-source",
        &code::EXTENSIONS,
        None,
        code::parse,
    ),
    entry(
        Format::Text,
        "application/octet-stream",
        &[],
        None,
        text::parse,
    ),
    entry(
        Format::Picture,
        "image/*",
        &["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp"],
        Some(b""),
        ocr::parse,
    ),
];

impl Format {
    /// Returns the media type under which a file of this format is stored.
    #[must_use]
    pub fn mime_type(self, file_name: &str) -> &'static str {
        let extension = extension(file_name);
        let mut entries = FORMATS.iter().filter(|e| e.format == self);
        entries
            .clone()
            .find(|e| e.extensions.contains(&extension.as_str()))
            .or_else(|| entries.next())
            .map_or("application/octet-stream", |e| e.mime_type)
    }

    /// Returns all recognised file name extensions.
    #[must_use]
    pub fn extensions() -> Vec<&'static str> {
        FORMATS
            .iter()
            .filter(|e| e.format != Self::Picture)
            .flat_map(|e| e.extensions)
            .copied()
            .collect()
    }

    /// Returns whether the parser of this format is robust and needs little memory.
    #[must_use]
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Text | Self::Markdown)
    }
}

/// Magic bytes of OLE containers: old office files, Outlook's messages, encrypted new office files.
pub(super) const OLE: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

pub(super) const ZIP: &[u8] = b"PK\x03\x04";

/// Returns the extension of a file name in lower case; empty when there is none.
pub(super) fn extension(file_name: &str) -> String {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    base.rsplit_once('.')
        .map(|(_, e)| e.to_lowercase())
        .unwrap_or_default()
}
