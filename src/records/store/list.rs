//! Lists of records: filters, order and pages.

use std::collections::BTreeSet;

use super::super::check;
use super::super::kind::Kind;
use super::super::record::Record;
use super::all;
use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};

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
pub(super) const CONDITIONS: usize = 12;

/// Words that one that is begun may stand for.
pub(super) const BEGUN: i64 = 200;

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
pub(super) async fn beginnings(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    word: &str,
) -> Result<Vec<String>> {
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

/// A part of a list by its position.
#[derive(Debug, Clone, Default)]
pub struct Offset {
    /// Names and values of fields, `status`, `parent` or `custom:NAME`; all of them hold.
    pub filters: Vec<(String, String)>,
    /// Words that records have, all of them.
    pub query: Option<String>,
    /// How many to skip.
    pub offset: i64,
    /// How many, 1 to 500.
    pub limit: i64,
}

/// Lists records by their position, the newest first, with the number of all that match.
///
/// # Errors
/// `too_many_conditions`.
pub async fn at_offset(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    query: &Offset,
) -> Result<(Vec<Record>, i64)> {
    let mut conditions: Vec<(String, String)> = query
        .filters
        .iter()
        .map(|(name, value)| (name.clone(), value.trim().to_lowercase()))
        .collect();
    let asked = query.query.as_deref().map(check::words);
    conditions.extend(asked.into_iter().flatten().map(|w| ("word".to_owned(), w)));
    conditions.sort();
    conditions.dedup();
    if conditions
        .iter()
        .any(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        // No record has such a value, and PostgreSQL takes none.
        return Ok((Vec::new(), 0));
    }
    let (fetch, skip) = (query.limit, query.offset);
    let (ids, total): (Vec<(String,)>, (i64,)) = if conditions.is_empty() {
        let ids = app.db.all(
            "SELECT id FROM records WHERE kind = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3 OFFSET $4",
            args![kind.name, tenant_id, fetch, skip],
        );
        let total = app.db.one(
            "SELECT COUNT(*) FROM records WHERE kind = $1 AND tenant_id = $2",
            args![kind.name, tenant_id],
        );
        (ids.await?, total.await?)
    } else {
        let statement = COUNTING.get(conditions.len() - 1).ok_or_else(too_many)?;
        let mut args = args![kind.name, tenant_id];
        for (name, value) in conditions {
            args.0.push(name.into());
            args.0.push(value.into());
        }
        let counted = args.clone();
        args.0.extend([fetch.into(), skip.into()]);
        (
            app.db.all(statement.0, args).await?,
            app.db.one(statement.1, counted).await?,
        )
    };
    let ids: Vec<String> = ids.into_iter().map(|(id,)| id).collect();
    let mut found = all(&app.db, tenant_id, &ids).await?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    Ok((found, total.0))
}

macro_rules! at {
    ($limit:literal $offset:literal $(, $name:literal $value:literal)*) => {
        (
            concat!(
                "SELECT f.record_id ", at!(@matching $($name $value)*),
                " ORDER BY f.record_id DESC LIMIT ", $limit, " OFFSET ", $offset
            ),
            concat!("SELECT COUNT(*) ", at!(@matching $($name $value)*)),
        )
    };
    (@matching $($name:literal $value:literal)*) => {
        concat!(
            "FROM record_facets f WHERE f.kind = $1 AND f.name = $3 AND f.value = $4 AND f.tenant_id = $2",
            $(" AND EXISTS (SELECT 1 FROM record_facets g WHERE g.kind = $1 AND g.name = ", $name,
              " AND g.value = ", $value, " AND g.tenant_id = $2 AND g.record_id = f.record_id)",)*
        )
    };
}

/// Statements of a list at an offset and of its count, by the number of conditions less one.
const COUNTING: [(&str, &str); 6] = [
    at!("$5" "$6"),
    at!("$7" "$8", "$5" "$6"),
    at!("$9" "$10", "$5" "$6", "$7" "$8"),
    at!("$11" "$12", "$5" "$6", "$7" "$8", "$9" "$10"),
    at!("$13" "$14", "$5" "$6", "$7" "$8", "$9" "$10", "$11" "$12"),
    at!("$15" "$16", "$5" "$6", "$7" "$8", "$9" "$10", "$11" "$12", "$13" "$14"),
];

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
pub(super) const MATCHING: [&str; CONDITIONS] = [
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

pub(super) fn too_many() -> Error {
    Error::invalid(
        "too_many_conditions",
        format!("a list may have at most {CONDITIONS} filters and words"),
    )
}

/// Ids of records that fulfil all conditions, the newest first. The rarest condition leads, the others are looked up.
pub(super) async fn matching(
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
