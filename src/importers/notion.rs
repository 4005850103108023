//! Exports of Notion as Markdown and CSV: an archive, often of archives. Pages and databases carry their id at the end of their names, and pages of a database begin with the
//! properties of their row.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::archive::{Entry, attachment, entries, split};
use super::{Content, Imported, Report};
use crate::error::{Error, Result};

/// Digits of an id.
const ID: usize = 32;
/// End of the name of a database with all of its rows; the file without it has those of the current view.
const WHOLE: &str = "_all.csv";

pub(super) fn read(path: &Path, each: &mut dyn FnMut(Imported) -> Result<()>) -> Result<Report> {
    let mut report = Report::default();
    // Names of databases first, since the whole one may come after its view.
    let mut whole: HashSet<String> = HashSet::new();
    entries(path, &mut Report::default(), &mut |entry, _| {
        whole.extend(entry.path.strip_suffix(WHOLE).map(str::to_owned));
        Ok(())
    })?;
    entries(path, &mut report, &mut |entry, report| {
        let view = entry.path.strip_suffix(".csv");
        if view.is_some_and(|name| whole.contains(name)) {
            report.skip(
                "is a view of a database that is imported as a whole",
                &entry.path,
            );
            return Ok(());
        }
        one(entry, report, each)
    })?;
    if report.documents == 0 {
        return Err(Error::invalid(
            "import_empty",
            format!(
                "{} contains no page; export as Markdown & CSV",
                path.display()
            ),
        ));
    }
    Ok(report)
}

fn one(
    entry: Entry,
    report: &mut Report,
    each: &mut dyn FnMut(Imported) -> Result<()>,
) -> Result<()> {
    let (folder, file) = split(&entry.path);
    let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    let stem = stem.strip_suffix("_all").unwrap_or(stem);
    let (title, id) = named(stem);
    let folders: Vec<&str> = folder.split('/').map(|part| named(part).0).collect();
    let clean = |name: &str| {
        let parts = folders.iter().copied().filter(|part| !part.is_empty());
        parts.chain([name]).collect::<Vec<_>>().join("/")
    };
    let (Some(id), "md") = (id, extension) else {
        let name = clean(&format!("{title}.{extension}"));
        let id = id.map_or_else(|| entry.path.clone(), str::to_owned);
        return attachment(entry, id, name, report, each);
    };
    let text = String::from_utf8_lossy(&entry.bytes);
    if text.trim().is_empty() {
        report.skip("is empty", &entry.path);
        return Ok(());
    }
    let metadata = properties(&text);
    for name in metadata.keys() {
        report.map(name, &format!("metadata.{name}"));
    }
    report.documents += 1;
    each(Imported {
        id: id.to_owned(),
        name: clean(&format!("{title}.md")),
        title: Some(title.to_owned()),
        url: Some(format!("https://www.notion.so/{id}")),
        metadata,
        content: Content::File(entry.bytes),
        enabled: true,
    })
}

/// Splits a name into the title and the id at its end.
fn named(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(' ') {
        Some((title, id)) if id.len() == ID && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            (title, Some(id))
        }
        _ => (name, None),
    }
}

/// Returns the properties below the heading of a page: lines with a name, a colon and a value, up to the next empty line.
fn properties(text: &str) -> Map<String, Value> {
    let mut lines = text.lines();
    let is_page = lines.next().is_some_and(|first| first.starts_with("# "));
    if !is_page || lines.next().is_none_or(|second| !second.is_empty()) {
        return Map::new();
    }
    let mut found = Map::new();
    for line in lines.take_while(|line| !line.trim().is_empty()) {
        match line.split_once(": ") {
            Some((name, value)) if !name.is_empty() && name.chars().count() <= 60 => {
                found.insert(name.to_owned(), Value::String(value.trim().to_owned()));
            }
            // The first paragraph of a page without properties.
            _ => return Map::new(),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::archive::tests::archive;
    use super::*;

    const ID_A: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn pages_lose_the_ids_in_their_names_and_keep_them_as_ids() {
        let page = format!("Handbook {ID_A}/Tides {ID_A}.md");
        let row = "# Tides\n\nOwner: Ada Holm\nStatus: In progress\n\nTides lag.\n";
        let database = format!("Tasks {ID_A}.csv");
        let whole = format!("Tasks {ID_A}_all.csv");
        let inner = archive(&[
            (&page, row.as_bytes()),
            (&database, b"Name\nOne\n"),
            (&whole, b"Name\nOne\nTwo\n"),
            ("Handbook/plan.bin", &[0, 1, 2]),
        ]);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Export.zip");
        std::fs::write(&path, archive(&[("Export-Part-1.zip", &inner)])).expect("writable");
        let mut found = Vec::new();
        let report = read(&path, &mut |imported| {
            found.push(imported);
            Ok(())
        })
        .expect("readable");
        assert_eq!(found.len(), 2);
        let page = &found[0];
        assert_eq!(
            (page.name.as_str(), page.id.as_str()),
            ("Handbook/Tides.md", ID_A)
        );
        assert_eq!(
            json!(page.metadata),
            json!({"Owner": "Ada Holm", "Status": "In progress"})
        );
        assert_eq!(found[1].name, "Tasks.csv");
        assert_eq!(
            found[1].content,
            Content::File(b"Name\nOne\nTwo\n".to_vec())
        );
        assert_eq!(report.skipped.len(), 2);
    }

    #[test]
    fn a_paragraph_is_no_property() {
        assert!(properties("# Tides\n\nNote: read this.\nAnd that.\n").is_empty());
        assert!(properties("# Tides\nNo: empty line\n").is_empty());
    }
}
