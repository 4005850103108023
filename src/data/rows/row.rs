//! Rows and the blocks that hold them.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock::Time;
use crate::error::Result;

/// Bytes of a block, unless a single row is larger.
pub(super) const BYTES: i64 = 1 << 20;

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Id.
    pub id: String,
    /// Its place in the folder, from 1.
    pub seq: i64,
    /// When it was appended.
    pub created_on: Time,
    /// Its fields.
    pub data: Value,
}

impl Row {
    pub(super) fn read(line: &str) -> Result<Self> {
        let (seq, id, on, data): (i64, String, i64, Value) = serde_json::from_str(line)?;
        Ok(Self {
            id,
            seq,
            created_on: Time(on),
            data,
        })
    }
}

pub(super) fn line(seq: i64, id: &str, on: Time, json: &str) -> String {
    format!("[{seq},{},{},{json}]\n", Value::from(id), on.0)
}

/// A block.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Block {
    pub(super) first_seq: i64,
    pub(super) last_seq: i64,
    pub(super) version: i64,
    pub(super) body: String,
}

impl Block {
    /// Rows that are kept elsewhere, in the form of those of folders: each as position, id, time and fields.
    pub(crate) fn of<'a>(
        first_seq: i64,
        rows: impl Iterator<Item = (i64, &'a str, Time, String)>,
    ) -> Self {
        let mut body = String::new();
        for (seq, id, on, json) in rows {
            body.push_str(&line(seq, id, on, &json));
        }
        Self {
            first_seq,
            last_seq: first_seq,
            version: 0,
            body,
        }
    }
}

pub(super) fn size(body: &str) -> i64 {
    i64::try_from(body.len()).unwrap_or(i64::MAX)
}

/// The rows of a block that may have become too large, in parts that are not: position of the first row, rows, how many.
pub(super) fn parts(body: &str) -> Result<Vec<(i64, String, i64)>> {
    let mut parts: Vec<(i64, String, i64)> = Vec::new();
    for line in body.lines() {
        let fits = parts
            .last()
            .is_some_and(|(_, part, _)| size(part) + size(line) <= 2 * BYTES);
        if !fits {
            let (seq, ..): (i64, &RawValue, &RawValue, &RawValue) = serde_json::from_str(line)?;
            parts.push((seq, String::new(), 0));
        }
        if let Some((_, part, count)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
            *count += 1;
        }
    }
    Ok(parts)
}
