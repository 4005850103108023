//! Signing up, without a key: makes a workspace on the free plan and answers its key once.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lettre::Address;
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};
use utoipa::ToSchema;

use super::wire::{ClawFault, problem};
use crate::api::Service;
use crate::api::server::ClientAddress;
use crate::app::App;
use crate::auth::plans::{self, Plan, SignUp};
use crate::config::Config;
use crate::error::{Detail, Error, Result};

/// Bytes of a sign-up.
const BODY: usize = 64 << 10;
/// Longest text of a field, in characters.
const TEXT: usize = 200;

/// Addresses that are remembered before those are forgotten that may sign up again.
const ADDRESSES: usize = 10_000;

/// Counts sign-ups by client address.
#[derive(Debug)]
pub(in crate::api) struct Signups(Option<DefaultKeyedRateLimiter<IpAddr>>);

impl Signups {
    /// Returns the counter with the configured rate.
    pub(in crate::api) fn new(config: &Config) -> Arc<Self> {
        let rate = NonZeroU32::new(config.signups_per_hour);
        Arc::new(Self(rate.map(|n| RateLimiter::keyed(Quota::per_hour(n)))))
    }

    fn take(&self, address: IpAddr) -> Result<()> {
        let Some(limiter) = &self.0 else {
            return Err(Error::forbidden(
                "signup_disabled",
                "sign-ups are disabled on this installation",
            ));
        };
        // A client of IPv6 has a whole network of addresses.
        let key = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        };
        if limiter.len() > ADDRESSES {
            // Addresses whose sign-ups are long ago.
            limiter.retain_recent();
        }
        limiter.check_key(&key).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            Error::rate_limited("too many sign-ups from this address; try again later")
                .with_detail(Detail::RetryAfter(wait))
        })
    }
}

/// A sign-up.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewAccount {
    /// Mail address of the person.
    email: String,
    /// Name of the workspace; that of the organisation when absent.
    #[serde(default)]
    workspace_name: Option<String>,
    /// Name of the agent, under which its key is listed.
    #[serde(default)]
    agent_name: Option<String>,
    #[serde(default)]
    agent_platform: Option<String>,
    #[serde(default, rename = "firstName")]
    first_name: Option<String>,
    #[serde(default, rename = "lastName")]
    last_name: Option<String>,
    #[serde(default, rename = "organizationName")]
    organization_name: Option<String>,
}

/// Headers of proxies. A request with one comes from elsewhere, although its connection may come from this machine.
const FORWARDED: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Returns whether an address, such as `http://localhost:7700`, is of this machine.
fn is_local(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host().is_some_and(|host| is_loopback(&host)))
}

/// Returns whether a client may sign up: anybody if the configuration says so, otherwise programs on this machine. A page that a browser on this machine shows is
/// not one of them: it cannot send JSON to another origin without being asked first, and with a name that it has made resolve to this machine, it sends that name.
fn is_open(app: &App, address: IpAddr, headers: &HeaderMap) -> bool {
    if app.config.signup {
        return true;
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_direct = FORWARDED.iter().all(|name| !headers.contains_key(*name));
    let host = text(header::HOST).unwrap_or_default();
    let is_json = text(header::CONTENT_TYPE).is_some_and(|t| t.starts_with("application/json"));
    // An installation with a public address has a proxy before it, whose connections come from this machine.
    let is_private = app.config.public_url.is_empty() || is_local(&app.config.public_url);
    address.is_loopback()
        && is_direct
        && is_json
        && is_private
        && is_local(&format!("http://{host}"))
}

fn closed() -> Error {
    Error::forbidden(
        "signup_disabled",
        "sign-ups are accepted from the machine of this installation only, as application/json and under a name of this machine",
    )
    .with_hint("ask the operator for a key (`cairn tenants create`), or to set signup = true")
}

fn checked(account: &NewAccount) -> Result<SignUp> {
    let invalid = |message: &str, hint: &str| {
        Error::invalid("body_invalid", message.to_owned()).with_hint(hint)
    };
    let email = account.email.trim().to_lowercase();
    let is_address = email
        .parse::<Address>()
        .is_ok_and(|a| a.domain().contains('.'));
    if !is_address || email.len() > 320 {
        return Err(invalid(
            "email must be a mail address",
            "send the address of the person, such as ada@example.com",
        ));
    }
    let mut profile = plans::Profile::new();
    let mut note = |name: &str, value: &Option<String>| -> Result<Option<String>> {
        let value = value.as_deref().map(str::trim).filter(|v| !v.is_empty());
        if value.is_some_and(|v| v.chars().count() > TEXT || v.chars().any(char::is_control)) {
            return Err(invalid(
                &format!("{name} is too long"),
                "send at most 200 characters on one line",
            ));
        }
        if let Some(value) = value {
            profile.insert(name.to_owned(), json!(value));
        }
        Ok(value.map(str::to_owned))
    };
    let workspace = note("workspaceName", &account.workspace_name)?;
    let agent = note("agentName", &account.agent_name)?;
    note("agentPlatform", &account.agent_platform)?;
    note("firstName", &account.first_name)?;
    note("lastName", &account.last_name)?;
    let organisation = note("name", &account.organization_name)?;
    let workspace = workspace.or(organisation).ok_or_else(|| {
        invalid(
            "workspace_name is missing",
            "send workspace_name, or organizationName",
        )
    })?;
    if profile.get("name").is_none() {
        profile.insert("name".to_owned(), json!(workspace));
    }
    Ok(SignUp {
        email,
        workspace,
        key_name: agent.unwrap_or_else(|| "agent".to_owned()),
        profile,
    })
}

async fn signed_up(service: &Service, request: Request) -> Result<Value> {
    let address = request.extensions().get::<ClientAddress>().map(|a| a.0);
    let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let (parts, body) = request.into_parts();
    if !is_open(&service.app, address, &parts.headers) {
        return Err(closed());
    }
    let bytes = body::to_bytes(body, BODY)
        .await
        .map_err(|e| Error::invalid("body_invalid", e.to_string()))?;
    let account: NewAccount = serde_json::from_slice(&bytes).map_err(|e| {
        Error::invalid(
            "body_invalid",
            format!("the body must be a JSON object: {e}"),
        )
        .with_hint("GET /api/openclaw/signup shows the fields")
    })?;
    let new = checked(&account)?;
    // Counted last, so that a mistake costs nothing.
    service.signups.take(address)?;
    let (tenant, key) = plans::sign_up(&service.app.db, &service.app.clock, &new).await?;
    tracing::info!(tenant = tenant.id, "a workspace was signed up");
    let base = crate::api::dialect::base(&parts.headers);
    Ok(json!({
        "success": true,
        "id": format!("org_{}", tenant.id),
        "orgId": format!("org_{}", tenant.id),
        "apiKey": key,
        "workspace": tenant.name,
        "tier": Plan::Free,
        "limits": {"leads": Plan::Free.leads(), "campaigns": Plan::Free.campaigns()},
        "dashboardUrl": format!("{base}/sandbox"),
        "warnings": ["the key is shown only now; store it"],
        "next_steps": ["GET /api/openclaw/health", "POST /api/openclaw/setup", "POST /api/openclaw/leads"]
    }))
}

/// Signs up: makes a workspace on the free plan and answers its key, which is never shown again. Needs no key.
#[utoipa::path(post, path = "/api/openclaw/signup", tag = "clawcrm", operation_id = "signup", request_body = NewAccount,
    responses((status = 201, description = "Created", body = Value), (status = "4XX", body = ClawFault)))]
pub(super) async fn sign_up(State(service): State<Service>, request: Request) -> Response {
    match signed_up(&service, request).await {
        Ok(answer) => {
            let headers = [(header::CACHE_CONTROL, "no-store")];
            (StatusCode::CREATED, headers, Json(answer)).into_response()
        }
        Err(error) => problem(error),
    }
}

/// Shows how to sign up. Needs no key.
#[utoipa::path(get, path = "/api/openclaw/signup", tag = "clawcrm", operation_id = "getSignupInstructions",
    responses((status = 200, description = "Success", body = Value)))]
pub(super) async fn instructions(State(service): State<Service>) -> Json<Value> {
    let config = &service.app.config;
    let from = if config.signup {
        "anywhere"
    } else {
        "the machine of this installation"
    };
    Json(json!({
        "success": true,
        "method": "POST", "path": "/api/openclaw/signup", "acceptedFrom": from, "perHourAndAddress": config.signups_per_hour,
        "body": {
            "email": "mail address of the person, required", "workspace_name": "required, or organizationName", "agent_name": "text", "agent_platform": "text",
            "firstName": "text", "lastName": "text", "organizationName": "text"
        },
        "answer": {"apiKey": "rcm_live_…, shown once", "orgId": "org_…", "tier": "free"},
        "plans": {"free": {"leads": 100, "campaigns": 3}, "pro": {"leads": 1000, "campaigns": null}, "ultra": {"leads": 5000, "campaigns": null}},
        "warnings": [],
        "next_steps": ["POST /api/openclaw/signup", "then send the key as Authorization: Bearer or x-api-key"]
    }))
}
