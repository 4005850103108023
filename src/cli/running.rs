//! `server.json` in the data directory: the address of the server that is using it, and a secret for the commands of its owner. Whoever can read the file can read the
//! data directory.

use std::fs::TryLockError;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::{App, LOCK};
use crate::auth::tenants;
use crate::disk;
use crate::error::{Error, Result};

const FILE: &str = "server.json";

/// How the owner of a data directory reaches the server that is using it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) url: String,
    /// Authenticates the owner until the server ends.
    pub(super) key: String,
}

impl Running {
    /// Creates the owner's secret of a server that listens at an address.
    pub(super) async fn create(app: &App, address: SocketAddr) -> Result<Self> {
        app.ensure_tenant().await?;
        let tenant = tenants::by_name(&app.db, tenants::DEFAULT).await?;
        Ok(Self {
            url: format!("http://{}", reachable(address)),
            key: app.gate.create_owner_secret(&app.clock, &tenant.id)?,
        })
    }

    /// Writes the file, for its owner only. It is removed when the result is dropped; one that a killed server left is never used, see [`find`].
    pub(super) fn announce(&self, data_dir: &Path) -> Result<Announcement> {
        let path = data_dir.join(FILE);
        disk::replace_private_file(&path, &serde_json::to_vec(self)?)?;
        Ok(Announcement(path))
    }
}

/// The file of a running server.
#[derive(Debug)]
pub(super) struct Announcement(PathBuf);

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the address of the server cannot be removed");
        }
    }
}

/// Returns the server that is using a data directory; `None` when no process is using it.
///
/// # Errors
/// `data_dir_in_use` when another command is using it, or a server that does not answer yet.
pub(super) fn find(data_dir: &Path) -> Result<Option<Running>> {
    let lock = match std::fs::File::open(data_dir.join(LOCK)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    match lock.try_lock() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    match std::fs::read(data_dir.join(FILE)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(in_use(data_dir)),
        Err(error) => Err(error.into()),
    }
}

/// Returns the error for a data directory that a process other than a server is using.
fn in_use(data_dir: &Path) -> Error {
    Error::conflict(
        "data_dir_in_use",
        format!(
            "another command, or a server that is still starting, uses {}; wait for it, or name a server with --url",
            data_dir.display()
        ),
    )
}

/// Returns the address at which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_nobody_uses_has_no_server() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(find(directory.path()).expect("readable"), None);
        disk::private_file(&directory.path().join(LOCK)).expect("writable");
        // A killed server left its address behind.
        std::fs::write(directory.path().join(FILE), "{}").expect("writable");
        assert_eq!(find(directory.path()).expect("readable"), None);
    }

    #[test]
    fn the_server_of_a_used_directory_is_found_while_it_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = disk::private_file(&directory.path().join(LOCK)).expect("writable");
        lock.try_lock().expect("free");
        let error = find(directory.path()).expect_err("no server yet");
        assert_eq!(error.code(), "data_dir_in_use");
        let running = Running {
            url: "http://127.0.0.1:7700".to_owned(),
            key: "cairn_local_x".to_owned(),
        };
        let announced = running.announce(directory.path()).expect("writable");
        assert_eq!(find(directory.path()).expect("readable"), Some(running));
        drop(announced);
        assert!(find(directory.path()).is_err());
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        let all = "0.0.0.0:80".parse().expect("an address");
        assert_eq!(reachable(all).to_string(), "127.0.0.1:80");
        let all = "[::]:80".parse().expect("an address");
        assert_eq!(reachable(all).to_string(), "[::1]:80");
    }
}
