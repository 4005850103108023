//! Envelope, faults, extractors and authentication of the dashboard dialect; `/kb/v1` speaks it, too.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Service, request_id};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::page::Page;

/// An error as callers see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    error: FaultBody,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FaultBody {
    /// Name of the condition.
    code: &'static str,
    /// Stable detail.
    reason: String,
    /// Sentence for people.
    message: String,
    /// Id to look for in the log.
    request_id: String,
}

/// A domain error on its way out.
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.0;
        let (status, code) = match error.kind() {
            Kind::Invalid => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"),
            Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Kind::Conflict => (StatusCode::CONFLICT, "CONFLICT"),
            Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
            Kind::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "UNPROCESSABLE"),
            Kind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Kind::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "INSUFFICIENT_STORAGE"),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        };
        if matches!(
            error.kind(),
            Kind::Internal | Kind::Unavailable | Kind::NoSpace
        ) {
            tracing::error!(error = %error, "the request failed on our side");
        }
        let mut response = fault(status, code, error.code(), error.public_message());
        if matches!(error.kind(), Kind::RateLimited | Kind::Unavailable) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if error.kind() == Kind::Unauthorized {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn fault(status: StatusCode, code: &'static str, reason: &str, message: &str) -> Response {
    let error = FaultBody {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        request_id: request_id(),
    };
    (status, axum::Json(Fault { error })).into_response()
}

pub(crate) async fn unknown_route() -> Response {
    fault(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "route_unknown",
        "there is no such route; /docs shows all",
    )
}

pub(crate) async fn wrong_method() -> Response {
    fault(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "method_not_allowed",
        "this route does not take this method; /docs shows those it takes",
    )
}

pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    Problem(Error::internal("a handler panicked")).into_response()
}

/// The caller behind `Authorization: Bearer <key>`.
#[derive(Debug)]
pub struct Auth(pub Caller);

impl FromRequestParts<Service> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let missing = || {
            Error::unauthorized(
                "key_missing",
                "send an API key as Authorization: Bearer <key>",
            )
        };
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .ok_or_else(missing)?
            .to_str()
            .map_err(|_| missing())?;
        let (scheme, secret) = header.split_once(' ').ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing().into());
        }
        let app = &service.app;
        Ok(Self(
            app.gate
                .authenticate(&app.db, &app.clock, secret.trim())
                .await?,
        ))
    }
}

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(e))
                if e.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Err(Error::too_large("body_too_large", "the body is larger than allowed").into())
            }
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Error::invalid(
                "content_type_wrong",
                "send the body with Content-Type: application/json",
            )
            .into()),
            Err(error) => Err(Error::invalid("body_invalid", error.body_text()).into()),
        }
    }
}

/// Parameters of the query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[expect(
            clippy::disallowed_types,
            reason = "this is the wrapper that the rule asks for"
        )]
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|q| Self(q.0))
            .map_err(|e: QueryRejection| Error::invalid("parameter_invalid", e.body_text()).into())
    }
}

/// Parameters of the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[expect(
            clippy::disallowed_types,
            reason = "this is the wrapper that the rule asks for"
        )]
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|p| Self(p.0))
            .map_err(|e: PathRejection| Error::invalid("path_invalid", e.body_text()).into())
    }
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Items wanted, 1 to 500.
    pub limit: Option<i64>,
    /// `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl Paging {
    /// The page.
    ///
    /// # Errors
    /// `limit_out_of_range`, `cursor_invalid`.
    pub fn page(&self, default: i64) -> Result<Page> {
        Page::read(self.limit, self.cursor.as_deref(), default)
    }
}

/// Where a list goes on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

impl From<Option<String>> for Pagination {
    fn from(next: Option<String>) -> Self {
        Self {
            has_more: next.is_some(),
            next_cursor: next,
        }
    }
}
