//! The extractors of a dialect: all accept the same input; rejections are answered in the dialect's envelope.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::Service;
use super::secret::{self, SecretHeader};
use crate::auth::{Caller, sessions};
use crate::error::{Error, Result};

/// The session cookie of a signed-in browser.
pub(super) const COOKIE: &str = "cairn_session";
/// Header that a signed-in browser sends with every change. Other sites cannot send it without a CORS preflight, which protects against request forgery.
pub(super) const OWN_PAGE: &str = "x-cairn-sandbox";

/// Returns the secret of the session cookie.
pub(super) fn session_secret(headers: &HeaderMap) -> Option<String> {
    cookie_value(headers, COOKIE)
}

/// Returns the value of a cookie.
pub(super) fn cookie_value(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(cookie::Cookie::split_parse)
        .filter_map(std::result::Result::ok)
        .find(|c| c.name() == name)
        .map(|c| c.value().to_owned())
}

/// Header in which browsers say where a request comes from; no page can set it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Returns whether a change comes from a page of this service: one of the sandbox, or the documentation of the API, whose browser says so.
fn is_of_own_page(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE).and_then(|v| v.to_str().ok());
    headers.contains_key(OWN_PAGE) || site == Some("same-origin")
}

/// Authenticates the caller by one of the accepted headers or by the session cookie of a browser.
///
/// # Errors
/// `key_missing`, `key_invalid`, `session_expired`, `rate_limited`; `page_unknown` for changes from a browser without the header of our own pages.
pub(super) async fn caller(
    parts: &Parts,
    service: &Service,
    accepted: &[SecretHeader],
) -> Result<Caller> {
    let app = &service.app;
    if let Some(secret) = secret::presented(&parts.headers, accepted)? {
        return app.gate.authenticate(&app.db, &app.clock, secret).await;
    }
    let session = session_secret(&parts.headers).ok_or_else(secret::missing)?;
    if !parts.method.is_safe() && !is_of_own_page(&parts.headers) {
        return Err(Error::forbidden(
            "page_unknown",
            format!("changes with a session cookie must have the header {OWN_PAGE}"),
        ));
    }
    sessions::caller(app.sessions(), &session).await
}

/// Defines `Auth` of a dialect from its problem type and the headers that it accepts.
macro_rules! auth {
    ($problem:ty, $accepted:expr) => {
        /// The authenticated caller.
        #[derive(Debug)]
        pub struct Auth(pub $crate::auth::Caller);

        impl ::axum::extract::FromRequestParts<$crate::api::Service> for Auth {
            type Rejection = $problem;

            async fn from_request_parts(
                parts: &mut ::axum::http::request::Parts,
                service: &$crate::api::Service,
            ) -> ::std::result::Result<Self, $problem> {
                Ok(Self(
                    $crate::api::extract::caller(parts, service, $accepted).await?,
                ))
            }
        }
    };
}

/// Defines `Query` of a dialect from its problem type.
macro_rules! query_parameters {
    ($problem:ty) => {
        /// Query parameters.
        #[derive(Debug)]
        pub struct Query<T>(pub T);

        impl<T: ::serde::de::DeserializeOwned, S: Send + Sync> ::axum::extract::FromRequestParts<S> for Query<T> {
            type Rejection = $problem;

            async fn from_request_parts(parts: &mut ::axum::http::request::Parts, state: &S) -> ::std::result::Result<Self, $problem> {
                #[expect(
                    clippy::disallowed_types,
                    reason = "this is the wrapper that the rule asks for"
                )]
                let read = <axum::extract::Query<T> as ::axum::extract::FromRequestParts<S>>::from_request_parts(parts, state).await;
                read.map(|q| Self(q.0))
                    .map_err(|e: ::axum::extract::rejection::QueryRejection| $crate::error::Error::invalid("parameter_invalid", e.body_text()).into())
            }
        }

    };
}

/// Defines `Path` of a dialect from its problem type.
macro_rules! path_parameters {
    ($problem:ty) => {
        /// Path parameters.
        #[derive(Debug)]
        pub struct Path<T>(pub T);

        impl<T: ::serde::de::DeserializeOwned + Send, S: Send + Sync> ::axum::extract::FromRequestParts<S> for Path<T> {
            type Rejection = $problem;

            async fn from_request_parts(parts: &mut ::axum::http::request::Parts, state: &S) -> ::std::result::Result<Self, $problem> {
                #[expect(
                    clippy::disallowed_types,
                    reason = "this is the wrapper that the rule asks for"
                )]
                let read = <axum::extract::Path<T> as ::axum::extract::FromRequestParts<S>>::from_request_parts(parts, state).await;
                read.map(|p| Self(p.0))
                    .map_err(|e: ::axum::extract::rejection::PathRejection| $crate::error::Error::invalid("path_invalid", e.body_text()).into())
            }
        }
    };
}

/// Defines `Query` and `Path` of a dialect from its problem type.
macro_rules! parameters {
    ($problem:ty) => {
        $crate::api::extract::query_parameters!($problem);
        $crate::api::extract::path_parameters!($problem);
    };
}

/// Defines `Problem` of a dialect, a domain error to be answered in its envelope. The second function returns the status of an error that has another one in the
/// dialect than elsewhere.
macro_rules! problem {
    ($envelope:expr) => {
        $crate::api::extract::problem!($envelope, |_| None);
    };
    ($envelope:expr, $status:expr) => {
        /// A domain error to be answered.
        #[derive(Debug)]
        pub struct Problem(pub $crate::error::Error);

        impl From<$crate::error::Error> for Problem {
            fn from(error: $crate::error::Error) -> Self {
                Self(error)
            }
        }

        impl ::axum::response::IntoResponse for Problem {
            fn into_response(self) -> ::axum::response::Response {
                let envelope: fn(&$crate::error::Error) -> _ = $envelope;
                let status: fn(&$crate::error::Error) -> Option<::axum::http::StatusCode> = $status;
                let mut response = $crate::api::fault::response(&self.0, envelope(&self.0));
                if let Some(status) = status(&self.0) {
                    *response.status_mut() = status;
                }
                response
            }
        }
    };
}

/// Reads the body of a request without a byte order mark, which some Windows programs write before JSON.
///
/// # Errors
/// `body_too_large`, `body_invalid`.
pub(crate) async fn without_mark(request: Request) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let limited = Request::from_parts(parts.clone(), body);
    let bytes = Bytes::from_request(limited, &()).await.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Error::too_large("body_too_large", "the body is larger than allowed")
        } else {
            Error::invalid("body_invalid", error.body_text())
        }
    })?;
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => bytes.slice_ref(rest),
        None => bytes,
    };
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// Defines `Body` of a dialect.
macro_rules! body {
    ($problem:ty) => {
        /// A JSON body.
        #[derive(Debug)]
        pub struct Body<T>(pub T);

        impl<T: ::serde::de::DeserializeOwned, S: Send + Sync> ::axum::extract::FromRequest<S>
            for Body<T>
        {
            type Rejection = $problem;

            async fn from_request(
                request: ::axum::extract::Request,
                state: &S,
            ) -> ::std::result::Result<Self, $problem> {
                let request = match $crate::api::extract::without_mark(request).await {
                    Ok(request) => request,
                    Err(error) => return Err(error.into()),
                };
                match <axum::Json<T> as ::axum::extract::FromRequest<S>>::from_request(
                    request, state,
                )
                .await
                {
                    Ok(axum::Json(value)) => Ok(Self(value)),
                    Err(::axum::extract::rejection::JsonRejection::MissingJsonContentType(_)) => {
                        Err($crate::error::Error::invalid(
                            "content_type_wrong",
                            "send the body with Content-Type: application/json",
                        )
                        .into())
                    }
                    Err(error) => {
                        Err($crate::error::Error::invalid("body_invalid", error.body_text()).into())
                    }
                }
            }
        }
    };
}

pub(crate) use {auth, body, parameters, path_parameters, problem, query_parameters};
