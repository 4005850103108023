//! Display properties of cells that calamine does not provide: number formats, bold text, hidden rows and columns.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::parse::sheet::format::{Format, builtin};

/// The style of a cell.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) format: Rc<Format>,
    pub(super) bold: bool,
}

/// Display properties of the cells of a sheet.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Row, column and style of each cell, in order.
    pub(super) cells: Vec<(u32, u16, u16)>,
    pub(super) hidden_rows: HashSet<u32>,
    pub(super) hidden_columns: Vec<(u32, u32)>,
}

/// Display properties of a workbook.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) styles: Vec<Style>,
    /// In the order of the sheets.
    pub(super) sheets: Vec<Look>,
    pub(super) date1904: bool,
}

impl Looks {
    /// Returns the style of a cell.
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

    /// Sorts the cells, which may be in any order in the file.
    pub(super) fn sort(&mut self) {
        if !self.cells.is_sorted() {
            self.cells.sort_unstable();
        }
    }
}

/// The number formats of a workbook, each parsed once.
pub(super) struct Formats {
    codes: HashMap<u16, String>,
    read: HashMap<u16, Rc<Format>>,
}

impl Formats {
    /// Returns the formats for the codes defined by the workbook.
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
            // Workbooks also define built-in formats; those of dates depend on the reader's locale all the same.
            let code = codes
                .get(&id)
                .map(String::as_str)
                .filter(|_| id != 14 && id != 22);
            Rc::new(Format::new(code.unwrap_or(builtin(u32::from(id)))))
        });
        Rc::clone(format)
    }
}
