//! Folders of data, and their rows.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::wire::{
    AgentFault, Auth, Body, Fields, HasId, ListQuery, Many, One, Path, Problem, Query, View,
    created, many, one, removed,
};
use crate::api::Service;
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::rows::{self, Format, Row, RowView, RowsUploaded, Source, Upload};
use crate::records::{self, Filter, Kind, NewRecord, Numbered, Record, folders};

/// Lists folders, each with the number of its rows.
#[utoipa::path(get, path = "/protected/data/folders", tag = "agents", operation_id = "listDataFolders", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let filter = Filter {
        parent_id: match query.parent() {
            Some(parent) => Some(folders::id_of(&service.app, &caller, &parent).await?),
            None => None,
        },
        ..Filter::default()
    };
    let found = records::list(&service.app, &caller, &[Kind::Folder], &filter, &page).await?;
    let ids: Vec<String> = found.items.iter().map(|f| f.id.clone()).collect();
    let counts = rows::counts(&service.app, &caller, &ids).await?;
    let mut answer = many(&found, &page)?;
    for view in answer.views() {
        let count = counts.get(&view.id).copied().unwrap_or(0);
        view.more.insert("itemsCount".to_owned(), json!(count));
    }
    Ok(answer)
}

/// Flattens the tags.
fn tagged(fields: &mut Fields) -> Result<()> {
    if let Some(tags) = fields.list("dataTags")? {
        fields.0.insert("dataTags".to_owned(), Value::Array(tags));
    }
    // The key knows its company.
    fields.0.remove("company");
    Ok(())
}

/// Creates a folder: `title` (or `name`, `dataTitle`), `parentId`, `dataTags`, `dataSchema`, `searchText` (what of its rows is searched, see its update).
#[utoipa::path(post, path = "/protected/data/folders", tag = "agents", operation_id = "createDataFolder", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let mut fields = Fields(body);
    let title = fields.first(&["title", "name", "dataTitle"])?;
    let parent_id = fields.text("parentId")?;
    tagged(&mut fields)?;
    let new = NewRecord {
        kind: Kind::Folder,
        parent_id,
        title,
        status: None,
        body: fields.0,
    };
    Ok(created(View::of(
        &folders::create(&service.app, &caller, new).await?,
    )?))
}

/// A folder with the number of its rows.
async fn told(service: &Service, caller: &Caller, folder: &Record) -> Result<View, Problem> {
    let counts = rows::counts(&service.app, caller, std::slice::from_ref(&folder.id)).await?;
    let mut view = View::of(folder)?;
    let count = counts.get(&folder.id).copied().unwrap_or(0);
    view.more.insert("itemsCount".to_owned(), json!(count));
    Ok(view)
}

/// A folder, with the number of its rows.
#[utoipa::path(get, path = "/protected/data/folders/{id}", tag = "agents", operation_id = "getDataFolder", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn folder(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<View>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let folder = records::get(&service.app, &caller, Kind::Folder, &id).await?;
    Ok(one(told(&service, &caller, &folder).await?))
}

/// The part of a folder's content that is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ContentQuery {
    /// Only rows whose field `type` is this, such as `document` or `invoice`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Rows of a page, 1 to 1000; 100 when absent.
    limit: Option<usize>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// A folder with its rows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FolderContent {
    folder: View,
    /// Folders that stand in it, at most 100.
    folders: Vec<View>,
    items: Vec<RowRecord>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A folder with what it holds: its folders, and its rows in the order of appending.
#[utoipa::path(get, path = "/protected/data/folders/{id}/content", tag = "agents", operation_id = "getDataFolderContent", security(("key" = [])), params(("id" = String, Path), ContentQuery),
    responses((status = 200, body = One<FolderContent>), (status = "4XX", body = AgentFault)))]
pub(super) async fn content(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(query): Query<ContentQuery>,
) -> Result<Json<One<FolderContent>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let folder = records::get(&service.app, &caller, Kind::Folder, &id).await?;
    let question = rows::Query {
        filter: query
            .kind
            .filter(|kind| !kind.is_empty())
            .map(|kind| json!({"field": "type", "op": "eq", "value": kind})),
        limit: query.limit,
        cursor: query.cursor,
        ..rows::Query::default()
    };
    let found = rows::query(&service.app, &caller, &id, &question).await?;
    let page = Numbered {
        limit: 100,
        ..Numbered::default()
    };
    let inside = Filter {
        parent_id: Some(id.clone()),
        ..Filter::default()
    };
    let inside = records::list(&service.app, &caller, &[Kind::Folder], &inside, &page).await?;
    Ok(one(FolderContent {
        folder: told(&service, &caller, &folder).await?,
        folders: inside.items.iter().map(View::of).collect::<Result<_>>()?,
        items: found
            .rows
            .into_iter()
            .map(|row| RowRecord::of(&id, row))
            .collect(),
        next_cursor: found.next_cursor,
    }))
}

/// The columns of a folder, as they were sent.
#[utoipa::path(get, path = "/protected/data/folders/{id}/schema", tag = "agents", operation_id = "getDataFolderSchema", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<Value>), (status = "4XX", body = AgentFault)))]
pub(super) async fn schema(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<Value>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let folder = records::get(&service.app, &caller, Kind::Folder, &id).await?;
    let schema = folder.body().map_err(Problem::from)?.remove("dataSchema");
    Ok(one(schema.unwrap_or_else(|| json!({"fields": []}))))
}

/// Changes a folder: what is sent replaces what is there, and null removes it. `searchText` says what of its rows is searched: a template such as
/// `"{{ name }}: {{ notes }}"`, a list of fields, `true` for all of them (as without it), or `false` for none.
#[utoipa::path(patch, path = "/protected/data/folders/{id}", tag = "agents", operation_id = "updateDataFolder", security(("key" = [])), params(("id" = String, Path)), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let mut fields = Fields(body);
    let title = fields.first(&["title", "name", "dataTitle"])?;
    let parent_id = match fields.0.get("parentId") {
        None => None,
        Some(_) => Some(fields.text("parentId")?),
    };
    tagged(&mut fields)?;
    let changes = folders::Changes {
        title,
        parent_id,
        body: fields.0,
    };
    let folder = folders::update(&service.app, &caller, &id, changes).await?;
    Ok(one(told(&service, &caller, &folder).await?))
}

/// Removes a folder with all its rows for good. One that holds folders is refused.
#[utoipa::path(delete, path = "/protected/data/folders/{id}", tag = "agents", operation_id = "deleteDataFolder", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<Value>), (status = "4XX", body = AgentFault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<Value>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    rows::remove_folder(&service.app, &caller, &id).await?;
    Ok(removed(&id))
}

/// A row.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RowRecord {
    #[serde(rename = "_id")]
    twin: String,
    folder_id: String,
    #[serde(flatten)]
    row: RowView,
}

impl HasId for RowRecord {
    fn id(&self) -> &str {
        &self.twin
    }
}

impl RowRecord {
    fn of(folder_id: &str, row: Row) -> Self {
        Self {
            twin: row.id.clone(),
            folder_id: folder_id.to_owned(),
            row: row.into(),
        }
    }
}

/// Appends a row, any JSON object, to a folder.
#[utoipa::path(post, path = "/protected/data/folders/{id}/items", tag = "agents", operation_id = "addDataItem", security(("key" = [])), params(("id" = String, Path)), request_body = Object,
    responses((status = 201, body = One<RowRecord>), (status = "4XX", body = AgentFault)))]
pub(super) async fn append(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(row): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<RowRecord>>), Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let row = unwrapped(&service.app, &caller, &id, row).await?;
    let row = rows::append(&service.app, &caller, &id, vec![row])
        .await?
        .pop()
        .ok_or_else(|| Error::internal("an append gave no row"))?;
    Ok(created(RowRecord::of(&id, row)))
}

/// The row inside `{"data": {…}}`, unless the folder has a column of that name.
async fn unwrapped(
    app: &App,
    caller: &Caller,
    folder: &str,
    mut row: Map<String, Value>,
) -> Result<Map<String, Value>> {
    if row.len() != 1 || !row.get("data").is_some_and(Value::is_object) {
        return Ok(row);
    }
    let folder = records::load(&app.db, caller.tenant(), Kind::Folder, folder).await?;
    let columns = folder.as_ref().map(folders::columns_of).transpose()?;
    let named = columns.iter().flatten().any(|c| c.name == "data");
    match row.remove("data") {
        Some(Value::Object(inner)) if !named => Ok(inner),
        other => Ok(other.map(|v| ("data".to_owned(), v)).into_iter().collect()),
    }
}

/// How to take an upload of rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// `json` (an array), `jsonl` or `csv`; by the content type when absent.
    #[param(value_type = Option<String>)]
    format: Option<String>,
    /// What stands between values of CSV: one character, or `tab`; found in the first line when absent.
    delimiter: Option<String>,
    /// Name of this upload: sent again, it changes nothing and answers as before.
    batch: Option<String>,
    /// `fail` (one faulty row refuses all) or `skip` (faulty rows are left out and told).
    #[param(inline)]
    on_error: Option<OnError>,
    /// Whether to check only.
    #[serde(default)]
    dry_run: bool,
    /// Whether columns of CSV get types by their values when the folder has no columns; otherwise all are text.
    infer_types: Option<bool>,
}

/// What a faulty row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// It refuses all.
    Fail,
    /// It is left out.
    Skip,
}

/// What the caller says that the body is.
fn source(query: &UploadQuery, headers: &HeaderMap) -> Result<Source> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let mime = content_type.split(';').next().unwrap_or_default().trim();
    let stated = query.format.as_deref().unwrap_or(match mime {
        "application/json" => "json",
        "application/x-ndjson"
        | "application/jsonl"
        | "application/json-lines"
        | "application/jsonlines"
        | "application/x-jsonlines" => "jsonl",
        "text/csv" | "application/csv" | "text/tab-separated-values" => "csv",
        other => other,
    });
    let delimiter = match query.delimiter.as_deref() {
        None if mime == "text/tab-separated-values" => Some(b'\t'),
        None => None,
        Some("tab" | "\t") => Some(b'\t'),
        Some(one) => match one.as_bytes() {
            [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Some(*byte),
            _ => {
                return Err(Error::invalid(
                    "delimiter_invalid",
                    "delimiter is one character such as ; or the word tab",
                ));
            }
        },
    };
    match stated {
        "json" => Ok(Source::Json),
        "jsonl" => Ok(Source::Jsonl),
        "csv" => Ok(Source::Csv { delimiter }),
        _ => Err(Error::invalid(
            "format_invalid",
            "say what the body is: format=json, jsonl or csv, or a content type such as text/csv",
        )),
    }
}

/// Appends any number of rows from the body: a JSON array, JSON lines, or CSV with a line of names. All of them, or none (see `onError`).
#[utoipa::path(post, path = "/protected/data/folders/{id}/items/upload", tag = "agents", operation_id = "uploadDataItems", security(("key" = [])),
    params(("id" = String, Path), UploadQuery), request_body(content((Vec<Object> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 201, body = One<RowsUploaded>), (status = 200, description = "A dry run, or an upload that was done before.", body = One<RowsUploaded>),
        (status = "4XX", body = AgentFault), (status = 507, body = AgentFault)))]
pub(super) async fn upload(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<(StatusCode, Json<One<RowsUploaded>>), Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let upload = Upload {
        source: source(&query, &headers)?,
        batch: query.batch,
        skip: query.on_error == Some(OnError::Skip),
        dry_run: query.dry_run,
        infer: query.infer_types.unwrap_or(true),
    };
    let pieces = body.into_data_stream().map(|piece| {
        piece
            .map_err(|e| Error::invalid("body_invalid", format!("the body could not be read: {e}")))
    });
    let done = rows::upload(&service.app, &caller, &id, upload, pieces).await?;
    let status = if done.repeated || query.dry_run {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, one(done)))
}

/// Rows or groups that were asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    /// Rows, in the order that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<RowRecord>>,
    /// Groups, each an object of its fields and aggregates.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    groups: Option<Vec<Map<String, Value>>>,
    /// All rows that the filter lets through, or all groups; with `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Asks about rows: filters, order, pages, and groups with counts, sums, means and extremes.
#[utoipa::path(post, path = "/protected/data/folders/{id}/query", tag = "agents", operation_id = "queryDataItems", security(("key" = [])), params(("id" = String, Path)), request_body = rows::Query,
    responses((status = 200, body = One<Found>), (status = "4XX", body = AgentFault)))]
pub(super) async fn query(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(question): Body<rows::Query>,
) -> Result<Json<One<Found>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let answer = rows::query(&service.app, &caller, &id, &question).await?;
    let rows: Vec<RowRecord> = answer
        .rows
        .into_iter()
        .map(|row| RowRecord::of(&id, row))
        .collect();
    Ok(one(Found {
        rows: answer.groups.is_none().then_some(rows),
        groups: answer.groups,
        total: answer.total,
        next_cursor: answer.next_cursor,
    }))
}

/// What an export is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// `csv` or `jsonl`; `jsonl` when absent.
    format: Option<String>,
    /// Whether each row comes with its id, position and time.
    #[serde(default)]
    ids: bool,
}

/// All rows of a folder in their order, as a download.
#[utoipa::path(get, path = "/protected/data/folders/{id}/export", tag = "agents", operation_id = "exportDataItems", security(("key" = [])), params(("id" = String, Path), ExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), (status = "4XX", body = AgentFault)))]
pub(super) async fn export(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let format: Format = query.format.as_deref().unwrap_or("jsonl").parse()?;
    let (mime, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
    };
    let rows = rows::export(&service.app, &caller, &id, format, query.ids).await?;
    let mut response = axum::body::Body::from_stream(rows).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    let name = format!("attachment; filename=\"{id}.{ending}\"");
    let name = HeaderValue::from_str(&name).map_err(|e| Error::internal(e.to_string()))?;
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// A row.
#[utoipa::path(get, path = "/protected/data/folders/{id}/items/{rowId}", tag = "agents", operation_id = "getDataItem", security(("key" = [])), params(("id" = String, Path), ("rowId" = String, Path)),
    responses((status = 200, body = One<RowRecord>), (status = "4XX", body = AgentFault)))]
pub(super) async fn row(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((id, row_id)): Path<(String, String)>,
) -> Result<Json<One<RowRecord>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let row = rows::get(&service.app, &caller, &id, &row_id).await?;
    Ok(one(RowRecord::of(&id, row)))
}

/// Changes fields of a row; null removes one.
#[utoipa::path(patch, path = "/protected/data/folders/{id}/items/{rowId}", tag = "agents", operation_id = "updateDataItem", security(("key" = [])), params(("id" = String, Path), ("rowId" = String, Path)), request_body = Object,
    responses((status = 200, body = One<RowRecord>), (status = "4XX", body = AgentFault)))]
pub(super) async fn update_row(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((id, row_id)): Path<(String, String)>,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Json<One<RowRecord>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    let row = rows::change(&service.app, &caller, &id, &row_id, Some(fields)).await?;
    Ok(one(RowRecord::of(&id, row)))
}

/// Removes a row for good; the others keep their positions.
#[utoipa::path(delete, path = "/protected/data/folders/{id}/items/{rowId}", tag = "agents", operation_id = "deleteDataItem", security(("key" = [])), params(("id" = String, Path), ("rowId" = String, Path)),
    responses((status = 200, body = One<Value>), (status = "4XX", body = AgentFault)))]
pub(super) async fn remove_row(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path((id, row_id)): Path<(String, String)>,
) -> Result<Json<One<Value>>, Problem> {
    let id = folders::id_of(&service.app, &caller, &id).await?;
    rows::change(&service.app, &caller, &id, &row_id, None).await?;
    Ok(removed(&row_id))
}
