//! Headers from which a dialect reads the secret of its callers.

use axum::http::{HeaderMap, HeaderName, header};

use crate::error::{Error, Result};

/// A header that carries a secret.
#[derive(Debug, Clone, Copy)]
pub(super) enum SecretHeader {
    /// `Authorization: Bearer <secret>`.
    Bearer,
    /// `Authorization: <secret>`, with or without `Bearer`.
    Authorization,
    /// `X-API-Key: <secret>`.
    ApiKey,
    /// `X-Agent-Token: <secret>`.
    AgentToken,
}

/// `X-API-Key`.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// `X-Agent-Token`.
pub(super) const AGENT_TOKEN: HeaderName = HeaderName::from_static("x-agent-token");

impl SecretHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::Bearer | Self::Authorization => header::AUTHORIZATION,
            Self::ApiKey => API_KEY,
            Self::AgentToken => AGENT_TOKEN,
        }
    }

    /// Extracts the secret from the value of the header.
    fn secret(self, value: &str) -> Option<&str> {
        let value = value.trim();
        let bearer = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, secret)| secret.trim());
        let secret = match self {
            Self::Bearer => bearer?,
            Self::Authorization => bearer.unwrap_or(value),
            Self::ApiKey | Self::AgentToken => value,
        };
        (!secret.is_empty()).then_some(secret)
    }
}

/// Returns the secret in the first of the headers that is present; `None` when there is none.
///
/// # Errors
/// `key_missing` when the header does not hold a secret in its form.
pub(super) fn presented<'a>(
    headers: &'a HeaderMap,
    accepted: &[SecretHeader],
) -> Result<Option<&'a str>> {
    for accepted in accepted {
        if let Some(value) = headers.get(accepted.name()) {
            let value = value.to_str().ok();
            let secret = value.and_then(|value| accepted.secret(value));
            return secret.ok_or_else(missing).map(Some);
        }
    }
    Ok(None)
}

/// Returns whether any header that may carry a secret is present.
pub(super) fn is_present(headers: &HeaderMap) -> bool {
    [header::AUTHORIZATION, API_KEY, AGENT_TOKEN]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// Returns the error for requests without a secret.
pub(super) fn missing() -> Error {
    Error::unauthorized(
        "key_missing",
        "send an API key as Authorization: Bearer <key>",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read<'a>(
        headers: &'a HeaderMap,
        accepted: &[SecretHeader],
    ) -> std::result::Result<Option<&'a str>, &'static str> {
        presented(headers, accepted).map_err(|_| "refused")
    }

    #[test]
    fn each_dialect_reads_the_headers_that_it_accepts() {
        let headers = |name: HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };
        let bearer = headers(header::AUTHORIZATION, "bearer  k ");
        let raw = headers(header::AUTHORIZATION, "k");
        let token = headers(AGENT_TOKEN, "k");
        let all = [SecretHeader::Bearer, SecretHeader::AgentToken];
        assert_eq!(read(&bearer, &all), Ok(Some("k")));
        assert_eq!(read(&raw, &all), Err("refused"));
        assert_eq!(read(&raw, &[SecretHeader::Authorization]), Ok(Some("k")));
        assert_eq!(read(&token, &all), Ok(Some("k")));
        assert_eq!(read(&token, &[SecretHeader::ApiKey]), Ok(None));
    }
}
