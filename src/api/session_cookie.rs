//! The cookie of a browser's session.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use cookie::{Cookie, SameSite};

use super::extract::COOKIE;
use crate::error::{Error, Result};

/// Returns whether a browser reached the service by HTTPS; the proxy in front terminates TLS.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    headers
        .get("x-forwarded-proto")
        .and_then(|v| v.to_str().ok()?.split(',').next())
        .is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
}

/// Returns a cookie as the value of its header. It lasts that long, and ends at once if that is zero.
pub(super) fn cookie_header(
    cookie: Cookie<'_>,
    headers: &HeaderMap,
    lasts: Duration,
) -> Result<HeaderValue> {
    let mut cookie = cookie;
    let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
    cookie.set_http_only(true);
    cookie.set_max_age(cookie::time::Duration::seconds(seconds));
    if is_https(headers) {
        cookie.set_secure(true);
    }
    HeaderValue::from_str(&cookie.to_string())
        .map_err(|e| Error::internal("a cookie cannot be written").with_source(e))
}

/// Returns the cookie of a session.
pub(super) fn session_cookie(
    headers: &HeaderMap,
    secret: String,
    lasts: Duration,
) -> Result<HeaderValue> {
    let cookie = Cookie::build((COOKIE, secret))
        .path("/")
        .same_site(SameSite::Strict);
    cookie_header(cookie.build(), headers, lasts)
}
