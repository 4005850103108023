//! Reading the records of boards: by parent, newest first.

use crate::app::App;
use crate::db::{Db, args};
use crate::error::Result;
use crate::records::{Kind, Record, columns, store};

/// A part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// 1 to 200.
    pub limit: i64,
    pub offset: i64,
}

/// Returns a part of the records of a kind, newest first, and the number of all; with a parent only its records.
///
/// # Errors
/// Those of the database.
pub async fn page(
    db: &Db,
    tenant_id: &str,
    kind: &Kind,
    parent_id: Option<&str>,
    part: Part,
) -> Result<(Vec<Record>, i64)> {
    let Some(parent_id) = parent_id else {
        let found = db
            .all(
                concat!("SELECT ", columns!(), " FROM records WHERE kind = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3 OFFSET $4"),
                args![kind.name, tenant_id, part.limit, part.offset],
            )
            .await?;
        return Ok((found, store::count(db, tenant_id, kind).await?));
    };
    let found = db
        .all(
            concat!("SELECT ", columns!(), " FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3 ORDER BY id DESC LIMIT $4 OFFSET $5"),
            args![parent_id, kind.name, tenant_id, part.limit, part.offset],
        )
        .await?;
    let (total,): (i64,) = db
        .one(
            "SELECT COUNT(*) FROM records WHERE parent_id = $1 AND kind = $2 AND tenant_id = $3",
            args![parent_id, kind.name, tenant_id],
        )
        .await?;
    Ok((found, total))
}

/// Most records of a list that is returned as a whole.
const WHOLE: i64 = 100_000;

/// Returns all records of a kind, newest first; with a parent only its records.
///
/// # Errors
/// Those of the database.
pub async fn all(
    db: &Db,
    tenant_id: &str,
    kind: &Kind,
    parent_id: Option<&str>,
) -> Result<Vec<Record>> {
    let part = Part {
        limit: WHOLE,
        offset: 0,
    };
    Ok(page(db, tenant_id, kind, parent_id, part).await?.0)
}

/// Returns the records of a kind with these ids, in no particular order. Missing ones and those of other kinds are left out.
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

/// Returns a record, or `None`.
///
/// # Errors
/// Those of the database.
pub async fn one(app: &App, tenant_id: &str, kind: &Kind, id: &str) -> Result<Option<Record>> {
    store::optional(&app.db, tenant_id, kind, id).await
}

/// Returns a record.
///
/// # Errors
/// `record_not_found`.
pub async fn get(app: &App, tenant_id: &str, kind: &Kind, id: &str) -> Result<Record> {
    store::get(app, tenant_id, kind, id).await
}
