//! From a parsed document to the rows of its chunks: cutting in the model's own tokens, context, hashes, offsets. Pure computation.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use cairn_ingest::chunk::{chunk, context};
use cairn_ingest::{ChunkOptions, Strategy};
use cairn_models::Embedder;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kb::edits::{self, Edit};
use crate::kb::{Chunk, Dataset, Document};

/// A document ready to be stored.
#[derive(Debug)]
pub struct Prepared {
    /// Normalised text.
    pub text: String,
    /// Title found in the file.
    pub title: Option<String>,
    /// Address found in the file.
    pub url: Option<String>,
    /// Publication time found in the file.
    pub published_at: Option<String>,
    /// Engine that read it.
    pub engine: String,
    /// What was left out or guessed.
    pub warnings: Vec<String>,
    /// The last page with text; `None` for formats without pages.
    pub pages: Option<i64>,
    /// The chunks in order.
    pub chunks: Vec<Chunk>,
    /// Each edit by id, and whether its text is gone.
    pub edits: Vec<(String, bool)>,
}

/// Tokens that a model adds around a text (`[CLS]`, `[SEP]`).
const SPECIAL_TOKENS: usize = 2;
/// Longest heading or title in a context, in characters.
const CONTEXT_PART: usize = 120;
/// Innermost headings kept in a context.
const CONTEXT_DEPTH: usize = 3;

/// Namespace of chunk ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6361_6972_6e2d_6368_756e_6b2d_6964_0001);

/// Cuts a parsed document with its own settings or the dataset's.
///
/// # Errors
/// When the tokenizer refuses the text.
pub fn prepare(
    embedder: &dyn Embedder,
    dataset: &Dataset,
    document: &Document,
    parsed: cairn_ingest::Document,
    edits: &[Edit],
) -> Result<Prepared> {
    let size = usize::try_from(document.chunk_size.unwrap_or(dataset.chunk_size)).unwrap_or(256);
    let overlap =
        usize::try_from(document.chunk_overlap.unwrap_or(dataset.chunk_overlap)).unwrap_or(0);
    let strategy = match document
        .parse_type
        .as_deref()
        .unwrap_or(&dataset.parse_type)
    {
        "NAIVE" => Strategy::Naive,
        "MANUAL" => Strategy::Manual,
        _ => Strategy::Markdown,
    };
    let tokens = embedder.tokens();
    let starts = tokens.starts(&parsed.text).map_err(Error::from)?;
    let title = document
        .title
        .clone()
        .or_else(|| parsed.title.clone())
        .unwrap_or_else(|| stem(&document.file_name).to_owned());
    // Title and headings are embedded with the content, so the size holds for both together.
    let mut contexts: HashMap<Vec<String>, (String, usize)> = HashMap::new();
    let mut reserve = 0;
    let places = parsed.headings.iter().map(|h| h.start);
    for position in places
        .chain(parsed.symbols.iter().map(|s| s.start))
        .chain([0])
    {
        let path = parsed.heading_path(position);
        if let Entry::Vacant(entry) = contexts.entry(path) {
            let text = short_context(&title, entry.key());
            let count = tokens.starts(&text).map_err(Error::from)?.len();
            reserve = reserve.max(count);
            entry.insert((text, count));
        }
    }
    let room = size.saturating_sub(reserve.min(size / 2) + SPECIAL_TOKENS);
    let options = ChunkOptions {
        strategy,
        size: room,
        overlap: overlap.min(room / 2),
        delimiter: dataset.delimiter.clone(),
    };
    let cuts = chunk(&parsed, &starts, &options);
    let mut characters = Characters {
        text: &parsed.text,
        byte: 0,
        character: 0,
    };
    // The same text in two generations is two chunks.
    let suffix = match dataset.generation {
        1 => String::new(),
        n => format!("~{n}"),
    };
    let mut occurrences: HashMap<String, u32> = HashMap::new();
    let mut anchors: HashMap<String, i64> = HashMap::new();
    let mut found: HashSet<&str> = HashSet::new();
    let mut chunks = Vec::with_capacity(cuts.len());
    for (ordinal, cut) in (0_i64..).zip(cuts) {
        let content = parsed.text[cut.start..cut.end].to_owned();
        let (context, context_tokens) =
            contexts.get(&cut.heading_path).cloned().unwrap_or_default();
        let header = cut.table.as_ref().and_then(|t| t.header.clone());
        let header = header.map(|h| parsed.text[h].trim_end().to_owned());
        let context = match &header {
            Some(header) if context.is_empty() => header.clone(),
            Some(header) => format!("{context}\n\n{header}"),
            None => context,
        };
        let count = cut.tokens + context_tokens + SPECIAL_TOKENS;
        let hash = text_hash(&context, &content);
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
        let start_char = characters.at(cut.start);
        let row = |number: u32| i64::from(number);
        let page = cut.page.as_ref();
        let mut chunk = Chunk {
            id: id.to_string(),
            dataset_id: dataset.id.clone(),
            document_id: document.id.clone(),
            ordinal,
            start_byte: i64::try_from(cut.start).unwrap_or(i64::MAX),
            end_byte: i64::try_from(cut.end).unwrap_or(i64::MAX),
            start_char,
            end_char: start_char + i64::try_from(content.chars().count()).unwrap_or(i64::MAX),
            content,
            context,
            heading_path: serde_json::to_string(&cut.heading_path)?,
            page: page.map(|p| i64::from(p.number)),
            page_label: page.and_then(|p| p.label.clone()),
            table_number: cut.table.as_ref().map(|t| row(t.table)),
            first_row: cut.table.as_ref().map(|t| row(t.first)),
            last_row: cut.table.as_ref().map(|t| row(t.last)),
            table_header: header,
            first_line: cut.lines.map(|(first, _)| row(first)),
            last_line: cut.lines.map(|(_, last)| row(last)),
            tokens: i64::try_from(count).unwrap_or(i64::MAX),
            truncated: count > embedder.spec().max_tokens,
            text_hash: hash,
            enabled: true,
            origin: "parsed".to_owned(),
            set_id: dataset.live_set.clone(),
            edit_id: None,
        };
        if !edits.is_empty() {
            let anchor = edits::anchor(&chunk.content);
            let occurrence = anchors
                .entry(anchor.clone())
                .and_modify(|n| *n += 1)
                .or_insert(0);
            let edit = edits.iter().find(|e| {
                e.anchor_hash.as_deref() == Some(anchor.as_str()) && e.occurrence == *occurrence
            });
            if let Some(edit) = edit {
                found.insert(&edit.id);
                chunk.enabled = edit.enabled;
                if let Some(content) = &edit.content {
                    chunk.content.clone_from(content);
                    chunk.origin = "edited".to_owned();
                    measure(embedder, &mut chunk)?;
                }
            }
        }
        chunks.push(chunk);
    }
    // Added chunks stand after the same place; the last ones first, so that places stay.
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
        measure(embedder, &mut chunk)?;
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
        title: document.title.clone().or(parsed.title),
        url: document.url.clone().or(parsed.url),
        published_at: parsed.published_at,
        // Pages without text are none of those; the last one with text has its number.
        pages: parsed.pages.last().map(|p| i64::from(p.number)),
        engine: parsed.engine,
        warnings: parsed.warnings,
        text: parsed.text,
        chunks,
    })
}

/// Counts and hashes a chunk whose words are not those of the file.
///
/// # Errors
/// When the tokenizer refuses the text.
pub(crate) fn measure(embedder: &dyn Embedder, chunk: &mut Chunk) -> Result<()> {
    let count = embedder
        .tokens()
        .count(&chunk.indexed_text())
        .map_err(Error::from)?;
    chunk.tokens = i64::try_from(count).unwrap_or(i64::MAX);
    chunk.truncated = count > embedder.spec().max_tokens;
    chunk.text_hash = text_hash(&chunk.context, &chunk.content);
    Ok(())
}

fn stem(file_name: &str) -> &str {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    base.rsplit_once('.').map_or(base, |(stem, _)| stem)
}

fn short_context(title: &str, path: &[String]) -> String {
    let cut = |part: &str| part.chars().take(CONTEXT_PART).collect::<String>();
    let inner: Vec<String> = path[path.len().saturating_sub(CONTEXT_DEPTH)..]
        .iter()
        .map(|p| cut(p))
        .collect();
    context(&cut(title), &inner)
}

/// SHA-256 over context and content, kept apart by a byte that no text holds.
#[must_use]
pub fn text_hash(context: &str, content: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(context.as_bytes());
    hasher.update([0]);
    hasher.update(content.as_bytes());
    hex::encode(hasher.finalize())
}

/// Turns ascending byte offsets into character offsets in one pass over the text; a step back (overlap) is counted backwards.
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

    #[test]
    fn contexts_are_short_and_name_the_innermost_headings() {
        let path = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(short_context("Title", &path), "Title\nb\nc\nd");
        assert!(short_context(&"x".repeat(500), &[]).len() == CONTEXT_PART);
        assert_eq!(stem("folder/report.v2.pdf"), "report.v2");
    }
}
