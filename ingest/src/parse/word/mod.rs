//! Word documents in XML, transitional and strict. Headers and footers are written once, at the start and end of their section; notes are in brackets at their
//! reference. Deleted text, moved-from text, comments and prompts are omitted.

mod body;
mod fields;
mod inline;
mod numbering;
mod styles;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::numbering::Numbering;
use self::styles::Styles;
use super::ooxml::package::{Package, Relations};
use super::ooxml::{Block, child, path, switch};
use super::tree::{self, Element};
use super::writer::{Writer, one_line};
use super::{ParseError, damaged};
use crate::document::Document;

/// Parses the document with the main part `main` and its content `xml`.
pub(super) fn parse(package: Package<'_>, main: &str, xml: &str) -> Result<Document, ParseError> {
    let mut reader = Reader::new(package, main);
    let (mut body, mut sections) = (Vec::new(), Vec::new());
    let mut each = |element: Element| {
        reader.block(&element, &mut body);
        let section = if element.name == "sectPr" {
            Some(&element)
        } else {
            path(&element, &["pPr", "sectPr"])
        };
        if let Some(section) = section {
            let margins = reader.margins(section);
            sections.push((body.len(), margins));
        }
        Ok(())
    };
    let root = tree::read_each(xml, "body", &mut each)?;
    if root.find("body").is_none() {
        return Err(damaged("it has no document body"));
    }
    reader.end(&mut body);
    let mut writer = Writer::default();
    let (mut written, mut blocks, mut before) = (HashSet::new(), body.iter(), 0);
    for (end, margins) in &sections {
        reader.write_margins(&mut writer, &margins.headers, &mut written);
        for block in blocks.by_ref().take(end.saturating_sub(before)) {
            block.write(&mut writer);
        }
        before = *end;
        reader.write_margins(&mut writer, &margins.footers, &mut written);
    }
    for block in blocks {
        block.write(&mut writer);
    }
    Ok(reader.package.finish(writer, &reader.warnings, "word"))
}

/// Parts of the headers and footers that a section introduces.
struct Margins {
    headers: Vec<String>,
    footers: Vec<String>,
}

/// The parser of a document's blocks.
struct Reader<'a> {
    package: Package<'a>,
    /// Relations of the current part.
    relations: Relations,
    styles: Styles,
    numbering: Numbering,
    /// Footnotes and endnotes by the names of their references and their ids.
    notes: HashMap<(&'static str, String), Element>,
    /// Whether even pages have their own headers.
    even: bool,
    fields: fields::Fields,
    /// Text of a paragraph whose end was deleted; it continues in the next one.
    pending: String,
    /// Checkbox character that replaces the next text.
    tick: Option<&'static str>,
    in_note: bool,
    in_margin: bool,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(mut package: Package<'a>, main: &str) -> Self {
        let relations = package.relations(main);
        let mut warnings = Vec::new();
        let mut part = |package: &mut Package<'_>, kind| {
            let name = relations.of_kind(kind).find(|n| package.has(n))?;
            let root = package.root(name);
            if root.is_err() {
                warnings.push(format!("the {kind} of the document cannot be read"));
            }
            root.ok()
        };
        let styles = part(&mut package, "styles");
        let numbering = part(&mut package, "numbering");
        let settings = part(&mut package, "settings");
        let mut notes = HashMap::new();
        for (kind, reference) in [
            ("footnotes", "footnoteReference"),
            ("endnotes", "endnoteReference"),
        ] {
            for node in part(&mut package, kind)
                .into_iter()
                .flat_map(|p| p.children)
            {
                if let tree::Node::Element(note) = node
                    && let Some(id) = note.attribute("id").map(ToOwned::to_owned)
                {
                    notes.insert((reference, id), note);
                }
            }
        }
        let comments = part(&mut package, "comments");
        if comments.is_some_and(|c| c.elements().next().is_some()) {
            warnings.push("comments were skipped".to_owned());
        }
        Self {
            styles: styles.as_ref().map(Styles::read).unwrap_or_default(),
            numbering: numbering.as_ref().map(Numbering::read).unwrap_or_default(),
            notes,
            even: settings.is_some_and(|s| switch(&s, "evenAndOddHeaders") == Some(true)),
            package,
            relations,
            fields: fields::Fields::default(),
            pending: String::new(),
            tick: None,
            in_note: false,
            in_margin: false,
            warnings,
        }
    }

    fn warn(&mut self, warning: &str) {
        if !self.warnings.iter().any(|w| w == warning) {
            self.warnings.push(warning.to_owned());
        }
    }

    /// Returns the parts of a section's headers and footers that are displayed.
    fn margins(&self, section: &Element) -> Margins {
        let first = switch(section, "titlePg") == Some(true);
        let parts = |name: &str| {
            section
                .elements()
                .filter(|e| e.name == name)
                .filter(|e| match e.attribute("type") {
                    Some("first") => first,
                    Some("even") => self.even,
                    Some(_) | None => true,
                })
                .filter_map(|e| self.relations.of_element(e, "id"))
                .map(ToOwned::to_owned)
                .collect()
        };
        Margins {
            headers: parts("headerReference"),
            footers: parts("footerReference"),
        }
    }

    /// Writes headers or footers whose text was not written before.
    fn write_margins(
        &mut self,
        writer: &mut Writer,
        parts: &[String],
        written: &mut HashSet<String>,
    ) {
        for part in parts {
            if !self.package.has(part) || !written.insert(part.clone()) {
                continue;
            }
            let Ok(root) = self.package.root(part) else {
                self.warn("a header or footer cannot be read");
                continue;
            };
            let relations = self.package.relations(part);
            let outer = std::mem::replace(&mut self.relations, relations);
            self.fields = fields::Fields::default();
            self.in_margin = true;
            let mut blocks = Vec::new();
            for element in root.elements() {
                self.block(element, &mut blocks);
            }
            self.end(&mut blocks);
            self.in_margin = false;
            self.relations = outer;
            for line in blocks.iter().flat_map(lines) {
                let line = one_line(&line);
                if !is_page_number(&line) && written.insert(line.clone()) {
                    writer.paragraph(&line);
                }
            }
        }
    }
}

/// Returns the lines of a header block; the rows of a table are lines, too.
fn lines(block: &Block) -> Vec<String> {
    match block {
        Block::Table(rows) => rows.iter().map(|row| row.join(" ")).collect(),
        Block::Heading { .. } | Block::Paragraph(_) | Block::Item { .. } => vec![block.flat()],
    }
}

/// Returns whether a header line is only a typed page number.
fn is_page_number(line: &str) -> bool {
    !line.chars().any(char::is_alphabetic) && line.chars().filter(char::is_ascii_digit).count() <= 4
}

/// Returns whether a content control shows its placeholder prompt.
fn is_prompt(control: &Element) -> bool {
    child(control, "sdtPr").and_then(|p| switch(p, "showingPlcHdr")) == Some(true)
}
