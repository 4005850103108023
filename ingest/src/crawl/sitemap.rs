//! Parsing of sitemaps: XML (lists and indexes), plain text, feeds; optionally gzipped.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Maximum bytes of a decompressed sitemap that are read (the protocol allows 50 MiB).
pub const LIMIT: u64 = 50 << 20;
/// Maximum addresses of a sitemap that are read (the limit of the protocol).
pub const ENTRIES: usize = 50_000;

/// The content of a sitemap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sitemap {
    /// Addresses of further sitemaps.
    pub sitemaps: Vec<String>,
    /// Pages of the site.
    pub pages: Vec<Entry>,
}

/// A page in a sitemap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Address as written.
    pub address: String,
    /// Time of the last change in milliseconds since 1970, if stated. A date without a time counts as the end of that day.
    pub modified: Option<i64>,
}

/// Parses a sitemap; `None` if it is not one. Damage ends the list; entries before it are kept.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Sitemap> {
    let mut unpacked = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        // Data before a damaged end is kept.
        let _ = MultiGzDecoder::new(bytes)
            .take(LIMIT)
            .read_to_end(&mut unpacked);
        &unpacked
    } else {
        &bytes[..bytes
            .len()
            .min(usize::try_from(LIMIT).unwrap_or(usize::MAX))]
    };
    let text = String::from_utf8_lossy(bytes);
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with('<') {
        let found = xml(start);
        if found.is_some() {
            return found;
        }
    }
    if start.starts_with(['<', '{']) {
        return feed(bytes);
    }
    lines(start)
}

/// Parses one address per line.
fn lines(text: &str) -> Option<Sitemap> {
    let mut pages = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .take(ENTRIES)
    {
        if !line.starts_with("http://") && !line.starts_with("https://") {
            return None;
        }
        pages.push(Entry {
            address: line.to_owned(),
            modified: None,
        });
    }
    (!pages.is_empty()).then(|| Sitemap {
        pages,
        ..Sitemap::default()
    })
}

/// Parses `urlset` and `sitemapindex`, with or without namespaces.
fn xml(text: &str) -> Option<Sitemap> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_dangling_amp = true;
    let mut found = Sitemap::default();
    let (mut is_sitemap, mut is_index) = (false, false);
    // The prefix of the root element is that of the sitemap namespace.
    let mut root_prefix: Option<String> = None;
    // The element whose text is being read, and the current entry.
    let mut field: Option<Field> = None;
    let (mut address, mut modified) = (String::new(), String::new());
    loop {
        let event = match reader.read_event() {
            Ok(Event::Eof) | Err(_) => break,
            Ok(event) => event,
        };
        match event {
            Event::Start(element) => {
                let name = element.name();
                let prefix = name.prefix().map(|p| p.as_ref().to_owned());
                if !is_sitemap {
                    root_prefix.clone_from(&prefix);
                }
                let local = name.local_name();
                match local.as_ref() {
                    "urlset" => is_sitemap = true,
                    "sitemapindex" => (is_sitemap, is_index) = (true, true),
                    _ if !is_sitemap => return None,
                    // Images and videos have a `loc` in their own namespaces.
                    _ if prefix != root_prefix => {}
                    "url" | "sitemap" => (address, modified) = Default::default(),
                    "loc" => field = Some(Field::Address),
                    "lastmod" => field = Some(Field::Modified),
                    _ => {}
                }
            }
            Event::Text(text) => append(field, &mut address, &mut modified, &text),
            Event::CData(text) => append(field, &mut address, &mut modified, &text),
            Event::GeneralRef(entity) => {
                let raw = format!("&{};", entity.as_ref() as &str);
                let known = quick_xml::escape::unescape(&raw)
                    .map_or_else(|_| raw.clone(), std::borrow::Cow::into_owned);
                append(field, &mut address, &mut modified, &known);
            }
            Event::End(element)
                if element.name().prefix().map(|p| p.as_ref().to_owned()) != root_prefix => {}
            Event::End(element) => match element.name().local_name().as_ref() {
                "loc" | "lastmod" => field = None,
                "url" | "sitemap" => {
                    let place = address.trim().to_owned();
                    if !place.is_empty() && is_index {
                        found.sitemaps.push(place);
                    } else if !place.is_empty() {
                        found.pages.push(Entry {
                            address: place,
                            modified: time(modified.trim()),
                        });
                    }
                    if found.pages.len() + found.sitemaps.len() >= ENTRIES {
                        break;
                    }
                }
                _ => {}
            },
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::Eof => {}
        }
    }
    is_sitemap.then_some(found)
}

#[derive(Clone, Copy)]
enum Field {
    Address,
    Modified,
}

fn append(field: Option<Field>, address: &mut String, modified: &mut String, text: &str) {
    match field {
        Some(Field::Address) => address.push_str(text),
        Some(Field::Modified) => modified.push_str(text),
        None => {}
    }
}

/// Parses RSS, Atom and JSON feeds.
fn feed(bytes: &[u8]) -> Option<Sitemap> {
    let feed = feed_rs::parser::parse(bytes).ok()?;
    let pages = feed
        .entries
        .into_iter()
        .take(ENTRIES)
        .filter_map(|entry| {
            let modified = entry
                .updated
                .or(entry.published)
                .map(|t| t.timestamp_millis());
            let of = |wanted: &str| {
                let rel =
                    |l: &&feed_rs::model::Link| l.rel.as_deref().unwrap_or("alternate") == wanted;
                entry.links.iter().find(rel).map(|l| l.href.clone())
            };
            let address = of("alternate").or_else(|| of("self"))?;
            Some(Entry { address, modified })
        })
        .collect();
    Some(Sitemap {
        pages,
        ..Sitemap::default()
    })
}

/// Parses a time in the W3C format that sitemaps use.
fn time(text: &str) -> Option<i64> {
    let at = |text: &str| {
        chrono::DateTime::parse_from_rfc3339(text)
            .or_else(|_| chrono::DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%:z"))
            .ok()
    };
    if let Some(exact) = at(text) {
        return Some(exact.timestamp_millis());
    }
    at(&format!("{}T23:59:59Z", text.get(..10).unwrap_or(text))).map(|t| t.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIST: &str = "<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' xmlns:image='http://www.google.com/schemas/sitemap-image/1.1'>
        <url><loc> https://a.test/?a=1&amp;b=2 </loc><lastmod>2026-01-02T03:04:05+01:00</lastmod><image:image><image:loc>https://a.test/p.png</image:loc></image:image></url>
        <url><loc><![CDATA[https://a.test/b]]></loc><lastmod>2026-01-02</lastmod></url><url><loc>https://a.test/c?x=1&y=2</loc></url></urlset>";

    #[test]
    fn lists_are_read_packed_or_not() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(LIST.as_bytes()).expect("writes");
        let packed = packed.finish().expect("ends");
        for bytes in [LIST.as_bytes(), &packed] {
            let pages = parse(bytes).expect("a sitemap").pages;
            let addresses: Vec<&str> = pages.iter().map(|p| p.address.as_str()).collect();
            assert_eq!(
                addresses,
                [
                    "https://a.test/?a=1&b=2",
                    "https://a.test/b",
                    "https://a.test/c?x=1&y=2"
                ]
            );
            assert_eq!(pages[0].modified, Some(1_767_319_445_000));
            assert_eq!(pages[1].modified, Some(1_767_398_399_000));
        }
    }

    #[test]
    fn the_name_space_may_have_a_prefix() {
        let list = b"<?xml version='1.0'?><sm:urlset xmlns:sm='http://www.sitemaps.org/schemas/sitemap/0.9'\
            \x20xmlns:image='http://www.google.com/schemas/sitemap-image/1.1'>\
            <sm:url><sm:loc>https://a.test/1</sm:loc><sm:lastmod>2026-01-02</sm:lastmod>\
            <image:image><image:loc>https://a.test/1.png</image:loc></image:image></sm:url>\
            <sm:url><sm:loc>https://a.test/2</sm:loc></sm:url></sm:urlset>";
        let pages = parse(list).expect("a sitemap").pages;
        let addresses: Vec<&str> = pages.iter().map(|p| p.address.as_str()).collect();
        assert_eq!(addresses, ["https://a.test/1", "https://a.test/2"]);
        assert!(pages[0].modified.is_some());
        let index = b"<s:sitemapindex xmlns:s='x'><s:sitemap><s:loc>https://a.test/1.xml</s:loc></s:sitemap></s:sitemapindex>";
        assert_eq!(
            parse(index).expect("an index").sitemaps,
            ["https://a.test/1.xml"]
        );
    }

    #[test]
    fn indexes_texts_and_feeds_are_read() {
        let index = parse(
            b"<sitemapindex><sitemap><loc>https://a.test/1.xml.gz</loc></sitemap></sitemapindex>",
        )
        .expect("an index");
        assert_eq!(index.sitemaps, ["https://a.test/1.xml.gz"]);
        assert_eq!(
            parse(b"https://a.test/1\r\nhttps://a.test/2\n")
                .expect("a list")
                .pages
                .len(),
            2
        );
        let rss = b"<rss version='2.0'><channel><title>t</title><link>https://a.test/</link><description>d</description><item><link>https://a.test/post</link></item></channel></rss>";
        assert_eq!(
            parse(rss).expect("a feed").pages[0].address,
            "https://a.test/post"
        );
    }

    #[test]
    fn other_things_are_none_and_damage_ends_the_list() {
        assert_eq!(
            parse(b"<!doctype html><html><body>Not found</body></html>"),
            None
        );
        assert_eq!(parse(b"just words"), None);
        let cut = &LIST[..LIST.find("2026-01-02</lastmod>").expect("there")];
        assert_eq!(parse(cut.as_bytes()).expect("the beginning").pages.len(), 1);
    }

    /// Third-party samples, if available: `CAIRN_TEST_SITEMAPS=…/sitemap`, a folder.
    #[test]
    fn samples_are_read() {
        let Some(folder) = std::env::var_os("CAIRN_TEST_SITEMAPS").map(std::path::PathBuf::from)
        else {
            return;
        };
        let read = |name: &str| {
            parse(&std::fs::read(folder.join(name)).expect("readable")).expect("a sitemap")
        };
        for (name, pages, sitemaps) in [
            ("sitemap.xml", 84, 0),
            ("sitemap.xml.gz", 84, 0),
            ("sitemap2.xml", 0, 2),
            ("sitemap-hreflang.xml", 4, 0),
            ("feed1.atom", 2, 0),
            ("feed2.rss", 1, 0),
            ("feed.json", 25, 0),
        ] {
            let found = read(name);
            assert_eq!(
                (found.pages.len(), found.sitemaps.len()),
                (pages, sitemaps),
                "{name}"
            );
        }
    }
}
