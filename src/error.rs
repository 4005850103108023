//! The error type of the service: a kind for the edge, a stable code for programs, a message for people, a source for the log.

use std::fmt;
use std::time::Duration;

/// Result type of everything below `api`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of a failure; the edges map it to a status or an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller's input is wrong.
    Invalid,
    /// Missing or invalid credentials.
    Unauthorized,
    /// The caller may not do this.
    Forbidden,
    /// Missing, or not the caller's.
    NotFound,
    /// The route does not support this method.
    WrongMethod,
    /// The current state does not allow it.
    Conflict,
    /// Larger than a limit.
    TooLarge,
    /// The caller did not send in time.
    TooSlow,
    /// Valid, but not possible with this configuration.
    Unprocessable,
    /// Too many requests; retry after the given seconds.
    RateLimited,
    /// Not possible now; a later attempt may succeed.
    Unavailable,
    /// Another service on which this depends failed or refused.
    Upstream,
    /// The disk is full.
    NoSpace,
    /// Internal fault.
    Internal,
}

/// Details of a failure for programs, beside its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Scope that the caller lacks.
    Scope(&'static str),
    /// Names of invalid fields of the request, each with a sentence.
    Fields(Vec<(String, String)>),
    /// Delay before the next attempt.
    RetryAfter(Duration),
    /// Idempotency key that was used for another request.
    IdempotencyKey(String),
    /// A sentence about how to correct the request.
    Hint(String),
    /// Data about the failure for programs, as JSON.
    Data(serde_json::Value),
    /// A limit of the tenant's plan.
    PlanLimit {
        /// Address of the page where plans are changed; empty for none.
        upgrade_url: String,
    },
}

const INDEX_DAMAGED: &str = "index_damaged";

/// A failure with its kind, code and message.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    code: &'static str,
    message: String,
    detail: Option<Box<Detail>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            detail: None,
            source: None,
        }
    }

    /// Creates a [`Kind::NoSpace`] error with the code `disk_full`: the disk is full.
    #[must_use]
    pub fn no_space(message: impl Into<String>) -> Self {
        Self::new(Kind::NoSpace, "disk_full", message)
    }

    /// Creates a [`Kind::Invalid`] error: the caller's input is wrong.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, message)
    }

    /// Creates a [`Kind::Unauthorized`] error: missing or invalid credentials.
    pub fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unauthorized, code, message)
    }

    /// Creates a [`Kind::Forbidden`] error: the caller may not do this.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, message)
    }

    /// Creates a [`Kind::NotFound`] error: missing, or not the caller's.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, code, message)
    }

    /// Creates a [`Kind::WrongMethod`] error: the route does not support this method.
    pub fn wrong_method(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::WrongMethod, code, message)
    }

    /// Creates a [`Kind::Conflict`] error: the current state does not allow it.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, message)
    }

    /// Creates a [`Kind::TooLarge`] error: larger than a limit.
    pub fn too_large(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::TooLarge, code, message)
    }

    /// Creates a [`Kind::TooSlow`] error: the caller did not send in time.
    pub fn too_slow(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::TooSlow, code, message)
    }

    /// Creates a [`Kind::Unprocessable`] error: valid, but not possible.
    pub fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unprocessable, code, message)
    }

    /// Creates a [`Kind::RateLimited`] error: too many requests.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(Kind::RateLimited, "rate_limited", message)
    }

    /// Creates a [`Kind::Unavailable`] error: not possible now.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, code, message)
    }

    /// Creates a [`Kind::Upstream`] error: another service failed or refused.
    pub fn upstream(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Upstream, code, message)
    }

    /// Returns the error with a sentence about how to correct the request.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.with_detail(Detail::Hint(hint.into()))
    }

    /// Creates a [`Kind::Internal`] error; `message` is for the log.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal", message)
    }

    /// Creates the error for invalid index content: [`Kind::Internal`] with a code of its own, since a rebuild helps.
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, INDEX_DAMAGED, message)
    }

    /// Returns whether an index has to be rebuilt.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.code == INDEX_DAMAGED
    }

    /// Attaches a detail for programs.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// Returns the detail for programs, if there is one.
    #[must_use]
    pub fn detail(&self) -> Option<&Detail> {
        self.detail.as_deref()
    }

    /// Attaches the cause, for the log.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the message for the caller. Internal faults reveal nothing.
    #[must_use]
    pub fn public_message(&self) -> &str {
        if self.kind == Kind::Internal {
            "internal error; see the server log for details"
        } else {
            &self.message
        }
    }

    /// Returns whether a later attempt may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            Kind::RateLimited | Kind::Unavailable | Kind::Upstream | Kind::NoSpace | Kind::Internal
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source: Option<&dyn std::error::Error> =
            self.source.as_ref().map(|s| s.as_ref() as _);
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some engines append a backtrace to the first line.
            let line = text.lines().next().unwrap_or_default();
            // An error that was converted often has the words of its source.
            if line != self.message {
                write!(f, ": {line}")?;
            }
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let full = error.as_database_error().is_some_and(|e| {
            // SQLite: 13 is SQLITE_FULL. PostgreSQL: class 53 is insufficient resources.
            e.code().is_some_and(|c| c == "13" || c == "53100")
        });
        if full {
            return Self::new(Kind::NoSpace, "disk_full", "the disk is full").with_source(error);
        }
        // PostgreSQL aborts one of two transactions that wait for each other (40P01), or that cannot be serialised (40001): both are retryable.
        let busy = error
            .as_database_error()
            .is_some_and(|e| e.code().is_some_and(|c| c == "40P01" || c == "40001"));
        if busy {
            return Self::unavailable(
                "database_busy",
                "a concurrent change conflicted with this one; try again",
            )
            .with_source(error);
        }
        if matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) {
            return Self::unavailable("database_unavailable", "the database does not respond")
                .with_source(error);
        }
        Self::internal("a database statement failed").with_source(error)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::new(Kind::NoSpace, "disk_full", "the disk is full").with_source(error);
        }
        Self::internal("the file system failed").with_source(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal("stored JSON could not be read or written").with_source(error)
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::internal("a task stopped unexpectedly").with_source(error)
    }
}

impl From<cairn_models::Error> for Error {
    fn from(error: cairn_models::Error) -> Self {
        let made = if error.is_retryable() {
            Self::unavailable("model_unavailable", "the embedding model does not respond")
        } else {
            Self::unprocessable("model_failed", error.to_string())
        };
        made.with_source(error)
    }
}
