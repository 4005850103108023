//! Signatures of messages that come in, by HMAC-SHA-256 with a time: [Standard Webhooks](https://www.standardwebhooks.com) for sources, and Calendly's own form. A
//! message whose time is more than five minutes away is refused, so that a copy cannot be sent again later; within these minutes its id is remembered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::clock::Time;
use crate::error::{Error, Result};

/// Tolerated difference between the time of a message and now, in seconds.
pub const WINDOW: i64 = 300;

fn refused(message: &str) -> Error {
    Error::unauthorized("signature_invalid", message)
}

fn check_time(seconds: &str, now: Time) -> Result<()> {
    let at: i64 = seconds
        .trim()
        .parse()
        .map_err(|_| refused("the time of the signature is not a number of seconds"))?;
    if (now.0.div_euclid(1000) - at).abs() > WINDOW {
        return Err(refused(
            "the time of the signature is more than five minutes away",
        ));
    }
    Ok(())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|e| Error::internal(e.to_string()))?;
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            mac.update(b".");
        }
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Checks a message signed as Standard Webhooks: `webhook-id`, `webhook-timestamp`, and in `webhook-signature` one or more of `v1,BASE64`.
///
/// # Errors
/// `signature_invalid`.
pub fn standard(
    secret: &str,
    (id, timestamp, signatures): (&str, &str, &str),
    body: &[u8],
    now: Time,
) -> Result<()> {
    check_time(timestamp, now)?;
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .map_err(|_| Error::internal("the secret of a source is damaged"))?;
    let expected = mac(&key, &[id.as_bytes(), timestamp.as_bytes(), body])?;
    let matches = |signature: &str| {
        let given = signature
            .strip_prefix("v1,")
            .and_then(|s| STANDARD.decode(s).ok());
        given.is_some_and(|given| bool::from(given.ct_eq(&expected)))
    };
    if signatures.split(' ').any(matches) {
        Ok(())
    } else {
        Err(refused("the signature does not match"))
    }
}

/// Checks the header `Calendly-Webhook-Signature`: `t=SECONDS,v1=HEX` over the time, a dot and the body.
///
/// # Errors
/// `signature_invalid`.
pub fn calendly(key: &str, header: &str, body: &[u8], now: Time) -> Result<()> {
    let part = |name: &str| {
        header.split(',').find_map(|part| {
            let (head, value) = part.trim().split_once('=')?;
            (head == name).then_some(value)
        })
    };
    let (Some(time), Some(given)) = (part("t"), part("v1")) else {
        return Err(refused("Calendly-Webhook-Signature must be t=…,v1=…"));
    };
    check_time(time, now)?;
    let expected = mac(key.as_bytes(), &[time.as_bytes(), body])?;
    let given = hex::decode(given).unwrap_or_default();
    if bool::from(given.ct_eq(&expected)) {
        Ok(())
    } else {
        Err(refused("the signature does not match"))
    }
}

/// Returns the signature of a message as Standard Webhooks, as senders compute it.
///
/// # Errors
/// For a secret that is not in base64.
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Result<String> {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .map_err(|_| Error::internal("the secret of a source is damaged"))?;
    let mac = mac(&key, &[id.as_bytes(), timestamp.as_bytes(), body])?;
    Ok(format!("v1,{}", STANDARD.encode(mac)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ=";
    const NOW: Time = Time(1_700_000_000_000);

    fn check(id: &str, at: &str, body: &[u8]) -> Result<()> {
        let signature = sign(SECRET, "m1", "1700000000", b"{}").expect("signed");
        standard(SECRET, (id, at, &signature), body, NOW)
    }

    #[test]
    fn only_the_signed_message_passes() {
        assert!(check("m1", "1700000000", b"{}").is_ok());
        assert!(check("m2", "1700000000", b"{}").is_err());
        assert!(check("m1", "1700000001", b"{}").is_err());
        assert!(check("m1", "1700000000", b"{ }").is_err());
    }

    #[test]
    fn old_messages_are_refused() {
        let later = Time(NOW.0 + (WINDOW + 1) * 1000);
        let signature = sign(SECRET, "m1", "1700000000", b"{}").expect("signed");
        assert!(standard(SECRET, ("m1", "1700000000", &signature), b"{}", later).is_err());
    }

    #[test]
    fn calendly_signs_time_and_body() {
        let mac = mac(b"key", &[b"1700000000", b"{}"]).expect("a key");
        let header = format!("t=1700000000,v1={}", hex::encode(mac));
        assert!(calendly("key", &header, b"{}", NOW).is_ok());
        assert!(calendly("other", &header, b"{}", NOW).is_err());
    }
}
