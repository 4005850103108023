//! List numbering: the markers defined by `numbering.xml`, counted as Word does.

use std::collections::{HashMap, HashSet};

use super::styles::{Look, Styles};
use crate::parse::ooxml::{child, numbers, switch, symbols, val};
use crate::parse::tree::Element;

/// Number of levels of a list.
const LEVELS: usize = 9;

#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Levels by id of the abstract list.
    kinds: HashMap<String, Kind>,
    lists: HashMap<String, List>,
    /// Counters by abstract list: lists of the same abstract list continue each other.
    counters: HashMap<String, [Option<u32>; LEVELS]>,
    /// List levels whose start override was already applied.
    restarted: HashSet<(String, usize)>,
}

#[derive(Debug, Default)]
struct Kind {
    levels: HashMap<usize, Level>,
    /// A style whose list defines the levels.
    linked: Option<String>,
}

#[derive(Debug, Default)]
struct List {
    kind: String,
    levels: HashMap<usize, Level>,
    starts: HashMap<usize, u32>,
}

#[derive(Debug, Clone)]
struct Level {
    format: String,
    text: String,
    start: u32,
    style: Option<String>,
    legal: bool,
    /// The level after which the count restarts, from 1; 0 for never.
    restart: Option<usize>,
    /// The checkbox character, if the bullet is one.
    tick: Option<char>,
}

/// The marker of a list paragraph.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// A bullet, with its checkbox character if it is one.
    Bullet(Option<char>),
    Number(String),
    /// No marker, although the paragraph belongs to a list.
    None,
}

impl Numbering {
    pub(super) fn read(root: &Element) -> Self {
        let mut numbering = Self::default();
        for element in root.elements() {
            match element.name.as_str() {
                "abstractNum" => {
                    let id = element.attribute("abstractNumId").unwrap_or_default();
                    let kind = Kind {
                        levels: levels(element),
                        linked: val(element, "numStyleLink").map(ToOwned::to_owned),
                    };
                    numbering.kinds.insert(id.to_owned(), kind);
                }
                "num" => {
                    let id = element.attribute("numId").unwrap_or_default();
                    numbering.lists.insert(id.to_owned(), list(element));
                }
                _ => {}
            }
        }
        numbering
    }

    /// Returns the list level that is linked to a style.
    pub(super) fn level_of_style(&self, list: &str, style: &str) -> Option<usize> {
        let kind = self.kinds.get(&self.lists.get(list)?.kind)?;
        kind.levels
            .iter()
            .find(|(_, level)| level.style.as_deref() == Some(style))
            .map(|(number, _)| *number)
    }

    /// Counts a list paragraph and returns its marker; `None` when there is no such list.
    pub(super) fn next(&mut self, id: &str, level: usize, styles: &Styles) -> Option<Marker> {
        let level = level.min(LEVELS - 1);
        let (kind, definitions) = self.resolve(id, styles)?;
        let own = definitions.get(level)?.clone()?;
        if own.format == "bullet" {
            return Some(Marker::Bullet(own.tick));
        }
        let list = self.lists.get(id)?;
        let counters = self.counters.entry(kind).or_default();
        let restart = list.starts.get(&level).copied();
        for (number, counter) in counters.iter_mut().enumerate() {
            let definition = definitions.get(number).and_then(Option::as_ref);
            let start = definition.map_or(1, |d| d.start);
            if number < level {
                counter.get_or_insert(start);
            } else if number == level {
                let anew = restart.is_some() && self.restarted.insert((id.to_owned(), level));
                *counter = match (*counter, restart) {
                    (_, Some(start)) if anew => Some(start),
                    (Some(before), _) => Some(before.saturating_add(1)),
                    (None, _) => Some(start),
                };
            } else if definition
                .and_then(|d| d.restart)
                .is_none_or(|after| after > level)
            {
                *counter = None;
            }
        }
        let text = shown(&own, &definitions, counters);
        Some(if text.is_empty() {
            Marker::None
        } else {
            Marker::Number(text)
        })
    }

    /// Returns the abstract list of a list and its levels, with the list's overrides applied.
    fn resolve(&self, id: &str, styles: &Styles) -> Option<(String, Vec<Option<Level>>)> {
        let list = self.lists.get(id)?;
        let mut name = &list.kind;
        let mut kind = self.kinds.get(name)?;
        for _ in 0..4 {
            let linked = kind.linked.as_deref().filter(|_| kind.levels.is_empty());
            let Some((other, _, _)) = linked.and_then(|style| styles.list(style)) else {
                break;
            };
            name = &self.lists.get(other)?.kind;
            kind = self.kinds.get(name)?;
        }
        let levels = (0..LEVELS)
            .map(|level| list.levels.get(&level).or_else(|| kind.levels.get(&level)))
            .map(Option::<&Level>::cloned)
            .collect();
        Some((name.clone(), levels))
    }
}

fn levels(element: &Element) -> HashMap<usize, Level> {
    element
        .elements()
        .filter(|e| e.name == "lvl")
        .filter_map(|e| Some((e.attribute("ilvl")?.parse().ok()?, level(e))))
        .collect()
}

fn level(element: &Element) -> Level {
    Level {
        format: val(element, "numFmt").unwrap_or("decimal").to_owned(),
        text: val(element, "lvlText").unwrap_or_default().to_owned(),
        start: val(element, "start")
            .and_then(|s| s.parse().ok())
            .unwrap_or(1),
        style: val(element, "pStyle").map(ToOwned::to_owned),
        legal: switch(element, "isLgl") == Some(true),
        restart: val(element, "lvlRestart").and_then(|r| r.parse().ok()),
        tick: tick(element),
    }
}

fn tick(level: &Element) -> Option<char> {
    let look = child(level, "rPr").map(Look::read).unwrap_or_default();
    symbols::tick(val(level, "lvlText")?, look.font.flatten())
}

fn list(element: &Element) -> List {
    let mut list = List {
        kind: val(element, "abstractNumId").unwrap_or_default().to_owned(),
        ..List::default()
    };
    for change in element.elements().filter(|e| e.name == "lvlOverride") {
        let Some(number) = change.attribute("ilvl").and_then(|l| l.parse().ok()) else {
            continue;
        };
        if let Some(start) = val(change, "startOverride").and_then(|s| s.parse().ok()) {
            list.starts.insert(number, start);
        }
        if let Some(own) = child(change, "lvl") {
            list.levels.insert(number, level(own));
        }
    }
    list
}

/// Fills the counters into the text of a level: `%1.%2` becomes `3.1`.
fn shown(level: &Level, definitions: &[Option<Level>], counters: &[Option<u32>; LEVELS]) -> String {
    let mut text = String::new();
    let mut characters = level.text.chars().peekable();
    while let Some(c) = characters.next() {
        let number = characters.peek().and_then(|n| n.to_digit(10));
        let place = match number {
            Some(n @ 1..) if c == '%' => usize::try_from(n).unwrap_or(1) - 1,
            Some(_) | None => {
                text.push(c);
                continue;
            }
        };
        characters.next();
        let format = definitions
            .get(place)
            .and_then(Option::as_ref)
            .map_or("decimal", |d| d.format.as_str());
        let format = if level.legal { "decimal" } else { format };
        let count = counters.get(place).copied().flatten().unwrap_or(1);
        text.push_str(&numbers::formatted(count, format));
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tree;

    #[test]
    fn counters_nest_restart_and_continue_over_lists_of_a_kind() {
        let xml = r#"<numbering><abstractNum abstractNumId="0">
            <lvl ilvl="0"><start val="1"/><numFmt val="decimal"/><lvlText val="%1."/></lvl>
            <lvl ilvl="1"><numFmt val="lowerLetter"/><lvlText val="%1.%2)"/></lvl>
            <lvl ilvl="2"><numFmt val="bullet"/><lvlText val="x"/></lvl></abstractNum>
            <num numId="1"><abstractNumId val="0"/></num><num numId="2"><abstractNumId val="0"/></num>
            <num numId="3"><abstractNumId val="0"/><lvlOverride ilvl="0"><startOverride val="5"/></lvlOverride></num></numbering>"#;
        let root = tree::read(xml).unwrap();
        let mut numbering = Numbering::read(child(&root, "numbering").unwrap());
        let styles = Styles::default();
        let mut next = |list: &str, level| match numbering.next(list, level, &styles) {
            Some(Marker::Number(text)) => text,
            Some(Marker::Bullet(_)) => "-".to_owned(),
            Some(Marker::None) | None => String::new(),
        };
        assert_eq!(next("1", 0), "1.");
        assert_eq!(next("1", 1), "1.a)");
        assert_eq!(next("1", 1), "1.b)");
        assert_eq!(next("1", 2), "-");
        assert_eq!(next("2", 0), "2.");
        assert_eq!(next("2", 1), "2.a)");
        assert_eq!(next("3", 0), "5.");
        assert_eq!(next("3", 0), "6.");
        assert_eq!(next("9", 0), "");
    }
}
