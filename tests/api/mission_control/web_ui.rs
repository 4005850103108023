//! The calls that each page of the original web interface makes, in their order. The interface itself is built from its own repository; this replays what it asks.

use reqwest::Method;
use serde_json::{Value, json};

use super::streams::Events;
use super::*;
use crate::on_both_with_gateways;

on_both_with_gateways! {
    async fn every_page_gets_what_it_asks_for(service: Service) {
        // Sign-in: a token prompt, checked by the profile; then the shell of every page.
        assert!(service.key.len() >= 50, "the prompt wants 50 characters");
        let me = get(&service, "/users/me").await;
        assert!(me["name"].is_string(), "without a name and a time zone the person is sent to the onboarding");
        patch(&service, "/users/me", json!({"name": "Ada", "timezone": "Europe/Berlin"})).await;
        let shell = async || {
            get(&service, "/organizations/me/member").await;
            get(&service, "/organizations/me/list").await;
            assert_eq!(service.get("/healthz").await["ok"], true);
        };
        shell().await;
        // /gateways/new tests the form, then saves it.
        let peer = Gateway::start(4).await;
        let probe = format!("/gateways/status?gateway_url={}&gateway_token={TOKEN}&gateway_disable_device_pairing=false&gateway_allow_insecure_tls=false", peer.url);
        assert_eq!(get(&service, &probe).await["connected"], true);
        let form = json!({"name": "Home", "url": peer.url, "token": TOKEN, "workspace_root": "~/.openclaw", "allow_insecure_tls": false, "disable_device_pairing": false});
        let gateway = text(&post(&service, "/gateways", form).await["id"]);
        get(&service, "/gateways").await;
        get(&service, &format!("/agents?gateway_id={gateway}")).await;
        // /boards/new, then the board: it begins with the snapshot and the onboarding.
        get(&service, "/board-groups?limit=200").await;
        let board = text(&post(&service, "/boards", json!({"name": "Harbour", "slug": "harbour", "description": "Boats", "gateway_id": gateway})).await["id"]);
        let at = |rest: &str| format!("/boards/{board}{rest}");
        let snapshot = get(&service, &at("/snapshot")).await;
        assert_eq!(snapshot["board"]["goal_confirmed"], false);
        get(&service, &at("/group-snapshot?include_self=false&include_done=false&per_board_task_limit=5")).await;
        let none = refused(&service, &service.key, Method::GET, &at("/onboarding"), Value::Null).await;
        assert_eq!(none.0, 404, "no onboarding yet, so the page starts one");
        post(&service, &at("/onboarding/start"), json!({})).await;
        let main = get(&service, "/agents").await["items"][0].clone();
        let main_token = token(&peer, &at_gateway(&main));
        let question = json!({"question": "What is the goal?", "options": [{"id": "1", "label": "Boats"}, {"id": "2", "label": "I type it"}]});
        call_as(&service, &main_token, Method::POST, &format!("/agent{}", at("/onboarding")), question).await;
        let asked = get(&service, &at("/onboarding")).await;
        let last = asked["messages"].as_array().expect("messages").last().expect("a message").clone();
        let content: Value = serde_json::from_str(last["content"].as_str().expect("a text")).expect("JSON text");
        assert_eq!((&last["role"], &content["options"][0]["label"]), (&json!("assistant"), &json!("Boats")));
        post(&service, &at("/onboarding/answer"), json!({"answer": "I type it", "other_text": "Ships"})).await;
        assert_eq!(peer.said("I type it: Ships"), 1);
        let result = json!({"status": "complete", "board_type": "goal", "objective": "Sail", "success_metrics": {"boats": 3},
            "user_profile": {"preferred_name": "Captain"}, "lead_agent": {"name": "Lea", "autonomy_level": "autonomous", "verbosity": "concise"}});
        call_as(&service, &main_token, Method::POST, &format!("/agent{}", at("/onboarding")), result).await;
        let draft = get(&service, &at("/onboarding")).await;
        assert_eq!((&draft["status"], &draft["draft_goal"]["objective"]), (&json!("completed"), &json!("Sail")));
        let confirmed = post(&service, &at("/onboarding/confirm"), json!({"board_type": "goal", "objective": "Sail", "success_metrics": {"boats": 3}})).await;
        assert_eq!((&confirmed["goal_confirmed"], &confirmed["goal_source"], &confirmed["require_approval_for_done"]), (&json!(true), &json!("lead_agent_onboarding"), &json!(false)));
        assert_eq!(get(&service, "/users/me").await["preferred_name"], "Captain");
        let again = json!({"question": "Late?", "options": [{"id": "1", "label": "x"}]});
        assert_eq!(refused(&service, &main_token, Method::POST, &format!("/agent{}", at("/onboarding")), again).await.0, 409);
        let snapshot = get(&service, &at("/snapshot")).await;
        assert_eq!(snapshot["agents"][0]["identity_profile"]["autonomy_level"], "autonomous");
        // The streams of the page begin at the newest item that it has.
        let since = text(&snapshot["board"]["updated_at"]);
        for path in ["/tasks/stream", "/approvals/stream", "/memory/stream"] {
            Events::open(&service, &service.key, &at(&format!("{path}?since={since}")), None).await;
        }
        Events::open(&service, &service.key, &format!("/agents/stream?board_id={board}&since={since}"), None).await;
        get(&service, "/tags?limit=200").await;
        get(&service, "/organizations/me/custom-fields").await;
        get(&service, "/activity?limit=200").await;
        let task = post(&service, &at("/tasks"), json!({"title": "Paint", "description": null, "priority": "medium", "status": "inbox", "due_at": null, "tag_ids": [], "custom_field_values": {}})).await;
        let task = text(&task["id"]);
        get(&service, &at(&format!("/tasks/{task}/comments"))).await;
        post(&service, &at(&format!("/tasks/{task}/comments")), json!({"message": "Which red?"})).await;
        patch(&service, &at(&format!("/tasks/{task}")), json!({"title": "Paint", "description": null, "priority": "high", "status": "in_progress", "assigned_agent_id": snapshot["agents"][0]["id"], "due_at": null, "depends_on_task_ids": [], "tag_ids": []})).await;
        post(&service, &at("/memory"), json!({"content": "Ahoy", "tags": ["chat"]})).await;
        // The other pages.
        for path in ["/metrics/dashboard?range_key=24h", "/boards?limit=200", "/agents?limit=200", "/activity/task-comments?limit=50", "/organizations/me/members?limit=200", "/organizations/me/invites?limit=200", "/skills/packs"] {
            get(&service, path).await;
        }
        get(&service, &format!("/gateways/status?board_id={board}")).await;
        get(&service, &format!("/skills/marketplace?gateway_id={gateway}&limit=50&offset=0")).await;
        call(&service, Method::DELETE, &at(&format!("/tasks/{task}")), Value::Null).await;
        call(&service, Method::DELETE, &at(""), Value::Null).await;
        shell().await;
    }
}
