//! Query sets from files: CSV, and queries with judgements in the formats of TREC and BEIR.

use std::collections::{BTreeMap, HashMap};

use super::{Labels, NewQuery};
use crate::error::{Error, Result};

/// Source of known-item queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// The title of a document is a query for the document.
    Titles,
    /// A heading is a query for the document that has it.
    Headings,
}

/// Reads queries with labels from a CSV file with the columns `query`, `document` and `grade` (1 when absent; an empty `document` marks an unanswerable query).
///
/// # Errors
/// `queries_invalid`, with the line number.
pub fn from_csv(bytes: &[u8]) -> Result<Vec<NewQuery>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let bad =
        |line: u64, what: String| Error::invalid("queries_invalid", format!("line {line}: {what}"));
    let headers = reader.headers().map_err(|e| bad(1, e.to_string()))?.clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|h| h.trim().eq_ignore_ascii_case(name))
    };
    let (Some(query), Some(document)) = (column("query"), column("document")) else {
        return Err(bad(
            1,
            "the columns query and document are required".to_owned(),
        ));
    };
    let grade = column("grade");
    let mut found: BTreeMap<String, Labels> = BTreeMap::new();
    for record in reader.records() {
        let record =
            record.map_err(|e| bad(e.position().map_or(0, csv::Position::line), e.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |i: usize| record.get(i).unwrap_or_default().trim().to_owned();
        let labels = found.entry(cell(query)).or_default();
        if cell(document).is_empty() {
            continue;
        }
        let grade = match grade.map(cell).filter(|g| !g.is_empty()) {
            None => 1,
            Some(text) => text
                .parse()
                .map_err(|_| bad(line, format!("{text:?} is not a valid grade")))?,
        };
        labels.insert(cell(document), grade);
    }
    Ok(found
        .into_iter()
        .map(|(text, labels)| NewQuery {
            text,
            labels,
            generated: false,
        })
        .collect())
}

/// Reads queries (`id<TAB>text` or JSONL of `_id` and `text`, as in BEIR) and judgements in TREC or BEIR form (`query 0 document grade`, or
/// `query document grade`). Grades above 2 count as 2.
///
/// # Errors
/// `queries_invalid`, with the line number.
pub fn from_trec(topics: &str, qrels: &str) -> Result<Vec<NewQuery>> {
    let bad = |file: &str, line: usize, what: &str| {
        Error::invalid("queries_invalid", format!("{file}, line {line}: {what}"))
    };
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (number, line) in (1..)
        .zip(topics.lines())
        .filter(|(_, l)| !l.trim().is_empty())
    {
        if line.trim_start().starts_with('{') {
            let row: serde_json::Value =
                serde_json::from_str(line).map_err(|e| bad("topics", number, &e.to_string()))?;
            match (row["_id"].as_str(), row["text"].as_str()) {
                (Some(id), Some(text)) => texts.insert(id.to_owned(), text.to_owned()),
                _ => return Err(bad("topics", number, "_id and text are required")),
            };
        } else {
            let (id, text) = line
                .split_once('\t')
                .ok_or_else(|| bad("topics", number, "an id, a tab and a text are required"))?;
            texts.insert(id.trim().to_owned(), text.trim().to_owned());
        }
    }
    let mut labels: HashMap<&str, Labels> = HashMap::new();
    for (number, line) in (1..)
        .zip(qrels.lines())
        .filter(|(_, l)| !l.trim().is_empty())
    {
        // In tab-separated files, names may contain spaces.
        let cells: Vec<&str> = if line.contains('\t') {
            line.split('\t').map(str::trim).collect()
        } else {
            line.split_whitespace().collect()
        };
        let (query, document, grade) = match cells[..] {
            [query, _, document, grade] => (query, document, grade),
            [query, document, grade] => (query, document, grade),
            _ => return Err(bad("qrels", number, "three or four columns are required")),
        };
        let Ok(grade) = grade.parse::<i64>() else {
            // The first line may be a header.
            if number == 1 {
                continue;
            }
            return Err(bad("qrels", number, "the grade is not a number"));
        };
        labels
            .entry(query)
            .or_default()
            .insert(document.to_owned(), grade.clamp(0, 2));
    }
    Ok(texts
        .into_iter()
        .filter_map(|(id, text)| {
            Some(NewQuery {
                text,
                labels: labels.remove(id.as_str())?,
                generated: false,
            })
        })
        .collect())
}
