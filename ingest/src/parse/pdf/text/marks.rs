//! Marked content: layers, and replacement text of what is drawn (`/ActualText`).

use hayro_cmap::BfString;
use hayro_syntax::object::{Dict, Object, String as PdfString};
use hayro_syntax::page::Resources;

use super::glyphs::Glyph;
use super::layers::Layers;
use super::operands::{Operands, as_name};
use super::streams;

/// The open marked-content sequences.
#[derive(Default)]
pub(crate) struct Marks {
    open: Vec<Mark>,
    off: usize,
}

struct Mark {
    /// Number of glyphs shown before it.
    start: usize,
    actual: Option<String>,
    /// Belongs to a hidden layer.
    off: bool,
}

impl Marks {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns whether content is hidden at this point.
    pub(crate) fn off(&self) -> bool {
        self.off > 0
    }

    /// Opens a marked-content sequence at a position in the glyphs.
    pub(crate) fn begin(
        &mut self,
        operands: &Operands<'_, '_>,
        resources: &Resources<'_>,
        layers: &Layers,
        start: usize,
    ) {
        let tag = operands.0.first().copied().and_then(as_name);
        let optional = tag.is_some_and(|n| **n == *b"OC");
        let mut mark = Mark {
            start,
            actual: None,
            off: false,
        };
        match operands.0.get(1) {
            Some(Object::Name(name)) if optional => {
                mark.off = !layers.shows(&resources.properties, name);
            }
            Some(Object::Name(name)) => {
                let named = resources.properties.get::<Dict<'_>>(name);
                mark.actual = named.and_then(|dict| actual(&dict));
            }
            Some(Object::Dict(dict)) => mark.actual = actual(dict),
            _ => {}
        }
        self.off += usize::from(mark.off);
        self.open.push(mark);
    }

    /// Closes the innermost sequence; its replacement text takes the place of its glyphs.
    pub(crate) fn end(&mut self, glyphs: &mut Vec<Glyph>) {
        let Some(mark) = self.open.pop() else {
            return;
        };
        self.off -= usize::from(mark.off);
        if let Some(actual) = mark.actual {
            replace(glyphs, mark.start, actual);
        }
    }
}

fn actual(dict: &Dict<'_>) -> Option<String> {
    dict.get::<PdfString<'_>>(b"ActualText")
        .map(|text| streams::text_string(&text))
}

fn replace(glyphs: &mut Vec<Glyph>, start: usize, actual: String) {
    let part = glyphs.get(start..).unwrap_or_default();
    let Some(first) = part.first() else {
        return;
    };
    let shown: String = part
        .iter()
        .map(|g| g.as_str(&mut [0; 4]).to_owned())
        .collect();
    let letters = |text: &str| {
        text.chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
    };
    // Replacement text that is equal, or far longer than the glyphs, is ignored.
    if letters(&shown) == letters(&actual) || actual.chars().count() > 8 * part.len() + 16 {
        return;
    }
    let mut whole = first.clone();
    let (ux, uy) = whole.direction;
    for glyph in part {
        let (dx, dy) = (glyph.x - whole.x, glyph.y - whole.y);
        if (dy * ux - dx * uy).abs() < 0.5 * whole.size {
            whole.advance = whole.advance.max(dx * ux + dy * uy + glyph.advance);
        }
    }
    glyphs.truncate(start);
    if !actual.is_empty() {
        whole.text = BfString::String(actual);
        glyphs.push(whole);
    }
}
