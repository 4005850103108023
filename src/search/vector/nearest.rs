//! Chooses how the nearest vectors among some chunks are found: through the engine's graph, or by a scan of the quantised vectors.
//!
//! A graph has no links for what a filter excludes, so under a filter it loses right hits. A filter that passes few is scanned; one that passes many searches
//! the graph without the filter, deeper by its selectivity, and keeps what passes. The estimated costs decide; a search of the graph that ends with too few
//! is repeated as a scan.

use std::sync::Arc;

use fixedbitset::FixedBitSet;
use uuid::Uuid;

use super::{Among, EF, Embedded, Scope, VectorIndex};
use crate::error::Result;
use crate::search::live::{LiveSet, Matrix, Passing};

/// Nanoseconds to compare a quantised vector in a scan, and to search the graph per position of the beam: measured with 100,000 vectors of 384 dimensions.
/// Their ratio decides; both grow with the dimensions.
const SCAN_NS: f32 = 25.0;
const GRAPH_NS: f32 = 2300.0;
/// Factor on the depth at which a filter of average luck still finds enough.
const MARGIN: f32 = 1.3;
/// Largest depth of a search of the graph.
const DEEPEST: usize = 20_000;

/// Chunks that a search may return.
#[derive(Debug, Clone)]
pub struct Restriction {
    pub live: Arc<LiveSet>,
    /// Chunks that satisfy the conditions of the search; `None` for all that are visible.
    pub passing: Option<Arc<Passing>>,
    /// Chunks to whose documents an engine that applies the filter itself is restricted; it may return others of these documents.
    pub narrowing: Option<Arc<Passing>>,
}

/// The nearest chunks, best first, and a few more that may belong to them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nearest {
    /// Chunks with their exact cosine; `None` where only an approximate one is known.
    pub found: Vec<(Uuid, Option<f32>)>,
    /// Whether there may be more than were requested.
    pub is_full: bool,
}

impl Nearest {
    fn exact(found: Vec<(Uuid, f32)>, limit: usize) -> Self {
        Self {
            is_full: found.len() >= limit,
            found: found.into_iter().map(|(id, c)| (id, Some(c))).collect(),
        }
    }
}

impl VectorIndex {
    /// Returns the nearest chunks.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn nearest(
        &self,
        scope: &Scope,
        vector: Arc<Vec<f32>>,
        restriction: Restriction,
        limit: usize,
    ) -> Result<Nearest> {
        match self {
            Self::Embedded(store) => {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::task::spawn_blocking(move || {
                    store.nearest(&scope, &vector, &restriction, limit)
                })
                .await?
            }
            Self::Server(_) => {
                let among = tokio::task::spawn_blocking(move || restriction.among()).await?;
                let found = self.search(scope, vector, among, limit).await?;
                Ok(Nearest::exact(found, limit))
            }
        }
    }
}

impl Restriction {
    /// Returns the documents to which an engine is restricted.
    fn among(&self) -> Option<Among> {
        let narrowing = self.narrowing.as_ref()?;
        Some(Among {
            documents: self.live.table().documents_of(&narrowing.chunks),
            chunks: narrowing.count,
        })
    }
}

/// A way to find the nearest vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Scan,
    /// Through the graph, to a depth.
    Graph(usize),
}

/// Returns the depth at which a search of the graph finds `limit` of `passing` vectors out of `all`.
fn depth(passing: usize, all: usize, limit: usize) -> f32 {
    if passing >= all {
        limit as f32
    } else {
        limit as f32 * MARGIN * all as f32 / passing.max(1) as f32
    }
}

/// Returns the cheaper way to find the `limit` nearest of `passing` vectors out of `all`.
fn cheaper(passing: usize, all: usize, limit: usize) -> Way {
    let depth = depth(passing, all, limit);
    let scan = SCAN_NS * passing as f32;
    let graph = GRAPH_NS * depth.max(EF as f32);
    if scan <= graph || depth > DEEPEST as f32 {
        Way::Scan
    } else {
        Way::Graph(depth.ceil() as usize)
    }
}

impl Embedded {
    fn nearest(
        &self,
        scope: &Scope,
        vector: &[f32],
        restriction: &Restriction,
        limit: usize,
    ) -> Result<Nearest> {
        let live = &restriction.live;
        let matrix = live.matrix();
        let Some(matrix) = matrix.as_ref() else {
            let among = restriction.among();
            let found = self.search(scope, vector.to_vec(), among.as_ref(), limit)?;
            return Ok(Nearest::exact(found, limit));
        };
        let visible = live.table().visible().clone();
        let all = visible.count_ones(..);
        let (chunks, count) = match restriction.passing.as_deref() {
            Some(passing) => (&passing.chunks, passing.count),
            None => (&visible, all),
        };
        if let Way::Graph(depth) = self.way(scope, count, all, limit)
            && let Some(found) = self.through_graph(scope, vector, live, chunks, depth, limit)?
        {
            return Ok(found);
        }
        Ok(scan(matrix, live, vector, chunks, limit))
    }

    fn way(&self, scope: &Scope, passing: usize, all: usize, limit: usize) -> Way {
        // Other sets in the store have their places in the graph, too.
        if !self.has_graph(all) || (passing < all && !self.holds_only(scope)) {
            return Way::Scan;
        }
        cheaper(passing, all, limit)
    }

    /// Searches the graph without a filter to a depth, and returns what passes; `None` when that is too little.
    fn through_graph(
        &self,
        scope: &Scope,
        vector: &[f32],
        live: &LiveSet,
        chunks: &FixedBitSet,
        depth: usize,
        limit: usize,
    ) -> Result<Option<Nearest>> {
        let mut found = self.search(scope, vector.to_vec(), None, depth)?;
        let ended = found.len() < depth;
        {
            let table = live.table();
            found.retain(|(id, _)| {
                let ordinal = table.ordinal(id);
                ordinal.is_some_and(|n| chunks.contains(n as usize))
            });
        }
        if !ended && found.len() < limit {
            return Ok(None);
        }
        found.truncate(limit);
        Ok(Some(Nearest {
            is_full: !ended,
            ..Nearest::exact(found, limit)
        }))
    }

    #[cfg(test)]
    pub(super) fn each_way(
        &self,
        scope: &Scope,
        vector: &[f32],
        live: &LiveSet,
        passing: &Passing,
        limit: usize,
    ) -> [Nearest; 2] {
        let matrix = live.matrix();
        let matrix = matrix.as_ref().expect("quantised");
        let all = live.table().visible().count_ones(..);
        let depth = depth(passing.count, all, limit).ceil() as usize;
        let chunks = &passing.chunks;
        let graph = self.through_graph(scope, vector, live, chunks, depth, limit);
        let scanned = scan(matrix, live, vector, chunks, limit);
        let graph = graph.expect("searches").unwrap_or_else(|| scanned.clone());
        [scanned, graph]
    }
}

/// Returns how many to find by approximate cosines, so that the nearest `limit` are among them.
fn wider(limit: usize) -> usize {
    limit + limit / 8 + 16
}

fn scan(
    matrix: &Matrix,
    live: &LiveSet,
    vector: &[f32],
    among: &FixedBitSet,
    limit: usize,
) -> Nearest {
    let ordinals = matrix.nearest(vector, among, wider(limit));
    let table = live.table();
    let ids = ordinals.iter().filter_map(|ordinal| table.id(*ordinal));
    Nearest {
        found: ids.map(|id| (id, None)).collect(),
        is_full: ordinals.len() >= limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_vectors_are_scanned_and_many_searched_through_the_graph() {
        assert_eq!(cheaper(2_000, 100_000, 200), Way::Scan);
        assert_eq!(cheaper(100_000, 100_000, 200), Way::Graph(200));
        assert_eq!(cheaper(900_000, 1_000_000, 200), Way::Graph(289));
        assert_eq!(
            cheaper(50_000, 1_000_000, 200),
            Way::Scan,
            "the graph would have to be searched too deeply"
        );
    }
}
