//! Document-level entries: outline, page labels, and whether the file is an XFA form.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use std::collections::{BTreeMap, HashMap, HashSet};

use hayro_syntax::object::{Array, Dict, Name, Object, ObjectIdentifier, String as PdfString};
use hayro_syntax::page::Page;

use super::streams::text_string;
use crate::parse::numerals;

/// Depth limits for trees that may contain cycles in hostile files.
const DEPTH: usize = 16;
const ENTRIES: usize = 20_000;

/// An entry of the outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    pub title: String,
    pub level: u8,
    /// Target page, if known.
    pub page: Option<u32>,
}

pub(crate) fn is_xfa(catalog: &Dict<'_>) -> bool {
    catalog
        .get::<Dict<'_>>(b"AcroForm")
        .is_some_and(|form| form.contains_key(b"XFA"))
}

/// Returns the labels of pages that differ from the page number: `iv`, `A-3`.
pub(crate) fn labels(catalog: &Dict<'_>, pages: usize) -> BTreeMap<u32, String> {
    let mut ranges: BTreeMap<u32, Dict<'_>> = BTreeMap::new();
    if let Some(tree) = catalog.get::<Dict<'_>>(b"PageLabels") {
        numbers(&tree, 0, &mut ranges);
    }
    let mut labels = BTreeMap::new();
    for number in 1..=u32::try_from(pages).unwrap_or(u32::MAX) {
        let Some((first, style)) = ranges.range(..number).next_back() else {
            continue;
        };
        let prefix = style
            .get::<PdfString<'_>>(b"P")
            .map(|p| text_string(&p))
            .unwrap_or_default();
        let start = style.get::<u32>(b"St").unwrap_or(1);
        let value = start.saturating_add(number - 1 - first);
        let numeral = match style.get::<Name<'_>>(b"S").as_deref() {
            Some(b"D") => value.to_string(),
            Some(b"r") => roman(value).to_lowercase(),
            Some(b"R") => roman(value),
            Some(b"a") => alphabetic(value).to_lowercase(),
            Some(b"A") => alphabetic(value),
            _ => String::new(),
        };
        let label = format!("{prefix}{numeral}");
        if !label.is_empty() && label != number.to_string() {
            labels.insert(number, label);
        }
    }
    labels
}

fn numbers<'a>(node: &Dict<'a>, depth: usize, into: &mut BTreeMap<u32, Dict<'a>>) {
    if let Some(pairs) = node.get::<Array<'a>>(b"Nums") {
        let mut pairs = pairs.flex_iter();
        while let Some((first, style)) = pairs.next::<(u32, Dict<'a>)>() {
            into.insert(first, style);
        }
    }
    if depth < DEPTH && into.len() < ENTRIES {
        for kid in node
            .get::<Array<'a>>(b"Kids")
            .iter()
            .flat_map(Array::iter::<Dict<'a>>)
        {
            numbers(&kid, depth + 1, into);
        }
    }
}

/// Largest number that is written as a Roman numeral, and maximum number of letters.
const LARGEST: u32 = 10_000;
const LETTERS: usize = 32;

fn roman(value: u32) -> String {
    numerals::roman(value, LARGEST)
}

/// Returns A to Z, then AA to ZZ, as defined by the format; 0 is A.
fn alphabetic(value: u32) -> String {
    numerals::letters(value.max(1), 'A', LETTERS)
}

/// Returns the outline in document order.
pub(crate) fn outline(catalog: &Dict<'_>, pages: &[Page<'_>]) -> Vec<Bookmark> {
    let Some(outlines) = catalog.get::<Dict<'_>>(b"Outlines") else {
        return Vec::new();
    };
    let ids = pages.iter().zip(1..);
    let by_id: HashMap<_, u32> = ids
        .filter_map(|(p, n)| Some((p.raw().obj_id()?, n)))
        .collect();
    let mut walk = Walk {
        pages: by_id,
        named: named(catalog),
        seen: HashSet::new(),
        found: Vec::new(),
    };
    walk.children(&outlines, 1);
    walk.found
}

struct Walk<'a> {
    pages: HashMap<ObjectIdentifier, u32>,
    named: HashMap<Vec<u8>, Object<'a>>,
    seen: HashSet<ObjectIdentifier>,
    found: Vec<Bookmark>,
}

impl<'a> Walk<'a> {
    fn children(&mut self, parent: &Dict<'a>, level: usize) {
        let mut next = parent.get::<Dict<'a>>(b"First");
        while let Some(entry) = next {
            let new = entry.obj_id().is_none_or(|id| self.seen.insert(id));
            if !new || self.found.len() >= ENTRIES {
                return;
            }
            let title = entry
                .get::<PdfString<'_>>(b"Title")
                .map(|t| text_string(&t))
                .unwrap_or_default();
            let target = entry
                .get::<Object<'a>>(b"Dest")
                .or_else(|| entry.get::<Dict<'a>>(b"A")?.get::<Object<'a>>(b"D"));
            self.found.push(Bookmark {
                title,
                level: u8::try_from(level).unwrap_or(6).min(6),
                page: target.and_then(|t| self.page(t, 0)),
            });
            if level < DEPTH {
                self.children(&entry, level + 1);
            }
            next = entry.get::<Dict<'a>>(b"Next");
        }
    }

    /// Returns the page number of a destination.
    fn page(&self, target: Object<'a>, depth: usize) -> Option<u32> {
        match target {
            Object::Array(parts) => match parts.raw_iter().next()? {
                hayro_syntax::object::MaybeRef::Ref(page) => self.pages.get(&page.into()).copied(),
                hayro_syntax::object::MaybeRef::NotRef(Object::Number(n)) => {
                    u32::try_from(n.as_i64() + 1).ok()
                }
                hayro_syntax::object::MaybeRef::NotRef(_) => None,
            },
            Object::Dict(dict) => self.page(dict.get::<Object<'a>>(b"D")?, depth + 1),
            Object::Name(name) if depth < 4 => {
                self.page(self.named.get(&*name)?.clone(), depth + 1)
            }
            Object::String(name) if depth < 4 => {
                self.page(self.named.get(&*name)?.clone(), depth + 1)
            }
            _ => None,
        }
    }
}

/// Returns the named destinations.
fn named<'a>(catalog: &Dict<'a>) -> HashMap<Vec<u8>, Object<'a>> {
    let mut found = HashMap::new();
    if let Some(old) = catalog.get::<Dict<'a>>(b"Dests") {
        for key in old.keys() {
            if let Some(target) = old.get::<Object<'a>>(&key) {
                found.insert(key.to_vec(), target);
            }
        }
    }
    if let Some(tree) = catalog
        .get::<Dict<'a>>(b"Names")
        .and_then(|n| n.get::<Dict<'a>>(b"Dests"))
    {
        names(&tree, 0, &mut found);
    }
    found
}

fn names<'a>(node: &Dict<'a>, depth: usize, into: &mut HashMap<Vec<u8>, Object<'a>>) {
    if let Some(pairs) = node.get::<Array<'a>>(b"Names") {
        let mut pairs = pairs.iter::<Object<'a>>();
        while let (Some(Object::String(name)), Some(target)) = (pairs.next(), pairs.next()) {
            into.insert(name.to_vec(), target);
        }
    }
    if depth < DEPTH && into.len() < ENTRIES {
        for kid in node
            .get::<Array<'a>>(b"Kids")
            .iter()
            .flat_map(Array::iter::<Dict<'a>>)
        {
            names(&kid, depth + 1, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{alphabetic, roman};

    #[test]
    fn labels_are_counted_as_the_format_says() {
        assert_eq!(
            [1, 4, 9, 14, 1999].map(roman),
            ["I", "IV", "IX", "XIV", "MCMXCIX"]
        );
        assert_eq!([1, 26, 27].map(alphabetic), ["A", "Z", "AA"]);
    }
}
