//! Integrations by API key: credentials are encrypted, shown masked, and verified by a real request to the service.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use url::Url;

use super::{INTEGRATION, access, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute, secrets};

/// Time for a test.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read.
const ANSWER: usize = 16 << 10;
/// Longest credential, in bytes, and largest configuration.
const CREDENTIAL: usize = 4096;
const CONFIG: usize = 8192;
const KEY: &str = "api_key";
const SECRET: &str = "api_secret";

/// How a service takes its key.
#[derive(Debug, Clone, Copy)]
enum Auth {
    /// As bearer token.
    Bearer,
    /// As a query parameter.
    Query(&'static str),
    /// Key and secret as user and password.
    Basic,
}

/// A service, with a request that any valid key may make and that costs nothing.
#[derive(Debug)]
struct Service {
    name: &'static str,
    url: &'static str,
    auth: Auth,
}

static SERVICES: [Service; 6] = [
    Service {
        name: "semrush",
        url: "https://www.semrush.com/users/countapiunits.html",
        auth: Auth::Query("key"),
    },
    Service {
        name: "dataforseo",
        url: "https://api.dataforseo.com/v3/appendix/user_data",
        auth: Auth::Basic,
    },
    Service {
        name: "ahrefs",
        url: "https://api.ahrefs.com/v3/subscription-info/limits-and-usage",
        auth: Auth::Bearer,
    },
    Service {
        name: "google_ads_api",
        url: "https://googleads.googleapis.com/v21/customers:listAccessibleCustomers",
        auth: Auth::Bearer,
    },
    Service {
        name: "meta_ads_api",
        url: "https://graph.facebook.com/v21.0/me",
        auth: Auth::Bearer,
    },
    Service {
        name: "sendgrid",
        url: "https://api.sendgrid.com/v3/scopes",
        auth: Auth::Bearer,
    },
];

/// Returns what people see of a key: its last four characters.
#[must_use]
pub fn masked(key: &str) -> String {
    let length = key.chars().count();
    let shown = if length >= 12 { 4 } else { 0 };
    let end: String = key.chars().skip(length - shown).collect();
    format!("••••••••{end}")
}

/// Fields of an integration to set; absent ones stay.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    pub name: Option<String>,
    pub api_key: Option<String>,
    pub api_secret: Option<String>,
    /// `baseUrl` replaces the address of the service; a custom integration has its `testUrl`, and perhaps `header` for its key.
    pub extra_config: Option<Body>,
    pub is_active: Option<bool>,
}

impl Fields {
    fn check(&self) -> Result<()> {
        let is_long = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|t| t.len() > CREDENTIAL || t.chars().any(char::is_control))
        };
        let config = self.extra_config.as_ref();
        if is_long(&self.name) || is_long(&self.api_key) || is_long(&self.api_secret) {
            return Err(Error::invalid(
                "credential_invalid",
                format!(
                    "name, apiKey and apiSecret may have at most {CREDENTIAL} characters on one line"
                ),
            ));
        }
        if config.is_some_and(|c| json!(c).to_string().len() > CONFIG) {
            return Err(Error::invalid(
                "config_too_large",
                format!("extraConfig may have at most {CONFIG} bytes of JSON"),
            ));
        }
        Ok(())
    }

    fn set(&self, body: &mut Body) {
        if let Some(name) = &self.name {
            body.insert("name".to_owned(), json!(name));
        }
        if let Some(key) = &self.api_key {
            body.insert("masked".to_owned(), json!(masked(key)));
        }
        if let Some(config) = &self.extra_config {
            body.insert("extra_config".to_owned(), json!(config));
        }
        if let Some(active) = self.is_active {
            body.insert("active".to_owned(), json!(active));
        }
    }

    fn secrets(&self) -> Vec<(&'static str, &str)> {
        let key = self.api_key.as_deref().map(|key| (KEY, key));
        let secret = self.api_secret.as_deref().map(|secret| (SECRET, secret));
        key.into_iter().chain(secret).collect()
    }
}

async fn keep(app: &App, caller: &Caller, id: &str, fields: &Fields) -> Result<Box<dyn Effect>> {
    secrets::Keep::of(app, caller.tenant(), id, &fields.secrets()).await
}

/// Adds an integration, and verifies it. Returns its record.
///
/// # Errors
/// `credential_invalid`, `config_too_large`.
pub async fn create(
    app: &App,
    caller: &Caller,
    integration_type: &str,
    fields: &Fields,
) -> Result<Record> {
    access::write(caller)?;
    fields.check()?;
    let request = Request::internal(caller, "createIntegration");
    let answer = execute(app, &request, || async move {
        let mut body = Body::from_iter([
            ("type".to_owned(), json!(integration_type)),
            ("active".to_owned(), json!(true)),
            ("status".to_owned(), json!("error")),
            ("error".to_owned(), json!("not verified yet")),
        ]);
        fields.set(&mut body);
        let record = write::draft(app, caller, &INTEGRATION, New::from(&body))?;
        let id = record.id.clone();
        let mut plan = Plan::default();
        plan.after.push(keep(app, caller, &id, fields).await?);
        plan.create_silently(&INTEGRATION, record);
        Ok(plan.data(201, json!({"id": id})))
    })
    .await?;
    let id = answer.data["id"].as_str().unwrap_or_default();
    test(app, caller, id).await?;
    store::get(app, caller.tenant(), &INTEGRATION, id).await
}

/// Changes an integration, and verifies new credentials. Returns its record.
///
/// # Errors
/// Those of [`create`]; `record_not_found`.
pub async fn update(app: &App, caller: &Caller, id: &str, fields: &Fields) -> Result<Record> {
    access::write(caller)?;
    fields.check()?;
    let request = Request::internal(caller, "updateIntegration");
    execute(app, &request, || async move {
        let before = store::get(app, caller.tenant(), &INTEGRATION, id).await?;
        let mut body = before.body()?;
        fields.set(&mut body);
        let after = Record {
            title: write::title(&INTEGRATION, &body),
            ..super::with_body(&before, body)
        };
        let mut plan = Plan::default();
        plan.after
            .push(keep(app, caller, &before.id, fields).await?);
        plan.update_silently(&INTEGRATION, before, after, app.clock.now());
        Ok(plan)
    })
    .await?;
    if fields.api_key.is_some() || fields.api_secret.is_some() || fields.extra_config.is_some() {
        test(app, caller, id).await?;
    }
    store::get(app, caller.tenant(), &INTEGRATION, id).await
}

/// Returns a plan that deletes an integration with its credentials.
///
/// # Errors
/// `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    access::write(caller)?;
    let before = store::get(app, caller.tenant(), &INTEGRATION, id).await?;
    let mut plan = Plan::default();
    plan.after
        .push(secrets::Keep::nothing(caller.tenant(), &before.id));
    plan.delete(&INTEGRATION, before);
    Ok(plan.data(200, json!({"deleted": true})))
}

/// Outcome of a test: status of the integration, and a sentence.
type Outcome = (&'static str, String);

/// Verifies an integration by a request to its service, and records the outcome. Returns whether it works, and a sentence.
///
/// # Errors
/// `record_not_found`.
pub async fn test(app: &App, caller: &Caller, id: &str) -> Result<(bool, String)> {
    access::write(caller)?;
    let record = store::get(app, caller.tenant(), &INTEGRATION, id).await?;
    let outcome = match tokio::time::timeout(LIMIT, probe(app, &record)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => ("error", error.public_message().to_owned()),
        Err(_) => ("error", "the service did not answer in time".to_owned()),
    };
    let (status, message) = &outcome;
    let request = Request::internal(caller, "testIntegration");
    execute(app, &request, || async move {
        let before = store::get(app, caller.tenant(), &INTEGRATION, id).await?;
        let now = app.clock.now();
        let mut body = before.body()?;
        if *status == "connected" {
            body.insert("verified_on".to_owned(), json!(now.0));
            body.shift_remove("error");
        } else {
            body.insert("error".to_owned(), json!(message));
        }
        let after = Record {
            status: Some((*status).to_owned()),
            ..super::with_body(&before, body)
        };
        let mut plan = Plan::default();
        plan.update_silently(&INTEGRATION, before, after, now);
        Ok(plan)
    })
    .await?;
    Ok((outcome.0 == "connected", outcome.1))
}

fn address(body: &Body) -> Result<(Url, Auth, Option<String>)> {
    let config = body.get("extra_config").and_then(Value::as_object);
    let own = |name: &str| config.and_then(|c| text(c, name)).map(str::to_owned);
    let read = |name: &str, address: &str| {
        let url = Url::parse(address).ok();
        url.filter(|u| matches!(u.scheme(), "http" | "https"))
            .ok_or_else(|| {
                Error::invalid(
                    "config_invalid",
                    format!("extraConfig.{name} is not a web address"),
                )
            })
    };
    let kind = text(body, "type").unwrap_or_default();
    let Some(service) = SERVICES.iter().find(|s| s.name == kind) else {
        let address = own("testUrl").ok_or_else(|| {
            Error::invalid(
                "config_invalid",
                "a custom integration needs extraConfig.testUrl, the address that verifies its key",
            )
        })?;
        return Ok((read("testUrl", &address)?, Auth::Bearer, own("header")));
    };
    let mut url = read("url", service.url)?;
    if let Some(base) = own("baseUrl") {
        let mut base = read("baseUrl", &base)?;
        base.set_path(url.path());
        url = base;
    }
    Ok((url, service.auth, None))
}

fn with_key(
    app: &App,
    mut url: Url,
    auth: Auth,
    header_name: Option<&str>,
    (key, secret): (&str, Option<&str>),
) -> Result<RequestBuilder> {
    if let (Auth::Query(name), None) = (auth, header_name) {
        url.query_pairs_mut().append_pair(name, key);
    }
    let request = app.outgoing.request(Method::GET, url)?;
    let request = request.header(header::ACCEPT, "application/json");
    Ok(match (header_name, auth) {
        (Some(name), _) => request.header(name, key),
        (None, Auth::Bearer) => request.bearer_auth(key),
        (None, Auth::Basic) => request.basic_auth(key, secret),
        (None, Auth::Query(_)) => request,
    })
}

async fn probe(app: &App, record: &Record) -> Result<Outcome> {
    let body = record.body()?;
    let secret = |name: &'static str| secrets::get(app, &record.tenant_id, &record.id, name);
    let key = secret(KEY).await?.ok_or_else(|| {
        Error::unprocessable("credential_missing", "the key is gone; send it again")
    })?;
    let password = secret(SECRET).await?;
    let (url, auth, header_name) = address(&body)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let credentials = (key.as_str(), password.as_deref());
    let response = with_key(app, url, auth, header_name.as_deref(), credentials)?
        .send()
        .await
        .map_err(|e| {
            // The cause of an error may contain the address with the key.
            Error::upstream(
                "service_unreachable",
                format!("{host}: {}", outgoing::cause(&e).0),
            )
        })?;
    let status = response.status().as_u16();
    // A redirect would take the key elsewhere, and is not followed.
    let outcome = match status {
        200..=299 => ("connected", format!("{host} accepted the credentials")),
        401 | 403 => (
            "error",
            format!("{host} refused the credentials (status {status})"),
        ),
        402 | 429 => (
            "quota_exceeded",
            format!("{host} reports a used-up quota (status {status})"),
        ),
        _ => ("error", format!("{host} answered with status {status}")),
    };
    let answer = outgoing::beginning(response, ANSWER)
        .await
        .unwrap_or_default();
    // Semrush refuses with status 200.
    if outcome.0 == "connected" && answer.starts_with(b"ERROR") {
        let said = String::from_utf8_lossy(&answer);
        let line = said.lines().next().unwrap_or_default().to_owned();
        return Ok(("error", format!("{host}: {line}")));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked() {
        assert_eq!(masked("sk-1234567890abcd"), "••••••••abcd");
        assert_eq!(masked("short"), "••••••••");
    }

    #[test]
    fn custom_integrations_need_an_address() {
        let mut body = Body::from_iter([("type".to_owned(), json!("custom"))]);
        assert!(address(&body).is_err());
        body.insert(
            "extra_config".to_owned(),
            json!({"testUrl": "https://example.com/me", "header": "x-key"}),
        );
        let (url, _, header) = address(&body).expect("an address");
        assert_eq!(
            (url.as_str(), header.as_deref()),
            ("https://example.com/me", Some("x-key"))
        );
        body.insert("type".to_owned(), json!("ahrefs"));
        body.insert(
            "extra_config".to_owned(),
            json!({"baseUrl": "http://127.0.0.1:9"}),
        );
        let (url, ..) = address(&body).expect("an address");
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:9/v3/subscription-info/limits-and-usage"
        );
    }
}
