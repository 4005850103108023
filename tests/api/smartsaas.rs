//! What the public scripts of agents rely on: one rule of them per test.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

/// The id of something that was made.
async fn made(service: &Service, path: &str, body: Value) -> String {
    text(&service.post(path, body).await["_id"])
}

/// Status and reason of a refusal.
async fn refused(service: &Service, path: &str, body: Value) -> (u16, Value) {
    let (status, answer) = service.call(Method::POST, path, Some(body)).await;
    (status.as_u16(), answer["error"]["reason"].clone())
}

on_both! {
    async fn a_folder_is_named_by_its_title_too(service: Service) {
        let folder = made(&service, "/protected/data/folders", json!({"dataTitle": "harbour_fees"})).await;
        service.post("/protected/data/folders/harbour_fees/items", json!({"city": "Skagen"})).await;
        let content = service.get("/protected/data/folders/harbour_fees/content").await["data"].clone();
        assert_eq!((&content["folder"]["_id"], &content["items"][0]["data"]["city"]), (&json!(folder), &json!("Skagen")), "{content}");
        made(&service, "/protected/data/folders", json!({"dataTitle": "harbour_fees"})).await;
        assert_eq!(refused(&service, "/protected/data/folders/harbour_fees/items", json!({"city": "x"})).await, (409, json!("folder_ambiguous")));
    }

    async fn the_content_of_a_folder_is_told_by_type_and_in_pages(service: Service) {
        let folder = made(&service, "/protected/data/folders", json!({"dataTitle": "papers"})).await;
        let inner = made(&service, "/protected/data/folders", json!({"dataTitle": "inner", "parentId": folder})).await;
        for (name, kind) in [("a", "document"), ("b", "invoice"), ("c", "invoice")] {
            service.post(&format!("/protected/data/folders/{folder}/items"), json!({"name": name, "type": kind})).await;
        }
        let path = format!("/protected/data/folders/{folder}/content");
        let names = |content: &Value| -> Vec<String> { content["data"]["items"].as_array().expect("items").iter().map(|i| text(&i["data"]["name"])).collect() };
        let all = service.get(&path).await;
        assert_eq!((names(&all), &all["data"]["folders"][0]["_id"]), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], &json!(inner)));
        assert_eq!(names(&service.get(&format!("{path}?type=invoice")).await), ["b", "c"]);
        let first = service.get(&format!("{path}?limit=2")).await;
        let second = service.get(&format!("{path}?limit=2&cursor={}", text(&first["data"]["nextCursor"]))).await;
        assert_eq!((names(&first).len(), names(&second)), (2, vec!["c".to_owned()]));
        let listed = service.get(&format!("/protected/data/folders?parentId={folder}")).await;
        assert_eq!((listed["data"].as_array().map(Vec::len), &listed["data"][0]["_id"]), (Some(1), &json!(inner)));
    }

    async fn a_task_is_assigned_without_its_work_package(service: Service) {
        let project = made(&service, "/protected/projects", json!({"name": "Pier"})).await;
        let other = made(&service, "/protected/projects", json!({"name": "Mole"})).await;
        let package = made(&service, &format!("/protected/projects/{project}/work-packages"), json!({"work_package_title": "Stones"})).await;
        let task = made(&service, &format!("/protected/projects/{project}/work-packages/{package}/tasks"), json!({"task_title": "Count them"})).await;
        let patch = async |project: &str, body: Value| service.call(Method::PATCH, &format!("/api/protected/projects/{project}/tasks/{task}"), Some(body)).await;
        let (status, answer) = patch(&project, json!({"assigned_to": "ada"})).await;
        assert_eq!((status, &answer["data"]["assigned_to"], &answer["data"]["title"]), (StatusCode::OK, &json!("ada"), &json!("Count them")), "{answer}");
        assert_eq!(patch(&project, json!({})).await.0, StatusCode::OK, "nothing to change");
        assert_eq!(patch(&other, json!({"assigned_to": "eve"})).await.0, StatusCode::NOT_FOUND);
    }

    async fn a_member_of_a_team_has_one_entry(service: Service) {
        let project = made(&service, "/protected/projects", json!({"name": "Pier"})).await;
        let path = format!("/protected/projects/{project}/team");
        service.post(&path, json!({"userId": "u1"})).await;
        let team = service.post(&path, json!({"userId": "u1", "role": "lead"})).await["data"]["teamMembers"].clone();
        assert_eq!(team, json!([{"userId": "u1", "role": "lead"}]));
    }

    async fn templates_take_plurals_and_changes(service: Service) {
        let page = made(&service, "/protected/templates/webpages", json!({"title": "Landing", "content": "<h1>a</h1>", "urlSlug": "a"})).await;
        assert_eq!(service.get("/protected/templates/webpage").await["data"][0]["_id"], json!(page));
        let changed = service.post("/protected/templates/webpages/update-template", json!({"_id": page, "content": "<h1>b</h1>", "urlSlug": null})).await["data"].clone();
        assert_eq!((&changed["content"], changed.get("urlSlug"), &changed["title"]), (&json!("<h1>b</h1>"), None, &json!("Landing")));
        assert_eq!(refused(&service, "/protected/templates/update-email-template", json!({"_id": page})).await, (404, json!("record_not_found")), "another kind");
    }

    async fn a_campaign_comes_in_its_wrapper_and_is_changed_by_its_id(service: Service) {
        let path = "/api/protected/sales/create-campaign";
        let campaign = made(&service, path, json!({"campaign": {"campaign_title": "Spring", "stages": [{"_id": "s1", "name": "New"}, {"_id": "s2", "name": "Won"}]}})).await;
        let listed = service.get("/protected/sales/campaigns").await["data"][0].clone();
        assert_eq!((&listed["title"], &listed["campaign_title"]), (&json!("Spring"), &json!("Spring")));
        let (status, changed) = service.call(Method::POST, path, Some(json!({"id": campaign, "campaign": {"title": "Summer"}}))).await;
        assert_eq!((status, &changed["data"]["title"]), (StatusCode::OK, &json!("Summer")), "{changed}");
        service.post("/api/sales/create-lead", json!({"name": "Ada", "campaignId": campaign, "stageId": "s2"})).await;
        assert_eq!(refused(&service, path, json!({"id": campaign, "campaign": {"stages": ["Only"]}})).await, (400, json!("stage_invalid")), "a stage that has leads");
    }

    async fn a_lead_is_added_and_moved_through_the_funnel(service: Service) {
        let campaign = made(&service, "/protected/sales/campaigns", json!({"title": "Spring"})).await;
        let lead = made(&service, "/api/sales/create-lead", json!({"name": "Ada", "email": "ada@example.com"})).await;
        let added = service.post("/api/sales/funnel/add-lead", json!({"leadId": lead, "campaignId": campaign, "stageId": "contacted"})).await["data"].clone();
        assert_eq!((&added["campaignId"], &added["stageIndex"], &added["stage"]), (&json!(campaign), &json!(1), &json!("contacted")), "{added}");
        let moved = service.post("/api/sales/funnel/move-lead", json!({"leadId": lead, "fromStageId": "1", "toStageId": "won"})).await["data"].clone();
        assert_eq!(moved["stageIndex"], 4, "{moved}");
        assert_eq!(refused(&service, "/api/sales/funnel/move-lead", json!({"leadId": lead, "fromStageId": 1, "toStageId": 2})).await, (409, json!("stage_changed")));
        assert_eq!(refused(&service, "/api/sales/funnel/move-lead", json!({"leadId": lead, "toStageId": "dreams"})).await, (400, json!("stage_invalid")));
        let funnel = service.get(&format!("/protected/sales/funnel?campaignId={campaign}")).await["data"][0].clone();
        assert_eq!((&funnel["stages"][4]["leads"], &funnel["leads"]), (&json!(1), &json!(1)));
    }

    async fn research_keeps_its_texts_apart(service: Service) {
        let body = json!({"title": "Tides", "findings": "The moon pulls the water of the harbour.", "content": "Spring tides come at new moon.", "summary": "Gravity does it."});
        let id = made(&service, "/protected/research", body.clone()).await;
        let found = service.get(&format!("/protected/knowledge/{id}")).await["data"].clone();
        for name in ["findings", "content", "summary"] {
            assert_eq!(found[name], body[name], "{found}");
        }
    }

    async fn a_repeated_finding_is_told_whatever_its_sources_are(service: Service) {
        let body = |sources: Vec<String>| json!({"findings": "The harbour of Skagen froze for eleven days in the winter of 1963.", "sources": sources});
        let id = made(&service, "/protected/research", body((0..30).map(|n| format!("https://example.com/archive/volume-{n}/page.html")).collect())).await;
        crate::eventually!("the repetition was not told", {
            let again = service.post("/protected/research", body(vec!["https://other.example.org/".to_owned()])).await;
            let duplicates = again["data"]["duplicates"].as_array().expect("duplicates").clone();
            duplicates.iter().any(|d| d["id"] == json!(id) && d["similarity"].as_f64().is_some_and(|s| s > 0.99))
        });
    }

    async fn people_come_in_pages(service: Service) {
        for n in 0..3 {
            service.post("/kb/v1/users", json!({"name": format!("person {n}")})).await;
        }
        let count = async |query: &str| service.get(&format!("/protected/users{query}")).await["data"].as_array().map(Vec::len);
        assert_eq!((count("").await, count("?page=1&pageSize=3").await, count("?page=2&pageSize=3").await), (Some(4), Some(3), Some(1)));
        assert_eq!(service.call(Method::GET, "/protected/users?page=0", None).await.0, StatusCode::BAD_REQUEST);
    }

    async fn an_agent_hears_what_it_pushed_itself(service: Service) {
        let agent = service.key_with(&["data:write"], None).await;
        let other = service.key_with(&["data:write"], None).await;
        let push = async |key: &str, message: &str| {
            let body = json!({"message": message});
            assert_eq!(service.call_as(key, Method::POST, "/protected/openclaw/webhook", Some(body)).await.0, StatusCode::OK);
        };
        let url = format!("{}/kb/v1/events?lastEventId=0", service.url);
        let mut stream = service.http.get(&url).bearer_auth(&agent).send().await.expect("an answer");
        assert_eq!(stream.status(), StatusCode::OK);
        push(&other, "not for you").await;
        push(&agent, "mine").await;
        let mut heard = String::new();
        while !heard.contains("mine") {
            heard.push_str(&String::from_utf8_lossy(&stream.chunk().await.expect("a chunk").expect("a stream")));
        }
        assert!(!heard.contains("not for you"), "{heard}");
        let confined = service.key_with(&["kb:write"], Some(vec![service.dataset("d").await])).await;
        let refused = service.http.get(&url).bearer_auth(&confined).send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }

    async fn agents_can_ask_what_a_body_looks_like(service: Service) {
        let document = service.get("/openapi.json").await;
        let mut asked = 0;
        for path in document["paths"].as_object().expect("paths").keys().filter(|p| p.starts_with("/protected") && p.ends_with("schema") && !p.contains("{id}")) {
            let schema = service.get(&path.replace("{kind}", "documents")).await["data"].clone();
            let operation = text(&schema["operation"]);
            let (method, target) = operation.split_once(' ').expect("method and path");
            assert!(document["paths"][target][method.to_lowercase()].is_object(), "{path}: {operation}");
            asked += 1;
        }
        assert_eq!(asked, 9);
    }
}
