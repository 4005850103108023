//! Highlights: the character ranges of query terms in a chunk.

use std::collections::HashSet;

use serde::Serialize;

use super::analysis;

/// A range of characters in a chunk's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
pub struct Range {
    /// First character, counted in Unicode scalar values.
    pub start: usize,
    /// End, exclusive.
    pub end: usize,
}

/// Maximum number of ranges per hit.
const MOST: usize = 200;

/// Returns the ranges of the content that match a term of the query in one of the languages, ascending and merged where they overlap, and the matched
/// terms.
#[must_use]
pub fn highlight(
    languages: &[&'static str],
    content: &str,
    terms: &HashSet<String>,
) -> (Vec<Range>, Vec<String>) {
    let (mut bytes, mut met) = (Vec::new(), Vec::new());
    let has_stops = terms.iter().any(|t| analysis::as_stop_word(t).is_some());
    for language in languages {
        let stops = has_stops.then(|| analysis::stop_words(language, content));
        let tokens = analysis::indexed(language, content);
        for token in tokens.into_iter().chain(stops.into_iter().flatten()) {
            if terms.contains(token.text.as_str()) {
                bytes.push((token.offset_from, token.offset_to));
                if !met.contains(&token.text) {
                    met.push(token.text);
                }
            }
        }
    }
    bytes.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in bytes {
        match merged.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged.truncate(MOST);
    let (mut byte, mut character) = (0, 0);
    let mut at = |to: usize| {
        character += content[byte..to].chars().count();
        byte = to;
        character
    };
    (
        merged
            .into_iter()
            .map(|(start, end)| Range {
                start: at(start),
                end: at(end),
            })
            .collect(),
        met,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_characters_of_the_words_as_they_stand() {
        let content = "Über engines: the engine runs HTTP_PROXY.";
        let terms = HashSet::from(["engin", "proxi", "http_proxi"].map(str::to_owned));
        let (ranges, met) = highlight(&["en"], content, &terms);
        let shown: Vec<String> = ranges
            .iter()
            .map(|r| {
                content
                    .chars()
                    .skip(r.start)
                    .take(r.end - r.start)
                    .collect()
            })
            .collect();
        assert_eq!(shown, ["engines", "engine", "HTTP_PROXY"]);
        assert_eq!(met, ["engin", "http_proxi", "proxi"]);
    }
}
