//! Documents of the guide as HTML: headings that can be linked to, and links between the documents.

use std::collections::HashMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::documents;

/// Address of the guide.
pub(super) const GUIDE: &str = "/docs/guide";
/// The only picture in the documents.
pub(super) const SCREENSHOT: &str = "src/api/sandbox/screenshot.png";

/// A part of a document below a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// 1 for the title.
    pub(super) level: u8,
    /// Id of the heading.
    pub(super) id: String,
    pub(super) heading: String,
    /// Plain text.
    pub(super) text: String,
}

/// A document as a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) html: String,
    pub(super) sections: Vec<Section>,
}

impl Rendered {
    /// Returns the title: the first heading.
    pub(super) fn title(&self) -> &str {
        self.sections
            .first()
            .map_or("Guide", |first| &first.heading)
    }
}

/// Renders the document with a path.
pub(super) fn render(path: &str, markdown: &str) -> Rendered {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events: Vec<Event<'_>> = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    // Where the heading that is open begins, and whether the links and pictures that are open lead somewhere.
    let (mut heading, mut open) = (None, Vec::new());
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some(events.len());
                sections.push(Section {
                    level: level as u8,
                    id: String::new(),
                    heading: String::new(),
                    text: String::new(),
                });
                events.push(start(level, None));
            }
            Event::End(TagEnd::Heading(level)) => {
                if let (Some(at), Some(section)) = (heading.take(), sections.last_mut()) {
                    section.id = id(&section.heading, &mut ids);
                    events[at] = start(level, Some(section.id.clone()));
                }
                events.push(Event::End(TagEnd::Heading(level)));
            }
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                let address = address(path, &dest_url);
                open.push(address.is_some());
                if let Some(address) = address {
                    events.push(Event::Start(Tag::Link {
                        link_type,
                        dest_url: address.into(),
                        title,
                        id,
                    }));
                }
            }
            Event::Start(Tag::Image {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                let is_known = resolve(path, &dest_url) == SCREENSHOT;
                open.push(is_known);
                if is_known {
                    events.push(Event::Start(Tag::Image {
                        link_type,
                        dest_url: format!("{GUIDE}/{SCREENSHOT}").into(),
                        title,
                        id,
                    }));
                }
            }
            Event::End(end @ (TagEnd::Link | TagEnd::Image)) => {
                if open.pop() == Some(true) {
                    events.push(Event::End(end));
                }
            }
            // The documents contain no markup; what looks like it is a text.
            Event::Html(markup) | Event::InlineHtml(markup) => {
                note(&mut sections, heading.is_some(), &markup);
                events.push(Event::Text(markup));
            }
            Event::Text(text) => {
                note(&mut sections, heading.is_some(), &text);
                events.push(Event::Text(text));
            }
            Event::Code(text) => {
                note(&mut sections, heading.is_some(), &text);
                events.push(Event::Code(text));
            }
            event @ (Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_)) => {
                if let (false, Some(section)) = (heading.is_some(), sections.last_mut()) {
                    section.text.push(' ');
                }
                events.push(event);
            }
        }
    }
    let mut page = String::new();
    html::push_html(&mut page, events.into_iter());
    // Wide tables scroll by themselves.
    let html = page
        .replace("<table>", "<div class=\"wide\" tabindex=\"0\"><table>")
        .replace("</table>", "</table></div>");
    Rendered { html, sections }
}

fn start(level: HeadingLevel, id: Option<String>) -> Event<'static> {
    Event::Start(Tag::Heading {
        level,
        id: id.map(CowStr::from),
        classes: Vec::new(),
        attrs: Vec::new(),
    })
}

/// Adds a text to the heading or the text of the last section.
fn note(sections: &mut [Section], is_heading: bool, text: &str) {
    if let Some(section) = sections.last_mut() {
        if is_heading {
            section.heading.push_str(text);
        } else {
            section.text.push_str(text);
        }
    }
}

/// Returns the id of a heading as code hosts make it: lower case, hyphens for spaces, without punctuation, numbered when it occurs again.
fn id(heading: &str, ids: &mut HashMap<String, usize>) -> String {
    let kept = heading.trim().to_lowercase();
    let kept: String = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    let count = ids.entry(kept.clone()).or_default();
    *count += 1;
    match *count {
        1 => kept,
        n => format!("{kept}-{}", n - 1),
    }
}

/// Returns a path in the repository from a reference in a document.
fn resolve(path: &str, reference: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the address of a link; `None` for files of the repository that are not in the guide.
fn address(path: &str, reference: &str) -> Option<String> {
    if reference.starts_with('#')
        || reference.starts_with("https://")
        || reference.starts_with("http://")
    {
        return Some(reference.to_owned());
    }
    let (file, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let document = documents::find(&resolve(path, file))?;
    let fragment = if fragment.is_empty() {
        String::new()
    } else {
        format!("#{fragment}")
    };
    Some(format!("{GUIDE}/{}{fragment}", document.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_can_be_linked_to() {
        let page = render("README.md", "# A `b` & C\n\nText.\n\n## More\n\n## More\n");
        assert!(page.html.contains("<h1 id=\"a-b--c\">"), "{}", page.html);
        assert!(page.html.contains("id=\"more\"") && page.html.contains("id=\"more-1\""));
        assert_eq!(page.title(), "A b & C");
        assert_eq!(page.sections[0].text.trim(), "Text.");
    }

    #[test]
    fn links_between_documents_stay_in_the_guide() {
        let page = render(
            "src/cli/README.md",
            "[a](../search/README.md#calibration) [b](../../deploy/) [c](mod.rs) [d](https://x.example)",
        );
        assert!(
            page.html
                .contains("\"/docs/guide/src/search/README.md#calibration\""),
            "{}",
            page.html
        );
        assert!(page.html.contains("\"/docs/guide/deploy/README.md\""));
        assert!(page.html.contains(" c ") && page.html.contains("https://x.example"));
    }

    #[test]
    fn markup_is_text() {
        let page = render("README.md", "<script>alert(1)</script>");
        assert!(!page.html.contains("<script>"), "{}", page.html);
    }

    #[test]
    fn every_link_to_a_heading_finds_it() {
        let pages: HashMap<&str, Rendered> = documents::all()
            .map(|document| (document.path, render(document.path, document.text)))
            .collect();
        let links = regex::Regex::new("href=\"([^\"]*)#([^\"]+)\"").expect("a pattern");
        for (path, page) in &pages {
            for link in links.captures_iter(&page.html) {
                let target = link[1].strip_prefix("/docs/guide/");
                if link[1].starts_with("http") {
                    continue;
                }
                let target = target.unwrap_or(path);
                let known = pages[target]
                    .sections
                    .iter()
                    .any(|section| section.id == link[2]);
                assert!(known, "{path} links to {target}#{}", &link[2]);
            }
        }
    }
}
