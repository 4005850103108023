//! `cairn import --as`: contacts, companies, leads, deals and tickets from a CSV file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::client::Client;
use super::{Done, Global, Remote, output};
use crate::auth::{Caller, tenants};
use crate::error::{Error, Kind as Failure, Result};
use crate::workspace::commit::{self, Request};
use crate::workspace::rules;
use crate::workspace::spec::{self, Kind, Type};

/// How to read a file.
#[derive(Debug)]
pub(super) struct Import {
    /// The file.
    pub file: PathBuf,
    /// What its rows are.
    pub kind: String,
    /// `Column=field`.
    pub map: Vec<String>,
    /// Whether to check only.
    pub dry_run: bool,
    /// Where rows go that were refused.
    pub errors: Option<PathBuf>,
    /// A server instead of the data directory.
    pub remote: Remote,
}

fn kind(name: &str) -> Result<(&'static Kind, &'static str)> {
    match name {
        "contacts" => Ok((spec::CONTACT, "/v1/contacts")),
        "companies" => Ok((spec::COMPANY, "/v1/companies")),
        "leads" => Ok((spec::LEAD, "/v1/leads")),
        "deals" => Ok((spec::DEAL, "/v1/deals")),
        "tickets" => Ok((spec::TICKET, "/v1/support/tickets")),
        other => Err(Error::invalid(
            "kind_unknown",
            format!("--as is contacts, companies, leads, deals or tickets, not {other:?}"),
        )),
    }
}

/// Where each column goes: a field of the kind, or a custom field under its own name.
fn targets(kind: &Kind, headers: &csv::StringRecord, map: &[String]) -> Result<Vec<String>> {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for pair in map {
        let (column, field) = pair.split_once('=').ok_or_else(|| {
            Error::invalid("map_invalid", format!("--map {pair}: write Column=field"))
        })?;
        if !headers.iter().any(|h| h.trim() == column.trim()) {
            return Err(Error::invalid(
                "map_invalid",
                format!("--map {pair}: the file has no column {column:?}"),
            ));
        }
        told.push((column.trim(), field.trim()));
    }
    let known = |name: &str| {
        kind.fields.iter().any(|f| f.name == name) || name == "status" && kind.life.is_some()
    };
    headers
        .iter()
        .map(|header| {
            let header = header.trim();
            if let Some((_, field)) = told.iter().find(|(column, _)| *column == header) {
                if !known(field) && !field.starts_with("custom:") && *field != "-" {
                    return Err(Error::invalid(
                        "map_invalid",
                        format!("there is no field {field:?}; custom:NAME makes a custom field, and - leaves the column out"),
                    ));
                }
                return Ok((*field).to_owned());
            }
            let plain: String = header
                .to_lowercase()
                .chars()
                .map(|c| if c.is_alphanumeric() { c } else { '_' })
                .collect();
            Ok(if known(&plain) {
                plain
            } else {
                format!("custom:{header}")
            })
        })
        .collect()
}

/// A row as a body.
fn body(kind: &Kind, targets: &[String], record: &csv::StringRecord) -> Result<Map<String, Value>> {
    let mut body = Map::new();
    let mut custom = Map::new();
    for (target, text) in targets.iter().zip(record) {
        let text = text.trim();
        if text.is_empty() || target == "-" {
            continue;
        }
        if let Some(name) = target.strip_prefix("custom:") {
            custom.insert(name.to_owned(), json!(text));
            continue;
        }
        let value = match kind
            .fields
            .iter()
            .find(|f| f.name == target)
            .map(|f| f.holds)
        {
            Some(Type::Integer(..) | Type::Cents) => {
                let whole: i64 = text.parse().map_err(|_| {
                    Error::invalid(
                        "body_invalid",
                        format!("{target} is a whole number, not {text:?}"),
                    )
                })?;
                json!(whole)
            }
            Some(Type::Flag) => json!(matches!(text.to_lowercase().as_str(), "true" | "yes" | "1")),
            _ => json!(text),
        };
        body.insert(target.clone(), value);
    }
    if !custom.is_empty() {
        body.insert("custom_fields".to_owned(), Value::Object(custom));
    }
    Ok(body)
}

/// Where rows go.
enum Sink {
    Server(Client, &'static str),
    Here(std::sync::Arc<crate::app::App>, Caller),
}

impl Sink {
    async fn add(&self, kind: &'static Kind, body: &Map<String, Value>, once: &str) -> Result<()> {
        match self {
            Self::Server(client, path) => {
                let request = client.post(path).header("Idempotency-Key", once).json(body);
                Client::send(request).await?;
            }
            Self::Here(app, caller) => {
                let text = serde_json::to_vec(body)?;
                let request = Request {
                    caller,
                    operation: "import",
                    request_id: String::new(),
                    once: Some((once.to_owned(), commit::hash("IMPORT", kind.name, &text))),
                };
                commit::carry_out(app, &request, || rules::create(app, caller, kind, body)).await?;
            }
        }
        Ok(())
    }
}

/// Refused rows, with the reason in a column of its own.
fn keep_errors(
    path: &Path,
    headers: &csv::StringRecord,
    refused: &[(csv::StringRecord, String)],
) -> Result<()> {
    let wrong = |e: csv::Error| Error::internal(e.to_string());
    let mut writer = csv::Writer::from_path(path).map_err(wrong)?;
    writer
        .write_record(headers.iter().chain(["error"]))
        .map_err(wrong)?;
    for (record, reason) in refused {
        writer
            .write_record(record.iter().chain([reason.as_str()]))
            .map_err(wrong)?;
    }
    writer.flush()?;
    Ok(())
}

pub(super) async fn run(global: &Global, import: Import) -> Result<Done> {
    let (kind, path) = kind(&import.kind)?;
    let content = std::fs::read(&import.file)?;
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&content);
    let unreadable = |e: csv::Error| Error::invalid("csv_invalid", e.to_string());
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(content);
    let headers = reader.headers().map_err(unreadable)?.clone();
    let targets = targets(kind, &headers, &import.map)?;
    let records: Vec<csv::StringRecord> = reader
        .records()
        .collect::<std::result::Result<_, _>>()
        .map_err(unreadable)?;
    let sink = match Client::new(&import.remote)? {
        Some(client) => Sink::Server(client, path),
        None => {
            let app = global.app().await?;
            let caller = app.local_caller(tenants::DEFAULT).await?;
            Sink::Here(app, caller)
        }
    };
    let bar = output::bar(
        records.len() as u64,
        global.json,
        "{bar:40} {pos}/{len} rows, {per_sec}, {eta} left",
    );
    let mut refused: Vec<(csv::StringRecord, String)> = Vec::new();
    let mut added = 0_u64;
    for (number, record) in records.into_iter().enumerate() {
        let outcome = match body(kind, &targets, &record) {
            Err(error) => Err(error),
            Ok(body) if import.dry_run => crate::workspace::checked(kind, &body),
            Ok(body) => {
                // The same row of the same place is imported once, however often the file is.
                let mark = Sha256::digest(format!("{}/{number}/{}", kind.name, json!(body)));
                let once = format!("import-{}", hex::encode(&mark[..16]));
                sink.add(kind, &body, &once).await
            }
        };
        match outcome {
            Ok(()) => added += 1,
            Err(error)
                if matches!(
                    error.kind(),
                    Failure::Invalid
                        | Failure::NotFound
                        | Failure::Conflict
                        | Failure::Unprocessable
                ) =>
            {
                refused.push((record, error.public_message().to_owned()));
            }
            Err(error) => return Err(error),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Sink::Here(app, _) = &sink {
        app.db.close().await;
    }
    if let Some(path) = import.errors.as_ref().filter(|_| !refused.is_empty()) {
        keep_errors(path, &headers, &refused)?;
    }
    if global.json {
        let first: Vec<&str> = refused
            .iter()
            .take(10)
            .map(|(_, why)| why.as_str())
            .collect();
        println!(
            "{}",
            json!({"imported": added, "refused": refused.len(), "dryRun": import.dry_run, "errors": first})
        );
    } else {
        let verb = if import.dry_run {
            "would be imported"
        } else {
            "imported"
        };
        println!("{added} rows {verb}, {} refused", refused.len());
        for (record, why) in refused.iter().take(10) {
            println!(
                "  {}: {why}",
                record.iter().take(2).collect::<Vec<_>>().join(", ")
            );
        }
    }
    Ok(if refused.is_empty() {
        Done::All
    } else {
        Done::Part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_find_their_fields() {
        let headers = csv::StringRecord::from(vec!["Name", "E-Mail", "Job Title", "Tier", "Skip"]);
        let map = ["E-Mail=email".to_owned(), "Skip=-".to_owned()];
        let targets = targets(spec::CONTACT, &headers, &map).expect("targets");
        assert_eq!(targets, ["name", "email", "job_title", "custom:Tier", "-"]);
        let row = csv::StringRecord::from(vec!["Jane", "j@a.com", "", "Gold", "x"]);
        assert_eq!(
            Value::Object(body(spec::CONTACT, &targets, &row).expect("a body")),
            json!({"name": "Jane", "email": "j@a.com", "custom_fields": {"Tier": "Gold"}})
        );
        assert!(super::targets(spec::CONTACT, &headers, &["Nowhere=name".to_owned()]).is_err());
        let amount = csv::StringRecord::from(vec!["x", "12.5"]);
        assert!(
            body(
                spec::DEAL,
                &["name".to_owned(), "amount_cents".to_owned()],
                &amount
            )
            .is_err()
        );
    }
}
