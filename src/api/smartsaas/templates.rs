//! Templates of e-mails, documents, web pages and invoices, and the media for them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::wire::{
    AgentFault, Auth, Body, Fields, ListQuery, Many, One, Path, Problem, Query, View, created,
    many, one,
};
use crate::api::Service;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::{self, Filter, Kind};

pub(super) fn kind(name: &str) -> Result<Kind> {
    match name {
        "email" | "emails" => Ok(Kind::EmailTemplate),
        "document" | "documents" => Ok(Kind::DocumentTemplate),
        "webpage" | "webpages" => Ok(Kind::WebpageTemplate),
        "invoice" | "invoices" => Ok(Kind::InvoiceTemplate),
        "media" => Ok(Kind::Media),
        _ => Err(Error::not_found(
            "route_unknown",
            "templates are email, document, webpage, invoice and media",
        )),
    }
}

/// Lists templates of a kind (`email`, `document`, `webpage`, `invoice`, or their plurals), or `media`.
#[utoipa::path(get, path = "/protected/templates/{kind}", tag = "agents", operation_id = "listTemplates", security(("key" = [])), params(("kind" = String, Path), ListQuery),
    responses((status = 200, body = Many), (status = "4XX", body = AgentFault)))]
pub(super) async fn list(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(name): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Many>, Problem> {
    let page = query.numbered()?;
    let found = records::list(
        &service.app,
        &caller,
        &[kind(&name)?],
        &Filter::default(),
        &page,
    )
    .await?;
    Ok(many(&found, &page)?)
}

/// Creates a template of a kind, or adds media: any JSON object.
#[utoipa::path(post, path = "/protected/templates/{kind}", tag = "agents", operation_id = "createTemplate", security(("key" = [])), params(("kind" = String, Path)), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(name): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let new = Fields(body).record(kind(&name)?)?;
    Ok(created(View::of(
        &records::create(&service.app, &caller, new).await?,
    )?))
}

async fn change(
    service: &Service,
    caller: &Caller,
    kind: Kind,
    body: Map<String, Value>,
) -> Result<Json<One<View>>, Problem> {
    let mut fields = Fields(body);
    let id = fields
        .first(&["_id", "id"])?
        .ok_or_else(|| Error::invalid("id_missing", "say which template: _id"))?;
    let changes = records::Changes {
        title: fields.first(&["title", "name"])?,
        body: fields.0,
    };
    let record = records::update(&service.app, caller, kind, &id, changes).await?;
    Ok(one(View::of(&record)?))
}

/// Changes an e-mail template, which `_id` names: what is sent replaces what is there, and null removes it.
#[utoipa::path(post, path = "/protected/templates/update-email-template", tag = "agents", operation_id = "updateEmailTemplate", security(("key" = [])), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn update_email(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    change(&service, &caller, Kind::EmailTemplate, body).await
}

/// Changes a web page template, which `_id` names: what is sent replaces what is there, and null removes it.
#[utoipa::path(post, path = "/protected/templates/webpages/update-template", tag = "agents", operation_id = "updateWebpageTemplate", security(("key" = [])), request_body = Object,
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn update_webpage(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<One<View>>, Problem> {
    change(&service, &caller, Kind::WebpageTemplate, body).await
}
