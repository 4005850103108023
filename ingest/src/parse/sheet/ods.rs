//! `OpenDocument` spreadsheets. The displayed text of a cell is in its paragraphs; its value is only used without any.

mod styles;
mod table;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::Output;
use super::stream::{attribute, resolve};
use crate::parse::container::{self, Container};
use crate::parse::{ParseError, damaged, locked, text, tree};
use styles::Styles;
use table::Table;

pub(super) fn read(bytes: &[u8], output: &mut Output) -> Result<(), ParseError> {
    let mut container = container::open(bytes)?;
    let manifest = container::entry(&mut container, "META-INF/manifest.xml").unwrap_or_default();
    if String::from_utf8_lossy(&manifest).contains("encryption-data") {
        return Err(locked());
    }
    let content = container::entry(&mut container, "content.xml")?;
    let content = text::decode(&content, None).0;
    let mut document = Content::default();
    let mut reader = Reader::from_str(&content);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => document.open(&start, false),
            Ok(Event::Empty(start)) => {
                document.open(&start, true);
                document.close(start.local_name().as_ref(), output, &mut container)?;
            }
            Ok(Event::End(end)) => {
                document.close(end.local_name().as_ref(), output, &mut container)?;
            }
            Ok(Event::Text(part)) => document.text(&part.xml10_content()),
            Ok(Event::CData(part)) => document.text(&part.xml10_content()),
            Ok(Event::GeneralRef(reference)) => {
                let mut resolved = String::new();
                resolve(&reference, &mut resolved);
                document.text(&resolved);
            }
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(e) => {
                output.warn(format!("the file could only be read partly: {e}"));
                document.close("table", output, &mut container)?;
                break;
            }
        }
    }
    if !document.seen {
        return Err(damaged("it contains no sheet"));
    }
    Ok(())
}

/// The element that paragraph text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Cell,
    Comment,
    Shape,
}

/// Parser state of `content.xml`.
#[derive(Default)]
struct Content {
    styles: Styles,
    table: Option<Table>,
    /// Whether a sheet was found.
    seen: bool,
    /// Nesting depth inside skipped elements.
    skipping: usize,
    /// Open parts, innermost last.
    parts: Vec<Part>,
    /// Number of open paragraphs.
    paragraphs: usize,
    /// Text of the open comment or shape.
    aside: String,
    /// Paths of charts on the sheet.
    objects: Vec<String>,
    /// Number of open tables inside the sheet, as in charts and cells.
    inner: usize,
}

impl Content {
    fn open(&mut self, start: &BytesStart<'_>, is_empty: bool) {
        let local = start.local_name();
        let name = local.as_ref();
        if self.skipping > 0
            || matches!(
                name,
                "tracked-changes" | "forms" | "creator" | "date" | "desc"
            ) && !is_style(start)
        {
            self.skipping += 1;
            return;
        }
        let Some(table) = &mut self.table else {
            match name {
                "table" => {
                    self.table = Some(Table::new(start, &self.styles));
                    self.seen = true;
                }
                _ => self.styles.read(start),
            }
            return;
        };
        match name {
            "table" => self.inner += 1,
            _ if self.inner > 0 && matches!(name, "table-row" | "table-cell" | "table-column") => {}
            "table-column" => table.column(start),
            "table-row" => table.open_row(start),
            "table-cell" | "covered-table-cell" => {
                table.open_cell(start, &self.styles);
                self.parts.push(Part::Cell);
            }
            "annotation" => {
                self.parts.push(Part::Comment);
                self.aside.clear();
            }
            "text-box" | "custom-shape" | "rect" | "ellipse" | "caption" => {
                self.parts.push(Part::Shape);
                self.aside.clear();
            }
            "object" => {
                if let Some(path) = attribute(start, "href") {
                    self.objects.push(path.trim_start_matches("./").to_owned());
                }
            }
            "p" | "h" => {
                self.paragraphs += 1;
                self.text_of(|text| {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                });
            }
            "s" if is_empty => {
                let count = attribute(start, "c").and_then(|c| c.parse::<usize>().ok());
                self.text(&" ".repeat(count.unwrap_or(1).min(100)));
            }
            "tab" => self.text("\t"),
            "line-break" => self.text("\n"),
            _ => {}
        }
    }

    fn close(
        &mut self,
        name: &str,
        output: &mut Output,
        container: &mut Container<'_>,
    ) -> Result<(), ParseError> {
        if self.skipping > 0 {
            self.skipping -= 1;
            return Ok(());
        }
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        match name {
            "table" if self.inner > 0 => self.inner -= 1,
            _ if self.inner > 0 && matches!(name, "table-row" | "table-cell" | "table-column") => {}
            "table" => {
                for path in std::mem::take(&mut self.objects) {
                    table.texts.extend(chart(container, &path));
                }
                if let Some(table) = self.table.take() {
                    output.sheet(table.finish())?;
                }
                self.parts.clear();
                self.paragraphs = 0;
            }
            "table-row" => table.close_row(),
            "table-cell" | "covered-table-cell" => {
                table.close_cell();
                self.parts.clear();
            }
            "annotation" => {
                self.parts.pop();
                table.comment(std::mem::take(&mut self.aside));
            }
            "text-box" | "custom-shape" | "rect" | "ellipse" | "caption" => {
                self.parts.pop();
                let text = std::mem::take(&mut self.aside);
                if !text.trim().is_empty() {
                    table.texts.push(text);
                }
            }
            "p" | "h" => self.paragraphs = self.paragraphs.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }

    /// Appends text to the open element.
    fn text(&mut self, text: &str) {
        if self.skipping == 0 && self.paragraphs > 0 {
            self.text_of(|out| out.push_str(text));
        }
    }

    fn text_of(&mut self, write: impl FnOnce(&mut String)) {
        match (self.parts.last(), &mut self.table) {
            (Some(Part::Cell), Some(table)) => write(&mut table.text),
            (Some(Part::Comment | Part::Shape), _) => write(&mut self.aside),
            (None, _) | (_, None) => {}
        }
    }
}

/// Returns whether an element is a number format, whose names repeat those of other elements.
fn is_style(start: &BytesStart<'_>) -> bool {
    start.name().as_ref().starts_with("number:")
}

/// Returns the titles of a chart stored in a separate part.
fn chart(container: &mut Container<'_>, path: &str) -> Option<String> {
    let content = container::entry(container, &format!("{path}/content.xml")).ok()?;
    let root = tree::read(&text::decode(&content, None).0).ok()?;
    let mut titles = Vec::new();
    collect(root.find("chart")?, &mut titles);
    (!titles.is_empty()).then(|| format!("Chart: {}", titles.join("; ")))
}

fn collect(element: &tree::Element, titles: &mut Vec<String>) {
    for child in element.elements() {
        match child.name.as_str() {
            "title" | "subtitle" => titles.push(child.text().trim().to_owned()),
            "table" => {}
            _ => collect(child, titles),
        }
    }
    titles.retain(|t| !t.is_empty());
}
