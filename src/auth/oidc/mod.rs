//! The identity provider (OpenID Connect; Keycloak, Entra ID, Okta, Clerk among them): people sign in with it in a browser, and its tokens are accepted as
//! credentials. Both are verified against the keys that it publishes.

mod claims;
mod login;
mod membership;
mod metadata;

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use reqwest::Url;

use self::claims::Claims;
pub use self::login::{Entered, LASTS, Login, Returned, Started, not_configured};
use self::membership::Rules;
use self::metadata::{Keys, Published};
use super::caller::Caller;
use super::credentials::refused;
use super::users;
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::outgoing::endpoint_client;

/// Difference between the clocks that is accepted, in seconds.
const SKEW: u64 = 10;
/// Time for an answer of the provider.
const ANSWER: Duration = Duration::from_secs(10);
/// Signatures that are accepted: those of public keys only.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// An identity provider.
#[derive(Debug)]
pub struct Provider {
    published: Published,
    issuer: String,
    /// Audience of tokens that programs send: the configured one, else the client of the sign-in; any if there is neither.
    audience: Option<String>,
    rules: Rules,
    login: Option<Login>,
}

impl Provider {
    /// Returns the configured provider, if there is one.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn of(config: &Config) -> Result<Option<Self>> {
        let invalid = |reason: String| Error::invalid("config_invalid", reason);
        let (keys, issuer) = (config.oidc_jwks.trim(), config.oidc_issuer.trim());
        let login = Login::read(config);
        if issuer.is_empty() {
            if keys.is_empty() && login.is_none() {
                return Ok(None);
            }
            return Err(invalid("oidc_issuer must be set, too".to_owned()));
        }
        let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        let keys = if keys.is_empty() {
            if !is_url(issuer) {
                return Err(invalid("oidc_issuer must be a URL".to_owned()));
            }
            Keys::Published
        } else if is_url(keys) {
            Keys::Service(Url::parse(keys).map_err(|e| invalid(format!("oidc_jwks: {e}")))?)
        } else {
            Keys::File(PathBuf::from(keys))
        };
        let client = endpoint_client().timeout(ANSWER).build();
        let client = client.map_err(|e| invalid(format!("oidc_issuer: {e}")))?;
        let named = [config.oidc_audience.trim(), config.oidc_client_id.trim()];
        let audience = named.into_iter().find(|audience| !audience.is_empty());
        Ok(Some(Self {
            published: Published::new(client, issuer.to_owned(), keys),
            issuer: issuer.to_owned(),
            audience: audience.map(str::to_owned),
            rules: Rules::read(config)?,
            login,
        }))
    }

    /// Returns whether a secret may be a token of a provider: three parts, of which the first is a JSON object in base64.
    #[must_use]
    pub fn is_token(secret: &str) -> bool {
        secret.starts_with("ey") && secret.split('.').count() == 3
    }

    /// Verifies a token: signature, issuer, audience, times.
    async fn claims(&self, token: &str, audience: Option<&str>) -> Result<Claims> {
        let header = decode_header(token).map_err(|_| refused())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused());
        }
        let key = self.published.key(header.kid.as_deref()).await?;
        let mut rules = Validation::new(header.alg);
        rules.leeway = SKEW;
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        match audience {
            Some(audience) => rules.set_audience(&[audience]),
            None => rules.validate_aud = false,
        }
        let read = decode::<Claims>(token, &key, &rules);
        let claims = read.map_err(|e| refused().with_source(e))?.claims;
        // A token for the client of the sign-in was also made for it, and not for another one that names it as audience.
        let client_id = self.login.as_ref().map(Login::client_id);
        let is_other = audience.is_some()
            && audience == client_id
            && claims
                .azp
                .as_deref()
                .is_some_and(|azp| Some(azp) != client_id);
        if claims.sub.is_empty() || is_other {
            Err(refused())
        } else {
            Ok(claims)
        }
    }

    /// Returns the caller of a token: its person, in the tenant in which the person acts.
    ///
    /// # Errors
    /// `key_invalid`, `provider_unavailable`, `person_uninvited`, `user_inactive`.
    pub async fn authenticate(&self, db: &Db, clock: &Clock, token: &str) -> Result<Caller> {
        let claims = self.claims(token, self.audience.as_deref()).await?;
        let person = membership::person(db, clock, &claims).await?;
        let tenant_id = membership::enter(db, clock, &self.rules, &person, &claims, false).await?;
        let caller = users::caller(db, &tenant_id, &person.id).await?;
        Ok(Caller {
            until: Some(Time(claims.exp.saturating_mul(1000))),
            ..caller.ok_or_else(refused)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_cairn_are_no_tokens() {
        assert!(!Provider::is_token("cairn_00"));
        assert!(Provider::is_token("eyJh.eyJz.c2ln"));
    }

    #[test]
    fn a_sign_in_needs_an_issuer() {
        let config = Config {
            oidc_client_id: "cairn".to_owned(),
            ..Config::default()
        };
        assert!(Provider::of(&config).is_err());
        let none = Provider::of(&Config::default()).expect("no provider");
        assert!(none.is_none());
    }
}
