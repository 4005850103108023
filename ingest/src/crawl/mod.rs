//! The rules of website crawling: which addresses are the same page, which are in scope, and the parsing of robots.txt, sitemaps and pages. Pure functions,
//! except for [`walk`], which schedules the visits done by the caller.

pub mod address;
pub mod page;
pub mod robots;
pub mod scope;
pub mod sitemap;
mod walk;

pub use walk::{Visit, walk};
