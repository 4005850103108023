//! Shared by Word and `PowerPoint` files in XML: the package, and the parts of `DrawingML` in both of them.

pub(super) mod charts;
pub(super) mod diagrams;
pub(super) mod equations;
pub(super) mod numbers;
pub(super) mod package;
pub(super) mod pictures;
pub(super) mod runs;
pub(super) mod scripts;
pub(super) mod symbols;

use super::tree::Element;
use super::writer::Writer;

/// Maximum length in bytes of a merged cell's text that is repeated in the rows it spans.
pub(super) const MAX_REPEATED: usize = 80;

/// A parsed block of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    Heading {
        level: usize,
        text: String,
    },
    Paragraph(String),
    /// A list item with its marker, `-` or a number.
    Item {
        depth: usize,
        marker: String,
        text: String,
    },
    /// A table, header row first.
    Table(Vec<Vec<String>>),
}

impl Block {
    /// Writes the block.
    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Heading { level, text } => writer.heading(*level, text),
            Self::Paragraph(text) => writer.paragraph(text),
            Self::Item {
                depth,
                marker,
                text,
            } => writer.item(*depth, marker, text),
            Self::Table(rows) => writer.table(rows),
        }
    }

    /// Returns the text on one line, as in a table cell.
    pub(super) fn flat(&self) -> String {
        match self {
            Self::Heading { text, .. } | Self::Paragraph(text) => text.clone(),
            Self::Item { marker, text, .. } if marker == "-" => format!("• {text}"),
            Self::Item { marker, text, .. } => {
                format!("{} {text}", marker.strip_prefix("- ").unwrap_or(marker))
            }
            Self::Table(rows) => {
                let rows: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
                rows.join(" ")
            }
        }
    }
}

/// Returns the marker of a bulleted item, followed by its checkbox if any.
pub(super) fn bullet(tick: Option<char>) -> String {
    tick.map_or_else(|| "-".to_owned(), |tick| format!("- {tick}"))
}

/// Returns the text of blocks on one line.
pub(super) fn flat(blocks: &[Block]) -> String {
    let parts: Vec<String> = blocks.iter().map(Block::flat).collect();
    super::writer::one_line(&parts.join(" "))
}

/// Returns the direct child with a name.
pub(super) fn child<'e>(element: &'e Element, name: &str) -> Option<&'e Element> {
    element.elements().find(|e| e.name == name)
}

/// Returns the element at the end of a path of direct children.
pub(super) fn path<'e>(element: &'e Element, names: &[&str]) -> Option<&'e Element> {
    names
        .iter()
        .try_fold(element, |inner, name| child(inner, name))
}

/// Returns the attribute `val` of the direct child with a name.
pub(super) fn val<'e>(element: &'e Element, name: &str) -> Option<&'e str> {
    child(element, name).and_then(|e| e.attribute("val"))
}

/// Returns the value of a switch like `<w:vanish/>` or `<w:vanish w:val="0"/>`; `None` when it is absent.
pub(super) fn switch(element: &Element, name: &str) -> Option<bool> {
    child(element, name).map(|e| e.attribute("val").is_none_or(truth))
}

/// Parses a boolean of XML.
pub(super) fn truth(value: &str) -> bool {
    !matches!(value, "0" | "false" | "off" | "none")
}

/// Returns all descendants with a name, in document order and not nested.
pub(super) fn all<'e>(element: &'e Element, name: &str) -> Vec<&'e Element> {
    fn collect<'e>(element: &'e Element, name: &str, into: &mut Vec<&'e Element>) {
        for inner in element.elements() {
            if inner.name == name {
                into.push(inner);
            } else {
                collect(inner, name, into);
            }
        }
    }
    let mut found = Vec::new();
    collect(element, name, &mut found);
    found
}
