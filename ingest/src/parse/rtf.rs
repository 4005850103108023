//! Rich Text Format. The available crates drop paragraphs and ignore code pages, so the few control words that carry text are parsed here.

use std::collections::HashMap;

use encoding_rs::{Encoding, WINDOWS_1252};

use super::writer::Writer;
use super::{Input, ParseError, damaged};
use crate::document::Document;

/// Maximum nesting of groups.
const MAX_DEPTH: usize = 1000;

/// Groups that do not contain document text.
const SILENT: [&str; 24] = [
    "colortbl",
    "stylesheet",
    "info",
    "pict",
    "object",
    "header",
    "headerl",
    "headerr",
    "headerf",
    "footer",
    "footerl",
    "footerr",
    "footerf",
    "listtable",
    "listoverridetable",
    "rsidtbl",
    "themedata",
    "datastore",
    "fldinst",
    "xmlnstbl",
    "generator",
    "latentstyles",
    "revtbl",
    "shpinst",
];

#[derive(Clone)]
struct State {
    silent: bool,
    /// Whether this is the font table.
    fonts: bool,
    hidden: bool,
    encoding: &'static Encoding,
    /// Code page of the current font, if it has its own.
    font: Option<&'static Encoding>,
    /// Number of bytes after a `\u` that repeat it for old readers.
    skip_after_unicode: usize,
    outline: Option<usize>,
    in_table: bool,
}

struct Reader {
    /// Code pages of fonts by number, and the font that is being defined.
    fonts: HashMap<i64, &'static Encoding>,
    described: i64,
    default_font: i64,
    writer: Writer,
    paragraph: String,
    bytes: Vec<u8>,
    cells: Vec<String>,
    rows: Vec<Vec<String>>,
    high_surrogate: Option<u16>,
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let source = input.bytes;
    let mut state = State {
        silent: false,
        fonts: false,
        hidden: false,
        encoding: WINDOWS_1252,
        font: None,
        skip_after_unicode: 1,
        outline: None,
        in_table: false,
    };
    let mut reader = Reader {
        fonts: HashMap::new(),
        described: 0,
        default_font: 0,
        writer: Writer::default(),
        paragraph: String::new(),
        bytes: Vec::new(),
        cells: Vec::new(),
        rows: Vec::new(),
        high_surrogate: None,
    };
    let (mut stack, mut at, mut skip): (Vec<State>, usize, usize) = (Vec::new(), 0, 0);
    while at < source.len() {
        match source[at] {
            b'{' => {
                reader.flush(&state);
                if stack.len() >= MAX_DEPTH {
                    return Err(damaged(&format!(
                        "its groups are nested more than {MAX_DEPTH} levels deep"
                    )));
                }
                stack.push(state.clone());
                at += 1;
            }
            b'}' => {
                reader.flush(&state);
                if let Some(outer) = stack.pop() {
                    state = outer;
                }
                at += 1;
            }
            b'\\' => {
                let (word, number, next) = control(source, at + 1);
                at = next;
                match word {
                    Control::Byte(byte) if skip > 0 => {
                        skip -= 1;
                        let _ = byte;
                    }
                    Control::Byte(byte) => reader.push(&state, byte),
                    Control::Symbol(b'*') => state.silent = true,
                    Control::Symbol(b'~') => reader.text(&state, " "),
                    Control::Symbol(b'_') => reader.text(&state, "-"),
                    Control::Symbol(b'\n' | b'\r') => reader.end_paragraph(&state),
                    Control::Symbol(symbol @ (b'\\' | b'{' | b'}')) => reader.push(&state, symbol),
                    Control::Symbol(_) => {}
                    Control::Word("u") => {
                        reader.flush(&state);
                        reader.unicode(&state, number.unwrap_or(0));
                        skip = state.skip_after_unicode;
                    }
                    Control::Word("bin") => {
                        at = at.saturating_add(usize::try_from(number.unwrap_or(0)).unwrap_or(0));
                    }
                    Control::Word(word) => {
                        reader.flush(&state);
                        reader.word(&mut state, word, number);
                    }
                }
            }
            b'\n' | b'\r' => at += 1,
            byte => {
                if skip > 0 {
                    skip -= 1;
                } else {
                    reader.push(&state, byte);
                }
                at += 1;
            }
        }
    }
    reader.flush(&state);
    reader.end_paragraph(&state);
    reader.end_table();
    Ok(reader.writer.finish("rtf"))
}

enum Control<'a> {
    Word(&'a str),
    Symbol(u8),
    Byte(u8),
}

/// Parses the control after a backslash: its kind, its number, and the position after it.
fn control(source: &[u8], at: usize) -> (Control<'_>, Option<i64>, usize) {
    let Some(first) = source.get(at) else {
        return (Control::Symbol(0), None, at);
    };
    if *first == b'\'' {
        let byte = source
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        return match byte {
            Some(byte) => (Control::Byte(byte), None, at + 3),
            None => (Control::Symbol(0), None, at + 1),
        };
    }
    if !first.is_ascii_alphabetic() {
        return (Control::Symbol(*first), None, at + 1);
    }
    let end = |from: usize, test: fn(&u8) -> bool| {
        source[from..]
            .iter()
            .position(|b| !test(b))
            .map_or(source.len(), |n| from + n)
    };
    let word_end = end(at, u8::is_ascii_alphabetic);
    let sign = usize::from(source.get(word_end) == Some(&b'-'));
    let number_end = end(word_end + sign, u8::is_ascii_digit);
    let number = std::str::from_utf8(&source[word_end..number_end])
        .ok()
        .and_then(|n| n.parse::<i64>().ok());
    let after = if number.is_some() {
        number_end
    } else {
        word_end
    };
    let word = std::str::from_utf8(&source[at..word_end]).unwrap_or_default();
    let space = usize::from(source.get(after) == Some(&b' '));
    (Control::Word(word), number, after + space)
}

impl Reader {
    fn word(&mut self, state: &mut State, word: &str, number: Option<i64>) {
        match word {
            "par" | "sect" | "page" => self.end_paragraph(state),
            "line" => self.text(state, " "),
            "tab" => self.text(state, "\t"),
            "cell" | "nestcell" => self.cells.push(std::mem::take(&mut self.paragraph)),
            "row" | "nestrow" => {
                let row = std::mem::take(&mut self.cells);
                self.rows.push(row);
            }
            "intbl" => state.in_table = true,
            "pard" => {
                state.outline = None;
                state.in_table = false;
            }
            "outlinelevel" => state.outline = number.and_then(|n| usize::try_from(n).ok()),
            "v" | "deleted" => state.hidden = number != Some(0),
            "uc" => {
                state.skip_after_unicode = number.and_then(|n| usize::try_from(n).ok()).unwrap_or(1)
            }
            "ansicpg" => {
                if let Some(encoding) = number.and_then(code_page) {
                    state.encoding = encoding;
                }
            }
            "deff" => self.default_font = number.unwrap_or(0),
            "f" if state.fonts => self.described = number.unwrap_or(0),
            "f" => state.font = self.fonts.get(&number.unwrap_or(0)).copied(),
            "plain" => state.font = self.fonts.get(&self.default_font).copied(),
            "fcharset" if state.fonts => {
                if let Some(encoding) = number.and_then(charset) {
                    self.fonts.insert(self.described, encoding);
                }
            }
            "cpg" if state.fonts => {
                if let Some(encoding) = number.and_then(code_page) {
                    self.fonts.insert(self.described, encoding);
                }
            }
            "fonttbl" => {
                state.silent = true;
                state.fonts = true;
            }
            "emdash" => self.text(state, "—"),
            "endash" => self.text(state, "–"),
            "lquote" => self.text(state, "‘"),
            "rquote" => self.text(state, "’"),
            "ldblquote" => self.text(state, "“"),
            "rdblquote" => self.text(state, "”"),
            "bullet" => self.text(state, "•"),
            word if SILENT.contains(&word) => state.silent = true,
            _ => {}
        }
    }

    fn push(&mut self, state: &State, byte: u8) {
        if !state.silent && !state.hidden {
            self.bytes.push(byte);
        }
    }

    fn text(&mut self, state: &State, text: &str) {
        self.flush(state);
        if !state.silent && !state.hidden {
            self.paragraph.push_str(text);
        }
    }

    /// Handles `\u`, which encodes UTF-16 units as signed numbers.
    fn unicode(&mut self, state: &State, number: i64) {
        let Ok(unit) = u16::try_from(number.rem_euclid(65_536)) else {
            return;
        };
        let units: Vec<u16> = self
            .high_surrogate
            .take()
            .into_iter()
            .chain([unit])
            .collect();
        if (0xD800..0xDC00).contains(&unit) {
            self.high_surrogate = Some(unit);
            return;
        }
        self.text(state, &String::from_utf16_lossy(&units));
    }

    /// Decodes the collected bytes in their code page.
    fn flush(&mut self, state: &State) {
        if !self.bytes.is_empty() {
            let (text, _, _) = state.font.unwrap_or(state.encoding).decode(&self.bytes);
            self.paragraph.push_str(&text);
            self.bytes.clear();
        }
    }

    fn end_paragraph(&mut self, state: &State) {
        if state.silent {
            return;
        }
        if state.in_table {
            self.paragraph.push(' ');
            return;
        }
        self.end_table();
        let text = std::mem::take(&mut self.paragraph);
        match state.outline {
            Some(level) if level < 9 => self.writer.heading(level + 1, &text),
            _ => self.writer.paragraph(&text),
        }
    }

    fn end_table(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            self.writer.table(&rows);
        }
    }
}

/// Returns the code page of a font's character set (`\fcharset`); `None` for those that use the document's.
fn charset(number: i64) -> Option<&'static Encoding> {
    code_page(match number {
        77 => 10000,
        128 => 932,
        129 => 949,
        130 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    })
}

fn code_page(number: i64) -> Option<&'static Encoding> {
    let label = match number {
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        10000 => "macintosh".to_owned(),
        65001 => "utf-8".to_owned(),
        n => format!("windows-{n}"),
    };
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_font_has_its_own_characters() {
        let rtf = r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial;}{\f2\fcharset161 Arial;}}\f0 a \f1\'cf\'f0 {\f2\'c1}\'e8 \plain\'e4\par}";
        let document = parse(&Input {
            file_name: "a.rtf",
            bytes: rtf.as_bytes(),
            ..Input::default()
        })
        .expect("parses");
        assert_eq!(document.text, "a Пр Αи ä");
    }

    #[test]
    fn text_headings_tables_and_characters_are_read() {
        let rtf = r"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0 Times;}}{\*\generator Word;}{\pard\outlinelevel0 Plan\par}\pard \'cf\'f0 {\b bold}\u8364? \emdash  end\par
{\v secret}\trowd\intbl a\cell b\cell\row\intbl 1\cell 2\cell\row\pard after\par}";
        let document = parse(&Input {
            file_name: "a.rtf",
            bytes: rtf.as_bytes(),
            ..Input::default()
        })
        .expect("parses");
        assert_eq!(
            document.text,
            "# Plan\n\nПр bold€ — end\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nafter"
        );
    }
}
