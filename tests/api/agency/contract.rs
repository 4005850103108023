//! Every operation of the contract beside the knowledge base, once, on both databases.

use std::collections::BTreeSet;

use cairn::db::Args;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{BASE, activities, campaign, get, post, reaches, stream};
use crate::support::{Service, text};
use crate::{eventually, on_both};

/// The operations of the contract, without those of the knowledge base.
const OPERATIONS: [&str; 67] = [
    "GET /campaigns",
    "POST /campaigns",
    "GET /campaigns/{campaignId}",
    "PATCH /campaigns/{campaignId}",
    "DELETE /campaigns/{campaignId}",
    "GET /campaigns/{campaignId}/deliverables",
    "GET /deliverables/{deliverableId}/activities",
    "GET /activities",
    "GET /activities/{activityId}",
    "GET /activities/{activityId}/output",
    "GET /activities/{activityId}/stream",
    "POST /activities/{activityId}/retry",
    "POST /activities/{activityId}/comments",
    "GET /activities/{activityId}/comments",
    "GET /approvals",
    "GET /approvals/{approvalId}",
    "POST /approvals/{approvalId}/resolve",
    "GET /approvals/stats",
    "GET /channels",
    "POST /channels/{platform}/connect",
    "DELETE /channels/{channelId}",
    "GET /channels/{channelId}/health",
    "GET /leads",
    "POST /leads",
    "GET /leads/{leadId}",
    "PATCH /leads/{leadId}",
    "POST /leads/import",
    "GET /leads/imports/{importId}",
    "GET /blog-requests",
    "POST /blog-requests",
    "GET /social-requests",
    "POST /social-requests",
    "GET /team",
    "POST /team/invite",
    "PATCH /team/users/{userId}",
    "DELETE /team/users/{userId}",
    "GET /agents",
    "GET /agents/{agentRole}",
    "PATCH /agents/{agentRole}",
    "POST /agents/{agentRole}/test",
    "GET /skills",
    "POST /skills",
    "PATCH /skills/{skillId}",
    "DELETE /skills/{skillId}",
    "GET /analytics/spend",
    "GET /analytics/performance",
    "GET /paid-ads/campaigns",
    "GET /paid-ads/search-terms",
    "PATCH /paid-ads/search-terms/{termId}/classify",
    "GET /org-chart",
    "GET /reports",
    "GET /reports/{reportId}",
    "POST /chat/message",
    "GET /chat/conversations",
    "GET /chat/conversations/{conversationId}",
    "DELETE /chat/conversations/{conversationId}",
    "GET /integrations",
    "POST /integrations",
    "PATCH /integrations/{integrationId}",
    "DELETE /integrations/{integrationId}",
    "POST /integrations/{integrationId}/test",
    "GET /audit-log",
    "GET /logs",
    "GET /recurring-tasks",
    "PATCH /recurring-tasks/{taskId}",
    "POST /recurring-tasks/{taskId}/run",
    "GET /events/stream",
];

/// Sends a form.
async fn form(
    service: &Service,
    path: &str,
    fields: &[(&str, &str)],
    file: (&str, &str),
) -> (StatusCode, Value) {
    let mut form = Form::new();
    for (name, value) in fields {
        form = form.text((*name).to_owned(), (*value).to_owned());
    }
    let part = Part::bytes(file.1.as_bytes().to_vec()).file_name(file.0.to_owned());
    let request = service
        .http
        .post(format!("{}{BASE}{path}", service.url))
        .bearer_auth(&service.key);
    let response = request
        .multipart(form.part("file", part))
        .send()
        .await
        .expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

/// Sends a message to the assistant; gives the text and the last event.
async fn ask(service: &Service, body: Value) -> (String, String, Value) {
    let request = service
        .http
        .post(format!("{}{BASE}/chat/message", service.url))
        .bearer_auth(&service.key);
    let response = request.json(&body).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let events = response.text().await.expect("events");
    let (mut said, mut last) = (String::new(), (String::new(), Value::Null));
    for event in events.split("\n\n").filter(|e| e.contains("data:")) {
        let of = |name: &str| {
            event
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .expect("a line")
                .trim()
                .to_owned()
        };
        let data: Value = serde_json::from_str(&of("data:")).expect("JSON");
        if of("event:") == "text_delta" {
            said.push_str(&text(&data["delta"]));
        }
        last = (of("event:"), data);
    }
    (said, last.0, last.1)
}

on_both! {
    async fn every_operation_answers_as_documented(service: Service) {
        let mut walked: BTreeSet<String> = BTreeSet::new();
        macro_rules! step {
            ($method:ident $path:literal, $call:expr, $body:expr, $status:literal $(, $member:literal)*) => {{
                walked.insert(format!("{} {}", stringify!($method), $path));
                let body: Value = $body;
                let body = (!body.is_null()).then_some(body);
                let (status, answer) = service.call(Method::$method, &format!("{BASE}{}", $call), body).await;
                assert_eq!(status.as_u16(), $status, "{} {}: {answer}", stringify!($method), $path);
                $(assert!(!answer[$member].is_null(), "{} {}: no {} in {answer}", stringify!($method), $path, $member);)*
                answer
            }};
        }
        let dataset = service.dataset("north").await;
        service.add(&dataset, "skagen.md", "# Skagen\n\nThe lighthouse at Skagen was lit for the first time in 1858.").await;
        // Campaigns: audits need no model, so the plan is made at once; without the address of a website the audit fails.
        let made = step!(POST "/campaigns", "/campaigns", json!({"name": "Spring", "brief": "Audit our site.", "deliverables": [{"type": "website_audit", "quantity": 1}], "budgetCapUsd": 10, "startDate": "2020-01-31", "attachments": ["ref"]}), 201, "id");
        assert_eq!((&made["name"], &made["status"]), (&json!("Spring"), &json!("draft")));
        let campaign = format!("/campaigns/{}", text(&made["id"]));
        let detail = eventually!(within 60, c in get(&service, &campaign).await, "planned", c["status"] == "active");
        step!(GET "/campaigns/{campaignId}", campaign, Value::Null, 200, "brief", "createdBy", "deliverables", "recentActivities", "costByAgent", "pendingApprovals");
        assert_eq!(detail["deliverables"][0]["currentPeriod"]["target"], 1, "{detail}");
        let list = step!(GET "/campaigns", "/campaigns?order=asc&limit=1&filter[status]=active", Value::Null, 200, "data", "pagination");
        assert_eq!((&list["data"][0]["activityCount"]["total"], &list["data"][0]["startDate"]), (&json!(2), &json!("2020-01-31")), "{list}");
        let periods = step!(GET "/campaigns/{campaignId}/deliverables", format!("{campaign}/deliverables"), Value::Null, 200, "data");
        let periods = periods["data"][0]["periods"].as_array().expect("periods").clone();
        assert!(periods.len() > 70 && periods.last().expect("a period")["status"] == "missed");
        let deliverable = text(&detail["deliverables"][0]["id"]);
        let of_deliverable = step!(GET "/deliverables/{deliverableId}/activities", format!("/deliverables/{deliverable}/activities"), Value::Null, 200, "data", "pagination");
        let audit = text(&of_deliverable["data"][0]["id"]);
        let failed = reaches(&service, &audit, "failed").await;
        assert!(text(&failed["error"]).contains("address of a website"), "{failed}");
        step!(POST "/activities/{activityId}/retry", format!("/activities/{audit}/retry"), Value::Null, 202, "activityId", "runId");
        reaches(&service, &audit, "failed").await;
        let paused = step!(PATCH "/campaigns/{campaignId}", campaign, json!({"status": "paused", "budgetCapUsd": null}), 200, "activityCount");
        assert_eq!((&paused["status"], &paused["budgetCapUsd"]), (&json!("paused"), &Value::Null));
        step!(PATCH "/campaigns/{campaignId}", campaign, json!({"status": "active"}), 200);
        step!(GET "/analytics/performance", "/analytics/performance", Value::Null, 200, "data");
        // Activities.
        let run = step!(POST "/recurring-tasks/{taskId}/run", "/recurring-tasks/monthly-performance-report/run", Value::Null, 202, "activityId");
        let report = text(&run["activityId"]);
        reaches(&service, &report, "done").await;
        assert_eq!(activities(&service, "filter.agentRole=report-writer&filter.status=done&filter.wakeReason=manual").await.len(), 1);
        step!(GET "/activities", "/activities?limit=1", Value::Null, 200, "data", "pagination");
        step!(GET "/activities/{activityId}", format!("/activities/{report}"), Value::Null, 200, "assignee", "inputPrompt", "outputRef", "outputPreview", "comments", "runs", "subtasks");
        let output = step!(GET "/activities/{activityId}/output", format!("/activities/{report}/output"), Value::Null, 200, "text", "createdOn");
        assert_eq!((&output["format"], &output["activityId"]), (&json!("markdown"), &json!(report)));
        walked.insert("GET /activities/{activityId}/stream".to_owned());
        assert_eq!(stream(&service, &format!("/activities/{report}/stream")).await.last().map(|(name, _)| name.clone()), Some("completed".to_owned()));
        step!(POST "/activities/{activityId}/comments", format!("/activities/{report}/comments"), json!({"text": "Thanks @agent:report-writer"}), 201, "author", "mentions");
        step!(GET "/activities/{activityId}/comments", format!("/activities/{report}/comments"), Value::Null, 200, "data");
        let reports = step!(GET "/reports", "/reports?filter.status=ready&filter.type=monthly_performance&filter.startDate=2020-01-01", Value::Null, 200, "data", "pagination");
        let report = step!(GET "/reports/{reportId}", format!("/reports/{}", text(&reports["data"][0]["id"])), Value::Null, 200, "content", "activityId");
        assert_eq!(report["deliveredAt"], Value::Null);
        step!(GET "/recurring-tasks", "/recurring-tasks", Value::Null, 200, "data");
        let active = step!(PATCH "/recurring-tasks/{taskId}", "/recurring-tasks/weekly-website-audit", json!({"isActive": true, "variableValues": {"url": "https://example.com"}}), 200, "nextRunAt");
        assert_eq!((&active["isActive"], &active["variableValues"]["url"]), (&json!(true), &json!("https://example.com")));
        // Approvals: the request of a member asks for one.
        let member = service.key_with(&["marketing:write", "marketing:read"], None).await;
        let (_, wish) = service.call_as(&member, Method::POST, &format!("{BASE}/social-requests"), Some(json!({"topic": "Light", "platforms": ["linkedin"], "scheduleFor": "2030-01-01T09:00:00Z"}))).await;
        assert_eq!((&wish["status"], &wish["priority"], &wish["platforms"]), (&json!("draft"), &json!("normal"), &json!(["linkedin"])), "{wish}");
        let queue = step!(GET "/approvals", "/approvals?filter.riskLevel=low", Value::Null, 200, "data", "pagination");
        let stats = step!(GET "/approvals/stats", "/approvals/stats", Value::Null, 200, "highRisk", "expiringIn24h");
        assert_eq!((&stats["pending"], &stats["resolvedThisWeek"]), (&json!(1), &json!(0)));
        let approval = format!("/approvals/{}", text(&queue["data"][0]["id"]));
        step!(GET "/approvals/{approvalId}", approval, Value::Null, 200, "title", "createdBy", "expiresAt", "linkedActivities");
        let resolve = format!("{approval}/resolve");
        assert_eq!(service.call(Method::POST, &format!("{BASE}{resolve}"), Some(json!({"resolution": "rejected"}))).await.1["error"]["code"], "VALIDATION_ERROR");
        assert_eq!(service.call(Method::POST, &format!("{BASE}{resolve}"), Some(json!({"resolution": "approved", "selectedOption": "x"}))).await.1["error"]["code"], "UNPROCESSABLE");
        step!(POST "/approvals/{approvalId}/resolve", resolve, json!({"resolution": "rejected", "note": "Not now"}), 200, "approvalId", "reEnqueuedActivities");
        step!(GET "/social-requests", "/social-requests?filter.status=rejected&filter.platform=linkedin", Value::Null, 200, "data", "pagination");
        let blog = step!(POST "/blog-requests", "/blog-requests", json!({"topic": "Light", "targetKeyword": "lamps", "brief": "Short", "priority": "high"}), 201, "id", "createdBy");
        assert_eq!(blog["status"], "approved");
        step!(GET "/blog-requests", "/blog-requests?filter.status=approved", Value::Null, 200, "data", "pagination");
        let social = step!(POST "/social-requests", "/social-requests", json!({"topic": "Light", "platforms": ["tiktok", "linkedin", "tiktok"]}), 201, "platforms");
        assert_eq!(social["platforms"], json!(["linkedin", "tiktok"]));
        // Channels and integrations that are not configured say so.
        step!(GET "/channels", "/channels", Value::Null, 200, "data");
        let refused = step!(POST "/channels/{platform}/connect", "/channels/linkedin/connect", json!({"redirectUrl": service.url}), 422, "error");
        assert_eq!(refused["error"]["reason"], "platform_not_configured");
        step!(POST "/channels/{platform}/connect", "/channels/myspace/connect", json!({"redirectUrl": service.url}), 404);
        step!(DELETE "/channels/{channelId}", "/channels/01ARZ3NDEKTSV4RRFFQ69G5FAV", Value::Null, 404);
        step!(GET "/channels/{channelId}/health", "/channels/01ARZ3NDEKTSV4RRFFQ69G5FAV/health", Value::Null, 404);
        let integration = step!(POST "/integrations", "/integrations", json!({"integrationType": "custom", "name": "Ours", "apiKey": "key-1234567890abcd", "extraConfig": {"testUrl": "http://127.0.0.1:1/"}}), 201, "errorMessage");
        assert_eq!((&integration["apiKey"], &integration["status"], &integration["isActive"]), (&json!("••••••••abcd"), &json!("error"), &json!(true)), "{integration}");
        let id = text(&integration["id"]);
        step!(GET "/integrations", "/integrations", Value::Null, 200, "data");
        step!(PATCH "/integrations/{integrationId}", format!("/integrations/{id}"), json!({"name": "Theirs", "isActive": false}), 200, "apiKey");
        assert_eq!(step!(POST "/integrations/{integrationId}/test", format!("/integrations/{id}/test"), Value::Null, 200, "message")["ok"], false);
        assert_eq!(step!(DELETE "/integrations/{integrationId}", format!("/integrations/{id}"), Value::Null, 200)["deleted"], true);
        // Leads.
        let lead = step!(POST "/leads", "/leads", json!({"firstName": "Ada", "lastName": "Holm", "email": "ada@berg.test", "company": "Berg", "tags": ["vip"], "notes": "Met at the fair"}), 201, "id", "score", "createdOn");
        assert_eq!((&lead["status"], &lead["source"], &lead["company"]), (&json!("new"), &json!("manual"), &json!("Berg")), "{lead}");
        let path = format!("/leads/{}", text(&lead["id"]));
        let patched = step!(PATCH "/leads/{leadId}", path, json!({"status": "contacted", "score": 77, "phone": "+45 1"}), 200, "phone");
        assert_eq!((&patched["status"], &patched["score"]), (&json!("contacted"), &json!(77)), "{patched}");
        let found = step!(GET "/leads", "/leads?filter.status=contacted&filter.source=manual&search=holm", Value::Null, 200, "data", "pagination");
        assert_eq!(found["data"][0]["id"], lead["id"]);
        let whole = step!(GET "/leads/{leadId}", path, Value::Null, 200, "notes", "timeline");
        assert_eq!(whole["timeline"][0]["type"], "status_change", "{whole}");
        walked.insert("POST /leads/import".to_owned());
        let (status, import) = form(&service, "/leads/import", &[("source", "fair")], ("leads.csv", "First name,Last name,Email\nBo,Lund,bo@lund.test\nAda,Holm,ada@berg.test\n,,\nCy,,not an address\n")).await;
        assert_eq!((status.as_u16(), &import["total"], &import["status"]), (202, &json!(4), &json!("processing")), "{import}");
        let path = format!("/leads/imports/{}", text(&import["importId"]));
        eventually!(within 60, i in get(&service, &path).await, "imported", i["status"] == "completed");
        let done = step!(GET "/leads/imports/{importId}", path, Value::Null, 200, "errors");
        assert_eq!((&done["imported"], &done["skipped"], &done["errors"][0]["row"]), (&json!(1), &json!(3), &json!(2)), "{done}");
        // Team and agents.
        let team = step!(GET "/team", "/team?filter.type=human", Value::Null, 200, "data");
        let owner = text(&team["data"][0]["id"]);
        step!(POST "/team/invite", "/team/invite", json!({"email": "bo@lund.test", "name": "Bo", "role": "reviewer"}), 201, "inviteId", "inviteUrl", "expiresAt");
        let kept = step!(PATCH "/team/users/{userId}", format!("/team/users/{owner}"), json!({"role": "member"}), 409, "error");
        assert_eq!(kept["error"]["reason"], "user_is_owner");
        let user = text(&service.post("/kb/v1/users", json!({"name": "Cy", "role": "member"})).await["id"]);
        assert_eq!(step!(PATCH "/team/users/{userId}", format!("/team/users/{user}"), json!({"role": "reviewer"}), 200)["role"], "reviewer");
        step!(DELETE "/team/users/{userId}", format!("/team/users/{user}"), Value::Null, 204);
        assert_eq!(get(&service, "/team?filter.type=human&filter.status=inactive").await["data"][0]["id"], json!(user));
        let chart = step!(GET "/org-chart", "/org-chart", Value::Null, 200, "nodes", "edges");
        assert_eq!(chart["nodes"].as_array().map(Vec::len), chart["edges"].as_array().map(|e| e.len() + 1), "everybody but the owner reports to somebody");
        step!(GET "/agents", "/agents", Value::Null, 200, "data");
        let agent = step!(GET "/agents/{agentRole}", "/agents/blog-writer", Value::Null, 200, "adapterConfig", "toolNames", "skillIds");
        assert_eq!((&agent["isGlobalDefault"], &agent["concurrency"]), (&json!(true), &json!(3)));
        let patched = step!(PATCH "/agents/{agentRole}", "/agents/blog-writer", json!({"concurrency": 5, "toolNames": ["search_knowledge"], "adapterConfig": {"promptTemplate": "Write {{ title }}."}}), 200, "adapterConfig");
        assert_eq!((&patched["isGlobalDefault"], &patched["toolNames"], &patched["adapterConfig"]["promptTemplate"]), (&json!(false), &json!(["search_knowledge"]), &json!("Write {{ title }}.")));
        for (body, status, reason) in [(json!({"concurrency": 11}), 400, "value_out_of_range"), (json!({"model": "x"}), 422, "model_unknown"), (json!({"toolNames": ["fly"]}), 422, "tool_unknown"), (json!({"adapterConfig": {"promptTemplate": "{{"}}), 400, "template_invalid")] {
            let (code, answer) = service.call(Method::PATCH, &format!("{BASE}/agents/blog-writer"), Some(body)).await;
            assert_eq!((code.as_u16(), &answer["error"]["reason"]), (status, &json!(reason)));
        }
        step!(POST "/agents/{agentRole}/test", "/agents/blog-writer/test", Value::Null, 200, "message", "checks");
        // Skills.
        walked.insert("POST /skills".to_owned());
        let (status, skill) = form(&service, "/skills", &[("name", "Voice"), ("description", "Our tone"), ("agentRoles", "blog-writer, copywriter")], ("voice.md", "# Voice\n\nWarm, short.")).await;
        assert_eq!((status.as_u16(), &skill["scope"], &skill["assignedAgents"], &skill["sizeBytes"]), (201, &json!("tenant"), &json!(["blog-writer", "copywriter"]), &json!(21)), "{skill}");
        let path = format!("/skills/{}", text(&skill["id"]));
        let changed = step!(PATCH "/skills/{skillId}", path, json!({"content": "# Voice\n\nDry.", "agentRoles": ["blog-writer"]}), 200, "updatedOn");
        assert_eq!(changed["assignedAgents"], json!(["blog-writer"]));
        let skills = step!(GET "/skills", "/skills?filter.agentRole=blog-writer", Value::Null, 200, "data");
        assert_eq!(skills["data"].as_array().map(Vec::len), Some(3), "{skills}");
        step!(PATCH "/skills/{skillId}", "/skills/global-figures", json!({"name": "x"}), 403);
        step!(DELETE "/skills/{skillId}", path, Value::Null, 204);
        // Figures.
        step!(GET "/analytics/spend", "/analytics/spend?period=week&groupBy=model", Value::Null, 200, "totalUsd", "breakdown", "dailySeries");
        for (kind, csv) in [("campaigns", "Campaign,Cost,Impressions,Clicks,Conversions\nSpring,12.5,1000,50,2\n"), ("search_terms", "Search term,Campaign,Clicks,Cost,Conversions\nlamp price,Spring,3,2,0\n")] {
            let (status, imported) = form(&service, "/paid-ads/import", &[("platform", "google_ads"), ("kind", kind)], ("export.csv", csv)).await;
            assert_eq!((status.as_u16(), &imported["rows"]), (201, &json!(1)), "{imported}");
        }
        let ads = step!(GET "/paid-ads/campaigns", "/paid-ads/campaigns", Value::Null, 200, "data", "pagination");
        assert_eq!((&ads["data"][0]["clicks"], &ads["data"][0]["costPerConversionUsd"]), (&json!(50), &json!(6.25)), "{ads}");
        let terms = step!(GET "/paid-ads/search-terms", format!("/paid-ads/search-terms?filter.classification=high_intent&filter.campaignId={}", text(&ads["data"][0]["id"])), Value::Null, 200, "data", "pagination");
        let term = step!(PATCH "/paid-ads/search-terms/{termId}/classify", format!("/paid-ads/search-terms/{}/classify", text(&terms["data"][0]["id"])), json!({"classification": "negative", "note": "Others"}), 200, "note");
        assert_eq!((&term["classification"], &term["classificationSource"]), (&json!("negative"), &json!("manual")));
        // Chat.
        walked.insert("POST /chat/message".to_owned());
        let (said, last, completed) = ask(&service, json!({"message": "When was the lighthouse at Skagen lit for the first time?"})).await;
        assert!(said.contains("1858") && last == "completed", "{said} {completed}");
        assert!(text(&completed["conversationId"]).starts_with("conv_") && text(&completed["messageId"]).starts_with("msg_") && text(&completed["citations"][0]["citation"]).starts_with("kb://"), "{completed}");
        let conversation = format!("/chat/conversations/{}", text(&completed["conversationId"]));
        ask(&service, json!({"message": "And where?", "conversationId": completed["conversationId"], "context": {"campaignId": made["id"]}})).await;
        step!(GET "/chat/conversations", "/chat/conversations", Value::Null, 200, "data");
        let whole = step!(GET "/chat/conversations/{conversationId}", conversation, Value::Null, 200, "title");
        assert_eq!(whole["messages"].as_array().map(Vec::len), Some(4), "{whole}");
        let path = format!("{BASE}{conversation}");
        assert_eq!(service.call_as(&member, Method::GET, &path, None).await.0, 404, "of others");
        assert_eq!(step!(DELETE "/chat/conversations/{conversationId}", conversation, Value::Null, 200)["deleted"], true);
        // Audit and logs.
        let audit = step!(GET "/audit-log", "/audit-log?filter.entityType=campaign&filter.action=updated", Value::Null, 200, "data", "pagination");
        assert_eq!(audit["data"][0]["changes"]["status"]["to"], "active", "{audit}");
        assert_eq!(get(&service, "/audit-log?filter.entityType=approval&filter.action=rejected").await["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(get(&service, "/audit-log?filter.entityType=user").await["data"].as_array().map(Vec::len), Some(3));
        step!(GET "/logs", "/logs?filter.level=info&filter.category=agent", Value::Null, 200, "data", "pagination");
        for path in ["/logs?filter.level=loud", "/logs?filter.size=1", "/leads?limit=0", "/activities?cursor=%25", "/analytics/spend?startDate=2026-02-30"] {
            assert_eq!(service.call(Method::GET, &format!("{BASE}{path}"), None).await.0, 400, "{path}");
        }
        step!(DELETE "/campaigns/{campaignId}", campaign, Value::Null, 204);
        walked.insert("GET /events/stream".to_owned());
        let request = service.http.get(format!("{}{BASE}/events/stream", service.url)).bearer_auth(&service.key).header("last-event-id", "0");
        let mut events = request.send().await.expect("a stream");
        let mut heard = String::new();
        eventually!(within 60, "the stream tells of the work", {
            let piece = events.chunk().await.expect("a piece").unwrap_or_default();
            heard.push_str(&String::from_utf8_lossy(&piece));
            ["activity_started", "activity_completed", "activity_failed", "approval_created"].iter().all(|name| heard.contains(name))
        });
        let expected: BTreeSet<String> = OPERATIONS.iter().map(|o| (*o).to_owned()).collect();
        assert_eq!(walked, expected);
    }

    async fn every_write_is_audited_and_done_once(service: Service) {
        let lead = text(&post(&service, "/leads", json!({"firstName": "Ada", "lastName": "Holm"})).await["id"]);
        let (campaign, other) = (campaign(&service, "website_audit", None).await, campaign(&service, "website_audit", None).await);
        let audits = eventually!(within 60, all in activities(&service, "filter.wakeReason=planned&filter.status=failed").await, "two audits fail", all.len() == 2);
        let failed = text(&audits[0]["id"]);
        let member = service.key_with(&["marketing:write"], None).await;
        let (status, _) = service.call_as(&member, Method::POST, &format!("{BASE}/blog-requests"), Some(json!({"topic": "x"}))).await;
        assert_eq!(status, 201);
        let approval = text(&get(&service, "/approvals").await["data"][0]["id"]);
        let (_, skill) = form(&service, "/skills", &[("name", "Voice")], ("v.md", "Warm.")).await;
        form(&service, "/paid-ads/import", &[("platform", "google_ads"), ("kind", "search_terms")], ("t.csv", "Search term,Campaign\nlamp,Spring\n")).await;
        let term = text(&get(&service, "/paid-ads/search-terms").await["data"][0]["id"]);
        let key = json!({"integrationType": "custom", "name": "Ours", "apiKey": "k", "extraConfig": {"testUrl": "http://127.0.0.1:1/"}});
        let integration = text(&post(&service, "/integrations", key).await["id"]);
        let writes: Vec<(&str, &str, String, Value)> = vec![
            ("createCampaign", "POST", "/campaigns".into(), json!({"name": "x", "brief": "x", "deliverables": [{"type": "backlink", "quantity": 1}]})),
            ("updateCampaign", "PATCH", format!("/campaigns/{campaign}"), json!({"brief": "y"})),
            ("retryActivity", "POST", format!("/activities/{failed}/retry"), Value::Null),
            ("archiveCampaign", "DELETE", format!("/campaigns/{other}"), Value::Null),
            ("addActivityComment", "POST", format!("/activities/{failed}/comments"), json!({"text": "Hello"})),
            ("resolveApproval", "POST", format!("/approvals/{approval}/resolve"), json!({"resolution": "approved"})),
            ("createDashboardLead", "POST", "/leads".into(), json!({"firstName": "Bo", "lastName": "Lund"})),
            ("updateDashboardLead", "PATCH", format!("/leads/{lead}"), json!({"status": "qualified"})),
            ("createBlogRequest", "POST", "/blog-requests".into(), json!({"topic": "y"})),
            ("createSocialRequest", "POST", "/social-requests".into(), json!({"topic": "y", "platforms": ["tiktok"]})),
            ("updateAgentConfig", "PATCH", "/agents/copywriter".into(), json!({"concurrency": 2})),
            ("deleteTeamSkill", "DELETE", format!("/skills/{}", text(&skill["id"])), Value::Null),
            ("classifySearchTerm", "PATCH", format!("/paid-ads/search-terms/{term}/classify"), json!({"classification": "negative"})),
            ("updateRecurringTask", "PATCH", "/recurring-tasks/weekly-social-ideas".into(), json!({"variableValues": {"theme": "Light"}})),
            ("runRecurringTask", "POST", "/recurring-tasks/monthly-performance-report/run".into(), Value::Null),
            ("deleteIntegration", "DELETE", format!("/integrations/{integration}"), Value::Null),
        ];
        let document = service.get("/openapi.json").await;
        let operations = document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.starts_with("/dashboard/"));
        let operations = operations.flat_map(|(_, item)| item.as_object().expect("operations").values());
        let takes_key = |o: &&Value| o["parameters"].as_array().into_iter().flatten().any(|p| p["name"] == "Idempotency-Key");
        let writing: BTreeSet<String> = operations.filter(takes_key).map(|o| text(&o["operationId"])).collect();
        assert_eq!(writes.iter().map(|(id, ..)| (*id).to_owned()).collect::<BTreeSet<_>>(), writing);
        let audited = async |operation: &str| -> i64 {
            let args = Args(vec![operation.into()]);
            let (count,): (i64,) = service.app.db.one("SELECT COUNT(*) FROM audit_events WHERE operation = $1", args).await.expect("a number");
            count
        };
        for (operation, method, path, body) in &writes {
            let send = async || {
                let method = Method::from_bytes(method.as_bytes()).expect("a method");
                let mut request = service.http.request(method, format!("{}{BASE}{path}", service.url)).bearer_auth(&service.key).header("Idempotency-Key", "walk");
                if !body.is_null() { request = request.json(body); }
                let response = request.send().await.expect("an answer");
                let is_replayed = response.headers().contains_key("idempotent-replayed");
                (response.status().as_u16(), is_replayed, response.text().await.expect("a body"))
            };
            let before = audited(operation).await;
            let (status, is_replayed, first) = send().await;
            assert!(status < 300 && !is_replayed, "{operation}: {status} {first}");
            let once = audited(operation).await;
            assert!(once > before, "{operation} is not audited");
            assert_eq!(send().await, (status, true, first), "{operation}");
            assert_eq!(audited(operation).await, once, "{operation} is done twice");
        }
    }
}
