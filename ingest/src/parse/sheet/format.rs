//! Number formats of spreadsheets: parses a format code once, then formats values as displayed (ECMA-376, part 1, 18.8.31). Separators are those of the code
//! itself: a point and commas. Colours and column widths are ignored.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most tokens write themselves; only the place of the text is told apart"
)]

mod builtin;
mod code;
mod date;
mod decimal;
mod fraction;
mod number;

pub(super) use builtin::builtin;
pub(super) use date::serial;
pub(super) use number::general;

use code::{Section, Token};

/// The kind of a section, by the tokens in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    General,
    Literal,
    Number,
    Scientific,
    Fraction,
    Date,
    Text,
}

/// A number format.
#[derive(Debug, Clone)]
pub(super) struct Format {
    /// Sections for numbers, at most three.
    numbers: Vec<Section>,
    text: Option<Section>,
}

impl Format {
    /// Parses a format code. An invalid code formats values as General.
    pub(super) fn new(code: &str) -> Self {
        let mut sections = code::sections(code);
        // The fourth section is for text; so is the last one that has the text placeholder.
        let last_is_text = sections.last().is_some_and(|s| s.kind == Kind::Text);
        let text = if sections.len() > 3 {
            sections.truncate(4);
            sections.pop()
        } else if last_is_text {
            sections.pop()
        } else {
            None
        };
        // A code without any visible section would hide the content.
        if sections.iter().all(|s| s.tokens.is_empty()) {
            sections.clear();
        }
        Self {
            numbers: sections,
            text,
        }
    }

    /// Returns whether texts are changed by the format.
    pub(super) fn changes_text(&self) -> bool {
        self.text.as_ref().is_some_and(|s| s.tokens.len() > 1)
    }

    /// Returns whether numbers are formatted as General.
    pub(super) fn is_general(&self) -> bool {
        match self.numbers.as_slice() {
            [] => true,
            [only] => only.kind == Kind::General && only.tokens.len() <= 1,
            _ => false,
        }
    }

    /// Writes a number; `date1904` selects the 1904 date system.
    pub(super) fn number(&self, value: f64, date1904: bool, out: &mut String) {
        let shown = self.section(value).and_then(|(section, signed)| {
            let value = if signed { value } else { value.abs() };
            let start = out.len();
            let done = match section.kind {
                Kind::General | Kind::Literal | Kind::Number => number::plain(section, value, out),
                Kind::Scientific => number::scientific(section, value, out),
                Kind::Fraction => fraction::write(section, value, out),
                Kind::Date => date::write(section, value, date1904, out),
                Kind::Text => None,
            };
            if done.is_none() {
                out.truncate(start);
            }
            done
        });
        if shown.is_none() {
            general(value, out);
        }
    }

    /// Writes a text.
    pub(super) fn text(&self, value: &str, out: &mut String) {
        // A format that hides its text would make it unsearchable; the text is kept.
        let Some(section) = self
            .text
            .as_ref()
            .filter(|s| s.tokens.contains(&Token::Text))
        else {
            out.push_str(value);
            return;
        };
        for token in &section.tokens {
            match token {
                Token::Text => out.push_str(value),
                other => other.literal(out),
            }
        }
    }

    /// Returns the section for a number, and whether it writes the sign itself.
    fn section(&self, value: f64) -> Option<(&Section, bool)> {
        let conditional = self.numbers.iter().any(|s| s.condition.is_some());
        match (self.numbers.as_slice(), conditional) {
            ([], _) => None,
            ([only], false) => Some((only, true)),
            ([positive, negative], false) => Some(if value < 0.0 {
                (negative, false)
            } else {
                (positive, true)
            }),
            ([positive, negative, zero, ..], false) => Some(if value < 0.0 {
                (negative, false)
            } else if value > 0.0 {
                (positive, true)
            } else {
                (zero, true)
            }),
            (sections, true) => conditioned(sections, value),
        }
    }
}

fn conditioned(sections: &[Section], value: f64) -> Option<(&Section, bool)> {
    let last = sections.len().saturating_sub(1);
    for (place, section) in sections.iter().enumerate() {
        let (holds, only_negative) = match &section.condition {
            Some(condition) => (condition.holds(value), condition.is_negative()),
            None if place == last && place > 0 => (true, false),
            None if place == 0 => (value > 0.0, false),
            None => (value < 0.0, true),
        };
        if holds {
            return Some((section, !only_negative));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn shown(code: &str, value: f64) -> String {
        let mut out = String::new();
        Format::new(code).number(value, false, &mut out);
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn sections_are_chosen_by_sign_and_condition() {
        assert_eq!(shown("0;(0)", -5.0), "(5)");
        assert_eq!(shown("+0.0;-0.0;\"none\"", 0.0), "none");
        assert_eq!(shown("\"open\";;\"shut\"", -1.0), "");
        assert_eq!(shown("[Red][<0]-0.0;[>=100]0;0.00", 5.0), "5.00");
        assert_eq!(shown("[>=1000]#,##0,\"k\";0", 2_500_000.0), "2,500k");
        assert_eq!(shown("[>100]0;0.0", -0.5), "-0.5");
        assert_eq!(shown("[=1]\"one\";0", 1.0), "one");
    }

    #[test]
    fn text_has_its_own_section() {
        let text = |code: &str| {
            let mut out = String::new();
            Format::new(code).text("x", &mut out);
            out
        };
        assert_eq!(text("0;0;0;\"<\"@\">\""), "<x>");
        assert_eq!(text("0;@\"!\""), "x!");
        assert_eq!(text("0.00"), "x");
        assert_eq!(text(";;;"), "x");
    }

    #[test]
    fn a_code_without_sense_shows_the_value() {
        assert_eq!(shown("", 1.5), "1.5");
        assert_eq!(shown("@", 1.5), "1.5");
        assert_eq!(shown("[", 1.5), "1.5");
        assert_eq!(shown("yyyy", -1.5), "-1.5");
    }
}
