//! An identity provider (OpenID Connect): keys, tokens, and the pages of the authorization code flow, which sign a person in without asking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Name of an issuer without a service.
pub const ISSUER: &str = "https://id.test";

/// Signs tokens.
pub struct Issuer {
    key: jsonwebtoken::EncodingKey,
    /// The set of its public keys.
    pub keys: Value,
}

impl Issuer {
    pub fn new(id: &str) -> Self {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
        let rules = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(rules, &SystemRandom::new()).expect("a key");
        let public = EcdsaKeyPair::from_pkcs8(rules, pair.as_ref()).expect("a key");
        let point = public.public_key().as_ref();
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65])}]});
        Self {
            key: jsonwebtoken::EncodingKey::from_ec_der(pair.as_ref()),
            keys,
        }
    }

    pub fn token(&self, id: &str, claims: Value) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some(id.to_owned());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a time")
            .as_secs();
        let mut all = json!({"iss": ISSUER, "aud": "boards", "exp": now + 600});
        all.as_object_mut()
            .expect("an object")
            .extend(claims.as_object().expect("an object").clone());
        jsonwebtoken::encode(&header, &all, &self.key).expect("a token")
    }
}

/// Client as which Cairn is registered; its secret has signs that headers must encode.
pub const CLIENT: &str = "cairn client";
pub const SECRET: &str = "s3cret:/+";

/// A running provider.
#[derive(Clone)]
pub struct Provider(Arc<Shared>);

struct Shared {
    issuer: Issuer,
    url: String,
    /// Claims of the person who signs in next; those below `userinfo` come from that endpoint only.
    person: Mutex<Value>,
    /// Parameters of the sign-ins whose code was not exchanged yet.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
    /// Claims that replace those of the next token.
    forged: Mutex<Value>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = Self(Arc::new(Shared {
            issuer: Issuer::new("k1"),
            url,
            person: Mutex::new(json!({"sub": "u1", "name": "Ada Holm", "email": "ada@x.test"})),
            codes: Mutex::default(),
            forged: Mutex::new(json!({})),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        provider
    }

    pub fn url(&self) -> String {
        self.0.url.clone()
    }

    /// Sets who signs in next.
    pub fn person(&self, claims: Value) {
        *self.0.person.lock().expect("no panic") = claims;
    }

    /// A token for an audience, as a program sends it.
    pub fn token(&self, audience: &str, claims: Value) -> String {
        let mut all = json!({"iss": self.url(), "aud": audience});
        all.as_object_mut()
            .expect("an object")
            .extend(claims.as_object().expect("an object").clone());
        self.0.issuer.token("k1", all)
    }

    /// Replaces claims of the next tokens.
    pub fn forge(&self, claims: Value) {
        *self.0.forged.lock().expect("no panic") = claims;
    }
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let url = provider.url();
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    Json(provider.0.issuer.keys.clone())
}

async fn authorize(State(provider): State<Provider>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default().as_bytes();
    let asked: HashMap<String, String> = url::form_urlencoded::parse(query).into_owned().collect();
    let expected = [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in expected {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}");
    }
    let code = format!("code-of-{}", asked["state"]);
    let back = format!(
        "{}?code={code}&state={}",
        asked["redirect_uri"], asked["state"]
    );
    let mut codes = provider.0.codes.lock().expect("no panic");
    codes.insert(code, asked);
    Redirect::to(&back).into_response()
}

async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let refuse = |error: &str, why: &str| {
        let fault = json!({"error": error, "error_description": why});
        (StatusCode::BAD_REQUEST, Json(fault)).into_response()
    };
    let encoded =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let expected = format!("{}:{}", encoded(CLIENT), encoded(SECRET));
    let given = headers.get("authorization").and_then(|v| v.to_str().ok());
    if given != Some(&format!("Basic {}", STANDARD.encode(expected))) {
        return refuse("invalid_client", "Who are you?");
    }
    // A code is valid once.
    let asked = provider
        .0
        .codes
        .lock()
        .expect("no panic")
        .remove(&form["code"]);
    let Some(asked) = asked else {
        return refuse("invalid_grant", "The code was used");
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    if challenge != asked["code_challenge"] || form["redirect_uri"] != asked["redirect_uri"] {
        return refuse("invalid_grant", "Another browser began this");
    }
    let mut claims = provider.0.person.lock().expect("no panic").clone();
    let object = claims.as_object_mut().expect("an object");
    object.remove("userinfo");
    object.insert("iss".to_owned(), json!(provider.url()));
    object.insert("aud".to_owned(), json!(CLIENT));
    object.insert("nonce".to_owned(), json!(asked["nonce"]));
    let forged = provider.0.forged.lock().expect("no panic").clone();
    object.extend(forged.as_object().expect("an object").clone());
    let id_token = provider.0.issuer.token("k1", claims);
    Json(json!({"access_token": "for userinfo", "token_type": "Bearer", "id_token": id_token}))
        .into_response()
}

async fn userinfo(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    if headers
        .get("authorization")
        .is_none_or(|v| v != "Bearer for userinfo")
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let person = provider.0.person.lock().expect("no panic").clone();
    let mut claims = json!({"sub": person["sub"]});
    if let Some(more) = person["userinfo"].as_object() {
        claims
            .as_object_mut()
            .expect("an object")
            .extend(more.clone());
    }
    Json(claims).into_response()
}
