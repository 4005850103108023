//! Uploads of documents into a dataset: the form, how long to wait, and the answer.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::upload::{Target, check_length, receive};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::kb::datasets;
use crate::kb::documents::{self, Added, NewDocument};

/// The form of an upload.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
pub(super) struct UploadForm {
    /// Up to 20 files of 50 MB each, 200 MB in all.
    #[schema(content_media_type = "application/octet-stream")]
    files: Vec<String>,
    /// Overrides the dataset's setting for these files.
    chunk_size: Option<i64>,
    chunk_overlap: Option<i64>,
    parse_type: Option<String>,
    parser_engine: Option<String>,
    /// A JSON object for all files, or a JSON array with one object per file in order. Filterable in search.
    metadata: Option<String>,
    /// A JSON array with the caller's own id of each file in order, or the id of a single file. A document with the same id is replaced.
    external_ids: Option<String>,
    /// A JSON array with the title of each file in order (null for the one in the file), or the title of a single file. It is embedded with every chunk.
    titles: Option<String>,
    /// A JSON array with the address of each file in order (null for none), or the address of a single file: `http` or `https`.
    urls: Option<String>,
    /// Policy for a file whose bytes are already in the dataset under another name: `skip` it, `link` the name to the existing document, `replace` that
    /// document, or `keep` both (default).
    on_duplicate: Option<String>,
    /// Whether a file of the same name is a new version of the existing document (default), or a second document.
    versions: Option<bool>,
}

/// Response mode of an upload.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Waiting {
    /// `indexed`: responds with 200 once every file, and the files inside it, are searchable or have failed; with 202 when that takes too long.
    #[param(value_type = Option<WaitFor>, inline = false)]
    wait: Option<String>,
    /// Longest wait in seconds, 1 to 300 (default 60).
    timeout_seconds: Option<u64>,
}

/// The state that the answer to an upload waits for.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes the parameter for the OpenAPI document")]
pub(super) enum WaitFor {
    /// The bytes are stored.
    Accepted,
    /// Every file is searchable, or has failed.
    Indexed,
}

/// The accepted files.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Uploaded {
    uploaded_files: Vec<UploadedFile>,
}

/// An accepted file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UploadedFile {
    id: String,
    file_name: String,
    status: String,
    job_id: String,
    /// `created`, `replaced` (a new version of an existing document), `unchanged` (the same bytes under the same name), `skipped` or `linked` (the same bytes
    /// under another name).
    outcome: String,
    version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

/// Receives a form, adds its files to a dataset, and waits for them where that was asked for.
///
/// # Errors
/// Those of [`receive`] and of [`documents::add`]; `files_missing`, `metadata_invalid`, `external_ids_invalid`,
/// `titles_invalid`, `urls_invalid`, `wait_unknown`.
pub(super) async fn accept(
    app: &App,
    caller: &Caller,
    (dataset_id, waiting): (&str, &Waiting),
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<(StatusCode, Json<Uploaded>)> {
    caller.need_edit(dataset_id)?;
    datasets::settings(app, caller, dataset_id).await?;
    let patience = waiting.patience()?;
    app.disk.ensure_free_space()?;
    check_length(app, headers)?;
    let form = receive(app, headers, body, Target::Blobs(caller.tenant())).await?;
    if form.files.is_empty() {
        return Err(Error::invalid(
            "files_missing",
            "send at least one file in the field files",
        ));
    }
    let metadata = per_file(form.metadata, form.files.len())?;
    let files = form.files.len();
    let external_ids = texts_per_file(form.external_ids, files, "externalIds")?;
    let titles = texts_per_file(form.titles, files, "titles")?;
    let urls = texts_per_file(form.urls, files, "urls")?;
    urls.iter()
        .flatten()
        .try_for_each(|url| check_address(url))?;
    let new = form
        .files
        .into_iter()
        .zip(metadata)
        .zip(external_ids)
        .zip(titles.into_iter().zip(urls))
        .map(
            |(((file, metadata), external_id), (title, url))| NewDocument {
                metadata,
                chunk_settings: form.chunk_settings.clone(),
                external_id,
                title,
                url,
                ..NewDocument::new(file.file_name, file.mime_type, file.stored)
            },
        )
        .collect();
    let mut added = documents::add(app, caller, dataset_id, new, form.meeting).await?;
    let mut status = StatusCode::ACCEPTED;
    if let Some(patience) = patience {
        let ids: Vec<String> = added.iter().map(|a| a.document.id.clone()).collect();
        if documents::settled(app, caller, dataset_id, &ids, patience).await? {
            status = StatusCode::OK;
        }
        let now = documents::by_ids(app, caller, dataset_id, &ids).await?;
        for a in &mut added {
            if let Some(document) = now.iter().find(|d| d.id == a.document.id) {
                a.document = document.clone();
            }
        }
    }
    let uploaded_files = added
        .into_iter()
        .map(|Added { document, outcome }| UploadedFile {
            status: document.shown_status().to_owned(),
            id: document.id,
            file_name: document.file_name,
            job_id: document.job_id,
            outcome: outcome.to_owned(),
            version: document.version,
            error_message: document.error_message,
        })
        .collect();
    Ok((status, Json(Uploaded { uploaded_files })))
}

impl Waiting {
    fn patience(&self) -> Result<Option<Duration>> {
        match self.wait.as_deref() {
            None | Some("accepted") => Ok(None),
            Some("indexed") => {
                let seconds = self.timeout_seconds.unwrap_or(60).clamp(1, 300);
                Ok(Some(Duration::from_secs(seconds)))
            }
            Some(_) => Err(Error::invalid(
                "wait_unknown",
                "wait must be indexed or omitted",
            )),
        }
    }
}

/// Parses one text per file from a JSON array or, for a single file, the text itself.
///
/// # Errors
/// `external_ids_invalid`, `titles_invalid`, `urls_invalid`, by the name of the field.
fn texts_per_file(
    text: Option<String>,
    files: usize,
    field: &'static str,
) -> Result<Vec<Option<String>>> {
    let Some(text) = text else {
        return Ok(vec![None; files]);
    };
    let texts: Vec<Option<String>> = match serde_json::from_str::<Vec<Option<String>>>(&text) {
        Ok(texts) => texts,
        Err(_) => vec![Some(text)],
    };
    let code = match field {
        "titles" => "titles_invalid",
        "urls" => "urls_invalid",
        _ => "external_ids_invalid",
    };
    let has_room = |text: &String| text.chars().count() <= TEXT_PER_FILE;
    if texts.len() == files && texts.iter().flatten().all(has_room) {
        return Ok(texts);
    }
    Err(Error::invalid(
        code,
        format!(
            "{field} must be a JSON array with one text (or null) of at most {TEXT_PER_FILE} characters per file"
        ),
    ))
}

/// Maximum characters of a title, an address or an id.
const TEXT_PER_FILE: usize = 2000;

/// Checks that an address can be opened from a page without running anything.
fn check_address(address: &str) -> Result<()> {
    let parsed = Url::parse(address).ok();
    if parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Ok(());
    }
    Err(Error::invalid(
        "urls_invalid",
        format!("{address:?} is not an address that begins with http:// or https://"),
    ))
}

fn per_file(metadata: Option<Value>, files: usize) -> Result<Vec<Value>> {
    match metadata {
        None => Ok(vec![Value::Object(serde_json::Map::new()); files]),
        Some(Value::Array(list)) if list.len() == files => Ok(list),
        Some(Value::Array(_)) => Err(Error::invalid(
            "metadata_invalid",
            "a metadata array must have one object per file",
        )),
        Some(one) => Ok(vec![one; files]),
    }
}
