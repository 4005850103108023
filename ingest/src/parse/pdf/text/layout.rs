//! From glyphs to pieces of lines: text on one baseline, up to a gap.

use super::bidi::{self, Item};
use super::glyphs::{Glyph, Rule};

/// Gap widths that separate words and pieces of a line; in ems.
const WORD: f32 = 0.17;
const PIECE: f32 = 1.0;

/// Text on one baseline without wide gaps, in logical order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piece {
    pub text: String,
    pub x0: f32,
    pub x1: f32,
    /// Position of the baseline.
    pub y: f32,
    pub size: f32,
    pub bold: bool,
    pub rtl: bool,
}

impl Piece {
    pub(crate) fn top(&self) -> f32 {
        self.y - 0.8 * self.size
    }

    pub(crate) fn bottom(&self) -> f32 {
        self.y + 0.2 * self.size
    }

    pub(crate) fn words(&self) -> usize {
        self.text.split_whitespace().count()
    }
}

/// Glyphs with approximately the same baseline.
struct Row {
    y: f32,
    size: f32,
    glyphs: Vec<Glyph>,
}

/// Builds pieces from upright glyphs. `splits` are vertical rules that separate them.
pub(crate) fn pieces(glyphs: Vec<Glyph>, splits: &[Rule]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for mut row in rows(glyphs) {
        row.glyphs.sort_by(|a, b| a.x.total_cmp(&b.x));
        pieces.extend(cut(row, splits));
    }
    pieces.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    pieces
}

fn rows(mut glyphs: Vec<Glyph>) -> Vec<Row> {
    glyphs.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut rows: Vec<Row> = Vec::new();
    for glyph in glyphs {
        // Small letters near a large line do not extend it.
        let fits =
            |row: &&mut Row| (glyph.y - row.y).abs() <= 0.25 * row.size.min(glyph.size).max(1.0);
        match rows.iter_mut().rev().take(4).find(fits) {
            Some(row) => {
                row.size = row.size.max(glyph.size);
                row.glyphs.push(glyph);
            }
            None => rows.push(Row {
                y: glyph.y,
                size: glyph.size,
                glyphs: vec![glyph],
            }),
        }
    }
    raise(rows)
}

/// Merges superscripts and subscripts into the adjacent lines.
fn raise(mut rows: Vec<Row>) -> Vec<Row> {
    let mut at = 0;
    while at < rows.len() {
        let low = at.saturating_sub(3);
        let near = low..(at + 4).min(rows.len());
        let Some(small) = rows.get(at) else {
            break;
        };
        let (y, size) = (small.y, small.size);
        let above = |row: &Row| {
            let by = row.y - y;
            size <= 0.85 * row.size && (-0.55 * row.size..=0.65 * row.size).contains(&by)
        };
        let large = near
            .filter(|i| *i != at && rows.get(*i).is_some_and(above))
            .min_by(|a, b| {
                let far = |i: &usize| rows.get(*i).map_or(f32::MAX, |r| (r.y - y).abs());
                far(a).total_cmp(&far(b))
            });
        let Some(large) = large else {
            at += 1;
            continue;
        };
        let glyphs = rows
            .get_mut(at)
            .map(|row| std::mem::take(&mut row.glyphs))
            .unwrap_or_default();
        let (beside, alone) = part(glyphs, rows.get(large));
        if let Some(row) = rows.get_mut(large) {
            row.glyphs.extend(beside);
        }
        if let Some(row) = rows.get_mut(at) {
            row.glyphs = alone;
        }
        at += 1;
    }
    rows.retain(|row| !row.glyphs.is_empty());
    rows
}

/// Splits small glyphs into runs adjacent to letters of a line, and others.
fn part(mut glyphs: Vec<Glyph>, line: Option<&Row>) -> (Vec<Glyph>, Vec<Glyph>) {
    glyphs.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut runs: Vec<Vec<Glyph>> = Vec::new();
    for glyph in glyphs {
        let last = runs.last().and_then(|run| run.last());
        let joined = last.is_some_and(|l| glyph.x - l.x - l.advance < 0.5 * glyph.size);
        match runs.last_mut() {
            Some(run) if joined => run.push(glyph),
            _ => runs.push(vec![glyph]),
        }
    }
    let touches = |run: &Vec<Glyph>| {
        let (Some(first), Some(last), Some(line)) = (run.first(), run.last(), line) else {
            return false;
        };
        let (start, end, room) = (first.x, last.x + last.advance, 0.3 * line.size);
        line.glyphs
            .iter()
            .filter(|g| !g.is_space())
            .any(|g| (start - g.x - g.advance).abs() <= room || (g.x - end).abs() <= room)
    };
    let (beside, alone): (Vec<_>, Vec<_>) = runs.into_iter().partition(touches);
    (
        beside.into_iter().flatten().collect(),
        alone.into_iter().flatten().collect(),
    )
}

/// Splits a row at wide gaps and rules.
fn cut(row: Row, splits: &[Rule]) -> Vec<Piece> {
    let spacing = letter_spacing(&row.glyphs);
    let mut pieces = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    let mut piece = Piece::default();
    let mut sizes = Sizes::default();
    let (mut end, mut spaced, mut bold, mut count) = (f32::MIN, false, 0_usize, 0_usize);
    for glyph in &row.glyphs {
        if glyph.is_space() {
            spaced = true;
            continue;
        }
        let gap = glyph.x - end;
        let size = glyph.size.max(piece.size * 0.7).max(1.0);
        let ruled = || {
            splits.iter().any(|r| {
                let middle = (r.x0 + r.x1) / 2.0;
                (end - 1.0..=glyph.x + 1.0).contains(&middle)
                    && r.y0 < row.y
                    && r.y1 > row.y - 0.5 * size
            })
        };
        if count > 0
            && (gap > (PIECE * size).max(spacing * 3.0)
                || gap > 0.0 && !splits.is_empty() && ruled())
        {
            piece.size = std::mem::take(&mut sizes).usual();
            pieces.push(finish(
                std::mem::take(&mut piece),
                &mut items,
                end,
                bold * 2 > count,
            ));
            (spaced, bold, count) = (false, 0, 0);
        }
        if count == 0 {
            piece.x0 = glyph.x;
            piece.y = row.y;
            end = glyph.x;
        } else {
            let apart = (WORD * size).max(spacing);
            if gap > apart || spaced && gap > 0.03 * size {
                items.push(Item {
                    text: " ".to_owned(),
                    space: true,
                });
            }
        }
        let text = glyph.as_str(&mut [0; 4]).to_owned();
        match items.last_mut() {
            Some(base) if !base.space && text.chars().all(bidi::is_mark) => {
                base.text.push_str(&text)
            }
            _ => items.push(Item { text, space: false }),
        }
        piece.size = piece.size.max(glyph.size);
        sizes.add(glyph.size);
        end = end.max(glyph.x + glyph.advance);
        bold += usize::from(glyph.face.bold);
        count += 1;
        spaced = false;
    }
    if count > 0 {
        piece.size = sizes.usual();
        pieces.push(finish(piece, &mut items, end, bold * 2 > count));
    }
    pieces
}

/// Counts font sizes of glyphs.
#[derive(Default)]
struct Sizes(Vec<(f32, usize)>);

impl Sizes {
    fn add(&mut self, size: f32) {
        match self
            .0
            .iter_mut()
            .find(|(known, _)| (*known - size).abs() < 0.1)
        {
            Some((_, count)) => *count += 1,
            None => self.0.push((size, 1)),
        }
    }

    /// Returns the most frequent size, the larger one of a tie.
    fn usual(self) -> f32 {
        let most = self
            .0
            .into_iter()
            .max_by(|a, b| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0)));
        most.map_or(0.0, |m| m.0)
    }
}

/// Returns the gap that separates words in letter-spaced text; 0 for ordinary text.
fn letter_spacing(glyphs: &[Glyph]) -> f32 {
    let letters: Vec<&Glyph> = glyphs.iter().filter(|g| !g.is_space()).collect();
    let spaces = glyphs.len() - letters.len();
    let mut gaps: Vec<f32> = letters
        .iter()
        .zip(letters.iter().skip(1))
        .map(|(a, b)| (b.x - a.x - a.advance) / b.size.max(1.0))
        .collect();
    if gaps.len() < 6 {
        return 0.0;
    }
    gaps.sort_by(f32::total_cmp);
    // Lines of single letters separated by spaces are not letter-spaced text.
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(0.0);
    let size = letters.first().map_or(1.0, |g| g.size);
    if middle > 0.12 && middle < 1.0 && spaces * 3 < letters.len() {
        middle * 1.6 * size
    } else {
        0.0
    }
}

fn finish(mut piece: Piece, items: &mut Vec<Item>, end: f32, bold: bool) -> Piece {
    piece.x1 = end.max(piece.x0);
    piece.bold = bold;
    let items = std::mem::take(items);
    let (right, left) = items.iter().fold((0, 0), |(right, left), item| {
        match bidi::direction(&item.text) {
            Some(true) => (right + 1, left),
            Some(false) => (right, left + 1),
            None => (right, left),
        }
    });
    piece.rtl = right > left;
    let items = if right == 0 {
        items
    } else {
        bidi::logical(items, piece.rtl)
    };
    piece.text = items.into_iter().map(|i| i.text).collect();
    piece
}

/// Returns the most frequent font size.
pub(crate) fn usual_size(pieces: &[Piece]) -> f32 {
    let mut sizes: Vec<(f32, usize)> = pieces.iter().map(|p| (p.size, p.text.len())).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = sizes.iter().map(|s| s.1).sum::<usize>() / 2;
    let mut seen = 0;
    let middle = sizes.iter().find(|(_, letters)| {
        seen += letters;
        seen >= half
    });
    middle.map_or(10.0, |m| m.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::glyphs::tests::line;
    use super::*;

    fn texts(glyphs: Vec<Glyph>) -> Vec<String> {
        pieces(glyphs, &[]).into_iter().map(|p| p.text).collect()
    }

    #[test]
    fn words_and_pieces_are_parted_by_gaps() {
        let mut glyphs = line("two", 10.0, 50.0, 10.0);
        glyphs.extend(line("words", 28.0, 50.0, 10.0));
        glyphs.extend(line("far", 90.0, 50.5, 10.0));
        assert_eq!(texts(glyphs), ["two words", "far"]);
    }

    #[test]
    fn superscripts_stay_with_their_word() {
        let mut glyphs = line("area", 10.0, 50.0, 10.0);
        glyphs.extend(line("2", 30.2, 46.0, 6.0));
        glyphs.extend(line("below", 10.0, 62.0, 10.0));
        assert_eq!(texts(glyphs), ["area2", "below"]);
    }

    #[test]
    fn hebrew_is_read_from_the_right() {
        // In visual order: the last letter leftmost; the number keeps its direction.
        let mut glyphs = line("(12 ", 10.0, 50.0, 10.0);
        glyphs.extend(line("\u{5dd}\u{5d5}\u{5dc}\u{5e9})", 30.0, 50.0, 10.0));
        assert_eq!(texts(glyphs), ["(\u{5e9}\u{5dc}\u{5d5}\u{5dd} 12)"]);
    }
}
