//! Uploads of rows: a body of any number of rows is written to disk as it comes, checked as a whole, and appended in one transaction: all of its rows,
//! or, when the caller wants faulty ones left out, all the others. An upload with a name is done once, however often it is sent.

mod read;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{Writer, folder, kept};
use crate::app::App;
use crate::auth::Area;
use crate::clock::Time;
use crate::data::FOLDER;
use crate::data::folders::{self, Column};
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::Request;
use crate::records::write::Patch;
use crate::records::{self, audit};
pub use read::Source;

/// Faulty rows that an answer tells one by one.
const TOLD: usize = 100;
/// Bytes handed to the transaction at a time.
const PIECE: usize = 1 << 20;
/// How much larger rows may be than the body that they come in.
const WIDER: u64 = 8;
/// Longest name of an upload, in characters.
const NAME: usize = 200;

/// How to take an upload.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Format of the body.
    pub source: Source,
    /// Its name: an upload whose name the folder knows already changes nothing.
    pub batch: Option<String>,
    /// Whether faulty rows are left out; otherwise one of them refuses all.
    pub skip: bool,
    /// Whether to check only.
    pub dry_run: bool,
    /// Whether columns of CSV get types by their values when the folder has no columns.
    pub infer: bool,
}

/// A faulty row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FaultyRow {
    /// Which row of the upload, from 1.
    pub row: u64,
    /// Description of the fault.
    pub message: String,
}

/// Result of an upload.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowsUploaded {
    /// Rows appended; those that would be, for a dry run.
    pub appended: i64,
    /// Position of the first of them; absent when there are none, and for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_position: Option<i64>,
    /// Position of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_position: Option<i64>,
    /// Faulty rows.
    pub failed: u64,
    /// The first 100 of them.
    pub errors: Vec<FaultyRow>,
    /// Whether an upload with this name was done before; the numbers are those of then.
    pub repeated: bool,
    /// Columns with their types, when they were read from a CSV file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub columns: Vec<Value>,
}

/// Rows that may be appended, as lines of JSON.
struct Checked {
    lines: File,
    rows: i64,
    failed: u64,
    errors: Vec<FaultyRow>,
    /// Columns that were inferred.
    columns: Vec<Column>,
}

/// Takes an upload.
///
/// # Errors
/// `scope_missing`, `record_not_found`, `batch_invalid`, `rows_too_large`, `rows_invalid`, `folder_changed`, `disk_full`.
pub async fn upload(
    app: &App,
    request: &Request<'_>,
    folder_id: &str,
    upload: Upload,
    body: impl Stream<Item = Result<Bytes>> + Send,
) -> Result<RowsUploaded> {
    let caller = request.caller;
    caller.need_unconfined(Area::Data.write())?;
    let tenant_id = caller.tenant();
    let folder = folder(app, tenant_id, folder_id).await?;
    if let Some(name) = &upload.batch {
        let length = name.chars().count();
        if length == 0 || length > NAME || name.contains('\0') {
            return Err(Error::invalid(
                "batch_invalid",
                format!("batch must have 1 to {NAME} characters"),
            ));
        }
        let known = app.db.optional(KNOWN, args![folder_id, tenant_id, name]);
        if let Some(known) = known.await? {
            return Ok(repeated(known));
        }
    }
    app.disk.ensure_free_space()?;
    let file = received(app, body).await?;
    let columns = folders::columns_of(&folder)?;
    let scratch = app.parser.scratch.clone();
    let (source, infer, skip) = (
        upload.source.clone(),
        upload.infer && columns.is_empty(),
        upload.skip || upload.dry_run,
    );
    let known = columns.clone();
    // A row takes more room than a line of CSV, but not without measure.
    let room = WIDER * (app.config.upload_rows_mb << 20);
    let checked = tokio::task::spawn_blocking(move || {
        let lines = tempfile::tempfile_in(scratch)?;
        check(file, (lines, room), &source, columns, infer, skip)
    })
    .await??;
    let shown = checked
        .columns
        .iter()
        .map(|c| json!({"name": c.name, "type": c.kind}))
        .collect();
    let mut done = RowsUploaded {
        appended: checked.rows,
        failed: checked.failed,
        errors: checked.errors,
        columns: shown,
        ..RowsUploaded::default()
    };
    if upload.dry_run {
        return Ok(done);
    }
    if done.failed > 0 && !upload.skip {
        return Err(refused(&done));
    }
    if done.appended == 0 && done.failed == 0 {
        return Err(Error::invalid("rows_invalid", "the body contains no rows"));
    }
    let mut expected = known;
    if !done.columns.is_empty() {
        // What the first file says of its columns holds for the rows to come.
        let held = super::counts(app, caller, &[folder_id.to_owned()]).await?;
        if held.is_empty() {
            let schema = Value::Array(done.columns.clone());
            expected = folders::columns(&schema)?;
            let body = Map::from_iter([("dataSchema".to_owned(), schema)]);
            let request = Request {
                once: None,
                ..request.clone()
            };
            let plan = || folders::update(app, caller, folder_id, Patch::from(&body));
            records::execute(app, &request, plan).await?;
        }
    }
    let mut tx = app.db.begin().await?;
    let mut writer = Writer::open(app, &mut tx, tenant_id, folder_id).await?;
    // Rows that were checked against other columns than those of now are not kept.
    let body: Option<(String,)> = writer
        .tx
        .optional(
            "SELECT body FROM records WHERE tenant_id = $1 AND id = $2 AND kind = 'folder'",
            args![tenant_id, folder_id],
        )
        .await?;
    let body: Map<String, Value> = match body {
        Some((body,)) => serde_json::from_str(&body)?,
        None => Map::new(),
    };
    let now = match body.get("dataSchema") {
        None | Some(Value::Null) => Vec::new(),
        Some(schema) => folders::columns(schema)?,
    };
    if now != expected {
        return Err(Error::conflict(
            "folder_changed",
            "the columns of the folder changed during the upload; send it again",
        ));
    }
    if let Some(name) = &upload.batch {
        let known = writer
            .tx
            .optional(KNOWN, args![folder_id, tenant_id, name])
            .await?;
        if let Some(known) = known {
            return Ok(repeated(known));
        }
    }
    let first = writer.next;
    let mut pieces = pieces(checked.lines);
    while let Some(piece) = pieces.recv().await {
        for line in piece?.lines() {
            writer.push(line).await?;
        }
    }
    let last = writer.next - 1;
    if last - first + 1 != done.appended {
        return Err(Error::internal(
            "the rows on disk differ from the checked rows",
        ));
    }
    if let Some(name) = &upload.batch {
        let now: Time = writer.now;
        writer
            .tx
            .execute(
                "INSERT INTO row_uploads (folder_id, name, tenant_id, row_count, first_seq, last_seq, created_on) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                args![folder_id, name, tenant_id, done.appended, first, last, now],
            )
            .await?;
    }
    if done.appended > 0 {
        (done.first_position, done.last_position) = (Some(first), Some(last));
        writer.finish().await?;
    }
    let changes = Map::from_iter([("rows".to_owned(), json!(done.appended))]);
    audit::write(
        app,
        &mut tx,
        request,
        (&FOLDER, folder_id),
        "append_rows",
        changes,
    )
    .await?;
    app.commit(tx).await?;
    Ok(done)
}

const KNOWN: &str = "SELECT row_count, first_seq, last_seq FROM row_uploads WHERE folder_id = $1 AND tenant_id = $2 AND name = $3";

fn repeated((rows, first, last): (i64, i64, i64)) -> RowsUploaded {
    RowsUploaded {
        appended: rows,
        first_position: (rows > 0).then_some(first),
        last_position: (rows > 0).then_some(last),
        repeated: true,
        ..RowsUploaded::default()
    }
}

fn refused(done: &RowsUploaded) -> Error {
    let first: Vec<String> = done
        .errors
        .iter()
        .take(3)
        .map(|e| format!("row {}: {}", e.row, e.message))
        .collect();
    Error::invalid(
        "rows_invalid",
        format!(
            "nothing was appended because {} of {} rows are invalid: {}; dryRun=true lists them, onError=skip skips them",
            done.failed,
            done.failed + u64::try_from(done.appended).unwrap_or(0),
            first.join("; ")
        ),
    )
}

/// Writes a body to a file without a name.
async fn received(app: &App, body: impl Stream<Item = Result<Bytes>> + Send) -> Result<File> {
    let limit = app.config.upload_rows_mb << 20;
    let scratch = app.parser.scratch.clone();
    let mut file = tokio::task::spawn_blocking(move || {
        crate::disk::private_directory(&scratch)?;
        Ok::<_, Error>(BufWriter::with_capacity(
            PIECE,
            tempfile::tempfile_in(scratch)?,
        ))
    })
    .await??;
    let mut size = 0;
    futures::pin_mut!(body);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        size += piece.len() as u64;
        if size > limit {
            return Err(Error::too_large(
                "rows_too_large",
                format!(
                    "an upload of rows may have at most {} MiB (upload_rows_mb)",
                    app.config.upload_rows_mb
                ),
            ));
        }
        let full = file.buffer().len() + piece.len() > PIECE;
        if full {
            file = tokio::task::spawn_blocking(move || {
                file.write_all(&piece)?;
                file.flush()?;
                Ok::<_, Error>(file)
            })
            .await??;
        } else {
            file.write_all(&piece)?;
        }
    }
    tokio::task::spawn_blocking(move || {
        let mut file = file.into_inner().map_err(|e| Error::from(e.into_error()))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    })
    .await?
}

/// Reads all rows, and writes those that may be kept as lines of JSON.
fn check(
    mut file: File,
    (lines, room): (File, u64),
    source: &Source,
    columns: Vec<Column>,
    infer: bool,
    skip: bool,
) -> Result<Checked> {
    let mut inferred = Vec::new();
    if infer && let Source::Csv { delimiter } = source {
        inferred = read::infer(&mut file, *delimiter)?;
        if inferred.len() > folders::MOST_COLUMNS {
            // More than a folder has: they stay text.
            inferred.clear();
        }
        file.seek(SeekFrom::Start(0))?;
    }
    let known = if columns.is_empty() {
        &inferred
    } else {
        &columns
    };
    let mut out = BufWriter::with_capacity(PIECE, lines);
    let (mut number, mut rows, mut failed, mut errors) = (0, 0, 0, Vec::new());
    let mut size = 0;
    read::rows(file, source, known, &mut |row| {
        number += 1;
        let json = row.and_then(|row| kept(&columns, &row));
        match json {
            Ok(json) => {
                rows += 1;
                size += json.len() as u64;
                if size > room {
                    return Err(Error::too_large(
                        "rows_too_large",
                        "the rows of this upload are too large; send them in several uploads",
                    ));
                }
                // Nothing will be appended once a row is refused.
                if skip || failed == 0 {
                    out.write_all(json.as_bytes())?;
                    out.write_all(b"\n")?;
                }
            }
            Err(error) if error.kind() == crate::error::Kind::Invalid => {
                failed += 1;
                if errors.len() < TOLD {
                    errors.push(FaultyRow {
                        row: number,
                        message: error.public_message().to_owned(),
                    });
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    let mut lines = out.into_inner().map_err(|e| Error::from(e.into_error()))?;
    lines.seek(SeekFrom::Start(0))?;
    Ok(Checked {
        lines,
        rows,
        failed,
        errors,
        columns: inferred,
    })
}

/// The lines of a file in pieces, read on a thread of their own.
fn pieces(file: File) -> mpsc::Receiver<Result<String>> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut file = BufReader::with_capacity(PIECE, file);
        loop {
            let mut piece = String::new();
            let read = loop {
                match file.read_line(&mut piece) {
                    Ok(0) => break Ok(()),
                    Ok(_) if piece.len() >= PIECE => break Ok(()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            };
            let failed = read.is_err();
            if !failed && piece.is_empty() {
                return;
            }
            let piece = read.map(|()| piece).map_err(Error::from);
            // Who does not listen any more has its reason elsewhere.
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
