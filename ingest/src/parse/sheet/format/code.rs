//! Parses a format code into sections of tokens.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "only the tokens that depend on their neighbours are told apart"
)]

use super::Kind;

/// A token of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Literal(String),
    /// A digit placeholder: `0`, `#` or `?`.
    Digit(char),
    Point,
    /// A comma among digits: the thousands separator.
    Group,
    Percent,
    /// `E+` or `E-`; whether a plus is written.
    Exponent(bool),
    Slash,
    General,
    Text,
    /// A date part by its letter, in lower case (`n` for minutes), and its length.
    Date(char, usize),
    /// Elapsed hours, minutes or seconds, not reduced to days.
    Elapsed(char, usize),
    /// Number of digits for fractions of a second.
    Fraction(usize),
    /// `AM/PM`, or `A/P` when short.
    Noon(bool),
}

impl Token {
    /// Writes the fixed text of the token.
    pub(super) fn literal(&self, out: &mut String) {
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Percent => out.push('%'),
            Self::Slash => out.push('/'),
            Self::Point => out.push('.'),
            Self::Digit(_)
            | Self::Group
            | Self::Exponent(_)
            | Self::General
            | Self::Text
            | Self::Date(..)
            | Self::Elapsed(..)
            | Self::Fraction(_)
            | Self::Noon(_) => {}
        }
    }
}

/// A condition in brackets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    operator: String,
    operand: f64,
}

impl Condition {
    pub(super) fn holds(&self, value: f64) -> bool {
        match self.operator.as_str() {
            "<" => value < self.operand,
            "<=" => value <= self.operand,
            ">" => value > self.operand,
            ">=" => value >= self.operand,
            "=" => value == self.operand,
            _ => value != self.operand,
        }
    }

    /// Returns whether it holds for negative numbers only, so that the section itself writes the sign.
    pub(super) fn is_negative(&self) -> bool {
        match self.operator.as_str() {
            "<" => self.operand <= 0.0,
            "<=" | "=" => self.operand < 0.0,
            _ => false,
        }
    }

    fn read(text: &str) -> Option<Self> {
        let operand = text.trim_start_matches(['<', '>', '=']);
        let operator = text.get(..text.len() - operand.len())?;
        if operator.is_empty() {
            return None;
        }
        Some(Self {
            operator: operator.to_owned(),
            operand: operand.trim().parse().ok()?,
        })
    }
}

/// A section between semicolons.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) tokens: Vec<Token>,
    pub(super) condition: Option<Condition>,
    pub(super) kind: Kind,
    /// Language of month and day names, as a Windows language id.
    pub(super) language: u32,
    /// Power of ten by which the value is scaled: two for each percent sign, minus three for each comma after the digits.
    pub(super) scale: i32,
}

/// Maximum length of a code; no program writes longer ones.
const MAX_CODE: usize = 1024;

pub(super) fn sections(code: &str) -> Vec<Section> {
    let mut reader = CodeReader::default();
    let mut characters = code.chars().take(MAX_CODE).peekable();
    while let Some(c) = characters.next() {
        match c {
            ';' => reader.end(),
            '"' => {
                let quoted: String = characters.by_ref().take_while(|c| *c != '"').collect();
                reader.literal(&quoted);
            }
            '\\' | '!' => {
                if let Some(escaped) = characters.next() {
                    reader.literal(escaped.encode_utf8(&mut [0; 4]));
                }
            }
            // A space of the width of the next character.
            '_' => {
                characters.next();
                reader.literal(" ");
            }
            // The next character fills the cell; a space keeps words and numbers apart.
            '*' => {
                if characters.next() == Some(' ') {
                    reader.fill();
                }
            }
            '[' => {
                let inside: String = characters.by_ref().take_while(|c| *c != ']').collect();
                reader.bracket(&inside);
            }
            '0' | '#' | '?' => reader.tokens.push(Token::Digit(c)),
            '.' => {
                reader.tokens.push(Token::Point);
            }
            ',' => reader.tokens.push(Token::Group),
            '%' => reader.tokens.push(Token::Percent),
            '/' => reader.tokens.push(Token::Slash),
            '@' => reader.tokens.push(Token::Text),
            'E' | 'e' if matches!(characters.peek(), Some('+' | '-')) => {
                let plus = characters.next() == Some('+');
                reader.tokens.push(Token::Exponent(plus));
            }
            'G' | 'g' if rest_is(&characters, "eneral") => {
                characters.by_ref().take(6).for_each(drop);
                reader.tokens.push(Token::General);
            }
            'A' | 'a' if rest_is(&characters, "m/pm") => {
                characters.by_ref().take(4).for_each(drop);
                reader.tokens.push(Token::Noon(false));
            }
            'A' | 'a' if rest_is(&characters, "/p") => {
                characters.by_ref().take(2).for_each(drop);
                reader.tokens.push(Token::Noon(true));
            }
            'y' | 'Y' | 'm' | 'M' | 'd' | 'D' | 'h' | 'H' | 's' | 'S' | 'e' | 'E' | 'a' | 'A' => {
                let letter = c.to_ascii_lowercase();
                let mut length = 1;
                while characters
                    .next_if(|n| n.to_ascii_lowercase() == letter)
                    .is_some()
                {
                    length += 1;
                }
                reader.date(letter, length, c);
            }
            other => reader.literal(other.encode_utf8(&mut [0; 4])),
        }
    }
    reader.end();
    reader.done
}

fn rest_is<I: Iterator<Item = char> + Clone>(characters: &I, word: &str) -> bool {
    let mut rest = characters.clone();
    word.chars()
        .all(|w| rest.next().is_some_and(|c| c.eq_ignore_ascii_case(&w)))
}

#[derive(Default)]
struct CodeReader {
    done: Vec<Section>,
    tokens: Vec<Token>,
    condition: Option<Condition>,
    language: u32,
}

impl CodeReader {
    fn literal(&mut self, text: &str) {
        if let Some(Token::Literal(before)) = self.tokens.last_mut() {
            before.push_str(text);
        } else {
            self.tokens.push(Token::Literal(text.to_owned()));
        }
    }

    fn fill(&mut self) {
        let is_word = matches!(self.tokens.last(), Some(Token::Literal(text)) if text.ends_with(char::is_alphanumeric));
        if is_word {
            self.literal(" ");
        }
    }

    fn date(&mut self, letter: char, length: usize, written: char) {
        match letter {
            // The year of an era is written as the Gregorian year.
            'e' => self.tokens.push(Token::Date('y', 4)),
            // Day names in East Asian formats.
            'a' if length >= 3 => self.tokens.push(Token::Date('d', length)),
            'a' => self.literal(&written.to_string().repeat(length)),
            _ => self.tokens.push(Token::Date(letter, length)),
        }
    }

    fn bracket(&mut self, inside: &str) {
        let lower = inside.to_ascii_lowercase();
        if let Some(locale) = inside.strip_prefix('$') {
            let (currency, language) = locale.rsplit_once('-').unwrap_or((locale, ""));
            self.literal(currency);
            if let Ok(language) = u32::from_str_radix(language, 16) {
                self.language = language & 0xffff;
            }
        } else if let Some(letter) = lower
            .chars()
            .next()
            .filter(|l| matches!(l, 'h' | 'm' | 's') && lower.chars().all(|c| c == *l))
        {
            self.tokens.push(Token::Elapsed(letter, lower.len()));
        } else if let Some(condition) = Condition::read(inside) {
            self.condition = Some(condition);
        }
        // Anything else is a colour or a numeral system.
    }

    fn end(&mut self) {
        let mut tokens = std::mem::take(&mut self.tokens);
        let is_date = tokens
            .iter()
            .any(|t| matches!(t, Token::Date(..) | Token::Elapsed(..) | Token::Noon(_)));
        let has = |wanted: &Token| tokens.contains(wanted);
        let has_digits = tokens.iter().any(|t| matches!(t, Token::Digit(_)));
        let kind = if is_date {
            Kind::Date
        } else if has(&Token::General) || tokens.is_empty() && self.done.is_empty() {
            Kind::General
        } else if has(&Token::Text) {
            Kind::Text
        } else if !has_digits {
            Kind::Literal
        } else if tokens.iter().any(|t| matches!(t, Token::Exponent(_))) {
            Kind::Scientific
        } else if super::fraction::is_fraction(&tokens) {
            Kind::Fraction
        } else {
            Kind::Number
        };
        let mut scale = 0;
        if is_date {
            dates(&mut tokens);
        } else {
            scale = thousands(&mut tokens);
            scale += 2 * i32::try_from(tokens.iter().filter(|t| **t == Token::Percent).count())
                .unwrap_or_default();
        }
        self.done.push(Section {
            tokens,
            condition: self.condition.take(),
            kind,
            language: std::mem::take(&mut self.language),
            scale,
        });
    }
}

/// Removes commas that are not separators; returns the scale of those directly after the digits.
fn thousands(tokens: &mut Vec<Token>) -> i32 {
    let mut scale = 0;
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut rest = std::mem::take(tokens).into_iter().peekable();
    let is_digit = |t: Option<&Token>| matches!(t, Some(Token::Digit(_)));
    while let Some(token) = rest.next() {
        if token != Token::Group {
            kept.push(token);
            continue;
        }
        let mut run = 1;
        while rest.next_if(|t| *t == Token::Group).is_some() {
            run += 1;
        }
        let after_digits = is_digit(kept.last()) || kept.last() == Some(&Token::Point);
        if after_digits && is_digit(rest.peek()) {
            kept.push(Token::Group);
        } else if after_digits {
            scale -= 3 * run;
        } else {
            kept.push(Token::Literal(
                ",".repeat(usize::try_from(run).unwrap_or(1)),
            ));
        }
    }
    *tokens = kept;
    scale
}

/// Distinguishes minutes from months, and fractions of a second from other digits.
fn dates(tokens: &mut Vec<Token>) {
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut last = ' ';
    // Position of an `m` that is a month unless seconds follow.
    let mut open: Option<usize> = None;
    let mut rest = std::mem::take(tokens).into_iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            Token::Date('m', length) if length <= 2 && last == 'h' => {
                kept.push(Token::Date('n', length));
                last = 'n';
            }
            Token::Date(letter, length) => {
                if letter == 's'
                    && let Some(Token::Date(minute, _)) =
                        open.take().and_then(|place| kept.get_mut(place))
                {
                    *minute = 'n';
                }
                open = (letter == 'm' && length <= 2).then_some(kept.len());
                kept.push(Token::Date(letter, length));
                last = letter;
            }
            Token::Elapsed(letter, length) => {
                if letter == 's' {
                    open = None;
                }
                kept.push(Token::Elapsed(letter, length));
                last = letter;
            }
            Token::Point if matches!(rest.peek(), Some(Token::Digit('0'))) && last == 's' => {
                let mut digits = 0;
                while rest.next_if_eq(&Token::Digit('0')).is_some() {
                    digits += 1;
                }
                kept.push(Token::Fraction(digits));
            }
            Token::Group => kept.push(Token::Literal(",".to_owned())),
            Token::Digit(digit) => kept.push(Token::Literal(digit.to_string())),
            other => kept.push(other),
        }
    }
    *tokens = kept;
}
