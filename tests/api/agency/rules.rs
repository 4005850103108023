//! Rules of agents at work, each by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn::db::{Args, Value as Sql};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    BASE, activities, campaign, get, patch, post, reaches, refused, shown, stream, tend, with_model,
};
use crate::support::model::{Asked, Model, Say};
use crate::support::{Engine, Service, number, text};
use crate::{eventually, on_both};

/// A model whose planner makes one activity per deliverable, and whose other agents follow `then`.
pub(super) async fn planned(then: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Model {
    Model::start(move |asked| {
        if !asked.system.contains("Activity Planner") {
            return then(asked);
        }
        let told = asked.body.to_string();
        let role = if told.contains("× gbp_post") { "gbp-post-writer" } else { "backlink-researcher" };
        let ids = told.split("- id ").skip(1).filter_map(|part| part.split(':').next());
        let made: Vec<Value> = ids
            .map(|id| json!({"title": "The piece", "agent_role": role, "deliverable_id": id, "prompt": "Make it."}))
            .collect();
        Say::call("submit_plan", json!({"activities": made}))
    })
    .await
}

/// A model whose calls cost 0.02 dollars each, 10,000 tokens of input and 1,000 of output, and that needs five for a piece.
async fn costly() -> Model {
    planned(|asked| {
        let say = if asked.results < 4 {
            Say::call("search_knowledge", json!({"query": "towns"}))
        } else {
            Say::text("The piece.")
        };
        Say {
            usage: (10_000, 1_000),
            ..say
        }
    })
    .await
}

/// The piece of a campaign once it is planned.
pub(super) async fn piece(service: &Service, campaign: &str) -> String {
    let query = format!("filter.campaignId={campaign}&filter.wakeReason=planned");
    let found = eventually!(within 60, all in activities(service, &query).await, "the piece is planned", !all.is_empty());
    text(&found[0]["id"])
}

on_both! {
    async fn without_a_model_an_activity_is_blocked_and_says_why(service: Service) {
        let id = campaign(&service, "blog_post", None).await;
        let all = activities(&service, &format!("filter.campaignId={id}")).await;
        let plan = reaches(&service, &text(&all[0]["id"]), "blocked").await;
        assert!(text(&plan["blockedReason"]).contains("agent_models"), "{plan}");
        assert_eq!(get(&service, &format!("/campaigns/{id}")).await["status"], "draft");
        let test = post(&service, "/agents/blog-writer/test", json!({})).await;
        assert_eq!((&test["ok"], &test["checks"][0]["ok"]), (&json!(false), &json!(false)), "{test}");
    }

    async fn reports_and_gaps_need_no_model(service: Service) {
        let run = post(&service, "/recurring-tasks/monthly-performance-report/run", json!({})).await;
        let done = reaches(&service, &text(&run["activityId"]), "done").await;
        assert!(text(&done["outputPreview"]).contains("Performance report"), "{done}");
        let reports = get(&service, "/reports").await;
        let report = get(&service, &format!("/reports/{}", text(&reports["data"][0]["id"]))).await;
        assert!(text(&report["content"]).contains("Every figure is from the stored records"), "{report}");
        assert_eq!((&report["status"], &report["activityId"]), (&json!("ready"), &run["activityId"]));
        let page = shown(&service, &format!("/reports/{}/page", text(&report["id"]))).await;
        assert!(page.contains("<h1>Performance report</h1>") && page.contains("aria-label=\"in_progress 1\""), "{page}");
        let events = stream(&service, &format!("/activities/{}/stream", text(&run["activityId"]))).await;
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["text_delta", "completed"]);
        let gaps = post(&service, "/recurring-tasks/weekly-keyword-gaps/run", json!({})).await;
        reaches(&service, &text(&gaps["activityId"]), "done").await;
        assert_eq!(refused(&service, Method::POST, "/recurring-tasks/weekly-website-audit/run", None).await.2, "variable_missing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_campaign_stops_its_agent_and_goes_on_where_it_was() {
    let holds = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&holds);
    let model = planned(move |asked| {
        let pause = if asked.results == 1 && gate.load(Ordering::Relaxed) {
            60
        } else {
            0
        };
        match asked.results {
            0 => Say::call("search_knowledge", json!({"query": "towns"})),
            _ => Say {
                pause: Duration::from_secs(pause),
                ..Say::text("The piece.")
            },
        }
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    eventually!(within 60, "the second call", model.requests() == 3);
    let paused = patch(
        &service,
        &format!("/campaigns/{id}"),
        json!({"status": "paused"}),
    )
    .await;
    assert_eq!(paused["status"], "paused");
    let stopped = reaches(&service, &piece, "blocked").await;
    assert_eq!(stopped["blockedReason"], "campaign_paused");
    eventually!(within 60, run in get(&service, &format!("/activities/{piece}")).await["runs"][0].clone(), "the run is put back", run["status"] == "queued");
    holds.store(false, Ordering::Relaxed);
    patch(
        &service,
        &format!("/campaigns/{id}"),
        json!({"status": "active"}),
    )
    .await;
    let done = reaches(&service, &piece, "done").await;
    assert_eq!(done["runs"].as_array().map(Vec::len), Some(1), "{done}");
    let searches = model
        .asked
        .lock()
        .expect("asked")
        .iter()
        .filter(|a| !a.system.contains("Planner") && a.results == 0)
        .count();
    assert_eq!(searches, 1, "a finished step is not paid twice");
    assert_eq!(
        refused(
            &service,
            Method::PATCH,
            &format!("/campaigns/{id}"),
            Some(json!({"status": "nowhere"}))
        )
        .await
        .1,
        "VALIDATION_ERROR"
    );
    let (status, _) = service
        .call(Method::DELETE, &format!("{BASE}/campaigns/{id}"), None)
        .await;
    assert_eq!(status, 204);
    assert!(
        get(&service, "/campaigns").await["data"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    assert_eq!(
        refused(
            &service,
            Method::PATCH,
            &format!("/campaigns/{id}"),
            Some(json!({"status": "active"}))
        )
        .await,
        (
            409,
            "CONFLICT".to_owned(),
            "campaign_status_conflict".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_exceeded_by_one_call_at_most_and_more_money_continues() {
    let model = costly().await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", Some(0.05)).await;
    let piece = piece(&service, &id).await;
    let stopped = reaches(&service, &piece, "blocked").await;
    assert_eq!(stopped["blockedReason"], "budget_cap_reached");
    let spent = number(&get(&service, &format!("/campaigns/{id}")).await["spentUsd"]);
    assert!((0.05..0.05 + 0.02).contains(&spent), "{spent}");
    patch(
        &service,
        &format!("/campaigns/{id}"),
        json!({"budgetCapUsd": 10}),
    )
    .await;
    reaches(&service, &piece, "done").await;
    let logs = get(&service, "/logs?filter.category=billing").await;
    assert!(!logs["data"].as_array().expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_that_would_cost_too_much_fails_before_the_call() {
    let model = planned(|_| Say::text("The piece.")).await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let set = patch(
        &service,
        "/agents/backlink-researcher",
        json!({"maxCostUsdPerActivity": 0.01}),
    )
    .await;
    assert_eq!(
        (&set["maxCostUsdPerActivity"], &set["isGlobalDefault"]),
        (&json!(0.01), &json!(false))
    );
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    let failed = reaches(&service, &piece, "failed").await;
    assert_eq!(
        (&failed["error"], &failed["runs"][0]["costUsd"]),
        (&json!("max_cost_exceeded"), &json!(0.0))
    );
    let agent = get(&service, "/agents/backlink-researcher").await;
    assert_eq!(
        (&agent["status"], &agent["lastErrorMessage"]),
        (&json!("error"), &json!("max_cost_exceeded"))
    );
    patch(
        &service,
        "/agents/backlink-researcher",
        json!({"maxCostUsdPerActivity": 1}),
    )
    .await;
    let retried = post(&service, &format!("/activities/{piece}/retry"), json!({})).await;
    let done = reaches(&service, &piece, "done").await;
    assert_eq!(done["runs"][1]["id"], retried["runId"]);
    let again = refused(
        &service,
        Method::POST,
        &format!("/activities/{piece}/retry"),
        None,
    )
    .await;
    assert_eq!(
        again,
        (
            422,
            "UNPROCESSABLE".to_owned(),
            "activity_not_failed".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_endpoint_is_asked_again_and_a_broken_response_is_lost() {
    let model = planned(|asked| match asked.count {
        2 => Say {
            refusal: Some((429, 1)),
            ..Say::text("")
        },
        3 => Say {
            refusal: Some((500, 0)),
            ..Say::text("")
        },
        4 => Say {
            breaks: true,
            ..Say::text("This response is broken off in the middle of it.")
        },
        _ => Say::text("The piece."),
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "claude").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    let done = reaches(&service, &piece, "done").await;
    assert_eq!(done["outputPreview"], "The piece.");
    let run = &done["runs"][0];
    assert!(
        number(&run["inputTokens"]) > 100.0,
        "the lost response is estimated: {run}"
    );
    let logs = get(
        &service,
        &format!("/logs?filter.activityId={piece}&filter.level=warn"),
    )
    .await;
    assert_eq!(logs["data"].as_array().map(Vec::len), Some(3), "{logs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_corrects_invalid_arguments_and_unknown_tools() {
    let model = planned(|asked| match asked.results {
        0 => Say {
            calls: vec![
                ("search_knowledge".to_owned(), "{\"query\": ".to_owned()),
                ("fly".to_owned(), "{}".to_owned()),
            ],
            ..Say::text("")
        },
        2 => Say::call("save_output", json!({"words": "x"})),
        3 => Say::call("save_output", json!({"text": "The piece."})),
        _ => Say::text("Saved."),
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    let done = reaches(&service, &piece, "done").await;
    assert_eq!(done["outputPreview"], "The piece.");
    let events = stream(&service, &format!("/activities/{piece}/stream")).await;
    let errors: Vec<String> = events
        .iter()
        .filter(|(name, data)| name == "tool_result" && data["output"]["error"].is_string())
        .map(|(_, data)| text(&data["output"]["code"]))
        .collect();
    assert_eq!(
        errors,
        ["arguments_invalid", "tool_unknown", "arguments_invalid"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_has_a_time_limit_and_a_limit_of_turns() {
    let model = planned(|asked| {
        if asked.system.contains("Backlink") {
            Say::call("search_knowledge", json!({"query": "towns"}))
        } else {
            Say {
                pause: Duration::from_secs(60),
                ..Say::text("Too late.")
            }
        }
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    patch(
        &service,
        "/agents/backlink-researcher",
        json!({"adapterConfig": {"maxTurnsPerRun": 2}}),
    )
    .await;
    patch(
        &service,
        "/agents/gbp-post-writer",
        json!({"adapterConfig": {"timeoutSec": 1}}),
    )
    .await;
    let turns = campaign(&service, "backlink", None).await;
    let turns = reaches(&service, &piece(&service, &turns).await, "failed").await;
    assert_eq!(turns["error"], "max_turns_exceeded");
    let time = campaign(&service, "gbp_post", None).await;
    let time = reaches(&service, &piece(&service, &time).await, "failed").await;
    assert_eq!(
        (&time["error"], &time["runs"][0]["status"]),
        (&json!("timeout"), &json!("timeout"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_runs_of_a_role_are_in_progress() {
    let model = planned(|_| Say {
        pause: Duration::from_millis(300),
        ..Say::text("The piece.")
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    patch(
        &service,
        "/agents/backlink-researcher",
        json!({"concurrency": 1}),
    )
    .await;
    let body = json!({"name": "Many", "brief": "Links.", "deliverables": (0..4).map(|_| json!({"type": "backlink", "quantity": 1})).collect::<Vec<_>>()});
    let id = text(&post(&service, "/campaigns", body).await["id"]);
    let query = format!("filter.campaignId={id}&filter.wakeReason=planned");
    let mut most = 0;
    eventually!(within 60, all in activities(&service, &query).await, "all are done", {
        most = most.max(all.iter().filter(|a| a["status"] == "in_progress").count());
        all.len() == 4 && all.iter().all(|a| a["status"] == "done")
    });
    assert_eq!(most, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intervention_note_reaches_the_agent_before_its_next_step() {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let model = planned(move |asked| {
        if asked.results == 0 {
            return Say::call("search_knowledge", json!({"query": "towns"}));
        }
        if asked.contains("mention the harbour") {
            return Say::text("The piece mentions the harbour.");
        }
        let pause = if open.load(Ordering::Relaxed) {
            Duration::ZERO
        } else {
            Duration::from_millis(500)
        };
        Say {
            pause,
            ..Say::call("search_knowledge", json!({"query": "again"}))
        }
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "ollama").await;
    patch(
        &service,
        "/agents/backlink-researcher",
        json!({"adapterConfig": {"maxTurnsPerRun": 100}}),
    )
    .await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    eventually!(within 60, "the agent works", model.requests() > 2);
    let note = json!({"text": "Please mention the harbour, @agent:backlink-researcher and @human:nobody", "type": "intervention_note"});
    let comment = post(&service, &format!("/activities/{piece}/comments"), note).await;
    assert_eq!(
        comment["mentions"],
        json!([{"type": "agent", "id": "backlink-researcher", "name": "Backlink Researcher"}])
    );
    gate.store(true, Ordering::Relaxed);
    let done = reaches(&service, &piece, "done").await;
    assert_eq!(done["outputPreview"], "The piece mentions the harbour.");
    assert_eq!(
        get(&service, &format!("/activities/{piece}/comments")).await["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtask_is_done_before_its_parent_goes_on() {
    let model = planned(|asked| {
        if asked.system.contains("Copywriter") {
            return Say::text("A line of copy.");
        }
        if asked.contains("A line of copy.") {
            return Say::text("The piece with the line.");
        }
        Say::call("create_activity", json!({"title": "A line", "agent_role": "copywriter", "prompt": "Write a line.", "wait": true}))
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    let done = reaches(&service, &piece, "done").await;
    assert_eq!(done["outputPreview"], "The piece with the line.");
    assert_eq!(
        (
            &done["subtasks"][0]["status"],
            &done["subtasks"][0]["agentRole"]
        ),
        (&json!("done"), &json!("copywriter"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_tells_what_the_agent_writes_and_resumes() {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let model = planned(move |asked| match asked.results {
        0 => Say::call("search_knowledge", json!({"query": "towns"})),
        _ => {
            let pause = if open.load(Ordering::Relaxed) { 0 } else { 1 };
            Say {
                pause: Duration::from_secs(pause),
                ..Say::text("One two three four five six seven eight nine ten.")
            }
        }
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "claude").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    let path = format!("/activities/{piece}/stream");
    let (events, _) = tokio::join!(stream(&service, &path), async {
        gate.store(false, Ordering::Relaxed)
    });
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (names.first(), names.last()),
        (Some(&"tool_call"), Some(&"completed")),
        "{names:?}"
    );
    let said: String = events
        .iter()
        .filter(|(name, _)| name == "text_delta")
        .map(|(_, data)| text(&data["delta"]))
        .collect();
    assert_eq!(said, "One two three four five six seven eight nine ten.");
    assert!(
        events
            .iter()
            .all(|(_, data)| data["activityId"] == json!(piece))
    );
    let missing = refused(
        &service,
        Method::GET,
        "/activities/01ARZ3NDEKTSV4RRFFQ69G5FAV/stream",
        None,
    )
    .await;
    assert_eq!(missing.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_work_and_administrators_decide() {
    let service = Service::start(Engine::Sqlite).await;
    let id = campaign(&service, "blog_post", None).await;
    let member = service
        .key_with(&["marketing:read", "marketing:write"], None)
        .await;
    let reader = service.key_with(&["marketing:read"], None).await;
    let all = activities(&service, &format!("filter.campaignId={id}")).await;
    let plan = text(&all[0]["id"]);
    for (method, path, body) in [
        (
            Method::POST,
            "/campaigns".to_owned(),
            json!({"name": "x", "brief": "x", "deliverables": [{"type": "backlink", "quantity": 1}]}),
        ),
        (
            Method::PATCH,
            format!("/campaigns/{id}"),
            json!({"name": "x"}),
        ),
        (Method::DELETE, format!("/campaigns/{id}"), Value::Null),
        (
            Method::POST,
            format!("/activities/{plan}/retry"),
            Value::Null,
        ),
        (
            Method::POST,
            "/approvals/01ARZ3NDEKTSV4RRFFQ69G5FAV/resolve".to_owned(),
            json!({"resolution": "approved"}),
        ),
        (
            Method::POST,
            "/team/invite".to_owned(),
            json!({"email": "a@b.test", "name": "A", "role": "member"}),
        ),
        (
            Method::PATCH,
            "/team/users/x".to_owned(),
            json!({"role": "member"}),
        ),
        (Method::DELETE, "/team/users/x".to_owned(), Value::Null),
        (
            Method::PATCH,
            "/agents/blog-writer".to_owned(),
            json!({"concurrency": 2}),
        ),
    ] {
        let body = (!body.is_null()).then_some(body);
        let (status, answer) = service
            .call_as(&member, method.clone(), &format!("{BASE}{path}"), body)
            .await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["reason"]),
            (403, &json!("admin_required")),
            "{method} {path}: {answer}"
        );
    }
    let comment = json!({"text": "Hello"});
    let path = format!("{BASE}/activities/{plan}/comments");
    assert_eq!(
        service
            .call_as(&member, Method::POST, &path, Some(comment.clone()))
            .await
            .0,
        201
    );
    assert_eq!(
        service
            .call_as(&reader, Method::POST, &path, Some(comment))
            .await
            .0,
        403
    );
    let stranger = service.stranger().await;
    assert_eq!(
        service
            .call_as(
                &stranger,
                Method::GET,
                &format!("{BASE}/campaigns/{id}"),
                None
            )
            .await
            .0,
        404
    );
    // The request of a member waits for an approval, and is approved with it.
    let wish = json!({"topic": "Why towns need light"});
    let (status, request) = service
        .call_as(
            &member,
            Method::POST,
            &format!("{BASE}/blog-requests"),
            Some(wish),
        )
        .await;
    assert_eq!(
        (status.as_u16(), &request["status"]),
        (201, &json!("draft")),
        "{request}"
    );
    let approval = text(&get(&service, "/approvals").await["data"][0]["id"]);
    post(
        &service,
        &format!("/approvals/{approval}/resolve"),
        json!({"resolution": "approved"}),
    )
    .await;
    let list = get(&service, "/blog-requests?filter.status=approved").await;
    assert_eq!(list["data"][0]["id"], request["id"], "{list}");
    let again = refused(
        &service,
        Method::POST,
        &format!("/approvals/{approval}/resolve"),
        Some(json!({"resolution": "approved"})),
    )
    .await;
    assert_eq!(
        again,
        (
            409,
            "CONFLICT".to_owned(),
            "approval_not_pending".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_stays_busy_fails_the_activity_with_the_word_of_the_contract() {
    let model = planned(|_| Say {
        refusal: Some((429, 0)),
        ..Say::text("")
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    let failed = reaches(&service, &piece, "failed").await;
    assert_eq!(failed["error"], "rate_limit_exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_reaches_an_agent_that_asked_for_several() {
    let model = planned(|asked| {
        if asked.contains("Chosen option") {
            return Say::text("The piece.");
        }
        let ask = |title: &str, options: [&str; 2]| {
            let question = json!({"title": title, "type": "content_direction", "risk_level": "low", "options": options});
            ("request_approval".to_owned(), question.to_string())
        };
        Say {
            calls: vec![ask("Colour", ["red", "blue"]), ask("Form", ["round", "square"])],
            ..Say::text("")
        }
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", None).await;
    let piece = piece(&service, &id).await;
    reaches(&service, &piece, "awaiting_approval").await;
    let pending = get(&service, "/approvals").await["data"].clone();
    for approval in pending.as_array().expect("a list") {
        let chosen = if approval["title"] == "Colour" {
            "blue"
        } else {
            "round"
        };
        post(
            &service,
            &format!("/approvals/{}/resolve", text(&approval["id"])),
            json!({"resolution": "approved", "selectedOption": chosen}),
        )
        .await;
    }
    reaches(&service, &piece, "done").await;
    let told = model.asked.lock().expect("asked").last().cloned();
    let told = told.expect("asked").body.to_string();
    assert!(
        told.contains("Chosen option: blue") && told.contains("Chosen option: round"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_activity_of_a_completed_campaign_can_be_retried() {
    let is_ready = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_ready);
    let model = planned(move |_| match gate.load(Ordering::Relaxed) {
        true => Say::text("The piece."),
        false => Say {
            refusal: Some((401, 0)),
            ..Say::text("")
        },
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let body = json!({"name": "Past", "brief": "Sell.", "startDate": "2020-01-01", "endDate": "2020-01-31", "deliverables": [{"type": "backlink", "quantity": 1}]});
    let id = text(&post(&service, "/campaigns", body).await["id"]);
    let piece = piece(&service, &id).await;
    reaches(&service, &piece, "failed").await;
    let path = format!("/campaigns/{id}");
    tend(&service).await;
    assert_eq!(get(&service, &path).await["status"], "completed");
    is_ready.store(true, Ordering::Relaxed);
    post(&service, &format!("/activities/{piece}/retry"), json!({})).await;
    assert_eq!(get(&service, &path).await["status"], "active");
    reaches(&service, &piece, "done").await;
    tend(&service).await;
    assert_eq!(get(&service, &path).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_money_during_a_pause_continues_activities_when_it_ends() {
    let model = costly().await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let id = campaign(&service, "backlink", Some(0.05)).await;
    let piece = piece(&service, &id).await;
    reaches(&service, &piece, "blocked").await;
    for change in [
        json!({"status": "paused"}),
        json!({"budgetCapUsd": 10}),
        json!({"status": "active"}),
    ] {
        patch(&service, &format!("/campaigns/{id}"), change).await;
    }
    reaches(&service, &piece, "done").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_approval_expires_is_rejected() {
    let service = Service::start(Engine::Sqlite).await;
    let member = service
        .key_with(&["marketing:read", "marketing:write"], None)
        .await;
    let path = format!("{BASE}/blog-requests");
    let wish = json!({"topic": "Why towns need light"});
    let (_, request) = service
        .call_as(&member, Method::POST, &path, Some(wish))
        .await;
    assert_eq!(request["status"], "draft", "{request}");
    // Nobody decides for longer than an approval lasts.
    let week = 8 * 24 * 3600 * 1000;
    let now = service.app.clock.now().0;
    let changed = service
        .app
        .db
        .all::<(String, String)>(
            "SELECT id, body FROM records WHERE kind = 'agency_approval'",
            Args::default(),
        )
        .await
        .expect("rows");
    for (id, body) in changed {
        let mut body: Value = serde_json::from_str(&body).expect("JSON");
        body["expires_on"] = json!(now - week);
        service
            .app
            .db
            .execute(
                "UPDATE records SET body = $1 WHERE id = $2",
                Args(vec![Sql::from(body.to_string()), Sql::from(id.as_str())]),
            )
            .await
            .expect("changed");
    }
    tend(&service).await;
    let list = get(&service, "/blog-requests?filter.status=rejected").await;
    assert_eq!(list["data"][0]["id"], request["id"], "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_keeps_the_sources_that_it_still_cites() {
    let cited = |asked: &Asked, said: &str| {
        let body = asked.body.to_string();
        let start = body.rfind("kb://0").expect("a citation");
        let rest = &body[start..];
        let end = rest.find(['"', '\\', ']', ' ']).expect("its end");
        format!("{said} [{}].", &rest[..end])
    };
    let model = planned(move |asked| match asked.results {
        0 if asked.contains("Decision of a reviewer") => Say::text(&cited(asked, "Lit in 1911")),
        0 => Say::call("search_knowledge", json!({"query": "lighthouse"})),
        _ => Say::text(&cited(asked, "The lighthouse was lit in 1911")),
    })
    .await;
    let service = with_model(Engine::Sqlite, &model, "openai").await;
    let dataset = service.dataset("harbour").await;
    service
        .add(
            &dataset,
            "lighthouse.md",
            "# Lighthouse\n\nThe lighthouse was lit in 1911.",
        )
        .await;
    let id = campaign(&service, "gbp_post", None).await;
    let piece = piece(&service, &id).await;
    let first = reaches(&service, &piece, "awaiting_approval").await;
    assert_eq!(
        first["sources"].as_array().map(Vec::len),
        Some(1),
        "{first}"
    );
    let approval = text(&get(&service, "/approvals").await["data"][0]["id"]);
    let answer = json!({"resolution": "revision_requested", "note": "Shorter"});
    post(&service, &format!("/approvals/{approval}/resolve"), answer).await;
    let path = format!("/activities/{piece}");
    let second = eventually!(within 60, activity in get(&service, &path).await, "the revision waits", activity["status"] == "awaiting_approval" && activity["revisions"].as_array().is_some_and(|r| r.len() == 1));
    assert_eq!(second["sources"], first["sources"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_has_no_more_pieces_than_a_plan_may_have() {
    let service = Service::start(Engine::Sqlite).await;
    let many =
        json!([{"type": "blog_post", "quantity": 60}, {"type": "social_post", "quantity": 60}]);
    let body = json!({"name": "Much", "brief": "Everything.", "deliverables": many});
    let answer = refused(&service, Method::POST, "/campaigns", Some(body)).await;
    assert_eq!((answer.0, answer.2.as_str()), (400, "quantity_too_large"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_one_part_of_a_whole_name_keeps_the_other() {
    let service = Service::start(Engine::Sqlite).await;
    let lead = service.post("/v1/leads", json!({"name": "Ada Holm"})).await;
    let found = get(&service, "/leads").await["data"][0].clone();
    assert_eq!(found["lastName"], "Holm", "{lead}");
    let path = format!("/leads/{}", text(&found["id"]));
    let changed = patch(&service, &path, json!({"firstName": "Eva"})).await;
    assert_eq!(
        (&changed["firstName"], &changed["lastName"]),
        (&json!("Eva"), &json!("Holm"))
    );
}
