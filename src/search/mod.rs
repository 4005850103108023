//! Retrieval: both indexes, the follower that derives them from the log, and the query that blends them.

/// SQL condition on a document `d` whose chunks `c` belong in the vector index: its first ingestion is complete, or, in a set that is not searched
/// (`$3` is false), its build for that set.
macro_rules! document_is_complete {
    () => {
        "d.text_hash IS NOT NULL AND ($3 = TRUE OR EXISTS (SELECT 1 FROM kb_generation_documents b WHERE b.document_id = d.id AND b.set_id = c.set_id))"
    };
}

pub mod alpha;
pub mod analysis;
pub mod answer;
pub mod blend;
mod candidate;
mod choose;
pub mod drift;
pub mod explain;
mod facets;
pub mod follower;
pub mod highlight;
mod hits;
pub mod keyword;
pub mod live;
pub mod measure;
pub mod memory;
pub mod near;
pub mod pool;
mod preload;
pub mod query;
pub mod relevance;
pub mod request;
pub mod rerank;
mod retrieve;
pub mod settings;
pub mod states;
pub mod syntax;
mod top;
pub mod vector;
pub mod why_not;

pub use answer::{Answer, Hit, Passage};
pub use blend::Fusion;
pub use explain::Explanation;
pub use pool::candidates;
pub use query::search;
pub use request::{Defaults, MAX_TOP_K, Request};
pub use settings::Settings;
pub use why_not::why_not;
