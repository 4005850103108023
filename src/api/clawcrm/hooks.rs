//! Addresses that other services and people reach without a key: those of sources and of Calendly, whose messages are signed, and the links in mails, which contain
//! a secret.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;

use super::wire::{Path, Query, problem};
use crate::api::Service;
use crate::error::{Error, Result};
use crate::outreach::inbound::{self, Message, calendly};
use crate::outreach::sequences::receivers;

/// Returns the routes.
#[expect(
    clippy::disallowed_methods,
    reason = "these are no operations of the contract, and take no key"
)]
pub(super) fn routes() -> axum::Router<Service> {
    axum::Router::new()
        .route("/hooks/sources/{id}", post(source))
        .route("/hooks/sources/{id}/{secret}", post(form))
        .route("/hooks/calendly/{id}", post(booking))
        .route("/m/{token}/unsubscribe", get(ask).post(unsubscribe))
        .route("/m/{token}/{mail}", get(follow))
}

fn answer(outcome: Result<Value>) -> Response {
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => problem(error),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn accept(
    service: &Service,
    id: &str,
    secret: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let signed = match (
        text(headers, "webhook-id"),
        text(headers, "webhook-timestamp"),
        text(headers, "webhook-signature"),
    ) {
        (Some(id), Some(time), Some(signature)) => Some((id, time, signature)),
        _ => None,
    };
    let message = Message {
        signed,
        secret,
        content_type: text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default(),
        body,
    };
    answer(inbound::receive(&service.app, id, message).await)
}

async fn source(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    accept(&service, &id, None, &headers, &body).await
}

async fn form(
    State(service): State<Service>,
    Path((id, secret)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    accept(&service, &id, Some(&secret), &headers, &body).await
}

async fn booking(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signature = text(&headers, "calendly-webhook-signature");
    answer(calendly::receive(&service.app, &id, signature, &body).await)
}

/// Returns a page with one sentence, and perhaps a button.
fn page(status: StatusCode, sentence: &str, button: Option<&str>) -> Response {
    let button = button.map_or_else(String::new, |label| {
        format!("<form method=\"post\"><button type=\"submit\">{label}</button></form>")
    });
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Mails</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;color:#1c1c1e;background:#fff}}\
         button{{font:inherit;padding:.5rem 1rem;border:1px solid #1c1c1e;border-radius:.375rem;background:#1c1c1e;color:#fff;cursor:pointer}}\
         @media(prefers-color-scheme:dark){{body{{color:#f2f2f7;background:#1c1c1e}}button{{background:#f2f2f7;color:#1c1c1e}}}}</style></head>\
         <body><main><h1>Mails</h1><p>{sentence}</p>{button}</main></body></html>"
    );
    let mut response = (status, Html(html)).into_response();
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    );
    response
}

fn gone(error: &Error) -> Response {
    if error.code() == "link_unknown" {
        page(StatusCode::NOT_FOUND, "This link is not valid.", None)
    } else {
        tracing::error!(error = %error, "an unsubscription failed");
        page(
            StatusCode::SERVICE_UNAVAILABLE,
            "This does not work at the moment. Please try again in a minute.",
            None,
        )
    }
}

/// Asks before it unsubscribes: programs that check links in mails follow them with GET.
async fn ask(State(service): State<Service>, Path(token): Path<String>) -> Response {
    match receivers::check_token(&service.app, &token).await {
        Ok(()) => page(
            StatusCode::OK,
            "Do you want to receive no more of these mails?",
            Some("Unsubscribe"),
        ),
        Err(error) => gone(&error),
    }
}

/// Unsubscribes, by the button or with one click of the mail program (RFC 8058).
async fn unsubscribe(State(service): State<Service>, Path(token): Path<String>) -> Response {
    match receivers::unsubscribe(&service.app, &token).await {
        Ok(()) => page(
            StatusCode::OK,
            "You will receive no more of these mails.",
            None,
        ),
        Err(error) => gone(&error),
    }
}

/// A tracked link.
#[derive(Debug, Deserialize)]
struct Link {
    to: String,
    sig: String,
}

/// Follows a tracked link. HEAD, with which programs check links, counts nothing.
async fn follow(
    method: Method,
    State(service): State<Service>,
    Path((token, mail)): Path<(String, String)>,
    Query(link): Query<Link>,
) -> Response {
    let app = &service.app;
    let outcome = async {
        let clicked = receivers::clicked(app, &token, &mail, &link.to, &link.sig).await?;
        if method == Method::GET {
            receivers::count(app, clicked).await?;
        }
        Ok(())
    };
    match outcome.await {
        Ok(()) => Redirect::to(&link.to).into_response(),
        Err(error) => gone(&error),
    }
}
