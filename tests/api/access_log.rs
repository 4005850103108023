//! The log of access: every change has its entry, with who made it, and nothing of it reaches others.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

async fn entries(service: &Service) -> Vec<Value> {
    let log = service.get("/kb/v1/access-log?limit=500").await;
    let mut entries = log["data"].as_array().expect("entries").clone();
    entries.reverse();
    entries
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries
        .iter()
        .map(|e| e["action"].as_str().expect("an action"))
        .collect()
}

on_both! {
    async fn every_change_of_access_is_logged_with_its_actor(service: Service) {
        let first = entries(&service).await;
        assert_eq!(actions(&first), ["key.created"], "the first admin key");
        let admin = text(&first[0]["subject"]);
        let key = service.post("/kb/v1/keys", json!({"name": "reader", "scopes": ["kb:read"]})).await;
        let id = text(&key["id"]);
        let revoked = service.call(Method::DELETE, &format!("/kb/v1/keys/{id}"), None).await.0;
        assert!(revoked.is_success());
        let ada = text(&service.post("/kb/v1/users", json!({"name": "Ada", "role": "member"})).await["id"]);
        service.post(&format!("/kb/v1/users/{ada}/link"), json!({})).await;
        let path = format!("/kb/v1/users/{ada}");
        let changed = service.call(Method::PATCH, &path, Some(json!({"role": "reviewer"}))).await.0;
        assert_eq!(changed, StatusCode::OK);
        // The same role again changes nothing.
        service.call(Method::PATCH, &path, Some(json!({"role": "reviewer"}))).await;
        service.call(Method::DELETE, &path, None).await;
        let invite = text(&service.post("/kb/v1/invites", json!({"name": "Bo", "role": "member"})).await["id"]);
        service.call(Method::DELETE, &format!("/kb/v1/invites/{invite}"), None).await;
        let agent = json!({"name": "scout", "role": "researcher", "scopes": ["kb:read"]});
        let agent = text(&service.post("/kb/v1/agents", agent).await["id"]);
        let path = format!("/kb/v1/agents/{agent}");
        service.call(Method::PATCH, &path, Some(json!({"status": "inactive"}))).await;
        service.post(&format!("{path}/token"), json!({})).await;
        service.call(Method::DELETE, &path, None).await;
        let all = entries(&service).await;
        let expected = [
            "key.created", "key.created", "key.revoked", "member.added", "member.added", "link.created", "member.changed", "member.removed",
            "invite.created", "invite.removed", "agent.created", "agent.deactivated", "agent.token_replaced", "agent.removed",
        ];
        assert_eq!(actions(&all), expected);
        let by_admin = all.iter().skip(1).filter(|e| e["subjectName"] != "Owner");
        for entry in by_admin.filter(|e| e["action"] != "link.created") {
            assert_eq!(entry["actor"], json!(admin), "{entry}");
        }
        assert_eq!((&all[6]["subjectName"], &all[6]["detail"]), (&json!("Ada"), &json!({"role": ["member", "reviewer"]})));
        assert_eq!(all[8]["subjectName"], "Bo");
        let secret = text(&key["key"]);
        assert!(!json!(all).to_string().contains(&secret), "no secrets");
    }

    async fn sign_ins_are_logged_and_pages_follow_each_other(service: Service) {
        let body = json!({"key": service.key});
        for _ in 0..3 {
            let answer = service.http.post(format!("{}/kb/v1/session", service.url)).json(&body).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let admin = text(&entries(&service).await[0]["subject"]);
        let mut seen = Vec::new();
        let mut path = "/kb/v1/access-log?limit=3".to_owned();
        loop {
            let page = service.get(&path).await;
            seen.extend(page["data"].as_array().expect("entries").clone());
            let Some(next) = page["nextCursor"].as_str() else { break };
            path = format!("/kb/v1/access-log?limit=3&cursor={next}");
        }
        assert_eq!(actions(&seen), ["session.begun", "session.begun", "session.begun", "key.created"]);
        let mine = service.get(&format!("/kb/v1/access-log?actor={admin}")).await;
        assert_eq!(mine["data"].as_array().map(Vec::len), Some(3), "{mine}");
        assert_eq!(mine["data"][0]["actorName"], "admin");
    }

    async fn the_log_is_for_those_who_manage_keys(service: Service) {
        let reader = service.key_with(&["kb:read"], None).await;
        let (status, _) = service.call_as(&reader, Method::GET, "/kb/v1/access-log", None).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let dataset = service.dataset("d").await;
        let confined = service.key_with(&["keys:manage", "kb:read"], Some(vec![dataset])).await;
        let (status, _) = service.call_as(&confined, Method::GET, "/kb/v1/access-log", None).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let stranger = service.stranger().await;
        let (_, theirs) = service.call_as(&stranger, Method::GET, "/kb/v1/access-log", None).await;
        assert_eq!(theirs["data"].as_array().map(Vec::len), Some(1), "only their own key: {theirs}");
    }

    async fn old_entries_are_removed(service: Service) {
        service.app.db.execute("UPDATE access_log SET created_on = 0", cairn::db::Args(Vec::new())).await.expect("aged");
        service.key_with(&["kb:read"], None).await;
        cairn::housekeeping::run(&service.app).await.expect("cleans up");
        assert_eq!(actions(&entries(&service).await), ["key.created"]);
    }
}
