//! Integrations by API key: credentials are encrypted, shown masked, and verified by a real request to the service; agents ask the services with them.

use std::time::Duration;

use serde_json::json;

use super::services::{self, Answer, Ask};
use super::{INTEGRATION, access, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute, secrets};

/// Time for a test.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest credential, in bytes, and largest configuration.
const CREDENTIAL: usize = 4096;
const CONFIG: usize = 8192;
/// Names of the stored secrets.
pub(super) const KEY: &str = "api_key";
pub(super) const SECRET: &str = "api_secret";

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

    /// Returns whether the key of an integration would go somewhere else than before.
    fn moves(&self, before: &Body) -> bool {
        let Some(config) = &self.extra_config else {
            return false;
        };
        let old = before.get("extra_config");
        let of_old = |name: &str| old.and_then(|c| c.get(name));
        ["baseUrl", "testUrl", "header"]
            .iter()
            .any(|name| config.get(*name) != of_old(name))
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
        let is_moved = fields.moves(&body);
        if is_moved && fields.api_key.is_none() {
            return Err(Error::unprocessable(
                "credential_missing",
                "the address or the header for the key changes: send apiKey again, since the stored key is for the old one",
            ));
        }
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
    settle(app, caller, id, &outcome).await?;
    Ok((outcome.0 == "connected", outcome.1))
}

/// Records how an integration answered.
async fn settle(app: &App, caller: &Caller, id: &str, (status, message): &Outcome) -> Result<()> {
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
    Ok(())
}

/// Verifies the credentials of an integration by the request that its service has for it.
async fn probe(app: &App, record: &Record) -> Result<Outcome> {
    let (host, answer) = services::send(app, record, &services::verification(record)?).await?;
    Ok(match answer {
        Answer::Fine(_) => ("connected", format!("{host} accepted the credentials")),
        Answer::Refused {
            status, message, ..
        } => (status, message),
    })
}

/// Returns the types of the integrations that work.
///
/// # Errors
/// Those of the database.
pub async fn connected(app: &App, tenant_id: &str) -> Result<Vec<String>> {
    let all = store::all(&app.db, tenant_id, &INTEGRATION).await?;
    Ok(all.iter().filter_map(working_type).collect())
}

/// Returns the type of an integration; `None` if it does not work.
fn working_type(record: &Record) -> Option<String> {
    if record.status.as_deref() != Some("connected") {
        return None;
    }
    let body = record.body().ok()?;
    let is_active = body.get("active") == Some(&json!(true));
    text(&body, "type").filter(|_| is_active).map(str::to_owned)
}

/// Returns the first integration of a type that works.
///
/// # Errors
/// `integration_missing`.
pub async fn working(app: &App, tenant_id: &str, integration_type: &str) -> Result<Record> {
    let all = store::all(&app.db, tenant_id, &INTEGRATION).await?;
    let is_wanted = |record: &Record| working_type(record).as_deref() == Some(integration_type);
    all.into_iter().find(is_wanted).ok_or_else(|| {
        Error::unprocessable(
            "integration_missing",
            format!("no integration of type {integration_type} is connected"),
        )
    })
}

/// Asks the service of an integration. Refused credentials, or a used-up balance, become the status of the integration;
/// a busy service, or one that refuses a single report, does not.
///
/// # Errors
/// `service_refused`, `service_unreachable`.
pub async fn ask(app: &App, caller: &Caller, record: &Record, ask: &Ask) -> Result<Vec<u8>> {
    let limit = services::LIMIT;
    let sent = tokio::time::timeout(limit, services::send(app, record, ask)).await;
    let (_, answer) = sent.unwrap_or_else(|_| {
        Err(Error::unprocessable(
            "service_unreachable",
            format!("the service did not answer within {} s", limit.as_secs()),
        ))
    })?;
    match answer {
        Answer::Fine(body) => Ok(body),
        Answer::Refused {
            status,
            message,
            is_lasting,
        } => {
            // Others may have entered another key meanwhile.
            let now = store::get(app, caller.tenant(), &INTEGRATION, &record.id).await?;
            let is_same = now.body()?.get("masked") == record.body()?.get("masked");
            if is_lasting && is_same {
                settle(app, caller, &record.id, &(status, message.clone())).await?;
            }
            Err(Error::unprocessable("service_refused", message))
        }
    }
}

/// Asks the service of an integration for JSON.
///
/// # Errors
/// Those of [`ask`]; `service_refused` for another answer.
pub async fn ask_json(
    app: &App,
    caller: &Caller,
    record: &Record,
    request: &Ask,
) -> Result<serde_json::Value> {
    serde_json::from_slice(&ask(app, caller, record, request).await?)
        .map_err(|_| Error::unprocessable("service_refused", "the service answered without JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked() {
        assert_eq!(masked("sk-1234567890abcd"), "••••••••abcd");
        assert_eq!(masked("short"), "••••••••");
    }
}
