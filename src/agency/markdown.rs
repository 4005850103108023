//! Markdown of agents as HTML and as plain text. Markup inside the Markdown is shown as text, so that no text becomes a script.

use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, TagEnd, html};
use regex::Regex;

static CITATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\s*\[\s*kb://[^\]]*\]").ok());

/// Returns a text without its citations, which lead nowhere outside of Cairn.
#[must_use]
pub fn without_citations(text: &str) -> String {
    match CITATION.as_ref() {
        Some(citation) => citation.replace_all(text, "").into_owned(),
        None => text.to_owned(),
    }
}

fn events(markdown: &str) -> impl Iterator<Item = Event<'_>> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    Parser::new_ext(markdown, options).map(|event| match event {
        Event::Html(markup) | Event::InlineHtml(markup) => Event::Text(markup),
        Event::Start(_)
        | Event::End(_)
        | Event::Text(_)
        | Event::Code(_)
        | Event::InlineMath(_)
        | Event::DisplayMath(_)
        | Event::FootnoteReference(_)
        | Event::SoftBreak
        | Event::HardBreak
        | Event::Rule
        | Event::TaskListMarker(_) => event,
    })
}

/// Returns the HTML of a Markdown text.
#[must_use]
pub fn to_html(markdown: &str) -> String {
    let mut page = String::new();
    html::push_html(&mut page, events(markdown));
    page
}

/// Returns the plain text of a Markdown text.
#[must_use]
pub fn to_text(markdown: &str) -> String {
    let mut plain = String::new();
    for event in events(markdown) {
        match event {
            Event::Text(text) | Event::Code(text) => plain.push_str(&text),
            Event::SoftBreak | Event::HardBreak => plain.push('\n'),
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item) => {
                plain.push_str("\n\n");
            }
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    plain.trim().to_owned()
}

/// Returns the first heading of a Markdown text, and the text after it.
#[must_use]
pub fn headline(markdown: &str) -> (Option<&str>, &str) {
    let text = markdown.trim_start();
    let Some(rest) = text.strip_prefix("# ") else {
        return (None, markdown);
    };
    let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
    (Some(line.trim()), body.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        let page = to_html("# A\n\n<script>alert(1)</script>\n\nb <b>c</b>");
        assert!(page.contains("<h1>A</h1>") && !page.contains("<script>") && !page.contains("<b>"));
    }

    #[test]
    fn posts_have_no_citations() {
        let text = "# Light\n\nIt was lit in 1858 [kb://a/b@1#c:0-9]. **Come**!";
        let clean = without_citations(text);
        assert_eq!(to_text(&clean), "Light\n\nIt was lit in 1858. Come!");
        assert_eq!(
            headline(&clean),
            (Some("Light"), "It was lit in 1858. **Come**!")
        );
    }
}
