//! `cairn login` and `logout`: servers with their keys under names, in a file of the user.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Client;
use super::{Done, Global};
use crate::disk;
use crate::error::{Error, Result};

/// Name of the profile that is used when none is named.
const DEFAULT: &str = "default";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn login http://127.0.0.1:7700                asks for the key
  cairn login https://kb.example.com --profile work < key.txt
  cairn search \"refund policy\" --profile work

Checks the key and keeps both in profiles.toml in the user's configuration directory, readable by the user only. Commands that know --url use the profile `default`, or the
one named by --profile or CAIRN_PROFILE. --url, CAIRN_URL and --data-dir take precedence, but not over --profile.")]
pub(super) struct LoginArgs {
    /// URL of the server
    url: String,
    /// API key; without it, asked for or read from standard input
    #[arg(long, value_name = "KEY", env = "CAIRN_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Name of the profile
    #[arg(short, long, value_name = "NAME", env = "CAIRN_PROFILE", default_value = DEFAULT)]
    profile: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn logout
  cairn logout --profile work

Forgets the key on this machine. `cairn keys revoke` ends it on the server.")]
pub(super) struct LogoutArgs {
    /// Name of the profile
    #[arg(short, long, value_name = "NAME", env = "CAIRN_PROFILE", default_value = DEFAULT)]
    profile: String,
}

/// A server and a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) url: String,
    pub(super) key: String,
}

/// All profiles by name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
            Ok(text) => toml::from_str(&text).map_err(|e| {
                Error::invalid("profiles_invalid", format!("{}: {e}", path.display()))
            }),
        }
    }

    /// Replaces the file; it is complete or unchanged.
    fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self)
            .map_err(|e| Error::internal("profiles cannot be written").with_source(e))?;
        if let Some(directory) = path.parent() {
            disk::private_directory(directory)?;
        }
        disk::replace_private_file(path, text.as_bytes())?;
        Ok(())
    }
}

/// Returns the user's file of profiles.
fn file() -> Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = of("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| of("HOME").map(|home| PathBuf::from(home).join(".config")));
    let base = base.ok_or_else(|| {
        Error::invalid(
            "home_missing",
            "profiles need a home directory: set HOME or XDG_CONFIG_HOME",
        )
    })?;
    Ok(base.join("cairn").join("profiles.toml"))
}

/// Returns the named profile, or the one named `default` if it exists.
///
/// # Errors
/// `profile_not_found` for a name without a profile.
pub(super) fn find(name: Option<&str>) -> Result<Option<Profile>> {
    // Without a home directory there are no profiles, which matters only to who names one.
    let path = match (file(), name) {
        (Err(_), None) => return Ok(None),
        (path, _) => path?,
    };
    let found = Profiles::read(&path)?.0.remove(name.unwrap_or(DEFAULT));
    match name {
        Some(name) if found.is_none() => Err(Error::not_found(
            "profile_not_found",
            format!("there is no profile {name:?}; `cairn login URL --profile {name}` creates it"),
        )),
        _ => Ok(found),
    }
}

pub(super) async fn login(global: &Global, args: LoginArgs) -> Result<Done> {
    let path = file()?;
    let mut profiles = Profiles::read(&path)?;
    let key = match args.key {
        Some(key) => key,
        None => read_key().await?,
    };
    let client = Client::of(&args.url, key.clone())?;
    let session = Client::send(client.get("/kb/v1/session")).await?;
    let profile = Profile {
        url: client.base().to_owned(),
        key,
    };
    profiles.0.insert(args.profile.clone(), profile);
    profiles.write(&path)?;
    if global.json {
        println!(
            "{}",
            json!({"profile": args.profile, "url": client.base(), "tenant": session["tenant"], "scopes": session["scopes"]})
        );
    } else {
        let scopes = session["scopes"].as_array().into_iter().flatten();
        let scopes: Vec<&str> = scopes.filter_map(serde_json::Value::as_str).collect();
        println!(
            "Profile {} uses {} (tenant {}, scopes {}).",
            args.profile,
            client.base(),
            session["tenant"].as_str().unwrap_or_default(),
            scopes.join(", ")
        );
    }
    Ok(Done::All)
}

pub(super) fn logout(global: &Global, args: &LogoutArgs) -> Result<Done> {
    let path = file()?;
    let mut profiles = Profiles::read(&path)?;
    if profiles.0.remove(&args.profile).is_none() {
        return Err(Error::not_found(
            "profile_not_found",
            format!("there is no profile {:?}", args.profile),
        ));
    }
    profiles.write(&path)?;
    if global.json {
        println!("{}", json!({"profile": args.profile}));
    } else {
        println!("Profile {} is removed.", args.profile);
    }
    Ok(Done::All)
}

/// Reads a key: without showing it from a terminal, or the first line of standard input.
async fn read_key() -> Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        if std::io::stdin().is_terminal() {
            return rpassword::prompt_password("API key: ");
        }
        let mut text = String::new();
        std::io::stdin().take(4096).read_to_string(&mut text)?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    });
    let key = read.await??.trim().to_owned();
    if key.is_empty() {
        return Err(Error::invalid(
            "key_missing",
            "no key was given; `cairn keys create` on the server's machine makes one",
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_kept_for_their_owner_only() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("cairn/profiles.toml");
        assert!(Profiles::read(&path).expect("none").0.is_empty());
        let profile = Profile {
            url: "http://127.0.0.1:7700".to_owned(),
            key: "cairn_x".to_owned(),
        };
        let mut profiles = Profiles::default();
        profiles.0.insert("work".to_owned(), profile.clone());
        profiles.write(&path).expect("writable");
        let read = Profiles::read(&path).expect("readable");
        assert_eq!(read.0.get("work"), Some(&profile));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_file_is_reported_with_its_path() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("profiles.toml");
        std::fs::write(&path, "work = 3").expect("writable");
        let error = Profiles::read(&path).expect_err("refused");
        assert!(error.to_string().contains("profiles.toml"), "{error}");
    }
}
