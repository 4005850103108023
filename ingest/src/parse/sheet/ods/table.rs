//! A table of an `OpenDocument` spreadsheet: rows and cells may have repeat counts.

use quick_xml::events::BytesStart;

use super::styles::Styles;
use crate::parse::sheet::grid::Kind;
use crate::parse::sheet::stream::attribute;
use crate::parse::sheet::{Comment, Sheet, column_name};

/// Maximum rows and columns of a sheet.
const MAX_ROW: u32 = 1 << 20;
const MAX_COLUMN: u32 = 1 << 14;

/// A cell of the current row.
struct Cell {
    column: u32,
    repeated: u32,
    kind: Kind,
    bold: bool,
    text: String,
}

#[derive(Default)]
pub(super) struct Table {
    sheet: Sheet,
    pub(super) texts: Vec<String>,
    /// Text of the open cell.
    pub(super) text: String,
    open: Option<Cell>,
    cells: Vec<Cell>,
    /// Names of the column styles, each with its number of columns.
    columns: u32,
    row: u32,
    row_repeated: u32,
    row_hidden: bool,
    column: u32,
}

fn repeated(start: &BytesStart<'_>, name: &str) -> u32 {
    attribute(start, name)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
        .clamp(1, MAX_ROW)
}

fn is_hidden(start: &BytesStart<'_>) -> bool {
    matches!(
        attribute(start, "visibility").as_deref(),
        Some("collapse" | "filter")
    )
}

impl Table {
    pub(super) fn new(start: &BytesStart<'_>, styles: &Styles) -> Self {
        let style = attribute(start, "style-name").unwrap_or_default();
        Self {
            sheet: Sheet {
                name: attribute(start, "name").unwrap_or_default(),
                hidden: styles.is_hidden(&style),
                ..Sheet::default()
            },
            ..Self::default()
        }
    }

    pub(super) fn column(&mut self, start: &BytesStart<'_>) {
        let first = self.columns;
        self.columns = first.saturating_add(repeated(start, "number-columns-repeated"));
        if is_hidden(start) {
            self.sheet.hidden_columns.push((first, self.columns - 1));
        }
    }

    pub(super) fn open_row(&mut self, start: &BytesStart<'_>) {
        self.row_repeated = repeated(start, "number-rows-repeated");
        self.row_hidden = is_hidden(start);
        self.column = 0;
        self.cells.clear();
    }

    pub(super) fn open_cell(&mut self, start: &BytesStart<'_>, styles: &Styles) {
        self.text.clear();
        let of = |name: &str| attribute(start, name);
        let kind = of("value-type");
        // Displayed value without a paragraph.
        let value = match kind.as_deref() {
            Some("string") => of("string-value"),
            Some("date") => of("date-value"),
            Some("time") => of("time-value"),
            Some("boolean") => of("boolean-value").map(|v| v.to_uppercase()),
            _ => of("value"),
        };
        let repeated = repeated(start, "number-columns-repeated");
        self.open = Some(Cell {
            column: self.column,
            repeated,
            kind: match kind.as_deref() {
                None | Some("string") => Kind::Word,
                Some(_) => Kind::Value,
            },
            bold: of("style-name").is_some_and(|s| styles.is_bold(&s)),
            text: value.unwrap_or_default(),
        });
        self.column = self.column.saturating_add(repeated);
    }

    pub(super) fn close_cell(&mut self) {
        let Some(mut cell) = self.open.take() else {
            return;
        };
        if !self.text.trim().is_empty() {
            cell.text = std::mem::take(&mut self.text);
        }
        if cell.kind != Kind::Value {
            cell.kind = Kind::of(&cell.text);
        }
        if !cell.text.trim().is_empty() {
            self.cells.push(cell);
        }
    }

    /// Adds a comment to the open cell.
    pub(super) fn comment(&mut self, text: String) {
        let column = self.open.as_ref().map_or(0, |c| c.column);
        if !text.trim().is_empty() {
            self.sheet.comments.push(Comment {
                cell: format!("{}{}", column_name(column), self.row + 1),
                text,
            });
        }
    }

    pub(super) fn close_row(&mut self) {
        let first = self.row;
        self.row = first.saturating_add(self.row_repeated);
        if self.cells.is_empty() {
            return;
        }
        for number in first..self.row.min(MAX_ROW) {
            self.sheet.grid.row(number, self.row_hidden);
            for cell in &self.cells {
                let after = cell.column.saturating_add(cell.repeated).min(MAX_COLUMN);
                for column in cell.column..after {
                    let added = self
                        .sheet
                        .grid
                        .cell(column, cell.kind, cell.bold, |out| out.push_str(&cell.text));
                    if !added {
                        self.sheet.cut = true;
                        return;
                    }
                }
            }
        }
    }

    pub(super) fn finish(self) -> Sheet {
        Sheet {
            texts: self.texts,
            ..self.sheet
        }
    }
}
