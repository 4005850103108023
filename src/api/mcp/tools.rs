//! Implementations of the tools: domain calls, with answers truncated to their token budgets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::parameters as p;
use crate::api::request_id;
use crate::app::App;
use crate::auth::{Caller, Scope, scopes};
use crate::data::FOLDER;
use crate::data::rows;
use crate::error::{Error, Result};
use crate::kb::citation::Citation;
use crate::kb::citations::{self, Source, Verdict};
use crate::kb::filter::Filter;
use crate::kb::visible::{self, Texts, VisibleText};
use crate::kb::{Dataset, chunks, datasets, documents};
use crate::knowledge::findings::{self, NewFinding};
use crate::knowledge::{ARTICLE, FINDING};
use crate::page::Page;
use crate::records::store::{self, Numbered};
use crate::records::{self, Kind as RecordKind, Record};
use crate::search::{self, Hit, Request};

/// Characters per token, a conservative estimate for English; other languages have fewer characters per token, so budgets are approximate in the reader's
/// tokens.
const CHARACTERS: usize = 4;
/// Length of a snippet in characters.
const SNIPPET: usize = 300;
/// Maximum number of datasets in a search.
const DATASETS: i64 = 50;
/// Datasets per page of the list.
const LISTED: i64 = 200;

fn within(
    name: &str,
    given: Option<usize>,
    otherwise: usize,
    least: usize,
    most: usize,
) -> Result<usize> {
    let value = given.unwrap_or(otherwise);
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid(
            "parameter_invalid",
            format!("{name} must be between {least} and {most}"),
        ))
    }
}

/// Returns the estimated number of tokens of a JSON value.
fn tokens(value: &Value) -> usize {
    value.to_string().chars().count().div_ceil(CHARACTERS)
}

async fn dataset(app: &App, caller: &Caller, name: &str) -> Result<Dataset> {
    datasets::by_name(app, caller, name).await
}

/// Citations of copies by the citation of the hit that stands for them.
type Copies = HashMap<String, Vec<String>>;
/// Copies of a hit that are named.
const COPIES: usize = 3;

fn four_digits(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}

/// Returns the hits without those whose text a better one has, as in copies of a document, and the citations of these by the citation of the better one.
fn folded(hits: Vec<Hit>) -> (Vec<Hit>, Copies) {
    let mut kept: Vec<Hit> = Vec::new();
    let mut copies = Copies::new();
    for hit in hits {
        match kept.iter().find(|k| k.chunk.content == hit.chunk.content) {
            Some(better) => {
                let same = copies.entry(better.citation().to_string()).or_default();
                same.push(hit.citation().to_string());
            }
            None => kept.push(hit),
        }
    }
    (kept, copies)
}

fn shown(hit: &Hit, detail: p::Detail) -> Value {
    let mut out = json!({"citation": hit.citation().to_string(), "title": hit.title.as_ref().unwrap_or(&hit.file_name), "score": four_digits(hit.score)});
    if detail == p::Detail::Ids {
        return out;
    }
    let headings = hit.chunk.headings();
    if !headings.is_empty() {
        out["headings"] = json!(headings);
    }
    if let Some(url) = &hit.url {
        out["url"] = json!(url);
    }
    if let Some(page) = hit.chunk.page {
        out["page"] = json!(page);
    }
    let content = &hit.chunk.content;
    out["text"] = if detail == p::Detail::Full || content.chars().count() <= SNIPPET {
        json!(content)
    } else {
        json!(format!(
            "{}…",
            content.chars().take(SNIPPET).collect::<String>()
        ))
    };
    out
}

/// Returns the hits that fit into a budget, and the number of those that do not.
fn fitting(hits: &[Hit], copies: &Copies, detail: p::Detail, budget: usize) -> (Vec<Value>, usize) {
    let (mut out, mut spent) = (Vec::new(), 100);
    for hit in hits {
        let mut value = shown(hit, detail);
        if let Some(also) = copies.get(&hit.citation().to_string()) {
            value["also_in"] = also.iter().take(COPIES).map(|c| json!(c)).collect();
        }
        let mut cost = tokens(&value);
        if out.is_empty() && spent + cost > budget && value["text"].is_string() {
            // The best hit is always included, truncated if necessary.
            let keep = budget.saturating_sub(spent + 100) * CHARACTERS;
            value["text"] = json!(format!(
                "{}…",
                hit.chunk.content.chars().take(keep).collect::<String>()
            ));
            cost = tokens(&value);
        }
        if !out.is_empty() && spent + cost > budget {
            break;
        }
        spent += cost;
        out.push(value);
    }
    let left = hits.len() - out.len();
    (out, left)
}

pub(super) async fn search(app: &Arc<App>, caller: &Caller, input: p::Search) -> Result<Value> {
    let budget = within("max_tokens", input.max_tokens, 2000, 200, 20_000)?;
    let (mut ids, mut all) = (Vec::new(), true);
    if input.datasets.is_empty() {
        let page = Page::read(Some(DATASETS), None, DATASETS)?;
        let listing = datasets::visible(app, caller, &page).await?;
        all = listing.next.is_none();
        ids.extend(listing.items.into_iter().map(|d| d.id));
    } else {
        for name in &input.datasets {
            ids.push(dataset(app, caller, name).await?.id);
        }
    }
    if ids.is_empty() {
        return Err(Error::not_found(
            "dataset_not_found",
            "this key may not search any dataset",
        ));
    }
    let filter = input.filter.as_ref().map(Filter::read).transpose()?;
    let request = Request {
        top_k: within("top_k", input.top_k, 5, 1, 20)?,
        min_score: input.min_score,
        filter,
        cursor: input.cursor,
        ..Request::new(input.query, ids)
    };
    let answer = search::search(app, caller, &request).await?;
    let (hits, copies) = folded(answer.hits);
    let (hits, left) = fitting(&hits, &copies, input.detail, budget);
    let mut out = json!({"hits": hits, "confidence": answer.confidence});
    if left > 0 {
        out["left_out"] = json!(format!(
            "{left} hits did not fit into max_tokens; raise max_tokens or use detail=ids"
        ));
    }
    if !all {
        out["not_searched"] = json!(format!(
            "only the first {DATASETS} datasets were searched; list the relevant ones in `datasets`"
        ));
    }
    if answer.read_as_plain {
        out["note"] =
            json!("the query's operators matched nothing, so it was searched as plain words");
    }
    if !answer.degraded.is_empty() {
        out["degraded"] = json!(answer.degraded);
    }
    if let Some(words) = answer.did_you_mean {
        out["did_you_mean"] = json!(words);
    }
    if let Some(next) = answer.next {
        out["next_cursor"] = json!(next);
    }
    Ok(out)
}

/// Returns the visible text of a document that the caller may read.
pub(super) async fn whole_text(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    document_id: &str,
) -> Result<String> {
    let (_, text) = citations::text_of(app, caller, dataset_id, document_id).await?;
    Ok(text.joined().0)
}

pub(super) async fn read(app: &App, caller: &Caller, input: p::Read) -> Result<Value> {
    let budget = within("max_tokens", input.max_tokens, 4000, 100, 20_000)? * CHARACTERS;
    let (dataset_id, document_id, place) = match (&input.citation, &input.dataset, &input.document)
    {
        (Some(citation), None, None) => {
            let resolved = citations::resolve(app, caller, &citation.parse()?).await?;
            let c = resolved.citation;
            (
                c.dataset_id,
                c.document_id,
                Some((
                    usize::try_from(c.start).unwrap_or(0),
                    usize::try_from(c.end).unwrap_or(0),
                )),
            )
        }
        (None, Some(name), Some(document)) => {
            (dataset(app, caller, name).await?.id, document.clone(), None)
        }
        _ => {
            return Err(Error::invalid(
                "source_missing",
                "send either citation, or dataset and document",
            ));
        }
    };
    let (document, text) = citations::text_of(app, caller, &dataset_id, &document_id).await?;
    let length = text.length();
    let start = input
        .start
        .or(place.map(|(start, _)| start))
        .unwrap_or(0)
        .min(length);
    let wanted = input
        .end
        .or(place.filter(|_| input.start.is_none()).map(|(_, end)| end))
        .unwrap_or(length)
        .min(length)
        .max(start);
    let end = wanted.min(start + budget);
    let part = text.slice(start..end);
    let mut out = json!({
        "title": document.title.as_ref().unwrap_or(&document.file_name), "url": document.url, "length": length, "start": start, "end": end, "text": part,
    });
    if end > start {
        let citation = Citation {
            dataset_id,
            document_id,
            version: document.version,
            chunk_id: None,
            start: i64::try_from(start).unwrap_or(0),
            end: i64::try_from(end).unwrap_or(0),
        };
        out["citation"] = json!(citation.to_string());
    }
    if end < wanted {
        out["next_start"] = json!(end);
    }
    Ok(out)
}

/// Maximum number of headings in an outline.
const HEADINGS: usize = 500;

pub(super) async fn outline(app: &App, caller: &Caller, input: p::Document) -> Result<Value> {
    let dataset = dataset(app, caller, &input.dataset).await?;
    let (dataset, document) = visible::document(app, caller, &dataset.id, &input.document).await?;
    let places = chunks::outline(app, caller, &dataset, &document.id).await?;
    let (mut headings, mut before) = (Vec::new(), Vec::<String>::new());
    for (path, start) in places {
        if path != before && !path.is_empty() {
            headings.push(json!({"heading": path.join(" > "), "start": start}));
        }
        before = path;
    }
    let cut = headings.len() > HEADINGS;
    headings.truncate(HEADINGS);
    Ok(
        json!({"title": document.title.unwrap_or(document.file_name), "pages": document.pages, "headings": headings, "cut": cut}),
    )
}

pub(super) async fn similar(app: &Arc<App>, caller: &Caller, input: p::Similar) -> Result<Value> {
    let budget = within("max_tokens", input.max_tokens, 2000, 200, 20_000)?;
    let top_k = within("top_k", input.top_k, 5, 1, 20)?;
    let found = citations::resolve(app, caller, &input.citation.parse()?).await?;
    let other = Filter::read(
        &json!({"not": {"field": "$documentId", "op": "eq", "value": found.citation.document_id}}),
    )?;
    let request = Request {
        top_k,
        filter: Some(other),
        plain: true,
        ..Request::new(
            found.text.chars().take(900).collect::<String>(),
            vec![found.citation.dataset_id],
        )
    };
    let answer = search::search(app, caller, &request).await?;
    let (hits, left) = fitting(&answer.hits, &Copies::new(), p::Detail::Snippets, budget);
    Ok(json!({"hits": hits, "left_out": left}))
}

/// Time limit of a grep.
const GREP: Duration = Duration::from_secs(10);
/// Characters shown per line.
const LINE: usize = 300;
/// Bytes of a line that are searched between two checks of the time limit.
const PIECE: usize = 64 << 10;

/// A matching line.
struct Match {
    number: usize,
    /// Offset of the line in the document's text, in characters.
    start: usize,
    /// Length of the whole line, in characters.
    length: usize,
    text: String,
}

/// Returns the matching lines of a text, at most `most`; `None` when the time limit is exceeded.
fn matching(
    text: &VisibleText,
    pattern: &Regex,
    most: usize,
    deadline: Instant,
) -> Option<Vec<Match>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut rest = line.text;
        loop {
            if Instant::now() > deadline {
                return None;
            }
            let piece = &rest[..rest.floor_char_boundary(PIECE)];
            if pattern.is_match(piece) {
                found.push(Match {
                    number: line.number,
                    start: line.start,
                    length: line.text.chars().count(),
                    text: line.text.chars().take(LINE).collect(),
                });
                break;
            }
            rest = &rest[piece.len()..];
            if rest.is_empty() {
                break;
            }
        }
        if found.len() == most {
            break;
        }
    }
    Some(found)
}

pub(super) async fn grep(app: &App, caller: &Caller, input: p::Grep) -> Result<Value> {
    caller.need(Scope::KbSearch)?;
    let limit = within("limit", input.limit, 50, 1, 200)?;
    let pattern = RegexBuilder::new(&input.pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|e| Error::invalid("pattern_invalid", e.to_string()))?;
    let dataset = dataset(app, caller, &input.dataset).await?;
    let deadline = Instant::now() + GREP;
    let (mut matches, mut searched, mut cursor) = (Vec::new(), 0, String::new());
    let mut complete = true;
    'all: loop {
        let page = documents::texts_after(app, caller.tenant(), &dataset.id, &cursor, 100).await?;
        let Some((last, ..)) = page.last() else {
            break;
        };
        cursor.clone_from(last);
        let ids: Vec<String> = page.iter().map(|(id, ..)| id.clone()).collect();
        let mut texts = Texts::of(app, &dataset, &ids).await?;
        for (id, name, hash, version) in page {
            let text = texts.take(app, &dataset, &id, hash).await?;
            let (pattern, room) = (pattern.clone(), limit - matches.len());
            let found =
                tokio::task::spawn_blocking(move || matching(&text, &pattern, room + 1, deadline))
                    .await?;
            let Some(found) = found else {
                complete = false;
                break 'all;
            };
            searched += 1;
            for line in found {
                if matches.len() >= limit {
                    complete = false;
                    break 'all;
                }
                let start = i64::try_from(line.start).unwrap_or(0);
                let citation = Citation {
                    dataset_id: dataset.id.clone(),
                    document_id: id.clone(),
                    version,
                    chunk_id: None,
                    start,
                    end: start + i64::try_from(line.length).unwrap_or(0),
                };
                matches.push(json!({"citation": citation.to_string(), "name": name, "line": line.number, "text": line.text}));
            }
        }
    }
    Ok(json!({"matches": matches, "documents_searched": searched, "complete": complete}))
}

/// Converts a stored text into JSON.
fn stored(_: &RecordKind, record: &Record) -> Result<Value> {
    Ok(json!({"id": record.id, "title": record.title, "document": record.document_id}))
}

/// Stores an article or a finding; returns it with its near-duplicates.
async fn store_text(
    app: &Arc<App>,
    caller: &Caller,
    (operation, kind): (&'static str, &'static RecordKind),
    new: NewFinding,
) -> Result<Value> {
    let request = records::Request {
        request_id: request_id(),
        ..records::Request::internal(caller, operation)
    };
    let answer = records::execute(app, &request, || async {
        let (mut plan, duplicates) = findings::post(app, caller, kind, new.clone()).await?;
        let duplicates: Vec<Value> = duplicates
            .into_iter()
            .map(|d| json!({"id": d.record_id, "title": d.title, "similarity": d.similarity}))
            .collect();
        plan.shown
            .insert("duplicates".to_owned(), json!(duplicates));
        Ok(plan.viewed(stored))
    })
    .await?;
    Ok(answer.data)
}

pub(super) async fn post_finding(
    app: &Arc<App>,
    caller: &Caller,
    input: p::Finding,
) -> Result<Value> {
    let mut more = Map::new();
    for (name, value) in [("source", input.source), ("url", input.url)] {
        if let Some(value) = value {
            more.insert(name.to_owned(), json!(value));
        }
    }
    if !input.sources.is_empty() {
        more.insert("sources".to_owned(), json!(input.sources));
    }
    let new = NewFinding {
        title: input.title,
        texts: vec![("findings", input.findings)],
        more,
        supersedes: input.supersedes,
    };
    store_text(app, caller, ("post_finding", &FINDING), new).await
}

pub(super) async fn add_knowledge(
    app: &Arc<App>,
    caller: &Caller,
    input: p::Article,
) -> Result<Value> {
    let new = NewFinding {
        title: input.title,
        texts: vec![("content", input.content)],
        more: Map::new(),
        supersedes: input.supersedes,
    };
    store_text(app, caller, ("add_knowledge", &ARTICLE), new).await
}

pub(super) async fn append_rows(app: &App, caller: &Caller, input: p::Rows) -> Result<Value> {
    let request = records::Request {
        request_id: request_id(),
        ..records::Request::internal(caller, "append_rows")
    };
    let plan = || {
        rows::append(app, caller, &input.folder, input.rows.clone(), |_, rows| {
            let ids: Vec<String> = rows.into_iter().map(|row| row.id).collect();
            Ok(json!({"appended": ids}))
        })
    };
    Ok(records::execute(app, &request, plan).await?.data)
}

pub(super) async fn query_folder(
    app: &Arc<App>,
    caller: &Caller,
    input: p::Query,
) -> Result<Value> {
    let budget = within("max_tokens", input.max_tokens, 4000, 200, 20_000)?;
    let limit = within("limit", input.limit, 20, 1, 200)?;
    let Some(folder) = input.folder else {
        let page = Numbered {
            limit: 100,
            ..Numbered::default()
        };
        caller.need_unconfined(FOLDER.area.read())?;
        let filter = store::Filter::default();
        let found = store::numbered(app, caller.tenant(), &[&FOLDER], &filter, &page).await?;
        let mut list = Vec::new();
        for folder in &found.items {
            list.push(json!({"id": folder.id, "title": folder.title, "columns": folder.body()?.get("dataSchema")}));
        }
        return Ok(json!({"folders": list, "total": found.total}));
    };
    let mut conditions: Vec<Value> = input
        .equals
        .iter()
        .map(|(field, value)| json!({"field": field, "op": "eq", "value": value}))
        .collect();
    conditions.extend(input.filter.map(Value::Object));
    let mut question = rows::Query {
        filter: (!conditions.is_empty()).then(|| json!({"and": conditions})),
        select: input.select,
        sort: input.sort,
        limit: Some(limit),
        cursor: input.cursor,
        count: input.count,
        group_by: input.group_by,
        aggregates: input.aggregates,
    };
    loop {
        let found = rows::query(app, caller, &folder, &question).await?;
        let (name, list): (&str, Vec<Value>) = match found.groups {
            Some(groups) => ("groups", groups.into_iter().map(Value::Object).collect()),
            None => (
                "rows",
                found
                    .rows
                    .into_iter()
                    .map(|row| json!({"id": row.id, "position": row.seq, "data": row.data}))
                    .collect(),
            ),
        };
        let mut spent = 100;
        let fitting = list
            .iter()
            .take_while(|value| {
                spent += tokens(value);
                spent <= budget
            })
            .count();
        if fitting < list.len() {
            if fitting == 0 {
                return Err(Error::invalid(
                    "budget_too_small",
                    "the first row alone exceeds max_tokens; select fewer fields or raise max_tokens",
                ));
            }
            // Repeated with the number that fits, so that the cursor is that of the last row returned.
            question.limit = Some(fitting);
            continue;
        }
        let mut out = json!({name: list});
        for (name, value) in [
            ("total", found.total.map(Value::from)),
            ("next_cursor", found.next_cursor.map(Value::from)),
        ] {
            if let Some(value) = value {
                out[name] = value;
            }
        }
        return Ok(out);
    }
}

pub(super) async fn verify_quote(app: &App, caller: &Caller, input: p::Quote) -> Result<Value> {
    let source = match (&input.citation, &input.dataset, &input.document) {
        (Some(citation), None, None) => Source::Citation(citation.parse()?),
        (None, Some(name), Some(document)) => {
            Source::Document(dataset(app, caller, name).await?.id, document.clone())
        }
        _ => {
            return Err(Error::invalid(
                "source_missing",
                "send either citation, or dataset and document",
            ));
        }
    };
    let verified = citations::verify(app, caller, &input.quote, &source).await?;
    Ok(json!({
        "verdict": match verified.found.verdict {
            Verdict::Exact => "exact",
            Verdict::Near => "near",
            Verdict::Absent => "absent",
        },
        "similarity": verified.found.similarity,
        "text": verified.text,
        "citation": verified.citation.map(|c| c.to_string()),
        "within_citation": verified.within,
    }))
}

pub(super) async fn list_datasets(app: &App, caller: &Caller, input: p::Listed) -> Result<Value> {
    let page = Page::read(Some(LISTED), input.cursor.as_deref(), LISTED)?;
    let listing = datasets::visible(app, caller, &page).await?;
    let list: Vec<Value> = listing
        .items
        .into_iter()
        .map(|d| json!({"id": d.id, "name": d.name, "description": d.description, "documents": d.total_files}))
        .collect();
    let mut out = json!({"datasets": list});
    if let Some(next) = listing.next {
        out["next_cursor"] = json!(next);
    }
    Ok(out)
}

pub(super) fn my_permissions(caller: &Caller) -> Value {
    let may: Vec<&str> = scopes::ALL
        .iter()
        .filter(|s| caller.may(**s))
        .map(|s| s.name())
        .collect();
    let confined = caller.datasets();
    json!({"scopes": may, "confined_to_datasets": confined})
}
