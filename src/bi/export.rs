//! Exports: what a question finds, written to a file as CSV, JSON lines or Parquet.
//!
//! CSV and Parquet have one set of columns for all rows, and what the columns are is known when the last row is. So rows go to a scratch file first, as JSON lines,
//! while their columns are gathered; the file is written from there. JSON lines need no columns and are written at once.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use tokio_util::io::ReaderStream;

use super::{EXPORT, Source, parquet};
use crate::app::App;
use crate::assets;
use crate::auth::Caller;
use crate::blobs::Stored;
use crate::data::rows;
use crate::error::{Error, Result};
use crate::records::body::{Body, invalid, text};
use crate::records::{self, Record, store};
use crate::records::{Plan, Request};

/// Rows of an export.
const EXPORTED: usize = 1_000_000;
/// Pages of an export that has an order or groups.
const PAGES: usize = 100;
/// Rows as JSON lines take more room than as CSV, but not without measure.
const WIDER: u64 = 8;
/// Columns of an export in CSV or Parquet.
const COLUMNS: usize = 2000;

/// Writes an export; the job of [`Task::Export`].
///
/// # Errors
/// As the database and the store say.
pub(crate) async fn run(app: &Arc<App>, tenant_id: &str, id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let before = store::get(app, tenant_id, &EXPORT, id).await?;
    if before.status.as_deref() != Some("pending") {
        return Ok(());
    }
    let body = before.body()?;
    let stored = match stored(app, &caller, &body).await {
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
    let mut tx = app.db.begin().await?;
    assets::keep(&mut tx, tenant_id, id, &stored, app.clock.now()).await?;
    tx.commit().await?;
    let mut body = body;
    body.insert("byte_size".to_owned(), json!(stored.size));
    finished(app, &caller, id, "completed", body).await
}

/// Marks an export as failed.
///
/// # Errors
/// As the database says.
pub(crate) async fn failed(app: &App, tenant_id: &str, id: &str, message: &str) -> Result<()> {
    let record = store::get(app, tenant_id, &EXPORT, id).await?;
    let mut body = record.body()?;
    body.insert("error".to_owned(), json!(message));
    finished(app, &Caller::local(tenant_id), id, "failed", body).await
}

async fn finished(app: &App, caller: &Caller, id: &str, status: &str, body: Body) -> Result<()> {
    let request = Request::internal(caller, "writeBiExport");
    records::execute(app, &request, || async {
        let before = store::get(app, caller.tenant(), &EXPORT, id).await?;
        let after = Record {
            status: Some(status.to_owned()),
            body: Value::Object(body.clone()).to_string(),
            ..before.clone()
        };
        let mut plan = Plan::default();
        plan.update(&EXPORT, before, after, app.clock.now());
        Ok(plan)
    })
    .await?;
    Ok(())
}

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
            _ => Err(Error::internal("an export requires a source"))?,
        };
        let mut query = super::question(None, body.get("query"))?;
        if query.limit.is_some_and(|limit| limit > EXPORTED) {
            Err(too_many())?;
        }
        let most = query.limit.unwrap_or(EXPORTED);
        let is_limited = query.limit.is_some();
        let mut count = 0_usize;
        if query.sort.is_empty() && query.group_by.is_empty() && query.aggregates.is_empty() {
            let (blocks, columns) = super::rows_of(&app, caller.tenant(), &source).await?;
            let found = rows::all(blocks, &columns, &query)?;
            let mut pieces = std::pin::pin!(found);
            while let Some(piece) = pieces.next().await {
                let mut piece: Vec<Map<String, Value>> = piece?.into_iter().filter_map(object).collect();
                if !is_limited && count + piece.len() > EXPORTED {
                    Err(too_many())?;
                }
                piece.truncate(most - count);
                count += piece.len();
                yield piece;
                if is_limited && count == most {
                    break;
                }
            }
        } else {
            query.limit = Some(most.min(1000));
            for page in 0.. {
                if page == PAGES {
                    Err(invalid(format!("an export with sorting or groups may have at most {} rows; use a filter", PAGES * 1000)))?;
                }
                let found = super::answer(&app, &caller, &source, &query).await?;
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
    }
}

fn too_many() -> Error {
    invalid(format!(
        "an export may have at most {EXPORTED} rows; use a filter"
    ))
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(row) => Some(row),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

/// Writes the file of an export and stores it.
async fn stored(app: &Arc<App>, caller: &Caller, body: &Body) -> Result<Stored> {
    let limit = app.config.upload_rows_mb << 20;
    let format = text(body, "format").unwrap_or("csv");
    let pieces = exported(Arc::clone(app), caller.clone(), body.clone());
    let put = |written: BoxStream<'static, Result<Bytes>>| {
        app.blobs.put(&app.db, caller.tenant(), written, limit)
    };
    if format == "jsonl" {
        let lines = pieces.map(|piece| lines(&piece?).map(Bytes::from));
        return put(lines.boxed()).await;
    }
    let (spool, columns) = spool(app, pieces, limit).await?;
    let is_csv = format == "csv";
    let scratch = app.parser.scratch.clone();
    let written = tokio::task::spawn_blocking(move || {
        let rows = rows_in(spool);
        let out = BufWriter::new(tempfile::tempfile_in(scratch)?);
        let mut out = if is_csv {
            csv(rows, &columns, out)?
        } else {
            parquet::write(rows, &columns, out)?
        };
        out.rewind()?;
        Ok::<_, Error>(out)
    })
    .await??;
    let written = ReaderStream::with_capacity(tokio::fs::File::from_std(written), 1 << 18);
    put(written.map_err(Error::from).boxed()).await
}

fn lines(rows: &[Map<String, Value>]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut out, row)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// All rows in a file without a name, and their columns.
async fn spool(
    app: &App,
    pieces: impl Stream<Item = Result<Vec<Map<String, Value>>>> + Send,
    limit: u64,
) -> Result<(File, Columns)> {
    let scratch = app.parser.scratch.clone();
    let mut state = tokio::task::spawn_blocking(move || {
        crate::disk::private_directory(&scratch)?;
        Ok::<_, Error>((tempfile::tempfile_in(scratch)?, Columns::default(), 0))
    })
    .await??;
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        state = tokio::task::spawn_blocking(move || {
            let (mut file, mut columns, mut size) = state;
            let out = lines(&piece)?;
            size += out.len() as u64;
            if size > WIDER * limit {
                return Err(Error::too_large(
                    "export_too_large",
                    format!(
                        "the rows of an export may have at most {} MiB as JSON; use a filter",
                        (WIDER * limit) >> 20
                    ),
                ));
            }
            file.write_all(&out)?;
            for row in &piece {
                columns.see(row)?;
            }
            Ok((file, columns, size))
        })
        .await??;
    }
    let (mut file, columns, _) = state;
    file.rewind()?;
    Ok((file, columns))
}

/// The rows of a spool, one after the other.
fn rows_in(spool: File) -> impl Iterator<Item = Result<Written>> {
    let lines = BufReader::with_capacity(1 << 18, spool).lines();
    lines.map(|line| {
        let line = line?;
        Ok((serde_json::from_str(&line)?, line.len()))
    })
}

/// A row, and its length as JSON.
pub(super) type Written = (Map<String, Value>, usize);

fn csv(
    rows: impl Iterator<Item = Result<Written>>,
    columns: &Columns,
    mut out: BufWriter<File>,
) -> Result<File> {
    let names: Vec<String> = columns.0.keys().cloned().collect();
    if !names.is_empty() {
        out.write_all(&rows::csv_line(&names)?)?;
    }
    for row in rows {
        let (row, _) = row?;
        let cells: Vec<String> = names.iter().map(|n| rows::cell(row.get(n))).collect();
        out.write_all(&rows::csv_line(&cells)?)?;
    }
    out.into_inner().map_err(|e| Error::from(e.into_error()))
}

/// Type of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing but nulls so far.
    Nothing,
    Boolean,
    /// Whole numbers of 64 bits; `exact` when a double can hold them all.
    Integer {
        exact: bool,
    },
    Double,
    /// Anything, as text: lists and objects as JSON.
    Text,
}

/// Whole numbers up to here are doubles, too (2^53).
const EXACT: u64 = 1 << 53;

impl Holds {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Boolean,
            Value::Number(n) => match n.as_i64() {
                Some(whole) => Self::Integer {
                    exact: whole.unsigned_abs() <= EXACT,
                },
                // Beyond 64 bits with a sign: its digits are kept.
                None if n.is_u64() => Self::Text,
                None => Self::Double,
            },
            Value::String(_) | Value::Array(_) | Value::Object(_) => Self::Text,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, known) | (known, Self::Nothing) => known,
            (Self::Integer { exact: a }, Self::Integer { exact: b }) => {
                Self::Integer { exact: a && b }
            }
            (Self::Double, Self::Integer { exact: true })
            | (Self::Integer { exact: true }, Self::Double) => Self::Double,
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }
}

/// The columns of all rows seen, in the order in which they first came.
#[derive(Debug, Default)]
pub(super) struct Columns(pub(super) IndexMap<String, Holds>);

impl Columns {
    fn see(&mut self, row: &Map<String, Value>) -> Result<()> {
        for (name, value) in row {
            let holds = Holds::of(value);
            match self.0.get_mut(name) {
                Some(known) => *known = known.and(holds),
                None => {
                    self.0.insert(name.clone(), holds);
                }
            }
        }
        if self.0.len() > COLUMNS {
            return Err(invalid(format!(
                "an export may have at most {COLUMNS} columns; choose some with select, or export jsonl"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::Field;

    use super::*;

    fn seen(list: &Value) -> (Vec<Map<String, Value>>, Columns) {
        let rows: Vec<_> = list
            .as_array()
            .expect("a list")
            .iter()
            .cloned()
            .filter_map(object)
            .collect();
        let mut columns = Columns::default();
        for row in &rows {
            columns.see(row).expect("few columns");
        }
        (rows, columns)
    }

    fn json_of(field: &Field) -> Value {
        if let Field::Str(text) = field {
            return json!(text);
        }
        serde_json::from_str(&field.to_string()).expect("a number, a boolean, or null")
    }

    fn scratch() -> BufWriter<File> {
        BufWriter::new(tempfile::tempfile().expect("a file"))
    }

    #[test]
    fn columns_have_the_type_that_holds_all_their_values() {
        let (_, columns) = seen(&json!([
            {"whole": 1, "mixed": 1, "real": 1, "huge": 9_007_199_254_740_993_i64, "yes": true, "none": null, "list": [1]},
            {"whole": null, "mixed": "a", "real": 0.5, "huge": 0.5, "yes": false, "late": 18_446_744_073_709_551_615_u64},
        ]));
        let kinds: Vec<(&str, Holds)> = columns.0.iter().map(|(n, h)| (n.as_str(), *h)).collect();
        let whole = Holds::Integer { exact: true };
        assert_eq!(
            kinds,
            [
                ("whole", whole),
                ("mixed", Holds::Text),
                ("real", Holds::Double),
                // A double would change its last digit.
                ("huge", Holds::Text),
                ("yes", Holds::Boolean),
                ("none", Holds::Nothing),
                ("list", Holds::Text),
                ("late", Holds::Text),
            ]
        );
    }

    #[test]
    fn parquet_gives_back_what_was_written_over_several_groups() {
        let list: Vec<Value> = (0..25_000)
            .map(|i| match i % 3 {
                0 => json!({"n": i, "name": format!("é{i}")}),
                1 => json!({"n": i, "ratio": f64::from(i) / 7.0, "ok": true}),
                _ => json!({"name": null, "tags": ["a", i]}),
            })
            .collect();
        let (written, columns) = seen(&Value::Array(list));
        let file = parquet::write(
            written.clone().into_iter().map(|row| Ok((row, 100))),
            &columns,
            scratch(),
        );
        let reader = SerializedFileReader::new(file.expect("written")).expect("Parquet");
        assert_eq!(reader.num_row_groups(), 3);
        let read = reader.get_row_iter(None).expect("rows");
        let mut count = 0;
        for (row, original) in read.zip(&written) {
            let row = row.expect("a row").into_columns();
            for name in columns.0.keys() {
                let original = original.get(name).cloned().unwrap_or_default();
                let expected = if original.is_array() {
                    json!(original.to_string())
                } else {
                    original
                };
                let found = row.iter().find(|(n, _)| n == name).map(|(_, f)| json_of(f));
                assert_eq!(found, Some(expected), "{name}");
            }
            count += 1;
        }
        assert_eq!(count, written.len());
    }

    #[test]
    fn csv_has_the_columns_of_all_rows() {
        let (written, columns) = seen(&json!([{"a": 1}, {"a": 2, "late": "x,y"}]));
        let mut file = csv(
            written.into_iter().map(|row| Ok((row, 10))),
            &columns,
            scratch(),
        )
        .expect("written");
        file.rewind().expect("a start");
        let text = std::io::read_to_string(file).expect("text");
        assert_eq!(text, "a,late\n1,\n2,\"x,y\"\n");
    }
}
