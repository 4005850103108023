//! The disk of the data directory: directories and files that only their owner may read, and free space.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};

/// Free space on the disk of a directory.
#[derive(Debug, Clone)]
pub struct Disk {
    directory: PathBuf,
    /// Bytes that are kept free of user data.
    spare: u64,
}

impl Disk {
    /// Creates the disk of `directory`, of which `spare_mb` MiB are kept free.
    #[must_use]
    pub fn new(directory: PathBuf, spare_mb: u64) -> Self {
        Self {
            directory,
            spare: spare_mb.saturating_mul(1 << 20),
        }
    }

    /// Checks that there is space for user data.
    ///
    /// # Errors
    /// `disk_full`.
    pub fn ensure_free_space(&self) -> Result<()> {
        self.need(
            self.spare,
            "free some space and uploads resume automatically",
        )
    }

    /// Checks that there is space for indexes to grow by so many bytes. They may use three quarters of the space that user files leave free, so that
    /// accepted files can be indexed. The rest is never used: a memory-mapped file that grows on a full disk ends the process.
    ///
    /// # Errors
    /// `disk_full`.
    pub fn ensure_index_space(&self, bytes: u64) -> Result<()> {
        self.need(
            (self.spare / 4).saturating_add(bytes),
            "free some space and indexing resumes automatically",
        )
    }

    fn need(&self, bytes: u64, remedy: &str) -> Result<()> {
        let free = fs4::available_space(&self.directory)?;
        if free >= bytes {
            return Ok(());
        }
        Err(Error::no_space(format!(
            "the disk of {} has only {} MiB left, but {} MiB must be free (min_free_mb is {}); {remedy}",
            self.directory.display(),
            free >> 20,
            bytes >> 20,
            self.spare >> 20
        )))
    }
}

/// Creates a directory and its missing parents, for their owner only; removes access to an existing one from everyone outside its group.
///
/// # Errors
/// Those of the file system.
pub fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    close(path)
}

/// Creates an empty file for its owner only, unless it exists; removes access to an existing one from everyone outside its group.
///
/// # Errors
/// Those of the file system.
pub fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    close(path)?;
    Ok(file)
}

/// Replaces a file for its owner only; whoever reads it sees the old content or the new one.
///
/// # Errors
/// Those of the file system.
pub fn replace_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = private_file(&new)?;
    file.set_len(0)?;
    file.write_all(content)?;
    std::fs::rename(&new, path)
}

/// Removes the permissions of everyone outside the group.
#[cfg(unix)]
fn close(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = std::fs::metadata(path)?.permissions();
    if permissions.mode() & 0o007 == 0 {
        return Ok(());
    }
    permissions.set_mode(permissions.mode() & 0o7770);
    match std::fs::set_permissions(path, permissions) {
        // The file belongs to another user, whose permissions stay.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    }
}

#[cfg(not(unix))]
fn close(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Removes entries of a directory that were not changed for `older`: leftovers of processes that were killed. Returns their number.
///
/// # Errors
/// Those of the file system.
pub fn sweep(directory: &Path, older: Duration) -> io::Result<u64> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let age = entry.metadata().and_then(|m| m.modified()).map(age);
        // Another process removed it.
        if !age.is_ok_and(|age| age > older) {
            continue;
        }
        let outcome = if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        match outcome {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

#[expect(
    clippy::disallowed_methods,
    reason = "times of files are those of the system"
)]
fn age(modified: SystemTime) -> Duration {
    SystemTime::now()
        .duration_since(modified)
        .unwrap_or_default()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        let metadata = std::fs::metadata(path).expect("there");
        metadata.permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_and_what_is_there_is_closed_to_the_world() {
        let directory = tempfile::tempdir().expect("a directory");
        let (inner, file) = (directory.path().join("a/b"), directory.path().join("a/b/c"));
        private_directory(&inner).expect("made");
        private_file(&file).expect("made");
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        for path in [&inner, &file] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("changed");
        }
        private_directory(&inner).expect("there");
        private_file(&file).expect("there");
        assert_eq!((mode(&inner), mode(&file)), (0o750, 0o750));
    }

    #[test]
    fn only_old_leftovers_are_swept() {
        let directory = tempfile::tempdir().expect("a directory");
        let old = directory.path().join("old");
        std::fs::create_dir(&old).expect("made");
        std::fs::write(old.join("file"), "x").expect("written");
        let long_ago = SystemTime::UNIX_EPOCH;
        File::open(&old)
            .and_then(|f| f.set_modified(long_ago))
            .expect("changed");
        std::fs::write(directory.path().join("new"), "x").expect("written");
        let hour = Duration::from_secs(3600);
        assert_eq!(sweep(directory.path(), hour).expect("swept"), 1);
        assert!(!old.exists() && directory.path().join("new").exists());
        assert_eq!(sweep(&old, hour).expect("nothing there"), 0);
    }
}
