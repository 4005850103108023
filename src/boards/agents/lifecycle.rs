//! The life of an agent at its gateway, as durable jobs: provisioning, waking, checking for a sign of life, removal. Every job can run again after its worker was
//! killed: the names at the gateway follow from ids, so that nothing is made twice, and a job of an earlier generation does nothing.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::access::Actor;
use super::super::roster::{board_of, entry};
use super::super::{AGENT, activity, calls, flag, roster, store};
use super::files;
use super::states::{self, State};
use crate::app::App;
use crate::auth::Caller;
use crate::auth::agents::{self, BoardAgent};
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::jobs::{self, EnqueueOptions, Task};
use crate::openclaw::{REFUSED, UNREACHABLE};
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::records::secrets::{self, Keep};
use crate::records::{Record, Request, execute};

/// Name of the token among the secrets of an agent.
const TOKEN: &str = "token";
/// Times that an agent is woken before it counts as offline.
const WAKES: i64 = 3;
/// A gateway that made an agent reads its configuration again.
const SETTLE: Duration = Duration::from_millis(750);
/// Time for the removal of an agent, which takes a gateway some seconds.
const REMOVAL: Duration = Duration::from_secs(60);
/// Attempts of a job.
const ATTEMPTS: i64 = 4;
/// How long a request waits for the provisioning that it causes.
const WAIT: Duration = Duration::from_secs(25);

/// Begins the provisioning of an agent in the transaction of a plan.
#[derive(Debug)]
pub(in crate::boards) struct Provision {
    pub tenant_id: String,
    pub agent: BoardAgent,
    /// The board whose streams are told.
    pub part_id: Option<String>,
    pub update: bool,
    pub reset: bool,
    pub wake: bool,
    pub rotate: bool,
    pub overwrite: bool,
}

#[async_trait]
impl Effect for Provision {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (tenant_id, id, now) = (&self.tenant_id, &self.agent.id, app.clock.now());
        agents::put_in(tx, &app.clock, tenant_id, &self.agent).await?;
        let status = if self.update {
            "updating"
        } else {
            "provisioning"
        };
        tx.execute(
            "INSERT INTO agent_states (agent_id, tenant_id, status, generation, wake_attempts, updated_on) VALUES ($1, $2, $3, 1, $4, $5)
             ON CONFLICT (agent_id) DO UPDATE SET status = excluded.status, generation = agent_states.generation + 1, wake_attempts = agent_states.wake_attempts + $4,
             last_error = NULL, updated_on = excluded.updated_on",
            args![id, tenant_id, status, i64::from(self.wake), now],
        )
        .await?;
        let found: Option<(i64,)> = tx
            .optional(
                "SELECT generation FROM agent_states WHERE agent_id = $1 AND tenant_id = $2",
                args![id, tenant_id],
            )
            .await?;
        let task = Task::ProvisionAgent {
            agent_id: id.clone(),
            generation: found.map_or(1, |(generation,)| generation),
            update: self.update,
            reset: self.reset,
            wake: self.wake,
            rotate: self.rotate,
            overwrite: self.overwrite,
        };
        enqueue(app, tx, tenant_id, &task, None).await?;
        let part = self.part_id.as_deref().unwrap_or_default();
        activity::tell(app, tx, tenant_id, part, "agent", id, None).await?;
        Ok(None)
    }
}

async fn enqueue(
    app: &App,
    tx: &mut Tx,
    tenant_id: &str,
    task: &Task,
    after: Option<Duration>,
) -> Result<()> {
    let options = EnqueueOptions {
        group: "",
        dedupe_key: None,
        max_attempts: ATTEMPTS,
        run_at: after.map(|wait| app.clock.now().plus(wait)),
        small: false,
    };
    jobs::enqueue(tx, &app.clock, tenant_id, task, options).await?;
    Ok(())
}

/// Begins the removal of an agent: from now on nobody can act as it.
#[derive(Debug)]
pub(in crate::boards) struct Retire {
    pub tenant_id: String,
    pub agent_id: String,
    pub part_id: Option<String>,
}

#[async_trait]
impl Effect for Retire {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (tenant_id, id, now) = (&self.tenant_id, &self.agent_id, app.clock.now());
        agents::remove_in(tx, &app.clock, tenant_id, id, None).await?;
        tx.execute(
            "UPDATE agent_states SET status = 'deleting', generation = generation + 1, last_error = NULL, updated_on = $1 WHERE agent_id = $2 AND tenant_id = $3",
            args![now, id, tenant_id],
        )
        .await?;
        let found: Option<(i64,)> = tx
            .optional(
                "SELECT generation FROM agent_states WHERE agent_id = $1 AND tenant_id = $2",
                args![id, tenant_id],
            )
            .await?;
        let task = Task::RemoveAgent {
            agent_id: id.clone(),
            generation: found.map_or(0, |(generation,)| generation),
        };
        enqueue(app, tx, tenant_id, &task, None).await?;
        let part = self.part_id.as_deref().unwrap_or_default();
        activity::tell(app, tx, tenant_id, part, "agent", id, None).await?;
        Ok(None)
    }
}

/// Waits until the provisioning or the removal of an agent has ended for the first time, at most 25 seconds; it goes on afterwards.
///
/// # Errors
/// `gateway_failed` when it ended with an error; the queue tries it again.
pub async fn settled(app: &App, tenant_id: &str, agent_id: &str, what: &str) -> Result<()> {
    let mut commits = app.commits.subscribe();
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        commits.mark_unchanged();
        let Some(state) = states::get(&app.db, tenant_id, agent_id).await? else {
            return Ok(());
        };
        if state.settled >= state.generation {
            return match state.last_error {
                Some(reason) => Err(Error::upstream(
                    "gateway_failed",
                    format!("Gateway {what} failed: {reason}"),
                )),
                None => Ok(()),
            };
        }
        tokio::select! {
            _ = commits.changed() => {}
            // Another process may run the job.
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = tokio::time::sleep_until(deadline) => return Ok(()),
        }
    }
}

/// Returns the agent of a job and its state, unless the job is of an earlier generation or the agent is gone.
async fn current(
    app: &App,
    tenant_id: &str,
    agent_id: &str,
    generation: i64,
) -> Result<Option<(Actor, State)>> {
    let record = store::one(app, tenant_id, &AGENT, agent_id).await?;
    let state = states::get(&app.db, tenant_id, agent_id).await?;
    match (record, state) {
        (Some(record), Some(state)) if state.generation == generation => {
            Ok(Some((Actor::of(record)?, state)))
        }
        _ => Ok(None),
    }
}

/// Runs a job of an agent.
///
/// # Errors
/// Those of the gateway, so that the job is tried again.
pub async fn run(app: &App, tenant_id: &str, task: &Task) -> Result<()> {
    // The queue gives other tasks to other functions.
    #[expect(clippy::wildcard_enum_match_arm, reason = "tasks of other areas")]
    match task {
        Task::ProvisionAgent {
            agent_id,
            generation,
            ..
        } => {
            let Some((agent, _)) = current(app, tenant_id, agent_id, *generation).await? else {
                return Ok(());
            };
            match provision(app, &agent, task).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    settle(app, &agent, *generation, Some(&error)).await?;
                    Err(error)
                }
            }
        }
        Task::CheckAgent {
            agent_id,
            generation,
        } => check(app, tenant_id, agent_id, *generation).await,
        Task::RemoveAgent {
            agent_id,
            generation,
        } => {
            let Some(record) = store::one(app, tenant_id, &AGENT, agent_id).await? else {
                return Ok(());
            };
            let agent = Actor::of(record)?;
            match remove(app, &agent).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    settle(app, &agent, *generation, Some(&error)).await?;
                    Err(error)
                }
            }
        }
        _ => Ok(()),
    }
}

/// Records how the provisioning or the removal of a generation has ended.
async fn settle(app: &App, agent: &Actor, generation: i64, error: Option<&Error>) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let status = if error.is_none() { "online" } else { "offline" };
    tx.execute(
        "UPDATE agent_states SET settled = $1, last_error = $2, updated_on = $3, status = CASE WHEN status = 'deleting' THEN status ELSE $4 END
         WHERE agent_id = $5 AND tenant_id = $6 AND generation = $1",
        args![
            generation,
            error.map(|e| e.public_message().to_owned()),
            app.clock.now(),
            status,
            &agent.id,
            &agent.record.tenant_id
        ],
    )
    .await?;
    let part = agent.board_id.as_deref().unwrap_or_default();
    activity::tell(
        app,
        &mut tx,
        &agent.record.tenant_id,
        part,
        "agent",
        &agent.id,
        None,
    )
    .await?;
    app.commit(tx).await
}

/// Records that a job will not run again.
///
/// # Errors
/// Those of the database.
pub async fn failed(app: &App, tenant_id: &str, task: &Task, reason: &str) -> Result<()> {
    let (agent_id, event) = if let Task::ProvisionAgent {
        agent_id, update, ..
    } = task
    {
        let failed = ["agent.provision.failed", "agent.update.failed"];
        (agent_id, failed[usize::from(*update)])
    } else if let Task::RemoveAgent { agent_id, .. } = task {
        (agent_id, "agent.delete.failed")
    } else {
        return Ok(());
    };
    let Some(record) = store::one(app, tenant_id, &AGENT, agent_id).await? else {
        return Ok(());
    };
    let agent = Actor::of(record)?;
    let message = format!("{}: {reason}", agent.name);
    activity::write(app, tenant_id, &entry(event, &agent, message)).await
}

/// Returns the token of an agent: a new one with `rotate`, or when there is none that can be read again.
async fn token(app: &App, agent: &Actor, rotate: bool) -> Result<String> {
    let tenant_id = agent.record.tenant_id.as_str();
    if !rotate && let Some(token) = secrets::get(app, tenant_id, &agent.id, TOKEN).await? {
        return Ok(token);
    }
    let mut tx = app.db.begin().await?;
    let token = agents::renew_in(&mut tx, &app.clock, tenant_id, &agent.id).await?;
    let keep = Keep::of(app, tenant_id, &agent.id, &[(TOKEN, &token)]).await?;
    keep.apply(app, &mut tx).await?;
    app.commit(tx).await?;
    Ok(token)
}

/// Creates an agent at its gateway or updates it there, writes its files, and wakes it.
async fn provision(app: &App, agent: &Actor, task: &Task) -> Result<()> {
    let Task::ProvisionAgent {
        generation,
        update,
        reset,
        wake,
        rotate,
        overwrite,
        ..
    } = task
    else {
        return Ok(());
    };
    let tenant_id = agent.record.tenant_id.as_str();
    let gateway = calls::of_agent(app, agent).await?;
    let connection = calls::connect(app, &gateway).await?;
    let is_new_protocol = connection.hello.protocol >= 4;
    let (id, key) = roster::at_gateway(agent)?;
    let root = text(&gateway.body()?, "workspace_root")
        .unwrap_or_default()
        .trim_end_matches('/')
        .to_owned();
    let workspace = if agent.is_main() {
        format!(
            "{root}/workspace-gateway-{}",
            super::super::uuid_of(&gateway.id)
        )
    } else {
        format!("{root}/workspace-{id}")
    };
    let call = async |method: &str, params: Value| calls::call(app, &gateway, method, params).await;

    let made = match call("agents.create", json!({"name": id, "workspace": workspace})).await {
        Ok(_) => true,
        Err(error) if says(&error, "already exists") => false,
        Err(error) => return Err(error),
    };
    if made {
        tokio::time::sleep(SETTLE).await;
    }
    let mut tries = 0;
    loop {
        let named = json!({"agentId": id, "name": agent.name, "workspace": workspace});
        match call("agents.update", named).await {
            Ok(_) => break,
            Err(error) if made && tries < 5 && says(&error, "not found") => {
                tries += 1;
                tokio::time::sleep(SETTLE).await;
            }
            Err(error) => return Err(error),
        }
    }
    let heartbeats = [(id.clone(), heartbeat_of(&agent.record.body()?))];
    calls::configure(app, &gateway, is_new_protocol, &heartbeats).await?;

    let token = token(app, agent, *rotate).await?;
    let board = board_of(app, agent).await?;
    let context = files::Context::of(app, agent, board.as_ref(), &token, &workspace).await?;
    let listed = call("agents.files.list", json!({"agentId": id})).await?;
    for (name, content) in files::render(&context, is_new_protocol)? {
        let exists = listed["files"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|f| f["name"] == name && f["missing"] != true);
        let is_agents_own = name == "MEMORY.md" || (name == "USER.md" && !agent.is_main());
        if exists && is_agents_own && *update && !overwrite {
            continue;
        }
        let set = json!({"agentId": id, "name": name, "content": content});
        match call("agents.files.set", set).await {
            Ok(_) => {}
            // A lead without its instructions cannot lead.
            Err(error) if says(&error, "unsupported file") && !agent.is_lead => {}
            Err(error) => return Err(error),
        }
    }
    if *reset {
        call("sessions.reset", json!({"key": key})).await?;
    }
    if *wake {
        let done = if *update { "updated" } else { "provisioned" };
        let text = format!(
            "Hello {}. Your workspace has been {done}. Read AGENTS.md and begin with the first steps that it lists.",
            agent.name
        );
        calls::send(app, agent, &text, true).await?;
    }
    let mut tx = app.db.begin().await?;
    let event = if *update {
        "agent.update.direct"
    } else {
        "agent.provision.direct"
    };
    let done = format!("{} is provisioned at {}.", agent.name, gateway.title);
    entry(event, agent, done)
        .write(app, &mut tx, tenant_id)
        .await?;
    if *wake {
        let woken = format!("{} was woken.", agent.name);
        entry("agent.wakeup.sent", agent, woken)
            .write(app, &mut tx, tenant_id)
            .await?;
        let check = Task::CheckAgent {
            agent_id: agent.id.clone(),
            generation: *generation,
        };
        let checkin = Duration::from_secs(app.config.agent_checkin_seconds);
        enqueue(app, &mut tx, tenant_id, &check, Some(checkin)).await?;
        tx.execute(
            "UPDATE agent_states SET woken_on = $1 WHERE agent_id = $2 AND tenant_id = $3",
            args![app.clock.now(), &agent.id, tenant_id],
        )
        .await?;
    }
    app.commit(tx).await?;
    settle(app, agent, *generation, None).await
}

/// Returns whether a gateway refused a call with these words.
fn says(error: &Error, words: &str) -> bool {
    error.code() == REFUSED && error.public_message().to_lowercase().contains(words)
}

/// Returns the heartbeat of an agent as it is configured, or the usual one.
pub(in crate::boards) fn heartbeat_of(body: &Body) -> Value {
    match body.get("heartbeat_config") {
        Some(Value::Object(config)) if !config.is_empty() => Value::Object(config.clone()),
        _ => json!({"every": "10m", "target": "last", "includeReasoning": false}),
    }
}

/// Looks after an agent that was woken: without a sign of life it is provisioned again, and after three times it counts as offline.
async fn check(app: &App, tenant_id: &str, agent_id: &str, generation: i64) -> Result<()> {
    let Some((agent, state)) = current(app, tenant_id, agent_id, generation).await? else {
        return Ok(());
    };
    let is_awake = state.last_seen_on > state.woken_on;
    if state.status == "deleting" || is_awake {
        return Ok(());
    }
    if state.wake_attempts >= WAKES {
        let error = Error::upstream(
            UNREACHABLE,
            "the agent gave no sign of life after it was woken three times",
        );
        return settle(app, &agent, generation, Some(&error)).await;
    }
    let again = Provision {
        tenant_id: tenant_id.to_owned(),
        agent: auth_agent(app, &agent.record, &agent.record.body()?)?,
        part_id: agent.board_id.clone(),
        update: true,
        reset: true,
        wake: true,
        rotate: true,
        overwrite: false,
    };
    let mut tx = app.db.begin().await?;
    again.apply(app, &mut tx).await?;
    app.commit(tx).await
}

/// Removes an agent from its gateway, and then from here.
async fn remove(app: &App, agent: &Actor) -> Result<()> {
    let tenant_id = agent.record.tenant_id.as_str();
    match calls::of_agent(app, agent).await {
        Ok(gateway) if !agent.is_main() => {
            let (id, key) = roster::at_gateway(agent)?;
            let gone = json!({"agentId": id, "deleteFiles": true});
            match calls::call_within(app, &gateway, "agents.delete", gone, REMOVAL).await {
                Ok(_) => {}
                Err(error) if says(&error, "not found") => {}
                Err(error) => return Err(error),
            }
            match calls::call(app, &gateway, "sessions.delete", json!({"key": key})).await {
                Ok(_) => {}
                // Newer gateways remove the main session of an agent together with it.
                Err(error)
                    if says(&error, "not found")
                        || says(&error, "cannot delete the main session") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(_) => {}
        Err(error) if error.code() == "record_not_found" => {}
        Err(error) => return Err(error),
    }
    let caller = Caller::local(tenant_id);
    let request = Request::internal(&caller, "removeAgent");
    execute(app, &request, || async {
        let mut plan = Plan::default();
        let deleted = entry(
            "agent.delete.direct",
            agent,
            format!("{} was deleted.", agent.name),
        );
        // The agent of the entry is gone.
        plan.after
            .push(activity::record(tenant_id, vec![deleted.by(None)]));
        plan.after.push(Box::new(Gone {
            agent: agent.record.clone(),
        }));
        plan.after.push(Keep::nothing(tenant_id, &agent.id));
        if let Some(record) = store::one(app, tenant_id, &AGENT, &agent.id).await? {
            plan.delete(&AGENT, record);
        }
        Ok(plan.data(200, Value::Null))
    })
    .await?;
    Ok(())
}

/// Removes what else there is of an agent.
#[derive(Debug)]
struct Gone {
    agent: Record,
}

#[async_trait]
impl Effect for Gone {
    async fn apply(&self, app: &App, tx: &mut Tx) -> Result<Option<Value>> {
        let (id, tenant_id) = (&self.agent.id, &self.agent.tenant_id);
        tx.execute(
            "DELETE FROM agent_states WHERE agent_id = $1 AND tenant_id = $2",
            args![id, tenant_id],
        )
        .await?;
        tx.execute(
            "UPDATE board_activity SET agent_id = NULL WHERE agent_id = $1 AND tenant_id = $2",
            args![id, tenant_id],
        )
        .await?;
        let part = self.agent.parent_id.as_deref().unwrap_or_default();
        activity::tell(app, tx, tenant_id, part, "agent", id, None).await?;
        Ok(None)
    }
}

/// Returns the rank of an agent as the role of its token.
fn role(body: &Body) -> &'static str {
    if flag(body, "is_gateway_main") {
        "main"
    } else if flag(body, "is_board_lead") {
        "lead"
    } else {
        "worker"
    }
}

/// Returns what authentication knows of an agent.
pub(in crate::boards) fn auth_agent(app: &App, record: &Record, body: &Body) -> Result<BoardAgent> {
    Ok(BoardAgent {
        id: record.id.clone(),
        name: record.title.clone(),
        role: role(body),
        scopes: crate::auth::scopes::read(std::slice::from_ref(&app.config.agent_scopes))?,
        board_id: record.parent_id.clone(),
    })
}
