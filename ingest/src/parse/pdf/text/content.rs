//! Interprets the operators of pages, forms and appearances needed for text, layers and ruled lines.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use hayro_cmap::BfString;
use hayro_font::kurbo::{Affine, Point, Vec2};
use hayro_syntax::content::UntypedIter;
use hayro_syntax::object::{Array, Dict, Name, Object, Stream};
use hayro_syntax::page::Resources;

use super::fonts::{self, Font, Fonts};
use super::glyphs::{Glyph, Rule};
use super::layers::Layers;
use super::marks::Marks;
use super::operands::{Operands, as_name};
use super::paths::Path;
use super::streams;

/// Limits of one page.
const DEPTH: usize = 24;
const FORMS: usize = 20_000;
const GLYPHS: usize = 1_000_000;
const OPERATORS: usize = 30_000_000;
const SAVED: usize = 4_096;

/// The glyphs and lines that a content stream draws.
#[derive(Default)]
pub(crate) struct Shown {
    pub glyphs: Vec<Glyph>,
    pub rules: Vec<Rule>,
    /// Unsupported compression filters.
    pub undecoded: BTreeSet<String>,
    /// Whether a limit was reached.
    pub cut: bool,
}

#[derive(Clone)]
struct State<'a> {
    ctm: Affine,
    font: Option<Rc<Font<'a>>>,
    size: f64,
    char_space: f64,
    word_space: f64,
    scale: f64,
    leading: f64,
    rise: f64,
    hidden: bool,
}

pub(crate) struct Interpreter<'a, 'f> {
    fonts: &'f Fonts<'a>,
    layers: &'f Layers,
    state: State<'a>,
    text: Affine,
    line: Affine,
    marks: Marks,
    path: Path,
    forms: usize,
    operators: usize,
    pub shown: Shown,
}

impl<'a, 'f> Interpreter<'a, 'f> {
    pub(crate) fn new(fonts: &'f Fonts<'a>, layers: &'f Layers, base: Affine) -> Self {
        Self {
            fonts,
            layers,
            state: State {
                ctm: base,
                font: None,
                size: 1.0,
                char_space: 0.0,
                word_space: 0.0,
                scale: 1.0,
                leading: 0.0,
                rise: 0.0,
                hidden: false,
            },
            text: Affine::IDENTITY,
            line: Affine::IDENTITY,
            marks: Marks::default(),
            path: Path::default(),
            forms: 0,
            operators: 0,
            shown: Shown::default(),
        }
    }

    /// Interprets a content stream with its resources.
    pub(crate) fn run(&mut self, content: &[u8], resources: &Resources<'a>, depth: usize) {
        let mut operators = UntypedIter::new(content);
        let mut saved: Vec<State<'a>> = Vec::new();
        let mut known: HashMap<Vec<u8>, Rc<Font<'a>>> = HashMap::new();
        let marks = self.marks.len();
        let outer = self.state.clone();
        while let Some(instruction) = operators.next() {
            self.operators += 1;
            if self.operators > OPERATORS || self.shown.glyphs.len() > GLYPHS {
                self.shown.cut = true;
                break;
            }
            let operands = Operands(instruction.operands().collect());
            match &**instruction.operator {
                b"q" if saved.len() < SAVED => saved.push(self.state.clone()),
                b"Q" => {
                    if let Some(state) = saved.pop() {
                        self.state = state;
                    }
                }
                b"cm" => {
                    if let Some(matrix) = operands.matrix() {
                        self.state.ctm *= matrix;
                    }
                }
                b"gs" => self.graphics_state(operands.name(), resources),
                b"Do" => {
                    let form = operands
                        .name()
                        .and_then(|n| resources.x_objects.get::<Stream<'a>>(n));
                    if let Some(form) = form {
                        self.form(&form, resources, depth);
                    }
                }
                b"Tf" => {
                    self.state.size = operands.number(0).unwrap_or(1.0);
                    let name = operands.0.iter().find_map(|o| as_name(o));
                    self.state.font = name.map(|name| {
                        let font = known.entry(name.to_vec()).or_insert_with(|| {
                            let dict = resources.get_font(name);
                            dict.map_or_else(
                                || fonts::fallback(self.fonts),
                                |d| self.fonts.font(&d),
                            )
                        });
                        Rc::clone(font)
                    });
                }
                b"BMC" | b"BDC" => {
                    let shown = self.shown.glyphs.len();
                    self.marks.begin(&operands, resources, self.layers, shown);
                }
                b"EMC" if self.marks.len() > marks => self.marks.end(&mut self.shown.glyphs),
                name => {
                    if !self.text_operator(name, &operands) {
                        self.path.operator(
                            name,
                            &operands.numbers(),
                            self.state.ctm,
                            &mut self.shown.rules,
                        );
                    }
                }
            }
        }
        while self.marks.len() > marks {
            self.marks.end(&mut self.shown.glyphs);
        }
        self.state = outer;
    }

    /// Interprets an operator of text objects; returns false for other operators.
    fn text_operator(&mut self, name: &[u8], operands: &Operands<'_, '_>) -> bool {
        let number = |at| operands.number(at).unwrap_or(0.0);
        match name {
            b"BT" => {
                self.text = Affine::IDENTITY;
                self.line = Affine::IDENTITY;
            }
            b"Tm" => {
                if let Some(matrix) = operands.matrix() {
                    self.text = matrix;
                    self.line = matrix;
                }
            }
            b"Td" => self.next_line(number(0), number(1)),
            b"TD" => {
                self.state.leading = -number(1);
                self.next_line(number(0), number(1));
            }
            b"T*" => self.next_line(0.0, -self.state.leading),
            b"Tc" => self.state.char_space = number(0),
            b"Tw" => self.state.word_space = number(0),
            b"Tz" => self.state.scale = number(0) / 100.0,
            b"TL" => self.state.leading = number(0),
            b"Ts" => self.state.rise = number(0),
            b"Tr" => self.state.hidden = matches!(number(0) as i64, 3 | 7),
            b"Tj" => self.show_first(operands),
            b"'" => {
                self.next_line(0.0, -self.state.leading);
                self.show_first(operands);
            }
            b"\"" => {
                self.state.word_space = number(0);
                self.state.char_space = number(1);
                self.next_line(0.0, -self.state.leading);
                self.show_first(operands);
            }
            b"TJ" => {
                if let Some(Object::Array(parts)) = operands.0.first() {
                    self.show_parts(parts);
                }
            }
            _ => return false,
        }
        true
    }

    fn graphics_state(&mut self, name: Option<&Name<'_>>, resources: &Resources<'a>) {
        let dict = name.and_then(|n| resources.get_ext_g_state(n));
        let Some(font) = dict.and_then(|d| d.get::<Array<'a>>(b"Font")) else {
            return;
        };
        let mut parts = font.flex_iter();
        if let Some((dict, size)) = parts.next::<(Dict<'a>, f32)>() {
            self.state.font = Some(self.fonts.font(&dict));
            self.state.size = f64::from(size);
        }
    }

    /// Interprets a form, with its own transformation.
    pub(crate) fn form(&mut self, form: &Stream<'a>, resources: &Resources<'a>, depth: usize) {
        let dict = form.dict();
        let is_image = dict
            .get::<Name<'_>>(b"Subtype")
            .is_some_and(|n| *n != *b"Form");
        if is_image || !self.layers.shows(dict, b"OC") {
            return;
        }
        self.forms += 1;
        if depth >= DEPTH || self.forms > FORMS {
            self.shown.cut = true;
            return;
        }
        let content = match streams::decoded(form) {
            Ok(content) => content,
            Err(why) => {
                self.shown.undecoded.insert(why);
                return;
            }
        };
        let own = dict.get::<Dict<'a>>(b"Resources").map(Resources::new);
        let (state, text, line) = (self.state.clone(), self.text, self.line);
        if let Some(matrix) = dict.get::<[f64; 6]>(b"Matrix") {
            self.state.ctm *= Affine::new(matrix);
        }
        self.run(&content, own.as_ref().unwrap_or(resources), depth + 1);
        (self.state, self.text, self.line) = (state, text, line);
    }

    /// Interprets a form as an appearance: `placing` maps its box into a rectangle of the page.
    pub(crate) fn appearance(
        &mut self,
        form: &Stream<'a>,
        placing: Affine,
        resources: &Resources<'a>,
    ) {
        let ctm = self.state.ctm;
        self.state.ctm *= placing;
        self.form(form, resources, 0);
        self.state.ctm = ctm;
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.line *= Affine::translate((x, y));
        self.text = self.line;
    }

    fn show_first(&mut self, operands: &Operands<'_, '_>) {
        let text = operands.0.iter().find_map(|o| match o {
            Object::String(text) => Some(text),
            _ => None,
        });
        if let Some(text) = text {
            self.show(text);
        }
    }

    fn show_parts(&mut self, parts: &Array<'_>) {
        let vertical = self.state.font.as_ref().is_some_and(|f| f.vertical);
        for part in parts.iter::<Object<'_>>() {
            match part {
                Object::String(text) => self.show(&text),
                Object::Number(number) => {
                    let by = -number.as_f64() / 1000.0 * self.state.size;
                    self.text *= Affine::translate(if vertical {
                        (0.0, by)
                    } else {
                        (by * self.state.scale, 0.0)
                    });
                }
                _ => {}
            }
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        let font = match &self.state.font {
            Some(font) => Rc::clone(font),
            None => {
                let font = fonts::fallback(self.fonts);
                self.state.font = Some(Rc::clone(&font));
                font
            }
        };
        let State {
            ctm,
            size,
            char_space,
            word_space,
            scale,
            rise,
            hidden,
            ..
        } = self.state;
        let (mut text, off, glyphs) = (self.text, self.marks.off(), &mut self.shown.glyphs);
        self.fonts.codes(&font, bytes, |code| {
            let full = ctm * text * Affine::new([size * scale, 0.0, 0.0, size, 0.0, rise]);
            let advance = f64::from(code.advance);
            if let Some(unicode) = code.text.filter(|_| !off) {
                let ahead = if font.vertical {
                    Vec2::new(0.0, -1.0)
                } else {
                    Vec2::new(1.0, 0.0)
                };
                glyphs.push(glyph(unicode, full, ahead, advance.abs(), &font, hidden));
            }
            let spacing = char_space + if code.space { word_space } else { 0.0 };
            let along = advance * size + spacing;
            text *= Affine::translate(if font.vertical {
                (0.0, along)
            } else {
                (along * scale, 0.0)
            });
        });
        self.text = text;
    }
}

fn glyph(
    text: BfString,
    full: Affine,
    ahead: Vec2,
    advance: f64,
    font: &Font<'_>,
    hidden: bool,
) -> Glyph {
    let origin = full * Point::ORIGIN;
    let ahead = full * ahead.to_point() - origin;
    let up = full * Point::new(0.0, 1.0) - origin;
    let length = ahead.hypot();
    let direction = if length > 1e-9 {
        ahead / length
    } else {
        Vec2::new(1.0, 0.0)
    };
    // The size of slanted text is its height above the baseline.
    let height = if font.vertical {
        up.hypot()
    } else {
        up.cross(direction).abs()
    };
    Glyph {
        text,
        x: origin.x as f32,
        y: origin.y as f32,
        direction: (direction.x as f32, direction.y as f32),
        advance: (advance * length) as f32,
        size: (height * font.em) as f32,
        face: Rc::clone(&font.face),
        hidden,
    }
}
