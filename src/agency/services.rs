//! The services behind integrations as data: their addresses, how each takes its key, and requests with the stored credentials.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Map, Value};
use url::Url;

use super::integrations::{KEY, SECRET};
use crate::app::App;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::body::{Body, text};
use crate::records::{Record, secrets};

/// Time for a request of an agent; live queries of search engines take the longest.
pub(super) const LIMIT: Duration = Duration::from_secs(90);
/// Bytes of an answer that are read.
const ANSWER: usize = 1 << 20;

/// How a service takes its key.
#[derive(Debug, Clone, Copy)]
enum Auth {
    /// As bearer token.
    Bearer,
    /// As bearer token, and the secret in a header.
    BearerAnd(&'static str),
    /// As a query parameter.
    Query(&'static str),
    /// Key and secret as user and password.
    Basic,
}

/// A service, with a request that any valid key may make and that costs nothing.
#[derive(Debug)]
struct Service {
    name: &'static str,
    /// Address of the request that verifies a key.
    verification: &'static str,
    auth: Auth,
}

static SERVICES: [Service; 6] = [
    Service {
        name: "semrush",
        verification: "https://www.semrush.com/users/countapiunits.html",
        auth: Auth::Query("key"),
    },
    Service {
        name: "dataforseo",
        verification: "https://api.dataforseo.com/v3/appendix/user_data",
        auth: Auth::Basic,
    },
    Service {
        name: "ahrefs",
        verification: "https://api.ahrefs.com/v3/subscription-info/limits-and-usage",
        auth: Auth::Bearer,
    },
    Service {
        name: "google_ads_api",
        verification: "https://googleads.googleapis.com/v24/customers:listAccessibleCustomers",
        auth: Auth::BearerAnd("developer-token"),
    },
    Service {
        name: "meta_ads_api",
        verification: "https://graph.facebook.com/v24.0/me",
        auth: Auth::Bearer,
    },
    Service {
        name: "sendgrid",
        verification: "https://api.sendgrid.com/v3/scopes",
        auth: Auth::Bearer,
    },
];

/// A request to the service of an integration.
#[derive(Debug)]
pub struct Ask {
    /// Address without query; `extraConfig.baseUrl` replaces its scheme, host and port.
    pub address: String,
    pub query: Vec<(&'static str, String)>,
    /// A body makes it a `POST`.
    pub body: Option<Value>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Ask {
    /// Returns a request without query, body or headers.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            query: Vec::new(),
            body: None,
            headers: Vec::new(),
        }
    }
}

/// The answer of a service.
#[derive(Debug)]
pub(super) enum Answer {
    Fine(Vec<u8>),
    Refused {
        /// Status of an integration that is verified so.
        status: &'static str,
        message: String,
        /// Whether every other request will be refused, too, until somebody acts.
        is_lasting: bool,
    },
}

fn config(body: &Body) -> Option<&Map<String, Value>> {
    body.get("extra_config").and_then(Value::as_object)
}

/// Returns a word of `extraConfig`.
///
/// # Errors
/// `config_invalid` if it is missing.
pub fn configured(record: &Record, name: &str) -> Result<String> {
    let body = record.body()?;
    let found = config(&body).and_then(|c| text(c, name));
    found.map(str::to_owned).ok_or_else(|| {
        Error::unprocessable(
            "config_invalid",
            format!("the integration lacks extraConfig.{name}"),
        )
    })
}

/// Returns the request that verifies the key of an integration.
///
/// # Errors
/// `config_invalid` for a custom integration without `extraConfig.testUrl`.
pub(super) fn verification(record: &Record) -> Result<Ask> {
    let body = record.body()?;
    if let Some(service) = service_of(&body) {
        return Ok(Ask::new(service.verification));
    }
    let address = config(&body).and_then(|c| text(c, "testUrl"));
    let address = address.ok_or_else(|| {
        Error::invalid(
            "config_invalid",
            "a custom integration needs extraConfig.testUrl, the address that verifies its key",
        )
    })?;
    Ok(Ask::new(address))
}

fn service_of(body: &Body) -> Option<&'static Service> {
    let name = text(body, "type")?;
    SERVICES.iter().find(|s| s.name == name)
}

fn web_address(address: &str) -> Result<Url> {
    let url = Url::parse(address).ok();
    url.filter(|u| matches!(u.scheme(), "http" | "https"))
        .ok_or_else(|| {
            Error::invalid(
                "config_invalid",
                format!("{address:?} in extraConfig is not a web address"),
            )
        })
}

/// Returns the address of a request, at the base address of the integration if it has one.
fn target(body: &Body, ask: &Ask) -> Result<Url> {
    let mut url = web_address(&ask.address)?;
    if let Some(base) = config(body).and_then(|c| text(c, "baseUrl"))
        && service_of(body).is_some()
    {
        let mut base = web_address(base)?;
        base.set_path(url.path());
        url = base;
    }
    if !ask.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&ask.query);
    }
    Ok(url)
}

fn with_key(
    app: &App,
    body: &Body,
    ask: &Ask,
    (key, secret): (&str, Option<&str>),
) -> Result<RequestBuilder> {
    let mut url = target(body, ask)?;
    let auth = service_of(body).map_or(Auth::Bearer, |s| s.auth);
    if let Auth::Query(name) = auth {
        url.query_pairs_mut().append_pair(name, key);
    }
    let method = match ask.body {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let mut request = app.outgoing.request(method, url)?;
    request = request.header(header::ACCEPT, "application/json");
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    if let Some(sent) = &ask.body {
        request = request.json(sent);
    }
    let own_header = config(body).and_then(|c| text(c, "header"));
    Ok(match (auth, own_header) {
        (Auth::Bearer, Some(name)) if service_of(body).is_none() => request.header(name, key),
        (Auth::Bearer, _) => request.bearer_auth(key),
        (Auth::BearerAnd(name), _) => {
            let request = request.bearer_auth(key);
            match secret {
                Some(secret) => request.header(name, secret),
                None => request,
            }
        }
        (Auth::Basic, _) => request.basic_auth(key, secret),
        (Auth::Query(_), _) => request,
    })
}

/// Sends a request with the credentials of an integration. Returns the host, and its answer.
///
/// # Errors
/// `credential_missing`, `config_invalid`, `service_unreachable`.
pub(super) async fn send(app: &App, record: &Record, ask: &Ask) -> Result<(String, Answer)> {
    let body = record.body()?;
    let secret = |name: &'static str| secrets::get(app, &record.tenant_id, &record.id, name);
    let key = secret(KEY).await?.ok_or_else(|| {
        Error::unprocessable("credential_missing", "the key is gone; send it again")
    })?;
    let password = secret(SECRET).await?;
    let host = target(&body, ask)?
        .host_str()
        .unwrap_or_default()
        .to_owned();
    // The cause of an error may contain the address with the key.
    let unreachable = |e: &reqwest::Error| {
        let message = format!("{host}: {}", outgoing::cause(e).1);
        Error::unprocessable("service_unreachable", message)
    };
    let request = with_key(app, &body, ask, (&key, password.as_deref()))?;
    let response = request.send().await.map_err(|e| unreachable(&e))?;
    // A redirect would take the key elsewhere, and is not followed.
    let status = response.status().as_u16();
    let answer = outgoing::beginning(response, ANSWER)
        .await
        .map_err(|e| unreachable(&e))?;
    let answer = judged(&host, status, answer);
    Ok((host, answer))
}

/// Returns what the status of a response, or its beginning, says of the credentials.
fn judged(host: &str, status: u16, answer: Vec<u8>) -> Answer {
    let refused = |status: &'static str, is_lasting: bool, message: String| Answer::Refused {
        status,
        message,
        is_lasting,
    };
    match status {
        200..=299 => {}
        401 | 403 => {
            let message = format!("{host} refused the credentials (status {status})");
            return refused("error", status == 401, message);
        }
        402 | 429 => {
            let message = format!("{host} reports a used-up quota (status {status})");
            return refused("quota_exceeded", status == 402, message);
        }
        _ => {
            return refused(
                "error",
                false,
                format!("{host} answered with status {status}"),
            );
        }
    }
    // Semrush refuses with status 200; its numbers 120 to 135 are about keys and units, 50 is an empty result.
    if !answer.starts_with(b"ERROR") || answer.starts_with(b"ERROR 50 ") {
        return Answer::Fine(answer);
    }
    let said = String::from_utf8_lossy(&answer);
    let line = said.lines().next().unwrap_or_default();
    let number = line.split(' ').nth(1).and_then(|n| n.parse::<u16>().ok());
    let (word, is_lasting) = match number {
        Some(132..=134) => ("quota_exceeded", true),
        Some(120..=135) => ("error", true),
        _ => ("error", false),
    };
    refused(word, is_lasting, format!("{host}: {line}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: &str, config: &Value) -> Body {
        Body::from_iter([
            ("type".to_owned(), json!(kind)),
            ("extra_config".to_owned(), config.clone()),
        ])
    }

    #[test]
    fn a_base_address_replaces_the_host() {
        let ask = Ask::new("https://api.ahrefs.com/v3/subscription-info/limits-and-usage");
        let body = of("ahrefs", &json!({"baseUrl": "http://127.0.0.1:9"}));
        let url = target(&body, &ask).expect("an address");
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:9/v3/subscription-info/limits-and-usage"
        );
    }

    #[test]
    fn custom_integrations_keep_their_address() {
        let body = of("custom", &json!({"baseUrl": "http://127.0.0.1:9"}));
        let ask = Ask::new("https://example.com/me");
        let url = target(&body, &ask).expect("an address");
        assert_eq!(url.as_str(), "https://example.com/me");
        assert!(target(&body, &Ask::new("file:///etc/passwd")).is_err());
    }

    #[test]
    fn refusals_with_status_200_are_seen() {
        let seen = |said: &str| match judged("host", 200, said.as_bytes().to_vec()) {
            Answer::Fine(_) => ("fine", false),
            Answer::Refused {
                status, is_lasting, ..
            } => (status, is_lasting),
        };
        assert_eq!(seen("Keyword;Search Volume\ntides;8100"), ("fine", false));
        assert_eq!(seen("ERROR 50 :: NOTHING FOUND"), ("fine", false));
        let wrong_key = "ERROR 120 :: WRONG KEY - ID PAIR";
        assert_eq!(seen(wrong_key), ("error", true));
        let used_up = "ERROR 132 :: API UNITS BALANCE IS ZERO";
        assert_eq!(seen(used_up), ("quota_exceeded", true));
        let parameter = "ERROR 40 :: MANDATORY PARAMETER MISSING";
        assert_eq!(seen(parameter), ("error", false));
    }

    #[test]
    fn a_busy_service_is_no_lasting_refusal() {
        let lasting = |status| {
            matches!(
                judged("host", status, Vec::new()),
                Answer::Refused {
                    is_lasting: true,
                    ..
                }
            )
        };
        assert!(lasting(401) && lasting(402));
        assert!(!lasting(403) && !lasting(429) && !lasting(500));
    }
}
