//! Prepares a page for conversion: code blocks as plain text, headings without permalinks, titles unwrapped from buttons, exponents preserved, no lists of
//! links beside the text.

use dom_query::{Document, NodeRef};

use super::content;
use crate::parse::ooxml::scripts::{self, Script};

/// Parts of a code block that are not code: line numbers, copy buttons.
const NOT_CODE: &str = "[hidden], [aria-hidden='true'], button, .ln, .lineno, .linenos, .linenodiv, .line-number, .line-numbers, .line-numbers-rows, .hljs-ln-numbers";
/// Table columns with line numbers beside code.
const NUMBER_COLUMNS: &str = "td.linenos, td.gutter, td.hljs-ln-numbers, td.blob-num";
/// Buttons that are not controls but titles of collapsible content.
const TITLES: &str = "h1 button, h2 button, h3 button, h4 button, h5 button, h6 button, dt button, summary button, legend button, button[aria-expanded], button[aria-controls]";
const HEADINGS: &str = "h1 a, h2 a, h3 a, h4 a, h5 a, h6 a";

/// Prepares a page.
pub(super) fn prepare(document: &Document) {
    document.select(NUMBER_COLUMNS).remove();
    for pre in document.select("pre").nodes() {
        program_text(pre);
    }
    for link in document.select(HEADINGS).nodes() {
        let text = link.text();
        // `C#` keeps its sign: only what a link adds is removed.
        if !text.chars().any(char::is_alphanumeric) || is_permalink(link) {
            link.remove_from_parent();
        }
    }
    for button in document.select(TITLES).nodes() {
        if is_title(button) {
            button.rename("span");
        }
    }
    for aside in document.select("aside").nodes() {
        if !content::is_content(aside) {
            aside.remove_from_parent();
        }
    }
    for (name, script) in [("sup", Script::Raised), ("sub", Script::Lowered)] {
        for node in document.select(name).nodes() {
            placed(node, script);
        }
    }
}

/// Returns whether a link in a heading only links to the heading.
fn is_permalink(link: &NodeRef<'_>) -> bool {
    let leads_here = link.attr("href").is_some_and(|href| href.starts_with('#'));
    let named = ["headerlink", "permalink", "hash-link", "header-anchor"]
        .iter()
        .any(|class| link.has_class(class));
    leads_here && (named || link.attr("aria-hidden").is_some_and(|v| &*v == "true"))
}

/// Returns whether a button's text is a title, not the name of an action.
fn is_title(button: &NodeRef<'_>) -> bool {
    let in_heading = button.ancestors_it(Some(3)).any(|above| {
        [
            "h1", "h2", "h3", "h4", "h5", "h6", "dt", "summary", "legend",
        ]
        .iter()
        .any(|name| above.has_name(name))
    });
    in_heading || button.text().split_whitespace().count() >= 3
}

/// Replaces the content of a `pre` element by one `code` element with text only.
fn program_text(pre: &NodeRef<'_>) {
    for inner in pre.descendants() {
        if inner.is_element() && inner.is(NOT_CODE) {
            inner.remove_from_parent();
        }
    }
    let code = pre.descendants_it().find(|n| n.has_name("code"));
    let class = code.and_then(|c| c.class()).or_else(|| pre.class());
    let mut text = String::new();
    lines(pre, &mut text);
    pre.set_html("<code></code>");
    if let Some(code) = pre.first_element_child() {
        if let Some(class) = class {
            code.set_attr("class", &class);
        }
        code.set_text(text);
    }
}

/// Appends the text below a node; block elements used as lines end with a line break.
fn lines(node: &NodeRef<'_>, into: &mut String) {
    for child in node.children_it(false) {
        if child.is_text() {
            into.push_str(&child.text());
        } else if child.has_name("br") {
            into.push('\n');
        } else if child.is_element() {
            let block = ["div", "p", "li", "tr"].iter().any(|b| child.has_name(b));
            if block && !into.is_empty() && !into.ends_with('\n') {
                into.push('\n');
            }
            lines(&child, into);
            if block && !into.ends_with('\n') {
                into.push('\n');
            }
        }
    }
}

/// Replaces a superscript or subscript element by its text.
fn placed(node: &NodeRef<'_>, script: Script) {
    let piece = node.text();
    let before = node.prev_sibling().map(|b| b.text().to_string());
    let mut text = before.unwrap_or_default();
    let length = text.len();
    let note = node.descendants_it().any(|n| n.has_name("a"));
    if note && piece.trim().chars().all(char::is_alphanumeric) {
        // The number of a footnote is not part of the word.
        text.push_str(&format!("[{}]", piece.trim()));
    } else {
        scripts::append(&mut text, script, &piece);
    }
    let placed = text.split_off(length);
    node.rename("span");
    node.set_text(placed);
}

#[cfg(test)]
mod tests {
    use super::super::to_markdown;

    fn markdown(html: &str) -> String {
        to_markdown(html).expect("reads").trim().to_owned()
    }

    #[test]
    fn program_texts_keep_their_lines_and_nothing_else() {
        assert_eq!(
            markdown("<pre>\n# make it\nmkdir <b>x</b>\n\n  * y\n</pre>"),
            "```\n# make it\nmkdir x\n\n  * y\n```"
        );
        assert_eq!(
            markdown(
                "<pre class=rust><code><span class=line><span hidden>1</span>fn a() {</span>\n<span class=line><span class=ln>2</span>}</span>\n</code></pre>"
            ),
            "```\nfn a() {\n}\n```"
        );
        assert_eq!(
            markdown(
                "<table><tr><td class=linenos><pre>1\n2</pre></td><td><pre>a<br>b</pre></td></tr></table>"
            ),
            "```\na\nb\n```"
        );
    }

    #[test]
    fn headings_lose_the_signs_that_lead_to_them() {
        let html = "<h2>C#<a class=headerlink href=#c>#</a></h2><h2><a href=#x aria-hidden=true>link</a>Use</h2><h3><a href=/y>Other page</a> 🔗</h3><h3>A<a href=#a>¶</a></h3>";
        assert_eq!(
            markdown(html),
            "## C#\n\n## Use\n\n### Other page 🔗\n\n### A"
        );
    }

    #[test]
    fn questions_leave_their_buttons_and_actions_stay_away() {
        let html = "<h2><button aria-expanded=false>May I pay?</button></h2><p>Yes.</p><button aria-expanded=false>How do I return it?</button><button>Send</button><button aria-controls=m>Menu</button>";
        let text = markdown(html);
        assert!(text.starts_with("## May I pay?\n\nYes."), "{text}");
        assert!(
            text.contains("How do I return it?")
                && !text.contains("Send")
                && !text.contains("Menu")
        );
    }

    #[test]
    fn exponents_and_notes_are_no_part_of_the_number_or_word() {
        assert_eq!(
            markdown(
                "<p>10<sup>6</sup> V, H<sub>2</sub>O, the 1<sup>st</sup> tide<sup><a href=#n>4</a></sup></p>"
            ),
            "10^6 V, H₂O, the 1st tide\\[4\\]"
        );
    }
}
