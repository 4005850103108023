//! The Mission Control dialect: every operation once with its answer checked against the document, and each rule of it by itself.

mod agents;
mod contract;
mod people;
mod rules;
mod streams;
mod web_ui;

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, TOKEN};
use crate::support::{Engine, Service, text};

/// Prefix of the dialect.
pub const BASE: &str = "/api/v1";

/// Calls an operation that succeeds with 200.
pub async fn call(service: &Service, method: Method, path: &str, body: Value) -> Value {
    call_as(service, &service.key, method, path, body).await
}

/// Calls an operation as somebody, which succeeds with 200.
pub async fn call_as(
    service: &Service,
    key: &str,
    method: Method,
    path: &str,
    body: Value,
) -> Value {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = service
        .call_as(key, method.clone(), &format!("{BASE}{path}"), body)
        .await;
    assert_eq!(status, StatusCode::OK, "{method} {path}: {answer}");
    answer
}

/// Calls an operation, and a writing one again with the same idempotency key: it is done once, audited, and answered twice.
async fn call_once(
    service: &Service,
    document: &Value,
    key: &str,
    method: Method,
    documented: &str,
    path: &str,
    body: Value,
) -> Value {
    let operation =
        &document["paths"][format!("{BASE}{documented}")][method.as_str().to_lowercase()];
    let parameters = operation["parameters"].as_array();
    if !parameters.is_some_and(|all| all.iter().any(|p| p["name"] == "Idempotency-Key")) {
        return call_as(service, key, method, path, body).await;
    }
    let once = format!("{method} {path}");
    let send = async || {
        let mut request = service
            .http
            .request(method.clone(), format!("{}{BASE}{path}", service.url))
            .bearer_auth(key)
            .header("idempotency-key", &once);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let is_replayed = response.headers().contains_key("idempotent-replayed");
        (
            response.status(),
            is_replayed,
            response.json::<Value>().await.expect("JSON"),
        )
    };
    let count = async || {
        let id = text(&operation["operationId"]);
        let (count,): (i64,) = service
            .app
            .db
            .one(
                "SELECT COUNT(*) FROM audit_events WHERE operation = $1",
                cairn::db::Args(vec![id.as_str().into()]),
            )
            .await
            .expect("a count");
        count
    };
    let before = count().await;
    let (status, is_replayed, answer) = send().await;
    assert!(
        status == StatusCode::OK && !is_replayed,
        "{once}: {status} {answer}"
    );
    let audited = count().await;
    assert!(audited > before, "{once} is not audited");
    // A deleted agent has no token with which it could ask again.
    let (status, is_replayed, again) = send().await;
    assert!(
        status == StatusCode::OK && is_replayed,
        "{once}: {status} {again}"
    );
    assert_eq!(again["id"], answer["id"], "{once}");
    assert_eq!(count().await, audited, "{once} is done twice");
    answer
}

pub async fn get(service: &Service, path: &str) -> Value {
    call(service, Method::GET, path, Value::Null).await
}

pub async fn post(service: &Service, path: &str, body: Value) -> Value {
    call(service, Method::POST, path, body).await
}

pub async fn patch(service: &Service, path: &str, body: Value) -> Value {
    call(service, Method::PATCH, path, body).await
}

/// Status and detail of an operation that is refused.
pub async fn refused(
    service: &Service,
    key: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = service
        .call_as(key, method, &format!("{BASE}{path}"), body)
        .await;
    assert!(!status.is_success(), "{path}: {status} {answer}");
    assert!(
        answer["request_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty()),
        "{path}: {answer}"
    );
    (status.as_u16(), answer["detail"].clone())
}

/// A service that may reach gateways of this machine.
pub async fn start(engine: Engine) -> Service {
    Service::start_with(engine, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
        config.souls = config.data_dir.join("souls").to_string_lossy().into_owned();
        config.skills_mirror = config.data_dir.join("mirror");
    })
    .await
}

/// Runs a body on both databases with a service that may reach gateways.
#[macro_export]
macro_rules! on_both_with_gateways {
    ($(async fn $name:ident($service:ident: Service) $body:block)*) => {$(
        mod $name {
            use super::*;
            async fn body($service: $crate::support::Service) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() { body($crate::mission_control::start($crate::support::Engine::Sqlite).await).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() { body($crate::mission_control::start($crate::support::Engine::Postgres).await).await }
        }
    )*};
}

/// A board with its gateway, its lead and a worker, and the tokens of the agents.
pub struct Team {
    pub gateway: Gateway,
    pub gateway_id: String,
    pub board: String,
    pub main: String,
    pub lead: String,
    pub lead_token: String,
    pub worker: String,
    pub worker_token: String,
    pub main_token: String,
}

/// The token that an agent found in its workspace.
pub fn token(gateway: &Gateway, agent: &str) -> String {
    let text = gateway
        .file(agent, "TOOLS.md")
        .or_else(|| gateway.file(agent, "AGENTS.md"));
    let text =
        text.unwrap_or_else(|| panic!("{agent} has no files; there are {:?}", gateway.agents()));
    let line = text.lines().find_map(|l| l.strip_prefix("AUTH_TOKEN="));
    line.expect("a token").to_owned()
}

/// Adds a gateway of a protocol version.
pub async fn gateway(service: &Service, protocol: i64) -> (Gateway, String) {
    let peer = Gateway::start(protocol).await;
    let made = post(
        service,
        "/gateways",
        json!({"name": "Home", "url": peer.url, "token": TOKEN, "workspace_root": "/w"}),
    )
    .await;
    (peer, text(&made["id"]))
}

/// Adds a board of a gateway.
pub async fn board(service: &Service, gateway_id: &str, more: Value) -> String {
    let mut body = json!({"name": "Harbour", "slug": "harbour", "description": "Boats and quays", "gateway_id": gateway_id,
        "require_approval_for_done": false, "max_agents": 3});
    body.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    text(&post(service, "/boards", body).await["id"])
}

/// The id of an agent at its gateway.
pub fn at_gateway(agent: &Value) -> String {
    let key = text(&agent["openclaw_session_id"]);
    key.split(':').nth(1).expect("an id").to_owned()
}

impl Team {
    /// Makes a team; the lead is made by an onboarding.
    pub async fn make(service: &Service, more: Value) -> Self {
        let (peer, gateway_id) = gateway(service, 4).await;
        let board = board(service, &gateway_id, more.clone()).await;
        let all = get(service, "/agents").await;
        let main = all["items"][0].clone();
        post(
            service,
            &format!("/boards/{board}/onboarding/start"),
            json!({}),
        )
        .await;
        let main_token = token(&peer, &at_gateway(&main));
        let result = json!({"status": "complete", "board_type": "general", "lead_agent": {"name": "Lea", "autonomy_level": "balanced"}});
        call_as(
            service,
            &main_token,
            Method::POST,
            &format!("/agent/boards/{board}/onboarding"),
            result,
        )
        .await;
        post(
            service,
            &format!("/boards/{board}/onboarding/confirm"),
            json!({"board_type": "general"}),
        )
        .await;
        patch(
            service,
            &format!("/boards/{board}"),
            json!({"require_approval_for_done": more["require_approval_for_done"] == true}),
        )
        .await;
        let worker = post(
            service,
            "/agents",
            json!({"board_id": board, "name": "Wim Worker"}),
        )
        .await;
        let agents = get(service, &format!("/agents?board_id={board}")).await;
        let lead = agents["items"]
            .as_array()
            .expect("agents")
            .iter()
            .find(|a| a["is_board_lead"] == true)
            .expect("a lead")
            .clone();
        Self {
            lead_token: token(&peer, &at_gateway(&lead)),
            worker_token: token(&peer, &at_gateway(&worker)),
            main_token,
            main: text(&main["id"]),
            lead: text(&lead["id"]),
            worker: text(&worker["id"]),
            gateway: peer,
            gateway_id,
            board,
        }
    }

    /// Adds a task.
    pub async fn task(&self, service: &Service, body: Value) -> String {
        text(&post(service, &format!("/boards/{}/tasks", self.board), body).await["id"])
    }

    /// Path of a task.
    pub fn path(&self, task: &str) -> String {
        format!("/boards/{}/tasks/{task}", self.board)
    }

    /// Path of a task for agents.
    pub fn agent_path(&self, task: &str) -> String {
        format!("/agent{}", self.path(task))
    }
}

on_both_with_gateways! {
    async fn every_operation_is_served_in_its_shape(service: Service) {
        let document = service.get("/openapi.json").await;
        let mut walked: BTreeSet<String> = BTreeSet::new();
        let mut faults: Vec<String> = Vec::new();
        macro_rules! step {
            ($key:expr, $method:ident $path:literal, $call:expr, $body:expr) => {{
                walked.insert(format!("{} {BASE}{}", stringify!($method), $path));
                let answer = call_once(&service, &document, $key, Method::$method, $path, &$call, $body).await;
                let schema = contract::answer(&document, stringify!($method), &format!("{BASE}{}", $path));
                contract::check(&document, &schema, &answer, $path, &mut faults);
                answer
            }};
        }
        let key = service.key.clone();
        let me = &*key;
        let none = || Value::Null;
        step!(me, POST "/auth/bootstrap", "/auth/bootstrap", none());
        let user = step!(me, GET "/users/me", "/users/me", none());
        step!(me, PATCH "/users/me", "/users/me", json!({"name": "Ada", "timezone": "Europe/Berlin"}));
        let organization = step!(me, GET "/organizations/me", "/organizations/me", none());
        step!(me, GET "/organizations/me/list", "/organizations/me/list", none());
        step!(me, GET "/organizations/me/member", "/organizations/me/member", none());
        step!(me, GET "/organizations/me/members", "/organizations/me/members", none());

        let peer = Gateway::start(4).await;
        let probe = format!("/gateways/status?gateway_url={}&gateway_token={TOKEN}", peer.url);
        let status = step!(me, GET "/gateways/status", probe, none());
        assert_eq!(status["connected"], true, "{status}");
        let new = json!({"name": "Home", "url": peer.url, "token": TOKEN, "workspace_root": "/w"});
        let gateway = text(&step!(me, POST "/gateways", "/gateways", new)["id"]);
        step!(me, GET "/gateways", "/gateways", none());
        step!(me, GET "/gateways/{gateway_id}", format!("/gateways/{gateway}"), none());
        step!(me, PATCH "/gateways/{gateway_id}", format!("/gateways/{gateway}"), json!({"name": "House"}));
        step!(me, GET "/gateways/commands", "/gateways/commands", none());

        let group = text(&step!(me, POST "/board-groups", "/board-groups", json!({"name": "Sea", "slug": "sea"}))["id"]);
        step!(me, GET "/board-groups", "/board-groups", none());
        step!(me, GET "/board-groups/{group_id}", format!("/board-groups/{group}"), none());
        step!(me, PATCH "/board-groups/{group_id}", format!("/board-groups/{group}"), json!({"description": "All boats"}));
        let new = json!({"name": "Harbour", "slug": "harbour", "description": "Boats", "gateway_id": gateway, "board_group_id": group, "max_agents": 2});
        let board = text(&step!(me, POST "/boards", "/boards", new.clone())["id"]);
        let at = |rest: &str| format!("/boards/{board}{rest}");
        step!(me, GET "/boards", "/boards", none());
        step!(me, GET "/boards/{board_id}", at(""), none());
        step!(me, PATCH "/boards/{board_id}", at(""), json!({"description": "Boats and quays", "require_approval_for_done": false}));

        step!(me, POST "/boards/{board_id}/onboarding/start", at("/onboarding/start"), json!({}));
        step!(me, GET "/boards/{board_id}/onboarding", at("/onboarding"), none());
        let agents = step!(me, GET "/agents", "/agents", none());
        let main = agents["items"][0].clone();
        let main_token = token(&peer, &at_gateway(&main));
        let question = json!({"question": "What for?", "options": [{"id": "1", "label": "Boats"}]});
        step!(&main_token, POST "/boards/{board_id}/onboarding/agent", at("/onboarding/agent"), question);
        step!(me, POST "/boards/{board_id}/onboarding/answer", at("/onboarding/answer"), json!({"answer": "Boats"}));
        let result = json!({"status": "complete", "board_type": "general", "lead_agent": {"name": "Lea"}});
        step!(&main_token, POST "/agent/boards/{board_id}/onboarding", format!("/agent{}", at("/onboarding")), result);
        let goal = json!({"board_type": "goal", "objective": "Sail", "success_metrics": {"boats": "3"}});
        step!(me, POST "/boards/{board_id}/onboarding/confirm", at("/onboarding/confirm"), goal);
        patch(&service, &at(""), json!({"require_approval_for_done": false})).await;

        let worker = step!(me, POST "/agents", "/agents", json!({"board_id": board, "name": "Wim"}));
        let worker_id = text(&worker["id"]);
        step!(me, GET "/agents/{agent_id}", format!("/agents/{worker_id}"), none());
        step!(me, PATCH "/agents/{agent_id}", format!("/agents/{worker_id}"), json!({"identity_profile": {"role": "Sailor"}}));
        let lead = get(&service, &format!("/agents?board_id={board}")).await["items"].as_array().expect("agents").iter().find(|a| a["is_board_lead"] == true).expect("a lead").clone();
        let (lead_token, worker_token) = (token(&peer, &at_gateway(&lead)), token(&peer, &at_gateway(&worker)));
        step!(&worker_token, GET "/agent/healthz", "/agent/healthz", none());
        step!(&worker_token, POST "/agent/heartbeat", "/agent/heartbeat", json!({"status": "fine"}));
        step!(&worker_token, GET "/agent/boards", "/agent/boards", none());
        step!(&worker_token, GET "/agent/boards/{board_id}", format!("/agent{}", at("")), none());
        step!(&worker_token, GET "/agent/agents", "/agent/agents", none());
        step!(me, POST "/agents/{agent_id}/heartbeat", format!("/agents/{worker_id}/heartbeat"), json!({"status": "online"}));
        step!(me, POST "/agents/heartbeat", "/agents/heartbeat", json!({"name": "Wim", "board_id": board}));

        let tag = text(&step!(me, POST "/tags", "/tags", json!({"name": "Urgent", "color": "ff0000"}))["id"]);
        step!(me, GET "/tags", "/tags", none());
        step!(me, GET "/tags/{tag_id}", format!("/tags/{tag}"), none());
        step!(me, PATCH "/tags/{tag_id}", format!("/tags/{tag}"), json!({"description": "Now"}));
        step!(&worker_token, GET "/agent/boards/{board_id}/tags", format!("/agent{}", at("/tags")), none());
        let fields = "/organizations/me/custom-fields";
        let field = text(&step!(me, POST "/organizations/me/custom-fields", fields, json!({"field_key": "pier", "field_type": "integer", "board_ids": [board]}))["id"]);
        step!(me, GET "/organizations/me/custom-fields", fields, none());
        step!(me, PATCH "/organizations/me/custom-fields/{task_custom_field_definition_id}", format!("{fields}/{field}"), json!({"label": "Pier"}));

        let new = json!({"title": "Paint the hull", "priority": "high", "tag_ids": [tag], "custom_field_values": {"pier": 3}, "due_at": "2030-01-01T00:00:00"});
        let task = text(&step!(me, POST "/boards/{board_id}/tasks", at("/tasks"), new)["id"]);
        step!(me, GET "/boards/{board_id}/tasks", at("/tasks?status=inbox,review&unassigned=true"), none());
        step!(&worker_token, GET "/agent/boards/{board_id}/tasks", format!("/agent{}", at("/tasks")), none());
        let planned = text(&step!(&lead_token, POST "/agent/boards/{board_id}/tasks", format!("/agent{}", at("/tasks")), json!({"title": "Plan"}))["id"]);
        step!(&worker_token, PATCH "/agent/boards/{board_id}/tasks/{task_id}", format!("/agent{}", at(&format!("/tasks/{task}"))), json!({"status": "in_progress"}));
        let comments = format!("/tasks/{task}/comments");
        step!(&worker_token, POST "/agent/boards/{board_id}/tasks/{task_id}/comments", format!("/agent{}", at(&comments)), json!({"message": "@lead the hull is dry"}));
        step!(&worker_token, GET "/agent/boards/{board_id}/tasks/{task_id}/comments", format!("/agent{}", at(&comments)), none());
        step!(me, POST "/boards/{board_id}/tasks/{task_id}/comments", at(&comments), json!({"message": "Good"}));
        step!(me, GET "/boards/{board_id}/tasks/{task_id}/comments", at(&comments), none());
        step!(me, PATCH "/boards/{board_id}/tasks/{task_id}", at(&format!("/tasks/{task}")), json!({"status": "review", "comment": "Look"}));
        let ask = json!({"action_type": "task.done", "confidence": 70, "task_id": task, "payload": {"reason": "Paint is wet"}, "rubric_scores": {"care": 3}});
        let approval = text(&step!(&worker_token, POST "/agent/boards/{board_id}/approvals", format!("/agent{}", at("/approvals")), ask)["id"]);
        step!(&worker_token, GET "/agent/boards/{board_id}/approvals", format!("/agent{}", at("/approvals?status=pending")), none());
        step!(me, PATCH "/boards/{board_id}/approvals/{approval_id}", at(&format!("/approvals/{approval}")), json!({"status": "approved"}));
        step!(me, POST "/boards/{board_id}/approvals", at("/approvals"), json!({"action_type": "spend", "confidence": 50.5, "lead_reasoning": "Rope is cheap"}));
        step!(me, GET "/boards/{board_id}/approvals", at("/approvals"), none());
        step!(me, POST "/boards/{board_id}/memory", at("/memory"), json!({"content": "The crane lifts nine tons", "tags": ["decision"]}));
        step!(me, GET "/boards/{board_id}/memory", at("/memory?is_chat=false"), none());
        step!(&worker_token, POST "/agent/boards/{board_id}/memory", format!("/agent{}", at("/memory")), json!({"content": "Hello", "tags": ["chat"]}));
        step!(&worker_token, GET "/agent/boards/{board_id}/memory", format!("/agent{}", at("/memory?is_chat=true")), none());
        step!(&worker_token, POST "/boards/{board_id}/group-memory", at("/group-memory"), json!({"content": "Tide at nine", "tags": ["broadcast"]}));
        step!(&worker_token, GET "/boards/{board_id}/group-memory", at("/group-memory"), none());
        step!(me, POST "/board-groups/{group_id}/memory", format!("/board-groups/{group}/memory"), json!({"content": "Fog"}));
        step!(me, GET "/board-groups/{group_id}/memory", format!("/board-groups/{group}/memory"), none());
        step!(me, GET "/board-groups/{group_id}/snapshot", format!("/board-groups/{group}/snapshot?include_done=true"), none());
        step!(me, POST "/board-groups/{group_id}/heartbeat", format!("/board-groups/{group}/heartbeat"), json!({"every": "5m", "include_board_leads": true}));
        step!(&worker_token, GET "/boards/{board_id}/group-snapshot", at("/group-snapshot?include_self=true"), none());
        step!(&worker_token, GET "/boards/{board_id}/snapshot", at("/snapshot"), none());
        step!(me, GET "/activity", "/activity", none());
        step!(me, GET "/activity/task-comments", format!("/activity/task-comments?board_id={board}"), none());
        step!(me, GET "/metrics/dashboard", "/metrics/dashboard?range_key=7d", none());
        step!(&worker_token, GET "/agent/search", "/agent/search?q=crane", none());
        step!(me, GET "/boards/{board_id}/search", at("/search?q=crane"), none());

        let hook = text(&step!(me, POST "/boards/{board_id}/webhooks", at("/webhooks"), json!({"description": "Weather"}))["id"]);
        step!(me, GET "/boards/{board_id}/webhooks", at("/webhooks"), none());
        step!(me, GET "/boards/{board_id}/webhooks/{webhook_id}", at(&format!("/webhooks/{hook}")), none());
        step!(me, PATCH "/boards/{board_id}/webhooks/{webhook_id}", at(&format!("/webhooks/{hook}")), json!({"enabled": true}));
        let address = format!("{}{BASE}{}", service.url, at(&format!("/webhooks/{hook}")));
        let posted = service.http.post(&address).json(&json!({"wind": 7})).send().await.expect("an answer");
        assert_eq!(posted.status(), StatusCode::ACCEPTED);
        walked.insert(format!("POST {BASE}/boards/{{board_id}}/webhooks/{{webhook_id}}"));
        let payload = text(&posted.json::<Value>().await.expect("JSON")["payload_id"]);
        step!(me, GET "/boards/{board_id}/webhooks/{webhook_id}/payloads", at(&format!("/webhooks/{hook}/payloads")), none());
        step!(me, GET "/boards/{board_id}/webhooks/{webhook_id}/payloads/{payload_id}", at(&format!("/webhooks/{hook}/payloads/{payload}")), none());
        step!(&worker_token, GET "/agent/boards/{board_id}/webhooks/{webhook_id}/payloads/{payload_id}", format!("/agent{}", at(&format!("/webhooks/{hook}/payloads/{payload}?max_chars=5"))), none());
        step!(me, DELETE "/boards/{board_id}/webhooks/{webhook_id}", at(&format!("/webhooks/{hook}")), none());

        let session = text(&worker["openclaw_session_id"]);
        step!(me, POST "/gateways/sessions/{session_id}/message", format!("/gateways/sessions/{session}/message?board_id={board}"), json!({"content": "Ahoy"}));
        step!(me, GET "/gateways/sessions", format!("/gateways/sessions?board_id={board}"), none());
        step!(me, GET "/gateways/sessions/{session_id}", format!("/gateways/sessions/{session}?board_id={board}"), none());
        step!(me, GET "/gateways/sessions/{session_id}/history", format!("/gateways/sessions/{session}/history?board_id={board}"), none());
        let soul = format!("/agent{}", at(&format!("/agents/{worker_id}/soul")));
        step!(&lead_token, PUT "/agent/boards/{board_id}/agents/{agent_id}/soul", soul, json!({"content": "# Calm"}));
        step!(&lead_token, GET "/agent/boards/{board_id}/agents/{agent_id}/soul", soul, none());
        step!(&lead_token, POST "/agent/boards/{board_id}/agents/{agent_id}/nudge", format!("/agent{}", at(&format!("/agents/{worker_id}/nudge"))), json!({"message": "Awake?"}));
        step!(&lead_token, POST "/agent/boards/{board_id}/gateway/main/ask-user", format!("/agent{}", at("/gateway/main/ask-user")), json!({"content": "Which red?"}));
        step!(&main_token, POST "/agent/gateway/boards/{board_id}/lead/message", format!("/agent/gateway{}", at("/lead/message")), json!({"content": "Status?"}));
        step!(&main_token, POST "/agent/gateway/leads/broadcast", "/agent/gateway/leads/broadcast", json!({"content": "Storm"}));
        let second = step!(&lead_token, POST "/agent/agents", "/agent/agents", json!({"name": "Second"}));
        step!(&lead_token, DELETE "/agent/boards/{board_id}/agents/{agent_id}", format!("/agent{}", at(&format!("/agents/{}", text(&second["id"])))), none());
        step!(me, POST "/gateways/{gateway_id}/templates/sync", format!("/gateways/{gateway}/templates/sync"), none());

        let skill = json!({"source_url": "https://github.com/acme/skills/tree/main/tide", "name": "Tide"});
        let skill = text(&step!(me, POST "/skills/marketplace", "/skills/marketplace", skill)["id"]);
        step!(me, GET "/skills/marketplace", format!("/skills/marketplace?gateway_id={gateway}"), none());
        step!(me, POST "/skills/marketplace/{skill_id}/install", format!("/skills/marketplace/{skill}/install?gateway_id={gateway}"), none());
        step!(me, POST "/skills/marketplace/{skill_id}/uninstall", format!("/skills/marketplace/{skill}/uninstall?gateway_id={gateway}"), none());
        step!(me, DELETE "/skills/marketplace/{skill_id}", format!("/skills/marketplace/{skill}"), none());
        let mirror = service.app.config.skills_mirror.join("acme/skills/tide");
        std::fs::create_dir_all(&mirror).expect("a folder");
        std::fs::write(mirror.join("SKILL.md"), "---\nname: Tide tables\n---\n").expect("written");
        let pack = json!({"source_url": "https://github.com/acme/skills"});
        let pack_id = text(&step!(me, POST "/skills/packs", "/skills/packs", pack.clone())["id"]);
        step!(me, GET "/skills/packs", "/skills/packs", none());
        step!(me, GET "/skills/packs/{pack_id}", format!("/skills/packs/{pack_id}"), none());
        step!(me, PATCH "/skills/packs/{pack_id}", format!("/skills/packs/{pack_id}"), pack);
        let synced = step!(me, POST "/skills/packs/{pack_id}/sync", format!("/skills/packs/{pack_id}/sync"), none());
        assert_eq!((&synced["synced"], &synced["created"]), (&json!(1), &json!(1)), "{synced}");
        step!(me, DELETE "/skills/packs/{pack_id}", format!("/skills/packs/{pack_id}"), none());
        let souls = std::path::Path::new(&service.app.config.souls).join("sea");
        std::fs::create_dir_all(&souls).expect("a folder");
        std::fs::write(souls.join("captain.md"), "# Captain").expect("written");
        let found = step!(me, GET "/souls-directory/search", "/souls-directory/search?q=capt", none());
        assert_eq!(found["items"][0]["slug"], "captain");
        let soul = step!(me, GET "/souls-directory/{handle}/{slug}", "/souls-directory/sea/captain.md", none());
        assert_eq!(soul["content"], "# Captain");

        let invites = "/organizations/me/invites";
        let invite = json!({"invited_email": "Bo@X.test", "role": "member", "board_access": [{"board_id": board}]});
        let invited = step!(me, POST "/organizations/me/invites", invites, invite);
        assert_eq!(invited["invited_email"], "bo@x.test");
        step!(me, GET "/organizations/me/invites", invites, none());
        step!(me, DELETE "/organizations/me/invites/{invite_id}", format!("{invites}/{}", text(&invited["id"])), none());
        let own = json!({"invited_email": "ada@x.test"});
        let own = post(&service, invites, own).await;
        let set = "UPDATE user_profiles SET email = 'ada@x.test'";
        service.app.db.execute(set, cairn::db::Args(Vec::new())).await.expect("an address");
        step!(me, POST "/organizations/invites/accept", "/organizations/invites/accept", json!({"token": own["token"]}));
        let member = text(&user["id"]);
        step!(me, GET "/organizations/me/members/{member_id}", format!("/organizations/me/members/{member}"), none());
        step!(me, PATCH "/organizations/me/members/{member_id}", format!("/organizations/me/members/{member}"), json!({"role": "owner"}));
        let access = json!({"all_boards_read": true, "all_boards_write": true});
        step!(me, PUT "/organizations/me/members/{member_id}/access", format!("/organizations/me/members/{member}/access"), access);
        let colleague = service.post("/kb/v1/users", json!({"name": "Bo", "role": "member"})).await;
        let colleague = cairn::clock::Clock::uuid(colleague["id"].as_str().expect("an id")).expect("an id");
        step!(me, DELETE "/organizations/me/members/{member_id}", format!("/organizations/me/members/{colleague}"), none());

        step!(me, DELETE "/boards/{board_id}/tasks/{task_id}", at(&format!("/tasks/{task}")), none());
        step!(&lead_token, DELETE "/agent/boards/{board_id}/tasks/{task_id}", format!("/agent{}", at(&format!("/tasks/{planned}"))), none());
        step!(me, DELETE "/organizations/me/custom-fields/{task_custom_field_definition_id}", format!("{fields}/{field}"), none());
        step!(me, DELETE "/tags/{tag_id}", format!("/tags/{tag}"), none());
        step!(me, DELETE "/agents/{agent_id}", format!("/agents/{worker_id}"), none());
        step!(me, DELETE "/boards/{board_id}", at(""), none());
        step!(me, DELETE "/board-groups/{group_id}", format!("/board-groups/{group}"), none());
        step!(me, DELETE "/gateways/{gateway_id}", format!("/gateways/{gateway}"), none());
        let made = step!(me, POST "/organizations", "/organizations", json!({"name": "Second Fleet"}));
        step!(me, PATCH "/organizations/me/active", "/organizations/me/active", json!({"organization_id": made["id"]}));
        step!(me, DELETE "/organizations/me", "/organizations/me", none());
        let back = get(&service, "/organizations/me").await;
        assert_eq!(back["id"], organization["id"], "after its organization is gone, a person is back in the first");
        let refused = refused(&service, me, Method::DELETE, "/users/me", none()).await;
        assert_eq!(refused.0, 409, "the owner of the first organization stays");
        walked.insert(format!("DELETE {BASE}/users/me"));

        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let mut missing: BTreeSet<String> = contract::operations(&document);
        missing.retain(|operation| !walked.contains(operation) && !operation.ends_with("/stream"));
        assert!(missing.is_empty(), "not walked: {missing:?}");
    }
}
