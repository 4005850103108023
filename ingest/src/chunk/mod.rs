//! Cuts normalised text into chunks that are spans over it: `text[start..end]` is the chunk.
//!
//! Sizes are tokens of the embedding model. The document is tokenised once by the caller; here a size is the number of token starts
//! inside a range, found by binary search, so that the splitter may ask as often as it likes.

mod overlap;

use serde::{Deserialize, Serialize};
use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use crate::document::Document;

/// How the text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Strategy {
    /// Paragraphs, then sentences, then words.
    Naive,
    /// Markdown structure first: sections, blocks, then sentences.
    Markdown,
    /// At an explicit delimiter; pieces that are too long are cut further as with `Naive`.
    Manual,
}

/// Settings of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkOptions {
    /// How.
    pub strategy: Strategy,
    /// Most tokens of a chunk.
    pub size: usize,
    /// Tokens repeated from the end of the chunk before; less than `size`.
    pub overlap: usize,
    /// Where `Manual` cuts.
    pub delimiter: String,
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Byte offset in the normalised text.
    pub start: usize,
    /// Byte offset after the chunk.
    pub end: usize,
    /// Tokens in the range.
    pub tokens: usize,
    /// Headings that enclose the chunk, outermost first.
    pub heading_path: Vec<String>,
    /// Page of the chunk; what it repeats from the chunk before may stand on the page before.
    pub page: Option<u32>,
}

/// Cuts a document. `token_starts` are the byte offsets of the tokens of `document.text`, ascending.
///
/// Every character that is not white space is in some chunk, except the delimiters of `Manual`. No chunk exceeds `size`.
#[must_use]
pub fn chunk(document: &Document, token_starts: &[usize], options: &ChunkOptions) -> Vec<Chunk> {
    let text = document.text.as_str();
    let sizer = Sizer {
        base: text.as_ptr() as usize,
        starts: token_starts,
    };
    let body = options.size.saturating_sub(options.overlap).max(1);
    let spans = match options.strategy {
        // A chunk has one page, so that a citation leads to it.
        Strategy::Naive | Strategy::Markdown if !document.pages.is_empty() => document
            .pages
            .iter()
            .flat_map(|page| naive(text, page.start..page.end, body, &sizer))
            .collect(),
        Strategy::Naive => naive(text, 0..text.len(), body, &sizer),
        Strategy::Markdown => {
            let config = ChunkConfig::new(body).with_sizer(&sizer);
            merge_headings(
                document,
                spans(MarkdownSplitter::new(config).chunk_indices(text)),
                body,
                &sizer,
            )
        }
        Strategy::Manual => pieces(text, &options.delimiter)
            .flat_map(|range| naive(text, range, body, &sizer))
            .collect(),
    };
    let mut chunks: Vec<Chunk> = Vec::with_capacity(spans.len());
    for (start, end) in spans {
        if text[start..end].trim().is_empty() {
            continue;
        }
        let heading_path = document.heading_path(content_start(document, start, end));
        let floor = chunks
            .last()
            .filter(|before| before.heading_path == heading_path)
            .map(|before| before.start);
        let from = match floor {
            Some(floor) if options.strategy != Strategy::Manual => {
                overlap::start(text, token_starts, floor, start, options.overlap)
            }
            _ => start,
        };
        chunks.push(Chunk {
            start: from,
            end,
            tokens: sizer.count(from, end),
            page: document.page(start),
            heading_path,
        });
    }
    chunks
}

/// Counts token starts inside the ranges of one text.
struct Sizer<'a> {
    base: usize,
    starts: &'a [usize],
}

impl Sizer<'_> {
    fn count(&self, start: usize, end: usize) -> usize {
        self.starts.partition_point(|s| *s < end) - self.starts.partition_point(|s| *s < start)
    }
}

impl ChunkSizer for &Sizer<'_> {
    /// The splitter hands out slices of the one text, so the position of a slice is the distance of the pointers.
    fn size(&self, chunk: &str) -> usize {
        let start = (chunk.as_ptr() as usize).saturating_sub(self.base);
        self.count(start, start + chunk.len())
    }
}

fn spans<'t>(indices: impl Iterator<Item = (usize, &'t str)>) -> Vec<(usize, usize)> {
    indices.map(|(at, piece)| (at, at + piece.len())).collect()
}

fn naive(
    text: &str,
    range: std::ops::Range<usize>,
    size: usize,
    sizer: &Sizer<'_>,
) -> Vec<(usize, usize)> {
    let splitter = TextSplitter::new(ChunkConfig::new(size).with_sizer(sizer));
    let base = range.start;
    spans(splitter.chunk_indices(&text[range]))
        .into_iter()
        .map(|(start, end)| (start + base, end + base))
        .collect()
}

fn pieces<'t>(
    text: &'t str,
    delimiter: &'t str,
) -> impl Iterator<Item = std::ops::Range<usize>> + 't {
    let mut at = 0;
    let parts: Box<dyn Iterator<Item = &str>> = if delimiter.is_empty() {
        Box::new(std::iter::once(text))
    } else {
        Box::new(text.split(delimiter))
    };
    parts.map(move |part| {
        let range = at..at + part.len();
        at = range.end + delimiter.len();
        range
    })
}

/// A chunk that holds nothing but headings goes to the chunk after it, where both fit together.
fn merge_headings(
    document: &Document,
    spans: Vec<(usize, usize)>,
    size: usize,
    sizer: &Sizer<'_>,
) -> Vec<(usize, usize)> {
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(spans.len());
    for (start, end) in spans {
        match merged.last_mut() {
            Some(last)
                if content_start(document, last.0, last.1) >= last.1
                    && sizer.count(last.0, end) <= size =>
            {
                last.1 = end
            }
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Where the text after the leading headings of a range begins; `end` when there is none.
fn content_start(document: &Document, start: usize, end: usize) -> usize {
    let skip =
        |at: usize| at + document.text[at..end].len() - document.text[at..end].trim_start().len();
    let mut at = skip(start);
    let first = document.headings.partition_point(|h| h.end <= start);
    for heading in &document.headings[first..] {
        if heading.start > at || at >= end {
            break;
        }
        at = skip(heading.end.clamp(at, end));
    }
    if at >= end && first < document.headings.len() {
        // Nothing but headings: the last of them is what the range is about.
        let last = document.headings.partition_point(|h| h.start < end);
        return document.headings[..last]
            .last()
            .map_or(end, |h| h.start.max(start))
            .max(end);
    }
    at
}

/// The text that is embedded and indexed for keywords: title and headings before the chunk, each once.
#[must_use]
pub fn context(title: &str, heading_path: &[String]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in std::iter::once(title).chain(heading_path.iter().map(String::as_str)) {
        let part = part.trim();
        if !part.is_empty() && parts.last() != Some(&part) {
            parts.push(part);
        }
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests;
