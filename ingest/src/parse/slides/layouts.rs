//! Properties of placeholders inherited from layouts and masters: position and bullets.

use std::collections::HashMap;

use crate::parse::ooxml::symbols::{self, Font};
use crate::parse::ooxml::{all, child, path, runs};
use crate::parse::tree::Element;
use crate::parse::writer::one_line;

/// Number of text levels of a shape.
const LEVELS: usize = 9;
/// Minimum words of a prompt; a slide may legitimately have the same title as its layout.
const PROMPT_WORDS: usize = 3;

/// A rectangle in the units of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// The bullet of a paragraph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bullet {
    None,
    /// A symbol, with its checkbox if it is one.
    Sign(Option<char>),
    /// A kind of automatic numbering, and its first number.
    Number(String, u32),
}

/// Bullets by level; `None` where unspecified.
pub(super) type Bullets = [Option<Bullet>; LEVELS];

/// Type and index by which a placeholder is matched in its layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kind: String,
    index: Option<String>,
}

#[derive(Debug)]
struct Holder {
    key: Key,
    place: Option<Place>,
    bullets: Bullets,
    prompt: String,
}

#[derive(Debug, Default)]
pub(super) struct Layout {
    own: Vec<Holder>,
    master: Vec<Holder>,
    /// Bullets of the master's text styles, by name of the style.
    styles: HashMap<String, Bullets>,
}

impl Key {
    /// Reads the placeholder (`p:ph`) of a shape; `None` for other shapes.
    pub(super) fn read(shape: &Element) -> Option<Self> {
        let properties = shape
            .elements()
            .find(|e| e.name.starts_with("nv") && e.name.ends_with("Pr"))?;
        let place = path(properties, &["nvPr", "ph"])?;
        Some(Self {
            kind: place.attribute("type").unwrap_or("obj").to_owned(),
            index: place.attribute("idx").map(ToOwned::to_owned),
        })
    }

    pub(super) fn is_title(&self) -> bool {
        matches!(self.kind.as_str(), "title" | "ctrTitle")
    }

    /// Returns the corresponding placeholder type of the master.
    fn general(&self) -> &str {
        match self.kind.as_str() {
            "title" | "ctrTitle" => "title",
            "dt" | "ftr" | "sldNum" | "hdr" => &self.kind,
            _ => "body",
        }
    }
}

impl Layout {
    pub(super) fn read(layout: Option<&Element>, master: Option<&Element>) -> Self {
        let holders = |root: Option<&Element>| root.map(holders).unwrap_or_default();
        let styles = master.and_then(|m| child(m, "txStyles"));
        Self {
            own: holders(layout),
            master: holders(master),
            styles: styles
                .iter()
                .flat_map(|s| s.elements())
                .map(|style| (style.name.clone(), bullets(style)))
                .collect(),
        }
    }

    /// Returns the matching placeholders, of the layout before the master.
    fn holders(&self, key: &Key) -> impl Iterator<Item = &Holder> {
        let by_index = self
            .own
            .iter()
            .find(|h| key.index.is_some() && h.key.index == key.index);
        let by_kind = || {
            self.own
                .iter()
                .find(|h| h.key.general() == key.general() && h.key.kind == key.kind)
        };
        let master = self
            .master
            .iter()
            .find(|h| h.key.general() == key.general());
        by_index.or_else(by_kind).into_iter().chain(master)
    }

    pub(super) fn place(&self, key: &Key) -> Option<Place> {
        self.holders(key).find_map(|h| h.place)
    }

    /// Returns whether a text is the prompt of an empty placeholder.
    pub(super) fn prompts(&self, key: &Key, text: &str) -> bool {
        let text = one_line(text);
        text.split(' ').count() >= PROMPT_WORDS && self.holders(key).any(|h| h.prompt == text)
    }

    /// Returns the inherited bullet of paragraphs of a level in a placeholder.
    pub(super) fn bullet(&self, key: &Key, level: usize) -> Bullet {
        let at = |bullets: &Bullets| bullets.get(level).cloned().flatten();
        let style = match key.general() {
            "title" => "titleStyle",
            "body" => "bodyStyle",
            _ => "otherStyle",
        };
        self.holders(key)
            .find_map(|h| at(&h.bullets))
            .or_else(|| self.styles.get(style).and_then(at))
            .unwrap_or(Bullet::None)
    }
}

fn holders(root: &Element) -> Vec<Holder> {
    let shapes = path(root, &["cSld", "spTree"]).map(|t| all(t, "sp"));
    shapes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|shape| {
            let body = child(shape, "txBody");
            Some(Holder {
                key: Key::read(shape)?,
                place: place(shape),
                bullets: body
                    .and_then(|b| child(b, "lstStyle"))
                    .map(bullets)
                    .unwrap_or_default(),
                prompt: body
                    .map(|b| one_line(&runs::paragraphs(b)))
                    .unwrap_or_default(),
            })
        })
        .collect()
}

/// Reads the bullets of a list style: `a:lvl1pPr` to `a:lvl9pPr`.
pub(super) fn bullets(style: &Element) -> Bullets {
    let mut bullets = Bullets::default();
    for (level, own) in (1..).zip(bullets.iter_mut()) {
        *own = child(style, &format!("lvl{level}pPr")).and_then(bullet);
    }
    bullets
}

/// Reads the bullet of paragraph properties.
pub(super) fn bullet(properties: &Element) -> Option<Bullet> {
    let font = child(properties, "buFont")
        .and_then(|f| f.attribute("typeface"))
        .and_then(Font::named);
    properties.elements().find_map(|e| match e.name.as_str() {
        "buNone" => Some(Bullet::None),
        "buBlip" => Some(Bullet::Sign(None)),
        "buChar" => {
            let sign = e.attribute("char").unwrap_or_default();
            Some(Bullet::Sign(symbols::tick(sign, font)))
        }
        "buAutoNum" => {
            let start = e.attribute("startAt").and_then(|s| s.parse().ok());
            let kind = e.attribute("type").unwrap_or("arabicPeriod").to_owned();
            Some(Bullet::Number(kind, start.unwrap_or(1)))
        }
        _ => None,
    })
}

/// Reads the position of a shape, a picture, a frame or a group.
pub(super) fn place(shape: &Element) -> Option<Place> {
    let transform = child(shape, "xfrm").or_else(|| {
        let properties = child(shape, "spPr").or_else(|| child(shape, "grpSpPr"))?;
        child(properties, "xfrm")
    })?;
    let number = |name: &str, attribute: &str| {
        child(transform, name)?
            .attribute(attribute)?
            .parse::<i64>()
            .ok()
            .map(|n| n.clamp(-1 << 40, 1 << 40))
    };
    Some(Place {
        left: number("off", "x")?,
        top: number("off", "y")?,
        width: number("ext", "cx").unwrap_or(0).max(0),
        height: number("ext", "cy").unwrap_or(0).max(0),
    })
}
