//! The main content of a page where the reader of articles took only a part of it: columns and cards that stand beside each other, pages of one sentence.

use std::collections::HashSet;

use dom_query::{Document, NodeRef};

use crate::parse::writer::one_line;

/// Elements whose text is compared.
const BLOCKS: &str = "p, li, dd, dt, h1, h2, h3, h4, h5, h6, td, th, pre, blockquote";
/// Parts of a page that are not its content.
const ASIDE: [&str; 6] = ["nav", "aside", "footer", "header", "form", "dialog"];
const HEADINGS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];
/// Shortest text of a block by which it is known again, in characters.
const KNOWN: usize = 12;
/// An article of so many bytes is whole: what stands beside it are teasers of others.
const WHOLE: usize = 4000;
/// Levels above the article's content at which its like are looked for.
const LEVELS: usize = 4;

/// Returns the HTML of the element that holds the article and others of its kind beside it; `None` when the article stands alone.
pub(super) fn widened(page: &Document, article: &str) -> Option<String> {
    let texts: HashSet<String> = blocks(&Document::from(article)).map(|(_, t)| t).collect();
    if texts.iter().map(String::len).sum::<usize>() > WHOLE {
        return None;
    }
    let found: Vec<NodeRef<'_>> = blocks(page)
        .filter(|(_, text)| texts.contains(text))
        .map(|(node, _)| node)
        .collect();
    let mut node = common(&found)?;
    for _ in 0..LEVELS {
        if ["body", "html", "main"]
            .iter()
            .any(|name| node.has_name(name))
        {
            return None;
        }
        let parent = node.parent()?;
        let alike = parent
            .element_children()
            .into_iter()
            .filter(|other| other.id != node.id && is_alike(&node, other) && is_content(other))
            .filter(|other| !ASIDE.iter().any(|name| other.has_name(name)));
        if alike.count() > 0 {
            return Some(parent.html().to_string());
        }
        node = parent;
    }
    None
}

/// Returns the HTML of the part of a page that calls itself its main part.
pub(super) fn main_part(page: &Document) -> Option<String> {
    // Where several are marked, none of them is the main one.
    let part = ["main, [role='main']", "article"]
        .iter()
        .find_map(|names| {
            let marked = page.select(names);
            match marked.nodes() {
                [only] => Some(*only),
                _ => None,
            }
        })?;
    let text = part.text();
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    (letters.count() >= KNOWN).then(|| part.html().to_string())
}

/// Whether most of an article's blocks stand in a part of the page.
pub(super) fn stands_in(article: &str, part: &str) -> bool {
    let part: HashSet<String> = blocks(&Document::from(part)).map(|(_, t)| t).collect();
    let article = Document::from(article);
    let (mut there, mut all) = (0_usize, 0_usize);
    for (_, text) in blocks(&article) {
        all += text.len();
        there += if part.contains(&text) { text.len() } else { 0 };
    }
    there * 2 >= all
}

/// The blocks of a page with their text, long enough to be known again.
fn blocks(page: &Document) -> impl Iterator<Item = (NodeRef<'_>, String)> {
    page.select(BLOCKS)
        .nodes()
        .to_vec()
        .into_iter()
        .map(|node| {
            let text = one_line(&node.text());
            (node, text)
        })
        .filter(|(_, text)| text.chars().count() >= KNOWN)
}

/// The innermost element around all of some nodes.
fn common<'a>(nodes: &[NodeRef<'a>]) -> Option<NodeRef<'a>> {
    let (first, rest) = nodes.split_first()?;
    // From the outermost to the node itself.
    let path = |node: &NodeRef<'a>| {
        let mut path: Vec<NodeRef<'a>> = node.ancestors_it(None).collect();
        path.reverse();
        path
    };
    let mut shared = path(first);
    for node in rest {
        let other = path(node);
        let same = shared.iter().zip(&other).take_while(|(a, b)| a.id == b.id);
        let count = same.count();
        shared.truncate(count);
    }
    shared.pop()
}

/// Whether two elements are of the same kind, as columns of a row and cards of a list are: each has a heading of the same level.
fn is_alike(one: &NodeRef<'_>, other: &NodeRef<'_>) -> bool {
    let first_class = |node: &NodeRef<'_>| {
        let class = node.class().unwrap_or_default();
        class.split_whitespace().next().map(ToOwned::to_owned)
    };
    let heading = |node: &NodeRef<'_>| {
        node.descendants_it().find_map(|inner| {
            let name = inner.node_name()?;
            HEADINGS.contains(&&*name).then(|| name.to_string())
        })
    };
    let class = first_class(one);
    class.is_some()
        && class == first_class(other)
        && one.node_name() == other.node_name()
        && heading(one).is_some()
        && heading(one) == heading(other)
}

/// Whether an element says something: more than links.
pub(super) fn is_content(node: &NodeRef<'_>) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
    let all = letters(&node.text());
    let linked: usize = node
        .descendants_it()
        .filter(|inner| inner.has_name("a"))
        .map(|link| letters(&link.text()))
        .sum();
    all >= KNOWN && linked * 2 < all
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse_html;

    #[test]
    fn blocks_of_the_same_kind_stay_together() {
        let long = "The town branch opens at nine on weekdays and closes at six, with a break from noon to one. ".repeat(3);
        let text = parse_html(&format!(
            "<body><div class=row><div class=col><h2>Town</h2><p>{long}</p></div><div class=col><h2>Harbour</h2><p>It opens at seven on Saturdays.</p></div></div>\
             <div class=links><a href=/a>Imprint of the library</a></div></body>"
        ))
        .text;
        assert!(
            text.contains("at seven on Saturdays") && text.contains("closes at six"),
            "{text}"
        );
    }

    #[test]
    fn a_page_of_one_sentence_is_that_sentence() {
        let text = parse_html(
            "<body><header><nav><a href=/>Start of everything</a></nav></header><main><aside><h3>Popular</h3><ul><li><a href=/a>Ten tricks with buckets</a></li></ul></aside>\
             <article><h1>Closed</h1><p>The office is closed until Monday.</p></article></main><footer>Cookies</footer></body>",
        )
        .text;
        assert!(
            text.ends_with("# Closed\n\nThe office is closed until Monday."),
            "{text}"
        );
    }
}
