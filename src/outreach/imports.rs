//! Imports of leads from CSV files: columns are recognised by their names or by a mapping, rows are added in batches, and an interrupted import continues after the
//! last batch. A row whose mail address a lead has already is skipped, so that an import can be repeated.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::leads;
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::crm::leads::LEAD_LIMIT;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, EnqueueOptions, Task};
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::records::{Request, check, execute};

/// Largest file, in bytes.
pub const LARGEST: usize = 10 << 20;
/// Most rows of a file.
const ROWS: usize = 500_000;
/// Rows of a transaction.
const BATCH: usize = 100;
/// Errors that an import keeps.
const ERRORS: usize = 1000;
/// Longest value of a cell, in characters.
const CELL: usize = 10_000;
/// Longest label of the origin.
const LABEL: usize = 60;

/// Fields of leads that columns can be mapped to, with names under which columns are recognised.
const FIELDS: [(&str, &[&str]); 8] = [
    (
        "first_name",
        &["firstname", "givenname", "vorname", "forename"],
    ),
    (
        "last_name",
        &["lastname", "surname", "familyname", "nachname"],
    ),
    ("name", &["name", "fullname", "contact", "contactname"]),
    ("email", &["email", "emailaddress", "mail", "mailaddress"]),
    (
        "phone",
        &[
            "phone",
            "phonenumber",
            "telephone",
            "tel",
            "mobile",
            "telefon",
        ],
    ),
    (
        "company_name",
        &[
            "company",
            "companyname",
            "organisation",
            "organization",
            "account",
            "firma",
        ],
    ),
    ("job_title", &["title", "jobtitle", "position", "role"]),
    ("notes", &["notes", "note", "comment", "comments"]),
];

/// An import.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Import {
    pub id: String,
    pub tenant_id: String,
    /// `processing`, `completed` or `failed`.
    pub status: String,
    pub content: Option<String>,
    pub mapping: String,
    pub origin: String,
    pub total: i64,
    pub position: i64,
    pub imported: i64,
    pub skipped: i64,
    /// JSON array of `{row, reason}`.
    pub errors: String,
}

fn reduced(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn unreadable(error: &csv::Error) -> Error {
    Error::invalid(
        "csv_invalid",
        format!("the file is not a valid CSV file: {error}"),
    )
}

/// Returns a reader of a file, whose separator is the most frequent one of `,`, `;` and tab in the first line.
fn reader(content: &str) -> csv::Reader<&[u8]> {
    let first = content.lines().next().unwrap_or_default();
    let count = |separator: &u8| first.bytes().filter(|b| b == separator).count();
    let separator = *b",;\t"
        .iter()
        .rev()
        .max_by_key(|s| count(s))
        .unwrap_or(&b',');
    csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(content.as_bytes())
}

/// Returns the column of each field: by a mapping of columns to fields, or by name.
fn columns(content: &str, mapping: &Body) -> Result<BTreeMap<usize, &'static str>> {
    let mut reader = reader(content);
    let headers = reader.headers().map_err(|e| unreadable(&e))?;
    let mut columns = BTreeMap::new();
    for (column, field) in mapping {
        let field = field.as_str().unwrap_or_default();
        let known = FIELDS.iter().find(|(name, aliases)| {
            *name == field
                || reduced(name) == reduced(field)
                || aliases.contains(&reduced(field).as_str())
        });
        let at = headers.iter().position(|h| h == column);
        match (known, at) {
            (Some((name, _)), Some(at)) => {
                columns.insert(at, *name);
            }
            (None, _) => {
                return Err(Error::invalid(
                    "mapping_invalid",
                    format!("mapping: {field:?} is no field of a lead"),
                ));
            }
            (_, None) => {
                return Err(Error::invalid(
                    "mapping_invalid",
                    format!("mapping: the file has no column {column:?}"),
                ));
            }
        }
    }
    for (at, header) in headers.iter().enumerate() {
        let name = reduced(header);
        let known = FIELDS
            .iter()
            .find(|(field, aliases)| reduced(field) == name || aliases.contains(&name.as_str()));
        if let Some((field, _)) = known
            && !columns.contains_key(&at)
            && !columns.values().any(|f| f == field)
        {
            columns.insert(at, field);
        }
    }
    let names = ["first_name", "last_name", "name", "email"];
    if columns.values().any(|field| names.contains(field)) {
        Ok(columns)
    } else {
        Err(Error::invalid(
            "csv_without_names",
            "no column is recognised as a name or a mail address; send the field mapping, such as {\"Kontakt\": \"name\"}",
        ))
    }
}

/// Accepts a file for import, which a job carries out. `origin` is the label of all leads of it.
///
/// # Errors
/// `file_too_large`, `csv_invalid`, `csv_empty`, `csv_without_names`, `mapping_invalid`, `source_invalid`.
pub async fn start(
    app: &App,
    caller: &Caller,
    content: &str,
    mapping: &Body,
    origin: &str,
) -> Result<Import> {
    let content = content.trim_start_matches('\u{feff}');
    if content.len() > LARGEST {
        return Err(Error::invalid(
            "file_too_large",
            format!("a file of leads may have at most {} MB", LARGEST >> 20),
        ));
    }
    if content.contains('\0') {
        return Err(Error::invalid("csv_invalid", "the file is not a text"));
    }
    let origin = origin.trim();
    if origin.is_empty() || origin.chars().count() > LABEL || origin.chars().any(char::is_control) {
        return Err(Error::invalid(
            "source_invalid",
            format!("source must have 1 to {LABEL} characters"),
        ));
    }
    columns(content, mapping)?;
    let mut total = 0;
    for row in reader(content).records() {
        row.map_err(|e| unreadable(&e))?;
        total += 1;
    }
    if total == 0 || total > ROWS {
        return Err(Error::invalid(
            "csv_empty",
            format!("a file of leads has 1 to {ROWS} rows after its first line"),
        ));
    }
    let (id, now) = (app.clock.id(), app.clock.now());
    let mut tx = app.db.begin().await?;
    tx.execute(
        "INSERT INTO lead_imports (id, tenant_id, status, content, mapping, origin, total, created_by, created_on, updated_on) VALUES ($1, $2, 'processing', $3, $4, $5, $6, $7, $8, $8)",
        args![
            &id,
            caller.tenant(),
            content,
            Value::Object(mapping.clone()).to_string(),
            origin,
            i64::try_from(total).unwrap_or(i64::MAX),
            caller.actor_id().map(str::to_owned),
            now
        ],
    )
    .await?;
    let options = EnqueueOptions {
        group: "",
        dedupe_key: None,
        max_attempts: app.config.job_attempts,
        run_at: None,
        small: false,
    };
    let task = Task::ImportLeads {
        import_id: id.clone(),
    };
    jobs::enqueue(&mut tx, &app.clock, caller.tenant(), &task, options).await?;
    app.commit(tx).await?;
    get(app, caller.tenant(), &id).await
}

/// Returns an import.
///
/// # Errors
/// `import_not_found`.
pub async fn get(app: &App, tenant_id: &str, id: &str) -> Result<Import> {
    if id.contains('\0') {
        return Err(missing());
    }
    app.db
        .optional(
            "SELECT id, tenant_id, status, content, mapping, origin, total, position, imported, skipped, errors FROM lead_imports WHERE id = $1 AND tenant_id = $2",
            args![id, tenant_id],
        )
        .await?
        .ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("import_not_found", "import not found")
}

/// Stores the progress of an import, in the transaction of its leads.
#[derive(Debug, Clone)]
struct Advance {
    import: Import,
    position: i64,
    imported: i64,
    skipped: i64,
    errors: Vec<Value>,
}

#[async_trait]
impl Effect for Advance {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let import = &self.import;
        let mut errors: Vec<Value> = serde_json::from_str(&import.errors)?;
        errors.extend(self.errors.iter().cloned());
        errors.truncate(ERRORS);
        let ours = tx
            .execute(
                "UPDATE lead_imports SET position = $1, imported = imported + $2, skipped = skipped + $3, errors = $4, updated_on = $5 WHERE id = $6 AND tenant_id = $7 AND position = $8 AND status = 'processing'",
                args![
                    self.position,
                    self.imported,
                    self.skipped,
                    Value::Array(errors).to_string(),
                    app.clock.now(),
                    &import.id,
                    &import.tenant_id,
                    import.position
                ],
            )
            .await?;
        if ours == 0 {
            return Err(Error::conflict(
                TAKEN_OVER,
                "another job has continued this import",
            ));
        }
        Ok(None)
    }
}

const TAKEN_OVER: &str = "import_taken_over";

/// A row as fields of a lead.
type Row = (usize, Result<Body>);

fn row(record: &csv::StringRecord, columns: &BTreeMap<usize, &str>, origin: &str) -> Result<Body> {
    let mut body = Body::new();
    for (at, field) in columns {
        let value = record.get(*at).unwrap_or_default().trim();
        if value.chars().count() > CELL {
            return Err(Error::invalid(
                "cell_too_long",
                format!("{field} may have at most {CELL} characters"),
            ));
        }
        if !value.is_empty() {
            body.insert((*field).to_owned(), json!(value));
        }
    }
    if !["name", "first_name", "last_name", "email"]
        .iter()
        .any(|name| body.contains_key(*name))
    {
        return Err(Error::invalid(
            "row_empty",
            "neither a name nor a mail address",
        ));
    }
    if let Some(email) = text(&body, "email").map(str::to_lowercase) {
        body.insert("email".to_owned(), json!(email));
    }
    if !body.contains_key("name")
        && !["first_name", "last_name"]
            .iter()
            .any(|n| body.contains_key(*n))
        && let Some(email) = text(&body, "email").map(str::to_owned)
    {
        let local = email.split('@').next().unwrap_or_default();
        body.insert("name".to_owned(), json!(local));
    }
    body.insert("source".to_owned(), json!("import"));
    body.insert("origin".to_owned(), json!(origin));
    check::body(&LEAD, &body, false)?;
    Ok(body)
}

/// Returns which mail addresses leads of a tenant have already.
async fn known(app: &App, tenant_id: &str, emails: &[String]) -> Result<HashSet<String>> {
    if emails.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(String,)> = app
        .db
        .all_in(
            "SELECT value FROM record_facets WHERE kind = 'crm_lead' AND name = 'email' AND tenant_id = $1 AND value IN ($LIST)",
            args![tenant_id],
            emails,
        )
        .await?;
    Ok(rows.into_iter().map(|(email,)| email).collect())
}

/// Carries an import out; runs as a job.
///
/// # Errors
/// Those of the database.
pub async fn run(
    app: &App,
    tenant_id: &str,
    import_id: &str,
    cancel: &CancellationToken,
) -> Result<()> {
    let caller = Caller::local(tenant_id);
    let import = get(app, tenant_id, import_id).await?;
    let Some(content) = import.content.clone() else {
        return Ok(());
    };
    let mapping: Body = serde_json::from_str(&import.mapping)?;
    let columns = columns(&content, &mapping)?;
    let done = usize::try_from(import.position).unwrap_or_default();
    let mut rows = reader(&content).into_records().skip(done);
    let mut next = done;
    loop {
        if cancel.is_cancelled() {
            return Err(Error::unavailable(
                "cancelled",
                "the import was interrupted",
            ));
        }
        let mut batch: Vec<Row> = Vec::with_capacity(BATCH);
        for record in rows.by_ref().take(BATCH) {
            next += 1;
            let record = record.map_err(|e| unreadable(&e))?;
            batch.push((next, row(&record, &columns, &import.origin)));
        }
        if batch.is_empty() {
            break;
        }
        match add(app, &caller, import_id, &batch, next).await {
            Ok(()) => {}
            Err(error) if error.code() == TAKEN_OVER => return Ok(()),
            Err(error) if error.code() == LEAD_LIMIT => {
                return failed(app, tenant_id, import_id, error.public_message()).await;
            }
            Err(error) => return Err(error),
        }
    }
    end(app, tenant_id, import_id, "completed").await
}

async fn end(app: &App, tenant_id: &str, import_id: &str, status: &str) -> Result<()> {
    app.db
        .execute(
            "UPDATE lead_imports SET status = $1, content = NULL, updated_on = $2 WHERE id = $3 AND tenant_id = $4 AND status = 'processing'",
            args![status, app.clock.now(), import_id, tenant_id],
        )
        .await?;
    Ok(())
}

/// Adds the leads of some rows, with the progress, in one transaction.
async fn add(
    app: &App,
    caller: &Caller,
    import_id: &str,
    batch: &[Row],
    position: usize,
) -> Result<()> {
    let request = Request::internal(caller, "importLeads");
    execute(app, &request, || async move {
        let import = get(app, caller.tenant(), import_id).await?;
        let emails: Vec<String> = batch
            .iter()
            .filter_map(|(_, row)| text(row.as_ref().ok()?, "email").map(str::to_owned))
            .collect();
        let mut taken = known(app, caller.tenant(), &emails).await?;
        let mut plan = Plan::default();
        let mut advance = Advance {
            import,
            position: i64::try_from(position).unwrap_or(i64::MAX),
            imported: 0,
            skipped: 0,
            errors: Vec::new(),
        };
        for (number, row) in batch {
            let refused = match row {
                Err(error) => Some(error.public_message().to_owned()),
                Ok(fields) => match text(fields, "email") {
                    Some(email) if !taken.insert(email.to_owned()) => {
                        Some(format!("a lead with the address {email} exists"))
                    }
                    Some(_) | None => {
                        let wanted = leads::Wanted {
                            fields: fields.clone(),
                            ..leads::Wanted::default()
                        };
                        match leads::create(app, caller, wanted).await {
                            Ok(lead) => {
                                plan = plan.with(lead);
                                None
                            }
                            Err(error) if error.is_retryable() => return Err(error),
                            Err(error) => Some(error.public_message().to_owned()),
                        }
                    }
                },
            };
            match refused {
                None => advance.imported += 1,
                Some(reason) => {
                    advance.skipped += 1;
                    advance
                        .errors
                        .push(json!({"row": number, "reason": reason}));
                }
            }
        }
        plan.after.push(Box::new(advance));
        Ok(plan.data(200, Value::Null))
    })
    .await?;
    Ok(())
}

/// Ends an import that cannot go on, with the reason as an error of its next row.
///
/// # Errors
/// Those of the database.
pub async fn failed(app: &App, tenant_id: &str, import_id: &str, reason: &str) -> Result<()> {
    let import = get(app, tenant_id, import_id).await?;
    let mut errors: Vec<Value> = serde_json::from_str(&import.errors)?;
    errors.insert(0, json!({"row": import.position + 1, "reason": reason}));
    app.db
        .execute(
            "UPDATE lead_imports SET errors = $1 WHERE id = $2 AND tenant_id = $3",
            args![Value::Array(errors).to_string(), import_id, tenant_id],
        )
        .await?;
    end(app, tenant_id, import_id, "failed").await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(content: &str) -> Vec<&'static str> {
        let columns = columns(content, &Body::new()).expect("recognised");
        columns.into_values().collect()
    }

    #[test]
    fn columns_are_recognised_by_their_names() {
        assert_eq!(
            fields("First Name,Surname,E-Mail,Phone number,Company\n"),
            ["first_name", "last_name", "email", "phone", "company_name"]
        );
        assert_eq!(
            fields("Name;Mail;Firma\n"),
            ["name", "email", "company_name"]
        );
    }

    #[test]
    fn columns_can_be_mapped() {
        let mapping = Body::from_iter([("Kontakt".to_owned(), json!("name"))]);
        let found = columns("Kontakt,Other\nA,B\n", &mapping).expect("mapped");
        assert_eq!(found.into_values().collect::<Vec<_>>(), ["name"]);
        for (column, field) in [("Kontakt", "shoe_size"), ("Missing", "name")] {
            let mapping = Body::from_iter([(column.to_owned(), json!(field))]);
            let error = columns("Kontakt\n", &mapping).expect_err("refused");
            assert_eq!(error.code(), "mapping_invalid");
        }
        let error = columns("a,b\n", &Body::new()).expect_err("refused");
        assert_eq!(error.code(), "csv_without_names");
    }

    #[test]
    fn rows_without_a_name_or_with_a_wrong_address_are_refused() {
        let columns = columns("Name,Email\n", &Body::new()).expect("recognised");
        let read = |cells: &[&str]| row(&csv::StringRecord::from(cells.to_vec()), &columns, "fair");
        assert_eq!(read(&["", ""]).expect_err("empty").code(), "row_empty");
        assert!(read(&["Ada", "no address"]).is_err());
        let lead = read(&["", "Ada@Example.com"]).expect("a lead");
        assert_eq!(
            (&lead["email"], &lead["name"]),
            (&json!("ada@example.com"), &json!("ada"))
        );
    }
}
