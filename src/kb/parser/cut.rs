//! Splits a document into chunks, sized in the tokens of a model, each with the title and headings that are embedded before it.

use std::collections::HashMap;
use std::path::PathBuf;

use cairn_ingest::chunk::{TableRows, chunk, context};
use cairn_ingest::document::Outline;
use cairn_ingest::{ChunkOptions, Document, Page, ParseError, Strategy};
use cairn_models::Tokens;
use serde::{Deserialize, Serialize};

/// Maximum length of a heading or title in a context, in characters.
const CONTEXT_PART: usize = 120;
/// Number of innermost headings kept in a context.
const CONTEXT_DEPTH: usize = 3;

/// Chunking parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Path of the model's tokenizer.
    pub tokenizer: PathBuf,
    pub strategy: Strategy,
    /// Maximum number of tokens of a chunk with its context.
    pub size: usize,
    /// Tokens repeated from the previous chunk.
    pub overlap: usize,
    /// Delimiter at which [`Strategy::Manual`] splits.
    pub delimiter: String,
    /// Title set by the user, if any.
    pub title: Option<String>,
    /// Replaces the title of a file that has none.
    pub file_name: String,
    /// Maximum number of chunks.
    pub most: usize,
}

/// The chunks of a document and the contexts that they share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// Titles and headings that precede chunks.
    pub contexts: Vec<Context>,
    /// Chunks in document order.
    pub chunks: Vec<Piece>,
}

/// Text that is embedded and indexed before a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Enclosing headings or symbols, outermost first.
    pub path: Vec<String>,
    /// Title and innermost headings.
    pub text: String,
    /// Number of tokens of the text.
    pub tokens: usize,
}

/// Location of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Byte offset in the text.
    pub start: usize,
    /// Byte offset of the end, exclusive.
    pub end: usize,
    /// Number of tokens of the chunk and of the table header that it repeats.
    pub tokens: usize,
    /// Index of its context.
    pub context: usize,
    /// Page on which it starts.
    pub page: Option<Page>,
    /// Rows of a table.
    pub table: Option<TableRows>,
    /// First and last line, in source code.
    pub lines: Option<(u32, u32)>,
}

/// Splits a document into chunks, in time proportional to the text.
///
/// # Errors
/// `too_many_chunks`; `not_tokenised` when the tokenizer refuses the text.
pub(super) fn cut(document: &Document, tokens: &Tokens, how: &Cut) -> Result<Pieces, ParseError> {
    let refused = |e: cairn_models::Error| {
        ParseError::new(
            "not_tokenised",
            format!("the model's tokenizer cannot process the text: {e}"),
        )
    };
    let starts = tokens.starts(&document.text).map_err(refused)?;
    let title = how
        .title
        .clone()
        .or_else(|| document.title.clone())
        .unwrap_or_else(|| stem(&how.file_name).to_owned());
    // Title and headings are embedded with the content, so the size applies to both together.
    let outline = Outline::new(document);
    let mut numbers: HashMap<Vec<String>, usize> = HashMap::new();
    let (mut contexts, mut reserve) = (Vec::new(), 0);
    let headings = document.headings.iter().map(|h| h.start);
    let symbols = document.symbols.iter().map(|s| s.start);
    let paths = headings.chain(symbols).map(|at| outline.path(at));
    // Text outside of all headings and symbols has the title only.
    for path in paths.chain([Vec::new()]) {
        if numbers.contains_key(&path) {
            continue;
        }
        numbers.insert(path.clone(), contexts.len());
        let text = short_context(&title, &path);
        let count = tokens.starts(&text).map_err(refused)?.len();
        reserve = reserve.max(count);
        contexts.push(Context {
            path,
            text,
            tokens: count,
        });
    }
    let left = how
        .size
        .saturating_sub(reserve.min(how.size / 2) + tokens.special());
    let options = ChunkOptions {
        strategy: how.strategy,
        size: left,
        overlap: how.overlap.min(left / 2),
        delimiter: how.delimiter.clone(),
        most: how.most,
    };
    let chunks = chunk(document, &starts, &options)?
        .into_iter()
        .map(|chunk| {
            // The path of a chunk is that of the heading or symbol that contains it, or empty.
            let context = numbers.get(&chunk.heading_path).copied().unwrap_or(0);
            Piece {
                start: chunk.start,
                end: chunk.end,
                tokens: chunk.tokens,
                context,
                page: chunk.page,
                table: chunk.table,
                lines: chunk.lines,
            }
        })
        .collect();
    Ok(Pieces { contexts, chunks })
}

fn stem(file_name: &str) -> &str {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    base.rsplit_once('.').map_or(base, |(stem, _)| stem)
}

fn short_context(title: &str, path: &[String]) -> String {
    let short = |part: &str| part.chars().take(CONTEXT_PART).collect::<String>();
    let inner: Vec<String> = path[path.len().saturating_sub(CONTEXT_DEPTH)..]
        .iter()
        .map(|p| short(p))
        .collect();
    context(&short(title), &inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_short_and_name_the_innermost_headings() {
        let path = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(short_context("Title", &path), "Title\nb\nc\nd");
        assert!(short_context(&"x".repeat(500), &[]).len() == CONTEXT_PART);
        assert_eq!(stem("folder/report.v2.pdf"), "report.v2");
    }
}
