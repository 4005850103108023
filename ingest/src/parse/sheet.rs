//! Spreadsheets of Excel and `OpenDocument`: each sheet is a heading with its tables, text boxes and comments, formatted as displayed. Values in hidden sheets,
//! rows and columns are included, and marked as hidden in the text and in the warnings.

mod binary;
mod csv;
mod format;
mod grid;
mod hidden;
mod layout;
mod ods;
mod stream;
mod xlsx;

use super::writer::Writer;
use super::{Input, ParseError, container, guarded};
use crate::document::Document;
pub(super) use csv::parse_csv;
use grid::Grid;

/// The content of a sheet.
#[derive(Debug, Default)]
struct Sheet {
    name: String,
    hidden: bool,
    grid: Grid,
    /// First and last column of each hidden range, from 0.
    hidden_columns: Vec<(u32, u32)>,
    /// Texts of boxes and diagrams, and titles of charts.
    texts: Vec<String>,
    comments: Vec<Comment>,
    /// Whether a limit was exceeded.
    cut: bool,
}

/// A comment or note of a cell.
#[derive(Debug)]
struct Comment {
    /// Name of the cell, such as `B2`.
    cell: String,
    text: String,
}

/// Collects the sheets of a workbook.
#[derive(Debug, Default)]
struct Output {
    writer: Writer,
    /// Sheets without content.
    empty: Vec<String>,
    hidden: Vec<String>,
    /// Approximate size of all cells in bytes.
    size: usize,
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    if is_encrypted(input.bytes) {
        return Err(super::locked());
    }
    guarded(|| {
        let mut output = Output::default();
        let engine = match kind(input.bytes) {
            Kind::Ods => {
                ods::read(input.bytes, &mut output)?;
                "ods"
            }
            Kind::Xlsx => {
                xlsx::read(input.bytes, &mut output)?;
                "xlsx"
            }
            Kind::Binary => {
                binary::read(input.bytes, &mut output)?;
                "calamine"
            }
        };
        Ok(output.finish(engine))
    })?
}

enum Kind {
    Ods,
    Xlsx,
    Binary,
}

/// Returns the kind of a workbook by the content of its container.
fn kind(bytes: &[u8]) -> Kind {
    let Some(container) = Some(bytes)
        .filter(|b| b.starts_with(super::ZIP))
        .and_then(|b| container::open(b).ok())
    else {
        return Kind::Binary;
    };
    let mut kind = Kind::Xlsx;
    for name in container.file_names().flatten() {
        if name.eq_ignore_ascii_case("xl/workbook.bin") {
            return Kind::Binary;
        }
        if name == "content.xml" {
            kind = Kind::Ods;
        }
    }
    kind
}

/// Returns whether a workbook is encrypted: those in XML are then an OLE container around the package.
fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.starts_with(&super::OLE) && super::has_stream(bytes, "EncryptedPackage")
}

impl Output {
    fn warn(&mut self, warning: String) {
        self.writer.warn(warning);
    }

    /// Writes a sheet.
    ///
    /// # Errors
    /// `text_too_long` when the sheets together exceed the maximum length of a document.
    fn sheet(&mut self, mut sheet: Sheet) -> Result<(), ParseError> {
        self.size += sheet.grid.size();
        if sheet.cut || self.size > grid::MAX_TEXT {
            return Err(ParseError::new(
                "text_too_long",
                format!(
                    "the text of the file is longer than {} MiB",
                    grid::MAX_TEXT >> 20
                ),
            ));
        }
        sheet.grid.finish();
        let name = &sheet.name;
        self.writer.heading(2, name);
        if sheet.hidden {
            self.writer.paragraph("This sheet is hidden.");
            self.hidden.push(name.clone());
        }
        if sheet.grid.is_empty() && sheet.texts.is_empty() && sheet.comments.is_empty() {
            // An empty sheet is only listed by name.
            self.empty.push(name.clone());
            return Ok(());
        }
        if let Some(hidden) = hidden::describe(&sheet.grid, &sheet.hidden_columns) {
            self.writer
                .paragraph(&format!("Hidden in this sheet: {hidden}."));
            self.writer.warn(format!(
                "hidden parts of the sheet {name} are included: {hidden}"
            ));
        }
        layout::write(&mut self.writer, &sheet.grid);
        for text in &sheet.texts {
            self.writer.paragraph(text);
        }
        for comment in &sheet.comments {
            self.writer.item(
                0,
                "-",
                &format!("Comment on {}: {}", comment.cell, comment.text),
            );
        }
        Ok(())
    }

    fn finish(mut self, engine: &str) -> Document {
        if !self.hidden.is_empty() {
            self.writer.warn(format!(
                "hidden sheets are included: {}",
                self.hidden.join(", ")
            ));
        }
        if !self.empty.is_empty() {
            self.writer
                .warn(format!("sheets without values: {}", self.empty.join(", ")));
        }
        Document {
            title: None,
            ..self.writer.finish(engine)
        }
    }
}

/// Returns the letters of a column counted from 0: `A`, `B`, … `AA`.
fn column_name(column: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(
            b'A' + u8::try_from(rest % 26).unwrap_or_default(),
        ));
        rest /= 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests;
