//! Tables with ruled lines.

use super::glyphs::{Glyph, Rule};
use super::layout;
use super::tables;
use super::write::Paragraph;

/// Distance below which rules are merged.
const NEAR: f32 = 3.0;
/// Distance by which rules must extend beyond the others to imply the side of a table.
const OPEN: f32 = 12.0;
/// Maximum size of ruled tables.
const COLUMNS: usize = 60;
const ROWS: usize = 400;

/// A table with its position on the page.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub x0: f32,
    pub x1: f32,
    pub top: f32,
    pub bottom: f32,
    pub table: Paragraph,
}

/// Extracts the ruled tables from a page's glyphs.
pub(crate) fn take(mut glyphs: Vec<Glyph>, rules: &[Rule]) -> (Vec<Placed>, Vec<Glyph>) {
    let mut tables = Vec::new();
    for grid in grids(rules) {
        let inside = |g: &Glyph| {
            let (x, y) = (g.x + g.advance / 2.0, g.y - 0.3 * g.size);
            x > grid.x0() && x < grid.x1() && y > grid.y0() && y < grid.y1()
        };
        let (within, rest): (Vec<Glyph>, Vec<Glyph>) = glyphs.into_iter().partition(inside);
        match grid.fill(&within) {
            Some(table) => {
                tables.push(table);
                glyphs = rest;
            }
            None => {
                glyphs = rest;
                glyphs.extend(within);
            }
        }
    }
    (tables, glyphs)
}

/// Rules of a table.
struct Grid {
    xs: Vec<f32>,
    ys: Vec<f32>,
    upright: Vec<Rule>,
}

impl Grid {
    fn x0(&self) -> f32 {
        self.xs.first().copied().unwrap_or(0.0)
    }
    fn x1(&self) -> f32 {
        self.xs.last().copied().unwrap_or(0.0)
    }
    fn y0(&self) -> f32 {
        self.ys.first().copied().unwrap_or(0.0)
    }
    fn y1(&self) -> f32 {
        self.ys.last().copied().unwrap_or(0.0)
    }

    fn fill(&self, glyphs: &[Glyph]) -> Option<Placed> {
        let (columns, rows) = (self.xs.len() - 1, self.ys.len() - 1);
        let mut cells = vec![vec![String::new(); columns]; rows];
        for piece in layout::pieces(glyphs.to_vec(), &self.upright) {
            let row = slot(&self.ys, piece.y - 0.3 * piece.size);
            let column = slot(
                &self.xs,
                piece.x0 + (0.5 * piece.size).min((piece.x1 - piece.x0) / 2.0),
            );
            if let Some(cell) = cells.get_mut(row).and_then(|r| r.get_mut(column)) {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&piece.text);
            }
        }
        cells.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        let used = |column: usize| {
            cells
                .iter()
                .any(|row| row.get(column).is_some_and(|c| !c.is_empty()))
        };
        let used: Vec<bool> = (0..columns).map(used).collect();
        let full = cells.iter().flatten().filter(|c| !c.is_empty()).count();
        // Frames, charts and forms have lines, too.
        if cells.len() < 2
            || used.iter().filter(|u| **u).count() < 2
            || full * 5 < cells.len() * columns * 2
        {
            return None;
        }
        for row in &mut cells {
            let mut keep = used.iter();
            row.retain(|_| keep.next().copied().unwrap_or(false));
        }
        let lines = tables::header_lines(&cells);
        let mut rows = cells.into_iter();
        let mut header = rows.next()?;
        for more in rows.by_ref().take(lines - 1) {
            tables::add(&mut header, more);
        }
        let cells: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        Some(Placed {
            x0: self.x0(),
            x1: self.x1(),
            top: self.y0(),
            bottom: self.y1(),
            table: tables::markdown(&cells)?,
        })
    }
}

/// Returns the index of the interval between lines that contains a position.
fn slot(lines: &[f32], place: f32) -> usize {
    lines
        .iter()
        .skip(1)
        .take_while(|line| **line < place)
        .count()
}

/// Groups touching rules into grids of at least two columns and two rows.
fn grids(rules: &[Rule]) -> Vec<Grid> {
    let upright = |r: &Rule| r.y1 - r.y0 > r.x1 - r.x0;
    let mut groups: Vec<(Rule, Vec<Rule>)> = Vec::new();
    if rules.len() > 4_000 || !rules.iter().any(upright) {
        return Vec::new();
    }
    for rule in rules {
        let mut bounds = *rule;
        let mut members = vec![*rule];
        // All touching rules form one group; bounds are approximate, and `fill` is exact.
        groups.retain_mut(|(other, own)| {
            let touching = own.iter().any(|o| touch(o, rule));
            if touching {
                bounds = union(&bounds, other);
                members.append(own);
            }
            !touching
        });
        groups.push((bounds, members));
    }
    let grid = |(_, members): (Rule, Vec<Rule>)| {
        let (upright, level): (Vec<Rule>, Vec<Rule>) =
            members.into_iter().partition(|r| upright(r));
        let across = |r: &Rule| (r.x0 + r.x1) / 2.0;
        let along = |r: &Rule| (r.y0 + r.y1) / 2.0;
        // Tables may lack outer rules; then the perpendicular ones extend further.
        let xs = distinct(
            upright.iter().map(across),
            level.iter().map(|r| (r.x0, r.x1)),
        );
        let ys = distinct(
            level.iter().map(along),
            upright.iter().map(|r| (r.y0, r.y1)),
        );
        let fits = (3..COLUMNS).contains(&xs.len()) && (3..ROWS).contains(&ys.len());
        fits.then_some(Grid { xs, ys, upright })
    };
    groups.into_iter().filter_map(grid).collect()
}

fn touch(a: &Rule, b: &Rule) -> bool {
    a.x0 <= b.x1 + NEAR && b.x0 <= a.x1 + NEAR && a.y0 <= b.y1 + NEAR && b.y0 <= a.y1 + NEAR
}

fn union(a: &Rule, b: &Rule) -> Rule {
    Rule {
        x0: a.x0.min(b.x0),
        y0: a.y0.min(b.y0),
        x1: a.x1.max(b.x1),
        y1: a.y1.max(b.y1),
    }
}

/// Returns the distinct positions of rules, and the ends of perpendicular ones that extend further.
fn distinct(
    places: impl Iterator<Item = f32>,
    across: impl Iterator<Item = (f32, f32)>,
) -> Vec<f32> {
    let mut places: Vec<f32> = places.collect();
    places.sort_by(f32::total_cmp);
    let (low, high) = across.fold((f32::MAX, f32::MIN), |ends, rule| {
        (ends.0.min(rule.0), ends.1.max(rule.1))
    });
    if let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) {
        if low < first - OPEN {
            places.insert(0, low);
        }
        if high > last + OPEN {
            places.push(high);
        }
    }
    places.dedup_by(|b, a| (*b - *a).abs() < NEAR);
    places
}
