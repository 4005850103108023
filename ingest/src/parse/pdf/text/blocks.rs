//! Reading order: columns, tables, and text above and below them.

use super::directions;
use super::glyphs::{Glyph, Rule};
use super::layout::{self, Piece};
use super::ruled::{self, Placed};
use super::tables::{self, Segment, Verdict};
use super::write::{self, Paragraph};

/// Minimum width of a gap between columns, in ems.
const GUTTER: f32 = 0.9;
/// Maximum nesting of columns, and maximum number of gap positions tried.
const DEPTH: usize = 30;
const CANDIDATES: usize = 48;
/// Maximum right margin, as a share of the page width.
const MARGIN: f32 = 0.22;

/// An item to be put in reading order.
#[derive(Clone)]
enum Part {
    Piece(Piece),
    Table(Placed),
}

impl Part {
    fn x0(&self) -> f32 {
        match self {
            Self::Piece(piece) => piece.x0,
            Self::Table(table) => table.x0,
        }
    }
    fn x1(&self) -> f32 {
        match self {
            Self::Piece(piece) => piece.x1,
            Self::Table(table) => table.x1,
        }
    }
    fn top(&self) -> f32 {
        match self {
            Self::Piece(piece) => piece.top(),
            Self::Table(table) => table.top,
        }
    }
    fn bottom(&self) -> f32 {
        match self {
            Self::Piece(piece) => piece.bottom(),
            Self::Table(table) => table.bottom,
        }
    }
}

/// Returns the paragraphs of a page in reading order.
pub(crate) fn paragraphs(glyphs: Vec<Glyph>, rules: &[Rule], width: f32) -> Vec<Paragraph> {
    let mut paragraphs = Vec::new();
    for turned in directions::by_direction(glyphs, rules) {
        let (tables, rest) = ruled::take(turned.glyphs, &turned.rules);
        let pieces = with_bullets(layout::pieces(rest, &[]));
        let size = layout::usual_size(&pieces);
        let mut parts: Vec<Part> = pieces.into_iter().map(Part::Piece).collect();
        parts.extend(tables.into_iter().map(Part::Table));
        let edge = if turned.upright {
            width * (1.0 - MARGIN)
        } else {
            0.0
        };
        order(parts, Column { size, edge }, 0, &mut paragraphs);
    }
    paragraphs
}

/// Joins bullets and numbers with the text after them, so that they are not mistaken for a column.
fn with_bullets(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(mark)
                if write::is_bullet(&mark.text)
                    && (piece.y - mark.y).abs() < 0.3 * piece.size
                    && (0.0..4.0 * piece.size).contains(&(piece.x0 - mark.x1)) =>
            {
                mark.text.push(' ');
                mark.text.push_str(&piece.text);
                mark.x1 = piece.x1;
                mark.size = piece.size;
                mark.bold = piece.bold;
                mark.rtl = piece.rtl;
            }
            _ => joined.push(piece),
        }
    }
    joined
}

/// The column whose parts are ordered.
#[derive(Clone, Copy)]
struct Column {
    /// Usual font size of the page.
    size: f32,
    /// Right edge of its lines.
    edge: f32,
}

fn order(mut parts: Vec<Part>, column: Column, depth: usize, into: &mut Vec<Paragraph>) {
    parts.sort_by(|a, b| a.top().total_cmp(&b.top()));
    let gap = if depth < DEPTH {
        widest_gap(&parts, column.size * GUTTER)
    } else {
        None
    };
    let Some(gap) = gap else {
        return flow(parts, column.edge, into);
    };
    let mut below = parts.split_off(gap.end.min(parts.len()));
    let mut beside = parts.split_off(gap.start.min(parts.len()));
    if let Some(foot) = last_row(&beside, column.size) {
        below.splice(0..0, beside.split_off(foot));
    }
    if !parts.is_empty() {
        order(parts, column, depth + 1, into);
    }
    columns(beside, &gap, column, depth, into);
    if !below.is_empty() {
        order(below, column, depth + 1, into);
    }
}

/// Returns the start of a last line far below everything else, such as a page footer.
fn last_row(parts: &[Part], size: f32) -> Option<usize> {
    let foot = parts.last()?;
    let at = parts
        .iter()
        .rposition(|p| p.bottom() < foot.top() - 0.1 * size)?
        + 1;
    let lowest = parts
        .iter()
        .take(at)
        .map(Part::bottom)
        .fold(f32::MIN, f32::max);
    (foot.top() - lowest > 1.5 * size && at > 2).then_some(at)
}

fn columns(beside: Vec<Part>, gap: &Gap, column: Column, depth: usize, into: &mut Vec<Paragraph>) {
    let pieces: Vec<Piece> = beside
        .iter()
        .filter_map(|part| match part {
            Part::Piece(piece) => Some(piece.clone()),
            Part::Table(_) => None,
        })
        .collect();
    let verdict = if pieces.len() == beside.len() {
        tables::judge(&pieces, column.size * GUTTER)
    } else {
        Verdict::Columns
    };
    match verdict {
        Verdict::Tables(segments) => {
            for segment in segments {
                match segment {
                    Segment::Table(table) => into.push(table),
                    Segment::Text(pieces) => flow(
                        pieces.into_iter().map(Part::Piece).collect(),
                        column.edge,
                        into,
                    ),
                }
            }
        }
        Verdict::Lines => flow(beside, column.edge, into),
        Verdict::Columns => {
            let rtl = pieces.iter().filter(|p| p.rtl).count() * 2 > pieces.len();
            let (left, right): (Vec<Part>, Vec<Part>) =
                beside.into_iter().partition(|p| p.x1() <= gap.at + 0.1);
            let narrow = Column {
                edge: gap.at,
                ..column
            };
            let sides = [(left, narrow), (right, column)];
            let mut ordered = Vec::from(sides);
            if rtl {
                ordered.reverse();
            }
            for (side, column) in ordered {
                order(side, column, depth + 1, into);
            }
        }
    }
}

/// Writes the text of one column and the tables in it.
fn flow(parts: Vec<Part>, edge: f32, into: &mut Vec<Paragraph>) {
    let mut pieces = Vec::new();
    for part in parts {
        match part {
            Part::Piece(piece) => pieces.push(piece),
            Part::Table(placed) => {
                into.extend(write::column(std::mem::take(&mut pieces), edge));
                into.push(placed.table);
            }
        }
    }
    into.extend(write::column(pieces, edge));
}

/// An empty vertical strip with parts on both sides.
struct Gap {
    at: f32,
    /// Range of the parts beside it.
    start: usize,
    end: usize,
}

/// Returns the gap with the highest score over all positions and all runs of parts that do not cross it.
fn widest_gap(parts: &[Part], width: f32) -> Option<Gap> {
    let mut best: Option<(f32, Gap)> = None;
    for at in candidates(parts, width) {
        let mut start = 0;
        for end in 0..=parts.len() {
            let crossing = parts
                .get(end)
                .is_none_or(|p| p.x0() < at + width - 0.1 && p.x1() > at + 0.1);
            if !crossing {
                continue;
            }
            let score = score(parts.get(start..end).unwrap_or_default(), at);
            if score > best.as_ref().map_or(0.0, |b| b.0) {
                best = Some((score, Gap { at, start, end }));
            }
            start = end + 1;
        }
    }
    best.map(|b| b.1)
}

/// Scores a gap: the shared height of both sides times the square root of the smaller number of parts.
fn score(parts: &[Part], at: f32) -> f32 {
    let (mut left, mut right) = (Side::default(), Side::default());
    for part in parts {
        let side = if part.x1() <= at + 0.1 {
            &mut left
        } else {
            &mut right
        };
        side.parts += 1 + usize::from(matches!(part, Part::Table(_)));
        side.top = side.top.min(part.top());
        side.bottom = side.bottom.max(part.bottom());
    }
    let shared = left.bottom.min(right.bottom) - left.top.max(right.top);
    let fewer = left.parts.min(right.parts);
    if fewer < 2 || shared <= 0.0 {
        return 0.0;
    }
    shared * (fewer as f32).sqrt()
}

struct Side {
    parts: usize,
    top: f32,
    bottom: f32,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            parts: 0,
            top: f32::MAX,
            bottom: f32::MIN,
        }
    }
}

/// Returns candidate positions of gaps: the most frequent ends and starts of parts.
fn candidates(parts: &[Part], width: f32) -> Vec<f32> {
    let ends = frequent(parts.iter().map(Part::x1));
    let starts = frequent(parts.iter().map(|p| p.x0() - width));
    let mut all: Vec<f32> = ends.into_iter().chain(starts).collect();
    all.sort_by(f32::total_cmp);
    all.dedup_by(|b, a| (*b - *a).abs() < 0.05);
    all
}

fn frequent(places: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut places: Vec<f32> = places.collect();
    places.sort_by(f32::total_cmp);
    let mut counted: Vec<(f32, usize)> = Vec::new();
    for place in places {
        match counted.last_mut() {
            // The rightmost of nearly equal ends does not cross the others.
            Some((last, count)) if place - *last < 0.5 => {
                *last = place;
                *count += 1;
            }
            _ => counted.push((place, 1)),
        }
    }
    counted.sort_by_key(|(_, count)| usize::MAX - count);
    counted
        .into_iter()
        .take(CANDIDATES)
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::glyphs::tests::line;
    use super::*;

    fn texts(lines: &[(&str, f32, f32)]) -> Vec<String> {
        let glyphs = lines
            .iter()
            .flat_map(|(text, x, y)| line(text, *x, *y, 10.0))
            .collect();
        paragraphs(glyphs, &[], 300.0)
            .into_iter()
            .map(|p| p.text)
            .collect()
    }

    #[test]
    fn columns_are_read_one_after_the_other() {
        let found = texts(&[
            ("A title above both of the columns here", 40.0, 10.0),
            ("The left column has some", 10.0, 40.0),
            ("The right one goes on with", 160.0, 40.0),
            ("words in it, and then a", 10.0, 52.0),
            ("other words that belong to", 160.0, 52.0),
            ("last line.", 10.0, 64.0),
            ("nobody else.", 160.0, 64.0),
        ]);
        assert_eq!(
            found,
            [
                "A title above both of the columns here",
                "The left column has some words in it, and then a last line.",
                "The right one goes on with other words that belong to nobody else."
            ]
        );
    }

    #[test]
    fn cells_in_columns_are_a_table() {
        let found = texts(&[
            ("Wood", 10.0, 10.0),
            ("Length", 80.0, 10.0),
            ("Load", 150.0, 10.0),
            ("(feet)", 80.0, 22.0),
            ("Ash", 10.0, 34.0),
            ("9", 80.0, 34.0),
            ("210", 150.0, 34.0),
            ("Elm", 10.0, 46.0),
            ("12", 80.0, 46.0),
            ("260", 150.0, 46.0),
        ]);
        assert_eq!(
            found,
            [
                "| Wood | Length (feet) | Load |\n| --- | --- | --- |\n| Ash | 9 | 210 |\n| Elm | 12 | 260 |"
            ]
        );
    }
}
