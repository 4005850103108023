//! Splits text into words, marks, and the characters of scripts without spaces.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Tokens longer than this many bytes (base64, minified code) are not indexed.
const LONGEST: usize = 200;

/// Splits text into words, parts and pairs.
#[derive(Debug, Clone, Default)]
pub struct Words {
    tokens: Vec<Token>,
}

/// The tokens of one text.
#[derive(Debug)]
pub struct Tokens<'a> {
    tokens: &'a mut Vec<Token>,
    next: usize,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Tokens<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens<'a> {
        self.tokens.clear();
        Scanner {
            text,
            tokens: &mut self.tokens,
            position: 0,
        }
        .run();
        Tokens {
            tokens: &mut self.tokens,
            next: 0,
        }
    }
}

impl TokenStream for Tokens<'_> {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }

    fn token(&self) -> &Token {
        &self.tokens[self.next - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    tokens: &'a mut Vec<Token>,
    position: usize,
}

impl Scanner<'_> {
    pub(super) fn run(&mut self) {
        let mut at = 0;
        while let Some(c) = self.text[at..].chars().next() {
            at = if is_unspaced(c) {
                self.pairs(at)
            } else if is_word(c) {
                self.compound(at)
            } else {
                at + c.len_utf8()
            };
        }
    }

    /// Emits a run of an unspaced script: overlapping pairs, or the single character.
    pub(super) fn pairs(&mut self, start: usize) -> usize {
        let end = start
            + self.text[start..]
                .find(|c: char| !is_unspaced(c))
                .unwrap_or(self.text.len() - start);
        let bounds: Vec<usize> = self.text[start..end]
            .char_indices()
            .map(|(i, _)| start + i)
            .chain([end])
            .collect();
        if bounds.len() == 2 {
            self.push(start, end, 1);
        }
        for window in bounds.windows(3) {
            self.push(window[0], window[2], 1);
        }
        end
    }

    /// Emits words joined by single punctuation marks; the whole is a token, too, where it reads as one name.
    pub(super) fn compound(&mut self, start: usize) -> usize {
        let first_position = self.position;
        let (mut at, mut words, mut dotted) = (start, 0, false);
        loop {
            let end = at
                + self.text[at..]
                    .find(|c: char| !is_word(c) || is_unspaced(c))
                    .unwrap_or(self.text.len() - at);
            self.word(at, end);
            words += 1;
            at = end;
            let mut rest = self.text[end..].chars();
            match (rest.next(), rest.next()) {
                (Some(joiner), Some(next))
                    if is_joiner(joiner) && is_word(next) && !is_unspaced(next) =>
                {
                    dotted |= joiner == '.';
                    at += joiner.len_utf8();
                }
                _ => break,
            }
        }
        let whole = &self.text[start..at];
        let suffix = if words == 1 {
            language_suffix(&self.text[at..])
        } else {
            0
        };
        if suffix > 0 || (words > 1 && (dotted || whole.chars().any(|c| c.is_ascii_digit()))) {
            let after = self.position;
            self.position = first_position;
            self.push(start, at + suffix, 0);
            // `v1.2.3` is the version 1.2.3.
            let number = whole
                .strip_prefix(['v', 'V'])
                .filter(|n| dotted && n.starts_with(|c: char| c.is_ascii_digit()));
            if let Some(number) = number {
                self.push(start + 1, at + suffix, 0);
                let first = number.find('.').unwrap_or(number.len());
                self.push(start + 1, start + 1 + first, 0);
            }
            self.position = after;
        }
        at + suffix
    }

    /// Emits a word, and its parts where `_` or an inner capital divides it.
    pub(super) fn word(&mut self, start: usize, end: usize) {
        if is_undivided(&self.text.as_bytes()[start..end]) {
            self.push(start, end, 1);
            return;
        }
        let parts = parts(&self.text[start..end]);
        // `_id` and `__init__` are also found by their only part.
        let whole = parts.first().is_none_or(|part| *part == (0, end - start));
        if parts.len() < 2 && whole {
            self.push(start, end, 1);
            return;
        }
        self.push(start, end, 0);
        for (from, to) in parts {
            self.push(start + from, start + to, 1);
        }
    }

    pub(super) fn push(&mut self, from: usize, to: usize, step: usize) {
        let raw = &self.text[from..to];
        let text = if raw.is_ascii() {
            raw.to_ascii_lowercase()
        } else {
            let lower: String = raw.nfkc().flat_map(char::to_lowercase).collect();
            // Turkish İ in lower case is an i, whose dot needs no mark.
            lower.replace("i\u{307}", "i")
        };
        if text.len() <= LONGEST && text.chars().any(|c| c != '_') {
            self.tokens.push(Token {
                offset_from: from,
                offset_to: to,
                position: self.position,
                text,
                position_length: 1,
            });
        }
        self.position += step;
    }
}

/// Returns the length of `++` or `#` behind a name, as in C++ and F#.
pub(super) fn language_suffix(rest: &str) -> usize {
    let suffix = if rest.starts_with("++") {
        2
    } else {
        usize::from(rest.starts_with('#'))
    };
    if rest[suffix..].chars().next().is_some_and(is_word) {
        0
    } else {
        suffix
    }
}

/// Returns whether a word is obviously one part: ASCII letters and digits, in lower case except for the first.
fn is_undivided(word: &[u8]) -> bool {
    let mut rest = word.iter().skip(1);
    word.first().is_some_and(u8::is_ascii_alphanumeric)
        && rest.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Returns the ranges between underscores and camel-case boundaries (`HTTPServer` is `HTTP`, `Server`).
pub(super) fn parts(word: &str) -> Vec<(usize, usize)> {
    let characters: Vec<(usize, char)> = word.char_indices().collect();
    let mut parts = Vec::new();
    let mut start = 0;
    let mut close = |start: usize, end: usize| {
        if start < end {
            parts.push((start, end));
        }
    };
    for (i, (at, c)) in characters.iter().enumerate() {
        let before = i.checked_sub(1).map(|j| characters[j].1);
        let after = characters.get(i + 1).map(|(_, c)| *c);
        let hump = c.is_uppercase()
            && (before.is_some_and(char::is_lowercase)
                || (before.is_some_and(char::is_uppercase)
                    && after.is_some_and(char::is_lowercase)));
        if *c == '_' {
            close(start, *at);
            start = at + 1;
        } else if hump {
            close(start, *at);
            start = *at;
        }
    }
    close(start, word.len());
    parts
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_combining_mark(c) || matches!(c, '\u{200c}' | '\u{200d}')
}

pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '.' | '-' | '/' | ':' | '+' | '@')
}

/// Returns whether a character is of a script written without spaces between words: Han, Kana, Hangul (agglutinating, where pairs work better than
/// words), Thai, Lao, Khmer, Burmese.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3005..=0x3007 | 0x3040..=0x30FF | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}
