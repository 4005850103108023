//! Formatted values of a sheet, stored compactly by row: all texts in one string, non-empty cells only.

/// Maximum bytes of text of a workbook's cells including separators; a document may not be longer anyway.
pub(super) const MAX_TEXT: usize = 68 << 20;
/// Bytes of the separator between cells.
const DIVISION: usize = 3;

/// Kind of a value, for distinguishing rows from headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, a date, a truth value or an error.
    Value,
    /// A text with digits: a code, a telephone number.
    Code,
    /// Any other text.
    Word,
}

impl Kind {
    /// Returns the kind of a text.
    pub(super) fn of(text: &str) -> Self {
        if text.bytes().any(|b| b.is_ascii_digit()) {
            Self::Code
        } else {
            Self::Word
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    end: u32,
    column: u32,
    kind: Kind,
    bold: bool,
}

/// A non-empty cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'g> {
    /// From 0.
    pub(super) column: u32,
    pub(super) text: &'g str,
    pub(super) kind: Kind,
    pub(super) bold: bool,
}

#[derive(Debug)]
struct Row {
    number: u32,
    hidden: bool,
    first: usize,
    after: usize,
}

/// The cells of a sheet by row, without empty rows and cells.
#[derive(Debug, Default)]
pub(super) struct Grid {
    text: String,
    cells: Vec<Place>,
    rows: Vec<Row>,
}

impl Grid {
    /// Starts a row, counted from 0. Added cells belong to the last row.
    pub(super) fn row(&mut self, number: u32, hidden: bool) {
        self.drop_empty();
        self.rows.push(Row {
            number,
            hidden,
            first: self.cells.len(),
            after: self.cells.len(),
        });
    }

    /// Adds a cell to the last row, unless it is blank. Returns false when the limit is reached.
    pub(super) fn cell(
        &mut self,
        column: u32,
        kind: Kind,
        bold: bool,
        write: impl FnOnce(&mut String),
    ) -> bool {
        let start = self.text.len();
        write(&mut self.text);
        if self.text.get(start..).is_none_or(|t| t.trim().is_empty()) {
            self.text.truncate(start);
            return true;
        }
        let room = self.size() < MAX_TEXT;
        let ends = u32::try_from(start)
            .ok()
            .zip(u32::try_from(self.text.len()).ok());
        match (ends, self.rows.last_mut()) {
            (Some((start, end)), Some(row)) if room => {
                self.cells.push(Place {
                    start,
                    end,
                    column,
                    kind,
                    bold,
                });
                row.after = self.cells.len();
                true
            }
            _ => {
                self.text.truncate(start);
                false
            }
        }
    }

    /// Returns the approximate size of the written cells in bytes.
    pub(super) fn size(&self) -> usize {
        self.text.len() + DIVISION * self.cells.len()
    }

    /// Sorts rows and cells.
    pub(super) fn finish(&mut self) {
        self.drop_empty();
        for row in &self.rows {
            if let Some(cells) = self.cells.get_mut(row.first..row.after)
                && !cells.is_sorted_by_key(|c| c.column)
            {
                cells.sort_by_key(|c| c.column);
            }
        }
        if !self.rows.is_sorted_by_key(|r| r.number) {
            self.rows.sort_by_key(|r| r.number);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the number of non-empty rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of a row, counted from 0, by its index among the non-empty ones.
    pub(super) fn number(&self, row: usize) -> u32 {
        self.rows.get(row).map_or(0, |r| r.number)
    }

    /// Returns the numbers of the hidden rows.
    pub(super) fn hidden_rows(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().filter(|r| r.hidden).map(|r| r.number)
    }

    /// Returns the non-empty columns.
    pub(super) fn columns(&self) -> std::collections::BTreeSet<u32> {
        self.cells.iter().map(|c| c.column).collect()
    }

    /// Returns the cells of a row by its index among the non-empty ones.
    pub(super) fn cells(&self, row: usize) -> impl DoubleEndedIterator<Item = Cell<'_>> + Clone {
        let range = self.rows.get(row).map_or(0..0, |r| r.first..r.after);
        let cells = self.cells.get(range).unwrap_or_default();
        cells.iter().map(|c| Cell {
            column: c.column,
            text: self
                .text
                .get(c.start as usize..c.end as usize)
                .unwrap_or_default(),
            kind: c.kind,
            bold: c.bold,
        })
    }

    /// Returns the number of non-empty cells of a row.
    pub(super) fn width(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |r| r.after - r.first)
    }

    fn drop_empty(&mut self) {
        self.rows.pop_if(|r| r.first == r.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_order_and_blank_cells_are_none() {
        let mut grid = Grid::default();
        for (row, column, text) in [(4, 2, "c"), (4, 0, "a"), (1, 0, " "), (2, 1, "b")] {
            if column != 0 || row != 4 {
                grid.row(row, false);
            }
            assert!(grid.cell(column, Kind::Word, false, |out| out.push_str(text)));
        }
        grid.finish();
        let rows: Vec<(u32, Vec<&str>)> = (0..grid.len())
            .map(|r| (grid.number(r), grid.cells(r).map(|c| c.text).collect()))
            .collect();
        assert_eq!(rows, [(2, vec!["b"]), (4, vec!["a", "c"])]);
    }
}
