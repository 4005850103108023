//! Calls to gateways: connections, messages into the sessions of agents, their files, and the configuration of heartbeats.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::access::Actor;
use super::{GATEWAY, activity, flag, roster, store, unfit};
use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::openclaw::{self, ANSWER, Connection, Device, Target, UNAUTHORIZED};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::secrets;

/// Name of the token among the secrets of a gateway.
pub(super) const TOKEN: &str = "token";

/// Purpose for which the key of the device is sealed, and its name among the keys of the installation.
const DEVICE: &str = "gateway_device";

/// Returns the device of this installation; its key is made when it is first needed.
pub(super) async fn device(app: &App) -> Result<Device> {
    const READ: &str = "SELECT value FROM signing_keys WHERE name = 'gateway_device'";
    let sealer = app.sealer().await?;
    let stored: Option<(String,)> = app.db.optional(READ, args![]).await?;
    let value = match stored {
        Some((value,)) => value,
        None => {
            let seed = sealer.seal(DEVICE, &app.clock.secret())?;
            app.db
                .execute(
                    "INSERT INTO signing_keys (name, value) VALUES ('gateway_device', $1) ON CONFLICT (name) DO NOTHING",
                    args![seed],
                )
                .await?;
            let (value,): (String,) = app.db.one(READ, args![]).await?;
            value
        }
    };
    Device::of(&sealer.open_sealed(DEVICE, &value)?)
}

/// Returns the gateway of an agent.
///
/// # Errors
/// `record_not_found`.
pub(super) async fn of_agent(app: &App, agent: &Actor) -> Result<Record> {
    store::get(app, &agent.record.tenant_id, &GATEWAY, &agent.gateway_id).await
}

/// Returns where to connect for a gateway.
pub(super) async fn target(app: &App, gateway: &Record) -> Result<Target> {
    let body = gateway.body()?;
    let token = secrets::get(app, &gateway.tenant_id, &gateway.id, TOKEN).await?;
    Ok(target_of(&body, token.unwrap_or_default()))
}

pub(super) fn target_of(body: &Body, token: String) -> Target {
    Target {
        url: text(body, "url").unwrap_or_default().to_owned(),
        token,
        allow_insecure_tls: flag(body, "allow_insecure_tls"),
        without_device: flag(body, "disable_device_pairing"),
    }
}

/// Returns the connection of a gateway.
///
/// # Errors
/// `gateway_unreachable`, `gateway_unauthorized`, `address_refused`.
pub(super) async fn connect(app: &App, gateway: &Record) -> Result<Arc<Connection>> {
    let target = target(app, gateway).await?;
    app.gateways
        .get(
            (&app.outgoing, &app.clock),
            &device(app).await?,
            &gateway.id,
            &target,
        )
        .await
}

/// Calls a method of a gateway.
///
/// # Errors
/// Those of [`connect`]; `gateway_refused`.
pub(super) async fn call(
    app: &App,
    gateway: &Record,
    method: &str,
    params: Value,
) -> Result<Value> {
    call_within(app, gateway, method, params, ANSWER).await
}

/// Calls a method of a gateway that may take long.
///
/// # Errors
/// Those of [`call`].
pub(super) async fn call_within(
    app: &App,
    gateway: &Record,
    method: &str,
    params: Value,
    limit: Duration,
) -> Result<Value> {
    let (target, device) = (target(app, gateway).await?, device(app).await?);
    let with = (&app.outgoing, &app.clock);
    app.gateways
        .call(
            with,
            &device,
            (&gateway.id, &target),
            (method, params, limit),
        )
        .await
}

/// Sends a message into the session of an agent, which is made when it is missing.
///
/// # Errors
/// Those of [`call`]; `session_missing`.
pub async fn send(app: &App, agent: &Actor, message: &str, deliver: bool) -> Result<()> {
    let gateway = of_agent(app, agent).await?;
    let (_, key) = roster::at_gateway(agent)?;
    if key.is_empty() {
        return Err(unfit("session_missing", "the agent has no session"));
    }
    let label = json!({"key": key, "label": agent.name});
    call(app, &gateway, "sessions.patch", label).await?;
    let sent = json!({"sessionKey": key, "message": message, "deliver": deliver, "idempotencyKey": app.clock.id()});
    call(app, &gateway, "chat.send", sent).await?;
    Ok(())
}

/// Writes the heartbeats of agents into the configuration of their gateway, in one change and only if something changes.
///
/// # Errors
/// Those of [`call`].
pub(super) async fn configure(
    app: &App,
    gateway: &Record,
    is_new_protocol: bool,
    heartbeats: &[(String, Value)],
) -> Result<()> {
    let mut tries = 0;
    loop {
        let current = call(app, gateway, "config.get", json!({})).await?;
        let config = &current["config"];
        let patch = if is_new_protocol {
            patch_of_entries(config, heartbeats)
        } else {
            patch_of_list(config, heartbeats)
        };
        let Some(patch) = patch else { return Ok(()) };
        let change = json!({"raw": patch.to_string(), "baseHash": current["hash"]});
        match call(app, gateway, "config.patch", change).await {
            Ok(answer) => return restarted(app, gateway, &answer["restart"]).await,
            // Somebody else has changed it meanwhile.
            Err(error) if tries < 3 && error.public_message().contains("changed since") => {
                tries += 1
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the restart that a gateway announces with its answer, if it does.
async fn restarted(app: &App, gateway: &Record, restart: &Value) -> Result<()> {
    if !restart.is_object() {
        return Ok(());
    }
    let delay = Duration::from_millis(restart["delayMs"].as_u64().unwrap_or_default());
    let (target, device) = (target(app, gateway).await?, device(app).await?);
    let with = (&app.outgoing, &app.clock);
    app.gateways
        .after_restart(with, &device, (&gateway.id, &target), delay)
        .await
}

/// Returns the change for gateways that keep agents as an object; `None` when nothing changes.
fn patch_of_entries(config: &Value, heartbeats: &[(String, Value)]) -> Option<Value> {
    let mut entries = json!({});
    for (id, heartbeat) in heartbeats {
        let mut wanted = heartbeat.clone();
        if let Value::Object(wanted) = &mut wanted {
            // Newer gateways refuse it.
            wanted.shift_remove("includeReasoning");
        }
        let known = &config["agents"]["entries"][id]["heartbeat"];
        if *known != wanted {
            entries[id] = json!({"heartbeat": wanted});
        }
    }
    let mut patch = json!({});
    if entries.as_object().is_some_and(|e| !e.is_empty()) {
        patch["agents"] = json!({"entries": entries});
    }
    if config["tools"]["exec"]["host"].is_null() {
        patch["tools"] = json!({"exec": {"host": "gateway"}});
    }
    patch
        .as_object()
        .is_some_and(|p| !p.is_empty())
        .then_some(patch)
}

/// Returns the change for gateways that keep agents as a list, which is replaced as a whole; `None` when nothing changes.
fn patch_of_list(config: &Value, heartbeats: &[(String, Value)]) -> Option<Value> {
    let mut list = config["agents"]["list"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut changes = false;
    for (id, heartbeat) in heartbeats {
        match list.iter_mut().find(|a| a["id"] == **id) {
            Some(known) if known["heartbeat"] == *heartbeat => {}
            Some(known) => {
                known["heartbeat"] = heartbeat.clone();
                changes = true;
            }
            None => {
                list.push(json!({"id": id, "heartbeat": heartbeat}));
                changes = true;
            }
        }
    }
    let mut patch = json!({});
    if changes {
        patch["agents"] = json!({"list": list});
    }
    if config["channels"]["defaults"]["heartbeat"].is_null() {
        patch["channels"] = json!({"defaults": {"heartbeat": {"showOk": false, "showAlerts": true, "useIndicator": true}}});
    }
    if config["tools"]["exec"]["host"].is_null() {
        patch["tools"] = json!({"exec": {"host": "gateway"}});
    }
    patch
        .as_object()
        .is_some_and(|p| !p.is_empty())
        .then_some(patch)
}

/// Returns a file of an agent's workspace.
///
/// # Errors
/// Those of [`call`].
pub async fn file(app: &App, agent: &Actor, name: &str) -> Result<String> {
    let gateway = of_agent(app, agent).await?;
    let (id, _) = roster::at_gateway(agent)?;
    let found = call(
        app,
        &gateway,
        "agents.files.get",
        json!({"agentId": id, "name": name}),
    )
    .await?;
    Ok(found["file"]["content"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Writes a file of an agent's workspace.
///
/// # Errors
/// Those of [`call`].
pub async fn set_file(app: &App, agent: &Actor, name: &str, content: &str) -> Result<()> {
    let gateway = of_agent(app, agent).await?;
    let (id, _) = roster::at_gateway(agent)?;
    let set = json!({"agentId": id, "name": name, "content": content});
    call(app, &gateway, "agents.files.set", set).await?;
    Ok(())
}

/// Returns the error of a message that could not be sent, in the words of the contract.
#[must_use]
pub fn undelivered(what: &str, error: &Error) -> Error {
    Error::upstream(
        "gateway_failed",
        format!("{what}: {}", error.public_message()),
    )
}

/// Sends a message, and tries again for a while when the gateway cannot be reached.
///
/// # Errors
/// Those of [`send`].
pub async fn send_patiently(app: &App, agent: &Actor, message: &str, deliver: bool) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(45);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(500);
    loop {
        match send(app, agent, message, deliver).await {
            Err(error)
                if error.code() == openclaw::UNREACHABLE
                    && tokio::time::Instant::now() + pause < deadline =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) if error.code() == UNAUTHORIZED => return Err(error),
            sent => return sent,
        }
    }
}

/// Returns an entry about a message between agents.
#[must_use]
pub fn entry(
    event: &'static str,
    board_id: Option<&str>,
    agent: &Actor,
    message: String,
) -> activity::Happened {
    activity::Happened {
        event_type: event.into(),
        message,
        agent_id: Some(agent.id.clone()),
        board_id: board_id.map(str::to_owned),
        ..activity::Happened::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_gateways_get_an_object_and_only_what_changes() {
        let beat = json!({"every": "10m", "target": "last", "includeReasoning": false});
        let one = [("a".to_owned(), beat)];
        let patch = patch_of_entries(&json!({}), &one).expect("changes");
        assert_eq!(
            patch["agents"]["entries"]["a"]["heartbeat"],
            json!({"every": "10m", "target": "last"})
        );
        let known = json!({"agents": {"entries": {"a": {"heartbeat": {"every": "10m", "target": "last"}}}}, "tools": {"exec": {"host": "gateway"}}});
        assert_eq!(patch_of_entries(&known, &one), None);
    }

    #[test]
    fn older_gateways_get_their_whole_list() {
        let beat = json!({"every": "10m"});
        let config = json!({"agents": {"list": [{"id": "x"}, {"id": "a", "workspace": "/w"}]}, "channels": {"defaults": {"heartbeat": {}}}, "tools": {"exec": {"host": "node"}}});
        let patch = patch_of_list(&config, &[("a".to_owned(), beat.clone())]).expect("changes");
        assert_eq!(
            patch,
            json!({"agents": {"list": [{"id": "x"}, {"id": "a", "workspace": "/w", "heartbeat": beat}]}})
        );
    }
}
