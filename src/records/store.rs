//! Reading and listing records. Lists by facets go from the newest to the oldest, and their cursor is the id of the last record, so that writes move nothing;
//! numbered lists have pages and an order.

use std::collections::BTreeSet;

use super::check;
use super::kind::Kind;
use super::record::{Record, columns};
use crate::app::App;
use crate::clock::Time;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};

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
    /// What the list is sorted by.
    pub sort_by: SortBy,
    /// Whether the smallest comes first.
    pub ascending: bool,
}

/// What lists are sorted by.
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

/// A list by facets.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Words that records have; the last one may be the beginning of a word.
    pub query: Option<String>,
    /// Names and values of fields, `status`, `parent` or `custom:NAME`.
    pub filters: Vec<(String, String)>,
    /// Older than this id.
    pub before: Option<String>,
    /// How many, 1 to 100.
    pub limit: i64,
}

/// Conditions of a list, words counted one by one.
const CONDITIONS: usize = 12;
/// Words that one that is begun may stand for.
const BEGUN: i64 = 200;
/// An id that no record reaches.
pub(crate) const LAST: &str = "ZZZZZZZZZZZZZZZZZZZZZZZZZZZ";

/// Lists records, the newest first; the second part of the answer is where the next page begins.
///
/// # Errors
/// `too_many_conditions`; `query_too_short` when the last word is the beginning of more than 200.
pub async fn list(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    query: &ListQuery,
) -> Result<(Vec<Record>, Option<String>)> {
    let before = query.before.clone().unwrap_or_else(|| LAST.to_owned());
    let mut conditions: Vec<(String, String)> = query
        .filters
        .iter()
        .map(|(name, value)| {
            let value = if name == "parent" {
                value.clone()
            } else {
                value.trim().to_lowercase()
            };
            (name.clone(), value)
        })
        .collect();
    let asked: Vec<String> = query
        .query
        .as_deref()
        .map(|q| check::words(q).collect())
        .unwrap_or_default();
    let asks = query.query.as_deref().is_some_and(|q| !q.trim().is_empty());
    if asks && asked.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut begun: Vec<String> = Vec::new();
    for (at, word) in asked.iter().enumerate() {
        let is_last = at + 1 == asked.len();
        if is_last {
            begun = beginnings(app, tenant_id, kind, word).await?;
            if begun.is_empty() {
                return Ok((Vec::new(), None));
            }
        } else {
            conditions.push(("word".to_owned(), word.clone()));
        }
    }
    conditions.sort();
    conditions.dedup();
    if conditions.len() + usize::from(!begun.is_empty()) > CONDITIONS {
        return Err(too_many());
    }
    let fetch = query.limit + 1;
    let mut ids: BTreeSet<String> = BTreeSet::new();
    if begun.is_empty() && conditions.is_empty() {
        let rows: Vec<(String,)> = app
            .db
            .all(
                "SELECT id FROM records WHERE kind = $1 AND tenant_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
                args![kind.name, tenant_id, &before, fetch],
            )
            .await?;
        ids.extend(rows.into_iter().map(|(id,)| id));
    } else if begun.is_empty() {
        ids.extend(matching(app, tenant_id, kind, &conditions, &before, fetch).await?);
    } else {
        for word in begun {
            let mut all = conditions.clone();
            all.push(("word".to_owned(), word));
            ids.extend(matching(app, tenant_id, kind, &all, &before, fetch).await?);
        }
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = ids.len() > limit;
    let page: Vec<String> = ids.into_iter().rev().take(limit).collect();
    let next = page.last().filter(|_| more).cloned();
    let mut found = all(&app.db, tenant_id, &page).await?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    Ok((found, next))
}

/// Words of records that begin with some letters, the word itself first.
async fn beginnings(app: &App, tenant_id: &str, kind: &Kind, word: &str) -> Result<Vec<String>> {
    // Kept in hexadecimal, whose order is the same in every collation.
    let from = hex::encode(word);
    let rows: Vec<(String,)> = app
        .db
        .all(
            "SELECT word FROM record_words WHERE kind = $1 AND tenant_id = $2 AND word >= $3 AND word < $4 ORDER BY word LIMIT $5",
            args![kind.name, tenant_id, &from, format!("{from}g"), BEGUN],
        )
        .await?;
    let words: Vec<String> = rows
        .into_iter()
        .filter_map(|(word,)| String::from_utf8(hex::decode(word).ok()?).ok())
        .collect();
    if i64::try_from(words.len()).unwrap_or(0) < BEGUN {
        return Ok(words);
    }
    // The beginning of too many words: then it is one of its own, or says too little.
    match words.into_iter().next().filter(|w| w == word) {
        Some(word) => Ok(vec![word]),
        None => Err(Error::invalid(
            "query_too_short",
            format!("more than {BEGUN} words start with {word:?}; use a longer prefix"),
        )),
    }
}

macro_rules! also {
    ($($name:literal $value:literal),*) => {
        concat!(
            "SELECT f.record_id FROM record_facets f WHERE f.kind = $1 AND f.name = $2 AND f.value = $3 AND f.tenant_id = $4 AND f.record_id < $5",
            $(" AND EXISTS (SELECT 1 FROM record_facets g WHERE g.kind = $1 AND g.name = ", $name,
              " AND g.value = ", $value, " AND g.tenant_id = $4 AND g.record_id = f.record_id)",)*
            " ORDER BY f.record_id DESC LIMIT $6"
        )
    };
}

/// By how many conditions there are beside the first: with none left open, PostgreSQL joins the lists of ids instead of looking up each one.
const MATCHING: [&str; CONDITIONS] = [
    also!(),
    also!("$7" "$8"),
    also!("$7" "$8", "$9" "$10"),
    also!("$7" "$8", "$9" "$10", "$11" "$12"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16", "$17" "$18"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16", "$17" "$18", "$19" "$20"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16", "$17" "$18", "$19" "$20", "$21" "$22"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16", "$17" "$18", "$19" "$20", "$21" "$22", "$23" "$24"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16", "$17" "$18", "$19" "$20", "$21" "$22", "$23" "$24", "$25" "$26"),
    also!("$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14", "$15" "$16", "$17" "$18", "$19" "$20", "$21" "$22", "$23" "$24", "$25" "$26", "$27" "$28"),
];

fn too_many() -> Error {
    Error::invalid(
        "too_many_conditions",
        format!("a list may have at most {CONDITIONS} filters and words"),
    )
}

/// Ids of records that fulfil all conditions, the newest first. The rarest condition leads, the others are looked up.
async fn matching(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    conditions: &[(String, String)],
    before: &str,
    fetch: i64,
) -> Result<Vec<String>> {
    let mut counted = Vec::with_capacity(conditions.len());
    for condition in conditions {
        // How rare it is matters only up to a point.
        let (count,): (i64,) = if conditions.len() == 1 {
            (0,)
        } else {
            app.db
                .one(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM record_facets WHERE kind = $1 AND name = $2 AND value = $3 AND tenant_id = $4 LIMIT 2000) AS found",
                    args![kind.name, &condition.0, &condition.1, tenant_id],
                )
                .await?
        };
        counted.push((count, condition));
    }
    counted.sort();
    let mut conditions = counted.into_iter().map(|(_, c)| c);
    let Some((name, value)) = conditions.next() else {
        return Ok(Vec::new());
    };
    let mut args = args![kind.name, name, value, tenant_id, before, fetch];
    let mut others = 0;
    for (name, value) in conditions {
        args.0.push(name.clone().into());
        args.0.push(value.clone().into());
        others += 1;
    }
    let statement = *MATCHING.get(others).ok_or_else(too_many)?;
    let rows: Vec<(String,)> = app.db.all(statement, args).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
