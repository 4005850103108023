//! `/docs/guide`: the documents of the repository as pages, with search. They need no key, no scripts and no network.

mod documents;
mod find;
mod render;

use std::fmt::Write;

use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Json, Router};
use html_escape::{encode_double_quoted_attribute as attribute, encode_text as text};
use serde::Deserialize;
use serde_json::json;

use self::documents::GROUPS;
pub(crate) use self::documents::{Document, all};
use self::render::{GUIDE, SCREENSHOT, render};
use super::native::wire::{Path, Query};
use super::{Service, refuse};
use crate::error::Error;

const STYLE: &str = include_str!("guide.css");
const PICTURE: &[u8] = include_bytes!("../sandbox/screenshot.png");
/// Pages execute nothing, and load nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Seconds for which style and picture are kept.
const KEPT: &str = "public, max-age=3600";

pub(super) fn router() -> Router<Service> {
    #[expect(
        clippy::disallowed_methods,
        reason = "pages for people, which are no operations of the document"
    )]
    Router::new()
        .route(GUIDE, axum::routing::get(start))
        .route("/docs/guide/", axum::routing::get(start))
        .route("/docs/guide/source", axum::routing::get(sources))
        .route("/docs/guide/source/{*path}", axum::routing::get(source))
        .route("/docs/guide/{*path}", axum::routing::get(page))
}

/// The query of a search.
#[derive(Debug, Deserialize)]
struct Search {
    q: Option<String>,
}

/// The first document, or what a search finds.
async fn start(Query(search): Query<Search>) -> Response {
    let Some(query) = search.q.filter(|query| !query.trim().is_empty()) else {
        return document("README.md");
    };
    match find::find(&query).await {
        Ok(found) => shell("Search", "", &results(&query, &found), &[], &query),
        Err(error) => refuse(GUIDE, error),
    }
}

async fn page(Path(path): Path<String>) -> Response {
    let file = match path.as_str() {
        "guide.css" => Some(("text/css; charset=utf-8", STYLE.as_bytes())),
        SCREENSHOT => Some(("image/png", PICTURE)),
        _ => None,
    };
    if let Some((kind, bytes)) = file {
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT)];
        return std::future::ready((headers, bytes).into_response()).await;
    }
    document(&path)
}

/// Returns the paths of the documents, for the page that offers them as samples.
async fn sources() -> Response {
    let paths: Vec<&str> = all().map(|document| document.path).collect();
    std::future::ready(Json(json!({ "documents": paths })).into_response()).await
}

/// Returns a document as it is.
async fn source(Path(path): Path<String>) -> Response {
    let response = match documents::find(&path) {
        Some(document) => {
            let kind = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
            (kind, document.text).into_response()
        }
        None => unknown(),
    };
    std::future::ready(response).await
}

fn unknown() -> Response {
    let error = Error::not_found("route_unknown", "the guide has no such page");
    refuse(GUIDE, error)
}

fn document(path: &str) -> Response {
    let Some(document) = documents::find(path) else {
        return unknown();
    };
    let page = render(document.path, document.text);
    let outline: Vec<(&str, &str)> = page
        .sections
        .iter()
        .filter(|section| section.level == 2)
        .map(|section| (section.id.as_str(), section.heading.as_str()))
        .collect();
    shell(page.title(), document.path, &page.html, &outline, "")
}

fn results(query: &str, found: &[find::Found]) -> String {
    let mut page = format!("<h1>{} for “{}”</h1>", counted(found.len()), text(query));
    for hit in found {
        let place = if hit.title == hit.heading {
            String::new()
        } else {
            format!("<small>{}</small>", text(&hit.title))
        };
        // The excerpt is escaped by its maker.
        let entry = format!(
            "<article><h2><a href=\"{GUIDE}/{}#{}\">{}</a> {place}</h2><p>{}</p></article>",
            attribute(&hit.path),
            attribute(&hit.id),
            text(&hit.heading),
            hit.excerpt
        );
        page.push_str(&entry);
    }
    page
}

fn counted(count: usize) -> String {
    match count {
        0 => "Nothing found".to_owned(),
        1 => "1 section".to_owned(),
        n => format!("{n} sections"),
    }
}

/// Returns a page: navigation, search, content, and the outline of the document.
fn shell(
    title: &str,
    path: &str,
    content: &str,
    outline: &[(&str, &str)],
    query: &str,
) -> Response {
    let mut nav = String::new();
    for group in GROUPS {
        // Writing into a string does not fail.
        let _ = write!(nav, "<h2>{}</h2><ul>", text(group.title));
        for document in group.documents {
            let current = if document.path == path {
                " aria-current=\"page\""
            } else {
                ""
            };
            let _ = write!(
                nav,
                "<li><a href=\"{GUIDE}/{}\"{current}>{}</a></li>",
                attribute(document.path),
                text(document.title())
            );
        }
        nav.push_str("</ul>");
    }
    let mut aside = String::new();
    if outline.len() > 1 {
        aside.push_str("<aside aria-label=\"On this page\"><h2>On this page</h2><ul>");
        for (id, heading) in outline {
            let _ = write!(
                aside,
                "<li><a href=\"#{}\">{}</a></li>",
                attribute(id),
                text(heading)
            );
        }
        aside.push_str("</ul></aside>");
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} · Cairn</title><link rel=\"stylesheet\" href=\"{GUIDE}/guide.css\"></head><body><a class=\"skip\" href=\"#content\">Skip to content</a>\
         <header><a class=\"home\" href=\"{GUIDE}\">Cairn guide</a><form action=\"{GUIDE}\" role=\"search\"><label class=\"unseen\" for=\"q\">Search the guide</label>\
         <input id=\"q\" name=\"q\" type=\"search\" placeholder=\"Search the guide\" value=\"{}\"></form>\
         <nav aria-label=\"Service\"><a href=\"/sandbox\">Sandbox</a> <a href=\"/docs/\">API</a></nav></header>\
         <div class=\"columns\"><nav class=\"contents\" aria-label=\"Documents\"><details><summary>Documents</summary>{nav}</details></nav>\
         <main id=\"content\">{content}</main>{aside}</div></body></html>",
        text(title),
        attribute(query)
    );
    let policy = (HeaderName::from_static("content-security-policy"), POLICY);
    ([policy], Html(page)).into_response()
}
