//! `/auth/oidc`: browsers sign in with the identity provider. These are pages for people, not operations of the API.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Json, Router};
use cookie::{Cookie, SameSite};
use html_escape::{encode_double_quoted_attribute as attribute, encode_text as text};
use serde::Deserialize;
use serde_json::json;

use super::Service;
use super::extract::cookie_value;
use super::native::wire::Query;
use super::session_cookie::{cookie_header, is_https, session_cookie};
use crate::auth::oidc::{LASTS, Provider, Returned, not_configured};
use crate::auth::sessions;
use crate::error::{Error, Result};

/// Path to which the provider sends people back.
const CALLBACK: &str = "/auth/oidc/callback";
/// Cookie that holds a sign-in until it ends.
const PENDING: &str = "cairn_sign_in";
const START: &str = "/sandbox";
/// The pages here execute nothing and load nothing.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn router() -> Router<Service> {
    #[expect(
        clippy::disallowed_methods,
        reason = "pages for people, which are no operations of the document"
    )]
    Router::new()
        .route("/auth/oidc", axum::routing::get(describe))
        .route("/auth/oidc/login", axum::routing::get(begin))
        .route(CALLBACK, axum::routing::get(complete))
}

fn provider(service: &Service) -> Result<&Provider> {
    service.app.gate.provider().ok_or_else(not_configured)
}

/// Returns the name of the provider for the sign-in page; null without one.
async fn describe(State(service): State<Service>) -> Response {
    let name = service.app.gate.provider().and_then(Provider::login_name);
    std::future::ready(Json(json!({ "name": name })).into_response()).await
}

/// Where a sign-in leads.
#[derive(Debug, Deserialize)]
struct Begin {
    next: Option<String>,
}

/// Returns a page of the sandbox; other addresses lead to its start, so that no link leads people elsewhere.
fn own_page(next: Option<String>) -> String {
    let is_own = |path: &String| {
        let rest = path.strip_prefix(START);
        let rest = rest.filter(|r| r.is_empty() || r.starts_with(['/', '?']));
        rest.is_some_and(|r| !r.contains(['\\', '\r', '\n']))
    };
    next.filter(is_own).unwrap_or_else(|| START.to_owned())
}

/// Returns the address to which the provider sends people back: below `public_url`, else below the address that the browser uses, whose cookies come along.
fn callback(service: &Service, headers: &HeaderMap) -> String {
    let config = &service.app.config;
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let base = match host.filter(|_| config.public_url.is_empty()) {
        Some(host) if is_https(headers) => format!("https://{host}"),
        Some(host) => format!("http://{host}"),
        None => config.public_base(),
    };
    format!("{base}{CALLBACK}")
}

async fn begin(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(begin): Query<Begin>,
) -> Response {
    let started = async {
        let app = &service.app;
        let next = own_page(begin.next);
        let sealer = app.sealer().await?;
        let started = provider(&service)?
            .begin(&app.clock, sealer, &callback(&service, &headers), &next)
            .await?;
        let location = HeaderValue::from_str(started.url.as_str())
            .map_err(|e| Error::internal("the provider's address is no header").with_source(e))?;
        let cookie = pending(&headers, started.cookie, LASTS)?;
        let moved = [(header::LOCATION, location), (header::SET_COOKIE, cookie)];
        Ok((StatusCode::SEE_OTHER, moved).into_response())
    };
    started.await.unwrap_or_else(|error| refused(&error))
}

async fn complete(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(returned): Query<Returned>,
) -> Response {
    let completed = async {
        let app = &service.app;
        let known = cookie_value(&headers, PENDING).unwrap_or_default();
        let sealer = app.sealer().await?;
        let entered = provider(&service)?
            .complete(
                &app.db,
                &app.clock,
                sealer,
                &callback(&service, &headers),
                &known,
                &returned,
            )
            .await?;
        let begun = sessions::begin_by_provider(app.sessions(), &entered).await?;
        let session = session_cookie(&headers, begun.secret, begun.lasts)?;
        // The session's cookie is kept from requests that other sites cause, and a redirect would be one; a page that moves on is not.
        let body = page(
            "Signed in",
            "You are signed in.",
            &entered.next,
            "Continue",
            true,
        );
        let mut response = shown(StatusCode::OK, body);
        let cookies = response.headers_mut();
        cookies.append(header::SET_COOKIE, session);
        cookies.append(
            header::SET_COOKIE,
            pending(&headers, String::new(), Duration::ZERO)?,
        );
        Ok(response)
    };
    completed.await.unwrap_or_else(|error| {
        let mut response = refused(&error);
        // A state serves one sign-in, whatever becomes of it.
        if let Ok(gone) = pending(&headers, String::new(), Duration::ZERO) {
            response.headers_mut().append(header::SET_COOKIE, gone);
        }
        response
    })
}

fn pending(headers: &HeaderMap, value: String, lasts: Duration) -> Result<HeaderValue> {
    // The provider's redirect comes from another site, so the cookie must be sent with it.
    let cookie = Cookie::build((PENDING, value))
        .path("/auth/oidc")
        .same_site(SameSite::Lax);
    cookie_header(cookie.build(), headers, lasts)
}

fn page(title: &str, sentence: &str, to: &str, label: &str, moves_on: bool) -> String {
    let moves = match moves_on {
        true => format!(
            "<meta http-equiv=\"refresh\" content=\"0; url={}\">",
            attribute(to)
        ),
        false => String::new(),
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">{moves}<title>{} · Cairn</title></head>\
         <body><main><h1>{}</h1><p>{}</p><p><a href=\"{}\">{}</a></p></main></body></html>",
        text(title),
        text(title),
        text(sentence),
        attribute(to),
        text(label)
    )
}

fn shown(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    (status, headers, Html(body)).into_response()
}

fn refused(error: &Error) -> Response {
    tracing::info!(error = %error, "a sign-in with the identity provider failed");
    let status = super::fault::status(error.kind()).0;
    let message = error.public_message();
    let mut letters = message.chars();
    let sentence = letters
        .next()
        .map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str()));
    let sentence = sentence.unwrap_or_default();
    shown(
        status,
        page(
            "Sign-in failed",
            &sentence,
            START,
            "Back to the sign-in page",
            false,
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_pages_of_this_service_only() {
        let next = |text: &str| own_page(Some(text.to_owned()));
        assert_eq!(next("/sandbox/search?q=a"), "/sandbox/search?q=a");
        for foreign in [
            "https://x.test/",
            "//x.test",
            "/sandboxed",
            "/sandbox/\\x",
            "/kb/v1",
        ] {
            assert_eq!(next(foreign), START, "{foreign}");
        }
        assert_eq!(own_page(None), START);
    }
}
