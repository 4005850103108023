//! Templates of e-mails, documents, web pages and invoices, and the media for them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::wire::{
    AgentFault, Auth, Body, Fields, ListQuery, Many, One, Path, Problem, Query, View, created, many,
};
use crate::api::Service;
use crate::error::{Error, Result};
use crate::records::{self, Filter, Kind};

fn kind(name: &str) -> Result<Kind> {
    match name {
        "email" => Ok(Kind::EmailTemplate),
        "document" => Ok(Kind::DocumentTemplate),
        "webpage" => Ok(Kind::WebpageTemplate),
        "invoice" => Ok(Kind::InvoiceTemplate),
        "media" => Ok(Kind::Media),
        _ => Err(Error::not_found(
            "route_unknown",
            "templates are email, document, webpage, invoice and media",
        )),
    }
}

/// Lists templates of a kind (`email`, `document`, `webpage`, `invoice`), or `media`.
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
