//! Text of a paragraph of a Word document: runs, fields, notes, checkboxes, equations, and drawings.

use super::fields::{EMPTY, TICKED, is_page};
use super::styles::Look;
use super::{Reader, is_prompt};
use crate::parse::ooxml::scripts::{self, Script};
use crate::parse::ooxml::{
    Block, charts, child, diagrams, equations, flat, path, pictures, runs, switch, symbols, val,
};
use crate::parse::tree::Element;

/// The current paragraph.
#[derive(Default)]
pub(super) struct Line {
    text: String,
    /// Superscript or subscript text that may continue in the next run.
    script: Option<(Script, String)>,
    /// Text boxes, diagrams and charts, which are written after the paragraph.
    after: Vec<Block>,
    /// Whether it is a heading; notes of headings are written after it.
    heading: bool,
    /// Whether it contains a page number.
    page: bool,
}

/// The text of a paragraph.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) page: bool,
}

impl Line {
    pub(super) fn new(heading: bool) -> Self {
        Self {
            heading,
            ..Self::default()
        }
    }

    fn push(&mut self, script: Option<Script>, text: &str) {
        if text.is_empty() {
            return;
        }
        match (&mut self.script, script) {
            (Some((open, piece)), Some(script)) if *open == script => piece.push_str(text),
            (_, Some(script)) => {
                self.flush();
                self.script = Some((script, text.to_owned()));
            }
            (_, None) => {
                self.flush();
                self.text.push_str(text);
            }
        }
    }

    fn flush(&mut self) {
        if let Some((script, piece)) = self.script.take() {
            scripts::append(&mut self.text, script, &piece);
        }
    }

    /// Returns the text and the blocks after it.
    pub(super) fn finish(mut self) -> (Text, Vec<Block>) {
        self.flush();
        let text = Text {
            text: self.text,
            page: self.page,
        };
        (text, self.after)
    }

    /// Returns the amount of parsed content, to detect empty alternatives.
    fn amount(&self) -> usize {
        let open = self.script.as_ref().map_or(0, |(_, piece)| piece.len());
        self.text.len() + open + self.after.len()
    }
}

impl Reader<'_> {
    /// Parses the children of a paragraph or of another run container.
    pub(super) fn inline(&mut self, parent: &Element, line: &mut Line) {
        for element in parent.elements() {
            match element.name.as_str() {
                "r" => self.run(element, line),
                "hyperlink" | "ins" | "moveTo" | "smartTag" | "customXml" | "dir" | "bdo" => {
                    self.inline(element, line);
                }
                "sdt" => self.control(element, line),
                "fldSimple" => {
                    let page = element.attribute("instr").is_some_and(is_page);
                    line.page |= page;
                    if !(page && self.in_margin) {
                        self.inline(element, line);
                    }
                }
                "oMath" | "oMathPara" if self.fields.shows() => {
                    line.push(None, &equations::marked(element));
                }
                "AlternateContent" => {
                    let before = line.amount();
                    for choice in element.elements() {
                        if line.amount() == before {
                            self.inline(choice, line);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Parses a content control.
    fn control(&mut self, control: &Element, line: &mut Line) {
        if is_prompt(control) {
            return;
        }
        let Some(content) = child(control, "sdtContent") else {
            return;
        };
        let tick = path(control, &["sdtPr", "checkbox"]);
        if let Some(tick) = tick {
            let ticked = switch(tick, "checked") == Some(true);
            self.tick = Some(if ticked { TICKED } else { EMPTY });
        }
        self.inline(content, line);
        if tick.is_some()
            && let Some(sign) = self.tick.take()
        {
            line.push(None, sign);
        }
    }

    fn run(&mut self, run: &Element, line: &mut Line) {
        let properties = child(run, "rPr");
        let style = properties.and_then(|p| val(p, "rStyle"));
        let look = properties
            .map(Look::read)
            .unwrap_or_default()
            .or(style.map(|s| self.styles.look(s)).unwrap_or_default());
        self.pieces(run, look, line);
    }

    fn pieces(&mut self, run: &Element, look: Look, line: &mut Line) {
        for piece in run.elements() {
            match piece.name.as_str() {
                "instrText" => self.fields.instruct(&piece.text()),
                "fldChar" => {
                    let effect = self.fields.mark(piece, self.in_margin);
                    line.page |= effect.page;
                    line.push(None, &effect.text);
                }
                _ if !self.fields.shows() => {}
                "t" => self.text(&piece.text(), look, line),
                "sym" => self.sign(&runs::word_symbol(piece), look, line),
                "tab" | "ptab" => line.push(None, "\t"),
                "br" | "cr" => line.push(None, "\n"),
                "noBreakHyphen" => line.push(look.script.flatten(), "-"),
                "footnoteReference" | "endnoteReference" => self.note(piece, line),
                "drawing" | "pict" | "object" => self.graphic(piece, line, &mut Vec::new()),
                "ruby" => self.ruby(piece, line),
                "oMath" | "oMathPara" => line.push(None, &equations::marked(piece)),
                "AlternateContent" => {
                    let before = line.amount();
                    for choice in piece.elements() {
                        if line.amount() == before {
                            self.pieces(choice, look, line);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn text(&mut self, text: &str, look: Look, line: &mut Line) {
        let text = match look.font.flatten() {
            Some(font) => font.text(text),
            None => symbols::unnamed(text, look.private),
        };
        self.sign(&text, look, line);
    }

    fn sign(&mut self, text: &str, look: Look, line: &mut Line) {
        if text.is_empty() {
            return;
        }
        if look.hidden == Some(true) && !text.trim().is_empty() {
            self.warn("hidden text is included");
        }
        if let Some(sign) = self.tick.take() {
            line.push(None, sign);
            // A checkbox control displays one character, in any font.
            let rest: String = text.chars().skip(1).collect();
            line.push(look.script.flatten(), &rest);
            return;
        }
        line.push(look.script.flatten(), text);
    }

    /// Writes a footnote or endnote in brackets; those of headings follow the heading.
    fn note(&mut self, reference: &Element, line: &mut Line) {
        let kind = if reference.name == "footnoteReference" {
            "footnoteReference"
        } else {
            "endnoteReference"
        };
        let Some(id) = reference.attribute("id") else {
            return;
        };
        let key = (kind, id.to_owned());
        if self.in_note {
            return;
        }
        // A note with several references is written at the first of them.
        let Some(note) = self.notes.remove(&key) else {
            return;
        };
        let fields = std::mem::take(&mut self.fields);
        let pending = std::mem::take(&mut self.pending);
        self.in_note = true;
        let mut blocks = Vec::new();
        self.blocks(&note, &mut blocks);
        self.end(&mut blocks);
        self.in_note = false;
        self.fields = fields;
        self.pending = pending;
        let text = flat(&blocks);
        if text.is_empty() {
            return;
        }
        if line.heading {
            line.after.push(Block::Paragraph(format!("[{text}]")));
        } else {
            line.push(None, &format!(" [{text}]"));
        }
    }

    /// Writes ruby text in brackets after its base text.
    fn ruby(&mut self, ruby: &Element, line: &mut Line) {
        if let Some(base) = child(ruby, "rubyBase") {
            self.inline(base, line);
        }
        if let Some(reading) = child(ruby, "rt") {
            let mut read = Line::default();
            self.inline(reading, &mut read);
            let (text, _) = read.finish();
            if !text.text.trim().is_empty() {
                line.push(None, &format!("({})", text.text.trim()));
            }
        }
    }

    /// Parses a drawing: descriptions of pictures, text boxes, diagrams, charts. `described` collects the descriptions found in it.
    fn graphic(&mut self, element: &Element, line: &mut Line, described: &mut Vec<String>) {
        for inner in element.elements() {
            match inner.name.as_str() {
                "docPr" | "cNvPr" => {
                    let written = ["descr", "title"]
                        .iter()
                        .filter_map(|name| inner.attribute(name))
                        .find_map(pictures::description);
                    describe(written, line, described);
                }
                "txbxContent" => {
                    let fields = std::mem::take(&mut self.fields);
                    let pending = std::mem::take(&mut self.pending);
                    self.blocks(inner, &mut line.after);
                    self.end(&mut line.after);
                    self.fields = fields;
                    self.pending = pending;
                }
                "txBody" => line.after.push(Block::Paragraph(runs::paragraphs(inner))),
                "textpath" => {
                    let text = inner.attribute("string").unwrap_or_default().to_owned();
                    line.after.push(Block::Paragraph(text));
                }
                "relIds" => {
                    line.after
                        .extend(diagrams::read(&mut self.package, &self.relations, inner))
                }
                "chart" => {
                    line.after
                        .extend(charts::read(&mut self.package, &self.relations, inner))
                }
                "OLEObject" => {
                    let program = inner.attribute("ProgID").unwrap_or_default();
                    if program.starts_with("Equation") || program.starts_with("MathType") {
                        self.warn(
                            "equations embedded as objects of an old equation editor were skipped",
                        );
                    }
                }
                "AlternateContent" => {
                    let before = line.amount();
                    for choice in inner.elements() {
                        if line.amount() == before {
                            self.graphic(choice, line, described);
                        }
                    }
                }
                "shape" | "rect" | "roundrect" | "oval" => {
                    let written = inner.attribute("alt").and_then(pictures::description);
                    describe(written, line, described);
                    self.graphic(inner, line, described);
                }
                _ => self.graphic(inner, line, described),
            }
        }
    }
}

fn describe(written: Option<String>, line: &mut Line, described: &mut Vec<String>) {
    if let Some(text) = written.filter(|text| !described.contains(text)) {
        line.after.push(Block::Paragraph(text.clone()));
        described.push(text);
    }
}
