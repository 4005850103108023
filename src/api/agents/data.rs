//! Folders of data, and their rows.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::wire::{
    AgentFault, Auth, Body, Fields, ListQuery, Many, One, Path, Problem, Query, View, created, many,
};
use crate::api::Service;
use crate::error::Result;
use crate::records::{self, Filter, Kind, NewRecord, folders};

/// Lists folders, each with the number of its rows.
#[utoipa::path(get, path = "/protected/data/folders", tag = "agents", operation_id = "listDataFolders", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = records::list(
        &service.app,
        &caller,
        &[Kind::Folder],
        &Filter::default(),
        &page,
    )
    .await?;
    let ids: Vec<String> = found.items.iter().map(|f| f.id.clone()).collect();
    let counts: HashMap<String, i64> = folders::counts(&service.app, &caller, &ids)
        .await?
        .into_iter()
        .collect();
    let mut answer = many(&found, &page)?;
    for view in answer.views() {
        let count = counts.get(&view.id).copied().unwrap_or(0);
        view.more.insert("itemsCount".to_owned(), json!(count));
    }
    Ok(answer)
}

/// Creates a folder: `title` (or `name`, `dataTitle`), `parentId`, `dataTags`, `dataSchema`.
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
    if let Some(tags) = fields.list("dataTags")? {
        fields.0.insert("dataTags".to_owned(), Value::Array(tags));
    }
    // The key knows its company.
    fields.0.remove("company");
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

/// A row that was appended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RowRecord {
    #[serde(rename = "_id")]
    twin: String,
    id: String,
    folder_id: String,
    /// Its place in the folder, from 1.
    position: i64,
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
    let row = folders::append(&service.app, &caller, &id, row).await?;
    Ok(created(RowRecord {
        twin: row.id.clone(),
        id: row.id,
        folder_id: id,
        position: row.seq,
    }))
}
