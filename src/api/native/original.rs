//! The original file of a document: opened in a browser where that is safe, downloaded otherwise, whole or in ranges.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::parse_range_header;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::Service;
use crate::api::native::wire::{Auth, Fault, Path, Problem, Query};
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::kb::Document;
use crate::kb::documents;

/// Types that a browser shows without executing anything; other files are downloaded.
const SHOWN: [&str; 8] = [
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "text/plain",
    "text/markdown",
    "text/csv",
];
/// Policy of HTML pages, which are shown inert: without scripts, forms, frames and requests.
const INERT: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";
/// Policy of everything else.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'self'";

/// Characters that are encoded in `filename*`: all but the unreserved ones, which RFC 8187 allows.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How the file is sent.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Whether the browser saves the file instead of showing it.
    #[serde(default)]
    download: bool,
}

/// Returns the original file of a document, as it was uploaded or fetched: like the document's text, with passages that are hidden or rewritten in search. `Range` is answered with a part of it, and `If-None-Match` with 304 for the same bytes.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/file", tag = "documents", operation_id = "getOriginalFile", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path), How),
    responses((status = 200, content_type = "application/octet-stream", body = String), (status = 206, description = "A part of the file", content_type = "application/octet-stream", body = String),
        (status = 304, description = "The file is the one that the client has"), (status = 416, description = "The range is outside of the file", body = Fault), (status = "4XX", body = Fault)))]
pub(super) async fn file(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Query(how): Query<How>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.need(Scope::KbRead)?;
    let app = &service.app;
    let document = documents::get(app, &caller, &dataset, &id).await?;
    let etag = format!("\"{}\"", document.blob_hash);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let size = u64::try_from(document.size_bytes).unwrap_or_default();
    let hash = document.blob_hash.as_str();
    let wanted = match part(&headers, &etag, size) {
        Ok(wanted) => wanted,
        Err(error) => {
            let mut response = Problem(error).into_response();
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            if let Ok(length) = HeaderValue::from_str(&format!("bytes */{size}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, length);
            }
            return Ok(response);
        }
    };
    let mut response = match wanted {
        None => {
            let bytes = app.blobs.stream(caller.tenant(), hash).await?;
            let mut response = Body::from_stream(bytes).into_response();
            let length = HeaderValue::from(size);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
            response
        }
        Some((first, last)) => {
            let range = first..last + 1;
            let bytes = app.blobs.stream_range(caller.tenant(), hash, range).await?;
            let place = format!("bytes {first}-{last}/{size}");
            let length = (last + 1 - first).to_string();
            let headers = [
                (header::CONTENT_RANGE, place),
                (header::CONTENT_LENGTH, length),
            ];
            let body = Body::from_stream(bytes);
            (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
        }
    };
    describe(response.headers_mut(), &document, how.download);
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Returns the first and the last byte that a request wants; `None` for the whole file, as also for several ranges and for a part of other bytes.
fn part(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<(u64, u64)>> {
    let wanted = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let condition = headers.get(header::IF_RANGE);
    let Some(wanted) = wanted.filter(|_| condition.is_none_or(|c| c.as_bytes() == etag.as_bytes()))
    else {
        return Ok(None);
    };
    let ranges = parse_range_header(wanted).and_then(|parsed| parsed.validate(size));
    match ranges.as_deref() {
        Ok([range]) => Ok(Some((*range.start(), *range.end()))),
        Ok(_) => Ok(None),
        Err(_) => Err(Error::invalid(
            "range_invalid",
            format!("the range is outside of the file, which has {size} bytes"),
        )),
    }
}

/// Sets type, name and policy of a file: nothing that somebody uploaded may act as a page of this service.
fn describe(headers: &mut HeaderMap, document: &Document, is_download: bool) {
    let kind = document
        .mime_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let is_page = matches!(kind, "text/html" | "application/xhtml+xml");
    let is_shown = !is_download && (is_page || SHOWN.contains(&kind));
    let kind = match kind {
        // Markdown and tables are shown as they are written.
        "text/plain" | "text/markdown" | "text/csv" => "text/plain; charset=utf-8".to_owned(),
        kind if is_page || SHOWN.contains(&kind) => kind.to_owned(),
        _ => "application/octet-stream".to_owned(),
    };
    let name = document.file_name.rsplit('/').next().unwrap_or("file");
    let disposition = format!(
        "{}; filename*=UTF-8\'\'{}",
        if is_shown { "inline" } else { "attachment" },
        utf8_percent_encode(name, &ENCODED)
    );
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, disposition),
        (
            header::CONTENT_SECURITY_POLICY,
            (if is_page { INERT } else { NOTHING }).to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(range: &'static str) -> Result<Option<(u64, u64)>> {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        part(&headers, "\"x\"", 100)
    }

    #[test]
    fn one_range_is_a_part_and_several_are_the_whole_file() {
        assert_eq!(wanted("bytes=0-9").expect("valid"), Some((0, 9)));
        assert_eq!(wanted("bytes=90-").expect("valid"), Some((90, 99)));
        assert_eq!(wanted("bytes=-10").expect("valid"), Some((90, 99)));
        assert_eq!(wanted("bytes=0-1,5-6").expect("valid"), None);
        assert!(wanted("bytes=200-300").is_err());
    }

    #[test]
    fn a_part_of_other_bytes_is_the_whole_file() {
        let headers = HeaderMap::from_iter([
            (header::RANGE, HeaderValue::from_static("bytes=0-9")),
            (header::IF_RANGE, HeaderValue::from_static("\"y\"")),
        ]);
        assert_eq!(part(&headers, "\"x\"", 100).expect("valid"), None);
    }

    #[test]
    fn names_of_any_script_are_encoded() {
        assert_eq!(
            utf8_percent_encode("Größe 1.pdf", &ENCODED).to_string(),
            "Gr%C3%B6%C3%9Fe%201.pdf"
        );
    }
}
