//! Styles of an `OpenDocument` spreadsheet: hidden tables and bold cells.

use std::collections::HashSet;

use quick_xml::events::BytesStart;

use crate::parse::sheet::stream::attribute;

#[derive(Debug, Default)]
pub(super) struct Styles {
    /// Name of the current style.
    name: String,
    hidden: HashSet<String>,
    bold: HashSet<String>,
}

impl Styles {
    /// Reads an element before the first table.
    pub(super) fn read(&mut self, start: &BytesStart<'_>) {
        match start.local_name().as_ref() {
            "style" => self.name = attribute(start, "name").unwrap_or_default(),
            "table-properties" if attribute(start, "display").as_deref() == Some("false") => {
                self.hidden.insert(self.name.clone());
            }
            "text-properties" if attribute(start, "font-weight").as_deref() == Some("bold") => {
                self.bold.insert(self.name.clone());
            }
            _ => {}
        }
    }

    pub(super) fn is_hidden(&self, style: &str) -> bool {
        self.hidden.contains(style)
    }

    pub(super) fn is_bold(&self, style: &str) -> bool {
        self.bold.contains(style)
    }
}
