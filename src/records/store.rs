//! Reading and listing records. Lists by facets go from the newest to the oldest, and their cursor is the id of the last record, so that writes move nothing;
//! numbered lists have pages and an order.

mod list;

use super::kind::Kind;
use super::record::{Record, columns};
use crate::app::App;
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
pub(crate) use list::LAST;
pub use list::{ListQuery, Offset, at_offset, list};

/// The error of a record that is not there.
#[must_use]
pub fn not_found(kind: &Kind) -> Error {
    Error::not_found(
        "record_not_found",
        format!("{} not found", kind.name.replace('_', " ")),
    )
}

/// Returns a record by its public id.
///
/// # Errors
/// `record_not_found`.
pub async fn load(app: &App, tenant_id: &str, kind: &Kind, public_id: &str) -> Result<Record> {
    let id = kind.row_id(public_id).ok_or_else(|| not_found(kind))?;
    get(app, tenant_id, kind, id).await
}

/// Returns a record by the id of its row.
///
/// # Errors
/// `record_not_found`.
pub async fn get(app: &App, tenant_id: &str, kind: &Kind, id: &str) -> Result<Record> {
    optional(&app.db, tenant_id, kind, id)
        .await?
        .ok_or_else(|| not_found(kind))
}

/// Returns a record by the id of its row, or `None`.
pub(crate) async fn optional(
    db: &Db,
    tenant_id: &str,
    kind: &Kind,
    id: &str,
) -> Result<Option<Record>> {
    if id.contains('\0') {
        // No id has one, and PostgreSQL takes none.
        return Ok(None);
    }
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE tenant_id = $1 AND kind = $2 AND id = $3"
        ),
        args![tenant_id, kind.name, id],
    )
    .await
}

/// Returns how many records of a kind a tenant has.
///
/// # Errors
/// Those of the database.
pub async fn count(db: &Db, tenant_id: &str, kind: &Kind) -> Result<i64> {
    let (count,): (i64,) = db
        .one(
            "SELECT COUNT(*) FROM records WHERE kind = $1 AND tenant_id = $2",
            args![kind.name, tenant_id],
        )
        .await?;
    Ok(count)
}

/// Returns records by the ids of their rows, in no particular order.
pub(crate) async fn all(db: &Db, tenant_id: &str, ids: &[String]) -> Result<Vec<Record>> {
    db.all_in(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE tenant_id = $1 AND id IN ($LIST)"
        ),
        args![tenant_id],
        ids,
    )
    .await
}

/// Returns a record by the caller's own id, or `None`.
pub(crate) async fn by_external_id(
    db: &Db,
    tenant_id: &str,
    kind: &Kind,
    external_id: &str,
) -> Result<Option<Record>> {
    db.optional(
        concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE tenant_id = $1 AND kind = $2 AND external_id = $3"
        ),
        args![tenant_id, kind.name, external_id],
    )
    .await
}

/// Locks a record that was last changed at `seen` for the change of this transaction; `false` when another change was faster.
pub(crate) async fn lock_record(tx: &mut Tx, after: &Record, seen: Time) -> Result<bool> {
    let ours = tx
        .execute(
            "UPDATE records SET updated_on = $1 WHERE tenant_id = $2 AND id = $3 AND updated_on = $4",
            args![after.updated_on, &after.tenant_id, &after.id, seen],
        )
        .await?;
    Ok(ours > 0)
}

/// Inserts a record; `false` when there is one of its kind with its external id.
pub(super) async fn insert(tx: &mut Tx, record: &Record) -> Result<bool> {
    let inserted = tx
        .execute(
            concat!(
                "INSERT INTO records (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT (kind, external_id, tenant_id) DO NOTHING"
            ),
            args![
                &record.id,
                &record.tenant_id,
                &record.kind,
                &record.parent_id,
                &record.external_id,
                &record.title,
                &record.status,
                &record.stage,
                &record.area,
                &record.body,
                &record.document_id,
                &record.author,
                record.created_on,
                record.updated_on
            ],
        )
        .await?;
    Ok(inserted > 0)
}

pub(crate) async fn update(tx: &mut Tx, record: &Record) -> Result<()> {
    tx.execute(
        "UPDATE records SET title = $1, status = $2, stage = $3, body = $4, document_id = $5, updated_on = $6, parent_id = $7 WHERE tenant_id = $8 AND id = $9",
        args![
            &record.title,
            &record.status,
            &record.stage,
            &record.body,
            &record.document_id,
            record.updated_on,
            &record.parent_id,
            &record.tenant_id,
            &record.id
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, record: &Record) -> Result<()> {
    tx.execute(
        "DELETE FROM records WHERE tenant_id = $1 AND id = $2",
        args![&record.tenant_id, &record.id],
    )
    .await?;
    Ok(())
}

/// A numbered page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// From 1.
    pub page: i64,
    /// Records of a page, 1 to 100.
    pub limit: i64,
    /// Sort key of the list.
    pub sort_by: SortBy,
    /// Whether the smallest comes first.
    pub ascending: bool,
}

/// Sort key of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// Time of the last change.
    Updated,
    /// Time of creation.
    Created,
    /// Title.
    Title,
}

impl Default for Numbered {
    fn default() -> Self {
        Self {
            page: 1,
            limit: 10,
            sort_by: SortBy::Updated,
            ascending: false,
        }
    }
}

/// A page of records, and how many there are in all.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The records.
    pub items: Vec<Record>,
    /// In all.
    pub total: i64,
}

/// Which records a numbered list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this parent.
    pub parent_id: Option<String>,
    /// Those in this stage.
    pub stage: Option<String>,
}

/// Returns a numbered page of the records of one or two kinds.
///
/// # Errors
/// Those of the database.
pub async fn numbered(
    app: &App,
    tenant_id: &str,
    kinds: &[&Kind],
    filter: &Filter,
    page: &Numbered,
) -> Result<Listed> {
    // The second kind repeats the first when there is one only.
    let first = kinds.first().map_or("", |k| k.name);
    let second = kinds.get(1).map_or(first, |k| k.name);
    macro_rules! listing {
        ($order:literal) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM records WHERE kind IN ($1, $2) AND tenant_id = $3 AND (CAST($4 AS TEXT) IS NULL OR parent_id = $4) AND (CAST($5 AS TEXT) IS NULL OR stage = $5) ORDER BY ",
                $order,
                " LIMIT $6 OFFSET $7"
            )
        };
    }
    let sql = match (page.sort_by, page.ascending) {
        (SortBy::Updated, false) => listing!("updated_on DESC, id DESC"),
        (SortBy::Updated, true) => listing!("updated_on, id"),
        (SortBy::Created, false) => listing!("created_on DESC, id DESC"),
        (SortBy::Created, true) => listing!("created_on, id"),
        (SortBy::Title, false) => listing!("title DESC, id DESC"),
        (SortBy::Title, true) => listing!("title, id"),
    };
    let (parent_id, stage) = (&filter.parent_id, &filter.stage);
    let offset = (page.page - 1) * page.limit;
    let items = app
        .db
        .all(
            sql,
            args![
                first, second, tenant_id, parent_id, stage, page.limit, offset
            ],
        )
        .await?;
    let (total,): (i64,) = app
        .db
        .one(
            "SELECT COUNT(*) FROM records WHERE kind IN ($1, $2) AND tenant_id = $3 AND (CAST($4 AS TEXT) IS NULL OR parent_id = $4) AND (CAST($5 AS TEXT) IS NULL OR stage = $5)",
            args![first, second, tenant_id, parent_id, stage],
        )
        .await?;
    Ok(Listed { items, total })
}
