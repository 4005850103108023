//! Information for crawlers in a page: links, canonical address, robots directives, refresh. Parsed as a stream, so that time and memory are linear in the
//! length of any page.

use std::cell::RefCell;

use encoding_rs::Encoding;
use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, MemorySettings, Settings, element};

use crate::parse::decode_html;

/// Maximum number of links that are read per page.
const LINKS: usize = 5000;
/// Memory limit of the parser in bytes: for open elements.
const MEMORY: usize = 64 << 20;
/// A refresh within this many seconds is a redirect; a later one reloads a page that people read.
const REFRESH: f64 = 10.0;

/// Information for crawlers in a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    pub links: Vec<Link>,
    /// Base of relative references, where it differs from the page's address.
    pub base: Option<String>,
    /// Canonical address.
    pub canonical: Option<String>,
    /// Target of an immediate refresh.
    pub refresh: Option<String>,
    /// Robots directives of the page.
    pub directives: Directives,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The reference as written in the page.
    pub reference: String,
    /// Whether it is marked `nofollow`.
    pub nofollow: bool,
}

/// Restrictions on indexing a page and following its links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// The directive that forbids indexing, as written.
    pub noindex: Option<String>,
    /// The directive that forbids following links, as written.
    pub nofollow: Option<String>,
}

impl Directives {
    /// Applies an `X-Robots-Tag` header, which may start with a crawler name (`otherbot: noindex`).
    pub fn note_header(&mut self, value: &str, token: &str) {
        // Directives with a value, which also contains a colon.
        const VALUED: [&str; 4] = [
            "unavailable_after",
            "max-snippet",
            "max-image-preview",
            "max-video-preview",
        ];
        match value.split_once(':') {
            Some((agent, rest))
                if !agent.contains(',')
                    && !VALUED.contains(&agent.trim().to_ascii_lowercase().as_str()) =>
            {
                if agent.trim().eq_ignore_ascii_case(token) {
                    self.note(rest);
                }
            }
            _ => self.note(value),
        }
    }

    /// Applies the value of a `robots` meta element.
    pub fn note(&mut self, value: &str) {
        for word in value.split(',').map(|w| w.trim().to_ascii_lowercase()) {
            if matches!(word.as_str(), "noindex" | "none") {
                self.noindex = Some(word.clone());
            }
            if matches!(word.as_str(), "nofollow" | "none") {
                self.nofollow = Some(word);
            }
        }
    }
}

/// Parses a page. `charset` is that of its `Content-Type`, `token` the user-agent token that robots directives may address the crawler by.
#[must_use]
pub fn read(bytes: &[u8], charset: Option<&str>, token: &str) -> Signs {
    let html = decode_html(
        bytes,
        charset.and_then(|c| Encoding::for_label(c.as_bytes())),
    );
    let signs = RefCell::new(Signs::default());
    // The parser returns attributes without decoding entities.
    let value = |e: &Element<'_, '_>, name: &str| {
        let written = e.get_attribute(name)?;
        Some(html_escape::decode_html_entities(&written).into_owned())
    };
    let link = |reference: Option<String>, rel: Option<String>| {
        let Some(reference) = reference else { return };
        let mut signs = signs.borrow_mut();
        if signs.links.len() < LINKS {
            let nofollow = words(rel).any(|w| w == "nofollow");
            signs.links.push(Link {
                reference,
                nofollow,
            });
        }
    };
    let handlers = vec![
        element!("a[href], area[href]", |e| {
            link(value(e, "href"), e.get_attribute("rel"));
            Ok(())
        }),
        element!("iframe[src], frame[src]", |e| {
            link(value(e, "src"), None);
            Ok(())
        }),
        element!("link[href][rel]", |e| {
            let (rel, href) = (e.get_attribute("rel"), value(e, "href"));
            if words(rel.clone()).any(|w| w == "canonical") {
                signs.borrow_mut().canonical.clone_from(&href);
            }
            if words(rel).any(|w| w == "next" || w == "prev") {
                link(href, None);
            }
            Ok(())
        }),
        element!("base[href]", |e| {
            let mut signs = signs.borrow_mut();
            if signs.base.is_none() {
                signs.base = value(e, "href");
            }
            Ok(())
        }),
        element!("meta[content]", |e| {
            let (name, content) = (
                e.get_attribute("name"),
                value(e, "content").unwrap_or_default(),
            );
            let name = name.unwrap_or_default();
            if name.eq_ignore_ascii_case("robots") || name.eq_ignore_ascii_case(token) {
                signs.borrow_mut().directives.note(&content);
            }
            if e.get_attribute("http-equiv")
                .is_some_and(|v| v.eq_ignore_ascii_case("refresh"))
            {
                signs.borrow_mut().refresh = refresh(&content);
            }
            Ok(())
        }),
    ];
    let settings = Settings {
        element_content_handlers: handlers,
        memory_settings: MemorySettings {
            max_allowed_memory_usage: MEMORY,
            ..MemorySettings::default()
        },
        strict: false,
        ..Settings::default()
    };
    let mut reader = HtmlRewriter::new(settings, |_: &[u8]| {});
    // A page that exceeds the memory limit ends there; links found so far count.
    if reader.write(html.as_bytes()).is_ok() {
        let _ = reader.end();
    }
    signs.take()
}

fn words(rel: Option<String>) -> impl Iterator<Item = String> {
    let words: Vec<String> = rel
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(str::to_ascii_lowercase)
        .collect();
    words.into_iter()
}

/// Returns the address of `0; url=https://…`, if the delay is short.
fn refresh(content: &str) -> Option<String> {
    let (seconds, rest) = content.split_once([';', ','])?;
    if seconds.trim().parse::<f64>().ok()? > REFRESH {
        return None;
    }
    let rest = rest.trim_start();
    let address = match rest.get(..3) {
        Some(word) if word.eq_ignore_ascii_case("url") => {
            rest[3..].trim_start().strip_prefix('=')?
        }
        _ => rest,
    };
    let address = address.trim().trim_matches(['"', '\'']).trim();
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_directives_are_found() {
        let signs = read(
            b"<html><head><base href='/docs/'><link rel='alternate canonical' href=\"https://a.test/x?a=1&amp;b=2\"><meta name=ROBOTS content='NoIndex, follow'>\
              <meta name=googlebot content=nofollow></head><body><a href=one>1</a><A HREF='two' rel='noopener NOFOLLOW'>2</A><a name=x>no</a>\
              <area href=three><!-- <a href=hidden> --><script>'<a href=script>'</script></body></html>",
            None,
            "CairnBot",
        );
        let links: Vec<(&str, bool)> = signs
            .links
            .iter()
            .map(|l| (l.reference.as_str(), l.nofollow))
            .collect();
        assert_eq!(links, [("one", false), ("two", true), ("three", false)]);
        assert_eq!(signs.base.as_deref(), Some("/docs/"));
        assert_eq!(signs.canonical.as_deref(), Some("https://a.test/x?a=1&b=2"));
        assert_eq!(signs.directives.noindex.as_deref(), Some("noindex"));
        assert_eq!(signs.directives.nofollow, None);
    }

    #[test]
    fn directives_name_their_crawler() {
        let noted = |value: &str| {
            let mut directives = Directives::default();
            directives.note_header(value, "CairnBot");
            (directives.noindex.is_some(), directives.nofollow.is_some())
        };
        assert_eq!(noted("otherbot: noindex"), (false, false));
        assert_eq!(noted("cairnbot: noindex, nofollow"), (true, true));
        assert_eq!(noted("none"), (true, true));
        assert_eq!(noted("max-snippet: -1, noindex"), (true, false));
        assert_eq!(
            noted("index, max-image-preview:large, nofollow"),
            (false, true)
        );
        assert_eq!(
            noted("unavailable_after: 25 Jun 2010 15:00:00 PST"),
            (false, false)
        );
    }

    #[test]
    fn quick_refreshes_are_redirects() {
        assert_eq!(
            refresh("0; URL='https://a.test/b'").as_deref(),
            Some("https://a.test/b")
        );
        assert_eq!(refresh("0;/c").as_deref(), Some("/c"));
        assert_eq!(refresh("300; url=/d"), None);
        assert_eq!(refresh("5"), None);
    }

    #[test]
    fn deep_and_wide_pages_take_their_length() {
        let deep = "<div><b>".repeat(200_000) + "<a href=end>";
        assert_eq!(read(deep.as_bytes(), None, "CairnBot").links.len(), 1);
        let wide = "<a href=x>".repeat(50_000);
        assert_eq!(read(wide.as_bytes(), None, "CairnBot").links.len(), LINKS);
    }

    #[test]
    fn the_charset_of_the_answer_counts() {
        let page = "<a href='/größe'>";
        let latin: Vec<u8> = page
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect();
        assert_eq!(
            read(&latin, Some("iso-8859-1"), "CairnBot").links[0].reference,
            "/größe"
        );
    }
}
