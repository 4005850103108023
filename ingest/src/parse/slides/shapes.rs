//! Shapes of a slide: text, groups, tables, charts, diagrams, and descriptions of pictures.

use super::Reader;
use super::layouts::{Key, Layout, place};
use super::order::{self, Rank, Shape};
use super::text;
use crate::parse::ooxml::{
    Block, MAX_REPEATED, all, charts, child, diagrams, path, pictures, runs, truth,
};
use crate::parse::tree::Element;
use crate::parse::writer::one_line;

/// Maximum nesting of groups.
const MAX_GROUPS: usize = 100;

impl Reader<'_> {
    /// Reads the shapes of a slide or a group.
    pub(super) fn shapes(
        &mut self,
        parent: &Element,
        layout: &Layout,
        depth: usize,
        into: &mut Vec<Shape>,
    ) {
        for element in parent.elements() {
            let mut blocks = Vec::new();
            let mut rank = Rank::Other;
            let key = Key::read(element);
            match element.name.as_str() {
                "sp" => {
                    if let Some(body) = child(element, "txBody") {
                        let (read, own) = self.shape_text(body, key.as_ref(), layout);
                        blocks = read;
                        rank = own;
                    }
                }
                "pic" => blocks.extend(description(element)),
                "graphicFrame" => {
                    blocks = self.frame(element);
                    if blocks.is_empty() {
                        blocks.extend(description(element));
                    }
                }
                "grpSp" if depth < MAX_GROUPS => {
                    let mut inner = Vec::new();
                    self.shapes(element, layout, depth + 1, &mut inner);
                    blocks = order::reading(inner);
                    if blocks.is_empty() {
                        blocks.extend(description(element));
                    }
                }
                "grpSp" => self.warn("shape groups that are nested too deeply were skipped"),
                "AlternateContent" => {
                    let before = into.len();
                    for choice in element.elements() {
                        if into.iter().skip(before).all(|s| s.blocks.is_empty()) {
                            self.shapes(choice, layout, depth, into);
                        }
                    }
                    continue;
                }
                _ => continue,
            }
            let inherited = || key.as_ref().and_then(|k| layout.place(k));
            if key.is_some() && rank == Rank::Other {
                rank = Rank::Placeholder;
            }
            into.push(Shape {
                rank,
                place: place(element).or_else(inherited),
                blocks,
            });
        }
    }

    fn shape_text(
        &mut self,
        body: &Element,
        key: Option<&Key>,
        layout: &Layout,
    ) -> (Vec<Block>, Rank) {
        let Some(key) = key else {
            return (text::blocks(body, None, layout), Rank::Other);
        };
        let whole = runs::paragraphs(body);
        if layout.prompts(key, &whole) {
            return (Vec::new(), Rank::Placeholder);
        }
        match key.kind.as_str() {
            "sldNum" | "hdr" => (Vec::new(), Rank::Footer),
            // A date field shows the current day and is not text of the slide.
            "dt" if body.find("fld").is_some() => (Vec::new(), Rank::Footer),
            "dt" | "ftr" => (self.footer(&whole).into_iter().collect(), Rank::Footer),
            _ if key.is_title() => {
                let text = one_line(&whole);
                let title = (!text.is_empty()).then_some(Block::Heading { level: 1, text });
                (title.into_iter().collect(), Rank::Title)
            }
            _ => (text::blocks(body, Some(key), layout), Rank::Placeholder),
        }
    }

    /// Reads a table, a chart or a diagram.
    fn frame(&mut self, frame: &Element) -> Vec<Block> {
        let Some(data) = path(frame, &["graphic", "graphicData"]) else {
            return Vec::new();
        };
        let mut blocks = Vec::new();
        for element in data.elements() {
            match element.name.as_str() {
                "tbl" => {
                    let rows = rows(element);
                    if rows.iter().flatten().any(|cell| !cell.is_empty()) {
                        blocks.push(Block::Table(rows));
                    }
                }
                "chart" => blocks.extend(charts::read(&mut self.package, &self.relations, element)),
                "relIds" => {
                    blocks.extend(diagrams::read(&mut self.package, &self.relations, element))
                }
                _ => {}
            }
        }
        blocks
    }
}

/// Returns the description of a picture, a frame or a group.
fn description(shape: &Element) -> Option<Block> {
    let properties = shape
        .elements()
        .find(|e| e.name.starts_with("nv") && e.name.ends_with("Pr"))
        .and_then(|e| child(e, "cNvPr"))?;
    ["descr", "title"]
        .iter()
        .filter_map(|name| properties.attribute(name))
        .find_map(pictures::description)
        .map(Block::Paragraph)
}

/// Returns the rows of a table; columns covered by a merged cell are empty, and short text is repeated in the rows below.
fn rows(table: &Element) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in table.elements().filter(|e| e.name == "tr") {
        let mut cells = Vec::new();
        for cell in row.elements().filter(|e| e.name == "tc") {
            let merged = |name| cell.attribute(name).is_some_and(truth);
            let mut text = String::new();
            if !merged("hMerge") && !merged("vMerge") {
                let lines = all(cell, "p").into_iter().map(runs::paragraph);
                text = one_line(&lines.collect::<Vec<_>>().join(" "));
            } else if merged("vMerge")
                && let Some(above) = rows.last().and_then(|r| r.get(cells.len()))
                && above.len() <= MAX_REPEATED
            {
                text.clone_from(above);
            }
            cells.push(text);
        }
        rows.push(cells);
    }
    rows
}
