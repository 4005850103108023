//! The nodes of a Qdrant cluster: requests are distributed in turn, and go to the next node when one does not answer, within a budget of retries. A
//! failed node is skipped for a while, so that no request waits for it.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qdrant_client::{Qdrant, QdrantError};
use serde::Serialize;
use tower::retry::budget::{Budget, TpsBudget};

use crate::config::Config;
use crate::error::{Error, Result};

/// Time for which a node is skipped after its first failure; each further one doubles it, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(500);
/// Maximum time for which a node is skipped.
const LONGEST: Duration = Duration::from_secs(8);
/// Connection timeout.
const CONNECT: Duration = Duration::from_secs(2);
/// Factor by which the timeout of a change exceeds that of a search: a change waits until all replicas have it.
const CHANGE: u32 = 12;
/// Retries allowed per second, whatever the load.
const RETRIES: u32 = 5;
/// Retries allowed in addition, as a share of all requests of the last ten seconds.
const SHARE: f32 = 0.2;
/// Error code for a missing collection.
pub(crate) const COLLECTION_MISSING: &str = "vector_collection_missing";
/// Oldest supported server: it has the query API, and tenant-aware indexes.
const OLDEST: (u64, u64) = (1, 11);

/// The nodes of a cluster.
pub struct Cluster {
    nodes: Vec<Node>,
    /// Index of the next node.
    turn: AtomicUsize,
    budget: TpsBudget,
    /// Timeout of a search.
    limit: Duration,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.nodes.iter().map(|n| &n.url))
            .finish()
    }
}

struct Node {
    url: String,
    client: Qdrant,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// Failures since its last response.
    failures: u32,
    /// Time until which it is skipped.
    until: Option<Instant>,
}

/// Purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// It only reads.
    Reading,
    /// It changes something, and can be repeated.
    Changing,
}

/// Report on a node by `cairn doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct NodeReport {
    pub url: String,
    /// Version of the server, when it answers.
    pub version: Option<String>,
    /// Reason why it cannot be used, if any.
    pub problem: Option<String>,
}

impl Cluster {
    /// Configures clients of the nodes, which connect at the first request; `None` when there are no nodes.
    ///
    /// # Errors
    /// `config_invalid` for an invalid address.
    pub fn of(config: &Config) -> Result<Option<Self>> {
        let limit = Duration::from_secs(config.qdrant_seconds);
        let mut nodes = Vec::new();
        for url in config.qdrant_addresses() {
            let mut builder = Qdrant::from_url(url)
                .timeout(limit * CHANGE)
                .connect_timeout(CONNECT)
                .keep_alive_while_idle()
                .skip_compatibility_check();
            if !config.qdrant_api_key.is_empty() {
                builder = builder.api_key(config.qdrant_api_key.as_str());
            }
            let client = builder.build().map_err(|e| {
                Error::invalid("config_invalid", format!("qdrant_urls: {url:?}: {e}"))
            })?;
            nodes.push(Node {
                url: url.to_owned(),
                client,
                health: Mutex::default(),
            });
        }
        Ok((!nodes.is_empty()).then(|| Self {
            nodes,
            turn: AtomicUsize::new(0),
            budget: TpsBudget::new(Duration::from_secs(10), RETRIES, SHARE),
            limit,
        }))
    }

    /// Sends a request to one node after the other, beginning with the next in turn.
    ///
    /// # Errors
    /// `vector_store_unavailable` when none answers; the server's error otherwise.
    pub(super) async fn ask<T, F>(&self, what: For, request: impl Fn(Qdrant) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, QdrantError>>,
    {
        let limit = match what {
            For::Reading => self.limit,
            For::Changing => self.limit * CHANGE,
        };
        self.budget.deposit();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failures = Vec::new();
        for n in 0..self.nodes.len() {
            let node = &self.nodes[(first + n) % self.nodes.len()];
            if !node.may_be_asked() {
                continue;
            }
            if !failures.is_empty() && !self.budget.withdraw() {
                failures.push("no more retries for now".to_owned());
                break;
            }
            let outcome = tokio::time::timeout(limit, request(node.client.clone())).await;
            let cause = match outcome {
                Ok(Ok(answer)) => {
                    node.answered();
                    return Ok(answer);
                }
                Ok(Err(error)) => match Failure::of(error) {
                    Failure::Away(cause) => {
                        node.failed();
                        cause
                    }
                    Failure::Elsewhere(cause) => cause,
                    Failure::Final(error) => {
                        node.answered();
                        return Err(error);
                    }
                },
                Err(_) => {
                    node.failed();
                    format!("no response within {} seconds", limit.as_secs())
                }
            };
            tracing::debug!(node = node.url, cause, "a Qdrant server failed");
            failures.push(format!("{}: {cause}", node.url));
        }
        metrics::counter!("cairn_vector_server_failures_total").increment(1);
        if failures.is_empty() {
            failures.push("every server failed recently".to_owned());
        }
        Err(Error::unavailable(
            "vector_store_unavailable",
            "no Qdrant server is working; vector search and indexing resume when one is",
        )
        .with_source(failures.join("; ")))
    }

    /// Checks that the version of the server is supported.
    ///
    /// # Errors
    /// `vector_server_version`, and those of [`Cluster::ask`].
    pub(super) async fn check_version(&self) -> Result<()> {
        let health = |client: Qdrant| async move { client.health_check().await };
        let version = self.ask(For::Reading, health).await?.version;
        tracing::info!(version, "a Qdrant server is working again");
        match problem_of(&version) {
            Some(problem) => Err(Error::unprocessable("vector_server_version", problem)),
            None => Ok(()),
        }
    }

    /// Reports for every node whether it answers, and its version.
    pub async fn report(&self) -> Vec<NodeReport> {
        let mut reports = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let asked = tokio::time::timeout(self.limit, node.client.health_check()).await;
            let (version, problem) = match asked {
                Ok(Ok(health)) => {
                    let problem = problem_of(&health.version);
                    (Some(health.version), problem)
                }
                Ok(Err(error)) => (None, Some(said(&error))),
                Err(_) => (None, Some("it does not respond".to_owned())),
            };
            reports.push(NodeReport {
                url: node.url.clone(),
                version,
                problem,
            });
        }
        reports
    }
}

impl Node {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the node answered last, or is due for another attempt, which is granted to one request alone.
    fn may_be_asked(&self) -> bool {
        let mut health = self.health();
        match health.until {
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                health.until = Some(Instant::now() + pause(health.failures));
                true
            }
            None => true,
        }
    }

    fn answered(&self) {
        *self.health() = Health::default();
    }

    fn failed(&self) {
        let mut health = self.health();
        health.failures += 1;
        health.until = Some(Instant::now() + pause(health.failures));
    }
}

/// Returns the time for which a node is skipped after so many failures in a row.
fn pause(failures: u32) -> Duration {
    (SHORTEST * 2_u32.saturating_pow(failures.saturating_sub(1).min(8))).min(LONGEST)
}

/// Meaning of a failure for the other nodes.
enum Failure {
    /// The node is unreachable.
    Away(String),
    /// The node cannot serve the request now, but another one may: it has no active replica of a shard.
    Elsewhere(String),
    /// No node would succeed.
    Final(Error),
}

impl Failure {
    fn of(error: QdrantError) -> Self {
        // gRPC status codes.
        const DEADLINE: i32 = 4;
        const NOT_FOUND: i32 = 5;
        const DENIED: i32 = 7;
        const EXHAUSTED: i32 = 8;
        const ABORTED: i32 = 10;
        const UNKNOWN: i32 = 2;
        const CANCELLED: i32 = 1;
        const INTERNAL: i32 = 13;
        const UNAVAILABLE: i32 = 14;
        const UNAUTHENTICATED: i32 = 16;
        let code = match &error {
            QdrantError::ResponseError { status }
            | QdrantError::ResourceExhaustedError { status, .. } => i32::from(status.code()),
            QdrantError::Io(_) => UNAVAILABLE,
            QdrantError::ConversionError(_)
            | QdrantError::InvalidUri(_)
            | QdrantError::NoSnapshotFound(_)
            | QdrantError::JsonToPayload(_)
            | QdrantError::PayloadDeserialization(_) => {
                return Self::Final(
                    Error::internal("a request to Qdrant cannot be made").with_source(error),
                );
            }
        };
        match code {
            DEADLINE | UNAVAILABLE | CANCELLED | UNKNOWN => Self::Away(said(&error)),
            // The client reports failed connections as internal errors.
            INTERNAL if said(&error).contains("Failed to connect") => Self::Away(said(&error)),
            INTERNAL | EXHAUSTED | ABORTED => Self::Elsewhere(said(&error)),
            NOT_FOUND => Self::Final(
                Error::unavailable(
                    COLLECTION_MISSING,
                    "the vectors are missing from the Qdrant server; uploading them again",
                )
                .with_source(said(&error)),
            ),
            DENIED | UNAUTHENTICATED => Self::Final(
                Error::unprocessable(
                    "vector_server_refused",
                    "the Qdrant server rejected the key (setting qdrant_api_key)",
                )
                .with_source(said(&error)),
            ),
            _ => Self::Final(
                Error::internal("the Qdrant server rejected a request").with_source(said(&error)),
            ),
        }
    }
}

/// Returns the message of an error in one line.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]
fn said(error: &QdrantError) -> String {
    let text = match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => status.message().to_owned(),
        other => other.to_string(),
    };
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

/// Returns why a version cannot be used.
fn problem_of(version: &str) -> Option<String> {
    let mut numbers = version.split('.').map(|n| n.parse::<u64>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return Some(format!(
            "the Qdrant server reports the invalid version {version:?}"
        ));
    };
    let is_usable = major == OLDEST.0 && (major, minor) >= OLDEST;
    (!is_usable).then(|| {
        format!(
            "the Qdrant server has version {version}; Cairn requires {}.{} or a later {}.x",
            OLDEST.0, OLDEST.1, OLDEST.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        assert_eq!(problem_of("1.11.0"), None);
        assert_eq!(problem_of("1.20.3-dev"), None);
        for version in ["1.7.4", "0.11.0", "2.0.0", "latest"] {
            assert!(problem_of(version).is_some_and(|p| p.contains(version)));
        }
    }

    #[test]
    fn a_node_that_fails_is_left_alone_longer_and_longer() {
        assert_eq!(pause(1), SHORTEST);
        assert_eq!(pause(3), SHORTEST * 4);
        assert_eq!(pause(100), LONGEST);
    }
}
