//! Reading records of the team: by parent, by facet, page by page.

use crate::app::App;
use crate::db::{Db, args};
use crate::error::Result;
use crate::page::{Listing, Page};
use crate::records::store::{self, ListQuery};
use crate::records::{Kind, Record, columns};

/// Most records that a list without pages shows.
pub const WHOLE: i64 = 10_000;

/// Returns a record.
///
/// # Errors
/// `record_not_found`.
pub async fn get(app: &App, tenant_id: &str, kind: &Kind, id: &str) -> Result<Record> {
    store::get(app, tenant_id, kind, id).await
}

/// Returns a record, or `None`.
///
/// # Errors
/// Those of the database.
pub async fn optional(app: &App, tenant_id: &str, kind: &Kind, id: &str) -> Result<Option<Record>> {
    store::optional(&app.db, tenant_id, kind, id).await
}

/// Returns the records of a kind with these ids, in no particular order. Missing ones are left out.
///
/// # Errors
/// Those of the database.
pub async fn some(db: &Db, tenant_id: &str, kind: &Kind, ids: &[String]) -> Result<Vec<Record>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = store::all(db, tenant_id, ids).await?;
    found.retain(|r| r.kind == kind.name);
    Ok(found)
}

/// Returns the children of a record, oldest first, at most [`WHOLE`].
///
/// # Errors
/// Those of the database.
pub async fn children(
    db: &Db,
    tenant_id: &str,
    kind: &Kind,
    parent_id: &str,
) -> Result<Vec<Record>> {
    db.all(
        concat!("SELECT ", columns!(), " FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 ORDER BY id LIMIT $4"),
        args![parent_id, kind.name, tenant_id, WHOLE],
    )
    .await
}

/// Returns all records of a kind, newest first, at most [`WHOLE`].
///
/// # Errors
/// Those of the database.
pub async fn all(db: &Db, tenant_id: &str, kind: &Kind) -> Result<Vec<Record>> {
    db.all(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE kind = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3"
        ),
        args![kind.name, tenant_id, WHOLE],
    )
    .await
}

/// Names and values of fields, `status` or `parent`.
pub type Filters = Vec<(String, String)>;

/// Returns a page of the records that fulfil all filters and have all words, newest first.
///
/// # Errors
/// `too_many_conditions`, `query_too_short`.
pub async fn page(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    filters: Filters,
    words: Option<String>,
    page: &Page,
) -> Result<Listing<Record>> {
    let query = ListQuery {
        query: words,
        filters,
        before: (!page.after.is_empty()).then(|| page.after.clone()),
        limit: page.fetch(),
    };
    let (found, _) = store::list(app, tenant_id, kind, &query).await?;
    Ok(page.listing(found, |record| record.id.clone()))
}

/// Returns the records that fulfil all filters, newest first, at most [`WHOLE`].
///
/// # Errors
/// `too_many_conditions`.
pub async fn matching(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    filters: Filters,
) -> Result<Vec<Record>> {
    let query = ListQuery {
        filters,
        limit: WHOLE,
        ..ListQuery::default()
    };
    Ok(store::list(app, tenant_id, kind, &query).await?.0)
}

/// Returns the filter for the children of a record.
#[must_use]
pub fn child_of(id: &str) -> (String, String) {
    ("parent".to_owned(), id.to_owned())
}

/// Returns the record with an id of its source.
///
/// # Errors
/// Those of the database.
pub async fn by_external_id(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    external_id: &str,
) -> Result<Option<Record>> {
    store::by_external_id(&app.db, tenant_id, kind, external_id).await
}
