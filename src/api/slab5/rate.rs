//! The headers that tell how many requests a workspace may still make.

use axum::http::{HeaderMap, HeaderName};

use super::wire::number;
use crate::rates::Left;

/// The headers for what is left; none without a limit.
pub(super) fn headers(left: Option<Left>) -> HeaderMap {
    let Some(left) = left else {
        return HeaderMap::new();
    };
    HeaderMap::from_iter([
        (
            HeaderName::from_static("x-ratelimit-limit"),
            number(left.limit.into()),
        ),
        (
            HeaderName::from_static("x-ratelimit-remaining"),
            number(left.remaining.into()),
        ),
        (
            HeaderName::from_static("x-ratelimit-reset"),
            number(left.reset),
        ),
    ])
}
