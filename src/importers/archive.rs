//! Archives of files: their entries one by one, and those of archives inside them, as services split large exports.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use cairn_ingest::Input;
use cairn_ingest::parse::detect;
use serde_json::Map;
use zip::ZipArchive;

use super::{Content, Imported, Report, unreadable};
use crate::error::{Error, Result};

/// Largest entry, in bytes: a larger one is left out.
const ENTRY: u64 = 512 << 20;
/// Archives inside archives that are opened.
const DEPTH: usize = 2;

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// Path with slashes.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

/// Passes on every file of an archive; files that are too large are counted in the report.
pub(super) fn entries(
    path: &Path,
    report: &mut Report,
    each: &mut dyn FnMut(Entry, &mut Report) -> Result<()>,
) -> Result<()> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|e| unreadable(&place, &e))?;
    walk(&place, file, DEPTH, report, each)
}

fn walk(
    place: &str,
    file: File,
    depth: usize,
    report: &mut Report,
    each: &mut dyn FnMut(Entry, &mut Report) -> Result<()>,
) -> Result<()> {
    let mut archive = ZipArchive::new(file).map_err(|e| unreadable(place, &e))?;
    for number in 0..archive.len() {
        let mut entry = archive
            .by_index(number)
            .map_err(|e| unreadable(place, &e))?;
        let name = entry.name().map_err(|e| unreadable(place, &e))?;
        let path = name.replace('\\', "/");
        if entry.is_dir() || is_hidden(&path) {
            continue;
        }
        if path.to_lowercase().ends_with(".zip") && depth > 0 {
            let mut inner = tempfile::tempfile()?;
            let copied = std::io::copy(&mut entry.by_ref().take(8 * ENTRY), &mut inner);
            copied.map_err(|e| unreadable(&path, &e))?;
            drop(entry);
            inner.seek(SeekFrom::Start(0))?;
            walk(&path, inner, depth - 1, report, each)?;
            continue;
        }
        let mut bytes = Vec::new();
        let read = entry.by_ref().take(ENTRY + 1).read_to_end(&mut bytes);
        read.map_err(|e| unreadable(&path, &e))?;
        if bytes.len() as u64 > ENTRY {
            report.skip("is too large", &path);
            continue;
        }
        each(Entry { path, bytes }, report)?;
    }
    Ok(())
}

/// Returns whether a path belongs to an operating system and not to the export.
fn is_hidden(path: &str) -> bool {
    path.split('/')
        .any(|part| part.starts_with('.') || part == "__MACOSX")
}

/// Returns the last part of a path, and what comes before it without a slash at its end.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/')
        .map_or(("", path), |(folder, name)| (folder, name))
}

/// Passes on a file as it is, if it is of a kind that can be parsed.
pub(super) fn attachment(
    entry: Entry,
    id: String,
    name: String,
    report: &mut Report,
    each: &mut dyn FnMut(Imported) -> Result<()>,
) -> Result<()> {
    let input = Input {
        file_name: &name,
        bytes: &entry.bytes,
        ..Input::default()
    };
    if let Err(error) = detect(&input) {
        report.skip(&error.to_string(), &entry.path);
        return Ok(());
    }
    if entry.bytes.iter().all(u8::is_ascii_whitespace) {
        report.skip("is empty", &entry.path);
        return Ok(());
    }
    report.documents += 1;
    each(Imported {
        id,
        name,
        title: None,
        url: None,
        metadata: Map::new(),
        content: Content::File(entry.bytes),
        enabled: true,
    })
}

/// Reads an archive of files that are documents as they are.
pub(super) fn read(path: &Path, each: &mut dyn FnMut(Imported) -> Result<()>) -> Result<Report> {
    let mut report = Report::default();
    entries(path, &mut report, &mut |entry, report| {
        let path = entry.path.clone();
        attachment(entry, path.clone(), path, report, each)
    })?;
    if report.documents == 0 {
        return Err(Error::invalid(
            "import_empty",
            format!("{} contains no file that can be read", path.display()),
        ));
    }
    Ok(report)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Returns an archive with files.
    pub(in crate::importers) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in files {
            let options = SimpleFileOptions::default();
            writer.start_file(*name, options).expect("a file");
            writer.write_all(bytes).expect("writable");
        }
        writer.finish().expect("finished").into_inner()
    }

    #[test]
    fn files_are_documents_and_others_are_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("knowledge.zip");
        let inner = archive(&[("notes.txt", b"Inside.")]);
        let files: &[(&str, &[u8])] = &[
            ("tides.txt", b"Tides lag."),
            ("part-1.zip", &inner),
            ("__MACOSX/x.txt", b"none"),
            ("logo.bin", &[0, 1, 2, 3]),
        ];
        std::fs::write(&path, archive(files)).expect("writable");
        let mut names = Vec::new();
        let report = read(&path, &mut |imported| {
            names.push(imported.name);
            Ok(())
        })
        .expect("readable");
        assert_eq!(names, ["tides.txt", "notes.txt"]);
        assert_eq!((report.documents, report.skipped.len()), (2, 1));
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.zip");
        std::fs::write(&path, "no archive").expect("writable");
        let error = read(&path, &mut |_| Ok(())).expect_err("unreadable");
        assert_eq!(error.code(), "import_unreadable");
    }
}
