//! Checks whether a passage supports a sentence that cites it. The check compares words and numbers, not vectors: a sentence whose words or numbers are missing
//! is not taken from the passage; one whose words are all present may still contradict it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use utoipa::ToSchema;

use super::sentences;
use crate::search::analysis;

/// Result of a check, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The passage lacks most words of the sentence, or one of its numbers.
    Unsupported,
    /// The passage has some of the words, and all numbers.
    Partly,
    /// The passage has most of the words, and all numbers.
    Supported,
}

/// Share of words from which a sentence is supported; chosen to separate a paraphrase that keeps the nouns from a sentence about something else.
const SUPPORTED: f32 = 0.6;
/// Share of words from which a sentence is partly supported.
const PARTLY: f32 = 0.3;

/// The result of checking a sentence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checked {
    pub verdict: Verdict,
    pub support: f32,
    pub missing_numbers: Vec<String>,
    /// Byte range of the passage's sentence with the largest overlap; the whole passage without any overlap.
    pub range: Range<usize>,
}

static NUMBER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\d+(?:[.,\u{a0}\u{202f}']\d+)*").ok());

/// Returns the numbers of a text in a comparable form: without digit group separators.
fn numbers(text: &str) -> Vec<String> {
    let Some(number) = NUMBER.as_ref() else {
        return Vec::new();
    };
    number
        .find_iter(text)
        .map(|found| {
            let mut plain = String::new();
            let parts: Vec<&str> = found
                .as_str()
                .split(['.', ',', '\u{a0}', '\u{202f}', '\''])
                .collect();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 && part.len() != 3 {
                    plain.push('.');
                }
                plain.push_str(part);
            }
            plain
        })
        .collect()
}

/// Returns the stems of a text's words, without stop words.
pub(super) fn stems(language: &str, text: &str) -> HashSet<String> {
    analysis::tokens(language, text)
        .into_iter()
        .map(|token| token.text)
        .filter(|text| !text.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

/// Checks a sentence against a passage.
#[expect(clippy::cast_precision_loss, reason = "a share of some words")]
pub(super) fn check(sentence: &str, passage: &str) -> Checked {
    // A sentence is too short for language detection; the language of the passage is used.
    let language = analysis::recognised(passage).unwrap_or("none");
    let wanted = stems(language, sentence);
    let parts = sentences::of_document(passage);
    let held: HashMap<usize, HashSet<String>> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| (at, stems(language, &passage[part.clone()])))
        .collect();
    let share = |stems: &HashSet<String>| wanted.iter().filter(|w| stems.contains(*w)).count();
    let all: HashSet<String> = held.values().flatten().cloned().collect();
    let support = if wanted.is_empty() {
        0.0
    } else {
        share(&all) as f32 / wanted.len() as f32
    };
    let there: HashSet<String> = numbers(passage).into_iter().collect();
    let given = numbers(sentence);
    let missing_numbers: Vec<String> = given
        .iter()
        .filter(|n| !there.contains(*n))
        .cloned()
        .collect();
    let of_numbers = |part: &Range<usize>| {
        let own = numbers(&passage[part.clone()]);
        given.iter().filter(|n| own.contains(n)).count()
    };
    // The first of the best: `max_by_key` returns the last of equal elements.
    let best = (0..parts.len())
        .rev()
        .map(|at| (at, share(&held[&at]) + of_numbers(&parts[at])))
        .max_by_key(|(_, shared)| *shared)
        .filter(|(_, shared)| *shared > 0);
    let verdict = match support {
        _ if !missing_numbers.is_empty() => Verdict::Unsupported,
        // A sentence that consists of numbers only, such as a year.
        _ if wanted.is_empty() && !given.is_empty() => Verdict::Supported,
        s if s >= SUPPORTED => Verdict::Supported,
        s if s >= PARTLY => Verdict::Partly,
        _ => Verdict::Unsupported,
    };
    Checked {
        verdict,
        support,
        missing_numbers,
        range: best.map_or(0..passage.len(), |(at, _)| parts[at].clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSAGE: &str = "The town lies where two seas meet. The lighthouse of Skagen was lit for the first time in 1858, and cost 12,500 crowns. It is forty six metres tall.";

    #[test]
    fn words_and_numbers_decide() {
        let of = |sentence: &str| check(sentence, PASSAGE);
        let said = of("The Skagen lighthouse was first lit in 1858.");
        assert_eq!(said.verdict, Verdict::Supported);
        assert_eq!(
            &PASSAGE[said.range],
            "The lighthouse of Skagen was lit for the first time in 1858, and cost 12,500 crowns."
        );
        assert_eq!(of("It cost 12500 crowns.").verdict, Verdict::Supported);
        let wrong = of("The lighthouse of Skagen was lit in 1868.");
        assert_eq!(
            (wrong.verdict, wrong.missing_numbers.as_slice()),
            (Verdict::Unsupported, &["1868".to_owned()][..])
        );
        assert_eq!(
            of("Penguins live on the southern continent.").verdict,
            Verdict::Unsupported
        );
        assert_eq!(
            of("The lighthouse was designed by a famous Danish architect who loved towns.").verdict,
            Verdict::Unsupported
        );
    }

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        assert_eq!(
            numbers("1,234,567.89 and 1.234 or 1 234"),
            ["1234567.89", "1234", "1", "234"]
        );
        assert_eq!(numbers("v2.0, 3"), ["2.0", "3"]);
    }

    #[test]
    fn a_passage_without_words_supports_nothing() {
        assert_eq!(check("Anything.", "").range, 0..0);
        assert_eq!(check("", "Something.").verdict, Verdict::Unsupported);
    }
}
