//! The ClawCRM dialect: every operation once, and each rule of it by itself.

mod inbound;
pub mod mails;

use std::collections::BTreeSet;

use cairn::db::Args;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Engine, Service, site, text};

/// Prefix of the dialect.
pub const BASE: &str = "/api/openclaw";

/// Calls an operation that succeeds.
pub async fn call(service: &Service, method: Method, path: &str, body: Value) -> Value {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = service
        .call(method.clone(), &format!("{BASE}{path}"), body)
        .await;
    assert!(status.is_success(), "{method} {path}: {status} {answer}");
    for name in ["warnings", "next_steps"] {
        assert!(answer[name].is_array(), "{method} {path}: {answer}");
    }
    answer
}

pub async fn post(service: &Service, path: &str, body: Value) -> Value {
    call(service, Method::POST, path, body).await
}

pub async fn get(service: &Service, path: &str) -> Value {
    call(service, Method::GET, path, Value::Null).await
}

/// Status and reason of an operation that is refused, whose error has a hint.
pub async fn refused(service: &Service, method: Method, path: &str, body: Value) -> (u16, String) {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = service.call(method, &format!("{BASE}{path}"), body).await;
    assert!(status.is_client_error(), "{path}: {status} {answer}");
    let hint = answer["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.len() > 10, "{path}: {answer}");
    (status.as_u16(), text(&answer["error"]["reason"]))
}

/// Adds a lead and gives its id.
pub async fn lead(service: &Service, email: &str) -> String {
    let body = json!({"firstName": "Ada", "lastName": "Holm", "email": email});
    text(&post(service, "/leads", body).await["id"])
}

/// Gives the pipeline three stages.
pub async fn stages(service: &Service) {
    let stages = json!([{"name": "Prospects", "order": 0, "isDefault": true}, {"name": "Contacted", "order": 1}, {"name": "Closed Won", "order": 2}]);
    post(service, "/setup", json!({"stages": stages})).await;
}

fn names(list: &Value, member: &str) -> Vec<String> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|item| text(&item[member]))
        .collect()
}

on_both! {
    async fn every_operation_answers_as_documented(service: Service) {
        let mut walked: BTreeSet<String> = BTreeSet::new();
        let mut did = |method: &str, path: &str| { walked.insert(format!("{method} {path}")); };
        macro_rules! step {
            ($method:ident $path:literal, $call:expr, $body:expr, $($member:literal),*) => {{
                did(stringify!($method), $path);
                let answer = call(&service, Method::$method, &$call, $body).await;
                $(assert!(!answer[$member].is_null(), "{} {}: no {} in {answer}", stringify!($method), $path, $member);)*
                answer
            }};
        }
        let public = async |method: Method, body: Option<Value>| {
            let mut request = service.http.request(method, format!("{}{BASE}/signup", service.url));
            if let Some(body) = body { request = request.json(&body); }
            request.send().await.expect("an answer").json::<Value>().await.expect("JSON")
        };
        did("GET", "/signup"); did("POST", "/signup");
        assert!(public(Method::GET, None).await["body"].is_object());
        let signed = public(Method::POST, Some(json!({"email": "ada@example.com", "workspace_name": "Acme", "agent_name": "scout", "agent_platform": "openclaw"}))).await;
        assert!(text(&signed["apiKey"]).starts_with("rcm_live_") && text(&signed["orgId"]).starts_with("org_"), "{signed}");
        step!(GET "/setup", "/setup", Value::Null, "schema", "example");
        step!(POST "/setup", "/setup", json!({"projectSlug": "acme", "org": {"name": "Acme", "industry": "dental", "bookingLink": "https://calendly.com/acme"}, "stages": [{"name": "Prospects", "order": 0, "isDefault": true, "color": "#888"}, {"name": "Won", "order": 1}]}), "orgId");
        let made = step!(POST "/leads", "/leads", json!({"firstName": "Ada", "email": "ada@berg.test", "clinicName": "Berg", "practiceType": "dentist", "tier": "high"}), "id", "lead");
        assert_eq!((&made["success"], &made["enrichmentQueued"], &made["lead"]["organizationName"]), (&json!(true), &json!(false), &json!("Berg")));
        let id = text(&made["id"]);
        assert!(id.starts_with("rp_"), "{id}");
        let other = lead(&service, "bo@berg.test").await;
        step!(GET "/leads", "/leads?status=new&tier=high&limit=10&offset=0", Value::Null, "leads", "total");
        step!(PUT "/leads", "/leads", json!({"id": id, "firstName": "Ada", "email": "ada@berg.test", "organizationName": "Berg"}), "lead");
        step!(PATCH "/leads", "/leads", json!({"id": id, "status": "contacted"}), "lead");
        step!(PATCH "/leads/{leadId}", format!("/leads/{id}"), json!({"crmData": {"a": 1}}), "lead");
        step!(GET "/leads/{leadId}", format!("/leads/{id}"), Value::Null, "lead");
        step!(POST "/enrich", "/enrich", json!({"leadId": id}), "status");
        step!(GET "/enrich", format!("/enrich?leadId={id}"), Value::Null, "status", "enrichment");
        step!(POST "/enrich/bulk", "/enrich/bulk", json!({"leadIds": [id, other]}), "failed", "results");
        step!(POST "/enrich/spider-web", "/enrich/spider-web", json!({"leadId": id}), "connections", "totalConnections");
        let stage = text(&step!(POST "/stages", "/stages", json!({"name": "Demo", "color": "#f00"}), "id", "stage")["id"]);
        step!(GET "/stages", "/stages", Value::Null, "stages");
        step!(PUT "/stages", "/stages", json!({"id": stage, "name": "Demonstrated"}), "stage");
        step!(DELETE "/stages", format!("/stages?id={stage}"), Value::Null, "deleted");
        let source = text(&step!(POST "/stages/sync-sources", "/stages/sync-sources", json!({"type": "form_webhook", "name": "Form"}), "id", "secret", "source")["id"]);
        step!(GET "/stages/sync-sources", "/stages/sync-sources", Value::Null, "sources");
        step!(PUT "/stages/sync-sources", "/stages/sync-sources", json!({"id": source, "enabled": false}), "source");
        step!(DELETE "/stages/sync-sources", format!("/stages/sync-sources?id={source}"), Value::Null, "deleted");
        let field = text(&step!(POST "/fields", "/fields", json!({"name": "Chairs", "fieldType": "number"}), "field")["id"]);
        step!(GET "/fields", "/fields", Value::Null, "fields");
        step!(PUT "/fields", "/fields", json!({"id": field, "name": "Dental chairs"}), "field");
        step!(DELETE "/fields", format!("/fields?id={field}"), Value::Null, "deleted");
        step!(GET "/analytics", "/analytics?days=30", Value::Null, "totalLeads", "pipeline", "conversionRate");
        let campaign = text(&step!(POST "/campaigns", "/campaigns", json!({"name": "Hello", "trigger": "manual", "ai_enabled": false, "steps": [{"delayMinutes": 60, "subject": "Hi", "body": "Hello {{ firstName }}"}]}), "campaign")["id"]);
        step!(GET "/campaigns", "/campaigns", Value::Null, "campaigns", "triggers");
        step!(POST "/campaigns/{campaignId}/enroll", format!("/campaigns/{campaign}/enroll"), json!({"leadId": id}), "id", "enrolled");
        step!(PATCH "/campaigns/{campaignId}", format!("/campaigns/{campaign}"), json!({"status": "paused"}), "campaign");
        step!(GET "/campaigns/{campaignId}/emails", format!("/campaigns/{campaign}/emails"), Value::Null, "emails", "counts");
        step!(POST "/email/send-sequence", "/email/send-sequence", json!({"leadId": other, "sequence": [{"delayMinutes": 60, "subject": "Hi", "body": "Hello"}]}), "campaignId");
        service.app.db.execute("UPDATE mail_addresses SET blocked = 'bounced', blocked_on = 1", Args::default()).await.expect("blocked");
        let blocked = step!(GET "/email/blocked", "/email/blocked", Value::Null, "addresses", "total")["addresses"][0].clone();
        step!(DELETE "/email/blocked", format!("/email/blocked?address={}", text(&blocked["address"])), Value::Null, "address");
        let note = text(&step!(POST "/notes", "/notes", json!({"leadId": id, "type": "ai_insight", "content": "Wants implants."}), "note")["id"]);
        step!(GET "/notes", format!("/notes?leadId={id}&type=ai_insight&pinned=false"), Value::Null, "notes");
        step!(PUT "/notes", "/notes", json!({"id": note, "pinned": true}), "note");
        step!(DELETE "/notes", format!("/notes?id={note}"), Value::Null, "deleted");
        step!(POST "/touchpoints", "/touchpoints", json!({"leadId": id, "type": "call", "summary": "Talked"}), "touchpoint", "leadId");
        step!(GET "/touchpoints", format!("/touchpoints?leadId={id}"), Value::Null, "touchpoints");
        step!(GET "/playbooks", "/playbooks?tier=high&stage=new", Value::Null, "playbooks");
        step!(POST "/playbooks", "/playbooks", json!({"leadId": id}), "playbook", "because");
        let playbook = text(&step!(PUT "/playbooks", "/playbooks", json!({"name": "Ours", "stage": "Won", "steps": [{"day": 0, "action": "Thank"}]}), "playbook")["id"]);
        step!(DELETE "/playbooks", format!("/playbooks?id={playbook}"), Value::Null, "deleted");
        step!(POST "/leads/score", "/leads/score", json!({"leadId": id}), "score", "label", "factors", "suggestedAction");
        assert!(post(&service, "/leads/score", json!({"all": true})).await["results"].is_array());
        step!(GET "/leads/stalled", "/leads/stalled", Value::Null, "leads");
        let rule = text(&step!(POST "/automation/rules", "/automation/rules", json!({"name": "Win", "triggerEvent": "meeting_booked", "conditions": {"tier": "high"}, "targetStage": "Won", "priority": 1}), "rule")["id"]);
        step!(GET "/automation/rules", "/automation/rules", Value::Null, "rules", "triggers");
        step!(PUT "/automation/rules", "/automation/rules", json!({"id": rule, "enabled": false}), "rule");
        step!(DELETE "/automation/rules", format!("/automation/rules?id={rule}"), Value::Null, "deleted");
        step!(GET "/integrations/calendly", "/integrations/calendly", Value::Null, "connected");
        step!(DELETE "/integrations/calendly", "/integrations/calendly", Value::Null, "connected");
        // Connecting talks to Calendly: see the tests of inbound messages.
        did("POST", "/integrations/calendly");
        let feedback = text(&step!(POST "/feedback", "/feedback", json!({"type": "bug", "agent": "scout", "priority": "high", "title": "API Error: leads", "description": "500", "context": {"endpoint": "/leads", "statusCode": 500}}), "feedbackId", "feedback")["feedbackId"]);
        step!(GET "/feedback", format!("/feedback?id={feedback}"), Value::Null, "feedback");
        step!(PATCH "/feedback/{id}", format!("/feedback/{feedback}"), json!({"response": "Fixed", "status": "resolved"}), "feedback");
        step!(GET "/health", "/health", Value::Null, "status", "unread_responses");
        step!(GET "/org/tier", "/org/tier", Value::Null, "orgId", "tier", "limits");
        step!(POST "/org/tier", "/org/tier", json!({"workspace": "acme", "tier": "pro"}), "tier");
        step!(DELETE "/leads", format!("/leads?id={other}"), Value::Null, "deleted");
        step!(DELETE "/leads/{leadId}", format!("/leads/{id}?permanent=true"), Value::Null, "deleted");
        let document = service.get("/openapi.json").await;
        let paths = document["paths"].as_object().expect("paths").iter();
        let documented: BTreeSet<String> = paths
            .filter_map(|(path, item)| Some((path.strip_prefix(BASE)?, item)))
            .flat_map(|(path, item)| item.as_object().expect("operations").keys().map(move |method| format!("{} {path}", method.to_uppercase())))
            .collect();
        assert_eq!(walked, documented);
        assert_eq!(documented.len(), 54 + 8);
    }

    async fn a_workspace_signs_up_once_with_its_address(service: Service) {
        let sign_up = async |body: Value, forwarded: bool| {
            let mut request = service.http.post(format!("{}{BASE}/signup", service.url)).json(&body);
            if forwarded { request = request.header("x-forwarded-for", "203.0.113.9"); }
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            (status, response.json::<Value>().await.expect("JSON"))
        };
        let account = json!({"email": "Ada@Example.com", "workspace_name": "Acme & Co", "agent_name": "scout"});
        let (status, made) = sign_up(account.clone(), false).await;
        assert_eq!((status, &made["tier"], &made["limits"]["leads"]), (201, &json!("free"), &json!(100)), "{made}");
        let key = text(&made["apiKey"]);
        let health = service.http.get(format!("{}{BASE}/health", service.url)).header("x-api-key", &key).send().await.expect("an answer");
        assert_eq!(health.status(), StatusCode::OK, "the key works as x-api-key at once");
        let (status, again) = sign_up(account, false).await;
        assert_eq!((status, &again["error"]["reason"]), (409, &json!("address_taken")));
        for wrong in [json!({"email": "ada", "workspace_name": "x"}), json!({"email": "bo@example.com"}), json!({"email": "a b@example.com", "workspace_name": "x"})] {
            assert_eq!(sign_up(wrong.clone(), false).await.0, 400, "{wrong}");
        }
        let other = json!({"email": "eve@example.com", "workspace_name": "Acme & Co"});
        assert_eq!(sign_up(other.clone(), true).await.0, 403, "a proxy stands for somebody elsewhere");
        let (_, second) = sign_up(other, false).await;
        assert_eq!(second["workspace"], "acme-co-2");
        for n in 0..3 {
            sign_up(json!({"email": format!("p{n}@example.com"), "workspace_name": "x"}), false).await;
        }
        assert_eq!(sign_up(json!({"email": "last@example.com", "workspace_name": "x"}), false).await.0, 429, "five an hour");
    }

    async fn a_page_in_a_browser_cannot_sign_up(service: Service) {
        let account = json!({"email": "eve@example.com", "workspace_name": "Eve"}).to_string();
        let url = format!("{}{BASE}/signup", service.url);
        let form = service.http.post(&url).header("content-type", "text/plain").body(account.clone());
        let rebound = service.http.post(&url).header("content-type", "application/json").header("host", "evil.test").body(account);
        for request in [form, rebound] {
            assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
        }
    }

    async fn the_character_nul_is_refused(service: Service) {
        for path in ["/leads?q=a%00b", "/leads?customFields.a=%00", "/leads?stage=%00"] {
            let (status, answer) = service.call(Method::GET, &format!("{BASE}{path}"), None).await;
            assert_eq!((status, &answer["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("parameter_invalid")), "{path}");
        }
        assert_eq!(service.call(Method::GET, &format!("{BASE}/leads?customFields.%00=a"), None).await.1["total"], 0);
    }

    async fn definitions_beyond_one_hundred_are_refused(service: Service) {
        let define = |n: usize| { let service = &service; async move { service.call(Method::POST, &format!("{BASE}/fields"), Some(json!({"name": format!("f{n}"), "fieldType": "text"}))).await.0 } };
        let answers = join_all((0..103).map(define)).await;
        assert_eq!(answers.iter().filter(|s| **s == StatusCode::CREATED).count(), 100);
    }

    async fn a_source_that_changes_leads_needs_the_right_to(service: Service) {
        let key = service.key_with(&["integrations:*"], None).await;
        let body = json!({"type": "form_webhook", "name": "Form"});
        let (status, answer) = service.call_as(&key, Method::POST, &format!("{BASE}/stages/sync-sources"), Some(body)).await;
        assert_eq!((status, &answer["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")));
    }

    async fn the_plan_holds_under_concurrent_creates(service: Service) {
        let operator = service.key.clone();
        post(&service, "/org/tier", json!({"workspace": "default", "tier": "free"})).await;
        let create = async |n: usize| {
            let body = json!({"firstName": "P", "email": format!("p{n}@berg.test")});
            service.call(Method::POST, &format!("{BASE}/leads"), Some(body)).await
        };
        for batch in 0..3 {
            join_all((0..30).map(|n| create(batch * 30 + n))).await;
        }
        let answers = join_all((0..50).map(|n| create(1000 + n))).await;
        let refusals: Vec<&Value> = answers.iter().filter(|(s, _)| *s == StatusCode::FORBIDDEN).map(|(_, a)| a).collect();
        assert_eq!((refusals.len(), get(&service, "/leads?limit=1").await["total"].clone()), (40, json!(100)));
        assert!(refusals.iter().all(|a| a["error"]["reason"] == "lead_limit_reached" && a["next_steps"][0] == "GET /api/openclaw/org/tier"), "{:?}", refusals[0]);
        assert_eq!(service.call(Method::POST, "/v1/leads", Some(json!({"name": "Bo"}))).await.0, StatusCode::FORBIDDEN, "the plan holds in every dialect");
        let steps = json!([{"subject": "a", "body": "b"}]);
        let campaign = async |n: usize| service.call(Method::POST, &format!("{BASE}/campaigns"), Some(json!({"name": format!("c{n}"), "steps": steps}))).await.0;
        let made = join_all((0..10).map(campaign)).await;
        assert_eq!(made.iter().filter(|s| s.is_success()).count(), 3);
        assert_eq!(service.call_as(&operator, Method::POST, &format!("{BASE}/org/tier"), Some(json!({"workspace": "default", "tier": "pro"}))).await.0, StatusCode::OK);
        assert_eq!(create(5000).await.0, StatusCode::CREATED);
    }

    async fn only_the_operator_changes_plans(service: Service) {
        let stranger = service.stranger().await;
        let body = json!({"workspace": "default", "tier": "ultra"});
        let (status, answer) = service.call_as(&stranger, Method::POST, &format!("{BASE}/org/tier"), Some(body)).await;
        assert_eq!((status, &answer["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("tenant_not_operator")));
    }

    async fn a_lead_is_the_lead_of_every_dialect(service: Service) {
        stages(&service).await;
        let made = post(&service, "/leads", json!({"firstName": "Ada", "lastName": "Holm", "email": "ada@berg.test", "organizationName": "Berg", "status": "contacted"})).await;
        let listed = service.get("/v1/leads?query=holm").await["data"][0].clone();
        assert_eq!((&listed["name"], &listed["company_name"], &listed["status"]), (&json!("Ada Holm"), &json!("Berg"), &json!("working")), "{listed}");
        assert_eq!(text(&listed["id"]).trim_start_matches("lead_"), text(&made["id"]).trim_start_matches("rp_"));
        let other = service.post("/v1/leads", json!({"name": "Bo Dal"})).await["data"]["id"].clone();
        let seen = get(&service, &format!("/leads/{}", text(&other))).await["lead"].clone();
        assert_eq!((&seen["firstName"], &seen["lastName"], &seen["email"], &seen["status"]), (&json!("Bo"), &json!("Dal"), &Value::Null, &json!("new")));
        let deals = service.get("/v1/deal-stages").await;
        assert!(names(&deals["data"], "name").contains(&"Closed Won".to_owned()), "{deals}");
        service.post(&format!("/v1/leads/{}/convert", text(&listed["id"])), json!({})).await;
        assert_eq!(get(&service, &format!("/leads/{}", text(&made["id"]))).await["lead"]["status"], "won", "a status of another dialect replaces the word");
    }

    async fn texts_that_agents_write_are_searched(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        post(&service, "/notes", json!({"leadId": id, "content": "She wants zygomatic implants before midsummer."})).await;
        post(&service, "/touchpoints", json!({"leadId": id, "type": "call", "summary": "Asked for a quotation", "notes": "The sterilisation room floods in spring."})).await;
        post(&service, "/leads", json!({"firstName": "Bo", "email": "bo@dal.test", "notes": "Runs a chain of orthodontic clinics."})).await;
        for (query, area) in [("zygomatic implants", "crm"), ("sterilisation room floods", "activity"), ("orthodontic chain", "crm")] {
            let datasets = service.get("/kb/v1/datasets?limit=100").await;
            let dataset = names(&datasets["data"], "id").into_iter().find(|id| id.starts_with(&format!("{area}~")));
            let search = json!({"query": query, "datasetIds": [dataset.expect("an area dataset")]});
            crate::eventually!("{query} is found", !service.post("/kb/v1/search", search.clone()).await["results"].as_array().expect("results").is_empty());
        }
    }

    async fn a_deleted_lead_is_nowhere_until_it_is_restored(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        post(&service, "/notes", json!({"leadId": id, "content": "Keep"})).await;
        let deleted = call(&service, Method::DELETE, &format!("/leads/{id}"), Value::Null).await;
        assert_eq!((&deleted["id"], &deleted["deleted"]), (&json!(id), &json!(true)));
        assert_eq!((&get(&service, "/leads").await["total"], service.get("/v1/leads").await["data"].as_array().map(Vec::len)), (&json!(0), Some(0)));
        assert_eq!(refused(&service, Method::GET, &format!("/leads/{id}"), Value::Null).await, (404, "record_not_found".to_owned()));
        assert_eq!(get(&service, "/leads?deletedOnly=true").await["leads"][0]["id"], json!(id));
        let restored = call(&service, Method::PATCH, "/leads", json!({"id": id, "restore": true})).await;
        assert_eq!((&restored["lead"]["email"], &get(&service, "/leads").await["total"]), (&json!("ada@berg.test"), &json!(1)));
        assert_eq!(get(&service, &format!("/notes?leadId={id}")).await["total"], 1);
        call(&service, Method::DELETE, &format!("/leads/{id}?permanent=true"), Value::Null).await;
        assert_eq!((&get(&service, "/leads?deletedOnly=true").await["total"], &get(&service, "/leads").await["total"]), (&json!(0), &json!(0)));
        assert_eq!(refused(&service, Method::PATCH, &format!("/leads/{id}"), json!({"restore": true})).await.0, 404);
    }

    async fn a_deal_outlives_its_deleted_lead(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let link = id.replace("rp_", "lead_");
        let deal = service.post("/v1/deals", json!({"name": "Chairs", "lead_id": link})).await["data"]["id"].clone();
        call(&service, Method::DELETE, &format!("/leads/{id}"), Value::Null).await;
        let path = format!("/v1/deals/{}", text(&deal));
        assert_eq!(service.call(Method::PATCH, &path, Some(json!({"stage": "won"}))).await.0, StatusCode::OK, "an old link that leads nowhere hinders no other change");
        let dangling = json!({"name": "Other", "lead_id": link});
        assert_eq!(service.call(Method::POST, "/v1/deals", Some(dangling)).await.0, StatusCode::NOT_FOUND);
    }

    async fn custom_fields_have_six_types(service: Service) {
        let types = [("size", "number"), ("since", "date"), ("plan", "select"), ("langs", "multiselect"), ("vip", "boolean"), ("memo", "text")];
        for (name, of_type) in types {
            let options = if of_type.ends_with("select") { json!(["a", "b"]) } else { Value::Null };
            post(&service, "/fields", json!({"name": name, "fieldType": of_type, "options": options})).await;
        }
        let make = |fields: Value| json!({"firstName": "Ada", "email": "ada@berg.test", "customFields": fields});
        let right = json!({"size": 4, "since": "2026-01-02", "plan": "a", "langs": ["a", "b"], "vip": true, "memo": "x", "free": "y"});
        let id = text(&post(&service, "/leads", make(right)).await["id"]);
        for wrong in [json!({"size": "4"}), json!({"since": "soon"}), json!({"plan": "c"}), json!({"langs": ["c"]}), json!({"langs": "a"}), json!({"vip": "yes"}), json!({"memo": 1})] {
            assert_eq!(refused(&service, Method::POST, "/leads", make(wrong.clone())).await, (400, "body_invalid".to_owned()), "{wrong}");
        }
        for (query, total) in [("customFields.size=4", 1), ("customFields[langs]=b", 1), ("customFields.vip=true&customFields.plan=a", 1), ("customFields.size=5", 0)] {
            assert_eq!(get(&service, &format!("/leads?{query}")).await["total"], total, "{query}");
        }
        let patched = call(&service, Method::PATCH, &format!("/leads/{id}"), json!({"customFields": {"size": 9, "memo": null}})).await;
        assert_eq!((&patched["lead"]["customFields"]["size"], &patched["lead"]["customFields"]["plan"], patched["lead"]["customFields"].get("memo")), (&json!(9), &json!("a"), None));
        assert_eq!(refused(&service, Method::POST, "/fields", json!({"name": "Size", "key": "size", "fieldType": "text"})).await.0, 409);
        assert_eq!(refused(&service, Method::POST, "/fields", json!({"name": "x", "fieldType": "select"})).await.0, 400);
    }

    async fn updates_merge_and_replacements_clear(service: Service) {
        let body = json!({"firstName": "Ada", "email": "ada@berg.test", "phone": "1", "tier": "high", "crmData": {"a": 1, "b": 2}});
        let id = text(&post(&service, "/leads", body).await["id"]);
        let merged = call(&service, Method::PATCH, &format!("/leads/{id}"), json!({"crmData": {"b": null, "c": 3}})).await;
        assert_eq!((&merged["lead"]["crmData"], &merged["lead"]["phone"]), (&json!({"a": 1, "c": 3}), &json!("1")));
        let replaced = call(&service, Method::PUT, "/leads", json!({"id": id, "firstName": "Eva", "email": "eva@berg.test", "crmData": {"d": 4}})).await["lead"].clone();
        assert_eq!((&replaced["crmData"], &replaced["phone"], &replaced["tier"], &replaced["name"], &replaced["status"]), (&json!({"d": 4}), &Value::Null, &Value::Null, &json!("Eva"), &json!("new")));
        assert_eq!(refused(&service, Method::POST, "/leads", json!({"firstName": "A", "email": "a@b.test", "organizationName": "x", "clinicName": "y"})).await.0, 400, "aliases with two values");
        assert_eq!(refused(&service, Method::PUT, "/leads", json!({"id": id, "firstName": "Eva"})).await.0, 400);
    }

    async fn rules_move_leads_in_order_and_say_why(service: Service) {
        stages(&service).await;
        let rule = async |name: &str, conditions: Value, stage: &str, priority: i64| post(&service, "/automation/rules", json!({"name": name, "triggerEvent": "proposal_viewed", "conditions": conditions, "targetStage": stage, "priority": priority})).await;
        rule("second", json!({}), "Closed Won", 20).await;
        rule("first", json!({"viewCount": {"gte": 2}, "fromStage": "Prospects"}), "Contacted", 10).await;
        let id = lead(&service, "ada@berg.test").await;
        let view = async || post(&service, "/touchpoints", json!({"leadId": id, "type": "proposal_viewed"})).await;
        let one = view().await;
        assert_eq!((&one["automation"]["movedTo"]["name"], &one["automation"]["evaluated"][0]["conditions"][1]["actual"]), (&json!("Closed Won"), &json!(1.0)), "{one}");
        call(&service, Method::PATCH, &format!("/leads/{id}"), json!({"stage": "Prospects"})).await;
        assert_eq!(view().await["automation"]["movedTo"]["name"], "Contacted");
        let history = get(&service, &format!("/leads/{id}")).await["lead"]["stageHistory"].clone();
        let reasons: Vec<&Value> = history.as_array().expect("moves").iter().map(|m| &m["reason"]["name"]).collect();
        assert_eq!(reasons, [&json!("second"), &Value::Null, &json!("first")]);
        assert_eq!(refused(&service, Method::POST, "/automation/rules", json!({"name": "x", "triggerEvent": "stage_changed", "targetStage": "Contacted"})).await.0, 400);
        assert_eq!(refused(&service, Method::POST, "/automation/rules", json!({"name": "x", "triggerEvent": "cta_clicked", "targetStage": "Nowhere"})).await, (400, "stage_unknown".to_owned()));
    }

    async fn concurrent_signals_are_all_counted(service: Service) {
        let id = lead(&service, "ada@berg.test").await;
        let click = async || service.call(Method::POST, &format!("{BASE}/touchpoints"), Some(json!({"leadId": id, "type": "cta_clicked"}))).await.0;
        let answers = join_all((0..10).map(|_| click())).await;
        assert!(answers.iter().all(StatusCode::is_success), "{answers:?}");
        assert_eq!(get(&service, &format!("/leads/{id}")).await["lead"]["signals"]["cta_clicked"]["count"], 10);
    }

    async fn scores_are_sums_of_their_factors(service: Service) {
        let id = text(&post(&service, "/leads", json!({"firstName": "Ada", "email": "ada@berg.test", "tier": "high"})).await["id"]);
        for (event, value) in [("quiz_completed", 80), ("meeting_booked", 0), ("proposal_viewed", 0), ("cta_clicked", 0)] {
            post(&service, "/touchpoints", json!({"leadId": id, "type": event, "value": value})).await;
        }
        let scored = post(&service, "/leads/score", json!({"leadId": id})).await;
        assert_eq!((&scored["score"], &scored["label"], &scored["suggestedAction"]), (&json!(66.0), &json!("warm"), &json!("prepare_meeting")), "{scored}");
        let sum: f64 = scored["factors"].as_array().expect("factors").iter().map(|f| f["points"].as_f64().expect("points")).sum();
        assert_eq!(sum, 66.0);
        let all = post(&service, "/leads/score", json!({"all": true})).await;
        assert_eq!((&all["scored"], &all["labels"]["warm"], &all["results"][0]["leadId"]), (&json!(1), &json!(1), &json!(id)));
    }

    async fn a_touchpoint_ends_the_stall(service: Service) {
        let id = text(&post(&service, "/leads", json!({"firstName": "Ada", "email": "ada@berg.test", "tier": "high"})).await["id"]);
        assert_eq!(get(&service, "/leads/stalled").await["total"], 0);
        let past = service.app.clock.now().minus(std::time::Duration::from_secs(4 * 86_400));
        let row = id.trim_start_matches("rp_").to_owned();
        let args = cairn::db::Args(vec![past.into(), row.into()]);
        service.app.db.execute("UPDATE records SET created_on = $1 WHERE id = $2", args).await.expect("aged");
        let stalled = get(&service, "/leads/stalled").await["leads"][0].clone();
        assert_eq!((&stalled["stalledReason"], &stalled["suggestedAction"], &stalled["overdueAfterDays"]), (&json!("never_contacted"), &json!("send_follow_up_email"), &json!(3.0)), "{stalled}");
        post(&service, "/touchpoints", json!({"leadId": id, "type": "call"})).await;
        assert_eq!(get(&service, "/leads/stalled").await["total"], 0);
    }

    async fn a_stage_with_leads_gives_them_to_another(service: Service) {
        stages(&service).await;
        let id = lead(&service, "ada@berg.test").await;
        let listed = get(&service, "/stages").await["stages"].clone();
        let default = text(&listed[0]["id"]);
        assert_eq!(refused(&service, Method::DELETE, &format!("/stages?id={default}"), Value::Null).await, (409, "stage_in_use".to_owned()));
        let gone = call(&service, Method::DELETE, &format!("/stages?id={default}&moveTo=contacted"), Value::Null).await;
        assert_eq!(gone["movedLeads"], 1);
        let seen = get(&service, &format!("/leads/{id}")).await["lead"].clone();
        assert_eq!((&seen["stage"], &seen["stageHistory"][0]["reason"]["stage_deleted"]), (&json!("Contacted"), &json!("Prospects")));
        let listed = get(&service, "/stages").await["stages"].clone();
        let defaults = listed.as_array().expect("stages").iter().filter(|s| s["isDefault"] == true);
        assert_eq!(defaults.count(), 1, "{listed}");
    }

    async fn a_setup_can_be_repeated(service: Service) {
        for _ in 0..2 {
            stages(&service).await;
        }
        let listed = get(&service, "/stages").await;
        assert_eq!(names(&listed["stages"], "name"), ["Prospects", "Contacted", "Closed Won"]);
        post(&service, "/setup", json!({"stages": [{"name": "contacted", "order": 1, "isDefault": true, "color": "#0a0"}]})).await;
        let listed = get(&service, "/stages").await["stages"].clone();
        assert_eq!((&listed[1]["isDefault"], &listed[0]["isDefault"], &listed[1]["color"]), (&json!(true), &json!(false), &json!("#0a0")));
    }

    async fn feedback_is_answered_and_acknowledged(service: Service) {
        let agent = service.key_with(&["crm:*"], None).await;
        let as_agent = async |method: Method, path: &str, body: Value| service.call_as(&agent, method, &format!("{BASE}{path}"), (!body.is_null()).then_some(body)).await;
        let (_, sent) = as_agent(Method::POST, "/feedback", json!({"type": "bug", "title": "API Error: enrich", "priority": "critical"})).await;
        let id = text(&sent["feedbackId"]);
        let path = format!("/feedback/{id}");
        assert_eq!(as_agent(Method::PATCH, &path, json!({"response": "x"})).await.0, StatusCode::FORBIDDEN, "agents do not answer");
        assert_eq!(as_agent(Method::PATCH, &path, json!({"acknowledged": true})).await.0, StatusCode::CONFLICT, "there is nothing to acknowledge");
        let answered = service.call(Method::PATCH, &format!("/kb/v1/feedback/{id}"), Some(json!({"response": "Use force."}))).await;
        assert_eq!((answered.0, &answered.1["status"]), (StatusCode::OK, &json!("resolved")), "{}", answered.1);
        let (_, health) = as_agent(Method::GET, "/health", Value::Null).await;
        assert_eq!((&health["action_required"], &health["unread_responses"][0]["response"], &health["unread_responses"][0]["feedbackId"]), (&json!(true), &json!("Use force."), &json!(id)));
        assert_eq!(as_agent(Method::PATCH, &path, json!({"acknowledged": true})).await.0, StatusCode::OK);
        assert_eq!(as_agent(Method::GET, "/health", Value::Null).await.1["action_required"], false);
        assert_eq!(as_agent(Method::GET, "/feedback?status=resolved&type=bug", Value::Null).await.1["feedback"][0]["acknowledged"], true);
        let stranger = service.stranger().await;
        assert_eq!(service.call_as(&stranger, Method::PATCH, &format!("{BASE}{path}"), Some(json!({"acknowledged": true}))).await.0, StatusCode::NOT_FOUND);
        assert_eq!(service.call_as(&stranger, Method::GET, "/kb/v1/feedback", None).await.0, StatusCode::FORBIDDEN);
    }

    async fn what_belongs_to_another_workspace_does_not_exist(service: Service) {
        stages(&service).await;
        let id = lead(&service, "ada@berg.test").await;
        let note = text(&post(&service, "/notes", json!({"leadId": id, "content": "Mine"})).await["id"]);
        let campaign = text(&post(&service, "/campaigns", json!({"name": "c", "steps": [{"delayDays": 9, "subject": "a", "body": "b"}]})).await["id"]);
        post(&service, &format!("/campaigns/{campaign}/enroll"), json!({"leadId": id})).await;
        let stage = text(&get(&service, "/stages").await["stages"][0]["id"]);
        let rule = text(&post(&service, "/automation/rules", json!({"name": "r", "triggerEvent": "cta_clicked", "targetStage": stage})).await["id"]);
        let field = text(&post(&service, "/fields", json!({"name": "f", "fieldType": "text"})).await["id"]);
        let source = text(&post(&service, "/stages/sync-sources", json!({"type": "api_sdr", "name": "s"})).await["id"]);
        let feedback = text(&post(&service, "/feedback", json!({"type": "bug", "title": "t"})).await["id"]);
        let (status, playbook) = service.call(Method::PUT, &format!("{BASE}/playbooks"), Some(json!({"name": "p", "steps": [{"day": 0}]}))).await;
        assert!(status.is_success());
        let playbook = text(&playbook["id"]);
        let stranger = service.stranger().await;
        let person = json!({"id": id, "firstName": "Eve", "email": "eve@x.test"});
        for (method, path, body) in [
            (Method::GET, format!("/leads/{id}"), Value::Null),
            (Method::PUT, "/leads".to_owned(), person.clone()),
            (Method::PATCH, "/leads".to_owned(), person.clone()),
            (Method::PATCH, format!("/leads/{id}"), json!({"status": "won"})),
            (Method::PATCH, format!("/leads/{id}"), json!({"restore": true})),
            (Method::DELETE, format!("/leads/{id}"), Value::Null),
            (Method::DELETE, format!("/leads/{id}?permanent=true"), Value::Null),
            (Method::DELETE, format!("/leads?id={id}"), Value::Null),
            (Method::POST, "/enrich".to_owned(), json!({"leadId": id})),
            (Method::GET, format!("/enrich?leadId={id}"), Value::Null),
            (Method::POST, "/enrich/spider-web".to_owned(), json!({"leadId": id})),
            (Method::POST, "/leads/score".to_owned(), json!({"leadId": id})),
            (Method::POST, "/playbooks".to_owned(), json!({"leadId": id})),
            (Method::GET, format!("/notes?leadId={id}"), Value::Null),
            (Method::POST, "/notes".to_owned(), json!({"leadId": id, "content": "x"})),
            (Method::PUT, "/notes".to_owned(), json!({"id": note, "content": "x"})),
            (Method::DELETE, format!("/notes?id={note}"), Value::Null),
            (Method::GET, format!("/touchpoints?leadId={id}"), Value::Null),
            (Method::POST, "/touchpoints".to_owned(), json!({"leadId": id, "type": "call"})),
            (Method::PATCH, format!("/campaigns/{campaign}"), json!({"status": "paused"})),
            (Method::GET, format!("/campaigns/{campaign}/emails"), Value::Null),
            (Method::POST, format!("/campaigns/{campaign}/enroll"), json!({"leadId": id})),
            (Method::POST, "/email/send-sequence".to_owned(), json!({"leadId": id, "sequence": [{"subject": "a", "body": "b"}]})),
            (Method::PUT, "/stages".to_owned(), json!({"id": stage, "name": "x"})),
            (Method::DELETE, format!("/stages?id={stage}"), Value::Null),
            (Method::PUT, "/automation/rules".to_owned(), json!({"id": rule, "enabled": false})),
            (Method::DELETE, format!("/automation/rules?id={rule}"), Value::Null),
            (Method::PUT, "/fields".to_owned(), json!({"id": field, "name": "x"})),
            (Method::DELETE, format!("/fields?id={field}"), Value::Null),
            (Method::PUT, "/stages/sync-sources".to_owned(), json!({"id": source, "enabled": false})),
            (Method::DELETE, format!("/stages/sync-sources?id={source}"), Value::Null),
            (Method::PATCH, format!("/feedback/{feedback}"), json!({"acknowledged": true})),
            (Method::PUT, "/playbooks".to_owned(), json!({"id": playbook, "name": "x"})),
            (Method::DELETE, format!("/playbooks?id={playbook}"), Value::Null),
        ] {
            let body = (!body.is_null()).then_some(body);
            let (status, answer) = service.call_as(&stranger, method.clone(), &format!("{BASE}{path}"), body).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {answer}");
        }
        for (path, list) in [("/leads", "leads"), ("/leads?deletedOnly=true", "leads"), ("/stages", "stages"), ("/fields", "fields"), ("/automation/rules", "rules"), ("/stages/sync-sources", "sources"), ("/campaigns", "campaigns"), ("/feedback", "feedback"), ("/leads/stalled", "leads")] {
            let (_, answer) = service.call_as(&stranger, Method::GET, &format!("{BASE}{path}"), None).await;
            assert_eq!(answer[list], json!([]), "{path}");
        }
        assert_eq!(get(&service, &format!("/leads/{id}")).await["lead"]["status"], "new");
    }

    async fn errors_say_how_to_correct_the_request(service: Service) {
        for (method, path, body, status) in [
            (Method::GET, "/leads/rp_x", Value::Null, 404),
            (Method::POST, "/leads", json!({"firstName": "Ada", "email": "no address"}), 400),
            (Method::POST, "/leads", json!({"firstName": "Ada", "email": "a@b.test", "stage": "Nowhere"}), 400),
            (Method::GET, "/leads?limit=0", Value::Null, 400),
            (Method::GET, "/notes", Value::Null, 400),
            (Method::POST, "/notes", json!({"leadId": "rp_x", "content": "x"}), 404),
            (Method::POST, "/feedback", json!({"type": "rant", "title": "x"}), 400),
            (Method::POST, "/campaigns", json!({"name": "x", "steps": []}), 400),
            (Method::POST, "/campaigns", json!({"name": "x", "trigger": "birthday", "steps": [{"subject": "a", "body": "b"}]}), 400),
            (Method::POST, "/campaigns/seq_x/enroll", json!({"leadId": "rp_x"}), 404),
            (Method::POST, "/enrich/bulk", json!({"leadIds": ["1", "2", "3", "4", "5", "6"]}), 400),
            (Method::POST, "/stages/sync-sources", json!({"type": "carrier_pigeon", "name": "x"}), 400),
            (Method::GET, "/nothing", Value::Null, 404),
            (Method::DELETE, "/health", Value::Null, 405),
        ] {
            assert_eq!(refused(&service, method.clone(), path, body).await.0, status, "{method} {path}");
        }
    }

    async fn tools_do_what_an_agent_does_daily(service: Service) {
        let tool = async |name: &str, arguments: Value| service.mcp_tool("/mcp/clawcrm", &service.key, name, arguments).await;
        let listed = service.mcp_call("/mcp/clawcrm", &service.key, "tools/list", json!({})).await["result"]["tools"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(10));
        let tokens = listed.to_string().len() / 4;
        assert!(tokens < 1300, "the list of tools costs {tokens} tokens");
        let (made, _) = tool("create_lead", json!({"firstName": "Ada", "email": "ada@berg.test"})).await;
        let id = text(&made["id"]);
        let (found, _) = tool("find_leads", json!({"q": "ada"})).await;
        assert_eq!(found["total"], 1);
        tool("log_touchpoint", json!({"leadId": id, "type": "meeting_booked"})).await;
        let (next, _) = tool("next_best_action", json!({"leadId": id})).await;
        assert_eq!(next["playbook"]["id"], "meeting-preparation");
        let (wrong, is_error) = tool("get_lead", json!({"leadId": "rp_x"})).await;
        assert!(is_error && wrong["error"]["hint"].is_string(), "{wrong}");
    }
}

/// A website of a company, whose pages state facts as structured data.
async fn company() -> (site::Site, String) {
    let data = r#"<script type="application/ld+json">{"@type": "Dentist", "name": "Berg Dental ApS", "telephone": "1", "numberOfEmployees": {"value": 12}, "address": {"addressLocality": "Skagen", "addressCountry": "DK"}}</script>"#;
    let team = r#"<script type="application/ld+json">[{"@type": "Person", "name": "Ada Holm", "jobTitle": "Head of Surgery", "sameAs": ["https://www.linkedin.com/in/ada"]}, {"@type": "Person", "name": "Bo Dal", "jobTitle": "Nurse"}]</script>"#;
    let site = site::Site::start(vec![
        (
            "/",
            site::page_with("dentistry", &["/team", "/private"], data),
        ),
        ("/team", site::page_with("our team", &[], team)),
    ])
    .await;
    let url = format!("{}/", site.url);
    (site, url)
}

async fn enriching(engine: Engine) -> Service {
    Service::start_with(engine, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrichment_takes_what_is_stated_with_its_source() {
    let service = enriching(Engine::Sqlite).await;
    let (_site, url) = company().await;
    let body = json!({"firstName": "Ada", "lastName": "Holm", "email": "ada@berg.test", "crmData": {"website": url}});
    let id = text(&post(&service, "/leads", body).await["id"]);
    let answer = post(&service, "/enrich", json!({"leadId": id})).await;
    assert_eq!(
        [
            &answer["status"],
            &answer["title"],
            &answer["seniority"],
            &answer["companyName"],
            &answer["companySize"],
            &answer["linkedinUrl"],
            &answer["companyRevenue"]
        ],
        [
            &json!("complete"),
            &json!("Head of Surgery"),
            &json!("director"),
            &json!("Berg Dental ApS"),
            &json!("12"),
            &json!("https://www.linkedin.com/in/ada"),
            &Value::Null
        ],
        "{answer}"
    );
    let fields = answer["enrichment"]["fields"]
        .as_object()
        .expect("fields")
        .clone();
    assert!(
        fields
            .values()
            .all(|f| text(&f["source"]).starts_with(&url)),
        "{fields:?}"
    );
    let seen = get(&service, &format!("/leads/{id}")).await["lead"].clone();
    assert_eq!(
        (&seen["title"], &seen["enrichmentStatus"]),
        (&json!("Head of Surgery"), &json!("complete"))
    );
    assert_eq!(
        post(&service, "/enrich", json!({"leadId": id})).await["unchanged"],
        true
    );
    // A colleague inherits what is known of the company, and nothing about the person.
    let colleague = post(
        &service,
        "/leads",
        json!({"firstName": "Eva", "email": "eva@berg.test"}),
    )
    .await;
    let known = post(&service, "/enrich", json!({"leadId": colleague["id"]})).await;
    assert_eq!(
        (
            &known["companySize"],
            &known["title"],
            &known["enrichment"]["fields"]["companySize"]["source"]
        ),
        (&json!("12"), &Value::Null, &json!(id))
    );
    let web = post(&service, "/enrich/spider-web", json!({"leadId": id})).await;
    assert_eq!(
        (
            &web["connections"][0]["leadId"],
            &web["connections"][0]["connectionType"],
            &web["connections"][0]["evidence"]["value"]
        ),
        (
            &colleague["id"],
            &json!("same_mail_domain"),
            &json!("berg.test")
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrichment_keeps_what_people_set() {
    let service = enriching(Engine::Sqlite).await;
    let (_site, url) = company().await;
    let body = json!({"firstName": "Ada", "lastName": "Holm", "email": "ada@berg.test", "title": "Owner", "crmData": {"website": url}});
    let id = text(&post(&service, "/leads", body).await["id"]);
    let answer = post(&service, "/enrich", json!({"leadId": id})).await;
    assert_eq!(
        (&answer["title"], &answer["enrichment"]["keptAsSet"]),
        (&json!("Owner"), &json!(["title"])),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrichment_that_finds_nothing_fails_with_the_reason() {
    let service = enriching(Engine::Postgres).await;
    let private = text(
        &post(
            &service,
            "/leads",
            json!({"firstName": "Ada", "email": "ada@gmail.com"}),
        )
        .await["id"],
    );
    let (_site, url) = company().await;
    let good = text(
        &post(
            &service,
            "/leads",
            json!({"firstName": "Bo", "email": "bo@dal.test", "crmData": {"website": url}}),
        )
        .await["id"],
    );
    let bulk = post(
        &service,
        "/enrich/bulk",
        json!({"leadIds": [private, "rp_unknown", good]}),
    )
    .await;
    assert_eq!(
        (&bulk["failed"], &bulk["completed"]),
        (&json!(2), &json!(1)),
        "{bulk}"
    );
    assert!(
        text(&bulk["results"][0]["error"]).contains("neither a website"),
        "{bulk}"
    );
    assert_eq!(bulk["results"][1]["code"], "record_not_found");
    let seen = get(&service, &format!("/leads/{private}")).await["lead"].clone();
    assert_eq!(
        (&seen["enrichmentStatus"], &seen["companyName"]),
        (&json!("failed"), &Value::Null)
    );
}
