//! The device with which Cairn identifies itself: an Ed25519 key pair that it keeps.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Target;
use crate::error::{Error, Result};

/// Name of the client at gateways, from their closed list.
pub(super) const CLIENT: &str = "gateway-client";
/// Kind of the client: a server.
pub(super) const MODE: &str = "backend";
/// Role of the client.
pub(super) const ROLE: &str = "operator";
/// Scopes that suffice for every call.
pub(super) const SCOPES: [&str; 4] = [
    "operator.read",
    "operator.admin",
    "operator.approvals",
    "operator.pairing",
];

/// A device.
pub struct Device {
    pair: Ed25519KeyPair,
    /// SHA-256 of the public key, in hex.
    id: String,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// Returns the device of a seed: 64 hex digits.
    ///
    /// # Errors
    /// For other texts.
    pub fn of(seed: &str) -> Result<Self> {
        let damaged = || Error::internal("the key of the gateway device is damaged");
        let seed = hex::decode(seed).map_err(|_| damaged())?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| damaged())?;
        let id = hex::encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { pair, id })
    }

    /// Returns the id by which people approve the device.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the member `device` of the handshake: who connects, signed together with the challenge of the gateway.
    pub(super) fn signed(&self, target: &Target, nonce: Option<&str>, at: i64) -> Value {
        let version = if nonce.is_some() { "v2" } else { "v1" };
        let (scopes, at_text) = (SCOPES.join(","), at.to_string());
        let mut parts = vec![
            version,
            &self.id,
            CLIENT,
            MODE,
            ROLE,
            &scopes,
            &at_text,
            &target.token,
        ];
        parts.extend(nonce);
        let signature = self.pair.sign(parts.join("|").as_bytes());
        let mut device = json!({
            "id": self.id,
            "publicKey": URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref()),
            "signature": URL_SAFE_NO_PAD.encode(signature.as_ref()),
            "signedAt": at,
        });
        if let Some(nonce) = nonce {
            device["nonce"] = json!(nonce);
        }
        device
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_signature_covers_the_challenge_and_the_token() {
        let device = Device::of(&"07".repeat(32)).expect("a seed");
        let target = Target {
            url: "ws://x.test".to_owned(),
            token: "secret".to_owned(),
            allow_insecure_tls: false,
            without_device: false,
        };
        let signed = device.signed(&target, Some("n"), 5);
        let text = format!(
            "v2|{}|gateway-client|backend|operator|operator.read,operator.admin,operator.approvals,operator.pairing|5|secret|n",
            device.id()
        );
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(signed[name].as_str().expect("text"))
                .expect("base64")
        };
        let key = UnparsedPublicKey::new(&ED25519, bytes("publicKey"));
        key.verify(text.as_bytes(), &bytes("signature"))
            .expect("valid");
        assert_eq!(device.id().len(), 64);
    }
}
