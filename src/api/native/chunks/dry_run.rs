//! Dry runs: the chunks that a document or a file would have under other settings.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ChunkRecord;
use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Path, Problem};
use crate::api::upload::{Target, check_length, receive};
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::kb::datasets::{self, ChunkSettings};
use crate::kb::ingestion::Prepared;
use crate::kb::preview;

/// Chunk settings to try; absent ones are those of the document or the dataset.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trial {
    chunk_size: Option<i64>,
    chunk_overlap: Option<i64>,
    parse_type: Option<String>,
    parser_engine: Option<String>,
}

/// The chunks that the settings would produce.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    title: Option<String>,
    engine: String,
    warnings: Vec<String>,
    /// Names of contained files that would become separate documents.
    parts: Vec<String>,
    /// Total number of chunks.
    total_chunks: usize,
    /// The first 500 chunks.
    chunks: Vec<ChunkRecord>,
}

/// Returns the chunks that a document would have with other settings; nothing is stored.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/preview", tag = "documents", operation_id = "previewDocument", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), request_body = Trial,
    responses((status = 200, body = Preview), (status = "4XX", body = Fault)))]
pub(crate) async fn preview_document(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Body(trial): Body<Trial>,
) -> Result<Json<Preview>, Problem> {
    caller.need(Scope::KbRead)?;
    let chunk_settings = ChunkSettings {
        chunk_size: trial.chunk_size,
        chunk_overlap: trial.chunk_overlap,
        parse_type: trial.parse_type,
        parser_engine: trial.parser_engine,
    };
    let tried = preview::of_document(&service.app, &caller, &dataset, &id, &chunk_settings).await?;
    Ok(Json(tried.into()))
}

impl From<(Prepared, Vec<String>)> for Preview {
    fn from((prepared, parts): (Prepared, Vec<String>)) -> Self {
        Self {
            title: prepared.title,
            engine: prepared.engine,
            warnings: prepared.warnings,
            parts,
            total_chunks: prepared.chunks.len(),
            chunks: prepared
                .chunks
                .into_iter()
                .take(500)
                .map(Into::into)
                .collect(),
        }
    }
}

/// A file to preview.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the form for the OpenAPI document")]
pub(super) struct TrialForm {
    /// Content of the file.
    #[schema(content_media_type = "application/octet-stream")]
    file: String,
    chunk_size: Option<i64>,
    chunk_overlap: Option<i64>,
    parse_type: Option<String>,
    parser_engine: Option<String>,
}

/// Returns the chunks that a file would have; no document is created.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/preview/upload", tag = "documents", operation_id = "previewFile", security(("key" = [])),
    params(("datasetId" = String, Path)), request_body(content = TrialForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Preview), (status = "4XX", body = Fault)))]
pub(crate) async fn preview_file(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(dataset): Path<String>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Json<Preview>, Problem> {
    caller.need(Scope::KbRead)?;
    let app = &service.app;
    datasets::settings(app, &caller, &dataset).await?;
    app.disk.ensure_free_space()?;
    check_length(app, &headers)?;
    let folder = app.parser.folder().await?;
    let form = receive(app, &headers, body, Target::Folder(folder.path())).await?;
    let [file] = form.files.as_slice() else {
        return Err(Error::invalid("files_missing", "send one file in the field file").into());
    };
    let tried = preview::of_file(
        app,
        &caller,
        &dataset,
        &file.file_name,
        &file.mime_type,
        &folder.path().join("0"),
        &form.chunk_settings,
    )
    .await?;
    Ok(Json(tried.into()))
}
