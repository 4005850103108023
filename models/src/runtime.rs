//! The ONNX Runtime library, handled like a model: located, or fetched and verified, then opened once per process.
//!
//! Sources in order: the path given by the user, an installed library, the official release archive, the wheel of the Python package index. The library is
//! opened through `ort::init_from`, which reports a bad library instead of panicking.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use serde::Serialize;

use crate::fetch::{Cache, Progress, place, record, recorded};
use crate::manifest::Files;
use crate::{Error, Result, hash_file};

/// Description of the library for this platform.
#[derive(Debug, Clone, Serialize)]
pub struct RuntimeManifest {
    /// Version of ONNX Runtime; the binding requires 1.24 or later.
    pub version: String,
    /// File name in the cache.
    pub file: String,
    /// SHA-256 of the library inside the wheel, if it is pinned.
    pub wheel_sha256: Option<String>,
    pub licence: String,
    /// Name of the official release archive, without extension.
    pub archive: String,
    /// Name of the platform for pip.
    pub wheel_platform: String,
}

const VERSION: &str = "1.31.1";
const DIRECTORY: &str = "onnxruntime";

/// Directories in which distributions install the library.
const INSTALLED: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
];

/// Returns the description of the library for the target platform.
///
/// # Errors
/// [`Error::NoSource`] on a platform without an official build.
pub fn runtime_manifest() -> Result<RuntimeManifest> {
    let pinned = "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3";
    let (file, archive, wheel_platform, sha256) = match (
        std::env::consts::OS,
        std::env::consts::ARCH,
    ) {
        ("linux", "x86_64") => (
            format!("libonnxruntime.so.{VERSION}"),
            "onnxruntime-linux-x64",
            "manylinux_2_28_x86_64",
            Some(pinned),
        ),
        ("linux", "aarch64") => (
            format!("libonnxruntime.so.{VERSION}"),
            "onnxruntime-linux-aarch64",
            "manylinux_2_28_aarch64",
            None,
        ),
        ("macos", "aarch64") => (
            format!("libonnxruntime.{VERSION}.dylib"),
            "onnxruntime-osx-arm64",
            "macosx_14_0_arm64",
            None,
        ),
        (os, arch) => {
            return Err(Error::NoSource {
                what: "ONNX Runtime".to_owned(),
                causes: format!(
                    "no ONNX Runtime build is available for {os}/{arch}; set CAIRN_ONNXRUNTIME to an installed library"
                ),
            });
        }
    };
    Ok(RuntimeManifest {
        version: VERSION.to_owned(),
        file,
        wheel_sha256: sha256.map(ToOwned::to_owned),
        licence: "MIT".to_owned(),
        archive: format!("{archive}-{VERSION}"),
        wheel_platform: wheel_platform.to_owned(),
    })
}

static OPENED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Ensures that the library exists and opens it; later calls return the one already open.
///
/// # Errors
/// [`Error::Runtime`] when the given library cannot be opened, [`Error::NoSource`] when no source provides one, [`Error::Checksum`].
pub fn ensure_runtime(
    cache: &Cache,
    configured: Option<&Path>,
    progress: Progress<'_>,
) -> Result<(PathBuf, Environment)> {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = &*opened {
        return Ok(found.clone());
    }
    let found = locate(cache, configured, progress)?;
    *opened = Some(found.clone());
    Ok(found)
}

fn locate(
    cache: &Cache,
    configured: Option<&Path>,
    progress: Progress<'_>,
) -> Result<(PathBuf, Environment)> {
    if let Some(path) = configured {
        return open(path);
    }
    let manifest = runtime_manifest()?;
    let directory = cache.root().join(DIRECTORY);
    let cached = directory.join(&manifest.file);
    let mut causes = Vec::new();
    if !cached.is_file() {
        for path in INSTALLED
            .iter()
            .map(|d| {
                Path::new(d).join(
                    std::env::consts::DLL_PREFIX.to_owned()
                        + "onnxruntime"
                        + std::env::consts::DLL_SUFFIX,
                )
            })
            .filter(|p| p.is_file())
        {
            match open(&path) {
                Ok(found) => return Ok(found),
                Err(error) => causes.push(error.to_string()),
            }
        }
        fetch(cache, &manifest, &directory, progress, &mut causes)?;
    }
    // A library from the release archive differs from that of the wheel; its checksum was recorded.
    let sha256 = recorded(&directory)
        .remove(&manifest.file)
        .or(manifest.wheel_sha256);
    let file = Files {
        name: manifest.file,
        sha256,
    };
    open(&cache.verify_file(&directory, &file)?)
}

fn fetch(
    cache: &Cache,
    manifest: &RuntimeManifest,
    directory: &Path,
    progress: Progress<'_>,
    causes: &mut Vec<String>,
) -> Result<()> {
    if cache.is_offline() {
        return Err(Error::MissingFile(directory.join(&manifest.file)));
    }
    let _lock = cache.lock()?;
    let target = directory.join(&manifest.file);
    if target.is_file() {
        return Ok(());
    }
    match from_archive(cache, manifest, directory, progress) {
        Ok(()) => return Ok(()),
        Err(error) => causes.push(format!("release archive: {error}")),
    }
    let file = Files {
        name: manifest.file.clone(),
        sha256: manifest.wheel_sha256.clone(),
    };
    let requirement = format!("onnxruntime=={}", manifest.version);
    let platform = format!("--platform={}", manifest.wheel_platform);
    let arguments = [
        requirement.as_str(),
        &platform,
        "--python-version=3.11",
        "--implementation=cp",
    ];
    match cache.fetch_from_wheel(
        &arguments,
        directory,
        &[file],
        |name| format!("onnxruntime/capi/{name}"),
        progress,
    ) {
        Ok(()) => record(directory, &manifest.file, &hash_file(&target)?),
        Err(error) => {
            causes.push(format!("python package onnxruntime: {error}"));
            Err(Error::NoSource {
                what: "the ONNX Runtime library".to_owned(),
                causes: causes.join("; "),
            })
        }
    }
}

/// Extracts the library from the official archive. No checksum is published, so that of the first download is recorded.
fn from_archive(
    cache: &Cache,
    manifest: &RuntimeManifest,
    directory: &Path,
    progress: Progress<'_>,
) -> Result<()> {
    let base = std::env::var("CAIRN_ONNXRUNTIME_RELEASES").unwrap_or_else(|_| {
        "https://github.com/microsoft/onnxruntime/releases/download".to_owned()
    });
    let url = format!(
        "{}/v{}/{}.tgz",
        base.trim_end_matches('/'),
        manifest.version,
        manifest.archive
    );
    std::fs::create_dir_all(cache.root()).map_err(Error::io(cache.root()))?;
    let scratch = tempfile::tempdir_in(cache.root()).map_err(Error::io(cache.root()))?;
    let archive = Files {
        name: "archive.tgz".to_owned(),
        sha256: None,
    };
    cache.download(&url, scratch.path(), &archive, progress)?;
    let path = scratch.path().join(&archive.name);
    let file = std::fs::File::open(&path).map_err(Error::io(&path))?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in tar.entries().map_err(Error::io(&path))? {
        let entry = entry.map_err(Error::io(&path))?;
        let inside = entry.path().map_err(Error::io(&path))?.into_owned();
        if inside
            .file_name()
            .is_some_and(|n| n.to_string_lossy() == manifest.file)
            && entry.header().entry_type().is_file()
        {
            let size = entry.size();
            let library = Files {
                name: manifest.file.clone(),
                sha256: None,
            };
            return place(directory, &library, entry, Some(size), progress);
        }
    }
    Err(Error::MissingFile(path.join(&manifest.file)))
}

fn open(path: &Path) -> Result<(PathBuf, Environment)> {
    let unusable = |cause: String| Error::Runtime {
        path: path.to_owned(),
        cause,
    };
    if !path.is_file() {
        return Err(unusable("the file does not exist".to_owned()));
    }
    let builder = ort::init_from(path).map_err(|e| unusable(e.to_string()))?;
    let environment = builder
        .with_name("cairn")
        .with_telemetry(false)
        .build()
        .map_err(|e| unusable(e.to_string()))?;
    Ok((path.to_owned(), environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_and_no_panic() {
        let error = open(Path::new("/nowhere/libonnxruntime.so"))
            .expect_err("not there")
            .to_string();
        assert!(error.contains("/nowhere/libonnxruntime.so"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error_and_no_panic() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), b"not a library").expect("writable");
        assert!(matches!(open(file.path()), Err(Error::Runtime { .. })));
    }
}
