//! Retrieval measured on the user's own data: what was asked, queries with labels, runs of any configuration over them, tuning and its defaults.

pub mod defaults;
pub mod generations;
pub mod history;
pub mod queue;
pub mod runs;
pub mod sets;
pub mod statistics;
pub mod tune;
