//! The result of parsing: one normalised text, with metadata about ranges of it. All ranges are byte offsets into that text.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::input::{Input, ParseError};

/// A parsed file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Normalised text: UTF-8, line feeds only, no control characters. Markdown for structured formats.
    pub text: String,
    /// Title from the file; `None` without one.
    pub title: Option<String>,
    /// Language tag from the file.
    pub language: Option<String>,
    /// Canonical address from the file.
    pub url: Option<String>,
    /// Publication time as written in the file.
    pub published_at: Option<String>,
    /// Headings in order.
    pub headings: Vec<Heading>,
    /// Pages in order; empty for formats without pages.
    pub pages: Vec<Page>,
    /// Tables in order.
    pub tables: Vec<Table>,
    /// For source code: name of the grammar by which it is chunked; empty when unknown.
    pub code: Option<String>,
    /// For source code: its definitions, ordered by start; they may be nested.
    pub symbols: Vec<Symbol>,
    /// Contained files that become separate documents: of archives and mail.
    pub children: Vec<Child>,
    /// Engine that read the file.
    pub engine: String,
    /// Content that was left out or guessed, one sentence each.
    pub warnings: Vec<String>,
}

/// A table in Markdown, with its header row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Start of the table and of its header.
    pub start: usize,
    /// End of the table, exclusive.
    pub end: usize,
    /// Start of the first row below the header and its separator line.
    pub body: usize,
    /// Range of each row below the header.
    pub rows: Vec<(usize, usize)>,
}

/// A definition in source code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// Start of the definition, including the comments directly above it.
    pub start: usize,
    /// End of the definition, exclusive.
    pub end: usize,
    /// Name of the definition.
    pub title: String,
}

/// An unpacked file of an archive or message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Name, with its folders in the archive.
    pub file_name: String,
    /// Path of the content, in the folder given by the caller.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
}

impl Child {
    /// Stores the bytes in the caller's folder.
    ///
    /// # Errors
    /// `archive_not_unpacked` when the caller gave no folder or it is not writable.
    pub(crate) fn store(
        input: &Input<'_>,
        file_name: &str,
        bytes: &[u8],
    ) -> Result<Self, ParseError> {
        let failed = |cause: &str| {
            ParseError::new(
                "archive_not_unpacked",
                format!("the contents of the file cannot be decompressed: {cause}"),
            )
        };
        let folder = input
            .children
            .ok_or_else(|| failed("no directory was provided for it"))?;
        let taken = std::fs::read_dir(folder)
            .map_err(|e| failed(&e.to_string()))?
            .count();
        let path = folder.join(taken.to_string());
        std::fs::write(&path, bytes).map_err(|e| failed(&e.to_string()))?;
        Ok(Self {
            file_name: file_name.to_owned(),
            path,
            size: bytes.len() as u64,
        })
    }
}

/// A heading line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    pub start: usize,
    /// End of the heading, exclusive.
    pub end: usize,
    /// Level, 1 for the outermost.
    pub level: u8,
    /// Text of the heading without markup.
    pub title: String,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub start: usize,
    /// End of the page, exclusive.
    pub end: usize,
    /// Position in the file, from 1.
    pub number: u32,
    /// Printed page number, where it differs from the position: `iv`, `A-3`.
    pub label: Option<String>,
}

impl Document {
    /// Returns the page that contains a position.
    #[must_use]
    pub fn page(&self, position: usize) -> Option<&Page> {
        let after = self.pages.partition_point(|p| p.start <= position);
        after.checked_sub(1).map(|i| &self.pages[i])
    }
}

/// Enclosing headings, and symbols of source code, of every position in a document.
#[derive(Debug)]
pub struct Outline<'d> {
    document: &'d Document,
    /// Parent of each heading or symbol.
    parents: Vec<Option<usize>>,
}

impl<'d> Outline<'d> {
    /// Builds the outline of a document.
    #[must_use]
    pub fn new(document: &'d Document) -> Self {
        let mut parents = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        if document.code.is_some() {
            for (index, symbol) in document.symbols.iter().enumerate() {
                while open
                    .pop_if(|o| document.symbols[*o].end <= symbol.start)
                    .is_some()
                {}
                parents.push(open.last().copied());
                open.push(index);
            }
        } else {
            for (index, heading) in document.headings.iter().enumerate() {
                while open
                    .pop_if(|o| document.headings[*o].level >= heading.level)
                    .is_some()
                {}
                parents.push(open.last().copied());
                open.push(index);
            }
        }
        Self { document, parents }
    }

    /// Returns the titles of the headings or symbols that enclose a position, outermost first.
    #[must_use]
    pub fn path(&self, position: usize) -> Vec<String> {
        let Document {
            headings, symbols, ..
        } = self.document;
        let is_code = self.document.code.is_some();
        let after = if is_code {
            symbols.partition_point(|s| s.start <= position)
        } else {
            headings.partition_point(|h| h.start <= position)
        };
        let (mut path, mut next) = (Vec::new(), after.checked_sub(1));
        while let Some(index) = next {
            if !is_code {
                path.push(headings[index].title.clone());
            } else if symbols[index].end > position {
                path.push(symbols[index].title.clone());
            }
            next = self.parents[index];
        }
        path.reverse();
        path
    }
}

/// Normalises line ends, expands ligatures, and removes invisible characters: byte order marks, NULs and other control characters except tab, line feed and
/// form feed.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            '\u{c}' | '\u{b}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\u{feff}' | '\u{ad}' => {}
            // Typographic ligatures; tokenizers and queries use the letters.
            '\u{fb00}' => out.push_str("ff"),
            '\u{fb01}' => out.push_str("fi"),
            '\u{fb02}' => out.push_str("fl"),
            '\u{fb03}' => out.push_str("ffi"),
            '\u{fb04}' => out.push_str("ffl"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_unified_and_invisible_characters_removed() {
        assert_eq!(
            normalise("\u{feff}a\r\nb\rc\0d\u{ad}e\u{c}\u{fb01}"),
            "a\nb\ncde\nfi"
        );
    }

    #[test]
    fn a_heading_path_names_each_enclosing_level_once() {
        let heading = |start, level, title: &str| Heading {
            start,
            end: start + 5,
            level,
            title: title.to_owned(),
        };
        let document = Document {
            headings: vec![
                heading(0, 1, "Guide"),
                heading(10, 2, "Install"),
                heading(20, 3, "Linux"),
                heading(30, 2, "Use"),
            ],
            ..Document::default()
        };
        let outline = Outline::new(&document);
        assert_eq!(outline.path(25), ["Guide", "Install", "Linux"]);
        assert_eq!(outline.path(35), ["Guide", "Use"]);
        assert!(Outline::new(&Document::default()).path(3).is_empty());
    }
}
