//! Distinguishes rows from headers: by the kinds of values in each column, and by bold text.

use std::collections::HashMap;
use std::ops::Range;

use crate::parse::sheet::grid::{Cell, Grid, Kind};

/// Maximum rows of a table that are analysed.
const ROWS: usize = 200;

/// Relation of a block to the table above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Its first row is a row of the table.
    Row,
    /// Its first row is a header, or it has other columns.
    Header,
    /// Undecided.
    Unknown,
}

/// Statistics of a table's columns.
pub(super) struct Profile {
    /// Numbers of values, codes and words in the rows, by column with text.
    columns: HashMap<u32, [usize; 3]>,
    rows: usize,
    first: u32,
    header_is_bold: bool,
    bold_rows: usize,
}

fn index(kind: Kind) -> usize {
    match kind {
        Kind::Value => 0,
        Kind::Code => 1,
        Kind::Word => 2,
    }
}

/// Returns the kind of more than half of the values.
fn majority([values, codes, words]: [usize; 3]) -> Option<Kind> {
    let all = values + codes + words;
    [
        (values, Kind::Value),
        (codes, Kind::Code),
        (words, Kind::Word),
    ]
    .into_iter()
    .find(|(count, _)| count * 2 > all)
    .map(|(_, kind)| kind)
}

fn is_bold<'g>(mut cells: impl Iterator<Item = Cell<'g>>) -> bool {
    cells.all(|c| c.bold)
}

impl Profile {
    pub(super) fn new(grid: &Grid, header: usize) -> Self {
        Self {
            columns: grid.cells(header).map(|c| (c.column, [0; 3])).collect(),
            rows: 0,
            first: grid.cells(header).next().map_or(0, |c| c.column),
            header_is_bold: is_bold(grid.cells(header)),
            bold_rows: 0,
        }
    }

    /// Adds a row to the statistics.
    pub(super) fn add(&mut self, grid: &Grid, row: usize) {
        if self.rows >= ROWS {
            return;
        }
        self.rows += 1;
        self.bold_rows += usize::from(is_bold(grid.cells(row)));
        for cell in grid.cells(row) {
            self.first = self.first.min(cell.column);
            if let Some(count) = self
                .columns
                .entry(cell.column)
                .or_default()
                .get_mut(index(cell.kind))
            {
                *count += 1;
            }
        }
    }

    /// Returns whether the table has the column.
    pub(super) fn has(&self, column: u32) -> bool {
        self.columns.contains_key(&column)
    }

    /// Returns the relation of a block to the table.
    pub(super) fn likeness(&self, grid: &Grid, block: &Range<usize>) -> Likeness {
        let first = block.start;
        let (mut alike, mut unlike) = (0, 0);
        for cell in grid.cells(first) {
            let Some(kind) = self.columns.get(&cell.column).copied().and_then(majority) else {
                continue;
            };
            match (kind, cell.kind) {
                (Kind::Value, Kind::Value) | (Kind::Code, Kind::Code) => alike += 1,
                (Kind::Value | Kind::Code, Kind::Word) => unlike += 1,
                // Years may be headers as well as values; words are not distinctive.
                (Kind::Value, Kind::Code) | (Kind::Code, Kind::Value) | (Kind::Word, _) => {}
            }
        }
        let inside = block
            .clone()
            .take(ROWS)
            .all(|row| grid.cells(row).all(|c| self.has(c.column)));
        let starts = grid.cells(first).next().map(|c| c.column) == Some(self.first);
        if alike > unlike && (inside || starts && grid.cells(first).any(|c| c.kind == Kind::Value))
        {
            return Likeness::Row;
        }
        if !inside {
            return Likeness::Header;
        }
        // If the header is bold and the rows are not, bold text decides.
        if self.header_is_bold && self.rows > 0 && self.bold_rows * 2 < self.rows {
            return if is_bold(grid.cells(first)) {
                Likeness::Header
            } else {
                Likeness::Row
            };
        }
        if unlike > alike {
            return Likeness::Header;
        }
        match is_header(grid, block) {
            Some(true) => Likeness::Header,
            Some(false) => Likeness::Row,
            None => Likeness::Unknown,
        }
    }
}

/// Returns whether the first row of a block is the header of the others; `None` when undecided.
pub(super) fn is_header(grid: &Grid, block: &Range<usize>) -> Option<bool> {
    let first = block.start;
    let body = || block.clone().skip(1).take(ROWS);
    if is_bold(grid.cells(first)) && body().next().is_some_and(|row| !is_bold(grid.cells(row))) {
        return Some(true);
    }
    if grid.cells(first).any(|c| c.kind == Kind::Value) {
        return Some(false);
    }
    let mut counts: HashMap<u32, [usize; 3]> = HashMap::new();
    for cell in body().flat_map(|row| grid.cells(row)) {
        if let Some(count) = counts
            .entry(cell.column)
            .or_default()
            .get_mut(index(cell.kind))
        {
            *count += 1;
        }
    }
    let heads =
        grid.cells(first).any(
            |c| match counts.get(&c.column).copied().and_then(majority) {
                Some(Kind::Value) => true,
                Some(Kind::Code) => c.kind == Kind::Word,
                Some(Kind::Word) | None => false,
            },
        );
    heads.then_some(true)
}
