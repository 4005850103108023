//! The team: people and agents, the org chart, the settings and checks of agents.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::wire::word;
use crate::agency::people::AGENT;
use crate::agency::roles::{self, LONGEST_RUN, MOST_TURNS, Settings, State};
use crate::agency::{MEMBER, access, skills};
use crate::answers::meter;
use crate::api::operation::{Call, Data};
use crate::api::request_id;
use crate::app::App;
use crate::auth::users::{self, NewUser, User, UserChange};
use crate::auth::{Caller, Role, Status, invites, tenants};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::{Request, audit};

/// Time for the check of a model.
const CHECK: Duration = Duration::from_secs(20);

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Owner | Role::Admin => "admin",
        Role::Member => "member",
        Role::Reviewer => "reviewer",
    }
}

fn read_role(body: &Body) -> Result<Role> {
    match text(body, "role") {
        Some("admin") => Ok(Role::Admin),
        Some("member") => Ok(Role::Member),
        Some("reviewer") => Ok(Role::Reviewer),
        _ => Err(Error::invalid("role_invalid", "role is not known")),
    }
}

fn person(user: &User) -> Value {
    let mut shown = json!({
        "id": user.id,
        "type": "human",
        "name": user.name,
        "role": role_word(user.role),
        "status": if user.is_active() { "active" } else { "inactive" },
        "createdOn": user.created_on.rfc3339(),
    });
    if let Some(email) = &user.email {
        shown["email"] = json!(email);
    }
    shown
}

fn agent(app: &App, settings: &Settings, state: &State, since: Time) -> Value {
    let mut shown = json!({
        "id": format!("{AGENT}{}", settings.role.name),
        "type": "agent",
        "name": settings.role.title,
        "role": settings.role.name,
        "status": "active",
        "runningCount": state.running,
        "createdOn": since.rfc3339(),
    });
    if let Some(listed) = settings.model(app) {
        shown["agentAdapter"] = json!(listed.adapter);
    }
    if let Some(last) = state.last_active_on {
        shown["lastActiveAt"] = json!(last.rfc3339());
    }
    shown
}

async fn members(app: &App, tenant_id: &str) -> Result<Vec<User>> {
    users::list(&app.db, &app.clock, &Caller::local(tenant_id)).await
}

pub(super) async fn list_team(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let kind = word(call, "filter.type", &["human", "agent"])?;
    let status = word(call, "filter.status", &["active", "inactive", "terminated"])?;
    let mut data = Vec::new();
    if kind.as_deref() != Some("agent") {
        data.extend(members(app, tenant_id).await?.iter().map(person));
    }
    if kind.as_deref() != Some("human") {
        let since = tenants::by_id(&app.db, tenant_id).await?.created_on;
        let agents = roles::all(app, tenant_id).await?;
        data.extend(agents.iter().map(|(s, state)| agent(app, s, state, since)));
    }
    let role = call.query("filter.role");
    data.retain(|one| {
        status.as_deref().is_none_or(|s| one["status"] == s)
            && role.is_none_or(|r| one["role"] == r)
    });
    Ok(Data::One(json!({"data": data})))
}

/// Writes an entry about a member into the audit.
async fn note(call: Call<'_>, id: &str, action: &str, changes: Map<String, Value>) -> Result<()> {
    let request = Request {
        caller: call.caller,
        operation: call.operation.id,
        request_id: request_id(),
        once: None,
    };
    let mut tx = call.app.db.begin().await?;
    audit::write(call.app, &mut tx, &request, (&MEMBER, id), action, changes).await?;
    call.app.commit(tx).await
}

pub(super) async fn invite_user(call: Call<'_>) -> Result<Data> {
    access::admin(call.caller)?;
    let (db, clock) = (&call.app.db, &call.app.clock);
    let new = NewUser {
        name: text(call.body, "name").unwrap_or_default().to_owned(),
        email: text(call.body, "email").map(str::to_owned),
        role: read_role(call.body)?,
    };
    let (invite, secret) = invites::create(db, clock, call.caller, &new).await?;
    let role = Map::from_iter([("role".to_owned(), json!([null, role_word(new.role)]))]);
    note(call, &invite.id, "invited", role).await?;
    Ok(Data::One(json!({
        "inviteId": invite.id,
        "inviteUrl": format!("{}/sandbox#enter={secret}", call.app.config.public_base()),
        "expiresAt": invite.expires_on.rfc3339(),
    })))
}

/// Changes the member that the request names.
async fn update(call: Call<'_>, change: UserChange) -> Result<User> {
    let (db, clock) = (&call.app.db, &call.app.clock);
    users::update(db, clock, call.caller, call.id(), change).await
}

pub(super) async fn update_role(call: Call<'_>) -> Result<Data> {
    access::admin(call.caller)?;
    let change = UserChange {
        role: Some(read_role(call.body)?),
        status: None,
    };
    let before = members(call.app, call.caller.tenant()).await?;
    let user = update(call, change).await?;
    let old = before
        .iter()
        .find(|u| u.id == user.id)
        .map(|u| role_word(u.role));
    let changes = Map::from_iter([("role".to_owned(), json!([old, role_word(user.role)]))]);
    note(call, &user.id, "update", changes).await?;
    Ok(Data::One(person(&user)))
}

pub(super) async fn remove_user(call: Call<'_>) -> Result<Data> {
    access::admin(call.caller)?;
    let change = UserChange {
        role: None,
        status: Some(Status::Inactive),
    };
    let user = update(call, change).await?;
    note(call, &user.id, "removed", Map::new()).await?;
    Ok(Data::One(Value::Null))
}

pub(super) async fn org_chart(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let mut people = members(app, tenant_id).await?;
    people.retain(User::is_active);
    let rank = |user: &User| match user.role {
        Role::Owner => 0,
        Role::Admin => 1,
        Role::Member => 2,
        Role::Reviewer => 3,
    };
    people.sort_by_key(|user| (rank(user), user.created_on));
    let head = people.first().map(|user| user.id.clone());
    let mut nodes = Vec::new();
    for user in &people {
        let mut node = json!({"id": user.id, "type": "human", "name": user.name, "role": role_word(user.role), "status": "active"});
        if let Some(head) = head.as_ref().filter(|head| **head != user.id) {
            node["reportsTo"] = json!(head);
        }
        nodes.push(node);
    }
    let planner = format!("{AGENT}{}", roles::PLANNER);
    for (settings, state) in roles::all(app, tenant_id).await? {
        let id = format!("{AGENT}{}", settings.role.name);
        let above = if id == planner {
            head.clone()
        } else {
            Some(planner.clone())
        };
        let mut node = json!({"id": id, "type": "agent", "name": settings.role.title, "role": settings.role.name, "status": state.status()});
        if let Some(above) = above {
            node["reportsTo"] = json!(above);
        }
        nodes.push(node);
    }
    let edges: Vec<Value> = nodes
        .iter()
        .filter(|node| node["reportsTo"].is_string())
        .map(|node| json!({"from": node["id"], "to": node["reportsTo"], "label": "reports to"}))
        .collect();
    Ok(Data::One(json!({"nodes": nodes, "edges": edges})))
}

/// Name of the model of an agent that has none.
const NO_MODEL: &str = "none";

fn config(app: &App, settings: &Settings, state: &State, skill_ids: &[String]) -> Value {
    let listed = settings.model(app);
    let mut shown = json!({
        "id": settings.id,
        "role": settings.role.name,
        "status": state.status(),
        "runningCount": state.running,
        "model": listed.map_or(NO_MODEL, |l| l.endpoint.model()),
        "adapterType": listed.map_or(NO_MODEL, |l| l.adapter),
        "toolNames": settings.tools,
        "skillIds": skill_ids,
        "concurrency": settings.concurrency,
        "isGlobalDefault": settings.is_default,
    });
    if let Some(limit) = roles::shown_limit(settings) {
        shown["maxCostUsdPerActivity"] = json!(limit);
    }
    if let (Some(error), Some(on)) = (&state.last_error, state.last_error_on) {
        shown["lastErrorMessage"] = json!(error);
        shown["lastErrorAt"] = json!(on.rfc3339());
    }
    shown
}

pub(super) async fn list_agents(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let skills = skills::ids_by_role(app, tenant_id).await?;
    let data: Vec<Value> = roles::all(app, tenant_id)
        .await?
        .iter()
        .map(|(settings, state)| {
            let own = skills
                .get(settings.role.name)
                .map_or(&[][..], Vec::as_slice);
            config(app, settings, state, own)
        })
        .collect();
    Ok(Data::One(json!({"data": data})))
}

async fn detail(call: Call<'_>) -> Result<Value> {
    let (app, tenant_id) = (call.app, call.caller.tenant());
    let role = roles::named(call.id())?;
    let settings = roles::settings(app, tenant_id, role).await?;
    let state = roles::states(app, tenant_id).await?.remove(role.name);
    let skills = skills::ids_by_role(app, tenant_id).await?;
    let own = skills.get(role.name).map_or(&[][..], Vec::as_slice);
    let mut shown = config(app, &settings, &state.unwrap_or_default(), own);
    shown["name"] = json!(role.title);
    let listed = settings.model(app);
    // The keys are settings of the server; whether they are set is all that is shown.
    let variable = match listed.map(|l| l.adapter) {
        Some("claude") => Some("CAIRN_AGENT_CLAUDE_KEY"),
        Some("openai") => Some("CAIRN_AGENT_OPENAI_KEY"),
        _ => None,
    };
    let mut env = Map::new();
    if let (Some(variable), Some(listed)) = (variable, listed) {
        let value = if listed.has_key {
            "••••••••"
        } else {
            ""
        };
        env.insert(variable.to_owned(), json!(value));
    }
    shown["adapterConfig"] = json!({
        "model": listed.map_or(NO_MODEL, |l| l.endpoint.model()),
        "promptTemplate": settings.prompt_template.as_deref().unwrap_or(role.prompt),
        "timeoutSec": settings.timeout_sec,
        "maxTurnsPerRun": settings.max_turns,
        "env": env,
    });
    Ok(shown)
}

pub(super) async fn get_agent(call: Call<'_>) -> Result<Data> {
    access::read(call.caller)?;
    detail(call).await.map(Data::One)
}

fn within(name: &str, value: Option<&Value>, least: i64, most: i64) -> Result<()> {
    match value.and_then(Value::as_i64) {
        Some(number) if !(least..=most).contains(&number) => Err(Error::invalid(
            "value_out_of_range",
            format!("{name} must be between {least} and {most}"),
        )),
        _ => Ok(()),
    }
}

pub(super) async fn update_agent(call: Call<'_>) -> Result<Plan> {
    within("concurrency", call.body.get("concurrency"), 1, 10)?;
    if let Some(Value::Object(adapter)) = call.body.get("adapterConfig") {
        let timeout = adapter.get("timeoutSec");
        within("adapterConfig.timeoutSec", timeout, 1, LONGEST_RUN)?;
        let turns = adapter.get("maxTurnsPerRun");
        within("adapterConfig.maxTurnsPerRun", turns, 1, MOST_TURNS)?;
    }
    roles::update(call.app, call.caller, call.id(), call.body).await
}

/// Returns changed settings.
pub(super) async fn agent_updated(call: Call<'_>) -> Result<Option<Value>> {
    detail(call).await.map(Some)
}

pub(super) async fn test_agent(call: Call<'_>) -> Result<Data> {
    access::write(call.caller)?;
    let role = roles::named(call.id())?;
    let settings = roles::settings(call.app, call.caller.tenant(), role).await?;
    let mut checks = Vec::new();
    let mut check = |name: &str, ok: bool, detail: String| {
        checks.push(json!({"name": name, "ok": ok, "detail": detail}));
        ok
    };
    let listed = settings.model(call.app);
    let is_configured = check(
        "model configured",
        listed.is_some(),
        match (&settings.model, listed) {
            (_, Some(listed)) => format!("{}/{}", listed.adapter, listed.endpoint.model()),
            (Some(gone), None) => format!("{gone} is no longer in agent_models"),
            (None, None) => "agent_models is empty".to_owned(),
        },
    );
    let mut reaches = false;
    if let Some(listed) = listed {
        let has_key = check(
            "API key set",
            listed.has_key,
            if listed.has_key {
                "set, or not needed".to_owned()
            } else {
                format!("agent_{}_key is empty", listed.adapter)
            },
        );
        let price = match listed.price {
            Some(price) => format!("{} / {} USD per million tokens", price.input, price.output),
            None => {
                "agent_models states no price: activities with a cost limit do not run".to_owned()
            }
        };
        check("price known", listed.price.is_some(), price);
        let asked = (
            "You are being tested.",
            "Answer with the word OK.".to_owned(),
        );
        let answer = meter::write(
            call.app,
            call.caller.tenant(),
            &listed.endpoint,
            asked,
            CHECK,
        );
        let (ok, detail) = match answer.await {
            Ok(_) => (true, "the model answered".to_owned()),
            Err(error) => (false, error.public_message().to_owned()),
        };
        reaches = check("model reachable", ok, detail) && has_key;
    }
    let ok = is_configured && reaches;
    let message = if ok {
        format!("{} is ready", role.title)
    } else {
        format!("{} cannot work yet; see the checks", role.title)
    };
    Ok(Data::One(
        json!({"ok": ok, "message": message, "checks": checks}),
    ))
}
