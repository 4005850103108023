//! A campaign from its brief to its end, with a scripted model, over each protocol: a plan that is refused and mended, activities that wait for each other, a
//! revision, a choice, approvals. Every token and every cent is accounted for.

use cairn::db::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::{BASE, activities, get, post, reaches, stream, with_model};
use crate::eventually;
use crate::support::model::{Asked, Model, Say};
use crate::support::{Engine, Service, number, text};

/// The id of a deliverable as the planner is told it.
fn deliverable(asked: &Asked, kind: &str) -> String {
    let told = asked.body.to_string();
    let line = told
        .split("- id ")
        .find(|part| part.contains(&format!("× {kind}")))
        .expect("the deliverable");
    line.split(':').next().expect("an id").to_owned()
}

/// The first citation that a search has returned.
fn citation(asked: &Asked) -> String {
    let told = asked.body.to_string();
    let found = told.split("kb://").skip(1).map(|rest| {
        let part = rest.chars().take_while(|c| !matches!(c, '"' | '\\' | ']'));
        part.collect::<String>()
    });
    let found = found
        .into_iter()
        .find(|c| c.contains('@'))
        .expect("a citation");
    format!("kb://{found}")
}

fn planner(asked: &Asked) -> Say {
    let (blog, social) = (
        deliverable(asked, "blog_post"),
        deliverable(asked, "social_post"),
    );
    let brief = json!({"title": "Brief for the post", "agent_role": "content-brief-writer", "deliverable_id": blog, "prompt": "Write the brief."});
    let post = json!({"title": "The post", "agent_role": "blog-writer", "deliverable_id": blog, "prompt": "Write the post.", "depends_on": [0]});
    let share = json!({"title": "The share", "agent_role": "social-post-writer", "deliverable_id": social, "prompt": "Write the share."});
    if asked.contains("needs 1 activities of social-post-writer") {
        Say::call("submit_plan", json!({"activities": [brief, post, share]}))
    } else {
        Say::call("submit_plan", json!({"activities": [brief, post]}))
    }
}

fn script(asked: &Asked) -> Say {
    let is = |title: &str| asked.system.contains(title);
    if is("Activity Planner") {
        return planner(asked);
    }
    if is("Content Brief Writer") {
        return match asked.results {
            0 => Say::call(
                "save_output",
                json!({"text": "# Brief\n\nTell when the light was lit."}),
            ),
            _ => Say::text("The brief is saved."),
        };
    }
    if is("Blog Writer") {
        return match asked.results {
            0 => Say::call(
                "search_knowledge",
                json!({"query": "when was the lighthouse lit"}),
            ),
            1 => {
                assert!(
                    asked.contains("Tell when the light was lit."),
                    "the brief is told"
                );
                let version = if asked.contains("Shorter, please") {
                    "two"
                } else {
                    "one"
                };
                let text = format!(
                    "# Lighthouses, version {version}\n\nIt was lit in 1858 [{}].",
                    citation(asked)
                );
                Say::call("save_output", json!({"text": text}))
            }
            _ => Say::text("The post is saved."),
        };
    }
    assert!(is("Social Post Writer"), "{}", asked.system);
    if asked.contains("Chosen option: warm") {
        return Say::text("A warm share.");
    }
    match asked.results {
        0 => Say::call(
            "request_approval",
            json!({"title": "Which tone?", "type": "content_direction", "risk_level": "high", "options": ["warm", "dry"]}),
        ),
        _ => Say::text("unreachable"),
    }
}

async fn pending(service: &Service, kind: &str) -> Value {
    let path = format!("/approvals?filter.type={kind}");
    let list = eventually!(within 60, list in get(service, &path).await, "an approval of {kind}", !list["data"].as_array().expect("a list").is_empty());
    list["data"][0].clone()
}

async fn resolve(service: &Service, approval: &Value, body: Value) -> Value {
    let path = format!("/approvals/{}/resolve", text(&approval["id"]));
    post(service, &path, body).await
}

async fn story(engine: Engine, adapter: &str) {
    let model = Model::start(script).await;
    let service = with_model(engine, &model, adapter).await;
    let dataset = service.dataset("north").await;
    service
        .add(
            &dataset,
            "skagen.md",
            "# Skagen\n\nThe lighthouse at Skagen was lit for the first time in 1858.",
        )
        .await;
    let brief = json!({"name": "Spring", "brief": "Sell lighthouses to towns.", "budgetCapUsd": 5,
        "deliverables": [{"type": "blog_post", "quantity": 1}, {"type": "social_post", "quantity": 1}]});
    let created = post(&service, "/campaigns", brief).await;
    assert_eq!(created["status"], "draft");
    let id = text(&created["id"]);
    let path = format!("/campaigns/{id}");
    eventually!(within 60, campaign in get(&service, &path).await, "the plan is accepted", campaign["status"] == "active");
    let of_campaign = format!("filter.campaignId={id}");
    let planned = activities(&service, &of_campaign).await;
    let find = |title: &str| {
        text(
            &planned
                .iter()
                .find(|a| a["title"] == title)
                .expect("planned")["id"],
        )
    };
    let (post_id, share_id) = (find("The post"), find("The share"));

    // The tone is chosen, and the share approved.
    let tone = pending(&service, "content_direction").await;
    assert_eq!(
        (&tone["riskLevel"], &tone["createdBy"]["type"]),
        (&json!("high"), &json!("agent"))
    );
    reaches(&service, &share_id, "awaiting_approval").await;
    let resolved = resolve(
        &service,
        &tone,
        json!({"resolution": "approved", "selectedOption": "warm"}),
    )
    .await;
    assert_eq!(resolved["reEnqueuedActivities"], 1);

    // The post follows its brief, is revised once, and approved.
    let waiting = reaches(&service, &post_id, "awaiting_approval").await;
    assert!(
        text(&waiting["outputPreview"]).contains("version one"),
        "{waiting}"
    );
    assert_eq!(
        waiting["sources"].as_array().map(Vec::len),
        Some(1),
        "{waiting}"
    );
    let review = text(&waiting["approval"]["id"]);
    let detail = get(&service, &format!("/approvals/{review}")).await;
    assert!(text(&detail["linkedActivities"][0]["outputPreview"]).contains("1858"));
    resolve(
        &service,
        &detail,
        json!({"resolution": "revision_requested", "note": "Shorter, please"}),
    )
    .await;
    let again = eventually!(within 60, a in get(&service, &format!("/activities/{post_id}")).await, "a second version",
        a["status"] == "awaiting_approval" && a["approval"]["id"] != json!(review));
    assert!(
        text(&again["outputPreview"]).contains("version two"),
        "{again}"
    );
    assert!(
        text(&again["revisions"][0]["output"]).contains("version one"),
        "{again}"
    );
    for id in [&post_id, &share_id] {
        let waiting = eventually!(within 60, a in get(&service, &format!("/activities/{id}")).await, "a review",
            a["status"] == "awaiting_approval" && a["approval"]["type"] == "content_review" && a["approval"]["status"] == "pending");
        resolve(
            &service,
            &json!({"id": waiting["approval"]["id"]}),
            json!({"resolution": "approved"}),
        )
        .await;
        reaches(&service, id, "done").await;
    }
    let asked = model.requests();

    // Every piece is counted, and every token and cent.
    let campaign = get(&service, &path).await;
    for deliverable in campaign["deliverables"].as_array().expect("deliverables") {
        assert_eq!(
            (
                &deliverable["currentPeriod"]["completed"],
                &deliverable["currentPeriod"]["status"]
            ),
            (&json!(1), &json!("on_track")),
            "{deliverable}"
        );
    }
    let (mut input, mut output, mut cost) = (0.0, 0.0, 0.0);
    for activity in activities(&service, &of_campaign).await {
        assert_eq!(activity["status"], "done", "{activity}");
        for run in get(&service, &format!("/activities/{}", text(&activity["id"]))).await["runs"]
            .as_array()
            .expect("runs")
        {
            assert_eq!(run["status"], "completed", "{run}");
            input += number(&run["inputTokens"]);
            output += number(&run["outputTokens"]);
            cost += number(&run["costUsd"]);
        }
    }
    let counted = *model.counted.lock().expect("counted");
    assert_eq!((input, output), (counted.0 as f64, counted.1 as f64));
    let expected = (input + 10.0 * output) / 1e6;
    assert!(
        (cost - expected).abs() < 1e-9 && (number(&campaign["spentUsd"]) - expected).abs() < 1e-9,
        "{cost} {expected} {campaign}"
    );
    let spend = get(&service, "/analytics/spend?groupBy=campaign").await;
    assert!(
        (number(&spend["totalUsd"]) - expected).abs() < 1e-9,
        "{spend}"
    );
    assert_eq!(spend["breakdown"][0]["label"], campaign["name"]);
    let by_agent: f64 = campaign["costByAgent"]
        .as_array()
        .expect("costs")
        .iter()
        .map(|c| number(&c["costUsd"]))
        .sum();
    assert!((by_agent - expected).abs() < 1e-9);

    // What was done is found again, and the stream of a run that is over is replayed.
    let (tenant,): (String,) = service
        .app
        .db
        .one("SELECT id FROM tenants", Args::default())
        .await
        .expect("the tenant");
    let area = format!("marketing~{tenant}");
    let query = json!({"query": "Lighthouses version two", "datasetIds": [area], "topK": 20});
    let is_post = |hit: &Value| text(&hit["content"]).contains("version two");
    eventually!(within 60, found in service.search(query.clone()).await, "the post is found", found.iter().any(is_post));
    let events = stream(&service, &format!("/activities/{share_id}/stream")).await;
    assert_eq!(
        events
            .last()
            .map(|(name, data)| (name.as_str(), &data["status"])),
        Some(("completed", &json!("done"))),
        "{events:?}"
    );
    assert_eq!(model.requests(), asked, "an approval asks no model");
    let (status, _) = service
        .call(
            Method::GET,
            &format!("{BASE}/activities/{post_id}/output"),
            None,
        )
        .await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_from_brief_to_end_with_openai() {
    story(Engine::Sqlite, "openai").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_from_brief_to_end_with_anthropic() {
    story(Engine::Postgres, "claude").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_from_brief_to_end_with_ollama() {
    story(Engine::Sqlite, "ollama").await;
}
