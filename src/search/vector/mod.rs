//! Vector index: Qdrant's engine inside the process, or a Qdrant server. One store per embedding model, with dataset and generation as indexed payload,
//! in the same layout on both.

pub mod cluster;
mod embedded;
mod nearest;
mod server;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

pub use cluster::Cluster;
pub use embedded::Embedded;
pub use nearest::{Nearest, Restriction};
pub use server::{CollectionReport, Layout, Quantization, Server};

use crate::db::Db;
use crate::disk::Disk;
use crate::error::Result;
use crate::kb::index_log::Head;
use crate::search::live::Matrix;

/// Backend of the vector index.
#[derive(Debug)]
pub enum VectorIndex {
    /// Qdrant's engine in this process.
    Embedded(Embedded),
    /// A Qdrant server.
    Server(Server),
}

/// A vector with its chunk and document.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub id: Uuid,
    pub document_id: String,
    /// Unit vector.
    pub vector: Vec<f32>,
}

/// Part of a store: one generation of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub tenant_id: String,
    pub dataset_id: String,
    pub generation: i64,
}

impl Scope {
    /// Returns the scope of a set.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Self {
            tenant_id: head.tenant_id.clone(),
            dataset_id: head.id.clone(),
            generation: head.generation,
        }
    }
}

/// Documents to which a search is restricted.
#[derive(Debug, Clone, Default)]
pub struct Among {
    pub documents: Vec<String>,
    /// Approximate number of their chunks.
    pub chunks: usize,
}

/// Maximum number of components that a filtered search compares exactly: 200,000 vectors of 384 dimensions. A graph in which most points are excluded
/// loses its connections and with them correct hits, so it is used only above that.
const EXACT_NUMBERS: usize = 200_000 * 384;
/// Beam of graph searches; `cairn bench` checks the recall on real embeddings.
const EF: usize = 256;
/// Factor on the visited points of the graph in a filtered search.
const FILTERED_EFFORT: usize = 4;

/// Search effort.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Whether every vector is compared.
    exact: bool,
    /// Beam of the graph search.
    ef: usize,
    /// Whether the graph search continues through points that the filter excludes.
    through: bool,
}

impl Effort {
    /// Comparison of every vector.
    const EXACT: Self = Self {
        exact: true,
        ef: EF,
        through: false,
    };

    /// Returns the effort of a search with vectors of the given dimensions, among some documents or all.
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

/// Options for opening a store.
#[derive(Debug, Clone)]
pub struct VectorOptions<'a> {
    /// Name of the embedding model.
    pub model: &'a str,
    pub dimensions: usize,
    /// Kilobytes of vectors in a segment above which the embedded engine builds a graph.
    pub index_above_kb: usize,
    /// The disk of the data directory.
    pub disk: &'a Disk,
    /// Servers, and the layout of their collections; `None` for the embedded engine.
    pub cluster: Option<(Arc<Cluster>, Layout)>,
}

/// Returns a model's name as part of a directory or collection name.
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

/// Returns the name of the collection with the vectors of a model, as in the dashboard contract.
#[must_use]
pub fn collection(model: &str) -> String {
    format!("cairn_{}", slug(model))
}

impl VectorIndex {
    /// Opens the store of a model, creating it when missing.
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

    /// Returns the log positions that searches see, by dataset.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn applied(&self, db: &Db) -> Result<HashMap<String, i64>> {
        match self {
            Self::Embedded(store) => Ok(store.applied()),
            Self::Server(store) => store.applied(db).await,
        }
    }

    /// Applies changes: deletions first, then points. Searches see them when this returns. With `clear`, the previous content of the scope is removed.
    ///
    /// # Errors
    /// Those of the store; the same changes may then be applied again.
    pub async fn apply(&self, db: &Db, scope: &Scope, changes: Changes, seq: i64) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || store.apply(&scope, changes, seq)).await?
            }
            Self::Server(store) => store.apply(db, scope, changes, seq).await,
        }
    }

    /// Returns the nearest chunks as the engine finds them, best first, with their cosine, restricted to some documents if given.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn search(
        &self,
        scope: &Scope,
        vector: Arc<Vec<f32>>,
        among: Option<Among>,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || {
                    store.search(&scope, vector.to_vec(), among.as_ref(), limit)
                })
                .await?
            }
            Self::Server(store) => {
                let vector = vector.to_vec();
                store.search(scope, vector, among.as_ref(), limit).await
            }
        }
    }

    /// Returns the exact cosine of single chunks; those without a vector are absent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn scores(
        &self,
        scope: &Scope,
        vector: Arc<Vec<f32>>,
        ids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, f32>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.scores(vector.to_vec(), ids)).await?
            }
            Self::Server(store) => store.scores(scope, vector.to_vec(), ids).await,
        }
    }

    /// Returns the ids of all chunks of a scope.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ids(&self, scope: &Scope) -> Result<Vec<Uuid>> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || store.ids(&scope)).await?
            }
            Self::Server(store) => store.ids(scope).await,
        }
    }

    /// Fills a matrix with the vectors of a scope; `None` on a server, which holds them itself.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn quantised(
        &self,
        scope: &Scope,
        mut matrix: Matrix,
        fills: impl Fn(&mut Matrix, Uuid, &[f32]) + Send + 'static,
    ) -> Result<Option<Matrix>> {
        let Self::Embedded(store) = self else {
            return Ok(None);
        };
        let (store, scope) = (store.clone(), scope.clone());
        tokio::task::spawn_blocking(move || {
            store.each(&scope, |id, vector| fills(&mut matrix, id, vector))?;
            Ok(Some(matrix))
        })
        .await?
    }

    /// Removes the vectors of datasets that are not in the list.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keep_only(&self, db: &Db, dataset_ids: Vec<String>) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.keep_only(&dataset_ids)).await?
            }
            Self::Server(store) => store.keep_only(db, &dataset_ids).await,
        }
    }

    /// Makes applied changes durable. A server does so by itself.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn flush(&self) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.flush_pending()).await?
            }
            Self::Server(_) => Ok(()),
        }
    }

    /// Merges segments and builds the graph of large ones, if anything changed since the last time. May take minutes on large stores; searches and
    /// changes continue meanwhile. A server does so by itself.
    ///
    /// # Errors
    /// Those of the store.
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

/// Changes of one dataset, reduced to the last state of each chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Points to add or replace.
    pub put: Vec<Point>,
    /// Chunks to remove.
    pub delete: Vec<Uuid>,
    /// Whether the previous content of the scope is removed first.
    pub clear: bool,
}
