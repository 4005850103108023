//! Questions about what a workspace holds. A dataset names a source (a kind of records, a folder of rows, or rows of its own) and perhaps a question that narrows
//! it; reports, metrics, exports and queries ask it, in the language of the rows of folders. There is no SQL to write, so there is no way to another tenant or to
//! what the service keeps for itself; whoever asks needs the right to read the source.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};

use super::commit::{self, Plan, Request};
use super::rules::{Body, invalid, text};
use super::spec::{self, Kind, Type};
use super::{assets, store};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::jobs::Task;
use crate::records::Record;
use crate::records::folders::{Column, ColumnType};
use crate::records::rows::{self, Block, Query};

/// What can be asked, by the name under which callers know it.
const SOURCES: [(&str, &Kind); 19] = [
    ("contacts", spec::CONTACT),
    ("companies", spec::COMPANY),
    ("leads", spec::LEAD),
    ("deal_stages", spec::STAGE),
    ("deals", spec::DEAL),
    ("invoices", spec::INVOICE),
    ("payments", spec::PAYMENT),
    ("accounts", spec::ACCOUNT),
    ("journal_entries", spec::JOURNAL),
    ("tickets", spec::TICKET),
    ("ticket_messages", spec::MESSAGE),
    ("queues", spec::QUEUE),
    ("tasks", spec::TASK),
    ("activities", spec::ACTIVITY),
    ("cms_entries", spec::ENTRY),
    ("marketing_campaigns", spec::CAMPAIGN),
    ("marketing_posts", spec::POST),
    ("assets", spec::ASSET),
    ("analytics_events", spec::ANALYTICS_EVENT),
];

/// Rows of an export.
const EXPORTED: usize = 1_000_000;

/// A source.
enum Source {
    Records(&'static Kind),
    Folder(String),
    Rows(Vec<Value>),
}

impl Source {
    fn named(name: &str) -> Result<Self> {
        if let Some(id) = name.strip_prefix("folder:") {
            return Ok(Self::Folder(id.to_owned()));
        }
        let known = SOURCES.iter().find(|(n, _)| *n == name);
        known.map(|(_, kind)| Self::Records(kind)).ok_or_else(|| {
            let names: Vec<&str> = SOURCES.iter().map(|(n, _)| *n).collect();
            invalid(format!(
                "source is one of {}, or folder:ID",
                names.join(", ")
            ))
        })
    }
}

/// The question of an object, joined with that of its dataset: both filters hold.
fn question(base: Option<&Value>, own: Option<&Value>) -> Result<Query> {
    let read = |value: Option<&Value>| -> Result<Query> {
        match value {
            None | Some(Value::Null) => Ok(Query::default()),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|e| invalid(format!("the query is not understood: {e}"))),
        }
    };
    let (base, own) = (read(base)?, read(own)?);
    let filter = match (base.filter, own.filter) {
        (Some(a), Some(b)) => Some(json!({"and": [a, b]})),
        (a, b) => a.or(b),
    };
    let own_shape = !own.group_by.is_empty() || !own.aggregates.is_empty();
    let pick = |a: Vec<String>, b: Vec<String>| if a.is_empty() { b } else { a };
    Ok(Query {
        filter,
        select: if own_shape {
            Vec::new()
        } else {
            pick(own.select, base.select)
        },
        sort: if own.sort.is_empty() && !own_shape {
            base.sort
        } else {
            own.sort
        },
        limit: own.limit.or(base.limit),
        cursor: own.cursor,
        count: own.count,
        group_by: if own_shape {
            own.group_by
        } else {
            base.group_by
        },
        aggregates: if own_shape {
            own.aggregates
        } else {
            base.aggregates
        },
    })
}

/// The source and the question of a stored dataset.
async fn dataset(app: &App, caller: &Caller, id: &str) -> Result<(Source, Option<Value>)> {
    let record = store::load(app, caller.tenant(), spec::DATASET, id).await?;
    if record.status.as_deref() == Some("archived") {
        return Err(Error::unprocessable(
            "dataset_archived",
            "the dataset is archived",
        ));
    }
    let body = record.body()?;
    let source = match text(&body, "kind") {
        Some("mock") => Source::Rows(
            body.get("rows")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        ),
        _ => Source::named(text(&body, "source").unwrap_or_default())?,
    };
    Ok((source, body.get("query").cloned()))
}

/// Where an object asks, and what.
async fn asked(app: &App, caller: &Caller, body: &Body) -> Result<(Source, Query)> {
    let own = body.get("query");
    if let Some(id) = text(body, "metric_id") {
        let metric = store::load(app, caller.tenant(), spec::METRIC, id).await?;
        let metric = metric.body()?;
        let (source, base) =
            dataset(app, caller, text(&metric, "dataset_id").unwrap_or_default()).await?;
        let mut shape = own.and_then(Value::as_object).cloned().unwrap_or_default();
        shape.insert("aggregates".to_owned(), json!([metric.get("aggregate")]));
        if let Some(filter) = metric.get("filter") {
            let filter = match shape.get("filter").filter(|f| !f.is_null()) {
                Some(own) => json!({"and": [filter, own]}),
                None => filter.clone(),
            };
            shape.insert("filter".to_owned(), filter);
        }
        return Ok((
            source,
            question(base.as_ref(), Some(&Value::Object(shape)))?,
        ));
    }
    if let Some(id) = text(body, "report_id") {
        let report = store::load(app, caller.tenant(), spec::REPORT, id).await?;
        let report = report.body()?;
        let (source, base) =
            dataset(app, caller, text(&report, "dataset_id").unwrap_or_default()).await?;
        let base = question(base.as_ref(), report.get("query"))?;
        return Ok((source, question(Some(&json!(base)), own)?));
    }
    if let Some(id) = text(body, "dataset_id") {
        let (source, base) = dataset(app, caller, id).await?;
        return Ok((source, question(base.as_ref(), own)?));
    }
    let source = text(body, "source")
        .ok_or_else(|| invalid("say what to ask: dataset_id, report_id, metric_id, or source"))?;
    Ok((Source::named(source)?, question(None, own)?))
}

/// Whose rights reading the source needs.
fn area(source: &Source) -> Option<Area> {
    match source {
        Source::Records(kind) => Some(kind.area),
        Source::Folder(_) => Some(Area::Data),
        Source::Rows(_) => None,
    }
}

/// Refuses those who may not read the source.
fn may_read(caller: &Caller, source: &Source) -> Result<()> {
    match area(source) {
        Some(area) => caller.need_unconfined(area.read()),
        None => Ok(()),
    }
}

/// Records read at a time.
const READ: i64 = 500;

/// The records of a kind as rows, the oldest first: their fields, with id, status and times.
fn records(
    app: Arc<App>,
    tenant_id: String,
    kind: &'static Kind,
) -> impl Stream<Item = Result<Vec<Block>>> + Send {
    stream::try_unfold((String::new(), 0_i64), move |(after, seq)| {
        let (app, tenant_id) = (Arc::clone(&app), tenant_id.clone());
        async move {
            let found: Vec<Record> = app
                .db
                .all(
                    "SELECT id, tenant_id, kind, parent_id, external_id, title, status, body, document_id, author, created_on, updated_on
                     FROM records WHERE kind = $1 AND tenant_id = $2 AND id > $3 ORDER BY id LIMIT $4",
                    args![kind.name, &tenant_id, &after, READ],
                )
                .await?;
            let Some(last) = found.last().map(|r| r.id.clone()) else {
                return Ok(None);
            };
            let count = i64::try_from(found.len()).unwrap_or(READ);
            let block = tokio::task::spawn_blocking(move || {
                let rows: Vec<(i64, String, Time, String)> = found
                    .iter()
                    .zip(seq + 1..)
                    .map(|(r, at)| {
                        let shown = commit::view(kind, r)?;
                        Ok((at, kind.shown(&r.id), r.created_on, shown.to_string()))
                    })
                    .collect::<Result<_>>()?;
                let rows = rows
                    .iter()
                    .map(|(at, id, on, json)| (*at, id.as_str(), *on, json.clone()));
                Ok::<_, Error>(Block::of(seq + 1, rows))
            })
            .await??;
            Ok(Some((vec![block], (last, seq + count))))
        }
    })
}

/// Columns that hold times, so that they are compared as such.
fn times(kind: &Kind) -> Vec<Column> {
    let own = kind
        .fields
        .iter()
        .filter(|f| f.holds == Type::Time)
        .map(|f| f.name);
    own.chain(["created_at", "updated_at"])
        .map(|name| Column {
            name: name.to_owned(),
            kind: ColumnType::Date,
            required: false,
        })
        .collect()
}

/// The rows of a source, and which of their columns hold times.
async fn rows_of(
    app: &Arc<App>,
    tenant_id: &str,
    source: &Source,
) -> Result<(BoxStream<'static, Result<Vec<Block>>>, Vec<Column>)> {
    Ok(match source {
        Source::Folder(id) => {
            let folder = crate::records::load(&app.db, tenant_id, crate::records::Kind::Folder, id)
                .await?
                .ok_or_else(|| Error::not_found("record_not_found", "there is no such folder"))?;
            let columns = crate::records::folders::columns_of(&folder)?;
            let blocks = rows::blocks(Arc::clone(app), tenant_id.to_owned(), id.clone());
            (blocks.boxed(), columns)
        }
        Source::Records(kind) => {
            let blocks = records(Arc::clone(app), tenant_id.to_owned(), kind);
            (blocks.boxed(), times(kind))
        }
        Source::Rows(list) => {
            let rows = list
                .iter()
                .zip(1..)
                .map(|(row, at)| (at, "row", Time(0), row.to_string()));
            let block = Block::of(1, rows);
            (stream::iter([Ok(vec![block])]).boxed(), Vec::new())
        }
    })
}

async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    source: &Source,
    query: &Query,
) -> Result<rows::Answer> {
    if let Source::Folder(id) = source {
        return rows::query(app, caller, id, query).await;
    }
    let (blocks, columns) = rows_of(app, caller.tenant(), source).await?;
    rows::over(app, None, blocks, &columns, query).await
}

fn shown(answer: rows::Answer) -> Value {
    let rows: Vec<Value> = match answer.groups {
        Some(groups) => groups.into_iter().map(Value::Object).collect(),
        None => answer.rows.into_iter().map(|row| row.data).collect(),
    };
    json!({"rows": rows, "row_count": rows.len(), "total": answer.total, "next_cursor": answer.next_cursor})
}

/// Runs a question: of a dataset, a report or a metric, or of a source.
///
/// # Errors
/// `body_invalid`, `record_not_found`, `scope_missing`, and those of questions about rows.
pub async fn run(app: &Arc<App>, caller: &Caller, body: &Body) -> Result<Value> {
    let (source, query) = asked(app, caller, body).await?;
    may_read(caller, &source)?;
    Ok(shown(answer(app, caller, &source, &query).await?))
}

/// Checks an object: its question must be one.
///
/// # Errors
/// `body_invalid`, `record_not_found`, `cron_invalid`.
pub(super) async fn check(app: &App, caller: &Caller, kind: &Kind, body: &Body) -> Result<()> {
    match kind.name {
        "bi_dataset" => {
            let is_mock = text(body, "kind") == Some("mock");
            if is_mock {
                let rows = body.get("rows").and_then(Value::as_array);
                if !rows.is_some_and(|l| l.iter().all(Value::is_object)) {
                    return Err(invalid("a mock dataset has rows, a list of objects"));
                }
            } else {
                let source = Source::named(text(body, "source").unwrap_or_default())?;
                may_read(caller, &source)?;
                if let Source::Folder(id) = source {
                    crate::records::get(app, caller, crate::records::Kind::Folder, &id).await?;
                }
            }
            question(body.get("query"), None)?;
        }
        "bi_metric" => {
            let aggregate = body.get("aggregate").cloned().unwrap_or_default();
            serde_json::from_value::<rows::Aggregate>(aggregate)
                .map_err(|e| invalid(format!("aggregate is {{op, field, as}}: {e}")))?;
            let (source, _) =
                dataset(app, caller, text(body, "dataset_id").unwrap_or_default()).await?;
            may_read(caller, &source)?;
        }
        "bi_report" => {
            let (source, base) =
                dataset(app, caller, text(body, "dataset_id").unwrap_or_default()).await?;
            may_read(caller, &source)?;
            let base = question(base.as_ref(), None)?;
            question(Some(&json!(base)), body.get("query"))?;
        }
        "bi_export" | "bi_artifact" => {
            let (source, _) = asked(app, caller, body).await?;
            may_read(caller, &source)?;
            if let Some(cron) = text(body, "cron") {
                crate::jobs::schedules::next(cron, app.clock.now())?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A plan that makes an object.
pub(super) async fn create(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    mut body: Body,
) -> Result<Plan> {
    check(app, caller, kind, &body).await?;
    let mut plan = Plan::default();
    if kind.name == "bi_export" {
        if text(&body, "status").is_some_and(|s| s != "pending") {
            return Err(invalid("an export begins as pending"));
        }
        let format = text(&body, "format").unwrap_or("csv").to_owned();
        body.insert("file_name".to_owned(), json!(format!("export.{format}")));
        let mime = if format == "csv" {
            "text/csv"
        } else {
            "application/x-ndjson"
        };
        body.insert("mime_type".to_owned(), json!(mime));
        // Who may read the export is who may read what it was made of; and it is made of what is said now, whatever its report says later.
        let (source, query) = asked(app, caller, &body).await?;
        body.insert(
            "source_area".to_owned(),
            json!(area(&source).map_or("none", Area::name)),
        );
        body.insert("query".to_owned(), json!(query));
        match source {
            Source::Records(kind) => {
                let name = SOURCES.iter().find(|(_, k)| k.name == kind.name);
                body.insert("source".to_owned(), json!(name.map(|(n, _)| n)));
            }
            Source::Folder(id) => {
                body.insert("source".to_owned(), json!(format!("folder:{id}")));
            }
            Source::Rows(rows) => {
                body.insert("rows".to_owned(), json!(rows));
            }
        }
    }
    let record = commit::draft(app, caller, kind, body, None);
    if kind.name == "bi_export" {
        plan.jobs.push(Task::Export {
            export_id: record.id.clone(),
        });
    }
    if kind.name == "bi_artifact" && record.status.as_deref() == Some("active") {
        let cron = record
            .body()?
            .get("cron")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let task = Task::Artifact {
            artifact_id: record.id.clone(),
        };
        plan.schedules.push((task, cron));
    }
    let shown = plan.add(kind, record)?;
    Ok(plan.made(shown))
}

/// Keeps the schedule of an artifact in step with what it says.
///
/// # Errors
/// As the database says.
pub fn reschedule(mut plan: Plan, shown_id: &str) -> Plan {
    if let Some(id) = spec::ARTIFACT.id(shown_id) {
        let task = Task::Artifact {
            artifact_id: id.to_owned(),
        };
        let cron = plan.answer["cron"].as_str().map(str::to_owned);
        let is_active = plan.answer["status"] == "active";
        plan.schedules.push((task, cron.filter(|_| is_active)));
    }
    plan
}

/// Writes an export; the job of [`Task::Export`].
///
/// # Errors
/// As the database and the store say.
pub(crate) async fn export(app: &Arc<App>, tenant_id: &str, id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let shown = spec::EXPORT.shown(id);
    let before = store::load(app, tenant_id, spec::EXPORT, &shown).await?;
    if before.status.as_deref() != Some("pending") {
        return Ok(());
    }
    let body = before.body()?;
    let written = written(Arc::clone(app), caller.clone(), body.clone());
    let limit = app.config.upload_rows_mb << 20;
    let stored = match app
        .blobs
        .put(&app.db, tenant_id, Box::pin(written), limit)
        .await
    {
        Ok(stored) => stored,
        // What the question gets wrong, no repetition gets right.
        Err(error)
            if error.kind() == crate::error::Kind::Invalid
                || error.kind() == crate::error::Kind::NotFound =>
        {
            return failed(app, tenant_id, id, error.public_message()).await;
        }
        Err(error) => return Err(error),
    };
    let size = i64::try_from(stored.size).unwrap_or(i64::MAX);
    app.db
        .execute(
            "INSERT INTO record_files (record_id, tenant_id, hash, size_bytes, created_on) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (record_id) DO UPDATE SET hash = excluded.hash, size_bytes = excluded.size_bytes",
            args![id, tenant_id, &stored.hash, size, app.clock.now()],
        )
        .await?;
    let mut body = body;
    body.insert("byte_size".to_owned(), json!(stored.size));
    finished(app, &caller, &shown, "completed", body).await
}

/// Marks an export as failed.
///
/// # Errors
/// As the database says.
pub(crate) async fn failed(app: &App, tenant_id: &str, id: &str, message: &str) -> Result<()> {
    let shown = spec::EXPORT.shown(id);
    let record = store::load(app, tenant_id, spec::EXPORT, &shown).await?;
    let mut body = record.body()?;
    body.insert("error".to_owned(), json!(message));
    finished(app, &Caller::local(tenant_id), &shown, "failed", body).await
}

async fn finished(app: &App, caller: &Caller, shown: &str, status: &str, body: Body) -> Result<()> {
    let request = Request {
        caller,
        operation: "writeBiExport",
        request_id: String::new(),
        once: None,
    };
    commit::carry_out(app, &request, || async {
        let before = store::load(app, caller.tenant(), spec::EXPORT, shown).await?;
        let after = Record {
            status: Some(status.to_owned()),
            body: Value::Object(body.clone()).to_string(),
            ..before.clone()
        };
        let mut plan = Plan::default();
        let shown = plan.change(spec::EXPORT, before, after, app.clock.now())?;
        Ok(plan.answering(shown))
    })
    .await?;
    Ok(())
}

/// Pages of an export that has an order or groups.
const PAGES: usize = 100;

/// The rows of an export, in pieces: in one pass when nothing is to be sorted or grouped.
fn exported(
    app: Arc<App>,
    caller: Caller,
    body: Body,
) -> impl Stream<Item = Result<Vec<Map<String, Value>>>> + Send {
    async_stream::try_stream! {
        // What was worked out when the export was asked for.
        let source = match (text(&body, "source"), body.get("rows")) {
            (Some(name), _) => Source::named(name)?,
            (None, Some(Value::Array(rows))) => Source::Rows(rows.clone()),
            _ => Err(Error::internal("an export has no source"))?,
        };
        let mut query = question(None, body.get("query"))?;
        let most = query.limit.unwrap_or(EXPORTED).min(EXPORTED);
        let is_limited = query.limit.is_some();
        let mut count = 0_usize;
        let object = |value: Value| match value {
            Value::Object(row) => Some(row),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        };
        if query.sort.is_empty() && query.group_by.is_empty() && query.aggregates.is_empty() {
            let (blocks, columns) = rows_of(&app, caller.tenant(), &source).await?;
            let found = rows::all(blocks, &columns, &query)?;
            let mut pieces = std::pin::pin!(found);
            while let Some(piece) = pieces.next().await {
                let mut piece: Vec<Map<String, Value>> = piece?.into_iter().filter_map(object).collect();
                piece.truncate(most - count);
                count += piece.len();
                yield piece;
                if count == most {
                    break;
                }
            }
        } else {
            query.limit = Some(most.min(1000));
            for page in 0.. {
                if page == PAGES {
                    Err(invalid(format!("an export with an order or groups has at most {} rows; use a filter", PAGES * 1000)))?;
                }
                let found = answer(&app, &caller, &source, &query).await?;
                let mut piece: Vec<Map<String, Value>> = match found.groups {
                    Some(groups) => groups,
                    None => found.rows.into_iter().filter_map(|r| object(r.data)).collect(),
                };
                piece.truncate(most - count);
                count += piece.len();
                yield piece;
                query.cursor = found.next_cursor;
                if query.cursor.is_none() || count == most {
                    break;
                }
            }
        }
        if count == EXPORTED && !is_limited {
            Err(invalid(format!("an export has at most {EXPORTED} rows; use a filter")))?;
        }
    }
}

/// The bytes of an export.
fn written(app: Arc<App>, caller: Caller, body: Body) -> impl Stream<Item = Result<Bytes>> + Send {
    async_stream::try_stream! {
        let is_csv = text(&body, "format") != Some("jsonl");
        let mut names: Vec<String> = Vec::new();
        let mut pieces = std::pin::pin!(exported(app, caller, body));
        while let Some(piece) = pieces.next().await {
            let rows = piece?;
            let mut out = Vec::new();
            if is_csv && names.is_empty() && !rows.is_empty() {
                // Columns are those of the first piece; what later rows have beside them is told in jsonl exports.
                for name in rows.iter().flat_map(|r| r.keys()) {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
                out.extend(rows::csv_line(&names)?);
            }
            for row in &rows {
                if is_csv {
                    let cells: Vec<String> = names.iter().map(|n| rows::cell(row.get(n))).collect();
                    out.extend(rows::csv_line(&cells)?);
                } else {
                    serde_json::to_writer(&mut out, row)?;
                    out.push(b'\n');
                }
            }
            yield Bytes::from(out);
        }
    }
}

/// Makes the export of an artifact; the job of [`Task::Artifact`].
///
/// # Errors
/// As the database says.
pub(crate) async fn artifact(app: &Arc<App>, tenant_id: &str, id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let shown = spec::ARTIFACT.shown(id);
    let artifact = store::load(app, tenant_id, spec::ARTIFACT, &shown).await?;
    if artifact.status.as_deref() != Some("active") {
        return Ok(());
    }
    let mut body = artifact.body()?;
    body.shift_remove("cron");
    body.insert("artifact_id".to_owned(), json!(shown));
    let request = Request {
        caller: &caller,
        operation: "runBiScheduledArtifact",
        request_id: String::new(),
        once: None,
    };
    commit::carry_out(app, &request, || {
        create(app, &caller, spec::EXPORT, body.clone())
    })
    .await?;
    Ok(())
}

/// An export as callers see it; those who may read what it was made of get the address of its file.
///
/// # Errors
/// As the database says.
pub async fn with_download(app: &App, caller: &Caller, mut shown: Value) -> Result<Value> {
    let may = match shown.get("source_area") {
        Some(name) if *name == "none" => true,
        Some(name) => Area::ALL
            .into_iter()
            .any(|a| *name == a.name() && caller.may(a.read())),
        None => false,
    };
    if shown["status"] == "completed" && may {
        let id = shown["id"].as_str().unwrap_or_default().to_owned();
        let path = assets::path(app, assets::Allows::Download, caller.tenant(), &id).await?;
        shown["download_url"] = json!(path);
    }
    Ok(shown)
}
