//! The cells of a sheet, parsed as a stream.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use quick_xml::events::{BytesStart, Event};

use super::package::Package;
use super::strings::Strings;
use super::styles::Style;
use crate::parse::causes;
use crate::parse::sheet::format::{general, serial};
use crate::parse::sheet::grid::Kind;
use crate::parse::sheet::stream::{attribute, is_true, position, resolve, unescape, value};
use crate::parse::sheet::{Output, Sheet, column_name};

/// Maximum rows and columns of a sheet.
const MAX_ROW: u32 = 1 << 20;
const MAX_COLUMN: u32 = 1 << 14;

/// Workbook data used by the cells of all sheets.
pub(super) struct Context {
    pub(super) styles: Vec<Style>,
    pub(super) strings: Strings,
    pub(super) date1904: bool,
}

/// Problems found in a sheet.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Cells whose text is missing in the string table.
    lost: Vec<String>,
    /// Number of formulas without a calculated value.
    formulas: usize,
    failure: Option<String>,
}

impl Found {
    pub(super) fn warn(&self, name: &str, output: &mut Output) {
        let named: Vec<&str> = self.lost.iter().take(10).map(String::as_str).collect();
        let named = named.join(", ");
        match self.lost.len() {
            0 => {}
            1 => output.warn(format!(
                "a cell of the sheet {name} refers to a missing shared string: {named}"
            )),
            lost => output.warn(format!(
                "{lost} cells of the sheet {name} refer to missing shared strings: {named}"
            )),
        }
        let remedy = "open and save the file in a spreadsheet program to calculate";
        match self.formulas {
            0 => {}
            1 => output.warn(format!(
                "a formula in the sheet {name} has no value; {remedy} it"
            )),
            formulas => output.warn(format!(
                "{formulas} formulas in the sheet {name} have no value; {remedy} them"
            )),
        }
        if let Some(cause) = &self.failure {
            output.warn(format!(
                "the sheet {name} could only be read partly: {cause}"
            ));
        }
    }
}

/// The current cell.
#[derive(Debug, Default)]
struct Cell {
    row: u32,
    column: u32,
    style: usize,
    kind: CellKind,
    has_formula: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum CellKind {
    #[default]
    Number,
    Shared,
    Text,
    Bool,
    Error,
    Date,
}

/// Reads the cells and the hidden columns.
pub(super) fn read(
    package: &mut Package<'_>,
    path: &str,
    context: &Context,
    sheet: &mut Sheet,
) -> Found {
    let mut found = Found::default();
    let Some(mut reader) = package.stream(path) else {
        found.failure = Some("it cannot be decompressed".to_owned());
        return found;
    };
    let mut buffer = Vec::new();
    let mut text = String::new();
    let mut cell = Cell::default();
    let (mut next_row, mut reading, mut phonetic) = (0, false, false);
    loop {
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(e) => {
                found.failure = Some(causes::of_xml(&e).to_owned());
                break;
            }
        };
        match event {
            Event::Start(start) => match start.local_name().as_ref() {
                "c" => {
                    open(&start, &mut cell);
                    text.clear();
                }
                "v" => reading = true,
                "t" => reading = !phonetic,
                "f" => cell.has_formula = true,
                "rPh" => phonetic = true,
                _ => structure(&start, &mut cell, &mut next_row, sheet),
            },
            Event::Empty(start) => match start.local_name().as_ref() {
                "c" => {
                    open(&start, &mut cell);
                    cell.column += 1;
                }
                "f" => cell.has_formula = true,
                _ => structure(&start, &mut cell, &mut next_row, sheet),
            },
            Event::Text(part) if reading => text.push_str(&part.xml10_content()),
            Event::CData(part) if reading => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if reading => resolve(&reference, &mut text),
            Event::End(end) => match end.local_name().as_ref() {
                "v" | "t" => reading = false,
                "rPh" => phonetic = false,
                "c" => {
                    if !close(&cell, &text, context, sheet, &mut found) {
                        sheet.cut = true;
                        break;
                    }
                    cell.column += 1;
                }
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
        buffer.clear();
    }
    found
}

/// Starts a cell. A cell without a name follows the preceding one.
fn open(start: &BytesStart<'_>, cell: &mut Cell) {
    cell.style = 0;
    cell.kind = CellKind::Number;
    cell.has_formula = false;
    for attribute in start.attributes().with_checks(false).flatten() {
        let value = attribute.value.as_ref();
        match attribute.key.as_ref() {
            "r" => {
                if let (_, Some(column)) = position(value) {
                    cell.column = column;
                }
            }
            "s" => cell.style = value.parse().unwrap_or_default(),
            "t" => {
                cell.kind = match value {
                    "s" => CellKind::Shared,
                    "str" | "inlineStr" => CellKind::Text,
                    "b" => CellKind::Bool,
                    "e" => CellKind::Error,
                    "d" => CellKind::Date,
                    _ => CellKind::Number,
                }
            }
            _ => {}
        }
    }
}

/// Handles row and column elements.
fn structure(start: &BytesStart<'_>, cell: &mut Cell, next_row: &mut u32, sheet: &mut Sheet) {
    match start.local_name().as_ref() {
        "row" => {
            let (mut number, mut hidden) = (*next_row, false);
            for attribute in start.attributes().with_checks(false).flatten() {
                match attribute.key.as_ref() {
                    "r" => {
                        let stated = attribute.value.parse::<u32>().ok();
                        number = stated.and_then(|n| n.checked_sub(1)).unwrap_or(number);
                    }
                    "hidden" => hidden = is_true(&value(&attribute)),
                    _ => {}
                }
            }
            *next_row = number.saturating_add(1);
            cell.row = number;
            cell.column = 0;
            sheet.grid.row(number, hidden);
        }
        "col" => {
            let end = |name: &str| attribute(start, name).and_then(|n| n.parse::<u32>().ok());
            let hidden = attribute(start, "hidden").is_some_and(|h| is_true(&h));
            if let (true, Some(first), Some(last)) = (hidden, end("min"), end("max")) {
                sheet
                    .hidden_columns
                    .push((first.saturating_sub(1), last.saturating_sub(1)));
            }
        }
        _ => {}
    }
}

/// Adds a formatted cell. Returns false when the limit is reached.
fn close(cell: &Cell, text: &str, context: &Context, sheet: &mut Sheet, found: &mut Found) -> bool {
    if cell.row >= MAX_ROW || cell.column >= MAX_COLUMN {
        return true;
    }
    if text.is_empty() {
        if cell.has_formula && cell.kind != CellKind::Text {
            found.formulas += 1;
        }
        return true;
    }
    let style = context.styles.get(cell.style);
    let bold = style.is_some_and(|s| s.bold);
    let column = cell.column;
    let grid = &mut sheet.grid;
    let mut add_text = |text: &str| match style.filter(|s| s.changes_text) {
        Some(style) => grid.cell(column, Kind::of(text), bold, |out| {
            style.format.text(text, out);
        }),
        None => grid.cell(column, Kind::of(text), bold, |out| out.push_str(text)),
    };
    let number = match cell.kind {
        CellKind::Shared => {
            let index = text.trim().parse::<usize>().ok();
            return match index.and_then(|i| context.strings.get(i)) {
                Some(shared) => add_text(shared),
                None => {
                    found
                        .lost
                        .push(format!("{}{}", column_name(column), cell.row + 1));
                    true
                }
            };
        }
        CellKind::Text => {
            let mut plain = String::new();
            unescape(text, &mut plain);
            return add_text(&plain);
        }
        CellKind::Bool => {
            let shown = if is_true(text.trim()) {
                "TRUE"
            } else {
                "FALSE"
            };
            return grid.cell(column, Kind::Value, bold, |out| out.push_str(shown));
        }
        CellKind::Error => {
            return grid.cell(column, Kind::Value, bold, |out| out.push_str(text));
        }
        CellKind::Date => serial(text, context.date1904),
        CellKind::Number => text.trim().parse::<f64>().ok(),
    };
    match (number, style.filter(|s| !s.is_general)) {
        (None, _) => grid.cell(column, Kind::Value, bold, |out| out.push_str(text)),
        // A date without a format of its own is written as stored.
        (Some(_), None) if cell.kind == CellKind::Date => {
            grid.cell(column, Kind::Value, bold, |out| out.push_str(text))
        }
        (Some(number), None) => grid.cell(column, Kind::Value, bold, |out| general(number, out)),
        (Some(number), Some(style)) => grid.cell(column, Kind::Value, bold, |out| {
            style.format.number(number, context.date1904, out);
        }),
    }
}
