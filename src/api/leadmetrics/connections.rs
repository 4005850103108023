//! Channels by OAuth, and integrations by key.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::wire::{DashboardFault, Problem, Query};
use crate::agency::channels::{self, Returned};
use crate::agency::integrations::{self, Fields};
use crate::agency::people::Names;
use crate::agency::{CHANNEL, INTEGRATION, access, store};
use crate::api::Service;
use crate::api::operation::{Call, Data};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;

fn moment(body: &Body, name: &str) -> Option<String> {
    let on = body.get(name).and_then(Value::as_i64);
    on.map(|on| Time(on).rfc3339())
}

pub(super) async fn list_channels(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let tenant_id = call.caller.tenant();
    let all = store::all(&call.app.db, tenant_id, &CHANNEL).await?;
    let bodies: Vec<Body> = all.iter().map(Record::body).collect::<Result<_>>()?;
    let people = bodies.iter().map(|b| text(b, "connected_by"));
    let names = Names::of(call.app, tenant_id, people).await?;
    let mut data = Vec::with_capacity(all.len());
    for (channel, body) in all.iter().zip(&bodies) {
        let health = channels::health(call.app, channel).await?;
        let mut shown = json!({
            "id": channel.id,
            "name": channel.title,
            "type": text(body, "type"),
            "status": channel.status,
            "healthScore": health.score,
            "connectedAt": channels::connected_on(body).rfc3339(),
            "connectedBy": names.name(text(body, "connected_by")),
        });
        if let Some(account) = text(body, "account_name") {
            shown["accountName"] = json!(account);
        }
        if let Some(checked) = moment(body, "checked_on") {
            shown["lastCheckedAt"] = json!(checked);
        }
        data.push(shown);
    }
    Ok(Data::One(json!({"data": data})))
}

pub(super) async fn connect_channel(call: Call<'_>) -> Result<Data> {
    let redirect = text(call.body, "redirectUrl").unwrap_or_default();
    let begun = channels::begin(call.app, call.caller, call.id(), redirect).await?;
    Ok(Data::One(
        json!({"authUrl": begun.url, "state": begun.state}),
    ))
}

pub(super) async fn disconnect_channel(call: Call<'_>) -> Result<Data> {
    channels::disconnect(call.app, call.caller, call.id()).await?;
    Ok(Data::One(Value::Null))
}

pub(super) async fn channel_health(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let channel = store::get(call.app, call.caller.tenant(), &CHANNEL, call.id()).await?;
    let health = channels::health(call.app, &channel).await?;
    let mut shown = json!({
        "channelId": channel.id,
        "healthScore": health.score,
        "breakdown": {"completeness": health.completeness, "activityScore": health.activity, "engagement": 0},
        "computedAt": call.app.clock.now().rfc3339(),
    });
    if let Some(last) = health.last_published {
        shown["lastPublishedAt"] = json!(last.rfc3339());
    }
    Ok(Data::One(shown))
}

/// Query parameters with which a platform redirects a person back.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    #[serde(default)]
    state: String,
    code: Option<String>,
    /// Why access was not granted.
    error: Option<String>,
    error_description: Option<String>,
}

/// Ends the connection of a channel: platforms send people here, who are sent on to the `redirectUrl` of the beginning.
#[utoipa::path(get, path = "/dashboard/v1/channels/callback", tag = "leadmetrics dashboard", operation_id = "channelCallback", params(CallbackQuery),
    responses((status = 303, description = "To the redirect address, with `channelId` or `error`."), (status = "4XX", body = DashboardFault)))]
pub(super) async fn callback(
    State(service): State<Service>,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, Problem> {
    let returned = Returned {
        state: query.state,
        code: query.code,
        error: query.error_description.or(query.error),
    };
    let target = channels::complete(&service.app, &returned).await?;
    let target = HeaderValue::from_str(&target)
        .map_err(|_| Error::internal("a redirect address is no header"))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response())
}

fn integration(record: &Record) -> Result<Value> {
    let body = record.body()?;
    Ok(json!({
        "id": record.id,
        "integrationType": text(&body, "type"),
        "name": record.title,
        "status": record.status,
        "isActive": body.get("active") == Some(&json!(true)),
        "apiKey": text(&body, "masked").unwrap_or_default(),
        "lastVerifiedAt": moment(&body, "verified_on"),
        "errorMessage": text(&body, "error"),
    }))
}

pub(super) async fn list_integrations(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let all = store::all(&call.app.db, call.caller.tenant(), &INTEGRATION).await?;
    let data: Vec<Value> = all.iter().map(integration).collect::<Result<_>>()?;
    Ok(Data::One(json!({"data": data})))
}

fn fields(body: &Body) -> Fields {
    let own = |name: &str| text(body, name).map(str::to_owned);
    Fields {
        name: own("name"),
        api_key: own("apiKey"),
        api_secret: own("apiSecret"),
        extra_config: body.get("extraConfig").and_then(Value::as_object).cloned(),
        is_active: body.get("isActive").and_then(Value::as_bool),
    }
}

pub(super) async fn create_integration(call: Call<'_>) -> Result<Data> {
    let kind = text(call.body, "integrationType").unwrap_or_default();
    let made = integrations::create(call.app, call.caller, kind, &fields(call.body)).await?;
    integration(&made).map(Data::One)
}

pub(super) async fn update_integration(call: Call<'_>) -> Result<Data> {
    let fields = fields(call.body);
    let changed = integrations::update(call.app, call.caller, call.id(), &fields).await?;
    integration(&changed).map(Data::One)
}

pub(super) async fn delete_integration(call: Call<'_>) -> Result<Plan> {
    integrations::delete(call.app, call.caller, call.id()).await
}

pub(super) async fn test_integration(call: Call<'_>) -> Result<Data> {
    let (ok, message) = integrations::test(call.app, call.caller, call.id()).await?;
    Ok(Data::One(json!({"ok": ok, "message": message})))
}
