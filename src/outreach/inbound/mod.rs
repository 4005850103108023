//! Inbound data: sources that report leads (forms, other programs, mailboxes) and bookings of Calendly. Every source has an address and a secret;
//! messages are verified and accepted once.

pub mod calendly;
mod sources;
pub mod verify;

pub use crate::records::secrets::{Keep, give_up_secrets};
pub(super) use sources::complete;
pub use sources::{Message, create, path, receive, rotate, secret_of};

/// Types of sources.
pub const SOURCE_TYPES: [&str; 4] = ["gmail", "api_sdr", "form_webhook", "generic_webhook"];

/// Path of the addresses of sources.
pub const SOURCES: &str = "/hooks/sources";
/// Path of the addresses of Calendly connections.
pub const CALENDLY: &str = "/hooks/calendly";
