//! Word and `PowerPoint`, the XML formats (also the strict variant) and the old binary ones. Slides are pages; comments and deleted text are omitted.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use undoc::model::{Block, Cell, Paragraph, RevisionType, Table};
use undoc::{Error, FormatType};

use super::writer::Writer;
use super::{Input, ParseError, damaged, guarded};
use crate::document::Document;

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let bytes = input.bytes;
    let parsed = guarded(|| undoc::parse_bytes(bytes))?.map_err(|e| match e {
        Error::Encrypted => super::locked(),
        _ => damaged("it cannot be read as a Word or PowerPoint document from before 2007"),
    })?;
    let slides = matches!(parsed.format, FormatType::Pptx | FormatType::Ppt);
    let mut writer = Writer::default();
    for (number, section) in (1_u32..).zip(&parsed.sections) {
        if slides {
            writer.page(number, None);
        }
        for block in &section.content {
            write(&mut writer, block, slides);
        }
        let notes: Vec<String> = section
            .notes
            .iter()
            .flatten()
            .map(text)
            .filter(|t| !t.trim().is_empty() && t.trim() != number.to_string())
            .collect();
        if !notes.is_empty() {
            writer.paragraph(&format!("Notes: {}", notes.join(" ")));
        }
    }
    let mut document = writer.finish("undoc");
    document.title = super::given(parsed.metadata.title).or(document.title);
    document.published_at = super::given(parsed.metadata.created);
    Ok(document)
}

fn write(writer: &mut Writer, block: &Block, slides: bool) {
    match block {
        Block::Paragraph(paragraph) => write_paragraph(writer, paragraph, slides),
        Block::Table(table) => {
            if let Some(caption) = &table.caption {
                writer.paragraph(caption);
            }
            writer.table(&rows(table));
        }
        Block::Note { label, content } => {
            let note: Vec<String> = content.iter().map(text).collect();
            writer.paragraph(&format!("[{label}] {}", note.join(" ")));
        }
        Block::Image {
            alt_text: Some(alt),
            ..
        } => writer.paragraph(alt),
        _ => {}
    }
}

fn write_paragraph(writer: &mut Writer, paragraph: &Paragraph, slides: bool) {
    let text = text(paragraph);
    // The first level of a slide is its title.
    let level = usize::from(paragraph.heading.level()).min(if slides { 2 } else { 6 });
    match &paragraph.list_info {
        Some(list) => {
            let marker = list
                .number
                .map_or_else(|| "-".to_owned(), |n| format!("{n}."));
            writer.item(usize::from(list.level), &marker, &text);
        }
        None if level > 0 && text.chars().count() <= 200 => writer.heading(level, &text),
        None => writer.paragraph(&text),
    }
}

fn text(paragraph: &Paragraph) -> String {
    let mut text = String::new();
    for run in &paragraph.runs {
        if run.revision == RevisionType::Deleted {
            continue;
        }
        text.push_str(&run.text);
        if let Some(note) = &run.note {
            text.push_str(&format!("[{note}]"));
        }
        if run.line_break || run.page_break {
            text.push('\n');
        }
    }
    text
}

/// Returns rows with every cell at its column; positions covered by a merged cell are empty.
fn rows(table: &Table) -> Vec<Vec<String>> {
    let columns = table.cell_columns();
    table
        .rows
        .iter()
        .zip(columns)
        .map(|(row, columns)| {
            let mut cells = vec![String::new(); columns.last().map_or(0, |last| last + 1)];
            for (cell, column) in row.cells.iter().zip(columns) {
                cells[column] = cell_text(cell);
            }
            cells
        })
        .collect()
}

fn cell_text(cell: &Cell) -> String {
    let mut parts: Vec<String> = cell.content.iter().map(text).collect();
    for nested in &cell.nested_tables {
        parts.extend(rows(nested).into_iter().map(|row| row.join(" ")));
    }
    parts.join(" ")
}
