//! Errors of models, with messages that users can act on.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of fetching, verifying, loading or running a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not a known model and not a directory.
    #[error("unknown model {0:?}; use a name from `cairn models list` or a model directory")]
    UnknownModel(String),
    /// All sources of the files failed.
    #[error("no source could provide {what}: {causes}")]
    NoSource {
        /// The requested files.
        what: String,
        /// Each source with its error.
        causes: String,
    },
    /// The file does not exist.
    #[error("{} is missing; `cairn models pull` fetches it", .0.display())]
    MissingFile(PathBuf),
    /// The content does not match the expected checksum.
    #[error("{}: checksum {found} does not match the expected {expected}", path.display())]
    Checksum {
        path: PathBuf,
        /// SHA-256 of the manifest or of the first download.
        expected: String,
        /// SHA-256 of the bytes on disk.
        found: String,
    },
    /// The ONNX Runtime library cannot be opened.
    #[error("the ONNX Runtime library at {} cannot be used: {cause}", path.display())]
    Runtime {
        /// Path of the library.
        path: PathBuf,
        /// Message of the loader.
        cause: String,
    },
    /// The files exist but are not a usable model.
    #[error("model {name} cannot be loaded: {cause}")]
    Load {
        /// Name of the model.
        name: String,
        cause: String,
    },
    /// The model returns vectors of other dimensions than configured or stored.
    #[error("model {name} returned vectors of {found} dimensions, expected {expected}")]
    Dimensions {
        /// Name of the model.
        name: String,
        expected: usize,
        found: usize,
    },
    /// No calibration can be measured.
    #[error("no calibration: {0}")]
    Calibration(String),
    /// Inference failed.
    #[error("embedding failed: {0}")]
    Inference(String),
    /// A remote endpoint failed.
    #[error("embedding endpoint: {message}")]
    Remote {
        message: String,
        /// Whether a later retry may succeed.
        retryable: bool,
    },
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Error {
    /// Returns an I/O error with its path.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Returns a load error.
    pub(crate) fn load(name: &str, cause: impl std::fmt::Display) -> Self {
        Self::Load {
            name: name.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// Returns whether a later retry may succeed without a change of configuration.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Remote {
                retryable: true,
                ..
            } | Self::Io { .. }
        )
    }
}
