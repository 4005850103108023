//! Website crawls: sites, schedules, and the outcome of every address. The crawling rules are in the `ingest` crate; this module has the records, the HTTP
//! client, and the job that walks a site and passes its pages to ingestion.

mod content;
pub mod crawls;
mod fetch;
mod job;
mod ledger;
mod preview;
mod process;
mod render;
pub mod settings;
pub mod sites;
mod visit;

pub use crawls::Crawl;
pub(crate) use job::{failed, recrawl, run};
pub use ledger::Seen;
pub use preview::{Preview, preview};
pub use settings::{Schedule, Settings};
pub use sites::Site;
