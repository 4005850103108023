//! Signing in with the provider in a browser: the authorization code flow (OpenID Connect Core 1.0, section 3.1) with PKCE (RFC 7636).
//!
//! What a sign-in must remember (state, nonce, verifier) is in a cookie of the browser, encrypted and valid for ten minutes: only the browser that began it can
//! end it, and nothing is stored for the many that never do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{RequestBuilder, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::form_urlencoded::byte_serialize;

use super::claims::Claims;
use super::metadata::{LARGEST, answer, unavailable};
use super::{Provider, membership};
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::outgoing::beginning;
use crate::seal::Sealer;

/// Time to sign in at the provider.
pub const LASTS: Duration = Duration::from_secs(600);
/// Purpose with which the cookie is encrypted.
const PURPOSE: &str = "oidc/login";
/// Error code for a sign-in that cannot be completed.
const REFUSED: &str = "sign_in_refused";

/// The client as which Cairn is registered at the provider.
#[derive(Debug)]
pub struct Login {
    client_id: String,
    /// Empty for a public client.
    client_secret: String,
    scopes: String,
    name: String,
}

impl Login {
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn read(config: &Config) -> Option<Self> {
        let client_id = config.oidc_client_id.trim();
        (!client_id.is_empty()).then(|| Self {
            client_id: client_id.to_owned(),
            client_secret: config.oidc_client_secret.trim().to_owned(),
            scopes: config.oidc_scopes.trim().to_owned(),
            name: config.oidc_name.trim().to_owned(),
        })
    }
}

/// A started sign-in.
#[derive(Debug)]
pub struct Started {
    /// Where the person signs in.
    pub url: Url,
    /// What the browser keeps until it comes back.
    pub cookie: String,
}

/// A person whom the provider has authenticated, and the tenant in which the person acts.
#[derive(Debug)]
pub struct Entered {
    pub(in crate::auth) tenant_id: String,
    pub(in crate::auth) user_id: String,
    /// Page to which the person goes.
    pub next: String,
}

/// Query parameters with which the provider redirects a person back.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Returned {
    pub state: Option<String>,
    pub code: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// Content of the cookie.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    /// Page to which the person returns.
    next: String,
    expires_on: i64,
}

/// Response of the token endpoint.
#[derive(Debug, Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// Returns the error for an installation in which nobody can sign in with a provider.
#[must_use]
pub fn not_configured() -> Error {
    Error::not_found(
        "login_not_configured",
        "signing in with an identity provider is not configured; set oidc_issuer and oidc_client_id",
    )
}

fn unknown() -> Error {
    Error::invalid(
        "state_invalid",
        "this sign-in was not begun in this browser, was used already, or has expired; begin again",
    )
}

fn refuse(reason: &str) -> Error {
    let message = format!("the identity provider refused the sign-in: {reason}");
    Error::unprocessable(REFUSED, message)
}

/// Asks the token endpoint. Its refusal (RFC 6749, section 5.2) is told in its words.
async fn tokens(request: RequestBuilder) -> Result<Tokens> {
    let response = request.send().await;
    let response = response.map_err(|e| unavailable(&e.without_url().to_string()))?;
    let status = response.status();
    let body = beginning(response, LARGEST).await;
    let body = body.map_err(|e| unavailable(&e.without_url().to_string()))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|e| unavailable(&e.to_string()));
    }
    let fault: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reason = fault["error_description"].as_str();
    match reason.or(fault["error"].as_str()) {
        Some(reason) if status.is_client_error() => Err(refuse(reason)),
        Some(_) | None => Err(unavailable(&format!(
            "its token endpoint answered {status}"
        ))),
    }
}

impl Provider {
    /// Returns how people call the provider; `None` when they cannot sign in with it in a browser.
    #[must_use]
    pub fn login_name(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.name.as_str())
    }

    fn login(&self) -> Result<&Login> {
        self.login.as_ref().ok_or_else(not_configured)
    }

    /// Begins a sign-in. The provider sends the person back to `callback`, and from there the person goes to `next`.
    ///
    /// # Errors
    /// `login_not_configured`, `provider_unavailable`.
    pub async fn begin(
        &self,
        clock: &Clock,
        sealer: &Sealer,
        callback: &str,
        next: &str,
    ) -> Result<Started> {
        let login = self.login()?;
        let metadata = self.published.metadata().await?;
        let mut url = metadata
            .authorization_endpoint
            .ok_or_else(|| unavailable("it has no authorization endpoint"))?;
        let pending = Pending {
            state: clock.secret(),
            nonce: clock.secret(),
            verifier: clock.secret(),
            next: next.to_owned(),
            expires_on: clock.now().plus(LASTS).0,
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &login.client_id)
            .append_pair("redirect_uri", callback)
            .append_pair("scope", &login.scopes)
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let cookie = sealer.seal(PURPOSE, &serde_json::to_string(&pending)?)?;
        Ok(Started { url, cookie })
    }

    /// Ends a sign-in: exchanges the code, verifies the token, and lets the person in.
    ///
    /// # Errors
    /// `state_invalid`, `sign_in_refused`, `provider_unavailable`, `key_invalid`, `person_uninvited`, `user_inactive`, `too_many_users`.
    pub async fn complete(
        &self,
        db: &Db,
        clock: &Clock,
        sealer: &Sealer,
        callback: &str,
        cookie: &str,
        returned: &Returned,
    ) -> Result<Entered> {
        let opened = sealer.open_sealed(PURPOSE, cookie).map_err(|_| unknown())?;
        let pending: Pending = serde_json::from_str(&opened).map_err(|_| unknown())?;
        let state = returned.state.as_deref().unwrap_or_default();
        let is_same = bool::from(state.as_bytes().ct_eq(pending.state.as_bytes()));
        if !is_same || Time(pending.expires_on) <= clock.now() {
            return Err(unknown());
        }
        if let Some(error) = &returned.error {
            let reason = returned.error_description.as_deref().unwrap_or(error);
            return Err(refuse(reason));
        }
        let code = returned.code.as_deref();
        let code = code.ok_or_else(|| refuse("it sent no code"))?;
        let claims = self.exchange(callback, &pending, code).await?;
        let person = membership::person(db, clock, &claims).await?;
        let tenant_id = membership::enter(db, clock, &self.rules, &person, &claims, true).await?;
        Ok(Entered {
            tenant_id,
            user_id: person.id,
            next: pending.next,
        })
    }

    /// Exchanges a code for the claims of its person.
    async fn exchange(&self, callback: &str, pending: &Pending, code: &str) -> Result<Claims> {
        let login = self.login()?;
        let metadata = self.published.metadata().await?;
        let in_form = metadata.takes_secret_in_form();
        let endpoint = metadata.token_endpoint;
        let endpoint = endpoint.ok_or_else(|| unavailable("it has no token endpoint"))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback),
            ("code_verifier", &pending.verifier),
            ("client_id", &login.client_id),
        ];
        if in_form && !login.client_secret.is_empty() {
            form.push(("client_secret", &login.client_secret));
        }
        let mut request = self.published.client().post(endpoint).form(&form);
        if !in_form && !login.client_secret.is_empty() {
            // Both are form-encoded before they become a header (RFC 6749, section 2.3.1).
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let id = encoded(&login.client_id);
            request = request.basic_auth(id, Some(encoded(&login.client_secret)));
        }
        let tokens = tokens(request).await?;
        let token = tokens.id_token;
        let token =
            token.ok_or_else(|| refuse("it sent no ID token; is `openid` in oidc_scopes?"))?;
        let mut claims = self.claims(&token, Some(&login.client_id)).await?;
        if claims.nonce.as_ref() != Some(&pending.nonce) {
            return Err(refuse("its ID token is of another sign-in"));
        }
        if claims.is_incomplete(self.rules.claim())
            && let (Some(endpoint), Some(access)) =
                (metadata.userinfo_endpoint, tokens.access_token)
        {
            let request = self.published.client().get(endpoint).bearer_auth(access);
            let more: Claims = answer(request).await?;
            // Another person's answer must not be mixed in (section 5.3.2).
            if more.sub != claims.sub {
                return Err(refuse("its userinfo endpoint tells of another person"));
            }
            claims.complete(more);
        }
        if self.rules.claim().is_some_and(|c| claims.lacks_groups(c)) {
            return Err(refuse(
                "it does not tell the groups of people who are in very many; let it send only those assigned to this application",
            ));
        }
        Ok(claims)
    }
}
