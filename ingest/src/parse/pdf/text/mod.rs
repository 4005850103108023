//! The text of PDF files, page by page in reading order, built on `hayro-syntax` and `hayro-font`.

mod annotations;
mod bidi;
mod blocks;
mod catalog;
mod charsets;
mod cmaps;
mod content;
mod directions;
mod fonts;
mod glyphs;
mod layers;
mod layout;
mod marks;
mod operands;
mod paths;
mod ruled;
mod streams;
mod tables;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_font::kurbo::Affine;
use hayro_syntax::object::{Array, Dict};
use hayro_syntax::page::Page as PdfPage;
use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

pub use self::catalog::Bookmark;
#[cfg(test)]
pub use self::write::Line;
pub use self::write::{Kind, Paragraph};

use self::content::Interpreter;
use self::fonts::Fonts;
use self::layers::Layers;

/// The text and structure of a file.
#[derive(Debug, Default)]
pub struct Read {
    pub title: Option<String>,
    pub outline: Vec<Bookmark>,
    pub pages: Vec<Page>,
    /// Pages with invisible text.
    pub hidden: Vec<u32>,
    /// Pages that could not be read completely.
    pub unread: Vec<u32>,
    /// Whether the file is an XFA form, which only some programs display.
    pub xfa: bool,
    pub warnings: Vec<String>,
}

/// A page of a file.
#[derive(Debug, Default)]
pub struct Page {
    pub number: u32,
    /// Printed page number, if it differs from the position.
    pub label: Option<String>,
    pub paragraphs: Vec<Paragraph>,
}

/// The reason why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A password is required.
    Password,
    /// The encryption is not supported.
    Encryption,
    /// Not a PDF, or too damaged to find its pages.
    Damaged,
    /// The compression filters are not supported.
    Compression(Vec<String>),
    /// All text is in fonts without a character mapping.
    UnknownCharacters(Vec<String>),
}

/// Reads a file.
///
/// # Errors
///
/// When it is locked, damaged beyond repair, or none of its content can be decoded. A file without text is not an error.
pub fn read(bytes: &[u8]) -> Result<Read, Trouble> {
    let bytes = bytes.to_vec();
    let opened =
        catch_unwind(AssertUnwindSafe(|| Pdf::new(bytes))).map_err(|_| Trouble::Damaged)?;
    let pdf = opened.map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => Trouble::Password,
        LoadPdfError::Decryption(_) => Trouble::Encryption,
        LoadPdfError::Invalid => Trouble::Damaged,
    })?;
    catch_unwind(AssertUnwindSafe(|| whole(&pdf))).unwrap_or(Err(Trouble::Damaged))
}

fn whole(pdf: &Pdf) -> Result<Read, Trouble> {
    let pages = pdf.pages();
    if pages.is_empty() {
        return Err(Trouble::Damaged);
    }
    let catalog = pdf
        .xref()
        .get::<Dict<'_>>(pdf.xref().root_id())
        .unwrap_or_default();
    let (fonts, layers) = (Fonts::new(), Layers::new(&catalog));
    let mut labels = catalog::labels(&catalog, pages.len());
    let mut read = Read {
        title: pdf.metadata().title.as_deref().map(streams::text_string),
        xfa: catalog::is_xfa(&catalog),
        ..Read::default()
    };
    let mut undecoded = BTreeSet::new();
    for (page, number) in pages.iter().zip(1..) {
        let label = labels.remove(&number);
        match catch_unwind(AssertUnwindSafe(|| page_of(page, &fonts, &layers))) {
            Ok(found) => {
                if found.hidden {
                    read.hidden.push(number);
                }
                if found.incomplete || !found.undecoded.is_empty() {
                    read.unread.push(number);
                }
                undecoded.extend(found.undecoded);
                read.pages.push(Page {
                    number,
                    label,
                    paragraphs: found.paragraphs,
                });
            }
            Err(_) => read.unread.push(number),
        }
    }
    read.outline = catalog::outline(&catalog, pages);
    let untold = fonts.untold();
    let empty = read.pages.iter().all(|p| p.paragraphs.is_empty());
    let unknown: Vec<String> = undecoded
        .iter()
        .filter(|name| *name != streams::DAMAGED)
        .cloned()
        .collect();
    if empty && !unknown.is_empty() {
        return Err(Trouble::Compression(unknown));
    }
    if empty && !untold.is_empty() {
        return Err(Trouble::UnknownCharacters(untold.into_keys().collect()));
    }
    if empty && !read.unread.is_empty() {
        return Err(Trouble::Damaged);
    }
    let mut all: Vec<&mut Paragraph> = read
        .pages
        .iter_mut()
        .flat_map(|p| &mut p.paragraphs)
        .collect();
    write::mend_divided(&mut all);
    read.warnings = warnings(&undecoded, &untold);
    Ok(read)
}

fn warnings(undecoded: &BTreeSet<String>, untold: &BTreeMap<String, usize>) -> Vec<String> {
    let mut warnings = Vec::new();
    if !undecoded.is_empty() {
        let names: Vec<&str> = undecoded.iter().map(String::as_str).collect();
        warnings.push(format!(
            "parts of the file could not be decompressed ({})",
            names.join(", ")
        ));
    }
    let lost: usize = untold.values().sum();
    if lost > 20 {
        let names: Vec<&str> = untold.keys().take(5).map(String::as_str).collect();
        warnings.push(format!(
            "{lost} characters were skipped because their fonts do not map them to Unicode ({})",
            names.join(", ")
        ));
    }
    warnings
}

/// The content found on a page.
struct Found {
    paragraphs: Vec<Paragraph>,
    hidden: bool,
    incomplete: bool,
    undecoded: BTreeSet<String>,
}

fn page_of<'a>(page: &PdfPage<'a>, fonts: &Fonts<'a>, layers: &Layers) -> Found {
    let base = Affine::new(page.initial_transform(true).as_coeffs());
    let mut interpreter = Interpreter::new(fonts, layers, base);
    let mut undecoded = BTreeSet::new();
    let content = streams::page_content(page.raw(), &mut undecoded);
    interpreter.run(&content, page.resources(), 0);
    let mut shown = std::mem::take(&mut interpreter.shown);
    let mut added = page
        .raw()
        .get::<Array<'a>>(b"Annots")
        .map(|list| {
            annotations::read(
                &list,
                &mut interpreter,
                page.resources(),
                base,
                &shown.glyphs,
            )
        })
        .unwrap_or_default();
    shown.glyphs.append(&mut added.placed);
    let prepare = |mut glyphs| {
        glyphs::normalise(&mut glyphs);
        glyphs::without_overprints(glyphs)
    };
    let glyphs = prepare(shown.glyphs);
    let hidden = glyphs.iter().any(|g| g.hidden && !g.is_space());
    let width = page.render_dimensions().0;
    let mut paragraphs = blocks::paragraphs(glyphs, &shown.rules, width);
    for above in added.above {
        paragraphs.extend(blocks::paragraphs(prepare(above), &[], width));
    }
    let body = letters(paragraphs.iter().map(|p| p.text.as_str()));
    for note in added.notes {
        // Comments on marked text often repeat it.
        if !body.contains(&letters([note.as_str()].into_iter())) {
            paragraphs.push(Paragraph::note(&note));
        }
    }
    undecoded.append(&mut shown.undecoded);
    undecoded.append(&mut interpreter.shown.undecoded);
    Found {
        paragraphs,
        hidden,
        incomplete: shown.cut || interpreter.shown.cut,
        undecoded,
    }
}

fn letters<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    texts
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}
