//! Text of annotations: form fields with their values, text boxes, stamps, signatures, and notes.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use std::rc::Rc;

use hayro_cmap::BfString;
use hayro_font::kurbo::{Affine, Rect, Shape};
use hayro_syntax::object::{Array, Dict, Name, Object, Rect as PdfRect, Stream};
use hayro_syntax::page::Resources;

use super::content::Interpreter;
use super::fonts::Face;
use super::glyphs::Glyph;
use super::streams::{self, text_string};

const HIDDEN: u32 = 1 << 1;
const NO_VIEW: u32 = 1 << 5;
const PASSWORD: u32 = 1 << 13;
const RADIO: u32 = 1 << 15;
const PUSH_BUTTON: u32 = 1 << 16;
/// Maximum annotations of a page, and maximum ancestors of a field.
const MOST: usize = 20_000;
const ANCESTORS: usize = 16;

/// The text of a page's annotations.
#[derive(Default)]
pub(crate) struct Annotations {
    /// Text within the page's text.
    pub placed: Vec<Glyph>,
    /// Texts on top of the page's own text, each separate.
    pub above: Vec<Vec<Glyph>>,
    /// Text that is not drawn: sticky notes and comments.
    pub notes: Vec<String>,
}

/// Reads the annotations of a page with its own text `page`.
pub(crate) fn read<'a>(
    annotations: &Array<'a>,
    interpreter: &mut Interpreter<'a, '_>,
    resources: &Resources<'a>,
    base: Affine,
    page: &[Glyph],
) -> Annotations {
    let mut found = Annotations::default();
    for annotation in annotations.iter::<Dict<'a>>().take(MOST) {
        if annotation.get::<u32>(b"F").unwrap_or(0) & (HIDDEN | NO_VIEW) != 0 {
            continue;
        }
        let place = annotation
            .get::<PdfRect>(b"Rect")
            .map(|r| base.transform_rect_bbox(Rect::new(r.x0, r.y0, r.x1, r.y1)));
        let contents = || string(annotation.get::<Object<'_>>(b"Contents")?);
        match annotation.get::<Name<'_>>(b"Subtype").as_deref() {
            Some(b"Widget") => {
                if let Some(place) = place {
                    let drawn = || draw(&annotation, interpreter, resources);
                    found.placed.extend(field(&annotation, place, drawn));
                }
            }
            Some(b"FreeText" | b"Stamp") => {
                let drawn = draw(&annotation, interpreter, resources);
                match place {
                    _ if drawn.is_empty() => found.notes.extend(contents()),
                    Some(place) if covers(place, page) => found.above.push(drawn),
                    _ => found.placed.extend(drawn),
                }
            }
            Some(b"Link" | b"Popup" | b"Movie" | b"Sound" | b"Screen") | None => {}
            Some(_) => found.notes.extend(contents()),
        }
    }
    found.notes.retain(|note| !note.trim().is_empty());
    found
}

/// Returns whether text of the page is inside a rectangle.
fn covers(place: Rect, page: &[Glyph]) -> bool {
    let inside = |g: &&Glyph| {
        let middle = (
            f64::from(g.x + g.advance / 2.0),
            f64::from(g.y - g.size / 3.0),
        );
        !g.is_space() && place.contains(middle)
    };
    page.iter().filter(inside).nth(2).is_some()
}

/// Returns the glyphs of the normal appearance.
fn draw<'a>(
    annotation: &Dict<'a>,
    interpreter: &mut Interpreter<'a, '_>,
    resources: &Resources<'a>,
) -> Vec<Glyph> {
    let before = interpreter.shown.glyphs.len();
    if let Some(form) = appearance(annotation)
        && let Some(rect) = annotation.get::<PdfRect>(b"Rect")
    {
        let dict = form.dict();
        let matrix = dict
            .get::<[f64; 6]>(b"Matrix")
            .map_or(Affine::IDENTITY, Affine::new);
        let area = dict
            .get::<[f64; 4]>(b"BBox")
            .unwrap_or([0.0, 0.0, 1.0, 1.0]);
        let area =
            (matrix * Rect::new(area[0], area[1], area[2], area[3]).to_path(0.1)).bounding_box();
        let ratio = |to: f64, from: f64| if from.abs() > 1e-6 { to / from } else { 1.0 };
        let (sx, sy) = (
            ratio(rect.width(), area.width()),
            ratio(rect.height(), area.height()),
        );
        let placing = Affine::new([
            sx,
            0.0,
            0.0,
            sy,
            rect.x0 - sx * area.x0,
            rect.y0 - sy * area.y0,
        ]);
        interpreter.appearance(&form, placing, resources);
    }
    interpreter.shown.glyphs.split_off(before)
}

fn appearance<'a>(annotation: &Dict<'a>) -> Option<Stream<'a>> {
    match annotation.get::<Dict<'a>>(b"AP")?.get::<Object<'a>>(b"N")? {
        Object::Stream(stream) => Some(stream),
        Object::Dict(states) => states.get::<Stream<'a>>(annotation.get::<Name<'_>>(b"AS")?),
        _ => None,
    }
}

/// Returns the text of a form field: its value, or its drawn text if there is no value.
fn field<'a>(widget: &Dict<'a>, place: Rect, drawn: impl FnOnce() -> Vec<Glyph>) -> Vec<Glyph> {
    let flags = inherited(widget, b"Ff").map_or(0, |f| match f {
        Object::Number(n) => u32::try_from(n.as_i64()).unwrap_or(0),
        _ => 0,
    });
    let kind = match inherited(widget, b"FT") {
        Some(Object::Name(name)) => name.to_vec(),
        _ => Vec::new(),
    };
    match kind.as_slice() {
        b"Tx" if flags & PASSWORD != 0 => Vec::new(),
        b"Tx" => {
            let drawn = drawn();
            let value = inherited(widget, b"V").and_then(string).unwrap_or_default();
            let letters = |text: &str| {
                text.chars()
                    .filter(|c| !c.is_whitespace())
                    .collect::<String>()
            };
            let shown: String = drawn
                .iter()
                .map(|g| g.as_str(&mut [0; 4]).to_owned())
                .collect();
            if value.trim().is_empty() || letters(&shown) == letters(&value) {
                drawn
            } else {
                write(&value, place)
            }
        }
        b"Ch" => write(&chosen(widget).join(", "), place),
        b"Btn" if flags & PUSH_BUTTON != 0 => drawn(),
        b"Btn" => ticked(widget, flags).map_or_else(Vec::new, |text| write(&text, place)),
        _ => drawn(),
    }
}

/// Returns the selected entries of a list, as displayed.
fn chosen(widget: &Dict<'_>) -> Vec<String> {
    let values = match inherited(widget, b"V") {
        Some(Object::Array(values)) => values.iter::<Object<'_>>().filter_map(string).collect(),
        Some(value) => string(value).into_iter().collect(),
        None => Vec::new(),
    };
    let options: Vec<(String, String)> = match inherited(widget, b"Opt") {
        Some(Object::Array(options)) => options.iter::<Object<'_>>().filter_map(pair).collect(),
        _ => Vec::new(),
    };
    let shown = |value: String| {
        let option = options.iter().find(|(exported, _)| *exported == value);
        option.map(|(_, shown)| shown.clone()).unwrap_or(value)
    };
    values.into_iter().map(shown).collect()
}

fn pair(option: Object<'_>) -> Option<(String, String)> {
    match option {
        Object::Array(both) => {
            let mut both = both.iter::<Object<'_>>().filter_map(string);
            let exported = both.next()?;
            let shown = both.next().unwrap_or_else(|| exported.clone());
            Some((exported, shown))
        }
        other => string(other).map(|text| (text.clone(), text)),
    }
}

/// Returns a tick and the name of a ticked checkbox, or the selected state of radio buttons.
fn ticked(widget: &Dict<'_>, flags: u32) -> Option<String> {
    let states = widget
        .get::<Dict<'_>>(b"AP")
        .and_then(|ap| ap.get::<Dict<'_>>(b"N"));
    let value = match inherited(widget, b"V") {
        Some(Object::Name(name)) => Some(name.to_vec()),
        _ => None,
    };
    let state = match widget.get::<Name<'_>>(b"AS") {
        Some(state) => state.to_vec(),
        None => value.filter(|v| states.as_ref().is_none_or(|s| s.contains_key(v)))?,
    };
    if state == b"Off" {
        return None;
    }
    let name = [&b"TU"[..], b"T"]
        .iter()
        .find_map(|key| inherited(widget, key).and_then(string))
        .filter(|name| !name.trim().is_empty());
    let state = String::from_utf8_lossy(&state).into_owned();
    Some(match name {
        Some(name) if flags & RADIO != 0 => format!("☒ {name}: {state}"),
        Some(name) => format!("☒ {name}"),
        None => format!("☒ {state}"),
    })
}

/// Returns an entry of a field or of its ancestors.
fn inherited<'a>(widget: &Dict<'a>, key: &[u8]) -> Option<Object<'a>> {
    let mut dict = widget.clone();
    for _ in 0..ANCESTORS {
        if let Some(value) = dict.get::<Object<'a>>(key) {
            return Some(value);
        }
        dict = dict.get::<Dict<'a>>(b"Parent")?;
    }
    None
}

fn string(object: Object<'_>) -> Option<String> {
    match object {
        Object::String(text) => Some(text_string(&text)),
        Object::Name(name) => Some(String::from_utf8_lossy(&name).into_owned()),
        Object::Stream(stream) => streams::decoded(&stream)
            .ok()
            .map(|data| text_string(&data)),
        _ => None,
    }
}

/// Lays out text without glyphs in a rectangle line by line.
fn write(text: &str, place: Rect) -> Vec<Glyph> {
    let lines: Vec<&str> = text
        .split(['\n', '\r'])
        .filter(|l| !l.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let size = (place.height() / lines.len() as f64 * 0.75).clamp(4.0, 11.0);
    let face = Rc::new(Face::default());
    // A single line is centred vertically, several start at the top.
    let first = if lines.len() == 1 {
        place.center().y + 0.35 * size
    } else {
        place.y0 + size
    };
    let mut glyphs = Vec::new();
    for (line, number) in lines.iter().zip(0_u32..) {
        let y = first + f64::from(number) * 1.2 * size;
        let mut x = place.x0 + 2.0;
        for c in line.chars() {
            glyphs.push(Glyph {
                text: BfString::Char(c),
                x: x as f32,
                y: y as f32,
                direction: (1.0, 0.0),
                advance: (size * 0.5) as f32,
                size: size as f32,
                face: Rc::clone(&face),
                hidden: false,
            });
            x += size * 0.5;
        }
    }
    glyphs
}
