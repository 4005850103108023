//! Chunks: reading with context, manual edits, and previews of chunk settings.

mod dry_run;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Service;
use crate::api::native::wire::{Auth, Body, Fault, Pagination, Paging, Path, Problem, Query};
use crate::error::Result;
use crate::kb::edits::{self, ChunkPatch, Edit};
use crate::kb::{Chunk, chunks};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(get, change, take_back))
        .routes(routes!(around))
        .routes(routes!(list_edits))
        .routes(routes!(forget))
        .routes(routes!(dry_run::preview_document))
        .routes(routes!(dry_run::preview_file))
}

/// A chunk: `text[start..end] == content`, counted in Unicode characters, and `startByte`/`endByte` in UTF-8 bytes. The content of an edited chunk differs from
/// its range; an added chunk has an empty range.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChunkRecord {
    id: String,
    document_id: String,
    ordinal: i64,
    content: String,
    start: i64,
    end: i64,
    start_byte: i64,
    end_byte: i64,
    /// Enclosing headings, or symbols of source code, outermost first.
    heading_path: Vec<String>,
    page_number: Option<i64>,
    /// Printed page number, where it differs from the position.
    page_label: Option<String>,
    /// Rows of a table, from 1, and its header if that precedes the chunk.
    table: Option<TableRecord>,
    /// Lines of source code, from 1.
    lines: Option<LineRecord>,
    /// Number of tokens including title and headings, by the model's tokenizer.
    tokens: i64,
    /// Whether the end of the chunk exceeds the model's limit and is missing from its vector.
    truncated: bool,
    /// Whether the chunk is included in searches.
    enabled: bool,
    /// `parsed`, `edited` or `added`.
    origin: String,
}

/// Rows of a table.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TableRecord {
    /// Position of the table in the document, from 1.
    number: i64,
    first_row: i64,
    last_row: i64,
    header: Option<String>,
}

/// Lines of source code.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LineRecord {
    first: i64,
    last: i64,
}

impl TableRecord {
    pub(crate) fn of(chunk: &Chunk) -> Option<Self> {
        Some(Self {
            number: chunk.table_number?,
            first_row: chunk.first_row?,
            last_row: chunk.last_row?,
            header: chunk.table_header.clone(),
        })
    }
}

impl LineRecord {
    pub(crate) fn of(chunk: &Chunk) -> Option<Self> {
        Some(Self {
            first: chunk.first_line?,
            last: chunk.last_line?,
        })
    }
}

impl From<Chunk> for ChunkRecord {
    fn from(c: Chunk) -> Self {
        Self {
            heading_path: c.headings(),
            table: TableRecord::of(&c),
            lines: LineRecord::of(&c),
            id: c.id,
            document_id: c.document_id,
            ordinal: c.ordinal,
            content: c.content,
            start: c.start_char,
            end: c.end_char,
            start_byte: c.start_byte,
            end_byte: c.end_byte,
            page_number: c.page,
            page_label: c.page_label,
            tokens: c.tokens,
            truncated: c.truncated,
            enabled: c.enabled,
            origin: c.origin,
        }
    }
}

/// A page of chunks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Chunks {
    data: Vec<ChunkRecord>,
    pagination: Pagination,
}

/// Lists the chunks of a document in order.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/chunks", tag = "documents", operation_id = "listChunks", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path), Paging), responses((status = 200, body = Chunks), (status = "4XX", body = Fault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Chunks>, Problem> {
    let found = chunks::list(&service.app, &caller, &dataset, &id, &paging.page(50)?).await?;
    Ok(Json(Chunks {
        data: found.items.into_iter().map(Into::into).collect(),
        pagination: found.next.into(),
    }))
}

/// A chunk to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewChunk {
    /// Text of the chunk, at most 64 KiB.
    #[serde(default)]
    content: String,
    /// Ordinal of the preceding chunk; -1 inserts before the first. Absent: at the end.
    after: Option<i64>,
}

/// Adds a chunk that is not in the file. It is kept when the document is ingested again.
#[utoipa::path(post, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/chunks", tag = "documents", operation_id = "addChunk", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), request_body = NewChunk,
    responses((status = 201, body = ChunkRecord), (status = "4XX", body = Fault)))]
pub(super) async fn add(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Body(body): Body<NewChunk>,
) -> Result<(StatusCode, Json<ChunkRecord>), Problem> {
    let chunk = edits::add(
        &service.app,
        &caller,
        &dataset,
        &id,
        body.content,
        body.after,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(chunk.into())))
}

/// Returns a chunk.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/chunks/{chunkId}", tag = "documents", operation_id = "getChunk", security(("key" = [])),
    params(("datasetId" = String, Path), ("chunkId" = String, Path)), responses((status = 200, body = ChunkRecord), (status = "4XX", body = Fault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Json<ChunkRecord>, Problem> {
    Ok(Json(
        chunks::get(&service.app, &caller, &dataset, &id)
            .await?
            .into(),
    ))
}

/// A change of a chunk.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PatchChunk {
    /// New text, at most 64 KiB.
    content: Option<String>,
    enabled: Option<bool>,
}

/// Changes the text of a chunk, or excludes it from searches. The change is reapplied whenever the document is ingested again and still contains the original
/// text.
#[utoipa::path(patch, path = "/kb/v1/datasets/{datasetId}/chunks/{chunkId}", tag = "documents", operation_id = "updateChunk", security(("key" = [])),
    params(("datasetId" = String, Path), ("chunkId" = String, Path)), request_body = PatchChunk,
    responses((status = 200, body = ChunkRecord), (status = "4XX", body = Fault)))]
pub(super) async fn change(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Body(body): Body<PatchChunk>,
) -> Result<Json<ChunkRecord>, Problem> {
    let patch = ChunkPatch {
        content: body.content,
        enabled: body.enabled,
    };
    Ok(Json(
        edits::update(&service.app, &caller, &dataset, &id, patch)
            .await?
            .into(),
    ))
}

/// Reverts a manual change: removes an added chunk (204), or restores the text and visibility of a parsed one (200).
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/chunks/{chunkId}", tag = "documents", operation_id = "revertChunk", security(("key" = [])),
    params(("datasetId" = String, Path), ("chunkId" = String, Path)),
    responses((status = 200, body = ChunkRecord), (status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn take_back(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(
        match edits::take_back(&service.app, &caller, &dataset, &id).await? {
            Some(chunk) => Json(ChunkRecord::from(chunk)).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        },
    )
}

/// Size of the context around a chunk.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Reach {
    /// Number of chunks on each side, 0 to 20 (default 1).
    neighbours: Option<i64>,
    /// Characters of source text on each side, 0 to 20000 (default 500).
    characters: Option<usize>,
}

/// A chunk with its context.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Around {
    chunk: ChunkRecord,
    before: Vec<ChunkRecord>,
    after: Vec<ChunkRecord>,
    source: SourceText,
}

/// The document's text before, in and after the chunk.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceText {
    before: String,
    text: String,
    after: String,
}

/// Returns a chunk with its neighbours and the surrounding source text.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/chunks/{chunkId}/context", tag = "documents", operation_id = "getChunkContext", security(("key" = [])),
    params(("datasetId" = String, Path), ("chunkId" = String, Path), Reach), responses((status = 200, body = Around), (status = "4XX", body = Fault)))]
pub(super) async fn around(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
    Query(reach): Query<Reach>,
) -> Result<Json<Around>, Problem> {
    let (neighbours, characters) = (
        reach.neighbours.unwrap_or(1),
        reach.characters.unwrap_or(500),
    );
    let found =
        chunks::around(&service.app, &caller, &dataset, &id, neighbours, characters).await?;
    let (before, text, after) = found.source;
    Ok(Json(Around {
        chunk: found.chunk.into(),
        before: found.before.into_iter().map(Into::into).collect(),
        after: found.after.into_iter().map(Into::into).collect(),
        source: SourceText {
            before,
            text,
            after,
        },
    }))
}

/// A manual change of a chunk.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EditRecord {
    id: String,
    /// `changed` or `added`.
    kind: &'static str,
    /// Original text from the file.
    original: Option<String>,
    /// Text that replaces it, or that was added.
    content: Option<String>,
    enabled: bool,
    /// Whether the original text is no longer in the file, so that the edit is kept but not applied.
    orphaned: bool,
    updated_on: String,
}

impl From<Edit> for EditRecord {
    fn from(edit: Edit) -> Self {
        Self {
            kind: if edit.anchor_hash.is_some() {
                "changed"
            } else {
                "added"
            },
            id: edit.id,
            original: edit.anchor_text,
            content: edit.content,
            enabled: edit.enabled,
            orphaned: edit.orphaned,
            updated_on: edit.updated_on.rfc3339(),
        }
    }
}

/// The manual changes of a document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Edits {
    data: Vec<EditRecord>,
}

/// Lists the manual changes of a document, including those whose original text is gone.
#[utoipa::path(get, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/edits", tag = "documents", operation_id = "listEdits", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path)), responses((status = 200, body = Edits), (status = "4XX", body = Fault)))]
pub(super) async fn list_edits(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, id)): Path<(String, String)>,
) -> Result<Json<Edits>, Problem> {
    let found = edits::list(&service.app, &caller, &dataset, &id).await?;
    Ok(Json(Edits {
        data: found.into_iter().map(Into::into).collect(),
    }))
}

/// Deletes a change whose original text is gone.
#[utoipa::path(delete, path = "/kb/v1/datasets/{datasetId}/documents/{documentId}/edits/{editId}", tag = "documents", operation_id = "deleteEdit", security(("key" = [])),
    params(("datasetId" = String, Path), ("documentId" = String, Path), ("editId" = String, Path)),
    responses((status = 204), (status = "4XX", body = Fault)))]
pub(super) async fn forget(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((dataset, document, edit)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    edits::forget(&service.app, &caller, &dataset, &document, &edit).await?;
    Ok(StatusCode::NO_CONTENT)
}
