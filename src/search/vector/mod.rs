//! Vector index: Qdrant's engine inside the process, or a Qdrant server. One store per embedding model, with the dataset and generation
//! as indexed payload, in the same layout on both.

pub mod cluster;
mod embedded;
mod server;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

pub use cluster::Cluster;
pub use embedded::Embedded;
pub use server::{CollectionReport, Layout, Quantization, Server};

use crate::db::Db;
use crate::disk::Disk;
use crate::error::Result;

/// Where vectors are.
#[derive(Debug)]
pub enum VectorIndex {
    /// In this process.
    Embedded(Embedded),
    /// On a Qdrant server.
    Server(Server),
}

/// A vector with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The chunk.
    pub id: Uuid,
    /// Its document.
    pub document_id: String,
    /// Unit vector.
    pub vector: Vec<f32>,
}

/// Part of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The owner.
    pub tenant_id: String,
    /// The dataset.
    pub dataset_id: String,
    /// Its generation.
    pub generation: i64,
}

/// Documents among whose chunks a search looks.
#[derive(Debug, Clone, Default)]
pub struct Among {
    /// Their ids.
    pub documents: Vec<String>,
    /// About how many chunks they have.
    pub chunks: usize,
}

/// Most numbers that a filtered search compares one by one: 200,000 vectors of 384 dimensions. A graph in which most points are not wanted loses its
/// connections and with them right hits, so it is used only where there are more.
const EXACT_NUMBERS: usize = 200_000 * 384;
/// Beam of graph searches; recall on real embeddings is checked by `cairn bench`.
const EF: usize = 256;
/// Times as many points of the graph are looked at in a search that is filtered.
const FILTERED_EFFORT: usize = 4;

/// How thoroughly a store is searched.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Whether every vector is compared.
    exact: bool,
    /// Beam of the graph search.
    ef: usize,
    /// Whether the graph search goes on through points that the filter does not let pass.
    through: bool,
}

impl Effort {
    /// Every vector is compared.
    const EXACT: Self = Self {
        exact: true,
        ef: EF,
        through: false,
    };

    /// The effort of a search with vectors of so many dimensions, among some documents or all.
    fn of(among: Option<&Among>, dimensions: usize) -> Self {
        match among {
            Some(among) => Self {
                exact: among.chunks.saturating_mul(dimensions) <= EXACT_NUMBERS,
                ef: EF * FILTERED_EFFORT,
                through: true,
            },
            None => Self {
                exact: false,
                ef: EF,
                through: false,
            },
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct VectorOptions<'a> {
    /// Name of the embedding model.
    pub model: &'a str,
    /// Length of the vectors.
    pub dimensions: usize,
    /// Kilobytes of vectors in a segment above which the embedded engine builds a graph.
    pub index_above_kb: usize,
    /// The disk of the data directory.
    pub disk: &'a Disk,
    /// The servers, and how their collections are made; `None` for the embedded engine.
    pub cluster: Option<(Arc<Cluster>, Layout)>,
}

/// A model's name as part of a directory or collection name.
fn slug(model: &str) -> String {
    model
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// The collection in which the vectors of a model are, as the dashboard contract shows it.
#[must_use]
pub fn collection(model: &str) -> String {
    format!("cairn_{}", slug(model))
}

impl VectorIndex {
    /// Opens the store of a model, creating it when it is not there.
    ///
    /// # Errors
    /// `vector_store_unavailable`, `disk_full`; `vector_dimensions` when the store holds vectors of another length; `vector_server_version`,
    /// `vector_server_refused`.
    pub async fn open(data_dir: &Path, db: &Db, options: VectorOptions<'_>) -> Result<Self> {
        if let Some((cluster, layout)) = options.cluster {
            let server = Server::open(cluster, options.model, layout, db).await?;
            return Ok(Self::Server(server));
        }
        let path = data_dir.join("vectors").join(slug(options.model));
        let (dimensions, above) = (options.dimensions, options.index_above_kb);
        let disk = options.disk.clone();
        let open = move || Embedded::open(path, dimensions, above, disk);
        Ok(Self::Embedded(tokio::task::spawn_blocking(open).await??))
    }

    /// Positions of each dataset's log that searches see.
    ///
    /// # Errors
    /// As the store says.
    pub async fn applied(&self, db: &Db) -> Result<HashMap<String, i64>> {
        match self {
            Self::Embedded(store) => Ok(store.applied()),
            Self::Server(store) => store.applied(db).await,
        }
    }

    /// Applies changes: deletions first, then points; searches see them when this returns. With `clear`, what the scope held before goes.
    ///
    /// # Errors
    /// As the store says; the same changes may then be applied again.
    pub async fn apply(&self, db: &Db, scope: &Scope, changes: Changes, seq: i64) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || store.apply(&scope, changes, seq)).await?
            }
            Self::Server(store) => store.apply(db, scope, changes, seq).await,
        }
    }

    /// The nearest chunks, best first, with their cosine; with `documents`, only theirs.
    ///
    /// # Errors
    /// As the store says.
    pub async fn search(
        &self,
        scope: &Scope,
        vector: Vec<f32>,
        among: Option<Arc<Among>>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || {
                    store.search(&scope, vector, among.as_deref(), limit)
                })
                .await?
            }
            Self::Server(store) => store.search(scope, vector, among.as_deref(), limit).await,
        }
    }

    /// The exact cosine of single chunks; those without a vector are absent.
    ///
    /// # Errors
    /// As the store says.
    pub async fn scores(
        &self,
        scope: &Scope,
        vector: Vec<f32>,
        ids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, f32>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.scores(vector, ids)).await?
            }
            Self::Server(store) => store.scores(scope, vector, ids).await,
        }
    }

    /// Ids of all chunks of a scope.
    ///
    /// # Errors
    /// As the store says.
    pub async fn ids(&self, scope: &Scope) -> Result<Vec<Uuid>> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || store.ids(&scope)).await?
            }
            Self::Server(store) => store.ids(scope).await,
        }
    }

    /// Removes the vectors of datasets that are not in the list.
    ///
    /// # Errors
    /// As the store says.
    pub async fn keep_only(&self, db: &Db, dataset_ids: Vec<String>) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.keep_only(&dataset_ids)).await?
            }
            Self::Server(store) => store.keep_only(db, &dataset_ids).await,
        }
    }

    /// Makes what was applied durable. A server does so by itself.
    ///
    /// # Errors
    /// As the store says.
    pub async fn flush(&self) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.flush_pending()).await?
            }
            Self::Server(_) => Ok(()),
        }
    }

    /// Merges segments and builds the graph of large ones, if anything changed since the last time. Takes minutes on large stores; searches and
    /// changes go on meanwhile. A server does so by itself.
    ///
    /// # Errors
    /// As the store says.
    pub async fn improve(&self) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.improve()).await?
            }
            Self::Server(_) => Ok(()),
        }
    }
}

/// Changes of one dataset, already reduced to the last state of each chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Points to add or replace.
    pub put: Vec<Point>,
    /// Chunks to remove.
    pub delete: Vec<Uuid>,
    /// Whether everything the scope held before goes first.
    pub clear: bool,
}
