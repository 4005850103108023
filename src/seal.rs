//! Encryption of the secrets in the database that must be read again (those that webhooks are signed with), with a key in a separate file: a copy of
//! the database alone reveals none of them.
//!
//! XChaCha20-Poly1305 with a random nonce. The purpose of a secret is authenticated with it, so that no row can be swapped for another.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, args};
use crate::disk;
use crate::error::{Error, Result};

/// Prefix of sealed texts.
const PREFIX: &str = "sealed:";
/// Length of a nonce in bytes.
const NONCE: usize = 24;
/// Row that identifies the key with which the secrets of a database are sealed.
const FINGERPRINT: &str = "fingerprint";

/// Encrypts and decrypts secrets.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    clock: Clock,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Opens the key of a database: the setting `secret_key`, or the file `secret.key` of the data directory, which is created when the database has no
    /// secrets yet.
    ///
    /// # Errors
    /// `secret_key_missing`, `secret_key_wrong`, `secret_key_invalid`.
    pub async fn open(config: &Config, db: &Db, clock: &Clock) -> Result<Self> {
        let path = path(config);
        let known = fingerprint_of(db).await?;
        let text = if config.secret_key.is_empty() {
            match (read(&path)?, &known) {
                (Some(text), _) => text,
                (None, None) => make(&path, clock)?,
                (None, Some(_)) => {
                    return Err(Error::unprocessable(
                        "secret_key_missing",
                        format!(
                            "secrets of this database are encrypted, but their key {} is missing; restore it, set CAIRN_SECRET_KEY, or discard the secrets with `cairn doctor --new-secret-key`",
                            path.display()
                        ),
                    ));
                }
            }
        } else {
            config.secret_key.clone()
        };
        let key = key(&text)?;
        let own = hex::encode(Sha256::digest([b"cairn".as_slice(), &key].concat()));
        if known.is_none() {
            db.execute(
                "INSERT INTO signing_keys (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                args![FINGERPRINT, &own],
            )
            .await?;
        }
        if fingerprint_of(db).await?.is_some_and(|known| known != own) {
            return Err(Error::unprocessable(
                "secret_key_wrong",
                "secrets of this database are encrypted with a different key than this one (CAIRN_SECRET_KEY, or secret.key in the data directory); servers that share a database must share the key",
            ));
        }
        Ok(Self {
            cipher: XChaCha20Poly1305::new(&key.into()),
            clock: clock.clone(),
        })
    }

    /// Encrypts a secret for a purpose.
    ///
    /// # Errors
    /// When the cipher fails, which it does for texts of many gigabytes only.
    pub fn seal(&self, purpose: &str, secret: &str) -> Result<String> {
        let random = hex::decode(self.clock.secret()).unwrap_or_default();
        let nonce = random
            .first_chunk::<NONCE>()
            .ok_or_else(|| Error::internal("a random number is too short"))?;
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: purpose.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| Error::internal("a secret could not be encrypted"))?;
        Ok(format!(
            "{PREFIX}{}",
            STANDARD.encode([nonce.as_slice(), &sealed].concat())
        ))
    }

    /// Decrypts a secret of a purpose. Secrets stored before encryption was introduced are returned as they are.
    ///
    /// # Errors
    /// When it was sealed for another purpose or is damaged.
    pub fn open_sealed(&self, purpose: &str, sealed: &str) -> Result<String> {
        let Some(encoded) = sealed.strip_prefix(PREFIX) else {
            return Ok(sealed.to_owned());
        };
        let damaged = || Error::internal("an encrypted secret is damaged");
        let bytes = STANDARD.decode(encoded).map_err(|_| damaged())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let payload = Payload {
            msg: sealed,
            aad: purpose.as_bytes(),
        };
        let secret = self
            .cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| damaged())?;
        String::from_utf8(secret).map_err(|_| damaged())
    }
}

/// Returns whether a stored secret is encrypted.
#[must_use]
pub fn is_sealed(stored: &str) -> bool {
    stored.starts_with(PREFIX)
}

/// Returns the path of the key file.
#[must_use]
pub fn path(config: &Config) -> PathBuf {
    config.data_dir.join("secret.key")
}

/// Forgets which key the secrets of a database are sealed with, so that the next start uses or creates another. The secrets have to be removed with it.
///
/// # Errors
/// Those of the database.
pub async fn forget_key(db: &Db) -> Result<()> {
    // The signing keys are sealed with it, too; new ones are created on demand.
    db.execute("DELETE FROM signing_keys", args![]).await?;
    Ok(())
}

async fn fingerprint_of(db: &Db) -> Result<Option<String>> {
    let row: Option<(String,)> = db
        .optional(
            "SELECT value FROM signing_keys WHERE name = $1",
            args![FINGERPRINT],
        )
        .await?;
    Ok(row.map(|(value,)| value))
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Creates a key, unless another process creates it at the same time.
fn make(path: &Path, clock: &Clock) -> Result<String> {
    let mut file = disk::private_file(path)?;
    file.lock()?;
    let mut text = String::new();
    std::fs::File::open(path)?.read_to_string(&mut text)?;
    if text.trim().is_empty() {
        text = clock.secret();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    Ok(text)
}

fn key(text: &str) -> Result<[u8; 32]> {
    let bytes = hex::decode(text.trim()).ok();
    bytes.and_then(|b| b.try_into().ok()).ok_or_else(|| {
        Error::invalid(
            "secret_key_invalid",
            "the secret key must be 64 hexadecimal digits, as printed by `openssl rand -hex 32`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sealer(config: &Config) -> Result<Sealer> {
        let db = Db::open(&config.database(), 2).await?;
        Sealer::open(config, &db, &Clock::system()).await
    }

    #[tokio::test]
    async fn secrets_are_read_again_for_their_purpose_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config {
            data_dir: directory.path().to_owned(),
            ..Config::default()
        };
        let first = sealer(&config).await.expect("a key is made");
        let sealed = first.seal("webhook/1", "whsec_x").expect("sealed");
        assert!(is_sealed(&sealed) && !sealed.contains("whsec"));
        assert_ne!(sealed, first.seal("webhook/1", "whsec_x").expect("sealed"));
        let again = sealer(&config).await.expect("the same key");
        let opened = again.open_sealed("webhook/1", &sealed);
        assert_eq!(opened.expect("opened"), "whsec_x");
        assert!(again.open_sealed("webhook/2", &sealed).is_err());
        assert_eq!(again.open_sealed("x", "plain").expect("as it is"), "plain");
    }

    #[tokio::test]
    async fn a_lost_key_and_a_wrong_one_are_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config {
            data_dir: directory.path().to_owned(),
            ..Config::default()
        };
        sealer(&config).await.expect("a key is made");
        std::fs::remove_file(path(&config)).expect("lost");
        let lost = sealer(&config).await.expect_err("lost");
        assert_eq!(lost.code(), "secret_key_missing");
        config.secret_key = "0".repeat(64);
        let wrong = sealer(&config).await.expect_err("wrong");
        assert_eq!(wrong.code(), "secret_key_wrong");
        config.secret_key = "short".to_owned();
        let invalid = sealer(&config).await.expect_err("invalid");
        assert_eq!(invalid.code(), "secret_key_invalid");
    }
}
