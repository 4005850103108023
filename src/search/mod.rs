//! Retrieval: both indexes, the follower that derives them from the log, and the query that blends them.

pub mod analysis;
pub mod blend;
pub mod drift;
pub mod follower;
pub mod highlight;
pub mod keyword;
pub mod measure;
pub mod near;
pub mod query;
pub mod vector;

pub use blend::Fusion;
pub use query::{Answer, Explanation, Hit, Request, search};
