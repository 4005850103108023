//! Headings of a PDF by font size and weight.

use std::collections::BTreeMap;

use super::text::{Kind, Paragraph};

/// Ratio to the usual font size from which text is a heading.
const LARGER: f32 = 1.14;
/// Maximum length of a heading, in characters and lines.
const LONGEST: usize = 160;
const MOST_LINES: usize = 3;
/// If more than this share of the paragraphs look like headings, the layout is not used.
const TOO_MANY: f64 = 0.4;

/// Font sizes of a file's headings.
#[derive(Debug, Default)]
pub(super) struct Headings {
    /// Sizes above that of the body text, in tenths of points, largest first.
    sizes: Vec<i32>,
    /// Whether bold lines in the size of the body text are headings.
    bold: bool,
}

fn tenths(size: f32) -> i32 {
    // Saturates; sizes are small.
    (size * 10.0).round() as i32
}

/// Returns the largest font size of a paragraph, in tenths of points.
fn size(paragraph: &Paragraph) -> i32 {
    let sizes = paragraph.lines.iter().map(|line| tenths(line.size));
    sizes.max().unwrap_or(0)
}

fn is_short(paragraph: &Paragraph) -> bool {
    let text = paragraph.text.trim();
    paragraph.kind == Kind::Text
        && (1..=MOST_LINES).contains(&paragraph.lines.len())
        && text.chars().count() <= LONGEST
        && text.chars().filter(|c| c.is_alphabetic()).count() >= 2
}

fn is_bold(paragraph: &Paragraph) -> bool {
    !paragraph.lines.is_empty() && paragraph.lines.iter().all(|line| line.bold)
}

impl Headings {
    /// Determines the sizes of a file's headings.
    pub(super) fn of<'p>(paragraphs: impl Iterator<Item = &'p Paragraph> + Clone) -> Self {
        let mut letters: BTreeMap<i32, usize> = BTreeMap::new();
        let (mut all, mut bold) = (0, 0);
        for line in paragraphs.clone().flat_map(|p| &p.lines) {
            let count = line.text.chars().filter(|c| c.is_alphabetic()).count();
            *letters.entry(tenths(line.size)).or_default() += count;
            all += count;
            bold += if line.bold { count } else { 0 };
        }
        let Some((&body, _)) = letters.iter().max_by_key(|(_, count)| **count) else {
            return Self::default();
        };
        let least = (body as f32 * LARGER).ceil() as i32;
        let mut sizes: Vec<i32> = paragraphs
            .clone()
            .filter(|p| is_short(p) && size(p) >= least)
            .map(size)
            .collect();
        let count = paragraphs.filter(|p| p.kind == Kind::Text).count();
        if sizes.len() as f64 > TOO_MANY * count as f64 && count > 8 {
            sizes.clear();
        }
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.dedup();
        Self {
            sizes,
            // If bold text is frequent, it does not indicate headings.
            bold: bold * 4 < all,
        }
    }

    /// Returns the level of a heading, from 1; `None` for other paragraphs.
    pub(super) fn level(&self, paragraph: &Paragraph) -> Option<usize> {
        if !is_short(paragraph) {
            return None;
        }
        let size = size(paragraph);
        if let Some(rank) = self.sizes.iter().position(|s| *s == size) {
            return Some((rank + 1).min(6));
        }
        let ends_as_one = !paragraph
            .text
            .trim_end()
            .ends_with(['.', ',', ';', ':', '。', '!', '?']);
        let own_line = paragraph.lines.len() == 1 && ends_as_one;
        (self.bold && own_line && is_bold(paragraph)).then(|| (self.sizes.len() + 1).min(6))
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Line;
    use super::*;

    fn paragraph(text: &str, size: f32, bold: bool) -> Paragraph {
        Paragraph {
            text: text.to_owned(),
            lines: vec![Line {
                text: text.to_owned(),
                size,
                bold,
            }],
            ..Paragraph::default()
        }
    }

    #[test]
    fn larger_and_bold_lines_are_headings_in_order_of_their_size() {
        let body = "The keeper lit the lamp at dusk and wound the clockwork. ".repeat(4);
        let all = [
            paragraph("Lighthouses", 20.0, true),
            paragraph(&body, 10.0, false),
            paragraph("The lamp", 14.0, false),
            paragraph(&body, 10.0, false),
            paragraph("Oil", 10.0, true),
            paragraph(&body, 10.0, false),
            paragraph("Note well.", 10.0, true),
            paragraph("12", 14.0, false),
        ];
        let headings = Headings::of(all.iter());
        let levels: Vec<Option<usize>> = all.iter().map(|p| headings.level(p)).collect();
        let expected = [Some(1), None, Some(2), None, Some(3), None, None, None];
        assert_eq!(levels, expected);
    }
}
