//! Sources that keep a dataset in step with places outside of Cairn: folders, buckets, feeds, git repositories, mailboxes. A sync lists what a source has, ingests what is new or
//! changed, and removes what is gone. Websites are sources with an area of their own, [`crate::crawl`].
//!
//! A kind of source is a [`connector::Connector`]: it lists items with a version each, and fetches one.

mod connector;
mod feed;
mod folder;
pub(crate) mod git;
mod imap;
mod job;
mod open;
pub mod overview;
mod patterns;
mod s3;
pub mod settings;
mod store;
pub mod syncs;
pub(crate) mod watch;

pub(crate) use job::{failed, run, scheduled};
pub use settings::Settings;
pub use store::{NewSource, Source, delete, delete_dataset, forget_all, get, list, put, schedule};
pub use syncs::{Item, Sync};
