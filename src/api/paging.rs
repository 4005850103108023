//! Cursor paging of `/kb/v1` and the dashboard dialect.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::Result;
use crate::page::Page;

/// Paging parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Maximum number of items, 1 to 500.
    pub limit: Option<i64>,
    /// `nextCursor` of the previous page.
    pub cursor: Option<String>,
}

impl Paging {
    /// Returns the requested page.
    ///
    /// # Errors
    /// `limit_out_of_range`, `cursor_invalid`.
    pub fn page(&self, default: i64) -> Result<Page> {
        Page::read(self.limit, self.cursor.as_deref(), default)
    }
}

/// Position of the next page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

impl From<Option<String>> for Pagination {
    fn from(next: Option<String>) -> Self {
        Self {
            has_more: next.is_some(),
            next_cursor: next,
        }
    }
}
