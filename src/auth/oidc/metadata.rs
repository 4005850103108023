//! What a provider publishes of itself: its metadata (OpenID Connect Discovery 1.0, sections 3 and 4) and its keys. Both are kept for an hour.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::auth::credentials::refused;
use crate::error::{Error, Result};
use crate::outgoing::beginning;

/// Metadata and keys are read again after this time, and for an unknown key not more often than every [`AGAIN`].
const FRESH: Duration = Duration::from_secs(3600);
const AGAIN: Duration = Duration::from_secs(30);
/// Largest response of a provider, in bytes.
pub(super) const LARGEST: usize = 1 << 20;

/// Where the keys of the provider are.
#[derive(Debug)]
pub(super) enum Keys {
    File(PathBuf),
    Service(Url),
    /// At the address in the metadata.
    Published,
}

/// Addresses and abilities of a provider.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    jwks_uri: Url,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub userinfo_endpoint: Option<Url>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Metadata {
    /// Returns whether clients send their secret in the form. A provider that says nothing expects it in the header.
    pub fn takes_secret_in_form(&self) -> bool {
        let methods = &self.token_endpoint_auth_methods_supported;
        !methods.is_empty() && !methods.iter().any(|m| m == "client_secret_basic")
    }
}

/// Reads metadata and keys.
#[derive(Debug)]
pub(super) struct Published {
    client: Client,
    issuer: String,
    keys: Keys,
    metadata: Mutex<Option<(Metadata, Instant)>>,
    known: Mutex<Option<(JwkSet, Instant)>>,
}

pub(super) fn unavailable(reason: &str) -> Error {
    Error::unavailable(
        "provider_unavailable",
        format!("the identity provider cannot be used: {reason}"),
    )
}

/// Sends a request to the provider and reads its JSON.
pub(super) async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    let sent = request.send().await;
    let response = sent.and_then(reqwest::Response::error_for_status);
    let response = response.map_err(|e| unavailable(&e.without_url().to_string()))?;
    let body = beginning(response, LARGEST).await;
    let body = body.map_err(|e| unavailable(&e.without_url().to_string()))?;
    serde_json::from_slice(&body).map_err(|e| unavailable(&e.to_string()))
}

impl Published {
    pub fn new(client: Client, issuer: String, keys: Keys) -> Self {
        Self {
            client,
            issuer,
            keys,
            metadata: Mutex::default(),
            known: Mutex::default(),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the metadata; old ones hold while the provider cannot be reached.
    ///
    /// # Errors
    /// `provider_unavailable`, also when the provider calls itself by another name than the configuration.
    pub async fn metadata(&self) -> Result<Metadata> {
        let mut known = self.metadata.lock().await;
        if let Some((metadata, at)) = &*known
            && at.elapsed() < FRESH
        {
            return Ok(metadata.clone());
        }
        match (self.discover().await, &*known) {
            (Ok(metadata), _) => {
                *known = Some((metadata.clone(), Instant::now()));
                Ok(metadata)
            }
            (Err(error), Some((metadata, _))) => {
                tracing::warn!(error = %error, "the metadata of the identity provider are old");
                Ok(metadata.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn discover(&self) -> Result<Metadata> {
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let metadata: Metadata = answer(self.client.get(url)).await?;
        if metadata.issuer != self.issuer {
            return Err(unavailable(&format!(
                "oidc_issuer is {}, and the provider calls itself {}",
                self.issuer, metadata.issuer
            )));
        }
        Ok(metadata)
    }

    async fn load(&self) -> Result<JwkSet> {
        let url = match &self.keys {
            Keys::File(path) => {
                let bytes = tokio::fs::read(path).await;
                let bytes = bytes.map_err(|e| unavailable(&e.to_string()))?;
                return serde_json::from_slice(&bytes).map_err(|e| unavailable(&e.to_string()));
            }
            Keys::Service(url) => url.clone(),
            Keys::Published => self.metadata().await?.jwks_uri,
        };
        answer(self.client.get(url)).await
    }

    /// Returns the key with an id, or the only key; reads the keys anew when they are old or lack it.
    ///
    /// # Errors
    /// `key_invalid`, `provider_unavailable`.
    pub async fn key(&self, id: Option<&str>) -> Result<DecodingKey> {
        let find = |set: &JwkSet| match id {
            Some(id) => set.find(id).cloned(),
            None => set.keys.first().filter(|_| set.keys.len() == 1).cloned(),
        };
        let mut known = self.known.lock().await;
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
}
