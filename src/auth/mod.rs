//! Authentication and authorisation: tenants, people, agents, their secrets, scopes, and the [`Caller`] that every domain function requires.

pub mod access_log;
pub mod agents;
pub mod board_access;
mod caller;
mod credentials;
mod dataset_access;
pub mod gate;
pub mod invites;
pub mod keys;
pub mod members;
pub mod modules;
pub mod oidc;
pub mod organizations;
pub mod people;
pub mod plans;
pub mod quotas;
mod role;
pub mod scopes;
pub mod sessions;
pub mod tenants;
pub mod users;

pub use board_access::BoardAccess;
pub use caller::{Caller, Principal};
pub use dataset_access::{DatasetRight, DatasetRole};
pub use role::{Role, Status};
pub use scopes::{Area, Scope};

/// Id under which the work of a browser is recorded that the owner's link signed in.
pub const OWNER: &str = "owner";

/// Error code for a disabled module.
pub(crate) const MODULE_DISABLED: &str = "module_disabled";
