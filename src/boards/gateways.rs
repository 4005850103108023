//! Gateways in which agents live: settings, the calls that Cairn makes there, and their state as people see it.

use super::calls;
use super::roster;
use std::sync::Arc;

use serde_json::{Value, json};

use super::access::need_admin;
use super::agents::{self, NewAgent, lifecycle};
use super::{AGENT, BOARD, GATEWAY, filled, groups, json_of, memory, store, unfit};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::openclaw::{self, ANSWER, Connection, OLDEST, Target};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::records::secrets::{self, Keep};
use crate::records::write::{self, New};

/// Checks that a gateway can be reached and is not too old.
async fn check(app: &App, target: &Target) -> Result<()> {
    let failed = |reason: &str| {
        Error::upstream(
            "gateway_incompatible",
            format!("Gateway compatibility check failed: {reason}"),
        )
    };
    let connection = match open(app, target).await {
        Ok(connection) => connection,
        Err(error)
            if error.code() == "address_refused" || error.code() == "gateway_url_invalid" =>
        {
            return Err(error);
        }
        Err(error) => return Err(failed(error.public_message())),
    };
    let mut version = connection.hello.version.clone();
    if version.is_empty() {
        let config = connection.call("config.get", json!({}), ANSWER).await;
        let config = config.map_err(|e| failed(e.public_message()))?;
        let touched = config
            .pointer("/config/meta/lastTouchedVersion")
            .and_then(Value::as_str);
        version = touched.unwrap_or_default().to_owned();
    }
    let (year, month, day) = OLDEST;
    match openclaw::version(&version) {
        Some(known) if known >= OLDEST => Ok(()),
        Some(_) => Err(unfit(
            "gateway_too_old",
            format!(
                "Gateway version {version} is not supported; {year}.{month}.{day} or newer is required."
            ),
        )),
        None => Err(unfit(
            "gateway_version_unknown",
            "Gateway version could not be read.",
        )),
    }
}

async fn open(app: &App, target: &Target) -> Result<Connection> {
    Connection::open(
        &app.outgoing,
        &app.clock,
        &calls::device(app).await?,
        target,
    )
    .await
}

/// Returns a gateway as administrators see it, with its token.
///
/// # Errors
/// Those of the database.
pub async fn shown(app: &App, gateway: &Record) -> Result<Body> {
    let mut body = json_of(&GATEWAY, gateway)?;
    let token = secrets::get(app, &gateway.tenant_id, &gateway.id, calls::TOKEN).await?;
    body.insert("token".to_owned(), json!(token));
    Ok(body)
}

/// The main agent of a gateway, which speaks for the people behind it.
fn main_agent(gateway: &Record) -> NewAgent {
    let mut fields = Body::new();
    fields.insert(
        "name".to_owned(),
        json!(format!("{} Gateway Agent", gateway.title)),
    );
    let profile = json!({"role": "Gateway Agent", "communication_style": "direct, concise, practical", "emoji": "🛰"});
    fields.insert("identity_profile".to_owned(), profile);
    NewAgent {
        board_id: None,
        gateway_id: gateway.id.clone(),
        is_lead: false,
        fields,
    }
}

/// Returns a plan that adds a gateway and its main agent.
///
/// # Errors
/// `admin_required`, `gateway_incompatible`, `gateway_too_old`, `address_refused`.
pub async fn create(app: &App, caller: &Caller, body: &Body) -> Result<(Plan, String)> {
    need_admin(caller)?;
    let mut body = body.clone();
    let token = filled(&body, "token").map(str::to_owned);
    body.shift_remove("token");
    for name in ["name", "url", "workspace_root"] {
        if filled(&body, name).is_none() {
            return Err(unfit("field_blank", format!("{name} must not be blank")));
        }
    }
    check(
        app,
        &calls::target_of(&body, token.clone().unwrap_or_default()),
    )
    .await?;
    let gateway = write::draft(app, caller, &GATEWAY, New::from(&body))?;
    let mut plan = Plan::default();
    if let Some(token) = &token {
        plan.after
            .push(Keep::of(app, caller.tenant(), &gateway.id, &[(calls::TOKEN, token)]).await?);
    }
    let main = agents::add(app, caller, main_agent(&gateway), &mut plan)?;
    let mut shown = json_of(&GATEWAY, &gateway)?;
    shown.insert("token".to_owned(), json!(token));
    plan.create_silently(&GATEWAY, gateway);
    plan.is_secret = true;
    Ok((plan.data(200, Value::Object(shown)), main.id))
}

/// Returns a plan that changes a gateway and provisions its main agent again, and the id of that agent.
///
/// # Errors
/// Those of [`create`]; `record_not_found`.
pub async fn update(app: &App, caller: &Caller, id: &str, patch: &Body) -> Result<(Plan, String)> {
    need_admin(caller)?;
    let before = store::get(app, caller.tenant(), &GATEWAY, id).await?;
    let mut body = before.body()?;
    let old_token = secrets::get(app, caller.tenant(), &before.id, calls::TOKEN).await?;
    let token = match patch.get("token") {
        None => old_token.clone(),
        Some(token) => token.as_str().filter(|t| !t.is_empty()).map(str::to_owned),
    };
    for (name, value) in patch.iter().filter(|(name, _)| *name != "token") {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Err(unfit("field_blank", format!("{name} must not be blank")));
        }
        if !value.is_null() {
            body.insert(name.clone(), value.clone());
        }
    }
    let now = calls::target_of(&body, token.clone().unwrap_or_default());
    if now != calls::target(app, &before).await? {
        check(app, &now).await?;
    }
    let mut plan = Plan::default();
    if token != old_token {
        let keep = match &token {
            Some(token) => {
                Keep::of(app, caller.tenant(), &before.id, &[(calls::TOKEN, token)]).await?
            }
            None => Keep::nothing(caller.tenant(), &before.id),
        };
        plan.after.push(keep);
    }
    let mut after = before.clone();
    after.title = write::title(&GATEWAY, &body);
    after.body = Value::Object(body).to_string();
    let main = match roster::main_of(app, caller.tenant(), &before.id).await? {
        Some(main) => {
            let provision = lifecycle::Provision {
                tenant_id: caller.tenant().to_owned(),
                agent: lifecycle::auth_agent(app, &main.record, &main.record.body()?)?,
                part_id: None,
                update: true,
                reset: true,
                wake: true,
                rotate: true,
                overwrite: false,
            };
            plan.after.push(Box::new(provision));
            main.id
        }
        None => agents::add(app, caller, main_agent(&after), &mut plan)?.id,
    };
    let mut shown = json_of(&GATEWAY, &after)?;
    shown.insert("token".to_owned(), json!(token));
    plan.update_silently(&GATEWAY, before, after, app.clock.now());
    plan.is_secret = true;
    Ok((plan.data(200, Value::Object(shown)), main))
}

/// Returns a plan that deletes a gateway with its agents, whose tasks return to the inbox. Nothing is called at the gateway; its boards have none afterwards.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let gateway = store::get(app, caller.tenant(), &GATEWAY, id).await?;
    let (tenant_id, now) = (caller.tenant(), app.clock.now());
    let mut plan = Plan::default();
    for agent in roster::of_gateway(app, tenant_id, &gateway.id).await? {
        agents::retire(app, agent, &mut plan).await?;
    }
    for board in store::all(&app.db, tenant_id, &BOARD, None).await? {
        let mut body = board.body()?;
        if text(&body, "gateway_id") != Some(&gateway.id) {
            continue;
        }
        body.shift_remove("gateway_id");
        let mut after = board.clone();
        after.body = Value::Object(body).to_string();
        plan.update_silently(&BOARD, board, after, now);
    }
    plan.after.push(Keep::nothing(tenant_id, &gateway.id));
    plan.delete(&GATEWAY, gateway);
    Ok(plan.data(200, json!({"ok": true})))
}

/// Which gateway a question is about: that of a board, or one that is not stored yet.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub board_id: Option<String>,
    pub url: Option<String>,
    pub token: Option<String>,
    pub without_device: bool,
    pub allow_insecure_tls: bool,
}

/// Returns the gateway of a board.
async fn of_board(app: &App, caller: &Caller, board_id: &str) -> Result<Record> {
    need_admin(caller)?;
    let board = super::access::read(app, caller, board_id).await?;
    let id = text(&board.body()?, "gateway_id")
        .unwrap_or_default()
        .to_owned();
    let gateway = store::one(app, caller.tenant(), &GATEWAY, &id).await?;
    gateway.ok_or_else(|| unfit("gateway_missing", "Board gateway_id is required"))
}

/// The session of the main agent of a gateway.
fn main_session(gateway: &Record) -> (String, String) {
    let key = format!("agent:mc-gateway-{}:main", super::uuid_of(&gateway.id));
    (key, format!("{} Gateway Agent", gateway.title))
}

/// Returns whether a gateway can be reached, with its sessions.
///
/// # Errors
/// `admin_required`, `gateway_missing` when neither a board nor an address is given.
pub async fn status(app: &App, caller: &Caller, asked: &Asked) -> Result<Value> {
    need_admin(caller)?;
    let (url, connection, main) = match (&asked.board_id, &asked.url) {
        (Some(board_id), _) => {
            let gateway = of_board(app, caller, board_id).await?;
            let url = text(&gateway.body()?, "url").unwrap_or_default().to_owned();
            (
                url,
                calls::connect(app, &gateway).await,
                Some(main_session(&gateway)),
            )
        }
        (None, Some(url)) => {
            let target = Target {
                url: url.clone(),
                token: asked.token.clone().unwrap_or_default(),
                allow_insecure_tls: asked.allow_insecure_tls,
                without_device: asked.without_device,
            };
            (url.clone(), open(app, &target).await.map(Arc::new), None)
        }
        (None, None) => {
            return Err(unfit(
                "gateway_missing",
                "board_id or gateway_url is required",
            ));
        }
    };
    let failed = |error: &Error| {
        Ok(json!({"connected": false, "gateway_url": url, "error": error.public_message()}))
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => return failed(&error),
    };
    let sessions = match connection.call("sessions.list", json!({}), ANSWER).await {
        Ok(sessions) => sessions["sessions"].as_array().cloned().unwrap_or_default(),
        Err(error) => return failed(&error),
    };
    let mut status = json!({"connected": true, "gateway_url": url, "sessions_count": sessions.len(), "sessions": sessions});
    if let Some((key, label)) = main {
        match connection
            .call(
                "sessions.patch",
                json!({"key": key, "label": label}),
                ANSWER,
            )
            .await
        {
            Ok(ensured) => status["main_session"] = ensured["entry"].clone(),
            Err(error) => status["main_session_error"] = json!(error.public_message()),
        }
    }
    Ok(status)
}

/// Returns the sessions of the gateway of a board.
///
/// # Errors
/// `admin_required`, `gateway_missing`, those of [`call`].
pub async fn sessions(app: &App, caller: &Caller, board_id: Option<&str>) -> Result<Value> {
    let gateway = of_board(app, caller, need_board(board_id)?).await?;
    let (key, label) = main_session(&gateway);
    calls::call(
        app,
        &gateway,
        "sessions.patch",
        json!({"key": key, "label": label}),
    )
    .await?;
    let listed = calls::call(app, &gateway, "sessions.list", json!({})).await?;
    let sessions = listed["sessions"].as_array().cloned().unwrap_or_default();
    let main = sessions.iter().find(|s| s["key"] == key).cloned();
    Ok(json!({"sessions": sessions, "main_session": main}))
}

fn need_board(board_id: Option<&str>) -> Result<&str> {
    board_id.ok_or_else(|| unfit("board_missing", "board_id is required"))
}

/// Returns a session of the gateway of a board.
///
/// # Errors
/// `session_not_found`, those of [`sessions`].
pub async fn session(
    app: &App,
    caller: &Caller,
    board_id: Option<&str>,
    key: &str,
) -> Result<Value> {
    let all = sessions(app, caller, board_id).await?;
    let found = all["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|s| s["key"] == key);
    match found {
        Some(session) => Ok(json!({"session": session})),
        None => Err(Error::not_found("session_not_found", "Session not found")),
    }
}

/// Returns the messages of a session.
///
/// # Errors
/// Those of [`sessions`].
pub async fn history(
    app: &App,
    caller: &Caller,
    board_id: Option<&str>,
    key: &str,
) -> Result<Value> {
    let gateway = of_board(app, caller, need_board(board_id)?).await?;
    let found = calls::call(app, &gateway, "chat.history", json!({"sessionKey": key})).await?;
    Ok(json!({"history": found["messages"].as_array().cloned().unwrap_or_default()}))
}

/// Sends a message of a person into a session.
///
/// # Errors
/// `board_access_denied`, those of [`sessions`].
pub async fn say(
    app: &App,
    caller: &Caller,
    board_id: Option<&str>,
    key: &str,
    content: &str,
) -> Result<()> {
    let board_id = need_board(board_id)?;
    super::access::write(app, caller, board_id).await?;
    let gateway = of_board(app, caller, board_id).await?;
    let (main, label) = main_session(&gateway);
    if key == main {
        calls::call(
            app,
            &gateway,
            "sessions.patch",
            json!({"key": key, "label": label}),
        )
        .await?;
    }
    let sent = json!({"sessionKey": key, "message": content, "deliver": true, "idempotencyKey": app.clock.id()});
    calls::call(app, &gateway, "chat.send", sent).await?;
    Ok(())
}

/// Returns what the gateways of a caller offered in their last handshakes; what Cairn calls when none was reached yet.
///
/// # Errors
/// `admin_required`.
pub async fn commands(app: &App, caller: &Caller) -> Result<Value> {
    need_admin(caller)?;
    for gateway in store::all(&app.db, caller.tenant(), &GATEWAY, None).await? {
        if let Some(hello) = app.gateways.hello(&gateway.id).await {
            return Ok(
                json!({"protocol_version": hello.protocol, "methods": hello.methods, "events": hello.events}),
            );
        }
    }
    Ok(
        json!({"protocol_version": 4, "methods": CALLED, "events": ["connect.challenge", "tick", "health", "presence", "shutdown", "agent", "chat"]}),
    )
}

/// Methods that Cairn calls.
const CALLED: [&str; 15] = [
    "health",
    "config.get",
    "config.patch",
    "agents.list",
    "agents.create",
    "agents.update",
    "agents.delete",
    "agents.files.list",
    "agents.files.get",
    "agents.files.set",
    "sessions.list",
    "sessions.patch",
    "sessions.reset",
    "sessions.delete",
    "chat.send",
];

/// Options of a synchronisation of templates.
#[derive(Debug, Clone, Default)]
pub struct Sync {
    pub include_main: bool,
    pub lead_only: bool,
    pub reset_sessions: bool,
    pub rotate_tokens: bool,
    pub overwrite: bool,
    pub board_id: Option<String>,
}

/// Provisions the agents of a gateway again with the present templates, without waking them. Agents of paused boards are skipped.
///
/// # Errors
/// `admin_required`, `record_not_found`, those of [`call`] when the gateway cannot be reached.
pub async fn sync(app: &App, caller: &Caller, id: &str, sync: &Sync) -> Result<Value> {
    need_admin(caller)?;
    let gateway = store::get(app, caller.tenant(), &GATEWAY, id).await?;
    calls::call(app, &gateway, "health", json!({})).await?;
    let (mut updated, mut skipped, mut main_updated, mut errors) = (0, 0, false, Vec::new());
    let mut started = Vec::new();
    for agent in roster::of_gateway(app, caller.tenant(), &gateway.id).await? {
        let board = roster::board_of(app, &agent).await?;
        let is_wanted = match (&board, &agent.board_id) {
            (None, None) => sync.include_main && sync.board_id.is_none(),
            (Some(board), _) => {
                sync.board_id
                    .as_ref()
                    .is_none_or(|wanted| *wanted == board.id)
                    && (agent.is_lead || !sync.lead_only)
                    && !memory::is_paused(app, board).await?
            }
            (None, Some(_)) => false,
        };
        if !is_wanted {
            skipped += i64::from(agent.board_id.is_some());
            continue;
        }
        let provision = lifecycle::Provision {
            tenant_id: caller.tenant().to_owned(),
            agent: lifecycle::auth_agent(app, &agent.record, &agent.record.body()?)?,
            part_id: agent.board_id.clone(),
            update: true,
            reset: sync.reset_sessions,
            wake: false,
            rotate: sync.rotate_tokens,
            overwrite: sync.overwrite,
        };
        let mut tx = app.db.begin().await?;
        provision.apply(app, &mut tx).await?;
        app.commit(tx).await?;
        started.push(agent);
    }
    for agent in started {
        match lifecycle::settled(app, caller.tenant(), &agent.id, "sync").await {
            Ok(()) if agent.is_main() => main_updated = true,
            Ok(()) => updated += 1,
            Err(error) => errors.push(json!({
                "agent_id": agent.id, "agent_name": agent.name, "board_id": agent.board_id, "message": error.public_message(),
            })),
        }
    }
    Ok(json!({
        "gateway_id": gateway.id, "include_main": sync.include_main, "reset_sessions": sync.reset_sessions,
        "agents_updated": updated, "agents_skipped": skipped, "main_updated": main_updated, "errors": errors,
    }))
}

/// The heartbeat of an agent: its id at the gateway, its own, and the configuration.
type Beat = (String, String, Value);

/// Sets the heartbeat of the agents of a group, and writes it into the configuration of each gateway in one change.
///
/// # Errors
/// Those of [`groups::heartbeat_agents`], `every_invalid`.
pub async fn set_heartbeats(
    app: &App,
    caller: &Caller,
    group_id: &str,
    every: &str,
    with_leads: bool,
) -> Result<(Plan, Value)> {
    let every = every.trim();
    let (number, unit) = every.split_at(
        every
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(every.len()),
    );
    if number.is_empty() || !matches!(unit, "s" | "m" | "h" | "d") {
        return Err(unfit(
            "every_invalid",
            "every must be a duration such as 30s, 10m, 2h or 1d",
        ));
    }
    let (group, found) = groups::heartbeat_agents(app, caller, group_id, with_leads).await?;
    let mut plan = Plan::default();
    let (mut updated, mut failed) = (Vec::new(), Vec::new());
    let mut by_gateway: Vec<(String, Vec<Beat>)> = Vec::new();
    for agent in found {
        let mut body = agent.record.body()?;
        let mut config = match body.get("heartbeat_config") {
            Some(Value::Object(config)) => config.clone(),
            _ => Body::new(),
        };
        config.insert("every".to_owned(), json!(every));
        config.entry("target").or_insert_with(|| json!("last"));
        body.insert("heartbeat_config".to_owned(), Value::Object(config.clone()));
        let (id, _) = roster::at_gateway(&agent)?;
        let entry = (id, agent.id.clone(), Value::Object(config));
        match by_gateway
            .iter_mut()
            .find(|(gateway, _)| *gateway == agent.gateway_id)
        {
            Some((_, agents)) => agents.push(entry),
            None => by_gateway.push((agent.gateway_id.clone(), vec![entry])),
        }
        let mut after = agent.record.clone();
        after.body = Value::Object(body).to_string();
        plan.update_silently(&AGENT, agent.record, after, app.clock.now());
    }
    for (gateway_id, entries) in by_gateway {
        let pushed = async {
            let gateway = store::get(app, caller.tenant(), &GATEWAY, &gateway_id).await?;
            let is_new = calls::connect(app, &gateway).await?.hello.protocol >= 4;
            let heartbeats: Vec<(String, Value)> = entries
                .iter()
                .map(|(id, _, h)| (id.clone(), h.clone()))
                .collect();
            calls::configure(app, &gateway, is_new, &heartbeats).await
        };
        let ids = entries.iter().map(|(_, id, _)| id.clone());
        match pushed.await {
            Ok(()) => updated.extend(ids),
            Err(error) => {
                tracing::warn!(error = %error, "heartbeats could not be written to a gateway");
                failed.extend(ids);
            }
        }
    }
    let answer = json!({
        "board_group_id": group.id, "requested": {"every": every, "include_board_leads": with_leads},
        "updated_agent_ids": updated, "failed_agent_ids": failed,
    });
    Ok((plan, answer))
}
