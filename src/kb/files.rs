//! Files that are uploaded apart from datasets and become documents later, and batches of them: what the OpenAI-compatible API has beyond documents.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::datasets::{self, ChunkSettings};
use super::documents::{
    self, Document, DocumentStatus, NewDocument, OnDuplicate, UploadPolicy, external, with_external,
};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::blobs::Stored;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};

/// Beginning of the ids of files.
pub const PREFIX: &str = "file-";
/// Beginning of the ids of batches.
pub const BATCH: &str = "vsfb_";
/// Most files of a batch.
pub const BATCH_FILES: usize = 500;
/// Most labels of a dataset, and attributes of a file; longest name and value, in characters.
const LABELS: usize = 16;
const LABEL_NAME: usize = 64;
const LABEL: usize = 512;
/// Most characters of a purpose.
const PURPOSE: usize = 64;

/// A file that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct File {
    pub id: String,
    pub tenant_id: String,
    pub file_name: String,
    pub mime_type: String,
    /// What the client uploaded it for.
    pub purpose: String,
    pub size_bytes: i64,
    /// SHA-256 of the bytes.
    pub blob_hash: String,
    pub created_on: Time,
}

/// Files that were added to a dataset together.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Batch {
    pub id: String,
    pub dataset_id: String,
    /// JSON array of ids.
    pub file_ids: String,
    pub cancelled: bool,
    pub created_on: Time,
}

impl Batch {
    /// Returns the ids of its files.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn ids(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_str(&self.file_ids)?)
    }
}

/// A file to add to a dataset.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub file_id: String,
    /// Metadata of the document.
    pub attributes: Map<String, Value>,
    pub chunk_settings: ChunkSettings,
}

/// The requested part of a list, ordered by id.
#[derive(Debug, Clone)]
pub struct Part {
    /// Number of items.
    pub limit: i64,
    /// Whether the newest come first.
    pub descending: bool,
    /// Id after which, in this order, the part begins.
    pub after: Option<String>,
    /// Id before which, in this order, the part ends.
    pub before: Option<String>,
}

impl Part {
    /// Returns whether an id lies within the part.
    #[must_use]
    pub fn includes(&self, id: &str) -> bool {
        let (above, below) = self.bounds();
        above.is_none_or(|above| id > above) && below.is_none_or(|below| id < below)
    }

    /// Returns the open interval of ids, in ascending order.
    pub(super) fn bounds(&self) -> (Option<&str>, Option<&str>) {
        let (after, before) = (self.after.as_deref(), self.before.as_deref());
        if self.descending {
            (before, after)
        } else {
            (after, before)
        }
    }
}

/// Returns the id that has to have uploaded what a caller may see: its own for a caller that is confined to datasets.
fn owner(caller: &Caller) -> Option<&str> {
    caller
        .datasets()
        .map(|_| caller.actor_id().unwrap_or_default())
}

fn missing() -> Error {
    Error::not_found("file_not_found", "file not found")
}

/// Adds an uploaded file.
///
/// # Errors
/// `scope_missing`, `purpose_invalid`.
pub async fn add(
    app: &App,
    caller: &Caller,
    (file_name, mime_type): (&str, &str),
    stored: &Stored,
    purpose: &str,
) -> Result<File> {
    caller.need(Scope::KbWrite)?;
    if purpose.is_empty() || purpose.contains('\0') || purpose.chars().count() > PURPOSE {
        return Err(Error::invalid(
            "purpose_invalid",
            format!("purpose must have 1 to {PURPOSE} characters; assistants is the usual one"),
        ));
    }
    let file = File {
        id: format!("{PREFIX}{}", app.clock.id()),
        tenant_id: caller.tenant().to_owned(),
        file_name: file_name.to_owned(),
        mime_type: mime_type.to_owned(),
        purpose: purpose.to_owned(),
        size_bytes: i64::try_from(stored.size).unwrap_or(i64::MAX),
        blob_hash: stored.hash.clone(),
        created_on: app.clock.now(),
    };
    app.db
        .execute(
            "INSERT INTO kb_files (id, tenant_id, file_name, mime_type, purpose, size_bytes, blob_hash, created_by, created_on)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            args![&file.id, &file.tenant_id, file_name, mime_type, purpose, file.size_bytes, &file.blob_hash, caller.actor_id(), file.created_on],
        )
        .await?;
    Ok(file)
}

/// Returns a file.
///
/// # Errors
/// `scope_missing`, `file_not_found`.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<File> {
    let ids = [id.to_owned()];
    let found = by_ids(app, caller, &ids).await?;
    found.into_iter().next().ok_or_else(missing)
}

/// Selects the files of a tenant (`$1`), of one uploader (`$2`) unless that is null.
macro_rules! select_files {
    () => {
        "SELECT id, tenant_id, file_name, mime_type, purpose, size_bytes, blob_hash, created_on FROM kb_files
         WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR created_by = $2)"
    };
}

/// Returns those of some files that exist, in no particular order.
async fn by_ids(app: &App, caller: &Caller, ids: &[String]) -> Result<Vec<File>> {
    caller.need(Scope::KbRead)?;
    if ids.iter().any(|id| id.contains('\0')) {
        return Err(missing());
    }
    app.db
        .all_in(
            concat!(select_files!(), " AND id IN ($LIST)"),
            args![caller.tenant(), owner(caller)],
            ids,
        )
        .await
}

/// Lists files. Returns one more than wanted when there are more.
///
/// # Errors
/// `scope_missing`.
pub async fn list(
    app: &App,
    caller: &Caller,
    part: &Part,
    purpose: Option<&str>,
) -> Result<Vec<File>> {
    caller.need(Scope::KbRead)?;
    let (above, below) = part.bounds();
    let wanted = args![
        caller.tenant(),
        owner(caller),
        purpose,
        above,
        below,
        part.limit + 1
    ];
    macro_rules! select {
        ($order:literal) => {
            concat!(
                select_files!(),
                " AND (CAST($3 AS TEXT) IS NULL OR purpose = $3)
                 AND (CAST($4 AS TEXT) IS NULL OR id > $4) AND (CAST($5 AS TEXT) IS NULL OR id < $5) ORDER BY id ",
                $order,
                " LIMIT $6"
            )
        };
    }
    if part.descending {
        app.db.all(select!("DESC"), wanted).await
    } else {
        app.db.all(select!("ASC"), wanted).await
    }
}

/// Deletes a file, and the documents that were made of it.
///
/// # Errors
/// `file_not_found`; `scope_missing` for a document that the caller may not delete.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<()> {
    caller.need(Scope::KbWrite)?;
    let file = get(app, caller, id).await?;
    let documents: Vec<(String, String)> = app
        .db
        .all(
            "SELECT dataset_id, id FROM kb_documents WHERE tenant_id = $1 AND blob_hash = $2 AND external_id = $3",
            args![caller.tenant(), &file.blob_hash, id],
        )
        .await?;
    for (dataset_id, _) in &documents {
        caller.need_write(dataset_id)?;
        if !caller.sees(dataset_id) {
            return Err(Error::forbidden(
                "key_confined",
                "the file is also in a dataset that this key cannot change; remove it from your dataset instead",
            ));
        }
    }
    for (dataset_id, document_id) in documents {
        documents::delete(app, caller, &dataset_id, &document_id).await?;
    }
    app.db
        .execute(
            "DELETE FROM kb_files WHERE tenant_id = $1 AND id = $2",
            args![caller.tenant(), id],
        )
        .await?;
    Ok(())
}

/// Checks attributes of a file: texts, numbers and truth values under short names.
fn check_attributes(attributes: &Map<String, Value>) -> Result<()> {
    let is_fine = |(name, value): (&String, &Value)| {
        let fits = match value {
            Value::String(text) => text.chars().count() <= LABEL,
            Value::Number(_) | Value::Bool(_) => true,
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        fits && !name.is_empty() && name.chars().count() <= LABEL_NAME
    };
    if attributes.len() > LABELS || !attributes.iter().all(is_fine) {
        return Err(Error::invalid(
            "attributes_invalid",
            format!(
                "attributes are at most {LABELS} texts of {LABEL} characters, numbers or truth values, under names of at most {LABEL_NAME} characters"
            ),
        ));
    }
    Ok(())
}

/// Checks that the caller may use all files.
///
/// # Errors
/// `file_not_found`, which names one.
pub async fn need_all(app: &App, caller: &Caller, attachments: &[Attachment]) -> Result<()> {
    let ids: Vec<String> = attachments.iter().map(|a| a.file_id.clone()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    check_number(&ids)?;
    let known = by_ids(app, caller, &ids).await?;
    match ids.iter().find(|id| !known.iter().any(|f| f.id == **id)) {
        None => Ok(()),
        Some(id) => Err(unknown(id)),
    }
}

fn check_number(ids: &[String]) -> Result<()> {
    if ids.len() > BATCH_FILES {
        return Err(Error::invalid(
            "too_many_files",
            format!("at most {BATCH_FILES} files can be added at once"),
        ));
    }
    Ok(())
}

fn unknown(id: &str) -> Error {
    Error::not_found("file_not_found", format!("there is no file {id:?}"))
}

/// Makes documents of files, all or none, and returns them in the order of the files.
///
/// # Errors
/// `file_not_found`, `attributes_invalid`, and those of [`documents::add`].
pub async fn attach(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    attachments: &[Attachment],
) -> Result<Vec<Document>> {
    caller.need_write(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    if attachments.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = attachments.iter().map(|a| a.file_id.clone()).collect();
    check_number(&ids)?;
    let known = by_ids(app, caller, &ids).await?;
    let known: HashMap<&str, &File> = known.iter().map(|f| (f.id.as_str(), f)).collect();
    let mut new = Vec::with_capacity(attachments.len());
    for attachment in attachments {
        check_attributes(&attachment.attributes)?;
        let file = known
            .get(attachment.file_id.as_str())
            .ok_or_else(|| unknown(&attachment.file_id))?;
        let stored = Stored {
            hash: file.blob_hash.clone(),
            size: file.size_bytes.unsigned_abs(),
            // The format was detected when the file was uploaded.
            head: Vec::new(),
        };
        new.push(NewDocument {
            metadata: Value::Object(attachment.attributes.clone()),
            chunk_settings: attachment.chunk_settings.clone(),
            external_id: Some(file.id.clone()),
            ..NewDocument::new(file.file_name.clone(), file.mime_type.clone(), stored)
        });
    }
    // Files with one name, or with the same bytes, are different files.
    let policy = UploadPolicy {
        on_duplicate: OnDuplicate::Keep,
        versions: false,
    };
    let added = documents::add(app, caller, dataset_id, new, policy).await?;
    Ok(added.into_iter().map(|a| a.document).collect())
}

/// Returns the id under which clients know a document: that of its file, else its own.
#[must_use]
pub fn id_of(document: &Document) -> &str {
    let file = document.external_id.as_deref();
    file.filter(|id| id.starts_with(PREFIX))
        .unwrap_or(&document.id)
}

/// Returns the document of a dataset that clients know under an id.
///
/// # Errors
/// `dataset_not_found`, `file_not_found`.
pub async fn document(app: &App, caller: &Caller, dataset_id: &str, id: &str) -> Result<Document> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    if id.starts_with(PREFIX) {
        let found = external(app, caller, dataset_id, id).await?;
        return found.ok_or_else(missing);
    }
    documents::get(app, caller, dataset_id, id)
        .await
        .map_err(|_| missing())
}

/// Lists the documents of a dataset, those inside archives apart. Returns one more than wanted when there are more. `Pending` stands for every state before the end.
///
/// # Errors
/// `dataset_not_found`.
pub async fn documents(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    part: &Part,
    status: Option<DocumentStatus>,
) -> Result<Vec<Document>> {
    let order = (part.descending, part.limit + 1);
    documents::part(app, caller, dataset_id, part.bounds(), order, status).await
}

/// Changes the attributes of a file in a dataset.
///
/// # Errors
/// `file_not_found`, `attributes_invalid`.
pub async fn set_attributes(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
    attributes: Map<String, Value>,
) -> Result<Document> {
    check_attributes(&attributes)?;
    let document = document(app, caller, dataset_id, id).await?;
    let patch = documents::DocumentPatch {
        metadata: Some(Value::Object(attributes)),
        ..documents::DocumentPatch::default()
    };
    documents::update(app, caller, dataset_id, &document.id, patch).await
}

/// Adds files to a dataset as a batch.
///
/// # Errors
/// Those of [`attach`]; `files_missing`.
pub async fn add_batch(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    attachments: &[Attachment],
) -> Result<Batch> {
    if attachments.is_empty() {
        return Err(Error::invalid(
            "files_missing",
            "a batch needs at least one file",
        ));
    }
    attach(app, caller, dataset_id, attachments).await?;
    let ids: Vec<&str> = attachments.iter().map(|a| a.file_id.as_str()).collect();
    let batch = Batch {
        id: format!("{BATCH}{}", app.clock.id()),
        dataset_id: dataset_id.to_owned(),
        file_ids: serde_json::to_string(&ids)?,
        cancelled: false,
        created_on: app.clock.now(),
    };
    app.db
        .execute(
            "INSERT INTO kb_file_batches (id, tenant_id, dataset_id, file_ids, cancelled, created_on) VALUES ($1, $2, $3, $4, $5, $6)",
            args![&batch.id, caller.tenant(), dataset_id, &batch.file_ids, false, batch.created_on],
        )
        .await?;
    Ok(batch)
}

/// Returns a batch with the documents of its files that are in the dataset.
///
/// # Errors
/// `dataset_not_found`, `batch_not_found`.
pub async fn batch(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
) -> Result<(Batch, Vec<Document>)> {
    caller.need(Scope::KbRead)?;
    datasets::settings(app, caller, dataset_id).await?;
    let found: Option<Batch> = app
        .db
        .optional(
            "SELECT id, dataset_id, file_ids, cancelled, created_on FROM kb_file_batches WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3",
            args![caller.tenant(), dataset_id, id],
        )
        .await?;
    let batch = found.ok_or_else(|| Error::not_found("batch_not_found", "batch not found"))?;
    let documents = with_external(app, caller, dataset_id, &batch.ids()?).await?;
    Ok((batch, documents))
}

/// Cancels a batch: files whose ingestion has not ended leave the dataset.
///
/// # Errors
/// Those of [`batch`].
pub async fn cancel_batch(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    id: &str,
) -> Result<(Batch, Vec<Document>)> {
    caller.need_write(dataset_id)?;
    let (found, documents) = batch(app, caller, dataset_id, id).await?;
    // Documents that are ingested again were searchable before, and stay.
    let is_new = |d: &&Document| !d.status.is_final() && d.chunks_count == 0;
    for document in documents.iter().filter(is_new) {
        documents::delete(app, caller, dataset_id, &document.id).await?;
    }
    app.db
        .execute(
            "UPDATE kb_file_batches SET cancelled = TRUE WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3",
            args![caller.tenant(), dataset_id, &found.id],
        )
        .await?;
    batch(app, caller, dataset_id, id).await
}

/// Numbers of files by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub in_progress: i64,
    pub completed: i64,
    pub failed: i64,
    /// Those that left the dataset.
    pub cancelled: i64,
}

impl Counts {
    /// Counts the files of a batch.
    ///
    /// # Errors
    /// When the row of the batch is damaged.
    pub fn of(batch: &Batch, documents: &[Document]) -> Result<Self> {
        let mut counts = Self::default();
        for document in documents {
            match document.status {
                DocumentStatus::Indexed => counts.completed += 1,
                DocumentStatus::Error => counts.failed += 1,
                DocumentStatus::Pending
                | DocumentStatus::Parsing
                | DocumentStatus::Embedding
                | DocumentStatus::Stored => counts.in_progress += 1,
            }
        }
        let all: HashSet<String> = batch.ids()?.into_iter().collect();
        let all = i64::try_from(all.len()).unwrap_or(i64::MAX);
        counts.cancelled = all - counts.completed - counts.failed - counts.in_progress;
        Ok(counts)
    }
}

/// Returns the labels of datasets, by id.
///
/// # Errors
/// Those of the database.
pub async fn labels(
    app: &App,
    caller: &Caller,
    ids: &[String],
) -> Result<HashMap<String, Map<String, Value>>> {
    let rows: Vec<(String, String)> = app
        .db
        .all_in(
            "SELECT id, labels FROM kb_datasets WHERE tenant_id = $1 AND id IN ($LIST)",
            args![caller.tenant()],
            ids,
        )
        .await?;
    rows.into_iter()
        .map(|(id, labels)| Ok((id, serde_json::from_str(&labels)?)))
        .collect()
}

/// Sets the labels of a dataset: texts under short names.
///
/// # Errors
/// `labels_invalid`.
pub async fn set_labels(
    app: &App,
    caller: &Caller,
    dataset_id: &str,
    labels: &Map<String, Value>,
) -> Result<()> {
    caller.need_write(dataset_id)?;
    caller.need_manage(dataset_id)?;
    check_labels(labels)?;
    app.db
        .execute(
            "UPDATE kb_datasets SET labels = $1 WHERE tenant_id = $2 AND id = $3",
            args![
                Value::Object(labels.clone()).to_string(),
                caller.tenant(),
                dataset_id
            ],
        )
        .await?;
    Ok(())
}

/// Checks labels of a dataset.
///
/// # Errors
/// `labels_invalid`.
pub fn check_labels(labels: &Map<String, Value>) -> Result<()> {
    let are_texts = labels.values().all(Value::is_string);
    if !are_texts || check_attributes(labels).is_err() {
        return Err(Error::invalid(
            "labels_invalid",
            format!(
                "metadata are at most {LABELS} texts of {LABEL} characters, under names of at most {LABEL_NAME} characters"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn attributes_are_texts_numbers_and_truth_values() {
        assert!(check_attributes(&map(&json!({"a": "x", "b": 1.5, "c": true}))).is_ok());
        assert!(check_attributes(&map(&json!({"a": ["x"]}))).is_err());
        assert!(check_attributes(&map(&json!({"a": null}))).is_err());
        let many: Map<String, Value> = (0..17).map(|n| (n.to_string(), json!(n))).collect();
        assert!(check_attributes(&many).is_err());
    }

    #[test]
    fn labels_are_texts() {
        assert!(check_labels(&map(&json!({"a": "x"}))).is_ok());
        assert!(check_labels(&map(&json!({"a": 1}))).is_err());
    }

    #[test]
    fn the_newest_first_are_below_the_last_one() {
        let part = Part {
            limit: 1,
            descending: true,
            after: Some("m".to_owned()),
            before: None,
        };
        assert_eq!(part.bounds(), (None, Some("m")));
        let ascending = Part {
            descending: false,
            ..part
        };
        assert_eq!(ascending.bounds(), (Some("m"), None));
    }
}
