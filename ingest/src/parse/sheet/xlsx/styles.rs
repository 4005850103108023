//! Cell styles: the number format, and whether the text is bold.

use std::collections::HashMap;
use std::rc::Rc;

use super::package::Package;
use crate::parse::sheet::format::{Format, builtin};
use crate::parse::sheet::stream::is_true;
use crate::parse::tree::{self, Element};

/// The style of a cell.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) format: Rc<Format>,
    /// Whether numbers are formatted as General.
    pub(super) is_general: bool,
    /// Whether the format changes texts.
    pub(super) changes_text: bool,
    pub(super) bold: bool,
}

impl Style {
    fn new(format: Rc<Format>, bold: bool) -> Self {
        Self {
            is_general: format.is_general(),
            changes_text: format.changes_text(),
            format,
            bold,
        }
    }
}

impl Default for Style {
    fn default() -> Self {
        Self::new(Rc::new(Format::new("General")), false)
    }
}

/// Returns the styles of the workbook in index order; empty without the part.
pub(super) fn read(package: &mut Package<'_>, path: Option<&str>) -> Vec<Style> {
    let root = package
        .text(path.unwrap_or("xl/styles.xml"))
        .and_then(|xml| tree::read(&xml).ok());
    root.as_ref()
        .and_then(|root| root.find("styleSheet"))
        .map(from_tree)
        .unwrap_or_default()
}

fn child<'e>(element: &'e Element, name: &str) -> Option<&'e Element> {
    element.elements().find(|e| e.name == name)
}

fn number(element: &Element, name: &str) -> u32 {
    element
        .attribute(name)
        .and_then(|n| n.parse().ok())
        .unwrap_or_default()
}

fn from_tree(sheet: &Element) -> Vec<Style> {
    let codes: HashMap<u32, &str> = child(sheet, "numFmts")
        .into_iter()
        .flat_map(Element::elements)
        .filter_map(|f| Some((number(f, "numFmtId"), f.attribute("formatCode")?)))
        .collect();
    let bold: Vec<bool> = child(sheet, "fonts")
        .into_iter()
        .flat_map(Element::elements)
        .map(|font| child(font, "b").is_some_and(|b| b.attribute("val").is_none_or(is_true)))
        .collect();
    let mut formats: HashMap<u32, Rc<Format>> = HashMap::new();
    child(sheet, "cellXfs")
        .into_iter()
        .flat_map(Element::elements)
        .map(|style| {
            let id = number(style, "numFmtId");
            let format = formats.entry(id).or_insert_with(|| {
                Rc::new(Format::new(codes.get(&id).copied().unwrap_or(builtin(id))))
            });
            let font = number(style, "fontId") as usize;
            Style::new(Rc::clone(format), bold.get(font).copied().unwrap_or(false))
        })
        .collect()
}
