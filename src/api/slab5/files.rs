//! Bytes of assets and exports, under addresses that are signed: whoever has one needs no key, for an hour. They are no operations of the document.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::wire::{One, Path, Problem, Query};
use crate::api::{Service, request_id};
use crate::assets::{self, Allows};
use crate::error::Error;
use crate::kinds;

/// Query parameters of a signed address.
#[derive(Debug, Deserialize)]
struct Signed {
    expires: i64,
    signature: String,
}

pub(super) fn routes() -> Router<Service> {
    #[expect(
        clippy::disallowed_methods,
        reason = "capability addresses, which callers are given whole"
    )]
    Router::new()
        .route(
            "/v1/files/{tenant}/{id}",
            axum::routing::get(download).put(upload),
        )
        .layer(DefaultBodyLimit::disable())
}

async fn upload(
    State(service): State<Service>,
    Path((tenant, id)): Path<(String, String)>,
    Query(signed): Query<Signed>,
    body: Body,
) -> Result<Response, Problem> {
    let app = &service.app;
    assets::allow(
        app,
        Allows::Upload,
        &tenant,
        &id,
        signed.expires,
        &signed.signature,
    )
    .await?;
    app.disk.ensure_free_space()?;
    let limit = app.config.upload_file_mb << 20;
    let pieces = body.into_data_stream().map(|piece| {
        piece
            .map_err(|e| Error::invalid("body_invalid", format!("the body could not be read: {e}")))
    });
    let stored = app
        .blobs
        .put(&app.db, &tenant, Box::pin(pieces), limit)
        .await
        .map_err(|e| match e.code() {
            "file_too_large" => Error::too_large(
                "file_too_large",
                format!("a file may have at most {} MB", app.config.upload_file_mb),
            ),
            _ => e,
        })?;
    assets::received(app, &tenant, &id, &stored).await?;
    let data = json!({"id": id, "byte_size": stored.size, "checksum_sha256": stored.hash});
    let one = One {
        data,
        request_id: request_id(),
    };
    Ok((StatusCode::OK, axum::Json(one)).into_response())
}

async fn download(
    State(service): State<Service>,
    Path((tenant, id)): Path<(String, String)>,
    Query(signed): Query<Signed>,
) -> Result<Response, Problem> {
    let app = &service.app;
    assets::allow(
        app,
        Allows::Download,
        &tenant,
        &id,
        signed.expires,
        &signed.signature,
    )
    .await?;
    let missing = || Error::not_found("record_not_found", "file not found");
    let kind = kinds::of_id(&id).ok_or_else(missing)?;
    let (hash, size, name, mime) = assets::file(app, &tenant, kind, &id).await?;
    let mut response = Body::from_stream(app.blobs.stream(&tenant, &hash).await?).into_response();
    let headers = response.headers_mut();
    // What strangers have uploaded is never shown as a page of this service.
    let mime = HeaderValue::from_str(&mime)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, mime);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let attachment = format!("attachment; filename=\"{plain}\"");
    if let Ok(value) = HeaderValue::from_str(&attachment) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    Ok(response)
}
