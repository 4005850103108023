//! Properties of an XLS file that calamine does not provide: number formats, bold text, hidden rows and columns. Parses the records of the workbook stream in
//! order; invalid records are skipped, and values are then written without a format.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use super::looks::{Formats, Look, Looks, Style};

/// Record types (MS-XLS 2.3).
const FORMULA: u16 = 0x0006;
const EOF: u16 = 0x000A;
const DATE_MODE: u16 = 0x0022;
const FONT: u16 = 0x0031;
const COLUMNS: u16 = 0x007D;
const SHEET: u16 = 0x0085;
const MULTIPLE_RK: u16 = 0x00BD;
const STYLE: u16 = 0x00E0;
const SHARED_STRING: u16 = 0x00FD;
const NUMBER: u16 = 0x0203;
const LABEL: u16 = 0x0204;
const ROW: u16 = 0x0208;
const RK: u16 = 0x027E;
const FORMAT: u16 = 0x041E;
const BEGINNING: u16 = 0x0809;

/// Reads an XLS file; `None` for other files.
pub(super) fn read(bytes: &[u8]) -> Option<Looks> {
    if !bytes.starts_with(&crate::parse::OLE) {
        return None;
    }
    let mut file = cfb::CompoundFile::open(Cursor::new(bytes)).ok()?;
    let path = file
        .walk()
        .find(|e| {
            let name = e.name().to_lowercase();
            e.is_stream() && (name == "workbook" || name == "book")
        })?
        .path()
        .to_owned();
    let mut stream = Vec::new();
    file.open_stream(path).ok()?.read_to_end(&mut stream).ok()?;
    Some(from_stream(&stream))
}

/// Returns the records from an offset on.
fn records(stream: &[u8], from: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = stream.get(from..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let data = rest.get(4..4 + length)?;
        rest = rest.get(4 + length..)?;
        Some((kind, data))
    })
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn from_stream(stream: &[u8]) -> Looks {
    let mut looks = Looks::default();
    let (mut codes, mut bold, mut styles) = (HashMap::new(), Vec::new(), Vec::new());
    let mut places = Vec::new();
    let mut is_biff8 = true;
    for (kind, data) in records(stream, 0) {
        match kind {
            BEGINNING => is_biff8 = u16_at(data, 0) == Some(0x0600),
            DATE_MODE => looks.date1904 = u16_at(data, 0) == Some(1),
            FONT => {
                bold.push(u16_at(data, 6).is_some_and(|weight| weight >= 700));
                // There is no font with the number four.
                if bold.len() == 4 {
                    bold.push(false);
                }
            }
            FORMAT => {
                if let (Some(id), Some(code)) = (u16_at(data, 0), code(data, is_biff8)) {
                    codes.insert(id, code);
                }
            }
            STYLE => styles.push((u16_at(data, 0), u16_at(data, 2))),
            SHEET => places.extend(
                u16_at(data, 0)
                    .zip(u16_at(data, 2))
                    .map(|(low, high)| usize::from(low) | usize::from(high) << 16),
            ),
            EOF => break,
            _ => {}
        }
    }
    let mut formats = Formats::new(codes);
    for (font, id) in styles {
        let bold = bold.get(usize::from(font.unwrap_or_default())).copied();
        looks.styles.push(Style {
            format: formats.get(id.unwrap_or_default()),
            bold: bold.unwrap_or(false),
        });
    }
    looks.sheets = places.into_iter().map(|p| sheet(stream, p)).collect();
    looks
}

/// Decodes the code of a format.
fn code(data: &[u8], is_biff8: bool) -> Option<String> {
    if !is_biff8 {
        let length = usize::from(*data.get(2)?);
        let bytes = data.get(3..3 + length)?;
        return Some(encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned());
    }
    let length = usize::from(u16_at(data, 2)?);
    if data.get(4)? & 1 == 0 {
        let bytes = data.get(5..5 + length)?;
        return Some(bytes.iter().map(|b| char::from(*b)).collect());
    }
    let bytes = data.get(5..5 + 2 * length)?;
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .filter_map(|pair| u16_at(pair, 0))
        .collect();
    Some(String::from_utf16_lossy(&units))
}

fn sheet(stream: &[u8], place: usize) -> Look {
    let mut look = Look::default();
    let mut depth = 0_usize;
    for (kind, data) in records(stream, place) {
        match kind {
            BEGINNING => depth += 1,
            EOF if depth <= 1 => break,
            EOF => depth -= 1,
            // Charts on the sheet have records of the same types.
            _ if depth > 1 => {}
            _ => {
                // Records that are too short are ignored.
                let _ = cell(kind, data, &mut look);
            }
        }
    }
    look.sort();
    look
}

fn cell(kind: u16, data: &[u8], look: &mut Look) -> Option<()> {
    match kind {
        FORMULA | NUMBER | RK | LABEL | SHARED_STRING => {
            look.cells
                .push((u16_at(data, 0)?.into(), u16_at(data, 2)?, u16_at(data, 4)?));
        }
        MULTIPLE_RK => {
            let (row, first) = (u16_at(data, 0)?, u16_at(data, 2)?);
            let each = data.get(4..data.len().checked_sub(2)?)?.chunks_exact(6);
            for (column, styled) in (first..=u16::MAX).zip(each) {
                look.cells.push((row.into(), column, u16_at(styled, 0)?));
            }
        }
        ROW if u16_at(data, 12)? & 0x20 != 0 => {
            look.hidden_rows.insert(u16_at(data, 0)?.into());
        }
        COLUMNS if u16_at(data, 8)? & 1 != 0 => {
            look.hidden_columns
                .push((u32::from(u16_at(data, 0)?), u32::from(u16_at(data, 2)?)));
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&kind.to_le_bytes(), &length.to_le_bytes(), data].concat()
    }

    #[test]
    fn formats_and_hidden_rows_are_found() {
        let mut stream = record(BEGINNING, &[0, 6, 5, 0]);
        stream.extend(record(FONT, &[0, 0, 0, 0, 0, 0, 0xbc, 2]));
        stream.extend(record(FORMAT, &[164, 0, 4, 0, 0, b'0', b'.', b'0', b'%']));
        stream.extend(record(STYLE, &[0, 0, 164, 0]));
        let place = u8::try_from(stream.len() + 12 + 4).unwrap();
        stream.extend(record(SHEET, &[place, 0, 0, 0, 0, 0, 0, 0]));
        stream.extend(record(EOF, &[]));
        stream.extend(record(BEGINNING, &[0, 6, 16, 0]));
        stream.extend(record(
            ROW,
            &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0],
        ));
        stream.extend(record(COLUMNS, &[2, 0, 3, 0, 0, 0, 0, 0, 1, 0]));
        stream.extend(record(NUMBER, &[1, 0, 0, 0, 0, 0]));
        stream.extend(record(
            MULTIPLE_RK,
            &[2, 0, 5, 0, 0, 0, 1, 1, 1, 1, 0, 0, 2, 2, 2, 2, 6, 0],
        ));
        stream.extend(record(EOF, &[]));
        let looks = from_stream(&stream);
        let look = &looks.sheets[0];
        assert!(look.is_hidden(1) && !look.is_hidden(2));
        assert_eq!(look.hidden_columns, [(2, 3)]);
        let style = looks.style(look, 2, 6).unwrap();
        let mut out = String::new();
        style.format.number(0.125, false, &mut out);
        assert_eq!((out.as_str(), style.bold), ("12.5%", true));
        assert!(looks.style(look, 2, 7).is_none());
    }

    #[test]
    fn cut_records_are_left_out() {
        let looks = from_stream(&record(FORMAT, &[164, 0, 9, 0, 1, 1]));
        assert!(looks.sheets.is_empty() && looks.styles.is_empty());
        assert!(read(b"no container").is_none());
    }
}
