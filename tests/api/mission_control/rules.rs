//! The rules of the work: who may change what, dependencies, gates, approvals, comments, memory, fields, figures.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{eventually, on_both_with_gateways};

on_both_with_gateways! {
    async fn tasks_wait_for_others_without_circles(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let board = board(&service, &gateway, json!({})).await;
        let tasks = format!("/boards/{board}/tasks");
        let id = |task: &Value| text(&task["id"]);
        let first = id(&post(&service, &tasks, json!({"title": "First"})).await);
        let second = post(&service, &tasks, json!({"title": "Second", "depends_on_task_ids": [first, first]})).await;
        assert_eq!(second["depends_on_task_ids"], json!([first]), "duplicates are dropped");
        assert_eq!((&second["is_blocked"], &second["blocked_by_task_ids"]), (&json!(true), &json!([first])));
        let second = id(&second);
        let key = &service.key;
        let circle = refused(&service, key, Method::PATCH, &format!("{tasks}/{first}"), json!({"depends_on_task_ids": [second]})).await;
        assert_eq!(circle.0, 409, "{circle:?}");
        let itself = refused(&service, key, Method::PATCH, &format!("{tasks}/{first}"), json!({"depends_on_task_ids": [first]})).await;
        assert_eq!(itself.0, 422, "{itself:?}");
        let nobody = "00000000-0000-0000-0000-000000000001";
        let unknown = refused(&service, key, Method::POST, &tasks, json!({"title": "x", "depends_on_task_ids": [nobody]})).await;
        assert_eq!((unknown.0, &unknown.1["missing_task_ids"]), (404, &json!([nobody])));
        let begun = refused(&service, key, Method::POST, &tasks, json!({"title": "x", "status": "in_progress", "depends_on_task_ids": [first]})).await;
        assert_eq!((begun.0, &begun.1["code"], &begun.1["blocked_by_task_ids"]), (409, &json!("task_blocked_cannot_transition"), &json!([first])));
        // A person's move of a blocked task is not refused, but the task stays in the inbox.
        let moved = patch(&service, &format!("{tasks}/{second}"), json!({"status": "in_progress"})).await;
        assert_eq!((&moved["status"], &moved["in_progress_at"]), (&json!("inbox"), &Value::Null));
        patch(&service, &format!("{tasks}/{first}"), json!({"status": "done"})).await;
        let free = patch(&service, &format!("{tasks}/{second}"), json!({"status": "in_progress"})).await;
        assert_eq!((&free["is_blocked"], &free["status"]), (&json!(false), &json!("in_progress")));
        let fixed = refused(&service, key, Method::PATCH, &format!("{tasks}/{first}"), json!({"depends_on_task_ids": [second]})).await;
        assert_eq!(fixed.0, 409, "dependencies of a done task stay");
        // When the first is reopened, the second returns to the inbox.
        patch(&service, &format!("{tasks}/{first}"), json!({"status": "inbox"})).await;
        let all = get(&service, &tasks).await;
        let back = all["items"].as_array().expect("tasks").iter().find(|t| t["id"] == second).expect("the second").clone();
        assert_eq!((&back["status"], &back["in_progress_at"], &back["is_blocked"]), (&json!("inbox"), &Value::Null, &json!(true)));
        call(&service, Method::DELETE, &format!("{tasks}/{first}"), Value::Null).await;
        let all = get(&service, &tasks).await;
        assert_eq!(all["items"][0]["depends_on_task_ids"], json!([]), "a deleted task blocks nothing");
    }

    async fn workers_take_and_move_their_own_tasks_only(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let task = team.task(&service, json!({"title": "Paint"})).await;
        let worker = &team.worker_token;
        let path = team.agent_path(&task);
        let field = refused(&service, worker, Method::PATCH, &path, json!({"title": "x"})).await;
        assert_eq!((field.0, &field.1["code"]), (403, &json!("task_update_field_forbidden")));
        let taken = call_as(&service, worker, Method::PATCH, &path, json!({"status": "in_progress"})).await;
        assert_eq!(taken["assigned_agent_id"], team.worker, "an unassigned task is claimed");
        assert!(taken["in_progress_at"].is_string());
        let second = post(&service, "/agents", json!({"board_id": team.board, "name": "Sara"})).await;
        let other = token(&team.gateway, &at_gateway(&second));
        let theirs = refused(&service, &other, Method::PATCH, &path, json!({"status": "review"})).await;
        assert_eq!((theirs.0, &theirs.1["code"]), (403, &json!("task_assignee_mismatch")));
        let elsewhere = super::board(&service, &team.gateway_id, json!({"name": "Yard"})).await;
        let foreign = format!("/agent/boards/{elsewhere}/tasks/{task}");
        let mismatch = refused(&service, worker, Method::PATCH, &foreign, json!({"status": "review"})).await;
        assert_eq!((mismatch.0, &mismatch.1["code"]), (403, &json!("task_board_mismatch")));
        let board_of_others = refused(&service, worker, Method::GET, &format!("/agent/boards/{elsewhere}"), Value::Null).await;
        assert_eq!(board_of_others.0, 403);
        let delete = refused(&service, worker, Method::DELETE, &path, Value::Null).await;
        assert_eq!(delete.0, 403, "only leads delete");
        patch(&service, &format!("/boards/{}", team.board), json!({"only_lead_can_change_status": true})).await;
        let fixed = refused(&service, worker, Method::PATCH, &path, json!({"status": "review"})).await;
        assert_eq!(fixed.0, 403, "{fixed:?}");
        patch(&service, &format!("/boards/{}", team.board), json!({"only_lead_can_change_status": false})).await;
        let reviewed = call_as(&service, worker, Method::PATCH, &path, json!({"status": "review"})).await;
        assert_eq!(reviewed["assigned_agent_id"], team.lead, "a review goes to the lead");
        eventually!("the lead is told", team.gateway.said("TASK READY FOR LEAD REVIEW") == 1);
    }

    async fn leads_plan_assign_and_review(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let lead = &team.lead_token;
        let tasks = format!("/agent/boards/{}/tasks", team.board);
        let to_lead = refused(&service, lead, Method::POST, &tasks, json!({"title": "x", "assigned_agent_id": team.lead})).await;
        assert_eq!(to_lead.0, 403, "{to_lead:?}");
        let by_worker = refused(&service, &team.worker_token, Method::POST, &tasks, json!({"title": "x"})).await;
        assert_eq!(by_worker.0, 403);
        let made = call_as(&service, lead, Method::POST, &tasks, json!({"title": "Plan"})).await;
        let path = team.agent_path(&text(&made["id"]));
        let comment = refused(&service, lead, Method::PATCH, &path, json!({"comment": "x"})).await;
        assert!(comment.0 == 403 && text(&comment.1).starts_with("Lead comment gate failed"), "{comment:?}");
        let field = refused(&service, lead, Method::PATCH, &path, json!({"title": "x"})).await;
        assert!(field.0 == 403 && text(&field.1).starts_with("Lead field gate failed"), "{field:?}");
        let alone = refused(&service, lead, Method::PATCH, &path, json!({"status": "in_progress"})).await;
        assert!(alone.0 == 403 && text(&alone.1).starts_with("Lead status target gate failed"), "{alone:?}");
        let begun = call_as(&service, lead, Method::PATCH, &path, json!({"status": "in_progress", "assigned_agent_id": team.worker})).await;
        assert!(begun["in_progress_at"].is_string(), "{begun}");
        let now = refused(&service, lead, Method::PATCH, &path, json!({"status": "done"})).await;
        assert!(now.0 == 403 && text(&now.1).starts_with("Lead status gate failed"), "{now:?}");
        call_as(&service, &team.worker_token, Method::PATCH, &path, json!({"status": "review", "comment": "Done"})).await;
        call_as(&service, lead, Method::POST, &format!("{path}/comments"), json!({"message": "Use red"})).await;
        let back = call_as(&service, lead, Method::PATCH, &path, json!({"status": "inbox"})).await;
        assert_eq!((&back["assigned_agent_id"], &back["in_progress_at"]), (&json!(team.worker), &Value::Null), "back to the last worker");
        eventually!("the worker is told what to change", team.gateway.said("Use red") >= 1 && team.gateway.said("CHANGES REQUESTED") == 1);
        let own = json!({"message": "My own task"});
        call_as(&service, lead, Method::POST, &format!("{path}/comments"), own).await;
    }

    async fn the_gates_of_a_board_hold_for_everybody(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let board = board(&service, &gateway, json!({"require_approval_for_done": true})).await;
        let tasks = format!("/boards/{board}/tasks");
        let id = text(&post(&service, &tasks, json!({"title": "Paint"})).await["id"]);
        let path = format!("{tasks}/{id}");
        let key = &service.key;
        let done = refused(&service, key, Method::PATCH, &path, json!({"status": "done"})).await;
        assert_eq!((done.0, &done.1["blocked_by_task_ids"]), (409, &json!([])), "an approval is missing");
        let ask = json!({"action_type": "task.done", "confidence": 60, "task_id": id, "lead_reasoning": "Sure"});
        let approval = text(&post(&service, &format!("/boards/{board}/approvals"), ask).await["id"]);
        let rules = json!({"block_status_changes_with_pending_approval": true, "require_review_before_done": true, "comment_required_for_review": true});
        patch(&service, &format!("/boards/{board}"), rules).await;
        let pending = refused(&service, key, Method::PATCH, &path, json!({"status": "in_progress"})).await;
        assert_eq!(pending.0, 409, "an approval is pending");
        patch(&service, &format!("/boards/{board}/approvals/{approval}"), json!({"status": "approved"})).await;
        let early = refused(&service, key, Method::PATCH, &path, json!({"status": "done"})).await;
        assert_eq!(early.0, 409, "done comes after review");
        let silent = refused(&service, key, Method::PATCH, &path, json!({"status": "review"})).await;
        assert_eq!((silent.0, &silent.1), (422, &json!("Comment is required.")));
        patch(&service, &path, json!({"status": "review", "comment": "Painted"})).await;
        let done = patch(&service, &path, json!({"status": "done"})).await;
        assert_eq!(done["status"], "done");
        let null = refused(&service, key, Method::PATCH, &path, json!({"status": null})).await;
        assert_eq!(null.0, 422);
    }

    async fn a_task_has_one_pending_approval_and_a_reason(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let board = board(&service, &gateway, json!({})).await;
        let task = text(&post(&service, &format!("/boards/{board}/tasks"), json!({"title": "Paint"})).await["id"]);
        let approvals = format!("/boards/{board}/approvals");
        let key = &service.key;
        let silent = refused(&service, key, Method::POST, &approvals, json!({"action_type": "x", "confidence": 5})).await;
        assert_eq!(silent.0, 422, "{silent:?}");
        let ask = json!({"action_type": "x", "confidence": 5, "payload": {"reason": "r", "taskIds": [task]}});
        let path = format!("{BASE}{approvals}");
        let all = join_all((0..5).map(|_| service.call(Method::POST, &path, Some(ask.clone())))).await;
        let made: Vec<&Value> = all.iter().filter(|(s, _)| *s == StatusCode::OK).map(|(_, a)| a).collect();
        assert_eq!(made.len(), 1, "{all:?}");
        let (_, conflict) = all.iter().find(|(s, _)| *s == StatusCode::CONFLICT).expect("a conflict");
        assert_eq!(conflict["detail"]["conflicts"][0]["approval_id"], made[0]["id"]);
        assert_eq!((&made[0]["task_id"], &made[0]["task_titles"]), (&json!(task), &json!(["Paint"])), "the task is in the payload");
        let decided = patch(&service, &format!("{approvals}/{}", text(&made[0]["id"])), json!({"status": "rejected"})).await;
        assert!(decided["resolved_at"].is_string());
        let second = post(&service, &approvals, ask).await;
        let again = refused(&service, key, Method::PATCH, &format!("{approvals}/{}", text(&made[0]["id"])), json!({"status": "pending"})).await;
        assert_eq!(again.0, 409, "{again:?}");
        let snapshot = get(&service, &format!("/boards/{board}/snapshot")).await;
        let card = &snapshot["tasks"][0];
        assert_eq!((&card["approvals_count"], &card["approvals_pending_count"], &snapshot["pending_approvals_count"]), (&json!(2), &json!(1), &json!(1)));
        assert_eq!(snapshot["approvals"][0]["id"], second["id"]);
    }

    async fn comments_tell_those_who_are_mentioned(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let task = team.task(&service, json!({"title": "Paint"})).await;
        let comments = format!("{}/comments", team.path(&task));
        post(&service, &comments, json!({"message": "  @wim please look  "})).await;
        eventually!("the worker is told", team.gateway.said("TASK MENTION") == 1);
        let lead = format!("{}/comments", team.agent_path(&task));
        let quiet = refused(&service, &team.lead_token, Method::POST, &lead, json!({"message": "x"})).await;
        assert_eq!(quiet.0, 403, "a lead comments in review, when mentioned, or on its own tasks");
        post(&service, &comments, json!({"message": "@lead what do you think?"})).await;
        call_as(&service, &team.lead_token, Method::POST, &lead, json!({"message": "Red"})).await;
        let all = get(&service, &comments).await;
        let said: Vec<&Value> = all["items"].as_array().expect("comments").iter().map(|c| &c["message"]).collect();
        assert_eq!(said, ["@wim please look", "@lead what do you think?", "Red"], "oldest first, trimmed");
        assert_eq!(all["items"][2]["agent_id"], team.lead);
        let blank = refused(&service, &service.key, Method::POST, &comments, json!({"message": "  "})).await;
        assert_eq!((blank.0, &blank.1[0]["loc"]), (422, &json!(["body", "message"])));
    }

    async fn chat_tells_the_lead_and_pauses_the_board(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let memory = format!("/boards/{}/memory", team.board);
        patch(&service, "/users/me", json!({"preferred_name": "Ada"})).await;
        let said = post(&service, &memory, json!({"content": "Hello @wim", "tags": ["chat"]})).await;
        assert_eq!((&said["source"], &said["is_chat"]), (&json!("Ada"), &json!(true)));
        eventually!("lead and worker are told", team.gateway.said("BOARD CHAT\n") == 1 && team.gateway.said("BOARD CHAT MENTION") == 1);
        post(&service, &memory, json!({"content": "The crane lifts nine tons", "tags": ["decision"]})).await;
        let chat = get(&service, &format!("{memory}?is_chat=true")).await;
        let other = get(&service, &format!("{memory}?is_chat=false")).await;
        assert_eq!((&chat["total"], &other["total"]), (&json!(1), &json!(1)));
        post(&service, &memory, json!({"content": "/pause", "tags": ["chat"]})).await;
        eventually!("everybody pauses", team.gateway.said("/pause") == 2);
        let synced = post(&service, &format!("/gateways/{}/templates/sync", team.gateway_id), Value::Null).await;
        assert_eq!((&synced["agents_updated"], &synced["agents_skipped"], &synced["main_updated"]), (&json!(0), &json!(2), &json!(true)), "{synced}");
        let alone = refused(&service, &service.key, Method::POST, &format!("/boards/{}/group-memory", team.board), json!({"content": "x"})).await;
        assert_eq!((alone.0, &alone.1), (422, &json!("Board is not in a board group")));
    }

    async fn fields_and_tags_of_tasks_are_checked(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let board = board(&service, &gateway, json!({})).await;
        let fields = "/organizations/me/custom-fields";
        let pier = json!({"field_key": "pier", "field_type": "integer", "default_value": 1, "board_ids": [board]});
        let field = text(&post(&service, fields, pier.clone()).await["id"]);
        let key = &service.key;
        assert_eq!(refused(&service, key, Method::POST, fields, pier).await.0, 409, "keys are unique");
        let nowhere = json!({"field_key": "b", "board_ids": []});
        assert_eq!(refused(&service, key, Method::POST, fields, nowhere).await.0, 422);
        let tasks = format!("/boards/{board}/tasks");
        let plain = post(&service, &tasks, json!({"title": "a"})).await;
        assert_eq!(plain["custom_field_values"], json!({"pier": 1}), "defaults are filled in");
        let unknown = refused(&service, key, Method::POST, &tasks, json!({"title": "a", "custom_field_values": {"x": 1}})).await;
        assert_eq!((unknown.0, &unknown.1["unknown_field_keys"]), (422, &json!(["x"])));
        let wrong = refused(&service, key, Method::POST, &tasks, json!({"title": "a", "custom_field_values": {"pier": "three"}})).await;
        assert_eq!((wrong.0, &wrong.1["field_key"]), (422, &json!("pier")));
        post(&service, &tasks, json!({"title": "b", "custom_field_values": {"pier": 2}})).await;
        assert_eq!(refused(&service, key, Method::DELETE, &format!("{fields}/{field}"), Value::Null).await.0, 409, "a field in use stays");
        let tag = post(&service, "/tags", json!({"name": "Very Urgent"})).await;
        assert_eq!((&tag["slug"], &tag["color"]), (&json!("very-urgent"), &json!("9e9e9e")));
        assert_eq!(refused(&service, key, Method::POST, "/tags", json!({"name": "very urgent"})).await.0, 409);
        let id = text(&tag["id"]);
        let tagged = post(&service, &tasks, json!({"title": "c", "tag_ids": [id]})).await;
        assert_eq!(tagged["tags"][0]["slug"], "very-urgent");
        let nobody = "00000000-0000-0000-0000-000000000001";
        let missing = refused(&service, key, Method::POST, &tasks, json!({"title": "c", "tag_ids": [nobody]})).await;
        assert_eq!((missing.0, &missing.1["missing_tag_ids"]), (404, &json!([nobody])));
        call(&service, Method::DELETE, &format!("/tags/{id}"), Value::Null).await;
        let all = get(&service, &tasks).await;
        assert_eq!(all["items"][0]["tags"], json!([]), "a deleted tag leaves its tasks");
    }

    async fn lists_filter_by_status_and_assignee(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let mine = team.task(&service, json!({"title": "mine", "assigned_agent_id": team.worker})).await;
        let open = team.task(&service, json!({"title": "open"})).await;
        let done = team.task(&service, json!({"title": "done", "status": "done"})).await;
        let ids = async |query: &str| {
            let all = get(&service, &format!("/boards/{}/tasks{query}", team.board)).await;
            all["items"].as_array().expect("tasks").iter().map(|t| text(&t["id"])).collect::<Vec<_>>()
        };
        assert_eq!(ids("").await, [done.clone(), open.clone(), mine.clone()], "newest first");
        assert_eq!(ids("?status=inbox,review").await, [open.clone(), mine.clone()]);
        assert_eq!(ids(&format!("?assigned_agent_id={}", team.worker)).await, [mine]);
        assert_eq!(ids("?unassigned=true&status=inbox").await, [open]);
        assert_eq!(ids("?limit=1").await, [done]);
        let path = format!("/boards/{}/tasks", team.board);
        let word = refused(&service, &service.key, Method::GET, &format!("{path}?status=lost"), Value::Null).await;
        assert_eq!((word.0, &word.1), (422, &json!("Unsupported task status filter.")));
        let limit = refused(&service, &service.key, Method::GET, &format!("{path}?limit=201"), Value::Null).await;
        assert_eq!((limit.0, &limit.1[0]["loc"]), (422, &json!(["query", "limit"])));
    }

    async fn everything_written_on_a_board_is_found_by_its_readers_only(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let task = team.task(&service, json!({"title": "Careen the zzyzx hull"})).await;
        let path = team.agent_path(&task);
        call_as(&service, &team.worker_token, Method::POST, &format!("{path}/comments"), json!({"message": "Barnacles of qwortle on it"})).await;
        post(&service, &format!("/boards/{}/memory", team.board), json!({"content": "The vumble crane is broken"})).await;
        let ask = json!({"action_type": "spend", "confidence": 60, "payload": {"reason": "Buy frotzel paint"}});
        post(&service, &format!("/boards/{}/approvals", team.board), ask).await;
        let other = super::board(&service, &team.gateway_id, json!({"name": "Yard"})).await;
        post(&service, &format!("/boards/{other}/memory"), json!({"content": "The yard has a grimble"})).await;
        let found = async |key: &str, path: &str, word: &str| {
            let answer = call_as(&service, key, Method::GET, &format!("{path}?q={word}"), Value::Null).await;
            answer["items"].as_array().expect("hits").iter().any(|h| h["content"].as_str().is_some_and(|c| c.contains(word)))
        };
        let board = format!("/boards/{}/search", team.board);
        for word in ["zzyzx", "qwortle", "vumble", "frotzel"] {
            eventually!("{word} is found", found(&service.key, &board, word).await);
            assert!(found(&team.worker_token, "/agent/search", word).await, "{word}");
        }
        eventually!("the owner finds the yard", found(&service.key, &format!("/boards/{other}/search"), "grimble").await);
        assert!(!found(&team.worker_token, "/agent/search", "grimble").await, "a worker finds its own board only");
        let hits = get(&service, &format!("{board}?q=vumble%20crane")).await;
        assert!(hits["items"][0]["citation"].as_str().is_some_and(|c| c.starts_with("kb://")), "{hits}");
        assert!(hits["items"][0]["explanation"].is_object());
        call(&service, Method::DELETE, &format!("/boards/{}", team.board), Value::Null).await;
        let (status, _) = service.call(Method::GET, &format!("{BASE}{board}?q=vumble"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        eventually!("the agents are gone from the gateway", team.gateway.agents().len() == 1);
        let left = async || {
            let (left,): (i64,) = service.app.db.one("SELECT COUNT(*) FROM records WHERE kind IN ('board_task', 'task_comment', 'board_memory', 'board_approval') AND title NOT LIKE '%grimble%'", cairn::db::Args(Vec::new())).await.expect("a count");
            left
        };
        eventually!("and so are the records", left().await == 0);
    }

    async fn a_webhook_takes_signed_payloads(service: Service) {
        use hmac::{Hmac, Mac};
        let team = Team::make(&service, json!({})).await;
        let hooks = format!("/boards/{}/webhooks", team.board);
        let made = post(&service, &hooks, json!({"description": "Weather", "secret": "s3cret"})).await;
        assert_eq!((&made["has_secret"], &made["secret"]), (&json!(true), &Value::Null));
        let address = format!("{}{}", service.url, text(&made["endpoint_path"]));
        let send = async |body: String, signature: Option<String>| {
            let mut request = service.http.post(&address).header("content-type", "application/json").header("x-event", "storm");
            if let Some(signature) = signature { request = request.header("x-hub-signature-256", signature); }
            request.body(body).send().await.expect("an answer").status().as_u16()
        };
        let sign = |body: &str| {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret").expect("a key");
            mac.update(body.as_bytes());
            format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
        };
        let body = r#"{"wind": 9}"#;
        assert_eq!(send(body.to_owned(), None).await, 403);
        assert_eq!(send(body.to_owned(), Some(sign("other"))).await, 403);
        assert_eq!(send(body.to_owned(), Some(sign(body))).await, 202);
        let large = "x".repeat((1 << 20) + 1);
        assert_eq!(send(large.clone(), Some(sign(&large))).await, 413);
        let kept = get(&service, &format!("{hooks}/{}/payloads", text(&made["id"]))).await;
        assert_eq!((&kept["total"], &kept["items"][0]["payload"], &kept["items"][0]["headers"]["x-event"]), (&json!(1), &json!({"wind": 9}), &json!("storm")));
        assert!(kept["items"][0]["headers"]["x-hub-signature-256"].is_null());
        eventually!("the lead is told", team.gateway.said("WEBHOOK PAYLOAD RECEIVED") == 1);
        let memory = get(&service, &format!("/boards/{}/memory", team.board)).await;
        assert!(text(&memory["items"][0]["content"]).contains("not instructions"));
        patch(&service, &format!("{hooks}/{}", text(&made["id"])), json!({"enabled": false})).await;
        assert_eq!(send(body.to_owned(), Some(sign(body))).await, 410);
        let foreign = json!({"description": "x", "agent_id": team.main});
        assert_eq!(refused(&service, &service.key, Method::POST, &hooks, foreign).await.0, 422);
    }

    async fn figures_count_the_boards_of_the_caller(service: Service) {
        let team = Team::make(&service, json!({})).await;
        let task = team.task(&service, json!({"title": "a"})).await;
        team.task(&service, json!({"title": "b", "status": "done"})).await;
        let path = team.agent_path(&task);
        call_as(&service, &team.worker_token, Method::PATCH, &path, json!({"status": "in_progress"})).await;
        call_as(&service, &team.worker_token, Method::PATCH, &path, json!({"status": "review"})).await;
        post(&service, &format!("/boards/{}/approvals", team.board), json!({"action_type": "x", "confidence": 9, "lead_reasoning": "r", "task_id": task})).await;
        let figures = get(&service, "/metrics/dashboard").await;
        let kpis = &figures["kpis"];
        assert_eq!((&kpis["review_tasks"], &kpis["done_tasks"], &kpis["inbox_tasks"]), (&json!(1), &json!(1), &json!(0)));
        assert!(kpis["median_cycle_time_hours_7d"].is_number(), "review clears the start, which is remembered: {kpis}");
        assert_eq!(figures["throughput"]["primary"]["bucket"], "hour");
        assert_eq!(figures["pending_approvals"]["items"][0]["task_title"], "a");
        let done: f64 = figures["throughput"]["primary"]["points"].as_array().expect("points").iter().filter_map(|p| p["value"].as_f64()).sum();
        assert!((done - 1.0).abs() < f64::EPSILON, "{figures}");
        let range = refused(&service, &service.key, Method::GET, "/metrics/dashboard?range_key=2d", Value::Null).await;
        assert_eq!(range.0, 422);
    }
}
