//! Dialects: authentication, paths, envelopes and errors of a contract. The router of a dialect is built from its table of operations.

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;

use super::operation::{Call, Data, Operation, Performed, perform};
use super::secret::SecretHeader;
use super::server::ClientAddress;
use super::{Service, document, extract};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Detail, Error, Result};
use crate::records::plan::View;

/// Reads a query string, with the operation and the parameters of its path.
pub(super) type ReadQuery = fn(
    &Operation,
    &BTreeMap<String, String>,
    Vec<(String, String)>,
) -> Result<HashMap<String, String>>;

/// Reads a query string whose unknown and empty parameters are ignored.
pub(super) fn lenient_query(
    _: &Operation,
    _: &BTreeMap<String, String>,
    given: Vec<(String, String)>,
) -> Result<HashMap<String, String>> {
    if let Some((name, _)) = given.iter().find(|(_, value)| value.contains('\0')) {
        return Err(Error::invalid(
            "parameter_invalid",
            format!("{name} must not contain the character NUL"),
        ));
    }
    let is_given = |(_, value): &(String, String)| !value.is_empty();
    Ok(given.into_iter().filter(is_given).collect())
}

/// Completes the caller of a request.
pub(super) type Enter = for<'a> fn(&'a App, Caller) -> BoxFuture<'a, Result<Caller>>;

/// The definition of a dialect.
pub(super) struct Dialect {
    /// Tag of its operations in the OpenAPI document.
    pub tag: &'static str,
    /// Prefix of its paths.
    pub prefix: &'static str,
    /// Tables of its operations.
    pub operations: &'static [&'static [Operation]],
    /// Headers that may carry the secret of the caller.
    pub secrets: &'static [SecretHeader],
    /// Checks the caller; returns headers for the response.
    pub admit: fn(&App, &Caller) -> Result<HeaderMap>,
    /// Completes the caller of a request: the tenant in which a person acts, for instance.
    pub enter: Option<Enter>,
    /// Whether failed authentications are limited per client address.
    pub limits_failures: bool,
    /// Parses the query string; the path parameters are already known.
    pub query: ReadQuery,
    /// Whether bodies require a JSON content type.
    pub needs_json: bool,
    /// Body member that may hold the idempotency key; it is removed from the body.
    pub key_member: Option<&'static str>,
    /// Converts a record into its JSON form.
    pub view: View,
    /// Wraps the result of an operation in the envelope; the second argument is the base URL of the request.
    pub envelope: fn(Performed, &str) -> Result<Value>,
    /// Converts an error into a response.
    pub fault: fn(Error) -> Response,
    /// Describes responses and errors in the OpenAPI document.
    pub describe: document::Describe,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialect")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Items of the whole list.
pub(super) const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
/// Requested number of items.
pub(super) const LIMIT: HeaderName = HeaderName::from_static("x-limit");
/// Items before the part.
pub(super) const OFFSET: HeaderName = HeaderName::from_static("x-offset");

/// Returns the router of a dialect, with its documentation.
pub(super) fn routes(dialect: &'static Dialect) -> OpenApiRouter<Service> {
    let mut by_path: Vec<(&'static str, MethodRouter<Service>)> = Vec::new();
    for operation in dialect.operations.iter().copied().flatten() {
        let filter = match operation.method {
            "POST" => MethodFilter::POST,
            "PUT" => MethodFilter::PUT,
            "PATCH" => MethodFilter::PATCH,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let handler = move |State(service): State<Service>, request: Request| async move {
            match serve(dialect, operation, &service, request).await {
                Ok(response) => response,
                Err(error) => (dialect.fault)(error),
            }
        };
        match by_path.iter_mut().find(|(path, _)| *path == operation.path) {
            Some((_, router)) => *router = std::mem::take(router).on(filter, handler),
            None => by_path.push((operation.path, on(filter, handler))),
        }
    }
    let mut router = axum::Router::new();
    for (path, methods) in by_path {
        #[expect(
            clippy::disallowed_methods,
            reason = "these routes are documented from the same table"
        )]
        {
            router = router.route(&format!("{}{path}", dialect.prefix), methods);
        }
    }
    let mut router = OpenApiRouter::from(router);
    document::write(router.get_openapi_mut(), dialect);
    router
}

async fn serve(
    dialect: &'static Dialect,
    operation: &'static Operation,
    service: &Service,
    request: Request,
) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let caller = authenticate(dialect, &parts, service).await?;
    let mut more = (dialect.admit)(&service.app, &caller)?;
    operation.allow(&caller)?;
    let path = path(&mut parts, service).await?;
    let given = parts.uri.query().unwrap_or_default();
    let given = url::form_urlencoded::parse(given.as_bytes()).into_owned();
    let query = (dialect.query)(operation, &path, given.collect())?;
    let base = base(&parts.headers);
    let key = parts.headers.get("idempotency-key").cloned();
    let mut body = if operation.has_body() {
        object(
            dialect,
            operation,
            service,
            Request::from_parts(parts, body),
        )
        .await?
    } else {
        Map::new()
    };
    let key = take_key(key.as_ref(), dialect.key_member, &mut body)?;
    let call = Call {
        app: &service.app,
        caller: &caller,
        operation,
        path: &path,
        query: &query,
        body: &body,
    };
    let done = perform(call, key, dialect.view).await?;
    if done.is_replayed {
        more.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Data::Counted(_, counts) = &done.data {
        more.insert(TOTAL_COUNT, counts.total.into());
        more.insert(LIMIT, counts.limit.into());
        more.insert(OFFSET, counts.offset.into());
    }
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::OK);
    let mut response = if status == StatusCode::NO_CONTENT {
        status.into_response()
    } else {
        let envelope = (dialect.envelope)(done, &base)?;
        (status, axum::Json(envelope)).into_response()
    };
    response.headers_mut().extend(more);
    Ok(response)
}

/// Authenticates the caller of a request, and completes it.
///
/// # Errors
/// Those of [`extract::caller`]; `rate_limited` for an address that failed too often.
pub(super) async fn authenticate(
    dialect: &Dialect,
    parts: &Parts,
    service: &Service,
) -> Result<Caller> {
    let app = &service.app;
    let caller = match extract::caller(parts, service, dialect.secrets).await {
        Ok(caller) => caller,
        Err(error) => {
            let is_guess = error.code() == "key_invalid" && dialect.limits_failures;
            if let (true, Some(client)) = (is_guess, parts.extensions.get::<ClientAddress>()) {
                let subject = format!("failed/{}", client.0);
                app.rates
                    .count(&subject, app.config.failed_authentications)?;
            }
            return Err(error);
        }
    };
    match dialect.enter {
        Some(enter) => enter(app, caller).await,
        None => Ok(caller),
    }
}

/// Reads the path parameters.
async fn path(parts: &mut Parts, service: &Service) -> Result<BTreeMap<String, String>> {
    let path = RawPathParams::from_request_parts(parts, service).await;
    let path = path.map_err(|e| Error::invalid("path_invalid", e.body_text()))?;
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Ok(path.iter().map(owned).collect())
}

/// Reads the body as an object; an absent optional body is an empty object.
async fn object(
    dialect: &Dialect,
    operation: &Operation,
    service: &Service,
    request: Request,
) -> Result<Map<String, Value>> {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let content_type = content_type.as_ref().and_then(|v| v.to_str().ok());
    let is_json = content_type.is_some_and(|mime| {
        let mime = mime.split(';').next().unwrap_or_default().trim();
        mime.eq_ignore_ascii_case("application/json") || mime.ends_with("+json")
    });
    let request = extract::without_mark(request).await?;
    let bytes = Bytes::from_request(request, service)
        .await
        .map_err(|e| Error::invalid("body_invalid", e.body_text()))?;
    if bytes.is_empty() && operation.is_body_optional {
        return Ok(Map::new());
    }
    if dialect.needs_json && !is_json {
        return Err(Error::invalid(
            "content_type_wrong",
            "send the body with Content-Type: application/json",
        ));
    }
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::invalid(
            "body_invalid",
            format!("the body must be a JSON object: {e}"),
        )
    })
}

/// Takes the idempotency key from the header or, if absent there, from the body. The member is removed from the body in both cases.
///
/// # Errors
/// `idempotency_key_invalid`.
pub(super) fn take_key(
    header: Option<&HeaderValue>,
    member: Option<&str>,
    body: &mut Map<String, Value>,
) -> Result<Option<String>> {
    let in_body = member
        .and_then(|name| body.shift_remove(name))
        .filter(|v| !v.is_null());
    let key = match (header, &in_body) {
        (None, None) => return Ok(None),
        (Some(header), _) => header.to_str().ok(),
        (None, Some(member)) => member.as_str(),
    };
    let key = key.map(str::trim).unwrap_or_default();
    let is_visible = key.chars().all(|c| !c.is_control());
    if key.is_empty() || key.len() > 255 || !is_visible {
        let message = "an idempotency key must have 1 to 255 visible characters";
        let field = ("idempotency_key".to_owned(), message.to_owned());
        return Err(Error::invalid("idempotency_key_invalid", message)
            .with_detail(Detail::Fields(vec![field])));
    }
    Ok(Some(key.to_owned()))
}

/// Returns the base URL of a request; empty when its headers do not name a host.
pub(super) fn base(headers: &HeaderMap) -> String {
    let word = |name: &str| {
        headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| {
            !v.is_empty()
                && v.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b))
        })
    };
    let host = word("x-forwarded-host").or(word(header::HOST.as_str()));
    let scheme = word("x-forwarded-proto").unwrap_or("http");
    host.map_or_else(String::new, |host| format!("{scheme}://{host}"))
}
