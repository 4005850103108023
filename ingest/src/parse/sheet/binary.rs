//! The binary formats of Excel (XLS, XLSB), parsed by calamine, which distinguishes dates and durations from other numbers. Number formats and hidden parts are
//! parsed separately.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

mod looks;
mod parts;
mod records;

use std::io::Cursor;

use calamine::{
    Data, ExcelDateTime, Range, Reader, SheetType, SheetVisible, open_workbook_auto_from_rs,
};

use super::format::{Format, general, serial};
use super::grid::{Grid, Kind};
use super::{Output, Sheet};
use crate::parse::{ParseError, damaged, locked};
use looks::{Look, Looks, Style};

pub(super) fn read(bytes: &[u8], output: &mut Output) -> Result<(), ParseError> {
    let mut workbook = open_workbook_auto_from_rs(Cursor::new(bytes)).map_err(|e| {
        let cause = e.to_string();
        if cause.to_lowercase().contains("password") {
            locked()
        } else {
            damaged("it cannot be read as an Excel workbook")
        }
    })?;
    let formats = Formats::new();
    let mut looks = records::read(bytes)
        .or_else(|| parts::read(bytes))
        .unwrap_or_default();
    let mut sheets = std::mem::take(&mut looks.sheets);
    let all = workbook.sheets_metadata().to_vec();
    // Sheets are matched by position; if their numbers differ, none is.
    if sheets.len() != all.len() {
        sheets.clear();
    }
    sheets.resize_with(all.len(), Look::default);
    for (metadata, look) in all.into_iter().zip(sheets) {
        let name = metadata.name;
        if matches!(metadata.typ, SheetType::MacroSheet | SheetType::Vba) {
            output.warn(format!("the sheet {name} is a macro sheet and was skipped"));
            continue;
        }
        match workbook.worksheet_range(&name) {
            Ok(range) => {
                let (grid, cut) = formats.grid(&range, &looks, &look);
                output.sheet(Sheet {
                    name,
                    hidden: metadata.visible != SheetVisible::Visible,
                    grid,
                    cut,
                    hidden_columns: look.hidden_columns,
                    ..Sheet::default()
                })?;
            }
            Err(_) => output.warn(format!("the sheet {name} is damaged and was skipped")),
        }
    }
    Ok(())
}

/// Fallback formats for the types that calamine reports.
struct Formats {
    date: Format,
    date_time: Format,
    time: Format,
    duration: Format,
}

impl Formats {
    fn new() -> Self {
        Self {
            date: Format::new("yyyy-mm-dd"),
            date_time: Format::new("yyyy-mm-dd hh:mm:ss"),
            time: Format::new("h:mm:ss"),
            duration: Format::new("[h]:mm:ss"),
        }
    }

    fn grid(&self, range: &Range<Data>, looks: &Looks, look: &Look) -> (Grid, bool) {
        let mut grid = Grid::default();
        let (first_row, first_column) = range.start().unwrap_or_default();
        for (number, row) in (first_row..).zip(range.rows()) {
            grid.row(number, look.is_hidden(number));
            for (column, data) in (first_column..).zip(row) {
                let kind = match data {
                    Data::String(text) => Kind::of(text),
                    _ => Kind::Value,
                };
                if *data == Data::Empty {
                    continue;
                }
                let style = looks.style(look, number, column);
                let bold = style.is_some_and(|s| s.bold);
                if !grid.cell(column, kind, bold, |out| {
                    self.styled(data, style, looks.date1904, out);
                }) {
                    return (grid, true);
                }
            }
        }
        (grid, false)
    }

    /// Writes a value in its style, if it has one.
    fn styled(&self, data: &Data, style: Option<&Style>, date1904: bool, out: &mut String) {
        let number = match data {
            Data::Int(number) => Some(*number as f64),
            Data::Float(number) => Some(*number),
            Data::DateTime(time) => Some(time.as_f64()),
            _ => None,
        };
        match (number, style.filter(|s| !s.format.is_general())) {
            (Some(number), Some(style)) => style.format.number(number, date1904, out),
            (_, None) | (None, _) => self.write(data, out),
        }
    }

    fn write(&self, data: &Data, out: &mut String) {
        match data {
            Data::Empty => {}
            Data::String(text) | Data::DurationIso(text) => out.push_str(text),
            Data::DateTimeIso(text) => match serial(text, false) {
                Some(value) => self.date_time(value, false, out),
                None => out.push_str(text),
            },
            Data::Int(number) => out.push_str(&number.to_string()),
            Data::Float(number) => general(*number, out),
            Data::Bool(value) => out.push_str(if *value { "TRUE" } else { "FALSE" }),
            Data::DateTime(time) => self.date(time, out),
            Data::Error(error) => out.push_str(&error.to_string()),
        }
    }

    fn date(&self, time: &ExcelDateTime, out: &mut String) {
        let value = time.as_f64();
        if time.is_duration() {
            self.duration.number(value, false, out);
            return;
        }
        // Only the date itself shows whether it is counted from 1904.
        let date1904 = time
            .as_datetime()
            .and_then(|shown| serial(&shown.format("%Y-%m-%d").to_string(), false))
            .is_some_and(|counted| counted - value > 1000.0);
        self.date_time(value, date1904, out);
    }

    fn date_time(&self, value: f64, date1904: bool, out: &mut String) {
        if value.abs() < 1.0 {
            self.time.number(value, date1904, out);
        } else if value.fract() == 0.0 {
            self.date.number(value, date1904, out);
        } else {
            self.date_time.number(value, date1904, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::ExcelDateTimeType;

    #[test]
    fn dates_and_durations_are_told_apart() {
        let shown = |value: f64, kind: ExcelDateTimeType, date1904: bool| {
            let mut out = String::new();
            Formats::new().write(
                &Data::DateTime(ExcelDateTime::new(value, kind, date1904)),
                &mut out,
            );
            out
        };
        use ExcelDateTimeType::{DateTime, TimeDelta};
        assert_eq!(shown(45_000.0, DateTime, false), "2023-03-15");
        assert_eq!(shown(45_000.75, DateTime, false), "2023-03-15 18:00:00");
        assert_eq!(shown(0.3125, DateTime, false), "7:30:00");
        assert_eq!(shown(1.25, TimeDelta, false), "30:00:00");
        assert_eq!(shown(43_538.0, DateTime, true), "2023-03-15");
    }
}
