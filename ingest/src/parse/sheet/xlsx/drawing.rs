//! Objects of a sheet: comments, text boxes, diagrams, titles of charts.

use std::collections::{HashMap, HashSet};

use super::package::Package;
use crate::parse::sheet::stream::unescape;
use crate::parse::sheet::{Comment, Sheet};
use crate::parse::tree::{self, Element};

/// Authors of threaded comments by id.
pub(super) type Persons = HashMap<String, String>;

pub(super) fn persons(package: &mut Package<'_>, path: Option<&str>) -> Persons {
    let root = path
        .and_then(|p| package.text(p))
        .and_then(|xml| tree::read(&xml).ok());
    let list = root.as_ref().and_then(|r| r.find("personList"));
    list.into_iter()
        .flat_map(Element::elements)
        .filter_map(|p| {
            let (id, name) = (p.attribute("id")?, p.attribute("displayName")?);
            Some((id.to_owned(), name.to_owned()))
        })
        .collect()
}

/// Reads all objects that the sheet's relations reference.
pub(super) fn read(package: &mut Package<'_>, part: &str, persons: &Persons, sheet: &mut Sheet) {
    let relations = package.relations(part);
    let of_kind = |kind: &'static str| relations.iter().filter(move |r| r.kind == kind);
    for relation in of_kind("threadedComment") {
        if let Some(root) = package
            .text(&relation.target)
            .and_then(|x| tree::read(&x).ok())
        {
            threads(&root, persons, &mut sheet.comments);
        }
    }
    // A threaded comment also has a legacy note for older programs.
    let threaded: HashSet<String> = sheet.comments.iter().map(|c| c.cell.clone()).collect();
    for relation in of_kind("comments") {
        if let Some(root) = package
            .text(&relation.target)
            .and_then(|x| tree::read(&x).ok())
        {
            notes(&root, &threaded, &mut sheet.comments);
        }
    }
    for relation in of_kind("drawing") {
        if let Some(root) = package
            .text(&relation.target)
            .and_then(|x| tree::read(&x).ok())
        {
            drawing(package, &relation.target, &root, &mut sheet.texts);
        }
    }
}

fn threads(root: &Element, persons: &Persons, comments: &mut Vec<Comment>) {
    let list = root.find("ThreadedComments");
    for comment in list.into_iter().flat_map(Element::elements) {
        let text = comment.find("text").map(Element::text).unwrap_or_default();
        let author = comment.attribute("personId").and_then(|id| persons.get(id));
        if let (Some(cell), false) = (comment.attribute("ref"), text.trim().is_empty()) {
            comments.push(Comment {
                cell: cell.to_owned(),
                text: author.map_or_else(|| text.clone(), |a| format!("{a}: {text}")),
            });
        }
    }
}

fn notes(root: &Element, threaded: &HashSet<String>, comments: &mut Vec<Comment>) {
    let list = root.find("commentList");
    for comment in list.into_iter().flat_map(Element::elements) {
        let Some(cell) = comment.attribute("ref").filter(|c| !threaded.contains(*c)) else {
            continue;
        };
        let mut raw = String::new();
        texts(comment, &["t"], &["rPh"], &mut |t| raw.push_str(&t.text()));
        let mut text = String::new();
        unescape(&raw, &mut text);
        if !text.trim().is_empty() {
            comments.push(Comment {
                cell: cell.to_owned(),
                text,
            });
        }
    }
}

/// Calls `found` for each element with one of the names, in order, skipping others.
fn texts(element: &Element, names: &[&str], skip: &[&str], found: &mut impl FnMut(&Element)) {
    for child in element.elements() {
        if names.contains(&child.name.as_str()) {
            found(child);
        } else if !skip.contains(&child.name.as_str()) {
            texts(child, names, skip, found);
        }
    }
}

fn drawing(package: &mut Package<'_>, part: &str, root: &Element, out: &mut Vec<String>) {
    let relations = package.relations(part);
    let target = |e: &Element, name: &str| {
        let id = e.attribute(name)?;
        Some(relations.iter().find(|r| r.id == id)?.target.clone())
    };
    let mut linked: Vec<String> = Vec::new();
    // The fallback repeats content for older programs.
    texts(
        root,
        &["txBody", "chart", "relIds"],
        &["Fallback"],
        &mut |e| match e.name.as_str() {
            "txBody" => out.extend(paragraphs(e)),
            "chart" => linked.extend(target(e, "id")),
            _ => linked.extend(target(e, "dm")),
        },
    );
    for path in linked {
        let Some(root) = package.text(&path).and_then(|x| tree::read(&x).ok()) else {
            continue;
        };
        if let Some(chart) = root.find("chartSpace") {
            out.extend(titles(chart));
        } else {
            texts(&root, &["t"], &["Fallback"], &mut |t| {
                out.extend(paragraphs(t))
            });
        }
    }
}

/// Returns the paragraphs of a text body; the text of a paragraph may be split into runs.
fn paragraphs(body: &Element) -> Vec<String> {
    let mut lines = Vec::new();
    texts(body, &["p"], &[], &mut |p| {
        let mut line = String::new();
        texts(p, &["t", "br"], &[], &mut |t| {
            if t.name == "br" {
                line.push('\n');
            } else {
                line.push_str(&t.text());
            }
        });
        if !line.trim().is_empty() {
            lines.push(line);
        }
    });
    lines
}

/// Returns the titles of a chart and its axes, on one line.
fn titles(chart: &Element) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    texts(chart, &["title"], &["Fallback"], &mut |title| {
        let mut text = String::new();
        texts(title, &["p", "strCache"], &[], &mut |part| {
            texts(part, &["t", "v"], &[], &mut |t| text.push_str(&t.text()));
            text.push(' ');
        });
        let text = text.trim();
        if !text.is_empty() {
            found.push(text.to_owned());
        }
    });
    (!found.is_empty()).then(|| format!("Chart: {}", found.join("; ")))
}
