//! The web page at `/sandbox`: files that the binary carries. The page calls the public API as any program does, with the cookie of its session.
//!
//! Nothing here is rendered: `web/index.html` is a shell, `web/app.js` finds the page of an address in `web/pages/`, and `web/lib/dom.js` makes elements out of values,
//! so that no text ever becomes markup. The content security policy holds the page to that: no inline scripts, no other hosts, no strings as markup.

mod icons;

use std::borrow::Cow;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::{Service, refuse};
use crate::error::Error;

/// In debug builds the files are read when they are asked for, so that changes show without building.
#[derive(RustEmbed)]
#[folder = "src/api/sandbox/web"]
struct Web;

/// Everything from this service, styles and scripts from files only, and no markup out of strings.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

pub(super) fn router() -> Router<Service> {
    #[expect(
        clippy::disallowed_methods,
        reason = "pages for people, which are no operations of the document"
    )]
    Router::new()
        // People who open the bare address look for the page.
        .route(
            "/",
            axum::routing::get(|| std::future::ready(Redirect::temporary("/sandbox"))),
        )
        .route("/sandbox", axum::routing::get(page))
        .route("/sandbox/", axum::routing::get(page))
        .route("/sandbox/{*path}", axum::routing::get(page))
}

/// A file, or the shell for every address that is none.
async fn page(uri: Uri, headers: HeaderMap) -> Response {
    std::future::ready(file(uri.path().trim_start_matches("/sandbox"), &headers)).await
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let path = path.trim_start_matches('/');
    // Ids of documents may have any form; they are no names of files.
    let is_id = path.starts_with("datasets/") || path.starts_with("documents/");
    let is_file = !is_id && path.contains('.');
    let name = if is_file { path } else { "index.html" };
    let Some((content, tag)) = content(name) else {
        return refuse(
            "/sandbox",
            Error::not_found("route_unknown", "file not found in the sandbox"),
        );
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|v| v.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = mime_guess::from_path(name).first_or_octet_stream();
        (
            [(
                header::CONTENT_TYPE,
                mime.essence_str().to_owned() + "; charset=utf-8",
            )],
            content,
        )
            .into_response()
    };
    let more = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        more.insert(header::ETAG, tag);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=()",
        ),
    ] {
        more.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns the bytes of a file and its entity tag.
fn content(name: &str) -> Option<(Cow<'static, [u8]>, String)> {
    let (bytes, hash) = if name == icons::FILE {
        let bytes = icons::SVG.as_bytes();
        (Cow::Borrowed(bytes), Sha256::digest(bytes).into())
    } else {
        let file = Web::get(name)?;
        (file.data, file.metadata.sha256_hash())
    };
    let hash: [u8; 32] = hash;
    Some((bytes, format!("\"{}\"", hex::encode(&hash[..16]))))
}
