//! Properties of an XLSB file that calamine does not provide: number formats, bold text, hidden rows and columns. Its parts are records (MS-XLSB 2.1.4), each
//! with a type and a length of up to two and four bytes of seven bits; invalid records are skipped, and values are then written without a format.

use std::collections::HashMap;

use super::looks::{Formats, Look, Looks, Style};
use super::records::u16_at;
use crate::parse::ooxml::package::Package;

/// Record types (MS-XLSB 2.3).
const ROW: u16 = 0;
/// Cells of all types: blank, numbers, errors, texts, results of formulas.
const CELLS: std::ops::RangeInclusive<u16> = 1..=11;
const FONT: u16 = 43;
const FORMAT: u16 = 44;
const STYLE: u16 = 47;
const COLUMNS: u16 = 60;
const WORKBOOK: u16 = 153;
const SHEET: u16 = 156;
const BEGIN_CELL_STYLES: u16 = 617;
const END_CELL_STYLES: u16 = 618;

/// Reads an XLSB file; `None` for other files.
pub(super) fn read(bytes: &[u8]) -> Option<Looks> {
    let mut package = Package::open(bytes).ok()?;
    let workbook = package.bytes("xl/workbook.bin").ok()?;
    let relations = package.relations("xl/workbook.bin");
    let mut looks = Looks::default();
    let mut sheets = Vec::new();
    for (kind, data) in records(&workbook) {
        match kind {
            WORKBOOK => looks.date1904 = data.first().is_some_and(|flags| flags & 1 != 0),
            SHEET => sheets.push(text(data, 8).map(|(id, _)| id)),
            _ => {}
        }
    }
    let parts: Vec<Option<String>> = sheets
        .into_iter()
        .map(|id| relations.by_id(&id?).map(ToOwned::to_owned))
        .collect();
    if let Ok(styles) = package.bytes("xl/styles.bin") {
        looks.styles = of_styles(&styles);
    }
    looks.sheets = parts
        .into_iter()
        .map(|part| {
            let bytes = part.and_then(|part| package.bytes(&part).ok());
            bytes.map(|bytes| sheet(&bytes)).unwrap_or_default()
        })
        .collect();
    Some(looks)
}

/// Returns the records of a part.
fn records(part: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = part;
    std::iter::from_fn(move || {
        let (kind, after) = number(rest, 2)?;
        let (length, after) = number(after, 4)?;
        let (data, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        Some((u16::try_from(kind).ok()?, data))
    })
}

/// Decodes a number in bytes of seven bits, of which each but the last has its highest bit set.
fn number(bytes: &[u8], most: usize) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(most).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Decodes a text preceded by its number of UTF-16 units; returns it with its end.
fn text(data: &[u8], at: usize) -> Option<(String, usize)> {
    let units = usize::try_from(u32_at(data, at)?).ok()?;
    let end = at.checked_add(4)?.checked_add(units.checked_mul(2)?)?;
    let bytes = data.get(at + 4..end)?;
    Some((encoding_rs::UTF_16LE.decode(bytes).0.into_owned(), end))
}

/// Returns the styles of cells.
fn of_styles(part: &[u8]) -> Vec<Style> {
    let (mut codes, mut bold, mut styles) = (HashMap::new(), Vec::new(), Vec::new());
    let mut of_cells = false;
    for (kind, data) in records(part) {
        match kind {
            FORMAT => {
                if let (Some(id), Some((code, _))) = (u16_at(data, 0), text(data, 2)) {
                    codes.insert(id, code);
                }
            }
            FONT => bold.push(u16_at(data, 4).is_some_and(|weight| weight >= 700)),
            BEGIN_CELL_STYLES => of_cells = true,
            END_CELL_STYLES => of_cells = false,
            // Named styles have records of the same type.
            STYLE if of_cells => styles.push((u16_at(data, 4), u16_at(data, 2))),
            _ => {}
        }
    }
    let mut formats = Formats::new(codes);
    styles
        .into_iter()
        .map(|(font, id)| Style {
            format: formats.get(id.unwrap_or_default()),
            bold: bold
                .get(usize::from(font.unwrap_or_default()))
                .copied()
                .unwrap_or(false),
        })
        .collect()
}

fn sheet(part: &[u8]) -> Look {
    let mut look = Look::default();
    let mut row = 0;
    for (kind, data) in records(part) {
        // Records that are too short are ignored.
        let _ = cell(kind, data, &mut row, &mut look);
    }
    look.sort();
    look
}

fn cell(kind: u16, data: &[u8], row: &mut u32, look: &mut Look) -> Option<()> {
    match kind {
        ROW => {
            *row = u32_at(data, 0)?;
            if data.get(11)? & 0x10 != 0 {
                look.hidden_rows.insert(*row);
            }
        }
        COLUMNS if u16_at(data, 16)? & 1 != 0 => {
            look.hidden_columns
                .push((u32_at(data, 0)?, u32_at(data, 4)?));
        }
        kind if CELLS.contains(&kind) => {
            // The style has 24 bits; no workbook has more styles than 16 bits can number.
            let style = u32_at(data, 4)? & 0x00FF_FFFF;
            let column = u16::try_from(u32_at(data, 0)?).ok()?;
            look.cells.push((*row, column, u16::try_from(style).ok()?));
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::parse::{Input, parse};

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let kind = if kind < 128 {
            vec![u8::try_from(kind).unwrap()]
        } else {
            vec![
                u8::try_from(kind & 0x7F).unwrap() | 0x80,
                u8::try_from(kind >> 7).unwrap(),
            ]
        };
        [kind, vec![u8::try_from(data.len()).unwrap()], data.to_vec()].concat()
    }

    fn wide(text: &str) -> Vec<u8> {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [
            u32::try_from(units.len() / 2)
                .unwrap()
                .to_le_bytes()
                .to_vec(),
            units,
        ]
        .concat()
    }

    /// Returns the record of a number cell in a column with a style.
    fn real(column: u8, style: u8, value: f64) -> Vec<u8> {
        let head = [column, 0, 0, 0, style, 0, 0, 0];
        record(5, &[&head[..], &value.to_le_bytes()].concat())
    }

    fn workbook() -> Vec<u8> {
        let styles = [
            record(
                FORMAT,
                &[&164_u16.to_le_bytes()[..], &wide("0.0%")].concat(),
            ),
            record(FONT, &[0; 8]),
            record(FONT, &[0, 0, 0, 0, 0xbc, 2, 0, 0]),
            // A named style, which no cell uses.
            record(STYLE, &[0xff, 0xff, 1, 0, 0, 0]),
            record(BEGIN_CELL_STYLES, &[2, 0, 0, 0]),
            record(STYLE, &[0, 0, 0, 0, 0, 0]),
            record(STYLE, &[0, 0, 164, 0, 1, 0]),
            record(END_CELL_STYLES, &[]),
        ];
        let row = |number: u8, hidden: u8| {
            record(
                ROW,
                &[number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, hidden, 0, 0, 0, 0, 0],
            )
        };
        let sheet = [
            record(129, &[]),
            record(148, &[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            record(145, &[]),
            row(0, 0),
            real(0, 0, 2.5),
            real(1, 1, 0.125),
            row(1, 0x10),
            real(0, 0, 7.0),
            record(146, &[]),
            record(130, &[]),
        ];
        let book = [
            record(WORKBOOK, &[0; 12]),
            record(
                SHEET,
                &[
                    &[0, 0, 0, 0, 1, 0, 0, 0][..],
                    &wide("rId1"),
                    &wide("Shares"),
                ]
                .concat(),
            ),
            record(144, &[]),
            record(132, &[]),
        ];
        let relations = "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>\
            <Relationship Id='rId1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet'\
            \x20Target='worksheets/sheet1.bin'/></Relationships>";
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in [
            ("[Content_Types].xml", b"<Types/>".to_vec()),
            ("xl/workbook.bin", book.concat()),
            ("xl/_rels/workbook.bin.rels", relations.into()),
            ("xl/styles.bin", styles.concat()),
            ("xl/worksheets/sheet1.bin", sheet.concat()),
        ] {
            zip.start_file(name, zip::write::SimpleFileOptions::default())
                .expect("a part");
            zip.write_all(&bytes).expect("its bytes");
        }
        zip.finish().expect("a file").into_inner()
    }

    #[test]
    fn values_are_shown_by_their_formats() {
        let bytes = workbook();
        let input = Input {
            file_name: "shares.xlsb",
            bytes: &bytes,
            ..Input::default()
        };
        let document = parse(&input).expect("readable");
        assert!(document.text.contains("12.5%"), "{}", document.text);
        assert!(document.text.contains("2.5"), "{}", document.text);
    }

    #[test]
    fn hidden_rows_and_bold_letters_are_found() {
        let looks = read(&workbook()).expect("a workbook");
        let look = &looks.sheets[0];
        assert!(look.is_hidden(1) && !look.is_hidden(0));
        assert!(looks.style(look, 0, 1).is_some_and(|style| style.bold));
    }

    #[test]
    fn cut_records_are_left_out() {
        assert_eq!(records(&[0x81]).count(), 0);
        assert_eq!(records(&[5, 0xff]).count(), 0);
        assert!(of_styles(&record(FORMAT, &[164, 0, 9, 0, 0, 0])).is_empty());
        assert!(read(b"no container").is_none());
    }
}
