//! Tokens of an identity provider (OpenID Connect, Clerk among them): verified against its published keys, and the person and the tenant that they stand for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::caller::Caller;
use super::credentials::refused;
use super::people::{self, Person};
use super::{members, organizations, tenants, users};
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::db::{Db, Tx, args};
use crate::error::{Error, Result};
use crate::outgoing::{beginning, endpoint_client};

/// Difference between the clocks that is accepted, in seconds.
const SKEW: u64 = 10;
/// Keys are read again after this time, and for an unknown key not more often than every [`AGAIN`].
const FRESH: Duration = Duration::from_secs(3600);
const AGAIN: Duration = Duration::from_secs(30);
/// Time for an answer of the provider.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest set of keys, in bytes.
const LARGEST: usize = 1 << 20;
/// Longest name and address that are taken over, in characters.
const LONGEST: usize = 200;

/// Where the keys of the provider are.
#[derive(Debug)]
enum Source {
    File(PathBuf),
    Service(Client, Url),
}

/// An identity provider.
#[derive(Debug)]
pub struct Provider {
    source: Source,
    issuer: String,
    audience: Option<String>,
    /// Whether a person whom nobody invited gets an organisation of its own.
    signs_up: bool,
    keys: Mutex<Option<(JwkSet, Instant)>>,
}

/// Claims of a token about its person.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Claims {
    iss: String,
    sub: String,
    /// End of the token, in seconds since 1970.
    exp: i64,
    email: Option<String>,
    email_address: Option<String>,
    primary_email_address: Option<String>,
    email_addresses: Vec<serde_json::Value>,
    email_verified: Option<bool>,
    name: Option<String>,
    full_name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

fn short(text: &str) -> Option<String> {
    let text: String = text
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    (!text.is_empty()).then_some(text)
}

impl Claims {
    /// Returns the mail address, in lower case, unless the provider says that it is not verified.
    fn address(&self) -> Option<String> {
        if self.email_verified == Some(false) {
            return None;
        }
        let listed = self
            .email_addresses
            .iter()
            .filter_map(|entry| entry.as_str().or_else(|| entry["email_address"].as_str()));
        let single = [
            &self.email,
            &self.email_address,
            &self.primary_email_address,
        ];
        let mut all = single
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain(listed);
        all.find(|a| a.contains('@'))
            .and_then(short)
            .map(|a| a.to_lowercase())
    }

    fn full_name(&self) -> Option<String> {
        let joined = [&self.given_name, &self.family_name];
        let joined: Vec<&str> = joined.into_iter().flatten().map(String::as_str).collect();
        let joined = joined.join(" ");
        let names = [
            self.name.as_deref(),
            self.full_name.as_deref(),
            Some(&joined),
        ];
        names.into_iter().flatten().find_map(short)
    }
}

impl Provider {
    /// Returns the configured provider, if there is one.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn of(config: &Config) -> Result<Option<Self>> {
        let keys = config.oidc_jwks.trim();
        if keys.is_empty() {
            return Ok(None);
        }
        let invalid =
            |reason: String| Error::invalid("config_invalid", format!("oidc_jwks: {reason}"));
        if config.oidc_issuer.trim().is_empty() {
            return Err(invalid("oidc_issuer must be set, too".to_owned()));
        }
        let source = if keys.starts_with("http://") || keys.starts_with("https://") {
            let url = Url::parse(keys).map_err(|e| invalid(e.to_string()))?;
            let client = endpoint_client().timeout(ANSWER).build();
            Source::Service(client.map_err(|e| invalid(e.to_string()))?, url)
        } else {
            Source::File(PathBuf::from(keys))
        };
        let audience = config.oidc_audience.trim();
        Ok(Some(Self {
            source,
            issuer: config.oidc_issuer.trim().to_owned(),
            audience: (!audience.is_empty()).then(|| audience.to_owned()),
            signs_up: config.oidc_signup,
            keys: Mutex::default(),
        }))
    }

    /// Returns whether a secret may be a token of a provider: three parts, of which the first is a JSON object in base64.
    #[must_use]
    pub fn is_token(secret: &str) -> bool {
        secret.starts_with("ey") && secret.split('.').count() == 3
    }

    async fn load(&self) -> Result<JwkSet> {
        let failed = |reason: String| {
            Error::unavailable(
                "provider_unavailable",
                format!("the keys of the identity provider cannot be read: {reason}"),
            )
        };
        let bytes = match &self.source {
            Source::File(path) => tokio::fs::read(path)
                .await
                .map_err(|e| failed(e.to_string()))?,
            Source::Service(client, url) => {
                let sent = client.get(url.clone()).send().await;
                let response = sent.and_then(reqwest::Response::error_for_status);
                let response = response.map_err(|e| failed(e.without_url().to_string()))?;
                let body = beginning(response, LARGEST).await;
                body.map_err(|e| failed(e.without_url().to_string()))?
            }
        };
        serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))
    }

    /// Returns the key with an id, or the only key; reads the keys anew when they are old or lack it.
    async fn key(&self, id: Option<&str>) -> Result<DecodingKey> {
        let find = |set: &JwkSet| match id {
            Some(id) => set.find(id).cloned(),
            None => set.keys.first().filter(|_| set.keys.len() == 1).cloned(),
        };
        let mut known = self.keys.lock().await;
        let age = known.as_ref().map(|(_, at)| at.elapsed());
        let found = known.as_ref().and_then(|(set, _)| find(set));
        let is_old = age.is_none_or(|age| age > FRESH);
        let may_ask = age.is_none_or(|age| age > AGAIN);
        let found = if is_old || (found.is_none() && may_ask) {
            match self.load().await {
                Ok(set) => {
                    let found = find(&set);
                    *known = Some((set, Instant::now()));
                    found
                }
                // Known keys hold while the provider cannot be reached.
                Err(error) if found.is_some() => {
                    tracing::warn!(error = %error, "the keys of the identity provider are old");
                    found
                }
                Err(error) => return Err(error),
            }
        } else {
            found
        };
        let key = found.ok_or_else(refused)?;
        DecodingKey::from_jwk(&key).map_err(|_| refused())
    }

    /// Verifies a token: signature (RS256, ES256), issuer, audience, times.
    async fn claims(&self, token: &str) -> Result<Claims> {
        let header = decode_header(token).map_err(|_| refused())?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(refused());
        }
        let key = self.key(header.kid.as_deref()).await?;
        let mut rules = Validation::new(header.alg);
        rules.leeway = SKEW;
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        match &self.audience {
            Some(audience) => rules.set_audience(&[audience]),
            None => rules.validate_aud = false,
        }
        let read = decode::<Claims>(token, &key, &rules);
        let claims = read.map_err(|e| refused().with_source(e))?.claims;
        if claims.sub.is_empty() {
            Err(refused())
        } else {
            Ok(claims)
        }
    }

    /// Returns the caller of a token: its person, in the tenant in which the person acts. A person who comes for the first time accepts the invitation of its mail
    /// address, or gets an organisation of its own.
    ///
    /// # Errors
    /// `key_invalid`, `provider_unavailable`, `person_uninvited`.
    pub async fn authenticate(&self, db: &Db, clock: &Clock, token: &str) -> Result<Caller> {
        let claims = self.claims(token).await?;
        let subject = format!("{}|{}", claims.iss, claims.sub);
        let person = match people::by_subject(db, &subject).await? {
            Some(person) => person,
            None => create(db, clock, &subject, &claims).await?,
        };
        let person = with_claims(db, person, &claims).await?;
        let tenant_id = self.tenant(db, clock, &person).await?;
        let caller = users::caller(db, &tenant_id, &person.id).await?;
        Ok(Caller {
            until: Some(Time(claims.exp.saturating_mul(1000))),
            ..caller.ok_or_else(refused)?
        })
    }

    /// Returns the tenant in which a person acts.
    async fn tenant(&self, db: &Db, clock: &Clock, person: &Person) -> Result<String> {
        let mine = tenants::of_user(db, &person.id).await?;
        let active = person.active_tenant_id.as_ref();
        if let Some(tenant) = mine.iter().find(|t| Some(&t.id) == active).or(mine.first()) {
            return Ok(tenant.id.clone());
        }
        let mut tx = db.begin().await?;
        // Locks the person, so that of two first requests one makes the membership.
        tx.execute(
            "UPDATE user_profiles SET active_tenant_id = active_tenant_id WHERE user_id = $1",
            args![&person.id],
        )
        .await?;
        let made: Option<(String,)> = tx
            .optional(
                "SELECT tenant_id FROM memberships WHERE user_id = $1 AND status = 'active' ORDER BY tenant_id LIMIT 1",
                args![&person.id],
            )
            .await?;
        let tenant_id = match made {
            Some((id,)) => id,
            None => self.first_tenant(&mut tx, clock, person).await?,
        };
        tx.commit().await?;
        Ok(tenant_id)
    }

    async fn first_tenant(&self, tx: &mut Tx, clock: &Clock, person: &Person) -> Result<String> {
        if let Some(tenant_id) = members::accept_pending(tx, clock, person).await? {
            return Ok(tenant_id);
        }
        if self.signs_up {
            return organizations::create_personal(tx, clock, person).await;
        }
        Err(Error::forbidden(
            "person_uninvited",
            "nobody has invited you; ask an administrator of an organization for an invitation",
        ))
    }
}

/// Adds a person who comes for the first time.
async fn create(db: &Db, clock: &Clock, subject: &str, claims: &Claims) -> Result<Person> {
    let id = clock.id();
    let mut tx = db.begin().await?;
    tx.execute(
        "INSERT INTO users (id, created_on) VALUES ($1, $2)",
        args![&id, clock.now()],
    )
    .await?;
    let added = tx
        .execute(
            "INSERT INTO user_profiles (user_id, subject, email, name) VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO NOTHING",
            args![&id, subject, claims.address(), claims.full_name()],
        )
        .await?;
    // Otherwise another request has just added the person, and this one adds nobody.
    if added > 0 {
        tx.commit().await?;
    } else {
        drop(tx);
    }
    people::by_subject(db, subject)
        .await?
        .ok_or_else(|| Error::internal("a person could not be added"))
}

/// Completes a profile with what a token says, where it says nothing yet.
async fn with_claims(db: &Db, mut person: Person, claims: &Claims) -> Result<Person> {
    let (email, name) = (person.email.clone(), person.name.clone());
    person.email = email.clone().or_else(|| claims.address());
    person.name = name.clone().or_else(|| claims.full_name());
    if person.email != email || person.name != name {
        people::save(db, &person).await?;
    }
    Ok(person)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_from_any_of_the_claims_and_is_verified() {
        let read = |json: &str| serde_json::from_str::<Claims>(json).expect("claims");
        let listed = read(r#"{"email_addresses": [{"email_address": "A@x.test"}]}"#);
        assert_eq!(listed.address().as_deref(), Some("a@x.test"));
        assert_eq!(
            read(r#"{"email": "a@x.test", "email_verified": false}"#).address(),
            None
        );
        let named = read(r#"{"given_name": "Ada", "family_name": "Holm"}"#);
        assert_eq!(named.full_name().as_deref(), Some("Ada Holm"));
    }

    #[test]
    fn keys_of_cairn_are_no_tokens() {
        assert!(!Provider::is_token("cairn_00"));
        assert!(Provider::is_token("eyJh.eyJz.c2ln"));
    }
}
