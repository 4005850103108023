//! XML: articles and books (JATS, `DocBook`, TEI and similar) as Markdown by the element names that these vocabularies share; anything else as data,
//! `name: value`, one record after another.

use super::tree::{self, Element, Node};
use super::writer::{Writer, one_line};
use super::{Input, ParseError, text};
use crate::document::Document;

const PARAGRAPHS: [&str; 5] = ["p", "para", "simpara", "ab", "verse"];
const TITLES: [&str; 6] = [
    "title",
    "head",
    "heading",
    "article-title",
    "subtitle",
    "label",
];
const LISTS: [&str; 7] = [
    "list",
    "ul",
    "ol",
    "itemizedlist",
    "orderedlist",
    "def-list",
    "variablelist",
];
const CODE: [&str; 5] = ["pre", "programlisting", "screen", "verbatim", "code-block"];
/// Elements with metadata rather than content.
const APPARATUS: [&str; 12] = [
    "script",
    "style",
    "journal-meta",
    "history",
    "permissions",
    "custom-meta-group",
    "contrib-id",
    "processing-meta",
    "tex-math",
    "graphic",
    "counts",
    "teiHeader",
];

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, declared(input.bytes));
    let root = tree::read(&decoded)?;
    let mut writer = Writer::default();
    if root.holds(&PARAGRAPHS) {
        prose(&mut writer, &root, 1);
    } else {
        data(&mut writer, &root);
    }
    let mut document = writer.finish("xml");
    document.title = super::given(root.find("article-title").map(|e| one_line(&e.text())))
        .or_else(|| super::given(root.find("title").map(|e| one_line(&e.text()))))
        .or(document.title);
    document.warnings.extend(warnings);
    Ok(document)
}

/// Returns the encoding of the XML declaration.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let rest = &head[head.find("encoding=")? + "encoding=".len()..];
    let quote = rest.chars().next()?;
    encoding_rs::Encoding::for_label(rest[1..].split(quote).next()?.as_bytes())
}

fn prose(writer: &mut Writer, element: &Element, level: usize) {
    for child in &element.children {
        let Node::Element(child) = child else {
            if let Node::Text(text) = child
                && !element.name.is_empty()
            {
                writer.paragraph(text);
            }
            continue;
        };
        let name = child.name.as_str();
        if APPARATUS.contains(&name) {
            continue;
        }
        if name == "label"
            && element
                .elements()
                .any(|e| e.name == "title" || e.name == "caption")
        {
            continue;
        }
        if TITLES.contains(&name) {
            writer.heading(level.saturating_sub(1).max(1), &child.text());
        } else if PARAGRAPHS.contains(&name) {
            paragraph(writer, child, level);
        } else if LISTS.contains(&name) {
            items(writer, child, 0);
        } else if CODE.contains(&name) {
            writer.code("", &child.text());
        } else if name == "table" || name == "tgroup" || name == "informaltable" {
            writer.table(&rows(child));
        } else if child.elements().next().is_none() || !blocks_inside(child) {
            writer.paragraph(&spaced(child));
        } else {
            // A part with a title of its own is one level deeper.
            let titled = child.elements().any(|e| TITLES.contains(&e.name.as_str()));
            prose(writer, child, level + usize::from(titled));
        }
    }
}

/// Returns whether there is a block element below.
fn blocks_inside(element: &Element) -> bool {
    element.holds(&PARAGRAPHS)
        || element.holds(&TITLES)
        || element.holds(&LISTS)
        || element.holds(&CODE)
        || element.holds(&["table", "tgroup"])
}

/// Writes a paragraph; lists, tables and code inside it are written after it.
fn paragraph(writer: &mut Writer, element: &Element, level: usize) {
    let is_block = |e: &Element| {
        LISTS.contains(&e.name.as_str())
            || CODE.contains(&e.name.as_str())
            || e.name == "table"
            || e.name == "table-wrap"
            || e.name == "fig"
            || e.name == "disp-quote"
    };
    let mut text = String::new();
    let mut after = Element::default();
    after.name.clone_from(&element.name);
    collect(element, &mut text);
    for child in element.elements().filter(|e| is_block(e)) {
        after.children.push(Node::Element(Element {
            name: child.name.clone(),
            attributes: Vec::new(),
            children: clone_children(child),
        }));
    }
    writer.paragraph(&text);
    if !after.children.is_empty() {
        prose(writer, &after, level);
    }
}

fn clone_children(element: &Element) -> Vec<Node> {
    element
        .children
        .iter()
        .map(|child| match child {
            Node::Text(text) => Node::Text(text.clone()),
            Node::Element(inner) => Node::Element(Element {
                name: inner.name.clone(),
                attributes: inner.attributes.clone(),
                children: clone_children(inner),
            }),
        })
        .collect()
}

fn collect(element: &Element, into: &mut String) {
    for child in &element.children {
        match child {
            Node::Text(text) => into.push_str(text),
            Node::Element(inner)
                if LISTS.contains(&inner.name.as_str())
                    || CODE.contains(&inner.name.as_str())
                    || matches!(
                        inner.name.as_str(),
                        "table" | "table-wrap" | "fig" | "disp-quote"
                    )
                    || APPARATUS.contains(&inner.name.as_str()) => {}
            Node::Element(inner) => collect(inner, into),
        }
    }
}

/// Returns the text of an element whose children are separate values, such as names: joined by spaces.
fn spaced(element: &Element) -> String {
    let mut text = String::new();
    for child in &element.children {
        match child {
            Node::Text(part) => text.push_str(part),
            Node::Element(inner) if APPARATUS.contains(&inner.name.as_str()) => {}
            Node::Element(inner) => {
                text.push_str(&spaced(inner));
                text.push(' ');
            }
        }
    }
    text
}

fn items(writer: &mut Writer, element: &Element, depth: usize) {
    for item in element.elements() {
        if LISTS.contains(&item.name.as_str()) {
            items(writer, item, depth + 1);
            continue;
        }
        let mut text = String::new();
        collect(item, &mut text);
        writer.item(depth, "-", &text);
        inner_lists(writer, item, depth + 1);
    }
}

fn inner_lists(writer: &mut Writer, element: &Element, depth: usize) {
    for child in element.elements() {
        if LISTS.contains(&child.name.as_str()) {
            items(writer, child, depth);
        } else {
            inner_lists(writer, child, depth);
        }
    }
}

fn rows(table: &Element) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for element in table.elements() {
        if matches!(element.name.as_str(), "tr" | "row") {
            rows.push(
                element
                    .elements()
                    .filter(|c| matches!(c.name.as_str(), "td" | "th" | "entry" | "cell"))
                    .flat_map(|c| {
                        let span = c
                            .attribute("colspan")
                            .and_then(|s| s.parse::<usize>().ok())
                            .unwrap_or(1)
                            .clamp(1, 64);
                        std::iter::once(c.text())
                            .chain(std::iter::repeat_n(String::new(), span - 1))
                    })
                    .collect(),
            );
        } else {
            rows.extend(self::rows(element));
        }
    }
    rows
}

/// Writes data: leaves are `name: value`; an element with several leaves is a record.
fn data(writer: &mut Writer, element: &Element) {
    let mut lines = String::new();
    record(writer, element, 0, &mut lines);
    writer.block(&lines);
}

fn record(writer: &mut Writer, element: &Element, depth: usize, lines: &mut String) {
    let indent = "  ".repeat(depth.min(16));
    for child in &element.children {
        let Node::Element(child) = child else {
            if let Node::Text(text) = child
                && !text.trim().is_empty()
            {
                lines.push_str(&format!("{indent}{}\n", one_line(text)));
            }
            continue;
        };
        let attributes: String = child
            .attributes
            .iter()
            .filter(|(name, _)| name != "xmlns" && !name.starts_with("xsi"))
            .map(|(name, value)| format!(" {name}={}", one_line(value)))
            .collect();
        if child.elements().next().is_none() {
            lines.push_str(&format!(
                "{indent}{}:{attributes} {}\n",
                child.name,
                one_line(&child.text())
            ));
            continue;
        }
        // Elements near the root are blocks of their own, so that records are not split across chunks.
        if depth < 2 {
            writer.block(lines);
            lines.clear();
        }
        lines.push_str(&format!("{indent}{}:{attributes}\n", child.name));
        record(writer, child, depth + 1, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(xml: &str) -> Document {
        parse(&Input {
            file_name: "a.xml",
            bytes: xml.as_bytes(),
            ..Input::default()
        })
        .expect("parses")
    }

    #[test]
    fn an_article_has_headings_paragraphs_and_tables() {
        let document = parsed(
            "<article><front><article-title>On cairns</article-title></front><body><sec><title>Use</title><p>Stones <i>mark</i> a way.</p>\
             <sec><title>Height</title><table-wrap><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></table-wrap></sec></sec></body></article>",
        );
        assert_eq!(document.title.as_deref(), Some("On cairns"));
        let headings: Vec<_> = document
            .headings
            .iter()
            .map(|h| (h.level, h.title.as_str()))
            .collect();
        assert_eq!(headings, [(1, "On cairns"), (1, "Use"), (2, "Height")]);
        assert!(
            document.text.contains("Stones mark a way.") && document.text.contains("| 1 | 2 |")
        );
    }

    #[test]
    fn data_is_records_of_names_and_values() {
        let document = parsed(
            "<stock><part id=\"7\"><name>bolt</name><price>2.5</price></part><part><name>nut</name></part></stock>",
        );
        assert_eq!(
            document.text,
            "stock:\n\n  part: id=7\n    name: bolt\n    price: 2.5\n\n  part:\n    name: nut"
        );
    }
}
