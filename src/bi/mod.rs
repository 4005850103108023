//! Business intelligence: questions about records and rows. A dataset names a source (a kind of records, a folder of rows, or rows of its own) and perhaps a question that narrows
//! it; reports, metrics, exports and queries ask it, in the language of the rows of folders. There is no SQL to write, so there is no way to another tenant or to
//! what the service keeps for itself; whoever asks needs the right to read the source.

mod definitions;
pub mod export;
mod parquet;

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use crate::analytics;
use crate::app::App;
use crate::assets::{self, ASSET};
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::content::{self, ENTRY, POST};
use crate::crm::{ACCOUNT, COMPANY, CONTACT, DEAL, INVOICE, JOURNAL, LEAD, PAYMENT, STAGE};
use crate::data::FOLDER;
use crate::data::folders::{self, Column};
use crate::data::rows::{self, Block, Query};
use crate::db::args;
use crate::error::{Error, Result};
use crate::jobs::Task;
use crate::records::Request;
use crate::records::ValueType;
use crate::records::body::{Body, invalid, text};
use crate::records::kind::FieldType;
use crate::records::plan::{Change, Plan};
use crate::records::{self, Kind, Record, store, write};
use crate::support::{MESSAGE, QUEUE, TICKET};
use crate::work::{ACTIVITY, TASK};
pub use definitions::{ARTIFACT, DASHBOARD, DATASET, EXPORT, METRIC, REPORT};

/// Sources of queries, by the name that callers use.
static SOURCES: [(&str, &Kind); 19] = [
    ("contacts", &CONTACT),
    ("companies", &COMPANY),
    ("leads", &LEAD),
    ("deal_stages", &STAGE),
    ("deals", &DEAL),
    ("invoices", &INVOICE),
    ("payments", &PAYMENT),
    ("accounts", &ACCOUNT),
    ("journal_entries", &JOURNAL),
    ("tickets", &TICKET),
    ("ticket_messages", &MESSAGE),
    ("queues", &QUEUE),
    ("tasks", &TASK),
    ("activities", &ACTIVITY),
    ("cms_entries", &ENTRY),
    ("marketing_campaigns", &content::CAMPAIGN),
    ("marketing_posts", &POST),
    ("assets", &ASSET),
    ("analytics_events", &analytics::EVENT),
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
                "source must be one of {}, or folder:ID",
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
                .map_err(|e| invalid(format!("the query is invalid: {e}"))),
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
    let record = store::load(app, caller.tenant(), &DATASET, id).await?;
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
        let metric = store::load(app, caller.tenant(), &METRIC, id).await?;
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
        let report = store::load(app, caller.tenant(), &REPORT, id).await?;
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
        .ok_or_else(|| invalid("send one of dataset_id, report_id, metric_id and source"))?;
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
fn record_blocks(
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
                        records::columns!(),
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
                        let json = kind.to_json(r)?;
                        Ok((at, kind.public_id(&r.id), r.created_on, json.to_string()))
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
        .filter(|f| matches!(f.field_type, FieldType::Time))
        .map(|f| f.name);
    own.chain(["created_at", "updated_at"])
        .map(|name| Column {
            name: name.to_owned(),
            kind: ValueType::Date,
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
            let folder = store::get(app, tenant_id, &FOLDER, id).await?;
            let columns = folders::columns_of(&folder)?;
            let blocks = rows::blocks(Arc::clone(app), tenant_id.to_owned(), id.clone());
            (blocks.boxed(), columns)
        }
        Source::Records(kind) => {
            let blocks = record_blocks(Arc::clone(app), tenant_id.to_owned(), kind);
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
async fn check(app: &App, caller: &Caller, kind: &Kind, body: &Body) -> Result<()> {
    match kind.name {
        "bi_dataset" => {
            let is_mock = text(body, "kind") == Some("mock");
            if is_mock {
                let rows = body.get("rows").and_then(Value::as_array);
                if !rows.is_some_and(|l| l.iter().all(Value::is_object)) {
                    return Err(invalid("a mock dataset requires rows, a list of objects"));
                }
            } else {
                let source = Source::named(text(body, "source").unwrap_or_default())?;
                may_read(caller, &source)?;
                if let Source::Folder(id) = source {
                    store::get(app, caller.tenant(), &FOLDER, &id).await?;
                }
            }
            question(body.get("query"), None)?;
        }
        "bi_metric" => {
            let aggregate = body.get("aggregate").cloned().unwrap_or_default();
            serde_json::from_value::<rows::Aggregate>(aggregate)
                .map_err(|e| invalid(format!("aggregate must be {{op, field, as}}: {e}")))?;
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

/// Checks an object, settles what a new export asks, and keeps the schedule of an artifact in step with it.
async fn complete(change: &mut Change<'_>) -> Result<()> {
    check(change.app, change.caller, change.kind, &change.body).await?;
    if change.kind.is(&EXPORT) && change.is_new() {
        return settle_export(change).await;
    }
    if change.kind.is(&ARTIFACT) {
        let task = Task::Artifact {
            artifact_id: change.after.id.clone(),
        };
        let cron = text(&change.body, "cron").map(str::to_owned);
        let is_active = change.status() == Some("active");
        if is_active || !change.is_new() {
            change
                .plan
                .schedules
                .push((task, cron.filter(|_| is_active)));
        }
    }
    Ok(())
}

/// Settles the file, the source and the question of a new export: it answers what its report asks now, whatever that asks later. Those who may read the source
/// may read the export.
async fn settle_export(change: &mut Change<'_>) -> Result<()> {
    if change.status() != Some("pending") {
        return Err(invalid("a new export must have the status pending"));
    }
    let format = text(&change.body, "format").unwrap_or("csv").to_owned();
    change.set("file_name", format!("export.{format}"));
    let mime = match format.as_str() {
        "csv" => "text/csv",
        "parquet" => "application/vnd.apache.parquet",
        _ => "application/x-ndjson",
    };
    change.set("mime_type", mime);
    let (source, query) = asked(change.app, change.caller, &change.body).await?;
    change.set("source_area", area(&source).map_or("none", Area::name));
    change.set("query", json!(query));
    match source {
        Source::Records(kind) => {
            let name = SOURCES.iter().find(|(_, k)| k.is(kind));
            change.set("source", json!(name.map(|(n, _)| n)));
        }
        Source::Folder(id) => change.set("source", format!("folder:{id}")),
        Source::Rows(rows) => change.set("rows", rows),
    }
    change.plan.jobs.push(Task::Export {
        export_id: change.after.id.clone(),
    });
    Ok(())
}

/// Returns a plan that archives an object, and ends its schedule.
#[must_use]
pub fn archive(app: &App, kind: &'static Kind, record: Record) -> Plan {
    let id = record.id.clone();
    let mut plan = write::archive(app, kind, record);
    if kind.is(&ARTIFACT) {
        plan.schedules
            .push((Task::Artifact { artifact_id: id }, None));
    }
    plan
}

/// Makes the export of an artifact; the job of [`Task::Artifact`].
///
/// # Errors
/// As the database says.
pub(crate) async fn artifact(app: &Arc<App>, tenant_id: &str, id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let artifact = store::get(app, tenant_id, &ARTIFACT, id).await?;
    if artifact.status.as_deref() != Some("active") {
        return Ok(());
    }
    let mut body = artifact.body()?;
    body.shift_remove("cron");
    body.insert("artifact_id".to_owned(), json!(ARTIFACT.public_id(id)));
    let request = Request::internal(&caller, "runBiScheduledArtifact");
    records::execute(app, &request, || {
        write::create(app, &caller, &EXPORT, (&body).into())
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
        Some(name) => Area::all().any(|a| *name == a.name() && caller.may(a.read())),
        None => false,
    };
    if shown["status"] == "completed" && may {
        let id = shown["id"].as_str().unwrap_or_default().to_owned();
        let path = assets::path(app, assets::Allows::Download, caller.tenant(), &id).await?;
        shown["download_url"] = json!(path);
    }
    Ok(shown)
}
