//! Folders of data, and their rows.

use serde_json::{Map, Value, json};

use super::wire::{Fields, paging, view};
use crate::api::operation::{Call, Data};
use crate::app::App;
use crate::auth::Caller;
use crate::data::FOLDER;
use crate::data::folders;
use crate::data::rows::{self, Row, RowView};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::plan::Plan;
use crate::records::store::{self, Filter, Numbered};
use crate::records::write::{New, Patch};

/// Returns the id of the folder that the path names, by id or by title.
async fn folder_id(call: Call<'_>) -> Result<String> {
    folders::id_of(call.app, call.caller, call.id()).await
}

async fn load(call: Call<'_>) -> Result<Record> {
    let id = folder_id(call).await?;
    store::get(call.app, call.caller.tenant(), &FOLDER, &id).await
}

/// Returns folders as they are shown, each with the number of its rows.
async fn counted(call: Call<'_>, folders: &[Record]) -> Result<Vec<Value>> {
    let ids: Vec<String> = folders.iter().map(|f| f.id.clone()).collect();
    let counts = rows::counts(call.app, call.caller, &ids).await?;
    let shown = folders.iter().map(|folder| {
        let mut json = view(&FOLDER, folder)?;
        json["itemsCount"] = json!(counts.get(&folder.id).copied().unwrap_or(0));
        Ok(json)
    });
    shown.collect()
}

pub(super) async fn list(call: Call<'_>) -> Result<Data> {
    let page = paging(call)?;
    let parent = call
        .query("parentId")
        .map(str::trim)
        .filter(|id| !id.is_empty());
    let filter = Filter {
        parent_id: match parent {
            Some(parent) => Some(folders::id_of(call.app, call.caller, parent).await?),
            None => None,
        },
        ..Filter::default()
    };
    let listed =
        store::numbered(call.app, call.caller.tenant(), &[&FOLDER], &filter, &page).await?;
    Ok(Data::Page(
        counted(call, &listed.items).await?,
        page,
        listed.total,
    ))
}

/// Flattens the tags, and leaves the company out, which the key knows.
fn tagged(fields: &mut Fields) -> Result<()> {
    if let Some(tags) = fields.list("dataTags")? {
        fields.0.insert("dataTags".to_owned(), Value::Array(tags));
    }
    fields.0.shift_remove("company");
    Ok(())
}

pub(super) async fn create(call: Call<'_>) -> Result<Plan> {
    let mut fields = Fields(call.body.clone());
    let title = fields.first(&["title", "name", "dataTitle"])?;
    let parent_id = fields.text("parentId")?;
    tagged(&mut fields)?;
    let new = New {
        parent_id,
        title,
        body: fields.0,
        ..New::default()
    };
    folders::create(call.app, call.caller, new).await
}

pub(super) async fn folder(call: Call<'_>) -> Result<Data> {
    let folder = load(call).await?;
    let shown = counted(call, std::slice::from_ref(&folder)).await?;
    Ok(Data::One(shown.into_iter().next().unwrap_or_default()))
}

/// Folders in a folder that its content shows.
const INSIDE: i64 = 100;

/// Shows a folder with the folders and the rows in it.
pub(super) async fn content(call: Call<'_>) -> Result<Data> {
    let folder = load(call).await?;
    let limit = call.query("limit").map(str::parse).transpose();
    let of_type = call.query("type").filter(|t| !t.is_empty());
    let question = rows::Query {
        filter: of_type.map(|t| json!({"field": "type", "op": "eq", "value": t})),
        limit: limit
            .map_err(|_| Error::invalid("parameter_invalid", "limit must be a whole number"))?,
        cursor: call.query("cursor").map(str::to_owned),
        ..rows::Query::default()
    };
    let found = rows::query(call.app, call.caller, &folder.id, &question).await?;
    let page = Numbered {
        limit: INSIDE,
        ..Numbered::default()
    };
    let filter = Filter {
        parent_id: Some(folder.id.clone()),
        ..Filter::default()
    };
    let tenant_id = call.caller.tenant();
    let inside = store::numbered(call.app, tenant_id, &[&FOLDER], &filter, &page).await?;
    let inside = inside.items.iter().map(|folder| view(&FOLDER, folder));
    let shown = counted(call, std::slice::from_ref(&folder)).await?;
    let mut json = json!({
        "folder": shown.into_iter().next(),
        "folders": inside.collect::<Result<Vec<Value>>>()?,
        "items": items(&folder.id, found.rows)?
    });
    if let Some(cursor) = found.next_cursor {
        json["nextCursor"] = json!(cursor);
    }
    Ok(Data::One(json))
}

/// Shows the columns of a folder, as they were sent.
pub(super) async fn schema(call: Call<'_>) -> Result<Data> {
    let schema = load(call).await?.body()?.remove("dataSchema");
    Ok(Data::One(schema.unwrap_or_else(|| json!({"fields": []}))))
}

pub(super) async fn update(call: Call<'_>) -> Result<Plan> {
    let id = folder_id(call).await?;
    let mut fields = Fields(call.body.clone());
    let title = fields.first(&["title", "name", "dataTitle"])?;
    let parent_id = match fields.0.get("parentId") {
        None => None,
        Some(_) => Some(fields.text("parentId")?),
    };
    tagged(&mut fields)?;
    let patch = Patch {
        title,
        parent_id,
        body: fields.0,
        ..Patch::default()
    };
    let mut plan = folders::update(call.app, call.caller, &id, patch).await?;
    let counts = rows::counts(call.app, call.caller, std::slice::from_ref(&id)).await?;
    let count = counts.get(&id).copied().unwrap_or(0);
    plan.shown.insert("itemsCount".to_owned(), json!(count));
    Ok(plan)
}

pub(super) async fn remove(call: Call<'_>) -> Result<Plan> {
    rows::remove_folder(call.app, call.caller, &folder_id(call).await?).await
}

/// Shows a row.
fn item(folder_id: &str, row: Row) -> Result<Value> {
    let mut json = json!({"_id": row.id, "folderId": folder_id});
    if let (Some(json), Value::Object(row)) = (
        json.as_object_mut(),
        serde_json::to_value(RowView::from(row))?,
    ) {
        json.extend(row);
    }
    Ok(json)
}

fn items(folder_id: &str, rows: Vec<Row>) -> Result<Vec<Value>> {
    rows.into_iter().map(|row| item(folder_id, row)).collect()
}

/// Shows the row that an operation is about.
fn only(folder_id: &str, rows: Vec<Row>) -> Result<Value> {
    let row = rows.into_iter().next();
    item(
        folder_id,
        row.ok_or_else(|| Error::internal("a change of a row without the row"))?,
    )
}

pub(super) async fn append(call: Call<'_>) -> Result<Plan> {
    let id = folder_id(call).await?;
    let row = unwrapped(call.app, call.caller, &id, call.body.clone()).await?;
    rows::append(call.app, call.caller, &id, vec![row], only).await
}

/// Returns the row inside `{"data": {…}}`, unless the folder has a column of that name.
async fn unwrapped(
    app: &App,
    caller: &Caller,
    folder: &str,
    mut row: Map<String, Value>,
) -> Result<Map<String, Value>> {
    if row.len() != 1 || !row.get("data").is_some_and(Value::is_object) {
        return Ok(row);
    }
    let folder = store::optional(&app.db, caller.tenant(), &FOLDER, folder).await?;
    let columns = folder.as_ref().map(folders::columns_of).transpose()?;
    let named = columns.iter().flatten().any(|c| c.name == "data");
    match row.remove("data") {
        Some(Value::Object(inner)) if !named => Ok(inner),
        other => Ok(other.map(|v| ("data".to_owned(), v)).into_iter().collect()),
    }
}

pub(super) async fn query(call: Call<'_>) -> Result<Data> {
    let id = folder_id(call).await?;
    let question: rows::Query = serde_json::from_value(Value::Object(call.body.clone()))
        .map_err(|e| Error::invalid("body_invalid", e.to_string()))?;
    let answer = rows::query(call.app, call.caller, &id, &question).await?;
    let mut json = Map::new();
    match answer.groups {
        Some(groups) => json.insert("groups".to_owned(), json!(groups)),
        None => json.insert("rows".to_owned(), json!(items(&id, answer.rows)?)),
    };
    if let Some(total) = answer.total {
        json.insert("total".to_owned(), json!(total));
    }
    if let Some(cursor) = answer.next_cursor {
        json.insert("nextCursor".to_owned(), json!(cursor));
    }
    Ok(Data::One(Value::Object(json)))
}

pub(super) async fn row(call: Call<'_>) -> Result<Data> {
    let id = folder_id(call).await?;
    let row = rows::get(call.app, call.caller, &id, call.path("rowId")).await?;
    Ok(Data::One(item(&id, row)?))
}

pub(super) async fn update_row(call: Call<'_>) -> Result<Plan> {
    let (id, row) = (folder_id(call).await?, call.path("rowId"));
    let fields = Some(call.body.clone());
    rows::change(call.app, call.caller, &id, row, fields, only).await
}

pub(super) async fn remove_row(call: Call<'_>) -> Result<Plan> {
    let (id, row) = (folder_id(call).await?, call.path("rowId"));
    rows::change(call.app, call.caller, &id, row, None, |_, rows| {
        let id = rows.first().map(|row| row.id.clone());
        Ok(json!({"id": id, "deleted": true}))
    })
    .await
}
