//! Fonts for text extraction: codes of a string with their text and advance.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use hayro_cmap::{BfString, CMap, load_embedded};
use hayro_font::{CMapResolverFn, FontCache, FontGlyph, FontQuery, FontResolverFn, StandardFont};
use hayro_syntax::object::{Array, Dict, Name, Object};

use super::cmaps::{self, Backwards, Collections, Encoding, ToUnicode, Widths};

/// All fonts of a file.
pub(crate) struct Fonts<'a> {
    cache: FontCache<'a>,
    font_resolver: FontResolverFn,
    cmap_resolver: CMapResolverFn,
    collections: Collections,
    /// Parsed fonts by the bytes of their dictionaries.
    read: RefCell<HashMap<&'a [u8], Rc<Font<'a>>>>,
    /// Number of characters without a mapping, by font name.
    untold: RefCell<BTreeMap<String, usize>>,
}

/// Name and style of a font.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Face {
    pub name: String,
    pub bold: bool,
    pub italic: bool,
}

pub(crate) struct Font<'a> {
    pub face: Rc<Face>,
    pub vertical: bool,
    /// Height of an em in text space for size 1; Type 3 fonts have their own units.
    pub em: f64,
    kind: Kind<'a>,
    to_unicode: ToUnicode,
    codes: RefCell<HashMap<(u32, usize), Told>>,
}

enum Kind<'a> {
    Simple(Simple<'a>),
    Composite(Box<Composite<'a>>),
}

struct Simple<'a> {
    dict: Dict<'a>,
    first: u32,
    widths: Vec<f32>,
    missing: Option<f32>,
    /// Multiplier of widths, since those of Type 3 fonts are in their own units.
    unit: f32,
    truetype: bool,
    /// Parsed only if `/ToUnicode` or `/Widths` are incomplete.
    program: OnceCell<Option<hayro_font::Font<'a>>>,
}

struct Composite<'a> {
    encoding: Encoding,
    widths: Widths,
    collection: Option<Rc<CMap>>,
    descendant: Dict<'a>,
    identity_glyphs: bool,
    embedded: bool,
    backwards: OnceCell<Option<Backwards>>,
}

/// Text and advance of a code.
type Told = (Option<BfString>, f32);

/// A code of a shown string.
pub(crate) struct Code {
    pub text: Option<BfString>,
    /// In ems, along the line (or down, for vertical fonts).
    pub advance: f32,
    /// Whether word spacing applies.
    pub space: bool,
}

impl<'a> Fonts<'a> {
    pub(crate) fn new() -> Self {
        Self {
            cache: FontCache::new(),
            font_resolver: Arc::new(|query| match query {
                FontQuery::Standard(font) => Some(font.get_font_data()),
                FontQuery::Fallback(query) => Some(query.pick_standard_font().get_font_data()),
            }),
            cmap_resolver: Arc::new(load_embedded),
            collections: Collections::default(),
            read: RefCell::default(),
            untold: RefCell::default(),
        }
    }

    /// Returns the font of a dictionary, parsed once.
    pub(crate) fn font(&self, dict: &Dict<'a>) -> Rc<Font<'a>> {
        if let Some(font) = self.read.borrow().get(dict.data()) {
            return Rc::clone(font);
        }
        let font = Rc::new(self.read(dict));
        self.read.borrow_mut().insert(dict.data(), Rc::clone(&font));
        font
    }

    /// Returns the fonts with unmapped characters, and their numbers.
    pub(crate) fn untold(&self) -> BTreeMap<String, usize> {
        self.untold.borrow().clone()
    }

    fn read(&self, dict: &Dict<'a>) -> Font<'a> {
        let composite = dict
            .get::<Name<'_>>(b"Subtype")
            .is_some_and(|n| *n == *b"Type0");
        let descendant = composite
            .then(|| {
                dict.get::<Array<'_>>(b"DescendantFonts")?
                    .iter::<Dict<'_>>()
                    .next()
            })
            .flatten();
        let kind = match descendant {
            Some(descendant) => Kind::Composite(Box::new(self.composite(dict, descendant))),
            None => Kind::Simple(simple(dict)),
        };
        let (vertical, look) = match &kind {
            Kind::Composite(c) => (c.encoding.vertical(), c.descendant.clone()),
            Kind::Simple(_) => (false, dict.clone()),
        };
        Font {
            face: Rc::new(face(dict, &look)),
            vertical,
            em: type3_em(dict),
            kind,
            to_unicode: ToUnicode::new(dict),
            codes: RefCell::default(),
        }
    }

    fn composite(&self, dict: &Dict<'a>, descendant: Dict<'a>) -> Composite<'a> {
        let encoding = cmaps::encoding(dict);
        let family = encoding
            .family()
            .or_else(|| cmaps::system_family(&descendant));
        Composite {
            widths: Widths::new(&descendant, encoding.vertical()),
            collection: family.and_then(|family| self.collections.of(&family)),
            identity_glyphs: cmaps::identity_glyphs(&descendant),
            embedded: cmaps::embedded(&descendant),
            encoding,
            descendant,
            backwards: OnceCell::new(),
        }
    }

    /// Calls `each` for every code of a string.
    pub(crate) fn codes(&self, font: &Font<'a>, mut bytes: &[u8], mut each: impl FnMut(Code)) {
        while !bytes.is_empty() {
            let code = match &font.kind {
                Kind::Simple(_) => cmaps::Code {
                    number: u32::from(bytes.first().copied().unwrap_or(0)),
                    length: 1,
                    cid: None,
                },
                Kind::Composite(composite) => composite.encoding.first(bytes),
            };
            bytes = bytes.get(code.length..).unwrap_or_default();
            let key = (code.number, code.length);
            let known = font.codes.borrow().get(&key).cloned();
            let (text, advance) = known.unwrap_or_else(|| {
                let told = match &font.kind {
                    Kind::Simple(simple) => self.simple_code(font, simple, code.number),
                    Kind::Composite(composite) => composite_code(font, composite, code),
                };
                font.codes.borrow_mut().insert(key, told.clone());
                told
            });
            if text.is_none() {
                *self
                    .untold
                    .borrow_mut()
                    .entry(font.face.name.clone())
                    .or_default() += 1;
            }
            each(Code {
                text,
                advance,
                space: code.length == 1 && code.number == 32,
            });
        }
    }

    fn simple_code(&self, font: &Font<'a>, simple: &Simple<'a>, code: u32) -> Told {
        let program = || {
            simple
                .program
                .get_or_init(|| {
                    self.cache
                        .font(&simple.dict, &self.font_resolver, &self.cmap_resolver)
                })
                .as_ref()
        };
        let by_glyph = || {
            let program = program()?;
            match program.glyph(program.map_code(code), code) {
                FontGlyph::Outline(glyph) => glyph.as_unicode(),
                FontGlyph::Type3(glyph) => glyph.as_unicode(),
            }
            .filter(cmaps::meaningful)
        };
        // Embedded TrueType fonts without an encoding nearly always use ASCII codes.
        let as_ascii = || {
            let c = char::from_u32(code).filter(|c| simple.truetype && (' '..='~').contains(c));
            c.map(BfString::Char)
        };
        let text = font
            .to_unicode
            .text(code)
            .or_else(by_glyph)
            .or_else(|| {
                matches!(font.to_unicode, ToUnicode::Identity).then(|| cmaps::of_utf16(code))?
            })
            .or_else(as_ascii);
        let stated = code
            .checked_sub(simple.first)
            .and_then(|at| simple.widths.get(usize::try_from(at).ok()?).copied());
        let width = match stated.or(simple.missing) {
            Some(width) => width * simple.unit / 1000.0,
            None => program().map_or(0.5, |p| p.code_advance(code).x as f32 / 1000.0),
        };
        (text, width)
    }
}

fn composite_code(font: &Font<'_>, composite: &Composite<'_>, code: cmaps::Code) -> Told {
    let cid = code.cid;
    let backwards = || {
        let map = composite
            .backwards
            .get_or_init(|| Backwards::new(&composite.descendant));
        map.as_ref()?.text(cid?)
    };
    let by_cid = || cid.and_then(|cid| cmaps::of_cid(composite.collection.as_deref()?, cid));
    let text = match &font.to_unicode {
        ToUnicode::Map(_) => font.to_unicode.text(code.number),
        ToUnicode::OfCids(map) => cid.and_then(|cid| cmaps::of_cid(map, cid)),
        // Codes that are glyph numbers of an embedded font cannot be characters, too.
        ToUnicode::Identity if composite.embedded && composite.identity_glyphs => {
            backwards().or_else(|| cmaps::of_utf16(code.number))
        }
        ToUnicode::Identity => cmaps::of_utf16(code.number),
        ToUnicode::Absent => None,
    }
    .or_else(|| composite.encoding.unicode(code))
    .or_else(by_cid)
    .or_else(|| composite.encoding.legacy(code))
    .or_else(backwards);
    (text, composite.widths.of(cid.unwrap_or(0)) / 1000.0)
}

fn simple<'a>(dict: &Dict<'a>) -> Simple<'a> {
    let type3 = is_type3(dict);
    let unit = if type3 {
        matrix(dict)[0] as f32 * 1000.0
    } else {
        1.0
    };
    let widths: Vec<f32> = dict
        .get::<Array<'_>>(b"Widths")
        .map(|array| {
            let number = |o| {
                if let Object::Number(n) = o {
                    n.as_f32()
                } else {
                    0.0
                }
            };
            array.iter::<Object<'_>>().map(number).collect()
        })
        .unwrap_or_default();
    let missing = dict
        .get::<Dict<'_>>(b"FontDescriptor")
        .and_then(|d| d.get::<f32>(b"MissingWidth"));
    Simple {
        first: dict.get::<u32>(b"FirstChar").unwrap_or(0),
        missing: if widths.is_empty() {
            None
        } else {
            missing.or(type3.then_some(0.0))
        },
        widths,
        unit,
        truetype: dict
            .get::<Name<'_>>(b"Subtype")
            .is_some_and(|n| *n == *b"TrueType"),
        dict: dict.clone(),
        program: OnceCell::new(),
    }
}

fn is_type3(dict: &Dict<'_>) -> bool {
    dict.get::<Name<'_>>(b"Subtype")
        .is_some_and(|n| *n == *b"Type3")
}

fn matrix(dict: &Dict<'_>) -> [f64; 6] {
    dict.get::<[f64; 6]>(b"FontMatrix")
        .unwrap_or([0.001, 0.0, 0.0, 0.001, 0.0, 0.0])
}

/// Returns the height of an em: 1; for Type 3 fonts, whose units are arbitrary and whose boxes are often wrong, twice the width of their letters.
fn type3_em(dict: &Dict<'_>) -> f64 {
    if !is_type3(dict) {
        return 1.0;
    }
    let scale = matrix(dict)[0].abs();
    let widths = dict
        .get::<Array<'_>>(b"Widths")
        .map(|w| w.iter::<f64>().collect::<Vec<_>>());
    let widths: Vec<f64> = widths
        .unwrap_or_default()
        .into_iter()
        .filter(|w| *w > 0.0)
        .collect();
    let mean = widths.iter().sum::<f64>() / widths.len().max(1) as f64;
    let em = if mean > 0.0 {
        2.0 * mean * scale
    } else {
        1000.0 * scale
    };
    em.clamp(0.02, 50.0)
}

fn face(dict: &Dict<'_>, look: &Dict<'_>) -> Face {
    let full = dict
        .get::<Name<'_>>(b"BaseFont")
        .or_else(|| dict.get::<Name<'_>>(b"Name"))
        .map(|n| String::from_utf8_lossy(&n).into_owned())
        .unwrap_or_default();
    let name = match full.split_once('+') {
        Some((prefix, rest)) if prefix.len() == 6 => rest.to_owned(),
        _ => full,
    };
    let descriptor = look.get::<Dict<'_>>(b"FontDescriptor").unwrap_or_default();
    let flags = descriptor.get::<u32>(b"Flags").unwrap_or(0);
    let weight = descriptor.get::<f32>(b"FontWeight").unwrap_or(400.0);
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    Face {
        bold: weight >= 600.0
            || flags & 1 << 18 != 0
            || has(&["bold", "black", "heavy", "demi"])
            || bold_tex(&lower),
        italic: flags & 1 << 6 != 0 || has(&["italic", "oblique"]),
        name,
    }
}

/// Returns whether a Computer Modern font is bold, by names like `CMBX10`.
fn bold_tex(name: &str) -> bool {
    name.starts_with("cmb") || name.starts_with("sfbx") || name.starts_with("ecbx")
}

/// Returns Helvetica, for text that is shown without a font.
pub(crate) fn fallback<'a>(fonts: &Fonts<'a>) -> Rc<Font<'a>> {
    let program = fonts
        .cache
        .standard_font(StandardFont::Helvetica, &fonts.font_resolver);
    let simple = Simple {
        dict: Dict::empty(),
        first: 0,
        widths: Vec::new(),
        missing: None,
        unit: 1.0,
        truetype: true,
        program: OnceCell::from(program),
    };
    Rc::new(Font {
        face: Rc::new(Face {
            name: "Helvetica".to_owned(),
            ..Face::default()
        }),
        vertical: false,
        em: 1.0,
        kind: Kind::Simple(simple),
        to_unicode: ToUnicode::Absent,
        codes: RefCell::default(),
    })
}
