//! Citations: resolution to the cited text, and verification of a quote against its source.
//!
//! A citation of an older version still resolves and is reported as stale. When its chunk has outlived the change, the location is that of the chunk
//! today.

use std::collections::{HashMap, HashSet};

use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::kb::citation::Citation;
use crate::kb::visible::{self, VisibleText};
use crate::kb::{Document, chunks};

/// A resolved citation.
#[derive(Debug)]
pub struct Resolved {
    /// Current location.
    pub citation: Citation,
    /// Text at that location.
    pub text: String,
    pub document: Document,
    /// Whether the document has changed since the citation.
    pub stale: bool,
}

/// Returns the visible text of a document that the caller may read as a whole.
pub(crate) async fn text_of(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
) -> Result<(Document, VisibleText)> {
    let (document, text) = visible::text(app, caller, dataset_id, document_id).await?;
    if !caller.reads(dataset_id) {
        return Err(Error::forbidden(
            "scope_missing",
            "a key that may only search can see passages, not whole documents; this requires the scope kb:read",
        ));
    }
    Ok((document, text))
}

/// Resolves a citation to the visible text at its location: hidden content is left out, and manual edits replace the original.
///
/// # Errors
/// `scope_missing`, `dataset_not_found`, `document_not_found`; `citation_outside` when the location is no longer in the text.
pub async fn resolve(app: &App, caller: &Caller, citation: &Citation) -> Result<Resolved> {
    let (_, document) =
        visible::document(app, caller, &citation.dataset_id, &citation.document_id).await?;
    let outside = || {
        Error::not_found(
            "citation_outside",
            "the cited passage is no longer in the document; search for it again",
        )
    };
    let chunk = match &citation.chunk_id {
        Some(id) => chunks::by_ids(app, caller.tenant(), std::slice::from_ref(id))
            .await?
            .pop(),
        None => None,
    };
    let chunk = chunk.filter(|c| c.document_id == document.id);
    let whole = caller.reads(&citation.dataset_id);
    let stale = document.version != citation.version;
    let mut now = Citation {
        version: document.version,
        ..citation.clone()
    };
    if let Some(chunk) = chunk.filter(|c| stale || !whole || c.origin != "parsed") {
        if !chunk.enabled {
            return Err(outside());
        }
        (now.start, now.end) = (chunk.start_char, chunk.end_char);
        return Ok(Resolved {
            citation: now,
            text: chunk.content,
            document,
            stale,
        });
    }
    let (document, text) = text_of(app, caller, &citation.dataset_id, &document.id).await?;
    let (start, end) = (
        usize::try_from(now.start).unwrap_or(0),
        usize::try_from(now.end).unwrap_or(0),
    );
    let place = text.slice(start..end);
    if end == start || end > text.length() || place.trim().is_empty() {
        return Err(outside());
    }
    Ok(Resolved {
        citation: now,
        text: place,
        document,
        stale,
    })
}

/// Maximum length of a quote, in characters.
const LONGEST: usize = 4000;
/// Share of its words, in order, from which a quote counts as nearly present.
const NEARLY: f64 = 0.7;

/// Whether a text contains a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Word by word, ignoring case, punctuation and line ends.
    Exact,
    /// With some words missing, added or changed.
    Near,
    /// Not contained.
    Absent,
}

/// Result of comparing a quote with a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub verdict: Verdict,
    /// 1 for exact; otherwise 1 − (words to add, remove or change) / words of the quote, at least 0.
    pub similarity: f64,
    /// Range in characters of the best match, if there is one.
    pub range: Option<(usize, usize)>,
}

/// A word and its position in characters.
struct Word {
    word: String,
    start: usize,
    end: usize,
}

fn words(text: &str) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    let mut open = false;
    for (at, c) in text.chars().enumerate() {
        if c.is_alphanumeric() {
            if !open {
                found.push(Word {
                    word: String::new(),
                    start: at,
                    end: at,
                });
            }
            if let Some(last) = found.last_mut() {
                last.word.extend(c.to_lowercase());
                last.end = at + 1;
            }
        }
        open = c.is_alphanumeric();
    }
    found
}

/// Finds a quote in a text: word by word first; then the window that shares most of its words is aligned with it (Sellers 1980, over words).
#[must_use]
pub fn find(quote: &str, text: &str) -> Match {
    let (quote, text) = (words(quote), words(text));
    let absent = Match {
        verdict: Verdict::Absent,
        similarity: 0.0,
        range: None,
    };
    if quote.is_empty() || text.is_empty() {
        return absent;
    }
    let wanted: Vec<&str> = quote.iter().map(|w| w.word.as_str()).collect();
    let there: Vec<&str> = text.iter().map(|w| w.word.as_str()).collect();
    if let Some(at) = exactly(&wanted, &there) {
        return Match {
            verdict: Verdict::Exact,
            similarity: 1.0,
            range: Some((text[at].start, text[at + wanted.len() - 1].end)),
        };
    }
    let (from, to) = densest(&wanted, &there);
    let (distance, first, last) = align(&wanted, &there[from..to]);
    let similarity = (1.0 - distance as f64 / wanted.len() as f64).max(0.0);
    Match {
        verdict: if similarity >= NEARLY {
            Verdict::Near
        } else {
            Verdict::Absent
        },
        similarity,
        range: (last > first).then(|| (text[from + first].start, text[from + last - 1].end)),
    }
}

/// Returns the first position at which all words of a quote follow each other, found in linear time by the standard library's string search.
fn exactly(wanted: &[&str], there: &[&str]) -> Option<usize> {
    // Words contain no spaces.
    let (needle, hay) = (
        format!(" {} ", wanted.join(" ")),
        format!(" {} ", there.join(" ")),
    );
    let at = hay.find(&needle)?;
    Some(hay[..at].matches(' ').count())
}

/// Returns the window of twice the quote's length that contains most of its words.
fn densest(wanted: &[&str], there: &[&str]) -> (usize, usize) {
    let set: HashSet<&str> = wanted.iter().copied().collect();
    let width = (2 * wanted.len()).min(there.len());
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let (mut best, mut at) = (0, 0);
    for (i, word) in there.iter().enumerate() {
        if set.contains(word) {
            *counts.entry(word).or_default() += 1;
        }
        if i >= width {
            let gone = there[i - width];
            if let Some(count) = counts.get_mut(gone) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(gone);
                }
            }
        }
        if counts.len() > best {
            (best, at) = (counts.len(), (i + 1).saturating_sub(width));
        }
    }
    // A margin on both sides, for words that the window has cut off.
    let room = wanted.len() / 2;
    (
        at.saturating_sub(room),
        (at + width + room).min(there.len()),
    )
}

/// Returns the part of a text with the smallest edit distance from a quote, in words: the distance, its first word and the word after its last.
fn align(wanted: &[&str], there: &[&str]) -> (usize, usize, usize) {
    // For each position in the text: the distance of the best part that ends there, and its start.
    let mut row: Vec<(usize, usize)> = (0..=there.len()).map(|i| (0, i)).collect();
    for (i, word) in wanted.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (i + 1, 0);
        for (j, other) in there.iter().enumerate() {
            let changed = (diagonal.0 + usize::from(word != other), diagonal.1);
            let missing = (row[j + 1].0 + 1, row[j + 1].1);
            let added = (row[j].0 + 1, row[j].1);
            diagonal = row[j + 1];
            row[j + 1] = [changed, missing, added]
                .into_iter()
                .min_by_key(|(d, _)| *d)
                .unwrap_or(changed);
        }
    }
    // Of equally good parts, the one as long as the quote: a changed last word belongs to it.
    let (end, (distance, start)) = row
        .into_iter()
        .enumerate()
        .min_by_key(|(end, (distance, start))| (*distance, (end - start).abs_diff(wanted.len())))
        .unwrap_or((0, (wanted.len(), 0)));
    (distance, start, end)
}

/// Expected source of a quote.
#[derive(Debug, Clone)]
pub enum Source {
    /// At the location of a citation, or anywhere in its document.
    Citation(Citation),
    /// Anywhere in a document.
    Document(String, String),
}

/// A quote compared with its source.
#[derive(Debug)]
pub struct Verified {
    /// Result of the comparison.
    pub found: Match,
    /// Text of the source at the match.
    pub text: Option<String>,
    /// Location of the match.
    pub citation: Option<Citation>,
    /// Whether the match is within the cited range; absent without a cited range.
    pub within: Option<bool>,
    /// Whether the document has changed since the citation.
    pub stale: bool,
}

/// Verifies whether a quote is in its source, exactly or nearly, and where.
///
/// # Errors
/// `quote_invalid`, `dataset_not_found`, `document_not_found`, `text_not_ready`.
pub async fn verify(app: &App, caller: &Caller, quote: &str, source: &Source) -> Result<Verified> {
    let length = quote.chars().count();
    if quote.trim().is_empty() || length > LONGEST {
        return Err(Error::invalid(
            "quote_invalid",
            format!("a quote must have 1 to {LONGEST} characters"),
        ));
    }
    let quote = quote.to_owned();
    let (dataset_id, document_id) = match source {
        Source::Citation(c) => (&c.dataset_id, &c.document_id),
        Source::Document(dataset, document) => (dataset, document),
    };
    // The cited location comes first: a quote that is both there and elsewhere is found there.
    let mut cited = None;
    if let Source::Citation(citation) = source {
        let place = resolve(app, caller, citation).await?;
        let found = compare(&quote, place.text).await?;
        let here = verified(
            found,
            &place.document,
            place.citation.start,
            Some(true),
            place.stale,
        );
        if here.found.verdict == Verdict::Exact || !caller.reads(dataset_id) {
            return Ok(here);
        }
        cited = Some(here);
    }
    let (document, text) = text_of(app, caller, dataset_id, document_id).await?;
    let (text, place) = text.joined();
    let (mut found, words) = compare(&quote, text).await?;
    found.range = found.range.map(|(start, end)| {
        let range = place(start..end);
        (range.start, range.end)
    });
    let found = (found, words);
    Ok(match cited {
        None => verified(found, &document, 0, None, false),
        Some(here) if here.found.verdict == Verdict::Near && found.0.verdict != Verdict::Exact => {
            here
        }
        Some(here) => verified(found, &document, 0, Some(false), here.stale),
    })
}

/// Compares a quote with a text, off the async threads: a long text needs a while.
async fn compare(quote: &str, text: String) -> Result<(Match, Option<String>)> {
    let quote = quote.to_owned();
    Ok(tokio::task::spawn_blocking(move || {
        let found = find(&quote, &text);
        let there = found.range.filter(|_| found.verdict != Verdict::Absent);
        let words = there.map(|(start, end)| text.chars().skip(start).take(end - start).collect());
        (found, words)
    })
    .await?)
}

/// Converts the match in a part of a document that begins at `offset`.
fn verified(
    (found, text): (Match, Option<String>),
    document: &Document,
    offset: i64,
    within: Option<bool>,
    stale: bool,
) -> Verified {
    let there = found.verdict != Verdict::Absent;
    let place = |at: usize| offset + i64::try_from(at).unwrap_or(i64::MAX);
    let citation = found.range.filter(|_| there).map(|(start, end)| Citation {
        dataset_id: document.dataset_id.clone(),
        document_id: document.id.clone(),
        version: document.version,
        chunk_id: None,
        start: place(start),
        end: place(end),
    });
    Verified {
        within: within.map(|w| w && there),
        found,
        text,
        citation,
        stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_written_and_read() {
        for text in ["kb://d/01ABC@3#c-1:10-20", "kb://projects~t/01ABC@1#0-5"] {
            assert_eq!(text.parse::<Citation>().expect("valid").to_string(), text);
        }
        for wrong in [
            "",
            "kb://d/x",
            "kb://d/x@1#5-5",
            "kb://d/x@one#1-2",
            "kb:///x@1#1-2",
            "http://d/x@1#1-2",
            "kb://d/x@1#-1-2",
        ] {
            assert_eq!(
                wrong.parse::<Citation>().expect_err("invalid").code(),
                "citation_invalid",
                "{wrong}"
            );
        }
    }

    const TEXT: &str = "Über dem Hafen.\nThe lighthouse was lit, for the first time, in 1858; it stands forty-six metres tall. Keepers lived beside it.";

    #[test]
    fn quotes_are_found_exactly_nearly_or_not() {
        let at = |range: Option<(usize, usize)>| {
            range.map(|(start, end)| {
                TEXT.chars()
                    .skip(start)
                    .take(end - start)
                    .collect::<String>()
            })
        };
        let exact = find("the LIGHTHOUSE was lit for the first time in 1858", TEXT);
        assert_eq!(
            (exact.verdict, at(exact.range).as_deref()),
            (
                Verdict::Exact,
                Some("The lighthouse was lit, for the first time, in 1858")
            )
        );
        let near = find(
            "The lighthouse was lit for the very first time in 1859, it stands forty six metres tall",
            TEXT,
        );
        assert_eq!(near.verdict, Verdict::Near, "{near:?}");
        assert!(
            (near.similarity - (1.0 - 2.0 / 17.0)).abs() < 1e-9,
            "{near:?}"
        );
        assert!(
            at(near.range).is_some_and(|t| t.starts_with("The lighthouse") && t.ends_with("tall")),
            "{near:?}"
        );
        assert_eq!(
            find("Cormorants dry their wings in the wind", TEXT).verdict,
            Verdict::Absent
        );
        assert_eq!(
            find("…", TEXT),
            Match {
                verdict: Verdict::Absent,
                similarity: 0.0,
                range: None
            }
        );
    }

    #[test]
    fn a_quote_is_found_in_a_long_text() {
        let text = format!(
            "{} {TEXT} {}",
            "filler words go on ".repeat(50_000),
            "and on ".repeat(50_000)
        );
        let near = find(
            "The lighthouse was lit for the first time in 1859, it stands forty six metres tall",
            &text,
        );
        assert_eq!(near.verdict, Verdict::Near, "{near:?}");
    }
}
