//! People: profiles, organisations, invitations, access to boards.

use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::on_both_with_gateways;
use crate::support::provider::{ISSUER, Issuer};

/// A member of the first organisation with a key of its own: its id and its key.
async fn member(service: &Service, name: &str, role: &str) -> (String, String) {
    let invite = service
        .post("/kb/v1/invites", json!({"name": name, "role": role}))
        .await;
    let cookie = service.cookie(&invite["url"]).await;
    let me: Value = service
        .http
        .get(format!("{}{BASE}/users/me", service.url))
        .header("cookie", &cookie)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    (text(&me["id"]), cookie)
}

/// Calls an operation with the session of a browser.
async fn with_cookie(
    service: &Service,
    cookie: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let mut request = service
        .http
        .request(method, format!("{}{BASE}{path}", service.url))
        .header("cookie", cookie)
        .header("x-cairn-sandbox", "1");
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    (
        response.status().as_u16(),
        response.json().await.unwrap_or_default(),
    )
}

on_both_with_gateways! {
    async fn members_use_the_boards_that_they_were_given(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let (open, closed) = (board(&service, &gateway, json!({})).await, board(&service, &gateway, json!({"name": "Yard"})).await);
        let (id, cookie) = member(&service, "Bo", "member").await;
        let (status, all) = with_cookie(&service, &cookie, Method::GET, "/boards", Value::Null).await;
        assert_eq!((status, &all["total"]), (200, &json!(2)), "members of Cairn use all boards at first");
        let access = json!({"board_access": [{"board_id": open, "can_read": true}]});
        let given = call(&service, Method::PUT, &format!("/organizations/me/members/{id}/access"), access).await;
        assert_eq!((&given["all_boards_read"], &given["board_access"][0]["can_write"]), (&json!(false), &json!(false)));
        let (_, seen) = with_cookie(&service, &cookie, Method::GET, "/boards", Value::Null).await;
        assert_eq!((&seen["total"], &seen["items"][0]["id"]), (&json!(1), &json!(open)));
        let (denied, fault) = with_cookie(&service, &cookie, Method::GET, &format!("/boards/{closed}"), Value::Null).await;
        assert_eq!((denied, &fault["detail"]), (403, &json!("Board access denied")));
        let task = json!({"title": "x"});
        let (denied, _) = with_cookie(&service, &cookie, Method::POST, &format!("/boards/{open}/tasks"), task.clone()).await;
        assert_eq!(denied, 403, "reading is not writing");
        let access = json!({"board_access": [{"board_id": open, "can_write": true}]});
        call(&service, Method::PUT, &format!("/organizations/me/members/{id}/access"), access).await;
        let (made, _) = with_cookie(&service, &cookie, Method::POST, &format!("/boards/{open}/tasks"), task).await;
        assert_eq!(made, 200);
        for path in ["/gateways", "/agents", "/organizations/me/invites"] {
            let (denied, _) = with_cookie(&service, &cookie, Method::GET, path, Value::Null).await;
            assert_eq!(denied, 403, "{path} is for administrators");
        }
        let foreign = json!({"board_access": [{"board_id": "00000000-0000-0000-0000-000000000001"}]});
        assert_eq!(refused(&service, &service.key, Method::PUT, &format!("/organizations/me/members/{id}/access"), foreign).await.0, 422);
        let itself = get(&service, "/organizations/me/member").await;
        let me = text(&itself["id"]);
        assert_eq!(refused(&service, &service.key, Method::DELETE, &format!("/organizations/me/members/{me}"), Value::Null).await.0, 403);
        assert_eq!(refused(&service, &service.key, Method::PATCH, &format!("/organizations/me/members/{me}"), json!({"role": "member"})).await.0, 422, "the last owner stays");
    }

    async fn events_about_boards_need_access_to_all_of_them(service: Service) {
        let (_peer, gateway) = gateway(&service, 4).await;
        let open = board(&service, &gateway, json!({})).await;
        let (id, cookie) = member(&service, "Bo", "admin").await;
        let subscribe = async || {
            let body = json!({"name": "Tasks", "url": "https://example.com/tasks", "event_types": ["board_task.created"]});
            let request = service.http.post(format!("{}/v1/webhooks", service.url));
            let request = request.header("cookie", &cookie).header("x-cairn-sandbox", "1").json(&body);
            let response = request.send().await.expect("an answer");
            (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
        };
        let (status, made) = subscribe().await;
        assert_eq!(status, 201, "a member with all boards subscribes: {made}");
        let access = json!({"board_access": [{"board_id": open, "can_read": true}]});
        call(&service, Method::PUT, &format!("/organizations/me/members/{id}/access"), access).await;
        let (status, fault) = subscribe().await;
        assert_eq!((status, &fault["error"]["reason"]), (403, &json!("boards_restricted")), "{fault}");
    }

    async fn a_person_acts_in_one_of_its_organisations(service: Service) {
        let first = get(&service, "/organizations/me").await;
        let second = post(&service, "/organizations", json!({"name": "  Second Fleet "})).await;
        assert_eq!(second["name"], "Second Fleet");
        let now = get(&service, "/organizations/me").await;
        assert_eq!(now["id"], second["id"], "a new organisation becomes the active one");
        assert_eq!(get(&service, "/boards").await["total"], 0);
        let twice = refused(&service, &service.key, Method::POST, "/organizations", json!({"name": "second fleet"})).await;
        assert_eq!(twice.0, 409);
        let list = get(&service, "/organizations/me/list").await;
        let active: Vec<(&str, bool)> = list.as_array().expect("a list").iter().map(|o| (o["role"].as_str().expect("a role"), o["is_active"] == true)).collect();
        assert_eq!(active.len(), 2);
        assert!(active.contains(&("owner", true)) && active.contains(&("owner", false)), "{list}");
        let back = patch(&service, "/organizations/me/active", json!({"organization_id": first["id"]})).await;
        assert_eq!(back["id"], first["id"]);
        let nobody = json!({"organization_id": "00000000-0000-0000-0000-000000000001"});
        assert_eq!(refused(&service, &service.key, Method::PATCH, "/organizations/me/active", nobody).await, (403, json!("No org access")));
        let stranger = service.stranger().await;
        assert_eq!(refused(&service, &stranger, Method::PATCH, "/organizations/me/active", json!({"organization_id": first["id"]})).await.0, 403);
    }

    async fn an_invitation_is_for_its_address_and_used_once(service: Service) {
        let invites = "/organizations/me/invites";
        let made = post(&service, invites, json!({"invited_email": " Bo@X.test ", "role": "admin", "all_boards_read": true})).await;
        assert_eq!(made["invited_email"], "bo@x.test");
        assert_eq!(get(&service, invites).await["items"][0]["token"], made["token"], "administrators see it again");
        let stranger = service.stranger().await;
        let accept = json!({"token": made["token"]});
        let other = refused(&service, &stranger, Method::POST, "/organizations/invites/accept", accept.clone()).await;
        assert_eq!(other.0, 403, "{other:?}");
        service.app.db.execute("UPDATE user_profiles SET email = 'BO@x.test' WHERE user_id IN (SELECT user_id FROM memberships WHERE tenant_id NOT IN (SELECT MIN(id) FROM tenants))", cairn::db::Args(Vec::new())).await.expect("an address");
        let joined = call_as(&service, &stranger, Method::POST, "/organizations/invites/accept", accept.clone()).await;
        assert_eq!((&joined["role"], &joined["all_boards_read"]), (&json!("admin"), &json!(true)));
        assert_eq!(refused(&service, &stranger, Method::POST, "/organizations/invites/accept", accept).await.0, 404);
        assert_eq!(get(&service, invites).await["total"], 0);
        let again = refused(&service, &service.key, Method::POST, invites, json!({"invited_email": "bo@x.test"})).await;
        assert_eq!(again.0, 409);
    }

    async fn faults_have_the_shape_of_the_contract(service: Service) {
        let key = &service.key;
        let missing = refused(&service, key, Method::POST, "/organizations", json!({})).await;
        assert_eq!((missing.0, &missing.1[0]["type"], &missing.1[0]["loc"]), (422, &json!("missing"), &json!(["body", "name"])));
        let stranger = refused(&service, "nonsense", Method::GET, "/users/me", Value::Null).await;
        assert_eq!(stranger.0, 401);
        let response = service.http.get(format!("{}{BASE}/nowhere", service.url)).header("x-request-id", "mine").send().await.expect("an answer");
        assert_eq!(response.headers()["x-request-id"], "mine");
        let body: Value = response.json().await.expect("JSON");
        assert!(body["detail"].is_string() && body["request_id"] == "mine", "{body}");
        let person = service.post("/kb/v1/keys", json!({"name": "k", "scopes": ["boards:read", "boards:write"]})).await;
        let program = text(&person["key"]);
        assert_eq!(refused(&service, &program, Method::GET, "/users/me", Value::Null).await.0, 401, "a program is no person");
        call_as(&service, &program, Method::GET, "/boards", Value::Null).await;
        let health = service.get("/healthz").await;
        assert_eq!(health["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_an_identity_provider_sign_people_in() {
    let issuer = Issuer::new("k1");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, issuer.keys.to_string()).expect("written");
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.oidc_jwks = file.to_string_lossy().into_owned();
        config.oidc_issuer = ISSUER.to_owned();
        config.oidc_audience = "boards".to_owned();
    })
    .await;
    let ada =
        json!({"sub": "u1", "email": "Ada@X.test", "given_name": "Ada", "family_name": "Holm"});
    let token = issuer.token("k1", ada.clone());
    // Ten first requests at once make one person with one organisation.
    let all = futures::future::join_all((0..10).map(|_| {
        call_as(
            &service,
            &token,
            Method::POST,
            "/auth/bootstrap",
            Value::Null,
        )
    }))
    .await;
    let me = &all[0];
    assert!(all.iter().all(|a| a["id"] == me["id"]), "{all:?}");
    assert_eq!(
        (&me["email"], &me["name"], &me["clerk_user_id"]),
        (
            &json!("ada@x.test"),
            &json!("Ada Holm"),
            &json!(format!("{ISSUER}|u1"))
        )
    );
    let list = call_as(
        &service,
        &token,
        Method::GET,
        "/organizations/me/list",
        Value::Null,
    )
    .await;
    assert_eq!(
        (
            list.as_array().map(Vec::len),
            &list[0]["name"],
            &list[0]["role"]
        ),
        (Some(1), &json!("Personal"), &json!("owner"))
    );
    // An invited person joins the organisation that invited it.
    let invite = json!({"invited_email": "bo@x.test", "role": "member"});
    call_as(
        &service,
        &token,
        Method::POST,
        "/organizations/me/invites",
        invite,
    )
    .await;
    let bo = issuer.token(
        "k1",
        json!({"sub": "u2", "email": "BO@x.test", "name": "Bo"}),
    );
    let joined = call_as(
        &service,
        &bo,
        Method::GET,
        "/organizations/me/list",
        Value::Null,
    )
    .await;
    assert_eq!(
        (&joined[0]["id"], &joined[0]["role"]),
        (&list[0]["id"], &json!("member"))
    );

    let refused = async |token: &str| {
        let (status, _) = service
            .call_as(token, Method::GET, "/api/v1/users/me", None)
            .await;
        status.as_u16()
    };
    let with = |name: &str, value: Value| {
        let mut claims = ada.clone();
        claims[name] = value;
        issuer.token("k1", claims)
    };
    assert_eq!(
        refused(&with("iss", json!("https://other.test"))).await,
        401
    );
    assert_eq!(refused(&with("aud", json!("other"))).await, 401);
    assert_eq!(refused(&with("exp", json!(1_000_000_000))).await, 401);
    assert_eq!(refused(&with("nbf", json!(9_000_000_000_i64))).await, 401);
    assert_eq!(
        refused(&Issuer::new("k1").token("k1", ada.clone())).await,
        401,
        "another key with the same id"
    );
    assert_eq!(
        refused(&issuer.token("k2", ada)).await,
        401,
        "an unknown key"
    );
    let unsigned = token.rsplit_once('.').expect("parts").0;
    assert_eq!(refused(&format!("{unsigned}.")).await, 401);
    // The token works in every dialect, with the rights of the membership.
    let (status, _) = service
        .call_as(&bo, Method::GET, "/kb/v1/datasets", None)
        .await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = service.call_as(&bo, Method::GET, "/kb/v1/keys", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_of_tokens_are_limited_per_address_and_good_requests_are_not() {
    let service =
        Service::start_with(Engine::Sqlite, |config| config.failed_authentications = 5).await;
    let guess = async || {
        let (status, _) = service
            .call_as("guess", Method::GET, "/api/v1/agent/healthz", None)
            .await;
        status.as_u16()
    };
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(guess().await);
    }
    assert_eq!(answers, [401, 401, 401, 401, 401, 429, 429]);
    for _ in 0..20 {
        get(&service, "/boards").await;
    }
}
