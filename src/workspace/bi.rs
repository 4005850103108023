//! Questions about what a workspace holds. A dataset names a source (a kind of records, a folder of rows, or rows of its own) and perhaps a question that narrows
//! it; reports, metrics, exports and queries ask it, in the language of the rows of folders. There is no SQL to write, so there is no way to another tenant or to
//! what the service keeps for itself; whoever asks needs the right to read the source.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use super::body::{Body, invalid, text};
use super::commit::{self, Plan, Request};
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

/// A source.
pub(super) enum Source {
    Records(&'static Kind),
    Folder(String),
    Rows(Vec<Value>),
}

impl Source {
    pub(super) fn named(name: &str) -> Result<Self> {
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
pub(super) fn question(base: Option<&Value>, own: Option<&Value>) -> Result<Query> {
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
                    concat!(
                        "SELECT ",
                        crate::records::columns!(),
                        " FROM records WHERE kind = $1 AND tenant_id = $2 AND id > $3 ORDER BY id LIMIT $4"
                    ),
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
pub(super) async fn rows_of(
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

pub(super) async fn answer(
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
        let mime = match format.as_str() {
            "csv" => "text/csv",
            "parquet" => "application/vnd.apache.parquet",
            _ => "application/x-ndjson",
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
