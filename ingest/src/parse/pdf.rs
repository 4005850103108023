//! PDF, page by page. A page that cannot be read is left out with a warning, and the others stay.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document as Pdf, PlainTextOutput, output_doc_page};

use super::{Input, ParseError};
use crate::document::{Document, Page, normalise};

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let damaged =
        |cause: &str| ParseError::new("damaged_file", format!("the PDF is damaged: {cause}"));
    let mut pdf = catch_unwind(|| Pdf::load_mem(input.bytes))
        .map_err(|_| damaged("its structure cannot be read"))?
        .map_err(|e| {
            if e.to_string().to_lowercase().contains("password") {
                locked()
            } else {
                damaged(&e.to_string())
            }
        })?;
    if pdf.is_encrypted() {
        // Many files are encrypted with an empty user password, which readers try by themselves.
        catch_unwind(AssertUnwindSafe(|| pdf.decrypt("")))
            .map_err(|_| damaged("its encryption cannot be read"))?
            .map_err(|_| locked())?;
    }
    let mut document = Document {
        title: title(&pdf),
        engine: "pdf-extract".to_owned(),
        ..Document::default()
    };
    let mut unread = Vec::new();
    for number in pdf.get_pages().into_keys() {
        let Some(text) = page_text(&pdf, number) else {
            unread.push(number.to_string());
            continue;
        };
        let text = join_hyphens(normalise(&text).trim());
        if text.is_empty() {
            continue;
        }
        if !document.text.is_empty() {
            document.text.push_str("\n\n");
        }
        let start = document.text.len();
        document.text.push_str(&text);
        document.pages.push(Page {
            start,
            end: document.text.len(),
            number,
        });
    }
    if document.text.is_empty() {
        let message = if unread.is_empty() {
            "the PDF has no text layer (it may be scanned); run text recognition on it first"
        } else {
            "no page of the PDF could be read; the file may be damaged"
        };
        return Err(ParseError::new(
            if unread.is_empty() {
                "no_text"
            } else {
                "damaged_file"
            },
            message,
        ));
    }
    if !unread.is_empty() {
        document.warnings.push(format!(
            "pages that could not be read: {}",
            unread.join(", ")
        ));
    }
    Ok(document)
}

fn locked() -> ParseError {
    ParseError::new(
        "password_required",
        "the PDF is protected by a password; remove the protection and upload it again",
    )
}

fn page_text(pdf: &Pdf, number: u32) -> Option<String> {
    let mut text = String::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut output = PlainTextOutput::new(&mut text);
        output_doc_page(pdf, &mut output, number)
    }));
    matches!(outcome, Ok(Ok(()))).then_some(text)
}

/// The title of the information dictionary, unless it is a file name that a program put there.
fn title(pdf: &Pdf) -> Option<String> {
    let information = pdf.trailer.get(b"Info").ok()?;
    let (_, information) = pdf.dereference(information).ok()?;
    let (_, value) = pdf
        .dereference(information.as_dict().ok()?.get(b"Title").ok()?)
        .ok()?;
    let bytes = value.as_str().ok()?;
    let text = match bytes.strip_prefix(b"\xfe\xff") {
        Some(wide) => encoding_rs::UTF_16BE.decode(wide).0.into_owned(),
        None => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
    };
    let title = normalise(&text).trim().to_owned();
    let from_program = title.is_empty()
        || title.eq_ignore_ascii_case("untitled")
        || title
            .rsplit_once('.')
            .is_some_and(|(_, e)| e.len() <= 4 && !e.contains(' '));
    (!from_program).then_some(title)
}

/// Joins words that were divided at the end of a line, so that they can be found.
fn join_hyphens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("-\n") {
        let before = rest[..at]
            .chars()
            .next_back()
            .is_some_and(char::is_lowercase);
        let after = rest[at + 2..]
            .chars()
            .next()
            .is_some_and(char::is_lowercase);
        out.push_str(&rest[..at]);
        if !(before && after) {
            out.push_str("-\n");
        }
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divided_words_are_joined_and_other_hyphens_stay() {
        assert_eq!(
            join_hyphens("retrie-\nval of A-\nB and 3-\n4"),
            "retrieval of A-\nB and 3-\n4"
        );
    }

    #[test]
    fn rubbish_is_an_error_with_a_sentence() {
        let error = parse(&Input {
            file_name: "x.pdf",
            mime_type: None,
            bytes: b"%PDF-1.4 rubbish",
        })
        .expect_err("damaged");
        assert_eq!(error.code, "damaged_file");
    }
}
