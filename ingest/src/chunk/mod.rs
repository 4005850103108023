//! Splits normalised text into chunks, which are ranges of it: `text[start..end]` is the chunk.
//!
//! Sizes are tokens of the embedding model. The document is tokenised once by the caller; the size of a range is its number of token starts, found by binary
//! search, so that size queries of the splitter are cheap.

mod overlap;
mod windows;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use text_splitter::{ChunkConfig, ChunkSizer, CodeSplitter, MarkdownSplitter};

use crate::document::{Document, Outline, Page, Table};
use crate::input::ParseError;
use windows::naive;

/// Strategy for splitting the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Strategy {
    /// Paragraphs, then sentences, then words.
    Naive,
    /// Markdown structure first: sections, blocks, then sentences.
    Markdown,
    /// At an explicit delimiter; pieces that are too long are split further as with `Naive`.
    Manual,
}

/// Options of chunking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkOptions {
    pub strategy: Strategy,
    /// Maximum tokens of a chunk.
    pub size: usize,
    /// Tokens repeated from the end of the preceding chunk; less than `size`.
    pub overlap: usize,
    /// Delimiter of `Manual`.
    pub delimiter: String,
    /// Maximum chunks of a document.
    pub most: usize,
}

/// A chunk of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Byte offset in the normalised text.
    pub start: usize,
    /// Byte offset of the end, exclusive.
    pub end: usize,
    /// Number of tokens in the range and in the repeated table header.
    pub tokens: usize,
    /// Enclosing headings or symbols, outermost first.
    pub heading_path: Vec<String>,
    /// Page of the chunk; text repeated from the preceding chunk may be on the preceding page.
    pub page: Option<Page>,
    /// Rows of a table, if the chunk contains any.
    pub table: Option<TableRows>,
    /// First and last line of the chunk in source code, from 1.
    pub lines: Option<(u32, u32)>,
}

/// Rows of a table in a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// Position of the table in the document, from 1.
    pub table: u32,
    /// First row of the chunk below the header, from 1.
    pub first: u32,
    /// Last row of the chunk, inclusive.
    pub last: u32,
    /// Range of the header in the text, when it precedes the chunk and is repeated for it.
    pub header: Option<Range<usize>>,
}

/// Splits a document. `token_starts` are the byte offsets of the tokens of `document.text`, ascending.
///
/// Every character that is not white space is in some chunk, except the delimiters of `Manual`. No chunk exceeds `size`, including the
/// repeated table header; headers longer than half of that are not repeated. A text, page or section that fits is one chunk, and no chunk is contained in the
/// next one. Takes time linear in the length of the text.
///
/// # Errors
/// `too_many_chunks`.
pub fn chunk(
    document: &Document,
    token_starts: &[usize],
    options: &ChunkOptions,
) -> Result<Vec<Chunk>, ParseError> {
    let text = document.text.as_str();
    let sizer = Sizer {
        base: text.as_ptr() as usize,
        starts: token_starts,
    };
    let whole = 0..text.len();
    let spans = match options.strategy {
        Strategy::Manual => manual(text, &sizer, options)?,
        // A chunk is on one page, so that it can be cited by page.
        Strategy::Naive | Strategy::Markdown if !document.pages.is_empty() => document
            .pages
            .iter()
            .flat_map(|page| structured(document, page.start..page.end, options, &sizer))
            .collect(),
        Strategy::Markdown if document.code.is_some() => symbols(document, options.size, &sizer),
        Strategy::Naive | Strategy::Markdown => structured(document, whole, options, &sizer),
    };
    if spans.len() > options.most {
        return Err(too_many(options.most));
    }
    let outline = Outline::new(document);
    let mut lines = Lines::default();
    let mut chunks: Vec<Chunk> = Vec::with_capacity(spans.len());
    for (start, end) in spans {
        if text[start..end].trim().is_empty() {
            continue;
        }
        let heading_path = outline.path(content_start(document, start, end));
        let table = table_rows(document, start, end, options.size, &sizer);
        // The overlap never repeats all of the preceding chunk.
        let floor = chunks
            .last()
            .filter(|before| before.heading_path == heading_path && before.table.is_none())
            .map(|before| text.ceil_char_boundary(before.start + 1));
        let from = match floor {
            // No overlap for rows and code: the header and the symbol provide the context.
            Some(floor)
                if options.strategy != Strategy::Manual
                    && table.is_none()
                    && document.code.is_none() =>
            {
                let left = options.size.saturating_sub(sizer.count(start, end));
                overlap::start(text, token_starts, floor, start, options.overlap.min(left))
            }
            _ => start,
        };
        let header = table.as_ref().and_then(|t| t.header.clone());
        chunks.push(Chunk {
            start: from,
            end,
            tokens: sizer.count(from, end) + header.map_or(0, |h| sizer.count(h.start, h.end)),
            page: document.page(start).cloned(),
            lines: document.code.is_some().then(|| {
                let first = lines.at(text, from);
                (first, first + breaks(text[from..end].trim_end()))
            }),
            table,
            heading_path,
        });
    }
    Ok(chunks)
}

fn too_many(most: usize) -> ParseError {
    ParseError::new(
        "too_many_chunks",
        format!(
            "the file would have more than {most} chunks; use a larger chunk size or split the file"
        ),
    )
}

/// Splits at the delimiter, and pieces that are too long further.
fn manual(
    text: &str,
    sizer: &Sizer<'_>,
    options: &ChunkOptions,
) -> Result<Vec<(usize, usize)>, ParseError> {
    let mut spans = Vec::new();
    for range in pieces(text, &options.delimiter) {
        if !text[range.clone()].trim().is_empty() {
            spans.extend(naive(text, range, options.size, sizer));
        }
        if spans.len() > options.most {
            return Err(too_many(options.most));
        }
    }
    Ok(spans)
}

/// Counts lines at ascending offsets, reading each part of the text once.
#[derive(Default)]
struct Lines {
    offset: usize,
    line: u32,
}

impl Lines {
    fn at(&mut self, text: &str, offset: usize) -> u32 {
        if offset < self.offset {
            *self = Self::default();
        }
        self.line += breaks(&text[self.offset..offset]);
        self.offset = offset;
        self.line + 1
    }
}

fn breaks(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX)
}

/// Splits a range by its structure: tables that do not fit are split between rows, everything else according to the strategy, into pieces that leave room
/// for an overlap.
fn structured(
    document: &Document,
    range: Range<usize>,
    options: &ChunkOptions,
    sizer: &Sizer<'_>,
) -> Vec<(usize, usize)> {
    let text = document.text.as_str();
    let size = options.size;
    let body = size.saturating_sub(options.overlap).max(1);
    let fits = |range: &Range<usize>| sizer.count(range.start, range.end) <= size;
    if fits(&range) {
        return whole(text, range);
    }
    let flow = |range: Range<usize>| {
        if fits(&range) {
            return whole(text, range);
        }
        let cut = match options.strategy {
            Strategy::Markdown => {
                let splitter = MarkdownSplitter::new(ChunkConfig::new(body).with_sizer(sizer));
                let boundaries = windows::blocks(text, range.clone());
                let cut = windows::structured(text, range, body, sizer, &boundaries, |part| {
                    let base = part.start;
                    spans(splitter.chunk_indices(&text[part]), base)
                });
                merge_headings(document, cut, size, sizer)
            }
            Strategy::Naive | Strategy::Manual => naive(text, range, body, sizer),
        };
        merge_short(document, cut, options, sizer)
    };
    let first = document.tables.partition_point(|t| t.start < range.start);
    let mut cuts = Vec::new();
    let mut at = range.start;
    for table in &document.tables[first..] {
        if table.start >= range.end {
            break;
        }
        if sizer.count(table.start, table.end) <= body || table.rows.is_empty() {
            continue;
        }
        let before = at..table.start;
        // A short caption or heading stays with its table.
        let lead = sizer.count(before.start, before.end) <= size / 4;
        if !lead {
            cuts.extend(flow(before));
        }
        rows(
            document,
            table,
            if lead { at } else { table.start },
            size,
            sizer,
            &mut cuts,
        );
        at = table.end;
    }
    // The line break after a table may be outside its page.
    if at < range.end {
        cuts.extend(flow(at..range.end));
    }
    cuts
}

/// Returns a range without surrounding white space, if anything is left of it.
fn whole(text: &str, range: Range<usize>) -> Vec<(usize, usize)> {
    let shown = text[range.clone()].trim_start();
    let start = range.end - shown.len();
    let length = shown.trim_end().len();
    if length == 0 {
        return Vec::new();
    }
    vec![(start, start + length)]
}

/// Groups rows into chunks; the first one contains the header and the text before it. A row that does not fit is split as text.
fn rows(
    document: &Document,
    table: &Table,
    start: usize,
    size: usize,
    sizer: &Sizer<'_>,
    into: &mut Vec<(usize, usize)>,
) {
    let header = sizer.count(table.start, table.body);
    let repeated = if header <= size / 2 { header } else { 0 };
    let mut group = (start, table.body);
    for (row_start, row_end) in &table.rows {
        // The first group contains the header itself.
        let room = if group.0 < table.body {
            size
        } else {
            size - repeated
        };
        if sizer.count(group.0, *row_end) <= room {
            group.1 = *row_end;
            continue;
        }
        if group.0 < group.1 {
            into.push(group);
        }
        group = (*row_start, *row_end);
        if sizer.count(*row_start, *row_end) > size - repeated {
            into.extend(naive(
                &document.text,
                *row_start..*row_end,
                size - repeated,
                sizer,
            ));
            group = (*row_end, *row_end);
        }
    }
    if group.0 < group.1 {
        into.push(group);
    }
}

/// Returns the table rows in a range.
fn table_rows(
    document: &Document,
    start: usize,
    end: usize,
    size: usize,
    sizer: &Sizer<'_>,
) -> Option<TableRows> {
    let index = document.tables.partition_point(|t| t.end <= start);
    let table = document.tables.get(index).filter(|t| t.body < end)?;
    let first = table.rows.partition_point(|(_, row_end)| *row_end <= start);
    let last = table
        .rows
        .partition_point(|(row_start, _)| *row_start < end);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let repeat = start >= table.body && sizer.count(table.start, table.body) <= size / 2;
    (first < last).then(|| TableRows {
        table: number(index + 1),
        first: number(first + 1),
        last: number(last),
        header: repeat.then_some(table.start..table.body),
    })
}

/// Splits source code by its syntax tree; without a grammar, at blank lines.
fn symbols(document: &Document, size: usize, sizer: &Sizer<'_>) -> Vec<(usize, usize)> {
    let text = document.text.as_str();
    let config = ChunkConfig::new(size).with_sizer(sizer).with_trim(false);
    let language = document.code.as_deref().and_then(crate::parse::language);
    let splitter = language.and_then(|language| CodeSplitter::new(language, config).ok());
    match splitter {
        Some(splitter) => {
            let boundaries: Vec<usize> = document.symbols.iter().map(|s| s.start).collect();
            let mut cut =
                windows::structured(text, 0..text.len(), size, sizer, &boundaries, |part| {
                    let base = part.start;
                    spans(splitter.chunk_indices(&text[part]), base)
                });
            keep_beginnings(document, &mut cut, size, sizer);
            cut
        }
        None => naive(text, 0..text.len(), size, sizer),
    }
}

/// Moves the beginning of a symbol at the end of a chunk, such as its comment, to the next chunk, where the rest of it is, if that fits.
fn keep_beginnings(
    document: &Document,
    spans: &mut [(usize, usize)],
    size: usize,
    sizer: &Sizer<'_>,
) {
    for index in 1..spans.len() {
        let ((start, end), (next, next_end)) = (spans[index - 1], spans[index]);
        if next != end {
            continue;
        }
        let inside = document.symbols.partition_point(|s| s.start <= start)
            ..document.symbols.partition_point(|s| s.start < end);
        let moved = document.symbols[inside]
            .iter()
            .find(|s| s.end > end && sizer.count(s.start, next_end) <= size);
        if let Some(symbol) = moved {
            spans[index - 1].1 = symbol.start;
            spans[index].0 = symbol.start;
        }
    }
}

/// Counts token starts in ranges of one text.
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
    /// The splitter passes slices of the one text, so the offset of a slice is the distance of the pointers.
    fn size(&self, chunk: &str) -> usize {
        let start = (chunk.as_ptr() as usize).saturating_sub(self.base);
        self.count(start, start + chunk.len())
    }
}

/// Returns the pieces of a text that starts at `base`, as ranges.
fn spans<'t>(indices: impl Iterator<Item = (usize, &'t str)>, base: usize) -> Vec<(usize, usize)> {
    indices
        .map(|(at, piece)| (base + at, base + at + piece.len()))
        .collect()
}

fn pieces<'t>(text: &'t str, delimiter: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
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

/// Merges a chunk that consists of headings only into the next chunk, if both fit together.
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

/// Merges the pieces of a section that fits as a whole, and pieces not longer than the overlap with the next one or, at the end of a section, the preceding
/// one: the overlap would repeat all of them.
fn merge_short(
    document: &Document,
    spans: Vec<(usize, usize)>,
    options: &ChunkOptions,
    sizer: &Sizer<'_>,
) -> Vec<(usize, usize)> {
    let fits = |start, end| sizer.count(start, end) <= options.size;
    let short = |(start, end): (usize, usize)| sizer.count(start, end) <= options.overlap;
    let section = |(start, end): &(usize, usize)| {
        let content = content_start(document, *start, *end);
        document.headings.partition_point(|h| h.start <= content)
    };
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(spans.len());
    for pieces in spans.chunk_by(|a, b| section(a) == section(b)) {
        let (start, end) = (pieces[0].0, pieces[pieces.len() - 1].1);
        if fits(start, end) {
            merged.push((start, end));
            continue;
        }
        let first = merged.len();
        for (index, piece) in pieces.iter().enumerate() {
            let last = index + 1 == pieces.len();
            match merged[first..].last_mut() {
                Some(before)
                    if (short(*before) || (last && short(*piece))) && fits(before.0, piece.1) =>
                {
                    before.1 = piece.1;
                }
                _ => merged.push(*piece),
            }
        }
    }
    merged
}

/// Returns the start of the text after the leading headings of a range; `end` when there is none.
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
        // Only headings: the last of them determines the path.
        let last = document.headings.partition_point(|h| h.start < end);
        return document.headings[..last]
            .last()
            .map_or(end, |h| h.start.max(start))
            .max(end);
    }
    at
}

/// Returns the text that precedes the chunk for embedding and keyword indexing: title and headings, each once.
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
