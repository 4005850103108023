//! Query sets: queries with labels, entered by people, from feedback, from files, or generated from titles and headings.

mod import;

use std::collections::{BTreeMap, HashMap};

use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::kb::datasets;
pub use import::{Items, from_csv, from_trec};

/// Maximum number of queries in a set.
pub const MAX_QUERIES: usize = 5000;

/// Maximum number of labels of a query.
pub const MAX_LABELS: usize = 1000;

/// Name of the set that feedback is added to.
pub const FEEDBACK: &str = "feedback";

/// Longest query of a set in bytes: longer ones exceed the size of a unique index key in PostgreSQL.
pub const MAX_TEXT: usize = 2000;

/// From judged item to grade: 0 not relevant, 1 useful, 2 an answer. Without a grade above 0, the query is unanswerable. A judged item is a document, by its
/// id, or a passage, as `document@start-end` in characters, which stays valid when the document is chunked differently.
pub type Labels = BTreeMap<String, i64>;

/// Returns the key of a judged passage.
#[must_use]
pub fn passage(document_id: &str, start: i64, end: i64) -> String {
    format!("{document_id}@{start}-{end}")
}

/// Parses the key of a judged passage into document and range.
#[must_use]
pub fn parse_passage(key: &str) -> Option<(&str, i64, i64)> {
    let (document, range) = key.split_once('@')?;
    let (start, end) = range.split_once('-')?;
    Some((document, start.parse().ok()?, end.parse().ok()?))
}

/// A query set.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct QuerySet {
    pub id: String,
    pub dataset_id: String,
    /// Name, unique in the dataset.
    pub name: String,
    /// Number of queries.
    pub queries: i64,
    pub created_on: Time,
    pub updated_on: Time,
}

/// A query with its labels.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Query {
    pub id: String,
    /// The query text.
    pub text: String,
    /// JSON of [`Labels`].
    pub labels: String,
    /// Whether it was generated from a title or heading.
    pub generated: bool,
    pub created_on: Time,
}

impl Query {
    /// Returns the labels.
    ///
    /// # Errors
    /// When the stored JSON is invalid.
    pub fn labels(&self) -> Result<Labels> {
        Ok(serde_json::from_str(&self.labels)?)
    }
}

const COUNTED: &str = "SELECT s.id, s.dataset_id, s.name, (SELECT COUNT(*) FROM kb_queries q WHERE q.query_set_id = s.id) AS queries, s.created_on, s.updated_on
     FROM kb_query_sets s WHERE s.tenant_id = $1 AND s.dataset_id = $2 ORDER BY s.id";

/// Returns the query sets of a dataset, oldest first.
///
/// # Errors
/// `dataset_not_found`.
pub async fn list(app: &App, caller: &Caller, dataset_id: &str) -> Result<Vec<QuerySet>> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    app.db
        .all(COUNTED, args![caller.tenant(), dataset_id])
        .await
}

/// Returns a query set, by id or name.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`.
pub async fn get(app: &App, caller: &Caller, dataset_id: &str, set: &str) -> Result<QuerySet> {
    list(app, caller, dataset_id)
        .await?
        .into_iter()
        .find(|s| s.id == set || s.name == set)
        .ok_or_else(|| Error::not_found("query_set_not_found", "query set not found"))
}

/// Returns the queries of a set, oldest first.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`.
pub async fn queries(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
) -> Result<Vec<Query>> {
    let set = get(app, caller, dataset_id, set).await?;
    app.db
        .all(
            "SELECT id, text, labels, generated, created_on FROM kb_queries WHERE tenant_id = $1 AND query_set_id = $2 ORDER BY id",
            args![caller.tenant(), &set.id],
        )
        .await
}

/// Creates a set.
///
/// # Errors
/// `dataset_not_found`, `name_missing`, `query_set_exists`.
pub async fn create(app: &App, caller: &Caller, dataset_id: &str, name: &str) -> Result<QuerySet> {
    caller.need_edit(dataset_id)?;
    let known = list(app, caller, dataset_id).await?;
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid(
            "name_missing",
            "a query set must have a name of at most 200 characters",
        ));
    }
    if known.iter().any(|s| s.name == name) {
        return Err(Error::conflict(
            "query_set_exists",
            format!("a query set named {name:?} already exists"),
        ));
    }
    let now = app.clock.now();
    app.db
        .execute(
            "INSERT INTO kb_query_sets (id, tenant_id, dataset_id, name, created_on, updated_on) VALUES ($1, $2, $3, $4, $5, $5)
             ON CONFLICT (dataset_id, name) DO NOTHING",
            args![app.clock.id(), caller.tenant(), dataset_id, name, now],
        )
        .await?;
    get(app, caller, dataset_id, name).await
}

/// Removes a set with its queries and runs.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`.
pub async fn remove(app: &App, caller: &Caller, dataset_id: &str, set: &str) -> Result<()> {
    caller.need_edit(dataset_id)?;
    let set = get(app, caller, dataset_id, set).await?;
    let mut tx = app.db.begin().await?;
    for statement in [
        "DELETE FROM kb_eval_runs WHERE tenant_id = $1 AND query_set_id = $2",
        "DELETE FROM kb_queries WHERE tenant_id = $1 AND query_set_id = $2",
        "DELETE FROM kb_query_sets WHERE tenant_id = $1 AND id = $2",
    ] {
        tx.execute(statement, args![caller.tenant(), &set.id])
            .await?;
    }
    tx.commit().await
}

/// A query to add; if the set has the same text, its labels are added to the existing ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewQuery {
    /// The query text.
    pub text: String,
    /// Labels by ids of documents or chunks, by passages, or by external ids or file names of documents.
    pub labels: Labels,
    /// Whether it was generated from a title or heading; cleared when a person labels the query.
    pub generated: bool,
}

/// Adds queries; returns the number of new ones, and the label names that match no document.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`, `queries_invalid`.
pub async fn add(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
    new: Vec<NewQuery>,
) -> Result<(usize, Vec<String>)> {
    caller.need_edit(dataset_id)?;
    let set = get(app, caller, dataset_id, set).await?;
    check(&new)?;
    let (known, unknown) = resolved(app, caller, dataset_id, &new).await?;
    let mut tx = app.db.begin().await?;
    // Locked first, so that concurrent changes of a query are serialized.
    tx.execute(
        "UPDATE kb_query_sets SET updated_on = $1 WHERE tenant_id = $2 AND id = $3",
        args![app.clock.now(), caller.tenant(), &set.id],
    )
    .await?;
    let (count,): (i64,) = tx
        .optional(
            "SELECT COUNT(*) FROM kb_queries WHERE tenant_id = $1 AND query_set_id = $2",
            args![caller.tenant(), &set.id],
        )
        .await?
        .unwrap_or((0,));
    let mut added = 0;
    for query in new {
        // With only unresolved labels, it would count as unanswerable.
        if !query.labels.is_empty() && !query.labels.keys().any(|name| known.contains_key(name)) {
            continue;
        }
        let named = query.labels.iter();
        let labels: Labels = named
            .filter_map(|(name, grade)| Some((known.get(name)?.clone(), *grade)))
            .collect();
        let query = NewQuery { labels, ..query };
        added += usize::from(upsert(app, &mut tx, caller, &set.id, query).await?);
    }
    let total = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_add(added);
    if total > MAX_QUERIES {
        return Err(Error::invalid(
            "queries_invalid",
            format!("a query set may have at most {MAX_QUERIES} queries"),
        ));
    }
    tx.commit().await?;
    Ok((added, unknown))
}

fn check(new: &[NewQuery]) -> Result<()> {
    let fits = |query: &NewQuery| {
        !query.text.trim().is_empty()
            && query.text.len() <= MAX_TEXT
            && !query.text.contains('\0')
            && query.labels.len() <= MAX_LABELS
            && query.labels.values().all(|g| (0..=2).contains(g))
    };
    if new.iter().all(fits) && new.len() <= MAX_QUERIES {
        Ok(())
    } else {
        Err(Error::invalid(
            "queries_invalid",
            format!(
                "a query must have 1 to {MAX_TEXT} bytes and at most {MAX_LABELS} labels from 0 to 2, and a set at most {MAX_QUERIES} queries"
            ),
        ))
    }
}

/// Returns the id of each label name, and the names that match nothing.
async fn resolved(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    new: &[NewQuery],
) -> Result<(HashMap<String, String>, Vec<String>)> {
    let mut names: Vec<String> = new.iter().flat_map(|q| q.labels.keys().cloned()).collect();
    names.sort_unstable();
    names.dedup();
    let mut known: HashMap<String, String> = HashMap::new();
    let passages: Vec<(&String, &str)> = names
        .iter()
        .filter_map(|name| Some((name, parse_passage(name)?.0)))
        .collect();
    let documents: Vec<String> = passages.iter().map(|(_, d)| (*d).to_owned()).collect();
    let rows: Vec<(String,)> = app
        .db
        .all_in(
            "SELECT id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id IN ($LIST)",
            args![caller.tenant(), dataset_id],
            &documents,
        )
        .await?;
    for (name, document) in passages {
        if rows.iter().any(|(id,)| id == document) {
            known.insert(name.clone(), name.clone());
        }
    }
    // The first match counts: ids take precedence over names.
    for statement in [
        "SELECT id, id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND id IN ($LIST)",
        "SELECT id, document_id || '@' || start_char || '-' || end_char FROM kb_chunks WHERE tenant_id = $1 AND dataset_id = $2 AND id IN ($LIST)",
        "SELECT external_id, id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND external_id IN ($LIST)",
        "SELECT file_name, id FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND file_name IN ($LIST)",
    ] {
        let left: Vec<String> = names
            .iter()
            .filter(|n| !known.contains_key(*n))
            .cloned()
            .collect();
        let rows: Vec<(String, String)> = app
            .db
            .all_in(statement, args![caller.tenant(), dataset_id], &left)
            .await?;
        known.extend(rows);
    }
    names.retain(|n| !known.contains_key(n));
    Ok((known, names))
}

async fn upsert(
    app: &App,
    tx: &mut Tx,
    caller: &Caller,
    set_id: &str,
    new: NewQuery,
) -> Result<bool> {
    let text = new.text.trim();
    let there: Option<Query> = tx
        .optional(
            "SELECT id, text, labels, generated, created_on FROM kb_queries WHERE tenant_id = $1 AND query_set_id = $2 AND text = $3",
            args![caller.tenant(), set_id, text],
        )
        .await?;
    let Some(there) = there else {
        tx.execute(
            "INSERT INTO kb_queries (id, tenant_id, query_set_id, text, labels, created_on, generated) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![app.clock.id(), caller.tenant(), set_id, text, serde_json::to_string(&new.labels)?, app.clock.now(), new.generated],
        )
        .await?;
        return Ok(true);
    };
    let mut merged = there.labels()?;
    merged.extend(new.labels);
    let generated = there.generated && new.generated;
    tx.execute(
        "UPDATE kb_queries SET labels = $1, generated = $4 WHERE tenant_id = $2 AND id = $3",
        args![
            serde_json::to_string(&merged)?,
            caller.tenant(),
            &there.id,
            generated
        ],
    )
    .await?;
    Ok(false)
}

/// Removes a query from a set.
///
/// # Errors
/// `dataset_not_found`, `query_set_not_found`, `query_not_found`.
pub async fn remove_query(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    set: &str,
    id: &str,
) -> Result<()> {
    caller.need_edit(dataset_id)?;
    let set = get(app, caller, dataset_id, set).await?;
    let gone = app
        .db
        .execute(
            "DELETE FROM kb_queries WHERE tenant_id = $1 AND query_set_id = $2 AND id = $3",
            args![caller.tenant(), &set.id, id],
        )
        .await?;
    if gone == 0 {
        return Err(Error::not_found(
            "query_not_found",
            "query not found in this set",
        ));
    }
    Ok(())
}

/// Records feedback on a hit as a label of the query in the set named `feedback`.
///
/// # Errors
/// `dataset_not_found`, `queries_invalid`, `document_not_found` for an item that is not in the dataset.
pub async fn feedback(app: &App, caller: &Caller, dataset_id: &str, query: NewQuery) -> Result<()> {
    caller.need(Scope::KbSearch)?;
    datasets::settings(app, caller, dataset_id).await?;
    check(std::slice::from_ref(&query))?;
    let (_, unknown) = resolved(app, caller, dataset_id, std::slice::from_ref(&query)).await?;
    if let Some(name) = unknown.first() {
        return Err(Error::not_found(
            "document_not_found",
            format!("{name:?} is not a document or chunk of this dataset"),
        ));
    }
    // Feedback needs the right to search only; creating the set needs the right to write.
    let writer = Caller::local(caller.tenant());
    match create(app, &writer, dataset_id, FEEDBACK).await {
        Err(error) if error.code() != "query_set_exists" => return Err(error),
        _ => {}
    }
    add(app, &writer, dataset_id, FEEDBACK, vec![query]).await?;
    Ok(())
}

/// Generates known-item queries: a title or heading that only one document has becomes a query, and the document its answer. They measure whether a document
/// can be found at all, and are easier than questions of people.
///
/// # Errors
/// `dataset_not_found`.
pub async fn synthetic(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    items: Items,
    limit: usize,
) -> Result<Vec<NewQuery>> {
    caller.need(Scope::KbRead)?;
    let dataset = datasets::settings(app, caller, dataset_id).await?;
    let rows: Vec<(String, String)> = match items {
        Items::Titles => {
            app.db
                .all(
                    "SELECT id, title FROM kb_documents WHERE tenant_id = $1 AND dataset_id = $2 AND enabled = TRUE AND title IS NOT NULL ORDER BY id",
                    args![caller.tenant(), dataset_id],
                )
                .await?
        }
        Items::Headings => {
            app.db
                .all(
                    "SELECT DISTINCT c.document_id, c.heading_path FROM kb_chunks c JOIN kb_documents d ON d.id = c.document_id
                     WHERE c.tenant_id = $1 AND c.set_id = $2 AND d.enabled = TRUE AND c.enabled = TRUE AND c.heading_path <> '[]'",
                    args![caller.tenant(), &dataset.live_set],
                )
                .await?
        }
    };
    let mut owners: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (document_id, text) in rows {
        let text = match items {
            Items::Titles => text,
            Items::Headings => {
                let path: Vec<String> = serde_json::from_str(&text)?;
                path.last().cloned().unwrap_or_default()
            }
        };
        let text = text.trim().to_owned();
        // A single word is rarely a query that only one document answers.
        if text.split_whitespace().count() < 2 {
            continue;
        }
        owners
            .entry(text)
            .and_modify(|owner| {
                if owner.as_ref() != Some(&document_id) {
                    *owner = None;
                }
            })
            .or_insert(Some(document_id));
    }
    let mut queries: Vec<NewQuery> = owners
        .into_iter()
        .filter_map(|(text, owner)| {
            Some(NewQuery {
                text,
                labels: Labels::from([(owner?, 2)]),
                generated: true,
            })
        })
        .collect();
    // Spread over the alphabet, so that a limit does not select only its beginning.
    let step = queries.len().div_ceil(limit.max(1)).max(1);
    queries = queries.into_iter().step_by(step).collect();
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_trec_files_are_read() {
        let csv = "query,document,grade\nhow to pay,billing.md,2\nhow to pay,faq.md,\nno answer to this,,\n";
        let found = from_csv(csv.as_bytes()).expect("reads");
        let expected = |text: &str, labels: &[(&str, i64)]| NewQuery {
            text: text.to_owned(),
            labels: labels.iter().map(|(d, g)| ((*d).to_owned(), *g)).collect(),
            generated: false,
        };
        assert_eq!(
            found,
            [
                expected("how to pay", &[("billing.md", 2), ("faq.md", 1)]),
                expected("no answer to this", &[])
            ]
        );
        let found = from_trec(
            "1\tred fox\n{\"_id\":\"2\",\"text\":\"blue whale\"}\n3\tunjudged\n",
            "query-id corpus-id score\n1 0 d1 1\n1 0 d2 0\n2\td3\t4\n",
        );
        assert_eq!(
            found.expect("reads"),
            [
                expected("red fox", &[("d1", 1), ("d2", 0)]),
                expected("blue whale", &[("d3", 2)])
            ]
        );
    }

    #[test]
    fn faults_name_their_line() {
        let error = from_csv(b"query,document,grade\na,b,high\n").expect_err("no grade");
        assert!(error.to_string().contains("line 2"), "{error}");
        let error = from_trec("1 no tab", "").expect_err("no tab");
        assert!(error.to_string().contains("topics, line 1"), "{error}");
    }
}
