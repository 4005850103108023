//! Pages of a list, with opaque cursors over ascending or descending ids.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, Result};

/// Maximum number of items on a page.
pub const MAX_LIMIT: i64 = 500;

/// The requested part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Number of items wanted, at least 1.
    pub limit: i64,
    /// Key of the last item of the previous page; empty for the first page.
    pub after: String,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// Cursor of the next page; `None` at the end.
    pub next: Option<String>,
}

/// Encodes a text as a cursor: opaque and URL-safe.
#[must_use]
pub fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Decodes the text of a cursor; `None` when it is invalid.
#[must_use]
pub fn decode(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// Returns the error for an invalid cursor.
#[must_use]
pub fn foreign() -> Error {
    Error::invalid("cursor_invalid", "the cursor was not returned by a list")
}

impl Page {
    /// Parses a limit and a cursor as sent by callers.
    ///
    /// # Errors
    /// `limit_out_of_range`, `cursor_invalid`.
    pub fn read(limit: Option<i64>, cursor: Option<&str>, default: i64) -> Result<Self> {
        let limit = limit.unwrap_or(default);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::invalid(
                "limit_out_of_range",
                format!("limit must be between 1 and {MAX_LIMIT}"),
            ));
        }
        let after = match cursor {
            None | Some("") => String::new(),
            Some(cursor) => decode(cursor).ok_or_else(foreign)?,
        };
        Ok(Self { limit, after })
    }

    /// Returns the number of rows to fetch: one more than wanted, to detect a next page.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// Converts the rows that [`Page::fetch`] asked for to a page.
    #[must_use]
    pub fn listing<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Listing<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| encode(&key(last)));
        Listing { items: rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let page = Page::read(Some(2), None, 25).expect("valid");
        let first = page.listing(vec!["a", "b", "c"], |s| (*s).to_owned());
        assert_eq!(first.items, ["a", "b"]);
        let next = Page::read(Some(2), first.next.as_deref(), 25).expect("our own cursor");
        assert_eq!(next.after, "b");
        assert_eq!(next.listing(vec!["c"], |s| (*s).to_owned()).next, None);
    }

    #[test]
    fn limits_and_foreign_cursors_are_refused() {
        assert!(Page::read(Some(0), None, 25).is_err() && Page::read(Some(501), None, 25).is_err());
        assert_eq!(
            Page::read(None, Some("%%%"), 25)
                .expect_err("foreign")
                .code(),
            "cursor_invalid"
        );
    }
}
