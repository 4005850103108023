//! Workbooks in XML (XLSX, XLSM), part by part. A missing or damaged part loses its own content only, not the workbook.

mod cells;
mod drawing;
mod package;
mod strings;
mod styles;

use super::stream::is_true;
use super::{Output, Sheet};
use crate::parse::tree::{self, Element};
use crate::parse::{ParseError, damaged};
use package::{Package, Relation};

/// A sheet entry of the workbook.
struct Entry {
    name: String,
    hidden: bool,
    /// Its relation; `None` when the workbook does not define it.
    relation: Option<Relation>,
}

pub(super) fn read(bytes: &[u8], output: &mut Output) -> Result<(), ParseError> {
    let mut package = Package::open(bytes)?;
    let main = package
        .relations("")
        .into_iter()
        .find(|r| r.kind == "officeDocument")
        .map_or_else(|| "xl/workbook.xml".to_owned(), |r| r.target);
    let xml = package
        .text(&main)
        .ok_or_else(|| damaged(&format!("its part {main} is missing")))?;
    if xml.contains("<!ENTITY") {
        output.warn(
            "the workbook declares entities in a document type (DTD); they were not expanded"
                .to_owned(),
        );
    }
    let workbook = tree::read(&xml)?;
    let relations = package.relations(&main);
    let part = |kind: &str| {
        relations
            .iter()
            .find(|r| r.kind == kind)
            .map(|r| r.target.clone())
    };
    let date1904 = workbook
        .find("workbookPr")
        .and_then(|p| p.attribute("date1904"))
        .is_some_and(is_true);
    let styles = styles::read(&mut package, part("styles").as_deref());
    let strings = strings::read(&mut package, part("sharedStrings").as_deref(), output);
    let persons = drawing::persons(&mut package, part("person").as_deref());
    let context = cells::Context {
        styles,
        strings,
        date1904,
    };
    let entries = entries(&workbook, &relations);
    if entries.is_empty() {
        return Err(damaged("its workbook lists no sheets"));
    }
    for entry in entries {
        let name = entry.name;
        let Some(relation) = entry.relation.filter(|r| package.has(&r.target)) else {
            output.warn(format!("the sheet {name} is missing from the file"));
            continue;
        };
        // Macro sheets are programs.
        if relation.kind.to_lowercase().ends_with("macrosheet") {
            output.warn(format!("the sheet {name} is a macro sheet and was skipped"));
            continue;
        }
        let mut sheet = Sheet {
            name: name.clone(),
            hidden: entry.hidden,
            ..Sheet::default()
        };
        if relation.kind != "chartsheet" {
            let found = cells::read(&mut package, &relation.target, &context, &mut sheet);
            found.warn(&name, output);
        }
        drawing::read(&mut package, &relation.target, &persons, &mut sheet);
        output.sheet(sheet)?;
    }
    Ok(())
}

/// Returns the sheets in order.
fn entries(workbook: &Element, relations: &[Relation]) -> Vec<Entry> {
    let Some(sheets) = workbook.find("sheets") else {
        return Vec::new();
    };
    sheets
        .elements()
        .filter(|e| e.name == "sheet")
        .map(|e| Entry {
            name: e.attribute("name").unwrap_or("Sheet").to_owned(),
            hidden: matches!(e.attribute("state"), Some("hidden" | "veryHidden")),
            relation: e
                .attribute("id")
                .and_then(|id| relations.iter().find(|r| r.id == id))
                .cloned(),
        })
        .collect()
}
