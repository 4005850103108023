//! Function words of English questions.
//!
//! The stop words of the English analysis are few: *what*, *how* and *do* are not among them. Documents contain them seldom, so that BM25 takes them for the
//! most specific words of a question. In a question they therefore count for less, in other queries (*can bus*, *may 2026*) they do not.

/// Words that begin questions.
const ASKING: [&str; 9] = [
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how",
];

/// Verbs that begin questions, and other queries too (`can bus`, `do notation`).
const AUXILIARY: [&str; 16] = [
    "is", "are", "was", "were", "do", "does", "did", "can", "could", "should", "would", "will",
    "may", "has", "have", "had",
];

/// Words that say little in a question and are no stop words.
const FUNCTION: [&str; 66] = [
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "do", "does", "did",
    "doing", "done", "can", "could", "should", "would", "may", "might", "must", "shall", "i", "me",
    "my", "you", "your", "we", "our", "he", "she", "his", "her", "its", "am", "been", "being",
    "were", "has", "have", "had", "having", "so", "than", "then", "from", "about", "into", "out",
    "up", "down", "over", "any", "some", "all", "each", "more", "most", "other", "own", "same",
    "too", "very", "just", "also", "only",
];

/// Weight of a function word in a question, relative to its other words.
pub const WEIGHT: f32 = 0.25;

/// Returns whether an English query is a question: it ends with a question mark, or begins with an asking word and has at least three words, or with an
/// auxiliary verb and has at least four.
#[must_use]
pub fn is_question(query: &str) -> bool {
    if query.trim_end().ends_with('?') {
        return true;
    }
    let mut words = query
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_lowercase();
    let others = words.count();
    (others >= 2 && ASKING.contains(&first.as_str()))
        || (others >= 3 && AUXILIARY.contains(&first.as_str()))
}

/// Returns whether an English word says little in a question.
#[must_use]
pub fn is_function_word(word: &str) -> bool {
    FUNCTION.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_begins_with_a_word_that_asks_or_ends_with_a_mark() {
        for query in [
            "How do I rotate keys",
            "\"what\" is it",
            "rotating keys?",
            "Do seals sleep at night",
        ] {
            assert!(is_question(query), "{query}");
        }
        for query in [
            "can bus",
            "do notation",
            "rotate what",
            "the may bug",
            "how to",
            "",
        ] {
            assert!(!is_question(query), "{query}");
        }
    }
}
