//! Remembers which files of the cache were verified, so that a start does not hash a hundred megabytes that have not changed.
//!
//! `verified.json` beside the files holds the identity of each: inode, size and time of change, which every write to a file alters and no program can set.
//! A file whose identity differs is hashed again; `cairn models verify` hashes every file. This finds damage and accidents, not an attacker who may write to the
//! cache: whoever may do that could replace the program, too.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::fetch::replace_json;

const VERIFIED: &str = "verified.json";
/// Age below which the time of change does not tell two writes apart.
const SETTLED: Duration = Duration::from_secs(2);

/// The identity of a file whose checksum is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verified {
    sha256: String,
    inode: u64,
    size: u64,
    changed_seconds: i64,
    changed_nanoseconds: i64,
}

impl Verified {
    fn new(sha256: &str, metadata: &Metadata) -> Self {
        Self {
            sha256: sha256.to_owned(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed_seconds: metadata.ctime(),
            changed_nanoseconds: metadata.ctime_nsec(),
        }
    }
}

fn all(directory: &Path) -> BTreeMap<String, Verified> {
    fs::read(directory.join(VERIFIED))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Returns whether the file was verified against this checksum and is unchanged since.
pub(crate) fn is_verified(directory: &Path, name: &str, sha256: &str, metadata: &Metadata) -> bool {
    all(directory).get(name) == Some(&Verified::new(sha256, metadata))
}

/// Remembers a verified file; `metadata` is from before it was read. A file that was just written is not remembered, nor is any in a read-only directory.
pub(crate) fn remember(
    directory: &Path,
    name: &str,
    sha256: &str,
    metadata: &Metadata,
    now: SystemTime,
) {
    let changed = u64::try_from(metadata.ctime()).unwrap_or(u64::MAX);
    let settled = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(changed))
        .and_then(|changed| now.duration_since(changed).ok())
        .is_some_and(|age| age >= SETTLED);
    if !settled {
        return;
    }
    let mut all = all(directory);
    all.insert(name.to_owned(), Verified::new(sha256, metadata));
    if let Err(error) = replace_json(&directory.join(VERIFIED), &all) {
        tracing::debug!(error = %error, "a verified file is hashed again at the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, text: &str) -> Metadata {
        let path = directory.join("model.onnx");
        fs::write(&path, text).expect("written");
        fs::metadata(path).expect("metadata")
    }

    fn modified(metadata: &Metadata) -> SystemTime {
        metadata.modified().expect("a time")
    }

    #[test]
    fn a_file_is_verified_until_it_changes() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path();
        let metadata = write(path, "weights");
        let later = modified(&metadata) + 2 * SETTLED;
        remember(path, "model.onnx", "aa", &metadata, later);
        assert!(is_verified(path, "model.onnx", "aa", &metadata));
        assert!(!is_verified(path, "model.onnx", "bb", &metadata));
        let changed = write(path, "other weights");
        assert!(!is_verified(path, "model.onnx", "aa", &changed));
    }

    #[test]
    fn a_file_that_was_just_written_is_hashed_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path();
        let metadata = write(path, "weights");
        remember(path, "model.onnx", "aa", &metadata, modified(&metadata));
        assert!(!is_verified(path, "model.onnx", "aa", &metadata));
    }
}
