//! Knowledge articles and research findings.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::wire::{
    AgentFault, Auth, Body, Fields, HasId, ListQuery, Many, One, Path, Problem, Query, View,
    created, many, one,
};
use crate::api::Service;
use crate::auth::Caller;
use crate::error::{Kind as ErrorKind, Result};
use crate::records::findings::{self, Duplicate, NewFinding};
use crate::records::{self, Filter, Kind};

/// Lists articles and findings.
#[utoipa::path(get, path = "/protected/knowledge", tag = "agents", operation_id = "listKnowledge", security(("key" = [])), params(ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let kinds = [Kind::Article, Kind::Finding];
    let found = records::list(&service.app, &caller, &kinds, &Filter::default(), &page).await?;
    Ok(many(&found, &page)?)
}

/// An article or a finding.
#[utoipa::path(get, path = "/protected/knowledge/{id}", tag = "agents", operation_id = "getKnowledge", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn knowledge(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<View>>, Problem> {
    let article = records::get(&service.app, &caller, Kind::Article, &id).await;
    let found = match article {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            records::get(&service.app, &caller, Kind::Finding, &id).await?
        }
        other => other?,
    };
    Ok(one(View::of(&found)?))
}

/// A stored text, with earlier ones that say nearly the same.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Posted {
    #[serde(flatten)]
    record: View,
    /// The most alike first.
    duplicates: Vec<DuplicateRecord>,
}

/// Earlier knowledge that says nearly the same.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DuplicateRecord {
    /// The record; absent for documents that nobody posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    document_id: String,
    title: String,
    /// 0 to 1.
    similarity: f64,
}

impl From<Duplicate> for DuplicateRecord {
    fn from(d: Duplicate) -> Self {
        Self {
            id: d.record_id,
            document_id: d.document_id,
            title: d.title,
            similarity: d.similarity,
        }
    }
}

impl HasId for Posted {
    fn id(&self) -> &str {
        &self.record.id
    }
}

async fn post(
    service: &Service,
    caller: &Caller,
    kind: Kind,
    body: Map<String, Value>,
) -> Result<Posted> {
    let mut fields = Fields(body);
    let title = fields.first(&["title", "name"])?;
    let supersedes = fields.text("supersedes")?;
    let mut texts = Vec::new();
    for name in findings::TEXTS {
        texts.extend(fields.text(name)?.map(|text| (name, text)));
    }
    if let Some(sources) = fields.list("sources")? {
        fields.0.insert("sources".to_owned(), Value::Array(sources));
    }
    let new = NewFinding {
        title,
        texts,
        more: fields.0,
        supersedes,
    };
    let (record, duplicates) = findings::post(&service.app, caller, kind, new).await?;
    Ok(Posted {
        record: View::of(&record)?.without("duplicates"),
        duplicates: duplicates.into_iter().map(Into::into).collect(),
    })
}

/// Stores a knowledge article.
#[utoipa::path(post, path = "/protected/knowledge", tag = "agents", operation_id = "addKnowledge", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<Posted>), (status = "4XX", body = AgentFault)))]
pub(super) async fn add(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<Posted>>), Problem> {
    Ok(created(post(&service, &caller, Kind::Article, body).await?))
}

/// Stores research findings, and tells which earlier knowledge says nearly the same.
#[utoipa::path(post, path = "/protected/research", tag = "agents", operation_id = "postResearch", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<Posted>), (status = "4XX", body = AgentFault)))]
pub(super) async fn research(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<Posted>>), Problem> {
    Ok(created(post(&service, &caller, Kind::Finding, body).await?))
}
