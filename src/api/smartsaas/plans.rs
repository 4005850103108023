//! Business plans.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::wire::{
    AgentFault, Auth, Body, Fields, ListQuery, Many, One, Path, Problem, Query, View, created,
    many, one, removed,
};
use crate::api::Service;
use crate::error::{Error, Result};
use crate::records::{self, Filter, Kind};

/// Lists business plans.
#[utoipa::path(get, path = "/protected/business-plans", tag = "agents", operation_id = "listBusinessPlans", security(("key" = [])), params(ListQuery),
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
        &[Kind::BusinessPlan],
        &Filter::default(),
        &page,
    )
    .await?;
    Ok(many(&found, &page)?)
}

/// Creates a business plan: any JSON object.
#[utoipa::path(post, path = "/protected/business-plans", tag = "agents", operation_id = "createBusinessPlan", security(("key" = [])), request_body = Object,
    responses((status = 201, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn create(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<One<View>>), Problem> {
    let new = Fields(body).record(Kind::BusinessPlan)?;
    Ok(created(View::of(
        &records::create(&service.app, &caller, new).await?,
    )?))
}

/// A business plan.
#[utoipa::path(get, path = "/protected/business-plans/{id}", tag = "agents", operation_id = "getBusinessPlan", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<View>), (status = "4XX", body = AgentFault)))]
pub(super) async fn plan(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<View>>, Problem> {
    let found = records::get(&service.app, &caller, Kind::BusinessPlan, &id).await?;
    Ok(one(View::of(&found)?))
}

/// Removes a business plan for good.
#[utoipa::path(delete, path = "/protected/business-plans/{id}", tag = "agents", operation_id = "deleteBusinessPlanById", security(("key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = One<Value>), (status = "4XX", body = AgentFault)))]
pub(super) async fn remove_named(
    State(service): State<Service>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<One<Value>>, Problem> {
    records::delete(&service.app, &caller, Kind::BusinessPlan, &id).await?;
    Ok(removed(&id))
}

/// Which plan.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PlanQuery {
    /// The plan; may stand in the body instead.
    id: Option<String>,
}

/// Removes a business plan for good.
#[utoipa::path(delete, path = "/protected/business-plans", tag = "agents", operation_id = "deleteBusinessPlan", security(("key" = [])), params(PlanQuery), request_body = Option<Object>,
    responses((status = 200, body = One<Value>), (status = "4XX", body = AgentFault)))]
pub(super) async fn remove(
    State(service): State<Service>,
    Auth(caller): Auth,
    Query(query): Query<PlanQuery>,
    body: Bytes,
) -> Result<Json<One<Value>>, Problem> {
    let named = if body.is_empty() {
        None
    } else {
        let body: Map<String, Value> = serde_json::from_slice(&body).map_err(|e| {
            Error::invalid("body_invalid", format!("the body is no JSON object: {e}"))
        })?;
        body.get("id")
            .or(body.get("_id"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let id = query.id.or(named).ok_or_else(|| {
        Error::invalid(
            "id_missing",
            "say which plan: as query parameter id, or as id in the body",
        )
    })?;
    records::delete(&service.app, &caller, Kind::BusinessPlan, &id).await?;
    Ok(removed(&id))
}
