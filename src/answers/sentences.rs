//! Incremental sentence splitting of a streamed answer, and the markers that cite passages: `[1]`, `[1, 3]`, `[1][3]`.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation;

static MARKER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[\[【]\s*(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\s*[\]】]"));
/// Markers at the start of a text, possibly incomplete, with surrounding space and punctuation.
static LEADING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:\s|[\[【][\d\s,;]*[\]】]?|[.,;:!?)])+"));

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and tests use them"
)]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// A complete sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Start in the answer, in characters.
    pub start: usize,
    /// End, exclusive.
    pub end: usize,
    /// The sentence without markers.
    pub words: String,
    /// Cited numbers, each once.
    pub markers: Vec<usize>,
}

/// Returns the byte ranges of a text's sentences without surrounding space (UAX #29; a line break also ends a sentence).
fn split(text: &str) -> Vec<Range<usize>> {
    text.split_sentence_bound_indices()
        .filter_map(|(start, part)| {
            let body = part.trim();
            let at = start + part.len() - part.trim_start().len();
            (!body.is_empty()).then(|| at..at + body.len())
        })
        .collect()
}

/// Characters of a line from which its end is taken for the place where a text was wrapped, not for the end of a statement.
const WRAPPED: usize = 45;
/// The beginning of a line that starts a block of its own: heading, list item, quotation, row of a table, fence.
static BLOCK: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*(?:[#>|*+•`-]|\d{1,3}[.)])"));

/// The beginning of a line with a name and a value, as in data and logs.
static FIELD: LazyLock<Regex> = LazyLock::new(|| pattern(r#"^\s*"?[\w.-]{1,40}"?\s*[:=]"#));

/// Returns the byte ranges of the sentences of a document's text. Lines that were wrapped at a margin are one text.
pub(super) fn of_document(text: &str) -> Vec<Range<usize>> {
    let mut joined = text.as_bytes().to_vec();
    let mut start = 0;
    for (end, _) in text.match_indices('\n') {
        let (line, next) = (&text[start..end], &text[end + 1..]);
        start = end + 1;
        let next = next.split('\n').next().unwrap_or_default();
        let is_wrapped = line.chars().count() >= WRAPPED
            && !next.trim().is_empty()
            && !BLOCK.is_match(next)
            && !FIELD.is_match(next)
            && !FIELD.is_match(line)
            && !line.trim_start().starts_with(['#', '|'])
            && !line.trim_end().ends_with([';', '{', '}']);
        if is_wrapped {
            joined[end] = b' ';
        }
    }
    // A line feed is one byte, as a space is.
    String::from_utf8(joined).map_or_else(|_| split(text), |joined| split(&joined))
}

/// Splits an answer into sentences while it is streamed.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    text: String,
    /// Bytes up to the end of the last complete sentence.
    done: usize,
    /// The same position in characters.
    done_chars: usize,
}

impl Tracker {
    /// Returns the text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Appends text and returns the sentences that it completes. A sentence is complete when the next one has begun: until then markers may follow it.
    pub(super) fn push(&mut self, more: &str) -> Vec<Found> {
        self.text.push_str(more);
        self.complete(false)
    }

    /// Ends the text and returns the remaining sentences.
    pub(super) fn finish(&mut self) -> Vec<Found> {
        self.complete(true)
    }

    fn complete(&mut self, ends: bool) -> Vec<Found> {
        let open = &self.text[self.done..];
        let mut parts: Vec<Range<usize>> = Vec::new();
        for part in split(open) {
            let leading = LEADING.find(&open[part.clone()]).map_or(0, |m| m.len());
            match parts.last_mut() {
                // Markers after a full stop belong to the preceding sentence.
                Some(last) if leading > 0 => {
                    last.end = part.start + leading;
                    if part.start + leading < part.end {
                        parts.push(part.start + leading..part.end);
                    }
                }
                _ => parts.push(part),
            }
        }
        let count = if ends {
            parts.len()
        } else {
            parts.len().saturating_sub(1)
        };
        let mut found = Vec::with_capacity(count);
        let (mut at, mut chars) = (0, self.done_chars);
        for part in &parts[..count] {
            let text = &open[part.clone()];
            chars += open[at..part.start].chars().count();
            let trimmed = text.trim_end();
            let length = trimmed.chars().count();
            let mut markers = Vec::new();
            for marker in MARKER.captures_iter(trimmed) {
                for number in marker[1].split([',', ';']) {
                    if let Ok(number) = number.trim().parse()
                        && !markers.contains(&number)
                    {
                        markers.push(number);
                    }
                }
            }
            let words = MARKER.replace_all(trimmed, "").into_owned();
            // A line of dashes or a lone bullet is not a sentence.
            if words.chars().any(char::is_alphanumeric) || !markers.is_empty() {
                found.push(Found {
                    start: chars,
                    end: chars + length,
                    words,
                    markers,
                });
            }
            chars += text.chars().count();
            at = part.end;
        }
        self.done += at;
        self.done_chars = chars;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a text that arrives in pieces of `size` bytes.
    fn follow(text: &str, size: usize) -> Vec<Found> {
        let mut tracker = Tracker::default();
        let mut found = Vec::new();
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(size) {
            found.extend(tracker.push(&piece.iter().collect::<String>()));
        }
        found.extend(tracker.finish());
        assert_eq!(tracker.text(), text);
        found
    }

    #[test]
    fn markers_belong_to_their_sentence_however_the_text_comes() {
        let text = "Der Turm ist 46 m hoch [1]. It was lit in 1858. [2][3] Nobody knows more.\n- A point [1, 4]\n\nLast, é. 【2】";
        let whole = follow(text, text.len());
        for size in [1, 2, 3, 7] {
            assert_eq!(follow(text, size), whole, "pieces of {size}");
        }
        let markers: Vec<&[usize]> = whole.iter().map(|f| f.markers.as_slice()).collect();
        assert_eq!(markers, [&[1][..], &[2, 3], &[], &[1, 4], &[2]]);
        let letters: Vec<char> = text.chars().collect();
        let second: String = letters[whole[1].start..whole[1].end].iter().collect();
        assert_eq!(second, "It was lit in 1858. [2][3]");
        assert_eq!(whole[1].words.trim(), "It was lit in 1858.");
        let last: String = letters[whole[4].start..whole[4].end].iter().collect();
        assert_eq!(last, "Last, é. 【2】");
    }

    #[test]
    fn a_wrapped_line_is_no_end_of_a_sentence() {
        let text = "A chunk that exceeds the limit of the embedding model is\nmarked as truncated in its listing. It is\nkept.\n- A point that is long enough to be wrapped by an editor\n- Another\n\nOpening hours\nMonday";
        let found: Vec<&str> = of_document(text).into_iter().map(|r| &text[r]).collect();
        let expected = [
            "A chunk that exceeds the limit of the embedding model is\nmarked as truncated in its listing.",
            "It is",
            "kept.",
            "- A point that is long enough to be wrapped by an editor",
            "- Another",
            "Opening hours",
            "Monday",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_of_data_are_not_joined() {
        let text = "harbour: the old harbour in the north of the island of Anholt\nferry: at noon and at six in the evening, but not on Mondays";
        assert_eq!(of_document(text).len(), 2);
    }

    #[test]
    fn brackets_of_other_kinds_are_text() {
        let found = follow("See [the list] and a[0] of 2024.", 4);
        assert_eq!((found.len(), found[0].markers.as_slice()), (1, &[0][..]));
        assert_eq!(follow("", 1), []);
    }
}
