//! Start of a chunk that repeats the end of the preceding one: at a sentence, otherwise at a word.

/// Returns the earliest start not before `floor` that adds at most `tokens` tokens, moved forward to the next sentence or word.
pub(super) fn start(
    text: &str,
    token_starts: &[usize],
    floor: usize,
    start: usize,
    tokens: usize,
) -> usize {
    let at = token_starts.partition_point(|s| *s < start);
    if tokens == 0 || at == 0 {
        return start;
    }
    let from = token_starts[at.saturating_sub(tokens)].max(floor);
    if from >= start || !text.is_char_boundary(from) {
        return start;
    }
    let window = &text[from..start];
    // A start at a word boundary is kept when no sentence starts in the window.
    let fresh = from == 0 || text[..from].ends_with(char::is_whitespace);
    sentence(window)
        .or_else(|| if fresh { Some(0) } else { word(window) })
        .map_or(start, |offset| from + offset)
}

/// Returns the offset after the first sentence end in the window.
fn sentence(window: &str) -> Option<usize> {
    let mut before = ' ';
    for (i, c) in window.char_indices() {
        let ended = (c.is_whitespace() && matches!(before, '.' | '!' | '?'))
            || (c == '\n' && before == '\n');
        if ended || matches!(before, '。' | '!' | '?') {
            let rest = window[i..].trim_start();
            return (!rest.is_empty()).then_some(window.len() - rest.len());
        }
        before = c;
    }
    None
}

/// Returns the offset of the first word that starts inside the window.
fn word(window: &str) -> Option<usize> {
    let gap = window.find(char::is_whitespace)?;
    let rest = window[gap..].trim_start();
    (!rest.is_empty()).then_some(window.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<usize> {
        text.split_whitespace()
            .map(|w| w.as_ptr() as usize - text.as_ptr() as usize)
            .collect()
    }

    #[test]
    fn the_overlap_starts_at_a_sentence_within_the_limit() {
        let text = "one two. three four five six";
        let at = text.find("six").expect("there");
        // four tokens back is "two.", and the first sentence that starts after it is "three"
        assert_eq!(
            &text[start(text, &words(text), 0, at, 4)..],
            "three four five six"
        );
    }

    #[test]
    fn without_a_sentence_it_starts_at_a_word_and_never_before_the_floor() {
        let text = "one two three four five six";
        let at = text.find("six").expect("there");
        assert_eq!(
            &text[start(text, &words(text), 0, at, 2)..],
            "four five six"
        );
        let floor = text.find("five").expect("there");
        assert_eq!(&text[start(text, &words(text), floor, at, 4)..], "five six");
        assert_eq!(start(text, &words(text), 0, at, 0), at);
    }
}
