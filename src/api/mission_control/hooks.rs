//! The addresses at which other services post to boards: no key, but a signature where the webhook has a secret.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::wire::{MissionFault, Path, Problem};
use crate::api::Service;
use crate::api::server::ClientAddress;
use crate::api::shape;
use crate::boards::webhooks::{self, LARGEST, Posted, RATE};
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Accepts a payload of a webhook of a board.
#[utoipa::path(post, path = "/api/v1/boards/{board_id}/webhooks/{webhook_id}", operation_id = "ingestBoardWebhook", tag = "board-webhooks",
    params(("board_id" = String, Path), ("webhook_id" = String, Path)),
    responses((status = 202, body = Object), (status = 404, body = MissionFault), (status = 410, body = MissionFault), (status = 413, body = MissionFault), (status = 429, body = MissionFault)))]
pub(super) async fn ingest(
    State(service): State<Service>,
    Path((board_id, webhook_id)): Path<(String, String)>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let missing = || Error::not_found("record_not_found", "Not Found");
    let board_id = Clock::read_id(&board_id).ok_or_else(missing)?;
    let webhook_id = Clock::read_id(&webhook_id).ok_or_else(missing)?;
    service
        .app
        .rates
        .count(&format!("board-webhook/{webhook_id}"), RATE)?;
    let source_ip = request
        .extensions()
        .get::<ClientAddress>()
        .map(|c| c.0.to_string());
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let body = Bytes::from_request(request, &()).await.map_err(|_| {
        Error::too_large(
            "body_too_large",
            format!("Payload exceeds {LARGEST} bytes."),
        )
    })?;
    let posted = Posted {
        body: &body,
        headers,
        source_ip,
    };
    let ids = webhooks::accept(&service.app, &board_id, &webhook_id, posted).await?;
    Ok((StatusCode::ACCEPTED, Json(shape::with_uuids(ids))))
}
