//! Websites: what is crawled, when, and what became of every address. The rules of crawling stand in the `ingest` crate; here are the records, the polite
//! client, and the job that walks a site and hands its pages to ingestion.

pub mod crawls;
mod fetch;
mod job;
mod ledger;
mod look;
mod render;
pub mod settings;
pub mod sites;
mod visit;

pub use crawls::Crawl;
pub(crate) use job::{failed, recrawl, run};
pub use ledger::Seen;
pub use settings::{Schedule, Settings};
pub use sites::Site;
