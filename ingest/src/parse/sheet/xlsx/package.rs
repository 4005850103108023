//! The parts of a package and their relations. Part names are case-insensitive, as in Excel.

use std::collections::HashMap;
use std::io::{BufReader, Read};

use quick_xml::Reader;
use zip::read::ZipFile;

use crate::parse::ParseError;
use crate::parse::container::{self, Container, MAX_ENTRY};
use crate::parse::tree;

/// A part read as a stream.
pub(super) type Stream<'p, 'b> =
    Reader<BufReader<std::io::Take<ZipFile<'p, std::io::Cursor<&'b [u8]>>>>>;

/// A relation from a part to another.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) id: String,
    /// Last path segment of the type, which both variants of the format share.
    pub(super) kind: String,
    /// Path of the target part.
    pub(super) target: String,
}

pub(super) struct Package<'b> {
    container: Container<'b>,
    /// Index of each part by its lower-case path.
    parts: HashMap<String, usize>,
}

impl<'b> Package<'b> {
    pub(super) fn open(bytes: &'b [u8]) -> Result<Self, ParseError> {
        let container = container::open(bytes)?;
        let parts = (0..container.len())
            .filter_map(|index| {
                let name = container.name_for_index(index)?.ok()?;
                Some((key(&name), index))
            })
            .collect();
        Ok(Self { container, parts })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.parts.contains_key(&key(path))
    }

    /// Returns a part as text; `None` when it is missing or cannot be decompressed.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let index = *self.parts.get(&key(path))?;
        let file = self.container.by_index(index).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_ENTRY).read_to_end(&mut bytes).ok()?;
        Some(crate::parse::text::decode(&bytes, None).0)
    }

    /// Opens a part as a stream.
    pub(super) fn stream(&mut self, path: &str) -> Option<Stream<'_, 'b>> {
        let index = *self.parts.get(&key(path))?;
        let file = self.container.by_index(index).ok()?;
        let mut reader =
            Reader::from_reader(BufReader::with_capacity(1 << 16, file.take(MAX_ENTRY)));
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        Some(reader)
    }

    /// Returns the relations of a part, or of the package for an empty path.
    pub(super) fn relations(&mut self, part: &str) -> Vec<Relation> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let path = format!("{folder}/_rels/{file}.rels");
        let Some(root) = self.text(&path).and_then(|xml| tree::read(&xml).ok()) else {
            return Vec::new();
        };
        let Some(list) = root.find("Relationships") else {
            return Vec::new();
        };
        list.elements()
            .filter(|e| e.attribute("TargetMode") != Some("External"))
            .filter_map(|e| {
                let kind = e.attribute("Type")?.rsplit('/').next()?.to_owned();
                Some(Relation {
                    id: e.attribute("Id").unwrap_or_default().to_owned(),
                    kind,
                    target: resolve(folder, e.attribute("Target")?),
                })
            })
            .collect()
    }
}

fn key(path: &str) -> String {
    path.replace('\\', "/")
        .trim_start_matches('/')
        .to_lowercase()
}

/// Resolves the target of a relation against the folder of its part.
fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').collect()
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.retain(|p| !p.is_empty());
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_relative_to_the_part() {
        assert_eq!(
            resolve("xl", "worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml"
        );
        assert_eq!(
            resolve("xl/worksheets", "../comments1.xml"),
            "xl/comments1.xml"
        );
        assert_eq!(resolve("xl", "/xl/styles.xml"), "xl/styles.xml");
        assert_eq!(resolve("", "xl\\workbook.xml"), "xl/workbook.xml");
    }
}
