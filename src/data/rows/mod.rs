//! Rows of folders. They are kept in blocks of up to 500: a row of SQL that holds its rows as lines of JSON. A million rows are two thousand blocks,
//! which are appended in one transaction, read through by queries, and shown to search one by one.

mod clear;
mod export;
mod index;
mod query;
mod row;
mod upload;

use std::collections::HashMap;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{FOLDER, folders};
use crate::app::App;
use crate::auth::{Area, Caller};
use crate::clock::Time;
use crate::db::{Args, Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, Task};
use crate::kb::index_log;
use crate::records::plan::{Effect, Plan};
use crate::records::{self, Record, store};
pub(crate) use clear::clear;
pub use clear::remove_folder;
pub use export::{Format, export};
pub(crate) use export::{cell, csv_line};
pub(crate) use index::{check_search_text, index};
pub use query::{Aggregate, Answer, Operation, Query, Sort, query};
pub(crate) use query::{all, blocks, over};
pub(crate) use row::Block;
pub use row::Row;
use row::{BYTES, line, parts, size};
pub use upload::{RowsUploaded, Source, Upload, upload};

/// Rows of a block.
const ROWS: i64 = 500;

/// Largest row, in bytes of JSON.
const ROW: usize = 1 << 20;

/// Rows of one append; uploads have no such limit.
pub const APPENDED: usize = 1000;

async fn folder(app: &App, tenant_id: &str, id: &str) -> Result<Record> {
    store::get(app, tenant_id, &FOLDER, id).await
}

/// Shows rows of a folder to the caller.
pub type View = fn(&str, Vec<Row>) -> Result<Value>;

/// The JSON of a row that may be kept.
fn kept(columns: &[folders::Column], row: &Map<String, Value>) -> Result<String> {
    let invalid = |message: String| Error::invalid("row_invalid", message);
    if row.is_empty() {
        return Err(invalid("a row must have at least one field".to_owned()));
    }
    if row
        .values()
        .any(|v| records::is_deeper(v, records::DEEPEST))
    {
        return Err(invalid(format!(
            "a row may be nested at most {} levels deep",
            records::DEEPEST
        )));
    }
    folders::check(columns, row)?;
    let json = serde_json::to_string(row)?;
    if json.len() > ROW {
        return Err(invalid(format!("a row may have at most {ROW} bytes")));
    }
    Ok(json)
}

/// Returns a plan that appends up to 1000 rows to a folder, all of them or none, and answers with them.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `row_invalid`, `rows_invalid`.
pub async fn append(
    app: &App,
    caller: &Caller,
    folder_id: &str,
    rows: Vec<Map<String, Value>>,
    view: View,
) -> Result<Plan> {
    caller.need_unconfined(Area::Data.write())?;
    let folder = folder(app, caller.tenant(), folder_id).await?;
    if rows.is_empty() || rows.len() > APPENDED {
        return Err(Error::invalid(
            "rows_invalid",
            format!("send 1 to {APPENDED} rows; use an upload for more"),
        ));
    }
    let columns = folders::columns_of(&folder)?;
    let lines: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            kept(&columns, row).map_err(|e| {
                let place = match rows.len() {
                    1 => String::new(),
                    _ => format!("row {}: ", at + 1),
                };
                Error::invalid("row_invalid", format!("{place}{}", e.public_message()))
            })
        })
        .collect::<Result<_>>()?;
    let mut plan = noted(folder_id, "append_rows", json!({"rows": rows.len()})).status(201);
    plan.after.push(Box::new(Append {
        tenant_id: caller.tenant().to_owned(),
        folder_id: folder_id.to_owned(),
        rows: lines.into_iter().zip(rows).collect(),
        view,
    }));
    Ok(plan)
}

/// Returns a plan with an entry of the audit about rows of a folder.
fn noted(folder_id: &str, action: &'static str, changes: Value) -> Plan {
    let changes = changes.as_object().cloned().unwrap_or_default();
    let mut plan = Plan::default();
    let note = (&FOLDER, folder_id.to_owned(), action, changes);
    plan.notes.push(note);
    plan
}

/// Appends rows.
#[derive(Debug)]
struct Append {
    tenant_id: String,
    folder_id: String,
    /// JSON and fields of each.
    rows: Vec<(String, Map<String, Value>)>,
    view: View,
}

#[async_trait]
impl Effect for Append {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let mut writer = Writer::open(app, tx, &self.tenant_id, &self.folder_id).await?;
        let mut appended = Vec::with_capacity(self.rows.len());
        for (json, row) in &self.rows {
            let (seq, id) = writer.push(json).await?;
            appended.push(Row {
                id,
                seq,
                created_on: writer.now,
                data: Value::Object(row.clone()),
            });
        }
        writer.finish().await?;
        (self.view)(&self.folder_id, appended).map(Some)
    }
}

/// Locks a folder, so that its rows change one transaction after the other.
async fn lock_folder(app: &App, tx: &mut Tx, tenant_id: &str, folder_id: &str) -> Result<()> {
    let held = tx
        .execute(
            "UPDATE records SET updated_on = $1 WHERE tenant_id = $2 AND id = $3 AND kind = 'folder'",
            args![app.clock.now(), tenant_id, folder_id],
        )
        .await?;
    if held == 0 {
        return Err(Error::not_found("record_not_found", "folder not found"));
    }
    Ok(())
}

/// Ensures that rows which this transaction changes are indexed.
async fn ensure_indexed(app: &App, tx: &mut Tx, tenant_id: &str, folder_id: &str) -> Result<()> {
    let task = Task::ShowRows {
        folder_id: folder_id.to_owned(),
    };
    jobs::ensure_queued(tx, &app.clock, tenant_id, &task, turns(app, folder_id)).await
}

/// Jobs of a folder's rows take turns with those of others.
fn turns<'a>(app: &App, folder_id: &'a str) -> jobs::EnqueueOptions<'a> {
    jobs::EnqueueOptions {
        group: folder_id,
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: None,
        small: false,
    }
}

/// Writes rows at the end of a folder, in the transaction of its caller.
struct Writer<'a> {
    app: &'a App,
    tx: &'a mut Tx,
    tenant_id: &'a str,
    folder_id: &'a str,
    now: Time,
    /// Position of the next row.
    next: i64,
    /// The block that has room: position, and rows and bytes with what is waiting; whether it is in the table.
    block: (i64, i64, i64, bool),
    waiting: String,
    waiting_rows: i64,
}

impl<'a> Writer<'a> {
    async fn open(
        app: &'a App,
        tx: &'a mut Tx,
        tenant_id: &'a str,
        folder_id: &'a str,
    ) -> Result<Self> {
        lock_folder(app, tx, tenant_id, folder_id).await?;
        let last: Option<(i64, i64, i64, i64)> = tx
            .optional(
                "SELECT first_seq, last_seq, row_count, byte_count FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 ORDER BY first_seq DESC LIMIT 1",
                args![folder_id, tenant_id],
            )
            .await?;
        let next = last.map_or(1, |(_, last, _, _)| last + 1);
        let block = match last {
            Some((first, last, _, bytes)) => (first, last - first + 1, bytes, true),
            None => (1, 0, 0, false),
        };
        Ok(Self {
            now: app.clock.now(),
            app,
            tx,
            tenant_id,
            folder_id,
            next,
            block,
            waiting: String::new(),
            waiting_rows: 0,
        })
    }

    /// Appends a row; gives its position and id.
    async fn push(&mut self, json: &str) -> Result<(i64, String)> {
        let (_, rows, bytes, _) = self.block;
        let size = i64::try_from(json.len()).unwrap_or(i64::MAX);
        if rows >= ROWS || (rows > 0 && bytes + size > BYTES) {
            self.flush().await?;
            self.block = (self.next, 0, 0, false);
        }
        let seq = self.next;
        let id = format!("{}-{seq}", self.folder_id);
        let line = line(seq, &id, self.now, json);
        self.block.1 += 1;
        self.block.2 += i64::try_from(line.len()).unwrap_or(0);
        self.waiting.push_str(&line);
        self.waiting_rows += 1;
        self.next += 1;
        Ok((seq, id))
    }

    async fn flush(&mut self) -> Result<()> {
        if self.waiting_rows == 0 {
            return Ok(());
        }
        let (first, _, bytes, there) = self.block;
        let body = std::mem::take(&mut self.waiting);
        let rows = std::mem::take(&mut self.waiting_rows);
        let sql = if there {
            "UPDATE row_blocks SET last_seq = $3, row_count = row_count + $5, byte_count = $6, version = version + 1, body = body || $7 WHERE folder_id = $1 AND first_seq = $2 AND tenant_id = $4"
        } else {
            "INSERT INTO row_blocks (folder_id, first_seq, last_seq, tenant_id, row_count, byte_count, version, shown, body) VALUES ($1, $2, $3, $4, $5, $6, 1, 0, $7)"
        };
        self.tx
            .execute(
                sql,
                args![
                    self.folder_id,
                    first,
                    self.next - 1,
                    self.tenant_id,
                    rows,
                    bytes,
                    body
                ],
            )
            .await?;
        self.block.3 = true;
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.flush().await?;
        ensure_indexed(self.app, self.tx, self.tenant_id, self.folder_id).await
    }
}

/// Indexes all rows of a folder again.
#[derive(Debug)]
pub(super) struct Reindex {
    tenant_id: String,
    folder_id: String,
}

impl Reindex {
    /// Returns the effect when a change of a folder changes what is searched of its rows.
    ///
    /// # Errors
    /// When a row is damaged.
    pub(super) fn after(before: &Record, after: &Record) -> Result<Option<Self>> {
        let (old, new) = (before.body()?, after.body()?);
        let is_same = before.title == after.title
            && ["searchText", "dataTags"]
                .into_iter()
                .all(|name| old.get(name) == new.get(name));
        Ok((!is_same).then(|| Self {
            tenant_id: after.tenant_id.clone(),
            folder_id: after.id.clone(),
        }))
    }
}

#[async_trait]
impl Effect for Reindex {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (tenant_id, folder_id) = (&self.tenant_id, &self.folder_id);
        index_log::lock_dataset(tx, tenant_id, &Area::Data.dataset_id(tenant_id)).await?;
        tx.execute(
            "UPDATE row_blocks SET version = version + 1 WHERE folder_id = $1 AND tenant_id = $2",
            args![folder_id, tenant_id],
        )
        .await?;
        ensure_indexed(app, tx, tenant_id, folder_id).await?;
        Ok(None)
    }
}

/// The statement that finds the block of a row; rows from before blocks have ids without a position.
fn block_of(tenant_id: &str, folder_id: &str, id: &str) -> Result<(&'static str, Args)> {
    let seq = id
        .strip_prefix(folder_id)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|seq| seq.parse::<i64>().ok());
    match seq {
        Some(seq) => Ok((
            "SELECT first_seq, last_seq, version, body FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 AND first_seq <= $3 ORDER BY first_seq DESC LIMIT 1",
            args![folder_id, tenant_id, seq],
        )),
        None if !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()) => Ok((
            "SELECT first_seq, last_seq, version, body FROM row_blocks WHERE folder_id = $1 AND tenant_id = $2 AND body LIKE '%' || $3 || '%' ORDER BY first_seq LIMIT 1",
            args![folder_id, tenant_id, format!("\"{id}\"")],
        )),
        None => Err(no_row()),
    }
}

fn no_row() -> Error {
    Error::not_found("row_not_found", "row not found in this folder")
}

/// The row in its block.
fn within(block: Option<&Block>, id: &str) -> Result<Row> {
    rows_of(&block.ok_or_else(no_row)?.body)?
        .into_iter()
        .find(|row| row.id == id)
        .ok_or_else(no_row)
}

fn rows_of(body: &str) -> Result<Vec<Row>> {
    body.lines().map(Row::read).collect()
}

/// A row.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `row_not_found`.
pub async fn get(app: &App, caller: &Caller, folder_id: &str, id: &str) -> Result<Row> {
    caller.need_unconfined(Area::Data.read())?;
    folder(app, caller.tenant(), folder_id).await?;
    let (sql, args) = block_of(caller.tenant(), folder_id, id)?;
    within(app.db.optional(sql, args).await?.as_ref(), id)
}

/// Returns a plan that changes fields of a row (null removes one), or removes the row when `fields` is absent, and answers with the row.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `row_not_found`, `row_invalid`.
pub async fn change(
    app: &App,
    caller: &Caller,
    folder_id: &str,
    id: &str,
    fields: Option<Map<String, Value>>,
    view: View,
) -> Result<Plan> {
    caller.need_unconfined(Area::Data.write())?;
    let columns = folders::columns_of(&folder(app, caller.tenant(), folder_id).await?)?;
    let names: Option<Vec<&String>> = fields.as_ref().map(|fields| fields.keys().collect());
    let action = if fields.is_some() {
        "update_row"
    } else {
        "delete_row"
    };
    let mut plan = noted(folder_id, action, json!({"row": id, "fields": names}));
    plan.after.push(Box::new(ChangeRow {
        tenant_id: caller.tenant().to_owned(),
        folder_id: folder_id.to_owned(),
        id: id.to_owned(),
        columns,
        fields,
        view,
    }));
    Ok(plan)
}

/// Changes or removes a row.
#[derive(Debug)]
struct ChangeRow {
    tenant_id: String,
    folder_id: String,
    id: String,
    columns: Vec<folders::Column>,
    fields: Option<Map<String, Value>>,
    view: View,
}

#[async_trait]
impl Effect for ChangeRow {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let row = self.change(app, tx).await?;
        (self.view)(&self.folder_id, vec![row]).map(Some)
    }
}

impl ChangeRow {
    async fn change(&self, app: &App, tx: &mut Tx) -> Result<Row> {
        let (tenant_id, folder_id, id) = (&self.tenant_id, &self.folder_id, &self.id);
        lock_folder(app, tx, tenant_id, folder_id).await?;
        if self.fields.is_none() {
            // Before the block, in the order of those who index it.
            index_log::lock_dataset(tx, tenant_id, &Area::Data.dataset_id(tenant_id)).await?;
        }
        let (sql, args) = block_of(tenant_id, folder_id, id)?;
        let block: Option<Block> = tx.optional(sql, args).await?;
        let mut row = within(block.as_ref(), id)?;
        let block = block.ok_or_else(no_row)?;
        let json = match &self.fields {
            None => None,
            Some(fields) => {
                let mut data = row.data.as_object().cloned().unwrap_or_default();
                for (name, value) in fields {
                    if value.is_null() {
                        data.shift_remove(name);
                    } else {
                        data.insert(name.clone(), value.clone());
                    }
                }
                let json = kept(&self.columns, &data)?;
                row.data = Value::Object(data);
                Some(json)
            }
        };
        let mut body = String::with_capacity(block.body.len());
        for old in block.body.lines() {
            let (seq, ..): (i64, &RawValue, &RawValue, &RawValue) = serde_json::from_str(old)?;
            if seq != row.seq {
                body.push_str(old);
                body.push('\n');
            } else if let Some(json) = &json {
                body.push_str(&line(seq, &row.id, row.created_on, json));
            } else {
                continue;
            }
        }
        let mut parts = parts(&body)?;
        let first = if parts.is_empty() {
            (block.first_seq, String::new(), 0)
        } else {
            parts.remove(0)
        };
        let cut = parts.first().map(|p| p.0 - 1);
        tx.execute(
        "UPDATE row_blocks SET row_count = $1, byte_count = $2, version = version + 1, body = $3, last_seq = COALESCE(CAST($7 AS BIGINT), last_seq)
         WHERE folder_id = $4 AND first_seq = $5 AND tenant_id = $6",
        args![first.2, size(&first.1), &first.1, folder_id, block.first_seq, tenant_id, cut],
    )
    .await?;
        // Changes may make a block too large: its end becomes blocks of their own.
        let ends: Vec<i64> = parts
            .iter()
            .skip(1)
            .map(|p| p.0 - 1)
            .chain([block.last_seq])
            .collect();
        for ((begin, body, count), end) in parts.into_iter().zip(ends) {
            tx.execute(
            "INSERT INTO row_blocks (folder_id, first_seq, last_seq, tenant_id, row_count, byte_count, version, shown, body) VALUES ($1, $2, $3, $4, $5, $6, 1, 0, $7)",
            args![folder_id, begin, end, tenant_id, count, size(&body), &body],
        )
        .await?;
        }
        index::hide(
            app,
            tx,
            tenant_id,
            folder_id,
            block.first_seq,
            &row,
            json.is_none(),
        )
        .await?;
        ensure_indexed(app, tx, tenant_id, folder_id).await?;
        Ok(row)
    }
}

/// How many rows some folders have.
///
/// # Errors
/// As the database says.
pub async fn counts(
    app: &App,
    caller: &Caller,
    folders: &[String],
) -> Result<HashMap<String, i64>> {
    let counted: Vec<(String, i64)> = app
        .db
        .all_in(
            "SELECT folder_id, CAST(SUM(row_count) AS BIGINT) FROM row_blocks WHERE tenant_id = $1 AND folder_id IN ($LIST) GROUP BY folder_id",
            args![caller.tenant()],
            folders,
        )
        .await?;
    Ok(counted.into_iter().collect())
}

/// Rows of any folders by their ids; those that are not there are left out.
///
/// # Errors
/// As the database says.
pub async fn by_ids(app: &App, caller: &Caller, ids: &[String]) -> Result<Vec<Row>> {
    let mut found = Vec::new();
    for id in ids {
        let Some((folder_id, _)) = id.rsplit_once('-') else {
            continue;
        };
        let (sql, args) = block_of(caller.tenant(), folder_id, id)?;
        match within(app.db.optional(sql, args).await?.as_ref(), id) {
            Ok(row) => found.push(row),
            Err(error) if error.code() == "row_not_found" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A row as it is exported and answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowView {
    /// Id.
    pub id: String,
    /// Its place in the folder, from 1.
    pub position: i64,
    /// When it was appended.
    pub created_at: String,
    /// Its fields.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl From<Row> for RowView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            position: row.seq,
            created_at: row.created_on.rfc3339(),
            data: row.data,
        }
    }
}
