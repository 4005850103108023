//! Exports of a folder: its rows in their order as CSV or as lines of JSON, block by block, as fast as the caller takes them.

use std::collections::HashSet;
use std::str::FromStr;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::query::blocks;
use super::{Row, RowView, folder};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::data::folders;
use crate::error::{Error, Result};

/// Format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line of names, then a line of values for each row.
    Csv,
    /// An object on each line.
    Jsonl,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::Jsonl),
            other => Err(Error::invalid(
                "format_invalid",
                format!("the format must be csv or jsonl, not {other:?}"),
            )),
        }
    }
}

/// Columns of a CSV export.
const COLUMNS: usize = 10_000;

/// The rows of a folder. Lines of JSON hold the fields only, or with `wrapped` also id, position and time, as queries answer. CSV has a column for each
/// column of the folder and then for every other field in the order of appearance; it can be uploaded again. A cell that a spreadsheet would take for a formula is
/// written as it is: whoever opens the file in one decides about that.
///
/// # Errors
/// `scope_missing`, `record_not_found`; `too_many_columns` when CSV would have more than 10,000.
pub async fn export(
    app: &std::sync::Arc<App>,
    caller: &Caller,
    folder_id: &str,
    format: Format,
    wrapped: bool,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
    caller.need_unconfined(Area::Data.read())?;
    let tenant_id = caller.tenant().to_owned();
    let folder = folder(app, &tenant_id, folder_id).await?;
    let mut names: Vec<String> = folders::columns_of(&folder)?
        .into_iter()
        .map(|c| c.name)
        .collect();
    let mut head = Vec::new();
    if format == Format::Csv {
        others(app, &tenant_id, folder_id, &mut names).await?;
        if wrapped {
            head.extend(["_id", "_position", "_createdAt"].map(str::to_owned));
        }
        head.extend(names.iter().cloned());
    }
    let first = match format {
        Format::Csv => csv_line(&head)?,
        Format::Jsonl => Vec::new(),
    };
    let names = std::sync::Arc::new(names);
    let rows = blocks(std::sync::Arc::clone(app), tenant_id, folder_id.to_owned()).and_then(
        move |blocks| {
            let names = std::sync::Arc::clone(&names);
            async move {
                tokio::task::spawn_blocking(move || {
                    let mut out = Vec::new();
                    for block in &blocks {
                        for line in block.body.lines() {
                            write(&mut out, Row::read(line)?, format, wrapped, &names)?;
                        }
                    }
                    Ok(Bytes::from(out))
                })
                .await?
            }
        },
    );
    Ok(stream::once(async move { Ok(Bytes::from(first)) }).chain(rows))
}

/// Adds the names of fields without a column.
async fn others(
    app: &std::sync::Arc<App>,
    tenant_id: &str,
    folder_id: &str,
    names: &mut Vec<String>,
) -> Result<()> {
    let blocks = blocks(
        std::sync::Arc::clone(app),
        tenant_id.to_owned(),
        folder_id.to_owned(),
    );
    futures::pin_mut!(blocks);
    let mut known: HashSet<String> = names.iter().cloned().collect();
    while let Some(blocks) = blocks.try_next().await? {
        let before = known.clone();
        let new = tokio::task::spawn_blocking(move || {
            let (mut known, mut new) = (before, Vec::new());
            for line in blocks.iter().flat_map(|b| b.body.lines()) {
                for name in super::query::names(line)? {
                    if known.insert(name.clone()) {
                        new.push(name);
                    }
                }
            }
            Ok::<_, Error>(new)
        })
        .await??;
        known.extend(new.iter().cloned());
        names.extend(new);
        if names.len() > COLUMNS {
            return Err(Error::invalid(
                "too_many_columns",
                format!("the rows have more than {COLUMNS} fields; export them as jsonl"),
            ));
        }
    }
    Ok(())
}

fn write(
    out: &mut Vec<u8>,
    row: Row,
    format: Format,
    wrapped: bool,
    names: &[String],
) -> Result<()> {
    match format {
        Format::Jsonl if wrapped => {
            serde_json::to_writer(&mut *out, &RowView::from(row))?;
            out.push(b'\n');
        }
        Format::Jsonl => {
            serde_json::to_writer(&mut *out, &row.data)?;
            out.push(b'\n');
        }
        Format::Csv => {
            let mut cells = Vec::with_capacity(names.len() + 3);
            if wrapped {
                cells.push(row.id.clone());
                cells.push(row.seq.to_string());
                cells.push(row.created_on.rfc3339());
            }
            cells.extend(names.iter().map(|name| cell(row.data.get(name))));
            out.extend(csv_line(&cells)?);
        }
    }
    Ok(())
}

/// A value as a cell of CSV.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A line of CSV.
pub(crate) fn csv_line(cells: &[String]) -> Result<Vec<u8>> {
    let wrong = |e: csv::Error| Error::internal(e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(wrong)?;
    writer
        .into_inner()
        .map_err(|e| Error::internal(e.to_string()))
}
