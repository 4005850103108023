//! The structured engine: paragraphs, headings, lists and tables by layout, also of files that are damaged.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use unpdf::model::{Block, InlineContent, OutlineItem, Paragraph, Table};
use unpdf::{Error, ParseOptions};

use super::super::writer::Writer;
use super::super::{ParseError, damaged, guarded, locked};
use super::{Entry, Reading};

pub(super) fn read(bytes: &[u8]) -> Result<Reading, ParseError> {
    let options = ParseOptions::new()
        .with_parallel(false)
        .with_resources(false);
    let parsed =
        guarded(|| unpdf::parse_bytes_with_options(bytes, options))?.map_err(|e| match e {
            Error::Encrypted | Error::InvalidPassword => locked(),
            other => damaged(&other.to_string()),
        })?;
    let mut reading = Reading {
        title: super::plain::sensible_title(parsed.metadata.title.as_deref().unwrap_or_default()),
        ..Reading::default()
    };
    for page in &parsed.pages {
        let mut writer = Writer::default();
        for block in &page.elements {
            write(&mut writer, block);
        }
        let text = writer.finish("").text;
        if !text.trim().is_empty() {
            reading.pages.insert(page.number, text);
        }
    }
    let fields: Vec<String> = parsed
        .form_fields
        .iter()
        .map(|f| (f.name.trim(), f.display_value()))
        .filter(|(name, value)| !name.is_empty() && !value.trim().is_empty())
        .map(|(name, value)| format!("- {name}: {value}"))
        .collect();
    if let Some(last) = reading.pages.values_mut().next_back()
        && !fields.is_empty()
    {
        last.push_str("\n\n");
        last.push_str(&fields.join("\n"));
    }
    if let Some(outline) = &parsed.outline {
        for item in &outline.items {
            entries(item, 1, &mut reading.outline);
        }
    }
    Ok(reading)
}

/// The largest picture of each page that has one, by page number.
pub(super) fn pictures(bytes: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, ParseError> {
    let options = ParseOptions::new()
        .with_parallel(false)
        .with_resources(true);
    let parsed = guarded(|| unpdf::parse_bytes_with_options(bytes, options))?
        .map_err(|e| damaged(&e.to_string()))?;
    Ok(parsed
        .pages
        .into_iter()
        .filter_map(|page| {
            let largest = page.images.into_iter().max_by_key(|(_, picture)| {
                (
                    picture.width.zip(picture.height).map(|(w, h)| w * h),
                    picture.data.len(),
                )
            });
            Some((page.number, largest?.1.data))
        })
        .collect())
}

fn entries(item: &OutlineItem, level: u8, into: &mut Vec<Entry>) {
    into.push(Entry {
        title: item.title.clone(),
        level,
        page: item.page,
    });
    if level < 6 {
        for child in &item.children {
            entries(child, level + 1, into);
        }
    }
}

fn write(writer: &mut Writer, block: &Block) {
    match block {
        Block::Paragraph(paragraph) => {
            let text = text(paragraph);
            match (&paragraph.style.list_info, paragraph.style.heading_level) {
                (Some(list), _) => {
                    let marker = list
                        .item_number
                        .map_or_else(|| "-".to_owned(), |n| format!("{n}."));
                    writer.item(usize::from(list.level), &marker, &text);
                }
                (None, Some(level)) => writer.heading(usize::from(level), &text),
                (None, None) => writer.paragraph(&text),
            }
        }
        Block::Table(table) => {
            if let Some(caption) = &table.caption {
                writer.paragraph(caption);
            }
            writer.table(&rows(table));
        }
        Block::Code { content } => writer.code("", content),
        Block::Raw { content } => writer.block(content),
        _ => {}
    }
}

fn text(paragraph: &Paragraph) -> String {
    paragraph
        .content
        .iter()
        .map(|part| match part {
            InlineContent::Text(run) => run.text.as_str(),
            InlineContent::LineBreak => "\n",
            InlineContent::Link { text, .. } => text,
            InlineContent::Image { alt_text, .. } => alt_text.as_deref().unwrap_or_default(),
        })
        .collect()
}

fn rows(table: &Table) -> Vec<Vec<String>> {
    table
        .rows
        .iter()
        .map(|row| {
            row.cells
                .iter()
                .flat_map(|cell| {
                    let parts: Vec<String> = cell.content.iter().map(text).collect();
                    std::iter::once(parts.join(" ")).chain((1..cell.colspan).map(|_| String::new()))
                })
                .collect()
        })
        .collect()
}
