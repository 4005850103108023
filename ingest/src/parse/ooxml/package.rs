//! The package of an office file: its parts by name, and their relationships.

use std::collections::HashMap;

use super::{child, truth};
use crate::document::Document;
use crate::input::ParseError;
use crate::parse::container::{self, Container};
use crate::parse::tree::{self, Element};
use crate::parse::writer::Writer;
use crate::parse::{damaged, given};

/// Maximum bytes of a part that is parsed as a tree.
const MAX_PART: usize = 64 << 20;

/// An open package.
pub(in crate::parse) struct Package<'a> {
    container: Container<'a>,
    /// Entry names by part name: in lower case, with slashes, without the leading slash.
    entries: HashMap<String, String>,
}

/// The relationships of a part.
#[derive(Debug, Default)]
pub(in crate::parse) struct Relations(Vec<Relation>);

#[derive(Debug)]
struct Relation {
    id: String,
    /// Last path segment of the type, the same in the transitional and the strict format.
    kind: String,
    target: String,
}

impl Relations {
    /// Returns the name of the part with a relationship id.
    pub(in crate::parse) fn by_id(&self, id: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|r| r.id == id)
            .map(|r| r.target.as_str())
    }

    /// Returns the names of the parts of a relationship type.
    pub(in crate::parse) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |r| r.kind == kind)
            .map(|r| r.target.as_str())
    }

    /// Returns the part referenced by an element's attribute with a local name: `id` may occur twice.
    pub(in crate::parse) fn of_element(&self, element: &Element, attribute: &str) -> Option<&str> {
        element
            .attributes
            .iter()
            .filter(|(name, _)| name == attribute)
            .find_map(|(_, id)| self.by_id(id))
    }
}

impl<'a> Package<'a> {
    /// Opens the package of a file.
    pub(in crate::parse) fn open(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let container = container::open(bytes)?;
        let entries = container
            .file_names()
            .filter_map(Result::ok)
            .map(|name| (part_name(&name), name.into_owned()))
            .collect();
        Ok(Self { container, entries })
    }

    /// Returns the name of the main part of the document.
    pub(in crate::parse) fn main_part(&mut self) -> Result<String, ParseError> {
        let relations = self.relations("");
        if let Some(name) = relations.of_kind("officeDocument").find(|n| self.has(n)) {
            return Ok(name.to_owned());
        }
        // With damaged relationships, the usual locations are tried.
        ["word/document.xml", "ppt/presentation.xml"]
            .into_iter()
            .find(|name| self.entries.contains_key(*name))
            .map(ToOwned::to_owned)
            .ok_or_else(|| damaged("it contains no document part"))
    }

    /// Returns whether the package has a part.
    pub(in crate::parse) fn has(&self, part: &str) -> bool {
        self.entries.contains_key(&part_name(part))
    }

    /// Returns the numbered parts of a folder in numeric order: `ppt/slides/slide` has `slide1.xml` and so on.
    pub(in crate::parse) fn numbered(&self, prefix: &str) -> Vec<String> {
        let mut parts: Vec<(u32, &String)> = self
            .entries
            .keys()
            .filter_map(|part| {
                let number = part.strip_prefix(prefix)?.strip_suffix(".xml")?;
                Some((number.parse().ok()?, part))
            })
            .collect();
        parts.sort();
        parts.into_iter().map(|(_, part)| part.clone()).collect()
    }

    /// Returns the bytes of a part.
    pub(in crate::parse) fn bytes(&mut self, part: &str) -> Result<Vec<u8>, ParseError> {
        let entry = self
            .entries
            .get(&part_name(part))
            .cloned()
            .ok_or_else(|| damaged(&format!("its part {part} is missing")))?;
        container::entry(&mut self.container, &entry)
    }

    /// Returns the XML of a part.
    pub(in crate::parse) fn xml(&mut self, part: &str) -> Result<String, ParseError> {
        let bytes = self.bytes(part)?;
        let utf16 =
            encoding_rs::Encoding::for_bom(&bytes).filter(|(e, _)| *e != encoding_rs::UTF_8);
        if utf16.is_some() {
            let (text, _, _) = encoding_rs::UTF_8.decode(&bytes);
            return Ok(text.into_owned());
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })
    }

    /// Returns the root element of a part.
    pub(in crate::parse) fn root(&mut self, part: &str) -> Result<Element, ParseError> {
        let xml = self.xml(part)?;
        if xml.len() > MAX_PART {
            return Err(ParseError::new(
                "archive_too_large",
                format!("the part {part} is larger than {} MiB", MAX_PART >> 20),
            ));
        }
        let mut tree = tree::read(&xml)?;
        let first = tree
            .children
            .iter()
            .position(|node| matches!(node, tree::Node::Element(_)));
        match first.map(|at| tree.children.swap_remove(at)) {
            Some(tree::Node::Element(root)) => Ok(root),
            Some(tree::Node::Text(_)) | None => Err(damaged(&format!("its part {part} is empty"))),
        }
    }

    /// Returns the relationships of a part; empty when they are missing or damaged. The empty name is the package itself.
    pub(in crate::parse) fn relations(&mut self, part: &str) -> Relations {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let name = if folder.is_empty() {
            format!("_rels/{file}.rels")
        } else {
            format!("{folder}/_rels/{file}.rels")
        };
        if !self.has(&name) {
            return Relations::default();
        }
        let Ok(root) = self.root(&name) else {
            return Relations::default();
        };
        let relations = root
            .elements()
            .filter(|e| e.attribute("TargetMode") != Some("External"))
            .filter_map(|e| {
                let kind = e.attribute("Type")?;
                Some(Relation {
                    id: e.attribute("Id")?.to_owned(),
                    kind: kind.rsplit('/').next().unwrap_or(kind).to_owned(),
                    target: resolve(folder, e.attribute("Target")?),
                })
            });
        Relations(relations.collect())
    }

    /// Completes a document of this package: its text with warnings, and its properties.
    pub(in crate::parse) fn finish(
        &mut self,
        mut writer: Writer,
        warnings: &[String],
        engine: &str,
    ) -> Document {
        for warning in warnings {
            writer.warn(warning.clone());
        }
        let properties = self.properties();
        let document = writer.finish(engine);
        Document {
            title: properties.title.or(document.title),
            language: properties.language,
            published_at: properties.created,
            ..document
        }
    }

    /// Returns title, language and creation time from the document properties.
    fn properties(&mut self) -> Properties {
        let part = self
            .relations("")
            .of_kind("core-properties")
            .next()
            .map_or_else(|| "docProps/core.xml".to_owned(), ToOwned::to_owned);
        let Ok(root) = self.root(&part) else {
            return Properties::default();
        };
        let value = |name| given(child(&root, name).map(Element::text));
        Properties {
            title: value("title").filter(|t| !is_default_title(t)),
            language: value("language"),
            created: value("created"),
        }
    }
}

/// Properties of a document.
#[derive(Debug, Default)]
pub(in crate::parse) struct Properties {
    pub(in crate::parse) title: Option<String>,
    pub(in crate::parse) language: Option<String>,
    pub(in crate::parse) created: Option<String>,
}

/// Returns whether a title is a default that programs give to new files.
fn is_default_title(title: &str) -> bool {
    const DEFAULTS: [&str; 17] = [
        "powerpoint presentation",
        "powerpoint-präsentation",
        "présentation powerpoint",
        "presentación de powerpoint",
        "presentazione standard di powerpoint",
        "presentazione di powerpoint",
        "apresentação do powerpoint",
        "powerpoint-presentatie",
        "prezentacja programu powerpoint",
        "презентация powerpoint",
        "powerpoint プレゼンテーション",
        "powerpoint 演示文稿",
        "word document",
        "document",
        "untitled",
        "unbenannt",
        "slide 1",
    ];
    DEFAULTS.contains(&title.to_lowercase().as_str())
}

/// Returns whether a sheet, slide or element is visible.
pub(in crate::parse) fn is_shown(element: &Element) -> bool {
    element.attribute("show").is_none_or(truth)
}

fn part_name(name: &str) -> String {
    name.replace('\\', "/")
        .trim_start_matches('/')
        .to_lowercase()
}

/// Resolves a target against the folder of the part that refers to it.
fn resolve(folder: &str, target: &str) -> String {
    let (base, target) = match target.strip_prefix('/') {
        Some(absolute) => ("", absolute),
        None => (folder, target),
    };
    let mut segments: Vec<&str> = base.split('/').filter(|s| !s.is_empty()).collect();
    for segment in target.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    segments.join("/")
}

#[cfg(test)]
pub(in crate::parse) mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;

    use super::*;

    /// Builds a package from parts; relationships are given like any other part.
    pub(in crate::parse) fn packed(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// Returns the XML of relationships from ids, types and targets.
    pub(in crate::parse) fn relationships(relations: &[(&str, &str, &str)]) -> String {
        let inner: String = relations
            .iter()
            .map(|(id, kind, target)| {
                format!("<Relationship Id=\"{id}\" Type=\"http://x/{kind}\" Target=\"{target}\"/>")
            })
            .collect();
        format!("<Relationships>{inner}</Relationships>")
    }

    #[test]
    fn targets_are_resolved_against_the_folder_of_the_part() {
        assert_eq!(resolve("ppt/slides", "../charts/c.xml"), "ppt/charts/c.xml");
        assert_eq!(resolve("ppt/slides", "/ppt/a.xml"), "ppt/a.xml");
        assert_eq!(resolve("", "word/document.xml"), "word/document.xml");
        assert_eq!(resolve("a", "../../../x.xml"), "x.xml");
    }

    #[test]
    fn parts_are_found_whatever_the_case_and_the_slashes() {
        let bytes = packed(&[
            (
                "_rels/.rels",
                &relationships(&[("a", "officeDocument", "/Word/Document.xml")]),
            ),
            ("word\\document.xml", "<d/>"),
        ]);
        let mut package = Package::open(&bytes).unwrap();
        let main = package.main_part().unwrap();
        assert_eq!(package.root(&main).unwrap().name, "d");
        let missing = package.root("word/styles.xml").unwrap_err();
        assert_eq!(missing.code, "damaged_file");
    }

    #[test]
    fn a_part_in_utf_16_is_read() {
        let mut wide = vec![0xFF, 0xFE];
        wide.extend("<a>ü</a>".encode_utf16().flat_map(u16::to_le_bytes));
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer
            .start_file("a.xml", SimpleFileOptions::default())
            .unwrap();
        writer.write_all(&wide).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let mut package = Package::open(&bytes).unwrap();
        assert_eq!(package.root("a.xml").unwrap().text(), "ü");
    }
}
