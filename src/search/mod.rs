//! Retrieval: both indexes, the follower that derives them from the log, and the query that blends them.

pub mod alpha;
pub mod analysis;
pub mod blend;
mod choose;
pub mod drift;
pub mod explain;
pub mod follower;
pub mod highlight;
mod hits;
pub mod keyword;
pub mod measure;
pub mod memory;
pub mod near;
pub mod pool;
pub mod query;
pub mod request;
pub mod rerank;
mod retrieve;
pub mod settings;
pub mod states;
pub mod syntax;
pub mod vector;
pub mod why_not;

pub use blend::Fusion;
pub use explain::Explanation;
pub use hits::{Hit, Passage};
pub use pool::candidates;
pub use query::{Answer, search};
pub use request::{Defaults, Request};
pub use settings::Settings;
pub use why_not::why_not;
