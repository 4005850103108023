//! How cells are shown: their number formats, bold letters, hidden rows and columns. calamine tells none of it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::parse::sheet::format::{Format, builtin};

/// The style of a cell.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) format: Rc<Format>,
    pub(super) bold: bool,
}

/// How the cells of a sheet are shown.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Row, column and style of each cell, in order.
    pub(super) cells: Vec<(u32, u16, u16)>,
    pub(super) hidden_rows: HashSet<u32>,
    pub(super) hidden_columns: Vec<(u32, u32)>,
}

/// How the cells of a workbook are shown.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) styles: Vec<Style>,
    /// In the order of the sheets.
    pub(super) sheets: Vec<Look>,
    pub(super) date1904: bool,
}

impl Looks {
    /// Returns the style of a cell of a sheet.
    pub(super) fn style(&self, look: &Look, row: u32, column: u32) -> Option<&Style> {
        let key = (row, u16::try_from(column).ok()?);
        let found = look
            .cells
            .binary_search_by_key(&key, |(row, column, _)| (*row, *column));
        let (_, _, style) = look.cells.get(found.ok()?)?;
        self.styles.get(usize::from(*style))
    }
}

impl Look {
    pub(super) fn is_hidden(&self, row: u32) -> bool {
        self.hidden_rows.contains(&row)
    }

    /// Puts the cells in order, as a file may have them in another.
    pub(super) fn sort(&mut self) {
        if !self.cells.is_sorted() {
            self.cells.sort_unstable();
        }
    }
}

/// The number formats of a workbook, each read once.
pub(super) struct Formats {
    codes: HashMap<u16, String>,
    read: HashMap<u16, Rc<Format>>,
}

impl Formats {
    /// Formats from the codes that the workbook names.
    pub(super) fn new(codes: HashMap<u16, String>) -> Self {
        Self {
            codes,
            read: HashMap::new(),
        }
    }

    /// Returns a format by its number.
    pub(super) fn get(&mut self, id: u16) -> Rc<Format> {
        let codes = &self.codes;
        let format = self.read.entry(id).or_insert_with(|| {
            // Built-in formats are written, too; those of dates follow the reader's computer all the same.
            let code = codes
                .get(&id)
                .map(String::as_str)
                .filter(|_| id != 14 && id != 22);
            Rc::new(Format::new(code.unwrap_or(builtin(u32::from(id)))))
        });
        Rc::clone(format)
    }
}
