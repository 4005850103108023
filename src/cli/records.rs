//! `cairn import --as`: contacts, companies, leads, deals and tickets from a CSV file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::client::Client;
use super::{Done, Global, Remote, output};
use crate::api::slab5::LEAD_FIELDS;
use crate::auth::{Caller, tenants};
use crate::crm;
use crate::error::{Error, Kind as Failure, Result};
use crate::records::Request;
use crate::records::kind::{FieldType, Kind};
use crate::records::{Once, idempotency};
use crate::records::{check, execute, write};
use crate::support;

/// Options of an import.
#[derive(Debug)]
pub(super) struct Import {
    pub file: PathBuf,
    /// Kind of the rows.
    pub kind: String,
    /// Column mappings, `Column=field`.
    pub map: Vec<String>,
    /// Whether to validate only.
    pub dry_run: bool,
    /// File for rejected rows.
    pub errors: Option<PathBuf>,
    /// Connection to a server, instead of the data directory.
    pub remote: Remote,
}

fn kind(name: &str) -> Result<(&'static Kind, &'static str)> {
    match name {
        "contacts" => Ok((&crm::CONTACT, "/v1/contacts")),
        "companies" => Ok((&crm::COMPANY, "/v1/companies")),
        "leads" => Ok((&crm::LEAD, "/v1/leads")),
        "deals" => Ok((&crm::DEAL, "/v1/deals")),
        "tickets" => Ok((&support::TICKET, "/v1/support/tickets")),
        other => Err(Error::invalid(
            "kind_unknown",
            format!("--as must be contacts, companies, leads, deals or tickets, not {other:?}"),
        )),
    }
}

/// Returns the target of each column: a field of the kind, or a custom field of the column's name.
fn targets(kind: &Kind, headers: &csv::StringRecord, map: &[String]) -> Result<Vec<String>> {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for pair in map {
        let (column, field) = pair.split_once('=').ok_or_else(|| {
            Error::invalid(
                "map_invalid",
                format!("--map {pair}: expected COLUMN=FIELD"),
            )
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
        kind.fields.iter().any(|f| f.name == name) || name == "status" && kind.statuses().is_some()
    };
    headers
        .iter()
        .map(|header| {
            let header = header.trim();
            if let Some((_, field)) = told.iter().find(|(column, _)| *column == header) {
                if !known(field) && !field.starts_with("custom:") && *field != "-" {
                    return Err(Error::invalid(
                        "map_invalid",
                        format!("unknown field {field:?}; use custom:NAME for a custom field, or - to skip the column"),
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

/// Converts a row into a body.
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
            .map(|f| f.field_type)
        {
            Some(FieldType::Integer(..) | FieldType::Cents) => {
                let whole: i64 = text.parse().map_err(|_| {
                    Error::invalid(
                        "body_invalid",
                        format!("{target} must be a whole number, not {text:?}"),
                    )
                })?;
                json!(whole)
            }
            Some(FieldType::Flag) => {
                json!(matches!(text.to_lowercase().as_str(), "true" | "yes" | "1"))
            }
            _ => json!(text),
        };
        body.insert(target.clone(), value);
    }
    if !custom.is_empty() {
        body.insert("custom_fields".to_owned(), Value::Object(custom));
    }
    Ok(body)
}

/// Checks the fields of a row as the server does.
fn checked(kind: &Kind, body: &Map<String, Value>) -> Result<()> {
    let fields = if kind.is(&crm::LEAD) {
        &LEAD_FIELDS
    } else {
        kind
    };
    check::body(fields, body, true)
}

/// Destination of the rows.
enum Sink {
    Server(Client, &'static str),
    Here(std::sync::Arc<crate::app::App>, Box<Caller>),
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
                    once: Some(Once {
                        key: once.to_owned(),
                        request_hash: idempotency::hash("IMPORT", kind.name, &text),
                    }),
                };
                checked(kind, body)?;
                execute(app, &request, || {
                    write::create(app, caller, kind, body.into())
                })
                .await?;
            }
        }
        Ok(())
    }
}

/// Writes rejected rows, with the reason in an additional column.
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
    let sink = match Client::find(global, &import.remote)? {
        Some(client) => Sink::Server(client, path),
        None => {
            let app = global.app().await?;
            let caller = app.local_caller(tenants::DEFAULT).await?;
            Sink::Here(app, Box::new(caller))
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
            Ok(body) if import.dry_run => checked(kind, &body),
            Ok(body) => {
                // Importing a file again does not import the same row at the same position twice.
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
        println!("{added} rows {verb}, {} rejected", refused.len());
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
        let targets = targets(&crm::CONTACT, &headers, &map).expect("targets");
        assert_eq!(targets, ["name", "email", "job_title", "custom:Tier", "-"]);
        let row = csv::StringRecord::from(vec!["Jane", "j@a.com", "", "Gold", "x"]);
        assert_eq!(
            Value::Object(body(&crm::CONTACT, &targets, &row).expect("a body")),
            json!({"name": "Jane", "email": "j@a.com", "custom_fields": {"Tier": "Gold"}})
        );
        assert!(super::targets(&crm::CONTACT, &headers, &["Nowhere=name".to_owned()]).is_err());
        let amount = csv::StringRecord::from(vec!["x", "12.5"]);
        assert!(
            body(
                &crm::DEAL,
                &["name".to_owned(), "amount_cents".to_owned()],
                &amount
            )
            .is_err()
        );
    }
}
