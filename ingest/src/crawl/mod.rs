//! The rules of walking websites: which addresses are the same page, which are in scope, what robots.txt, sitemaps and pages say. Pure functions,
//! but for [`walk`], which drives the visits that the caller does.

pub mod address;
pub mod page;
pub mod robots;
pub mod scope;
pub mod sitemap;
mod walk;

pub use walk::{Visit, walk};
