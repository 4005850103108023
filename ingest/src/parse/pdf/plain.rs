//! The plain engine: the text of each page in the order of the file. A page that cannot be read is left out, and the others stay.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Dictionary, Document as Pdf, Object, PlainTextOutput, output_doc_page};

use super::super::{ParseError, locked};
use super::{Entry, Reading};
use crate::document::normalise;

pub(super) fn read(bytes: &[u8]) -> Result<Reading, ParseError> {
    let damaged =
        |cause: &str| ParseError::new("damaged_file", format!("the PDF is damaged: {cause}"));
    let mut pdf = catch_unwind(|| Pdf::load_mem(bytes))
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
    let mut reading = Reading {
        title: title(&pdf),
        labels: labels(&pdf).unwrap_or_default(),
        outline: outline(&pdf),
        ..Reading::default()
    };
    let mut invisible = Vec::new();
    for (number, id) in pdf.get_pages() {
        match page_text(&pdf, number) {
            None => reading.unread.push(number),
            Some(text) if text.trim().is_empty() => {}
            Some(text) => {
                if hides_text(&pdf, id) {
                    invisible.push(number.to_string());
                }
                reading.pages.insert(number, text);
            }
        }
    }
    if !invisible.is_empty() {
        invisible.truncate(20);
        reading.warnings.push(format!(
            "pages with text that is not shown to readers (a layer of text recognition, or hidden text): {}",
            invisible.join(", ")
        ));
    }
    if is_xfa(&pdf) {
        reading.warnings.push(
            "the PDF is an XFA form, whose fields only some programs show; only its page text was read"
                .to_owned(),
        );
    }
    if reading.pages.is_empty() && reading.unread.is_empty() && pdf.get_pages().is_empty() {
        return Err(damaged("it has no pages"));
    }
    Ok(reading)
}

fn page_text(pdf: &Pdf, number: u32) -> Option<String> {
    let mut text = String::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut output = PlainTextOutput::new(&mut text);
        output_doc_page(pdf, &mut output, number)
    }));
    matches!(outcome, Ok(Ok(()))).then_some(text)
}

/// The bookmarks whose destinations can be resolved.
fn outline(pdf: &Pdf) -> Vec<Entry> {
    let toc = catch_unwind(AssertUnwindSafe(|| pdf.get_toc()));
    let Ok(Ok(toc)) = toc else {
        return Vec::new();
    };
    toc.toc
        .into_iter()
        .map(|entry| Entry {
            title: entry.title,
            level: u8::try_from(entry.level).unwrap_or(6).clamp(1, 6),
            page: u32::try_from(entry.page).ok(),
        })
        .collect()
}

/// Whether the page draws text in mode 3, which is invisible.
fn hides_text(pdf: &Pdf, page: (u32, u16)) -> bool {
    let content = catch_unwind(AssertUnwindSafe(|| pdf.get_page_content(page)));
    let Ok(Ok(content)) = content else {
        return false;
    };
    content
        .windows(5)
        .any(|w| w.starts_with(b"3 Tr") && (w[4].is_ascii_whitespace() || w[4] == b'/'))
}

fn is_xfa(pdf: &Pdf) -> bool {
    let form = pdf.catalog().ok().and_then(|c| c.get(b"AcroForm").ok());
    form.and_then(|f| pdf.dereference(f).ok())
        .and_then(|(_, f)| f.as_dict().ok())
        .is_some_and(|f| f.get(b"XFA").is_ok())
}

/// Labels of the pages that have one that is not just the number: `iv`, `A-3`.
fn labels(pdf: &Pdf) -> Option<BTreeMap<u32, String>> {
    let tree = pdf.catalog().ok()?.get(b"PageLabels").ok()?;
    let mut ranges = BTreeMap::new();
    numbers(pdf, tree, 0, &mut ranges);
    let last = u32::try_from(pdf.get_pages().len()).ok()?;
    let mut labels = BTreeMap::new();
    for number in 1..=last {
        let Some((first, style)) = ranges.range(..number).next_back() else {
            continue;
        };
        let text = |key: &[u8]| {
            style
                .get(key)
                .ok()
                .and_then(|v| v.as_str().ok())
                .map(decoded)
        };
        let start = style
            .get(b"St")
            .ok()
            .and_then(|v| v.as_i64().ok())
            .unwrap_or(1);
        let value = u32::try_from(start).unwrap_or(1) + (number - 1 - first);
        let numeral = match style.get(b"S").ok().and_then(|v| v.as_name().ok()) {
            Some(b"D") => value.to_string(),
            Some(b"r") => roman(value).to_lowercase(),
            Some(b"R") => roman(value),
            Some(b"a") => letters(value).to_lowercase(),
            Some(b"A") => letters(value),
            _ => String::new(),
        };
        let label = format!("{}{numeral}", text(b"P").unwrap_or_default());
        if !label.is_empty() && label != number.to_string() {
            labels.insert(number, label);
        }
    }
    Some(labels)
}

/// The entries of a number tree.
fn numbers<'a>(
    pdf: &'a Pdf,
    node: &'a Object,
    depth: usize,
    into: &mut BTreeMap<u32, &'a Dictionary>,
) {
    let Some(node) = pdf
        .dereference(node)
        .ok()
        .and_then(|(_, n)| n.as_dict().ok())
    else {
        return;
    };
    let array = |key: &[u8]| {
        node.get(key)
            .ok()
            .and_then(|v| pdf.dereference(v).ok())
            .and_then(|(_, v)| v.as_array().ok())
    };
    for pair in array(b"Nums")
        .map(|a| a.chunks_exact(2))
        .into_iter()
        .flatten()
    {
        if let (Ok(first), Some(style)) = (
            pair[0].as_i64(),
            pdf.dereference(&pair[1])
                .ok()
                .and_then(|(_, v)| v.as_dict().ok()),
        ) && let Ok(first) = u32::try_from(first)
        {
            into.insert(first, style);
        }
    }
    if depth < 16 {
        for kid in array(b"Kids").into_iter().flatten() {
            numbers(pdf, kid, depth + 1, into);
        }
    }
}

fn roman(mut value: u32) -> String {
    const NUMERALS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if value > 10_000 {
        return value.to_string();
    }
    let mut out = String::new();
    for (size, numeral) in NUMERALS {
        while value >= size {
            out.push_str(numeral);
            value -= size;
        }
    }
    out
}

/// A to Z, then AA to ZZ, as the format has it.
fn letters(value: u32) -> String {
    let index = value.saturating_sub(1);
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    std::iter::repeat_n(letter, usize::try_from(index / 26 + 1).unwrap_or(1).min(32)).collect()
}

/// The title of the information dictionary.
fn title(pdf: &Pdf) -> Option<String> {
    let information = pdf.trailer.get(b"Info").ok()?;
    let (_, information) = pdf.dereference(information).ok()?;
    let (_, value) = pdf
        .dereference(information.as_dict().ok()?.get(b"Title").ok()?)
        .ok()?;
    sensible_title(&decoded(value.as_str().ok()?))
}

fn decoded(bytes: &[u8]) -> String {
    match bytes.strip_prefix(b"\xfe\xff") {
        Some(wide) => encoding_rs::UTF_16BE.decode(wide).0.into_owned(),
        None => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
    }
}

/// A title, unless it is a file name that a program put there.
pub(super) fn sensible_title(text: &str) -> Option<String> {
    let title = super::one_line(&normalise(text));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counted_as_the_format_says() {
        assert_eq!(
            [1, 4, 9, 14, 1999].map(roman),
            ["I", "IV", "IX", "XIV", "MCMXCIX"]
        );
        assert_eq!([1, 26, 27].map(letters), ["A", "Z", "AA"]);
    }

    #[test]
    fn file_names_are_not_titles() {
        assert_eq!(sensible_title("report.docx"), None);
        assert_eq!(
            sensible_title("On cairns\r\n").as_deref(),
            Some("On cairns")
        );
    }
}
