//! Spreadsheets of Excel and `OpenDocument`, and comma-separated values: each sheet is a heading and a table.

use std::io::Cursor;

use calamine::{Data, Range, Reader, open_workbook_auto_from_rs};

use super::writer::Writer;
use super::{Input, ParseError, damaged, guarded, text};
use crate::document::Document;

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    if is_encrypted(input.bytes) {
        return Err(super::locked());
    }
    let bytes = input.bytes;
    guarded(|| {
        let mut workbook = open_workbook_auto_from_rs(Cursor::new(bytes)).map_err(|e| {
            let cause = e.to_string();
            if cause.to_lowercase().contains("password") {
                super::locked()
            } else {
                damaged(&cause)
            }
        })?;
        let mut writer = Writer::default();
        let mut empty = Vec::new();
        for name in workbook.sheet_names() {
            match workbook.worksheet_range(&name) {
                Ok(range) if range.used_cells().next().is_none() => {
                    empty.push(name);
                }
                Ok(range) => {
                    writer.heading(2, &name);
                    write(&mut writer, &range);
                }
                Err(e) => writer.warn(format!("the sheet {name} could not be read: {e}")),
            }
        }
        if !empty.is_empty() {
            // Their names are all they say.
            empty.iter().for_each(|name| writer.heading(2, name));
            writer.warn(format!("sheets without values: {}", empty.join(", ")));
        }
        Ok(Document {
            title: None,
            ..writer.finish("calamine")
        })
    })?
}

/// An encrypted workbook of the XML kind is an OLE container with the encrypted package inside.
fn is_encrypted(bytes: &[u8]) -> bool {
    let name: Vec<u8> = "EncryptedPackage"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    bytes.starts_with(&super::OLE) && bytes.windows(name.len()).any(|w| w == name)
}

/// A sheet as tables: rows that are empty divide one from the next, and a row with a single cell above a table is its caption.
fn write(writer: &mut Writer, range: &Range<Data>) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in range.rows() {
        let cells: Vec<String> = row.iter().map(cell).collect();
        if cells.iter().any(|c| !c.trim().is_empty()) {
            rows.push(cells);
        } else {
            block(writer, std::mem::take(&mut rows));
        }
    }
    block(writer, rows);
}

fn block(writer: &mut Writer, mut rows: Vec<Vec<String>>) {
    let filled = |row: &Vec<String>| row.iter().filter(|c| !c.trim().is_empty()).count();
    while rows.len() > 1 && filled(&rows[0]) == 1 && rows.iter().any(|r| filled(r) > 1) {
        writer.paragraph(&rows.remove(0).concat());
    }
    // Columns that are empty throughout only indent the table.
    let first = rows
        .iter()
        .filter_map(|r| r.iter().position(|c| !c.trim().is_empty()))
        .min()
        .unwrap_or(0);
    for row in &mut rows {
        row.drain(..first.min(row.len()));
    }
    if rows.len() == 1 && filled(&rows[0]) == 1 {
        writer.paragraph(&rows[0].concat());
    } else {
        writer.table(&rows);
    }
}

fn cell(data: &Data) -> String {
    match data {
        Data::Empty => String::new(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Int(number) => number.to_string(),
        // Fifteen digits are what a sheet computes with; more are noise of the binary form.
        Data::Float(number) => {
            let short = format!("{number:.15e}").parse::<f64>().unwrap_or(*number);
            let rounded = (short * 1e9).round() / 1e9;
            if short.abs() < 1e6 {
                rounded.to_string()
            } else {
                short.to_string()
            }
        }
        Data::Bool(value) => value.to_string(),
        Data::DateTime(time) => time
            .as_datetime()
            .map_or_else(
                || time.as_f64().to_string(),
                |t| t.format("%Y-%m-%d %H:%M:%S").to_string(),
            )
            .trim_end_matches(" 00:00:00")
            .to_owned(),
        Data::Error(error) => error.to_string(),
    }
}

/// Comma-separated values; the delimiter is the one that divides the first lines most evenly.
pub(super) fn parse_csv(input: &Input<'_>) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, None);
    let decoded = decoded.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(decoded))
        .from_reader(decoded.as_bytes());
    let mut rows: Vec<Vec<String>> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| damaged(&e.to_string()))?;
        rows.push(record.iter().map(ToOwned::to_owned).collect());
    }
    let mut writer = Writer::default();
    writer.table(&rows);
    let mut document = writer.finish("csv");
    document.warnings.extend(warnings);
    Ok(document)
}

fn delimiter(text: &str) -> u8 {
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| !l.trim().is_empty())
        .take(20)
        .collect();
    let evenness = |delimiter: char| {
        let counts: Vec<usize> = lines.iter().map(|l| l.matches(delimiter).count()).collect();
        let least = counts.iter().copied().min().unwrap_or(0);
        (least, counts.iter().sum::<usize>())
    };
    [b',', b'\t', b';', b'|']
        .into_iter()
        .rev()
        .max_by_key(|d| evenness(char::from(*d)))
        .unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> String {
        parse_csv(&Input {
            file_name: "t.csv",
            bytes: text.as_bytes(),
            ..Input::default()
        })
        .expect("parses")
        .text
    }

    #[test]
    fn values_become_a_table_whatever_divides_them() {
        let expected = "| name | size |\n| --- | --- |\n| a, b | 2 |";
        assert_eq!(csv("name,size\n\"a, b\",2\n"), expected);
        assert_eq!(csv("name;size\na, b;2\n"), expected);
        assert_eq!(csv("name\tsize\na, b\t2"), expected);
        assert_eq!(
            csv("1,2\na,b,c"),
            "| 1 | 2 |  |\n| --- | --- | --- |\n| a | b | c |"
        );
    }

    #[test]
    fn numbers_are_written_as_people_see_them() {
        assert_eq!(cell(&Data::Float(0.1 + 0.2)), "0.3");
        assert_eq!(cell(&Data::Float(2500.0)), "2500");
        assert_eq!(cell(&Data::Float(12_345_678_901.5)), "12345678901.5");
    }
}
