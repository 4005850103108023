//! A gateway of agents: speaks the protocol as far as Cairn calls it, keeps agents, files, sessions and the configuration in memory, and remembers every call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// What the gateway knows.
#[derive(Debug, Default)]
pub struct State {
    /// Calls in order: method and parameters.
    pub calls: Vec<(String, Value)>,
    /// Name and workspace of each agent.
    pub agents: BTreeMap<String, Value>,
    /// Contents by agent and name.
    pub files: BTreeMap<(String, String), String>,
    pub sessions: BTreeMap<String, Value>,
    pub config: Value,
    /// Methods that are refused, with the message.
    pub refuses: BTreeMap<String, String>,
    /// Time before each answer.
    pub slow: Duration,
    /// Ends the connections when the gateway restarts.
    restarts: CancellationToken,
    /// Until when connections are refused because of a restart.
    down_until: Option<Instant>,
    revision: u64,
}

/// A running gateway. It ends when it is dropped.
pub struct Gateway {
    pub url: String,
    pub state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The token that the gateway accepts.
pub const TOKEN: &str = "gateway-token-of-at-least-32-characters";

impl Gateway {
    /// Starts a gateway that speaks one version of the protocol, 3 or 4.
    pub async fn start(protocol: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State {
            config: json!({}),
            ..State::default()
        }));
        let stop = CancellationToken::new();
        let (known, until) = (Arc::clone(&state), stop.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = until.cancelled() => break,
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.expect("a connection");
                        let (known, until) = (Arc::clone(&known), until.clone());
                        let restarts = {
                            let state = known.lock().expect("not poisoned");
                            if state.down_until.is_some_and(|until| Instant::now() < until) {
                                continue;
                            }
                            state.restarts.clone()
                        };
                        tokio::spawn(async move {
                            tokio::select! {
                                () = until.cancelled() => {}
                                () = restarts.cancelled() => {}
                                () = serve(stream, protocol, known) => {}
                            }
                        });
                    }
                }
            }
        });
        Self { url, state, stop }
    }

    /// All messages that contain a text.
    pub fn said(&self, text: &str) -> usize {
        let state = self.state.lock().expect("not poisoned");
        let sent = state.calls.iter().filter(|(m, _)| m == "chat.send");
        sent.filter(|(_, p)| p["message"].as_str().is_some_and(|m| m.contains(text)))
            .count()
    }

    /// A file of an agent.
    pub fn file(&self, agent: &str, name: &str) -> Option<String> {
        let state = self.state.lock().expect("not poisoned");
        state
            .files
            .get(&(agent.to_owned(), name.to_owned()))
            .cloned()
    }

    /// Ids of the agents.
    pub fn agents(&self) -> Vec<String> {
        self.state
            .lock()
            .expect("not poisoned")
            .agents
            .keys()
            .cloned()
            .collect()
    }

    /// Refuses a method from now on, or no longer.
    pub fn refuse(&self, method: &str, message: Option<&str>) {
        let mut state = self.state.lock().expect("not poisoned");
        match message {
            Some(message) => state.refuses.insert(method.to_owned(), message.to_owned()),
            None => state.refuses.remove(method),
        };
    }
}

/// Delay of a restart.
const DELAY: Duration = Duration::from_millis(100);
/// Time during which a gateway that restarts refuses connections.
const DOWN: Duration = Duration::from_millis(1_200);

/// Restarts the gateway, as those of the older protocol do for a new configuration: connections end, and new ones are refused for a while.
async fn restart(state: Arc<Mutex<State>>, delay: Duration) {
    tokio::time::sleep(delay).await;
    let mut state = state.lock().expect("not poisoned");
    state.down_until = Some(Instant::now() + DOWN);
    std::mem::take(&mut state.restarts).cancel();
}

async fn serve(stream: TcpStream, protocol: i64, state: Arc<Mutex<State>>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let challenge = json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n-1", "ts": 1_700_000_000_000_i64}});
    if socket
        .send(Message::text(challenge.to_string()))
        .await
        .is_err()
    {
        return;
    }
    while let Some(Ok(frame)) = socket.next().await {
        let Message::Text(text) = frame else { continue };
        let frame: Value = serde_json::from_str(&text).expect("a frame");
        let method = frame["method"].as_str().expect("a method").to_owned();
        let slow = state.lock().expect("not poisoned").slow;
        tokio::time::sleep(slow).await;
        let mut loses_answer = false;
        let answer = if method == "connect" {
            connect(&frame["params"], protocol)
        } else {
            let shared = Arc::clone(&state);
            let mut state = state.lock().expect("not poisoned");
            state.calls.push((method.clone(), frame["params"].clone()));
            let answer = match state.refuses.get(&method) {
                Some(message) => Err(json!({"code": "INVALID_REQUEST", "message": message})),
                None => answer(&mut state, &method, &frame["params"], protocol),
            };
            if method == "config.patch" && protocol == 3 && answer.is_ok() {
                // Every second answer is lost in the restart.
                loses_answer = state.revision.is_multiple_of(2);
                let delay = if loses_answer { Duration::ZERO } else { DELAY };
                tokio::spawn(restart(shared, delay));
            }
            answer
        };
        if loses_answer {
            return;
        }
        let is_refused = method == "connect" && answer.is_err();
        let frame = match answer {
            Ok(payload) => {
                json!({"type": "res", "id": frame["id"], "ok": true, "payload": payload})
            }
            Err(error) => json!({"type": "res", "id": frame["id"], "ok": false, "error": error}),
        };
        if socket.send(Message::text(frame.to_string())).await.is_err() || is_refused {
            return;
        }
    }
}

fn connect(params: &Value, protocol: i64) -> Result<Value, Value> {
    let range = params["minProtocol"].as_i64()..=params["maxProtocol"].as_i64();
    if !range.contains(&Some(protocol)) {
        return Err(
            json!({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {"code": "PROTOCOL_MISMATCH"}}),
        );
    }
    if params["auth"]["token"] != TOKEN {
        return Err(
            json!({"code": "INVALID_REQUEST", "message": "unauthorized: gateway token mismatch", "details": {"code": "AUTH_TOKEN_MISMATCH"}}),
        );
    }
    if params["device"]["nonce"] != "n-1"
        || params["device"]["signature"]
            .as_str()
            .is_none_or(str::is_empty)
    {
        return Err(
            json!({"code": "NOT_PAIRED", "message": "device identity required", "details": {"code": "DEVICE_IDENTITY_REQUIRED"}}),
        );
    }
    let version = if protocol == 4 {
        "2026.9.6"
    } else {
        "2026.4.2"
    };
    Ok(json!({
        "protocol": protocol,
        "server": {"version": version, "connId": "c"},
        "features": {"methods": ["health", "agents.create"], "events": ["tick"]},
        "policy": {"maxPayload": 1 << 20, "tickIntervalMs": 30_000},
    }))
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn answer(state: &mut State, method: &str, params: &Value, protocol: i64) -> Result<Value, Value> {
    let refused = |message: String| Err(json!({"code": "INVALID_REQUEST", "message": message}));
    let id = params["agentId"].as_str().unwrap_or_default().to_owned();
    let supported = |name: &str| {
        let old = ["TOOLS.md", "HEARTBEAT.md"];
        let both = [
            "AGENTS.md",
            "SOUL.md",
            "IDENTITY.md",
            "USER.md",
            "MEMORY.md",
            "BOOTSTRAP.md",
        ];
        both.contains(&name) || (protocol == 3 && old.contains(&name))
    };
    match method {
        "health" => Ok(json!({"ok": true})),
        "config.get" => Ok(json!({"config": state.config, "hash": state.revision.to_string()})),
        "config.patch" => {
            if params["baseHash"].as_str() != Some(state.revision.to_string().as_str()) {
                return refused(
                    "config changed since last load; re-run config.get and retry".to_owned(),
                );
            }
            let patch: Value =
                serde_json::from_str(params["raw"].as_str().expect("a text")).expect("JSON");
            if protocol == 4 && (!patch["agents"]["list"].is_null() || !patch["channels"].is_null())
            {
                return refused("invalid config: Unrecognized key".to_owned());
            }
            merge(&mut state.config, &patch);
            state.revision += 1;
            if protocol == 3 {
                let restart = json!({"signal": "SIGUSR1", "delayMs": DELAY.as_millis(), "cooldownMsApplied": 0});
                return Ok(json!({"ok": true, "restart": restart}));
            }
            Ok(json!({"ok": true}))
        }
        "agents.list" => Ok(
            json!({"agents": state.agents.keys().map(|id| json!({"id": id})).collect::<Vec<_>>()}),
        ),
        "agents.create" => {
            let id = params["name"].as_str().expect("a name").to_owned();
            if state.agents.contains_key(&id) {
                return refused(format!("agent \"{id}\" already exists"));
            }
            state.agents.insert(id.clone(), params.clone());
            state
                .files
                .insert((id.clone(), "AGENTS.md".to_owned()), "default".to_owned());
            Ok(json!({"ok": true, "agentId": id}))
        }
        "agents.update" => {
            if !state.agents.contains_key(&id) {
                return refused(format!("agent \"{id}\" not found"));
            }
            state.agents.insert(id.clone(), params.clone());
            Ok(json!({"ok": true, "agentId": id}))
        }
        "agents.delete" => {
            if state.agents.remove(&id).is_none() {
                return refused(format!("agent \"{id}\" not found"));
            }
            state.files.retain(|(agent, _), _| *agent != id);
            Ok(json!({"ok": true, "agentId": id}))
        }
        "agents.files.list" => {
            let names = state.files.keys().filter(|(agent, _)| *agent == id);
            let files: Vec<Value> = names
                .map(|(_, name)| json!({"name": name, "missing": false}))
                .collect();
            Ok(json!({"agentId": id, "files": files}))
        }
        "agents.files.get" => {
            let name = params["name"].as_str().expect("a name").to_owned();
            let content = state.files.get(&(id.clone(), name.clone()));
            Ok(
                json!({"agentId": id, "file": {"name": name, "content": content, "missing": content.is_none()}}),
            )
        }
        "agents.files.set" => {
            let name = params["name"].as_str().expect("a name").to_owned();
            if !supported(&name) {
                return refused(format!("unsupported file \"{name}\""));
            }
            state.files.insert(
                (id, name),
                params["content"].as_str().expect("a text").to_owned(),
            );
            Ok(json!({"ok": true}))
        }
        "sessions.list" => {
            let sessions: Vec<Value> = state.sessions.values().cloned().collect();
            Ok(json!({"count": sessions.len(), "sessions": sessions}))
        }
        "sessions.patch" | "sessions.reset" => {
            let key = params["key"].as_str().expect("a key").to_owned();
            let mut entry = Map::new();
            entry.insert("key".to_owned(), json!(key));
            entry.insert("label".to_owned(), params["label"].clone());
            state
                .sessions
                .insert(key.clone(), Value::Object(entry.clone()));
            Ok(json!({"ok": true, "key": key, "entry": entry}))
        }
        "sessions.delete" => {
            let key = params["key"].as_str().expect("a key").to_owned();
            if protocol == 4 && key.ends_with(":main") {
                return refused(format!("Cannot delete the main session {key}"));
            }
            Ok(json!({"ok": true, "key": key, "deleted": state.sessions.remove(&key).is_some()}))
        }
        "chat.send" => Ok(json!({"runId": params["idempotencyKey"], "status": "started"})),
        "chat.history" => {
            let key = params["sessionKey"].as_str().expect("a key");
            let sent = state
                .calls
                .iter()
                .filter(|(m, p)| m == "chat.send" && p["sessionKey"] == key);
            let messages: Vec<Value> = sent
                .map(|(_, p)| json!({"role": "user", "content": p["message"]}))
                .collect();
            Ok(json!({"sessionKey": key, "messages": messages}))
        }
        other => refused(format!("unknown method: {other}")),
    }
}
