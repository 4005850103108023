//! EPUB: the documents of the spine in order, each as Markdown.

use super::tree::{self, Element};
use super::writer::Writer;
use super::{Input, ParseError, container, damaged, html};
use crate::document::Document;

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let mut book = container::open(input.bytes)?;
    let read = |book: &mut container::Container<'_>, path: &str| {
        container::entry(book, path).map(|b| String::from_utf8_lossy(&b).into_owned())
    };
    let index = tree::read(&read(&mut book, "META-INF/container.xml")?)?;
    let package_path = index
        .find("rootfile")
        .and_then(|r| r.attribute("full-path"))
        .ok_or_else(|| damaged("it does not name a package document"))?
        .to_owned();
    let package = tree::read(&read(&mut book, &package_path)?)?;
    let folder = package_path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let items: Vec<&Element> = package
        .find("manifest")
        .map(|m| m.elements().collect())
        .unwrap_or_default();
    let spine: Vec<&Element> = package
        .find("spine")
        .map(|s| s.elements().collect())
        .unwrap_or_default();
    let mut writer = Writer::default();
    for reference in spine {
        let Some(item) = items.iter().find(|i| {
            i.attribute("id").is_some() && i.attribute("id") == reference.attribute("idref")
        }) else {
            continue;
        };
        // The table of contents repeats every heading.
        let navigation = item
            .attribute("properties")
            .is_some_and(|p| p.split_whitespace().any(|p| p == "nav"));
        let Some(address) = item.attribute("href").filter(|_| !navigation) else {
            continue;
        };
        let path = resolve(folder, address);
        match read(&mut book, &path) {
            Ok(page) => match html::to_markdown(&page) {
                Ok(markdown) => writer.block(&markdown),
                Err(error) => writer.warn(format!("{path} could not be read: {error}")),
            },
            Err(error) => writer.warn(error.message),
        }
    }
    let mut document = writer.finish("epub");
    let value = |name| {
        super::given(
            package
                .find("metadata")
                .and_then(|m| m.find(name))
                .map(Element::text),
        )
    };
    document.title = value("title").or(document.title);
    document.language = value("language");
    document.published_at = value("date");
    Ok(document)
}

/// Resolves a path inside the container: relative to the folder, with `%20` and the like decoded, without `..`.
fn resolve(folder: &str, address: &str) -> String {
    let address = address.split('#').next().unwrap_or(address);
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    let decoded = percent_decode(address);
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_resolved_inside_the_book() {
        assert_eq!(
            resolve("OEBPS/text", "../a%20b.xhtml#part"),
            "OEBPS/a b.xhtml"
        );
        assert_eq!(resolve("", "../../etc/passwd"), "etc/passwd");
    }
}
