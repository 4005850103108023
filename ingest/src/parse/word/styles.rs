//! Styles of a Word document: headings, lists, and character formatting that changes the text.

use std::collections::HashMap;

use crate::parse::ooxml::scripts::Script;
use crate::parse::ooxml::symbols::Font;
use crate::parse::ooxml::{child, switch, val};
use crate::parse::tree::Element;

/// Maximum length of a chain of base styles.
const MAX_CHAIN: usize = 32;
/// Outline level of body text.
const BODY: usize = 9;

#[derive(Debug, Default)]
pub(super) struct Styles(HashMap<String, Style>);

#[derive(Debug, Default)]
struct Style {
    name: String,
    based_on: Option<String>,
    outline: Option<usize>,
    list: Option<String>,
    list_level: Option<usize>,
    look: Look,
}

/// Character formatting that changes the text; `None` where unspecified.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Look {
    /// The inner `None` is the baseline.
    pub(super) script: Option<Option<Script>>,
    pub(super) hidden: Option<bool>,
    /// The inner `None` is a text font.
    pub(super) font: Option<Option<Font>>,
    /// The symbol font of characters in the private range.
    pub(super) private: Option<Font>,
}

impl Look {
    /// Reads run properties (`w:rPr`).
    pub(super) fn read(properties: &Element) -> Self {
        let script = val(properties, "vertAlign").map(|align| match align {
            "superscript" => Some(Script::Raised),
            "subscript" => Some(Script::Lowered),
            _ => None,
        });
        let fonts = child(properties, "rFonts");
        let named = |name| fonts.and_then(|f| f.attribute(name)).map(Font::named);
        Self {
            script,
            hidden: switch(properties, "vanish"),
            font: named("ascii").or_else(|| named("hAnsi")),
            private: named("hAnsi").or_else(|| named("cs")).flatten(),
        }
    }

    /// Fills unspecified properties from another `Look`.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            script: self.script.or(other.script),
            hidden: self.hidden.or(other.hidden),
            font: self.font.or(other.font),
            private: self.private.or(other.private),
        }
    }
}

impl Styles {
    pub(super) fn read(root: &Element) -> Self {
        let styles = root.elements().filter(|e| e.name == "style");
        Self(
            styles
                .filter_map(|style| Some((style.attribute("styleId")?.to_owned(), one(style))))
                .collect(),
        )
    }

    /// Returns a style and its base styles.
    fn chain<'s>(&'s self, id: &str) -> impl Iterator<Item = (&'s str, &'s Style)> {
        let first = self.0.get_key_value(id);
        std::iter::successors(first, |(_, style)| {
            self.0.get_key_value(style.based_on.as_deref()?)
        })
        .take(MAX_CHAIN)
        .map(|(id, style)| (id.as_str(), style))
    }

    /// Returns the heading level of a style, from 1; `None` for other styles.
    pub(super) fn heading(&self, id: &str) -> Option<usize> {
        if !self.0.contains_key(id) {
            return named_level(id);
        }
        for (_, style) in self.chain(id) {
            match (style.outline, named_level(&style.name)) {
                (Some(BODY), _) => return None,
                (Some(level), _) => return Some(level + 1),
                (None, Some(level)) => return Some(level),
                (None, None) => {}
            }
        }
        None
    }

    /// Returns the list of a style, its level where one is stated, and the style that defines the list.
    pub(super) fn list(&self, id: &str) -> Option<(&str, Option<usize>, &str)> {
        let (named_by, list) = self
            .chain(id)
            .find_map(|(id, style)| Some((id, style.list.as_deref()?)))?;
        let level = self.chain(id).find_map(|(_, style)| style.list_level);
        Some((list, level, named_by))
    }

    /// Returns the character formatting of a style.
    pub(super) fn look(&self, id: &str) -> Look {
        self.chain(id)
            .fold(Look::default(), |look, (_, style)| look.or(style.look))
    }
}

fn one(style: &Element) -> Style {
    let paragraph = child(style, "pPr");
    let list = paragraph.and_then(|p| child(p, "numPr"));
    Style {
        name: val(style, "name").unwrap_or_default().to_owned(),
        based_on: val(style, "basedOn").map(ToOwned::to_owned),
        outline: paragraph.and_then(outline),
        list: list.and_then(|l| val(l, "numId")).map(ToOwned::to_owned),
        list_level: list
            .and_then(|l| val(l, "ilvl"))
            .and_then(|l| l.parse().ok()),
        look: child(style, "rPr").map(Look::read).unwrap_or_default(),
    }
}

/// Reads the outline level of paragraph properties; 9 is body text.
pub(super) fn outline(properties: &Element) -> Option<usize> {
    let level: usize = val(properties, "outlineLvl")?.parse().ok()?;
    Some(level.min(BODY))
}

/// Returns the heading level in the name or id of a style. Word stores English names; other programs may not.
fn named_level(name: &str) -> Option<usize> {
    const WORDS: [&str; 14] = [
        "heading",
        "überschrift",
        "berschrift",
        "titre",
        "título",
        "titolo",
        "kop",
        "rubrik",
        "overskrift",
        "otsikko",
        "nagłówek",
        "nadpis",
        "заголовок",
        "見出し",
    ];
    let name = name.trim().to_lowercase();
    match name.as_str() {
        "title" => return Some(1),
        "subtitle" => return Some(2),
        _ => {}
    }
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let word = name.strip_suffix(number)?.trim_end();
    let level: usize = number.parse().ok()?;
    (WORDS.contains(&word) && (1..=9).contains(&level)).then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tree;

    #[test]
    fn headings_are_known_by_outline_by_name_and_by_what_they_are_based_on() {
        let styles = Styles::read(
            child(
                &tree::read(
                    r#"<styles>
            <style styleId="berschrift2"><name val="heading 2"/></style>
            <style styleId="Own"><name val="Chapter"/><basedOn val="berschrift2"/></style>
            <style styleId="Deep"><name val="x"/><basedOn val="Own"/><pPr><outlineLvl val="0"/></pPr></style>
            <style styleId="TOC"><name val="TOC Heading"/><basedOn val="Own"/><pPr><outlineLvl val="9"/></pPr></style>
            <style styleId="A"><name val="a"/><basedOn val="B"/></style>
            <style styleId="B"><name val="b"/><basedOn val="A"/></style>
            <style styleId="T"><name val="Title"/></style></styles>"#,
                )
                .unwrap(),
                "styles",
            )
            .unwrap(),
        );
        let levels: Vec<Option<usize>> = [
            "berschrift2",
            "Own",
            "Deep",
            "TOC",
            "A",
            "T",
            "Heading3",
            "x",
        ]
        .map(|id| styles.heading(id))
        .to_vec();
        assert_eq!(
            levels,
            [
                Some(2),
                Some(2),
                Some(1),
                None,
                None,
                Some(1),
                Some(3),
                None
            ]
        );
    }
}
