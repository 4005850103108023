//! PDF, page by page in reading order: page content, form fields and comments, with headings by font size or by the outline. Scanned pages are passed to text
//! recognition.

mod headings;
mod pictures;
mod text;

use super::writer::{Writer, one_line};
use super::{Input, ParseError, locked, ocr};
use crate::document::{Document, Heading, normalise};
use headings::Headings;
use text::{Bookmark, Kind, Page, Read, Trouble};

/// Number of letters per page below which text is considered missing.
const SPARSE: usize = 20;
/// Maximum page numbers listed in a warning.
const NAMED: usize = 20;

/// Name of the engine.
const ENGINE: &str = "hayro";

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let read = text::read(input.bytes).map_err(refused)?;
    let mut document = written(&read.pages);
    document.title = read.title.as_deref().and_then(sensible_title);
    document.warnings = warnings(&read);
    let count = letters(&document.text);
    let pages = read.pages.len().max(1);
    if let Some(languages) = input.ocr.filter(|_| count < SPARSE * pages) {
        let recognised = scanned(input.bytes, languages)?;
        if letters(&recognised.text) > count {
            return Ok(Document {
                title: document.title,
                warnings: document.warnings,
                ..recognised
            });
        }
    }
    if document.text.is_empty() {
        return Err(ParseError::new(
            "no_text",
            "the PDF has no text layer (it may be scanned); enable OCR (CAIRN_OCR=true, needs tesseract), or run OCR on the file first",
        ));
    }
    if count < SPARSE * pages {
        document.warnings.push(format!(
            "the PDF has hardly any text ({count} letters on {pages} pages); if its pages are scanned, run OCR on it"
        ));
    }
    let bookmarks = bookmarks(&document, &read.outline);
    // An outline whose entries mostly have no target, or that only repeats the file name, is ignored.
    if bookmarks.len() > 1 && bookmarks.len() * 2 > read.outline.len() {
        document.headings = bookmarks;
    }
    Ok(document)
}

/// Returns the error for an unreadable file.
fn refused(trouble: Trouble) -> ParseError {
    match trouble {
        Trouble::Password => locked(),
        Trouble::Encryption => ParseError::new(
            "password_required",
            "the PDF uses an unsupported encryption; save it without encryption and upload it again",
        ),
        Trouble::Damaged => ParseError::new(
            "damaged_file",
            "the PDF is damaged: none of its pages can be read",
        ),
        Trouble::Compression(names) => ParseError::new(
            "damaged_file",
            format!(
                "the pages of the PDF use an unsupported compression ({})",
                names.join(", ")
            ),
        ),
        Trouble::UnknownCharacters(fonts) => ParseError::new(
            "no_text",
            format!(
                "the text of the PDF cannot be decoded: its fonts ({}) do not map glyphs to characters; enable OCR (CAIRN_OCR=true, needs tesseract), or run OCR on the file first",
                fonts.join(", ")
            ),
        ),
    }
}

/// Builds the document of all pages, with headings by layout.
fn written(pages: &[Page]) -> Document {
    let headings = Headings::of(pages.iter().flat_map(|page| &page.paragraphs));
    let mut writer = Writer::default();
    for page in pages {
        writer.page(page.number, page.label.clone());
        for paragraph in &page.paragraphs {
            match headings.level(paragraph) {
                Some(level) => writer.heading(level, &paragraph.text),
                None if paragraph.kind == Kind::Note => {
                    writer.block(&format!("Note: {}", paragraph.text));
                }
                None => writer.block(&paragraph.text),
            }
        }
    }
    writer.finish(ENGINE)
}

fn warnings(read: &Read) -> Vec<String> {
    let named = |numbers: &[u32]| {
        let names: Vec<String> = numbers.iter().take(NAMED).map(u32::to_string).collect();
        names.join(", ")
    };
    let mut warnings = Vec::new();
    if !read.hidden.is_empty() {
        warnings.push(format!(
            "pages with invisible text (an OCR layer or hidden text): {}",
            named(&read.hidden)
        ));
    }
    if read.xfa {
        warnings.push(
            "the PDF is an XFA form, which only some programs can display; only its page text was read"
                .to_owned(),
        );
    }
    if !read.unread.is_empty() {
        warnings.push(format!(
            "pages that could not be read completely: {}",
            named(&read.unread)
        ));
    }
    warnings.extend(read.warnings.iter().cloned());
    warnings
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

/// Recognises the pages of a scanned file: the text in the largest image of each.
fn scanned(bytes: &[u8], languages: &str) -> Result<Document, ParseError> {
    let mut writer = Writer::default();
    for (number, picture) in pictures::read(bytes)? {
        writer.page(number, None);
        writer.block(&ocr::recognise(&picture, languages)?);
    }
    Ok(writer.finish("tesseract"))
}

/// Returns a title, unless it is a file name added by a program.
fn sensible_title(text: &str) -> Option<String> {
    let title = one_line(&normalise(text));
    let from_program = title.is_empty()
        || title.eq_ignore_ascii_case("untitled")
        || title.rsplit_once('.').is_some_and(|(_, e)| {
            e.len() <= 8
                && !e.is_empty()
                && !e.contains(' ')
                && !e.ends_with(|c: char| c.is_ascii_digit())
        });
    (!from_program).then_some(title)
}

/// Converts the outline into headings: at the line with the bookmark's text, otherwise at the start of its page. A bookmark without a known page is searched
/// for after the preceding one, and dropped when its text is not found.
fn bookmarks(document: &Document, outline: &[Bookmark]) -> Vec<Heading> {
    let mut found: Vec<Heading> = Vec::new();
    for entry in outline {
        let wanted = one_line(&entry.title).to_lowercase();
        if wanted.is_empty() {
            continue;
        }
        let before = found.last().map_or(0, |h: &Heading| h.end);
        let page = match entry.page {
            Some(number) => document.pages.iter().find(|p| p.number >= number),
            None => None,
        };
        let (floor, end) = match page {
            Some(page) => (before.clamp(page.start, page.end), page.end),
            None if entry.page.is_some() => continue,
            None => (before, document.text.len()),
        };
        let mut at = floor;
        let line = document.text[floor..end]
            .split_inclusive('\n')
            .find_map(|line| {
                let range = (at, at + line.trim_end().len());
                at += line.len();
                let words = one_line(line).to_lowercase();
                (words.ends_with(&wanted) && words.len() <= wanted.len() + 24).then_some(range)
            });
        let Some((start, end)) = line.or(page.map(|_| (floor, floor))) else {
            continue;
        };
        found.push(Heading {
            start,
            end,
            level: entry.level,
            title: one_line(&entry.title),
        });
    }
    // Outlines may not be in page order.
    found.sort_by_key(|h| h.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_an_error_with_a_sentence() {
        let error = parse(&Input {
            file_name: "x.pdf",
            bytes: b"%PDF-1.4 rubbish",
            ..Input::default()
        })
        .expect_err("damaged");
        assert_eq!(error.code, "damaged_file");
    }

    #[test]
    fn file_names_are_not_titles() {
        assert_eq!(sensible_title("report.docx"), None);
        assert_eq!(
            sensible_title("On cairns\r\n").as_deref(),
            Some("On cairns")
        );
    }

    #[test]
    fn bookmarks_find_their_lines() {
        let text = "Contents\n1 Use ....... 2\n\n1 Use\nText of it";
        let document = Document {
            text: text.to_owned(),
            pages: vec![crate::document::Page {
                start: 0,
                end: text.len(),
                number: 1,
                label: None,
            }],
            ..Document::default()
        };
        let entry = |title: &str, page| Bookmark {
            title: title.to_owned(),
            level: 1,
            page,
        };
        let headings = bookmarks(&document, &[entry("Use", Some(1)), entry("Lost", Some(1))]);
        assert!(bookmarks(&document, &[entry("Lost", None)]).is_empty());
        assert_eq!(bookmarks(&document, &[entry("Use", None)])[0], headings[0]);
        assert_eq!(&text[headings[0].start..headings[0].end], "1 Use");
        assert_eq!(
            (headings[1].start, headings[1].end),
            (headings[0].end, headings[0].end)
        );
    }
}
