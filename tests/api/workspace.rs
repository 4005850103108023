//! The workspace dialect: every operation of the contract by area, its rules, idempotency, webhooks, isolation.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Code};
use axum::routing::post;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Engine, Service, text};
use crate::{eventually, on_both};

/// Calls an operation with an idempotency key, if there is one; gives status, whether it was replayed, and body.
async fn call(
    service: &Service,
    method: &str,
    path: &str,
    body: Option<Value>,
    once: Option<&str>,
) -> (u16, bool, Value) {
    let url = format!("{}/v1{path}", service.url);
    let mut request = service
        .http
        .request(
            Method::from_bytes(method.as_bytes()).expect("a method"),
            url,
        )
        .bearer_auth(&service.key);
    if let Some(once) = once {
        request = request.header("Idempotency-Key", once);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    let (status, replayed) = (
        response.status().as_u16(),
        response.headers().contains_key("idempotent-replayed"),
    );
    assert!(
        status >= 400 || response.headers().contains_key("x-ratelimit-remaining"),
        "{method} {path}"
    );
    let text = response.text().await.expect("a body");
    (
        status,
        replayed,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// The data of an operation that succeeds.
async fn done(service: &Service, method: &str, path: &str, body: Option<Value>) -> Value {
    let (status, _, answer) = call(service, method, path, body, None).await;
    assert!(status < 300, "{method} {path}: {status} {answer}");
    assert!(
        answer["request_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("req_")),
        "{answer}"
    );
    answer["data"].clone()
}

async fn refused(
    service: &Service,
    method: &str,
    path: &str,
    body: Value,
    status: u16,
    reason: &str,
) {
    let (got, _, answer) = call(service, method, path, Some(body), None).await;
    assert_eq!(
        (got, &answer["error"]["reason"]),
        (status, &json!(reason)),
        "{method} {path}: {answer}"
    );
    assert!(answer["request_id"].is_string());
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|v| text(&v["id"]))
        .collect()
}

/// Operations of the contract by area: the test of an area calls all of them.
const WORKSPACE: [&str; 1] = ["getWorkspace"];
const CRM: [&str; 18] = [
    "createContact",
    "listContacts",
    "createCompany",
    "listCompanies",
    "createLead",
    "listLeads",
    "convertLead",
    "createDealStage",
    "listDealStages",
    "createDeal",
    "updateDeal",
    "createInvoice",
    "listInvoices",
    "recordPayment",
    "createAccountingAccount",
    "listAccountingAccounts",
    "createJournalEntry",
    "listJournalEntries",
];
const SUPPORT: [&str; 9] = [
    "createSupportQueue",
    "listSupportQueues",
    "createSupportTicket",
    "listSupportTickets",
    "updateSupportTicket",
    "addSupportTicketMessage",
    "listSupportTicketMessages",
    "addSupportTicketComment",
    "listSupportTicketComments",
];
const WORK: [&str; 5] = [
    "createTask",
    "listTasks",
    "updateTask",
    "createActivity",
    "listActivities",
];
const CONTENT: [&str; 11] = [
    "createCmsCollection",
    "createCmsSite",
    "listCmsSites",
    "createCmsEntry",
    "listCmsEntries",
    "searchCmsEntries",
    "updateCmsEntry",
    "createMarketingCampaign",
    "listMarketingCampaigns",
    "createMarketingPost",
    "listMarketingPosts",
];
const ASSETS: [&str; 5] = [
    "createAssetUploadIntent",
    "completeAssetUpload",
    "getAsset",
    "listAssets",
    "archiveAsset",
];
const INTEGRATIONS: [&str; 7] = [
    "registerIntegrationEventType",
    "listIntegrationEventTypes",
    "createWebhookEndpoint",
    "listWebhookEndpoints",
    "updateWebhookEndpoint",
    "sendTestWebhookEvent",
    "listWebhookDeliveries",
];
const ANALYTICS: [&str; 4] = [
    "defineAnalyticsProperty",
    "defineAnalyticsEvent",
    "listAnalyticsEvents",
    "validateAnalyticsEvent",
];
const BI: [&str; 15] = [
    "createBiDashboard",
    "listBiDashboards",
    "createBiDataset",
    "listBiDatasets",
    "createBiReport",
    "listBiReports",
    "createBiMetric",
    "listBiMetrics",
    "runBiQuery",
    "createBiExport",
    "listBiExports",
    "createBiScheduledArtifact",
    "listBiScheduledArtifacts",
    "updateBiObject",
    "archiveBiObject",
];
const AREAS: [&[&str]; 9] = [
    &WORKSPACE,
    &CRM,
    &SUPPORT,
    &WORK,
    &CONTENT,
    &ASSETS,
    &INTEGRATIONS,
    &ANALYTICS,
    &BI,
];

/// Calls operations, and notes which.
struct Calls<'a> {
    service: &'a Service,
    called: BTreeSet<&'static str>,
}

impl<'a> Calls<'a> {
    fn of(service: &'a Service) -> Self {
        Self {
            service,
            called: BTreeSet::new(),
        }
    }

    async fn done(
        &mut self,
        operation: &'static str,
        method: &str,
        path: &str,
        body: Value,
    ) -> Value {
        self.called.insert(operation);
        let body = (!body.is_null()).then_some(body);
        done(self.service, method, path, body).await
    }

    /// Asserts that the operations of an area were called, all of them and no others.
    fn are_all_of(&self, area: &[&str]) {
        assert_eq!(self.called, area.iter().copied().collect::<BTreeSet<_>>());
    }
}

/// Calls an operation by its id.
macro_rules! op {
    ($calls:ident, $id:literal, $method:literal, $path:expr) => {
        $calls.done($id, $method, &$path, Value::Null).await
    };
    ($calls:ident, $id:literal, $method:literal, $path:expr, $body:tt) => {
        $calls.done($id, $method, &$path, json!($body)).await
    };
}

/// Waits until the text of a record is searched by who may read it.
async fn is_searched(service: &Service, area: &str, query: &str, kind: &str) {
    let caller = service.app.local_caller("default").await.expect("a tenant");
    let shelf = format!("{area}~{}", caller.tenant());
    let question = json!({"query": query, "datasetIds": [shelf], "hybridAlpha": 0.0, "filter": {"field": "kind", "op": "eq", "value": kind}});
    eventually!(
        "{area}: {query} is found",
        !service.search(question.clone()).await.is_empty()
    );
}

on_both! {
    async fn the_areas_have_the_operations_of_the_contract(service: Service) {
        let document = service.get("/openapi.json").await;
        let ours: BTreeSet<String> = document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.starts_with("/v1/"))
            .flat_map(|(_, item)| item.as_object().expect("operations").values().map(|o| text(&o["operationId"])).collect::<Vec<_>>())
            .filter(|id| id != "replayWebhookDelivery").collect();
        assert_eq!(ours.len(), 75);
        let called: BTreeSet<String> = AREAS.iter().copied().flatten().map(|id| (*id).to_owned()).collect();
        let missing: Vec<&String> = ours.difference(&called).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(called, ours);
    }

    async fn the_workspace_answers(service: Service) {
        let mut calls = Calls::of(&service);
        let workspace = op!(calls, "getWorkspace", "GET", "/workspace");
        assert!(workspace["id"].as_str().is_some_and(|id| id.starts_with("wrk_")), "{workspace}");
        calls.are_all_of(&WORKSPACE);
    }

    async fn every_operation_of_crm_and_money_answers(service: Service) {
        let mut calls = Calls::of(&service);
        let contact = op!(calls, "createContact", "POST", "/contacts", {"name": "Jane Doe", "email": "jane@acme.com", "company_name": "Acme Corp"});
        assert_eq!((&contact["company_name"], contact["id"].as_str().is_some_and(|i| i.starts_with("con_"))), (&json!("Acme Corp"), true));
        assert_eq!(ids(&op!(calls, "listContacts", "GET", "/contacts?query=jane%20acm&limit=10")), [text(&contact["id"])]);
        let company = op!(calls, "createCompany", "POST", "/companies", {"name": "Acme Corp", "domain": "acme.com"});
        assert_eq!(op!(calls, "listCompanies", "GET", "/companies?query=acme.com")[0]["domain"], "acme.com");
        let lead = op!(calls, "createLead", "POST", "/leads", {"name": "Priya Shah", "company_name": "Northstar Studio", "source": "website", "custom_fields": {"Tier": "Gold"}});
        assert_eq!(lead["status"], "new");
        assert_eq!(ids(&op!(calls, "listLeads", "GET", "/leads?status=new&source=website&custom_field_key=Tier&custom_field_value=gold")), [text(&lead["id"])]);
        let converted = op!(calls, "convertLead", "POST", format!("/leads/{}/convert", text(&lead["id"])), {"create_deal": true, "deal_name": "Website redesign"});
        assert_eq!(converted["status"], "converted");
        op!(calls, "createDealStage", "POST", "/deal-stages", {"key": "pilot", "name": "Pilot", "position": 10});
        assert_eq!(op!(calls, "listDealStages", "GET", "/deal-stages")[0]["key"], "pilot");
        let deal = op!(calls, "createDeal", "POST", "/deals", {"name": "Pilot subscription", "company_id": (company["id"]), "stage": "qualified", "amount_cents": 500000, "currency": "USD"});
        let moved = op!(calls, "updateDeal", "PATCH", format!("/deals/{}", text(&deal["id"])), {"stage": "pilot", "amount_cents": 750000});
        assert_eq!((&moved["stage_moves"][0]["from"], &moved["amount_cents"]), (&json!("qualified"), &json!(750_000)));
        let invoice = op!(calls, "createInvoice", "POST", "/invoices", {"invoice_number": "INV-1001", "company_id": (company["id"]), "line_items": [{"kind": "service", "name": "Website redesign", "unit_amount_cents": 500000}]});
        assert_eq!((&invoice["status"], &invoice["total_cents"]), (&json!("sent"), &json!(500_000)));
        let payment = op!(calls, "recordPayment", "POST", "/payments", {"invoice_id": (invoice["id"]), "amount_cents": 250000});
        assert_eq!(payment["currency"], "USD");
        assert_eq!(op!(calls, "listInvoices", "GET", format!("/invoices?status=partially_paid&company_id={}", text(&company["id"])))[0]["balance_cents"], 250_000);
        let cash = op!(calls, "createAccountingAccount", "POST", "/accounting/accounts", {"code": "1000", "name": "Cash", "type": "asset"});
        let revenue = op!(calls, "createAccountingAccount", "POST", "/accounting/accounts", {"code": "4000", "name": "Services revenue", "type": "revenue"});
        assert_eq!(ids(&op!(calls, "listAccountingAccounts", "GET", "/accounting/accounts?type=revenue")), [text(&revenue["id"])]);
        op!(calls, "createJournalEntry", "POST", "/accounting/journal-entries", {"status": "posted", "lines": [{"account_id": (cash["id"]), "debit_cents": 10000}, {"account_id": (revenue["id"]), "credit_cents": 10000}]});
        assert_eq!(op!(calls, "listJournalEntries", "GET", "/accounting/journal-entries?status=posted")[0]["total_cents"], 10_000);
        is_searched(&service, "crm", "northstar", "crm_lead").await;
        calls.are_all_of(&CRM);
    }

    async fn every_operation_of_support_answers(service: Service) {
        let contact = done(&service, "POST", "/contacts", Some(json!({"name": "Jane Doe", "email": "jane@acme.com", "company_name": "Acme Corp"}))).await;
        let mut calls = Calls::of(&service);
        let queue = op!(calls, "createSupportQueue", "POST", "/support/queues", {"key": "priority", "name": "Priority Support", "first_response_target_minutes": 120});
        assert_eq!(op!(calls, "listSupportQueues", "GET", "/support/queues?status=active&query=priority")[0]["key"], "priority");
        let ticket = op!(calls, "createSupportTicket", "POST", "/support/tickets", {"subject": "Customer cannot download invoice", "priority": "urgent", "category": "billing", "contact_id": (contact["id"])});
        assert_eq!(ticket["status"], "new");
        let path = format!("/support/tickets/{}", text(&ticket["id"]));
        assert_eq!(ids(&op!(calls, "listSupportTickets", "GET", format!("/support/tickets?priority=urgent&category=Billing&contact_id={}&query=invoice%20downl", text(&contact["id"])))), [text(&ticket["id"])]);
        let routed = op!(calls, "updateSupportTicket", "PATCH", path, {"status": "waiting_on_customer", "queue_id": (queue["id"])});
        assert!(routed["first_response_due_at"].is_string(), "{routed}");
        op!(calls, "addSupportTicketMessage", "POST", format!("{path}/messages"), {"direction": "inbound", "channel": "email", "body": "I still cannot access the invoice."});
        op!(calls, "addSupportTicketMessage", "POST", format!("{path}/messages"), {"direction": "outbound", "body": "Here it is."});
        let after = &op!(calls, "listSupportTickets", "GET", "/support/tickets?status=open")[0];
        assert_eq!(after["first_response_late"], false, "{after}");
        assert_eq!(op!(calls, "listSupportTicketMessages", "GET", format!("{path}/messages?ticket_id={}&query=still", text(&ticket["id"])))[0]["direction"], "inbound");
        op!(calls, "addSupportTicketComment", "POST", format!("{path}/comments"), {"body": "Finance is checking the invoice export.", "pinned": true});
        assert_eq!(op!(calls, "listSupportTicketComments", "GET", format!("{path}/comments"))[0]["pinned"], true);
        is_searched(&service, "support", "finance", "ticket_comment").await;
        calls.are_all_of(&SUPPORT);
    }

    async fn every_operation_of_tasks_and_activity_answers(service: Service) {
        let contact = done(&service, "POST", "/contacts", Some(json!({"name": "Jane Doe", "email": "jane@acme.com", "company_name": "Acme Corp"}))).await;
        let mut calls = Calls::of(&service);
        let task = op!(calls, "createTask", "POST", "/tasks", {"title": "Follow up with Jane Doe", "related_resource_type": "contact", "related_resource_id": (contact["id"]), "assignee_id": "ada"});
        assert_eq!(op!(calls, "listTasks", "GET", "/tasks?status=open&assignee_id=ada")[0]["id"], task["id"]);
        let over = op!(calls, "updateTask", "PATCH", format!("/tasks/{}", text(&task["id"])), {"status": "completed", "completed_note": "Jane confirmed the next call."});
        assert!(over["completed_at"].is_string());
        op!(calls, "createActivity", "POST", "/activities", {"type": "email", "summary": "Jane asked for pricing details", "related_resource_type": "contact", "related_resource_id": (contact["id"])});
        assert_eq!(op!(calls, "listActivities", "GET", "/activities?type=email&query=pricing")[0]["type"], "email");
        calls.are_all_of(&WORK);
    }

    async fn every_operation_of_content_answers(service: Service) {
        let mut calls = Calls::of(&service);
        let collection = op!(calls, "createCmsCollection", "POST", "/cms/collections", {"name": "Blog Posts", "key": "blog_posts", "schema": {"fields": [{"key": "title", "type": "string", "required": true}, {"key": "slug", "type": "string", "required": true}, {"key": "body", "type": "markdown"}]}});
        op!(calls, "createCmsSite", "POST", "/cms/sites", {"key": "slab5_com", "name": "slab5.com", "primary_domain": "slab5.com"});
        assert_eq!(op!(calls, "listCmsSites", "GET", "/cms/sites")[0]["key"], "slab5_com");
        let entry = op!(calls, "createCmsEntry", "POST", "/cms/entries", {"collection_id": (collection["id"]), "title": "AI follow-up workflows", "status": "draft", "fields": {"slug": "ai-follow-up-workflows", "body": "Draft content about lanterns."}});
        assert_eq!(op!(calls, "listCmsEntries", "GET", format!("/cms/entries?collection_id={}&status=draft", text(&collection["id"])))[0]["id"], entry["id"]);
        assert_eq!(op!(calls, "searchCmsEntries", "GET", "/cms/entries/search?query=lanterns")[0]["id"], entry["id"], "found right after it was written");
        let published = op!(calls, "updateCmsEntry", "PATCH", format!("/cms/entries/{}", text(&entry["id"])), {"status": "published"});
        assert!(published["published_at"].is_string());
        let campaign = op!(calls, "createMarketingCampaign", "POST", "/marketing/campaigns", {"key": "slab5_beta_launch", "name": "Slab5 beta launch", "channel": "website"});
        assert_eq!(op!(calls, "listMarketingCampaigns", "GET", "/marketing/campaigns?channel=website&query=beta")[0]["id"], campaign["id"]);
        op!(calls, "createMarketingPost", "POST", "/marketing/posts", {"channel": "linkedin", "title": "Beta launch", "body": "We are opening Slab5 private beta.", "campaign_id": (campaign["id"])});
        assert_eq!(op!(calls, "listMarketingPosts", "GET", format!("/marketing/posts?campaign_id={}", text(&campaign["id"])))[0]["channel"], "linkedin");
        is_searched(&service, "cms", "private beta", "marketing_post").await;
        calls.are_all_of(&CONTENT);
    }

    async fn every_operation_of_assets_answers(service: Service) {
        let collection = done(&service, "POST", "/cms/collections", Some(json!({"name": "Blog Posts", "key": "blog_posts"}))).await;
        let entry = done(&service, "POST", "/cms/entries", Some(json!({"collection_id": collection["id"], "title": "AI follow-up workflows"}))).await;
        let mut calls = Calls::of(&service);
        let words = "# Sky\n\nThe aurora dances above the harbour.";
        let asset = op!(calls, "createAssetUploadIntent", "POST", "/assets", {"asset_type": "document", "file_name": "sky.md", "mime_type": "text/markdown", "related_resource_type": "cms_entry", "related_resource_id": (entry["id"])});
        let sent = service.http.put(text(&asset["upload_url"])).body(words).send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::OK);
        let path = format!("/assets/{}", text(&asset["id"]));
        let checksum = hex::encode(Sha256::digest(words));
        let whole = op!(calls, "completeAssetUpload", "POST", format!("{path}/complete"), {"byte_size": (words.len()), "checksum_sha256": checksum});
        assert_eq!(whole["status"], "available");
        let got = op!(calls, "getAsset", "GET", format!("{path}?asset_id={}", text(&asset["id"])));
        let bytes = service.http.get(text(&got["download_url"])).send().await.expect("an answer");
        assert_eq!(bytes.text().await.expect("text"), words);
        assert_eq!(op!(calls, "listAssets", "GET", format!("/assets?asset_type=document&status=available&related_resource_type=cms_entry&related_resource_id={}", text(&entry["id"])))[0]["id"], asset["id"]);
        is_searched(&service, "assets", "aurora", "asset").await;
        assert_eq!(op!(calls, "archiveAsset", "DELETE", format!("/assets/{}", text(&asset["id"])))["status"], "archived");
        is_searched(&service, "assets", "aurora", "asset").await;
        calls.are_all_of(&ASSETS);
    }

    async fn every_operation_of_integrations_answers(service: Service) {
        let mut calls = Calls::of(&service);
        op!(calls, "registerIntegrationEventType", "POST", "/integrations/events", {"key": "external.publish.completed", "category": "publishing", "description": "External publishing workflow completed."});
        assert_eq!(op!(calls, "listIntegrationEventTypes", "GET", "/integrations/events?category=publishing")[0]["key"], "external.publish.completed");
        let webhook = op!(calls, "createWebhookEndpoint", "POST", "/webhooks", {"name": "CRM Ops Webhook", "url": "https://example.com/slab5/webhooks", "event_types": ["lead.created"]});
        assert!(webhook["signing_secret"].as_str().is_some_and(|s| s.starts_with("whsec_")));
        assert_eq!(op!(calls, "listWebhookEndpoints", "GET", "/webhooks?event_type=lead.created")[0].get("signing_secret"), None, "shown once");
        let path = format!("/webhooks/{}", text(&webhook["id"]));
        let test = op!(calls, "sendTestWebhookEvent", "POST", format!("{path}/test"));
        assert_eq!((&test["event_type"], &test["status"]), (&json!("webhook.test"), &json!("pending")));
        assert_eq!(op!(calls, "listWebhookDeliveries", "GET", format!("{path}/deliveries"))[0]["id"], test["id"]);
        assert_eq!(op!(calls, "updateWebhookEndpoint", "PATCH", path, {"status": "paused"})["status"], "paused");
        calls.are_all_of(&INTEGRATIONS);
    }

    async fn every_operation_of_analytics_answers(service: Service) {
        let mut calls = Calls::of(&service);
        op!(calls, "defineAnalyticsProperty", "POST", "/analytics/properties", {"key": "workspace_id", "type": "string", "required": true});
        op!(calls, "defineAnalyticsEvent", "POST", "/analytics/events", {"name": "first_contact_created", "description": "A workspace created its first CRM contact.", "owner": "growth", "properties": ["workspace_id", "source"]});
        assert_eq!(op!(calls, "listAnalyticsEvents", "GET", "/analytics/events?owner=growth&query=first")[0]["name"], "first_contact_created");
        assert_eq!(op!(calls, "validateAnalyticsEvent", "POST", "/analytics/events/validate", {"name": "first_contact_created", "properties": {"workspace_id": "w"}})["valid"], true);
        let wrong = op!(calls, "validateAnalyticsEvent", "POST", "/analytics/events/validate", {"name": "first_contact_created", "properties": {"colour": 1}});
        let codes: Vec<&str> = wrong["errors"].as_array().expect("errors").iter().filter_map(|e| e["code"].as_str()).collect();
        assert_eq!(codes, ["unknown", "missing"]);
        calls.are_all_of(&ANALYTICS);
    }

    async fn every_operation_of_business_intelligence_answers(service: Service) {
        // A deal with an amount in a stage of our own, and one that a lead became.
        let lead = done(&service, "POST", "/leads", Some(json!({"name": "Priya Shah", "company_name": "Northstar Studio"}))).await;
        done(&service, "POST", &format!("/leads/{}/convert", text(&lead["id"])), Some(json!({"create_deal": true, "deal_name": "Website redesign"}))).await;
        done(&service, "POST", "/deal-stages", Some(json!({"key": "pilot", "name": "Pilot", "position": 10}))).await;
        let deal = done(&service, "POST", "/deals", Some(json!({"name": "Pilot subscription", "stage": "qualified", "amount_cents": 500_000, "currency": "USD"}))).await;
        done(&service, "PATCH", &format!("/deals/{}", text(&deal["id"])), Some(json!({"stage": "pilot", "amount_cents": 750_000}))).await;
        let mut calls = Calls::of(&service);
        let dashboard = op!(calls, "createBiDashboard", "POST", "/bi/dashboards", {"name": "Sales"});
        assert_eq!(op!(calls, "listBiDashboards", "GET", "/bi/dashboards?status=draft&query=sales")[0]["id"], dashboard["id"]);
        let dataset = op!(calls, "createBiDataset", "POST", "/bi/datasets", {"name": "Deals", "kind": "table", "source": "deals", "query": {"filter": {"field": "amount_cents", "op": "exists"}}});
        assert_eq!(op!(calls, "listBiDatasets", "GET", "/bi/datasets?kind=table")[0]["id"], dataset["id"]);
        let report = op!(calls, "createBiReport", "POST", "/bi/reports", {"name": "By stage", "dashboard_id": (dashboard["id"]), "dataset_id": (dataset["id"]), "query": {"groupBy": ["stage"], "aggregates": [{"op": "sum", "field": "amount_cents", "as": "sum"}]}});
        assert_eq!(op!(calls, "listBiReports", "GET", format!("/bi/reports?dashboard_id={}", text(&dashboard["id"])))[0]["id"], report["id"]);
        let metric = op!(calls, "createBiMetric", "POST", "/bi/metrics", {"name": "Pipeline", "dataset_id": (dataset["id"]), "aggregate": {"op": "sum", "field": "amount_cents", "as": "sum"}});
        assert_eq!(op!(calls, "listBiMetrics", "GET", format!("/bi/metrics?dataset_id={}", text(&dataset["id"])))[0]["id"], metric["id"]);
        let answer = op!(calls, "runBiQuery", "POST", "/bi/queries/run", {"report_id": (report["id"])});
        assert_eq!(answer["rows"], json!([{"stage": "pilot", "sum": 750_000}]));
        let answer = op!(calls, "runBiQuery", "POST", "/bi/queries/run", {"metric_id": (metric["id"])});
        assert_eq!(answer["rows"], json!([{"sum": 750_000}]));
        let answer = op!(calls, "runBiQuery", "POST", "/bi/queries/run", {"source": "deals", "query": {"select": ["name", "stage"], "sort": [{"field": "name"}], "count": true}});
        assert_eq!((&answer["total"], &answer["rows"][0]), (&json!(2), &json!({"name": "Pilot subscription", "stage": "pilot"})));
        let export = op!(calls, "createBiExport", "POST", "/bi/exports", {"report_id": (report["id"]), "format": "csv"});
        let listed = eventually!(listed in op!(calls, "listBiExports", "GET", "/bi/exports"), "the table is exported", {
            assert_eq!(listed[0]["id"], export["id"]);
            assert_ne!(listed[0]["status"], "failed", "{listed}");
            listed[0]["download_url"].is_string()
        });
        let csv = service.http.get(text(&listed[0]["download_url"])).send().await.expect("an answer").text().await.expect("text");
        assert_eq!(csv, "stage,sum\npilot,750000\n");
        op!(calls, "createBiExport", "POST", "/bi/exports", {"source": "deals", "format": "parquet"});
        let listed = eventually!(listed in op!(calls, "listBiExports", "GET", "/bi/exports"), "the rows are exported", {
            assert_ne!(listed[0]["status"], "failed", "{listed}");
            listed[0]["download_url"].is_string()
        });
        let answer = service.http.get(text(&listed[0]["download_url"])).send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "application/vnd.apache.parquet");
        let bytes = answer.bytes().await.expect("bytes");
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{} bytes", bytes.len());
        let artifact = op!(calls, "createBiScheduledArtifact", "POST", "/bi/scheduled-artifacts", {"name": "Weekly", "report_id": (report["id"]), "format": "jsonl", "cron": "0 6 * * 1"});
        assert_eq!(op!(calls, "listBiScheduledArtifacts", "GET", "/bi/scheduled-artifacts")[0]["id"], artifact["id"]);
        assert_eq!(op!(calls, "updateBiObject", "PATCH", format!("/bi/dashboards/{}", text(&dashboard["id"])), {"status": "active"})["status"], "active");
        assert_eq!(op!(calls, "archiveBiObject", "DELETE", format!("/bi/scheduled-artifacts/{}", text(&artifact["id"])))["status"], "archived");
        calls.are_all_of(&BI);
    }

    async fn payments_never_exceed_what_is_due(service: Service) {
        let invoice = done(&service, "POST", "/invoices", Some(json!({"invoice_number": "1", "line_items": [{"name": "a", "unit_amount_cents": 30, "quantity": 3, "tax_cents": 10}]}))).await;
        let pay = |cents: i64| json!({"invoice_id": invoice["id"], "amount_cents": cents});
        refused(&service, "POST", "/payments", pay(101), 422, "overpayment").await;
        refused(&service, "POST", "/payments", json!({"invoice_id": invoice["id"], "amount_cents": 1, "currency": "EUR"}), 422, "currency_mismatch").await;
        // Many at once never pay more than is left.
        let paid = futures::future::join_all((0..8).map(|_| call(&service, "POST", "/payments", Some(pay(30)), None))).await;
        assert_eq!(paid.iter().filter(|(status, ..)| *status == 201).count(), 3, "{paid:?}");
        done(&service, "POST", "/payments", Some(pay(10))).await;
        assert_eq!(done(&service, "GET", "/invoices?status=paid", None).await[0]["balance_cents"], 0);
        refused(&service, "POST", "/payments", pay(1), 422, "invoice_not_payable").await;
    }

    async fn a_number_belongs_to_one_invoice_and_cents_are_whole(service: Service) {
        done(&service, "POST", "/invoices", Some(json!({"invoice_number": "1", "line_items": [{"name": "a", "unit_amount_cents": 30, "quantity": 3, "tax_cents": 10}]}))).await;
        refused(&service, "POST", "/invoices", json!({"invoice_number": "1", "line_items": [{"name": "a", "unit_amount_cents": 1}]}), 409, "key_taken").await;
        refused(&service, "POST", "/invoices", json!({"invoice_number": "2", "line_items": [{"name": "a", "unit_amount_cents": 1.5}]}), 400, "body_invalid").await;
    }

    async fn a_journal_entry_balances_over_accounts_that_exist(service: Service) {
        let account = done(&service, "POST", "/accounting/accounts", Some(json!({"code": "1", "name": "Cash", "type": "asset"}))).await;
        let line = |side: &str, cents: i64| json!({"account_id": account["id"], (side): cents});
        refused(&service, "POST", "/accounting/journal-entries", json!({"lines": [line("debit_cents", 2), line("credit_cents", 1)]}), 422, "journal_unbalanced").await;
        refused(&service, "POST", "/accounting/journal-entries", json!({"lines": [line("debit_cents", 2), {"account_id": "acct_nowhere", "credit_cents": 2}]}), 404, "record_not_found").await;
    }

    async fn a_deal_has_a_stage_and_a_company_that_exist(service: Service) {
        refused(&service, "POST", "/deals", json!({"name": "x", "stage": "dreams"}), 404, "record_not_found").await;
        refused(&service, "POST", "/deals", json!({"name": "x", "company_id": "con_01M8253NYS60NEA3X8KANXMAXY"}), 404, "record_not_found").await;
    }

    async fn every_change_is_written_down(service: Service) {
        let deal = done(&service, "POST", "/deals", Some(json!({"name": "x"}))).await;
        done(&service, "PATCH", &format!("/deals/{}", text(&deal["id"])), Some(json!({"stage": "won"}))).await;
        let audit = service.get(&format!("/kb/v1/audit?entityId={}", text(&deal["id"]))).await["data"].clone();
        assert_eq!((&audit[0]["action"], &audit[0]["changes"]["stage"], &audit[1]["operation"]), (&json!("update"), &json!(["new", "won"]), &json!("createDeal")), "{audit}");
        assert!(audit[0]["actor"].is_string() && audit[0]["requestId"].as_str().is_some_and(|r| r.starts_with("req_")));
    }

    async fn a_lead_becomes_one_contact_of_the_company_that_is_there(service: Service) {
        let company = done(&service, "POST", "/companies", Some(json!({"name": "Acme"}))).await;
        let lead = done(&service, "POST", "/leads", Some(json!({"name": "Ann", "company_name": "ACME"}))).await;
        let path = format!("/leads/{}/convert", text(&lead["id"]));
        // Whoever converts it, and how often.
        let all = futures::future::join_all((0..6).map(|_| call(&service, "POST", &path, Some(json!({"create_deal": true})), None))).await;
        assert!(all.iter().all(|(status, _, answer)| *status == 200 && answer["data"]["company_id"] == company["id"]), "{all:?}");
        assert_eq!(ids(&done(&service, "GET", "/contacts", None).await).len(), 1);
    }

    async fn a_closed_ticket_does_not_wait_again(service: Service) {
        let ticket = done(&service, "POST", "/support/tickets", Some(json!({"subject": "x"}))).await;
        let path = format!("/support/tickets/{}", text(&ticket["id"]));
        done(&service, "PATCH", &path, Some(json!({"status": "closed"}))).await;
        refused(&service, "PATCH", &path, json!({"status": "pending"}), 422, "status_move_invalid").await;
    }

    async fn content_fits_its_collection(service: Service) {
        let collection = done(&service, "POST", "/cms/collections", Some(json!({"name": "c", "key": "c", "schema": {"fields": [{"key": "price", "type": "number", "required": true}]}}))).await;
        let entry = |fields: Value, status: &str| json!({"collection_id": collection["id"], "title": "t", "fields": fields, "status": status});
        refused(&service, "POST", "/cms/entries", entry(json!({"price": "much"}), "draft"), 400, "body_invalid").await;
        refused(&service, "POST", "/cms/entries", entry(json!({}), "published"), 400, "body_invalid").await;
        done(&service, "POST", "/cms/entries", Some(entry(json!({"price": 1, "slug": "a"}), "draft"))).await;
        refused(&service, "POST", "/cms/entries", entry(json!({"price": 1, "slug": "a"}), "draft"), 409, "key_taken").await;
    }

    async fn uploads_are_what_they_say(service: Service) {
        let asset = done(&service, "POST", "/assets", Some(json!({"asset_type": "image", "file_name": "a.png", "mime_type": "image/png"}))).await;
        let complete = format!("/assets/{}/complete", text(&asset["id"]));
        let zero = json!({"byte_size": 3, "checksum_sha256": "0".repeat(64)});
        refused(&service, "POST", &complete, zero.clone(), 422, "upload_missing").await;
        let url = text(&asset["upload_url"]);
        assert_eq!(service.http.put(url.replace("signature=", "signature=0")).body("abc").send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
        assert_eq!(service.http.put(&url).body("abc").send().await.expect("an answer").status(), StatusCode::OK);
        refused(&service, "POST", &complete, zero, 422, "upload_differs").await;
    }

    async fn webhooks_lead_out_not_in(service: Service) {
        for inside in ["http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]/"] {
            let (status, ..) = call(&service, "POST", "/webhooks", Some(json!({"name": "x", "url": inside, "event_types": ["*"]})), None).await;
            assert!((400..500).contains(&status), "{inside}");
        }
    }

    async fn an_endpoint_is_told_of_nothing_that_its_maker_may_not_read(service: Service) {
        let hook = json!({"name": "x", "url": "https://hooks.example.com/x", "event_types": ["contact.created"]});
        for (scopes, event, expected) in [(vec!["integrations:*"], "contact.created", StatusCode::FORBIDDEN), (vec!["integrations:*", "crm:read"], "contact.created", StatusCode::CREATED), (vec!["integrations:*", "crm:read"], "*", StatusCode::FORBIDDEN)] {
            let key = service.key_with(&scopes, None).await;
            let mut body = hook.clone();
            body["event_types"] = json!([event]);
            let (status, answer) = service.call_as(&key, Method::POST, "/v1/webhooks", Some(body)).await;
            assert_eq!(status, expected, "{scopes:?} {event}: {answer}");
            if status == StatusCode::CREATED {
                let path = format!("/v1/webhooks/{}", text(&answer["data"]["id"]));
                let paused = service.call_as(&key, Method::PATCH, &path, Some(json!({"status": "paused"}))).await;
                assert_eq!(paused.0, StatusCode::OK, "{}", paused.1);
                let more = service.call_as(&key, Method::PATCH, &path, Some(json!({"event_types": ["ticket.created"]}))).await;
                assert_eq!(more.0, StatusCode::FORBIDDEN, "{}", more.1);
            }
        }
    }

    async fn questions_reach_only_what_the_tenant_has_and_the_key_may_read(service: Service) {
        refused(&service, "POST", "/bi/queries/run", json!({"source": "api_keys"}), 400, "body_invalid").await;
        let limited = service.key_with(&["bi:*"], None).await;
        let (status, answer) = service.call_as(&limited, Method::POST, "/v1/bi/queries/run", Some(json!({"source": "contacts"}))).await;
        assert_eq!((status, &answer["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")));
    }

    async fn a_list_goes_on_where_its_page_ended(service: Service) {
        for n in 0..7 {
            done(&service, "POST", "/activities", Some(json!({"type": "note", "summary": format!("note number {n}")}))).await;
        }
        let (_, _, first) = call(&service, "GET", "/activities?limit=3&query=note", None, None).await;
        done(&service, "POST", "/activities", Some(json!({"type": "note", "summary": "a later note"}))).await;
        let (_, _, second) = call(&service, "GET", &format!("/activities?limit=3&query=note&cursor={}", text(&first["next_cursor"])), None, None).await;
        let told = |page: &Value| -> Vec<String> { page["data"].as_array().expect("a list").iter().map(|a| text(&a["summary"])).collect() };
        assert_eq!([told(&first), told(&second)].concat(), ["note number 6", "note number 5", "note number 4", "note number 3", "note number 2", "note number 1"]);
    }

    async fn a_list_takes_twelve_words(service: Service) {
        done(&service, "POST", "/activities", Some(json!({"type": "note", "summary": "a note"}))).await;
        let words = |n: usize| (0..n).map(|i| format!("w{i}%20")).collect::<String>();
        let (status, _, most) = call(&service, "GET", &format!("/activities?query={}note", words(11)), None, None).await;
        assert_eq!((status, most["data"].as_array().map(Vec::len)), (200, Some(0)));
        let (status, _, wrong) = call(&service, "GET", &format!("/activities?query={}note", words(12)), None, None).await;
        assert_eq!((status, &wrong["error"]["reason"]), (400, &json!("too_many_conditions")));
    }

    async fn a_list_refuses_parameters_that_it_does_not_take(service: Service) {
        for (path, reason) in [("/contacts?limit=101", "limit_out_of_range"), ("/contacts?cursor=x", "cursor_invalid"), ("/contacts?colour=red", "parameter_unknown"), ("/leads?status=asleep", "parameter_invalid"), ("/leads?custom_field_key=a", "parameter_invalid")] {
            let (status, _, answer) = call(&service, "GET", path, None, None).await;
            assert_eq!((status, &answer["error"]["reason"]), (400, &json!(reason)), "{path}");
        }
    }

    async fn a_write_with_a_key_is_done_once(service: Service) {
        let body = json!({"name": "Jane", "email": "jane@acme.com"});
        let all = futures::future::join_all((0..200).map(|_| call(&service, "POST", "/contacts", Some(body.clone()), Some("one")))).await;
        let fresh: Vec<_> = all.iter().filter(|(_, replayed, _)| !replayed).collect();
        assert_eq!(fresh.len(), 1);
        assert!(all.iter().all(|(status, _, answer)| *status == 201 && *answer == fresh[0].2), "the same answer, with its status");
        assert_eq!(ids(&done(&service, "GET", "/contacts", None).await).len(), 1);
        let (status, _, answer) = call(&service, "POST", "/contacts", Some(json!({"name": "Joe"})), Some("one")).await;
        assert_eq!((status, &answer["error"]["reason"]), (409, &json!("idempotency_key_reused")));
        // Another operation has keys of its own.
        let (status, replayed, _) = call(&service, "POST", "/companies", Some(json!({"name": "Acme"})), Some("one")).await;
        assert_eq!((status, replayed), (201, false));
        // A refusal leaves nothing behind, and may be put right under the same key.
        let (status, ..) = call(&service, "POST", "/contacts", Some(json!({"name": 7})), Some("two")).await;
        assert_eq!(status, 400);
        let (status, ..) = call(&service, "POST", "/contacts", Some(body), Some("two")).await;
        assert_eq!(status, 201);
    }

    async fn a_workspace_belongs_to_its_tenant(service: Service) {
        let document = service.get("/openapi.json").await;
        let contact = done(&service, "POST", "/contacts", Some(json!({"name": "Secret Jane"}))).await;
        let ticket = done(&service, "POST", "/support/tickets", Some(json!({"subject": "Secret"}))).await;
        let lead = done(&service, "POST", "/leads", Some(json!({"name": "Secret"}))).await;
        let deal = done(&service, "POST", "/deals", Some(json!({"name": "Secret"}))).await;
        let task = done(&service, "POST", "/tasks", Some(json!({"title": "Secret"}))).await;
        let collection = done(&service, "POST", "/cms/collections", Some(json!({"name": "Secret", "key": "secret"}))).await;
        let entry = done(&service, "POST", "/cms/entries", Some(json!({"collection_id": collection["id"], "title": "Secret"}))).await;
        let asset = done(&service, "POST", "/assets", Some(json!({"asset_type": "image", "file_name": "secret.png", "mime_type": "image/png"}))).await;
        let webhook = done(&service, "POST", "/webhooks", Some(json!({"name": "Secret", "url": "https://example.com", "event_types": ["*"]}))).await;
        let dataset = done(&service, "POST", "/bi/datasets", Some(json!({"name": "Secret", "kind": "table", "source": "contacts"}))).await;
        let stranger = service.stranger().await;
        let body = json!({"name": "x", "title": "x", "subject": "x", "body": "x", "type": "note", "summary": "x", "status": "open", "key": "x", "channel": "x", "format": "csv",
            "company_id": contact["id"], "contact_id": contact["id"], "invoice_id": lead["id"], "collection_id": collection["id"], "dataset_id": dataset["id"], "lines": [], "line_items": [],
            "related_resource_type": "contact", "related_resource_id": contact["id"], "queue_id": ticket["id"], "byte_size": 1, "checksum_sha256": "0".repeat(64)});
        let mut tried = 0;
        for (path, item) in document["paths"].as_object().expect("paths").iter().filter(|(p, _)| p.starts_with("/v1/")) {
            for method in item.as_object().expect("operations").keys() {
                let filled = path.replace("{lead_id}", &text(&lead["id"])).replace("{deal_id}", &text(&deal["id"])).replace("{ticket_id}", &text(&ticket["id"]))
                    .replace("{task_id}", &text(&task["id"])).replace("{entry_id}", &text(&entry["id"])).replace("{asset_id}", &text(&asset["id"]))
                    .replace("{webhook_id}", &text(&webhook["id"])).replace("{delivery_id}", "whd_x").replace("{collection}", "datasets").replace("{id}", &text(&dataset["id"]));
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                let sent = (method != Method::GET).then(|| body.clone());
                let (status, answer) = service.call_as(&stranger, method.clone(), &filled, sent).await;
                assert!(status.as_u16() < 500, "{method} {filled}: {answer}");
                // What a stranger is told holds nothing of ours.
                assert!(!answer.to_string().contains("Secret") && !answer.to_string().contains("secret.png"), "{method} {filled}: {answer}");
                if *path != filled {
                    assert!((400..500).contains(&status.as_u16()), "{method} {filled}: {answer}");
                }
                tried += 1;
            }
        }
        assert_eq!(tried, 76);
        assert_eq!(done(&service, "GET", "/contacts?query=secret", None).await[0]["name"], "Secret Jane");
    }
}

/// A receiver that does as it is told, and remembers.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: String,
) -> (Code, [(&'static str, &'static str); 1]) {
    receiver.got.lock().expect("got").push((headers, body));
    let next = {
        let mut answers = receiver.answers.lock().expect("answers");
        if answers.is_empty() {
            200
        } else {
            answers.remove(0)
        }
    };
    if next == 0 {
        // Longer than a service waits that `sending` has started.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    (
        Code::from_u16(if next == 0 { 200 } else { next }).expect("a status"),
        [("location", "http://169.254.169.254/")],
    )
}

/// A service that may send to this machine, and the address of a receiver.
async fn sending(receiver: &Receiver) -> (Service, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let app = Router::new()
        .route("/hook", post(receive))
        .with_state(receiver.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
        config.webhook_seconds = 1;
    })
    .await;
    (service, url)
}

/// The data that a key is answered with, if it is.
async fn done_as(
    service: &Service,
    key: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, (StatusCode, String)> {
    let (status, answer) = service
        .call_as(key, method, &format!("/v1{path}"), body)
        .await;
    if status.is_success() {
        Ok(answer["data"].clone())
    } else {
        Err((status, text(&answer["error"]["reason"])))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_hears_what_the_key_that_set_it_up_may_read_and_ends_with_it() {
    let receiver = Receiver::default();
    let (service, url) = sending(&receiver).await;
    let body = |event: &str| Some(json!({"name": "x", "url": url, "event_types": [event]}));
    let spy = service
        .key_with(&["integrations:write", "integrations:read"], None)
        .await;
    for event in [
        "contact.created",
        "contact.updated",
        "ticket_comment.updated",
        "bi_dataset.created",
        "bi_metric.updated",
        "analytics_property.created",
        "asset.updated",
        "document.indexed",
        "*",
    ] {
        let made = done_as(&service, &spy, Method::POST, "/webhooks", body(event)).await;
        let refused = (StatusCode::FORBIDDEN, "scope_missing".to_owned());
        assert_eq!(made, Err(refused), "{event}");
    }
    // One that may read contacts hears of them until its key ends.
    let made = service
        .post(
            "/kb/v1/keys",
            json!({"name": "hook", "scopes": ["integrations:write", "crm:read"]}),
        )
        .await;
    let made_by = text(&made["key"]);
    let webhook = done_as(
        &service,
        &made_by,
        Method::POST,
        "/webhooks",
        body("contact.created"),
    )
    .await
    .expect("made");
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    let last = async || {
        let all = done(&service, "GET", &format!("{path}/deliveries"), None).await;
        all[0].clone()
    };
    done(&service, "POST", "/contacts", Some(json!({"name": "Jane"}))).await;
    eventually!("it is told", last().await["status"] == "succeeded");
    let revoked = format!("/kb/v1/keys/{}", text(&made["id"]));
    service.call(Method::DELETE, &revoked, None).await;
    done(&service, "POST", "/contacts", Some(json!({"name": "Joe"}))).await;
    eventually!("it is told no more", last().await["status"] == "failed");
    assert!(text(&last().await["last_error"]).contains("has expired"));
    assert_eq!(receiver.got.lock().expect("got").len(), 1);
    let found = done(&service, "GET", "/webhooks", None).await;
    assert_eq!(found[0]["status"], "disabled");
    // What was told is shown to those who may read it, and who sets it up again takes it over.
    let log = format!("{path}/deliveries");
    let seen = done_as(&service, &spy, Method::GET, &log, None)
        .await
        .expect("a list");
    assert_eq!(
        (&seen[1]["status"], &seen[1]["payload"]),
        (&json!("succeeded"), &Value::Null)
    );
    let active = Some(json!({"status": "active"}));
    assert!(
        done_as(&service, &spy, Method::PATCH, &path, active.clone())
            .await
            .is_err()
    );
    done(&service, "PATCH", &path, active).await;
    done(&service, "POST", "/contacts", Some(json!({"name": "Jim"}))).await;
    eventually!("it is told again", last().await["status"] == "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_told_once_what_happened_to_documents() {
    let receiver = Receiver::default();
    let (service, url) = sending(&receiver).await;
    let types = ["document.indexed", "document.failed"];
    let hook = json!({"name": "x", "url": url, "event_types": types});
    done(&service, "POST", "/webhooks", Some(hook)).await;
    let dataset = service.dataset("sea").await;
    let document = service.add(&dataset, "tides.md", "The tide lags.").await;
    let broken: &[u8] = b"%PDF-1.7\nnothing";
    service
        .upload(&dataset, &[("broken.pdf", broken)], &[])
        .await;
    // A delivery that takes too long is repeated with its id.
    let told = || -> HashMap<String, Value> {
        let got = receiver.got.lock().expect("got");
        let id = |headers: &HeaderMap| headers["webhook-id"].to_str().expect("a text").to_owned();
        let read = |body: &str| serde_json::from_str(body).expect("JSON");
        got.iter()
            .map(|(headers, body)| (id(headers), read(body)))
            .collect()
    };
    let has = |name: &str| told().values().any(|t| t["type"] == name);
    eventually!(
        "both are told",
        has("document.indexed") && has("document.failed")
    );
    let told: Vec<Value> = told().into_values().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let of = |name: &str| told.iter().find(|t| t["type"] == name).expect(name)["data"].clone();
    assert_eq!(
        (
            &of("document.indexed")["documentId"],
            &of("document.indexed")["datasetId"]
        ),
        (&json!(document), &json!(dataset))
    );
    let failed = of("document.failed");
    assert!(
        failed["fileName"] == "broken.pdf" && failed["error"].is_string(),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signing_secret_is_for_the_key_that_made_it_and_encrypted_where_it_is_kept() {
    let service = Service::start(Engine::Sqlite).await;
    let hook =
        json!({"name": "x", "url": "https://example.com", "event_types": ["contact.created"]});
    let ask = async |key: &str| -> (u16, Value) {
        let request = service
            .http
            .post(format!("{}/v1/webhooks", service.url))
            .bearer_auth(key)
            .header("Idempotency-Key", "one")
            .json(&hook);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    };
    let (status, made) = ask(&service.key).await;
    let secret = text(&made["data"]["signing_secret"]);
    assert_eq!(
        (status, secret.starts_with("whsec_")),
        (201, true),
        "{made}"
    );
    assert_eq!(ask(&service.key).await.1["data"], made["data"]);
    let other = service
        .key_with(&["integrations:write", "crm:read"], None)
        .await;
    let (status, answer) = ask(&other).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (409, &json!("idempotency_key_reused"))
    );
    for sql in [
        "SELECT secret AS line FROM webhook_endpoints",
        "SELECT answer AS line FROM idempotency_keys",
        "SELECT body AS line FROM records",
    ] {
        let rows: Vec<(String,)> = service
            .app
            .db
            .all(sql, cairn::db::Args(Vec::new()))
            .await
            .expect("rows");
        assert!(!rows.is_empty(), "{sql}");
        assert!(rows.iter().all(|(line,)| !line.contains(&secret)), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_signed_and_tried_again() {
    let receiver = Receiver::default();
    let (service, url) = sending(&receiver).await;
    let webhook = done(
        &service,
        "POST",
        "/webhooks",
        Some(
            json!({"name": "ops", "url": url, "event_types": ["contact.created", "deal.updated"]}),
        ),
    )
    .await;
    let secret = text(&webhook["signing_secret"]);
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    let log = async || done(&service, "GET", &format!("{path}/deliveries"), None).await;
    let wait = async |wanted: &str| eventually!(all in log().await, "the last delivery becomes {wanted}", all[0]["status"] == wanted);
    done(&service, "POST", "/contacts", Some(json!({"name": "Jane"}))).await;
    done(
        &service,
        "POST",
        "/companies",
        Some(json!({"name": "Acme"})),
    )
    .await;
    let all = wait("succeeded").await;
    assert_eq!(
        (all.as_array().map(Vec::len), &all[0]["attempt_count"]),
        (Some(1), &json!(1)),
        "companies were not asked for"
    );
    let (headers, body) = receiver.got.lock().expect("got")[0].clone();
    let word = |name: &str| headers[name].to_str().expect("text").to_owned();
    let expected = cairn::webhooks::send::signature(
        &secret,
        &word("webhook-id"),
        word("webhook-timestamp").parse().expect("a time"),
        &body,
    );
    assert_eq!(Some(word("webhook-signature")), expected);
    let signed = word("x-slab5-signature");
    let (time, _) = signed.split_once(',').expect("time and digest");
    let time = time.trim_start_matches("t=").parse().expect("a time");
    assert_eq!(
        Some(signed),
        cairn::webhooks::send::slab5_signature(&secret, time, &body)
    );
    assert_eq!(
        (
            word("x-slab5-delivery-id"),
            word("x-slab5-event-type"),
            word("user-agent")
        ),
        (
            text(&all[0]["id"]),
            "contact.created".to_owned(),
            "Slab5-Webhooks/1.0".to_owned()
        )
    );
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&told["type"], &told["data"]["name"]),
        (&json!("contact.created"), &json!("Jane"))
    );
    // It fails, takes too long, redirects inside: each is tried again later, under the same id.
    for (answer, reason) in [(500, "500"), (0, "timed out"), (302, "redirect")] {
        receiver.answers.lock().expect("answers").push(answer);
        done(
            &service,
            "POST",
            "/contacts",
            Some(json!({"name": format!("after {answer}")})),
        )
        .await;
        let all = wait("retrying").await;
        assert!(
            all[0]["last_error"]
                .as_str()
                .is_some_and(|e| e.contains(reason))
                && all[0]["next_attempt_at"].is_string(),
            "{}",
            all[0]
        );
    }
    let before = receiver.got.lock().expect("got").len();
    assert_eq!(before, 4, "a redirect is not followed");
    // The first waiting time is five seconds, more or less: then all are delivered.
    eventually!(
        within 40,
        all in log().await,
        "all are delivered",
        all.as_array().is_some_and(|l| l.len() == 4 && l.iter().all(|d| d["status"] == "succeeded"))
    );
    let got = receiver.got.lock().expect("got").clone();
    let ids: BTreeSet<String> = got
        .iter()
        .map(|(h, _)| h["webhook-id"].to_str().expect("text").to_owned())
        .collect();
    assert_eq!(
        (got.len(), ids.len()),
        (7, 4),
        "a receiver can tell what it has seen"
    );
    // While an endpoint is paused, what happens waits for it.
    done(&service, "PATCH", &path, Some(json!({"status": "paused"}))).await;
    done(
        &service,
        "POST",
        "/contacts",
        Some(json!({"name": "Waiting"})),
    )
    .await;
    // Its job has ended, and left it without a time to wait for.
    let all = eventually!(all in log().await, "its turn has passed", {
        let jobs = service.get("/kb/v1/jobs?limit=500").await;
        let jobs = jobs["data"].as_array().expect("jobs");
        let mut deliveries = jobs.iter().filter(|j| j["kind"] == "deliver");
        all[0]["next_attempt_at"].is_null() && deliveries.all(|j| j["status"] == "done")
    });
    assert_eq!(all[0]["status"], "pending");
    done(&service, "PATCH", &path, Some(json!({"status": "active"}))).await;
    let all = wait("succeeded").await;
    // A delivery is replayed under the id of its event.
    let again = format!("{path}/deliveries/{}/replay", text(&all[0]["id"]));
    assert_eq!(
        done(&service, "POST", &again, None).await["status"],
        "pending"
    );
    wait("succeeded").await;
    let got = receiver.got.lock().expect("got").clone();
    let last: Vec<&str> = got
        .iter()
        .rev()
        .take(2)
        .map(|(h, _)| h["webhook-id"].to_str().expect("text"))
        .collect();
    assert_eq!(last[0], last[1]);
    // One that is gone is not asked again.
    receiver.answers.lock().expect("answers").push(410);
    done(&service, "POST", &format!("{path}/test"), None).await;
    wait("failed").await;
    eventually!(
        "the endpoint is disabled",
        done(&service, "GET", "/webhooks", None).await[0]["status"] == "disabled"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_ends_after_the_attempts_of_its_endpoint() {
    let receiver = Receiver::default();
    let (service, url) = sending(&receiver).await;
    let hook =
        json!({"name": "once", "url": url, "event_types": ["contact.created"], "max_attempts": 1});
    let webhook = done(&service, "POST", "/webhooks", Some(hook)).await;
    receiver.answers.lock().expect("answers").push(500);
    done(&service, "POST", "/contacts", Some(json!({"name": "Jane"}))).await;
    let path = format!("/webhooks/{}/deliveries", text(&webhook["id"]));
    let ended = eventually!(ended in done(&service, "GET", &path, None).await[0].clone(), "the delivery did not end", ended["status"] == "failed");
    assert_eq!(
        (
            &ended["attempt_count"],
            &ended["max_attempts"],
            &ended["last_status_code"],
            &ended["signature_header"]
        ),
        (
            &json!(1),
            &json!(1),
            &json!(500),
            &json!("x-slab5-signature")
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_outlives_a_module_that_is_off_for_a_while() {
    let receiver = Receiver::default();
    let (service, url) = sending(&receiver).await;
    let hook = json!({"name": "ops", "url": url, "event_types": ["contact.created"]});
    let webhook = done(&service, "POST", "/webhooks", Some(hook)).await;
    let path = format!("/webhooks/{}/deliveries", text(&webhook["id"]));
    receiver.answers.lock().expect("answers").push(500);
    done(&service, "POST", "/contacts", Some(json!({"name": "Jane"}))).await;
    eventually!(
        "it was not tried",
        done(&service, "GET", &path, None).await[0]["status"] == "retrying"
    );
    let set = async |on: bool| {
        let module = "/kb/v1/modules/crm";
        let body = json!({"enabled": on});
        service.call(Method::PUT, module, Some(body)).await
    };
    set(false).await;
    // The next attempt comes after five seconds, more or less.
    let last = eventually!(last in done(&service, "GET", &path, None).await[0].clone(), "it was not ended", last["status"] == "failed");
    assert!(text(&last["last_error"]).contains("not enabled"), "{last}");
    set(true).await;
    done(&service, "POST", "/contacts", Some(json!({"name": "Joe"}))).await;
    eventually!(
        "the endpoint is told nothing any more",
        receiver.got.lock().expect("got").len() == 2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_resumed_while_the_job_that_found_its_endpoint_paused_is_still_ending() {
    let receiver = Receiver::default();
    let (service, url) = sending(&receiver).await;
    let hook =
        json!({"name": "ops", "url": url, "event_types": ["contact.created"], "status": "paused"});
    let webhook = done(&service, "POST", "/webhooks", Some(hook)).await;
    let path = format!("/webhooks/{}", text(&webhook["id"]));
    done(&service, "POST", "/contacts", Some(json!({"name": "Jane"}))).await;
    let jobs = async || service.get("/kb/v1/jobs?limit=500").await["data"].clone();
    let is_delivery = |job: &&Value| job["kind"] == "deliver" && job["status"] == "done";
    eventually!("the job has ended", {
        let jobs = jobs().await;
        jobs.as_array()
            .expect("jobs")
            .iter()
            .any(|job| is_delivery(&job))
    });
    // As at the moment before its worker reports the end.
    let running =
        "UPDATE jobs SET status = 'running', lease_until = 9000000000000 WHERE kind = 'deliver'";
    let args = cairn::db::Args(Vec::new());
    service
        .app
        .db
        .execute(running, args)
        .await
        .expect("updated");
    done(&service, "PATCH", &path, Some(json!({"status": "active"}))).await;
    eventually!(
        "the delivery arrives",
        receiver.got.lock().expect("got").len() == 1
    );
}
