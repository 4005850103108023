//! `OpenDocument` texts and presentations: the elements of `content.xml` as Markdown. Slides are pages.

use super::tree::{self, Element, Node};
use super::writer::Writer;
use super::{Input, ParseError, container};
use crate::document::Document;

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let mut opened = container::open(input.bytes)?;
    if let Ok(manifest) = container::entry(&mut opened, "META-INF/manifest.xml")
        && String::from_utf8_lossy(&manifest).contains("encryption-data")
    {
        return Err(super::locked());
    }
    let content = container::entry(&mut opened, "content.xml")?;
    let content = tree::read(&String::from_utf8_lossy(&content))?;
    let body = content
        .find("body")
        .ok_or_else(|| super::damaged("it has no document body"))?;
    let mut writer = Writer::default();
    let mut slides = 0;
    blocks(&mut writer, body, &mut slides);
    let mut document = writer.finish("opendocument");
    if let Ok(meta) = container::entry(&mut opened, "meta.xml")
        && let Ok(meta) = tree::read(&String::from_utf8_lossy(&meta))
    {
        let value = |name| super::given(meta.find(name).map(Element::text));
        document.title = value("title").or(document.title);
        document.language = value("language");
        document.published_at = value("creation-date");
    }
    Ok(document)
}

fn blocks(writer: &mut Writer, element: &Element, slides: &mut u32) {
    for child in element.elements() {
        match child.name.as_str() {
            "h" => writer.heading(
                child
                    .attribute("outline-level")
                    .and_then(|l| l.parse().ok())
                    .unwrap_or(1),
                &inline(child),
            ),
            "p" => {
                writer.paragraph(&inline(child));
                // Frames with text are children of paragraphs.
                frames(writer, child, slides);
            }
            "list" => list(writer, child, 0, slides),
            "table" => writer.table(&rows(child)),
            "page" => {
                *slides += 1;
                writer.page(*slides, None);
                let title = child
                    .elements()
                    .find(|e| e.attribute("class") == Some("title"));
                if let Some(title) = title {
                    writer.heading(1, &title.text());
                }
                for part in child
                    .elements()
                    .filter(|e| e.attribute("class") != Some("title"))
                {
                    if part.name == "notes" {
                        let notes = part.find("text-box").map(Element::text).unwrap_or_default();
                        if !notes.trim().is_empty() {
                            writer.paragraph(&format!("Notes: {notes}"));
                        }
                    } else if part.name == "g" {
                        blocks(writer, part, slides);
                    } else {
                        frame(writer, part, slides);
                    }
                }
            }
            "tracked-changes" | "sequence-decls" | "forms" | "annotation" => {}
            _ => blocks(writer, child, slides),
        }
    }
}

fn frames(writer: &mut Writer, element: &Element, slides: &mut u32) {
    for child in element.elements() {
        if child.name == "text-box" {
            blocks(writer, child, slides);
        } else {
            frames(writer, child, slides);
        }
    }
}

/// Converts a frame or a shape of a slide.
fn frame(writer: &mut Writer, element: &Element, slides: &mut u32) {
    let direct = element
        .elements()
        .any(|e| e.name == "p" || e.name == "list");
    if direct {
        blocks(writer, element, slides);
    } else {
        for child in element.elements() {
            match child.name.as_str() {
                "table" => writer.table(&rows(child)),
                "text-box" => blocks(writer, child, slides),
                _ => {}
            }
        }
    }
}

fn list(writer: &mut Writer, element: &Element, depth: usize, slides: &mut u32) {
    for item in element
        .elements()
        .filter(|e| e.name == "list-item" || e.name == "list-header")
    {
        for part in item.elements() {
            match part.name.as_str() {
                "list" => list(writer, part, depth + 1, slides),
                "p" | "h" => {
                    writer.item(depth, "-", &inline(part));
                    frames(writer, part, slides);
                }
                // Tables and sections in an item follow its text.
                "table" => writer.table(&rows(part)),
                _ => blocks(writer, part, slides),
            }
        }
    }
}

fn rows(table: &Element) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for element in table.elements() {
        match element.name.as_str() {
            "table-row" => rows.push(cells(element)),
            "table-header-rows" | "table-rows" | "table-row-group" => {
                rows.extend(self::rows(element));
            }
            _ => {}
        }
    }
    rows
}

fn cells(row: &Element) -> Vec<String> {
    let mut cells = Vec::new();
    for cell in row
        .elements()
        .filter(|e| e.name == "table-cell" || e.name == "covered-table-cell")
    {
        let mut parts = Vec::new();
        lines(cell, &mut parts);
        // Sheets repeat empty cells up to the right margin; only a few are kept.
        let repeated = cell
            .attribute("number-columns-repeated")
            .and_then(|n| n.parse::<usize>().ok())
            .unwrap_or(1)
            .clamp(1, 64);
        cells.extend(std::iter::repeat_n(parts.join(" "), repeated));
    }
    cells
}

/// Collects the paragraphs of a cell, including those of its lists, boxes and tables.
fn lines(element: &Element, into: &mut Vec<String>) {
    for child in element.elements() {
        match child.name.as_str() {
            "p" | "h" => {
                into.push(inline(child));
                boxes(child, into);
            }
            "annotation" | "tracked-changes" => {}
            _ => lines(child, into),
        }
    }
}

fn boxes(paragraph: &Element, into: &mut Vec<String>) {
    for child in paragraph.elements() {
        if child.name == "text-box" {
            lines(child, into);
        } else {
            boxes(child, into);
        }
    }
}

/// Returns the text of a paragraph; notes are in brackets, drawings are omitted.
fn inline(element: &Element) -> String {
    let mut text = String::new();
    for child in &element.children {
        match child {
            Node::Text(part) => text.push_str(part),
            Node::Element(inner) => match inner.name.as_str() {
                "s" => text.push(' '),
                "tab" | "line-break" => text.push('\n'),
                "note" => {
                    let body = inner
                        .find("note-body")
                        .map(Element::text)
                        .unwrap_or_default();
                    text.push_str(&format!(" [{}]", super::writer::one_line(&body)));
                }
                "annotation" | "frame" | "tracked-changes" | "bookmark" => {}
                _ => text.push_str(&inline(inner)),
            },
        }
    }
    text
}
