//! Recovers the main content where the article extractor selected only a part of it: columns and cards side by side, very short pages.

use std::collections::HashSet;

use dom_query::{Document, NodeRef};

use crate::parse::writer::one_line;

/// Block elements whose text is compared.
const BLOCKS: &str = "p, li, dd, dt, h1, h2, h3, h4, h5, h6, td, th, pre, blockquote";
/// Elements that are not part of the main content.
const ASIDE: [&str; 6] = ["nav", "aside", "footer", "header", "form", "dialog"];
const HEADINGS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];
/// Shortest text by which a block is identified, in characters.
const KNOWN: usize = 12;
/// Size in bytes above which an article is complete: similar elements beside it are teasers.
const WHOLE: usize = 4000;
/// Levels above the article's content that are searched for similar elements.
const LEVELS: usize = 4;

/// Returns the HTML of the element that contains the article and similar siblings; `None` when there are no such siblings.
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

/// Returns the HTML of the element that a page marks as its main part.
pub(super) fn main_part(page: &Document) -> Option<String> {
    // If several are marked, none of them is the main part.
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

/// Returns whether most of an article's blocks are in a part of the page.
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

/// Returns the blocks of a page whose text is long enough to identify them.
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

/// Returns the innermost common ancestor of some nodes.
fn common<'a>(nodes: &[NodeRef<'a>]) -> Option<NodeRef<'a>> {
    let (first, rest) = nodes.split_first()?;
    // From the root to the node itself.
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

/// Returns whether two elements are of the same kind, like columns of a row or cards of a list: each has a heading of the same level.
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

/// Returns whether an element has content other than links.
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
