//! Agents of boards: settings, states, who may create and delete them. [`lifecycle`] provisions them at their gateways, with the files of [`files`].

pub mod files;
pub mod lifecycle;
mod states;

use super::roster;
use serde_json::{Map, Value, json};

pub use states::{seen, touch};

use super::access::{self, Actor, need_admin};
use super::{AGENT, GATEWAY, activity, json_of, store, tasks, unfit};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};
use crate::records::{Record, Request, execute};
use lifecycle::Provision;

/// Returns agents as clients see them, in the same order.
///
/// # Errors
/// Those of the database.
pub async fn shown(app: &App, agents: &[Record]) -> Result<Vec<Body>> {
    let now = app.clock.now();
    let mut shown = Vec::with_capacity(agents.len());
    for agent in agents {
        let mut body = json_of(&AGENT, agent)?;
        let state = states::get(&app.db, &agent.tenant_id, &agent.id).await?;
        let status = state
            .as_ref()
            .map_or("provisioning", |s| s.shown_status(now));
        body.insert("status".to_owned(), json!(status));
        if let Some(state) = state {
            let seen = state.last_seen_on.map(crate::clock::Time::rfc3339);
            body.insert("last_seen_at".to_owned(), json!(seen));
            body.insert("last_error".to_owned(), json!(state.last_error));
            let changed = state.updated_on.0.max(agent.updated_on.0);
            let changed = crate::clock::Time(changed).rfc3339();
            body.insert("updated_at".to_owned(), json!(changed));
        }
        shown.push(body);
    }
    Ok(shown)
}

/// Returns an agent as clients see it.
///
/// # Errors
/// `record_not_found`.
pub async fn one(app: &App, tenant_id: &str, id: &str) -> Result<Value> {
    let agent = store::get(app, tenant_id, &AGENT, id).await?;
    let shown = shown(app, std::slice::from_ref(&agent)).await?;
    first(shown)
}

fn first(shown: Vec<Body>) -> Result<Value> {
    let first = shown.into_iter().next();
    first
        .map(Value::Object)
        .ok_or_else(|| Error::internal("an agent that is not shown"))
}

/// Which agents a list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub board_id: Option<String>,
    pub gateway_id: Option<String>,
}

/// Returns the agents that a caller may see, newest first: those of boards that it may read, and for whom may read all the main ones.
///
/// # Errors
/// `scope_missing`, `board_access_denied`.
pub async fn visible(app: &App, caller: &Caller, filter: &Filter) -> Result<Vec<Record>> {
    let mut found = match &filter.board_id {
        Some(id) => {
            access::read(app, caller, id).await?;
            store::all(&app.db, caller.tenant(), &AGENT, Some(id)).await?
        }
        None => store::all(&app.db, caller.tenant(), &AGENT, None).await?,
    };
    found.retain(|agent| match &agent.parent_id {
        Some(board_id) => caller.boards().reads(board_id),
        None => caller.boards().reads_every(),
    });
    if let Some(gateway_id) = &filter.gateway_id {
        let mut of_gateway = Vec::new();
        for agent in found {
            if text(&agent.body()?, "gateway_id") == Some(gateway_id) {
                of_gateway.push(agent);
            }
        }
        found = of_gateway;
    }
    Ok(found)
}

/// Returns the session of an agent at its gateway.
fn session_key(agent_id: &str, board_id: Option<&str>, gateway_id: &str, is_lead: bool) -> String {
    match board_id {
        None => format!("agent:mc-gateway-{}:main", super::uuid_of(gateway_id)),
        Some(board_id) if is_lead => format!("agent:lead-{}:main", super::uuid_of(board_id)),
        Some(_) => format!("agent:mc-{}:main", super::uuid_of(agent_id)),
    }
}

/// Fields of a new agent.
#[derive(Debug, Clone, Default)]
pub(super) struct NewAgent {
    /// `None` for the main agent of the gateway.
    pub board_id: Option<String>,
    pub gateway_id: String,
    pub is_lead: bool,
    /// `name`, `heartbeat_config`, `identity_profile`, `identity_template`, `soul_template`.
    pub fields: Body,
}

/// Adds a new agent and its provisioning to a plan. Returns its record.
pub(super) fn add(app: &App, caller: &Caller, new: NewAgent, plan: &mut Plan) -> Result<Record> {
    let mut body = Body::new();
    for name in [
        "name",
        "heartbeat_config",
        "identity_profile",
        "identity_template",
        "soul_template",
    ] {
        if let Some(value) = new.fields.get(name).filter(|v| !v.is_null()) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    body.insert("gateway_id".to_owned(), json!(new.gateway_id));
    body.insert("is_board_lead".to_owned(), json!(new.is_lead));
    body.insert("is_gateway_main".to_owned(), json!(new.board_id.is_none()));
    let draft = New {
        parent_id: new.board_id.clone(),
        ..New::from(&body)
    };
    let mut record = write::draft(app, caller, &AGENT, draft)?;
    let key = session_key(
        &record.id,
        new.board_id.as_deref(),
        &new.gateway_id,
        new.is_lead,
    );
    body.insert("openclaw_session_id".to_owned(), json!(key));
    record.body = Value::Object(body.clone()).to_string();
    let agent = lifecycle::auth_agent(app, &record, &body)?;
    plan.after.push(Box::new(Provision {
        tenant_id: caller.tenant().to_owned(),
        agent,
        part_id: new.board_id,
        update: false,
        reset: false,
        wake: true,
        rotate: true,
        overwrite: true,
    }));
    plan.create_silently(&AGENT, record.clone());
    Ok(record)
}

/// Returns a plan that creates an agent on a board, by an administrator or the lead of the board.
///
/// # Errors
/// `admin_required`, `lead_required`, `board_missing`, `record_not_found`, `agent_limit`, `gateway_missing`, `key_taken` for a name in use.
pub async fn create(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    let lead = match access::agent(app, caller).await? {
        Some(_) => Some(access::need_lead(app, caller).await?),
        None => {
            need_admin(caller)?;
            None
        }
    };
    let board_id = match &lead {
        Some(lead) => lead.board_id.clone(),
        None => text(body, "board_id").map(str::to_owned),
    };
    let board_id = board_id.ok_or_else(|| unfit("board_missing", "board_id is required"))?;
    let board = access::write(app, caller, &board_id).await?;
    let fields = board.body()?;
    if lead.is_some() {
        let most = fields
            .get("max_agents")
            .and_then(Value::as_i64)
            .unwrap_or(1);
        let workers = roster::of_board(app, caller.tenant(), &board_id).await?;
        let workers = workers.iter().filter(|a| !a.is_lead).count();
        if i64::try_from(workers).unwrap_or(i64::MAX) >= most {
            return Err(Error::conflict(
                "agent_limit",
                format!("Board worker-agent limit reached: max_agents is {most}."),
            ));
        }
    }
    let gateway_id = text(&fields, "gateway_id").unwrap_or_default().to_owned();
    let gateway = store::one(app, caller.tenant(), &GATEWAY, &gateway_id).await?;
    let gateway =
        gateway.ok_or_else(|| unfit("gateway_missing", "Board gateway_id is required"))?;
    if super::filled(&gateway.body()?, "workspace_root").is_none() {
        return Err(unfit(
            "gateway_missing",
            "Gateway workspace_root is required",
        ));
    }
    let mut plan = Plan::default();
    plan.relies_on.push(board);
    let new = NewAgent {
        board_id: Some(board_id),
        gateway_id,
        is_lead: false,
        fields: body.clone(),
    };
    let record = add(app, caller, new, &mut plan)?;
    let shown = shown(app, std::slice::from_ref(&record)).await?;
    Ok(plan.data(200, first(shown)?))
}

/// Fields that an administrator may change.
const CHANGED: [&str; 5] = [
    "name",
    "heartbeat_config",
    "identity_profile",
    "identity_template",
    "soul_template",
];

/// Returns a plan that changes an agent and provisions it again; without a change and `force` it stays as it is.
///
/// # Errors
/// `admin_required`, `status_fixed`, `record_not_found`, `board_missing`, `key_taken`.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    patch: &Body,
    force: bool,
) -> Result<Plan> {
    need_admin(caller)?;
    let before = store::get(app, caller.tenant(), &AGENT, id).await?;
    if patch.get("status").is_some_and(|s| !s.is_null()) {
        return Err(Error::forbidden(
            "status_fixed",
            "Agent status cannot be set by hand.",
        ));
    }
    let old = before.body()?;
    let mut body = old.clone();
    for name in CHANGED {
        match patch.get(name) {
            Some(Value::Null) if name == "name" => {}
            Some(Value::Null) => {
                body.shift_remove(name);
            }
            Some(value) => {
                body.insert(name.to_owned(), value.clone());
            }
            None => {}
        }
    }
    let mut after = before.clone();
    if let Some(is_main) = patch.get("is_gateway_main").and_then(Value::as_bool) {
        body.insert("is_gateway_main".to_owned(), json!(is_main));
        if is_main {
            after.parent_id = None;
            body.insert("is_board_lead".to_owned(), json!(false));
        }
    }
    if let Some(board_id) = text(patch, "board_id") {
        let board = access::write(app, caller, board_id).await?;
        let gateway_id = text(&board.body()?, "gateway_id").map(str::to_owned);
        body.insert("gateway_id".to_owned(), json!(gateway_id));
        body.insert("is_gateway_main".to_owned(), json!(false));
        after.parent_id = Some(board.id);
    }
    if after.parent_id.is_none() && !super::flag(&body, "is_gateway_main") {
        return Err(unfit(
            "board_missing",
            "board_id is required for non-main agents",
        ));
    }
    let gateway_id = text(&body, "gateway_id").unwrap_or_default().to_owned();
    let key = session_key(
        &before.id,
        after.parent_id.as_deref(),
        &gateway_id,
        super::flag(&body, "is_board_lead"),
    );
    body.insert("openclaw_session_id".to_owned(), json!(key));
    let mut plan = Plan::default();
    if body == old && after.parent_id == before.parent_id && !force {
        let shown = shown(app, std::slice::from_ref(&before)).await?;
        return Ok(plan.data(200, first(shown)?));
    }
    after.title = write::title(&AGENT, &body);
    after.body = Value::Object(body.clone()).to_string();
    plan.after.push(Box::new(Provision {
        tenant_id: caller.tenant().to_owned(),
        agent: lifecycle::auth_agent(app, &after, &body)?,
        part_id: after.parent_id.clone(),
        update: true,
        reset: true,
        wake: true,
        rotate: true,
        overwrite: false,
    }));
    let shown = shown(app, std::slice::from_ref(&after)).await?;
    plan.update_silently(&AGENT, before, after, app.clock.now());
    Ok(plan.data(200, first(shown)?))
}

/// Returns a plan that deletes an agent: its token is revoked and its tasks are released at once, and it is removed from its gateway by a job. An unknown agent is
/// deleted already.
///
/// # Errors
/// `admin_required`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let Some(agent) = store::one(app, caller.tenant(), &AGENT, id).await? else {
        return Ok(Plan::default().data(200, json!({"ok": true})));
    };
    let mut plan = Plan::default();
    retire(app, Actor::of(agent)?, &mut plan).await?;
    Ok(plan.data(200, json!({"ok": true})))
}

/// Adds the deletion of an agent to a plan.
pub(super) async fn retire(app: &App, agent: Actor, plan: &mut Plan) -> Result<()> {
    tasks::release(app, &agent, plan).await?;
    plan.after.push(Box::new(lifecycle::Retire {
        tenant_id: agent.record.tenant_id.clone(),
        agent_id: agent.id.clone(),
        part_id: agent.board_id.clone(),
    }));
    let changes = Body::new();
    plan.notes.push((&AGENT, agent.id, "retire", changes));
    Ok(())
}

/// Returns a plan by which a lead deletes a worker of its board.
///
/// # Errors
/// `lead_required`, `agent_protected` for leads and main agents.
pub async fn delete_by_lead(
    app: &App,
    caller: &Caller,
    board_id: &str,
    agent_id: &str,
) -> Result<Plan> {
    access::need_lead(app, caller).await?;
    access::write(app, caller, board_id).await?;
    let Some(record) = store::one(app, caller.tenant(), &AGENT, agent_id).await? else {
        return Ok(Plan::default().data(200, json!({"ok": true})));
    };
    let agent = Actor::of(record)?;
    if agent.is_main() || agent.is_lead || agent.board_id.as_deref() != Some(board_id) {
        return Err(Error::forbidden(
            "agent_protected",
            "Board leads can delete workers of their own board only.",
        ));
    }
    let mut plan = Plan::default();
    retire(app, agent, &mut plan).await?;
    Ok(plan.data(200, json!({"ok": true})))
}

/// Records a sign of life of an agent, with a status in its own words, and returns the agent as clients see it.
///
/// # Errors
/// `record_not_found`.
pub async fn heartbeat(
    app: &App,
    tenant_id: &str,
    agent_id: &str,
    status: Option<&str>,
) -> Result<Value> {
    let agent = store::get(app, tenant_id, &AGENT, agent_id).await?;
    states::beat(app, &agent, status).await?;
    one(app, tenant_id, agent_id).await
}

/// Stores the soul that a lead gives an agent.
///
/// # Errors
/// Those of the database.
pub async fn set_soul(
    app: &App,
    caller: &Caller,
    agent: &Actor,
    content: &str,
    reason: Option<&str>,
) -> Result<()> {
    let request = Request {
        caller,
        operation: "setAgentSoul",
        request_id: String::new(),
        once: None,
    };
    execute(app, &request, || async {
        let before = store::get(app, caller.tenant(), &AGENT, &agent.id).await?;
        let mut body = before.body()?;
        body.insert("soul_template".to_owned(), json!(content));
        let mut after = before.clone();
        after.body = Value::Object(body).to_string();
        let mut plan = Plan::default();
        plan.update_silently(&AGENT, before, after, app.clock.now());
        let reason = reason.map(|r| format!(" Reason: {r}")).unwrap_or_default();
        let said = format!("The soul of {} was changed.{reason}", agent.name);
        let entries = vec![roster::entry("agent.soul.updated", agent, said)];
        plan.after.push(activity::record(caller.tenant(), entries));
        Ok(plan.data(200, Value::Null))
    })
    .await?;
    Ok(())
}

/// Returns a plan that makes the lead of a board that has none, on behalf of the main agent of its gateway.
///
/// # Errors
/// Those of the database.
pub async fn make_lead(
    app: &App,
    caller: &Caller,
    board: &Record,
    gateway_id: &str,
) -> Result<Plan> {
    let mut plan = Plan::default();
    plan.relies_on.push(board.clone());
    let new = lead(board, gateway_id.to_owned(), &Body::new());
    let record = add(app, caller, new, &mut plan)?;
    let shown = shown(app, std::slice::from_ref(&record)).await?;
    Ok(plan.data(200, first(shown)?))
}

/// The lead of a board, from what the main agent proposed.
pub(super) fn lead(board: &Record, gateway_id: String, draft: &Body) -> NewAgent {
    let mut profile = match draft.get("identity_profile") {
        Some(Value::Object(profile)) => profile.clone(),
        _ => Map::new(),
    };
    profile.entry("role").or_insert_with(|| json!("Board Lead"));
    profile
        .entry("communication_style")
        .or_insert_with(|| json!("direct, concise, practical"));
    profile.entry("emoji").or_insert_with(|| json!("⚙"));
    for name in [
        "autonomy_level",
        "verbosity",
        "output_format",
        "update_cadence",
        "custom_instructions",
    ] {
        if let Some(value) = super::filled(draft, name) {
            profile.insert(name.to_owned(), json!(value));
        }
    }
    let mut fields = Body::new();
    let name = super::filled(draft, "name").map_or_else(|| "Lead Agent".to_owned(), str::to_owned);
    // The name is unique at the gateway.
    let name = if name == "Lead Agent" {
        format!("Lead Agent {}", board.title)
    } else {
        name
    };
    fields.insert("name".to_owned(), json!(name));
    fields.insert("identity_profile".to_owned(), Value::Object(profile));
    NewAgent {
        board_id: Some(board.id.clone()),
        gateway_id,
        is_lead: true,
        fields,
    }
}
