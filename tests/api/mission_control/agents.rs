//! Agents at their gateways: provisioning in both versions of the protocol, failures, waking, deletion, tokens.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{eventually, on_both_with_gateways};

on_both_with_gateways! {
    async fn a_part_of_the_skills_says_how_many_there_are(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        for name in ["knots", "sails", "tides"] {
            let skill = json!({"name": name, "source_url": format!("https://github.com/harbour/skills/tree/main/{name}")});
            post(&service, "/skills/marketplace", skill).await;
        }
        let list = async |part: &str| {
            let request = service.http.get(format!("{}{BASE}/skills/marketplace?gateway_id={gateway}{part}", service.url));
            let response = request.bearer_auth(&service.key).send().await.expect("an answer");
            let header = |name: &str| response.headers().get(name).map(|v| v.to_str().expect("text").to_owned());
            let counts = ["x-total-count", "x-limit", "x-offset"].map(header);
            (response.json::<Vec<Value>>().await.expect("a list").len(), counts)
        };
        let counted = |counts: [&str; 3]| counts.map(|count| Some(count.to_owned()));
        assert_eq!(list("&limit=2&offset=2").await, (1, counted(["3", "2", "2"])));
        assert_eq!(list("").await, (3, [None, None, None]), "a whole list has no counts");
    }

    async fn both_versions_of_the_protocol_get_what_they_accept(service: Service) {
        for protocol in [3, 4] {
            let (peer, id) = gateway(&service, protocol).await;
            let board = board(&service, &id, json!({"name": format!("Board {protocol}")})).await;
            let agent = post(&service, "/agents", json!({"board_id": board, "name": format!("Ada {protocol}"), "soul_template": "# Own soul"})).await;
            let name = at_gateway(&agent);
            assert_eq!(agent["openclaw_session_id"], format!("agent:mc-{}:main", text(&agent["id"])));
            assert_eq!(peer.file(&name, "SOUL.md").as_deref(), Some("# Own soul"));
            assert_eq!(peer.file(&name, "TOOLS.md").is_some(), protocol == 3);
            let state = peer.state.lock().expect("not poisoned");
            let config = &state.config["agents"];
            let beats = if protocol == 3 {
                config["list"].as_array().expect("agents").iter().find(|a| a["id"] == name).expect("the agent")["heartbeat"].clone()
            } else {
                config["entries"][&name]["heartbeat"].clone()
            };
            assert_eq!((&beats["every"], beats["includeReasoning"].is_null()), (&json!("10m"), protocol == 4));
            let workspace = state.agents[&name]["workspace"].as_str().expect("a path").to_owned();
            drop(state);
            assert_eq!(workspace, format!("/w/workspace-{name}"));
            assert_eq!(peer.said("Your workspace has been provisioned"), 2, "the main agent and this one");
        }
        let offered = get(&service, "/gateways/commands").await;
        assert_eq!(offered["methods"], json!(["health", "agents.create"]), "what the last hello offered");
    }

    async fn a_token_is_new_with_each_provisioning_and_only_in_the_workspace(service: Service) {
        let team = Team::make(&service, json!({})).await;
        call_as(&service, &team.worker_token, Method::GET, "/agent/healthz", Value::Null).await;
        let changed = patch(&service, &format!("/agents/{}", team.worker), json!({"identity_profile": {"role": "Painter"}})).await;
        assert!(!changed.to_string().contains("cairn_agent_"), "{changed}");
        let old = refused(&service, &team.worker_token, Method::GET, "/agent/healthz", Value::Null).await;
        assert_eq!(old.0, 401);
        let new = token(&team.gateway, &at_gateway(&changed));
        let health = call_as(&service, &new, Method::GET, "/agent/healthz", Value::Null).await;
        assert_eq!((&health["agent_id"], &health["is_board_lead"]), (&json!(team.worker), &json!(false)));
        let synced = post(&service, &format!("/gateways/{}/templates/sync?rotate_tokens=false", team.gateway_id), Value::Null).await;
        assert_eq!(synced["errors"], json!([]), "{synced}");
        call_as(&service, &new, Method::GET, "/agent/healthz", Value::Null).await;
        let header = service.http.get(format!("{}{BASE}/agent/boards", service.url)).header("x-agent-token", &new).send().await.expect("an answer");
        assert_eq!(header.status(), StatusCode::OK);
        let same = patch(&service, &format!("/agents/{}", team.worker), json!({"name": "Wim Worker"})).await;
        assert_eq!(same["id"], team.worker, "nothing changes, so nothing is provisioned");
        call_as(&service, &new, Method::GET, "/agent/healthz", Value::Null).await;
        let status = refused(&service, &service.key, Method::PATCH, &format!("/agents/{}", team.worker), json!({"status": "online"})).await;
        assert_eq!(status.0, 403);
    }

    async fn a_gateway_that_fails_is_told_and_tried_again(service: Service) {
        let (peer, id) = gateway(&service, 4).await;
        let board = board(&service, &id, json!({})).await;
        peer.refuse("agents.create", Some("disk full"));
        let key = &service.key;
        let failed = refused(&service, key, Method::POST, "/agents", json!({"board_id": board, "name": "Ada"})).await;
        assert_eq!(failed.0, 502);
        assert!(text(&failed.1).starts_with("Gateway provision failed: ") && text(&failed.1).contains("disk full"), "{failed:?}");
        peer.refuse("agents.create", None);
        let agents = async || get(&service, &format!("/agents?board_id={board}")).await;
        eventually!(within 60, "the job provisions it later", peer.agents().len() == 2);
        let agent = agents().await["items"][0].clone();
        eventually!("its files are written", peer.file(&at_gateway(&agent), "MEMORY.md").is_some());
        let twice = refused(&service, key, Method::POST, "/agents", json!({"board_id": board, "name": "ada"})).await;
        assert_eq!(twice.0, 409, "names are unique without regard to case");
        peer.refuse("agents.delete", Some("busy"));
        let path = format!("/agents/{}", text(&agent["id"]));
        let stuck = refused(&service, key, Method::DELETE, &path, Value::Null).await;
        assert!(stuck.0 == 502 && text(&stuck.1).starts_with("Gateway cleanup failed: "), "{stuck:?}");
        peer.refuse("agents.delete", None);
        eventually!(within 60, "it is removed later", agents().await["total"] == 0);
        assert_eq!(peer.agents().len(), 1, "only the main agent is left");
        call(&service, Method::DELETE, &path, Value::Null).await;
    }

    async fn gateways_are_checked_before_they_are_stored(service: Service) {
        let key = &service.key;
        let peer = Gateway::start(4).await;
        let new = |url: &str, token: &str| json!({"name": "x", "url": url, "token": token, "workspace_root": "/w"});
        let wrong = refused(&service, key, Method::POST, "/gateways", new(&peer.url, "wrong")).await;
        assert!(wrong.0 == 502 && text(&wrong.1).starts_with("Gateway compatibility check failed: "), "{wrong:?}");
        let nobody = refused(&service, key, Method::POST, "/gateways", new("ws://127.0.0.1:9", TOKEN)).await;
        assert_eq!(nobody.0, 502);
        let private = refused(&service, key, Method::POST, "/gateways", new("ws://10.0.0.1:1", TOKEN)).await;
        assert_eq!(private.0, 422, "outgoing_allow does not permit it: {private:?}");
        let http = refused(&service, key, Method::POST, "/gateways", new("http://127.0.0.1:1", TOKEN)).await;
        assert_eq!(http.0, 422);
        assert_eq!(get(&service, "/gateways").await["total"], 0);
        let status = get(&service, "/gateways/status?gateway_url=ws://127.0.0.1:9").await;
        assert!(status["connected"] == false && status["error"].is_string(), "{status}");
        let neither = refused(&service, key, Method::GET, "/gateways/status", Value::Null).await;
        assert_eq!(neither.0, 422);
        let made = post(&service, "/gateways", new(&peer.url, TOKEN)).await;
        assert_eq!(made["token"], TOKEN);
        let stored: (String,) = service.app.db.one("SELECT secret FROM connection_secrets WHERE name = 'token' AND owner_id IN (SELECT id FROM records WHERE kind = 'gateway')", cairn::db::Args(Vec::new())).await.expect("a secret");
        assert!(!stored.0.contains(TOKEN), "the token is encrypted");
        let without = json!({"name": "b", "slug": "b", "description": "c"});
        assert_eq!(refused(&service, key, Method::POST, "/boards", without).await.0, 422, "a board needs a gateway");
    }

    async fn a_lead_makes_workers_up_to_the_limit(service: Service) {
        let team = Team::make(&service, json!({"max_agents": 2})).await;
        let lead = &team.lead_token;
        let made = call_as(&service, lead, Method::POST, "/agent/agents", json!({"name": "Two"})).await;
        assert_eq!((&made["board_id"], &made["is_board_lead"]), (&json!(team.board), &json!(false)));
        let full = refused(&service, lead, Method::POST, "/agent/agents", json!({"name": "Three"})).await;
        assert!(full.0 == 409 && text(&full.1).starts_with("Board worker-agent limit reached"), "{full:?}");
        let by_worker = refused(&service, &team.worker_token, Method::POST, "/agent/agents", json!({"name": "Four"})).await;
        assert_eq!(by_worker.0, 403);
        let of = |agent: &str| format!("/agent/boards/{}/agents/{agent}", team.board);
        let itself = refused(&service, lead, Method::DELETE, &of(&team.lead), Value::Null).await;
        assert_eq!(itself.0, 403, "leads do not delete leads");
        call_as(&service, lead, Method::DELETE, &of(&text(&made["id"])), Value::Null).await;
        assert_eq!(get(&service, &format!("/agents?board_id={}", team.board)).await["total"], 2);
        let main_only = refused(&service, lead, Method::POST, "/agent/gateway/leads/broadcast", json!({"content": "x"})).await;
        assert_eq!(main_only.0, 403);
        let sent = call_as(&service, &team.main_token, Method::POST, "/agent/gateway/leads/broadcast", json!({"content": "Storm"})).await;
        assert_eq!((&sent["sent"], &sent["failed"]), (&json!(1), &json!(0)));
        assert_eq!(team.gateway.said("GATEWAY MAIN QUESTION"), 1);
        let person = refused(&service, &service.key, Method::GET, "/agent/boards", Value::Null).await;
        assert_eq!(person.0, 401, "a person is no agent");
    }

    async fn deleting_an_agent_releases_its_tasks_and_its_token(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let task = team.task(&service, json!({"title": "Paint"})).await;
        call_as(&service, &team.worker_token, Method::PATCH, &team.agent_path(&task), json!({"status": "in_progress"})).await;
        call(&service, Method::DELETE, &format!("/agents/{}", team.worker), Value::Null).await;
        let all = get(&service, &format!("/boards/{}/tasks", team.board)).await;
        let freed = &all["items"][0];
        assert_eq!((&freed["status"], &freed["assigned_agent_id"]), (&json!("inbox"), &Value::Null));
        assert_eq!(refused(&service, &team.worker_token, Method::GET, "/agent/healthz", Value::Null).await.0, 401);
        let (left,): (i64,) = service.app.db.one("SELECT COUNT(*) FROM agent_states", cairn::db::Args(Vec::new())).await.expect("a count");
        assert_eq!(left, 2, "the main agent and the lead");
    }
}
