//! Markdown: the text is kept; headings, title and front matter are parsed.

use pulldown_cmark::{Event, HeadingLevel, MetadataBlockKind, Options, Parser, Tag, TagEnd};

use super::{Input, ParseError, text};
use crate::document::{Document, Heading, Table, normalise};

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let (text, warnings) = text::decode(input.bytes, None);
    Ok(Document {
        warnings,
        ..from_text(without_comments(&normalise(&text)), "markdown")
    })
}

/// Removes comments, except those in code.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of many events only those of HTML matter"
)]
fn without_comments(text: &str) -> String {
    let mut gone: Vec<std::ops::Range<usize>> = Vec::new();
    let mut open: Option<usize> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Html(_) | Event::InlineHtml(_) => {
                let mut at = range.start;
                while at < range.end {
                    match open {
                        None => match text[at..range.end].find("<!--") {
                            Some(found) => {
                                open = Some(at + found);
                                at += found + 4;
                            }
                            None => break,
                        },
                        Some(start) => match text[at..range.end].find("-->") {
                            Some(found) => {
                                gone.push(start..at + found + 3);
                                open = None;
                                at += found + 3;
                            }
                            None => break,
                        },
                    }
                }
            }
            Event::End(TagEnd::HtmlBlock) => open = None,
            _ => {}
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for comment in gone {
        out.push_str(&text[at..comment.start]);
        // A comment on lines of its own is removed with its line breaks.
        let alone = out.is_empty() || out.ends_with('\n');
        at = comment.end + usize::from(alone && text[comment.end..].starts_with('\n'));
    }
    out.push_str(&text[at..]);
    out
}

/// Parses the structure of Markdown text. Front matter is removed from the text; its title is used.
pub(super) fn from_text(text: String, engine: &str) -> Document {
    let (front, body) = split_front_matter(&text);
    let title = front.as_deref().and_then(front_title);
    let document = from_blocks(body.to_owned(), engine);
    Document {
        title: title.or(document.title),
        ..document
    }
}

/// Parses the structure of generated Markdown text, which has no front matter.
pub(super) fn from_blocks(text: String, engine: &str) -> Document {
    let (headings, tables) = structure(&text);
    Document {
        title: headings
            .iter()
            .find(|h| h.level == 1)
            .map(|h| h.title.clone()),
        headings,
        tables,
        engine: engine.to_owned(),
        text,
        ..Document::default()
    }
}

/// Parses the headings and tables of a text.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of many events only those of headings and tables matter"
)]
pub(super) fn structure(text: &str) -> (Vec<Heading>, Vec<Table>) {
    let mut found: Vec<Heading> = Vec::new();
    let mut tables: Vec<Table> = Vec::new();
    let mut inside = false;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                inside = true;
                found.push(Heading {
                    start: range.start,
                    end: range.end,
                    level: depth(level),
                    title: String::new(),
                });
            }
            Event::End(TagEnd::Heading(_)) => inside = false,
            Event::Text(part) | Event::Code(part) if inside => {
                if let Some(heading) = found.last_mut() {
                    heading.title.push_str(&part);
                }
            }
            Event::SoftBreak if inside => {
                if let Some(heading) = found.last_mut() {
                    heading.title.push(' ');
                }
            }
            Event::Start(Tag::Table(_)) => tables.push(Table {
                start: range.start,
                end: range.end,
                body: range.end,
                rows: Vec::new(),
            }),
            Event::Start(Tag::TableRow) => {
                if let Some(table) = tables.last_mut() {
                    if table.rows.is_empty() {
                        table.body = range.start;
                    }
                    table.rows.push((range.start, range.end));
                }
            }
            _ => {}
        }
    }
    found.retain(|h| !h.title.trim().is_empty());
    (found, tables)
}

fn depth(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// Splits off the front matter (YAML between `---`, TOML between `+++`).
fn split_front_matter(text: &str) -> (Option<String>, &str) {
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut events = Parser::new_ext(text, options).into_offset_iter();
    match events.next() {
        Some((
            Event::Start(Tag::MetadataBlock(
                MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle,
            )),
            range,
        )) if text[..range.start].trim().is_empty() => {
            let content = text[range.clone()].to_owned();
            (Some(content), text[range.end..].trim_start_matches('\n'))
        }
        _ => (None, text),
    }
}

/// Returns the `title` entry of YAML (`title: x`) or TOML (`title = "x"`) front matter; nested structure is not parsed.
fn front_title(front: &str) -> Option<String> {
    let line = front
        .lines()
        .find_map(|l| l.strip_prefix("title"))?
        .trim_start();
    let value = line.strip_prefix([':', '='])?.trim();
    let bare = value.trim_matches(['"', '\'']).trim();
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_carry_plain_titles_and_exact_ranges() {
        let document = from_text(
            "# The `main` *job*\n\ntext\n\nSecond\n------\n\n```\n# not a heading\n```\n"
                .to_owned(),
            "markdown",
        );
        let titles: Vec<_> = document
            .headings
            .iter()
            .map(|h| (h.level, h.title.as_str()))
            .collect();
        assert_eq!(titles, [(1, "The main job"), (2, "Second")]);
        assert_eq!(document.title.as_deref(), Some("The main job"));
        assert!(document.text[document.headings[1].start..].starts_with("Second\n---"));
    }

    #[test]
    fn front_matter_gives_the_title_and_leaves_the_text() {
        let document = from_text(
            "---\ntitle: \"Release notes\"\ndraft: true\n---\n\n# Other\ntext".to_owned(),
            "markdown",
        );
        assert_eq!(document.title.as_deref(), Some("Release notes"));
        assert!(document.text.starts_with("# Other"), "{:?}", document.text);
        assert_eq!(document.headings[0].start, 0);
    }
}
