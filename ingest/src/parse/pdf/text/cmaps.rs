//! Mapping of composite font codes to Unicode: `/ToUnicode`, predefined `CMap`s of Chinese, Japanese and Korean, and the fonts' own maps.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use hayro_cmap::{BfString, CMap, CMapName, CidFamily, WritingMode, load_embedded};
use hayro_syntax::object::{Array, Dict, Name, Object, Stream, String as PdfString};
use skrifa::MetadataProvider;

use super::charsets::Charset;
use super::streams;

/// How codes are extracted from a string and numbered.
#[derive(Debug)]
pub(crate) struct Encoding {
    map: Option<CMap>,
    /// The charset implied by the name of the `CMap`.
    charset: Option<Charset>,
    vertical: bool,
}

/// A code of a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    pub number: u32,
    pub length: usize,
    /// The character identifier.
    pub cid: Option<u32>,
}

/// The maps from character identifiers to Unicode, each loaded once per file.
#[derive(Debug, Default)]
pub(crate) struct Collections(RefCell<HashMap<&'static [u8], Option<Rc<CMap>>>>);

impl Collections {
    pub(crate) fn of(&self, family: &CidFamily) -> Option<Rc<CMap>> {
        let (key, name): (&'static [u8], _) = match family {
            CidFamily::AdobeJapan1 => (b"J", CMapName::AdobeJapan1Ucs2),
            CidFamily::AdobeGB1 => (b"G", CMapName::AdobeGb1Ucs2),
            CidFamily::AdobeCNS1 => (b"C", CMapName::AdobeCns1Ucs2),
            CidFamily::AdobeKorea1 => (b"K", CMapName::AdobeKorea1Ucs2),
            CidFamily::AdobeIdentity | CidFamily::Custom { .. } => return None,
        };
        self.0
            .borrow_mut()
            .entry(key)
            .or_insert_with(|| predefined(name).map(Rc::new))
            .clone()
    }
}

fn predefined(name: CMapName<'_>) -> Option<CMap> {
    CMap::parse(load_embedded(name)?, load_embedded)
}

/// Reads the `/Encoding` of a composite font.
pub(crate) fn encoding(font: &Dict<'_>) -> Encoding {
    let (map, charset, down) = match font.get::<Object<'_>>(b"Encoding") {
        Some(Object::Name(name)) => {
            let map = match CMapName::from_bytes(&name) {
                CMapName::IdentityH => Some(CMap::identity_h()),
                CMapName::IdentityV => Some(CMap::identity_v()),
                other => predefined(other),
            };
            (map, Charset::named(&name), name.ends_with(b"-V"))
        }
        Some(Object::Stream(stream)) => {
            let data = streams::decoded(&stream).ok();
            (
                data.and_then(|data| CMap::parse(&data, load_embedded)),
                None,
                false,
            )
        }
        _ => (None, None, false),
    };
    let mode = map.as_ref().and_then(|map| map.metadata().writing_mode);
    Encoding {
        vertical: mode.map_or(down, |mode| mode == WritingMode::Vertical),
        map,
        charset,
    }
}

impl Encoding {
    /// Returns the first code of a string.
    pub(crate) fn first(&self, bytes: &[u8]) -> Code {
        let mut number = 0_u32;
        if let Some(map) = &self.map {
            for (length, byte) in (1_u8..=4).zip(bytes) {
                number = number << 8 | u32::from(*byte);
                if let Some(cid) = map.lookup_cid_code(number, length) {
                    return Code {
                        number,
                        length: usize::from(length),
                        cid: Some(cid),
                    };
                }
            }
        }
        // No range matches: nearly all such codes have two bytes.
        let length = match self.charset {
            Some(charset) => charset.length(bytes),
            None => bytes.len().clamp(1, 2),
        };
        let number = bytes
            .iter()
            .take(length)
            .fold(0, |code, byte| code << 8 | u32::from(*byte));
        Code {
            number,
            length,
            cid: None,
        }
    }

    pub(crate) fn vertical(&self) -> bool {
        self.vertical
    }

    /// Returns the character collection that the `CMap` maps to, unless it is the identity.
    pub(crate) fn family(&self) -> Option<CidFamily> {
        let collection = self
            .map
            .as_ref()?
            .metadata()
            .character_collection
            .as_ref()?;
        (collection.family != CidFamily::AdobeIdentity).then(|| collection.family.clone())
    }

    /// Returns the text of a Unicode code.
    pub(crate) fn unicode(&self, code: Code) -> Option<BfString> {
        let charset = self
            .charset
            .filter(|c| !matches!(c, Charset::Legacy(_) | Charset::SevenBit(_)))?;
        let c = charset.character(code.number, code.length)?;
        Some(BfString::Char(c)).filter(meaningful)
    }

    /// Returns the text of a code of a legacy charset.
    pub(crate) fn legacy(&self, code: Code) -> Option<BfString> {
        let c = self.charset?.character(code.number, code.length)?;
        Some(BfString::Char(c)).filter(meaningful)
    }
}

/// Returns the collection of a descendant font.
pub(crate) fn system_family(descendant: &Dict<'_>) -> Option<CidFamily> {
    let info = descendant.get::<Dict<'_>>(b"CIDSystemInfo")?;
    let registry = info.get::<PdfString<'_>>(b"Registry")?;
    let ordering = info.get::<PdfString<'_>>(b"Ordering")?;
    Some(CidFamily::from_registry_ordering(&registry, &ordering))
}

/// The `/ToUnicode` map of a font.
#[derive(Debug)]
pub(crate) enum ToUnicode {
    Absent,
    Map(Box<CMap>),
    /// The name `Identity-H` or `Identity-V`: codes are Unicode.
    Identity,
    /// The name of a map from character identifiers, such as `Adobe-Japan1-UCS2`.
    OfCids(Box<CMap>),
}

impl ToUnicode {
    pub(crate) fn new(font: &Dict<'_>) -> Self {
        match font.get::<Object<'_>>(b"ToUnicode") {
            Some(Object::Stream(stream)) => streams::decoded(&stream)
                .ok()
                .and_then(|data| CMap::parse(&data, load_embedded))
                .map_or(Self::Absent, |map| Self::Map(Box::new(map))),
            Some(Object::Name(name)) if name.starts_with(b"Identity") => Self::Identity,
            Some(Object::Name(name)) => predefined(CMapName::from_bytes(&name))
                .map_or(Self::Absent, |map| Self::OfCids(Box::new(map))),
            _ => Self::Absent,
        }
    }

    /// Returns the text of a code by its own map.
    pub(crate) fn text(&self, code: u32) -> Option<BfString> {
        match self {
            Self::Map(map) => map.lookup_bf_string(code).filter(meaningful),
            _ => None,
        }
    }
}

/// Returns the text of a character identifier, without variation selectors.
pub(crate) fn of_cid(map: &CMap, cid: u32) -> Option<BfString> {
    let text = match map.lookup_bf_string(cid)? {
        BfString::String(text) => {
            let plain: String = text.chars().filter(|c| !is_selector(*c)).collect();
            let mut chars = plain.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => BfString::Char(only),
                _ => BfString::String(plain),
            }
        }
        single => single,
    };
    Some(text).filter(meaningful)
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns the text of a UTF-16 code: one unit, or a surrogate pair.
pub(crate) fn of_utf16(code: u32) -> Option<BfString> {
    let units = [(code >> 16) as u16, (code & 0xffff) as u16];
    let units = if code > 0xffff {
        &units[..]
    } else {
        &units[1..]
    };
    let c = char::decode_utf16(units.iter().copied()).next()?.ok()?;
    Some(BfString::Char(c)).filter(meaningful)
}

/// Returns whether a mapped value is text: some maps have zeros or non-characters for unknown codes.
pub(crate) fn meaningful(text: &BfString) -> bool {
    match text {
        BfString::Char(c) => !matches!(c, '\0' | '\u{fffd}' | '\u{ffff}' | '\u{fffe}'),
        BfString::String(s) => !s.chars().all(|c| matches!(c, '\0' | '\u{fffd}')),
    }
}

/// The inverse of an embedded TrueType font's character map: glyphs to characters.
#[derive(Debug, Default)]
pub(crate) struct Backwards {
    glyphs: HashMap<u32, char>,
    /// Glyphs of character identifiers, if they differ.
    by_cid: Option<Vec<u8>>,
}

impl Backwards {
    pub(crate) fn new(descendant: &Dict<'_>) -> Option<Self> {
        let descriptor = descendant.get::<Dict<'_>>(b"FontDescriptor")?;
        let program = descriptor
            .get::<Stream<'_>>(b"FontFile2")
            .or_else(|| descriptor.get::<Stream<'_>>(b"FontFile3"))?;
        let data = streams::decoded(&program).ok()?;
        let font = skrifa::FontRef::new(&data).ok()?;
        let mut glyphs = HashMap::new();
        for (character, glyph) in font.charmap().mappings() {
            if let Some(c) = char::from_u32(character) {
                let known = glyphs.entry(glyph.to_u32()).or_insert(c);
                // Of several characters with the same glyph, the most common kind is used.
                if rank(c) < rank(*known) {
                    *known = c;
                }
            }
        }
        let by_cid = descendant
            .get::<Stream<'_>>(b"CIDToGIDMap")
            .and_then(|map| {
                streams::decoded(&map)
                    .ok()
                    .map(std::borrow::Cow::into_owned)
            });
        Some(Self { glyphs, by_cid })
    }

    pub(crate) fn text(&self, cid: u32) -> Option<BfString> {
        let glyph = match &self.by_cid {
            None => cid,
            Some(map) => {
                let at = usize::try_from(cid).ok()?.checked_mul(2)?;
                u32::from(*map.get(at)?) << 8 | u32::from(*map.get(at + 1)?)
            }
        };
        self.glyphs
            .get(&glyph)
            .map(|c| BfString::Char(*c))
            .filter(meaningful)
    }
}

/// Ranks ordinary characters before presentation forms and private ones.
fn rank(c: char) -> (u8, u32) {
    let class = match u32::from(c) {
        0xa0 | 0xad => 1,
        0x2e80..=0x2fdf => 2,
        0xf900..=0xfaff | 0xfb00..=0xfdff | 0xfe70..=0xfeff => 2,
        0xe000..=0xf8ff => 3,
        _ => 0,
    };
    (class, u32::from(c))
}

/// Returns whether the font program is embedded.
pub(crate) fn embedded(descendant: &Dict<'_>) -> bool {
    descendant
        .get::<Dict<'_>>(b"FontDescriptor")
        .is_some_and(|d| {
            [&b"FontFile"[..], b"FontFile2", b"FontFile3"]
                .iter()
                .any(|k| d.contains_key(k))
        })
}

/// Returns whether character identifiers are glyph numbers.
pub(crate) fn identity_glyphs(descendant: &Dict<'_>) -> bool {
    descendant.get::<Stream<'_>>(b"CIDToGIDMap").is_none()
        && descendant
            .get::<Name<'_>>(b"Subtype")
            .is_some_and(|n| *n == *b"CIDFontType2")
}

/// Widths of a composite font in thousandths, as ranges of identifiers, which may be huge in hostile files.
#[derive(Debug, Default)]
pub(crate) struct Widths {
    single: HashMap<u32, f32>,
    ranges: Vec<(u32, u32, f32)>,
    default: f32,
}

impl Widths {
    /// Reads `/W` and `/DW`, or for vertical fonts the advances of `/W2` and `/DW2`.
    pub(crate) fn new(descendant: &Dict<'_>, vertical: bool) -> Self {
        let (key, group) = if vertical {
            (&b"W2"[..], 3)
        } else {
            (&b"W"[..], 1)
        };
        let default = if vertical {
            descendant
                .get::<Array<'_>>(b"DW2")
                .and_then(|a| a.iter::<f32>().nth(1))
                .unwrap_or(-1000.0)
        } else {
            descendant.get::<f32>(b"DW").unwrap_or(1000.0)
        };
        let mut widths = Self {
            default,
            ..Self::default()
        };
        let Some(array) = descendant.get::<Array<'_>>(key) else {
            return widths;
        };
        let mut pending: Vec<f32> = Vec::new();
        for object in array.iter::<Object<'_>>() {
            match object {
                Object::Array(list) => {
                    let Some(first) = pending.first().map(|f| *f as u32) else {
                        continue;
                    };
                    let values: Vec<f32> = list.iter::<f32>().collect();
                    for (cid, value) in (first..).zip(values.chunks(group)) {
                        widths
                            .single
                            .insert(cid, value.first().copied().unwrap_or(default));
                    }
                    pending.clear();
                }
                Object::Number(number) => {
                    pending.push(number.as_f32());
                    if let [first, last, value, ..] = pending.as_slice()
                        && pending.len() == 2 + group
                    {
                        widths.ranges.push((*first as u32, *last as u32, *value));
                        pending.clear();
                    }
                }
                _ => {}
            }
        }
        widths
    }

    pub(crate) fn of(&self, cid: u32) -> f32 {
        let ranged = || {
            let range = self.ranges.iter().find(|r| (r.0..=r.1).contains(&cid));
            range.map(|r| r.2)
        };
        self.single
            .get(&cid)
            .copied()
            .or_else(ranged)
            .unwrap_or(self.default)
    }
}
