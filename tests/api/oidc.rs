//! Signing in with an identity provider: the code flow against a provider of our own, who becomes what, and what a forged answer gets.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::provider::{CLIENT, Provider, SECRET};
use crate::support::{Engine, Service, text};

/// A service whose people sign in with a provider; `change` adds settings.
async fn service_with(
    engine: Engine,
    change: impl FnOnce(&mut cairn::config::Config),
) -> (Provider, Service) {
    let provider = Provider::start().await;
    let service = Service::start_with(engine, |config| {
        config.oidc_issuer = provider.url();
        config.oidc_name = "Example".to_owned();
        config.oidc_client_id = CLIENT.to_owned();
        config.oidc_client_secret = SECRET.to_owned();
        change(config);
    })
    .await;
    (provider, service)
}

/// A browser without pages: follows the sign-in by hand and keeps its cookies.
struct Visitor {
    http: Client,
    cookies: Vec<String>,
}

impl Visitor {
    fn new() -> Self {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            http: http.build().expect("a client"),
            cookies: Vec::new(),
        }
    }

    async fn open(&mut self, address: &str) -> Response {
        let cookies = self.cookies.join("; ");
        let request = self.http.get(address).header(COOKIE, cookies);
        let response = request.send().await.expect("an answer");
        for set in response.headers().get_all(SET_COOKIE) {
            let set = set.to_str().expect("text");
            let pair = set.split(';').next().expect("a cookie").to_owned();
            let name = pair.split('=').next().expect("a name").to_owned();
            self.cookies
                .retain(|known| !known.starts_with(&format!("{name}=")));
            if !set.contains("Max-Age=0") {
                self.cookies.push(pair);
            }
        }
        response
    }

    /// Opens a page that redirects; returns where to.
    async fn sent_to(&mut self, address: &str) -> String {
        let response = self.open(address).await;
        assert!(
            response.status().is_redirection(),
            "{address}: {}",
            response.status()
        );
        response.headers()[LOCATION]
            .to_str()
            .expect("text")
            .to_owned()
    }

    /// Goes to the provider and comes back. Returns the address to which the provider leads.
    async fn authorized(&mut self, service: &Service) -> String {
        let provider = self
            .sent_to(&format!("{}/auth/oidc/login", service.url))
            .await;
        self.sent_to(&provider).await
    }

    /// Signs in. Returns the session, or the sentence of the refusal.
    async fn signed_in(&mut self, service: &Service) -> Result<Value, String> {
        let back = self.authorized(service).await;
        self.finished(service, &back).await
    }

    async fn finished(&mut self, service: &Service, back: &str) -> Result<Value, String> {
        let response = self.open(back).await;
        let status = response.status();
        let page = response.text().await.expect("a page");
        if status != StatusCode::OK {
            return Err(page);
        }
        let session = self.open(&format!("{}/kb/v1/session", service.url)).await;
        Ok(session.json().await.expect("JSON"))
    }
}

fn role(session: &Value) -> (&str, &str) {
    let role = session["principal"]["role"].as_str();
    (
        role.expect("a role"),
        session["tenant"].as_str().expect("a tenant"),
    )
}

async fn first_becomes_owner(engine: Engine) {
    let (provider, service) = service_with(engine, |_| {}).await;
    let ada = Visitor::new().signed_in(&service).await.expect("a session");
    assert_eq!(role(&ada), ("owner", "default"));
    let users = service.get("/kb/v1/users").await;
    let names: Vec<String> = users["data"]
        .as_array()
        .expect("users")
        .iter()
        .map(|u| text(&u["name"]))
        .collect();
    assert_eq!(names, ["Ada Holm"], "nobody else is there: {users}");
    // The same person again, and another one.
    assert_eq!(
        role(&Visitor::new().signed_in(&service).await.expect("a session")),
        ("owner", "default")
    );
    provider.person(json!({"sub": "u2", "name": "Bo", "email": "bo@x.test"}));
    let bo = Visitor::new().signed_in(&service).await.expect("a session");
    assert_ne!(
        role(&bo).1,
        "default",
        "others are not let into the owner's tenant"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_person_becomes_the_owner_on_sqlite() {
    first_becomes_owner(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_person_becomes_the_owner_on_postgres() {
    first_becomes_owner(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_becomes_the_owner_where_people_were_added() {
    let (_provider, service) = service_with(Engine::Sqlite, |c| c.oidc_signup = false).await;
    service
        .post("/kb/v1/invites", json!({"name": "Cy", "role": "member"}))
        .await;
    let page = Visitor::new()
        .signed_in(&service)
        .await
        .expect_err("refused");
    assert!(
        page.contains("Nobody has invited you; ask an administrator"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invited_person_joins_with_the_role_of_the_invitation() {
    let (provider, service) = service_with(Engine::Sqlite, |c| c.oidc_signup = false).await;
    Visitor::new().signed_in(&service).await.expect("the owner");
    let invite = json!({"name": "Bo", "email": "bo@x.test", "role": "reviewer"});
    service.post("/kb/v1/invites", invite).await;
    provider.person(json!({"sub": "u2", "name": "Bo", "email": "BO@x.test"}));
    let bo = Visitor::new().signed_in(&service).await.expect("a session");
    assert_eq!(role(&bo), ("reviewer", "default"));
}

async fn groups_give_and_take(engine: Engine) {
    let (provider, service) = service_with(engine, |config| {
        config.oidc_groups = "realm_access.roles".to_owned();
        config.oidc_roles = "staff=member,leads=admin".to_owned();
    })
    .await;
    let ada = json!({"name": "Ada", "email": "ada@x.test", "realm_access": {"roles": ["leads"]}});
    provider.person(json!({"sub": "u1", "userinfo": ada}));
    let owner = Visitor::new().signed_in(&service).await.expect("the owner");
    assert_eq!(role(&owner), ("owner", "default"));
    let bo = |groups: Value| {
        let more = json!({"name": "Bo", "email": "bo@x.test", "realm_access": {"roles": groups}});
        provider.person(json!({"sub": "u2", "userinfo": more}));
    };
    let mut visitor = Visitor::new();
    bo(json!(["guests"]));
    let page = visitor.signed_in(&service).await.expect_err("refused");
    assert!(
        page.contains("None of your groups has access here"),
        "{page}"
    );
    for (groups, expected) in [
        (json!(["staff"]), "member"),
        (json!(["staff", "leads"]), "admin"),
        (json!(["staff"]), "member"),
    ] {
        bo(groups);
        let session = visitor.signed_in(&service).await.expect("a session");
        assert_eq!(role(&session), (expected, "default"));
    }
    bo(json!([]));
    Visitor::new()
        .signed_in(&service)
        .await
        .expect_err("refused");
    let session = visitor
        .open(&format!("{}/kb/v1/session", service.url))
        .await;
    assert_eq!(
        session.status(),
        StatusCode::UNAUTHORIZED,
        "the session ends with the groups"
    );
    let users = service.get("/kb/v1/users").await;
    assert_eq!(users["data"][1]["status"], "inactive", "{users}");
    let log = service.get("/kb/v1/access-log").await;
    assert_eq!(log["data"][0]["detail"]["by"], "groups", "{log}");
    // The group comes back, and finds the membership as it was restricted.
    let dataset = service.dataset("handbook").await;
    let id = text(&users["data"][1]["id"]);
    let grants = json!([{"datasetId": dataset, "role": "reader"}]);
    let path = format!("/kb/v1/users/{id}/datasets");
    service
        .call(
            reqwest::Method::PUT,
            &path,
            Some(json!({"datasets": grants})),
        )
        .await;
    bo(json!(["staff"]));
    let session = visitor.signed_in(&service).await.expect("a session");
    assert_eq!(role(&session), ("member", "default"));
    assert_eq!(session["datasetIds"], json!([dataset]), "{session}");
    // Whom an administrator deactivates stays out.
    let path = format!("/kb/v1/users/{id}");
    service
        .call(
            reqwest::Method::PATCH,
            &path,
            Some(json!({"status": "inactive"})),
        )
        .await;
    let page = visitor.signed_in(&service).await.expect_err("refused");
    assert!(page.contains("Your membership is inactive"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_give_roles_and_take_them_on_sqlite() {
    groups_give_and_take(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_give_roles_and_take_them_on_postgres() {
    groups_give_and_take(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_owner_stays_without_its_group() {
    let (provider, service) = service_with(Engine::Sqlite, |config| {
        config.oidc_first_owner = false;
        config.oidc_roles = "roots=owner".to_owned();
    })
    .await;
    let ada = |groups: Value| {
        provider
            .person(json!({"sub": "u1", "name": "Ada", "email": "ada@x.test", "groups": groups}))
    };
    ada(json!(["roots"]));
    assert_eq!(
        role(&Visitor::new().signed_in(&service).await.expect("a session")).0,
        "owner"
    );
    ada(json!([]));
    assert_eq!(
        role(&Visitor::new().signed_in(&service).await.expect("a session")).0,
        "owner"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_browser_that_began_a_sign_in_ends_it() {
    let (_provider, service) = service_with(Engine::Sqlite, |_| {}).await;
    let mut mine = Visitor::new();
    let back = mine.authorized(&service).await;
    let page = Visitor::new()
        .finished(&service, &back)
        .await
        .expect_err("no cookie");
    assert!(page.contains("was not begun in this browser"), "{page}");
    let mut other = Visitor::new();
    other.authorized(&service).await;
    other
        .finished(&service, &back)
        .await
        .expect_err("another state");
    mine.finished(&service, &back).await.expect("its own");
    let page = mine
        .finished(&service, &back)
        .await
        .expect_err("a second time");
    assert!(page.contains("begin again"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_other_sign_ins_are_refused() {
    let (provider, service) = service_with(Engine::Sqlite, |_| {}).await;
    for forged in [
        json!({"nonce": "other"}),
        json!({"nonce": null}),
        json!({"aud": "other"}),
        json!({"aud": [CLIENT, "other"], "azp": "other"}),
        json!({"iss": "https://other.test"}),
        json!({"exp": 1_000_000_000}),
    ] {
        provider.forge(forged.clone());
        let outcome = Visitor::new().signed_in(&service).await;
        assert!(outcome.is_err(), "{forged}: {outcome:?}");
    }
    provider.forge(json!({}));
    Visitor::new()
        .signed_in(&service)
        .await
        .expect("the honest token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_refuses_is_told() {
    let (_provider, service) = service_with(Engine::Sqlite, |c| {
        c.oidc_client_secret = "wrong".to_owned()
    })
    .await;
    let page = Visitor::new()
        .signed_in(&service)
        .await
        .expect_err("refused");
    assert!(page.contains("refused the sign-in: Who are you?"), "{page}");
    let mut visitor = Visitor::new();
    let back = visitor.authorized(&service).await;
    let state = back.split_once("state=").expect("a state").1;
    let denied = format!(
        "{}/auth/oidc/callback?state={state}&error=access_denied&error_description=%3Cb%3ENo",
        service.url
    );
    let page = visitor
        .finished(&service, &denied)
        .await
        .expect_err("refused");
    assert!(page.contains("&lt;b&gt;No"), "text is never markup: {page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_calls_itself_otherwise_is_told() {
    let provider = Provider::start().await;
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.oidc_issuer = format!("{}/", provider.url());
        config.oidc_client_id = CLIENT.to_owned();
    })
    .await;
    let page = Visitor::new()
        .open(&format!("{}/auth/oidc/login", service.url))
        .await;
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    let page = page.text().await.expect("a page");
    assert!(page.contains("and the provider calls itself"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_provider_there_is_no_sign_in() {
    let service = Service::start(Engine::Sqlite).await;
    assert_eq!(service.get("/auth/oidc").await["name"], Value::Null);
    let page = Visitor::new()
        .open(&format!("{}/auth/oidc/login", service.url))
        .await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_on_the_page_and_returns_to_where_it_was() {
    let (_provider, service) = service_with(Engine::Sqlite, |_| {}).await;
    let browser = Browser::start(1300, 900).await;
    browser.open(&format!("{}/sandbox/keys", service.url)).await;
    browser.press("Sign in with Example").await;
    browser.see("h1", "Keys").await;
    let address = browser.page.current_url().await.expect("an address");
    assert_eq!(address.path(), "/sandbox/keys");
    browser.close().await;
}

/// Whether the first person who signs in to a service that `change` and `use_it` prepare becomes the owner of it.
async fn is_claimed(
    change: impl FnOnce(&mut cairn::config::Config),
    use_it: impl AsyncFnOnce(&Service),
) -> bool {
    let (_provider, service) = service_with(Engine::Sqlite, change).await;
    use_it(&service).await;
    let session = Visitor::new().signed_in(&service).await;
    session.is_ok_and(|session| role(&session) == ("owner", "default"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_is_in_use_is_claimed_by_nobody() {
    assert!(is_claimed(|_| {}, async |_| {}).await, "an empty one");
    let documents = async |service: &Service| {
        service.dataset("d").await;
    };
    assert!(!is_claimed(|_| {}, documents).await, "with a dataset");
    let owner = async |service: &Service| {
        let new = json!({"name": "Cy", "role": "owner"});
        service.post("/kb/v1/users", new).await;
    };
    assert!(
        !is_claimed(|_| {}, owner).await,
        "with an owner that was added"
    );
    let roles = |config: &mut cairn::config::Config| config.oidc_roles = "staff=member".to_owned();
    assert!(
        !is_claimed(roles, async |_| {}).await,
        "by somebody in no group"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_for_this_client_and_begin_no_sessions() {
    let (provider, service) = service_with(Engine::Sqlite, |_| {}).await;
    let ada = json!({"sub": "u1", "name": "Ada"});
    let status = async |token: &str| {
        let path = "/kb/v1/datasets";
        service
            .call_as(token, reqwest::Method::GET, path, None)
            .await
            .0
    };
    let mine = provider.token(CLIENT, ada.clone());
    assert_eq!(status(&mine).await, StatusCode::OK);
    assert_eq!(
        status(&provider.token("another site", ada)).await,
        StatusCode::UNAUTHORIZED
    );
    let foreign = json!({"sub": "u1", "aud": [CLIENT, "other"], "azp": "other"});
    assert_eq!(
        status(&provider.token(CLIENT, foreign)).await,
        StatusCode::UNAUTHORIZED
    );
    // A session would outlive the token, and have no person.
    let request = service.http.post(format!("{}/kb/v1/session", service.url));
    let answer = request
        .json(&json!({"key": mine}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_withdrawn_where_nobody_is_owner() {
    let (provider, service) = service_with(Engine::Sqlite, |config| {
        config.oidc_first_owner = false;
        config.oidc_roles = "staff=admin".to_owned();
    })
    .await;
    let ada = |groups: Value| {
        let claims = json!({"sub": "u1", "name": "Ada", "email": "ada@x.test", "groups": groups});
        provider.person(claims);
    };
    ada(json!(["staff"]));
    let mut visitor = Visitor::new();
    let session = visitor.signed_in(&service).await.expect("a session");
    assert_eq!(role(&session).0, "admin");
    ada(json!([]));
    Visitor::new()
        .signed_in(&service)
        .await
        .expect_err("refused");
    let session = visitor
        .open(&format!("{}/kb/v1/session", service.url))
        .await;
    assert_eq!(session.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_were_left_out_take_nothing() {
    let (provider, service) = service_with(Engine::Sqlite, |config| {
        config.oidc_roles = "staff=member".to_owned();
    })
    .await;
    service.dataset("d").await;
    let bo = json!({"sub": "u2", "name": "Bo", "email": "bo@x.test", "groups": ["staff"]});
    provider.person(bo);
    let mut visitor = Visitor::new();
    visitor.signed_in(&service).await.expect("a session");
    let names = json!({"groups": "src1"});
    provider
        .person(json!({"sub": "u2", "name": "Bo", "email": "bo@x.test", "_claim_names": names}));
    let page = Visitor::new()
        .signed_in(&service)
        .await
        .expect_err("refused");
    assert!(page.contains("in very many"), "{page}");
    let session = visitor
        .open(&format!("{}/kb/v1/session", service.url))
        .await;
    assert_eq!(
        session.status(),
        StatusCode::OK,
        "the membership is as it was"
    );
}
