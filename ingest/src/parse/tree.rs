//! XML as a tree, for XML-based formats. Declared entities are never expanded, and nesting is limited.

use quick_xml::Reader;
use quick_xml::escape::{resolve_html5_entity, resolve_xml_entity};
use quick_xml::events::{BytesStart, Event};

use super::{ParseError, causes, damaged};

/// Maximum nesting.
const MAX_DEPTH: usize = 256;

/// A node.
#[derive(Debug)]
pub(super) enum Node {
    Element(Element),
    Text(String),
}

/// An element with its local name; namespaces are ignored.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Node>,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// Returns the first descendant with this name, in document order.
    pub(super) fn find(&self, name: &str) -> Option<&Element> {
        self.elements().find_map(|e| {
            if e.name == name {
                Some(e)
            } else {
                e.find(name)
            }
        })
    }

    /// Returns whether there is a descendant with one of the names.
    pub(super) fn holds(&self, names: &[&str]) -> bool {
        self.elements()
            .any(|e| names.contains(&e.name.as_str()) || e.holds(names))
    }

    /// Returns all text below.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.collect(&mut text);
        text
    }

    fn collect(&self, into: &mut String) {
        for child in &self.children {
            match child {
                Node::Text(text) => into.push_str(text),
                Node::Element(element) => element.collect(into),
            }
        }
    }
}

/// Parses a whole file; unknown entities are kept as written.
pub(super) fn read(xml: &str) -> Result<Element, ParseError> {
    read_each(xml, "", &mut |_| Ok(()))
}

/// Parses a file whose elements named `parent` may have more children than fit in memory as a tree: each child is passed to the callback when it is complete,
/// and is not part of the returned tree.
pub(super) fn read_each(
    xml: &str,
    parent: &str,
    each: &mut dyn FnMut(Element) -> Result<(), ParseError>,
) -> Result<Element, ParseError> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = false;
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|e| {
            damaged(&format!(
                "its XML is not well formed: {}",
                causes::of_xml(&e)
            ))
        })?;
        let text = match event {
            Event::Eof => break,
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
                    return Err(damaged(&format!(
                        "it is nested more than {MAX_DEPTH} levels deep"
                    )));
                }
                open.push(element(&start));
                continue;
            }
            Event::Empty(start) => {
                close(&mut open, element(&start), parent, each)?;
                continue;
            }
            Event::End(_) => {
                if open.len() > 1
                    && let Some(done) = open.pop()
                {
                    close(&mut open, done, parent, each)?;
                }
                continue;
            }
            Event::Text(text) => text.to_string(),
            Event::CData(text) => text.to_string(),
            Event::GeneralRef(reference) => {
                let name = reference.to_string();
                match reference.resolve_char_ref() {
                    Ok(Some(character)) => character.to_string(),
                    Ok(None) | Err(_) => resolve_xml_entity(&name)
                        .or_else(|| resolve_html5_entity(&name))
                        .map_or_else(|| format!("&{name};"), ToOwned::to_owned),
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
        };
        let Some(last) = open.last_mut() else { break };
        if let Some(Node::Text(before)) = last.children.last_mut() {
            before.push_str(&text);
        } else if !text.is_empty() {
            last.children.push(Node::Text(text));
        }
    }
    while open.len() > 1 {
        if let Some(done) = open.pop() {
            close(&mut open, done, parent, each)?;
        }
    }
    open.pop()
        .filter(|root| root.elements().next().is_some())
        .ok_or_else(|| damaged("it contains no XML element"))
}

/// Passes a complete element to the callback or to its parent.
fn close(
    open: &mut [Element],
    mut done: Element,
    parent: &str,
    each: &mut dyn FnMut(Element) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    // Most elements have at most one child, but a vector allocates room for four.
    done.children.shrink_to_fit();
    done.attributes.shrink_to_fit();
    match open.last_mut() {
        Some(last) if !last.name.is_empty() && last.name == parent => each(done),
        Some(last) => {
            last.children.push(Node::Element(done));
            Ok(())
        }
        None => Ok(()),
    }
}

fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

fn element(start: &BytesStart<'_>) -> Element {
    Element {
        name: local(start.name().as_ref()),
        attributes: start
            .attributes()
            .with_checks(false)
            .flatten()
            .map(|a| {
                let value = quick_xml::escape::unescape(a.value.as_ref())
                    .map_or_else(|_| a.value.to_string(), std::borrow::Cow::into_owned);
                (local(a.key.as_ref()), value)
            })
            .collect(),
        children: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_that_a_file_declares_are_not_expanded() {
        let root =
            read("<!DOCTYPE a [<!ENTITY big \"aaaaaaaa\">]><a>x &amp; &big; &#65;&nbsp;y</a>")
                .expect("reads");
        assert_eq!(root.text(), "x & &big; A\u{a0}y");
    }

    #[test]
    fn nesting_is_limited() {
        let deep = "<a>".repeat(100_000);
        assert_eq!(read(&deep).expect_err("too deep").code, "damaged_file");
    }
}
