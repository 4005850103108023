//! `kill -9` while an agent works: the run continues after its last stored step, nothing is done twice, and every response is accounted for.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::eventually;
use crate::support::model::{Model, Say};
use crate::support::process::Process;
use crate::support::{number, text};

/// Versions that the agent saves.
const VERSIONS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_continues_after_its_last_step() {
    let model = Model::start(|asked| {
        if asked.system.contains("Activity Planner") {
            let told = asked.body.to_string();
            let id = told.split("- id ").nth(1).and_then(|part| part.split(':').next());
            let piece = json!({"title": "The piece", "agent_role": "backlink-researcher", "deliverable_id": id, "prompt": "Make it."});
            return Say::call("submit_plan", json!({"activities": [piece]}));
        }
        let pause = Duration::from_millis(150);
        let say = if asked.results < VERSIONS {
            Say::call("save_output", json!({"text": format!("version {}", asked.results + 1)}))
        } else {
            Say::text("Saved.")
        };
        Say { pause, ..say }
    })
    .await;
    let data = tempfile::tempdir().expect("a directory");
    let settings = [
        "agent_models=openai/scripted=1/10".to_owned(),
        format!("agent_openai_url={}/v1", model.url),
        "job_lease_seconds=3".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut server = Process::start_with(data.path(), &settings);
    let key = server.admin_key.clone().expect("the first start");
    let brief = json!({"name": "Spring", "brief": "Links.", "deliverables": [{"type": "backlink", "quantity": 1}], "budgetCapUsd": 10});
    let made = server
        .call(&key, Method::POST, "/dashboard/v1/campaigns", Some(brief))
        .await;
    let campaign = text(&made.expect("created")["id"]);
    let asks = |model: &Model| {
        let asked = model.asked.lock().expect("asked");
        asked
            .iter()
            .filter(|a| !a.system.contains("Planner"))
            .count()
    };
    // While the second, the fourth and the sixth response are awaited.
    for kill in 1..=3 {
        let before = asks(&model);
        eventually!(within 60, "the agent works", asks(&model) >= before + 2);
        server.signal("-9");
        server.child.wait().expect("it ends");
        assert!(asks(&model) > kill);
        server = Process::start_with(data.path(), &settings);
    }
    let get = async |path: String| {
        let found = server
            .call(&key, Method::GET, &format!("/dashboard/v1{path}"), None)
            .await;
        found.unwrap_or(Value::Null)
    };
    let list = format!("/activities?filter.campaignId={campaign}&filter.wakeReason=planned");
    let done = eventually!(within 90, all in get(list.clone()).await, "the piece is done", all["data"][0]["status"] == "done");
    let activity = get(format!("/activities/{}", text(&done["data"][0]["id"]))).await;
    assert_eq!(activity["outputPreview"], format!("version {VERSIONS}"));
    let versions: Vec<String> = activity["revisions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| text(&r["output"]))
        .collect();
    let expected: Vec<String> = (1..VERSIONS).map(|n| format!("version {n}")).collect();
    assert_eq!(versions, expected, "each version is saved once");
    let runs = activity["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 1);
    // Stored responses cost what they cost; lost ones are estimated by their prompt, and have no response.
    let stored = (VERSIONS + 1) as f64;
    assert_eq!(number(&runs[0]["outputTokens"]), stored * 10.0);
    let input = number(&runs[0]["inputTokens"]);
    assert!(input > stored * 100.0, "{input}");
    let logs = get(format!(
        "/logs?filter.activityId={}&filter.level=warn",
        text(&activity["id"])
    ))
    .await;
    let lost = logs["data"].as_array().expect("a list").len();
    assert_eq!(
        asks(&model),
        VERSIONS + 1 + lost,
        "only interrupted calls were made again: {logs}"
    );
    let campaign = get(format!("/campaigns/{campaign}")).await;
    let planner = 100.0 + 10.0 * 10.0;
    let spent = (input + stored * 100.0 + planner) / 1e6;
    assert!(
        (number(&campaign["spentUsd"]) - spent).abs() < 1e-9,
        "{campaign} {spent}"
    );
}
