//! Marked parts of the content: layers, and text that stands for what is drawn (`/ActualText`).

use hayro_cmap::BfString;
use hayro_syntax::object::{Dict, Object, String as PdfString};
use hayro_syntax::page::Resources;

use super::glyphs::Glyph;
use super::layers::Layers;
use super::operands::{Operands, as_name};
use super::streams;

/// The parts that are open.
#[derive(Default)]
pub(crate) struct Marks {
    open: Vec<Mark>,
    off: usize,
}

struct Mark {
    /// How many glyphs were shown before it.
    start: usize,
    actual: Option<String>,
    /// Belongs to a layer that is off.
    off: bool,
}

impl Marks {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is shown here.
    pub(crate) fn off(&self) -> bool {
        self.off > 0
    }

    /// Opens a part, when so many glyphs have been shown.
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

    /// Closes the last part; its own text takes the place of its glyphs.
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
    // What says the same, or far more than fits, changes nothing.
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
