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
        Ok(Self { tokenizer, special })
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
