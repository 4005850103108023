//! Converts a parsed and split document to the rows of its chunks: context, hashes, offsets, and manual edits. Pure computation.

use std::collections::{HashMap, HashSet};

use cairn_ingest::Strategy;
use cairn_models::Embedder;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kb::edits::{self, Edit};
use crate::kb::parser::{Context, Cut, Pieces};
use crate::kb::{Chunk, Dataset, Document, embeddings};

/// A document ready to be stored.
#[derive(Debug)]
pub struct Prepared {
    /// Title found in the file.
    pub title: Option<String>,
    /// Address found in the file.
    pub url: Option<String>,
    /// Publication time found in the file.
    pub published_at: Option<String>,
    /// Engine that parsed it.
    pub engine: String,
    /// Notes on omitted and guessed content.
    pub warnings: Vec<String>,
    /// Number of the last page with text; `None` for formats without pages.
    pub pages: Option<i64>,
    /// Chunks in order.
    pub chunks: Vec<Chunk>,
    /// Id of each edit, and whether its text is gone.
    pub edits: Vec<(String, bool)>,
    /// Applied edits, as they were read.
    pub made: Vec<Edit>,
}

/// Returns the chunking parameters of a document: its own settings or the dataset's.
#[must_use]
pub fn cut(embedder: &dyn Embedder, dataset: &Dataset, document: &Document, most: usize) -> Cut {
    let strategy = match document
        .parse_type
        .as_deref()
        .unwrap_or(&dataset.indexing.parse_type)
    {
        "NAIVE" => Strategy::Naive,
        "MANUAL" => Strategy::Manual,
        _ => Strategy::Markdown,
    };
    Cut {
        tokenizer: embedder.tokens().file().to_owned(),
        strategy,
        size: usize::try_from(document.chunk_size.unwrap_or(dataset.indexing.chunk_size))
            .unwrap_or(256),
        overlap: usize::try_from(
            document
                .chunk_overlap
                .unwrap_or(dataset.indexing.chunk_overlap),
        )
        .unwrap_or(0),
        delimiter: dataset.indexing.delimiter.clone(),
        title: document.title.clone(),
        file_name: document.file_name.clone(),
        most,
    }
}

/// Namespace of chunk ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6361_6972_6e2d_6368_756e_6b2d_6964_0001);

/// Creates the rows of a document's chunks; `read` is the parsed document without its text.
///
/// # Errors
/// When the tokenizer refuses the text of an edit.
pub fn prepare(
    embedder: &dyn Embedder,
    dataset: &Dataset,
    document: &Document,
    read: &cairn_ingest::Document,
    text: &str,
    pieces: &Pieces,
    edits: Vec<Edit>,
) -> Result<Prepared> {
    let special = embedder.tokens().special();
    let mut characters = Characters {
        text,
        byte: 0,
        character: 0,
    };
    // The same text in two generations has two chunks.
    let suffix = match dataset.generation {
        1 => String::new(),
        n => format!("~{n}"),
    };
    let paths = pieces
        .contexts
        .iter()
        .map(|context| serde_json::to_string(&context.path))
        .collect::<Result<Vec<_>, _>>()?;
    let by_anchor: HashMap<(&str, i64), &Edit> = edits
        .iter()
        .filter_map(|e| Some(((e.anchor_hash.as_deref()?, e.occurrence), e)))
        .collect();
    let mut occurrences: HashMap<String, u32> = HashMap::new();
    // An edit refers to a chunk with its overlap, or to one that had lost it because the chunk before is hidden or rewritten.
    let (mut anchors, mut own_anchors) = (Anchors::default(), Anchors::default());
    let mut found: HashSet<&str> = HashSet::new();
    let mut chunks: Vec<Chunk> = Vec::with_capacity(pieces.chunks.len());
    for (ordinal, piece) in (0_i64..).zip(&pieces.chunks) {
        let (Some(content), Some(context)) = (
            text.get(piece.start..piece.end),
            pieces.contexts.get(piece.context),
        ) else {
            return Err(Error::internal("a chunk is not a range of its document"));
        };
        let content = content.to_owned();
        let Context {
            text: before,
            tokens: context_tokens,
            ..
        } = context;
        let header = piece.table.as_ref().and_then(|t| t.header.clone());
        let header = header
            .and_then(|range| text.get(range))
            .map(|h| h.trim_end().to_owned());
        let context = match &header {
            Some(header) if before.is_empty() => header.clone(),
            Some(header) => format!("{before}\n\n{header}"),
            None => before.clone(),
        };
        let count = piece.tokens + context_tokens + special;
        let hash = embeddings::text_hash(&context, &content);
        let occurrence = occurrences
            .entry(hash.clone())
            .and_modify(|n| *n += 1)
            .or_insert(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that makes chunk ids"
        )]
        let id = Uuid::new_v5(
            &NAMESPACE,
            format!("{}{suffix}/{hash}/{occurrence}", document.id).as_bytes(),
        );
        let start_char = characters.at(piece.start);
        let row = |number: u32| i64::from(number);
        let page = piece.page.as_ref();
        let mut chunk = Chunk {
            id: id.to_string(),
            dataset_id: dataset.id.clone(),
            document_id: document.id.clone(),
            ordinal,
            start_byte: i64::try_from(piece.start).unwrap_or(i64::MAX),
            end_byte: i64::try_from(piece.end).unwrap_or(i64::MAX),
            start_char,
            end_char: start_char + i64::try_from(content.chars().count()).unwrap_or(i64::MAX),
            content,
            context,
            heading_path: paths[piece.context].clone(),
            page: page.map(|p| i64::from(p.number)),
            page_label: page.and_then(|p| p.label.clone()),
            table_number: piece.table.as_ref().map(|t| row(t.table)),
            first_row: piece.table.as_ref().map(|t| row(t.first)),
            last_row: piece.table.as_ref().map(|t| row(t.last)),
            table_header: header,
            first_line: piece.lines.map(|(first, _)| row(first)),
            last_line: piece.lines.map(|(_, last)| row(last)),
            tokens: i64::try_from(count).unwrap_or(i64::MAX),
            truncated: count > embedder.spec().max_tokens,
            text_hash: hash,
            enabled: true,
            origin: "parsed".to_owned(),
            set_id: dataset.live_set.clone(),
            edit_id: None,
        };
        if !by_anchor.is_empty() {
            let mut own = chunk.clone();
            if let Some(previous) = chunks.last() {
                edits::start_at(&mut own, previous.end_byte);
            }
            let of_whole = anchors.find(&by_anchor, &chunk.content);
            let of_own = own_anchors.find(&by_anchor, &own.content);
            if of_whole.is_none() && of_own.is_some() {
                embeddings::measure(embedder, &mut own)?;
                chunk = own;
            }
            if let Some(edit) = of_whole.or(of_own) {
                found.insert(&edit.id);
                chunk.enabled = edit.enabled;
                if let Some(content) = &edit.content {
                    chunk.content.clone_from(content);
                    chunk.origin = "edited".to_owned();
                    embeddings::measure(embedder, &mut chunk)?;
                }
            }
            if edits::trim(&mut chunk, chunks.last()) {
                embeddings::measure(embedder, &mut chunk)?;
            }
        }
        chunks.push(chunk);
    }
    // Chunks added at the same position: the last ones are inserted first, so that positions stay valid.
    let mut added: Vec<&Edit> = edits.iter().filter(|e| e.anchor_hash.is_none()).collect();
    added.sort_by_key(|e| e.after_ordinal);
    for edit in added {
        let Some(content) = &edit.content else {
            continue;
        };
        let place = usize::try_from(edit.after_ordinal.unwrap_or(i64::MAX).saturating_add(1))
            .unwrap_or(usize::MAX)
            .min(chunks.len());
        let before = place.checked_sub(1).map(|i| &chunks[i]);
        let mut chunk = edits::added(
            document,
            &dataset.live_set,
            &edit.id,
            content.clone(),
            before,
        );
        chunk.enabled = edit.enabled;
        embeddings::measure(embedder, &mut chunk)?;
        chunks.insert(place, chunk);
        found.insert(&edit.id);
    }
    for (ordinal, chunk) in (0_i64..).zip(&mut chunks) {
        chunk.ordinal = ordinal;
    }
    Ok(Prepared {
        edits: edits
            .iter()
            .map(|e| (e.id.clone(), !found.contains(e.id.as_str())))
            .collect(),
        title: document.title.clone().or_else(|| read.title.clone()),
        url: document.url.clone().or_else(|| read.url.clone()),
        published_at: read.published_at.clone(),
        // Pages without text are not listed; the last one with text has its number.
        pages: read.pages.last().map(|p| i64::from(p.number)),
        engine: read.engine.clone(),
        warnings: read.warnings.clone(),
        chunks,
        made: edits,
    })
}

/// Contents of chunks, counted in their order.
#[derive(Debug, Default)]
struct Anchors(HashMap<String, i64>);

impl Anchors {
    /// Counts a content, and returns the edit that refers to this occurrence.
    fn find<'e>(
        &mut self,
        edits: &HashMap<(&str, i64), &'e Edit>,
        content: &str,
    ) -> Option<&'e Edit> {
        let anchor = edits::anchor(content);
        let seen = self.0.entry(anchor.clone()).or_insert(-1);
        *seen += 1;
        edits.get(&(anchor.as_str(), *seen)).copied()
    }
}

/// Converts ascending byte offsets to character offsets in one pass over the text; a step back (overlap) is counted backwards.
struct Characters<'a> {
    text: &'a str,
    byte: usize,
    character: i64,
}

impl Characters<'_> {
    fn at(&mut self, byte: usize) -> i64 {
        let count = |range: &str| i64::try_from(range.chars().count()).unwrap_or(i64::MAX);
        if byte >= self.byte {
            self.character += count(&self.text[self.byte..byte]);
        } else {
            self.character -= count(&self.text[byte..self.byte]);
        }
        self.byte = byte;
        self.character
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_offsets_become_character_offsets_in_any_order() {
        let text = "äöü abc 中文";
        let mut characters = Characters {
            text,
            byte: 0,
            character: 0,
        };
        assert_eq!([0, 7, 2, 11].map(|b| characters.at(b)), [0, 4, 1, 8]);
    }
}
