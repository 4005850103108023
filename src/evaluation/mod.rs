//! Evaluation of retrieval on the user's own data: query history, query sets with labels, runs of any configuration, auto-tuning and search defaults.

pub mod calibrate;
pub mod defaults;
pub mod generations;
pub mod history;
pub mod queue;
pub mod runs;
pub mod sets;
pub mod statistics;
pub mod tune;
