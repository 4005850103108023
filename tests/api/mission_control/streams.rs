//! The streams: names and data of their events, where they begin, and where they go on.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::on_both_with_gateways;

/// A stream that is open.
pub struct Events {
    stream: futures::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: String,
}

/// An event: id, name, data.
pub type Event = (String, String, Value);

impl Events {
    pub async fn open(service: &Service, key: &str, path: &str, after: Option<&str>) -> Self {
        let mut request = service
            .http
            .get(format!("{}{BASE}{path}", service.url))
            .bearer_auth(key);
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(
            response.headers()["content-type"]
                .to_str()
                .expect("text")
                .starts_with("text/event-stream")
        );
        let stream = response.bytes_stream().map(|b| b.map(|b| b.to_vec()));
        Self {
            stream: Box::pin(stream),
            text: String::new(),
        }
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, self.read())
            .await
            .expect("an event within 20 seconds")
    }

    async fn read(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let line = |name: &str| {
                    let found = event.lines().find_map(|l| l.strip_prefix(name));
                    found.unwrap_or_default().trim().to_owned()
                };
                if !line("data:").is_empty() {
                    let data = serde_json::from_str(&line("data:")).expect("JSON");
                    return (line("id:"), line("event:"), data);
                }
                continue;
            }
            let bytes = self
                .stream
                .next()
                .await
                .expect("an open stream")
                .expect("bytes");
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

on_both_with_gateways! {
    async fn every_stream_carries_its_changes(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let group = text(&post(&service, "/board-groups", json!({"name": "Sea", "slug": "sea"})).await["id"]);
        patch(&service, &format!("/boards/{}", team.board), json!({"board_group_id": group})).await;
        let at = |rest: &str| format!("/boards/{}{rest}", team.board);
        let (me, worker) = (&service.key, &team.worker_token);
        let mut tasks = Events::open(&service, worker, &at("/tasks/stream"), None).await;
        let mut approvals = Events::open(&service, me, &at("/approvals/stream"), None).await;
        let mut memory = Events::open(&service, me, &at("/memory/stream?is_chat=true"), None).await;
        let mut shared = Events::open(&service, worker, &at("/group-memory/stream"), None).await;
        let mut of_group = Events::open(&service, me, &format!("/board-groups/{group}/memory/stream"), None).await;
        let mut agents = Events::open(&service, me, "/agents/stream", None).await;
        let mut comments = Events::open(&service, me, "/activity/task-comments/stream", None).await;

        let task = team.task(&service, json!({"title": "Paint"})).await;
        let (_, name, data) = tasks.next().await;
        assert_eq!((name.as_str(), &data["type"], &data["task"]["id"], &data["activity"]["task_id"]), ("task", &json!("task.created"), &json!(task), &json!(task)));
        let said = post(&service, &format!("{}/comments", team.path(&task)), json!({"message": "Hello"})).await;
        let (_, _, data) = tasks.next().await;
        assert_eq!((&data["type"], &data["comment"]["id"], &data["comment"]["message"]), (&json!("task.comment"), &said["id"], &json!("Hello")));
        let (_, name, data) = comments.next().await;
        assert_eq!((name.as_str(), &data["comment"]["task_title"], &data["comment"]["board_name"]), ("comment", &json!("Paint"), &json!("Harbour")));
        call_as(&service, worker, Method::PATCH, &team.agent_path(&task), json!({"status": "in_progress"})).await;
        let (_, _, data) = tasks.next().await;
        assert_eq!((&data["type"], &data["task"]["status"]), (&json!("task.status_changed"), &json!("in_progress")));

        let ask = json!({"action_type": "x", "confidence": 5, "lead_reasoning": "r", "task_id": task});
        let approval = post(&service, &at("/approvals"), ask).await;
        let (_, name, data) = approvals.next().await;
        assert_eq!((name.as_str(), &data["approval"]["id"], &data["pending_approvals_count"]), ("approval", &approval["id"], &json!(1)));
        assert_eq!(data["task_counts"], json!({"task_id": task, "approvals_count": 1, "approvals_pending_count": 1}));

        post(&service, &at("/memory"), json!({"content": "no chat"})).await;
        let chat = post(&service, &at("/memory"), json!({"content": "Hi", "tags": ["chat"]})).await;
        let (_, name, data) = memory.next().await;
        assert_eq!((name.as_str(), &data["memory"]["id"]), ("memory", &chat["id"]), "only chat was asked for");
        let entry = post(&service, &format!("/board-groups/{group}/memory"), json!({"content": "Tide"})).await;
        for stream in [&mut shared, &mut of_group] {
            let (_, name, data) = stream.next().await;
            assert_eq!((name.as_str(), &data["memory"]["id"]), ("memory", &entry["id"]));
        }
        call_as(&service, worker, Method::POST, "/agent/heartbeat", json!({})).await;
        loop {
            let (_, name, data) = agents.next().await;
            assert_eq!(name, "agent");
            if data["agent"]["id"] == team.worker && data["agent"]["last_seen_at"].is_string() {
                break;
            }
        }
    }

    async fn a_stream_begins_at_a_time_and_goes_on_after_an_event(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let board = board(&service, &gateway, json!({})).await;
        let tasks = format!("/boards/{board}/tasks");
        let first = post(&service, &tasks, json!({"title": "first"})).await;
        let since = text(&first["created_at"]);
        let second = post(&service, &tasks, json!({"title": "second"})).await;
        let path = format!("{tasks}/stream?since={since}");
        let mut missed = Events::open(&service, &service.key, &path, None).await;
        let (_, _, one) = missed.next().await;
        let (_, _, two) = missed.next().await;
        assert_eq!((&one["task"]["id"], &two["task"]["id"]), (&first["id"], &second["id"]), "oldest first");
        let third = post(&service, &tasks, json!({"title": "third"})).await;
        let (position, _, live) = missed.next().await;
        assert_eq!(live["task"]["id"], third["id"]);
        drop(missed);
        let fourth = post(&service, &tasks, json!({"title": "fourth"})).await;
        let mut resumed = Events::open(&service, &service.key, &format!("{tasks}/stream"), Some(&position)).await;
        let (_, _, next) = resumed.next().await;
        assert_eq!(next["task"]["id"], fourth["id"]);
        let mut unreadable = Events::open(&service, &service.key, &format!("{tasks}/stream?since=yesterday"), None).await;
        let fifth = post(&service, &tasks, json!({"title": "fifth"})).await;
        let (_, _, next) = unreadable.next().await;
        assert_eq!(next["task"]["id"], fifth["id"], "an unreadable time counts as absent");
    }
}
