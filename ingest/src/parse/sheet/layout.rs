//! Detects the tables of a sheet: which rows belong together, which of them is the header, and which are titles or remarks.
//!
//! Blank rows divide a sheet into blocks. A block continues the table above it when its first row resembles the rows of that table and not a header; all other
//! blocks are separate tables.

mod likeness;

use std::ops::Range;

use super::grid::{Grid, Kind};
use crate::parse::writer::Writer;
use likeness::{Likeness, Profile, is_header};

/// Width in columns up to which empty columns of a table are kept, and maximum number of its cells including them.
const MAX_SPREAD: u32 = 256;
const MAX_CELLS: u64 = 16 << 20;
/// Minimum number of lines of a single-column list, and maximum length of a text in it.
const LIST_LINES: usize = 4;
const LIST_TEXT: usize = 60;

/// A table that may be continued.
struct Table {
    /// Indices of its rows; the first is the header.
    rows: Vec<usize>,
    profile: Profile,
}

/// Writes the values of a sheet as titles, tables and lines.
pub(super) fn write(writer: &mut Writer, grid: &Grid) {
    let mut layout = Layout {
        writer,
        grid,
        open: None,
        header: None,
    };
    let blocks = blocks(grid);
    for (place, block) in blocks.iter().enumerate() {
        layout.block(block, blocks.get(place + 1));
    }
    layout.close();
}

/// Returns the runs of rows without a blank row between them.
fn blocks(grid: &Grid) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    for row in 0..grid.len() {
        match blocks.last_mut() {
            Some(block) if grid.number(row) - grid.number(row - 1) <= 1 => block.end = row + 1,
            _ => blocks.push(row..row + 1),
        }
    }
    blocks
}

struct Layout<'l> {
    writer: &'l mut Writer,
    grid: &'l Grid,
    open: Option<Table>,
    /// The last table, when other content separates it from rows that may still belong to it.
    header: Option<Table>,
}

impl Layout<'_> {
    fn block(&mut self, block: &Range<usize>, next: Option<&Range<usize>>) {
        // Rows with a single cell above wider ones are titles.
        let body = block
            .clone()
            .find(|r| self.grid.width(*r) > 1)
            .unwrap_or(block.end);
        let (titles, rows) = (block.start..body, body..block.end);
        if rows.is_empty() {
            self.lines(block);
            return;
        }
        let gap = self
            .open
            .as_ref()
            .and_then(|t| t.rows.last())
            .map_or(u32::MAX, |last| {
                self.grid.number(block.start) - self.grid.number(*last) - 1
            });
        if let Some(table) = &mut self.open {
            let goes_on = match table.profile.likeness(self.grid, &rows) {
                Likeness::Row => true,
                Likeness::Header => false,
                Likeness::Unknown => titles.is_empty() && gap <= 1,
            };
            if goes_on {
                // Titles within a table are rows of it.
                table.add(self.grid, block.clone());
                return;
            }
        } else if titles.is_empty()
            && let Some(table) = self.header.take()
            && table.profile.likeness(self.grid, &rows) == Likeness::Row
        {
            let mut again = Table {
                rows: table.rows.into_iter().take(1).collect(),
                profile: table.profile,
            };
            again.add(self.grid, rows);
            self.open = Some(again);
            return;
        }
        self.close();
        self.header = None;
        for row in titles {
            self.paragraph(row);
        }
        let is_remark = rows.len() == 1
            && next.is_some_and(|n| self.is_headed(n))
            && self.grid.cells(rows.start).all(|c| c.kind != Kind::Value);
        if is_remark {
            self.paragraph(rows.start);
            return;
        }
        self.open = Some(Table::new(self.grid, rows));
    }

    /// Returns whether a block has a header of its own, below its titles.
    fn is_headed(&self, block: &Range<usize>) -> bool {
        block
            .clone()
            .find(|r| self.grid.width(*r) > 1)
            .is_some_and(|first| is_header(self.grid, &(first..block.end)) == Some(true))
    }

    /// Writes a block of rows with a single cell each: paragraphs, or a list with a header.
    fn lines(&mut self, block: &Range<usize>) {
        let cells = || block.clone().filter_map(|r| self.grid.cells(r).next());
        let values = cells().filter(|c| c.kind == Kind::Value).count();
        if let Some(table) = &mut self.open
            && values == block.len()
            && cells().all(|c| table.profile.has(c.column))
        {
            table.add(self.grid, block.clone());
            return;
        }
        let first = cells().next().map(|c| c.column);
        let is_list = cells().all(|c| Some(c.column) == first)
            && cells().all(|c| c.text.chars().count() <= LIST_TEXT)
            && (block.len() >= LIST_LINES || values > 0 && block.len() > 1);
        self.header = self.close().or(self.header.take());
        if is_list {
            let table = Table::new(self.grid, block.clone());
            self.table(&table);
            return;
        }
        for row in block.clone() {
            self.paragraph(row);
        }
    }

    fn paragraph(&mut self, row: usize) {
        let texts: Vec<&str> = self.grid.cells(row).map(|c| c.text).collect();
        self.writer.paragraph(&texts.join(" "));
    }

    /// Writes the open table and returns it.
    fn close(&mut self) -> Option<Table> {
        let table = self.open.take()?;
        self.table(&table);
        Some(table)
    }

    fn table(&mut self, table: &Table) {
        let columns = table.columns(self.grid);
        let rows: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| {
                let mut written = Vec::new();
                for cell in self.grid.cells(*row) {
                    let place = columns.place(cell.column);
                    written.resize(written.len().max(place), String::new());
                    written.push(cell.text.to_owned());
                }
                written
            })
            .collect();
        self.writer.table(&rows);
    }
}

impl Table {
    fn new(grid: &Grid, rows: Range<usize>) -> Self {
        let mut table = Self {
            rows: vec![rows.start],
            profile: Profile::new(grid, rows.start),
        };
        table.add(grid, rows.start + 1..rows.end);
        table
    }

    fn add(&mut self, grid: &Grid, rows: Range<usize>) {
        for row in rows {
            self.profile.add(grid, row);
            self.rows.push(row);
        }
    }

    /// Returns the columns of a table; empty ones are kept, unless they make it too wide.
    fn columns(&self, grid: &Grid) -> Columns {
        let ends = self.rows.iter().fold((u32::MAX, 0), |(first, last), row| {
            let cells = grid.cells(*row);
            (
                cells.clone().next().map_or(first, |c| first.min(c.column)),
                cells.last().map_or(last, |c| last.max(c.column)),
            )
        });
        let spread = ends.1.saturating_sub(ends.0);
        if spread < MAX_SPREAD && u64::from(spread) * (self.rows.len() as u64) < MAX_CELLS {
            return Columns::All(ends.0);
        }
        let mut used: Vec<u32> = Vec::new();
        for row in &self.rows {
            used.extend(grid.cells(*row).map(|c| c.column));
            if used.len() > 1 << 20 {
                used.sort_unstable();
                used.dedup();
            }
        }
        used.sort_unstable();
        used.dedup();
        Columns::Used(used)
    }
}

/// Positions of a sheet's columns in a table.
enum Columns {
    /// All columns from this one on.
    All(u32),
    Used(Vec<u32>),
}

impl Columns {
    fn place(&self, column: u32) -> usize {
        match self {
            Self::All(first) => column.saturating_sub(*first) as usize,
            Self::Used(used) => used.partition_point(|u| *u < column),
        }
    }
}

#[cfg(test)]
mod tests;
