//! Presentations in XML, transitional and strict: each slide is a page with its title as heading. Shapes are in reading order; repeated footers and dates are
//! written once. Prompts of placeholders, slide numbers and comments are omitted.

mod layouts;
mod order;
mod shapes;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use self::layouts::Layout;
use super::ooxml::package::{Package, Relations, is_shown};
use super::ooxml::{Block, all, child, path, runs};
use super::tree::Element;
use super::writer::{Writer, one_line};
use super::{ParseError, damaged};
use crate::document::Document;

/// Parses the presentation with the main part `main`.
pub(super) fn parse(mut package: Package<'_>, main: &str) -> Result<Document, ParseError> {
    let root = package.root(main)?;
    let relations = package.relations(main);
    let mut slides: Vec<String> = Vec::new();
    let mut listed = HashSet::new();
    for slide in child(&root, "sldIdLst").iter().flat_map(|l| l.elements()) {
        if let Some(part) = relations.of_element(slide, "id")
            && listed.insert(part)
        {
            slides.push(part.to_owned());
        }
    }
    let list = child(&root, "sldIdLst");
    if slides.is_empty() && list.is_some_and(|l| l.elements().next().is_some()) {
        slides = package.numbered("ppt/slides/slide");
        if slides.is_empty() {
            return Err(damaged("its slides are missing"));
        }
    }
    let mut reader = Reader {
        package,
        relations: Relations::default(),
        layouts: HashMap::new(),
        footers: HashSet::new(),
        warnings: Vec::new(),
    };
    let mut writer = Writer::default();
    let (mut missing, mut hidden, mut failed) = (Vec::new(), Vec::new(), None);
    for (number, part) in (1_u32..).zip(&slides) {
        let slide = match reader.package.root(part) {
            Ok(slide) => slide,
            Err(error) if error.code == "damaged_file" => {
                missing.push(number.to_string());
                failed = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if !is_shown(&slide) {
            hidden.push(number.to_string());
        }
        writer.page(number, None);
        reader.slide(&slide, part, &mut writer);
    }
    // A file without any readable slide is damaged, not empty.
    if let Some(error) = failed.filter(|_| missing.len() == slides.len()) {
        return Err(error);
    }
    if !missing.is_empty() {
        writer.warn(format!(
            "slides that cannot be read: {}",
            missing.join(", ")
        ));
    }
    if !hidden.is_empty() {
        writer.warn(format!("hidden slides: {}", hidden.join(", ")));
    }
    Ok(reader.package.finish(writer, &reader.warnings, "slides"))
}

/// The parser of a presentation's slides.
struct Reader<'a> {
    package: Package<'a>,
    /// Relations of the current slide.
    relations: Relations,
    layouts: HashMap<String, Rc<Layout>>,
    /// Footers and dates written so far.
    footers: HashSet<String>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn slide(&mut self, slide: &Element, part: &str, writer: &mut Writer) {
        self.relations = self.package.relations(part);
        let layout = self.layout();
        let Some(tree) = path(slide, &["cSld", "spTree"]) else {
            return;
        };
        let mut shapes = Vec::new();
        self.shapes(tree, &layout, 0, &mut shapes);
        for block in order::reading(shapes) {
            block.write(writer);
        }
        let notes = self
            .relations
            .of_kind("notesSlide")
            .next()
            .map(ToOwned::to_owned);
        let notes = notes.and_then(|name| self.package.root(&name).ok());
        let notes = notes.as_ref().map(notes_text).unwrap_or_default();
        if !notes.is_empty() {
            writer.paragraph(&format!("Notes: {notes}"));
        }
        if self.relations.of_kind("comments").next().is_some() {
            self.warn("comments were skipped");
        }
    }

    fn warn(&mut self, warning: &str) {
        if !self.warnings.iter().any(|w| w == warning) {
            self.warnings.push(warning.to_owned());
        }
    }

    /// Returns the placeholder properties of the slide's layout and master.
    fn layout(&mut self) -> Rc<Layout> {
        let name = self.relations.of_kind("slideLayout").next();
        let name = name.unwrap_or_default().to_owned();
        if let Some(layout) = self.layouts.get(&name) {
            return Rc::clone(layout);
        }
        let root = self.package.root(&name).ok();
        let relations = self.package.relations(&name);
        let master = relations
            .of_kind("slideMaster")
            .next()
            .and_then(|master| self.package.root(master).ok());
        let layout = Rc::new(Layout::read(root.as_ref(), master.as_ref()));
        self.layouts.insert(name, Rc::clone(&layout));
        layout
    }

    /// Returns a footer or a date, unless it was already written.
    fn footer(&mut self, text: &str) -> Option<Block> {
        let line = one_line(text);
        let number = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
        (!number && self.footers.insert(line.clone())).then_some(Block::Paragraph(line))
    }
}

/// Returns the body text of a notes page.
fn notes_text(notes: &Element) -> String {
    let bodies = all(notes, "sp").into_iter().filter(|shape| {
        path(shape, &["nvSpPr", "nvPr", "ph"]).is_some_and(|place| match place.attribute("type") {
            Some(kind) => kind == "body",
            None => place.attribute("idx") == Some("1"),
        })
    });
    let texts: Vec<String> = bodies
        .filter_map(|shape| child(shape, "txBody"))
        .map(runs::paragraphs)
        .collect();
    one_line(&texts.join(" "))
}
