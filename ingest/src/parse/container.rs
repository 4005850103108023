//! Zip containers: format detection by entry names, reading of entries within limits, and archives of several files.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use std::io::{Cursor, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{Format, Input, ParseError, causes, damaged, detect};
use crate::document::{Child, Document};

/// Maximum decompressed bytes of one entry.
pub(super) const MAX_ENTRY: u64 = 512 << 20;
/// Maximum bytes of all files of an archive together, and maximum number of files.
const MAX_TOTAL: u64 = 2 << 30;
const MAX_FILES: usize = 10_000;

/// An open container.
pub(super) type Container<'a> = ZipArchive<Cursor<&'a [u8]>>;

pub(super) fn open(bytes: &[u8]) -> Result<Container<'_>, ParseError> {
    ZipArchive::new(Cursor::new(bytes)).map_err(|e| {
        damaged(&format!(
            "its zip container cannot be read: {}",
            causes::of_zip(&e)
        ))
    })
}

/// Reads an entry of a container by its path.
pub(super) fn entry(container: &mut Container<'_>, path: &str) -> Result<Vec<u8>, ParseError> {
    let file = container.by_name(path).map_err(|e| refused(path, &e))?;
    let mut bytes = Vec::new();
    file.take(MAX_ENTRY + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(path, causes::of_io(&e)))?;
    if bytes.len() as u64 > MAX_ENTRY {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Returns the format of a zip container. With only a prefix of the file, the names in it decide.
pub(super) fn format(bytes: &[u8]) -> Option<Format> {
    let names: Vec<String> = match ZipArchive::new(Cursor::new(bytes)) {
        Ok(container) => container
            .file_names()
            .filter_map(|n| n.ok().map(std::borrow::Cow::into_owned))
            .collect(),
        Err(_) => local_names(bytes),
    };
    let has = |prefix: &str| names.iter().any(|n| n.starts_with(prefix));
    let open_document = |kind: &str| {
        let wanted = format!("application/vnd.oasis.opendocument.{kind}");
        bytes[..bytes.len().min(256)]
            .windows(wanted.len())
            .any(|w| w == wanted.as_bytes())
    };
    if has("word/") {
        Some(Format::Word)
    } else if has("ppt/") {
        Some(Format::PowerPoint)
    } else if has("xl/") || open_document("spreadsheet") {
        Some(Format::Spreadsheet)
    } else if open_document("text") {
        Some(Format::OpenDocumentText)
    } else if open_document("presentation") {
        Some(Format::OpenDocumentPresentation)
    } else if has("META-INF/container.xml") {
        Some(Format::Epub)
    } else {
        None
    }
}

/// Returns the names in the local headers of an incomplete container.
fn local_names(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for at in 0..bytes.len().saturating_sub(30) {
        if bytes[at..].starts_with(b"PK\x03\x04") {
            let length = usize::from(u16::from_le_bytes([bytes[at + 26], bytes[at + 27]]));
            if let Some(name) = bytes.get(at + 30..at + 30 + length) {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    names
}

/// Parses an archive: each readable file becomes a separate document, the others are listed in the warnings.
pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let mut container = open(input.bytes)?;
    let mut document = Document {
        engine: "zip".to_owned(),
        ..Document::default()
    };
    let (mut total, mut skipped) = (0_u64, Vec::<String>::new());
    let encoding = names_encoding(&mut container);
    for index in 0..container.len() {
        let file = container
            .by_index(index)
            .map_err(|e| refused("a file", &e))?;
        // Excludes names outside the archive and metadata of operating systems.
        let inside = file.enclosed_name();
        let Some(name) = inside.map(|n| match encoding {
            Some(encoding) if !is_marked_utf8(&file) => {
                encoding.decode(file.name_raw()).0.replace('\\', "/")
            }
            _ => n.to_string_lossy().into_owned(),
        }) else {
            skipped.push(file.name().map_or_else(
                |_| "a file without a readable name".to_owned(),
                std::borrow::Cow::into_owned,
            ));
            continue;
        };
        let hidden = name
            .split('/')
            .any(|part| part.starts_with('.') || part == "__MACOSX");
        if file.is_dir() || hidden || file.is_symlink() {
            continue;
        }
        let left = MAX_TOTAL - total;
        let mut bytes = Vec::new();
        file.take(left.min(MAX_ENTRY) + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| unreadable(&name, causes::of_io(&e)))?;
        total += bytes.len() as u64;
        if bytes.len() as u64 > MAX_ENTRY || total > MAX_TOTAL {
            return Err(too_large());
        }
        let inner = Input {
            file_name: &name,
            bytes: &bytes,
            ocr: input.ocr,
            ..Input::default()
        };
        if bytes.is_empty() || detect(&inner).is_err() {
            skipped.push(name);
            continue;
        }
        if document.children.len() >= MAX_FILES {
            return Err(ParseError::new(
                "archive_too_large",
                format!("the archive has more than {MAX_FILES} files"),
            ));
        }
        document.children.push(Child::store(input, &name, &bytes)?);
    }
    if document.children.is_empty() {
        return Err(ParseError::new(
            "no_text",
            "the archive contains no supported file",
        ));
    }
    if !skipped.is_empty() {
        let more = skipped.len().saturating_sub(10);
        skipped.truncate(10);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        document
            .warnings
            .push(format!("skipped files: {}{rest}", skipped.join(", ")));
    }
    // The archive itself is searchable by its file names.
    document.text = document
        .children
        .iter()
        .map(|c| c.file_name.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    Ok(document)
}

/// Returns the encoding of entry names without a UTF-8 flag: UTF-8 if all are valid, otherwise detected from their letters. `None`: as flagged, or ASCII.
fn names_encoding(container: &mut Container<'_>) -> Option<&'static Encoding> {
    let mut names = Vec::new();
    for index in 0..container.len() {
        if let Ok(file) = container.by_index_raw(index)
            && !file.name_raw().is_ascii()
            && !is_marked_utf8(&file)
        {
            names.extend_from_slice(file.name_raw());
            names.push(b'\n');
        }
    }
    if names.is_empty() {
        return None;
    }
    if std::str::from_utf8(&names).is_ok() {
        return Some(encoding_rs::UTF_8);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&names, true);
    let guessed = detector.guess(None, Utf8Detection::Deny);
    // DOS wrote Cyrillic in code page 866, which statistical detection rarely recognises in short texts.
    let letters = |encoding: &'static Encoding| {
        let (text, _, replaced) = encoding.decode(&names);
        let odd = text.chars().filter(|c| !c.is_ascii() && !c.is_alphabetic());
        (replaced, odd.count())
    };
    let candidates = [guessed, encoding_rs::IBM866];
    candidates
        .into_iter()
        .min_by_key(|encoding| letters(encoding))
}

/// Returns whether the name of an entry is flagged as UTF-8, or has an additional Unicode field.
fn is_marked_utf8<R: Read + ?Sized>(file: &zip::read::ZipFile<'_, R>) -> bool {
    std::str::from_utf8(file.name_raw()).is_ok()
}

fn too_large() -> ParseError {
    ParseError::new(
        "archive_too_large",
        format!(
            "the decompressed contents exceed {} MiB for one entry or {} MiB in total",
            MAX_ENTRY >> 20,
            MAX_TOTAL >> 20
        ),
    )
}

/// Returns the error for an entry that cannot be opened: locked if a password is missing, otherwise damaged.
fn refused(name: &str, error: &ZipError) -> ParseError {
    match error {
        ZipError::UnsupportedArchive(cause) if cause.contains("Password") => super::locked(),
        other => unreadable(name, causes::of_zip(other)),
    }
}

fn unreadable(name: &str, cause: &str) -> ParseError {
    damaged(&format!("its entry {name} cannot be read: {cause}"))
}
