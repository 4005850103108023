//! Web pages: encoding from the page itself, main content by a port of Readability, then Markdown.
//!
//! Where Readability selects one of several similar sibling blocks, all of them are included. Pages without an article (or with one that is a small share of
//! the visible text) are converted as a whole, without navigation and scripts, or only their main part if they mark one.

mod content;
mod prepare;
mod tables;

use dom_query::Document as Page;
use dom_smoothie::{Config, Readability};
use encoding_rs::Encoding;
use htmd::element_handler::Handlers;
use htmd::{Element, HtmlToMarkdown};

use super::{Input, ParseError, markdown, text};
use crate::document::{Document, normalise};

/// An article below this share of the page's visible text, and shorter than a few paragraphs, is rejected.
const LEAST_SHARE: f64 = 0.2;
/// Length of a few paragraphs in letters and signs: an article of that length is accepted, whatever its share.
const LEAST_LENGTH: usize = 800;

const NOT_CONTENT: [&str; 12] = [
    "img", "script", "style", "head", "nav", "footer", "noscript", "template", "svg", "iframe",
    "button", "select",
];

/// Decodes a page: by its byte order mark, as UTF-8 if valid, by the charset of its `Content-Type`, or by the one that it declares itself.
pub(crate) fn decode(bytes: &[u8], charset: Option<&'static Encoding>) -> (String, Vec<String>) {
    text::decode(bytes, charset.or_else(|| declared(bytes)))
}

/// Returns the charset of a media type such as `text/html; charset=iso-8859-1`.
fn charset(mime_type: &str) -> Option<&'static Encoding> {
    let (_, parameters) = mime_type.split_once(';')?;
    let (_, value) = parameters
        .split(';')
        .filter_map(|p| p.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Encoding::for_label(value.trim().trim_matches('"').as_bytes())
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let (html, mut warnings) = decode(input.bytes, input.mime_type.and_then(charset));
    let damaged = |e: &dyn std::fmt::Display| {
        ParseError::new("damaged_file", format!("the page could not be read: {e}"))
    };
    let page = Page::from(html);
    prepare::prepare(&page);
    let html = page.html();
    let marked = content::main_part(&page);
    let mut reader =
        Readability::new(&*html, None, Some(Config::default())).map_err(|e| damaged(&e))?;
    let metadata = reader.get_article_metadata(reader.parse_json_ld());
    let article = reader.parse().ok().map(|article| article.content);
    // A short article outside of it is a link teaser on a page with little text.
    let inside = |article: &str| {
        let part = marked.as_deref().filter(|_| article.len() < LEAST_LENGTH);
        part.is_none_or(|part| content::stands_in(article, part))
    };
    let chosen = match article.as_deref().filter(|article| inside(article)) {
        Some(article) => {
            let widened = content::widened(&page, article);
            converted(widened.as_deref().unwrap_or(article)).map_err(|e| damaged(&e))?
        }
        None => String::new(),
    };
    let length = chosen.trim().len();
    let text = if length >= LEAST_LENGTH {
        chosen
    } else {
        let whole = converted(marked.as_deref().unwrap_or(&html)).map_err(|e| damaged(&e))?;
        if length as f64 >= LEAST_SHARE * whole.trim().len() as f64 {
            chosen
        } else {
            if marked.is_none() {
                warnings.push("no main content was found, so the whole page was used".to_owned());
            }
            whole
        }
    };
    let mut document = markdown::from_text(normalise(&text), "dom_smoothie");
    let given =
        |value: Option<String>| value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    document.title = given(Some(metadata.title)).or(document.title);
    document.language = given(metadata.lang);
    document.url = given(metadata.url);
    document.published_at = given(metadata.published_time);
    document.warnings = warnings;
    Ok(document)
}

/// Converts the HTML of a message to Markdown.
pub(super) fn to_markdown(html: &str) -> std::io::Result<String> {
    let page = Page::from(html);
    prepare::prepare(&page);
    converted(&page.html())
}

/// Converts prepared HTML.
fn converted(html: &str) -> std::io::Result<String> {
    // A link becomes its text: addresses and images would be noise in every chunk.
    HtmlToMarkdown::builder()
        .skip_tags(NOT_CONTENT.to_vec())
        .add_handler(vec!["a"], |handlers: &dyn Handlers, element: Element| {
            Some(handlers.walk_children(element.node))
        })
        .add_handler(vec!["table"], tables::handle)
        .build()
        .convert(html)
}

/// Returns the encoding that the page declares in its first kilobytes (`<meta charset>` or `http-equiv`), as browsers do.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).to_lowercase();
    let mut rest = head.as_str();
    while let Some(at) = rest.find("charset") {
        rest = &rest[at + "charset".len()..];
        let value = rest
            .trim_start()
            .strip_prefix('=')
            .map(|v| v.trim_start_matches([' ', '"', '\'']));
        let label: String = value
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c))
            .collect();
        if let Some(encoding) = Encoding::for_label(label.as_bytes()) {
            return Some(encoding);
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn parse_html(html: &str) -> Document {
        parse(&Input {
            file_name: "page.html",
            bytes: html.as_bytes(),
            ..Input::default()
        })
        .expect("parses")
    }

    #[test]
    fn main_content_stays_and_boilerplate_goes() {
        let paragraph = "Hybrid retrieval blends vector and keyword scores so that exact names and loose descriptions both find their passage. ".repeat(6);
        let document = parse_html(&format!(
            "<html lang=en><head><title>Hybrid retrieval</title><meta property='article:published_time' content='2026-01-02'></head>\
             <body><nav><a href=/>Home</a> <a href=/x>Products</a></nav><article><h1>Hybrid retrieval</h1><p>{paragraph} <a href='/terms?id=4711'>Terms</a><img src=x.png alt=pic></p>\
             <h2>Why blend</h2><p>{paragraph}</p></article><footer>Cookie settings</footer><script>track()</script></body></html>"
        ));
        assert!(
            document.text.contains("exact names")
                && !document.text.contains("Cookie")
                && document.text.contains("Terms")
                && !document.text.contains("4711")
                && !document.text.contains("track")
        );
        assert_eq!(document.title.as_deref(), Some("Hybrid retrieval"));
        assert_eq!(document.language.as_deref(), Some("en"));
        assert_eq!(document.published_at.as_deref(), Some("2026-01-02"));
        assert!(document.headings.iter().any(|h| h.title == "Why blend"));
    }

    #[test]
    fn a_page_without_an_article_is_taken_whole() {
        let document = parse_html(
            "<html><body><h1>Status</h1><ul><li>api: up</li><li>db: up</li></ul></body></html>",
        );
        assert!(document.text.contains("api: up"));
    }

    #[test]
    fn the_declared_encoding_counts() {
        assert_eq!(
            declared(b"<meta http-equiv=Content-Type content='text/html; charset=gb2312'>")
                .map(Encoding::name),
            Some("GBK")
        );
        assert_eq!(declared(b"<p>no declaration"), None);
    }
}
