//! Excerpts of passages for a terminal: without the marks of Markdown, and around the query terms, which are highlighted.

use console::style;
use pulldown_cmark::{Event, Options, Parser, TagEnd};

/// Characters of an excerpt.
const LENGTH: usize = 280;
/// Characters before the first query term.
const BEFORE: usize = 60;

/// Separator of the cells of a table.
const CELL: &str = " · ";

/// A character of an excerpt and whether it belongs to a query term.
type Marked = (char, bool);

/// Returns the text that Markdown shows, in one line, with the position of every piece in the source kept. `highlights` are ranges of characters in the source.
fn visible(markdown: &str, highlights: &[(usize, usize)]) -> Vec<Marked> {
    let mut is_term = vec![false; markdown.len() + 1];
    let mut starts: Vec<usize> = markdown.char_indices().map(|(at, _)| at).collect();
    starts.push(markdown.len());
    for (start, end) in highlights {
        let byte = |n: &usize| starts.get(*n).copied().unwrap_or(markdown.len());
        is_term[byte(start)..byte(end)].fill(true);
    }
    let mut shown: Vec<Marked> = Vec::new();
    let mut push = |text: &str, from: Option<usize>| {
        for (offset, c) in text.char_indices() {
            let marked = from.is_some_and(|from| is_term.get(from + offset) == Some(&true));
            let is_space = c.is_whitespace();
            if is_space && shown.last().is_none_or(|(last, _)| *last == ' ') {
                continue;
            }
            shown.push((if is_space { ' ' } else { c }, marked));
        }
    };
    for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                // What an escape or an entity stands for has no place of its own.
                let from = (text.len() == range.len()).then_some(range.start);
                push(&text, from);
            }
            Event::Code(text) => {
                let around = (range.len().saturating_sub(text.len())) / 2;
                push(&text, Some(range.start + around));
            }
            Event::End(TagEnd::TableCell) => push(CELL, None),
            Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::End(
                TagEnd::Paragraph
                | TagEnd::Heading(_)
                | TagEnd::Item
                | TagEnd::CodeBlock
                | TagEnd::TableRow
                | TagEnd::TableHead,
            ) => push(" ", None),
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
        }
    }
    while shown
        .last()
        .is_some_and(|(last, _)| matches!(last, ' ' | '·'))
    {
        shown.pop();
    }
    shown
}

/// Returns an excerpt of a passage around its first query term. On a terminal, query terms are highlighted.
pub(super) fn excerpt(content: &str, highlights: &[(usize, usize)], is_code: bool) -> String {
    let shown = if is_code {
        let marks = |at: usize| {
            highlights
                .iter()
                .any(|(from, to)| (*from..*to).contains(&at))
        };
        let flat = content.chars().enumerate();
        flat.map(|(at, c)| (if c.is_whitespace() { ' ' } else { c }, marks(at)))
            .collect()
    } else {
        visible(content, highlights)
    };
    let first = shown.iter().position(|(_, marked)| *marked).unwrap_or(0);
    let mut from = 0;
    if first > LENGTH / 2 {
        from = first - BEFORE;
        // Words are not cut.
        from += shown[from..first]
            .iter()
            .position(|(c, _)| *c == ' ')
            .map_or(0, |space| space + 1);
    }
    let part: Vec<&Marked> = shown.iter().skip(from).take(LENGTH).collect();
    let mut line = String::new();
    if from > 0 {
        line.push_str("… ");
    }
    for run in part.chunk_by(|a, b| a.1 == b.1) {
        let text: String = run.iter().map(|(c, _)| *c).collect();
        if run[0].1 {
            line.push_str(&style(text).bold().yellow().to_string());
        } else {
            line.push_str(&text);
        }
    }
    if from + part.len() < shown.len() {
        line.push_str(" …");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(markdown: &str) -> String {
        visible(markdown, &[]).into_iter().map(|(c, _)| c).collect()
    }

    #[test]
    fn marks_of_markdown_are_not_shown() {
        assert_eq!(
            plain("# Tides\n\n- **spring** tide\n- `neap`\n"),
            "Tides spring tide neap"
        );
        assert_eq!(
            plain("| moon | tide |\n|---|---|\n| full | high |\n"),
            "moon · tide · full · high"
        );
        assert_eq!(
            plain("plain text with 2 * 3 = 6"),
            "plain text with 2 * 3 = 6"
        );
    }

    #[test]
    fn query_terms_keep_their_place() {
        let text = "Das *Größte* an der `Ebbe` ist die Flut";
        let at = |word: &str| {
            let byte = text.find(word).expect("there");
            let start = text[..byte].chars().count();
            (start, start + word.chars().count())
        };
        let shown = visible(text, &[at("Größte"), at("Ebbe"), at("Flut")]);
        let marked: Vec<String> = shown
            .chunk_by(|a, b| a.1 == b.1)
            .filter(|run| run[0].1)
            .map(|run| run.iter().map(|(c, _)| *c).collect())
            .collect();
        assert_eq!(marked, ["Größte", "Ebbe", "Flut"]);
    }

    #[test]
    fn an_excerpt_shows_the_first_term() {
        let text = format!(
            "{} the moon pulls {}",
            "before ".repeat(100),
            "after ".repeat(100)
        );
        let start = text.find("moon").expect("there");
        let shown = excerpt(&text, &[(start, start + 4)], false);
        assert!(shown.contains("the moon pulls"), "{shown}");
        assert!(
            shown.starts_with("… before") && shown.ends_with(" …"),
            "{shown}"
        );
    }
}
