//! What can go wrong with a model, in words a user can act on.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of fetching, verifying, loading or running a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none of the known models and not a directory.
    #[error(
        "unknown model {0:?}; `cairn models list` shows the known ones, and a directory with a model is accepted too"
    )]
    UnknownModel(String),
    /// Every source of a file set failed; the text lists each with its cause.
    #[error("no source could provide {what}: {causes}")]
    NoSource {
        /// What was wanted.
        what: String,
        /// Each source with the reason of its failure.
        causes: String,
    },
    /// The file is not there.
    #[error("{} is missing; `cairn models pull` fetches it", .0.display())]
    MissingFile(PathBuf),
    /// The content is not what the manifest promises.
    #[error("{}: checksum {found} does not match the expected {expected}", path.display())]
    Checksum {
        /// The file in question.
        path: PathBuf,
        /// SHA-256 of the manifest or of the first download.
        expected: String,
        /// SHA-256 of the bytes on disk.
        found: String,
    },
    /// The ONNX Runtime library cannot be opened.
    #[error("the ONNX Runtime library at {} cannot be used: {cause}", path.display())]
    Runtime {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        cause: String,
    },
    /// The files are there but make no usable model.
    #[error("model {name} cannot be loaded: {cause}")]
    Load {
        /// The model.
        name: String,
        /// What was wrong.
        cause: String,
    },
    /// The model gives vectors of another length than configured or stored.
    #[error("model {name} gives vectors of {found} dimensions, expected {expected}")]
    Dimensions {
        /// The model.
        name: String,
        /// Expected length.
        expected: usize,
        /// Length of the vectors it gave.
        found: usize,
    },
    /// Inference failed.
    #[error("embedding failed: {0}")]
    Inference(String),
    /// A remote endpoint failed; `retryable` says whether trying later may help.
    #[error("embedding endpoint: {message}")]
    Remote {
        /// What happened.
        message: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path being used.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// An I/O failure with its path.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// A load failure.
    pub(crate) fn load(name: &str, cause: impl std::fmt::Display) -> Self {
        Self::Load {
            name: name.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// Whether the same call may succeed later without a change of configuration.
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
