//! Glyphs on a page, and their clean-up before lines are built.

use std::collections::HashMap;
use std::rc::Rc;

use hayro_cmap::BfString;
use unicode_normalization::UnicodeNormalization;

use super::fonts::Face;

/// A shown character (or several, for ligatures) with its position on the upright page: x to the right, y down.
#[derive(Clone, Debug)]
pub(crate) struct Glyph {
    pub text: BfString,
    /// Origin on the baseline.
    pub x: f32,
    pub y: f32,
    /// Direction of the baseline, of length 1.
    pub direction: (f32, f32),
    pub advance: f32,
    pub size: f32,
    pub face: Rc<Face>,
    /// Drawn invisibly, as the text layers of OCR programs are.
    pub hidden: bool,
}

impl Glyph {
    pub(crate) fn as_str<'t>(&'t self, buffer: &'t mut [u8; 4]) -> &'t str {
        match &self.text {
            BfString::Char(c) => c.encode_utf8(buffer),
            BfString::String(s) => s,
        }
    }

    pub(crate) fn is_space(&self) -> bool {
        match &self.text {
            BfString::Char(c) => c.is_whitespace(),
            BfString::String(s) => s.trim().is_empty(),
        }
    }

    fn is_finite(&self) -> bool {
        [self.x, self.y, self.advance, self.size]
            .iter()
            .all(|n| n.is_finite() && n.abs() < 1e6)
    }
}

/// A straight horizontal or vertical line; edges of filled bars count, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
}

/// Replaces ligatures and presentation forms by ordinary letters, and removes control characters.
pub(crate) fn normalise(glyphs: &mut Vec<Glyph>) {
    for glyph in glyphs.iter_mut() {
        let plain = match &glyph.text {
            BfString::Char(c) => ordinary(&c.to_string(), *c),
            BfString::String(s) => s.chars().next().and_then(|first| {
                let odd = s.chars().any(|c| is_control(c) || presentation(c));
                odd.then(|| ordinary(s, first).unwrap_or_else(|| s.clone()))
            }),
        };
        if let Some(plain) = plain {
            let mut chars = plain.chars();
            glyph.text = match (chars.next(), chars.next()) {
                (Some(c), None) => BfString::Char(c),
                _ => BfString::String(plain),
            };
        }
    }
    glyphs.retain(|g| g.is_finite() && !matches!(&g.text, BfString::String(s) if s.is_empty()));
}

/// Returns the ordinary letters for a text; `None` when it is already ordinary.
fn ordinary(text: &str, first: char) -> Option<String> {
    if text.chars().any(is_control) {
        let spaced = text
            .chars()
            .map(|c| if c.is_whitespace() { ' ' } else { c });
        return Some(spaced.filter(|c| !is_control(*c)).collect());
    }
    if !text.chars().any(presentation) {
        return match first {
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}'
                if text.chars().count() == 1 =>
            {
                Some(" ".to_owned())
            }
            '\u{200b}' if text.chars().count() == 1 => Some(String::new()),
            // Bullets of Symbol and Wingdings.
            '\u{f0b7}' => Some("•".to_owned()),
            '\u{f0a7}' => Some("▪".to_owned()),
            _ => None,
        };
    }
    // Isolated marks are decomposed into a space and the mark.
    let plain: String = text.nfkc().collect();
    Some(if plain.len() > 1 {
        plain.trim_start().to_owned()
    } else {
        plain
    })
}

/// Returns whether a character is a control, a line separator, or a byte order mark.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn presentation(c: char) -> bool {
    matches!(c, '\u{fb00}'..='\u{fb4f}' | '\u{fb50}'..='\u{fdfc}' | '\u{fe70}'..='\u{fefc}' | '\u{2f00}'..='\u{2fdf}')
}

/// Removes glyphs drawn a second time at nearly the same position: simulated bold, shadows.
pub(crate) fn without_overprints(glyphs: Vec<Glyph>) -> Vec<Glyph> {
    const CELL: f32 = 8.0;
    let mut places: HashMap<(i32, i32, u64), Vec<usize>> = HashMap::with_capacity(glyphs.len());
    let mut kept: Vec<Glyph> = Vec::with_capacity(glyphs.len());
    for glyph in glyphs {
        if glyph.is_space() {
            kept.push(glyph);
            continue;
        }
        let (column, row) = (
            (glyph.x / CELL).floor() as i32,
            (glyph.y / CELL).floor() as i32,
        );
        let text = key(&glyph);
        let near = |other: &Glyph| {
            let (dx, dy) = (glyph.x - other.x, glyph.y - other.y);
            let (ux, uy) = glyph.direction;
            let along = (dx * ux + dy * uy).abs();
            let across = (dy * ux - dx * uy).abs();
            let size = glyph.size.max(1.0);
            let room = if glyph.advance > 0.0 {
                (0.45 * glyph.advance).min(0.25 * size)
            } else {
                0.05 * size
            };
            along <= room
                && across <= 0.2 * size
                && (glyph.size - other.size).abs() <= 0.1 * size
                && glyph.text == other.text
        };
        let reach = ((0.25 * glyph.size / CELL).ceil() as i32).clamp(1, 4);
        let twice = (column - reach..=column + reach).any(|c| {
            (row - reach..=row + reach).any(|r| {
                let there = places.get(&(c, r, text));
                there.is_some_and(|l| l.iter().filter_map(|i| kept.get(*i)).any(near))
            })
        });
        if !twice {
            places
                .entry((column, row, text))
                .or_default()
                .push(kept.len());
            kept.push(glyph);
        }
    }
    kept
}

fn key(glyph: &Glyph) -> u64 {
    match &glyph.text {
        BfString::Char(c) => u64::from(*c),
        BfString::String(s) => s.chars().fold(1 << 32, |hash, c| {
            (hash * 31 + u64::from(c)) & 0xffff_ffff_ffff
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the glyphs of a line of text, half an em wide each.
    pub(crate) fn line(text: &str, x: f32, y: f32, size: f32) -> Vec<Glyph> {
        let place = |i: usize| x + size * 0.5 * i as f32;
        let glyph = |(i, c)| Glyph {
            text: BfString::Char(c),
            x: place(i),
            y,
            direction: (1.0, 0.0),
            advance: size * 0.5,
            size,
            face: Rc::default(),
            hidden: false,
        };
        text.chars().enumerate().map(glyph).collect()
    }

    fn text(glyphs: &[Glyph]) -> String {
        glyphs
            .iter()
            .map(|g| g.as_str(&mut [0; 4]).to_owned())
            .collect()
    }

    #[test]
    fn overprinted_text_stands_once() {
        let mut twice = line("balloon", 10.0, 10.0, 12.0);
        twice.extend(line("balloon", 10.4, 10.1, 12.0));
        assert_eq!(text(&without_overprints(twice)), "balloon");
    }

    #[test]
    fn presentation_forms_become_letters() {
        let mut forms = line("\u{fb05}\u{fb01}\u{fefb}\u{a0}\u{1}x", 0.0, 0.0, 10.0);
        normalise(&mut forms);
        assert_eq!(text(&forms), "stfiلا x");
    }
}
