//! Vector stores: datasets.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::store_files::{Strategy, attachments};
use super::{
    Auth, Body, Deleted, OpenAiFault, Paging, Path, Problem, Query, nothing_expires, page, seconds,
};
use crate::api::Service;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::error::Result;
use crate::kb::Dataset;
use crate::kb::datasets::{self, DatasetPatch, NewDataset};
use crate::kb::files::{self, Counts};
use crate::sources;

/// Numbers that are tried behind a name; then the end of an id is unique.
const NUMBERS: usize = 9;
/// Characters of a name before its number.
const NAME: usize = 180;

/// Files by state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiFileCounts)]
pub(super) struct FileCounts {
    in_progress: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    total: i64,
}

impl From<Counts> for FileCounts {
    fn from(counts: Counts) -> Self {
        let Counts {
            in_progress,
            completed,
            failed,
            cancelled,
        } = counts;
        Self {
            in_progress,
            completed,
            failed,
            cancelled,
            total: in_progress + completed + failed + cancelled,
        }
    }
}

/// A vector store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiVectorStore)]
pub(super) struct Store {
    id: String,
    object: &'static str,
    created_at: i64,
    name: String,
    description: Option<String>,
    /// Size of its files.
    usage_bytes: i64,
    file_counts: FileCounts,
    /// `in_progress` while files are processed, else `completed`.
    status: &'static str,
    expires_after: Option<Value>,
    expires_at: Option<i64>,
    last_active_at: i64,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// Returns datasets as vector stores.
async fn shown(app: &App, caller: &Caller, all: Vec<Dataset>) -> Result<Vec<Store>> {
    let ids: Vec<String> = all.iter().map(|d| d.id.clone()).collect();
    let mut labels = files::labels(app, caller, &ids).await?;
    let activity = datasets::activity(app, caller, &all).await?;
    let store = |dataset: Dataset| {
        let active = activity.get(&dataset.id);
        let counts = Counts {
            in_progress: dataset.unfinished,
            completed: dataset.total_files - dataset.unfinished - dataset.failed,
            failed: dataset.failed,
            cancelled: 0,
        };
        Store {
            object: "vector_store",
            created_at: seconds(dataset.created_on),
            usage_bytes: active.map_or(0, |a| a.size_bytes),
            status: if dataset.unfinished > 0 {
                "in_progress"
            } else {
                "completed"
            },
            file_counts: counts.into(),
            expires_after: None,
            expires_at: None,
            last_active_at: seconds(active.map_or(dataset.updated_on, |a| a.changed_on)),
            metadata: labels.remove(&dataset.id).unwrap_or_default(),
            id: dataset.id,
            name: dataset.name,
            description: dataset.description,
        }
    };
    Ok(all.into_iter().map(store).collect())
}

async fn one(app: &App, caller: &Caller, id: &str) -> Result<Store> {
    caller.need(Scope::KbSearch)?;
    let dataset = datasets::get(app, caller, id).await?;
    let mut shown = shown(app, caller, vec![dataset]).await?;
    shown.pop().ok_or_else(datasets::missing)
}

/// A vector store to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiNewVectorStore)]
pub(super) struct New {
    /// Completed by a number if it is taken.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    /// Files that it begins with.
    #[serde(default)]
    file_ids: Option<Vec<String>>,
    #[serde(default)]
    chunking_strategy: Option<Strategy>,
    /// Must be absent: nothing expires.
    #[serde(default)]
    expires_after: Option<Value>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// Creates a dataset under a name that is free.
async fn create_named(app: &App, caller: &Caller, new: &New) -> Result<Dataset> {
    let wanted = new.name.as_deref().map(str::trim);
    let wanted = wanted.filter(|name| !name.is_empty());
    let mut number = 1;
    loop {
        let base: String = wanted
            .unwrap_or("Vector store")
            .chars()
            .take(NAME)
            .collect();
        let name = match (wanted, number) {
            (Some(name), 1) => name.to_owned(),
            (None, _) | (Some(_), NUMBERS..) => {
                let id = app.clock.id();
                format!("{base} {}", &id[id.len().saturating_sub(8)..])
            }
            (Some(_), _) => format!("{base} {number}"),
        };
        let dataset = NewDataset {
            name,
            description: new.description.clone(),
            ..NewDataset::default()
        };
        match datasets::create(app, caller, dataset).await {
            Err(error) if error.code() == "dataset_exists" && number <= NUMBERS => number += 1,
            outcome => return outcome,
        }
    }
}

/// Creates a vector store, with files that are uploaded already.
#[utoipa::path(post, path = "/openai/v1/vector_stores", tag = "compatible", operation_id = "openaiCreateVectorStore", security(("key" = [])), request_body = New,
    responses((status = 200, body = Store), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(new): Body<New>,
) -> Result<Json<Store>, Problem> {
    let app = &service.app;
    // The answer shows the store.
    caller.need(Scope::KbSearch)?;
    nothing_expires(new.expires_after.as_ref())?;
    let strategy = new.chunking_strategy.clone().unwrap_or_default();
    let attached = attachments(new.file_ids.as_deref().unwrap_or_default(), &strategy)?;
    if let Some(labels) = &new.metadata {
        files::check_labels(labels)?;
    }
    files::need_all(app, &caller, &attached).await?;
    let dataset = create_named(app, &caller, &new).await?;
    if let Some(labels) = &new.metadata {
        files::set_labels(app, &caller, &dataset.id, labels).await?;
    }
    files::attach(app, &caller, &dataset.id, &attached).await?;
    Ok(Json(one(app, &caller, &dataset.id).await?))
}

/// Returns the place of a dataset in lists, also of one that is gone: by the time of its creation, with which ids begin, after the datasets of records, which have names
/// as ids.
fn place(id: &str) -> String {
    if id.contains('~') {
        format!("!{id}")
    } else {
        id.to_owned()
    }
}

/// Vector stores of a page.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiVectorStores)]
pub(super) struct Stores {
    object: &'static str,
    data: Vec<Store>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// Lists the vector stores: every dataset that the key sees.
#[utoipa::path(get, path = "/openai/v1/vector_stores", tag = "compatible", operation_id = "openaiListVectorStores", security(("key" = [])), params(Paging),
    responses((status = 200, body = Stores), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(paging): Query<Paging>,
) -> Result<Json<Stores>, Problem> {
    let (app, mut part) = (&service.app, paging.part()?);
    for id in [&mut part.after, &mut part.before].into_iter().flatten() {
        *id = place(id);
    }
    let mut all = datasets::all_visible(app, &caller).await?;
    all.retain(|d| part.includes(&place(&d.id)));
    all.sort_by_cached_key(|d| place(&d.id));
    if part.descending {
        all.reverse();
    }
    let (found, has_more) = page(&part, all);
    let data = shown(app, &caller, found).await?;
    Ok(Json(Stores {
        object: "list",
        first_id: data.first().map(|s| s.id.clone()),
        last_id: data.last().map(|s| s.id.clone()),
        data,
        has_more,
    }))
}

/// Shows a vector store.
#[utoipa::path(get, path = "/openai/v1/vector_stores/{vector_store_id}", tag = "compatible", operation_id = "openaiGetVectorStore", security(("key" = [])),
    params(("vector_store_id" = String, Path)), responses((status = 200, body = Store), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn get(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<Store>, Problem> {
    Ok(Json(one(&service.app, &caller, &id).await?))
}

/// A change of a vector store; absent members stay.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiVectorStorePatch)]
pub(super) struct Patch {
    #[serde(default)]
    name: Option<String>,
    /// Must be absent: nothing expires.
    #[serde(default)]
    expires_after: Option<Value>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// Changes name and metadata of a vector store.
#[utoipa::path(post, path = "/openai/v1/vector_stores/{vector_store_id}", tag = "compatible", operation_id = "openaiUpdateVectorStore", security(("key" = [])),
    params(("vector_store_id" = String, Path)), request_body = Patch, responses((status = 200, body = Store), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn update(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    Body(patch): Body<Patch>,
) -> Result<Json<Store>, Problem> {
    let app = &service.app;
    caller.need(Scope::KbSearch)?;
    nothing_expires(patch.expires_after.as_ref())?;
    caller.need_write(&id)?;
    caller.need_manage(&id)?;
    datasets::settings(app, &caller, &id).await?;
    if let Some(labels) = &patch.metadata {
        files::check_labels(labels)?;
    }
    if patch.name.is_some() {
        let named = DatasetPatch {
            name: patch.name,
            ..DatasetPatch::default()
        };
        datasets::update(app, &caller, &id, named).await?;
    }
    if let Some(labels) = &patch.metadata {
        files::set_labels(app, &caller, &id, labels).await?;
    }
    Ok(Json(one(app, &caller, &id).await?))
}

/// Deletes a vector store; its files stay.
#[utoipa::path(delete, path = "/openai/v1/vector_stores/{vector_store_id}", tag = "compatible", operation_id = "openaiDeleteVectorStore", security(("key" = [])),
    params(("vector_store_id" = String, Path)), responses((status = 200, body = Deleted), (status = "4XX", body = OpenAiFault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Problem> {
    sources::delete_dataset(&service.app, &caller, &id).await?;
    Ok(Json(Deleted {
        id,
        object: "vector_store.deleted",
        deleted: true,
    }))
}
