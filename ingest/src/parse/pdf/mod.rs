//! PDF, page by page, by two engines. The structured one (`unpdf`) finds headings, lists and tables and repairs damaged files, but now and then
//! loses text; the plain one (`pdf-extract`) is complete where it works. A page is taken with its structure when that has at least as
//! many letters as the plain text, and plain otherwise; the document names who read which pages.

mod plain;
mod structured;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::writer::{Writer, one_line};
use super::{Input, ParseError, markdown, ocr};
use crate::document::{Document, Heading, Page, normalise};

/// Share of the plain text's letters that the structured page must have.
const COMPLETE: f64 = 0.98;
/// Longest average word; above it spaces are missing, below [`SPACED`] they stand between letters.
const GLUED: f64 = 25.0;
const SPACED: f64 = 2.2;

/// Fewer letters per page than this are hardly what the pages say.
const SPARSE: usize = 20;

/// What an engine found.
#[derive(Debug, Default)]
struct Reading {
    /// Text of each page by number; pages without text have none.
    pages: BTreeMap<u32, String>,
    /// Pages that exist but could not be read.
    unread: Vec<u32>,
    title: Option<String>,
    outline: Vec<Entry>,
    labels: BTreeMap<u32, String>,
    warnings: Vec<String>,
}

/// A bookmark.
#[derive(Debug)]
struct Entry {
    title: String,
    level: u8,
    /// Where it leads, when that could be resolved.
    page: Option<u32>,
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let plain = plain::read(input.bytes);
    if let Err(error) = &plain
        && error.code == "password_required"
    {
        return Err(error.clone());
    }
    let structured = structured::read(input.bytes);
    let (plain, structured) = match (plain, structured) {
        (Err(_), Err(error)) if error.code == "password_required" => return Err(error),
        (Err(error), Err(_)) => return Err(error),
        // An empty repair of a damaged file is no reading.
        (Err(error), Ok(structured)) if structured.pages.is_empty() => return Err(error),
        (plain, structured) => (plain.unwrap_or_default(), structured.unwrap_or_default()),
    };
    let mut numbers: BTreeSet<u32> = plain.pages.keys().copied().collect();
    numbers.extend(structured.pages.keys());
    let mut document = Document {
        title: plain.title.or(structured.title),
        warnings: plain.warnings,
        ..Document::default()
    };
    let mut readers: Vec<(&str, u32)> = Vec::new();
    let chosen: Vec<(u32, &str, String)> = numbers
        .into_iter()
        .map(|number| {
            let (engine, text) = choose(plain.pages.get(&number), structured.pages.get(&number));
            (number, engine, normalise(text))
        })
        .collect();
    let words = words(chosen.iter().map(|(_, _, text)| text.as_str()));
    for (number, engine, text) in &chosen {
        let (number, text) = (*number, mend_hyphens(text.trim(), &words));
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
            label: plain.labels.get(&number).cloned(),
        });
        readers.push((engine, number));
    }
    let unread: Vec<String> = plain
        .unread
        .iter()
        .filter(|n| !structured.pages.contains_key(n))
        .map(ToString::to_string)
        .collect();
    let sparse = letters(&document.text) < SPARSE * document.pages.len().max(1);
    if let Some(languages) = input.ocr.filter(|_| sparse) {
        let recognised = scanned(input.bytes, languages)?;
        if letters(&recognised.text) > letters(&document.text) {
            return Ok(Document {
                title: document.title,
                warnings: document.warnings,
                ..recognised
            });
        }
    }
    if document.text.is_empty() {
        return Err(if unread.is_empty() {
            ParseError::new(
                "no_text",
                "the PDF has no text layer (it may be scanned); turn text recognition on (CAIRN_OCR=true, needs tesseract), or run it on the file first",
            )
        } else {
            ParseError::new(
                "damaged_file",
                "no page of the PDF could be read; the file may be damaged",
            )
        });
    }
    if !unread.is_empty() {
        document.warnings.push(format!(
            "pages that could not be read: {}",
            unread.join(", ")
        ));
    }
    let letters = document
        .text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .count();
    if letters < SPARSE * document.pages.len() {
        document.warnings.push(format!(
            "the PDF has hardly any text ({letters} letters on {} pages); if its pages are scanned, run text recognition on it",
            document.pages.len()
        ));
    }
    document.engine = named(&readers);
    let (headings, tables) = markdown::structure(&document.text);
    document.tables = tables;
    let outline = if plain.outline.is_empty() {
        structured.outline
    } else {
        plain.outline
    };
    let bookmarks = bookmarks(&document, &outline);
    // An outline that mostly leads nowhere, or is only a name for the file, says less than the layout.
    document.headings = if bookmarks.len() > 1 && bookmarks.len() * 2 > outline.len() {
        bookmarks
    } else {
        headings
    };
    Ok(document)
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

/// The pages of a scanned file: the text in the largest picture of each.
fn scanned(bytes: &[u8], languages: &str) -> Result<Document, ParseError> {
    let mut writer = Writer::default();
    for (number, picture) in structured::pictures(bytes)? {
        writer.page(number, None);
        writer.block(&ocr::recognise(&picture, languages)?);
    }
    Ok(writer.finish("tesseract"))
}

/// The better reading of a page.
fn choose<'a>(
    plain: Option<&'a String>,
    structured: Option<&'a String>,
) -> (&'static str, &'a str) {
    let letters = |text: &str| letters(text) as f64;
    match (plain, structured) {
        (Some(plain), Some(structured)) => {
            let complete = letters(structured) >= COMPLETE * letters(plain);
            if complete
                || (odd_spaces(plain)
                    && !odd_spaces(structured)
                    && letters(structured) >= 0.9 * letters(plain))
            {
                ("unpdf", structured)
            } else {
                ("pdf-extract", plain)
            }
        }
        (None, Some(structured)) => ("unpdf", structured),
        (Some(plain), None) => ("pdf-extract", plain),
        (None, None) => ("unpdf", ""),
    }
}

/// Whether words stand letter by letter, or all in one; scripts without spaces are not meant.
fn odd_spaces(text: &str) -> bool {
    let (mut words, mut letters) = (0_usize, 0_usize);
    for word in text.split_whitespace().filter(|w| w.is_ascii()) {
        words += 1;
        letters += word.len();
    }
    let average = letters as f64 / words.max(1) as f64;
    words > 20 && !(SPACED..=GLUED).contains(&average)
}

/// `unpdf`, or who read which pages.
fn named(readers: &[(&str, u32)]) -> String {
    let mut runs: Vec<(&str, u32, u32)> = Vec::new();
    for (engine, number) in readers {
        match runs.last_mut() {
            Some(last) if last.0 == *engine => last.2 = *number,
            _ => runs.push((engine, *number, *number)),
        }
    }
    match runs.as_slice() {
        [] => String::new(),
        [only] => only.0.to_owned(),
        // The list of a long document with changing engines is of no use to anybody.
        many if many.len() > 8 => {
            let count = |name: &str| readers.iter().filter(|(engine, _)| *engine == name).count();
            format!(
                "unpdf ({} pages), pdf-extract ({} pages)",
                count("unpdf"),
                count("pdf-extract")
            )
        }
        some => some
            .iter()
            .map(|(engine, first, last)| {
                if first == last {
                    format!("{engine} (page {first})")
                } else {
                    format!("{engine} (pages {first}-{last})")
                }
            })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The outline as headings: at the line that has the bookmark's words, else at the beginning of its page. A bookmark that leads to no known page
/// is looked for behind the one before, and left out when its words are nowhere.
fn bookmarks(document: &Document, outline: &[Entry]) -> Vec<Heading> {
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
    // Outlines need not be in the order of the pages.
    found.sort_by_key(|h| h.start);
    found
}

/// The words of a document in lower case, with the hyphens inside them.
fn words<'t>(texts: impl Iterator<Item = &'t str>) -> HashSet<String> {
    texts
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '-'))
        .filter(|word| word.len() > 1 && !word.starts_with('-') && !word.ends_with('-'))
        .map(str::to_lowercase)
        .collect()
}

/// Joins words that were divided at the end of a line, so that they can be found: `retrie-⏎val`, and `retrie- val` where an engine joined the lines.
/// The hyphen stays when the document writes the word with it elsewhere, or when both halves are words of their own and their union is not.
fn mend_hyphens(text: &str, words: &HashSet<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('-') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        out.push_str(before);
        let gap = after.len() - after.trim_start_matches(['\n', ' ']).len();
        let lower = |c: Option<char>| c.is_some_and(char::is_lowercase);
        let next = &after[gap..];
        let divided = (1..=2).contains(&gap)
            && lower(before.chars().next_back())
            && lower(next.chars().next());
        if divided {
            let letter = |c: char| c.is_alphabetic();
            let head = out[out
                .rfind(|c| !letter(c))
                .map_or(0, |i| i + out[i..].chars().next().map_or(1, char::len_utf8))..]
                .to_lowercase();
            let tail: String = next
                .chars()
                .take_while(|c| letter(*c))
                .flat_map(char::to_lowercase)
                .collect();
            let has = |word: &str| words.contains(word);
            let keep = !has(&format!("{head}{tail}"))
                && (has(&format!("{head}-{tail}")) || (has(&head) && has(&tail)));
            // `two- and three-part` is no divided word.
            if matches!(
                tail.as_str(),
                "and" | "or" | "to" | "und" | "oder" | "et" | "ou" | "y" | "o"
            ) {
                out.push('-');
                rest = after;
                continue;
            }
            if keep {
                out.push('-');
            }
            rest = next;
        } else {
            out.push('-');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divided_words_are_joined_and_other_hyphens_stay() {
        let known = words(["We write self-made and supervised; a low sea level."].into_iter());
        let mend = |text: &str| mend_hyphens(text, &known);
        assert_eq!(
            mend("retrie-\nval of A-\nB and 3-\n4"),
            "retrieval of A-\nB and 3-\n4"
        );
        assert_eq!(
            mend("super- vised and self- made"),
            "supervised and self-made"
        );
        assert_eq!(
            mend("low- level, two- and three-part, x - y"),
            "low-level, two- and three-part, x - y"
        );
    }

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
    fn the_complete_reading_of_a_page_wins() {
        let (plain, cut, whole) = (
            "one two three".to_owned(),
            "# one".to_owned(),
            "# one\n\ntwo three".to_owned(),
        );
        assert_eq!(choose(Some(&plain), Some(&cut)).0, "pdf-extract");
        assert_eq!(choose(Some(&plain), Some(&whole)).0, "unpdf");
        let spaced = "P e p s i C o ".repeat(10);
        let words = "PepsiCo ".repeat(10);
        assert_eq!(choose(Some(&spaced), Some(&words)).0, "unpdf");
        assert_eq!(
            named(&[("unpdf", 1), ("unpdf", 2), ("pdf-extract", 3)]),
            "unpdf (pages 1-2), pdf-extract (page 3)"
        );
    }

    #[test]
    fn bookmarks_find_their_lines() {
        let text = "Contents\n1 Use ....... 2\n\n1 Use\nText of it";
        let document = Document {
            text: text.to_owned(),
            pages: vec![Page {
                start: 0,
                end: text.len(),
                number: 1,
                label: None,
            }],
            ..Document::default()
        };
        let entry = |title: &str, page| Entry {
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
