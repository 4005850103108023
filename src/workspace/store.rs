//! Reading and finding what a workspace holds. Lists go from the newest to the oldest; the cursor is the id of the last one, so that what is written meanwhile
//! moves nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::check;
use super::spec::{Kind, Type};
use crate::app::App;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::records::Record;

/// What a record is found by: names and values.
pub(super) type Facets = BTreeSet<(String, String)>;

/// The longest value that can be filtered by, in bytes.
const VALUE: usize = 300;

/// A value as filters compare it.
fn comparable(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty() && text.len() <= VALUE).then_some(text)
}

/// What a record can be found by.
pub(super) fn facets(kind: &Kind, record: &Record, body: &Map<String, Value>) -> Facets {
    let mut found = Facets::new();
    if let Some(status) = &record.status {
        found.insert(("status".to_owned(), status.clone()));
    }
    if let Some(parent) = &record.parent_id {
        found.insert(("parent".to_owned(), parent.clone()));
    }
    for field in kind.fields.iter().filter(|f| f.filter) {
        let values: Vec<&Value> = match body.get(field.name) {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(value) => vec![value],
            None => Vec::new(),
        };
        for value in values.into_iter().filter_map(comparable) {
            found.insert((field.name.to_owned(), value));
        }
    }
    if let Some(Value::Object(custom)) = body.get("custom_fields") {
        for (name, value) in custom {
            if let Some(value) = comparable(value) {
                found.insert((format!("custom:{name}"), value));
            }
        }
    }
    for word in check::words_of(kind, body) {
        found.insert(("word".to_owned(), word));
    }
    found
}

/// Values of a record that no other of its kind has.
pub(super) fn keys(kind: &Kind, body: &Map<String, Value>) -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = kind
        .fields
        .iter()
        .filter(|f| f.holds == Type::Key)
        .filter_map(|f| Some(format!("{}:{}", f.name, body.get(f.name)?.as_str()?)))
        .collect();
    if kind.name == "invoice"
        && let Some(number) = body.get("invoice_number").and_then(Value::as_str)
    {
        keys.insert(format!("invoice_number:{}", number.trim()));
    }
    if kind.name == "cms_entry"
        && let (Some(collection), Some(slug)) = (
            body.get("collection_id").and_then(Value::as_str),
            body.get("fields")
                .and_then(|f| f.get("slug"))
                .and_then(Value::as_str),
        )
    {
        keys.insert(format!("slug:{collection}:{slug}"));
    }
    keys
}

/// Makes a record findable by what it has now, and no more by what it had.
pub(super) async fn find_by(
    tx: &mut Tx,
    kind: &Kind,
    record: &Record,
    before: &Facets,
    now: &Facets,
) -> Result<()> {
    for (name, value) in before.difference(now) {
        tx.execute(
            "DELETE FROM record_facets WHERE kind = $1 AND name = $2 AND value = $3 AND tenant_id = $4 AND record_id = $5",
            args![kind.name, name, value, &record.tenant_id, &record.id],
        )
        .await?;
    }
    for (name, value) in now.difference(before) {
        tx.execute(
            "INSERT INTO record_facets (kind, name, value, tenant_id, record_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, name, value, tenant_id, record_id) DO NOTHING",
            args![kind.name, name, value, &record.tenant_id, &record.id],
        )
        .await?;
        if name == "word" {
            tx.execute(
                "INSERT INTO record_words (kind, tenant_id, word) VALUES ($1, $2, $3) ON CONFLICT (kind, tenant_id, word) DO NOTHING",
                args![kind.name, &record.tenant_id, hex::encode(value)],
            )
            .await?;
        }
    }
    Ok(())
}

/// Claims the values that only this record may have.
pub(super) async fn claim(
    tx: &mut Tx,
    kind: &Kind,
    record: &Record,
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
) -> Result<()> {
    for key in before.difference(now) {
        tx.execute(
            "DELETE FROM record_keys WHERE kind = $1 AND key = $2 AND tenant_id = $3 AND record_id = $4",
            args![kind.name, key, &record.tenant_id, &record.id],
        )
        .await?;
    }
    for key in now.difference(before) {
        let ours = tx
            .execute(
                "INSERT INTO record_keys (kind, key, tenant_id, record_id) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, key, tenant_id) DO NOTHING",
                args![kind.name, key, &record.tenant_id, &record.id],
            )
            .await?;
        if ours == 0 {
            let (name, value) = key.split_once(':').unwrap_or(("key", key));
            let value = value.rsplit(':').next().unwrap_or(value);
            return Err(Error::conflict(
                "key_taken",
                format!("there is one with the {name} {value:?} already"),
            ));
        }
    }
    Ok(())
}

/// A record by the id that callers use.
///
/// # Errors
/// `record_not_found`.
pub async fn load(app: &App, tenant_id: &str, kind: &Kind, shown: &str) -> Result<Record> {
    let missing = || {
        Error::not_found(
            "record_not_found",
            format!("there is no such {}", kind.name.replace('_', " ")),
        )
    };
    let id = kind.id(shown).ok_or_else(missing)?;
    crate::records::load_named(&app.db, tenant_id, kind.name, id)
        .await?
        .ok_or_else(missing)
}

/// Records by their ids in rows, the newest first.
async fn by_ids(app: &App, tenant_id: &str, ids: &[String]) -> Result<Vec<Record>> {
    let mut found = crate::records::by_ids(&app.db, tenant_id, ids).await?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(found)
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
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
pub(super) const LAST: &str = "ZZZZZZZZZZZZZZZZZZZZZZZZZZZ";

/// Lists records, the newest first, and tells whether there are more.
///
/// # Errors
/// `too_many_conditions`; `query_too_short` when the last word is the beginning of more than 200.
pub async fn list(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    wanted: &Wanted,
) -> Result<(Vec<Record>, Option<String>)> {
    let before = wanted.before.clone().unwrap_or_else(|| LAST.to_owned());
    let mut conditions: Vec<(String, String)> = wanted
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
    let asked: Vec<String> = wanted
        .query
        .as_deref()
        .map(|q| check::words(q).collect())
        .unwrap_or_default();
    let asks = wanted
        .query
        .as_deref()
        .is_some_and(|q| !q.trim().is_empty());
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
    let fetch = wanted.limit + 1;
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
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = ids.len() > limit;
    let page: Vec<String> = ids.into_iter().rev().take(limit).collect();
    let next = page.last().filter(|_| more).cloned();
    Ok((by_ids(app, tenant_id, &page).await?, next))
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
            format!("more than {BEGUN} words begin with {word:?}; write more of it"),
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
        format!("a list has at most {CONDITIONS} filters and words"),
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
