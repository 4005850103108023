//! Paragraphs of shapes, with their bullets and automatic numbers.

use super::layouts::{self, Bullet, Bullets, Key, Layout};
use crate::parse::ooxml::numbers::automatic;
use crate::parse::ooxml::{Block, child, runs};
use crate::parse::tree::Element;

/// Maximum level of a paragraph.
const MAX_LEVEL: usize = 8;

/// Returns the paragraphs of a text body (`p:txBody`); `key` is its placeholder.
pub(super) fn blocks(body: &Element, key: Option<&Key>, layout: &Layout) -> Vec<Block> {
    let own: Bullets = child(body, "lstStyle")
        .map(layouts::bullets)
        .unwrap_or_default();
    let mut counters: [Option<(String, u32)>; MAX_LEVEL + 1] = Default::default();
    let mut blocks = Vec::new();
    let mut bodies = Vec::new();
    for paragraph in body.elements().filter(|e| e.name == "p") {
        let text = runs::paragraph(paragraph);
        if text.trim().is_empty() {
            continue;
        }
        let properties = child(paragraph, "pPr");
        let level = properties
            .and_then(|p| p.attribute("lvl"))
            .and_then(|l| l.parse::<usize>().ok())
            .unwrap_or(0)
            .min(MAX_LEVEL);
        let direct = properties.and_then(layouts::bullet);
        let inherited = || {
            own.get(level)
                .cloned()
                .flatten()
                .or_else(|| key.map(|k| layout.bullet(k, level)))
                .unwrap_or(Bullet::None)
        };
        let bullet = direct.unwrap_or_else(inherited);
        for deeper in counters.iter_mut().skip(level + 1) {
            *deeper = None;
        }
        let number = match (&bullet, counters.get_mut(level)) {
            (Bullet::Number(kind, start), Some(counter)) => {
                let count = match counter {
                    Some((before, count)) if before == kind => count.saturating_add(1),
                    Some(_) | None => *start,
                };
                *counter = Some((kind.clone(), count));
                Some(automatic(count, kind))
            }
            (_, Some(counter)) => {
                *counter = None;
                None
            }
            (_, None) => None,
        };
        let marker = match bullet {
            Bullet::None => None,
            Bullet::Sign(tick) => Some(crate::parse::ooxml::bullet(tick)),
            Bullet::Number(..) => number,
        };
        bodies.push((level, marker, text));
    }
    // A single paragraph with an inherited bullet is not a list.
    let lone = bodies.len() == 1;
    for (level, marker, text) in bodies {
        blocks.push(match marker {
            Some(marker) if !(lone && marker == "-") => Block::Item {
                depth: level,
                marker,
                text,
            },
            Some(_) | None => Block::Paragraph(text),
        });
    }
    blocks
}
