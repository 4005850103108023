//! Splits long ranges window by window. The splitter scans the whole remaining text for every chunk, which takes quadratic time; in windows with a bounded
//! number of tokens the time is linear.

use std::ops::Range;

use text_splitter::{ChunkConfig, TextSplitter};

use super::{Sizer, spans};

/// Chunks per window: enough for the window edges to have little effect.
const CHUNKS: usize = 24;
/// Maximum bytes of a window per token of a chunk, for text with few tokens: white space has none.
const BYTES: usize = 16 * CHUNKS;
/// Minimum size of a window in bytes.
const LEAST: usize = 64 << 10;

/// Returns the maximum end of a window from `at`, at a character boundary.
fn end(text: &str, at: usize, range: &Range<usize>, size: usize, sizer: &Sizer<'_>) -> usize {
    let first = sizer.starts.partition_point(|start| *start < at);
    let by_tokens = sizer.starts.get(first + size.saturating_mul(CHUNKS));
    let by_bytes = at.saturating_add(size.saturating_mul(BYTES).max(LEAST));
    let end = by_tokens.copied().unwrap_or(range.end).min(by_bytes);
    if end >= range.end {
        return range.end;
    }
    let end = text.floor_char_boundary(end);
    if end > at {
        end
    } else {
        // Ensures progress even if a single token or character exceeds a window.
        text.ceil_char_boundary(at + 1).min(range.end)
    }
}

/// Splits a range at paragraphs, sentences, words. A window starts with the last chunk of the preceding one, since that chunk may have been truncated by the
/// window.
pub(super) fn naive(
    text: &str,
    range: Range<usize>,
    size: usize,
    sizer: &Sizer<'_>,
) -> Vec<(usize, usize)> {
    let splitter = TextSplitter::new(ChunkConfig::new(size).with_sizer(sizer));
    let (mut all, mut at) = (Vec::new(), range.start);
    while at < range.end {
        let end = end(text, at, &range, size, sizer);
        let mut cut = spans(splitter.chunk_indices(&text[at..end]), at);
        let last = cut.last().map_or(at, |last| last.0);
        if end == range.end || cut.len() < 2 || last == at {
            at = end;
        } else {
            cut.pop();
            at = last;
        }
        all.extend(cut);
    }
    all
}

/// Splits a range with a structure-aware splitter. `boundaries` are ascending offsets at which the range can be divided without changing the splitter's result;
/// a part without any for a whole window is split as plain text.
pub(super) fn structured(
    text: &str,
    range: Range<usize>,
    size: usize,
    sizer: &Sizer<'_>,
    boundaries: &[usize],
    mut split: impl FnMut(Range<usize>) -> Vec<(usize, usize)>,
) -> Vec<(usize, usize)> {
    let (mut all, mut at) = (Vec::new(), range.start);
    while at < range.end {
        let limit = end(text, at, &range, size, sizer);
        if limit == range.end {
            all.extend(split(at..limit));
            break;
        }
        let next = boundaries.partition_point(|boundary| *boundary <= limit);
        let before = next.checked_sub(1).map(|index| boundaries[index]);
        let Some(end) = before.filter(|boundary| *boundary > at) else {
            let end = boundaries
                .get(next)
                .map_or(range.end, |b| (*b).min(range.end));
            all.extend(naive(text, at..end, size, sizer));
            at = end;
            continue;
        };
        let mut cut = split(at..end);
        let last = cut.last().map_or(at, |last| last.0);
        if cut.len() > 1 && last > at && boundaries.binary_search(&last).is_ok() {
            cut.pop();
            at = last;
        } else {
            at = end;
        }
        all.extend(cut);
    }
    all
}

/// Returns the offsets in a range of Markdown at which a top-level block starts: after a blank line or with a heading, without indentation, and outside fences.
pub(super) fn blocks(text: &str, range: Range<usize>) -> Vec<usize> {
    let (mut found, mut at, mut blank) = (Vec::new(), range.start, false);
    let mut fence: Option<&str> = None;
    for line in text[range].split_inclusive('\n') {
        let start = at;
        at += line.len();
        let content = line.trim_end();
        let marks = fence_marks(content);
        match (fence, marks) {
            (Some(open), Some(marks)) => {
                let rest = &content.trim_start()[marks.len()..];
                if marks.starts_with(open) && rest.is_empty() {
                    fence = None;
                }
            }
            (Some(_), None) => {}
            (None, marks) => {
                let begins = !content.is_empty() && !content.starts_with([' ', '\t']);
                if begins && (blank || content.starts_with('#')) {
                    found.push(start);
                }
                fence = marks;
            }
        }
        blank = content.is_empty();
    }
    found
}

/// Returns the backticks or tildes with which a line opens or closes a fence.
fn fence_marks(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    (length >= 3).then(|| &line[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_after_blank_lines_and_with_headings_but_not_in_fences() {
        let text = "one\n\ntwo\n# Head\nthree\n\n  indented\n\n```rust\n\nfn f() {}\n# no\n```\n\n- item\n\n- item\n";
        let found: Vec<&str> = blocks(text, 0..text.len())
            .into_iter()
            .map(|at| text[at..].lines().next().unwrap_or_default())
            .collect();
        assert_eq!(found, ["two", "# Head", "```rust", "- item", "- item"]);
        assert_eq!(blocks("````\n```\n\nx\n````\n\ny\n", 0..20), [18]);
    }
}
