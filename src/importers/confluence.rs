//! Exports of a Confluence space as HTML: an archive with a file for each page and a folder of attachments. Of a page, its title and its content are taken, without the navigation
//! around them.

use std::path::Path;

use scraper::{Html, Selector};
use serde_json::{Map, Value};

use super::archive::{Entry, attachment, entries, split};
use super::{Content, Imported, Report, file_name};
use crate::error::{Error, Result};

/// Folders of what pages look like.
const DECORATION: [&str; 2] = ["images", "styles"];

pub(super) fn read(path: &Path, each: &mut dyn FnMut(Imported) -> Result<()>) -> Result<Report> {
    let mut report = Report::default();
    let mut pages = 0;
    entries(path, &mut report, &mut |entry, report| {
        let (folder, file) = split(&entry.path);
        let inside: Vec<&str> = folder.split('/').collect();
        if inside.iter().any(|part| DECORATION.contains(part)) || file == "index.html" {
            report.skip("is no page", &entry.path);
            return Ok(());
        }
        let (id, file, place) = (page_id(file), file.to_owned(), entry.path.clone());
        match id {
            Some(id) if file.ends_with(".html") && !inside.contains(&"attachments") => {
                pages += 1;
                page(&entry, id, report, each)
            }
            _ => attachment(entry, place, file, report, each),
        }
    })?;
    if pages == 0 {
        return Err(Error::invalid(
            "import_empty",
            format!(
                "{} contains no page; export the space as HTML",
                path.display()
            ),
        ));
    }
    Ok(report)
}

/// Returns the id in the name of a page: `Title_123456.html` or `123456.html`.
fn page_id(file: &str) -> Option<String> {
    let stem = file.strip_suffix(".html")?;
    let id = stem.rsplit_once('_').map_or(stem, |(_, id)| id);
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    is_id.then(|| id.to_owned())
}

/// Returns the first element that a selector finds.
fn first<'h>(html: &'h Html, selector: &str) -> Option<scraper::ElementRef<'h>> {
    let selector = Selector::parse(selector).ok()?;
    html.select(&selector).next()
}

fn page(
    entry: &Entry,
    id: String,
    report: &mut Report,
    each: &mut dyn FnMut(Imported) -> Result<()>,
) -> Result<()> {
    let html = Html::parse_document(&String::from_utf8_lossy(&entry.bytes));
    let text = |selector: &str| {
        let found = first(&html, selector)?.text().collect::<String>();
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        (!found.is_empty()).then_some(found)
    };
    // The title is that of the space, a colon, and that of the page.
    let whole = text("title").unwrap_or_else(|| id.clone());
    let (space, title) = whole
        .split_once(" : ")
        .map_or((None, whole.as_str()), |(space, title)| {
            (Some(space), title)
        });
    let Some(content) = first(&html, "#main-content").or_else(|| first(&html, "#content")) else {
        report.skip("has no content", &entry.path);
        return Ok(());
    };
    if content.text().all(|text| text.trim().is_empty()) {
        report.skip("is empty", &entry.path);
        return Ok(());
    }
    let mut metadata = Map::new();
    for (name, value) in [
        ("space", space.map(str::to_owned)),
        ("author", text(".page-metadata .author")),
        ("editor", text(".page-metadata .editor")),
    ] {
        if let Some(value) = value {
            report.map(name, &format!("metadata.{name}"));
            metadata.insert(name.to_owned(), Value::String(value));
        }
    }
    let heading = html_escape::encode_text(title);
    let document = format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><title>{heading}</title></head><body><h1>{heading}</h1>{}</body></html>",
        content.inner_html()
    );
    report.documents += 1;
    each(Imported {
        name: file_name(title, ".html"),
        id,
        title: Some(title.to_owned()),
        url: None,
        metadata,
        content: Content::File(document.into_bytes()),
        enabled: true,
    })
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::archive;
    use super::*;

    #[test]
    fn of_a_page_title_and_content_are_taken() {
        let page = b"<html><head><title>Sea : Tides &amp; ebb</title></head><body><div id=\"breadcrumbs\">Home</div>
            <div class=\"page-metadata\">Created by <span class='author'> Ada Holm</span></div>
            <div id=\"main-content\"><p>Tides <b>lag</b>.</p></div><div id=\"footer\">Generated</div></body></html>";
        let files: &[(&str, &[u8])] = &[
            ("SEA/Tides_131.html", page),
            ("SEA/index.html", b"<html></html>"),
            ("SEA/styles/site.css", b"p {}"),
            ("SEA/attachments/131/notes.txt", b"Attached."),
        ];
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("space.zip");
        std::fs::write(&path, archive(files)).expect("writable");
        let mut found = Vec::new();
        let report = read(&path, &mut |imported| {
            found.push(imported);
            Ok(())
        })
        .expect("readable");
        let (page, notes) = (&found[0], &found[1]);
        assert_eq!(
            (page.id.as_str(), page.name.as_str()),
            ("131", "Tides & ebb.html")
        );
        assert_eq!(
            (&page.metadata["space"], &page.metadata["author"]),
            (&"Sea".into(), &"Ada Holm".into())
        );
        let Content::File(bytes) = &page.content else {
            panic!("a file");
        };
        let text = String::from_utf8_lossy(bytes);
        assert!(
            text.contains("<b>lag</b>") && !text.contains("Generated"),
            "{text}"
        );
        assert_eq!(notes.name, "notes.txt");
        assert_eq!((report.documents, report.skipped["is no page"].0), (2, 2));
    }
}
