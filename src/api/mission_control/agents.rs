//! Agents, gateways, onboarding, skills and souls.

use serde_json::{Value, json};

use super::wire::{self, cut, flag, id, number, ok, optional_id, page, part, required_id};
use crate::api::operation::{Call, Counts, Data};
use crate::api::request_id;
use crate::auth::Principal;
use crate::boards::access::{self, Actor, need_admin};
use crate::boards::agents::{self, Filter, lifecycle};
use crate::boards::gateways::{self, Asked, Sync};
use crate::boards::{
    AGENT, BOARD, GATEWAY, SKILL_PACK, WEBHOOK, activity, calls, onboarding, roster, skills, souls,
    store, unfit, uuid_of, webhooks,
};
use crate::error::{Error, Kind, Result};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::{Request, execute};

pub(super) async fn list_agents(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let filter = Filter {
        board_id: optional_id(call, "board_id")?,
        gateway_id: optional_id(call, "gateway_id")?,
    };
    let found = agents::visible(call.app, call.caller, &filter).await?;
    Ok(cut(agents::shown(call.app, &found).await?, part(call)?))
}

pub(super) async fn agent_agents(call: Call<'_>) -> Result<Data> {
    let me = access::need_agent(call.app, call.caller).await?;
    let asked = optional_id(call, "board_id")?;
    if let (Some(own), Some(asked)) = (&me.board_id, &asked)
        && own != asked
    {
        return Err(Error::forbidden(
            "board_access_denied",
            "Board access denied",
        ));
    }
    let filter = Filter {
        board_id: asked.or(me.board_id),
        gateway_id: None,
    };
    let found = agents::visible(call.app, call.caller, &filter).await?;
    Ok(cut(agents::shown(call.app, &found).await?, part(call)?))
}

pub(super) async fn create_agent(call: Call<'_>) -> Result<Plan> {
    agents::create(call.app, call.caller, call.body).await
}

pub(super) async fn agent_create_agent(call: Call<'_>) -> Result<Plan> {
    access::need_lead(call.app, call.caller).await?;
    create_agent(call).await
}

/// Waits for the provisioning of the agent in an answer, and answers with it as it is then.
pub(super) async fn provisioned(call: Call<'_>, data: &Value) -> Result<Option<Value>> {
    let id = data["id"].as_str().unwrap_or_default();
    let what = if call.operation.method == "PATCH" {
        "update"
    } else {
        "provision"
    };
    lifecycle::settled(call.app, call.caller.tenant(), id, what).await?;
    agents::one(call.app, call.caller.tenant(), id)
        .await
        .map(Some)
}

pub(super) async fn get_agent(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let agent_id = id(call, "agent_id")?;
    let agent = store::get(call.app, call.caller.tenant(), &AGENT, &agent_id).await?;
    if agent
        .parent_id
        .as_deref()
        .is_some_and(|b| !call.caller.boards().reads(b))
    {
        return Err(Error::forbidden(
            "board_access_denied",
            "Board access denied",
        ));
    }
    Ok(Data::One(
        agents::one(call.app, call.caller.tenant(), &agent_id).await?,
    ))
}

pub(super) async fn update_agent(call: Call<'_>) -> Result<Plan> {
    let force = flag(call, "force")?.unwrap_or_default();
    agents::update(
        call.app,
        call.caller,
        &id(call, "agent_id")?,
        call.body,
        force,
    )
    .await
}

pub(super) async fn delete_agent(call: Call<'_>) -> Result<Plan> {
    agents::delete(call.app, call.caller, &id(call, "agent_id")?).await
}

/// Waits for the removal of the agent of a request.
pub(super) async fn removed(call: Call<'_>, _: &Value) -> Result<Option<Value>> {
    let agent_id = id(call, "agent_id")?;
    lifecycle::settled(call.app, call.caller.tenant(), &agent_id, "cleanup").await?;
    Ok(None)
}

pub(super) async fn agent_delete_agent(call: Call<'_>) -> Result<Plan> {
    let (board_id, agent_id) = (id(call, "board_id")?, id(call, "agent_id")?);
    agents::delete_by_lead(call.app, call.caller, &board_id, &agent_id).await
}

/// A heartbeat of a named agent: by an administrator, or by the agent itself.
pub(super) async fn heartbeat_of(call: Call<'_>) -> Result<Data> {
    let agent_id = id(call, "agent_id")?;
    match call.caller.principal() {
        Principal::Agent { id, .. } if *id != agent_id => {
            return Err(Error::forbidden(
                "agent_other",
                "Agents report their own heartbeat only.",
            ));
        }
        Principal::Agent { .. } => {}
        Principal::Local | Principal::Owner | Principal::Key { .. } | Principal::User { .. } => {
            need_admin(call.caller)?;
        }
    }
    let status = text(call.body, "status");
    let shown = agents::heartbeat(call.app, call.caller.tenant(), &agent_id, status).await?;
    Ok(Data::One(shown))
}

/// A heartbeat by name: an unknown agent is created when a person reports it.
pub(super) async fn heartbeat_or_create(call: Call<'_>) -> Result<Data> {
    let (tenant_id, status) = (call.caller.tenant(), text(call.body, "status"));
    if let Some(agent) = access::agent(call.app, call.caller).await? {
        return Ok(Data::One(
            agents::heartbeat(call.app, tenant_id, &agent.id, status).await?,
        ));
    }
    need_admin(call.caller)?;
    let (name, board_id) = (
        text(call.body, "name").unwrap_or_default(),
        text(call.body, "board_id"),
    );
    if let Some(known) = roster::by_name(call.app, tenant_id, name, board_id).await? {
        return Ok(Data::One(
            agents::heartbeat(call.app, tenant_id, &known.id, status).await?,
        ));
    }
    let mut body = Body::new();
    body.insert("name".to_owned(), json!(name));
    body.insert("board_id".to_owned(), json!(board_id));
    let request = Request {
        caller: call.caller,
        operation: call.operation.id,
        request_id: request_id(),
        once: None,
    };
    let made = execute(call.app, &request, || {
        agents::create(call.app, call.caller, &body)
    })
    .await?;
    let id = made.data["id"].as_str().unwrap_or_default().to_owned();
    lifecycle::settled(call.app, tenant_id, &id, "provision").await?;
    Ok(Data::One(agents::one(call.app, tenant_id, &id).await?))
}

pub(super) async fn heartbeat(call: Call<'_>) -> Result<Data> {
    let me = access::need_agent(call.app, call.caller).await?;
    let shown = agents::heartbeat(call.app, call.caller.tenant(), &me.id, None).await?;
    Ok(Data::One(shown))
}

pub(super) async fn agent_health(call: Call<'_>) -> Result<Data> {
    let me = access::need_agent(call.app, call.caller).await?;
    let shown = agents::one(call.app, call.caller.tenant(), &me.id).await?;
    Ok(Data::One(json!({
        "ok": true, "agent_id": me.id, "board_id": me.board_id, "gateway_id": me.gateway_id,
        "status": shown["status"], "is_board_lead": me.is_lead,
    })))
}

/// Returns an agent of a board that the lead of the board addresses.
async fn addressed(call: Call<'_>) -> Result<Actor> {
    let board_id = id(call, "board_id")?;
    let board = access::read(call.app, call.caller, &board_id).await?;
    let agent = access::part(call.app, &AGENT, &board, &id(call, "agent_id")?).await?;
    Actor::of(agent)
}

pub(super) async fn nudge(call: Call<'_>) -> Result<Data> {
    let lead = access::need_lead(call.app, call.caller).await?;
    let agent = addressed(call).await?;
    let message = text(call.body, "message").unwrap_or_default();
    let sent = calls::send(call.app, &agent, message, true).await;
    let (event, said) = match &sent {
        Ok(()) => (
            "agent.nudge.sent",
            format!("{} was nudged by {}.", agent.name, lead.name),
        ),
        Err(error) => (
            "agent.nudge.failed",
            format!("{}: {}", agent.name, error.public_message()),
        ),
    };
    let entry = calls::entry(event, agent.board_id.as_deref(), &agent, said);
    activity::write(call.app, call.caller.tenant(), &entry).await?;
    sent.map_err(|e| calls::undelivered("Gateway nudge failed", &e))?;
    Ok(Data::One(ok()))
}

pub(super) async fn get_soul(call: Call<'_>) -> Result<Data> {
    let me = access::need_agent(call.app, call.caller).await?;
    let agent = addressed(call).await?;
    if !me.is_lead && me.id != agent.id {
        access::need_lead(call.app, call.caller).await?;
    }
    let soul = calls::file(call.app, &agent, "SOUL.md").await;
    let soul = soul.map_err(|e| calls::undelivered("Gateway SOUL.md read failed", &e))?;
    Ok(Data::One(json!(soul)))
}

pub(super) async fn set_soul(call: Call<'_>) -> Result<Data> {
    access::need_lead(call.app, call.caller).await?;
    let agent = addressed(call).await?;
    let content = text(call.body, "content")
        .unwrap_or_default()
        .trim()
        .to_owned();
    if content.is_empty() {
        return Err(unfit("content_missing", "content is required"));
    }
    agents::set_soul(
        call.app,
        call.caller,
        &agent,
        &content,
        text(call.body, "reason"),
    )
    .await?;
    let written = calls::set_file(call.app, &agent, "SOUL.md", &content).await;
    written.map_err(|e| calls::undelivered("Gateway SOUL.md update failed", &e))?;
    Ok(Data::One(ok()))
}

/// Where an answer to a message goes, for the text of the message.
fn reply(body: &Body, tags: &[&str], source: &str) -> (String, String) {
    let given = body.get("reply_tags").and_then(Value::as_array);
    let given: Vec<&str> = given
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let tags = if given.is_empty() {
        tags.to_vec()
    } else {
        given
    };
    let source = text(body, "reply_source").unwrap_or(source);
    (json!(tags).to_string(), source.to_owned())
}

pub(super) async fn ask_user(call: Call<'_>) -> Result<Data> {
    let lead = access::need_lead(call.app, call.caller).await?;
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let main = roster::main_of(call.app, call.caller.tenant(), &lead.gateway_id).await?;
    let main =
        main.ok_or_else(|| Error::not_found("main_not_found", "Gateway main agent not found"))?;
    let (tags, source) = reply(
        call.body,
        &["gateway_main", "user_reply"],
        "user_via_gateway_main",
    );
    let mut lines = vec![
        "LEAD REQUEST: ASK USER".to_owned(),
        format!("Board: {}", board.title),
        format!("Board ID: {}", uuid_of(&board.id)),
        format!("From lead: {}", lead.name),
    ];
    lines.extend(text(call.body, "correlation_id").map(|c| format!("Correlation ID: {c}")));
    lines.extend(text(call.body, "preferred_channel").map(|c| format!("Preferred channel: {c}")));
    lines.push(String::new());
    lines.push(text(call.body, "content").unwrap_or_default().to_owned());
    lines.push(String::new());
    lines.push(format!(
        "Reach the user through a channel. Then write the answer as an entry that is no chat: POST /api/v1/agent/boards/{}/memory with {{\"content\": \"...\", \"tags\": {tags}, \"source\": \"{source}\"}}",
        uuid_of(&board.id)
    ));
    let sent = calls::send_patiently(call.app, &main, &lines.join("\n"), true).await;
    let (event, said) = match &sent {
        Ok(()) => (
            "gateway.lead.ask_user.sent",
            "The lead asked the user.".to_owned(),
        ),
        Err(error) => (
            "gateway.lead.ask_user.failed",
            error.public_message().to_owned(),
        ),
    };
    let entry = calls::entry(event, Some(&board.id), &lead, said);
    activity::write(call.app, call.caller.tenant(), &entry).await?;
    sent.map_err(|e| calls::undelivered("Gateway ask-user dispatch failed", &e))?;
    Ok(Data::One(json!({
        "ok": true, "board_id": board.id, "main_agent_id": main.id, "main_agent_name": main.name,
    })))
}

/// Returns the lead of a board of the main agent's gateway, which is made when there is none, and whether it was.
async fn lead_for(call: Call<'_>, main: &Actor, board_id: &str) -> Result<(Actor, bool)> {
    let board = store::get(call.app, call.caller.tenant(), &BOARD, board_id).await?;
    if text(&board.body()?, "gateway_id") != Some(main.gateway_id.as_str()) {
        return Err(Error::forbidden(
            "gateway_other",
            "the board is of another gateway",
        ));
    }
    if let Some(lead) = roster::lead_of(call.app, call.caller.tenant(), board_id).await? {
        return Ok((lead, false));
    }
    let request = Request {
        caller: call.caller,
        operation: call.operation.id,
        request_id: request_id(),
        once: None,
    };
    let made = execute(call.app, &request, || {
        agents::make_lead(call.app, call.caller, &board, &main.gateway_id)
    })
    .await?;
    let lead_id = made.data["id"].as_str().unwrap_or_default().to_owned();
    lifecycle::settled(call.app, call.caller.tenant(), &lead_id, "provision").await?;
    let lead = store::get(call.app, call.caller.tenant(), &AGENT, &lead_id).await?;
    Ok((Actor::of(lead)?, true))
}

/// Sends a message of the main agent to the lead of a board.
async fn tell_lead(call: Call<'_>, main: &Actor, board_id: &str) -> Result<(Actor, bool)> {
    let (lead, created) = lead_for(call, main, board_id).await?;
    let (tags, source) = reply(
        call.body,
        &["gateway_main", "lead_reply"],
        "lead_to_gateway_main",
    );
    let header = match text(call.body, "kind") {
        Some("handoff") => "GATEWAY MAIN HANDOFF",
        _ => "GATEWAY MAIN QUESTION",
    };
    let mut lines = vec![
        header.to_owned(),
        format!("Board ID: {}", uuid_of(board_id)),
        format!("From agent: {}", main.name),
    ];
    lines.extend(text(call.body, "correlation_id").map(|c| format!("Correlation ID: {c}")));
    lines.push(String::new());
    lines.push(text(call.body, "content").unwrap_or_default().to_owned());
    lines.push(String::new());
    lines.push(format!(
        "Answer to the gateway agent by an entry that is no chat: POST /api/v1/agent/boards/{}/memory with {{\"content\": \"...\", \"tags\": {tags}, \"source\": \"{source}\"}}",
        uuid_of(board_id)
    ));
    let sent = calls::send_patiently(call.app, &lead, &lines.join("\n"), false).await;
    let (event, said) = match &sent {
        Ok(()) => (
            "gateway.main.lead_message.sent",
            format!("{} was told.", lead.name),
        ),
        Err(error) => (
            "gateway.main.lead_message.failed",
            error.public_message().to_owned(),
        ),
    };
    let entry = calls::entry(event, Some(board_id), main, said);
    activity::write(call.app, call.caller.tenant(), &entry).await?;
    sent.map_err(|e| calls::undelivered("Gateway lead message dispatch failed", &e))?;
    Ok((lead, created))
}

pub(super) async fn message_lead(call: Call<'_>) -> Result<Data> {
    let main = access::need_main(call.app, call.caller).await?;
    let board_id = id(call, "board_id")?;
    let (lead, created) = tell_lead(call, &main, &board_id).await?;
    Ok(Data::One(json!({
        "ok": true, "board_id": board_id, "lead_agent_id": lead.id, "lead_agent_name": lead.name, "lead_created": created,
    })))
}

pub(super) async fn broadcast(call: Call<'_>) -> Result<Data> {
    let main = access::need_main(call.app, call.caller).await?;
    let wanted = call.body.get("board_ids").and_then(Value::as_array);
    let wanted: Option<Vec<&str>> = wanted.map(|l| l.iter().filter_map(Value::as_str).collect());
    let (mut results, mut sent, mut failed) = (Vec::new(), 0, 0);
    for board in store::all(&call.app.db, call.caller.tenant(), &BOARD, None).await? {
        let is_wanted = wanted
            .as_ref()
            .is_none_or(|ids| ids.contains(&board.id.as_str()));
        if !is_wanted || text(&board.body()?, "gateway_id") != Some(main.gateway_id.as_str()) {
            continue;
        }
        match tell_lead(call, &main, &board.id).await {
            Ok((lead, _)) => {
                sent += 1;
                results.push(json!({"board_id": board.id, "lead_agent_id": lead.id, "lead_agent_name": lead.name, "ok": true}));
            }
            Err(error) => {
                failed += 1;
                results.push(
                    json!({"board_id": board.id, "ok": false, "error": error.public_message()}),
                );
            }
        }
    }
    let said = format!("{sent} leads were told, {failed} were not.");
    let entry = calls::entry("gateway.main.lead_broadcast.sent", None, &main, said);
    activity::write(call.app, call.caller.tenant(), &entry).await?;
    Ok(Data::One(
        json!({"ok": true, "sent": sent, "failed": failed, "results": results}),
    ))
}

pub(super) async fn list_gateways(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let part = part(call)?;
    let (found, total) =
        store::page(&call.app.db, call.caller.tenant(), &GATEWAY, None, part).await?;
    let mut items = Vec::with_capacity(found.len());
    for gateway in &found {
        items.push(gateways::shown(call.app, gateway).await?);
    }
    Ok(page(items, total, part))
}

pub(super) async fn get_gateway(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let gateway_id = id(call, "gateway_id")?;
    let gateway = store::get(call.app, call.caller.tenant(), &GATEWAY, &gateway_id).await?;
    Ok(Data::One(Value::Object(
        gateways::shown(call.app, &gateway).await?,
    )))
}

pub(super) async fn create_gateway(call: Call<'_>) -> Result<Plan> {
    Ok(gateways::create(call.app, call.caller, call.body).await?.0)
}

pub(super) async fn update_gateway(call: Call<'_>) -> Result<Plan> {
    let gateway_id = id(call, "gateway_id")?;
    Ok(
        gateways::update(call.app, call.caller, &gateway_id, call.body)
            .await?
            .0,
    )
}

/// Waits for the provisioning of the main agent of the gateway in an answer.
pub(super) async fn main_provisioned(call: Call<'_>, data: &Value) -> Result<Option<Value>> {
    let gateway_id = data["id"].as_str().unwrap_or_default();
    if let Some(main) = roster::main_of(call.app, call.caller.tenant(), gateway_id).await? {
        lifecycle::settled(call.app, call.caller.tenant(), &main.id, "provision").await?;
    }
    Ok(None)
}

pub(super) async fn delete_gateway(call: Call<'_>) -> Result<Plan> {
    gateways::delete(call.app, call.caller, &id(call, "gateway_id")?).await
}

pub(super) async fn gateway_status(call: Call<'_>) -> Result<Data> {
    let asked = Asked {
        board_id: optional_id(call, "board_id")?,
        url: call.query("gateway_url").map(str::to_owned),
        token: call.query("gateway_token").map(str::to_owned),
        without_device: flag(call, "gateway_disable_device_pairing")?.unwrap_or_default(),
        allow_insecure_tls: flag(call, "gateway_allow_insecure_tls")?.unwrap_or_default(),
    };
    Ok(Data::One(
        gateways::status(call.app, call.caller, &asked).await?,
    ))
}

pub(super) async fn gateway_sessions(call: Call<'_>) -> Result<Data> {
    let board_id = optional_id(call, "board_id")?;
    Ok(Data::One(
        gateways::sessions(call.app, call.caller, board_id.as_deref()).await?,
    ))
}

pub(super) async fn gateway_session(call: Call<'_>) -> Result<Data> {
    let (board_id, key) = (optional_id(call, "board_id")?, call.path("session_id"));
    Ok(Data::One(
        gateways::session(call.app, call.caller, board_id.as_deref(), key).await?,
    ))
}

pub(super) async fn session_history(call: Call<'_>) -> Result<Data> {
    let (board_id, key) = (optional_id(call, "board_id")?, call.path("session_id"));
    Ok(Data::One(
        gateways::history(call.app, call.caller, board_id.as_deref(), key).await?,
    ))
}

pub(super) async fn session_message(call: Call<'_>) -> Result<Data> {
    let (board_id, key) = (optional_id(call, "board_id")?, call.path("session_id"));
    let content = text(call.body, "content").unwrap_or_default();
    gateways::say(call.app, call.caller, board_id.as_deref(), key, content).await?;
    Ok(Data::One(ok()))
}

pub(super) async fn gateway_commands(call: Call<'_>) -> Result<Data> {
    Ok(Data::One(gateways::commands(call.app, call.caller).await?))
}

pub(super) async fn sync_templates(call: Call<'_>) -> Result<Data> {
    let given =
        |name: &str, otherwise: bool| Ok::<_, Error>(flag(call, name)?.unwrap_or(otherwise));
    let sync = Sync {
        include_main: given("include_main", true)?,
        lead_only: given("lead_only", false)?,
        reset_sessions: given("reset_sessions", false)?,
        rotate_tokens: given("rotate_tokens", false)?,
        overwrite: given("overwrite", false)? || given("force_bootstrap", false)?,
        board_id: optional_id(call, "board_id")?,
    };
    let gateway_id = id(call, "gateway_id")?;
    let done = gateways::sync(call.app, call.caller, &gateway_id, &sync).await;
    let done = done.map_err(|e| {
        if e.kind() == Kind::Upstream {
            calls::undelivered("Gateway template sync failed", &e)
        } else {
            e
        }
    })?;
    Ok(Data::One(done))
}

pub(super) async fn get_onboarding(call: Call<'_>) -> Result<Data> {
    access::need_person(call.caller)?;
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let session = onboarding::latest(call.app, &board).await?;
    Ok(Data::One(Value::Object(onboarding::shown(&session)?)))
}

pub(super) async fn start_onboarding(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    onboarding::start(call.app, call.caller, &id(call, "board_id")?).await
}

pub(super) async fn answer_onboarding(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    onboarding::answer(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn tell_onboarding(call: Call<'_>) -> Result<Plan> {
    onboarding::tell(call.app, call.caller, &id(call, "board_id")?, call.body).await
}

pub(super) async fn confirm_onboarding(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    let board_id = id(call, "board_id")?;
    Ok(
        onboarding::confirm(call.app, call.caller, &board_id, call.body)
            .await?
            .0,
    )
}

/// Waits for the provisioning of the lead of the board in an answer.
pub(super) async fn lead_provisioned(call: Call<'_>, data: &Value) -> Result<Option<Value>> {
    let board_id = data["id"].as_str().unwrap_or_default();
    if let Some(lead) = roster::lead_of(call.app, call.caller.tenant(), board_id).await? {
        lifecycle::settled(call.app, call.caller.tenant(), &lead.id, "provision").await?;
    }
    Ok(None)
}

pub(super) async fn search_souls(call: Call<'_>) -> Result<Data> {
    let limit = number(call, "limit", 1, 100)?.unwrap_or(20);
    let query = call.query("q").unwrap_or_default();
    let found = souls::search(call.app, query, usize::try_from(limit).unwrap_or(20)).await?;
    Ok(Data::One(found))
}

pub(super) async fn soul(call: Call<'_>) -> Result<Data> {
    let found = souls::get(call.app, call.path("handle"), call.path("slug")).await?;
    Ok(Data::One(found))
}

pub(super) async fn list_packs(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let mut items = Vec::new();
    for pack in store::all(&call.app.db, call.caller.tenant(), &SKILL_PACK, None).await? {
        items.push(Value::Object(skills::pack_shown(call.app, &pack).await?));
    }
    Ok(Data::One(Value::Array(items)))
}

pub(super) async fn get_pack(call: Call<'_>) -> Result<Data> {
    need_admin(call.caller)?;
    let pack_id = id(call, "pack_id")?;
    let pack = store::get(call.app, call.caller.tenant(), &SKILL_PACK, &pack_id).await?;
    Ok(Data::One(Value::Object(
        skills::pack_shown(call.app, &pack).await?,
    )))
}

pub(super) async fn create_pack(call: Call<'_>) -> Result<Plan> {
    skills::create_pack(call.app, call.caller, call.body).await
}

pub(super) async fn update_pack(call: Call<'_>) -> Result<Plan> {
    skills::update_pack(call.app, call.caller, &id(call, "pack_id")?, call.body).await
}

pub(super) async fn delete_pack(call: Call<'_>) -> Result<Plan> {
    skills::delete_pack(call.app, call.caller, &id(call, "pack_id")?).await
}

pub(super) async fn sync_pack(call: Call<'_>) -> Result<Plan> {
    skills::sync(call.app, call.caller, &id(call, "pack_id")?).await
}

pub(super) async fn list_skills(call: Call<'_>) -> Result<Data> {
    let gateway_id = required_id(call, "gateway_id")?;
    let filter = skills::Filter {
        search: call.query("search").map(str::to_owned),
        category: call.query("category").map(str::to_owned),
        risk: call.query("risk").map(str::to_owned),
        pack_id: optional_id(call, "pack_id")?,
    };
    let items = skills::list(call.app, call.caller, &gateway_id, &filter).await?;
    let total = items.len();
    let limit = number(call, "limit", 1, 200)?.and_then(|n| usize::try_from(n).ok());
    let offset = number(call, "offset", 0, wire::FAR)?.and_then(|n| usize::try_from(n).ok());
    let offset = offset.unwrap_or(0);
    let part = items.into_iter().skip(offset).take(limit.unwrap_or(total));
    let part: Vec<Value> = part.map(Value::Object).collect();
    Ok(match limit {
        Some(limit) => Data::Counted(
            part,
            Counts {
                total,
                limit,
                offset,
            },
        ),
        None => Data::One(Value::Array(part)),
    })
}

pub(super) async fn create_skill(call: Call<'_>) -> Result<Plan> {
    skills::create(call.app, call.caller, call.body).await
}

pub(super) async fn delete_skill(call: Call<'_>) -> Result<Plan> {
    skills::delete(call.app, call.caller, &id(call, "skill_id")?).await
}

async fn install(call: Call<'_>, installs: bool) -> Result<Plan> {
    let gateway_id = required_id(call, "gateway_id")?;
    skills::install(
        call.app,
        call.caller,
        &id(call, "skill_id")?,
        &gateway_id,
        installs,
    )
    .await
}

pub(super) async fn install_skill(call: Call<'_>) -> Result<Plan> {
    install(call, true).await
}

pub(super) async fn uninstall_skill(call: Call<'_>) -> Result<Plan> {
    install(call, false).await
}

/// Returns a webhook of a board that the caller may read, or change.
async fn webhook(
    call: Call<'_>,
    writes: bool,
) -> Result<(crate::records::Record, crate::records::Record)> {
    let board_id = id(call, "board_id")?;
    let board = if writes {
        access::need_person(call.caller)?;
        access::write(call.app, call.caller, &board_id).await?
    } else {
        access::read(call.app, call.caller, &board_id).await?
    };
    let webhook = access::part(call.app, &WEBHOOK, &board, &id(call, "webhook_id")?).await?;
    Ok((board, webhook))
}

pub(super) async fn list_webhooks(call: Call<'_>) -> Result<Data> {
    let board = access::read(call.app, call.caller, &id(call, "board_id")?).await?;
    let part = part(call)?;
    let tenant_id = call.caller.tenant();
    let (found, total) =
        store::page(&call.app.db, tenant_id, &WEBHOOK, Some(&board.id), part).await?;
    let mut items = Vec::with_capacity(found.len());
    for webhook in &found {
        items.push(webhooks::shown(call.app, webhook).await?);
    }
    Ok(page(items, total, part))
}

pub(super) async fn create_webhook(call: Call<'_>) -> Result<Plan> {
    access::need_person(call.caller)?;
    let board = access::write(call.app, call.caller, &id(call, "board_id")?).await?;
    webhooks::create(call.app, call.caller, &board, call.body).await
}

pub(super) async fn get_webhook(call: Call<'_>) -> Result<Data> {
    let (_, found) = webhook(call, false).await?;
    Ok(Data::One(Value::Object(
        webhooks::shown(call.app, &found).await?,
    )))
}

pub(super) async fn update_webhook(call: Call<'_>) -> Result<Plan> {
    let (board, found) = webhook(call, true).await?;
    webhooks::update(call.app, call.caller, &board, found, call.body).await
}

pub(super) async fn delete_webhook(call: Call<'_>) -> Result<Plan> {
    let (_, found) = webhook(call, true).await?;
    Ok(webhooks::delete(found))
}

pub(super) async fn list_payloads(call: Call<'_>) -> Result<Data> {
    let (_, found) = webhook(call, false).await?;
    let part = part(call)?;
    let (payloads, total) = webhooks::payloads(call.app, &found, part).await?;
    let items: Result<Vec<Body>> = payloads.iter().map(|p| p.json(None)).collect();
    Ok(page(items?, total, part))
}

pub(super) async fn get_payload(call: Call<'_>) -> Result<Data> {
    let (_, found) = webhook(call, false).await?;
    let payload = webhooks::payload(call.app, &found, &id(call, "payload_id")?).await?;
    let most = wire::number(call, "max_chars", 1, 1_000_000)?;
    let most = most.and_then(|n| usize::try_from(n).ok());
    Ok(Data::One(Value::Object(payload.json(most)?)))
}

pub(super) async fn agent_payload(call: Call<'_>) -> Result<Data> {
    access::need_agent(call.app, call.caller).await?;
    get_payload(call).await
}
