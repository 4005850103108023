//! People and agents: how they get in, what they may do, and when that ends.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Service, text};

/// A browser of a person.
#[derive(Default)]
struct Browser {
    cookie: String,
}

impl Browser {
    /// Begins a session, and returns the status and the answer.
    async fn sign_in(&mut self, service: &Service, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/kb/v1/session", service.url);
        let request = service.http.post(url).header("cookie", &self.cookie);
        let answer = request.json(&body).send().await.expect("an answer");
        let status = answer.status();
        if let Some(set) = answer.headers().get("set-cookie") {
            let set = set.to_str().expect("text");
            self.cookie = set.split(';').next().expect("a pair").to_owned();
        }
        (status, answer.json().await.expect("JSON"))
    }

    async fn call(
        &self,
        service: &Service,
        method: Method,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let answer = service
            .http
            .request(method, format!("{}{path}", service.url))
            .header("cookie", &self.cookie)
            .header("x-cairn-sandbox", "1")
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn status(&self, service: &Service, path: &str) -> u16 {
        let (status, _) = self.call(service, Method::GET, path, Value::Null).await;
        status
    }
}

/// Returns the secret of a link.
fn secret(link: &Value) -> String {
    let url = text(&link["url"]);
    url.split_once("#enter=").expect("a secret").1.to_owned()
}

/// Adds a member, and returns its id and its browser, which is signed in.
async fn member(service: &Service, name: &str, role: &str) -> (String, Browser) {
    let user = service
        .post("/kb/v1/users", json!({"name": name, "role": role}))
        .await;
    let id = text(&user["id"]);
    let link = service
        .post(&format!("/kb/v1/users/{id}/link"), json!({}))
        .await;
    let mut browser = Browser::default();
    let (status, session) = browser
        .sign_in(service, json!({"link": secret(&link)}))
        .await;
    assert_eq!(status, StatusCode::OK, "{session}");
    (id, browser)
}

/// Changes a member as the owner of the first key.
async fn change(service: &Service, id: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/kb/v1/users/{id}");
    service.call(Method::PATCH, &path, Some(body)).await
}

on_both! {
    async fn an_invitation_makes_its_reader_a_member_once(service: Service) {
        let invite = service.post("/kb/v1/invites", json!({"name": "Ada", "email": "ada@example.test", "role": "member"})).await;
        let mut browser = Browser::default();
        let (status, session) = browser.sign_in(&service, json!({"link": secret(&invite)})).await;
        assert_eq!((status, &session["principal"]["kind"], &session["principal"]["role"]), (StatusCode::OK, &json!("user"), &json!("member")));
        let (status, refused) = Browser::default().sign_in(&service, json!({"link": secret(&invite)})).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::UNAUTHORIZED, &json!("link_consumed")));
        let listed = service.get("/kb/v1/invites").await["data"][0].clone();
        assert_eq!(listed["userId"], session["keyId"], "{listed}");
        let people = service.get("/kb/v1/users").await;
        assert_eq!(people["data"][1]["name"], "Ada", "{people}");
    }

    async fn a_removed_invitation_is_refused(service: Service) {
        let invite = service.post("/kb/v1/invites", json!({"name": "Ada"})).await;
        let path = format!("/kb/v1/invites/{}", text(&invite["id"]));
        assert_eq!(service.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
        let (status, _) = Browser::default().sign_in(&service, json!({"link": secret(&invite)})).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }

    async fn an_invitation_survives_a_name_that_is_taken(service: Service) {
        let invite = service.post("/kb/v1/invites", json!({"name": "Ada"})).await;
        let taken = service.post("/kb/v1/users", json!({"name": "Ada"})).await;
        let mut browser = Browser::default();
        let (status, refused) = browser.sign_in(&service, json!({"link": secret(&invite)})).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::CONFLICT, &json!("user_exists")));
        service.call(Method::DELETE, &format!("/kb/v1/users/{}", text(&taken["id"])), None).await;
        assert_eq!(browser.sign_in(&service, json!({"link": secret(&invite)})).await.0, StatusCode::OK);
    }

    async fn a_role_decides_what_a_member_may_do(service: Service) {
        for (role, reads, writes, manages) in [("reviewer", 200, 403, 403), ("member", 200, 201, 403), ("admin", 200, 201, 200)] {
            let (_, browser) = member(&service, role, role).await;
            assert_eq!(browser.status(&service, "/kb/v1/datasets").await, reads, "{role}");
            let (status, answer) = browser.call(&service, Method::POST, "/kb/v1/datasets", json!({"name": role})).await;
            assert_eq!(status, writes, "{role}: {answer}");
            assert_eq!(browser.status(&service, "/kb/v1/keys").await, manages, "{role}");
            assert_eq!(browser.status(&service, "/kb/v1/tenants").await, 403, "{role}");
        }
    }

    async fn a_changed_role_is_effective_at_once(service: Service) {
        let (id, browser) = member(&service, "Ada", "member").await;
        assert_eq!(browser.call(&service, Method::POST, "/kb/v1/datasets", json!({"name": "a"})).await.0, 201);
        let (status, user) = change(&service, &id, json!({"role": "reviewer"})).await;
        assert_eq!((status, &user["role"]), (StatusCode::OK, &json!("reviewer")));
        assert_eq!(browser.call(&service, Method::POST, "/kb/v1/datasets", json!({"name": "b"})).await.0, 403);
    }

    async fn nobody_grants_a_role_with_more_rights(service: Service) {
        let (_, admin) = member(&service, "Ada", "admin").await;
        for path in ["/kb/v1/users", "/kb/v1/invites"] {
            let (status, refused) = admin.call(&service, Method::POST, path, json!({"name": "Bo", "role": "owner"})).await;
            assert_eq!((status, &refused["error"]["reason"]), (403, &json!("scope_missing")), "{path}");
        }
        let (_, people) = admin.call(&service, Method::GET, "/kb/v1/users", Value::Null).await;
        let owner = text(&people["data"][0]["id"]);
        let (status, _) = admin.call(&service, Method::POST, &format!("/kb/v1/users/{owner}/link"), json!({})).await;
        assert_eq!(status, 403, "an admin does not sign in as the owner");
    }

    async fn a_tenant_keeps_an_active_owner(service: Service) {
        let people = service.get("/kb/v1/users").await;
        let owner = text(&people["data"][0]["id"]);
        for body in [json!({"role": "admin"}), json!({"status": "inactive"})] {
            let (status, refused) = change(&service, &owner, body).await;
            assert_eq!((status, &refused["error"]["reason"]), (StatusCode::CONFLICT, &json!("user_is_owner")));
        }
        member(&service, "Ada", "owner").await;
        assert_eq!(change(&service, &owner, json!({"role": "admin"})).await.0, StatusCode::OK);
    }

    async fn an_inactive_member_is_refused_until_it_is_active_again(service: Service) {
        let (id, browser) = member(&service, "Ada", "admin").await;
        let (_, key) = browser.call(&service, Method::POST, "/kb/v1/keys", json!({"name": "own", "scopes": ["kb:read"]})).await;
        let key = text(&key["key"]);
        let with_key = async || service.call_as(&key, Method::GET, "/kb/v1/datasets", None).await.0.as_u16();
        change(&service, &id, json!({"status": "inactive"})).await;
        assert_eq!((browser.status(&service, "/kb/v1/datasets").await, with_key().await), (401, 401));
        change(&service, &id, json!({"status": "active"})).await;
        assert_eq!((browser.status(&service, "/kb/v1/datasets").await, with_key().await), (200, 200));
    }

    async fn keys_end_with_the_membership_of_their_maker(service: Service) {
        let (id, browser) = member(&service, "Ada", "admin").await;
        let (_, maker) = browser.call(&service, Method::POST, "/kb/v1/keys", json!({"name": "maker", "scopes": ["keys:manage", "kb:read"]})).await;
        let (_, child) = service.call_as(&text(&maker["key"]), Method::POST, "/kb/v1/keys", Some(json!({"name": "child", "scopes": ["kb:read"]}))).await;
        let child = text(&child["key"]);
        assert_eq!(service.call_as(&child, Method::GET, "/kb/v1/datasets", None).await.0, StatusCode::OK);
        service.call(Method::DELETE, &format!("/kb/v1/users/{id}"), None).await;
        assert_eq!(service.call_as(&child, Method::GET, "/kb/v1/datasets", None).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(browser.status(&service, "/kb/v1/session").await, 401);
    }

    async fn keys_have_no_more_rights_than_the_role_of_their_maker(service: Service) {
        let (id, browser) = member(&service, "Ada", "admin").await;
        let (status, refused) = browser.call(&service, Method::POST, "/kb/v1/keys", json!({"name": "x", "scopes": ["tenants:manage"]})).await;
        assert_eq!((status, &refused["error"]["reason"]), (403, &json!("scope_missing")));
        let (_, key) = browser.call(&service, Method::POST, "/kb/v1/keys", json!({"name": "own", "scopes": ["kb:*"]})).await;
        let key = text(&key["key"]);
        let create = async |name: &str| service.call_as(&key, Method::POST, "/kb/v1/datasets", Some(json!({"name": name}))).await.0.as_u16();
        assert_eq!(create("a").await, 201);
        change(&service, &id, json!({"role": "reviewer"})).await;
        assert_eq!(create("b").await, 403);
        assert_eq!(service.call_as(&key, Method::GET, "/kb/v1/datasets", None).await.0, StatusCode::OK);
    }

    async fn a_person_belongs_to_several_tenants_and_switches(service: Service) {
        let other = service.post("/kb/v1/tenants", json!({"name": "acme"})).await;
        let (_, mut browser) = member(&service, "Ada", "member").await;
        let (_, before) = browser.call(&service, Method::GET, "/kb/v1/session", Value::Null).await;
        let (status, refused) = browser.sign_in(&service, json!({"tenant": "acme"})).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::NOT_FOUND, &json!("tenant_not_found")));
        let (_, invite) = service.call_as(&text(&other["key"]), Method::POST, "/kb/v1/invites", Some(json!({"name": "Ada L.", "role": "admin"}))).await;
        let (_, session) = browser.sign_in(&service, json!({"link": secret(&invite)})).await;
        assert_eq!((&session["tenant"], &session["keyId"]), (&json!("acme"), &before["keyId"]), "the same person");
        assert_eq!(session["principal"]["tenants"], json!(["default", "acme"]));
        let (_, session) = browser.sign_in(&service, json!({"tenant": "default"})).await;
        assert_eq!((&session["tenant"], &session["principal"]["role"]), (&json!("default"), &json!("member")));
    }

    async fn an_agent_has_a_token_of_its_own(service: Service) {
        let agent = service.post("/kb/v1/agents", json!({"name": "scout", "role": "researcher", "scopes": ["kb:read", "crm:*"]})).await;
        let token = text(&agent["token"]);
        let answer = service.http.get(format!("{}/kb/v1/session", service.url)).header("x-agent-token", &token).send().await.expect("an answer");
        let session: Value = answer.json().await.expect("JSON");
        assert_eq!((&session["principal"]["kind"], &session["principal"]["role"], &session["keyId"]), (&json!("agent"), &json!("researcher"), &agent["id"]));
        // What it writes bears its name in the audit, from whatever dialect.
        let (status, made) = service.call_as(&token, Method::POST, "/v1/contacts", Some(json!({"name": "Bo"}))).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let audit = service.get(&format!("/kb/v1/audit?entityId={}", text(&made["data"]["id"]))).await;
        assert_eq!(audit["data"][0]["actor"], agent["id"], "{audit}");
    }

    async fn a_replaced_token_is_refused(service: Service) {
        let agent = service.post("/kb/v1/agents", json!({"name": "scout", "role": "researcher", "scopes": ["kb:read"]})).await;
        let (old, id) = (text(&agent["token"]), text(&agent["id"]));
        let new = text(&service.post(&format!("/kb/v1/agents/{id}/token"), json!({})).await["token"]);
        let status = async |token: &str| service.call_as(token, Method::GET, "/kb/v1/datasets", None).await.0.as_u16();
        assert_eq!((status(&old).await, status(&new).await), (401, 200));
        let listed = service.get("/kb/v1/agents").await["data"][0].clone();
        assert!(new.starts_with(&text(&listed["hint"])), "{listed}");
    }

    async fn an_inactive_or_removed_agent_is_refused(service: Service) {
        let agent = service.post("/kb/v1/agents", json!({"name": "scout", "role": "researcher", "scopes": ["kb:read", "keys:manage"]})).await;
        let (token, path) = (text(&agent["token"]), format!("/kb/v1/agents/{}", text(&agent["id"])));
        let (_, key) = service.call_as(&token, Method::POST, "/kb/v1/keys", Some(json!({"name": "own", "scopes": ["kb:read"]}))).await;
        let key = text(&key["key"]);
        let status = async || {
            let by_token = service.call_as(&token, Method::GET, "/kb/v1/datasets", None).await.0.as_u16();
            (by_token, service.call_as(&key, Method::GET, "/kb/v1/datasets", None).await.0.as_u16())
        };
        service.call(Method::PATCH, &path, Some(json!({"status": "inactive"}))).await;
        assert_eq!(status().await, (401, 401));
        service.call(Method::PATCH, &path, Some(json!({"status": "active"}))).await;
        assert_eq!(status().await, (200, 200));
        assert_eq!(service.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(status().await, (401, 401));
    }

    async fn an_agent_has_no_more_rights_than_its_maker(service: Service) {
        let manager = service.key_with(&["keys:manage", "kb:read"], None).await;
        let body = json!({"name": "scout", "role": "researcher", "scopes": ["kb:write"]});
        let (status, refused) = service.call_as(&manager, Method::POST, "/kb/v1/agents", Some(body)).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("scope_missing")));
    }
}
