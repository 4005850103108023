//! Cairn: a self-hosted knowledge base and hybrid retrieval service.
//!
//! Dependencies point one way: `api, cli → areas (kb, search, evaluation, crawl, records) → {db, jobs, blobs, events} → error, page, clock`.

pub mod auth;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod disk;
pub mod engine;
pub mod error;
pub mod evaluation;
pub mod events;
pub mod jobs;
pub mod limits;
pub mod llm;
pub mod openclaw;
pub mod outgoing;
pub mod outreach;
pub mod page;
mod rates;
pub mod seal;

pub mod agency;
pub mod agents;
pub mod analytics;
pub mod answers;
pub mod api;
pub mod app;
pub mod assets;
pub mod background;
pub mod bi;
pub mod boards;
pub mod channel;
pub mod content;
pub mod crawl;
pub mod crm;
pub mod data;
pub mod housekeeping;
pub mod importers;
pub mod kb;
pub mod kinds;
pub mod knowledge;
pub mod records;
pub mod search;
pub mod sources;
pub mod support;
pub mod webhooks;
pub mod work;
