//! Counts and places tokens exactly as the model sees them, without truncation.

use tokenizers::Tokenizer;

use crate::{Error, Result};

/// Texts are tokenised in pieces of about this many bytes, so that memory does not grow with the document.
const PIECE: usize = 16 * 1024;

/// A model's tokenizer for counting: no truncation, no padding.
pub struct Tokens {
    tokenizer: Tokenizer,
    /// Special tokens the model adds around a text.
    special: usize,
    /// The token that stands for what the vocabulary lacks.
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
    /// [`Error::Load`] when the file is not a tokenizer.
    pub fn from_bytes(model: &str, bytes: &[u8]) -> Result<Self> {
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
        Ok(Self {
            tokenizer,
            special,
            unknown,
        })
    }

    /// How well the vocabulary knows the words of a text: letters per piece, where letters that became the unknown token do not count. A model
    /// that learnt a language has whole words or long parts of them (3 to 5); one that did not spells them letter by letter (1 and less).
    /// Letters of scripts that write a syllable or a word with one weigh more. `None` for a text without letters.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn grasp(&self, text: &str) -> Result<Option<f32>> {
        let (mut letters, mut count) = (0.0, 0_usize);
        for piece in pieces(text) {
            let encoding = self
                .tokenizer
                .encode(piece, false)
                .map_err(|e| Error::Inference(e.to_string()))?;
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

    /// Tokens of the text as the model counts them, special ones included.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn count(&self, text: &str) -> Result<usize> {
        Ok(self.starts(text)?.len() + self.special)
    }

    /// Byte offsets at which tokens start, ascending, without special tokens.
    ///
    /// # Errors
    /// [`Error::Inference`] when the tokenizer refuses the text.
    pub fn starts(&self, text: &str) -> Result<Vec<usize>> {
        let mut starts = Vec::with_capacity(text.len() / 4);
        let mut base = 0;
        for piece in pieces(text) {
            let encoding = self
                .tokenizer
                .encode(piece, false)
                .map_err(|e| Error::Inference(e.to_string()))?;
            starts.extend(encoding.get_offsets().iter().map(|(start, _)| base + start));
            base += piece.len();
        }
        Ok(starts)
    }
}

/// What a letter weighs beside one of an alphabet.
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

/// Cuts at white space, which no word-piece crosses; a run without any is cut at a character.
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
