//! Counts and locates tokens exactly as the model does, without truncation.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::{ModelWrapper, Tokenizer};

use crate::{Error, Result};

/// Texts are tokenised in pieces of about this many bytes, so that memory does not grow with the document.
const PIECE: usize = 16 * 1024;

/// Length in characters of the parts into which an overlong word is split.
const PART: usize = 50;

/// A model's tokenizer for counting, without truncation and padding.
pub struct Tokens {
    tokenizer: Tokenizer,
    /// Path of the tokenizer file.
    file: PathBuf,
    /// Longest word in characters; the tokenizer maps longer ones to a single unknown token.
    longest_word: Option<usize>,
    /// Number of special tokens that the model adds to a text.
    special: usize,
    /// The unknown token.
    unknown: Option<u32>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Load`] when the file cannot be read, or is not a tokenizer.
    pub fn from_file(model: &str, file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|e| Error::load(model, e))?;
        Self::from_bytes(model, file, &bytes)
    }

    /// Reads a tokenizer from the verified bytes of its file.
    ///
    /// # Errors
    /// [`Error::Load`] when the bytes are not a tokenizer.
    pub fn from_bytes(model: &str, file: &Path, bytes: &[u8]) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| Error::load(model, e))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| Error::load(model, e))?;
        let special = tokenizer
            .encode("", true)
            .map_err(|e| Error::load(model, e))?
            .len();
        let unknown = ["[UNK]", "<unk>"]
            .into_iter()
            .find_map(|token| tokenizer.token_to_id(token));
        let longest_word = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.max_input_chars_per_word),
            ModelWrapper::BPE(_) | ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => None,
        };
        Ok(Self {
            tokenizer,
            file: file.to_owned(),
            longest_word,
            special,
            unknown,
        })
    }

    /// Returns the path of the tokenizer file, for other processes.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the number of special tokens that the model adds to a text.
    #[must_use]
    pub fn special(&self) -> usize {
        self.special
    }

    /// Returns how well the vocabulary covers the words of a text: letters per piece, where letters mapped to the unknown token do not count. A model trained
    /// on a language has whole words or long parts of them (3 to 5); one that was not splits them into letters (1 and less). Letters of scripts that write a
    /// syllable or a word with one have a higher weight. `None` for a text without letters.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn vocabulary_fit(&self, text: &str) -> Result<Option<f32>> {
        let (mut letters, mut count) = (0.0, 0_usize);
        for piece in pieces(text) {
            let encoding = self.encoded(piece)?;
            for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
                let weight: f32 = piece
                    .get(*start..*end)
                    .map_or(0.0, |part| part.chars().map(letter_weight).sum());
                if weight > 0.0 {
                    count += 1;
                    letters += if Some(*id) == self.unknown {
                        0.0
                    } else {
                        weight
                    };
                }
            }
        }
        Ok((count > 0).then(|| letters / count as f32))
    }

    /// Returns the number of tokens of the text as the model counts them, including special tokens.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn count(&self, text: &str) -> Result<usize> {
        Ok(self.starts(text)?.len() + self.special)
    }

    /// Returns the byte offsets at which tokens start, ascending, without special tokens. Overlong words count as the model reads them, in
    /// [`readable`](Self::readable) parts.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn starts(&self, text: &str) -> Result<Vec<usize>> {
        let mut starts = Vec::with_capacity(text.len() / 4);
        self.encode(text, |start, end, too_long| {
            if too_long {
                for part in parts(text, start, end) {
                    let encoding = self.encoded(&text[part.clone()])?;
                    let offsets = encoding.get_offsets().iter();
                    starts.extend(offsets.map(|(at, _)| part.start + at));
                }
            } else {
                starts.push(start);
            }
            Ok(())
        })?;
        Ok(starts)
    }

    /// Returns the text with overlong words, which the tokenizer would map to a single unknown token, split by spaces.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn readable<'t>(&self, text: &'t str) -> Result<Cow<'t, str>> {
        let longest = self.longest_word.unwrap_or(usize::MAX);
        if !text.split_whitespace().any(|word| word.len() > longest) {
            return Ok(Cow::Borrowed(text));
        }
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        self.encode(text, |start, end, too_long| {
            if too_long {
                for part in parts(text, start, end).skip(1) {
                    out.push_str(&text[at..part.start]);
                    out.push(' ');
                    at = part.start;
                }
            }
            Ok(())
        })?;
        out.push_str(&text[at..]);
        Ok(Cow::Owned(out))
    }

    /// Calls a function with the range of each token, and whether it is part of an overlong word.
    fn encode(
        &self,
        text: &str,
        mut token: impl FnMut(usize, usize, bool) -> Result<()>,
    ) -> Result<()> {
        let mut base = 0;
        for piece in pieces(text) {
            let encoding = self.encoded(piece)?;
            for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
                let characters = || piece[*start..*end].chars().count();
                let too_long = Some(*id) == self.unknown
                    && self
                        .longest_word
                        .is_some_and(|most| end - start > most && characters() > most);
                token(base + start, base + end, too_long)?;
            }
            base += piece.len();
        }
        Ok(())
    }

    fn encoded(&self, text: &str) -> Result<tokenizers::Encoding> {
        let encoding = self.tokenizer.encode(text, false);
        encoding.map_err(|e| Error::Inference(e.to_string()))
    }
}

/// Returns the parts of an overlong word, as ranges.
fn parts(text: &str, start: usize, end: usize) -> impl Iterator<Item = Range<usize>> {
    let begin = text[start..end]
        .char_indices()
        .step_by(PART)
        .map(move |(at, _)| start + at);
    let ends = begin.clone().skip(1).chain([end]);
    begin.zip(ends).map(|(start, end)| start..end)
}

/// Returns the weight of a letter relative to one of an alphabet.
fn letter_weight(c: char) -> f32 {
    match u32::from(c) {
        // Han: a morpheme.
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF => 3.0,
        // Hangul: a syllable of two or three letters.
        0xAC00..=0xD7AF => 2.0,
        // Kana, Thai, Lao, Burmese, Khmer.
        0x3040..=0x30FF | 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF => 1.5,
        _ if c.is_alphabetic() => 1.0,
        _ => 0.0,
    }
}

/// Splits at white space, which no word-piece crosses; a run without any is split at a character.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let limit = rest.floor_char_boundary(PIECE);
        let cut = match rest.len() <= PIECE {
            true => rest.len(),
            false => rest[..limit]
                .rfind(char::is_whitespace)
                .filter(|at| *at > 0)
                .unwrap_or(limit),
        };
        let (piece, after) = rest.split_at(cut);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_the_whole_text() {
        let text = "word ".repeat(10_000) + &"ü".repeat(20_000);
        assert_eq!(pieces(&text).collect::<String>(), text);
        assert!(pieces(&text).count() >= 5);
    }
}
